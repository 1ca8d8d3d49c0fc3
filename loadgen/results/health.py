"""The generator judges itself: was it able to offer the load that the plan asks for?

A load tester that could not keep up measures itself. Such a run is INVALID and has its own exit code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

from loadgen.measure.histogram import MetricSummary, Spread
from loadgen.results.own import own_shares
from loadgen.units import NS_PER_MS, NS_PER_S, format_duration

# p99 of how late our own loop sent what was due and could be sent. 20 ms is what the design promises at full scale;
# five times that is a different load from the one that was planned. Of fewer samples than p99 takes: p90, or p50.
LAG_DEGRADED_NS = 20 * NS_PER_MS
LAG_INVALID_NS = 100 * NS_PER_MS
# A loop that did not turn for that long distorted everything that was due, or came, in it. A shared machine has hiccups
# of 50 to 100 ms; nobody but ourselves stands still for a second.
STALL_DEGRADED_NS = 250 * NS_PER_MS
STALL_INVALID_NS = NS_PER_S
# A loop that had next to no time to spare would hardly have done more, whatever the target can do.
BUSY_DEGRADED = 0.95
# Of the load's time: more than that for the garbage collector shows in the tail of every latency.
GC_DEGRADED = 0.05
# Of the load's time, for which a CPU quota kept the control group from running.
THROTTLED_DEGRADED = 0.01
THROTTLED_INVALID = 0.10
# Swapping is machine-wide, and perhaps not ours; a little of it is no reason to doubt.
SWAPPED_DEGRADED_BYTES = 16 * 1024 * 1024
# So near to the limit, the next accept may fail.
DESCRIPTORS_DEGRADED = 0.95
# Of the time that dialing all sessions was to take.
DIALING_DEGRADED = 0.05
# Of the datagrams that came, what our own sockets and queues had no room for.
OVERRUN_INVALID = 0.01
# Of the load that was due, what our own loop failed to send in time.
SHORTFALL_INVALID = 0.01


class Verdict(StrEnum):
    """Whether the figures of a run can be used."""

    VALID = "VALID"
    DEGRADED = "DEGRADED"
    INVALID = "INVALID"


class Dialing(msgspec.Struct, frozen=True):
    """How a worker dialed its sessions, beside how it was to.

    Attributes:
        sessions: that were dialed since the rate was set. planned_ns: how long that was to take.
        late_ns: after it was due, at most, one of them was dialed; own_ns: as far as it was not for the peers that it
            waited.
    """

    sessions: int = 0
    planned_ns: int = 0
    late_ns: int = 0
    own_ns: int = 0

    @property
    def planned_per_s(self) -> float:
        return self.sessions * NS_PER_S / self.planned_ns if self.planned_ns else 0.0

    @property
    def reached_per_s(self) -> float:
        return self.sessions * NS_PER_S / (self.planned_ns + self.late_ns) if self.planned_ns else 0.0

    def is_behind(self, late_ns: int) -> bool:
        """Whether to be late by so much makes it another rate."""
        return late_ns > max(STALL_DEGRADED_NS, self.planned_ns * DIALING_DEGRADED)


class WorkerHealth(msgspec.Struct, frozen=True):
    """A worker's account of itself.

    Attributes:
        cpu_s, wall_s: of the whole process.
        load_cpu_s, load_wall_s: from the start of the load to its end.
        rss_bytes: at most, so far.
        sessions_rss_bytes: what its sessions made it grow by, without what malloc had free; 0 where that is not known.
        longest_stall_ns, longest_gc_pause_ns, gc_pauses_ns: during the load; the last one is their sum.
        began_late_ns: after the load had begun, it was told that it would. missed_ns: of the load, from its beginning
            on, what had been read, and is in none of its stages.
        setup_stall_ns, closing_stall_ns: before the load, while sessions were set up, and after it.
        lag: of sends that count and that the peer did not hold up.
        read_lag: from received by the kernel to read, in stages that count.
        lag_p99_ns: its p99; None with too few samples for one.
        own_shortfall: notifications or handshakes given up although the peer was ready.
        due: of which that is a part.
        descriptors, descriptor_limit: open at the end of the load, and the most there may be.
        dialing: of an MSE's sessions.
        key_log_trouble: why secrets of its tunnels are missing in the key log; empty: none are, or there is none.
    """

    worker: str
    cpu_s: float
    wall_s: float
    rss_bytes: int
    longest_stall_ns: int
    longest_gc_pause_ns: int
    load_cpu_s: float = 0.0
    load_wall_s: float = 0.0
    lag_p99_ns: int | None = None
    own_shortfall: int = 0
    due: int = 0
    sessions_rss_bytes: int = 0
    gc_pauses_ns: int = 0
    descriptors: int = 0
    descriptor_limit: int = 0
    setup_stall_ns: int = 0
    closing_stall_ns: int = 0
    began_late_ns: int = 0
    missed_ns: int = 0
    lag: Spread = Spread()
    read_lag: Spread = Spread()
    key_log_trouble: str = ""
    dialing: Dialing = Dialing()

    @property
    def load_share(self) -> float:
        """Of a core, during the load."""
        return self.load_cpu_s / self.load_wall_s if self.load_wall_s else 0.0


def key_log_trouble(workers: Sequence[WorkerHealth]) -> str:
    """Why secrets are missing in a run's key log, by the first worker that has lost some; empty if none are."""
    return next((worker.key_log_trouble for worker in workers if worker.key_log_trouble), "")


