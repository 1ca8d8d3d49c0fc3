"""A search for limits on the terminal: outcome first, then the curve of latency over load."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from loadgen.capacity.campaign import Settings, length_of
from loadgen.capacity.dimension import ABOUT
from loadgen.capacity.result import CapacityResult, DimensionResult, Outcome, Probe, Step
from loadgen.report.terminal import hanging
from loadgen.report.tried import amount, outvoted, shared_by, unsettled
from loadgen.results.asked import MOST_NAMED
from loadgen.results.health import Verdict, key_log_lines
from loadgen.units import NS_PER_S, format_duration

_STYLES = {Outcome.FOUND: "bold green", Outcome.NOT_REACHED: "bold yellow"}
# How long a search takes is told for a limit so many times as high as it begins.
_FURTHER = 8
_BAR = 17  # with all the rest in 80 columns


def search_line(settings: Settings) -> str:
    """What begins, and how long it may take, for a log."""
    unit = ABOUT[settings.dimension].unit
    limit = min(settings.maximum, settings.start * _FURTHER)
    loads, ns = length_of(settings, limit)
    begins = f"{settings.dimension} from {amount(settings.start)} {unit} on"
    takes = f"a limit of {amount(limit)} takes {loads} loads, {_length(ns)} in all"
    return f"{begins}: {takes}, and more where a load has to be tried again"


def probe_line(probe: Probe, unit: str) -> str:
    """One load, for a log."""
    latency = "" if probe.p99 is None else f", p99 {format_duration(probe.p99)}"
    if probe.passed:
        how = f"held, with faults: {_with_errors(probe.strays)}" if probe.strays else "held"
    elif probe.undecided:
        how = f"says nothing by itself: {probe.undecided}"
    elif probe.generator is Verdict.INVALID or not probe.broke:
        how = f"not the target's limit: {'; '.join(probe.reasons)}"
    else:
        how = f"broke: {_with_errors(probe.broke)}"
    if probe.renewed:
        how += f" (with new sessions; those before were ended: {probe.renewed})"
    return f"{probe.step:<8} {amount(probe.offered):>12} {unit}{latency}: {how}"


def _with_errors(broke: Sequence[str]) -> str:
    """What broke first, and by which errors."""
    errors = [each for each in broke[1:] if each.startswith("errors.")]
    return "; ".join((broke[0], *errors[:MOST_NAMED]))


def summary(result: CapacityResult, folder: str | None) -> RenderableType:
    """All dimensions."""
    parts: list[RenderableType] = []
    for dimension in result.dimensions:
        parts += [_headline(dimension), _curve(dimension)]
        parts += [hanging("  ", line, "dim") for line in unsettled(dimension)]
        parts.append(Text())
    for said in key_log_lines(result.key_log, result.key_log_trouble):
        parts += [hanging("· ", said, "yellow"), Text()]
    if folder is not None:
        parts.append(Text(f"results in {folder}", style="dim"))
    return Group(*parts)


def _headline(d: DimensionResult) -> RenderableType:
    style = _STYLES.get(d.outcome, "bold red")
    parts: list[RenderableType] = [Text.assemble((d.outcome.upper(), style), f"   {d.dimension}")]
    if d.limit is not None:
        at_least = "at least " if d.outcome is Outcome.GENERATOR_LIMITED else ""
        between = "" if d.above is None else f"   (did not hold: {amount(d.above)})"
        parts.append(Text.assemble("  ", (f"{at_least}{amount(d.limit)} {d.unit}", "bold"), between))
    if shared := shared_by(d):
        parts.append(hanging("  ", shared, "dim"))
    if d.broke:
        parts.append(hanging("  ", f"what broke first: {'; '.join(d.broke[:3])}", ""))
    if d.advice:
        parts.append(hanging("  ", d.advice, "yellow"))
    return Group(*parts)


def _curve(d: DimensionResult) -> RenderableType:
    """Latency over offered load; bars are on a logarithmic scale, or they would show nothing but the last one."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name, justify in (("  offered", "right"), ("achieved", "right"), ("p50", "right"), ("p99", "right")):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column(d.latency, no_wrap=True)
    table.add_column("", no_wrap=True)
    ordered = sorted(d.probes, key=lambda probe: (probe.offered, probe.start_s))
    known = [probe.p99 for probe in ordered if probe.p99]
    low, high = (math.log(min(known)), math.log(max(known))) if known else (0.0, 0.0)
    for probe in ordered:
        hidden = outvoted(d, probe)
        style = "yellow" if hidden or probe.undecided or _ours(probe) else "green" if probe.passed else "red"
        length = 0 if not probe.p99 else 1 + round((_BAR - 1) * (math.log(probe.p99) - low) / ((high - low) or 1))
        table.add_row(
            amount(probe.offered),
            "-" if hidden else amount(probe.achieved),
            _duration(probe.p50),
            _duration(probe.p99),
            Text("━" * length, style=style),
            Text(_word(probe, hidden=hidden), style=style),
        )
    return table


def _word(probe: Probe, *, hidden: bool) -> str:
    if probe.undecided:
        return "strays, or not" if probe.strayed else "scattered"
    if not probe.passed:
        return "generator" if _ours(probe) else "broke"
    if hidden:
        return "held, unlike others"
    word = "held (confirmed)" if probe.step is Step.CONFIRM else "held"
    return f"{word}, with faults" if probe.strays else word


def _ours(probe: Probe) -> bool:
    """It did not hold because of us."""
    return not probe.passed and (probe.generator is Verdict.INVALID or not probe.broke)


def _length(ns: int) -> str:
    minutes = ns / (60 * NS_PER_S)
    return f"{minutes:.0f} minutes" if minutes >= 2 else format_duration(ns)


def _duration(ns: int | None) -> str:
    return "-" if ns is None else format_duration(ns)
