"""The MSE side of a worker over TLS: dials, reads, and writes what `mse_sessions` has to say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from OpenSSL import SSL

from loadgen.drive.equipment import Equipment
from loadgen.drive.mse_sessions import PATIENCE_NS, MseSessions
from loadgen.drive.peers import Peer
from loadgen.drive.phase import ACTIVE, CLOSING, CONNECTING, HANDSHAKING, SETTING_UP, Phase
from loadgen.drive.tls import MIN_TICK_NS
from loadgen.drive.tls_dial import MseLink
from loadgen.drive.tls_reading import ReadingShard
from loadgen.nmsp.bulk import Columns
from loadgen.results.health import Dialing
from loadgen.scenario.schedule import RateStage
from loadgen.session.asking import Asker
from loadgen.session.mse import MseEndpoint
from loadgen.session.reception import Chunks
from loadgen.transport.address import host_and_port
from loadgen.transport.tls import TransportFault
from loadgen.units import NEVER_NS

_DIALS_PER_TURN = 64


class MseShard(ReadingShard):
    """The sessions that one worker dials."""

    sweeps = True
    phase_names: ClassVar[dict[Phase, str]] = {
        CONNECTING: "tcp",
        HANDSHAKING: "tls",
        SETTING_UP: "session",
        ACTIVE: "stream",
        CLOSING: "close",
    }

    def __init__(
        self,
        equipment: Equipment,
        addresses: Sequence[tuple[str, int]],
        contexts: Sequence[SSL.Context],
    ) -> None:
        super().__init__(equipment, addresses, contexts)
        self.mses = MseSessions(equipment, addresses, MseEndpoint)
        self.presence = self.mses.presence
        self._count_natively(self.mses.reception.counting)
        # Of each link that brought notifications since they were absorbed: its number, how many, and when.
        self._numbers: list[int] = []
        self._counts: list[int] = []
        self._done_ns: list[int] = []
        self.by_number: dict[int, MseLink] = {}
        self._finishing = False

    def start_load(self, at_ns: int, stages: Sequence[RateStage]) -> None:
        super().start_load(at_ns, stages)
        self.mses.start_load(at_ns, stages)

    def end_load(self) -> None:
        self._take()
        up = (link.number for link in self.links.values() if link.phase is ACTIVE)
        self.mses.end_load(None if self.load_over.is_set() else up)
        super().end_load()

    def start_dialing(self, at_ns: int, again_until_ns: int = 0) -> None:
        """As `mse_sessions` has it."""
        self.mses.start_dialing(at_ns, again_until_ns)

    def muster(self, users: int, at_ns: int, over_ns: int) -> None:
        self.mustered = users
        if self.mses.muster(users, at_ns, over_ns):
            now = self.clock()
            for link in list(self.links.values()):
                if link.number >= self.mses.wanted:
                    self.withdraw(link, now)

    def dialing(self) -> Dialing:
        return self.mses.dialing

    def pending(self) -> int:
        return self.mses.pending(self.links.values())

    def halt(self) -> None:
        self.mses.halt()

    def finish(self) -> None:
        """Dial no more, close what is up, and end; sessions that are being set up get a moment to come up."""
        self.halt()
        self.end_load()
        if not self._finishing:
            self.leaving.add(link for link in self.links.values() if link.phase is ACTIVE)
        self._finishing = True
        self.mses.patience_until_ns = max(self.mses.patience_until_ns, self.clock() + PATIENCE_NS)

    def next_wake_ns(self, now_ns: int) -> int:
        return NEVER_NS if self._finishing else self.mses.next_wake_ns(now_ns, MIN_TICK_NS, self.by_number)

    def on_turn(self, now_ns: int) -> None:
        mses = self.mses
        if mses.halting and not self.halted.is_set():
            if mses.gives_up(now_ns):
                self._withdraw_all(now_ns)
            if mses.seen_off(self.links.values(), now_ns):
                self.halted.set()
        if self._finishing:
            self._close_all(now_ns)
            return
        if mses.asker is not None:
            self._ask(mses.asker, now_ns)
        if not mses.dials:
            return
        # As long as those that were dialed wait for us, no more are.
        behind = self.handshakes_wait
        for number in mses.to_dial(now_ns, 0 if behind else _DIALS_PER_TURN, self.by_number, behind=behind):
            self._dial(number)

    def _ask(self, asker: Asker, now_ns: int) -> None:
        """Send the requests that are due, as far as there is time for it in this turn."""
        clock = self.clock
        for number in self.mses.to_ask(asker, now_ns):
            link = self.by_number.get(number)
            if link is None or link.phase is not ACTIVE:
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

    def _flush(self, link: MseLink) -> None:
        super()._flush(link)
        if (asker := self.mses.asker) is not None and link.phase is ACTIVE:
            assert link.endpoint is not None
            asker.is_owed(link.endpoint)

    def _dial(self, number: int) -> None:
        try:
            self.by_number[number] = self.dial(number, self.clock())
        except TransportFault as error:
            self.mses.not_dialed(number, error.kind, f"errors.tcp.{error.kind}")

    def on_connected(self, link: MseLink) -> None:
        super().on_connected(link)
        self.mses.shakes(link.number)

    def on_tunnel(self, link: MseLink, now_ns: int) -> None:
        link.tls_ns = now_ns - link.tls_started_ns
        link.endpoint = self.mses.new_endpoint(link.number, link.started_ns, now_ns)
        self.book.join(link, link.number, self.mses.address(link.number))
        if self.mses.placing is not None:
            self.mses.placing.connect(link.number, host_and_port(link.socket.getsockname()))

    def on_active(self, link: MseLink, now_ns: int) -> None:
        self.mses.came_up(link, now_ns)
        if self._finishing:
            self.leaving.add((link,))

    def on_granted(self, link: MseLink, before: int, now_ns: int) -> None:
        self.mses.granted(link, self.receiver.notifications)

    def on_left(self) -> None:
        self.mses.left()

    def on_gone(self, link: MseLink, phase: Phase, *, orderly: bool) -> None:
        self.mses.gone(link, phase, orderly=orderly)

    def on_withdrawn(self, link: MseLink, phase: Phase) -> None:
        self.mses.withdrawn(link)

    def close(self, link: MseLink, now_ns: int) -> None:
        self.mses.withdraw_requests(link, now_ns)
        self._take_of(link)
        if link.phase is ACTIVE:
            self.mses.closes(link, now_ns)
        super().close(link, now_ns)

    def peers(self) -> Iterator[Peer]:
        return self.mses.peers(self.book, self.by_number)

    def owner(self, peer: Peer) -> tuple[int, str]:
        return self.mses.owner(peer)

    def notified(self, link: MseLink) -> int:
        return self.mses.reception.received(link.number)

    def totals(self, now_ns: int) -> dict[str, int]:
        self._take()
        self.mses.reception.settle_counts()
        self.mses.listen(now_ns)
        return super().totals(now_ns)

    def release(self, link: MseLink) -> None:
        self.by_number.pop(link.number, None)
        self.mses.settle(link)
        super().release(link)

    def absorb_chunks(self, columns: Columns, chunks: Chunks) -> None:
        self.mses.reception.absorb_chunks(columns, chunks)

    def on_swept(self, links: list[MseLink], counts: list[int], done_ns: list[int]) -> None:
        super().on_swept(links, counts, done_ns)
        self._numbers += [link.number for link in links]
        self._counts += counts
        self._done_ns += done_ns

    def on_notifications(self, link: MseLink, count: int, done_ns: int) -> None:
        self._numbers.append(link.number)
        self._counts.append(count)
        self._done_ns.append(done_ns)

    def absorb(self) -> None:
        if self._numbers:
            self.mses.reception.absorb(self.receiver.columns(), self._numbers, self._counts, self._done_ns)
            for column in (self._numbers, self._counts, self._done_ns):
                column.clear()
        else:
            self.mses.reception.settle_grants()
        self.receiver.reset()

    def _withdraw_all(self, now_ns: int) -> None:
        """Whatever is being set up."""
        for link in list(self.links.values()):
            if link.phase < ACTIVE:
                self.withdraw(link, now_ns)

    def fault(self, link: MseLink, kind: str) -> None:
        if self.mses.ended_by_wlcs_of_ours(link, kind):
            self.withdraw(link, self.clock())
        elif link.phase is CONNECTING and self.mses.dials_again(link, kind):
            self._drop(link)
        else:
            super().fault(link, kind)

    def _close_all(self, now_ns: int) -> None:
        self.leave()
        if now_ns > self.mses.patience_until_ns:
            self._withdraw_all(now_ns)
        if not self.links:
            self.finished = True
