"""What a result says of other people's clocks, in sentences."""

from __future__ import annotations

from loadgen.measure.clock_readings import ClockReading, Clocks, Sides
from loadgen.measure.encoded import HIGHEST_NS
from loadgen.units import NS_PER_MS, format_duration

# Durations that may be less by that many times what the lines about clocks say are worth one of their own.
_NOT_SAID = 2


def clock_lines(clocks: Clocks, most: int = 16) -> list[str]:
    """What is to be known of them: each that is not ours, `most` of them at most; nothing if there are no others."""
    if not (clocks.wlcs or clocks.held_ns or clocks.lone or clocks.far):
        return []
    off = [reading for reading in clocks.readings if reading.corrected or reading.steps or _apart(reading)]
    lines = [_line(reading) for reading in off[:most]]
    says_less = clocks.less_ns > _NOT_SAID * max(_said_ns(off, clocks), NS_PER_MS)
    if not off and clocks.wlcs and not clocks.corrected:
        within = max(0 if says_less else clocks.less_ns, clocks.more_ns - clocks.held_ns - clocks.lone_ns)
        lines.append(f"clocks of WLCs: {clocks.wlcs:,} agree with ours, to within {format_duration(within)}")
    if clocks.far:
        unnamed = clocks.far - len(named := clocks.far_named[:most])
        whose = ", ".join((*named, *([f"and {unnamed:,} more"] if unnamed else ())))
        lines.append(
            f"WLCs whose times are no clock's, 73 years and more from ours: {clocks.far:,} ({whose}): durations of "
            "notifications by them are not known"
        )
    if clocks.held_ns:
        held = _told(clocks.held_ns)
        lines.append(f"durations of notifications may be {held} longer, if that was held which was taken for a clock")
    if says_less:
        less = _told(clocks.less_ns)
        why = "a clock was set or stood still before that was known, or a wrong time was taken for that"
        lines.append(f"durations of notifications may be {less} less, if {why}")
    if clocks.lone:
        alone = "reads of notifications that alone have a WLC's clock further ahead"
        lines.append(f"{alone}: {clocks.lone:,}, taken for wrong times")
    if clocks.lone_ns > NS_PER_MS:
        longer = _told(clocks.lone_ns)
        lines.append(
            f"durations of notifications may be {longer} longer, if one that was faster than all others is right"
        )
    if rest := max(len(off), clocks.corrected) - len(off[:most]):
        sides = clocks.sides
        of_all = f"; of all sessions {_both_ways(sides)}" if sides.ahead or sides.behind else ""
        lines.append(f"clocks of WLCs: {rest:,} more are not ours{of_all}")
    if clocks.unsteady:
        lines.append(f"sessions whose WLC's clock was set again and again: {clocks.unsteady:,}, not corrected")
    return lines


def _told(ns: int) -> str:
    """Of durations: what is longer than any is cut off, and by how much that was too long is no matter."""
    return format_duration(ns) if ns <= HIGHEST_NS else "an unknown time, more than 1 h,"


def _said_ns(off: list[ClockReading], clocks: Clocks) -> int:
    """By how much durations may be less by what is said of the clocks themselves. Where one that was set stands says
    nothing of what it did to durations before that was known.
    """
    behind = [each.uncertainty_ns - each.offset_ns for each in off if not each.corrected and not each.steps]
    corrected = [each.uncertainty_ns for each in off if each.corrected]
    return max(*behind, *corrected, clocks.more_ns - clocks.held_ns - clocks.lone_ns, 0)


def _apart(reading: ClockReading) -> bool:
    return abs(reading.offset_ns) > reading.uncertainty_ns


def _line(reading: ClockReading) -> str:
    way = "ahead of" if reading.offset_ns >= 0 else "behind"
    off = f"{format_duration(abs(reading.offset_ns))}, ± {format_duration(reading.uncertainty_ns)}"
    whose = f"{reading.wlc}'s clock"
    if reading.sides.ahead and reading.sides.behind:
        told = _both_ways(reading.sides)
        whose = f"{reading.wlc} has several clocks, of {reading.sessions:,} sessions {told}: the surest"
    parts = [f"{whose} is {way} ours by {off}"]
    if (_apart(reading) and reading.offset_ns < 0) or reading.sides.behind:
        parts.append("or it holds its notifications for so long")
    parts.append(_drift(reading))
    if reading.steps:
        parts.append(f"was set {reading.steps:,} times" if reading.steps > 1 else "was set once")
    told = ", ".join(parts)
    if 0 < reading.corrected < reading.sessions:
        some = f"in {reading.corrected:,} of {reading.sessions:,} sessions, and only there"
        return f"{told}, {some}: durations of notifications are corrected as for a clock"
    if reading.corrected:
        return f"{told}: durations of notifications are corrected as for a clock"
    return f"{told}: not corrected" if _apart(reading) else told


def _both_ways(sides: Sides) -> str:
    ahead, behind = format_duration(sides.ahead_ns), format_duration(sides.behind_ns)
    parts = (f"{sides.ahead:,} ahead by up to {ahead}", f"{sides.behind:,} behind by up to {behind}")
    return ", ".join(part for part, count in zip(parts, (sides.ahead, sides.behind), strict=True) if count)


def _drift(reading: ClockReading) -> str:
    ppb, uncertain = reading.drift_ppb, reading.drift_uncertainty_ppb
    if ppb is None or not (ppb or uncertain):  # results from before say 0 where it was not known
        return "drift not known"
    way = "loses" if ppb < 0 else "gains"
    return f"{way} {abs(ppb) / 1000:.3g} ppm, ± {uncertain / 1000:.3g} ppm"
