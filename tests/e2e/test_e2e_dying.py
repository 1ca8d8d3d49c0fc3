"""Workers that die, users that interrupt, supervisors that vanish: what is known is written, nothing stays behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest
from e2e_loadgen import LOADGEN, SMALL, Ended, Running, Start, eventually, process_is_gone

from benchmarks.descendants import worker_pids
from loadgen.measure.hlog import read_hlog_untrusted

# Workers in the order in which they are started with --workers 2.
_NAMES = ("wlc-0", "wlc-1", "mse-0", "mse-1")


LONG = SMALL.replace("500ms", "10m").replace('name = "small"', 'name = "long"')


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """A scenario whose load lasts longer than any test."""
    path = tmp_path / "long.toml"
    path.write_text(LONG, "utf-8")
    return path


def in_mid_load(running: Running) -> None:
    """Until the WLCs have sent much more than sessions take to be set up: they write once for each notification."""

    def sent() -> bool:
        assert running.process.poll() is None, running.stderr
        return sum(map(_writes_of, worker_pids(running.pid))) > 400

    eventually(sent, "notifications to be sent")


def _writes_of(pid: int) -> int:
    """How often a process has written to anything."""
    try:
        text = Path(f"/proc/{pid}/io").read_text("ascii")
    except OSError:
        return 0
    return int(next(line for line in text.splitlines() if line.startswith("syscw")).split()[1])


def _check_files(ended: Ended) -> None:
    """Everything a run leaves is there, and can be read."""
    assert {path.name for path in ended.folder.iterdir()} >= {"plan.json", "result.json", "histograms.hlog"}
    json.loads((ended.folder / "plan.json").read_text("utf-8"))
    hlog = (ended.folder / "histograms.hlog").read_text("ascii")
    assert "/notify.latency" in hlog
    assert "Tag=handshake.tls" in hlog


@pytest.fixture(scope="module", autouse=True)
def hung(start_shared: Start, tmp_path_factory: pytest.TempPathFactory) -> tuple[Running, list[int]]:
    """A run that was interrupted while one of its workers hangs; its end is far away, so it comes first."""
    path = tmp_path_factory.mktemp("hung") / "long.toml"
    path.write_text(LONG, "utf-8")
    running = start_shared("run", path, "--workers", "1")
    pids = running.wait_for_workers(2)
    in_mid_load(running)
    os.kill(pids[1], signal.SIGSTOP)
    running.signal(signal.SIGINT)
    return running, pids


class TestDeath:
    """One worker is killed in mid-load: by kill -9, or by a signal that has no name in Python."""

    @pytest.mark.parametrize(("which", "number", "name"), [(0, 35, "SIGRTMIN+1"), (3, signal.SIGKILL, "SIGKILL")])
    def test_one_of_four(self, start: Start, long: Path, which: int, number: int, name: str) -> None:
        running = start("run", long, "--workers", "2")
        pids = running.wait_for_workers(4)
        in_mid_load(running)
        os.kill(pids[which], number)
        ended = running.end()
        assert ended.code == 6, ended.stderr
        verdict = ended.result["verdict"]
        assert (verdict["exit_code"], verdict["outcome"]) == (6, "a worker process died")
        # However that looks at the other side: sessions that break are not the target's fault.
        assert verdict["limited_by"] == "worker"
        assert _NAMES[which] in verdict["limit_reason"]
        message = next(reason for reason in verdict["reasons"] if "died" in reason)
        for part in (f"worker {_NAMES[which]}", f"pid {pids[which]}", name):
            assert part in message
        assert message in ended.stdout
        assert "Traceback" not in ended.stderr
        _check_files(ended)
        # The others handed in their last figures; of the dead one, what it had reported counts.
        assert [worker["worker"] for worker in ended.result["workers"]] == [
            name for number, name in enumerate(_NAMES) if number != which
        ]
        counters = ended.counters
        assert counters["sessions.established"] == 8
        assert counters["notify.sent"] > 0
        assert counters["notify.received"] > 0
        # Each is in the stage that counts, or came after the load was ended.
        curves = read_hlog_untrusted(ended.folder / "histograms.hlog")
        assert curves["hold/notify.latency"].count == ended.result["metrics"]["notify.latency"]["count"]
        in_all = sum(curve.count for tag, curve in curves.items() if tag.endswith("/notify.latency"))
        assert in_all == counters["notify.received"]
        if _NAMES[which].startswith("mse"):  # those of the others were closed in order
            assert (counters["sessions.closed"], counters["sessions.orphaned"]) == (4, 4)
        assert all(process_is_gone(pid) for pid in pids)

    def test_of_all_that_play_one_side(self, start: Start, long: Path) -> None:
        running = start("run", long, "--workers", "2", "--json")
        pids = running.wait_for_workers(4)
        in_mid_load(running)
        for pid in pids[:2]:
            os.kill(pid, signal.SIGKILL)
        ended = running.end()
        assert ended.code == 6, ended.stderr
        reasons = json.loads(ended.stdout)["verdict"]["reasons"]
        # The first death ends the run; that of the other may be found by then or not.
        assert any(f"worker {name}" in reason and "SIGKILL" in reason for name in _NAMES[:2] for reason in reasons)
        assert all(process_is_gone(pid) for pid in pids)

    def test_while_preparing(self, start: Start, long: Path) -> None:
        """Before anything was dialed: there may be nothing to write, but there is something to say."""
        running = start("run", long, "--set", "wlc.count=200", "--set", "tls.key=rsa-2048", "--workers", "1")
        pids = running.wait_for_workers(2)
        os.kill(pids[0], signal.SIGKILL)
        ended = running.end()
        assert ended.code == 6, ended.stderr
        assert "Traceback" not in ended.stderr
        said = ended.stderr + ended.stdout
        for part in ("worker wlc-0", f"pid {pids[0]}", "SIGKILL"):
            assert part in said
        assert all(process_is_gone(pid) for pid in pids)


class TestInterrupt:
    """Ctrl-C."""

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_in_mid_load(self, start: Start, long: Path, number: signal.Signals) -> None:
        running = start("run", long, "--workers", "2", start_new_session=True)
        pids = running.wait_for_workers(4)
        in_mid_load(running)
        if number is signal.SIGINT:
            # As a terminal does it: the workers get it as well, and leave it to the supervisor.
            os.killpg(running.pid, number)
        else:
            running.signal(number)
        ended = running.end()
        assert ended.code == 130, ended.stderr
        assert "Traceback" not in ended.stderr
        verdict = ended.result["verdict"]
        assert (verdict["exit_code"], verdict["outcome"]) == (130, "interrupted")
        assert verdict["limited_by"] == "interruption"
        assert any("interrupted" in reason for reason in verdict["reasons"])
        _check_files(ended)
        counters = ended.counters
        assert counters["notify.sent"] == counters["notify.received"]
        assert counters["notify.lost"] == 0
        assert counters["sessions.closed"] == counters["sessions.established"] == 8
        assert counters["sessions.lost"] == 0
        assert ended.errors == {}
        assert all(process_is_gone(pid) for pid in pids)

    def test_of_the_whole_process_group_while_workers_start(self, start: Start, long: Path) -> None:
        """A worker that is still importing when Ctrl-C comes has not died: the user has stopped the run."""
        running = start("run", long, "--workers", "2", start_new_session=True)
        running.wait_for_workers(1)
        os.killpg(running.pid, signal.SIGINT)
        ended = running.end()
        assert ended.code == 130, ended.stderr + ended.stdout
        assert "Traceback" not in ended.stderr

    def test_while_preparing(self, start: Start, long: Path) -> None:
        """Nothing was dialed, so there is nothing to write; it is an interruption all the same."""
        running = start("run", long, "--set", "wlc.count=200", "--workers", "1")
        running.wait_for_workers(2)
        running.signal(signal.SIGINT)
        ended = running.end()
        assert ended.code == 130, ended.stderr
        assert "Traceback" not in ended.stderr

    def test_at_once(self, start: Start, long: Path) -> None:
        """Before the first worker: no traceback then either. An ordinary start: a prepared one has imported all."""
        running = start("run", long, command=LOADGEN)
        eventually(lambda: _has_loaded(running.pid, "_rust"), "cryptography to be imported")
        running.signal(signal.SIGINT)
        ended = running.end()
        assert ended.code == 130, ended.stderr
        assert "Traceback" not in ended.stderr

    def test_while_connecting(self, start: Start, long: Path) -> None:
        host = _own_address()
        running = start(
            "run", long, "--set", "mse.connect_per_s=1", "--set", "wlc.count=100", "--set", f"wlc.listen={host}:0"
        )
        eventually(lambda: _connections_to(host, running) > 0, "the first session")
        running.signal(signal.SIGINT)
        ended = running.end()
        assert ended.code == 130, ended.stderr
        counters = ended.counters
        assert 0 < counters["sessions.attempted"] < 200
        assert counters["sessions.attempted"] == counters["sessions.established"] + counters["sessions.failed"]
        assert counters["sessions.closed"] == counters["sessions.established"]
        assert counters["notify.due"] == counters["notify.sent"] == counters["notify.dropped"] == 0
        assert ended.result["load_s"] == 0
        assert ended.result["verdict"]["limited_by"] == "interruption"
        assert ended.errors == {}

    def test_twice(self, start: Start, long: Path) -> None:
        """Whoever asks again does not want to wait for a worker that hangs; that is an interruption, not a death."""
        running = start("run", long, "--workers", "1")
        wlc, mse = running.wait_for_workers(2)
        in_mid_load(running)
        os.kill(mse, signal.SIGSTOP)
        running.signal(signal.SIGINT)
        # The WLCs wait for the close of the MSEs that hang, give it up and end: the first signal was understood.
        eventually(lambda: process_is_gone(wlc), "the end of the other worker")
        running.signal(signal.SIGINT)
        ended = running.end()
        assert "Traceback" not in ended.stderr
        assert all(process_is_gone(pid) for pid in (wlc, mse))
        assert ended.code == 130, ended.result["verdict"]


class TestStopped:
    """A worker that stands still for a while (SIGSTOP, SIGCONT): our own pause is never the target's latency."""

    def _stand_still(self, pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        until = time.monotonic() + 1.5
        eventually(lambda: time.monotonic() > until, "time to pass")
        os.kill(pid, signal.SIGCONT)

    def _check_invalid(self, ended: Ended, worker: str, when: str) -> None:
        assert ended.code == 4, ended.stderr
        verdict = ended.result["verdict"]
        assert (verdict["generator"], verdict["limited_by"]) == ("INVALID", "generator")
        # Longer if it was not let run for a while after that either.
        assert any(re.match(rf"{worker}'s loop stood still for [1-9][\d.]* s{when}", r) for r in verdict["reasons"])

    def test_under_load(self, start: Start, small: Path) -> None:
        running = start("run", small, "--workers", "1", "--set", 'load.stages=[{hold="5s"}]')
        _, mse = running.wait_for_workers(2)
        in_mid_load(running)
        self._stand_still(mse)
        ended = running.end()
        assert ended.result["metrics"]["notify.service"]["max"] > 1_000_000_000  # what nobody must take for the WLCs'
        self._check_invalid(ended, "mse-0", "")

    def test_while_sessions_are_set_up(self, start: Start, small: Path) -> None:
        host = _own_address()
        options = ("--set", "mse.connect_per_s=8", "--set", f"wlc.listen={host}:0", "--workers", "1")
        running = start("run", small, *options)
        _, mse = running.wait_for_workers(2)
        eventually(lambda: _connections_to(host, running) > 0, "the first session")
        self._stand_still(mse)
        self._check_invalid(running.end(), "mse-0", " before the load, while sessions are set up")


def _own_address() -> str:
    """Of this process alone: whatever is connected to it is of its run."""
    return f"127.90.{os.getpid() >> 8 & 0xFF}.{os.getpid() & 0xFF or 1}"


def _has_loaded(pid: int, library: str) -> bool:
    try:
        return library in Path(f"/proc/{pid}/maps").read_text("utf-8")
    except OSError:
        return False


def _connections_to(host: str, running: Running) -> int:
    """Established connections of which that address is the far end."""
    assert running.process.poll() is None, running.stderr
    far = "".join(f"{octet:02X}" for octet in reversed(socket.inet_aton(host))) + ":"
    rows = (row.split() for row in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:])
    return sum(row[2].startswith(far) and row[3] == "01" for row in rows)


