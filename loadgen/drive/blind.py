"""One end of recorded sessions, played blindly: its bytes as they were, at their times, whatever the other end says."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple

import trio
from OpenSSL import SSL

from loadgen.capture.streams import Exchange, Stream
from loadgen.transport.tls import EndOfStream, TransportFault, Tunnel, Want, dial, dial_result
from loadgen.units import NS_PER_S

_RECORD_BYTES = 1 << 14
# A handshake takes no longer than this, with whatever asks an AAA server in between.
_SHAKING_S = 10.0
# What the other end may still say when all is said.
_LINGER_S = 1.0


class Script(NamedTuple):
    """What one end said. pieces: ns since the session's first byte of either end, and bytes."""

    label: str
    pieces: tuple[tuple[int, bytes], ...]

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(len(data) for _, data in self.pieces)


class Blindly(NamedTuple):
    """What became of a session. how: "played", or what ended it before."""

    script: Script
    sent_bytes: int
    received_bytes: int
    how: str

    @property
    def is_whole(self) -> bool:
        return self.how == "played"


def scripts_of(exchanges: Sequence[Exchange], *, of_client: bool) -> list[Script]:
    """What one side said in each session in which it said something."""
    found = []
    for each in exchanges:
        both = [_said(each.client), _said(each.server)]
        began_ns = min((ns for pieces in both for ns, _ in pieces), default=0)
        mine = both[0 if of_client else 1]
        if mine:
            (client, client_port), (server, server_port) = each.conversation.client, each.conversation.server
            label = f"{client}:{client_port} -> {server}:{server_port}"
            found.append(Script(label, tuple((ns - began_ns, data) for ns, data in mine)))
    return found


def _said(stream: Stream) -> list[tuple[int, bytes]]:
    """All bytes of a direction, as they came."""
    pieces = stream.pieces()
    ends = [*(offset for offset, _ in pieces[1:]), None]
    found: list[tuple[int, bytes]] = []
    runs = iter(stream.runs)
    begin, run = next(runs, (0, bytearray()))
    for (offset, ns), end in zip(pieces, ends, strict=True):
        while offset >= begin + len(run):
            begin, run = next(runs)
        found.append((ns, bytes(run[offset - begin : None if end is None else end - begin])))
    return found


class _Player:
    """One session of ours."""

    def __init__(self, script: Script, tunnel: Tunnel, speed: float) -> None:
        self._script, self._tunnel, self._speed = script, tunnel, speed
        self.sent = self.received = 0

    async def play(self) -> Blindly:
        try:
            with trio.fail_after(_SHAKING_S):
                while not self._tunnel.handshake():
                    await self._ready()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._say, nursery.cancel_scope)
                how = await self._hear()
                nursery.cancel_scope.cancel()
        except trio.TooSlowError:
            how = "no handshake in time"
        except TransportFault as fault:
            how = fault.kind
        finally:
            self._tunnel.close()
        done = self.sent == self._script.size
        return Blindly(self._script, self.sent, self.received, "played" if done else how)

    async def _ready(self) -> None:
        if self._tunnel.wants is Want.WRITE:
            await trio.lowlevel.wait_writable(self._tunnel.fd)
        else:
            await trio.lowlevel.wait_readable(self._tunnel.fd)

    async def _say(self, over: trio.CancelScope) -> None:
        began = trio.current_time()
        for at_ns, data in self._script.pieces:
            await trio.sleep_until(began + at_ns / self._speed / NS_PER_S)
            try:
                await self._write(data)
            except TransportFault:
                return  # whoever listens is told why
        self._tunnel.close_notify()
        self._tunnel.hang_up()
        await trio.sleep(_LINGER_S)
        over.cancel()

    async def _write(self, data: bytes) -> None:
        for start in range(0, len(data), _RECORD_BYTES):
            piece = data[start : start + _RECORD_BYTES]
            self._tunnel.write(piece)
            while self._tunnel.blocked:
                await trio.lowlevel.wait_writable(self._tunnel.fd)
                self._tunnel.flush()
            self.sent += len(piece)

    async def _hear(self) -> str:
        view = memoryview(bytearray(_RECORD_BYTES))
        while True:
            await trio.lowlevel.wait_readable(self._tunnel.fd)
            try:
                while size := self._tunnel.read_into(view):
                    self.received += size
            except EndOfStream:
                return "closed by the other end"
            except TransportFault as fault:
                return fault.kind


async def serve(
    scripts: Sequence[Script],
    listener: socket.socket,
    context: SSL.Context,
    speed: float,
    tell: Callable[[Blindly], None],
) -> None:
    """To the first who comes, what the first WLC said, and so on; returns when all of them have had theirs."""

    async def one(script: Script, sock: socket.socket) -> None:
        tell(await _Player(script, Tunnel(context, sock, server=True), speed).play())

    async with trio.open_nursery() as nursery:
        for script in scripts:
            await trio.lowlevel.wait_readable(listener)
            sock, _ = listener.accept()
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            nursery.start_soon(one, script, sock)


async def visit(
    scripts: Sequence[Script],
    target: tuple[str, int],
    context: SSL.Context,
    speed: float,
    tell: Callable[[Blindly], None],
) -> None:
    """Say at a WLC what each MSE said, all from now on."""

    async def one(script: Script) -> None:
        try:
            sock = dial(target)
            with trio.fail_after(_SHAKING_S):
                await trio.lowlevel.wait_writable(sock)
            dial_result(sock)
        except (TransportFault, trio.TooSlowError) as error:
            how = error.kind if isinstance(error, TransportFault) else "no connection in time"
            tell(Blindly(script, 0, 0, how))
            return
        tell(await _Player(script, Tunnel(context, sock, server=False), speed).play())

    async with trio.open_nursery() as nursery:
        for script in scripts:
            nursery.start_soon(one, script)
