"""`loadgen compare` and `loadgen export`: results written in the format that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from loadgen.capacity.result import CapacityResult
from loadgen.commands.output import display, plainly, say
from loadgen.commands.saved import compare_results
from loadgen.compare.metrics import Relevant
from loadgen.compare.result import Comparison
from loadgen.errors import InputError, Problem
from loadgen.report.comparison import comparison_summary
from loadgen.report.formats import (
    NoFigures,
    benchmark_json,
    bmf_json,
    comparison_csv,
    comparison_points,
    run_csv,
    run_points,
)
from loadgen.report.junit import comparison_junit, run_junit
from loadgen.report.markdown import capacity_markdown, comparison_markdown, run_markdown
from loadgen.results.document import as_json, read_document_untrusted
from loadgen.results.result import RunResult

AnyResult = RunResult | Comparison | CapacityResult
R = TypeVar("R", RunResult, Comparison)

# Into a file or a pipe, nothing has to fit a window.
_FILE_WIDTH = 160

_OF_RUN: dict[str, Callable[[RunResult], str]] = {
    "markdown": run_markdown,
    "junit": run_junit,
    "benchmark-smaller": lambda result: benchmark_json(run_points(result), "lower", result.scenario),
    "benchmark-bigger": lambda result: benchmark_json(run_points(result), "higher", result.scenario),
    "bmf": lambda result: bmf_json(run_points(result), result.scenario),
}
_OF_COMPARISON: dict[str, Callable[[Comparison], str]] = {
    "markdown": comparison_markdown,
    "junit": comparison_junit,
    "benchmark-smaller": lambda result: benchmark_json(comparison_points(result), "lower", result.scenario),
    "benchmark-bigger": lambda result: benchmark_json(comparison_points(result), "higher", result.scenario),
    "bmf": lambda result: bmf_json(comparison_points(result), result.scenario),
    "csv": comparison_csv,
    "json": as_json,
}


def export_saved(paths: Sequence[Path], form: str, out: Path | None) -> None:
    """Write saved results in a format.

    Raises:
        InputError: a result that cannot be read, or one that the format is not for.
    """
    results = [_read(path) for path in paths]
    if form == "csv" and all(isinstance(result, RunResult) for result in results):
        runs = [(str(path), r) for path, r in zip(paths, results, strict=True) if isinstance(r, RunResult)]
        _write(run_csv(runs), out)
        return
    if len(results) > 1 and form != "markdown":
        raise InputError(Problem(f"--format {form}", "one result", f"{len(results)}"))
    _write("\n".join(_exported(path, r, form) for path, r in zip(paths, results, strict=True)), out)


def compare_saved(
    baseline: Sequence[Path], new: Sequence[Path], form: str, out: Path | None, rate: float, latency: float
) -> int:
    """Compare saved results, write what was asked for, and return the exit code.

    Raises:
        InputError: as `compare_results` and `write_comparison`.
    """
    result = compare_results(baseline, new, Relevant(rate=rate, latency=latency))
    write_comparison(result, form, out)
    return result.exit_code


def write_comparison(result: Comparison, form: str, out: Path | None) -> None:
    """Write a comparison as a table or in another format, to a file or to stdout.

    Raises:
        InputError: the file cannot be written, or the format is one for figures, and no run of the new side counts.
    """
    if form != "table":
        _write(_formed(_OF_COMPARISON[form], result, f"--format {form}"), out)
        return
    if out is None:
        display(comparison_summary(result), _FILE_WIDTH)
        return
    console = Console(width=_FILE_WIDTH)
    plainly(console)
    with console.capture() as captured:
        console.print(comparison_summary(result))
    _write(captured.get(), out)


def _read(path: Path) -> AnyResult:
    result = read_document_untrusted(path, RunResult, Comparison, CapacityResult)
    assert isinstance(result, AnyResult)
    return result


def _exported(path: Path, result: AnyResult, form: str) -> str:
    where = f"{path}: --format {form}"
    if isinstance(result, RunResult):
        return _formed(_OF_RUN[form], result, where)
    if isinstance(result, Comparison):
        return _formed(_OF_COMPARISON[form], result, where)
    if form != "markdown":
        expected = "a result of a run or of a comparison (a search has limits, and no figures of one load)"
        raise InputError(Problem(where, expected, "one of a search"))
    return capacity_markdown(result)


def _formed(write: Callable[[R], str], result: R, where: str) -> str:
    """Raises: InputError: it has no figures for that format."""
    try:
        return write(result)
    except NoFigures as none:
        raise InputError(Problem(where, "a result whose figures are the target's", str(none))) from none


def _write(text: str, out: Path | None) -> None:
    if out is None:
        say(text, nl=False)
        return
    try:
        out.write_text(text, "utf-8")
    except OSError as error:
        found = (error.strerror or str(error)).lower()
        raise InputError(Problem(str(out), "a file that can be written (--out)", found)) from error
