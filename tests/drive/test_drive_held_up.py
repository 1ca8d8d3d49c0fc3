"""What a peer has held up is dropped as it happens, and whoever unsubscribes does not make it undue."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from test_drive_tls_wlc import Fleet

from loadgen.drive.phase import Phase
from loadgen.drive.tls_accept import WlcLink
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import Message, SubscribeRequest, UnsubscribeRequest, VersionRequest
from loadgen.scenario.plan import Use

STATIONS = 1


class Wlcs(Fleet):
    """Two WLCs that owe one MSE each; of every two slots, one is a WLC's."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, Use.SERVE_WLC, mses=1, planned=1)
        for link in self.links:  # back to the start, for its session to come up by messages
            assert link.endpoint is not None
            link.endpoint.granted, link.phase = 0, Phase.ACTIVE
            for message in (VersionRequest(1, 1), SubscribeRequest(STATIONS)):
                frame = Codec(self.profile).encode(message, 1)
                self._take(link, frame, 0)
            self.tunnel(link.number).written.clear()

    def hear(self, number: int, slots: int, *messages: Message) -> None:
        """What this MSE says in one flight, as so many slots are due."""
        codec = Codec(self.profile)
        flight = b"".join(codec.encode(message, 7 + index) for index, message in enumerate(messages))
        self.clock.now_ns = max(self.clock(), self.at(slots))
        self._take(self.links[number], flight, self.at(slots))

    def _take(self, link: WlcLink, flight: bytes, now_ns: int) -> None:
        self.shard.receiver.view[: len(flight)] = flight
        self.shard.take_untrusted(link, 0, len(flight), now_ns)
        self.shard.receiver.reset()

    def counted(self, now_ns: int) -> tuple[int, int, int, int, int]:
        totals = self.shard.totals(now_ns)
        names = ("notify.due", "notify.sent", "notify.dropped", "notify.declined", "generator.shortfall")
        due, sent, dropped, declined, own = (totals[name] for name in names)
        return due, sent, dropped, declined, own


@pytest.fixture
def wlcs(tmp_path: Path) -> Iterator[Wlcs]:
    made = Wlcs(tmp_path / "two.toml")
    yield made
    made.shard.shut()
    for sock in made.sockets:
        sock.close()


def stalled(wlcs: Wlcs, number: int) -> None:
    """It takes one notification, and then nothing."""
    wlcs.tunnel(number).block_next = True
    wlcs.send(2)
    assert wlcs.tunnel(number).blocked


def reads_on(wlcs: Wlcs, number: int) -> None:
    wlcs.tunnel(number).blocked = wlcs.tunnel(number).block_next = False


def test_what_an_mse_had_not_taken_when_it_unsubscribed_was_due_and_is_dropped(wlcs: Wlcs) -> None:
    """Ten were due, of which it took one; the forty that come due afterwards it does not want."""
    stalled(wlcs, 0)
    wlcs.send(20)
    wlcs.hear(0, 20, UnsubscribeRequest(STATIONS))
    assert wlcs.counted(wlcs.at(20)) == (10 + 10, 1 + 10, 9, 0, 0)
    wlcs.send(100)
    assert wlcs.counted(wlcs.at(100)) == (10 + 50, 1 + 50, 9, 40, 0)


def test_who_unsubscribes_and_subscribes_in_one_flight_declines_nothing(wlcs: Wlcs) -> None:
    """Three times: what it had held up was due each time."""
    stalled(wlcs, 0)
    for slots in (20, 40, 60):
        wlcs.send(slots)
        wlcs.hear(0, slots, UnsubscribeRequest(STATIONS), SubscribeRequest(STATIONS))
    reads_on(wlcs, 0)
    wlcs.send(100)
    assert wlcs.counted(wlcs.at(100)) == (100, 1 + 20 + 50, 29, 0, 0)


def test_what_is_due_goes_out_ahead_of_the_answer_to_who_reads(wlcs: Wlcs) -> None:
    """Nobody had visited its WLC since it became due; that is nothing that it declined, nor lost."""
    wlcs.send(2)
    wlcs.hear(0, 20, UnsubscribeRequest(STATIONS))
    answer = wlcs.tunnel(0).written.pop()
    assert int.from_bytes(answer[2:4], "big") == 10  # the response
    assert wlcs.sequences(0) == list(range(10))
    assert wlcs.counted(wlcs.at(20)) == (10 + 10, 10 + 1, 0, 0, 0)


def test_a_link_that_breaks_as_what_is_due_goes_out_is_gone(wlcs: Wlcs) -> None:
    """Its session should be there, and what it is owed waits for it."""
    wlcs.send(2)
    wlcs.tunnel(0).fault = "reset"
    wlcs.hear(0, 20, UnsubscribeRequest(STATIONS), SubscribeRequest(STATIONS))
    assert wlcs.links[0].phase is Phase.CLOSED
    assert wlcs.recorder.counters["errors.serve.reset"] == wlcs.recorder.counters["sessions.lost"] == 1
    assert wlcs.counted(wlcs.at(20)) == (20, 2, 0, 0, 0)


def test_what_was_sent_later_than_an_unsubscription_came_was_due(wlcs: Wlcs) -> None:
    """A turn reads first, and may send before it takes what it has read."""
    wlcs.send(40)
    wlcs.hear(0, 20, UnsubscribeRequest(STATIONS))
    wlcs.hear(0, 21, SubscribeRequest(STATIONS))
    wlcs.send(100)
    assert wlcs.counted(wlcs.at(100)) == (100, 100, 0, 0, 0)


def test_what_a_peer_holds_up_for_too_long_is_dropped_as_it_happens(wlcs: Wlcs) -> None:
    """Not when it reads on, or the load is over: a threshold may end a run that has no other end."""
    stalled(wlcs, 0)
    wlcs.send(100)
    late = wlcs.plan.load.backlog
    assert wlcs.counted(wlcs.at(2) + late)[2] == 0
    assert [wlcs.counted(wlcs.at(slots) + late)[2] for slots in (10, 11, 40, 100)] == [4, 5, 19, 49]
    assert wlcs.counted(wlcs.at(100) + late)[4] == 0  # it is not our doing


def test_what_is_left_goes_out_to_who_reads_on(wlcs: Wlcs) -> None:
    stalled(wlcs, 0)
    wlcs.send(20)
    assert wlcs.counted(wlcs.at(10) + wlcs.plan.load.backlog)[2] == 4
    reads_on(wlcs, 0)
    wlcs.send(22)
    assert wlcs.counted(wlcs.at(22)) == (22, 1 + 6 + 11, 4, 0, 0)
