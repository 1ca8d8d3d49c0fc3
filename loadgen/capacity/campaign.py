"""One search with its judgement: takes what each load showed, and ends with what was found. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from loadgen.capacity.dimension import ABOUT, Dimension
from loadgen.capacity.result import DimensionResult, Outcome, Probe, Step
from loadgen.capacity.search import Search, Trial
from loadgen.measure.faults import faults
from loadgen.measure.health import GeneratorVerdict, Verdict
from loadgen.measure.histogram import samples_for
from loadgen.measure.thresholds import Figures, Status, Threshold, judge
from loadgen.units import NS_PER_S

# What the target did, of what was offered. Less is a queue that grows: above the limit an open load measures that.
_ACHIEVED = 0.99
# What must not happen at all under a load that holds ("the largest rate with no failures", as RFC 7501 has it).
_NEVER = (
    "sessions.failed",
    "sessions.lost",
    "handshakes.failed",
    "handshakes.dropped",
    "notify.dropped",
    "notify.lost",
)
# A load that breaks by so little that the mood of the machine may have done it is tried again; and so is one at which
# the generator was the limit, which says nothing of the target.
_CLEAR = 0.9
_TRIES = 3
# For a percentile, a hold is made longer until it has samples enough; but not longer than this.
_LONGEST_HOLD_NS = 60 * NS_PER_S
_MARGIN = 1.2


class Settings(NamedTuple):
    """How to search along one dimension. Lengths in ns; `resolution` is a share; `step` as `Search` has it."""

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


class Observation(NamedTuple):
    """What one load showed.

    Attributes:
        offered: really; in whole runs and whole bursts it may differ from what was to be tried.
        achieved: None: nothing tells, so only what broke counts.
        workers: of ours, per side.
        cpu_s: that all of them used per second.
        trouble: why it could not be made at all; empty if it was.
    """

    offered: float
    achieved: float | None
    figures: Figures
    generator: GeneratorVerdict
    start_s: float
    hold_s: float
    workers: int = 1
    cpu_s: float = 0.0
    trouble: str = ""


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
        self._search = Search(settings.start, settings.maximum, settings.resolution, step=settings.step)
        self._again: Trial | None = None  # the load that is tried once more
        self._tries = 1
        self._unjudged: tuple[str, ...] = ()
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
        least = max((_samples(slo) for slo in self.settings.slos), default=0)
        return max(length, min(_LONGEST_HOLD_NS, math.ceil(least * _MARGIN / trial.load * NS_PER_S)))

    def tell(self, trial: Trial, seen: Observation) -> Probe:
        """Judge a load that was made."""
        broke, unjudged = self._judge(seen)
        limiting = seen.trouble or (seen.generator.limiting if broke or _invalid(seen) else "")
        held = not broke and not limiting
        probe = self._probe(trial, seen, broke, held=held)
        self.probes.append(probe)
        if held:
            self._last = seen
        if unjudged and held:
            self._unjudged = unjudged
            return probe
        if not held and not seen.trouble and self._tries < _TRIES:
            clear = seen.achieved is not None and seen.achieved < seen.offered * _CLEAR
            if limiting or not (clear or _failures(seen.figures)):
                self._tries, self._again = self._tries + 1, trial
                return probe
        self._tries, self._again = 1, None
        if not held and limiting:
            self._limiting[trial.load] = limiting
        self._search.tell(trial, held=held)
        return probe

    def result(self, interruption: str = "") -> DimensionResult:
        """What was found so far. Args: interruption: why the search did not come to its end."""
        search, settings = self._search, self.settings
        limiting = self._limiting.get(search.high or 0.0, "")
        above = next((p for p in reversed(self.probes) if p.offered == search.high and not p.passed), None)
        broke = () if above is None else above.broke
        advice = ""
        if self._unjudged or not (search.confirmed or (limiting and search.low is None)):
            outcome = Outcome.INCONCLUSIVE
            advice = interruption or "; ".join(self._unjudged) or "no load held for long enough to be confirmed"
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
            limit=search.low if search.confirmed else None,
            above=search.high,
            broke=broke,
            advice=advice,
            probes=tuple(self.probes),
        )

    def _judge(self, seen: Observation) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What did not hold, the worst first; and what could not be judged."""
        broke = _failures(seen.figures)
        results = judge(self.settings.slos, seen.figures)
        broke += [f"{result.text} ({result.shown})" for result in results if result.status is Status.FAILED]
        if seen.achieved is not None and seen.achieved < seen.offered * _ACHIEVED:
            broke.append(f"{_number(seen.achieved)} of {_number(seen.offered)} {self._about.unit} achieved")
        unjudged = tuple(f"{r.text}: {r.shown}" for r in results if r.status is Status.ERROR)
        return tuple(broke), unjudged

    def _probe(self, trial: Trial, seen: Observation, broke: tuple[str, ...], *, held: bool) -> Probe:
        latency = seen.figures.metrics.get(self.settings.latency)
        return Probe(
            step=trial.step,
            offered=trial.load,
            achieved=trial.load if seen.achieved is None else float(seen.achieved),
            passed=held,
            broke=broke,
            generator=seen.generator.generator,
            reasons=(seen.trouble,) if seen.trouble else seen.generator.reasons,
            start_s=seen.start_s,
            hold_s=seen.hold_s,
            p50=None if latency is None else latency.p50,
            p99=None if latency is None else latency.p99,
            max=None if latency is None else latency.max,
        )

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


def _failures(figures: Figures) -> list[str]:
    """What must never happen and did, with the kinds of errors behind it."""
    happened = [f"{name}: {count:,}" for name in _NEVER if (count := figures.counters.get(name, 0))]
    if happened:
        happened += [f"{error.name}: {error.count:,}" for error in faults(figures.counters).told]
    return happened


def _invalid(seen: Observation) -> bool:
    return seen.generator.generator is Verdict.INVALID


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _samples(slo: Threshold) -> int:
    return samples_for(slo.statistic) if slo.statistic is not None else 0


def applicable(slos: Sequence[Threshold], dimension: Dimension) -> tuple[Threshold, ...]:
    """Those of which loads along a dimension have figures."""
    return tuple(slo for slo in slos if slo.name.startswith(ABOUT[dimension].prefixes))
