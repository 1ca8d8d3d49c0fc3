"""What the tests of this folder share: a second profile, frames laid out by hand, a reader that works as a shard."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

import loadgen.nmsp.profile as profile_module
from loadgen.errors import RemoteProtocolError
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.hot import NotifyReceiver, Stations
from loadgen.nmsp.messages import KIND_OF, Kind, MeasurementNotify, Message, Reading, Unsupported
from loadgen.nmsp.profile import Record, WireProfile
from loadgen.nmsp.profile_document import FieldDocument

# For every property test here: the same examples in every run, and no verdict on how fast the machine is.
REPEATABLE = settings(derandomize=True, deadline=None, database=None)

REFERENCE_TOML = Path(profile_module.__file__).with_name("reference.toml")

# Everything that a profile may do differently from the reference: byte order, a bigger header with gaps before, between
# and after its fields, a length that counts the body, a negative constant, other types, fields out of order.
OTHER_TOML = """
name = "other-2"
byte_order = "little"
max_frame_bytes = 4000

[header]
size = 19
length_counts = "body"
fields = [
  { name = "transaction", type = "u64", offset = 9 },
  { name = "length", type = "u16", offset = 1 },
  { name = "mark", type = "i16", offset = 4, value = -2 },
  { name = "msg_id", type = "u16", offset = 6 },
  { name = "tail", type = "u8", offset = 18, value = 0xA5 },
]

[messages.version_request]
id = 0x0101
size = 7
fields = [{ name = "highest", type = "u8", offset = 1 }, { name = "lowest", type = "u32", offset = 3 }]

[messages.version_response]
id = 0x8101
size = 5
fields = [{ name = "status", type = "i8", offset = 0 }, { name = "version", type = "i16", offset = 3 }]

[messages.capability]
id = 0xFFFF
size = 11
fields = [{ name = "subservices", type = "u64", offset = 3 }, { name = "two", type = "u8", offset = 1, value = 2 }]

[messages.subscribe_request]
id = 0
size = 8
fields = [{ name = "subservices", type = "u64", offset = 0 }]

[messages.subscribe_response]
id = 0x0100
size = 17
fields = [{ name = "status", type = "u64", offset = 9 }, { name = "subservices", type = "u64", offset = 0 }]

[messages.echo_request]
id = 77
size = 3
fields = []

[messages.echo_response]
id = 78
size = 4
fields = [{ name = "pong", type = "i32", offset = 0, value = -1 }]

[messages.measurement_notify]
id = 0x1001
size = 47
fields = [
  { name = "subservice", type = "u32", offset = 3 },
  { name = "readings_n", type = "u16", offset = 45 },
  { name = "sequence", type = "u64", offset = 37 },
  { name = "station_mac", type = "mac", offset = 13 },
  { name = "sent_ns", type = "u64", offset = 20 },
  { name = "due_ns", type = "u64", offset = 29 },
  { name = "kind", type = "u16", offset = 0, value = 513 },
]

