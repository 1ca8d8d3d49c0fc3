"""A scenario, resolved: who dials whom from where, what is due when. Frozen, printable, with a digest.

Two runs with one digest did the same: the digest covers everything that shapes the load, and nothing that names the
place where it ran (target addresses, files) or the keys that were made for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from loadgen.errors import InputError
from loadgen.hosts import further, parse_endpoint
from loadgen.loads import LoadKind
from loadgen.nmsp.carried import WHOLE, Carried, carried_by
from loadgen.nmsp.catalogue import CATALOGUE, NOTIFICATIONS
from loadgen.nmsp.messages import Kind
from loadgen.nmsp.profile import WireProfile
from loadgen.scenario.authentication import list_delays_ns, poll_tick_ns
from loadgen.scenario.digest import chosen_of, digest_of
from loadgen.scenario.reading import (
    mask_of,
    readings_range,
    session_count,
    stage_duration_ns,
    stage_kind,
    too_many_sessions,
)
from loadgen.scenario.replay_plan import PlannedReplay, ReplaySchedule
from loadgen.scenario.requests import PlannedRequest, given, plan_requests
from loadgen.scenario.schedule import RateStage, Schedule
from loadgen.scenario.schema import (
    Dtls,
    LoadShape,
    MseShape,
    NeighbourTimers,
    Rule,
    Scenario,
    SessionTable,
    TlsShape,
    WlcShape,
)
from loadgen.scenario.site_plan import PlannedSite, plan_site
from loadgen.units import NS_PER_S

# First octet 02: locally administered, so that no simulated controller has a real one's MAC.
_WLC_MAC_BASE = 0x02_57_4C_00_00_00
_MSE_MAC_BASE = 0x02_4D_53_00_00_00
_OF_SWITCHES = ("attach", "location")
# Handshakes under way at once. As fast as it goes: enough to keep a server of a few dozen cores busy over a LAN. At a
# rate: a bound on descriptors, far above what a healthy target needs.
_CONCURRENCY = 64
_CONCURRENCY_PACED = 1000
# What may differ between plans of one load: words, and who plays what of it where. Of the WLCs, their number counts;
# what a profile carries is part of its name.
_NO_SHAPE = frozenset(
    {"description", "use", "wlcs", "sessions", "mse_macs", "thresholds", "first", "carried", "carried_of", "bind"}
)


S = TypeVar("S", bound=msgspec.Struct)


class Use(StrEnum):
    """Which sides of the tunnel are ours."""

    BOTH = "both"
    TARGET_WLC = "target-wlc"  # we are the MSEs, at somebody else's WLCs
    SERVE_WLC = "serve-wlc"  # we are the WLCs, for somebody else's MSEs
    SERVE_MSE = "serve-mse"  # we are the MSEs, at the addresses of the scenario

    @property
    def plays_wlc(self) -> bool:
        return self in (Use.BOTH, Use.SERVE_WLC)

    @property
    def plays_mse(self) -> bool:
        return self is not Use.SERVE_WLC


class PlannedWlc(msgspec.Struct, frozen=True):
    """A controller: ours to play or somebody else's to dial. Port 0: the kernel chooses one."""

    mac: str
    host: str
    port: int


class PlannedSession(msgspec.Struct, frozen=True):
    """One assigned pair; indexes into the plan's WLCs and MSEs."""

    wlc: int
    mse: int


class PlannedThreshold(msgspec.Struct, frozen=True):
    """A threshold, and whether the load is given up when it fails, from `delay_ns` after its start on."""

    threshold: str
    abort_on_fail: bool = False
    delay_ns: int = 0


class PlannedWlcs(WlcShape, frozen=True, kw_only=True):
    """What all controllers have in common.

    Attributes:
        capability: mask of the subservices that they offer.
        readings: lowest and highest number of them in a notification.
        list_delays_ns, poll_tick_ns: how long the auth lists of a WLC take, and how often it looks at a handshake.
    """

    capability: int
    readings: tuple[int, int]
    list_delays_ns: tuple[int, ...] = (0,)
    poll_tick_ns: int = 0


class PlannedMses(MseShape, frozen=True, kw_only=True):
    """What all MSEs have in common. subscription: mask of the subservices that they ask for."""

    subscription: int


