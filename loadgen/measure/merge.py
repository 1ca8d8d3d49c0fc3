"""Intervals of all workers into one set of figures. Counts are added, percentiles are computed once, afterwards."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection

from loadgen.measure.histogram import Histogram, MetricSummary
from loadgen.measure.hlog import LogLine
from loadgen.measure.recorder import Interval
from loadgen.measure.stages import NO_STAGE, stage_of, tag_of


class Merger:
    """Takes intervals as they come; what a worker handed in before it died is kept."""

    def __init__(self, *, keep_intervals: bool = True) -> None:
        """Args: keep_intervals: for `log_lines`."""
        self._keep_intervals = keep_intervals
        self._totals: dict[str, Histogram] = {}
        self._counters: dict[str, dict[str, int]] = {}
        self._spans: dict[str, tuple[int, int]] = {}
        self._latest: dict[str, int] = {}
        self._intervals: defaultdict[int, defaultdict[str, list[bytes]]] = defaultdict(lambda: defaultdict(list))

    def add(self, worker: str, interval: Interval) -> None:
        """One interval of one worker, in order."""
        self._counters[worker] = interval.counters
        self._latest[worker] = interval.index
        for tag, (first, last) in interval.spans.items():
            known = self._spans.get(tag, (first, last))
            self._spans[tag] = (min(first, known[0]), max(last, known[1]))
        for tag, encoded in interval.histograms.items():
            self._totals.setdefault(tag, Histogram()).merge(encoded)
            if self._keep_intervals:
                self._intervals[interval.index][tag].append(encoded)

    def counters(self) -> Counter[str]:
        """Sums over the workers."""
        total: Counter[str] = Counter()
        for counters in self._counters.values():
            total.update(counters)
        return total

    def whole_interval(self) -> int | None:
        """The interval up to which every worker has been heard, if none has been heard further."""
        latest = set(self._latest.values())
        return latest.pop() if len(latest) == 1 else None

    def span_ns(self, name: str, stage: str = NO_STAGE) -> tuple[int, int] | None:
        """First and last time (monotonic ns) that any worker marked."""
        return self._spans.get(tag_of(stage, name))

    def histograms(self) -> dict[str, Histogram]:
        """Over the whole run, by tag."""
        return dict(self._totals)

    def metrics(self, stages: Collection[str]) -> dict[str, MetricSummary]:
        """Summaries by metric name, over these stages together."""
        histograms: dict[str, Histogram] = {}
        for tag, total in self._totals.items():
            stage, metric = stage_of(tag)
            if stage in stages:
                histograms.setdefault(metric, Histogram()).add(total)
        return {metric: histograms[metric].summary() for metric in sorted(histograms)}

    def log_lines(self, interval_s: float) -> list[LogLine]:
        """All intervals, merged over the workers, in order of time."""
        lines = []
        for index in sorted(self._intervals):
            for tag in sorted(self._intervals[index]):
                histogram = Histogram()
                for encoded in self._intervals[index][tag]:
                    histogram.merge(encoded)
                lines.append(LogLine(tag, index * interval_s, interval_s, histogram))
        return lines
