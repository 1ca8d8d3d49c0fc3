"""Makes the loads of a search: over the same sessions where it can, as runs of their own where it must."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import trio

from loadgen.capacity.campaign import Campaign, Observation
from loadgen.capacity.dimension import ABOUT, Dimension, sizes_of, source_for, stages_for
from loadgen.capacity.result import Probe
from loadgen.capacity.search import Trial
from loadgen.errors import ExitCode, InputError
from loadgen.loads import LoadKind
from loadgen.measure.hlog import IntervalLog
from loadgen.measure.merge import Merger
from loadgen.measure.waits import Waited
from loadgen.prepare.job import Job, Source, make_job, plan_of
from loadgen.results.asked import MOST_NAMED, Asked, mute_sessions
from loadgen.results.faults import faults
from loadgen.results.health import GeneratorVerdict, Verdict, judge, key_log_trouble
from loadgen.results.outcome import (
    load_crowd,
    load_due,
    load_figures,
    load_growth_ns,
    load_waits,
    make_result,
    unsubscribes,
)
from loadgen.results.record import Load, RunRecord
from loadgen.results.result import ResultVerdict
from loadgen.results.thresholds import Figures
from loadgen.run.signals import asked, noted
from loadgen.run.supervisor import Supervisor, Watcher
from loadgen.scenario.plan import Plan, Use
from loadgen.units import NS_PER_S

# A target that ends sessions under a load that is too much for it costs a new start of the fleet; so often.
_MOST_STARTS = 8
_DRAIN_S = 30.0
# More was due than was to be tried, because another MSE came; and so often a load is made again for that.
_CROWDED = 1.01
_MOST_CROWDED = 8
# A target that refuses half of what comes refuses 20 in a row once in a million times: after that it counts as gone.
_LEAST_IN_VAIN = 20

OnProbe = Callable[[Probe], None]
OnPrepared = Callable[[Plan, Sequence[tuple[str, int]]], None]
# Of a run that began then (unix seconds); None: nothing is to be written.
NewLog = Callable[[float], IntervalLog | None]


class Ended(NamedTuple):
    """How a search came to its end. code: PASSED unless something kept it from going on."""

    code: ExitCode
    reason: str


class Reach:
    """Whether the target of a search is there, by what was tried in vain, load after load, since anything was done."""

    def __init__(self) -> None:
        self._reached = self._in_vain = 0

    def is_gone(self, attempted: int, done: int) -> bool:
        """One more load was made: it never was there, or it is not any more. A few that were refused do not say so."""
        self._in_vain = 0 if done else self._in_vain + attempted
        self._reached += done
        return not done and (not self._reached or self._in_vain >= _LEAST_IN_VAIN)

    def told(self, what: str) -> str:
        """That it is gone, by what is not done (any more)."""
        if not self._reached:
            return what
        since = f", and then {self._in_vain:,} in a row did not" if self._in_vain else ""
        return f"{what} any more: {self._reached:,} did{since}"


class Prober:
    """Makes the loads of one campaign after the other.

    Attributes:
        key_log_trouble: why secrets are missing in the key log; empty if none are.
    """

    def __init__(
        self,
        source: Source,
        watcher: Watcher,
        on_prepared: OnPrepared,
        on_probe: OnProbe,
        new_log: NewLog,
        wait_ns: int | None = None,
        key_log: Path | None = None,
    ) -> None:
        """Args:
        new_log: begins the interval log of a run, which is as long as its fleet lives.
        wait_ns: for a target that is not there; see `Supervisor.run`.
        key_log: what gets the secrets of all tunnels; None: nothing.
        """
        self._wait_ns, self._key_log = wait_ns, key_log
        self._source = source
        self._watcher = watcher
        self._on_prepared = on_prepared
        self._on_probe = on_probe
        self._new_log = new_log
        self._began = time.monotonic()
        self._unreachable = ""
        self._reach = Reach()
        self._crowd = 1.0  # see `load_crowd`
        self._crowded = 0
        self._ended = ""  # what ended sessions of the fleet before; see `what_ended`
        self.key_log_trouble = ""

    def run(self, campaign: Campaign) -> Ended:
        """Make all loads of a search.

        Raises:
            InputError: the very first one cannot be made.
        """
        try:
            return self._search(campaign)
        except KeyboardInterrupt:  # between two runs; during one, the supervisor ends it in order
            return Ended(ExitCode.INTERRUPTED, "interrupted")

    def _search(self, campaign: Campaign) -> Ended:
        starts, self._reach, self._unreachable, self._crowded, self._ended = 0, Reach(), "", 0, ""
        live = ABOUT[campaign.settings.dimension].live
        while campaign.next() is not None:
            before = len(campaign.probes)
            record = self._live(campaign) if live else self._one_run(campaign)
            if record is None:
                continue
            starts += 1
            self.key_log_trouble = self.key_log_trouble or key_log_trouble(record.health)
            code, reason = self._ending(record)
            if code is ExitCode.PASSED and self._unreachable:
                code, reason = ExitCode.UNREACHABLE, self._unreachable
            # A fleet that came up and made no load, or came up too often, will not do better the next time.
            stuck = live and campaign.next() is not None
            stuck = stuck and (len(campaign.probes) == before or starts == _MOST_STARTS)
            if code is ExitCode.PASSED and stuck:
                by = f": {self._ended}" if self._ended else ""
                code, reason = ExitCode.INCONCLUSIVE, f"the target ended sessions again and again{by}"
            if code is not ExitCode.PASSED:
                return Ended(code, reason)
        return Ended(ExitCode.PASSED, "")

    def _live(self, campaign: Campaign) -> RunRecord:
        """Loads over one fleet's sessions, until the search is over or sessions have ended."""
        settings = campaign.settings
        source = source_for(settings.dimension, self._source, settings.start, settings.hold_ns, settings.warmup_ns)
        job = make_job(source, datetime.now(UTC))

        async def lead(supervisor: Supervisor) -> None:
            self._crowd = 1.0
            if job.plan.load.kind is LoadKind.NOTIFY and not supervisor.merger.counters()["sessions.established"]:
                return  # nobody came
            renewed, self._ended = self._ended, ""
            while (trial := campaign.next()) is not None:
                # Who went between two loads is owed what is due in the next, and none of that is its doing.
                if supervisor.loads and self._have_ended(supervisor.loads[0], supervisor.merger.counters()):
                    return
                load = await self._one_load(campaign, job.plan, supervisor, trial, renewed)
                renewed = ""
                if supervisor.fleet.stopping or self._have_ended(supervisor.loads[0], load.after):
                    return
                if self._unreachable or self._crowded > _MOST_CROWDED:
                    return
                with trio.move_on_after(settings.cooldown_ns / NS_PER_S):
                    await supervisor.fleet.until(lambda: False)  # or until the run is to end

        with noted():
            return trio.run(self._supervisor(job).run, lead, self._patience_ns(campaign, job))

    def _have_ended(self, first: Load, counters: Counter[str]) -> bool:
        self._ended = what_ended(first, counters)
        return bool(self._ended)

    async def _one_load(
        self, campaign: Campaign, plan: Plan, supervisor: Supervisor, trial: Trial, renewed: str
    ) -> Load:
        start_s = time.monotonic() - self._began
        hold_ns, number = campaign.hold_ns(trial), len(campaign.probes) + self._crowded + 1
        crowd = self._crowd = max(self._crowd, crowd_of(plan, supervisor.merger.counters()))
        await supervisor.load(
            stages_for(
                campaign.settings.dimension, plan, number, trial.load, hold_ns, campaign.settings.warmup_ns, crowd
            )
        )
        load = await supervisor.settle(_DRAIN_S)
        if not supervisor.fleet.stopping:
            if plan.use is Use.SERVE_WLC and (really := load_crowd(plan, load)) > crowd * _CROWDED:
                # It was not the load that was to be tried, and says nothing of it.
                self._crowd, self._crowded = really, self._crowded + 1
                return load
            seen = observe(plan, supervisor.merger, load, campaign.settings.dimension, trial.load, crowd)
            seen = seen._replace(start_s=start_s, workers=supervisor.workers, renewed=renewed)
            self._on_probe(campaign.tell(trial, seen))
            self._unreachable = nobody_there(plan.load.kind, seen, self._reach)
        return load

    def _one_run(self, campaign: Campaign) -> RunRecord | None:
        """One load, by a run of its own; None if it could not be made."""
        settings, trial = campaign.settings, campaign.next()
        assert trial is not None
        start_s = time.monotonic() - self._began
        hold_ns = campaign.hold_ns(trial)
        try:
            source = source_for(settings.dimension, self._source, trial.load, hold_ns, settings.warmup_ns)
            job = make_job(source, datetime.now(UTC))
            with noted():
                record: RunRecord = trio.run(self._supervisor(job).run, None, self._patience_ns(campaign, job))
        except InputError as error:
            if not campaign.probes:
                raise
            # So large it cannot be here: descriptors, ports, memory, addresses.
            self._on_probe(campaign.tell(trial, _impossible(trial, start_s, str(error))))
            return None
        if record.interrupted or record.deaths or not record.prepared:
            return record
        result = make_result(job.plan, record, settings.slos, datetime.now(UTC))
        about = ABOUT[settings.dimension]
        generator = judge(record.health, result.machine, result.counters, result.metrics)
        seen = Observation(
            offered=sizes_of(settings.dimension, job.plan),
            achieved=None if about.achieved is None else result.counters[about.achieved],
            figures=Figures(result.metrics, result.counters, result.rates, result.costs, clocks=result.clocks),
            generator=generator,
            start_s=start_s,
            hold_s=hold_ns / NS_PER_S,
            workers=job.workers,
            cpu_s=sum(worker.load_share for worker in record.health),
            growth_ns=_growth_ns(job.plan, record),
            due=sizes_of(settings.dimension, job.plan),
            unlike_pass=(*unlike_pass(result.verdict, generator, result.counters), *_mute(job.plan, record)),
            sessions_alone=settings.dimension is Dimension.SESSIONS and job.plan.use is Use.TARGET_WLC,
            uninvited=uninvited_to(job.plan, result.counters) if settings.dimension is Dimension.SESSIONS else "",
            waits=_waits(job.plan, record),
        )
        self._on_probe(campaign.tell(trial, seen))
        time.sleep(settings.cooldown_ns / NS_PER_S)
        return record

    def _ending(self, record: RunRecord) -> tuple[ExitCode, str]:
        if record.deaths:
            return ExitCode.WORKER_DIED, "; ".join(record.deaths)
        if record.interrupted or asked():
            return ExitCode.INTERRUPTED, "interrupted"
        if self._crowded > _MOST_CROWDED:
            return ExitCode.INCONCLUSIVE, "more MSEs came while loads were on, again and again"
        counters = record.merger.counters()
        came = (counters["sessions.attempted"], counters["sessions.established"])
        gone = self._reach.is_gone(*came) if came[0] else not record.loads
        if gone and not record.loads:
            why = f"; sessions before them were ended: {self._ended}" if self._ended else ""
            return ExitCode.UNREACHABLE, self._reach.told("no session came up") + why
        return ExitCode.PASSED, ""

    def _patience_ns(self, campaign: Campaign, job: Job) -> int | None:
        """How long this fleet waits for its target. Who was there once, and has gone, has as long to come back as a run
        of the scenario lasts: a load of a search may be short.
        """
        if self._wait_ns is not None or not campaign.probes or job.plan.use is not Use.SERVE_WLC:
            return self._wait_ns
        return max(job.plan.duration_ns, plan_of(self._source)[0].duration_ns)

    def _supervisor(self, job: Job) -> Supervisor:
        def prepared(listening: Sequence[tuple[str, int]]) -> None:
            self._on_prepared(job.plan, listening)
            if (log := self._new_log(supervisor.epoch_unix_s)) is not None:
                supervisor.on_whole = lambda whole: log.append(whole.lines(supervisor.interval_s))

        document, key_log = job.profile.document, self._key_log
        supervisor = Supervisor(
            job.plan,
            document,
            job.keys,
            job.workers,
            self._watcher,
            prepared,
            key_log=key_log,
            recording=job.recording,
        )
        return supervisor


