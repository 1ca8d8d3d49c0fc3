"""TLS of a capture, decrypted with a key log; what is not TLS stays as it is.

A conversation is TLS by how it begins. Either its client's first record holds a ClientHello; or, where the beginning is
not in the capture, one of the directions begins with headers of TLS records, three after one another, or as many as
there are. Until that is clear, at most 64 KiB of a conversation are kept back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from loadgen.capture.events import Closed, Conversation, Data, Event, Hole, Opened
from loadgen.capture.keylog import TunnelKeys
from loadgen.capture.tls_connection import Connection
from loadgen.capture.tls_hello import CLIENT_HELLO
from loadgen.capture.tls_records import HANDSHAKE, HEADER_SIZE, seems_header
from loadgen.capture.tls_resumed import Masters
from loadgen.capture.tls_undecrypted import Alerted, Broken, Undecrypted, Unkeyed, Unreadable, WrongKey

__all__ = ["Alerted", "Broken", "TunnelKeys", "Undecrypted", "Unkeyed", "Unreadable", "WrongKey", "decrypted"]

_LONGEST_DOUBT: Final = 64 << 10
_HEADERS_IN_A_ROW: Final = 3
# A record's header, the head of the message in it, and the version that a ClientHello begins with.
_HELLO_SIZE: Final = 11


def decrypted(
    events: Iterable[Event], keys: TunnelKeys, undecrypted: list[Undecrypted] | None = None
) -> Iterator[Event]:
    """Events of the plaintext, from those of what was captured.

    - `Data` has the time of the packet that made its record whole; offsets count plaintext.
    - Of what cannot be decrypted nothing is given out: a `Hole` of length None stands for it, and a notice says why.
    - Behind a hole the records are found again by their tags, and the `Hole` is as long as the plaintext that is
      missing can be at most (exactly that long for AEAD suites of TLS 1.2, once the handshake is over); otherwise its
      length is None.
    - close_notify closes a direction like a FIN, a fatal alert like a reset, each when it came.

    Args:
        keys: are asked when a connection's first protected record comes: what is added later may still open others.
        undecrypted: to which is appended what could not be decrypted, and why.
    """
    undecrypted = [] if undecrypted is None else undecrypted
    masters = Masters(keys)
    known: dict[int, _Doubted] = {}
    for event in events:
        if isinstance(event, Opened):
            yield event
            continue
        one = known.get(event.conversation.index)
        if one is None:
            one = known[event.conversation.index] = _Doubted(event.conversation, masters, undecrypted)
        yield from one.take(event)
        if one.is_over:
            yield from one.finish()
            del known[event.conversation.index]
    for one in known.values():
        yield from one.finish()


class _Doubted:
    """A conversation: in doubt first, then TLS or not."""

    def __init__(self, conversation: Conversation, masters: Masters, undecrypted: list[Undecrypted]) -> None:
        self._connection = Connection(conversation, masters, undecrypted)
        self._beginning: _Beginning | None = _Beginning()
        self._is_tls = False
        self._closed: set[bool] = set()

    @property
    def is_over(self) -> bool:
        return len(self._closed) == 2

    def take(self, event: Data | Hole | Closed) -> Iterable[Event]:
        if isinstance(event, Closed):
            self._closed.add(event.of_client)
        if self._beginning is not None:
            self._beginning.add(event)
            verdict = self._beginning.verdict()
            return [] if verdict is None else self._decide(self._beginning, verdict)
        return self._connection.take(event) if self._is_tls else (event,)

    def finish(self) -> Iterator[Event]:
        if self._beginning is not None:
            yield from self._decide(self._beginning, self._beginning.last_verdict())
        if self._is_tls:
            yield from self._connection.finish()

    def _decide(self, beginning: _Beginning, is_tls: bool) -> Iterable[Event]:
        self._beginning, self._is_tls = None, is_tls
        if not is_tls:
            return beginning.events
        return [given for event in beginning.events for given in self._connection.take(event)]


class _Beginning:
    """The first events of a conversation, until it is clear whether it is TLS."""

    def __init__(self) -> None:
        self.events: list[Data | Hole | Closed] = []
        # Of each direction (of the client: True) what comes before its first hole; one before all else does not count.
        self._first = {True: bytearray(), False: bytearray()}
        self._parted: set[bool] = set()
        self._size = 0

    def add(self, event: Data | Hole | Closed) -> None:
        self.events.append(event)
        first = self._first[event.of_client]
        if isinstance(event, Data):
            self._size += len(event.data)
            if event.of_client not in self._parted:
                first += event.data
        elif isinstance(event, Hole) and first:
            self._parted.add(event.of_client)

    def verdict(self) -> bool | None:
        """None: it is not clear yet."""
        if _is_client_hello(self._first[True]):
            return True
        said = [_says(first) for first in self._first.values()]
        if True in said:
            return True
        if said == [False, False]:
            return False
        return self.last_verdict() if self._size > _LONGEST_DOUBT else None

    def last_verdict(self) -> bool:
        """With what there is."""
        return any(_says(first, enough=1) for first in self._first.values())


def _is_client_hello(data: bytearray) -> bool:
    """Whether the first record's header and its message's head are those of a ClientHello."""
    if len(data) < _HELLO_SIZE or not seems_header(data) or data[0] != HANDSHAKE:
        return False
    return (data[5], data[6], data[9]) == (CLIENT_HELLO, 0, 3) and data[10] <= 4


def _says(data: bytearray, enough: int = _HEADERS_IN_A_ROW) -> bool | None:
    """Whether a direction's first bytes are TLS records; None: there are too few to tell."""
    at = 0
    for _ in range(enough):
        if len(data) < at + HEADER_SIZE:
            return None
        if not seems_header(data, at):
            return False
        at += HEADER_SIZE + (data[at + 3] << 8 | data[at + 4])
    return True
