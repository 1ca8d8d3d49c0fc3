"""How far a run is, in one line and in its words. Light: a run that nobody looks at begins with it."""

from __future__ import annotations

from loadgen.loads import LoadKind
from loadgen.measure.progress import Snapshot, Standing
from loadgen.units import format_duration

NOTHING = "-"


def line(snapshot: Snapshot) -> str:
    """What a person wants to see while it runs, in one line, for logs."""
    s = snapshot
    seconds = f"{min(s.elapsed_s, s.total_s):.0f}/{s.total_s:.0f}s{overtime(s)}"
    where = f"{s.load_stage} {seconds}" if s.standing is Standing.LOAD else s.standing.value
    if s.kind is LoadKind.HANDSHAKE:
        return (
            f"{where}: handshakes/s due {rate_of(s, 'handshakes.due')} completed {rate_of(s, 'handshakes.completed')}; "
            f"{s.counters.get('handshakes.completed', 0)} completed, {s.counters.get('handshakes.failed', 0)} failed; "
            f"TLS p50 {duration_of(s.handshake_p50_ns)} p99 {duration_of(s.handshake_p99_ns)}"
        )
    return (
        f"{where}: sessions {s.active}/{s.sessions} up, {failed_sessions(s)} failed, "
        f"{rate_of(s, 'sessions.established')} handshakes/s; notifications/s due {rate_of(s, 'notify.due')} "
        f"sent {rate_of(s, 'notify.sent')} received {rate_of(s, 'notify.received')}; "
        f"latency p50 {duration_of(s.latency_p50_ns)} p99 {duration_of(s.latency_p99_ns)}; "
        f"lag p99 {duration_of(s.lag_p99_ns)}"
    )


def overtime(snapshot: Snapshot) -> str:
    """How much longer the load takes than planned, because we or the target are behind."""
    over = snapshot.elapsed_s - snapshot.total_s
    return f", {over:.0f} s over" if over >= 1 else ""


def failed_sessions(snapshot: Snapshot) -> int:
    return snapshot.counters.get("sessions.failed", 0) + snapshot.counters.get("sessions.lost", 0)


def rate_of(snapshot: Snapshot, name: str) -> str:
    """A rate, or a dash where that side is not ours."""
    return f"{snapshot.per_s.get(name, 0):,.0f}" if name in snapshot.counters else NOTHING


def duration_of(ns: int | None) -> str:
    return NOTHING if ns is None else format_duration(ns)
