"""What drivers of WLCs with sessions over DTLS have in common, whatever they notify of."""

from __future__ import annotations

import socket
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, TypeVar

from OpenSSL import SSL

from loadgen.drive.aaa import Aaa
from loadgen.drive.dtls import DtlsLink
from loadgen.drive.dtls_accept import AcceptingDriver
from loadgen.drive.equipment import Equipment
from loadgen.drive.peers import Peer
from loadgen.drive.phase import ACTIVE, CLOSED, HANDSHAKING, SETTING_UP, Phase
from loadgen.drive.wlc_sessions import WlcSessions, was_refused
from loadgen.scenario.schedule import RateStage
from loadgen.session.datagrams import DatagramWlcEndpoint
from loadgen.session.directory import Directory
from loadgen.session.wlc import NOTHING_GRANTED


class ServedLink(DtlsLink):
    """An association with one of our WLCs."""

    endpoint: DatagramWlcEndpoint | None

    __slots__ = ()


ServedLinkT = TypeVar("ServedLinkT", bound=ServedLink)


class ServingDriver(AcceptingDriver[ServedLinkT]):
    """The controllers of one worker."""

    phase_names: ClassVar[dict[Phase, str]] = {
        HANDSHAKING: "accept",
        SETTING_UP: "accept",
        ACTIVE: "serve",
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
        self.loaded = False  # a load was put on
        self.finishing = False
        self.belated: list[ServedLinkT] = []  # sessions that came up after their user was dismissed
        # A datagram is never held up by its receiver: all lateness is the generator's.
        self.lag = equipment.recorder.gather([("notify.lag", "generator.lag")], "sent")

    @abstractmethod
    def directory_of(self, position: int) -> Directory:
        """What the WLC at this position answers from."""

    @abstractmethod
    def stop_load(self, at_ns: int) -> None:
        """Nothing more becomes due from `at_ns` on."""

    def start_load(self, at_ns: int, stages: Sequence[RateStage]) -> None:
        super().start_load(at_ns, stages)
        self.loaded = True
        self.wlcs.start_load(at_ns, stages)

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
        self.finishing = True
        now = self.clock()
        self.stop_load(now)
        self.wlcs.end_load()
        self.wake(now)

    @property
    def in_hurry(self) -> bool:
        """There is something to see to at once."""
        return bool(self.belated) or (self.finishing and not self.closing)

    def close_when_over(self) -> None:
        """Told to finish, and with no load going on: close what is up; once that is gone, this is finished."""
        while self.belated:
            self.withdraw(self.belated.pop())
        if self.finishing and not self.closing and (self.load_over.is_set() or not self.loaded):
            self.close_all()
        self.finished = self.closing and not self.links

    def on_tunnel(self, link: ServedLinkT, now_ns: int) -> None:
        super().on_tunnel(link, now_ns)
        self.wlcs.shaken(now_ns - link.started_ns)
        link.endpoint = DatagramWlcEndpoint(self._settings, link.started_ns, self.directory_of(link.number))
        self.wlcs.start(link.endpoint, link.number, now_ns)
        self.book.join(link, link.number, link.association.peer_address)

    async def on_datagram(self, link: ServedLinkT, data: bytes, now_ns: int) -> None:
        self.receiver.view[: len(data)] = data
        self.take_untrusted(link, 0, len(data), now_ns)
        self.receiver.reset()
        await self.on_taken(link)
        if link.phase is not CLOSED:
            await self.attend(link, now_ns)

    async def on_taken(self, link: ServedLinkT) -> None:
        """What a datagram brought was taken, and is not answered yet."""

    def on_active(self, link: ServedLinkT, now_ns: int) -> None:
        self.wlcs.came_up(link.number, link.started_ns, now_ns)
        if self.wlcs.dismisses(link.number, ACTIVE):
            self.belated.append(link)
            self.wake(now_ns)

    def withdraw(self, link: ServedLinkT) -> None:
        if was_refused(link.phase, link.endpoint):
            self.fault(link, NOTHING_GRANTED)
        super().withdraw(link)

    def on_left(self) -> None:
        self.wlcs.left()

    def on_withdrawn(self, link: ServedLinkT) -> None:
        self.wlcs.withdrawn()

    def on_gone(self, link: ServedLinkT, phase: Phase, *, orderly: bool) -> None:
        if link.endpoint is not None:  # over datagrams nothing comes any more once a link is gone
            link.endpoint.stop(self.clock())
            link.endpoint.settle()
        self.wlcs.gone(link.number, link.association.peer_address[0], phase, orderly=orderly)

    def owner(self, peer: Peer) -> tuple[int, str]:
        return self.wlcs.owner(peer)
