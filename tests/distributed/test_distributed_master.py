"""The Locust master's side, with Locust in a process of its own and workers that a test leads."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from distributed_samples import MS, health, histogram
from fake_worker import FakeWorker
from hdrh.histogram import HdrHistogram
from master_process import PATIENCE_S, REPO, Master, locust, wait_gone
from ports import free_port

from loadgen.compare.metrics import not_counted
from loadgen.distributed.messages import Ending, NodeReport, WorkerInterval
from loadgen.errors import ExitCode
from loadgen.measure.histogram import PERCENTILES, Spread, samples_for
from loadgen.measure.hlog import read_hlog_untrusted
from loadgen.measure.recorder import Interval
from loadgen.results.document import read_document_untrusted
from loadgen.results.health import MachineHealth
from loadgen.results.result import Limit, RunResult

# Enough of them for a p99.
VALUES = {"one": [MS, 2 * MS, 3 * MS, 40 * MS, 5 * MS] * 13, "two": [7 * MS, 800_000, 123_456_789, 9 * MS] * 13}
RECEIVED = sum(map(len, VALUES.values()))
SHAKEN = {"one": [4 * MS, 6 * MS], "two": [5 * MS, 90 * MS]}


class Reporter:
    """What a worker tells of a run that it has orders for."""

    def __init__(self, name: str, orders: dict[str, Any]) -> None:
        self.name = name
        self.orders = orders
        self.values, self.shaken = VALUES[name], SHAKEN[name]

    @property
    def _load_ns(self) -> int:
        return int(self.orders["epoch_unix_ns"]) + MS

    def counters(self) -> dict[str, int]:
        done = len(self.values)
        return {
            "sessions.attempted": 2,
            "sessions.established": 2,
            "sessions.closed": 2,
            "notify.due": done,
            "notify.sent": done,
            "notify.sent_bytes": 100 * done,
            "notify.received": done,
        }

    def interval(self, index: int = 1, process: str = "") -> WorkerInterval:
        tags = {f"hold/notify.{what}": self.values for what in ("latency", "service", "lag")}
        tags |= {"handshake.tls": self.shaken, "handshake.session": self.shaken}
        encoded = {tag: histogram(values).encode() for tag, values in tags.items()}
        return WorkerInterval(process or f"wlc-{self.name}", Interval(index, self.counters(), encoded), 0.5)

    def report(self, *parts: WorkerInterval, ending: Ending | None = None) -> bytes:
        hold_ns = self._load_ns + MS
        of = (health(f"wlc-{self.name}", due=10),)
        run = self.orders["run"]
        there = 8  # more than any test wants of one worker
        return msgspec.msgpack.encode(NodeReport(run, parts, 2, self._load_ns, hold_ns, of, ending, there, there))

    def ending(self) -> bytes:
        last = Ending((health(f"wlc-{self.name}", due=10),), MachineHealth(busy=0.5), (), True, 0.1, time.time_ns())
        return self.report(ending=last)


class Pair:
    """Two workers that have been told to start, and one report of each."""

    def __init__(self, port: int) -> None:
        self.reporters: dict[str, Reporter] = {}
        self.workers = {name: FakeWorker(port, name, self._ending(name)) for name in VALUES}

    def _ending(self, name: str) -> Callable[[], bytes]:
        return lambda: self.reporters[name].ending()

    def __enter__(self) -> Pair:
        for worker in self.workers.values():
            worker.__enter__()
            worker.wait("ack")
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers.values():
            worker.vanish()

    def start(self) -> None:
        for name, worker in self.workers.items():
            orders = worker.wait("spawn")["parsed_options"]["loadgen"]
            self.reporters[name] = Reporter(name, orders)
            worker.report(self.reporters[name].report(self.reporters[name].interval()))


def ranked(samples: dict[str, list[int]], percent: float) -> int:
    """The witness: all values in a row, and the end of the bucket of the one that so many do not exceed."""
    values = sorted(value for some in samples.values() for value in some)
    value = values[math.ceil(percent / 100 * len(values)) - 1]
    return int(HdrHistogram(1, 3600 * 10**9, 3).get_highest_equivalent_value(value))


def result_of(master: Master) -> RunResult:
    return read_document_untrusted(master.folder(), RunResult)


@pytest.fixture(autouse=True)
def hangups() -> Iterator[None]:
    """Whoever runs the tests may have had a reason to ignore SIGHUP; what is tested has none."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


