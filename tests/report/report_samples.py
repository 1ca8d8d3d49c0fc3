"""Results as runs leave them, made up: rich ones, failed ones, and ones in which nearly everything is missing."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
from interval_logs import written_log
from numpy.typing import NDArray

from loadgen.capacity.result import CapacityResult, DimensionResult, LoadTried, Outcome, Probe, Step
from loadgen.compare.result import Comparison, Decision, Gate, MetricComparison
from loadgen.loads import LoadKind
from loadgen.measure.histogram import Bins, Histogram
from loadgen.measure.hlog import LogLine
from loadgen.results.health import MachineHealth, Verdict, WorkerHealth
from loadgen.results.result import Limit, ResultVerdict, RunResult, StageResult, Timeline
from loadgen.results.thresholds import Status, ThresholdResult

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&amp; %{x} \u2028 'quoted\" {{ 7*7 }}"
ENVIRONMENT = {
    "loadgen": "0.1.0",
    "python": "3.11.7",
    "trio": "0.35.0",
    "openssl": "OpenSSL 4.0.3 29 Sep 2026",
    "kernel": "6.18.44",
    "cpu": "Made-up CPU 3.1 GHz",
    "cpus": "8",
}
STARTED = "2026-11-23T16:04:51+00:00"
PLAN = '{\n  "scenario": "thousand-wlcs",\n  "seed": 1\n}\n'


def lognormal(seed: int, count: int, median_ns: float, spread: float) -> NDArray[np.int64]:
    """Durations as they come: most near the median, a tail to the right."""
    rng = np.random.default_rng(seed)
    values = median_ns * np.exp(rng.normal(0, spread, count))
    values[rng.integers(0, count, max(1, count // 700))] *= 9
    return values.astype(np.int64)


def histogram(values: NDArray[np.int64]) -> Histogram:
    bins = Bins()
    bins.add(values)
    made = bins.take()
    assert made is not None
    return made


@cache  # hdrh takes its time for a mean
def curves(slow: float = 1.0) -> dict[str, Histogram]:
    """What histograms.hlog of `run()` has, merged."""
    out: dict[str, Histogram] = {}
    for number, (stage, factor) in enumerate((("ramp-1", 0.8), ("hold", 1.0), ("peak", 1.9))):
        lag = lognormal(number, 60_000, 0.7e6 * factor * slow, 0.7)
        service = lognormal(number + 10, 60_000, 0.25e6 * factor, 0.5)
        out[f"{stage}/notify.lag"] = histogram(lag)
        out[f"{stage}/notify.service"] = histogram(service)
        out[f"{stage}/notify.latency"] = histogram(lag + service)
        out[f"{stage}/generator.lag"] = out[f"{stage}/notify.lag"]
    for seed, (name, median, spread) in enumerate(
        (
            ("handshake.tcp", 0.23e6, 0.5),
            ("handshake.tls", 1.7e6, 0.35),
            ("handshake.tls_resumed", 0.6e6, 0.3),
            ("handshake.session", 2.6e6, 0.4),
            ("echo.service", 0.45e6, 0.4),
        )
    ):
        out[name] = histogram(lognormal(20 + seed, 2000, median, spread))
    return out


def hlog(of: Mapping[str, Histogram]) -> str:
    """The same as a log, every histogram in two intervals."""
    return written_log(1795449891.0, [LogLine(n, s, 1.0, h) for s in (0.0, 1.0) for n, h in of.items()])


def timeline(intervals: int, workers: int, slow: float = 1.0) -> Timeline:
    """From 4 s before the load to its end."""
    rng = np.random.default_rng(3)
    start = np.arange(intervals) - 4.0
    load = start >= 0
    third = (intervals - 4) / 3
    due = np.where(load, np.minimum(4000.0 + 2000 * (start > 2 * third), 4000 * (start + 0.5) / third), 0.0)
    sent = due * (1 - 0.02 * rng.random(intervals) * load)

    def column(values: NDArray[np.float64], when: NDArray[np.bool_] = load) -> tuple[float | None, ...]:
        return tuple(float(v) if ok else None for v, ok in zip(values, when, strict=True))

    noise = np.exp(rng.normal(0, 0.2, intervals)) * np.where(start > 2 * third, 1.9, 1.0) * slow
    noise[intervals // 2] *= 12
    columns = {
        "notify.due_per_s": column(due),
        "notify.sent_per_s": column(sent),
        "notify.received_per_s": column(sent * 0.998),
        "sessions.established_per_s": column(np.where(load, 0.0, 500.0), load | True),
        "sessions.active": column(np.minimum(2000.0, 500 * (start + 5)), load | True),
        "notify.latency.p50": column(1.1e6 * noise),
        "notify.latency.p99": column(3.2e6 * noise),
        "notify.latency.max": column(9.9e6 * noise),
        "notify.lag.p50": column(0.8e6 * noise),
        "notify.lag.p99": column(2.4e6 * noise),
        "notify.lag.max": column(8.1e6 * noise),
    }
    for worker in range(workers):
        busy = 0.35 + 0.5 * worker / max(1, workers - 1)
        columns[f"cpu.{worker_name(worker)}"] = column(
            np.clip(busy * (0.3 + due / 6000) + rng.normal(0, 0.03, intervals), 0, 1)
        )
    return Timeline(1.0, tuple(float(s) for s in start), columns)


def worker_name(worker: int) -> str:
    return f"{('wlc', 'mse')[worker % 2]}-{worker // 2}"


@cache
def run(*, intervals: int = 64, workers: int = 4, name: str = "thousand-wlcs") -> RunResult:
    """A run of three stages that passed all but one threshold."""
    of = curves()
    length = (intervals - 4) / 3
    stages = tuple(
        StageResult(
            name=stage,
            counted=counted,
            start_s=index * length,
            length_s=length,
            start_per_s=start,
            end_per_s=end,
            metrics={key.partition("/")[2]: h.summary() for key, h in of.items() if key.startswith(f"{stage}/")},
            counters={"notify.due": int(length * (start + end) / 2), "notify.sent": int(length * (start + end) / 2)},
            rates={"notify.sent_per_s": (start + end) / 2, "notify.received_per_s": (start + end) / 2 - 3.5},
        )
        for index, (stage, counted, start, end) in enumerate(
            (("ramp-1", False, 0.0, 4000.0), ("hold", True, 4000.0, 4000.0), ("peak", True, 6000.0, 6000.0))
        )
    )
    metrics = {key.rpartition("/")[2]: h.summary() for key, h in of.items()}
    thresholds = (
        ThresholdResult("notify.latency.p99 < 50ms", status=Status.PASSED, figure=9.1e6, shown="9.10 ms"),
        ThresholdResult("sessions.failed == 0", status=Status.FAILED, figure=3.0, shown="3"),
        ThresholdResult("notify.received_per_s >= 3900", status=Status.PASSED, figure=4993.1, shown="4,993.1"),
    )
    return RunResult(
        schema_version=RunResult.VERSION,
        scenario=name,
        plan_digest="26ea5f7ee257",
        profile="reference-1 da9a8d8de207",
        use="both",
        kind=LoadKind.NOTIFY,
        started=STARTED,
        load_s=float(intervals - 4),
        supervisor_cpu_s=0.116,
        environment=ENVIRONMENT,
        verdict=ResultVerdict(
            Verdict.VALID,
            ("sessions failed: 3", "threshold failed: sessions.failed == 0 (was 3)"),
            Limit.SCENARIO,
            "everything that was asked for was done; the busiest worker used 61 % of a core",
            "a threshold failed",
            1,
        ),
        metrics=metrics,
        counters={
            "sessions.attempted": 2000,
            "sessions.established": 1997,
            "sessions.failed": 3,
            "sessions.closed": 1996,
            "sessions.lost": 1,
            "notify.due": 280_000,
            "notify.sent": 279_870,
            "notify.writes": 201_444,
            "notify.received": 279_870,
            "notify.dropped": 130,
            "notify.lost": 0,
            "notify.duplicated": 0,
            "notify.reordered": 0,
            "echo.sent": 2000,
            "echo.answered": 2000,
            "generator.shortfall": 0,
            "errors.tls.alert_unknown_ca": 2,
            "errors.session.setup_timeout": 1,
            "errors.stream.reset": 130,
            "errors.close.close_timeout": 14,
        },
        rates={"handshake.per_s": 249.6, "notify.sent_per_s": 4996.6, "notify.received_per_s": 4993.1},
        costs={
            "notify.bytes": 217.0,
            "notify.cpu_s": 61.3e-6,
            "handshake.cpu_s": 1.94e-3,
            "session.rss_bytes": 61_440.0,
        },
        thresholds=thresholds,
        stages=stages,
        workers=tuple(health(worker) for worker in range(workers)),
        machine=MachineHealth(0.37, 0.0, 0, 0.00002, 6 << 30),
        timeline=timeline(intervals, workers),
    )


def health(worker: int, lag_p99_ns: int = 2_445_311) -> WorkerHealth:
    return WorkerHealth(
        worker=worker_name(worker),
        cpu_s=40.1,
        wall_s=70.0,
        rss_bytes=172_531_712,
        longest_stall_ns=47_622_781,
        longest_gc_pause_ns=2_295_612,
        load_cpu_s=36.6 - worker % 7,
        load_wall_s=60.0,
        lag_p99_ns=lag_p99_ns,
        own_shortfall=0,
        due=70_000,
        sessions_rss_bytes=61 << 20,
        gc_pauses_ns=12_295_612,
        descriptors=1034,
        descriptor_limit=1 << 20,
    )


def changed(result: RunResult, **fields: object) -> RunResult:
    """The same result with other fields."""
    values = {field: getattr(result, field) for field in result.__struct_fields__} | fields
    return RunResult(**values)


def invalid_run() -> RunResult:
    """The generator could not keep up: nothing here is the target's."""
    reasons = (
        "wlc-0 sent late: p99 of its lag is 412 ms",
        "wlc-0 used 99 % of a core: it may itself have been the limit",
    )
    verdict = ResultVerdict(
        Verdict.INVALID,
        reasons,
        Limit.GENERATOR,
        "wlc-0 used 99 % of a core while its lag grew to 412 ms",
        "the generator was saturated: the figures are not the target's",
        4,
    )
    return changed(
        run(), verdict=verdict, timeline=timeline(64, 4, 120.0), machine=MachineHealth(0.99, 3.2, 4 << 20, 0.02)
    )


