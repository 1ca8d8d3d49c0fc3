"""Sending what is due over many links at once: what is sent, counted and kept when some of them cannot take it."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from drive_samples import FOR_EVER_NS, PATIENT, VirtualClock, equipped

from loadgen.drive.aaa import Aaa
from loadgen.drive.phase import Phase
from loadgen.drive.tls_accept import WlcLink
from loadgen.drive.tls_wlc import WlcShard
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.bulk import NotifyReceiver
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import EchoRequest, Message, Role, SubscribeRequest, VersionRequest
from loadgen.scenario.plan import Use, make_plan
from loadgen.scenario.reading import load_scenario
from loadgen.transport.openssl import Pointer, bytes_at
from loadgen.transport.tls import EndOfStream, TransportFault, Want
from loadgen.transport.waiting import Waiting
from loadgen.units import NS_PER_MS, NS_PER_S

MSES = 30  # more than it takes for sending together
GOODBYE = 31
SCENARIO = """
name = "many"
[wlc]
count = 2
stations = 7
readings = [1, 3]
[mse]
count = 30
[load]
rate = 100
"""


class FakeTunnel:
    """Takes what is written, blocks when told to, or fails."""

    address = 0  # nothing of OpenSSL's

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.blocked = self.block_next = False
        self.fault: str | None = None
        self.verified = self.refusal = None
        self.refused = False
        self.wants = Want.NOTHING
        self.unacknowledged = 0

    def waiting(self) -> None:
        """The kernel does not tell."""

    def allow_unsent(self, size: int) -> None:
        """No kernel holds anything."""

    def write(self, data: bytes | memoryview) -> None:
        assert not self.blocked
        if self.fault is not None:
            raise TransportFault(self.fault)
        self.written.append(bytes(data))
        self.blocked = self.block_next

    def write_at(self, pointer: Pointer, size: int) -> None:
        self.write(bytes_at(pointer, size))

    def unacknowledged_bytes(self) -> int:
        return self.unacknowledged

    def read_into(self, view: memoryview) -> int:
        raise EndOfStream(orderly=True)

    def close_notify(self) -> bool:
        return False

    def segments(self) -> None:
        return None

    def close(self) -> None:
        self.written.append(b"closed")


class Fleet:
    """A worker with two WLCs, all of whose sessions are up, with time in the test's hands."""

    def __init__(
        self,
        path: Path,
        use: Use = Use.BOTH,
        mses: int = MSES,
        planned: int = MSES,
        per_s: int = 100,
        aaa: Aaa | None = None,
    ) -> None:
        """Args: mses: at each WLC. planned: of those, or more. per_s: slots."""
        scenario = SCENARIO.replace(f"count = {MSES}", f"count = {planned}").replace("rate = 100", f"rate = {per_s}")
        path.write_text(scenario, "utf-8")
        scenario, self.profile = load_scenario(path)
        self.plan = make_plan(scenario, self.profile, use=use)
        self.recorder = Recorder()
        self.sockets = [socket.socket() for _ in range(2 + 2 * mses)]
        self.clock = VirtualClock()
        equipment = equipped(
            Role.WLC, self.plan, self.profile, self.recorder, clock=self.clock, to_unix_ns=5_000, **PATIENT
        )
        contexts = [None, None]  # never asked: the tunnels are fakes
        self.shard = WlcShard(equipment, self.sockets[:2], contexts, aaa)  # type: ignore[arg-type]
        self.links: list[WlcLink] = []
        for index, sock in enumerate(self.sockets[2:]):
            link = WlcLink(sock, 0, index % 2)
            link.tunnel = FakeTunnel()  # type: ignore[assignment]
            self.shard.add(link, 1 << 62, 0)
            self.shard.on_tunnel(link, 0)
            assert link.endpoint is not None
            link.endpoint.granted = 1
            link.phase = Phase.ACTIVE
            self.shard.on_active(link, 0)
            self.links.append(link)
        self.start(self.clock())

    def start(self, at_ns: int) -> None:
        self.start_ns = at_ns
        self.shard.start_load(at_ns, self.plan.load.stages)

    def at(self, slots: int) -> int:
        """The time at which so many are due."""
        return self.start_ns + self.plan.schedule().due_ns(slots - 1)

    def end_at(self, at_ns: int, *links: WlcLink) -> None:
        """These leave then."""
        now_ns, self.clock.now_ns = self.clock.now_ns, at_ns
        for link in links:
            self.shard.end(link, orderly=True)
        self.clock.now_ns = now_ns

    def tunnel(self, index: int) -> FakeTunnel:
        found = self.links[index].tunnel
        assert isinstance(found, FakeTunnel)
        return found

    def send(self, slots: int, *, hurried: bool = False) -> None:
        """So many are due, in a turn for which time stands still. Args: hurried: its time is over as it sends."""
        now_ns = self.at(slots)
        self.clock.now_ns = now_ns + (NS_PER_S if hurried else 0)
        self.shard.on_turn(now_ns)

    def sequences(self, index: int) -> list[int]:
        """What went over a link, in order; every write must be whole frames with the due times of the schedule."""
        data = b"".join(self.tunnel(index).written)
        receiver = NotifyReceiver(self.profile, len(data) + 1)
        receiver.view[: len(data)] = data
        scanned = receiver.scan_untrusted(0, len(data))
        assert scanned.position == len(data)
        columns = receiver.columns()
        schedule, wlc = self.plan.schedule(), index % 2
        wanted = [
            schedule.due_ns(schedule.slot(wlc, turn)) + self.start_ns + 5_000 for turn in columns.sequence.tolist()
        ]
        assert columns.due_ns.tolist() == wanted
        assert np.all(columns.sent_ns >= columns.due_ns)
        return columns.sequence.tolist()

    def totals(self) -> dict[str, int]:
        return self.shard.totals(self.clock())


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(tmp_path / "many.toml")
    yield made
    made.shard.shut()
    for sock in made.sockets:
        sock.close()


