"""What MSEs asked in a capture, for MSEs of ours that play it."""

from __future__ import annotations

from loadgen.nmsp.codec import Codec
from loadgen.replay.recording import Tracks
from loadgen.scenario.plan import Plan
from loadgen.session.asking_again import RecordedRequest, RecordedRequestKind


def recorded_kinds(codec: Codec, recording: Tracks, plan: Plan) -> list[RecordedRequestKind]:
    """A kind for each that was asked, at the speed of the plan."""
    assert plan.replay is not None
    found: dict[str, list[RecordedRequest]] = {}
    for number, track in enumerate(recording.tracks):
        for each in track.asked:
            message = codec.decode_untrusted(each.msg_id, memoryview(each.body))
            found.setdefault(each.name, []).append(RecordedRequest(each.at_ns, number, message))
    speed = plan.load.stages[-1].end_per_s / plan.replay.natural_per_s(len(plan.wlcs))
    tracks, period_ns = len(recording.tracks), plan.replay.period_ns
    return [RecordedRequestKind(name, asked, tracks, period_ns, speed) for name, asked in found.items()]
