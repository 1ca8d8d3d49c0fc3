"""The worker processes of a run: started, told, listened to, and ended."""

from __future__ import annotations

import re
import signal
import tempfile
from collections.abc import Callable
from contextlib import suppress
from typing import IO

import trio

from loadgen.clock import MONOTONIC, Nanoseconds
from loadgen.drive.tracing import Traced
from loadgen.errors import Problem
from loadgen.measure.recorder import Interval
from loadgen.nmsp.messages import Role
from loadgen.results.health import WorkerHealth
from loadgen.results.record import LEAD_NS
from loadgen.run.channel import (
    Alive,
    Channel,
    CutLoad,
    Done,
    FromWorker,
    Halted,
    LoadOver,
    Progress,
    Ready,
    Refused,
    Seen,
    StatusPart,
    Tell,
    ToWorker,
    worker_name,
)
from loadgen.run.forkserver import Forked, fork_server
from loadgen.run.keeper import keeper
from loadgen.run.signals import asked, ending, name_of
from loadgen.run.silence import LOOK_S, SILENCE_S, Silence
from loadgen.units import NS_PER_S

# The line of a traceback that says what happened; in a group it has a border.
_LAST_WORDS = re.compile(r"^[ |]*((?:[\w.]+)(?:Error|Exception|Fault)\b.*)$", re.MULTILINE)

# After SIGKILL: only the kernel can keep a process from ending, and nobody can help that.
_KILLED_S = 10.0

# Between two questions what workers have seen.
_ASK_S = 0.05

# What a worker saw: its name, the interval, and of its progress the CPU time (else None).
Hear = Callable[[str, Interval, float | None], None]
# Nothing more will come of this worker.
HearEnd = Callable[[str], None]
# What a worker saw of an interval that goes on.
HearSeen = Callable[[str, Interval], None]
# A part of what a worker tells of its peers.
HearStatus = Callable[[str, StatusPart], None]
# A handshake that was traced, and the process id of the worker that did.
HearTraced = Callable[[Traced, int], None]


class WorkerProcess:
    """A worker as the supervisor sees it."""

    def __init__(self, name: str, role: Role, process: Forked, errors: IO[bytes], silence_s: int = SILENCE_S) -> None:
        self.name = name
        self.role = role
        self.process = process
        self.errors = errors
        self.channel: Channel[ToWorker, FromWorker] = Channel(process.stdin, process.stdout, FromWorker)
        self.silence = Silence(process.pid, silence_s)
        self.told = False  # what to do; before, there is nothing to be heard of it
        self.ready: Ready | None = None
        self.refused: Refused | None = None
        self.loads: list[LoadOver] = []
        self.done: Done | None = None
        self.halted = False
        self.health: WorkerHealth | None = None
        self.mustered = self.pending = 0
        self.death: str | None = None
        self.killed = False  # by Ctrl-C, or by us because the user would not wait
        self.active = 0
        self.queued_bytes = 0
        self.answered = 0  # the serial of the last `Tell` that it did

    def __str__(self) -> str:
        return f"worker {self.name} (pid {self.process.pid})"

    def give_up(self, why: str) -> None:
        """It counts as dead, unless it has ended; and is killed: nobody is to wait until it reads what it is told."""
        if not self.ended:
            self.death = f"{self} {why}"
            self.active = 0
            self.process.kill()

    @property
    def ended(self) -> bool:
        return self.done is not None or self.death is not None or self.refused is not None or self.killed


