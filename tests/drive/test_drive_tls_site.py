"""WLCs with sites: who is told what, in which order, and what is counted when a link cannot take it."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from drive_samples import PATIENT, VirtualClock, equipped

from loadgen.drive.phase import Phase
from loadgen.drive.tls_site import SiteLink, SiteShard
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.bulk import Control
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import (
    EchoRequest,
    EchoResponse,
    MeasurementNotify,
    MeasurementRequest,
    MeasurementResponse,
    Message,
    ResponseStatus,
    Role,
    ServiceNotify,
    SubscribeGroupsRequest,
    SubscribeRequest,
    UnsubscribeRequest,
    VersionRequest,
)
from loadgen.nmsp.records import NO_MAC, ApGroup
from loadgen.nmsp.services import ALL, Subservice
from loadgen.scenario.plan import Plan, make_plan
from loadgen.scenario.reading import load_scenario
from loadgen.transport.tls import TransportFault, Want
from loadgen.units import NS_PER_S
from loadgen.world.population import Found
from loadgen.world.site import Site

RSSI_MS = 1 << Subservice.RSSI_MS
SCENARIO = """
name = "site"
[wlc]
count = 4
stations = 120
subservices = "all"
[mse]
count = 2
subscribe = "all"
[load]
kind = "site"
[site]
tags = { count = 10 }
queue = { high = 4, normal = 30 }
services = { statistics = "2s", alarms_per_h = 1000 }
"""
FAST = "\n[site.stations]\nevery = ['1s', '1s']\n"
SECONDS = 10
TO_UNIX_NS = 5_000


class FakeTunnel:
    """Takes what is written, blocks when told to, or fails."""

    address = 0  # nothing of OpenSSL's

    def __init__(self) -> None:
        self.written = b""
        self.blocked = self.block_next = False
        self.fault: str | None = None
        self.wants = Want.NOTHING
        self.verified = self.refusal = None
        self.refused = False

    def waiting(self) -> None:
        """The kernel does not tell."""

    def allow_unsent(self, size: int) -> None:
        """No kernel holds anything."""

    def write(self, data: bytes | memoryview) -> None:
        assert not self.blocked
        if self.fault is not None:
            raise TransportFault(self.fault)
        self.written += bytes(data)
        self.blocked = self.block_next

    def flush(self) -> bool:
        self.blocked = False
        return True

    def unacknowledged_bytes(self) -> int:
        return 7

    def close_notify(self) -> bool:
        return True

    def segments(self) -> None:
        return None

    def close(self) -> None:
        pass


class Fleet:
    """A worker with these WLCs of the plan, with links that all came up, and time in the test's hands."""

    def __init__(
        self, path: Path, workers: int = 1, granted: Sequence[int] = (ALL, ALL), overrides: str = "", worker: int = 0
    ) -> None:
        """Args: granted: what the links of each WLC asked for."""
        path.write_text(SCENARIO + overrides, "utf-8")
        scenario, self.profile = load_scenario(path)
        self.plan = make_plan(scenario, self.profile)
        self.codec = Codec(self.profile)
        self.recorder = Recorder()
        self.members = list(range(worker, 4, workers))
        self.sockets = [socket.socket() for _ in range(len(self.members) * (1 + len(granted)))]
        self.clock = VirtualClock()
        equipment = equipped(
            Role.WLC,
            self.plan,
            self.profile,
            self.recorder,
            clock=self.clock,
            to_unix_ns=TO_UNIX_NS,
            worker=worker,
            workers=workers,
            **PATIENT,
        )
        contexts = [None] * len(self.members)  # never asked: the tunnels are fakes
        self.shard = SiteShard(equipment, self.sockets[: len(self.members)], contexts)  # type: ignore[arg-type]
        self.links: dict[tuple[int, int], SiteLink] = {}
        spare = iter(self.sockets[len(self.members) :])
        for position, member in enumerate(self.members):
            for number, mask in enumerate(granted):
                self.links[member, number] = self._link(next(spare), position, mask)
        self.shard.start_load(self.clock() - SECONDS * NS_PER_S, self.plan.load.stages)
        self.start_ns = self.clock() - SECONDS * NS_PER_S

    def _link(self, sock: socket.socket, position: int, mask: int) -> SiteLink:
        link = SiteLink(sock, 0, position)
        link.tunnel = FakeTunnel()  # type: ignore[assignment]
        self.shard.add(link, 1 << 62, 0)
        self.shard.on_tunnel(link, 0)
        link.phase = Phase.SETTING_UP
        for message in (VersionRequest(1, 1), SubscribeRequest(mask)):
            self.hear(link, message)
        link.phase = Phase.ACTIVE
        self.shard.on_active(link, 0)
        self.tunnel(link).written = b""
        return link

    def hear(self, link: SiteLink, message: Message) -> None:
        assert link.endpoint is not None
        frame = self.codec.encode(message, 1)
        link.endpoint.control_untrusted(
            Control(int.from_bytes(frame[2:4], "big"), 1, memoryview(frame)[self.profile.header.size :]), 0
        )
        self.shard.send_outbox(link)

    def tunnel(self, link: SiteLink) -> FakeTunnel:
        assert isinstance(link.tunnel, FakeTunnel)
        return link.tunnel

    def go_on(self, seconds: float) -> None:
        """Everything that is due until then is found and told."""
        self.clock.now_ns = self.start_ns + int(seconds * NS_PER_S)
        self.shard.turn([])

    def writable(self, link: SiteLink) -> None:
        """Its peer takes something again."""
        self.shard.turn([(link.fd, select.EPOLLOUT)])

    def got(self, link: SiteLink) -> list[Message]:
        """What went over a link, in order."""
        data, out = memoryview(self.tunnel(link).written), []
        while data:
            size = int.from_bytes(data[4:8], "big")
            out.append(self.codec.decode_untrusted(int.from_bytes(data[2:4], "big"), data[12:size]))
            data = data[size:]
        return out

    def totals(self) -> dict[str, int]:
        return self.shard.totals(self.clock())

    def shut(self) -> None:
        self.shard.shut()
        for sock in self.sockets:
            sock.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "site.toml"


