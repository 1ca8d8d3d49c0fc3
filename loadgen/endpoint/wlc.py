"""The wireless LAN controller: offers subservices, grants subscriptions, answers echoes, and owes notifications."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
                self.granted |= asked & self.settings.mask
                status = Status.OK if self.granted else Status.NOTHING_GRANTED
                self.say(SubscribeResponse(self.granted, status), transaction)
            case EchoRequest():
                self.say(EchoResponse(), transaction)
                self.settings.recorder.count("echo.answered")


class Ledger:
    """What a worker's WLCs owe their MSEs: a row for each subscriber, counts against the schedule's count.

    In a run with both fleets a row exists from the start, so that whatever is due while its session is down or blocked
    is late, and then dropped. For somebody else's MSE it begins when the MSE subscribes and ends when it leaves.

    Attributes (int64 columns, an entry for each row):
        base: the schedule's count when the row began.
        done: sent or dropped; the index of the next one.
        end: the schedule's count when the row ended; NEVER while it has not.
        dropped: given up; own_dropped: of those, the ones that the peer would have taken.
        sent: over the present session; the sequence number of the next one.
        behind: 1 from when the peer's socket was full until all that is owed was sent: what is late then is its doing.
    """

    NEVER = (1 << 63) - 1
    _COLUMNS = ("base", "done", "end", "dropped", "own_dropped", "sent", "behind")

    def __init__(self) -> None:
        self.rows = 0
        self.base, self.done, self.end, self.dropped, self.own_dropped, self.sent, self.behind = (
            np.zeros(16, np.int64) for _ in self._COLUMNS
        )

    def add(self, base: int = 0) -> int:
        """Begin a row; returns its number."""
        row = self.rows
        if row == len(self.done):
            for name in self._COLUMNS:
                setattr(self, name, np.concatenate([getattr(self, name), np.zeros(row, np.int64)]))
        self.rows += 1
        self.base[row] = self.done[row] = base
        self.end[row] = self.NEVER
        return row

    def restart(self) -> None:
        """A new schedule begins, with its counts at 0; rows that ended stay so."""
        rows = slice(self.rows)
        self.end[rows] = np.where(self.end[rows] == self.NEVER, self.NEVER, 0)
        for column in (self.base, self.done, self.dropped, self.own_dropped):
            column[rows] = 0

    def due(self, row: int, due_now: int) -> int:
        """How many were due so far, if `due_now` are by the schedule."""
        return min(due_now, int(self.end[row])) - int(self.base[row])

    def owed(self, row: int, due_now: int) -> int:
        """How many are due and neither sent nor dropped."""
        return min(due_now, int(self.end[row])) - int(self.done[row])

    def drop_until(self, row: int, index: int, *, ours: bool) -> None:
        """Give up everything before `index` that is still owed: nobody wants a location that old."""
        count = index - int(self.done[row])
        if count > 0:
            self.dropped[row] += count
            if ours:
                self.own_dropped[row] += count
            self.done[row] = index

    def close(self, row: int, due_now: int) -> None:
        """End a row: nothing more becomes due, and what is owed is given up."""
        self.end[row] = min(due_now, int(self.end[row]))
        self.drop_until(row, int(self.end[row]), ours=False)

    def totals(self, due_now: NDArray[np.int64]) -> tuple[int, int, int]:
        """Due, dropped and own_dropped of all rows; `due_now` is by row."""
        rows = slice(self.rows)
        due = np.minimum(due_now, self.end[rows]) - self.base[rows]
        return int(due.sum()), int(self.dropped[rows].sum()), int(self.own_dropped[rows].sum())
