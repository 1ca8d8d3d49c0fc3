"""Where bodies begin that are elements, told by walking them: from one place they end where their frames do.

That needs no kinds of messages and no message without a body: the heads of elements are no part of a header, though
what is first in a body looks like an id, and is followed by bytes that hardly vary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from loadgen.infer.columns import ORDERS
from loadgen.infer.framing import Order
from loadgen.infer.heads import Heads

__all__ = ["elements_begin"]

# Frames that are walked, and of these first so many.
_FRAMES, _FIRST = 300, 40
# Share of frames whose bodies are elements from one place on, and of those the share with more than one element.
_LEAST, _SEVERAL = 0.5, 0.3
# So many types the first elements of so many frames have at most.
_TYPES = 64
# Of places from which nearly as many end, the first: the others are behind the first element. But where all do from one
# of them, and so many less from an earlier one, the earlier one is met by chance.
_NEARLY = 0.8
_ALL, _LESS = 0.98, 0.05


@dataclass(frozen=True, slots=True)
class _Head:
    """The head of an element. more: what the length does not count."""

    type: int
    length: int
    more: int
    order: Order


def _heads() -> Iterator[_Head]:
    for kind in (1, 2, 4):
        for length in (1, 2, 4):
            for order in ORDERS if length > 1 else ORDERS[:1]:
                for more in (kind + length, 0):
                    yield _Head(kind, length, more, order)


def elements_begin(heads: Heads, least: int, trailer: int) -> tuple[int, bool] | None:
    """The first place from which the bodies of most frames are elements to their ends, and whether all are, so that
    the header ends there. None: there is none.

    Args:
        least: bytes that are the header's for certain. trailer: its bytes.
    """
    last = min(heads.width, heads.shortest - trailer)
    rows = np.unique(np.linspace(0, len(heads) - 1, min(len(heads), _FRAMES)).astype(int))
    bodies = [heads.frames[row].data[: len(heads.frames[row].data) - trailer] for row in rows.tolist()]
    found: dict[int, float] = {}
    for head in _heads():
        for at in range(least, last + 1):
            # A constant in front of as many bytes as it says is the header's.
            inside = range(at, min(at + head.type + head.length, heads.width))
            if all(heads.distinct[column] == 1 for column in inside):
                continue
            share = _share(bodies[:: max(1, len(bodies) // _FIRST)], at, head)
            if share >= _LEAST:
                share = _share(bodies, at, head)
            if share >= _LEAST:
                found[at] = max(share, found.get(at, 0.0))
    most = max(found.values(), default=0.0)
    first = min((at for at, share in found.items() if share >= _NEARLY * most), default=None)
    if first is None:
        return None
    if most >= _ALL and found[first] < most - _LESS:
        first = min(at for at, share in found.items() if share == most)
    return first, found[first] >= _ALL


def _share(bodies: Sequence[bytes], at: int, head: _Head) -> float:
    """Share of bodies that are elements, of those that are not empty; 0: too few of them are more than one element."""
    counts = [_elements(data, at, head) for data in bodies if len(data) > at]
    whole = sum(count > 0 for count in counts)
    several = sum(count > 1 for count in counts) >= _SEVERAL * whole
    # Messages of one form are all walked by chance where one is: what varies as numbers do is no type, though.
    few = len({data[at : at + head.type] for data in bodies}) <= _TYPES
    return whole / len(counts) if several and few and 2 * len(counts) >= len(bodies) else 0.0


def _elements(data: bytes, at: int, head: _Head) -> int:
    """How many elements there are from a place to the end; 0: they do not end there, or the first one is empty."""
    size = head.type + head.length
    count, end = 0, len(data)
    while at + size <= end:
        value = int.from_bytes(data[at + head.type : at + size], head.order) + head.more - size
        if value < 0 or (not count and not value):
            return 0
        at += size + value
        count += 1
    return count if at == end else 0
