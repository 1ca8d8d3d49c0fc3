"""The charts of a run."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from loadgen.loads import LoadKind
from loadgen.measure.histogram import Histogram, MetricSummary
from loadgen.report.charts import (
    COLOURS,
    Band,
    Chart,
    Figure,
    count_axis,
    duration_axis,
    durations,
    line,
    over_time,
    percentile_axis,
    shown_ns,
    spread,
)
from loadgen.results.cores import LEAST, MEDIAN, MOST
from loadgen.results.result import RunResult, StageResult, Timeline

# Shown in one chart, in this order: corrected, uncorrected, and the difference.
_TOGETHER = {
    LoadKind.NOTIFY: ("notify.latency", "notify.service", "notify.lag"),
    LoadKind.HANDSHAKE: (
        *("handshake.latency", "handshake.service", "handshake.tls", "handshake.tls_resumed"),
        "handshake.lag",
    ),
}
WHY_THEY_DIFFER = {
    LoadKind.NOTIFY: (
        "latency = received - due, service = received - sent, lag = sent - due: when sending is held up, the wait"
        " shows in latency and lag, and service alone would hide it."
    ),
    LoadKind.HANDSHAKE: (
        "latency = TLS done - due, lag = dialed - due: a handshake that had to wait for its turn is charged with the"
        " wait; the TLS times begin when TCP is connected."
    ),
}
_RATES = {
    LoadKind.NOTIFY: ("notify.due", "notify.sent", "notify.received", "notify.dropped"),
    LoadKind.HANDSHAKE: ("handshakes.due", "handshakes.completed", "handshakes.failed", "handshakes.dropped"),
}
_REQUESTS = ("requests.due", "requests.sent", "requests.answered", "requests.retransmitted")
_STATISTICS = {"p50": "p50", "p90": "p90", "p95": "p95", "p99": "p99", "p99_9": "p99.9", "max": "max"}
# Their metrics are by kind first: request.<kind>.latency, service.<subservice>.latency.
_BY_KIND = ("request", "service")
_PHASES = {
    "tcp": "tcp comes first",
    "tls": "tls follows it",
    "tls_resumed": "tls_resumed is tls with an earlier session's keys",
    "session": "session is all of it, up to the answered subscription",
    "service": "service is all of it",
    "latency": "latency is all of it, from when it was due",
}
# Kinds of requests; there are more subservices.
_MOST_CURVES = 9
# More lines than that are a ball of wool.
_MOST_WORKERS = 8
_BUSIEST = 3


def percentile_charts(result: RunResult, curves: Mapping[str, Histogram]) -> list[Chart]:
    """Percentile curves: of each counted stage, then of what belongs to no stage."""
    charts = []
    together = _TOGETHER[result.kind]
    for stage in result.stages:
        if stage.counted:
            of_stage = {
                metric: points
                for metric in (*together, *(m for m in stage.metrics if m not in together))
                if metric != "generator.lag"  # the same as lag, but for a peer that does not read
                and (points := _points(curves.get(f"{stage.name}/{metric}"), stage.metrics.get(metric)))
            }
            charts += _families(of_stage, together, stage.name, _offered(stage))
    loose = {
        metric: points
        for metric, summary in result.metrics.items()
        if not any(metric in stage.metrics for stage in result.stages) and metric != "generator.lag"
        if (points := _points(curves.get(metric), summary))
    }
    return [*charts, *_families(loose, together, "outside of the stages" if result.stages else "", "")]


def time_charts(result: RunResult) -> list[Chart]:
    """Rates, sessions, durations and CPU over time; without those of which nothing was measured."""
    columns, times = result.timeline.columns, result.timeline.start_s
    stages = [Band(s.name, s.start_s, s.start_s + s.length_s, s.counted) for s in result.stages]
    what = "Notifications" if result.kind is LoadKind.NOTIFY else "Handshakes"

    def timed(title: str, text: str, traces: list[Figure], y: Figure) -> list[Chart]:
        return [Chart(title, text, over_time(traces, y, stages, times))] if traces and times else []

    rates = [
        line(name.partition(".")[2], times, columns[f"{name}_per_s"], number)
        for number, name in enumerate(_RATES[result.kind])
        if _measured(columns.get(f"{name}_per_s"))
    ]
    charts = timed(
        f"{what} over time", f"{what} per second: what was due, and what was done.", rates, count_axis("per second")
    )
    asked = [
        line(name.partition(".")[2], times, columns[f"{name}_per_s"], number)
        for number, name in enumerate(_REQUESTS)
        if _measured(columns.get(f"{name}_per_s"))
    ]
    text = "Requests of all kinds per second: what was due, sent, sent again and answered."
    charts += timed("Requests over time", text, asked, count_axis("per second"))
    charts += timed(
        "Sessions over time",
        "Sessions that are up; those set up, failed and lost per second where there were any.",
        _sessions(result.timeline),
        count_axis(
            "sessions", whole_most=max(map(float, filter(None, columns.get("sessions.active", ()))), default=0.0)
        ),
    )
    latency = f"{result.kind}.latency"
    if latency not in {name.rpartition(".")[0] for name in columns}:
        latency = "handshake.tls" if result.kind is LoadKind.HANDSHAKE else "notify.service"
    for metric, text in (
        (latency, "p50, p99 (of 100 samples and more) and maximum of every interval."),
        (
            f"{result.kind}.lag",
            "How late we began: due until sent, or until dialed. High values here raise the latency.",
        ),
    ):
        found = {s: columns[key] for s in ("p50", "p99", "max") if _measured(columns.get(key := f"{metric}.{s}"))}
        traces = [durations(s, times, values, number) for number, (s, values) in enumerate(found.items())]
        axis = duration_axis(value for values in found.values() for value in values)
        charts += timed(f"{metric} over time", text, traces, axis)
    text, traces = _cpu(result)
    return charts + timed("CPU over time", text, traces, count_axis("cores", tickformat=".2~f", hoverformat=".2f"))


def handshake_chart(result: RunResult) -> Chart | None:
    """A session's or handshake's phases, each from its median to its maximum."""
    phases = {
        name: {label: float(value) for key, label in _STATISTICS.items() if (value := getattr(m, key)) is not None}
        for name, m in result.metrics.items()
        if name.startswith("handshake.") and name != "handshake.lag" and m.count and m.max > 0
    }
    if not phases:
        return None
    said = [words for name, words in _PHASES.items() if f"handshake.{name}" in phases]
    text = f"Every phase from its median to its maximum: {'; '.join(said)}."
    return Chart("Handshake, phase by phase", text, spread(phases), 120 + 44 * len(phases))


def stage_rows(result: RunResult) -> list[tuple[StageResult, MetricSummary | None, float | None]]:
    """Every stage with the summary of its latency and the rate that was done in it."""
    metrics = _TOGETHER[result.kind][:-1]  # lag is no figure of the target's
    names = (
        ("notify.received_per_s", "notify.sent_per_s")
        if result.kind is LoadKind.NOTIFY
        else ("handshake.completed_per_s",)
    )
    return [
        (
            stage,
            next((stage.metrics[m] for m in metrics if m in stage.metrics), None),
            next((stage.rates[name] for name in names if name in stage.rates), None),
        )
        for stage in result.stages
    ]


Points = list[tuple[float, float, str]]


def _points(histogram: Histogram | None, summary: MetricSummary | None) -> Points:
    """x, ns and what the hover shows. Without a histogram the summary's percentiles have to do."""
    if histogram is not None and histogram.count:
        most = float(histogram.count)
        return [
            (
                min(100 / (100 - percent), most) if percent < 100 else most,
                ns,
                f"{_percent(percent)}: {shown_ns(ns)} · {histogram.count - reached:,} above",
            )
            for percent, ns, reached in histogram.curve()
        ]
    if summary is None or not summary.count:
        return []
    known = ((2, "p50"), (10, "p90"), (20, "p95"), (100, "p99"), (1000, "p99_9"))
    points = [
        (float(x), float(value), f"{_STATISTICS[name]}: {shown_ns(value)}")
        for x, name in known
        if (value := getattr(summary, name)) is not None
    ]
    return [*points, (float(summary.count), float(summary.max), f"max: {shown_ns(summary.max)}")]


