"""Durations that only get longer: either the peer is late, or its clock loses.

Between two round trips nothing tells one from the other. A clock that stands still, or loses far more than crystals do,
makes durations longer by as much as it has lost, until a question is answered: what stands behind the answer was sent
after the question, and a clock that says otherwise is behind. One that does not say so has spoken for all durations so
far. What has grown since, and not come back, may be none.
"""

from __future__ import annotations

import numpy as np

from loadgen.measure.stages import Int64s
from loadgen.measure.stamps import FAR_NS
from loadgen.units import NS_PER_MS, NS_PER_S

# One late read is no growth: it is the least of this time, and of that before, that has grown.
_STRETCH_NS = NS_PER_S // 2
# Nor is what no clock needs to have lost to be as long.
_LEAST_NS = 10 * NS_PER_MS


class UnprovenGrowth:
    """By row, of raw durations; times are monotonic ns."""

    def __init__(self, rows: int) -> None:
        # The least when a round trip spoke for it, or at first.
        self._base = np.full(rows, FAR_NS)
        self._low, self._low_before, self._last = (np.full(rows, FAR_NS) for _ in range(3))
        self._began_ns = np.zeros(rows, np.int64)  # the stretch
        self._shown_ns = 0  # the most of what is over

    def begin(self, rows: Int64s) -> None:
        """Nothing is known of them."""
        for column in (self._base, self._low, self._low_before, self._last):
            column[rows] = FAR_NS

    def end(self, rows: Int64s) -> None:
        """Their sessions are over; what was shown stays shown."""
        self._shown_ns = self.most_ns(rows)
        self.begin(rows)

    def take(self, rows: Int64s, least: Int64s, now_ns: int) -> None:
        """Args: rows: each at most once. least: of each row's durations in this read."""
        self._last[rows] = least
        self._low[rows] = np.minimum(self._low[rows], least)
        over = now_ns >= self._began_ns[rows] + _STRETCH_NS
        if not np.count_nonzero(over):
            return
        rows, least = rows[over], least[over]
        self._low_before[rows], self._low[rows] = self._low[rows], least
        self._began_ns[rows] = now_ns
        new = rows[self._base[rows] == FAR_NS]
        self._base[new] = self._low_before[new]

    def take_one(self, row: int, least_ns: int, now_ns: int) -> None:
        if now_ns >= self._began_ns[row] + _STRETCH_NS:
            self.take(np.array([row]), np.array([least_ns]), now_ns)
            return
        self._last[row] = least_ns
        if least_ns < self._low[row]:
            self._low[row] = least_ns

    def spoken_for(self, row: int) -> None:
        """What stands behind an answer says of its clock that it was not that which took so long."""
        self._base[row] = min(int(self._low[row]), int(self._low_before[row]))

    def most_ns(self, rows: Int64s) -> int:
        """By how much durations may be less, because nothing has spoken for what they have grown by."""
        low = np.minimum(self._low[rows], self._low_before[rows])
        known = (low < FAR_NS) & (low > -FAR_NS) & (self._base[rows] > -FAR_NS)
        grown = known & (low - self._base[rows] > _LEAST_NS)
        return max(self._shown_ns, int((self._last[rows] - self._base[rows])[grown].max(initial=0)))
