"""Intervals are let go of when they are whole: into a log that grows, and a timeline that does not."""

from __future__ import annotations

import errno
import gc
import os
import random
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
from interval_logs import log_to_be
from measure_samples import HOUR_NS, plain_histogram

from loadgen.errors import InputError
from loadgen.measure.encoded import BinsAndCounts, bins_and_counts
from loadgen.measure.histogram import Filled, Histogram, merged
from loadgen.measure.hlog import IntervalLog, LogLine, read_hlog_untrusted
from loadgen.measure.intervals import LATE, Intervals, WholeInterval
from loadgen.measure.merge import Merger
from loadgen.measure.progress import Recent
from loadgen.measure.recorder import Interval
from loadgen.results import timeline as timelines
from loadgen.results.timeline import TimelineBuilder

MS = 1_000_000
START_S = 1_795_000_000.5
TAG = "hold/notify.latency"


def interval(index: int, values: list[int] | None = None, tag: str = TAG, **counters: int) -> Interval:
    encoded = {tag: bytes(plain_histogram(values).encode())} if values else {}
    return Interval(index, {name.replace("__", "."): count for name, count in counters.items()}, encoded, {})


def whole(index: int, values: list[int] | None = None, tag: str = TAG, **counters: int) -> WholeInterval:
    made = WholeInterval(index)
    made.add("w", interval(index, values, tag, **counters), float(index), index)
    return made


def buckets(histogram: Histogram) -> dict[int, int]:
    return dict(zip(*histogram.buckets(), strict=True))


# -- whole intervals ---------------------------------------------------------------------------------------------------


def test_an_interval_is_given_as_soon_as_everybody_has_closed_it() -> None:
    given: list[WholeInterval] = []
    intervals = Intervals(given.append)
    intervals.expect(["a", "b"])
    intervals.add("a", interval(0, [1]), 0.1, 1)
    assert given == []
    intervals.add("b", interval(0, [2]), None, 1)  # at the end of a load: it may go on
    assert given == []
    intervals.add("b", interval(0, [3]), 0.1, 2)
    (first,) = given
    assert first.index == 0
    assert first.active == 2
    assert first.cpu_s == {"a": 0.1, "b": 0.1}
    (line,) = first.lines(1.0)
    assert line.histogram.encode() == plain_histogram([1, 2, 3]).encode()