# -- the command line --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        (["--notify-rate", "-3"], ["--notify-rate: expected notifications per second, more than 0, found -3"]),
        (["--target", "wlc=1"], ["--target: expected an address and a port"]),
        (["--scenario", "nowhere.toml"], ["nowhere.toml: expected a scenario"]),
        (["--target", "serve", "MseUser"], ["--target serve: expected users of class WlcUser, found MseUser"]),
        (["--stations", "x", "--notify-rate", "y"], ["wlc.stations: expected int", "--notify-rate: expected"]),
        (["-u", "999999999"], ["users: expected at most 250,000, found 999,999,999"]),
    ],
)
def test_wrong_arguments_end_it_before_anything_begins(options: list[str], messages: list[str], tmp_path: Path) -> None:
    done = locust("--headless", "--results", str(tmp_path / "r"), "--master-bind-port", str(free_port()), *options)
    assert done.returncode == 2
    for message in messages:
        assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "worker" not in done.stderr.replace("workers", "")
    assert not (tmp_path / "r").exists()


def test_a_results_folder_that_cannot_be_ends_it_too(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    results = tmp_path / "file" / "results"
    done = locust("--headless", "--results", str(results), "--master-bind-port", str(free_port()))
    assert done.returncode == 2
    assert f"loadgen: --results {results}: expected a folder, found {tmp_path / 'file'} is a file" in done.stderr


@pytest.mark.parametrize(
    ("options", "env"),
    [(["--worker"], {}), (["--processes", "2"], {}), ([], {"LOCUST_MODE_WORKER": "true"})],
    ids=["worker", "processes", "environment"],
)
def test_workers_of_locusts_own_are_refused_with_what_to_use_instead(options: list[str], env: dict[str, str]) -> None:
    done = locust("--headless", *options, env=env)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "`loadgen locust-worker`" in done.stderr


@pytest.mark.parametrize("text", ["-1", "two", "1.5"])
def test_a_number_of_local_workers_that_is_none_is_refused(text: str) -> None:
    done = locust("--headless", f"--local-workers={text}")
    assert done.returncode == 2
    assert "--local-workers: expected a number from 0 to 1024" in done.stderr


def test_importing_what_the_master_needs_brings_neither_trio_nor_openssl() -> None:
    code = (
        "import sys, runpy, loadgen.distributed.master.whole, loadgen.distributed.arguments\n"
        "assert not {'locust', 'gevent'} & set(sys.modules)\n"
        f"runpy.run_path({str(REPO / 'scenarios' / 'locustfile.py')!r})\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPO)
    loaded = set(done.stdout.split())
    assert {"loadgen", "locust", "gevent"} <= loaded
    assert not loaded & {"trio", "OpenSSL"}


def test_a_plain_start_has_a_worker_for_each_core_and_leaves_none_behind(tmp_path: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    with Master(tmp_path / "r") as master:
        assert f"{cores} local worker(s) started" in master.hear("local worker(s) started")
        master.hear(f"reported as ready. {cores} workers connected")
        children = master.children()
        assert len(children) == cores
        assert master.end() == 0
    wait_gone(children)
    assert not (tmp_path / "r").exists()


def test_workers_end_with_a_master_that_was_killed(tmp_path: Path) -> None:
    with Master(tmp_path / "r", "--local-workers", "1") as master:
        master.hear("reported as ready. 1 workers connected")
        children = master.children()
        assert len(children) == 1
        master.end(signal.SIGKILL)
        wait_gone(children)


@pytest.mark.parametrize("options", [["--master"], ["--expect-workers", "2"], ["--local-workers", "0"]])
def test_whoever_has_workers_elsewhere_gets_none_here(options: list[str], tmp_path: Path) -> None:
    with Master(tmp_path / "r", *options) as master, FakeWorker(master.port, "from-elsewhere"):
        master.hear("from-elsewhere (index 0) reported as ready. 1 workers connected")
        assert master.children() == []
        assert not [line for line in master.lines if "local worker" in line]
        assert master.end() == 0


def test_a_local_worker_that_dies_is_told_and_a_run_without_any_is_not_waited_for(tmp_path: Path) -> None:
    with Master(tmp_path / "r", "--local-workers", "1", "--expect-workers", "2", headless=True) as master:
        master.hear("reported as ready. 1 workers connected")
        (child,) = master.children()
        os.kill(child, signal.SIGKILL)
        master.hear(f"local worker 0 (pid {child}) has ended with exit code -9")
        master.hear("no local worker is left")
        assert master.process.wait(60) == 1


# -- runs --------------------------------------------------------------------------------------------------------------


def test_a_runs_folder_has_what_both_workers_reported_and_nothing_else(tmp_path: Path) -> None:
    options = ("--expect-workers", "2", "-u", "4", "-r", "4")
    with Master(tmp_path / "r", *options, headless=True) as master, Pair(master.port) as pair:
        pair.start()
        orders = pair.reporters["one"].orders
        assert orders == pair.reporters["two"].orders
        assert (orders["users"], orders["workers"], orders["target"]) == (4, 2, "built-in")
        assert abs(orders["epoch_unix_ns"] - time.time_ns()) < 60 * 10**9
        assert {user for worker in pair.workers.values() for user in worker.users} == {"WlcUser"}
        assert sum(worker.users["WlcUser"] for worker in pair.workers.values()) == 4
        assert master.end(signal.SIGHUP) == 0  # as Ctrl-C
        for worker in pair.workers.values():
            worker.wait("loadgen_finish")
            worker.wait("quit")
    result = result_of(master)
    assert {path.name for path in master.folder().iterdir()} == {
        *("result.json", "report.html", "histograms.hlog", "plan.json")
    }
    for metric, samples in (("notify.latency", VALUES), ("notify.service", VALUES), ("handshake.tls", SHAKEN)):
        found = result.metrics[metric]
        assert found.count == sum(map(len, samples.values()))
        assert found.max == ranked(samples, 100)
        for name, percent in PERCENTILES.items():
            known = found.count >= samples_for(name)
            assert getattr(found, name) == (ranked(samples, percent) if known else None), (metric, name)
    assert result.counters["notify.received"] == RECEIVED
    assert result.counters["sessions.established"] == 4
    assert [worker.worker for worker in result.workers] == ["wlc-one", "wlc-two"]
    assert result.verdict.outcome == "passed"
    assert json.loads((master.folder() / "plan.json").read_text("utf-8"))["scenario"] == result.scenario == "locust"
    log = "".join(master.lines)
    assert "generator VALID, passed" in log
    assert f"results in {master.folder()}" in log


def test_killed_it_leaves_all_that_was_whole(tmp_path: Path) -> None:
    options = ("--expect-workers", "2", "-u", "2", "-r", "2")
    with Master(tmp_path / "r", *options, headless=True) as master, Pair(master.port) as pair:
        pair.start()
        deadline = time.monotonic() + PATIENCE_S
        # From the beginning there is a result; what both workers have handed in comes to it.
        while (result := result_of(master)).counters.get("notify.received") != RECEIVED:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        master.process.kill()
        master.process.wait(PATIENCE_S)
    assert result.unfinished
    assert result.verdict.outcome == "unfinished"
    # Nothing is said of what limited it, or what it cost, as long as workers have not told.
    assert (result.verdict.limited_by, result.costs) == (Limit.INTERRUPTION, {})
    assert "had not ended" in result.verdict.limit_reason
    assert "had not ended" in (not_counted(result) or "")
    assert result.metrics["notify.latency"].count == RECEIVED
    curves = read_hlog_untrusted(master.folder() / "histograms.hlog", unfinished=True)
    assert curves["hold/notify.latency"].count == RECEIVED


def test_a_worker_that_vanishes_is_told_in_the_result(tmp_path: Path) -> None:
    options = ("--expect-workers", "2", "-u", "2", "-r", "2")
    with Master(tmp_path / "r", *options, headless=True) as master, Pair(master.port) as pair:
        pair.start()
        pair.workers["two"].vanish()
        master.hear("Worker two failed to send heartbeat")
        assert master.end() == ExitCode.WORKER_DIED
    result = result_of(master)
    assert "Locust worker two (index 1): was not heard of any more" in result.verdict.reasons
    assert result.verdict.outcome == "a worker process died"
    assert result.metrics["notify.latency"].count == RECEIVED  # what it had reported is kept


def test_a_worker_that_is_gone_before_it_has_said_a_word_is_told(tmp_path: Path) -> None:
    """Its users were never there: the run has not passed, and does not go on for them who are not there."""
    options = ("--expect-workers", "2", "-u", "2", "-r", "2")
    with (
        Master(tmp_path / "r", *options, headless=True) as master,
        FakeWorker(master.port, "mute", dies_of="spawn"),
        FakeWorker(master.port, "one", lambda: reporter.ending()) as one,
    ):
        orders = one.wait("spawn")["parsed_options"]["loadgen"]
        reporter = Reporter("one", orders)
        one.report(reporter.report(reporter.interval()))
        master.hear("Worker mute failed to send heartbeat")
        assert master.end(signal.SIGINT) == ExitCode.WORKER_DIED
    verdict = result_of(master).verdict
    assert verdict.exit_code == ExitCode.WORKER_DIED
    assert [reason for reason in verdict.reasons if "Locust worker mute (index" in reason]


def test_when_the_last_worker_is_gone_a_headless_run_is_over(tmp_path: Path) -> None:
    with (
        Master(tmp_path / "r", "--expect-workers", "1", "-u", "1", "-r", "1", headless=True) as master,
        FakeWorker(master.port, "mute", dies_of="spawn"),
    ):
        assert master.process.wait(60) == ExitCode.WORKER_DIED


def test_what_is_no_report_is_left_out_and_told_once(tmp_path: Path) -> None:
    options = ("--expect-workers", "2", "-u", "2", "-r", "2")
    with Master(tmp_path / "r", *options, headless=True) as master, Pair(master.port) as pair:
        pair.start()
        for bad in (b"\x00", "text", {"run": 1}, b"\xff" * 100):
            pair.workers["one"].report(bad)
        master.hear("worker one sends reports that are none")
        assert master.end() == 0
    assert "".join(master.lines).count("reports that are none") == 1
    assert result_of(master).metrics["notify.latency"].count == RECEIVED


def test_an_invalid_run_is_told_as_an_error_first(tmp_path: Path) -> None:
    options = ("--expect-workers", "2", "-u", "2", "-r", "2")
    with Master(tmp_path / "r", *options, headless=True) as master, Pair(master.port) as pair:
        pair.start()
        late = msgspec.structs.replace(health("wlc-one", due=10), lag=Spread(100, p99=500 * MS))
        reporter = pair.reporters["one"]
        reporter.ending = lambda: reporter.report(  # type: ignore[method-assign]
            ending=Ending((late,), MachineHealth(), (), True, 0.1, time.time_ns())
        )
        assert master.end() == ExitCode.GENERATOR_SATURATED
    told = [line for line in master.lines if "loadgen.master" in line]
    index = next(i for i, line in enumerate(told) if "ERROR/loadgen.master: generator INVALID" in line)
    assert "wlc-one sent late" in told[index]
    assert "results in" in told[index + 1]


def test_a_disk_that_fails_costs_the_folder_and_one_line(tmp_path: Path) -> None:
    options = ("--expect-workers", "2", "-u", "2", "-r", "2")
    with Master(tmp_path / "r", *options, headless=True) as master, Pair(master.port) as pair:
        pair.start()
        (master.folder() / "report.html").mkdir()
        assert master.end() == 0
    log = "".join(master.lines)
    assert log.count("the result could not be written") == 1
    assert "Traceback" not in log
