"""WLCs that are not there yet: a session that is to wait for its WLC is dialed again, and has not failed meanwhile."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence

import trio

from loadgen.transport.address import socket_address
from loadgen.units import NEVER_NS, NS_PER_S

# Between two tries: soon enough for a person, and few packets for a network.
AGAIN_NS = NS_PER_S // 4


class Redialing:
    """A worker's sessions whose WLC was not there; which of them are to be dialed again, and when."""

    def __init__(self) -> None:
        self._until_ns = 0
        self._waiting: deque[tuple[int, int]] = deque()  # when, and the number of the session

    def begin(self, until_ns: int) -> None:
        """Dial again until then (monotonic)."""
        self._until_ns = until_ns

    def takes(self, kind: str, number: int, now_ns: int) -> bool:
        """Whether this session is dialed again. Args: kind: of the fault that it had before it met anybody."""
        if kind not in ("refused", "unreachable", "timeout") or now_ns >= self._until_ns:
            return False
        self._waiting.append((now_ns + AGAIN_NS, number))
        return True

    def next_ns(self) -> int:
        """When the next one is to be dialed."""
        return self._waiting[0][0] if self._waiting else NEVER_NS

    def due(self, now_ns: int) -> Iterator[int]:
        """Those that are to be dialed now."""
        while self._waiting and self._waiting[0][0] <= now_ns:
            yield self._waiting.popleft()[1]

    def postpone(self, number: int, now_ns: int) -> None:
        """Not yet: the try before is not over."""
        self._waiting.append((now_ns + AGAIN_NS, number))

    def end(self) -> int:
        """Dial nobody any more; returns how many were still to be dialed."""
        left = len(self._waiting)
        self._waiting.clear()
        self._until_ns = 0
        return left


async def listened_at(addresses: Sequence[tuple[str, int]], wait_ns: int, end: Callable[[], Awaitable[None]]) -> None:
    """Wait until a WLC listens at each. Costs each of them a connection without a word. Args: end: of the run."""

    async def look(scope: trio.CancelScope) -> None:
        with trio.move_on_after(wait_ns / NS_PER_S):
            for host, port in dict.fromkeys(addresses):
                await _listened_at(host, port)
        scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look, nursery.cancel_scope)
        await end()
        nursery.cancel_scope.cancel()


async def _listened_at(host: str, port: int) -> None:
    while True:
        with trio.socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
            try:
                await sock.connect(socket_address(host, port))
            except OSError:
                await trio.sleep(AGAIN_NS / NS_PER_S)
            else:
                return
