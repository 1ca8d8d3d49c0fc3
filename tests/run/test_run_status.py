"""What a worker tells of its peers: derived from where its links, ledger and reception stand, and from nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from test_drive_tls_mse import LINKS
from test_drive_tls_mse import Fleet as MseFleet
from test_drive_tls_wlc import MSES
from test_drive_tls_wlc import Fleet as WlcFleet

from loadgen.drive import peers as peers_module
from loadgen.drive.links import Link
from loadgen.drive.peers import PeerBook
from loadgen.drive.phase import Phase
from loadgen.drive.tls_accept import WlcLink
from loadgen.measure.names import COUNTERS
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.messages import Kind
from loadgen.run.answering import answer
from loadgen.run.channel import AskStatus, StatusPart
from loadgen.status.answer import PeerRow, Question, SideCounts, Subject
from loadgen.status.model import STATISTICS

NOTIFY = 16  # msg-id of the reference profile
ALL = Question(Subject.PEERS, 10**6)


@pytest.fixture
def wlcs(tmp_path: Path) -> Iterator[WlcFleet]:
    made = WlcFleet(tmp_path / "many.toml")
    yield made
    made.shard.shut()
    for sock in made.sockets:
        sock.close()


@pytest.fixture
def mses(tmp_path: Path) -> Iterator[MseFleet]:
    made = MseFleet(tmp_path / "m.toml")
    made.shard.start_dialing(1 << 60)  # planned, and never dialed by itself
    yield made
    made.shard.shut()
    for sock in made.sockets:
        sock.close()


def ask(fleet: Any, question: Question = ALL, spread: tuple[int, int] = (0, 1)) -> tuple[list[PeerRow], SideCounts]:
    parts: list[StatusPart] = []

    async def send(part: StatusPart) -> None:
        assert len(part.rows) <= 100
        parts.append(part)

    trio.run(answer, fleet.shard, AskStatus(7, question), fleet.profile, spread, send)
    assert {part.serial for part in parts} == {7}
    assert [part.trouble for part in parts] == [""] * len(parts)
    *earlier, last = parts
    assert all(part.counts is None for part in earlier)
    assert last.counts is not None
    return [row for part in parts for row in part.rows], last.counts


def notified(rows: list[PeerRow], way: str) -> list[int]:
    return [getattr(row, way).get(NOTIFY, 0) for row in rows]


class TestWlcs:
    """The ledger knows how many each link was sent."""

    def test_every_way_of_sending_is_counted(self, wlcs: WlcFleet) -> None:
        wlcs.send(2)  # many together
        wlcs.tunnel(4).block_next = True
        wlcs.send(6)
        wlcs.tunnel(4).blocked = wlcs.tunnel(4).block_next = False
        wlcs.send(8)  # and what had to wait, in one write
        rows, counts = ask(wlcs)
        assert (counts.peers, counts.active, counts.matching) == (2 * MSES, 2 * MSES, 2 * MSES)
        assert notified(rows, "sent") == [len(wlcs.sequences(index)) for index in range(2 * MSES)] == [4] * 2 * MSES
        assert [row.owner for row in rows] == [index % 2 for index in range(2 * MSES)]
        assert rows[1].owner_mac == wlcs.plan.wlcs[1].mac
        assert counts.granted == {1: 2 * MSES}

    def test_a_link_that_broke_keeps_its_count_and_comes_first(self, wlcs: WlcFleet) -> None:
        wlcs.send(4)
        broken = wlcs.links[6]
        wlcs.tunnel(6).fault = "reset"
        wlcs.send(6)
        assert broken.phase is Phase.CLOSED
        rows, counts = ask(wlcs)
        assert (counts.peers, counts.active) == (2 * MSES, 2 * MSES - 1)
        first = rows[0]
        assert (first.phase, first.active, first.granted) == ("down", False, 0)
        assert (first.connections, first.disconnections, first.sent) == (1, 1, {NOTIFY: 2})
        assert sum(notified(rows, "sent")) == wlcs.totals()["notify.sent"]

    def test_writes_before_the_one_that_failed_count(self, wlcs: WlcFleet) -> None:
        """A link that is behind catches up in several writes; the second one breaks it."""
        tunnel = wlcs.tunnel(0)
        tunnel.block_next = True
        wlcs.send(2)
        tunnel.blocked = tunnel.block_next = False
        write, left = tunnel.write, [1]

        def fail_at_the_second(data: bytes | memoryview) -> None:
            tunnel.fault = None if left else "reset"
            left.clear()
            write(data)

        tunnel.write = fail_at_the_second  # type: ignore[method-assign]
        wlcs.send(1000)
        assert wlcs.links[0].phase is Phase.CLOSED
        rows, _ = ask(wlcs)
        assert rows[0].phase == "down"
        assert sum(notified(rows, "sent")) == wlcs.totals()["notify.sent"]

    def test_whoever_comes_back_is_who_it_was(self, wlcs: WlcFleet) -> None:
        wlcs.send(4)
        wlcs.shard.fault(wlcs.links[6], "reset")
        link = WlcLink(wlcs.sockets[0], 0, 0)
        link.phase = Phase.SETTING_UP
        wlcs.shard.on_tunnel(link, 0)
        assert link.endpoint is not None
        link.endpoint.said[Kind.ECHO_RESPONSE] = link.endpoint.heard[Kind.ECHO_REQUEST] = 3
        rows, counts = ask(wlcs)
        assert counts.peers == 2 * MSES
        assert (rows[0].phase, rows[0].connections, rows[0].disconnections) == ("setting up", 2, 1)
        assert (rows[0].echo_sent, rows[0].echo_heard, rows[0].data_sent, rows[0].data_heard) == (3, 3, 2, 0)

    def test_limit_and_peer(self, wlcs: WlcFleet) -> None:
        for index, link in enumerate(wlcs.links):
            assert link.peer is not None
            link.peer.address, link.peer.port = f"192.0.2.{index % 3}", 1000 + index
        rows, counts = ask(wlcs, Question(Subject.PEERS, 5))
        assert (len(rows), counts.matching) == (5, 2 * MSES)
        rows, counts = ask(wlcs, Question(Subject.PEERS, 5, "192.0.2.1"))
        assert (len(rows), counts.matching, {row.address for row in rows}) == (5, 2 * MSES // 3, {"192.0.2.1"})
        rows, counts = ask(wlcs, Question(Subject.PEERS, 5, "192.0.2.1", 1004))
        assert [(row.address, row.port) for row in rows] == [("192.0.2.1", 1004)]
        assert ask(wlcs, Question(Subject.PEERS, 5, "192.0.2.1", 1005))[0] == []
        assert ask(wlcs, Question(Subject.PEERS, 0)) == ([], ask(wlcs)[1])

    def test_connection_ids_of_two_workers_differ(self, wlcs: WlcFleet) -> None:
        for serial, link in enumerate(wlcs.links, 1):
            assert link.peer is not None
            link.peer.serial = serial
        ids = [[row.connection_id for row in ask(wlcs, spread=(worker, 2))[0]] for worker in (0, 1)]
        assert sorted(ids[0] + ids[1]) == list(range(1, 4 * MSES + 1))


class TestMses:
    """The reception knows which number comes next."""

    def test_received_is_what_came(self, mses: MseFleet) -> None:
        for sequence in (0, 1, 2):
            mses.bring(sequence)
            mses.turn()
            mses.turn_until(lambda wanted=LINKS * (sequence + 1): mses.received == wanted)  # type: ignore[misc]
        rows, counts = ask(mses)
        assert notified(rows, "heard") == [3] * LINKS
        assert (counts.peers, counts.active, counts.granted) == (LINKS, LINKS, {1: LINKS})
        assert [(row.owner, row.address, row.port) for row in rows] == [(n, "192.0.2.7", 16113) for n in range(LINKS)]
        assert all(row.sent == {1: 1} for row in rows)  # the version request that `start` said

    def test_lost_numbers_were_not_received(self, mses: MseFleet) -> None:
        for sequence in (0, 4, 1 << 40, 4, (1 << 40) + 1):  # a gap, a jump, one that came before, the next one
            before = mses.received
            mses.bring(sequence)
            mses.turn()
            mses.turn_until(lambda before=before: mses.received == before + LINKS)  # type: ignore[misc]
        assert mses.recorder.counters["notify.lost"] == 3 * LINKS
        assert notified(ask(mses)[0], "heard") == [5] * LINKS

    def test_of_sessions_that_are_down_there_are_rows(self, mses: MseFleet) -> None:
        mses.bring()
        mses.turn()
        mses.shard.fault(mses.links[3], "reset")  # what it brought is taken first
        rows, counts = ask(mses)
        assert (counts.peers, counts.active) == (LINKS, LINKS - 1)
        assert (rows[0].owner, rows[0].phase, rows[0].heard) == (3, "down", {NOTIFY: 1})
        mses.shard.book.peers.clear()  # as if nobody had been dialed yet
        rows, _ = ask(mses, Question(Subject.PEERS, LINKS))
        assert [row.connections for row in rows] == [0] * LINKS
        assert {row.phase for row in rows} == {"down"}
        assert {row.connection_id for row in rows} == {0}

    def test_links_that_close_are_not_active_and_keep_their_count(self, mses: MseFleet) -> None:
        mses.bring()
        mses.turn()
        mses.turn_until(lambda: mses.received == LINKS)
        mses.shard.close(mses.links[2], 0)
        assert mses.links[2].phase is Phase.CLOSING
        rows, counts = ask(mses)
        assert counts.active == LINKS - 1
        assert (rows[0].owner, rows[0].phase, rows[0].granted, rows[0].heard) == (2, "closing", 0, {NOTIFY: 1})


class TestBook:
    """Who is who, and what became of handshakes."""

    def test_strangers_do_not_fill_the_memory(self) -> None:
        book = PeerBook(most=3)
        links = [Link(fd, Phase.SETTING_UP, 0) for fd in range(5)]
        for number, link in enumerate(links):
            book.join(link, 0, (f"192.0.2.{number}", 1))
        assert [link.peer is not None for link in links] == [True] * 3 + [False] * 2
        for link in links:
            book.ended(link)
        assert (len(book.peers), book.closed) == (3, 5)
        # One who is known comes again, and one who is not has the row of whoever has been away for longest.
        for link, number in ((links[0], 1), (links[1], 4)):
            book.join(link, 0, (f"192.0.2.{number}", 2))
        assert [(peer.address, peer.port, peer.connections) for peer in book.peers] == [
            ("192.0.2.1", 2, 2), ("192.0.2.2", 1, 1), ("192.0.2.4", 2, 1),
        ]  # fmt: skip
        assert [link.peer.address for link in links[:2] if link.peer is not None] == ["192.0.2.1", "192.0.2.4"]
        book.join(links[2], 0, ("192.0.2.2", 3))
        book.join(links[3], 0, ("192.0.2.5", 1))
        assert links[3].peer is None  # all of them are there

    def test_of_one_address_whoever_left_first_is_forgotten_first(self) -> None:
        book = PeerBook(most=2)
        one, other = (Link(fd, Phase.SETTING_UP, 0) for fd in range(2))
        for link, port in ((one, 1), (other, 2)):
            book.join(link, 0, ("192.0.2.1", port))
        book.ended(one)
        book.ended(other)
        book.join(one, 0, ("192.0.2.2", 3))
        assert [peer.port for peer in book.peers] == [2, 3]

    def test_two_of_one_address_at_one_time_are_two(self) -> None:
        book = PeerBook()
        one, other, elsewhere = (Link(fd, Phase.SETTING_UP, 0) for fd in range(3))
        book.join(one, 0, ("192.0.2.1", 1))
        book.join(other, 0, ("192.0.2.1", 2))
        book.join(elsewhere, 1, ("192.0.2.1", 3))
        assert len(book.peers) == 3
        book.ended(other)
        book.join(other, 0, ("192.0.2.1", 9))
        assert [(peer.port, peer.connections) for peer in book.peers] == [(1, 1), (9, 2), (3, 1)]

    @pytest.mark.parametrize("phase", list(Phase)[:-1])
    def test_a_tunnel_that_never_was_is_not_closed(self, phase: Phase) -> None:
        book, link = PeerBook(), Link(0, phase, 0)
        book.ended(link)
        assert book.closed == (phase > Phase.HANDSHAKING)


def test_leaves_are_sums_of_counters_that_a_run_has() -> None:
    assert {name for names in peers_module.RECORDED_AS.values() for name in names} < set(COUNTERS)
    assert set(peers_module.RECORDED_AS) < {leaf for leaves in STATISTICS.values() for leaf in leaves}
    recorder = Recorder()
    recorder.count("aaa.validation_success", 4)
    recorder.count("aaa.validation_fail", 2)
    leaves = peers_module.server_statistics(recorder)
    assert [leaves[f"aaa-validation-{what}"] for what in ("total", "success", "fail")] == [6, 4, 2]
    assert leaves["verify-count"] == 0


def test_a_worker_without_a_shard_has_no_peers() -> None:
    parts: list[StatusPart] = []

    async def send(part: StatusPart) -> None:
        parts.append(part)

    trio.run(answer, None, AskStatus(1, ALL), None, (0, 1), send)
    assert parts == [StatusPart(1, counts=SideCounts(0, 0, 0, {}, {}, {}))]


def test_what_goes_wrong_in_an_answer_is_said_and_ends_nothing(wlcs: WlcFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> tuple[int, str]:
        raise LookupError("planted")

    monkeypatch.setattr(wlcs.shard, "owner", broken)
    parts: list[StatusPart] = []

    async def send(part: StatusPart) -> None:
        parts.append(part)

    trio.run(answer, wlcs.shard, AskStatus(1, ALL), wlcs.profile, (0, 1), send)
    assert parts == [StatusPart(1, trouble="LookupError('planted')")]
