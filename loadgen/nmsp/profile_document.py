"""The file of a wire profile: its tables. What can be wrong with them is in `profile_check`.

Defaults are left out of what a digest is made of (`omit_defaults`): a key that comes later leaves the digest of every
profile that does without it as it is.

Annotations are evaluated here, once, for whoever reads documents: as text, each would be compiled at every start.
"""

import struct
from typing import Literal

import msgspec

from loadgen.nmsp.dialogue_document import DialogueDocument

# text, bytes and time have a size of their own: `size` of the field.
FieldType = Literal["u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64", "mac", "text", "bytes", "time"]
# How a time counts: in one unit, or as a pair of 32 bits each, seconds and what is left of one (2^-32 is "s+frac").
TimeUnit = Literal["s", "ms", "us", "ns", "s+us", "s+ns", "s+frac"]
ByteOrder = Literal["big", "little"]
# Bytes in one of the units that a length or a count may have.
Unit = Literal[1, 2, 4, 8]

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
TURNED = "!"
# A time is an unsigned integer on the wire, of one of these sizes.
TIME_TYPES = {4: "u32", 8: "u64"}
# Larger frames would not be one TLS record's business any more, and a bound keeps a reader's buffer bounded.
MAX_FRAME_LIMIT = 1 << 24
# A notification fits into one TLS record (RFC 5246: 2^14 bytes of plaintext), so that it is sent whole or not at all.
MAX_NOTIFY_BYTES = 16384

# Whose messages a constant of the header is for: by what they are, or by who sends them.
CLASSES = ("request", "response", "notification")
SIDES = ("wlc", "mse")


class _Table(msgspec.Struct, frozen=True, omit_defaults=True):
    """A table of the file."""


class FieldDocument(_Table, frozen=True):
    """A field at a place in a record. `size` is of text, bytes and time only; with a `value` it is a constant.

    Attributes:
        values: of a constant in the header, where it is not the same in all messages: by `CLASSES` or by `SIDES`.
        unit, epoch: of a time: how it counts, and since when (1970, or since the session began).
        first: of `frame_number`: the number of the first frame of a direction.
        order: its byte order, where it is not the profile's.
    """

    name: str
    type: FieldType
    offset: int
    value: int | None = None
    size: int | None = None
    values: dict[str, int] = {}
    unit: TimeUnit | None = None
    epoch: Literal["unix", "session"] = "unix"
    first: int = 0
    order: ByteOrder | None = None


class ElementDocument(_Table, frozen=True):
    """A field in an element of its own (type, length, value). text and bytes are as long as they are, up to `size`."""

    name: str
    type: FieldType
    id: int
    size: int | None = None
    unit: TimeUnit | None = None
    epoch: Literal["unix", "session"] = "unix"
    order: ByteOrder | None = None


class ElementsDocument(_Table, frozen=True):
    """How a message's or a record's elements look; they follow its fixed fields and its records, up to its end.

    Attributes:
        length_unit: of how many bytes a length counts. align: each element begins at a multiple of so many bytes from
            the first one; what is between is zeros, which no length counts.
        order: what a sender of ours does: always the same one, or another in every notification.
    """

    type: Literal["u8", "u16", "u32"]
    length: Literal["u8", "u16", "u32"]
    fields: tuple[ElementDocument, ...] = ()
    length_counts: Literal["value", "element"] = "value"
    length_unit: Unit = 1
    align: Unit = 1
    order: Literal["given", "any"] = "given"


class RepeatDocument(_Table, frozen=True):
    """Records of one kind: side by side and counted by a field, or up to the end; or each in an element with this id.

    Attributes:
        count_unit: what the field counts: records, or so many bytes of them.
        to_end: nothing counts them: they go on to the end of what repeats them.
    """

    record: str
    max: int
    count: str | None = None
    id: int | None = None
    count_unit: Literal["record"] | Unit = "record"
    to_end: bool = False


class TailDocument(_Table, frozen=True):
    """Fields behind everything else of a message or a record."""

    size: int
    fields: tuple[FieldDocument, ...]


class RecordDocument(_Table, frozen=True):
    """What is repeated.

    Attributes:
        repeat, elements, tail: as in a message.
        length: the field that says how many units of `length_unit` bytes the whole record has.
        align: the record's size is a multiple of so many bytes: zeros at its end.
    """

    size: int
    fields: tuple[FieldDocument, ...]
    repeat: RepeatDocument | None = None
    elements: ElementsDocument | None = None
    tail: TailDocument | None = None
    length: str | None = None
    length_unit: Unit = 1
    align: Unit = 1


