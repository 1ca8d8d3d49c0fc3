"""A WLC and an MSE talk to each other: whole messages, seven bytes and single bytes at a time."""

from __future__ import annotations

import pytest
from session_samples import CODEC, DEAD_NS, ECHO_NS, SETUP_NS, Pair, Side, histogram_values, mse_side, notify, wlc_side

from loadgen.errors import LocalProtocolError
from loadgen.nmsp.messages import (
    Capability,
    EchoRequest,
    EchoResponse,
    Message,
    ResponseStatus,
    SubscribeRequest,
    SubscribeResponse,
    VersionRequest,
    VersionResponse,
)
from loadgen.nmsp.session import State
from loadgen.units import NS_PER_MS, NS_PER_S

PIECES = pytest.mark.parametrize("piece", [0, 7, 1])


def active_mse(now_ns: int = 0) -> Side:
    """An MSE whose subscription was granted at `now_ns` by a WLC that is only bytes here."""
    side = mse_side()
    _, transaction = side.said()[0]
    side.hear(VersionResponse(1, ResponseStatus.OK), now_ns, transaction)
    side.hear(Capability(1), now_ns)
    _, transaction = side.said()[0]
    side.hear(SubscribeResponse(1, ResponseStatus.OK), now_ns, transaction)
    assert side.endpoint.active
    return side


# -- setting up --------------------------------------------------------------------------------------------------------


@PIECES
def test_both_become_active(piece: int) -> None:
    pair = Pair(offers=0x68EBE7, wants=0x23, piece=piece, started_ns=7 * NS_PER_S)
    pair.now_ns += 250 * NS_PER_MS
    pair.settle()
    assert pair.wlc.endpoint.active
    assert pair.mse.endpoint.active
    assert (pair.wlc.fault, pair.mse.fault) == (None, None)
    count, low, high = histogram_values(pair.mse.recorder, "handshake.session")
    assert count == 1
    assert low <= 250 * NS_PER_MS <= high


@PIECES
@pytest.mark.parametrize(
    ("offers", "wants"), [(0x68EBE7, 0x21), (0x68EBE7, 1 << 3 | 1), (1, (1 << 23) - 1), (0x3FFFFF, 1 << 21)]
)
def test_what_is_granted_was_offered_and_asked_for(offers: int, wants: int, piece: int) -> None:
    pair = Pair(offers, wants, piece)
    pair.settle()
    granted = {bit for bit in range(64) if offers >> bit & 1 and wants >> bit & 1}
    for side in (pair.wlc, pair.mse):
        assert {bit for bit in range(64) if side.endpoint.granted >> bit & 1} == granted


def test_the_words_of_the_conversation() -> None:
    mse, wlc = mse_side(wants=0x21), wlc_side(offers=0x68EBE7)
    ((message, first),) = mse.said()
    assert message == VersionRequest(1, 1)
    wlc.hear(message, 0, first)
    assert wlc.said() == [(VersionResponse(1, ResponseStatus.OK), first), (Capability(0x68EBE7), 0)]
    mse.hear(VersionResponse(1, ResponseStatus.OK), 0, first)
    assert mse.said() == []
    mse.hear(Capability(0x68EBE7), 0)
    ((message, second),) = mse.said()
    assert message == SubscribeRequest(0x21)
    assert second != first
    wlc.hear(message, 0, second)
    assert wlc.said() == [(SubscribeResponse(0x21, ResponseStatus.OK), second)]
    assert wlc.endpoint.active
    assert not mse.endpoint.active
    mse.hear(SubscribeResponse(0x21, ResponseStatus.OK), 0, second)
    assert mse.endpoint.active
    assert mse.said() == []


@pytest.mark.parametrize(("lowest", "highest", "agreed"), [(1, 1, True), (0, 9, True), (2, 5, False), (0, 0, False)])
def test_a_wlc_answers_every_range_of_versions(lowest: int, highest: int, agreed: bool) -> None:
    wlc = wlc_side()
    wlc.hear(VersionRequest(lowest, highest), 0, 77)
    answer, *rest = wlc.said()
    assert answer == (VersionResponse(1, ResponseStatus.OK if agreed else ResponseStatus.UNSUPPORTED_VERSION), 77)
    assert [type(message) for message, _ in rest] == ([Capability] if agreed else [])
    assert wlc.fault is None


