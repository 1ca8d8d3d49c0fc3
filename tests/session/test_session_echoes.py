"""Echoes are due at equal intervals, whatever the other end does: what waits is late, what is not sent is counted."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from session_samples import CODEC, DEAD_NS, SETUP_NS, Side, histogram_values, notify

from loadgen.measure.recorder import Recorder
from loadgen.nmsp.messages import Capability, EchoResponse, ResponseStatus, SubscribeResponse, VersionResponse
from loadgen.scenario.schema import SessionTable
from loadgen.session.datagrams import DatagramMseEndpoint
from loadgen.session.link import EndpointSettings
from loadgen.session.mse import MseEndpoint
from loadgen.units import NS_PER_MS, NS_PER_S, Duration

EVERY_NS = 100 * NS_PER_MS


def active_mse(endpoint_class: type[MseEndpoint] = MseEndpoint) -> Side:
    """An MSE that echoes every 100 ms, active at 0."""
    recorder = Recorder()
    settings = EndpointSettings(
        CODEC,
        recorder,
        mask=1,
        setup_timeout_ns=SETUP_NS,
        timers=SessionTable(Duration(EVERY_NS), Duration(DEAD_NS)),
    )
    endpoint = endpoint_class(settings, 0, number=0)
    endpoint.start(0)
    side = Side(endpoint, recorder)
    for message, transaction in (
        (VersionResponse(1, ResponseStatus.OK), 1),
        (Capability(1), 0),
        (SubscribeResponse(1, 0), 2),
    ):
        side.hear(message, 0, transaction)
    side.take_outbox()
    return side


def balanced(mse: Side, now_ns: int) -> Counter[str]:
    """The session ends: what came of all echoes."""
    assert isinstance(mse.endpoint, MseEndpoint)
    mse.endpoint.stop(now_ns)
    mse.endpoint.settle()
    count = mse.recorder.counters
    assert count["echo.due"] == count["echo.sent"] + count["echo.dropped"]
    assert count["echo.sent"] == count["echo.received"] + count["echo.unanswered"] + count["echo.withdrawn"]
    return count


def test_a_wlc_that_stands_still_for_2_s_in_10() -> None:
    """One in five echoes is due while it does: they wait evenly up to 2 s, so that one in ten waits 1 s and more."""
    mse, now, answer = active_mse(), 0, None
    end_ns = 100 * NS_PER_S
    while True:
        due = [mse.deadline_ns] if answer is None else [mse.deadline_ns, answer[0]]
        if (now := min(due)) >= end_ns:
            break
        if answer is not None and answer[0] == now:
            transaction, answer = answer[1], None
            mse.hear(EchoResponse(), now, transaction)
        mse.tick(now)
        for _, asked in mse.said():
            assert answer is None, "one at a time"
            phase = now % (10 * NS_PER_S)
            answer = (now + 2 * NS_PER_S - phase if phase < 2 * NS_PER_S else now + NS_PER_MS, asked)
    latency = mse.recorder.bins("echo.latency").take()
    service = mse.recorder.bins("echo.service").take()
    assert latency is not None
    assert service is not None
    p50, p90 = latency.percentiles(50.0, 90.0)
    assert p50 < 10 * NS_PER_MS
    assert abs(p90 - NS_PER_S) < 0.06 * NS_PER_S  # steps of an interval, and the answers that catch up
    assert abs(latency.summary().max - 2 * NS_PER_S) < 0.11 * NS_PER_S
    assert service.percentiles(90.0)[0] < 10 * NS_PER_MS  # which does not see it
    count = balanced(mse, end_ns)
    assert count["echo.due"] == 999  # what becomes due as we leave is not
    assert count["echo.dropped"] == 0


def test_what_is_owed_goes_out_with_the_answer_and_its_own_due_time() -> None:
    mse = active_mse()
    mse.tick(EVERY_NS)
    ((_, first),) = mse.said()
    mse.tick(3 * EVERY_NS)
    assert mse.said() == []
    mse.hear(EchoResponse(), 3 * EVERY_NS + 7, first)
    ((_, second),) = mse.said()
    mse.hear(EchoResponse(), 3 * EVERY_NS + 9, second)
    count, least, most = histogram_values(mse.recorder, "echo.lag")
    assert (count, least) == (3, 0)
    assert EVERY_NS < most < 1.001 * EVERY_NS
    ((_, third),) = mse.said()
    mse.hear(EchoResponse(), 3 * EVERY_NS + 9, third)
    assert mse.said() == []
    assert balanced(mse, 3 * EVERY_NS + 10)["echo.received"] == 3


@pytest.mark.parametrize("endpoint_class", [MseEndpoint, DatagramMseEndpoint])
def test_the_lag_of_an_echo_that_is_never_answered_counts(endpoint_class: type[MseEndpoint]) -> None:
    """As that of every request does: what is sent late is late, whatever becomes of it."""
    mse = active_mse(endpoint_class)
    mse.tick(EVERY_NS)
    ((_, first),) = mse.said()
    mse.hear(EchoResponse(), EVERY_NS + 1, first)
    mse.tick(2 * EVERY_NS + 5)
    assert len(mse.said()) == 1
    count = balanced(mse, 2 * EVERY_NS + 6)
    assert (count["echo.sent"], count["echo.withdrawn"]) == (2, 1)
    assert histogram_values(mse.recorder, "echo.lag") == (2, 0, 5)


def test_what_is_owed_is_bounded_by_the_dead_interval() -> None:
    """A WLC that notifies and never answers is alive: two echoes a dead interval go out, the others are given up."""
    mse = active_mse()
    sent_ns = []
    for second in range(1, 101):
        mse.hear(notify(second), second * NS_PER_S)
        mse.tick(second * NS_PER_S)
        sent_ns += [second * NS_PER_S] * len(mse.said())
    assert sent_ns == list(range(NS_PER_S, 100 * NS_PER_S + 1, DEAD_NS // 2))
    count = mse.recorder.counters
    assert (count["echo.due"], count["echo.sent"]) == (1000, len(sent_ns))
    assert count["echo.unanswered"] == len(sent_ns) - 1
    count = balanced(mse, 100 * NS_PER_S)
    assert (count["echo.dropped"], count["echo.unanswered"]) == (1000 - len(sent_ns), len(sent_ns))


def test_one_answer_that_is_forgotten_does_not_have_the_wlc_drop_us() -> None:
    """The second echo alone is never answered: the next one goes out in time, with its own due time."""
    mse, now, sent_ns = active_mse(), 0, []
    while now < 3 * DEAD_NS:
        now = mse.deadline_ns
        mse.hear(notify(0), now)
        mse.tick(now)
        while said := mse.said():
            ((_, asked),) = said
            sent_ns.append(now)
            if len(sent_ns) != 2:
                mse.hear(EchoResponse(), now, asked)
    assert max(b - a for a, b in itertools.pairwise(sent_ns)) == DEAD_NS // 2
    count = balanced(mse, now)
    assert count["echo.unanswered"] == 1
    # All that was due meanwhile is younger than a dead interval.
    assert count["echo.dropped"] == 0
    assert count["echo.received"] == count["echo.due"] - 1


def test_nothing_is_asked_after_our_goodbye() -> None:
    """What was under way may still be answered."""
    mse = active_mse()
    assert isinstance(mse.endpoint, MseEndpoint)
    mse.tick(EVERY_NS)
    ((_, first),) = mse.said()
    mse.tick(2 * EVERY_NS)
    mse.endpoint.stop(3 * EVERY_NS)
    mse.hear(EchoResponse(), 3 * EVERY_NS, first)
    assert mse.said() == []
    count = balanced(mse, 4 * EVERY_NS)
    assert (count["echo.due"], count["echo.received"], count["echo.dropped"]) == (3, 1, 2)


def test_an_answer_that_comes_twice_while_the_next_echo_is_under_way() -> None:
    mse = active_mse(DatagramMseEndpoint)
    mse.tick(EVERY_NS)
    ((_, first),) = mse.said()
    mse.tick(2 * EVERY_NS)
    for _ in range(2):
        mse.hear(EchoResponse(), 2 * EVERY_NS, first)
    assert len(mse.said()) == 1
    count = balanced(mse, 2 * EVERY_NS)
    assert (count["messages.repeated"], count["echo.unmatched"], count["echo.received"]) == (1, 0, 1)


def test_datagrams_that_are_never_answered() -> None:
    """The next one that is owed goes out when one is given up, and is repeated as well."""
    mse = active_mse(DatagramMseEndpoint)
    asked = Counter[int]()
    while mse.deadline_ns < 50 * NS_PER_S:
        mse.hear(notify(0), mse.deadline_ns)
        mse.tick(mse.deadline_ns)
        asked.update(transaction for _, transaction in mse.said())
    assert list(asked.values())[:2] == [6, 6]
    count = balanced(mse, 50 * NS_PER_S)
    assert count["echo.unanswered"] == count["echo.sent"] == len(asked) == 3


@pytest.mark.parametrize(("waited_ns", "withdrawn"), [(EVERY_NS - 1, 1), (EVERY_NS, 0)])
def test_an_echo_that_is_under_way_when_a_session_ends_is_withdrawn_while_it_has_time(
    waited_ns: int, withdrawn: int
) -> None:
    mse = active_mse()
    mse.tick(EVERY_NS)
    assert len(mse.said()) == 1
    count = balanced(mse, EVERY_NS + waited_ns)
    assert (count["echo.withdrawn"], count["echo.unanswered"]) == (withdrawn, 1 - withdrawn)


def test_what_became_due_just_before_we_leave_is_not_owed() -> None:
    """A loop that is late by a millisecond has not asked for it; a WLC that holds an earlier one up has it waiting."""
    mse = active_mse()
    assert balanced(mse, EVERY_NS + 1)["echo.due"] == 0
    slow = active_mse()
    slow.tick(EVERY_NS)
    count = balanced(slow, 3 * EVERY_NS)
    assert (count["echo.due"], count["echo.sent"], count["echo.dropped"]) == (3, 1, 2)
