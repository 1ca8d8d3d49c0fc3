"""The WLC side of a worker whose controllers have a simulated site, over DTLS: a datagram has as many frames of a queue
as go into it.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Sequence

from OpenSSL import SSL

from loadgen.drive.aaa import Aaa
from loadgen.drive.dtls import TICK_NS
from loadgen.drive.dtls_serve import ServedLink, ServingDriver
from loadgen.drive.equipment import Equipment
from loadgen.drive.phase import CLOSED, Phase
from loadgen.drive.site_sessions import SiteSessions
from loadgen.scenario.datagrams import OVERHEAD_BYTES
from loadgen.scenario.schedule import RateStage
from loadgen.session.directory import Directory
from loadgen.session.transmit import Taken, TransmitQueue
from loadgen.transport.dtls import Association
from loadgen.transport.tls import TransportFault
from loadgen.units import NEVER_NS, NS_PER_MS

# What is due must not keep timers waiting: after so long, the rest is sent in the next tick.
_TICK_BUDGET_NS = 10 * NS_PER_MS


class DtlsSiteLink(ServedLink):
    """An association with its transmit queue. See `site_sessions.SiteSubscriber`.

    Attributes:
        leaving: datagrams that were taken from the queue and are to be sent.
    """

    __slots__ = ("declined", "leaving", "queue")

    def __init__(self, association: Association, number: int, started_ns: int) -> None:
        super().__init__(association, number, started_ns)
        self.queue: TransmitQueue | None = None
        self.declined = 0
        self.leaving: deque[Taken] = deque()


class DtlsSiteDriver(ServingDriver[DtlsSiteLink]):
    """The controllers of one worker, and their sites."""

    def __init__(
        self,
        equipment: Equipment,
        sockets: Sequence[socket.socket],
        contexts: Sequence[SSL.Context],
        aaa: Aaa | None = None,
    ) -> None:
        super().__init__(equipment, sockets, contexts, aaa)
        self.sites = SiteSessions[DtlsSiteLink](
            equipment, lambda _: True, self._take, equipment.plan.dtls.mtu - OVERHEAD_BYTES
        )
        self._taken_from: dict[DtlsSiteLink, None] = {}  # who has something to be sent, in the order of their turns

    # -- the load ------------------------------------------------------------------------------------------------

    def start_load(self, at_ns: int, stages: Sequence[RateStage]) -> None:
        super().start_load(at_ns, stages)
        self.sites.start(at_ns, stages)

    def stop_load(self, at_ns: int) -> None:
        self.sites.stop(at_ns)

    def next_wake_ns(self, now_ns: int) -> int:
        if self.in_hurry:
            return now_ns
        wake = self.sites.next_wake_ns(now_ns)
        if wake == NEVER_NS and self.loaded and not self.load_over.is_set():
            return now_ns + TICK_NS  # all of it was told, and its end is to be seen
        return max(wake, now_ns + TICK_NS)

    async def on_tick(self, now_ns: int) -> None:
        if self.loaded and not self.load_over.is_set():
            for _ in self.sites.go_on(now_ns + _TICK_BUDGET_NS):
                await self._send_all()
            if self.sites.everything_done(self.clock()):
                self.sites.wind_up()
                self.end_load()
        self.close_when_over()

    def _take(self, link: DtlsSiteLink) -> None:
        """Take what waits, datagram by datagram: its receiver holds nothing up."""
        queue, most_bytes = link.queue, link.association.most_bytes
        assert queue is not None
        now = self.clock() + self._to_unix_ns
        while queue.waiting:
            taken = queue.take(now, most_bytes)
            # The queue's view is valid until it is asked again.
            data = bytes(taken.data)
            if not data:  # no frame of it fits
                self.fault(link, "mtu")
                return
            last = link.leaving[-1] if link.leaving and not taken.notifications else None
            if last is not None and not last.notifications and len(last.data) + len(data) <= most_bytes:
                link.leaving[-1] = last._replace(data=bytes(last.data) + data)  # answers go together
            else:
                link.leaving.append(taken._replace(data=data))
        self._taken_from[link] = None

    async def _send_all(self) -> None:
        while self._taken_from:
            link = next(iter(self._taken_from))
            del self._taken_from[link]
            try:
                await self._send_taken(link)
            except TransportFault as error:
                self.fault(link, error.kind)

    async def _send_taken(self, link: DtlsSiteLink) -> None:
        """Raises: TransportFault."""
        while link.leaving and link.phase is not CLOSED:
            async with link.association.sending:
                if not link.leaving:
                    return  # the other task has sent it
                taken = link.leaving.popleft()
                if taken.notifications:
                    self.sites.wrote(link, taken)
                    self.lag.add(taken.notifications, taken.due_ns, self.clock() + self._to_unix_ns - taken.due_ns)
                if len(taken.data) > link.association.most_bytes:
                    raise TransportFault("mtu")
                await self.send(link, memoryview(taken.data))

    # -- links ---------------------------------------------------------------------------------------------------

    def new_link(self, association: Association, number: int, now_ns: int) -> DtlsSiteLink:
        self.wlcs.accepted()
        return DtlsSiteLink(association, number, now_ns)

    def directory_of(self, position: int) -> Directory:
        return self.sites.sites[position].directory

    async def send_outbox(self, link: DtlsSiteLink) -> None:
        self.sites.answer(link)
        self._take(link)
        await self._send_taken(link)

    def on_active(self, link: DtlsSiteLink, now_ns: int) -> None:
        super().on_active(link, now_ns)
        self.sites.came_up(link)

    def on_granted(self, link: DtlsSiteLink, before: int, now_ns: int) -> None:
        self.sites.granted(link, before)

    def on_gone(self, link: DtlsSiteLink, phase: Phase, *, orderly: bool) -> None:
        super().on_gone(link, phase, orderly=orderly)
        self.sites.unsent += sum(taken.notifications for taken in link.leaving)
        link.leaving.clear()
        self.sites.gone(link)

    def notified(self, link: DtlsSiteLink) -> int:
        return 0 if link.queue is None else link.queue.sequence

    def totals(self, now_ns: int) -> dict[str, int]:
        return super().totals(now_ns) | self.sites.totals(now_ns)
