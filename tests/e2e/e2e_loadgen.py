"""`loadgen` as a user runs it: its own process, its output, its files. Nothing here waits for a fixed time."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import prepared
from ports import is_listening

from benchmarks.descendants import worker_pids
from loadgen.measure.books import imbalances

T = TypeVar("T")

REPO = Path(__file__).parents[2]
QUICK = REPO / "scenarios" / "quick.toml"
THOUSAND = REPO / "scenarios" / "thousand-wlcs.toml"
LOADGEN = (sys.executable, "-m", "loadgen")
# What is due is sent, however busy the machine is, and not given up: for tests that count to the last one.
PATIENT = ("--set", "load.backlog=60s")
# Only ever reached by a test that has failed: what is waited for is an event.
PATIENCE_S = 90.0
_POLL_S = 0.01

# A scenario that takes as little time as one can; a test adds what it is about by `--set`.
SMALL = """
name = "small"
[wlc]
count = 4
listen = "127.77.2.1:0"
step = "port"
stations = 5
[mse]
count = 2
[load]
rate = 200
backlog = "60s"
stages = [{ hold = "500ms" }]
"""


def eventually(condition: Callable[[], Any], what: str = "the condition") -> Any:
    """Wait until it holds, and return what it returned."""
    end = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(_POLL_S)
    return value


class Ended(NamedTuple):
    """A finished `loadgen`."""

    code: int
    stdout: str
    stderr: str
    results: Path

    @property
    def folders(self) -> list[Path]:
        return sorted(self.results.iterdir()) if self.results.is_dir() else []

    @property
    def folder(self) -> Path:
        assert len(self.folders) == 1, f"{self.folders}\n{self.stderr}"
        return self.folders[0]

    @property
    def result(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.folder / "result.json").read_text("utf-8"))
        return value

    @property
    def counters(self) -> dict[str, int]:
        value: dict[str, int] = self.result["counters"]
        return value

    @property
    def errors(self) -> dict[str, int]:
        """The counters of faults that are not 0."""
        return {name: count for name, count in self.counters.items() if name.startswith("errors.") and count}

    def check_books(self) -> None:
        """Whatever happened to it: every session and every notification is in one counter, unless it was killed."""
        for path in self.results.glob("*/result.json"):
            result = json.loads(path.read_text("utf-8"))
            assert result.get("unfinished") or imbalances(result.get("counters", {})) == [], path

    def check_refused(self, *parts: str) -> None:
        """Bad input: exit 2, one message with these parts, no traceback, nothing written."""
        assert self.code == 2, self.stderr
        assert "Traceback" not in self.stderr
        assert self.stdout == ""
        for part in parts:
            assert part.lower() in self.stderr.lower(), self.stderr
        assert self.folders == []

    def check_fell_short(self) -> None:
        """It measured; but not all of the plan's sessions were there, and it says so."""
        assert self.code in (4, 5), self.stderr + self.stdout
        assert "Traceback" not in self.stderr
        verdict = self.result["verdict"]
        assert any(reason.startswith("sessions were missing for ") for reason in verdict["reasons"]), verdict
        assert "everything" not in verdict["limit_reason"]

    def check_passed(self) -> None:
        """It did what it should. Exit 4 only says that this machine had no time for it (sent late, but sent)."""
        assert self.code in (0, 4), self.stderr + self.stdout
        assert "Traceback" not in self.stderr


class Running:
    """A `loadgen` that was started. Its output goes into files, so that it never waits for us."""

    def __init__(
        self, arguments: Sequence[str], results: Path, output: Path, command: Sequence[str] = (), **options: Any
    ) -> None:
        """Args:
        output: where its output goes, without the `.stdout` and `.stderr` at the end.
        command: how it is started; prepared if empty.
        """
        self.results = results
        self._out, self._err = output.with_suffix(".stdout"), output.with_suffix(".stderr")
        with self._out.open("wb") as out, self._err.open("wb") as err:
            streams = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": err, **options}
            self.process: subprocess.Popen[bytes] | prepared.Process
            if command:
                self.process = subprocess.Popen([*command, *arguments], **streams)
            else:
                self.process = prepared.loadgen().start(arguments, **streams)
        self.pid = self.process.pid

    @property
    def stdout(self) -> str:
        return self._out.read_text("utf-8")

    @property
    def stderr(self) -> str:
        return self._err.read_text("utf-8")

    def wait_for_workers(self, count: int) -> list[int]:
        def there() -> list[int] | None:
            assert self.process.poll() is None, self.stderr
            pids = worker_pids(self.pid)
            return pids if len(pids) >= count else None

        pids: list[int] = eventually(there, f"{count} workers")
        return pids

    def wait_for_line(self, text: str) -> str:
        """A line of progress that contains the text."""

        def there() -> str | None:
            ended = self.process.poll() is not None
            line = next((line for line in self.stderr.splitlines() if text in line), None)
            assert line is not None or not ended, f"ended without {text!r}: {self.stderr}"
            return line

        line: str = eventually(there, repr(text))
        return line

    def wait_for_listener(self, *addresses: tuple[str, int]) -> None:
        """Until it accepts connections there; looked up, not tried, so that it never sees us."""

        def there() -> bool:
            assert self.process.poll() is None, self.stderr
            return all(is_listening(address) for address in addresses)

        eventually(there, f"listeners at {addresses}")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self, patience_s: float = PATIENCE_S) -> Ended:
        """Wait until it has ended by itself."""
        code = self.process.wait(patience_s)
        ended = Ended(code, self.stdout, self.stderr, self.results)
        ended.check_books()
        return ended

    def stop(self) -> None:
        """Whatever is left of it goes."""
        if self.process.poll() is None:
            pids = worker_pids(self.pid)
            self.process.kill()
            self.process.wait(PATIENCE_S)
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def process_is_gone(pid: int) -> bool:
    """No such process, or only its exit code is left."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


Start = Callable[..., Running]
Run = Callable[..., Ended]


def make_start(base: Path, started: list[Running]) -> Start:
    numbers = itertools.count()

    def start(*arguments: object, results: Path | None = None, **options: Any) -> Running:
        number = next(numbers)
        folder = base / f"results-{number}" if results is None else results
        words = [str(argument) for argument in arguments]
        if words[:1] in (["run"], ["replay"], ["ab"], ["capacity"]) and "--raw" not in words:
            words += ["--results", str(folder)]
        running = Running(words, folder, base / f"output-{number}", **options)
        started.append(running)
        return running

    return start


def side_by_side(calls: dict[str, Callable[[], T]], at_once: int = 4) -> dict[str, T]:
    """Make runs that mostly wait at one time; what they returned, by name."""
    with ThreadPoolExecutor(at_once) as pool:
        return dict(zip(calls, pool.map(lambda call: call(), calls.values()), strict=True))


class Identities(NamedTuple):
    """Two MSE identities from `loadgen identity new`, and the configuration that lets both in."""

    pems: tuple[Path, ...]
    auth_list: Path


def new_identities(folder: Path, *arguments: str, count: int = 2) -> Identities:
    words = ["identity", "new", "--count", count, "--out", folder, *arguments]
    done = prepared.loadgen().run(words, PATIENCE_S)
    assert done.returncode == 0, done.stderr
    return Identities(tuple(sorted(folder.glob("*.pem"))), folder / "auth-list.ios-xe.txt")