@pytest.fixture
def fleet(path: Path) -> Iterator[Fleet]:
    made = Fleet(path)
    yield made
    made.shut()


def expected(plan: Plan, profile: object, member: int, seconds: float) -> list[tuple[int, bytes]]:
    """Due time and MAC of each measurement that a WLC has to tell, worked out without a shard."""
    assert plan.site is not None
    site = Site(profile, plan.site, plan.seed, member, ALL)  # type: ignore[arg-type]
    found = []
    for clock in range(len(plan.site.classes)):
        tick = 0
        while (at_ns := site.tick_ns(clock, tick)) <= seconds * NS_PER_S:
            what = site.tick(clock, tick)
            if isinstance(what, Found):
                found += [(at_ns, bytes(mac)) for mac in what.stations.macs]
            tick += 1
    return sorted(found)


def measurements(messages: list[Message]) -> list[MeasurementNotify]:
    return [message for message in messages if isinstance(message, MeasurementNotify)]


def services(messages: list[Message]) -> list[ServiceNotify]:
    return [message for message in messages if isinstance(message, ServiceNotify)]


def test_every_subscriber_is_told_what_the_site_found(fleet: Fleet) -> None:
    fleet.go_on(SECONDS - 1)
    for (member, _), link in fleet.links.items():
        got = measurements(fleet.got(link))
        epoch = fleet.start_ns + TO_UNIX_NS
        assert sorted((m.due_ns - epoch, m.station_mac) for m in got) == expected(
            fleet.plan, fleet.profile, member, SECONDS - 1
        )
        assert [m.sequence for m in got] == list(range(len(got)))
        assert [m.due_ns for m in got] == sorted(m.due_ns for m in got)
        assert all(m.sent_ns >= m.due_ns for m in got)
        others = services(fleet.got(link))
        assert [m.sequence for m in others] == list(range(len(others)))
        assert {Subservice.INFO_MS, Subservice.STATS_MS, Subservice.WIPS} <= {m.subservice for m in others}
    sent = sum(len(measurements(fleet.got(link))) + len(services(fleet.got(link))) for link in fleet.links.values())
    totals = fleet.totals()
    assert totals["notify.due"] == totals["notify.sent"] == sent > 100
    assert totals["notify.dropped"] == 0
    assert totals["notify.sent_bytes"] == sum(len(fleet.tunnel(link).written) for link in fleet.links.values())


