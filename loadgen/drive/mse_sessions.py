"""What the MSEs of a worker do, whatever carries their sessions: whom they dial and when, what they record and ask, and
how they leave. A driver has one, and keeps readiness, writing and closing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from loadgen.drive.equipment import Equipment
from loadgen.drive.peers import Peer, PeerBook, PeerLink, peer_clocks
from loadgen.drive.phase import ACTIVE, GIVEN_UP, Phase
from loadgen.drive.presence import presence_of_sessions
from loadgen.drive.redialing import Redialing
from loadgen.drive.term import Term
from loadgen.drive.under_way import UnderWay
from loadgen.nmsp.carried import Carried
from loadgen.nmsp.messages import Kind
from loadgen.nmsp.records import Mac, mac_bytes
from loadgen.replay.asked import recorded_kinds, recorded_macs
from loadgen.results.health import Dialing
from loadgen.scenario.plan import Use, end_ns
from loadgen.scenario.schedule import RateStage
from loadgen.session.asking import Asker
from loadgen.session.asking_again import RecordedRequestKind
from loadgen.session.mse import MseEndpoint
from loadgen.session.notices import Notices
from loadgen.session.placing import Placing
from loadgen.session.reception import Reception
from loadgen.units import NEVER_NS, NS_PER_MS, NS_PER_S
from loadgen.world.stations import known_macs

# Cut off in the middle of being set up, a session would look like a fault to the WLC.
PATIENCE_NS = 2 * NS_PER_S
# A turn that has fallen behind with asking must still read the answers.
_ASK_BUDGET_NS = 10 * NS_PER_MS
_RETRY_NS = 10 * NS_PER_MS

EndpointT = TypeVar("EndpointT", bound=MseEndpoint)


class SessionLink(PeerLink, Protocol):
    """What is asked of an MSE's link.

    Attributes:
        number: its row among this worker's sessions.
        tls_ns: how long its TLS handshake took.
    """

    number: int
    tls_ns: int

    @property
    def endpoint(self) -> MseEndpoint | None: ...


class MseSessions(Generic[EndpointT]):
    """The sessions that one worker dials: every `workers`-th of the plan's, from `worker` on.

    Attributes:
        dialed, wanted: how many were dialed, and how many are to be, in the plan's order.
        under_way: those that are being set up.
        patience_until_ns: once the run is about to end: until when what is being set up may come up.
    """

    def __init__(
        self, equipment: Equipment, addresses: Sequence[tuple[str, int]], endpoint_class: type[EndpointT]
    ) -> None:
        """Args: addresses: of all WLCs of the plan."""
        plan, recorder, share, to_unix_ns = equipment.plan, equipment.recorder, equipment.share, equipment.to_unix_ns
        self._plan, self._recorder, self._clock = plan, recorder, equipment.clock
        self._settings, self._endpoint_class = equipment.settings, endpoint_class
        self._worker, self._workers = share.worker, share.workers
        self._sessions = plan.sessions[share.worker :: share.workers]
        self._addresses = addresses
        self._tells_macs = equipment.profile.tells_macs
        self.wlcs_are_ours = plan.use.plays_wlc
        ours, carried = plan.use is Use.BOTH, Carried(*plan.carried)
        self.placing: Placing | None = None
        if equipment.placings is not None:
            self.placing = Placing(equipment.placings, share.worker, share.workers, to_unix_ns)
        device_time = None if ours else equipment.profile.layouts[Kind.MEASUREMENT_NOTIFY].time
        if device_time is not None and device_time.since_began:
            device_time = None  # when its sessions began, a device does not say
        self.reception = Reception(
            recorder,
            len(self._sessions),
            to_unix_ns,
            our_schedule=ours,
            by_service=plan.mse.subscription.bit_count() > 1,
            carried=carried,
            placing=self.placing,
            device_time=device_time,
        )
        if carried.tells_sent or device_time is not None:
            recorder.clocks = peer_clocks(plan, self._sessions, addresses)
        self.notices = Notices(
            recorder, to_unix_ns, our_schedule=ours, lulls=self.reception.lulls, profile=equipment.profile
        )
        known = known_macs(plan, {session.wlc for session in self._sessions})
        macs_of: Callable[[int], Sequence[Mac] | None] = known.get
        self.asker: Asker | None = None
        recorded: list[RecordedRequestKind] = []
        if equipment.recording is not None:
            recorded = recorded_kinds(equipment.settings.codec, equipment.recording, plan)
            macs_of = recorded_macs(equipment.recording, plan)
        if plan.requests or recorded:
            self.asker = Asker(
                plan.requests,
                recorder,
                fleet=len(plan.sessions),
                worker=share.worker,
                workers=share.workers,
                macs=lambda number: macs_of(self._sessions[number].wlc) or (),
                backlog_ns=plan.load.backlog,
                to_unix_ns=to_unix_ns,
                all_owe=not plan.sessions_per_user,
                recorded=recorded,
            )
        self._to_ask: deque[int] = deque()  # numbers of sessions
        self._term = Term(plan, recorder, equipment.clock)
        self.presence = presence_of_sessions(plan, share.worker, share.workers, addresses)
        # Number `_from` is to be dialed at `_from_ns`, the next ones `_pace_ns` apart, up to `wanted`.
        self._from_ns, self._from, self._pace_ns = NEVER_NS, 0, 0.0
        self.dialed = self.wanted = 0
        self._redialing = Redialing()
        self.under_way = UnderWay(plan.mse.setup_timeout)
        # When we last looked, it was for the peers that those waited which were due. Of all that were dialed since the
        # rate was set: the longest that one was late, and what of that was our doing, once some had to wait for that.
        self._held_up_until_ns = self._late_ns = self._own_late_ns = 0
        self._saturated = False
        self._waited_ns: dict[int, int] = {}  # from when a session was due to where it is, as far as that is done
        self.patience_until_ns = NEVER_NS

    # -- the load ------------------------------------------------------------------------------------------------

    def start_load(self, at_ns: int, stages: Sequence[RateStage]) -> None:
        """Presence has begun with this load."""
        self._term.begin(at_ns, stages, self.presence)
        if self.placing is not None:
            self.placing.start_load(at_ns, stages)
        if self.presence is not None:
            self.reception.listen(self.presence.leaving_ns, at_ns + end_ns(stages), stages)
        if self.asker is not None:
            self.asker.start(at_ns, end_ns(stages))

    def end_load(self, up: Iterable[int] | None) -> None:
        """Args: up: numbers of active sessions; None: the load was over before."""
        if self.presence is not None and up is not None:
            surely, perhaps = self.reception.fallen_silent({*up, *self.presence.stayed})
            self.presence.fell_silent(surely, perhaps, *self.reception.services_fallen_silent())
        self._term.end()
        if self.asker is not None:
            self.asker.stop(self._clock())

    def listen(self, now_ns: int) -> None:
        """Note who has brought something since this was called last."""
        if self.presence is not None and not self.wlcs_are_ours:
            self.presence.listen(now_ns, self.reception.heard(), self.notices.heard)

    # -- dialing -------------------------------------------------------------------------------------------------

    def start_dialing(self, at_ns: int, again_until_ns: int) -> None:
        """The plan's first session is dialed at `at_ns`, the others at the plan's rate; where nobody is, again until
        `again_until_ns`.
        """
        self._redialing.begin(again_until_ns)
        self._from_ns = at_ns + int(self._worker * NS_PER_S / self._plan.mse.connect_per_s)
        self._pace_ns = self._workers * NS_PER_S / self._plan.mse.connect_per_s
        self.wanted = len(self._sessions)
        self._late_ns, self._own_late_ns, self._saturated = 0, 0, False

    def muster(self, users: int, at_ns: int, over_ns: int) -> bool:
        """Have the sessions of so many users dialed, from `at_ns` on; True if there were more before: those from
        number `wanted` on are to go, unless our own WLCs see to that.
        """
        wanted = len(range(self._worker, users * self._plan.sessions_per_user, self._workers))
        fewer = wanted < self.dialed
        self.dialed = min(self.dialed, wanted)
        fastest = self._workers * NS_PER_S / self._plan.mse.connect_per_s
        self._pace_ns = max(over_ns / max(1, wanted - self.dialed), fastest)
        self._from, self._from_ns, self.wanted = self.dialed, at_ns, wanted
        self._late_ns, self._own_late_ns, self._saturated = 0, 0, False
        return fewer and not self.wlcs_are_ours

    def pending(self, links: Iterable[SessionLink]) -> int:
        """Sessions that are wanted, and neither up nor failed."""
        coming = (link for link in links if link.phase < ACTIVE)
        return self.wanted - self.dialed + sum(link.number < self.wanted for link in coming)

    @property
    def dials(self) -> bool:
        """Somebody is still to be dialed, now or later."""
        return self.dialed != self.wanted or self._redialing.next_ns() != NEVER_NS

    def to_dial(self, now_ns: int, most: int, busy: Container[int], *, behind: bool) -> Iterator[int]:
        """Numbers of the sessions that are to be dialed now.

        Args:
            most: for the first time; 0: there is no time for more.
            busy: those that have a link of before.
            behind: it is us that those under way wait for.
        """
        for number in self._redialing.due(now_ns):
            if number in busy:
                self._redialing.postpone(number, now_ns)
            else:
                yield number
        if not most and self._is_due(now_ns, busy):
            self._saturated = True
        for _ in range(most):
            if not self._is_due(now_ns, busy):
                return
            if self.under_way.full:
                if behind or (self.wlcs_are_ours and self.under_way.crowded):
                    self._saturated = True
                else:
                    self._held_up_until_ns = now_ns
                return
            self._note_lag(self._due_ns(self.dialed), now_ns)
            self._recorder.count("sessions.attempted")
            yield self.dialed
            self.dialed += 1

    def _is_due(self, now_ns: int, busy: Container[int]) -> bool:
        """Whether another one is to be dialed."""
        return self.dialed != self.wanted and self._due_ns(self.dialed) <= now_ns and self.dialed not in busy

    def _note_lag(self, due_ns: int, now_ns: int) -> None:
        """The next one is dialed."""
        late_ns = now_ns - due_ns
        self._recorder.record("handshake.lag", late_ns)
        self._waited_ns[self.dialed] = late_ns
        self._late_ns = max(self._late_ns, late_ns)
        if self._saturated:  # otherwise it is no more than a pause
            self._own_late_ns = max(self._own_late_ns, now_ns - max(due_ns, self._held_up_until_ns))

    @property
    def dialing(self) -> Dialing:
        """So far."""
        sessions = self.dialed - self._from
        return Dialing(sessions, int(sessions * self._pace_ns), self._late_ns, self._own_late_ns)

    def shakes(self, number: int) -> None:
        """A session's WLC is there, and its handshake begins."""
        self.under_way.begins(number, self._clock())

    def _due_ns(self, number: int) -> int:
        """When session `number` is to be dialed, in the plan's order."""
        return self._from_ns + int((number - self._from) * self._pace_ns)

    def not_dialed(self, number: int, kind: str, error: str) -> None:
        """A session could not even be dialed: it is again, or has failed. Args: error: the counter for that."""
        if not self._redialing.takes(kind, number, self._clock()):
            self._recorder.count(error)
            self._recorder.count("sessions.failed")
            self._waited_ns.pop(number, None)

    def next_wake_ns(self, now_ns: int, tick_ns: int, busy: Container[int]) -> int:
        """When something is to be dialed or asked next. Args: tick_ns: asking more often is not worth it."""
        wake = NEVER_NS
        if self.asker is not None:
            wake = now_ns if self._to_ask else max(self.asker.next_ns(), now_ns + tick_ns)
        wake = min(wake, self._redialing.next_ns())
        if self.dialed == self.wanted or self.under_way.full:  # one that ends wakes us
            return wake
        due_ns = self._due_ns(self.dialed)
        return min(wake, max(due_ns, now_ns + _RETRY_NS) if self.dialed in busy else due_ns)

    # -- asking --------------------------------------------------------------------------------------------------

    def to_ask(self, asker: Asker, now_ns: int) -> Iterator[int]:
        """Numbers of the sessions that owe requests, as far as there is time for them in this turn."""
        until_ns = now_ns + _ASK_BUDGET_NS
        self._to_ask.extend(asker.take_due(now_ns))
        while self._to_ask:
            yield self._to_ask.popleft()
            if self._clock() > until_ns:
                return

    # -- a session -----------------------------------------------------------------------------------------------

    def new_endpoint(self, number: int, started_ns: int, now_ns: int) -> EndpointT:
        """Of a session whose tunnel is up since now."""
        if number in self._waited_ns:
            self._waited_ns[number] += now_ns - started_ns
        endpoint = self._endpoint_class(self._settings, started_ns, number, self.asker, self.notices)
        if self._tells_macs:
            endpoint.mac = mac_bytes(self._plan.mse_macs[self._sessions[number].mse])
        endpoint.start(now_ns)
        return endpoint

    def came_up(self, link: SessionLink, now_ns: int) -> None:
        """The subscription was answered."""
        assert link.endpoint is not None
        self._recorder.count("sessions.established")
        self._recorder.record("handshake.tls", link.tls_ns)  # with TLS 1.3 a refusal comes after our side was done
        self.under_way.ends(link.number, now_ns, up=True)
        if (waited_ns := self._waited_ns.pop(link.number, None)) is not None:
            self._recorder.record("handshake.latency", waited_ns)
        self._recorder.happened("established", now_ns)
        self.reception.open(link.number, link.endpoint.granted)
        if self.presence is not None:
            self.presence.came(link.number, now_ns)
        if self.asker is not None:
            self.asker.open(link.endpoint)

    def granted(self, link: SessionLink, before: int) -> None:
        """A running session's grant has changed, behind so many notifications of what is being taken."""
        assert link.endpoint is not None
        self.reception.regrant(link.number, link.endpoint.granted, before)

    def left(self) -> None:
        """The peer of an active session has closed it in order."""
        self._term.left()

    def gone(self, link: SessionLink, phase: Phase, *, orderly: bool) -> None:
        """A link ended; `phase` is where it stood."""
        self._stop(link, ours=orderly and self.wlcs_are_ours)
        if phase is not ACTIVE:
            self._recorder.count("sessions.failed")
            return
        self._recorder.count("sessions.closed" if orderly else "sessions.lost")
        if self.presence is not None:
            self.presence.went(link.number, self._clock(), "it left" if orderly else "it was lost")

    def withdrawn(self, link: SessionLink) -> None:
        """We ended a link that was being set up."""
        self._stop(link, ours=True)
        self._recorder.count("sessions.withdrawn")

    def closes(self, link: SessionLink, now_ns: int) -> None:
        """We are about to end an active session in order; what it brought is taken."""
        if not self.wlcs_are_ours:  # ours have nothing more under way
            assert link.endpoint is not None
            link.endpoint.left_ns = now_ns

    def withdraw_requests(self, link: SessionLink, now_ns: int) -> None:
        """Before a session ends because we do: what is still asked was not failed."""
        if self.asker is not None and link.endpoint is not None:
            self.asker.leave(link.endpoint, now_ns)

    def settle(self, link: SessionLink) -> None:
        """Nothing comes over a link any more."""
        if (endpoint := link.endpoint) is not None:
            endpoint.settle()
            if endpoint.left_ns is not None:
                self.reception.leave(link.number, endpoint.left_ns)

    def _stop(self, link: SessionLink, *, ours: bool) -> None:
        """Args: ours: a WLC of ours closes in order only when it is told to."""
        self.under_way.ends(link.number, self._clock(), up=False)
        self._waited_ns.pop(link.number, None)
        if (endpoint := link.endpoint) is not None:
            now = self._clock()
            endpoint.stop(now)
            if ours:
                self.withdraw_requests(link, now)
            if self.asker is not None:
                self.asker.close(endpoint)

    # -- peers ---------------------------------------------------------------------------------------------------

    def address(self, number: int) -> tuple[str, int]:
        """Of a session's WLC."""
        return self._addresses[self._sessions[number].wlc]

    def peers(self, book: PeerBook, links: Mapping[int, PeerLink]) -> Iterator[Peer]:
        """All that are wanted, in the plan's order. Args: links: that there are, by number."""
        known = {peer.number: peer for peer in book.peers}
        for number in range(self.wanted):
            yield known.get(number) or Peer(number, self.address(number), links.get(number))

    def owner(self, peer: Peer) -> tuple[int, str]:
        """Which MSE of the plan is at this end, and its MAC."""
        mse = self._sessions[peer.number].mse
        return mse, self._plan.mse_macs[mse]

    # -- the end -------------------------------------------------------------------------------------------------

    @property
    def halting(self) -> bool:
        """The run is about to end: nobody is dialed any more."""
        return self.patience_until_ns != NEVER_NS

    def halt(self) -> None:
        """Dial no more and ask no more; a second call changes nothing."""
        if not self.halting:
            now = self._clock()
            self.patience_until_ns = now + PATIENCE_NS
            self.wanted = self.dialed
            self._recorder.count("sessions.withdrawn", self._redialing.end())
            if self.asker is not None:
                self.asker.stop(now)

    def seen_off(self, links: Iterable[SessionLink], now_ns: int) -> bool:
        """Nobody is being set up any more, or has the time for it, and answers are not waited for either. Those that
        are being set up have until their time is over. After that, WLCs of ours end first: what is up at their end, and
        not yet at ours, is still closed in order, with all that was sent.
        """
        coming = now_ns <= self.patience_until_ns and any(link.phase < ACTIVE for link in links)
        return not coming and (self.asker is None or not self.asker.awaits(now_ns))

    def gives_up(self, now_ns: int) -> bool:
        """Whatever is being set up is to be withdrawn, now that the run halts."""
        return now_ns > self.patience_until_ns and not self.wlcs_are_ours

    def ended_by_wlcs_of_ours(self, link: SessionLink, kind: str) -> bool:
        """A fault is none: our own WLCs have ended, and break off what is being set up."""
        given_up = kind in GIVEN_UP or kind == "refused"
        return self.halting and self.wlcs_are_ours and link.phase < ACTIVE and given_up

    def dials_again(self, link: SessionLink, kind: str) -> bool:
        """A fault is none: nobody was there yet, and the session is dialed again."""
        again = self._redialing.takes(kind, link.number, self._clock())
        if again:
            self.under_way.ends(link.number, self._clock(), up=False)
        return again
