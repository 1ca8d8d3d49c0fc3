"""A driver's equipment, with time in the test's hands where it wants that."""

from __future__ import annotations

from typing import Any

from loadgen.clock import MONOTONIC, Nanoseconds
from loadgen.drive.equipment import Equipment, equip
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.messages import Role
from loadgen.nmsp.profile import WireProfile
from loadgen.scenario.plan import Plan
from loadgen.scenario.schema import SessionTable
from loadgen.units import NS_PER_S, Duration


class VirtualClock:
    """Stands still until a test sets it; or each reading takes a while."""

    def __init__(self, now_ns: int = 1_000 * NS_PER_S, reading_ns: int = 0) -> None:
        self.now_ns = now_ns
        self._reading_ns = reading_ns

    def __call__(self) -> int:
        self.now_ns += self._reading_ns
        return self.now_ns

    def advance(self, seconds: float) -> None:
        self.now_ns += int(seconds * NS_PER_S)


def equipped(
    role: Role,
    plan: Plan,
    profile: WireProfile,
    recorder: Recorder,
    *,
    clock: Nanoseconds = MONOTONIC,
    to_unix_ns: int = 0,
    worker: int = 0,
    workers: int = 1,
    **settings: object,
) -> Equipment:
    """What a worker of this side is given. Args: settings: of its endpoints that are not to be the plan's."""
    made = equip(role, plan, profile, recorder, worker, workers, to_unix_ns)._replace(clock=clock)
    for name, value in settings.items():
        setattr(made.settings, name, value)
    return made


FOR_EVER_NS = 1 << 60
# Nobody is given up, and no echo is due.
PATIENT: dict[str, Any] = {
    "setup_timeout_ns": FOR_EVER_NS,
    "timers": SessionTable(Duration(FOR_EVER_NS), Duration(FOR_EVER_NS)),
}
