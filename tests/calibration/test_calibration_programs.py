"""Planted faults and limits, counted exactly by the real `loadgen run`; nothing here depends on how long it takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.calibration.cases import fault_figures
from benchmarks.calibration.programs import Failed, Run, counterpart, loadgen

# The planted WLC closes when its schedule is over, and that ends the load.
SESSION = """
name = "planted"
[wlc]
count = 1
[mse]
count = 1
[load]
rate = 1
stages = [{ hold = "60s" }]
"""

SERVING = """
name = "planted"
[wlc]
count = 3
listen = "127.0.0.1:0"
step = "port"
authenticate = false
readings = [0, 16]
[load]
rate = 300
stages = [{ hold = "2s" }]
"""


def at_wlc(folder: Path, *planted: str, overrides: tuple[str, ...] = ()) -> tuple[Run, dict[str, int]]:
    words = [word for override in overrides for word in ("--set", override)]
    with (
        counterpart(folder, "wlc", *planted) as wlc,
        loadgen(folder, SESSION, "--target", f"wlc={wlc.address}", *words) as running,
    ):
        run = running.end()
        return run, wlc.truth(stop=True)


def errors(run: Run) -> dict[str, int]:
    return {name: n for name, n in run.result["counters"].items() if name.startswith("errors.") and n}


@pytest.mark.parametrize("offset_s", [2, -2])
def test_a_clock_that_is_not_ours_is_found_and_put_right(tmp_path: Path, offset_s: int) -> None:
    planted = ("--rate", "500", "--duration", "1s", f"--clock-offset={offset_s}s")
    run, _ = at_wlc(tmp_path, *planted)
    (reading,) = run.result["clocks"]["readings"]
    assert reading["corrected"] == run.result["clocks"]["corrected"] == 1
    # Give or take whatever a busy machine does to the round trips.
    assert abs(reading["offset_ns"] - offset_s * 10**9) < 10**9
    assert run.counter("clock.clamped") == 0
    # Wherever the load began: not clamped, and not what the clock makes of it.
    assert run.count_from("notify.latency", 1) == 500
    assert run.count_from("notify.latency", 19 * 10**8) < 250


def test_lost_duplicated_and_swapped_are_counted_as_planted(tmp_path: Path) -> None:
    planted = ("--rate", "4000", "--duration", "1s", "--lose", "100", "--duplicate", "100", "--swap", "100")
    run, truth = at_wlc(tmp_path, *planted)
    assert [figure for figure in fault_figures(run, truth) if not figure.met] == []
    assert (truth["sent"], truth["lost"]) == (4000, 40)
    assert errors(run) == {}
    assert run.counter("sessions.closed") == truth["ended"] == 1


def test_a_stream_without_faults_has_none(tmp_path: Path) -> None:
    run, truth = at_wlc(tmp_path, "--rate", "2000", "--duration", "500ms")
    assert run.counter("notify.received") == truth["sent"] == 1000
    for name in ("notify.lost", "notify.duplicated", "notify.reordered"):
        assert run.counter(name) == 0
    assert run.count_from("notify.latency", 0) == 1000


def test_sessions_beyond_the_limit_are_counted_as_failed(tmp_path: Path) -> None:
    run, truth = at_wlc(tmp_path, "--max-sessions", "5", overrides=("mse.count=8", "load.stages=[{hold='100ms'}]"))
    assert (truth["refused"], truth["most_sessions"]) == (3, 5)
    assert run.counter("sessions.established") == 5
    assert run.counter("sessions.failed") == 3


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_delayed_handshakes_are_handshakes(tmp_path: Path, version: str) -> None:
    overrides = ("load.kind=handshake", "load.rate=200", "load.stages=[{hold='500ms'}]", f"tls.version={version}")
    run, truth = at_wlc(tmp_path, "--handshake-delay", "10ms", "--handshake-every", "10", overrides=overrides)
    assert run.counter("handshakes.completed") == truth["handshakes"] == 100
    assert truth["handshakes_delayed"] == 10
    # Of 10 ms at least: planted, and more if the machine was busy.
    assert run.count_from("handshake.tls", 10_000_000) >= 10
    assert run.count_from("handshake.tls", 0) == 100


def test_the_planted_mse_reads_what_was_sent(tmp_path: Path) -> None:
    with loadgen(tmp_path, SERVING, "--serve", "wlc") as running:
        wlcs = [word for address in running.addresses() for word in ("--wlc", address)]
        assert len(wlcs) == 6
        with counterpart(tmp_path, "mse", *wlcs, "--echo-interval", "100ms") as mse:
            run, truth = running.end(), mse.truth()
    assert truth["sessions"] == run.counter("sessions.established") == run.counter("sessions.closed") == 3
    assert truth["notifications"] == run.counter("notify.sent") > 0
    assert truth["out_of_sequence"] == truth["unexpected"] == truth["sessions_broken"] == 0
    assert run.count_from("notify.lag", 0) == run.counter("notify.sent")
    assert errors(run) == {}


def test_a_counterpart_that_does_not_start_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="expected at most half"), counterpart(tmp_path, "wlc", "--pause", "9s"):
        pass
