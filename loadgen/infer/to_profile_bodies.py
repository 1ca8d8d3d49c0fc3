"""Bodies of a layout as the tables of a wire profile: fields by NMSP's names, records, elements."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from loadgen.infer.elements_in_place import elements_in_place
from loadgen.infer.layout_document import (
    Count,
    ElementKind,
    LayoutDocument,
    LayoutElements,
    LayoutField,
    LayoutMessage,
    LayoutNode,
    LayoutRepeat,
    Order,
    place_of,
)
from loadgen.infer.naming import ALIASES, INTEGER_ROLES, OWN_ROLES, role_of, wire_type_of
from loadgen.nmsp.catalogue import CATALOGUE
from loadgen.nmsp.field_check import INTEGERS
from loadgen.nmsp.messages import STAMPS, Kind, StationsNotify
from loadgen.nmsp.profile_check import Shape, shape_of, shape_with_record
from loadgen.nmsp.profile_document import MAX_NOTIFY_BYTES

__all__ = ["Bodies", "Unsayable", "why"]

Table = dict[str, Any]
_KINDS = {kind.label: kind for kind in CATALOGUE}
_CODES = {1: "u8", 2: "u16", 4: "u32", 8: "u64"}
_UNITS = (1, 2, 4, 8)  # bytes that a count may count in
_MOST_RECORDS = 255
_MOST_TEXT = 64


class Unsayable(Exception):
    """A message that a profile has no words for; the text says why."""


class Bodies:
    """Attributes:
    records: tables of the records that the messages so far have.
    """

    def __init__(
        self, layout: LayoutDocument, unsaid: list[str], guesses: dict[str, str], notes: dict[str, str]
    ) -> None:
        self._layout = layout
        self._unsaid, self._guesses, self._notes = unsaid, guesses, notes
        self._align = layout.header.frame_size.unit
        self._in_header = {field.name for field in layout.header.fields} | {"readings", "frame_number"}
        self.records: Table = {}

    def message(self, message: LayoutMessage) -> Table:
        """Size, fields and what else a message's table has. Unsayable: it cannot be said in fields."""
        kind = _KINDS[message.name]
        struct: type[msgspec.Struct] = CATALOGUE[kind].message
        body, where = message.body, f"messages.{message.name}"
        unsaid, guesses, records = [*self._unsaid], {**self._guesses}, {**self.records}
        if kind is Kind.MEASUREMENT_NOTIFY:
            sample = bytes.fromhex(message.sample)
            body, placed = elements_in_place(body, self._layout.byte_order, self._align, sample)
            for name in placed:
                self._guesses[f"{where}.{name}_type"] = "an element that always comes, and in this place"
            if any(_has_records(each) or _is_station(body, each) for each in _repeated(body)):
                struct = StationsNotify
        try:
            return self._part(where, body, struct)
        except Unsayable:
            # What was said on the way is of no use.
            self._unsaid[:], self.records = unsaid, records
            self._guesses.clear()
            self._guesses.update(guesses)
            raise

    # -- a body or a record ----------------------------------------------------------------------------------------

    def _part(self, where: str, node: LayoutNode, struct: type[msgspec.Struct]) -> Table:
        shape = shape_of(struct) if _has_records(node) else shape_with_record(struct)
        fields, size = _fixed(where, node)
        if node.rest not in (None, "padding") or (node.rest == "padding" and self._align == 1):
            raise Unsayable("it has a rest, of which nothing is known")
        repeat = self._repeat_of(where, node)
        counter = repeat.count.field if repeat is not None and isinstance(repeat.count, Count) else None
        in_elements = [] if node.elements is None else _single_fields(node.elements)
        named = self._named(where, [*fields, *(each for _, each in in_elements)], shape, counter)
        table: Table = {"size": size, "fields": self._rows(where, fields, named, counter, shape)}
        room = MAX_NOTIFY_BYTES - 64 - size
        if shape.repeated is not None:
            table |= self._records(node, repeat, shape, room)
        elif repeat is not None:
            raise Unsayable(f"it has records ({repeat.name}), which NMSP's message has not")
        if node.elements is not None:
            table["elements"] = self._elements(where, node.elements, named, shape, room)
        return table

    def _named(
        self, where: str, fields: Sequence[LayoutField], shape: Shape, counter: str | None
    ) -> dict[str, tuple[LayoutField, str]]:
        """Which field is which of NMSP's: by name -> the field, and its type there."""
        left = [each for each in fields if each.name != counter]
        found: dict[str, tuple[LayoutField, str]] = {}

        def take(name: str, among: Collection[LayoutField], guess: str = "") -> bool:
            for each in among:
                if (kind := wire_type_of(each, shape.types[name])) is not None:
                    found[name] = each, kind
                    left.remove(each)
                    if guess:
                        self._guesses[f"{where}.{name}"] = guess
                    return True
            return False

        for name in shape.types:
            take(name, [each for each in left if each.name == name])
        for name in [name for name in shape.types if name not in found]:
            take(name, [each for each in left if ALIASES.get(each.name) == name])
        names = [
            name for name in shape.types if name not in found and role_of(name) in OWN_ROLES and name not in STAMPS[1:]
        ]
        for name in sorted(names, key=lambda name: name not in shape.needed):
            role = role_of(name)
            alike = [each for each in left if each.role == role and each.name not in shape.types]
            if name.endswith("_s"):
                alike = [each for each in alike if each.unit in ("s", None)]
            take(name, alike, f"by its role, {role}, and its place among those alike" if alike else "")
        for name in [name for name in shape.needed if name not in found]:
            usable = [each for each in left if each.role in INTEGER_ROLES]
            if not take(name, usable, "only because it must be somewhere"):
                raise Unsayable(f"no field that can be its {name}")
        return found

    def _rows(
        self,
        where: str,
        fields: Sequence[LayoutField],
        named: Mapping[str, tuple[LayoutField, str]],
        counter: str | None,
        shape: Shape,
    ) -> list[Table]:
        """The fields of a fixed part."""
        names = {id(each): (name, kind) for name, (each, kind) in named.items()}
        rows: list[Table] = []
        for each in fields:
            at, size = place_of(each)
            if id(each) in names:
                name, kind = names[id(each)]
                rows.append(self._row(each, name, kind) | {"offset": at})
                if each.evidence:
                    self._notes[f"{where}.{name}"] = why(each)
            elif each.name == counter:
                if size not in _CODES:
                    raise Unsayable(f"its count {counter} has {size} bytes")
                rows.append({"name": self._free(each.name, shape), "type": each.type or _CODES[size], "offset": at})
                rows[-1] |= own_order(each, self._layout.byte_order)
            elif each.value is not None and size in _CODES:
                kind = each.type if each.type in INTEGERS else _CODES[size]
                rows.append({"name": self._free(each.name, shape), "type": kind, "offset": at, "value": each.value})
                rows[-1] |= own_order(each, self._layout.byte_order)
            elif each.value is not None:
                data = each.value.to_bytes(size, each.order or self._layout.byte_order)
                rows += [
                    {"name": f"{each.name}_{index}", "type": "u8", "offset": at + index, "value": byte}
                    for index, byte in enumerate(data)
                    if byte
                ]
            elif each.role != "padding":
                self._unsaid.append(f"{where}.{each.name} ({each.role}): zeros")
        return rows

    def _row(self, field: LayoutField, name: str, kind: str) -> Table:
        row: Table = {"name": name, "type": kind}
        if kind in ("text", "bytes"):
            row["size"] = field.size if isinstance(field.size, int) else _MOST_TEXT
        elif kind != "mac":
            row |= own_order(field, self._layout.byte_order)
        if kind == "time":
            row |= {"size": field.size, "unit": field.unit}
            if field.epoch == "session":
                row["epoch"] = "session"
        return row

    def _free(self, name: str, shape: Shape) -> str:
        """A name that is no field's of NMSP."""
        return f"{name}_here" if name in shape.types or name in self._in_header else name

    # -- records ---------------------------------------------------------------------------------------------------

    def _repeat_of(self, where: str, node: LayoutNode) -> LayoutRepeat | None:
        if not node.repeats:
            return None
        if len(node.repeats) > 1:
            raise Unsayable("it has two kinds of records side by side")
        repeat = node.repeats[0]
        own = {each.name for each in node.fields}
        if isinstance(repeat.count, Count) and repeat.count.field not in own:
            raise Unsayable(f"no field of it counts its records ({repeat.name})")
        if not isinstance(repeat.count, Count) and node.elements is not None:
            raise Unsayable(f"its records ({repeat.name}) end where its elements begin")
        return repeat

    def _records(self, node: LayoutNode, repeat: LayoutRepeat | None, shape: Shape, room: int) -> Table:
        """The table `repeat`."""
        assert shape.repeated is not None
        struct = shape.repeated[1]
        if repeat is not None:
            name = self._record(repeat.name, repeat.record, struct, repeat.stride)
            if not isinstance(repeat.count, Count):
                most = _MOST_RECORDS if repeat.count == "rest" else repeat.count
                return {"repeat": {"record": name, "to_end": True, "max": self._most(name, most, room)}}
            counted = repeat.count.field
            _, size = place_of(next(each for each in node.fields if each.name == counted))
            most = self._most(name, min(_MOST_RECORDS, (1 << 8 * size) - 1), room)
            made = {"record": name, "count": self._free(counted, shape), "max": most}
            if repeat.count.of > 1:
                unit, left = divmod(repeat.stride or 0, repeat.count.of)
                if left or unit not in _UNITS:
                    raise Unsayable(f"{counted} counts {repeat.count.of} for each of its records ({repeat.name})")
                made["count_unit"] = unit
                made["max"] = most = min(most, ((1 << 8 * size) - 1) // repeat.count.of)
            return {"repeat": made}
        if node.elements is not None:
            for kind in node.elements.known:
                if not _is_single(kind, node.elements):
                    name = self._record(kind.name, kind.value, struct, None)
                    head = node.elements.type.size + node.elements.length.size
                    return {"repeat": {"record": name, "id": kind.id, "max": self._most(name, 64, room, head)}}
        raise Unsayable("it has no records, which NMSP's message has")

    def _record(self, name: str, node: LayoutNode, struct: type[msgspec.Struct], stride: int | None) -> str:
        table = self._part(f"records.{name}", node, struct)
        if stride is not None:
            if stride < table["size"]:
                raise Unsayable(f"records of {stride} bytes with fields beyond")
            table["size"] = stride
        made, index = name, 2
        while self.records.get(made, table) != table:
            made, index = f"{name}_{index}", index + 1
        self.records[made] = table
        return made

    def _most(self, record: str, most: int, room: int, head: int = 0) -> int:
        size = max(1, self._bytes(record) + head)
        return max(1, min(most, room // size))

    def _bytes(self, record: str) -> int:
        """The most bytes of a record."""
        table = self.records[record]
        size = int(table["size"])
        if repeat := table.get("repeat"):
            # Some stations are to fit, each with its readings.
            inner = self._bytes(repeat["record"]) + 8
            repeat["max"] = min(repeat["max"], 32)
            size += repeat["max"] * inner
        for each in table.get("elements", {}).get("fields", ()):
            size += 8 + int(each.get("size", 8))
        return size

    # -- elements --------------------------------------------------------------------------------------------------

    def _elements(
        self,
        where: str,
        elements: LayoutElements,
        named: Mapping[str, tuple[LayoutField, str]],
        shape: Shape,
        room: int,
    ) -> Table:
        names = {id(each): (name, kind) for name, (each, kind) in named.items()}
        rows = []
        for number, each in _single_fields(elements):
            if id(each) in names:
                name, kind = names[id(each)]
                rows.append(self._row(each, name, kind) | {"id": number})
                if each.evidence:
                    self._notes[f"{where}.{name}"] = why(each)
            else:
                self._unsaid.append(f"{where}.elements.{each.name} ({each.role}): not sent, and skipped")
        repeated = shape.repeated is not None
        for kind_ in elements.known:
            if not _is_single(kind_, elements):
                if not repeated:
                    self._unsaid.append(f"{where}.elements.{kind_.name}: not sent, and skipped")
                repeated = False
        for part in (elements.type, elements.length):
            if part.order not in (None, self._layout.byte_order) and part.size > 1:
                raise Unsayable("its elements have another byte order")
        if any(_has_one_field(each.value) and each.value.rest == "padding" for each in elements.known):
            self._unsaid.append(f"{where}.elements: zeros at the end of values that lengths count; without them")
        made: Table = {"type": _CODES[elements.type.size], "length": _CODES[elements.length.size]}
        if elements.length.counts != "value":
            made["length_counts"] = elements.length.counts
        if self._align > 1 and where.startswith("messages."):
            made["align"] = self._align
        return made | {"fields": rows}


def own_order(field: LayoutField, order: Order) -> Table:
    """What a profile says of its byte order; nothing where it is the layout's, or has no meaning."""
    integer = field.type in INTEGERS or field.type is None
    return {"order": field.order} if field.order not in (None, order) and integer and field.size != 1 else {}


def why(field: LayoutField) -> str:
    """The evidence, and how sure it is."""
    sure = "" if field.confidence is None else f" ({field.confidence:.0%} sure)"
    return f"{field.evidence}{sure}"


def _fixed(where: str, node: LayoutNode) -> tuple[list[LayoutField], int]:
    """Fields at places of their own, "next" ones too, and the bytes of them all."""
    out, end = [], node.size
    for each in node.fields:
        if not isinstance(each.size, int):
            raise Unsayable(f"{each.name} is as long as something else says")
        at = end if each.at == "next" else each.at
        out.append(each if each.at == at else msgspec.structs.replace(each, at=at))
        end = max(end, at + each.size)
    return out, end


def _is_single(kind: ElementKind, elements: LayoutElements) -> bool:
    """An element's value that is one field. An address alone may be a record, of another name than its field; not
    beside an RSSI that stands alone, too: then it says whose that is.
    """
    if not _has_one_field(kind.value):
        return False
    (field,) = kind.value.fields
    alone = (each.value.fields[0].role for each in elements.known if _has_one_field(each.value))
    return field.name == kind.name or field.role != "mac" or "rssi" in alone


def _has_one_field(node: LayoutNode) -> bool:
    return len(node.fields) == 1 and not node.repeats and node.elements is None


def _single_fields(elements: LayoutElements) -> list[tuple[int, LayoutField]]:
    return [(kind.id, kind.value.fields[0]) for kind in elements.known if _is_single(kind, elements)]


def _repeated(node: LayoutNode) -> list[LayoutNode]:
    found = [repeat.record for repeat in node.repeats]
    if node.elements is not None:
        found += [kind.value for kind in node.elements.known if not _is_single(kind, node.elements)]
    return found


def _is_station(body: LayoutNode, record: LayoutNode) -> bool:
    """Whether records have a station and an access point each: of one station a notification has the address itself."""
    macs = sum(each.role == "mac" for each in record.fields)
    return macs > 1 and not any(each.role == "mac" for each in body.fields)


def _has_records(node: LayoutNode) -> bool:
    return bool(node.repeats) or (node.elements is not None and any(_repeated(node)))
