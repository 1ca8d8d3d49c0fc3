"""The file of a wire profile: its tables. What can be wrong with them is in `profile_check`."""

from __future__ import annotations

import struct
from typing import Literal

import msgspec

# text and bytes have a size of their own: `size` of the field.
FieldType = Literal["u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64", "mac", "text", "bytes"]

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
SIZED = ("text", "bytes")
# Larger frames would not be one TLS record's business any more, and a bound keeps a reader's buffer bounded.
MAX_FRAME_LIMIT = 1 << 24
# A notification fits into one TLS record (RFC 5246: 2^14 bytes of plaintext), so that it is sent whole or not at all.
MAX_NOTIFY_BYTES = 16384


class FieldDocument(msgspec.Struct, frozen=True):
    """A field at a place in a record. `size` is of text and bytes only; with a `value` it is a constant."""

    name: str
    type: FieldType
    offset: int
    value: int | None = None
    size: int | None = None


class ElementDocument(msgspec.Struct, frozen=True):
    """A field in an element of its own (type, length, value). text and bytes are as long as they are, up to `size`."""

    name: str
    type: FieldType
    id: int
    size: int | None = None


class ElementsDocument(msgspec.Struct, frozen=True):
    """How a message's elements look; they follow its fixed fields and its records, up to the end of the body."""

    type: Literal["u8", "u16", "u32"]
    length: Literal["u8", "u16", "u32"]
    fields: tuple[ElementDocument, ...] = ()
    length_counts: Literal["value", "element"] = "value"


class RepeatDocument(msgspec.Struct, frozen=True):
    """Records of one kind: side by side and counted by a field, or each in an element with this id."""

    record: str
    max: int
    count: str | None = None
    id: int | None = None


class RecordDocument(msgspec.Struct, frozen=True):
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
    elements: ElementsDocument | None = None


class ProfileDocument(msgspec.Struct, frozen=True):
    name: str
    header: HeaderDocument
    messages: dict[str, MessageDocument]
    records: dict[str, RecordDocument] = {}
    byte_order: Literal["big", "little"] = "big"
    max_frame_bytes: int = 65536


def width_of(field: FieldDocument | ElementDocument) -> int:
    """Bytes of a field; of an element's text or bytes, at most."""
    return (field.size or 0) if field.type in SIZED else TYPES[field.type][2]


def fits(value: int, kind: str) -> bool:
    """Whether an integer type holds a value."""
    code, _, _ = TYPES[kind]
    try:
        struct.pack("<" + code, value)
    except struct.error:
        return False
    return True


def nearest(value: int, kind: str) -> int:
    """The value of an integer type that is nearest to `value`."""
    code, _, width = TYPES[kind]
    bits = 8 * width
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if code.islower() else (0, (1 << bits) - 1)
    return min(max(value, low), high)
