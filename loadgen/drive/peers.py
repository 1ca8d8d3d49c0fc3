"""What a worker keeps of its peers for whoever asks (`loadgen status`), and what it answers.

Nothing here is touched by a notification: how many a link had is read from the ledger, or from what is expected next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from loadgen.drive.phase import ACTIVE, HANDSHAKING, Phase
from loadgen.hosts import endpoint_shown
from loadgen.measure.clocks import PeerClocks
from loadgen.measure.names import GROUPS
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.dialogue import Saying
from loadgen.nmsp.messages import Kind, Role
from loadgen.scenario.plan import Plan, PlannedSession
from loadgen.session.link import Endpoint
from loadgen.status.answer import Question, SideCounts
from loadgen.transports import TRANSPORTS

# Which of a run's counters a leaf is the sum of. What no run counts has no leaf here: its 0 would be invented.
RECORDED_AS = {
    "accept-attempts": ("accept.attempts",),
    "accept-fail": ("accept.fail", "accept.withdrawn"),
    "accept-reject": ("accept.reject",),
    "accept-success": ("accept.success",),
    "verify-count": ("verify.count",),
    "verify-fail": ("verify.fail",),
    "verify-success": ("verify.success",),
    "aaa-request": ("aaa.request",),
    "aaa-response": ("aaa.response",),
    "aaa-validation-total": ("aaa.validation_fail", "aaa.validation_success"),
    "aaa-validation-fail": ("aaa.validation_fail",),
    "aaa-validation-success": ("aaa.validation_success",),
}
# The addresses of an unplanned MSE must not fill our memory: beyond this, the peer that left first is forgotten.
_MOST_PEERS = 65536


def peer_clocks(
    plan: Plan, sessions: Sequence[PlannedSession], addresses: Sequence[tuple[str, int]]
) -> PeerClocks | None:
    """The clocks that a worker's sessions are told times by; None if they are its own."""
    if plan.use.plays_wlc:
        return None
    wlcs = [endpoint_shown(host, port) for host, port in addresses]
    return PeerClocks([wlcs[session.wlc] for session in sessions], TRANSPORTS[plan.transport].clock_slack_ns)


class PeerLink(Protocol):
    """What is asked of a link, whatever its transport.

    Attributes:
        notifications: sent or received, once its session is over.
    """

    phase: Phase
    peer: Peer | None
    notifications: int

    @property
    def endpoint(self) -> Endpoint | None: ...


class Peer:
    """The far end of a link, and of all links that there were to it before: a row of `loadgen status`.

    Attributes:
        number: of our WLC or session among the worker's.
        address, port: as one of our MSEs dialed it, or as one of our WLCs saw it come the last time.
        serial: of the latest connection, from 1 on; 0 if there was none.
        connections: tunnels that came up; disconnections: of those, how many have ended.
        link: the present one.
        offered: the mask that was announced last.
        said, heard: messages by kind, notifications among them; of links that are no more.
    """

    __slots__ = (
        "address",
        "connections",
        "disconnections",
        "heard",
        "link",
        "number",
        "offered",
        "port",
        "said",
        "serial",
    )

    def __init__(self, number: int, address: tuple[str, int], link: PeerLink | None = None) -> None:
        self.number = number
        self.address, self.port = address
        self.serial = self.connections = self.disconnections = self.offered = 0
        self.link = link
        self.said: dict[Saying, int] = {}
        self.heard: dict[Saying, int] = {}

    def totals(self, link: PeerLink | None, notifications: int) -> tuple[dict[Saying, int], dict[Saying, int]]:
        """`said` and `heard`, with those of the present link, which has carried this number of notifications."""
        said, heard = self.said.copy(), self.heard.copy()
        if link is None or (endpoint := link.endpoint) is None:
            return said, heard
        notified: dict[Saying, int] = {Kind.MEASUREMENT_NOTIFY: notifications} if notifications else {}
        sent, received = (notified, {}) if endpoint.role is Role.WLC else ({}, notified)
        for whole, parts in ((said, (endpoint.said, sent)), (heard, (endpoint.heard, received))):
            for part in parts:
                for kind, count in part.items():
                    whole[kind] = whole.get(kind, 0) + count
        return said, heard


