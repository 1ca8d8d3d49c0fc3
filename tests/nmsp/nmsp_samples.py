"""What the tests of this folder share: a second profile, frames laid out by hand, a reader that works as a shard."""

from __future__ import annotations

import tomllib
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from nmsp_by_hand import BITS, NS, fields_by_hand, table_by_hand

import loadgen.nmsp.profile as profile_module
from loadgen.errors import RemoteProtocolError
from loadgen.nmsp.bulk import NotifyReceiver, Stations
from loadgen.nmsp.catalogue import KIND_OF
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.dialogue import needed
from loadgen.nmsp.messages import Kind, MeasurementNotify, Message, Reading, Role, Unsupported
from loadgen.nmsp.parts import Record
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.profile_check import shape_of
from loadgen.nmsp.profile_document import (
    ElementDocument,
    ElementsDocument,
    FieldDocument,
    MessageDocument,
    ProfileDocument,
    RecordDocument,
)

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


# -- bytes that are wrong on purpose -----------------------------------------------------------------------------------


def by_hand(profile: WireProfile, fields: tuple[FieldDocument, ...], size: int, values: dict[str, Any]) -> bytes:
    """A record's bytes, from the document's offsets alone."""
    return fields_by_hand(profile.document.byte_order, fields, size, values, {})


def body_by_hand(profile: WireProfile, message: Message) -> bytes:
    """A message's body, from the document alone."""
    return table_by_hand(profile.document, profile.document.messages[KIND_OF[type(message)].label], message)


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


# Strategies are kept: hypothesis looks into a new one, and all that it is made of, before it draws from it.


@cache
def field_values(kind: str, size: int = 6) -> st.SearchStrategy[Any]:
    """Any value that fits a field type, its limits often."""
    if kind in ("mac", "bytes"):
        return st.binary(min_size=size, max_size=size)
    if kind == "text":  # NULs at the end are what fills a field up
        texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=size)
        return texts.filter(lambda text: len(text.encode()) <= size)
    bits = BITS[kind]
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if kind.startswith("i") else (0, (1 << bits) - 1)
    return st.sampled_from((low, high)) | st.integers(low, high)


@cache
def _time_values(unit: str, bits: int) -> st.SearchStrategy[int]:
    """Times that a field tells exactly; an int64 holds them all."""
    if unit in NS:
        return st.integers(0, min((1 << bits) - 1, ((1 << 63) - 1) // NS[unit])).map(lambda many: many * NS[unit])
    step = 1000 if unit == "s+us" else 1
    return st.tuples(st.integers(0, (1 << 32) - 1), st.integers(0, 10**9 // step - 1)).map(
        lambda pair: pair[0] * 10**9 + pair[1] * step
    )


@lru_cache(300)
def record_values(record: Record) -> st.SearchStrategy[dict[str, Any]]:
    """Values for the fields of a record that are no constants, and no times."""
    return st.fixed_dictionaries(
        {
            name: field_values(record.types[name], record.widths[name])
            for name in record.names
            if name not in record.constants
        }
    )


def _value_of(field: FieldDocument | ElementDocument) -> st.SearchStrategy[Any]:
    if field.type == "time":
        return _time_values(field.unit or "", 8 * (field.size or 0))
    return field_values(field.type, field.size or 6)


def _element_values(field: ElementDocument, elements: ElementsDocument, default: object) -> st.SearchStrategy[Any]:
    """Bytes fill whole units, or come back with zeros; what may be missing and is empty is not sent."""
    if field.type != "bytes":
        return _value_of(field)
    head = (BITS[elements.type] + BITS[elements.length]) // 8 if elements.length_counts == "element" else 0
    sizes = [n for n in range((field.size or 0) + 1) if (n + head) % elements.length_unit == 0 and (n or not default)]
    made = st.sampled_from(sizes).flatmap(lambda n: st.binary(min_size=n, max_size=n)) if sizes else None
    if default is msgspec.NODEFAULT:
        return made if made is not None else st.nothing()
    return st.just(default if not sizes else b"") if made is None else made


@lru_cache(300)
def messages(profile: WireProfile, kind: Kind) -> st.SearchStrategy[Message]:
    """Any message of a kind that the profile can carry, such that it comes back as it was."""
    return values_of(profile.document, profile.document.messages[kind.label], profile.layouts[kind].struct)


def values_of(
    document: ProfileDocument, table: MessageDocument | RecordDocument, struct: type[msgspec.Struct]
) -> st.SearchStrategy[Any]:
    """Any message or record that a table carries."""
    repeat, counters = table.repeat, {table.length if isinstance(table, RecordDocument) else None}
    counters |= {None if repeat is None else repeat.count}
    values: dict[str, st.SearchStrategy[Any]] = {
        field.name: _value_of(field)
        for field in (*table.fields, *(() if table.tail is None else table.tail.fields))
        if field.value is None and field.name not in counters
    }
    if repeat is not None:
        shape = shape_of(struct)
        assert shape.repeated is not None
        name, repeated = shape.repeated
        each = values_of(document, document.records[repeat.record], repeated)
        values[name] = st.lists(each, max_size=min(repeat.max, 16)).map(tuple)
    inside = shape_of(struct).repeated if repeat is None else None
    if table.elements is not None:
        defaults = {field.name: field.default for field in msgspec.structs.fields(struct)}
        if inside is not None:
            defaults = {field.name: field.default for field in msgspec.structs.fields(inside[1])} | defaults
        values |= {
            field.name: _element_values(field, table.elements, defaults[field.name]) for field in table.elements.fields
        }
    return st.fixed_dictionaries(values).map(lambda found: struct(**_with_record(struct, inside, found)))


def _with_record(
    struct: type[msgspec.Struct], inside: tuple[str, type[msgspec.Struct]] | None, found: dict[str, Any]
) -> dict[str, Any]:
    """Values of a message; those of its one record, if that stands in it, in a record."""
    if inside is None:
        return found
    own = {name: value for name, value in found.items() if name in struct.__struct_fields__}
    return own | {inside[0]: (inside[1](**{name: each for name, each in found.items() if name not in own}),)}


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
    table = np.zeros((len(counts), max(counts)), profile.readings_dtype)
    plain = []
    for row, count in enumerate(counts):
        readings = []
        for column in range(max(counts)):
            reading = Reading(
                rng.bytes(6), *(int(v) for v in rng.integers(0, 128, 3)), *map(int, rng.integers(-128, 128, 3)), 3
            )
            known = [name for name in table.dtype.names or () if name in Reading.__struct_fields__]  # no constants
            reading = Reading(
                **{name: value for name, value in msgspec.structs.asdict(reading).items() if name in known}
            )
            for name in known:
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


def read_frame(profile: WireProfile, frame: bytes, sender: Role = Role.WLC) -> tuple[Message, int]:
    """A frame's message and its transaction, read as a session does. Args: sender: who says it.

    Raises:
        RemoteProtocolError: whatever is wrong with it.
    """
    framing = profile.framing
    header = framing.header.struct.unpack_from(frame)
    size = framing.size_untrusted(header)
    if size != len(frame):
        raise RemoteProtocolError("malformed", f"a frame of {size} bytes in {len(frame)}")
    number, view = framing.id_of(header), memoryview(frame)
    framing.check_untrusted(number, header, view)
    body = view[framing.head : len(frame) - framing.foot]
    return Codec(profile).decode_untrusted(number, body, sender=sender), framing.transaction_of(header)


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
