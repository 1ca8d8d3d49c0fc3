"""All users of one run that a worker has: squads, as many as it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

import trio

from loadgen.distributed.arguments import fleets_of
from loadgen.distributed.messages import Ending, NodeReport, Orders, WorkerInterval
from loadgen.distributed.node.squad import Squad
from loadgen.distributed.rows import Batch
from loadgen.distributed.users import ENDPOINTS_PER_WORKER, UserClass, first_endpoint
from loadgen.errors import InputError, Problem
from loadgen.prepare.machine import MachineWatch
from loadgen.results.health import MachineHealth
from loadgen.scenario.plan import Use
from loadgen.units import NS_PER_S


class Swarm:
    """Squads by class. The first one of a class is as large as this worker's share of the users; another is added when
    more come, because other workers went.
    """

    def __init__(
        self, orders: Orders, index: int, directory: Path, listen: str | None, changed: Callable[[], None]
    ) -> None:
        """Args:
        index: of this worker, as the master gave it.
        directory: where files are that the scenario names.
        listen: where this worker's first WLC listens for somebody else's MSEs; None: among those of all workers, by
            the scenario.
        changed: called whenever something is to be looked at again.

        Raises:
            InputError: the orders make no run.
        """
        self.orders = orders
        self._index = index
        self._directory = directory
        self._listen = listen
        self._changed = changed
        self._fleets = fleets_of(orders, directory)
        self._squads: dict[UserClass, list[Squad]] = {}
        self._next_endpoint = first_endpoint(index)
        self._batch = Batch(receiving=next(iter(self._fleets.values())).use is not Use.SERVE_WLC)
        self._intervals: list[WorkerInterval] = []
        self._cpu: dict[str, tuple[int, float]] = {}  # by process: interval, CPU seconds until its end
        self._cores: dict[str, float] = {}
        self._watch = MachineWatch()
        self._machine: MachineHealth | None = None

    def muster(self, nursery: trio.Nursery, wanted: Mapping[UserClass, int], now: datetime) -> None:
        """Have this number of users of each class; `here` tells how many of them are there.

        Args:
            nursery: where new squads run.

        Raises:
            InputError: that number cannot be.
        """
        for user, count in wanted.items():
            squads = self._squads.setdefault(user, [])
            missing = count - sum(squad.size for squad in squads)
            if missing > 0:
                squad = self._new_squad(user, missing)
                squads.append(squad)
                nursery.start_soon(squad.run, now)
            for squad in squads:
                users = min(count, squad.size)
                count -= users
                squad.muster(users)

    def _new_squad(self, user: UserClass, users: int) -> Squad:
        """A squad for `users` that have no place in the others, and for those that will come after them."""
        share = -(-self.orders.users // max(1, self.orders.workers))
        number, there = len(self._all()), sum(squad.size for squad in self._squads[user])
        # How many will come is not known: each squad is as large as all before it, so there are never many squads.
        size = max(users, share - there, there)
        if self._listen is None:
            step_over = (number * self.orders.workers + self._index) * size
        else:
            step_over = sum(squad.size for squad in self._all())
        squad = Squad(
            self._fleets[user],
            size,
            self._next_endpoint,
            f"{self._index}.{number}" if number else str(self._index),
            self.orders.epoch_unix_ns,
            self.orders.interval_ns,
            self._directory,
            self._listen,
            step_over,
            self._hear,
            self._changed,
        )
        self._next_endpoint += squad.endpoints
        if self._next_endpoint > first_endpoint(self._index) + ENDPOINTS_PER_WORKER:
            expected = f"at most {ENDPOINTS_PER_WORKER:,} endpoints of a worker; take more workers"
            raise InputError(Problem("users", expected, f"{self._next_endpoint - first_endpoint(self._index):,}"))
        return squad

    def hold(self) -> None:
        """Everybody is there: from now on it counts."""
        for squad in self._all():
            squad.hold()

    async def end(self) -> None:
        """End the load, close in order, and collect; returns when that is done."""
        for squad in self._all():
            squad.finish()
        for squad in self._all():
            await squad.over.wait()
        if self._machine is None:
            self._machine = self._watch.health()

    @property
    def ended(self) -> bool:
        return self._machine is not None

    # -- how it stands -------------------------------------------------------------------------------------------

    def here(self) -> dict[UserClass, int]:
        """Users whose sessions are up, or have failed."""
        return {user: sum(squad.here for squad in squads) for user, squads in self._squads.items()}

    def complete(self) -> bool:
        """Everybody who was wanted is there."""
        return all(squad.here == squad.users for squad in self._all())

    def trouble(self) -> InputError | str | None:
        """Why it cannot go on: this machine cannot have that number of users, or a process died."""
        for squad in self._all():
            if squad.failure is not None:
                return squad.failure
            if squad.record is not None and squad.record.deaths:
                return "; ".join(squad.record.deaths)
        return None

    def cores(self) -> float:
        """Share of a core that the busiest process used last."""
        return max(self._cores.values(), default=0.0)

    def pids(self) -> list[int]:
        return [pid for squad in self._all() for pid in squad.pids]

    def take_rows(self) -> dict[str, object]:
        """Locust's figures since the last call."""
        return self._batch.take(self.orders.epoch_unix_ns / NS_PER_S)

    def take_report(self) -> NodeReport:
        """Our own since the last call."""
        squads = self._all()
        intervals, self._intervals = tuple(self._intervals), []
        health = tuple(health for squad in squads for health in squad.health)
        return NodeReport(
            run=self.orders.run,
            intervals=intervals,
            active=sum(squad.active for squad in squads),
            users=sum(squad.here for squad in squads),
            wanted=sum(squad.users for squad in squads),
            load_unix_ns=min((squad.load_unix_ns for squad in squads if squad.load_unix_ns), default=0),
            hold_unix_ns=max((squad.hold_unix_ns for squad in squads), default=0),
            health=health,
            ending=self._ending(),
        )

    def _ending(self) -> Ending | None:
        if self._machine is None:
            return None
        records = [squad.record for squad in self._all() if squad.record is not None]
        return Ending(
            health=tuple(health for squad in self._all() for health in squad.health),
            machine=self._machine,
            deaths=(
                *(death for record in records for death in record.deaths),
                *(str(squad.failure) for squad in self._all() if squad.failure is not None),
            ),
            complete=all(record.complete for record in records),
            cpu_s=sum(load.cpu_s for record in records for load in record.loads),
            end_unix_ns=max((squad.end_unix_ns for squad in self._all()), default=0),
        )

    def _hear(self, part: WorkerInterval, end_unix_ns: int) -> None:
        self._intervals.append(part)
        length_s = self.orders.interval_ns / NS_PER_S
        self._batch.add(part.process, part.interval, end_unix_ns / NS_PER_S, length_s)
        if part.cpu_s is not None:
            index, before = self._cpu.get(part.process, (part.interval.index, part.cpu_s))
            if part.interval.index > index:
                seconds = (part.interval.index - index) * self.orders.interval_ns / NS_PER_S
                self._cores[part.process] = (part.cpu_s - before) / seconds
            self._cpu[part.process] = (part.interval.index, part.cpu_s)
        self._changed()

    def _all(self) -> list[Squad]:
        return [squad for squads in self._squads.values() for squad in squads]
