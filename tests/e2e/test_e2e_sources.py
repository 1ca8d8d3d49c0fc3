"""`mse.bind`: where sessions come from, as peers see it; and a WLC with more of them than an address has ports."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from e2e_loadgen import LOADGEN, SMALL, Run, Start

BIND = ("--set", 'mse.bind=["127.0.9.1-127.0.9.2", "127.0.10.8/32"]')
SOURCES = ("127.0.9.1", "127.0.9.2", "127.0.10.8")
# Ports of an address, in a network of its own; and sessions with one WLC.
PORTS, SESSIONS = 8, 24


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "s.toml"
    path.write_text(SMALL.replace("count = 4", "count = 1").replace("count = 2", "count = 6"), "utf-8")
    return path


def test_connections_come_from_each_address_in_turn(start: Start, scenario: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        server.settimeout(60)
        running = start("run", scenario, *BIND, "--target", f"wlc=127.0.0.1:{server.getsockname()[1]}")
        came = []
        for _ in range(6):
            sock, address = server.accept()
            sock.close()
            came.append(address)
        assert running.end().code == 3
    assert Counter(host for host, _ in came) == dict.fromkeys(SOURCES, 2)
    assert len(set(came)) == 6


def test_datagrams_come_from_each_address_in_turn(start: Start, scenario: Path) -> None:
    with closing(socket.socket(type=socket.SOCK_DGRAM)) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(60)
        target = ("--target", f"wlc=127.0.0.1:{server.getsockname()[1]}")
        changes = ("--set", "transport=dtls", "--set", "mse.setup_timeout=2s")
        running = start("run", scenario, *BIND, *target, *changes)
        came = set()
        while len(came) < 6:
            came.add(server.recvfrom(2048)[1])
        assert running.end().code == 3
    assert Counter(host for host, _ in came) == dict.fromkeys(SOURCES, 2)


@pytest.mark.parametrize("transport", ["tls", "dtls"])
def test_a_run_with_both_sides(run: Run, scenario: Path, transport: str) -> None:
    ended = run("run", scenario, *BIND, "--set", f"transport={transport}")
    ended.check_passed()
    assert ended.counters["sessions.established"] == 6


def test_over_ipv6(run: Run, scenario: Path) -> None:
    with socket.socket(socket.AF_INET6) as sock:
        try:
            sock.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 here")
    ended = run("run", scenario, "--set", 'mse.bind=["127.0.9.1", "::1"]', "--set", 'wlc.listen="[::1]:0"')
    ended.check_passed()
    assert ended.counters["sessions.established"] == 6


def test_an_address_that_is_not_this_machine_s_is_refused_before_the_run(run: Run, scenario: Path) -> None:
    ended = run("run", scenario, "--set", 'mse.bind=["203.0.113.1"]')
    ended.check_refused("mse.bind: expected addresses of this machine", "203.0.113.1")


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("ip") is None,
    reason="a network of its own takes root, unshare and iproute2",
)
@pytest.mark.parametrize("transport", ["tls", "dtls"])
def test_one_wlc_with_more_sessions_than_an_address_has_ports(tmp_path: Path, scenario: Path, transport: str) -> None:
    """All ports of three addresses are taken, and none twice."""
    network = f"ip link set lo up && echo 20000 {19999 + PORTS} > /proc/sys/net/ipv4/ip_local_port_range"
    changes = (f"mse.count={SESSIONS}", "wlc.listen=127.0.0.1:16113", f"transport={transport}")
    words = [word for change in changes for word in ("--set", change)]

    def loadgen(*more: str) -> subprocess.CompletedProcess[str]:
        command = ["unshare", "-n", "sh", "-c", f'{network} && exec "$@"', "sh", *LOADGEN]
        return subprocess.run([*command, *more], capture_output=True, text=True, check=False)

    if subprocess.run(["unshare", "-n", "sh", "-c", network], capture_output=True, check=False).returncode:
        pytest.skip("this system has no networks for us")
    few = loadgen("plan", str(scenario), *words, *BIND[:1], 'mse.bind=["127.0.9.1", "127.0.9.2"]')
    assert few.returncode == 2
    assert f"at most {2 * PORTS} sessions" in few.stderr
    assert "or 3 addresses in mse.bind" in few.stderr
    done = loadgen("run", str(scenario), *words, *BIND, "--results", str(tmp_path / "results"))
    assert done.returncode in (0, 4), done.stderr
    assert f"{SESSIONS}          {SESSIONS}      0    0" in done.stdout
