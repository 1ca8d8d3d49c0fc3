"""Which load to try next: bracket by doubling, bisect, look again, confirm. Pure: it is told what held and says what to
try.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from loadgen.capacity.result import Step

# A search should have ended by then: 30 doublings, bisection, looking again, confirming.
_MOST_STEPS = 60
# So many loads that were to be the result and did not hold for longer; a target without any that does is no target.
_MOST_CONFIRMATIONS = 3


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
        self._steps = self._confirmations = 0

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
        if self._confirmations:
            return Trial(Step.CONFIRM, self._below(high))
        if low is None:
            return Trial(Step.BRACKET, self._rounded(high / 2))
        middle = self._rounded(math.sqrt(low * high))
        if high > low * self._ratio and low < middle < high:
            return Trial(Step.BISECT, middle)
        return Trial(Step.CONFIRM, low) if self._broke[high] else Trial(Step.RECHECK, high)

    def tell(self, trial: Trial, *, held: bool, firm: bool = True) -> None:
        """How it came out. Args: firm: a load that did not hold has shown that more than once."""
        self._steps += 1
        load = trial.load
        if held:
            self._broke.pop(load, None)
            self._held.add(load)
            self.confirmed = trial.step is Step.CONFIRM
            return
        self._held.discard(load)
        self._broke[load] = firm
        if trial.step is Step.CONFIRM:
            self._confirmations += 1
            self.exhausted = self._confirmations == _MOST_CONFIRMATIONS or self._below(load) >= load
        elif self.low is None and load == self.high:
            following = self._rounded(load / 2)
            self.exhausted = following < self._least or following >= load

    def _below(self, load: float) -> float:
        """The next one to confirm: what held before, or a step of the resolution down if that is nearer."""
        down = self._rounded(min(load / self._ratio, load - self._step))
        return max(down, self.low or 0.0)

    def _rounded(self, load: float) -> float:
        return float(max(1, round(load / self._step)) * self._step) if self._step else load
