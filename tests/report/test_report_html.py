"""report.html: what a page says first, that it needs nothing beside itself, and that a browser draws it."""

from __future__ import annotations

import base64
import json
import math
import re
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pytest
import report_samples as samples
from chromium import NEEDS_CHROMIUM, Visit
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from thoroughness import examples

from loadgen.capacity.result import Step
from loadgen.cli.report import report
from loadgen.compare.result import Gate
from loadgen.errors import InputError
from loadgen.measure.histogram import Histogram
from loadgen.measure.hlog import read_hlog_untrusted
from loadgen.measure.names import COUNTERS, METRICS, REQUESTS, SUBSERVICES
from loadgen.report.charts import NONE, Band, bands, count_axis, duration_axis, plain
from loadgen.report.figures import change_shown
from loadgen.report.html import (
    capacity_page,
    comparison_page,
    number,
    page_file,
    percent,
    quantity,
    run_page,
    size,
    together,
)
from loadgen.report.live import Moment, RunPhase, live_view
from loadgen.report.run_charts import percentile_charts
from loadgen.report.search_charts import capacity_charts, forest
from loadgen.results.cores import LEAST, MEDIAN, MOST
from loadgen.results.document import Document, as_json
from loadgen.results.health import Verdict

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PAGES: dict[str, Callable[[], str]] = {
    "run": lambda: run_page(samples.run(), samples.curves(), samples.PLAN),
    "passed": lambda: run_page(samples.passed_run(), samples.curves(), samples.PLAN),
    "invalid": lambda: run_page(samples.invalid_run(), samples.curves(120), samples.PLAN),
    "handshake": lambda: run_page(samples.handshake_run(), samples.handshake_curves(), samples.PLAN),
    "long": lambda: run_page(samples.run(intervals=604, workers=100), samples.curves(), samples.PLAN * 1500),
    "one-sided": lambda: run_page(samples.one_sided_run(), {}, ""),
    "empty": lambda: run_page(samples.empty_run(), {}, ""),
    "hostile": lambda: run_page(samples.hostile_run(), samples.hostile_curves(), samples.HOSTILE),
    "capacity": lambda: capacity_page(samples.capacity()),
    "hostile-capacity": lambda: capacity_page(samples.hostile_capacity()),
    "comparison": lambda: comparison_page(samples.comparison()),
    "hostile-comparison": lambda: comparison_page(samples.hostile_comparison()),
    "empty-comparison": lambda: comparison_page(samples.empty_comparison()),
}
WITHOUT_CHARTS = {"empty", "empty-comparison"}


@cache
def page_of(name: str) -> str:
    return PAGES[name]()