def passed_run() -> RunResult:
    """Nothing stood out."""
    verdict = ResultVerdict(Verdict.VALID, (), Limit.SCENARIO, "everything that was asked for was done", "passed", 0)
    counters = {name: n for name, n in run().counters.items() if not name.startswith("errors.")}
    counters |= {"sessions.failed": 0, "sessions.lost": 0, "notify.dropped": 0, "sessions.established": 2000}
    return changed(run(), verdict=verdict, counters=counters, thresholds=run().thresholds[:1])


def handshake_run() -> RunResult:
    """Nothing but handshakes, at a rate."""
    phases = {name: h.summary() for name, h in curves().items() if name.startswith("handshake.")}
    del phases["handshake.session"]
    of = handshake_curves()
    stage = StageResult(
        name="hold",
        counted=True,
        start_s=0.0,
        length_s=30.0,
        start_per_s=400.0,
        end_per_s=400.0,
        metrics={key.partition("/")[2]: h.summary() for key, h in of.items()},
        counters={"handshakes.due": 12_000},
        rates={"handshake.completed_per_s": 398.8},
    )
    times = tuple(float(second) for second in range(31))
    columns: dict[str, tuple[float | None, ...]] = {
        "handshakes.due_per_s": (400.0,) * 30 + (0.0,),
        "handshakes.completed_per_s": (*(400.0 - 7 * (second % 5) for second in range(30)), 21.0),
        "sessions.active": (0.0,) * 31,
        "handshake.latency.p50": (2.4e6,) * 31,
        "handshake.latency.p99": tuple(5e6 + 1e5 * (second % 9) for second in range(31)),
        "cpu.mse-0": (0.7,) * 31,
    }
    return changed(
        run(name="handshakes"),
        kind=LoadKind.HANDSHAKE,
        metrics={**phases, **stage.metrics},
        counters={
            "handshakes.due": 12_000,
            "handshakes.attempted": 12_000,
            "handshakes.completed": 11_988,
            "handshakes.resumed": 5994,
            "handshakes.failed": 12,
            "handshakes.dropped": 0,
            "errors.tls.timeout": 12,
        },
        rates={"handshake.completed_per_s": 398.8},
        stages=(stage,),
        thresholds=(),
        timeline=Timeline(1.0, times, columns),
    )


