"""Intervals of all workers into one set of figures. Counts are added, percentiles are computed once, afterwards."""

from __future__ import annotations

from collections import Counter, defaultdict

from loadgen.measure.histogram import Histogram, MetricSummary
from loadgen.measure.hlog import LogLine
from loadgen.measure.recorder import Interval


class Merger:
    """Takes intervals as they come; what a worker handed in before it died is kept."""

    def __init__(self) -> None:
        self._totals: dict[str, Histogram] = {}
        self._counters: dict[str, dict[str, int]] = {}
        self._spans: dict[str, tuple[int, int]] = {}
        self._intervals: defaultdict[int, defaultdict[str, list[bytes]]] = defaultdict(lambda: defaultdict(list))

    def add(self, worker: str, interval: Interval) -> None:
        """One interval of one worker, in order."""
        self._counters[worker] = interval.counters
        for name, (first, last) in interval.spans.items():
            known = self._spans.get(name, (first, last))
            self._spans[name] = (min(first, known[0]), max(last, known[1]))
        for metric, encoded in interval.histograms.items():
            self._totals.setdefault(metric, Histogram()).merge(encoded)
            self._intervals[interval.index][metric].append(encoded)

    def counters(self) -> Counter[str]:
        """Sums over the workers."""
        total: Counter[str] = Counter()
        for counters in self._counters.values():
            total.update(counters)
        return total

    def span_ns(self, name: str) -> tuple[int, int] | None:
        """First and last time (monotonic ns) that any worker marked."""
        return self._spans.get(name)

    def metrics(self) -> dict[str, MetricSummary]:
        """Summaries over the whole run, by metric name."""
        return {name: self._totals[name].summary() for name in sorted(self._totals)}

    def percentiles(self, metric: str, *percents: float) -> tuple[int, ...]:
        """Values in ns over the whole run so far; zeros when nothing was recorded."""
        return self._totals.get(metric, Histogram()).percentiles(*percents)

    def log_lines(self, interval_s: float) -> list[LogLine]:
        """All intervals, merged over the workers, in order of time."""
        lines = []
        for index in sorted(self._intervals):
            for metric in sorted(self._intervals[index]):
                histogram = Histogram()
                for encoded in self._intervals[index][metric]:
                    histogram.merge(encoded)
                lines.append(LogLine(metric, index * interval_s, interval_s, histogram))
        return lines