@pytest.mark.parametrize(
    "answer", [VersionResponse(1, 1), VersionResponse(2, 0), VersionResponse(0, 0), VersionResponse(1, 9)]
)
def test_an_mse_leaves_when_its_version_is_refused(answer: Message) -> None:
    mse = mse_side()
    _, transaction = mse.said()[0]
    mse.hear(answer, 0, transaction)
    assert mse.fault is not None
    assert mse.fault.kind == "version_refused"
    assert mse.said() == []


@PIECES
def test_nothing_granted(piece: int) -> None:
    pair = Pair(offers=0b1100, wants=0b0011, piece=piece)
    pair.settle()
    assert pair.mse.fault is not None
    assert pair.mse.fault.kind == "nothing_granted"
    assert pair.wlc.endpoint.granted == 0
    assert histogram_values(pair.mse.recorder, "handshake.session") == (0, 0, 0)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (SubscribeResponse(0, 0), "nothing_granted"),
        (SubscribeResponse(1, 2), "nothing_granted"),
        (SubscribeResponse(3, 0), "granted_too_much"),
        (SubscribeResponse(1 << 63 | 1, 0), "granted_too_much"),
    ],
)
def test_grants_that_an_mse_does_not_take(answer: Message, kind: str) -> None:
    mse = mse_side(wants=1)
    _, first = mse.said()[0]
    mse.hear(VersionResponse(1, 0), 0, first)
    mse.hear(Capability(3), 0)
    _, second = mse.said()[0]
    mse.hear(answer, 0, second)
    assert mse.fault is not None
    assert mse.fault.kind == kind
    assert mse.endpoint.granted == 0


@pytest.mark.parametrize("off_by", [-1, 1, 1000])
@pytest.mark.parametrize("at_version", [True, False])
def test_an_answer_to_another_request(off_by: int, at_version: bool) -> None:
    mse = mse_side()
    _, transaction = mse.said()[0]
    if not at_version:
        mse.hear(VersionResponse(1, 0), 0, transaction)
        mse.hear(Capability(1), 0)
        _, transaction = mse.said()[0]
    answer: Message = VersionResponse(1, 0) if at_version else SubscribeResponse(1, 0)
    mse.hear(answer, 0, transaction + off_by)
    assert mse.fault is not None
    assert mse.fault.kind == "wrong_transaction"


# -- what must not be said ---------------------------------------------------------------------------------------------


def test_a_notification_before_the_subscription_is_refused() -> None:
    before: list[tuple[Message, int]] = [
        (VersionResponse(1, 0), 1),
        (Capability(1), 0),
    ]
    for said in range(len(before) + 1):
        mse = mse_side()
        mse.said()
        for message, transaction in before[:said]:
            mse.hear(message, 0, transaction)
        mse.feed(CODEC.encode(notify(0)) + CODEC.encode(notify(1)), 0)
        assert mse.fault is not None
        assert mse.fault.kind == "unexpected_message"
        assert mse.endpoint.session.state is State.ERROR
        assert mse.received == []  # none of them counts


def test_a_notification_from_an_mse_is_refused() -> None:
    pair = Pair()
    pair.settle()
    pair.wlc.hear(notify(0), 0)
    assert pair.wlc.fault is not None
    assert pair.wlc.fault.kind == "unexpected_message"
    assert "from the MSE" in str(pair.wlc.fault)
    assert pair.wlc.received == []


def test_notifications_before_a_fault_count() -> None:
    mse = active_mse()
    stream = b"".join(CODEC.encode(notify(i)) for i in range(20))
    mse.feed(stream + CODEC.encode(VersionResponse(1, 0)) + CODEC.encode(notify(20)), 5)
    assert mse.received == list(range(20))
    assert mse.fault is not None
    assert mse.fault.kind == "unexpected_message"


def test_an_endpoint_of_ours_cannot_speak_out_of_turn() -> None:
    wlc = wlc_side()
    with pytest.raises(LocalProtocolError):
        wlc.endpoint.say(notify(0))
    assert wlc.take_outbox() == b""
    mse = active_mse()
    with pytest.raises(LocalProtocolError):
        mse.endpoint.say(notify(0))


