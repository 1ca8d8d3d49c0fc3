"""A comparison on the terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from loadgen.compare.result import Comparison, Decision, Gate, MetricComparison
from loadgen.report.figures import change_shown, figure_shown, interval_shown

_STYLES = {Decision.PASS: "green", Decision.REGRESSION: "bold red", Decision.INCONCLUSIVE: "yellow"}


def comparison_summary(result: Comparison) -> RenderableType:
    """The decision first, then every metric: those that decide, and below them those that are only shown."""
    parts: list[RenderableType] = [
        Text.assemble(
            (result.decision.upper(), _STYLES[result.decision]),
            f"   {result.scenario} {result.plan_digest}",
            f"   order {result.order}" if result.order else "",
        ),
        Text(f"  baseline  {result.baseline}", style="dim"),
        Text(f"  new       {result.new}", style="dim"),
    ]
    parts += [Text(f"  · {reason}", style="yellow") for reason in result.reasons]
    for report in (False, True):
        metrics = [metric for metric in result.metrics if (metric.gate is Gate.REPORT) is report]
        if metrics:
            parts += [Text(), Text("  shown only", style="dim") if report else Text("  decides", style="dim")]
            parts.append(_table(metrics, report))
    return Group(*parts)


def _table(metrics: list[MetricComparison], report: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("  metric", no_wrap=True)
    for name in ("baseline", "new", "change"):
        table.add_column(name, justify="right", no_wrap=True)
    if not report:
        for name in ("95% interval", "noise"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("decision", no_wrap=True)
        table.add_column("why", overflow="fold")
    for m in metrics:
        cells: list[RenderableType] = [
            Text(f"  {m.metric}"),
            figure_shown(m.baseline, m.unit),
            figure_shown(m.new, m.unit),
            change_shown(m.change),
        ]
        if not report:
            noise = "-" if m.noise is None else f"{m.noise:.1%}"
            decision = Text(m.decision, style=_STYLES[m.decision])
            cells += [interval_shown(m.interval), noise, decision, Text(m.reason)]
        table.add_row(*cells)
    return table
