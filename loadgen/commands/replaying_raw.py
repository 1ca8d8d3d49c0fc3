"""`loadgen replay --raw`: bytes as they were, without a profile."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

from loadgen.capture.streams import collect
from loadgen.commands.identities import new_wlc, usable_identity
from loadgen.commands.output import announce, complain, say
from loadgen.commands.recorded import CaptureReader
from loadgen.commands.replaying import ReplayOptions
from loadgen.diagnosis.contexts import mse_context, wlc_context
from loadgen.drive.blind import Blindly, Script, scripts_of, serve, visit
from loadgen.errors import ExitCode, InputError, Problem
from loadgen.files import reason_of
from loadgen.hosts import endpoint_shown, parse_endpoint
from loadgen.identity.credentials import Identity
from loadgen.prepare.addresses import check_listen, read_targets
from loadgen.transport.address import host_and_port, socket_address

_MAY_GO_WRONG = (
    "raw: nothing is fitted to the other end. Transactions, sequence numbers, times and MACs are the recorded ones, "
    "answers come when they came and not when they are asked for, and a peer that checks any of that may close"
)
_LISTEN = "127.0.1.1:16113"


def play_raw(options: ReplayOptions, identity: Path | None) -> int:
    """Play each recorded session once; returns the exit code. Args: identity: shown to the other end; None: a new one.

    Raises:
        InputError: something is not usable; nothing was sent.
    """
    _check(options)
    shown = new_wlc() if identity is None else usable_identity(identity, allows_old=False)
    reader = CaptureReader(options.capture, options.capture_keylog)
    exchanges = collect(reader.events())
    scripts = scripts_of(exchanges, of_client=options.target is not None)
    if not scripts:
        found = str(reader.undecrypted[0]) if reader.undecrypted else "none"
        raise InputError(Problem(str(options.capture), "a session in which that side says something", found))
    for remark in reader.remarks():
        complain(remark)
    if any(stream.holes for each in exchanges for stream in (each.client, each.server)):
        complain(f"{options.capture}: it lacks bytes; what lies behind a hole is played all the same")
    complain(_MAY_GO_WRONG)
    found_all: list[Blindly] = []

    def tell(one: Blindly) -> None:
        found_all.append(one)
        say(
            f"{one.script.label}: {one.how}, {one.sent_bytes:,} of {one.script.size:,} bytes sent, "
            f"{one.received_bytes:,} received"
        )

    _run(options, scripts, shown, tell)
    if all(one.is_whole for one in found_all):
        return ExitCode.PASSED
    return ExitCode.INCONCLUSIVE if any(one.received_bytes for one in found_all) else ExitCode.UNREACHABLE


def _check(options: ReplayOptions) -> None:
    unfit = "a profile, and not --raw: nothing can be fitted"
    given = {name: getattr(options, name) for name in ("profile", "scale", "rate", "macs")}
    problems = [Problem(f"--{name}", unfit, str(value)) for name, value in given.items() if value is not None]
    if (options.target is None) == (options.serve != "wlc"):
        found = "both" if options.target else "neither"
        problems.append(Problem("--raw", "--serve wlc or --target, one of them", found))
    if options.aps:
        problems.append(Problem("--aps", unfit, "--raw"))
    if problems:
        raise InputError(problems)


def _run(options: ReplayOptions, scripts: list[Script], identity: Identity, tell: Callable[[Blindly], None]) -> None:
    import trio

    speed = options.speed or 1.0
    if options.target is not None:
        (target, *others) = read_targets(options.target, "--target")
        if others:
            raise InputError(Problem("--target", "one WLC, with --raw", f"{1 + len(others)}"))
        context = mse_context(identity, None, strong=True, old_certificates=False)
        trio.run(visit, scripts, target, context, speed, tell)
        return
    listener = _listener(options.listen or _LISTEN)
    announce(f"ready: 1 WLC at {endpoint_shown(*host_and_port(listener.getsockname()))}")
    context = wlc_context(identity, lambda _: None, None, strong=True, old_certificates=False)
    with listener:
        trio.run(serve, scripts, listener, context, speed, tell)


def _listener(text: str) -> socket.socket:
    check_listen(text)
    address = parse_endpoint(text)
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    try:
        listener = socket.create_server(socket_address(*address), family=family)
    except OSError as error:
        found = f"{endpoint_shown(*address)}: {reason_of(error)}"
        raise InputError(Problem("--listen", "an address where nobody listens yet", found)) from error
    listener.setblocking(False)
    return listener
