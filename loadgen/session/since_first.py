"""How much longer notifications waited than the first ones of their sessions, where two clocks cannot be compared."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from loadgen.units import NS_PER_S

__all__ = ["SinceFirst"]

# What the first ones may have waited for themselves, so that what waits less has waited, too.
_FIRST_WAITED_NS = NS_PER_S
# Two due times that are further from each other, when they come, are not both true.
_FARTHEST_NS = 3600 * NS_PER_S


class SinceFirst:
    """By raw durations: from when a notification was due, by the WLC's clock, until it came, by ours.

    What they are compared with is the first one of each session whose next one is not an hour and more off: a due time
    that cannot be is nothing to compare with.
    """

    def __init__(self, rows: int) -> None:
        self._first_ns = np.zeros(rows, np.int64)
        self._seen = np.zeros(rows, bool)
        self._settled = np.zeros(rows, bool)

    def open(self, row: int) -> None:
        """Its next session."""
        self._seen[row] = self._settled[row] = False

    def longer_ns(
        self, raw_ns: NDArray[np.int64], rows: NDArray[np.int64], counts: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """A second more than that. Args: raw_ns: `counts` of each of these rows, in the order in which they came."""
        if not self._settled[rows].all():
            ends = np.cumsum(counts)
            for index in np.flatnonzero(~self._settled[rows]).tolist():
                self._settle(int(rows[index]), raw_ns[ends[index] - counts[index] : ends[index]].tolist())
        return raw_ns - np.repeat(self._first_ns[rows], counts) + _FIRST_WAITED_NS

    def _settle(self, row: int, raw_ns: list[int]) -> None:
        for each_ns in raw_ns:
            if self._seen[row] and abs(each_ns - int(self._first_ns[row])) < _FARTHEST_NS:
                self._settled[row] = True
                return
            self._first_ns[row], self._seen[row] = each_ns, True
