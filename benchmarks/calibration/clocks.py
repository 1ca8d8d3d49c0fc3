"""A WLC whose clock is not ours: ahead, behind, losing; or that only looks so, as it holds what it says it has sent.

What it really did is by its own stopwatch, which is right.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.calibration.figures import Figure, between, exactly, within
from benchmarks.calibration.programs import Run, counterpart, loadgen

_MS, _S = 1_000_000, 1_000_000_000
_PER_S = 500
# Long enough in any case: the planted WLC closes when its schedule is over, and that ends the load.
_SCENARIO = """
name = "clocks"
[wlc]
count = 1
[mse]
count = 1
[session]
echo_interval = "1s"
[load]
rate = 1
stages = [{ hold = "300s" }]
"""


# What a clock that looks behind would have pass, and a WLC that holds its notifications fail.
_THRESHOLD = "notify.latency.p50 < 50ms"


def _at_wlc(folder: Path, seconds: int, *planted: str) -> tuple[Run, dict[str, Any], dict[str, Any]]:
    """loadgen's MSE at a planted WLC: what it found, of its clock, too, and what the other did."""
    schedule = ["--rate", f"{_PER_S}", "--duration", f"{seconds}s", "--start-after", "1s"]
    with (
        counterpart(folder, "wlc", *schedule, *planted) as wlc,
        loadgen(folder, _SCENARIO, "--target", f"wlc={wlc.address}", "--threshold", _THRESHOLD) as running,
    ):
        run = running.end()
        return run, run.result["clocks"]["readings"][0], wlc.truth(stop=True)


def _durations(run: Run, truth: dict[str, Any]) -> list[Figure]:
    figures = [
        exactly("notify.received", truth["sent"], run.counter("notify.received")),
        exactly("clock.clamped", 0, run.counter("clock.clamped")),
    ]
    for metric in ("latency", "service"):
        planted = truth[f"{metric}_ns"]["p50"]
        figures.append(between(f"notify.{metric} p50", planted, planted + _MS, run.metric(f"notify.{metric}", "p50")))
    return figures


def _apart(seconds: int) -> Callable[[Path], list[Figure]]:
    def figures(folder: Path) -> list[Figure]:
        run, reading, truth = _at_wlc(folder, 10, f"--clock-offset={seconds}s")
        found, sign = reading["offset_ns"], 1 if seconds > 0 else -1
        return [
            between("offset", abs(seconds) * _S - _MS, abs(seconds) * _S + _MS, sign * found),
            *_durations(run, truth),
            exactly("p50 < 50ms", "passed" if seconds > 0 else "error", run.result["thresholds"][0]["status"]),
        ]

    return figures


def _held(folder: Path) -> list[Figure]:
    """It says that it sent what it holds for 300 ms, answers echoes at once, and its clock is ours."""
    run, reading, truth = _at_wlc(folder, 10, "--hold=300ms")
    planted, shown = truth["latency_ns"]["p50"], run.metric("notify.latency", "p50")
    more_ns = run.result["clocks"]["more_ns"]
    return [
        exactly("notify.received", truth["sent"], run.counter("notify.received")),
        between("offset", 300 * _MS - _MS, 300 * _MS + _MS, -reading["offset_ns"]),
        between("notify.latency p50 and what it may be more", planted, planted + 3 * _MS, shown + more_ns),
        exactly("p50 < 50ms", "error", run.result["thresholds"][0]["status"]),
    ]


def _drift(folder: Path) -> list[Figure]:
    """From 0.5 s ahead it loses 100 us a second."""
    run, reading, truth = _at_wlc(folder, 90, "--clock-offset=500ms", "--clock-drift=-100")
    planted = 500 * _MS - 90 * 100_000
    return [
        between("offset at the end", planted - _MS, planted + _MS, reading["offset_ns"]),
        within("drift", 100, -(reading["drift_ppb"] or 0) / 1000, 0.1, lambda ppm: f"{ppm:.1f} ppm"),
        exactly("times that it was set", 0, reading["steps"]),
        *_durations(run, truth),
    ]


CLOCKS = [("clock-ahead", _apart(2)), ("clock-behind", _apart(-2)), ("clock-drift", _drift), ("clock-held", _held)]
