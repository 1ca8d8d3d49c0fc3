"""Markdown, JUnit, github-action-benchmark, Bencher and CSV: written, and read back as their readers would."""

from __future__ import annotations

import csv
import io
import json
from xml.etree import ElementTree as ET

import msgspec
import pytest
from compare_samples import run, session

from loadgen.capacity.result import CapacityResult, DimensionResult, LoadTried, Outcome, Probe, Step
from loadgen.compare.comparison import compare
from loadgen.compare.result import Comparison, Decision, Gate
from loadgen.report.figures import change_shown, figure_shown, interval_shown
from loadgen.report.formats import benchmark_json, bmf_json, comparison_csv, comparison_points, run_csv, run_points
from loadgen.report.junit import comparison_junit, run_junit
from loadgen.report.markdown import capacity_markdown, comparison_markdown, run_markdown
from loadgen.results.health import Verdict
from loadgen.results.thresholds import Status, ThresholdResult

HOSTILE = 'a|b`c<script>\x00\x1b[31m\n## x & "y" ]]> \ud800 \uffff *z*'
GOOD = ThresholdResult("notify.latency.p99 < 50ms", status=Status.PASSED, figure=4e6, shown="4.00 ms")
BAD = ThresholdResult("sessions.failed == 0", status=Status.FAILED, figure=3, shown="was 3")


def comparison() -> Comparison:
    """One with a regression, something inconclusive and a great deal that passes."""
    baseline, new, control = session(1, 0.01, {"notify.latency.p99": 1.5})
    return compare(baseline, new, control, paired=True, names=("old|1", "new"))


def capacity() -> CapacityResult:
    probe = Probe(Step.BISECT, 900.0, 890.5, False, ("p99 < 5ms was 9ms | late",), Verdict.VALID, (), 1.0, 5.0, 1, 2, 3)
    dimension = DimensionResult(
        "handshake.per_s", "handshakes/s", "handshake.tls", (), Outcome.FOUND, 850.0, 900.0, ("p99",), "more", (probe,)
    )
    tried = LoadTried(850.0, True, True, 3, 2, 2, 1, 0, 1)
    dimension = msgspec.structs.replace(dimension, loads=(tried, LoadTried(900.0, False, False, 1, 0, 0, 0, 0, 0)))
    return CapacityResult(1, "quick", "26ea", "both", "2026-01-02T03:04:05Z", {}, (dimension,), 0)


# -- markdown ----------------------------------------------------------------------------------------------------------


def cells(document: str) -> list[list[str]]:
    """Cells of all tables, with escaped pipes inside of them."""
    lines = [line.replace("\\|", "\0") for line in document.splitlines() if line.startswith("|")]
    return [[cell.strip().replace("\0", "|") for cell in line.strip("|").split("|")] for line in lines]


def test_a_run_in_markdown_begins_with_its_verdict() -> None:
    text = run_markdown(run(thresholds=(GOOD, BAD), exit_code=1))
    assert text.startswith("## ❌ passed — quick\n\ngenerator **VALID**")
    assert ["❌ **failed**", "sessions.failed == 0", "was 3"] in cells(text.replace("\\", ""))
    assert ["notify.latency", "1,000", "1.00 ms", "2.00 ms", "-", "4.00 ms", "8.00 ms", "9.00 ms"] in cells(text)
    assert run_markdown(run()).startswith("## ✅")


def test_tables_of_markdown_are_rectangular() -> None:
    for text in (
        run_markdown(run(thresholds=(BAD,))),
        comparison_markdown(comparison()),
        capacity_markdown(capacity()),
    ):
        for table in text.split("\n\n"):
            assert len({len(row) for row in cells(table)}) <= 1


def test_a_comparison_in_markdown_has_regressions_on_top() -> None:
    text = comparison_markdown(comparison())
    assert text.startswith("## ❌ **regression** — quick\n\nnew against old\\|1, order AAAA ABBAABBAABBA")
    first = cells(text)[2]
    assert first[:2] == ["❌ **regression**", "notify.latency.p99"]
    assert text.index("<details>") > text.index("notify.latency.p99")
    assert text.count("<details>") == text.count("</details>") == 1


def test_a_search_in_markdown() -> None:
    text = capacity_markdown(capacity())
    assert ["handshake.per\\_s", "limit found", "850", "900", "handshakes/s", "p99"] in cells(text)
    assert "- handshake.per\\_s: more" in text
    assert "890.5" in text
    assert [cell for cell in cells(text) if len(cell) == 2 and cell[0] in ("850", "900")] == [
        ["850", "confirmed: 2 of 3 tries held, 1 of 2 as long as a confirmation; 1 failed, a stray"],
        ["900", "did not hold: 0 of 1 try held"],
    ]


