"""The WLC side of a worker whose controllers have a simulated site, over TLS: their queues are written as far as the
sockets take it.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from OpenSSL import SSL

from loadgen.drive.aaa import Aaa
from loadgen.drive.equipment import Equipment
from loadgen.drive.phase import Phase
from loadgen.drive.site_sessions import SiteSessions
from loadgen.drive.tls_accept import WlcLink
from loadgen.drive.tls_serve import ServingShard
from loadgen.scenario.schedule import RateStage
from loadgen.session.directory import Directory
from loadgen.session.transmit import TransmitQueue
from loadgen.transport.tls import TransportFault
from loadgen.units import NS_PER_MS

# A turn that has fallen behind must still read: peers whose echo requests are not answered would take us for dead.
TICK_BUDGET_NS = 10 * NS_PER_MS
# What a peer has no room for, and our kernel still takes. How much a site will tell in a second is not known before.
_UNSENT_BYTES = 1 << 13


class SiteLink(WlcLink):
    """A link with its transmit queue.

    Attributes:
        behind: from when the peer's socket was full until all that waited was sent: what is late then is its doing.
        declined: subservices that it had been granted and has unsubscribed from.
        told_bytes: of notifications.
    """

    __slots__ = ("behind", "declined", "queue", "told_bytes")

    def __init__(self, sock: socket.socket, started_ns: int, number: int, address: tuple[str, int] = ("", 0)) -> None:
        super().__init__(sock, started_ns, number, address)
        self.queue: TransmitQueue | None = None
        self.behind = False
        self.declined = self.told_bytes = 0


class SiteShard(ServingShard[SiteLink]):
    """The controllers of one worker, and their sites."""

    link_class = SiteLink

    def __init__(
        self,
        equipment: Equipment,
        listeners: Sequence[socket.socket],
        contexts: Sequence[SSL.Context],
        aaa: Aaa | None = None,
    ) -> None:
        super().__init__(equipment, listeners, contexts, aaa)
        self.sites = SiteSessions[SiteLink](equipment, self._takes, self._send)
        self.allow_unsent(_UNSENT_BYTES)

    # -- the load ------------------------------------------------------------------------------------------------

    def start_load(self, at_ns: int, stages: Sequence[RateStage]) -> None:
        super().start_load(at_ns, stages)
        self.sites.start(at_ns, stages)

    def stop_load(self, at_ns: int) -> None:
        self.sites.stop(at_ns)

    def next_wake_ns(self, now_ns: int) -> int:
        return self.sites.next_wake_ns(now_ns)

    def on_turn(self, now_ns: int) -> None:
        if self.sites.start_ns is not None and not self.load_over.is_set():
            self._go_on(now_ns + TICK_BUDGET_NS)
            if self.sites.everything_done(now_ns):
                self._wind_up()
        super().on_turn(now_ns)
        self.close_when_over(now_ns)

    def _go_on(self, until_ns: int) -> None:
        for _ in self.sites.go_on(until_ns):
            pass  # it was sent

    @staticmethod
    def _takes(link: SiteLink) -> bool:
        assert link.tunnel is not None
        return not link.tunnel.blocked

    def _send(self, link: SiteLink) -> None:
        """Write what waits, until there is nothing more or the socket is full."""
        queue, tunnel = link.queue, link.tunnel
        assert queue is not None
        assert tunnel is not None
        assert link.endpoint is not None
        while queue.waiting and not tunnel.blocked:
            now = self.clock() + self._to_unix_ns
            taken = queue.take(now)
            try:
                tunnel.write(link.endpoint.numbered(taken.data))
            except TransportFault as error:
                self.sites.unsent += taken.notifications
                self.fault(link, error.kind)
                return
            if not (count := taken.notifications):
                self.note_aside(link, len(taken.data))
                continue
            self.sites.wrote(link, taken)
            link.told_bytes += len(taken.data)
            self._note_lag(now, taken.due_ns, count, held_up=link.behind)
        link.behind = tunnel.blocked
        self.watch(link)

    # -- links ---------------------------------------------------------------------------------------------------

    def send_outbox(self, link: SiteLink) -> None:
        self.sites.answer(link)
        if self._takes(link):
            self._send(link)

    def directory_of(self, position: int) -> Directory:
        return self.sites.sites[position].directory

    def on_granted(self, link: SiteLink, before: int, now_ns: int) -> None:
        self.sites.granted(link, before)

    def on_active(self, link: SiteLink, now_ns: int) -> None:
        super().on_active(link, now_ns)
        self.sites.came_up(link)

    def on_gone(self, link: SiteLink, phase: Phase, *, orderly: bool) -> None:
        super().on_gone(link, phase, orderly=orderly)
        self.sites.gone(link)

    def notified(self, link: SiteLink) -> int:
        return 0 if link.queue is None else link.queue.sequence

    # -- the end -------------------------------------------------------------------------------------------------

    def _wind_up(self) -> None:
        self.sites.wind_up()
        self.end_load()

    def queued_bytes(self) -> int:
        if not self.load_over.is_set():
            return 0
        links = (link for links in self.sites.subscribers for link in links)
        return sum(link.tunnel.unacknowledged_bytes() for link in links if link.tunnel is not None)

    def told(self, link: SiteLink) -> int:
        return link.told_bytes

    def bytes_of_told(self, link: SiteLink) -> tuple[float, float]:
        return 1.0, 1.0 + self.record_bytes * self.sites.writes / self.sites.sent_bytes

    def totals(self, now_ns: int) -> dict[str, int]:
        return self.sites.totals(now_ns) | {"notify.unacknowledged_bytes": self.unacknowledged_bytes}
