"""The last minutes of a run over time, at a cost that does not grow with the run: for whoever watches."""

from __future__ import annotations

from collections import Counter

from loadgen.measure.books import once
from loadgen.measure.histogram import Histogram
from loadgen.measure.recorder import Interval
from loadgen.measure.stages import stage_of
from loadgen.results.cores import MOST_COLUMNS, Spread, column_of, spread_columns, spread_of
from loadgen.results.result import Timeline
from loadgen.results.timeline import shown_of
from loadgen.units import NS_PER_S

INTERVALS = 600
# By how many intervals a worker's figures may be late; what comes later has no place in percentiles over time.
_OPEN = 10
_PACED = (
    "sessions.established",
    "sessions.failed",
    "sessions.lost",
    "notify.due",
    "notify.sent",
    "notify.received",
    "notify.dropped",
)
_METRICS = ("notify.latency", "notify.service", "notify.lag")
_SHOWN = ("p50", "p99", "max")


class _WholeRow:
    """One interval, over all processes."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.cpu: dict[str, float] = {}
        self.spread: Spread | None = None  # of the CPU of very many workers, once it is complete
        self.active: int | None = None
        self.open: dict[str, Histogram] = {}
        self.percentiles: dict[str, int] = {}

    def measure(self, *, close: bool) -> None:
        for metric, histogram in self.open.items():
            self.percentiles |= {f"{metric}.{name}": value for name, value in shown_of(histogram).items()}
        if close:
            self.open.clear()
            if len(self.cpu) > MOST_COLUMNS:
                self.spread = spread_of([*self.cpu.values()])
                self.cpu.clear()


class RecentTimeline:
    """A timeline of the last `INTERVALS` intervals. Histograms (300 kB each) are kept of the last few only."""

    def __init__(self, interval_ns: int) -> None:
        self._seconds = interval_ns / NS_PER_S
        self._rows: dict[int, _WholeRow] = {}
        self._before: dict[str, dict[str, int]] = {}  # counters of each worker
        self._cpu_before: dict[str, tuple[int, float]] = {}
        self._newest = 0

    def add(self, worker: str, interval: Interval, cpu_s: float | None, active: int) -> None:
        """One worker's part of an interval, and how many sessions are up now."""
        index = interval.index
        if index <= self._newest - INTERVALS:
            return
        fresh = index not in self._rows
        row = self._rows.setdefault(index, _WholeRow())
        row.active = active
        if fresh and index > self._newest:
            self._newest = index
            self._prune()
        counters = self._before.get(worker, {})
        for name in _PACED:
            if done := once(interval.counters, name) - once(counters, name):
                row.done[name] += done
        self._before[worker] = interval.counters
        if cpu_s is not None:
            last, spent = self._cpu_before.get(worker, (index, cpu_s))
            if index > last:
                row.cpu[worker] = (cpu_s - spent) / (index - last) / self._seconds
            self._cpu_before[worker] = (index, cpu_s)
        if index > self._newest - _OPEN:
            for tag, filled in interval.decoded.items():
                metric = stage_of(tag)[1]
                if metric in _METRICS:
                    row.open.setdefault(metric, Histogram()).fill(filled)

    def build(self, load_start_ns: int | None) -> Timeline:
        """See Builds. The interval that has just begun, and those of which nothing has come, are left out."""
        indexes = sorted(self._rows)[:-1]
        rows = [self._rows[index] for index in indexes]
        columns: dict[str, tuple[float | None, ...]] = {"sessions.active": tuple(row.active for row in rows)}
        for name in _PACED:
            if any(row.done[name] for row in rows):
                columns[f"{name}_per_s"] = tuple(row.done[name] / self._seconds for row in rows)
        if len(self._cpu_before) > MOST_COLUMNS:
            columns |= spread_columns([row.spread or spread_of([*row.cpu.values()]) for row in rows])
        else:
            for worker in sorted(self._cpu_before):
                columns[column_of(worker)] = tuple(row.cpu.get(worker) for row in rows)
        for row in rows:
            row.measure(close=False)
        for name in (f"{metric}.{shown}" for metric in _METRICS for shown in _SHOWN):
            if any(name in row.percentiles for row in rows):
                columns[name] = tuple(row.percentiles.get(name) for row in rows)
        zero = 0.0 if load_start_ns is None else load_start_ns / NS_PER_S
        starts = tuple(round(index * self._seconds - zero, 3) for index in indexes)
        return Timeline(interval_s=self._seconds, start_s=starts, columns=columns)

    def _prune(self) -> None:
        for index in list(self._rows):
            if index <= self._newest - INTERVALS:
                del self._rows[index]
            elif index <= self._newest - _OPEN:
                self._rows[index].measure(close=True)
