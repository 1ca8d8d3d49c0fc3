"""The echoes that one end of a session asks for: due at equal intervals, one under way at a time."""

from __future__ import annotations

from loadgen.measure.recorder import Recorder
from loadgen.scenario.schema import SessionTable
from loadgen.units import NEVER_NS


class Echoes:
    """What is due, owed and under way. It says nothing itself: its endpoint does, where `may_ask`.

    Attributes:
        transaction: of the last that was asked. over: of the one before that, which is no longer under way; 0: none.
        next_ns: when the next one becomes due. Those from `owed_ns` until before it are owed.
    """

    __slots__ = (
        *("_due_ns", "_patience_ns", "_recorder", "_sent_ns", "_stopped_ns", "_timers"),
        *("next_ns", "over", "owed_ns", "transaction"),
    )

    def __init__(self, recorder: Recorder, timers: SessionTable, now_ns: int, patience_ns: int) -> None:
        """Args: now_ns: the session is up since then. patience_ns: how long an answer is waited for."""
        self._recorder, self._timers = recorder, timers
        self._patience_ns = patience_ns
        self.owed_ns = self.next_ns = now_ns + timers.echo_interval
        self.transaction = self.over = 0
        self._due_ns = 0
        self._sent_ns: int | None = None  # of the one that is under way
        self._stopped_ns: int | None = None  # when nothing more was asked

    @property
    def under_way(self) -> bool:
        return self._sent_ns is not None

    @property
    def may_ask(self) -> bool:
        """One is owed, and none is under way: its answer would be taken for another's."""
        return self._sent_ns is None and self.owed_ns < self.next_ns

    def asked(self, transaction: int, now_ns: int) -> None:
        """The one that is owed goes out."""
        self.transaction, self._sent_ns, self._due_ns = transaction, now_ns, self.owed_ns
        self.owed_ns += self._timers.echo_interval
        self._recorder.count("echo.sent")
        self._recorder.record("echo.lag", now_ns - self._due_ns)

    def answered(self, transaction: int, now_ns: int) -> int | None:
        """A response came; returns when its request went out, or None if nobody asked for it."""
        sent_ns = self._sent_ns
        if sent_ns is None or transaction != self.transaction:
            self._recorder.count("echo.unmatched")
            return None
        self._recorder.record("echo.latency", now_ns - self._due_ns)
        self._recorder.record("echo.service", now_ns - sent_ns)
        self.end("echo.received")
        return sent_ns

    def end(self, counter: str) -> None:
        """The one that was under way is over."""
        self._recorder.count(counter)
        self._sent_ns, self.over = None, self.transaction

    def owe(self, now_ns: int) -> None:
        """What is due by now is owed."""
        if now_ns >= self.next_ns:
            interval = self._timers.echo_interval
            count = 1 + (now_ns - self.next_ns) // interval
            self.next_ns += interval * count
            self._recorder.count("echo.due", count)

    def drop(self, before_ns: int) -> None:
        """Give up what is owed and was due before that."""
        if (until_ns := min(before_ns, self.next_ns)) > self.owed_ns:
            interval = self._timers.echo_interval
            count = -(-(until_ns - self.owed_ns) // interval)
            self.owed_ns += interval * count
            self._recorder.count("echo.dropped", count)

    def tend(self, now_ns: int) -> None:
        """Let time pass. An answer that did not come is not asked for again: the dead interval decides. For as long as
        that, what is due meanwhile is owed: a peer that is given up after so long is told nothing older.
        """
        self.owe(now_ns)
        self.drop(now_ns - self._timers.dead_interval)
        if self.given_up_ns() <= now_ns:
            self.end("echo.unanswered")

    def given_up_ns(self) -> int:
        """When the missing answer is waited for no longer."""
        return NEVER_NS if self._sent_ns is None else min(NEVER_NS, self._sent_ns + self._patience_ns)

    def stop(self, now_ns: int) -> None:
        """The session is over, or we are about to say goodbye: nothing is asked any more."""
        if self._stopped_ns is None:
            self._stopped_ns = now_ns
        # What became due since we looked last is not owed any more, unless it would have had to wait.
        held_up = self._sent_ns is not None and not self._has_time(self._sent_ns, now_ns)
        if held_up or self.owed_ns < self.next_ns:
            self.owe(now_ns)
        self.drop(NEVER_NS)
        self.owed_ns = self.next_ns = NEVER_NS

    def _has_time(self, sent_ns: int, now_ns: int) -> bool:
        """An echo that was sent then may be under way: the next one is not due yet."""
        return now_ns - sent_ns < self._timers.echo_interval

    def settle(self) -> None:
        """No answer comes any more."""
        if (sent_ns := self._sent_ns) is not None:
            self._sent_ns = None
            in_time = self._stopped_ns is not None and self._has_time(sent_ns, self._stopped_ns)
            self._recorder.count("echo.withdrawn" if in_time else "echo.unanswered")
