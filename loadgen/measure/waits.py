"""How long what was due waited until it was done, over a stage: whether a backlog grew, and by how much.

A tail is the same at the end of a stage as at its beginning; a backlog is not. So what is kept of a stage is, for each
slot of due times, how many waited and how long together: sums, which add up over workers, and no message by itself.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadgen.distinct import distinct

# Before the name of what waits, in ns for a whole one: as much of each as was done in a stage.
SHARE = "share "
# Of somebody else's notifications, what came when the load was over, and was due in it: it is late, and no part of the
# pace at which they came.
TAIL = "tail"
# The same of the first one of each place, for which a target with a queue takes less time than for all that follow; and
# how much of the stage it took.
FIRST, FIRST_TOOK = "first ", "first took "
# Slots of due times, from the start of a stage. They are 17 ms long at first, and twice as long when they run out: how
# long a stage will be is not known everywhere.
SLOTS = 64
FINEST = 24
_MOST_NS = 1 << 62  # of a sum
_COARSEST = 57  # there, a slot for every time that 64 bits can be
# A stage is cut into this number of stretches, which are compared each with each.
_STRETCHES = 16
_LEAST_STRETCHES = 4
# Of two stretches the later one waited longer, in 8 of 10 pairs (Kendall's tau). By chance, 16 stretches do that once
# in a thousand times.
_STEADY = 0.6
# Less than that of what was done of the first quarter is not an odd one more or less: the rest was given up.
_GIVEN_UP = 0.95
_ODD_ONES = 2  # where there are few, as many more or less are in a quarter by where it begins and ends
# That the first stretch waited the least of 13, by that much of what is between the others, chance does once in a
# hundred times; a backlog that grows until late in a stage makes it more than a third.
_CHANCE = 0.25
# A backlog that began late: of the last four stretches and more, each one waited longer than the one before it, none of
# them by less than a quarter of their mean, and together by so many times what is usual between two stretches before
# them. By chance, stretches do not do that; where it only takes longer from some moment on, they are level again.
_LAST_RISES = 3
_EVEN = 0.25
_BEYOND_USUAL = 6
# Where stretches differ by chance, how far the middle of three is from the line between the others, twice, is by so
# much more than the difference of two: the variances of 1, -2, 1 and of 1, -1.
_BEND = math.sqrt(6 / 2)
# The standard deviation of what is distributed normally, by the median of how far it is from its own median; and a
# growth of two standard errors would have shown.
_DEVIATION = 1.4826
_ERRORS = 2
# So many stretches at the end of a stage have to be level for what is longer in them to have stayed: by so many times
# more than they differ by themselves. Of exponential waits as long as 1 s in 10 s, one in 1,500 does that.
_STAYS = 4
_LEVEL = 3
# Where less than that of a rise came from one stretch to the next but one, it grew bit by bit: a backlog. Otherwise all
# at once: something stood still, or takes longer from then on.
_AT_ONCE = 0.6


class Waited(msgspec.Struct, frozen=True):
    """A worker's account of a stage so far.

    Attributes:
        shift: slot i is of what was due from i * 2^shift ns after the start of the stage on.
        counts, sums: of each slot: how many were done, and how long they had waited together, in ns.
        untold: how many more were done, of which nobody can tell how long they had waited.
    """

    shift: int
    counts: list[int]
    sums: list[int]
    untold: int = 0

    def __post_init__(self) -> None:
        if not FINEST <= self.shift <= _COARSEST or len(self.counts) != SLOTS or len(self.sums) != SLOTS:
            found = f"{len(self.counts)} and {len(self.sums)} slots of 2^{self.shift} ns"
            raise ValueError(f"expected {SLOTS} slots of 2^{FINEST} to 2^{_COARSEST} ns, found {found}")
        if (least := min(*self.counts, self.untold)) < 0:
            raise ValueError(f"expected slots with counts from 0 on, found {least}")

    @property
    def done(self) -> int:
        """How many were done, in all."""
        return sum(self.counts) + self.untold


class Waits:
    """Of one worker and stage; filled in bulk.

    Attributes:
        untold: how many were done of which nobody can tell how long they had waited.
        shift: slots are 2^shift ns long by now.
    """

    __slots__ = ("_counts", "_start_ns", "_sums", "shift", "untold")

    def __init__(self, start_ns: int) -> None:
        """Args: start_ns: of the stage, on the clock of what is due."""
        self._start_ns = start_ns
        self.shift = FINEST
        # Lists: nearly all of what comes goes into one slot, and numpy would take longer for that.
        self._counts, self._sums = [0] * SLOTS, [0] * SLOTS
        self.untold = 0

    def add(self, due_ns: NDArray[np.int64], waits_ns: NDArray[np.int64], low_ns: int, high_ns: int) -> None:
        """A column of what was done. Args: low_ns, high_ns: the least and the greatest due time of it."""
        first, last = low_ns - self._start_ns, high_ns - self._start_ns
        while last >> self.shift >= SLOTS:
            self._halve()
        slot = first >> self.shift
        if slot == last >> self.shift:
            self._counts[slot] += len(waits_ns)
            self._sums[slot] += int(np.add.reduce(waits_ns))
            return
        slots = (due_ns - self._start_ns) >> self.shift
        for slot in distinct(slots).tolist():
            rows = slots == slot
            self._counts[slot] += int(np.count_nonzero(rows))
            self._sums[slot] += int(waits_ns[rows].sum())

    def add_one(self, due_ns: int, wait_ns: int) -> None:
        since_ns = due_ns - self._start_ns
        while since_ns >> self.shift >= SLOTS:
            self._halve()
        slot = since_ns >> self.shift
        self._counts[slot] += 1
        self._sums[slot] += wait_ns

    def add_counts(self, counts: NDArray[np.int64], sums: NDArray[np.int64], shift: int) -> None:
        """What was added up elsewhere. Args: as of `Waited`; shift: not above ours."""
        coarser = self.shift - shift
        for slot in np.flatnonzero(counts).tolist():
            self._counts[slot >> coarser] += int(counts[slot])
            self._sums[slot >> coarser] += int(sums[slot])

    def waited(self) -> Waited:
        # Times that a peer makes up add up to more than any message between processes can hold.
        sums = [min(max(total, -_MOST_NS), _MOST_NS) for total in self._sums]
        return Waited(self.shift, self._counts.copy(), sums, self.untold)

    def _halve(self) -> None:
        self._counts, self._sums = _halved(self._counts), _halved(self._sums)
        self.shift += 1


def _halved(column: list[int]) -> list[int]:
    return [a + b for a, b in zip(column[::2], column[1::2], strict=True)] + [0] * (SLOTS // 2)


def done_until_ns(all_waited: Iterable[Waited]) -> int:
    """Nothing was done of what was due later in the stage, to the slot. Args: all_waited: of every worker."""
    ends = [slot + 1 << waited.shift for waited in all_waited for slot, count in enumerate(waited.counts) if count]
    return max(ends, default=0)


def growth_ns(all_waited: Iterable[Waited], length_ns: int) -> float:
    """By how much longer what is due waits at the end of a stage than at its beginning; 0 unless that is its doing.

    Args:
        all_waited: of every worker; length_ns: of the stage.
    """
    growth = growth_of(all_waited, length_ns)
    return max(0.0, growth.ns) if growth.steady else 0.0


class Growth(NamedTuple):
    """Of how long what is due waits, over a stage.

    Attributes:
        ns: at its end it waits so much longer than at its beginning, or that much less.
        hidden_ns: by as much more it may have grown without being seen, for how much waits scatter.
        steady: it grows all the time, or from some moment on until the end.
    """

    ns: float = 0.0
    hidden_ns: float = 0.0
    steady: bool = True


def growth_of(all_waited: Iterable[Waited], length_ns: int) -> Growth:
    """See `Growth`; args as of `growth_ns`. Of several tries of one load, all can be given: scatter averages out.

    The slope is the median of those between all pairs of stretches (Theil and Sen), so that neither a tail nor a moment
    in which all stood still makes one; and it counts only where the wait grows all the time, or from some moment on
    until the end. A backlog that has reached
    its bound does not grow any more: from there on less is done than at the beginning, the rest is given up. Waits that
    rise and fall by a second, because some machine stood still, hide a backlog that grows by half as much.
    """
    stretches = _stretches(list(all_waited), length_ns)
    if len(stretches) < _LEAST_STRETCHES:
        return Growth()
    longest = max(0.0, _over_ns(stretches) - length_ns)
    if bounded := _bounded_ns(stretches, length_ns):
        return Growth(min(bounded, longest))
    pairs = [(a, b) for i, a in enumerate(stretches) for b in stretches[i + 1 :]]
    rising = sum((b.wait_ns > a.wait_ns) - (b.wait_ns < a.wait_ns) for a, b in pairs)
    slope = _slope(stretches)
    off = [each.wait_ns - slope * each.at_ns for each in stretches]
    middle = statistics.median(off)
    deviation = _DEVIATION * statistics.median(abs(each - middle) for each in off)
    # The standard error of a slope over n stretches of equal length, times the length of the stage.
    hidden = _ERRORS * deviation * math.sqrt(12 / len(stretches))
    # Where it only takes longer from some moment on, waits are level again after that.
    steady = rising >= _STEADY * len(pairs) and _slope(stretches[len(stretches) // 2 :]) >= _EVEN * slope
    late = _late_ns(stretches)
    if late and (not steady or late > slope * length_ns):
        return Growth(min(late, longest), hidden)
    return Growth(min(slope * length_ns, longest) if steady else slope * length_ns, hidden, steady)


class Level(NamedTuple):
    """How long (ns) what is due waits at the end of a stage, and the least that a stretch of it did.

    Attributes:
        left_ns: by how much longer it waits at the end than at the beginning, where that grew bit by bit, whatever was
            caught up with since; less than 0 where more was caught up with. `end_ns` is the middle of the last quarter,
            and where it is caught up with fast, no more is left than at the very end.
        over_ns: how long it took beyond the stage until all was done.
    """

    end_ns: float = 0.0
    least_ns: float = 0.0
    left_ns: float = 0.0
    over_ns: float = 0.0


def level_of(all_waited: Iterable[Waited], length_ns: int) -> Level:
    """Args: as of `growth_ns`."""
    stretches = _stretches(list(all_waited), length_ns)
    waits = [each.wait_ns for each in stretches]
    if len(waits) < _LEAST_STRETCHES:
        return Level(waits[-1], min(waits)) if waits else Level()
    quarter = len(waits) // 4
    end_ns = statistics.median(waits[-quarter:])
    # A stretch has the wait of its middle: where it rises in the first one, or falls in the last, by half as much more.
    # What one stretch alone has waited is no height that it grew to.
    smooth = [statistics.median(three) for three in zip(waits, waits[1:], waits[2:], strict=False)]
    rise, until = max(smooth) - waits[0], smooth.index(max(smooth)) + 1
    begin_ns = waits[0] - max(0.0, min(waits[1] - waits[0], rise / until)) / 2
    left_ns = min(end_ns, waits[-1] - max(0.0, waits[-2] - waits[-1]) / 2) - begin_ns
    if left_ns > 0:
        at_once = max(max(b, c) - a for a, b, c in zip(waits, waits[1:], waits[2:], strict=False))
        # What it was at in the first quarter already, at the end it is at by chance.
        clear_ns = min(left_ns, end_ns - statistics.median(waits[:quarter]))
        if at_once >= _AT_ONCE * rise or clear_ns <= _BEYOND_USUAL * _uneven(waits):
            left_ns = 0.0
    return Level(end_ns, min(waits), left_ns, max(0.0, _over_ns(stretches) - length_ns))


def _uneven(waits: list[float]) -> float:
    """What is usual between two stretches, as far as it is by chance: what goes on over three of them is not."""
    bends = [abs(c - 2 * b + a) for a, b, c in zip(waits, waits[1:], waits[2:], strict=False)]
    return statistics.median(bends) / _BEND


def stayed_ns(all_waited: Iterable[Waited], length_ns: int) -> float:
    """By how much longer than at the beginning of a stage all of it waits from some moment on; 0 unless it stays so.

    Args: as of `growth_ns`. It may have grown for a while before that. What is caught up with, or rises and falls, does
    not stay: from then on, four stretches and more, waits differ by less than a third of what they are longer by.
    """
    stretches = _stretches(list(all_waited), length_ns)
    waits = [each.wait_ns for each in stretches]
    most = found = 0.0
    for begin in range(1, len(waits) - _STAYS + 1):
        later = waits[begin:]
        between = _LEVEL * (max(later) - min(later))
        for end in range(1, begin + 1):
            before = waits[:end]
            apart = min(later) - max(before)
            if apart > max(most, between + max(before) - min(before)):
                most, found = apart, statistics.median(later) - statistics.median(before)
    return found


def _slope(stretches: list[_Stretch]) -> float:
    """The median of those between all pairs."""
    pairs = [(a, b) for i, a in enumerate(stretches) for b in stretches[i + 1 :]]
    return statistics.median((b.wait_ns - a.wait_ns) / (b.at_ns - a.at_ns) for a, b in pairs)


def _late_ns(stretches: list[_Stretch]) -> float:
    """What a backlog has grown by that began late in a stage, and still grew at its end; 0 if there is none."""
    rises = [b.wait_ns - a.wait_ns for a, b in pairwise(stretches)]
    begin = len(rises)
    while begin and rises[begin - 1] > 0:
        begin -= 1
    # The first of them may have begun in the middle of its stretch.
    while begin < len(rises) and min(rises[begin:]) < _EVEN * statistics.mean(rises[begin:]):
        begin += 1
    last, usual = rises[begin:], [abs(rise) for rise in rises[:begin]]
    if min(len(last), len(usual)) < _LAST_RISES or sum(last) <= _BEYOND_USUAL * statistics.median(usual):
        return 0.0
    return sum(last) + statistics.mean(last) / 2  # to the end of the last stretch


def _bounded_ns(stretches: list[_Stretch], length_ns: int) -> float:
    """What a backlog grew by that has reached its bound; 0 if none has.

    A target that always has something to do is done with one after the other at its own pace, whatever was given up in
    between: so long for as many as there are between the first quarter of a stage and its last one, by the moments when
    these were done, and as much longer than the stage for all of them. The mean wait of the first stretch would not do
    for that: where much more is offered than is done, the wait has grown to its bound within it. But then the middle of
    the growth is the mean of those that were more than later on, and so the growth is not more than twice what is left.
    """
    quarter = max(1, len(stretches) // 4)
    early, late, first = stretches[:quarter], stretches[-quarter:], stretches[0]
    more = first.number - _per_ns(late) * first.length_ns
    later = [each.wait_ns for each in stretches[quarter:]]
    least = min(later) - first.wait_ns
    by_chance = least <= (max(later) - min(later)) * _CHANCE
    fewer = sum(each.number for each in early) - _per_ns(late) * sum(each.length_ns for each in early)
    if by_chance or more <= 0 or fewer <= _ODD_ONES or _per_ns(late) >= _per_ns(early) * _GIVEN_UP:
        return 0.0
    each_ns = statistics.median((b.done_ns - a.done_ns) / (b.middle - a.middle) for a in early for b in late)
    left = statistics.median(each.wait_ns for each in late) - first.wait_ns
    return min(max(least, each_ns * sum(each.number for each in stretches) - length_ns), 2 * left * first.number / more)


def _over_ns(stretches: list[_Stretch]) -> float:
    """When all of it was done: whatever pace was kept, it did not take longer than that."""
    *_, before, last = sorted(each.done_ns for each in stretches)
    return last + (last - before) / 2


class _Stretch(NamedTuple):
    """Of a stage: its middle, the mean wait of what was due in it, how many of that were done, and how long it is.

    middle: how many had been due before the one in the middle of it, of those that were done.
    """

    at_ns: float
    wait_ns: float
    number: int
    length_ns: float
    middle: float

    @property
    def done_ns(self) -> float:
        return self.at_ns + self.wait_ns


def _per_ns(stretches: list[_Stretch]) -> float:
    return sum(each.number for each in stretches) / sum(each.length_ns for each in stretches)


def _stretches(all_waited: list[Waited], length_ns: int) -> list[_Stretch]:
    """Those in which something was due."""
    if not all_waited or length_ns <= 0:
        return []
    shift = max(waited.shift for waited in all_waited)
    counts, sums = np.zeros(SLOTS), np.zeros(SLOTS)  # of a day, 64 bits would not hold all waits together
    for each in {waited.shift for waited in all_waited}:
        alike = [waited for waited in all_waited if waited.shift == each]
        # Those of hundreds of workers as one, and then as much coarser as the coarsest are.
        coarser = np.arange(SLOTS) >> (shift - each)
        counts += np.bincount(coarser, np.array([waited.counts for waited in alike], float).sum(0), SLOTS)
        sums += np.bincount(coarser, np.array([waited.sums for waited in alike], float).sum(0), SLOTS)
    # The last slot in which the stage goes on is cut off at its end. What was due after that, because the stage was
    # ended early, is none of it.
    lengths = np.clip(length_ns - np.arange(SLOTS) * float(1 << shift), 0, 1 << shift)
    counts[lengths == 0] = 0
    middles = (np.arange(SLOTS) + 0.5) * (1 << shift)
    number = min(_STRETCHES, int(counts.sum()))
    if not number:
        return []
    of = np.minimum((middles * number / length_ns).astype(np.int64), number - 1)
    found: list[_Stretch] = []
    before = 0
    for stretch in range(number):
        rows = (of == stretch) & (counts > 0)
        if count := int(counts[rows].sum()):
            at = float((middles[rows] * counts[rows]).sum() / count)
            took = float(lengths[of == stretch].sum())
            found.append(_Stretch(at, float(sums[rows].sum()) / count, count, took, before + count / 2))
            before += count
    return found
