"""What a terminal of 80 columns shows of a result, and of a run that goes on."""

from __future__ import annotations

from io import StringIO

import msgspec
import pytest
import report_samples as samples
from rich.console import Console, RenderableType

from loadgen.capacity.result import LoadTried, Step
from loadgen.compare.result import Decision, Gate
from loadgen.measure.progress import Snapshot, Standing
from loadgen.report.capacity import summary as capacity_summary
from loadgen.report.comparison import comparison_summary
from loadgen.report.figures import interval_shown
from loadgen.report.progress import line
from loadgen.report.terminal import live, summary

REASON = "100% of the p50 of notify.service (11.6 ms) is ours: what came waited 10.6 ms to be read here, at last"


def shown(what: RenderableType, width: int = 80) -> list[str]:
    console = Console(file=StringIO(), width=width)
    console.print(what)
    return [text.rstrip() for text in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_a_reason_of_several_lines_begins_behind_its_mark() -> None:
    run = samples.run()
    verdict = msgspec.structs.replace(run.verdict, reasons=(REASON,), limit_reason=REASON)
    lines = shown(summary(msgspec.structs.replace(run, verdict=verdict), None))
    (first,) = (number for number, text in enumerate(lines) if text.startswith("  · 100%"))
    assert lines[first + 1].startswith("    ")
    assert lines[first + 2].startswith("  limited by scenario: 100%")
    assert lines[first + 3].startswith("  ")
    assert " ".join(text.strip(" ·") for text in lines[first : first + 2]) == REASON


def test_without_durations_there_is_no_table_of_them() -> None:
    assert not any("p99.9" in text for text in shown(summary(samples.empty_run(), None)))
    assert any("p99.9" in text for text in shown(summary(samples.run(), None)))


def snapshot(elapsed_s: float) -> Snapshot:
    return Snapshot(Standing.LOAD, "hold", elapsed_s, 60.0, 2, 2, {}, {}, None, None, None, None, None)


def test_a_load_that_takes_longer_than_planned_is_not_87_of_60_seconds() -> None:
    assert "60.0 / 60 s, 27 s over" in shown(live(snapshot(87.2), "campus"))[0]
    assert line(snapshot(87.2)).startswith("hold 60/60s, 27 s over: ")
    assert "/ 60 s" in shown(live(snapshot(60.3), "campus"))[0]
    assert line(snapshot(60.3)).startswith("hold 60/60s: ")
    assert line(snapshot(31.0)).startswith("hold 31/60s: ")


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_a_comparison_is_cut_off_nowhere(width: int) -> None:
    result = samples.comparison()
    lines = shown(comparison_summary(result), width)
    assert [text for text in lines if text.endswith("…") or "… " in text.replace(" … ", "")] == []
    text = " ".join(" ".join(lines).split())
    for metric in result.metrics:
        assert metric.metric in text
        if metric.gate is not Gate.REPORT and metric.decision is not Decision.PASS:
            assert metric.reason in text
            assert metric.interval is None or interval_shown(metric.interval) in text


def test_a_search_is_cut_off_nowhere() -> None:
    result = samples.capacity()
    found = result.dimensions[0]
    probe = samples.probe(Step.CONFIRM, 1_300_000.0, 0.0, limit=2e6)
    outvoted = msgspec.structs.replace(
        found, probes=(probe,), loads=(LoadTried(1.3e6, False, False, 2, 1, 2, 1, 0, 0),)
    )
    lines = shown(capacity_summary(msgspec.structs.replace(result, dimensions=(outvoted,)), None))
    assert any(text.endswith("held, unlike others") for text in lines)
    assert not any("…" in text for text in lines)
