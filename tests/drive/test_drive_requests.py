"""Both shards with a wire in memory between them: requests by schedule, and notifications that stop and go on."""

from __future__ import annotations

import select
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from drive_samples import PATIENT, VirtualClock, equipped

from loadgen.drive.phase import Phase
from loadgen.drive.tls_accept import WlcLink
from loadgen.drive.tls_dial import MseLink
from loadgen.drive.tls_mse import MseShard
from loadgen.drive.tls_wlc import WlcShard
from loadgen.measure.histogram import Histogram
from loadgen.measure.recorder import Recorder
from loadgen.nmsp import messages as m
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import Message, Role
from loadgen.nmsp.records import NO_MAC, ClientInfo
from loadgen.scenario.plan import make_plan
from loadgen.scenario.reading import load_scenario
from loadgen.session import asking
from loadgen.session.mse import MseEndpoint
from loadgen.transport.openssl import Pointer, bytes_at
from loadgen.transport.tls import TransportFault, Want
from loadgen.units import NEVER_NS, NS_PER_MS, NS_PER_S, Duration

SCENARIO = """
name = "asked"
[wlc]
count = 2
stations = 7
readings = [1, 3]
subservices = "all"
[mse]
count = 8
subscribe = ["rssi-ms", "info-ms", "stats-ms"]
[load]
rate = 100
stages = [{{ hold = "{seconds}s" }}]
{requests}
"""
LINKS = 16
TO_UNIX_NS = 1_795_000_000_000_000_000


class Wire:
    """One end of a tunnel: what is written arrives at the other end's `incoming`."""

    address = 0  # nothing of OpenSSL's

    def __init__(self) -> None:
        self.incoming: deque[bytes] = deque()
        self.other: Wire | None = None
        self.blocked = False
        self.fault: str | None = None
        self.verified = self.refusal = None
        self.refused = False
        self.wants = Want.NOTHING
        self.closed = False

    def allow_unsent(self, size: int) -> None:
        """No kernel holds anything."""

    def write(self, data: bytes | memoryview) -> None:
        assert not self.blocked
        if self.fault is not None:
            raise TransportFault(self.fault)
        assert self.other is not None
        self.other.incoming.append(bytes(data))

    def write_at(self, pointer: Pointer, size: int) -> None:
        self.write(bytes_at(pointer, size))

    def waiting(self) -> None:
        """The kernel does not tell."""

    def read_into(self, view: memoryview) -> int:
        if not self.incoming:
            return 0
        data = self.incoming.popleft()
        view[: len(data)] = data
        return len(data)

    def flush(self) -> bool:
        return not self.blocked

    def close_notify(self) -> bool:
        return True

    def unacknowledged_bytes(self) -> int:
        return 0

    def segments(self) -> None:
        return None

    def close(self) -> None:
        self.closed = True


