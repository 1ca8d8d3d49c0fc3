"""Which figures of a result are compared, which direction is better, and what decides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from loadgen.compare.result import Gate
from loadgen.errors import ExitCode
from loadgen.measure.names import COSTS, COUNTERS, METRICS, RATES, REQUESTS, SUBSERVICES
from loadgen.results.faults import faults
from loadgen.results.health import Verdict
from loadgen.results.result import RunResult

# Changes smaller than these are nobody's concern, even when they are certain.
RELEVANT_RATE = 0.075
RELEVANT_LATENCY = 0.15
# What memory varies by although nothing changed.
MARGIN_MEMORY = 0.10
# CPU time means something only between runs of one session in which these were equal.
SAME_FOR_CPU = ("cpu", "cpus", "kernel")

ERRORS = "errors"
GATED_STATISTICS = ("p50", "p90", "p99")
SHOWN_STATISTICS = ("mean", "p99_9", "max")
STATISTICS = (*GATED_STATISTICS, *SHOWN_STATISTICS)
# The rates that tell how much of the load was done, and the counters of the same.
_COUNTED_BY = {
    "handshake.completed_per_s": "handshakes.completed",
    "notify.sent_per_s": "notify.sent",
    "notify.received_per_s": "notify.received",
}


# How a run ended when its figures are not those of the whole plan, or not the target's.
_NOT_COUNTED: dict[int, str] = {
    ExitCode.GENERATOR_SATURATED: "its generator was saturated",
    ExitCode.WORKER_DIED: "a worker process died in it",
    ExitCode.INTERRUPTED: "it was interrupted",
}


class Relevant(msgspec.Struct, frozen=True):
    """The smallest changes that matter, as shares."""

    rate: float = RELEVANT_RATE
    latency: float = RELEVANT_LATENCY


class ComparedFigure(msgspec.Struct, frozen=True):
    """One figure, or all statistics of one duration.

    Attributes:
        name: as in docs/metrics.md; "errors" is the sum of all `errors.*`, each event once.
        margin: of a MARGIN gate, as a share.
        needs_same_cpu: outside of one session on one machine it is only reported.
        needs_valid: only runs whose generator was VALID make it a regression. A machine that is too busy has timeouts
            and backlogs of its own, and of few sessions each takes more memory.
    """

    name: str
    unit: str
    better: Literal["lower", "higher"]
    gate: Gate
    margin: float = 0.0
    needs_same_cpu: bool = False
    needs_valid: bool = False


_ROWS = (
    # Counts that have to be 0 in a healthy run, and the size of a message: no noise.
    ComparedFigure(ERRORS, "", "lower", Gate.EXACT, needs_valid=True),
    ComparedFigure("sessions.failed", "", "lower", Gate.EXACT, needs_valid=True),
    ComparedFigure("sessions.lost", "", "lower", Gate.EXACT, needs_valid=True),
    ComparedFigure("handshakes.failed", "", "lower", Gate.EXACT, needs_valid=True),
    ComparedFigure("handshakes.dropped", "", "lower", Gate.EXACT, needs_valid=True),
    ComparedFigure("notify.lost", "", "lower", Gate.EXACT, needs_valid=True),
    ComparedFigure("notify.dropped", "", "lower", Gate.EXACT, needs_valid=True),
    ComparedFigure("notify.duplicated", "", "lower", Gate.EXACT),
    ComparedFigure("notify.reordered", "", "lower", Gate.EXACT),
    ComparedFigure("requests.dropped", "", "lower", Gate.EXACT, needs_valid=True),
    ComparedFigure("requests.refused", "", "lower", Gate.EXACT),
    ComparedFigure("requests.timed_out", "", "lower", Gate.EXACT, needs_valid=True),
    ComparedFigure("requests.abandoned", "", "lower", Gate.EXACT, needs_valid=True),
    ComparedFigure("requests.in_part", "", "lower", Gate.EXACT),
    ComparedFigure("requests.unmatched", "", "lower", Gate.EXACT),
    ComparedFigure("echo.dropped", "", "lower", Gate.EXACT, needs_valid=True),
    ComparedFigure("echo.unanswered", "", "lower", Gate.EXACT, needs_valid=True),
    ComparedFigure("echo.unmatched", "", "lower", Gate.EXACT),
    ComparedFigure("sessions.granted_in_part", "", "lower", Gate.EXACT),
    ComparedFigure("clock.clamped", "", "lower", Gate.EXACT, needs_valid=True),
    ComparedFigure("transmit.dropped.high", "", "lower", Gate.EXACT, needs_valid=True),
    ComparedFigure("transmit.dropped.normal", "", "lower", Gate.EXACT, needs_valid=True),
    ComparedFigure("notify.bytes", "bytes", "lower", Gate.EXACT),
    # In use once all sessions are up: a busy machine moves it by 2 %.
    ComparedFigure("session.rss_bytes", "bytes", "lower", Gate.MARGIN, MARGIN_MEMORY, needs_valid=True),
    # The most that a target took at any time: a backlog is memory, and backlogs are noise.
    ComparedFigure("target.rss_bytes", "bytes", "lower", Gate.PAIRED),
    ComparedFigure("notify.cpu_s", "s", "lower", Gate.PAIRED, needs_same_cpu=True),
    ComparedFigure("handshake.cpu_s", "s", "lower", Gate.PAIRED, needs_same_cpu=True),
    ComparedFigure("target.cpu_s", "s", "lower", Gate.PAIRED, needs_same_cpu=True),
    # Sessions come up at the pace of mse.connect_per_s.
    ComparedFigure("handshake.per_s", "1/s", "higher", Gate.REPORT),
    ComparedFigure("handshake.completed_per_s", "1/s", "higher", Gate.PAIRED),
    ComparedFigure("notify.sent_per_s", "1/s", "higher", Gate.PAIRED),
    ComparedFigure("notify.received_per_s", "1/s", "higher", Gate.PAIRED),
    ComparedFigure("handshake.tls", "ns", "lower", Gate.PAIRED),
    ComparedFigure("handshake.tls_resumed", "ns", "lower", Gate.PAIRED),
    ComparedFigure("handshake.session", "ns", "lower", Gate.PAIRED),
    ComparedFigure("handshake.latency", "ns", "lower", Gate.PAIRED),
    ComparedFigure("handshake.service", "ns", "lower", Gate.PAIRED),
    ComparedFigure("notify.latency", "ns", "lower", Gate.PAIRED),
    ComparedFigure("notify.service", "ns", "lower", Gate.PAIRED),
    ComparedFigure("echo.service", "ns", "lower", Gate.PAIRED),
    *(
        ComparedFigure(f"request.{name}.{what}", "ns", "lower", Gate.PAIRED)
        for name in REQUESTS
        for what in ("latency", "service")
    ),
    # A kernel answers a SYN, whatever the build behind it; `handshake.session` begins with it all the same.
    ComparedFigure("handshake.tcp", "ns", "lower", Gate.REPORT),
    # Lateness of sends is the generator's, or a part of `latency`.
    ComparedFigure("handshake.lag", "ns", "lower", Gate.REPORT),
    ComparedFigure("echo.latency", "ns", "lower", Gate.REPORT),
    ComparedFigure("echo.lag", "ns", "lower", Gate.REPORT),
    *(ComparedFigure(f"request.{name}.lag", "ns", "lower", Gate.REPORT) for name in REQUESTS),
    ComparedFigure("notify.lag", "ns", "lower", Gate.REPORT),
    ComparedFigure("notify.age", "ns", "lower", Gate.REPORT),
    ComparedFigure("notify.gap", "ns", "lower", Gate.REPORT),
    *(ComparedFigure(f"service.{name}.latency", "ns", "lower", Gate.REPORT) for name in SUBSERVICES),
    ComparedFigure("generator.lag", "ns", "lower", Gate.REPORT),
    *(ComparedFigure(f"generator.{name}_lag", "ns", "lower", Gate.REPORT) for name in ("read", "handshake", "accept")),
)


def rows() -> Iterator[ComparedFigure]:
    """Every figure that is compared, one row each: durations with their statistics in the name."""
    for row in _ROWS:
        if row.name not in METRICS:
            yield row
            continue
        for statistic in STATISTICS:
            gate = row.gate if statistic in GATED_STATISTICS else Gate.REPORT
            yield msgspec.structs.replace(row, name=f"{row.name}.{statistic}", gate=gate)


def not_counted(result: RunResult) -> str | None:
    """Why a run's figures are not to be set against those of others; None if they are."""
    if result.unfinished:
        return "it had not ended when its result was written"
    if (why := _NOT_COUNTED.get(result.verdict.exit_code)) is None and result.verdict.generator is Verdict.INVALID:
        return _NOT_COUNTED[ExitCode.GENERATOR_SATURATED]
    return why