def test_it_does_not_matter_how_many_workers_there_are(tmp_path: Path) -> None:
    def told(worker: int, workers: int) -> dict[tuple[int, int], list[tuple[int, bytes]]]:
        fleet = Fleet(tmp_path / f"{worker}.toml", workers, worker=worker)
        fleet.go_on(SECONDS - 1)
        found = {
            key: [
                (m.due_ns - fleet.start_ns, fleet.codec.encode(m)[36:])  # all but its times
                for m in measurements(fleet.got(link))
            ]
            for key, link in fleet.links.items()
        }
        fleet.shut()
        return found

    assert told(0, 2) | told(1, 2) == told(0, 1)


def test_ticks_that_are_late_are_not_left_out(fleet: Fleet) -> None:
    turns = 0
    for second in range(1, SECONDS):
        fleet.shard.sites.stop_at_ns = fleet.start_ns + second * NS_PER_S
        while fleet.shard.sites.ready or fleet.shard.sites.ticks[0][0] < second * NS_PER_S:
            before = fleet.shard.sites.ticks[0], len(fleet.shard.sites.ready)
            fleet.shard.on_turn(0)  # no time for more than one step
            turns += 1
            if before == (fleet.shard.sites.ticks[0], len(fleet.shard.sites.ready)):
                break
    assert turns > 10 * SECONDS
    got = measurements(fleet.got(fleet.links[2, 0]))
    assert len(got) == len(expected(fleet.plan, fleet.profile, 2, SECONDS - 1))


def test_a_blocked_link_keeps_its_queue_and_drops_what_does_not_fit(path: Path) -> None:
    fleet = Fleet(path, 4, (RSSI_MS, RSSI_MS), FAST)
    try:
        slow, other = fleet.links[0, 0], fleet.links[0, 1]
        fleet.tunnel(slow).block_next = True
        fleet.go_on(SECONDS - 1)
        everything = len(measurements(fleet.got(other)))
        first = len(measurements(fleet.got(slow)))
        totals = fleet.totals()
        assert slow.queue is not None
        assert slow.behind
        assert slow.queue.depth == [0, 30 - first] or slow.queue.depth == [0, 30]
        assert totals["transmit.deepest.normal"] == 30
        assert totals["transmit.dropped.normal"] == totals["notify.dropped"] > 0
        assert totals["transmit.dropped.high"] == 0
        assert totals["notify.due"] == totals["notify.sent"] + totals["notify.dropped"] + sum(slow.queue.depth)
        assert first + sum(slow.queue.depth) + slow.queue.dropped[1] == everything + other.queue.dropped[1]  # type: ignore[union-attr]
        # It reads again: what waited is late, and that is the peer's doing.
        fleet.recorder.bins("generator.lag").take()
        fleet.recorder.bins("generator.lag").take()
        fleet.recorder.bins("notify.lag").take()
        waited = sum(slow.queue.depth)
        fleet.tunnel(slow).block_next = False
        fleet.writable(slow)
        assert not slow.behind
        assert fleet.recorder.bins("generator.lag").take() is None
        lag = fleet.recorder.bins("notify.lag").take()
        assert lag is not None
        assert lag.count == waited
        got = measurements(fleet.got(slow))
        assert [m.sequence for m in got] == list(range(first + waited))
        assert fleet.totals()["notify.due"] == fleet.totals()["notify.sent"] + fleet.totals()["notify.dropped"]
    finally:
        fleet.shut()


