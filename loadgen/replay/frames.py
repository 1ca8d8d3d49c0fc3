"""The messages of a recorded session, read by a wire profile. What does not decode is left out, and counted.

Behind a hole, or behind bytes that are no frame, a stream is taken up again where that is certain: where two frames
that decode lie side by side, or one that ends where the bytes do.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import msgspec

from loadgen.capture.streams import Exchange, Stream
from loadgen.errors import RemoteProtocolError
from loadgen.nmsp.catalogue import KIND_OF
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.dialogue import Saying
from loadgen.nmsp.messages import Opaque, Unsupported

# Bytes in a row of which no frame is found: what is behind them is not looked at any more.
_MOST_SKIPPED = 1 << 20


class Said(msgspec.Struct, frozen=True, gc=False):
    """One message of a session.

    Attributes:
        ns: when its last byte was captured.
    """

    ns: int
    saying: Saying
    transaction: int
    frame: bytes
    message: msgspec.Struct


@dataclass(slots=True)
class RecordedSession:
    """What both ends of a recorded session said, in order of each.

    Attributes:
        began_ns: its first packet. label: its ends, for people.
        left_out: messages that are not known ("unknown") or do not decode ("malformed"), and bytes that are in no frame
            ("bytes"). holes: places where the capture lacks some.
    """

    label: str
    client: str
    server: str
    began_ns: int
    wlc: list[Said] = field(default_factory=list)
    mse: list[Said] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    holes: int = 0


def read_session_untrusted(codec: Codec, exchange: Exchange) -> RecordedSession:
    """The messages of an exchange."""
    conversation = exchange.conversation
    client, server = (f"{host}:{port}" for host, port in (conversation.client, conversation.server))
    session = RecordedSession(f"{client} -> {server}", conversation.client[0], server, conversation.began_ns)
    _read_untrusted(codec, exchange.server, session.wlc, session)
    _read_untrusted(codec, exchange.client, session.mse, session)
    return session


def _read_untrusted(codec: Codec, stream: Stream, said: list[Said], session: RecordedSession) -> None:
    session.holes += len(stream.holes)
    for index, (offset, data) in enumerate(stream.runs):
        run, position, skipped = bytes(data), 0, 0
        # A capture may begin in the middle of a session: its first bytes are a frame if they decode.
        certain = index == 0 and offset == 0 and _is_known(_first_untrusted(codec, run))
        while position < len(run):
            size = _size_untrusted(codec, run, position)
            if size is not None and not certain:
                certain = _is_certain_untrusted(codec, run, position, size)
            if size is None or not certain:
                certain = False
                step = _next_header(codec, run, position)
                session.left_out["bytes"] += step
                skipped += step
                position += step
                if skipped > _MOST_SKIPPED:
                    session.left_out["bytes"] += len(run) - position
                    break
                continue
            skipped = 0
            if position + size > len(run):  # its end was not captured
                session.left_out["bytes"] += len(run) - position
                break
            ns = stream.came_ns(offset + position + size - 1)
            _take_untrusted(codec, run[position : position + size], ns, said, session)
            position += size


def _take_untrusted(codec: Codec, frame: bytes, ns: int, said: list[Said], session: RecordedSession) -> None:
    framing = codec.profile.framing
    message = _message_untrusted(codec, frame)
    if message is None:
        session.left_out["malformed"] += 1
    elif isinstance(message, Unsupported):
        session.left_out["unknown"] += 1
    else:
        saying: Saying = message.name if isinstance(message, Opaque) else KIND_OF[type(message)]
        transaction = framing.transaction_of(framing.header.struct.unpack_from(frame))
        said.append(Said(ns, saying, transaction, frame, message))


def _size_untrusted(codec: Codec, run: bytes, position: int) -> int | None:
    """The size of a frame that could begin there; None: none does."""
    framing = codec.profile.framing
    if len(run) - position < framing.head:
        return None
    try:
        return framing.size_untrusted(framing.header.struct.unpack_from(run, position))
    except RemoteProtocolError:
        return None


def _message_untrusted(codec: Codec, frame: bytes) -> msgspec.Struct | None:
    """None: it does not decode."""
    profile, framing = codec.profile, codec.profile.framing
    header = framing.header.struct.unpack_from(frame)
    try:
        number = framing.id_of(header)
        framing.check_untrusted(profile.kinds.get(number), header, memoryview(frame))
        return codec.decode_untrusted(number, memoryview(frame)[framing.head : len(frame) - framing.foot])
    except RemoteProtocolError:
        return None


def _first_untrusted(codec: Codec, run: bytes) -> msgspec.Struct | None:
    size = _size_untrusted(codec, run, 0)
    return None if size is None or size > len(run) else _message_untrusted(codec, run[:size])


def _is_certain_untrusted(codec: Codec, run: bytes, position: int, size: int) -> bool:
    """Whether a frame begins there, and not what only looks like one."""
    frame = run[position : position + size]
    if len(frame) < size or not _is_known(_message_untrusted(codec, frame)):
        return False
    position += size
    if position == len(run):
        return True
    following = _size_untrusted(codec, run, position)
    if following is None or position + following > len(run):
        return False
    return _is_known(_message_untrusted(codec, run[position : position + following]))


def _is_known(message: msgspec.Struct | None) -> bool:
    return message is not None and not isinstance(message, Unsupported)


def _next_header(codec: Codec, run: bytes, position: int) -> int:
    """How far it is to where the next frame might begin: to the next place with the constants of a header."""
    framing = codec.profile.framing
    for name in framing.common:
        value = framing.header.field_struct(name).pack(framing.common[name])
        found = run.find(value, position + 1 + framing.header.offsets[name])
        return (len(run) if found < 0 else found - framing.header.offsets[name]) - position
    return 1
