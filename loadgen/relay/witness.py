"""Who is told what goes through a relay, and how sessions end."""

from __future__ import annotations

from typing import Protocol

from loadgen.relay.session import RelayedSession, RelayEnding, RelayPhase


class Witness(Protocol):
    """Who is told what goes through. Times are of the relay's clock, when the plaintext was read."""

    def came_up(self, session: RelayedSession, now_ns: int) -> None:
        """Both tunnels are up."""

    def heard(self, of_mse: bool, session: RelayedSession, now_ns: int, data: memoryview) -> None:
        """One end has said something; the memory is ours again when this returns."""

    def ended(self, of_mse: bool, session: RelayedSession, now_ns: int, *, broken: bool) -> None:
        """One end says no more; broken: the connection is."""

    def over(self, session: RelayedSession, now_ns: int, ending: RelayEnding) -> None:
        """A session that had come up is gone; the ending is the first end's, and the session has the other's."""

    def failed(self, session: RelayedSession, ending: RelayEnding, phase: RelayPhase) -> None:
        """One has not come up."""

    def turned(self, now_ns: int) -> bool:
        """A turn is over: everything has been passed on. False: it is enough, all sessions are to be ended."""
