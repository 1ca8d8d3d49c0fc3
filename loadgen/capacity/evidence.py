"""What the tries of one load say together: one that fails is no proof, and neither is one that holds after it. Pure."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import NamedTuple

# Failures that have nothing to do with the load: a connection reset on the way, a peer that was restarted. A load with
# this share of them holds, and the result says that they were there.
STRAYS = 1 / 1000
# A number of failures that strays alone reach in less than this share of loads is no accident.
_ACCIDENT = 0.001
# That what failed at loads that broke, and not at those that held, did so by chance: not more often than that.
_UNLIKELY = 0.01
# A number of failures that is above the expected one by ten, and by ten standard deviations, is taken for no accident
# without the binomial sum: that has as many terms as there are failures, and a load that drops much has millions.
_FAR_OFF = 10
# Where it is not known how many were tried (sessions that were up before), as if it were 50.
_LEAST_EXPECTED = 50 * STRAYS
# `_BROKE` more breaks than holds are enough to look for the limit below a load, `_FIRM` to take it for the limit's
# bound, or for one that cannot be confirmed. In between, one lucky try is not enough: it takes more than breaks.
_BROKE = 2
_FIRM = 3
_MOST_TRIES = 7
_MOST_STRAYED = 3
_MOST_LIMITED = 3


class Went(StrEnum):
    """How one try of a load went."""

    HELD = "held"
    STRAYED = "strayed"  # nothing but failures, and so few that they may have nothing to do with the load
    SHORT = "short"  # broke by so little that the mood of the machine may have done it
    BROKE = "broke"  # clearly
    LIMITED = "limited"  # by the generator: it says nothing about the target
    SCATTERED = "scattered"  # nothing shows that it broke, but waits scatter so much that nothing would
    IMPOSSIBLE = "impossible"  # the generator cannot make it at all


class LoadVerdict(NamedTuple):
    """Of a load, once there is evidence enough. firm: another try would not change it."""

    held: bool
    firm: bool = True


class Pool(NamedTuple):
    """All tries of a load, or of several: what failed, of how many. only_failures: nothing else ever broke."""

    failed: int = 0
    attempted: int = 0
    only_failures: bool = True

    def with_try(self, failed: int, attempted: int, only_failures: bool) -> Pool:
        return Pool(self.failed + failed, self.attempted + attempted, self.only_failures and only_failures)


class Evidence:
    """The tries of one load, for holds of one length.

    Attributes:
        held, broke: how often; broke by little, or clearly.
        failed: in tries at which nothing else went wrong, of `attempted`.
    """

    def __init__(self) -> None:
        self.held = self.broke = 0
        self.failed = self.attempted = 0
        self._strayed = self._limited = 0

    def add(self, went: Went, failed: int = 0, attempted: int = 0, *, at_once: bool = True) -> LoadVerdict | None:
        """One more try; returns None if there should be another.

        Args:
            failed, attempted: what should not fail, of how many.
            at_once: to go on the search needs no proof: what broke clearly once, or by little twice, is not tried again
                right away. It is not firm, then.
        """
        if went is Went.IMPOSSIBLE:
            return LoadVerdict(held=False)
        if went is Went.LIMITED:
            self._limited += 1
            return LoadVerdict(held=False) if self._limited >= _MOST_LIMITED else None
        self._limited = 0  # in a row
        if went is Went.SCATTERED:
            return None
        if went is Went.HELD:
            self.held += 1
        elif went is Went.STRAYED:
            self.failed += failed
            self.attempted += attempted
            if explained(self.failed, self.attempted):
                self._strayed += 1
                # So often, and still no more than strays are.
                return LoadVerdict(held=self.held >= self.broke) if self._strayed >= _MOST_STRAYED else None
            self.broke += 1
        else:
            self.broke += 1
        if went is Went.HELD and self.held > self.broke:
            return LoadVerdict(held=True)
        if self.broke >= self.held + _FIRM or self.broke + self.held >= _MOST_TRIES:
            return LoadVerdict(held=False)
        once = went is Went.BROKE and self.broke == 1 and not self.held
        if at_once and (once or self.broke >= self.held + _BROKE):
            return LoadVerdict(held=False, firm=False)
        return None


def explained(failed: int, attempted: int) -> bool:
    """Whether this number of failures may be strays."""
    expected = max(attempted * STRAYS, _LEAST_EXPECTED)
    if failed > expected + _FAR_OFF * (1 + math.sqrt(expected)):
        return False
    # Poisson: the chance of as many or more.
    below = math.fsum(math.exp(k * math.log(expected) - expected - math.lgamma(k + 1)) for k in range(failed))
    return 1 - below >= _ACCIDENT


def untried(held: Pool, broke: Pool) -> int:
    """How many more would have to hold, so that failing is known to be a matter of the load; 0 if it is.

    If as large a share failed at the loads that held, each failure of all would be of those that broke only by chance
    (the conditional test of two rates).
    """
    if not broke.failed or not broke.attempted or not held.attempted:
        return 0
    failures, every = held.failed + broke.failed, held.attempted + broke.attempted
    expected = failures * held.attempted / every
    if held.failed < expected - _FAR_OFF * (1 + math.sqrt(expected)):
        return 0
    if held.failed < expected and _at_most(held.failed, failures, held.attempted / every) < _UNLIKELY:
        return 0
    # How many it would take in all, without another failure.
    enough = broke.attempted * (math.pow(_UNLIKELY, -1 / broke.failed) - 1)
    return max(1, math.ceil(enough) - held.attempted)


def _at_most(most: int, number: int, share: float) -> float:
    """The chance that no more than the first number, of the second, are of this share (binomial)."""
    return math.fsum(
        math.exp(
            math.lgamma(number + 1)
            - math.lgamma(k + 1)
            - math.lgamma(number - k + 1)
            + k * math.log(share)
            + (number - k) * math.log1p(-share)
        )
        for k in range(most + 1)
    )
