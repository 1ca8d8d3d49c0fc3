"""What happens inside of a handshake, as events: OpenSSL's states and alerts, and when the auth list is asked.

A tunnel or an association that is traced has an observer, to which it tells them; one without pays nothing for it.
What the events look like on a screen is `diagnosis.field_trace`'s business.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple, TypeAlias

from OpenSSL import SSL

# OpenSSL's SSL_CB_*: what `where` of a state event is made of.
LOOP, EXIT, READ, WRITE = SSL.SSL_CB_LOOP, SSL.SSL_CB_EXIT, SSL.SSL_CB_READ, SSL.SSL_CB_WRITE
ALERT, STARTED, DONE = SSL.SSL_CB_ALERT, SSL.SSL_CB_HANDSHAKE_START, SSL.SSL_CB_HANDSHAKE_DONE


class Happening(Enum):
    """What an event tells of."""

    ALLOCATED = "allocated"  # a tunnel was made for a connection
    ENTERED = "entered"  # the handshake is gone on with
    STATE = "state"  # OpenSSL's information callback
    CHECKING = "checking"  # the certificate's own checks are done, the auth list is asked
    CHECKED = "checked"  # and has answered; `text` is why it refused, or empty
    WAITING = "waiting"  # the handshake needs the peer, or room in the socket
    FINISHED = "finished"
    CONFIRMED = "confirmed"  # and the peer is content: a client of TLS 1.3 knows once the server has said something
    FAILED = "failed"  # `text` is OpenSSL's reason
    RELEASED = "released"


class TraceEvent(NamedTuple):
    """One event.

    Attributes:
        at_ns: monotonic.
        where, ret: OpenSSL's SSL_CB_* and what belongs to it, for STATE; `ret` unsigned, 32 bits.
        state: OpenSSL's name of the state, for STATE.
    """

    at_ns: int
    happening: Happening
    where: int = 0
    ret: int = 0
    state: str = ""
    text: str = ""

    @property
    def is_alert(self) -> bool:
        return bool(self.where & ALERT)

    @property
    def alert(self) -> tuple[int, int]:
        """Level and description of an alert."""
        return self.ret >> 8, self.ret & 0xFF


Sink: TypeAlias = Callable[[TraceEvent], None]


class Observer:
    """Tells `sink` what happens in one handshake.

    Where the answer about a client waits, what follows from it is told when it goes out: OpenSSL decides, and makes the
    alert, before that. A client that is let go of in the meantime was never answered.
    """

    __slots__ = ("_held", "_patient", "_sink")

    def __init__(self, sink: Sink, *, patient: bool = False) -> None:
        """Args: patient: the answer about the client waits until `answered`."""
        self._sink = sink
        self._patient = patient
        self._held: list[TraceEvent] | None = None
        self.tell(Happening.ALLOCATED)

    def tell(self, happening: Happening, where: int = 0, ret: int = 0, state: str = "", text: str = "") -> None:
        """Of an event that has just happened."""
        event = TraceEvent(time.monotonic_ns(), happening, where, ret, state, text)
        if self._patient and happening is Happening.CHECKED:
            self._held = []
        if self._held is None:
            self._sink(event)
        else:
            self._held.append(event)

    def tell_state(self, connection: SSL.Connection, where: int, ret: int) -> None:
        """What OpenSSL's information callback is called with."""
        state = connection.get_state_string().decode("ascii", "replace")
        self.tell(Happening.STATE, where, ret & 0xFFFFFFFF, state)

    def tell_failure(self, fault: Exception) -> None:
        """A handshake has failed. Text: OpenSSL's own words, as far as it had some: "certificate verify failed"."""
        error, text = fault.__cause__, str(fault)
        if isinstance(error, SSL.Error) and error.args and isinstance(error.args[0], list) and error.args[0]:
            text = str(error.args[0][-1][2])
        self.tell(Happening.FAILED, text=text)

    def answered(self, lost: str = "") -> None:
        """The answer goes out. Args: lost: OpenSSL was content, and why what it said goes nowhere."""
        held, self._held = self._held or [], None
        if held and lost:
            held = [held[0], TraceEvent(0, Happening.FAILED, text=lost)]
        for event in held:
            self._sink(event._replace(at_ns=time.monotonic_ns()))

    def release(self) -> None:
        """The tunnel is let go of."""
        self._held = None
        self.tell(Happening.RELEASED)
