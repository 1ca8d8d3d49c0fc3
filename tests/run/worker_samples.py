"""A worker in the tests' process: what drives its links, and the channel it is told by, are the tests' own."""

from __future__ import annotations

import math
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import trio

from loadgen.clock import Nanoseconds
from loadgen.drive.equipment import Equipment
from loadgen.drive.transport_drivers import TransportDrivers
from loadgen.nmsp.messages import Role
from loadgen.nmsp.profile_document import ProfileDocument
from loadgen.run.channel import Assignment, Dial
from loadgen.run.worker import Worker
from loadgen.scenario.plan import Plan
from loadgen.units import NS_PER_S

DIAL = Dial((("192.0.2.1", 16113),), 0)


def virtual() -> int:
    """The clock of trio, whatever that lives by; 0 before it runs."""
    return int(trio.current_time() * NS_PER_S) if trio.lowlevel.in_trio_run() else 0


class Told:
    """A channel that gives what a worker is to be told, and then nothing any more; and keeps what the worker sends.

    Attributes:
        values: what was sent, and when.
        all_told: the worker has done the last order, and asks for more.
    """

    def __init__(self, orders: Iterable[object] = ()) -> None:
        self.values: list[tuple[float, Any]] = []
        self.all_told = trio.Event()
        self._give, self._orders = trio.open_memory_channel[object](math.inf)
        for order in orders:
            self.order(order)

    def order(self, order: object) -> None:
        """It is told this next."""
        self._give.send_nowait(order)

    def of(self, kind: type) -> list[tuple[float, Any]]:
        return [(told_s, value) for told_s, value in self.values if isinstance(value, kind)]

    async def send(self, value: object) -> None:
        self.values.append((trio.current_time(), value))

    async def receive(self) -> object:
        if not self._orders.statistics().current_buffer_used:
            self.all_told.set()
        return await self._orders.receive()


class Shard(SimpleNamespace):
    """What drives nothing, and says so; with a session that is up."""

    def __init__(self, equipment: Equipment) -> None:
        super().__init__(equipment=equipment, active=1, mustered=0, dialing=[], woken=0, load_over=trio.Event())
        self.presence = None

    async def run(self) -> None:
        await trio.sleep_forever()

    def start_dialing(self, *times_ns: int) -> None:
        self.dialing.append(times_ns)

    def start_load(self, *_: object) -> None: ...

    def wake_now(self) -> None:
        self.woken += 1

    def look_around(self) -> None: ...

    def queued_bytes(self) -> int:
        return 0

    def pending(self) -> int:
        return 0

    def totals(self, _now_ns: int) -> dict[str, int]:
        return {}

    def forget_stalls(self, _now_ns: int) -> None: ...

    def stall_ns(self, _now_ns: int) -> int:
        return 0


class Working:
    """A worker of this side of a plan.

    Attributes:
        told: its channel. equipment: what its links are given, once they are.
        shard: what drives them.
    """

    def __init__(
        self,
        role: Role,
        plan: Plan,
        document: ProfileDocument,
        orders: Iterable[object] = (),
        clock: Nanoseconds = virtual,
        to_unix_ns: int = 0,
    ) -> None:
        self.told = Told(orders)
        self.shard: Shard
        assignment = Assignment(
            role=role,
            plan=plan,
            profile=document,
            worker=0,
            workers=1,
            identities=(),
            auth_lists=(),
            trusted_pem=None,
            epoch_ns=0,
            interval_ns=NS_PER_S,
            to_unix_ns=to_unix_ns,
        )
        listening = SimpleNamespace(getsockname=lambda: ("127.0.0.1", 16113))
        drivers = TransportDrivers(
            bind=lambda *_: listening,  # type: ignore[arg-type, return-value]
            make_context=None,  # type: ignore[arg-type]
            wlcs=self.made,
            mses=self.made,  # type: ignore[arg-type]
            shaking_mses=self.made,
        )
        self.worker = Worker(self.told, assignment, drivers, clock)  # type: ignore[arg-type]

    @property
    def equipment(self) -> Equipment:
        equipment: Equipment = self.shard.equipment
        return equipment

    def made(self, equipment: Equipment, *_: object) -> Any:
        self.shard = Shard(equipment)
        return self.shard
