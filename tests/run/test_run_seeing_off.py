"""How long workers are waited for at the end of a run, in virtual time: as long as they go on closing sessions."""

from __future__ import annotations

from collections.abc import Callable

import trio
import trio.testing

from loadgen.nmsp.messages import Role
from loadgen.run.fleet import Fleet

PATIENCE_S = 15.0


class Worker:
    """One that closes so many sessions a second, and ends with the last; or stops in the middle."""

    def __init__(self, sessions: int, per_s: int, stops_at: int = 0) -> None:
        self.role, self.active, self.ended = Role.WLC, sessions, False
        self._per_s, self._stops_at = per_s, stops_at

    async def close_all(self, tell: Callable[[], None]) -> None:
        while self.active > self._stops_at:
            await trio.sleep(1)
            self.active = max(self._stops_at, self.active - self._per_s)
            tell()
        await trio.sleep(1)
        self.ended = not self._stops_at
        tell()


def waited_s(*workers: Worker) -> float:
    async def wait() -> float:
        fleet = Fleet(lambda *_: None)
        fleet.workers.extend(workers)  # type: ignore[arg-type]
        async with trio.open_nursery() as nursery:
            for worker in workers:
                nursery.start_soon(worker.close_all, fleet.look_again)
            began_s = trio.current_time()
            await fleet.ended(Role.WLC, PATIENCE_S)
            ended_s = trio.current_time()
            nursery.cancel_scope.cancel()
        return ended_s - began_s

    return trio.run(wait, clock=trio.testing.MockClock(autojump_threshold=0))


def test_a_worker_with_many_sessions_has_the_time_that_it_takes() -> None:
    worker = Worker(50_000, 1_000)
    assert 50 <= waited_s(worker, Worker(10, 10)) < 50 + PATIENCE_S
    assert worker.ended


def test_one_that_stops_is_waited_for_once_more() -> None:
    worker = Worker(50_000, 10_000, stops_at=20_000)
    assert 3 + PATIENCE_S <= waited_s(worker) <= 5 + PATIENCE_S
    assert not worker.ended


def test_one_without_sessions_has_its_time_as_well() -> None:
    assert waited_s(Worker(0, 1)) <= 2
    assert waited_s(Worker(7, 0, stops_at=7)) <= PATIENCE_S + 1
