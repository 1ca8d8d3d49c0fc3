"""One figure of one case: what must come out, what came out, and whether that is the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from loadgen.units import format_duration


class Figure(NamedTuple):
    """A row of the table."""

    name: str
    expected: str
    found: str
    deviation: str
    met: bool


def exactly(name: str, expected: object, found: object) -> Figure:
    """A count, or a word: the same or not."""
    deviation = f"{found - expected:+,}" if isinstance(expected, int) and isinstance(found, int) else ""
    return Figure(name, _shown(expected), _shown(found), deviation, expected == found)


def within(
    name: str, expected: float, found: float, share: float, shown: Callable[[float], str] = format_duration
) -> Figure:
    """As expected, but for that share of it, up or down."""
    off = found / expected - 1
    return Figure(name, f"{shown(expected)} ± {share:.0%}", shown(found), f"{off:+.2%}", abs(off) <= share)


def between(
    name: str, lowest: float, highest: float, found: float, shown: Callable[[float], str] = format_duration
) -> Figure:
    """At least the one and at most the other; the deviation is from the lowest."""
    sign = "+" if found >= lowest else "-"
    deviation = f"{sign}{shown(abs(found - lowest))}"
    return Figure(name, f"{shown(lowest)} to {shown(highest)}", shown(found), deviation, lowest <= found <= highest)


def below(name: str, limit: float, found: float, shown: Callable[[float], str] = format_duration) -> Figure:
    return Figure(name, f"< {shown(limit)}", shown(found), "", found < limit)


def holds(name: str, expected: str, found: object, *, met: bool) -> Figure:
    """Anything else."""
    return Figure(name, expected, _shown(found), "", met)


def count(value: float) -> str:
    return f"{value:,.0f}"


def per_s(value: float) -> str:
    return f"{value:,.0f}/s"


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
