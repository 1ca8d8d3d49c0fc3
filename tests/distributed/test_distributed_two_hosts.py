"""docs/distributed.md on two hosts: network namespaces with a wire between them. Nothing leaves this machine."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from master_process import LOCUSTFILE, REPO, wait_gone

from loadgen.errors import ExitCode

MASTER, WORKER = "10.213.7.1", "10.213.7.2"
PATIENCE_S = 120
SCENARIO = """
name = "two-hosts"
[wlc]
listen = "127.0.0.1:0"
stations = 3
[mse]
connect_per_s = 1000
[load]
rate = 20
"""
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None, reason="network namespaces take root and iproute2"
)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def hosts() -> Iterator[tuple[str, str]]:
    """Two namespaces; what is in them is gone when they are."""
    names = (f"lg{os.getpid()}m", f"lg{os.getpid()}w")
    with contextlib.ExitStack() as ends:
        for name in names:
            try:
                ip("netns", "add", name)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"this system has no network namespaces for us: {error.stderr}")
            ends.callback(ip, "netns", "delete", name)
        ip("link", "add", "wire0", "netns", names[0], "type", "veth", "peer", "name", "wire0", "netns", names[1])
        for name, address in zip(names, (MASTER, WORKER), strict=True):
            ip("-n", name, "address", "add", f"{address}/30", "dev", "wire0")
            for device in ("lo", "wire0"):
                ip("-n", name, "link", "set", device, "up")
        yield names


def on(host: str, *words: str, stdout: int | None = None) -> subprocess.Popen[str]:
    command = ["ip", "netns", "exec", host, sys.executable, "-m", *words]
    return subprocess.Popen(
        command, cwd=REPO, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, text=True
    )


def test_a_master_on_one_host_and_two_workers_on_another(hosts: tuple[str, str], tmp_path: Path) -> None:
    scenario = tmp_path / "two-hosts.toml"
    scenario.write_text(SCENARIO, "utf-8")
    options = ["--headless", "--expect-workers", "2", "-u", "10", "-r", "10", "-t", "12s", "--only-summary"]
    options += ["--scenario", str(scenario), "--results", str(tmp_path / "results")]
    master = on(hosts[0], "locust", "-f", str(LOCUSTFILE), "--master", *options)
    workers = [on(hosts[1], "loadgen", "locust-worker", "--master-host", MASTER) for _ in range(2)]
    try:
        said = master.communicate(timeout=PATIENCE_S)[1]
        assert master.returncode == 0, said
        ends = [worker.communicate(timeout=PATIENCE_S)[1] for worker in workers]
    finally:
        for process in (master, *workers):
            if process.poll() is None:
                process.kill()
                process.communicate()
    assert [worker.returncode for worker in workers] == [ExitCode.PASSED, ExitCode.PASSED], ends
    assert all(f"connected to the master at {MASTER}:5557" in end for end in ends)
    wait_gone([worker.pid for worker in workers])
    (path,) = (tmp_path / "results").glob("*/result.json")
    result = json.loads(path.read_text("utf-8"))
    assert result["counters"]["sessions.established"] == 10
    assert result["counters"]["notify.received"] == result["counters"]["notify.sent"] > 0
    assert {worker["worker"] for worker in result["workers"]} == {"wlc-0", "mse-0", "wlc-1", "mse-1"}


def test_a_host_that_cannot_be_reached_is_given_up(hosts: tuple[str, str]) -> None:
    ip("-n", hosts[0], "link", "set", "wire0", "down")
    worker = on(hosts[1], "loadgen", "locust-worker", "--master-host", MASTER, "--patience", "2s")
    said = worker.communicate(timeout=PATIENCE_S)[1]
    assert worker.returncode == ExitCode.UNREACHABLE
    assert f"no Locust master answered at {MASTER}:5557 for 2 s" in said
