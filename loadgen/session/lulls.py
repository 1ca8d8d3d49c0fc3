"""Streams that fall silent: for how long nothing came in a session at the end of a load, against what is usual in it.

Nothing is done for a message: what a session has received is looked at ten times a second, when a batch comes. A pause
is as long as from the last message before it to the last look that still found nothing: no more is known of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadgen.scenario.schedule import RateStage
from loadgen.units import NEVER_NS, NS_PER_S

LOOK_NS = NS_PER_S // 10
# What is no silence: less than that, or not much longer than the longest pause before.
LEAST_SILENCE_NS = NS_PER_S
TIMES_LONGER = 3
# A stream is what was found flowing at ten looks, and has flowed for as long as it is silent now, or for 10 s.
# Otherwise it may have been a burst: what a WLC has to tell once to who subscribes.
LEAST_LOOKS = 10
LONG_FLOW_NS = 10 * NS_PER_S
# Who has made three pauses, and is silent for three times the longest of them, is named, though it may be by chance.
LEAST_NAMED_LOOKS = 4
# However short it flowed, it did so evenly if it is silent now for so many times its longest pause. If its pauses are
# random, exponential ones, that comes by chance in one of ten million: ten looks have nine pauses between them.
TIMES_EVEN = 20


class Lull(NamedTuple):
    """A stream that fell silent. longest_ns: of the pauses that it made before, those that a look sees at least."""

    silent_ns: int
    longest_ns: int


class Lulls:
    """Of the measurements of a shard's sessions, by row; whatever else is told is a sign of life."""

    def __init__(self, rows: int) -> None:
        self._seen = np.zeros(rows, np.int64)  # how many had come at the last look
        self._looks = np.zeros(rows, np.int64)  # that found more
        self._first_ns, self._last_ns, self._longest_ns, self._told_ns = (np.zeros(rows, np.int64) for _ in range(4))
        self._look_ns = 0  # when the next one is due
        self._came_ns = self._looked_ns = 0  # when the last batch came, and the first that the last look did not see
        self._until_ns = self._over_ns = NEVER_NS
        self._went_on = np.zeros(rows, bool)  # it brought something after `until`, before the load was over
        self._slower = 1.0  # by that much longer a pause may be at the end

    def begin(self, until_ns: int, over_ns: int, stages: Sequence[RateStage]) -> None:
        """A load begins.

        Args:
            until_ns: until when a stream must not be silent: a WLC's schedule may be over then.
            over_ns: when the load is over: what comes later says nothing of it.
            stages: of the scenario: if WLCs have these, too, pauses grow as the rate falls.
        """
        self._until_ns, self._over_ns = until_ns, over_ns
        self._went_on[:] = False
        self._look_ns = 0
        most = max((max(stage.start_per_s, stage.end_per_s) for stage in stages), default=0.0)
        last = stages[-1].end_per_s if stages else 0.0
        self._slower = most / last if last else math.inf if most else 1.0

    def open(self, row: int) -> None:
        """A session begins."""
        for column in (self._seen, self._looks, self._first_ns, self._last_ns, self._longest_ns, self._told_ns):
            column[row] = 0
        self._went_on[row] = False

    def told(self, row: int, now_ns: int) -> None:
        """Something else than a measurement came."""
        if now_ns <= self._until_ns:
            self._told_ns[row] = now_ns

    def come(self, taken: NDArray[np.int64], now_ns: int, last_ns: NDArray[np.int64] | None = None) -> None:
        """A batch has come and is to be taken.

        Args:
            taken: how many were taken before, of each row.
            last_ns: when the last of them came; None: with the batch after which a look finds them.
        """
        if now_ns >= self._look_ns:
            self._look(taken, last_ns)
            self._looked_ns = now_ns
            self._look_ns = now_ns + LOOK_NS if now_ns > self._until_ns else min(now_ns + LOOK_NS, self._until_ns)
        self._came_ns = now_ns

    def _look(self, taken: NDArray[np.int64], last_ns: NDArray[np.int64] | None) -> None:
        now_ns, before_ns = self._came_ns, self._looked_ns
        rows = np.flatnonzero(taken != self._seen)
        self._seen[rows] = taken[rows]
        if now_ns > self._until_ns:
            self._went_on[rows] |= now_ns <= self._over_ns
            return
        came = np.full(len(rows), now_ns) if last_ns is None else last_ns[rows]
        known = self._looks[rows] > 0
        self._first_ns[rows[~known]] = came[~known]
        paused = rows[known]
        self._longest_ns[paused] = np.maximum(self._longest_ns[paused], before_ns - self._last_ns[paused])
        self._last_ns[rows] = came
        self._looks[rows] += 1

    def fallen_silent(
        self, taken: NDArray[np.int64], rows: Iterable[int], last_ns: NDArray[np.int64] | None = None
    ) -> tuple[dict[int, Lull], dict[int, Lull]]:
        """Which of these rows were silent when the load ended, and should not have been; and which seem so.

        Args: taken, last_ns: as of `come`.
        """
        self._look(taken, last_ns)
        surely, perhaps = {}, {}
        for row in rows:
            came_ns, longest_ns = int(self._last_ns[row]), max(LOOK_NS, int(self._longest_ns[row]))
            lull = Lull(self._until_ns - max(came_ns, int(self._told_ns[row])), longest_ns)
            pauses = lull.silent_ns / (self._slower * longest_ns)
            if self._went_on[row] or lull.silent_ns < LEAST_SILENCE_NS or pauses < TIMES_LONGER:
                continue
            flow_ns = came_ns - int(self._first_ns[row])
            flowed = flow_ns >= min(lull.silent_ns, LONG_FLOW_NS) or pauses >= TIMES_EVEN
            if self._looks[row] >= LEAST_LOOKS and flowed:
                surely[row] = lull
            elif self._looks[row] >= LEAST_NAMED_LOOKS:
                perhaps[row] = lull
        return surely, perhaps
