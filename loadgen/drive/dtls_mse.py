"""The MSE side of a worker over DTLS: a socket for each session, dialed as `mse_sessions` says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from OpenSSL import SSL

from loadgen.drive.dtls import LATE_NS, MAX_DATAGRAM_BYTES, TICK_NS, DtlsLink
from loadgen.drive.dtls_dial import DialingDriver
from loadgen.drive.equipment import Equipment
from loadgen.drive.mse_sessions import PATIENCE_NS, MseSessions
from loadgen.drive.peers import Peer
from loadgen.drive.phase import ACTIVE, CLOSED, HANDSHAKING, SETTING_UP, Phase
from loadgen.results.health import Dialing
from loadgen.scenario.schedule import RateStage
from loadgen.session.asking import Asker
from loadgen.session.datagrams import DatagramMseEndpoint
from loadgen.transport.dtls import Association
from loadgen.transport.tls import TransportFault
from loadgen.units import NEVER_NS, NS_PER_MS

_DIALS_PER_TICK = 16
# Nothing says that the last datagram was the last one; a WLC's close_notify, which would, may be lost.
_QUIET_NS = 250 * NS_PER_MS
# What came is taken together with what comes so soon after it; it is as old as it is, whenever that is noted.
_GATHER_NS = 5 * NS_PER_MS
# With fewer datagrams than this, scanning them one by one is cheaper than sweeping them together.
_MIN_SWEEP = 6


class DtlsMseLink(DtlsLink):
    """An association that one of our MSEs has dialed.

    Attributes:
        tls_ns: from the first ClientHello to DTLS done.
    """

    endpoint: DatagramMseEndpoint | None

    __slots__ = ("tls_ns",)

    def __init__(self, association: Association, number: int, started_ns: int) -> None:
        super().__init__(association, number, started_ns)
        self.tls_ns = 0


class DtlsMseDriver(DialingDriver[DtlsMseLink]):
    """The sessions that one worker dials."""

    phase_names: ClassVar[dict[Phase, str]] = {
        HANDSHAKING: "tls",
        SETTING_UP: "session",
        ACTIVE: "stream",
    }

    def __init__(
        self,
        equipment: Equipment,
        addresses: Sequence[tuple[str, int]],
        contexts: Sequence[SSL.Context],
    ) -> None:
        super().__init__(equipment, addresses, contexts)
        self.mses = MseSessions(equipment, addresses, DatagramMseEndpoint)
        self.presence = self.mses.presence
        self._up: dict[int, DtlsMseLink] = {}  # active ones, by number
        self._finishing = False
        self._quiet_until_ns = NEVER_NS
        # Datagrams that were not taken yet: whose, where in the receive buffer they end, and when they came.
        self._reads: list[DtlsMseLink] = []
        self._ends: list[int] = []
        self._times_ns: list[int] = []
        self._to_answer: dict[DtlsMseLink, None] = {}  # active ones that have something to say to what was taken

    def start_load(self, at_ns: int, stages: Sequence[RateStage]) -> None:
        super().start_load(at_ns, stages)
        self.mses.start_load(at_ns, stages)

    def end_load(self) -> None:
        self.mses.end_load(None if self.load_over.is_set() else self._up)
        super().end_load()

    def start_dialing(self, at_ns: int, again_until_ns: int = 0) -> None:
        """As `mse_sessions` has it."""
        self.mses.start_dialing(at_ns, again_until_ns)
        self.wake(at_ns)

    def muster(self, users: int, at_ns: int, over_ns: int) -> None:
        self.mustered = users
        if self.mses.muster(users, at_ns, over_ns):
            for link in list(self.links):
                if link.number >= self.mses.wanted:
                    self.withdraw(link)
        self.wake(at_ns)

    def dialing(self) -> Dialing:
        return self.mses.dialing

    def pending(self) -> int:
        return self.mses.pending(self.links)

    def halt(self) -> None:
        if not self.mses.halting:
            self.mses.halt()
            self.wake(self.clock())

    def finish(self) -> None:
        """Dial no more, wait for what is still under way, and close what is up."""
        self.halt()
        self.end_load()
        self._finishing = True
        now = self.clock()
        self._quiet_until_ns = now + PATIENCE_NS
        self.wake(now)

    # -- the tick ------------------------------------------------------------------------------------------------

    def next_wake_ns(self, now_ns: int) -> int:
        wake = self._times_ns[0] + _GATHER_NS if self._times_ns else NEVER_NS
        if self._finishing or (self.mses.halting and not self.halted.is_set()):
            return min(wake, now_ns + TICK_NS)
        return min(wake, self.mses.next_wake_ns(now_ns, TICK_NS, self.open))

    async def on_tick(self, now_ns: int) -> None:
        mses = self.mses
        if self._finishing or (self._times_ns and now_ns >= self._times_ns[0] + _GATHER_NS):
            self._take()
        await self._answer()
        if mses.halting and not self.halted.is_set():
            if mses.gives_up(now_ns):
                self._withdraw_all()
            if mses.seen_off(self.links, now_ns):
                self.halted.set()
        if self._finishing:
            self._close_quiet_ones(now_ns)
            self.finished = not self.links
            return
        if mses.asker is not None:
            await self._ask(mses.asker, now_ns)
        for number in mses.to_dial(now_ns, _DIALS_PER_TICK, self.open, behind=self.late_ns > LATE_NS):
            self._dial(number)

    async def _ask(self, asker: Asker, now_ns: int) -> None:
        """Send the requests that are due, as far as there is time for it in this tick."""
        clock = self.clock
        for number in self.mses.to_ask(asker, now_ns):
            if (link := self._up.get(number)) is None:
                continue
            assert link.endpoint is not None
            while asker.send(link.endpoint, clock()):
                pass  # into the outbox, where those that are sent again are, too: several go into a datagram
            try:
                await self.send_outbox(link)
            except TransportFault as error:
                self.fault(link, error.kind)

    async def _answer(self) -> None:
        """Send what endpoints have to say to what their WLCs asked."""
        while self._to_answer:
            link = next(iter(self._to_answer))
            del self._to_answer[link]
            if link.phase is ACTIVE:
                try:
                    await self.send_outbox(link)
                except TransportFault as error:
                    self.fault(link, error.kind)

    def _withdraw_all(self) -> None:
        """Whatever is being set up."""
        for link in list(self.links):
            if link.phase < ACTIVE:
                self.withdraw(link)

    def fault(self, link: DtlsMseLink, kind: str) -> None:
        if self.mses.ended_by_wlcs_of_ours(link, kind):
            self.withdraw(link)
        elif link.phase is HANDSHAKING and self.mses.dials_again(link, kind):
            self.part(link)
            link.scope.cancel()
        else:
            super().fault(link, kind)

    def _close_quiet_ones(self, now_ns: int) -> None:
        for link in list(self.links):
            if link.phase is ACTIVE and (now_ns > link.heard_ns + _QUIET_NS or now_ns > self._quiet_until_ns):
                self.close(link)
        if now_ns > self._quiet_until_ns:
            self._withdraw_all()

    # -- links ---------------------------------------------------------------------------------------------------

    def _dial(self, number: int) -> None:
        now = self.clock()
        try:
            self.dial(number, number, lambda association: DtlsMseLink(association, number, now))
            self.mses.shakes(number)
        except TransportFault as error:
            self.mses.not_dialed(number, error.kind, f"errors.tls.{error.kind}")

    def on_tunnel(self, link: DtlsMseLink, now_ns: int) -> None:
        link.tls_ns = now_ns - link.started_ns
        link.endpoint = self.mses.new_endpoint(link.number, link.started_ns, now_ns)
        self.book.join(link, link.number, self.mses.address(link.number))

    def on_active(self, link: DtlsMseLink, now_ns: int) -> None:
        self.mses.came_up(link, now_ns)
        self._up[link.number] = link

    def peers(self) -> Iterator[Peer]:
        return self.mses.peers(self.book, {link.number: link for link in self.links})

    def owner(self, peer: Peer) -> tuple[int, str]:
        return self.mses.owner(peer)

    def notified(self, link: DtlsMseLink) -> int:
        return self.mses.reception.received(link.number)

    def totals(self, now_ns: int) -> dict[str, int]:
        self.mses.listen(now_ns)
        return super().totals(now_ns)

    def on_granted(self, link: DtlsMseLink, before: int, now_ns: int) -> None:
        self.mses.granted(link, self.receiver.notifications)

    def on_left(self) -> None:
        self.mses.left()

    def on_gone(self, link: DtlsMseLink, phase: Phase, *, orderly: bool) -> None:
        self._up.pop(link.number, None)
        self.mses.gone(link, phase, orderly=orderly)
        self.mses.settle(link)

    def on_withdrawn(self, link: DtlsMseLink) -> None:
        self._up.pop(link.number, None)
        self.mses.withdrawn(link)
        self.mses.settle(link)

    def close(self, link: DtlsMseLink) -> None:
        now = self.clock()
        self.mses.withdraw_requests(link, now)
        self.take_of(link)
        if link.phase is ACTIVE:
            self.mses.closes(link, now)
        super().close(link)

    # -- receiving -----------------------------------------------------------------------------------------------

    async def on_datagram(self, link: DtlsMseLink, data: bytes, now_ns: int) -> None:
        start = self._ends[-1] if self._ends else 0
        if link.read or start + len(data) > self.receiver.capacity - MAX_DATAGRAM_BYTES:
            self._take()
            start = 0
        self.receiver.view[start : start + len(data)] = data
        link.read = True
        self._reads.append(link)
        self._ends.append(start + len(data))
        self._times_ns.append(now_ns)
        if link.phase is ACTIVE:
            # To check and record it a little later, together with others, does not change when it came.
            self.wake(now_ns + _GATHER_NS)
            return
        self._take()
        if link.phase is not CLOSED:
            await self.attend(link, now_ns)

    def take_of(self, link: DtlsMseLink) -> None:
        if link.read:
            self._take()

    def _take(self) -> None:
        """Take what was read: at once where it is nothing but notifications, frame by frame where it is not."""
        reads, ends, times_ns = self._reads, self._ends, self._times_ns
        if not reads:
            return
        self._reads, self._ends, self._times_ns = [], [], []
        for link in reads:
            link.read = False
        starts = [0, *ends[:-1]]
        counts = [0] * len(reads)
        if len(reads) >= _MIN_SWEEP:
            active = [link.phase is ACTIVE for link in reads]
            counts = self.receiver.sweep_untrusted(starts, ends, active).tolist()
        taken = [(link.number, count, now) for link, count, now in zip(reads, counts, times_ns, strict=True) if count]
        for link, count, now, start, end in zip(reads, counts, times_ns, starts, ends, strict=True):
            if count:
                assert link.endpoint is not None
                link.endpoint.last_heard_ns = now
            elif link.phase is not CLOSED:
                if found := self.take_untrusted(link, start, end, now):
                    taken.append((link.number, found, now))
                if link.endpoint is not None and link.endpoint.outbox and link.phase is ACTIVE:
                    self._to_answer[link] = None
        if taken:
            numbers, of_each, done_ns = zip(*taken, strict=True)
            self.mses.reception.absorb(self.receiver.columns(), numbers, of_each, done_ns)
        else:
            self.mses.reception.settle_grants()
        self.receiver.reset()
        if self.mses.asker is not None:
            self.wake(self.mses.asker.next_ns())  # an answer may have made room for what is owed