def figure(result: RunResult, name: str) -> float | None:
    """One figure of a run; None if it was not measured."""
    value: float | None
    if name == ERRORS:
        value = faults(result.counters).events
    elif name in COUNTERS:
        value = result.counters.get(name)
    elif name in RATES:
        # Left out of a result where nothing happened; if that was looked for, it is a rate of 0, not an unknown one.
        nothing = 0.0 if result.counters.get(_COUNTED_BY.get(name, "")) == 0 else None
        value = result.rates.get(name, nothing)
    elif name in COSTS:
        value = result.costs.get(name)
    else:
        metric, _, statistic = name.rpartition(".")
        summary = result.metrics.get(metric)
        value = None if summary is None else getattr(summary, statistic)
    return None if value is None else float(value)


def differences(baseline: Iterable[RunResult], new: Iterable[RunResult]) -> list[tuple[str, str, str]]:
    """What differs between the environments of two sides: name, baseline's values, new's values."""
    sides = [[run.environment for run in runs] for runs in (baseline, new)]
    names = dict.fromkeys(name for side in sides for environment in side for name in environment)
    found = []
    for name in names:
        before, after = (sorted({environment.get(name, "unknown") for environment in side}) for side in sides)
        if len({*before, *after}) > 1:
            found.append((name, ", ".join(before), ", ".join(after)))
    return found
