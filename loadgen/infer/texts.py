"""Shapes with texts whose lengths numbers tell: one behind another, also where a length stands right before its text,
and in records. That a text of just that length is printable tells more than how lengths add up, so that a few bodies
of one length are enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from loadgen.infer.shapes import BodyShape, ByteRun, Gap, Part, Place, Records, fits
from loadgen.infer.work import Work

__all__ = ["texts_in_records", "told_texts"]

# How far into a body a text is looked for, how long one is, and how far from the length of it.
_FAR, _LONGEST = 96, 128
# Between two texts; and how many there are at most.
_GAP, _MOST = 5, 3
# Behind the last one, of fields as in front of the first.
_TAIL = 64
_BODIES = 40
_LEAST = 4  # letters of all texts of a field
# A length that is the same in all bodies stands right before its text, or this near.
_NEAR = 4
_MOST_RECORDS = 64
# So many letters and digits more are no chance.
_WORD = 3
# Longer bodies are not looked at.
_WIDEST = 4096
# What it takes to look at a place in all bodies.
_STEPS = 20
Vector = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Bodies:
    """Bodies as rows: their bytes, how many of these up to each place are not printable, or not a letter or digit."""

    cells: NDArray[np.int64]
    odd: Vector
    letters: Vector
    lengths: Vector
    work: Work
    fixed: dict[tuple[int, int, str], Vector] = field(default_factory=dict)  # numbers in fixed places, by the place

    @property
    def shortest(self) -> int:
        return int(self.lengths.min())

    def number(self, at: Vector, size: int, order: str) -> Vector:
        rows = np.arange(len(at))
        steps = range(size) if order == "big" else range(size - 1, -1, -1)
        out = np.zeros(len(at), np.int64)
        for step in steps:
            out = out << 8 | self.cells[rows, np.minimum(at + step, self.cells.shape[1] - 1)]
        return out

    def number_at(self, at: int, size: int, order: str) -> Vector:
        """In a fixed place of all."""
        key = at, size, order
        if key not in self.fixed:
            self.fixed[key] = self.number(np.full(len(self.lengths), at, np.int64), size, order)
        return self.fixed[key]

    def may_begin(self, at: Vector) -> bool:
        """Whether any text of three letters begins there in some body."""
        rows, end = np.arange(len(at)), np.minimum(at + 3, self.lengths)
        return bool(((self.odd[rows, end] == self.odd[rows, np.minimum(at, end)]) & (end - at == 3)).any())

    def is_text(self, at: Vector, sizes: Vector) -> bool:
        if not self.work.spend(_STEPS):
            return False
        if (sizes > _LONGEST).any() or (at + sizes > self.lengths).any() or sizes.max() < 3:
            return False
        rows, end = np.arange(len(at)), at + sizes
        if (self.odd[rows, end] > self.odd[rows, at]).any():
            return False
        letters = int((self.letters[rows, end] - self.letters[rows, at]).sum())
        return letters >= _LEAST and letters * 10 >= int(sizes.sum()) * 6

    def is_cut_out(self, at: Vector, sizes: Vector, told_at: int) -> bool:
        """Whether texts of one length are pieces of longer words in all bodies: a number that says so is some other.

        Args: told_at: how far in front of the texts their length ends.
        """
        if sizes.min() != sizes.max():
            return False
        rows, end = np.arange(len(at)), at + sizes
        behind = np.minimum(end + _WORD, self.lengths)
        if (self.letters[rows, behind] - self.letters[rows, end] == _WORD).all():
            return True
        return told_at > 0 and bool((self.letters[rows, at] > self.letters[rows, at - 1]).all())


def _rows_of(bodies: Sequence[bytes], work: Work) -> _Bodies:
    different = [body for body in dict.fromkeys(bodies) if len(body) <= _WIDEST] or [min(bodies, key=len)[:_WIDEST]]
    some = different[:: max(1, len(different) // _BODIES)][:_BODIES]
    width = max(map(len, some)) + 1
    cells = np.frombuffer(b"".join(body.ljust(width, b"\0") for body in some), np.uint8).reshape(len(some), width)
    odd = np.cumsum((cells < 32) | (cells >= 127), axis=1)
    lower = cells | 32
    letters = np.cumsum(((lower >= 97) & (lower < 123)) | ((cells >= 48) & (cells < 58)), axis=1)
    zero = np.zeros((len(some), 1), np.int64)
    return _Bodies(
        cells.astype(np.int64),
        np.hstack([zero, odd]),
        np.hstack([zero, letters]),
        np.array([*map(len, some)], np.int64),
        work,
    )


def _widths(order: str) -> list[tuple[int, str]]:
    return [(1, order), (2, order), (2, "little" if order == "big" else "big")]


def told_texts(bodies: Sequence[bytes], order: str, unit: int | None, work: Work) -> Iterator[BodyShape]:
    """Bodies that end with texts, each as long as a number says, or, the last one of several, as long as is left; or
    with zeros behind the last one, up to the unit."""
    rows = _rows_of(bodies, work)
    for fixed in range(1, min(rows.shortest, _FAR) + 1):
        start = np.full(len(rows.lengths), fixed, np.int64)
        for shape in _behind(rows, BodyShape(fixed), start, order, unit, 0):
            if fits(shape, bodies, work):
                yield shape


def _behind(
    rows: _Bodies, shape: BodyShape, at: Vector, order: str, unit: int | None, depth: int
) -> Iterator[BodyShape]:
    for gap in range(_GAP) if shape.parts else (0,):
        begun = shape if not gap else BodyShape(shape.fixed, (*shape.parts, Gap(gap)))
        begin = at + gap
        if (begin > rows.lengths).any():
            return
        if not rows.may_begin(begin):
            continue
        for place, sizes in _lengths(rows, begun, at, gap, order):
            if rows.work.out:
                return
            end = begin + sizes
            parts: tuple[Part, ...] = (*begun.parts, ByteRun(place))
            left = rows.lengths - end
            if not left.any():
                yield BodyShape(shape.fixed, parts)
            elif unit != 1 and (left < (unit or 4)).all() and _filled(rows, end):
                align = unit or 4
                yield BodyShape(shape.fixed, parts, align, int(rows.lengths[0]) % align)
            elif depth + 1 < _MOST:
                sure = sizes.min() != sizes.max() or _is_just(rows, place, begun, end)
                if sure and left.min() == left.max() <= _TAIL and not rows.is_text(end, left):
                    yield BodyShape(shape.fixed, (*parts, Gap(int(left[0]))))
                # Right behind one whose end is told the next one begins, whose end is the body's.
                if sizes.min() != sizes.max() and rows.is_text(end, left):
                    yield BodyShape(shape.fixed, (*parts, ByteRun(None)))
                yield from _behind(rows, BodyShape(shape.fixed, parts), end, order, unit, depth + 1)


def _is_just(rows: _Bodies, place: Place, shape: BodyShape, end: Vector) -> bool:
    """Whether texts of one length are just as long as the number right in front of them says, and not longer."""
    last = shape.parts[-1] if place.part else None
    beside = place.at + place.size == (last.size if isinstance(last, Gap) else shape.fixed)
    behind = np.minimum(end + _WORD, rows.lengths)
    letters = rows.odd[np.arange(len(end)), behind] == rows.odd[np.arange(len(end)), end]
    return beside and not (letters & (behind > end)).any()


def _filled(rows: _Bodies, end: Vector) -> bool:
    """Whether all bodies have nothing but zeros from there on."""
    return all(not rows.cells[row, at:].any() for row, at in enumerate(end.tolist()))


def _lengths(rows: _Bodies, shape: BodyShape, at: Vector, gap: int, order: str) -> Iterator[tuple[Place, Vector]]:
    """Numbers that tell a text that begins behind the gap, if there is one, else behind all parts."""
    begin = at + gap
    used = {part.length for part in shape.parts if isinstance(part, ByteRun)}
    for size, way in _widths(order):
        if gap:
            places = [Place(inside, size, way, way != order, len(shape.parts)) for inside in range(gap - size, -1, -1)]
        else:
            places = [Place(inside, size, way, way != order) for inside in range(shape.fixed - size, -1, -1)]
        for place in places:
            if place in used:
                continue
            sizes = rows.number(at + place.at, size, way) if gap else rows.number_at(place.at, size, way)
            if sizes.max() > _LONGEST or sizes.max() < 3:
                continue
            far = 0 if gap else shape.fixed - place.at - size
            if sizes.min() == sizes.max() and (far > _NEAR or way != order):
                continue
            if rows.is_text(begin, sizes) and not rows.is_cut_out(begin, sizes, gap - place.at - size if gap else far):
                yield place, sizes


def texts_in_records(bodies: Sequence[bytes], order: str, unit: int | None, work: Work) -> Iterator[BodyShape]:
    """Records that a number counts, or to the end, each with one or two texts that numbers in it tell."""
    rows = _rows_of(bodies, work)
    zero = np.zeros(len(rows.lengths), np.int64)
    counts: list[tuple[Place | None, int]] = [(None, 0)]
    for at in range(min(rows.shortest, 16)):
        for size, way in _widths(order)[:2]:
            values = rows.number(zero + at, size, way)
            if at + size <= rows.shortest and 1 <= values.max() <= _MOST_RECORDS and values.min() >= 1:
                counts.append((Place(at, size, way), at + size))
    align = (unit or 4) if unit != 1 else 1
    phase = len(bodies[0]) % align
    shortest = sorted(bodies, key=len)[:: max(1, len(bodies) // 8)]
    for place, size, begin, sizes in _first_texts(rows, order):
        for count, least in counts:
            for fixed in range(max(least, begin - _FAR // 2), min(place.at, least + 8) + 1):
                inside = Place(place.at - fixed, size, place.order, place.unusual)
                record = BodyShape(begin - fixed, (ByteRun(inside),))
                for form in (record, *_second(rows, record, begin + sizes, order)):
                    shape = BodyShape(fixed, (Records(count, None, form),))
                    if align > 1 and count is not None and not fits(shape, shortest, work):
                        shape = BodyShape(fixed, shape.parts, align, phase)
                    if fits(shape, shortest, work) and fits(shape, bodies, work):
                        yield shape


def _first_texts(rows: _Bodies, order: str) -> Iterator[tuple[Place, int, int, Vector]]:
    """(place of a length, its bytes, where the text begins, lengths) of what may be the first record's first text."""
    zero = np.zeros(len(rows.lengths), np.int64)
    for begin in range(1, min(rows.shortest, _FAR)):
        if rows.work.out:
            return
        if not rows.may_begin(zero + begin):
            continue
        for size, way in _widths(order):
            for at in range(begin - size, max(-1, begin - _FAR // 2), -1):
                sizes = rows.number_at(at, size, way)
                if rows.is_text(zero + begin, sizes) and not rows.is_cut_out(zero + begin, sizes, begin - size - at):
                    yield Place(at, size, way, way != order), size, begin, sizes


def _second(rows: _Bodies, record: BodyShape, at: Vector, order: str) -> Iterator[BodyShape]:
    """The record with another text behind its first one."""
    for gap in range(_GAP):
        if (at + gap > rows.lengths).any():
            return
        begun = record if not gap else BodyShape(record.fixed, (*record.parts, Gap(gap)))
        for size, way in _widths(order):
            if gap < size:
                continue
            place = Place(gap - size, size, way, way != order, len(begun.parts))
            if rows.is_text(at + gap, rows.number(at + gap - size, size, way)):
                yield BodyShape(record.fixed, (*begun.parts, ByteRun(place)))