class Reader(HTMLParser):
    """Tags, and the texts that people see, in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.figures: list[dict[str, Any]] = []
        self._inside = ""
        # The drawing library is one long word to which no test has a question.
        self.feed(re.sub(r'(id="library">)[^<]*', r"\1", page))
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script" and dict(attrs).get("type") == "application/json":
            self._inside = "json"

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "json":
            self.figures.append(json.loads(data))
        elif self._inside not in ("script", "style"):
            self.words.append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def traces(page: str) -> list[dict[str, Any]]:
    return [trace for figure in Reader(page).figures for trace in figure["data"]]


@pytest.fixture(scope="module", params=list(PAGES))
def page(request: pytest.FixtureRequest) -> tuple[str, str]:
    return request.param, page_of(request.param)


# -- every page --------------------------------------------------------------------------------------------------------


def test_a_page_needs_nothing_beside_itself(page: tuple[str, str]) -> None:
    reader = Reader(page[1])
    assert not {name for name, _ in reader.tags} & {"link", "img", "iframe", "object", "embed", "base", "a", "form"}
    assert not [attrs for _, attrs in reader.tags if {"src", "href", "srcset"} & attrs.keys()]
    assert "url(" not in re.sub(r'<script type="text/plain".*?</script>', "", page[1], flags=re.DOTALL)


def test_a_page_runs_its_own_scripts_and_no_other(page: tuple[str, str]) -> None:
    name, text = page
    reader = Reader(text)
    policy = next(a["content"] for _, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    assert "'unsafe-inline'" not in policy.partition("style-src")[0]
    kinds = [attrs.get("type") for tag, attrs in reader.tags if tag == "script"]
    assert kinds.count(None) == 1
    assert not [key for _, attrs in reader.tags for key in attrs if key.startswith("on")]
    assert ("text/plain" in kinds) is (name not in WITHOUT_CHARTS)


def test_a_page_has_one_heading_above_all_and_tables_with_headers(page: tuple[str, str]) -> None:
    reader = Reader(page[1])
    assert reader.count("h1") == 1
    levels = [int(tag[1]) for tag, _ in reader.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(attrs.get("scope") in ("col", "row") for tag, attrs in reader.tags if tag == "th")
    assert reader.count("thead") == reader.count("table")
    charts = [attrs for tag, attrs in reader.tags if attrs.get("class") == "plot"]
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in charts)
    assert len(charts) == len(reader.figures)
    assert bool(charts) is (page[0] not in WITHOUT_CHARTS)


def test_every_id_is_there_once_and_every_reference_leads_to_one(page: tuple[str, str]) -> None:
    attributes = [attrs for _, attrs in Reader(page[1]).tags]
    ids = [attrs["id"] for attrs in attributes if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {attrs["aria-labelledby"] for attrs in attributes if "aria-labelledby" in attrs} <= set(ids)


@pytest.mark.parametrize("name", ["hostile", "hostile-capacity", "hostile-comparison"])
def test_hostile_texts_are_texts(name: str) -> None:
    text = page_of(name)
    assert "<script>alert" not in text
    assert "<img" not in text
    reader = Reader(text)
    assert samples.HOSTILE.split("\u2028")[0] in "".join(reader.words)
    # plotly reads markup in names and texts.
    for figure in reader.figures:
        assert "<img" not in json.dumps(figure).replace("&lt;", "")


# -- a run -------------------------------------------------------------------------------------------------------------


def test_the_verdict_comes_first() -> None:
    text = Reader(page_of("run")).text
    words = ["A threshold failed", "generator VALID", "Limited by scenario", "sessions failed: 3", "In short", "4,993"]
    places = [text.index(word) for word in words]
    assert places == sorted(places)


def test_an_invalid_run_says_so_at_the_top_and_beside_each_heading_of_figures() -> None:
    invalid, valid = (re.sub(r"<style>.*?</style>", "", page_of(n), flags=re.DOTALL) for n in ("invalid", "run"))
    marked = invalid.index('class="untrue"')
    assert invalid.index("The figures below are not the target") < marked < invalid.index("In short")
    assert "not the target" not in valid
    assert 'class="untrue"' not in valid


def colours_of(scheme: str) -> dict[str, str]:
    """The page's own colours by name: light, or what dark has instead."""
    light, _, dark = page_file("page.css").partition("@media (prefers-color-scheme: dark)")
    own = dict(re.findall(r"(--[a-z0-9-]+): (#[0-9a-f]{6})", light))
    return own if scheme == "light" else own | dict(re.findall(r"(--[a-z0-9-]+): (#[0-9a-f]{6})", dark))


