"""Handshake-only load over DTLS: MSEs that shake hands and say goodbye, and the WLCs that let them."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import trio
from OpenSSL import SSL

from loadgen.drive.aaa import Aaa
from loadgen.drive.dtls import LATE_NS, TICK_NS, DtlsLink
from loadgen.drive.dtls_accept import AcceptingDriver
from loadgen.drive.dtls_dial import DialingDriver
from loadgen.drive.equipment import Equipment
from loadgen.drive.handshake_load import LONG_UNFINISHED_NS, HandshakeLoad
from loadgen.drive.phase import CLOSED, HANDSHAKING, SETTING_UP, Phase
from loadgen.scenario.schedule import RateStage
from loadgen.transport.dtls import Association
from loadgen.transport.tls import EndOfStream, TransportFault
from loadgen.units import NEVER_NS, NS_PER_S


class DtlsHandshake(DtlsLink):
    """An association of an MSE that wants nothing else. See `handshake_load.Handshake`."""

    __slots__ = ("due_ns", "index", "service_ns", "stage", "tls_ns")

    def __init__(self, number: int, index: int, due_ns: int, stage: str, started_ns: int, made: Association) -> None:
        super().__init__(made, number, started_ns)
        self.index, self.due_ns, self.stage = index, due_ns, stage
        self.tls_ns = self.service_ns = 0


class DtlsHandshakeMseDriver(DialingDriver[DtlsHandshake]):
    """The handshakes of one worker: session by session of its share, round and round."""

    phase_names: ClassVar[dict[Phase, str]] = {HANDSHAKING: "tls", SETTING_UP: "tls"}

    def __init__(
        self,
        equipment: Equipment,
        addresses: Sequence[tuple[str, int]],
        contexts: Sequence[SSL.Context],
    ) -> None:
        super().__init__(equipment, addresses, contexts)
        self.load = HandshakeLoad(equipment)
        self._dialed = 0  # of all loads
        self._finishing = False

    def start_load(self, at_ns: int, stages: Sequence[RateStage]) -> None:
        super().start_load(at_ns, stages)
        self.load.start(at_ns, stages)

    def halt(self) -> None:
        self.load.halt()
        self.wake(self.clock())

    def finish(self) -> None:
        self.halt()
        self._finishing = True

    def next_wake_ns(self, now_ns: int) -> int:
        return self.load.next_ns(now_ns, len(self.links), TICK_NS)

    async def on_tick(self, now_ns: int) -> None:
        for due_ns in self.load.to_begin(now_ns, self.links, behind=self.late_ns > LATE_NS):
            self._dial(due_ns)
        if self.load.is_over(now_ns):
            self._wind_up(now_ns)

    def totals(self, now_ns: int) -> dict[str, int]:
        return super().totals(now_ns) | self.load.totals(now_ns)

    def _dial(self, due_ns: int) -> None:
        now = self.clock()
        index, stage = self.load.begin(due_ns, now)
        number = index % len(self.sessions)
        self._dialed += 1
        try:
            made = partial(DtlsHandshake, number, index, due_ns, stage, now)
            link = self.dial(self._dialed, number, made)
        except TransportFault as error:
            self.load.not_begun(f"errors.tls.{error.kind}", now)
            return
        if (ticket := self.load.ticket_for(number, index)) is not None:
            link.association.resume(ticket)

    def _wind_up(self, now_ns: int) -> None:
        """Nothing more is dialed: end once what is under way has ended, or was given time to."""
        if self.load.has_waited(now_ns):
            for link in list(self.links):
                self.withdraw(link)
        if not self.links:
            if self.load.halted:
                self.halted.set()
            if not self.load_over.is_set():
                self.end_load()
            self.finished = self._finishing

    def on_tunnel(self, link: DtlsHandshake, now_ns: int) -> None:
        # The WLC's Finished came behind what it made of our certificate: we are let in.
        link.tls_ns = link.service_ns = now_ns - link.started_ns
        self.load.complete(link, link.association.ticket, resumed=link.association.resumed)
        self.end(link, orderly=True)

    async def converse(self, link: DtlsHandshake, now_ns: int) -> None:
        """Nothing is said; the goodbye is on its way."""

    def let_go(self, link: DtlsHandshake) -> None:
        self.wake(self.clock())  # there is room for another one

    def on_gone(self, link: DtlsHandshake, phase: Phase, *, orderly: bool) -> None:
        self.load.ended(link, orderly=orderly)

    def on_withdrawn(self, link: DtlsHandshake) -> None:
        self.recorder.count("handshakes.withdrawn")


class DtlsHandshakeWlcDriver(AcceptingDriver[DtlsLink]):
    """WLCs of which nothing is wanted but a handshake. They let the MSE say goodbye first."""

    phase_names: ClassVar[dict[Phase, str]] = {HANDSHAKING: "accept", SETTING_UP: "close"}

    def __init__(
        self,
        equipment: Equipment,
        sockets: Sequence[socket.socket],
        contexts: Sequence[SSL.Context],
        aaa: Aaa | None = None,
    ) -> None:
        super().__init__(equipment, sockets, contexts, aaa, equipment.plan.load.concurrency)
        self._finishing = False

    def new_link(self, association: Association, number: int, now_ns: int) -> DtlsLink:
        if not self.dialed_by_us:
            self.recorder.count("handshakes.attempted")
        return DtlsLink(association, number, now_ns)

    def halt(self) -> None:
        self.halted.set()  # this side begins nothing

    def finish(self) -> None:
        self.halt()
        self._finishing = True
        self.end_load()
        self.wake(self.clock())

    def next_wake_ns(self, now_ns: int) -> int:
        return now_ns if self._finishing and not self.closing else NEVER_NS

    async def on_tick(self, now_ns: int) -> None:
        if self._finishing and not self.closing:
            self.close_all()
        self.finished = self.closing and not self.links

    def on_tunnel(self, link: DtlsLink, now_ns: int) -> None:
        super().on_tunnel(link, now_ns)
        if self.dialed_by_us:
            return
        resumed = link.association.resumed
        self.recorder.record("handshake.tls_resumed" if resumed else "handshake.tls", now_ns - link.started_ns)
        self.recorder.count("handshakes.completed")
        if resumed:
            self.recorder.count("handshakes.resumed")
        self.recorder.happened("completed", now_ns)

    async def converse(self, link: DtlsLink, now_ns: int) -> None:
        """Wait for the goodbye, which may be lost. Whoever comes again from the same address has gone, too."""
        with trio.move_on_after(self.plan.mse.setup_timeout / NS_PER_S):
            try:
                while True:
                    await link.association.receive()
            except EndOfStream:
                self.end(link, orderly=True)
            except TransportFault as fault:
                if fault.kind != "replaced":
                    raise
                self.end(link, orderly=True)
        if link.phase is not CLOSED:
            raise TransportFault("timeout")

    def on_gone(self, link: DtlsLink, phase: Phase, *, orderly: bool) -> None:
        if not self.dialed_by_us and phase < SETTING_UP:
            self.recorder.count("handshakes.failed")

    def withdraw(self, link: DtlsLink) -> None:
        if not self.dialed_by_us and link.phase is HANDSHAKING:
            self.recorder.count("handshakes.withdrawn")
            if self.clock() - link.started_ns > LONG_UNFINISHED_NS:
                self.recorder.count("handshakes.unfinished")
        super().withdraw(link)

    def on_withdrawn(self, link: DtlsLink) -> None:
        """Of a session; there is none."""
