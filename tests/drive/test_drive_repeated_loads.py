"""Loads that follow each other over the same sessions: sums and sequence numbers go on, nothing owed is inherited."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import trio
from drive_samples import PATIENT, VirtualClock, equipped

from loadgen.drive.phase import Phase
from loadgen.drive.tls_accept import WlcLink
from loadgen.drive.tls_handshakes import HandshakeMseShard
from loadgen.drive.tls_wlc import WlcShard
from loadgen.measure.recorder import Recorder
from loadgen.measure.stages import tag_of
from loadgen.nmsp.bulk import NotifyReceiver
from loadgen.nmsp.messages import Role
from loadgen.scenario.plan import Plan, Use, make_plan
from loadgen.scenario.reading import load_scenario
from loadgen.scenario.schedule import RateStage
from loadgen.session.ledger import Ledger
from loadgen.transport.openssl import Pointer, bytes_at
from loadgen.transport.tls import TransportFault, Want
from loadgen.units import NS_PER_S

TO_UNIX_NS = 5_000
SCENARIO = """
name = "again"
[wlc]
count = 2
stations = 3
[mse]
count = 2
[load]
rate = 4
backlog = "1m"
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

    def flush(self) -> bool:
        self.blocked = self.block_next = False
        return True

    def unacknowledged_bytes(self) -> int:
        return 7

    def segments(self) -> None:
        return None

    def close(self) -> None:
        pass


def stages(number: int, per_s: float, seconds: float = 1) -> tuple[RateStage, ...]:
    return (RateStage(f"{number}-hold", 0, int(seconds * NS_PER_S), per_s, per_s),)


class Wlcs:
    """Two WLCs with two subscribers each. Loads lie in the past, so that a turn finds everything due."""

    def __init__(self, path: Path, use: Use, *overrides: str) -> None:
        path.write_text(SCENARIO, "utf-8")
        scenario, self.profile = load_scenario(path, overrides)
        self.plan = make_plan(scenario, self.profile, use=use)
        self.recorder = Recorder()
        self.sockets = [socket.socket() for _ in range(6)]
        self.clock = VirtualClock()
        equipment = equipped(
            Role.WLC, self.plan, self.profile, self.recorder, clock=self.clock, to_unix_ns=TO_UNIX_NS, **PATIENT
        )
        contexts = [None, None]  # never asked: the tunnels are fakes
        self.shard = WlcShard(equipment, self.sockets[:2], contexts)  # type: ignore[arg-type]
        self.links = [self.subscribe(sock, index % 2) for index, sock in enumerate(self.sockets[2:])]

    def subscribe(self, sock: socket.socket, wlc: int) -> WlcLink:
        link = WlcLink(sock, 0, wlc)
        link.tunnel = FakeTunnel()  # type: ignore[assignment]
        self.shard.add(link, 1 << 62, 0)
        self.shard.on_tunnel(link, 0)
        assert link.endpoint is not None
        link.endpoint.granted = 1
        link.phase = Phase.ACTIVE
        self.shard.on_active(link, self.clock())
        return link

    def start(self, number: int, per_s: float, ago_s: float) -> int:
        """As a worker does it; returns slot 0's due time."""
        at_ns = self.clock() - int(ago_s * NS_PER_S)
        made = stages(number, per_s)
        self.recorder.stages.add(
            [stage.name for stage in made], [at_ns + TO_UNIX_NS + stage.start_ns for stage in made]
        )
        self.shard.start_load(at_ns, made)
        return at_ns

    def turn(self) -> None:
        self.shard.on_turn(self.clock())

    def writable(self, link: WlcLink) -> None:
        """Its peer takes something again."""
        self.shard.turn([(link.fd, select.EPOLLOUT)])

    def totals(self) -> tuple[int, int, int]:
        found = self.shard.totals(self.clock())
        assert found["notify.due"] == found["notify.sent"] + found["notify.dropped"]
        return found["notify.due"], found["notify.sent"], found["notify.dropped"]

    def tunnel(self, index: int) -> FakeTunnel:
        found = self.links[index].tunnel
        assert isinstance(found, FakeTunnel)
        return found

    def columns(self, index: int) -> tuple[list[int], list[int]]:
        """Sequence numbers and due times (monotonic) of what went over a link."""
        data = b"".join(self.tunnel(index).written)
        receiver = NotifyReceiver(self.profile, len(data) + 1)
        receiver.view[: len(data)] = data
        assert receiver.scan_untrusted(0, len(data)).position == len(data)
        found = receiver.columns()
        return found.sequence.tolist(), (found.due_ns - TO_UNIX_NS).tolist()

    def totals_open(self) -> tuple[int, int]:
        """Due and sent, while something is still owed."""
        found = self.shard.totals(self.clock())
        assert found["notify.dropped"] == 0
        return found["notify.due"], found["notify.sent"]

    def count(self, stage: str, metric: str) -> int:
        """How many durations were recorded since it was last asked."""
        found = self.recorder.bins(metric, stage).take()
        return 0 if found is None else found.count

    def close(self) -> None:
        self.shard.shut()
        for sock in self.sockets:
            sock.close()


