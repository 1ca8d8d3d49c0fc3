"""Peers that were refused, and that may still be speaking.

Whoever closes a socket while something in it is unread, or still comes, resets the connection; and a peer that meets
the reset while it writes never reads the alert that lies in front of it. OpenSSL writes a flight at once and reads on,
others (JSSE, mbedTLS) write message by message. So what is told first is that nothing more comes (FIN), and then we
read on, for a while, until the peer has gone.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress

from loadgen.units import NEVER_NS, NS_PER_MS, NS_PER_S

# A flight's rest is under way for a round trip, and its reader may be an old controller or a busy Java program.
_PARTING_NS = NS_PER_S // 2
# Descriptors that those who were refused may hold; one refused beyond is closed at once, as if nobody were to listen.
MOST_PARTINGS = 256
# A flight with a chain of certificates is a tenth of it: whoever sends more is not about to read.
_MOST_BYTES = 1 << 18


class Parting:
    """A socket whose peer was refused.

    Attributes:
        until_ns: when it is closed, whether the peer has gone or not.
    """

    __slots__ = ("_left", "_socket", "fd", "until_ns")

    def __init__(self, sock: socket.socket, now_ns: int) -> None:
        self._socket = sock
        self._left = _MOST_BYTES
        self.fd = sock.fileno()
        self.until_ns = now_ns + _PARTING_NS
        with suppress(OSError):  # it has gone already
            sock.shutdown(socket.SHUT_WR)

    def hear(self) -> bool:
        """Read what has come, and forget it; False: the peer has gone, or is of the sort that never does."""
        try:
            size = len(self._socket.recv(_MOST_BYTES))
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._left -= size
        return size > 0 and self._left > 0

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()


def hear_out(sock: socket.socket) -> None:
    """The same for one peer that is waited for."""
    parting, poll = Parting(sock, time.monotonic_ns()), select.poll()
    poll.register(sock, select.POLLIN)
    while (left_ns := parting.until_ns - time.monotonic_ns()) > 0:
        if poll.poll(-(-left_ns // NS_PER_MS)) and not parting.hear():
            break
    parting.close()


class Partings:
    """All of a loop's, which watches their descriptors.

    They wait equally long, so the first to come is the first to go.
    """

    def __init__(self, watch: Callable[[int], None], unwatch: Callable[[int], None]) -> None:
        """Args: watch, unwatch: a descriptor, for reading."""
        self._watch, self._unwatch = watch, unwatch
        self._waiting: dict[int, Parting] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def begin(self, sock: socket.socket, now_ns: int) -> None:
        """Hear this one's peer out; the socket is ours from here on."""
        parting = Parting(sock, now_ns)
        if len(self._waiting) >= MOST_PARTINGS:
            parting.close()
            return
        self._waiting[parting.fd] = parting
        self._watch(parting.fd)

    def hear(self, fd: int) -> bool:
        """A descriptor is ready; False: it is none of these."""
        if (parting := self._waiting.get(fd)) is None:
            return False
        if not parting.hear():
            self._end(parting)
        return True

    def next_ns(self) -> int:
        """When the first of them has waited long enough."""
        return next((parting.until_ns for parting in self._waiting.values()), NEVER_NS)

    def cut_short(self) -> bool:
        """Close the one that has waited for longest; False if there is none."""
        for parting in self._waiting.values():
            self._end(parting)
            return True
        return False

    def run_out(self, now_ns: int) -> None:
        """Close those that have waited long enough."""
        while self._waiting and (first := next(iter(self._waiting.values()))).until_ns <= now_ns:
            self._end(first)

    def close(self) -> None:
        """Close all, at once."""
        for parting in self._waiting.values():
            parting.close()
        self._waiting.clear()

    def _end(self, parting: Parting) -> None:
        del self._waiting[parting.fd]
        self._unwatch(parting.fd)
        parting.close()