def test_each_histogram_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Totals, the interval log, the timeline and the live view share what was decoded."""
    decoded: list[bytes] = []

    def noting(encoded: Sequence[bytes]) -> list[BinsAndCounts]:
        decoded.extend(encoded)
        return bins_and_counts(encoded)

    monkeypatch.setattr("loadgen.measure.histogram.bins_and_counts", noting)
    merger, recent, timeline = Merger(), Recent(1.0), TimelineBuilder(10**9)
    lines: list[LogLine] = []

    def take(each: WholeInterval) -> None:
        timeline.add(each, (each.index + 1) * 10**9)
        lines.extend(each.lines(1.0))

    intervals, handed = Intervals(take), []
    intervals.expect(["a", "b"])
    for number in range(6):
        worker, index = "ab"[number % 2], number // 2
        part = interval(index, [number + 1, 9 * MS])
        handed += part.histograms.values()
        merger.add(worker, part)
        recent.add(worker, part)
        intervals.add(worker, part, 0.1, 1)
        for percent in (50.0, 50.0):  # twice for each interval, as the view is redrawn
            assert recent.percentiles("notify.latency", percent) != (None,)
    assert decoded == handed
    assert merger.metrics(["hold"])["notify.latency"].count == 12
    assert [line.histogram.count for line in lines] == [4, 4, 4]
    assert timeline.build(0).columns["notify.latency.max"] == (plain_histogram([9 * MS]).get_max_value(),) * 3


def test_of_very_many_workers_an_interval_keeps_one_histogram_a_tag() -> None:
    """And it is what all of theirs come to; the timeline and the log have the same."""
    rng, given, timeline = random.Random(5), list[WholeInterval](), TimelineBuilder(10**9)
    intervals = Intervals(given.append)
    workers = [f"mse-{number}" for number in range(100)]
    intervals.expect(workers)
    columns = [[rng.randrange(1, 50 * MS) for _ in range(20)] for _ in workers]
    for worker, column in zip(workers, columns, strict=True):
        intervals.add(worker, interval(0, column), 0.1, 1)
    (each,) = given
    assert each.parts == {TAG: []}
    timeline.add(each, 10**9)
    (line,) = each.lines(1.0)
    exact = plain_histogram([value for column in columns for value in column])
    assert line.histogram.encode() == exact.encode()
    assert timeline.build(None).columns["notify.latency.max"] == (exact.get_max_value(),)


def test_a_worker_that_hands_in_nothing_more_is_not_waited_for() -> None:
    given: list[WholeInterval] = []
    intervals = Intervals(given.append)
    intervals.expect(["a", "b"])
    for index in range(3):
        intervals.add("a", interval(index), 0.1, 1)
    intervals.part_with("b")
    assert [each.index for each in given] == [0, 1, 2]
    intervals.add("a", interval(3), None, 1)
    assert len(given) == 3
    intervals.end()
    assert [each.index for each in given] == [0, 1, 2, 3]


def test_sessions_that_end_with_the_run_were_there_to_the_end_of_the_load() -> None:
    """In the interval in which it ends, and in those after; and what comes late says nothing of how many there were."""
    given: list[WholeInterval] = []
    intervals = Intervals(given.append)
    for index, active in enumerate((0, 4, 3, None, None)):
        intervals.add("a", interval(index), 0.1, active)
    intervals.add("a", interval(1), 0.1, None)
    intervals.end()
    assert [(each.index, each.active) for each in given] == [(0, 0), (1, 4), (2, 3), (3, 3), (4, 3), (1, None)]


def test_one_that_is_far_behind_is_not_waited_for_and_loses_nothing() -> None:
    given: list[WholeInterval] = []
    intervals = Intervals(given.append)
    intervals.expect(["a", "slow"])
    for index in range(LATE + 3):
        intervals.add("a", interval(index, [index + 1]), 0.1, 1)
    assert [each.index for each in given] == [0, 1, 2]
    intervals.add("slow", interval(1, [100]), 0.1, 1)
    assert [each.index for each in given] == [0, 1, 2, 1]
    assert given[-1].counters.keys() == {"slow"}
    assert [line.histogram.count for line in given[-1].lines(1.0)] == [1]


def test_whoever_is_late_every_value_is_given_once() -> None:
    rng = random.Random(7)
    given: list[WholeInterval] = []
    intervals = Intervals(given.append)
    ahead = dict.fromkeys("abcd", 0)
    intervals.expect(ahead)
    wanted: Counter[int] = Counter()
    while any(index < 60 for index in ahead.values()):
        worker = rng.choice([worker for worker, index in ahead.items() if index < 60])
        for _ in range(rng.choice([1, 1, 1, 25])):  # now and then one is far ahead of the others
            wanted[ahead[worker]] += 1
            intervals.add(worker, interval(ahead[worker], [5]), 0.1, 1)
            ahead[worker] += 1
    intervals.end()
    found: Counter[int] = Counter()
    for each in given:
        found[each.index] += sum(line.histogram.count for line in each.lines(1.0))
    assert found == wanted
    firsts = list(dict.fromkeys(each.index for each in given))
    assert firsts == sorted(firsts)
    assert len(given) > len(firsts)


# -- the timeline ------------------------------------------------------------------------------------------------------


def test_rows_become_longer_and_stay_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timelines, "MOST_ROWS", 8)
    rng, builder = random.Random(3), TimelineBuilder(10**9)
    columns = [[rng.randrange(1, 50 * MS) for _ in range(60)] for _ in range(21)]
    for index, column in enumerate(columns):
        builder.add(whole(index, column, notify__sent=(index + 1) ** 2), (index + 1) * 10**9)
    built = builder.build(2 * 10**9)
    assert built.interval_s == 4.0
    assert built.start_s == (-2.0, 2.0, 6.0, 10.0, 14.0, 18.0)
    for row in range(5):
        exact = merged(
            Filled.of_untrusted(bytes(plain_histogram(column).encode())) for column in columns[4 * row : 4 * row + 4]
        )
        figures = tuple(built.columns[f"notify.latency.{name}"][row] for name in ("p50", "p99", "max"))
        assert figures == (*exact.percentiles(50.0, 99.0), exact.max_ns)
    assert built.columns["notify.latency.p99"][5] is None  # of 60 values there is none
    sent = [0, 16, 64, 144, 256, 400]
    assert built.columns["notify.sent_per_s"] == (
        *((now - before) / 4 for before, now in pairwise(sent)),
        41.0,  # the last row is one interval long so far
    )
    assert built.columns["sessions.active"] == (3, 7, 11, 15, 19, 20)
    assert built.columns["cpu.w"] == (None, 1.0, 1.0, 1.0, 1.0, 1.0)


def test_what_came_again_is_in_no_rate_of_a_run_as_it_goes_on_or_afterwards() -> None:
    builder, recent = TimelineBuilder(10**9), Recent(1.0)
    for index in range(3):
        came = 50 * (index + 1)
        counters = {"notify__received": 2 * came, "notify__duplicated": came}
        builder.add(whole(index, [MS] * 100, **counters), (index + 1) * 10**9)
        recent.add("mse-0", interval(index, [MS] * 100, **counters))
    assert builder.build(None).columns["notify.received_per_s"] == (50.0, 50.0, 50.0)
    assert recent.rates()["notify.received"] == 50.0


def test_what_is_late_belongs_to_its_own_row() -> None:
    builder = TimelineBuilder(10**9)
    for index in range(3):
        builder.add(whole(index, [MS] * 100, notify__sent=10 * (index + 1)), (index + 1) * 10**9)
    late = WholeInterval(1)
    late.add("slow", interval(1, [9 * MS] * 100, notify__sent=5), None, None)
    builder.add(late, 3 * 10**9)
    built = builder.build(None)
    assert built.columns["notify.sent_per_s"] == (10.0, 15.0, 10.0)
    assert [(value or 0) > 8 * MS for value in built.columns["notify.latency.max"]] == [False, True, False]
    assert built.columns["sessions.active"] == (0, 1, 2)


def test_what_is_kept_of_a_run_does_not_grow_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run, and one that is four times as long: both have all the rows that there can be."""
    monkeypatch.setattr(timelines, "MOST_ROWS", 20)
    encoded = bytes(plain_histogram([MS, 3 * MS, 40 * MS]).encode())
    log, builder = IntervalLog(tmp_path / "x.hlog", START_S), TimelineBuilder(10**9)

    def keep(each: WholeInterval) -> None:
        log.append(each.lines(1.0))
        builder.add(each, (each.index + 1) * 10**9)

    intervals = Intervals(keep)

    def feed(indexes: range) -> int:
        for index in indexes:
            counters = {"notify.sent": index}
            intervals.add("a", Interval(index, counters, {TAG: encoded, "echo.lag": encoded}, {}), 0.1 * index, 1)
        return tracemalloc.get_traced_memory()[0]

    collecting = gc.isenabled()
    gc.disable()  # nothing may wait for it
    tracemalloc.start()
    try:
        short = feed(range(20))
        long = feed(range(20, 80))
    finally:
        tracemalloc.stop()
        if collecting:
            gc.enable()
    # One histogram takes 270 kB.
    assert long - short < 200_000
    assert len(builder.build(None).start_s) <= 20
    assert log.close() == ""
    assert read_hlog_untrusted(tmp_path / "x.hlog")[TAG].count == 3 * 80