@pytest.mark.parametrize("normal", [1, 2, 30])
def test_who_takes_everything_is_told_everything_however_short_its_queue(
    path: Path, normal: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "SCENARIO", SCENARIO.replace("normal = 30", f"normal = {normal}"))
    fleet = Fleet(path, 4, (RSSI_MS, RSSI_MS), FAST)
    try:
        fleet.go_on(SECONDS - 1)
        totals = fleet.totals()
        told = [len(measurements(fleet.got(link))) for link in fleet.links.values()]
        assert totals["notify.due"] == totals["notify.sent"] == sum(told)
        assert told[0] == told[1] > 30
        assert totals["notify.dropped"] == totals["transmit.dropped.normal"] == 0
        assert totals["transmit.deepest.normal"] <= normal
    finally:
        fleet.shut()


def test_one_that_breaks_while_more_than_its_queue_is_due_leaves_the_books_in_balance(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "SCENARIO", SCENARIO.replace("normal = 30", "normal = 2"))
    fleet = Fleet(path, 4, (RSSI_MS,), FAST)
    try:
        fleet.tunnel(fleet.links[0, 0]).fault = "reset"
        fleet.go_on(SECONDS - 1)
        totals = fleet.totals()
        assert totals["notify.due"] == totals["notify.dropped"] > 2
        assert totals["notify.sent"] == 0
    finally:
        fleet.shut()


def test_answers_and_alarms_overtake_what_waits(path: Path) -> None:
    fleet = Fleet(path, 4, (RSSI_MS | 1 << Subservice.WIPS,), FAST)
    try:
        link = fleet.links[0, 0]
        fleet.tunnel(link).block_next = True
        fleet.go_on(6)
        already = len(fleet.got(link))
        assert link.queue is not None
        assert link.queue.depth[1] > 0
        fleet.hear(link, EchoRequest())
        fleet.tunnel(link).block_next = False
        fleet.writable(link)
        order = fleet.got(link)[already:]
        first_measurement = next(i for i, m in enumerate(order) if isinstance(m, MeasurementNotify))
        assert any(isinstance(m, EchoResponse) for m in order[:first_measurement])
        assert all(isinstance(m, MeasurementNotify) for m in order[first_measurement:])
    finally:
        fleet.shut()


def test_answers_have_a_limit_too(path: Path) -> None:
    fleet = Fleet(path, 4, (RSSI_MS,))
    try:
        link = fleet.links[0, 0]
        fleet.tunnel(link).blocked = True
        for _ in range(9):
            fleet.hear(link, EchoRequest())
        totals = fleet.totals()
        assert totals["transmit.dropped.high"] == 5
        assert totals["transmit.deepest.high"] == 4
        assert totals["notify.dropped"] == totals["notify.due"] == 0  # an answer is no notification
    finally:
        fleet.shut()


def test_who_asked_for_associated_clients_gets_no_others(path: Path) -> None:
    fleet = Fleet(path, 4, (RSSI_MS, 1 << Subservice.RSSI_MS_ASSOCIATED_ONLY, 1 << Subservice.RSSI_RFID))
    try:
        fleet.go_on(SECONDS - 1)
        everybody, clients, tags = (measurements(fleet.got(fleet.links[0, number])) for number in range(3))
        assert {m.subservice for m in everybody} == {Subservice.RSSI_MS}
        assert {m.subservice for m in clients} == {Subservice.RSSI_MS_ASSOCIATED_ONLY}
        assert {m.subservice for m in tags} == {Subservice.RSSI_RFID}
        assert {(m.station_mac, m.due_ns) for m in clients} < {(m.station_mac, m.due_ns) for m in everybody}
        assert clients
    finally:
        fleet.shut()


def test_a_link_that_breaks_costs_itself_only(fleet: Fleet) -> None:
    fleet.go_on(3)
    broken = fleet.links[0, 0]
    fleet.tunnel(broken).fault = "reset"
    fleet.go_on(SECONDS - 1)
    assert broken.phase is Phase.CLOSED
    assert fleet.recorder.counters["errors.serve.reset"] == 1
    got = measurements(fleet.got(fleet.links[0, 1]))
    assert len(got) == len(expected(fleet.plan, fleet.profile, 0, SECONDS - 1))
    assert broken not in fleet.shard.sites.subscribers[0]
    totals = fleet.totals()
    assert totals["notify.due"] == totals["notify.sent"] + totals["notify.dropped"]
    assert totals["notify.dropped"] > 0


