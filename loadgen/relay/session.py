"""One MSE's connection, and the one to the WLC for it."""

from __future__ import annotations

import socket
from enum import Enum
from typing import NamedTuple

from loadgen.transport.tls import Tunnel

# An end that epoll does not know.
UNWATCHED = -1


class RelayPhase(Enum):
    """What a session waits for."""

    HELLO = "the MSE's hello"
    DIALING = "TCP's connection to the WLC"
    SHAKING_WLC = "the handshake with the WLC"
    # A client of TLS 1.3 is done before the server has judged it.
    UNHEARD = "the WLC's first word after it"
    SHAKING_MSE = "the handshake with the MSE"
    OPEN = "nothing: it is up"
    OVER = "nothing more"


class RelayEnding(NamedTuple):
    """Why a session ended, or never came up.

    Attributes:
        by_mse: it was the MSE's doing; False: the WLC's; None: ours.
        kind: as of `TransportFault`.
        ours: the handshake failed because of something that we refused.
    """

    by_mse: bool | None
    kind: str
    ours: bool = False


class End:
    """One of a session's two sockets.

    Attributes:
        address: of the peer.
        tunnel: over it, once its handshake has begun; it closes the socket then.
        watched: what epoll was asked for.
    """

    __slots__ = ("address", "fd", "is_mse", "sock", "tunnel", "watched")

    def __init__(self, sock: socket.socket, address: tuple[str, int], *, is_mse: bool) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.address = address
        self.is_mse = is_mse
        self.tunnel: Tunnel | None = None
        self.watched = UNWATCHED


class Flow:
    """One direction of a session that is up.

    Attributes:
        notified: the source said that it ends (close_notify).
        finished: so did its TCP (FIN).
        owed: the sink has not been told of that yet: it has no room.
        told: the sink has got our close_notify.
        passed_bytes, passed_records: of plaintext; a record is a TLS record.
    """

    __slots__ = ("finished", "notified", "owed", "passed_bytes", "passed_records", "sink", "source", "told")

    def __init__(self, source: End, sink: End) -> None:
        self.source, self.sink = source, sink
        self.notified = self.finished = self.owed = self.told = False
        self.passed_bytes = self.passed_records = 0

    @property
    def is_over(self) -> bool:
        """Nothing more is read from its source."""
        return self.notified or self.finished


class RelayedSession:
    """An MSE's connection, from when it was accepted.

    Attributes:
        number: from 1, in the order in which MSEs came.
        held: what the WLC said before the MSE's tunnel was up, and when it was read.
        endings: of a session that is up: how each end has ended, the first one first. What comes of an end behind its
            own is not in it: a socket that was closed answers what is still passed on to it with a reset.
        timer: of its deadline; 0: it has none.
    """

    __slots__ = ("endings", "held", "mse", "number", "phase", "timer", "to_mse", "to_wlc", "wlc")

    def __init__(self, number: int, mse: End) -> None:
        self.number = number
        self.mse = mse
        self.wlc: End | None = None
        self.phase = RelayPhase.HELLO
        self.held: tuple[int, bytes] | None = None
        self.endings: list[RelayEnding] = []
        self.timer = 0
        self.to_mse: Flow | None = None
        self.to_wlc: Flow | None = None

    def begin(self) -> None:
        """Both tunnels are up."""
        assert self.wlc is not None
        self.phase = RelayPhase.OPEN
        self.to_wlc, self.to_mse = Flow(self.mse, self.wlc), Flow(self.wlc, self.mse)

    def flow_from(self, end: End) -> Flow:
        """The direction whose source an end is."""
        flow = self.to_wlc if end.is_mse else self.to_mse
        assert flow is not None
        return flow

    def flow_to(self, end: End) -> Flow:
        """The direction whose sink an end is."""
        flow = self.to_mse if end.is_mse else self.to_wlc
        assert flow is not None
        return flow

    def note(self, ending: RelayEnding) -> None:
        """How an end has ended."""
        if all(noted.by_mse is not ending.by_mse for noted in self.endings):
            self.endings.append(ending)

    def ends(self) -> list[End]:
        """Those that there are."""
        return [self.mse] if self.wlc is None else [self.mse, self.wlc]
