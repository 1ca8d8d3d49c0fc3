"""What links brought waits a little to be taken together: it counts, however its link ends meanwhile."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from drive_samples import VirtualClock, equipped

from loadgen.drive.phase import Phase
from loadgen.drive.tls_dial import MseLink
from loadgen.drive.tls_mse import MseShard
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.messages import Kind, Role
from loadgen.nmsp.ring import NotifyRing, Timing
from loadgen.nmsp.session import State
from loadgen.scenario.plan import Use, make_plan
from loadgen.scenario.reading import load_scenario
from loadgen.scenario.schema import SessionTable
from loadgen.session.echoes import Echoes
from loadgen.session.mse import MseEndpoint
from loadgen.transport.tls import EndOfStream, TransportFault, Want
from loadgen.units import NS_PER_MS, NS_PER_S, Duration
from loadgen.world.stations import make_stations

LINKS = 8  # more than it takes for a sweep
NEVER_NS = 1 << 50


class FakeTunnel:
    """Hands out what a test put into it; may be blocked, and fail to write."""

    def __init__(self) -> None:
        self.incoming: list[bytes | TransportFault] = []
        self.blocked = False
        self.wants = Want.NOTHING
        self.write_fault: str | None = None
        self.verified = self.refusal = None
        self.refused = False
        self.address = 0  # nothing of OpenSSL's

    def waiting(self) -> None:
        """The kernel does not tell."""

    def read_into(self, view: memoryview) -> int:
        if not self.incoming:
            return 0
        item = self.incoming.pop(0)
        if isinstance(item, TransportFault):
            raise item
        view[: len(item)] = item
        return len(item)

    def write(self, data: bytes) -> None:
        if self.write_fault is not None:
            raise TransportFault(self.write_fault)

    def flush(self) -> bool:
        self.blocked = False
        self.write(b"")
        return True

    def close_notify(self) -> bool:
        return False

    def segments(self) -> None:
        return None

    def close(self) -> None:
        pass


class Fleet:
    """An MSE worker's shard with sessions that are up."""

    def __init__(
        self,
        path: Path,
        dead_ns: int = NEVER_NS,
        echo_ns: int = NEVER_NS // 2,
        use: Use = Use.BOTH,
        sessions_per_user: int = 0,
    ) -> None:
        path.write_text(f'name = "m"\n[wlc]\ncount = 1\n[mse]\ncount = {LINKS}\n[load]\nrate = 100\n', "utf-8")
        scenario, self.profile = load_scenario(path)
        self.plan = plan = make_plan(scenario, self.profile, use=use, sessions_per_user=sessions_per_user)
        self.ring = NotifyRing(self.profile, make_stations(self.profile, 1, 0, 5, (1, 3), 1))
        self.recorder = Recorder()
        self.clock = VirtualClock()
        equipment = equipped(
            Role.MSE,
            plan,
            self.profile,
            self.recorder,
            clock=self.clock,
            setup_timeout_ns=NEVER_NS,
            timers=SessionTable(Duration(echo_ns), Duration(dead_ns)),
        )
        self.shard = MseShard(equipment, [("192.0.2.7", 16113)], [])
        self.sockets = [socket.socket() for _ in range(LINKS)]
        self.links: list[MseLink] = []
        now = self.clock()
        for number, sock in enumerate(self.sockets):
            link = MseLink(sock, now, number)
            link.tunnel = FakeTunnel()  # type: ignore[assignment]
            self.shard.add(link, NEVER_NS, 0)
            self.shard.on_tunnel(link, now)
            endpoint = link.endpoint
            assert endpoint is not None
            endpoint.outbox.clear()
            endpoint.session.state = State.ACTIVE
            endpoint.granted = 1
            endpoint.last_heard_ns = now
            endpoint.echoes = Echoes(self.recorder, equipment.settings.timers, now, endpoint.echo_patience_ns())
            link.phase = Phase.SETTING_UP
            self.shard.activate(link, now)
            self.links.append(link)

    def tunnel(self, index: int) -> FakeTunnel:
        found = self.links[index].tunnel
        assert isinstance(found, FakeTunnel)
        return found

    def bring(self, sequence: int = 0) -> None:
        """Every link that is up has a notification to be read."""
        for index in (index for index in range(LINKS) if self.links[index].tunnel is not None):
            view, _ = self.ring.patch(sequence, 1, sequence, Timing(self.clock(), self.clock()))
            self.tunnel(index).incoming.append(bytes(view))

    def turn(self, events: int = select.EPOLLIN) -> None:
        self.shard.turn([(link.fd, events) for link in self.links if link.phase is not Phase.CLOSED])

    def turn_until(self, done: Callable[[], bool]) -> None:
        """Turn, with nothing ready, until it holds; what waits is due within a millisecond."""
        for _ in range(10):
            if done():
                return
            self.clock.now_ns += NS_PER_MS // 4
            self.shard.turn([])
        assert done()

    def bring_many(self, index: int, count: int) -> None:
        """A link has so many notifications to be read at once."""
        now = self.clock()
        frames = [bytes(self.ring.patch(0, 1, sequence, Timing(now, now))[0]) for sequence in range(count)]
        self.tunnel(index).incoming.append(b"".join(frames))

    @property
    def received(self) -> int:
        return self.recorder.counters["notify.received"]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Fleet]]:
    made: list[Fleet] = []

    def make(**options: Any) -> Fleet:
        made.append(Fleet(tmp_path / "m.toml", **options))
        return made[-1]

    yield make
    for fleet in made:
        fleet.shard.shut()
        for sock in fleet.sockets:
            sock.close()


