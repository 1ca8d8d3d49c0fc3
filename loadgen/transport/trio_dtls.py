"""The insides of trio's DTLS: all that we use of them is here.

trio promises to keep none of it, so it has an upper bound in pyproject.toml, and
`tests/transport/test_transport_insides.py` says of each part what it is for, and which one is gone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import trio
from OpenSSL import SSL
from trio._dtls import HandshakeMessage, HandshakeType, decode_volley_trusted

# Some messages of a handshake that go out together; trio keeps them decoded, to send them again.
Flight: TypeAlias = list[Any]
FlightSender: TypeAlias = Callable[[Flight], Awaitable[None]]


def connection_of(channel: trio.DTLSChannel) -> SSL.Connection:
    """pyOpenSSL's end of an association: for callbacks, which are a context's, and to end it in order."""
    return channel._ssl


def hello_of(channel: trio.DTLSChannel) -> int:
    """What tells a client's attempt from its others: its address, a cookie and the bytes of its hello. trio knows a
    repeated one by the same.
    """
    return hash((channel.peer_address, channel._client_hello))


def sender_of(channel: trio.DTLSChannel) -> FlightSender:
    """trio's own sending of a flight."""
    return channel._send_volley


def send_by(channel: trio.DTLSChannel, sender: FlightSender) -> None:
    """Have flights sent by another."""
    channel._send_volley = sender  # type: ignore[assignment, method-assign]


def send_as_before(channel: trio.DTLSChannel) -> None:
    """Have flights sent by trio again: the class has its own way."""
    del channel._send_volley


def is_hello(flight: Flight) -> bool:
    """A client's first, with a cookie or without."""
    first = flight[0] if flight else None
    return isinstance(first, HandshakeMessage) and first.msg_type is HandshakeType.client_hello


def flight_of(data: bytes) -> Flight:
    """What OpenSSL wrote, for a sender."""
    return decode_volley_trusted(data)