def test_one_each(fleet: Fleet) -> None:
    for slots in (1, 2, 4, 5, 6):
        fleet.send(slots)
    assert [fleet.sequences(index) for index in range(2 * MSES)] == [[0, 1, 2]] * (2 * MSES)
    assert all(len(fleet.tunnel(index).written) == 3 for index in range(2 * MSES))
    totals = fleet.totals()
    assert (totals["notify.sent"], totals["notify.writes"]) == (6 * MSES, 6 * MSES)
    lag = fleet.recorder.bins("notify.lag").take()
    assert lag is not None
    assert lag.count == 6 * MSES


def test_a_blocked_link_is_left_out_and_catches_up_in_one_write(fleet: Fleet) -> None:
    fleet.tunnel(4).block_next = True
    fleet.send(2)
    assert fleet.tunnel(4).blocked
    fleet.send(4)
    fleet.send(6)
    assert fleet.sequences(4) == [0]
    assert fleet.sequences(5) == [0, 1, 2]
    fleet.tunnel(4).blocked = fleet.tunnel(4).block_next = False
    fleet.send(8)
    assert fleet.sequences(4) == [0, 1, 2, 3]
    assert len(fleet.tunnel(4).written) == 2
    totals = fleet.totals()
    assert totals["notify.sent"] == 4 * 2 * MSES
    assert totals["notify.writes"] == 4 * 2 * MSES - 2
    assert totals["notify.dropped"] == 0


def test_a_link_that_breaks_costs_itself_only(fleet: Fleet) -> None:
    fleet.send(2)
    fleet.tunnel(6).fault = "reset"
    broken = fleet.links[6]
    fleet.send(4)
    assert broken.phase is Phase.CLOSED
    assert fleet.recorder.counters["errors.serve.reset"] == 1
    others = [index for index in range(2 * MSES) if index != 6]
    assert [fleet.sequences(index) for index in others] == [[0, 1]] * len(others)
    assert fleet.totals()["notify.sent"] == 2 * MSES * 2 - 1
    # Its row still owes: planned sessions do, until it comes back or the time for it is over.
    owing = fleet.shard.owing
    row = next(row for row in owing.rows[0] if owing.subscribers[row] is None)
    assert owing.ledger.owed(row, 2) == 1


def test_without_time_the_rest_is_visited_later(fleet: Fleet) -> None:
    fleet.send(2, hurried=True)
    assert fleet.totals()["notify.sent"] == MSES  # one visit of one WLC
    assert fleet.shard.next_wake_ns(fleet.at(2)) == fleet.at(2)
    fleet.send(2)
    assert fleet.shard.next_wake_ns(fleet.at(2)) > fleet.at(2)
    assert [fleet.sequences(index) for index in range(2 * MSES)] == [[0]] * (2 * MSES)


