"""What a result says of other people's clocks, in sentences."""

from __future__ import annotations

from loadgen.measure.clocks import ClockReading, Clocks
from loadgen.units import format_duration


def clock_lines(clocks: Clocks, most: int = 16) -> list[str]:
    """What is to be known of them: each that is not ours, `most` of them at most; nothing if there are no others."""
    if not clocks.wlcs:
        return []
    off = [reading for reading in clocks.readings if reading.corrected or reading.steps or _apart(reading)]
    lines = [_line(reading) for reading in off[:most]]
    if rest := max(len(off), clocks.corrected) - len(lines):
        lines.append(f"clocks of WLCs: {rest:,} more are not ours")
    if clocks.unsteady:
        lines.append(f"sessions whose WLC's clock was set again and again: {clocks.unsteady:,}, not corrected")
    return lines or [f"clocks of WLCs: {clocks.wlcs:,} agree with ours, to within {format_duration(clocks.more_ns)}"]


def _apart(reading: ClockReading) -> bool:
    return abs(reading.offset_ns) > reading.uncertainty_ns


def _line(reading: ClockReading) -> str:
    way = "ahead of" if reading.offset_ns >= 0 else "behind"
    off = format_duration(abs(reading.offset_ns))
    parts = [f"{reading.wlc}'s clock is {off} {way} ours, ± {format_duration(reading.uncertainty_ns)}"]
    if reading.drift_ppb:
        parts.append(f"{'gains' if reading.drift_ppb > 0 else 'loses'} {abs(reading.drift_ppb) / 1000:.3g} ppm")
    if reading.steps:
        parts.append(f"was set {reading.steps:,} times" if reading.steps > 1 else "was set once")
    told = ", ".join(parts)
    if reading.corrected:
        return f"{told}: durations of notifications are corrected by that"
    return f"{told}, or it keeps what it has sent: not corrected" if _apart(reading) else told
