"""Shards that play WLCs: they listen, accept, and leave a listener alone for a while when accepting fails."""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import ClassVar, TypeVar

from OpenSSL import SSL

from loadgen.drive.aaa import Aaa, count_response, count_verified
from loadgen.drive.asides import Asides
from loadgen.drive.equipment import Equipment
from loadgen.drive.links import Link
from loadgen.drive.peers import server_statistics
from loadgen.drive.phase import CLOSED, HANDSHAKING
from loadgen.drive.strangers import GRACE_NS, SILENT, Strangers
from loadgen.drive.tls import Shard
from loadgen.session.wlc import WlcEndpoint
from loadgen.transport.address import host_and_port, socket_address
from loadgen.transport.patient import PatientTunnel
from loadgen.transport.tls import Tunnel, Want, kind_of_errno
from loadgen.transport.verifying import Ruling
from loadgen.units import NS_PER_MS

LISTEN_BACKLOG = 1024
ACCEPTS_PER_TURN = 64
_REST_NS = 100 * NS_PER_MS
# Half of this costs a sender at its limit a tenth of its rate.
MOST_UNSENT_BYTES = 1 << 17


def listener(address: tuple[str, int], idle: bool) -> socket.socket:
    """A bound TCP socket; idle: it does not listen yet.

    Raises:
        OSError: the address cannot be had.
    """
    sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(socket_address(*address))
        if not idle:
            sock.listen(LISTEN_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


class WlcLink(Link):
    """A link that a WLC accepted.

    Attributes:
        address: where it came from.
        number: which of the worker's WLCs, in the order of its listeners.
        row: of the ledger, once it subscribed; -1: it is told nothing. left_row: the one that it unsubscribed from.
        answer: AAA's, while it is on its way.
        paused: nothing is read from it before its timer has run.
        heard_ns: when it was accepted, or said something last, in its handshake.
        asides: what it was told between notifications, once it was told one.
    """

    endpoint: WlcEndpoint | None

    __slots__ = ("address", "answer", "asides", "heard_ns", "left_row", "number", "paused", "row")

    def __init__(self, sock: socket.socket, started_ns: int, number: int, address: tuple[str, int] = ("", 0)) -> None:
        super().__init__(sock.fileno(), HANDSHAKING, started_ns)
        self.tls_started_ns = started_ns
        self.address = address
        self.number = number
        self.row = self.left_row = -1
        self.answer: Ruling | None = None
        self.asides: Asides | None = None
        self.paused = False
        self.heard_ns = started_ns

    @property
    def spoke(self) -> bool:
        return self.tunnel is not None and self.tunnel.unread()


WlcLinkT = TypeVar("WlcLinkT", bound=WlcLink)


class ListeningShard(Shard[WlcLinkT]):
    """A shard whose links come in through listening sockets."""

    handshake_lag: ClassVar[str] = "generator.accept_lag"
    link_class: type[WlcLinkT]

    def __init__(
        self,
        equipment: Equipment,
        listeners: Sequence[socket.socket],
        contexts: Sequence[SSL.Context],
        aaa: Aaa | None,
        planned: int,
    ) -> None:
        """Args:
        listeners, contexts: of each of the worker's WLCs, in order; bound, and nobody can connect before `listen`.
        aaa: None lets everybody in.
        planned: handshakes that may be under way at once, if all goes by the plan.
        """
        super().__init__(equipment)
        self.tells_groups = not equipment.plan.use.plays_mse
        self._contexts = contexts
        self.strangers = Strangers[WlcLinkT](planned, GRACE_NS)
        self._aaa = aaa
        self._listeners = {sock.fileno(): (number, sock) for number, sock in enumerate(listeners)}
        self._resting: list[tuple[int, int]] = []  # (until, listener)
        self._open = 0
        self._accepted = 0  # in this turn
        self._unsent_bytes = MOST_UNSENT_BYTES

    def listen(self, count: int) -> None:
        """Accept at the first `count` listeners, and refuse at all others."""
        for fd, (number, sock) in self._listeners.items():
            if self._open <= number < count:
                try:
                    sock.listen(LISTEN_BACKLOG)
                except OSError as error:  # somebody else has taken the address since
                    self.recorder.count(f"errors.accept.{kind_of_errno(error.errno)}")
                self.watch_other(fd)
            elif count <= number < self._open:
                if (resting := next((rest for rest in self._resting if rest[1] == fd), None)) is None:
                    self.unwatch_other(fd)
                else:
                    self._resting.remove(resting)
                address = sock.getsockname()
                sock.shutdown(socket.SHUT_RDWR)  # Linux: listens no more, and may again
                with suppress(OSError):  # it still has its port, but for one that the kernel had chosen
                    sock.bind(address)
        self._open = count

    def allow_unsent(self, size: int) -> None:
        """How many bytes our own kernel takes of a link beyond what the peer has room for. By itself it takes some
        megabytes, and an MSE that reads nothing for seconds would be sent everything in time.
        """
        self._unsent_bytes = max(1, min(size, MOST_UNSENT_BYTES))
        for link in self.links.values():
            if link.tunnel is not None:
                link.tunnel.allow_unsent(self._unsent_bytes)

    def on_accepted(self, sock: socket.socket, link: WlcLinkT) -> None:
        """Give a new link its tunnel."""
        raise NotImplementedError

    def on_other(self, fd: int) -> None:
        if fd not in self._listeners:
            return  # earlier in this turn it was a link's, or a parting's, which was closed to make way
        number, listener = self._listeners[fd]
        # More handshakes at once are not done sooner, and in the end all of them time out together. As long as those
        # that were accepted wait for us, others do in the kernel; who is silent waits for nobody.
        while not self.handshakes_wait and self._accepted < ACCEPTS_PER_TURN:
            try:
                sock, address = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE) and self._make_way(self.clock()):
                    continue
                # The peer gave up while it was waiting, or we are out of descriptors, and then this listener would be
                # ready again at once, and again: it rests a while.
                self.recorder.count(f"errors.accept.{kind_of_errno(error.errno)}")
                self.unwatch_other(fd)
                self._resting.append((self.clock() + _REST_NS, fd))
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, self._unsent_bytes)
            self._accepted += 1
            now = self.clock()
            link = self.link_class(sock, now, number, host_and_port(address))
            self.handshake_reads.begins(link)
            self.recorder.count("accept.attempts")
            self.on_accepted(sock, link)
            self.add(link, now + self.setup_timeout_ns, select.EPOLLIN)
            self.strangers.await_word(link, now)
            for stranger in self.strangers.too_many(now):
                self._turn_away(stranger)

    def _make_way(self, now_ns: int) -> bool:
        """No descriptor is left: close a parting, or a stranger. False: there is neither."""
        if self.partings.cut_short():
            return True
        stranger = self.strangers.first(now_ns)
        if stranger is not None:
            self._turn_away(stranger)
        return stranger is not None

    def _turn_away(self, stranger: WlcLinkT) -> None:
        self.fault(stranger, SILENT)

    def advance(self, link: WlcLinkT) -> None:
        if link.phase is CLOSED:
            return  # it had to go, in this very turn
        self.strangers.forget(link)
        super().advance(link)
        if link.phase is HANDSHAKING and not link.paused:
            self.strangers.await_word(link, self.clock())

    def release(self, link: WlcLinkT) -> None:
        self.strangers.forget(link)
        super().release(link)

    def on_turn(self, now_ns: int) -> None:
        self._accepted = 0
        while self._resting and self._resting[0][0] <= now_ns:
            self.watch_other(self._resting.pop(0)[1])

    def join(self, link: WlcLinkT) -> None:
        """A link's tunnel is up: `loadgen status` is told of this peer, too."""
        self.book.join(link, link.number, link.address)

    def statistics(self) -> dict[str, int]:
        return super().statistics() | server_statistics(self.recorder)

    def stop_listening(self) -> None:
        """Accept no more."""
        self._resting.clear()
        for _, sock in self._listeners.values():
            sock.close()  # epoll forgets it

    # -- handshakes ----------------------------------------------------------------------------------------------

    def accept(self, context: SSL.Context, sock: socket.socket, link: WlcLinkT) -> Tunnel:
        """The server's end of a tunnel over a link's socket, which was accepted."""
        patient = self._aaa is not None and self._aaa.takes_time
        tracer = self.tracer
        observer = None if tracer is None else tracer.observer(link.number, link.address, patient=patient)
        if patient:
            return PatientTunnel(context, sock, observer)
        return Tunnel(context, sock, server=True, observer=observer)

    def shake(self, link: WlcLinkT) -> bool:
        aaa = self._aaa
        if aaa is None:
            return super().shake(link)
        if aaa.takes_time:
            return self._shake_patiently(link, aaa)
        tunnel = link.tunnel
        assert tunnel is not None
        asked = tunnel.ruling is not None
        try:
            done = super().shake(link)
        finally:
            if not asked and (answer := tunnel.ruling) is not None:
                self._count_answer(answer)
        if not done and aaa.poll_tick_ns:
            self._rest(link, aaa.poll_tick_ns)
        return done

    def _shake_patiently(self, link: WlcLinkT, aaa: Aaa) -> bool:
        """The same with an AAA that takes its time: what the WLC has to say waits for the answer."""
        tunnel = link.tunnel
        assert isinstance(tunnel, PatientTunnel)
        if link.answer is not None:
            self._count_response(link.answer)
            link.answer = None
        else:
            asked = tunnel.ruling is not None
            tunnel.take_in()
            if not asked and (answer := tunnel.ruling) is not None:
                self.recorder.count("aaa.request")
                link.answer = answer
                self._rest(link, answer.wait_ns)
                return False
        if tunnel.speak():
            return True
        self.watch(link)
        if aaa.poll_tick_ns and tunnel.wants is Want.READ:
            self._rest(link, aaa.poll_tick_ns)
        return False

    def _rest(self, link: WlcLinkT, length_ns: int) -> None:
        """Leave a link alone for so long, or until its time to be set up is over."""
        self.pause(link)
        link.paused = True
        link.rested_ns = min(self.clock() + length_ns, link.started_ns + self.setup_timeout_ns)
        self.arm(link, link.rested_ns)

    def on_timer(self, link: WlcLinkT, now_ns: int) -> None:
        deadline_ns = link.started_ns + self.setup_timeout_ns
        if not link.paused or now_ns >= deadline_ns:
            super().on_timer(link, now_ns)
            return
        link.paused = False
        self.arm(link, deadline_ns)
        self.advance(link)

    def _count_answer(self, answer: Ruling) -> None:
        self.recorder.count("aaa.request")
        self._count_response(answer)

    def _count_response(self, answer: Ruling) -> None:
        count_response(self.recorder, answer)

    def _count_verified(self, link: WlcLinkT) -> None:
        """Once for every handshake that has come to its end."""
        count_verified(self.recorder, None if link.tunnel is None else link.tunnel.verified)

    def on_tunnel(self, link: WlcLinkT, now_ns: int) -> None:
        self.recorder.count("accept.success")
        self._count_verified(link)

    def halt(self) -> None:
        self.halted.set()  # this side begins nothing

    def withdraw(self, link: WlcLinkT, now_ns: int) -> None:
        if link.phase is HANDSHAKING:
            self._count_verified(link)
            self.recorder.count("accept.withdrawn")
        super().withdraw(link, now_ns)

    def end(self, link: WlcLinkT, *, orderly: bool) -> None:
        if link.phase is HANDSHAKING:
            self._count_verified(link)
            refused = link.tunnel is not None and link.tunnel.refusal is not None
            self.recorder.count("accept.reject" if refused else "accept.fail")
        super().end(link, orderly=orderly)
