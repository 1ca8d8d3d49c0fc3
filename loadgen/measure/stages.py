"""Stages of the load: each has its own histograms, by when things were due, whenever they were done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Int64s: TypeAlias = NDArray[np.int64]
# What belongs to no stage, whenever it happens: setting sessions up, echoes.
NO_STAGE = ""
# What goes by stages and comes before the first of them: from a stranger whose load is older than ours. In a run it is
# a stage, too, and does not count: no series has the plain name of a metric whose figures are those of stages.
BEFORE = "before"


def tag_of(stage: str, metric: str) -> str:
    """The name of a stage's series, in intervals and in histograms.hlog: "hold/notify.latency"."""
    return f"{stage}/{metric}" if stage else metric


def stage_of(tag: str) -> tuple[str, str]:
    """Stage and metric of a tag."""
    stage, _, metric = tag.rpartition("/")
    return stage, metric


class StageClock:
    """Which stage a time belongs to. Stages follow each other; the last one goes on until there is another."""

    def __init__(self, before: str = NO_STAGE) -> None:
        """Args: before: the stage of what comes before the first one."""
        self._names = [before]
        self._starts_ns = np.array([np.iinfo(np.int64).min])

    def add(self, names: Sequence[str], starts_ns: Sequence[int]) -> None:
        """More stages, later than all that are known; their names are new ones."""
        self._names += names
        self._starts_ns = np.concatenate([self._starts_ns, np.array(starts_ns, np.int64)])

    def at(self, time_ns: int) -> str:
        """The stage of one time."""
        return self._names[int(np.searchsorted(self._starts_ns, time_ns, "right")) - 1]

    def split(self, times_ns: Int64s) -> Iterable[tuple[str, slice | Int64s]]:
        """Each stage that occurs in a column, with its rows. Nearly always it is one, and all rows."""
        if len(self._names) == 1:
            return ((self._names[0], slice(None)),)
        low = int(np.searchsorted(self._starts_ns, times_ns.min(), "right"))
        if low == len(self._names) or times_ns.max() < self._starts_ns[low]:
            return ((self._names[low - 1], slice(None)),)
        found = np.searchsorted(self._starts_ns, times_ns, "right") - 1
        return [(self._names[stage], np.flatnonzero(found == stage)) for stage in np.unique(found)]
