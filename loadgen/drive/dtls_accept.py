"""Drivers that play WLCs over DTLS: whoever comes to one of their sockets becomes an association."""

from __future__ import annotations

import socket
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import trio
from OpenSSL import SSL

from loadgen.drive.aaa import Aaa, Admission, count_verified
from loadgen.drive.dtls import DtlsDriver, DtlsLinkT
from loadgen.drive.equipment import Equipment
from loadgen.drive.peers import server_statistics
from loadgen.drive.phase import HANDSHAKING
from loadgen.drive.strangers import SILENT, Strangers
from loadgen.scenario.plan import Use
from loadgen.transport.dtls import Association, endpoint_of
from loadgen.transport.tls import TransportFault

# Clients whose hellos are remembered; one that repeats its own after that many others counts once more.
_MOST_UNMET = 4096
# It is refused within one call; nobody is waited for.
_ANSWER_S = 1.0


class AcceptingDriver(DtlsDriver[DtlsLinkT]):
    """A driver whose associations come in.

    Attributes:
        dialed_by_us: a worker of ours counts what is counted where a link begins.
        closing: nobody is let in any more.
    """

    def __init__(
        self,
        equipment: Equipment,
        sockets: Sequence[socket.socket],
        contexts: Sequence[SSL.Context],
        aaa: Aaa | None,
        planned: int,
    ) -> None:
        """Args:
        sockets, contexts: of each of the worker's WLCs, in order.
        aaa: None lets everybody in.
        planned: handshakes that may be under way at once, if all goes by the plan.
        """
        super().__init__(equipment)
        self._aaa = aaa
        self._contexts = contexts
        self.strangers = Strangers[DtlsLinkT](planned)
        self._endpoints = [endpoint_of(sock) for sock in sockets]
        self.dialed_by_us = equipment.plan.use.plays_mse
        self.tells_groups = not self.dialed_by_us
        self.closing = False
        self._begun = 0  # WLCs that let clients in, or have done so
        self._wanted = 0 if self._come_later else len(sockets)  # the first of them do now
        self._unmet: dict[int, None] = {}  # hellos that were refused as they stood, the latest last

    @abstractmethod
    def new_link(self, association: Association, number: int, now_ns: int) -> DtlsLinkT:
        """Somebody has come to the worker's WLC of this number; counted as an attempt where it is nobody else's."""

    @property
    def _come_later(self) -> bool:
        """Users are WLCs: none is there before it was mustered."""
        return bool(self.plan.sessions_per_user) and self.plan.use is Use.SERVE_WLC

    def begin(self) -> None:
        self._serve()

    def let_in(self, count: int) -> None:
        """Only the first so many WLCs are there; nobody answers for the others."""
        self._wanted = count
        self._serve()

    def _serve(self) -> None:
        for number in range(self._begun, self._wanted):
            self.nursery.start_soon(
                self._endpoints[number].serve, self._contexts[number], partial(self._accepted, number)
            )
        self._begun = max(self._begun, self._wanted)

    def endpoints(self) -> list[trio.DTLSEndpoint]:
        return self._endpoints

    def shut(self) -> None:
        for endpoint in self._endpoints:
            endpoint.close()
        self._endpoints = []

    async def _accepted(self, number: int, channel: trio.DTLSChannel) -> None:
        """An association with one of our WLCs, from the cookie to its end."""
        if self.closing or number >= self._wanted:
            return
        admission = None if self._aaa is None else Admission(self._aaa, self.recorder)
        association = Association(channel, self.plan.dtls.mtu, admission)
        if association.hello in self._unmet:  # its client has not heard why, or does not care
            with suppress(TransportFault):
                await association.handshake(_ANSWER_S, _ANSWER_S)
            association.close()
            return
        now = self.clock()
        self.recorder.count("accept.attempts")
        link = self.new_link(association, number, now)
        if self.tracer is not None:
            patient = self._aaa is not None and self._aaa.takes_time
            association.observer = self.tracer.observer(number, association.peer_address, patient=patient)
        self._await_word(link, now)
        await self.live(link)

    def _await_word(self, link: DtlsLinkT, now_ns: int) -> None:
        """One more stranger. Not a part of `_accepted`, which would keep the one that had to go for as long as its own
        association lives.
        """
        self.strangers.await_word(link, now_ns)
        for stranger in self.strangers.too_many(now_ns):
            self.fault(stranger, SILENT)

    def part(self, link: DtlsLinkT) -> None:
        self.strangers.forget(link)
        super().part(link)

    def on_tunnel(self, link: DtlsLinkT, now_ns: int) -> None:
        self.strangers.forget(link)
        self.recorder.count("accept.success")
        count_verified(self.recorder, link.association.verified)

    def end(self, link: DtlsLinkT, *, orderly: bool) -> None:
        if link.association.unmet:
            self._unmet[link.association.hello] = None
            if len(self._unmet) > _MOST_UNMET:
                del self._unmet[next(iter(self._unmet))]
        if link.phase is HANDSHAKING:
            count_verified(self.recorder, link.association.verified)
            self.recorder.count("accept.fail" if link.association.refusal is None else "accept.reject")
        super().end(link, orderly=orderly)

    def withdraw(self, link: DtlsLinkT) -> None:
        if link.phase is HANDSHAKING:
            count_verified(self.recorder, link.association.verified)
            self.recorder.count("accept.withdrawn")
        super().withdraw(link)

    def close_all(self) -> None:
        """End all links in order, but for those whose handshakes have failed already."""
        self.closing = True
        for link in list(self.links):
            if link.phase is HANDSHAKING and (kind := link.association.failure) is not None:
                self.fault(link, kind)
            else:
                self.withdraw(link)

    def statistics(self) -> dict[str, int]:
        return super().statistics() | server_statistics(self.recorder)