class Fleet:
    """All workers of a run.

    Attributes:
        stopping: the run is to end: a worker died, a signal asked for it, or what leads the supervisor.
        interrupted: a signal did.
    """

    def __init__(self, hear: Hear, silence_s: int = SILENCE_S, clock: Nanoseconds = MONOTONIC) -> None:
        """Args: silence_s: for how long nothing may be heard of a worker."""
        self._clock = clock
        self._silence_s = silence_s
        self.workers: list[WorkerProcess] = []
        self.stopping = False
        self.interrupted = False
        self.hear_status: HearStatus = lambda _name, _part: None
        self.hear_traced: HearTraced = lambda _traced, _process: None
        self.hear_end: HearEnd = lambda _name: None
        self.hear_seen: HearSeen = lambda _name, _interval: None
        self._serial = 0
        self._hear = hear
        self._changed = trio.Event()

    def start(self, nursery: trio.Nursery, role: Role, number: int) -> Problem | None:
        """Start one more worker; returns what kept us from it."""
        errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the worker; `kill_all` closes it
        name = worker_name(role, number)
        try:
            process = fork_server().fork(name, errors.fileno())
        except OSError as error:
            errors.close()
            return Problem(f"worker {name}", "a process for it", (error.strerror or str(error)).lower())
        keeper().keep(process.pid)
        worker = WorkerProcess(name, role, process, errors, self._silence_s)
        self.workers.append(worker)
        nursery.start_soon(self._listen_to, worker)
        return None

    def of(self, role: Role | None) -> list[WorkerProcess]:
        """The workers of one side, or all."""
        return [worker for worker in self.workers if role is None or worker.role is role]

    async def tell(self, worker: WorkerProcess, value: ToWorker) -> None:
        """Send one worker something, if it is still there."""
        worker.told = True
        if not worker.ended:
            with suppress(trio.BrokenResourceError):  # it died: `_listen_to` finds out, and says so
                await worker.channel.send(value)

    async def tell_all(self, value: ToWorker, role: Role | None = None) -> None:
        """Send the workers of one side, or all, something."""
        for worker in self.of(role):
            await self.tell(worker, value)

    async def ask_all(self, seconds: float) -> None:
        """Have all workers tell what they have seen until now, and hear it, as far as they do in time."""
        self._serial = serial = self._serial + 1
        await self.tell_all(Tell(serial))
        await self.within(seconds, lambda: self.stopping or all(w.ended or w.answered >= serial for w in self.workers))

    async def asked_within(self, seconds: float, predicate: Callable[[], object]) -> bool:
        """As `within`, for what depends on what workers see: they are asked for it again and again."""

        async def ask() -> None:
            while True:
                await self.ask_all(seconds)
                await trio.sleep(_ASK_S)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            held = await self.within(seconds, predicate)
            nursery.cancel_scope.cancel()
        return held

    async def cut_load(self, planned_end_ns: int) -> int:
        """End the load before it is over, at one time for all; returns that (monotonic ns), once it has come."""
        at_ns = min(self._clock() + LEAD_NS, planned_end_ns)
        await self.tell_all(CutLoad(at_ns))
        await trio.sleep(max(0, at_ns - self._clock()) / NS_PER_S)
        return at_ns

    async def until(self, predicate: Callable[[], object]) -> None:
        """Wait until it holds, or the run is to end."""
        while not self.stopping and not predicate():
            await self._changed.wait()

    async def change(self) -> None:
        """Wait until a worker has said something, or ended."""
        await self._changed.wait()

    async def within(self, seconds: float, predicate: Callable[[], object]) -> bool:
        """Wait until it holds, whether the run is to end or not; False if it does not in that time.

        What passes while we ourselves are stopped is one second of it at most: no worker is late for that.
        """
        while seconds > 0:
            with trio.move_on_after(min(LOOK_S, seconds)):
                while not predicate():
                    await self._changed.wait()
                return True
            seconds -= LOOK_S
        return bool(predicate())

    async def ended(self, role: Role, seconds: float) -> None:
        """Wait until all workers of a side have ended, for so long each time until fewer of their sessions are up."""
        workers = self.of(role)
        left = 1 + sum(worker.active for worker in workers)

        def goes_on() -> bool:
            return all(worker.ended for worker in workers) or sum(worker.active for worker in workers) < left

        while not all(worker.ended for worker in workers) and goes_on():
            left = sum(worker.active for worker in workers)
            await self.within(seconds, goes_on)

    async def watch_silence(self) -> None:
        """Give up workers of which nothing is heard any more; that ends the run."""
        while True:
            await trio.sleep(LOOK_S)
            for worker in self.workers:
                if worker.told and not worker.ended and (why := worker.silence.look()):
                    worker.give_up(why)
                    self.stop()

    def stop(self) -> None:
        """End the run."""
        self.stopping = True
        self.look_again()

    async def watch_signals(self) -> None:
        """Ctrl-C ends the run; asked twice, it ends now."""
        with trio.open_signal_receiver(*ending()) as signals:
            if asked():  # before we were here
                self._interrupt()
            async for _ in signals:
                self._interrupt()

    def _interrupt(self) -> None:
        if self.interrupted:
            for worker in self.workers:
                if not worker.ended:
                    worker.killed = True
                    worker.process.kill()
        self.interrupted = True
        self.stop()

    async def close(self) -> None:
        """Whatever is left goes, and leaves nothing behind."""
        with trio.CancelScope(shield=True):
            for worker in self.workers:
                if worker.process.returncode is None:
                    worker.process.kill()
                with trio.move_on_after(_KILLED_S):
                    await worker.process.wait()
                keeper().leave(worker.process.pid)
                await worker.channel.aclose()
                worker.errors.close()

    async def _listen_to(self, worker: WorkerProcess) -> None:
        with suppress(trio.BrokenResourceError):
            while (value := await worker.channel.receive()) is not None:
                worker.silence.heard()
                match value:
                    case Alive():
                        continue
                    case Ready():
                        worker.ready = value
                    case Refused():
                        worker.refused = value
                    case Progress(interval=interval, active=active, cpu_s=cpu_s, queued_bytes=queued):
                        worker.active, worker.queued_bytes, worker.health = active, queued, value.health
                        worker.mustered, worker.pending = value.mustered, value.pending
                        self._hear(worker.name, interval, cpu_s)
                    case Seen(interval=interval, active=active, queued_bytes=queued, serial=serial):
                        worker.active, worker.queued_bytes = active, queued
                        self.hear_seen(worker.name, interval)
                        worker.answered = max(worker.answered, serial)
                    case StatusPart():
                        self.hear_status(worker.name, value)
                    case Halted():
                        worker.halted = True
                    case Traced():
                        self.hear_traced(value, worker.process.pid)
                    case LoadOver(interval=interval, queued_bytes=queued):
                        self._hear(worker.name, interval, None)
                        worker.queued_bytes = queued
                        worker.loads.append(value)
                    case Done(interval=interval):
                        self._hear(worker.name, interval, None)
                        worker.active = 0
                        worker.done = value
                        self.hear_end(worker.name)
                self.look_again()
        code = await worker.process.wait()
        if not worker.ended:
            if code == -signal.SIGINT:  # Ctrl-C reached it before it had left our process group: meant for us all
                worker.killed = self.interrupted = True
            else:
                worker.death = _describe_death(worker, code)
            worker.active = 0
            self.hear_end(worker.name)
            self.stop()

    def look_again(self) -> None:
        """Something has changed that `until` may be waiting for."""
        self._changed.set()
        self._changed = trio.Event()


def _describe_death(worker: WorkerProcess, code: int) -> str:
    how = f"killed by signal {-code} ({name_of(-code)})" if code < 0 else f"exit code {code}"
    worker.errors.seek(0)
    said = _LAST_WORDS.findall(worker.errors.read().decode("utf-8", "replace"))
    return f"{worker} died: {how}" + (f": {said[-1]}" if said else "")
