"""The process that runs a plan: starts the workers, leads them through the run, and gathers what they saw.

    prepare   workers listen and make their contexts
    dial      MSEs dial at the planned rate, until every session is up or has failed
    load      slot 0 is due at one time for all; once, or again and again with other rates
    collect   every worker hands in its last interval

A worker that dies ends the run early: what the others measured, and what it reported before, is kept.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import trio

from loadgen.clock import MONOTONIC, Nanoseconds
from loadgen.drive.redialing import listened_at
from loadgen.drive.tracing import Tracing
from loadgen.errors import InputError, Problem
from loadgen.loads import LoadKind
from loadgen.measure.intervals import Intervals, WholeInterval
from loadgen.measure.merge import Merger
from loadgen.measure.progress import Recent, Snapshot, Standing
from loadgen.measure.recorder import Interval
from loadgen.nmsp.messages import Role
from loadgen.nmsp.profile_document import ProfileDocument
from loadgen.prepare.keys import Keys
from loadgen.prepare.machine import MachineWatch
from loadgen.replay.recording import Tracks, asked_of
from loadgen.results.record import LEAD_NS, AbortWhen, Load, RunRecord, interval_ns_of
from loadgen.results.timeline import TimelineBuilder
from loadgen.run.channel import Assignment, BeginStage, Dial, EndLoad, Finish, Halt, Muster, StartLoad
from loadgen.run.fleet import Fleet, Hear, WorkerProcess
from loadgen.run.shared import SharedPlacings
from loadgen.run.silence import SILENCE_S
from loadgen.run.status_desk import StatusDesk
from loadgen.scenario.plan import Plan, end_ns
from loadgen.scenario.schedule import RateStage
from loadgen.session.asking import LONGEST_WAIT_NS
from loadgen.status.answer import RunInfo
from loadgen.units import NS_PER_S

# How long workers have beyond what they wait for themselves: after Finish for the orderly close of their sessions,
# after a load for what is still owed, while they dial for the next session that is up or has failed.
_COLLECT_S = 15.0
# How long sessions that are being set up when the run ends may take to come up, or to be withdrawn by their workers.
_HALT_S = 5.0

Watcher = Callable[[Snapshot], None]


class Whole(NamedTuple):
    """A run of which a supervisor leads a part: it keeps no intervals, and signals are not for it.

    Attributes:
        epoch_unix_ns: when interval 0 began, everywhere.
        interval_ns: its length.
        hear: gets every interval of this part.
    """

    epoch_unix_ns: int
    interval_ns: int
    hear: Hear


class Supervisor:
    """Runs one plan, once.

    Attributes:
        workers: per side.
        loads: so far; the last one may be going on.
        on_whole: gets every interval once all workers have handed it in; from when the run is prepared.
        meanwhile: called once workers know what to do, for what we have to do ourselves before they have done it.
    """

    def __init__(
        self,
        plan: Plan,
        profile: ProfileDocument,
        keys: Keys,
        workers: int,
        watcher: Watcher,
        on_prepared: Callable[[Sequence[tuple[str, int]]], None],
        abort_when: AbortWhen = lambda _merger, _load, _until_ns: None,
        part_of: Whole | None = None,
        tracing: Tracing | None = None,
        key_log: Path | None = None,
        silence_s: int = SILENCE_S,
        clock: Nanoseconds = MONOTONIC,
        recording: Tracks | None = None,
    ) -> None:
        """Args:
        workers: per side.
        on_prepared: called when all workers are, before anything is dialed, with the addresses of our WLCs;
            an InputError of it ends the run.
        part_of: the larger run that this is a part of; None: it is all of it.
        tracing: None: no handshake is traced.
        key_log: where the secrets of all tunnels are logged; None: nowhere.
        silence_s: for how long nothing may be heard of a worker.
        recording: what was recorded, if the plan replays.
        """
        self._clock, self._plan, self._recording = clock, plan, recording
        self._profile, self._keys = profile, keys
        self._placings = SharedPlacings(plan)
        self.workers = workers
        self._watcher, self._on_prepared = watcher, on_prepared
        self._abort_when, self._aborted = abort_when, ""
        self._part_of = part_of
        self.merger = Merger(counting_only=part_of is not None)
        self.fleet = Fleet(self._hear, silence_s, clock)
        self.fleet.hear_end = lambda worker: self._intervals.part_with(worker)
        self.fleet.hear_seen = partial(self._hear, cpu_s=None, goes_on=True)
        self.loads: list[Load] = []
        self._standing = Standing.PREPARING
        self._prepared = False
        self._epoch_ns = clock()
        self._to_unix_ns = time.time_ns() - self._epoch_ns
        self._tracing, self._key_log = tracing, key_log
        if tracing is not None:
            self.fleet.hear_traced = lambda traced, process: tracing.hear(traced, process, self._to_unix_ns)
        self._interval_ns = interval_ns_of(plan)
        if part_of is not None:
            self._epoch_ns, self._interval_ns = part_of.epoch_unix_ns - self._to_unix_ns, part_of.interval_ns
        self._recent = Recent(self._interval_ns / NS_PER_S)
        self._timeline = TimelineBuilder(self._interval_ns)
        self._intervals = Intervals(self._take_whole)
        self._early: list[WholeInterval] = []  # before the run was prepared
        self.on_whole: Callable[[WholeInterval], None] = lambda _: None
        self.meanwhile: Callable[[], None] = lambda: None
        self._connecting = trio.Event()

    async def run(
        self, lead: Callable[[Supervisor], Awaitable[None]] | None = None, wait_ns: int | None = None
    ) -> RunRecord:
        """Run the plan.

        Args:
            lead: what is to be done once sessions are up: calls `load` and `settle`; the plan's own stages if None.
            wait_ns: for the first of somebody else's MSEs (None: for ever), for WLCs that are not there (None: not).

        Raises:
            InputError: a worker could not do what the plan asks (a port in use, ...); nothing was dialed.
        """
        try:
            async with trio.open_nursery() as nursery:
                problems = await self._lead(nursery, lead, wait_ns)
                nursery.cancel_scope.cancel()
        finally:
            await self.fleet.close()
        if problems:
            raise InputError(problems)
        self._intervals.end()
        self.merger.settle([worker.name for worker in self.fleet.workers if worker.done is None])
        if self._tracing is not None:
            self._tracing.end({role: self._untraced(role) for role in self._roles()})
        return self._record(tuple(self.loads))

    def record_until(self, index: int) -> RunRecord:
        """What the run leaves behind if it does not come further than this interval."""
        until_ns = self._epoch_ns + (index + 1) * self._interval_ns
        return self._record(tuple(load.until(until_ns) for load in self.loads))._replace(over=False)

    def _record(self, loads: tuple[Load, ...]) -> RunRecord:
        workers = self.fleet.workers
        return RunRecord(
            merger=self.merger,
            timeline=self._timeline,
            loads=loads,
            health=tuple(worker.done.health for worker in workers if worker.done is not None),
            absences=tuple(w.done.absence for w in workers if w.done is not None and w.done.absence is not None),
            deaths=tuple(worker.death for worker in workers if worker.death is not None),
            complete=all(worker.done is not None for worker in workers),
            over=True,
            interrupted=self.fleet.interrupted,
            aborted=self._aborted,
            prepared=self._prepared,
            epoch_ns=self._epoch_ns,
            key_log="" if self._key_log is None else str(self._key_log),
        )

    @property
    def epoch_unix_s(self) -> float:
        """When interval 0 began."""
        return (self._epoch_ns + self._to_unix_ns) / NS_PER_S

    @property
    def interval_s(self) -> float:
        return self._interval_ns / NS_PER_S

    async def _lead(
        self, nursery: trio.Nursery, lead: Callable[[Supervisor], Awaitable[None]] | None, wait_ns: int | None
    ) -> list[Problem]:
        """All phases; returns what kept us from it."""
        if self._part_of is None:
            nursery.start_soon(self.fleet.watch_signals)
        nursery.start_soon(self.fleet.watch_silence)
        nursery.start_soon(StatusDesk(self.fleet, self._plan, self._profile, self._info).serve)
        if problems := await self._prepare(nursery):
            return problems
        if not self.fleet.stopping:
            self._prepared = True
            try:
                self._on_prepared(self._addresses() if self._plan.use.plays_wlc else ())
            except InputError as error:  # a nursery would wrap it into a group
                return list(error.problems)
            for whole in self._early:
                self.on_whole(whole)
            if self._part_of is None:
                nursery.start_soon(self._show)
            if await self.connect(wait_ns):
                await (self.load(self._plan.load.stages) if lead is None else lead(self))
        await self._collect()
        return []

    # -- for whoever leads ---------------------------------------------------------------------------------------

    async def load(self, stages: tuple[RateStage, ...]) -> None:
        """Put this load on, and wait for its end. Names of stages are new ones in this run."""
        notify = self._plan.load.kind is LoadKind.NOTIFY
        load = Load(stages, self.merger.counters(), MachineWatch(), self._clock)
        self.loads.append(load)
        self._standing = Standing.LOAD
        await self.fleet.tell_all(StartLoad(load.start_ns, stages))
        # Whoever keeps the schedule ends by itself: WLCs that notify, MSEs that shake hands.
        leading = self.fleet.of(Role.WLC if notify else Role.MSE)
        if leading:
            owed_ns = self._plan.load.backlog + self._plan.mse.setup_timeout
            await self.fleet.within(
                (LEAD_NS + end_ns(stages) + owed_ns) / NS_PER_S + _COLLECT_S,
                lambda: self.fleet.stopping or all(map(self._has_ended_load, leading)) or self._aborting(load),
            )
            if not self._aborted:
                self._give_up_late(leading)
        else:
            with trio.move_on_after((LEAD_NS + end_ns(stages)) / NS_PER_S):
                await self.fleet.until(
                    lambda: (notify and not any(worker.active for worker in self.fleet.workers)) or self._aborting(load)
                )
        cut_short = self.fleet.stopping or bool(self._aborted)
        load.end(cut_short=cut_short, at_ns=await self.fleet.cut_load(load.planned_end_ns) if cut_short else 0)
        self._standing = Standing.DRAINING

    async def settle(self, drain_s: float) -> Load:
        """After a load: wait until what is under way has come, as far as it does in time; gather what workers saw."""
        load = self.loads[-1]
        self._standing = Standing.DRAINING
        if self._plan.use.plays_wlc and self._plan.load.kind is LoadKind.NOTIFY:
            await self.fleet.asked_within(drain_s, lambda: self.fleet.stopping or self._drained())
        for worker in self.fleet.workers:
            if len(worker.loads) < len(self.loads):
                await self.fleet.tell(worker, EndLoad())
        workers = self.fleet.workers
        await self.fleet.within(_COLLECT_S, lambda: self.fleet.stopping or all(map(self._has_ended_load, workers)))
        self._give_up_late(workers)
        load.after = self.merger.counters()
        load.health = tuple(worker.loads[-1].health for worker in self.fleet.workers if worker.loads)
        return load

    async def begin(self, stages: tuple[RateStage, ...]) -> None:
        """Put a load on that goes on until the run ends; `muster` says for whom."""
        load = Load(stages, self.merger.counters(), MachineWatch(), self._clock)
        self.loads.append(load)
        self._standing = Standing.LOAD
        await self.fleet.tell_all(StartLoad(load.start_ns, stages))

    async def begin_stage(self, name: str) -> int:
        """What is due from now on belongs to another stage, the one that counts; returns its start (unix ns)."""
        at_ns = self._clock() + LEAD_NS
        await self.fleet.tell_all(BeginStage(name, at_ns))
        return at_ns + self._to_unix_ns

    async def muster(self, users: int, over_ns: int) -> None:
        """Have the plan's first `users` users there; sessions of new ones are dialed evenly over this time."""
        await self.fleet.tell_all(Muster(users, self._clock() + LEAD_NS, over_ns))  # WLCs close what is one too many

    def to_unix_ns(self, monotonic_ns: int) -> int:
        return monotonic_ns + self._to_unix_ns

    # -- phases --------------------------------------------------------------------------------------------------

    async def _prepare(self, nursery: trio.Nursery) -> list[Problem]:
        """Start the workers and wait until they are ready; returns what kept them from it."""
        numbers = [(role, worker) for role in self._roles() for worker in range(self.workers)]
        for role, number in numbers:
            if problem := self.fleet.start(nursery, role, number):
                return [problem]
        self._intervals.expect(worker.name for worker in self.fleet.workers)
        for worker, (role, number) in zip(self.fleet.workers, numbers, strict=True):
            await self.fleet.tell(worker, self._assignment(role, number))
        self.meanwhile()
        await self.fleet.until(lambda: all(worker.ready or worker.ended for worker in self.fleet.workers))
        return [Problem(*p) for worker in self.fleet.workers if worker.refused for p in worker.refused.problems]

    async def connect(self, wait_ns: int | None) -> bool:
        """Dial, or wait to be dialed; False if there is nobody to put a load on."""
        plan = self._plan
        self._standing = Standing.CONNECTING
        notify = plan.load.kind is LoadKind.NOTIFY
        if plan.use.plays_mse:
            if not notify and wait_ns:
                await listened_at(self._addresses(), wait_ns, partial(self.fleet.until, lambda: False))
            await self.fleet.tell_all(Dial(self._addresses(), self._clock() + (wait_ns or 0)), Role.MSE)
        self._connecting.set()
        if plan.sessions_per_user:
            pass  # whoever leads musters them
        elif plan.use.plays_mse:
            if notify:
                await self._settle_sessions((wait_ns or 0) / NS_PER_S)
                if not self._count("sessions.established"):
                    return False
        else:
            name = "sessions.established" if notify else "handshakes.attempted"
            wait_s = math.inf if wait_ns is None else wait_ns / NS_PER_S
            await self.fleet.within(wait_s, lambda: self.fleet.stopping or self._count(name))
        return not self.fleet.stopping

    async def _collect(self) -> None:
        """Have all workers finish: under load the senders first, so that nothing is left in a pipe."""
        self._standing = Standing.DRAINING
        # Nobody is dialed any more: what the other side's end would break off is no failure of anybody's.
        await self.fleet.tell_all(Halt())
        workers, plan = self.fleet.workers, self._plan
        answers_ns = min(plan.session.response_timeout, LONGEST_WAIT_NS) if plan.requests else 0
        await self.fleet.within(
            _HALT_S + answers_ns / NS_PER_S, lambda: all(worker.ended or worker.halted for worker in workers)
        )
        if self.loads:
            self.loads[-1].end()
        order = [Role.WLC, Role.MSE] if plan.load.kind is LoadKind.NOTIFY else [Role.MSE, Role.WLC]
        for role in order:
            await self.fleet.tell_all(Finish(), role)
            await self.fleet.ended(role, _COLLECT_S + plan.load.backlog / NS_PER_S)
        for worker in self.fleet.workers:
            worker.give_up("did not hand in its result in time")

    async def _settle_sessions(self, wait_s: float) -> None:
        """Wait until every planned session is up or has failed; whoever gets no further is given up."""
        plan, planned = self._plan, len(self._plan.sessions)
        patience_s = plan.mse.setup_timeout / NS_PER_S + 1 / plan.mse.connect_per_s + wait_s + _COLLECT_S
        while not self.fleet.stopping and (before := self._settled()) < planned:
            if await self.fleet.within(patience_s, lambda: self.fleet.stopping or self._settled() > before):
                continue
            for number, worker in enumerate(self.fleet.of(Role.MSE)):
                own = len(plan.sessions[number :: self.workers])
                if left := own - _settled(self.merger.counters_of(worker.name)):
                    worker.give_up(f"has {left:,} of {own:,} sessions neither up nor failed for {patience_s:.0f} s")
            self.fleet.stop()
        await self.fleet.ask_all(_COLLECT_S)  # the load begins with what both sides had seen before it

    def _settled(self) -> int:
        """How many sessions are up or have failed."""
        return _settled(self.merger.counters())

    def _has_ended_load(self, worker: WorkerProcess) -> bool:
        return worker.ended or len(worker.loads) == len(self.loads)

    def _give_up_late(self, workers: Sequence[WorkerProcess]) -> None:
        """Those that have not ended their load, although they had the time."""
        if self.fleet.stopping:
            return
        for worker in workers:
            if not self._has_ended_load(worker):
                worker.give_up("did not end its load in time")
                self.fleet.stop()

    def _drained(self) -> bool:
        """Nothing is on its way any more, as far as we can see it."""
        if self._plan.use.plays_mse:
            return self._count("notify.received") - self._count("notify.duplicated") >= self._count("notify.sent")
        return not any(worker.queued_bytes for worker in self.fleet.of(Role.WLC))

    def _aborting(self, load: Load) -> bool:
        # Between the reports of two workers, what one has sent the other does not know to have received.
        if not self._aborted and (index := self.merger.whole_interval()) is not None:
            until_ns = self._epoch_ns + (index + 1) * self._interval_ns
            self._aborted = self._abort_when(self.merger, load, until_ns) or ""
        return bool(self._aborted)

    def _roles(self) -> list[Role]:
        use = self._plan.use
        return [role for role, ours in ((Role.WLC, use.plays_wlc), (Role.MSE, use.plays_mse)) if ours]

    def _untraced(self, role: Role) -> int | None:
        ends = [worker.done for worker in self.fleet.of(role)]
        return None if None in ends else sum(done.untraced for done in ends if done is not None)

    # -- workers -------------------------------------------------------------------------------------------------

    def _assignment(self, role: Role, worker: int) -> Assignment:
        wlc = role is Role.WLC
        return Assignment(
            role=role,
            plan=self._plan,
            profile=self._profile,
            worker=worker,
            workers=self.workers,
            identities=self._keys.wlc[worker :: self.workers] if wlc else self._keys.mse,
            auth_lists=self._keys.auth_lists if wlc else (),
            trusted_pem=self._keys.wlc_trust if wlc else self._keys.mse_trust,
            epoch_ns=self._epoch_ns,
            interval_ns=self._interval_ns,
            to_unix_ns=self._to_unix_ns,
            trace_limit=0 if self._tracing is None else self._tracing.limit,
            key_log=None if self._key_log is None else str(self._key_log),
            placings=self._placings.path,
            recording=self._recording if wlc else asked_of(self._recording),
        )

    def _addresses(self) -> tuple[tuple[str, int], ...]:
        """Where the plan's WLCs listen; ours told us, because the kernel may have chosen the ports."""
        if not self._plan.use.plays_wlc:
            return tuple((wlc.host, wlc.port) for wlc in self._plan.wlcs)
        addresses: list[tuple[str, int]] = [("", 0)] * len(self._plan.wlcs)
        for worker, handle in enumerate(self.fleet.of(Role.WLC)):
            assert handle.ready is not None
            addresses[worker :: self.workers] = handle.ready.addresses
        return tuple(addresses)

    def _hear(self, name: str, interval: Interval, cpu_s: float | None, *, goes_on: bool = False) -> None:
        self.merger.add(name, interval, goes_on=goes_on)
        if self._part_of is not None:
            self._part_of.hear(name, interval, cpu_s)
            return
        self._recent.add(name, interval)
        self._intervals.add(name, interval, cpu_s, None if self._standing is Standing.DRAINING else self.active())

    def _take_whole(self, whole: WholeInterval) -> None:
        self._timeline.add(whole, self._clock() - self._epoch_ns)
        if self._prepared:
            self.on_whole(whole)
        else:
            self._early.append(whole)

    # -- watching ------------------------------------------------------------------------------------------------

    async def _show(self) -> None:
        await self._connecting.wait()  # whoever looks on may have much to load, and nobody is to wait for that
        while True:
            self._watcher(self._snapshot())
            await trio.sleep(0.5)

    def _snapshot(self) -> Snapshot:
        now = self._clock()
        counters = self.merger.counters()
        load_ns = max(0, now - self.loads[-1].start_ns) if self.loads else 0
        name = ""
        stages = self.loads[-1].stages if self.loads else self._plan.load.stages
        if self._standing is Standing.LOAD:
            name = next((s.name for s in reversed(stages) if s.start_ns <= load_ns), "")
        shaking = "handshake.session" if self._plan.load.kind is LoadKind.NOTIFY else "handshake.tls"
        latency_p50, latency_p99 = self._recent.percentiles("notify.latency", 50.0, 99.0)
        return Snapshot(
            standing=self._standing,
            load_stage=name,
            elapsed_s=load_ns / NS_PER_S,
            total_s=end_ns(stages) / NS_PER_S,
            sessions=len(self._plan.sessions),
            active=self.active(),
            counters=dict(counters),
            per_s=self._recent.rates(),
            latency_p50_ns=latency_p50,
            latency_p99_ns=latency_p99,
            lag_p99_ns=self._recent.percentiles("generator.lag", 99.0)[0],
            handshake_p50_ns=self._recent.percentiles(shaking, 50.0)[0],
            handshake_p99_ns=self._recent.percentiles(shaking, 99.0)[0],
            kind=self._plan.load.kind,
        )

    def _info(self) -> RunInfo:
        """For `loadgen status`."""
        plan, seen = self._plan, self._snapshot()
        return RunInfo(
            pid=os.getpid(),
            scenario=plan.scenario,
            digest=plan.digest,
            use=plan.use,
            kind=plan.load.kind,
            stage=seen.standing,
            load_stage=seen.load_stage,
            elapsed_s=seen.elapsed_s,
            total_s=seen.total_s,
        )

    def _count(self, name: str) -> int:
        return self.merger.counters()[name]

    def active(self) -> int:
        """Sessions that are up, as the dialing side sees it if it is ours."""
        return sum(worker.active for worker in self.fleet.of(Role.MSE if self._plan.use.plays_mse else Role.WLC))


def _settled(counters: Mapping[str, int]) -> int:
    return counters.get("sessions.established", 0) + counters.get("sessions.failed", 0)
