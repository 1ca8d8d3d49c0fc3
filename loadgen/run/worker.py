"""A worker process: one shard of one side, told what to do over stdin, reporting over stdout.

Forked for the supervisor by its fork server. It ends by itself when the supervisor is gone.
"""

from __future__ import annotations

import gc
import math
import os
import resource
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import trio

from loadgen.clock import MONOTONIC, Nanoseconds
from loadgen.drive.aaa import Aaa
from loadgen.drive.driver import Driver
from loadgen.drive.equipment import equip
from loadgen.drive.pauses import Pauses
from loadgen.drive.tracing import Traced, Tracer
from loadgen.drive.transport_drivers import TransportDrivers, drivers_of
from loadgen.errors import InputError, Problem
from loadgen.hosts import endpoint_shown
from loadgen.loads import LoadKind
from loadgen.measure.histogram import Histogram
from loadgen.measure.recorder import Interval, Recorder
from loadgen.measure.stages import AFTER, BEFORE, tag_of
from loadgen.nmsp.messages import Role
from loadgen.nmsp.profile import compiled
from loadgen.prepare.machine import memory_in_use_bytes
from loadgen.results.health import Dialing, WorkerHealth
from loadgen.run import heap
from loadgen.run.answering import answer
from loadgen.run.channel import (
    Alive,
    AskStatus,
    Assignment,
    BeginStage,
    Channel,
    CutLoad,
    Dial,
    Done,
    EndLoad,
    Finish,
    FromWorker,
    Halt,
    Halted,
    LoadOver,
    Muster,
    Progress,
    Ready,
    Refused,
    Seen,
    StartLoad,
    Tell,
    ToWorker,
    decoder_of,
    worker_name,
)
from loadgen.run.shared import placings_at
from loadgen.scenario.plan import Use, end_ns
from loadgen.transport.address import host_and_port
from loadgen.transport.contexts import client_context, server_context
from loadgen.transport.key_log import KeyLog
from loadgen.transport.verifying import Clock, observed, skewed
from loadgen.units import NS_PER_S

decoder_of(ToWorker)  # by the fork server, once for all workers
# Intervals may be minutes long: in between, the supervisor is to know that we are there.
_ALIVE_S = 1.0
# How often a WLC without MSEs looks for the first, and an MSE whether all sessions are set up, and whether the last has
# gone.
_LOOK_S = 0.02


