"""How long a worker stood still, in each part of a run: its loop did not get to what was due, for whatever reason."""

from __future__ import annotations

from typing import Protocol

from loadgen.clock import CPU, MONOTONIC, Nanoseconds


class Stalling(Protocol):
    """A loop that knows how late it was."""

    def stall_ns(self, now_ns: int) -> int:
        """The longest time for which it did not get to what was due, or has not yet, since `forget_stalls`."""

    def forget_stalls(self, now_ns: int) -> None:
        """What was until now does not count."""


class Pauses:
    """Longest stalls (ns) before the load, during it, and after it; and the garbage collector's part in the load.

    A part ends with what it is worth, so that a worker that was stopped over its end tells of it all the same.

    Attributes:
        setup_ns, load_ns, closing_ns: of earlier parts, and of the one that goes on as far as `look` has seen.
        longest_gc_ns, gc_ns: of the load; the longest pause, and all together.
    """

    def __init__(self, clock: Nanoseconds = MONOTONIC, cpu: Nanoseconds = CPU) -> None:
        """Args: cpu: how long this process has been computing."""
        self._clock, self._cpu = clock, cpu
        self.setup_ns = self.load_ns = self.closing_ns = 0
        self.longest_gc_ns = self.gc_ns = 0
        self._in_load = self._over = False
        self._gc_started_ns = 0
        self._opened_ns: int | None = None

    def opens(self) -> None:
        """Peers may connect from now on, and the loop that accepts them does not turn yet."""
        self._opened_ns = self._clock() - self._cpu()

    def drives(self) -> None:
        """The loop begins. What kept it until now, but for work of ours, kept peers waiting that had connected."""
        if self._opened_ns is not None:
            stood_ns = self._clock() - self._cpu() - self._opened_ns
            self.setup_ns, self._opened_ns = max(self.setup_ns, stood_ns), None

    def look(self, loop: Stalling | None) -> None:
        """Take over what the loop has to tell of the part that goes on."""
        stall_ns = 0 if loop is None else loop.stall_ns(self._clock())
        if self._in_load:
            self.load_ns = max(self.load_ns, stall_ns)
        elif self._over:
            self.closing_ns = max(self.closing_ns, stall_ns)
        else:
            self.setup_ns = max(self.setup_ns, stall_ns)

    def begin_load(self, loop: Stalling | None) -> None:
        """The load begins, or its part that counts; another load is another beginning."""
        self.look(loop)
        # Between two loads nothing is measured.
        self.setup_ns = 0 if self._over else max(self.setup_ns, self.load_ns)
        self._in_load, self._over = True, False
        self.forget_load(loop)

    def forget_load(self, loop: Stalling | None) -> None:
        """What stood still since the load began did not do so in it."""
        self.load_ns = self.closing_ns = self.longest_gc_ns = self.gc_ns = 0
        self._forget(loop)

    def end_load(self, loop: Stalling | None) -> None:
        """It is over; what follows is closing. A second call changes nothing."""
        if self._in_load:
            self.look(loop)
            self._in_load, self._over = False, True
            self._forget(loop)

    def _forget(self, loop: Stalling | None) -> None:
        if loop is not None:
            loop.forget_stalls(self._clock())

    def note_garbage(self, phase: str, _info: dict[str, int]) -> None:
        """For `gc.callbacks`."""
        now = self._clock()
        if phase == "start":
            self._gc_started_ns = now
        elif self._in_load:
            self.longest_gc_ns = max(self.longest_gc_ns, now - self._gc_started_ns)
            self.gc_ns += now - self._gc_started_ns