class PlannedLoad(LoadShape, frozen=True, kw_only=True):
    """What is done, and when it is due.

    Attributes:
        paced: what is due when is known; otherwise `concurrency` handshakes are always under way, or a site decides.
        concurrency: how many handshakes may be under way at once.
        resumed: share of handshakes that resume an earlier one's TLS session, 0 to 1.
        burst: notifications of a slot.
    """

    kind: LoadKind
    paced: bool
    concurrency: int
    resumed: float = 0.0
    burst: int = 1
    stages: tuple[RateStage, ...]


class Plan(msgspec.Struct, frozen=True):
    """Everything that the workers need to know, but for keys and start times. Durations in ns, rates in 1/s.

    Attributes:
        site: what notifications follow from, instead of from a schedule; then `load.paced` is false.
        first: the number of the first WLC and of the first MSE; those of another plan that runs at the same time are
            others.
        session: its timers of repeating are the usual ones where nothing is ever sent again.
        requests: what MSEs ask in running sessions.
        sessions_per_user: 0: all sessions are there from the start. Otherwise a user is that many of them (or,
            where only the WLCs are ours, a WLC), and users come and go while the load is on.
        carried: what of ours the profile's measurement notifications carry, as `nmsp.carried.Carried` has it.
        carried_of: the same by subservice ("info_ms"), where it is less than all.
        replay: the capture that notifications are taken from, and their times.
        bind: addresses that MSEs dial from, as `scenario.sources` reads them; none: the kernel chooses.
    """

    scenario: str
    description: str
    use: Use
    seed: int
    profile: str
    wlcs: tuple[PlannedWlc, ...]
    mse_macs: tuple[str, ...]
    sessions: tuple[PlannedSession, ...]
    wlc: PlannedWlcs
    mse: PlannedMses
    tls: TlsShape
    session: SessionTable
    load: PlannedLoad
    thresholds: tuple[PlannedThreshold, ...] = ()
    first: int = 0
    sessions_per_user: int = 0
    requests: tuple[PlannedRequest, ...] = ()
    site: PlannedSite | None = None
    transport: str = "tls"
    dtls: Dtls = Dtls()
    carried: tuple[int, int, int] = WHOLE
    carried_of: tuple[tuple[str, int, int, int], ...] = ()
    replay: PlannedReplay | None = None
    bind: tuple[str, ...] = ()

    def schedule(self, stages: Sequence[RateStage] | None = None) -> Schedule:
        """Due times of the whole fleet's slots, in these stages or the plan's: WLCs notify, sessions shake hands."""
        fleet = self.wlcs if self.load.kind is LoadKind.NOTIFY else self.sessions
        stages = self.load.stages if stages is None else stages
        if self.replay is not None:
            return ReplaySchedule(stages, len(fleet), self.replay)
        return Schedule(stages, len(fleet))

    def with_addresses(self, addresses: Sequence[tuple[str, int]]) -> Plan:
        """The same plan with the addresses where the WLCs really listen."""
        wlcs = (PlannedWlc(wlc.mac, host, port) for wlc, (host, port) in zip(self.wlcs, addresses, strict=True))
        return msgspec.structs.replace(self, wlcs=tuple(wlcs))

    @property
    def duration_ns(self) -> int:
        """Length of the load, without setting up and draining."""
        return end_ns(self.load.stages)

    @property
    def offers(self) -> bool:
        """The load is ours to make, and its rates are those of the stages: WLCs notify, MSEs shake hands. Otherwise the
        peer does what it does, and a stage is only a stretch of time.
        """
        return self.use.plays_wlc if self.load.kind is LoadKind.NOTIFY else self.use.plays_mse

    @property
    def copies(self) -> float:
        """Notifications on the wire, or handshakes, for each slot of the schedule: a WLC tells each of its MSEs. On
        average, where WLCs have different numbers of them.
        """
        return self.load.burst * len(self.sessions) / len(self.wlcs) if self.load.kind is LoadKind.NOTIFY else 1.0

    @property
    def digest(self) -> str:
        """12 hex digits over what shapes the load."""
        lean = msgspec.structs.replace(self, wlcs=(), sessions=(), mse_macs=(), thresholds=())  # quick to walk
        chosen = {name: value for name, value in chosen_of(lean).items() if name not in _NO_SHAPE}
        return digest_of(chosen | {"wlcs": len(self.wlcs), "sessions": self.sessions})


def end_ns(stages: Sequence[RateStage]) -> int:
    """Where the last stage ends."""
    return stages[-1].start_ns + stages[-1].duration_ns