def test_a_wlc_that_is_always_owed_more_keeps_no_other_waiting(tmp_path: Path) -> None:
    """WLC 0's MSE has read nothing for 0.4 s, and is owed more than some visits can send."""
    fleet = Fleet(tmp_path / "fast.toml", mses=1, planned=1, per_s=10_000)
    fleet.tunnel(0).blocked = True
    fleet.send(4_000)
    assert (fleet.tunnel(0).written, fleet.sequences(1)) == ([], [*range(2_000)])
    fleet.tunnel(0).blocked = False

    def visited(slots: int) -> list[int]:
        """In a turn that has time for no more than one."""
        before = [len(fleet.tunnel(number).written) for number in range(2)]
        fleet.send(slots, hurried=True)
        return [number for number in range(2) if len(fleet.tunnel(number).written) > before[number]]

    assert [visited(4_002), visited(4_002)] == [[0], [1]]
    assert [visited(4_004) for _ in range(4)] == [[0], [1], [0], [0]]  # WLC 1 is due again
    assert len(fleet.sequences(0)) < 2_000
    fleet.shard.shut()
    for sock in fleet.sockets:
        sock.close()


def test_a_session_that_comes_back_begins_at_0_and_gets_what_is_due_from_then_on(fleet: Fleet) -> None:
    fleet.send(4)
    gone = fleet.links[8]
    row = gone.row
    fleet.shard.end(gone, orderly=False)
    fleet.send(6)
    again = WlcLink(fleet.sockets[0], 0, 0)
    again.tunnel = FakeTunnel()  # type: ignore[assignment]
    fleet.shard.on_tunnel(again, 0)
    assert again.endpoint is not None
    again.endpoint.granted = 1
    again.phase = Phase.ACTIVE
    fleet.shard.on_active(again, fleet.at(6))
    assert again.row == row
    fleet.send(8)
    written = again.tunnel.written  # type: ignore[attr-defined]
    assert len(written) == 1
    receiver = NotifyReceiver(fleet.profile, len(written[0]))
    receiver.view[:] = written[0]
    assert receiver.scan_untrusted(0, len(written[0])).notifications == 1
    assert receiver.columns().sequence.tolist() == [0]
    assert fleet.shard.owing.ledger.dropped[row] == 1


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Callable[..., Fleet]]:
    """Somebody else's MSEs."""
    made: list[Fleet] = []

    def make(mses: int, planned: int, aaa: Aaa | None = None) -> Fleet:
        made.append(Fleet(tmp_path / "strangers.toml", Use.SERVE_WLC, mses, planned, aaa=aaa))
        return made[-1]

    yield make
    for fleet in made:
        fleet.shard.shut()
        for sock in fleet.sockets:
            sock.close()


def test_the_next_subscriber_is_not_passed_over_when_one_breaks(serving: Callable[..., Fleet]) -> None:
    """Whom nobody planned takes the row away, in the middle of a visit."""
    fleet = serving(3, planned=1)
    fleet.tunnel(0).fault = "reset"
    fleet.send(2)
    assert fleet.recorder.counters["errors.serve.reset"] == fleet.recorder.counters["sessions.lost"] == 1
    assert [fleet.sequences(index) for index in range(1, 6)] == [[0]] * 5


def test_an_mse_that_leaves_before_the_end(serving: Callable[..., Fleet]) -> None:
    """One in the load, one when we have been told to finish."""
    fleet = serving(3, planned=3)
    fleet.shard.turn([(fleet.links[0].fd, select.EPOLLIN)])
    fleet.shard.finish()
    fleet.shard.turn([(fleet.links[1].fd, select.EPOLLIN)])
    counters = fleet.recorder.counters
    # The others are closed by us.
    assert (counters["sessions.left_early"], counters["sessions.closed"]) == (1, 6)


