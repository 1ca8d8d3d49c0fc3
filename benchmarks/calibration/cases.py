"""The cases: what is planted, and which figures must come of it. docs/calibration.md tells why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.calibration import echoes, endings, merging, ours, rates
from benchmarks.calibration.clocks import CLOCKS
from benchmarks.calibration.figures import Figure, below, between, count, exactly, holds, per_s, within
from benchmarks.calibration.programs import Run, counterpart, loadgen
from benchmarks.counterparts.identity import make_identity
from loadgen.units import format_duration

_MS, _S = 1_000_000, 1_000_000_000

# Long enough in any case: the planted WLC closes when its schedule is over, and that ends the load.
_SESSION = """
name = "calibration"
[wlc]
count = 1
[mse]
count = 1
[session]
echo_interval = "100ms"
[load]
rate = 1
stages = [{ hold = "60s" }]
"""

_HANDSHAKES = """
name = "calibration"
[wlc]
count = 1
[mse]
count = 1
identities = ["mse.pem"]
[load]
kind = "handshake"
rate = 100
stages = [{ hold = "10s" }]
"""

_SERVING = """
name = "calibration"
[wlc]
count = 1
listen = "127.0.0.1:0"
authenticate = false
[load]
rate = 20_000
stages = [{ hold = "18s" }]
"""


class Case(NamedTuple):
    """A name, and what makes its figures, in a folder of its own."""

    name: str
    figures: Callable[[Path], list[Figure]]


def _at_wlc(folder: Path, scenario: str, planted: list[str], *options: str) -> tuple[Run, dict[str, Any]]:
    """loadgen's MSEs at a planted WLC: what the one found, and what the other did."""
    with (
        counterpart(folder, "wlc", *planted) as wlc,
        loadgen(folder, scenario, "--target", f"wlc={wlc.address}", *options) as running,
    ):
        run = running.end()
        return run, wlc.truth(stop=True)


# A moment after the subscription, so that loadgen's own clock of the load is running.
def _schedule(rate: int, seconds: int) -> list[str]:
    return ["--rate", f"{rate}", "--duration", f"{seconds}s", "--start-after", "1s"]


def _delay(folder: Path) -> list[Figure]:
    run, truth = _at_wlc(folder, _SESSION, [*_schedule(500, 10), "--delay", "5ms"])
    figures = [exactly("notify.received", truth["sent"], run.counter("notify.received"))]
    for metric in ("notify.latency", "notify.service"):
        planted = truth["latency_ns"]["p50"]
        figures.append(between(f"{metric} p50", planted, planted + _MS, run.metric(metric, "p50")))
    planted = truth["echo_ns"]["p50"]
    figures.append(between("echo.service p50", planted, planted + _MS, run.metric("echo.service", "p50")))
    least = min(planted, truth["latency_ns"]["min"])
    return [*figures, holds("the least delay planted", ">= 5.00 ms", format_duration(least), met=least >= 5 * _MS)]


def _pause(folder: Path) -> list[Figure]:
    run, truth = _at_wlc(folder, _SESSION, [*_schedule(500, 30), "--pause", "1s", "--pause-every", "10s"])
    # One in ten waits, for something evenly between 0 and 1 s; one in a hundred therefore for 0.9 s and more.
    return [
        exactly("notify.received", truth["sent"], run.counter("notify.received")),
        within("notify.latency p99, by arithmetic", 0.9 * _S, run.metric("notify.latency", "p99"), 0.02),
        within(
            "notify.latency p99, by the sender's log",
            truth["latency_ns"]["p99"],
            run.metric("notify.latency", "p99"),
            0.02,
        ),
        within("notify.latency max", truth["latency_ns"]["max"], run.metric("notify.latency", "max"), 0.02),
        below("notify.latency p50", 20 * _MS, run.metric("notify.latency", "p50")),
        below("notify.service p99", 20 * _MS, run.metric("notify.service", "p99")),
    ]


def _faults(folder: Path) -> list[Figure]:
    planted = [*_schedule(2000, 10), "--lose", "1000", "--duplicate", "1000", "--swap", "1000"]
    return fault_figures(*_at_wlc(folder, _SESSION, planted))


def fault_figures(run: Run, truth: dict[str, Any]) -> list[Figure]:
    """Every planted fault under its name, and nothing else."""
    return [
        exactly("notify.received", truth["sent"], run.counter("notify.received")),
        exactly("notify.lost", truth["lost"], run.counter("notify.lost")),
        exactly("notify.duplicated", truth["duplicated"], run.counter("notify.duplicated")),
        exactly("notify.reordered", truth["swapped"], run.counter("notify.reordered")),
        holds(
            "planted of each", "> 0", truth["lost"], met=0 < truth["lost"] == truth["duplicated"] == truth["swapped"]
        ),
    ]


def _handshakes(version: str) -> Callable[[Path], list[Figure]]:
    def figures(folder: Path) -> list[Figure]:
        identity = make_identity(folder / "mse.pem")
        planted = ["--handshake-delay", "300ms", "--handshake-every", "100", "--trust", str(identity)]
        run, truth = _at_wlc(folder, _HANDSHAKES, planted, "--set", f"tls.version={version}")
        return [
            exactly("handshakes.completed", 1000, run.counter("handshakes.completed")),
            exactly("delayed by the server", 10, truth["handshakes_delayed"]),
            exactly("handshake.tls of 300 ms and more", 10, run.count_from("handshake.tls", 300 * _MS)),
            exactly("handshake.latency of 300 ms and more", 10, run.count_from("handshake.latency", 300 * _MS)),
            within("handshake.tls max", 300 * _MS, run.metric("handshake.tls", "max"), 0.10),
            below("handshake.tls p90", 20 * _MS, run.metric("handshake.tls", "p90")),
        ]

    return figures


