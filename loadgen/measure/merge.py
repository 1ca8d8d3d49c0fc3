"""Intervals of all workers into one set of figures. Counts are added, percentiles are computed once, afterwards."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping

from loadgen.measure.books import settle
from loadgen.measure.clock_readings import Clocks, merged
from loadgen.measure.histogram import Histogram, MetricSummary
from loadgen.measure.moments import Moments
from loadgen.measure.names import MAXIMA
from loadgen.measure.recorder import Interval
from loadgen.measure.stages import stage_of, tag_of
from loadgen.measure.waits import Waited


class Merger:
    """Takes intervals as they come; what a worker handed in before it died is kept."""

    def __init__(self, *, counting_only: bool = False) -> None:
        """Args: counting_only: somebody else keeps histograms and spans."""
        self._counting_only = counting_only
        self._totals: dict[str, Histogram] = {}
        self._counters: dict[str, dict[str, int]] = {}
        self._waits: defaultdict[str, dict[str, Waited]] = defaultdict(dict)
        self._moments: defaultdict[str, Moments] = defaultdict(Moments)
        self._latest: dict[str, int] = {}
        self._ahead: set[str] = set()  # workers that told of the interval after that
        self._silent: frozenset[str] = frozenset()
        self._clocks: dict[str, Clocks] = {}
        self._summaries: dict[frozenset[str], dict[str, MetricSummary]] = {}

    def add(self, worker: str, interval: Interval, *, goes_on: bool = False) -> None:
        """One interval of one worker, in order. Args: goes_on: it is the part of it that is over."""
        self._counters[worker] = interval.counters
        if goes_on:
            self._latest.setdefault(worker, interval.index - 1)
            self._ahead.add(worker)
        else:
            self._latest[worker] = interval.index
            self._ahead.discard(worker)
        self._clocks[worker] = interval.clocks
        self._summaries.clear()
        if self._counting_only:
            return
        for tag, waited in interval.waits.items():
            self._waits[tag][worker] = waited
        for what, counts in interval.moments.items():
            self._moments[what].add(counts)
        for tag, filled in interval.decoded.items():
            if tag not in self._totals:
                self._totals[tag] = Histogram()
            self._totals[tag].fill(filled)

    def settle(self, workers: Collection[str] | None = None) -> None:
        """These workers, or whoever there was, will report no more: what was open at their last report is over."""
        self._silent = frozenset(workers or ())
        for worker, counters in self._counters.items():
            if workers is None or worker in workers:
                self._counters[worker] = dict(counters)
                settle(self._counters[worker])

    def counters(self) -> Counter[str]:
        """Sums over the workers."""
        total: Counter[str] = Counter()
        for counters in self._counters.values():
            total.update(counters)
        for name in MAXIMA:
            if name in total:
                total[name] = max(counters.get(name, 0) for counters in self._counters.values())
        return total

    def counters_of(self, worker: str) -> Mapping[str, int]:
        """Of one of them, as far as it was heard."""
        return self._counters.get(worker, {})

    def clocks(self) -> Clocks:
        """Those of the peers, as they stood last."""
        return merged(self._clocks.values())

    def told(self, side: str) -> list[int | None]:
        """Until which interval each worker of a side ("wlc", "mse") told how it went; None: until its end."""
        names = [name for name in self._latest if name.startswith(f"{side}-")]
        return [self._latest[name] if name in self._silent else None for name in names]

    def whole_interval(self) -> int | None:
        """The interval up to which every worker has been heard, if none has been heard further."""
        latest = set(self._latest.values())
        return latest.pop() if len(latest) == 1 and not self._ahead else None

    def waits(self, what: str, stage: str) -> list[Waited]:
        """How long what was due in a stage waited, at each worker."""
        return list(self._waits.get(tag_of(stage, what), {}).values())

    def per_s(self, what: str) -> float | None:
        """How often per second something happened that nobody had a schedule of; None: too seldom to tell."""
        moments = self._moments.get(what)
        return None if moments is None else moments.per_s()

    def histograms(self) -> dict[str, Histogram]:
        """Over the whole run, by tag."""
        return dict(self._totals)

    def metrics(self, stages: Collection[str]) -> dict[str, MetricSummary]:
        """Summaries by metric name, over these stages together."""
        wanted = frozenset(stages)
        if wanted not in self._summaries:  # a result asks for the same ones many times
            histograms: dict[str, Histogram] = {}
            for tag, total in self._totals.items():
                stage, metric = stage_of(tag)
                if stage in wanted:
                    histograms.setdefault(metric, Histogram()).add(total)
            self._summaries[wanted] = {metric: histograms[metric].summary() for metric in sorted(histograms)}
        return dict(self._summaries[wanted])
