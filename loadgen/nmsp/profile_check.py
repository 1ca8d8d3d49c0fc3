"""Everything that can be wrong with a wire profile. What passes compiles and works: no later stage raises for it."""

from __future__ import annotations

from functools import cache
from typing import Annotated, get_args, get_origin, get_type_hints

import msgspec

from loadgen.errors import Problem
from loadgen.nmsp.catalogue import CATALOGUE
from loadgen.nmsp.messages import Kind
from loadgen.nmsp.profile_document import (
    MAX_FRAME_LIMIT,
    MAX_NOTIFY_BYTES,
    SIZED,
    ElementDocument,
    FieldDocument,
    MessageDocument,
    ProfileDocument,
    RecordDocument,
    fits,
    width_of,
)
from loadgen.strict import one_of

_INTEGERS = ("u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64")
_SIGNED = ("i8", "i16", "i32", "i64")
_UNSIGNED = ("u8", "u16", "u32", "u64")
# Types that the code relies on, beyond what the kind of value says.
_REQUIRED_TYPES: dict[str, tuple[str, ...]] = {
    "msg_id": ("u16",),
    "length": ("u8", "u16", "u32"),
    "transaction": ("u16", "u32", "u64"),
    "sequence": _UNSIGNED,
    "due_ns": _UNSIGNED,
    "sent_ns": _UNSIGNED,
    "subservices": ("u64",),
    "rssi": _SIGNED,
    "rssi_a": _SIGNED,
    "rssi_b": _SIGNED,
    "snr": _SIGNED,
    "noise": _SIGNED,
    "tx_power": _SIGNED,
    "total_power": _SIGNED,
    "interference_power": _SIGNED,
}
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


def _types_of(name: str, hint: object) -> tuple[str, ...]:
    if get_origin(hint) is Annotated:
        return (get_args(hint)[1],)
    if hint is str:
        return ("text",)
    return _REQUIRED_TYPES.get(name, _INTEGERS)


_HEADER = {name: _REQUIRED_TYPES[name] for name in ("msg_id", "length", "transaction")}


def check(document: ProfileDocument) -> list[Problem]:
    """Every problem of a profile, with its path in the file."""
    return _Check(document).problems


