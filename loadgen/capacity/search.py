"""Which load to try next: bracket by doubling, bisect, confirm. Pure: it is told what held and says what to try."""

from __future__ import annotations

import math
from typing import NamedTuple

from loadgen.capacity.result import Step

# A search should have ended by then: 30 doublings, bisection, confirming.
_MOST_STEPS = 60
# A limit that is confirmed at the third try is still one; a fourth would be luck.
_MOST_CONFIRMATIONS = 3


class Trial(NamedTuple):
    """A load to try, and why."""

    step: Step
    load: float


class Search:
    """One search along one dimension.

    Attributes:
        low: the highest load that held; None if none did.
        high: the lowest load that did not hold; None if none did not.
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
        self.low: float | None = None
        self.high: float | None = None
        self.confirmed = False
        self.exhausted = False
        self._step = step
        self._maximum = float(max(step, maximum // step * step)) if step else maximum
        # The limit may be anywhere between the two: a little closer together, and `low` is within `resolution` of it.
        self._ratio = 1 + resolution * 0.8
        self._next = min(self._rounded(start), self._maximum)
        self._least = start / 1024
        self._steps = self._confirmations = 0

    def next(self) -> Trial | None:
        """What to try now; None when the search is over."""
        if self.confirmed or self.exhausted or self._steps >= _MOST_STEPS:
            return None
        if self.high is not None and self.low is not None:
            middle = self._rounded(math.sqrt(self.low * self.high))
            if self.high > self.low * self._ratio and self.low < middle < self.high:
                return Trial(Step.BISECT, middle)
            return Trial(Step.CONFIRM, self.low)
        if self.low is not None and self.low >= self._maximum:
            return Trial(Step.CONFIRM, self.low)
        return Trial(Step.BRACKET, self._next)

    def tell(self, trial: Trial, *, held: bool) -> None:
        """How it came out."""
        self._steps += 1
        if trial.step is Step.CONFIRM:
            self._confirm(trial.load, held=held)
        elif held:
            self.low = trial.load
            self._next = min(self._rounded(trial.load * 2), self._maximum)
        else:
            self.high = trial.load
            self._next = self._rounded(trial.load / 2)
            if self.low is None and (self._next < self._least or self._next >= trial.load):
                self.exhausted = True

    def _confirm(self, load: float, *, held: bool) -> None:
        if held:
            self.confirmed = True
            return
        self._confirmations += 1
        self.high, self.low = load, None
        # What held before held for a shorter time: begin below it, in the steps that the resolution asks for.
        self._next = self._rounded(min(load / self._ratio, load - self._step))
        if self._confirmations == _MOST_CONFIRMATIONS or self._next >= load:
            self.exhausted = True

    def _rounded(self, load: float) -> float:
        return float(max(1, round(load / self._step)) * self._step) if self._step else load
