"""`loadgen locust-worker` and a master that says what it likes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import msgspec
import pytest
from distributed_samples import chosen
from scripted_master import PATIENCE_S, REPO, Said, ScriptedMaster, alive, worker

from loadgen.distributed.messages import FINISH, LOCUST_VERSION, NodeReport
from loadgen.errors import ExitCode
from loadgen.measure.histogram import Histogram

pytestmark = pytest.mark.long
SCENARIO = """
name = "small"
[wlc]
stations = 3
[load]
rate = 40
"""


@pytest.fixture
def master() -> Iterator[ScriptedMaster]:
    made = ScriptedMaster()
    yield made
    made.close()


def orders(folder: Path, users: int, workers: int = 1, text: str = SCENARIO, **options: str) -> dict[str, Any]:
    made = chosen(folder, text, **options).orders(uuid.uuid4().hex, time.time_ns(), users, workers)
    # Shorter intervals than a master asks for, so that there is something to see soon.
    builtins = msgspec.to_builtins(msgspec.structs.replace(made, interval_ns=500_000_000))
    assert isinstance(builtins, dict)
    return builtins


def users(**counts: int) -> dict[str, Any]:
    return {
        "user_classes_count": {"MseUser": 0, "WlcUser": 0, **counts},
        "user_count": sum(counts.values()),
    }


def report_of(said: Said) -> NodeReport:
    return msgspec.msgpack.decode(said.data["loadgen"], type=NodeReport)


def notifications(said: Said) -> int:
    """What a stats message tells Locust of them."""
    return sum(row["num_requests"] for row in said.data["stats"] if row["name"] == "measurement notify")


def wait_until_gone(pids: list[int]) -> None:
    end = time.monotonic() + PATIENCE_S
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < end, f"still there: {pids}"
        time.sleep(0.01)


def test_a_whole_life(master: ScriptedMaster, tmp_path: Path) -> None:
    with worker(master.port) as ours:
        said = master.until("client_ready")
        assert said.data == LOCUST_VERSION
        node = said.node
        assert node.startswith(socket.gethostname() + "_")
        master.say(node, "ack", {"index": 3})
        beat = master.until("heartbeat")
        assert beat.data["state"] == "ready"
        assert beat.data["current_memory_usage"] > 1_000_000
        what = orders(tmp_path, 4)
        for count in (2, 4, 1):
            master.spawn(node, what, WlcUser=count)
            master.until("spawning")
            assert master.until("spawning_complete").data == users(WlcUser=count)
        assert master.until("heartbeat").data["state"] == "running"
        pids = ours.children()
        assert len(pids) == 2
        master.say(node, "spawning_complete", {"user_count": 1})
        said = master.until("stats", where=lambda s: notifications(s) and report_of(s).hold_unix_ns)
        assert {k: said.data[k] for k in ("user_classes_count", "user_count")} == users(WlcUser=1)
        master.say(node, "stop")
        last = master.until("stats", where=lambda s: report_of(s).ending is not None)
        ending = report_of(last).ending
        assert ending is not None
        assert ending.complete
        assert 0 < ending.end_unix_ns <= time.time_ns()
        assert [h.worker for h in ending.health] == ["wlc-3", "mse-3"]
        master.until("client_stopped")
        assert master.until("client_ready").data == LOCUST_VERSION
        wait_until_gone(pids)
        # And the same again, as another run.
        master.spawn(node, orders(tmp_path, 1), MseUser=1)
        assert master.until("spawning_complete").data == users(MseUser=1)
        master.say(node, "quit")
        master.until("quit")
        code, stderr = ours.end()
    assert code == ExitCode.PASSED, stderr
    stats = [report_of(s) for s in master.heard if s.kind == "stats" and "loadgen" in s.data]
    runs = list(dict.fromkeys(report.run for report in stats))
    assert len(runs) == 2
    first = [part for report in stats if report.run == runs[0] for part in report.intervals]
    counters = {part.process: part.interval.counters for part in first}
    assert counters["mse-3"]["sessions.established"] == counters["mse-3"]["sessions.closed"] == 4
    assert counters["mse-3"]["notify.received"] == counters["wlc-3"]["notify.sent"] > 0
    assert not [name for count in counters.values() for name in count if name.startswith("errors.")]


def test_what_locust_shows_is_what_the_histograms_hold(master: ScriptedMaster, tmp_path: Path) -> None:
    with worker(master.port) as ours:
        node = master.welcome()
        master.spawn(node, orders(tmp_path, 3), WlcUser=3)
        master.until("spawning_complete")
        master.until("stats", where=notifications)
        master.say(node, FINISH)
        master.until("stats", where=lambda s: report_of(s).ending is not None)
        master.say(node, "quit")
        master.until("quit")
        ours.end()
    stats = [said for said in master.heard if said.kind == "stats" and "loadgen" in said.data]
    merged: dict[str, Histogram] = {}
    for said in stats:
        for part in report_of(said).intervals:
            for tag, encoded in part.interval.histograms.items():
                merged.setdefault(tag.rpartition("/")[2], Histogram()).merge_untrusted(encoded)
    for metric, row in {
        "notify.latency": "measurement notify",
        "handshake.tls": "TLS handshake",
        "handshake.session": "NMSP session",
    }.items():
        rows = [r for said in stats for r in said.data["stats"] if r["name"] == row]
        assert sum(r["num_requests"] for r in rows) == merged[metric].count > 0
        assert max(r["max_response_time"] for r in rows) == pytest.approx(merged[metric].max_ns / 1e6)
        assert sum(sum(r["response_times"].values()) for r in rows) == merged[metric].count
    totals = [said.data["stats_total"]["num_requests"] for said in stats]
    assert sum(totals) == sum(r["num_requests"] for said in stats for r in said.data["stats"])


def test_what_was_ordered_before_the_end_and_comes_after_it_changes_nothing(
    master: ScriptedMaster, tmp_path: Path
) -> None:
    with worker(master.port) as ours:
        node = master.welcome()
        what = orders(tmp_path, 2)
        master.spawn(node, what, WlcUser=1)
        master.until("spawning_complete")
        pids = ours.children()
        master.say(node, FINISH)
        master.spawn(node, what, WlcUser=2)
        master.until("stats", where=lambda s: report_of(s).ending is not None)
        master.say(node, "stop")
        master.until("client_stopped")
        master.until("client_ready")
        assert ours.children() == []
        wait_until_gone(pids)
        assert [said.data for said in master.heard if said.kind == "spawning_complete"] == [users(WlcUser=1)]


def test_a_run_that_ends_before_it_was_told_of_it_has_no_part_of_its_own(
    master: ScriptedMaster, tmp_path: Path
) -> None:
    """The master cannot know whether its orders have come: whoever has no part in a run says so at its end."""
    with worker(master.port) as ours:
        node = master.welcome()
        what = orders(tmp_path, 2)
        master.say(node, FINISH, {"run": what["run"]})
        last = report_of(master.until("stats", where=lambda s: "loadgen" in s.data))
        assert last.run == what["run"]
        assert last.ending is not None
        assert last.ending.complete
        master.spawn(node, what, WlcUser=1)
        master.spawn(node, {**what, "run": "the next one"}, WlcUser=1)
        assert master.until("spawning_complete").data == users(WlcUser=1)
        said = master.until("stats", where=lambda s: "loadgen" in s.data)
        assert (report_of(said).run, report_of(said).users, report_of(said).wanted) == ("the next one", 1, 1)
        assert len(ours.children()) == 2
        starts = {s.data["stats_total"]["start_time"] for s in master.heard if s.kind == "stats"}
        # Of no run it says no earlier beginning; by a whole number, so that both are rounded once.
        assert min(starts) >= what["epoch_unix_ns"] / 1_000_000_000


def test_users_of_workers_that_went_are_taken_over(master: ScriptedMaster, tmp_path: Path) -> None:
    """Prepared for its share of two workers, it gets the other's users too."""
    with worker(master.port) as ours:
        node = master.welcome()
        what = orders(tmp_path, users=4, workers=2)
        master.spawn(node, what, WlcUser=2)
        master.until("spawning_complete")
        assert len(ours.children()) == 2
        master.spawn(node, what, WlcUser=4)
        assert master.until("spawning_complete").data == users(WlcUser=4)
        assert len(ours.children()) == 4
        said = master.until("stats", where=lambda s: report_of(s).active == 4)
        names = {h.worker for h in report_of(said).health}
        assert names == {"wlc-0", "mse-0", "wlc-0.1", "mse-0.1"}


