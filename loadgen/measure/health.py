"""The generator judges itself: was it able to offer the load that the plan asks for?

A load tester that could not keep up measures itself. Such a run is INVALID and has its own exit code.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from loadgen.units import NS_PER_MS, NS_PER_S, format_duration

# p99 of how late our own loop sent what was due and could be sent. 20 ms is what the design promises at full scale;
# five times that is a different load from the one that was planned.
LAG_DEGRADED_NS = 20 * NS_PER_MS
LAG_INVALID_NS = 100 * NS_PER_MS
# A loop that did not turn for that long distorted everything that was due in it.
STALL_DEGRADED_NS = 250 * NS_PER_MS
# A loop that had next to no time to spare would hardly have done more, whatever the target can do.
BUSY_DEGRADED = 0.95
# Of the load that was due, what our own loop failed to send in time.
SHORTFALL_INVALID = 0.01


class Verdict(StrEnum):
    """Whether the figures of a run can be used."""

    VALID = "VALID"
    DEGRADED = "DEGRADED"
    INVALID = "INVALID"


class WorkerHealth(msgspec.Struct, frozen=True):
    """A worker's account of itself. `lag_p99_ns` counts only sends that the peer did not hold up."""

    worker: str
    cpu_s: float
    wall_s: float
    rss_bytes: int
    longest_stall_ns: int
    longest_gc_pause_ns: int
    load_cpu_s: float = 0.0  # of cpu_s, from the start of the load to its end
    load_wall_s: float = 0.0
    lag_p99_ns: int = 0
    own_shortfall: int = 0  # notifications or handshakes given up although the peer was ready
    due: int = 0

    @property
    def load_share(self) -> float:
        """Of a core, during the load."""
        return self.load_cpu_s / self.load_wall_s if self.load_wall_s else 0.0


class GeneratorVerdict(msgspec.Struct, frozen=True):
    """The verdict and why; no reason means that nothing stood out."""

    generator: Verdict
    reasons: tuple[str, ...]


def judge(workers: Sequence[WorkerHealth]) -> GeneratorVerdict:
    """VALID, DEGRADED or INVALID, with every reason."""
    invalid: list[str] = []
    degraded: list[str] = []
    for w in workers:
        if w.due and w.own_shortfall / w.due > SHORTFALL_INVALID:
            invalid.append(f"{w.worker} gave up {w.own_shortfall:,} of {w.due:,} due that its peer would have taken")
        if w.lag_p99_ns > LAG_DEGRADED_NS:
            bad = invalid if w.lag_p99_ns > LAG_INVALID_NS else degraded
            bad.append(f"{w.worker} sent late: p99 of its lag is {format_duration(w.lag_p99_ns)}")
        if w.load_share > BUSY_DEGRADED:
            degraded.append(f"{w.worker} used {w.load_share:.0%} of a core: it may itself have been the limit")
        if w.longest_stall_ns > STALL_DEGRADED_NS:
            cause = (
                f", {format_duration(w.longest_gc_pause_ns)} of it garbage collection"
                if w.longest_gc_pause_ns > NS_PER_S // 100
                else ""
            )
            degraded.append(f"{w.worker}'s loop stood still for {format_duration(w.longest_stall_ns)}{cause}")
    verdict = Verdict.INVALID if invalid else Verdict.DEGRADED if degraded else Verdict.VALID
    return GeneratorVerdict(verdict, tuple(invalid + degraded))
