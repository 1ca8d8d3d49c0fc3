"""A worker's end of the line to a Locust master: ZeroMQ under trio, messages in msgpack."""

from __future__ import annotations

from typing import Any

import msgspec
import trio
import zmq

from loadgen.hosts import endpoint_shown

# A spawn message carries a scenario; more than this no master sends.
_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
# How long the last words may take when we hang up.
_LINGER_MS = 2000
_KEEPALIVE_IDLE_S = 30  # as Locust's own workers have it


class Garbled(Exception):
    """What came is no message of Locust's."""


class MasterLost(Exception):
    """Nobody has taken what we said for so long that no more can wait."""


class Message(msgspec.Struct, array_like=True, frozen=True):
    """Locust's envelope, in both directions."""

    type: str
    data: Any
    node_id: str | None


class MasterConnection:
    """A DEALER socket to the master's ROUTER. It connects, and connects again, by itself."""

    def __init__(self, host: str, port: int, client_id: str) -> None:
        self._client_id = client_id
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        for option, value in (
            (zmq.IDENTITY, client_id.encode()),
            (zmq.IPV6, 1),
            (zmq.TCP_KEEPALIVE, 1),
            (zmq.TCP_KEEPALIVE_IDLE, _KEEPALIVE_IDLE_S),
            (zmq.MAXMSGSIZE, _MAX_MESSAGE_BYTES),
        ):
            self._socket.setsockopt(option, value)
        self._socket.connect(f"tcp://{endpoint_shown(host, port)}")
        self._descriptor = int(self._socket.getsockopt(zmq.FD))
        self._decoder = msgspec.msgpack.Decoder(Message)
        self._waiting: trio.CancelScope | None = None

    def send(self, kind: str, data: object) -> None:
        """Say something; it goes out as soon as somebody is there.

        Raises:
            MasterLost
        """
        try:
            self._socket.send(msgspec.msgpack.encode(Message(kind, data, self._client_id)), zmq.NOBLOCK)
        except zmq.Again as error:
            raise MasterLost from error
        # The descriptor tells of news once. If sending has taken notice of some, it will not tell the receiver.
        if self._waiting is not None and self._readable():
            self._waiting.cancel()

    async def receive(self) -> Message:
        """The next message.

        Raises:
            Garbled: something else came; the next call goes on behind it.
        """
        while not self._readable():
            try:
                with trio.CancelScope() as self._waiting:
                    await trio.lowlevel.wait_readable(self._descriptor)
            finally:
                self._waiting = None
        try:
            return self._decoder.decode(self._socket.recv(zmq.NOBLOCK))
        except msgspec.DecodeError as error:
            raise Garbled(str(error)) from error
        except zmq.Again:
            return await self.receive()

    def close(self, *, linger: bool) -> None:
        """Hang up. Args: linger: give what was said last a moment to go out."""
        self._socket.close(_LINGER_MS if linger else 0)
        self._context.term()

    def _readable(self) -> bool:
        return bool(int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN)
