"""A wire profile: the layout of NMSP on the wire as data (TOML), compiled into `struct.Struct` and numpy dtypes.

The real layout is not public, so it is a table and not code. One table makes both the layout of one message (struct)
and of a batch (dtype); tests prove that they give the same bytes.
"""

from __future__ import annotations

import hashlib
import struct
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from loadgen.errors import InputError, Problem
from loadgen.nmsp.messages import KIND_OF, Kind, Reading
from loadgen.strict import convert_untrusted, read_toml_untrusted

FieldType = Literal["u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64", "mac"]

# name -> (struct code, numpy code, bytes)
_TYPES: dict[str, tuple[str, str, int]] = {
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
    "sequence": ("u32", "u64"),
    "due_ns": ("u64",),
    "sent_ns": ("u64",),
    "station_mac": ("mac",),
    "ap_mac": ("mac",),
    "subservices": ("u64",),
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


class Record:
    """A fixed-size run of fields.

    Attributes:
        format: struct format without the byte order; gaps are zero bytes.
        struct: the fields in order of offset, for one record.
        dtype: the same for an array of records.
    """

    def __init__(self, fields: tuple[FieldDocument, ...], size: int, order: str) -> None:
        fields = tuple(sorted(fields, key=lambda field: field.offset))
        self.size = size
        self.names = tuple(field.name for field in fields)
        self.types = {field.name: field.type for field in fields}
        self.offsets = {field.name: field.offset for field in fields}
        self.constants = {field.name: field.value for field in fields if field.value is not None}
        self.format, end = "", 0
        for field in fields:
            code, _, width = _TYPES[field.type]
            self.format += "x" * (field.offset - end) + code
            end = field.offset + width
        self.format += "x" * (size - end)
        self.struct = struct.Struct(order + self.format)
        self.dtype = np.dtype(
            {
                "names": list(self.names),
                "formats": [order + _TYPES[field.type][1] for field in fields],
                "offsets": [field.offset for field in fields],
                "itemsize": size,
            }
        )
        self._order = order

    def field_struct(self, name: str) -> struct.Struct:
        """The layout of one field alone, to be read at its offset."""
        return struct.Struct(self._order + _TYPES[self.types[name]][0])


class WireProfile:
    """A compiled profile.

    Attributes:
        digest: 12 hex digits over the layout.
        header, body, reading: layouts of the header, of each kind's fixed part, of one AP reading.
        ids: wire id of each kind; `kinds` is the inverse.
        length_of_header: what to add to the length field to get the frame's size.
        count_field: the field of measurement_notify that says how many readings follow; at most `max_readings`.
    """

    def __init__(self, document: ProfileDocument) -> None:
        self.document = document
        self.name = document.name
        self.digest = hashlib.sha256(msgspec.json.encode(document)).hexdigest()[:12]
        self.max_frame_bytes = document.max_frame_bytes
        self.order = ">" if document.byte_order == "big" else "<"
        self.header = Record(document.header.fields, document.header.size, self.order)
        self.length_of_header = 0 if document.header.length_counts == "frame" else self.header.size
        by_label = {kind.label: kind for kind in KIND_OF.values()}
        self.body = {
            by_label[name]: Record(message.fields, message.size, self.order)
            for name, message in document.messages.items()
        }
        self.ids = {by_label[name]: message.id for name, message in document.messages.items()}
        self.kinds = {number: kind for kind, number in self.ids.items()}
        repeat = document.messages[Kind.MEASUREMENT_NOTIFY.label].repeat
        assert repeat is not None  # _check has seen to it
        self.reading = Record(repeat.fields, repeat.size, self.order)
        self.count_field = repeat.count
        self.max_readings = repeat.max
        self.notify = self.body[Kind.MEASUREMENT_NOTIFY]
        self.notify_fixed_bytes = self.header.size + self.notify.size

    def notify_bytes(self, readings: int) -> int:
        """Size of a measurement notification's frame."""
        return self.notify_fixed_bytes + readings * self.reading.size

    def notify_struct(self, readings: int) -> struct.Struct:
        """The whole frame of one measurement notification: header, fixed part, readings."""
        return struct.Struct(self.order + self.header.format + self.notify.format + self.reading.format * readings)

    def notify_dtype(self, readings: int) -> np.dtype[np.void]:
        """The same frame for an array of them: fields of header and fixed part, and `readings` as a sub-array."""
        names: list[str] = []
        formats: list[Any] = []
        offsets: list[int] = []
        for record, base in ((self.header, 0), (self.notify, self.header.size)):
            for name in record.names:
                names.append(name)
                formats.append(record.dtype.fields[name][0])  # type: ignore[index]
                offsets.append(base + record.offsets[name])
        if readings:
            names.append("readings")
            formats.append((self.reading.dtype, (readings,)))
            offsets.append(self.notify_fixed_bytes)
        return np.dtype(
            {"names": names, "formats": formats, "offsets": offsets, "itemsize": self.notify_bytes(readings)}
        )


def load_profile(path: Path) -> WireProfile:
    """Read and compile a profile file.

    Raises:
        InputError: every problem with its path in the file.
    """
    document = convert_untrusted(read_toml_untrusted(path, "a wire profile"), ProfileDocument, str(path))
    if problems := _check(document):
        raise InputError([Problem(f"{path}: {p.where}", p.expected, p.found) for p in problems])
    return WireProfile(document)


@cache
def reference_profile() -> WireProfile:
    """The profile that comes with this package (ours, not any vendor's)."""
    return load_profile(Path(__file__).with_name("reference.toml"))


def _check(document: ProfileDocument) -> list[Problem]:
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
    if not 0 < repeat.max <= 255:
        problems.append(Problem(f"{where}.repeat.max", "1 to 255", str(repeat.max)))
    largest = document.header.size + message.size + repeat.max * repeat.size
    if largest > document.max_frame_bytes:
        problems.append(Problem("max_frame_bytes", f"room for {where}, {largest} bytes", str(document.max_frame_bytes)))
    if largest > MAX_NOTIFY_BYTES:
        problems.append(Problem(where, f"at most {MAX_NOTIFY_BYTES} bytes with header and readings", str(largest)))


def _check_record(
    where: str,
    fields: tuple[FieldDocument, ...],
    size: int,
    required: tuple[str, ...],
    problems: list[Problem],
) -> None:
    if size < 0:
        problems.append(Problem(f"{where}.size", "0 or more", str(size)))
    names: set[str] = set()
    taken: list[tuple[int, int, str]] = []
    for index, field in enumerate(fields):
        at = f"{where}.fields[{index}] ({field.name})"
        width = _TYPES[field.type][2]
        end = field.offset + width
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
        allowed = _REQUIRED_TYPES.get(field.name)
        if allowed and field.type not in allowed:
            problems.append(Problem(f"{at}.type", " or ".join(allowed), field.type))
        elif field.type == "mac" and not allowed:
            problems.append(Problem(f"{at}.type", "an integer type", field.type))
        if field.name not in required and field.value is None:
            problems.append(Problem(at, f"one of {', '.join(required)}, or a constant value", "neither"))
        if field.value is not None and not _fits(field.value, field.type):
            problems.append(Problem(f"{at}.value", f"a value that fits {field.type}", str(field.value)))
    problems.extend(Problem(f"{where}.fields", f"a field {name}", "none") for name in required if name not in names)


def _fits(value: int, kind: str) -> bool:
    code, _, _ = _TYPES[kind]
    try:
        struct.pack("<" + code, value)
    except struct.error:
        return False
    return True
