"""How late a worker reads: which reads it looks at, and what it makes of what kernel and scheduler tell."""

from __future__ import annotations

import os
import selectors
import socket
import struct
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import pytest
from drive_samples import VirtualClock

from loadgen.drive.links import Link, Reads
from loadgen.drive.phase import Phase
from loadgen.drive.reading import HandshakeLag, ReadLag, Sampling, SchedulerDelay
from loadgen.measure.histogram import Histogram
from loadgen.measure.recorder import Recorder
from loadgen.measure.stages import AFTER
from loadgen.transport.tls import Tunnel
from loadgen.transport.waiting import Waiting, ask_for_times, waiting
from loadgen.units import NS_PER_MS, NS_PER_S

MS = NS_PER_MS


class Reader:
    """Turns of a loop in virtual time, and which of their reads were looked at."""

    def __init__(self) -> None:
        self.sampling = Sampling(quota=25)
        self.now_ns = 0

    def turn(self, reads: int, takes_ns: int) -> list[int]:
        self.now_ns += takes_ns
        return list(self.sampling.pick(reads, lambda: self.now_ns))


class TestSampling:
    def test_rare_reads_are_all_looked_at(self) -> None:
        reader = Reader()
        assert [reader.turn(1, 25 * MS) for _ in range(1000)] == [[0]] * 1000

    def test_of_many_reads_some_dozens_a_second_are(self) -> None:
        reader = Reader()
        for _ in range(2000):  # two seconds in which the stride is found
            reader.turn(50, MS)
        looked = sum(len(reader.turn(50, MS)) for _ in range(10_000))
        assert 125 < looked < 750  # of 500,000 in ten seconds

    def test_of_a_long_turn_as_many_as_of_its_reads(self) -> None:
        """One turn in a hundred has as many reads as all others: those that waited for it are half of all."""
        reader = Reader()
        short = long = 0
        for number in range(50_000):
            if number % 100:
                short += len(reader.turn(10, MS))
            else:
                long += len(reader.turn(990, MS))
        assert long / (short + long) == pytest.approx(0.5, abs=0.05)

    def test_each_place_in_a_turn_is_looked_at_as_often(self) -> None:
        reader = Reader()
        places = [place for _ in range(50_000) for place in reader.turn(40, MS)]
        assert sum(places) / len(places) == pytest.approx(19.5, abs=0.8)
        assert set(places) == set(range(40))

    def test_reads_that_become_rare_are_looked_at_again(self) -> None:
        reader = Reader()
        for _ in range(5000):
            reader.turn(100, MS)
        for _ in range(2000):
            reader.turn(5, NS_PER_S)
        assert all(reader.turn(1, 25 * MS) for _ in range(100))


class Tunnelled:
    """What a handshake's message waits in."""

    def waiting(self) -> Waiting:
        return Waiting(2 * MS, more=False)


class TestHandshakes:
    @staticmethod
    def done(per_s: int, seconds: int) -> Histogram:
        """Handshakes of two messages each, both of which waited for 2 ms."""
        clock, recorder = VirtualClock(10 * NS_PER_S), Recorder()
        lag = HandshakeLag(recorder, "generator.handshake_lag", clock)
        for _ in range(per_s * seconds):
            clock.now_ns += NS_PER_S // per_s
            link = Link(0, Phase.HANDSHAKING, clock.now_ns)
            lag.begins(link)
            link.tunnel = cast("Tunnel", Tunnelled())
            lag.message(link)
            lag.message(link)
            lag.done(link)
        found = recorder.bins("generator.handshake_lag").take()
        assert found is not None
        return found

    def test_few_are_all_looked_at_and_their_messages_wait_together(self) -> None:
        found = self.done(per_s=200, seconds=5)
        assert found.count == 1000
        assert found.percentiles(50) == (pytest.approx(4 * MS, rel=0.001),)

    def test_of_many_some_two_hundred_a_second(self) -> None:
        found = self.done(per_s=5000, seconds=10)
        assert 1000 < found.count < 5000


class Timed:
    """A shard's ReadLag in virtual time."""

    def __init__(self) -> None:
        self.now_ns = 10 * NS_PER_S
        self.delay_ns = 0
        self.recorder = Recorder()
        self.lag = ReadLag(self.recorder, lambda: self.now_ns, lambda: self.delay_ns)

    def held_up(self, ns: int) -> None:
        """Ready to run, and not let, between two turns."""
        self.lag.turn_ends()
        self.now_ns += ns
        self.delay_ns += ns
        self.lag.turn_begins()

    def look(self, found: Waiting | None, late_ns: int = 0, brings: int = 1) -> None:
        """A read of a turn that is looked at, as all are as long as they are few."""
        link = SimpleNamespace(tunnel=SimpleNamespace(waiting=lambda: found), rested_ns=0, read=False)
        links, reads = cast("list[Link]", [link]), Reads()

        def read_each(part: list[Link]) -> None:
            for each in part:
                each.read = True
                reads.links.append(each)
                reads.times_ns.append(self.now_ns)

        self.lag.read(links, late_ns, read_each, reads)
        assert reads.links == links
        self.lag.settle(reads, [brings])

    def recorded(self) -> Histogram:
        found = self.recorder.bins("generator.read_lag").take()
        assert found is not None
        return found