@cache
def handshake_curves() -> dict[str, Histogram]:
    lag = lognormal(31, 12_000, 0.2e6, 0.5)
    tls = lognormal(32, 12_000, 1.7e6, 0.4)
    return {
        "hold/handshake.latency": histogram(lag + tls),
        "hold/handshake.service": histogram(tls + 200_000),
        "hold/handshake.tls": histogram(tls),
        "hold/handshake.lag": histogram(lag),
    }


def empty_run() -> RunResult:
    """No session came up: there is nothing to show but the verdict."""
    verdict = ResultVerdict(Verdict.VALID, (), Limit.NETWORK, "every connection was refused", "no session came up", 3)
    return changed(
        run(name="nobody-there"),
        verdict=verdict,
        environment={},
        metrics={},
        counters={},
        rates={},
        costs={},
        thresholds=(
            ThresholdResult("notify.latency.p99 < 50ms", status=Status.ERROR, figure=None, shown="not measured"),
        ),
        stages=(),
        workers=(),
        machine=MachineHealth(),
        timeline=Timeline(1.0, (), {}),
        load_s=0.0,
    )


def one_sided_run() -> RunResult:
    """`--serve wlc`: what only a receiver sees was not measured."""
    result = run()
    names = ("notify.lag", "handshake.tls")
    columns = {n: c for n, c in result.timeline.columns.items() if "latency" not in n and "received" not in n}
    return changed(
        result,
        use="serve-wlc",
        metrics={name: result.metrics[name] for name in names},
        counters={
            n: c for n, c in result.counters.items() if "received" not in n and "lost" not in n and "echo" not in n
        },
        rates={"notify.sent_per_s": 4996.6},
        stages=(),
        timeline=Timeline(1.0, result.timeline.start_s, columns),
    )


