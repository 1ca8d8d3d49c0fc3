"""`loadgen status`: another terminal asks a run that goes on."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from e2e_loadgen import PATIENCE_S, Ended, Running, Start, eventually

WLC, MSE = "wlc", "mse"
# What there is to send is sent in half a second; sessions stay for as long as a test needs them.
LONG = """
name = "long"
[wlc]
count = 4
listen = "127.77.9.1:0"
step = "port"
stations = 5
[mse]
count = 2
[session]
echo_interval = "200ms"
[load]
rate = 400
stages = [{ hold = "500ms" }, { hold = "10m", rate = 0 }]
"""
SESSIONS, DUE = 8, 2 * 200
NOTIFY = 16  # msg-id of the reference profile


class Asking:
    """Runs and questions that share a runtime directory."""

    def __init__(self, start: Start, tmp_path: Path) -> None:
        self._start = start
        self.runtime = tmp_path / ("so-long-that-no-address-of-a-unix-socket-could-hold-it-" * 3)
        self.runtime.mkdir(mode=0o700)
        self.doors = self.runtime / "loadgen"
        self._environment = os.environ | {"XDG_RUNTIME_DIR": str(self.runtime)}
        self.scenario = tmp_path / "long.toml"
        self.scenario.write_text(LONG, "utf-8")

    def run(self, *arguments: object) -> Running:
        return self._start("run", self.scenario, *arguments, env=self._environment)

    def __call__(self, *arguments: object, code: int = 0) -> Ended:
        ended = self._start("status", *arguments, env=self._environment).end()
        assert ended.code == code, ended.stdout + ended.stderr
        assert "Traceback" not in ended.stderr
        return ended

    def json(self, *arguments: object) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self(*arguments, "--json").stdout)
        return value

    def until(self, running: Running, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Ask until it holds; what was answered then."""

        def holds() -> dict[str, Any] | None:
            assert running.process.poll() is None, running.stderr
            asked = self._start("status", running.pid, "--json", "--all", env=self._environment).end()
            assert asked.code in (0, 2, 3), asked.stderr  # 2: another run only; 3: not begun
            answer = json.loads(asked.stdout) if asked.code == 0 else None
            return answer if answer is not None and condition(answer) else None

        answer: dict[str, Any] = eventually(holds, "an answer")
        return answer

    def socket(self) -> socket.socket:
        """A connection to the only run."""
        (door,) = self.doors.iterdir()
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(PATIENCE_S)
        folder = os.open(self.doors, os.O_RDONLY)
        try:
            eventually(lambda: connects(sock, f"/proc/self/fd/{folder}/{door.name}"), "room among those who wait")
        finally:
            os.close(folder)
        return sock

    def tell(self, data: bytes) -> bytes:
        """What comes back when these bytes are all that is said."""
        with self.socket() as sock:
            try:
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it had seen enough
            return until_closed(sock)


@pytest.fixture
def asking(start: Start, tmp_path: Path) -> Asking:
    return Asking(start, tmp_path)


def until_closed(sock: socket.socket) -> bytes:
    data = b""
    try:
        while chunk := sock.recv(65536):
            data += chunk
    except ConnectionError:
        pass
    return data


def side_of(answer: dict[str, Any], role: str) -> dict[str, Any]:
    (side,) = (side for side in answer["sides"] if side["role"] == role)
    value: dict[str, Any] = side
    return value


def model_of(answer: dict[str, Any], role: str) -> dict[str, Any]:
    value: dict[str, Any] = side_of(answer, role)["Cisco-IOS-XE-wireless-nmsp-oper:nmsp-oper-data"]
    return value


def ssl_stats(answer: dict[str, Any]) -> dict[str, str]:
    value: dict[str, str] = model_of(answer, WLC)["statistics"].get("ssl-stats", {})
    return value


def messages(answer: dict[str, Any], role: str, direction: str) -> Counter[int]:
    """Of all connections, by msg-id."""
    total: Counter[int] = Counter()
    for row in model_of(answer, role)["cmx-connection"]:
        for entry in row["con-stats"][f"{direction}-msg-counter"]:
            total[entry["msg-id"]] += int(entry["counter"])
    return total


