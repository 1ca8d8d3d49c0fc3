"""Records of which there are always as many: what tells is that they are alike, byte by byte.

A load that is made, or a site where every device is heard by as many access points, has bodies of one length and a
count that never moves. Then no length proves the records, and fields beside fields may even be told in fewer bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from loadgen.infer.shapes import BodyShape, Records

__all__ = ["is_alike", "is_unlike"]

# Two fields of the same form beside a 2 are nothing special.
_LEAST_RECORDS = 3
_LEAST_STRIDE = 7  # more than an address
_LEAST_BODIES = 8  # different ones
_VARYING = 2  # of the bytes of a record
# Of the values that a byte has in one record, it has so many in any other: to be alike; or not to be unlike, where that
# are many. A list that hardly changes has constants of its own in each place.
_ALIKE, _UNLIKE, _MANY = 0.5, 0.1, 10


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
