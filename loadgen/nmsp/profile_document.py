"""The file of a wire profile: its tables, and everything that can be wrong with them.

Whatever passes `check` compiles and works: no later stage raises for a profile.
"""

from __future__ import annotations

import struct
from typing import Literal

import msgspec

from loadgen.errors import Problem
from loadgen.nmsp.messages import KIND_OF, Kind, Reading

FieldType = Literal["u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64", "mac"]

# name -> (struct code, numpy code, bytes)
TYPES: dict[str, tuple[str, str, int]] = {
    "u8": ("B", "u1", 1),
    "u16": ("H", "u2", 2),
    "u32": ("I", "u4", 4),
    "u64": ("Q", "u8", 8),
    "i8": ("b", "i1", 1),
    "i16": ("h", "i2", 2),
    "i32": ("i", "i4", 4),
    "i64": ("q", "i8", 8),
    "mac": ("6s", "V6", 6),
}
# Types that the code relies on; every other field of these records may have any integer type.
_REQUIRED_TYPES = {
    "msg_id": ("u16",),
    "length": ("u8", "u16", "u32"),
    "transaction": ("u16", "u32", "u64"),
    "sequence": ("u64",),
    "due_ns": ("u64",),
    "sent_ns": ("u64",),
    "station_mac": ("mac",),
    "ap_mac": ("mac",),
    "subservices": ("u64",),
    "rssi_a": ("i8", "i16", "i32", "i64"),
    "rssi_b": ("i8", "i16", "i32", "i64"),
    "snr": ("i8", "i16", "i32", "i64"),
}
_HEADER_FIELDS = ("msg_id", "length", "transaction")
_NOTIFY_FIELDS = ("sequence", "due_ns", "sent_ns", "station_mac", "subservice")
# Larger frames would not be one TLS record's business any more, and a bound keeps a reader's buffer bounded.
_MAX_FRAME_LIMIT = 1 << 24
# A notification fits into one TLS record (RFC 5246: 2^14 bytes of plaintext), so that it is sent whole or not at all.
MAX_NOTIFY_BYTES = 16384


class FieldDocument(msgspec.Struct, frozen=True):
    name: str
    type: FieldType
    offset: int
    value: int | None = None


class RepeatDocument(msgspec.Struct, frozen=True):
    count: str
    max: int
    size: int
    fields: tuple[FieldDocument, ...]


class HeaderDocument(msgspec.Struct, frozen=True):
    size: int
    fields: tuple[FieldDocument, ...]
    length_counts: Literal["frame", "body"] = "frame"


class MessageDocument(msgspec.Struct, frozen=True):
    id: int
    size: int
    fields: tuple[FieldDocument, ...]
    repeat: RepeatDocument | None = None


class ProfileDocument(msgspec.Struct, frozen=True):
    name: str
    header: HeaderDocument
    messages: dict[str, MessageDocument]
    byte_order: Literal["big", "little"] = "big"
    max_frame_bytes: int = 65536


def check(document: ProfileDocument) -> list[Problem]:
    """Every problem of a profile, with its path in the file."""
    problems: list[Problem] = []
    if not 0 < document.max_frame_bytes <= _MAX_FRAME_LIMIT:
        problems.append(Problem("max_frame_bytes", f"1 to {_MAX_FRAME_LIMIT}", str(document.max_frame_bytes)))
    _check_record("header", document.header.fields, document.header.size, _HEADER_FIELDS, problems)
    wanted = {kind.label: struct_ for struct_, kind in KIND_OF.items() if kind is not Kind.UNSUPPORTED}
    unknown = sorted(document.messages.keys() - wanted.keys())
    problems.extend(Problem(f"messages.{n}", f"one of {', '.join(wanted)}", "an unknown message") for n in unknown)
    seen: dict[int, str] = {}
    for name, message_type in wanted.items():
        where = f"messages.{name}"
        if name not in document.messages:
            problems.append(Problem(where, "a table", "nothing"))
            continue
        message = document.messages[name]
        if not 0 <= message.id <= 0xFFFF:
            problems.append(Problem(f"{where}.id", "a uint16", str(message.id)))
        if (other := seen.setdefault(message.id, name)) != name:
            problems.append(Problem(f"{where}.id", "an id of its own", f"{message.id}, the id of {other}"))
        if name == Kind.MEASUREMENT_NOTIFY.label:
            _check_notify(where, message, document, problems)
            continue
        _check_record(where, message.fields, message.size, message_type.__struct_fields__, problems)
        _check_frame(where, document.header.size + message.size, document, problems)
        if message.repeat is not None:
            problems.append(Problem(f"{where}.repeat", "nothing", "a table (only measurement_notify repeats)"))
    return problems


