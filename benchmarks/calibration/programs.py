"""A counterpart and the real `loadgen run`, as processes that know nothing of each other but an address."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from hdrh.histogram import HdrHistogram

from benchmarks.descendants import worker_pids

ROOT = Path(__file__).parents[2]
T = TypeVar("T")
# Only reached by what has failed.
_PATIENCE_S = 120.0
_SEARCH_PATIENCE_S = 600.0
_POLL_S = 0.02
# 4: the generator was saturated, which the figures show; 5: no notification, as in runs of sessions alone.
_MEASURED = (0, 4, 5)


class Failed(Exception):
    """A process did not do what it was started for."""


class Process:
    """A program, its output in files, so that it never waits for us."""

    def __init__(self, words: list[str], folder: Path, name: str) -> None:
        self._out, self._err = folder / f"{name}.stdout", folder / f"{name}.stderr"
        self._name = name
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *words], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )

    @property
    def stdout(self) -> str:
        return self._out.read_text("utf-8")

    @property
    def stderr(self) -> str:
        return self._err.read_text("utf-8")

    def until(self, look: Callable[[], T | None], what: str) -> T:
        """Wait until that returns something.

        Raises:
            Failed: the process has ended, or it lasted too long.
        """
        end = time.monotonic() + _PATIENCE_S
        while True:
            ended = self._process.poll() is not None
            if (found := look()) is not None:
                return found
            if ended or time.monotonic() > end:
                raise Failed(f"{self._name}: no {what}: {self.stderr[-2000:]}")
            time.sleep(_POLL_S)

    def wait(self, patience_s: float = _PATIENCE_S) -> int:
        """Its exit code, once it has ended by itself."""
        try:
            return self._process.wait(patience_s)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{self._name} does not end: {self.stderr[-2000:]}") from error

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def workers(self) -> list[int]:
        """Its workers, in the order in which they were started."""
        return worker_pids(self._process.pid)

    def stop(self) -> None:
        """Whatever is left of it goes. The workers of a killed loadgen end when their pipes do."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


# -- counterparts ------------------------------------------------------------------------------------------------------


class Counterpart:
    """A planted program that is ready."""

    def __init__(self, process: Process) -> None:
        self._process = process
        line = process.until(lambda: next(iter(process.stdout.splitlines()), None), "line `ready`")
        self.address = line.removeprefix("ready ")

    def truth(self, *, stop: bool = False) -> dict[str, Any]:
        """What it really did, when it has ended: by itself, or because it is told to.

        Raises:
            Failed: it did not end well.
        """
        if stop:
            self._process.signal(signal.SIGTERM)
        if code := self._process.wait():
            raise Failed(f"a counterpart ended with exit code {code}: {self._process.stderr[-2000:]}")
        found: dict[str, Any] = json.loads(self._process.stdout.splitlines()[-1])
        return found


@contextmanager
def counterpart(folder: Path, module: str, *options: str) -> Iterator[Counterpart]:
    """`benchmarks.counterparts.MODULE OPTIONS`, until the block ends."""
    process = Process([f"benchmarks.counterparts.{module}", *options], folder, module)
    try:
        yield Counterpart(process)
    finally:
        process.stop()


# -- loadgen -----------------------------------------------------------------------------------------------------------


class Run(NamedTuple):
    """What a run of loadgen left in its folder."""

    result: dict[str, Any]
    log: str  # histograms.hlog

    def counter(self, name: str) -> int:
        return int(self.result["counters"][name])

    def metric(self, name: str, statistic: str) -> int:
        """Raises: Failed: there were too few values for it."""
        if (value := self.result["metrics"][name][statistic]) is None:
            raise Failed(f"{name}.{statistic}: of {self.result['metrics'][name]['count']} values it is no figure")
        return int(value)

    @property
    def verdict(self) -> str:
        return str(self.result["verdict"]["generator"])

    def intervals(self, metric: str) -> list[tuple[float, HdrHistogram]]:
        """Every interval of a metric in the log: its start (s), and its histogram as hdrh decodes it.

        A tag is the metric's name, with or without a stage's name and a slash before it.
        """
        found = []
        for line in self.log.splitlines():
            if line.startswith("Tag="):
                tag, start, _, _, encoded = line.removeprefix("Tag=").split(",")
                if tag.rpartition("/")[2] == metric:
                    found.append((float(start), HdrHistogram.decode(encoded.encode("ascii"))))
        return found

    def count_from(self, metric: str, least_ns: int) -> int:
        """How many values of that metric are `least_ns` or more (to three digits), by the log."""
        return sum(
            item.count_at_value_iterated_to
            for _, histogram in self.intervals(metric)
            for item in histogram.get_recorded_iterator()
            if histogram.get_highest_equivalent_value(item.value_iterated_to) >= least_ns
        )

    def count_between(self, metric: str, first_s: float, end_s: float) -> int:
        """How many values came in intervals that begin so long after the metric's first one."""
        intervals = self.intervals(metric)
        begun = min(start for start, _ in intervals)
        return sum(h.get_total_count() for start, h in intervals if first_s <= start - begun < end_s)