def hostile_run() -> RunResult:
    """Every text that a peer, a file or a person chose."""
    result = run()
    stages = tuple(changed_stage(stage, HOSTILE) for stage in result.stages[:2])
    columns = {**result.timeline.columns, f"cpu.{HOSTILE}": result.timeline.columns["cpu.wlc-0"]}
    return changed(
        result,
        scenario=HOSTILE,
        profile=HOSTILE,
        use=HOSTILE,
        environment={HOSTILE: HOSTILE},
        counters={**result.counters, f"errors.tls.{HOSTILE}": 7},
        metrics={**result.metrics, HOSTILE: result.metrics["echo.service"]},
        stages=stages,
        thresholds=(ThresholdResult(HOSTILE, status=Status.ERROR, figure=None, shown=HOSTILE),),
        verdict=ResultVerdict(Verdict.DEGRADED, (HOSTILE,), Limit.TARGET, HOSTILE, HOSTILE, 1),
        timeline=Timeline(1.0, result.timeline.start_s, columns),
    )


def changed_stage(stage: StageResult, name: str) -> StageResult:
    values = {field: getattr(stage, field) for field in stage.__struct_fields__} | {"name": name}
    return StageResult(**values)


def probe(step: Step, offered: float, start_s: float, *, limit: float = 1310.0, invalid: bool = False) -> Probe:
    """As a target answers that can do `limit` a second and queues beyond that."""
    passed = offered <= limit
    load = min(0.97, offered / limit * 0.9)
    p50 = int(2.1e6 / (1 - load)) if passed else int(8e8)
    broke = () if passed else ("handshake.latency.p99 2.31 s, at most 250 ms", f"achieved {limit / offered:.0%} of it")
    return Probe(
        step=step,
        offered=offered,
        achieved=min(offered, limit) * 0.999,
        passed=passed and not invalid,
        broke=broke,
        generator=Verdict.INVALID if invalid else Verdict.VALID,
        reasons=("mse-0 sent late: p99 of its lag is 140 ms",) if invalid else (),
        start_s=start_s,
        hold_s=10.0,
        p50=p50,
        p99=int(p50 * 2.9),
        max=int(p50 * 6.5),
    )


