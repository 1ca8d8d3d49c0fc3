"""Two groups of runs against each other: what may be compared, what counts, and the decision."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from statistics import median, median_low
from typing import NamedTuple

import msgspec
import numpy as np

from loadgen.compare.metrics import (
    SAME_FOR_CPU,
    STATISTICS,
    ComparedFigure,
    Relevant,
    differences,
    figure,
    not_counted,
    rows,
)
from loadgen.compare.pairs import MIN_PAIRS, order_shown, position_of, session_order
from loadgen.compare.result import Comparison, Decision, Gate, MetricComparison
from loadgen.compare.statistics import Estimate, estimate_changes, groups_design, session_design
from loadgen.errors import ExitCode, InputError, Problem
from loadgen.results.health import Verdict
from loadgen.results.result import RunResult

# What must be equal for figures to mean the same.
_SAME = ("schema_version", "scenario", "plan_digest", "profile", "use", "kind")
_EXIT_CODES = {
    Decision.PASS: ExitCode.PASSED,
    Decision.REGRESSION: ExitCode.THRESHOLD_FAILED,
    Decision.INCONCLUSIVE: ExitCode.INCONCLUSIVE,
}
# A cost that is a quotient may differ by rounding.
_ROUNDING = 1e-6
# Decided without regard to noise.
_HARD = (Gate.EXACT, Gate.MARGIN)
_MOST_FAR_OFF = 1


class _ComparedRun(NamedTuple):
    result: RunResult
    new: bool
    control: bool
    position: int  # in the session
    name: str

    @property
    def timed(self) -> bool:
        return self.result.verdict.generator is Verdict.VALID


class _Judged(NamedTuple):
    decision: Decision
    reason: str
    change: float | None = None
    interval: tuple[float, float] | None = None
    noise: float | None = None


def compare(
    baseline: Sequence[RunResult],
    new: Sequence[RunResult],
    control: Sequence[tuple[RunResult, RunResult]] = (),
    *,
    paired: bool,
    names: tuple[str, str] = ("baseline", "new"),
    sources: Sequence[str] = (),
    relevant: Relevant = Relevant(),  # noqa: B008 - frozen
) -> Comparison:
    """Judge `new` by `baseline`.

    Runs whose generator was INVALID, and those that did not come to their end, count for nothing. Those whose generator
    was DEGRADED count for what is exact or has a margin, but make no regression of what a busy machine does, too
    (`Row.needs_valid`); and not for timings, which it may have shaped.

    Args:
        control: pairs of runs of the baseline, made before the others.
        paired: `baseline[i]` and `new[i]` were made in a row, in the order of `session_order`.
        names: of the two sides.
        sources: where each result comes from, baselines first, for messages.

    Raises:
        InputError: no result on a side, or results that are not of the same load; every difference is named.
    """
    if paired and (len(baseline) != len(new) or len(new) < MIN_PAIRS):
        raise ValueError(f"as many runs of the baseline as of the new side, {MIN_PAIRS} or more, make a session")
    if control and not paired:
        raise ValueError("control pairs are part of a session of pairs")
    labels = list(sources) or _numbered(names, len(baseline), len(new))
    every = [
        _ComparedRun(result, False, True, number, f"control {number + 1}")
        for number, result in enumerate(chain.from_iterable(control))
    ]
    for number, result in enumerate([*baseline, *new]):
        is_new = number >= len(baseline)
        position = position_of(number - is_new * len(baseline), is_new, len(control))
        every.append(_ComparedRun(result, is_new, False, position, labels[number]))
    _check(every, names)
    results = [run.result for run in every]
    counted = [run for run in every if not_counted(run.result) is None]
    first = min(results, key=lambda result: result.started)
    differing = differences((r.result for r in every if not r.new), (r.result for r in every if r.new))
    reasons = _reasons(every, differing)
    same_cpu = not any(name in SAME_FOR_CPU for name, _, _ in differing)
    metrics = tuple(_metrics(counted, paired, same_cpu, relevant))
    unlike_pass = _no_pass(counted)
    decision = _overall(metrics)
    if unlike_pass and decision is Decision.PASS:
        decision = Decision.INCONCLUSIVE
    order = order_shown(session_order(len(baseline), len(control))) if paired else ""
    return Comparison(
        schema_version=Comparison.VERSION,
        scenario=first.scenario,
        plan_digest=first.plan_digest,
        profile=first.profile,
        started=first.started,
        environment=new[0].environment,
        baseline=names[0],
        new=names[1],
        order=order,
        metrics=metrics,
        decision=decision,
        reasons=(
            *(f"{m.metric}: {m.reason}" for m in metrics if m.decision is Decision.REGRESSION),
            *unlike_pass,
            *reasons,
        ),
        exit_code=int(_EXIT_CODES[decision]),
    )


def _numbered(names: tuple[str, str], baseline: int, new: int) -> list[str]:
    return [f"{name} {n + 1}" for name, runs in zip(names, (baseline, new), strict=True) for n in range(runs)]


def _check(runs: Sequence[_ComparedRun], names: tuple[str, str]) -> None:
    for new, name in zip((False, True), names, strict=True):
        if not any(run.new is new for run in runs):
            raise InputError(Problem(name, "at least one result", "none"))
    problems = []
    of_form: dict[int, _ComparedRun] = {}  # the first of those whose digests can be compared
    for run in runs:
        alike = of_form.setdefault(run.result.digest_form, run)
        for field in _SAME:
            first = alike if field == "plan_digest" else runs[0]
            expected, found = str(getattr(first.result, field)), str(getattr(run.result, field))
            if expected != found:
                problems.append(Problem(f"{run.name}: {field}", f"{expected} as in {first.name}", found))
    if problems:
        raise InputError(problems)


def _reasons(runs: Sequence[_ComparedRun], differing: Sequence[tuple[str, str, str]]) -> list[str]:
    reasons = []
    for run in runs:
        if why := not_counted(run.result):
            reasons.append(f"{run.name} does not count: {why}")
        elif not run.timed:
            reasons.append(f"{run.name} does not count for timings: its generator was DEGRADED")
    if len(forms := {run.result.digest_form for run in runs}) > 1:
        shown = " and ".join(map(str, sorted(forms)))
        reasons.append(f"plan digests of forms {shown}: whether all had the same plan is not known")
    return reasons + [f"different environment: {name} {before} / {after}" for name, before, after in differing]


def _no_pass(runs: Sequence[_ComparedRun]) -> list[str]:
    """Runs of the new side that did not do what their plan asks, where those of the baseline did: whatever that is, and
    whether or not a figure tells it.
    """
    judged = [run for run in runs if not run.control]
    if any(run.result.verdict.exit_code == ExitCode.INCONCLUSIVE for run in judged if not run.new):
        return []
    return [
        f"{run.name} is no pass, as all of the baseline are: {run.result.verdict.limit_reason}"
        for run in judged
        if run.new and run.result.verdict.exit_code == ExitCode.INCONCLUSIVE
    ]


def _overall(metrics: Sequence[MetricComparison]) -> Decision:
    decisions = {metric.decision for metric in metrics if metric.gate is not Gate.REPORT}
    if Decision.REGRESSION in decisions:
        return Decision.REGRESSION
    if Decision.INCONCLUSIVE in decisions or not decisions:
        return Decision.INCONCLUSIVE
    return Decision.PASS


def _metrics(runs: Sequence[_ComparedRun], paired: bool, same_cpu: bool, relevant: Relevant) -> list[MetricComparison]:
    timed = [run for run in runs if run.timed]
    wanted = [row for row in rows() if any(figure(run.result, row.name) is not None for run in runs)]
    estimates = _estimates(timed, [row for row in wanted if row.gate is Gate.PAIRED], paired, relevant)
    compared = []
    for row in wanted:
        if row.needs_same_cpu and not (same_cpu and paired):
            row = msgspec.structs.replace(row, gate=Gate.REPORT)
        # Figures of DEGRADED runs are better than none to look at; they decide nothing.
        timing = row.gate is Gate.PAIRED or row.name.rpartition(".")[2] in STATISTICS
        sides = [_figures(timed if timing else runs, row, new) for new in (False, True)]
        if timing and not all(sides):
            sides = [_figures(runs, row, new) for new in (False, True)]
        before, after = sides
        if row.gate is Gate.REPORT:
            judged = _Judged(Decision.PASS, "shown only: not of one session" if row.needs_same_cpu else "shown only")
        elif row.gate is Gate.EXACT and not row.unit and not any((*before, *after)):
            judged = _Judged(Decision.PASS, "none in any run")  # where a side does not count it, too
        elif not before or not after:
            judged = _Judged(Decision.INCONCLUSIVE, f"not measured by {'baseline' if not before else 'new'}")
        elif row.gate in _HARD:
            judged = _hard(row, before, after, _figures(timed, row, True))
        else:
            estimate = estimates.get(row.name)
            far_off = 0 if estimate is None else sum(timed[run].new for run in estimate.left_out)
            judged = _timing(row, estimate, _limit(row, relevant), same_cpu, far_off)
        compared.append(_compared(row, before, after, judged))
    return compared


def _figures(runs: Sequence[_ComparedRun], row: ComparedFigure, new: bool) -> list[float]:
    figures = (figure(run.result, row.name) for run in runs if run.new is new and not run.control)
    return [value for value in figures if value is not None]


def _limit(row: ComparedFigure, relevant: Relevant) -> float:
    return relevant.rate if row.better == "higher" else relevant.latency


def _estimates(
    runs: Sequence[_ComparedRun], paired_rows: Sequence[ComparedFigure], paired: bool, relevant: Relevant
) -> dict[str, Estimate]:
    """Changes of those figures that every run has, considered together."""
    columns, judged = [], []
    for row in paired_rows:
        column = [figure(run.result, row.name) for run in runs]
        values = [value for value in column if value is not None]
        if values and len(values) == len(column) and (typical := median(values)) > 0:
            # 0 has no logarithm. A thousandth is as far off.
            columns.append([math.log(max(value, typical / 1000)) for value in values])
            judged.append(row)
    if not columns:
        return {}
    new = [run.new for run in runs]
    if paired:
        design = session_design(new, [run.control for run in runs], [run.position for run in runs])
    else:
        design = groups_design(new)
    limits = np.array([math.log1p(_limit(row, relevant)) for row in judged])
    estimates = estimate_changes(np.array(columns).T, design, limits)
    return {} if estimates is None else {row.name: e for row, e in zip(judged, estimates, strict=True)}


def _hard(row: ComparedFigure, before: Sequence[float], after: Sequence[float], steady: Sequence[float]) -> _Judged:
    """Args: steady: those of `after` whose generator was VALID."""
    judged = _exact(before, after) if row.gate is Gate.EXACT else _margin(row, before, after)
    if not row.needs_valid or judged.decision is not Decision.REGRESSION or len(steady) == len(after):
        return judged
    if steady:
        alone = _exact(before, steady) if row.gate is Gate.EXACT else _margin(row, before, steady)
        if alone.decision is Decision.REGRESSION:
            return alone
    why = f"{judged.reason}; but not where the generator was VALID, and a busy machine does that, too"
    return _Judged(Decision.INCONCLUSIVE, why)


def _exact(before: Sequence[float], after: Sequence[float]) -> _Judged:
    """Counts per run, never sums: sides may have different numbers of runs."""
    worst = max(before)
    allowed = worst * (1 + _ROUNDING)
    if not worst and any(after):
        worse = sum(value > 0 for value in after)
        return _Judged(
            Decision.REGRESSION, f"0 in every run of the baseline, up to {max(after):,g} in {worse} of the new"
        )
    # Where the baseline has some too, one bad run more is no change.
    if worst and median_low(after) > allowed:
        return _Judged(
            Decision.REGRESSION, f"most runs of the new side have more than the baseline's worst ({worst:,.10g})"
        )
    return _Judged(Decision.PASS, "no more than in the baseline")


def _margin(row: ComparedFigure, before: Sequence[float], after: Sequence[float]) -> _Judged:
    change = _ratio(before, after)
    if change is None:
        return _Judged(Decision.INCONCLUSIVE, "0 in the baseline")
    if change > row.margin:
        return _Judged(Decision.REGRESSION, f"{change:+.1%}, more than the margin of {row.margin:.0%}")
    return _Judged(Decision.PASS, f"within the margin of {row.margin:.0%}")


def _timing(row: ComparedFigure, estimate: Estimate | None, limit: float, same_cpu: bool, far_off: int) -> _Judged:
    """Args: far_off: runs of the new side that the estimate leaves out."""
    if estimate is None:
        return _Judged(Decision.INCONCLUSIVE, "too few VALID runs that measured it to tell change from noise")
    low, high = math.expm1(estimate.low), math.expm1(estimate.high)
    # In the direction that is worse: minus 9 % is as much noise as plus 10 %.
    noise = math.expm1(estimate.noise) if row.better == "lower" else -math.expm1(-estimate.noise)
    shown = (math.expm1(estimate.change), (low, high), noise)
    if not same_cpu:
        return _Judged(Decision.INCONCLUSIVE, "measured on different machines", *shown)
    worse = estimate.change if row.better == "lower" else -estimate.change
    worst = estimate.high if row.better == "lower" else -estimate.low
    relevant = math.log1p(limit)
    if worse > max(estimate.noise, relevant):
        reason = f"worse by more than noise ({noise:.1%}) and than what matters ({limit:.0%})"
        return _Judged(Decision.REGRESSION, reason, *shown)
    if worst > relevant:
        reason = f"a change for the worse by {limit:.0%} is not excluded: {low:+.1%} to {high:+.1%}"
        return _Judged(Decision.INCONCLUSIVE, reason, *shown)
    if far_off > _MOST_FAR_OFF:
        # One run may have been disturbed. More may be what the new build does now and then.
        return _Judged(Decision.INCONCLUSIVE, f"{far_off} runs of the new side are far off the others", *shown)
    return _Judged(Decision.PASS, f"a change for the worse by {limit:.0%} is excluded", *shown)


def _compared(
    row: ComparedFigure, before: Sequence[float], after: Sequence[float], judged: _Judged
) -> MetricComparison:
    change = judged.change if judged.change is not None else _ratio(before, after)
    return MetricComparison(
        metric=row.name,
        unit=row.unit,
        better=row.better,
        gate=row.gate,
        baseline=median(before) if before else None,
        new=median(after) if after else None,
        baseline_runs=tuple(before),
        new_runs=tuple(after),
        change=change,
        interval=judged.interval,
        noise=judged.noise,
        decision=judged.decision,
        reason=judged.reason,
    )


def _ratio(before: Sequence[float], after: Sequence[float]) -> float | None:
    if not before or not after or not median(before):
        return None
    return median(after) / median(before) - 1
