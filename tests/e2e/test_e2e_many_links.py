"""Many links of one WLC at once: each gets every notification, once, in order, in a write of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from e2e_loadgen import PATIENT, Run

SCENARIO = """
name = "many-links"
[wlc]
count = 2
listen = "127.0.1.1:0"
step = "port"
stations = 5
readings = [0, 6]
[mse]
count = 40
connect_per_s = 400
[session]
echo_interval = "400ms"
dead_interval = "5s"
[load]
rate = 60
stages = [{ hold = "1500ms" }]
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_every_link_gets_everything(run: Run, tmp_path: Path, workers: int) -> None:
    scenario = tmp_path / "many.toml"
    scenario.write_text(SCENARIO, "utf-8")
    ended = run("run", scenario, *PATIENT, "--workers", workers)
    ended.check_passed()
    counters = ended.counters
    assert counters["sessions.established"] == counters["sessions.closed"] == 80
    assert counters["notify.due"] == counters["notify.sent"] == counters["notify.received"] == 90 * 40
    for name in ("dropped", "lost", "duplicated", "reordered"):
        assert counters[f"notify.{name}"] == 0, name
    # Frames of seven sizes, in whatever order links come: the sweep, and echoes between.
    assert counters["echo.sent"] > 80
    assert 0 <= counters["echo.sent"] - counters["echo.answered"] <= 80  # the last of each may meet the end of the run
    assert 0 < counters["notify.writes"] <= counters["notify.sent"]


def test_more_sessions_than_can_be_dialed_are_late_and_all_come_up(run: Run, tmp_path: Path) -> None:
    """Many times as many a second as any machine does of these handshakes, by one worker a side."""
    scenario = tmp_path / "storm.toml"
    scenario.write_text(SCENARIO, "utf-8")
    changes = ("wlc.count=60", "mse.count=10", "mse.connect_per_s=100000", "mse.setup_timeout=60s", "load.rate=1")
    overrides = [word for change in changes for word in ("--set", change)]
    ended = run("run", scenario, "--workers", "1", *overrides)
    ended.check_passed()
    assert ended.errors == {}
    assert ended.counters["sessions.established"] == ended.counters["sessions.closed"] == 600
    result = ended.result
    (dialing,) = (worker["dialing"] for worker in result["workers"] if worker["worker"].startswith("mse"))
    assert dialing["sessions"] == 600
    # How late they were is the machine's affair; that they were, follows from the bound.
    assert dialing["late_ns"] > dialing["planned_ns"]
    lag, service = (result["metrics"][name]["max"] for name in ("handshake.lag", "handshake.session"))
    assert lag > service
    assert result["metrics"]["handshake.latency"]["max"] > lag
    if dialing["own_ns"] > 250e6:
        assert "mse-0 dialed" in " ".join(result["verdict"]["reasons"])
