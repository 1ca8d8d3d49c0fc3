"""What a run waits for is told of at once, in virtual time: the first of somebody else's MSEs, that all sessions are
set up, that the last one has gone; and what is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock
from worker_samples import DIAL, Shard, Working, virtual

from loadgen.nmsp.messages import Role
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.profile_document import ProfileDocument
from loadgen.run.channel import Alive, Dial, Progress, Ready, Seen, Tell
from loadgen.scenario.plan import Plan, Use, make_plan
from loadgen.scenario.reading import scenario_untrusted
from loadgen.units import NS_PER_S


def plan_for(use: Use, load: dict[str, Any] | None = None) -> tuple[Plan, ProfileDocument]:
    wlc = {"count": 1, "authenticate": False}
    data = {"name": "first", "wlc": wlc, "load": load or {"rate": 1}}
    scenario, profile = scenario_untrusted(data, Path("first.toml"))
    return make_plan(scenario, profile, use=use), profile.document


def after(working: Working, seconds: float, happens: Callable[[], None]) -> float:
    """Have it work for so long, and a second more after what happens; returns when that was."""

    async def main() -> float:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(working.worker.run)
            await trio.sleep(seconds)
            happens()
            came_s = trio.current_time()
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
        return came_s

    return trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("name", ["sessions.established", "handshakes.attempted"])
def test_whoever_comes_first_is_told_of_before_the_interval_is_over(name: str) -> None:
    working = Working(Role.WLC, *plan_for(Use.SERVE_WLC))
    came_s = after(working, 3.333, lambda: working.equipment.recorder.count(name))
    ((told_s, value),) = working.told.of(Seen)
    assert value.interval.counters[name] == value.active == 1
    assert value.interval.index == 3
    assert 0 <= told_s - came_s <= 0.05


def test_that_the_last_session_has_gone_is_told_before_the_interval_is_over() -> None:
    """A load of somebody else's WLCs is as long as they were there."""
    working = Working(Role.MSE, *plan_for(Use.SERVE_MSE), [DIAL])

    def leave() -> None:
        working.shard.active = 0

    left_s = after(working, 3.333, leave)
    ((told_s, value),) = working.told.of(Seen)
    assert value.active == 0
    assert 0 <= told_s - left_s <= 0.05


@pytest.mark.parametrize("use", [Use.BOTH, Use.TARGET_WLC])
def test_that_all_sessions_are_up_or_have_failed_is_told_before_the_interval_is_over(use: Use) -> None:
    """The load begins with it."""
    scenario, profile = scenario_untrusted(
        {"name": "first", "wlc": {"count": 3}, "mse": {"count": 1}, "load": {"rate": 1}}, Path("first.toml")
    )
    targets = [("192.0.2.1", port) for port in (1, 2, 3)] if use is Use.TARGET_WLC else []
    plan = make_plan(scenario, profile, use=use, targets=targets)
    assert len(plan.sessions) == 3
    working = Working(Role.MSE, plan, profile.document, [DIAL])

    async def main() -> float:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(working.worker.run)
            await trio.sleep(2.2)
            working.equipment.recorder.count("sessions.established", 2)
            await trio.sleep(2.2)
            assert working.told.of(Seen) == []
            working.equipment.recorder.count("sessions.failed")
            settled_s = trio.current_time()
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
        return settled_s

    settled_s = trio.run(main, clock=MockClock(autojump_threshold=0))
    ((told_s, value),) = working.told.of(Seen)
    assert value.interval.counters["sessions.failed"] == 1
    assert value.serial == 0
    assert 0 <= told_s - settled_s <= 0.05


@pytest.mark.parametrize("role", [Role.WLC, Role.MSE])
def test_whoever_is_asked_tells_at_once(role: Role) -> None:
    working = Working(role, *plan_for(Use.BOTH), [DIAL, Tell(7)] if role is Role.MSE else [Tell(7)])
    after(working, 0.1, lambda: None)
    ((told_s, value),) = working.told.of(Seen)
    assert (value.serial, value.active, told_s) == (7, 1, 0)


def test_what_drives_the_links_looks_at_once_at_what_it_was_told() -> None:
    working = Working(Role.MSE, *plan_for(Use.BOTH), [DIAL, Tell(1), Tell(2)])
    after(working, 0.1, lambda: None)
    assert working.shard.woken == 3