def key_log_lines(path: str, trouble: str) -> list[str]:
    """What is to be said of a key log that was written: it costs, and gives away. `path`: empty: none was."""
    if not path:
        return []
    missing = f"; some are missing: {trouble}" if trouble else ""
    return [f"key log: the secrets of all tunnels are in {path}, and whoever reads it reads them{missing}"]


class MachineHealth(msgspec.Struct, frozen=True):
    """What the machine went through during the load; 0 where it does not tell.

    Attributes:
        busy: share of all its CPU time that was used, by whomever.
        throttled_s: for which the control group was not let run.
        swapped_bytes: written to swap or read from it, machine-wide.
        retransmitted: share of TCP segments that were sent again, machine-wide.
        memory_available_bytes: at the end.
    """

    busy: float = 0.0
    throttled_s: float = 0.0
    swapped_bytes: int = 0
    retransmitted: float = 0.0
    memory_available_bytes: int = 0


class GeneratorVerdict(msgspec.Struct, frozen=True):
    """The verdict and why; no reason means that nothing stood out.

    Attributes:
        limiting: the first of the reasons for which the generator itself may have been the limit; empty if none is.
    """

    generator: Verdict
    reasons: tuple[str, ...]
    limiting: str = ""


def judge(
    workers: Sequence[WorkerHealth],
    machine: MachineHealth,
    faults: Mapping[str, int],
    metrics: Mapping[str, MetricSummary] | None = None,
) -> GeneratorVerdict:
    """VALID, DEGRADED or INVALID, with every reason.

    Args:
        metrics: the figures of the run, as far as they are known.
        faults: counters; errors of our own machine (descriptors, local ports), and datagrams that we did not read in
            time, are the generator's.
    """
    invalid: list[str] = []
    degraded: list[str] = []
    blemishes: list[str] = []  # degraded too, but nothing that would have kept us from doing more
    for w in workers:
        if w.due and w.own_shortfall / w.due > SHORTFALL_INVALID:
            invalid.append(f"{w.worker} gave up {w.own_shortfall:,} of {w.due:,} due that its peer would have taken")
        statistic, lag_ns = w.lag.highest()
        if lag_ns > LAG_DEGRADED_NS:
            bad = invalid if lag_ns > LAG_INVALID_NS else blemishes
            bad.append(f"{w.worker} sent late: {statistic} of its lag is {format_duration(lag_ns)}")
        statistic, lag_ns = w.read_lag.highest()
        if lag_ns > LAG_INVALID_NS:
            invalid.append(f"{w.worker} read late: {statistic} of its read_lag is {format_duration(lag_ns)}")
        if w.load_share > BUSY_DEGRADED:
            degraded.append(f"{w.worker} used {w.load_share:.0%} of a core: it may itself have been the limit")
        for stall_ns, when in _stalls(w):
            if stall_ns > STALL_DEGRADED_NS:
                bad = invalid if stall_ns >= STALL_INVALID_NS else blemishes
                bad.append(f"{w.worker}'s loop stood still for {format_duration(stall_ns)}{when}")
        if w.dialing.is_behind(w.dialing.own_ns):
            reached, planned = w.dialing.reached_per_s, w.dialing.planned_per_s
            late = format_duration(w.dialing.own_ns)
            degraded.append(
                f"{w.worker} dialed {reached:,.0f} of {planned:,.0f} sessions/s: no time for more, {late} late"
            )
        if w.began_late_ns > STALL_DEGRADED_NS:
            bad = invalid if w.began_late_ns >= STALL_INVALID_NS else blemishes
            bad.append(f"{w.worker} was told of the load {format_duration(w.began_late_ns)} after it had begun")
        if w.load_wall_s and w.gc_pauses_ns / NS_PER_S > w.load_wall_s * GC_DEGRADED:
            share = w.gc_pauses_ns / NS_PER_S / w.load_wall_s
            degraded.append(f"{w.worker} spent {share:.0%} of the load on garbage collection")
        if w.descriptor_limit and w.descriptors > w.descriptor_limit * DESCRIPTORS_DEGRADED:
            degraded.append(f"{w.worker} has {w.descriptors:,} of at most {w.descriptor_limit:,} descriptors open")
    blemishes += own_shares(metrics or {}, machine.busy)
    for kind, what in (("no_descriptor", "file descriptors"), ("no_local_port", "local ports")):
        if count := sum(count for name, count in faults.items() if name.endswith("." + kind)):
            invalid.append(f"this machine ran out of {what}, {count:,} times")
    if overrun := faults.get("datagrams.dropped", 0) + faults.get("datagrams.overflowed", 0):
        came = overrun + faults.get("datagrams.received", 0)
        bad = invalid if overrun > came * OVERRUN_INVALID else degraded
        bad.append(f"{overrun:,} of {came:,} datagrams came faster than they were read, and were thrown away here")
    wall_s = max((w.load_wall_s for w in workers), default=0.0)
    if wall_s and machine.throttled_s > wall_s * THROTTLED_DEGRADED:
        bad = invalid if machine.throttled_s > wall_s * THROTTLED_INVALID else degraded
        bad.append(f"the control group's CPU quota held everything up for {machine.throttled_s:.1f} s")
    if machine.swapped_bytes > SWAPPED_DEGRADED_BYTES:
        degraded.append(f"this machine swapped {machine.swapped_bytes / 1e6:,.0f} MB")
    verdict = Verdict.INVALID if invalid else Verdict.DEGRADED if degraded or blemishes else Verdict.VALID
    return GeneratorVerdict(verdict, tuple(invalid + degraded + blemishes), next(iter(invalid + degraded), ""))


def _stalls(w: WorkerHealth) -> tuple[tuple[int, str], ...]:
    """The longest time for which its loop stood still in each part of a run, and what there is to say of it."""
    garbage = f", {format_duration(w.longest_gc_pause_ns)} of it garbage collection"
    return (
        (w.setup_stall_ns, " before the load, while sessions are set up"),
        (w.longest_stall_ns, garbage if w.longest_gc_pause_ns > NS_PER_S // 100 else ""),
        (w.closing_stall_ns, " after the load, while what is under way still comes"),
    )