def test_a_malformed_body_ends_the_link() -> None:
    wlc = wlc_side()
    frame = bytearray(CODEC.encode(VersionRequest(1, 1), 1)) + b"\0"
    frame[7] += 1  # the length says so
    wlc.feed(bytes(frame), 0)
    assert wlc.fault is not None
    assert wlc.fault.kind == "malformed"


@PIECES
def test_an_unknown_message_is_counted_and_the_link_stays(piece: int) -> None:
    pair = Pair(piece=piece)
    unknown = CODEC.encode(EchoRequest(), 5).replace(b"\x00\x06", b"\x42\x42", 1)
    pair.mse.endpoint.outbox.insert(0, unknown)  # even before the first word
    pair.settle()
    assert pair.wlc.endpoint.active
    for side in (pair.wlc, pair.mse):
        side.feed(unknown * 3, 0)
        assert side.fault is None
        assert side.endpoint.active
        assert side.take_outbox() == b""
    assert pair.wlc.recorder.counters["messages.unsupported"] == 4
    assert pair.mse.recorder.counters["messages.unsupported"] == 3


# -- a session that is up ----------------------------------------------------------------------------------------------


@PIECES
def test_notifications_arrive(piece: int) -> None:
    pair = Pair(piece=piece)
    pair.settle()
    for sequence in range(30):
        pair.wlc.endpoint.say(notify(sequence))
    pair.settle()
    assert pair.mse.received == list(range(30))
    assert pair.mse.tail == b""
    assert pair.mse.endpoint.active


@PIECES
def test_echoes_go_every_fifteen_seconds_and_are_answered(piece: int) -> None:
    pair = Pair(piece=piece)
    pair.run_until(ECHO_NS - 1)
    assert pair.mse.recorder.counters["echo.sent"] == 0
    pair.run_until(ECHO_NS)
    assert pair.mse.recorder.counters["echo.sent"] == pair.wlc.recorder.counters["echo.answered"] == 1
    pair.run_until(20 * ECHO_NS)
    assert pair.mse.recorder.counters["echo.sent"] == pair.wlc.recorder.counters["echo.answered"] == 20
    assert histogram_values(pair.mse.recorder, "echo.service") == (20, 0, 0)
    assert pair.mse.recorder.counters["echo.unmatched"] == 0
    assert (pair.wlc.fault, pair.mse.fault) == (None, None)


def test_the_round_trip_is_from_request_to_answer() -> None:
    mse = active_mse()
    mse.tick(ECHO_NS)
    ((message, transaction),) = mse.said()
    assert message == EchoRequest()
    mse.hear(EchoResponse(), ECHO_NS + 1234, transaction)
    assert histogram_values(mse.recorder, "echo.service") == (1, 1234, 1234)


def test_echoes_that_nobody_asked_for() -> None:
    mse = active_mse()
    mse.hear(EchoResponse(), 1, 2)
    assert mse.recorder.counters["echo.unmatched"] == 1
    mse.tick(ECHO_NS)
    _, transaction = mse.said()[0]
    mse.hear(EchoResponse(), ECHO_NS + 1, transaction + 1)
    assert mse.recorder.counters["echo.unmatched"] == 2
    mse.hear(EchoResponse(), ECHO_NS + 2, transaction)
    mse.hear(EchoResponse(), ECHO_NS + 3, transaction)  # a second answer
    assert mse.recorder.counters["echo.unmatched"] == 3
    assert histogram_values(mse.recorder, "echo.service") == (1, 2, 2)
    assert mse.fault is None
    assert mse.endpoint.active


def test_an_echo_without_an_answer_is_not_asked_again() -> None:
    """The dead interval decides; notifications are a sign of life. When one is given up, another goes out."""
    mse = active_mse()
    asked = []
    for second in range(1, 100):
        now = second * NS_PER_S
        mse.hear(notify(second), now)
        mse.tick(now)
        asked += [transaction for _, transaction in mse.said()]
    assert (
        len(set(asked))
        == len(asked)
        == mse.recorder.counters["echo.sent"]
        == 99 * NS_PER_S // max(ECHO_NS, DEAD_NS // 2)
    )
    assert mse.fault is None


