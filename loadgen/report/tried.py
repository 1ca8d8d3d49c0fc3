"""How often each load of a search was tried, and how it went, in words."""

from __future__ import annotations

from loadgen.capacity.result import DimensionResult, LoadTried, Probe


def unsettled(d: DimensionResult) -> list[str]:
    """The loads that one try did not settle, with all that came of them."""
    return [f"{amount(each.load)} {how_tried(each)}" for each in d.loads if each.tries > 1 or each.strays]


def shared_by(d: DimensionResult) -> str:
    """Of notifications, how many sessions the limit is the sum of, and what each has; empty where there is one."""
    confirming = [probe.sessions for probe in d.probes if probe.passed and probe.offered == d.limit]
    if d.dimension != "notify.per_s" or d.limit is None or not confirming or confirming[-1] < 2:
        return ""
    return f"on {confirming[-1]:,} sessions together: {d.limit / confirming[-1]:,.4g} {d.unit} each"


def how_tried(load: LoadTried) -> str:
    """E.g. `held: 2 of 3 tries held, 1 of 2 as long as a confirmation; 1 failed, a stray`."""
    parts = [f"{load.times_held:,} of {load.tries:,} {'try' if load.tries == 1 else 'tries'} held"]
    if load.confirmations:
        parts.append(f"{load.times_confirmed:,} of {load.confirmations:,} as long as a confirmation")
    if load.times_limited:
        parts.append(f"{load.times_limited:,} limited by the generator")
    if load.times_scattered:
        parts.append(f"{load.times_scattered:,} in which waits scattered")
    failed = "" if not load.strays else f"; {load.strays:,} failed, {'a stray' if load.strays == 1 else 'strays'}"
    if load.failed:
        failed = f"; {load.failed:,} of {load.attempted:,} failed"
    return f"{word_of(load)}: {', '.join(parts)}{failed}"


def word_of(load: LoadTried) -> str:
    return "confirmed" if load.confirmed else "held" if load.held else "did not hold"


def outvoted(d: DimensionResult, probe: Probe) -> bool:
    """It held, and its load did not, by all tries: what seemed to be achieved in it, the target does not do."""
    return probe.passed and any(load.load == probe.offered and not load.held for load in d.loads)


def amount(load: float) -> str:
    """A load, or what was achieved of it: neighbours of a search differ by 1 %."""
    return f"{load:,.0f}" if load >= 100 else f"{load:.4g}"
