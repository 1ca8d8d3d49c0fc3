"""A wire profile: the layout of NMSP on the wire as data (TOML), compiled into `struct.Struct` and numpy dtypes.

The real layout is not public, so it is a table and not code. One table makes both the layout of one message (struct)
and of a batch (dtype); tests prove that they give the same bytes.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import msgspec
import numpy as np

from loadgen.errors import InputError, Problem
from loadgen.nmsp.catalogue import CATALOGUE
from loadgen.nmsp.messages import STAMPS, Kind
from loadgen.nmsp.profile_check import check, shape_of
from loadgen.nmsp.profile_document import (
    SIZED,
    TYPES,
    ElementDocument,
    ElementsDocument,
    FieldDocument,
    MessageDocument,
    ProfileDocument,
    width_of,
)
from loadgen.strict import convert_untrusted, read_toml_untrusted


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
        self.texts = {field.name for field in fields if field.type == "text"}
        self.widths = {field.name: width_of(field) for field in fields}
        self.format, end = "", 0
        for field in fields:
            width = width_of(field)
            code = f"{width}s" if field.type in SIZED else TYPES[field.type][0]
            self.format += "x" * (field.offset - end) + code
            end = field.offset + width
        self.format += "x" * (size - end)
        self.struct = struct.Struct(order + self.format)
        self.dtype = np.dtype(
            {
                "names": list(self.names),
                "formats": [
                    f"V{width_of(field)}" if field.type in SIZED else order + TYPES[field.type][1] for field in fields
                ],
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
        return struct.Struct(self._order + TYPES[self.types[name]][0])


class Elements:
    """Fields and records in elements of their own: type, length, value, in any order.

    Attributes:
        type, length: layouts of an element's head. head_bytes: what its length counts beside the value.
        fields: by id; values: layout of each one's value, but for text and bytes, which are as long as they are.
    """

    def __init__(self, document: ElementsDocument, order: str) -> None:
        self.type, self.length = (struct.Struct(order + TYPES[code][0]) for code in (document.type, document.length))
        self.head_bytes = self.type.size + self.length.size if document.length_counts == "element" else 0
        self.fields: dict[int, ElementDocument] = {field.id: field for field in document.fields}
        self.values = {
            field.name: struct.Struct(order + TYPES[field.type][0])
            for field in document.fields
            if field.type not in SIZED
        }


class Repeat(NamedTuple):
    """What a message repeats: in which of its fields, as what, how often at most, counted by a field or in elements."""

    name: str
    struct: type[msgspec.Struct]
    record: Record
    max: int
    counter: str | None
    id: int | None


class Layout(NamedTuple):
    """Where everything of one kind of message is. needed: fields without a default."""

    kind: Kind
    struct: type[msgspec.Struct]
    body: Record
    repeat: Repeat | None
    elements: Elements | None
    needed: frozenset[str]


class WireProfile:
    """A compiled profile.

    Attributes:
        digest: 12 hex digits over the layout.
        layouts: of every kind that this profile has.
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
        self._records = {
            name: Record(record.fields, record.size, self.order) for name, record in document.records.items()
        }
        kinds = {kind.label: kind for kind in CATALOGUE}
        self.layouts = {kinds[name]: self._layout(kinds[name], each) for name, each in document.messages.items()}
        self.body = {kind: layout.body for kind, layout in self.layouts.items()}
        self.ids = {kinds[name]: message.id for name, message in document.messages.items()}
        self.kinds = {number: kind for kind, number in self.ids.items()}
        repeat = self.layouts[Kind.MEASUREMENT_NOTIFY].repeat
        assert repeat is not None  # `check` has seen to it
        assert repeat.counter is not None
        self.reading = repeat.record
        self.count_field = repeat.counter
        self.max_readings = repeat.max
        self.notify = self.body[Kind.MEASUREMENT_NOTIFY]
        self.notify_fixed_bytes = self.header.size + self.notify.size

    def _layout(self, kind: Kind, message: MessageDocument) -> Layout:
        message_type = CATALOGUE[kind].message
        shape, repeat = shape_of(message_type), None
        if (each := message.repeat) is not None:
            assert shape.repeated is not None  # `check` has seen to it
            repeat = Repeat(*shape.repeated, self._records[each.record], each.max, each.count, each.id)
        elements = None if message.elements is None else Elements(message.elements, self.order)
        body = Record(message.fields, message.size, self.order)
        # What has a default need not be in the layout; if it is, every notification has it.
        ours = () if message.elements is None else (f.name for f in message.elements.fields if f.name in STAMPS)
        return Layout(kind, message_type, body, repeat, elements, frozenset((*shape.needed, *ours)))

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

    @property
    def notify_fixed_dtype(self) -> np.dtype[np.void]:
        """The same without readings."""
        return self.notify_dtype(0)


def load_profile(path: Path) -> WireProfile:
    """Read and compile a profile file.

    Raises:
        InputError: every problem with its path in the file.
    """
    return profile_untrusted(read_toml_untrusted(path, "a wire profile"), str(path))


def profile_untrusted(data: object, source: str) -> WireProfile:
    """Compile a parsed profile. Args: source: where it comes from, for messages.

    Raises:
        InputError: every problem with its path in the source.
    """
    document = convert_untrusted(data, ProfileDocument, source)
    if problems := check(document):
        raise InputError([Problem(f"{source}: {p.where}", p.expected, p.found) for p in problems])
    return compiled(document)


# What is in use, by what it was compiled from.
_IN_USE: WeakValueDictionary[bytes, WireProfile] = WeakValueDictionary()


def compiled(document: ProfileDocument) -> WireProfile:
    """A profile that was checked. One for all who ask with the same document while it is in use; workers are forked
    from a process that has compiled theirs.
    """
    key = msgspec.msgpack.encode(document)
    if (profile := _IN_USE.get(key)) is None:
        profile = _IN_USE[key] = WireProfile(document)
    return profile


@cache
def reference_profile() -> WireProfile:
    """The profile that comes with this package (ours, not any vendor's)."""
    return load_profile(Path(__file__).with_name("reference.toml"))
