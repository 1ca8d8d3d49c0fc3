"""Where an NMSP session stands, and the one gate that every message passes.

What may be said when is the profile's dialogue. The gate does not know which side we are, so that we cannot play by
other rules than the peer: both sides' messages go through the same table.
"""

from __future__ import annotations

from enum import IntEnum

from loadgen.errors import LocalProtocolError, RemoteProtocolError
from loadgen.nmsp.dialogue import Dialogue, Saying, Turn, name_of
from loadgen.nmsp.messages import Kind, Role


class State(IntEnum):
    """Where a session stands. ERROR is final: a half-applied message cannot be used again."""

    OPENING = 0  # TLS is up; `Session.turn` says how much of the opening was said
    ACTIVE = 1
    ENDED_BY_WLC = 2  # it says nothing more; what the MSE had under way may still come
    ENDED_BY_MSE = 3
    ENDED = 4  # by both, at the same time
    CLOSED = 5
    ERROR = 6


_ENDED_BY = {Role.WLC: State.ENDED_BY_WLC, Role.MSE: State.ENDED_BY_MSE}
_OPEN = (State.OPENING, State.ACTIVE, State.ENDED_BY_WLC, State.ENDED_BY_MSE)

# Legal wherever a side may still say something, changes nothing: unknown ids are counted, the link stays.
_ANYWHERE = Kind.UNSUPPORTED


class Session:
    """The joint state of one session, seen by `local`.

    Attributes:
        turn: how many messages of the opening were said.
    """

    __slots__ = ("dialogue", "local", "state", "turn")

    def __init__(self, local: Role, dialogue: Dialogue) -> None:
        self.local = local
        self.dialogue = dialogue
        self.turn = 0
        self.state = State.OPENING if dialogue.opening else State.ACTIVE

    @property
    def expected(self) -> Turn | None:
        """What comes next in the opening; None: there is nothing more to come in it."""
        return self.dialogue.opening[self.turn] if self.state is State.OPENING else None

    def has_ended(self, role: Role) -> bool:
        """This side has said the message that ends the session."""
        return self.state in (_ENDED_BY[role], State.ENDED)

    def message(self, sender: Role, saying: Saying) -> State:
        """Let one message (or any number of one kind, for notifications) pass; returns the new state.

        Raises:
            RemoteProtocolError: kind `unexpected_message`: the peer may not send this now.
            LocalProtocolError: we may not; a bug.
        """
        new = self._after(sender, saying)
        if new is None:
            said, self.state = self.standing(), State.ERROR
            fault = LocalProtocolError if sender is self.local else RemoteProtocolError
            raise fault("unexpected_message", f"{said}; found {name_of(saying)} from the {sender.name}")
        self.state = new
        return new

    def _after(self, sender: Role, saying: Saying) -> State | None:
        """The state behind a message; None: it may not come."""
        state, dialogue = self.state, self.dialogue
        if state is State.ACTIVE:
            if (sender, saying) in dialogue.running:
                return state
            if (sender, saying) in dialogue.endings:
                return _ENDED_BY[sender]
        elif state is State.OPENING:
            if dialogue.opening[self.turn].word == (sender, saying):
                self.turn += 1
                return State.ACTIVE if self.turn == len(dialogue.opening) else state
        elif state in _OPEN and state is not _ENDED_BY[sender]:
            if (sender, saying) in dialogue.running:
                return state
            if (sender, saying) in dialogue.endings:
                return State.ENDED
        if saying is _ANYWHERE and state in _OPEN and not self.has_ended(sender):
            return state
        return None

    def standing(self) -> str:
        """Where the session stands, and what may come there."""
        if (turn := self.expected) is not None:
            return f"in state OPENING, behind {self.turn} of {len(self.dialogue.opening)} messages, expected {turn}"
        expected = "nothing more"
        if self.state is State.ACTIVE:
            expected = "what an active session has, from the side that sends it"
        elif self.state in _OPEN:
            expected = "nothing more from the side that has ended the session"
        return f"in state {self.state.name} expected {expected}"

    def close(self) -> None:
        """The tunnel is gone, whoever closed it."""
        if self.state is not State.ERROR:
            self.state = State.CLOSED
