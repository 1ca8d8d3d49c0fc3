"""A floor: where its access points hang, how loud they hear a place, and how those on it walk about. Seeded numpy.

The path loss is the log-distance model with log-normal shadowing: RSSI = P - L(1 m) - 10 n lg(d / 1 m) - X, where
X is normal with mean 0. docs/site.md says which of its numbers come from where.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from loadgen.scenario.site_plan import PlannedSite
from loadgen.units import NS_PER_S

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

# Not heard; no receiver reports less.
SILENT = -128
# What a client sends with; ours.
_POWER_DBM = 15.0
# Free space at 1 m, 20 lg(4 pi f / c), at 2437 and 5500 MHz.
_LOSS_AT_1_M_DB = np.array([40.2, 47.3])
# A ceiling above a hand; no distance is less, so the logarithm has a bound.
_HEIGHT_M = 2.0
_LOUDEST_DBM = -20
_AP_OUI = (0x02, 0x41)  # locally administered: a simulated access point never has a real one's MAC
# Of the distance between neighbours: nobody hangs access points to the centimetre.
_OFF_GRID = 0.15


class Floor:
    """One controller's floor plan.

    Attributes:
        x_m, y_m: of the access points; macs: theirs, dtype V6.
    """

    def __init__(self, site: PlannedSite, rng: np.random.Generator) -> None:
        self.width_m, self.depth_m = site.floor_m
        columns = min(site.aps, max(1, round(math.sqrt(site.aps * self.width_m / self.depth_m))))
        lines = -(-site.aps // columns)
        number = np.arange(site.aps)
        off = rng.uniform(-_OFF_GRID, _OFF_GRID, (2, site.aps))
        self.x_m = (number % columns + 0.5 + off[0]) * (self.width_m / columns)
        self.y_m = (number // columns + 0.5 + off[1]) * (self.depth_m / lines)
        macs = rng.integers(0, 256, (site.aps, 6), np.uint8)
        macs[:, :2] = _AP_OUI
        self.macs = macs.view("V6")[:, 0]
        self._slope = 5.0 * site.path_loss_exponent  # of lg(d^2), so that no root is taken
        self._shadowing_db = site.shadowing_db
        self._sensitivity_dbm = site.sensitivity_dbm

    def rssi_dbm(self, x_m: Floats, y_m: Floats, band: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.int8]:
        """How loud each access point hears who sends there: shape (places, access points), SILENT where it does not.

        Args: band: 0 for 2.4 GHz, 1 for 5 GHz, of each place.
        """
        squared = (x_m[:, None] - self.x_m) ** 2 + (y_m[:, None] - self.y_m) ** 2
        squared += _HEIGHT_M**2
        level = (_POWER_DBM - _LOSS_AT_1_M_DB[band])[:, None] - self._slope * np.log10(squared)
        if self._shadowing_db:
            level -= self._shadowing_db * rng.standard_normal(level.shape)
        np.rint(level, out=level)
        np.minimum(level, _LOUDEST_DBM, out=level)
        level[level < self._sensitivity_dbm] = SILENT
        rounded: NDArray[np.int8] = level.astype(np.int8)
        return rounded


class Walk:
    """Random waypoints: everybody walks straight to a place, stays a while, and then to the next.

    Whoever does not move has one place for good.

    Attributes:
        from_m, to_m: shape (count, 2): from where to where each goes now, or where it stays.
    """

    def __init__(self, site: PlannedSite, count: int, rng: np.random.Generator, *, moves: bool) -> None:
        self._rng = rng
        self._size_m = np.array(site.floor_m)
        self._speeds_m_per_s = site.walk_m_per_s
        self._pause_s = site.pause_ns / NS_PER_S
        self._moves = moves
        self.to_m = rng.random((count, 2)) * self._size_m
        self.from_m = self.to_m.copy()
        # A leg: from when, to when, and from when on there is another one. The first is a stay.
        self._start_ns = np.zeros(count, np.int64)
        self._end_ns = np.zeros(count, np.int64)
        self._until_ns = self._stays(count)

    def at(self, rows: Rows, time_ns: Rows) -> tuple[Floats, Floats]:
        """Where these are at these times, in m; times of one of them never go back."""
        if not self._moves:
            return self.to_m[rows, 0], self.to_m[rows, 1]
        while len(late := np.flatnonzero(self._until_ns[rows] <= time_ns)):
            self._next_leg(rows[late])
        length = np.maximum(self._end_ns[rows] - self._start_ns[rows], 1)
        part = np.minimum((time_ns - self._start_ns[rows]) / length, 1.0)[:, None]
        place = self.from_m[rows] + part * (self.to_m[rows] - self.from_m[rows])
        return place[:, 0], place[:, 1]

    def _next_leg(self, rows: Rows) -> None:
        count = len(rows)
        self.from_m[rows] = self.to_m[rows]
        self.to_m[rows] = self._rng.random((count, 2)) * self._size_m
        way = self.to_m[rows] - self.from_m[rows]
        seconds = np.hypot(way[:, 0], way[:, 1]) / self._rng.uniform(*self._speeds_m_per_s, count)
        self._start_ns[rows] = self._until_ns[rows]
        self._end_ns[rows] = self._start_ns[rows] + (seconds * NS_PER_S).astype(np.int64)
        # At least 1 ms a leg: `at` must come to an end however short pauses and ways are.
        self._until_ns[rows] = np.maximum(self._end_ns[rows] + self._stays(count), self._start_ns[rows] + 1_000_000)

    def _stays(self, count: int) -> Rows:
        stays: Rows = (self._rng.exponential(self._pause_s, count) * NS_PER_S).astype(np.int64)
        return stays
