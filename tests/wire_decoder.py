"""An independent decoder of the reference wire profile, written from docs/wire-profile.md and nothing else.

It shares no code and no data with the package: if both agree on the bytes, the page is right and complete. It needs
only Python's standard library, so it can also be copied to wherever a capture is to be read.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

MAGIC = 0x4E
HEADER_BYTES = 12
MAX_FRAME_BYTES = 65_536
MAX_READINGS = 16
READING_BYTES = 14

Frame = dict[str, Any]


class DecodeError(ValueError):
    """What the page calls an error. `frames` are the frames that were decoded before it was met."""

    def __init__(self, reason: str, frames: Iterable[Frame] = ()) -> None:
        super().__init__(reason)
        self.frames = list(frames)


class Field(NamedTuple):
    name: str
    type: str
    offset: int


class Message(NamedTuple):
    name: str
    sender: str
    body_bytes: int
    """Of a measurement notify: without the readings."""
    fields: tuple[Field, ...]


MESSAGES = {
    1: Message("version_request", "mse", 4, (Field("lowest", "u16", 0), Field("highest", "u16", 2))),
    2: Message("version_response", "wlc", 4, (Field("version", "u16", 0), Field("status", "u16", 2))),
    3: Message("capability", "wlc", 8, (Field("subservices", "u64", 0),)),
    4: Message("subscribe_request", "mse", 8, (Field("subservices", "u64", 0),)),
    5: Message("subscribe_response", "wlc", 12, (Field("subservices", "u64", 0), Field("status", "u16", 8))),
    6: Message("echo_request", "mse", 0, ()),
    7: Message("echo_response", "wlc", 0, ()),
    16: Message(
        "measurement_notify",
        "wlc",
        32,
        (
            Field("sequence", "u64", 0),
            Field("due_ns", "u64", 8),
            Field("sent_ns", "u64", 16),
            Field("station_mac", "mac", 24),
            Field("subservice", "u8", 30),
            Field("reading_count", "u8", 31),
        ),
    ),
}
SENDERS = {message.name: message.sender for message in MESSAGES.values()}

READING = (
    Field("ap_mac", "mac", 0),
    Field("slot", "u8", 6),
    Field("band", "u8", 7),
    Field("source", "u8", 8),
    Field("rssi_a", "i8", 9),
    Field("rssi_b", "i8", 10),
    Field("snr", "i8", 11),
    Field("age_s", "u16", 12),
)

SIZES = {"u8": 1, "i8": 1, "u16": 2, "u32": 4, "u64": 8, "mac": 6}


def _value(record: bytes, field: Field) -> int | str:
    raw = record[field.offset : field.offset + SIZES[field.type]]
    if field.type == "mac":
        return raw.hex(":")
    return int.from_bytes(raw, "big", signed=field.type == "i8")


def _values(record: bytes, fields: Iterable[Field]) -> dict[str, Any]:
    return {field.name: _value(record, field) for field in fields}


def _frame_length(header: bytes) -> int:
    magic, flags, length = header[0], header[1], int.from_bytes(header[4:8], "big")
    if magic != MAGIC:
        raise DecodeError(f"magic: expected {MAGIC:#04x}, found {magic:#04x}")
    if flags != 0:
        raise DecodeError(f"flags: expected 0, found {flags}")
    if not HEADER_BYTES <= length <= MAX_FRAME_BYTES:
        raise DecodeError(f"length: expected {HEADER_BYTES} to {MAX_FRAME_BYTES}, found {length}")
    return length


def _decode_frame(frame: bytes) -> Frame:
    """Decode one whole frame whose header has been checked."""
    msg_id, transaction = int.from_bytes(frame[2:4], "big"), int.from_bytes(frame[8:12], "big")
    body = frame[HEADER_BYTES:]
    message = MESSAGES.get(msg_id)
    if message is None:
        return {"message": "unsupported", "msg_id": msg_id, "transaction": transaction, "fields": {}}
    if message.name != "measurement_notify":
        if len(body) != message.body_bytes:
            raise DecodeError(f"{message.name}: expected a body of {message.body_bytes} bytes, found {len(body)}")
        return {"message": message.name, "transaction": transaction, "fields": _values(body, message.fields)}

    if len(body) < message.body_bytes:
        raise DecodeError(f"{message.name}: expected a body of {message.body_bytes} bytes or more, found {len(body)}")
    fields = _values(body, message.fields)
    count = fields.pop("reading_count")  # from here on the length of `readings`
    if count > MAX_READINGS:
        raise DecodeError(f"reading_count: expected 0 to {MAX_READINGS}, found {count}")
    expected = message.body_bytes + READING_BYTES * count
    if len(body) != expected:
        raise DecodeError(f"reading_count: {count} readings need a body of {expected} bytes, found {len(body)}")
    starts = range(message.body_bytes, expected, READING_BYTES)
    fields["readings"] = [_values(body[start : start + READING_BYTES], READING) for start in starts]
    return {"message": message.name, "transaction": transaction, "fields": fields}


class Decoder:
    """Decodes one direction of a session, whose bytes may come in pieces of any size."""

    def __init__(self) -> None:
        self._pending = b""
        self._failed = False

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that became whole with `data`. After an error there is no going on."""
        if self._failed:
            raise DecodeError("the stream is lost since an earlier error")
        self._pending += data
        frames: list[Frame] = []
        try:
            while len(self._pending) >= HEADER_BYTES:
                length = _frame_length(self._pending[:HEADER_BYTES])
                if len(self._pending) < length:
                    break
                frame, self._pending = self._pending[:length], self._pending[length:]
                frames.append(_decode_frame(frame))
        except DecodeError as error:
            self._failed = True
            error.frames = frames
            raise
        return frames

    def finish(self) -> None:
        """Say that no more bytes will come: an unfinished frame is an error."""
        if self._pending:
            raise DecodeError(f"truncated: the stream ends {len(self._pending)} bytes into a frame")


