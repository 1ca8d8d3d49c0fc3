"""Where a worker's events go: counters by name and duration columns by metric. One per shard, no locks."""

from __future__ import annotations

from collections import Counter

import msgspec

from loadgen.measure.histogram import Bins
from loadgen.measure.stages import NO_STAGE, Int64s, StageClock, tag_of


class Interval(msgspec.Struct, frozen=True):
    """What one worker saw in one interval.

    Attributes:
        index: which interval since the start of the run.
        counters: since the start of the run (not of the interval).
        histograms: tag ("hold/notify.latency") -> encoded histogram of this interval alone.
        spans: tag -> first and last time (monotonic ns) it was marked since the start of the run.
    """

    index: int
    counters: dict[str, int]
    histograms: dict[str, bytes]
    spans: dict[str, tuple[int, int]]


class Recorder:
    """Counters and durations of one shard. Metric and counter names are listed in docs/metrics.md."""

    def __init__(self, before: str = NO_STAGE) -> None:
        """Args: before: see `StageClock`; a run has a stage for that."""
        self.counters: Counter[str] = Counter()
        self.stages = StageClock(before)
        self._bins: dict[tuple[str, str], Bins] = {}
        self._spans: dict[str, tuple[int, int]] = {}
        self._clamped = 0  # by bins that are no more

    def count(self, name: str, amount: int = 1) -> None:
        self.counters[name] += amount

    def record(self, metric: str, value_ns: int, stage: str = NO_STAGE) -> None:
        """One duration; for what happens rarely (handshakes, echoes)."""
        self.bins(metric, stage).add_one(value_ns)

    def record_column(self, metric: str, values_ns: Int64s, stage: str = NO_STAGE) -> None:
        """A column of durations; for notifications."""
        self.bins(metric, stage).add(values_ns)

    def mark(self, span: str, now_ns: int, stage: str = NO_STAGE) -> None:
        """Note that something happened now; the first and the last time are what rates are computed over."""
        tag = tag_of(stage, span)
        first, _ = self._spans.get(tag, (now_ns, now_ns))
        self._spans[tag] = (first, now_ns)

    def bins(self, metric: str, stage: str = NO_STAGE) -> Bins:
        bins = self._bins.get((stage, metric))
        if bins is None:
            bins = self._bins[stage, metric] = Bins()
        return bins

    def take(self, index: int) -> Interval:
        """Close interval `index`."""
        histograms = {}
        for (stage, metric), bins in list(self._bins.items()):
            if (encoded := bins.take_encoded()) is not None:
                histograms[tag_of(stage, metric)] = encoded
            elif stage:  # over, probably; 400 KiB each, in a search with many stages
                self._clamped += bins.clamped
                del self._bins[stage, metric]
        clamped = self._clamped + sum(bins.clamped for bins in self._bins.values())
        if clamped:
            self.counters["clock.clamped"] = clamped
        return Interval(index, dict(self.counters), histograms, dict(self._spans))
