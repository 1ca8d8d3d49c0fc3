"""The first of somebody else's MSEs is told of at once, in virtual time: the load begins with it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import msgspec
import pytest
import trio
from trio.testing import MockClock

from loadgen.nmsp.messages import Role
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.profile_document import ProfileDocument
from loadgen.run.channel import Assignment, Dial, Progress
from loadgen.run.worker import Worker
from loadgen.scenario.plan import Plan, Use, make_plan
from loadgen.scenario.reading import scenario_untrusted
from loadgen.units import NS_PER_S


class Told:
    """A channel that keeps what is sent, and when."""

    def __init__(self) -> None:
        self.values: list[tuple[float, Any]] = []

    async def send(self, value: object) -> None:
        self.values.append((trio.current_time(), value))


class Silent(Told):
    """One over which nothing comes."""

    async def receive(self) -> NoReturn:
        await trio.sleep_forever()


@pytest.mark.parametrize("name", ["sessions.established", "handshakes.attempted"])
def test_whoever_comes_first_is_told_of_before_the_interval_is_over(name: str) -> None:
    scenario, profile = scenario_untrusted({"name": "first", "load": {"rate": 1}}, Path("first.toml"))
    told = Told()
    plan = make_plan(scenario, profile, use=Use.SERVE_WLC)
    worker, _ = made(Role.WLC, plan, profile, told)

    async def main() -> float:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker._tell_of_the_first)
            await trio.sleep(3.333)
            assert told.values == []
            worker._recorder.count(name)
            return trio.current_time()

    came_s = trio.run(main, clock=MockClock(autojump_threshold=0))
    ((told_s, value),) = told.values
    assert isinstance(value, Progress)
    assert value.interval.counters[name] == value.active == 1
    assert 0 <= told_s - came_s <= 0.05


def test_that_the_last_session_has_gone_is_told_before_the_interval_is_over() -> None:
    """A load of somebody else's WLCs is as long as they were there."""
    scenario, profile = scenario_untrusted({"name": "last", "load": {"rate": 1}}, Path("last.toml"))
    told = Told()
    worker, shard = made(Role.MSE, make_plan(scenario, profile, use=Use.SERVE_MSE), profile, told)

    async def main() -> float:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker._tell_of_the_last)
            await trio.sleep(3.333)
            shard.active = 0
            left_s = trio.current_time()
            await trio.sleep(3)
            nursery.cancel_scope.cancel()
        return left_s

    left_s = trio.run(main, clock=MockClock(autojump_threshold=0))
    ((told_s, value),) = told.values
    assert isinstance(value, Progress)
    assert value.active == 0
    assert 0 <= told_s - left_s <= 0.05


@pytest.mark.parametrize(("load", "looks"), [({"rate": 1}, True), ({"kind": "handshake"}, False)])
def test_where_there_are_no_sessions_nobody_looks_for_the_last(
    load: dict[str, Any], looks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty times a second, that would be a part of what handshakes cost."""
    looking: list[Worker] = []

    async def look(worker: Worker) -> None:
        looking.append(worker)

    monkeypatch.setattr(Worker, "_tell_of_the_last", look)
    scenario, profile = scenario_untrusted({"name": "none", "load": load}, Path("none.toml"))
    worker, _ = made(Role.MSE, make_plan(scenario, profile, use=Use.SERVE_MSE), profile, Silent())
    worker._shard = None  # nobody has told it to dial

    async def main() -> None:
        with trio.move_on_after(1):
            await worker.run()

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert looking == [worker] * looks


def test_mses_are_dialed_from_when_their_worker_is_ready() -> None:
    """To make its contexts has taken time: what would have been dialed meanwhile does not come all at once."""
    scenario, profile = scenario_untrusted({"name": "ready", "load": {"rate": 1}}, Path("ready.toml"))
    worker, _ = made(Role.MSE, make_plan(scenario, profile, use=Use.BOTH), profile, Told())
    now_ns = 5 * NS_PER_S
    dialing: list[tuple[int, int]] = []

    def mses(*_: object) -> SimpleNamespace:
        nonlocal now_ns
        now_ns += NS_PER_S
        return SimpleNamespace(start_dialing=lambda *times_ns: dialing.append(times_ns))

    worker._equipment = worker._equipment._replace(clock=lambda: now_ns)
    worker._drivers = worker._drivers._replace(mses=mses)  # type: ignore[arg-type]
    worker._mse_shard(Dial((("192.0.2.1", 16113),), 7 * NS_PER_S))
    assert dialing == [(6 * NS_PER_S, 7 * NS_PER_S)]


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
    one, _ = made(Role.MSE, plan, SimpleNamespace(document=told_again), Told())  # type: ignore[arg-type]
    assert one._profile is profile
    other_document = msgspec.structs.replace(told_again, name="another")
    another, _ = made(Role.MSE, plan, SimpleNamespace(document=other_document), Told())  # type: ignore[arg-type]
    assert another._profile.name == "another"
    assert made_of == [other_document]


def made(role: Role, plan: Plan, profile: WireProfile, told: Told) -> tuple[Worker, SimpleNamespace]:
    """A worker with a session, and its shard."""
    assignment = Assignment(
        role=role,
        plan=plan,
        profile=profile.document,
        worker=0,
        workers=1,
        identities=(),
        auth_lists=(),
        trusted_pem=None,
        epoch_ns=0,
        interval_ns=NS_PER_S,
        to_unix_ns=0,
    )
    worker = Worker(told, assignment)  # type: ignore[arg-type]
    shard = SimpleNamespace(active=1, queued_bytes=lambda: 0, totals=lambda _now_ns: {}, look_around=lambda: None)
    worker._shard = shard  # type: ignore[assignment]
    return worker, shard
