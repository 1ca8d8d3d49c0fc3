"""`loadgen compare` and `loadgen export`, run as click runs them."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result
from compare_samples import run

from loadgen.cli.compare import compare
from loadgen.cli.export import export
from loadgen.compare.result import Comparison
from loadgen.errors import ExitCode, InputError
from loadgen.results.document import as_json
from loadgen.results.result import RunResult


def save(path: Path, result: msgspec.Struct) -> str:
    path.mkdir(parents=True, exist_ok=True)
    (path / "result.json").write_text(as_json(result), "utf-8")
    return str(path)


def judge(*arguments: str) -> tuple[int, str]:
    """What the command returns and prints; what it raises is raised here."""
    result = CliRunner().invoke(compare, list(arguments), standalone_mode=False, catch_exceptions=False)
    return result.return_value, result.output


def write(*arguments: str) -> str:
    result = CliRunner().invoke(export, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def usage(*arguments: str) -> Result:
    return CliRunner().invoke(compare, list(arguments))


# -- compare -----------------------------------------------------------------------------------------------------------


def test_two_results_are_compared(tmp_path: Path) -> None:
    old, new = save(tmp_path / "old", run()), save(tmp_path / "new", run(counters={"notify.lost": 2}))
    code, output = judge(old, "--", new)
    assert code == ExitCode.THRESHOLD_FAILED
    assert output.startswith("REGRESSION   quick 26ea5f7ee257\n")
    assert "notify.lost" in output
    assert judge(old, "--", f"{old}/result.json")[0] == ExitCode.INCONCLUSIVE


def test_several_results_a_side_and_files_as_well_as_folders(tmp_path: Path) -> None:
    old = [save(tmp_path / f"old{n}", run()) for n in range(4)]
    new = [save(tmp_path / f"new{n}", run()) + "/result.json" for n in range(3)]
    code, output = judge("--json", *old, "--", *new)
    result = msgspec.json.decode(output, type=Comparison)
    assert code == result.exit_code == ExitCode.PASSED
    assert (len(result.metrics[0].baseline_runs), len(result.metrics[0].new_runs)) == (4, 3)
    assert (result.baseline, result.new) == (f"{old[0]} and 3 more", f"{new[0]} and 2 more")


@pytest.mark.parametrize("form", ["table", "markdown", "junit", "benchmark-smaller", "benchmark-bigger", "bmf", "csv"])
def test_every_format_goes_into_a_file(tmp_path: Path, form: str) -> None:
    old, new = save(tmp_path / "old", run()), save(tmp_path / "new", run())
    _, output = judge(old, "--format", form, "--", new)
    code, nothing = judge(old, "--format", form, "--out", str(tmp_path / "out"), "--", new)
    assert (code, nothing) == (ExitCode.INCONCLUSIVE, "")
    assert (tmp_path / "out").read_text("utf-8") == output != ""


@pytest.mark.parametrize("arguments", [[], ["a"], ["a", "--"], ["--", "b"]])
def test_both_sides_must_be_given(arguments: list[str]) -> None:
    result = usage(*arguments)
    assert result.exit_code == ExitCode.BAD_INPUT
    assert "Missing" in result.output


def test_names_behind_the_dashes_may_begin_with_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--json"):
        judge(save(tmp_path / "old", run()), "--", "--json")


def test_usage_shows_both_lists() -> None:
    assert "[OPTIONS] BASELINE... -- NEW..." in usage("--help").output


def test_what_is_no_result_is_named_all_of_it(tmp_path: Path) -> None:
    good = save(tmp_path / "good", run())
    truncated, newer, foreign, other = (
        tmp_path / f"{name}.json" for name in ("truncated", "newer", "foreign", "other")
    )
    truncated.write_text(as_json(run())[:500], "utf-8")
    newer.write_text(as_json(run(schema_version=RunResult.VERSION + 1)), "utf-8")
    foreign.write_text('{"name": "somebody else\'s"}', "utf-8")
    other.write_text(as_json(msgspec.json.decode(judge("--json", good, "--", good)[1], type=Comparison)), "utf-8")
    (tmp_path / "empty").mkdir()
    wrong = [str(truncated), str(newer), str(foreign), str(other), str(tmp_path / "empty"), str(tmp_path / "missing")]
    with pytest.raises(InputError) as caught:
        judge(good, "--", *wrong)
    assert caught.value.exit_code == ExitCode.BAD_INPUT
    assert len(caught.value.problems) == len(wrong)
    assert all(problem.where.startswith(path) for problem, path in zip(caught.value.problems, wrong, strict=True))


def test_another_load_is_refused_by_the_name_of_its_file(tmp_path: Path) -> None:
    old, new = save(tmp_path / "old", run()), save(tmp_path / "new", run(plan_digest="other"))
    with pytest.raises(InputError, match=f"{new}: plan_digest: expected 26ea5f7ee257 as in {old}, found other"):
        judge(old, "--", new)


def test_one_run_twice_is_refused(tmp_path: Path) -> None:
    old = save(tmp_path / "old", run())
    with pytest.raises(InputError, match="every result once"):
        judge(old, f"{old}/result.json", "--", old)


def test_what_matters_can_be_said(tmp_path: Path) -> None:
    old = [save(tmp_path / f"old{n}", run(factors={"notify.latency.p50": 1 + n / 1000})) for n in range(6)]
    new = [save(tmp_path / f"new{n}", run(factors={"notify.latency.p50": 1.08 + n / 1000})) for n in range(6)]
    assert judge(*old, "--", *new)[0] == ExitCode.PASSED
    assert judge("--relevant-latency", "2", *old, "--", *new)[0] == ExitCode.THRESHOLD_FAILED
    assert usage("--relevant-latency", "0", *old, "--", *new).exit_code == ExitCode.BAD_INPUT


# -- export ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["markdown", "junit", "benchmark-smaller", "benchmark-bigger", "bmf", "csv"])
def test_runs_and_comparisons_go_into_every_format(tmp_path: Path, form: str) -> None:
    one = save(tmp_path / "run", run())
    (tmp_path / "ab.json").write_text(judge("--json", one, "--", one)[1], "utf-8")
    for path in (one, str(tmp_path / "ab.json")):
        output = write(path, "--format", form)
        assert output.endswith("\n")
        assert write(path, "--format", form, "--out", str(tmp_path / "out")) == ""
        assert (tmp_path / "out").read_text("utf-8") == output


def test_several_runs_go_into_one_table_or_page_and_nothing_else(tmp_path: Path) -> None:
    paths = [save(tmp_path / name, run()) for name in ("a", "b")]
    assert len({line.split(",")[0] for line in write(*paths, "--format", "csv").splitlines()[1:]}) == 2
    assert write(*paths, "--format", "markdown").count("\n## ") == 1
    with pytest.raises(InputError, match="--format bmf: expected one result, found 2"):
        write(*paths, "--format", "bmf")


def test_a_search_has_no_figures_for_other_programs(tmp_path: Path) -> None:
    document = {
        "document": "capacity",
        "schema_version": 1,
        "scenario": "quick",
        "plan_digest": "26ea",
        "use": "both",
        "started": "2026-01-02T03:04:05Z",
        "environment": {},
        "dimensions": [],
        "exit_code": 0,
    }
    (tmp_path / "result.json").write_text(json.dumps(document), "utf-8")
    assert write(str(tmp_path), "--format", "markdown").startswith("## ✅ capacity — quick")
    with pytest.raises(InputError, match="one of a search"):
        write(str(tmp_path), "--format", "junit")


def test_a_file_that_cannot_be_written_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--out"):
        write(save(tmp_path / "a", run()), "--format", "csv", "--out", str(tmp_path / "no" / "where"))
