"""What was found of the clocks of somebody else's WLCs, as results have it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Annotated, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadgen.measure.stages import Int64s

MOST_READINGS = 16

_Address: TypeAlias = Annotated[str, msgspec.Meta(max_length=300)]


class Sides(msgspec.Struct, frozen=True):
    """Sessions by whose notifications a clock is ahead of ours, or behind it, by more than the uncertainty; and by how
    much at most. An address may be that of several machines.
    """

    ahead: int = 0
    ahead_ns: int = 0
    behind: int = 0
    behind_ns: int = 0

    def both(self, other: Sides) -> Sides:
        """Of these sessions and of those."""
        return Sides(
            self.ahead + other.ahead,
            max(self.ahead_ns, other.ahead_ns),
            self.behind + other.behind,
            max(self.behind_ns, other.behind_ns),
        )


class ClockReading(msgspec.Struct, frozen=True):
    """The clock of one WLC, held against that of a worker.

    Attributes:
        wlc: its address.
        sessions: that brought notifications; corrected: of those, whose durations are corrected.
        offset_ns: how far it is ahead of ours, give or take `uncertainty_ns`; by the session that tells it best, and
            rather one that is corrected: an address may be that of several machines.
        drift_ppb: how fast it gains on ours, in ns a second, give or take `drift_uncertainty_ppb`; None: not known.
        steps: how often it was set meanwhile.
        sides: of its sessions.
    """

    wlc: _Address
    sessions: int
    corrected: int
    offset_ns: int
    uncertainty_ns: int
    drift_ppb: int | None = None
    steps: int = 0
    drift_uncertainty_ppb: int = 0
    sides: Sides = Sides()


class Clocks(msgspec.Struct, frozen=True):
    """The clocks of all WLCs that are not ours, as notifications and round trips tell of them.

    Attributes:
        wlcs: how many have one; corrected: of those, how many are not ours by more than the uncertainty.
        unsteady: sessions whose WLC's clock was set again and again: nothing of theirs is corrected.
        less_ns, more_ns: by so much durations of notifications may be less, or more, than they are shown.
        readings: the clocks that are furthest off.
        sides: of all sessions.
        held_ns: of `more_ns`, what was taken off for a clock that is behind or fell back, if a WLC held it instead.
        lone: reads of notifications by whose times alone a clock would be further ahead, by 10 ms or more: taken for
            wrong times. lone_ns: of `more_ns`, what durations may be longer if one of them was right.
        far: WLCs of which sessions tell times that are none of a clock, 73 years and more from ours, and nothing
            else; `wlcs` has such a session not. far_named: some of them.
    """

    wlcs: int = 0
    corrected: int = 0
    unsteady: int = 0
    less_ns: int = 0
    more_ns: int = 0
    readings: Annotated[tuple[ClockReading, ...], msgspec.Meta(max_length=MOST_READINGS)] = ()
    held_ns: int = 0
    lone: int = 0
    lone_ns: int = 0
    sides: Sides = Sides()
    far: int = 0
    far_named: Annotated[tuple[_Address, ...], msgspec.Meta(max_length=MOST_READINGS)] = ()


def merged(parts: Iterable[Clocks]) -> Clocks:
    """What several workers found. A WLC with which more than one of them has sessions is listed once."""
    parts = tuple(parts)
    best: dict[str, ClockReading] = {}
    again = again_corrected = 0
    for reading in (reading for part in parts for reading in part.readings):
        if (known := best.get(reading.wlc)) is None:
            best[reading.wlc] = reading
            continue
        again += 1
        again_corrected += bool(known.corrected and reading.corrected)
        best[reading.wlc] = msgspec.structs.replace(
            min(known, reading, key=lambda each: (not each.corrected, each.uncertainty_ns)),
            sessions=known.sessions + reading.sessions,
            corrected=known.corrected + reading.corrected,
            steps=max(known.steps, reading.steps),
            sides=known.sides.both(reading.sides),
        )
    far = [name for part in parts for name in part.far_named]
    return Clocks(
        wlcs=sum(part.wlcs for part in parts) - again,
        corrected=sum(part.corrected for part in parts) - again_corrected,
        unsteady=sum(part.unsteady for part in parts),
        less_ns=max((part.less_ns for part in parts), default=0),
        more_ns=max((part.more_ns for part in parts), default=0),
        readings=_furthest(best.values()),
        held_ns=max((part.held_ns for part in parts), default=0),
        lone=sum(part.lone for part in parts),
        lone_ns=max((part.lone_ns for part in parts), default=0),
        sides=reduce(Sides.both, (part.sides for part in parts), Sides()),
        far=sum(part.far for part in parts) - (len(far) - len({*far})),
        far_named=tuple(sorted({*far}))[:MOST_READINGS],
    )


def _furthest(readings: Iterable[ClockReading]) -> tuple[ClockReading, ...]:
    """The WLCs worth naming: first those that are corrected, or were set, by how far they are off."""
    key = lambda each: (not each.corrected, -each.steps, -abs(each.offset_ns), each.wlc)  # noqa: E731
    return tuple(sorted(readings, key=key)[:MOST_READINGS])


class OfWlcs:
    """What sessions tell of the clocks of their WLCs, each in a column; of all sessions with a WLC, one tells it best.

    Attributes:
        best: places of these sessions.
        uncorrected: those of them whose WLC has no session that is corrected.
        sides: of all sessions.
    """

    def __init__(
        self, wlc: Int64s, offset: Int64s, uncertainty: Int64s, corrected: NDArray[np.bool_], steps: Int64s
    ) -> None:
        """Args: wlc: a number of the one that each session is with."""
        self._wlc, self._offset, self._uncertainty = wlc, offset, uncertainty
        order = np.lexsort((uncertainty, ~corrected, wlc))
        self.best = order[np.flatnonzero(np.diff(wlc[order], prepend=-1))]
        wlcs = int(wlc.max(initial=-1)) + 1
        self._sessions, self._corrected, self._steps = (np.zeros(wlcs, np.int64) for _ in range(3))
        np.add.at(self._sessions, wlc, 1)
        np.add.at(self._corrected, wlc, corrected)
        np.maximum.at(self._steps, wlc, steps)
        apart = np.abs(offset) > uncertainty
        self._apart = [np.where(apart & (sign * offset > 0), sign * offset, 0) for sign in (1, -1)]
        self.sides = self._sides(np.ones(len(wlc), bool))
        self.uncorrected = self.best[self._corrected[wlc[self.best]] == 0]

    def _sides(self, chosen: NDArray[np.bool_]) -> Sides:
        ahead, behind = (column[chosen] for column in self._apart)
        counts = [int(np.count_nonzero(column)) for column in (ahead, behind)]
        return Sides(counts[0], int(ahead.max(initial=0)), counts[1], int(behind.max(initial=0)))

    def furthest(self) -> Int64s:
        """Of `best`, those worth naming, as `_furthest` has them, before there are thousands."""
        theirs = self._wlc[self.best]
        keys = (-np.abs(self._offset[self.best]), -self._steps[theirs], self._corrected[theirs] == 0)
        furthest: Int64s = self.best[np.lexsort(keys)[:MOST_READINGS]]
        return furthest

    def readings(
        self, names: Sequence[str], drift: Callable[[int], tuple[int | None, int]]
    ) -> tuple[ClockReading, ...]:
        """Those worth naming. Args: names: of all WLCs. drift: by place, and its uncertainty; in ppb."""
        return tuple(self.reading(place, names, *drift(place)) for place in self.furthest().tolist())

    def reading(
        self, place: int, names: Sequence[str], drift_ppb: int | None, drift_uncertainty_ppb: int
    ) -> ClockReading:
        """Args: place: of a session. names: of all WLCs."""
        wlc = self._wlc[place]
        return ClockReading(
            wlc=names[wlc],
            sessions=int(self._sessions[wlc]),
            corrected=int(self._corrected[wlc]),
            offset_ns=int(self._offset[place]),
            uncertainty_ns=int(self._uncertainty[place]),
            drift_ppb=drift_ppb,
            steps=int(self._steps[wlc]),
            drift_uncertainty_ppb=drift_uncertainty_ppb,
            sides=self._sides(self._wlc == wlc),
        )