class Fleets:
    """Two WLCs and eight MSEs, all sixteen sessions set up through the wire; the test turns both shards."""

    def __init__(self, path: Path, requests: str, seconds: int = 3600, gap: bool = False) -> None:
        path.write_text(SCENARIO.format(requests=requests, seconds=seconds), "utf-8")
        scenario, self.profile = load_scenario(path)
        self.plan = plan = make_plan(scenario, self.profile)
        self.codec = Codec(self.profile)
        self.said, self.counted = Recorder(), Recorder()
        self.sockets = [socket.socket() for _ in range(2 + 2 * LINKS)]
        self.clock = VirtualClock()
        self.wlc = WlcShard(
            equipped(Role.WLC, plan, self.profile, self.said, clock=self.clock, to_unix_ns=TO_UNIX_NS, **PATIENT),
            self.sockets[:2],
            [None, None],  # type: ignore[list-item]
        )
        self.mse = MseShard(
            equipped(Role.MSE, plan, self.profile, self.counted, clock=self.clock, to_unix_ns=TO_UNIX_NS, **PATIENT),
            [("127.0.0.1", 1)] * len(plan.wlcs),
            [],
        )
        self.links: list[tuple[MseLink, WlcLink]] = []
        now = self.clock()
        for number, session in enumerate(plan.sessions):
            here, there = Wire(), Wire()
            here.other, there.other = there, here
            mse = MseLink(self.sockets[2 + number], now, number)
            wlc = WlcLink(self.sockets[2 + LINKS + number], now, session.wlc)
            for shard, link, wire in ((self.wlc, wlc, there), (self.mse, mse, here)):
                link.tunnel = wire  # type: ignore[assignment]
                shard.add(link, NEVER_NS, 0)
                shard.on_tunnel(link, now)
                link.phase = Phase.SETTING_UP
            self.mse.by_number[number] = mse
            self.links.append((mse, wlc))
            self.mse.send_outbox(mse)
        self.turn_until(lambda: self.mse.active == self.wlc.active == LINKS)

    def start(self) -> None:
        now = self.clock()
        for shard in (self.wlc, self.mse):
            shard.start_load(now, self.plan.load.stages)

    def turn(self) -> None:
        for shard, side in ((self.mse, 0), (self.wlc, 1)):
            ready = []
            for pair in self.links:
                link = pair[side]
                if link.phase is not Phase.CLOSED and self.wire(pair[side]).incoming:
                    ready.append((link.fd, select.EPOLLIN))
            shard.turn(ready)
        self.clock.now_ns += NS_PER_MS

    def turn_until(self, done: Callable[[], bool]) -> None:
        """A turn of both takes a millisecond."""
        for _ in range(20_000):
            if done():
                return
            self.turn()
        raise AssertionError((self.counted.counters, self.said.counters))

    def settle(self) -> None:
        """Until nothing is on its way, and what was read has been taken."""
        self.turn_until(
            lambda: (
                not any(self.wire(link).incoming for pair in self.links for link in pair if link.tunnel)
                and not any(mse.read for mse, _ in self.links)
            )
        )

    def wire(self, link: MseLink | WlcLink) -> Wire:
        found = link.tunnel
        assert isinstance(found, Wire)
        return found

    def hear(self, number: int, *messages: Message | tuple[Message, int]) -> None:
        """An MSE hears these in one piece."""
        data = b""
        for message in messages:
            data += self.codec.encode(*message) if isinstance(message, tuple) else self.codec.encode(message)
        self.wire(self.links[number][0]).incoming.append(data)

    def asks(self, number: int, *kinds: type[Message]) -> list[int]:
        """An MSE asks these, and no WLC hears any of it. Returns: the transactions."""
        self.mse.start_load(self.clock(), self.plan.load.stages)
        self.clock.advance(1)
        self.mse.turn([])
        asked = self.endpoint(number).asked
        assert asked is not None
        found = {type(each.message): transaction for transaction, each in asked.pending.items()}
        self.mse.end_load()
        for _, wlc in self.links:
            self.wire(wlc).incoming.clear()
        return [found[kind] for kind in kinds]

    def endpoint(self, number: int) -> MseEndpoint:
        found = self.links[number][0].endpoint
        assert isinstance(found, MseEndpoint)
        return found

    @property
    def counters(self) -> dict[str, int]:
        return {name: count for name, count in Counter(self.counted.counters).items() if count}


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Fleets]]:
    made: list[Fleets] = []

    def make(requests: str = "", seconds: int = 3600) -> Fleets:
        made.append(Fleets(tmp_path / "asked.toml", requests, seconds))
        return made[-1]

    yield make
    for fleets in made:
        fleets.mse.shut()
        fleets.wlc.shut()
        for sock in fleets.sockets:
            sock.close()


def test_requests_of_every_kind_are_asked_and_answered(make: Callable[..., Fleets]) -> None:
    kinds = ("measurement", "information", "statistics", "capability", "subscribe", "subscribe_groups", "wips_config")
    fleets = make("[requests]\n" + "".join(f"{kind} = {{ rate = 400 }}\n" for kind in kinds))
    fleets.start()
    fleets.turn_until(lambda: fleets.counters.get("requests.answered", 0) >= 300)
    fleets.mse.end_load()
    fleets.settle()
    counters = fleets.counters
    assert counters["requests.sent"] == counters["requests.answered"]
    assert counters["requests.due"] == counters["requests.sent"] + counters.get("requests.dropped", 0)
    assert "requests.unmatched" not in counters
    interval = fleets.counted.take(0)
    # wIPS was not subscribed to.
    asked = Histogram()
    for tag, counts in interval.histograms.items():
        if tag.rpartition("/")[2] == "request.wips_config.lag":
            asked.merge(counts)
    assert counters["requests.refused"] == asked.summary().count > 0
    assert {tag.rpartition("/")[2] for tag in interval.histograms} >= {
        f"request.{kind}.{what}" for kind in kinds[:-1] for what in ("latency", "service", "lag")
    }
    assert fleets.mse.active == LINKS


