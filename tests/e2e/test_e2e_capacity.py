"""`loadgen capacity` from outside: planted limits in a short form, and searches that do not come to their end.

The counterparts share no code with loadgen. Every search here is short; benchmarks/calibration has the exact ones.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from e2e_loadgen import PATIENCE_S, REPO, Ended, Run, Running, Start, eventually, side_by_side
from ports import free_port

from loadgen.capacity.result import Step

SEARCH = """
[capacity]
warmup = "200ms"
hold = "1s"
confirm = "2s"
cooldown = "50ms"
# A step of the search is half a doubling: what it tries is never so near the planted limit that chance decides.
resolution = 0.55
"""
AT_TARGET = (
    """
name = "limits"
[tls]
trust = "any"
[mse]
connect_per_s = 1000
[load]
rate = 10
"""
    + SEARCH
)
SERVING = (
    """
name = "limits"
[wlc]
count = 1
listen = "127.77.7.1:{port}"
authenticate = false
[load]
rate = 100
# So long an MSE has to come.
stages = [{{ hold = "{wait}" }}]
"""
    + SEARCH
)


class Counterpart:
    """A planted program that is ready; its output is in a file, so that it never waits for us."""

    def __init__(self, words: Sequence[str], output: Path) -> None:
        self._output = output
        with output.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *words], cwd=REPO, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        self.address = str(eventually(self._ready, "line `ready`")).removeprefix("ready ")

    def _ready(self) -> str | None:
        lines = self._output.read_text("utf-8").splitlines()
        assert lines or self.process.poll() is None
        return next((line for line in lines if line.startswith("ready ")), None)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)


@contextmanager
def wlc(folder: Path, *planted: str) -> Iterator[Counterpart]:
    made = Counterpart(["benchmarks.counterparts.wlc", *planted], folder / "wlc.out")
    try:
        yield made
    finally:
        made.stop()


@contextmanager
def mse(folder: Path, address: str, *planted: str) -> Iterator[Counterpart]:
    words = ["benchmarks.counterparts.mse", "--wlc", address, "--receive-buffer", "8192", *planted]
    made = Counterpart(words, folder / "mse.out")
    try:
        yield made
    finally:
        made.stop()


def scenario(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "limits.toml"
    path.write_text(text, "utf-8")
    return path


def capacity(start: Start, path: Path, *words: object) -> Running:
    results = path.parent / "results"
    return start("capacity", path, "--workers", "1", "--results", results, *words, results=results)


def serving(start: Start, folder: Path, *words: object, wait: str = "1m") -> tuple[Running, str]:
    """A search of ours that waits for an MSE, and where."""
    port = free_port("127.77.7.1")
    path = scenario(folder, SERVING.format(port=port, wait=wait))
    running = capacity(start, path, "--serve", "wlc", "--dimension", "notify.per_s", *words)
    running.wait_for_line("ready: ")
    return running, f"127.77.7.1:{port}"


def only(ended: Ended) -> dict[str, Any]:
    """The one dimension of a result; its files must be there."""
    result = ended.result
    assert result["document"] == "capacity"
    assert "report.html" in [path.name for path in ended.folder.iterdir()]
    page = (ended.folder / "report.html").read_text("utf-8")
    (dimension,) = result["dimensions"]
    assert dimension["dimension"] in page
    assert result["exit_code"] == ended.code
    assert "Traceback" not in ended.stderr
    found: dict[str, Any] = dimension
    return found


# Five searches at one time, on a machine that may be busy: a load that was disturbed is tried again.
SEARCH_S = 400.0

# -- planted limits ----------------------------------------------------------------------------------------------------


def handshakes(start: Start, folder: Path) -> Ended:
    path = scenario(folder, AT_TARGET)
    with wlc(folder, "--max-handshakes-per-s", "200") as target:
        # A machine that stands still disturbs this one most: longer holds, and steps to come back by.
        words = ("--dimension", "handshake.per_s", "--start", "80", "--max", "700", "--hold", "2s")
        words += ("--set", "capacity.resolution=0.3")
        return capacity(start, path, "--target", f"wlc={target.address}", *words).end(SEARCH_S)


def sessions(start: Start, folder: Path) -> Ended:
    path = scenario(folder, AT_TARGET)
    with wlc(folder, "--max-sessions", "300") as target:
        words = ("--dimension", "sessions", "--start", "220", "--max", "700", "--hold", "200ms", "--confirm", "400ms")
        return capacity(start, path, "--target", f"wlc={target.address}", *words).end(SEARCH_S)


def notifications(start: Start, folder: Path) -> Ended:
    words = ("--start", "2300", "--max", "20000")
    running, address = serving(start, folder, *words)
    with mse(folder, address, "--max-notifications-per-s", "5000"):
        return running.end(SEARCH_S)


LIMITS: dict[str, tuple[Callable[[Start, Path], Ended], float, str]] = {
    "handshake.per_s": (handshakes, 200, "handshakes/s achieved"),
    "notify.per_s": (notifications, 5000, "notifications/s achieved"),
    "sessions": (sessions, 300, "sessions.failed: "),
}


@pytest.fixture(scope="module")
def searched(start_shared: Start, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """The three searches, and two that end otherwise; they mostly wait, and do so at one time."""
    folder = tmp_path_factory.mktemp("limits")

    searches = {name: search for name, (search, _, _) in LIMITS.items()} | {"dies": mse_dies, "holds": maximum_holds}
    for name in searches:
        (folder / name).mkdir()
    return side_by_side({name: partial(search, start_shared, folder / name) for name, search in searches.items()}, 5)


@pytest.mark.serial
@pytest.mark.parametrize("name", LIMITS)
def test_a_planted_limit_is_found(searched: dict[str, Ended], name: str) -> None:
    ended, (_, planted, broke) = searched[name], LIMITS[name]
    ended.check_passed()
    found = only(ended)
    # On a machine that has no time for it the generator is late, and takes the blame; the limit is the same.
    assert found["outcome"] == ("limit found" if ended.code == 0 else "generator-limited"), ended.stderr
    # How near it comes is for `make calibrate CASE=limits`: with holds of a second, a machine that stands still for
    # some of it costs some of the limit. More than the target can do it cannot be.
    assert planted / 2 <= found["limit"] <= planted * 1.1, ended.stderr
    assert found["limit"] < found["above"]
    if ended.code == 0:
        # Of tries that scatter, all together show a backlog, and one may have done all that was due.
        assert any(what in found["broke"][0] for what in (broke, "a growing backlog"))
    confirmed = [probe["offered"] for probe in found["probes"] if probe["step"] == "confirm" and probe["passed"]]
    assert confirmed[-1] == found["limit"]
    starts = [probe["start_s"] for probe in found["probes"]]
    assert starts == sorted(starts)
    assert found["outcome"].upper() in ended.stdout
    assert str(ended.folder) in ended.stdout.replace("\n", "")


@pytest.mark.serial
@pytest.mark.parametrize("name", LIMITS)
def test_every_load_is_in_the_log_and_in_the_histograms(searched: dict[str, Ended], name: str) -> None:
    ended = searched[name]
    probes = only(ended)["probes"]
    lines = [line for line in ended.stderr.splitlines() if line.startswith(tuple(Step))]
    assert len(lines) == len(probes)
    logs = sorted(ended.folder.glob(f"{name}*.hlog"))
    assert len(logs) == (len(probes) if name == "sessions" else 1)
    assert all(log.read_text("ascii").startswith("#") for log in logs)


@pytest.mark.serial
def test_the_report_can_be_made_again(searched: dict[str, Ended], run: Run, tmp_path: Path) -> None:
    for name in LIMITS:
        ended = searched[name]
        done = run("report", ended.folder, "--out", tmp_path / "again.html")
        assert done.code == 0, done.stderr
        assert (tmp_path / "again.html").read_text("utf-8") == (ended.folder / "report.html").read_text("utf-8")


# -- searches that end otherwise ---------------------------------------------------------------------------------------


@pytest.mark.serial
def test_a_maximum_that_holds(searched: dict[str, Ended]) -> None:
    ended = searched["holds"]
    ended.check_passed()
    found = only(ended)
    if ended.code == 0:
        assert (found["outcome"], found["limit"], found["above"]) == ("not reached", 30, None)
        assert "raise --max" in found["advice"]
    else:  # this machine had no time for 30 handshakes a second
        assert found["outcome"] == "generator-limited"
        assert found["limit"] < 30
    assert json.loads(ended.stdout) == ended.result


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("dimension", ["handshake.per_s", "sessions"])
def test_interrupted_in_mid_search(start: Start, tmp_path: Path, dimension: str, number: int) -> None:
    path = scenario(tmp_path, AT_TARGET)
    with wlc(tmp_path) as target:
        words = ("--dimension", dimension, "--start", "10", "--hold", "300ms")
        running = capacity(start, path, "--target", f"wlc={target.address}", *words)
        running.wait_for_line("held")
        running.signal(number)
        ended = running.end()
    assert ended.code == 130, ended.stderr
    found = only(ended)
    assert (found["outcome"], found["advice"], found["limit"]) == ("inconclusive", "interrupted", None)
    assert any(probe["passed"] for probe in found["probes"])


@pytest.mark.parametrize("dimension", ["handshake.per_s", "sessions"])
def test_interrupted_while_the_target_rests(start: Start, tmp_path: Path, dimension: str) -> None:
    path = scenario(tmp_path, AT_TARGET)
    with wlc(tmp_path) as target:
        words = ("--dimension", dimension, "--start", "10", "--hold", "300ms", "--set", 'capacity.cooldown="10h"')
        running = capacity(start, path, "--target", f"wlc={target.address}", *words)
        running.wait_for_line(Step.BRACKET)  # held or not: on a busy machine it may say nothing
        running.signal(signal.SIGINT)
        ended = running.end()
    assert ended.code == 130, ended.stderr
    assert len(only(ended)["probes"]) == 1


@pytest.mark.parametrize("dimension", ["handshake.per_s", "sessions"])
def test_a_target_that_dies_in_mid_search(start: Start, tmp_path: Path, dimension: str) -> None:
    path = scenario(tmp_path, AT_TARGET)
    with wlc(tmp_path) as target:
        words = ("--dimension", dimension, "--start", "20", "--hold", "300ms")
        running = capacity(start, path, "--target", f"wlc={target.address}", *words)
        running.wait_for_line("held")
        target.stop()
        ended = running.end()
    assert ended.code == 3, ended.stderr
    found = only(ended)
    assert found["outcome"] == "inconclusive"
    what = "no session came up" if dimension == "sessions" else "no handshake completed"
    assert found["advice"].startswith(f"{what} any more: ")
    # The one that held before; on a busy machine it may not be the first.
    assert any(probe["passed"] for probe in found["probes"])
    assert len(found["probes"]) <= 6


def maximum_holds(start: Start, folder: Path) -> Ended:
    path = scenario(folder, AT_TARGET)
    with wlc(folder) as target:
        words = ("--dimension", "handshake.per_s", "--start", "20", "--max", "30", "--confirm", "500ms", "--json")
        return capacity(start, path, "--target", f"wlc={target.address}", *words).end(SEARCH_S)


def mse_dies(start: Start, folder: Path) -> Ended:
    # It waits in vain for another one to come, as long as a run of the scenario lasts.
    running, address = serving(start, folder, "--hold", "300ms", wait="12s")
    with mse(folder, address) as target:
        running.wait_for_line("held")
        target.stop()
        return running.end(SEARCH_S)


@pytest.mark.serial
def test_an_mse_that_dies_in_mid_search(searched: dict[str, Ended]) -> None:
    ended = searched["dies"]
    assert ended.code == 3, ended.stderr
    found = only(ended)
    assert found["outcome"] == "inconclusive"
    assert found["advice"].startswith("no session came up any more: 1 did; ")
    assert "sessions.lost: 1" in found["advice"]  # what ended it
    # One break is no evidence of a limit yet.
    assert [each for probe in found["probes"] for each in probe["broke"] if each.startswith("sessions.lost: 1")]


def test_no_mse_comes(start: Start, tmp_path: Path) -> None:
    running, _ = serving(start, tmp_path, "--hold", "300ms", "--wait-for-target", "500ms")
    ended = running.end()
    assert ended.code == 3, ended.stderr
    found = only(ended)
    assert (found["outcome"], found["advice"], found["probes"]) == ("inconclusive", "no session came up", [])


@pytest.mark.parametrize("dimension", ["handshake.per_s", "sessions"])
def test_a_target_that_cannot_be_reached(start: Start, tmp_path: Path, dimension: str) -> None:
    path = scenario(tmp_path, AT_TARGET)
    target = f"wlc=127.77.7.2:{free_port('127.77.7.2')}"
    ended = capacity(start, path, "--target", target, "--dimension", dimension, "--start", "10").end()
    assert ended.code == 3, ended.stderr
    found = only(ended)
    assert found["outcome"] == "inconclusive"
    assert len(found["probes"]) <= 1


def test_results_that_cannot_be_written(start: Start, tmp_path: Path) -> None:
    path = scenario(tmp_path, AT_TARGET)
    (tmp_path / "results").write_text("in the way", "utf-8")
    with wlc(tmp_path) as target:
        words = ("--target", f"wlc={target.address}", "--dimension", "handshake.per_s")
        ended = capacity(start, path, *words).end()
    assert ended.code == 2
    assert "--results" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert (tmp_path / "results").read_text("utf-8") == "in the way"


def test_a_port_in_use(start: Start, tmp_path: Path) -> None:
    running, address = serving(start, tmp_path / "first")
    path = scenario(tmp_path, SERVING.format(port=address.rpartition(":")[2], wait="1m"))
    ended = capacity(start, path, "--serve", "wlc").end()
    assert ended.code == 2
    assert f"to listen on {address}" in ended.stderr
    assert ended.folders == []
    running.signal(signal.SIGINT)
    assert running.end().code == 130
