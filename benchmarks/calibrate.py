"""`python -m benchmarks.calibrate [CASE ...]`: plant it, measure it, compare; exit code 1 if a figure misses."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click

from benchmarks.calibration import pairs
from benchmarks.calibration.cases import CASES, Case
from benchmarks.calibration.figures import Figure
from benchmarks.calibration.machine import Watch
from benchmarks.calibration.programs import Failed

# These take an hour or so, and are run only when they are named.
_LONG = [Case(name, figures) for name, figures in pairs.CASES.items()]
_NAMES = [case.name for case in (*CASES, *_LONG)]
_ATTEMPTS = 3
_HEAD = ("case", "figure", "expected", "found", "deviation", "")


@click.command()
@click.argument("names", nargs=-1, metavar="[CASE]...")
def main(names: tuple[str, ...]) -> None:
    """Run all cases, or those whose name begins with CASE, and print a Markdown table."""
    chosen = [case for case in (*CASES, *_LONG) if case.name.startswith(names)] if names else CASES
    if not chosen:
        raise click.BadParameter(f"expected the beginning of one of {', '.join(_NAMES)}, found {' '.join(names)}")
    _row(_HEAD)
    _row(["---"] * len(_HEAD))
    missed = 0
    for case in chosen:
        for figure in _measured(case):
            missed += not figure.met
            mark = "ok" if figure.met else "**MISS**"
            _row((case.name, figure.name, figure.expected, figure.found, figure.deviation, mark))
    sys.exit(1 if missed else 0)


def _measured(case: Case) -> list[Figure]:
    """A case's figures; once more if one misses while the machine was kept busy by others, three times at most."""
    for attempt in range(1, _ATTEMPTS + 1):
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
