"""A load that is ended early ends at one time for everybody: what is due, or comes, after that is none of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from trio.testing import MockClock
from worker_samples import DIAL, Working, virtual

from loadgen.measure.recorder import Interval
from loadgen.measure.stages import AFTER
from loadgen.nmsp.messages import Role
from loadgen.run.channel import CutLoad, StartLoad
from loadgen.run.fleet import Fleet
from loadgen.run.supervisor import Supervisor
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
        super().__init__(lambda *_: None, clock=virtual)
        self._seconds, self._ending = seconds, ending
        self.told: list[tuple[int, object]] = []

    async def tell_all(self, value: object, role: Role | None = None) -> None:
        self.told.append((virtual(), value))

    async def until(self, predicate: Callable[[], object]) -> None:
        await trio.sleep(self._seconds)
        self._ending()
        predicate()

    async def within(self, seconds: float, predicate: Callable[[], object]) -> bool:
        await self.until(predicate)
        return True

    def of(self, role: Role | None) -> list[Any]:
        return [SimpleNamespace(ended=False, loads=[], active=1)]


def plan_for(use: Use) -> Any:
    scenario, profile = scenario_untrusted(SCENARIO, Path("cut.toml"))
    targets = [("192.0.2.1", 16113)] if use is Use.TARGET_WLC else []
    return make_plan(scenario, profile, use=use, targets=targets), profile


@pytest.mark.parametrize(("use", "seconds", "how"), CASES)
def test_all_are_told_when_it_ends(use: Use, seconds: float, how: str) -> None:
    plan, profile = plan_for(use)

    async def main() -> tuple[Supervisor, Told]:
        led = Supervisor(
            plan,
            profile.document,
            SimpleNamespace(),  # type: ignore[arg-type]
            1,
            lambda _: None,
            lambda _: None,
            abort_when=lambda *_: "enough" if how == "aborted" else None,
            clock=virtual,
        )

        def ending() -> None:
            if how == "aborted":
                led.merger.add("wlc-0", Interval(0, {}, {}))
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


def test_a_worker_counts_nothing_into_the_stages_afterwards() -> None:
    plan, profile = plan_for(Use.TARGET_WLC)
    orders = [DIAL, StartLoad(NS_PER_S, plan.load.stages), CutLoad(3 * NS_PER_S)]
    working = Working(Role.MSE, plan, profile.document, orders, to_unix_ns=7 * NS_PER_S)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(working.worker.run)
            await working.told.all_told.wait()
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))
    names = [stage.name for stage in plan.load.stages]
    at = working.equipment.recorder.stages.at
    assert [at(ms * NS_PER_MS + 7 * NS_PER_S) for ms in (1000, 2000, 2999, 3000, 4000)] == [
        *(names[0], names[1], names[1], AFTER, AFTER)
    ]
