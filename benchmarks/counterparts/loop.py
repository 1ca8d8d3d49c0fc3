"""One thread, many TLS connections: readiness, and timers that are kept to the fraction of a millisecond."""

from __future__ import annotations

import heapq
import itertools
import select
import selectors
import signal
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress

from benchmarks.counterparts.truth import NS_PER_MS, NS_PER_S

# The longest sleep: a signal is noticed after it.
_SLEEP_NS = 100 * NS_PER_MS
_CHUNK = 65536

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Loop:
    """Runs until `stopped`, or until SIGTERM or SIGINT."""

    def __init__(self) -> None:
        self.stopped = False
        self._selector = selectors.EpollSelector()
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._serial = itertools.count()

    def at(self, time_ns: int, call: Callable[[], None]) -> None:
        """Call it at that time (monotonic)."""
        heapq.heappush(self._timers, (time_ns, next(self._serial), call))

    def watch(self, sock: socket.socket, events: int, call: Callable[[], None]) -> None:
        """Call it whenever the socket is ready, until `unwatch`."""
        with suppress(KeyError):
            self._selector.modify(sock, events, call)
            return
        self._selector.register(sock, events, call)

    def unwatch(self, sock: socket.socket) -> None:
        with suppress(KeyError, ValueError):
            self._selector.unregister(sock)

    def run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        while not self.stopped:
            # epoll itself sleeps whole milliseconds only; select(), which sleeps exactly, can wait for an epoll set.
            select.select([self._selector], [], [], self._wait_s())
            for key, _ in self._selector.select(0):
                key.data()
            while self._timers and self._timers[0][0] <= time.monotonic_ns():
                heapq.heappop(self._timers)[2]()

    def _stop(self, *_: object) -> None:
        self.stopped = True

    def _wait_s(self) -> float:
        left = _SLEEP_NS
        if self._timers:
            left = min(left, max(0, self._timers[0][0] - time.monotonic_ns()))
        return left / NS_PER_S


class Connection:
    """A server's TLS connection. Subclasses say what happens when TLS is up, when bytes came, and when it is over."""

    def __init__(self, loop: Loop, sock: socket.socket, context: ssl.SSLContext) -> None:
        self.loop = loop
        self.up = self.closing = self.closed = False
        self._sock = sock
        self._context = context
        self._tls: ssl.SSLSocket | None = None
        self._unsent = bytearray()

    def on_up(self) -> None:
        """The handshake is done."""

    def on_data(self, data: bytes) -> None:
        """Bytes came."""

    def on_closed(self) -> None:
        """It is over, however it ended."""

    def handshake(self) -> None:
        """Begin the handshake, or go on with it."""
        try:
            if self._tls is None:
                self.loop.unwatch(self._sock)
                self._tls = self._context.wrap_socket(self._sock, server_side=True, do_handshake_on_connect=False)
                self._sock = self._tls
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self.loop.watch(self._sock, READ, self.handshake)
        except ssl.SSLWantWriteError:
            self.loop.watch(self._sock, WRITE, self.handshake)
        except OSError:
            self.drop()
        else:
            self.up = True
            self.loop.watch(self._sock, READ, self._ready)
            self.on_up()
            if not self.closed:
                self._ready()

    def write(self, data: bytes) -> None:
        """Send it, as soon as the socket takes it."""
        if self.closing or self.closed:
            return
        self._unsent += data
        if len(self._unsent) == len(data):  # else it waits for room, and so does this
            self._flush()

    def close(self) -> None:
        """Say goodbye, and wait for the other side's: bytes of it that nobody read would reset the connection."""
        if self.closed or self.closing:
            return
        self.closing = True
        if not self._unsent:
            self._say_goodbye()

    def drop(self) -> None:
        """Close at once."""
        if self.closed:
            return
        self.closed = True
        self.loop.unwatch(self._sock)
        self._sock.close()
        self.on_closed()

    def _ready(self) -> None:
        if self._unsent:
            self._flush()
        while not self.closed:
            assert self._tls is not None
            try:
                data = self._tls.recv(_CHUNK)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError:
                data = b""
            if not data:
                self._say_goodbye()
                self.drop()
            elif not self.closing:
                self.on_data(data)

    def _flush(self) -> None:
        assert self._tls is not None
        try:
            while self._unsent:
                del self._unsent[: self._tls.send(self._unsent)]
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self.loop.watch(self._sock, READ | WRITE, self._ready)
            return
        except OSError:
            self.drop()
            return
        self.loop.watch(self._sock, READ, self._ready)
        if self.closing:
            self._say_goodbye()

    def _say_goodbye(self) -> None:
        assert self._tls is not None
        with suppress(OSError, ValueError):
            self._tls.unwrap()
