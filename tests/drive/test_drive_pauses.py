"""How long a worker stood still, in virtual time: whatever it waited for, and whichever part of the run it was in."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from drive_samples import VirtualClock, equipped
from trio.testing import MockClock

from loadgen.clock import Nanoseconds
from loadgen.drive.dtls import DtlsDriver
from loadgen.drive.loop import Loop
from loadgen.drive.pauses import Pauses
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.messages import Role
from loadgen.scenario.plan import make_plan
from loadgen.scenario.reading import scenario_untrusted
from loadgen.units import NEVER_NS, NS_PER_MS, NS_PER_S

Make = Callable[[Nanoseconds], "Idle | IdleDatagrams"]


class Stopping:
    """Time is trio's, which jumps; `stop(3)` is what a process sees that was stopped for 3 s."""

    def __init__(self) -> None:
        self._stopped_ns = 0

    def __call__(self, seconds: float) -> None:
        self._stopped_ns += int(seconds * NS_PER_S)

    def now_ns(self) -> int:
        return int(trio.current_time() * NS_PER_S) + self._stopped_ns

    def pauses(self) -> Pauses:
        return Pauses(self.now_ns)


@pytest.fixture
def stop() -> Stopping:
    return Stopping()


class Idle(Loop):
    """Has nothing to do, or all that a test gives it."""

    def __init__(self, clock: Nanoseconds) -> None:
        super().__init__(clock)
        self.errand: Callable[[], None] = lambda: None

    def turn(self, ready: list[tuple[int, int]]) -> None:
        self.errand()

    def next_wake_ns(self, now_ns: int) -> int:
        return NEVER_NS


class IdleDatagrams(DtlsDriver):
    errand: Callable[[], None] = staticmethod(lambda: None)

    def endpoints(self) -> list[trio.DTLSEndpoint]:
        return []

    def shut(self) -> None:
        pass

    def next_wake_ns(self, now_ns: int) -> int:
        return NEVER_NS

    async def on_tick(self, now_ns: int) -> None:
        self.errand()


def datagrams(clock: Nanoseconds) -> IdleDatagrams:
    document = {"name": "idle", "load": {"rate": 1}}
    scenario, profile = scenario_untrusted(document, Path("idle.toml"))
    return IdleDatagrams(equipped(Role.MSE, make_plan(scenario, profile), profile, Recorder(), clock=clock))