class Worker:
    """One worker's life, from its assignment to its result."""

    def __init__(
        self,
        channel: Channel[FromWorker, ToWorker],
        assignment: Assignment,
        drivers: TransportDrivers | None = None,
        clock: Nanoseconds = MONOTONIC,
    ) -> None:
        """Args: drivers: None: those of the plan's transport."""
        self._channel = channel
        self._assignment = assignment
        self._recorder = Recorder(BEFORE, assignment.to_unix_ns)
        self._lags = _lags()  # of the stages of this load that count
        self._counted: dict[str, str] = {}  # tags of their series, and whose they are
        self._before_load: Counter[str] = Counter()
        self._memory_before_sessions: int | None = None
        self._sessions_memory = self._began_late_ns = self._missed_ns = 0
        self._profile = compiled(assignment.profile)
        self._drivers = drivers or drivers_of(assignment.plan)
        self._equipment = equip(
            assignment.role,
            assignment.plan,
            self._profile,
            self._recorder,
            assignment.worker,
            assignment.workers,
            assignment.to_unix_ns,
            placings_at(assignment.placings, assignment.plan),
            assignment.recording,
        )._replace(clock=clock)
        self._shard: Driver | None = None
        self._pauses = Pauses()
        gc.callbacks.append(self._pauses.note_garbage)
        self._started_ns = self._equipment.clock()
        self._shard_done = trio.Event()
        self._open: int | None = None  # the interval that is handed in next
        self._tracer: Tracer | None = None
        self._key_log: KeyLog | None = None
        # Without a bound, because what goes through has one: the assignment's.
        self._give_trace, self._traces = trio.open_memory_channel[Traced](math.inf)

    async def run(self) -> None:
        """Prepare, run until told to finish or the load is over, hand in the result."""
        assignment = self._assignment
        addresses: tuple[tuple[str, int], ...] = ()
        try:
            if assignment.key_log is not None:
                self._key_log = KeyLog(Path(assignment.key_log), "key log")
            if assignment.role is Role.WLC:
                self._shard, addresses = self._wlc_shard()
                self._trace(self._shard)
        except InputError as error:
            await self._channel.send(Refused(tuple((p.where, p.expected, p.found) for p in error.problems)))
            return
        heap.settle()
        self._memory_before_sessions = memory_in_use_bytes()
        await self._channel.send(Ready(addresses))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._obey, nursery)
            nursery.start_soon(self._report)
            for tell in self._told_at_once():
                nursery.start_soon(tell)
            nursery.start_soon(self._tell_traces)
            nursery.start_soon(self._live)
            await self._shard_done.wait()
            nursery.cancel_scope.cancel()
        self._give_trace.close()
        await self._tell_traces()
        untraced = 0 if self._tracer is None else self._tracer.untraced
        presence = None if self._shard is None else self._shard.presence
        absence = None if presence is None else presence.absence()
        await self._channel.send(Done(self._interval(self._now_index()), self._health(), untraced, absence))

    async def _obey(self, nursery: trio.Nursery) -> None:
        if self._shard is not None:
            nursery.start_soon(self._drive, self._shard)
        while (order := await self._channel.receive()) is not None:
            match order:
                case Dial():
                    self._shard = self._mse_shard(order)
                    self._trace(self._shard)
                    self._memory_before_sessions = memory_in_use_bytes()
                    nursery.start_soon(self._drive, self._shard)
                case StartLoad():
                    self._start_load(order)
                    nursery.start_soon(self._tell_when_over)
                case CutLoad(at_ns=at_ns):
                    self._recorder.stages.add([AFTER], [at_ns + self._assignment.to_unix_ns])
                case EndLoad():
                    if self._shard is not None:
                        self._shard.end_load()
                case Muster(users=users, at_ns=at_ns, over_ns=over_ns):
                    assert self._shard is not None
                    self._shard.muster(users, at_ns, over_ns)
                case BeginStage():
                    self._begin_stage(order)
                case AskStatus():
                    spread = self._assignment.worker, self._assignment.workers
                    nursery.start_soon(answer, self._shard, order, self._profile, spread, self._channel.send)
                case Tell(serial=serial):
                    nursery.start_soon(self._tell_now, serial)
                case Halt():
                    nursery.start_soon(self._halt)
                case Finish():
                    if self._shard is None:
                        self._shard_done.set()
                    else:
                        self._shard.finish()
                case Assignment():
                    raise AssertionError("a worker is assigned once")
            if self._shard is not None:
                self._shard.wake_now()
        # The supervisor is gone: nobody would read the result, and nobody would stop this load.
        os._exit(1)

    def _start_load(self, order: StartLoad) -> None:
        self._began_late_ns = max(0, self._equipment.clock() - order.at_ns)
        self._begin_load()
        if not self._sessions_memory and (in_use := memory_in_use_bytes()) is not None:
            self._sessions_memory = max(0, in_use - (self._memory_before_sessions or 0))
        unix_ns = order.at_ns + self._assignment.to_unix_ns
        stages = order.stages
        # What comes after the end, from a sender that has a schedule of its own, came in none of them.
        names = [*(stage.name for stage in stages), AFTER]
        starts_ns = [unix_ns + at_ns for at_ns in (*(stage.start_ns for stage in stages), end_ns(stages))]
        self._missed_ns = self._recorder.stages.add(names, starts_ns)
        self._count_lags([stage.name for stage in stages if stage.counted])
        self._count_totals()
        self._before_load = Counter(self._recorder.counters)
        assert self._shard is not None
        self._shard.start_load(order.at_ns, stages)

    def _begin_stage(self, order: BeginStage) -> None:
        """How the worker fared before does not count any more."""
        self._recorder.stages.add([order.name], [order.at_ns + self._assignment.to_unix_ns])
        self._count_lags([order.name])
        self._pauses.begin_load(self._shard)

    async def _tell_when_over(self) -> None:
        assert self._shard is not None
        await self._shard.load_over.wait()
        self._pauses.end_load(self._shard)
        interval, health = self._interval(self._now_index()), self._health()
        await self._channel.send(LoadOver(interval, health, self._shard.queued_bytes()))

    async def _halt(self) -> None:
        if (shard := self._shard) is not None:
            shard.halt()
            await shard.halted.wait()
        await self._channel.send(Halted())

    async def _drive(self, shard: Driver) -> None:
        self._pauses.drives()
        await shard.run()
        self._shard_done.set()

    async def _report(self) -> None:
        assignment = self._assignment
        while True:
            index, since = divmod(self._equipment.clock() - assignment.epoch_ns, assignment.interval_ns)
            self._open = index
            await trio.sleep((assignment.interval_ns - since) / NS_PER_S)
            self._open = index + 1
            active = queued = mustered = pending = 0
            if (shard := self._shard) is not None:
                active, queued = shard.active, shard.queued_bytes()
                mustered, pending = shard.mustered, shard.pending()
            interval = self._interval(index)
            health = self._health() if assignment.plan.sessions_per_user else None
            await self._channel.send(Progress(interval, active, time.process_time(), queued, health, mustered, pending))

    async def _live(self) -> None:
        while True:
            await trio.sleep(_ALIVE_S)
            await self._channel.send(Alive())

    def _told_at_once(self) -> Iterator[Callable[[], Awaitable[None]]]:
        """What tells, as soon as it comes, of what the run waits for."""
        plan = self._assignment.plan
        if plan.sessions_per_user:
            return
        if plan.use is Use.SERVE_WLC:
            yield self._tell_of_the_first
        elif plan.load.kind is LoadKind.NOTIFY:
            if plan.use is not Use.BOTH:
                yield self._tell_of_the_last
            if self._assignment.role is Role.MSE:
                yield self._tell_of_the_setup

    async def _tell_of_the_first(self) -> None:
        """Of somebody else's MSEs, as soon as it comes, and not at the end of the interval: the load begins with it."""
        counters = self._recorder.counters
        while not counters["sessions.established"] + counters["handshakes.attempted"]:  # noqa: ASYNC110 - plain counters
            await trio.sleep(_LOOK_S)
        await self._tell_now()

    async def _tell_of_the_setup(self) -> None:
        """Of our sessions, as soon as each is up or has failed: the load begins when all are."""
        assignment, counters = self._assignment, self._recorder.counters
        own = len(assignment.plan.sessions[assignment.worker :: assignment.workers])
        while counters["sessions.established"] + counters["sessions.failed"] < own:  # noqa: ASYNC110 - plain counters
            await trio.sleep(_LOOK_S)
        await self._tell_now()

    async def _tell_of_the_last(self) -> None:
        """At somebody else's WLCs, as soon as no session is left: their load was as long as that."""
        there = False
        while True:
            before, there = there, self._shard is not None and self._shard.active > 0
            if before and not there:
                await self._tell_now()
            await trio.sleep(_LOOK_S)

    async def _tell_now(self, serial: int = 0) -> None:
        active = queued = 0
        if (shard := self._shard) is not None:
            active, queued = shard.active, shard.queued_bytes()
        await self._channel.send(Seen(self._interval(self._now_index()), active, queued, serial))

    def _trace(self, shard: Driver) -> None:
        """Have a shard trace its first handshakes, if it is to; before there is any."""
        assignment, plan = self._assignment, self._assignment.plan
        if not assignment.trace_limit:
            return
        numbers = range(len(plan.wlcs)) if assignment.role is Role.WLC else [session.mse for session in plan.sessions]
        own = numbers[assignment.worker :: assignment.workers]
        self._tracer = Tracer(assignment.role, own, assignment.trace_limit, self._give_trace.send_nowait)
        shard.tracer = self._tracer

    async def _tell_traces(self) -> None:
        async for traced in self._traces:
            await self._channel.send(traced)  # whole, even where this task is cancelled

    def _now_index(self) -> int:
        """Of the interval that goes on. One that is over, and has not been handed in yet, does: they come in order."""
        now_index = (self._equipment.clock() - self._assignment.epoch_ns) // self._assignment.interval_ns
        return now_index if self._open is None else self._open

    def _count_totals(self) -> None:
        if self._shard is not None:
            for name, total in self._shard.totals(self._equipment.clock()).items():
                self._recorder.counters[name] = total

    def _interval(self, index: int) -> Interval:
        self._count_totals()
        if self._shard is not None:
            self._shard.look_around()
        interval = self._recorder.take(index)
        for tag, metric in self._counted.items():
            if (lag := interval.histograms.get(tag)) is not None:
                self._lags[metric].merge(lag)
        return interval

    def _count_lags(self, stages: Sequence[str]) -> None:
        """Of these stages, and of nothing that was before."""
        self._lags = _lags()
        self._counted = {tag_of(stage, metric): metric for stage in stages for metric in self._lags}

    def _health(self) -> WorkerHealth:
        counters, before, pauses = self._recorder.counters, self._before_load, self._pauses
        lag = self._lags["generator.lag"].spread()
        pauses.look(self._shard)
        return WorkerHealth(
            worker=worker_name(self._assignment.role, self._assignment.worker),
            cpu_s=time.process_time(),
            wall_s=(self._equipment.clock() - self._started_ns) / NS_PER_S,
            load_cpu_s=0.0 if self._shard is None else self._shard.effort.cpu_s,
            load_wall_s=0.0 if self._shard is None else self._shard.effort.wall_s,
            rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            longest_stall_ns=pauses.load_ns,
            setup_stall_ns=pauses.setup_ns,
            closing_stall_ns=pauses.closing_ns,
            began_late_ns=self._began_late_ns,
            missed_ns=self._missed_ns,
            longest_gc_pause_ns=pauses.longest_gc_ns,
            gc_pauses_ns=pauses.gc_ns,
            lag_p99_ns=lag.p99,
            lag=lag,
            read_lag=self._lags["generator.read_lag"].spread(),
            own_shortfall=counters["generator.shortfall"] - before["generator.shortfall"],
            due=sum(counters[name] - before[name] for name in ("notify.due", "handshakes.due", "requests.due")),
            sessions_rss_bytes=self._sessions_memory,
            descriptors=len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - thousands of them
            descriptor_limit=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            dialing=Dialing() if self._shard is None else self._shard.dialing(),
            key_log_trouble="" if self._key_log is None else self._key_log.trouble,
        )

    def _begin_load(self) -> None:
        """Between setting up and the load: settling is no part of either."""
        self._pauses.begin_load(self._shard)
        heap.settle()
        self._pauses.forget_load(self._shard)

    def _wlc_shard(self) -> tuple[Driver, tuple[tuple[str, int], ...]]:
        assignment, plan = self._assignment, self._assignment.plan
        planned = plan.wlcs[assignment.worker :: assignment.workers]
        idle = bool(plan.sessions_per_user) and plan.use is Use.SERVE_WLC
        listeners = _listen(self._drivers, [(wlc.host, wlc.port) for wlc in planned], idle=idle)
        if plan.use is Use.SERVE_WLC:
            self._pauses.opens()
        addresses = tuple(host_and_port(listener.getsockname()) for listener in listeners)
        lists = assignment.auth_lists
        aaa = Aaa(lists, plan.wlc.list_delays_ns, plan.wlc.poll_tick_ns) if plan.wlc.authenticate else None
        check = None if aaa is None else observed(aaa.check) if assignment.trace_limit else aaa.check
        contexts = [
            server_context(
                identity.key_pem,
                identity.certificate_pem,
                identity.chain_pem,
                plan.tls.version,
                check,
                tickets=plan.load.resumed > 0,
                strong=plan.tls.strong_cipher,
                old_certificates=plan.tls.old_certificates,
                groups=plan.tls.groups,
                trusted_pem=assignment.trusted_pem,
                clock=self._clock(plan.wlc.clock_skew),
                make=self._drivers.make_context,
            )
            for identity in assignment.identities
        ]
        if self._key_log is not None:
            self._key_log.observe(contexts)
        return self._drivers.wlcs(self._equipment, listeners, contexts, aaa), addresses

    def _mse_shard(self, order: Dial) -> Driver:
        assignment, plan = self._assignment, self._assignment.plan
        contexts = [
            client_context(
                identity.key_pem,
                identity.certificate_pem,
                identity.chain_pem,
                plan.tls.version,
                assignment.trusted_pem,
                strong=plan.tls.strong_cipher,
                old_certificates=plan.tls.old_certificates,
                groups=plan.tls.groups,
                clock=self._clock(plan.mse.clock_skew),
                make=self._drivers.make_context,
            )
            for identity in assignment.identities
        ]
        if self._key_log is not None:
            self._key_log.observe(contexts)
        if plan.load.kind is LoadKind.HANDSHAKE:
            return self._drivers.shaking_mses(self._equipment, order.addresses, contexts)
        shard = self._drivers.mses(self._equipment, order.addresses, contexts)
        if not plan.sessions_per_user:
            shard.start_dialing(self._equipment.clock(), order.again_until_ns)
        return shard

    def _clock(self, skew_ns: int) -> Clock | None:
        return skewed(skew_ns / NS_PER_S, self._assignment.to_unix_ns / NS_PER_S)