class HeaderDocument(_Table, frozen=True):
    """What every frame begins with.

    Attributes:
        length_counts: the whole frame, its body alone, or all that follows the length.
        length_adds: to what the length counts, so many bytes are added (fewer than 0: taken away).
        length_unit: of how many bytes it counts.
        align: a frame's size is a multiple of so many bytes: zeros at the end of its body.
    """

    size: int
    fields: tuple[FieldDocument, ...]
    length_counts: Literal["frame", "body", "rest"] = "frame"
    length_unit: Unit = 1
    align: Unit = 1
    length_adds: int = 0


class TrailerDocument(_Table, frozen=True):
    """What every frame ends with."""

    size: int
    fields: tuple[FieldDocument, ...]


ChecksumKind = Literal[
    "crc-32", "crc-16/ibm-3740", "crc-16/xmodem", "crc-16/kermit", "crc-16/ibm-sdlc", "sum", "internet"
]


class ChecksumDocument(_Table, frozen=True):
    """The field `checksum` of header or trailer: how it is made, and over which parts (its own bytes as zeros)."""

    kind: ChecksumKind
    over: tuple[Literal["header", "body", "trailer"], ...] = ("header", "body")


class MessageDocument(_Table, frozen=True):
    """A message.

    Attributes:
        repeat: its records. Without, one that has records has one, whose fields stand among its own.
        id: its number; where the header has `msg_type` and `msg_subtype`, the type in the bits above the subtype's.
        header: constants of the header that are others in this message.
    """

    id: int
    size: int
    fields: tuple[FieldDocument, ...]
    repeat: RepeatDocument | None = None
    elements: ElementsDocument | None = None
    tail: TailDocument | None = None
    header: dict[str, int] = {}


class OpaqueDocument(_Table, frozen=True):
    """A message as bytes: its body, in hex or (before it is compiled) in a file beside the profile.

    Attributes:
        fields: what is put in when it is said: `transaction`, `mac`, `time`, `counter`.
        every: a duration; it is said so often in a running session.
        varies: what comes under this id may have any length.
        answers: the other side's opaque message that it is the response to.
        header: constants of the header that are others in this message.
    """

    id: int
    sender: Literal["wlc", "mse", "either"]
    hex: str | None = None
    file: str | None = None
    fields: tuple[FieldDocument, ...] = ()
    every: str | None = None
    varies: bool = False
    answers: str = ""
    header: dict[str, int] = {}


class ProfileDocument(_Table, frozen=True):
    """The whole file."""

    name: str
    header: HeaderDocument
    messages: dict[str, MessageDocument]
    records: dict[str, RecordDocument] = {}
    byte_order: ByteOrder = "big"
    max_frame_bytes: int = 65536
    trailer: TrailerDocument | None = None
    checksum: ChecksumDocument | None = None
    dialogue: DialogueDocument | None = None
    opaque: dict[str, OpaqueDocument] = {}


def wire_type(field: FieldDocument | ElementDocument) -> str:
    """The integer type that carries a field; its own type, but for a time."""
    return TIME_TYPES.get(field.size or 0, "u64") if field.type == "time" else field.type


def order_of(field: FieldDocument | ElementDocument, order: str) -> str:
    """The byte order of a field, as struct and numpy have it. Args: order: the profile's, in the same way."""
    return order if field.order is None else ">" if field.order == "big" else "<"


def lie_of(field: FieldDocument | ElementDocument, order: str) -> str:
    """How its integer lies on the wire: its type, with `TURNED` behind it if in the other byte order."""
    kind = wire_type(field)
    return kind + TURNED if order_of(field, order) != order and width_of(field) > 1 else kind


def number_struct(lie: str, order: str) -> struct.Struct:
    """The layout of an integer that lies so."""
    turned = ">" if order == "<" else "<"
    return struct.Struct((turned if lie.endswith(TURNED) else order) + TYPES[lie.removesuffix(TURNED)][0])


def width_of(field: FieldDocument | ElementDocument) -> int:
    """Bytes of a field; of an element's text or bytes, at most."""
    return (field.size or 0) if field.type in (*SIZED, "time") else TYPES[field.type][2]


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
