"""The WLC side of a worker over DTLS: a socket for each controller, and what they owe sent when it is due."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from OpenSSL import SSL

from loadgen.drive.aaa import Aaa
from loadgen.drive.controllers import make_controllers
from loadgen.drive.dtls import TICK_NS
from loadgen.drive.dtls_serve import ServedLink, ServingDriver
from loadgen.drive.equipment import Equipment
from loadgen.drive.phase import Phase
from loadgen.drive.wlc_sessions import Notifiers
from loadgen.nmsp.ring import Timing
from loadgen.scenario.schedule import RateStage
from loadgen.session.directory import Directory
from loadgen.session.ledger import Ledger
from loadgen.transport.dtls import Association
from loadgen.transport.tls import TransportFault
from loadgen.units import NS_PER_MS

# Most notifications that are looked at for one datagram: more than 64 KiB of the smallest frames would not fit anyway.
_MAX_BATCH = 512
# In a row for one subscriber; then others have their turn.
_DATAGRAMS_PER_VISIT = 4
# What is due must not keep timers waiting: after so long, the rest is sent in the next tick.
_SEND_BUDGET_NS = 10 * NS_PER_MS


class DtlsWlcLink(ServedLink):
    """An association with one of our WLCs.

    Attributes:
        row: of the ledger; -1: it is told nothing. left_row: the one that it unsubscribed from.
        leaving: it has unsubscribed, and what was due by then is not sent yet.
    """

    __slots__ = ("leaving", "left_row", "row")

    def __init__(self, association: Association, number: int, started_ns: int) -> None:
        super().__init__(association, number, started_ns)
        self.row = self.left_row = -1
        self.leaving = False


class DtlsWlcDriver(ServingDriver[DtlsWlcLink]):
    """The controllers of one worker."""

    def __init__(
        self,
        equipment: Equipment,
        sockets: Sequence[socket.socket],
        contexts: Sequence[SSL.Context],
        aaa: Aaa | None = None,
    ) -> None:
        super().__init__(equipment, sockets, contexts, aaa)
        plan, batch = equipment.plan, min(equipment.plan.load.burst, _MAX_BATCH)
        self.controllers = make_controllers(plan, equipment.profile, equipment.share.members, batch)
        self.notifiers = Notifiers[DtlsWlcLink](equipment, self.controllers)
        self.owing = self.notifiers.owing
        self._counted = 0  # slots of the schedule whose WLCs were visited, or are in `_visits`
        self._visits: dict[int, None] = {}  # positions, in the order of their turns

    # -- the load ------------------------------------------------------------------------------------------------

    def start_load(self, at_ns: int, stages: Sequence[RateStage]) -> None:
        super().start_load(at_ns, stages)
        self.owing.start(at_ns, stages)
        self._counted = 0
        self._visits.clear()

    def stop_load(self, at_ns: int) -> None:
        self.owing.stop(at_ns)

    def next_wake_ns(self, now_ns: int) -> int:
        if self._visits or self.in_hurry:
            return now_ns
        return max(self.owing.slot_due_ns(self._counted), now_ns + TICK_NS)

    async def on_tick(self, now_ns: int) -> None:
        owing = self.owing
        if (slots := owing.slots(now_ns)) > self._counted or self._visits:
            await self._send_until(slots, now_ns + _SEND_BUDGET_NS)
        now = self.clock()
        if not self.load_over.is_set() and owing.everything_done(now):
            owing.give_up(now)
            self.end_load()
        self.close_when_over()

    async def _send_until(self, slots: int, until_ns: int) -> None:
        """Visit every WLC whose turn came since it was visited last, as far as there is time for it in this tick."""
        visits = self._visits
        # Also while others still wait for their visit: one that is always owed more must not keep them waiting.
        for span in self.owing.share.positions(self._counted, slots):
            visits.update(dict.fromkeys(span))
        self._counted = slots
        while visits:
            position = next(iter(visits))
            del visits[position]
            due_now, more = self.owing.due(position, slots), False
            for row in tuple(self.owing.rows[position]):  # a link that breaks may take its row away
                if (link := self.owing.subscribers[row]) is not None:
                    more |= await self._send_owed(link, due_now)
            if more:
                visits[position] = None
            if self.clock() > until_ns:
                return

    async def _send_owed(self, link: DtlsWlcLink, due_now: int) -> bool:
        """Send what a link is owed, in a few datagrams; returns whether more is owed."""
        owing, ledger, row = self.owing, self.owing.ledger, link.row
        if ledger.owed(row, due_now) > self.plan.load.burst:
            owing.drop_expired(link, self.clock(), ours=True)
        try:
            for _ in range(_DATAGRAMS_PER_VISIT):
                async with link.association.sending:
                    # Others may have had their turn while we waited for ours.
                    if link.row != row or (owed := ledger.owed(row, due_now)) <= 0:
                        return False
                    await self._send_next(link, min(owed, _MAX_BATCH))
        except TransportFault as error:
            self.fault(link, error.kind)
        return link.row == row and ledger.owed(row, due_now) > 0

    async def _send_next(self, link: DtlsWlcLink, wanted: int) -> None:
        """One datagram with at most so many of the notifications that are owed next."""
        ledger, row, position = self.owing.ledger, link.row, link.number
        done, sequence = int(ledger.done[row]), int(ledger.sent[row])
        due = self.owing.due_ns(position, done, wanted)
        now = self.clock() + self._to_unix_ns
        timing = Timing(due, now, link.started_ns + self._to_unix_ns)
        view, count = self.controllers[position].ring.patch(done, wanted, sequence, timing, link.association.most_bytes)
        if not count:
            raise TransportFault("mtu")
        ledger.done[row] += count
        ledger.sent[row] += count
        self.notifiers.sent += count
        self.notifiers.sent_bytes += len(view)
        self.notifiers.writes += 1
        when_due = due if isinstance(due, int) else due[:count]
        self.lag.add(count, when_due, now - when_due)
        await self.send(link, view)

    # -- links ---------------------------------------------------------------------------------------------------

    def new_link(self, association: Association, number: int, now_ns: int) -> DtlsWlcLink:
        self.wlcs.accepted()
        return DtlsWlcLink(association, number, now_ns)

    def directory_of(self, position: int) -> Directory:
        return self.controllers[position].directory

    async def on_taken(self, link: DtlsWlcLink) -> None:
        while link.leaving and await self._send_owed(link, Ledger.NEVER):
            pass
        if link.leaving:
            self._leave_row(link)

    def on_active(self, link: DtlsWlcLink, now_ns: int) -> None:
        assert link.endpoint is not None
        super().on_active(link, now_ns)
        self.notifiers.came_up(link, link.endpoint.granted, now_ns)

    def on_granted(self, link: DtlsWlcLink, before: int, now_ns: int) -> None:
        """Unsubscribed: nothing becomes due until the link subscribes again, and what was goes out ahead of our answer.
        Its numbers go on.
        """
        assert link.endpoint is not None
        owing, granted = self.owing, link.endpoint.granted
        if link.leaving and self.notifiers.told(link, granted):  # in the same breath
            owing.ledger.end[link.row] = Ledger.NEVER
            link.leaving = False
        elif self.notifiers.unsubscribes(link, before, granted, now_ns):
            owing.ledger.cease(link.row, owing.due_by(link.number, now_ns))
            link.leaving = True

    def _leave_row(self, link: DtlsWlcLink) -> None:
        """The link has unsubscribed."""
        self.owing.unsubscribe(link, int(self.owing.ledger.end[link.row]))
        link.leaving = False

    def on_gone(self, link: DtlsWlcLink, phase: Phase, *, orderly: bool) -> None:
        super().on_gone(link, phase, orderly=orderly)
        if link.leaving:
            self._leave_row(link)
        self.owing.leave(link, self.clock())

    def notified(self, link: DtlsWlcLink) -> int:
        return self.owing.sent(link)

    def totals(self, now_ns: int) -> dict[str, int]:
        return super().totals(now_ns) | self.notifiers.totals(now_ns)