class _Check:
    def __init__(self, document: ProfileDocument) -> None:
        self.document = document
        self.problems: list[Problem] = []
        self.records: set[str] = set()
        self.checked: set[tuple[str, type[msgspec.Struct]]] = set()
        if not 0 < document.max_frame_bytes <= MAX_FRAME_LIMIT:
            self.add("max_frame_bytes", f"1 to {MAX_FRAME_LIMIT}", str(document.max_frame_bytes))
        self.layout("header", document.header.fields, document.header.size, _HEADER, list(_HEADER))
        for index, field in enumerate(document.header.fields):
            if field.name == "readings":
                self.add(f"header.fields[{index}] (readings)", "a name that a notification does not have", field.name)
        self.messages()

    def add(self, where: str, expected: str, found: str) -> None:
        problem = Problem(where, expected, found)
        if problem not in self.problems:  # a record is checked for each kind of record that it is used as
            self.problems.append(problem)

    def messages(self) -> None:
        document = self.document
        labels = {kind.label: kind for kind in CATALOGUE}
        for name in sorted(document.messages.keys() - labels.keys()):
            self.add(f"messages.{name}", one_of(name, labels), "an unknown message")
        seen: dict[int, str] = {}
        for name, kind in labels.items():
            where = f"messages.{name}"
            message = document.messages.get(name)
            if message is None:
                if CATALOGUE[kind].needed:
                    self.add(where, "a table", "nothing")
                continue
            if not 0 <= message.id <= 0xFFFF:
                self.add(f"{where}.id", "a uint16", str(message.id))
            if (other := seen.setdefault(message.id, name)) != name:
                self.add(f"{where}.id", "an id of its own", f"{message.id}, the id of {other}")
            self.message(where, message, shape_of(CATALOGUE[kind].message), is_notify=name == _NOTIFY)
        for name in sorted(document.records.keys() - self.records) if not self.problems else ():
            self.add(f"records.{name}", "a record that a message repeats", "one that none does")

    def message(self, where: str, message: MessageDocument, shape: Shape, *, is_notify: bool) -> None:
        repeat, elements = message.repeat, message.elements
        if shape.repeated is not None and repeat is None:
            what = "the AP readings" if is_notify else "its records"
            self.add(f"{where}.repeat", f"a table ({what})", "nothing")
            return  # which of its fields would count them is not known
        types = dict(shape.types)
        needed = list(shape.needed)
        in_elements = {field.name for field in elements.fields} if elements is not None else set()
        if shape.repeated is not None and repeat is not None and repeat.count is not None:
            if repeat.count in types:
                self.add(f"{where}.repeat.count", "a field that only counts", repeat.count)
            types[repeat.count] = _INTEGERS
            needed.append(repeat.count)
        self.layout(
            where,
            message.fields,
            message.size,
            types,
            [name for name in needed if name not in in_elements],
            in_elements,
        )
        largest = self.document.header.size + message.size
        if elements is not None:
            if is_notify:
                self.add(f"{where}.elements", "none: constants in its record stand for types and lengths", "a table")
            largest += self.elements(where, message, shape)
        if shape.repeated is None:
            if repeat is not None:
                self.add(f"{where}.repeat", "nothing: this message has no records", "a table")
        else:
            largest += self.repeat(where, message, shape.repeated[1], is_notify=is_notify)
        self.frame(where, largest)
        if largest > MAX_NOTIFY_BYTES and where.endswith("_notify"):
            self.add(where, f"at most {MAX_NOTIFY_BYTES} bytes with header and records", str(largest))
        if is_notify:
            self.columns(where, message)

    def repeat(self, where: str, message: MessageDocument, struct: type[msgspec.Struct], *, is_notify: bool) -> int:
        """Check what a message repeats; returns the most bytes of it."""
        repeat = message.repeat
        assert repeat is not None
        record = self.document.records.get(repeat.record)
        if record is None:
            self.add(f"{where}.repeat.record", "a table of [records]", f'"{repeat.record}", which is none')
            return 0
        self.record(repeat.record, record, struct)
        most = _LARGEST_RECORD_COUNT
        if not 0 < repeat.max <= most:
            self.add(f"{where}.repeat.max", f"1 to {most}", str(repeat.max))
        elif repeat.count is not None and any(
            field.name == repeat.count and field.type not in SIZED and not fits(repeat.max, field.type)
            for field in message.fields
            if field.type in _INTEGERS
        ):
            self.add(f"{where}.repeat.max", f"a number that {repeat.count} holds", str(repeat.max))
        size = record.size
        if (repeat.count is None) == (repeat.id is None):
            self.add(f"{where}.repeat", "either count (a field) or id (of its elements)", "both or neither")
        elif repeat.id is not None:
            if is_notify:
                self.add(f"{where}.repeat", "count", "id")
            elif message.elements is None:
                self.add(f"{where}.repeat.id", f"nothing without {where}.elements", str(repeat.id))
            else:
                size += self.element(f"{where}.repeat", message, repeat.id, record.size)
        return repeat.max * max(size, 0)

    def record(self, name: str, record: RecordDocument, struct: type[msgspec.Struct]) -> None:
        self.records.add(name)
        if (name, struct) in self.checked:  # another message repeats the same, and it was looked at
            return
        self.checked.add((name, struct))
        shape = shape_of(struct)
        self.layout(f"records.{name}", record.fields, record.size, shape.types, shape.needed)

    def elements(self, where: str, message: MessageDocument, shape: Shape) -> int:
        """Check a message's elements; returns the most bytes of them."""
        assert message.elements is not None
        most = 0
        taken = {} if message.repeat is None or message.repeat.id is None else {message.repeat.id: "its records"}
        names: set[str] = set()
        for index, field in enumerate(message.elements.fields):
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
            most += self.element(at, message, field.id, width_of(field)) + width_of(field)
        return most

    def element(self, at: str, message: MessageDocument, number: int, value_bytes: int) -> int:
        """Check the id and the length of an element; returns the bytes of its head."""
        elements = message.elements
        assert elements is not None
        if not fits(number, elements.type):
            self.add(f"{at}.id", f"an id that fits {elements.type}", str(number))
        head = _head_bytes(elements.type, elements.length)
        counted = value_bytes + (head if elements.length_counts == "element" else 0)
        if not fits(counted, elements.length):
            self.add(at, f"at most what a length of type {elements.length} holds", f"{counted} bytes")
        return head

    def frame(self, where: str, largest: int) -> None:
        """A message's largest frame fits the limit, and its size the length field."""
        document = self.document
        if largest > document.max_frame_bytes:
            self.add("max_frame_bytes", f"room for {where}, {largest} bytes", str(document.max_frame_bytes))
        counted = largest - (document.header.size if document.header.length_counts == "body" else 0)
        for field in document.header.fields:
            if field.name == "length" and field.type in _HEADER["length"] and not fits(counted, field.type):
                self.add("header.fields (length)", f"a type that holds {counted} ({where})", field.type)

    def columns(self, where: str, message: MessageDocument) -> None:
        """In a batch of notifications, the fields of header and body are columns of one table, beside the readings."""
        taken = {*(field.name for field in self.document.header.fields), "readings"}
        for index, field in enumerate(message.fields):
            if field.name in taken:
                at = f"{where}.fields[{index}] ({field.name})"
                self.add(at, "a name that neither the header nor the readings have", field.name)

    def layout(
        self,
        where: str,
        fields: tuple[FieldDocument, ...],
        size: int,
        types: dict[str, tuple[str, ...]],
        needed: list[str],
        elsewhere: set[str] | frozenset[str] = frozenset(),
    ) -> None:
        """Check the fields of a record. `elsewhere`: fields that are in elements."""
        if not 0 <= size <= MAX_FRAME_LIMIT:
            self.add(f"{where}.size", f"0 to {MAX_FRAME_LIMIT}", str(size))
        names: set[str] = set()
        taken: list[tuple[int, int, str]] = []
        for index, field in enumerate(fields):
            at = f"{where}.fields[{index}] ({field.name})"
            end = field.offset + width_of(field)
            if field.name in names or field.name in elsewhere:
                self.add(at, "a name of its own", "a second field of that name")
            names.add(field.name)
            self.sized(at, field)
            if field.offset < 0:
                self.add(f"{at}.offset", "0 or more", str(field.offset))
            if end > size:
                self.add(at, f"to end within the record of {size} bytes", f"an end at byte {end}")
            for start, stop, other in taken:
                if field.offset < stop and start < end:
                    self.add(at, "bytes of its own", f"an overlap with {other}")
            taken.append((field.offset, end, field.name))
            self.field(at, field, types)
        for name in needed:
            if name not in names:
                self.add(f"{where}.fields", f"a field {name}", "none")

    def sized(self, at: str, field: FieldDocument | ElementDocument) -> None:
        if field.type in SIZED:
            if field.size is None or not 0 < field.size <= MAX_NOTIFY_BYTES:
                found = "nothing" if field.size is None else str(field.size)
                self.add(f"{at}.size", f"1 to {MAX_NOTIFY_BYTES} ({field.type})", found)
        elif field.size is not None:
            self.add(f"{at}.size", "nothing: its type says it", str(field.size))

    def field(self, at: str, field: FieldDocument, types: dict[str, tuple[str, ...]]) -> None:
        allowed = types.get(field.name)
        if allowed is not None:
            if field.type not in allowed:
                self.add(f"{at}.type", "an integer type" if allowed is _INTEGERS else " or ".join(allowed), field.type)
            if field.value is not None:
                self.add(f"{at}.value", "nothing: this field varies", str(field.value))
        elif field.type not in _INTEGERS:
            self.add(f"{at}.type", "an integer type", field.type)
        elif field.value is None:
            self.add(at, f"one of {', '.join(types) or 'no fields'}, or a constant value", "neither")
        elif not fits(field.value, field.type):
            self.add(f"{at}.value", f"a value that fits {field.type}", str(field.value))


def _head_bytes(*kinds: str) -> int:
    return sum({"u8": 1, "u16": 2, "u32": 4}[kind] for kind in kinds)
