"""A run in progress, for whoever watches it."""

from __future__ import annotations

from enum import StrEnum
from itertools import chain
from typing import NamedTuple

from loadgen.loads import LoadKind
from loadgen.measure.books import once
from loadgen.measure.histogram import Histogram
from loadgen.measure.recorder import Interval
from loadgen.measure.stages import stage_of


class Standing(StrEnum):
    """Where a run stands."""

    PREPARING = "preparing"
    CONNECTING = "connecting"
    LOAD = "load"
    DRAINING = "draining"


class Snapshot(NamedTuple):
    """What a run looks like now. Rates and durations (ns) are those of the last interval.

    A percentile is None where that has too few samples for it.
    """

    standing: Standing
    load_stage: str
    elapsed_s: float
    total_s: float
    sessions: int
    active: int
    counters: dict[str, int]
    per_s: dict[str, float]
    latency_p50_ns: int | None
    latency_p99_ns: int | None
    lag_p99_ns: int | None
    handshake_p50_ns: int | None
    handshake_p99_ns: int | None
    kind: LoadKind = LoadKind.NOTIFY


class Recent:
    """Each worker's last interval, for the live view: rates from its counters, percentiles from its histograms."""

    _RATED = (
        "sessions.established",
        "handshakes.due",
        "handshakes.completed",
        "notify.due",
        "notify.sent",
        "notify.received",
    )

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._last: dict[str, list[Interval]] = {}  # in one part or more
        self._ended: dict[str, Interval] = {}  # the one before
        self._rates: dict[str, dict[str, float]] = {}

    def add(self, worker: str, interval: Interval) -> None:
        parts = self._last.setdefault(worker, [])
        if parts and interval.index > parts[-1].index:
            self._ended[worker] = parts[-1]
            parts.clear()
        parts.append(interval)
        if (before := self._ended.get(worker)) is not None and interval.index > before.index:
            seconds = (interval.index - before.index) * self._interval_s
            self._rates[worker] = {
                name: (once(interval.counters, name) - once(before.counters, name)) / seconds for name in self._RATED
            }

    def rates(self) -> dict[str, float]:
        """Per second, summed over the workers."""
        return {name: sum(rates[name] for rates in self._rates.values()) for name in self._RATED}

    def percentiles(self, metric: str, *percents: float) -> tuple[int | None, ...]:
        """Of a metric in the last interval, over all stages that it touched."""
        histogram = Histogram()
        for interval in chain.from_iterable(self._last.values()):
            for tag, filled in interval.decoded.items():
                if stage_of(tag)[1] == metric:
                    histogram.fill(filled)
        return histogram.percentiles(*percents)
