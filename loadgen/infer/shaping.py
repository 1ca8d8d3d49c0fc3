"""Shapes that fit all bodies of a kind: lengths and counts that add up, records that end with the body, elements.

Each search yields every shape that it finds exact on all bodies that it is given; which of them explains most is
decided by what the fields in them cost (`bodies`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import combinations, islice, permutations
from math import gcd

import numpy as np
from numpy.typing import NDArray

from loadgen.infer.lists import beside_each_other, listed, services
from loadgen.infer.samples import Context
from loadgen.infer.shapes import BodyShape, ByteRun, ElementRun, Part, Place, Records, cut, fits
from loadgen.infer.text_chains import chains_of_texts
from loadgen.infer.texts import texts_in_records, told_texts
from loadgen.infer.work import Work

__all__ = ["counted", "element_forms", "shapes_of", "to_the_end"]

# How far into a body counts and lengths are looked for, and how long a record is looked for without a count.
FAR = 96
NEAR = 48
# Records that a field counts, where they are few; and shapes that one search tries.
MOST = 64
TRIED = 150_000
# Share of records with nothing in them.
_HARDLY = 0.9
# So many different numbers, all of them multiples: that is no chance.
_DIFFERENT = 4
Column = NDArray[np.int64]


def _columns(bodies: Sequence[bytes], order: str) -> list[tuple[Place, Column]]:
    """Integers that could count something: they differ, and none is above its body's length."""
    lengths = np.array([len(body) for body in bodies], np.int64)
    shortest = min(int(lengths.min()), FAR)
    cells = np.array([list(body[:shortest]) for body in bodies], np.int64).reshape(len(bodies), shortest)
    out: list[tuple[Place, Column]] = []
    for at in range(shortest):
        for size in (1, 2, 4):
            if at + size > shortest:
                break
            for way in ("big", "little") if size > 1 else (order,):
                columns = range(at, at + size) if way == "big" else range(at + size - 1, at - 1, -1)
                values = np.zeros(len(bodies), np.int64)
                for column in columns:
                    values = values << 8 | cells[:, column]
                if (values <= lengths).all() and values.min() != values.max():
                    out.append((Place(at, size, way, size > 1 and way != order), values))
    return out


def _single(columns: list[tuple[Place, Column]], lengths: Column) -> Iterator[tuple[Place, int, int]]:
    """(place, bytes for each, bytes without any): a length that one number tells."""
    for place, values in columns:
        low, high = int(values.argmin()), int(values.argmax())
        step, left = divmod(int(lengths[high] - lengths[low]), int(values[high] - values[low]))
        if left or step < 1:
            continue
        base = int(lengths[low]) - step * int(values[low])
        if (lengths == base + step * values).all():
            yield place, step, base


def _unlike(columns: list[tuple[Place, Column]], most: int) -> list[tuple[Place, Column]]:
    """One of those that always tell the same, in the order of the others: the widest that begins first, or, where the
    low byte stands in front, two bytes at an even place (what is reserved beside a number is rarer)."""
    kept: dict[bytes, tuple[Place, Column]] = {}
    for place, values in sorted(columns, key=lambda pair: (pair[0].unusual, pair[0].size != 2 or pair[0].at % 2)):
        kept.setdefault(values.tobytes(), (place, values))
    # Small numbers first: counts are.
    return sorted(kept.values(), key=lambda pair: (int(pair[1].max()), pair[0].at))[:most]


def _several(
    columns: list[tuple[Place, Column]], lengths: Column, how_many: int, most: int, work: Work
) -> Iterator[tuple[tuple[Place, ...], tuple[int, ...], int]]:
    if len(np.unique(lengths)) <= how_many:
        return
    for chosen in combinations(_unlike(columns, most), how_many):
        if not work.spend(60 + len(lengths)):
            return
        system = np.column_stack([values for _, values in chosen] + [np.ones(len(lengths), np.int64)])
        solution = np.linalg.lstsq(system.astype(np.float64), lengths.astype(np.float64), rcond=None)[0]
        whole = np.rint(solution).astype(np.int64)
        if (np.abs(solution - whole) > 0.01).any() or (whole[:-1] < 1).any() or (whole[:-1] > 512).any():
            continue
        base = int(whole[-1])
        places = tuple(place for place, _ in chosen)
        if base < max(place.at + place.size for place in places) or not (system @ whole == lengths).all():
            continue
        yield places, tuple(int(step) for step in whole[:-1]), base


