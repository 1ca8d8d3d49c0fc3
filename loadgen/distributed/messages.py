"""What our code on the Locust master and our workers tell each other inside of Locust's own messages."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from loadgen.measure.recorder import Interval
from loadgen.results.health import MachineHealth, WorkerHealth
from loadgen.units import NS_PER_S

# Where it travels: in a spawn message's parsed_options, and in a stats message.
KEY = "loadgen"
# Custom message of our code on the master: end the load of the run that it names, and tell everything that is left.
FINISH = "loadgen_finish"
# Ours report as often as Locust's own workers. What that takes of a machine that makes the load as well shows in the
# tail of every latency: with 1 s, p99 was a third higher.
INTERVAL_NS = 3 * NS_PER_S
# Stages of a run: until all users are there, and from then on.
RAMP, HOLD = "ramp", "hold"
# The release of Locust whose protocol this is; another one is warned of.
LOCUST_VERSION = "2.47.0"


class Orders(msgspec.Struct, frozen=True):
    """To a worker: what its users do. The same for all workers, and for a whole run.

    Attributes:
        run: names it; another one ends the run before.
        epoch_unix_ns: when interval 0 of the run began, everywhere.
        interval_ns: length of an interval, and from one report to the next.
        scenario, profile: parsed TOML; profile is None for the reference profile.
        target: "built-in", "serve" or "wlc=HOST:PORT[,...]".
        per_s: notifications per second of every WLC; None for the scenario's.
        users, workers: how many there are to be in all: what a worker prepares for.
    """

    run: str
    epoch_unix_ns: int
    scenario: dict[str, Any]
    profile: dict[str, Any] | None
    target: str
    per_s: float | None
    users: int
    workers: int
    interval_ns: Annotated[int, msgspec.Meta(ge=10**8, le=600 * 10**9)] = INTERVAL_NS


class WorkerInterval(msgspec.Struct, frozen=True):
    """One interval of one of a worker's processes.

    Attributes:
        process: "wlc-0.1": its role, the Locust worker's index, and which of that worker's processes it is.
        interval: its moments counted from the epoch, unlike those of a run on one machine.
        cpu_s: since the process began; None where it is not known.
    """

    process: str
    interval: Interval
    cpu_s: float | None


class Ending(msgspec.Struct, frozen=True):
    """How the part of a run that a worker had came to its end.

    Attributes:
        health: of its processes that handed theirs in.
        deaths: of those that did not.
        complete: all did.
        end_unix_ns: when its load was told to end.
    """

    health: tuple[WorkerHealth, ...]
    machine: MachineHealth
    deaths: tuple[str, ...]
    complete: bool
    cpu_s: float
    end_unix_ns: int


class NodeReport(msgspec.Struct, frozen=True):
    """From a worker, with every batch of Locust's figures.

    Attributes:
        run: the run that it belongs to.
        intervals: since the last report.
        active: sessions that are up.
        load_unix_ns, hold_unix_ns: when its load, and the stage that counts, began; 0 before.
        health: of its processes so far; for the live view.
        ending: once its load is over.
        users, wanted: that are there (their sessions are up, or have failed), and that it was told to have.
    """

    run: str
    intervals: tuple[WorkerInterval, ...]
    active: int
    load_unix_ns: int
    hold_unix_ns: int
    health: tuple[WorkerHealth, ...] = ()
    ending: Ending | None = None
    users: Annotated[int, msgspec.Meta(ge=0)] = 0
    wanted: Annotated[int, msgspec.Meta(ge=0)] = 0


def nothing_of(run: str) -> NodeReport:
    """From a worker that had no part in a run when that ended."""
    ending = Ending(health=(), machine=MachineHealth(), deaths=(), complete=True, cpu_s=0.0, end_unix_ns=0)
    return NodeReport(run, (), 0, 0, 0, ending=ending)
