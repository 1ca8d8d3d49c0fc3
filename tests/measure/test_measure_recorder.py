"""What was due, gathered row by row: recorded when it is enough, when an interval ends, and by its own stages."""

from __future__ import annotations

import numpy as np
import pytest

from loadgen.measure.histogram import Histogram, bin_of
from loadgen.measure.recorder import Interval, Recorder, StageTally
from loadgen.native.library import native, standing
from loadgen.units import NS_PER_MS, NS_PER_S

MS, S = NS_PER_MS, NS_PER_S


@pytest.fixture
def recorder() -> Recorder:
    recorder = Recorder()
    recorder.stages.add(["warmup", "hold"], [0, S])
    return recorder


def _histograms(interval: Interval) -> dict[str, Histogram]:
    found = {tag: Histogram() for tag in interval.histograms}
    for tag, histogram in found.items():
        histogram.merge(interval.histograms[tag])
    return found


def _counts(recorder: Recorder, index: int = 0) -> dict[str, int]:
    return {tag: histogram.count for tag, histogram in _histograms(recorder.take(index)).items()}


class TestGathered:
    def test_an_interval_has_all_that_was_gathered_until_its_end(self, recorder: Recorder) -> None:
        lag = recorder.gather([("lag", "own")], "sent")
        lag.add(1, S + 3 * MS, 2 * MS)
        lag.add(2, np.array([S + 4 * MS, S + 5 * MS]), np.array([MS, MS]))
        assert _counts(recorder) == {"hold/lag": 3, "hold/own": 3}
        assert _counts(recorder, 1) == {}
        lag.add(1, S + 6 * MS, 2 * MS)
        assert _counts(recorder, 2) == {"hold/lag": 1, "hold/own": 1}

    def test_rows_belong_to_the_stage_in_which_they_were_due(self, recorder: Recorder) -> None:
        lag = recorder.gather([("lag",)])
        for due in (S - 2 * MS, S - MS, S, S + MS, S + 2 * MS):
            lag.add(1, due, MS)
        recorder.stages.add(["next"], [2 * S])
        lag.add(1, 2 * S, MS)
        assert _counts(recorder) == {"warmup/lag": 2, "hold/lag": 3, "next/lag": 1}

    @pytest.mark.parametrize("batch", [1, 999, 4096, 4097, 10_000])
    def test_no_row_is_lost_however_many_come_at_once(self, recorder: Recorder, batch: int) -> None:
        both = recorder.gather([("latency",), ("service",)], "received")
        for first in range(0, 10_000, batch):
            due = S + np.arange(first, min(first + batch, 10_000)) * 100_000
            both.add(len(due), due, np.full(len(due), 3 * MS), 2 * MS)
        interval = recorder.take(0)
        found = _histograms(interval)
        assert {tag: histogram.count for tag, histogram in found.items()} == {
            "hold/latency": 10_000,
            "hold/service": 10_000,
        }
        assert found["hold/service"].max_ns == pytest.approx(2 * MS, rel=0.001)
        waited = interval.waits["hold/received"]
        assert (sum(waited.counts), sum(waited.sums)) == (10_000, 10_000 * 3 * MS)

    def test_whoever_asks_for_a_series_sees_all_of_it(self, recorder: Recorder) -> None:
        recorder.gather([("lag",)]).add(1, S, MS)
        taken = recorder.bins("lag", "hold").take()
        assert taken is not None
        assert taken.count == 1


@pytest.mark.skipif(native() is None, reason=f"no native turn: {standing()}")
class TestTally:
    """What the native turn counts by itself. It is played by hand here; `tests/drive` has it run."""

    @pytest.fixture
    def tally(self, recorder: Recorder) -> StageTally:
        tally = recorder.tally(("lag", "own"), ("service",), "sent", "came")
        assert tally is not None
        return tally

    def _count(self, tally: StageTally, since_due_ns: int, due_ns: int, count: int = 1) -> None:
        """As C does."""
        counted, aim = tally.counted, tally.counted.aim
        assert aim is not None
        assert aim.low_ns <= due_ns < aim.high_ns
        slot = (due_ns - aim.low_ns) >> aim.shift
        counted.since_due[bin_of(np.array([since_due_ns]))] += count
        counted.since_sent[0] += count
        counted.waited[slot] += count
        counted.waits[slot] += count * since_due_ns
        counted.address.count += count
        counted.address.latest = max(counted.address.latest, due_ns)

    def test_nothing_is_counted_before_it_is_known_of_which_stage(self, tally: StageTally) -> None:
        assert tally.counted.aim is None

    def test_an_interval_has_all_that_was_counted_until_its_end(self, recorder: Recorder, tally: StageTally) -> None:
        tally.aim(S + 1)
        self._count(tally, 2 * MS, S + 3 * MS, 4)
        interval = recorder.take(0)
        histograms = _histograms(interval)
        assert {tag: each.count for tag, each in histograms.items()} == {
            "hold/lag": 4,
            "hold/own": 4,
            "hold/service": 4,
        }
        assert histograms["hold/lag"].max_ns == pytest.approx(2 * MS, rel=1e-3)
        assert interval.counters["came"] == 4
        waited = interval.waits["hold/sent"]
        assert (waited.done, sum(waited.sums)) == (4, 8 * MS)
        assert recorder.take(1).histograms == {}

    def test_it_is_the_same_as_what_is_gathered(self, recorder: Recorder, tally: StageTally) -> None:
        """Also where slots have become coarser since."""
        other = Recorder()
        other.stages.add(["warmup", "hold"], [0, S])
        gathered = other.gather([("lag", "own")], "sent")
        for since_ns in (0, 900 * MS, 1_300 * MS, 5 * S):
            lag = recorder.gather([("lag", "own")], "sent")
            lag.add(1, S + since_ns, MS)
            lag.record()
            tally.aim(S + since_ns)
            self._count(tally, 3 * MS, S + since_ns, 2)
            gathered.add(3, np.full(3, S + since_ns), np.array([MS, 3 * MS, 3 * MS]))
        ours, theirs = recorder.take(0), other.take(0)
        assert ours.waits == theirs.waits
        assert ours.histograms["hold/own"] == theirs.histograms["hold/own"]

    def test_another_stage_is_counted_by_itself(self, recorder: Recorder, tally: StageTally) -> None:
        tally.aim(S - 1)
        self._count(tally, MS, S - 1)
        tally.aim(S)
        self._count(tally, MS, S, 2)
        tally.aim(-1)
        assert tally.counted.aim is None
        assert {tag: count for tag, count in _counts(recorder).items() if "lag" in tag} == {
            "warmup/lag": 1,
            "hold/lag": 2,
        }

    def test_stages_that_come_to_be_known_change_nothing_of_what_was_counted(
        self, recorder: Recorder, tally: StageTally
    ) -> None:
        tally.aim(S)
        self._count(tally, MS, 2 * S + 5)
        assert recorder.stages.add(["next"], [2 * S]) == 5
        assert tally.counted.aim is None
        assert _counts(recorder) == {"hold/lag": 1, "hold/own": 1, "hold/service": 1}
