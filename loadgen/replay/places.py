"""Where in a frame its MACs, its times and our own numbers lie, at any depth. Of frames that the codec has read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from loadgen.nmsp.device_time import DeviceTime
from loadgen.nmsp.parts import Elements, Record, Section, up_to
from loadgen.nmsp.profile import Layout, WireProfile


class Placed(NamedTuple):
    """One field of a frame.

    Attributes:
        type: "mac", or how its integer lies on the wire (`lie_of`). at: offset in the frame.
        top: it is the message's own, and not of a record within.
        time: how it tells a time, if it is one.
    """

    name: str
    type: str
    at: int
    top: bool
    time: DeviceTime | None = None


def places_in(profile: WireProfile, layout: Layout, frame: bytes) -> list[Placed]:
    """The fields of a message's body that are numbers or MACs, in order."""
    head, foot = profile.framing.head, profile.framing.foot
    found: list[Placed] = []
    _part(layout, frame, head, len(frame) - foot, found, top=True)
    return found


def _part(part: Section, frame: bytes, start: int, end: int, found: list[Placed], *, top: bool = False) -> int:
    """Add what is in a part that begins there; returns where it ends."""
    found += _fixed(part.fixed, start, top)
    position = start + part.fixed.size
    if part.length is not None:
        end = start + _number(part.fixed, part.length, frame, start) * part.length_unit
    repeat, tail_bytes = part.repeat, 0 if part.tail is None else part.tail.size
    if repeat is not None and repeat.counter is not None:
        number, done = _number(part.fixed, repeat.counter, frame, start), 0
        stop = position + number * repeat.unit
        while position < stop if repeat.unit else done < number:
            position = _part(repeat.part, frame, position, end - tail_bytes, found)
            done += 1
    elif repeat is not None and repeat.is_beside:
        while end - tail_bytes - position >= part.slack:
            position = _part(repeat.part, frame, position, end - tail_bytes, found)
    if part.elements is not None:
        _elements(part, part.elements, frame, position, end - tail_bytes, found, top)
        position = end - tail_bytes
    if part.tail is not None:
        found += _fixed(part.tail, position, top)
        position += part.tail.size
    return start + up_to(position - start, part.align)


def _fixed(record: Record, start: int, top: bool) -> Iterator[Placed]:
    for name, kind in record.lies.items():
        if kind not in ("text", "bytes") and name not in record.constants:
            yield Placed(name, kind, start + record.offsets[name], top, record.times.get(name))


def _number(record: Record, name: str, frame: bytes, start: int) -> int:
    number: int = record.field_struct(name).unpack_from(frame, start + record.offsets[name])[0]
    return number


def _elements(
    part: Section, elements: Elements, frame: bytes, position: int, end: int, found: list[Placed], top: bool
) -> None:
    begin, record = position, None if part.repeat is None else part.repeat.id
    while end - position >= elements.head:
        number: int = elements.type.unpack_from(frame, position)[0]
        size = elements.length.unpack_from(frame, position + elements.type.size)[0] * elements.unit
        value, stop = position + elements.head, position + elements.head + size - elements.head_bytes
        if stop > end or stop < value:
            return  # zeros that fill the body up
        if part.repeat is not None and number == record:
            _part(part.repeat.part, frame, value, stop, found)
        elif (field := elements.fields.get(number)) is not None and field.name in elements.values:
            kind = elements.lies[field.name]
            found.append(Placed(field.name, kind, value, top, elements.times.get(field.name)))
        position = begin + up_to(stop - begin, elements.align)
