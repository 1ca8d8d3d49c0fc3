"""What was due, gathered row by row: recorded when it is enough, when an interval ends, and by its own stages."""

from __future__ import annotations

import numpy as np
import pytest

from loadgen.measure.histogram import Histogram
from loadgen.measure.recorder import Interval, Recorder
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