def crowd_of(plan: Plan, counters: Mapping[str, int]) -> float:
    """As `load_crowd`, before a load: by how many sessions there are, where strangers' MSEs come as they like."""
    if plan.use is not Use.SERVE_WLC:
        return 1.0
    return max(1.0, sessions_up(counters) / len(plan.sessions))


def sessions_up(counters: Mapping[str, int]) -> int:
    return counters["sessions.established"] - counters["sessions.lost"] - counters["sessions.closed"]


def observe(
    plan: Plan, merger: Merger, load: Load, dimension: Dimension, offered: float, crowd: float = 1.0
) -> Observation:
    """What a load over sessions that go on showed, once it was drained. Args: crowd: as of `stages_for`."""
    figures = load_figures(plan, merger, load)
    rate = _rate_of(dimension, plan)
    due, hold_s = (
        load_due(plan, load) * crowd,
        sum(stage.duration_ns for stage in load.stages if stage.counted) / NS_PER_S,
    )
    untaken = 0.0 if plan.use.plays_mse else untaken_share(figures)
    # Of what was due in the hold, as a share: that is a whole number, or whole bursts, and seldom rate times length.
    share = figures.rates.get(rate, 0.0) * hold_s / due * (1 - untaken) if due else 0.0
    return Observation(
        offered=offered,
        achieved=offered * share,
        figures=figures,
        generator=judge(load.health, load.machine, figures.counters, figures.metrics),
        start_s=0.0,
        hold_s=hold_s,
        cpu_s=sum(worker.load_share for worker in load.health),
        growth_ns=max(load_growth_ns(plan, merger, load, rate), untaken * hold_s * NS_PER_S),
        due=due,
        waits=load_waits(plan, merger, load, rate),
        sessions=sessions_up(load.before),
    )


