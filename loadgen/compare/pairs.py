"""In which order a session's runs are made: A/A control pairs first, then ABBA."""

from __future__ import annotations

from typing import NamedTuple

from loadgen.errors import InputError, Problem

MIN_PAIRS = 2
DEFAULT_PAIRS = 6
DEFAULT_CONTROL = 2


class Slot(NamedTuple):
    """One run of the session.

    Attributes:
        new: whether it is a run of B.
        pair: counted from 0, control pairs and pairs each on their own.
        control: it is one of an A/A pair.
    """

    new: bool
    pair: int
    control: bool


def session_order(pairs: int = DEFAULT_PAIRS, control: int = DEFAULT_CONTROL) -> tuple[Slot, ...]:
    """The runs of a session, in order; runs 2k and 2k + 1 are a pair.

    Every other pair begins with B, so being the second of two, or late in the session, costs both sides the same.

    Raises:
        InputError: fewer pairs than two, or a negative number of control pairs.
    """
    problems = []
    if pairs < MIN_PAIRS:
        problems.append(Problem("--pairs", f"at least {MIN_PAIRS} pairs of runs", str(pairs)))
    if control < 0:
        problems.append(Problem("--control", "0 or more pairs of runs", str(control)))
    if problems:
        raise InputError(problems)
    controls = [Slot(new=False, pair=pair, control=True) for pair in range(control) for _ in range(2)]
    return (*controls, *(Slot(new=new, pair=pair, control=False) for pair in range(pairs) for new in _sides(pair)))


def order_shown(slots: tuple[Slot, ...]) -> str:
    """The order in letters: "AAAA ABBAABBA"."""
    parts = ("".join("AB"[slot.new] for slot in slots if slot.control is control) for control in (True, False))
    return " ".join(filter(None, parts))


def position_of(pair: int, new: bool, control: int) -> int:
    """Where a run of a pair is in a session that began with `control` control pairs."""
    return 2 * (control + pair) + _sides(pair).index(new)


def _sides(pair: int) -> tuple[bool, bool]:
    return (True, False) if pair % 2 else (False, True)
