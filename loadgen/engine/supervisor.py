"""The process that runs a plan: starts the workers, leads them through the run, and gathers what they saw.

    prepare   workers listen and make their contexts
    dial      MSEs dial at the planned rate, until every session is up or has failed
    load      slot 0 is due at one time for all; WLC workers end by themselves, the rest is told to
    collect   every worker hands in its last interval

A worker that dies ends the run early: what the others measured, and what it reported before, is kept.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO, NamedTuple

import trio

from loadgen.engine.channel import (
    Assignment,
    Channel,
    Dial,
    Done,
    Finish,
    FromWorker,
    Progress,
    Ready,
    Refused,
    StartLoad,
    ToWorker,
)
from loadgen.engine.worker import worker_name
from loadgen.errors import InputError, Problem
from loadgen.identity.authlist import AuthList
from loadgen.identity.credentials import Identity
from loadgen.loads import LoadKind
from loadgen.measure.health import WorkerHealth
from loadgen.measure.merge import Merger
from loadgen.measure.progress import Recent, Snapshot, Stage
from loadgen.nmsp.messages import Role
from loadgen.nmsp.profile_document import ProfileDocument
from loadgen.scenario.plan import Plan
from loadgen.units import NS_PER_S

# Between telling all workers a time and that time: enough for the message to arrive everywhere.
_LEAD_NS = NS_PER_S // 5
# How long workers have, after Finish, beyond the orderly close of their sessions.
_COLLECT_S = 15.0
# Progress comes this often; a long run has longer intervals, so that its log stays readable.
_INTERVAL_NS = NS_PER_S
_MAX_INTERVALS = 600


# The line of a traceback that says what happened; in a group it has a border.
_LAST_WORDS = re.compile(r"^[ |]*((?:[\w.]+)(?:Error|Exception|Fault)\b.*)$", re.MULTILINE)


class Keys(NamedTuple):
    """Who the endpoints of a run are, and whom they trust.

    auth_list None: WLCs let every client in. trusted_pem None: MSEs take every WLC.
    """

    wlc: tuple[Identity, ...]
    mse: tuple[Identity, ...]
    auth_list: AuthList | None
    trusted_pem: bytes | None


class RunRecord(NamedTuple):
    """What a run left in the supervisor's hands."""

    merger: Merger
    health: tuple[WorkerHealth, ...]
    deaths: tuple[str, ...]
    interrupted: bool
    prepared: bool
    epoch_unix_s: float
    interval_s: float
    load_start_ns: int | None
    load_s: float
    load_cpu_s: float  # of the supervisor itself


Watcher = Callable[[Snapshot], None]


class _Handle:
    """A worker as the supervisor sees it."""

    def __init__(self, name: str, role: Role, process: trio.Process, errors: IO[bytes]) -> None:
        self.name = name
        self.role = role
        self.process = process
        self.errors = errors
        assert process.stdin is not None
        assert process.stdout is not None
        self.channel: Channel[ToWorker, FromWorker] = Channel(process.stdin, process.stdout, FromWorker)
        self.ready: Ready | None = None
        self.refused: Refused | None = None
        self.done: Done | None = None
        self.death: str | None = None
        self.killed = False  # by Ctrl-C, or by us because the user would not wait
        self.active = 0

    @property
    def ended(self) -> bool:
        return self.done is not None or self.death is not None or self.refused is not None or self.killed


