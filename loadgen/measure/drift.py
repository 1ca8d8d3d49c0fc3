"""How fast the clocks of somebody else's WLCs gain on ours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from loadgen.measure.stages import Int64s
from loadgen.measure.stamps import FAR_NS
from loadgen.units import NS_PER_S

# A clock that is being put right is slewed by at most 500 ppm, for a while; crystals are off by up to 100 ppm.
SLEW_PER = 5000  # 1 ns in 5000: 200 ppm
# Drift that does not show is known to be none when it could be no more than this: crystals differ by more.
_DRIFT_KNOWN_PPB = 10_000


class Drift:
    """How fast clocks gain on ours: by the fastest notifications of windows that are far apart.

    One window tells where a clock stands, give or take half of a round trip of its own, if there is one: whatever made
    notifications late in it, made that late, too. From then on two of them tell how far it came.
    """

    def __init__(self, rows: int) -> None:
        self.came_ns = np.zeros(rows, np.int64)  # when the fastest notification of this window came
        self._round = np.full(rows, FAR_NS)  # the least round trip since there was a window
        # The window that drift is taken from: when, how far ahead the clock was at least, and the round trip.
        self._base_ns, self._base, self._base_round = (np.zeros(rows, np.int64) for _ in range(3))
        self._ppb, self._uncertainty_ppb = np.zeros(rows), np.full(rows, np.inf)

    def begin(self, rows: int | Int64s) -> None:
        """Their clocks are others from now on."""
        self._base_ns[rows] = 0
        self._round[rows] = FAR_NS
        self._uncertainty_ppb[rows] = np.inf

    def round_trip(self, row: int, took_ns: int) -> None:
        """One that was answered in this window."""
        if took_ns < self._round[row]:
            self._round[row] = took_ns

    def take(self, least: Int64s, grain: Int64s) -> None:
        """A window is over.

        Args:
            least: the least raw duration in it, of every row; far away if there was none.
            grain: the step by which its clock goes on; 0: none is seen.
        """
        told = np.flatnonzero(np.abs(least) < FAR_NS)
        rows = told[self._round[told] < FAR_NS]
        at_ns, ahead, took = self.came_ns[rows], -least[rows], self._round[rows]
        self._round[told] = FAR_NS
        based, since = self._base_ns[rows] > 0, np.maximum(at_ns - self._base_ns[rows], 1)
        # Both were ahead by no less than that, and by no more than a round trip more.
        ppb = (ahead - self._base[rows] + (took - self._base_round[rows]) / 2) * NS_PER_S / since
        uncertainty = ((took + self._base_round[rows]) / 2 + grain[rows]) * NS_PER_S / since
        better = based & (uncertainty < self._uncertainty_ppb[rows])
        self._ppb[rows[better]], self._uncertainty_ppb[rows[better]] = ppb[better], uncertainty[better]
        # One that was slow, as when everybody subscribes, would have drift wait for long.
        fresh = ~based | (~self._known(rows) & (took < self._base_round[rows] / 2))
        self._uncertainty_ppb[rows[fresh]] = np.inf
        for column, values in ((self._base_ns, at_ns), (self._base, ahead), (self._base_round, took)):
            column[rows[fresh]] = values[fresh]

    def told(self, row: int) -> tuple[int | None, int]:
        """In ns a second, give or take the other; None and 0: not known."""
        if not self._known(np.array([row]))[0]:
            return None, 0
        return round(float(self._ppb[row])), round(float(self._uncertainty_ppb[row]))

    def _known(self, rows: Int64s) -> NDArray[np.bool_]:
        ppb, uncertainty = np.abs(self._ppb[rows]), self._uncertainty_ppb[rows]
        known: NDArray[np.bool_] = (ppb > uncertainty) | (uncertainty <= _DRIFT_KNOWN_PPB)
        # What gains more than a clock is slewed by was set, or is none.
        known &= ppb - uncertainty <= NS_PER_S / SLEW_PER
        return known
