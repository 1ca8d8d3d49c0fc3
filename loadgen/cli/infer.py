"""`loadgen infer`: from captures to a wire profile."""

from __future__ import annotations

from pathlib import Path

import click

from loadgen.cli.arguments import loading, quiet_option
from loadgen.commands.options import InferOptions

_FILE = click.Path(path_type=Path)


@click.command(short_help="Find a device's layout in captures, as a wire profile.")
@click.argument("captures", type=_FILE, nargs=-1, required=True)
@click.option("--hints", type=_FILE, metavar="FILE", help="What you know of the captures (TOML).")
@click.option("--port", type=click.IntRange(1, 65535), default=16113, show_default=True, help="Of the WLCs.")
@click.option("--keylog", type=_FILE, metavar="FILE", help="The secrets of the tunnels (NSS format).")
@click.option("--out", type=_FILE, required=True, metavar="FILE", help="The profile (TOML).")
@click.option("--json", "as_json", type=_FILE, metavar="FILE", help="The layout, with confidence and evidence.")
@click.option("--report", type=_FILE, metavar="FILE", help="A page with frames, fields and why (HTML).")
@click.option("--force", is_flag=True, help="Replace files that are there.")
@quiet_option
def infer(
    captures: tuple[Path, ...],
    hints: Path | None,
    port: int,
    keylog: Path | None,
    out: Path,
    as_json: Path | None,
    report: Path | None,
    *,
    force: bool,
    quiet: bool,
) -> int:
    """Find out how the sessions in CAPTURES (pcap, pcapng) lie on the wire, and write that as a wire profile.

    All captures are of one device. What is claimed is checked on frames that it was not found with.

    Exit code 0: the profile is written; 2: bad input, or sessions that are encrypted without their keys; 5: no layout
    was found, or none that a profile can say: then --json and --report have what was found.
    """
    with loading():
        from loadgen.commands.showing_inference import infer_captures

    return infer_captures(InferOptions(captures, hints, port, keylog, out, as_json, report, force), quiet=quiet)
