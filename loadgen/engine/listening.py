"""What every shard that plays WLCs does first: listen, accept, and rest a listener that cannot accept."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Sequence
from contextlib import suppress

from loadgen.engine.links import Link, Phase
from loadgen.engine.shard import Shard
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.profile import WireProfile
from loadgen.transport.tls import kind_of_errno
from loadgen.units import NS_PER_MS

LISTEN_BACKLOG = 1024
_ACCEPTS_PER_TURN = 64
_REST_NS = 100 * NS_PER_MS


class WlcLink(Link):
    """A link that a WLC accepted.

    Attributes:
        number: which of the worker's WLCs, in the order of its listeners.
        row: of the ledger, once it subscribed.
    """

    __slots__ = ("number", "row")

    def __init__(self, sock: socket.socket, started_ns: int, number: int) -> None:
        super().__init__(sock.fileno(), Phase.HANDSHAKING, started_ns)
        self.tls_started_ns = started_ns
        self.number = number
        self.row = -1


class ListeningShard(Shard):
    """A shard whose links come in through listening sockets."""

    def __init__(
        self, profile: WireProfile, recorder: Recorder, setup_timeout_ns: int, listeners: Sequence[socket.socket]
    ) -> None:
        """Args: listeners: bound; nobody can connect before `listen`."""
        super().__init__(profile, recorder, setup_timeout_ns)
        self._listeners = {sock.fileno(): (number, sock) for number, sock in enumerate(listeners)}
        self._resting: list[tuple[int, int]] = []  # (until, listener)
        self._open = 0

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

    def on_accepted(self, sock: socket.socket, link: WlcLink) -> None:
        """Give a new link its tunnel."""
        raise NotImplementedError

    def on_other(self, fd: int) -> None:
        number, listener = self._listeners[fd]
        for _ in range(_ACCEPTS_PER_TURN):
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                # The peer gave up while it was waiting, or we are out of descriptors, and then this listener would be
                # ready again at once, and again: it rests a while.
                self.recorder.count(f"errors.accept.{kind_of_errno(error.errno)}")
                self.unwatch_other(fd)
                self._resting.append((time.monotonic_ns() + _REST_NS, fd))
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            now = time.monotonic_ns()
            link = WlcLink(sock, now, number)
            self.on_accepted(sock, link)
            self.add(link, now + self.setup_timeout_ns, select.EPOLLIN)

    def on_turn(self, now_ns: int) -> None:
        while self._resting and self._resting[0][0] <= now_ns:
            self.watch_other(self._resting.pop(0)[1])

    def stop_listening(self) -> None:
        """Accept no more."""
        self._resting.clear()
        for _, sock in self._listeners.values():
            sock.close()  # epoll forgets it
