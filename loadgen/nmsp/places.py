"""Where in a message's body its values are, and of which types: for whoever changes some of them and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

from loadgen.nmsp.fields import UNITS
from loadgen.nmsp.opaque import OpaqueMessage
from loadgen.nmsp.parts import Elements, Record, Section, up_to

# What a value names: somebody or something, nothing ("number"), or it is not known ("bytes").
ValueType: TypeAlias = Literal["number", "mac", "text", "address", "bytes"]


class ValuePlace(NamedTuple):
    at: int  # in the body
    size: int
    type: ValueType


def places_in(layout: Section, body: memoryview) -> Iterator[ValuePlace]:
    """All values of a body that the codec has read without a fault, and what says where they are. What no place covers
    is unknown: gaps, elements of unknown types, padding.
    """
    return _Walk(body).part(layout, 0, len(body))


def opaque_places(opaque: OpaqueMessage, body: memoryview) -> Iterator[ValuePlace]:
    """The same of a body that is known as bytes alone: what is filled in, and bytes that are the profile's."""
    if len(body) < opaque.fills.size:
        return
    filled: set[int] = set()
    for place in _of_record(opaque.fills, 0):
        yield place
        filled.update(range(place.at, place.at + place.size))
    for at, (byte, known) in enumerate(zip(body, opaque.body, strict=False)):
        if byte == known and at not in filled:
            yield ValuePlace(at, 1, "number")


class _Walk:
    def __init__(self, body: memoryview) -> None:
        self._body = body
        self._end = 0  # of what was walked through last

    def part(self, part: Section, start: int, end: int) -> Iterator[ValuePlace]:
        yield from _of_record(part.fixed, start)
        tail = 0 if part.tail is None else part.tail.size
        position = start + part.fixed.size
        if part.length is not None:
            end = start + self._number(part.fixed, part.length, start) * part.length_unit
        if part.repeat is not None and part.repeat.counter is not None:
            number = self._number(part.fixed, part.repeat.counter, start)
            yield from self._records(part.repeat.part, number, part.repeat.unit, position, end - tail)
            position = self._end
        elif part.repeat is not None and part.repeat.is_beside:
            while end - tail - position >= part.slack:
                yield from self.part(part.repeat.part, position, end - tail)
                position = self._end
        if part.elements is not None:
            yield from self._elements(part, part.elements, position, end - tail)
            position = end - tail
        if part.tail is not None:
            yield from _of_record(part.tail, position)
        self._end = start + up_to(position + tail - start, part.align)

    def _number(self, record: Record, name: str, start: int) -> int:
        number: int = record.field_struct(name).unpack_from(self._body, start + record.offsets[name])[0]
        return number

    def _records(self, part: Section, number: int, unit: int, position: int, limit: int) -> Iterator[ValuePlace]:
        """Side by side: as many, or up to so many units."""
        end, count = position + number * unit, 0
        while position < end if unit else count < number:
            yield from self.part(part, position, end if unit else limit)
            position, count = self._end, count + 1
        self._end = position

    def _elements(self, part: Section, elements: Elements, start: int, end: int) -> Iterator[ValuePlace]:
        position = start
        while end - position >= elements.head:
            if end - position < part.slack and not any(self._body[position:end]):
                return
            number: int = elements.type.unpack_from(self._body, position)[0]
            counted: int = elements.length.unpack_from(self._body, position + elements.type.size)[0]
            size = counted * elements.unit - elements.head_bytes
            yield ValuePlace(position, elements.head, "number")
            position += elements.head
            if part.repeat is not None and number == part.repeat.id:
                yield from self.part(part.repeat.part, position, position + size)
            elif (field := elements.fields.get(number)) is not None:
                yield ValuePlace(position, size, _type_of(field.name, elements.kinds[field.name], size))
            position = min(start + up_to(position + size - start, elements.align), end)


def _of_record(record: Record, start: int) -> Iterator[ValuePlace]:
    for at, size, what in record_places(record):
        yield ValuePlace(start + at, size, what)


@lru_cache(1024)
def record_places(record: Record) -> tuple[ValuePlace, ...]:
    """Of a record's fields, in order; numbers that lie side by side are one."""
    places: list[ValuePlace] = []
    for name, at in record.offsets.items():
        size = record.widths[name]
        # Constants are the layout's, whatever they look like.
        what: ValueType = "number" if name in record.constants else _type_of(name, record.types[name], size)
        last = places[-1] if places else None
        if last is not None and last.type == what == "number" and last.at + last.size == at:
            places[-1] = ValuePlace(last.at, last.size + size, "number")
        else:
            places.append(ValuePlace(at, size, what))
    return tuple(places)


def _type_of(name: str, kind: str, size: int) -> ValueType:
    if kind == "mac":
        return "mac"
    if kind == "text":
        return "text"
    if kind != "bytes":
        return "number"
    return "address" if size in (4, 16) and "IPv" in UNITS.get(name, "") else "bytes"
