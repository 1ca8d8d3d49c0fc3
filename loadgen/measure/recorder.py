"""Where a worker's events go: counters by name and duration columns by metric. One per shard, no locks."""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadgen.measure.histogram import Bins


class Interval(msgspec.Struct, frozen=True):
    """What one worker saw in one interval.

    Attributes:
        index: which interval since the start of the run.
        counters: since the start of the run (not of the interval).
        histograms: metric -> encoded histogram of this interval alone.
        spans: name -> first and last time (monotonic ns) it was marked since the start of the run.
    """

    index: int
    counters: dict[str, int]
    histograms: dict[str, bytes]
    spans: dict[str, tuple[int, int]]


class Recorder:
    """Counters and durations of one shard. Metric and counter names are listed in docs/metrics.md."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self._bins: dict[str, Bins] = {}
        self._spans: dict[str, tuple[int, int]] = {}

    def count(self, name: str, amount: int = 1) -> None:
        self.counters[name] += amount

    def record(self, metric: str, value_ns: int) -> None:
        """One duration; for what happens rarely (handshakes, echoes)."""
        self.bins(metric).add_one(value_ns)

    def record_column(self, metric: str, values_ns: NDArray[np.int64]) -> None:
        """A column of durations; for notifications."""
        self.bins(metric).add(values_ns)

    def mark(self, span: str, now_ns: int) -> None:
        """Note that something happened now; the first and the last time are what rates are computed over."""
        first, _ = self._spans.get(span, (now_ns, now_ns))
        self._spans[span] = (first, now_ns)

    def bins(self, metric: str) -> Bins:
        bins = self._bins.get(metric)
        if bins is None:
            bins = self._bins[metric] = Bins()
        return bins

    def take(self, index: int) -> Interval:
        """Close interval `index`."""
        histograms = {}
        for metric, bins in self._bins.items():
            if (histogram := bins.take()) is not None:
                histograms[metric] = histogram.encode()
        clamped = sum(bins.clamped for bins in self._bins.values())
        if clamped:
            self.counters["clock.clamped"] = clamped
        return Interval(index, dict(self.counters), histograms, dict(self._spans))
