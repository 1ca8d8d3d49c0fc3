"""The WLC side of a worker over DTLS: a socket for each controller, and what they owe sent when it is due."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import ClassVar

from OpenSSL import SSL

from loadgen.drive.aaa import Aaa
from loadgen.drive.dtls import TICK_NS, DtlsLink
from loadgen.drive.dtls_accept import AcceptingDriver
from loadgen.drive.equipment import Equipment
from loadgen.drive.peers import Peer
from loadgen.drive.phase import Phase
from loadgen.drive.wlc_sessions import Notifiers, WlcSessions, was_refused
from loadgen.scenario.schedule import RateStage
from loadgen.session.datagrams import DatagramWlcEndpoint
from loadgen.session.ledger import Ledger
from loadgen.session.wlc import NOTHING_GRANTED
from loadgen.transport.dtls import Association
from loadgen.transport.tls import TransportFault
from loadgen.units import NS_PER_MS

# Most notifications that are looked at for one datagram: more than 64 KiB of the smallest frames would not fit anyway.
_MAX_BATCH = 512
# In a row for one subscriber; then others have their turn.
_DATAGRAMS_PER_VISIT = 4
# What is due must not keep timers waiting: after so long, the rest is sent in the next tick.
_SEND_BUDGET_NS = 10 * NS_PER_MS


class DtlsWlcLink(DtlsLink):
    """An association with one of our WLCs.

    Attributes:
        row: of the ledger; -1: it is told nothing. left_row: the one that it unsubscribed from.
        leaving: it has unsubscribed, and what was due by then is not sent yet.
    """

    endpoint: DatagramWlcEndpoint | None

    __slots__ = ("leaving", "left_row", "row")

    def __init__(self, association: Association, number: int, started_ns: int) -> None:
        super().__init__(association, number, started_ns)
        self.row = self.left_row = -1
        self.leaving = False


class DtlsWlcDriver(AcceptingDriver[DtlsWlcLink]):
    """The controllers of one worker."""

    phase_names: ClassVar[dict[Phase, str]] = {
        Phase.HANDSHAKING: "accept",
        Phase.SETTING_UP: "accept",
        Phase.ACTIVE: "serve",
    }

    def __init__(
        self,
        equipment: Equipment,
        sockets: Sequence[socket.socket],
        contexts: Sequence[SSL.Context],
        aaa: Aaa | None = None,
    ) -> None:
        super().__init__(equipment, sockets, contexts, aaa, len(equipment.plan.sessions))
        self._settings = equipment.settings
        self._to_unix_ns = equipment.to_unix_ns
        self.wlcs = WlcSessions(equipment, sockets)
        self.presence = self.wlcs.presence
        self.notifiers = Notifiers[DtlsWlcLink](equipment, min(equipment.plan.load.burst, _MAX_BATCH))
        self.owing, self.controllers = self.notifiers.owing, self.notifiers.controllers
        self._counted = 0  # slots of the schedule whose WLCs were visited, or are in `_visits`
        self._visits: dict[int, None] = {}  # positions, in the order of their turns
        self._finishing = False
        self._belated: list[DtlsWlcLink] = []  # sessions that came up after their user was dismissed
        # A datagram is never held up by its receiver: all lateness is the generator's.
        self._lag = equipment.recorder.gather([("notify.lag", "generator.lag")], "sent")

    # -- the load ------------------------------------------------------------------------------------------------

    def start_load(self, at_ns: int, stages: Sequence[RateStage]) -> None:
        super().start_load(at_ns, stages)
        self.wlcs.start_load(at_ns, stages)
        self.owing.start(at_ns, stages)
        self._counted = 0
        self._visits.clear()

    def end_load(self) -> None:
        self.wlcs.end_load()
        super().end_load()

    def muster(self, users: int, at_ns: int, over_ns: int) -> None:
        wanted = self.wlcs.muster(users)
        if not self.dialed_by_us:
            self.let_in(wanted)
        for link in list(self.links):
            if self.wlcs.dismisses(link.number, link.phase):
                self.withdraw(link)

    def halt(self) -> None:
        self.halted.set()  # this side begins nothing

    def finish(self) -> None:
        self.halt()
        self._finishing = True
        now = self.clock()
        self.owing.stop(now)
        self.wlcs.end_load()
        self.wake(now)

    def next_wake_ns(self, now_ns: int) -> int:
        if self._visits or self._belated or (self._finishing and not self.closing):
            return now_ns
        return max(self.owing.slot_due_ns(self._counted), now_ns + TICK_NS)

    async def on_tick(self, now_ns: int) -> None:
        owing = self.owing
        while self._belated:
            self.withdraw(self._belated.pop())
        if (slots := owing.slots(now_ns)) > self._counted or self._visits:
            await self._send_until(slots, now_ns + _SEND_BUDGET_NS)
        now = self.clock()
        if not self.load_over.is_set() and owing.everything_done(now):
            owing.give_up(now)
            self.end_load()
        if self._finishing and not self.closing and (self.load_over.is_set() or not owing.started):
            self.close_all()
        self.finished = self.closing and not self.links

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
        view, count = self.controllers[position].ring.patch(
            done, wanted, sequence, due, now, link.association.most_bytes
        )
        if not count:
            raise TransportFault("mtu")
        ledger.done[row] += count
        ledger.sent[row] += count
        self.notifiers.sent += count
        self.notifiers.sent_bytes += len(view)
        self.notifiers.writes += 1
        when_due = due if isinstance(due, int) else due[:count]
        self._lag.add(count, when_due, now - when_due)
        await self.send(link, view)

    # -- links ---------------------------------------------------------------------------------------------------

    def new_link(self, association: Association, number: int, now_ns: int) -> DtlsWlcLink:
        self.wlcs.accepted()
        return DtlsWlcLink(association, number, now_ns)

    def on_tunnel(self, link: DtlsWlcLink, now_ns: int) -> None:
        super().on_tunnel(link, now_ns)
        self.wlcs.shaken(now_ns - link.started_ns)
        link.endpoint = DatagramWlcEndpoint(self._settings, link.started_ns, self.controllers[link.number].directory)
        self.book.join(link, link.number, link.association.peer_address)

    async def on_datagram(self, link: DtlsWlcLink, data: bytes, now_ns: int) -> None:
        self.receiver.view[: len(data)] = data
        self.take_untrusted(link, 0, len(data), now_ns)
        self.receiver.reset()
        while link.leaving and await self._send_owed(link, Ledger.NEVER):
            pass
        if link.leaving:
            self._leave_row(link)
        if link.phase is not Phase.CLOSED:
            await self.attend(link, now_ns)

    def on_active(self, link: DtlsWlcLink, now_ns: int) -> None:
        assert link.endpoint is not None
        self.wlcs.came_up(link.number, link.started_ns, now_ns)
        if self.wlcs.dismisses(link.number, Phase.ACTIVE):
            self._belated.append(link)
            self.wake(now_ns)
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

    def withdraw(self, link: DtlsWlcLink) -> None:
        if was_refused(link.phase, link.endpoint):
            self.fault(link, NOTHING_GRANTED)
        super().withdraw(link)

    def on_left(self) -> None:
        self.wlcs.left()

    def on_withdrawn(self, link: DtlsWlcLink) -> None:
        self.wlcs.withdrawn()

    def on_gone(self, link: DtlsWlcLink, phase: Phase, *, orderly: bool) -> None:
        self.wlcs.gone(link.number, link.association.peer_address[0], phase, orderly=orderly)
        if link.leaving:
            self._leave_row(link)
        self.owing.leave(link, self.clock())

    def owner(self, peer: Peer) -> tuple[int, str]:
        return self.wlcs.owner(peer)

    def notified(self, link: DtlsWlcLink) -> int:
        return self.owing.sent(link)

    def totals(self, now_ns: int) -> dict[str, int]:
        return super().totals(now_ns) | self.notifiers.totals(now_ns)
