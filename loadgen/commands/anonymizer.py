"""`loadgen record anonymize`: a capture written anew without the names of who and what it is about."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from loadgen.capture.anonymous import IPAddress, ListedNames, Pseudonyms
from loadgen.capture.events import Address, Closed, Data, Event, Hole, How, Opened
from loadgen.capture.reading import events_of, secrets_of
from loadgen.capture.tally import Tally
from loadgen.capture.tls import TunnelKeys, Undecrypted, decrypted
from loadgen.capture.writing import TunnelWriter, file_header
from loadgen.commands.anonymous_frames import AnonymousCount, FrameAnonymizer, ListAnonymizer, Part, StreamAnonymizer
from loadgen.commands.options import AnonymizeOptions
from loadgen.errors import InputError, NotWritten, Problem
from loadgen.files import read_bounded
from loadgen.identity.mac import bare_mac, parse_mac
from loadgen.nmsp.messages import Role
from loadgen.nmsp.profile import load_profile, reference_profile
from loadgen.relay.files import CaptureFiles, Limits

__all__ = ["AnonymizeResult", "anonymize"]

_CHUNK = 1 << 20
_MOST_LIST_BYTES = 1 << 24
_MOST_KEY_LOG_BYTES = 1 << 28
_KEY_BYTES = 16
_MOST_KEY_BYTES = 1 << 16
_FLUSH_BYTES = 1 << 20


@dataclass(frozen=True)
class AnonymizeResult:
    count: AnonymousCount
    tally: Tally
    undecrypted: list[Undecrypted]


def anonymize(options: AnonymizeOptions) -> AnonymizeResult:
    """Write it.

    Raises:
        InputError: something given is not usable; or the capture is none, or damaged.
        NotWritten: the disk took no more.
    """
    count, tally, undecrypted = AnonymousCount(), Tally(), list[Undecrypted]()
    result = AnonymizeResult(count, tally, undecrypted)
    names, stream_of = _prepare(options, count)
    keys = _keys(options)
    header = file_header(application="loadgen", interface="tunnel", description="anonymous, written anew by loadgen")
    files = CaptureFiles(options.out, header, Limits(), lambda: "", 0, replace=options.force)
    try:
        name = str(options.source)
        events = events_of(_chunks(options.source), name=name, tally=tally)
        tunnels: dict[int, _Tunnel] = {}
        waiting = 0
        for event in decrypted(events, keys, undecrypted):
            blocks = _written(event, tunnels, names, stream_of, count)
            files.put(blocks, 0)
            waiting += len(blocks)
            if waiting > _FLUSH_BYTES:
                files.flush()
                waiting = 0
    finally:
        files.close()
    if files.trouble:
        raise NotWritten(result, [f"{options.out}: {files.trouble}"])
    return result


@dataclass
class _Tunnel:
    """What of a conversation is under way, by who says it: the client (True) or the server."""

    writer: TunnelWriter
    streams: dict[bool, StreamAnonymizer]
    closed: set[bool] = field(default_factory=set)
    # What follows there is not known: it does not end in the file either.
    lost: set[bool] = field(default_factory=set)


def _written(
    event: Event,
    tunnels: dict[int, _Tunnel],
    names: Pseudonyms,
    stream_of: Callable[[Role], StreamAnonymizer],
    count: AnonymousCount,
) -> bytes:
    """The blocks that an event becomes."""
    conversation = event.conversation
    tunnel = tunnels.get(conversation.index)
    if tunnel is None:
        if isinstance(event, Closed):
            return b""
        count.conversations += 1
        ends = (_other_end(end, names) for end in (conversation.client, conversation.server))
        tunnel = tunnels[conversation.index] = _Tunnel(
            TunnelWriter(*ends), {True: stream_of(Role.MSE), False: stream_of(Role.WLC)}
        )
        begun = tunnel.writer.open(conversation.began_ns)
        return begun if isinstance(event, Opened) else begun + _said(event, tunnel)
    blocks = b"" if isinstance(event, Opened) else _said(event, tunnel)
    if len(tunnel.closed) == 2:
        del tunnels[conversation.index]
    return blocks


def _said(event: Data | Hole | Closed, tunnel: _Tunnel) -> bytes:
    way, writer, stream = event.of_client, tunnel.writer, tunnel.streams[event.of_client]
    if way in tunnel.closed:
        return b""
    if isinstance(event, Data):
        return _put(tunnel, way, event.ns, stream.data(event.data))
    if isinstance(event, Hole):
        blocks = _put(tunnel, way, event.ns, stream.hole())
        writer.skip(way, event.length or 0)
        if event.length is None:
            tunnel.lost.add(way)
        return blocks
    tunnel.closed.add(way)
    rest = _put(tunnel, way, event.ns, stream.end())
    is_whole = way not in tunnel.lost and not stream.is_lost
    return rest + writer.close(way, event.ns, event.how if is_whole else How.CUT)


def _put(tunnel: _Tunnel, way: bool, ns: int, parts: Iterable[Part]) -> bytes:
    blocks = b""
    for part in parts:
        if isinstance(part, int):
            tunnel.writer.skip(way, part)
        else:
            blocks += tunnel.writer.data(way, ns, part)
    return blocks


def _other_end(end: Address, names: Pseudonyms) -> Address:
    address, port = end
    packed = names.address(ip_address(address).packed)
    return str(ip_address(packed)), port


# -- what is given -----------------------------------------------------------------------------------------------------


def _prepare(options: AnonymizeOptions, count: AnonymousCount) -> tuple[Pseudonyms, Callable[[Role], StreamAnonymizer]]:
    if (options.profile is None) == (options.list is None):
        found = "neither" if options.profile is None else "both"
        raise InputError([Problem("--profile or --list", "one of them", found)])
    key = secrets.token_bytes(32)
    if options.key is not None:
        key = read_bounded(options.key, _MOST_KEY_BYTES, "a key: any bytes that nobody can guess")
        if len(key) < _KEY_BYTES:
            raise InputError([Problem(str(options.key), f"a key of at least {_KEY_BYTES} bytes", f"{len(key)} bytes")])
    names = Pseudonyms(key)
    if options.profile is not None:
        profile = reference_profile() if str(options.profile) == "reference" else load_profile(options.profile)
        return names, lambda role: FrameAnonymizer(profile, role, names, count, keeps_unknown=options.keep_unknown)
    assert options.list is not None
    listed = ListedNames(*_listed(options.list), names)
    return names, lambda _: ListAnonymizer(listed, count)


def _listed(path: Path) -> tuple[list[bytes], list[IPAddress]]:
    """MACs and addresses, one in a line; behind a # is a comment.

    Raises:
        InputError: a line is neither.
    """
    macs, addresses, problems = list[bytes](), list[IPAddress](), list[Problem]()
    data = read_bounded(path, _MOST_LIST_BYTES, "MACs and IP addresses, one in a line")
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        with suppress(ValueError):
            macs.append(bytes.fromhex(bare_mac(parse_mac(text))))
            continue
        try:
            addresses.append(ip_address(text))
        except ValueError:
            problems.append(Problem(f"{path}, line {number}", "a MAC or an IP address", f'"{text[:80]}"'))
    if problems:
        raise InputError(problems)
    return macs, addresses


def _keys(options: AnonymizeOptions) -> TunnelKeys:
    """Of the key log that is given, and of those in the capture, wherever they lie."""
    keys = TunnelKeys()
    for log in secrets_of(_chunks(options.source), name=str(options.source)):
        keys.add(log)
    if options.keylog is not None:
        keys.add(read_bounded(options.keylog, _MOST_KEY_LOG_BYTES, "a key log in NSS's format"))
    return keys


def _chunks(path: Path) -> Iterator[bytes]:
    """Raises: InputError: it cannot be read."""
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except OSError as error:
        found = (error.strerror or str(error)).lower()
        raise InputError(Problem(str(path), "a capture that can be read", found)) from error