def test_more_users_than_anybody_expected_take_few_processes(master: ScriptedMaster, tmp_path: Path) -> None:
    """Each squad is as large as all before it, whatever the orders say."""
    with worker(master.port) as ours:
        node = master.welcome()
        what = orders(tmp_path, users=1)
        for count in range(1, 9):
            master.spawn(node, what, WlcUser=count)
            master.until("spawning_complete", where=lambda said: said.data["user_count"] == count)  # noqa: B023
        assert len(ours.children()) == 2 * 4  # 1, 1, 2 and 4 users
        # Told of how many will come, it prepares for all of them at once.
        master.spawn(node, {**what, "users": 20}, WlcUser=9)
        master.until("spawning_complete", where=lambda said: said.data["user_count"] == 9)
        master.spawn(node, {**what, "users": 20}, WlcUser=20)
        master.until("spawning_complete", where=lambda said: said.data["user_count"] == 20)
        assert len(ours.children()) == 2 * 5


def test_more_endpoints_than_a_worker_has_numbers_are_refused(master: ScriptedMaster, tmp_path: Path) -> None:
    with worker(master.port) as ours:
        node = master.welcome()
        master.spawn(node, orders(tmp_path, users=70_000), WlcUser=1)
        said = master.until("exception")
        assert (
            "users: expected at most 65,536 endpoints of a worker; take more workers, found 70,000" in said.data["msg"]
        )
        assert ours.end()[0] == ExitCode.BAD_INPUT