@pytest.mark.parametrize("field", ["scenario", "plan_digest", "started"])
def test_names_cannot_break_markdown(field: str) -> None:
    for text in (
        run_markdown(run(**{field: HOSTILE})),
        comparison_markdown(msgspec.structs.replace(comparison(), **{field: HOSTILE})),
        capacity_markdown(msgspec.structs.replace(capacity(), **{field: HOSTILE})),
    ):
        assert "<script>" not in text or field == "plan_digest"  # between backticks it is only text
        assert "\n## x" not in text
        assert not set(text) & {"\x00", "\x1b"}


# -- JUnit -------------------------------------------------------------------------------------------------------------

# Of Jenkins' junit-10.xsd: what an element may hold, and its attributes (those with ! must be there).
SCHEMA = {
    "testsuites": ({"testsuite"}, {"name", "time", "tests", "failures", "errors"}),
    "testsuite": (
        {"properties", "testcase"},
        {"name!", "tests!", "failures!", "errors!", "skipped", "time", "timestamp"},
    ),
    "properties": ({"property"}, set()),
    "property": (set(), {"name!", "value!"}),
    "testcase": ({"skipped", "error", "failure"}, {"name!", "classname", "time"}),
    **{mark: (set(), {"message", "type"}) for mark in ("skipped", "error", "failure")},
}


def parsed(text: str) -> ET.Element:
    """The suite of a document that keeps to the schema and whose counts are right."""
    root = ET.fromstring(text)  # noqa: S314 - our own
    assert root.tag == "testsuites"
    for element in root.iter():
        children, attributes = SCHEMA[element.tag]
        assert {child.tag for child in element} <= children
        assert set(element.keys()) <= {name.strip("!") for name in attributes}
        assert set(element.keys()) >= {name.strip("!") for name in attributes if name.endswith("!")}
    (suite,) = root
    for attribute, path in (("tests", "testcase"), ("failures", ".//failure"), ("errors", ".//error")):
        assert int(suite.get(attribute, "")) == len(suite.findall(path))
    assert int(suite.get("skipped", "")) == len(suite.findall(".//skipped"))
    return suite


def marks(suite: ET.Element) -> dict[str, str | None]:
    return {case.get("name", ""): case[0].tag if len(case) else None for case in suite.iter("testcase")}


def test_a_run_has_a_case_per_threshold_and_one_for_the_generator() -> None:
    suite = parsed(run_junit(run(thresholds=(GOOD, BAD), exit_code=1)))
    assert marks(suite) == {"generator": None, GOOD.text: None, BAD.text: "failure"}
    failure = suite.find(".//failure")
    assert failure is not None
    assert failure.get("message") == failure.text == "was 3"


def test_thresholds_of_a_run_that_is_not_valid_are_skipped() -> None:
    suite = parsed(run_junit(run(thresholds=(GOOD, BAD), generator=Verdict.INVALID, exit_code=4)))
    assert marks(suite) == {"generator": "error", GOOD.text: "skipped", BAD.text: "skipped"}
    assert marks(parsed(run_junit(run(generator=Verdict.DEGRADED)))) == {"generator": None}


def test_a_run_that_failed_without_a_threshold_is_no_success() -> None:
    assert marks(parsed(run_junit(run(exit_code=3)))) == {"generator": None, "outcome": "error"}


def test_a_comparison_has_a_case_per_metric_that_decides() -> None:
    result = comparison()
    found = marks(parsed(comparison_junit(result)))
    assert set(found) == {metric.metric for metric in result.metrics if metric.gate is not Gate.REPORT}
    assert [name for name, mark in found.items() if mark == "failure"] == ["notify.latency.p99"]
    alone = compare([run()], [run()], paired=False)
    assert marks(parsed(comparison_junit(alone)))["notify.latency.p99"] == "skipped"
    assert marks(parsed(comparison_junit(alone)))["notify.lost"] is None


def test_names_cannot_break_xml() -> None:
    threshold = ThresholdResult(HOSTILE, status=Status.ERROR, figure=None, shown=HOSTILE)
    suite = parsed(run_junit(run(scenario=HOSTILE, plan_digest=HOSTILE, thresholds=(threshold,), exit_code=1)))
    (name,) = [name for name, mark in marks(suite).items() if mark == "error"]
    assert name.startswith("a|b`c<script>[31m")
    assert name.endswith('## x & "y" ]]>   *z*')


# -- for other programs ------------------------------------------------------------------------------------------------


