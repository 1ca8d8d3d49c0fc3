"""Records of which there are always as many: what tells is that they are alike, byte by byte.

A load that is made, or a site where every device is heard by as many access points, has bodies of one length and a
count that never moves. Then no length proves the records, and fields beside fields may even be told in fewer bits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from loadgen.infer.shapes import BodyShape, Records, cut

__all__ = ["begins_earlier", "is_alike", "is_unlike", "lists_devices", "lists_services", "shortest_records"]

# Two fields of the same form beside a 2 are nothing special.
_LEAST_RECORDS = 3
_LEAST_STRIDE = 7  # more than an address
_LEAST_BODIES = 8  # different ones
_VARYING = 2  # of the bytes of a record
# Of the values that a byte has in one record, it has so many in any other: to be alike; or not to be unlike, where that
# are many. A list that hardly changes has constants of its own in each place.
_ALIKE, _UNLIKE, _MANY = 0.5, 0.1, 10
# A byte of records tells what they look like, if its values are no further apart; so many have to.
_NARROW, _TELLING = 64, 3
# Subservices have these numbers at most; so many records tell as little as any two things.
_SERVICES, _FEW_ROWS = 32, 3


def is_alike(shape: BodyShape, bodies: Sequence[bytes]) -> bool:
    """Whether bodies of one length are nothing but records behind a fixed part, as many as a number says that is always
    the same, and each byte of a record is the same constant in all of them, or differs in all of them: in ranges that
    overlap, and in about as many values."""
    rows = _rows(shape, bodies)
    if rows is None or rows.shape[1] < _LEAST_RECORDS or rows.shape[2] < _LEAST_STRIDE:
        return False
    low, high = rows.min(axis=0), rows.max(axis=0)  # of each byte of each record
    varies = low != high
    if not (varies.all(axis=0) | ~varies.any(axis=0)).all() or varies[0].sum() < _VARYING:
        return False
    values = _values(rows)
    return bool(
        (low.max(axis=0) <= high.min(axis=0)).all() and (values.min(axis=0) >= _ALIKE * values.max(axis=0)).all()
    )


def is_unlike(shape: BodyShape, bodies: Sequence[bytes]) -> bool:
    """Whether such records are none: the number may be any other constant, and what follows differs too much."""
    rows = _rows(shape, bodies)
    if rows is None:
        return False
    values = _values(rows)
    least, most = values.min(axis=0), values.max(axis=0)
    return bool(((most >= _MANY) & (least < _UNLIKE * most)).any())


def lists_devices(
    shape: BodyShape, bodies: Sequence[bytes], macs: frozenset[bytes], makers: frozenset[bytes] = frozenset()
) -> bool:
    """Whether a shape is a list of devices, where bodies have so few lengths that they prove little: each record has an
    address in the same place, most of them known and all of known makers, and another one in each record of a body."""
    if len({len(body) for body in bodies}) > 3 or not shape.parts or not isinstance(shape.parts[-1], Records):
        return False
    several = False
    places: set[int] | None = None
    known: Counter[int] = Counter()
    records = 0
    for body in set(bodies):
        found = cut(shape, body, 0, len(body))
        stretches = found[1][-1] if found is not None else []
        several = several or len(stretches) > 1
        for _, start, stop in stretches:
            within = range(stop - start - 5)
            known.update(at for at in within if body[start + at : start + at + 6] in macs)
            here = {at for at in within if body[start + at : start + at + 3] in makers}
            here |= {at for at in within if body[start + at : start + at + 6] in macs}
            places = here if places is None else places & here
            records += 1
        different = {at: {body[start + at : start + at + 6] for _, start, _ in stretches} for at in places or ()}
        places = None if places is None else {at for at in places if len(different[at]) == len(stretches)}
        if places is not None and not places:
            return False
    return several and any(known[at] * 2 > records for at in places or ())


def lists_services(shape: BodyShape, bodies: Sequence[bytes]) -> float:
    """Whether a shape is a list of subservices, in a message about them: as many records as a number says, each with
    another small number in the same place, and otherwise of the same form.

    Returns: the share of a record's bytes that are 0 in all or in none; 0.0: it is no such list.
    """
    if len(shape.parts) != 1 or not isinstance(part := shape.parts[0], Records) or part.count is None:
        return 0.0
    lists = []
    for body in set(bodies):
        found = cut(shape, body, 0, len(body))
        lists.append([body[start:stop] for _, start, stop in found[1][0]] if found is not None else [])
    if not part.stride or max(map(len, lists)) < 2:
        return 0.0
    numbers = any(
        all(
            len({row[at] for row in rows}) == len(rows) and all(0 < row[at] <= _SERVICES for row in rows)
            for rows in lists
        )
        for at in range(part.stride)
    )
    rows = [row for some in lists for row in some]
    alike = sum(len({row[at] == 0 for row in rows}) == 1 for at in range(part.stride))
    holds = numbers and alike * 2 >= part.stride and (alike == part.stride or len(rows) > _FEW_ROWS)
    return alike / part.stride if holds else 0.0


def shortest_records(shapes: Sequence[BodyShape]) -> list[BodyShape]:
    """Of shapes whose last parts are records, those with the shortest: each device is a record, and not three of them
    are one; and those whose records tell their lengths themselves."""
    strides = [part.stride for shape in shapes if isinstance(part := shape.parts[-1], Records) and part.stride]
    return [
        shape
        for shape in shapes
        if isinstance(part := shape.parts[-1], Records) and part.stride in (None, min(strides, default=None))
    ]


def begins_earlier(shape: BodyShape, bodies: Sequence[bytes]) -> bool:
    """Whether records to the end begin earlier than a shape says: what is in front of the first looks as they do."""
    if len(shape.parts) != 1 or not isinstance(part := shape.parts[0], Records) or part.count is not None:
        return False
    stride = part.stride
    if stride is None or shape.fixed < stride or stride < _LEAST_STRIDE:
        return False
    heads, rows = [], []
    for body in bodies:
        heads.append(body[shape.fixed - stride : shape.fixed])
        rows += [body[at : at + stride] for at in range(shape.fixed, len(body) - stride + 1, stride)]
    if not rows:
        return False
    before = np.frombuffer(b"".join(heads), np.uint8).reshape(-1, stride).astype(np.int64)
    inside = np.frombuffer(b"".join(rows), np.uint8).reshape(-1, stride).astype(np.int64)
    low, high = inside.min(axis=0), inside.max(axis=0)
    # The first is often the best of all: what varies goes a little further in it.
    wide = np.where(high > low, np.maximum((high - low) // 2, 2), 0)
    fit = (before.min(axis=0) >= low - wide) & (before.max(axis=0) <= high + wide)
    # A byte that takes all values fits anything, and tells nothing.
    telling = high - low < _NARROW
    return bool(fit.all() and telling.sum() >= _TELLING)


def _rows(shape: BodyShape, bodies: Sequence[bytes]) -> NDArray[np.uint8] | None:
    """The bytes of the records by body, record, place; None: they are no such, or too few bodies differ to tell."""
    if len({len(body) for body in bodies}) != 1 or len(set(bodies)) < _LEAST_BODIES or len(shape.parts) != 1:
        return None
    (part,) = shape.parts
    if not isinstance(part, Records) or part.count is None or part.stride is None:
        return None
    counts = {part.count.read(body, 0) for body in bodies}
    count = min(counts)
    if len(counts) != 1 or not count or shape.fixed + count * part.stride != len(bodies[0]):
        return None
    cells = np.frombuffer(b"".join(body[shape.fixed :] for body in bodies), np.uint8)
    return cells.reshape(len(bodies), count, part.stride)


def _values(rows: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How many different ones each byte of each record has."""
    return np.array([[len(np.unique(column)) for column in record.T] for record in rows.transpose(1, 0, 2)], np.int64)
