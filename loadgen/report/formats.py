"""Figures for other programs: github-action-benchmark, Bencher, spreadsheets.

The first two keep whatever they get as a figure of the target, so they get none of a run that does not count. A table
says of each run how it ended, and why it does not count.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from loadgen.compare.metrics import figure, not_counted, rows
from loadgen.compare.result import Comparison, Gate
from loadgen.results.result import RunResult

# What Bencher knows by itself: `latency` in ns and `throughput` in operations per second, both without being told.
_BMF_MEASURES = {"ns": "latency", "1/s": "throughput", "bytes": "bytes", "s": "cpu-seconds", "": "count"}


# Of a result, in a message of one line.
_MOST_REASONS = 2


class NoFigures(Exception):
    """A result that is none of the target's; the message says what it is instead."""


class Point(NamedTuple):
    """One figure.

    Attributes:
        low, high: of its 95 % interval, where there is one.
        gated: it may decide a comparison.
    """

    name: str
    unit: str
    value: float
    better: Literal["lower", "higher"]
    gated: bool
    low: float | None = None
    high: float | None = None
    note: str = ""


def run_points(result: RunResult) -> list[Point]:
    """The figures of a run that can be compared with those of another.

    Raises:
        NoFigures: the run does not count, or had nobody to measure.
    """
    if (why := not_counted(result)) is not None:
        raise NoFigures(f"one that does not count: {'; '.join((why, *result.verdict.reasons[:_MOST_REASONS]))}")
    # Where somebody tried, that nothing came of it is a figure; where nobody did, no error is none of the target's.
    if not any(result.counters.get(f"{what}.attempted") for what in ("sessions", "handshakes")):
        raise NoFigures("one that nobody came to, and that tells nothing of a target")
    points = []
    for row in rows():
        value = figure(result, row.name)
        if value is not None:
            note = f"generator {result.verdict.generator}"
            points.append(Point(row.name, row.unit, value, row.better, row.gate is not Gate.REPORT, note=note))
    return points


def comparison_points(result: Comparison) -> list[Point]:
    """The new side's figures, with what the interval of their change makes of the baseline's.

    Raises:
        NoFigures: no run of the new side counts.
    """
    if not any(m.new is not None for m in result.metrics):
        raise NoFigures("; ".join(("one in which no run of the new side counts", *result.reasons[:_MOST_REASONS])))
    points = []
    for m in result.metrics:
        if m.new is None:
            continue
        low = high = None
        if m.interval is not None and m.change is not None:
            # Around the figure itself: a median need not be where the fit has it.
            low, high = (m.new * (1 + end) / (1 + m.change) for end in m.interval)
        points.append(
            Point(m.metric, m.unit, m.new, m.better, m.gate is not Gate.REPORT, low, high, f"{m.decision}: {m.reason}")
        )
    return points


def benchmark_json(points: Sequence[Point], better: Literal["lower", "higher"], scenario: str) -> str:
    """github-action-benchmark's customSmallerIsBetter or customBiggerIsBetter: figures of one direction."""
    entries: list[dict[str, Any]] = []
    for point in points:
        if point.better == better and point.gated:
            entry = {"name": f"{scenario}: {point.name}", "unit": point.unit or "count", "value": point.value}
            if point.low is not None and point.high is not None:
                entry["range"] = f"± {(point.high - point.low) / 2:.6g}"
            entries.append(entry | ({"extra": point.note} if point.note else {}))
    return _json(entries)


def bmf_json(points: Sequence[Point], scenario: str) -> str:
    """Bencher Metric Format: a benchmark per figure, with one measure."""
    document = {}
    for point in points:
        measure = {"value": point.value}
        if point.low is not None and point.high is not None:
            measure |= {"lower_value": point.low, "upper_value": point.high}
        document[f"{scenario}/{point.name}"] = {_BMF_MEASURES[point.unit]: measure}
    return _json(document)


def run_csv(results: Sequence[tuple[str, RunResult]]) -> str:
    """All figures of runs, a line each; `not counted` is empty, or why those of a run are not the target's.

    Args:
        results: each with its name.
    """
    names = ("result", "scenario", "started", "generator", "outcome", "not counted", "figure", "unit", "value")
    lines: list[Sequence[object]] = [names]
    for name, result in results:
        verdict = result.verdict
        ended = (verdict.generator, _cell(verdict.outcome), not_counted(result) or "")
        head = (_cell(name), _cell(result.scenario), _cell(result.started), *ended)
        lines += [(*head, _cell(figure_name), unit, value) for figure_name, unit, value in _every(result)]
    return _csv(lines)


def comparison_csv(result: Comparison) -> str:
    """A comparison, a line per metric."""
    names = (
        "metric",
        "unit",
        "better",
        "gate",
        "baseline",
        "new",
        "change",
        "low",
        "high",
        "noise",
        "decision",
        "reason",
    )
    lines: list[Sequence[object]] = [names]
    for m in result.metrics:
        low, high = m.interval or (None, None)
        figures = (m.baseline, m.new, m.change, low, high, m.noise)
        lines.append((_cell(m.metric), m.unit, m.better, m.gate, *figures, m.decision, _cell(m.reason)))
    return _csv(lines)


def _every(result: RunResult) -> Iterator[tuple[str, str, float | str]]:
    """Name, unit and value; of a figure that its layout cannot give, why it is missing."""
    for name, summary in result.metrics.items():
        for statistic in ("count", "min", "mean", "p50", "p90", "p95", "p99", "p99_9", "max"):
            if (value := getattr(summary, statistic)) is not None:
                yield f"{name}.{statistic}", "" if statistic == "count" else summary.unit, value
    yield from ((name, "", count) for name, count in result.counters.items())
    yield from ((name, "1/s", rate) for name, rate in result.rates.items())
    for name, cost in result.costs.items():
        yield name, "s" if name.endswith("_s") else "bytes", cost
    yield from ((name, "missing", _cell(why)) for name, why in result.missing.items())


def _cell(text: str) -> str:
    # A spreadsheet would take a name that begins like this for a formula.
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _csv(lines: Sequence[Sequence[object]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(lines)
    return buffer.getvalue()


def _json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"
