"""Records of which there are always as many: what tells is that they are alike, byte by byte.

A load that is made, or a site where every device is heard by as many access points, has bodies of one length and a
count that never moves. Then no length proves the records, and fields beside fields may even be told in fewer bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from loadgen.infer.shapes import BodyShape, Records

__all__ = ["is_alike", "unproven"]

# Two fields of the same form beside a 2 are nothing special.
_LEAST_RECORDS = 3
_LEAST_STRIDE = 7  # more than an address
_LEAST_BODIES = 8  # different ones
_VARYING = 2  # of the bytes of a record
_AS_MANY = 0.5  # of the values that a byte has in one record, it has in any other


def unproven(shape: BodyShape, bodies: Sequence[bytes]) -> bool:
    """Whether its records are as many as a number says that is always the same, in bodies of one length: it may be any
    other constant, then. False as well where too few bodies differ to tell more."""
    if len({len(body) for body in bodies}) != 1 or len(set(bodies)) < _LEAST_BODIES:
        return False
    return any(
        isinstance(part, Records) and part.count is not None and len({part.count.read(body, 0) for body in bodies}) == 1
        for part in shape.parts
    )


def is_alike(shape: BodyShape, bodies: Sequence[bytes]) -> bool:
    """Whether such bodies are nothing but these records behind a fixed part, and each byte of a record is the same
    constant in all of them, or differs in all of them: in ranges that overlap, and in about as many values."""
    if len(shape.parts) != 1 or not unproven(shape, bodies):
        return False
    (part,) = shape.parts
    if not isinstance(part, Records) or part.count is None or part.stride is None or part.stride < _LEAST_STRIDE:
        return False
    count = part.count.read(bodies[0], 0)
    if count < _LEAST_RECORDS or shape.fixed + count * part.stride != len(bodies[0]):
        return False
    cells = np.frombuffer(b"".join(body[shape.fixed :] for body in bodies), np.uint8)
    rows = cells.reshape(len(bodies), count, part.stride)
    low, high = rows.min(axis=0), rows.max(axis=0)  # of each byte of each record
    varies = low != high
    if not (varies.all(axis=0) | ~varies.any(axis=0)).all() or varies[0].sum() < _VARYING:
        return False
    if (low.max(axis=0) > high.min(axis=0)).any():
        return False
    values = np.array([[len(np.unique(rows[:, i, j])) for j in range(part.stride)] for i in range(count)])
    return bool((values.min(axis=0) >= _AS_MANY * values.max(axis=0)).all())