def test_what_was_read_is_taken_a_little_later(make: Callable[..., Fleet]) -> None:
    fleet = make()
    fleet.bring()
    fleet.turn()
    fleet.turn_until(lambda: fleet.received == LINKS)
    assert fleet.recorder.counters["notify.lost"] == 0
    assert all(not link.read for link in fleet.links)


def test_a_second_record_of_a_link_comes_behind_its_first(make: Callable[..., Fleet]) -> None:
    fleet = make()
    for sequence in range(3):
        fleet.bring(sequence)
        fleet.turn()
    fleet.turn_until(lambda: fleet.received == 3 * LINKS)
    assert fleet.recorder.counters["notify.reordered"] == fleet.recorder.counters["notify.lost"] == 0


def test_the_end_of_the_stream_behind_it(make: Callable[..., Fleet]) -> None:
    fleet = make()
    fleet.bring()
    fleet.turn()
    for index in range(LINKS):
        fleet.tunnel(index).incoming.append(EndOfStream(orderly=True))
    fleet.turn()
    assert (fleet.received, fleet.recorder.counters["sessions.closed"]) == (LINKS, LINKS)


def test_a_neighbour_is_not_dead_that_was_just_read(make: Callable[..., Fleet]) -> None:
    """The loop stood still for longer than the dead interval; meanwhile all peers have sent."""
    dead_ns = 3_600_000_000_000
    fleet = make(dead_ns=dead_ns)
    now = fleet.clock()
    for link in fleet.links:
        assert link.endpoint is not None
        link.endpoint.last_heard_ns = now - dead_ns - 1
        fleet.shard.arm(link, now)
    fleet.bring()
    fleet.turn()
    assert (fleet.received, fleet.shard.active) == (LINKS, LINKS)
    assert fleet.recorder.counters["errors.stream.neighbor_dead"] == 0


def test_a_write_that_fails_meanwhile(make: Callable[..., Fleet]) -> None:
    fleet = make()
    fleet.bring()
    fleet.tunnel(0).blocked, fleet.tunnel(0).write_fault = True, "reset"
    fleet.turn()
    fleet.turn(select.EPOLLOUT)
    fleet.turn_until(lambda: fleet.received == LINKS)
    assert fleet.recorder.counters["errors.stream.reset"] == fleet.recorder.counters["sessions.lost"] == 1