@pytest.fixture(params=[Use.BOTH, Use.SERVE_WLC], ids=str)
def wlcs(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Wlcs]:
    made = Wlcs(tmp_path / "again.toml", request.param)
    yield made
    made.close()


def test_sums_and_sequence_numbers_go_on(wlcs: Wlcs) -> None:
    first_ns = wlcs.start(1, 8, ago_s=20)
    wlcs.turn()
    assert wlcs.shard.load_over.is_set()
    assert wlcs.totals() == (16, 16, 0)
    second_ns = wlcs.start(2, 4, ago_s=1.5)
    assert not wlcs.shard.load_over.is_set()
    assert wlcs.shard.totals(second_ns - 1)["notify.due"] == 16
    wlcs.turn()
    assert wlcs.shard.load_over.is_set()
    assert wlcs.totals() == (24, 24, 0)
    for index in range(4):
        sequences, due = wlcs.columns(index)
        assert sequences == [0, 1, 2, 3, 4, 5]
        wlc = index % 2
        assert due == [
            *(first_ns + (turn * 2 + wlc) * NS_PER_S // 8 for turn in range(4)),
            *(second_ns + (turn * 2 + wlc) * NS_PER_S // 4 for turn in range(2)),
        ]


def test_stages_of_loads_are_apart(wlcs: Wlcs) -> None:
    for number, per_s, sent in ((1, 8, 16), (2, 4, 8)):
        wlcs.start(number, per_s, ago_s=30 - 10 * number)
        wlcs.turn()
        assert wlcs.count(f"{number}-hold", "notify.lag") == sent
        assert wlcs.count(f"{number}-hold", "generator.lag") == sent
        assert wlcs.count("1-hold", "notify.lag") == 0  # each was taken


def test_what_the_first_load_dropped_is_not_owed_in_the_second(wlcs: Wlcs) -> None:
    """A link is blocked through the whole of the first load, and free in the second."""
    wlcs.tunnel(0).blocked = True
    wlcs.start(1, 8, ago_s=100)  # and its backlog is over
    wlcs.turn()
    assert wlcs.shard.load_over.is_set()
    due, sent, dropped = wlcs.totals()
    assert (due, sent + dropped) == (16, 16)
    assert dropped >= 4
    wlcs.writable(wlcs.links[0])
    assert wlcs.columns(0) == ([], [])
    before = wlcs.totals()
    second_ns = wlcs.start(2, 4, ago_s=0.9)
    wlcs.turn()
    sequences, due_ns = wlcs.columns(0)
    assert sequences == [0, 1]
    assert due_ns[0] == second_ns
    assert wlcs.totals() == (before[0] + 8, before[1] + 8, before[2])


def test_a_link_that_stays_blocked_from_load_to_load_is_late_by_its_peers_doing(wlcs: Wlcs) -> None:
    wlcs.start(1, 8, ago_s=20)
    wlcs.tunnel(0).block_next = True
    wlcs.turn()
    assert wlcs.tunnel(0).blocked
    assert wlcs.columns(0)[0] == [0, 1, 2, 3]
    assert wlcs.shard.owing.ledger.behind[wlcs.links[0].row] == 1
    assert wlcs.shard.load_over.is_set()  # nothing is owed
    wlcs.count("1-hold", "generator.lag")
    wlcs.start(2, 8, ago_s=1.5)
    wlcs.turn()
    assert not wlcs.shard.load_over.is_set()
    assert wlcs.totals_open() == (32, 28)
    wlcs.writable(wlcs.links[0])
    wlcs.turn()
    assert wlcs.shard.load_over.is_set()
    assert wlcs.columns(0)[0] == [0, 1, 2, 3, 4, 5, 6, 7]
    assert wlcs.totals() == (32, 32, 0)
    assert wlcs.count("2-hold", "generator.lag") == 12
    assert wlcs.count("2-hold", "notify.lag") == 16


def test_a_session_that_ended_in_the_first_load_is_not_due_in_the_second(tmp_path: Path) -> None:
    """As many as should be there are left."""
    wlcs = Wlcs(tmp_path / "again.toml", Use.SERVE_WLC, "mse.count=1")
    try:
        wlcs.tunnel(0).fault = "reset"
        wlcs.start(1, 8, ago_s=20)
        wlcs.turn()
        first = wlcs.totals()
        assert first == (16, 12, 4)
        wlcs.start(2, 8, ago_s=10)
        wlcs.turn()
        assert wlcs.totals() == (28, 24, 4)
        # One that comes between loads is owed nothing of the one that is over.
        wlcs.sockets.append(socket.socket())
        wlcs.links.append(wlcs.subscribe(wlcs.sockets[-1], 0))
        assert wlcs.totals() == (28, 24, 4)
        wlcs.start(3, 8, ago_s=1.5)
        wlcs.turn()
        assert wlcs.totals() == (44, 40, 4)
        assert wlcs.columns(4)[0] == [0, 1, 2, 3]
    finally:
        wlcs.close()


@pytest.mark.parametrize("use", [Use.BOTH, Use.SERVE_WLC])
def test_a_planned_session_that_is_down_is_due_in_every_load(tmp_path: Path, use: Use) -> None:
    wlcs = Wlcs(tmp_path / "again.toml", use)
    try:
        wlcs.tunnel(0).fault = "reset"
        for number in (1, 2):
            wlcs.start(number, 8, ago_s=30 - 10 * number)
            wlcs.turn()
            assert wlcs.shard.load_over.is_set()
            assert wlcs.totals() == (16 * number, 12 * number, 4 * number)
    finally:
        wlcs.close()


def test_a_load_that_has_not_begun_yet_owes_nothing(wlcs: Wlcs) -> None:
    wlcs.start(1, 8, ago_s=20)
    wlcs.turn()
    wlcs.start(2, 8, ago_s=-3600)
    wlcs.turn()
    assert wlcs.totals() == (16, 16, 0)
    assert not wlcs.shard.load_over.is_set()


def test_held_up_sends_belong_to_the_time_in_which_a_load_was_sent(tmp_path: Path) -> None:
    """Or a target that takes a load late took it in time: `notify.sent_per_s` goes by how long that waited."""
    wlcs = Wlcs(tmp_path / "again.toml", Use.SERVE_WLC)
    try:
        wlcs.start(1, 8, ago_s=0.9)
        for index in range(4):
            wlcs.tunnel(index).block_next = True
        wlcs.turn()
        assert all(wlcs.tunnel(index).blocked for index in range(4))
        for link in wlcs.links:
            wlcs.shard.owing.ledger.done[link.row] -= 1  # one more is owed
            wlcs.writable(link)
        lag = wlcs.recorder.bins("notify.lag", "1-hold").take()
        waited = wlcs.recorder.take(0).waits[tag_of("1-hold", "sent")]
        assert lag is not None
        assert sum(waited.counts) == lag.count == wlcs.shard.totals(wlcs.clock())["notify.sent"]
        assert sum(waited.sums) / lag.count == pytest.approx(lag.summary().mean, rel=0.001)
    finally:
        wlcs.close()


@pytest.mark.parametrize("use", [Use.SERVE_WLC, Use.BOTH])
def test_what_the_peers_have_not_taken_is_weighed_before_the_last_stage_too(tmp_path: Path, use: Use) -> None:
    """Where only the sender is ours: once, and not before that stage begins."""
    wlcs = Wlcs(tmp_path / "again.toml", use)
    name = "notify.unacknowledged_before_bytes"
    wlcs.shard.record_bytes = 0  # these tunnels add nothing
    try:
        for ago_s, weighed in ((-3600, 0), (1.5, 4 * 7), (-7200, 0)):
            at_ns = wlcs.clock() - int(ago_s * NS_PER_S)
            made = (
                RateStage(f"{ago_s}-warmup", 0, NS_PER_S, 8, 8),
                RateStage(f"{ago_s}-hold", NS_PER_S, NS_PER_S, 8, 8),
            )
            wlcs.shard.start_load(at_ns, made)
            wlcs.turn()
            wlcs.turn()
            found = wlcs.shard.totals(wlcs.clock())

            assert found.get(name) == (weighed if use is Use.SERVE_WLC else None)
    finally:
        wlcs.close()


# -- the ledger --------------------------------------------------------------------------------------------------------


def test_a_ledger_begins_again_but_for_sequence_numbers_and_what_is_behind() -> None:
    ledger = Ledger()
    rows = [ledger.add(base) for base in (0, 3, 0)]
    ledger.done[rows] = [5, 4, 2]
    ledger.sent[rows] = [5, 1, 2]
    ledger.behind[1] = 1
    ledger.drop_until(0, 7, ours=True)
    ledger.close(2, 4)
    assert ledger.totals(np.array([10, 10, 10])) == (10 + 7 + 4, 2 + 2, 2)
    ledger.restart()
    assert ledger.totals(np.array([10, 10, 10])) == (20, 0, 0)
    assert [ledger.owed(row, 10) for row in rows] == [10, 10, 0]
    assert [ledger.due(row, 10) for row in rows] == [10, 10, 0]
    assert ledger.sent[:3].tolist() == [5, 1, 2]
    assert ledger.behind[:3].tolist() == [0, 1, 0]
    assert ledger.add(2) == 3
    assert ledger.owed(3, 10) == 8


# -- handshakes --------------------------------------------------------------------------------------------------------


class Dialed:
    """Stands for a link that is under way."""

    index = due_ns = 0
    stage = ""


class Handshakes:
    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch, more: str = "") -> None:
        path.write_text(f'name = "h"\n[mse]\ncount = 3\n[load]\nkind = "handshake"\nrate = 10\n{more}', "utf-8")
        scenario, profile = load_scenario(path)
        self.plan: Plan = make_plan(scenario, profile)
        self.recorder = Recorder()
        self.clock = VirtualClock()
        equipment = equipped(Role.MSE, self.plan, profile, self.recorder, clock=self.clock, to_unix_ns=TO_UNIX_NS)
        self.shard = HandshakeMseShard(equipment, [("127.0.0.1", 1)] * len(self.plan.wlcs), [])
        self.dialed: list[Dialed] = []

        def dial(number: int, started_ns: int) -> Dialed:
            link = Dialed()
            self.dialed.append(link)
            self.shard.links[1000 + len(self.dialed)] = link  # type: ignore[assignment]
            return link

        monkeypatch.setattr(self.shard, "dial", dial)

    def start(self, number: int, per_s: float, ago_s: float) -> int:
        at_ns = self.clock() - int(ago_s * NS_PER_S)
        made = stages(number, per_s)
        self.recorder.stages.add([stage.name for stage in made], [at_ns + TO_UNIX_NS])
        self.shard.start_load(at_ns, made)
        return at_ns

    def turn(self) -> None:
        self.shard.on_turn(self.clock())

    def totals(self) -> tuple[int, int, int]:
        found = self.shard.totals(self.clock())
        return found["handshakes.due"], self.recorder.counters["handshakes.attempted"], found["handshakes.dropped"]


@pytest.fixture
def shaking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Handshakes]:
    made = Handshakes(tmp_path / "h.toml", monkeypatch, 'backlog = "1m"\n')
    yield made
    made.shard.links.clear()
    made.shard.shut()


