"""What every shard does whose WLCs have sessions: counts them, records how late it sent, and closes in order."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import ClassVar

from OpenSSL import SSL

from loadgen.drive.aaa import Aaa
from loadgen.drive.asides import OLD_RECORD_BYTES, RECORD_BYTES, Asides
from loadgen.drive.equipment import Equipment
from loadgen.drive.peers import Peer
from loadgen.drive.phase import ACTIVE, CLOSING, HANDSHAKING, SETTING_UP, Phase
from loadgen.drive.tls_accept import ListeningShard, WlcLinkT
from loadgen.drive.wlc_sessions import WlcSessions, was_refused
from loadgen.measure.recorder import StageTally
from loadgen.nmsp.bulk import Int64s
from loadgen.scenario.plan import Use
from loadgen.scenario.schedule import RateStage
from loadgen.session.directory import Directory, Recalling
from loadgen.session.wlc import NOTHING_GRANTED, WlcEndpoint

# A close_notify of ours; a peer need not answer it.
_GOODBYE_BYTES = 31
_LAG = ("notify.lag", "generator.lag")


class ServingShard(ListeningShard[WlcLinkT]):
    """The controllers of one worker; subclasses say what these have to tell, and when."""

    phase_names: ClassVar[dict[Phase, str]] = {
        HANDSHAKING: "accept",
        SETTING_UP: "accept",
        ACTIVE: "serve",
        CLOSING: "serve",
    }

    def __init__(
        self,
        equipment: Equipment,
        listeners: Sequence[socket.socket],
        contexts: Sequence[SSL.Context],
        aaa: Aaa | None = None,
    ) -> None:
        plan, recorder, members = equipment.plan, equipment.recorder, equipment.share.members
        super().__init__(equipment, listeners, contexts, aaa, len(plan.sessions))
        self.wlcs = WlcSessions(equipment, listeners)
        self.presence = self.wlcs.presence
        self._settings = equipment.settings
        self._members = members
        self._to_unix_ns = equipment.to_unix_ns
        self._loaded = False  # a load was put on
        self.unacknowledged_bytes = 0  # of notifications: by links that are gone; after the load, by all
        self.record_bytes = RECORD_BYTES.get(plan.tls.version, OLD_RECORD_BYTES)
        self._finishing = self._closing = False
        self._belated: list[WlcLinkT] = []  # sessions that came up after their user was dismissed
        self._lag = recorder.gather([_LAG], "sent")
        # Where the receiver's socket was full, lateness is not the generator's.
        self._lag_held_up = recorder.gather([("notify.lag",)], "sent")
        if not (plan.sessions_per_user and plan.use is Use.SERVE_WLC):
            self.listen(len(listeners))

    # -- the load ------------------------------------------------------------------------------------------------

    def start_load(self, at_ns: int, stages: Sequence[RateStage]) -> None:
        super().start_load(at_ns, stages)
        self._loaded = True
        self.wlcs.start_load(at_ns, stages)
        self.unacknowledged_bytes = 0

    def muster(self, users: int, at_ns: int, over_ns: int) -> None:
        wanted = self.wlcs.muster(users)
        if not self.wlcs.dialed_by_us:
            self.listen(wanted)
        now = self.clock()
        for link in list(self.links.values()):
            if self.wlcs.dismisses(link.number, link.phase):
                self.withdraw(link, now)

    def end_load(self) -> None:
        self.wlcs.end_load()
        over = self.load_over.is_set()
        super().end_load()
        if not over:
            self.unacknowledged_bytes += self.untaken_bytes()

    def finish(self) -> None:
        self.halt()
        self.wlcs.end_load()
        self._finishing = True
        self.stop_load(self.clock())

    def stop_load(self, at_ns: int) -> None:
        """Nothing more becomes due from `at_ns` on."""
        raise NotImplementedError

    def close_when_over(self, now_ns: int) -> None:
        """Told to finish, and with no load going on: close what is up; once that is gone, this is finished."""
        while self._belated:
            self.withdraw(self._belated.pop(), now_ns)
        if self._finishing and not self._closing and (self.load_over.is_set() or not self._loaded):
            self._close_all(now_ns)
        self.leave()
        if self._closing and not self.links:
            self.finished = True

    def _close_all(self, now_ns: int) -> None:
        self._closing = True
        self.stop_listening()
        links = list(self.links.values())
        self.leaving.add(link for link in links if link.phase is ACTIVE)
        for link in links:
            if link.phase is not ACTIVE:
                self.withdraw(link, now_ns)

    # -- how late --------------------------------------------------------------------------------------------------

    def _note_lag(self, sent_ns: int | Int64s, due_ns: int | Int64s, count: int, *, held_up: bool) -> None:
        """Times are ns since the epoch."""
        (self._lag_held_up if held_up else self._lag).add(count, due_ns, sent_ns - due_ns)

    def _tally_lag(self) -> StageTally | None:
        """Where the native turn counts it, of what no peer has held up."""
        return self.recorder.tally(_LAG, (), "sent")

    # -- what was not taken --------------------------------------------------------------------------------------

    def told(self, link: WlcLinkT) -> int:
        """How much of notifications a link was sent, in a unit of the shard's."""
        raise NotImplementedError

    def bytes_of_told(self, link: WlcLinkT) -> tuple[float, float]:
        """How large a unit of that is, and how large it goes out."""
        raise NotImplementedError

    def note_aside(self, link: WlcLinkT, size: int, frames: int = 1) -> None:
        """A link was sent something else."""
        if told := self.told(link):
            link.asides = link.asides or Asides()
            link.asides.said(told, size + frames * self.record_bytes)

    def untaken_bytes(self) -> int:
        """Of notifications, without TLS's own: written, and not taken by the peers' TCP yet."""
        return sum(self._untaken(link) for link in self.links.values())

    def _untaken(self, link: WlcLinkT, said_last: int = 0) -> int:
        if link.tunnel is None or not (told := self.told(link)):
            return 0
        waiting = link.tunnel.unacknowledged_bytes() - said_last
        each, sent_each = self.bytes_of_told(link)
        return round((link.asides or Asides()).told_within(waiting, told, sent_each) * each)

    # -- links ---------------------------------------------------------------------------------------------------

    def on_accepted(self, sock: socket.socket, link: WlcLinkT) -> None:
        link.tunnel = self.accept(self._contexts[link.number], sock, link)
        self.wlcs.accepted()

    def on_tunnel(self, link: WlcLinkT, now_ns: int) -> None:
        super().on_tunnel(link, now_ns)
        self.wlcs.shaken(now_ns - link.tls_started_ns)
        link.endpoint = WlcEndpoint(self._settings, link.started_ns, self.directory_of(link.number))
        link.endpoint.recalling = self.recalling_of(link.number)
        self.wlcs.start(link.endpoint, link.number, now_ns)
        self.join(link)

    def directory_of(self, position: int) -> Directory | None:
        """What a WLC answers from when it is asked; None: it has no devices."""
        return None

    def recalling_of(self, position: int) -> Recalling | None:
        """Who answers as it was answered before; None: nobody does."""
        return None

    def on_active(self, link: WlcLinkT, now_ns: int) -> None:
        self.wlcs.came_up(link.number, link.started_ns, now_ns)
        if self.wlcs.dismisses(link.number, ACTIVE):
            self._belated.append(link)

    def release(self, link: WlcLinkT) -> None:
        # Whether we or the peer ended it, the kernel still tells; not what the peer took and never read.
        if link.tunnel is not None and self._loaded:
            untaken = self._untaken(link, said_last=_GOODBYE_BYTES)
            if not self.load_over.is_set():
                self.unacknowledged_bytes += untaken
            if not self.wlcs.dialed_by_us:
                self.recorder.count("notify.untaken_bytes", untaken)
        if link.endpoint is not None:
            link.endpoint.settle()
        super().release(link)

    def on_farewell(self, link: WlcLinkT, size: int) -> None:
        self.note_aside(link, size)

    def on_goodbye_unanswered(self, link: WlcLinkT) -> None:
        # A kernel resets what is closed with something unread in it: what its TCP took, nobody may have read. One that
        # ends without a goodbye of its own, but in order, had read everything.
        if not self.wlcs.dialed_by_us:
            self.recorder.count("notify.unconfirmed", link.notifications)

    def on_left(self) -> None:
        self.wlcs.left()

    def on_gone(self, link: WlcLinkT, phase: Phase, *, orderly: bool) -> None:
        if link.endpoint is not None:
            link.endpoint.stop(self.clock())
        self.wlcs.gone(link.number, link.address[0], phase, orderly=orderly)

    def withdraw(self, link: WlcLinkT, now_ns: int) -> None:
        if was_refused(link.phase, link.endpoint):
            self.fault(link, NOTHING_GRANTED)
        super().withdraw(link, now_ns)

    def owner(self, peer: Peer) -> tuple[int, str]:
        return self.wlcs.owner(peer)

    def on_withdrawn(self, link: WlcLinkT, phase: Phase) -> None:
        self.wlcs.withdrawn()