def test_an_unsubscribed_session_is_told_nothing_and_owed_nothing_until_it_subscribes_again(
    make: Callable[..., Fleets],
) -> None:
    fleets = make()
    fleets.start()
    fleets.turn_until(lambda: fleets.counters.get("notify.received", 0) >= 10 * LINKS)
    here, there = fleets.links[5]
    row = there.row
    endpoint = fleets.endpoint(5)
    endpoint.ask(m.UnsubscribeRequest(1))
    fleets.mse.send_outbox(here)
    fleets.turn_until(lambda: there.row < 0)
    fleets.settle()
    ledger = fleets.wlc.owing.ledger
    before, sent = ledger.due(row, 1 << 40), int(ledger.sent[row])
    received = fleets.counters["notify.received"]
    fleets.turn_until(lambda: fleets.counters["notify.received"] >= received + 5 * LINKS)
    assert ledger.due(row, 1 << 40) == before  # whatever becomes due by the schedule
    assert int(ledger.sent[row]) == sent
    endpoint.ask(m.SubscribeRequest(1))
    fleets.mse.send_outbox(here)
    fleets.turn_until(lambda: int(ledger.sent[row]) >= sent + 5)
    assert there.row == row
    fleets.wlc.finish()
    fleets.turn_until(fleets.wlc.load_over.is_set)
    fleets.settle()
    totals = fleets.wlc.totals(fleets.clock())
    assert totals["notify.due"] == totals["notify.sent"] == fleets.counters["notify.received"]
    assert totals["notify.dropped"] == 0
    # Its numbers went on, so nothing looks lost or new.
    assert not {"notify.lost", "notify.duplicated", "notify.reordered"} & set(fleets.counters)
    assert "errors.stream.not_subscribed" not in fleets.counters


def test_subscribing_and_unsubscribing_all_the_time_loses_and_invents_nothing(make: Callable[..., Fleets]) -> None:
    fleets = make(
        '[requests]\nunsubscribe = { rate = 320, subservices = ["rssi-ms"] }\n'
        'subscribe = { rate = 320, delay = "25ms" }\n'
    )
    fleets.start()
    fleets.turn_until(lambda: fleets.counters.get("requests.answered", 0) >= 400)
    fleets.mse.end_load()
    fleets.settle()
    fleets.wlc.finish()
    fleets.turn_until(fleets.wlc.load_over.is_set)
    fleets.settle()
    totals = fleets.wlc.totals(fleets.clock())
    assert totals["notify.due"] == totals["notify.sent"] == fleets.counters["notify.received"] > 0
    assert not {name for name in fleets.counters if name.startswith(("errors.", "notify.lost", "requests.unmatched"))}
    assert fleets.wlc.owing.ledger.rows == LINKS  # a row is used again


def test_the_grant_changes_where_the_response_stands_in_the_stream(make: Callable[..., Fleets]) -> None:
    fleets = make('[requests]\nunsubscribe = { rate = 800, subservices = ["rssi-ms"] }\nsubscribe = { rate = 800 }\n')
    unsubscribe, subscribe = fleets.asks(3, m.UnsubscribeRequest, m.SubscribeRequest)
    notify = [
        m.MeasurementNotify(
            sequence=number, due_ns=1000, sent_ns=2000, station_mac=b"\x02\x53ABCD", subservice=0, readings=()
        )
        for number in range(6)
    ]
    fleets.hear(3, notify[0], notify[1], (m.UnsubscribeResponse(0, 0), unsubscribe), notify[2], notify[3], notify[4])
    fleets.hear(4, notify[0], notify[1])
    fleets.settle()
    assert fleets.counters["notify.received"] == 7
    assert fleets.counters["errors.stream.not_subscribed"] == 3
    # A grant alone, and notifications behind it in the next piece; and both again in one.
    fleets.hear(3, (m.SubscribeResponse(1, 0), subscribe))
    fleets.settle()
    fleets.hear(3, notify[5])
    fleets.settle()
    assert fleets.counters["errors.stream.not_subscribed"] == 3
    assert "notify.lost" not in fleets.counters


def test_a_peer_that_takes_nothing_holds_its_own_requests_up_only(make: Callable[..., Fleets]) -> None:
    fleets = make("[requests]\nmeasurement = { rate = 200 }\n")  # a busy machine keeps up with that, too
    blocked = fleets.wire(fleets.links[6][0])
    blocked.blocked = True
    fleets.start()
    fleets.turn_until(lambda: fleets.counters.get("requests.answered", 0) >= 15 * 20)
    asked = fleets.endpoint(6).asked
    assert asked is not None
    waiting = len(asked.owed)
    assert waiting >= 10
    assert not asked.pending
    blocked.blocked = False
    fleets.mse.turn([(fleets.links[6][0].fd, select.EPOLLOUT)])
    fleets.turn_until(lambda: not asked.owed and not asked.pending)
    assert "generator.shortfall" not in fleets.counters
    assert "requests.dropped" not in fleets.counters


