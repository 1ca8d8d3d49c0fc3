"""The charts of a search for limits, and of a comparison of two builds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from loadgen.capacity.result import DimensionResult, Outcome, Probe
from loadgen.compare.result import Comparison, Decision, Gate, MetricComparison
from loadgen.report.charts import Chart, Figure, box, count_axis, duration_axis, durations, plain, shown_ns
from loadgen.results.health import Verdict

# How a probe is marked, here and in the table: (word, symbol, colour).
PASSED = ("held", "circle", "var(--good)")
FAILED = ("did not hold", "x", "var(--bad)")
VOID = ("generator INVALID", "triangle-up-open", "var(--muted)")
SCATTERED = ("waits scattered", "diamond-open", "var(--muted)")
STRAYED = ("strays, or not", "square-open", "var(--muted)")
# In the order in which they are drawn: where tries of one load lie upon each other, each is still seen.
_SIZES = {FAILED: 14, PASSED: 8, VOID: 12, SCATTERED: 12, STRAYED: 12}
_DECISIONS = {
    Decision.PASS: ("circle", "var(--good)"),
    Decision.REGRESSION: ("x", "var(--bad)"),
    Decision.INCONCLUSIVE: ("diamond-open", "var(--warn)"),
}
_LINES = "Lines go through the median of a load's probes, without those that say nothing."
_SHOWN_ONLY = ("circle-open", "var(--muted)")


def mark_of(probe: Probe) -> tuple[str, str, str]:
    """Word, symbol and colour of a probe."""
    if probe.undecided:
        return STRAYED if probe.strayed else SCATTERED
    return VOID if probe.generator is Verdict.INVALID else PASSED if probe.passed else FAILED


def capacity_charts(result: DimensionResult) -> list[Chart]:
    """Latency and what was achieved, over the offered load."""
    probes = sorted(result.probes, key=lambda probe: probe.offered)
    if not probes:
        return []
    latency = [p for p in probes if p.p50 is not None or p.p99 is not None or p.max is not None]
    charts = []
    note = _limit_note(result)
    if latency:
        traces = [
            durations(name, *_through(latency, name), number) for number, name in enumerate(("p50", "p99", "max"))
        ]
        axis = duration_axis(value for p in latency for value in (p.p50, p.p99, p.max))
        height = [p.p99 if p.p99 is not None else p.p50 if p.p50 is not None else p.max for p in latency]
        figure = _over_load(traces, axis, result, latency, height)
        charts.append(
            Chart(f"{result.latency} over offered load", f"A mark for every probe, at its p99. {_LINES} {note}", figure)
        )
    most = max(max(p.offered, p.achieved) for p in probes)
    ideal = {
        "type": "scatter",
        "mode": "lines",
        "name": "all of it",
        "x": [0, most],
        "y": [0, most],
        "line": {"color": "var(--muted)", "dash": "dot", "width": 1},
        "hoverinfo": "skip",
    }
    figure = _over_load([ideal], _load_axis(result.unit, most), result, probes, [p.achieved for p in probes])
    text = f"Where marks leave the dotted line, less was achieved than was offered. {note}"
    return [*charts, Chart("Achieved over offered load", text, figure)]


def _through(probes: Sequence[Probe], name: str) -> tuple[list[float], list[float]]:
    """One point for each load that was tried: the median of what its probes say of the target."""
    by_load: dict[float, list[float]] = {}
    for probe in probes:
        value = getattr(probe, name)
        if value is not None and not probe.void:
            by_load.setdefault(probe.offered, []).append(value)
    return [*by_load], [statistics.median(values) for values in by_load.values()]


def _load_axis(title: str, most: float) -> Figure:
    """Of what a load is made of: rates have parts, sessions and stations have none."""
    return count_axis(title, whole_most=None if title.endswith("/s") else most)


def forest(result: Comparison) -> Chart | None:
    """The change of every metric that has one, with its interval and the noise floor."""
    metrics = [m for m in result.metrics if m.change is not None]
    if not metrics:
        return None
    metrics.sort(key=lambda m: m.gate is Gate.REPORT)
    names = [metric_label(m) for m in metrics]
    rows = list(zip(names, metrics, strict=True))
    traces = []
    for decision, look in _DECISIONS.items():
        deciding = [(n, m) for n, m in rows if m.gate is not Gate.REPORT and m.decision is decision]
        traces += _forest_marks(decision.value, deciding, *look)
    traces += _forest_marks("shown only", [(n, m) for n, m in rows if m.gate is Gate.REPORT], *_SHOWN_ONLY)
    # The noise floor as a thick pale bar per row: shapes cannot be hovered, and have no place in the legend.
    noisy = [(n, m.noise) for n, m in rows if m.noise is not None]
    noise: Figure = {
        "type": "bar",
        "orientation": "h",
        "name": "noise floor",
        "x": [200 * floor for _, floor in noisy],
        "base": [-100 * floor for _, floor in noisy],
        "y": [plain(name) for name, _ in noisy],
        "text": [f"noise floor ±{100 * floor:.2f} %" for _, floor in noisy],
        "textposition": "none",
        "hovertemplate": "%{y}<br>%{text}<extra></extra>",
        "marker": {"color": "var(--noise)"},
        "width": 0.62,
    }
    y = {
        "type": "category",
        "categoryorder": "array",
        "categoryarray": [plain(name) for name in reversed(names)],
        "range": [-0.6, len(names) - 0.4],  # plotly leaves a row empty above and below
        "automargin": True,
    }
    x = {
        "title": {"text": "change, new against baseline"},
        "ticksuffix": " %",
        "zeroline": True,
        "range": _extent(metrics),
    }
    layout = {"xaxis": x, "yaxis": y, "hovermode": "closest"}
    text = (
        "A mark for each metric's change, with its 95 % interval; the shaded bar is the noise floor, what no change at"
        " all looks like. ↓: lower is better, ↑: higher is better."
    )
    data = [noise, *traces]
    return Chart("Change of every metric", text, {"data": data, "layout": layout}, 130 + 34 * len(metrics))


def metric_label(metric: MetricComparison) -> str:
    """The name, and which way is better."""
    return f"{metric.metric}\N{NO-BREAK SPACE}{'↓' if metric.better == 'lower' else '↑'}"


def _extent(metrics: Sequence[MetricComparison]) -> list[float]:
    """From the lowest to the highest of all that is drawn, in %; one wild interval must not flatten all others."""
    changes = [100 * m.change for m in metrics if m.change is not None]
    floors = [100 * m.noise for m in metrics if m.noise is not None]
    ends = [100 * end for m in metrics if m.interval is not None for end in m.interval]
    most = 3 * max(*(abs(change) for change in changes), *floors, 1.0)
    low = max(min(0.0, *changes, *(-floor for floor in floors), *ends), -most)
    high = min(max(0.0, *changes, *floors, *ends), most)
    room = 0.06 * (high - low) or 1.0
    return [low - room, high + room]


_Rows = Sequence[tuple[str, MetricComparison]]


def _forest_marks(name: str, rows: _Rows, symbol: str, colour: str) -> list[Figure]:
    """Those with an interval, and those without: one of no length would be drawn as a line through the mark."""
    parts = [[row for row in rows if (row[1].interval is None) is alone] for alone in (False, True)]
    traces = [_marks(name, part, symbol, colour) for part in parts if part]
    for again in traces[1:]:
        again["showlegend"] = False
    return traces


def _marks(name: str, rows: _Rows, symbol: str, colour: str) -> Figure:
    changes = [m.change or 0.0 for _, m in rows]
    intervals = [m.interval for _, m in rows if m.interval is not None]
    trace: Figure = {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [100 * change for change in changes],
        "y": [plain(label) for label, _ in rows],
        "text": [_forest_text(m) for _, m in rows],
        "hovertemplate": "%{y}<br>%{text}<extra></extra>",
        "marker": {"color": colour, "symbol": symbol, "size": 12, "line": {"width": 2, "color": colour}},
        "legendgroup": name,
    }
    if intervals:
        trace["error_x"] = {
            "type": "data",
            "symmetric": False,
            "array": [100 * (high - c) for (_, high), c in zip(intervals, changes, strict=True)],
            "arrayminus": [100 * (c - low) for (low, _), c in zip(intervals, changes, strict=True)],
            "color": colour,
            "thickness": 2,
            "width": 6,
        }
    return trace


def _forest_text(metric: MetricComparison) -> str:
    change = f"{100 * (metric.change or 0.0):+.2f} %"
    if metric.interval is not None:
        change += f", 95 %: {100 * metric.interval[0]:+.2f} to {100 * metric.interval[1]:+.2f} %"
    return f"{change}<br>{plain(metric.reason)}"


def _limit_note(result: DimensionResult) -> str:
    if result.limit is not None and result.above is not None:
        return "The shaded band is where the limit lies."
    if result.limit is not None:
        return "The line is the highest load that was confirmed."
    return "" if result.above is None else "The line is the lowest load that did not hold."


def _over_load(
    traces: list[Figure], y: Figure, result: DimensionResult, probes: Sequence[Probe], height: Sequence[float | None]
) -> Figure:
    """A figure over offered load with a mark per probe, and the limit."""
    for (word, symbol, colour), size in _SIZES.items():
        those = [(p, h) for p, h in zip(probes, height, strict=True) if mark_of(p)[0] == word]
        if those:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": word,
                    "x": [p.offered for p, _ in those],
                    "y": [h if h and h > 0 else None for _, h in those],
                    "text": [_probe_text(p, result.unit) for p, _ in those],
                    "hovertemplate": "%{text}<extra></extra>",
                    "marker": {"color": colour, "symbol": symbol, "size": size, "line": {"width": 2, "color": colour}},
                }
            )
    shapes, labels = [], []
    low, high = result.limit, result.above
    if (low is None) != (high is None):
        low = high = low if low is not None else high
    if low is not None and high is not None:
        good = result.outcome is Outcome.FOUND
        word = "limit" if good else "confirmed" if result.limit is not None else "did not hold"
        edge = {"color": "var(--bad)" if good else "var(--muted)", "width": 1, "dash": "dash"}
        shapes.append(box(low, high, 0, 1, "var(--limit)") | {"yref": "paper", "line": edge})
        labels.append(
            {
                "x": low,
                "y": 1,
                "yref": "paper",
                "yanchor": "bottom",
                "text": f"{word} {low:,.0f}" if low >= 1000 else f"{word} {low:,.4g}",
                "showarrow": False,
                "font": {"size": 11},
            }
        )
    most = max(probe.offered for probe in probes)
    layout = {
        "xaxis": _load_axis(f"offered, {result.unit}", most),
        "yaxis": y,
        "hovermode": "closest",
        "shapes": shapes,
        "annotations": labels,
    }
    return {"data": traces, "layout": layout}


def _reasons(probe: Probe) -> tuple[str, ...]:
    if probe.undecided:
        return (probe.undecided,)
    return probe.reasons if probe.generator is Verdict.INVALID else probe.broke


def _probe_text(probe: Probe, unit: str) -> str:
    parts = [
        f"offered {probe.offered:,.6g} {plain(unit)}, achieved {probe.achieved:,.6g}",
        f"p50 {shown_ns(probe.p50)} · p99 {shown_ns(probe.p99)} · max {shown_ns(probe.max)}",
        *(plain(what) for what in _reasons(probe)[:3]),
    ]
    return "<br>".join(parts)