def _part(place: Place, step: int) -> Part:
    return ByteRun(place) if step == 1 else Records(place, step)


def counted(bodies: Sequence[bytes], order: str, unit: int | None, work: Work) -> Iterator[BodyShape]:
    """Records and runs of bytes that fields count, with nothing behind them, or zeros up to a multiple.

    Args: unit: bytes that frames are multiples of; of 1 there is nothing to fill up; None: not known.
    """
    lengths = np.array([len(body) for body in bodies], np.int64)
    columns = _columns(bodies, order)
    columns_of = dict(columns)
    alike = False
    for place, step, base in _single(columns, lengths):
        if base >= place.at + place.size:
            alike = True
            of = _common(bodies, place) if len(np.unique(columns_of[place])) >= _DIFFERENT else 1
            # What always is a multiple counts parts of records: their bytes, or words.
            parts = [_part(place, step), *([Records(place, step * of, None, of)] if of > 1 and step * of > 3 else [])]
            for part in parts:
                yield BodyShape(base, (part,))
                if unit != 1 and step * of % 4 == 0 and len(set((lengths % 4).tolist())) == 1:
                    # What always is behind the records may be zeros up to a multiple, and not before them.
                    for zeros in range(1, 4):
                        if base - zeros >= place.at + place.size and not any(any(body[-zeros:]) for body in bodies):
                            yield BodyShape(base - zeros, (part,), 4, int(lengths[0]) % 4)
            if step == 1 and (common := _common(bodies, place)) > 3:
                yield BodyShape(base, (Records(None, common),))
    if alike:
        # Zeros up to a multiple may hide that each record is longer, or shorter, by a few bytes.
        if unit not in (1, None):
            yield from islice(_padded(columns, bodies, lengths, work), 6)
        return
    for how_many, most in ((2, 28), (3, 14)):
        for places, steps, base in _several(columns, lengths, how_many, most, work):
            alike = True
            parts = [_part(place, step) for place, step in zip(places, steps, strict=True)]
            # Runs stand before records.
            runs = [part for part in parts if isinstance(part, ByteRun)]
            rest = [part for part in parts if not isinstance(part, ByteRun)]
            for one in permutations(runs):
                for other in permutations(rest):
                    yield BodyShape(base, (*one, *other))
        if alike:
            return
    if unit != 1:
        yield from _padded(columns, bodies, lengths, work)


def _common(bodies: Sequence[bytes], place: Place) -> int:
    common = 0
    for body in bodies:
        common = gcd(common, place.read(body, 0))
    return common


def _padded(
    columns: list[tuple[Place, Column]], bodies: Sequence[bytes], lengths: Column, work: Work
) -> Iterator[BodyShape]:
    """The same with zeros behind, up to a multiple."""
    align = next((align for align in (8, 4, 2) if len(np.unique(lengths % align)) == 1), 1)
    if align == 1 or len(np.unique(lengths)) < 3:
        return
    phase = int(lengths[0]) % align
    few = [(place, values) for place, values in _unlike(columns, 24) if len(np.unique(values)) > 2]
    found = 0
    for place, values in few:
        for step in range(1, 129):
            for base in _bases(lengths - step * values, align, place.at + place.size):
                shape = BodyShape(base, (_part(place, step),), align, phase)
                if found < 12 and fits(shape, bodies, work):
                    found += 1
                    yield shape
    if found:
        return
    for (one, first), (other, second) in permutations(few, 2):
        for base in _bases(lengths - first - second, align, max(one.at + one.size, other.at + other.size)):
            shape = BodyShape(base, (ByteRun(one), ByteRun(other)), align, phase)
            if found < 12 and fits(shape, bodies, work):
                found += 1
                yield shape