def test_interrupted_while_it_looks_for_a_master_it_ends(master: ScriptedMaster) -> None:
    with worker(master.port, "--silence", "1s") as ours:
        master.welcome()
        master.deaf = True
        master.until("client_ready")
        ours.process.send_signal(signal.SIGTERM)
        assert ours.end()[0] == ExitCode.INTERRUPTED


def test_users_that_go_before_they_were_dialed_are_not_waited_for(master: ScriptedMaster, tmp_path: Path) -> None:
    text = SCENARIO + "[mse]\nconnect_per_s = 2\n"
    with worker(master.port):
        node = master.welcome()
        what = orders(tmp_path, users=50, text=text)
        master.spawn(node, what, WlcUser=50)
        master.until("stats", where=lambda s: s.data["user_count"] > 0)
        master.spawn(node, what, WlcUser=1)
        master.until("spawning_complete", where=lambda said: said.data == users(WlcUser=1))
        master.spawn(node, what, WlcUser=2)
        master.until("spawning_complete", where=lambda said: said.data == users(WlcUser=2))


def test_both_classes_at_once(master: ScriptedMaster, tmp_path: Path) -> None:
    with worker(master.port):
        node = master.welcome()
        master.spawn(node, orders(tmp_path, 3), WlcUser=1, MseUser=2)
        assert master.until("spawning_complete").data == users(WlcUser=1, MseUser=2)


def refuses(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=PATIENCE_S).close()
    except ConnectionRefusedError:
        return True
    return False


def test_wlcs_wait_for_somebody_elses_mses_as_long_as_they_are_there(master: ScriptedMaster, tmp_path: Path) -> None:
    text = SCENARIO.replace("stations = 3", 'stations = 3\nlisten = "127.77.9.1:16113"\nauthenticate = false')
    addresses = [(f"127.77.9.{number}", 16113) for number in (3, 4)]
    with worker(master.port):
        node = master.welcome(index=1)
        what = orders(tmp_path, users=4, workers=2, text=text, target="serve")
        for count in (2, 1, 2):
            master.spawn(node, what, WlcUser=count)
            assert master.until("spawning_complete").data == users(WlcUser=count)
            # Worker 1 has the second stretch of addresses.
            while [refuses(address) for address in addresses] != [False, count < 2]:
                master.until("heartbeat")
        said = master.until("stats", where=lambda s: "loadgen" in s.data)
        assert report_of(said).active == 0


