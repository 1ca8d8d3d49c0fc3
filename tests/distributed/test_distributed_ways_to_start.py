"""Ways to start and to end a run that Locust has beside the plain ones."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from master_process import LOCUST, Master, wait_gone
from test_distributed_together import SMALL, result_of, workers_of


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "together.toml"
    path.write_text(SMALL, "utf-8")
    return path


def test_autostart_begins_by_itself_and_autoquit_ends_it(tmp_path: Path, scenario: Path) -> None:
    options = ("--autostart", "--autoquit", "0", "-u", "4", "-r", "4", "-t", "10s", "--local-workers", "1")
    with Master(tmp_path / "results", *options, "--scenario", str(scenario), command=LOCUST) as master:
        master.hear("Starting web interface")
        master.hear("4 total users")
        master.hear("results in")
        code = master.process.wait(60)
        result = result_of(master.folder())
    assert code == result["verdict"]["exit_code"]
    assert result["counters"]["sessions.established"] == result["counters"]["sessions.closed"] == 4
    assert result["counters"]["notify.received"] > 0


@pytest.mark.parametrize("picked", ["MseUser", "WlcUser"])
def test_the_class_picker_says_what_a_user_is(tmp_path: Path, scenario: Path, picked: str) -> None:
    """Two MSEs at each WLC of the scenario: a user is a WLC with both its sessions, or an MSE with a WLC of its own."""
    scenario.write_text(SMALL.replace("[mse]", "[mse]\ncount = 2"), "utf-8")
    with Master(tmp_path / "results", "--scenario", str(scenario), "--class-picker", "--local-workers", "1") as master:
        master.serving()
        master.joined(1)
        answer = master.post("/swarm", user_count=3, spawn_rate=3, scenario=scenario, user_classes=picked)
        assert answer["success"], answer
        master.hear("3 total users")
        assert master.post("/stop")["success"]
        result = result_of(master.folder())
    assert result["counters"]["sessions.established"] == {"MseUser": 3, "WlcUser": 6}[picked]


@pytest.mark.parametrize("times", [1, 2])
def test_interrupted_once_or_twice_nobody_stays_behind(tmp_path: Path, scenario: Path, times: int) -> None:
    """Once is Locust's orderly end, with results. Whoever is in a hurry and asks again gets an end."""
    options = ("-u", "6", "-r", "6", "-t", "120s", "--scenario", str(scenario), "--local-workers", "2")
    with Master(tmp_path / "results", *options, headless=True) as master:
        master.hear("6 total users")
        pids = workers_of(master)
        assert len(pids) == 2
        master.process.send_signal(signal.SIGINT)
        if times == 2:
            master.hear("loadgen.master: generator")
            master.process.send_signal(signal.SIGINT)
        code = master.process.wait(60)
        wait_gone(pids)
        result = result_of(master.folder())
        assert result["counters"]["sessions.closed"] == 6
    if times == 1:  # to the second one, Locust answers with a traceback of its own
        assert code == result["verdict"]["exit_code"]
        assert not [line for line in master.lines if "Traceback" in line]
