"""Results of runs, saved or at hand, against each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from loadgen.compare.comparison import compare
from loadgen.compare.metrics import Relevant
from loadgen.compare.result import Comparison
from loadgen.errors import InputError, Problem, noting
from loadgen.results.document import read_document_untrusted
from loadgen.results.result import RunResult

# A result, or where it is.
Saved = Path | RunResult


def compare_results(baseline: Sequence[Saved], new: Sequence[Saved], relevant: Relevant) -> Comparison:
    """Judge `new` by `baseline`.

    Raises:
        InputError: a side without a result; a result that cannot be read, is given twice, or is of another load.
    """
    sides = {"baseline": baseline, "new": new}
    for name, given in sides.items():
        if not given:
            raise InputError(Problem(name, "a result, or several", "none"))
        _refuse_twice(name, given)
    # A problem with one file is no reason to hide that of the next.
    problems: list[Problem] = []
    runs: dict[Path, RunResult] = {}
    for path in dict.fromkeys(each for each in (*baseline, *new) if isinstance(each, Path)):
        with noting(problems):
            runs[path] = read_document_untrusted(path, RunResult)
    if problems:
        raise InputError(problems)
    before, after = ([runs[each] if isinstance(each, Path) else each for each in given] for given in sides.values())
    named = {name: [_name(name, number, each) for number, each in enumerate(given)] for name, given in sides.items()}
    return compare(
        before,
        after,
        paired=False,
        names=(_side(named["baseline"]), _side(named["new"])),
        sources=[*named["baseline"], *named["new"]],
        relevant=relevant,
    )


def _refuse_twice(side: str, given: Sequence[Saved]) -> None:
    seen: set[Path | int] = set()
    for number, each in enumerate(given):
        if isinstance(each, Path):
            key: Path | int = (each / "result.json" if each.is_dir() else each).resolve()
        else:
            key = id(each)
        if key in seen:  # one run twice would look like two that agree
            raise InputError(Problem(_name(side, number, each), "every result once", "the same again"))
        seen.add(key)


def _name(side: str, number: int, each: Saved) -> str:
    return str(each) if isinstance(each, Path) else f"{side} {number + 1}"


def _side(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