def over(fleet: Fleet) -> dict[str, int]:
    """The load ends with its first second: 100 slots were due, 50 of each WLC."""
    fleet.clock.now_ns = fleet.start_ns + NS_PER_S - 1
    fleet.shard.owing.give_up(fleet.clock())
    fleet.shard.end_load()
    totals = fleet.totals()
    assert totals["notify.due"] == totals["notify.sent"] + totals["notify.dropped"]
    return totals


def test_what_is_due_goes_on_when_an_mse_leaves(serving: Callable[..., Fleet]) -> None:
    fleet = serving(1, planned=1)
    fleet.send(20)
    fleet.shard.end(fleet.links[0], orderly=True)
    fleet.send(100)
    totals = over(fleet)
    assert (totals["notify.due"], totals["notify.sent"], totals["notify.dropped"]) == (100, 60, 40)
    assert totals["generator.shortfall"] == 0


def test_what_waits_too_long_for_an_absent_mse_is_dropped_as_the_load_goes_on(serving: Callable[..., Fleet]) -> None:
    """Not only when that is over: a threshold that ends a run, and whoever looks at it meanwhile, go by it."""
    fleet = serving(1, planned=1)
    fleet.start(fleet.clock())
    fleet.send(20)
    fleet.shard.end(fleet.links[0], orderly=True)
    late = fleet.shard.totals(fleet.start_ns + fleet.plan.load.backlog + NS_PER_S // 2)
    early = fleet.shard.totals(fleet.start_ns + NS_PER_S // 2)
    # The other WLC's MSE is there: what it is owed is for the next visit to give up.
    schedule = fleet.plan.schedule()
    owed = schedule.turns(0, schedule.count_at(NS_PER_S // 2)) - 10
    assert late["notify.dropped"] == early["notify.dropped"] == owed
    assert late["generator.shortfall"] == 0


def test_an_mse_that_never_came_is_owed_from_the_start(serving: Callable[..., Fleet]) -> None:
    fleet = serving(1, planned=2)
    fleet.send(100)
    totals = over(fleet)
    assert (totals["notify.due"], totals["notify.sent"], totals["notify.dropped"]) == (200, 100, 100)


def test_whom_nobody_planned_is_owed_while_it_is_there(serving: Callable[..., Fleet]) -> None:
    fleet = serving(2, planned=1)
    fleet.send(20)
    fleet.end_at(fleet.at(20), fleet.links[2])  # the second at WLC 0
    fleet.send(100)
    totals = over(fleet)
    assert (totals["notify.due"], totals["notify.sent"], totals["notify.dropped"]) == (160, 160, 0)


def test_whom_nobody_planned_takes_the_place_of_one_that_leaves(serving: Callable[..., Fleet]) -> None:
    """As many as should be there are; when that one leaves as well, its place is owed."""
    fleet = serving(2, planned=1)
    fleet.send(20)
    fleet.end_at(fleet.at(20), fleet.links[0], fleet.links[2])
    fleet.send(100)
    totals = over(fleet)
    assert (totals["notify.due"], totals["notify.sent"], totals["notify.dropped"]) == (160, 120, 40)


def test_one_that_unsubscribed_and_left_is_owed_again(serving: Callable[..., Fleet]) -> None:
    """It wants nothing for a while; but nobody there is another matter."""
    fleet = serving(1, planned=1)
    fleet.send(20)
    link = fleet.links[0]
    assert link.endpoint is not None
    link.endpoint.granted = 0
    fleet.shard.on_granted(link, 1, fleet.at(20))
    fleet.end_at(fleet.at(40), link)
    fleet.send(100)
    totals = over(fleet)
    # Of its 50, ten were due while it wanted none.
    assert (totals["notify.due"], totals["notify.sent"], totals["notify.dropped"]) == (90, 60, 30)


def each_bytes(fleet: Fleet, number: int) -> tuple[int, int]:
    """How large a notification of a link is, on average, and how large it went out, where each went by itself."""
    each, sent_each = fleet.shard.bytes_of_told(fleet.links[number])
    assert sent_each == each + fleet.shard.record_bytes
    assert each == int(each)
    return int(each), int(sent_each)


def test_what_a_link_that_goes_had_not_acknowledged_counts(serving: Callable[..., Fleet]) -> None:
    """Once: of those that went when they did, of the others when the load is over. Of each, one is not acknowledged."""
    fleet = serving(3, planned=3)
    fleet.send(2)
    ones = [each_bytes(fleet, number)[0] for number in range(6)]
    for number in range(6):
        fleet.tunnel(number).unacknowledged = each_bytes(fleet, number)[1] + (GOODBYE if number < 2 else 0)
    fleet.tunnel(0).fault = "reset"
    fleet.send(4)
    fleet.shard.end(fleet.links[1], orderly=True)
    assert fleet.totals()["notify.unacknowledged_bytes"] == sum(ones[:2])
    assert over(fleet)["notify.unacknowledged_bytes"] == sum(ones)
    fleet.shard.end(fleet.links[2], orderly=True)
    fleet.shard.end_load()
    assert fleet.totals()["notify.unacknowledged_bytes"] == sum(ones)


def test_what_a_peer_had_not_taken_when_its_link_went_counts_once_more(serving: Callable[..., Fleet]) -> None:
    """In the load or after it, and without our own goodbye; never more than it was sent, whatever waits before that."""
    fleet = serving(3, planned=3)
    for slots in (2, 4, 6):
        fleet.send(slots)
    one, one_out = each_bytes(fleet, 0)
    for number, waiting in ((0, one_out), (2, 2 * one_out), (4, 10**6)):
        fleet.tunnel(number).unacknowledged = waiting + GOODBYE
    fleet.shard.end(fleet.links[0], orderly=False)
    over(fleet)
    fleet.shard.end(fleet.links[2], orderly=True)
    fleet.shard.end(fleet.links[4], orderly=False)
    assert fleet.recorder.counters["notify.untaken_bytes"] == (1 + 2 + 3) * one


class Ends(FakeTunnel):
    """How its peer ends it, after our goodbye."""

    def __init__(self, end: TransportFault) -> None:
        super().__init__()
        self.end = end

    def read_into(self, view: memoryview) -> int:
        raise self.end


@pytest.mark.parametrize(
    ("end", "unconfirmed"),
    [
        (TransportFault("reset"), 2),
        (None, 2),  # nothing comes any more
        (EndOfStream(orderly=True), 0),
        (EndOfStream(orderly=False), 0),  # its kernel would have reset what was unread
    ],
)
def test_what_was_sent_in_a_session_that_its_peer_breaks_off_behind_our_goodbye_counts(
    serving: Callable[..., Fleet], end: TransportFault | None, unconfirmed: int
) -> None:
    """Its TCP has taken all of it, and nobody says that it was read. The other sessions end in order."""
    fleet = serving(3, planned=3)
    for slots in (2, 4):
        fleet.send(slots)
    over(fleet)
    shard, link = fleet.shard, fleet.links[2]
    if end is not None:
        link.tunnel = Ends(end)  # type: ignore[assignment]
    shard.withdraw(link, fleet.clock())
    assert link.phase is Phase.CLOSING
    if end is None:
        shard.on_timer(link, FOR_EVER_NS)
    else:
        shard.turn([(link.fd, select.EPOLLIN)])
    assert link.phase is Phase.CLOSED
    for other in set(fleet.links) - {link}:
        shard.withdraw(other, fleet.clock())
        shard.turn([(other.fd, select.EPOLLIN)])
    assert fleet.recorder.counters["notify.unconfirmed"] == unconfirmed
    assert fleet.recorder.counters["sessions.closed"] == 6


def test_whether_our_own_mses_have_read_what_they_were_sent_they_say_themselves(fleet: Fleet) -> None:
    fleet.send(2)
    fleet.shard.withdraw(fleet.links[0], fleet.clock())
    fleet.shard.fault(fleet.links[0], "reset")
    assert fleet.recorder.counters["notify.unconfirmed"] == 0


def answered(fleet: Fleet, link: WlcLink, *sizes: int) -> int:
    """A link was sent other frames, each in a record; returns how large they went out."""
    assert link.endpoint is not None
    link.endpoint.outbox.extend(bytes(size) for size in sizes)
    fleet.shard.send_outbox(link)
    return sum(sizes) + len(sizes) * fleet.shard.record_bytes


def test_answers_that_wait_are_no_notifications(serving: Callable[..., Fleet]) -> None:
    """A peer has not taken the last answers; or one notification before these, too; or the answers before it."""
    fleet = serving(3, planned=3)
    fleet.send(2)
    links = (0, 2, 4)
    many = [answered(fleet, fleet.links[number], *[300] * 50) for number in links]
    fleet.send(4)
    few = [answered(fleet, fleet.links[number], 7, 8, 9) for number in links]
    one, one_out = each_bytes(fleet, 0)
    for number, waiting in zip(links, (few[0], few[1] + one_out, few[2] + one_out + many[2]), strict=True):
        fleet.tunnel(number).unacknowledged = waiting
    assert fleet.shard.untaken_bytes() == 2 * one
    fleet.tunnel(0).unacknowledged = few[0] + one_out + many[0] + one_out
    assert over(fleet)["notify.unacknowledged_bytes"] == 4 * one
    for number in links:
        fleet.tunnel(number).unacknowledged += GOODBYE
        fleet.shard.end(fleet.links[number], orderly=True)
    assert fleet.recorder.counters["notify.untaken_bytes"] == 4 * one


def test_a_peer_that_was_told_nothing_has_taken_all_notifications(serving: Callable[..., Fleet]) -> None:
    fleet = serving(3, planned=3)
    answered(fleet, fleet.links[0], *[300] * 50)
    fleet.tunnel(0).unacknowledged = 15_000
    assert fleet.shard.untaken_bytes() == 0
    fleet.shard.end(fleet.links[0], orderly=False)
    assert fleet.recorder.counters["notify.untaken_bytes"] == fleet.totals()["notify.unacknowledged_bytes"] == 0


def test_what_one_that_unsubscribed_has_not_taken_counts_as_well(serving: Callable[..., Fleet]) -> None:
    fleet = serving(3, planned=3)
    fleet.send(2)
    unsubscribed(fleet, fleet.links[0], 2)
    one, fleet.tunnel(0).unacknowledged = each_bytes(fleet, 0)
    assert over(fleet)["notify.unacknowledged_bytes"] == one


def unsubscribed(fleet: Fleet, link: WlcLink, slots: int) -> None:
    """At the time of this many slots."""
    assert link.endpoint is not None
    before, link.endpoint.granted = link.endpoint.granted, 0
    fleet.shard.on_granted(link, before, fleet.at(slots))


def test_what_an_mse_has_unsubscribed_from_is_not_due_but_told(serving: Callable[..., Fleet]) -> None:
    """One for good, and one for a while: 50 were for each."""
    fleet = serving(1, planned=1)
    fleet.send(20)
    unsubscribed(fleet, fleet.links[0], 20)
    unsubscribed(fleet, fleet.links[1], 20)
    link = fleet.links[1]
    assert link.endpoint is not None
    link.endpoint.granted = 1
    fleet.shard.on_granted(link, 0, fleet.at(40))
    fleet.send(100)
    totals = over(fleet)
    assert (totals["notify.due"], totals["notify.declined"]) == (10 + 40, 40 + 10)


def test_one_that_unsubscribed_before_the_load_is_told_of(serving: Callable[..., Fleet]) -> None:
    fleet = serving(1, planned=1)
    unsubscribed(fleet, fleet.links[0], 0)
    fleet.start(fleet.start_ns - 1)
    totals = over(fleet)
    assert (totals["notify.due"], totals["notify.declined"]) == (50, 50)


def test_whom_nobody_planned_may_unsubscribe_and_is_not_missed(serving: Callable[..., Fleet]) -> None:
    fleet = serving(2, planned=1)
    fleet.send(20)
    unsubscribed(fleet, fleet.links[2], 20)
    assert over(fleet)["notify.declined"] == 0
    # It is, from when the planned one has left, which leaves nobody who is told.
    fleet.shard.end(fleet.links[0], orderly=True)
    assert fleet.totals()["notify.declined"] == 0


class Visitor:
    """An MSE of somebody else's at WLC 0, whose frames are put where a turn has read them."""

    def __init__(self, fleet: Fleet) -> None:
        fleet.sockets.append(sock := socket.socket())
        self.fleet, self.link = fleet, WlcLink(sock, fleet.clock(), 0, ("192.0.2.1", 5))
        self.link.tunnel = FakeTunnel()  # type: ignore[assignment]
        fleet.shard.add(self.link, 1 << 62, 0)
        self.link.phase = Phase.SETTING_UP
        fleet.shard.on_tunnel(self.link, fleet.clock())

    def say(self, message: Message, transaction: int) -> None:
        frame = Codec(self.fleet.profile).encode(message, transaction)
        self.fleet.shard.receiver.view[: len(frame)] = frame
        self.fleet.shard.take_untrusted(self.link, 0, len(frame), self.fleet.clock())
        self.fleet.shard.receiver.reset()

    def ask_for(self, mask: int, transaction: int = 2) -> None:
        self.say(SubscribeRequest(mask), transaction)


@pytest.fixture
def visitor(serving: Callable[..., Fleet]) -> Visitor:
    """It was granted nothing, and stays."""
    visitor = Visitor(serving(0, planned=1))
    visitor.say(VersionRequest(1, 1), 1)
    visitor.ask_for(0)
    return visitor


def test_whoever_was_granted_nothing_has_no_session(visitor: Visitor) -> None:
    shard, counters = visitor.fleet.shard, visitor.fleet.recorder.counters
    assert (shard.active, counters["sessions.established"], visitor.link.phase) == (0, 0, Phase.SETTING_UP)
    assert shard.presence is not None
    assert shard.presence.absence().missing == 2
    visitor.say(EchoRequest(), 3)  # it is answered all the same
    assert counters["echo.answered"] == 1
    # It may ask for what is offered.
    visitor.ask_for(1, 4)
    assert (shard.active, counters["sessions.established"], visitor.link.phase) == (1, 1, Phase.ACTIVE)
    assert visitor.link.row >= 0


@pytest.mark.parametrize("how", ["leaves", "is withdrawn", "stays"])
def test_that_it_was_granted_nothing_is_why_it_failed(visitor: Visitor, how: str) -> None:
    shard, link = visitor.fleet.shard, visitor.link
    if how == "leaves":
        shard.turn([(link.fd, select.EPOLLIN)])
    elif how == "is withdrawn":
        shard.withdraw(link, visitor.fleet.clock())
    else:
        shard.on_timer(link, link.started_ns + FOR_EVER_NS)
    counters = visitor.fleet.recorder.counters
    assert {name: count for name, count in counters.items() if name.startswith(("errors.", "sessions."))} == {
        "errors.accept.nothing_granted": 1,
        "sessions.failed": 1,
    }


class Answering(FakeTunnel):
    """Its client answers while the WLC looks elsewhere, and with that the handshake is done."""

    verified = True
    ruling = None
    group = None  # static RSA
    waits: Waiting | None = None  # what we have not read, and for how long

    def waiting(self) -> Waiting | None:  # type: ignore[override]
        return self.waits

    def handshake(self) -> bool:
        return self.waits is not None


def test_what_came_while_a_wlc_lets_a_client_alone_on_purpose_has_not_waited_for_us(
    serving: Callable[..., Fleet],
) -> None:
    """It looks once a second, and this time 2 ms later than that; the answer came a millisecond after it looked."""
    fleet = serving(0, planned=1, aaa=Aaa([], [], poll_tick_ns=NS_PER_S))
    fleet.sockets.append(sock := socket.socket())
    link, tunnel = WlcLink(sock, fleet.clock(), 0, ("192.0.2.1", 5)), Answering()
    link.tunnel = tunnel  # type: ignore[assignment]
    fleet.shard.handshake_reads.begins(link)
    fleet.shard.add(link, 1 << 62, 0)
    fleet.shard.turn([(link.fd, select.EPOLLIN)])
    fleet.clock.now_ns += NS_PER_S - 1
    tunnel.waits = Waiting(999 * NS_PER_MS - 1, more=False)
    fleet.shard.turn([])
    assert link.phase is Phase.HANDSHAKING
    fleet.clock.now_ns += 2 * NS_PER_MS + 1
    tunnel.waits = Waiting(1001 * NS_PER_MS, more=False)
    fleet.shard.turn([])
    assert link.phase is Phase.SETTING_UP
    assert link.waited_ns == 2 * NS_PER_MS
    # What it has sent in the same breath is read next.
    fleet.shard.turn([(link.fd, select.EPOLLIN)])
    lag = fleet.recorder.bins("generator.read_lag").take()
    assert lag is not None
    assert (lag.count, lag.summary().max) == (1, pytest.approx(2 * NS_PER_MS, rel=0.001))
