"""What speaks against a number that answers seemed to have of what was asked: it is a sequence, or a body's first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from loadgen.infer.columns import Field, HeadColumns
from loadgen.infer.heads import Bools, Heads, Int64s

__all__ = ["is_by_the_way", "is_said_again"]

_ANSWERED_NS = 10_000_000_000
# So many frames with a number tell what most of them do.
_MANY = 16
# Of what the MSE says, this share at least takes part in a transaction, where there are any.
_PARTS = 0.5
# A value comes as often, in the mean, where it says what a frame is about.
_AGAIN = 3
# Numbers of a count are new in this share of its frames.
_NEW = 0.5


def is_by_the_way(columns: HeadColumns, found: Field) -> bool:
    """Whether most of what an MSE says has a number that no frame of the other side has, before it or behind it.

    An MSE asks and answers, and says little else. Two sequences that begin alike meet while sessions open, and no more
    then. Where an MSE numbers what nobody answers, too, answers still break off the count of the other side.
    """
    heads = columns.heads
    values = _values(heads, found)
    going_on = _going_on(heads, values)
    met = broken_off = total = counted = 0
    for rows in heads.dialogues():
        said = _by_value(values, rows[~heads.of_client[rows]])
        for row in rows[heads.of_client[rows] & (values[rows] != 0)].tolist():
            total += 1
            counted += bool(going_on[row])
            waits = {other: int(heads.ns[other] - heads.ns[row]) for other in said.get(int(values[row]), ())}
            near = [other for other, wait_ns in waits.items() if abs(wait_ns) <= _ANSWERED_NS]
            met += bool(near)
            broken_off += any(not going_on[other] for other in near if waits[other] >= 0)
    if total < _MANY or met >= _PARTS * total:
        return False
    return counted < _PARTS * total or broken_off < _PARTS * met


def is_said_again(columns: HeadColumns, found: Field) -> bool:
    """Whether frames that answer nothing have values of their own that come again and again: what they are about.

    What numbers frames is new each time there; or it is 0, one value throughout, or that of what was asked for.
    """
    if found["size"] < 2:
        return False  # a count of one byte comes again, too
    heads = columns.heads
    values = _values(heads, found)
    frames = different = sides = 0
    counted = 0
    for side in (True, False):
        for rows in heads.dialogues():
            other = values[rows[heads.of_client[rows] != side]]
            own = values[rows[heads.of_client[rows] == side]]
            own = own[(own != 0) & ~np.isin(own, other)]
            if len(own):
                sides += 1
                frames += len(own)
                different += len(np.unique(own))
                counted += sum(1 for before, here in pairwise(own.tolist()) if here == before + 1)
    return frames >= _MANY and _AGAIN * sides <= different <= frames / _AGAIN and counted < _NEW * frames


def _values(heads: Heads, found: Field) -> Int64s:
    return heads.number(found["at"], found["size"], found.get("order", "big"))


def _going_on(heads: Heads, values: Int64s) -> Bools:
    """Of each row whether its number is one more than that of the frame of its stream before it."""
    found = np.zeros(len(heads), bool)
    found[1:] = heads.follows[1:] & (values[1:] == values[:-1] + 1)
    return found


def _by_value(values: Int64s, rows: Int64s) -> Mapping[int, Sequence[int]]:
    found: dict[int, list[int]] = {}
    for row in rows.tolist():
        found.setdefault(int(values[row]), []).append(row)
    return found
