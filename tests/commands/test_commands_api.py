"""`loadgen.commands` as a Python program uses it: values in, values out, and nothing printed."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import click
import pytest

from loadgen.capacity.result import CapacityResult
from loadgen.commands import capacity, compare, infer, run
from loadgen.commands.options import SourceOptions
from loadgen.commands.source import read_source
from loadgen.compare.result import Comparison
from loadgen.errors import ExitCode, InputError, NotWritten
from loadgen.measure.books import imbalances
from loadgen.measure.progress import Snapshot
from loadgen.report.folder import ResultFolder
from loadgen.results.document import as_json, read_document_untrusted
from loadgen.results.result import RunResult

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "python.md"
cli = importlib.import_module("loadgen.cli.main")


def small(**load: object) -> dict[str, Any]:
    """A scenario as values: half a second of load."""
    return {
        "name": "small",
        "wlc": {"count": 2, "listen": "127.77.12.2:0", "step": "port", "stations": 5},
        "mse": {"count": 2},
        "load": {"rate": 200, "stages": ({"hold": "500ms"},), **load},
    }


def refused(call: Callable[[], object], *wheres: str) -> None:
    with pytest.raises(InputError) as found:
        call()
    assert [problem.where for problem in found.value.problems] == list(wheres)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# -- what is returned --------------------------------------------------------------------------------------------------


def test_a_run_of_values_writes_and_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    shown: list[Snapshot] = []
    listening: list[Sequence[tuple[str, int]]] = []
    values = small()
    result = run(
        values, overrides=["load.rate=400"], workers=1, thresholds=["notify.lost == 0"],
        on_progress=shown.append, on_listening=listening.append,
    )  # fmt: skip
    assert isinstance(result, RunResult)
    assert result.scenario == "small"
    assert result.counters["sessions.established"] == 4
    assert result.counters["notify.due"] == 400
    assert imbalances(result.counters) == []
    assert [threshold.text for threshold in result.thresholds] == ["notify.lost == 0"]
    assert result.thresholds[0].status == "passed"
    assert values == small()  # the caller's own are left alone
    ((one, other),) = listening
    assert one[0] == other[0] == "127.77.12.2"
    assert one[1] != other[1]
    assert {(snapshot.total_s, snapshot.sessions) for snapshot in shown} == {(0.5, 4)}
    assert capfd.readouterr() == ("", "")
    assert list(Path().iterdir()) == []


def test_a_run_leaves_the_folder_of_the_command() -> None:
    result = run(small(), workers=1, results="results")
    (folder,) = Path("results").iterdir()
    assert {path.name for path in folder.iterdir()} == {"plan.json", "result.json", "report.html", "histograms.hlog"}
    assert (folder / "result.json").read_text("utf-8") == as_json(result)
    # Results at hand and saved ones are the same thing.
    judged = compare([folder], [result])
    assert isinstance(judged, Comparison)
    assert judged.scenario == "small"
    refused(lambda: compare([result], [folder, folder / "result.json"]), str(folder / "result.json"))


def test_a_target_that_is_not_there_is_a_verdict() -> None:
    lines: list[str] = []
    result = run(small(), target="wlc=127.77.12.3:9", workers=1, on_line=lines.append)
    assert result.verdict.exit_code == ExitCode.UNREACHABLE
    assert result.counters["sessions.established"] == 0
    assert result.counters["errors.tcp.refused"] > 0


def test_a_search_ends_at_its_maximum(capfd: pytest.CaptureFixture[str]) -> None:
    lines: list[str] = []
    result = capacity(
        small(), workers=1, dimensions=["notify.per_s"], slos=["sessions.lost == 0"], start={"notify.per_s": 50},
        maximum={"notify.per_s": 50.0}, hold="200ms", confirm="200ms", resolution=0.5, on_line=lines.append,
        overrides=["capacity.warmup=10ms", "capacity.cooldown=10ms"],
    )  # fmt: skip
    assert isinstance(result, CapacityResult)
    (found,) = result.dimensions
    assert found.dimension == "notify.per_s"
    assert found.slos == ("sessions.lost == 0",)
    assert max(probe.offered for probe in found.probes) == 50.0
    assert len(lines) >= len(found.probes) > 0
    assert capfd.readouterr() == ("", "")
    assert list(Path().iterdir()) == []


def test_files_that_cannot_be_written_cost_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that goes while the run goes on."""

    def gone(folder: ResultFolder) -> None:
        check(folder)
        folder.path.rename("elsewhere")

    check = ResultFolder.check
    monkeypatch.setattr(ResultFolder, "check", gone)
    with pytest.raises(NotWritten, match=r"result\.json: expected a file that can be written") as found:
        run(small(), workers=1, results="results")
    assert found.value.exit_code == ExitCode.NOT_WRITTEN
    assert isinstance(found.value.result, RunResult)
    assert found.value.result.counters["sessions.established"] == 4
    assert any("report.html" in problem for problem in found.value.problems)


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_all_that_is_wrong_with_values_is_told_at_once() -> None:
    values = small(rate="fast", typo=3) | {"wlc": {"count": 0}, 7: "x", "profile": Path("p.toml")}
    refused(
        lambda: run(values),
        *("scenario: 7", "scenario: profile", "scenario: wlc.count", "scenario: load.typo", "scenario: load.rate"),
    )