def _lags() -> dict[str, Histogram]:
    """What the generator's verdict is about."""
    return {metric: Histogram() for metric in ("generator.lag", "generator.read_lag")}


def _listen(drivers: TransportDrivers, addresses: list[tuple[str, int]], *, idle: bool) -> list[socket.socket]:
    """Bound sockets, all or none. Args: idle: nobody is to be able to connect yet.

    Raises:
        InputError: every address that cannot be had, and why.
    """
    listeners: list[socket.socket] = []
    problems: list[Problem] = []
    for host, port in addresses:
        try:
            listeners.append(drivers.bind((host, port), idle))
        except OSError as error:
            found = (error.strerror or str(error)).lower()
            problems.append(Problem("wlc.listen", f"to listen on {endpoint_shown(host, port)}", found))
    if problems:
        for sock in listeners:
            sock.close()
        raise InputError(problems)
    return listeners


async def _main() -> None:
    # stdout carries the channel: whatever prints by mistake goes to stderr.
    send = trio.lowlevel.FdStream(os.dup(1))
    os.dup2(2, 1)
    channel: Channel[FromWorker, ToWorker] = Channel(send, trio.lowlevel.FdStream(os.dup(0)), ToWorker)
    assignment = await channel.receive()
    if isinstance(assignment, Assignment):
        await Worker(channel, assignment).run()


def main() -> None:
    """A worker's life."""
    trio.run(_main)
