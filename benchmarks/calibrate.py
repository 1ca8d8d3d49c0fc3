"""`python -m benchmarks.calibrate [CASE ...]`: plant it, measure it, compare; exit code 1 if a figure misses.

`limits` (or limits-handshakes, limits-notifications, limits-sessions) and `ab` (or ab-equal, ab-throughput, ab-latency)
only when they are named: they take an hour each.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click

from benchmarks.calibration import pairs
from benchmarks.calibration.cases import CASES, Case
from benchmarks.calibration.figures import Figure
from benchmarks.calibration.limits import LIMITS
from benchmarks.calibration.machine import Watch
from benchmarks.calibration.programs import Failed

_LIMITS = [Case(name, figures) for name, figures in LIMITS]
_PAIRS = [Case(name, figures) for name, figures in pairs.CASES.items()]
_NAMES = [case.name for case in (*CASES, *_LIMITS, *_PAIRS)]
_ATTEMPTS = 3
_HEAD = ("case", "figure", "expected", "found", "deviation", "")


@click.command()
@click.argument("names", nargs=-1, metavar="[CASE]...")
@click.option("--tries", default=10, envvar="TRIES", show_default=True, type=click.IntRange(1), help="Of each limit.")
def main(names: tuple[str, ...], tries: int) -> None:
    """Run all cases but limits and ab, or those whose name begins with CASE, and print a Markdown table."""
    chosen = [case for case in (*CASES, *_PAIRS) if case.name.startswith(names)] if names else CASES
    limits = [case for case in _LIMITS if names and case.name.startswith(names)]
    if not chosen and not limits:
        raise click.BadParameter(f"expected the beginning of one of {', '.join(_NAMES)}, found {' '.join(names)}")
    _row(_HEAD)
    _row(["---"] * len(_HEAD))
    missed = 0
    for case in chosen:
        # What is about how often it misses is not tried again.
        for figure in _measured(case, attempts=1 if case in _PAIRS else _ATTEMPTS):
            missed += not figure.met
            mark = "ok" if figure.met else "**MISS**"
            _row((case.name, figure.name, figure.expected, figure.found, figure.deviation, mark))
    for case in limits:
        missed += _searched(case, tries)
    sys.exit(1 if missed else 0)


def _searched(case: Case, tries: int) -> int:
    """Search for a planted limit so often, with a row for each; how many did not find it."""
    missed = 0
    for number in range(1, tries + 1):
        limit, *others = _measured(case, attempts=1)  # a try that misses is what this is about
        met = limit.met and all(figure.met for figure in others)
        missed += not met
        mark = "ok" if met else "**MISS**: " + "; ".join(f.found for f in others if not f.met)
        _row((case.name, f"{limit.name}, try {number}", limit.expected, limit.found, limit.deviation, mark))
    mark = "**MISS**" if missed else "ok"
    _row((case.name, "found within 5 %", f"{tries} of {tries}", f"{tries - missed} of {tries}", "", mark))
    return missed


def _measured(case: Case, attempts: int = _ATTEMPTS) -> list[Figure]:
    """A case's figures; once more if one misses while the machine was kept busy by others, three times at most."""
    for attempt in range(1, attempts + 1):
        with tempfile.TemporaryDirectory() as folder, Watch() as watch:
            try:
                figures = case.figures(Path(folder))
            except Failed as error:
                figures = [Figure("", "to be measured", str(error).splitlines()[0], "", met=False)]
        if all(figure.met for figure in figures):
            break
        missed = ", ".join(figure.name for figure in figures if not figure.met)
        waited = f"the machine kept a sleeper waiting for up to {watch.worst_s * 1000:.0f} ms"
        click.echo(f"{case.name}, attempt {attempt}: missed {missed}; {waited}", err=True)
        if watch.calm:
            break
    return figures


def _row(cells: tuple[str, ...] | list[str]) -> None:
    click.echo("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
