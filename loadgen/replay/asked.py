"""What MSEs asked in a capture, for MSEs of ours that play it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import Role
from loadgen.nmsp.records import Mac
from loadgen.replay.macs import MacMap
from loadgen.replay.recording import ANY_DEVICE, Tracks, mapped_macs
from loadgen.scenario.plan import Plan
from loadgen.session.asking_again import RecordedRequest, RecordedRequestKind

# WLCs whose MACs are kept at once, of those that were asked last.
_MOST_KEPT = 64


def recorded_kinds(codec: Codec, recording: Tracks, plan: Plan) -> list[RecordedRequestKind]:
    """A kind for each that was asked, at the speed of the plan.

    A WLC of ours is asked what was asked in the track that it plays, anybody else's session s in track s mod the number
    of tracks.
    """
    assert plan.replay is not None
    found: dict[str, list[RecordedRequest]] = {}
    for number, track in enumerate(recording.tracks):
        for each in track.asked:
            message = codec.decode_untrusted(each.msg_id, memoryview(each.body), sender=Role.MSE)
            device = None if each.device == ANY_DEVICE else each.device
            found.setdefault(each.name, []).append(RecordedRequest(each.at_ns, number, message, device))
    speed = plan.load.stages[-1].end_per_s / plan.replay.natural_per_s(len(plan.wlcs))
    tracks, period_ns = len(recording.tracks), plan.replay.period_ns

    def track_of(session: int) -> int:
        return (plan.sessions[session].wlc if plan.use.plays_wlc else session) % tracks

    return [RecordedRequestKind(name, asked, track_of, period_ns, speed) for name, asked in found.items()]


def recorded_macs(recording: Tracks, plan: Plan) -> Callable[[int], Sequence[Mac]]:
    """Of the number of a WLC to all recorded MACs as it has them; to none where it is not ours."""
    replay = plan.replay
    if replay is None or not plan.use.plays_wlc:
        return lambda _: ()
    macs, mapped = mapped_macs(recording, aps=replay.aps)
    mapping = MacMap(macs, mapped, replay.macs, plan.first + len(plan.wlcs))

    @lru_cache(_MOST_KEPT)
    def macs_of(wlc: int) -> Sequence[Mac]:
        return [bytes(mac) for mac in mapping.of(plan.first + wlc)]

    return macs_of
