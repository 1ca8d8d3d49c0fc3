"""Which of a worker's handshakes are traced: the first ones, each given out whole once it is over.

`diagnosis.field_trace` makes lines of the events; here they are gathered, and bounded: in number, and
in length, because a peer that sends byte by byte makes three events of each.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

import msgspec
from OpenSSL import SSL

from loadgen.nmsp.messages import Role
from loadgen.transport.patient import PatientTunnel
from loadgen.transport.tls import Tunnel
from loadgen.transport.trace import Happening, Sink, TracedPatientTunnel, TracedTunnel, TraceEvent

# A handshake has about sixty.
MAX_EVENTS = 1000
# Of one that has more, how it ends is kept; of these there are few.
_MAX_OF_THE_END = 100
_OFTEN = frozenset({Happening.ENTERED, Happening.WAITING, Happening.STATE})
_OVER = frozenset({Happening.CONFIRMED, Happening.RELEASED})


class Traced(msgspec.Struct, frozen=True, tag=True):
    """A traced handshake that is over; a worker sends it to its supervisor.

    Attributes:
        number: of the WLC or MSE whose end of it this is, in the plan.
        host, port: of the other end.
        connection: what tells it from others of the same worker at the same time.
        left_out: events that there was no room for.
    """

    role: Role
    number: int
    host: str
    port: int
    connection: int
    events: tuple[TraceEvent, ...]
    left_out: int = 0


class Tracer:
    """Makes the tunnels of a shard: traced ones first, and plain ones once there were enough of those.

    Attributes:
        untraced: handshakes that were begun and not traced.
    """

    def __init__(self, role: Role, numbers: Sequence[int], limit: int, give: Callable[[Traced], None]) -> None:
        """Args:
        numbers: in the plan, of the WLC at each of a shard's listeners, or of the MSE of each of its sessions.
        limit: how many handshakes are traced.
        give: gets them, each when it is over.
        """
        self._role, self._numbers, self._give = role, numbers, give
        self._left = limit
        self.untraced = 0

    def client(self, context: SSL.Context, sock: socket.socket, row: int, peer: tuple[str, int]) -> Tunnel:
        """A tunnel of the MSE of this row, to the WLC at `peer`."""
        if (sink := self._sink(row, peer)) is None:
            return Tunnel(context, sock, server=False)
        return TracedTunnel(context, sock, sink, server=False)

    def server(
        self, context: SSL.Context, sock: socket.socket, row: int, peer: tuple[str, int], *, patient: bool
    ) -> Tunnel:
        """A tunnel of the WLC of this row, from the MSE at `peer`; `patient`: its AAA takes its time."""
        sink = self._sink(row, peer)
        if patient:
            return PatientTunnel(context, sock) if sink is None else TracedPatientTunnel(context, sock, sink)
        return Tunnel(context, sock, server=True) if sink is None else TracedTunnel(context, sock, sink, server=True)

    def _sink(self, row: int, peer: tuple[str, int]) -> Sink | None:
        if not self._left:
            self.untraced += 1
            return None
        self._left -= 1
        return _Gathering(self._role, self._numbers[row], peer, self._give).take


class _Gathering:
    """The events of one handshake, until it is over; what the tunnel tells afterwards is no handshake's."""

    def __init__(self, role: Role, number: int, peer: tuple[str, int], give: Callable[[Traced], None]) -> None:
        self._role, self._number, self._peer, self._give = role, number, peer, give
        self._events: list[TraceEvent] | None = []
        self._left_out = 0

    def take(self, event: TraceEvent) -> None:
        events = self._events
        if events is None:
            return
        often = event.happening in _OFTEN and not event.is_alert
        if len(events) < MAX_EVENTS + (0 if often else _MAX_OF_THE_END):
            events.append(event)
        else:
            self._left_out += 1
        if event.happening in _OVER:
            self._events = None
            # The address of something that lives as long as the tunnel: a controller prints its connection's.
            connection = id(self) & 0xFFFFFFFF
            self._give(Traced(self._role, self._number, *self._peer, connection, tuple(events), self._left_out))
