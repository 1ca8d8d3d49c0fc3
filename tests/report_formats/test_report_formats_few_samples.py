"""A percentile of fewer samples than it has parts is nowhere: not printed, drawn, exported, compared or sent."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import msgspec
import pytest
from compare_samples import METRICS, MS, run
from rich.console import Console

from loadgen.capacity.campaign import Campaign, Observation, Settings
from loadgen.capacity.dimension import Dimension
from loadgen.capacity.result import CapacityResult, Probe
from loadgen.commands.results import export_saved
from loadgen.compare.comparison import compare
from loadgen.compare.metrics import figure
from loadgen.measure.histogram import PERCENTILES, Histogram, MetricSummary, samples_for
from loadgen.measure.intervals import WholeInterval
from loadgen.measure.progress import Recent, Snapshot, Standing
from loadgen.measure.recorder import Interval, Recorder
from loadgen.report import capacity as capacity_report
from loadgen.report.charts import NONE
from loadgen.report.html import capacity_page, headline, run_page
from loadgen.report.markdown import capacity_markdown, run_markdown
from loadgen.report.progress import line
from loadgen.report.terminal import live, summary
from loadgen.results.document import as_json, read_document_untrusted
from loadgen.results.health import GeneratorVerdict, Verdict
from loadgen.results.result import RunResult
from loadgen.results.thresholds import Figures
from loadgen.results.timeline import TimelineBuilder

COUNTS = [1, 2, 9, 10, 19, 22, 99, 100, 999, 1000]
# What a saved result has, however few samples there were. No other figure of the sample reads like one of these.
SAVED = {"p50": 111 * MS, "p90": 222 * MS, "p95": 277 * MS, "p99": 333 * MS, "p99_9": 444 * MS}
SHOWN = {name: f"{ns // MS} ms" for name, ns in SAVED.items()}


def few(count: int) -> MetricSummary:
    """As it is in a saved result."""
    saved = {"unit": "ns", "count": count, "min": 1, "mean": 1.0, "max": 555 * MS, **SAVED}
    return msgspec.json.decode(msgspec.json.encode(saved), type=MetricSummary)


def result(count: int) -> RunResult:
    return run(metrics=dict.fromkeys(METRICS, few(count)))


def meaningful(count: int) -> set[str]:
    return {
        name for name, least in {"p50": 2, "p90": 10, "p95": 20, "p99": 100, "p99_9": 1000}.items() if count >= least
    }


def recorded(count: int) -> Histogram:
    histogram = Histogram()
    histogram.merge(interval(count).histograms["hold/notify.latency"])
    return histogram


def interval(count: int) -> Interval:
    recorder = Recorder()
    for _ in range(count):
        recorder.record("notify.latency", 5 * MS, "hold")
    return recorder.take(0)


def terminal(text: object) -> str:
    console = Console(width=200, no_color=True)
    with console.capture() as captured:
        console.print(text)
    return captured.get()


def exported(path: Path, form: str, capsys: pytest.CaptureFixture[str]) -> str:
    export_saved([path], form, None)
    return capsys.readouterr().out


def test_they_are_as_many_as_the_table_of_the_docs_has() -> None:
    takes = {"p50": 2, "p90": 10, "p95": 20, "p99": 100, "p99_9": 1000}
    assert {name: samples_for(name) for name in PERCENTILES} == takes
    assert {name: samples_for(name) for name in ("count", "min", "mean", "max")} == dict.fromkeys(
        ("count", "min", "mean", "max"), 1
    )


@pytest.mark.parametrize("count", COUNTS)
def test_a_summary_has_only_those_that_mean_something(count: int) -> None:
    for of in (few(count), recorded(count).summary(), msgspec.structs.replace(few(1000), count=count)):
        assert {name for name in PERCENTILES if getattr(of, name) is not None} == meaningful(count)
        assert of.max > 0
    percents = [PERCENTILES[name] for name in SAVED]
    known = recorded(count).percentiles(*percents)
    assert {name for name, value in zip(SAVED, known, strict=True) if value is not None} == meaningful(count)
    assert len([p for p, _, _ in recorded(count).curve() if p == 50.0]) == (1 if count >= 2 else 0)


@pytest.mark.parametrize("count", COUNTS)
def test_a_saved_result_is_shown_and_exported_without_the_others(
    count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Saved by a program that wrote every percentile.
    text = as_json(result(1000)).replace('"count": 1000', f'"count": {count}')
    (tmp_path / "result.json").write_text(text, "utf-8")
    read = read_document_untrusted(tmp_path, RunResult)
    assert read == result(count)
    saved = json.loads(as_json(read))["metrics"]["notify.latency"]
    pages = {
        "terminal": terminal(summary(read, None)),
        "markdown": exported(tmp_path, "markdown", capsys),
        "html": run_page(read, {}, ""),
    }
    tables = {
        form: exported(tmp_path, form, capsys) for form in ("csv", "bmf", "benchmark-smaller", "benchmark-bigger")
    }
    tables |= {"json": as_json(read)}
    for name, ns in SAVED.items():
        there = name in meaningful(count)
        assert (saved[name] == ns) if there else (saved[name] is None)
        assert figure(read, f"notify.latency.{name}") == (ns if there else None)
        for form, page in pages.items():
            # The terminal's table fits into 80 columns; comparisons, and what goes with them, have p50, p90 and p99.
            wanted = there and (form, name) != ("terminal", "p95")
            assert (SHOWN[name] in page) is wanted, (form, name)
        for form, table in tables.items():
            wanted = there and not (form == "benchmark-bigger" or (form.startswith("bench") and name == "p99_9"))
            wanted = wanted and (name != "p95" or form in ("csv", "json"))
            assert (str(ns) in table) is wanted, (form, name)


def test_a_dash_is_where_the_figure_would_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = next(text for text in terminal(summary(result(22), None)).splitlines() if "notify.latency" in text)
    assert row.split() == ["notify.latency", "22", "111", "ms", "222", "ms", "-", "-", "555", "ms"]
    assert "| notify.latency | 22 | 111 ms | 222 ms | 277 ms | - | - | 555 ms |" in run_markdown(result(22))
    known = {
        "count": "22",
        "p50": "111 ms",
        "p90": "222 ms",
        "p95": "277 ms",
        "p99": NONE,
        "p99.9": NONE,
        "max": "555 ms",
    }
    cells = "".join(f'<td class="n" data-label="{label}">{shown}</td>' for label, shown in known.items())
    assert cells in run_page(result(22), {}, "")
    (tmp_path / "result.json").write_text(as_json(result(22)), "utf-8")
    rows = list(csv.DictReader(io.StringIO(exported(tmp_path, "csv", capsys))))
    of = {row["figure"] for row in rows if row["figure"].startswith("notify.latency.")}
    assert of == {f"notify.latency.{name}" for name in ("count", "min", "mean", "p50", "p90", "p95", "max")}


def test_the_headline_is_the_maximum_where_there_is_no_p99() -> None:
    cards = {card.label: card for card in headline(result(22))}
    assert cards["notify.latency max"].value == "555 ms"
    assert cards["notify.latency max"].note.replace("\N{NO-BREAK SPACE}", " ") == "p50 111 ms"
    assert "notify.latency p99" not in cards
    assert {card.label for card in headline(result(100))} >= {"notify.latency p99"}


def test_a_comparison_has_none_of_them() -> None:
    metrics = {m.metric for m in compare([result(22)], [result(22)], paired=False).metrics}
    assert {"notify.latency.p50", "notify.latency.p90", "notify.latency.max"} <= metrics
    assert not {"notify.latency.p99", "notify.latency.p99_9"} & metrics
    one_sided = {m.metric: m for m in compare([result(100)], [result(22)], paired=False).metrics}["notify.latency.p99"]
    assert (one_sided.new, one_sided.reason) == (None, "not measured by new")


@pytest.mark.parametrize(("count", "columns"), [(1, {"max"}), (2, {"p50", "max"}), (100, {"p50", "p99", "max"})])
def test_an_interval_of_the_timeline_has_none_of_them(count: int, columns: set[str]) -> None:
    timeline, whole = TimelineBuilder(10**9), WholeInterval(0)
    whole.parts = {tag: [filled] for tag, filled in interval(count).decoded.items()}
    timeline.add(whole, 10**9)
    assert {n for n in timeline.build(0).columns if "latency" in n} == {f"notify.latency.{c}" for c in columns}


def test_the_progress_has_a_dash() -> None:
    recent = Recent(1.0)
    recent.add("mse-0", interval(22))
    p50, p99 = recent.percentiles("notify.latency", 50.0, 99.0)
    snapshot = Snapshot(Standing.LOAD, "hold", 1.0, 5.0, 1, 1, {}, {}, p50, p99, None, None, None)
    for text in (line(snapshot), terminal(live(snapshot, "quick"))):
        words = text.replace(";", "").split()
        at = words.index("p50")
        assert words[at : at + 5] == ["p50", "5.00", "ms", "p99", "-"]


def test_a_load_of_a_search_has_none_of_them() -> None:
    settings = Settings(Dimension.HANDSHAKES, "handshake.latency", (), 5, 10, 0.05, 0, 0, 10**9, 10**9, 0)
    campaign = Campaign(settings)
    trial = campaign.next()
    assert trial is not None
    figures = Figures({"handshake.latency": few(22)}, {}, {}, {})
    valid = GeneratorVerdict(Verdict.VALID, ())
    probe = campaign.tell(trial, Observation(5, 5, figures, valid, 0.0, 1.0))
    assert (probe.p50, probe.p99, probe.max) == (111 * MS, None, 555 * MS)
    found = CapacityResult(1, "quick", "26ea", "both", "2026-01-02T03:04:05Z", {}, (campaign.result(),), 0)
    assert all(SHOWN["p99"] not in text for text in _everywhere(found, probe))
    assert SHOWN["p50"] in capacity_page(found)


def _everywhere(found: CapacityResult, probe: Probe) -> list[str]:
    shown = terminal(capacity_report.summary(found, None))
    return [shown, capacity_report.probe_line(probe, "/s"), capacity_markdown(found), capacity_page(found)]


def test_the_headline_counts_what_came_once_and_all_that_was_not_answered() -> None:
    of = result(100)
    counters = {"notify.due": 900, "notify.received": 1000, "notify.duplicated": 100, "requests.timed_out": 7}
    rates = {"notify.received_per_s": 450.0}
    shown = headline(msgspec.structs.replace(of, counters=counters, rates=rates))
    assert [card.note for card in shown if card.label == "notifications/s received"] == ["900 of 900 due"]
    assert [card.value for card in shown if card.label == "failed, dropped or lost"] == ["7"]
