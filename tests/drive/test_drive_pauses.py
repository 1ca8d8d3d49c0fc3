"""How long a worker stood still, in virtual time: whatever it waited for, and whichever part of the run it was in."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import trio
from trio.testing import MockClock

from loadgen.drive import dtls, loop, pauses
from loadgen.drive.dtls import DtlsDriver
from loadgen.drive.loop import Loop
from loadgen.drive.pauses import Pauses
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.profile import reference_profile
from loadgen.scenario.plan import Use
from loadgen.units import NEVER_NS, NS_PER_MS, NS_PER_S

Sleep = Callable[[float], None]


@pytest.fixture
def stop(monkeypatch: pytest.MonkeyPatch) -> Sleep:
    """Time is trio's, which jumps; `stop(3)` is what a process sees that was stopped for 3 s."""
    stopped_ns = 0

    def monotonic_ns() -> int:
        return int(trio.current_time() * NS_PER_S) + stopped_ns

    def stop(seconds: float) -> None:
        nonlocal stopped_ns
        stopped_ns += int(seconds * NS_PER_S)

    clock = SimpleNamespace(monotonic_ns=monotonic_ns, process_time=lambda: 0.0, monotonic=lambda: 0.0)
    for module in (loop, dtls, pauses):
        monkeypatch.setattr(module, "time", clock)
    return stop


class Idle(Loop):
    """Has nothing to do, or all that a test gives it."""

    def __init__(self) -> None:
        super().__init__()
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


def drivers() -> list[Callable[[], Idle | IdleDatagrams]]:
    def datagrams() -> IdleDatagrams:
        plan = SimpleNamespace(use=Use.BOTH)
        return IdleDatagrams(plan, reference_profile(), Recorder())  # type: ignore[arg-type]

    return [Idle, datagrams]


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


@pytest.mark.parametrize("make", drivers(), ids=["tls", "dtls"])
class TestParts:
    """A stop is told of in the part of the run that it was in, however the loop came to know of it."""

    def test_each_part_has_its_own(self, make: Callable[[], Idle | IdleDatagrams], stop: Sleep) -> None:
        driver, told = make(), Pauses()

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

    def test_a_stop_in_the_middle_of_what_it_does_is_told_of(
        self, make: Callable[[], Idle | IdleDatagrams], stop: Sleep
    ) -> None:
        driver, told = make(), Pauses()

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

    def test_a_stop_over_the_end_of_the_load_is_in_the_load(
        self, make: Callable[[], Idle | IdleDatagrams], stop: Sleep
    ) -> None:
        """The order to end lies there when the worker goes on, and is obeyed before the loop has turned."""
        driver, told = make(), Pauses()

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

    def test_what_is_forgotten_is(self, make: Callable[[], Idle | IdleDatagrams], stop: Sleep) -> None:
        """Settling takes time between setting up and the load, and is part of neither."""
        driver, told = make(), Pauses()

        def script() -> object:
            yield 1
            told.begin_load(driver)
            stop(2)
            told.forget_load(driver)
            yield 1
            told.look(driver)

        lived(driver, script)
        assert (told.setup_ns, told.load_ns) == (close_to(0), close_to(0))

    def test_another_load_begins_anew(self, make: Callable[[], Idle | IdleDatagrams], stop: Sleep) -> None:
        driver, told = make(), Pauses()

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

    def test_an_ended_driver_stands_still_no_more(self, make: Callable[[], Idle | IdleDatagrams], stop: Sleep) -> None:
        driver, told = make(), Pauses()
        lived(driver, lambda: iter([1]))

        async def later() -> None:
            stop(5)
            told.look(driver)

        trio.run(later, clock=MockClock(autojump_threshold=0))
        assert told.setup_ns == close_to(0)


def test_a_stage_that_counts_leaves_what_was_before_to_setting_up(stop: Sleep) -> None:
    """Under Locust, the load begins with the first user, and what counts when all are there."""
    driver, told = Idle(), Pauses()

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


def test_a_long_turn_is_a_stall(stop: Sleep) -> None:
    driver, told = Idle(), Pauses()

    def script() -> object:
        yield 1
        driver.errand = lambda: stop(0.4)
        yield 0.1
        driver.errand = lambda: None
        yield 1
        told.look(driver)

    lived(driver, script)
    assert told.setup_ns == close_to(0.4)


def test_a_stop_just_after_the_loop_began_to_wait_is_told_of_as_a_whole(stop: Sleep) -> None:
    """By its own time it is late only since it would have woken by itself; but what it reads had come before that."""
    driver, told = Idle(), Pauses()
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


def test_datagrams_that_came_while_we_stood_still_each_came_late(stop: Sleep) -> None:
    driver = drivers()[1]()
    assert isinstance(driver, IdleDatagrams)

    def script() -> object:
        yield 1.05
        stop(0.3)
        driver._received += 12
        yield 1

    lived(driver, script)
    lags = driver.recorder.bins("generator.read_lag").take()
    assert lags is not None
    values, counts = lags.buckets()
    assert sum(count for value, count in zip(values, counts, strict=True) if value > 140 * NS_PER_MS) in (6, 7)
    assert lags.max_ns == close_to(0.3)


def test_a_tick_that_comes_late_reads_late(stop: Sleep) -> None:
    """Over DTLS nobody tells since when a datagram has been there."""
    driver = drivers()[1]()
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


def test_a_tick_that_was_due_before_anybody_knew_is_not_late(stop: Sleep) -> None:
    """What is owed to a peer that was held up became due long ago."""
    driver, told = drivers()[1](), Pauses()
    assert isinstance(driver, IdleDatagrams)

    def script() -> object:
        yield 10
        driver.wake(NS_PER_S)
        yield 1
        told.look(driver)

    lived(driver, script)
    assert told.setup_ns == close_to(0)


def test_garbage_is_counted_in_the_load_alone(stop: Sleep) -> None:
    told = Pauses()

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


def test_stopped_between_listening_and_the_first_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever had connected waited; that a worker is busy making its WLCs is work."""
    now = {"monotonic_ns": 10 * NS_PER_S, "process_time_ns": 2 * NS_PER_S}
    clock = SimpleNamespace(**{name: lambda name=name: now[name] for name in now})
    monkeypatch.setattr(pauses, "time", clock)
    found = Pauses()
    found.drives()
    assert found.setup_ns == 0  # nobody could connect before
    found.opens()
    now["monotonic_ns"] += 3_700 * NS_PER_MS
    now["process_time_ns"] += 700 * NS_PER_MS
    found.drives()
    assert found.setup_ns == 3 * NS_PER_S
    now["monotonic_ns"] += 9 * NS_PER_S
    found.drives()
    assert found.setup_ns == 3 * NS_PER_S