def test_an_older_spawn_message_changes_nothing(master: ScriptedMaster, tmp_path: Path) -> None:
    with worker(master.port):
        node = master.welcome()
        what = orders(tmp_path, 3)
        master.spawn(node, what, WlcUser=2)
        master.until("spawning_complete")
        old = {"timestamp": 1.0, "user_classes_count": {"WlcUser": 3}, "parsed_options": {"loadgen": what}}
        master.say(node, "spawn", old)
        master.spawn(node, what, WlcUser=1)
        assert master.until("spawning_complete").data == users(WlcUser=1)


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"timestamp": "soon", "user_classes_count": {}, "parsed_options": {}},
        {"timestamp": 9e18, "user_classes_count": {"WlcUser": -1}, "parsed_options": {}},
        {"timestamp": 9e18, "user_classes_count": {"WlcUser": 1}, "parsed_options": {}},
        {"timestamp": 9e18, "user_classes_count": {"WlcUser": 1}, "parsed_options": {"loadgen": {"run": 7}}},
        {"timestamp": 9e18, "user_classes_count": {"HttpUser": 1}, "parsed_options": {"loadgen": None}},
    ],
    ids=["nothing", "list", "empty", "no time", "fewer than none", "no orders", "wrong orders", "another class"],
)
def test_a_spawn_message_that_it_cannot_follow_is_told(master: ScriptedMaster, data: object) -> None:
    with worker(master.port) as ours:
        node = master.welcome()
        master.say(node, "spawn", data)
        said = master.until("exception")
        assert "cannot follow" in said.data["msg"]
        assert master.until("heartbeat").data["state"] == "ready"
        assert ours.children() == []


def test_orders_that_make_no_run_end_this_worker(master: ScriptedMaster, tmp_path: Path) -> None:
    what = orders(tmp_path, 1)
    what["scenario"]["wlc"]["stations"] = 0
    with worker(master.port) as ours:
        node = master.welcome()
        master.spawn(node, what, WlcUser=1)
        assert "wlc.stations" in master.until("exception").data["msg"]
        master.until("quit")
        code, stderr = ours.end()
    assert code == ExitCode.BAD_INPUT
    assert "wlc.stations: expected" in stderr
    assert "Traceback" not in stderr


def test_what_is_no_message_does_no_harm(master: ScriptedMaster) -> None:
    with worker(master.port) as ours:
        node = master.welcome()
        for data in (b"", b"\xc1", b"\x93", msgpack.packb(7), msgpack.packb(["x"]), msgpack.packb({"a": 1}), bytes(99)):
            master.say_bytes(node, data)
        master.say(node, "unheard of", {"x": 1})
        master.say(node, "ack", "again")
        master.say(node, "stop")
        master.until("client_stopped")
        assert ours.process.poll() is None
        master.say(node, "quit")
        master.until("quit")
        assert ours.end()[0] == ExitCode.PASSED


