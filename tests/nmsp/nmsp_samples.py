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
from loadgen.nmsp.bulk import NotifyReceiver, Stations
from loadgen.nmsp.catalogue import KIND_OF
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.dialogue import needed
from loadgen.nmsp.messages import Kind, MeasurementNotify, Message, Reading, Unsupported
from loadgen.nmsp.parts import Record
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.profile_document import SIZED, ElementDocument, FieldDocument

# For every property test here: the same examples in every run, and no verdict on how fast the machine is.
REPEATABLE = settings(derandomize=True, deadline=None, database=None)

REFERENCE_TOML = Path(profile_module.__file__).with_name("reference.toml")

# Everything that a profile may do differently from the reference: byte order, a bigger header with gaps before, between
# and after its fields, a length that counts the body, a negative constant, other types, fields out of order; and
# elements of every make.
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
repeat = { record = "heard", count = "readings_n", max = 11 }

[records.heard]
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

# Everything in elements, records too, whose lengths count their heads.
[messages.client_info_notify]
id = 0x2001
size = 0
fields = []
repeat = { record = "client", id = 200, max = 9 }
elements = { type = "u8", length = "u16", length_counts = "element", fields = [
  { name = "subservice", type = "i32", id = 5 },
  { name = "sent_ns", type = "u64", id = 0 },
  { name = "sequence", type = "u64", id = 255 },
  { name = "due_ns", type = "u64", id = 1 },
] }

# Fixed fields, then records side by side, then elements with large heads.
[messages.tag_info_notify]
id = 0x2002
size = 12
fields = [
  { name = "records_n", type = "i16", offset = 1 },
  { name = "sequence", type = "u64", offset = 4 },
]
repeat = { record = "tag", count = "records_n", max = 3 }
elements = { type = "u32", length = "u32", fields = [
  { name = "payload", type = "bytes", id = 0x10000, size = 70 },
  { name = "due_ns", type = "u64", id = 3 },
  { name = "sent_ns", type = "u64", id = 4 },
  { name = "subservice", type = "u8", id = 0xFFFFFFFF },
] }

# One field that must be there, one that may be missing, and no records.
[messages.measurement_request]
id = 0x3001
size = 1
fields = [{ name = "one", type = "u8", offset = 0, value = 1 }]
elements = { type = "u16", length = "u8", fields = [
  { name = "device_mac", type = "mac", id = 2 },
  { name = "subservice", type = "u16", id = 1 },
] }

[messages.measurement_response]
id = 0x3002
size = 6
fields = [{ name = "device_mac", type = "mac", offset = 0 }]
repeat = { record = "heard", id = 7, max = 8 }
elements = { type = "u8", length = "u8", length_counts = "element", fields = [
  { name = "subservice", type = "u8", id = 1 },
  { name = "status", type = "i16", id = 2 },
] }

[records.client]
size = 40
fields = [
  { name = "ssid", type = "text", offset = 1, size = 17 },
  { name = "address", type = "bytes", offset = 18, size = 16 },
  { name = "station_mac", type = "mac", offset = 34 },
]

