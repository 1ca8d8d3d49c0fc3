"""How many links are told goodbye at once, in virtual time: peers that answer one after the other, and silent ones."""

from __future__ import annotations

from collections import deque

from drive_samples import VirtualClock

from loadgen.drive.leaving import AT_ONCE, SOON_NS, Leaving
from loadgen.drive.links import Link
from loadgen.drive.phase import ACTIVE, CLOSED, CLOSING
from loadgen.units import NEVER_NS, NS_PER_MS, NS_PER_S

CLOSE_TIMEOUT_NS = 5 * NS_PER_S
TELLING_NS = 40_000  # a goodbye takes so long


class Peers:
    """Links of a shard whose peers answer, all in a row, so many a second; 0: none does."""

    def __init__(self, count: int, answers_per_s: int) -> None:
        self.clock = VirtualClock()
        self.leaving = Leaving[Link](self.clock)
        self.links = [Link(number, ACTIVE, 0) for number in range(count)]
        self.leaving.add(self.links)
        self._each_ns = NS_PER_S // answers_per_s if answers_per_s else NEVER_NS
        self._free_ns = 0
        self._coming: deque[tuple[int, Link, int]] = deque()
        self.longest_ns = self.most = 0
        self.told: list[Link] = []

    def turn(self) -> None:
        while self._coming and self._coming[0][0] <= self.clock():
            done_ns, link, told_ns = self._coming.popleft()
            self.longest_ns = max(self.longest_ns, done_ns - told_ns)
            link.phase = CLOSED
            self.leaving.gone(link)
        for link in self.leaving.due():
            link.phase = CLOSING
            self.told.append(link)
            self.clock.now_ns += TELLING_NS
            self._free_ns = max(self._free_ns, self.clock()) + self._each_ns
            self._coming.append((self._free_ns, link, self.clock()))
        self.most = max(self.most, len(self._coming))
        self.clock.advance(0.001)

    def turn_until_told(self) -> int:
        """How long it takes until the last goodbye is said."""
        began_ns = self.clock()
        while len(self.told) < len(self.links):
            self.turn()
            assert self.clock() < began_ns + 60 * NS_PER_S
        return self.clock() - began_ns


def test_twenty_thousand_goodbyes_are_answered_in_time() -> None:
    """By peers that answer 3,000 a second: told all at once, the last would wait for 6.7 s."""
    peers = Peers(20_000, 3_000)
    took_ns = peers.turn_until_told()
    assert peers.told == peers.links  # in order
    assert peers.most <= AT_ONCE
    assert peers.longest_ns < SOON_NS < CLOSE_TIMEOUT_NS
    assert took_ns < 7 * NS_PER_S  # they are kept busy


def test_peers_that_do_not_answer_keep_nobody_waiting() -> None:
    peers = Peers(2_000, 0)
    assert peers.turn_until_told() < (2_000 / AT_ONCE + 1) * SOON_NS


def test_a_few_are_told_at_once() -> None:
    peers = Peers(100, 1_000)
    peers.turn()
    assert len(peers.told) == 100


def test_a_turn_has_time_for_so_many() -> None:
    peers = Peers(AT_ONCE, 1_000_000)
    peers.turn()
    assert len(peers.told) == 5 * NS_PER_MS // TELLING_NS + 1


def test_when_the_next_is_told() -> None:
    peers = Peers(AT_ONCE + 1, 0)
    assert peers.leaving.next_ns(peers.clock()) == peers.clock()
    for _ in range(1_000):
        if len(peers.told) < AT_ONCE:
            peers.turn()
    assert len(peers.told) == AT_ONCE
    at_ns = peers.leaving.next_ns(peers.clock())
    assert peers.clock() < at_ns <= peers.clock() + SOON_NS
    peers.leaving.gone(peers.told[7])  # its peer has answered
    assert peers.leaving.next_ns(peers.clock()) == peers.clock()
    peers.turn_until_told()
    assert peers.leaving.next_ns(peers.clock()) == NEVER_NS


def test_those_that_went_meanwhile_are_told_nothing() -> None:
    peers = Peers(3, 0)
    peers.links[1].phase = CLOSED
    peers.turn()
    assert peers.told == [peers.links[0], peers.links[2]]
