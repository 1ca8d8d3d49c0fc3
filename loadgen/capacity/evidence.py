"""What the tries of one load say together: one that fails is no proof, and neither is one that holds after it. Pure."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import NamedTuple

# Failures that have nothing to do with the load: a connection reset on the way, a peer that was restarted. So many of
# all that was tried break nothing, and the result says that they were there.
STRAYS = 1 / 1000
# More than so many failures are no accident: by strays alone, there would be so many once in a thousand loads.
_ACCIDENT = 0.001
# So many standard deviations, and as many failures, above what is expected need no reckoning: it takes as many terms as
# there are failures, and a load that drops much has millions.
_FAR_OFF = 10
# Where it is not known how many were tried (sessions that were up before), as if it were 50.
_LEAST_EXPECTED = 50 * STRAYS
# So many more breaks than holds are enough to look for the limit below a load; and so many to take it for the bound of
# the limit, or for one that cannot be confirmed. In between, one lucky try is not enough: it takes more than breaks.
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
    IMPOSSIBLE = "impossible"  # the generator cannot make it at all


class Verdict(NamedTuple):
    """Of a load, once there is evidence enough. firm: another try would not change it."""

    held: bool
    firm: bool = True


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

    def add(self, went: Went, failed: int = 0, attempted: int = 0, *, at_once: bool = True) -> Verdict | None:
        """One more try; returns None if there should be another.

        Args:
            failed, attempted: what should not fail, of how many.
            at_once: to go on the search needs no proof: what broke clearly once, or by little twice, is not tried again
                right away. It is not firm, then.
        """
        if went is Went.IMPOSSIBLE:
            return Verdict(held=False)
        if went is Went.LIMITED:
            self._limited += 1
            return Verdict(held=False) if self._limited >= _MOST_LIMITED else None
        self._limited = 0  # in a row
        if went is Went.HELD:
            self.held += 1
        elif went is Went.STRAYED:
            self.failed += failed
            self.attempted += attempted
            if explained(self.failed, self.attempted):
                self._strayed += 1
                # So often, and still no more than strays are.
                return Verdict(held=self.held >= self.broke) if self._strayed >= _MOST_STRAYED else None
            self.broke += 1
        else:
            self.broke += 1
        if went is Went.HELD and self.held > self.broke:
            return Verdict(held=True)
        if self.broke >= self.held + _FIRM or self.broke + self.held >= _MOST_TRIES:
            return Verdict(held=False)
        once = went is Went.BROKE and self.broke == 1 and not self.held
        if at_once and (once or self.broke >= self.held + _BROKE):
            return Verdict(held=False, firm=False)
        return None


def explained(failed: int, attempted: int) -> bool:
    """Whether so many failures may be strays."""
    expected = max(attempted * STRAYS, _LEAST_EXPECTED)
    if failed > expected + _FAR_OFF * (1 + math.sqrt(expected)):
        return False
    # Poisson: the chance of as many or more.
    below = math.fsum(math.exp(k * math.log(expected) - expected - math.lgamma(k + 1)) for k in range(failed))
    return 1 - below >= _ACCIDENT