def capacity() -> CapacityResult:
    """Three dimensions, each with another outcome."""
    loads = (100, 200, 400, 800, 1600, 1200, 1400, 1300, 1350, 1300)
    steps = (Step.BRACKET,) * 5 + (Step.BISECT,) * 4 + (Step.CONFIRM,)
    probes = tuple(probe(s, float(x), 15.0 * i) for i, (s, x) in enumerate(zip(steps, loads, strict=True)))
    found = DimensionResult(
        dimension="handshake.per_s",
        unit="handshakes/s",
        latency="handshake.latency",
        slos=("handshake.latency.p99 < 250ms", "handshakes.failed == 0", "achieved >= 99 %"),
        outcome=Outcome.FOUND,
        limit=1300.0,
        above=1350.0,
        broke=("handshake.latency.p99 2.31 s, at most 250 ms",),
        advice="resume sessions: three quarters of the target's time went into full handshakes",
        probes=probes,
        loads=(LoadTried(1300.0, True, True, 3, 2, 1, 1, 0, 2), LoadTried(1350.0, False, False, 3, 0, 0, 0, 1, 0)),
    )
    open_end = DimensionResult(
        dimension="notify.per_s",
        unit="notifications/s",
        latency="notify.latency",
        slos=("notify.latency.p99 < 50ms",),
        outcome=Outcome.GENERATOR_LIMITED,
        limit=32_000.0,
        above=None,
        broke=(),
        advice="add machines, or workers: ours were busy before the target was",
        probes=tuple(
            probe(Step.BRACKET, x, 20.0 * i, limit=60_000.0, invalid=x > 32_000)
            for i, x in enumerate((8000.0, 16_000.0, 32_000.0, 64_000.0))
        ),
    )
    nothing = DimensionResult(
        dimension="sessions",
        unit="sessions",
        latency="handshake.session",
        slos=(),
        outcome=Outcome.INCONCLUSIVE,
        limit=None,
        above=None,
        broke=(),
        advice="",
        probes=(),
    )
    return CapacityResult(
        CapacityResult.VERSION,
        "edge-wlc",
        "26ea5f7ee257",
        "target-wlc",
        STARTED,
        ENVIRONMENT,
        (found, open_end, nothing),
        5,
    )


def metric(
    name: str,
    gate: Gate,
    decision: Decision,
    baseline: float,
    change: float,
    spread: float,
    *,
    unit: str = "ns",
    better: str = "lower",
    noise: float | None = 0.03,
    reason: str = "",
) -> MetricComparison:
    rng = np.random.default_rng(len(name))
    sides = [
        tuple(float(v) for v in side * (1 + spread * rng.normal(0, 1, 8)))
        for side in (baseline, baseline * (1 + change))
    ]
    return MetricComparison(
        metric=name,
        unit=unit,
        better="higher" if better == "higher" else "lower",
        gate=gate,
        baseline=baseline,
        new=baseline * (1 + change),
        baseline_runs=sides[0],
        new_runs=sides[1],
        change=change,
        interval=(change - 1.4 * spread, change + 1.7 * spread),
        noise=noise,
        decision=decision,
        reason=reason,
    )


