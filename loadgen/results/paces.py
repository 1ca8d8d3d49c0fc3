"""How fast a stage was done against how fast it became due: what is less, and what cannot be told."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple, TypeAlias

from loadgen.units import format_duration

# Of what was asked for: less than that is a blemish, which is named, and no reason not to pass.
TOLERANCE = 0.01
# The same of a rate, which is not counted, but estimated.
PACE_TOLERANCE = 0.05


def is_paced(judged: Collection[str]) -> bool:
    """Somebody has said how fast it must go. Args: judged: the figures that thresholds are about."""
    return any(name.endswith("_per_s") for name in judged)


class Pace(NamedTuple):
    """A stage at one rate: what was offered per second, and what was done of that as it became due."""

    stage: str
    unit: str
    offered: float
    done: float

    @property
    def share(self) -> float:
        """Of what was offered."""
        return self.done / self.offered

    @property
    def is_grave(self) -> bool:
        return self.share < 1 - PACE_TOLERANCE

    def is_judged(self, judged: Collection[str]) -> bool:
        """Somebody has said how fast it must go."""
        return is_paced(judged)

    @property
    def what(self) -> str:
        return f"{self.done:,.4g} of {self.offered:,.4g} {self.unit} in {self.stage}: a backlog grew"


class Delay(NamedTuple):
    """A stage of which it is known by how much longer than at its beginning what was due waited at its end.

    Either it waited longer and longer, or from some moment on, and as much to the end: all is done so much later then.

    Attributes:
        whose: what waited, by whose due times.
        judged_by: how the figures begin that thresholds on it are about; empty: they are about rates.
        latency: what it had grown to, it stayed at; and the duration about which a threshold may be, then.
    """

    whose: str
    stage: str
    growth_ns: float
    length_ns: int
    judged_by: str = ""
    latency: str = ""

    @property
    def share(self) -> float:
        """Of what became due in the stage, as far as their due times came in it."""
        return 1 - self.growth_ns / self.length_ns

    @property
    def is_grave(self) -> bool:
        return self.share < 1 - PACE_TOLERANCE

    def is_judged(self, judged: Collection[str]) -> bool:
        """Somebody has said how fast it must go, or how long it may take."""
        if self.latency and self.latency in judged:
            return True
        return any(name.startswith(self.judged_by) for name in judged) if self.judged_by else is_paced(judged)

    @property
    def what(self) -> str:
        longer = f"{format_duration(self.growth_ns)} longer at the end of {self.stage} than at its beginning"
        return f"{self.whose} waited {longer}: {'it was not caught up with' if self.latency else 'a backlog grew'}"


class Untold(NamedTuple):
    """A stage in which so many of what came have times that cannot be: how long they waited, nobody can tell."""

    stage: str
    untold: int
    came: int

    @property
    def share(self) -> float:
        """Of what came, that of which it can be told."""
        return 1 - self.untold / self.came

    @property
    def is_grave(self) -> bool:
        return self.share < 1 - TOLERANCE

    def is_judged(self, judged: Collection[str]) -> bool:
        """Somebody has said how fast it must go: a backlog that grew is no matter then, nor is one that nobody sees."""
        return is_paced(judged)

    @property
    def what(self) -> str:
        which = f"{self.untold:,} of {self.came:,} notifications of {self.stage}"
        return f"waits cannot be judged: {which} were due after they came, or more than 1 h before that"


class Standstill(NamedTuple):
    """A stage of handshakes as fast as it goes, of whose last part none came to its end. It has no due times that would
    wait; and those that were under way are few, however long they were.
    """

    stage: str
    silent_ns: int

    def is_judged(self, judged: Collection[str]) -> bool:
        """Somebody has said how fast it must go."""
        return is_paced(judged)

    @property
    def what(self) -> str:
        return (
            f"of the handshakes begun in the last {format_duration(self.silent_ns)} of {self.stage}, none was completed"
        )


Shortage: TypeAlias = Pace | Delay | Untold