@pytest.fixture
def timed() -> Timed:
    return Timed()


class TestWeight:
    def test_a_lag_stands_for_all_that_came_since_the_one_before(self) -> None:
        """400 notifications that all came 80 ms late, between 400 that came in time: whatever is looked at of them."""
        timed = Timed()
        total = 0
        for number in range(800):
            burst = 300 <= number < 700
            timed.now_ns += MS // 20 if burst else 10 * MS
            lag = 80 * MS if burst else MS // 10
            timed.look(Waiting(lag, more=False))
            total += 1
        found = timed.recorded()
        assert abs(found.count - total) <= 60  # those behind the last one that was looked at
        late = sum(count for value, count in zip(*found.buckets(), strict=True) if value > 40 * MS)
        assert 0.4 < late / found.count < 0.6


class TestLag:
    def test_is_what_the_kernel_tells(self, timed: Timed) -> None:
        timed.look(Waiting(7 * MS, more=False))
        assert timed.recorded().buckets()[0] == [pytest.approx(7 * MS, rel=0.001)]

    def test_is_how_late_the_turn_came_where_the_kernel_does_not_tell(self, timed: Timed) -> None:
        timed.look(None, 3 * MS)
        assert timed.recorded().buckets()[0] == [pytest.approx(3 * MS, rel=0.001)]

    def test_of_what_came_while_we_were_held_up_is_in_between(self, timed: Timed) -> None:
        """Twenty records came in 40 ms and wait as one: the kernel knows when the last of them did."""
        for _ in range(500):
            timed.held_up(40 * MS)
            timed.look(Waiting(MS, more=True))
            timed.look(Waiting(MS, more=False))  # the last one
            timed.now_ns += 40 * MS
        values, counts = timed.recorded().buckets()
        assert counts[0] == 500  # the last ones
        others = [value for value, count in zip(values[1:], counts[1:], strict=True) for _ in range(count)]
        assert sum(others) / len(others) == pytest.approx(20.5 * MS, rel=0.1)
        assert max(others) <= 40.1 * MS

    def test_of_what_came_afterwards_is_what_the_kernel_tells(self, timed: Timed) -> None:
        timed.held_up(40 * MS)
        timed.look(Waiting(MS, more=False))
        timed.look(Waiting(MS, more=True))
        timed.held_up(40 * MS)
        timed.now_ns += 41 * MS
        timed.look(Waiting(MS, more=True))
        assert timed.recorded().max_ns == pytest.approx(MS, rel=0.001)

    def test_of_what_came_while_we_were_stopped_is_in_between(self, timed: Timed) -> None:
        """Of a process that was stopped the scheduler tells nothing; but its first packet has waited."""
        for _ in range(100):
            timed.now_ns += NS_PER_S
            timed.look(Waiting(240 * MS, more=True))
            for _ in range(10):
                timed.look(Waiting(MS, more=True))
            timed.look(Waiting(MS, more=False))
        values, counts = timed.recorded().buckets()
        late = sum(count for value, count in zip(values, counts, strict=True) if value > 120 * MS)
        assert late == pytest.approx(100 + 500, rel=0.1)

    def test_of_what_came_while_the_turn_was_late_is_in_between(self, timed: Timed) -> None:
        for _ in range(500):
            timed.now_ns += NS_PER_S
            timed.lag.turn_begins(240 * MS)
            timed.look(Waiting(MS, more=True))
            timed.look(Waiting(MS, more=False))
        values, counts = timed.recorded().buckets()
        late = sum(count for value, count in zip(values, counts, strict=True) if value > 120 * MS)
        assert late == pytest.approx(250, rel=0.15)

    def test_of_what_came_while_a_turn_was_stopped_is_in_between(self, timed: Timed) -> None:
        """One of two sessions is read before the stop, and has waited in the next turn; the other one behind it."""
        for _ in range(250):
            timed.now_ns += NS_PER_S
            timed.lag.turn_begins()
            timed.look(Waiting(MS, more=True))
            timed.now_ns += 240 * MS
            timed.look(Waiting(MS, more=True))
            timed.lag.turn_ends()
            timed.lag.turn_begins()
            timed.look(Waiting(MS, more=True))
            timed.look(Waiting(MS, more=False))
            timed.lag.turn_ends()
        values, counts = timed.recorded().buckets()
        assert sum(counts) == 4 * 250
        late = sum(count for value, count in zip(values, counts, strict=True) if value > 120 * MS)
        assert late == pytest.approx(250, rel=0.15)  # half of two reads in each round

    def test_of_turns_as_they_are_is_what_the_kernel_tells(self, timed: Timed) -> None:
        for _ in range(100):
            timed.lag.turn_begins()
            timed.now_ns += 15 * MS
            timed.look(Waiting(MS, more=True))
            timed.lag.turn_ends()
        assert timed.recorded().max_ns == pytest.approx(MS, rel=0.001)

    def test_counts_as_often_as_it_brought_notifications(self, timed: Timed) -> None:
        timed.look(Waiting(7 * MS, more=False), brings=12)
        timed.look(Waiting(MS, more=False), brings=0)  # an echo
        assert timed.recorded().buckets()[1] == [1, 12]

    def test_one_read_of_all_that_waited_counts_from_its_newest_to_its_oldest(self, timed: Timed) -> None:
        """Twelve came every 20 ms of the last 240 before the load ended, and were read 120 ms after that."""
        timed.recorder.stages.add(["hold", AFTER], [0, timed.now_ns + 120 * MS])
        timed.lag.turn_ends()
        timed.now_ns += 240 * MS
        timed.lag.turn_begins(240 * MS)
        lag = timed.lag.look(Waiting(0, more=True), 240 * MS)
        timed.lag.brought(12)
        timed.lag.tell_all(lag, timed.now_ns, 12)
        found = timed.recorder.bins("generator.read_lag", "hold").take()
        assert found is not None
        assert found.count == 6  # the others came after the end
        assert found.max_ns == pytest.approx(240 * MS, rel=0.001)
        timed.look(Waiting(MS, more=False))
        assert timed.recorder.bins("generator.read_lag", "hold").take() is None

    def test_a_moment_is_no_hold_up(self, timed: Timed) -> None:
        timed.held_up(MS // 10)
        timed.look(Waiting(1000, more=True))
        assert timed.recorded().max_ns == pytest.approx(1000, rel=0.001)


def test_the_scheduler_tells_or_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    delay = SchedulerDelay()
    assert 0 <= delay() <= delay()

    def refuse(*_: object) -> int:
        raise FileNotFoundError

    monkeypatch.setattr(os, "open", refuse)
    assert SchedulerDelay()() == 0


@pytest.fixture
def connected() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        reader, _ = server.accept()
        with reader:
            reader.setblocking(False)
            ask_for_times(reader)  # from now on, the kernel notes when packets come
            yield client, reader


def record(size: int) -> bytes:
    return bytes([23, 3, 3, *size.to_bytes(2, "big")]) + bytes(size)


class TestKernel:
    """What Linux tells of a connection."""

    def found(self, connected: tuple[socket.socket, socket.socket], sent: bytes) -> Waiting:
        client, reader = connected
        client.sendall(sent)
        reader.setblocking(True)
        reader.recv(len(sent), socket.MSG_PEEK | socket.MSG_WAITALL)
        reader.setblocking(False)
        found = waiting(reader)
        if found is None:
            pytest.skip("this kernel does not tell when a packet came")
        assert reader.recv(1 << 16) == sent  # it is all still there
        return found

    def test_one_record(self, connected: tuple[socket.socket, socket.socket]) -> None:
        found = self.found(connected, record(100))
        assert found.newest_ns >= 0
        assert not found.more

    def test_two_records(self, connected: tuple[socket.socket, socket.socket]) -> None:
        assert self.found(connected, record(100) + record(20)).more

    def test_a_part_of_a_record(self, connected: tuple[socket.socket, socket.socket]) -> None:
        assert not self.found(connected, record(100)[:50]).more

    def test_nothing(self, connected: tuple[socket.socket, socket.socket]) -> None:
        assert waiting(connected[1]) is None

    def test_the_end(self, connected: tuple[socket.socket, socket.socket]) -> None:
        client, reader = connected
        client.close()
        reader.setblocking(True)
        assert reader.recv(1, socket.MSG_PEEK) == b""
        reader.setblocking(False)
        assert waiting(reader) is None

    def test_a_reset_is_left_to_whoever_reads(self, connected: tuple[socket.socket, socket.socket]) -> None:
        client, reader = connected
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        with selectors.DefaultSelector() as selector:
            selector.register(reader, selectors.EVENT_READ)
            assert selector.select(60)
        assert waiting(reader) is None
        with pytest.raises(ConnectionResetError):
            reader.recv(1)
