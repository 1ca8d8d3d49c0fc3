"""What a wire profile's tables are compiled into: fixed fields, what repeats behind them, elements, a tail.

A message's body and a record are built alike, so one class is both; records may have records of their own.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
import numpy as np

from loadgen.nmsp.device_time import DeviceTime
from loadgen.nmsp.messages import STAMPS
from loadgen.nmsp.profile_check import shape_of, shape_with_record
from loadgen.nmsp.profile_document import (
    SIZED,
    TURNED,
    TYPES,
    ElementDocument,
    ElementsDocument,
    FieldDocument,
    MessageDocument,
    RecordDocument,
    RepeatDocument,
    lie_of,
    number_struct,
    order_of,
    width_of,
    wire_type,
)
from loadgen.nmsp.records import NO_MAC


class MixedStruct:
    """As `struct.Struct`, of fields that are not all of one byte order."""

    def __init__(self, fields: Sequence[FieldDocument], size: int, order: str) -> None:
        self.size = size
        self._fields = [
            (field.offset, struct.Struct(f"{width_of(field)}s") if field.type in SIZED else _struct_of(field, order))
            for field in fields
        ]

    def pack(self, *values: Any) -> bytes:
        packed = bytearray(self.size)
        for (offset, layout), value in zip(self._fields, values, strict=True):
            layout.pack_into(packed, offset, value)
        return bytes(packed)

    def unpack_from(self, buffer: bytes | bytearray | memoryview, offset: int = 0) -> tuple[Any, ...]:
        return tuple(layout.unpack_from(buffer, offset + at)[0] for at, layout in self._fields)


def _struct_of(field: FieldDocument, order: str) -> struct.Struct:
    return number_struct(lie_of(field, order), order)


def _dtype_of(field: FieldDocument, order: str) -> str:
    if field.type in SIZED:
        return f"V{width_of(field)}"
    return order_of(field, order) + TYPES[wire_type(field)][1]


class Record:
    """A fixed-size run of fields.

    Attributes:
        format: struct format without the byte order; gaps are zero bytes.
        struct: the fields in order of offset, for one record.
        lies: how each one's integer lies on the wire (`lie_of`). is_turned: of one or more in another byte order.
        dtype: the same for an array of records.
        times: how those fields tell it that are times.
    """

    def __init__(self, fields: Sequence[FieldDocument], size: int, order: str) -> None:
        fields = tuple(sorted(fields, key=lambda field: field.offset))
        self.size = size
        self.names = tuple(field.name for field in fields)
        self.types = {field.name: wire_type(field) for field in fields}
        self.offsets = {field.name: field.offset for field in fields}
        self.constants = {field.name: field.value for field in fields if field.value is not None}
        self.texts = {field.name for field in fields if field.type == "text"}
        self.times = {f.name: DeviceTime(f, order_of(f, order)) for f in fields if f.type == "time"}
        self.lies = {field.name: lie_of(field, order) for field in fields}
        self.is_turned = any(lie.endswith(TURNED) for lie in self.lies.values())
        self.widths = {field.name: width_of(field) for field in fields}
        self.format, end = "", 0
        for field in fields:
            width = width_of(field)
            code = f"{width}s" if field.type in SIZED else TYPES[wire_type(field)][0]
            self.format += "x" * (field.offset - end) + code
            end = field.offset + width
        self.format += "x" * (size - end)
        self.struct = MixedStruct(fields, size, order) if self.is_turned else struct.Struct(order + self.format)
        self.dtype = np.dtype(
            {
                "names": list(self.names),
                "formats": [_dtype_of(field, order) for field in fields],
                "offsets": [field.offset for field in fields],
                "itemsize": size,
            }
        )
        self._order = order

    def span(self, names: Sequence[str]) -> tuple[struct.Struct, tuple[bytes, ...]] | None:
        """The layout of several fields and of what lies between them, for the first one's offset.

        Returns:
            The layout, and what lies behind each field but the last (perhaps nothing), to be packed as well; None if
            the fields lie in another order, or if what is between them is not the same in every record.
        """
        if self.is_turned:
            return None
        same = self.struct.pack(
            *(self.constants.get(name, b"" if kind in ("mac", *SIZED) else 0) for name, kind in self.types.items())
        )
        code, between = TYPES[self.types[names[0]]][0], []
        for name, following in pairwise(names):
            end, start = self.offsets[name] + TYPES[self.types[name]][2], self.offsets[following]
            varying = (other for other in self.names if other not in self.constants)
            if start < end or any(end <= self.offsets[other] < start for other in varying):
                return None
            between.append(same[end:start])
            code += f"{start - end}s{TYPES[self.types[following]][0]}"
        return struct.Struct(self._order + code), tuple(between)

    def field_struct(self, name: str) -> struct.Struct:
        """The layout of one field alone, to be read at its offset."""
        return number_struct(self.lies[name], self._order)


class Elements:
    """Fields and records in elements of their own: type, length, value, in any order.

    Attributes:
        type, length: layouts of an element's head, of `head` bytes together; head_kinds: their types. head_bytes: what
            its length counts beside the value.
        unit, align: of lengths, and of where elements begin, in bytes. in_any_order: ours are sent in a varying one.
        fields: by id; values: layout of each one's value, but for text and bytes, which are as long as they are.
        kinds: integer types of all fields; lies: how these lie on the wire.
        times: how those fields tell it that are times.
    """

    def __init__(self, document: ElementsDocument, order: str) -> None:
        self.type, self.length = (struct.Struct(order + TYPES[code][0]) for code in (document.type, document.length))
        self.head_kinds = (document.type, document.length)
        self.head = self.type.size + self.length.size
        self.head_bytes = self.head if document.length_counts == "element" else 0
        self.unit, self.align = document.length_unit, document.align
        self.in_any_order = document.order == "any"
        self.fields: dict[int, ElementDocument] = {field.id: field for field in document.fields}
        self.values = {
            field.name: number_struct(lie_of(field, order), order)
            for field in document.fields
            if field.type not in SIZED
        }
        self.lies = {field.name: lie_of(field, order) for field in document.fields}
        self.kinds = {field.name: wire_type(field) for field in document.fields}
        self.times = {f.name: DeviceTime(f, order_of(f, order)) for f in document.fields if f.type == "time"}

    def whole(self, size: int) -> int:
        """Bytes of an element with a value of `size`, up to where the next one begins."""
        return up_to(self.head + self.filled(size), self.align)

    def filled(self, size: int) -> int:
        """Bytes of a value of `size`, with the zeros that fill up a unit of its length."""
        return up_to(size + self.head_bytes, self.unit) - self.head_bytes


class Section:
    """A message's body, or a record: fixed fields, then its records, then elements, then a tail, then padding.

    Attributes:
        struct: the value that it is read as. needed: those of its fields that have no default.
        fixed: the fields at the beginning. tail: those behind everything else.
        repeat: its records. inside: its one record, whose fields stand among its own.
        length: the fixed field that says how many times `length_unit` bytes the whole record has.
        align: its size is a multiple of so many bytes. slack: fewer zeros than this may be behind its elements.
        size: in bytes, where all have the same; None: it varies.
    """

    __slots__ = (
        *("align", "elements", "fixed", "inside", "length", "length_unit", "needed", "repeat", "size", "slack"),
        *("struct", "tail"),
    )

    def __init__(
        self,
        document: MessageDocument | RecordDocument,
        value: type[msgspec.Struct],
        records: Mapping[str, RecordDocument],
        order: str,
    ) -> None:
        shape = shape_of(value) if document.repeat is not None else shape_with_record(value)
        # What has a default need not be in the layout; if it is, every notification has it.
        ours = (
            ()
            if document.elements is None
            else (f.name for f in document.elements.fields if f.name in (*STAMPS, "time"))
        )
        self.struct, self.needed = value, frozenset((*shape.needed, *ours))
        self.fixed = Record(document.fields, document.size, order)
        self.repeat: Repeat | None = None
        self.inside = None if document.repeat is not None else _inside(value)
        if (each := document.repeat) is not None:
            assert shape.repeated is not None  # `check` has seen to it
            name, repeated = shape.repeated
            part = Section(records[each.record], repeated, records, order)
            self.repeat = Repeat(name, repeated, part.fixed, each.max, each.count, each.id, part, _unit_of(each))
        self.elements = None if document.elements is None else Elements(document.elements, order)
        self.tail = None if document.tail is None else Record(document.tail.fields, document.tail.size, order)
        self.length: str | None = None
        self.align = self.length_unit = 1
        if isinstance(document, RecordDocument):
            self.length, self.length_unit, self.align = document.length, document.length_unit, document.align
        self.slack = self.align
        self.size = None
        if self.repeat is None and self.elements is None:
            self.size = up_to(document.size + (0 if self.tail is None else self.tail.size), self.align)

    @property
    def most_records(self) -> int:
        """How many it can have."""
        return self.repeat.max if self.repeat is not None else 0 if self.inside is None else 1

    @property
    def records_name(self) -> str:
        """Which field of its value has them; "": none."""
        records = self.repeat or self.inside
        return "" if records is None else records.name

    def bytes_of(self, counts: Sequence[int]) -> int:
        """Its bytes with so many records, so many records of each of those, and so on; elements with text are empty."""
        size, repeat, elements = (
            self.fixed.size + (0 if self.tail is None else self.tail.size),
            self.repeat,
            self.elements,
        )
        if elements is not None:
            sizes = (elements.values.get(field.name) for field in elements.fields.values())
            size += sum(elements.whole(0 if layout is None else layout.size) for layout in sizes)
        if repeat is not None:
            each = repeat.part.bytes_of(counts[1:])
            size += counts[0] * (each if repeat.id is None or elements is None else elements.whole(each))
        return up_to(size, self.align)

    def dtype_of_all(self, order: str) -> np.dtype[np.void]:
        """For arrays of these: as they lie on the wire, if all do at places of their own; otherwise side by side."""
        if self.elements is None and self.tail is None and self.inside is None:
            return self.fixed.dtype
        types: dict[str, str] = {}
        for record in (self.fixed, self.tail):
            if record is not None:
                types |= {name: kind for name, kind in record.types.items() if name not in record.constants}
        if self.elements is not None:
            types |= {field.name: wire_type(field) for field in self.elements.fields.values()}
        names = types if self.inside is None else types.keys() & self.inside.names
        return np.dtype([(name, order + TYPES[types[name]][1]) for name in types if name in names])


class Repeat(NamedTuple):
    """What a message or a record repeats: in which of its fields, as what, how often at most, and how that is said.

    Attributes:
        counter: the field that counts them; None: each is in an element with this `id`, or, without one, they go on to
            the end.
        record: the fixed fields of `part`, which is all of one.
        unit: bytes that the counter counts in; 0: it counts records.
    """

    name: str
    struct: type[msgspec.Struct]
    record: Record
    max: int
    counter: str | None
    id: int | None
    part: Section
    unit: int

    @property
    def is_beside(self) -> bool:
        """They lie side by side, behind the fixed fields."""
        return self.id is None


class Inside(NamedTuple):
    """The one record of a message or a record, whose fields stand among its own.

    Attributes:
        name: of the field that has it. names: those of its fields that are none of what it stands in.
        nothing: what is sent where there is no record.
    """

    name: str
    struct: type[msgspec.Struct]
    names: frozenset[str]
    nothing: msgspec.Struct


def _inside(value: type[msgspec.Struct]) -> Inside | None:
    if (repeated := shape_of(value).repeated) is None:
        return None
    name, record = repeated
    shape = shape_of(record)
    blanks: dict[tuple[str, ...], object] = {("mac",): NO_MAC, ("text",): "", ("bytes",): b""}
    nothing = record(**{needed: blanks.get(shape.types[needed], 0) for needed in shape.needed})
    return Inside(name, record, frozenset(record.__struct_fields__).difference(value.__struct_fields__), nothing)


def _unit_of(repeat: RepeatDocument) -> int:
    return 0 if repeat.count_unit == "record" else repeat.count_unit


def up_to(size: int, align: int) -> int:
    """The next multiple of `align`."""
    return -(-size // align) * align
