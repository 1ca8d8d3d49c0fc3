"""When each send is due: arithmetic from its index, so lateness never accumulates and no worker needs another.

A fleet of M members (WLCs that notify, or sessions that shake hands) has one sequence of slots 0, 1, 2, ...; slot i
belongs to member i mod M and is its turn number i div M. A slot is one burst of notifications, or one handshake. The
rate may change linearly (ramp) or stay (hold); the number of slots due by time x within a stage is
r0*x + (r1-r0)*x^2/(2d), and solving that for x gives the due time of a slot.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadgen.units import NS_PER_S


class RateStage(msgspec.Struct, frozen=True):
    """A stretch of the schedule, in slots per second for the whole fleet.

    Attributes:
        start_ns: since the start of the load.
        counted: whether a run's figures include it.
    """

    name: str
    start_ns: int
    duration_ns: int
    start_per_s: float
    end_per_s: float
    counted: bool = True


class Schedule:
    """Due times in ns since the start of the load.

    Attributes:
        slots: how many slots there are in all.
        duration_ns: where the last stage ends.
    """

    def __init__(self, stages: Sequence[RateStage], members: int) -> None:
        self.members = members
        self._bases = [0.0]
        self._starts = [stage.start_ns for stage in stages]
        self._initial = [stage.start_per_s for stage in stages]
        self._quarter: list[float] = []  # 4 * (r1 - r0) / (2 d)
        # A hold is linear, and nearly all of most loads: ns per slot, and 0 for ramps.
        self._pace = [
            0.0 if s.start_per_s != s.end_per_s or not s.start_per_s else NS_PER_S / s.start_per_s for s in stages
        ]
        for stage in stages:
            seconds = stage.duration_ns / NS_PER_S
            self._quarter.append(2 * (stage.end_per_s - stage.start_per_s) / seconds)
            self._bases.append(self._bases[-1] + (stage.start_per_s + stage.end_per_s) / 2 * seconds)
        self.duration_ns = stages[-1].start_ns + stages[-1].duration_ns
        self.slots = math.ceil(self._bases[-1] - 1e-6)
        self._columns = tuple(
            np.array(column, float) for column in (self._bases, self._starts, self._initial, self._quarter, self._pace)
        )

    def due_ns(self, slot: int) -> int:
        """When a slot is due."""
        return self._time_ns(slot)

    def _time_ns(self, slot: float) -> int:
        """The same of any place between slots."""
        stage = self._stage_of(slot)
        k = slot - self._bases[stage]
        if pace := self._pace[stage]:
            return self._starts[stage] + int(k * pace)
        initial = self._initial[stage]
        # The root of the quadratic, in the form that is exact however flat the ramp is.
        root = initial + math.sqrt(max(0.0, initial * initial + self._quarter[stage] * k))
        return self._starts[stage] + (int(2 * k / root * NS_PER_S) if k else 0)

    def table(self) -> list[tuple[float, float, float, float, int]]:
        """Of each stage: slots before it, its rate at first, twice its slope, ns for each slot (0: a ramp), and when it
        starts (ns), as `due_ns` has them.
        """
        return [*zip(self._bases, self._initial, self._quarter, self._pace, self._starts, strict=False)]

    def due_column_ns(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """`due_ns` of many slots: same shape, same values."""
        return self._times_ns(slots)

    def _times_ns(self, slots: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.int64]:
        first = self._stage_of(float(slots.min())) if len(slots) else 0
        if len(slots) and first == self._stage_of(float(slots.max())) and (held := self._pace[first]):
            found: NDArray[np.int64] = ((slots - self._bases[first]) * held).astype(np.int64) + self._starts[first]
            return found
        bases, starts, initials, quarters, paces = self._columns
        stage = np.minimum(np.searchsorted(bases, slots, side="right") - 1, len(starts) - 1)
        k = slots - bases[stage]
        initial = initials[stage]
        root = initial + np.sqrt(np.maximum(0.0, initial * initial + quarters[stage] * k))
        seconds = np.divide(2 * k, root, out=np.zeros_like(root), where=k != 0)
        pace = paces[stage]
        since = np.where(pace != 0, k * pace, seconds * NS_PER_S)
        due: NDArray[np.int64] = starts[stage].astype(np.int64) + since.astype(np.int64)
        return due

    def count_at(self, time_ns: int) -> int:
        """How many slots are due at `time_ns` or before: 0 before the start, `slots` from the end on."""
        if time_ns < 0:
            return 0
        if time_ns >= self.duration_ns:
            return self.slots
        count = min(self.slots, int(self._place_at(time_ns)) + 1)
        # The estimate may be off by rounding; `due_ns` decides, so that the two never disagree.
        while count < self.slots and self.due_ns(count) <= time_ns:
            count += 1
        while count and self.due_ns(count - 1) > time_ns:
            count -= 1
        return count

    def _place_at(self, time_ns: int) -> float:
        """Where between slots a time in the schedule is."""
        stage = bisect_right(self._starts, time_ns) - 1
        x = (time_ns - self._starts[stage]) / NS_PER_S
        return self._bases[stage] + (self._initial[stage] + self._quarter[stage] / 4 * x) * x

    def turns(self, member: int, count: int) -> int:
        """How many of the first `count` slots are this member's."""
        return max(0, (count - member + self.members - 1) // self.members)

    def turns_column(self, members: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """`turns` of many members: same shape, same values."""
        return np.maximum(0, (count - members + self.members - 1) // self.members)

    def slot(self, member: int, turn: int) -> int:
        """The slot of a member's turn (0, 1, 2, ...)."""
        return turn * self.members + member

    def slot_column(self, members: NDArray[np.int64], turns: NDArray[np.int64]) -> NDArray[np.int64]:
        """`slot` of many members, each with its turn."""
        slots: NDArray[np.int64] = turns * self.members + members
        return slots

    def due_of_turns_ns(self, member: int, turns: NDArray[np.int64]) -> NDArray[np.int64]:
        """When a member's turns are due."""
        return self.due_column_ns(turns * self.members + member)

    def members_between(self, first: int, end: int) -> list[range]:
        """Members with a slot in `first` .. `end - 1`, in ranges; none twice.

        Cost: one range per turn touched, not per slot.
        """
        if end - first >= self.members:
            return [range(self.members)]
        if end <= first:
            return []
        turn = first // self.members
        spans = [range(first - turn * self.members, min(end - turn * self.members, self.members))]
        if end > (turn + 1) * self.members:
            spans.append(range(end - (turn + 1) * self.members))
        return spans

    def _stage_of(self, slot: float) -> int:
        stage = len(self._starts) - 1
        while stage and self._bases[stage] > slot:
            stage -= 1
        return stage


class Share:
    """Which members of a fleet are a worker's, and which slots.

    Member m belongs to worker m mod N: neighbours in the schedule are on different workers, and all work all the time.
    """

    def __init__(self, schedule: Schedule, worker: int, workers: int) -> None:
        self.schedule = schedule
        self.worker = worker
        self.workers = workers
        self.members = range(worker, schedule.members, workers)

    def positions(self, first: int, end: int) -> list[range]:
        """Positions in `members` of those with a slot in `first` .. `end - 1`; none twice."""
        return [found for span in self.schedule.members_between(first, end) if (found := self._within(span))]

    def _within(self, span: range) -> range:
        """Positions of those of a range of members that are this worker's."""
        if self.workers == 1:
            return span
        step, worker = span.step, self.worker
        if step == 1:
            return range(self._position_from(span.start), self._position_from(span.stop))
        # The first that is in both, and every so many-th from there on: the steps' least common multiple.
        both = math.lcm(step, self.workers)
        first = next((each for each in span[: both // step] if each % self.workers == worker), None)
        if first is None:
            return range(0)
        last = span[-1]
        return range(self._position_from(first), self._position_from(last + 1), both // self.workers)

    def own(self, slots: int) -> int:
        """How many of the first `slots` slots are this worker's."""
        turns, rest = divmod(slots, self.schedule.members)
        return turns * len(self.members) + self._position_from(rest)

    def slot(self, index: int) -> int:
        """The slot that is number `index` (0, 1, 2, ...) of this worker's."""
        turn, position = divmod(index, len(self.members))
        return self.schedule.slot(self.members[position], turn)

    def _position_from(self, member: int) -> int:
        return max(0, -(-(member - self.worker) // self.workers))
