"""Results of runs that never were, for the tests of comparisons and of report formats."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from loadgen.compare.pairs import DEFAULT_CONTROL, DEFAULT_PAIRS, session_order
from loadgen.loads import LoadKind
from loadgen.measure.histogram import MetricSummary
from loadgen.results.health import MachineHealth, Verdict
from loadgen.results.result import Limit, ResultVerdict, RunResult, Timeline
from loadgen.results.thresholds import ThresholdResult

MS = 1_000_000
ENVIRONMENT = {"loadgen": "0.1.0", "kernel": "6.1", "cpu": "a", "cpus": "4", "openssl": "3"}
METRICS = ("handshake.tcp", "handshake.tls", "handshake.session", "notify.latency", "notify.service", "echo.service")
RATES = {"handshake.per_s": 250.0, "notify.sent_per_s": 4000.0, "notify.received_per_s": 4000.0}
PERCENTILES = {"p50": 1.0, "p90": 2.0, "p99": 4.0}
COUNTERS = {
    **dict.fromkeys(("sessions.attempted", "sessions.established"), 20),
    **dict.fromkeys(("sessions.failed", "sessions.lost"), 0),
    **dict.fromkeys(("notify.due", "notify.sent", "notify.received"), 120_000),
    **dict.fromkeys(("notify.lost", "notify.dropped", "notify.duplicated", "notify.reordered"), 0),
}
COSTS = {"notify.bytes": 64.0, "notify.cpu_s": 8e-6, "session.rss_bytes": 40_000.0}
# The noisy figures of such a run.
NOISY = (*RATES, *(f"{metric}.{p}" for metric in METRICS if metric != "handshake.tcp" for p in PERCENTILES))


def run(
    *,
    factors: Mapping[str, float] | None = None,
    counters: Mapping[str, int] | None = None,
    costs: Mapping[str, float] | None = None,
    environment: Mapping[str, str] | None = None,
    generator: Verdict = Verdict.VALID,
    exit_code: int = 0,
    thresholds: tuple[ThresholdResult, ...] = (),
    **fields: Any,
) -> RunResult:
    """A run at which nothing stands out, but for what is given.

    Args:
        factors: what noisy figures are multiplied by, by name.
    """
    by = factors or {}
    values: dict[str, Any] = {
        "schema_version": RunResult.VERSION,
        "scenario": "quick",
        "plan_digest": "26ea5f7ee257",
        "profile": "ours",
        "use": "both",
        "kind": LoadKind.NOTIFY,
        "started": "2026-01-02T03:04:05Z",
        "load_s": 5.0,
        "supervisor_cpu_s": 0.1,
        "environment": ENVIRONMENT | dict(environment or {}),
        "verdict": ResultVerdict(
            generator, () if generator is Verdict.VALID else ("late",), Limit.SCENARIO, "all done", "passed", exit_code
        ),
        "metrics": {metric: _summary(metric, by) for metric in METRICS},
        "counters": COUNTERS | dict(counters or {}),
        "rates": {name: rate * by.get(name, 1.0) for name, rate in RATES.items()},
        "costs": COSTS | dict(costs or {}),
        "thresholds": thresholds,
        "stages": (),
        "workers": (),
        "machine": MachineHealth(),
        "timeline": Timeline(1.0, (), {}),
    }
    return RunResult(**(values | fields))


def session(
    seed: int,
    noise: float,
    effect: Mapping[str, float] | None = None,
    *,
    outliers: float = 0.0,
    pairs: int = DEFAULT_PAIRS,
    control: int = DEFAULT_CONTROL,
) -> tuple[list[RunResult], list[RunResult], list[tuple[RunResult, RunResult]]]:
    """A session of ABBA pairs: baseline, new, control pairs. Equal seeds differ by `effect` only.

    Noise is lognormal, partly common to a run and to the percentiles of one metric, half as large for medians and
    rates as for p99. The machine slows down over the session, and every second run of a pair is a little slower.

    Args:
        noise: of a p99, from run to run.
        effect: what figures of the new side are multiplied by.
        outliers: share of runs that something disturbs: all of their figures, by five times their noise.
    """
    rng = np.random.default_rng(seed)
    slots = session_order(pairs, control)
    runs = []
    for number, slot in enumerate(slots):
        common = rng.normal()
        families = {name: rng.normal() for name in (*RATES, *METRICS)}
        disturbed = 5.0 * (rng.random() < outliers)
        drift = 0.1 * number / len(slots) + 0.03 * (number % 2)
        factors = {}
        for name in NOISY:
            sigma = noise * {"p90": 0.7, "p99": 1.0}.get(name.rpartition(".")[2], 0.5)
            family = families[name if name in RATES else name.rpartition(".")[0]]
            z = math.sqrt(0.3) * common + math.sqrt(0.3) * family + math.sqrt(0.4) * rng.normal() + disturbed
            worse = sigma * z + drift
            factors[name] = math.exp(-worse if name in RATES else worse)
            if slot.new and effect:
                factors[name] *= effect.get(name, 1.0)
        runs.append((slot, run(factors=factors)))
    baseline = [(slot.pair, result) for slot, result in runs if not slot.new and not slot.control]
    new = [(slot.pair, result) for slot, result in runs if slot.new]
    controls = [result for slot, result in runs if slot.control]
    return (
        [result for _, result in sorted(baseline, key=lambda pair: pair[0])],
        [result for _, result in sorted(new, key=lambda pair: pair[0])],
        list(zip(controls[::2], controls[1::2], strict=True)),
    )


def _summary(metric: str, by: Mapping[str, float]) -> MetricSummary:
    values = {p: round(MS * of * by.get(f"{metric}.{p}", 1.0)) for p, of in PERCENTILES.items()}
    fields = {"unit": "ns", "count": 1000, "min": 1000, "mean": 1.2 * MS, "p99_9": 8 * MS, "max": 9 * MS}
    return msgspec.convert(fields | values, MetricSummary)