# -- the log that grows ------------------------------------------------------------------------------------------------


def read_by_library(path: Path) -> list[tuple[str, float, int]]:
    reader = HistogramLogReader(str(path), HdrHistogram(1, HOUR_NS, 3))
    found = []
    while (histogram := reader.get_next_interval_histogram()) is not None:
        found.append((histogram.get_tag(), histogram.get_start_time_stamp(), histogram.get_total_count()))
    reader.close()
    return found


def test_every_interval_is_in_the_file_as_soon_as_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "x.hlog"
    log = IntervalLog(path, START_S)
    assert path.read_text("ascii") == log_to_be(START_S, [])
    lines = []
    for index in (0, 1, 3, 2):  # the last one was late
        more = list(whole(index, [index + 1] * (index + 1)).lines(1.0))
        log.append(more)
        lines += more
        assert path.read_text("ascii") == log_to_be(START_S, lines)
    assert log.close() == log.close() == ""
    assert read_by_library(path) == [(TAG, (START_S + index) * 1e3, index + 1) for index in (0, 1, 3, 2)]


def test_a_full_disk_costs_what_it_does_not_take_and_leaves_no_half_of_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.hlog"
    log = IntervalLog(path, START_S)
    log.append(whole(0, [1]).lines(1.0))
    write, left = os.write, [40]

    def full(fd: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done, left[0] = write(fd, data[: left[0]]), 0
        return done

    monkeypatch.setattr(os, "write", full)
    log.append(whole(1, [1]).lines(1.0))
    log.append(whole(2, [1]).lines(1.0))
    monkeypatch.undo()
    assert path.read_text("ascii") == log_to_be(START_S, whole(0, [1]).lines(1.0))
    log.append(whole(3, [1]).lines(1.0))
    assert log.close() == "no space left on device (2 lines are missing)"
    assert "# 2 lines could not be written here: no space left on device\n" in path.read_text("ascii")
    assert [start for _, start, _ in read_by_library(path)] == [START_S * 1e3, (START_S + 3) * 1e3]
    assert read_hlog_untrusted(path)[TAG].count == 2


def test_a_disk_that_was_full_from_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_fd: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "x.hlog"
    monkeypatch.setattr(os, "write", full)
    log = IntervalLog(path, START_S)
    monkeypatch.undo()
    log.append(whole(3, [1]).lines(1.0))
    assert path.read_text("ascii") == log_to_be(START_S, whole(3, [1]).lines(1.0))
    assert log.close() == "no space left on device"


@pytest.mark.parametrize("instead", [None, "another"])
def test_a_log_that_is_not_there_any_more(tmp_path: Path, instead: str | None) -> None:
    path = tmp_path / "x.hlog"
    log = IntervalLog(path, START_S)
    path.unlink()
    if instead is not None:
        path.write_text(instead, "ascii")
    log.append(whole(0, [1]).lines(1.0))
    assert log.close() == ("no such file or directory" if instead is None else "another file in its place")


def test_a_log_that_cannot_be_made(tmp_path: Path) -> None:
    log = IntervalLog(tmp_path / "gone" / "x.hlog", START_S)
    log.append(whole(0, [1]).lines(1.0))
    assert log.close() == "no such file or directory (1 lines are missing)"


def test_of_an_unfinished_log_every_whole_line_counts(tmp_path: Path) -> None:
    """However many bytes of the last line came to the disk."""
    path = tmp_path / "x.hlog"
    lines = [line for index in range(3) for line in whole(index, [index + 1]).lines(1.0)]
    complete = log_to_be(START_S, lines).encode()
    start = complete.rindex(b"Tag=")
    for end in (*range(start, start + 60), len(complete) - 1):
        path.write_bytes(complete[:end])
        assert buckets(read_hlog_untrusted(path, unfinished=True)[TAG]) == {1: 1, 2: 1}
    with pytest.raises(InputError, match="a whole line"):
        read_hlog_untrusted(path)
    path.write_bytes(complete)
    assert buckets(read_hlog_untrusted(path, unfinished=True)[TAG]) == {1: 1, 2: 1, 3: 1}
