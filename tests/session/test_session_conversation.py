"""What came is told to an endpoint where it stands: what changes a session lies between what was before and after."""

from __future__ import annotations

from session_samples import CODEC, PROFILE, mse_side, notify, settings_of

from loadgen.measure.recorder import Recorder
from loadgen.nmsp.bulk import Control, NotifyReceiver
from loadgen.nmsp.messages import (
    Capability,
    EchoResponse,
    ResponseStatus,
    SubscribeResponse,
    VersionResponse,
)
from loadgen.session.conversation import Heard, hear_untrusted
from loadgen.session.datagrams import DatagramMseEndpoint
from loadgen.session.link import Endpoint

GRANTED = SubscribeResponse(1, ResponseStatus.OK)


def set_up(endpoint: Endpoint) -> None:
    """As far as its subscription, which is not answered yet."""
    for message, transaction in ((VersionResponse(1, ResponseStatus.OK), 1), (Capability(1), 0)):
        assert hear(endpoint, CODEC.encode(message, transaction))[0].fault is None


def hear(endpoint: Endpoint, data: bytes, now_ns: int = 5) -> tuple[Heard, NotifyReceiver, list[tuple[int, int, int]]]:
    """Also what was there after each control message: notifications, the grant before it and after."""
    receiver = NotifyReceiver(PROFILE, len(data) + 16)
    receiver.view[: len(data)] = data
    seen: list[tuple[int, int, int]] = []

    def after(_control: Control, granted: int) -> None:
        seen.append((receiver.notifications, granted, endpoint.granted))

    return hear_untrusted(receiver, endpoint, 0, len(data), now_ns, after), receiver, seen


def encoded(*messages: object) -> bytes:
    return b"".join(CODEC.encode(message, 2) for message in messages)  # type: ignore[arg-type]


def test_a_grant_changes_at_its_place_in_the_stream() -> None:
    endpoint = mse_side().endpoint
    set_up(endpoint)
    heard, receiver, seen = hear(endpoint, encoded(GRANTED, notify(0), notify(1), EchoResponse(), notify(2)))
    assert seen == [(0, 0, 1), (2, 1, 1)]
    assert (heard.notifications, heard.fault) == (3, None)
    assert receiver.columns().sequence.tolist() == [0, 1, 2]
    assert endpoint.last_heard_ns == 5


def test_a_frame_that_is_not_whole_waits() -> None:
    endpoint = mse_side().endpoint
    set_up(endpoint)
    whole, part = encoded(GRANTED, notify(0)), encoded(notify(1))[:-1]
    heard, _, _ = hear(endpoint, whole + part)
    assert heard == Heard(len(whole), 1, None)


def test_what_came_before_a_fault_counts_and_what_comes_after_it_is_not_looked_at() -> None:
    endpoint = mse_side().endpoint
    set_up(endpoint)
    wrong = encoded(VersionResponse(1, ResponseStatus.OK))  # not in a session that runs
    heard, receiver, seen = hear(endpoint, encoded(GRANTED, notify(0)) + wrong + encoded(notify(1)))
    assert heard.fault is not None
    assert heard.notifications == receiver.notifications == 1
    assert len(seen) == 1


def test_notifications_that_the_state_table_does_not_let_through_are_forgotten() -> None:
    endpoint = mse_side().endpoint
    set_up(endpoint)
    heard, receiver, seen = hear(endpoint, encoded(notify(0), GRANTED))
    assert heard.fault is not None
    assert (heard.notifications, receiver.notifications, seen) == (0, 0, [])


def test_over_datagrams_those_that_overtook_the_grant_are_left_out_and_counted() -> None:
    recorder = Recorder()
    endpoint = DatagramMseEndpoint(settings_of(1, recorder), 0, 0)
    endpoint.start(0)
    set_up(endpoint)
    heard, receiver, _ = hear(endpoint, encoded(notify(0), notify(1), GRANTED, notify(2)))
    assert heard.fault is None
    assert receiver.columns().sequence.tolist() == [2]
    assert (heard.notifications, recorder.counters["notify.early"]) == (1, 2)
