"""What a result says of clocks that are not ours, wherever it is shown."""

from __future__ import annotations

import io

import msgspec
import pytest
from report_samples import run
from rich.console import Console

from loadgen.measure.clocks import ClockReading, Clocks
from loadgen.report.clocks import clock_lines
from loadgen.report.html import run_page
from loadgen.report.markdown import run_markdown
from loadgen.report.terminal import summary

AHEAD = ClockReading("192.0.2.1:16113", 3, 3, 2_000_000_000, 150_000, 30_000, 2)
BEHIND = ClockReading("[2001:db8::1]:16113", 1, 1, -40_000_000, 1_000_000)
SLOW = ClockReading("192.0.2.3:1", 1, 0, -5_000_000, 100_000)
FINE = ClockReading("192.0.2.4:1", 1, 0, 20_000, 100_000)


@pytest.mark.parametrize(
    ("clocks", "lines"),
    [
        (Clocks(), []),
        (Clocks(3, more_ns=120_000, readings=(FINE,)), ["clocks of WLCs: 3 agree with ours, to within 120 µs"]),
        (
            Clocks(4, 2, readings=(AHEAD, BEHIND, SLOW, FINE)),
            [
                "192.0.2.1:16113's clock is 2.00 s ahead of ours, ± 150 µs, gains 30 ppm, was set 2 times: durations "
                "of notifications are corrected by that",
                "[2001:db8::1]:16113's clock is 40.0 ms behind ours, ± 1.00 ms: durations of notifications are "
                "corrected by that",
                "192.0.2.3:1's clock is 5.00 ms behind ours, ± 100 µs, or it keeps what it has sent: not corrected",
            ],
        ),
        (
            Clocks(1, unsteady=7, readings=(msgspec.structs.replace(FINE, steps=11),)),
            [
                "192.0.2.4:1's clock is 20.0 µs ahead of ours, ± 100 µs, was set 11 times",
                "sessions whose WLC's clock was set again and again: 7, not corrected",
            ],
        ),
    ],
)
def test_clocks_in_sentences(clocks: Clocks, lines: list[str]) -> None:
    assert clock_lines(clocks) == lines


def test_the_rest_is_counted() -> None:
    lines = clock_lines(Clocks(40, 39, readings=(AHEAD,) * 16), 4)
    assert len(lines) == 5
    assert lines[-1] == "clocks of WLCs: 35 more are not ours"


def test_every_report_says_so() -> None:
    result = msgspec.structs.replace(run(), clocks=Clocks(1, 1, readings=(BEHIND,)))
    console = Console(file=io.StringIO(), width=200)
    console.print(summary(result, None))
    assert isinstance(console.file, io.StringIO)
    for text in (console.file.getvalue(), run_markdown(result).replace("\\", ""), run_page(result, {}, "")):
        assert "40.0 ms behind ours, ± 1.00 ms: durations of notifications are corrected by that" in text
    assert "Other clocks" not in run_page(run(), {}, "")


def test_a_result_from_before_has_none() -> None:
    document = msgspec.to_builtins(run())
    del document["clocks"]
    assert msgspec.convert(document, type(run())).clocks == Clocks()