[records.tag]
size = 9
fields = [{ name = "tag_mac", type = "mac", offset = 0 }, { name = "tx_power", type = "i16", offset = 7 }]
"""

_BITS = {"u8": 8, "u16": 16, "u32": 32, "u64": 64, "i8": 8, "i16": 16, "i32": 32, "i64": 64}


def reference_document() -> dict[str, Any]:
    """The reference profile as TOML gives it, to be changed."""
    return tomllib.loads(REFERENCE_TOML.read_text("utf-8"))


def core_document() -> dict[str, Any]:
    """The reference profile without what a profile may leave out."""
    document = reference_document()
    document["messages"] = {name: table for name, table in document["messages"].items() if name in needed(None)}
    document["records"] = {"reading": document["records"]["reading"]}
    return document


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


def _raw(profile: WireProfile, kind: str, value: Any, size: int | None = None) -> bytes:
    """One value's bytes; text and bytes are filled up to `size`."""
    if kind == "text":
        value = value.encode()
    if kind in ("mac", *SIZED):
        return bytes(value).ljust(size or 0, b"\0")
    return int(value).to_bytes(_BITS[kind] // 8, profile.document.byte_order, signed=kind.startswith("i"))


def by_hand(profile: WireProfile, fields: tuple[FieldDocument, ...], size: int, values: dict[str, Any]) -> bytes:
    """A record's bytes, from the document's offsets alone."""
    out = bytearray(size)
    for field in fields:
        value = field.value if field.value is not None else values[field.name]
        raw = _raw(profile, field.type, value, field.size)
        out[field.offset : field.offset + len(raw)] = raw
    return bytes(out)


def body_by_hand(profile: WireProfile, message: Message) -> bytes:
    """A message's body, from the document alone."""
    document = profile.document
    layout = document.messages[KIND_OF[type(message)].label]
    values = {name: getattr(message, name) for name in message.__struct_fields__}
    repeat, elements, records = layout.repeat, layout.elements, []
    if repeat is not None:
        repeated = next(values[name] for name in values if isinstance(values[name], tuple))
        record = document.records[repeat.record]
        for each in repeated:
            fields = {name: getattr(each, name) for name in each.__struct_fields__}
            records.append(by_hand(profile, record.fields, record.size, fields))
        if repeat.count is not None:
            values[repeat.count] = len(records)
    body = by_hand(profile, layout.fields, layout.size, values)
    if repeat is None or repeat.id is None:
        body += b"".join(records)
    if elements is None:
        return body
    found = [(repeat.id, record) for record in records] if repeat is not None and repeat.id is not None else []
    needed = profile.layouts[KIND_OF[type(message)]].needed
    found += [
        (field.id, _raw(profile, field.type, values[field.name]))
        for field in elements.fields
        if field.type not in SIZED or values[field.name] or field.name in needed
    ]
    for number, value in found:
        head = [_raw(profile, elements.type, number)]
        counted = len(value)
        if elements.length_counts == "element":
            counted += (_BITS[elements.type] + _BITS[elements.length]) // 8
        body += b"".join([*head, _raw(profile, elements.length, counted), value])
    return body


def frame_by_hand(profile: WireProfile, message: Message, transaction: int = 0) -> bytes:
    """A message's frame, from the document alone."""
    layout = profile.document.messages[KIND_OF[type(message)].label]
    return raw_frame(profile, layout.id, body_by_hand(profile, message), transaction)


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


def field_values(kind: str, size: int = 6) -> st.SearchStrategy[Any]:
    """Any value that fits a field type, its limits often."""
    if kind in ("mac", "bytes"):
        return st.binary(min_size=size, max_size=size)
    if kind == "text":  # NULs at the end are what fills a field up
        texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=size)
        return texts.filter(lambda text: len(text.encode()) <= size)
    bits = _BITS[kind]
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if kind.startswith("i") else (0, (1 << bits) - 1)
    return st.sampled_from((low, high)) | st.integers(low, high)


def record_values(record: Record) -> st.SearchStrategy[dict[str, Any]]:
    """Values for the fields of a record that are no constants."""
    return st.fixed_dictionaries(
        {
            name: field_values(record.types[name], record.widths[name])
            for name in record.names
            if name not in record.constants
        }
    )


def _element_values(field: ElementDocument) -> st.SearchStrategy[Any]:
    if field.type == "bytes":
        return st.binary(max_size=field.size)
    return field_values(field.type, field.size or 6)


def messages(profile: WireProfile, kind: Kind) -> st.SearchStrategy[Message]:
    """Any message of a kind that the profile can carry."""
    layout = profile.layouts[kind]
    values: dict[str, st.SearchStrategy[Any]] = {
        name: field_values(layout.body.types[name], layout.body.widths[name])
        for name in layout.body.names
        if name not in layout.body.constants and (layout.repeat is None or name != layout.repeat.counter)
    }
    if (repeat := layout.repeat) is not None:
        each = record_values(repeat.record).map(lambda values: repeat.struct(**values))
        values[repeat.name] = st.lists(each, max_size=min(repeat.max, 16)).map(tuple)
    if layout.elements is not None:
        values |= {field.name: _element_values(field) for field in layout.elements.fields.values()}
    return st.fixed_dictionaries(values).map(lambda values: layout.struct(**values))


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
        assert all(column.dtype == np.int64 for column in columns[:4])
        rows += list(zip(*(column.tolist() for column in columns[:4]), strict=True))
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
            msg_id = profile.ids[KIND_OF[type(message)]]
            controls.append((len(rows), msg_id, transaction, body_by_hand(profile, message)))
    return Received(rows, controls, None, b"")