def _bases(rest: Column, align: int, least: int) -> range:
    """What the fixed part can be, if the rest of each body has at most a few zeros behind it."""
    return range(max(int(rest.max()) - align + 1, least), int(rest.min()) + 1)


def repeated(bodies: Sequence[bytes], order: str) -> Iterator[BodyShape]:
    """Records that a field counts, where bodies have so few lengths that they prove little."""
    different = sorted(set(bodies), key=len)
    if len({len(body) for body in different}) > 3 or len(different[-1]) > 2048:
        return
    shortest = min(len(different[0]), NEAR)
    for at in range(shortest):
        for size in (1, 2):
            place = Place(at, size, order)
            counts = [place.read(body, 0) for body in different]
            if at + size > shortest or min(counts) < 2 or max(counts) > MOST:
                continue
            for fixed in range(at + size, min(at + size + 9, shortest)):
                strides = {divmod(len(body) - fixed, count) for body, count in zip(different, counts, strict=True)}
                stride, left = strides.pop()
                if not strides and not left and stride > 5:
                    yield BodyShape(fixed, (Records(place, stride),))


def chained(bodies: Sequence[bytes], order: str, unit: int | None, work: Work) -> Iterator[BodyShape]:
    """Records of varying length, each with a number of its own that tells it; counted, or to the end."""
    ordered = sorted(bodies, key=len)
    short = [body for body in ordered if len(body) <= 8 * NEAR][:40] or ordered[:5]
    columns = _unlike(_columns(bodies, order), 8)
    counts: list[Place | None] = [place for place, values in columns if values.max() <= 64]
    if len(set(map(len, bodies))) <= 3:
        # It may be the same everywhere: a list of what hardly changes.
        near = [Place(at, 1, order) for at in range(min(12, len(ordered[0])))]
        counts += [
            place
            for place in near
            if len({body[place.at] for body in bodies}) == 1 and 2 <= bodies[0][place.at] <= MOST
        ]
    other = "little" if order == "big" else "big"
    padded = unit != 1 and len({len(body) % 4 for body in bodies}) == 1
    align, phase = (4, len(bodies[0]) % 4) if padded else (1, 0)
    for count in [*counts, None]:
        found = 0
        begin = 0 if count is None else count.at + count.size
        for fixed in range(begin, min(begin + NEAR, len(ordered[0]) + 1)):
            for size, way in ((1, order), (2, order), (2, other)):
                for stride, at, step in _chain(short, fixed, count, size, way, 3 if padded else 0, work):
                    inner = BodyShape(stride, (_part(Place(at, size, way), step),))
                    shape = BodyShape(fixed, (Records(count, None, inner),))
                    if padded and count is not None and not fits(shape, bodies, work):
                        shape = BodyShape(fixed, shape.parts, align, phase)
                    if fits(shape, bodies, work):
                        found += 1
                        yield shape
                        if (whole := _of_parts(shape, inner, short)) is not None and fits(whole, bodies, work):
                            yield whole
                    if found > 6:
                        break
        if found:
            return


def _hardly_counts(shape: BodyShape, bodies: Sequence[bytes], strides: set[int]) -> bool:
    """Whether records to the end are told by a number that is 0 in nearly all of them, where they may as well be of one
    of some strides."""
    (records,) = shape.parts
    if not isinstance(records, Records) or records.count is not None or records.shape is None:
        return False
    if records.shape.fixed not in strides:
        return False
    cuts = [found[1][0] for body in bodies if (found := cut(shape, body, 0, len(body))) is not None]
    sizes = [stop - start for found in cuts for _, start, stop in found]
    return sizes.count(records.shape.fixed) >= _HARDLY * len(sizes)


def _of_parts(shape: BodyShape, inner: BodyShape, bodies: Sequence[bytes]) -> BodyShape | None:
    """The same, if the number in each record always is a multiple: then it counts parts of what is in that record."""
    (part,) = inner.parts
    place = part.length if isinstance(part, ByteRun) else part.count if isinstance(part, Records) else None
    step = 1 if isinstance(part, ByteRun) else part.stride if isinstance(part, Records) else None
    if place is None or step is None:
        return None
    told: set[int] = set()
    for body in bodies:
        if (found := cut(shape, body, 0, len(body))) is not None:
            told |= {place.read(body, start) for _, start, _ in found[1][0]}
    of = gcd(*told)
    if of < 2 or step * of < 4 or len(told) < _DIFFERENT:
        return None
    (records,) = shape.parts
    assert isinstance(records, Records)
    filled = BodyShape(inner.fixed, (Records(place, step * of, None, of),))
    return BodyShape(shape.fixed, (Records(records.count, None, filled),), shape.align, shape.phase)


