"""What one Locust user is here, and the scenario whose plan has so many of them.

| user | with the built-in counterpart | otherwise |
| --- | --- | --- |
| `WlcUser` | a WLC, with a session to each of the scenario's MSEs, all ours | a WLC that somebody else's MSEs dial |
| `MseUser` | an MSE, with a session to a WLC of its own, both ours | an MSE with a session at every target |
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec

from loadgen.errors import InputError, Problem
from loadgen.hosts import endpoint_shown, further, parse_endpoint
from loadgen.nmsp.profile import WireProfile
from loadgen.scenario.plan import Use
from loadgen.scenario.reading import check_scenario, session_count
from loadgen.scenario.schema import MOST_OF_A_FLEET, Scenario, StageTable
from loadgen.units import NS_PER_S, Duration

# A load that goes on until somebody stops it: ten years.
FOREVER_NS = 10 * 365 * 86400 * NS_PER_S
# From the first endpoint of one worker to that of the next: each has a number, a MAC and an address of its own.
ENDPOINTS_PER_WORKER = 65_536
_MOST_WORKERS = (1 << 24) // ENDPOINTS_PER_WORKER


class UserClass(StrEnum):
    """The names of the user classes."""

    WLC = "WlcUser"
    MSE = "MseUser"


class UserFleet(NamedTuple):
    """The endpoints that users of one class are, as far as they are the same for all workers.

    Attributes:
        scenario: as it was read.
        targets: addresses of somebody else's WLCs.
        per_s: notifications per second of every WLC, before they are copied to its MSEs; the scenario's if None.
    """

    scenario: Scenario
    profile: WireProfile
    user: UserClass
    use: Use
    targets: tuple[tuple[str, int], ...]
    per_s: float | None


class Sized(NamedTuple):
    """A scenario of a certain number of users; what `Source` and `make_plan` want to know."""

    scenario: Scenario
    use: Use
    sessions_per_user: int
    endpoints: int


def sized(fleet: UserFleet, users: int, listen: str | None = None, step_over: int = 0) -> Sized:
    """The fleet with so many users.

    Args:
        listen: where the first WLC listens for somebody else's MSEs, instead of where the scenario says.
        step_over: how many addresses (or ports) further on; those before are other users'.

    Raises:
        InputError: that number cannot be, or the scenario does not go together with users.
    """
    if users > MOST_OF_A_FLEET:  # found before a plan of so many is tried
        raise InputError(Problem("users", f"at most {MOST_OF_A_FLEET:,}", f"{users:,}"))
    scenario, use = fleet.scenario, fleet.use
    wlc, mse = scenario.wlc, scenario.mse
    if not isinstance(mse.assign, str):
        raise InputError(Problem("mse.assign", '"all" or "round-robin", for Locust users', "a list of pairs"))
    per_user = 1
    if use is Use.TARGET_WLC:
        if mse.assign != "all":
            raise InputError(Problem("mse.assign", '"all", with a target', f'"{mse.assign}"'))
        mse = msgspec.structs.replace(mse, count=users)
        per_user = len(fleet.targets)
    else:
        wlc = msgspec.structs.replace(wlc, count=users)
        if use is Use.SERVE_WLC:
            wlc = msgspec.structs.replace(wlc, listen=_further(listen or wlc.listen, wlc.step, step_over))
        if use is Use.BOTH:
            # Nobody else has to find them, and another worker on this machine has some, too.
            host, _ = parse_endpoint(wlc.listen)
            wlc = msgspec.structs.replace(wlc, listen=endpoint_shown(host, 0), step="port")
        if fleet.user is UserClass.MSE:
            mse = msgspec.structs.replace(mse, count=users, assign="round-robin")
        elif mse.assign == "all":
            per_user = mse.count
    if mse.identities and len(mse.identities) != mse.count:
        raise InputError(Problem("mse.identities", f"{mse.count:,}, one for each MSE", f"{len(mse.identities):,}"))
    wlcs = len(fleet.targets) or wlc.count
    load = msgspec.structs.replace(
        scenario.load,
        rate=per_wlc_per_s(fleet) * wlcs,
        wire_rate=None,
        interval=None,
        stages=(StageTable(hold=Duration(FOREVER_NS)),),
    )
    varied = msgspec.structs.replace(scenario, wlc=wlc, mse=mse, load=load)
    if problems := check_scenario(varied, fleet.profile):
        raise InputError(problems)
    return Sized(varied, use, per_user, max(users, mse.count))


def _further(listen: str, step: str, count: int) -> str:
    host, port = parse_endpoint(listen)
    if step == "address":
        return endpoint_shown(further(host, count), port)
    return endpoint_shown(host, port + count if port else 0)


def per_wlc_per_s(fleet: UserFleet) -> float:
    """Notifications that one WLC has to tell, per second.

    Raises:
        InputError: the scenario has another kind of load.
    """
    scenario = fleet.scenario
    if scenario.load.kind != "notify":
        raise InputError(Problem("load.kind", '"notify", for Locust users', f'"{scenario.load.kind}"'))
    if fleet.per_s is not None:
        return fleet.per_s
    if scenario.load.interval is not None:
        return (scenario.load.burst or 1) * NS_PER_S / scenario.load.interval
    if scenario.load.wire_rate is not None:
        return scenario.load.wire_rate / session_count(scenario, scenario.wlc.count)
    return (scenario.load.rate or 0.0) / scenario.wlc.count


def first_endpoint(worker_index: int) -> int:
    """The number of a worker's first endpoint: no two workers of a master have the same ones.

    Args:
        worker_index: as the master gave it.

    Raises:
        InputError: it has given away all of them.
    """
    if worker_index >= _MOST_WORKERS:
        expected = f"at most {_MOST_WORKERS} workers since the master started: each has MACs of its own"
        raise InputError(Problem("worker index", expected, str(worker_index)))
    return worker_index * ENDPOINTS_PER_WORKER