def comparison() -> Comparison:
    """A regression among much that did not change."""
    ok, bad, open_ = Decision.PASS, Decision.REGRESSION, Decision.INCONCLUSIVE
    metrics = (
        metric(
            "notify.latency.p99",
            Gate.PAIRED,
            bad,
            3.2e6,
            0.184,
            0.025,
            reason="worse by 18.4 %, and the whole interval lies above the noise floor of 3 %",
        ),
        metric(
            "notify.latency.p50",
            Gate.PAIRED,
            open_,
            1.1e6,
            0.041,
            0.034,
            reason="the interval reaches into the noise floor: more pairs would tell",
        ),
        metric(
            "handshake.tls.p99",
            Gate.PAIRED,
            ok,
            4.3e6,
            -0.062,
            0.03,
            noise=0.05,
            reason="no worse than the noise floor",
        ),
        metric(
            "notify.received_per_s",
            Gate.PAIRED,
            ok,
            4996.0,
            0.001,
            0.001,
            unit="1/s",
            better="higher",
            noise=0.004,
            reason="no worse than the noise floor",
        ),
        metric(
            "session.rss_bytes",
            Gate.MARGIN,
            ok,
            61_440.0,
            0.004,
            0.001,
            unit="bytes",
            noise=0.01,
            reason="within the margin of 2 %",
        ),
        MetricComparison(
            "notify.lost",
            "",
            "lower",
            Gate.EXACT,
            0.0,
            0.0,
            (0.0,) * 8,
            (0.0,) * 8,
            None,
            None,
            None,
            ok,
            "0 on both sides",
        ),
        MetricComparison(
            "echo.service.p99",
            "ns",
            "lower",
            Gate.PAIRED,
            None,
            2.2e6,
            (),
            (2.2e6,),
            None,
            None,
            None,
            open_,
            "the baseline did not measure it",
        ),
        metric("target.cpu_s", Gate.REPORT, ok, 61e-6, 0.093, 0.02, unit="s", reason="shown, never decides"),
        metric("notify.latency.max", Gate.REPORT, ok, 11.6e6, 0.34, 0.3, noise=0.25, reason="shown, never decides"),
    )
    return Comparison(
        Comparison.VERSION,
        "thousand-wlcs",
        "26ea5f7ee257",
        "reference-1 da9a8d8de207",
        STARTED,
        ENVIRONMENT,
        "build 1.4.2",
        "build 1.5.0-rc1",
        "AA ABBAABBA",
        metrics,
        bad,
        ("notify.latency.p99 is worse by 18.4 % (95 %: +14.9 to +22.7 %)",),
        1,
    )


def empty_comparison() -> Comparison:
    return Comparison(
        Comparison.VERSION, "x", "0", "p", STARTED, {}, "a", "b", "", (), Decision.INCONCLUSIVE, ("no valid run",), 5
    )


def hostile_curves() -> dict[str, Histogram]:
    """Curves whose stages have the names of `hostile_run`."""
    return {f"{HOSTILE}/{name.partition('/')[2]}": h for name, h in curves().items() if "/" in name}


def hostile_capacity() -> CapacityResult:
    texts = (HOSTILE, HOSTILE)
    bad = probe(Step.BRACKET, 1600.0, 0.0)
    fields = {name: getattr(bad, name) for name in bad.__struct_fields__} | {"broke": texts, "reasons": texts}
    dimension = DimensionResult(
        HOSTILE, HOSTILE, HOSTILE, texts, Outcome.INCONCLUSIVE, None, 1600.0, texts, HOSTILE, (Probe(**fields),)
    )
    return CapacityResult(
        CapacityResult.VERSION, HOSTILE, HOSTILE, HOSTILE, HOSTILE, {HOSTILE: HOSTILE}, (dimension,), 5
    )


def hostile_comparison() -> Comparison:
    one = metric(HOSTILE, Gate.PAIRED, Decision.INCONCLUSIVE, 1e6, 0.2, 0.1, unit=HOSTILE, reason=HOSTILE)
    return Comparison(
        Comparison.VERSION,
        HOSTILE,
        HOSTILE,
        HOSTILE,
        HOSTILE,
        {HOSTILE: HOSTILE},
        HOSTILE,
        HOSTILE,
        HOSTILE,
        (one,),
        Decision.INCONCLUSIVE,
        (HOSTILE,),
        5,
    )
