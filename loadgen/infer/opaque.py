"""Bytes that any value is as likely in, whatever a frame is about: signatures, authenticators, nonces.

Nothing explains them, and nothing has to: no body of every kind has such bytes in one place. What gives them away is
that each of their bits is set as often as not, and changes as often as not from frame to frame, in frames of every size
of both sides.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from loadgen.infer.heads import Heads, Int64s

__all__ = ["opaque_columns", "opaque_end"]

# Fewer bytes side by side may be the low ones of times; more are bodies that are told in no way.
_LEAST, _MOST = 4, 32
# Frames of one size tell by themselves where there are so many; fewer of them tell together.
_MANY, _FEW = 64, 16
# A bit may be off by so many standard deviations.
_DEVIATIONS = 5.0


def opaque_columns(heads: Heads, first: int, end: int, trailer: int) -> list[bool]:
    """Of each column of the header, whether it is such a byte, and among enough others. Outside of `first` to `end`
    none is. trailer: bytes at the end of each frame."""
    found = [False] * heads.width
    if end - first < _LEAST:
        return found
    random = _are_random(heads, heads.cells[:, first:end])
    if random[-1] and _goes_on(heads, end, trailer):
        # Bodies that are random throughout begin somewhere: no telling where.
        return found
    begin = first
    for column in range(first, end + 1):
        if column < end and random[column - first]:
            continue
        if column - begin >= _LEAST:
            found[begin:column] = [True] * (column - begin)
        begin = column + 1
    return found


def _goes_on(heads: Heads, end: int, trailer: int) -> bool:
    """Whether the bytes behind a column are random, too, in frames that are longer."""
    longer = np.flatnonzero(heads.size >= end + 2 + trailer)
    if not len(longer):
        return False
    behind = b"".join(heads.frames[row].data[end : end + 2] for row in longer.tolist())
    cells = np.frombuffer(behind, np.uint8).reshape(len(longer), 2)
    return any(_are_random(heads, cells, longer))


def opaque_end(heads: Heads, least: int) -> int:
    """How many bytes at the end of every frame are such. least: bytes that are the header's for certain."""
    most = min(_MOST + 1, heads.shortest - least)
    if most < _LEAST:
        return 0
    joined = b"".join(frame.data[len(frame.data) - most :] for frame in heads.frames)
    random = _are_random(heads, np.frombuffer(joined, np.uint8).reshape(len(heads), most))
    size = 0
    while size < most and random[most - 1 - size]:
        size += 1
    return size if _LEAST <= size <= _MOST else 0


def _are_random(heads: Heads, cells: NDArray[np.uint8], some: Int64s | None = None) -> list[bool]:
    """Of each column, whether it is random in each group of frames. some: the rows that the cells are of."""
    bits = np.unpackbits(cells[:, :, np.newaxis], axis=2)
    random = np.ones(cells.shape[1], bool)
    told = False
    for rows in _groups(heads, some):
        told = told or len(rows) >= _MANY
        allowed = _DEVIATIONS * 0.5 / len(rows) ** 0.5
        here = bits[rows]
        random &= (np.abs(here.mean(axis=0) - 0.5) <= allowed).all(axis=1)
        changes = here[1:] ^ here[:-1]
        random &= (np.abs(changes.mean(axis=0) - 0.5) <= allowed * len(rows) / (len(rows) - 1)).all(axis=1)
        if not random.any():
            break
    return [bool(each) and told for each in random]


def _groups(heads: Heads, some: Int64s | None) -> Iterator[Int64s]:
    """Rows of frames of one side and size, and those of a side of all sizes that are rare."""
    chosen = np.arange(len(heads)) if some is None else some
    sides = heads.of_client[chosen].astype(np.int64)
    _, group, counts = np.unique(sides << 32 | heads.size[chosen], return_inverse=True, return_counts=True)
    group = group.reshape(-1)
    rare = counts[group] < _MANY
    for number in np.flatnonzero(counts >= _MANY).tolist():
        yield np.flatnonzero(group == number)
    for side in (0, 1):
        rows = np.flatnonzero(rare & (sides == side))
        if len(rows) >= _FEW:
            yield rows