def _rate_of(dimension: Dimension, plan: Plan) -> str:
    """What the target did per second, of what was due in the hold; where only the sender is ours, what was sent."""
    rate = ABOUT[dimension].achieved
    assert rate is not None
    return rate if plan.use.plays_mse else "notify.sent_per_s"


def unlike_pass(verdict: ResultVerdict, generator: GeneratorVerdict, counters: Mapping[str, int]) -> tuple[str, ...]:
    """Why a run is neither a pass nor a failure, but for what was the generator's part in it.

    Where no notification ever came, a run has nothing to say. A WLC that has nothing to tell may hold sessions all the
    same.
    """
    told = counters.get("notify.sent", 0) + counters.get("notify.received", 0)
    if verdict.exit_code != ExitCode.INCONCLUSIVE or not told:
        return ()
    return tuple(reason for reason in verdict.reasons if reason not in generator.reasons)


def _mute(plan: Plan, record: RunRecord) -> Iterator[str]:
    """Sessions that were told nothing where others were: a run names them, and that its target was the limit."""
    told = mute_sessions(Asked(unsubscribing=unsubscribes(plan)), record.absences)
    return (shortfall.what for shortfall in told if shortfall.theirs)


def uninvited_to(plan: Plan, counters: Mapping[str, int]) -> str:
    """What a load of sessions is not, where more of them came than it has."""
    there = counters["sessions.established"] - counters["sessions.lost"] - counters.get("sessions.left_early", 0)
    if plan.use is not Use.SERVE_WLC or there <= len(plan.sessions):
        return ""
    told = f"{there:,} sessions came where mse.count and mse.assign have {len(plan.sessions):,}"
    return f"{told}: have them say how many come to each WLC"


