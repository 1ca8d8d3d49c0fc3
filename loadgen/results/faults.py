"""Errors as the events that they are. With both sides ours, a session that fails is an error at both of its ends, under
two names: one event, told twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

# What happens before a session is up, and afterwards: the phases in which the MSE's and the WLC's end tell of it. Of a
# connection that never came up the WLC has not heard. What follows a handshake of a load of them, both ends count as
# `close`: whichever is ours, and where both are, nobody knows which.
_CONNECTING = (("tcp",), ())
_SESSION_ENDS = (_CONNECTING, (("tls", "session"), ("accept",)), (("stream", "close"), ("serve",)))
_HANDSHAKE_ENDS = (_CONNECTING, (("tls", "session", "stream"), ("accept", "close", "serve")))
_DIALED_ENDS = (_CONNECTING, (("tls", "session", "stream", "close"), ("accept", "serve")))
# A side's, of a load of handshakes.
_OURS = {"MSE": ("handshakes.due", "handshakes.resumption_asked"), "WLC": ("accept.attempts",)}
_EITHER = "MSE or WLC"


class Error(msgspec.Struct, frozen=True):
    """`errors.<phase>.<kind>`, how often, and at whose end it was seen: MSE, WLC, or one of both."""

    name: str
    count: int
    end: str


class Faults(NamedTuple):
    """The errors of a run, the most frequent first.

    Attributes:
        told: of each event once, from the end that saw more of its sort; from the MSE's, if both saw as many.
        again: the same events from the other end; nothing where only one side is ours.
    """

    told: tuple[Error, ...]
    again: tuple[Error, ...]

    @property
    def events(self) -> int:
        """How many."""
        return sum(error.count for error in self.told)


def faults(counters: Mapping[str, int]) -> Faults:
    """From a run's counters."""
    found = [(name, count) for name, count in counters.items() if name.startswith("errors.") and count]
    told, again = list[Error](), list[Error]()
    shaking = "handshakes.completed" in counters
    ours = {side for side, names in _OURS.items() if any(name in counters for name in names)} if shaking else set()
    of_close = {"close": _EITHER} if len(ours) == len(_OURS) else {}
    for mse_phases, wlc_phases in _DIALED_ENDS if ours == {"MSE"} else _HANDSHAKE_ENDS if shaking else _SESSION_ENDS:
        ends = [
            [
                Error(name, count, of_close.get(phase, end))
                for name, count in found
                if (phase := name.split(".")[1]) in phases
            ]
            for end, phases in (("MSE", mse_phases), ("WLC", wlc_phases))
        ]
        # Stable: the MSE's end comes first, unless it saw less.
        more, less = sorted(ends, key=lambda errors: -sum(error.count for error in errors))
        told += more
        again += less
    return Faults(_sorted(told), _sorted(again))


def _sorted(errors: list[Error]) -> tuple[Error, ...]:
    return tuple(sorted(errors, key=lambda error: -error.count))
