"""From what the supervisor holds after a run to its result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

import msgspec

from loadgen.errors import ExitCode
from loadgen.loads import LoadKind
from loadgen.measure.books import imbalances
from loadgen.measure.merge import Merger
from loadgen.measure.names import BETWEEN_CLOCKS, MAXIMA, error_phases
from loadgen.measure.stages import AFTER, BEFORE, NO_STAGE
from loadgen.measure.waits import Waited, done_until_ns, growth_ns, level_of, stayed_ns
from loadgen.results import thresholds as limits
from loadgen.results.asked import Asked, excused, shortfalls
from loadgen.results.figures import (
    StageSpan,
    backlog_growth_ns,
    make_costs,
    make_counters,
    make_metrics,
    make_rates,
    make_stages,
    waits_of,
)
from loadgen.results.health import MachineHealth, Verdict, judge, key_log_trouble
from loadgen.results.missing import missing_figures, missing_of_run
from loadgen.results.paces import TOLERANCE, Delay, Pace, Shortage, Standstill, Untold
from loadgen.results.record import AbortWhen, Load, RunRecord, interval_ns_of
from loadgen.results.result import Limit, RunResult, StageResult, environment
from loadgen.results.thresholds import Figures, Status
from loadgen.results.verdict import make_verdict
from loadgen.scenario import digest
from loadgen.scenario.plan import Plan, PlannedThreshold, Use, end_ns
from loadgen.scenario.requests import refusable
from loadgen.units import NS_PER_S

_UNFINISHED = "the run had not ended when this was written"


def make_unfinished(plan: Plan, record: RunRecord, demands: Sequence[limits.Threshold], started: datetime) -> RunResult:
    """The figures of a run so far: what is left of it if it does not come to its end."""
    result = make_result(plan, record, demands, started)
    # How workers fared they tell at the end: before that, there is no reason to believe them.
    verdict = msgspec.structs.replace(
        result.verdict,
        generator=Verdict.INVALID,
        reasons=(_UNFINISHED, *result.verdict.reasons),
        outcome="unfinished",
        exit_code=int(ExitCode.INTERRUPTED),
        limited_by=Limit.INTERRUPTION,
        limit_reason=_UNFINISHED,
    )
    # What it cost they tell at the end, too.
    return msgspec.structs.replace(result, verdict=verdict, costs={}, unfinished=True)


# In less time, one moment in which a machine stands still is a backlog.
_LEAST_PACED_S = 2.0


def make_result(plan: Plan, record: RunRecord, demands: Sequence[limits.Threshold], started: datetime) -> RunResult:
    """All figures of a run, and the verdict."""
    merger = record.merger
    load = record.loads[-1] if record.loads else None
    found = merger.counters()
    load_s = sum(load.length_s for load in record.loads)
    asked = _asked(plan, record, demands)
    spans = _spans(plan, record, excused=excused(asked, load_s))
    counters = _counters(plan, found, complete=record.complete, over=record.over)
    sessions = 0 if load is None else load.before["sessions.established"] - load.before["sessions.lost"]
    phases = error_phases(wlc=plan.use.plays_wlc, mse=plan.use.plays_mse)
    figures = Figures(
        make_metrics(merger, spans),
        counters,
        make_rates(merger, counters, spans),
        make_costs(_since(load, counters), plan.load.kind, record.health, sessions),
        phases,
        merger.clocks(),
    )
    machine = MachineHealth() if load is None else load.machine
    judged = limits.judge(demands, figures)
    # Who cut a run off knows that it did less than it was to.
    whole = record.complete and not record.interrupted and not record.aborted
    stages = make_stages(merger, spans)
    generator = judge(record.health, machine, counters, figures.metrics)
    if record.deaths:  # how it fared a worker tells at its end: one that died may have stood still before
        generator = msgspec.structs.replace(generator, generator=Verdict.INVALID)
    # A backlog may be ours, where we were not in time.
    paces: list[Shortage] = []
    standstills: list[Standstill] = []
    if generator.generator is not Verdict.INVALID:
        paces = [*_paces(plan, spans, stages, counters), *_delays(plan, merger, spans)]
        standstills = [*_standstills(plan, merger, spans)]
    durations = _durations(merger, spans) if counters.get("clock.clamped") else 0
    dialings = [health.dialing for health in record.health]
    short = (
        shortfalls(asked, load_s, counters, record.absences, paces, durations, dialings, standstills) if whole else ()
    )
    return RunResult(
        schema_version=RunResult.VERSION,
        scenario=plan.scenario,
        plan_digest=plan.digest,
        digest_form=digest.FORM,
        profile=plan.profile,
        use=plan.use,
        kind=plan.load.kind,
        started=started.isoformat(timespec="seconds"),
        load_s=load_s,
        supervisor_cpu_s=sum(load.cpu_s for load in record.loads),
        environment=environment(),
        verdict=make_verdict(
            generator,
            judged,
            counters,
            interrupted=record.interrupted,
            aborted=record.aborted,
            deaths=record.deaths,
            missing=record.missing,
            imbalances=imbalances(counters) if record.over else (),
            shortfalls=short,
            in_load=_in_load(merger, spans),
        ),
        metrics=dict(figures.metrics),
        clocks=figures.clocks,
        missing=missing_of_run(plan, figures.metrics, counters.get("notify.unplaced", 0)),
        counters=counters,
        rates=dict(figures.rates),
        costs=dict(figures.costs),
        thresholds=judged,
        stages=stages,
        workers=record.health,
        machine=machine,
        timeline=record.timeline.build(None if load is None else record.loads[0].start_ns - record.epoch_ns),
        key_log=record.key_log,
        key_log_trouble=key_log_trouble(record.health),
    )


def _spans(plan: Plan, record: RunRecord, *, excused: bool) -> list[StageSpan]:
    """The stages of all loads. Args: excused: the last one may have ended earlier, and is judged by its own length."""
    told: list[dict[str, int]] = [{} for _ in record.loads[1:]] + [_told_until(plan, record)]
    ends = [load.judged_end_ns for load in record.loads]
    if record.loads and excused:
        ends[-1] = record.loads[-1].end_ns
    # What came before a worker knew that it belongs to a stage is in none; what is due, is so however late it is sent.
    late = [worker.missed_ns for worker in record.health]
    late_ns = 0 if plan.use.plays_wlc or not late else sum(late) // len(late)
    return [
        span
        for load, at_ns, until in zip(record.loads, ends, told, strict=False)
        for span in stage_spans(plan, load, at_ns, until, late_ns if load is record.loads[-1] else 0)
    ]


def load_figures(plan: Plan, merger: Merger, load: Load) -> Figures:
    """The figures of one load of several, after it was drained."""
    spans = stage_spans(plan, load, load.judged_end_ns)
    delta = Counter(load.after)
    delta.subtract(load.before)
    # No counts of their own, but how things stood when the load was over.
    standing = ("notify.unacknowledged_bytes", "notify.unacknowledged_before_bytes", *MAXIMA)
    for name in standing:
        if name in load.after:
            delta[name] = load.after[name]
    counters = _counters(plan, delta, complete=True)
    return Figures(
        make_metrics(merger, spans),
        counters,
        make_rates(merger, counters, spans),
        make_costs(counters, plan.load.kind, load.health, load.before["sessions.established"]),
        clocks=merger.clocks(),
    )


def load_growth_ns(plan: Plan, merger: Merger, load: Load, rate: str) -> float:
    """By how much a backlog grew over the stages of a load that count; args as of `load_figures`, and of which rate."""
    spans = stage_spans(plan, load, load.judged_end_ns)
    return sum(backlog_growth_ns(merger, rate, span) for span in spans if span.counted)


def load_waits(plan: Plan, merger: Merger, load: Load, rate: str) -> tuple[Waited, ...]:
    """How long what was due in the stages of a load that count waited, at each worker; args as of `load_figures`."""
    spans = [span for span in stage_spans(plan, load, load.judged_end_ns) if span.counted]
    return tuple(waited for span in spans for waited in waits_of(merger, rate, span))


def unsubscribes(plan: Plan) -> bool:
    """Whether our own MSEs do."""
    return plan.use.plays_mse and any(request.name == "unsubscribe" for request in plan.requests)


def load_due(plan: Plan, load: Load) -> int:
    """What was due in the stages of a load that count."""
    return sum(span.scheduled for span in stage_spans(plan, load, load.judged_end_ns) if span.counted)


def load_crowd(plan: Plan, load: Load) -> float:
    """How many times as many notifications were due in a load as to the plan's sessions: each MSE more is owed all that
    its WLC has. Those that were missing are owed theirs; those that unsubscribed would be.
    """
    scheduled = _scheduled(plan, load)(end_ns(load.stages))
    due = sum(load.after[name] - load.before[name] for name in ("notify.due", "notify.declined"))
    return max(1.0, due / scheduled) if scheduled else 1.0


def _told_until(plan: Plan, record: RunRecord) -> dict[str, int]:
    """Until when (monotonic ns) the last load was told of, by what is counted, where a worker died.

    Its figures end with its last report, and those of the others do not: a side's end is the mean of its workers', who
    have equal parts of the load.
    """
    if plan.sessions_per_user or not record.loads:
        return {}
    end_ns, interval_ns = record.loads[-1].end_ns, interval_ns_of(plan)
    until: dict[str, int] = {}
    for what, side in (("sent", "wlc"), ("received", "mse"), ("handshake", "mse" if plan.use.plays_mse else "wlc")):
        told = record.merger.told(side)
        ends = [end_ns if last is None else min(end_ns, record.epoch_ns + (last + 1) * interval_ns) for last in told]
        if any(last is not None for last in told):
            until[what] = sum(ends) // len(ends)
    return until


def stage_spans(
    plan: Plan, load: Load, end_ns: int, told_until: Mapping[str, int] = MappingProxyType({}), late_ns: int = 0
) -> list[StageSpan]:
    """The stages of a load as they were until `end_ns`.

    Args:
        told_until: see `_told_until`. late_ns: after its beginning, what came was seen to be in it.
    """
    spans: list[StageSpan] = []
    copies = plan.copies if plan.offers else 0.0
    scheduled_at = _scheduled(plan, load)
    due = "handshakes.due" if plan.load.kind is LoadKind.HANDSHAKE else "notify.due"
    for stage in load.stages:
        start_ns = load.start_ns + stage.start_ns
        end_of = max(stage.start_ns, min(stage.start_ns + stage.duration_ns, end_ns - load.start_ns))
        scheduled = scheduled_at(end_of) - scheduled_at(stage.start_ns)
        length_ns = max(0, min(stage.duration_ns, end_ns - start_ns))
        told_ns = {what: max(0, min(length_ns, until_ns - start_ns)) for what, until_ns in told_until.items()}
        if missed_ns := max(0, min(stage.start_ns + stage.duration_ns, late_ns) - stage.start_ns):
            told_ns["received"] = max(0, told_ns.get("received", length_ns) - missed_ns)
        spans.append(
            StageSpan(
                name=stage.name,
                counted=stage.counted,
                start_ns=start_ns,
                load_ns=load.start_ns,
                length_ns=length_ns,
                start_per_s=stage.start_per_s * copies,
                end_per_s=stage.end_per_s * copies,
                # Of strangers' MSEs, nobody knows which are there.
                due={due: scheduled} if plan.load.paced and plan.use is Use.BOTH and not plan.sessions_per_user else {},
                paced=plan.load.paced or plan.load.kind is LoadKind.NOTIFY,
                scheduled=scheduled,
                places=plan.load.concurrency,
                told_ns=told_ns,
            )
        )
    return spans


def _in_load(merger: Merger, spans: Sequence[StageSpan]) -> int | None:
    """Notifications that were sent or received in the stages that count; None: it shows of none to which it belongs."""

    def told(names: set[str]) -> int:
        metrics = merger.metrics(names)
        # What came outside of the load has a gap to the one before, where nothing else is known of it.
        came = max((metrics[name].count for name in ("notify.latency", "notify.gap") if name in metrics), default=0)
        return came + (metrics["notify.lag"].count if "notify.lag" in metrics else 0)

    counted = {span.name for span in spans if span.counted}
    within = told(counted)
    return within if within or told({BEFORE, AFTER, *(span.name for span in spans)} - counted) else None


def _durations(merger: Merger, spans: Sequence[StageSpan]) -> int:
    """How many there are between two clocks, in all stages and outside of them."""
    metrics = merger.metrics({NO_STAGE, BEFORE, AFTER, *(span.name for span in spans)})
    return sum(summary.count for name, summary in metrics.items() if name in BETWEEN_CLOCKS)


def _counters(plan: Plan, found: Counter[str], *, complete: bool, over: bool = False) -> dict[str, int]:
    wlc, mse = plan.use.plays_wlc, plan.use.plays_mse
    return make_counters(
        found,
        plan.load.kind,
        wlc=wlc,
        mse=mse,
        complete=complete,
        over=over,
        transport=plan.transport,
        missing=missing_figures(plan),
    )


def _since(load: Load | None, counters: dict[str, int]) -> dict[str, int]:
    """What was counted since the load began: what the CPU time of the load was spent on."""
    if load is None:
        return counters
    return {name: count - load.before[name] for name, count in counters.items()}


def _asked(plan: Plan, record: RunRecord, demands: Sequence[limits.Threshold]) -> Asked:
    """What a run was to do. How many users there are to be, only who leads them knows."""
    judged = {name for demand in demands for name in (demand.name, demand.over) if name}
    if plan.sessions_per_user or not record.loads:
        return Asked(judged=judged, unsubscribing=True)
    load_s = sum(end_ns(load.stages) for load in record.loads) / NS_PER_S
    sessions = len(plan.sessions) if plan.load.kind is LoadKind.NOTIFY else 0
    dialing_s = sum(absence.dialing_s for absence in record.absences)
    return Asked(
        sessions,
        load_s,
        allowed_s=max((absence.before_s for absence in record.absences), default=0.0),
        judged=judged,
        late=dialing_s / (sessions * load_s) if sessions and load_s else 0.0,
        unsubscribing=unsubscribes(plan),
        # What our own WLCs have nothing to say about, docs/scenario.md says.
        refusable=1.0
        if plan.use.plays_wlc or plan.replay is not None
        else refusable(plan.requests, plan.mse.subscription, round(load_s * NS_PER_S)),
    )


def _paces(
    plan: Plan, spans: Sequence[StageSpan], stages: Sequence[StageResult], counters: Mapping[str, int]
) -> list[Pace]:
    """The stages that count, with rates that we keep; of a ramp, its mean."""
    if (
        not plan.load.paced
        or plan.sessions_per_user
        or not (plan.use.plays_wlc or plan.load.kind is LoadKind.HANDSHAKE)
    ):
        return []
    scheduled = {span.name: span.scheduled for span in spans}
    rate, unit = "notify.received_per_s" if plan.use.plays_mse else "notify.sent_per_s", "notifications/s"
    if plan.load.kind is LoadKind.HANDSHAKE:
        rate, unit = "handshake.completed_per_s", "handshakes/s"
    elif counters.get("notify.due", 0) < (1 - TOLERANCE) * sum(scheduled.values()):
        return []  # MSEs that have unsubscribed for a while are owed nothing then, and nobody keeps that rate
    # Of a rate, a stage has a whole number, or whole bursts: what it did is set against what was due in it. Where there
    # are more MSEs than the plan has, more was due: all that was sent of it, at least. What failed is told by itself,
    # and no backlog.
    attempted, failed = counters.get("handshakes.attempted", 0), counters.get("handshakes.failed", 0)
    tried = 1 - failed / attempted if attempted else 1.0
    return [
        Pace(stage.name, unit, due / stage.length_s, stage.rates[rate])
        for stage in stages
        if stage.counted and rate in stage.rates
        if stage.length_s >= _LEAST_PACED_S
        if (due := max(scheduled[stage.name] * tried, stage.counters.get("notify.sent", 0)))
    ]


def _delays(plan: Plan, merger: Merger, spans: Sequence[StageSpan]) -> Iterator[Delay | Untold]:
    """The same of what has no rate to be set against: requests; and the notifications of somebody else's WLCs, which
    say when each was due, as far as their clocks tell. And of all: what was late from some moment on, and stayed so.
    """
    if plan.sessions_per_user:
        return
    if plan.load.kind is LoadKind.HANDSHAKE:
        if plan.load.paced and plan.use.plays_mse:
            yield from _late("handshakes", merger, "handshake", spans, "handshake.latency", has_rate=True)
        return
    notified, whose = "notify.latency", "notifications"
    if plan.use.plays_wlc:
        # What waited before it was sent, where nobody knows when it came.
        what, metric = ("received", notified) if plan.use.plays_mse else ("sent", "notify.lag")
        yield from _late(whose, merger, what, spans, metric, has_rate=True)
    else:
        yield from _untold(merger, spans)
        whose, unknown_ns = f"by the WLCs' own due times, {whose}", merger.clocks().less_ns
        yield from _late(whose, merger, "came", spans, notified, unknown_ns=unknown_ns)
    if plan.use.plays_mse:
        yield from _late("requests", merger, "answered", spans, judged_by="request.")


def _late(
    whose: str,
    merger: Merger,
    what: str,
    spans: Sequence[StageSpan],
    latency: str = "request.",
    *,
    unknown_ns: int = 0,
    judged_by: str = "",
    has_rate: bool = False,
) -> Iterator[Delay]:
    """Args: latency: of what waited. has_rate: a backlog that grew is in that."""
    for span in _judged_spans(spans):
        waits = merger.waits(what, span.name)
        if grown_ns := growth_ns(waits, span.length_ns):
            if grown_ns > unknown_ns and not has_rate:
                yield Delay(whose, span.name, grown_ns - unknown_ns, span.length_ns, judged_by)
        elif (stayed := stayed_ns(waits, span.length_ns)) > unknown_ns:
            yield Delay(whose, span.name, stayed - unknown_ns, span.length_ns, judged_by, latency)
        elif not has_rate and (left_ns := level_of(waits, span.length_ns).left_ns) > unknown_ns:
            yield Delay(whose, span.name, left_ns - unknown_ns, span.length_ns, judged_by)


def _standstills(plan: Plan, merger: Merger, spans: Sequence[StageSpan]) -> Iterator[Standstill]:
    """Of what goes as fast as it goes, and so is never late. What takes longest may be the last one of its place."""
    load = plan.load
    if load.kind is not LoadKind.HANDSHAKE or load.paced or not plan.use.plays_mse or plan.sessions_per_user:
        return
    metrics = merger.metrics({BEFORE, AFTER, *(span.name for span in spans)})
    longest_ns = metrics["handshake.service"].max if "handshake.service" in metrics else 0
    for span in _judged_spans(spans):
        silent_ns = span.length_ns - done_until_ns(merger.waits("handshake", span.name))
        if silent_ns >= max(NS_PER_S, span.length_ns * TOLERANCE, longest_ns):
            yield Standstill(span.name, silent_ns)


def _judged_spans(spans: Sequence[StageSpan]) -> list[StageSpan]:
    return [span for span in spans if span.counted and span.length_ns >= _LEAST_PACED_S * NS_PER_S]


def _untold(merger: Merger, spans: Sequence[StageSpan]) -> Iterator[Untold]:
    """What came of somebody else's WLCs with times that cannot be is in none of the waits."""
    for span in _judged_spans(spans):
        waits = merger.waits("came", span.name)
        if untold := sum(waited.untold for waited in waits):
            yield Untold(span.name, untold, sum(waited.done for waited in waits))


