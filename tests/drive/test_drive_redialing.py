"""WLCs that are not there yet: their sessions are dialed again, and have not failed meanwhile."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
from drive_samples import PATIENT, VirtualClock, equipped
from trio.testing import MockClock

from loadgen.drive import redialing
from loadgen.drive.redialing import AGAIN_NS, Redialing, listened_at
from loadgen.drive.tls_dial import MseLink
from loadgen.drive.tls_mse import MseShard
from loadgen.measure.books import imbalances
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.messages import Role
from loadgen.prepare.keys import Keys
from loadgen.run.supervisor import Supervisor
from loadgen.scenario.plan import Use, make_plan
from loadgen.scenario.reading import scenario_untrusted
from loadgen.transport.address import socket_address
from loadgen.transport.tls import TransportFault, Tunnel
from loadgen.units import NEVER_NS, NS_PER_S

FOR_EVER_NS = 1 << 60
MSES = 3
HASTE = 1000


# -- whom, and when ----------------------------------------------------------------------------------------------------


def test_sessions_that_nobody_answered_come_again_in_their_order() -> None:
    again = Redialing()
    again.begin(10 * NS_PER_S)
    assert again.next_ns() == NEVER_NS
    assert again.takes("refused", 7, 0)
    assert again.takes("unreachable", 3, 1)
    assert again.next_ns() == AGAIN_NS
    assert list(again.due(AGAIN_NS - 1)) == []
    assert list(again.due(AGAIN_NS)) == [7]
    again.postpone(7, AGAIN_NS)
    assert list(again.due(AGAIN_NS + 1)) == [3]
    assert list(again.due(2 * AGAIN_NS)) == [7]


@pytest.mark.parametrize("kind", ["reset", "no_local_port", "no_descriptor", "alert_unknown_ca"])
def test_what_does_not_say_that_nobody_is_there_is_a_failure(kind: str) -> None:
    again = Redialing()
    again.begin(FOR_EVER_NS)
    assert not again.takes(kind, 0, 0)


def test_not_for_longer_than_was_asked_for_and_not_at_all_by_default() -> None:
    again = Redialing()
    assert not again.takes("refused", 0, 0)
    again.begin(5)
    assert again.takes("refused", 0, 4)
    assert not again.takes("refused", 1, 5)
    assert again.end() == 1
    assert (again.end(), again.takes("refused", 2, 0)) == (0, False)


# -- a worker's sessions -----------------------------------------------------------------------------------------------


class Dialing:
    """A worker's shard that dials an address where nobody listens; in every fourth turn it is time to dial again."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.address = server.getsockname()
        document = {"name": "m", "mse": {"count": MSES, "connect_per_s": 1e6}, "load": {"rate": 100}}
        scenario, profile = scenario_untrusted(document, Path("m.toml"))
        plan = make_plan(scenario, profile, use=Use.TARGET_WLC, targets=[self.address])
        self.recorder, self.clock = Recorder(), VirtualClock()
        equipment = equipped(Role.MSE, plan, profile, self.recorder, clock=self.clock, **PATIENT)
        self.shard = MseShard(equipment, [self.address], [])
        self.shard.new_tunnel = self._meet  # type: ignore[method-assign]

    def _meet(self, _link: MseLink) -> Tunnel:
        """Connected, which is all that matters here."""
        raise TransportFault("met")

    def dial(self, again_ns: int) -> None:
        now = self.clock()
        self.shard.start_dialing(now, now + again_ns)

    def turn_until(self, done: Callable[[], object]) -> None:
        until = time.monotonic() + 30
        while not done():
            assert time.monotonic() < until
            _, ready, _ = select.select([], [fd for fd in self.shard.links if fd >= 0], [], 0)
            self.shard.turn([(fd, select.EPOLLOUT) for fd in ready])
            self.clock.now_ns += AGAIN_NS // 4

    def counter(self, name: str) -> int:
        return int(self.recorder.counters[name])

    def errors(self) -> dict[str, int]:
        return {name: count for name, count in self.recorder.counters.items() if name.startswith("errors.") and count}


@pytest.fixture
def dialing() -> Iterator[Dialing]:
    made = Dialing()
    yield made
    for link in list(made.shard.links.values()):
        made.shard.withdraw(link, made.clock())


