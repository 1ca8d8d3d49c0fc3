"""Handshake-only load: MSEs that connect, shake hands and hang up, and the WLCs that let them.

With a rate, handshake i is due at a time known before the run; without one, a fixed number is always under way.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import ClassVar

from OpenSSL import SSL

from loadgen.drive.aaa import Aaa
from loadgen.drive.equipment import Equipment
from loadgen.drive.phase import GIVEN_UP, Phase
from loadgen.drive.tls import MIN_TICK_NS
from loadgen.drive.tls_accept import ListeningShard, WlcLink
from loadgen.drive.tls_dial import DialingShard, MseLink
from loadgen.scenario.schedule import RateStage, Share
from loadgen.transport.tls import TransportFault, Tunnel
from loadgen.units import NEVER_NS, NS_PER_MS, NS_PER_S

# A turn that has fallen behind must still go on with the handshakes that are under way.
_DIAL_BUDGET_NS = 5 * NS_PER_MS
# As fast as it goes is not as fast as dialing fails: out of ports or descriptors, the next try waits for so long.
_REST_NS = 10 * NS_PER_MS
# Cut off in the middle, a handshake would look like a fault to the WLC.
_PATIENCE_NS = 2 * NS_PER_S


def resumes(index: int, sessions: int, share: float) -> bool:
    """Whether handshake `index` of sessions that take turns shall resume: each session's share, and each turn's."""
    rank = sum(divmod(index, sessions))  # goes up by one from session to session, and from turn to turn
    return int((rank + 1) * share) > int(rank * share)


class HandshakeMseShard(DialingShard):
    """The handshakes of one worker: session by session of its share, round and round."""

    phase_names: ClassVar[dict[Phase, str]] = {
        Phase.CONNECTING: "tcp",
        Phase.HANDSHAKING: "tls",
        # With TLS 1.3 the client is done before the server has seen its certificate: the refusal comes here.
        Phase.SETTING_UP: "tls",
    }

    def __init__(
        self,
        equipment: Equipment,
        addresses: Sequence[tuple[str, int]],
        contexts: Sequence[SSL.Context],
    ) -> None:
        super().__init__(equipment, addresses, contexts)
        plan, share = equipment.plan, equipment.share
        self._share, self._schedule = share, share.schedule
        self._to_unix_ns = equipment.to_unix_ns
        self._paced = plan.paced
        self._backlog_ns = plan.backlog_ns
        self._resumed = plan.resumed
        self._confirmed = plan.tls.version == "1.3"
        self._at_once = len(range(share.worker, plan.concurrency, share.workers))
        # Of each session that has completed a handshake: what the next one may resume, if the target gave anything.
        self._tickets: dict[int, SSL.Session | None] = {}
        self._start_ns = NEVER_NS
        self._stop_at_ns = NEVER_NS
        self._done = 0  # dialed or dropped; the index of the next one among ours
        self._dropped = self._own_dropped = 0
        self._past_due = 0  # of earlier loads
        self._finishing = False
        self._rest_until_ns = 0
        # As many as allowed were under way when we last looked: what is due since then waits; and until when they were.
        self._held_up, self._held_up_until_ns = False, 0

    def start_load(self, at_ns: int, stages: Sequence[RateStage]) -> None:
        super().start_load(at_ns, stages)
        self._past_due += self._due(at_ns)
        self._schedule = self.plan.schedule(stages)
        self._share = Share(self._schedule, self.worker, self.workers)
        self._start_ns, self._stop_at_ns = at_ns, NEVER_NS
        self._done, self._held_up, self._held_up_until_ns = 0, False, 0

    def halt(self) -> None:
        self._stop_at_ns = min(self._stop_at_ns, self.clock())

    def finish(self) -> None:
        self.halt()
        self._finishing = True

    def next_wake_ns(self, now_ns: int) -> int:
        if len(self.links) >= self._at_once:
            return NEVER_NS
        if now_ns >= self._end_ns():
            return now_ns + MIN_TICK_NS if self._owed(now_ns) else NEVER_NS
        if not self._paced:
            return max(self._start_ns, self._rest_until_ns, now_ns)
        slot = self._share.slot(self._done)
        if slot >= self._schedule.slots:
            return NEVER_NS
        return max(self._start_ns + self._schedule.due_ns(slot), now_ns + MIN_TICK_NS)

    def on_turn(self, now_ns: int) -> None:
        if now_ns >= self._start_ns:
            if self._paced:
                self._dial_due(now_ns)
            else:
                self._dial_all(now_ns)
        if now_ns >= self._end_ns() and not self._owed(now_ns):
            self._wind_up(now_ns)

    def totals(self, now_ns: int) -> dict[str, int]:
        if not self._paced:
            return {}
        return {
            "handshakes.due": self._past_due + self._due(now_ns),
            "handshakes.dropped": self._dropped,
            "generator.shortfall": self._own_dropped,
        }

    # -- when ----------------------------------------------------------------------------------------------------

    def _end_ns(self) -> int:
        return min(self._start_ns + self._schedule.duration_ns, self._stop_at_ns)

    def _due(self, now_ns: int) -> int:
        """How many of ours are due."""
        return self._share.own(self._schedule.count_at(min(now_ns, self._stop_at_ns) - self._start_ns))

    def _owed(self, now_ns: int) -> int:
        if not self._paced or self._stop_at_ns <= now_ns:
            return 0
        return self._due(now_ns) - self._done

    def _dial_due(self, now_ns: int) -> None:
        if self._held_up:
            self._held_up_until_ns = now_ns
        due = self._due(now_ns)
        expired = self._share.own(self._schedule.count_at(now_ns - self._backlog_ns - self._start_ns))
        self._drop_until(min(expired, due))
        while self._done < due and len(self.links) < self._at_once:
            if self.clock() > now_ns + _DIAL_BUDGET_NS:
                break
            self._dial(self._start_ns + self._schedule.due_ns(self._share.slot(self._done)))
        self._held_up = len(self.links) >= self._at_once and not self.handshakes_wait

    def _drop_until(self, index: int) -> None:
        if index <= self._done:
            return
        self._dropped += index - self._done
        if not self._held_up:  # what was due while we were may have waited for the peer for all the time that it had
            theirs = self._share.own(self._schedule.count_at(self._held_up_until_ns - self._start_ns))
            self._own_dropped += max(0, index - max(self._done, theirs))
        self._done = index

    def _dial_all(self, now_ns: int) -> None:
        until = min(self._end_ns(), now_ns + _DIAL_BUDGET_NS)
        while len(self.links) < self._at_once and self._rest_until_ns <= (now := self.clock()) < until:
            self._dial(now)

    def _dial(self, due_ns: int) -> None:
        now = self.clock()
        stage = self.recorder.stages.at(due_ns + self._to_unix_ns)
        if self._paced:
            self.recorder.record("handshake.lag", now - due_ns, stage)
            if not self._held_up:
                self.recorder.record("generator.lag", now - max(due_ns, self._held_up_until_ns), stage)
        self.recorder.count("handshakes.attempted")
        index, self._done = self._done, self._done + 1
        try:
            link = self.dial(index % len(self.sessions), now)
            link.index, link.due_ns, link.stage = index, due_ns, stage
        except TransportFault as error:
            self.recorder.count(f"errors.tcp.{error.kind}")
            self.recorder.count("handshakes.failed")
            self._rest_until_ns = now + _REST_NS

    def _wind_up(self, now_ns: int) -> None:
        """Nothing more is dialed: end once what is under way has ended, or was given time to."""
        if self._paced:
            self._drop_until(self._due(now_ns))
        if self._stop_at_ns + _PATIENCE_NS <= now_ns:
            for link in list(self.links.values()):
                self.withdraw(link, now_ns)
        if not self.links:
            if self._stop_at_ns != NEVER_NS:
                self.halted.set()
            self.end_load()
            self.finished = self._finishing

    # -- links ---------------------------------------------------------------------------------------------------

    def new_tunnel(self, link: MseLink) -> Tunnel:
        tunnel = super().new_tunnel(link)
        if link.number in self._tickets and resumes(link.index, len(self.sessions), self._resumed):
            self.recorder.count("handshakes.resumption_asked")
            if (ticket := self._tickets[link.number]) is not None:
                self.recorder.count("handshakes.resumption_offered")
                tunnel.resume(ticket)
        return tunnel

    def on_tunnel(self, link: MseLink, now_ns: int) -> None:
        assert link.tunnel is not None
        link.tls_ns, link.service_ns = now_ns - link.tls_started_ns, now_ns - link.started_ns
        link.tunnel.close_notify()
        if self._confirmed:
            link.tunnel.hang_up()  # some servers wait for that before they close
        else:
            self._complete(link)

    def on_end_of_stream(self, link: MseLink, *, orderly: bool) -> bool:
        # The server read our certificate, and our goodbye, and had no alert to send. A connection that just ends shows
        # that only behind a ticket, which comes from a server that was done; one that never looked would end it, too.
        if not orderly and not self._given_ticket(link):
            return False
        self._let_in(link)
        return True

    def fault(self, link: MseLink, kind: str) -> None:
        # A server that ends at once may do so before our goodbye has come: to that its kernel answers with a reset.
        if kind == "reset" and link.phase is Phase.SETTING_UP and self._confirmed and self._given_ticket(link):
            self._let_in(link)
        else:
            super().fault(link, kind)

    def _given_ticket(self, link: MseLink) -> bool:
        return link.tunnel is not None and link.tunnel.ticket() is not None

    def _let_in(self, link: MseLink) -> None:
        self._complete(link)

    def _complete(self, link: MseLink) -> None:
        """The server has let us in: only now its times are those of a handshake, and of when TLS was done."""
        assert link.tunnel is not None
        metric = "handshake.tls"
        if self._resumed:
            if link.tunnel.resumed:
                metric = "handshake.tls_resumed"
                self.recorder.count("handshakes.resumed")
            self._tickets[link.number] = link.tunnel.ticket() or self._tickets.get(link.number)
        self.recorder.record(metric, link.tls_ns, link.stage)
        self.recorder.record("handshake.service", link.service_ns, link.stage)
        if self._paced:
            waited_ns = link.started_ns - link.due_ns
            self.recorder.record("handshake.latency", waited_ns + link.service_ns, link.stage)
        due_ns = link.due_ns + self._to_unix_ns
        self.recorder.wait("handshake", link.stage, due_ns, self.clock() - link.due_ns)
        self.end(link, orderly=True)

    def on_gone(self, link: MseLink, phase: Phase, *, orderly: bool) -> None:
        self.recorder.count("handshakes.completed" if orderly else "handshakes.failed")
        if not self._paced:
            now = self.clock()
            self.recorder.went_on("handshake", link.stage, link.due_ns + self._to_unix_ns, now + self._to_unix_ns)

    def on_withdrawn(self, link: MseLink, phase: Phase) -> None:
        self.recorder.count("handshakes.withdrawn")


class HandshakeWlcShard(ListeningShard[WlcLink]):
    """WLCs of which nothing is wanted but a handshake. They let the MSE hang up first."""

    link_class = WlcLink
    phase_names: ClassVar[dict[Phase, str]] = {
        Phase.HANDSHAKING: "accept",
        Phase.SETTING_UP: "close",
    }

    def __init__(
        self,
        equipment: Equipment,
        listeners: Sequence[socket.socket],
        contexts: Sequence[SSL.Context],
        aaa: Aaa | None = None,
    ) -> None:
        plan = equipment.plan
        super().__init__(equipment, listeners, contexts, aaa, plan.concurrency)
        self.listen(len(listeners))
        # Counted where the handshake begins: here only if the MSEs are somebody else's.
        self._counting = not plan.use.plays_mse
        self._finishing = False

    def finish(self) -> None:
        self.halt()
        self._finishing = True
        self.end_load()

    def next_wake_ns(self, now_ns: int) -> int:
        return NEVER_NS

    def on_turn(self, now_ns: int) -> None:
        super().on_turn(now_ns)
        if self._finishing:
            self.stop_listening()
            for link in list(self.links.values()):
                self.withdraw(link, now_ns)
            self.finished = True

    def on_accepted(self, sock: socket.socket, link: WlcLink) -> None:
        link.tunnel = self.accept(self._contexts[link.number], sock, link)
        if self._counting:
            self.recorder.count("handshakes.attempted")

    def on_tunnel(self, link: WlcLink, now_ns: int) -> None:
        super().on_tunnel(link, now_ns)
        assert link.tunnel is not None
        if not self._counting:
            return
        resumed = link.tunnel.resumed
        self.recorder.record("handshake.tls_resumed" if resumed else "handshake.tls", now_ns - link.tls_started_ns)
        self.recorder.count("handshakes.completed")
        if resumed:
            self.recorder.count("handshakes.resumed")
        self.recorder.happened("completed", now_ns)

    def on_end_of_stream(self, link: WlcLink, *, orderly: bool) -> bool:
        assert link.tunnel is not None
        if link.phase is not Phase.SETTING_UP:
            return False
        link.tunnel.close_notify()
        self.end(link, orderly=True)
        return True

    def on_gone(self, link: WlcLink, phase: Phase, *, orderly: bool) -> None:
        if self._counting and phase < Phase.SETTING_UP:
            self.recorder.count("handshakes.failed")

    def on_withdrawn(self, link: WlcLink, phase: Phase) -> None:
        if self._counting and phase < Phase.SETTING_UP:
            self.recorder.count("handshakes.withdrawn")

    def fault(self, link: WlcLink, kind: str) -> None:
        if not self._counting and self.halted.is_set() and kind in GIVEN_UP:
            self.withdraw(link, self.clock())  # our own MSEs have withdrawn it: they end first
        else:
            super().fault(link, kind)