def test_what_waits_when_a_link_goes_is_dropped(path: Path) -> None:
    fleet = Fleet(path, 4, (RSSI_MS,), FAST)
    try:
        link = fleet.links[0, 0]
        fleet.tunnel(link).block_next = True
        fleet.go_on(6)
        assert link.queue is not None
        waited = sum(link.queue.depth)
        deepest = link.queue.deepest[1]
        before = fleet.totals()["notify.dropped"]
        fleet.shard.end(link, orderly=False)
        totals = fleet.totals()
        assert waited > 0
        assert totals["notify.dropped"] == before + waited
        assert totals["notify.due"] == totals["notify.sent"] + totals["notify.dropped"]
        assert totals["transmit.deepest.normal"] == deepest  # is not forgotten with the link
    finally:
        fleet.shut()


@pytest.mark.parametrize("reads", [True, False])
def test_the_load_ends_when_all_was_told(fleet: Fleet, *, reads: bool) -> None:
    """Or what waits for a peer has waited for long enough."""
    shard, end = fleet.shard, fleet.start_ns + SECONDS * NS_PER_S
    shard.sites.end_ns = SECONDS * NS_PER_S
    fleet.go_on(1)
    assert not shard.sites.everything_done(end + 1)  # however late: ticks are owed
    fleet.go_on(SECONDS - 1)
    slow = fleet.links[1, 0]
    fleet.tunnel(slow).block_next = True

    def over_at(ns: int) -> bool:
        fleet.clock.now_ns = ns
        shard.turn([])
        return shard.load_over.is_set()

    assert not over_at(end - 1)
    assert fleet.tunnel(slow).blocked
    assert not over_at(end)
    if reads:
        fleet.tunnel(slow).block_next = False
        fleet.writable(slow)
        assert shard.load_over.is_set()
    else:
        assert not over_at(end + fleet.plan.load.backlog - 1)
        assert over_at(end + fleet.plan.load.backlog)
    assert shard.queued_bytes() == 7 * len(fleet.links)
    assert (fleet.totals()["notify.dropped"] == 0) is reads


def test_the_load_ends_at_once_when_nobody_was_held_up(fleet: Fleet) -> None:
    fleet.shard.sites.end_ns = SECONDS * NS_PER_S
    fleet.clock.now_ns = fleet.start_ns + SECONDS * NS_PER_S - 1
    fleet.shard.turn([])
    assert not fleet.shard.load_over.is_set()
    fleet.go_on(SECONDS)
    assert fleet.shard.load_over.is_set()
    assert fleet.totals()["notify.dropped"] == 0


def test_the_next_load_begins_like_the_first(fleet: Fleet) -> None:
    fleet.go_on(SECONDS - 1)
    first = [(m.due_ns - fleet.start_ns, m.station_mac) for m in measurements(fleet.got(fleet.links[3, 1]))]
    fleet.tunnel(fleet.links[3, 1]).written = b""
    fleet.shard.start_load(fleet.clock() - SECONDS * NS_PER_S, fleet.plan.load.stages)
    assert fleet.shard.sites.start_ns is not None
    fleet.start_ns = fleet.shard.sites.start_ns
    fleet.go_on(SECONDS - 1)
    again = measurements(fleet.got(fleet.links[3, 1]))
    assert [(m.due_ns - fleet.start_ns, m.station_mac) for m in again] == first
    assert again[0].sequence == len(first)  # the session goes on


def ask(fleet: Fleet, link: SiteLink, request: Message) -> Message:
    fleet.tunnel(link).written = b""
    fleet.hear(link, request)
    (answer,) = fleet.got(link)
    return answer


def test_it_answers_about_who_is_at_its_site(fleet: Fleet) -> None:
    fleet.go_on(SECONDS - 1)
    link = fleet.links[0, 0]
    stations = fleet.shard.sites.sites[0].populations["stations"]
    answer = ask(fleet, link, MeasurementRequest(Subservice.RSSI_MS, NO_MAC))
    assert isinstance(answer, MeasurementResponse)
    assert answer.status == ResponseStatus.OK
    assert answer.device_mac in {stations.mac(row) for row in stations.known()}
    assert len(answer.readings) > 0
    stranger = ask(fleet, link, MeasurementRequest(Subservice.RSSI_MS, b"\x02\x55abcd"))
    assert isinstance(stranger, MeasurementResponse)
    assert (stranger.status, stranger.readings) == (ResponseStatus.UNKNOWN_DEVICE, ())


