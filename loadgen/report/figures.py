"""Figures as people read them."""

from __future__ import annotations

from loadgen.units import format_duration

_MIB = 1024 * 1024


def figure_shown(value: float | None, unit: str) -> str:
    """A figure with its unit; a dash where there is none."""
    if value is None:
        return "-"
    if unit == "ns":
        return format_duration(value)
    if unit == "s":  # CPU time of one notification is a few microseconds
        return format_duration(value * 1e9)
    if unit == "bytes":
        return f"{value / _MIB:,.1f} MiB" if value >= 10 * _MIB else f"{value:,.0f} B"
    return f"{value:,.1f}/s" if unit == "1/s" else f"{value:,.6g}"


def change_shown(change: float | None) -> str:
    """A share as a change in percent."""
    return "-" if change is None else _signed(change)


def interval_shown(interval: tuple[float, float] | None) -> str:
    """Both ends of an interval of changes."""
    return "-" if interval is None else " … ".join(map(_signed, interval))


def _signed(share: float) -> str:
    return f"{round(share, 3) + 0.0:+.1%}"  # + 0.0: there is no -0.0%
