"""Setting a session up where messages get lost and come again: virtual time, and a test that decides what arrives."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from session_samples import CODEC, REPEATABLE, Side, histogram_values

from loadgen.measure.recorder import Recorder
from loadgen.nmsp.messages import (
    AirQualityNotify,
    Capability,
    CapabilityRequest,
    EchoRequest,
    EchoResponse,
    Message,
    SubscribeRequest,
    SubscribeResponse,
    VersionRequest,
    VersionResponse,
)
from loadgen.nmsp.session import State
from loadgen.scenario.requests import PlannedRequest
from loadgen.scenario.schema import SessionTable
from loadgen.session.asking import Pending, RequestKind, Transactions
from loadgen.session.datagrams import DatagramMseEndpoint, DatagramWlcEndpoint
from loadgen.session.link import EndpointSettings
from loadgen.units import NS_PER_S, Duration

RESPONSE_NS, RETRANSMIT_NS, MOST = NS_PER_S, 3 * NS_PER_S, 5
ECHO_NS, DEAD_NS = 60 * NS_PER_S, 150 * NS_PER_S


def _settings(mask: int, recorder: Recorder) -> EndpointSettings:
    return EndpointSettings(
        CODEC, recorder,
        mask=mask, setup_timeout_ns=1000 * NS_PER_S,
        timers=SessionTable(*map(Duration, (ECHO_NS, DEAD_NS, RESPONSE_NS, RETRANSMIT_NS)), max_retransmits=MOST),
    )  # fmt: skip


def _wlc() -> Side:
    recorder = Recorder()
    return Side(DatagramWlcEndpoint(_settings(0x68EBE7, recorder), 0), recorder)


def _mse() -> Side:
    recorder = Recorder()
    endpoint = DatagramMseEndpoint(_settings(1, recorder), 0, number=0)
    endpoint.start(0)
    return Side(endpoint, recorder)


def _state(side: Side) -> State:
    return side.endpoint.session.state


class TestMse:
    def test_a_request_without_an_answer_is_repeated_as_it_was(self) -> None:
        mse = _mse()
        said = mse.said()
        assert said == [(VersionRequest(1, 1), 1)]
        times = []
        while mse.fault is None:
            mse.tick(mse.deadline_ns)
            if again := mse.said():
                assert again == said
                times.append(mse.deadline_ns)
        # Each waits for the response timeout and then for the retransmit interval; the last one only for the timeout.
        period = RESPONSE_NS + RETRANSMIT_NS
        assert mse.recorder.counters["messages.retransmitted"] == len(times) == MOST
        assert mse.fault.kind == "no_response"
        assert mse.deadline_ns == MOST * period + RESPONSE_NS

    def test_an_answer_ends_the_repetition(self) -> None:
        mse = _mse()
        mse.take_outbox()
        mse.hear(VersionResponse(1, 0), 10, transaction=1)
        mse.hear(Capability(1), 20)
        assert mse.said() == [(SubscribeRequest(1), 2)]
        mse.hear(SubscribeResponse(1, 0), 30, transaction=2)
        assert _state(mse) is State.ACTIVE
        assert mse.deadline_ns >= ECHO_NS
        assert mse.recorder.counters["messages.retransmitted"] == 0
        assert histogram_values(mse.recorder, "handshake.session")[0] == 1

    def test_what_comes_again_changes_nothing(self) -> None:
        mse = _mse()
        answers: list[tuple[Message, int]] = [
            (VersionResponse(1, 0), 1),
            (Capability(1), 0),
            (SubscribeResponse(1, 0), 2),
        ]
        for index, (message, transaction) in enumerate(answers):
            mse.hear(message, 10, transaction)
            for earlier, number in answers[: index + 1]:
                before = _state(mse)
                mse.hear(earlier, 11, number)
                assert (mse.fault, _state(mse)) == (None, before)
        assert _state(mse) is State.ACTIVE
        assert mse.recorder.counters["messages.repeated"] == 1 + 2 + 3
        assert mse.recorder.counters["sessions.established"] == 0  # that is the driver's to count
        assert histogram_values(mse.recorder, "handshake.session")[0] == 1

    def test_a_capability_that_overtakes_waits_for_the_repetition(self) -> None:
        mse = _mse()
        mse.hear(Capability(1), 5)
        mse.hear(VersionResponse(1, 0), 6, transaction=1)
        assert mse.endpoint.session.turn == 2  # and not 3
        mse.take_outbox()
        mse.tick(mse.deadline_ns)
        assert mse.said() == [(VersionRequest(1, 1), 1)]
        mse.hear(VersionResponse(1, 0), mse.deadline_ns, transaction=1)
        mse.hear(Capability(1), mse.deadline_ns)
        assert mse.said() == [(SubscribeRequest(1), 2)]

    def test_a_response_to_another_request_is_still_an_error(self) -> None:
        mse = _mse()
        mse.hear(VersionResponse(1, 0), 5, transaction=9)
        assert mse.fault is not None
        assert mse.fault.kind == "wrong_transaction"

    def test_a_malformed_repetition_is_malformed(self) -> None:
        mse = _mse()
        mse.hear(VersionResponse(1, 0), 5, transaction=1)
        frame = bytearray(CODEC.encode(VersionResponse(1, 0), 1)) + b"\0"
        frame[4:8] = len(frame).to_bytes(4, "big")
        mse.feed(bytes(frame), 6)
        assert mse.fault is not None
        assert mse.fault.kind == "malformed"

    def _active(self) -> Side:
        mse = _mse()
        for message, transaction in ((VersionResponse(1, 0), 1), (Capability(1), 0), (SubscribeResponse(1, 0), 2)):
            mse.hear(message, 0, transaction)
        mse.take_outbox()
        return mse

    def test_a_lost_echo_is_asked_for_again_and_timed_from_when_it_was_due(self) -> None:
        mse = self._active()
        mse.tick(ECHO_NS)
        assert mse.said() == [(EchoRequest(), 3)]
        mse.tick(ECHO_NS + RESPONSE_NS + RETRANSMIT_NS)
        assert mse.said() == [(EchoRequest(), 3)]
        now = ECHO_NS + 5 * NS_PER_S
        for _ in range(2):  # the answers to both
            mse.hear(EchoResponse(), now, 3)
        assert mse.recorder.counters["echo.unmatched"] == 0
        assert mse.recorder.counters["messages.repeated"] == 1
        count, lowest, _ = histogram_values(mse.recorder, "echo.latency")
        assert count == 1
        assert lowest == pytest.approx(5 * NS_PER_S, rel=0.001)

    def test_an_echo_that_is_never_answered_does_not_keep_the_next_one(self) -> None:
        mse = self._active()
        asked = []
        while mse.deadline_ns < DEAD_NS:
            mse.tick(mse.deadline_ns)
            asked += [transaction for _, transaction in mse.said()]
        assert mse.fault is None
        assert set(asked) == {3, 4}
        assert asked.count(3) == 1 + MOST
        mse.tick(DEAD_NS)
        assert mse.fault is not None
        assert mse.fault.kind == "neighbor_dead"

    def test_a_later_answer_is_no_repetition(self) -> None:
        """A capability or subscription that was asked for once the session is up has a transaction of its own."""
        mse = self._active()
        mse.hear(Capability(1), 5, 0)
        assert mse.recorder.counters["messages.repeated"] == 1
        mse.hear(Capability(1), 5, 44)
        assert mse.recorder.counters["messages.repeated"] == 1

    def test_what_is_asked_in_a_running_session_is_not_the_endpoint_s_to_repeat(self) -> None:
        """The asker does that; an endpoint repeats setting up, and echoes."""
        mse = self._active()
        assert isinstance(mse.endpoint, DatagramMseEndpoint)
        transaction = mse.endpoint.ask(SubscribeRequest(3))
        assert mse.said() == [(SubscribeRequest(3), transaction)]
        while mse.deadline_ns < ECHO_NS:
            mse.tick(mse.deadline_ns)
        assert mse.said() == []
        assert (mse.fault, mse.recorder.counters["messages.retransmitted"]) == (None, 0)

    def test_transactions_that_come_round(self) -> None:
        """An answer to a later request that has the number of an earlier one is no repetition."""
        mse = self._active()
        assert isinstance(mse.endpoint, DatagramMseEndpoint)
        mse.hear(SubscribeResponse(1, 0), 5, 2)
        assert mse.recorder.counters["messages.repeated"] == 1
        mse.endpoint.asked = Transactions()
        request = CapabilityRequest()
        mse.endpoint.asked.remember(2, Pending(RequestKind(PlannedRequest("capability", 1.0)), request, b"", 0, 0))
        mse.hear(SubscribeResponse(1, 0), 6, 2)
        assert mse.recorder.counters["messages.repeated"] == 1
        assert mse.recorder.counters["requests.unmatched"] == 1  # for there is no asker

    def test_notifications_before_the_subscription_is_known(self) -> None:
        mse = _mse()
        mse.hear(VersionResponse(1, 0), 0, 1)
        mse.hear(Capability(1), 0)
        assert mse.endpoint.early  # type: ignore[attr-defined]
        mse.hear(AirQualityNotify(sequence=0, due_ns=0, sent_ns=0, subservice=7, records=()), 1)
        assert (mse.fault, mse.recorder.counters["notify.early"]) == (None, 1)

    def test_an_echo_response_that_nobody_asked_for(self) -> None:
        mse = self._active()
        mse.hear(EchoResponse(), 5, 77)
        assert (mse.fault, mse.recorder.counters["echo.unmatched"]) == (None, 1)


class TestWlc:
    def test_a_repeated_request_gets_the_same_answer(self) -> None:
        wlc = _wlc()
        wlc.hear(VersionRequest(1, 1), 0, 7)
        first = wlc.said()
        assert [transaction for _, transaction in first] == [7, 0]
        wlc.hear(VersionRequest(1, 1), 1, 7)
        assert wlc.said() == first
        wlc.hear(SubscribeRequest(3), 2, 8)
        second = wlc.said()
        # Also later: what overtook what is nobody's fault.
        for request, transaction, answer in ((VersionRequest(1, 1), 7, first), (SubscribeRequest(3), 8, second)):
            wlc.hear(request, 3, transaction)
            assert wlc.said() == answer
        assert _state(wlc) is State.ACTIVE
        assert wlc.recorder.counters["messages.repeated"] == 3
        assert wlc.fault is None

    def test_another_request_is_judged_as_ever(self) -> None:
        """One more subscription is in order, and has an answer of its own; another version request is not."""
        wlc = _wlc()
        wlc.hear(VersionRequest(1, 1), 0, 7)
        wlc.hear(SubscribeRequest(1), 0, 8)
        wlc.take_outbox()
        for _ in range(2):
            wlc.hear(SubscribeRequest(2), 1, 9)
            assert wlc.said() == [(SubscribeResponse(3, 0), 9)]
        assert (wlc.recorder.counters["requests.served"], wlc.recorder.counters["requests.repeated"]) == (2, 1)
        assert wlc.recorder.counters["messages.repeated"] == 0
        wlc.hear(VersionRequest(1, 1), 1, 99)
        assert wlc.fault is not None
        assert wlc.fault.kind == "unexpected_message"

    def test_a_refused_version_is_refused_again(self) -> None:
        wlc = _wlc()
        wlc.hear(VersionRequest(5, 6), 0, 1)
        refusal = wlc.said()
        wlc.hear(VersionRequest(5, 6), 1, 1)
        assert wlc.said() == refusal == [(VersionResponse(1, 1), 1)]


@REPEATABLE
@given(st.lists(st.sampled_from(["pass", "lose", "twice", "late"]), max_size=60))
def test_a_session_comes_up_whatever_the_line_does_if_only_it_stops(fates: list[str]) -> None:
    """Every datagram's fate is drawn; once fates run out, the line is good. Neither side finds fault with the other."""
    wlc, mse = _wlc(), _mse()
    mse.endpoint.settings.timers = msgspec.structs.replace(mse.endpoint.settings.timers, max_retransmits=100)
    late: list[tuple[Side, bytes]] = []
    now = 0

    def carry(sender: Side, other: Side) -> None:
        if not (data := sender.take_outbox()):
            return
        fate = fates.pop() if fates else "pass"
        copies = {"pass": 1, "lose": 0, "twice": 2, "late": 0}[fate]
        for _ in range(copies):
            other.feed(data, now)
        for target, held in late:
            target.feed(held, now)
        late.clear()
        if fate == "late":
            late.append((other, data))

    for _ in range(400):
        while wlc.endpoint.outbox or mse.endpoint.outbox:
            carry(mse, wlc)
            carry(wlc, mse)
        if mse.endpoint.active and wlc.endpoint.active:
            break
        now = mse.deadline_ns = max(now, mse.deadline_ns)
        mse.tick(now)
    assert (wlc.fault, mse.fault) == (None, None)
    assert mse.endpoint.active
    assert wlc.endpoint.active
    assert mse.endpoint.granted == wlc.endpoint.granted == 1
