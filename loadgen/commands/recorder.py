"""A recording: from options to a relay, and from there to what came of it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from loadgen import __version__
from loadgen.capture.writing import file_header
from loadgen.commands.identities import new_wlc, usable_identity
from loadgen.commands.options import RecordOptions
from loadgen.commands.source import read_duration
from loadgen.diagnosis.listed import read_listed
from loadgen.errors import ExitCode, InputError, Problem, noting
from loadgen.hosts import endpoint_shown, parse_endpoint
from loadgen.identity.keyhash import HashAlgorithm, HashedBytes
from loadgen.prepare.addresses import check_listen, read_targets
from loadgen.prepare.keys import read_trust
from loadgen.prepare.limits import allow_all_descriptors
from loadgen.relay.files import CaptureFiles, Limits
from loadgen.relay.parties import Parties
from loadgen.relay.recording import Recording, RecordProgress
from loadgen.relay.relay import Relay
from loadgen.run import signals
from loadgen.transport.address import host_and_port, socket_address
from loadgen.units import NEVER_NS, Size

_BACKLOG = 1024
# A header, a handshake and a record fit in.
_LEAST_BYTES = 64 << 10
_PRIVATE = (
    "PRIVATE: the file holds, in plain, what the network tells of people's devices: MAC and IP addresses, where they "
    "are. Only you can read it (mode 0600); keep it so, and hand on only what `loadgen record anonymize` makes of it"
)
_OPEN_DOOR = (
    "whoever reaches {} gets through to the WLC with this identity, with any certificate or none: --auth-list lets in "
    "whom you name"
)


@dataclass(frozen=True)
class RecordResult:
    """What came of a recording.

    Attributes:
        progress: sessions and bytes, at the end.
        paths: of the files that are there, oldest first.
        interrupted: it was ended by a signal, and not by a limit.
    """

    progress: RecordProgress
    paths: tuple[Path, ...]
    interrupted: bool

    @property
    def exit_code(self) -> ExitCode:
        """What is in the files is what a recording is for: that something is missing there counts first."""
        if self.progress.trouble:
            return ExitCode.NOT_WRITTEN
        if self.interrupted:
            return ExitCode.INTERRUPTED
        if self.progress.came_up:
            return ExitCode.PASSED
        return ExitCode.UNREACHABLE if self.progress.failed else ExitCode.INCONCLUSIVE


@dataclass(frozen=True)
class _Prepared:
    """What the options name, read and checked."""

    listen: tuple[str, int]
    target: tuple[str, int]
    parties: Parties
    limits: Limits
    most_ns: int | None
    timeout_ns: int


def record(
    options: RecordOptions,
    *,
    on_line: Callable[[str], None],
    on_warning: Callable[[str], None],
    on_progress: Callable[[RecordProgress], None],
    on_listening: Callable[[Sequence[tuple[str, int]]], None],
) -> RecordResult:
    """Record until a limit, or a signal.

    Args:
        on_line: told what happens; on_warning: and what nobody should miss.

    Raises:
        InputError: something is not usable; nobody was listened to, and no file was made.
    """
    prepared = _prepare(options)
    allow_all_descriptors()
    listener = _listen(prepared.listen)
    at = host_and_port(listener.getsockname())
    clock = time.monotonic_ns
    began_ns = clock()
    try:
        files = CaptureFiles(
            options.out,
            _header(prepared, at),
            prepared.limits,
            lambda: f"{datetime.now(UTC):%Y%m%d%H%M%S}",
            began_ns,
            replace=options.force,
        )
    except BaseException:
        listener.close()
        raise
    recording = Recording(
        files,
        prepared.parties,
        on_line=on_line,
        on_warning=on_warning,
        on_progress=on_progress,
        began_ns=began_ns,
        ends_ns=NEVER_NS if prepared.most_ns is None else began_ns + prepared.most_ns,
    )
    for line in _opening_lines(prepared, at, files.paths[0]):
        on_line(line)
    on_warning(_PRIVATE)
    if prepared.parties.listed is None:
        on_warning(_OPEN_DOOR.format(endpoint_shown(*at)))
    with signals.awaited() as ender:
        relay = Relay(
            listener,
            prepared.target,
            prepared.parties.contexts(),
            recording,
            timeout_ns=prepared.timeout_ns,
            clock=clock,
            ender=ender,
        )
        on_listening([at])
        try:
            relay.run()
        finally:
            recording.flush(clock())
            files.close()
    return RecordResult(recording.progress, tuple(files.paths), relay.interrupted)


def _prepare(options: RecordOptions) -> _Prepared:
    """Raises: InputError: with everything that is wrong."""
    problems: list[Problem] = []
    listen = target = ("", 0)
    mse = wlc = None
    trusted = listed = None
    allows_old = options.old_certificates or not options.strong_cipher
    with noting(problems):
        check_listen(options.listen)
        listen = parse_endpoint(options.listen)
    with noting(problems):
        targets = read_targets(options.target, "--target", "wlc=HOST:PORT")
        if len(targets) > 1:
            raise InputError(Problem("--target", "one WLC: a recording is of one", f"{len(targets)}"))
        target = targets[0]
    with noting(problems):
        mse = usable_identity(options.identity, allows_old=allows_old)
    with noting(problems):
        wlc = (
            new_wlc() if options.wlc_identity is None else usable_identity(options.wlc_identity, allows_old=allows_old)
        )
    with noting(problems):
        trusted = None if options.trust is None else read_trust(options.trust)
    with noting(problems):
        listed = None if options.auth_list is None else read_listed(options.auth_list)
    limits, most_ns, timeout_ns = _limits(options, problems)
    if problems or mse is None or wlc is None:
        raise InputError(problems)
    parties = Parties(
        mse,
        wlc,
        trusted,
        options.demand_certificate,
        listed,
        cast(HashAlgorithm, options.key_hash),
        cast(HashedBytes, options.hash_over),
        options.strong_cipher,
        options.old_certificates,
    )
    return _Prepared(listen, target, parties, limits, most_ns, timeout_ns)


def _limits(options: RecordOptions, problems: list[Problem]) -> tuple[Limits, int | None, int]:
    limits, most_ns, timeout_ns = Limits(), None, 0
    with noting(problems):
        timeout_ns = read_duration(options.timeout, "--timeout")
    with noting(problems):
        most_ns = None if options.max_time is None else read_duration(options.max_time, "--max-time")
    with noting(problems):
        file_ns = 0 if options.rotate_time is None else read_duration(options.rotate_time, "--rotate-time")
        file_bytes = 0 if options.rotate_size is None else _size(options.rotate_size, "--rotate-size")
        total_bytes = 0 if options.max_size is None else _size(options.max_size, "--max-size")
        limits = Limits(file_bytes, file_ns, options.files or 0, total_bytes)
        if limits.files and not limits.rotates:
            raise InputError(Problem("--files", "--rotate-size or --rotate-time beside it", "neither"))
    return limits, most_ns, timeout_ns


def _size(text: str, option: str) -> int:
    try:
        size = Size.parse(text)
    except ValueError as error:
        raise InputError(Problem(option, str(error).removeprefix("Expected "), f'"{text}"')) from error
    if size < _LEAST_BYTES:
        raise InputError(Problem(option, f"at least {_LEAST_BYTES >> 10}KiB", f'"{text}"'))
    return int(size)


def _listen(address: tuple[str, int]) -> socket.socket:
    """Raises: InputError: it cannot be listened there."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    try:
        listener = socket.create_server(socket_address(*address), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        found = f"{endpoint_shown(*address)}: {getattr(error, 'strerror', None) or error}"
        raise InputError(Problem("--listen", "an address where nobody listens yet", found)) from error
    listener.setblocking(False)
    return listener


def _header(prepared: _Prepared, at: tuple[str, int]) -> bytes:
    parties, target = prepared.parties, endpoint_shown(*prepared.target)
    return file_header(
        application=f"loadgen {__version__} record",
        interface="loadgen",
        description="decrypted: plaintext of TLS tunnels between MSEs and a WLC; TCP and IP around it are synthetic",
        comment=f"recorded by a man in the middle at {endpoint_shown(*at)}; to MSEs it was the WLC "
        f"{parties.named(parties.wlc.certificate())}; to the WLC {target} it was the MSE "
        f"{parties.named(parties.mse.certificate())}",
    )


def _opening_lines(prepared: _Prepared, at: tuple[str, int], path: Path) -> list[str]:
    parties = prepared.parties
    shown = endpoint_shown(*at)
    return [
        f"recording what MSEs at {shown} and the WLC {endpoint_shown(*prepared.target)} say, into {path}",
        f"to MSEs we are the WLC {parties.named(parties.wlc.certificate())}",
        f"to the WLC we are the MSE {parties.named(parties.mse.certificate())}, which it must list",
    ]