class Supervisor:
    """Runs one plan, once."""

    def __init__(
        self,
        plan: Plan,
        profile: ProfileDocument,
        keys: Keys,
        workers: int,
        watcher: Watcher,
        on_prepared: Callable[[Sequence[tuple[str, int]]], None],
    ) -> None:
        """Args:
        workers: per side.
        on_prepared: called when all workers are, before anything is dialed, with the addresses of our WLCs;
            an InputError of it ends the run.
        """
        self._plan = plan
        self._profile = profile
        self._keys = keys
        self._workers = workers
        self._watcher = watcher
        self._on_prepared = on_prepared
        self._merger = Merger()
        self._handles: list[_Handle] = []
        self._stage = Stage.PREPARING
        self._changed = trio.Event()
        self._stopping = False
        self._interrupted = False
        self._prepared = False
        self._epoch_ns = time.monotonic_ns()
        self._to_unix_ns = time.time_ns() - self._epoch_ns
        self._interval_ns = max(_INTERVAL_NS, plan.duration_ns // _MAX_INTERVALS)
        self._load_start_ns: int | None = None
        self._load_end_ns: int | None = None
        self._load_cpu_s = 0.0
        self._recent = Recent(self._interval_ns / NS_PER_S)

    async def run(self) -> RunRecord:
        """Run the plan.

        Raises:
            InputError: a worker could not do what the plan asks (a port in use, ...); nothing was dialed.
        """
        problems: list[Problem] = []
        async with trio.open_nursery() as nursery:
            try:
                nursery.start_soon(self._watch_signals)
                problems = await self._prepare(nursery)
                if not problems and not self._stopping:
                    self._prepared = True
                    self._on_prepared(self._addresses() if self._plan.use.plays_wlc else ())
                    nursery.start_soon(self._show)
                    await self._lead()
                await self._collect()
            except InputError as error:  # raised below: a nursery would wrap it into a group
                problems = list(error.problems)
            finally:
                nursery.cancel_scope.cancel()
                self._kill_all()
        if problems:
            raise InputError(problems)
        return RunRecord(
            merger=self._merger,
            health=tuple(handle.done.health for handle in self._handles if handle.done is not None),
            deaths=tuple(handle.death for handle in self._handles if handle.death is not None),
            interrupted=self._interrupted,
            prepared=self._prepared,
            epoch_unix_s=(self._epoch_ns + self._to_unix_ns) / NS_PER_S,
            interval_s=self._interval_ns / NS_PER_S,
            load_start_ns=self._load_start_ns,
            load_s=self._load_s(),
            load_cpu_s=self._load_cpu_s,
        )

    # -- phases --------------------------------------------------------------------------------------------------

    async def _prepare(self, nursery: trio.Nursery) -> list[Problem]:
        """Start the workers and wait until they are ready; returns what kept them from it."""
        plan = self._plan
        roles = [role for role, ours in ((Role.WLC, plan.use.plays_wlc), (Role.MSE, plan.use.plays_mse)) if ours]
        for role in roles:
            for worker in range(self._workers):
                handle = await self._start(role, worker)
                self._handles.append(handle)
                nursery.start_soon(self._listen_to, handle)
        for handle, (role, worker) in zip(
            self._handles, [(role, worker) for role in roles for worker in range(self._workers)], strict=True
        ):
            await self._tell(handle, self._assignment(role, worker))
        await self._until(lambda: all(handle.ready or handle.ended for handle in self._handles))
        return [Problem(*p) for handle in self._handles if handle.refused for p in handle.refused.problems]

    async def _lead(self) -> None:
        """Dial, wait for the sessions, start the load, wait for its end."""
        plan = self._plan
        self._stage = Stage.CONNECTING
        notify = plan.kind is LoadKind.NOTIFY
        if plan.use.plays_mse:
            await self._tell_all(Dial(self._addresses(), time.monotonic_ns() + _LEAD_NS), Role.MSE)
            if notify:
                await self._until(self._settled)
                if not self._count("sessions.established"):
                    return
        else:
            sign_of_life = "sessions.established" if notify else "handshakes.attempted"
            with trio.move_on_after(plan.duration_ns / NS_PER_S):
                await self._until(lambda: self._count(sign_of_life) > 0)
        if self._stopping:
            return
        self._load_start_ns = time.monotonic_ns() + _LEAD_NS
        self._stage = Stage.LOAD
        self._load_cpu_s = -time.process_time()
        await self._tell_all(StartLoad(self._load_start_ns))
        # Whoever keeps the schedule ends by itself: WLCs that notify, MSEs that shake hands.
        leading = [handle for handle in self._handles if handle.role is (Role.WLC if notify else Role.MSE)]
        if leading:
            await self._until(lambda: all(handle.ended for handle in leading))
        elif not notify:
            with trio.move_on_after((_LEAD_NS + plan.duration_ns) / NS_PER_S):
                await self._until(lambda: False)
        else:
            with trio.move_on_after((_LEAD_NS + plan.duration_ns) / NS_PER_S):
                await self._until(lambda: not any(handle.active for handle in self._handles))

    async def _collect(self) -> None:
        """Have all workers finish: under load the senders first, so that nothing is left in a pipe."""
        self._stage = Stage.DRAINING
        order = [Role.MSE, Role.WLC]
        if self._load_start_ns is not None:
            self._load_end_ns = time.monotonic_ns()
            self._load_cpu_s += time.process_time()
            if self._plan.kind is LoadKind.NOTIFY:
                order.reverse()
        for role in order:
            await self._tell_all(Finish(), role)
            with trio.move_on_after(_COLLECT_S + self._plan.backlog_ns / NS_PER_S):
                while not all(handle.ended for handle in self._handles if handle.role is role):
                    await self._changed.wait()
        for handle in self._handles:
            if not handle.ended:
                handle.death = f"worker {handle.name} (pid {handle.process.pid}) did not hand in its result in time"

    def _settled(self) -> bool:
        """Every planned session is up or has failed."""
        return self._count("sessions.established") + self._count("sessions.failed") >= len(self._plan.sessions)

    # -- workers -------------------------------------------------------------------------------------------------

    async def _start(self, role: Role, worker: int) -> _Handle:
        errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the worker; `_kill_all` closes it
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "loadgen.engine.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            # Ctrl-C goes to the whole process group of the terminal; what it means, the supervisor decides.
            process_group=0,
        )
        return _Handle(worker_name(role, worker), role, process, errors)

    def _assignment(self, role: Role, worker: int) -> Assignment:
        wlc = role is Role.WLC
        return Assignment(
            role=role,
            plan=self._plan,
            profile=self._profile,
            worker=worker,
            workers=self._workers,
            identities=self._keys.wlc[worker :: self._workers] if wlc else self._keys.mse,
            auth_list=self._keys.auth_list if wlc else None,
            trusted_pem=None if wlc else self._keys.trusted_pem,
            epoch_ns=self._epoch_ns,
            interval_ns=self._interval_ns,
            to_unix_ns=self._to_unix_ns,
        )

    def _addresses(self) -> tuple[tuple[str, int], ...]:
        """Where the plan's WLCs listen; ours told us, because the kernel may have chosen the ports."""
        if not self._plan.use.plays_wlc:
            return tuple((wlc.host, wlc.port) for wlc in self._plan.wlcs)
        addresses: list[tuple[str, int]] = [("", 0)] * len(self._plan.wlcs)
        for worker, handle in enumerate(h for h in self._handles if h.role is Role.WLC):
            assert handle.ready is not None
            addresses[worker :: self._workers] = handle.ready.addresses
        return tuple(addresses)

    async def _listen_to(self, handle: _Handle) -> None:
        with suppress(trio.BrokenResourceError):
            while (value := await handle.channel.receive()) is not None:
                match value:
                    case Ready():
                        handle.ready = value
                    case Refused():
                        handle.refused = value
                    case Progress(interval=interval, active=active):
                        self._merger.add(handle.name, interval)
                        self._recent.add(handle.name, interval)
                        handle.active = active
                    case Done(interval=interval):
                        self._merger.add(handle.name, interval)
                        handle.active = 0
                        handle.done = value
                self._note()
        code = await handle.process.wait()
        if not handle.ended:
            if code == -signal.SIGINT:  # Ctrl-C reached it before it had left our process group: meant for us all
                handle.killed = self._interrupted = True
            else:
                handle.death = _describe_death(handle, code)
            handle.active = 0
            self._stop()

    async def _tell(self, handle: _Handle, value: ToWorker) -> None:
        if not handle.ended:
            with suppress(trio.BrokenResourceError):  # it died: `_listen_to` finds out, and says so
                await handle.channel.send(value)

    async def _tell_all(self, value: ToWorker, role: Role | None = None) -> None:
        for handle in self._handles:
            if role is None or handle.role is role:
                await self._tell(handle, value)

    def _kill_all(self) -> None:
        for handle in self._handles:
            if handle.process.returncode is None:
                handle.process.kill()
            handle.errors.close()

    # -- waiting -------------------------------------------------------------------------------------------------

    async def _watch_signals(self) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                if self._interrupted:  # asked twice: no more waiting for orderly ends
                    for handle in self._handles:
                        if not handle.ended:
                            handle.killed = True
                            handle.process.kill()
                self._interrupted = True
                self._stop()

    def _stop(self) -> None:
        self._stopping = True
        self._note()

    def _note(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _until(self, predicate: Callable[[], object]) -> None:
        """Wait until it holds, or the run is to stop."""
        while not self._stopping and not predicate():
            await self._changed.wait()

    # -- watching ------------------------------------------------------------------------------------------------

    async def _show(self) -> None:
        while True:
            self._watcher(self._snapshot())
            await trio.sleep(0.5)

    def _snapshot(self) -> Snapshot:
        now = time.monotonic_ns()
        counters = self._merger.counters()
        load_ns = 0 if self._load_start_ns is None else max(0, now - self._load_start_ns)
        name = ""
        if self._stage is Stage.LOAD:
            name = next((s.name for s in reversed(self._plan.stages) if s.start_ns <= load_ns), "")
        side = Role.MSE if self._plan.use.plays_mse else Role.WLC
        shaking = "handshake.session" if self._plan.kind is LoadKind.NOTIFY else "handshake.tls"
        latency_p50, latency_p99 = self._recent.percentiles("notify.latency", 50.0, 99.0)
        return Snapshot(
            stage=self._stage,
            load_stage=name,
            elapsed_s=load_ns / NS_PER_S,
            total_s=self._plan.duration_ns / NS_PER_S,
            sessions=len(self._plan.sessions),
            active=sum(handle.active for handle in self._handles if handle.role is side),
            counters=dict(counters),
            per_s=self._recent.rates(),
            latency_p50_ns=latency_p50,
            latency_p99_ns=latency_p99,
            lag_p99_ns=self._recent.percentiles("generator.lag", 99.0)[0],
            handshake_p50_ns=self._recent.percentiles(shaking, 50.0)[0],
            handshake_p99_ns=self._recent.percentiles(shaking, 99.0)[0],
            kind=self._plan.kind,
        )

    def _count(self, name: str) -> int:
        return self._merger.counters()[name]

    def _load_s(self) -> float:
        if self._load_start_ns is None or self._load_end_ns is None:
            return 0.0
        # Slot 0 lies a little ahead when it is agreed upon: the run may be over before it.
        return max(0, min(self._load_end_ns - self._load_start_ns, self._plan.duration_ns)) / NS_PER_S


def _describe_death(handle: _Handle, code: int) -> str:
    how = f"killed by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"exit code {code}"
    handle.errors.seek(0)
    said = _LAST_WORDS.findall(handle.errors.read().decode("utf-8", "replace"))
    return f"worker {handle.name} (pid {handle.process.pid}) died: {how}" + (f": {said[-1]}" if said else "")