def test_no_master(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with worker(port, "--patience", "1s") as ours:
        code, stderr = ours.end()
    assert code == ExitCode.UNREACHABLE
    assert f"no Locust master answered at 127.0.0.1:{port} for 1 s" in stderr


def test_a_master_that_falls_silent_ends_the_load_and_is_looked_for_again(
    master: ScriptedMaster, tmp_path: Path
) -> None:
    with worker(master.port, "--silence", "2s") as ours:
        node = master.welcome()
        master.spawn(node, orders(tmp_path, 2), WlcUser=2)
        master.until("spawning_complete")
        pids = ours.children()
        master.deaf = True
        assert master.until("client_ready").node == node
        wait_until_gone(pids)
        # It heals.
        master.deaf = False
        master.say(node, "ack", {"index": 0})
        master.spawn(node, orders(tmp_path, 1), WlcUser=1)
        assert master.until("spawning_complete").data == users(WlcUser=1)


def test_a_master_that_restarts_gets_its_workers_back(master: ScriptedMaster, tmp_path: Path) -> None:
    with worker(master.port, "--silence", "2s"):
        node = master.welcome()
        master.spawn(node, orders(tmp_path, 2), WlcUser=2)
        master.until("spawning_complete")
        master.close()
        second = ScriptedMaster(master.port)
        try:
            assert second.welcome() == node
            second.spawn(node, orders(tmp_path, 1), WlcUser=1)
            second.until("spawning_complete", where=lambda said: said.data == users(WlcUser=1))
        finally:
            second.close()


def test_it_comes_back_when_it_is_told_to(master: ScriptedMaster) -> None:
    with worker(master.port):
        node = master.welcome()
        master.say(node, "reconnect")
        assert master.welcome() == node


def test_an_engine_process_that_dies_ends_this_worker_and_is_told(master: ScriptedMaster, tmp_path: Path) -> None:
    with worker(master.port) as ours:
        node = master.welcome()
        master.spawn(node, orders(tmp_path, 2), WlcUser=2)
        master.until("spawning_complete")
        pids = ours.children()
        os.kill(pids[1], signal.SIGKILL)
        said = master.until("exception")
        assert f"worker mse-0 (pid {pids[1]}) died: killed by signal 9" in said.data["msg"]
        last = master.until("stats", where=lambda s: report_of(s).ending is not None)
        ending = report_of(last).ending
        assert ending is not None
        assert not ending.complete
        assert "killed by signal 9" in ending.deaths[0]
        master.until("quit")
        code, _ = ours.end()
        wait_until_gone(pids)
    assert code == ExitCode.WORKER_DIED


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_interrupted_it_hands_in_what_it_has(master: ScriptedMaster, tmp_path: Path, number: int) -> None:
    with worker(master.port) as ours:
        node = master.welcome()
        master.spawn(node, orders(tmp_path, 2), WlcUser=2)
        master.until("spawning_complete")
        pids = ours.children()
        ours.process.send_signal(number)
        master.until("stats", where=lambda s: report_of(s).ending is not None)
        master.until("quit")
        code, _ = ours.end()
        wait_until_gone(pids)
    assert code == ExitCode.INTERRUPTED


def test_killed_it_leaves_no_process_behind(master: ScriptedMaster, tmp_path: Path) -> None:
    with worker(master.port) as ours:
        node = master.welcome()
        master.spawn(node, orders(tmp_path, 2), WlcUser=2)
        master.until("spawning_complete")
        pids = ours.children()
        assert len(pids) == 2
        ours.process.kill()
        wait_until_gone(pids)


def test_a_local_worker_ends_with_whoever_started_it(master: ScriptedMaster, tmp_path: Path) -> None:
    with worker(master.port, "--local", stdin=subprocess.PIPE) as ours:
        node = master.welcome()
        master.spawn(node, orders(tmp_path, 2), WlcUser=2)
        master.until("spawning_complete")
        pids = ours.children()
        assert ours.process.stdin is not None
        ours.process.stdin.close()
        ours.process.stdin = None
        master.until("quit")
        code, _ = ours.end()
        wait_until_gone(pids)
    assert code == ExitCode.PASSED


def test_together_with_gevent_it_is_refused() -> None:
    code = "import sys, types; sys.modules['gevent'] = types.ModuleType('gevent'); import loadgen.distributed.node.node"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPO)
    assert done.returncode == 1
    assert "ImportError: loadgen.distributed.node.node needs select.epoll, which gevent has removed" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--master-port", "0"), "0 is not in the range"),
        (("--patience", "soon"), "--patience: expected a duration"),
        (("--silence", "0s"), "--silence: expected a duration"),
        (("--files", "/no/such/folder"), "does not exist"),
        (("--listen", "here"), '--listen: expected an IP address and a port such as "192.0.2.1:16113", found "here"'),
    ],
)
def test_bad_options_are_refused(options: tuple[str, ...], message: str) -> None:
    with worker(1, *options) as ours:
        code, stderr = ours.end()
    assert code == ExitCode.BAD_INPUT
    assert message in stderr
    assert "Traceback" not in stderr