def test_an_echo_that_fails_meanwhile(make: Callable[..., Fleet]) -> None:
    fleet = make(echo_ns=1)
    fleet.bring()
    for index in range(LINKS):
        fleet.tunnel(index).write_fault = "reset"
    fleet.turn()
    fleet.turn_until(lambda: fleet.shard.active == 0)
    assert fleet.received == LINKS
    assert fleet.recorder.counters["sessions.lost"] == LINKS


def test_the_end_of_the_run_meanwhile(make: Callable[..., Fleet]) -> None:
    fleet = make()
    fleet.bring()
    fleet.turn()
    fleet.shard.finish()
    fleet.shard.turn([])
    assert fleet.received == LINKS
    assert fleet.recorder.counters["sessions.closed"] == LINKS


def test_nothing_that_was_sent_stays_with_a_link_that_ended(make: Callable[..., Fleet]) -> None:
    """Found by fuzzing: its timer keeps the link for as long as the dead interval, and with it what it had brought."""
    fleet = make()
    faulty, cut, asking = fleet.links[:3]
    fleet.tunnel(0).incoming.append(b"\xff" * 16384)
    fleet.tunnel(1).incoming += [fleet.profile.framing.head_of(Kind.CAPABILITY, 8)[:7], EndOfStream(orderly=True)]
    assert asking.endpoint is not None
    asking.endpoint.outbox.append(b"not written yet")
    fleet.tunnel(2).incoming.append(TransportFault("reset"))
    fleet.turn()
    fleet.turn_until(lambda: not faulty.read)
    fleet.turn()
    assert [link.phase for link in fleet.links[:3]] == [Phase.CLOSED] * 3
    assert fleet.recorder.counters["errors.stream.garbage"] == 1
    assert fleet.recorder.counters["errors.stream.closed_mid_frame"] == 1
    assert fleet.recorder.counters["errors.stream.reset"] == 1
    assert (faulty.tail, cut.tail, asking.endpoint.outbox) == (b"", b"", [])


def test_a_control_frame_is_taken_at_once(make: Callable[..., Fleet]) -> None:
    """With notifications of others, and behind one of its own."""
    fleet = make()
    fleet.bring()
    echo = fleet.profile.framing.head_of(Kind.ECHO_RESPONSE, 0, 9)
    first = fleet.tunnel(3).incoming.pop()
    assert isinstance(first, bytes)
    fleet.tunnel(3).incoming.append(first + echo)
    fleet.turn()
    fleet.turn_until(lambda: fleet.received == LINKS)
    assert fleet.recorder.counters["echo.unmatched"] == 1
    assert fleet.links[3].endpoint is not None
    assert fleet.links[3].endpoint.role is Role.MSE


@pytest.mark.parametrize(("use", "left"), [(Use.TARGET_WLC, 1), (Use.BOTH, 0)])
def test_a_wlc_that_leaves_before_the_end(make: Callable[..., Fleet], use: Use, left: int) -> None:
    """One in the load, one when the load is over; ours leave when they are told to."""
    fleet = make(use=use)
    fleet.shard.start_load(fleet.clock(), fleet.plan.load.stages)
    fleet.tunnel(0).incoming.append(EndOfStream(orderly=True))
    fleet.turn()
    fleet.shard.end_load()
    fleet.tunnel(1).incoming.append(EndOfStream(orderly=True))
    fleet.turn()
    counters = fleet.recorder.counters
    assert (counters["sessions.left_early"], counters["sessions.closed"]) == (left, 2)


@pytest.mark.parametrize(("use", "mute"), [(Use.TARGET_WLC, 1), (Use.BOTH, 0)])
def test_a_wlc_that_says_nothing_is_named(make: Callable[..., Fleet], use: Use, mute: int) -> None:
    """Of ours, who sent what and where it was lost is counted."""
    fleet = make(use=use)
    start_ns = fleet.clock()
    fleet.shard.totals(start_ns)
    fleet.shard.start_load(start_ns, fleet.plan.load.stages)
    fleet.bring()
    fleet.tunnel(3).incoming.clear()
    fleet.turn()
    fleet.turn_until(lambda: fleet.received == LINKS - 1)
    fleet.shard.totals(start_ns + fleet.plan.duration_ns)
    assert fleet.shard.presence is not None
    absence = fleet.shard.presence.absence()
    assert absence.mute == mute
    named = f"MSE {fleet.plan.mse_macs[3]} at WLC 192.0.2.7:16113: nothing"
    assert absence.mute_named == ((named,) if mute else ())


