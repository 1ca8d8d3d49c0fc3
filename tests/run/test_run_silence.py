"""A worker that says nothing any more is named and given up; whoever waits for it goes on with what the others have."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from loadgen.measure.progress import Snapshot
from loadgen.nmsp.messages import Role
from loadgen.prepare.job import Source, make_job
from loadgen.results.record import RunRecord
from loadgen.run.fleet import Fleet
from loadgen.run.silence import COMPUTING_S, Silence
from loadgen.run.supervisor import Supervisor
from loadgen.scenario.plan import Use
from loadgen.scenario.reading import scenario_untrusted

# Only ever reached by a test that has failed.
_PATIENCE_S = 90.0
_SILENCE_S = 4


class Spent:
    """CPU ticks that a process has used, look by look."""

    def __init__(self, ticks: Iterator[int]) -> None:
        self._ticks = ticks

    def __call__(self, _pid: int) -> int:
        return next(self._ticks)


def looks(silence: Silence, most: int) -> tuple[int, str]:
    """How many looks it took, and what was said then."""
    for number in range(1, most + 1):
        if why := silence.look():
            return number, why
    return most, ""


class TestSilence:
    def test_who_does_nothing_is_given_up_after_so_long(self) -> None:
        silence = Silence(1, 15, Spent(iter([7] * 100)))
        assert looks(silence, 100) == (16, "has not been heard of for 15 s")  # at the first one, 7 ticks were news

    def test_whoever_speaks_is_not(self) -> None:
        silence = Silence(1, 3, Spent(iter([0] * 100)))
        for _ in range(20):
            assert looks(silence, 2) == (2, "")
            silence.heard()

    def test_whoever_computes_has_longer_but_not_for_ever(self) -> None:
        silence = Silence(1, 3, Spent(iter(range(1, 10_000))))
        assert looks(silence, 10_000) == (COMPUTING_S, f"has computed for {COMPUTING_S} s and said nothing")

    def test_of_a_process_that_is_there(self) -> None:
        """This one has used CPU time, and does not in between."""
        silence = Silence(os.getpid(), 1)
        assert silence.look() == ""


def test_what_passes_while_we_are_stopped_is_nobodys() -> None:
    """The supervisor goes on after a minute, and what it waits for comes a moment later."""
    clock, fleet = MockClock(), Fleet(lambda *_: None)
    there = False

    async def main() -> None:
        nonlocal there
        async with trio.open_nursery() as nursery:
            waited: list[bool] = []

            async def wait() -> None:
                waited.append(await fleet.within(15, lambda: there))

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            clock.jump(60)
            await trio.testing.wait_all_tasks_blocked()
            there = True
            fleet.look_again()
        assert waited == [True]

    trio.run(main, clock=clock)


def test_what_does_not_come_is_not_waited_for() -> None:
    async def main() -> None:
        began = trio.current_time()
        assert not await Fleet(lambda *_: None).within(2.5, lambda: False)
        assert trio.current_time() - began == pytest.approx(2.5)

    trio.run(main, clock=MockClock(autojump_threshold=0))


def source(wlcs: int) -> Source:
    data = {
        "name": "stopped",
        "wlc": {"count": wlcs, "listen": "127.0.0.1:0", "step": "port", "stations": 5, "authenticate": False},
        "mse": {"count": 1},
        "tls": {"trust": "any"},
        "load": {"rate": 100, "stages": [{"hold": "3600s"}]},
    }
    scenario, profile = scenario_untrusted(data, Path("stopped.toml"))
    return Source(Path("stopped.toml"), scenario, profile, Use.BOTH, workers="1")


class Stopping:
    """A run that stops one of its own workers for good."""

    def __init__(self, wlcs: int, role: Role) -> None:
        job = make_job(source(wlcs), datetime.now(UTC))
        self._role = role
        self.pid = 0
        self.supervisor = Supervisor(
            job.plan,
            job.profile.document,
            job.keys,
            job.workers,
            self.look,
            lambda _: None,
            silence_s=_SILENCE_S,
        )

    def look(self, seen: Snapshot) -> None:
        """Called twice a second, once workers are prepared."""

    def stop(self) -> None:
        if not self.pid:
            (worker,) = self.supervisor.fleet.of(self._role)
            self.pid = worker.process.pid
            os.kill(self.pid, signal.SIGSTOP)

    def run(self) -> RunRecord:
        async def main() -> RunRecord:
            with trio.fail_after(_PATIENCE_S):
                return await self.supervisor.run()

        return trio.run(main)


class UnderLoad(Stopping):
    def look(self, seen: Snapshot) -> None:
        if seen.counters.get("notify.received", 0) > 100:
            self.stop()


def test_a_worker_that_is_stopped_for_good_under_load_ends_the_run() -> None:
    stopping = UnderLoad(2, Role.MSE)
    record = stopping.run()
    assert record.deaths == (f"worker mse-0 (pid {stopping.pid}) has not been heard of for {_SILENCE_S} s",)
    # What it had told counts, and what the others measured.
    counters = record.merger.counters()
    assert counters["sessions.established"] == 2
    assert counters["notify.sent"] > counters["notify.received"] > 100
    assert [health.worker for health in record.health] == ["wlc-0"]
    assert not record.complete


def test_a_worker_that_never_reads_what_it_is_to_do_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its assignment is larger than a pipe: whoever sends it would wait for ever."""
    stopping = Stopping(300, Role.WLC)
    start = Fleet.start

    def start_and_stop(fleet: Fleet, *arguments: Any) -> None:
        assert start(fleet, *arguments) is None
        stopping.stop()

    monkeypatch.setattr(Fleet, "start", start_and_stop)
    record = stopping.run()
    assert record.deaths == (f"worker wlc-0 (pid {stopping.pid}) has not been heard of for {_SILENCE_S} s",)
    assert not record.prepared
