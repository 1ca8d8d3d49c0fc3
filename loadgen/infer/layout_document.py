"""A wire layout as data ("layout-1"): what inference tells of a device, and what a wire profile can be made from.

A layout describes a header (at the front of each frame), a trailer and messages. A message's body is a `LayoutNode`;
so is each of its records and the value of each of its elements: fields, then records, then elements, then the rest.
Places count from the first byte of the node, or of the header or trailer; `"next"` is behind what came before.

A message's id is made of the header's fields with the role `msg_id`, in the order of the list: the first one's value,
shifted by the bits of the next, and so on.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import msgspec

__all__ = [
    "FORMAT",
    "INTEGERS",
    "ROLES",
    "Count",
    "ElementKind",
    "ElementLength",
    "ElementType",
    "FrameSize",
    "HowFound",
    "LayoutDocument",
    "LayoutElements",
    "LayoutField",
    "LayoutHeader",
    "LayoutMessage",
    "LayoutNode",
    "LayoutRepeat",
    "LayoutSum",
    "LayoutTrailer",
    "Order",
    "SizedBy",
    "layout_from",
    "place_of",
    "plain_layout",
]

FORMAT = "layout-1"

Order = Literal["big", "little"]
Next = Literal["next"]
# number: a quantity of no more exact role; snr, noise and counter are the sharper names of such. tlv_type: that of an
# element's type; readers give it, no field has it.
# fmt: off
Role = Literal[
    "constant", "length", "msg_id", "transaction", "sequence", "count", "mac", "rssi", "timestamp", "age", "mask",
    "ipv4", "text", "enum", "checksum", "padding", "unknown", "number", "snr", "noise", "counter", "tlv_type",
]
# fmt: on
Type = Literal["u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64", "mac", "ipv4", "text", "bytes", "pad"]
ROLES: tuple[str, ...] = get_args(Role)
# Types that are read in a byte order -> bytes.
INTEGERS = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "i8": 1, "i16": 2, "i32": 4, "i64": 8}


class _LayoutTable(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A table of the document."""


class SizedBy(_LayoutTable, frozen=True):
    """So many bytes as a field before says, of the same node or of one around it."""

    field: str


class LayoutSum(_LayoutTable, frozen=True):
    """How a checksum is made, its own bytes taken for zeros.

    Attributes:
        kind: as in a wire profile (`ChecksumKind`), or another name.
        over: the parts of the frame, in their order.
    """

    kind: str
    over: tuple[Literal["header", "body", "trailer"], ...]


class LayoutField(_LayoutTable, frozen=True):
    """Attributes:
    order: the layout's, unless it says another.
    value: of a constant that is an integer.
    unit, epoch: of a timestamp, and unit of an age: how it counts ("s", "ms", "us", "ns", and as pairs of 32 bits
        each "s+us", "s+ns", "s+frac"), and since when.
    sum: of a checksum.
    confidence: 0 to 1: how sure its role is. evidence: why, a sentence. decides: what would make it surer.
    alternatives: what fits as well as what is given, in words.
    """

    name: str
    at: int | Next
    size: int | SizedBy | Literal["rest"]
    role: Role
    type: Type | None = None
    order: Order | None = None
    value: int | None = None
    unit: Literal["s", "ms", "us", "ns", "s+us", "s+ns", "s+frac"] | None = None
    epoch: Literal["unix", "session"] | None = None
    sum: LayoutSum | None = None
    confidence: float | None = None
    evidence: str = ""
    decides: str = ""
    alternatives: tuple[str, ...] = ()


class Count(_LayoutTable, frozen=True):
    """As many records as a field before says, of the same node or of one around it.

    Attributes:
        of: what the field counts is a part of a record, such as its bytes: so many are one.
    """

    field: str
    of: int = 1


class LayoutRepeat(_LayoutTable, frozen=True):
    """Records of one kind, side by side.

    Attributes:
        count: how many: a field says it, always so many, or as many as there is room for.
        stride: bytes of each; None: a record ends where its parts end.
    """

    name: str
    count: Count | int | Literal["rest"]
    record: LayoutNode
    at: int | Next = "next"
    stride: int | None = None


class ElementType(_LayoutTable, frozen=True):
    size: Literal[1, 2, 4]
    order: Order | None = None


class ElementLength(_LayoutTable, frozen=True):
    size: Literal[1, 2, 4]
    counts: Literal["value", "element"] = "value"
    order: Order | None = None