def luminance(colour: str) -> float:
    """As WCAG 2 has it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read_on_what_is_behind_it(scheme: str) -> None:
    colours = colours_of(scheme)
    for text in ("--text", "--muted", "--good", "--bad", "--warn"):
        for behind in ("--page", "--card", "--bad-soft", "--good-soft", "--warn-soft"):
            dark, light = sorted(map(luminance, (colours[text], colours[behind])))
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, behind)
    # And nothing makes it paler.
    assert "opacity" not in page_file("page.css")
    assert "filter:" not in page_file("page.css")


def test_what_is_0_is_folded_away() -> None:
    reader = Reader(page_of("run"))
    assert "4 counters are 0" in reader.text
    (folded,) = re.findall(r"<details>\s*<summary>4 counters are 0.*?</details>", page_of("run"), flags=re.DOTALL)
    rest = page_of("run").replace(folded, "")
    for name in ("notify.lost", "notify.duplicated", "notify.reordered", "generator.shortfall"):
        row = f'<th scope="row">{name.replace(".", ".<wbr>")}</th>'
        assert row in folded
        assert row not in rest


def test_many_reasons_are_folded_behind_the_first() -> None:
    verdict = msgspec.structs.replace(samples.run().verdict, reasons=tuple(f"reason {n}" for n in range(20)))
    text = run_page(msgspec.structs.replace(samples.run(), verdict=verdict), {}, "")
    assert text.index("reason 7<") < text.index("<summary>12 more") < text.index("reason 8<")


def test_thresholds_are_told_in_words_and_not_by_colour_alone() -> None:
    text = Reader(page_of("run")).text
    assert "✓ passed notify.latency.p99 < 50ms 9.10 ms" in text
    assert "✗ FAILED sessions.failed == 0 3" in text


def test_each_counted_stage_has_its_three_curves_in_one_chart() -> None:
    page = page_of("run")
    figures = Reader(page).figures
    three = ["notify.latency", "notify.service", "notify.lag"]
    assert [[t["name"] for t in f["data"]] for f in figures[:2]] == [three, three]
    assert "Percentiles, hold" in page
    assert "Percentiles, peak" in page
    assert "Percentiles, ramp-1" not in page
    assert "latency = received - due, service = received - sent, lag = sent - due" in page
    assert len({t["line"]["dash"] for t in figures[0]["data"]}) == 3


def test_no_chart_has_more_curves_than_can_be_told_apart() -> None:
    kinds = [f"request.{kind}.{what}" for kind in REQUESTS for what in ("lag", "latency", "service")]
    heard = [f"service.{name}.latency" for name in SUBSERVICES]
    of = samples.curves()
    curve = of["hold/notify.latency"]
    curves = {**of, **{f"hold/{name}": curve for name in [*kinds, *heard]}}
    run = samples.run()
    (hold,) = (stage for stage in run.stages if stage.name == "hold")
    asked = msgspec.structs.replace(hold, metrics=hold.metrics | {name: curve.summary() for name in [*kinds, *heard]})
    charts = percentile_charts(msgspec.structs.replace(run, stages=(asked,)), curves)
    shown = {chart.title: [t["name"] for t in chart.figure["data"]] for chart in charts}
    assert shown["Percentiles, hold"] == ["notify.latency", "notify.service", "notify.lag"]
    for what in ("lag", "latency", "service"):
        assert shown[f"Percentiles of request.*.{what}, hold"] == list(REQUESTS)
    parts = [shown[f"Percentiles of service.*.latency, hold ({part} of 3)"] for part in (1, 2, 3)]
    assert sorted(name for part in parts for name in part) == sorted(SUBSERVICES)
    assert shown["Percentiles of echo.*, outside of the stages"] == ["echo.service"]
    for chart in charts:
        looks = {(t["line"]["color"], t["line"]["dash"]) for t in chart.figure["data"]}
        assert len(looks) == len(chart.figure["data"]) <= 9


def test_a_curve_goes_through_the_figures_of_its_histogram() -> None:
    histogram = samples.curves()["hold/notify.latency"]
    points = histogram.curve()
    assert [p for p, _, _ in points] == sorted(p for p, _, _ in points)
    assert [v for _, v, _ in points] == sorted(v for _, v, _ in points)
    by_percentile = {p: v for p, v, _ in points}
    assert (by_percentile[50.0], by_percentile[90.0], by_percentile[99.0]) == histogram.percentiles(50, 90, 99)
    assert points[-1] == (100.0, histogram.max_ns, histogram.count)
    assert all(reached >= p / 100 * histogram.count - 1e-6 for p, _, reached in points)
    assert Histogram().curve() == []


def test_without_histograms_curves_go_through_the_percentiles() -> None:
    (trace, *_) = traces(run_page(samples.run(), {}, ""))
    summary = samples.run().stages[1].metrics["notify.latency"]
    assert trace["x"] == [2, 10, *([20] if summary.p95 is not None else []), 100, 1000, summary.count]
    assert trace["y"][-1] == pytest.approx(summary.max, rel=1e-5)


def test_stages_are_marked_in_every_chart_over_time() -> None:
    page = page_of("run")
    over_time = [f for f in Reader(page).figures if f["layout"]["xaxis"].get("title") == {"text": "seconds of load"}]
    assert len(over_time) == 5
    for figure in over_time:
        assert [label["text"] for label in figure["layout"]["annotations"]] == ["(ramp-1)", "hold", "peak"]
        assert len(figure["layout"]["shapes"]) == 3


def test_gaps_stay_gaps() -> None:
    (due, *_) = (t for t in traces(page_of("run")) if t.get("name") == "due")
    assert due["y"][:4] == [None] * 4
    assert due["connectgaps"] is False


def test_a_hundred_workers_are_a_range_and_the_busiest() -> None:
    names = [t.get("name") for t in traces(page_of("long"))]
    assert names[-6:] == ["least", "most", "median", "mse-49", "wlc-49", "mse-48"]
    assert "… and" in page_of("long")


def test_very_many_workers_are_a_range_and_the_median() -> None:
    result = samples.run(workers=70)
    columns = {name: column for name, column in result.timeline.columns.items() if not name.startswith("cpu.")}
    cpu = {LEAST: 0.1, MEDIAN: 0.4, MOST: 0.9}
    columns |= {name: (value,) * len(result.timeline.start_s) for name, value in cpu.items()}
    timeline = msgspec.structs.replace(result.timeline, columns=columns)
    page = run_page(samples.changed(result, timeline=timeline), samples.curves(), "")
    assert [(t.get("name"), t["y"][0]) for t in traces(page)][-3:] == [("least", 0.1), ("most", 0.9), ("median", 0.4)]
    assert "All 70 workers lie within the shaded range." in page


def test_who_watches_sees_the_busiest_of_many_workers() -> None:
    result = samples.run(workers=70)
    below = live_view("1", Moment(RunPhase.RUNNING), result, {}).below
    rows = re.findall(r'<th scope="row">((?:wlc|mse)-\d+)</th>', below)
    busiest = sorted(result.workers, key=lambda worker: -worker.load_share)
    assert rows == [worker.worker for worker in busiest[:32]]
    assert f"{len(busiest) - 32} more are in the report" in below
    few = samples.run(workers=4)
    assert "more are in the report" not in live_view("1", Moment(RunPhase.RUNNING), few, {}).below


def test_a_handshake_run_has_its_own_figures() -> None:
    page = page_of("handshake")
    text = Reader(page).text
    assert "398.8" in text
    assert "5,994 resumed" in text
    assert "dialed - due" in page
    together = [f"handshake.{name}" for name in ("latency", "service", "tls", "lag")]
    assert [t.get("name") for t in traces(page)][:4] == together
    assert "Sessions over time" not in page
    phases = "service is all of it; latency is all of it, from when it was due."
    assert phases in text
    assert "session is all of it" not in text


def test_what_one_side_cannot_see_is_left_out() -> None:
    page = page_of("one-sided")
    assert "notifications/s sent" in page
    assert "notify.latency over time" not in page
    assert "notify.lag over time" in page


def test_an_empty_run_is_a_page_of_its_verdict() -> None:
    text = Reader(page_of("empty")).text
    assert "No session came up" in text
    assert "not measured" in text
    assert len(page_of("empty")) < 50_000


# -- capacity and comparison -------------------------------------------------------------------------------------------


def test_a_limit_comes_first_with_what_broke_and_what_to_do() -> None:
    text = Reader(page_of("capacity")).text
    words = [
        "handshake.per_s: limit found",
        "1,300 to 1,350 handshakes/s",
        "What broke first:",
        "Next:",
        "Every load had",
    ]
    assert [text.index(word) for word in words] == sorted(text.index(word) for word in words)
    assert "generator-limited at least 32,000 notifications/s" in text
    assert "no load was confirmed" in text
    loads = text[text.index("Loads, and how often each was tried") :]
    assert loads.index("1,300 ✓ confirmed 3 2 1 1 0 0 2") < loads.index("1,350 ✗ did not hold 3 0 0 0 1 0 0")


def test_probes_are_marked_by_shape_and_the_limit_is_a_band() -> None:
    latency, achieved, open_end, _ = Reader(page_of("capacity")).figures
    for figure in (latency, achieved):
        marks = {t["name"]: t["marker"]["symbol"] for t in figure["data"] if t["mode"] == "markers"}
        assert marks == {"held": "circle", "did not hold": "x"}
        (band,) = figure["layout"]["shapes"]
        assert (band["x0"], band["x1"]) == (1300, 1350)
    assert [t["name"] for t in latency["data"][:3]] == ["p50", "p99", "max"]
    assert "generator INVALID" in [t["name"] for t in open_end["data"]]


def test_a_line_has_one_point_for_each_load_and_none_for_what_is_not_the_targets() -> None:
    made = samples.probe(Step.BRACKET, 100.0, 0.0)
    tries = [
        msgspec.structs.replace(made, offered=offered, p50=p50, generator=Verdict.INVALID if invalid else Verdict.VALID)
        for offered, p50, invalid in (
            *((100.0, 10, False), (100.0, 30, False), (100.0, 20, False), (100.0, 999, True)),
            *((200.0, 999, True), (300.0, 50, False), (300.0, None, False)),
        )
    ]
    result = samples.capacity()
    dimension = msgspec.structs.replace(result.dimensions[0], probes=tuple(tries))
    latency, _ = capacity_charts(dimension)
    line = latency.figure["data"][0]
    assert (line["name"], line["x"], line["y"]) == ("p50", [100.0, 300.0], [20.0, 50.0])
    marks = {t["name"]: t["x"] for t in latency.figure["data"] if t["mode"] == "markers"}
    assert sorted(marks["generator INVALID"]) == [100.0, 200.0]
    assert "without those that say nothing" in latency.text


@pytest.mark.parametrize(
    ("axis", "ticks"),
    [
        (count_axis("sessions", whole_most=1), {"dtick": 1}),
        (count_axis("sessions", whole_most=40), {"dtick": None}),
        (count_axis("per second"), {"dtick": None, "tickformat": None}),
        (count_axis("cores", tickformat=".2~f"), {"tickformat": ".2~f", "tickformatstops": None}),
    ],
)
def test_an_axis_of_counts_has_no_thousandths(axis: dict[str, Any], ticks: dict[str, object]) -> None:
    assert {name: axis.get(name) for name in ticks} == ticks
    if "tickformat" not in axis:
        below, above = axis["tickformatstops"]
        assert (below["dtickrange"][1] < 1, below["value"]) == (True, "~g")
        assert (above["dtickrange"][0], above["value"]) == (1, "~s")


def test_the_decision_comes_first_and_the_forest_shows_what_decides_first() -> None:
    page = page_of("comparison")
    text = Reader(page).text
    assert text.index("build 1.5.0-rc1 against the baseline build 1.4.2") < text.index("What changed")
    (figure,) = Reader(page).figures
    noise, *marks = figure["data"]
    assert noise["name"] == "noise floor"
    assert [t["name"] for t in marks] == ["pass", "regression", "inconclusive", "shown only"]
    assert len({t["marker"]["symbol"] for t in marks}) == 4
    regression = marks[1]
    assert regression["x"] == [pytest.approx(18.4)]
    assert regression["error_x"]["array"][0] == pytest.approx(100 * 1.7 * 0.025)
    assert figure["layout"]["yaxis"]["categoryarray"][0] == "notify.latency.max\N{NO-BREAK SPACE}↓"


def test_a_mark_without_an_interval_has_no_line_through_it() -> None:
    result = samples.comparison()
    first, second = (m for m in result.metrics if m.metric in ("notify.latency.p99", "notify.latency.max"))
    both = [msgspec.structs.replace(m, gate=Gate.REPORT, interval=i) for m, i in ((first, (0.1, 0.2)), (second, None))]
    chart = forest(msgspec.structs.replace(result, metrics=tuple(both)))
    assert chart is not None
    _, sure, alone = chart.figure["data"]
    assert ("error_x" in sure, "error_x" in alone) == (True, False)
    assert sure["legendgroup"] == alone["legendgroup"]
    assert ("showlegend" in sure, alone["showlegend"]) == (False, False)


# -- parts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (number(None), NONE),
        (number(0), "0"),
        (number(4993.1), "4,993"),
        (number(249.64), "249.6"),
        (size(512), "512 B"),
        (size(61_440), "60.0 KiB"),
        (quantity(3.2e6, "ns"), "3.20 ms"),
        (quantity(61.3e-6, "s"), "61.3 µs"),
        (quantity(-2e6, "ns"), "-2.00 ms"),
        (quantity(5.0, "1/s"), "5/s"),
        (percent(-0.00001), "+0.00 %"),
        (change_shown(-0.0001), "+0.0%"),
        (
            together("82% of 3.2 ms, 5 of 9 sessions"),
            "82\N{NO-BREAK SPACE}% of 3.2\N{NO-BREAK SPACE}ms, 5 of 9 sessions",
        ),
        (plain("<b>&"), "&lt;b&gt;&amp;"),
    ],
)
def test_figures_are_written_as_people_read_them(shown: str, text: str) -> None:
    assert shown == text


def test_what_a_figure_means_is_told_without_the_row_above() -> None:
    """Rows may be in alphabetical order, and those that are 0 are apart."""
    above = re.compile("the same|of those[:,]|.*ended before that")
    assert [name for name, words in {**METRICS, **COUNTERS}.items() if above.match(words)] == []


@pytest.mark.parametrize("values", [[], [None], [0.0], [1e6], [1e3, 1e10], [2e6, 3e6]])
def test_every_axis_of_durations_has_ticks_within_its_range(values: list[float | None]) -> None:
    axis = duration_axis(values)
    low, high = axis["range"]
    inside = [
        text for tick, text in zip(axis["tickvals"], axis["ticktext"], strict=True) if low <= math.log10(tick) <= high
    ]
    assert 1 <= len(inside) <= 12
    assert all(re.fullmatch(r"[\d.]+ (ns|µs|ms|s)", text) for text in inside)


def test_names_of_short_stages_do_not_run_into_each_other() -> None:
    shapes, labels = bands([Band(f"a-long-name-{n}", n, n + 1.0) for n in range(60)], end=60.0)
    assert len(shapes) == 60
    assert labels == []


# -- the command -------------------------------------------------------------------------------------------------------


def folder_with(tmp_path: Path, document: Document, *, log: str | None = None, plan: str | None = None) -> Path:
    (tmp_path / "result.json").write_text(as_json(document), "utf-8")
    if log is not None:
        (tmp_path / "histograms.hlog").write_text(log, "utf-8")
    if plan is not None:
        (tmp_path / "plan.json").write_text(plan, "utf-8")
    return tmp_path


@pytest.mark.parametrize("make", [samples.run, samples.capacity, samples.comparison, samples.empty_run])
def test_the_command_writes_a_page_beside_any_result(tmp_path: Path, make: Callable[[], Document]) -> None:
    folder = folder_with(tmp_path, make(), log=samples.hlog(samples.curves()), plan=samples.PLAN)
    done = CliRunner().invoke(report, [str(folder)], catch_exceptions=False)
    assert done.exit_code == 0
    assert done.output.strip() == str(folder / "report.html")
    assert (folder / "report.html").read_text("utf-8").startswith("<!DOCTYPE html>")


def test_the_command_takes_a_lone_result_and_another_place(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, samples.run())
    out = tmp_path / "page.html"
    report.main([str(folder / "result.json"), "--out", str(out)], standalone_mode=False)
    assert "Without histograms.hlog" in out.read_text("utf-8")
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "result.json").write_text("{"), r"result\.json: expected a result of kind run or capacity or"),
        (lambda f: (f / "result.json").unlink(), r"result\.json: expected .*, found no such file"),
        (lambda f: (f / "histograms.hlog").write_text("no log\n"), r'histograms\.hlog:1: expected .*, found "no log"'),
        (lambda f: (f / "report.html").mkdir(), r"report\.html: expected a file that can be written"),
    ],
)
def test_the_command_tells_what_is_wrong(tmp_path: Path, spoil: Callable[[Path], object], message: str) -> None:
    folder = folder_with(tmp_path, samples.run(), log=samples.hlog(samples.curves()))
    spoil(folder)
    with pytest.raises(InputError, match=message):
        report.main([str(folder)], standalone_mode=False)


def test_the_log_is_read_as_it_was_written(tmp_path: Path) -> None:
    of = samples.curves()
    path = tmp_path / "histograms.hlog"
    path.write_text(samples.hlog(of), "utf-8")
    read = read_hlog_untrusted(path)
    assert list(read) == list(of)
    assert {name: h.count for name, h in read.items()} == {name: 2 * h.count for name, h in of.items()}
    assert read["echo.service"].percentiles(50, 99) == of["echo.service"].percentiles(50, 99)


# -- the log, hostile -------------------------------------------------------------------------------------------------


HEAD = samples.hlog({})


def packed(body: bytes) -> str:
    """An encoded histogram around any body."""
    deflated = zlib.compress(body)
    return base64.b64encode(struct.pack(">II", 0x1C849314, len(deflated)) + deflated).decode()


def header(length: int, *, cookie: int = 0x1C849313, digits: int = 3, highest: int = 3600 * 10**9) -> bytes:
    return struct.pack(">IIIIQQd", cookie, length, 0, digits, 1, highest, 1.0)


def read_text(tmp_path: Path, text: str) -> dict[str, Histogram]:
    path = tmp_path / "histograms.hlog"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return read_hlog_untrusted(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Tag=a,1.0,1.0,1.0", r":4: expected Tag=<metric>"),
        ("1.0,1.0,1.0,HIST", r":4: expected Tag=<metric>"),
        ("Tag=a,nan,1.0,1.0,HIST", r":4: expected Tag=<metric>"),
        ("Tag=a,0.0,1.0,1.0,!!!!", r":4: expected an encoded HdrHistogram of ns, found no base64"),
        ("Tag=a,0.0,1.0,1.0,HIST", r"found 3 bytes"),
        ("Tag=a,0.0,1.0,1.0,HISTFAAAAAAA", r"found 1 of 0 bytes"),
        ("Tag=a,0.0,1.0,1.0," + "A" * 64, r"found cookie 0x00000000"),
        ("Tag=a,0.0,1.0,1.0," + packed(b"short"), r"deflated data of another length"),
        ("Tag=a,0.0,1.0,1.0," + packed(bytes(50_000_000)), r"deflated data of another length"),
        ("Tag=a,0.0,1.0,1.0," + packed(header(0, cookie=7)), r"another kind of histogram"),
        ("Tag=a,0.0,1.0,1.0," + packed(header(9)), r"another kind of histogram"),
        ("Tag=a,0.0,1.0,1.0," + packed(header(0, digits=5, highest=1 << 62)), r"in 5 digits"),
        ("Tag=a,0.0,1.0,1.0," + packed(header(2) + b"\xff\xff"), r"varint"),
        ("Tag=a,0.0,1.0,1.0," + packed(header(6) + b"\xfd\xff\xff\xff\x0f\x02"), r"overrun"),
        ("Tag=a,0.0,1.0,1.0," + packed(header(9) + b"\xfe" + b"\xff" * 8), r"counts that no run reaches"),
        ("Tag=\udcff,0.0,1.0,1.0,HIST", r"expected a tag in UTF-8"),
    ],
    ids=lambda value: value[:40],
)
def test_a_hostile_line_is_told_with_its_number(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_text(tmp_path, HEAD + line + "\n")


def test_a_log_that_is_cut_off_is_told(tmp_path: Path) -> None:
    whole = samples.hlog({"echo.service": samples.curves()["echo.service"]})
    with pytest.raises(InputError, match=r":5: expected a whole line"):
        read_text(tmp_path, whole[:-9])
    with pytest.raises(InputError, match="an empty file"):
        read_text(tmp_path, "")
    with pytest.raises(InputError, match="no such file"):
        read_hlog_untrusted(tmp_path / "nothing.hlog")


def test_tags_cost_memory_and_are_counted(tmp_path: Path) -> None:
    empty = packed(header(0))
    lines = "".join(f"Tag=t{number},0.0,1.0,0.0,{empty}\n" for number in range(2001))
    with pytest.raises(InputError, match=r":2004: expected at most 2,000 tags"):
        read_text(tmp_path, HEAD + lines)


@settings(derandomize=True, deadline=None, database=None, max_examples=examples(300))
@given(st.data())
def test_a_spoilt_log_is_read_or_refused(data: st.DataObject) -> None:
    whole = bytearray(samples.hlog({"echo.service": samples.curves()["echo.service"]}).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "histograms.hlog"
        path.write_bytes(whole)
        with suppress(InputError):
            assert all(histogram.count >= 0 for histogram in read_hlog_untrusted(path).values())


@settings(derandomize=True, deadline=None, database=None, max_examples=examples(300))
@given(st.binary(max_size=200))
def test_any_body_of_a_histogram_is_read_or_refused(body: bytes) -> None:
    histogram = Histogram()
    try:
        histogram.merge_untrusted(packed(header(len(body)) + body).encode())
    except ValueError:
        assert histogram.count == 0
    else:
        assert (histogram.count == 0) is (histogram.curve() == [])


# -- in a browser ------------------------------------------------------------------------------------------------------


# Each takes a browser seconds; reasons are long where nothing may be off the screen.
DRAWN: dict[str, Callable[[], str]] = {
    "run": lambda: page_of("invalid"),
    "long": lambda: page_of("long"),
    "hostile": lambda: page_of("hostile"),
    "capacity": lambda: long_capacity(),
    "comparison": lambda: page_of("comparison"),
    "empty": lambda: page_of("empty"),
}


class Drawn(NamedTuple):
    """A page, when a browser has drawn its charts."""

    name: str
    text: str
    visit: Visit


@pytest.fixture(scope="module")
def drawn(
    request: pytest.FixtureRequest, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Drawn]:
    text = DRAWN[request.param]()
    path = tmp_path_factory.mktemp("drawn") / "report.html"
    path.write_text(text, "utf-8")
    visit = Visit(browser, path.as_uri())
    visit.page.wait_for_selector("html[data-charts=drawn]")
    yield Drawn(request.param, text, visit)
    visit.page.close()


@NEEDS_CHROMIUM
@pytest.mark.parametrize("drawn", DRAWN, indirect=True)
def test_a_browser_draws_every_chart_and_has_nothing_to_complain_of(drawn: Drawn) -> None:
    dom = drawn.visit.page.content()
    assert drawn.visit.complaints + drawn.visit.said == []
    charts = len(re.findall(r'class="plot js-plotly-plot"', dom))
    assert charts == len(Reader(drawn.text).figures)
    assert (charts > 0) is (drawn.name not in WITHOUT_CHARTS)
    assert dom.count('class="xaxislayer-above"') >= charts
    if drawn.name == "hostile":
        assert "<img" not in re.sub(r"<script.*?</script>", "", dom, flags=re.DOTALL)


@NEEDS_CHROMIUM
@pytest.mark.parametrize("drawn", ["run", "capacity", "comparison"], indirect=True)
def test_nothing_is_off_the_screen_wide_or_narrow(drawn: Drawn) -> None:
    """What scrolls sideways is not seen; and no axis counts in thousandths."""
    page = drawn.visit.page
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function(
            "w => [...document.querySelectorAll('.main-svg')].every(s => s.clientWidth < w)", arg=width
        )
        assert page.evaluate(OFF_SCREEN) == [], width
        ticks = page.locator(".ytick, .xtick").all_text_contents()
        assert ticks
        assert [tick for tick in ticks if re.fullmatch(r"[\d.]+m", tick)] == []
        rows = page.evaluate(BESIDE_EACH_OTHER)
        assert all(len(set(tops)) == 1 for tops in rows), (width, rows)
    for axis_width in (120, 200, 700):
        axis = page.evaluate("([own, width]) => thinned(own, width)", [duration_axis([1.2e6, 7e7]), axis_width])
        places = sorted(
            axis_width * math.log10(tick) / (axis["range"][1] - axis["range"][0]) for tick in axis["tickvals"]
        )
        assert len(places) >= 2
        assert all(after - before > 55 for before, after in pairwise(places))
    assert drawn.visit.complaints + drawn.visit.said == []


# Where the charts of each row of a grid begin.
BESIDE_EACH_OTHER = """() => Object.values(Object.groupBy([...document.querySelectorAll(".grid > figure")],
  (figure) => figure.getBoundingClientRect().top))
  .map((row) => row.map((figure) => figure.querySelector(".plot").getBoundingClientRect().top))"""

# Boxes that show less than they hold, and what ends beyond the window.
OFF_SCREEN = """() => [...document.querySelectorAll("html, .scroll, main *:not(svg *)")]
  .filter((e) => e.clientWidth && (e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== "visible"
    || e.getBoundingClientRect().right > innerWidth + 1))
  .filter((e) => !e.closest("thead, .plot, details:not([open])"))
  .map((e) => `${e.tagName} ${e.className} ${e.textContent.trim().slice(0, 40)}`)"""


def long_capacity() -> str:
    """A search whose loads were tried again and again, for reasons that take some words, up to a single session."""
    result = samples.capacity()
    found, limited, sessions = result.dimensions
    words = "100 % of the p50 of notify.service (4.75 ms) is ours: what came waited 5.32 ms to be read here"
    probes = tuple(
        msgspec.structs.replace(probe, generator=Verdict.DEGRADED, reasons=(words,) * 3) for probe in found.probes
    )
    one = tuple(msgspec.structs.replace(probe, offered=1.0, achieved=1.0) for probe in found.probes[:2])
    dimensions = (msgspec.structs.replace(found, probes=probes), limited, msgspec.structs.replace(sessions, probes=one))
    return capacity_page(msgspec.structs.replace(result, dimensions=dimensions))