@cache
def _grid(size: int) -> tuple[Column, Column, Column]:
    """All records that are looked for: bytes without what is counted, place of the number in them, bytes for each."""
    at, stride, step = (
        grid.ravel() for grid in np.meshgrid(np.arange(NEAR), np.arange(size, NEAR + 1), np.arange(1, NEAR + 1))
    )
    keep = at + size <= stride
    return stride[keep], at[keep], step[keep]


def _chain(
    bodies: Sequence[bytes], fixed: int, count: Place | None, size: int, way: str, zeros: int, work: Work
) -> list[tuple[int, int, int]]:
    """(bytes of a record without what it counts, place of the number in it, bytes for each) that fit all bodies.

    Args: zeros: as many may be behind the records, where they are counted.
    """
    stride, at, step = _grid(size)
    any_records = False
    for body in bodies:
        length = len(body)
        padded = np.frombuffer(body + bytes(NEAR + 4), np.uint8).astype(np.int64)
        many = MOST if count is None else count.read(body, 0)
        if many > MOST:
            return []
        position = np.full(len(at), fixed, np.int64)
        for _ in range(many):
            if not work.spend(50 + len(at) // 25):
                return []
            inside = np.minimum(position + at, length + NEAR)
            value = padded[inside]
            if size == 2:
                second = padded[np.minimum(inside + 1, length + NEAR)]
                value = value << 8 | second if way == "big" else second << 8 | value
            moved = position + stride + step * value
            position = np.where(position < length, moved, position if count is None else length + 1)
            if count is None and (position >= length).all():
                break
            # What has run over cannot come back.
            keep = position <= length
            if not keep.all():
                at, stride, step, position = at[keep], stride[keep], step[keep], position[keep]
            if not len(at):
                return []
        behind = 0 if count is None else min(zeros, length - len(body.rstrip(b"\0")))
        keep = (position <= length) & (position >= length - behind)
        at, stride, step = at[keep], stride[keep], step[keep]
        any_records = any_records or many > 0
        if not len(at):
            return []
    if not any_records or len(at) > 64:
        return []
    return [(int(a), int(b), int(c)) for a, b, c in zip(stride, at, step, strict=True)]


def to_the_end(bodies: Sequence[bytes]) -> Iterator[BodyShape]:
    """Records of one stride that nobody counts."""
    lengths = [len(body) for body in bodies]
    shortest = min(lengths)
    common = 0
    for length in lengths:
        common = gcd(common, length - shortest)
    if common < 3:
        return
    strides = [stride for stride in range(3, min(common, 256) + 1) if common % stride == 0]
    for stride in sorted(strides, reverse=True)[:4]:
        for fixed in range(shortest % stride, shortest + 1, stride):
            if fixed <= FAR:
                yield BodyShape(fixed, (Records(None, stride),))


def element_forms(order: str) -> Iterator[ElementRun]:
    """All that heads of elements can be, those in the usual order first."""
    other = "little" if order == "big" else "big"
    for way in (order, other):
        for type_size in (1, 2, 4):
            for length_size in (1, 2, 4):
                if way == other and type_size == length_size == 1:
                    continue
                for whole in (False, True):
                    yield ElementRun(type_size, length_size, way, way, whole)


def _sensible(stretches: list[list[tuple[int, int, int]]]) -> bool:
    """Elements that look like some: not nearly all empty, types that come again, not one around everything."""
    everything = [stretch for body in stretches for stretch in body]
    if not everything:
        return False
    empty = sum(start == stop for _, start, stop in everything)
    kinds = {kind for kind, _, _ in everything}
    if max(kinds) > 0xFFFF or empty * 3 > len(everything) or len(kinds) > 64 or len(kinds) * 2 > len(everything) + 2:
        return False
    several = sum(len(body) > 1 for body in stretches)
    return several * 3 >= len(stretches) or (len(kinds) > 1 and several > 4)


def _begins_empty(stretches: list[list[tuple[int, int, int]]]) -> bool:
    """Whether all begin with one and the same element that has nothing in it: zeros in front of the first are none."""
    firsts = {(body[0][0], body[0][2] - body[0][1]) for body in stretches if body}
    return len(firsts) == 1 and firsts.pop()[1] == 0


def elements(bodies: Sequence[bytes], order: str, work: Work) -> Iterator[BodyShape]:
    """Elements from a place on to the end, in any form."""
    ordered = sorted(bodies, key=len)
    if len(set(bodies)) < 6:
        return
    average = sum(map(len, bodies)) / len(bodies)
    first = [ordered[-1], ordered[len(ordered) // 2], ordered[0]]
    for form in element_forms(order):
        for fixed in range(min(FAR, len(ordered[0]), int(0.65 * average)) + 1):
            shape = BodyShape(fixed, (form,))
            if not fits(shape, first, work) or not fits(shape, bodies, work):
                continue
            cuts = [found[1][0] for body in bodies if (found := cut(shape, body, 0, len(body))) is not None]
            if _sensible(cuts) and not _begins_empty(cuts):
                yield shape
                break


def behind(bodies: Sequence[bytes], order: str, work: Work) -> Iterator[BodyShape]:
    """Elements behind records that a field counts."""
    ordered = sorted(bodies, key=len)[:: max(1, len(bodies) // 6)]
    shortest = len(ordered[0])
    shorter = min(range(len(bodies)), key=lambda index: len(bodies[index]))
    tried = 0
    for place, values in _unlike(_columns(bodies, order), 10):
        if values.max() > 255 or tried > TRIED:
            continue
        for form in element_forms(order):
            for fixed in range(place.at + place.size, min(place.at + place.size + NEAR, shortest) + 1):
                # What is longer than the shortest body allows fits nothing.
                least = max(1, int(values[shorter]))
                for step in range(1, min(128, (shortest - fixed) // least if values[shorter] else 128) + 1):
                    tried += 1
                    if work.out:
                        return
                    shape = BodyShape(fixed, (_part(place, step), form))
                    if not fits(shape, ordered, work) or not fits(shape, bodies, work):
                        continue
                    cuts = [found[1][1] for body in bodies if (found := cut(shape, body, 0, len(body))) is not None]
                    if _sensible(cuts):
                        yield shape


def shapes_of(bodies: Sequence[bytes], context: Context) -> Iterator[BodyShape]:
    """Shapes that fit all bodies, those of the simpler kinds first."""
    order, unit, work = context.order, context.unit, context.work
    lengths = len({len(body) for body in bodies})
    found = False
    for shape in elements(bodies, order, work):
        found = True
        yield shape
    for shape in chains_of_texts(bodies, order, work) if not found else ():
        yield shape
        return
    for search in (listed, services):
        for shape in search(bodies, context):
            found = True
            yield shape
    if lengths < 4 or not found:
        for shape in islice(texts_in_records(bodies, order, unit, work), 6):
            found = True
            yield shape
    yield from islice(told_texts(bodies, order, unit, work), 12)
    yield from islice(repeated(bodies, order), 24)
    if lengths == 1:
        if not found and len(set(bodies)) <= 12 and len(bodies[0]) >= 40:
            yield from islice(chained(bodies, order, unit, work), 12)
        return
    sure = False
    for shape in counted(bodies, order, unit, work):
        found = True
        sure = lengths > 3
        yield shape
        yield from beside_each_other(shape, bodies, context)
    strides: set[int] = set()
    for shape in to_the_end(bodies) if not sure else ():
        strides |= {part.stride or 0 for part in shape.parts if isinstance(part, Records)}
        yield shape
    if not found:
        for shape in chained(bodies, order, unit, work):
            if _hardly_counts(shape, bodies, strides):
                continue
            found = True
            yield shape
    if not found:
        yield from behind(bodies, order, work)
