"""`loadgen report`: a result as a page."""

from __future__ import annotations

from pathlib import Path

import click

from loadgen.commands.output import say


@click.command(short_help="Make report.html of a result.")
@click.argument("result_dir", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Where to write it, instead of RESULT_DIR/report.html.")
def report(result_dir: Path, out: Path | None) -> int:
    """Make report.html of the result in RESULT_DIR: of a run, a search for limits or a comparison.

    The page needs no other file and no network.
    """
    from loadgen.capacity.result import CapacityResult
    from loadgen.compare.result import Comparison
    from loadgen.errors import ExitCode, InputError, Problem
    from loadgen.files import read_bounded
    from loadgen.measure.hlog import read_hlog_untrusted
    from loadgen.report.html import capacity_page, comparison_page, run_page
    from loadgen.results.document import MAX_RESULT_BYTES, read_document_untrusted
    from loadgen.results.result import RunResult

    result = read_document_untrusted(result_dir, RunResult, CapacityResult, Comparison)
    folder = result_dir if result_dir.is_dir() else result_dir.parent
    if isinstance(result, RunResult):
        # A result that was copied by itself (or printed by --json) still makes a page.
        log, plan = folder / "histograms.hlog", folder / "plan.json"
        curves = read_hlog_untrusted(log, unfinished=result.unfinished) if log.exists() else {}
        plan_text = ""
        if plan.exists():
            plan_text = read_bounded(plan, MAX_RESULT_BYTES, "a plan").decode("utf-8", "replace")
        try:
            page = run_page(result, curves, plan_text)
        except (ArithmeticError, ValueError) as error:  # numbers that no run has
            raise InputError(Problem(str(folder), "figures that can be drawn", str(error).lower())) from error
    elif isinstance(result, CapacityResult):
        page = capacity_page(result)
    else:
        assert isinstance(result, Comparison)
        page = comparison_page(result)
    path = out or folder / "report.html"
    try:
        path.write_text(page, "utf-8")
    except OSError as error:
        raise InputError(
            Problem(str(path), "a file that can be written", (error.strerror or str(error)).lower())
        ) from error
    say(str(path))
    return ExitCode.PASSED