[messages.measurement_notify.repeat]
count = "readings_n"
max = 11
size = 21
fields = [
  { name = "age_s", type = "u32", offset = 16 },
  { name = "snr", type = "i16", offset = 14 },
  { name = "rssi_b", type = "i8", offset = 13 },
  { name = "rssi_a", type = "i8", offset = 12 },
  { name = "source", type = "u8", offset = 10 },
  { name = "band", type = "u8", offset = 9 },
  { name = "slot", type = "u8", offset = 8 },
  { name = "ap_mac", type = "mac", offset = 1 },
  { name = "rest", type = "u8", offset = 20, value = 9 },
]
"""

_BITS = {"u8": 8, "u16": 16, "u32": 32, "u64": 64, "i8": 8, "i16": 16, "i32": 32, "i64": 64}


def reference_document() -> dict[str, Any]:
    """The reference profile as TOML gives it, to be changed."""
    return tomllib.loads(REFERENCE_TOML.read_text("utf-8"))


def to_toml(data: dict[str, Any]) -> str:
    """A document as TOML, everything inline."""
    return "\n".join(f"{key} = {_inline(value)}" for key, value in data.items())


def _inline(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


# -- bytes laid out by hand: offsets and int.to_bytes, neither struct nor numpy ----------------------------------------


def by_hand(profile: WireProfile, fields: tuple[FieldDocument, ...], size: int, values: dict[str, Any]) -> bytes:
    """A record's bytes, from the document's offsets alone."""
    out = bytearray(size)
    for field in fields:
        value = field.value if field.value is not None else values[field.name]
        if field.type == "mac":
            raw = bytes(value)
        else:
            order = profile.document.byte_order
            raw = int(value).to_bytes(_BITS[field.type] // 8, order, signed=field.type.startswith("i"))
        out[field.offset : field.offset + len(raw)] = raw
    return bytes(out)


def frame_by_hand(profile: WireProfile, message: Message, transaction: int = 0) -> bytes:
    """A message's frame, from the document alone."""
    document = profile.document
    kind = KIND_OF[type(message)]
    layout = document.messages[kind.label]
    values = {name: getattr(message, name) for name in message.__struct_fields__}
    readings = b""
    if isinstance(message, MeasurementNotify):
        repeat = layout.repeat
        assert repeat is not None
        values[repeat.count] = len(message.readings)
        for reading in message.readings:
            fields = {name: getattr(reading, name) for name in reading.__struct_fields__}
            readings += by_hand(profile, repeat.fields, repeat.size, fields)
    body = by_hand(profile, layout.fields, layout.size, values) + readings
    return raw_frame(profile, layout.id, body, transaction)


def raw_frame(
    profile: WireProfile, msg_id: int, body: bytes, transaction: int = 0, length: int | None = None, **constants: int
) -> bytes:
    """A frame with any id and body; `length` and constant header fields may be wrong on purpose."""
    header = profile.document.header
    if length is None:
        length = len(body) + (header.size if header.length_counts == "frame" else 0)
    values = {"msg_id": msg_id, "length": length, "transaction": transaction}
    fields = tuple(
        FieldDocument(f.name, f.type, f.offset, constants[f.name]) if f.name in constants else f for f in header.fields
    )
    return by_hand(profile, fields, header.size, values) + body


# -- values ------------------------------------------------------------------------------------------------------------


def field_values(kind: str) -> st.SearchStrategy[Any]:
    """Any value that fits a field type, its limits often."""
    if kind == "mac":
        return st.binary(min_size=6, max_size=6)
    bits = _BITS[kind]
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if kind.startswith("i") else (0, (1 << bits) - 1)
    return st.sampled_from((low, high)) | st.integers(low, high)


def record_values(record: Record) -> st.SearchStrategy[dict[str, Any]]:
    """Values for the fields of a record that are no constants."""
    return st.fixed_dictionaries(
        {name: field_values(record.types[name]) for name in record.names if name not in record.constants}
    )


def messages(profile: WireProfile, kind: Kind) -> st.SearchStrategy[Message]:
    """Any message of a kind that the profile can carry."""
    struct = {k: s for s, k in KIND_OF.items()}[kind]
    if kind is not Kind.MEASUREMENT_NOTIFY:
        return record_values(profile.body[kind]).map(lambda values: struct(**values))
    readings = st.lists(
        record_values(profile.reading).map(lambda values: Reading(**values)), max_size=profile.max_readings
    )
    return st.builds(_notify, record_values(profile.notify), readings, st.just(profile.count_field))


def _notify(values: dict[str, Any], readings: list[Reading], count_field: str) -> MeasurementNotify:
    fixed = {name: value for name, value in values.items() if name != count_field}
    return MeasurementNotify(**fixed, readings=tuple(readings))


def notify(sequence: int, readings: int, subservice: int = 0) -> MeasurementNotify:
    """A notification whose every value follows from its number."""
    return MeasurementNotify(
        sequence=sequence,
        due_ns=1_795_000_000_000_000_000 + sequence * 1_000_003,
        sent_ns=1_795_000_000_000_500_000 + sequence * 1_000_033,
        station_mac=bytes((2, 0x53, 0, 0, sequence >> 8 & 255, sequence & 255)),
        subservice=subservice,
        readings=tuple(
            Reading(bytes((2, 0x41, 0, 0, 0, i)), i & 1, i & 1, 1, -40 - i, -42 - i, 30 - i, i) for i in range(readings)
        ),
    )