def _queue(folder: Path) -> list[Figure]:
    """Offered 300/s to one that takes 200/s: number i is due at i/300 s and done at i/200 s, i/600 s later."""
    make_identity(folder / "mse.pem")
    options = ["--set", "load.rate=300", "--duration", "5s"]
    run, _ = _at_wlc(folder, _HANDSHAKES, ["--max-handshakes-per-s", "200"], *options)
    return [
        exactly("handshakes.completed", 1500, run.counter("handshakes.completed")),
        within("handshake.completed_per_s", 200, run.result["rates"]["handshake.completed_per_s"], 0.03, per_s),
        within("handshake.latency p50", 750 / 600 * _S, run.metric("handshake.latency", "p50"), 0.03),
        within("handshake.latency p99", 1485 / 600 * _S, run.metric("handshake.latency", "p99"), 0.03),
    ]


def _sessions(folder: Path) -> list[Figure]:
    options = ["--set", "mse.count=310", "--set", "session.echo_interval=2s", "--duration", "1s"]
    run, truth = _at_wlc(folder, _SESSION, ["--max-sessions", "300"], *options)
    return [
        exactly("sessions.established", 300, run.counter("sessions.established")),
        exactly("sessions.failed", 10, run.counter("sessions.failed")),
        exactly("refused by the server", 10, truth["refused"]),
    ]


def _slow(option: str, limit: int, rate: int, readings: int, counted_in: str) -> Callable[[Path], list[Figure]]:
    def figures(folder: Path) -> list[Figure]:
        overrides = ("--set", f"load.rate={rate}", "--set", f"wlc.readings={readings}")
        with loadgen(folder, _SERVING, "--serve", "wlc", *overrides) as running:
            wlcs = [word for address in running.addresses() for word in ("--wlc", address)]
            limits = [option, str(limit), "--receive-buffer", "16384"]
            with counterpart(folder, "mse", *wlcs, *limits) as mse:
                run = running.end()
                truth = mse.truth()
        # Until the kernel's buffers are full they take what the reader does not. From then on the flow is even, but for
        # lumps of about 0.2 MB: a third of the buffer must be free before the kernel says that there is room.
        steady_s = (4, 16)
        sent_per_s = run.count_between("notify.lag", *steady_s) / (steady_s[1] - steady_s[0])
        read = [second[counted_in == "notifications"] for second in truth["each_second"][slice(*steady_s)]]
        size = truth["bytes"] / truth["notifications"] if counted_in == "bytes" else 1
        return [
            within(f"{counted_in} read per s, by the reader", limit, sum(read) / len(read), 0.02, count),
            within(f"{counted_in} sent per s", limit, sent_per_s * size, 0.05, count),
            # From the first second on: what does not fit into the reader's buffer is not sent.
            within("notify.sent_per_s", limit / size, run.result["rates"]["notify.sent_per_s"], 0.03, per_s),
            holds("notify.dropped", "> 0", run.counter("notify.dropped"), met=run.counter("notify.dropped") > 0),
            exactly(
                "notify.due", run.counter("notify.sent") + run.counter("notify.dropped"), run.counter("notify.due")
            ),
            exactly("out of sequence, by the reader", 0, truth["out_of_sequence"]),
            holds("the generator's verdict", "not INVALID", run.verdict, met=run.verdict != "INVALID"),
        ]

    return figures


def _merge(_: Path) -> list[Figure]:
    column = merging.planted_column()
    truth = merging.witness(column)
    figures = []
    for recorders in merging.RECORDERS:
        found = merging.merged(column, recorders)
        same = sum(truth.buckets.get(value) == n for value, n in found.buckets.items())
        figures += [
            exactly(f"{recorders} recorders: buckets the same", len(truth.buckets), same),
            exactly(f"{recorders} recorders: values", truth.values, found.values),
            holds(
                f"{recorders} recorders: p50 to max",
                "those of the column",
                "the same" if truth.percentiles == found.percentiles else str(found.percentiles),
                met=truth.percentiles == found.percentiles and truth.buckets == found.buckets,
            ),
        ]
    return figures


CASES = [
    Case("delay", _delay),
    Case("pause", _pause),
    Case("echoes", echoes.figures),
    Case("faults", _faults),
    Case("handshakes-1.2", _handshakes("1.2")),
    Case("handshakes-1.3", _handshakes("1.3")),
    Case("queue", _queue),
    Case("sessions", _sessions),
    Case("slow-bytes", _slow("--read-bytes-per-s", 1_000_000, 20_000, 4, "bytes")),
    Case("slow-notifications", _slow("--max-notifications-per-s", 5_000, 10_000, 16, "notifications")),
    Case("merge", _merge),
    *(Case(name, figures) for name, figures in (*endings.CASES, *CLOCKS, *rates.CASES, *ours.CASES)),
]
