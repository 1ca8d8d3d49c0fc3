"""The MSE side of a worker: dials at the planned rate, sets sessions up, and receives."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import ClassVar

from OpenSSL import SSL

from loadgen.drive.equipment import Equipment
from loadgen.drive.peers import Peer, peer_clocks
from loadgen.drive.phase import GIVEN_UP, Phase
from loadgen.drive.presence import presence_of_sessions
from loadgen.drive.redialing import Redialing
from loadgen.drive.term import Term
from loadgen.drive.tls import MIN_TICK_NS
from loadgen.drive.tls_dial import DialingShard, MseLink
from loadgen.scenario.plan import Plan, Use, end_ns
from loadgen.scenario.schedule import RateStage
from loadgen.session.asking import Asker
from loadgen.session.mse import MseEndpoint
from loadgen.session.notices import Notices
from loadgen.session.reception import Reception
from loadgen.transport.tls import TransportFault
from loadgen.units import NEVER_NS, NS_PER_MS, NS_PER_S
from loadgen.world.stations import known_macs

_DIALS_PER_TURN = 64
# Cut off in the middle of being set up, a session would look like a fault to the WLC.
_PATIENCE_NS = 2 * NS_PER_S
_RETRY_NS = 10 * NS_PER_MS
# A turn that has fallen behind with asking must still read the answers.
_ASK_BUDGET_NS = 10 * NS_PER_MS


class MseShard(DialingShard):
    """The sessions that one worker dials: every `workers`-th of the plan's, from `worker` on."""

    sweeps = True
    phase_names: ClassVar[dict[Phase, str]] = {
        Phase.CONNECTING: "tcp",
        Phase.HANDSHAKING: "tls",
        Phase.SETTING_UP: "session",
        Phase.ACTIVE: "stream",
        Phase.CLOSING: "close",
    }

    def __init__(
        self,
        equipment: Equipment,
        addresses: Sequence[tuple[str, int]],
        contexts: Sequence[SSL.Context],
    ) -> None:
        super().__init__(equipment, addresses, contexts)
        plan, recorder, to_unix_ns = equipment.plan, equipment.recorder, equipment.to_unix_ns
        self._settings = equipment.settings
        self._connect_per_s = plan.mse.connect_per_s
        self._sessions_per_user = plan.sessions_per_user
        self._mse_macs = plan.mse_macs
        self._wlcs_are_ours = plan.use.plays_wlc
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
        self._asker = None if not plan.requests else self._make_asker(plan, to_unix_ns)
        self._term = Term(plan, recorder, equipment.clock)
        self._to_ask: deque[int] = deque()  # numbers of sessions
        # Of each link that brought notifications since they were absorbed: its number, how many, and when.
        self._numbers: list[int] = []
        self._counts: list[int] = []
        self._done_ns: list[int] = []
        # Number `_from` is to be dialed at `_from_ns`, the next ones `_pace_ns` apart, up to `_wanted`.
        self._from_ns, self._from, self._pace_ns = NEVER_NS, 0, 0.0
        self._dialed = 0
        self._wanted = 0
        self._by_number: dict[int, MseLink] = {}
        self._redialing = Redialing()
        self.presence = presence_of_sessions(plan, self.worker, self.workers, addresses)
        self._finishing = False
        self._patience_until_ns = NEVER_NS

    def _make_asker(self, plan: Plan, to_unix_ns: int) -> Asker:
        return Asker(
            plan.requests,
            self.recorder,
            fleet=len(plan.sessions),
            worker=self.worker,
            workers=self.workers,
            macs=lambda number: self._macs.get(self.sessions[number].wlc, ()),
            backlog_ns=plan.backlog_ns,
            to_unix_ns=to_unix_ns,
            all_owe=not plan.sessions_per_user,
        )

    def start_load(self, at_ns: int, stages: Sequence[RateStage]) -> None:
        super().start_load(at_ns, stages)
        self._term.begin(at_ns, stages, self.presence)
        if self.presence is not None and self._reception.lulls is not None:
            self._reception.lulls.begin(self.presence.leaving_ns, stages)
        if self._asker is not None:
            self._asker.start(at_ns, end_ns(stages))

    def end_load(self) -> None:
        if self.presence is not None and not self.load_over.is_set():
            active = [link.number for link in self.links.values() if link.phase is Phase.ACTIVE]
            self.presence.fell_silent(self._reception.fallen_silent(active))
        self._term.end()
        if self._asker is not None:
            self._asker.stop(self.clock())
        super().end_load()

    def start_dialing(self, at_ns: int, again_until_ns: int = 0) -> None:
        """The plan's first session is dialed at `at_ns` (monotonic), the others at the plan's rate; where nobody
        listens, again until `again_until_ns`.
        """
        self._redialing.begin(again_until_ns)
        self._from_ns = at_ns + int(self.worker * NS_PER_S / self._connect_per_s)
        self._pace_ns = self.workers * NS_PER_S / self._connect_per_s
        self._wanted = len(self.sessions)

    def muster(self, users: int, at_ns: int, over_ns: int) -> None:
        wanted = len(range(self.worker, users * self._sessions_per_user, self.workers))
        if wanted < self._dialed:
            self._dialed = wanted
            self._dismiss(wanted)
        fastest = self.workers * NS_PER_S / self._connect_per_s
        self._pace_ns = max(over_ns / max(1, wanted - self._dialed), fastest)
        self._from, self._from_ns, self._wanted, self.mustered = self._dialed, at_ns, wanted, users

    def pending(self) -> int:
        coming = (link for link in self.links.values() if link.phase < Phase.ACTIVE)
        return self._wanted - self._dialed + sum(link.number < self._wanted for link in coming)

    def _dismiss(self, wanted: int) -> None:
        """End all sessions from number `wanted` on; WLCs of ours do that, so that nothing is left in a pipe."""
        if self._wlcs_are_ours:
            return
        now = self.clock()
        for link in list(self.links.values()):
            if link.number >= wanted:
                self.withdraw(link, now)

    def halt(self) -> None:
        if self._patience_until_ns == NEVER_NS:
            now = self.clock()
            self._patience_until_ns = now + _PATIENCE_NS
            self._wanted = self._dialed
            self.recorder.count("sessions.withdrawn", self._redialing.end())
            if self._asker is not None:
                self._asker.stop(now)

    def finish(self) -> None:
        """Dial no more, close what is up, and end; sessions that are being set up get a moment to come up."""
        self.halt()
        self.end_load()
        self._finishing = True
        self._patience_until_ns = max(self._patience_until_ns, self.clock() + _PATIENCE_NS)

    def next_wake_ns(self, now_ns: int) -> int:
        if self._finishing:
            return NEVER_NS
        wake = NEVER_NS
        if self._asker is not None:
            wake = now_ns if self._to_ask else max(self._asker.next_ns(), now_ns + MIN_TICK_NS)
        wake = min(wake, self._redialing.next_ns())
        if self._dialed == self._wanted:
            return wake
        due_ns = self._due_ns(self._dialed)
        return min(wake, max(due_ns, now_ns + _RETRY_NS) if self._dialed in self._by_number else due_ns)

    def on_turn(self, now_ns: int) -> None:
        if self._patience_until_ns != NEVER_NS and not self.halted.is_set():
            self._see_off(now_ns)
        if self._finishing:
            self._close_all(now_ns)
            return
        if self._asker is not None:
            self._ask(self._asker, now_ns)
        for number in self._redialing.due(now_ns):
            self._dial(number)
        for _ in range(_DIALS_PER_TURN):
            if self._dialed == self._wanted or self._due_ns(self._dialed) > now_ns:
                break
            if self._dialed in self._by_number:  # the session that it had before is being closed
                break
            self.recorder.count("sessions.attempted")
            self._dial(self._dialed)
            self._dialed += 1

    def _ask(self, asker: Asker, now_ns: int) -> None:
        """Send the requests that are due, as far as there is time for it in this turn."""
        until_ns, clock = now_ns + _ASK_BUDGET_NS, self.clock
        self._to_ask.extend(asker.take_due(now_ns))
        while self._to_ask:
            link = self._by_number.get(self._to_ask.popleft())
            if link is None or link.phase is not Phase.ACTIVE:
                continue
            tunnel, endpoint = link.tunnel, link.endpoint
            assert endpoint is not None
            assert tunnel is not None
            try:
                while not tunnel.blocked and asker.send(endpoint, clock()):
                    self.send_outbox(link)
                if endpoint.outbox:  # requests that are sent again
                    self.send_outbox(link)
            except TransportFault as error:
                self.fault(link, error.kind)
                continue
            if tunnel.blocked:
                asker.hold_up(endpoint)
            if clock() > until_ns:
                return

    def _flush(self, link: MseLink) -> None:
        super()._flush(link)
        if self._asker is not None and link.phase is Phase.ACTIVE:
            assert link.endpoint is not None
            self._asker.is_owed(link.endpoint)

    def _due_ns(self, number: int) -> int:
        """When this worker's session `number` is to be dialed, in the plan's order."""
        return self._from_ns + int((number - self._from) * self._pace_ns)

    def _dial(self, number: int) -> None:
        started = self.clock()
        try:
            self._by_number[number] = self.dial(number, started)
        except TransportFault as error:
            if self._redialing.takes(error.kind, number, started):
                return
            self.recorder.count(f"errors.tcp.{error.kind}")
            self.recorder.count("sessions.failed")

    def on_tunnel(self, link: MseLink, now_ns: int) -> None:
        link.tls_ns = now_ns - link.tls_started_ns
        endpoint = MseEndpoint(self._settings, link.started_ns, link.number, self._asker, self._notices)
        endpoint.start()
        link.endpoint = endpoint
        self.book.join(link, link.number, self._addresses[self.sessions[link.number].wlc])

    def on_active(self, link: MseLink, now_ns: int) -> None:
        assert link.endpoint is not None
        self.recorder.count("sessions.established")
        self.recorder.record("handshake.tls", link.tls_ns)  # with TLS 1.3 a refusal comes after our side was done
        self.recorder.happened("established", now_ns)
        self._reception.open(link.number, link.endpoint.granted)
        if self.presence is not None:
            self.presence.came(link.number, now_ns)
        if self._asker is not None:
            self._asker.open(link.endpoint)

    def on_granted(self, link: MseLink, before: int, now_ns: int) -> None:
        assert link.endpoint is not None
        self._reception.regrant(link.number, link.endpoint.granted, self.receiver.notifications)

    def on_left(self) -> None:
        self._term.left()

    def on_gone(self, link: MseLink, phase: Phase, *, orderly: bool) -> None:
        self._leave(link, ours=orderly and self._wlcs_are_ours)
        if phase is not Phase.ACTIVE:
            self.recorder.count("sessions.failed")
        else:
            self.recorder.count("sessions.closed" if orderly else "sessions.lost")
            if self.presence is not None:
                self.presence.went(link.number, self.clock(), "it left" if orderly else "it was lost")

    def on_withdrawn(self, link: MseLink, phase: Phase) -> None:
        self._leave(link, ours=True)
        self.recorder.count("sessions.withdrawn")

    def close(self, link: MseLink, now_ns: int) -> None:
        self._withdraw_requests(link, now_ns)
        self._take_of(link)
        if link.phase is Phase.ACTIVE and not self._wlcs_are_ours:  # ours have nothing more under way
            assert link.endpoint is not None
            link.endpoint.left_ns = now_ns
        super().close(link, now_ns)

    def _leave(self, link: MseLink, *, ours: bool) -> None:
        """Args: ours: a WLC of ours closes in order only when it is told to."""
        if (endpoint := link.endpoint) is not None:
            now = self.clock()
            endpoint.stop(now)
            if ours:
                self._withdraw_requests(link, now)
            if self._asker is not None:
                self._asker.close(endpoint)

    def _withdraw_requests(self, link: MseLink, now_ns: int) -> None:
        if self._asker is not None and (endpoint := link.endpoint) is not None:
            self._asker.leave(endpoint, now_ns)

    def peers(self) -> Iterator[Peer]:
        known = {peer.number: peer for peer in self.book.peers}
        for number in range(self._wanted):
            address = self._addresses[self.sessions[number].wlc]
            yield known.get(number) or Peer(number, address, self._by_number.get(number))

    def owner(self, peer: Peer) -> tuple[int, str]:
        mse = self.sessions[peer.number].mse
        return mse, self._mse_macs[mse]

    def notified(self, link: MseLink) -> int:
        return self._reception.received(link.number)

    def totals(self, now_ns: int) -> dict[str, int]:
        if self.presence is not None and not self._wlcs_are_ours:
            self.presence.listen(now_ns, self._reception.heard(), self._notices.heard)
        return super().totals(now_ns)

    def release(self, link: MseLink) -> None:
        self._by_number.pop(link.number, None)
        if (endpoint := link.endpoint) is not None:
            endpoint.settle()
            if endpoint.left_ns is not None:
                self._reception.leave(link.number, endpoint.left_ns)
        super().release(link)

    def on_swept(self, links: list[MseLink], counts: list[int], done_ns: list[int]) -> None:
        self._numbers += [link.number for link in links]
        self._counts += counts
        self._done_ns += done_ns

    def on_notifications(self, link: MseLink, count: int, done_ns: int) -> None:
        self._numbers.append(link.number)
        self._counts.append(count)
        self._done_ns.append(done_ns)

    def absorb(self) -> None:
        if self._numbers:
            self._reception.absorb(self.receiver.columns(), self._numbers, self._counts, self._done_ns)
            for column in (self._numbers, self._counts, self._done_ns):
                column.clear()
        else:
            self._reception.settle_grants()
        self.receiver.reset()

    def _see_off(self, now_ns: int) -> None:
        """Those that are being set up have until their time is over, and so have answers. After that, WLCs of ours end
        first: what is up at their end, and not yet at ours, is still closed in order, with all that was sent.
        """
        if now_ns > self._patience_until_ns and not self._wlcs_are_ours:
            self._withdraw_all(now_ns)
        coming = now_ns <= self._patience_until_ns and any(link.phase < Phase.ACTIVE for link in self.links.values())
        if not coming and (self._asker is None or not self._asker.awaits(now_ns)):
            self.halted.set()

    def _withdraw_all(self, now_ns: int) -> None:
        """Whatever is being set up."""
        for link in list(self.links.values()):
            if link.phase < Phase.ACTIVE:
                self.withdraw(link, now_ns)

    def fault(self, link: MseLink, kind: str) -> None:
        halting = self._patience_until_ns != NEVER_NS
        if halting and self._wlcs_are_ours and link.phase < Phase.ACTIVE and kind in (*GIVEN_UP, "refused"):
            self.withdraw(link, self.clock())  # our own WLCs have ended
        elif link.phase is Phase.CONNECTING and self._redialing.takes(kind, link.number, self.clock()):
            self._drop(link)
        else:
            super().fault(link, kind)

    def _close_all(self, now_ns: int) -> None:
        for link in list(self.links.values()):
            if link.phase is Phase.ACTIVE:
                self.close(link, now_ns)
        if now_ns > self._patience_until_ns:
            self._withdraw_all(now_ns)
        if not self.links:
            self.finished = True
