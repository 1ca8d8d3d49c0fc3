"""One search with its judgement: takes what each load showed, and ends with what was found. Pure."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from loadgen.capacity.dimension import ABOUT, Dimension
from loadgen.capacity.evidence import STRAYS, Evidence, Pool, Went, explained, untried
from loadgen.capacity.result import DimensionResult, LoadTried, Outcome, Probe, Step
from loadgen.capacity.search import Search, Trial
from loadgen.measure.books import to_come
from loadgen.measure.histogram import samples_for
from loadgen.measure.waits import Growth, Waited, growth_of, stayed_ns
from loadgen.results.asked import Asked, came_to_nothing
from loadgen.results.faults import faults
from loadgen.results.health import GeneratorVerdict, Verdict
from loadgen.results.paces import PACE_TOLERANCE, TOLERANCE
from loadgen.results.thresholds import Figures, Status, Threshold, judge
from loadgen.units import NS_PER_S, format_duration

# What the target did, of what was offered; and the most that what is due may wait longer at the end of a hold than at
# its beginning is the rest of the hold. More is a queue that grows: above the limit an open load measures that.
_ACHIEVED = 0.99
# What must not happen under a load that holds ("the largest rate with no failures", as RFC 7501 has it), but for a few
# strays; and the counter of how many it could have happened to. Of notifications that were lost, `to_come` says that.
_NEVER = {
    "sessions.failed": "sessions.attempted",
    "sessions.lost": "sessions.established",
    "handshakes.failed": "handshakes.attempted",
    "handshakes.dropped": "handshakes.due",
    "notify.dropped": "notify.due",
    "notify.lost": "",
}
# Said of a load that holds.
_SAID = ("sessions.granted_in_part", "sessions.left_early")
# A load that breaks by less than that may have done so by the mood of the machine. And one that holds may have done so
# by its mood, where waits scatter so much that a backlog which grows by the rest would not show.
_CLEAR = 0.9
# Five tries of a load may be like that; then it is judged by what all of them show together.
_MOST_SCATTERED = 5
# For a percentile, or to see a share of failures, a hold is made longer until it has samples enough; but not longer.
_LONGEST_HOLD_NS = 60 * NS_PER_S
_MARGIN = 1.2


class Settings(NamedTuple):
    """How to search along one dimension.

    Lengths in ns; `resolution` is a share; `step` as `Search` has it; `due_per_s`: see `dimension.due_per_s`.
    """

    dimension: Dimension
    latency: str
    slos: tuple[Threshold, ...]
    start: float
    maximum: float
    resolution: float
    step: float
    warmup_ns: int
    hold_ns: int
    confirm_ns: int
    cooldown_ns: int
    due_per_s: float = 1.0


class Length(NamedTuple):
    """Of a search: how many loads it makes, and how long these take together, in ns."""

    loads: int
    ns: int


class Observation(NamedTuple):
    """What one load showed.

    Attributes:
        offered: really; in whole runs and whole bursts it may differ from what was to be tried.
        achieved: None: nothing tells, so only what broke counts.
        workers: of ours, per side.
        cpu_s: that all of them used per second.
        growth_ns: by how much longer what was due waited at the end of the hold than at its beginning.
        waits: how long it did, at each worker; empty: the workers' own are not known.
        trouble: why it could not be made at all; empty if it was.
        due: how much was, in the hold; None: nobody counted, and it was what is offered in that time.
        unlike_pass: why a run like that would not pass, where the load was one.
        sessions: that were up when it began.
        sessions_alone: it was a load of sessions at WLCs that are not ours, whose notifications are theirs to send.
        uninvited: why it was another load than was to be tried, because more MSEs came; empty if it was not.
        renewed: as of `Probe`.
    """

    offered: float
    achieved: float | None
    figures: Figures
    generator: GeneratorVerdict
    start_s: float
    hold_s: float
    workers: int = 1
    cpu_s: float = 0.0
    growth_ns: float = 0.0
    trouble: str = ""
    due: float | None = None
    unlike_pass: tuple[str, ...] = ()
    waits: tuple[Waited, ...] = ()
    sessions: int = 0
    uninvited: str = ""
    sessions_alone: bool = False
    renewed: str = ""


class _Judgement(NamedTuple):
    """What an observation comes to.

    Attributes:
        broke: what did not hold, the worst first; unjudged: what could not be judged.
        strays: what failed, and so seldom that it breaks nothing.
        failed, attempted: what should not have failed, and did; of how many.
        only_failures: nothing else broke.
    """

    broke: tuple[str, ...]
    unjudged: tuple[str, ...]
    strays: tuple[str, ...]
    failed: int
    attempted: int
    only_failures: bool


class Campaign:
    """The search along one dimension, load by load: `next`, make it, `tell`.

    Attributes:
        probes: made so far, in order.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.probes: list[Probe] = []
        about = ABOUT[settings.dimension]
        self._about = about
        # That what may not fail is judged by itself, and how much of what an SLO is about there may be, has been said.
        of_slos = {name for slo in settings.slos for name in (slo.name, slo.over) if name}
        self._judged_otherwise = Asked(judged={*_NEVER, *of_slos})
        self._has_told = False  # a load in which notifications came
        self._judges_latency = any(name.endswith(".latency") for name in of_slos)
        self._search = Search(settings.start, settings.maximum, settings.resolution, step=settings.step)
        self._again: Trial | None = None  # the load that is tried once more
        self._evidence: dict[tuple[float, bool], Evidence] = {}  # of loads, for holds as long as a confirmation, or not
        self._tried: list[tuple[Trial, Went, int]] = []  # with failures
        self._scattered: dict[tuple[float, bool], list[tuple[Waited, ...]]] = {}  # of such tries; as `_evidence`
        self._unjudged: tuple[str, ...] = ()
        self._shares: list[float] = []  # that failed, of each load that broke by it
        self._pools: dict[float, Pool] = {}  # of loads, over all tries that the generator did not limit
        self._last: Observation | None = None  # of those that held
        self._limiting: dict[float, str] = {}  # loads at which the generator was the limit, and how that showed

    def next(self) -> Trial | None:
        """What to try now; None when the search is over."""
        if self._unjudged:
            return None
        return self._again or self._search.next()

    def hold_ns(self, trial: Trial) -> int:
        """How long to hold it: long enough for the percentiles that are asked for."""
        length = self.settings.confirm_ns if trial.step is Step.CONFIRM else self.settings.hold_ns
        if not self._about.live:
            return length
        # At least one has to be due, too, or nothing is tried.
        least = max((_samples(slo) for slo in self.settings.slos), default=1)
        if trial.step is Step.CONFIRM:
            least = max(least, self._untried())
        due_per_s = trial.load * self.settings.due_per_s
        return max(length, min(_LONGEST_HOLD_NS, math.ceil(least * _MARGIN / due_per_s * NS_PER_S)))

    def tell(self, trial: Trial, seen: Observation) -> Probe:
        """Judge a load that was made."""
        confirming = trial.step is Step.CONFIRM
        before = self._scattered.get((trial.load, confirming), [])
        seen, growth = _with_scattered(seen, before)
        judged = self._judge(seen)
        invalid = seen.generator.generator is Verdict.INVALID
        limiting = seen.trouble or (seen.generator.limiting if judged.broke or invalid else "")
        went = _went(seen, judged, limited=bool(limiting))
        if went is Went.HELD and len(before) < _MOST_SCATTERED and _is_hidden(growth, seen):
            went = Went.SCATTERED
        if judged.broke and judged.failed > judged.attempted * STRAYS:
            self._shares.append(judged.failed / max(1, judged.attempted))
        if went is Went.SCATTERED:
            self._scattered[trial.load, confirming] = [*before, seen.waits]
        probe = self._probe(trial, seen, judged, went, growth)
        self.probes.append(probe)
        self._tried.append((trial, went, judged.failed))
        if went not in (Went.LIMITED, Went.IMPOSSIBLE):
            pool = self._pools.get(trial.load, Pool())
            self._pools[trial.load] = pool.with_try(judged.failed, judged.attempted, judged.only_failures)
        if went is Went.HELD:
            self._last = seen
            if judged.unjudged:
                self._unjudged = judged.unjudged
                return probe
        evidence = self._evidence.setdefault((trial.load, confirming), Evidence())
        proven = confirming or trial.step is Step.RECHECK
        verdict = evidence.add(went, judged.failed, judged.attempted, at_once=not proven)
        self._again = trial if verdict is None else None
        if verdict is None:
            return probe
        if not verdict.held and limiting:
            self._limiting[trial.load] = limiting
        self._search.tell(trial, held=verdict.held, firm=verdict.firm)
        return probe

    def result(self, interruption: str = "") -> DimensionResult:
        """What was found so far. Args: interruption: why the search did not come to its end."""
        search, settings = self._search, self.settings
        limiting = self._limiting.get(search.high or 0.0, "")
        above = next((p for p in reversed(self.probes) if p.offered == search.high and not p.passed), None)
        broke = () if above is None else above.broke
        advice = ""
        gave_up = search.low is None or search.exhausted
        confirmed = search.confirmed and not self._untried() and not self._outweighed()
        if self._unjudged or not (confirmed or (limiting and gave_up)):
            outcome = Outcome.INCONCLUSIVE
            advice = interruption or "; ".join(self._unjudged) or self._why_none()
        elif limiting:
            outcome, broke = Outcome.GENERATOR_LIMITED, (limiting,)
            advice = self._more()
        elif search.high is None:
            outcome = Outcome.NOT_REACHED
            advice = f"everything up to {settings.maximum:,.0f} {self._about.unit} held; raise --max to look further"
        else:
            outcome = Outcome.FOUND
        return DimensionResult(
            dimension=settings.dimension,
            unit=self._about.unit,
            latency=settings.latency,
            slos=tuple(slo.text for slo in settings.slos),
            outcome=outcome,
            limit=search.low if confirmed else None,
            above=search.high,
            broke=broke,
            advice=advice,
            probes=tuple(self.probes),
            loads=self._loads(confirmed=confirmed),
        )

    def _untried(self) -> int:
        """How many more must hold, so that what failed above them may not just as well have failed there.

        0 where more than failures bounds the limit, or what held was tried often enough; and where a load is one try of
        each, which no hold makes more.
        """
        low, above = self._search.low, self._pools.get(self._search.high or 0.0, Pool())
        below = [pool for load, pool in self._pools.items() if low is not None and load <= low]
        held = Pool(sum(pool.failed for pool in below), sum(pool.attempted for pool in below))
        return untried(held, above) if above.only_failures and self._about.live else 0

    def _outweighed(self) -> str:
        """Why the load that was confirmed held too seldom for a limit: failures that were taken for strays one by one
        were none together, and then it broke at least as often. Empty if it did not.
        """
        if not self._search.confirmed:
            return ""
        low = self._search.low
        tries = Counter(went for trial, went, _ in self._tried if trial.load == low)
        broke = tries[Went.SHORT] + tries[Went.BROKE]
        failed = sum(failed for trial, went, failed in self._tried if trial.load == low and went is Went.STRAYED)
        attempted = self._pools.get(low or 0.0, Pool()).attempted
        if not explained(failed, attempted):
            broke += tries[Went.STRAYED]
        if broke < (held := tries[Went.HELD]):
            return ""
        return f"{_number(low or 0.0)} {self._about.unit} held {held} times, and broke {broke} times"

    def _loads(self, *, confirmed: bool) -> tuple[LoadTried, ...]:
        """Each load that was tried, with how often and how it went."""
        found = []
        outweighed = self._search.low if self._outweighed() else None
        for load in sorted({trial.load for trial, _, _ in self._tried}):
            tries = [
                (trial.step is Step.CONFIRM, went, failed) for trial, went, failed in self._tried if trial.load == load
            ]
            confirming = [went for confirm, went, _ in tries if confirm]
            held = self._search.holds(load) and load != outweighed
            # What a load did not hold with is no stray, however seldom it is elsewhere.
            harmless = (Went.HELD, Went.STRAYED) if held else (Went.HELD,)
            pool = Pool() if held else self._pools.get(load, Pool())
            found.append(
                LoadTried(
                    load=load,
                    held=held,
                    confirmed=held and confirmed and load == self._search.low,
                    tries=len(tries),
                    times_held=sum(went is Went.HELD for _, went, _ in tries),
                    confirmations=len(confirming),
                    times_confirmed=confirming.count(Went.HELD),
                    times_limited=sum(went in (Went.LIMITED, Went.IMPOSSIBLE) for _, went, _ in tries),
                    times_scattered=sum(went is Went.SCATTERED for _, went, _ in tries),
                    strays=sum(failed for _, went, failed in tries if went in harmless),
                    failed=pool.failed,
                    attempted=pool.attempted,
                )
            )
        return tuple(found)

    def _judge(self, seen: Observation) -> _Judgement:
        failed, attempted = failures_of(seen.figures, seen.sessions)
        told = _told(seen.figures)
        few = failed <= attempted * STRAYS
        results = judge(self.settings.slos, seen.figures)
        others = [f"{result.text} ({result.shown})" for result in results if result.status is Status.FAILED]
        if seen.achieved is not None and _is_short(seen, failed, _ACHIEVED):
            others.append(f"{_number(seen.achieved)} of {_number(seen.offered)} {self._about.unit} achieved")
        if seen.growth_ns > seen.hold_s * NS_PER_S * (1 - _ACHIEVED):
            longer = format_duration(round(seen.growth_ns))
            others.append(f"a growing backlog: at the end of the hold, what was due waited {longer} longer")
        elif not self._judges_latency:
            stayed = stayed_ns(seen.waits, _hold_ns(seen))
            if stayed > _hold_ns(seen) * PACE_TOLERANCE:
                longer = format_duration(round(stayed))
                others.append(f"a backlog that stayed: to the end of the hold, what was due waited {longer} longer")
        others += [each.what for each in came_to_nothing(self._judged_otherwise, seen.figures.counters)]
        others += _broken_off(seen.figures.counters)
        unjudged = [f"{r.text}: {r.shown}" for r in results if r.status is Status.ERROR]
        if seen.due == 0:
            unjudged.append(f"nothing was due in a hold of {seen.hold_s:.4g} s: make --hold longer, or the load larger")
        if seen.uninvited:
            unjudged.append(seen.uninvited)
        came = seen.figures.counters.get("notify.received", 0)
        if self._has_told and not came and seen.sessions_alone:
            others.append("no notification came, and under another load some did")
        self._has_told |= came > 0
        if few and not others and not unjudged:
            others += seen.unlike_pass
        return _Judgement(
            broke=(*(() if few else told), *others),
            unjudged=tuple(unjudged),
            strays=tuple(told) if few else (),
            failed=failed,
            attempted=attempted,
            only_failures=not others,
        )

    def _probe(self, trial: Trial, seen: Observation, judged: _Judgement, went: Went, growth: Growth) -> Probe:
        latency = seen.figures.metrics.get(self.settings.latency)
        return Probe(
            step=trial.step,
            offered=trial.load,
            achieved=trial.load if seen.achieved is None else float(seen.achieved),
            passed=went is Went.HELD,
            broke=judged.broke,
            generator=seen.generator.generator,
            reasons=(seen.trouble,) if seen.trouble else seen.generator.reasons,
            start_s=seen.start_s,
            hold_s=seen.hold_s,
            p50=None if latency is None else latency.p50,
            p99=None if latency is None else latency.p99,
            max=None if latency is None else latency.max,
            strays=judged.strays,
            scattered=_scattered(growth) if went is Went.SCATTERED else "",
            sessions=seen.sessions,
            strayed=went is Went.STRAYED,
            renewed=seen.renewed,
        )

    def _why_none(self) -> str:
        """Why nothing was found; what fails at every load is not there because of the load."""
        if outweighed := self._outweighed():
            return outweighed
        why, broke = "no load held for long enough to be confirmed", [probe for probe in self.probes if probe.broke]
        if not self._shares or len(self._shares) < len(broke):
            if not (more := self._untried()):
                return why
            above = self._pools[self._search.high or 0.0]
            seen = f"{above.failed:,} of {above.attempted:,} failed at {_number(self._search.high or 0.0)}"
            return f"{why}: {seen} {self._about.unit}, and {more:,} more would have to hold below it to tell that apart"
        return f"{why}: each that broke did so by failures, {min(self._shares):.1%} to {max(self._shares):.1%} of it"

    def _more(self) -> str:
        """How much generator it would take, by what the last load cost."""
        seen, wanted = self._last, self.settings.maximum
        if seen is None or not seen.cpu_s or not (done := seen.achieved or seen.offered):
            return "run the generator on another machine than the target"
        # 80 % of a core is what a worker may use without being late.
        each_s = seen.cpu_s / done
        return (
            f"{wanted:,.0f} {self._about.unit} would take about {math.ceil(wanted * each_s / 0.8):,} cores for the "
            f"generator, here or on more machines: one took {each_s * 1e6:,.0f} µs of CPU time, and there were "
            f"{seen.workers} workers a side"
        )