class TestOrphans:
    """kill -9 of the supervisor."""

    @pytest.mark.parametrize("when", ["load", "connecting", "preparing"])
    def test_workers_end_by_themselves(self, start: Start, long: Path, when: str) -> None:
        options = ["--set", "mse.connect_per_s=1"] if when == "connecting" else []
        running = start("run", long, "--workers", "2", *options)
        pids = running.wait_for_workers(4)
        if when == "load":
            in_mid_load(running)
        elif when == "connecting":
            running.wait_for_line("connecting")
            os.kill(pids[0], signal.SIGSTOP)  # it cannot see that the supervisor is gone
        running.process.kill()
        assert running.end().code == -signal.SIGKILL
        eventually(lambda: all(process_is_gone(pid) for pid in pids), "the workers' end")


def test_a_worker_that_does_not_answer(hung: tuple[Running, list[int]]) -> None:
    """A worker that hangs is given up, named, and does not outlive the run."""
    running, pids = hung
    ended = running.end()
    assert ended.code == 6, ended.stderr
    reasons = " ".join(ended.result["verdict"]["reasons"])
    assert f"worker mse-0 (pid {pids[1]})" in reasons
    assert "interrupted" in reasons
    eventually(lambda: all(process_is_gone(pid) for pid in pids), "the workers' end")


