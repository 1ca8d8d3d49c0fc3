"""Many links of one WLC at once: each gets every notification, once, in order, in a write of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from e2e_loadgen import Run

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
    ended = run("run", scenario, "--workers", workers)
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
