"""A run whose generator was INVALID, in which a worker died or that was interrupted: nobody takes its figures for the
target's."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest
from compare_samples import run

from loadgen.commands.results import compare_saved, export_saved
from loadgen.compare.comparison import compare
from loadgen.errors import ExitCode, InputError
from loadgen.report.html import run_page
from loadgen.report.junit import run_junit
from loadgen.report.markdown import run_markdown
from loadgen.results.document import as_json
from loadgen.results.health import Verdict
from loadgen.results.result import RunResult
from loadgen.results.thresholds import Status, ThresholdResult

FOR_DASHBOARDS = ["benchmark-smaller", "benchmark-bigger", "bmf"]
PASSED = ThresholdResult("sessions.failed == 0", status=Status.PASSED, figure=0, shown="was 0")
FAILED = ThresholdResult("notify.lost == 0", status=Status.FAILED, figure=7, shown="was 7")
ENDINGS = {
    "its generator was saturated": (Verdict.INVALID, ExitCode.GENERATOR_SATURATED),
    "a worker process died in it": (Verdict.VALID, ExitCode.WORKER_DIED),
    "it was interrupted": (Verdict.VALID, ExitCode.INTERRUPTED),
}


def ended(why: str) -> RunResult:
    """Its counters are those of a run in which nothing went wrong: what a dead worker saw is in nobody's books."""
    generator, code = ENDINGS[why]
    result = run(generator=generator, exit_code=code, thresholds=(PASSED, FAILED))
    verdict = msgspec.structs.replace(result.verdict, outcome="told", reasons=("worker mse-0 was killed",))
    return msgspec.structs.replace(result, verdict=verdict)


def save(folder: Path, result: RunResult) -> Path:
    folder.mkdir()
    (folder / "result.json").write_text(as_json(result), "utf-8")
    return folder


@pytest.mark.parametrize("why", ENDINGS)
@pytest.mark.parametrize("form", FOR_DASHBOARDS)
def test_a_dashboard_gets_none_of_it(form: str, why: str, tmp_path: Path) -> None:
    path, out = save(tmp_path / "run", ended(why)), tmp_path / "out.json"
    with pytest.raises(InputError) as caught:
        export_saved([path], form, out)
    assert caught.value.exit_code == ExitCode.BAD_INPUT
    (problem,) = caught.value.problems
    assert problem.where == f"{path}: --format {form}"
    assert problem.found == f"one that does not count: {why}; worker mse-0 was killed"
    assert not out.exists()
    export_saved([save(tmp_path / "fine", run())], form, out)
    assert json.loads(out.read_text("utf-8"))


@pytest.mark.parametrize("why", ENDINGS)
def test_a_table_says_so_in_every_line(why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [save(tmp_path / "fine", run()), save(tmp_path / "run", ended(why))]
    export_saved(paths, "csv", None)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    told = {(row["result"], row["generator"], row["outcome"], row["not counted"]) for row in rows}
    assert told == {(str(paths[0]), "VALID", "passed", ""), (str(paths[1]), str(ENDINGS[why][0]), "told", why)}


@pytest.mark.parametrize("why", ENDINGS)
def test_a_test_report_has_an_error_and_no_judgement(why: str) -> None:
    suite = ET.fromstring(run_junit(ended(why)))[0]  # noqa: S314 - our own
    marks = {case.get("name"): case[0].tag if len(case) else None for case in suite.iter("testcase")}
    assert (marks.pop(PASSED.text), marks.pop(FAILED.text)) == ("skipped", "skipped")
    assert list(marks.values()).count("error") == 1
    error = suite.find(".//error")
    assert error is not None
    assert "worker mse-0 was killed" in error.get("message", "")


@pytest.mark.parametrize("why", ENDINGS)
def test_pages_say_so_above_the_figures(why: str) -> None:
    text = run_markdown(ended(why))
    assert text.startswith(f"## ❌ told — quick\n\n**These figures are not the target's under this plan: {why}.**\n")
    page = run_page(ended(why), {}, "")
    assert page.index('role="alert"') < page.index('id="headline"')
    assert 'role="alert"' not in run_page(run(), {}, "")
    assert "not the target" not in run_markdown(run())


@pytest.mark.parametrize("why", ENDINGS)
def test_a_comparison_of_nothing_else_has_no_figures_either(why: str, tmp_path: Path) -> None:
    good, bad = run(), ended(why)
    one, other = save(tmp_path / "one", good), save(tmp_path / "other", bad)
    for form in FOR_DASHBOARDS:
        with pytest.raises(InputError, match=f"no run of the new side counts; .* does not count: {why}"):
            compare_saved([one], [other], form, tmp_path / "out", 0.1, 0.1)
    # One that counts is enough: the others are left out of its figures.
    third = save(tmp_path / "third", msgspec.structs.replace(good, rates={"notify.received_per_s": 3999.0}))
    compare_saved([one], [other, third], "bmf", tmp_path / "out", 0.1, 0.1)
    figures = json.loads((tmp_path / "out").read_text("utf-8"))
    assert figures["quick/notify.received_per_s"] == {"throughput": {"value": 3999.0}}
    assert compare([good], [bad], paired=False).exit_code == ExitCode.INCONCLUSIVE


NOBODY = {"sessions.attempted": 0, "sessions.established": 0, "sessions.failed": 0, "notify.due": 9, "notify.sent": 0}


@pytest.mark.parametrize("form", FOR_DASHBOARDS)
def test_a_run_that_nobody_came_to_has_no_errors_to_be_proud_of(form: str, tmp_path: Path) -> None:
    """One whose sessions all failed has: they are errors, and its rate is 0."""
    nobody = msgspec.structs.replace(run(exit_code=ExitCode.UNREACHABLE), counters=NOBODY, rates={}, metrics={})
    with pytest.raises(InputError) as caught:
        export_saved([save(tmp_path / "nobody", nobody)], form, None)
    (problem,) = caught.value.problems
    assert problem.found == "one that nobody came to, and that tells nothing of a target"
    failed = NOBODY | {"sessions.attempted": 5, "sessions.failed": 5}
    out = tmp_path / "out.json"
    export_saved([save(tmp_path / "failed", msgspec.structs.replace(nobody, counters=failed))], form, out)
    assert json.loads(out.read_text("utf-8"))