class ElementKind(_LayoutTable, frozen=True):
    """An element that is known: its type's number, and what its value is."""

    id: int
    name: str
    value: LayoutNode


class LayoutElements(_LayoutTable, frozen=True):
    """Type, length, value, again and again up to the end of the node."""

    type: ElementType
    length: ElementLength
    known: tuple[ElementKind, ...] = ()
    at: int | Next = "next"
    order: Literal["type_length"] = "type_length"


class LayoutNode(_LayoutTable, frozen=True):
    """Attributes:
    size: bytes of the fixed part, where fields do not reach its end.
    rest: the role of what is left behind everything else.
    """

    size: int = 0
    fields: tuple[LayoutField, ...] = ()
    repeats: tuple[LayoutRepeat, ...] = ()
    elements: LayoutElements | None = None
    rest: Role | None = None


class FrameSize(_LayoutTable, frozen=True):
    """Where the size of a frame comes from: a field's value * unit + add are the bytes of the whole frame."""

    field: str
    add: int
    unit: int = 1


class LayoutHeader(_LayoutTable, frozen=True):
    size: int
    frame_size: FrameSize
    fields: tuple[LayoutField, ...]


class LayoutTrailer(_LayoutTable, frozen=True):
    size: int = 0
    fields: tuple[LayoutField, ...] = ()


class LayoutMessage(_LayoutTable, frozen=True, rename={"sender": "from"}):
    """Attributes:
    sender: whose id this is; None: either side's.
    header: what fields of the header hold in this message alone, or in no more than some.
    sample: a body, in hex.
    """

    id: int
    name: str
    sender: Literal["mse", "wlc"] | None = None
    body: LayoutNode = LayoutNode()
    header: dict[str, int] = {}
    sample: str = ""


class HowFound(_LayoutTable, frozen=True):
    """What came of inferring a layout: of all frames, and of those that nothing was inferred from.

    Attributes:
        captures: their names. sessions, frames: that were looked at; left_out: bytes that belong to no whole frame.
        decoded: share of held-out frames that the layout reads from end to end. explained: share of their body bytes
            with a role that is known; unexplained: what is without one by message, as shares of all body bytes.
        across_decoded, across_explained: the same of every other session, with bodies as the rest of them show these;
            none, where there are not two sessions.
        dialogue: (sender, message) in the order of a session's beginning.
        others: other ways to cut frames, that fit nearly as well. doubts: what would decide what is open.
        contradicted: hints that the captures contradict. remarks: what was not looked at, and why.
        unsaid: what the profile has no words for. guesses: places in it, and why what is there was taken.
    """

    captures: tuple[str, ...] = ()
    sessions: int = 0
    frames: int = 0
    left_out: int = 0
    decoded: float = 0.0
    explained: float = 0.0
    unexplained: dict[str, float] = {}
    across_decoded: float | None = None
    across_explained: float | None = None
    dialogue: tuple[tuple[str, str], ...] = ()
    others: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    contradicted: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    unsaid: tuple[str, ...] = ()
    guesses: dict[str, str] = {}


class LayoutDocument(_LayoutTable, frozen=True):
    """Attributes:
    findings: how it was found, if it was.
    """

    header: LayoutHeader
    messages: tuple[LayoutMessage, ...]
    format: Literal["layout-1"] = "layout-1"
    name: str = ""
    byte_order: Order = "big"
    trailer: LayoutTrailer = LayoutTrailer()
    findings: HowFound | None = None


def place_of(field: LayoutField) -> tuple[int, int]:
    """(at, size) of a field with a fixed place, as those of headers and trailers have. ValueError: it has none."""
    if not isinstance(field.at, int) or not isinstance(field.size, int):
        raise ValueError(f"{field.name}: expected a fixed place and size, found {field.at!r}, {field.size!r}")
    return field.at, field.size


def layout_from(table: object) -> LayoutDocument:
    """A layout from what JSON gives. ValueError: it is none; the message says where."""
    if not isinstance(table, dict) or table.get("format") != FORMAT:
        raise ValueError(f"`$.format`: expected {FORMAT!r}")
    return msgspec.convert(table, LayoutDocument)


def plain_layout(layout: LayoutDocument) -> dict[str, Any]:
    """The same as dicts and lists, for JSON."""
    table: dict[str, Any] = msgspec.to_builtins(layout)
    return {"format": FORMAT, "byte_order": layout.byte_order, **table}