def at_rest(answer: dict[str, Any]) -> bool:
    """Every session is up, all notifications are there, and every session had an echo."""
    sides = {side["role"]: side for side in answer["sides"]}
    if set(sides) != {WLC, MSE} or any(side["active"] != SESSIONS for side in sides.values()):
        return False
    echoes = [int(row["loadgen"]["rx-echo"]) for row in model_of(answer, MSE)["cmx-connection"]]
    return messages(answer, MSE, "rx")[NOTIFY] == DUE and min(echoes) > 0


@pytest.mark.parametrize("transport", ["tls", "dtls"])
def test_both_sides_of_a_run(asking: Asking, transport: str) -> None:
    """Every figure against what the run itself counted, or against the other side."""
    running = asking.run("--workers", "2", "--set", f"transport={transport}")
    answer = asking.until(running, at_rest)
    assert answer["run"]["pid"] == running.pid
    assert (answer["run"]["scenario"], answer["run"]["use"], answer["run"]["stage"]) == ("long", "both", "load")
    assert [(side["endpoints"], side["peers"], side["missing"]) for side in answer["sides"]] == [(4, 8, []), (2, 8, [])]

    for role, own, other in ((WLC, "tx", "rx"), (MSE, "rx", "tx")):
        rows = model_of(answer, role)["cmx-connection"]
        assert len({row["connection-id"] for row in rows}) == SESSIONS
        for row in rows:
            stats = row["con-stats"]
            assert (row["active"], row["loadgen"]["phase"]) == (True, "active")
            assert (stats["connections"], stats["disconnections"]) == ("1", "0")
            assert row["subscriptions"] == {"mask": "1", "rssi-ms": [None]}
            assert row["transport"] == {"tls": "default-class-type2", "dtls": "DTLS"}[transport]
            # 4 WLCs tell 200 notifications in turn; version, capability and subscription are data, echo is not.
            assert stats[f"{own}-data-frames"] == str(DUE // SESSIONS + 3)
            assert stats[f"{other}-data-frames"] == "2"
            assert stats["unsupported-msg-count"] == "0"
    assert {row["loadgen"]["endpoint"] for row in model_of(answer, WLC)["cmx-connection"]} == {0, 1, 2, 3}
    assert {row["loadgen"]["endpoint"] for row in model_of(answer, MSE)["cmx-connection"]} == {0, 1}
    (registered,) = model_of(answer, WLC)["client-registration"]
    assert registered["services"]["mask"] == str(0x68EBE7)
    assert len(registered["services"]) == 1 + 15
    statistics = model_of(answer, WLC)["statistics"]
    assert statistics["ssl-stats"] == {
        "verify-count": "8",
        "verify-fail": "0",
        "verify-success": "8",
        "connection-created": "8",
        "connection-closed": "0",
        "accept-attempts": "8",
        "accept-fail": "0",
        "accept-reject": "0",
        "accept-success": "8",
    }
    asked = {"aaa-request": "8", "aaa-response": "8"}
    assert statistics["aaa-stats"] == asked | {
        "aaa-validation-total": "8",
        "aaa-validation-fail": "0",
        "aaa-validation-success": "8",
    }
    assert "srv-stats" not in statistics
    # The port that a WLC sees is the one that its row has; an MSE's is where the WLC listens.
    assert {row["peer-ip"] for row in model_of(answer, MSE)["cmx-connection"]} == {"127.77.9.1"}

    table = asking("--limit", "3").stdout
    assert "4 WLCs of ours: 8 of 8 peers active" in table
    assert table.count("... 5 more: --all, --limit N or --peer ADDRESS") == 2
    heads = [line for line in table.splitlines() if "Active " in line and "Tx Data" in line]
    assert [line.split("  ")[0] for line in heads] == ["DNA Spaces/CMX IP Address", "WLC IP Address"]
    rows = [line.split() for line in table.splitlines() if " Active " in line and "Tx" not in line]
    assert len(rows) == 6
    assert all(row[1] == "Active" and row[6] == transport.upper() for row in rows)
    assert all((row[4], row[5]) == ("53", "2") for row in rows[:3])
    assert all((row[4], row[5]) == ("2", "53") for row in rows[3:])
    assert "subscribed by 8 peers: 0x1 = rssi-ms" in asking("long", "--subscription").stdout
    assert "each of our 4 WLCs offers 0x68ebe7 = rssi-ms, rssi-rfid" in asking("--capability").stdout
    counters = asking(running.pid, "--statistics", "--limit", "1").stdout
    for text in ("measurement_notify (16) 50", "tx-data-frames            53", "not counted: "):
        assert text in counters
    # As a controller has it: all of our WLCs together, and a peer is an address.
    (line,) = asking("--plain").stdout.splitlines()[2:]
    (peer,) = {row["peer-ip"] for row in model_of(answer, WLC)["cmx-connection"]}
    cells = line.split()
    assert (cells[:2], cells[6:]) == ([peer, "Active"], [transport.upper()])
    assert cells[4:6] == [str(DUE + 3 * SESSIONS), str(2 * SESSIONS)]
    of_model = asking.json("--yang")["Cisco-IOS-XE-wireless-nmsp-oper:nmsp-oper-data"]
    (connection,) = of_model["cmx-connection"]
    assert (connection["peer-ip"], connection["con-stats"]["connections"]) == (peer, str(SESSIONS))
    assert "loadgen" not in connection
    assert of_model["statistics"] == statistics
    assert "--yang: expected --json" in asking("--yang", code=2).stderr
    one = model_of(answer, MSE)["cmx-connection"][0]
    port = one["loadgen"]["peer-port"]
    of_one = asking.json("--peer", f"127.77.9.1:{port}")
    assert [side["matching"] for side in of_one["sides"]] == [0, 2]
    assert {row["loadgen"]["peer-port"] for row in model_of(of_one, MSE)["cmx-connection"]} == {port}

    running.signal(signal.SIGINT)
    ended = running.end()
    assert ended.code == 130
    assert ended.errors == {}
    final = ended.counters
    assert messages(answer, WLC, "tx")[NOTIFY] == final["notify.sent"] == DUE
    assert messages(answer, MSE, "rx")[NOTIFY] == final["notify.received"] == DUE
    echoes = [
        sum(int(row["loadgen"][f"{way}-echo"]) for row in model_of(answer, MSE)["cmx-connection"])
        for way in ("tx", "rx")
    ]
    assert SESSIONS <= echoes[1] <= echoes[0] <= final["echo.sent"]
    assert list(asking.doors.iterdir()) == []


def test_nobody_is_there(asking: Asking) -> None:
    ended = asking(code=3)
    assert ended.stdout == ""
    assert f"no run of yours is going on (looked in {asking.doors})" in ended.stderr


def test_several_runs_and_one_that_was_killed(asking: Asking) -> None:
    first, second, third = (asking.run("--workers", "1", *more) for more in ((), ("--set", "name=other"), ()))
    for running in (first, second, third):
        asking.until(running, at_rest)
    listed = asking(code=2)
    going_on = sorted(((first.pid, "long"), (second.pid, "other"), (third.pid, "long")))
    for text in (listed.stdout, asking("--list").stdout):
        assert [line.split()[:2] for line in text.splitlines()] == [[str(pid), name] for pid, name in going_on]
    assert "several runs are going on" in listed.stderr
    assert asking.json("other")["run"]["pid"] == second.pid
    assert asking.json(str(third.pid))["run"]["pid"] == third.pid
    ambiguous = asking("long", code=2).stderr
    assert "the name of several" in ambiguous
    ids = ", ".join(f"{pid} (long)" for pid in sorted((first.pid, third.pid)))
    assert f'RUN: expected a process id, one of {ids}, found "long"' in ambiguous
    nobody = asking("nobody", code=2).stderr
    assert f"RUN: expected one of {', '.join(f'{pid} ({name})' for pid, name in going_on)}, found" in nobody

    for running in (first, third):
        running.process.kill()
        running.process.wait(PATIENCE_S)
    assert len(list(asking.doors.iterdir())) == 3  # what is killed cleans nothing up
    assert asking.json()["run"]["pid"] == second.pid
    assert [door.name for door in asking.doors.iterdir()] == [f"{second.pid}.sock"]
    second.process.kill()
    second.process.wait(PATIENCE_S)
    # A run that begins clears up as well.
    fourth = asking.run("--workers", "1")
    eventually(lambda: [door.name for door in asking.doors.iterdir()] == [f"{fourth.pid}.sock"], "its own door only")


def test_only_the_user_may_ask(asking: Asking, start: Start) -> None:
    old = os.umask(0)
    try:
        running = asking.run("--workers", "1")
    finally:
        os.umask(old)
    eventually(lambda: asking.doors.is_dir() and list(asking.doors.iterdir()), "a door")
    (door,) = asking.doors.iterdir()
    assert stat.S_IMODE(asking.doors.stat().st_mode) == 0o700
    assert eventually(lambda: stat.S_IMODE(door.stat().st_mode) == 0o600)
    asking.until(running, at_rest)
    # Once it is open to others, nothing in it is believed, and no run puts anything there.
    asking.doors.chmod(0o755)
    assert "mode 0755" in asking(code=2).stderr
    other = asking.run("--workers", "1", "--set", "load.stages=[{ hold = '100ms' }]").end()
    assert other.code in (0, 4), other.stderr
    assert [path.name for path in asking.doors.iterdir()] == [door.name]


HOSTILE = {
    "nothing": b"",
    "no line": b'{"about": "peers"}',
    "an empty line": b"\n",
    "no JSON": b"\xff\x00\x16\x03\x01\n",
    "not a question": b"[1, 2, 3]\n",
    "nested deeply": b"[" * 4000 + b"\n",
    "another subject": b'{"about": "everything"}\n',
    "an unknown key": b'{"about": "peers", "path": "/etc/passwd"}\n',
    "a negative limit": b'{"about": "peers", "limit": -1}\n',
    "a huge limit": b'{"about": "peers", "limit": 1e300}\n',
    "a long address": b'{"about": "peers", "address": "' + b"x" * 1000 + b'"}\n',
    "an endless line": b" " * 1_000_000,
}


def test_bytes_that_are_no_question(asking: Asking) -> None:
    """They cost their connection, and say why if there is somebody to hear it; the run does not notice."""
    running = asking.run("--workers", "1")
    asking.until(running, at_rest)
    for name, data in HOSTILE.items():
        reply = asking.tell(data)
        # Whoever has said too much may find the connection reset before the answer.
        assert (name == "an endless line" and not reply) or json.loads(reply)["refused"], name
    # Many at once who say nothing, and some who go while they are answered.
    silent = [asking.socket() for _ in range(12)]
    eventually(lambda: sum(closed(sock) for sock in silent) == 4, "those beyond the eighth to be turned away")
    for sock in silent:
        sock.close()
    for _ in range(20):
        with asking.socket() as sock:
            sock.sendall(b'{"about": "peers", "limit": 1000}\n')
    answer = asking.until(running, at_rest)
    assert answer["run"]["stage"] == "load"
    running.signal(signal.SIGINT)
    ended = running.end()
    assert ended.code == 130
    assert ended.errors == {}
    assert ended.counters["notify.received"] == DUE


def connects(sock: socket.socket, address: str) -> bool:
    try:
        sock.connect(address)
    except BlockingIOError:
        return False
    return True


def closed(sock: socket.socket) -> bool:
    """The other side has hung up; nothing was said."""
    try:
        return sock.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False


def test_a_worker_that_does_not_answer_costs_its_rows(asking: Asking) -> None:
    running = asking.run("--workers", "2")
    asking.until(running, at_rest)
    stopped = running.wait_for_workers(4)[3]
    os.kill(stopped, signal.SIGSTOP)
    try:
        for _ in range(2):  # it is asked once, and waited for once
            answer = asking.json()
            assert [side["peers"] for side in answer["sides"]] == [8, 4]
            assert side_of(answer, MSE)["missing"] == [f"worker mse-1 (pid {stopped}) did not answer in time"]
        assert f"missing: worker mse-1 (pid {stopped}) did not answer in time" in asking().stdout
    finally:
        os.kill(stopped, signal.SIGCONT)
    answer = asking.until(running, lambda answer: not any(side["missing"] for side in answer["sides"]))
    assert [side["active"] for side in answer["sides"]] == [8, 8]


def test_one_side_and_peers_that_leave(asking: Asking) -> None:
    """WLCs of ours, MSEs of another run: its peers are known after they have gone."""
    wlcs = asking.run("--serve", "wlc", "--workers", "1", "--set", "wlc.authenticate=false")
    line = wlcs.wait_for_line("ready")
    plan = eventually(lambda: next(iter(wlcs.results.glob("*/plan.json")), None), "the plan")
    addresses = [f"{wlc['host']}:{wlc['port']}" for wlc in json.loads(plan.read_text("utf-8"))["wlcs"]]
    assert addresses[0] in line
    dialing = (f"--target=wlc={','.join(addresses)}", "--workers", "1", "--set", "tls.trust=any")
    idle = asking.until(wlcs, lambda answer: answer["sides"])
    assert [(side["role"], side["peers"], side["missing"]) for side in idle["sides"]] == [(WLC, 0, [])]
    mses = asking.run(*dialing)
    asking.until(mses, lambda answer: answer["sides"] and side_of(answer, MSE)["active"] == SESSIONS)
    up = asking.until(wlcs, lambda answer: side_of(answer, WLC)["active"] == SESSIONS)
    assert messages(up, WLC, "tx")[2] == SESSIONS  # version responses
    mses.signal(signal.SIGINT)
    mses.end()
    gone = asking.until(wlcs, lambda answer: side_of(answer, WLC)["active"] == 0)
    rows = model_of(gone, WLC)["cmx-connection"]
    assert len(rows) == SESSIONS
    for row in rows:
        assert (row["active"], row["loadgen"]["phase"]) == (False, "down")
        assert (row["con-stats"]["connections"], row["con-stats"]["disconnections"]) == ("1", "1")
        assert row["subscriptions"] == {"mask": "0"}
    assert model_of(gone, WLC)["statistics"]["ssl-stats"]["connection-closed"] == "8"
    assert " Inactive " in asking(wlcs.pid).stdout
    # They come again, and are who they were.
    asking.run(*dialing)
    again = asking.until(wlcs, lambda answer: side_of(answer, WLC)["active"] == SESSIONS)
    assert side_of(again, WLC)["peers"] == SESSIONS
    assert {row["con-stats"]["connections"] for row in model_of(again, WLC)["cmx-connection"]} == {"2"}
    wlcs.signal(signal.SIGINT)
    ended = wlcs.end()
    assert messages(again, WLC, "tx")[NOTIFY] <= ended.counters["notify.sent"]


def test_a_load_of_handshakes_has_no_peers_and_says_so(asking: Asking) -> None:
    running = asking.run(
        "--workers",
        "1",
        "--set",
        "load.kind=handshake",
        "--set",
        "load.rate=100",
        "--set",
        "load.stages=[{ hold = '5m' }]",
    )
    answer = asking.until(
        running, lambda answer: answer["sides"] and int(ssl_stats(answer).get("connection-closed", 0)) > 10
    )
    assert [side["peers"] for side in answer["sides"]] == [0, 0]
    stats = {name: int(count) for name, count in ssl_stats(answer).items()}
    assert stats["accept-success"] == stats["connection-created"] >= stats["connection-closed"]
    assert stats["accept-attempts"] >= stats["accept-success"]
    assert "handshakes only: nobody has a session" in asking().stdout