def decode_frames(data: bytes) -> list[Frame]:
    """Decode the whole of one direction of a session."""
    decoder = Decoder()
    frames = decoder.feed(data)
    try:
        decoder.finish()
    except DecodeError as error:
        error.frames = frames
        raise
    return frames


# What may come next in each state of the exchange, and the state after it.
ORDER = {
    "start": {"version_request": "version requested"},
    "version requested": {"version_response": "version agreed"},
    "version agreed": {"capability": "capability known"},
    "capability known": {"subscribe_request": "subscription requested"},
    "subscription requested": {"subscribe_response": "subscribed"},
    "subscribed": {
        "measurement_notify": "subscribed",
        "echo_request": "subscribed",
        "echo_response": "subscribed",
    },
    "no common version": {},
}


def check_order(frames_with_sender: Iterable[tuple[str, Frame]]) -> None:
    """Check the order of a session, given as (sender, frame) of both directions in the order of time.

    The sender is "mse" or "wlc". A session may end anywhere, so a beginning of the exchange is in order. Unknown
    messages may come from either side at any time.
    """
    state = "start"
    waiting: set[tuple[str, int]] = set()  # (response, transaction) that a request has asked for
    next_sequence = 0
    for number, (sender, frame) in enumerate(frames_with_sender):
        name, transaction, fields = frame["message"], frame["transaction"], frame["fields"]
        where = f"frame {number}, {name} from {sender}"
        if name == "unsupported":
            continue
        if SENDERS[name] != sender:
            raise DecodeError(f"{where}: is sent by {SENDERS[name]} only")
        if name not in ORDER[state]:
            expected = " or ".join(ORDER[state]) or "nothing"
            raise DecodeError(f"{where}: expected {expected} in state '{state}'")
        state = ORDER[state][name]

        if name.endswith("_request"):
            waiting.add((name.replace("_request", "_response"), transaction))
        elif name.endswith("_response"):
            if (name, transaction) not in waiting:
                raise DecodeError(f"{where}: no request is waiting with transaction {transaction}")
            waiting.remove((name, transaction))
        elif transaction != 0:
            raise DecodeError(f"{where}: expected transaction 0, found {transaction}")

        if name == "version_response" and fields["status"] == 1:
            state = "no common version"
        if name == "measurement_notify":
            if fields["sequence"] != next_sequence:
                raise DecodeError(f"{where}: expected sequence {next_sequence}, found {fields['sequence']}")
            next_sequence += 1
