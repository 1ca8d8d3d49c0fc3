"""The insides of trio's DTLS: all that we use of them is here.

trio promises to keep none of it, so it has an upper bound in pyproject.toml, and
`tests/transport/test_transport_insides.py` says of each part what it is for, and which one is gone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import dropwhile
from typing import Any, TypeAlias

import trio
from OpenSSL import SSL
from trio._dtls import HandshakeMessage, HandshakeType, decode_volley_trusted

# Some messages of a handshake that go out together; trio keeps them decoded, to send them again.
Flight: TypeAlias = list[Any]
_HANDSHAKE, _RECORD_HEAD = 22, 13  # content type; bytes before a record's content, the last two of which are its length
_MOST = 65536
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


class _Said:
    """What OpenSSL says in a handshake, without what it says again by itself before it goes on.

    OpenSSL has a timer of its own (a second, then two, ...). When that has run out, it says its flight again before it
    reads what came next, and answers that in the same breath. trio, which says flights again by its own timer, knows
    the beginning, and throws all of it away: the last flight of a WLC would never be sent.
    """

    def __init__(self, connection: SSL.Connection) -> None:
        self._read = connection.bio_read
        self._number = -1  # of the last message that was said in plain
        self._encrypts = False  # something was said behind that
        self._left = b""

    def __call__(self, bufsiz: int) -> bytes:
        if not self._left:
            data = _everything(self._read)
            self._left = self._without_what_is_said_again(data)
        part, self._left = self._left[:bufsiz], self._left[bufsiz:]
        return part

    def _without_what_is_said_again(self, data: bytes) -> bytes:
        """All of it, if there is nothing else: trio knows that."""
        records = _records_of(data)
        new = list(dropwhile(lambda record: 0 <= _number_of(record) <= self._number, records))
        if not new or (len(new) < len(records) and self._encrypts and _number_of(new[0]) < 0):
            return data
        self._number = max(self._number, *map(_number_of, new))
        self._encrypts = self._encrypts or (new[-1][0] == _HANDSHAKE and _number_of(new[-1]) < 0)
        return b"".join(new)


def _number_of(record: bytes) -> int:
    """Of the handshake message in it; -1: it has none, or is encrypted."""
    in_plain = record[0] == _HANDSHAKE and not int.from_bytes(record[3:5], "big")
    return int.from_bytes(record[_RECORD_HEAD + 4 : _RECORD_HEAD + 6], "big") if in_plain else -1


def _everything(read: Callable[[int], bytes]) -> bytes:
    """All that there is. Raises SSL.WantReadError: nothing."""
    data = read(_MOST)
    with suppress(SSL.WantReadError):
        while True:
            data += read(_MOST)
    return data


def _records_of(data: bytes) -> list[bytes]:
    """Cut after each; we wrote them."""
    records, begin = [], 0
    while begin < len(data):
        end = begin + _RECORD_HEAD + int.from_bytes(data[begin + _RECORD_HEAD - 2 : begin + _RECORD_HEAD], "big")
        records.append(data[begin:end])
        begin = end
    return records


def keep_answers(channel: trio.DTLSChannel) -> None:
    """Have what OpenSSL answers in the handshake reach the peer, however late that which it answers came."""
    channel._ssl.bio_read = _Said(channel._ssl)  # type: ignore[method-assign]


def keep_no_more(channel: trio.DTLSChannel) -> None:
    """The handshake is over: `keep_answers` is."""
    del channel._ssl.bio_read


def is_hello(flight: Flight) -> bool:
    """A client's first, with a cookie or without."""
    first = flight[0] if flight else None
    return isinstance(first, HandshakeMessage) and first.msg_type is HandshakeType.client_hello


def flight_of(data: bytes) -> Flight:
    """What OpenSSL wrote, for a sender."""
    return decode_volley_trusted(data)
