"""What a run leaves behind: result.json."""

from __future__ import annotations

import os
import platform
import sys
from enum import StrEnum
from functools import cache
from typing import ClassVar

import msgspec

from loadgen import __version__
from loadgen.loads import LoadKind
from loadgen.measure.clock_readings import Clocks
from loadgen.measure.histogram import MetricSummary
from loadgen.native.library import standing
from loadgen.results.document import Document
from loadgen.results.health import MachineHealth, Verdict, WorkerHealth
from loadgen.results.thresholds import ThresholdResult


class Limit(StrEnum):
    """What kept a run from doing more."""

    GENERATOR = "generator"  # this program, or the machine it ran on
    TARGET = "target"
    NETWORK = "network"
    SCENARIO = "scenario"  # nothing did: it asked for no more
    INTERRUPTION = "interruption"  # somebody ended it
    WORKER = "worker"  # a process of ours died
    NOBODY = "nobody"  # there was no session, and no error that tells why


class ResultVerdict(msgspec.Struct, frozen=True):
    """What to think of a run: can the figures be used, why not, and how `loadgen` exits.

    Attributes:
        limited_by, limit_reason: what kept the run from doing more, and how that shows.
    """

    generator: Verdict
    reasons: tuple[str, ...]
    limited_by: Limit
    limit_reason: str
    outcome: str
    exit_code: int


class StageResult(msgspec.Struct, frozen=True):
    """One stage of the load, by itself: what was due in it, whenever it was done.

    Attributes:
        counted: whether the run's own figures include it; ramps and warm-ups are not.
        start_s: since the start of the load.
        start_per_s, end_per_s: the offered rate: notifications for all subscribers together, or handshakes; 0 where
            that is not ours to say: as fast as it goes, as a site has it, or as the peer has it.
    """

    name: str
    counted: bool
    start_s: float
    length_s: float
    start_per_s: float
    end_per_s: float
    metrics: dict[str, MetricSummary]
    counters: dict[str, int]
    rates: dict[str, float]


class Timeline(msgspec.Struct, frozen=True):
    """The run over time: columns of equal length, an entry for each interval; None where nothing was measured.

    Columns: `<counter>_per_s` for those that change, `sessions.active`, `<metric>.p50`, `.p99` and `.max` in ns,
    `cpu.<worker>` in cores; of more than 64 workers, `cpu.least`, `cpu.median` and `cpu.most` of all of them instead.

    Attributes:
        start_s: of each interval, since the start of the load; below 0 while connecting.
    """

    interval_s: float
    start_s: tuple[float, ...]
    columns: dict[str, tuple[float | None, ...]]


class RunResult(Document, frozen=True, tag="run"):
    """result.json of `loadgen run`. Durations in ns, rates per second; names are those of `loadgen.measure.names`.

    Attributes:
        metrics, rates: of the stages that count, and of what belongs to no stage (setting sessions up, echoes).
        counters: of the whole run.
        costs: what one notification, handshake or session cost.
        digest_form: how the digest was made; those of two forms cannot be compared.
        clocks: of WLCs that are not ours; durations that begin by them are corrected where they are off.
        missing: figures that the wire profile's layout cannot give, with the reason in a few words.
        unfinished: the run had not ended when this was written; it is what stays of a run that was killed.
        key_log: the file that the secrets of all tunnels were written to; empty: none.
        key_log_trouble: why some are missing there; empty: none are.
    """

    VERSION: ClassVar[int] = 2

    scenario: str
    plan_digest: str
    profile: str
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
    costs: dict[str, float]
    thresholds: tuple[ThresholdResult, ...]
    stages: tuple[StageResult, ...]
    workers: tuple[WorkerHealth, ...]
    machine: MachineHealth
    timeline: Timeline
    clocks: Clocks = Clocks()
    unfinished: bool = False
    key_log: str = ""
    key_log_trouble: str = ""
    missing: dict[str, str] = msgspec.field(default_factory=dict)
    digest_form: int = 1  # of results from before there was this key


def environment() -> dict[str, str]:
    """Versions and machine: what must be the same for two results to be compared."""
    return dict(_environment())


@cache  # 30 ms, and a result is written again and again
def _environment() -> dict[str, str]:
    versions = {name: _version(name) for name in ("trio", "pyOpenSSL", "cryptography", "numpy", "msgspec")}
    return {
        "loadgen": __version__,
        "python": sys.version.split()[0],
        **versions,
        "openssl": _openssl_version(),
        "native": standing(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpu": _cpu_model(),
        "cpus": str(len(os.sched_getaffinity(0))),
    }


def _version(package: str) -> str:
    from importlib import metadata  # it reads mail, and takes its time to load

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # being installed anew just now: no reason to lose what was measured
        return "unknown"


def _openssl_version() -> str:
    from cryptography.hazmat.backends.openssl import backend

    return backend.openssl_version_text()


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 - a pseudo file, read once
            return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
    except OSError:
        return "unknown"
