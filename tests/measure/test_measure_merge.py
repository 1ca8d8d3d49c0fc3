"""From recorders over intervals to one set of figures: nothing lost, nothing twice."""

from __future__ import annotations

import random
import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
from interval_logs import written_log
from measure_samples import HOUR_NS, durations, plain_histogram

from loadgen.measure.histogram import Histogram
from loadgen.measure.hlog import LogLine
from loadgen.measure.intervals import Intervals, WholeInterval
from loadgen.measure.merge import Merger
from loadgen.measure.progress import Recent
from loadgen.measure.recorder import Recorder
from loadgen.measure.stages import AFTER, BEFORE
from loadgen.results.figures import StageSpan, make_metrics

# -- recorder ----------------------------------------------------------------------------------------------------------


def test_counters_go_on_and_histograms_are_of_their_interval() -> None:
    recorder = Recorder()
    recorder.count("a")
    recorder.count("b", 5)
    recorder.record("m", 1000)
    first = recorder.take(0)
    recorder.count("a", 2)
    recorder.record_column("m", np.array([7, 8], np.int64))
    recorder.record("n", 9)
    second = recorder.take(1)
    third = recorder.take(2)
    assert (first.index, second.index, third.index) == (0, 1, 2)
    assert first.counters == {"a": 1, "b": 5}
    assert second.counters == third.counters == {"a": 3, "b": 5}
    assert first.histograms == {"m": bytes(plain_histogram([1000]).encode())}
    assert second.histograms == {
        "m": bytes(plain_histogram([7, 8]).encode()),
        "n": bytes(plain_histogram([9]).encode()),
    }
    assert third.histograms == {}


def test_an_interval_does_not_change_after_it_was_taken() -> None:
    recorder = Recorder()
    recorder.count("a")
    recorder.stages.add(["hold"], [0])
    recorder.happened("s", 5)
    recorder.wait("sent", "hold", 5, 7)
    interval = recorder.take(0)
    recorder.count("a")
    recorder.happened("s", 9)
    recorder.wait("sent", "hold", 6, 8)
    assert interval.counters == {"a": 1}
    assert interval.moments == {"s": {0: 1}}
    assert (interval.waits["hold/sent"].counts[0], interval.waits["hold/sent"].sums[0]) == (1, 7)
    later = recorder.take(1)
    assert later.moments == {"s": {0: 1}}
    assert (later.waits["hold/sent"].counts[0], later.waits["hold/sent"].sums[0]) == (2, 15)


def test_what_comes_before_the_first_stage_of_a_run_has_a_stage_of_its_own() -> None:
    """Else its series would have the name of the figure that a result has of the stages."""
    recorder = Recorder(BEFORE)
    early = [part.stage for part in recorder.stages.split(np.array([5]))]
    recorder.stages.add(["ramp", "hold"], [10, 20])
    for at_ns in (5, 15, 25):
        recorder.record("notify.latency", 1000 + at_ns, recorder.stages.at(at_ns))
    recorder.record("echo.latency", 7)
    taken = recorder.take(0)
    assert early == [BEFORE]
    assert set(taken.histograms) == {
        "before/notify.latency",
        "ramp/notify.latency",
        "hold/notify.latency",
        "echo.latency",
    }
    merger = Merger()
    merger.add("mse-0", taken)
    spans = [StageSpan("hold", True, 0, 0, 1, 0.0, 0.0, {})]
    assert make_metrics(merger, spans)["notify.latency"].count == 1
    assert set(make_metrics(merger, [])) == {"echo.latency"}


def test_clamped_values_are_counted_over_all_metrics_and_intervals() -> None:
    recorder = Recorder()
    assert "clock.clamped" not in recorder.take(0).counters
    recorder.record("m", -1)
    recorder.record_column("n", np.array([-1, HOUR_NS + 1, 5], np.int64))
    assert recorder.take(1).counters["clock.clamped"] == 3
    recorder.record("m", -1)
    assert recorder.take(2).counters["clock.clamped"] == 4


# -- merger ------------------------------------------------------------------------------------------------------------


