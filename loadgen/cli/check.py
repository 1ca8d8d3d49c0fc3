"""`loadgen check`: one tunnel, step by step, and why it does not come up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from loadgen.cli.arguments import key_log_option
from loadgen.commands.output import say
from loadgen.errors import ExitCode, InputError, Problem
from loadgen.foreign import visible

if TYPE_CHECKING:
    from loadgen.diagnosis.settings import CheckSettings
    from loadgen.diagnosis.steps import CheckReport, Side, StepReport
    from loadgen.identity.credentials import Identity
    from loadgen.transport.key_log import KeyLog

NMSP_PORT = 16113
Command: TypeAlias = Callable[..., int]

_COMMON = (
    click.option(
        "--transport",
        type=click.Choice(["tls", "dtls"]),
        default="tls",
        show_default=True,
        help="TLS over TCP, or DTLS 1.2 over UDP.",
    ),
    click.option(
        "--auth-list",
        type=click.Path(path_type=Path),
        help="The WLC's list: IOS-XE configuration, AireOS auth-list lines, or what the MSE prints.",
    ),
    click.option(
        "--key-hash",
        type=click.Choice(["sha256", "sha1"]),
        default="sha256",
        show_default=True,
        help="What the hashes of the list are.",
    ),
    click.option(
        "--hash-over",
        type=click.Choice(["spki", "public-key", "certificate"]),
        default="spki",
        show_default=True,
        help="What they cover.",
    ),
    click.option(
        "--strong-cipher",
        type=click.Choice(["on", "off"]),
        default="on",
        show_default=True,
        help="As the WLC has it; off is TLS 1.0 to 1.2 with static RSA.",
    ),
    click.option("--old-certificates", is_flag=True, help="Take RSA keys of 1024 bits and SHA-1 in certificates."),
    click.option("--unauthenticated", is_flag=True, help="The WLC is meant to let anybody in."),
    click.option("--profile", type=click.Path(path_type=Path), help="Wire profile.  [default: the built-in one]"),
    click.option("--trace", is_flag=True, help="Print the handshake on stderr as a controller traces it."),
    key_log_option,
    click.option("--json", "as_json", is_flag=True, help="Print one JSON document, and nothing else, on stdout."),
)


def _common(command: Command) -> Command:
    for option in reversed(_COMMON):
        command = option(command)
    return command


def _timeout(default: str) -> Callable[[Command], Command]:
    return click.option("--timeout", default=default, show_default=True, help="How long any one step may take.")


@click.group(short_help="Set one tunnel up, step by step: what keeps it down?")
def check() -> None:
    """Set one tunnel up, step by step, and tell why it does not come up."""


@check.command()
@click.argument("address", metavar="HOST[:PORT]")
@click.option("--identity", required=True, type=click.Path(path_type=Path), help="Our MSE's key and certificate (PEM).")
@click.option("--trust", type=click.Path(path_type=Path), help="Authorities of the WLC (PEM).  [default: any]")
@click.option("--subscribe", default="rssi-ms", show_default=True, metavar="NAME[,...]", help="Subservices to ask for.")
@_timeout("10s")
@_common
def wlc(address: str, identity: Path, trust: Path | None, subscribe: str, **options: Any) -> int:
    """Play one MSE at the WLC at HOST (port 16113).

    Exit code 0: every step passed; 3: one failed, and likely causes were told; 2: bad input.
    """
    from loadgen.diagnosis.wlc_check import check_wlc
    from loadgen.prepare.keys import read_trust

    host, port = _host_and_port(address)
    trusted = None if trust is None else read_trust(trust)
    ours = _identity(identity, options)
    settings = _settings("mse", ours, trusted, _mask(subscribe), options)
    _begin(options, f"as the MSE {settings.identity.mac or identity}, at the WLC {host} port {port}")
    return _end(check_wlc(host, port, settings), options)


@check.command()
@click.option("--listen", required=True, metavar="ADDR[:PORT]", help="Where to wait for the MSE (port 16113).")
@click.option("--identity", type=click.Path(path_type=Path), help="Our WLC's key and certificate.  [default: new ones]")
@click.option("--offer", default="catalyst-9800", show_default=True, metavar="NAME[,...]", help="Subservices to offer.")
@_timeout("30s")
@_common
def mse(listen: str, identity: Path | None, offer: str, **options: Any) -> int:
    """Play one WLC, and wait for one MSE.

    Exit code 0: every step passed; 3: one failed, and likely causes were told; 2: bad input.
    """
    from loadgen.commands.identities import new_wlc
    from loadgen.diagnosis.mse_check import check_mse, listen_at
    from loadgen.transport.address import host_and_port

    if options["auth_list"] is None and not options["unauthenticated"]:
        raise InputError(Problem("--auth-list", "a file with the MSE's key hash, or --unauthenticated", "neither"))
    host, port = _host_and_port(listen)
    ours = new_wlc() if identity is None else _identity(identity, options)
    settings = _settings("wlc", ours, None, _mask(offer), options)
    with listen_at(host, port, options["transport"]) as listener:
        at = host_and_port(listener.getsockname())
        _begin(options, f"as the WLC {ours.mac or identity}, waiting for an MSE at {at[0]} port {at[1]}")
        return _end(check_mse(listener, settings), options)


def _settings(
    plays: Side, identity: Identity, trusted_pem: bytes | None, mask: int, options: dict[str, Any]
) -> CheckSettings:
    from loadgen.diagnosis.listed import read_listed
    from loadgen.diagnosis.settings import CheckSettings
    from loadgen.nmsp.profile import load_profile, reference_profile

    auth_list, profile = options["auth_list"], options["profile"]
    return CheckSettings(
        identity=identity,
        listed=None if auth_list is None else read_listed(auth_list),
        key_hash=options["key_hash"],
        hash_over=options["hash_over"],
        trusted_pem=trusted_pem,
        strong=options["strong_cipher"] == "on",
        old_certificates=options["old_certificates"],
        unauthenticated=options["unauthenticated"],
        profile=reference_profile() if profile is None else load_profile(profile),
        mask=mask,
        timeout_ns=_duration(options["timeout"]),
        tell=_silent if options["as_json"] else _tell,
        trace=_tracer(plays) if options["trace"] else None,
        transport=options["transport"],
        key_log=_key_log(options["keylog"]),
    )


def _key_log(option: Path | None) -> KeyLog | None:
    from loadgen.commands.key_log import key_log_asked
    from loadgen.transport.key_log import KeyLog

    asked = key_log_asked(option)
    return None if asked is None else KeyLog(*asked)


def _tell(report: StepReport) -> None:
    from loadgen.diagnosis.text import step_line

    say(step_line(report))


def _silent(_report: StepReport) -> None:
    """The document has it all, at the end."""


def _tracer(plays: Side) -> Any:
    from loadgen.diagnosis.field_trace import TraceLines

    lines = TraceLines(server=plays == "wlc")

    def trace(event: Any) -> None:
        for line in lines.lines(event):
            click.echo(visible(line), err=True)

    return trace


def _begin(options: dict[str, Any], what: str) -> None:
    if not options["as_json"]:
        say(f"check {what}")


def _end(report: CheckReport, options: dict[str, Any]) -> int:
    if options["as_json"]:
        import msgspec

        say(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
    else:
        from loadgen.diagnosis.text import conclusion

        for line in conclusion(report):
            say(line)
    return ExitCode.PASSED if report.passed else ExitCode.UNREACHABLE


def _host_and_port(text: str) -> tuple[str, int]:
    """HOST, HOST:PORT, [2001:db8::1]:PORT, or an IPv6 address with brackets or without."""
    from loadgen.hosts import parse_endpoint

    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    alone = bare != text or (text.count(":") != 1 and not text.startswith("["))
    try:
        return (bare, NMSP_PORT) if alone and bare else parse_endpoint(text)
    except ValueError as error:
        raise InputError(Problem("HOST[:PORT]", str(error), repr(text))) from error


def _mask(text: str) -> int:
    from loadgen.nmsp.services import BY_LABEL, mask_of
    from loadgen.scenario.schema import NAMED_MASKS
    from loadgen.strict import one_of

    if text in NAMED_MASKS:
        return NAMED_MASKS[text]
    names = text.split(",")
    problems = [
        Problem("--subscribe or --offer", one_of(name, [*BY_LABEL, *NAMED_MASKS]), f'"{name}"')
        for name in names
        if name not in BY_LABEL
    ]
    if problems:
        raise InputError(problems)
    return mask_of(BY_LABEL[name] for name in names)


def _duration(text: str) -> int:
    from loadgen.units import Duration

    try:
        return Duration.parse(text)
    except ValueError as error:
        raise InputError(Problem("--timeout", Duration.EXPECTED, repr(text))) from error


def _identity(path: Path, options: dict[str, Any]) -> Identity:
    from loadgen.commands.identities import usable_identity

    return usable_identity(path, allows_old=options["old_certificates"] or options["strong_cipher"] == "off")
