"""Thresholds: what a run must reach to pass, e.g. "notify.latency.p99 < 50ms" or "notify.lost / notify.sent < 0.01%".

A threshold that cannot be judged (unknown name, nothing measured, too few samples for the percentile) is an error,
never a silent pass.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec

from loadgen.errors import InputError, Problem
from loadgen.measure.clock_readings import Clocks
from loadgen.measure.histogram import PERCENTILES, MetricSummary, samples_for
from loadgen.measure.names import (
    BETWEEN_CLOCKS,
    COSTS,
    COUNTERS,
    ERROR_PHASES,
    METRICS,
    MSE_COUNTERS,
    RATES,
    WLC_COUNTERS,
    error_phases,
)
from loadgen.strict import nearest, one_of
from loadgen.units import Duration, Size, format_duration

EXPECTED = (
    'such as "notify.latency.p99 < 50ms", "sessions.failed == 0", "notify.sent_per_s >= 900" or '
    '"notify.lost / notify.sent < 0.01%"'
)

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
STATISTICS = ("count", "min", "mean", *PERCENTILES, "max")
# How many known names are shown that look like an unknown one.
_NEAREST = 3
_ERROR = re.compile(rf"errors\.({'|'.join(ERROR_PHASES)})\.[a-z0-9_]+")
_NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")
_FORM = re.compile(r"\s*([a-z0-9_.]+)\s*(?:/\s*([a-z0-9_.]+)\s*)?(<=|>=|==|!=|<|>)\s*(\S+)\s*")


class Unit(StrEnum):
    """What a threshold's figure is in, and so how its limit is written."""

    DURATION = "ns"
    SIZE = "bytes"
    NUMBER = ""
    SHARE = "share"


class Threshold(msgspec.Struct, frozen=True):
    """A parsed threshold. `limit` is in ns, bytes, or a plain number (0.0001 for "0.01%").

    Attributes:
        statistic: of a metric; None for counters, rates and costs.
        over: what the figure is divided by; None if it is not.
    """

    text: str
    name: str
    statistic: str | None
    over: str | None
    unit: Unit
    operator: str
    limit: float