def test_after_a_second_load_has_begun_it_answers_about_the_new_one(fleet: Fleet) -> None:
    fleet.shard.sites.end_ns = SECONDS * NS_PER_S
    fleet.go_on(SECONDS)
    assert fleet.shard.load_over.is_set()
    fleet.shard.start_load(fleet.clock(), fleet.plan.load.stages)
    answer = ask(fleet, fleet.links[0, 0], MeasurementRequest(Subservice.RSSI_MS, NO_MAC))
    assert isinstance(answer, MeasurementResponse)
    assert answer.status == ResponseStatus.UNKNOWN_DEVICE  # nothing was heard in it yet


def test_of_groups_only_what_their_access_points_heard(fleet: Fleet) -> None:
    whole, part = fleet.links[0, 0], fleet.links[0, 1]
    site = fleet.shard.sites.sites[0]
    floor = site.populations["stations"].floor
    mine = {floor.macs[ap].tobytes() for ap, chosen in enumerate(site.in_groups(("group-1",))) if chosen}
    fleet.hear(part, SubscribeGroupsRequest(ALL, (ApGroup("group-1"),)))
    fleet.tunnel(part).written = b""
    fleet.go_on(SECONDS - 1)

    def told(link: SiteLink, chosen: set[bytes] | None) -> list[tuple[int, bytes, list[bytes]]]:
        rows = [
            (m.due_ns, bytes(m.station_mac), [r.ap_mac for r in m.readings if chosen is None or r.ap_mac in chosen])
            for m in measurements(fleet.got(link))
        ]
        return sorted(row for row in rows if row[2])

    assert told(part, None) == told(whole, mine)
    assert 0 < len(told(part, None)) < len(told(whole, None))
    # Everything else is told whatever the group.
    assert len(services(fleet.got(part))) == len(services(fleet.got(whole)))
    fleet.tunnel(part).written = fleet.tunnel(whole).written = b""
    fleet.hear(part, SubscribeRequest(ALL))
    fleet.tunnel(part).written = b""
    fleet.go_on(SECONDS)
    assert told(part, None) == told(whole, None)


def test_what_waits_when_it_is_unsubscribed_is_dropped_and_the_rest_declined(fleet: Fleet, path: Path) -> None:
    link = fleet.links[0, 0]
    fleet.tunnel(link).blocked = True
    fleet.go_on(5)
    assert link.queue is not None
    waiting = sum(link.queue.depth)
    before = fleet.totals()
    assert waiting > 0
    fleet.hear(link, UnsubscribeRequest(ALL))
    link.endpoint.granted = 0  # type: ignore[union-attr]
    fleet.shard.on_granted(link, ALL, 0)
    after = fleet.totals()
    gone = after["notify.dropped"] - before["notify.dropped"]
    assert 0 < gone <= waiting
    assert (after["notify.due"], after["notify.declined"]) == (before["notify.due"], 0)
    fleet.writable(link)
    fleet.go_on(SECONDS - 1)
    assert measurements(fleet.got(link)) == []
    assert services(fleet.got(link)) == []
    totals = fleet.totals()
    assert totals["notify.due"] == totals["notify.sent"] + totals["notify.dropped"]
    # What it would have been told since is the whole of what a fleet is told that stays subscribed.
    assert totals["notify.declined"] > 0
    stayed = Fleet(path)
    try:
        stayed.go_on(SECONDS - 1)
        assert totals["notify.due"] + totals["notify.declined"] == stayed.totals()["notify.due"]
    finally:
        stayed.shut()


def regranted(fleet: Fleet, link: SiteLink, request: Message) -> None:
    assert link.endpoint is not None
    before = link.endpoint.granted
    fleet.hear(link, request)
    fleet.shard.on_granted(link, before, 0)