def test_whoever_comes_late_is_met_and_nothing_has_failed(dialing: Dialing) -> None:
    tried: list[int] = []
    dial = dialing.shard.dial
    dialing.shard.dial = lambda number, at_ns: (tried.append(number), dial(number, at_ns))[1]  # type: ignore[method-assign]
    dialing.dial(FOR_EVER_NS >> 1)
    dialing.turn_until(lambda: all(tried.count(number) >= 2 for number in range(MSES)))
    assert dialing.errors() == {}
    assert (dialing.counter("sessions.attempted"), dialing.counter("sessions.failed")) == (MSES, 0)
    with socket.create_server(dialing.address):
        dialing.turn_until(lambda: dialing.counter("sessions.failed") == MSES)
    assert dialing.errors() == {"errors.tcp.met": MSES}
    assert dialing.counter("sessions.attempted") == MSES


def test_by_default_each_is_tried_once(dialing: Dialing) -> None:
    dialing.dial(0)
    dialing.turn_until(lambda: dialing.counter("sessions.failed") == MSES)
    assert dialing.errors() == {"errors.tcp.refused": MSES}
    assert dialing.counter("sessions.attempted") == MSES


def test_who_does_not_come_in_time_has_failed_once(dialing: Dialing) -> None:
    dialing.dial(20 * AGAIN_NS)
    dialing.turn_until(lambda: dialing.counter("sessions.failed") == MSES)
    assert dialing.errors() == {"errors.tcp.refused": MSES}
    assert dialing.counter("sessions.attempted") == MSES


def test_a_run_that_ends_meanwhile_gives_them_up(dialing: Dialing) -> None:
    dialing.dial(FOR_EVER_NS >> 1)
    dialing.turn_until(lambda: dialing.counter("sessions.attempted") == MSES and not dialing.shard.links)
    dialing.shard.halt()
    assert dialing.counter("sessions.withdrawn") == MSES
    assert dialing.errors() == {}
    assert imbalances(dict(dialing.recorder.counters)) == []


# -- a load of handshakes ----------------------------------------------------------------------------------------------


def test_handshakes_begin_once_somebody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tried 1,000 times as often as it is."""
    tried: list[tuple[str, int]] = []
    monkeypatch.setattr(
        redialing, "socket_address", lambda host, port: (tried.append((host, port)), socket_address(host, port))[1]
    )

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = server.getsockname()
        async with trio.open_nursery() as nursery:
            over = trio.Event()

            async def wait() -> None:
                await listened_at([address], FOR_EVER_NS, trio.sleep_forever)
                over.set()

            nursery.start_soon(wait)
            with trio.fail_after(30 * HASTE):
                while len(tried) < 2:  # noqa: ASYNC110 - counted by code under test, which sets no event
                    await trio.sleep(AGAIN_NS / NS_PER_S)
            assert not over.is_set()
            with socket.create_server(address):
                with trio.fail_after(30 * HASTE):
                    await over.wait()

    trio.run(main, clock=MockClock(rate=HASTE))


@pytest.mark.parametrize("how", ["the time is over", "the run is to end"])
def test_or_not(how: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()

    async def main() -> float:
        end = trio.lowlevel.checkpoint if how == "the run is to end" else trio.sleep_forever
        await listened_at([address], 30 * NS_PER_S, end)
        return trio.current_time()

    ended_s = trio.run(main, clock=MockClock(autojump_threshold=0))
    assert ended_s == pytest.approx(30 if how == "the time is over" else 0, abs=1e-6)


# -- WLCs of ours that wait for the first MSE --------------------------------------------------------------------------


@pytest.mark.parametrize(("wait_ns", "came"), [(None, True), (60 * NS_PER_S, False)])
def test_wlcs_wait_until_somebody_comes_or_as_long_as_was_asked_for(wait_ns: int | None, came: bool) -> None:
    """An hour after a load of a second would have been over."""
    document = {"name": "s", "load": {"rate": 1, "stages": [{"hold": "1s"}]}}
    scenario, profile = scenario_untrusted(document, Path("s.toml"))
    plan = make_plan(scenario, profile, use=Use.SERVE_WLC)
    supervisor = Supervisor(plan, profile.document, Keys((), (), (), None, None), 1, lambda _: None, lambda _: None)
    counters: dict[str, int] = {"sessions.established": 0}
    supervisor.merger = SimpleNamespace(counters=lambda: counters)  # type: ignore[assignment]

    async def main() -> tuple[bool, float]:
        async with trio.open_nursery() as nursery:
            ended_s: list[float] = []

            async def connect() -> None:
                assert await supervisor.connect(wait_ns)
                ended_s.append(trio.current_time())

            nursery.start_soon(connect)
            await trio.sleep(3600)
            there = not ended_s
            counters["sessions.established"] = 1
            await trio.sleep(10)
            return there, ended_s[0]

    waited, ended_s = trio.run(main, clock=MockClock(autojump_threshold=0))
    assert waited is came
    assert (ended_s >= 3600) if came else ended_s == pytest.approx(60, abs=2)
