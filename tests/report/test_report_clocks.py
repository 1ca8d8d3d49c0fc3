"""What a result says of clocks that are not ours, wherever it is shown."""

from __future__ import annotations

import io

import msgspec
import pytest
from report_samples import run
from rich.console import Console

from loadgen.measure.clock_readings import ClockReading, Clocks, Sides
from loadgen.report.clocks import clock_lines
from loadgen.report.html import run_page
from loadgen.report.markdown import run_markdown
from loadgen.report.terminal import summary

AHEAD = ClockReading("192.0.2.1:16113", 3, 3, 2_000_000_000, 150_000, 30_000, 2, 2_000)
BEHIND = ClockReading("[2001:db8::1]:16113", 1, 1, -40_000_000, 1_000_000)
SLOW = ClockReading("192.0.2.3:1", 1, 0, -5_000_000, 100_000)
FINE = ClockReading("192.0.2.4:1", 1, 0, 20_000, 100_000)
BACK = ClockReading("192.0.2.5:1", 1, 1, -300_000_000, 200_000, None, 1)
BACK_LINE = (
    "192.0.2.5:1's clock is behind ours by 300 ms, ± 200 µs, or it holds its notifications for so long, "
    "drift not known, was set once"
)
LESS = (
    "durations of notifications may be 2.00 s less, if a clock was set or stood still before that was known, "
    "or a wrong time was taken for that"
)


@pytest.mark.parametrize(
    ("clocks", "lines"),
    [
        (Clocks(), []),
        (
            Clocks(more_ns=300_000_000, held_ns=300_000_000),
            ["durations of notifications may be 300 ms longer, if that was held which was taken for a clock"],
        ),
        (
            Clocks(3, less_ns=2_000_000_000, more_ns=120_000, readings=(FINE,)),
            ["clocks of WLCs: 3 agree with ours, to within 120 µs", LESS],
        ),
        # It was put back, and durations are corrected by that, from when it was known on.
        (
            Clocks(1, 1, 0, 300_000_000, 300_400_000, (BACK,), 300_000_000),
            [
                f"{BACK_LINE}: durations of notifications are corrected as for a clock",
                "durations of notifications may be 300 ms longer, if that was held which was taken for a clock",
                LESS.replace("2.00 s", "300 ms"),
            ],
        ),
        # It was put back, and nothing told by how much before the end.
        (
            Clocks(1, 0, 0, 300_000_000, 400_000, (msgspec.structs.replace(BACK, corrected=0),)),
            [f"{BACK_LINE}: not corrected", LESS.replace("2.00 s", "300 ms")],
        ),
        # A WLC that is slow: what is said of its clock is all.
        (
            Clocks(1, 0, 0, 5_100_000, 0, (SLOW,)),
            [
                "192.0.2.3:1's clock is behind ours by 5.00 ms, ± 100 µs, or it holds its notifications for so long, "
                "drift not known: not corrected",
            ],
        ),
        (
            Clocks(1, 0, 0, 100_000, 80_120_000, (FINE,), lone=3, lone_ns=80_000_000),
            [
                "clocks of WLCs: 1 agree with ours, to within 120 µs",
                "reads of notifications that alone have a WLC's clock further ahead: 3, taken for wrong times",
                "durations of notifications may be 80.0 ms longer, if one that was faster than all others is right",
            ],
        ),
        # A clock in whole seconds, and a read that stands alone: how far it may be off is said beside that.
        (
            Clocks(1, less_ns=1_005_000_000, more_ns=1_018_400_000, readings=(FINE,), lone_ns=18_400_000),
            [
                "clocks of WLCs: 1 agree with ours, to within 1.00 s",
                "durations of notifications may be 18.4 ms longer, if one that was faster than all others is right",
            ],
        ),
        # How long it would have been held, nothing tells.
        (
            Clocks(1, more_ns=1_700_000_000 * 10**9, readings=(FINE,), held_ns=1_700_000_000 * 10**9),
            [
                "clocks of WLCs: 1 agree with ours, to within 0 ns",
                "durations of notifications may be an unknown time, more than 1 h, longer, if that was held which was "
                "taken for a clock",
            ],
        ),
        (
            Clocks(1, more_ns=120_000, readings=(FINE,), far=1, far_named=("192.0.2.9:1",)),
            [
                "clocks of WLCs: 1 agree with ours, to within 120 µs",
                "WLCs whose times are no clock's, 73 years and more from ours: 1 (192.0.2.9:1): durations of "
                "notifications by them are not known",
            ],
        ),
        (
            Clocks(far=20, far_named=("192.0.2.9:1", "192.0.2.8:1")),
            [
                "WLCs whose times are no clock's, 73 years and more from ours: 20 (192.0.2.9:1, 192.0.2.8:1, and 18 "
                "more): durations of notifications by them are not known",
            ],
        ),
        (Clocks(3, more_ns=120_000, readings=(FINE,)), ["clocks of WLCs: 3 agree with ours, to within 120 µs"]),
        (
            Clocks(4, 2, readings=(AHEAD, BEHIND, SLOW, FINE), held_ns=40_000_000),
            [
                "192.0.2.1:16113's clock is ahead of ours by 2.00 s, ± 150 µs, gains 30 ppm, ± 2 ppm, was set 2 times: "
                "durations of notifications are corrected as for a clock",
                "[2001:db8::1]:16113's clock is behind ours by 40.0 ms, ± 1.00 ms, or it holds its notifications for "
                "so long, drift not known: durations of notifications are corrected as for a clock",
                "192.0.2.3:1's clock is behind ours by 5.00 ms, ± 100 µs, or it holds its notifications for so long, "
                "drift not known: not corrected",
                "durations of notifications may be 40.0 ms longer, if that was held which was taken for a clock",
            ],
        ),
        (
            Clocks(1, 1, readings=(msgspec.structs.replace(AHEAD, steps=0, sides=Sides(2, 2 * 10**9, 1, 40 * 10**6)),)),
            [
                "192.0.2.1:16113 has several clocks, of 3 sessions 2 ahead by up to 2.00 s, 1 behind by up to 40.0 ms: "
                "the surest is ahead of ours by 2.00 s, ± 150 µs, or it holds its notifications for so long, gains 30 "
                "ppm, ± 2 ppm: durations of notifications are corrected as for a clock",
            ],
        ),
        (
            Clocks(1, unsteady=7, readings=(msgspec.structs.replace(FINE, steps=11),)),
            [
                "192.0.2.4:1's clock is ahead of ours by 20.0 µs, ± 100 µs, drift not known, was set 11 times",
                "sessions whose WLC's clock was set again and again: 7, not corrected",
            ],
        ),
    ],
)
def test_clocks_in_sentences(clocks: Clocks, lines: list[str]) -> None:
    assert clock_lines(clocks) == lines


