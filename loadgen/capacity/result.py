"""What a search for limits leaves behind."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

import msgspec

from loadgen.results.document import Document
from loadgen.results.health import Verdict


class Outcome(StrEnum):
    """How a search ended."""

    FOUND = "limit found"
    NOT_REACHED = "not reached"
    GENERATOR_LIMITED = "generator-limited"
    INCONCLUSIVE = "inconclusive"


class Step(StrEnum):
    """Why a load was tried."""

    BRACKET = "bracket"
    BISECT = "bisect"
    RECHECK = "recheck"
    CONFIRM = "confirm"


class Probe(msgspec.Struct, frozen=True):
    """One load that was tried.

    Attributes:
        offered, achieved: in the dimension's unit; achieved is what the target did within the window.
        passed: everything that was asked for held.
        broke: what did not hold, the worst first, each with its figure.
        generator: the generator's own verdict; an INVALID probe says nothing about the target.
        start_s: since the search began.
        p50, p99, max: of the dimension's latency metric, in ns; None where nothing was measured.
        strays: what failed and broke nothing, because it was so little; and what is said beside a load that holds.
        scattered: why it says nothing: waits scattered by more than a backlog makes them grow; empty if they did not.
        sessions: that were up when it began, and shared it; 0 where loads are runs of their own, or handshakes.
        renewed: what ended sessions of the loads before it, so that it began with new ones; empty: it has theirs.
        strayed: what `broke` it is failures, and so few that they may be strays: all tries of the load tell.
    """

    step: Step
    offered: float
    achieved: float
    passed: bool
    broke: tuple[str, ...]
    generator: Verdict
    reasons: tuple[str, ...]
    start_s: float
    hold_s: float
    p50: int | None
    p99: int | None
    max: int | None
    strays: tuple[str, ...] = ()
    scattered: str = ""
    sessions: int = 0
    strayed: bool = False
    renewed: str = ""

    @property
    def void(self) -> bool:
        """It says nothing about the target, or not by itself."""
        return bool(self.undecided) or self.generator is Verdict.INVALID

    @property
    def undecided(self) -> str:
        """Why it neither held nor broke, taken by itself; empty if it did one of them."""
        if not self.strayed:
            return self.scattered
        return f"so few failed that they may be strays, which all tries of this load tell: {'; '.join(self.broke)}"


class LoadTried(msgspec.Struct, frozen=True):
    """All tries of one load.

    Attributes:
        held: it did, by all of them together; confirmed: for longer, too.
        tries, times_held: of them; the confirmation's are in both.
        confirmations, times_confirmed: those that were as long as a confirmation is.
        times_limited: the generator was the limit, which says nothing about the target; times_scattered: nor does what
            scatters so much.
        strays: failures that broke nothing, in all tries.
        failed, attempted: of a load that did not hold: what failed in all tries, and of how many in those in which
            something did.
    """

    load: float
    held: bool
    confirmed: bool
    tries: int
    times_held: int
    confirmations: int
    times_confirmed: int
    times_limited: int
    strays: int
    times_scattered: int = 0
    failed: int = 0
    attempted: int = 0


class DimensionResult(msgspec.Struct, frozen=True):
    """What was found along one dimension.

    Attributes:
        dimension: "handshake.per_s", "notify.per_s", "sessions" or "stations".
        unit: what its figures count, e.g. "handshakes/s".
        latency: the metric whose percentiles the probes show.
        slos: what every probe had to hold.
        limit: the highest load that was confirmed; None if none was.
        above: the lowest load that did not hold; None if there was none up to the maximum.
        broke: what broke first, above the limit.
        advice: what to do next, in a sentence; empty if there is nothing to add.
        probes: in the order in which they were made.
        loads: each that was tried, in order of size, with how often and how it went.
    """

    dimension: str
    unit: str
    latency: str
    slos: tuple[str, ...]
    outcome: Outcome
    limit: float | None
    above: float | None
    broke: tuple[str, ...]
    advice: str
    probes: tuple[Probe, ...]
    loads: tuple[LoadTried, ...] = ()


class CapacityResult(Document, frozen=True, tag="capacity"):
    """result.json of `loadgen capacity`.

    Attributes:
        unfinished: the search had not ended when this was written; it is what stays of one that was killed.
        key_log: the file that the secrets of all tunnels were written to; empty: none.
        key_log_trouble: why some are missing there; empty: none are.
    """

    VERSION: ClassVar[int] = 1

    scenario: str
    plan_digest: str
    use: str
    started: str
    environment: dict[str, str]
    dimensions: tuple[DimensionResult, ...]
    exit_code: int
    unfinished: bool = False
    key_log: str = ""
    key_log_trouble: str = ""
