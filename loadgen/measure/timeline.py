"""A run over time: a row for each interval, from what workers report as it goes on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from loadgen.measure.histogram import Histogram
from loadgen.measure.hlog import LogLine
from loadgen.measure.recorder import Interval
from loadgen.measure.result import Timeline
from loadgen.measure.stages import stage_of
from loadgen.units import NS_PER_S

# Counters whose pace is worth a line over time.
_PACED = (
    "sessions.established",
    "sessions.lost",
    "handshakes.due",
    "handshakes.completed",
    "handshakes.failed",
    "notify.due",
    "notify.sent",
    "notify.received",
    "notify.dropped",
    "notify.lost",
    "requests.due",
    "requests.sent",
    "requests.answered",
    "requests.retransmitted",
)
# A last interval that is next to nothing would show next to any rate.
_LEAST_S = 0.1
# Metrics whose percentiles are.
_METRICS = ("notify.latency", "notify.service", "notify.lag", "generator.lag", "handshake.tls", "handshake.latency")


def shown_of(histogram: Histogram) -> dict[str, int]:
    """What is shown of one interval, by statistic: "p50", "p99" and "max", without those that have too few samples."""
    p50, p99 = histogram.percentiles(50.0, 99.0)
    values = {"p50": p50, "p99": p99, "max": histogram.max_ns}
    return {statistic: value for statistic, value in values.items() if value is not None}


class TimelineBuilder:
    """Takes intervals as they come."""

    def __init__(self, interval_ns: int) -> None:
        self._interval_ns = interval_ns
        self._counters: defaultdict[int, dict[str, dict[str, int]]] = defaultdict(dict)
        self._cpu_s: defaultdict[str, dict[int, float]] = defaultdict(dict)
        self._active: dict[int, int] = {}
        self._last_ns = 0

    def add(self, worker: str, interval: Interval, cpu_s: float | None, now_ns: int) -> None:
        """One worker's interval; CPU time since it began, where it is known; and now, since interval 0."""
        self._last_ns = now_ns
        self._counters[interval.index][worker] = interval.counters
        if cpu_s is not None:
            self._cpu_s[worker][interval.index] = cpu_s

    def note_active(self, index: int, sessions: int) -> None:
        """How many sessions are up now."""
        self._active[index] = sessions

    def build(self, lines: Iterable[LogLine], load_start_ns: int | None) -> Timeline:
        """Args: lines: of the interval log; load_start_ns: since interval 0, None if there was no load."""
        count = 1 + max(self._counters, default=-1)
        seconds = self._interval_ns / NS_PER_S
        lengths = [seconds] * count
        if count:  # the last one is hardly ever whole
            lengths[-1] = min(seconds, max(_LEAST_S, self._last_ns / NS_PER_S - (count - 1) * seconds))
        columns: dict[str, list[float | None]] = {"sessions.active": [self._active.get(i) for i in range(count)]}
        totals = self._totals(count)
        for name in _PACED:
            column = [row.get(name, 0) for row in totals]
            if any(column):
                columns[f"{name}_per_s"] = [
                    (now - before) / length for before, now, length in zip([0, *column], column, lengths, strict=False)
                ]
        for worker, known in sorted(self._cpu_s.items()):
            columns[f"cpu.{worker}"] = [
                (known[i] - known[i - 1]) / seconds if i in known and i - 1 in known else None for i in range(count)
            ]
        columns.update(self._percentiles(lines, count))
        zero = 0.0 if load_start_ns is None else load_start_ns / NS_PER_S
        return Timeline(
            interval_s=seconds,
            start_s=tuple(round(i * seconds - zero, 3) for i in range(count)),
            columns={name: tuple(column) for name, column in columns.items()},
        )

    def _totals(self, count: int) -> list[dict[str, int]]:
        """Counters summed over the workers, at the end of each interval."""
        latest: dict[str, dict[str, int]] = {}
        rows = []
        for index in range(count):
            latest.update(self._counters.get(index, {}))
            total: defaultdict[str, int] = defaultdict(int)
            for counters in latest.values():
                for name in _PACED:
                    total[name] += counters.get(name, 0)
            rows.append(dict(total))
        return rows

    def _percentiles(self, lines: Iterable[LogLine], count: int) -> dict[str, list[float | None]]:
        merged: dict[tuple[str, int], Histogram] = {}
        for line in lines:
            metric = stage_of(line.tag)[1]
            if metric in _METRICS:
                index = round(line.start_s / line.length_s)
                merged.setdefault((metric, index), Histogram()).add(line.histogram)
        columns: dict[str, list[float | None]] = {}
        for (metric, index), histogram in merged.items():
            if index < count:
                for name, value in shown_of(histogram).items():
                    columns.setdefault(f"{metric}.{name}", [None] * count)[index] = value
        return columns
