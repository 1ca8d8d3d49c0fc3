"""What to expect of a run, on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadgen.loads import LoadKind
from loadgen.prepare.forecast import Forecast, StageForecast

if TYPE_CHECKING:
    from rich.console import RenderableType

_MIB = 1 << 20


def forecast_table(expected: Forecast) -> RenderableType:
    """All of it, a line for each."""
    # Not above: a run asks for `beyond_this_machine` before it begins, and prints no table until it is over.
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from loadgen.report.terminal import hanging

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
    if e.local_port_limit:
        dialed_from = f"{e.sources:,} addresses" if e.sources > 1 else "one address"
        table.add_row("  local ports", f"{e.local_ports:,} of at most {e.local_port_limit:,}, from {dialed_from}")
    table.add_row(
        "  memory", f"{e.memory_bytes / _MIB:,.0f} MiB, of {e.memory_available_bytes / _MIB:,.0f} MiB available"
    )
    table.add_row("  CPUs", _cpus(e, things))
    table.add_row("  messages", f"read by: {e.native}")
    warning = beyond_this_machine(e)
    return Group(
        Text.assemble((e.scenario, "bold"), f" {e.plan_digest}   {e.use}"),
        table,
        *([hanging("  ", warning, "bold yellow")] if warning else []),
    )


def beyond_this_machine(expected: Forecast) -> str:
    """Why this machine cannot be expected to do it; empty if it can."""
    e, effort = expected, expected.effort
    things = "notifications" if e.kind is LoadKind.NOTIFY else "handshakes"
    peak = max(max(stage.start_per_s, stage.end_per_s) for stage in e.stages)
    found = []
    if peak > effort.on_time_per_s:
        can = f"about {_two_digits(effort.on_time_per_s)}/s on time"
        if effort.most_per_s > effort.on_time_per_s:
            can += f" and {_two_digits(effort.most_per_s)}/s at all"
        found.append(f"{peak:,.0f} {things}/s are due at the peak; by known costs {effort.cpus:g} CPUs can do {can}")
    dialed_per_s = min(e.sessions, e.sessions / e.connect_s) if e.connect_s else 0
    if dialed_per_s > effort.handshakes_per_s:
        can = _two_digits(effort.handshakes_per_s)
        later = f"{dialed_per_s:,.0f} sessions/s are to be dialed; by known costs it can do about {can}/s"
        if not found:
            return f"{later}, and the others will be late"
        found.append(later)
    if not found:
        return ""
    ends = "expect a saturated generator (exit code 4); what things cost: docs/performance.md, several machines:"
    return "; ".join([*found, f"{ends} docs/distributed.md"])


def _cpus(e: Forecast, things: str) -> str:
    effort = e.effort
    needed = (
        f"{effort.cpus_needed:,.2g} of {effort.cpus:g} at the peak; " if effort.cpus_needed else f"{effort.cpus:g}; "
    )
    if effort.cpus_needed >= 100:
        needed = f"{effort.cpus_needed:,.0f} of {effort.cpus:g} at the peak; "
    can = f"{_two_digits(effort.on_time_per_s)} {things}/s"
    return f"{needed}by known costs about {can}{' on time' if e.kind is LoadKind.NOTIFY else ''}"


def _two_digits(per_s: float) -> str:
    """Costs were measured on one machine, and this is another."""
    digits = max(0, len(str(int(per_s))) - 2)
    return f"{round(per_s, -digits):,.0f}"


def _rates(stage: StageForecast, things: str, about: str) -> str:
    start, end = stage.start_per_s, stage.end_per_s
    if not start and not end:
        return "as fast as it goes"
    shown = f"{about}{_from_to(start, end)} {things}/s"
    if (stage.told_start_per_s, stage.told_end_per_s) != (start, end):
        told = _from_to(stage.told_start_per_s, stage.told_end_per_s)
        shown += f" on the wire ({told}/s before the fan-out)"
    return shown


def _from_to(start: float, end: float) -> str:
    return f"{end:,.0f}" if start == end else f"{start:,.0f} to {end:,.0f}"


def _rate(bytes_per_s: float) -> str:
    return f"{bytes_per_s / 1e6:,.3g} MB/s" if bytes_per_s < 1e9 else f"{bytes_per_s / 1e6:,.0f} MB/s"
