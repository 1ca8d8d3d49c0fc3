"""WLCs whose clocks are not ours, in virtual time: what is planted is found, and durations are what they were."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import msgspec
import numpy as np
import pytest
from session_samples import ECHO_NS, histogram_values, mse_side

from loadgen.measure.clock_readings import ClockReading, Clocks, Sides, merged
from loadgen.measure.clocks import PeerClocks
from loadgen.measure.histogram import MetricSummary
from loadgen.measure.merge import Merger
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.bulk import Columns
from loadgen.nmsp.messages import Capability, EchoResponse, ResponseStatus, SubscribeResponse, VersionResponse
from loadgen.report.clocks import clock_lines
from loadgen.results import thresholds
from loadgen.session.reception import Reception

NS_PER_S, NS_PER_MS, NS_PER_US = 10**9, 10**6, 10**3
TO_UNIX_NS = 1_795_000_000_000_000_000
# The way there and back takes as long, but for what a queue adds now and then.
TRANSIT_NS = 200 * NS_PER_US
JITTER_NS = 300 * NS_PER_US
BEGIN_NS = 5 * NS_PER_S


class Wlc(NamedTuple):
    """What is planted.

    Attributes:
        ahead_ns: of our clock, at a time of ours.
        delay_ns: what each notification, and each answer to an echo, takes longer; sent when it is due, as it says.
        held_ns: for how long it holds a notification that it says it has sent. Echoes are answered at once.
        released_ns: when what is due is sent.
        answers_late: whether answers take the delay, too.
        stretch: how much later than its time something comes.
    """

    ahead_ns: Callable[[int], int] = lambda _now_ns: 0
    delay_ns: int = 0
    held_ns: Callable[[int], int] = lambda _now_ns: 0
    released_ns: Callable[[int], int] = lambda due_ns: due_ns
    stretch: Callable[[int], int] = lambda _now_ns: 0
    name: str = "192.0.2.1:16113"


class Measured(NamedTuple):
    metrics: dict[str, MetricSummary]
    counters: dict[str, int]
    clocks: Clocks
    truth: list[int]  # of every latency

    @property
    def reading(self) -> ClockReading:
        (reading,) = self.clocks.readings
        return reading


def always(ahead_ns: int) -> Callable[[int], int]:
    return lambda _now_ns: ahead_ns


def due_at(number: int, per_s: int, first_ns: int = 20 * NS_PER_MS) -> int:
    """Of a notification. No clock that goes on by ns says times that are whole ms apart."""
    return BEGIN_NS + first_ns + number * NS_PER_S // per_s + 11 * number % 97


def measured(
    wlcs: Sequence[Wlc], seconds: int = 20, per_s: int = 50, echo_ns: int = NS_PER_S, first_ns: int = 20 * NS_PER_MS
) -> Measured:
    """One session with each WLC, whose notifications begin `first_ns` after the subscription's answer."""
    rng = random.Random(20)
    recorder = Recorder()
    clocks = recorder.clocks = PeerClocks([wlc.name for wlc in wlcs])
    reception = Reception(recorder, len(wlcs), TO_UNIX_NS, our_schedule=False)

    def way(at_ns: int, wlc: Wlc) -> int:
        return TRANSIT_NS + rng.randrange(JITTER_NS) + wlc.stretch(at_ns)

    events: list[tuple[int, int, int, tuple[int, ...]]] = []  # when, row, kind, what
    for row, wlc in enumerate(wlcs):
        answered = BEGIN_NS + way(BEGIN_NS, wlc) + TRANSIT_NS
        clocks.set_up(row, BEGIN_NS, answered)
        reception.open(row, 1)
        for number in range(1, seconds * NS_PER_S // echo_ns):
            asked = BEGIN_NS + number * echo_ns
            answered = asked + way(asked, wlc) + TRANSIT_NS + wlc.delay_ns
            events.append((answered, row, 0, (asked,)))
        for number in range(seconds * per_s):
            due = due_at(number, per_s, first_ns)
            sent = wlc.released_ns(due)
            held = wlc.delay_ns + wlc.held_ns(sent)
            events.append((sent + way(sent, wlc) + held, row, 1, (due, sent)))
    # A stream keeps its order: what stands behind something else comes no earlier.
    merger, taken = Merger(), 0
    truth, sequences, last = [], [0] * len(wlcs), [0] * len(wlcs)
    for at_ns, row, kind, what in sorted(events):
        done = last[row] = max(at_ns, last[row])
        if done > BEGIN_NS + taken * seconds * NS_PER_S // 4:
            merger.add("mse-0", recorder.take(taken))
            taken += 1
        if kind == 0:
            clocks.round_trip(row, what[0], done)
            reception.settle_grants()
            continue
        due, sent = what
        truth.append(done - due)
        told = [np.array([time + wlcs[row].ahead_ns(time) + TO_UNIX_NS]) for time in what]
        reception.absorb(Columns(np.array([sequences[row]]), *told, np.zeros(1, np.int64)), [row], [1], [done])
        sequences[row] += 1
    merger.add("mse-0", recorder.take(taken))
    return Measured(merger.metrics({""}), dict(merger.counters()), merger.clocks(), truth)


def assert_true(found: Measured, within_ns: int) -> None:
    """Latencies are what they really were, but for that."""
    assert "clock.clamped" not in found.counters
    for percent, name in ((50, "p50"), (90, "p90"), (99, "p99"), (100, "max")):
        truth = float(np.percentile(found.truth, percent, method="inverted_cdf"))
        assert getattr(found.metrics["notify.latency"], name) == pytest.approx(truth, abs=within_ns, rel=0.02), name


def assert_raw(found: Measured) -> None:
    assert found.clocks.corrected == found.reading.corrected == 0
    assert_true(found, 0)


@pytest.mark.parametrize("ahead_s", [2, -2, 3600 * 24 * 365 * 50, -3600 * 24 * 365 * 50])
def test_a_clock_that_is_wrong_is_put_right(ahead_s: int) -> None:
    found = measured([Wlc(always(ahead_s * NS_PER_S))])
    assert_true(found, TRANSIT_NS)
    reading = found.reading
    assert reading.corrected == reading.sessions == 1
    assert reading.offset_ns == pytest.approx(ahead_s * NS_PER_S, abs=reading.uncertainty_ns)
    assert reading.uncertainty_ns <= TRANSIT_NS + JITTER_NS
    assert (reading.drift_ppb, reading.steps) == (None, 0)  # not known in so short a time
    assert found.clocks.less_ns == reading.uncertainty_ns
    # Behind, it may be a WLC that holds what it says it has sent.
    assert found.clocks.held_ns == pytest.approx(max(0, -ahead_s) * NS_PER_S, abs=TRANSIT_NS + JITTER_NS)
    assert found.clocks.more_ns == reading.uncertainty_ns + found.clocks.held_ns


@pytest.mark.parametrize("ahead_ns", [0, 150 * NS_PER_US, -150 * NS_PER_US])
def test_what_is_less_than_the_uncertainty_is_left_alone(ahead_ns: int) -> None:
    found = measured([Wlc(always(ahead_ns))])
    assert found.reading.corrected == 0
    assert found.reading.offset_ns == pytest.approx(ahead_ns, abs=found.reading.uncertainty_ns)
    assert_true(found, abs(ahead_ns) + NS_PER_US)
    assert found.clocks.more_ns <= 2 * TRANSIT_NS + JITTER_NS
    # A clock that is behind by the whole way would show the same: then there was no way at all.
    assert TRANSIT_NS <= found.clocks.less_ns + ahead_ns <= TRANSIT_NS + JITTER_NS
    assert found.clocks.held_ns == 0


@pytest.mark.parametrize("ahead_ns", [NS_PER_MS, -100 * NS_PER_MS])
def test_a_little_is_found_too(ahead_ns: int) -> None:
    found = measured([Wlc(always(ahead_ns))])
    assert found.reading.corrected == 1
    assert found.reading.offset_ns == pytest.approx(ahead_ns, abs=found.reading.uncertainty_ns)
    assert_true(found, TRANSIT_NS)


def test_the_first_round_trip_is_that_of_the_subscription() -> None:
    """Echoes that come too late to help."""
    for ahead_ns in (2 * NS_PER_S, -2 * NS_PER_S):
        found = measured([Wlc(always(ahead_ns))], seconds=10, echo_ns=15 * NS_PER_S)
        assert_true(found, TRANSIT_NS)
        assert found.reading.offset_ns == pytest.approx(ahead_ns, abs=found.reading.uncertainty_ns)


@pytest.mark.parametrize("ppm", [100, -100, 30])
def test_drift_is_followed_for_an_hour(ppm: int) -> None:
    found = measured(
        [Wlc(lambda now_ns: (now_ns - BEGIN_NS) * ppm // 10**6)], seconds=3600, per_s=1, echo_ns=15 * NS_PER_S
    )
    # Until it shows, which for a clock that falls behind takes as much as notifications are apart.
    assert found.metrics["notify.latency"].p50 == pytest.approx(np.percentile(found.truth, 50), abs=2 * NS_PER_MS)
    assert found.reading.offset_ns == pytest.approx(3600 * ppm * NS_PER_US, abs=2 * NS_PER_MS)
    assert found.reading.drift_ppb == pytest.approx(1000 * ppm, abs=found.reading.drift_uncertainty_ppb)
    assert found.reading.drift_uncertainty_ppb < 1000
    assert found.reading.steps == 0
    assert "clock.clamped" not in found.counters


@pytest.mark.parametrize("echo_s", [1, 15])
@pytest.mark.parametrize("ppm", [150, -150])
@pytest.mark.parametrize("ahead_ns", [0, NS_PER_S, -NS_PER_S])
def test_half_a_minute_tells_a_drift_that_is_strong(ahead_ns: int, ppm: int, echo_s: int) -> None:
    wlc = Wlc(lambda now_ns: ahead_ns + (now_ns - BEGIN_NS) * ppm // 10**6)
    reading = measured([wlc], seconds=31, per_s=20, echo_ns=echo_s * NS_PER_S).reading
    assert reading.drift_ppb == pytest.approx(1000 * ppm, abs=reading.drift_uncertainty_ppb)
    assert 0 < reading.drift_uncertainty_ppb < 100_000


def test_one_that_loses_was_not_put_back() -> None:
    """Between two windows, too: what comes right behind a question says where it is, a minimum where it was."""
    wlc = Wlc(lambda now_ns: NS_PER_S // 2 - (now_ns - BEGIN_NS) // 10_000)
    reading = measured([wlc], seconds=31, per_s=500).reading
    assert reading.steps == 0
    assert reading.drift_ppb == pytest.approx(-100_000, abs=reading.drift_uncertainty_ppb)


def test_no_drift_is_not_known_at_once() -> None:
    assert measured([Wlc(always(NS_PER_S))], seconds=20).reading.drift_ppb is None
    reading = measured([Wlc(always(NS_PER_S))], seconds=120, per_s=20).reading
    assert reading.drift_ppb == pytest.approx(0, abs=reading.drift_uncertainty_ppb)
    assert 0 < reading.drift_uncertainty_ppb <= 10_000


def test_what_gains_more_than_a_clock_can_has_no_drift() -> None:
    """2 %; and a queue that begins and stays, which has no part in it."""
    wlc = Wlc(lambda now_ns: (now_ns - BEGIN_NS) // 50)
    assert measured([wlc], seconds=6).reading.drift_ppb is None
    assert measured([wlc], seconds=60, echo_ns=15 * NS_PER_S).reading.drift_ppb is None
    wlc = Wlc(stretch=lambda now_ns: NS_PER_S // 2 * (now_ns >= BEGIN_NS + 20 * NS_PER_S))
    assert measured([wlc], seconds=100).reading.drift_ppb is None


@pytest.mark.parametrize("step_ns", [2 * NS_PER_S, -2 * NS_PER_S])
@pytest.mark.parametrize("before_ns", [0, NS_PER_S])
def test_a_clock_that_is_set_is_noticed(step_ns: int, before_ns: int) -> None:
    at_ns = BEGIN_NS + 10 * NS_PER_S + 100 * NS_PER_MS
    found = measured([Wlc(lambda now_ns: before_ns + step_ns * (now_ns >= at_ns))])
    assert found.reading.steps == 1
    assert found.reading.offset_ns == pytest.approx(before_ns + step_ns, abs=found.reading.uncertainty_ns)
    metric = found.metrics["notify.latency"]
    assert metric.p50 == pytest.approx(np.percentile(found.truth, 50), abs=TRANSIT_NS)
    if step_ns > 0:
        assert_true(found, TRANSIT_NS)
    else:  # put back, it is noticed with the next round trip; until then, latencies are shown too long, not too short
        assert metric.max == pytest.approx(-step_ns, rel=0.01)
        assert found.clocks.less_ns == pytest.approx(-step_ns, rel=0.01)


def test_one_that_is_put_back_after_the_only_round_trip_may_be_anything() -> None:
    """Its stamps tell: durations are as received, and as far as anybody knows, all of that is the clock's."""
    at_ns = BEGIN_NS + 3 * NS_PER_S + 100 * NS_PER_MS
    found = measured([Wlc(lambda now_ns: -2 * NS_PER_S * (now_ns >= at_ns))], seconds=9, echo_ns=15 * NS_PER_S)
    assert found.metrics["notify.latency"].p50 == pytest.approx(2 * NS_PER_S, rel=0.01)
    assert found.reading.steps == 1
    assert found.clocks.less_ns == pytest.approx(2 * NS_PER_S, rel=0.01)
    assert found.clocks.less_ns >= 2 * NS_PER_S
    assert found.clocks.more_ns < NS_PER_MS


@pytest.mark.parametrize("echo_ns", [15 * NS_PER_S, NS_PER_S // 2])
@pytest.mark.parametrize("wrong_ns", [10 * NS_PER_S, 200 * NS_PER_MS, -10 * NS_PER_S])
@pytest.mark.parametrize("before_ns", [0, 5 * NS_PER_S])
def test_one_stamp_that_is_wrong_costs_no_more_than_the_next(echo_ns: int, wrong_ns: int, before_ns: int) -> None:
    """Of 160, by a WLC whose clock is right, or was put right by round trips before."""
    at_ns = due_at(60, 20)
    wlc = Wlc(lambda now_ns: before_ns + wrong_ns * (now_ns == at_ns))
    found = measured([wlc], seconds=8, per_s=20, echo_ns=echo_ns)
    metric, truth = found.metrics["notify.latency"], np.array(found.truth)
    assert metric.p50 == pytest.approx(np.percentile(truth, 50), abs=2 * TRANSIT_NS + JITTER_NS)
    assert metric.p90 == pytest.approx(np.percentile(truth, 90), abs=2 * TRANSIT_NS + JITTER_NS)
    if wrong_ns > 0:  # what says that it was sent long before may have been held since
        assert found.clocks.more_ns < NS_PER_MS


@pytest.mark.parametrize("together", [1, 5])
@pytest.mark.parametrize("notices", [False, True])
@pytest.mark.parametrize("before_ns", [0, 5 * NS_PER_S, -5 * NS_PER_S])
@pytest.mark.parametrize("behind_ns", [10 * NS_PER_MS, 5 * NS_PER_S, 1_795_000_000 * NS_PER_S])
def test_one_stamp_that_lies_behind_right_after_an_echo_is_shown_as_it_came(
    behind_ns: int, before_ns: int, notices: bool, together: int
) -> None:
    """The first one behind each answer says that it was sent long ago: it was held, or its time is wrong, or 0."""
    clocks = PeerClocks(["192.0.2.1:16113"])
    clocks.set_up(0, BEGIN_NS - 3 * NS_PER_MS, BEGIN_NS - 2 * NS_PER_MS)
    shown: list[int] = []
    for number in range(1, 200):
        done_ns = BEGIN_NS + number * 20 * NS_PER_MS
        if number % 10 == 0:
            clocks.round_trip(0, done_ns - 2 * NS_PER_MS, done_ns - NS_PER_MS)
            clocks.settle()
        raw = np.array([NS_PER_MS - before_ns + 100 * NS_PER_US * each for each in reversed(range(together))])
        raw[0] += behind_ns * (number % 10 == 0)
        if notices:
            added = [clocks.correct_one(0, int(each), done_ns, done_ns - int(each)) for each in raw]
            shown += [int(each) + offset for each, offset in zip(raw, added, strict=True)]
        else:
            starts = np.array([0]) if together > 1 else None
            offset = clocks.correct(np.array([0]), starts, raw, (done_ns,), np.array([done_ns - int(raw[-1])]))
            shown += (raw + (0 if offset is None else offset[0])).tolist()
    survey = clocks.survey()
    assert survey.readings[0].steps == 0
    # One that is behind all the time may hold all that it sends.
    assert survey.held_ns == pytest.approx(max(0, -before_ns), abs=2 * NS_PER_MS)
    held = [duration for duration in shown if duration > 4 * NS_PER_MS]
    assert held == pytest.approx([behind_ns] * 19, abs=2 * NS_PER_MS)


def test_two_of_them_say_that_it_was_put_back() -> None:
    """By less than notifications are apart, so that their times do not tell by themselves."""
    clocks = PeerClocks(["192.0.2.1:16113"])
    clocks.set_up(0, BEGIN_NS - 3 * NS_PER_MS, BEGIN_NS - 2 * NS_PER_MS)
    shown: list[int] = []
    for number in range(1, 60):
        done_ns = BEGIN_NS + number * NS_PER_S + 11 * number % 97
        if number % 10 == 0:
            clocks.round_trip(0, done_ns - 2 * NS_PER_MS, done_ns - NS_PER_MS)
            clocks.settle()
        raw_ns = NS_PER_MS + NS_PER_S // 2 * (number >= 35)
        offset = clocks.correct(np.array([0]), None, np.array([raw_ns]), (done_ns,), np.array([done_ns - raw_ns]))
        shown.append(raw_ns if offset is None else raw_ns + int(offset[0]))
    (reading,) = clocks.survey().readings
    assert reading.steps == 1
    assert reading.offset_ns == pytest.approx(-NS_PER_S // 2, abs=reading.uncertainty_ns)
    assert max(shown[40:]) < 5 * NS_PER_MS < NS_PER_S // 2 < min(shown[34:40])


def test_stamps_that_overtake_each_other_say_nothing_of_the_clock() -> None:
    """Every third one is sent 15 ms late, with the stamp that it had: behind that of the one before."""
    stamps = [BEGIN_NS + number * 20 * NS_PER_MS - 35 * NS_PER_MS * (number % 3 == 2) for number in range(90)]
    clocks = PeerClocks(["192.0.2.1:1"])
    clocks.set_up(0, BEGIN_NS - 3 * NS_PER_MS, BEGIN_NS - 2 * NS_PER_MS)
    for number, stamp in enumerate(stamps):
        done_ns = BEGIN_NS + number * 20 * NS_PER_MS + NS_PER_MS
        raw = done_ns - stamp + NS_PER_S  # the clock is a second behind
        clocks.correct(np.array([0]), None, np.array([raw]), (done_ns,), np.array([stamp - NS_PER_S]))
        clocks.correct_one(0, raw, done_ns, stamp - NS_PER_S)
    (reading,) = clocks.survey().readings
    assert (reading.steps, reading.corrected) == (0, 1)


def test_notices_tell_of_a_clock_that_was_put_back_too() -> None:
    clocks = PeerClocks(["192.0.2.1:1"])
    clocks.set_up(0, BEGIN_NS - 3 * NS_PER_MS, BEGIN_NS - 2 * NS_PER_MS)
    for number in range(90):
        done_ns = BEGIN_NS + number * 20 * NS_PER_MS
        raw = NS_PER_MS + 2 * NS_PER_S * (number >= 45)
        clocks.correct_one(0, raw, done_ns, done_ns - raw)
    survey = clocks.survey()
    assert survey.readings[0].steps == 1
    assert survey.less_ns >= 2 * NS_PER_S


def test_a_clock_that_is_set_again_and_again_is_none_to_correct_by() -> None:
    found = measured([Wlc(lambda now_ns: now_ns // NS_PER_S % 2 * 5 * NS_PER_S)], seconds=40, echo_ns=NS_PER_S // 2)
    assert found.clocks.unsteady == 1
    assert found.reading.corrected == 0


def test_a_peer_that_is_slow_is_not_taken_for_a_clock() -> None:
    found = measured([Wlc(delay_ns=5 * NS_PER_MS)])
    assert_raw(found)
    assert found.metrics["notify.latency"].p50 >= 5 * NS_PER_MS


def test_nor_is_one_that_is_slow_before_its_first_echo() -> None:
    found = measured([Wlc(delay_ns=5 * NS_PER_MS)], seconds=10, echo_ns=15 * NS_PER_S)
    assert_raw(found)


def test_nor_is_a_pause() -> None:
    """One second in ten; the sender says when it really sent."""

    def released(due_ns: int) -> int:
        into = (due_ns - BEGIN_NS) % (10 * NS_PER_S)
        return due_ns - into + NS_PER_S if into < NS_PER_S else due_ns

    for ahead_ns in (0, 2 * NS_PER_S, -2 * NS_PER_S):
        found = measured([Wlc(always(ahead_ns), released_ns=released)], first_ns=1100 * NS_PER_MS)
        assert_true(found, TRANSIT_NS)
        assert found.reading.corrected == (ahead_ns != 0)


@pytest.mark.parametrize("ahead_ns", [0, 2 * NS_PER_S])
def test_nor_is_a_queue_that_stands_for_long(ahead_ns: int) -> None:
    """From a second on everything waits for half of one, echoes like notifications; most of the time there is none."""
    begin_ns = BEGIN_NS + NS_PER_S
    wlc = Wlc(always(ahead_ns), stretch=lambda now_ns: NS_PER_S // 2 * (now_ns >= begin_ns))
    found = measured([wlc], seconds=60, echo_ns=15 * NS_PER_S)
    assert_true(found, 20 * NS_PER_MS)
    assert found.metrics["notify.latency"].p50 >= 490 * NS_PER_MS
    assert found.reading.steps == 0


def test_one_that_answers_ahead_of_what_it_keeps_may_be_late_by_all_of_it() -> None:
    """It looks like a clock that was put back: no threshold passes by the durations that are shown then."""
    clocks = PeerClocks(["192.0.2.1:16113"])

    def shown(now_ns: int, raw_ns: int) -> int:
        offset = clocks.correct(np.array([0]), None, np.array([raw_ns]), (now_ns,), np.array([now_ns - raw_ns]))
        return raw_ns if offset is None else raw_ns + int(offset[0])

    clocks.set_up(0, BEGIN_NS, BEGIN_NS + NS_PER_MS)
    for number in range(1, 100):
        assert shown(BEGIN_NS + number * 10 * NS_PER_MS + 11 * number % 97, 500 * NS_PER_US) == 500 * NS_PER_US
    assert clocks.survey().more_ns < NS_PER_MS
    # For two seconds it keeps what is due, and says that it sent it; an echo is answered at once.
    stands_ns = BEGIN_NS + NS_PER_S
    clocks.round_trip(0, stands_ns + NS_PER_S, stands_ns + NS_PER_S + NS_PER_MS)
    clocks.settle()
    kept = [2 * NS_PER_S - number * 10 * NS_PER_MS for number in range(200)]
    short = max(raw_ns - shown(stands_ns + 2 * NS_PER_S + read, raw_ns) for read, raw_ns in enumerate(kept))
    assert short > 1.9 * NS_PER_S
    assert clocks.survey().more_ns >= short
    for number in range(200):
        shown(stands_ns + 2 * NS_PER_S + number * 10 * NS_PER_MS, 500 * NS_PER_US)
    assert clocks.survey().more_ns >= short  # also when it has caught up
    # And in the next session: what was shown in this one stays in the figures.
    clocks.set_up(0, stands_ns + 9 * NS_PER_S, stands_ns + 9 * NS_PER_S + NS_PER_MS)
    assert clocks.survey().more_ns >= short
    shown(stands_ns + 10 * NS_PER_S, 500 * NS_PER_US)
    assert clocks.survey().more_ns >= short


@pytest.mark.parametrize("behind_ns", [0, 2 * NS_PER_S])
def test_one_that_looks_behind_may_hold_what_it_has_sent(behind_ns: int) -> None:
    """And answer echoes at once: no threshold passes or fails by which of both it is."""
    held_ns = 300 * NS_PER_MS
    found = measured([Wlc(always(-behind_ns), held_ns=always(held_ns))])
    assert found.reading.offset_ns == pytest.approx(-held_ns - behind_ns, abs=NS_PER_MS)
    shown, truth = found.metrics["notify.latency"].p50, float(np.percentile(found.truth, 50))
    assert shown is not None
    assert shown < NS_PER_MS < held_ns < truth <= shown + found.clocks.more_ns
    assert found.clocks.held_ns == pytest.approx(held_ns + behind_ns, abs=NS_PER_MS)
    texts = ["notify.latency.p50 < 50ms", "notify.service.p50 > 50ms", "notify.latency.p50 < 3s"]
    figures = thresholds.Figures(found.metrics, found.counters, {}, {}, clocks=found.clocks)
    results = thresholds.judge(thresholds.parse_thresholds(texts, "x"), figures)
    assert [result.status.value for result in results] == ["error", "error", "passed"]
    assert "behind or fell back by" in results[0].shown
    assert "or it holds its notifications for so long" in results[0].shown


def test_one_that_is_proven_ahead_may_hold_what_it_sends_later_and_later() -> None:
    """A queue that grows by 0.1 ms in a second, or a clock that loses 100 ppm."""
    held = lambda now_ns: (now_ns - BEGIN_NS) // 10_000  # noqa: E731
    found = measured([Wlc(always(NS_PER_S), held_ns=held)], seconds=100)
    shown = found.metrics["notify.latency"].max
    assert shown < max(found.truth) - 5 * NS_PER_MS
    assert shown + found.clocks.more_ns >= max(found.truth) * 0.999


def test_a_hold_that_a_clock_ahead_hides_is_not_seen() -> None:
    """What cannot be known: of half a second ahead the hold takes its part, always the same."""
    found = measured([Wlc(always(500 * NS_PER_MS), held_ns=always(300 * NS_PER_MS))])
    assert found.reading.offset_ns == pytest.approx(200 * NS_PER_MS, abs=NS_PER_MS)
    assert found.clocks.held_ns == 0


def test_each_wlc_has_a_clock_of_its_own() -> None:
    wlcs = [Wlc(always(ahead), name=f"192.0.2.{ahead % 7}:1") for ahead in (0, 2 * NS_PER_S, -3 * NS_PER_S)]
    found = measured(wlcs)
    assert_true(found, TRANSIT_NS)
    assert found.clocks.wlcs == 3
    assert found.clocks.corrected == 2
    offsets = {reading.wlc: reading.offset_ns for reading in found.clocks.readings}
    for wlc in wlcs:
        assert offsets[wlc.name] == pytest.approx(wlc.ahead_ns(0), abs=TRANSIT_NS + JITTER_NS)


def test_one_address_may_be_that_of_several_clocks() -> None:
    """A balancer in front of WLCs: of its sessions both sides are told, and none of one that agrees."""
    ahead_ms = (2_000, 700, -300, 0, -40)
    found = measured([Wlc(always(ahead * NS_PER_MS)) for ahead in ahead_ms])
    sides = found.reading.sides
    assert (sides.ahead, sides.behind) == (2, 2)
    assert sides.ahead_ns == pytest.approx(2 * NS_PER_S, abs=TRANSIT_NS + JITTER_NS)
    assert sides.behind_ns == pytest.approx(300 * NS_PER_MS, abs=TRANSIT_NS + JITTER_NS)
    assert found.clocks.sides == sides


def test_what_is_no_time_is_clamped_and_does_not_bend_the_clock() -> None:
    recorder = Recorder()
    clocks = recorder.clocks = PeerClocks(["192.0.2.1:1"])
    reception = Reception(recorder, 1, TO_UNIX_NS, our_schedule=False)
    clocks.set_up(0, 1000, 2000)
    reception.open(0, 1)
    reception.settle_grants()
    for number, sent in enumerate(((1 << 63) - 1, -1, -(1 << 63), TO_UNIX_NS + 5000, TO_UNIX_NS + 5001)):
        times = np.array([sent])
        reception.absorb(Columns(np.array([number]), times, times, np.zeros(1, np.int64)), [0], [1], [6000 + number])
    assert histogram_values(recorder, "notify.latency")[0] == 5
    interval = recorder.take(0)
    assert interval.counters["clock.clamped"] == 6
    (reading,) = interval.clocks.readings
    assert abs(reading.offset_ns) <= 1003


@pytest.mark.parametrize("years", [98, -98])
def test_a_wlc_whose_times_are_no_clocks_is_counted_and_named(years: int) -> None:
    off_ns, recorder = years * 365 * 86_400 * NS_PER_S, Recorder()
    clocks = recorder.clocks = PeerClocks(["192.0.2.1:1", "192.0.2.2:1", "192.0.2.2:1", "192.0.2.3:1"])
    for row in range(4):  # of the last one nothing comes
        clocks.set_up(row, 1000, 2000)
    for read in range(3):
        now_ns = 5000 + read
        clocks.correct(
            np.arange(3), None, np.array([100, -off_ns, -off_ns]), [now_ns] * 3, np.array([0, off_ns, off_ns]) + now_ns
        )
    found = clocks.survey()
    assert (found.wlcs, [reading.wlc for reading in found.readings]) == (1, ["192.0.2.1:1"])
    assert (found.far, found.far_named) == (1, ("192.0.2.2:1",))
    # Another session begins at that place.
    for row in (1, 2):
        clocks.set_up(row, 6000, 7000)
    assert clocks.survey().far == 0


def test_an_endpoint_tells_of_its_round_trips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the subscription, and of echoes."""
    side = mse_side()
    told: list[tuple[int, ...]] = []
    clocks = side.recorder.clocks = PeerClocks(["192.0.2.1:1"])
    for name in ("set_up", "round_trip"):
        monkeypatch.setattr(clocks, name, lambda *what: told.append(what))
    _, transaction = side.said()[0]
    side.hear(VersionResponse(1, ResponseStatus.OK), 100, transaction)
    side.hear(Capability(1), 300)
    _, transaction = side.said()[0]
    side.hear(SubscribeResponse(1, ResponseStatus.OK), 400, transaction)
    assert told == [(0, 300, 400)]
    side.tick(400 + ECHO_NS)
    _, transaction = side.said()[0]
    side.hear(EchoResponse(), 500 + ECHO_NS, transaction)
    assert told[1:] == [(0, 400 + ECHO_NS, 500 + ECHO_NS)]


def test_what_workers_found_is_put_together() -> None:
    a, b = (ClockReading("192.0.2.1:1", 2, 2, offset, uncertainty) for offset, uncertainty in ((100, 10), (90, 30)))
    other = ClockReading("192.0.2.2:1", 1, 0, 5, 10)
    a = msgspec.structs.replace(a, sides=Sides(1, 100, 1, 70))
    b = msgspec.structs.replace(b, sides=Sides(2, 90, 0, 0))
    found = merged(
        [
            Clocks(2, 1, 0, 10, 20, (a, other), 7, 1, 5, Sides(1, 100, 2, 80), 1, ("192.0.2.4:1",)),
            Clocks(1, 1, 3, 30, 15, (b,), 9, 2, 4, Sides(3, 120, 0, 0), 2, ("192.0.2.3:1", "192.0.2.4:1")),
        ]
    )
    one = ClockReading("192.0.2.1:1", 4, 4, 100, 10, sides=Sides(3, 100, 1, 70))
    assert found == Clocks(
        2, 1, 3, 30, 20, (one, other), 9, 3, 5, Sides(4, 120, 2, 80), 2, ("192.0.2.3:1", "192.0.2.4:1")
    )


def test_a_result_names_the_worst_of_many() -> None:
    found = measured([Wlc(always(n * NS_PER_S), name=f"192.0.2.{n}:1") for n in range(40)], seconds=2)
    assert (found.clocks.wlcs, found.clocks.corrected, len(found.clocks.readings)) == (40, 39, 16)
    assert found.clocks.readings[0].offset_ns == pytest.approx(39 * NS_PER_S, abs=NS_PER_MS)


# -- one time that is wrong --------------------------------------------------------------------------------------------

WRONG_NS = 80 * NS_PER_MS


def names_of(sessions: int) -> list[str]:
    return [f"192.0.2.{number}:1" for number in range(sessions)]


@cache
def measured_without(ahead_ns: int, sessions: int, seconds: int, per_s: int) -> Measured:
    """The same without the one that is wrong, whichever that is."""
    wlcs = [Wlc(always(ahead_ns), name=name) for name in names_of(sessions)]
    return measured(wlcs, seconds=seconds, per_s=per_s)


@pytest.mark.parametrize("sessions", [1, 3])
@pytest.mark.parametrize(("per_s", "at_s"), [(25, 0), (25, 0.3), (25, 10), (1, 0), (1, 10)])
@pytest.mark.parametrize("ahead_ns", [0, 2 * NS_PER_S, -2 * NS_PER_S])
@pytest.mark.parametrize("wrong_ns", [WRONG_NS, -WRONG_NS])
def test_one_wrong_time_moves_nothing(wrong_ns: int, ahead_ns: int, at_s: float, per_s: int, sessions: int) -> None:
    """Of each session one: all others are shown as without it, and so is what is known of the clock."""
    at_ns = due_at(int(at_s * per_s), per_s)
    seconds = 12 if per_s > 1 else 30
    wlcs = [Wlc(lambda now_ns: ahead_ns + wrong_ns * (now_ns == at_ns), name=name) for name in names_of(sessions)]
    found = measured(wlcs, seconds=seconds, per_s=per_s)
    plain = measured_without(ahead_ns, sessions, seconds, per_s)
    assert_most_true(found)
    for reading, other in zip(found.clocks.readings, plain.clocks.readings, strict=True):
        assert reading.steps == 0
        assert reading.corrected == (ahead_ns != 0)
        assert abs(reading.offset_ns - ahead_ns) <= reading.uncertainty_ns <= other.uncertainty_ns + JITTER_NS
    assert found.clocks.lone == sessions * (wrong_ns > 0)
    assert "clock.clamped" not in found.counters
    if wrong_ns < 0 and ahead_ns >= 0 and int(at_s * per_s):  # it says that it took longer, and so it may have
        assert found.metrics["notify.latency"].max == pytest.approx(max(found.truth) + WRONG_NS, rel=0.02)
    if wrong_ns > 0 and not ahead_ns:
        assert found.clocks.more_ns <= WRONG_NS + 2 * TRANSIT_NS + 2 * JITTER_NS


def assert_most_true(found: Measured) -> None:
    """But for one or two in a session."""
    metric, truth = found.metrics["notify.latency"], found.truth
    for percent, shown in ((50, metric.p50), (90, metric.p90)):
        assert shown == pytest.approx(
            np.percentile(truth, percent, method="inverted_cdf"), abs=2 * TRANSIT_NS, rel=0.02
        )


@pytest.mark.parametrize("every", [50, 7])
def test_a_station_whose_times_are_wrong_moves_nothing(every: int) -> None:
    """Its notifications come between others, and none stays where it says that the clock is."""
    wrong = {due_at(number, 50) for number in range(0, 1000, every)}
    found = measured([Wlc(lambda now_ns: WRONG_NS * (now_ns in wrong))])
    assert found.reading.steps == 0
    assert abs(found.reading.offset_ns) <= found.reading.uncertainty_ns <= TRANSIT_NS + JITTER_NS
    assert found.clocks.lone == len(wrong)
    assert_most_true(found)


def test_a_read_with_a_wrong_time_in_it_is_shown_as_it_is_but_for_that() -> None:
    """And so are those behind it; two reads are needed, and not two notifications."""
    clocks = PeerClocks(["192.0.2.1:1"])
    clocks.set_up(0, BEGIN_NS - 3 * NS_PER_MS, BEGIN_NS - 2 * NS_PER_MS)
    shown = []
    for number in range(1, 100):
        done_ns = due_at(number, 50)
        raw = np.array([NS_PER_MS, NS_PER_MS // 2, NS_PER_MS])
        if number == 40:
            raw[:2] -= WRONG_NS
        offset = clocks.correct(np.array([0]), np.array([0]), raw, (done_ns,), np.array([done_ns - int(raw[-1])]))
        shown.append(raw.tolist() if offset is None else (raw + offset).tolist())
    assert [each for number, each in enumerate(shown) if number != 39] == [[NS_PER_MS, NS_PER_MS // 2, NS_PER_MS]] * 98
    assert shown[39][2] == NS_PER_MS
    assert 0 <= min(shown[39]) <= max(shown[39]) == NS_PER_MS
    survey = clocks.survey()
    assert (survey.lone, survey.corrected, survey.readings[0].steps) == (1, 0, 0)


def test_a_wrong_sent_time_says_nothing_of_when_it_was_due() -> None:
    """One in 40 says that it was sent 0.9 s later: how late it came after it was due is as of all others."""
    recorder = Recorder()
    recorder.clocks = clocks = PeerClocks(["192.0.2.1:1"])
    clocks.set_up(0, BEGIN_NS - 3 * NS_PER_MS, BEGIN_NS - 2 * NS_PER_MS)
    reception = Reception(recorder, 1, 0, our_schedule=False)
    reception.open(0, 1)
    for number in range(399):
        done = due_at(number, 50)
        sent = done - NS_PER_MS + (WRONG_NS if number % 40 == 39 else 0)
        columns = Columns(*(np.array([each]) for each in (number, done - 3 * NS_PER_MS, sent, 0)))
        reception.absorb(columns, [0], [1], [done])
    count, least, most = histogram_values(recorder, "notify.latency")
    assert count == 399
    assert 2.9 * NS_PER_MS < least <= most < 3.1 * NS_PER_MS
    assert clocks.survey().lone == 9


@pytest.mark.parametrize("notices", [False, True])
def test_two_reads_are_enough_to_prove_a_clock_ahead(notices: bool) -> None:
    clocks = PeerClocks(["192.0.2.1:1"])
    clocks.set_up(0, BEGIN_NS - 3 * NS_PER_MS, BEGIN_NS - 2 * NS_PER_MS)
    corrected = []
    for number in range(1, 4):
        done_ns, raw = due_at(number, 50), NS_PER_MS - 2 * NS_PER_S
        if notices:
            added = clocks.correct_one(0, raw, done_ns, done_ns - raw)
        else:
            offset = clocks.correct(np.array([0]), None, np.array([raw]), (done_ns,), np.array([done_ns - raw]))
            assert offset is not None
            added = int(offset[0])
        assert 0 <= raw + added <= NS_PER_MS
        corrected.append(clocks.survey().corrected)
    assert corrected == [0, 1, 1]


def test_one_read_alone_is_no_proof() -> None:
    """A session that brought nothing else: the clock may be anywhere, and nothing passes by its figures."""
    found = measured([Wlc(always(2 * NS_PER_S))], seconds=1, per_s=1)
    assert found.reading.corrected == 0
    assert found.clocks.more_ns >= 2 * NS_PER_S
    assert found.reading.offset_ns == pytest.approx(2 * NS_PER_S, abs=found.reading.uncertainty_ns)
    behind = measured([Wlc(always(-2 * NS_PER_S))], seconds=1, per_s=1).clocks
    assert behind.corrected == 0
    assert min(behind.less_ns, behind.more_ns) >= 2 * NS_PER_S - TRANSIT_NS


def test_what_may_be_right_after_all_is_in_what_durations_may_be_more() -> None:
    """All but a few are held for 30 ms: which is it, the clock or the hold?"""
    fast = {due_at(number, 1) for number in range(5, 120, 20)}
    found = measured([Wlc(held_ns=lambda now_ns: 30 * NS_PER_MS * (now_ns not in fast))], 120, 1, 200 * NS_PER_S)
    metric = found.metrics["notify.latency"]
    assert metric.p50 is not None
    assert metric.p50 + found.clocks.more_ns >= np.percentile(found.truth, 50)


@pytest.mark.parametrize("ahead_ns", [0, 2 * NS_PER_S])
def test_of_notifications_that_are_far_apart_two_say_the_same(ahead_ns: int) -> None:
    """One in 15 s: in between, a clock may have lost 3 ms, and nothing says that it has."""
    rng = random.Random(1)
    clocks = PeerClocks(["192.0.2.1:1"])
    clocks.set_up(0, BEGIN_NS, BEGIN_NS + NS_PER_MS)
    for number in range(1, 60):
        done_ns = BEGIN_NS + number * 15 * NS_PER_S + rng.randrange(NS_PER_MS)
        clocks.round_trip(0, done_ns - 7 * NS_PER_S, done_ns - 7 * NS_PER_S + NS_PER_MS)
        clocks.settle()
        took = TRANSIT_NS + rng.randrange(JITTER_NS)
        raw = took - ahead_ns
        offset = clocks.correct(np.array([0]), None, np.array([raw]), (done_ns,), np.array([done_ns - raw]))
        assert raw + (0 if offset is None else int(offset[0])) == pytest.approx(took, abs=NS_PER_MS // 2)
    survey = clocks.survey()
    assert abs(survey.readings[0].offset_ns - ahead_ns) <= survey.readings[0].uncertainty_ns <= NS_PER_MS
    assert survey.less_ns <= NS_PER_MS + 3 * NS_PER_MS * (ahead_ns != 0)  # before the next one, it may have lost that
    assert survey.lone == 0


# -- clocks that go on by steps ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead_ns", [0, 2 * NS_PER_S + 1234567, -2 * NS_PER_S - 1234567])
@pytest.mark.parametrize("how", ["down", "up", "nearest"])
@pytest.mark.parametrize("grain_ns", [10 * NS_PER_MS, 20 * NS_PER_MS, NS_PER_MS])
def test_a_clock_that_goes_on_by_steps_is_no_more_certain_than_they_are(grain_ns: int, how: str, ahead_ns: int) -> None:
    add = {"down": 0, "up": grain_ns - 1, "nearest": grain_ns // 2}[how]

    def ahead(now_ns: int) -> int:
        return (now_ns + ahead_ns + TO_UNIX_NS + add) // grain_ns * grain_ns - now_ns - TO_UNIX_NS

    found = measured([Wlc(ahead)], seconds=15, per_s=47)
    reading = found.reading
    assert reading.steps == 0
    assert grain_ns <= reading.uncertainty_ns <= grain_ns + TRANSIT_NS + JITTER_NS
    assert abs(reading.offset_ns - ahead_ns) <= reading.uncertainty_ns
    assert "clock.clamped" not in found.counters
    metric = found.metrics["notify.latency"]
    for percent, shown in ((50, metric.p50), (90, metric.p90), (99, metric.p99)):
        assert shown is not None
        truth = np.percentile(found.truth, percent, method="inverted_cdf")
        assert shown * 0.999 - found.clocks.less_ns <= truth <= shown * 1.001 + found.clocks.more_ns
    assert found.clocks.less_ns >= grain_ns
    assert found.clocks.lone == 0
    assert found.clocks.held_ns <= max(0, -ahead_ns) + grain_ns + JITTER_NS


def test_a_step_that_a_wrong_time_hides_is_not_seen() -> None:
    """What cannot be known: its times are no multiples of anything, then."""
    wrong = {due_at(number, 50): 1234567 * number for number in range(1, 1000, 100)}
    found = measured([Wlc(lambda now_ns: -(now_ns % (20 * NS_PER_MS)) - wrong.get(now_ns, 0))])
    assert found.reading.uncertainty_ns < 20 * NS_PER_MS


def test_a_clock_of_steps_has_no_drift_that_it_only_seems_to_have() -> None:
    wlc = Wlc(lambda now_ns: -((now_ns + TO_UNIX_NS) % (20 * NS_PER_MS)))
    drift_ppb = measured([wlc], seconds=200, per_s=3, echo_ns=15 * NS_PER_S).reading.drift_ppb
    assert drift_ppb is None or abs(drift_ppb) < 10_000


def test_a_clock_that_ntp_puts_back_is_noticed_by_its_times() -> None:
    """By 300 ms, between two echoes."""
    at_ns = BEGIN_NS + 10 * NS_PER_S + 300 * NS_PER_MS
    found = measured([Wlc(lambda now_ns: -300 * NS_PER_MS * (now_ns >= at_ns))], echo_ns=7 * NS_PER_S)
    assert found.reading.steps == 1
    assert found.reading.offset_ns == pytest.approx(-300 * NS_PER_MS, abs=found.reading.uncertainty_ns)
    assert found.clocks.less_ns == pytest.approx(300 * NS_PER_MS, rel=0.01)
    assert found.metrics["notify.latency"].max == pytest.approx(300 * NS_PER_MS, rel=0.01)
    assert any("durations of notifications may be 300 ms less" in line for line in clock_lines(found.clocks))


def stops(after_s: int) -> Callable[[int], int]:
    """A clock that stands still from then on."""
    return lambda now_ns: min(0, BEGIN_NS + after_s * NS_PER_S - now_ns)


@pytest.mark.parametrize(
    "ahead_ns",
    [
        stops(0),
        stops(4),
        lambda now_ns: -now_ns - TO_UNIX_NS,  # always 0
        lambda now_ns: (BEGIN_NS - now_ns) // 20,  # loses 5 %
    ],
)
@pytest.mark.parametrize("echo_ns", [15 * NS_PER_S, 4 * NS_PER_S])
def test_what_a_clock_that_loses_makes_of_durations_fails_nothing(ahead_ns: Callable[[int], int], echo_ns: int) -> None:
    """As long as no question was answered since, nobody can tell; once one was, by how much too long some were."""
    found = measured([Wlc(ahead_ns)], seconds=10, echo_ns=echo_ns)
    shown = found.metrics["notify.latency"].p99
    assert shown - found.clocks.less_ns <= 5 * NS_PER_MS, (shown, found.clocks)


def test_a_growth_that_an_echo_has_spoken_for_was_one() -> None:
    """A queue that only grows, with echoes in it: nothing of that can have been the clock's."""
    wlc = Wlc(stretch=lambda now_ns: (now_ns - BEGIN_NS) // 10)
    found = measured([wlc], seconds=20, echo_ns=2 * NS_PER_S)
    assert found.clocks.less_ns <= 400 * NS_PER_MS  # since the last of them
    assert found.metrics["notify.latency"].p99 > 1.5 * NS_PER_S
    assert_true(found, 20 * NS_PER_MS)


def test_what_was_late_and_is_not_any_more_was_late() -> None:
    wlc = Wlc(stretch=lambda now_ns: max(0, 2 * NS_PER_S - abs(now_ns - BEGIN_NS - 5 * NS_PER_S) * 4 // 5))
    found = measured([wlc], seconds=10, echo_ns=15 * NS_PER_S)
    assert found.clocks.less_ns < NS_PER_MS
    assert found.metrics["notify.latency"].max > 1.5 * NS_PER_S


def test_the_growth_of_a_session_that_is_over_is_in_what_was_shown() -> None:
    clocks = PeerClocks(["192.0.2.1:16113"])
    clocks.set_up(0, BEGIN_NS, BEGIN_NS + NS_PER_MS)
    for number in range(300):
        now_ns = BEGIN_NS + number * 10 * NS_PER_MS
        clocks.correct(np.array([0]), None, np.array([now_ns - BEGIN_NS]), (now_ns,), np.array([BEGIN_NS]))
    grown_ns = clocks.survey().less_ns
    assert grown_ns > 2.4 * NS_PER_S
    clocks.set_up(0, BEGIN_NS + 9 * NS_PER_S, BEGIN_NS + 9 * NS_PER_S + NS_PER_MS)
    assert clocks.survey().less_ns == grown_ns