def length_of(settings: Settings, limit: float) -> Length:
    """Of a search that finds this limit and has to try nothing again."""
    campaign, loads, ns = Campaign(settings), 0, 0
    search = Search(settings.start, settings.maximum, settings.resolution, step=settings.step)
    while (trial := search.next()) is not None:
        loads += 1
        ns += settings.warmup_ns + campaign.hold_ns(trial) + settings.cooldown_ns
        search.tell(trial, held=trial.load <= limit)
    return Length(loads, ns)


def _went(seen: Observation, judged: _Judgement, *, limited: bool) -> Went:
    """How it came out; an SLO alone may be missed by the mood of the machine, however much."""
    if seen.trouble:
        return Went.IMPOSSIBLE
    if limited:
        return Went.LIMITED
    if not judged.broke:
        return Went.HELD
    if _is_short(seen, judged.failed, _CLEAR) or not (judged.strays or explained(judged.failed, judged.attempted)):
        return Went.BROKE
    return Went.STRAYED if judged.only_failures else Went.SHORT


def _hold_ns(seen: Observation) -> int:
    return round(seen.hold_s * NS_PER_S)


def _with_scattered(seen: Observation, before: list[tuple[Waited, ...]]) -> tuple[Observation, Growth]:
    """What was seen, and the growth that it shows together with the tries of this load that scattered before.

    Scatter averages out, and a backlog does not. What a load makes it grow by, if that is clearly more than the target
    does, is seen in the end, even if it is never seen to grow all the time.
    """
    hold_ns = _hold_ns(seen)
    growth = growth_of(itertools.chain(seen.waits, *before), hold_ns)
    if before and (growth.steady or growth.ns > max(growth.hidden_ns, (1 - _CLEAR) * hold_ns)):
        seen = seen._replace(growth_ns=max(seen.growth_ns, growth.ns))
    return seen, growth