def test_the_rest_is_counted() -> None:
    lines = clock_lines(Clocks(40, 39, readings=(AHEAD,) * 16, held_ns=1), 4)
    assert len(lines) == 6
    assert lines[-1] == "clocks of WLCs: 35 more are not ours"
    both = Clocks(40, 39, readings=(AHEAD,) * 16, sides=Sides(30, 3 * 10**9, 9, 10**6))
    told = "clocks of WLCs: 35 more are not ours; of all sessions 30 ahead by up to 3.00 s, 9 behind by up to 1.00 ms"
    assert clock_lines(both, 4)[-1] == told


def test_every_report_says_so() -> None:
    result = msgspec.structs.replace(run(), clocks=Clocks(1, 1, readings=(BEHIND,), held_ns=40_000_000))
    console = Console(file=io.StringIO(), width=200)
    console.print(summary(result, None))
    assert isinstance(console.file, io.StringIO)
    for text in (console.file.getvalue(), run_markdown(result).replace("\\", ""), run_page(result, {}, "")):
        text = " ".join(text.split())
        assert "behind ours by 40.0 ms, ± 1.00 ms, or it holds its notifications for so long, drift not known" in text
        assert "durations of notifications may be 40.0 ms longer" in text
    assert "Other clocks" not in run_page(run(), {}, "")


def test_a_result_from_before_has_none() -> None:
    document = msgspec.to_builtins(run())
    del document["clocks"]
    assert msgspec.convert(document, type(run())).clocks == Clocks()