def told(fleet: Fleet, link: SiteLink) -> int:
    got = fleet.got(link)
    return len(measurements(got)) + len(services(got))


LEFT = RSSI_MS | 1 << Subservice.INFO_MS
ASSOCIATED = 1 << Subservice.RSSI_MS_ASSOCIATED_ONLY


@pytest.mark.parametrize(
    ("had", "left"),
    [
        (ALL, LEFT),  # those that are associated are still told
        (ALL, LEFT | ASSOCIATED),
        (ALL, ASSOCIATED),  # they are among all stations
        (ALL & ~RSSI_MS, ASSOCIATED),
    ],
)
def test_what_who_unsubscribed_from_a_part_is_not_told_is_declined(path: Path, had: int, left: int) -> None:
    """For a while, and beside one that stays subscribed: the difference between the two."""
    fleet = Fleet(path, 4, (had, had))
    one, other = fleet.links[0, 0], fleet.links[0, 1]
    try:
        fleet.go_on(3)
        regranted(fleet, one, UnsubscribeRequest(left))
        fleet.tunnel(one).written = fleet.tunnel(other).written = b""
        fleet.go_on(6)
        difference = told(fleet, other) - told(fleet, one)
        assert (difference > 0) == (left != ASSOCIATED or had != ALL)
        assert len(measurements(fleet.got(one))) > 0 or left & ASSOCIATED
        regranted(fleet, one, SubscribeRequest(left))
        fleet.go_on(SECONDS - 1)
        totals = fleet.totals()
        assert (totals["notify.declined"], totals["notify.dropped"]) == (difference, 0)
    finally:
        fleet.shut()


def test_what_a_session_that_left_would_have_been_told_is_due_and_dropped(path: Path) -> None:
    """Two should be at each WLC: the total is that of a fleet that stayed."""
    stayed = Fleet(path, 4)
    stayed.go_on(SECONDS - 1)
    wanted = stayed.totals()
    stayed.shut()
    fleet = Fleet(path, 4)
    fleet.go_on(SECONDS / 2)
    fleet.shard.end(fleet.links[0, 1], orderly=True)
    gone = fleet.totals()
    assert gone["notify.unacknowledged_bytes"] == 0
    fleet.go_on(SECONDS - 1)
    totals = fleet.totals()
    fleet.shut()
    assert totals["notify.due"] == wanted["notify.due"] == totals["notify.sent"] + totals["notify.dropped"]
    # Both get the same, and one of them nothing more.
    assert totals["notify.dropped"] == (wanted["notify.due"] - gone["notify.due"]) / 2 > 0


def test_answers_that_wait_are_no_notifications(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the peer has not taken is the last answer, and then half of the notifications before it as well."""
    waiting = 0
    monkeypatch.setattr(FakeTunnel, "unacknowledged_bytes", lambda _: waiting)
    fleet = Fleet(path, 4, granted=[ALL])
    link, record = fleet.links[0, 0], fleet.shard.record_bytes
    fleet.go_on(SECONDS - 1)
    told = len(fleet.tunnel(link).written)
    assert link.endpoint is not None
    link.endpoint.outbox.append(bytes(300))
    fleet.shard.send_outbox(link)
    totals = fleet.totals()
    assert told == totals["notify.sent_bytes"] > 0
    waiting = 300 + record
    assert fleet.shard.untaken_bytes() == 0
    waiting += (told + record * totals["notify.writes"]) // 2
    assert fleet.shard.untaken_bytes() == pytest.approx(told / 2, abs=1)
    waiting = 10**9
    assert fleet.shard.untaken_bytes() == told
    fleet.shut()


def test_one_that_never_came_is_due_from_the_start(path: Path) -> None:
    both, one = Fleet(path, 4), Fleet(path, 4, granted=[ALL])
    for fleet in (both, one):
        fleet.go_on(SECONDS - 1)
        fleet.shut()
    assert one.totals()["notify.due"] == both.totals()["notify.due"] == 2 * one.totals()["notify.sent"]
    assert one.totals()["notify.dropped"] == one.totals()["notify.sent"]
