"""Everything that can be wrong with a wire profile. What passes compiles and works: no later stage raises for it.

What is around a message's body (header, trailer, checksum) is looked at in `framing_check`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, get_args, get_origin, get_type_hints

import msgspec

from loadgen.errors import Problem
from loadgen.nmsp.catalogue import CATALOGUE
from loadgen.nmsp.dialogue import check_dialogue, needed, senders_of
from loadgen.nmsp.field_check import INTEGERS, TYPES_OF, FieldCheck
from loadgen.nmsp.framing_check import check_framing
from loadgen.nmsp.messages import Kind, Role, StationsNotify
from loadgen.nmsp.opaque_check import check_opaque
from loadgen.nmsp.profile_document import (
    MAX_FRAME_LIMIT,
    MAX_NOTIFY_BYTES,
    TYPES,
    ElementsDocument,
    FieldDocument,
    MessageDocument,
    ProfileDocument,
    RecordDocument,
    RepeatDocument,
    fits,
    width_of,
)
from loadgen.strict import one_of

_NOTIFY = Kind.MEASUREMENT_NOTIFY.label
_LARGEST_RECORD_COUNT = 255


class Shape:
    """What a Struct wants of a layout: the types its fields can have, which are needed; what it repeats, and where."""

    def __init__(self, struct: type[msgspec.Struct]) -> None:
        self.types: dict[str, tuple[str, ...]] = {}
        self.needed: list[str] = []
        self.repeated: tuple[str, type[msgspec.Struct]] | None = None
        hints = get_type_hints(struct, include_extras=True)
        for field in msgspec.structs.fields(struct):
            hint = hints[field.name]
            if get_origin(hint) is tuple:
                self.repeated = (field.name, get_args(hint)[0])
                continue
            self.types[field.name] = _types_of(field.name, hint)
            if field.required:
                self.needed.append(field.name)


@cache
def shape_of(struct: type[msgspec.Struct]) -> Shape:
    """The one shape of a Struct: who checks a profile asks for it, and who compiles it."""
    return Shape(struct)


@cache
def shape_with_record(struct: type[msgspec.Struct]) -> Shape:
    """What a Struct wants of a layout in which the fields of its one record stand among its own; of a name that both
    have, it is its own.
    """
    shape = Shape(struct)
    if shape.repeated is not None:
        inner = shape_of(shape.repeated[1])
        shape.needed += [name for name in inner.needed if name not in shape.types]
        shape.types |= {name: types for name, types in inner.types.items() if name not in shape.types}
        shape.repeated = None
    return shape


def _types_of(name: str, hint: object) -> tuple[str, ...]:
    if get_origin(hint) is Annotated:
        return (get_args(hint)[1],)
    if hint is str:
        return ("text",)
    return TYPES_OF.get(name, INTEGERS)


def message_of(kind: Kind, message: MessageDocument, records: Mapping[str, RecordDocument]) -> type[msgspec.Struct]:
    """The Struct that a message is read as: a notification whose records are stations is about several."""
    if kind is Kind.MEASUREMENT_NOTIFY and message.repeat is not None:
        record = records.get(message.repeat.record)
        if record is not None and (record.repeat is not None or _has(record, "station_mac")):
            return StationsNotify
    return CATALOGUE[kind].message


def _has(part: MessageDocument | RecordDocument, name: str) -> bool:
    parts = (part.fields, () if part.tail is None else part.tail.fields)
    elements = () if part.elements is None else part.elements.fields
    return any(field.name == name for fields in (*parts, elements) for field in fields)


def check(document: ProfileDocument) -> list[Problem]:
    """Every problem of a profile, with its path in the file."""
    return _Check(document).problems


class _Check(FieldCheck):
    def __init__(self, document: ProfileDocument) -> None:
        super().__init__()
        self.document = document
        self.records: set[str] = set()
        self.sizes: dict[tuple[str, type[msgspec.Struct]], int] = {}  # of records that were looked at, at most
        if not 0 < document.max_frame_bytes <= MAX_FRAME_LIMIT:
            self.add("max_frame_bytes", f"1 to {MAX_FRAME_LIMIT}", str(document.max_frame_bytes))
        self.framing = check_framing(self, document)
        if document.dialogue is not None:
            check_dialogue(document, self.add)
        self.messages()

    def messages(self) -> None:
        document = self.document
        labels = {kind.label: kind for kind in CATALOGUE}
        for name in sorted(document.messages.keys() - labels.keys()):
            self.add(f"messages.{name}", one_of(name, labels), "an unknown message")
        seen: dict[tuple[Role, int], str] = {}
        senders = senders_of(document)
        needs = needed(document.dialogue)
        for name, kind in labels.items():
            where = f"messages.{name}"
            message = document.messages.get(name)
            if message is None:
                if name in needs:
                    self.add(
                        where, f"a table, for {needs[name]}" if document.dialogue is not None else "a table", "nothing"
                    )
                continue
            if not 0 <= message.id < 1 << self.framing.id_bits:
                self.add(f"{where}.id", f"a uint{self.framing.id_bits}", str(message.id))
            # Who receives frames of both sides knows a measurement by its id alone.
            for role in Role if name == _NOTIFY else senders[name]:
                if (other := seen.setdefault((role, message.id), name)) != name:
                    self.add(f"{where}.id", "an id of its own", f"{message.id}, the id of {other}")
            self.message(where, message, message_of(kind, message, document.records), is_notify=name == _NOTIFY)
        for name, size in check_opaque(self, document, seen, senders, self.framing.id_bits).items():
            self.frame(f"opaque.{name}", self.framing.largest(size))
            self.framing.constants(self, f"opaque.{name}", document.opaque[name])
        for name in sorted(document.records.keys() - self.records) if not self.problems else ():
            self.add(f"records.{name}", "a record that a message repeats", "one that none does")

    def message(self, where: str, message: MessageDocument, struct: type[msgspec.Struct], *, is_notify: bool) -> None:
        largest = self.framing.largest(self.part(where, message, struct))
        self.frame(where, largest)
        if largest > MAX_NOTIFY_BYTES and where.endswith("_notify"):
            self.add(where, f"at most {MAX_NOTIFY_BYTES} bytes with header and records", str(largest))
        self.framing.constants(self, where, message)
        if is_notify:
            self.columns(where, message)

    def part(self, where: str, part: MessageDocument | RecordDocument, struct: type[msgspec.Struct]) -> int:
        """Check a message's body or a record; returns the most bytes of it."""
        repeated = shape_of(struct).repeated if part.repeat is None else None
        if repeated is not None and not any(_has(part, name) for name in shape_of(repeated[1]).needed):
            self.add(f"{where}.repeat", "a table (its records), or the fields of one record among its own", "nothing")
            return 0  # which of its fields would count them is not known
        repeat, elements, tail = part.repeat, part.elements, part.tail
        shape = shape_of(struct) if repeat is not None else shape_with_record(struct)
        types, needed = dict(shape.types), list(shape.needed)
        counters = []
        if repeat is not None and repeat.count is not None and shape.repeated is not None:
            counters.append((f"{where}.repeat.count", repeat.count))
        if isinstance(part, RecordDocument) and part.length is not None:
            counters.append((f"{where}.length", part.length))
        for at, name in counters:
            if name in types:
                self.add(at, "a field that only counts", name)
            types[name] = INTEGERS
            needed.append(name)
        elsewhere = {field.name for field in elements.fields} if elements is not None else set()
        behind = {field.name for field in tail.fields} if tail is not None else set()
        counting = {name for _, name in counters}
        here = [name for name in needed if name in counting or name not in elsewhere | behind]
        self.layout(where, part.fields, part.size, types, here, elsewhere)
        largest = max(part.size, 0)
        if tail is not None:
            others = elsewhere | {field.name for field in part.fields}
            self.layout(f"{where}.tail", tail.fields, tail.size, shape.types, [], others)
            largest += max(tail.size, 0)
            to_end = elements is not None or (repeat is not None and repeat.to_end)
            if to_end and self.align_of(part) > 1:
                what = "records" if elements is None else "elements"
                self.add(
                    f"{where}.tail", f"nothing: where it begins behind {what} is not known with padding", "a table"
                )
        if elements is not None:
            largest += self.elements(where, part, elements, shape)
        if shape.repeated is None:
            if repeat is not None:
                self.add(f"{where}.repeat", f"nothing: this {_what(part)} has no records", "a table")
        elif repeat is not None:
            largest += self.repeat(where, part, repeat, shape.repeated[1])
        if isinstance(part, RecordDocument):
            largest += -largest % part.align
            if part.length is not None:
                at = f"{where}.length"
                self.counts(at, part.fields, part.length, largest, part.length_unit, "bytes of it")
                if part.align % part.length_unit and (part.size % part.length_unit or largest != part.size):
                    self.add(f"{where}.align", f"a multiple of length_unit, {part.length_unit}", str(part.align))
        return largest

    def align_of(self, part: MessageDocument | RecordDocument) -> int:
        """Of how many bytes its size is a multiple, by zeros at its end."""
        return part.align if isinstance(part, RecordDocument) else self.framing.align

    def counts(
        self, at: str, fields: Iterable[FieldDocument], name: str, most_bytes: int, unit: int, what: str
    ) -> None:
        """The field that counts something must hold as much as there can be."""
        for field in fields:
            if field.name == name and field.type in INTEGERS and not fits(-(-most_bytes // unit), field.type):
                self.add(at, f"a field that holds {-(-most_bytes // unit)} ({what})", f"{name}, {field.type}")

    def repeat(
        self,
        where: str,
        part: MessageDocument | RecordDocument,
        repeat: RepeatDocument,
        struct: type[msgspec.Struct],
    ) -> int:
        """Check what a message or record repeats; returns the most bytes of it."""
        record = self.document.records.get(repeat.record)
        if record is None:
            self.add(f"{where}.repeat.record", "a table of [records]", f'"{repeat.record}", which is none')
            return 0
        size = self.record(repeat.record, record, struct)
        most = _LARGEST_RECORD_COUNT
        if not 0 < repeat.max <= most:
            self.add(f"{where}.repeat.max", f"1 to {most}", str(repeat.max))
        elif repeat.count is not None:
            self.counter(where, part, repeat, record, size)
        ways = (repeat.count is not None, repeat.id is not None, repeat.to_end)
        if sum(ways) != 1:
            found = "none" if not any(ways) else "several"
            self.add(f"{where}.repeat", "one of count (a field), id (of its elements) and to_end", found)
        elif repeat.to_end:
            self.to_end(where, part, repeat, record)
        elif repeat.id is not None:
            if part.elements is None:
                self.add(f"{where}.repeat.id", f"nothing without {where}.elements", str(repeat.id))
            else:
                size = self.element(f"{where}.repeat", part.elements, repeat.id, size)
        if repeat.id is None and record.elements is not None and record.length is None:
            self.add(f"records.{repeat.record}.length", "a field that says where its elements end", "nothing")
        return repeat.max * max(size, 0)

    def to_end(
        self, where: str, part: MessageDocument | RecordDocument, repeat: RepeatDocument, record: RecordDocument
    ) -> None:
        """Check records up to the end of what repeats them: where that is, and where the last one begins, is known."""
        if part.elements is not None:
            self.add(f"{where}.repeat.to_end", f"nothing: {where}.elements goes to the end", "true")
        if isinstance(part, RecordDocument) and part.length is None:
            self.add(f"{where}.length", "a field that says where its records end", "nothing")
        least, align = record.size + (0 if record.tail is None else record.tail.size), self.align_of(part)
        if least < align:
            what = "a byte" if align == 1 else f"{align} bytes, or padding could be one"
            self.add(f"records.{repeat.record}.size", f"at least {what}", str(record.size))

    def counter(
        self,
        where: str,
        part: MessageDocument | RecordDocument,
        repeat: RepeatDocument,
        record: RecordDocument,
        size: int,
    ) -> None:
        assert repeat.count is not None
        if repeat.count_unit == "record":
            if any(
                field.name == repeat.count and field.type in INTEGERS and not fits(repeat.max, field.type)
                for field in part.fields
            ):
                self.add(f"{where}.repeat.max", f"a number that {repeat.count} holds", str(repeat.max))
            return
        unit = repeat.count_unit
        self.counts(f"{where}.repeat.count", part.fields, repeat.count, repeat.max * size, unit, "bytes of records")
        is_fixed = record.repeat is None and record.elements is None
        if record.align % unit and not (is_fixed and size % unit == 0):
            self.add(f"records.{repeat.record}.align", f"a multiple of count_unit, {unit}", str(record.align))

    def record(self, name: str, record: RecordDocument, struct: type[msgspec.Struct]) -> int:
        """Check a record; returns the most bytes of it."""
        self.records.add(name)
        key = (name, struct)
        if key not in self.sizes:  # otherwise another message repeats the same
            self.sizes[key] = 0
            self.sizes[key] = self.part(f"records.{name}", record, struct)
        return self.sizes[key]

    def elements(
        self, where: str, part: MessageDocument | RecordDocument, elements: ElementsDocument, shape: Shape
    ) -> int:
        """Check a message's or record's elements; returns the most bytes of them."""
        most = 0
        taken = {} if part.repeat is None or part.repeat.id is None else {part.repeat.id: "its records"}
        names: set[str] = set()
        for index, field in enumerate(elements.fields):
            at = f"{where}.elements.fields[{index}] ({field.name})"
            if field.name in names:
                self.add(at, "a name of its own", "a second field of that name")
            names.add(field.name)
            if (other := taken.setdefault(field.id, field.name)) != field.name:
                self.add(f"{at}.id", "an id of its own", f"{field.id}, the id of {other}")
            self.sized(at, field)
            if (allowed := shape.types.get(field.name)) is None:
                self.add(at, one_of(field.name, shape.types) if shape.types else "no fields", "an unknown field")
            elif field.type not in allowed:
                self.add(f"{at}.type", " or ".join(allowed), field.type)
            most += self.element(at, elements, field.id, width_of(field))
        if 0 in taken and TYPES[elements.type][2] + TYPES[elements.length][2] < self.align_of(part):
            self.add(f"{where}.elements", "ids that are not 0, where zeros fill up", f"{taken[0]} with id 0")
        return most

    def element(self, at: str, elements: ElementsDocument, number: int, value_bytes: int) -> int:
        """Check the id and the length of an element; returns the bytes of it all."""
        if not fits(number, elements.type):
            self.add(f"{at}.id", f"an id that fits {elements.type}", str(number))
        head = sum(TYPES[kind][2] for kind in (elements.type, elements.length))
        counted = value_bytes + (head if elements.length_counts == "element" else 0)
        counted += -counted % elements.length_unit
        if not fits(counted // elements.length_unit, elements.length):
            units = f"{counted} bytes" if elements.length_unit == 1 else f"{counted} of {elements.length_unit}"
            self.add(at, f"at most what a length of type {elements.length} holds", units)
        whole = counted + (0 if elements.length_counts == "element" else head)
        return whole + -whole % elements.align

    def frame(self, where: str, largest: int) -> None:
        """A message's largest frame fits the limit, and its size the length field."""
        document = self.document
        if largest > document.max_frame_bytes:
            self.add("max_frame_bytes", f"room for {where}, {largest} bytes", str(document.max_frame_bytes))
        counted = self.framing.counted(largest)
        for field in document.header.fields:
            if field.name == "length" and field.type in TYPES_OF["length"] and not fits(counted, field.type):
                self.add("header.fields (length)", f"a type that holds {counted} ({where})", field.type)

    def columns(self, where: str, message: MessageDocument) -> None:
        """In a batch of notifications, the fields of header and body are columns of one table, beside the readings."""
        taken = {*(field.name for field in self.document.header.fields), "readings"}
        for index, field in enumerate(message.fields):
            if field.name in taken:
                at = f"{where}.fields[{index}] ({field.name})"
                self.add(at, "a name that neither the header nor the readings have", field.name)


def _what(part: MessageDocument | RecordDocument) -> str:
    return "message" if isinstance(part, MessageDocument) else "record"