@pytest.mark.parametrize("leaves", [False, True], ids=("stays", "leaves"))
@pytest.mark.parametrize(("use", "silent"), [(Use.TARGET_WLC, 1), (Use.BOTH, 0)])
def test_a_wlc_that_stalls_until_the_load_is_over_is_named(
    make: Callable[..., Fleet], use: Use, silent: int, leaves: bool
) -> None:
    """By when the load was to end, however late we are told so; also if it leaves in order just before that, as another
    one does that has told everything.
    """
    fleet = make(use=use)
    start_ns, length_ns = fleet.clock(), fleet.plan.duration_ns
    fleet.shard.start_load(start_ns, fleet.plan.load.stages)
    steps = 200
    for step in range(steps):
        fleet.bring(step)
        if step >= steps * 2 // 3:
            fleet.tunnel(3).incoming.clear()
        if leaves and step == steps - 1:
            for index in (0, 3):
                fleet.tunnel(index).incoming.append(EndOfStream(orderly=True))
        fleet.turn()
        fleet.clock.now_ns += length_ns // steps
        fleet.shard.turn([])
    fleet.clock.advance(1)
    fleet.bring(steps)  # when it is over, all come again
    fleet.turn()
    fleet.clock.advance(1)
    fleet.shard.turn([])
    fleet.shard.end_load()
    assert fleet.shard.presence is not None
    absence = fleet.shard.presence.absence()
    assert (absence.silent, absence.mute) == (silent, 0)
    if silent:
        assert absence.silent_s == pytest.approx(length_ns / 3 / NS_PER_S, rel=0.1)
        assert absence.silent_named[0].startswith(f"MSE {fleet.plan.mse_macs[3]} at WLC 192.0.2.7:16113: nothing for")


def test_what_was_under_way_at_our_goodbye_counts(make: Callable[..., Fleet]) -> None:
    """An MSE whose run ends first: its WLCs go on sending until they have read that."""
    fleet = make(use=Use.TARGET_WLC)
    for sequence in range(3):
        fleet.bring(sequence)
    fleet.shard.finish()
    fleet.shard.turn([])
    assert fleet.recorder.counters["sessions.closed"] == LINKS
    for _ in range(3):
        fleet.turn()
    for index in range(LINKS):
        fleet.tunnel(index).incoming.append(EndOfStream(orderly=True))
    fleet.turn()
    fleet.shard.turn([])
    assert fleet.shard.finished
    assert (fleet.received, fleet.recorder.counters["notify.lost"]) == (3 * LINKS, 0)
    assert fleet.recorder.counters["sessions.closed"] == LINKS


@pytest.mark.parametrize(("use", "ours"), [(Use.TARGET_WLC, True), (Use.TARGET_WLC, False), (Use.BOTH, True)])
def test_what_a_wlc_still_held_at_our_goodbye_is_no_loss(make: Callable[..., Fleet], use: Use, ours: bool) -> None:
    """Numbers come out of order, and one that was missing comes after our goodbye, the other never. Args: ours: it was
    we who left."""
    fleet = make(use=use)
    for sequence in (1, 0, 3):
        fleet.bring(sequence)
        fleet.turn()
    fleet.shard.turn([])
    if ours:
        fleet.shard.finish()
        fleet.shard.turn([])
    for sequence in (2, 5):
        fleet.bring(sequence)
        fleet.turn()
    count = fleet.recorder.counters
    for index in range(LINKS):
        fleet.tunnel(index).incoming.append(EndOfStream(orderly=True))
    fleet.turn()
    fleet.shard.turn([])
    assert all(link.phase is Phase.CLOSED for link in fleet.links)
    assert (fleet.received, count["notify.reordered"]) == (5 * LINKS, 2 * LINKS)
    withdrawn = LINKS if ours and use is Use.TARGET_WLC else 0
    assert (count["notify.withdrawn"], count["notify.lost"]) == (withdrawn, LINKS - withdrawn)


