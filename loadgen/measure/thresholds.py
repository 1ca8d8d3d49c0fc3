"""Thresholds: what a run must reach to pass, e.g. "notify.latency.p99 < 50ms" or "sessions.failed == 0".

A threshold that cannot be judged (unknown name, nothing measured) is an error, never a silent pass.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence

import msgspec

from loadgen.errors import InputError, Problem
from loadgen.measure.histogram import MetricSummary
from loadgen.measure.names import COUNTERS, ERROR_PHASES, METRICS, RATES
from loadgen.units import Duration, format_duration

EXPECTED = 'such as "notify.latency.p99 < 50ms", "sessions.failed == 0" or "notify.sent_per_s >= 900"'

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_STATISTICS = ("count", "min", "mean", "p50", "p90", "p99", "p99_9", "max")
_ERROR = re.compile(rf"errors\.({'|'.join(ERROR_PHASES)})\.[a-z0-9_]+")
_NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")
_FORM = re.compile(r"\s*([a-z0-9_.]+)\s*(<=|>=|==|!=|<|>)\s*(\S+)\s*")


class Threshold(msgspec.Struct, frozen=True):
    """A parsed threshold. `limit` is in ns for durations, otherwise a plain number."""

    text: str
    name: str
    statistic: str | None  # of a metric; None for counters and rates
    operator: str
    limit: float


class ThresholdResult(msgspec.Struct, frozen=True):
    """A threshold with the figure that it was held against (None: there was none, so it failed)."""

    text: str
    passed: bool
    figure: float | None
    shown: str


def parse_thresholds(texts: Sequence[str], where: str) -> tuple[Threshold, ...]:
    """Read thresholds.

    Raises:
        InputError: every one that has not the form, or names what no run measures.
    """
    parsed, problems = [], []
    for index, text in enumerate(texts):
        result = _parse(text)
        if isinstance(result, Threshold):
            parsed.append(result)
        else:
            problems.append(Problem(f"{where}[{index}]", *result))
    if problems:
        raise InputError(problems)
    return tuple(parsed)


def judge(
    thresholds: Sequence[Threshold],
    metrics: Mapping[str, MetricSummary],
    counters: Mapping[str, int],
    rates: Mapping[str, float],
) -> tuple[ThresholdResult, ...]:
    """Hold each against its figure."""
    return tuple(_judge_one(threshold, metrics, counters, rates) for threshold in thresholds)


def _parse(text: str) -> Threshold | tuple[str, str]:
    match = _FORM.fullmatch(text)
    if not match:
        return f"a threshold {EXPECTED}", f'"{text}"'
    name, sign, limit_text = match.groups()
    metric, _, statistic = name.rpartition(".")
    if metric in METRICS:
        if statistic not in _STATISTICS:
            return f"one of {', '.join(_STATISTICS)} after {metric}", f'"{statistic}"'
        return _with_limit(text, metric, statistic, sign, limit_text)
    if name in COUNTERS or _ERROR.fullmatch(name) or name in RATES:
        return _with_limit(text, name, None, sign, limit_text)
    known = ", ".join([*METRICS, *COUNTERS, f"errors.<{'|'.join(ERROR_PHASES)}>.<kind>", *RATES])
    return f"a metric with a statistic, a counter or a rate ({known})", f'"{name}"'


def _with_limit(text: str, name: str, statistic: str | None, sign: str, limit: str) -> Threshold | tuple[str, str]:
    duration = statistic is not None and statistic != "count"
    try:
        if not duration and not _NUMBER.fullmatch(limit):
            raise ValueError(limit)  # float() would take "nan" and "inf", which nothing can fail
        value = float(Duration.parse(limit)) if duration else float(limit)
    except ValueError:
        return (Duration.EXPECTED if duration else "a number") + f" in {text!r}", f'"{limit}"'
    return Threshold(text, name, statistic, sign, value)


def _judge_one(
    threshold: Threshold,
    metrics: Mapping[str, MetricSummary],
    counters: Mapping[str, int],
    rates: Mapping[str, float],
) -> ThresholdResult:
    figure: float | None
    if threshold.statistic is not None:
        summary = metrics.get(threshold.name)
        figure = None if summary is None else float(getattr(summary, threshold.statistic))
    elif threshold.name in RATES:
        figure = rates.get(threshold.name)
    else:
        count = counters.get(threshold.name, 0 if threshold.name.startswith("errors.") else None)
        figure = None if count is None else float(count)
    if figure is None:
        return ThresholdResult(threshold.text, passed=False, figure=None, shown="not measured")
    duration = threshold.statistic is not None and threshold.statistic != "count"
    shown = format_duration(figure) if duration else f"{figure:,.10g}"
    return ThresholdResult(threshold.text, _OPERATORS[threshold.operator](figure, threshold.limit), figure, shown)