def test_a_link_that_breaks_while_it_asks(make: Callable[..., Fleets]) -> None:
    fleets = make("[requests]\nmeasurement = { rate = 800 }\n", seconds=1)
    fleets.wire(fleets.links[2][0]).fault = "reset"
    fleets.start()
    due = 800
    fleets.turn_until(lambda: fleets.counters.get("requests.due", 0) == due)
    fleets.settle()
    counters = fleets.counters
    assert counters["errors.stream.reset"] == counters["sessions.lost"] == 1
    assert counters["requests.sent"] == counters["requests.answered"] + counters["requests.abandoned"]
    assert counters["requests.abandoned"] == 1
    assert counters["requests.dropped"] == due // LINKS - 1
    assert counters["requests.due"] == counters["requests.sent"] + counters["requests.dropped"]


@pytest.mark.parametrize("answered", [True, False])
def test_a_shard_halts_once_what_it_asked_is_answered(
    make: Callable[..., Fleets], monkeypatch: pytest.MonkeyPatch, *, answered: bool
) -> None:
    """Or once it has waited long enough: then nobody is to blame for what it did not wait for."""
    fleets = make("[requests]\nmeasurement = { rate = 800 }\n", seconds=1)
    for number in range(LINKS):
        fleets.endpoint(number).settings.timers = msgspec.structs.replace(
            fleets.endpoint(number).settings.timers, response_timeout=Duration(1 << 60)
        )
    fleets.start()
    fleets.clock.advance(0.1)
    fleets.mse.turn([])
    assert fleets.counters["requests.sent"] > 0
    monkeypatch.setattr(asking, "LONGEST_WAIT_NS", (1 << 60) if answered else 0)
    fleets.mse.halt()
    fleets.mse.turn([])
    assert fleets.mse.halted.is_set() is not answered
    if answered:
        fleets.settle()
        fleets.turn_until(fleets.mse.halted.is_set)
    fleets.mse.finish()
    fleets.mse.turn([])
    counters = fleets.counters
    assert counters["requests.due"] == counters["requests.sent"] + counters.get("requests.dropped", 0)
    assert counters["requests.sent"] == counters["requests.answered" if answered else "requests.withdrawn"]
    assert "requests.abandoned" not in counters


def test_notices_come_between_notifications(make: Callable[..., Fleets]) -> None:
    fleets = make()
    measured = [
        m.MeasurementNotify(
            sequence=number, due_ns=1000, sent_ns=2000, station_mac=b"\x02\x53ABCD", subservice=0, readings=()
        )
        for number in range(3)
    ]
    told = [
        m.ClientInfoNotify(sequence=number, due_ns=1000, sent_ns=2000, subservice=9, records=(ClientInfo(NO_MAC),))
        for number in range(3)
    ]
    for number in range(LINKS):
        fleets.hear(number, measured[0], told[0], told[1], measured[1], measured[2], told[2])
    fleets.settle()
    assert fleets.counters["notify.received"] == 6 * LINKS
    assert fleets.counters["service.info_ms.received"] == 3 * LINKS
    assert not {"notify.lost", "errors.stream.not_subscribed"} & set(fleets.counters)


def test_a_second_load_begins_the_schedules_anew(make: Callable[..., Fleets]) -> None:
    fleets = make("[requests]\ncapability = { rate = 1600 }\n", seconds=1)
    for load in (1, 2):
        fleets.start()
        fleets.turn_until(lambda load=load: fleets.counters.get("requests.due", 0) == 1600 * load)
        fleets.mse.end_load()
        fleets.settle()
    assert fleets.counters["requests.answered"] + fleets.counters.get("requests.dropped", 0) == 3200


def test_a_shard_without_requests_has_nothing_to_wake_for(make: Callable[..., Fleets]) -> None:
    fleets = make()
    fleets.mse.mses.dialed = fleets.mse.mses.wanted
    assert fleets.mse.next_wake_ns(fleets.clock()) == NEVER_NS
    asking = make("[requests]\ncapability = { rate = 1 }\n")
    asking.mse.mses.dialed = asking.mse.mses.wanted
    assert asking.mse.next_wake_ns(asking.clock()) == NEVER_NS
    asking.start()
    asking.settle()
    now = asking.clock()
    assert now < asking.mse.next_wake_ns(now) <= now + NS_PER_S
