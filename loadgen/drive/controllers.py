"""The WLCs that a worker plays: who they are and what they have to tell."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from loadgen.nmsp.any_bulk import ring_of
from loadgen.nmsp.profile import WireProfile
from loadgen.scenario.plan import Plan
from loadgen.session.directory import StationDirectory
from loadgen.world.stations import make_stations


class Controller:
    """One simulated WLC: its stations' frames.

    Attributes:
        directory: what it answers from when it is asked. subservice: that its stations are notified under.
        frame_bytes: of a notification, on average.
    """

    __slots__ = ("directory", "frame_bytes", "number", "ring", "subservice")

    def __init__(self, plan: Plan, profile: WireProfile, number: int, batch: int) -> None:
        self.number = number  # in the plan
        granted = plan.wlc.capability & plan.mse.subscription
        make = partial(
            make_stations, profile, plan.seed, plan.first + number, plan.wlc.stations, plan.wlc.readings, granted
        )
        stations = make()
        self.ring = ring_of(profile, stations, batch=batch)
        self.frame_bytes = float(self.ring.sizes[: self.ring.slots].mean())
        self.subservice = stations.subservice
        self.directory = StationDirectory(make)


def make_controllers(plan: Plan, profile: WireProfile, members: Sequence[int], batch: int) -> list[Controller]:
    """The plan's WLCs with these numbers."""
    return [Controller(plan, profile, number, batch) for number in members]