def test_files_that_values_name_are_looked_for_here() -> None:
    refused(lambda: run(small() | {"profile": "mine.toml"}), "mine.toml")
    refused(lambda: run(small(), overrides=["wlc.auth_list=mine.txt"]), "mine.txt")


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"serve": "ap"}, "--serve"),
        ({"serve": "wlc", "target": "wlc=127.0.0.1:1"}, "--target, --serve"),
        ({"target": "127.0.0.1:1"}, "--target"),
        ({"workers": 0}, "--workers"),
        ({"workers": "many"}, "--workers"),
        ({"duration": "10"}, "--duration"),
        ({"wait_for_target": "1s"}, "--wait-for-target"),
        ({"thresholds": ["latency < 3"]}, "--threshold[0]"),
        ({"overrides": ["nonsense"]}, "--set"),
    ],
)
def test_arguments_are_refused_as_options_are(options: dict[str, Any], where: str) -> None:
    refused(lambda: run(small(), results="results", **options), where)
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"dimensions": ["pace"]}, "--dimension"),
        ({"start": {"pace": 3.0}}, "--start"),
        ({"maximum": {"notify.per_s": float("nan")}}, "--max"),
        ({"resolution": 5}, "--resolution"),
        ({"hold": "0s"}, "--hold"),
        ({"slos": ["bogus > 1"]}, "--slo[0]"),
    ],
)
def test_arguments_of_a_search_are_refused_as_options_are(options: dict[str, Any], where: str) -> None:
    refused(lambda: capacity(small(), results="results", **options), where)
    assert list(Path().iterdir()) == []


def test_one_text_is_no_sequence_of_texts() -> None:
    for options in ({"overrides": "wlc.count=3"}, {"thresholds": "notify.lost == 0"}):
        with pytest.raises(TypeError, match="expected a sequence of texts"):
            run(small(), **options)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match='baseline: expected a sequence of results, found "results"'):
        compare("results", ["others"])


def test_a_comparison_refuses_what_is_none() -> None:
    refused(lambda: compare([], []), "baseline")
    refused(lambda: compare(["one", "two"], ["three"]), "one", "two", "three")  # no such files
    refused(lambda: compare(["one"], ["two"], relevant_rate=0.0), "relevant_rate")
    refused(lambda: compare(["one"], ["two"], relevant_latency=float("nan")), "relevant_latency")


def test_a_run_in_a_thread_is_refused() -> None:
    """Or signals would be nobody's."""
    found: list[BaseException] = []

    def call() -> None:
        try:
            run(small(), results="results")
        except RuntimeError as error:
            found.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert "main thread" in str(found[0])
    assert list(Path().iterdir()) == []


def test_a_scenario_as_values_is_that_of_its_file() -> None:
    text = (
        'name = "small"\n[wlc]\ncount = 2\nlisten = "127.77.12.2:0"\nstep = "port"\nstations = 5\n'
        '[mse]\ncount = 2\n[load]\nrate = 200\nstages = [{ hold = "500ms" }]\n'
    )
    Path("small.toml").write_text(text, "utf-8")
    sources = [
        read_source(SourceOptions(given, ("wlc.count=3",), None, None, "1")) for given in (Path("small.toml"), small())
    ]
    assert sources[0].scenario == sources[1].scenario
    assert sources[0].scenario.wlc.count == 3


# -- the page ----------------------------------------------------------------------------------------------------------


def test_the_example_of_the_page_runs(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", example], capture_output=True, text=True, cwd=tmp_path, env={**os.environ}, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    verdict, latency, judgement = done.stdout.splitlines()[-3:]
    assert re.fullmatch(r".+ (VALID|DEGRADED|INVALID) \d+", verdict), done.stdout
    assert float(latency) > 0
    assert judgement.split()[0] in ("pass", "regression", "inconclusive")
    (folder,) = (tmp_path / "results").iterdir()
    saved = read_document_untrusted(folder, RunResult)
    assert saved.scenario == "nightly"
    assert json.loads((folder / "plan.json").read_text("utf-8"))["scenario"] == "nightly"


@pytest.mark.parametrize(
    ("function", "command"),
    [(each, cli.cli.get_command(None, each.__name__)) for each in (run, capacity, compare, infer)],
)
def test_a_function_has_every_option_of_its_command_but_those_of_the_page(
    function: Callable[..., object], command: click.Command
) -> None:
    arguments = {*signature(function).parameters}
    called = {"starts": "start", "maxima": "maximum"}
    options = {param.opts[0] for param in command.params if called.get(str(param.name), param.name) not in arguments}
    (row,) = re.findall(rf"^\| `{function.__name__}\(.*\| (.*) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert options == set(re.findall("`(.*?)`", row))
