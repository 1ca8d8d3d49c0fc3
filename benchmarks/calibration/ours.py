"""What is our own must not look like the target's: a machine that has no time for us, and workers that stand still."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.calibration.figures import Figure, below, exactly, holds, within
from benchmarks.calibration.programs import Run, counterpart, loadgen
from loadgen.errors import ExitCode
from loadgen.units import format_duration

_MS = 1_000_000
_SESSION = """
name = "ours"
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
_BOTH = """
name = "ours"
[wlc]
count = 20
listen = "127.0.0.1:0"
step = "port"
[mse]
count = 1
connect_per_s = 2
[load]
rate = 400
stages = [{ hold = "10s" }]
"""
_LOOPS = 3
_STOPPED_S = 3.0
_BACKLOG_S = 2.0  # what is due is given up when it has waited for so long
_BARE = Path(__file__).parents[2] / "tests" / "profiles" / "bare.toml"
# What else may be said of a pause under load.
_GARBAGE = r"(?:, .* of it garbage collection)?"


@contextmanager
def _busy() -> Iterator[None]:
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(_LOOPS)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def _busy_machine(folder: Path) -> list[Figure]:
    """What a WLC sends at once is found to take long: it waits until we are let run, and no figure may hide that."""
    planted = ["--rate", "500", "--duration", "10s", "--start-after", "1s"]
    with (
        counterpart(folder, "wlc", *planted) as wlc,
        loadgen(folder, _SESSION, "--target", f"wlc={wlc.address}") as running,
        _busy(),
    ):
        run = running.end()
        truth: dict[str, Any] = wlc.truth(stop=True)
    figures = [exactly("notify.received", truth["sent"], run.counter("notify.received"))]
    for metric, log in (("notify.service", "service_ns"), ("notify.latency", "latency_ns")):
        planted_ns, found_ns = truth[log]["p50"], run.metric(metric, "p50")
        figures.append(
            holds(
                f"{metric} p50",
                f"{format_duration(planted_ns)} and 1 ms at most, half of it ours at most, or not VALID",
                f"{format_duration(found_ns)}, {run.verdict}",
                met=run.verdict != "VALID" or found_ns - planted_ns <= max(_MS, found_ns // 2),
            )
        )
    return figures


def _stopped(worker: int, name: str, when: str, until: str) -> Callable[[Path], list[Figure]]:
    """Args: worker: WLCs first; until: a line of progress like that has come."""

    def figures(folder: Path) -> list[Figure]:
        with loadgen(folder, _BOTH) as running:
            running.until_line(until)
            running.pause_worker(worker, _STOPPED_S)
            return _told(running.end(), name, when)

    return figures


def _told(run: Run, name: str, when: str) -> list[Figure]:
    verdict = run.result["verdict"]
    told = re.compile(rf"{name}'s loop stood still for ([\d.]+) s{when or _GARBAGE}")
    lengths_s = [float(found[1]) for reason in verdict["reasons"] if (found := told.fullmatch(reason))]
    return [
        exactly("the generator's verdict", "INVALID", run.verdict),
        exactly("exit code", int(ExitCode.GENERATOR_SATURATED), verdict["exit_code"]),
        holds(
            f"{name} stood still",
            f"{_STOPPED_S:.2f} s and little more",
            ", ".join(f"{length:.2f} s" for length in lengths_s),
            # A loop that was to turn within 100 ms is not late before.
            met=len(lengths_s) == 1 and _STOPPED_S - 0.1 <= lengths_s[0] <= 1.2 * _STOPPED_S,
        ),
    ]


def _by_order(folder: Path) -> list[Figure]:
    """A layout without due times, and a sender that gives up what waited too long: what comes later was due when it was
    due. If that went by how many had come, all of it would be a second later.
    """
    with loadgen(folder, _BOTH, "--set", f"profile={_BARE}") as running:
        running.until_line(r"received [1-9]")
        running.pause_worker(0, _STOPPED_S)
        run = running.end()
    given_up, dropped = (_STOPPED_S - _BACKLOG_S) * 400, run.counter("notify.dropped")
    return [
        exactly("notify.lost", 0, run.counter("notify.lost")),
        exactly("not placed", 0, run.result["counters"].get("notify.unplaced", 0)),
        holds("notify.dropped", f"{given_up:.0f} ± 10 %", f"{dropped}", met=abs(dropped - given_up) <= 0.1 * given_up),
        within("notify.latency max", _BACKLOG_S * 1000 * _MS, run.metric("notify.latency", "max"), 0.05),
        below("notify.latency p50", 50 * _MS, run.metric("notify.latency", "p50")),
    ]


_SETUP = " before the load, while sessions are set up"
CASES: list[tuple[str, Callable[[Path], list[Figure]]]] = [
    ("busy", _busy_machine),
    ("order", _by_order),
    ("stopped-mse", _stopped(1, "mse-0", "", r"received [1-9]")),
    ("stopped-wlc", _stopped(0, "wlc-0", "", r"received [1-9]")),
    ("stopped-mse-setup", _stopped(1, "mse-0", _SETUP, r"connecting: sessions [1-9]")),
    ("stopped-wlc-setup", _stopped(0, "wlc-0", _SETUP, r"connecting: sessions [1-9]")),
]
