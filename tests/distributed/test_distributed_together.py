"""A stock Locust master and workers of ours, as people start them."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import prepared
import pytest
from master_process import LOCUSTFILE, REPO, Master, wait_gone
from scripted_master import worker

from benchmarks.descendants import worker_pids
from loadgen.distributed.messages import LOCUST_VERSION
from loadgen.errors import ExitCode
from loadgen.measure.hlog import read_hlog_untrusted

SMALL = """
name = "together"
[wlc]
stations = 3
[mse]
connect_per_s = 1000
[load]
rate = 20
"""
pytestmark = pytest.mark.long
# A run is told to end by what is seen of it; this only ends one of a test that has failed.
_LONG = ("-t", "120s")


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "together.toml"
    path.write_text(SMALL, "utf-8")
    return path


def result_of(folder: Path) -> dict[str, Any]:
    value = json.loads((folder / "result.json").read_text("utf-8"))
    assert isinstance(value, dict)
    return value


def rows_of(path: Path) -> dict[str, dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return {row["Name"]: row for row in csv.DictReader(lines)}


def workers_of(master: Master) -> list[int]:
    """Pids of the local workers."""
    return [pid for pid in master.children() if b"locust-worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_locust_is_of_the_release_whose_protocol_this_is() -> None:
    installed = metadata.version("locust").split(".")[:2]
    assert installed == LOCUST_VERSION.split(".")[:2]


def test_a_headless_run_with_two_local_workers(tmp_path: Path, scenario: Path) -> None:
    files = ("--csv", str(tmp_path / "out"), "--html", str(tmp_path / "out.html"))
    options = ("-u", "30", "-r", "30", *_LONG, "--scenario", str(scenario), "--local-workers", "2", *files)
    with Master(tmp_path / "results", *options, headless=True) as master:
        master.hear("2 local worker(s) started")
        master.hear("All users spawned")
        for _ in range(3):  # Locust's table, every two seconds
            master.hear("measurement notify")
        pids = workers_of(master)
        code = master.end(signal.SIGINT)
        wait_gone(pids)
        folder = master.folder()
    assert {path.name for path in folder.iterdir()} == {"plan.json", "result.json", "report.html", "histograms.hlog"}
    result = result_of(folder)
    counters = result["counters"]
    assert counters["sessions.established"] == counters["sessions.closed"] == 30
    assert counters["notify.sent"] == counters["notify.received"] > 0
    assert not [name for name, count in counters.items() if name.startswith("errors.") and count]
    assert code == result["verdict"]["exit_code"]
    assert code in (ExitCode.PASSED, ExitCode.GENERATOR_SATURATED)
    assert {w["worker"] for w in result["workers"]} == {"wlc-0", "mse-0", "wlc-1", "mse-1"}
    assert [stage["name"] for stage in result["stages"]] == ["ramp", "hold"]
    # What Locust shows is what there was, and no more.
    rows = rows_of(tmp_path / "out_stats.csv")
    assert int(rows["measurement notify"]["Request Count"]) == counters["notify.received"]
    assert int(rows["NMSP session"]["Request Count"]) == int(rows["TLS handshake"]["Request Count"]) == 30
    assert int(rows["Aggregated"]["Failure Count"]) == 0
    assert float(rows["measurement notify"]["Requests/s"]) == result["rates"]["notify.received_per_s"]
    page = (tmp_path / "out.html").read_text("utf-8")
    assert "measurement notify" in page
    assert "1970-01-01" not in page
    # The log has every interval, and they add up to the summary.
    whole = read_hlog_untrusted(folder / "histograms.hlog")["hold/notify.latency"]
    assert result["metrics"]["notify.latency"]["p99"] == whole.percentiles(99.0)[0]
    assert result["metrics"]["notify.latency"]["count"] == whole.count


def test_users_of_a_worker_that_was_killed_move_to_the_other(tmp_path: Path, scenario: Path) -> None:
    options = ("-u", "20", "-r", "20", *_LONG, "--scenario", str(scenario), "--local-workers", "2")
    with Master(tmp_path / "results", *options, "--enable-rebalancing", headless=True) as master:
        master.hear("All users spawned")
        victim = workers_of(master)[0]
        os.kill(victim, signal.SIGKILL)
        master.hear("setting state to missing")
        master.hear("20 total users")
        code = master.end(signal.SIGINT)
        result = result_of(master.folder())
    assert code == result["verdict"]["exit_code"] == ExitCode.WORKER_DIED
    assert any("was not heard of any more" in reason for reason in result["verdict"]["reasons"])
    # 10 of the survivor's own and 10 more, in processes of their own; the victim's last second went with it.
    assert result["counters"]["sessions.established"] >= 20
    assert {w["worker"].partition(".")[2] for w in result["workers"]} == {"", "1"}


def test_workers_wait_for_a_master_that_restarts(tmp_path: Path, scenario: Path) -> None:
    options = ("-u", "4", "-r", "4", *_LONG, "--scenario", str(scenario), "--expect-workers", "1")
    with (
        Master(tmp_path / "first", *options, headless=True) as first,
        worker(first.port, "--silence", "2s") as ours,
    ):
        first.hear("All users spawned")
        pids = ours.children()
        first.process.kill()
        first.process.wait()
        wait_gone(pids)
        with Master(tmp_path / "second", *options, headless=True, port=first.port) as second:
            second.hear("All users spawned")
            code = second.end(signal.SIGINT)
            result = result_of(second.folder())
            assert code == result["verdict"]["exit_code"] != ExitCode.WORKER_DIED
            assert result["counters"]["sessions.established"] == 4
        code, _ = ours.end()
        assert code == ExitCode.PASSED


def test_more_users_while_the_run_is_on(tmp_path: Path, scenario: Path) -> None:
    """Workers hear how many there will be, and prepare for them at once."""
    with Master(tmp_path / "results", "--scenario", str(scenario), "--local-workers", "2") as master:
        master.serving()
        master.joined(2)
        for users in (2, 12):
            answer = master.post("/swarm", user_count=users, spawn_rate=4, scenario=scenario)
            assert answer["success"], answer
            master.hear(f"{users} total users")
        assert [len(worker_pids(pid)) for pid in workers_of(master)] == [4, 4]  # for 1 user each, and for 5 more
        assert master.post("/stop")["success"]
        result = result_of(master.folder())
    assert result["counters"]["sessions.established"] == 12
    assert not result["counters"]["sessions.failed"] + result["counters"]["sessions.lost"]


def test_mses_of_locust_at_wlcs_of_somebody_else(tmp_path: Path, scenario: Path) -> None:
    """The WLCs are those of a `loadgen run`, which knows nothing of Locust."""
    words = ["run", scenario, "--serve", "wlc", "--duration", "120s"]
    words += ["--set", "wlc.authenticate=false", "--set", "wlc.listen=127.78.1.1:0", "--set", "wlc.step=port"]
    words += ["--results", str(tmp_path / "served")]
    with prepared.loadgen().start(words, cwd=REPO, stderr=subprocess.PIPE) as wlc:
        assert wlc.stderr is not None
        address = next(line for line in wlc.stderr if "ready" in line).split(" at ")[1].strip()
        options = ("-u", "6", "-r", "6", *_LONG, "--scenario", str(scenario), "--local-workers", "1")
        with Master(tmp_path / "results", *options, "--target", f"wlc={address}", headless=True) as master:
            master.hear("6 total users")
            code = master.end(signal.SIGINT)
            result = result_of(master.folder())
            assert code == result["verdict"]["exit_code"]
        wlc.send_signal(signal.SIGINT)
        wlc.stderr.read()
    assert result["counters"]["sessions.established"] == 6
    assert result["counters"]["notify.received"] > 0
    assert "notify.sent" not in result["counters"]


def test_nobody_at_the_target_is_told_in_locusts_failures(tmp_path: Path, scenario: Path) -> None:
    options = ("-u", "3", "-r", "3", "-t", "5s", "--scenario", str(scenario), "--local-workers", "1")
    target = ("--target", "wlc=127.78.1.2:9")
    with Master(tmp_path / "results", *options, *target, "--csv", str(tmp_path / "out"), headless=True) as master:
        code = master.process.wait(60)
        result = result_of(master.folder())
    assert code == result["verdict"]["exit_code"] == ExitCode.UNREACHABLE
    with (tmp_path / "out_failures.csv").open(encoding="utf-8", newline="") as lines:
        failures = [(row["Name"], row["Error"], row["Occurrences"]) for row in csv.DictReader(lines)]
    assert failures == [("TLS handshake", "tcp: refused", "3")]


def test_another_release_of_locust_is_warned_of_with_both_versions(tmp_path: Path) -> None:
    code = "import locust; locust.__version__ = '2.99.1'; from locust.main import main; main()"
    words = [sys.executable, "-c", code, "-f", str(LOCUSTFILE), "--headless", "--scenario", str(tmp_path / "none.toml")]
    done = subprocess.run(words, cwd=REPO, capture_output=True, text=True, check=False, timeout=60)
    assert "Locust 2.99.1 is installed; loadgen speaks the protocol of 2.47.0" in done.stderr
    assert done.returncode == ExitCode.BAD_INPUT


def test_a_worker_is_one_of_locusts_by_its_command_alone() -> None:
    """Nothing of Locust or gevent is in it."""
    code = "import sys, loadgen.distributed.node.node; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPO)
    assert not {"gevent", "locust", "flask", "greenlet"} & set(done.stdout.split())
    assert {"trio", "zmq"} <= set(done.stdout.split())
