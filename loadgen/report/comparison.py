"""A comparison on the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from loadgen.compare.result import Comparison, Decision, Gate, MetricComparison
from loadgen.report.figures import change_shown, figure_shown, interval_shown
from loadgen.report.terminal import hanging

# Of a metric that is only shown; of one that decides, from what goes into any terminal to all that there is.
_SHOWN = ("baseline", "new", "change")
_SHORT = (*_SHOWN, "decision")
_SURE = (*_SHOWN, "95% interval", "noise", "decision")
_ALL = (*_SURE, "why")
_WORDS = ("decision", "why")
# More than any table takes.
_ANY_WIDTH = 10_000
_STYLES = {Decision.PASS: "green", Decision.REGRESSION: "bold red", Decision.INCONCLUSIVE: "yellow"}


def comparison_summary(result: Comparison) -> RenderableType:
    """The decision first, then every metric: those that decide, and below them those that are only shown."""
    parts: list[RenderableType] = [
        Text.assemble(
            (result.decision.upper(), _STYLES[result.decision]),
            f"   {result.scenario} {result.plan_digest}",
            f"   order {result.order}" if result.order else "",
        ),
        hanging("  baseline  ", result.baseline, "dim"),
        hanging("  new       ", result.new, "dim"),
    ]
    parts += [hanging("  · ", reason, "yellow") for reason in result.reasons]
    for report in (False, True):
        metrics = [metric for metric in result.metrics if (metric.gate is Gate.REPORT) is report]
        if metrics:
            parts += [Text(), Text("  shown only", style="dim") if report else Text("  decides", style="dim")]
            parts.append(_table(metrics, _SHOWN) if report else _Deciding(metrics))
    return Group(*parts)


class _Deciding:
    """Metrics that decide: the widest table that the terminal cuts nothing off of, and below it what it leaves out."""

    def __init__(self, metrics: list[MetricComparison]) -> None:
        self._metrics = metrics

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = options.update(width=_ANY_WIDTH)
        for names in (_ALL, _SURE, _SHORT):
            table = _table(self._metrics, names)
            if names is _SHORT or console.measure(table, options=room).maximum <= options.max_width:
                yield table
                if names is not _ALL:
                    yield from _whys(self._metrics, names)
                return


def _whys(metrics: list[MetricComparison], names: tuple[str, ...]) -> Iterable[RenderableType]:
    """Why metrics have not passed, each reason once, with the figures that are in no column."""
    by_reason: dict[str, list[str]] = {}
    for m in metrics:
        if m.decision is not Decision.PASS:
            sure = names is _SURE or m.interval is None or m.noise is None
            figures = "" if sure else f" ({interval_shown(m.interval)}, noise {m.noise:.1%})"
            by_reason.setdefault(m.reason, []).append(f"{m.metric}{figures}")
    for reason, them in by_reason.items():
        yield hanging("  · ", f"{', '.join(them)}: {reason}", "dim")


def _table(metrics: list[MetricComparison], names: tuple[str, ...]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("  metric", no_wrap=True)
    for name in names:
        table.add_column(name, justify="left" if name in _WORDS else "right", no_wrap=name != "why")
    for m in metrics:
        cells: dict[str, RenderableType] = {
            "baseline": figure_shown(m.baseline, m.unit),
            "new": figure_shown(m.new, m.unit),
            "change": change_shown(m.change),
            "95% interval": interval_shown(m.interval),
            "noise": "-" if m.noise is None else f"{m.noise:.1%}",
            "decision": Text(m.decision, style=_STYLES[m.decision]),
            "why": Text(m.reason),
        }
        table.add_row(Text(f"  {m.metric}"), *(cells[name] for name in names))
    return table
