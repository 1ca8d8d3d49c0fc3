"""The state table of an NMSP session, and the one gate that every message passes.

Order of exchanges (public): version, service exchange, then notifications. The table does not know which side we are,
so that we cannot play by other rules than the peer: both sides' messages go through the same rows.
"""

from __future__ import annotations

from enum import IntEnum

from loadgen.errors import LocalProtocolError, RemoteProtocolError
from loadgen.nmsp.catalogue import CATALOGUE
from loadgen.nmsp.messages import Kind, Role


class State(IntEnum):
    """Where a session stands. ERROR is final: a half-applied message cannot be used again."""

    CONNECTED = 0  # TLS is up, nothing was said
    VERSION_ASKED = 1
    VERSION_AGREED = 2
    CAPABILITY_KNOWN = 3
    SUBSCRIBING = 4
    ACTIVE = 5
    CLOSED = 6
    ERROR = 7


TRANSITIONS: dict[State, dict[tuple[Role, Kind], State]] = {
    State.CONNECTED: {(Role.MSE, Kind.VERSION_REQUEST): State.VERSION_ASKED},
    State.VERSION_ASKED: {(Role.WLC, Kind.VERSION_RESPONSE): State.VERSION_AGREED},
    State.VERSION_AGREED: {(Role.WLC, Kind.CAPABILITY): State.CAPABILITY_KNOWN},
    State.CAPABILITY_KNOWN: {(Role.MSE, Kind.SUBSCRIBE_REQUEST): State.SUBSCRIBING},
    State.SUBSCRIBING: {(Role.WLC, Kind.SUBSCRIBE_RESPONSE): State.ACTIVE},
    # Everything but the version exchange, in any number and mixture. Whether a response was asked for, and whether a
    # notification was subscribed to, is for the endpoint to judge: it is counted, and the session goes on.
    State.ACTIVE: {
        (entry.sender, kind): State.ACTIVE
        for kind, entry in CATALOGUE.items()
        if kind not in (Kind.VERSION_REQUEST, Kind.VERSION_RESPONSE)
    },
    State.CLOSED: {},
    State.ERROR: {},
}

# Legal wherever a session is open, changes nothing: unknown ids are counted, the link stays.
_ANYWHERE = Kind.UNSUPPORTED


class Session:
    """The joint state of one session, seen by `local`."""

    __slots__ = ("local", "state")

    def __init__(self, local: Role) -> None:
        self.local = local
        self.state = State.CONNECTED

    def message(self, sender: Role, kind: Kind) -> State:
        """Let one message (or any number of one kind, for notifications) pass; returns the new state.

        Raises:
            RemoteProtocolError: kind `unexpected_message`: the peer may not send this now.
            LocalProtocolError: we may not; a bug.
        """
        row = TRANSITIONS[self.state]
        new = row.get((sender, kind))
        if new is None:
            if kind is _ANYWHERE and row:
                return self.state
            state, self.state = self.state, State.ERROR
            fault = LocalProtocolError if sender is self.local else RemoteProtocolError
            expected = ", ".join(f"{k.label} from the {r.name}" for r, k in row) or "nothing more"
            if state is State.ACTIVE:
                expected = "anything but a version exchange, from the side that sends it"
            raise fault(
                "unexpected_message",
                f"in state {state.name} expected {expected}; found {kind.label} from the {sender.name}",
            )
        self.state = new
        return new

    def close(self) -> None:
        """The tunnel is gone, whoever closed it."""
        if self.state is not State.ERROR:
            self.state = State.CLOSED
