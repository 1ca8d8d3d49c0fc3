"""Which of a worker's handshakes are traced: the first ones, each given out whole once it is over.

`diagnosis.field_trace` makes lines of the events; here they are gathered, and bounded: in number, and
in length, because a peer that sends byte by byte makes three events of each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from loadgen.nmsp.messages import Role
from loadgen.transport.trace import Happening, Observer, TraceEvent

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


class Tracing(NamedTuple):
    """What is done with traced handshakes.

    Attributes:
        limit: how many of a side are wanted. Every worker traces so many: nobody knows whose will be the first.
        hear: gets each when it is over, with its worker's process id, and what turns its times into ns since the epoch.
        end: gets, of each side, how many its workers did not trace; None if one of them never told.
    """

    limit: int
    hear: Callable[[Traced, int, int], None]
    end: Callable[[Mapping[Role, int | None]], None]


class Tracer:
    """Gives observers to the tunnels of a shard: to the first ones, until there were enough of those.

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

    def observer(self, row: int, peer: tuple[str, int], *, patient: bool = False) -> Observer | None:
        """For a handshake that begins; None: it is not traced.

        Args:
            row: of the WLC or MSE whose end of it this is.
            peer: the other end.
            patient: the WLC's AAA takes its time.
        """
        if not self._left:
            self.untraced += 1
            return None
        self._left -= 1
        return Observer(_Gathering(self._role, self._numbers[row], peer, self._give).take, patient=patient)


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