def stations(profile: WireProfile, counts: list[int], subservice: int = 0) -> tuple[Stations, list[tuple[Any, ...]]]:
    """Stations with these numbers of readings; and (mac, readings) of each one as plain values."""
    rng = np.random.default_rng(len(counts))
    macs = rng.integers(0, 256, (len(counts), 6), np.uint8)
    table = np.zeros((len(counts), max(counts)), profile.reading.dtype)
    plain = []
    for row, count in enumerate(counts):
        readings = []
        for column in range(max(counts)):
            reading = Reading(
                rng.bytes(6), *(int(v) for v in rng.integers(0, 128, 3)), *map(int, rng.integers(-128, 128, 3)), 3
            )
            for name in reading.__struct_fields__:
                table[name][row, column] = np.void(reading.ap_mac) if name == "ap_mac" else getattr(reading, name)
            for name, value in profile.reading.constants.items():
                table[name][row, column] = value
            if column < count:
                readings.append(reading)
        plain.append((macs[row].tobytes(), tuple(readings)))
    return Stations(macs, np.array(counts), table, subservice), plain


# -- reading as a shard does -------------------------------------------------------------------------------------------


def outcome(codec: Codec, msg_id: int, body: memoryview) -> Kind | str:
    """What becomes of a body: the kind of its message, or of the fault; nothing else may leave the codec."""
    try:
        return KIND_OF[type(codec.decode_untrusted(msg_id, body))]
    except RemoteProtocolError as fault:
        return fault.kind


class Received(NamedTuple):
    """What came out of a stream: rows (sequence, due, sent, subservice); controls, each with the number of rows before
    it; the kind of the fault that ended it; and the bytes that were left."""

    rows: list[tuple[int, ...]]
    controls: list[tuple[int, int, int, bytes]]
    fault: str | None
    tail: bytes


def receive(profile: WireProfile, pieces: list[bytes], at: int = 0) -> Received:
    """Feed a stream piece by piece through one buffer, from position `at` on, keeping tails as the shard does."""
    receiver = NotifyReceiver(profile, at + sum(map(len, pieces)) + 1)
    rows: list[tuple[int, ...]] = []
    controls = []
    tail = b""
    for piece in pieces:
        start = at + len(tail)
        end = start + len(piece)
        receiver.view[at:start] = tail
        receiver.view[start:end] = piece
        position = at
        while True:
            scanned = receiver.scan_untrusted(position, end)
            assert position <= scanned.position <= end
            position = scanned.position
            if scanned.fault is not None or scanned.control is None:
                break
            control = scanned.control
            before = len(rows) + receiver.notifications
            controls.append((before, control.msg_id, control.transaction, bytes(control.body)))
        columns = receiver.columns()
        assert all(column.dtype == np.int64 for column in columns)
        rows += list(zip(*(column.tolist() for column in columns), strict=True))
        receiver.reset()
        tail = bytes(receiver.view[position:end])
        if scanned.fault is not None:
            return Received(rows, controls, scanned.fault.kind, tail)
    return Received(rows, controls, None, tail)


def expected(profile: WireProfile, stream: list[tuple[Message, int]]) -> Received:
    """What must come out of these messages, read one by one as values."""
    rows, controls = [], []
    for message, transaction in stream:
        if isinstance(message, MeasurementNotify):
            rows.append((message.sequence, message.due_ns, message.sent_ns, message.subservice))
        else:
            assert not isinstance(message, Unsupported)
            layout = profile.document.messages[KIND_OF[type(message)].label]
            values = {name: getattr(message, name) for name in message.__struct_fields__}
            body = by_hand(profile, layout.fields, layout.size, values)
            controls.append((len(rows), layout.id, transaction, body))
    return Received(rows, controls, None, b"")
