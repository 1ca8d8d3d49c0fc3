"""What MSEs asked in a capture, asked again at its times."""

from __future__ import annotations

import pytest
import replay_samples as samples

from loadgen.nmsp import messages as m
from loadgen.nmsp.messages import Role
from loadgen.nmsp.profile import reference_profile
from loadgen.replay.reading import record_untrusted
from loadgen.session.asking_again import RecordedRequest, RecordedRequestKind
from loadgen.units import NEVER_NS, NS_PER_MS, NS_PER_S

PROFILE = reference_profile()


@pytest.mark.parametrize("speed", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("workers", [1, 2])
def test_each_session_asks_what_its_track_asked_again_and_again(speed: float, workers: int) -> None:
    """Two tracks, five sessions, three periods and a half."""
    at = {0: [100, 700], 1: [300]}
    requests = [RecordedRequest(each * NS_PER_MS, track, m.CapabilityRequest()) for track in at for each in at[track]]
    kind = RecordedRequestKind("capability", requests, lambda session: session % 2, NS_PER_S, speed)
    found = []
    for worker in range(workers):
        kind.start(int(3.5 * NS_PER_S / speed), 5, worker, workers)
        last = 0
        while (due_ns := kind.next_ns()) != NEVER_NS:
            number, which = kind.take()
            assert due_ns >= last
            last = due_ns
            session = worker + number * workers
            assert requests[which].track == session % 2
            assert kind.message(which, ()) is requests[which].message
            found.append((round(due_ns * speed / NS_PER_MS), session))
    expected = [
        (period * 1000 + each, session) for period in range(4) for session in range(5) for each in at[session % 2]
    ]
    assert sorted(found) == sorted(each for each in expected if each[0] < 3_500)


def test_a_device_is_asked_about_as_its_wlc_has_it() -> None:
    own = [samples.station(100), samples.station(101)]
    about = m.MeasurementRequest(0, samples.station(1))
    requests = [RecordedRequest(0, 0, about, 1), RecordedRequest(0, 0, m.MeasurementRequest(0))]
    kind = RecordedRequestKind("measurement", requests, lambda _: 0, NS_PER_S, 1.0)
    assert kind.message(0, own) == m.MeasurementRequest(0, own[1])
    assert kind.message(0, ()) is about  # the WLC is somebody else's
    assert kind.message(1, own) == m.MeasurementRequest(0)


def test_a_worker_without_such_a_session_asks_nothing() -> None:
    kind = RecordedRequestKind("capability", [RecordedRequest(0, 1, m.CapabilityRequest())], lambda _: 0, NS_PER_S, 1.0)
    kind.start(NS_PER_S, 1, 0, 1)
    assert kind.next_ns() == NEVER_NS


def test_what_belongs_to_the_opening_is_not_asked_again() -> None:
    said = [
        *samples.opening(),
        *samples.notified(5, first_ns=20 * NS_PER_MS),
        (50 * NS_PER_MS, Role.MSE, m.EchoRequest(), 3),
        (60 * NS_PER_MS, Role.MSE, m.SubscribeRequest(3), 4),
        (70 * NS_PER_MS, Role.MSE, m.MeasurementRequest(0), 5),
        (80 * NS_PER_MS, Role.MSE, m.MeasurementRequest(0), 6),
    ]
    (track,) = record_untrusted(samples.events([samples.exchange(PROFILE, said)]), PROFILE, "c").recording.tracks
    assert [(each.name, each.at_ns // NS_PER_MS) for each in track.asked] == [
        ("subscribe", 40), ("measurement", 50), ("measurement", 60),
    ]  # fmt: skip