def _percent(percent: float) -> str:
    digits = 1 if percent < 99 else min(8, 2 - math.floor(math.log10(100 - percent))) if percent < 100 else 0
    return "max" if percent == 100 else f"{percent:.{digits}f} %"


def _offered(stage: StageResult) -> str:
    length = f"{stage.length_s:,.1f} s".replace(".0 s", " s")
    if not stage.start_per_s and not stage.end_per_s:  # as fast as it goes, or as a site has it
        return f"{length}. "
    rates = f"{stage.start_per_s:,.6g}/s"
    if stage.end_per_s != stage.start_per_s:
        rates += f" to {stage.end_per_s:,.6g}/s"
    return f"{length}, offered at {rates}. "


def _families(metrics: Mapping[str, Points], together: Sequence[str], where: str, lead: str) -> list[Chart]:
    """A chart for each family of metrics: nobody can tell thirty curves apart.

    Args:
        together: the family of what the run is about; others are of what their names begin with. Of requests, a family
            is one duration of all their kinds.
    """
    families: dict[str, dict[str, Points]] = {}
    for metric, points in metrics.items():
        first, _, rest = metric.partition(".")
        own = f"{first}.*.{rest.rpartition('.')[2]}" if first in _BY_KIND else f"{first}.*"
        family = "" if metric in together else own
        families.setdefault(family, {})[metric] = points
    charts = []
    for family, members in families.items():
        title = ", ".join(filter(None, (f"Percentiles of {family}" if family else "Percentiles", where)))
        parts = -(-len(members) // _MOST_CURVES)
        size = -(-len(members) // parts)
        for part in range(parts):
            shown = dict([*members.items()][part * size : (part + 1) * size])
            if "*." in family:  # what stands for the star is a name by itself, and leaves a legend room
                shown = {metric.split(".")[1]: points for metric, points in shown.items()}
            which = f" ({part + 1} of {parts})" if parts > 1 else ""
            charts += _percentiles(shown, title + which, lead if not family else "")
    return charts


def _percentiles(metrics: Mapping[str, Points], title: str, lead: str) -> list[Chart]:
    if not metrics:
        return []
    traces = []
    for number, (metric, points) in enumerate(metrics.items()):
        x, ns, texts = zip(*points, strict=True)
        y = [value if value > 0 else None for value in ns]
        traces.append(line(metric, x, y, number, texts=texts))
    most = max(x for points in metrics.values() for x, _, _ in points)
    axis = duration_axis(ns for points in metrics.values() for _, ns, _ in points)
    text = lead + "Which share took no longer than that: every nine further to the right is ten times rarer."
    layout = {"xaxis": percentile_axis(most), "yaxis": axis, "hovermode": "x unified"}
    return [Chart(title, text, {"data": traces, "layout": layout}, 380)]


def _sessions(timeline: Timeline) -> list[Figure]:
    columns = timeline.columns
    traces = []
    if any(active := columns.get("sessions.active", ())):  # of a load of handshakes there are none
        traces.append(line("up", timeline.start_s, active, 0) | {"fill": "tozeroy", "fillcolor": "var(--fill)"})
    for number, word in ((1, "established"), (4, "failed"), (5, "lost")):
        values = columns.get(f"sessions.{word}_per_s", ())
        if any(value for value in values):
            traces.append(line(f"{word} per s", timeline.start_s, values, number))
    return traces


def _cpu(result: RunResult) -> tuple[str, list[Figure]]:
    """What is said of the workers' CPU, and its lines: of each, or of many the range, the median and the busiest."""
    times, columns = result.timeline.start_s, result.timeline.columns
    text = "CPU of each worker process, in cores: one that stays near 1 has nothing left to give."
    if all(_measured(columns.get(name)) for name in (LEAST, MEDIAN, MOST)):
        return f"{text} All {len(result.workers)} workers lie within the shaded range.", _range(
            times, *(columns[name] for name in (LEAST, MOST, MEDIAN))
        )
    cpu = {name.removeprefix("cpu."): c for name, c in columns.items() if name.startswith("cpu.") and _measured(c)}
    if len(cpu) <= _MOST_WORKERS:
        return text, [line(worker, times, column, i) for i, (worker, column) in enumerate(cpu.items())]
    rows = [[value for value in row if value is not None] for row in zip(*cpu.values(), strict=False)]
    traces = _range(
        times,
        [min(row, default=None) for row in rows],
        [max(row, default=None) for row in rows],
        [statistics.median(row) if row else None for row in rows],
    )
    busy = sorted(cpu, key=lambda worker: -sum(value or 0.0 for value in cpu[worker]))[:_BUSIEST]
    traces += [line(worker, times, cpu[worker], i + 1) for i, worker in enumerate(busy)]
    return f"{text} All {len(cpu)} workers lie within the shaded range; the busiest have a line each.", traces


def _range(
    times: Sequence[float],
    least: Sequence[float | None],
    most: Sequence[float | None],
    median: Sequence[float | None],
) -> list[Figure]:
    low, high = line("least", times, least, 5), line("most", times, most, 5)
    for trace in (low, high):
        trace["line"] = {"color": COLOURS[5], "width": 1}
    high |= {"fill": "tonexty", "fillcolor": "var(--fill)"}
    return [low, high, line("median", times, median, 0)]


def _measured(column: Sequence[float | None] | None) -> bool:
    return column is not None and any(value is not None for value in column)