def make_plan(
    scenario: Scenario,
    profile: WireProfile,
    *,
    use: Use = Use.BOTH,
    targets: Sequence[tuple[str, int]] = (),
    duration_ns: int | None = None,
    first: int = 0,
    sessions_per_user: int = 0,
    replay: PlannedReplay | None = None,
) -> Plan:
    """Resolve a scenario that was checked.

    Args:
        targets: addresses of somebody else's WLCs, instead of the scenario's.
        duration_ns: instead of the length of the scenario's last stage.
        first, sessions_per_user: see `Plan`.
        replay: the capture that the scenario names, if it does.

    Raises:
        InputError: more sessions with these targets than a plan may have.
    """
    if problem := too_many_sessions(scenario, len(targets) or scenario.wlc.count):
        raise InputError(problem)
    endpoints = list(targets) or _listen_endpoints(scenario)
    sessions = _sessions(scenario, len(endpoints))
    if sessions_per_user and use is Use.TARGET_WLC:  # a user is an MSE
        sessions.sort(key=lambda session: session.mse)
    switch = scenario.switch if scenario.wlc.kind == "switch" else None
    site = plan_site(scenario.site, scenario.wlc.stations, switch) if scenario.load.kind == "site" else None
    load = scenario.load
    if load.kind != "replay":
        replay = None  # a search may put on another load
    elif replay is not None:
        replay = msgspec.structs.replace(replay, macs=load.macs or replay.macs, aps=load.aps or replay.aps)
    wlc, subscription = _wlc(scenario), mask_of(scenario.mse.subscribe)
    if replay is not None:  # whatever was recorded shall be told
        wlc, subscription = msgspec.structs.replace(wlc, capability=replay.offered), replay.granted
    return Plan(
        scenario=scenario.name,
        description=scenario.description,
        use=use,
        seed=scenario.seed,
        profile=f"{profile.name} {profile.digest}",
        wlcs=tuple(
            PlannedWlc(_mac(_WLC_MAC_BASE + first + index), host, port) for index, (host, port) in enumerate(endpoints)
        ),
        mse_macs=tuple(_mac(_MSE_MAC_BASE + first + index) for index in range(scenario.mse.count)),
        sessions=tuple(sessions),
        wlc=wlc,
        mse=PlannedMses(subscription=subscription, **_of(scenario.mse, MseShape)),
        tls=TlsShape(**_of(scenario.tls, TlsShape)),
        session=_session(scenario),
        load=_load(scenario, len(endpoints), duration_ns, replay),
        thresholds=tuple(map(_threshold, scenario.thresholds)),
        first=first,
        sessions_per_user=sessions_per_user,
        requests=tuple(
            plan_requests(
                scenario.requests,
                subscription,
                len(sessions),
                stations_are_known=use.plays_wlc and site is None and replay is None,
            )
        ),
        site=site,
        transport=scenario.transport,
        dtls=scenario.dtls,
        carried=carried_by(profile),
        carried_of=_carried_of(profile),
        replay=replay,
        bind=scenario.mse.bind,
    )


def _carried_of(profile: WireProfile) -> tuple[tuple[str, int, int, int], ...]:
    kinds = [kind for kind in (Kind.MEASUREMENT_NOTIFY, *NOTIFICATIONS) if kind in profile.layouts]
    found = {s.name.lower(): carried_by(profile, kind) for kind in kinds for s in CATALOGUE[kind].subservices}
    return tuple((name, *carried) for name, carried in found.items() if carried != WHOLE)


def is_placed(plan: Plan) -> bool:
    """The layout carries no due times, and they follow from the order all the same: both sides are ours, TCP keeps the
    order, and a schedule says when each is due.
    """
    scheduled = plan.load.kind is LoadKind.NOTIFY and plan.site is None and plan.replay is None
    return scheduled and plan.use is Use.BOTH and plan.transport == "tls" and not Carried(*plan.carried).tells_due


def _of(table: S, shape: type[S]) -> dict[str, Any]:
    """What a table has of its base."""
    return {name: getattr(table, name) for name in shape.__struct_fields__}


def _wlc(scenario: Scenario) -> PlannedWlcs:
    table = scenario.wlc
    return PlannedWlcs(
        capability=mask_of(_OF_SWITCHES if table.kind == "switch" else table.subservices),
        readings=readings_range(scenario),
        list_delays_ns=list_delays_ns(table.aaa),
        poll_tick_ns=poll_tick_ns(table.aaa),
        **_of(table, WlcShape),
    )


