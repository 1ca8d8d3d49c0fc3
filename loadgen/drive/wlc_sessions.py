"""What the WLCs of a worker do, whatever carries their sessions: what they record of a session, who is to be told what
they have to tell, and what became of that. A driver has one of each, and keeps readiness, writing and closing.
"""

from __future__ import annotations

import socket
from collections.abc import Collection, Sequence
from typing import Generic

from loadgen.drive.controllers import Telling
from loadgen.drive.equipment import Equipment
from loadgen.drive.peers import Peer
from loadgen.drive.phase import ACTIVE, SETTING_UP, Phase
from loadgen.drive.presence import presence_of_visitors
from loadgen.drive.term import Term
from loadgen.nmsp.records import mac_bytes
from loadgen.scenario.schedule import RateStage
from loadgen.session.ledger import Owing, SubscriberT
from loadgen.session.wlc import WlcEndpoint


class WlcSessions:
    """The sessions at one worker's WLCs. What is counted where a session begins is counted here only if its MSE is not
    ours.

    Attributes:
        dialed_by_us: the MSEs are ours.
    """

    def __init__(self, equipment: Equipment, listeners: Sequence[socket.socket]) -> None:
        """Args: listeners: of each WLC, in order."""
        plan, members = equipment.plan, equipment.share.members
        self._recorder, self._clock = equipment.recorder, equipment.clock
        self._owners = [(number, plan.wlcs[number].mac) for number in members]
        self.dialed_by_us = plan.use.plays_mse
        self._tells_macs = equipment.profile.tells_macs
        self.presence = presence_of_visitors(plan, members, listeners)
        self._term = Term(plan, equipment.recorder, equipment.clock)
        self._members = members
        self._users: int | None = None  # whose WLCs are wanted; None: all are

    def muster(self, users: int) -> int:
        """Only the WLCs of the first so many users are wanted; returns how many of this worker's are."""
        self._users = users
        return sum(number < users for number in self._members)

    def dismisses(self, number: int, phase: Phase) -> bool:
        """A link to the WLC of this number, in this phase, is to go. What our own MSE is setting up comes up first: who
        cuts it off does not know how far the other end is.
        """
        unwanted = self._users is not None and self._members[number] >= self._users
        return unwanted and (phase is ACTIVE or not self.dialed_by_us)

    def start_load(self, at_ns: int, stages: Sequence[RateStage]) -> None:
        """Presence has begun with this load."""
        self._term.begin(at_ns, stages, self.presence)

    def end_load(self) -> None:
        """We end it: who leaves from now on is not too early. A second call changes nothing."""
        self._term.end()

    def accepted(self) -> None:
        """An MSE has come."""
        if not self.dialed_by_us:
            self._recorder.count("sessions.attempted")

    def shaken(self, tls_ns: int) -> None:
        """Its tunnel is up, which took this long."""
        if not self.dialed_by_us:
            self._recorder.record("handshake.tls", tls_ns)

    def came_up(self, number: int, started_ns: int, now_ns: int) -> None:
        """A session at the WLC of this number is up."""
        if not self.dialed_by_us:
            self._recorder.count("sessions.established")
            self._recorder.happened("established", now_ns)
            self._recorder.record("handshake.session", now_ns - started_ns)
        if self.presence is not None:
            self.presence.came(number, now_ns)

    def left(self) -> None:
        """The peer of an active session has closed it in order."""
        self._term.left()

    def gone(self, number: int, host: str, phase: Phase, *, orderly: bool) -> None:
        """A link ended; `phase` is where it stood. Args: host: of its MSE."""
        if not self.dialed_by_us:
            if phase is ACTIVE:
                self._recorder.count("sessions.closed" if orderly else "sessions.lost")
            else:
                self._recorder.count("sessions.failed")
        if self.presence is not None and phase is ACTIVE:
            self.presence.went(number, self._clock(), f"MSE {host} {'left' if orderly else 'was lost'}")

    def withdrawn(self) -> None:
        """We ended a link that was being set up."""
        if not self.dialed_by_us:
            self._recorder.count("sessions.withdrawn")

    def start(self, endpoint: WlcEndpoint, number: int, now_ns: int) -> None:
        """The tunnel of the WLC of this number is up."""
        if self._tells_macs:
            endpoint.mac = mac_bytes(self._owners[number][1])
        endpoint.start(now_ns)

    def owner(self, peer: Peer) -> tuple[int, str]:
        """Which WLC of the plan is at this end, and its MAC."""
        return self._owners[peer.number]


def was_refused(phase: Phase, endpoint: WlcEndpoint | None) -> bool:
    """An MSE that is withdrawn now was not cut off: it had been told that nothing is granted."""
    return phase is SETTING_UP and endpoint is not None and endpoint.refused


def _address_of(link: object) -> tuple[str, int] | None:
    """That a link's MSE comes from."""
    peer: Peer | None = getattr(link, "peer", None)
    return None if peer is None else (peer.address, peer.port)


class Notifiers(Generic[SubscriberT]):
    """A worker's WLCs that notify at the rate of the load, and their subscribers.

    Attributes:
        sent, sent_bytes, writes: notifications so far, and in how many pieces.
    """

    def __init__(self, equipment: Equipment, controllers: Sequence[Telling]) -> None:
        """Args: controllers: the worker's, in order."""
        plan, share = equipment.plan, equipment.share
        self.owing = Owing[SubscriberT](plan, share, equipment.to_unix_ns, equipment.placings)
        self.controllers = controllers
        self.sent = self.sent_bytes = self.writes = 0

    def came_up(self, link: SubscriberT, granted: int, now_ns: int) -> None:
        """A session is up: its MSE is told from now on, if it has subscribed to what that tells."""
        if granted & self.controllers[link.number].subscribers:
            self.owing.subscribe(link, now_ns, _address_of(link))

    def told(self, link: SubscriberT, granted: int) -> bool:
        """Whether an MSE with this grant is told of its WLC's stations."""
        return bool(granted & self.controllers[link.number].told)

    def unsubscribes(self, link: SubscriberT, before: int, granted: int, now_ns: int) -> bool:
        """A running session's grant has changed. One that subscribes is told from now on; True: a subscriber wants
        nothing any more, and what is due by now goes out ahead of the answer, before `owing.unsubscribe`.
        """
        told, subscribes = self.told(link, granted), granted & self.controllers[link.number].subscribers
        if link.row >= 0 and (not subscribes or (self.told(link, before) and not told)):
            return True
        if link.left_row >= 0 and told:
            self.owing.subscribe_again(link, now_ns)
        elif link.row < 0 and link.left_row < 0 and subscribes:
            self.owing.subscribe(link, now_ns, _address_of(link))
        return False

    def totals(self, now_ns: int, held_up: Collection[int] = ()) -> dict[str, int]:
        """What was due, sent and dropped so far, in all loads. Args: held_up: rows whose peers take nothing."""
        self.owing.drop_waiting(now_ns, held_up)
        due, dropped, own, declined = self.owing.totals(now_ns)
        return {
            "notify.due": due,
            "notify.sent": self.sent,
            "notify.sent_bytes": self.sent_bytes,
            "notify.writes": self.writes,
            "notify.dropped": dropped,
            "notify.declined": declined,
            "generator.shortfall": own,
        }
