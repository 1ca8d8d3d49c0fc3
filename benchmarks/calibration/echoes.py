"""A WLC that stands still now and then: what its echoes waited is arithmetic from when they were due."""

from __future__ import annotations

from pathlib import Path

from benchmarks.calibration.figures import Figure, below, between, count, exactly, within
from benchmarks.calibration.programs import counterpart, loadgen

_S = 1_000_000_000
_EVERY_S, _PAUSE_S, _PERIOD_S, _PERIODS = 0.1, 2.0, 10.0, 3
# Long enough in any case: the planted WLC closes when its schedule is over, and that ends the load.
_SCENARIO = f"""
name = "echoes"
[wlc]
count = 1
[mse]
count = 1
[session]
echo_interval = "{_EVERY_S:.1f}s"
[load]
rate = 1
stages = [{{ hold = "60s" }}]
"""


def figures(folder: Path) -> list[Figure]:
    """10 echoes a second, and 2 s in every 10 in which nobody answers: one in five is due then."""
    planted = ["--rate", "50", "--start-after", "1s", "--duration", f"{_PERIODS * _PERIOD_S:.0f}s"]
    planted += ["--pause", f"{_PAUSE_S:.0f}s", "--pause-every", f"{_PERIOD_S:.0f}s"]
    with (
        counterpart(folder, "wlc", *planted) as wlc,
        loadgen(folder, _SCENARIO, "--target", f"wlc={wlc.address}") as running,
    ):
        run = running.end()
        truth = wlc.truth(stop=True)
    due = run.counter("echo.due")
    # Of those that wait, evenly between nothing and the whole pause, one in ten of all waits so long and longer.
    waiting = _PERIODS * _PAUSE_S / _EVERY_S
    wait_s = _PAUSE_S * (1 - 0.1 * due / waiting)
    # Then they are asked one after the other, and those that were due earlier take a round trip each.
    p90 = wait_s * _S + (_PAUSE_S - wait_s) / _EVERY_S * run.metric("echo.service", "p50")
    step = _EVERY_S * _S
    session_s = 1 + _PERIODS * _PERIOD_S
    return [
        between("echo.due", session_s / _EVERY_S - 5, session_s / _EVERY_S + 15, due, count),
        exactly("echo.sent + dropped", due, run.counter("echo.sent") + run.counter("echo.dropped")),
        exactly("echo.received", truth["echoes"], run.counter("echo.received")),
        # Pauses and echoes keep step: the waits are the same in each, an interval apart.
        between("echo.latency p90, by arithmetic", p90 - step, p90 + step, run.metric("echo.latency", "p90")),
        within("echo.latency max", _PAUSE_S * _S, run.metric("echo.latency", "max"), 0.06),
        below("echo.latency p50", 0.02 * _S, run.metric("echo.latency", "p50")),
        below("echo.service p90", 0.02 * _S, run.metric("echo.service", "p90")),
    ]