def _session(scenario: Scenario) -> SessionTable:
    """Over a connection nothing is sent again but what MSEs ask in running sessions."""
    table = scenario.session
    if scenario.transport == "tls" and not any(given(scenario.requests)):
        return SessionTable(**_of(table, NeighbourTimers))
    return table


def _threshold(rule: str | Rule) -> PlannedThreshold:
    if isinstance(rule, str):
        return PlannedThreshold(rule)
    return PlannedThreshold(rule.threshold, rule.abort_on_fail, int(rule.delay))


def _listen_endpoints(scenario: Scenario) -> list[tuple[str, int]]:
    wlc = scenario.wlc
    host, port = parse_endpoint(wlc.listen)
    if wlc.step == "address":
        return [(further(host, index), port) for index in range(wlc.count)]
    return [(host, port + index if port else 0) for index in range(wlc.count)]


def _sessions(scenario: Scenario, wlcs: int) -> list[PlannedSession]:
    assign, mses = scenario.mse.assign, scenario.mse.count
    if not isinstance(assign, str):
        return [PlannedSession(wlc, row.mse) for row in assign for wlc in row.wlc]
    if assign == "round-robin":
        return [PlannedSession(wlc, wlc % mses) for wlc in range(wlcs)]
    return [PlannedSession(wlc, mse) for wlc in range(wlcs) for mse in range(mses)]


def _load(scenario: Scenario, wlcs: int, duration_ns: int | None, replay: PlannedReplay | None) -> PlannedLoad:
    table = scenario.load
    paced = replay is not None or any(rate is not None for rate in (table.rate, table.wire_rate, table.interval))
    return PlannedLoad(
        # What a site has to tell are notifications, too, and what was recorded: only the time at which they are due
        # comes from elsewhere.
        kind=LoadKind.NOTIFY if table.kind in ("site", "replay") else LoadKind(table.kind),
        paced=paced,
        concurrency=table.concurrency or (_CONCURRENCY_PACED if paced else _CONCURRENCY),
        resumed=table.resumed or 0.0,
        burst=table.burst or 1,
        stages=tuple(_stages(scenario, wlcs, duration_ns, replay)),
        **_of(table, LoadShape),
    )


def length_ns(replay: PlannedReplay, scenario: Scenario) -> int:
    """How long it takes to play a capture once, as fast as the scenario says."""
    load, speed = scenario.load, scenario.load.speed or 1.0
    if load.rate is not None:
        speed = load.rate / replay.natural_per_s(scenario.wlc.count)
    return max(1, math.ceil(replay.period_ns / speed))


def _stages(scenario: Scenario, wlcs: int, duration_ns: int | None, replay: PlannedReplay | None) -> list[RateStage]:
    load = scenario.load
    burst = load.burst or 1
    # What is told once is sent so often.
    copies = session_count(scenario, wlcs) / wlcs
    nominal = load.rate or 0.0
    if load.wire_rate is not None:
        nominal = load.wire_rate / copies
    if load.interval is not None:
        nominal = wlcs * burst * NS_PER_S / load.interval
    if replay is not None and load.rate is None:
        nominal = replay.natural_per_s(wlcs) * (load.speed or 1.0)
    kinds = [stage_kind(stage) for stage in load.stages]
    # Setting the scene is not what is measured; a scenario of nothing but ramps is meant to be.
    counted = [kind == "hold" or "hold" not in kinds for kind in kinds]
    stages: list[RateStage] = []
    start, per_s, reached = 0, 0.0, nominal
    for index, stage in enumerate(load.stages):
        length = stage_duration_ns(stage)
        if duration_ns is not None and index == len(load.stages) - 1:
            length = int(duration_ns)
        if stage.rate is not None:
            reached = stage.rate
        elif stage.wire_rate is not None:
            reached = stage.wire_rate / copies
        elif stage.ramp is not None:
            reached = nominal
        target = reached / burst
        begin = target if stage.ramp is None else per_s
        name = kinds[index] if kinds.count(kinds[index]) == 1 else f"{kinds[index]}-{index + 1}"
        stages.append(RateStage(name, start, length, begin, target, counted[index]))
        start, per_s = start + length, target
    return stages


def _mac(value: int) -> str:
    return value.to_bytes(6, "big").hex(":")
