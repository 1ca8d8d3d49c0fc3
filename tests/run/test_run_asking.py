"""Workers are asked what they have seen, in virtual time: nobody waits for the end of an interval to know it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from loadgen.run.channel import Tell
from loadgen.run.fleet import Fleet


class Asked(SimpleNamespace):
    """A worker that answers after some time, and has received one more each time; None: it never answers."""

    def __init__(self, fleet: Fleet, nursery: trio.Nursery, seconds: float | None) -> None:
        super().__init__(ended=False, answered=0, received=0, serials=[])
        self.channel = self
        self._fleet, self._nursery, self._seconds = fleet, nursery, seconds

    async def send(self, value: object) -> None:
        assert isinstance(value, Tell)
        self.serials.append(value.serial)
        if self._seconds is not None:
            self._nursery.start_soon(self._answer, value.serial, self._seconds)

    async def _answer(self, serial: int, seconds: float) -> None:
        await trio.sleep(seconds)
        self.answered = serial
        self.received += 1
        self._fleet.look_again()


def asked(*seconds: float | None, body: Any) -> None:
    async def main() -> None:
        fleet = Fleet(lambda *_: None)
        async with trio.open_nursery() as nursery:
            workers = [Asked(fleet, nursery, each) for each in seconds]
            fleet.workers.extend(workers)  # type: ignore[arg-type]
            await body(fleet, workers)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_all_are_heard_before_it_goes_on() -> None:
    async def body(fleet: Fleet, workers: list[Asked]) -> None:
        began_s = trio.current_time()
        await fleet.ask_all(15)
        assert [worker.received for worker in workers] == [1, 1]
        assert trio.current_time() - began_s == pytest.approx(0.3)
        await fleet.ask_all(15)
        assert [worker.serials for worker in workers] == [[1, 2], [1, 2]]

    asked(0.1, 0.3, body=body)


@pytest.mark.parametrize("why", ["late", "ended", "stopping"])
def test_nobody_is_waited_for_who_does_not_answer(why: str) -> None:
    async def body(fleet: Fleet, workers: list[Asked]) -> None:
        workers[1].ended = why == "ended"
        fleet.stopping = why == "stopping"
        began_s = trio.current_time()
        await fleet.ask_all(15)
        expected_s = {"late": 15.0, "ended": 0.1, "stopping": 0.0}[why]
        assert trio.current_time() - began_s == pytest.approx(expected_s)

    asked(0.1, None, body=body)


def test_they_are_asked_until_it_holds() -> None:
    async def body(fleet: Fleet, workers: list[Asked]) -> None:
        (worker,) = workers
        assert await fleet.asked_within(30, lambda: worker.received == 5)
        assert worker.serials == [1, 2, 3, 4, 5]
        assert trio.current_time() < 1

    asked(0.01, body=body)


def test_not_longer_than_so() -> None:
    async def body(fleet: Fleet, workers: list[Asked]) -> None:
        began_s = trio.current_time()
        assert not await fleet.asked_within(3, lambda: False)
        assert trio.current_time() - began_s == pytest.approx(3)
        assert workers[0].received > 10

    asked(0.01, body=body)
