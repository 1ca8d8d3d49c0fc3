"""What a batch of notifications tells, whatever of it their layout carries: numbers that go round are made whole, and
what is not carried follows from the order or is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadgen.nmsp.bulk import Columns
from loadgen.nmsp.carried import Carried
from loadgen.session.sequence import SequenceCheck

Int64s = NDArray[np.int64]


class ToldColumns(NamedTuple):
    """The columns of a batch. What is not known is 0, and in no figure."""

    sequence: Int64s
    due_ns: Int64s
    sent_ns: Int64s
    subservice: Int64s


def expected_of(first: Int64s, counts: Int64s, ends: Int64s | None) -> Int64s:
    """The numbers that a batch would have if nothing were missing.

    Args:
        first: that each endpoint is expected to bring next. counts, ends: how many it brought, and where they end in
            the batch; None: it is one each.
    """
    if ends is None:
        return first
    numbers: Int64s = np.repeat(first - (ends - counts), counts) + np.arange(int(ends[-1]))
    return numbers


def nearest_number(read: int, expected: int, bits: int) -> int:
    """What a number was before it went round: the nearest to the one that comes after those before it."""
    mask, half = (1 << bits) - 1, 1 << (bits - 1)
    found = expected - 1 + ((read - expected + 1 + half) & mask) - half
    return found if found >= 0 else found + mask + 1


class Reader:
    """Of one layout.

    Attributes:
        whole: it carries all three of ours, in 64 bits each.
        counts: it carries a number; otherwise the order is all that is known.
        due, sent: it carries that time. A narrower one goes round within seconds, and tells nothing.
    """

    def __init__(self, carried: Carried) -> None:
        self.whole = carried == Carried(64, 64, 64)
        self.counts, self.due, self.sent = carried.sequence > 0, carried.tells_due, carried.tells_sent
        self._bits = carried.sequence

    def read(
        self,
        columns: Columns,
        first: Int64s,
        counts: Int64s,
        ends: Int64s | None,
        numbers: Int64s,
        checks: Mapping[int, SequenceCheck[Any]],
    ) -> ToldColumns:
        """Args:
        first, counts, ends: as of `expected_of`. numbers: of the endpoints.
        checks: of those that once missed a number: these know what they expect.
        """
        if self.whole:
            return ToldColumns(*columns[:4])  # type: ignore[arg-type]
        nothing = np.zeros(columns.notifications, np.int64)
        due = columns.due_ns if self.due and columns.due_ns is not None else nothing
        sent = columns.sent_ns if self.sent and columns.sent_ns is not None else nothing
        if columns.sequence is None:
            return ToldColumns(nothing, due, sent, columns.subservice)
        sequence = (
            columns.sequence
            if self._bits == 64
            else self._whole(columns.sequence, first, counts, ends, numbers, checks)
        )
        return ToldColumns(sequence, due, sent, columns.subservice)

    def _whole(
        self,
        read: Int64s,
        first: Int64s,
        counts: Int64s,
        ends: Int64s | None,
        numbers: Int64s,
        checks: Mapping[int, SequenceCheck[Any]],
    ) -> Int64s:
        """Numbers that have gone round: each is the one that is nearest to what its endpoint brought before it."""
        mask = (1 << self._bits) - 1
        if not checks:
            expected = expected_of(first, counts, ends)
            if np.array_equal(expected & mask, read):
                return expected
        elif known := [index for index, number in enumerate(numbers.tolist()) if number in checks]:
            first = first.copy()
            first[known] = [checks[number].expected for number in numbers[known].tolist()]
        begin = np.arange(len(read)) if ends is None else ends - counts
        before = np.empty_like(read)
        before[1:] = read[:-1]
        before[begin] = first - 1
        half = 1 << (self._bits - 1)
        steps = ((read - before + half) & mask) - half
        # Of each endpoint: what it had last, and all its steps since.
        steps[begin] += first - 1
        total = np.cumsum(steps)
        offset = total[begin] - steps[begin]
        found: Int64s = total - (offset if ends is None else np.repeat(offset, counts))
        # Nothing is before 0: those that would be came after others, which are missing.
        return np.where(found < 0, found + mask + 1, found)
