"""What a run leaves behind: result.json, and how its figures are put together."""

from __future__ import annotations

import os
import platform
import sys
from collections import Counter
from collections.abc import Mapping
from importlib import metadata

import msgspec

from loadgen import __version__
from loadgen.errors import ExitCode
from loadgen.loads import LoadKind
from loadgen.measure.health import GeneratorVerdict, Verdict, WorkerHealth
from loadgen.measure.histogram import MetricSummary
from loadgen.measure.merge import Merger
from loadgen.measure.names import COUNTERS, HANDSHAKE_PREFIXES, MSE_COUNTERS, NOTIFY_PREFIXES, WLC_COUNTERS
from loadgen.measure.thresholds import ThresholdResult
from loadgen.units import NS_PER_S

SCHEMA_VERSION = 1

_OUTCOMES = {
    ExitCode.PASSED: "passed",
    ExitCode.THRESHOLD_FAILED: "a threshold failed",
    ExitCode.UNREACHABLE: "no session came up",
    ExitCode.GENERATOR_SATURATED: "the generator was saturated: the figures are not the target's",
    ExitCode.INCONCLUSIVE: "inconclusive",
    ExitCode.WORKER_DIED: "a worker process died",
    ExitCode.INTERRUPTED: "interrupted",
}
_NO_HANDSHAKE = "no handshake completed"

# Worth a line beside the verdict, even where no threshold forbids it.
_SHORTCOMINGS = {
    "sessions.failed": "sessions failed",
    "sessions.lost": "sessions lost",
    "handshakes.failed": "handshakes failed",
    "handshakes.dropped": "handshakes dropped",
    "notify.dropped": "notifications dropped",
    "notify.lost": "notifications lost",
}


class ResultVerdict(msgspec.Struct, frozen=True):
    """What to think of a run: can the figures be used, why not, and how `loadgen` exits."""

    generator: Verdict
    reasons: tuple[str, ...]
    outcome: str
    exit_code: int


class RunResult(msgspec.Struct, frozen=True):
    """result.json. Durations in ns, rates per second; the names are those of `loadgen.measure.names`."""

    schema_version: int
    scenario: str
    plan_digest: str
    use: str
    kind: LoadKind
    started: str
    load_s: float
    supervisor_cpu_s: float  # of the load, like the workers' load_cpu_s
    environment: dict[str, str]
    verdict: ResultVerdict
    metrics: dict[str, MetricSummary]
    counters: dict[str, int]
    rates: dict[str, float]
    thresholds: tuple[ThresholdResult, ...]
    workers: tuple[WorkerHealth, ...]


def make_counters(merger: Merger, kind: LoadKind, *, wlc: bool, mse: bool, complete: bool) -> dict[str, int]:
    """All counters that could be measured, those that stayed 0 too.

    Args:
        wlc, mse: which sides were ours.
        complete: every worker handed in its last figures. Then, with both sides ours, what was sent and never came is
            lost, even if no later notification showed the gap.
    """
    counters: Counter[str] = merger.counters()
    if wlc and mse and complete:
        missing = counters["notify.sent"] - (counters["notify.received"] - counters["notify.duplicated"])
        counters["notify.lost"] = max(counters["notify.lost"], missing)
    unseen = (frozenset() if wlc else WLC_COUNTERS) | (frozenset() if mse else MSE_COUNTERS)
    # Whoever keeps the schedule knows what it gave up.
    if not (wlc if kind is LoadKind.NOTIFY else "handshakes.due" in counters):
        unseen |= {"generator.shortfall", "handshakes.due", "handshakes.dropped"}
    others = HANDSHAKE_PREFIXES if kind is LoadKind.NOTIFY else NOTIFY_PREFIXES
    names = dict.fromkeys([*COUNTERS, *sorted(counters)])
    return {name: counters[name] for name in names if name not in unseen and not name.startswith(others)}


def make_rates(merger: Merger, counters: dict[str, int], load_start_ns: int | None) -> dict[str, float]:
    """Rates over the time in which it happened; a rate that has no such time is left out."""
    rates = {}
    if span := merger.span_ns("handshake"):
        if counters.get("sessions.established"):
            rates["handshake.per_s"] = _per_s(counters["sessions.established"], span[0], span[1])
        if completed := counters.get("handshakes.completed"):
            first = span[0] if load_start_ns is None else min(span[0], load_start_ns)
            rates["handshake.completed_per_s"] = _per_s(completed, first, span[1])
    for name, counter in (("sent", "notify.sent"), ("received", "notify.received")):
        if span := merger.span_ns(name):
            first = span[0] if load_start_ns is None else load_start_ns
            rates[f"notify.{name}_per_s"] = _per_s(counters.get(counter, 0), first, span[1])
    return rates


def make_verdict(
    generator: GeneratorVerdict,
    thresholds: tuple[ThresholdResult, ...],
    counters: Mapping[str, int],
    *,
    interrupted: bool,
    deaths: tuple[str, ...],
) -> ResultVerdict:
    """The outcome that weighs most decides the exit code; the reasons name all."""
    shaking = "handshakes.completed" in counters
    established = counters["handshakes.completed" if shaking else "sessions.established"]
    # A run that measured nothing has not passed anything.
    empty = not shaking and not counters.get("notify.sent", 0) and not counters.get("notify.received", 0)
    reasons = list(deaths)
    if interrupted:
        reasons.append("interrupted before the planned end")
    reasons += generator.reasons
    if established and empty:
        reasons.append("no notification was sent or received")
    reasons += [f"{what}: {counters[name]:,}" for name, what in _SHORTCOMINGS.items() if counters.get(name)]
    reasons += [f"threshold failed: {t.text} (was {t.shown})" for t in thresholds if not t.passed]
    if deaths:
        code = ExitCode.WORKER_DIED
    elif interrupted:
        code = ExitCode.INTERRUPTED
    elif not established:
        code = ExitCode.UNREACHABLE
    elif generator.generator is Verdict.INVALID:
        code = ExitCode.GENERATOR_SATURATED
    elif empty:
        code = ExitCode.INCONCLUSIVE
    elif not all(threshold.passed for threshold in thresholds):
        code = ExitCode.THRESHOLD_FAILED
    else:
        code = ExitCode.PASSED
    outcome = _NO_HANDSHAKE if shaking and code is ExitCode.UNREACHABLE else _OUTCOMES[code]
    return ResultVerdict(generator.generator, tuple(reasons), outcome, int(code))


def environment() -> dict[str, str]:
    """Versions and machine: what must be the same for two results to be compared."""
    versions = {name: metadata.version(name) for name in ("trio", "pyOpenSSL", "cryptography", "numpy", "msgspec")}
    return {
        "loadgen": __version__,
        "python": sys.version.split()[0],
        **versions,
        "openssl": _openssl_version(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpu": _cpu_model(),
        "cpus": str(len(os.sched_getaffinity(0))),
    }


def _per_s(count: int, first_ns: int, last_ns: int) -> float:
    return count * NS_PER_S / (last_ns - first_ns) if last_ns > first_ns else 0.0


def _openssl_version() -> str:
    from cryptography.hazmat.backends.openssl import backend

    return backend.openssl_version_text()


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 - a pseudo file, read once
            return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
    except OSError:
        return "unknown"
