"""Which load to try next: bracket by doubling, bisect, look again, confirm. Pure: it is told what held and says what to
try.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from loadgen.capacity.result import Step

# A search should have ended by then: 30 doublings, bisection, looking again, confirming.
_MOST_STEPS = 60
# A load that held and did not for longer is followed by smaller ones; a target that holds none of an eighth of it for
# longer is no target.
_FURTHEST = 8


class Trial(NamedTuple):
    """A load to try, and why."""

    step: Step
    load: float


class Search:
    """One search along one dimension.

    Attributes:
        confirmed: `low` held for longer, too.
        exhausted: it gave up: nothing holds, or nothing that holds can be confirmed.
    """

    def __init__(self, start: float, maximum: float, resolution: float, *, step: float = 0.0) -> None:
        """Args:
        resolution: how far apart `low` and `high` may be in the end, as a share of `low`; or a step, if that is more.
        step: loads are multiples of it, and one step at least; 0: any.
        """
        assert 0 < start <= maximum
        assert resolution > 0
        self.confirmed = False
        self.exhausted = False
        self._held: set[float] = set()
        self._broke: dict[float, bool] = {}  # loads, and whether that is sure
        self._step = step
        self._maximum = float(max(step, maximum // step * step)) if step else maximum
        # The limit may be anywhere between the two: a little closer together, and `low` is within `resolution` of it.
        self._ratio = 1 + resolution * 0.8
        self._start = min(self._rounded(start), self._maximum)
        self._least = start / 1024
        self._steps = 0
        self._refuted, self._first_refuted = 0, 0.0  # loads that did not hold for longer, and the first of them
        self._proven: float | None = None  # held for longer, where a higher load that held did not

    @property
    def high(self) -> float | None:
        """The lowest load that did not hold; None if none did not."""
        return min(self._broke, default=None)

    @property
    def low(self) -> float | None:
        """The highest load below that which held; None if none did. What held for longer does so for less long, too."""
        high = self.high
        return max((load for load in self._held if high is None or load < high), default=None)

    def holds(self, load: float) -> bool:
        """By all that was told of it."""
        return load in self._held

    def next(self) -> Trial | None:
        """What to try now; None when the search is over."""
        low, high = self.low, self.high
        if self.confirmed or self.exhausted or self._steps >= _MOST_STEPS:
            return None
        if high is None:
            if low is None:
                return Trial(Step.BRACKET, self._start)
            if low >= self._maximum:
                return Trial(Step.CONFIRM, low)
            return Trial(Step.BRACKET, min(self._rounded(low * 2), self._maximum))
        if self._refuted:
            return Trial(Step.CONFIRM, self._between(self._proven, high) or self._below(high))
        if low is None:
            return Trial(Step.BRACKET, self._rounded(high / 2))
        if middle := self._between(low, high):
            return Trial(Step.BISECT, middle)
        return Trial(Step.CONFIRM, low) if self._broke[high] else Trial(Step.RECHECK, high)

    def tell(self, trial: Trial, *, held: bool, firm: bool = True) -> None:
        """How it came out. Args: firm: a load that did not hold has shown that more than once."""
        self._steps += 1
        load = trial.load
        confirming = trial.step is Step.CONFIRM
        if held:
            self._broke.pop(load, None)
            self._held.add(load)
        else:
            self._held.discard(load)
            self._broke[load] = firm
            if confirming:
                self._first_refuted = self._first_refuted or load
                self._refuted += 1
        if confirming and held:
            # What held above it did so for less long.
            self._held = {each for each in self._held if each <= load}
            self._proven = load
        if confirming and self._proven is None:
            following = self._below(load)
            self.exhausted = following >= load or following < self._first_refuted / _FURTHEST
        elif confirming:
            self.confirmed = not (self._refuted and self._between(self._proven, self.high))
        elif not held and self.low is None and load == self.high:
            following = self._rounded(load / 2)
            self.exhausted = following < self._least or following >= load

    def _between(self, low: float | None, high: float | None) -> float:
        """A load between the two; 0 if they are as near to each other as they have to be."""
        if low is None or high is None:
            return 0.0
        middle = self._rounded(math.sqrt(low * high))
        return middle if high > low * self._ratio and low < middle < high else 0.0

    def _below(self, high: float) -> float:
        """The next one to confirm: what held before, or a step of the resolution down if that is nearer; then further
        down with every one.
        """
        times = 2 ** max(0, self._refuted - 1)
        down = self._rounded(min(high / self._ratio**times, high - self._step * times))
        return down if times > 1 else max(down, self.low or 0.0)

    def _rounded(self, load: float) -> float:
        return float(max(1, round(load / self._step)) * self._step) if self._step else load