def test_a_whole_run_of_four_workers() -> None:
    rng = random.Random(4)
    merger = Merger()
    given: list[WholeInterval] = []
    intervals = Intervals(given.append)
    recorders = {f"wlc-{i}": Recorder() for i in range(3)} | {"mse-0": Recorder()}
    values: dict[str, list[int]] = {"m": [], "n": []}
    per_interval: dict[tuple[int, str], list[int]] = {}
    counted: Counter[str] = Counter()
    times: list[int] = []
    for index in range(6):
        for worker, recorder in recorders.items():
            for metric in rng.sample(("m", "n"), rng.randrange(3)):
                column = durations(rng.randrange(10**6), rng.randrange(3, 200))
                recorder.record_column(metric, column)
                values[metric] += column.tolist()
                per_interval.setdefault((index, metric), []).extend(column.tolist())
            for _ in range(rng.randrange(5)):
                name, amount = rng.choice("abc"), rng.randrange(1, 100)
                recorder.count(name, amount)
                counted[name] += amount
            now = rng.randrange(10**9) + index * 10**9
            recorder.happened("established", now)
            times.append(now)
            taken = recorder.take(index)
            merger.add(worker, taken)
            intervals.add(worker, taken, None, None)
    intervals.end()

    assert merger.counters() == counted
    times.sort()
    # A tenth at both ends is left out: of 24, three.
    assert merger.per_s("established") == pytest.approx(17 * 10**9 / (times[20] - times[3]), rel=0.001)
    assert merger.per_s("unheard-of") is None
    assert set(merger.metrics({""})) == {"m", "n"}
    for metric, all_values in values.items():
        whole = Histogram()
        whole.merge(bytes(plain_histogram(all_values).encode()))
        assert merger.metrics({""})[metric] == whole.summary()
        assert merger.histograms()[metric].percentiles(50.0, 99.0) == whole.percentiles(50.0, 99.0)
    assert "unheard-of" not in merger.histograms()

    lines = [line for interval in given for line in interval.lines(0.5)]
    assert [(line.start_s, line.tag) for line in lines] == sorted((i * 0.5, m) for i, m in per_interval)
    for line in lines:
        wanted = plain_histogram(per_interval[round(line.start_s / 0.5), line.tag])
        assert line.histogram.encode() == bytes(wanted.encode())
        assert line.length_s == 0.5


def test_what_a_worker_handed_in_before_it_died_is_kept() -> None:
    merger, dead, alive = Merger(), Recorder(), Recorder()
    for index in range(3):
        alive.count("a")
        alive.record("m", 10)
        merger.add("alive", alive.take(index))
        if index == 0:
            dead.count("a", 100)
            dead.record("m", 1000)
            merger.add("dead", dead.take(index))
    assert merger.counters() == {"a": 103}
    assert merger.metrics({""})["m"].count == 4


def test_adding_up_twice_gives_the_same() -> None:
    merger, recorder = Merger(), Recorder()
    recorder.count("a", 7)
    recorder.record("m", 10)
    merger.add("w", recorder.take(0))
    assert merger.counters() == merger.counters() == {"a": 7}
    assert merger.metrics({""}) == merger.metrics({""})
    assert merger.metrics({""})["m"].count == 1


# -- the interval log --------------------------------------------------------------------------------------------------

START_S = 1_795_000_000.25