@pytest.mark.parametrize(
    ("load", "role"), [({"kind": "handshake"}, Role.MSE), ({"rate": 1}, Role.WLC), ({"kind": "handshake"}, Role.WLC)]
)
def test_where_there_are_no_sessions_of_ours_to_wait_for_nobody_looks_for_them(load: Any, role: Role) -> None:
    """Fifty times a second, that would be a part of what handshakes cost."""
    working = Working(role, *plan_for(Use.BOTH, load), [DIAL] if role is Role.MSE else [])
    began: list[float] = []
    clock = MockClock(autojump_threshold=0)

    class Looked(trio.abc.Instrument):
        def before_io_wait(self, timeout: float) -> None:
            began.append(timeout)

    async def main() -> None:
        with trio.move_on_after(10):
            await working.worker.run()

    trio.run(main, clock=clock, instruments=[Looked()])
    assert len(working.told.of(Alive)) >= 9
    assert len(began) < 100
    assert working.told.of(Seen) == []


def test_mses_are_dialed_from_when_their_worker_is_ready() -> None:
    """To make its contexts has taken time: what would have been dialed meanwhile does not come all at once."""
    now_ns = 5 * NS_PER_S
    working: Working

    class Slow(Working):
        def made(self, *arguments: Any) -> Shard:
            nonlocal now_ns
            now_ns += NS_PER_S
            made: Shard = super().made(*arguments)
            return made

    orders = [Dial((("192.0.2.1", 16113),), 7 * NS_PER_S)]
    working = Slow(Role.MSE, *plan_for(Use.BOTH), orders, clock=lambda: now_ns)
    told_all(working)
    assert working.shard.dialing == [(6 * NS_PER_S, 7 * NS_PER_S)]


def test_a_worker_compiles_no_profile_that_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is forked from a process that has read the profile, and is told it again over its channel."""
    scenario, profile = scenario_untrusted({"name": "once", "load": {"rate": 1}}, Path("once.toml"))
    told_again = msgspec.msgpack.decode(msgspec.msgpack.encode(profile.document), type=ProfileDocument)
    made_of: list[ProfileDocument] = []
    compile_profile = WireProfile.__init__

    def noting(self: WireProfile, document: ProfileDocument) -> None:
        made_of.append(document)
        compile_profile(self, document)

    monkeypatch.setattr(WireProfile, "__init__", noting)
    plan = make_plan(scenario, profile, use=Use.SERVE_MSE)
    one = Working(Role.MSE, plan, told_again, [DIAL])
    told_all(one)
    assert one.equipment.profile is profile
    other_document = msgspec.structs.replace(told_again, name="another")
    another = Working(Role.MSE, plan, other_document, [DIAL])
    told_all(another)
    assert another.equipment.profile.name == "another"
    assert made_of == [other_document]


def told_all(working: Working) -> None:
    """Have it do what it is told."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(working.worker.run)
            await working.told.all_told.wait()
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_a_worker_says_that_it_is_ready_and_what_every_interval_had() -> None:
    """What is told in between is told besides."""
    working = Working(Role.WLC, *plan_for(Use.BOTH), [Tell(1)])
    after(working, 2.5, lambda: None)
    assert [value.addresses for _, value in working.told.of(Ready)] == [(("127.0.0.1", 16113),)]
    assert [value.interval.index for _, value in working.told.of(Progress)] == [0, 1, 2]


def test_what_is_told_at_the_end_of_an_interval_is_told_in_order() -> None:
    """It is over, and has not been handed in when a question comes: the answer is of it, too."""
    ahead_ns = 0
    working = Working(Role.WLC, *plan_for(Use.BOTH), clock=lambda: virtual() + ahead_ns)

    async def main() -> None:
        nonlocal ahead_ns
        async with trio.open_nursery() as nursery:
            nursery.start_soon(working.worker.run)
            await trio.sleep(1.5)
            ahead_ns = NS_PER_S
            working.told.order(Tell(1))
            await trio.sleep(1)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))
    told = [value.interval.index for _, value in working.told.values if isinstance(value, Progress | Seen)]
    assert told == sorted(told)
    assert [value.interval.index for _, value in working.told.of(Seen)] == [1]