def test_an_echo_that_is_under_way_at_our_goodbye(make: Callable[..., Fleet]) -> None:
    """Answered before the other end closes, or never; and nothing is written after the goodbye."""
    fleet = make(use=Use.TARGET_WLC, echo_ns=1)
    fleet.clock.advance(0.001)
    fleet.shard.turn([])
    fleet.shard.finish()
    fleet.shard.turn([])
    endpoint = fleet.links[0].endpoint
    assert isinstance(endpoint, MseEndpoint)
    assert endpoint.echoes is not None
    for index in range(LINKS):
        fleet.tunnel(index).write_fault = "reset"
    fleet.tunnel(0).incoming.append(fleet.profile.framing.head_of(Kind.ECHO_RESPONSE, 0, endpoint.echoes.transaction))
    for index in range(LINKS):
        fleet.tunnel(index).incoming.append(EndOfStream(orderly=True))
    fleet.turn()
    fleet.turn()
    count = fleet.recorder.counters
    assert count["sessions.closed"] == LINKS
    assert count["echo.due"] == count["echo.sent"] + count["echo.dropped"] > count["echo.sent"]
    assert (count["echo.sent"], count["echo.received"], count["echo.unanswered"]) == (LINKS, 1, 0)
    assert count["echo.withdrawn"] == LINKS - 1


def test_an_echo_that_is_under_way_when_the_other_end_leaves(make: Callable[..., Fleet]) -> None:
    """In order, and between a request and its answer: nobody's failure."""
    fleet = make(use=Use.TARGET_WLC, echo_ns=NS_PER_S)
    fleet.clock.advance(1.001)
    fleet.shard.turn([])
    assert fleet.recorder.counters["echo.sent"] == LINKS
    fleet.clock.advance(0.2)
    for index in range(LINKS):
        fleet.tunnel(index).incoming.append(EndOfStream(orderly=True))
    fleet.turn()
    fleet.turn()
    count = fleet.recorder.counters
    assert count["sessions.closed"] == LINKS
    assert (count["echo.withdrawn"], count["echo.unanswered"]) == (LINKS, 0)


def test_a_session_that_is_refused_after_our_side_of_tls_was_done_has_no_time_of_it(make: Callable[..., Fleet]) -> None:
    fleet = make()
    tls = fleet.recorder.bins("handshake.tls").take()
    assert tls is not None
    assert tls.count == LINKS
    with socket.socket() as sock:
        link = MseLink(sock, fleet.clock(), 0)
        link.tunnel = FakeTunnel()  # type: ignore[assignment]
        fleet.shard.add(link, NEVER_NS, 0)
        fleet.shard.on_tunnel(link, fleet.clock())
        link.phase = Phase.SETTING_UP
        fleet.shard.fault(link, "alert_unknown_ca")
    assert fleet.recorder.counters["errors.session.alert_unknown_ca"] == 1
    assert fleet.recorder.bins("handshake.tls").take() is None


@pytest.mark.parametrize("links", [1, LINKS], ids=["one by one", "swept"])
def test_what_was_read_late_counts_by_notifications(make: Callable[..., Fleet], links: int) -> None:
    """One read after we stood still has brought what many reads before it did."""
    fleet = make()
    for index in range(links):
        fleet.bring_many(index, 5 if index else 12)
    fleet.shard.late_ns = 240 * NS_PER_MS
    fleet.turn()
    fleet.turn_until(lambda: fleet.received == 12 + 5 * (links - 1))
    values, counts = fleet.recorder.bins("generator.read_lag").take().buckets()  # type: ignore[union-attr]
    late = sum(count for value, count in zip(values, counts, strict=True) if value > 200 * NS_PER_MS)
    assert late == fleet.received + LINKS - links  # those that had nothing count as one