def lived(driver: Idle | IdleDatagrams, script: Callable[[], object]) -> None:
    """Run the driver while a script of (seconds to let pass) steps goes on."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(driver.run)
            for seconds in script():  # type: ignore[attr-defined]
                await trio.sleep(seconds)
            driver.finished = True
            await trio.sleep(1)

    trio.run(main, clock=MockClock(autojump_threshold=0))


def close_to(seconds: float) -> object:
    """A loop wakes 100 ms later at the latest: when it was stopped in that time, nobody knows."""
    return pytest.approx(seconds * NS_PER_S, abs=0.11 * NS_PER_S)


@pytest.mark.parametrize("make", [Idle, datagrams], ids=["tls", "dtls"])
class TestParts:
    """A stop is told of in the part of the run that it was in, however the loop came to know of it."""

    def test_each_part_has_its_own(self, make: Make, stop: Stopping) -> None:
        driver, told = make(stop.now_ns), stop.pauses()

        def script() -> object:
            yield 1
            stop(2.83)
            yield 1
            told.begin_load(driver)
            yield 1
            stop(3)
            yield 1
            told.look(driver)
            told.end_load(driver)
            yield 1
            stop(1.5)
            yield 1
            told.look(driver)

        lived(driver, script)
        assert (told.setup_ns, told.load_ns, told.closing_ns) == (close_to(2.83), close_to(3), close_to(1.5))

    def test_a_stop_in_the_middle_of_what_it_does_is_told_of(self, make: Make, stop: Stopping) -> None:
        driver, told = make(stop.now_ns), stop.pauses()

        def be_stopped() -> None:
            driver.errand = lambda: None
            stop(3)

        def script() -> object:
            yield 1
            told.begin_load(driver)
            driver.errand = be_stopped
            yield 1
            told.end_load(driver)

        lived(driver, script)
        assert told.load_ns == close_to(3)

    def test_a_stop_over_the_end_of_the_load_is_in_the_load(self, make: Make, stop: Stopping) -> None:
        """The order to end lies there when the worker goes on, and is obeyed before the loop has turned."""
        driver, told = make(stop.now_ns), stop.pauses()

        def script() -> object:
            yield 1
            told.begin_load(driver)
            yield 1
            stop(3)
            told.end_load(driver)
            yield 1
            told.look(driver)

        lived(driver, script)
        assert (told.setup_ns, told.load_ns, told.closing_ns) == (close_to(0), close_to(3), close_to(0))

    def test_what_is_forgotten_is(self, make: Make, stop: Stopping) -> None:
        """Settling takes time between setting up and the load, and is part of neither."""
        driver, told = make(stop.now_ns), stop.pauses()

        def script() -> object:
            yield 1
            told.begin_load(driver)
            stop(2)
            told.forget_load(driver)
            yield 1
            told.look(driver)

        lived(driver, script)
        assert (told.setup_ns, told.load_ns) == (close_to(0), close_to(0))

    def test_another_load_begins_anew(self, make: Make, stop: Stopping) -> None:
        driver, told = make(stop.now_ns), stop.pauses()

        def script() -> object:
            yield 1
            stop(2)
            yield 1
            told.begin_load(driver)
            yield 1
            told.end_load(driver)
            stop(2)
            yield 1
            told.begin_load(driver)
            yield 1
            told.look(driver)

        lived(driver, script)
        assert (told.setup_ns, told.load_ns, told.closing_ns) == (close_to(0), close_to(0), close_to(0))

    def test_an_ended_driver_stands_still_no_more(self, make: Make, stop: Stopping) -> None:
        driver, told = make(stop.now_ns), stop.pauses()
        lived(driver, lambda: iter([1]))

        async def later() -> None:
            stop(5)
            told.look(driver)

        trio.run(later, clock=MockClock(autojump_threshold=0))
        assert told.setup_ns == close_to(0)


def test_a_stage_that_counts_leaves_what_was_before_to_setting_up(stop: Stopping) -> None:
    """Under Locust, the load begins with the first user, and what counts when all are there."""
    driver, told = Idle(stop.now_ns), stop.pauses()

    def script() -> object:
        yield 1
        told.begin_load(driver)
        stop(2)
        yield 1
        told.begin_load(driver)
        yield 1
        told.look(driver)

    lived(driver, script)
    assert (told.setup_ns, told.load_ns) == (close_to(2), close_to(0))


def test_a_long_turn_is_a_stall(stop: Stopping) -> None:
    driver, told = Idle(stop.now_ns), stop.pauses()

    def script() -> object:
        yield 1
        driver.errand = lambda: stop(0.4)
        yield 0.1
        driver.errand = lambda: None
        yield 1
        told.look(driver)

    lived(driver, script)
    assert told.setup_ns == close_to(0.4)


@pytest.mark.parametrize("make", [Idle, datagrams], ids=["tls", "dtls"])
def test_whoever_is_woken_looks_at_once_and_is_not_late(make: Make, stop: Stopping) -> None:
    driver, told = make(stop.now_ns), stop.pauses()
    looked_ns: list[int] = []
    woken_ns: list[int] = []

    def script() -> object:
        yield 1.017
        driver.errand = lambda: looked_ns.append(stop.now_ns())
        for _ in range(3):
            woken_ns.append(stop.now_ns())
            driver.wake_now()
            yield 0.01
        told.look(driver)

    lived(driver, script)
    assert set(woken_ns) <= set(looked_ns[:6])
    assert told.setup_ns == 0


def test_a_stop_just_after_the_loop_began_to_wait_is_told_of_as_a_whole(stop: Stopping) -> None:
    """By its own time it is late only since it would have woken by itself; but what it reads had come before that."""
    driver, told = Idle(stop.now_ns), stop.pauses()
    reader, writer = os.pipe()
    driver.watch_other(reader)

    def read() -> None:
        os.read(reader, 1)
        driver.waited(int(0.24 * NS_PER_S))  # the kernel says so
        driver.errand = lambda: None

    def script() -> object:
        yield 1.001
        stop(0.24)
        driver.errand = read
        os.write(writer, b"!")
        yield 0.01
        told.look(driver)
        # What had been there before the loop began to wait was not waited for.
        told.begin_load(driver)
        driver.errand = lambda: driver.waited(5 * NS_PER_S)
        yield 1
        told.look(driver)

    lived(driver, script)
    for descriptor in (reader, writer):
        os.close(descriptor)
    assert told.setup_ns == pytest.approx(0.24 * NS_PER_S, abs=2 * NS_PER_MS)
    assert told.load_ns <= 0.11 * NS_PER_S


def test_datagrams_that_came_while_we_stood_still_each_came_late(stop: Stopping) -> None:
    driver = datagrams(stop.now_ns)
    assert isinstance(driver, IdleDatagrams)

    def script() -> object:
        yield 1.05
        stop(0.3)
        driver.received += 12
        yield 1

    lived(driver, script)
    lags = driver.recorder.bins("generator.read_lag").take()
    assert lags is not None
    values, counts = lags.buckets()
    assert sum(count for value, count in zip(values, counts, strict=True) if value > 140 * NS_PER_MS) in (6, 7)
    assert lags.max_ns == close_to(0.3)


def test_a_tick_that_comes_late_reads_late(stop: Stopping) -> None:
    """Over DTLS nobody tells since when a datagram has been there."""
    driver = datagrams(stop.now_ns)
    assert isinstance(driver, IdleDatagrams)

    def script() -> object:
        yield 1.05
        stop(0.3)
        yield 1

    lived(driver, script)
    lags = driver.recorder.bins("generator.read_lag").take()
    assert lags is not None
    assert lags.max_ns == close_to(0.3)
    assert lags.percentiles(90.0) == (0,)


def test_a_tick_that_was_due_before_anybody_knew_is_not_late(stop: Stopping) -> None:
    """What is owed to a peer that was held up became due long ago."""
    driver, told = datagrams(stop.now_ns), stop.pauses()
    assert isinstance(driver, IdleDatagrams)

    def script() -> object:
        yield 10
        driver.wake(NS_PER_S)
        yield 1
        told.look(driver)

    lived(driver, script)
    assert told.setup_ns == close_to(0)


def test_garbage_is_counted_in_the_load_alone(stop: Stopping) -> None:
    told = stop.pauses()

    async def main() -> None:
        def collect() -> None:
            told.note_garbage("start", {})
            stop(0.25)
            told.note_garbage("stop", {})

        collect()
        told.begin_load(None)
        collect()
        collect()
        told.end_load(None)
        collect()

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert (told.longest_gc_ns, told.gc_ns) == (250 * NS_PER_MS, 500 * NS_PER_MS)


def test_stopped_between_listening_and_the_first_turn() -> None:
    """Whoever had connected waited; that a worker is busy making its WLCs is work."""
    clock, cpu = VirtualClock(10 * NS_PER_S), VirtualClock(2 * NS_PER_S)
    found = Pauses(clock, cpu)
    found.drives()
    assert found.setup_ns == 0  # nobody could connect before
    found.opens()
    clock.advance(3.7)
    cpu.advance(0.7)
    found.drives()
    assert found.setup_ns == 3 * NS_PER_S
    clock.advance(9)
    found.drives()
    assert found.setup_ns == 3 * NS_PER_S
