"""Along what a limit is searched: what a load counts, how it is made, and which figures tell whether it held."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import NamedTuple

import msgspec

from loadgen.errors import InputError, Problem
from loadgen.loads import LoadKind
from loadgen.prepare.job import Source
from loadgen.scenario.plan import Plan, Use
from loadgen.scenario.reading import check_scenario, scaled
from loadgen.scenario.schedule import RateStage
from loadgen.scenario.schema import LoadTable, Scenario, StageTable
from loadgen.units import Duration


class Dimension(StrEnum):
    """What is raised until something breaks."""

    HANDSHAKES = "handshake.per_s"
    NOTIFICATIONS = "notify.per_s"
    SESSIONS = "sessions"
    STATIONS = "stations"
    SCALE = "scale"
    SPEED = "speed"


# Figures of loads with sessions, whatever is raised; and of those that set the sessions up, too.
_RUNNING = (
    "notify.",
    "sessions.",
    "echo.",
    "request.",
    "requests.",
    "service.",
    "errors.",
    "generator.",
    "messages.",
    "datagrams.",
)
_SESSIONS = (*_RUNNING, "session.", "handshake.")


class About(NamedTuple):
    """What there is to know of a dimension.

    Attributes:
        live: loads follow each other over the same sessions; otherwise every load is a run of its own.
        achieved: the rate or counter that tells what the target really did; None: what was offered and did not break.
        prefixes: of the figures that its loads have.
    """

    unit: str
    kind: LoadKind
    live: bool
    maximum: float
    achieved: str | None
    prefixes: tuple[str, ...]


ABOUT = {
    Dimension.HANDSHAKES: About(
        "handshakes/s",
        LoadKind.HANDSHAKE,
        live=True,
        maximum=20_000,
        achieved="handshake.completed_per_s",
        prefixes=(
            *("handshake.tcp", "handshake.tls", "handshake.latency", "handshake.service", "handshake.lag"),
            *(
                "handshake.completed_per_s",
                "handshake.cpu_s",
                "handshakes.",
                "errors.tcp.",
                "errors.tls.",
                "generator.",
                "datagrams.",
            ),
        ),
    ),
    Dimension.NOTIFICATIONS: About(
        "notifications/s",
        LoadKind.NOTIFY,
        live=True,
        maximum=10_000_000,
        achieved="notify.received_per_s",
        prefixes=_RUNNING,
    ),
    Dimension.SESSIONS: About(
        "sessions",
        LoadKind.NOTIFY,
        live=False,
        maximum=100_000,
        achieved="sessions.established",
        prefixes=_SESSIONS,
    ),
    Dimension.STATIONS: About(
        "stations",
        LoadKind.NOTIFY,
        live=False,
        maximum=10_000_000,
        achieved=None,
        prefixes=_SESSIONS,
    ),
    Dimension.SCALE: About(
        "endpoints",
        LoadKind.NOTIFY,
        live=False,
        maximum=100_000,
        achieved=None,
        prefixes=_SESSIONS,
    ),
    Dimension.SPEED: About(
        "times as recorded",
        LoadKind.NOTIFY,
        live=True,
        maximum=100,
        achieved="notify.received_per_s",
        prefixes=_RUNNING,
    ),
}
_OF_A_REPLAY = (Dimension.SCALE, Dimension.SPEED)
_DEFAULT = {
    Use.BOTH: (Dimension.HANDSHAKES, Dimension.NOTIFICATIONS),
    Use.TARGET_WLC: (Dimension.HANDSHAKES,),
    Use.SERVE_MSE: (Dimension.HANDSHAKES,),
    Use.SERVE_WLC: (Dimension.NOTIFICATIONS,),
}


def default_dimensions(use: Use) -> tuple[Dimension, ...]:
    """Handshakes and throughput, as far as it is us who make that load."""
    return _DEFAULT[use]


def check_use(dimension: Dimension, use: Use) -> None:
    """Raises: InputError: that load is made by the side that is not ours."""
    if dimension is Dimension.HANDSHAKES and not use.plays_mse:
        raise InputError(Problem("--dimension", "handshake.per_s only where the MSEs are ours: they dial", str(use)))
    telling = (Dimension.NOTIFICATIONS, Dimension.STATIONS, *_OF_A_REPLAY)
    if dimension in telling and not use.plays_wlc:
        raise InputError(Problem("--dimension", f"{dimension} only where the WLCs are ours: they notify", str(use)))


def check_load(dimension: Dimension, scenario: Scenario) -> None:
    """Raises: InputError: what is to be raised follows from something else."""
    if dimension is Dimension.NOTIFICATIONS and scenario.load.kind == "site":
        others = ", ".join(each for each in Dimension if each is not dimension)
        raise InputError(
            Problem("--dimension", f"{others}: the rate of a site follows from what is on it", f'"{dimension}"')
        )
    replays = scenario.load.kind == "replay"
    if dimension in _OF_A_REPLAY and not replays:
        raise InputError(Problem("load.kind", f'"replay", to search along {dimension}', f'"{scenario.load.kind}"'))
    if dimension is Dimension.STATIONS and replays:
        found = Problem("--dimension", "scale or speed: stations are those of the capture", f'"{dimension}"')
        raise InputError(found)


def latency_of(dimension: Dimension, use: Use, missing: Collection[str] = ()) -> str:
    """The metric of the curve over the load. Args: missing: what the layout cannot give."""
    if dimension is Dimension.HANDSHAKES:
        return "handshake.latency"
    if dimension is Dimension.SESSIONS and use.plays_mse:
        return "handshake.session"
    return "notify.latency" if use.plays_mse and "notify.latency" not in missing else "notify.lag"


def source_for(dimension: Dimension, source: Source, load: float, hold_ns: int, warmup_ns: int) -> Source:
    """The scenario whose run is a load of this size, or over whose sessions the loads of a live dimension follow.

    Raises:
        InputError: the scenario fixes what is to be varied, or cannot be that large.
    """
    stages = (StageTable(warmup=Duration(warmup_ns)), StageTable(hold=Duration(hold_ns)))
    varied = _varied(dimension, source, load, stages)
    if problems := check_scenario(varied, source.profile):
        raise InputError(problems)
    # A replay that says nothing of its length is as long as its capture; a load is as long as a hold.
    return source._replace(scenario=varied, duration_ns=None)


def _varied(dimension: Dimension, source: Source, load: float, stages: tuple[StageTable, ...]) -> Scenario:
    scenario = source.scenario
    if dimension is Dimension.HANDSHAKES:
        of = scenario.load if scenario.load.kind == "handshake" else LoadTable()
        shaking = LoadTable(
            kind="handshake",
            rate=load,
            concurrency=of.concurrency,
            resumed=of.resumed,
            stages=stages,
            backlog=scenario.load.backlog,
        )
        return msgspec.structs.replace(scenario, load=shaking, thresholds=())
    base = scenario.load if scenario.load.kind != "handshake" else LoadTable(rate=load)
    varied = msgspec.structs.replace(scenario, load=msgspec.structs.replace(base, stages=stages), thresholds=())
    if dimension is Dimension.NOTIFICATIONS:
        return msgspec.structs.replace(varied, load=_of_rate(varied.load, load))
    if dimension is Dimension.SPEED:
        return msgspec.structs.replace(varied, load=msgspec.structs.replace(varied.load, rate=None, speed=load))
    if dimension is Dimension.SCALE:
        replayed = msgspec.structs.replace(varied.load, scale=round(load))
        return scaled(msgspec.structs.replace(varied, load=replayed))
    if dimension is Dimension.SESSIONS:
        return _with_sessions(varied, round(load), source.use, len(source.targets))
    return _with_stations(varied, round(load))


def sizes_of(dimension: Dimension, plan: Plan) -> float:
    """How large the load of a plan is: where a search begins."""
    if dimension is Dimension.SESSIONS:
        return len(plan.sessions)
    if dimension is Dimension.STATIONS:
        return len(plan.wlcs) * plan.wlc.stations
    if dimension is Dimension.SCALE:
        return len(plan.wlcs)
    peak = max(max(stage.start_per_s, stage.end_per_s) for stage in plan.load.stages)
    return peak / _natural_per_s(plan) if dimension is Dimension.SPEED else peak * plan.copies


def due_per_s(dimension: Dimension, plan: Plan) -> float:
    """How much is due in a second of a load of 1, along a live dimension."""
    return _natural_per_s(plan) if dimension is Dimension.SPEED else 1.0


def _natural_per_s(plan: Plan) -> float:
    """Slots per second of a capture as it was recorded."""
    assert plan.replay is not None  # `check_load` has seen to it
    return plan.replay.natural_per_s(len(plan.wlcs))


def step_of(dimension: Dimension, source: Source) -> float:
    """Loads come in multiples of it: a WLC brings all its sessions, and all WLCs have as many stations. 0: any."""
    scenario = source.scenario
    if dimension is Dimension.STATIONS:
        return scenario.wlc.count
    if dimension is Dimension.SCALE:
        return 1
    if dimension is not Dimension.SESSIONS:
        return 0
    if source.use.plays_wlc:
        return scenario.mse.count if scenario.mse.assign == "all" else 1
    return len(source.targets) or scenario.wlc.count


def stages_for(
    dimension: Dimension, plan: Plan, number: int, load: float, hold_ns: int, warmup_ns: int, crowd: float = 1.0
) -> tuple[RateStage, ...]:
    """The stages of one load of a live dimension.

    Args:
        number: of the load; makes the names new ones.
        crowd: how many times as many notifications are due as to the plan's sessions, because more MSEs came.
    """
    if dimension is Dimension.SPEED:
        per_s, size = load * _natural_per_s(plan), f"{load:.2f}"
    else:
        per_s, size = load / (plan.copies * crowd), f"{load:.0f}"
    return (
        RateStage(f"{number:02d}-warmup-{size}", 0, warmup_ns, per_s, per_s, counted=False),
        RateStage(f"{number:02d}-hold-{size}", warmup_ns, hold_ns, per_s, per_s),
    )


def _of_rate(load: LoadTable, per_s: float) -> LoadTable:
    return msgspec.structs.replace(load, rate=per_s, wire_rate=None, interval=None, speed=None)


def _with_sessions(scenario: Scenario, sessions: int, use: Use, targets: int) -> Scenario:
    """More WLCs where they are ours, each with all its MSEs; more MSEs at somebody else's WLCs."""
    wlc, mse = scenario.wlc, scenario.mse
    if not isinstance(mse.assign, str):
        raise InputError(Problem("mse.assign", '"all" or "round-robin", to search along sessions', "a list of pairs"))
    if use.plays_wlc:
        each = mse.count if mse.assign == "all" else 1
        load = msgspec.structs.replace(scenario.load, scale=None)  # WLCs are counted
        wlc = msgspec.structs.replace(wlc, count=max(1, sessions // each))
        return msgspec.structs.replace(scenario, wlc=wlc, load=load)
    if mse.assign != "all":
        # There, a WLC has one session, however many MSEs there are.
        raise InputError(Problem("mse.assign", '"all", to search along sessions of a target', f'"{mse.assign}"'))
    count = max(1, sessions // (targets or wlc.count))
    # Of MSEs that the target knows the first so many come: all of them are the most that there can be.
    if (known := len(mse.identities)) and count > known:
        raise InputError(Problem("mse.identities", f"none, or a file for each of {count} MSEs", f"{known}"))
    mse = msgspec.structs.replace(mse, count=count, identities=mse.identities[:count])
    return msgspec.structs.replace(scenario, mse=mse)


def _with_stations(scenario: Scenario, stations: int) -> Scenario:
    """As often as in the scenario, each station is told of."""
    wlc, load = scenario.wlc, scenario.load
    each = max(1, stations // wlc.count)
    factor = each / wlc.stations
    if load.rate is not None:
        load = msgspec.structs.replace(load, rate=load.rate * factor)
    elif load.wire_rate is not None:
        load = msgspec.structs.replace(load, wire_rate=load.wire_rate * factor)
    elif load.interval is not None:
        load = msgspec.structs.replace(load, interval=Duration(max(1, round(load.interval / factor))))
    return msgspec.structs.replace(scenario, wlc=msgspec.structs.replace(wlc, stations=each), load=load)