def log_lines() -> tuple[list[LogLine], list[list[int]]]:
    lines, values = [], []
    for number, metric in enumerate(["notify.lag", "notify.latency", "notify.lag", "echo.service"]):
        column = durations(number, 50 + number).tolist()
        histogram = Histogram()
        histogram.merge(bytes(plain_histogram(column).encode()))
        lines.append(LogLine(metric, float(number // 2), 1.0, histogram))
        values.append(column)
    return lines, values


def test_the_log_read_back_by_the_library(tmp_path: Path) -> None:
    lines, values = log_lines()
    path = tmp_path / "x.hlog"
    path.write_text(written_log(START_S, lines), "utf-8")
    reader = HistogramLogReader(str(path), HdrHistogram(1, HOUR_NS, 3))
    for line, column in zip(lines, values, strict=True):
        histogram = reader.get_next_interval_histogram()
        assert histogram is not None
        assert histogram.get_tag() == line.tag
        assert bytes(histogram.encode()) == bytes(plain_histogram(column).encode())
        assert histogram.get_start_time_stamp() == (START_S + line.start_s) * 1000
        assert histogram.get_end_time_stamp() == (START_S + line.start_s + 1) * 1000
    assert reader.get_next_interval_histogram() is None
    assert reader.get_start_time_sec() == START_S
    reader.close()


def test_the_log_line_by_line() -> None:
    lines, values = log_lines()
    head, *rest = written_log(START_S, lines).splitlines()
    assert head == "#[Histogram log format version 1.3]"
    start = re.fullmatch(r"#\[StartTime: (\d+\.\d{3}) \(seconds since epoch\), (\S+)\]", rest[0])
    assert start is not None
    assert float(start[1]) == START_S
    assert datetime.fromisoformat(start[2]) == datetime.fromtimestamp(START_S, UTC)
    assert rest[1] == '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"'
    assert len(rest) == 2 + len(lines)
    for text, line, column in zip(rest[2:], lines, values, strict=True):
        tag, begin, length, maximum, payload = text.split(",")
        assert tag == f"Tag={line.tag}"
        assert (float(begin), float(length)) == (line.start_s, line.length_s)
        assert float(maximum) * 1e6 >= max(column) * 0.999  # in ms
        assert float(maximum) * 1e6 <= max(column) * 1.002 + 500
        assert payload == plain_histogram(column).encode().decode("ascii")


@pytest.mark.parametrize("start_s", [1_700_000_000.9996, 1_700_000_001.0004, 1_799_999_999.99951, 0.0, 0.0006])
def test_the_start_is_one_instant_in_both_of_its_forms(start_s: float) -> None:
    line = written_log(start_s, []).splitlines()[1]
    start = re.fullmatch(r"#\[StartTime: (\d+\.\d{3}) \(seconds since epoch\), (\S+)\]", line)
    assert start is not None
    assert datetime.fromisoformat(start[2]) == datetime.fromtimestamp(float(start[1]), UTC)
    assert abs(float(start[1]) - start_s) <= 0.0005 + 1e-6


def test_an_empty_log_has_its_head() -> None:
    text = written_log(START_S, [])
    assert text.endswith("\n")
    assert len(text.splitlines()) == 3


# -- a run in progress -------------------------------------------------------------------------------------------------


def test_rates_of_the_last_interval_are_summed_over_the_workers() -> None:
    recent, first, second = Recent(0.5), Recorder(), Recorder()
    assert set(recent.rates().values()) == {0}
    for index, amount in ((0, 10), (1, 20), (3, 30)):  # interval 2 of this worker never came
        first.count("notify.sent", amount)
        recent.add("wlc-1", first.take(index))
    for index, amount in ((0, 1), (1, 4)):
        second.count("notify.sent", amount)
        for _ in range(2):
            second.record("notify.lag", 100 * (index + 1))
        recent.add("wlc-2", second.take(index))
    rates = recent.rates()
    assert rates["notify.sent"] == 30 / (2 * 0.5) + 4 / 0.5
    assert rates["notify.received"] == 0
    assert recent.percentiles("notify.lag", 50.0, 99.0) == (200, None)  # of the last interval alone
    assert recent.percentiles("echo.service", 50.0) == (None,)


def test_an_interval_that_is_told_in_parts_is_one_for_whoever_watches() -> None:
    recent, recorder = Recent(0.5), Recorder()
    for index, amount in ((0, 10), (1, 3), (1, 4), (1, 5)):
        recorder.count("notify.sent", amount)
        recorder.record("notify.lag", 100 * amount)
        recent.add("wlc-1", recorder.take(index))
    assert recent.rates()["notify.sent"] == (3 + 4 + 5) / 0.5
    assert recent.percentiles("notify.lag", 50.0) == (400,)
    recorder.count("notify.sent", 6)
    recent.add("wlc-1", recorder.take(2))
    assert recent.rates()["notify.sent"] == 6 / 0.5
    recent.add("wlc-1", recorder.take(1))  # late: it changes nothing
    assert recent.rates()["notify.sent"] == 6 / 0.5


def test_no_interval_is_whole_of_which_more_was_told() -> None:
    """It is counted, but nobody can say until when."""
    merger, wlc, mse = Merger(), Recorder(), Recorder()
    for recorder in (wlc, mse):
        recorder.count("a")
    merger.add("wlc-0", wlc.take(0))
    merger.add("mse-0", mse.take(0))
    assert merger.whole_interval() == 0
    wlc.count("a")
    wlc.record("m", 7)
    merger.add("wlc-0", wlc.take(1), goes_on=True)
    assert merger.counters()["a"] == 3
    assert merger.whole_interval() is None
    merger.settle(["wlc-0"])
    assert merger.told("wlc") == [0]  # and not until the end of the next one
    merger.add("mse-0", mse.take(1))
    assert merger.whole_interval() is None
    wlc.record("m", 8)
    merger.add("wlc-0", wlc.take(1))
    assert merger.whole_interval() == 1
    assert merger.histograms()["m"].count == 2


def test_of_a_worker_that_told_of_a_part_alone_no_interval_is_over() -> None:
    merger = Merger()
    merger.add("wlc-0", Recorder().take(3), goes_on=True)
    merger.settle(["wlc-0"])
    assert merger.told("wlc") == [2]


def test_what_goes_by_the_time_it_happens_belongs_to_the_stages_in_which_it_began_and_ended() -> None:
    """Before the load and after it, there is none: what was held up over the load's end was to be done in it."""
    recorder = Recorder(BEFORE, to_unix_ns=1_000)
    recorder.stages.add(["ramp", "hold", AFTER], [1_010, 1_020, 1_030])
    for now, value in ((9, 1), (11, 2), (19, 3), (22, 4), (31, 5), (40, 6)):
        recorder.record_now("m", value, now)
    assert recorder.take(0).histograms == {
        "ramp/m": bytes(plain_histogram([2, 3, 4]).encode()),
        "hold/m": bytes(plain_histogram([4, 5]).encode()),
    }