class Status(StrEnum):
    """How a threshold came out."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"  # it could not be judged


class ThresholdResult(msgspec.Struct, frozen=True):
    """A threshold with the figure that it was held against; None if there was none, and `shown` says why."""

    text: str
    status: Status
    figure: float | None
    shown: str

    @property
    def passed(self) -> bool:
        return self.status is Status.PASSED


class Figures(NamedTuple):
    """What thresholds are held against. phases: of errors, those that a side of ours can have."""

    metrics: Mapping[str, MetricSummary]
    counters: Mapping[str, int]
    rates: Mapping[str, float]
    costs: Mapping[str, float]
    phases: Collection[str] = ERROR_PHASES
    clocks: Clocks = Clocks()


def parse_thresholds(texts: Sequence[str], where: str) -> tuple[Threshold, ...]:
    """Read thresholds.

    Raises:
        InputError: every one that has not the form, or names what no run measures.
    """
    parsed, problems = [], []
    for index, text in enumerate(texts):
        try:
            parsed.append(_parse(text))
        except _Wrong as wrong:
            problems.append(Problem(f"{where}[{index}]", wrong.expected, wrong.found))
    if problems:
        raise InputError(problems)
    return tuple(parsed)


def judge(thresholds: Sequence[Threshold], figures: Figures) -> tuple[ThresholdResult, ...]:
    """Hold each against its figure."""
    return tuple(_judge_one(threshold, figures) for threshold in thresholds)


class _Wrong(Exception):
    def __init__(self, expected: str, found: str) -> None:
        self.expected, self.found = expected, found


def _parse(text: str) -> Threshold:
    match = _FORM.fullmatch(text)
    if not match:
        raise _Wrong(f"a threshold {EXPECTED}", f'"{text}"')
    left, over, sign, limit = match.groups()
    name, statistic = _split(left)
    if over is not None:
        for part in (left, over):
            if not _is_count(part) and part not in RATES:
                near = _near(part, [*COUNTERS, *RATES])
                raise _Wrong(f"counters or rates on both sides of the / in {text!r}{near}", f'"{part}"')
        if _is_count(left) != _is_count(over):
            found = " / ".join(f"a {'counter' if _is_count(part) else 'rate'}" for part in (left, over))
            raise _Wrong(f"two counters or two rates on the sides of the / in {text!r}", found)
        return Threshold(text, left, None, over, Unit.SHARE, sign, _share(limit, text))
    if statistic is not None:
        if statistic not in STATISTICS:
            raise _Wrong(f"{one_of(statistic, STATISTICS)} after {name}", f'"{statistic}"')
        unit = Unit.NUMBER if statistic == "count" else Unit.DURATION
    elif _is_count(name) or name in RATES:
        unit = Unit.NUMBER
    elif name in COSTS and not name.startswith("target."):  # those are known to `loadgen ab` alone, after the run
        unit = Unit.SIZE if "bytes" in name else Unit.DURATION
    else:
        costs = (cost for cost in COSTS if not cost.startswith("target."))
        # Of a metric the statistic may be what is missing, or wrong, too.
        metric, _, last = name.rpartition(".")
        known = [*METRICS, *COUNTERS, *(f"errors.{phase}.<kind>" for phase in ERROR_PHASES), *RATES, *costs]
        near = _near(metric if last in STATISTICS else name, known)
        raise _Wrong(f"a metric with a statistic, a counter, a rate or a cost{near}", f'"{name}"')
    return Threshold(text, name, statistic, None, unit, sign, _limit(limit, unit, text))


def _near(name: str, known: Sequence[str]) -> str:
    """Where to look for the right one: there are too many to tell them all."""
    shown = [f"{each}.p99" if each in METRICS else each for each in nearest(name, known)[:_NEAREST]]
    such = f", such as {', '.join(shown)}" if shown else ""
    return f"{such} (all of them: loadgen metrics)"


def _split(name: str) -> tuple[str, str | None]:
    """Metric and statistic; p99.9 may be written so."""
    if name.endswith(".p99.9"):
        name = name.removesuffix("p99.9") + "p99_9"
    metric, _, statistic = name.rpartition(".")
    return (metric, statistic) if metric in METRICS else (name, None)


def _is_count(name: str) -> bool:
    return name in COUNTERS or _ERROR.fullmatch(name) is not None


def _limit(limit: str, unit: Unit, text: str) -> float:
    expected = {Unit.DURATION: Duration.EXPECTED, Unit.SIZE: Size.EXPECTED}.get(unit, "a number")
    try:
        if unit is Unit.DURATION:
            return float(Duration.parse(limit))
        if unit is Unit.SIZE:
            return float(Size.parse(limit))
        if _NUMBER.fullmatch(limit):  # float() would take "nan" and "inf", which nothing can fail
            return float(limit)
    except ValueError:
        pass
    raise _Wrong(f"{expected} in {text!r}", f'"{limit}"')


def _share(limit: str, text: str) -> float:
    number = limit.removesuffix("%")
    if not _NUMBER.fullmatch(number):
        raise _Wrong(f'a share such as "0.01%" or "0.0001" in {text!r}', f'"{limit}"')
    return float(number) / (100 if limit.endswith("%") else 1)


def _judge_one(threshold: Threshold, figures: Figures) -> ThresholdResult:
    try:
        figure = _figure(threshold, figures)
    except LookupError as error:
        return ThresholdResult(threshold.text, Status.ERROR, None, str(error.args[0]))
    passed = _OPERATORS[threshold.operator](figure, threshold.limit)
    if threshold.unit is Unit.DURATION and threshold.name in BETWEEN_CLOCKS:
        if clamped := figures.counters.get("clock.clamped", 0):
            why = f"was {format_duration(figure)}, but {clamped:,} durations below 0 or above 1 h were cut off"
            return ThresholdResult(threshold.text, Status.ERROR, None, why)
        clocks = figures.clocks
        least, most = max(0.0, figure - clocks.less_ns), figure + clocks.more_ns
        if any(_OPERATORS[threshold.operator](end, threshold.limit) != passed for end in (least, most)):
            why = f"was {format_duration(figure)}; by what is known of clocks, {_between(least, most)}"
            if clocks.held_ns:
                held = format_duration(clocks.held_ns)
                why += f": a WLC's clock is behind or fell back by {held}, or it holds its notifications for so long"
            elif clocks.lone_ns:
                lone = format_duration(clocks.lone_ns)
                why += f": {lone} of it, because one was faster than all others, and may bear a wrong time"
            return ThresholdResult(threshold.text, Status.ERROR, None, why)
    return ThresholdResult(
        threshold.text, Status.PASSED if passed else Status.FAILED, figure, f"was {_shown(figure, threshold.unit)}"
    )


def _between(least: float, most: float) -> str:
    return f"{format_duration(least)} to {format_duration(most)}"


def _figure(threshold: Threshold, figures: Figures) -> float:
    """Raises: LookupError: there is none, with why."""
    if threshold.statistic is not None:
        return _statistic(threshold.name, threshold.statistic, figures.metrics)
    if threshold.over is None:
        return _plain(threshold.name, figures)
    for part in (threshold.name, threshold.over):
        if not _is_measured(part, figures):
            raise LookupError(f"{_not_measured(part, figures)}; {_divisible(part, figures)}")
    over = _plain(threshold.over, figures)
    if not over:
        raise LookupError(f"{threshold.over} is 0")
    return _plain(threshold.name, figures) / over


def _not_measured(name: str, figures: Figures) -> str:
    ours = error_phases(wlc=name in WLC_COUNTERS, mse=name in MSE_COUNTERS)
    whose = "WLCs" if name in WLC_COUNTERS else "MSEs"
    why = f": the {whose} are not ours" if ours and not ours & {*figures.phases} else ""
    return f"{name} was not measured{why}"


def _divisible(name: str, figures: Figures) -> str:
    """What there is instead of a counter or a rate that is not there: the other ones of what it is about."""
    known = figures.rates if name in RATES else figures.counters
    about = name.partition(".")[0]
    such = [each for each in known if each.partition(".")[0] == about and not each.endswith("_bytes")]
    word = "rates" if name in RATES else "counters"
    return f"{word} of this run that can be divided: {', '.join(such) or 'none'}"


def _statistic(name: str, statistic: str, metrics: Mapping[str, MetricSummary]) -> float:
    summary = metrics.get(name)
    if summary is None:
        raise LookupError(f"{name} was not measured")
    figure = getattr(summary, statistic)
    if figure is None:
        raise LookupError(
            f"{statistic} takes at least {samples_for(statistic):,} samples, {name} has {summary.count:,}"
        )
    return float(figure)


def _plain(name: str, figures: Figures) -> float:
    for known in (figures.rates, figures.costs, figures.counters):
        if name in known:
            figure = float(known[name])
            return figure * 1e9 if name in COSTS and name.endswith("_s") else figure
    if _is_measured(name, figures):  # a kind of error that did not occur
        return 0.0
    raise LookupError(_not_measured(name, figures))


def _is_measured(name: str, figures: Figures) -> bool:
    if name.startswith("errors."):
        return name in figures.counters or name.split(".")[1] in figures.phases
    return any(name in known for known in (figures.rates, figures.costs, figures.counters))


def _shown(figure: float, unit: Unit) -> str:
    if unit is Unit.DURATION:
        return format_duration(figure)
    if unit is Unit.SIZE:
        return f"{figure:,.0f} bytes"
    return f"{figure:.4g} ({figure:.3%})" if unit is Unit.SHARE else f"{figure:,.10g}"
