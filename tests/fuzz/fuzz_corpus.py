"""The corpus: one text file for each target, an input in each line (hex), and what is new about an input.

Inputs that found a bug are in a file of their own, which is never made smaller.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias

import loadgen

FOLDER = Path(__file__).with_name("corpus")
_PACKAGE = str(Path(loadgen.__file__).parent)

# From this line to that one in a file, and about how often (0: once, 1: a few times, 2: often).
Step: TypeAlias = tuple[str, int, int, int]


def read(target: str, folder: Path = FOLDER) -> list[bytes]:
    """The inputs that are kept."""
    path = folder / f"{target}.hex"
    return [bytes.fromhex(line) for line in path.read_text("ascii").splitlines()] if path.exists() else []


def write(target: str, inputs: Iterable[bytes], folder: Path = FOLDER) -> None:
    """Keep these, short ones first."""
    lines = [data.hex() for data in sorted(set(inputs), key=lambda data: (len(data), data)) if data]
    (folder / f"{target}.hex").write_text("".join(f"{line}\n" for line in lines), "ascii")


def _no_others() -> set[Step]:
    return set()


def steps(run: Callable[[bytes], None], data: bytes, others: Callable[[], set[Step]] = _no_others) -> set[Step]:
    """The steps through our own code that an input takes.

    Args: others: steps that are none of Python's, since it was asked last.
    """
    others()
    taken: Counter[tuple[str, int, int]] = Counter()

    def enter(frame: FrameType, event: str, argument: object) -> Any:
        name = frame.f_code.co_filename
        if not name.startswith(_PACKAGE):
            return None
        last = 0

        def line(frame: FrameType, event: str, argument: object) -> Any:
            nonlocal last
            if event == "line":
                taken[name, last, frame.f_lineno] += 1
                last = frame.f_lineno
            return line

        return line

    sys.settrace(enter)
    try:
        run(data)
    finally:
        sys.settrace(None)
    return others() | {(*step, often(count)) for step, count in taken.items()}


def often(count: int) -> int:
    """How often, as a step has it."""
    return 0 if count == 1 else 1 if count < 5 else 2


def smallest(
    run: Callable[[bytes], None], inputs: Iterable[bytes], others: Callable[[], set[Step]] = _no_others
) -> tuple[list[bytes], set[Step]]:
    """Few and short inputs that take every step which all of them take."""
    kept, known = list[bytes](), set[Step]()
    for data in sorted(set(inputs), key=lambda data: (len(data), data)):
        new = steps(run, data, others) - known
        if new:
            known |= new
            kept.append(data)
    return kept, known


def lines_of(taken: set[Step]) -> int:
    """How many lines of our code these steps lead through."""
    return len({(name, line) for name, _, line, _ in taken})
