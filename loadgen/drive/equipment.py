"""What each driver of a worker is given, whatever it drives."""

from __future__ import annotations

from typing import NamedTuple

from loadgen.clock import MONOTONIC, Nanoseconds
from loadgen.measure.names import ECHO_ANSWERED, ECHO_ASKED
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.dialogue import other_side
from loadgen.nmsp.messages import Role
from loadgen.nmsp.profile import WireProfile
from loadgen.replay.recording import Tracks
from loadgen.scenario.plan import Plan, Use
from loadgen.scenario.schedule import Share
from loadgen.session.link import EndpointSettings
from loadgen.session.placing import Placings


class Equipment(NamedTuple):
    """What a worker plays, what time it is, and where it records.

    Attributes:
        settings: of the endpoints of the worker's side.
        share: which worker of how many it is, and which members of the schedule's fleet are its.
        placings: where the workers of both sides say and read which notification is which; None: nowhere.
        to_unix_ns: what has to be added to the clock's time for that since the epoch.
        recording: what WLCs of a plan that replays say.
    """

    plan: Plan
    profile: WireProfile
    recorder: Recorder
    settings: EndpointSettings
    share: Share
    to_unix_ns: int = 0
    clock: Nanoseconds = MONOTONIC
    placings: Placings | None = None
    recording: Tracks | None = None


def equip(
    role: Role,
    plan: Plan,
    profile: WireProfile,
    recorder: Recorder,
    worker: int,
    workers: int,
    to_unix_ns: int,
    placings: Placings | None = None,
    recording: Tracks | None = None,
) -> Equipment:
    """The equipment of a worker of this side."""
    settings = EndpointSettings(
        Codec(profile),
        recorder,
        mask=plan.wlc.capability if role is Role.WLC else plan.mse.subscription,
        setup_timeout_ns=plan.mse.setup_timeout,
        timers=plan.session,
        assumed=plan.wlc.capability & plan.mse.subscription if plan.use is Use.BOTH else None,
        to_unix_ns=to_unix_ns,
    )
    askers = profile.dialogue.askers
    counted = (*(ECHO_ASKED if role in askers else ()), *((ECHO_ANSWERED,) if other_side(role) in askers else ()))
    for name in counted:
        recorder.count(name, 0)  # measured, even if none ever is
    share = Share(plan.schedule(), worker, workers)
    return Equipment(plan, profile, recorder, settings, share, to_unix_ns, placings=placings, recording=recording)