@pytest.mark.parametrize("transaction", [1, 0xFFFF, 0xFFFFFFFF])
def test_a_wlc_echoes_any_transaction(transaction: int) -> None:
    pair = Pair()
    pair.settle()
    pair.wlc.hear(EchoRequest(), 0, transaction)
    assert pair.wlc.said() == [(EchoResponse(), transaction)]


# -- time --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [wlc_side, mse_side], ids=["wlc", "mse"])
@pytest.mark.parametrize("started_ns", [0, 123_456_789])
def test_a_session_that_is_not_set_up_in_time(make: type[Side], started_ns: int) -> None:
    side = make(started_ns=started_ns)
    assert side.deadline_ns == started_ns + SETUP_NS
    side.tick(started_ns + SETUP_NS - 1)
    assert side.fault is None
    side.tick(started_ns + SETUP_NS)
    assert side.fault is not None
    assert side.fault.kind == "setup_timeout"


def test_talking_does_not_stretch_the_time_to_set_up() -> None:
    mse = mse_side()
    _, transaction = mse.said()[0]
    mse.hear(VersionResponse(1, 0), SETUP_NS - 2, transaction)
    mse.hear(Capability(1), SETUP_NS - 1)
    assert mse.endpoint.on_timer(SETUP_NS - 1) == SETUP_NS
    mse.tick(SETUP_NS)
    assert mse.fault is not None
    assert mse.fault.kind == "setup_timeout"


def test_both_notice_a_wire_that_was_cut() -> None:
    """The MSE heard the answer to its echo at 15 s, the WLC that echo: both give up 30 s later, not earlier."""
    pair = Pair()
    pair.run_until(ECHO_NS)
    pair.cut = True
    pair.run_until(ECHO_NS + DEAD_NS - 1)
    assert (pair.wlc.fault, pair.mse.fault) == (None, None)
    pair.run_until(ECHO_NS + DEAD_NS)
    for side in (pair.wlc, pair.mse):
        assert side.fault is not None
        assert side.fault.kind == "neighbor_dead"


def test_any_message_is_a_sign_of_life() -> None:
    mse = active_mse()
    mse.hear(notify(0), 20 * NS_PER_S)
    assert mse.endpoint.on_timer(21 * NS_PER_S) <= 50 * NS_PER_S
    mse.tick(50 * NS_PER_S - 1)
    assert mse.fault is None
    mse.deadline_ns = 0
    mse.tick(50 * NS_PER_S)
    assert mse.fault is not None
    assert mse.fault.kind == "neighbor_dead"


def test_a_wlc_whose_mse_falls_silent() -> None:
    pair = Pair()
    pair.settle()
    pair.wlc.tick(DEAD_NS - 1)
    assert pair.wlc.fault is None
    pair.wlc.tick(DEAD_NS)
    assert pair.wlc.fault is not None
    assert pair.wlc.fault.kind == "neighbor_dead"


def test_a_late_timer_sends_one_echo_not_all_that_were_missed() -> None:
    mse = active_mse()
    mse.hear(notify(0), 5 * ECHO_NS)  # alive, but our loop stood still for five intervals
    mse.tick(5 * ECHO_NS)
    assert [type(message) for message, _ in mse.said()] == [EchoRequest]
    assert mse.deadline_ns == 6 * ECHO_NS
    assert mse.fault is None


@PIECES
def test_ten_minutes_of_echoes_and_notifications(piece: int) -> None:
    """Times that do not fall together: nothing is lost, nobody is taken for dead."""
    pair = Pair(piece=piece)
    sent = 0
    for now in range(0, 600 * NS_PER_S, 7 * NS_PER_S + 1):
        pair.run_until(now)
        pair.wlc.endpoint.say(notify(sent))
        sent += 1
    pair.run_until(600 * NS_PER_S)
    assert pair.mse.received == list(range(sent))
    assert pair.mse.recorder.counters["echo.sent"] == 40
    assert histogram_values(pair.mse.recorder, "echo.service")[0] == 40