def _check_notify(where: str, message: MessageDocument, document: ProfileDocument, problems: list[Problem]) -> None:
    repeat = message.repeat
    if repeat is None:
        problems.append(Problem(f"{where}.repeat", "a table (the AP readings)", "nothing"))
        return
    _check_record(where, message.fields, message.size, (*_NOTIFY_FIELDS, repeat.count), problems)
    _check_record(f"{where}.repeat", repeat.fields, repeat.size, Reading.__struct_fields__, problems)
    # In a batch, the fields of header and body are columns of one table, beside the readings.
    taken = {*(field.name for field in document.header.fields), "readings"}
    for index, field in enumerate(message.fields):
        if field.name in taken:
            at = f"{where}.fields[{index}] ({field.name})"
            problems.append(Problem(at, "a name that neither the header nor the readings have", field.name))
    if repeat.count in _NOTIFY_FIELDS:
        problems.append(Problem(f"{where}.repeat.count", "a field that only counts", repeat.count))
    if not 0 < repeat.max <= 255:
        problems.append(Problem(f"{where}.repeat.max", "1 to 255", str(repeat.max)))
    elif any(field.name == repeat.count and not _fits(repeat.max, field.type) for field in message.fields):
        problems.append(Problem(f"{where}.repeat.max", f"a number that {repeat.count} holds", str(repeat.max)))
    largest = document.header.size + message.size + repeat.max * repeat.size
    _check_frame(where, largest, document, problems)
    if largest > MAX_NOTIFY_BYTES:
        problems.append(Problem(where, f"at most {MAX_NOTIFY_BYTES} bytes with header and readings", str(largest)))


def _check_frame(where: str, largest: int, document: ProfileDocument, problems: list[Problem]) -> None:
    """A message's largest frame fits the limit, and its size the length field."""
    if largest > document.max_frame_bytes:
        problems.append(Problem("max_frame_bytes", f"room for {where}, {largest} bytes", str(document.max_frame_bytes)))
    counted = largest - (document.header.size if document.header.length_counts == "body" else 0)
    problems.extend(
        Problem("header.fields (length)", f"a type that holds {counted} ({where})", field.type)
        for field in document.header.fields
        if field.name == "length" and not _fits(counted, field.type)
    )


def _check_record(
    where: str, fields: tuple[FieldDocument, ...], size: int, required: tuple[str, ...], problems: list[Problem]
) -> None:
    if not 0 <= size <= _MAX_FRAME_LIMIT:
        problems.append(Problem(f"{where}.size", f"0 to {_MAX_FRAME_LIMIT}", str(size)))
    names: set[str] = set()
    taken: list[tuple[int, int, str]] = []
    for index, field in enumerate(fields):
        at = f"{where}.fields[{index}] ({field.name})"
        end = field.offset + TYPES[field.type][2]
        if field.name in names:
            problems.append(Problem(at, "a name of its own", "a second field of that name"))
        names.add(field.name)
        if field.offset < 0:
            problems.append(Problem(f"{at}.offset", "0 or more", str(field.offset)))
        if end > size:
            problems.append(Problem(at, f"to end within the record of {size} bytes", f"an end at byte {end}"))
        for start, stop, other in taken:
            if field.offset < stop and start < end:
                problems.append(Problem(at, "bytes of its own", f"an overlap with {other}"))
        taken.append((field.offset, end, field.name))
        _check_field(at, field, required, problems)
    problems.extend(Problem(f"{where}.fields", f"a field {name}", "none") for name in required if name not in names)


def _check_field(at: str, field: FieldDocument, required: tuple[str, ...], problems: list[Problem]) -> None:
    allowed = _REQUIRED_TYPES.get(field.name)
    if allowed and field.type not in allowed:
        problems.append(Problem(f"{at}.type", " or ".join(allowed), field.type))
    elif field.type == "mac" and not allowed:
        problems.append(Problem(f"{at}.type", "an integer type", field.type))
    if field.name in required:
        if field.value is not None:
            problems.append(Problem(f"{at}.value", "nothing: this field varies", str(field.value)))
    elif field.value is None:
        problems.append(Problem(at, f"one of {', '.join(required)}, or a constant value", "neither"))
    elif not _fits(field.value, field.type):
        problems.append(Problem(f"{at}.value", f"a value that fits {field.type}", str(field.value)))


def _fits(value: int, kind: str) -> bool:
    code, _, _ = TYPES[kind]
    try:
        struct.pack("<" + code, value)
    except struct.error:
        return False
    return True
