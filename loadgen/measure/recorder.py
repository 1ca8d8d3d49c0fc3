"""Where a worker's events go: counters by name and duration columns by metric. One per shard, no locks."""

from __future__ import annotations

from collections import Counter

import msgspec

from loadgen.measure.clocks import Clocks, PeerClocks
from loadgen.measure.histogram import Bins
from loadgen.measure.moments import MOMENT_NS
from loadgen.measure.stages import AFTER, BEFORE, NO_STAGE, OUTSIDE, Int64s, Part, StageClock, tag_of
from loadgen.measure.waits import Waited, Waits


class Interval(msgspec.Struct, frozen=True):
    """What one worker saw in one interval.

    Attributes:
        index: which interval since the start of the run.
        counters: since the start of the run (not of the interval).
        histograms: tag ("hold/notify.latency") -> encoded histogram of this interval alone.
        waits: tag ("hold/received") -> how long what was due waited, since the stage began; of those that changed.
        moments: what happened -> how often in each moment (`MOMENT_NS` of the monotonic clock) of this interval.
        clocks: how those of its peers stand at the end of it.
    """

    index: int
    counters: dict[str, int]
    histograms: dict[str, bytes]
    waits: dict[str, Waited] = {}
    moments: dict[str, dict[int, int]] = {}
    clocks: Clocks = Clocks()


class Recorder:
    """Counters and durations of one shard. Metric and counter names are listed in docs/metrics.md."""

    def __init__(self, before: str = NO_STAGE, to_unix_ns: int = 0) -> None:
        """Args:
        before: see `StageClock`; a run has a stage for that.
        to_unix_ns: turns the monotonic clock into that of stages.
        """
        self._to_unix_ns = to_unix_ns
        self.counters: Counter[str] = Counter()
        self.stages = StageClock(before)
        self.clocks: PeerClocks | None = None  # of WLCs that may have another clock than we
        self._bins: dict[tuple[str, str], Bins] = {}
        self._waits: dict[tuple[str, str], Waits] = {}
        self._changed: set[tuple[str, str]] = set()  # of the waits, since they were taken
        self._moments: dict[str, dict[int, int]] = {}
        self._clamped = 0  # by bins that are no more

    def count(self, name: str, amount: int = 1) -> None:
        self.counters[name] += amount

    def record(self, metric: str, value_ns: int, stage: str = NO_STAGE) -> None:
        """One duration; for what happens rarely (handshakes, echoes)."""
        self.bins(metric, stage).add_one(value_ns)

    def record_now(self, metric: str, value_ns: int, now_ns: int) -> None:
        """The same, in the stage of now (monotonic); before the load and after it, there is none."""
        stage = self.stages.at(now_ns + self._to_unix_ns)
        if stage not in (BEFORE, AFTER):
            self.record(metric, value_ns, stage)

    def record_column(self, metric: str, values_ns: Int64s, stage: str = NO_STAGE) -> None:
        """A column of durations; for notifications."""
        self.bins(metric, stage).add(values_ns)

    def wait_column(self, what: str, part: Part, due_ns: Int64s, waits_ns: Int64s) -> None:
        """What was due (ns since the epoch) in a stage is done, so long afterwards."""
        if part.stage not in OUTSIDE:
            self._waits_of(part.stage, what).add(due_ns, waits_ns, part.low_ns, part.high_ns)

    def wait(self, what: str, stage: str, due_ns: int, wait_ns: int) -> None:
        """The same, of one."""
        if stage not in OUTSIDE:
            self._waits_of(stage, what).add_one(due_ns, wait_ns)

    def _waits_of(self, stage: str, what: str) -> Waits:
        key = (stage, what)
        self._changed.add(key)
        waits = self._waits.get(key)
        if waits is None:
            waits = self._waits[key] = Waits(self.stages.start_ns(stage))
        return waits

    def happened(self, what: str, now_ns: int) -> None:
        """Note that something happened now, which nobody had a schedule of."""
        moments = self._moments.setdefault(what, {})
        moments[now_ns // MOMENT_NS] = moments.get(now_ns // MOMENT_NS, 0) + 1

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
        waits = {tag_of(stage, what): self._waits[stage, what].waited() for stage, what in sorted(self._changed)}
        moments, self._moments = self._moments, {}
        self._changed.clear()
        clocks = Clocks() if self.clocks is None else self.clocks.survey()
        return Interval(index, dict(self.counters), histograms, waits, moments, clocks)
