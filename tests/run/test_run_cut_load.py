"""A load that is ended early ends at one time for everybody: what is due, or comes, after that is none of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from loadgen.measure.stages import AFTER
from loadgen.nmsp.messages import Role
from loadgen.results import record
from loadgen.run import fleet, supervisor
from loadgen.run import worker as worker_module
from loadgen.run.channel import Assignment, CutLoad, StartLoad
from loadgen.run.fleet import Fleet
from loadgen.run.supervisor import Supervisor
from loadgen.run.worker import Worker
from loadgen.scenario.plan import Use, make_plan
from loadgen.scenario.reading import scenario_untrusted
from loadgen.units import NS_PER_MS, NS_PER_S

SCENARIO: dict[str, Any] = {"name": "cut", "load": {"rate": 10, "stages": [{"warmup": "1s"}, {"hold": "8s"}]}}
CASES = [
    (Use.TARGET_WLC, 2.5, "interrupted"),
    (Use.TARGET_WLC, 0.01, "interrupted"),
    (Use.BOTH, 2.5, "interrupted"),
    (Use.SERVE_WLC, 2.5, "aborted"),
]


class Told(Fleet):
    """No workers; something ends the load after some time."""

    def __init__(self, seconds: float, ending: Callable[[], None]) -> None:
        super().__init__(lambda *_: None)
        self._seconds, self._ending = seconds, ending
        self.told: list[tuple[int, object]] = []

    async def tell_all(self, value: object, role: Role | None = None) -> None:
        self.told.append((fleet.time.monotonic_ns(), value))

    async def until(self, predicate: Callable[[], object]) -> None:
        await trio.sleep(self._seconds)
        self._ending()
        predicate()

    async def within(self, seconds: float, predicate: Callable[[], object]) -> bool:
        await self.until(predicate)
        return True

    def of(self, role: Role | None) -> list[Any]:
        return [SimpleNamespace(ended=True, active=1)]


def plan_for(use: Use) -> Any:
    scenario, profile = scenario_untrusted(SCENARIO, Path("cut.toml"))
    targets = [("192.0.2.1", 16113)] if use is Use.TARGET_WLC else []
    return make_plan(scenario, profile, use=use, targets=targets), profile


@pytest.mark.parametrize(("use", "seconds", "how"), CASES)
def test_all_are_told_when_it_ends(monkeypatch: pytest.MonkeyPatch, use: Use, seconds: float, how: str) -> None:
    clock = SimpleNamespace(
        monotonic_ns=lambda: int(trio.current_time() * NS_PER_S), time_ns=lambda: 0, process_time=lambda: 0.0
    )
    for module in (fleet, record, supervisor):
        monkeypatch.setattr(module, "time", clock)
    plan, profile = plan_for(use)

    async def main() -> tuple[Supervisor, Told]:
        led = Supervisor(plan, profile.document, SimpleNamespace(), 1, lambda _: None, lambda _: None)  # type: ignore[arg-type]

        def ending() -> None:
            if how == "aborted":
                led._aborted = "enough"
            else:
                led.fleet.stopping = True

        led.fleet = told = Told(seconds, ending)
        await led.load(plan.load.stages)
        return led, told

    led, told = trio.run(main, clock=MockClock(autojump_threshold=0))
    (load,) = led.loads
    (_, start), (told_ns, cut) = told.told
    assert isinstance(start, StartLoad)
    assert cut == CutLoad(load.end_ns)
    assert told_ns < load.end_ns  # in time for everybody
    assert load.cut_short
    assert load.length_s == pytest.approx(seconds)  # of slot 0, which was as long after the start was told


def test_a_worker_counts_nothing_into_the_stages_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "_settle", lambda: None)  # it would freeze the objects of all tests
    plan, profile = plan_for(Use.TARGET_WLC)
    assignment = Assignment(
        role=Role.MSE,
        plan=plan,
        profile=profile.document,
        worker=0,
        workers=1,
        identities=(),
        auth_lists=(),
        trusted_pem=None,
        epoch_ns=0,
        interval_ns=NS_PER_S,
        to_unix_ns=7 * NS_PER_S,
    )
    orders = [StartLoad(NS_PER_S, plan.load.stages), CutLoad(3 * NS_PER_S)]

    class AllTold(Exception):
        pass

    async def receive() -> object:
        if not orders:
            raise AllTold
        return orders.pop(0)

    worker = Worker(SimpleNamespace(receive=receive), assignment)  # type: ignore[arg-type]
    shard = SimpleNamespace(
        start_load=lambda *_: None,
        totals=lambda _: {},
        forget_stalls=lambda _: None,
        stall_ns=lambda _: 0,
        load_over=trio.Event(),
        run=trio.lowlevel.checkpoint,
    )
    worker._shard = shard  # type: ignore[assignment]

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            try:
                await worker._obey(nursery)
            except AllTold:
                nursery.cancel_scope.cancel()

    trio.run(main)
    names = [stage.name for stage in plan.load.stages]
    at = worker._recorder.stages.at
    assert [at(ms * NS_PER_MS + 7 * NS_PER_S) for ms in (1000, 2000, 2999, 3000, 4000)] == [
        *(names[0], names[1], names[1], AFTER, AFTER)
    ]
