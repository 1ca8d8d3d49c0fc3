"""The wireless LAN controller: offers subservices, grants subscriptions, answers echoes, and owes notifications."""

from __future__ import annotations

from loadgen.endpoint.link import Endpoint
from loadgen.nmsp.messages import (
    PROTOCOL_VERSION,
    Capability,
    EchoRequest,
    EchoResponse,
    Message,
    Role,
    Status,
    SubscribeRequest,
    SubscribeResponse,
    VersionRequest,
    VersionResponse,
)


class WlcEndpoint(Endpoint):
    """The WLC's end of one session."""

    __slots__ = ()

    role = Role.WLC

    def on_message(self, message: Message, transaction: int, now_ns: int) -> None:
        match message:
            case VersionRequest(lowest=lowest, highest=highest):
                if not lowest <= PROTOCOL_VERSION <= highest:
                    # Answered, and then nothing follows: the MSE closes, or runs into the set-up timeout.
                    self.say(VersionResponse(PROTOCOL_VERSION, Status.UNSUPPORTED_VERSION), transaction)
                    return
                self.say(VersionResponse(PROTOCOL_VERSION, Status.OK), transaction)
                self.say(Capability(self.settings.mask))
            case SubscribeRequest(subservices=asked):
                self.granted = asked & self.settings.mask
                status = Status.OK if self.granted else Status.NOTHING_GRANTED
                self.say(SubscribeResponse(self.granted, status), transaction)
            case EchoRequest():
                self.say(EchoResponse(), transaction)
                self.settings.recorder.count("echo.answered")


class Subscriber:
    """What one WLC owes one MSE: a count of notifications handed out so far, against the schedule's count.

    In a run with both fleets the subscriber exists from the start, so that whatever is due while its session is down
    or blocked is late, and then dropped. For somebody else's MSE it begins when the MSE subscribes and ends when it
    leaves.
    """

    __slots__ = ("base", "done", "dropped", "end", "own_dropped")

    def __init__(self, base: int = 0) -> None:
        self.base = base
        self.done = base  # sent or dropped; the index of the next one
        self.end: int | None = None
        self.dropped = 0
        self.own_dropped = 0  # of those, the ones that the peer would have taken

    def due(self, due_now: int) -> int:
        """How many were due so far, if `due_now` are by the schedule."""
        return (due_now if self.end is None else self.end) - self.base

    def owed(self, due_now: int) -> int:
        """How many are due and neither sent nor dropped."""
        return (due_now if self.end is None else self.end) - self.done

    def drop_until(self, index: int, *, ours: bool) -> None:
        """Give up everything before `index` that is still owed: nobody wants a location that old."""
        if index > self.done:
            self.dropped += index - self.done
            if ours:
                self.own_dropped += index - self.done
            self.done = index