class PeerBook:
    """A worker's peers, and how many tunnels it had.

    A peer is known from its first tunnel on, and stays known: the controller's own counters outlive a reconnect. Where
    there are too many, those that have been away for longest are forgotten, and make room.

    Attributes:
        peers: in the order in which they came.
        opened, closed: tunnels.
    """

    def __init__(self, most: int = _MOST_PEERS) -> None:
        """Args: most: peers that are known at once."""
        self._most = most
        self.peers: dict[Peer, None] = {}
        self.opened = self.closed = 0
        self._idle: dict[tuple[int, str], list[Peer]] = {}  # that of the latest departure last

    def join(self, link: PeerLink, number: int, address: tuple[str, int]) -> None:
        """A link's tunnel is up. It is that of a peer who was here before, if one of that address has no link now."""
        peer = self._pop((number, address[0]))
        if peer is None:
            if len(self.peers) >= self._most and not self._forget():
                return
            peer = Peer(number, address)
            self.peers[peer] = None
        peer.connections += 1
        peer.port, peer.serial = address[1], self.opened
        peer.link, link.peer = link, peer

    def ended(self, link: PeerLink) -> None:
        """A link is about to be dropped; its phase is still the one in which it ended."""
        if link.phase > HANDSHAKING:
            self.closed += 1
        if (peer := link.peer) is None:
            return
        peer.disconnections += 1
        peer.link = link.peer = None
        peer.said, peer.heard = peer.totals(link, link.notifications)
        if link.endpoint is not None:
            peer.offered = link.endpoint.offered or peer.offered
        key = peer.number, peer.address
        idle = self._idle.pop(key, None) or []
        idle.append(peer)
        self._idle[key] = idle

    def _pop(self, key: tuple[int, str], index: int = -1) -> Peer | None:
        """Take the peer that left this place last (index -1) or first (0) from the idle ones."""
        if (idle := self._idle.get(key)) is None:
            return None
        peer = idle.pop(index)
        if not idle:
            del self._idle[key]
        return peer

    def _forget(self) -> bool:
        """Forget an idle peer: the first that left the place which has been without departures for longest. False: all
        peers are there.
        """
        if (key := next(iter(self._idle), None)) is None:
            return False
        peer = self._pop(key, 0)
        assert peer is not None
        del self.peers[peer]
        return True


class PeerKeeper:
    """What every driver of links can be asked about its peers. A subclass that has any says whose they are.

    Attributes:
        book: who they are.
        recorder: where the driver counts.
        tells_groups: which group a tunnel agreed on is not told of by its other end, too.
    """

    book: PeerBook
    recorder: Recorder
    tells_groups = True

    def agreed(self, group: str | None) -> None:
        """A tunnel is up. Args: group: that its keys were exchanged with."""
        if group is not None and self.tells_groups:
            self.recorder.count(GROUPS + group)

    def peers(self) -> Iterable[Peer]:
        """Whom an operator may ask about, in the plan's order as far as there is one."""
        return self.book.peers

    def owner(self, peer: Peer) -> tuple[int, str]:
        """Which of our WLCs or MSEs is at this end: its number in the plan, and its MAC."""
        raise NotImplementedError

    def notified(self, link: Any) -> int:
        """How many notifications were sent or received over an active link."""
        return 0

    def statistics(self) -> dict[str, int]:
        """Leaves of the data model's global statistics, as far as they are counted here."""
        return {"connection-created": self.book.opened, "connection-closed": self.book.closed}


def server_statistics(recorder: Recorder) -> dict[str, int]:
    """Those leaves that are of a server only."""
    return {leaf: sum(recorder.counters[name] for name in names) for leaf, names in RECORDED_AS.items()}


class Census:
    """One look through a worker's peers: counts of all, and the first rows of those that were asked for."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._seen = self._active = self._matching = 0
        self._offered: Counter[int] = Counter()
        self._granted: Counter[int] = Counter()
        self._up: list[Peer] = []
        self._down: list[Peer] = []

    def look_at(self, peer: Peer) -> None:
        question, link = self._question, peer.link
        self._seen += 1
        up = link is not None and link.phase is ACTIVE and link.endpoint is not None
        if up:
            self._active += 1
            self._offered[link.endpoint.offered] += 1  # type: ignore[union-attr]
            self._granted[link.endpoint.granted] += 1  # type: ignore[union-attr]
        if question.address and (peer.address != question.address or question.port not in (0, peer.port)):
            return
        self._matching += 1
        chosen = self._up if up else self._down
        if len(chosen) < question.limit:
            chosen.append(peer)

    def chosen(self) -> list[Peer]:
        """Those to tell of: peers that are not active first."""
        return (self._down + self._up)[: self._question.limit]

    def counts(self, statistics: dict[str, int]) -> SideCounts:
        return SideCounts(
            self._seen, self._active, self._matching, dict(self._offered), dict(self._granted), statistics
        )
