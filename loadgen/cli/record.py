"""`loadgen record`: a man in the middle that writes down what an MSE and a WLC say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from loadgen.cli.arguments import loading, quiet_option
from loadgen.commands.options import AnonymizeOptions, RecordOptions
from loadgen.errors import InputError, Problem

_NEEDED = ("listen", "target", "identity", "out")
_FILE = click.Path(path_type=Path)


@click.group(invoke_without_command=True, short_help="Record what an MSE and a WLC say, in the middle of their tunnel.")
@click.option("--listen", metavar="ADDR:PORT", help="Where MSEs dial, in the place of the WLC.")
@click.option("--target", metavar="wlc=HOST:PORT", help="The WLC.")
@click.option("--identity", type=_FILE, metavar="FILE", help="Key and certificate (PEM) that we show to the WLC.")
@click.option("--out", type=_FILE, metavar="FILE", help="The file (pcapng), readable by you alone.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.option("--wlc-identity", type=_FILE, metavar="FILE", help="What we show to MSEs.  [default: a new one]")
@click.option("--trust", type=_FILE, metavar="FILE", help="Authorities of the WLC (PEM).  [default: any]")
@click.option("--demand-certificate", is_flag=True, help="MSEs must show a valid certificate.  [default: they may]")
@click.option("--auth-list", type=_FILE, metavar="FILE", help="Only MSEs whose key hash is in this list.")
@click.option("--key-hash", type=click.Choice(["sha256", "sha1"]), default="sha256", show_default=True)
@click.option(
    "--hash-over", type=click.Choice(["spki", "public-key", "certificate"]), default="spki", show_default=True
)
@click.option(
    "--strong-cipher",
    type=click.Choice(["on", "off"]),
    default="on",
    show_default=True,
    help="As the WLC has it; off is TLS 1.0 to 1.2 with static RSA, towards both sides.",
)
@click.option("--old-certificates", is_flag=True, help="Take RSA keys of 1024 bits and SHA-1 in certificates.")
@click.option("--max-size", metavar="SIZE", help='End when the files together have so much: "500MB".')
@click.option("--max-time", metavar="TIME", help='End after so long: "30m".')
@click.option("--rotate-size", metavar="SIZE", help="Begin the next file, NAME_00002_TIME, at this size.")
@click.option("--rotate-time", metavar="TIME", help="Begin the next file after so long.")
@click.option("--files", type=click.IntRange(2, 100_000), metavar="N", help="Keep the last N of them only.")
@click.option("--timeout", default="10s", show_default=True, help="How long either side of a session may take.")
@quiet_option
@click.pass_context
def record(context: click.Context, /, quiet: bool, **options: Any) -> int:
    """Stand between MSEs and a WLC, with a tunnel to each, and write what they say to each other into a file.

    MSEs dial us in the place of the WLC, the WLC lists our key hash (`loadgen identity show FILE`). What goes through
    is not changed. Ctrl-C, or a limit, ends it in order.

    Exit code 0: a limit ended it, and sessions had come up; 2: bad input; 3: none came up; 5: no MSE came; 7: something
    could not be recorded; 130: Ctrl-C.
    """
    if context.invoked_subcommand is not None:
        return 0
    missing = [Problem(f"--{name}", "to be given", "nothing") for name in _NEEDED if options[name] is None]
    if missing:
        raise InputError(missing)
    with loading():
        from loadgen.commands.showing_record import record_tunnels

    options["strong_cipher"] = options["strong_cipher"] == "on"
    return record_tunnels(RecordOptions(**options), quiet=quiet)


@record.command(short_help="Write a capture anew without MACs, addresses and texts.")
@click.argument("source", metavar="IN", type=_FILE)
@click.argument("out", metavar="OUT", type=_FILE)
@click.option(
    "--profile",
    type=_FILE,
    metavar="FILE",
    help="How its messages lie: what they name is replaced.",
)
@click.option("--list", type=_FILE, metavar="FILE", help="MACs and addresses, a line each: replaced wherever they are.")
@click.option("--key", type=_FILE, metavar="FILE", help="The same names again for the same key.  [default: a new one]")
@click.option("--keep-unknown", is_flag=True, help="Keep what the profile does not know.  [default: zeros]")
@click.option("--keylog", type=_FILE, metavar="FILE", help="Secrets of TLS (NSS format), beside those inside of IN.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def anonymize(**options: Any) -> int:
    """Write the TCP connections of IN (pcap or pcapng) anew, with other names for who and what they are about.

    The same MAC, address or text becomes the same other one everywhere, as long as before; who has an OUI, a prefix or
    a beginning in common has one again. Packets are new ones, with the bytes that each end said: addresses and
    checksums are right. What is encrypted and lacks keys is left out, and so are comments and secrets.
    """
    with loading():
        from loadgen.commands.showing_anonymous import write_anonymous

    return write_anonymous(AnonymizeOptions(**options))
