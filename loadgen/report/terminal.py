"""A result on the terminal, and a run in progress: as a live view, or as one line every few seconds."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from loadgen.errors import ExitCode
from loadgen.loads import LoadKind
from loadgen.measure.progress import Snapshot, Standing
from loadgen.report.clocks import clock_lines
from loadgen.report.missing import missing_lines
from loadgen.report.progress import NOTHING, duration_of, failed_sessions, overtime, rate_of
from loadgen.results.faults import Faults, faults
from loadgen.results.health import Verdict, key_log_lines
from loadgen.results.result import RunResult
from loadgen.results.thresholds import Status

_VERDICT_STYLE = {Verdict.VALID: "bold green", Verdict.DEGRADED: "bold yellow", Verdict.INVALID: "bold red"}
_MARKS = {Status.PASSED: ("pass", "green"), Status.FAILED: ("FAIL", "bold red"), Status.ERROR: ("ERROR", "bold red")}
_CLOCKS_SHOWN = 4
_GOOD = frozenset({"attempted", "established", "due", "sent", "received", "completed", "resumed", "answered"})
_SHOWN_IF_ANY = frozenset({"withdrawn"})
_HANDSHAKE_COUNTERS = ("due", "attempted", "completed", "resumed", "failed", "dropped", "withdrawn")
_REQUEST_COUNTERS = ("due", "sent", "answered", "refused", "timed_out", "dropped")
_NOTIFY_COUNTERS = ("due", "sent", "received", "dropped", "lost", "duplicated", "reordered")
_WHY_THREE = {
    LoadKind.NOTIFY: "latency = received - due, service = received - sent, lag = sent - due",
    LoadKind.HANDSHAKE: "latency = done - due, lag = dialed - due",
}


def summary(result: RunResult, folder: str | None) -> RenderableType:
    """The end of a run: verdict first, then what was asked for, what was measured, what went wrong."""
    verdict = result.verdict
    passed = verdict.exit_code == ExitCode.PASSED
    parts: list[RenderableType] = [
        Text.assemble(
            (f"{verdict.outcome.upper()}", "bold green" if passed else "bold red"),
            "   generator ",
            (verdict.generator, _VERDICT_STYLE[verdict.generator]),
            f"   {result.scenario} {result.plan_digest}   {result.load_s:.1f} s of load",
        )
    ]
    parts += [hanging("  · ", reason, "yellow") for reason in verdict.reasons]
    parts.append(hanging("  ", f"limited by {verdict.limited_by}: {verdict.limit_reason}", "dim"))
    parts += [Text(), _counts(result)]
    if result.metrics:
        parts += [Text(), _durations(result)]
    if f"{result.kind}.latency" in result.metrics or f"{result.kind}.lag" in result.metrics:
        parts.append(Text(f"  {_why_three(result)}", style="dim"))
    style = "yellow" if result.clocks.corrected or result.clocks.unsteady else "dim"
    parts += [Text(f"  {line}", style=style) for line in clock_lines(result.clocks, _CLOCKS_SHOWN)]
    parts += [hanging("  ", line, "dim") for line in missing_lines(result.missing)]
    if apart := [stage.name for stage in result.stages if not stage.counted]:
        counted = [stage.name for stage in result.stages if stage.counted]
        parts.append(Text(f"  of {', '.join(counted)}; {', '.join(apart)} apart", style="dim"))
    if (found := faults(result.counters)).told:
        parts += [Text(), _errors(found)]
    if result.thresholds:
        parts += [Text(), _thresholds(result)]
    for said in key_log_lines(result.key_log, result.key_log_trouble):
        parts += [Text(), hanging("  · ", said, "yellow")]
    if folder is not None:
        parts += [Text(), Text(f"results in {folder}", style="dim")]
    return Group(*parts)


def _why_three(result: RunResult) -> str:
    """What those durations are which there are."""
    shown = _WHY_THREE[result.kind].split(", ")
    return ", ".join(each for each in shown if f"{result.kind}.{each.partition(' ')[0]}" not in result.missing)


def hanging(mark: str, text: str, style: str) -> RenderableType:
    """A sentence behind a mark; where it takes several lines, all of them begin behind it."""
    row = Table.grid()
    row.add_row(Text(mark, style=style), Text(text, style=style))
    return row


def live(snapshot: Snapshot, title: str) -> RenderableType:
    """What a person wants to see while it runs: four lines."""
    s = snapshot
    if s.standing is Standing.LOAD:
        bar = _bar(s.total_s, s.elapsed_s)
        stage = f"load · {s.load_stage}   {min(s.elapsed_s, s.total_s):5.1f} / {s.total_s:.0f} s{overtime(s)}"
    else:
        settled = s.counters.get("sessions.established", 0) + s.counters.get("sessions.failed", 0)
        bar = _bar(s.sessions, settled)
        stage = s.standing.value
    head = Table.grid(padding=(0, 2))
    head.add_row(Text(title, style="bold"), bar, Text(stage))
    grid = Table.grid(padding=(0, 2))  # fits into 80 columns with seven-digit figures
    grid.add_column(style="dim", no_wrap=True)
    for _ in range(4):
        grid.add_column(justify="right", no_wrap=True)
    if s.kind is LoadKind.HANDSHAKE:
        grid.add_row(
            "handshakes/s",
            f"due {rate_of(s, 'handshakes.due')}",
            f"completed {rate_of(s, 'handshakes.completed')}",
            _bad(s.counters.get("handshakes.failed", 0) + s.counters.get("handshakes.dropped", 0), "failed/dropped"),
        )
        grid.add_row(
            "TLS",
            f"p50 {duration_of(s.handshake_p50_ns)}",
            f"p99 {duration_of(s.handshake_p99_ns)}",
            f"{s.counters.get('handshakes.completed', 0):,} in all",
        )
        return Group(head, grid)
    grid.add_row(
        "sessions",
        f"{s.active:,}/{s.sessions:,} up",
        _bad(failed_sessions(s), "failed"),
        f"{rate_of(s, 'sessions.established')} handshakes/s",
        f"p99 {duration_of(s.handshake_p99_ns)}",
    )
    grid.add_row(
        "notify/s",
        f"due {rate_of(s, 'notify.due')}",
        f"sent {rate_of(s, 'notify.sent')}",
        f"received {rate_of(s, 'notify.received')}",
        _bad(s.counters.get("notify.lost", 0) + s.counters.get("notify.dropped", 0), "lost/dropped"),
    )
    grid.add_row(
        "latency",
        f"p50 {duration_of(s.latency_p50_ns)}",
        f"p99 {duration_of(s.latency_p99_ns)}",
        f"lag p99 {duration_of(s.lag_p99_ns)}",
        f"{max(s.counters.get(name, 0) for name in ('notify.received', 'notify.sent')):,} in all",
    )
    return Group(head, grid)


def _bar(total: float, completed: float) -> ProgressBar:
    # In colours of every terminal: where rich's own has 16 only, a full bar is as grey as an empty one.
    total = max(1, total)
    return ProgressBar(
        total=total,
        completed=min(completed, total),
        width=30,
        style="bright_black",
        complete_style="cyan",
        finished_style="green",
    )


def _counts(result: RunResult) -> RenderableType:
    rate = result.rates.get
    per_s = {
        "sessions": rate("handshake.per_s"),
        "notifications": rate("notify.received_per_s", rate("notify.sent_per_s")),
        "handshakes": rate("handshake.completed_per_s"),
    }
    if result.kind is LoadKind.HANDSHAKE:
        return _count_row("handshakes", "handshakes", _HANDSHAKE_COUNTERS, result, per_s)
    rows = [
        _count_row("sessions", "sessions", ("attempted", "established", "failed", "lost"), result, per_s),
        _count_row("notifications", "notify", _NOTIFY_COUNTERS, result, per_s),
    ]
    if "requests.due" in result.counters:
        rows.append(_count_row("requests", "requests", _REQUEST_COUNTERS, result, per_s))
    return Group(*rows)


def _count_row(
    label: str, prefix: str, words: tuple[str, ...], result: RunResult, per_s: dict[str, float | None]
) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column(f"  {label}", no_wrap=True, min_width=15)
    cells: list[RenderableType] = [""]
    for word in words:
        if (count := result.counters.get(f"{prefix}.{word}")) is not None and (count or word not in _SHOWN_IF_ANY):
            table.add_column(word.replace("_", " "), justify="right", no_wrap=True)
            style = "" if word in _GOOD or word in _SHOWN_IF_ANY else "bold red" if count else "green"
            cells.append(Text(f"{count:,}", style=style))
    table.add_column("per s", justify="right", no_wrap=True, min_width=7)
    rate = per_s.get(label)
    table.add_row(*cells, NOTHING if rate is None else f"{rate:,.0f}")
    return table


def _bad(count: int, word: str) -> Text:
    return Text(f"{count:,} {word}", style="bold red" if count else "green")


def _durations(result: RunResult) -> Table:
    # Without min and mean, so that it fits into 80 columns; result.json has them.
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("  ", no_wrap=True)
    for name in ("count", "p50", "p90", "p99", "p99.9", "max"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, m in result.metrics.items():
        figures = (m.p50, m.p90, m.p99, m.p99_9, m.max)
        table.add_row(f"  {name}", f"{m.count:,}", *map(duration_of, figures))
    return table


def _errors(found: Faults) -> RenderableType:
    told = Table.grid(padding=(0, 3))
    for error in found.told:
        told.add_row(f"  {error.name}", Text(f"{error.count:,}", style="red"), Text(f"at the {error.end}", style="dim"))
    if not found.again:
        return told
    again = Table.grid(padding=(0, 3))
    for error in found.again:
        again.add_row(
            *(Text(cell, style="dim") for cell in (f"  {error.name}", f"{error.count:,}", f"at the {error.end}"))
        )
    return Group(told, Text("  the same, from the other end:", style="dim"), again)


def _thresholds(result: RunResult) -> Table:
    table = Table.grid(padding=(0, 3))
    for threshold in result.thresholds:
        table.add_row("  ", Text(*_MARKS[threshold.status]), threshold.text, threshold.shown)
    return table
