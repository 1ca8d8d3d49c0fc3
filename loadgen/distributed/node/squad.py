"""A number of users in a worker's hands: processes of their own, led by a supervisor."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import msgspec
import trio

from loadgen.distributed.messages import HOLD, RAMP, WorkerInterval
from loadgen.distributed.users import UserFleet, sized
from loadgen.errors import InputError
from loadgen.measure.moments import MOMENT_NS
from loadgen.measure.recorder import Interval
from loadgen.nmsp.messages import Role
from loadgen.prepare.job import Job, Source, make_job
from loadgen.results.health import WorkerHealth
from loadgen.results.record import RunRecord
from loadgen.run.supervisor import Supervisor, Whole
from loadgen.scenario.plan import Use
from loadgen.units import NS_PER_S

# New users' sessions are dialed evenly over this: the master tells of the next ones a second later.
_SPREAD_NS = NS_PER_S

HearInterval = Callable[[WorkerInterval, int], None]


class Squad:
    """Prepared for `size` users, of whom `users` are there.

    Attributes:
        endpoints: numbers that it takes up, from its first one on.
        load_unix_ns, hold_unix_ns: when its load, and the stage that counts, began; 0 before.
        end_unix_ns: when its load was told to end; 0 before.
        over: its end.
        record: what it left then; failure: or why it could not be.
    """

    def __init__(
        self,
        fleet: UserFleet,
        size: int,
        first: int,
        name: str,
        epoch_unix_ns: int,
        interval_ns: int,
        directory: Path,
        listen: str | None,
        step_over: int,
        hear: HearInterval,
        changed: Callable[[], None],
    ) -> None:
        """Args:
        first: number of its first endpoint.
        name: of its processes, behind their role: "0.1" makes "wlc-0.1".
        directory: where files are that the scenario names.
        listen, step_over: see `sized`.
        changed: called when it is over.

        Raises:
            InputError: that number of users cannot be.
        """
        self.size, self._name = size, name
        self.users = 0
        self.load_unix_ns = self.hold_unix_ns = self.end_unix_ns = 0
        self.record: RunRecord | None = None
        self.failure: InputError | None = None
        self.over = trio.Event()
        self._told = 0  # users, as its processes know it
        self._here = 0
        self._hear_interval, self._changed = hear, changed
        self._epoch_unix_ns, self._interval_ns = epoch_unix_ns, interval_ns
        self._supervisor: Supervisor | None = None
        self._hold_wanted = self._finishing = False
        fit = sized(fleet, size, listen, step_over)
        self.endpoints = fit.endpoints
        self._source = Source(
            path=directory / "scenario",
            scenario=fit.scenario,
            profile=fleet.profile,
            use=fit.use,
            targets=fleet.targets,
            workers="1",
            first=first,
            sessions_per_user=fit.sessions_per_user,
        )

    async def run(self, now: datetime) -> None:
        """Prepare, lead until told to finish, and collect."""
        try:
            # Thousands of keys take seconds, in which the master wants to hear of us.
            job: Job = await trio.to_thread.run_sync(make_job, self._source, now)
            if not self._finishing:
                await self._lead(job)
        except InputError as error:
            self.failure = error
        self.over.set()
        self._changed()

    async def _lead(self, job: Job) -> None:
        self._supervisor = Supervisor(
            job.plan,
            job.profile.document,
            job.keys,
            job.workers,
            lambda _: None,
            lambda _: None,
            part_of=Whole(self._epoch_unix_ns, self._interval_ns, self._hear),
        )

        async def lead(supervisor: Supervisor) -> None:
            ramp = msgspec.structs.replace(job.plan.load.stages[0], name=RAMP, counted=False)
            await supervisor.begin((ramp,))
            self.load_unix_ns = supervisor.to_unix_ns(supervisor.loads[-1].start_ns)
            while not supervisor.fleet.stopping:
                if self._told != self.users:
                    await self._muster(supervisor)
                elif self._hold_wanted and not self.hold_unix_ns:
                    self.hold_unix_ns = await supervisor.begin_stage(HOLD)
                else:
                    await supervisor.fleet.until(self._news)

        self.record = record = await self._supervisor.run(lead)
        if record.loads:
            self.end_unix_ns = self._supervisor.to_unix_ns(record.loads[-1].end_ns)

    async def _muster(self, supervisor: Supervisor) -> None:
        self._told = self.users
        await supervisor.muster(self._told, _SPREAD_NS)

    def _news(self) -> bool:
        return self._told != self.users or (self._hold_wanted and not self.hold_unix_ns)

    def muster(self, users: int) -> None:
        """Have this number of users; `here` tells how many of them are there."""
        self.users = users
        self._look_again()

    def hold(self) -> None:
        """From now on it counts."""
        self._hold_wanted = True
        self._look_again()

    def finish(self) -> None:
        """End the load, close in order, and collect."""
        self._finishing = True
        if self._supervisor is not None:
            self._supervisor.fleet.stop()

    def _look_again(self) -> None:
        if self._supervisor is not None:
            self._supervisor.fleet.look_again()

    @property
    def here(self) -> int:
        """Users whose sessions are up, or have failed."""
        return self._told if self.serves else min(self._here, self._told)

    @property
    def active(self) -> int:
        """Sessions that are up."""
        return 0 if self._supervisor is None or self.record is not None else self._supervisor.active()

    @property
    def health(self) -> tuple[WorkerHealth, ...]:
        """Of its processes, as far as they have told."""
        if self.record is not None:
            told = self.record.health
        elif self._supervisor is not None:
            told = tuple(worker.health for worker in self._supervisor.fleet.workers if worker.health is not None)
        else:
            told = ()
        return tuple(msgspec.structs.replace(health, worker=self._named(health.worker)) for health in told)

    @property
    def pids(self) -> list[int]:
        """Of its processes."""
        return [] if self._supervisor is None else [worker.process.pid for worker in self._supervisor.fleet.workers]

    @property
    def serves(self) -> bool:
        """Only WLCs are ours."""
        return self._source.use is Use.SERVE_WLC

    def _named(self, process: str) -> str:
        return f"{process.partition('-')[0]}-{self._name}"

    def _hear(self, process: str, interval: Interval, cpu_s: float | None) -> None:
        assert self._supervisor is not None
        dialing = self._supervisor.fleet.of(Role.MSE)
        if all(worker.mustered == self._told for worker in dialing):
            pending = sum(worker.pending for worker in dialing)
            self._here = max(0, self._told - -(-pending // self._source.sessions_per_user))
        to_unix = self._supervisor.to_unix_ns
        apart = to_unix(0) // MOMENT_NS
        moments = {what: {at + apart: n for at, n in counts.items()} for what, counts in interval.moments.items()}
        shifted = msgspec.structs.replace(interval, moments=moments)
        whole_unix_ns = self._epoch_unix_ns + (interval.index + 1) * self._interval_ns
        end_unix_ns = min(whole_unix_ns, to_unix(time.monotonic_ns()))  # the last one is cut short
        self._hear_interval(WorkerInterval(self._named(process), shifted, cpu_s), end_unix_ns)