def test_handshakes_of_two_loads_add_up(shaking: Handshakes) -> None:
    first_ns = shaking.start(1, 10, ago_s=20)
    shaking.turn()
    assert shaking.totals() == (10, 10, 0)
    assert not shaking.shard.load_over.is_set()  # they are under way
    shaking.shard.links.clear()
    shaking.turn()
    assert shaking.shard.load_over.is_set()
    assert not shaking.shard.finished
    second_ns = shaking.start(2, 5, ago_s=1.2)
    assert not shaking.shard.load_over.is_set()
    assert shaking.shard.totals(second_ns - 1)["handshakes.due"] == 10
    shaking.turn()
    assert shaking.totals() == (15, 15, 0)
    assert [link.due_ns for link in shaking.dialed] == [
        *(first_ns + number * NS_PER_S // 10 for number in range(10)),
        *(second_ns + number * NS_PER_S // 5 for number in range(5)),
    ]
    assert [link.stage for link in shaking.dialed] == ["1-hold"] * 10 + ["2-hold"] * 5
    for stage, count in (("1-hold", 10), ("2-hold", 5)):
        lag = shaking.recorder.bins("handshake.lag", stage).take()
        assert lag is not None
        assert lag.count == count


def test_handshakes_that_the_first_load_dropped_are_not_made_in_the_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shaking = Handshakes(tmp_path / "h.toml", monkeypatch, 'concurrency = 3\nbacklog = "100ms"\n')
    shaking.start(1, 10, ago_s=0.05)
    shaking.turn()
    shaking.shard.load.start_ns -= 2 * NS_PER_S  # time goes by, with as many under way as may be
    shaking.shard.load.done = 1
    while len(shaking.shard.links) < 3:
        shaking.shard.links[len(shaking.shard.links)] = Dialed()  # type: ignore[assignment]
    shaking.shard.load.held_up = True
    shaking.turn()
    assert shaking.totals() == (10, 1, 9)
    shaking.shard.links.clear()
    shaking.turn()
    assert shaking.shard.load_over.is_set()
    shaking.start(2, 10, ago_s=0.05)
    shaking.turn()
    assert shaking.totals() == (11, 2, 9)
    assert shaking.shard.totals(shaking.clock())["generator.shortfall"] == 0
    shaking.shard.links.clear()
    shaking.shard.shut()


def test_to_finish_between_loads_ends_at_once(shaking: Handshakes) -> None:
    shaking.start(1, 10, ago_s=1.2)
    shaking.turn()
    shaking.shard.links.clear()
    shaking.turn()
    assert not shaking.shard.finished
    shaking.shard.finish()
    shaking.turn()
    assert shaking.shard.finished
    assert shaking.totals() == (10, 10, 0)


def test_a_load_over_is_an_event_of_one_load(shaking: Handshakes) -> None:
    first = shaking.shard.load_over
    shaking.start(1, 10, ago_s=1.2)
    second = shaking.shard.load_over
    assert first is not second
    shaking.shard.end_load()
    shaking.start(2, 10, ago_s=1.2)
    assert second.is_set()
    assert isinstance(shaking.shard.load_over, trio.Event)
    assert not shaking.shard.load_over.is_set()
