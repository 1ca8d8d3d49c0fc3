"""Many measurement notifications of any layout, walked through side by side: where each one's fields are.

All frames take the same step at once, as columns: the first element of each, the second of each, and so on. What a
frame costs does not depend on whether one like it was seen before, and nothing is remembered of what a peer sent. What
this finds good the codec reads without a fault, and the same; of the others, the codec has the last word.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadgen.nmsp.messages import STAMPS, StationsNotify
from loadgen.nmsp.parts import Elements, Repeat, Section
from loadgen.nmsp.profile_document import TURNED, TYPES

# What is read of a notification; the rest is only checked.
READ = (*STAMPS, "subservice", "time")
# No count or length is larger; what is does not become a small one when it is multiplied.
_LARGEST = 1 << 40
# A frame of more elements side by side than this is the codec's: hostile ones could have thousands, each a step.
_MOST_STEPS = 300
_MOST_BYTES_OF_TABLE = 2  # of element types: as many are looked up in a table, wider ones are searched

Int64s = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Numbers:
    """Integers at any place of a buffer: arrays whose items overlap, so that one index gathers any set of them."""

    def __init__(self, buffer: bytearray, order: str) -> None:
        """Args: buffer: has as many bytes more than what is walked through as `Walker.beyond` says."""
        turned = ">" if order == "<" else "<"
        self._views = {
            kind + behind: np.ndarray((len(buffer) - width + 1,), by + code, buffer, strides=(1,))
            for kind, (_, code, width) in TYPES.items()
            if kind != "mac"
            for behind, by in (("", order), (TURNED, turned))
        }

    def read(self, kind: str, at: Int64s) -> Int64s:
        """Those of one type that begin at these offsets; of u64, modulo 2^64 as int64."""
        return self._views[kind][at].astype(np.int64)

    def write(self, kind: str, at: Int64s, values: Int64s | int) -> None:
        """Put such values there; what does not fit goes round."""
        view = self._views[kind]
        view[at] = np.asarray(values).astype(view.dtype)


class Walked(NamedTuple):
    """What was found of each frame.

    Attributes:
        good: whether it is as its layout has it. The rest means something of the good ones alone.
        places: where the fields of `READ` begin that the layout has; -1 where a frame has not got it.
        stations: how many it is about.
    """

    good: Bools
    places: dict[str, Int64s]
    stations: Int64s


class _Side:
    """What a walk finds of one kind of part, of every frame."""

    __slots__ = ("good", "places", "stations")

    def __init__(self, count: int, names: list[str]) -> None:
        self.good = np.ones(count, np.bool_)
        self.places = {name: np.full(count, -1, np.int64) for name in names}
        self.stations = np.ones(count, np.int64)


class _Spans(NamedTuple):
    """Parts of one kind: whose frame each is in, where it begins, and where it must end at the latest."""

    frame: Int64s
    start: Int64s
    end: Int64s

    def only(self, chosen: Int64s) -> _Spans:
        return _Spans(self.frame[chosen], self.start[chosen], self.end[chosen])


class Walker:
    """Finds the fields of measurement notifications of one layout.

    Attributes:
        types: of the fields of `READ` that the layout has, as they lie.
        is_short: it takes the same few steps for every frame: there are no elements, and no records of several sizes.
        beyond: as many bytes behind the last body may be looked at, whatever they are.
    """

    def __init__(self, layout: Section, order: str) -> None:
        self._layout = layout
        self._order = order
        self.types = types_of(layout)
        self._several = layout.struct is StationsNotify
        self.is_short = layout.elements is None and (layout.repeat is None or layout.repeat.part.size is not None)
        self.beyond = _largest_fixed(layout) + 8
        self._tables: dict[int, _ElementTable] = {}

    def walk(self, numbers: Numbers, starts: Int64s, ends: Int64s) -> Walked:
        """Walk through bodies. Args: starts, ends: offsets of each body in the buffer of `numbers`."""
        side = _Side(len(starts), list(self.types))
        spans = _Spans(np.arange(len(starts)), starts, ends)
        reached = self._part(numbers, side, self._layout, spans, is_body=True)
        side.good &= ends - reached < self._layout.slack
        return Walked(side.good, side.places, side.stations)

    def _part(self, numbers: Numbers, side: _Side, part: Section, spans: _Spans, *, is_body: bool = False) -> Int64s:
        """Walk through parts of one kind; returns where each ends. Those that are not good end where they may."""
        fixed, tail = part.fixed.size, 0 if part.tail is None else part.tail.size
        frame, start, end = spans
        good = end - start >= fixed + tail
        # What is read of one that is too short lies in the buffer all the same, and does not count.
        if part.length is not None:
            size = numbers.read(part.fixed.lies[part.length], start + part.fixed.offsets[part.length])
            size = np.where((size >= 0) & (size <= _LARGEST), size, 0) * part.length_unit
            good &= (size >= fixed + tail) & (size <= end - start)
            end = np.where(good, start + size, end)
        if is_body:
            for name in part.fixed.offsets.keys() & self.types.keys():
                side.places[name] = start + part.fixed.offsets[name]
        position = np.where(good, start + fixed, end)
        limit = np.where(good, end - tail, end)
        if (repeat := part.repeat) is not None and repeat.is_beside:
            inner = _Spans(frame, position, limit)
            if repeat.counter is None:
                position = self._to_end(numbers, side, part, repeat, inner, is_body=is_body)
            else:
                count = numbers.read(part.fixed.lies[repeat.counter], start + part.fixed.offsets[repeat.counter])
                position = self._counted(numbers, side, repeat, inner, np.where(good, count, 0), is_body)
        if part.elements is not None:
            inner = _Spans(frame, position, limit)
            good &= self._elements(numbers, side, part, part.elements, inner, is_body=is_body)
            position = limit
        if part.tail is not None:
            if is_body:
                for name in part.tail.offsets.keys() & self.types.keys():
                    side.places[name] = position + part.tail.offsets[name]
            good &= position + tail <= end
            position = position + tail
        if part.align > 1:
            position = start + -(-(position - start) // part.align) * part.align
        good &= position <= end
        if part.length is not None:
            good &= position == end
        if not good.all():
            side.good[frame[~good]] = False
            position = np.where(good, position, end)
        return position

    def _counted(
        self, numbers: Numbers, side: _Side, repeat: Repeat, spans: _Spans, count: Int64s, is_body: bool
    ) -> Int64s:
        """Records side by side, as many as a field says; returns where the last one ends."""
        frame, position, limit = spans
        size, stop = repeat.part.size, limit
        good = (count >= 0) & (count <= (_LARGEST if repeat.unit else repeat.max))
        count = np.where(good, count, 0)
        if repeat.unit:
            stop = position + count * repeat.unit
            good &= stop <= limit
        if size is not None:
            if repeat.unit:
                found, rest = np.divmod(stop - position, size)
                good &= (rest == 0) & (found <= repeat.max)
            else:
                found = count
                stop = position + count * size
                good &= stop <= limit
        else:
            found = np.zeros(len(position), np.int64)
            stop = np.where(good, stop, position)
            for step in range(repeat.max + 1):
                left = position < stop if repeat.unit else count > step
                chosen = np.flatnonzero(left)
                if not len(chosen):
                    break
                if step == repeat.max:
                    good[chosen] = False
                    break
                part = _Spans(frame[chosen], position[chosen], stop[chosen])
                position[chosen] = self._part(numbers, side, repeat.part, part)
                found[chosen] += 1
            stop = position
        if not good.all():
            side.good[frame[~good]] = False
            stop = np.where(good, stop, limit)
        if is_body and self._several:
            side.stations[frame] = found
        return stop

    def _to_end(
        self, numbers: Numbers, side: _Side, part: Section, repeat: Repeat, spans: _Spans, *, is_body: bool
    ) -> Int64s:
        """Records side by side, up to the end of each part or to what is too little for one; returns where that is."""
        frame, position, limit = spans
        size = repeat.part.size
        if size is not None:
            found = (limit - position) // size
            position = position + found * size
        else:
            position, found = position.copy(), np.zeros(len(position), np.int64)
            for _ in range(repeat.max):
                chosen = np.flatnonzero(limit - position >= part.slack)
                if not len(chosen):
                    break
                inner = _Spans(frame[chosen], position[chosen], limit[chosen])
                position[chosen] = self._part(numbers, side, repeat.part, inner)
                found[chosen] += 1
        good = (limit - position < part.slack) & (found <= repeat.max)
        if not good.all():
            side.good[frame[~good]] = False
        if is_body and self._several:
            side.stations[frame] = found
        return np.where(good, position, limit)

    def _elements(
        self, numbers: Numbers, side: _Side, part: Section, elements: Elements, spans: _Spans, *, is_body: bool
    ) -> Bools:
        """Elements up to the end of each part; returns which of the parts have them as they must be."""
        frame, start, limit = spans
        if (table := self._tables.get(id(part))) is None:
            table = self._tables[id(part)] = _ElementTable(part, elements)
        position = start.copy()
        good = np.ones(len(start), np.bool_)
        places = np.full((table.count + 1, len(start)), -1, np.int64)  # the last row: of what is not known
        records = np.zeros(len(start), np.int64)
        active = np.arange(len(start))
        for _ in range(_MOST_STEPS):
            active = active[position[active] < limit[active]]
            if not len(active):
                break
            at, room = position[active], limit[active] - position[active]
            if part.slack > 1 and len(filled := self._filled(numbers, at, room, part.slack)):
                position[active[filled]] = limit[active[filled]]
                active, at, room = (np.delete(column, filled) for column in (active, at, room))
            whole = room >= elements.head
            if not whole.all():
                good[active[~whole]] = False
                active, at, room = active[whole], at[whole], room[whole]
            which = table.which(numbers.read(table.type, at))
            size = numbers.read(table.length, at + table.type_bytes) * elements.unit - elements.head_bytes
            value = at + elements.head
            fine = (size >= 0) & (size <= room - elements.head)
            fine &= (size >= table.least[which]) & (size <= table.most[which])
            fine &= (places[which, active] < 0) | (which == table.count)
            if table.record is not None:
                inner = np.flatnonzero(fine & (which == table.record))
                if len(inner):
                    whose = active[inner]
                    records[whose] += 1
                    repeat = part.repeat
                    assert repeat is not None
                    begin, end = value[inner], value[inner] + size[inner]
                    reached = self._part(numbers, side, repeat.part, _Spans(frame[whose], begin, end))
                    fits = -(-(reached - begin + elements.head_bytes) // elements.unit) * elements.unit
                    fine[inner] &= (fits - elements.head_bytes == size[inner]) & (records[whose] <= repeat.max)
                    which[inner] = table.count  # it may come again
            places[which, active] = value
            if not fine.all():
                good[active[~fine]] = False
                active, at, value, size = active[fine], at[fine], value[fine], size[fine]
            ends = value + size - start[active]
            if elements.align > 1:
                ends = -(-ends // elements.align) * elements.align
            position[active] = np.minimum(start[active] + ends, limit[active])
        else:
            good[active[position[active] < limit[active]]] = False
        for index in table.needed:
            good &= places[index] >= 0
        if is_body:
            for name, index in table.read.items():
                side.places[name] = places[index]
            if self._several and table.record is not None:
                side.stations[frame] = records
        return good

    def _filled(self, numbers: Numbers, at: Int64s, room: Int64s, slack: int) -> Int64s:
        """Which of these have nothing more than zeros that fill their part up."""
        few = np.flatnonzero(room < slack)
        for step in range(slack - 1):
            inside = step < room[few]
            few = few[~inside | (numbers.read("u8", at[few] + step) == 0)]
        return few


def types_of(layout: Section) -> dict[str, str]:
    """How those of `READ` lie that a layout has (`lie_of`)."""
    types: dict[str, str] = {}
    for record in (layout.fixed, layout.tail):
        if record is not None:
            types |= {name: kind for name, kind in record.lies.items() if name in READ}
    if layout.elements is not None:
        fields = layout.elements.fields.values()
        types |= {field.name: layout.elements.lies[field.name] for field in fields if field.name in READ}
    return types


def _largest_fixed(part: Section) -> int:
    inner = 0 if part.repeat is None else _largest_fixed(part.repeat.part)
    return max(part.fixed.size + (0 if part.tail is None else part.tail.size), inner)


class _ElementTable:
    """What is to be known of an element by its type, as columns; the last row is of types that are not known.

    Attributes:
        type, length: integer types of an element's head; type_bytes: of the former.
        count: of known fields and records. record: the row of records. read: rows of the fields of `READ`.
        least, most: bytes of a value. needed: rows that a part must have.
    """

    def __init__(self, part: Section, elements: Elements) -> None:
        self.type, self.length = elements.head_kinds
        self.type_bytes = elements.type.size
        fields = list(elements.fields.items())
        ids = [number for number, _ in fields]
        self.record: int | None = None
        least, most = list[int](), list[int]()
        for _, field in fields:
            layout = elements.values.get(field.name)
            size = elements.filled(field.size or 0 if layout is None else layout.size)
            least.append(0 if layout is None else size)
            most.append(size)
        if part.repeat is not None and part.repeat.id is not None:
            self.record = len(ids)
            ids.append(part.repeat.id)
            whole = part.repeat.part.size
            least.append(0 if whole is None else elements.filled(whole))
            most.append(1 << 62 if whole is None else least[-1])
        self.count = len(ids)
        self.least, self.most = np.array([*least, 0]), np.array([*most, 1 << 62])
        self.read = {field.name: index for index, (_, field) in enumerate(fields) if field.name in READ}
        self.needed = [index for index, (_, field) in enumerate(fields) if field.name in part.needed]
        self._ids, self._rows, self._table = None, None, None
        if self.type_bytes <= _MOST_BYTES_OF_TABLE:
            self._table = np.full(1 << 8 * self.type_bytes, self.count, np.int64)
            self._table[ids] = np.arange(self.count)
        else:
            order = np.argsort(ids)
            self._ids = np.array([*np.array(ids, np.int64)[order], 1 << 62])
            self._rows = np.array([*order, self.count])

    def which(self, types: Int64s) -> Int64s:
        """The rows of these element types."""
        if self._table is not None:
            return self._table[types]
        assert self._ids is not None
        assert self._rows is not None
        found = np.searchsorted(self._ids, types)
        return np.where(self._ids[found] == types, self._rows[found], self.count)
