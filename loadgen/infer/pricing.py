"""What bodies cost under a shape: the sum over its tables, runs and elements. The shape that costs least is taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from loadgen.infer.costs import entropy, rough_cost
from loadgen.infer.samples import Context, Sample, table_of
from loadgen.infer.shapes import BodyShape, ByteRun, Cut, ElementRun, Gap, Part, Place, Records, cut, fits
from loadgen.infer.shaping import counted, to_the_end
from loadgen.infer.tiling import INTEGER, OTHER_ORDER, Piece, tile, unaligned

__all__ = ["few_stretches", "gaps_of", "given_pieces", "is_text", "price", "slices", "thinned"]

# Rows that a table is judged by, and that it is priced by when shapes are compared.
ROWS = 400
PRICED = 120
# Records and elements of all bodies that are looked at.
STRETCHES = 40_000
RUN = 6.0
RECORDS = 6.0
ELEMENTS = 8.0
# Shapes of each search that elements of one kind are tried with.
TRIED_INSIDE = 3


def thinned(samples: Sequence[Sample], most: int) -> list[Sample]:
    """Some of many, in stretches: neighbours tell what goes on from one to the next."""
    if len(samples) <= most:
        return list(samples)
    stretch = most // 4
    starts = [round(i * (len(samples) - stretch) / 3) for i in range(4)]
    taken: dict[int, Sample] = {}
    for start in starts:
        taken.update((index, samples[index]) for index in range(start, start + stretch))
    return [taken[index] for index in sorted(taken)]


def slices(sample: Sample, stretches: Sequence[tuple[int, int, int]], group: int) -> list[Sample]:
    """Parts of a sample as samples of their own."""
    return [
        replace(sample, data=sample.data[start:stop], group=group, row=row)
        for row, (_, start, stop) in enumerate(stretches)
    ]


def is_text(values: Sequence[bytes]) -> bool:
    """Whether runs of bytes are texts: nearly all of it printable, most of it letters and digits."""
    letters = sum(byte < 128 and chr(byte).isalnum() for value in values for byte in value)
    total = sum(len(value.rstrip(b"\0")) for value in values)
    plain = all(32 <= byte < 127 for value in values for byte in value.rstrip(b"\0"))
    return plain and total > 0 and letters * 10 >= total * 6


def given_pieces(shape: BodyShape, order: str, within: int = 0, *, packed: bool | None = None) -> list[Piece]:
    """The integers that a shape needs, as pieces of its fixed part.

    Args:
        within: or of that gap, as a place has it.
        packed: whether numbers begin anywhere.
    """
    places: dict[int, tuple[Place, str]] = {}
    for part in shape.parts:
        if isinstance(part, ByteRun) and part.length is not None and part.length.part == within:
            places[part.length.at] = part.length, "length"
        elif isinstance(part, Records) and part.count is not None and part.count.part == within:
            places[part.count.at] = part.count, "length" if 1 < part.of == part.stride else "count"
    out = []
    for place, kind in places.values():
        cost = INTEGER[place.size] + (unaligned(packed) if place.at % min(place.size, 4) else 0.0)
        cost += OTHER_ORDER if place.size > 1 and place.order != order else 0.0
        out.append(Piece(place.at, place.size, kind, place.order, cost))
    return out


def _values(values: Sequence[bytes]) -> float:
    """Bits of runs of bytes."""
    counts = Counter(values)
    bits = _spread(counts)
    if not is_text(values):
        return bits + 8.0 * sum(len(value) for value in counts)
    longest = max(len(value) for value in values)
    news = sum(len({value[i : i + 1] for value in counts}) - 1 for i in range(longest))
    return bits + 5.0 * news + len(counts) - 1.6 * (news + longest)


def _spread(counts: Counter[Any]) -> float:
    """Bits that tell which of some values each is."""
    return entropy(np.repeat(np.arange(len(counts)), list(counts.values())).astype(np.int64))


def _open(part: Part) -> bool:
    if isinstance(part, Gap):
        return True
    if isinstance(part, ElementRun):
        return True
    return (part.length if isinstance(part, ByteRun) else part.count) is None


def price(shape: BodyShape, samples: Sequence[Sample], context: Context, *, exact: bool = False) -> float:
    """Bits of samples that a shape fits. Tables of many rows are priced by some of them.

    Args: exact: tables are cut into fields; else columns are priced for themselves, which is quick.
    """
    bits = 0.0
    if not context.work.spend(10):
        return float("inf")
    if shape.parts and all(_open(part) for part in shape.parts):
        # Nothing in it tells how long it is.
        bits += _spread(Counter(len(sample.data) for sample in samples))
    for part in shape.parts:
        place = part.length if isinstance(part, ByteRun) else part.count if isinstance(part, Records) else None
        if place is not None:
            read = samples if not place.part else gaps_of(shape, place.part, samples)
            bits += _spread(Counter(place.read(sample.data, 0) for sample in read))
    if shape.fixed:
        given = given_pieces(shape, context.order, packed=context.packed)
        bits += _table_price(samples, shape.fixed, given, context, exact)
    cuts = [found[1] for sample in samples if (found := cut(shape, sample.data, 0, len(sample.data))) is not None]
    samples, cuts = few_stretches(samples, cuts)
    context.work.spend(2 * sum(len(stretches) for found in cuts for stretches in found))
    for index, part in enumerate(shape.parts):
        inside = [
            (sample, stretches[index]) for sample, stretches in zip(samples, cuts, strict=True) if stretches[index]
        ]
        if isinstance(part, Gap):
            given = given_pieces(shape, context.order, index + 1, packed=context.packed)
            bits += _table_price(gaps_of(shape, index + 1, samples), part.size, given, context, exact)
        elif isinstance(part, ByteRun):
            values = [sample.data[start:stop] for sample, ((_, start, stop),) in inside]
            bits += RUN + _values(values)
        elif isinstance(part, Records):
            rows = [row for number, (sample, found) in enumerate(inside) for row in slices(sample, found, number + 1)]
            some = thinned(rows, PRICED)
            inner = part.shape or BodyShape(part.stride or 0)
            if some:
                bits += RECORDS + price(inner, some, context, exact=exact) * len(rows) / len(some)
        else:
            bits += ELEMENTS + _elements_price(part, inside, context)
    return bits


def few_stretches(samples: Sequence[Sample], cuts: list[Cut]) -> tuple[list[Sample], list[Cut]]:
    """The first of samples and how they are cut: as many as have so many records and elements that these tell all."""
    total = 0
    for index, found in enumerate(cuts):
        total += sum(map(len, found))
        if total > STRETCHES:
            return list(samples[: index + 1]), cuts[: index + 1]
    return list(samples), cuts


def gaps_of(shape: BodyShape, number: int, samples: Sequence[Sample]) -> list[Sample]:
    """What stands in a gap (its number among the parts, from 1) of samples that the shape fits."""
    cuts = [(sample, found[1]) for sample in samples if (found := cut(shape, sample.data, 0, len(sample.data)))]
    return [slices(sample, found[number - 1], sample.group)[0] for sample, found in cuts]


def _table_price(samples: Sequence[Sample], size: int, given: Sequence[Piece], context: Context, exact: bool) -> float:
    table = table_of(samples, context.order, 0, size)
    if exact:
        return sum(piece.cost for piece in tile(table, context, given))
    context.work.spend(size * (100 + len(samples) // 4))
    told = frozenset(piece.at + i for piece in given for i in range(piece.size))
    return rough_cost(table, told) + sum(piece.cost for piece in given)


def _inside(part: ElementRun, values: Sequence[Sample], context: Context) -> Iterator[BodyShape]:
    """Shapes that elements of one kind and several lengths may have: elements again, or records."""
    bodies = [value.data for value in values]
    if not all(bodies) or is_text(bodies):
        return
    again = BodyShape(0, (part,))
    if fits(again, bodies, context.work):
        yield again
        return
    yield from islice(counted(bodies, context.order, 1, context.work), TRIED_INSIDE)
    yield from islice(to_the_end(bodies), TRIED_INSIDE)


def _elements_price(
    part: ElementRun, inside: list[tuple[Sample, list[tuple[int, int, int]]]], context: Context
) -> float:
    kinds: dict[int, list[Sample]] = {}
    before: Counter[tuple[int, int]] = Counter()
    heads: Counter[int] = Counter()
    for number, (sample, found) in enumerate(inside):
        last = -1
        for (kind, _, _), value in zip(found, slices(sample, found, number + 1), strict=True):
            kinds.setdefault(kind, []).append(value)
            before[last, kind] += 1
            heads[last] += 1
            last = kind
    bits = sum(-count * np.log2(count / heads[last]) for (last, _), count in before.items())
    bits += len(kinds) * (4.0 + 4.0 * part.type_size) + (OTHER_ORDER if part.order != context.order else 0.0)
    for rows in kinds.values():
        some = thinned(rows, PRICED)
        sizes = {len(row.data) for row in some}
        if len(sizes) == 1 and sizes != {0}:
            cost = price(BodyShape(sizes.pop()), some, context)
        else:
            cost = _values([row.data for row in some])
            for shape in _inside(part, some, context):
                cost = min(cost, price(shape, some, context))
        bits += cost * len(rows) / len(some)
    return float(bits)