def _growth_ns(plan: Plan, record: RunRecord) -> float:
    """By how much a backlog grew in a run of its own, as far as we know what was due when."""
    return load_growth_ns(plan, record.merger, record.loads[-1], _notified(plan)) if record.loads else 0.0


def _waits(plan: Plan, record: RunRecord) -> tuple[Waited, ...]:
    return load_waits(plan, record.merger, record.loads[-1], _notified(plan)) if record.loads else ()


def _notified(plan: Plan) -> str:
    return "notify.received_per_s" if plan.use.plays_mse else "notify.sent_per_s"


def untaken_share(figures: Figures) -> float:
    """What the target's TCP has not taken of what was sent in the hold, as a share: not done, though we are rid of it.

    What was under way when the hold began is so all the time, and no backlog.
    """
    counters, sent = figures.counters, figures.metrics.get("notify.lag")
    if sent is None or not counters["notify.sent"]:
        return 0.0
    of = counters["notify.sent_bytes"] / counters["notify.sent"] * sent.count
    more = counters["notify.unacknowledged_bytes"] - counters["notify.unacknowledged_before_bytes"]
    return min(1.0, max(0.0, more / of))


def what_ended(first: Load, counters: Counter[str]) -> str:
    """How many sessions have gone since the first load, however, and by which errors: what is due for them would break
    every later one. Empty if none have.
    """
    since = {name: more for name, count in counters.items() if (more := count - first.before[name]) > 0}
    gone = [f"{name}: {since[name]:,}" for name in ("sessions.lost", "sessions.closed") if name in since]
    if not gone:
        return ""
    return ", ".join((*gone, *(f"{error.name}: {error.count:,}" for error in faults(since).told[:MOST_NAMED])))


def nobody_there(kind: LoadKind, seen: Observation, reach: Reach) -> str:
    """Why the target is not there (any more); empty if it is. Too much of a load leaves some of it done."""
    counters = seen.figures.counters
    if kind is LoadKind.NOTIFY or seen.generator.generator is Verdict.INVALID:
        return ""
    attempted, completed = counters.get("handshakes.attempted", 0), counters.get("handshakes.completed", 0)
    gone = attempted and reach.is_gone(attempted, completed)
    return reach.told("no handshake completed") if gone else ""


def _impossible(trial: Trial, start_s: float, why: str) -> Observation:
    """A load that this machine cannot make."""
    return Observation(
        offered=trial.load,
        achieved=0.0,
        figures=Figures({}, {}, {}, {}),
        generator=GeneratorVerdict(Verdict.INVALID, (why,), why),
        start_s=start_s,
        hold_s=0.0,
        trouble=why,
    )
