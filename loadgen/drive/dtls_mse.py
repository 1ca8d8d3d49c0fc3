"""The MSE side of a worker over DTLS: a socket for each session, dialed at the planned rate."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import ClassVar

from OpenSSL import SSL

from loadgen.drive.dtls import MAX_DATAGRAM_BYTES, TICK_NS, DtlsLink
from loadgen.drive.dtls_dial import DialingDriver
from loadgen.drive.equipment import Equipment
from loadgen.drive.peers import Peer, peer_clocks
from loadgen.drive.phase import GIVEN_UP, Phase
from loadgen.drive.presence import presence_of_sessions
from loadgen.drive.redialing import Redialing
from loadgen.scenario.plan import Use, end_ns
from loadgen.scenario.schedule import RateStage
from loadgen.session.asking import Asker
from loadgen.session.datagrams import DatagramMseEndpoint
from loadgen.session.notices import Notices
from loadgen.session.reception import Reception
from loadgen.transport.dtls import Association
from loadgen.transport.tls import TransportFault
from loadgen.units import NEVER_NS, NS_PER_MS, NS_PER_S
from loadgen.world.stations import known_macs

_DIALS_PER_TICK = 16
# Cut off in the middle of being set up, a session would look like a fault to the WLC.
_PATIENCE_NS = 2 * NS_PER_S
# Nothing says that the last datagram was the last one; a WLC's close_notify, which would, may be lost.
_QUIET_NS = 250 * NS_PER_MS
# What came is taken together with what comes so soon after it; it is as old as it is, whenever that is noted.
_GATHER_NS = 5 * NS_PER_MS
# With fewer datagrams than this, scanning them one by one is cheaper than sweeping them together.
_MIN_SWEEP = 6
# A tick that has fallen behind with asking must still read the answers.
_ASK_BUDGET_NS = 10 * NS_PER_MS


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
    """The sessions that one worker dials: every `workers`-th of the plan's, from `worker` on."""

    phase_names: ClassVar[dict[Phase, str]] = {
        Phase.HANDSHAKING: "tls",
        Phase.SETTING_UP: "session",
        Phase.ACTIVE: "stream",
    }

    def __init__(
        self,
        equipment: Equipment,
        addresses: Sequence[tuple[str, int]],
        contexts: Sequence[SSL.Context],
    ) -> None:
        super().__init__(equipment, addresses, contexts)
        plan, recorder, to_unix_ns = equipment.plan, equipment.recorder, equipment.to_unix_ns
        worker, workers = equipment.share.worker, equipment.share.workers
        self._settings = equipment.settings
        self._reception = Reception(
            recorder,
            len(self.sessions),
            to_unix_ns,
            our_schedule=plan.use is Use.BOTH,
            by_service=plan.mse.subscription.bit_count() > 1,
        )
        recorder.clocks = peer_clocks(plan, self.sessions, addresses)
        self._notices = Notices(recorder, to_unix_ns, our_schedule=plan.use is Use.BOTH, lulls=self._reception.lulls)
        self._macs = known_macs(plan, {session.wlc for session in self.sessions})
        self._asker = None if not plan.requests else self._make_asker(to_unix_ns)
        self._to_ask: deque[int] = deque()  # numbers of sessions
        self._up: dict[int, DtlsMseLink] = {}  # active ones, by number
        self._redialing = Redialing()
        self._dial_at_ns = NEVER_NS
        self._dialed = 0
        self._finishing = False
        self._patience_until_ns = self._quiet_until_ns = NEVER_NS
        self.presence = presence_of_sessions(plan, worker, workers, addresses)
        # Datagrams that were not taken yet: whose, where in the receive buffer they end, and when they came.
        self._reads: list[DtlsMseLink] = []
        self._ends: list[int] = []
        self._times_ns: list[int] = []

    def _make_asker(self, to_unix_ns: int) -> Asker:
        plan = self.plan
        return Asker(
            plan.requests,
            self.recorder,
            fleet=len(plan.sessions),
            worker=self.worker,
            workers=self.workers,
            macs=lambda number: self._macs.get(self.sessions[number].wlc, ()),
            backlog_ns=plan.backlog_ns,
            to_unix_ns=to_unix_ns,
        )

    def start_load(self, at_ns: int, stages: Sequence[RateStage]) -> None:
        super().start_load(at_ns, stages)
        if self.presence is not None and self._reception.lulls is not None:
            self._reception.lulls.begin(self.presence.leaving_ns, stages)
        if self._asker is not None:
            self._asker.start(at_ns, end_ns(stages))

    def end_load(self) -> None:
        if self.presence is not None and not self.load_over.is_set():
            self.presence.fell_silent(self._reception.fallen_silent(list(self._up)))
        if self._asker is not None:
            self._asker.stop(self.clock())
        super().end_load()

    def start_dialing(self, at_ns: int, again_until_ns: int = 0) -> None:
        """The plan's first session is dialed at `at_ns` (monotonic), the others at the plan's rate; where nobody
        answers, again until `again_until_ns`.
        """
        self._redialing.begin(again_until_ns)
        self._dial_at_ns = at_ns
        self.wake(at_ns)

    def halt(self) -> None:
        if self._patience_until_ns == NEVER_NS:
            now = self.clock()
            self._patience_until_ns = now + _PATIENCE_NS
            self.sessions = self.sessions[: self._dialed]
            self.recorder.count("sessions.withdrawn", self._redialing.end())
            if self._asker is not None:
                self._asker.stop(now)
            self.wake(now)

    def finish(self) -> None:
        """Dial no more, wait for what is still under way, and close what is up."""
        self.halt()
        self.end_load()
        self._finishing = True
        now = self.clock()
        self._quiet_until_ns = now + _PATIENCE_NS
        self.wake(now)

    # -- the tick ------------------------------------------------------------------------------------------------

    def next_wake_ns(self, now_ns: int) -> int:
        wake = self._times_ns[0] + _GATHER_NS if self._times_ns else NEVER_NS
        if self._finishing or (self._patience_until_ns != NEVER_NS and not self.halted.is_set()):
            return min(wake, now_ns + TICK_NS)
        if self._asker is not None:
            wake = min(wake, now_ns if self._to_ask else max(self._asker.next_ns(), now_ns + TICK_NS))
        wake = min(wake, self._redialing.next_ns())
        return min(wake, self._due_ns(self._dialed)) if self._dialed < len(self.sessions) else wake

    async def on_tick(self, now_ns: int) -> None:
        if self._finishing or (self._times_ns and now_ns >= self._times_ns[0] + _GATHER_NS):
            self._take()
        if self._patience_until_ns != NEVER_NS and not self.halted.is_set():
            self._see_off(now_ns)
        if self._finishing:
            self._close_quiet_ones(now_ns)
            self.finished = not self.links
            return
        if self._asker is not None:
            await self._ask(self._asker, now_ns)
        for number in self._redialing.due(now_ns):
            if self.is_open(number):
                self._redialing.postpone(number, now_ns)
            else:
                self._dial(number)
        for _ in range(_DIALS_PER_TICK):
            if self._dialed == len(self.sessions) or self._due_ns(self._dialed) > now_ns:
                break
            self.recorder.count("sessions.attempted")
            self._dial(self._dialed)
            self._dialed += 1

    async def _ask(self, asker: Asker, now_ns: int) -> None:
        """Send the requests that are due, as far as there is time for it in this tick."""
        until_ns, clock = now_ns + _ASK_BUDGET_NS, self.clock
        self._to_ask.extend(asker.take_due(now_ns))
        while self._to_ask:
            link = self._up.get(self._to_ask.popleft())
            if link is None:
                continue
            assert link.endpoint is not None
            while asker.send(link.endpoint, clock()):
                pass  # into the outbox, where those that are sent again are, too: several go into a datagram
            try:
                await self.send_outbox(link)
            except TransportFault as error:
                self.fault(link, error.kind)
            if clock() > until_ns:
                return

    def _due_ns(self, number: int) -> int:
        """When this worker's session `number` is to be dialed, in the plan's order."""
        return self._dial_at_ns + int((self.worker + number * self.workers) * NS_PER_S / self.plan.mse.connect_per_s)

    def _see_off(self, now_ns: int) -> None:
        """Those that are being set up have until their time is over, and so have answers; WLCs of ours end first after
        that.
        """
        if now_ns > self._patience_until_ns and not self.plan.use.plays_wlc:
            self._withdraw_all()
        coming = now_ns <= self._patience_until_ns and any(link.phase < Phase.ACTIVE for link in self.links)
        if not coming and (self._asker is None or not self._asker.awaits(now_ns)):
            self.halted.set()

    def _withdraw_all(self) -> None:
        """Whatever is being set up."""
        for link in list(self.links):
            if link.phase < Phase.ACTIVE:
                self.withdraw(link)

    def fault(self, link: DtlsMseLink, kind: str) -> None:
        halting = self._patience_until_ns != NEVER_NS
        if halting and self.plan.use.plays_wlc and link.phase < Phase.ACTIVE and kind in GIVEN_UP:
            self.withdraw(link)  # our own WLCs have ended
        elif link.phase is Phase.HANDSHAKING and self._redialing.takes(kind, link.number, self.clock()):
            self.part(link)
            link.scope.cancel()
        else:
            super().fault(link, kind)

    def _close_quiet_ones(self, now_ns: int) -> None:
        for link in list(self.links):
            if link.phase is Phase.ACTIVE and (now_ns > link.heard_ns + _QUIET_NS or now_ns > self._quiet_until_ns):
                self.close(link)
        if now_ns > self._quiet_until_ns:
            self._withdraw_all()

    # -- links ---------------------------------------------------------------------------------------------------

    def _dial(self, number: int) -> None:
        now, session = self.clock(), self.sessions[number]
        try:
            self.dial(number, session, lambda association: DtlsMseLink(association, number, now))
        except TransportFault as error:
            if self._redialing.takes(error.kind, number, now):
                return
            self.recorder.count(f"errors.tls.{error.kind}")
            self.recorder.count("sessions.failed")

    def on_tunnel(self, link: DtlsMseLink, now_ns: int) -> None:
        link.tls_ns = now_ns - link.started_ns
        endpoint = DatagramMseEndpoint(self._settings, link.started_ns, link.number, self._asker, self._notices)
        endpoint.start()
        link.endpoint = endpoint
        self.book.join(link, link.number, self._address(link.number))

    def on_active(self, link: DtlsMseLink, now_ns: int) -> None:
        assert link.endpoint is not None
        self.recorder.count("sessions.established")
        self.recorder.record("handshake.tls", link.tls_ns)
        self.recorder.happened("established", now_ns)
        self._reception.open(link.number, link.endpoint.granted)
        self._up[link.number] = link
        if self.presence is not None:
            self.presence.came(link.number, now_ns)
        if self._asker is not None:
            assert link.endpoint is not None
            self._asker.open(link.endpoint)

    def _address(self, number: int) -> tuple[str, int]:
        return self._addresses[self.sessions[number].wlc]

    def peers(self) -> Iterator[Peer]:
        known = {peer.number: peer for peer in self.book.peers}
        links = {link.number: link for link in self.links}
        for number in range(len(self.sessions)):
            yield known.get(number) or Peer(number, self._address(number), links.get(number))

    def owner(self, peer: Peer) -> tuple[int, str]:
        mse = self.sessions[peer.number].mse
        return mse, self.plan.mse_macs[mse]

    def notified(self, link: DtlsMseLink) -> int:
        return self._reception.received(link.number)

    def totals(self, now_ns: int) -> dict[str, int]:
        if self.presence is not None and not self.plan.use.plays_wlc:
            self.presence.listen(now_ns, self._reception.heard(), self._notices.heard)
        return super().totals(now_ns)

    def on_granted(self, link: DtlsMseLink, before: int, now_ns: int) -> None:
        assert link.endpoint is not None
        self._reception.regrant(link.number, link.endpoint.granted, self.receiver.notifications)

    def on_gone(self, link: DtlsMseLink, phase: Phase, *, orderly: bool) -> None:
        self._leave(link, ours=orderly and self.plan.use.plays_wlc)
        if phase is not Phase.ACTIVE:
            self.recorder.count("sessions.failed")
        else:
            self.recorder.count("sessions.closed" if orderly else "sessions.lost")
            if self.presence is not None:
                self.presence.went(link.number, self.clock(), "it left" if orderly else "it was lost")

    def on_withdrawn(self, link: DtlsMseLink) -> None:
        self._leave(link, ours=True)
        self.recorder.count("sessions.withdrawn")

    def close(self, link: DtlsMseLink) -> None:
        now = self.clock()
        self._withdraw_requests(link, now)
        self.take_of(link)
        if link.phase is Phase.ACTIVE and not self.plan.use.plays_wlc:  # ours have nothing more under way
            assert link.endpoint is not None
            link.endpoint.left_ns = now
        super().close(link)

    def _withdraw_requests(self, link: DtlsMseLink, now_ns: int) -> None:
        if self._asker is not None and (endpoint := link.endpoint) is not None:
            self._asker.leave(endpoint, now_ns)

    def _leave(self, link: DtlsMseLink, *, ours: bool) -> None:
        """Args: ours: a WLC of ours closes in order only when it is told to."""
        self._up.pop(link.number, None)
        if (endpoint := link.endpoint) is not None:
            now = self.clock()
            endpoint.stop(now)
            if ours:
                self._withdraw_requests(link, now)
            if self._asker is not None:
                self._asker.close(endpoint)
            endpoint.settle()
            if endpoint.left_ns is not None:
                self._reception.leave(link.number, endpoint.left_ns)

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
        if link.phase is Phase.ACTIVE:
            # To check and record it a little later, together with others, does not change when it came.
            self.wake(now_ns + _GATHER_NS)
            return
        self._take()
        if link.phase is not Phase.CLOSED:
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
            active = [link.phase is Phase.ACTIVE for link in reads]
            counts = self.receiver.sweep_untrusted(starts, ends, active).tolist()
        taken = [(link.number, count, now) for link, count, now in zip(reads, counts, times_ns, strict=True) if count]
        for link, count, now, start, end in zip(reads, counts, times_ns, starts, ends, strict=True):
            if count:
                assert link.endpoint is not None
                link.endpoint.last_heard_ns = now
            elif link.phase is not Phase.CLOSED and (found := self.take_untrusted(link, start, end, now)):
                taken.append((link.number, found, now))
        if taken:
            numbers, of_each, done_ns = zip(*taken, strict=True)
            self._reception.absorb(self.receiver.columns(), numbers, of_each, done_ns)
        else:
            self._reception.settle_grants()
        self.receiver.reset()
        if self._asker is not None:
            self.wake(self._asker.next_ns())  # an answer may have made room for what is owed
