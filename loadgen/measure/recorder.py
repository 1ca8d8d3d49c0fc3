"""Where a worker's events go: counters by name and duration columns by metric. One per shard, no locks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property

import msgspec
import numpy as np

from loadgen.measure.clock_readings import Clocks
from loadgen.measure.clocks import PeerClocks
from loadgen.measure.encoded import BINS, HIGHEST_NS
from loadgen.measure.histogram import Bins, Filled
from loadgen.measure.moments import MOMENT_NS
from loadgen.measure.stages import AFTER, BEFORE, NO_STAGE, OUTSIDE, Int64s, Part, StageClock, tag_of
from loadgen.measure.waits import FIRST_TOOK, SHARE, SLOTS, Waited, Waits
from loadgen.native.tally import Aim, NativeTally, native_tally
from loadgen.units import NS_PER_MS, NS_PER_S

_GATHERED_ROWS = 4096
_MANY_ROWS = _GATHERED_ROWS // 2  # are worth recording by themselves
# What a peer did so long before it was due, by its own times, was in time: its timer is coarse, or its clock. What it
# did earlier than that has times that cannot be.
EARLY_NS = 10 * NS_PER_MS


class Interval(msgspec.Struct, frozen=True, dict=True):
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

    @cached_property
    def decoded(self) -> dict[str, Filled]:
        """`histograms`, decoded once: for totals, the interval log, the timeline and the live view.

        Raises:
            ValueError: one of them, which came from elsewhere, is none.
        """
        return Filled.of_all_untrusted(self.histograms)


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
        self._gathered: list[Gathered] = []
        self._tallies: list[StageTally] = []

    def count(self, name: str, amount: int = 1) -> None:
        self.counters[name] += amount

    def record(self, metric: str, value_ns: int, stage: str = NO_STAGE) -> None:
        """One duration; for what happens rarely (handshakes, echoes)."""
        self.bins_of(metric, stage).add_one(value_ns)

    def record_now(self, metric: str, value_ns: int, now_ns: int, count: int = 1) -> None:
        """The same, so often, in the stage of now (monotonic), and in that in which it began, if that was another one:
        what a pause over a stage's end held up was to be done before that. Before the load and after it, there is none.
        """
        at_ns = now_ns + self._to_unix_ns
        for stage in {self.stages.at(at_ns), self.stages.at(at_ns - max(0, value_ns))} - {BEFORE, AFTER}:
            if count == 1:
                self.record(metric, value_ns, stage)
            else:
                self.bins_of(metric, stage).add_same(value_ns, count)

    def record_column_now(self, metric: str, values_ns: Int64s, now_ns: int) -> None:
        """`record_now` of each of them. Args: values_ns: the largest first, and the smallest last."""
        at_ns, stages = now_ns + self._to_unix_ns, self.stages
        if not len(values_ns):
            return
        if (stage := stages.at(at_ns)) != stages.at(at_ns - max(0, int(values_ns[0]))):
            for value in values_ns.tolist():
                self.record_now(metric, value, now_ns)
        elif stage not in (BEFORE, AFTER):
            self.record_column(metric, values_ns, stage)

    def record_column(self, metric: str, values_ns: Int64s, stage: str = NO_STAGE) -> None:
        """A column of durations; for notifications."""
        self.bins_of(metric, stage).add(values_ns)

    def gather(self, metrics: Sequence[Sequence[str]], what: str = "") -> Gathered:
        """See `Gathered`."""
        gathered = Gathered(self, metrics, what)
        self._gathered.append(gathered)
        return gathered

    def tally(
        self, since_due: Sequence[str], since_sent: Sequence[str], what: str, counter: str = ""
    ) -> StageTally | None:
        """See `StageTally`; None: there is no native turn."""
        if (counted := native_tally(BINS, HIGHEST_NS, SLOTS)) is None:
            return None
        tally = StageTally(self, counted, since_due, since_sent, what, counter)
        self._tallies.append(tally)
        self.stages.before_change.append(tally.stop)
        return tally

    def wait_column(self, what: str, part: Part, due_ns: Int64s, waits_ns: Int64s) -> None:
        """What was due (ns since the epoch) in a stage is done, so long afterwards; as far as that can be."""
        if part.stage in OUTSIDE:
            return
        waits = self.waits_of(part.stage, what)
        if np.minimum.reduce(waits_ns) < 0 or np.maximum.reduce(waits_ns) > HIGHEST_NS:
            can_be = (waits_ns >= -EARLY_NS) & (waits_ns <= HIGHEST_NS)
            waits.untold += len(waits_ns) - int(np.count_nonzero(can_be))
            due_ns, waits_ns = due_ns[can_be], np.maximum(waits_ns[can_be], 0)
        if len(waits_ns):
            waits.add(due_ns, waits_ns, part.low_ns, part.high_ns)

    def wait(self, what: str, stage: str, due_ns: int, wait_ns: int) -> None:
        """The same, of one."""
        if stage not in OUTSIDE:
            self.waits_of(stage, what).add_one(due_ns, wait_ns)

    def share(self, what: str, begin_ns: int, end_ns: int) -> None:
        """One was done, and this is when it went on: each stage has its share of it."""
        for stage, start_ns, share in self.stages.shares(begin_ns, end_ns):
            if stage not in OUTSIDE:
                self.waits_of(stage, SHARE + what).add_one(start_ns, round(share * NS_PER_S))

    def took_first(self, what: str, begin_ns: int, end_ns: int) -> None:
        """The first one at its place has ended, however: each stage has the time that it took of it."""
        for stage, start_ns, share in self.stages.shares(begin_ns, end_ns):
            if stage not in OUTSIDE:
                took_ns = round(share * (end_ns - begin_ns))
                self.waits_of(stage, FIRST_TOOK + what).add_one(start_ns, took_ns)

    def waits_of(self, stage: str, what: str) -> Waits:
        """Of what waited in a stage; about to be added to."""
        key = (stage, what)
        self._changed.add(key)
        waits = self._waits.get(key)
        if waits is None:
            waits = self._waits[key] = Waits(self.stages.start_ns(stage))
        return waits

    def happened(self, what: str, now_ns: int) -> None:
        """Note that something happened now that no schedule of ours has a due time of."""
        moments = self._moments.setdefault(what, {})
        moments[now_ns // MOMENT_NS] = moments.get(now_ns // MOMENT_NS, 0) + 1

    def bins(self, metric: str, stage: str = NO_STAGE) -> Bins:
        """All that was counted so far."""
        self._settle()
        return self.bins_of(metric, stage)

    def _settle(self) -> None:
        for gathered in self._gathered:
            gathered.record()
        for tally in self._tallies:
            tally.record()

    def bins_of(self, metric: str, stage: str) -> Bins:
        """To add to."""
        bins = self._bins.get((stage, metric))
        if bins is None:
            bins = self._bins[stage, metric] = Bins()
        return bins

    def take(self, index: int) -> Interval:
        """Close interval `index`."""
        self._settle()
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


class Gathered:
    """Durations of what was due, row by row, until they are enough to be worth recording, or an interval ends.

    To record ten rows costs as much as to record some thousands, and a turn of the loop brings few.
    """

    __slots__ = ("_columns", "_end", "_metrics", "_recorder", "_times_ns", "_what")

    def __init__(self, recorder: Recorder, metrics: Sequence[Sequence[str]], what: str) -> None:
        """Args:
        metrics: of each column, the names that its durations are recorded under.
        what: the first column is also how long this waited (see `Recorder.wait_column`); "": it is not.
        """
        self._recorder = recorder
        self._metrics = metrics
        self._what = what
        self._times_ns = np.empty(_GATHERED_ROWS, np.int64)
        self._columns = [np.empty(_GATHERED_ROWS, np.int64) for _ in metrics]
        self._end = 0

    def add(self, count: int, times_ns: int | Int64s, *columns_ns: int | Int64s) -> None:
        """`count` rows. Args: times_ns: by which they belong to a stage (ns since the epoch): when they were due."""
        if self._end + count > _GATHERED_ROWS or count > _MANY_ROWS:
            self.record()
            if count > _MANY_ROWS:
                self._record(
                    np.broadcast_to(times_ns, count), [np.broadcast_to(column, count) for column in columns_ns]
                )
                return
        rows = slice(self._end, self._end + count)
        self._times_ns[rows] = times_ns
        for column, values in zip(self._columns, columns_ns, strict=True):
            column[rows] = values
        self._end += count

    def record(self) -> None:
        """Hand over what was gathered."""
        if self._end:
            self._record(self._times_ns[: self._end], [column[: self._end] for column in self._columns])
            self._end = 0

    def _record(self, times_ns: Int64s, columns_ns: Sequence[Int64s]) -> None:
        for part in self._recorder.stages.split(times_ns):
            for metrics, column in zip(self._metrics, columns_ns, strict=True):
                values = column[part.rows]
                for metric in metrics:
                    self._recorder.record_column(metric, values, part.stage)
            if self._what:
                self._recorder.wait_column(self._what, part, times_ns[part.rows], columns_ns[0][part.rows])


class StageTally:
    """What the native turn counts by itself, as `Gathered` would: what was due in one stage, until an interval ends.

    Attributes:
        counted: what it counts into.
    """

    __slots__ = ("_counter", "_recorder", "_since_due", "_since_sent", "_stage", "_waits", "_what", "counted")

    def __init__(
        self,
        recorder: Recorder,
        counted: NativeTally,
        since_due: Sequence[str],
        since_sent: Sequence[str],
        what: str,
        counter: str,
    ) -> None:
        """Args:
        since_due, since_sent: the names that these durations are recorded under.
        what: waited so long since it was due. counter: of how many there were; "": nobody counts them.
        """
        self.counted = counted
        self._recorder = recorder
        self._since_due, self._since_sent = since_due, since_sent
        self._what, self._counter = what, counter
        self._stage = NO_STAGE
        self._waits: Waits | None = None

    def aim(self, due_ns: int) -> None:
        """Something was recorded that was due then, which was not counted here: count what else is due in its stage."""
        counted, aim = self.counted, self.counted.aim
        if aim is not None and aim.low_ns <= due_ns < aim.high_ns and self._waits and aim.shift == self._waits.shift:
            return
        self.stop()
        stages = self._recorder.stages
        if (stage := stages.at(due_ns)) not in OUTSIDE:
            self._stage, self._waits = stage, self._recorder.waits_of(stage, self._what)
            counted.count_what(Aim(stages.start_ns(stage), stages.end_ns(stage), self._waits.shift))

    def stop(self) -> None:
        """Count nothing until something else is recorded."""
        self.record()
        self.counted.count_what(None)

    def record(self) -> None:
        """Hand over what was counted."""
        counted, recorder = self.counted, self._recorder
        if not (count := counted.count):
            return
        recorder.stages.note(counted.latest_ns)
        if self._counter:
            recorder.count(self._counter, count)
        for metrics, counts in ((self._since_due, counted.since_due), (self._since_sent, counted.since_sent)):
            for metric in metrics:
                recorder.bins_of(metric, self._stage).add_counts(counts)
        assert counted.aim is not None
        recorder.waits_of(self._stage, self._what).add_counts(counted.waited, counted.waits, counted.aim.shift)
        counted.clear()
