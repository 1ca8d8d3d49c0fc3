"""What workers used of the machine's cores over time, as columns: of each, or of very many the range and the median."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

# Of more workers than that, a result has no column each: hundreds of them would be most of it, and read by nobody.
MOST_COLUMNS = 64
LEAST, MEDIAN, MOST = "cpu.least", "cpu.median", "cpu.most"

Column = tuple[float | None, ...]
Spread = tuple[float | None, float | None, float | None]


def column_of(worker: str) -> str:
    """The name of a worker's own column."""
    return f"cpu.{worker}"


def spread_of(cores: Sequence[float]) -> Spread:
    """The least, the median and the most of them; None where there is none."""
    if not cores:
        return None, None, None
    return min(cores), float(np.median(cores)), max(cores)


def spread_columns(rows: Sequence[Spread]) -> dict[str, Column]:
    """Of very many workers. Args: rows: as `spread_of` has them."""
    return {name: tuple(row[place] for row in rows) for place, name in enumerate((LEAST, MEDIAN, MOST))}


class Cores:
    """CPU seconds as workers tell them, by row. A row takes 16 bytes for each worker."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._numbers: dict[str, int] = {}
        # Of the last interval of a row that a worker told of, and what it had used by then.
        self._index: NDArray[np.int64] = np.full((0, 0), -1, np.int64)
        self._cpu_s: NDArray[np.float64] = np.zeros((0, 0))

    def note(self, row: int, index: int, cpu_s: Mapping[str, float]) -> None:
        """Until the end of an interval, which belongs to this row, workers have used so much since they began."""
        for worker in cpu_s:
            self._numbers.setdefault(worker, len(self._numbers))
        self._make_room(row + 1, len(self._numbers))
        for worker, seconds in cpu_s.items():
            self._index[row, self._numbers[worker]] = index
            self._cpu_s[row, self._numbers[worker]] = seconds

    def halve(self) -> None:
        """Two rows become one each, which ends where the second did."""
        if len(self._index) % 2:
            self._make_room(len(self._index) + 1, 0)
        later = self._index[1::2] >= 0
        self._cpu_s = np.where(later, self._cpu_s[1::2], self._cpu_s[::2])
        self._index = np.where(later, self._index[1::2], self._index[::2])

    def columns(self, rows: int) -> dict[str, Column]:
        """By name, with None where a worker has not told of a row and the one before it."""
        self._make_room(rows, 0)
        index, cpu_s = self._index[:rows], self._cpu_s[:rows]
        cores = np.full(index.shape, np.nan)
        if rows > 1:
            both = (index[1:] >= 0) & (index[:-1] >= 0)
            apart = np.where(both, index[1:] - index[:-1], 1) * self._interval_s
            cores[1:] = np.where(both, (cpu_s[1:] - cpu_s[:-1]) / apart, np.nan)
        if len(self._numbers) > MOST_COLUMNS:
            return spread_columns([spread_of(row[~np.isnan(row)].tolist()) for row in cores])
        return {
            column_of(worker): tuple(None if value != value else value for value in cores[:, number].tolist())
            for worker, number in sorted(self._numbers.items())
        }

    def _make_room(self, rows: int, workers: int) -> None:
        have = self._index.shape
        if rows <= have[0] and workers <= have[1]:
            return
        # By twice as much each time, as lists grow.
        shape = tuple(
            now if want <= now else max(want, 2 * now) for want, now in zip((rows, workers), have, strict=True)
        )
        index, cpu_s = np.full(shape, -1, np.int64), np.zeros(shape)
        index[: have[0], : have[1]], cpu_s[: have[0], : have[1]] = self._index, self._cpu_s
        self._index, self._cpu_s = index, cpu_s
