"""The WLCs that a worker plays: who they are and what they have to tell."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from loadgen.nmsp.any_bulk import Ring, ring_of
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.services import MOBILE_STATION, mask_of
from loadgen.replay.answers import RecordedAnswers
from loadgen.replay.macs import MacMap
from loadgen.replay.recording import Track, Tracks, mapped_macs
from loadgen.replay.ring import ReplayRing, TrackTables
from loadgen.scenario.plan import Plan
from loadgen.session.directory import Directory, StationDirectory
from loadgen.world.stations import make_stations

_STATION_MASK = mask_of(MOBILE_STATION)


class Telling(Protocol):
    """A WLC that notifies when the schedule says so.

    Attributes:
        frame_bytes: of a notification, on average.
        subscribers, told: masks: who has one of the former granted subscribes to what it tells; who has none of the
            latter any more is told nothing.
    """

    frame_bytes: float
    subscribers: int
    told: int


class Controller:
    """One simulated WLC: its stations' frames. directory: what it answers from when it is asked."""

    __slots__ = ("directory", "frame_bytes", "number", "ring", "subscribers", "told")

    def __init__(self, plan: Plan, profile: WireProfile, number: int, batch: int) -> None:
        self.number = number  # in the plan
        granted = plan.wlc.capability & plan.mse.subscription
        make = partial(
            make_stations, profile, plan.seed, plan.first + number, plan.wlc.stations, plan.wlc.readings, granted
        )
        stations = make()
        self.ring: Ring = ring_of(profile, stations, batch=batch)
        self.frame_bytes = float(self.ring.sizes[: self.ring.slots].mean())
        self.subscribers: int = _STATION_MASK
        self.told = 1 << stations.subservice
        self.directory: Directory = StationDirectory(make)


class ReplayController:
    """One that says what was recorded. answers: to what was asked in the capture."""

    __slots__ = ("answers", "frame_bytes", "number", "ring", "subscribers", "told")

    def __init__(
        self, plan: Plan, profile: WireProfile, number: int, track: Track, tables: TrackTables, macs: MacMap
    ) -> None:
        assert plan.replay is not None
        self.number = number
        own = macs.of(plan.first + number)
        self.ring = ReplayRing(profile, tables, own)
        self.answers = RecordedAnswers(Codec(profile), track, own)
        self.frame_bytes = float(tables.sizes.mean())
        self.subscribers = self.told = tables.subservices or plan.replay.granted


def make_controllers(plan: Plan, profile: WireProfile, members: Sequence[int], batch: int) -> list[Controller]:
    """The plan's WLCs with these numbers."""
    return [Controller(plan, profile, number, batch) for number in members]


def make_replayers(
    plan: Plan, profile: WireProfile, members: Sequence[int], batch: int, recording: Tracks
) -> list[ReplayController]:
    """The same, of a plan that replays."""
    assert plan.replay is not None
    macs, mapped = mapped_macs(recording, aps=plan.replay.aps)
    mapping = MacMap(macs, mapped, plan.replay.macs, plan.first + len(plan.wlcs))
    tables: dict[int, TrackTables] = {}
    found = []
    for number in members:
        which = number % len(recording.tracks)
        if which not in tables:
            tables[which] = TrackTables(profile, recording.tracks[which], batch)
        found.append(ReplayController(plan, profile, number, recording.tracks[which], tables[which], mapping))
    return found
