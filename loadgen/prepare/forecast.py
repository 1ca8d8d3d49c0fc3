"""What a plan will ask of the target and of this machine, from arithmetic alone."""

from __future__ import annotations

import math
import resource
from collections import Counter

import msgspec

from loadgen.loads import LoadKind
from loadgen.native.library import standing
from loadgen.nmsp.profile import WireProfile
from loadgen.prepare.costs import Effort, effort_of
from loadgen.prepare.limits import descriptors_needed, local_ports
from loadgen.prepare.machine import memory_available_bytes
from loadgen.scenario.plan import Plan
from loadgen.scenario.site_plan import notifications_per_s
from loadgen.scenario.sources import Sources
from loadgen.transports import TRANSPORTS
from loadgen.units import NS_PER_S

# A worker with its libraries and buffers, and the supervisor; measured with one session.
_PROCESS_BYTES = 72 * 1024 * 1024
# Key, certificate, TLS context and Python objects of one of our WLCs, without its stations.
_WLC_BYTES = 40 * 1024
_CHUNK_BYTES = 1 << 17  # of a capture that a WLC lays out at once
# A site without what it hears; and for each pair of access point and whatever it may hear (world/population).
_SITE_BYTES = 64 * 1024
_READING_BYTES = 8


class StageForecast(msgspec.Struct, frozen=True):
    """One stage: notifications or handshakes per second of the whole fleet, on the wire, and (`told_`) before they are
    copied to the MSEs of each WLC.
    """

    name: str
    counted: bool
    length_s: float
    start_per_s: float
    end_per_s: float
    told_start_per_s: float
    told_end_per_s: float


class Forecast(msgspec.Struct, frozen=True):
    """What to expect of a run.

    Attributes:
        about: rates and the total are what a site is to have on average, of what it measures; the sizes are the most.
        offered: the load is ours to make; otherwise its rates are the peer's affair, and 0 here.
        total: notifications or handshakes in all; None for as fast as it goes, and for what is not ours to make.
        bytes_per_s, network_bytes_per_s: at the peak: of notifications, and with TLS, TCP and IP if each is written by
            itself.
        descriptors: of the process that needs most of them.
        local_ports, local_port_limit: of the address that needs most of them, for sessions with one WLC (over DTLS:
            with all), and as many as it has; 0 where nobody is dialed.
        sources: addresses that MSEs dial from; 0: the kernel chooses.
        memory_bytes: of all our processes together.
        effort: what the load takes of the machine's CPUs, and what they can do.
        native: whether messages are read by the native turn, or why not.
    """

    scenario: str
    plan_digest: str
    use: str
    kind: LoadKind
    wlcs: int
    mses: int
    sessions: int
    most_sessions_of_a_wlc: int
    workers: int
    connect_s: float
    load_s: float
    stages: tuple[StageForecast, ...]
    total: int | None
    notification_bytes: float | None
    bytes_per_s: float | None
    network_bytes_per_s: float | None
    descriptors: int
    descriptor_limit: int
    memory_bytes: int
    memory_available_bytes: int
    effort: Effort
    local_ports: int = 0
    local_port_limit: int = 0
    sources: int = 0
    about: bool = False
    offered: bool = True
    native: str = ""