def test_github_action_benchmark_gets_one_direction_per_file() -> None:
    points = run_points(run())
    smaller = json.loads(benchmark_json(points, "lower", "quick"))
    bigger = json.loads(benchmark_json(points, "higher", "quick"))
    for entry in (*smaller, *bigger):
        assert {"name", "unit", "value"} <= set(entry) <= {"name", "unit", "value", "range", "extra"}
        assert isinstance(entry["value"], int | float)
        assert entry["unit"]
    assert {entry["name"].removeprefix("quick: ") for entry in bigger} == {
        "notify.sent_per_s",
        "notify.received_per_s",
    }
    assert {"name": "quick: notify.latency.p99", "unit": "ns", "value": 4e6, "extra": "generator VALID"} in smaller
    assert not any(entry["name"].endswith((".max", ".p99_9")) for entry in smaller)


def test_ranges_are_those_of_the_interval() -> None:
    result = comparison()
    (entry,) = [
        entry
        for entry in json.loads(benchmark_json(comparison_points(result), "lower", "quick"))
        if entry["name"] == "quick: notify.latency.p99"
    ]
    sign, width = entry["range"].split()
    assert sign == "±"
    assert 0 < float(width) < entry["value"] * 0.1
    assert entry["extra"].startswith(f"{Decision.REGRESSION}: ")


def test_bencher_metric_format() -> None:
    for points in (run_points(run()), comparison_points(comparison())):
        document = json.loads(bmf_json(points, "quick"))
        assert len(document) == len(points)
        for measures in document.values():
            for measure, value in measures.items():
                assert measure in {"latency", "throughput", "bytes", "cpu-seconds", "count"}
                assert {"value"} <= set(value) <= {"value", "lower_value", "upper_value"}
                assert value.get("lower_value", value["value"]) <= value["value"]
                assert value.get("upper_value", value["value"]) >= value["value"]
    assert "lower_value" in document["quick/notify.latency.p99"]["latency"]


def test_csv_has_every_figure_of_every_run() -> None:
    results = [("a", run()), ("=b", run(scenario=HOSTILE.replace("\ud800", "")))]
    lines = list(csv.DictReader(io.StringIO(run_csv(results))))
    assert {line["figure"] for line in lines} >= {
        "notify.latency.min",
        "notify.sent",
        "notify.sent_per_s",
        "notify.bytes",
    }
    assert len(lines) == 2 * (6 * 8 + len(run().counters) + len(run().rates) + len(run().costs))
    assert {line["result"] for line in lines} == {"a", "'=b"}
    (line,) = [line for line in lines if line["result"] == "a" and line["figure"] == "notify.latency.p99"]
    assert (line["unit"], line["value"], line["generator"]) == ("ns", "4000000", "VALID")


def test_csv_of_a_comparison() -> None:
    result = comparison()
    lines = list(csv.DictReader(io.StringIO(comparison_csv(result))))
    assert [line["metric"] for line in lines] == [metric.metric for metric in result.metrics]
    assert {line["decision"] for line in lines} <= {"pass", "regression", "inconclusive"}


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (None, "ns", "-"),
        (4e6, "ns", "4.00 ms"),
        (8e-6, "s", "8.00 µs"),
        (64.0, "bytes", "64 B"),
        (50 * 1024 * 1024, "bytes", "50.0 MiB"),
        (4000.0, "1/s", "4,000.0/s"),
        (3.0, "", "3"),
    ],
)
def test_figures_are_shown_with_their_unit(value: float | None, unit: str, shown: str) -> None:
    assert figure_shown(value, unit) == shown


def test_changes_are_shown_in_percent() -> None:
    assert (change_shown(None), change_shown(-0.125)) == ("-", "-12.5%")
    assert (interval_shown(None), interval_shown((-0.01, 0.2))) == ("-", "-1.0% … +20.0%")


# -- what a layout cannot give -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("why", ["the layout carries no sent time", HOSTILE], ids=["a reason", "hostile"])
def test_what_is_missing_is_named_where_there_is_room_for_words(why: str) -> None:
    result = msgspec.structs.replace(run(), missing={"notify.service": why})
    assert "not measured, as " in run_markdown(result)
    assert "notify.service" in run_markdown(result)
    suite = ET.fromstring(run_junit(result)).find("testsuite")  # noqa: S314 - our own
    assert suite is not None
    properties = {each.get("name"): each.get("value") for each in suite.iter("property")}
    assert (properties["missing: notify.service"] or "").startswith(why[:6])
    rows = list(csv.DictReader(io.StringIO(run_csv([("a", result)]))))
    (row,) = [row for row in rows if row["unit"] == "missing"]
    assert (row["figure"], row["value"]) == ("notify.service", why)
