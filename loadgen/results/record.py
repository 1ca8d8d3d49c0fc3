"""What a run leaves in the hands of whoever leads it. Free of trio: results are made of it elsewhere, too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from copy import copy
from typing import NamedTuple, Protocol

from loadgen.clock import CPU, MONOTONIC, Nanoseconds
from loadgen.measure.merge import Merger
from loadgen.results.asked import Absence
from loadgen.results.health import MachineHealth, WorkerHealth
from loadgen.results.timeline import Builds
from loadgen.scenario.plan import Plan, end_ns
from loadgen.scenario.schedule import RateStage
from loadgen.units import NS_PER_S

# Between telling all workers a time and that time: enough for the message to arrive everywhere.
LEAD_NS = NS_PER_S // 5
# Progress comes this often; a long run has longer intervals, so that its log stays readable.
_INTERVAL_NS = NS_PER_S
_MAX_INTERVALS = 600


def interval_ns_of(plan: Plan) -> int:
    """How often the workers of a run of this plan report."""
    return max(_INTERVAL_NS, plan.duration_ns // _MAX_INTERVALS)


class Watch(Protocol):
    """Of this machine, while a load is on."""

    def health(self) -> MachineHealth:
        """What the machine went through since the watch was made."""


class Load:
    """One load of a run.

    Attributes:
        start_ns, end_ns: monotonic; end_ns is 0 while it goes on.
        cut_short: it was us who ended it early, because somebody asked for it or a worker died.
        before, after: counters when it began, and when it had been drained.
        health: of the workers that handed theirs in.
    """

    def __init__(
        self,
        stages: tuple[RateStage, ...],
        before: Counter[str],
        watch: Watch | None = None,
        clock: Nanoseconds = MONOTONIC,
    ) -> None:
        """Args: watch: made now; None: what the machine goes through is not known, or told by others."""
        self._clock = clock
        self.stages = stages
        self.start_ns = clock() + LEAD_NS
        self.end_ns = 0
        self.cut_short = False
        self.before, self.after = before, before
        self.cpu_s = -CPU() / NS_PER_S  # of the supervisor itself
        self.watch = watch
        self.machine = MachineHealth()
        self.health: tuple[WorkerHealth, ...] = ()

    @property
    def length_s(self) -> float:
        """How long it really went on; slot 0 lies a little ahead when it is agreed upon."""
        return max(0, min(self.end_ns - self.start_ns, end_ns(self.stages))) / NS_PER_S

    @property
    def judged_end_ns(self) -> int:
        """Until when it is judged: a peer that left early did the rest of it badly, and not in less time."""
        return self.end_ns if self.cut_short else self.planned_end_ns

    @property
    def planned_end_ns(self) -> int:
        return self.start_ns + end_ns(self.stages)

    def until(self, now_ns: int) -> Load:
        """This load as if it were over by then, if it is not."""
        if self.end_ns:
            return self
        load = copy(self)
        load.end(cut_short=True, at_ns=now_ns)
        return load

    def end(self, *, cut_short: bool = False, at_ns: int = 0) -> None:
        """It is over; a second call changes nothing. Args: at_ns: since then; 0: now."""
        if not self.end_ns:
            self.end_ns = at_ns or self._clock()
            self.cut_short = cut_short
            self.cpu_s += CPU() / NS_PER_S
            if self.watch is not None:
                self.machine = self.watch.health()


class RunRecord(NamedTuple):
    """What a run left behind."""

    merger: Merger
    timeline: Builds
    loads: tuple[Load, ...]
    health: tuple[WorkerHealth, ...]
    deaths: tuple[str, ...]
    complete: bool  # every worker handed in its last figures
    over: bool  # nobody will hand in any more
    interrupted: bool
    aborted: str
    prepared: bool
    epoch_ns: int
    absences: tuple[Absence, ...] = ()  # of the load that was put on last
    missing: tuple[str, ...] = ()  # what was to be there and was not
    key_log: str = ""  # what got the secrets of all tunnels; empty: nothing


# Why to give a load up early, from the figures until a time (monotonic ns); None: it goes on.
AbortWhen = Callable[[Merger, Load, int], str | None]