class Running:
    """A `loadgen run` that goes on."""

    def __init__(self, process: Process, results: Path) -> None:
        self._process = process
        self._results = results

    def addresses(self) -> list[str]:
        """Where its WLCs listen, once they do."""
        process = self._process
        process.until(lambda: "ready: " in process.stderr or None, "line `ready`")
        (path,) = self._results.glob("*/plan.json")
        return [f"{wlc['host']}:{wlc['port']}" for wlc in json.loads(path.read_text("utf-8"))["wlcs"]]

    def until_it_flows(self) -> None:
        """Notifications are sent, as its line for logs tells."""
        self.until_line(r"sent [1-9]")

    def until_line(self, pattern: str) -> None:
        """It has printed something like that."""
        process = self._process
        process.until(lambda: re.search(pattern, process.stderr), f"line {pattern}")

    def interrupt(self) -> None:
        """Ctrl-C."""
        self._process.signal(signal.SIGINT)

    def kill_worker(self, number: int) -> None:
        """One of its workers, WLCs first."""
        os.kill(self._process.workers()[number], signal.SIGKILL)

    def pause_worker(self, number: int, seconds: float) -> None:
        """Have it stand still for so long."""
        worker = self._process.workers()[number]
        os.kill(worker, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(worker, signal.SIGCONT)

    def end(self, *codes: int) -> Run:
        """Wait for its end. Args: codes: that it may end with; none: those of a run that measured something.

        Raises:
            Failed: it ended with another one.
        """
        if (code := self._process.wait()) not in (codes or _MEASURED):
            raise Failed(f"loadgen run: exit code {code}: {self._process.stderr[-2000:]}")
        (folder,) = self._results.iterdir()
        result = json.loads((folder / "result.json").read_text("utf-8"))
        return Run(result, (folder / "histograms.hlog").read_text("ascii"))


class Searching:
    """A `loadgen capacity` that goes on."""

    def __init__(self, process: Process, results: Path) -> None:
        self._process = process
        self._results = results

    def until_ready(self) -> None:
        """Its WLCs listen."""
        self._process.until(lambda: "ready: " in self._process.stderr or None, "line `ready`")

    def end(self) -> dict[str, Any]:
        """Wait for its end; what it found along its one dimension.

        Raises:
            Failed: it left no result.
        """
        code = self._process.wait(_SEARCH_PATIENCE_S)
        paths = list(self._results.glob("*/result.json"))
        if len(paths) != 1:
            raise Failed(f"loadgen capacity: exit code {code}: {self._process.stderr[-2000:]}")
        found: dict[str, Any] = json.loads(paths[0].read_text("utf-8"))["dimensions"][0]
        return found


@contextmanager
def searching(folder: Path, scenario: str, *options: str) -> Iterator[Searching]:
    """`loadgen capacity` of that scenario, one worker a side, until the block ends."""
    process, results = _start(folder, "capacity", scenario, options)
    try:
        yield Searching(process, results)
    finally:
        process.stop()


@contextmanager
def loadgen(folder: Path, scenario: str, *options: str) -> Iterator[Running]:
    """`loadgen run` of that scenario, one worker a side, until the block ends."""
    process, results = _start(folder, "run", scenario, options)
    try:
        yield Running(process, results)
    finally:
        process.stop()


def _start(folder: Path, command: str, scenario: str, options: tuple[str, ...]) -> tuple[Process, Path]:
    path, results = folder / "scenario.toml", folder / "results"
    path.write_text(scenario, "utf-8")
    words = ["loadgen", command, str(path), "--workers", "1", "--results", str(results), *options]
    return Process(words, folder, "loadgen"), results