def abort_when(plan: Plan, rules: Sequence[PlannedThreshold]) -> AbortWhen:
    """Looks after each interval whether a rule with `abort_on_fail` has failed."""
    fatal = [rule for rule in rules if rule.abort_on_fail]
    demands = limits.parse_thresholds([rule.threshold for rule in fatal], "thresholds")
    last_ns = 0
    phases = error_phases(wlc=plan.use.plays_wlc, mse=plan.use.plays_mse)

    def check(merger: Merger, load: Load, until_ns: int) -> str | None:
        nonlocal last_ns
        since_ns = until_ns - load.start_ns
        ripe = [demand for rule, demand in zip(fatal, demands, strict=True) if since_ns >= rule.delay_ns]
        if not ripe or until_ns == last_ns:
            return None
        last_ns = until_ns
        spans = stage_spans(plan, load, until_ns)
        counters = _counters(plan, merger.counters(), complete=False)
        figures = Figures(
            make_metrics(merger, spans), counters, make_rates(merger, counters, spans), {}, phases, merger.clocks()
        )
        failed = [result for result in limits.judge(ripe, figures) if result.status is Status.FAILED]
        return f"{failed[0].text} ({failed[0].shown})" if failed else None

    return check


def _scheduled(plan: Plan, load: Load) -> Callable[[int], int]:
    """How much a load's schedule has before a time (ns since its start), for all that there are to be."""
    if not plan.load.paced or not plan.offers or plan.sessions_per_user:
        return lambda before_ns: 0
    schedule = plan.schedule(load.stages)
    if plan.load.kind is LoadKind.HANDSHAKE:
        return lambda before_ns: schedule.count_at(before_ns - 1)
    subscribers = Counter(session.wlc for session in plan.sessions)

    def notifications(before_ns: int) -> int:
        count = schedule.count_at(before_ns - 1)
        return plan.load.burst * sum(schedule.turns(wlc, count) * each for wlc, each in subscribers.items())

    return notifications