def forecast(plan: Plan, profile: WireProfile, workers: int) -> Forecast:
    """Args: workers: per side."""
    notify = plan.load.kind is LoadKind.NOTIFY
    per_wlc = Counter(session.wlc for session in plan.sessions)
    copies = plan.copies if plan.offers else 0.0
    told = (plan.load.burst if notify else 1) if plan.offers else 0
    sends = notify and plan.offers
    low, high = (profile.notify_bytes(readings) for readings in plan.wlc.readings)
    size = (low + high) / 2
    if plan.replay is not None:
        size = plan.replay.frame_bytes
    stages = tuple(
        StageForecast(
            name=stage.name,
            counted=stage.counted,
            length_s=stage.duration_ns / NS_PER_S,
            start_per_s=stage.start_per_s * copies,
            end_per_s=stage.end_per_s * copies,
            told_start_per_s=stage.start_per_s * told,
            told_end_per_s=stage.end_per_s * told,
        )
        for stage in plan.load.stages
    )
    total = round(plan.schedule().slots * copies) if plan.load.paced and plan.offers else None
    if (site := plan.site) is not None and plan.offers:
        of_each = notifications_per_s(site, plan.wlc.capability & plan.mse.subscription)
        per_s, told_per_s = of_each * len(plan.sessions), of_each * len(plan.wlcs)
        stages = tuple(
            msgspec.structs.replace(
                stage, start_per_s=per_s, end_per_s=per_s, told_start_per_s=told_per_s, told_end_per_s=told_per_s
            )
            for stage in stages
        )
        total = round(per_s * plan.duration_ns / NS_PER_S)
        size = profile.notify_bytes(min(site.reported_aps, site.aps))
        sends = sends and site.switch is None
    peak = max(max(stage.start_per_s, stage.end_per_s) for stage in stages)
    # As fast as handshakes go, nobody knows how many ports rest.
    ports = local_ports(plan) if notify else None
    return Forecast(
        scenario=plan.scenario,
        plan_digest=plan.digest,
        use=plan.use,
        kind=plan.load.kind,
        wlcs=len(plan.wlcs),
        mses=len(plan.mse_macs),
        sessions=len(plan.sessions),
        most_sessions_of_a_wlc=max(per_wlc.values()),
        workers=workers,
        connect_s=len(plan.sessions) / plan.mse.connect_per_s if notify and plan.use.plays_mse else 0.0,
        load_s=plan.duration_ns / NS_PER_S,
        stages=stages,
        total=total,
        notification_bytes=size if sends else None,
        bytes_per_s=peak * size if sends else None,
        network_bytes_per_s=peak * (size + _overhead_bytes(plan, size)) if sends else None,
        descriptors=descriptors_needed(plan, workers),
        descriptor_limit=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        memory_bytes=_memory_bytes(plan, profile, workers),
        memory_available_bytes=memory_available_bytes(),
        effort=effort_of(plan, peak, workers, _together(plan, size)),
        local_ports=0 if ports is None else ports.needed,
        local_port_limit=0 if ports is None else ports.there,
        sources=len(Sources(plan.bind)) if plan.use.plays_mse else 0,
        about=site is not None and plan.offers,
        offered=plan.offers,
        native=standing(),
    )


def _overhead_bytes(plan: Plan, size: float) -> float:
    """Beside each notification, if each burst is written by itself."""
    return TRANSPORTS[plan.transport].overhead_bytes / min(plan.load.burst, _together(plan, size))


def _together(plan: Plan, size: float) -> float:
    """As many notifications as may go at once."""
    transport = TRANSPORTS[plan.transport]
    return max(1, (plan.dtls.mtu - transport.overhead_bytes) // size) if transport.bounded else math.inf


def _memory_bytes(plan: Plan, profile: WireProfile, workers: int) -> int:
    sides = plan.use.plays_wlc + plan.use.plays_mse
    links = len(plan.sessions) if plan.load.kind is LoadKind.NOTIFY else plan.load.concurrency
    session = TRANSPORTS[plan.transport].session_bytes
    total = _PROCESS_BYTES * (1 + sides * workers) + sides * links * session
    if plan.use.plays_wlc and plan.site is not None:
        heard = sum(planned.count for planned in plan.site.classes) * plan.site.aps
        total += len(plan.wlcs) * (_WLC_BYTES + _SITE_BYTES + heard * _READING_BYTES)
    elif plan.use.plays_wlc and (replay := plan.replay) is not None:
        # Each worker has the whole capture and what is known of it; each WLC a chunk of it, and its devices.
        total += workers * 4 * replay.total_bytes
        total += len(plan.wlcs) * (_WLC_BYTES + min(_CHUNK_BYTES, replay.total_bytes))
    elif plan.use.plays_wlc:
        stations = (
            plan.wlc.stations * profile.notify_bytes(plan.wlc.readings[1]) if plan.load.kind is LoadKind.NOTIFY else 0
        )
        total += len(plan.wlcs) * (_WLC_BYTES + 2 * stations)
    return total