class TestOutput:
    """stdout takes nothing: what was found is in the folder."""

    @pytest.mark.parametrize("options", [["--json"], []])
    def test_full(self, start: Start, small: Path, options: list[str]) -> None:
        with Path("/dev/full").open("wb") as full:
            ended = start("run", small, *options, stdout=full).end()
        # 4: this machine was busy; the verdict's own code weighs more.
        assert ended.code in (7, 4), ended.stderr
        assert "stdout: expected to print what was found, found no space left on device" in ended.stderr
        assert "Traceback" not in ended.stderr
        assert ended.result["verdict"]["exit_code"] == (0 if ended.code == 7 else 4)

    @pytest.mark.parametrize("arguments", [["--help"], ["plan"], ["plan", "--json"], ["schema", "plan"]])
    def test_commands_that_only_print(self, start: Start, small: Path, arguments: list[str]) -> None:
        with Path("/dev/full").open("wb") as full:
            ended = start(*arguments, *([small] if "plan" in arguments[:1] else []), stdout=full).end()
        assert ended.code == 7, ended.stderr
        (line,) = ended.stderr.splitlines()
        assert line.startswith("loadgen: stdout: expected")

    def test_read_by_nobody(self, start: Start, small: Path) -> None:
        read, write = os.pipe()
        os.close(read)
        ended = start("plan", small, stdout=write).end()
        os.close(write)
        assert ended.code == 7, ended.stderr
        assert "broken pipe" in ended.stderr
