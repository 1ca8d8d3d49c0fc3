"""What to expect of a run, on the terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from loadgen.engine.forecast import Forecast, StageForecast
from loadgen.loads import LoadKind

_MIB = 1 << 20


def forecast_table(expected: Forecast) -> RenderableType:
    """All of it, a line for each."""
    e = expected
    things = "notifications" if e.kind is LoadKind.NOTIFY else "handshakes"
    about = "about " if e.about else ""
    table = Table.grid(padding=(0, 3))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    pairs = f"{e.wlcs:,} WLCs, {e.mses:,} MSEs, at most {e.most_sessions_of_a_wlc:,} at one WLC"
    table.add_row("  sessions", f"{e.sessions:,}   ({pairs})")
    if e.connect_s:
        table.add_row("  connecting", f"{e.connect_s:,.1f} s")
    for stage in e.stages:
        rate = _rates(stage, things, about) if e.offered else "whatever the peer does"
        table.add_row(f"  {stage.name}", f"{stage.length_s:,.1f} s, {rate}{'' if stage.counted else '   (apart)'}")
    unknown = "as many as it takes" if e.offered else "as many as the peer makes"
    table.add_row(f"  {things}", unknown if e.total is None else f"{about}{e.total:,} in all")
    if e.notification_bytes is not None and e.bytes_per_s is not None and e.network_bytes_per_s is not None:
        table.add_row(
            "  bytes",
            f"{'at most ' if e.about else ''}{e.notification_bytes:,.0f} a notification; "
            f"at the peak {_rate(e.bytes_per_s)}, {_rate(e.network_bytes_per_s)} on the wire",
        )
    table.add_row("  workers", f"{e.workers} a side")
    table.add_row("  descriptors", f"{e.descriptors:,} a process, of at most {e.descriptor_limit:,}")
    table.add_row(
        "  memory", f"{e.memory_bytes / _MIB:,.0f} MiB, of {e.memory_available_bytes / _MIB:,.0f} MiB available"
    )
    return Group(Text.assemble((e.scenario, "bold"), f" {e.plan_digest}   {e.use}"), table)


def _rates(stage: StageForecast, things: str, about: str) -> str:
    start, end = stage.start_per_s, stage.end_per_s
    if not start and not end:
        return "as fast as it goes"
    rate = f"{end:,.0f}" if start == end else f"{start:,.0f} to {end:,.0f}"
    return f"{about}{rate} {things}/s"


def _rate(bytes_per_s: float) -> str:
    return f"{bytes_per_s / 1e6:,.2f} MB/s"
