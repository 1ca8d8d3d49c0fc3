"""By how much a clock goes on at a time, as far as what it says shows that."""

from __future__ import annotations

import numpy as np

from loadgen.measure.stages import Int64s
from loadgen.measure.stamps import FAR_NS
from loadgen.units import NS_PER_S

# Times that are all whole multiples of less than 1 us apart show no step.
_FINE_NS = 1000
# Nor is what is longer a clock's step: it is how far apart they were sent.
_COARSEST_NS = NS_PER_S
# So many different times in a row tell it: by chance, they have a common step of 1 us once in a million times.
_TELLING = 4


class Grain:
    """The greatest step that all times of a session are whole multiples of apart; by row."""

    def __init__(self, rows: int) -> None:
        self._first_ns, self._last_ns, self._step_ns = (np.zeros(rows, np.int64) for _ in range(3))
        self._told = np.zeros(rows, np.int64)  # different times
        self._fine = np.ones(rows, bool)  # or there is none yet
        self._open = 0  # that have begun, and are not known to be fine

    def begin(self, rows: int | Int64s) -> None:
        """Their clocks are others from now on."""
        self._told[rows] = self._step_ns[rows] = self._last_ns[rows] = 0
        self._open += int(np.count_nonzero(self._fine[rows]))
        self._fine[rows] = False

    def take(self, rows: Int64s, sent_ns: Int64s) -> None:
        """Args: rows: each at most once. sent_ns: what their clocks said."""
        if not self._open:
            return
        coarse = ~self._fine[rows]
        if not np.count_nonzero(coarse):
            return
        new = coarse & (sent_ns != self._last_ns[rows]) & (sent_ns > 0) & (sent_ns < FAR_NS)
        if not new.any():
            return
        rows, sent_ns = rows[new], sent_ns[new]
        first = rows[self._told[rows] == 0]
        self._first_ns[first] = sent_ns[self._told[rows] == 0]
        self._last_ns[rows] = sent_ns
        self._told[rows] += 1
        step = np.gcd(self._step_ns[rows], np.abs(sent_ns - self._first_ns[rows]))
        self._step_ns[rows] = step
        fine = rows[(step > 0) & (step < _FINE_NS)]
        self._fine[fine] = True
        self._open -= fine.size

    def of(self, rows: Int64s) -> Int64s:
        """In ns; 0: none is seen."""
        seen = (self._told[rows] >= _TELLING) & ~self._fine[rows] & (self._step_ns[rows] <= _COARSEST_NS)
        return np.where(seen, self._step_ns[rows], 0)