def _is_hidden(growth: Growth, seen: Observation) -> bool:
    """Whether a load that is clearly more than the target does might look like that."""
    return growth.ns + growth.hidden_ns > (1 - _CLEAR) * _hold_ns(seen)


def _scattered(growth: Growth) -> str:
    hidden = format_duration(round(growth.ns + growth.hidden_ns))
    return f"waits scattered so much that a backlog may have grown by {hidden} in the hold, and was not seen"


def _is_short(seen: Observation, failed: int, least: float) -> bool:
    """Whether less was done than this share of what was due, and what failed does not tell why.

    A failure is judged as one, by all tries of a load: that it was not done is the same thing once more.
    """
    due = seen.offered * seen.hold_s if seen.due is None else seen.due
    if seen.achieved is None or not due:
        return False
    return seen.achieved / seen.offered + failed / due < least


def failures_of(figures: Figures, sessions: int = 0) -> tuple[int, int]:
    """How much happened that must never happen, and of how many; of several kinds, that which happened to the most.

    Args: sessions: that were up before.
    """
    worst, counters = (0, 0), figures.counters
    for name, base in _NEVER.items():
        failed, of = counters.get(name, 0), counters.get(base, 0) if base else to_come(counters)
        if name == "sessions.lost":
            of += sessions
        worst = max(worst, (failed, of), key=lambda each: (each[0] / max(1, each[1]), each[1]))
    return worst


def _broken_off(counters: Mapping[str, int]) -> list[str]:
    """Handshakes that are completed, and more of them than is tolerated broken off right behind that: of a run, that is
    what limited it.
    """
    attempted = counters.get("handshakes.attempted", 0)
    kinds = [error for error in faults(counters).told if error.name.startswith("errors.close.")]
    if sum(error.count for error in kinds) <= attempted * TOLERANCE or not attempted:
        return []
    return [f"{error.name}: {error.count:,} of {attempted:,} handshakes" for error in kinds]


def _told(figures: Figures) -> list[str]:
    """What must never happen and did, what is said beside that, and the kinds of errors."""
    happened = [f"{name}: {count:,}" for name in (*_NEVER, *_SAID) if (count := figures.counters.get(name, 0))]
    return happened + [f"{error.name}: {error.count:,}" for error in faults(figures.counters).told]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _samples(slo: Threshold) -> int:
    return samples_for(slo.statistic) if slo.statistic is not None else 1


def applicable(slos: Sequence[Threshold], dimension: Dimension) -> tuple[Threshold, ...]:
    """Those of which loads along a dimension have figures."""
    return tuple(slo for slo in slos if slo.name.startswith(ABOUT[dimension].prefixes))
