"""Results as Markdown: what fits into the summary of a CI job. The verdict comes first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from loadgen.capacity.result import CapacityResult, Probe
from loadgen.compare.metrics import not_counted
from loadgen.compare.result import Comparison, Decision, Gate, MetricComparison
from loadgen.errors import ExitCode
from loadgen.report.clocks import clock_lines
from loadgen.report.figures import change_shown, figure_shown, interval_shown
from loadgen.report.missing import missing_lines
from loadgen.report.tried import how_tried, outvoted, shared_by
from loadgen.results.faults import faults
from loadgen.results.health import key_log_lines
from loadgen.results.result import RunResult
from loadgen.results.thresholds import Status

_MARKS = {Decision.PASS: "✅ pass", Decision.REGRESSION: "❌ **regression**", Decision.INCONCLUSIVE: "❔ inconclusive"}
# What Markdown, or the HTML in it, would take for its own.
_THRESHOLD_MARKS = {Status.PASSED: "✅ pass", Status.FAILED: "❌ **failed**", Status.ERROR: "❌ **not judged**"}
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~#&@!])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def run_markdown(result: RunResult) -> str:
    """A run."""
    verdict = result.verdict
    passed = verdict.exit_code == ExitCode.PASSED
    parts = [
        f"## {'✅' if passed else '❌'} {_text(verdict.outcome)} — {_text(result.scenario)}",
        f"generator **{verdict.generator}**, limited by {_text(verdict.limited_by)}: {_text(verdict.limit_reason)}  \n"
        f"{result.load_s:.1f} s of load, plan `{_code(result.plan_digest)}`, started {_text(result.started)}",
        _list([*verdict.reasons, *key_log_lines(result.key_log, result.key_log_trouble)]),
    ]
    if why := not_counted(result):
        parts.insert(1, f"**These figures are not the target's under this plan: {_text(why)}.**")
    if result.thresholds:
        lines = [(_THRESHOLD_MARKS[t.status], _text(t.text), _text(t.shown)) for t in result.thresholds]
        parts.append(_table(("", "threshold", "figure"), lines))
    durations = [
        (name, f"{m.count:,}", *(figure_shown(ns, m.unit) for ns in (m.p50, m.p90, m.p95, m.p99, m.p99_9, m.max)))
        for name, m in result.metrics.items()
    ]
    if durations:
        named = [(_text(name), *figures) for name, *figures in durations]
        parts.append(_table(("duration", "count", "p50", "p90", "p95", "p99", "p99.9", "max"), named, right=7))
    parts.append(_list([*clock_lines(result.clocks), *missing_lines(result.missing)]))
    found = faults(result.counters)
    if found.told:
        told = [(_text(error.name), f"the {error.end}", f"{error.count:,}") for error in found.told]
        told += [(_text(error.name), f"the {error.end}: the same", f"{error.count:,}") for error in found.again]
        parts.append(_table(("error", "told by", "count"), told, right=1))
    others = {name: count for name, count in result.counters.items() if count and not name.startswith("errors.")}
    figures = [(_text(name), f"{count:,}") for name, count in others.items()]
    figures += [(_text(name), f"{rate:,.1f}") for name, rate in result.rates.items()]
    figures += [(_text(name), f"{cost:,.4g}") for name, cost in result.costs.items()]
    if figures:
        parts.append(_folded("counters, rates and costs", _table(("figure", "value"), figures, right=1)))
    return _document(parts)


def capacity_markdown(result: CapacityResult) -> str:
    """A search for limits."""
    passed = result.exit_code == ExitCode.PASSED
    parts = [
        f"## {'✅' if passed else '❌'} capacity — {_text(result.scenario)}",
        f"plan `{_code(result.plan_digest)}`, started {_text(result.started)}",
        _list(key_log_lines(result.key_log, result.key_log_trouble)),
    ]
    lines = [
        (
            _text(d.dimension),
            _text(d.outcome),
            _load(d.limit),
            _load(d.above),
            _text(d.unit),
            _text("; ".join(d.broke) or "-"),
        )
        for d in result.dimensions
    ]
    parts.append(_table(("dimension", "outcome", "limit", "failed at", "unit", "broke"), lines))
    parts.append(
        _list([f"{d.dimension}: {_load(d.limit)} {shared}" for d in result.dimensions if (shared := shared_by(d))])
    )
    parts.append(_list([f"{d.dimension}: {d.advice}" for d in result.dimensions if d.advice]))
    for d in result.dimensions:
        probes = [
            (
                p.step,
                _load(p.offered),
                "-" if outvoted(d, p) else _load(p.achieved),
                "✅" if p.passed else "?" if p.undecided else "❌",
                p.generator,
                figure_shown(p.p99, "ns"),
                _text("; ".join((*((p.undecided,) if p.undecided else p.broke), *_beside(p))) or "-"),
            )
            for p in d.probes
        ]
        table = _table(("step", "offered", "achieved", "", "generator", "p99", "broke"), probes)
        parts.append(_folded(f"{_text(d.dimension)}: {len(probes)} probes, p99 of {_text(d.latency)}", table))
        if d.loads:
            loads = [(_load(each.load), _text(how_tried(each))) for each in d.loads]
            table = _table(("load", "how it went"), loads)
            parts.append(_folded(f"{_text(d.dimension)}: {len(loads)} loads, and how often each was tried", table))
    return _document(parts)


def _beside(probe: Probe) -> list[str]:
    renewed = [f"new sessions; those before were ended: {probe.renewed}"] if probe.renewed else []
    return [f"with {each}" for each in (*(() if probe.undecided else probe.strays), *renewed)]


def comparison_markdown(result: Comparison) -> str:
    """A comparison: what decides in one table, what is only reported folded away."""
    order = f", order {_text(result.order)}" if result.order else ", saved results"
    parts = [
        f"## {_MARKS[result.decision]} — {_text(result.scenario)}",
        f"{_text(result.new)} against {_text(result.baseline)}{order}  \n"
        f"plan `{_code(result.plan_digest)}`, started {_text(result.started)}",
        _list(result.reasons),
    ]
    # Regressions first: a summary is read from its top.
    worst_first = sorted(
        result.metrics, key=lambda m: (Decision.REGRESSION, Decision.INCONCLUSIVE, Decision.PASS).index(m.decision)
    )
    gated = [_metric(m) for m in worst_first if m.gate is not Gate.REPORT]
    shown = [_metric(m) for m in result.metrics if m.gate is Gate.REPORT]
    head = ("", "metric", "baseline", "new", "change", "95 % interval", "noise", "gate", "why")
    if gated:
        parts.append(_table(head, gated))
    if shown:
        parts.append(_folded("reported, not judged", _table(head[1:6], [row[1:6] for row in shown])))
    return _document(parts)


def _metric(m: MetricComparison) -> tuple[str, ...]:
    return (
        _MARKS[m.decision],
        _text(m.metric),
        figure_shown(m.baseline, m.unit),
        figure_shown(m.new, m.unit),
        change_shown(m.change),
        interval_shown(m.interval),
        "-" if m.noise is None else f"±{m.noise:.1%}",
        str(m.gate),
        _text(m.reason),
    )


def _load(value: float | None) -> str:
    return "-" if value is None else f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"


def _text(text: str) -> str:
    """Text from a result in a line or a cell: nothing in it is markup."""
    return _SPECIAL.sub(r"\\\1", _CONTROL.sub(" ", str(text)))


def _code(text: str) -> str:
    """Text between backticks, where nothing can be escaped."""
    return _CONTROL.sub(" ", text).replace("`", "'").replace("|", "/")


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {_text(item)}" for item in items)


def _table(head: Sequence[str], lines: Iterable[Sequence[str]], right: int = 0) -> str:
    """Args: right: so many columns at the end are aligned to the right."""
    rule = ["---"] * (len(head) - right) + ["--:"] * right
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *lines))


def _folded(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"


def _document(parts: Iterable[str]) -> str:
    return "\n\n".join(filter(None, parts)) + "\n"
