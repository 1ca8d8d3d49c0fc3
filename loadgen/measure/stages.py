"""Stages of the load: each has its own histograms, by when things were due, whenever they were done."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from loadgen.distinct import distinct
from loadgen.units import NEVER_NS

Int64s: TypeAlias = NDArray[np.int64]
# What belongs to no stage, whenever it happens: setting sessions up, echoes.
NO_STAGE = ""
# What goes by stages and comes before the first of them: from a stranger whose load is older than ours. In a run it is
# a stage, too, and does not count: no series has the plain name of a metric whose figures are those of stages.
BEFORE = "before"
# The same, after the end of the last one: by then our load is over, and its stages are as long as they were.
AFTER = "after"

OUTSIDE = frozenset({NO_STAGE, BEFORE, AFTER})


def tag_of(stage: str, metric: str) -> str:
    """The name of a stage's series, in intervals and in histograms.hlog: "hold/notify.latency"."""
    return f"{stage}/{metric}" if stage else metric


def stage_of(tag: str) -> tuple[str, str]:
    """Stage and metric of a tag."""
    stage, _, metric = tag.rpartition("/")
    return stage, metric


class Part(NamedTuple):
    """The rows of a column of times that belong to one stage, and the least and the greatest of these times."""

    stage: str
    rows: slice | Int64s
    low_ns: int
    high_ns: int


class StageClock:
    """Which stage a time belongs to. Stages follow each other; the last one goes on until there is another.

    Attributes:
        over_ns: from when on the load is over, as far as that is known.
        before_change: called before stages are added: whoever counts by stage has to hand over what it has.
    """

    def __init__(self, before: str = NO_STAGE) -> None:
        """Args: before: the stage of what comes before the first one."""
        self._names = [before]
        # A list: to look one time up in a column takes numpy ten times as long.
        self._starts_ns = [int(np.iinfo(np.int64).min)]
        self.over_ns = NEVER_NS
        self._latest_ns = self._starts_ns[0]  # of the columns that were split so far
        self.before_change: list[Callable[[], None]] = []

    def add(self, names: Sequence[str], starts_ns: Sequence[int]) -> int:
        """More stages; their names are new ones. Those that would begin later than these never will.

        Returns: how long (ns) after the first of them begins columns were split as if it did not.
        """
        for tell in self.before_change:
            tell()
        known = bisect_left(self._starts_ns, starts_ns[0])
        self._names = [*self._names[:known], *names]
        self._starts_ns = [*self._starts_ns[:known], *starts_ns]
        self.over_ns = self._starts_ns[-1] if names[-1] == AFTER else NEVER_NS
        return max(0, self._latest_ns - starts_ns[0])

    def start_ns(self, stage: str) -> int:
        """When a stage began."""
        return self._starts_ns[self._names.index(stage)]

    def end_ns(self, stage: str) -> int:
        """When the next one began, or will."""
        following = self._names.index(stage) + 1
        return self._starts_ns[following] if following < len(self._names) else NEVER_NS

    def shares(self, begin_ns: int, end_ns: int) -> Iterable[tuple[str, int, float]]:
        """Each stage that something went on in, when that began, and how much of the time that was, from 0 to 1.

        Nearly always it is one stage.
        """
        first = bisect_right(self._starts_ns, begin_ns) - 1
        if first + 1 == len(self._names) or end_ns <= self._starts_ns[first + 1]:
            return ((self._names[first], self._starts_ns[first], 1.0),)
        return self._shares(first, begin_ns, end_ns)

    def _shares(self, first: int, begin_ns: int, end_ns: int) -> Iterable[tuple[str, int, float]]:
        for name, start_ns, stop_ns in zip(
            self._names[first:], self._starts_ns[first:], [*self._starts_ns[first + 1 :], NEVER_NS], strict=True
        ):
            if start_ns >= end_ns and start_ns > begin_ns:
                break
            inside_ns = min(end_ns, stop_ns) - max(begin_ns, start_ns)
            yield name, start_ns, inside_ns / (end_ns - begin_ns) if end_ns > begin_ns else 1.0

    def at(self, time_ns: int) -> str:
        """The stage of one time."""
        return self._names[bisect_right(self._starts_ns, time_ns) - 1]

    def note(self, latest_ns: int) -> None:
        """As much as this was split, elsewhere. Args: latest_ns: the latest time of it."""
        self._latest_ns = max(self._latest_ns, latest_ns)

    def split(self, times_ns: Int64s) -> Iterable[Part]:
        """Each stage that occurs in a column. Nearly always it is one, and all rows."""
        low_ns, high_ns = int(np.minimum.reduce(times_ns)), int(np.maximum.reduce(times_ns))
        self._latest_ns = max(self._latest_ns, high_ns)
        low = bisect_right(self._starts_ns, low_ns)
        if low == len(self._names) or high_ns < self._starts_ns[low]:
            return (Part(self._names[low - 1], slice(None), low_ns, high_ns),)
        found = np.searchsorted(self._starts_ns, times_ns, "right") - 1
        parts = []
        for stage in distinct(found):
            rows = np.flatnonzero(found == stage)
            parts.append(Part(self._names[stage], rows, int(times_ns[rows].min()), int(times_ns[rows].max())))
        return parts
