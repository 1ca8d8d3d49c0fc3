"""Handshake-only load over TLS: MSEs that connect, shake hands and hang up, and the WLCs that let them."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import ClassVar

from OpenSSL import SSL

from loadgen.drive.aaa import Aaa
from loadgen.drive.equipment import Equipment
from loadgen.drive.handshake_load import LONG_UNFINISHED_NS, HandshakeLoad
from loadgen.drive.phase import CONNECTING, GIVEN_UP, HANDSHAKING, SETTING_UP, Phase
from loadgen.drive.tls import MIN_TICK_NS
from loadgen.drive.tls_accept import ListeningShard, WlcLink
from loadgen.drive.tls_dial import DialingShard, MseLink
from loadgen.scenario.schedule import RateStage
from loadgen.transport.tls import TransportFault, Tunnel
from loadgen.units import NEVER_NS


class HandshakeMseShard(DialingShard):
    """The handshakes of one worker: session by session of its share, round and round."""

    phase_names: ClassVar[dict[Phase, str]] = {
        CONNECTING: "tcp",
        HANDSHAKING: "tls",
        # With TLS 1.3 the client is done before the server has seen its certificate: the refusal comes here.
        SETTING_UP: "tls",
    }

    def __init__(
        self,
        equipment: Equipment,
        addresses: Sequence[tuple[str, int]],
        contexts: Sequence[SSL.Context],
    ) -> None:
        super().__init__(equipment, addresses, contexts)
        self.load = HandshakeLoad(equipment)
        self._confirmed = equipment.plan.tls.version == "1.3"
        self._finishing = False

    def start_load(self, at_ns: int, stages: Sequence[RateStage]) -> None:
        super().start_load(at_ns, stages)
        self.load.start(at_ns, stages)

    def halt(self) -> None:
        self.load.halt()

    def finish(self) -> None:
        self.halt()
        self._finishing = True

    def next_wake_ns(self, now_ns: int) -> int:
        return self.load.next_ns(now_ns, len(self.links), MIN_TICK_NS)

    def on_turn(self, now_ns: int) -> None:
        for due_ns in self.load.to_begin(now_ns, self.links, behind=self.handshakes_wait):
            self._dial(due_ns)
        if self.load.is_over(now_ns):
            self._wind_up(now_ns)

    def totals(self, now_ns: int) -> dict[str, int]:
        return self.load.totals(now_ns)

    def _dial(self, due_ns: int) -> None:
        now = self.clock()
        index, stage = self.load.begin(due_ns, now)
        try:
            link = self.dial(index % len(self.sessions), now)
            link.index, link.due_ns, link.stage = index, due_ns, stage
        except TransportFault as error:
            self.load.not_begun(f"errors.tcp.{error.kind}", now)

    def _wind_up(self, now_ns: int) -> None:
        """Nothing more is dialed: end once what is under way has ended, or was given time to."""
        if self.load.has_waited(now_ns):
            for link in list(self.links.values()):
                self.withdraw(link, now_ns)
        if not self.links:
            if self.load.halted:
                self.halted.set()
            self.end_load()
            self.finished = self._finishing

    # -- links ---------------------------------------------------------------------------------------------------

    def new_tunnel(self, link: MseLink) -> Tunnel:
        tunnel = super().new_tunnel(link)
        if (ticket := self.load.ticket_for(link.number, link.index)) is not None:
            tunnel.resume(ticket)
        return tunnel

    def on_tunnel(self, link: MseLink, now_ns: int) -> None:
        assert link.tunnel is not None
        link.tls_ns, link.service_ns = now_ns - link.tls_started_ns, now_ns - link.started_ns
        link.tunnel.close_notify()
        if self._confirmed:
            link.tunnel.hang_up()  # some servers wait for that before they close
        else:
            # The server has let us in, and may have broken off behind that; what comes later nobody waits for. A server
            # that ends in order takes our goodbye, though its kernel may answer it with a reset.
            if kind := link.tunnel.broken:
                self.recorder.count(f"errors.close.{kind}")
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
        if kind == "reset" and link.phase is SETTING_UP and self._confirmed and self._given_ticket(link):
            self._let_in(link)
        else:
            super().fault(link, kind)

    def _given_ticket(self, link: MseLink) -> bool:
        return link.tunnel is not None and link.tunnel.ticket() is not None

    def _let_in(self, link: MseLink) -> None:
        self._complete(link)

    def _complete(self, link: MseLink) -> None:
        assert link.tunnel is not None
        self.load.complete(link, link.tunnel.ticket, resumed=link.tunnel.resumed)
        self.end(link, orderly=True)

    def on_gone(self, link: MseLink, phase: Phase, *, orderly: bool) -> None:
        self.load.ended(link, orderly=orderly)

    def on_withdrawn(self, link: MseLink, phase: Phase) -> None:
        self.recorder.count("handshakes.withdrawn")


class HandshakeWlcShard(ListeningShard[WlcLink]):
    """WLCs of which nothing is wanted but a handshake. They let the MSE hang up first."""

    link_class = WlcLink
    phase_names: ClassVar[dict[Phase, str]] = {
        HANDSHAKING: "accept",
        SETTING_UP: "close",
    }

    def __init__(
        self,
        equipment: Equipment,
        listeners: Sequence[socket.socket],
        contexts: Sequence[SSL.Context],
        aaa: Aaa | None = None,
    ) -> None:
        plan = equipment.plan
        super().__init__(equipment, listeners, contexts, aaa, plan.load.concurrency)
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
        if link.phase is not SETTING_UP:
            return False
        link.tunnel.close_notify()
        self.end(link, orderly=True)
        return True

    def on_gone(self, link: WlcLink, phase: Phase, *, orderly: bool) -> None:
        if self._counting and phase < SETTING_UP:
            self.recorder.count("handshakes.failed")

    def on_withdrawn(self, link: WlcLink, phase: Phase) -> None:
        if self._counting and phase < SETTING_UP:
            self.recorder.count("handshakes.withdrawn")
            if self.clock() - link.tls_started_ns > LONG_UNFINISHED_NS:
                self.recorder.count("handshakes.unfinished")

    def fault(self, link: WlcLink, kind: str) -> None:
        if not self._counting and self.halted.is_set() and kind in GIVEN_UP:
            self.withdraw(link, self.clock())  # our own MSEs have withdrawn it: they end first
        else:
            super().fault(link, kind)
