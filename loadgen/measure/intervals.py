"""Intervals of all workers together, each let go of once it is whole: nothing of a run has to wait for its end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from loadgen.measure.histogram import Filled, Histogram, merged
from loadgen.measure.hlog import LogLine
from loadgen.measure.recorder import Interval

# A worker that is so many intervals behind another one is not waited for; what it hands in later is given by itself.
LATE = 10
# Histograms of a tag that wait for their interval to be whole. Where they are more, they are added up as they come:
# those of hundreds of workers have a hundred megabytes.
_MOST_PARTS = 32


class WholeInterval:
    """What all workers saw in one interval, as far as they have told; or more of one that was let go of before.

    Attributes:
        index: which interval since the start of the run.
        counters: of each worker, since the start of the run.
        cpu_s: of each worker, since it began, where it is known.
        active: sessions, when the last of them told, in the load or before it; None if nobody said.
        parts: histograms by tag, one of each worker that has any; empty where these are too many to keep.
    """

    def __init__(self, index: int) -> None:
        self.index = index
        self.counters: dict[str, dict[str, int]] = {}
        self.cpu_s: dict[str, float] = {}
        self.active: int | None = None
        self.parts: dict[str, list[Filled]] = {}
        self._merged: dict[str, Histogram] = {}

    def add(self, worker: str, interval: Interval, cpu_s: float | None, active: int | None) -> None:
        """One worker's part, or more of it."""
        self.counters[worker] = interval.counters
        if cpu_s is not None:
            self.cpu_s[worker] = cpu_s
        self.active = active
        for tag, filled in interval.decoded.items():
            if tag in self._merged:
                self._merged[tag].fill(filled)
                continue
            parts = self.parts.setdefault(tag, [])
            parts.append(filled)
            if len(parts) == _MOST_PARTS:
                self._merged[tag] = merged(parts)
                parts.clear()

    def histogram(self, tag: str) -> Histogram:
        """Of a tag, over all workers, once the interval is whole; made once."""
        if tag not in self._merged:
            self._merged[tag] = merged(self.parts[tag])
        return self._merged[tag]

    def lines(self, interval_s: float) -> Iterator[LogLine]:
        """For the interval log."""
        for tag in sorted(self.parts):
            known = self._merged.pop(tag, None)  # a quarter of a megabyte each, and here they are looked at last
            yield LogLine(tag, self.index * interval_s, interval_s, known or merged(self.parts[tag]))


class Intervals:
    """Takes what workers hand in, and gives whole intervals, in order of time; then what is late, as it comes."""

    def __init__(self, give: Callable[[WholeInterval], None]) -> None:
        self._give = give
        self._handed: dict[str, int] = {}  # of each worker that is waited for: the last interval that it has closed
        self._open: dict[int, WholeInterval] = {}
        self._gone = self._newest = -1
        self._active: int | None = None  # sessions, when somebody said so last

    def expect(self, workers: Iterable[str]) -> None:
        """They will hand something in."""
        self._handed |= {worker: -1 for worker in workers if worker not in self._handed}

    def part_with(self, worker: str) -> None:
        """Nothing more will come of this one."""
        if self._handed.pop(worker, None) is not None:
            self._let_go()

    def add(self, worker: str, interval: Interval, cpu_s: float | None, active: int | None) -> None:
        """One worker's part.

        Args:
            cpu_s: told at the end of an interval; None: this one may go on.
            active: sessions by now; None: the load is over, and they are as many as were there to its end.
        """
        index = interval.index
        self._active = self._active if active is None else active
        closed = index - (cpu_s is None)
        if closed >= self._handed.get(worker, -1):
            self._handed[worker] = closed
        if index <= self._gone:
            more = WholeInterval(index)
            more.add(worker, interval, cpu_s, None)  # how many there were then, nobody says
            self._give(more)
            return
        self._newest = max(self._newest, index)
        if index not in self._open:
            self._open[index] = WholeInterval(index)
        self._open[index].add(worker, interval, cpu_s, self._active)
        self._let_go()

    def end(self) -> None:
        """Nothing more will come: what is there is whole."""
        self._handed.clear()
        self._let_go()

    def _let_go(self) -> None:
        until = max(min(self._handed.values(), default=self._newest), self._newest - LATE)
        for index in sorted(self._open):
            if index > until:
                break
            self._gone = index
            self._give(self._open.pop(index))
