"""Streams that fall silent before the end of a load, and those that only look so: in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from loadgen.measure.recorder import Recorder
from loadgen.nmsp.bulk import Columns
from loadgen.scenario.schedule import RateStage
from loadgen.session.lulls import Lulls
from loadgen.session.reception import Reception
from loadgen.units import NS_PER_S

BEGIN_NS = 100 * NS_PER_S


def silent_s(
    *times_s: list[float],
    load_s: float = 10.0,
    more_s: float = 0.0,
    notices: dict[int, list[float]] | None = None,
    stages: Sequence[RateStage] = (),
    surely: bool = True,
) -> list[float]:
    """For how long the stream of each session was silent at the end, by when its notifications came since the load
    began; 0: it was not, or nobody can say.

    Args: surely: those that surely should not have been silent; otherwise those that may only seem so.
    """
    reception = Reception(Recorder(), len(times_s), 0, our_schedule=False)
    lulls = reception.lulls
    assert lulls is not None
    for row in range(len(times_s)):
        reception.open(row, 1)
    lulls.begin(BEGIN_NS + int(load_s * NS_PER_S), BEGIN_NS + int((load_s + more_s) * NS_PER_S), stages)
    events = [(time_s, row, True) for row, times in enumerate(times_s) for time_s in times]
    events += [(time_s, row, False) for row, times in (notices or {}).items() for time_s in times]
    taken = [0] * len(times_s)
    zeros = np.zeros(1, np.int64)
    for time_s, row, measured in sorted(events):
        at_ns = BEGIN_NS + int(time_s * NS_PER_S)
        if measured:
            reception.absorb(Columns(np.array([taken[row]]), zeros, zeros, zeros), [row], [1], [at_ns])
            taken[row] += 1
        else:
            lulls.told(row, at_ns)
    found = reception.fallen_silent(range(len(times_s)))[not surely]
    return [found[row].silent_ns / NS_PER_S if row in found else 0 for row in range(len(times_s))]


def steady(until_s: float, per_s: float = 50, since_s: float = 0.0) -> list[float]:
    return [since_s + number / per_s for number in range(int((until_s - since_s) * per_s))]


@pytest.mark.parametrize(
    ("of_one", "of_another", "silent", "on"),
    [
        (10, 6, {"rssi_rfid": 4}, ("rssi_ms",)),
        (6, 10, {"rssi_ms": 4}, ("rssi_rfid",)),
        (10, 10, {}, ("rssi_ms", "rssi_rfid")),
        (6, 6, {"rssi_ms": 4, "rssi_rfid": 4}, ()),  # the sessions fell silent
    ],
)
def test_a_subservice_that_falls_silent_while_another_goes_on_is_found(
    of_one: float, of_another: float, silent: dict[str, float], on: tuple[str, ...]
) -> None:
    """In two sessions that go on with the other one."""
    reception = Reception(Recorder(), 2, 0, our_schedule=False, by_service=True)
    for row in range(2):
        reception.open(row, 0b11)
    reception.listen(BEGIN_NS + 10 * NS_PER_S, BEGIN_NS + 10 * NS_PER_S, ())
    events = [(time_s, 0) for time_s in steady(of_one)] + [(time_s + 0.001, 1) for time_s in steady(of_another)]
    zeros, taken = np.zeros(1, np.int64), [0, 0]
    for number, (time_s, subservice) in enumerate(sorted(events)):
        at_ns, row = BEGIN_NS + int(time_s * NS_PER_S), number // 2 % 2
        told = Columns(np.array([taken[row]]), zeros + at_ns, zeros + at_ns, np.array([subservice]))
        reception.absorb(told, [row], [1], [at_ns])
        taken[row] += 1
    lulls, others = reception.services_fallen_silent()
    found = {name: lull.silent_ns / NS_PER_S for name, lull in lulls.items()}
    assert found == pytest.approx(silent, abs=0.15)
    assert others == on


def test_of_one_subservice_alone_the_session_tells() -> None:
    reception = Reception(Recorder(), 1, 0, our_schedule=False)
    reception.listen(BEGIN_NS, BEGIN_NS, ())
    assert reception.services_fallen_silent() == ({}, ())


def test_a_stall_at_the_end_is_found_in_whose_stream_it_is() -> None:
    found = silent_s(steady(10), steady(6.5), steady(8.9))
    assert found == pytest.approx([0, 3.5, 1.1], abs=0.15)


def test_a_stream_that_goes_on_before_the_load_is_over_was_not_silent_at_its_end() -> None:
    """The WLC's schedule may be over 1 s before our load is: one that tells something then had not ended."""
    late = [10.2 + number / 100 for number in range(100)]
    assert silent_s(steady(8.5), steady(8.5) + late, load_s=10, more_s=2) == pytest.approx([1.5, 0], abs=0.15)
    assert silent_s(steady(8.5) + late, load_s=10, more_s=0) == pytest.approx([1.5], abs=0.15)


def test_also_if_all_stall_at_once_and_what_was_held_comes_when_the_load_is_over() -> None:
    late = [12 + number / 1000 for number in range(200)]
    assert silent_s(steady(6) + late, steady(6) + late) == pytest.approx([4, 4], abs=0.15)


def test_a_stall_in_the_middle_is_none_at_the_end_and_what_was_usual_is_none_either() -> None:
    middle = steady(3) + steady(10, since_s=5)
    assert silent_s(middle) == [0]
    assert silent_s(steady(3) + steady(7, since_s=5)) == [0]  # 3 s, and 2 s before
    assert silent_s(steady(3) + steady(6.5, since_s=4)) == pytest.approx([3.5], abs=0.15)  # and 1 s before


@pytest.mark.parametrize(
    ("times_s", "load_s"),
    [
        ([], 60.0),
        # One a minute, and one in five seconds.
        ([number * 60.0 for number in range(20)], 1259.0),
        ([number * 5.0 for number in range(20)], 104.0),
        # Bursts of half a second, ten seconds apart.
        ([burst * 10 + place / 100 for burst in range(12) for place in range(50)], 119.0),
        # What is to be told to who subscribes, and nothing after that: no second of it.
        (steady(0.9), 60.0),
        (steady(0.5), 3.0),
        # Bursts of two seconds, ten seconds apart; a load that ends between the third and the fourth.
        ([burst * 10 + place / 100 for burst in range(3) for place in range(200)], 29.5),
        # Poisson-like: 2/s with gaps up to 2 s.
        ([0.3 * number + 1.7 * (number // 10) for number in range(60)], 30.0),
        # A moment before the end.
        (steady(9.2), 10.0),
    ],
)
def test_who_is_slow_or_comes_in_bursts_or_has_told_all_is_not_blamed(times_s: list[float], load_s: float) -> None:
    assert silent_s(times_s, load_s=load_s) == [0]


def test_after_a_long_flow_any_silence_is_one() -> None:
    assert silent_s(steady(12), load_s=60.0) == pytest.approx([48], abs=0.15)


@pytest.mark.parametrize(
    ("until_s", "per_s", "load_s", "silent"),
    [
        # However much of the load is silent: a longer silence is not excused by the shorter flow.
        (2, 100, 8, 6),
        (3, 100, 9, 6),
        (3, 50, 60, 57),
        (1.5, 50, 4, 2.5),
        # Twenty times its longest pause: of 0.1 s or so as it is looked at; of 0.5 s.
        (2, 50, 4.3, 2.3),
        (6, 2, 16, 10),
    ],
)
def test_a_stream_that_flowed_evenly_is_known_at_once(
    until_s: float, per_s: float, load_s: float, silent: float
) -> None:
    assert silent_s(steady(until_s, per_s), load_s=load_s) == pytest.approx([silent], abs=0.15 + 1 / per_s)


def test_a_stream_with_pauses_is_known_by_a_longer_one_only() -> None:
    """3 s with a pause of 0.5 s: silent for 6 s, it may come in bursts; for 13 s, it does not."""
    paused = steady(1.5) + steady(3, since_s=2)
    assert silent_s(paused, load_s=9) == [0]
    assert silent_s(paused, load_s=16) == pytest.approx([13], abs=0.15)
    # Where the scenario grows slower, by as much later.
    stages = [RateStage("a", 0, 3 * NS_PER_S, 50, 50), RateStage("b", 3, 20 * NS_PER_S, 10, 10)]
    assert silent_s(steady(3), load_s=12, stages=stages) == [0]
    assert silent_s(steady(3), load_s=15, stages=stages) == pytest.approx([12], abs=0.15)


@pytest.mark.parametrize(
    ("rates", "silent"), [((50, 50), 4), ((0, 50), 4), ((50, 20), 4), ((50, 1), 0), ((50, 0), 0), ((0, 0), 4)]
)
def test_where_the_scenario_grows_slower_a_pause_is_longer(rates: tuple[float, float], silent: float) -> None:
    stages = [RateStage("a", 0, 6 * NS_PER_S, rates[0], rates[0]), RateStage("b", 6, 4 * NS_PER_S, *rates)]
    assert silent_s(steady(6, per_s=8), stages=stages) == pytest.approx([silent], abs=0.2)


def test_whatever_else_is_told_is_a_sign_of_life() -> None:
    assert silent_s(steady(6), steady(6), notices={0: [9.5]}) == pytest.approx([0, 4], abs=0.15)
    assert silent_s(steady(6), notices={0: [10.5]}) == pytest.approx([4], abs=0.15)  # after the load


@pytest.mark.parametrize("order", [lambda number: number ^ 1, lambda number: number])
def test_numbers_out_of_order_are_a_stream_too(order: Callable[[int], int]) -> None:
    reception = Reception(Recorder(), 1, 0, our_schedule=False)
    reception.open(0, 1)
    assert reception.lulls is not None
    reception.lulls.begin(BEGIN_NS + 10 * NS_PER_S, BEGIN_NS + 10 * NS_PER_S, [])
    zeros = np.zeros(1, np.int64)
    for number in range(300):
        columns = Columns(np.array([order(number)]), zeros, zeros, zeros)
        reception.absorb(columns, [0], [1], [BEGIN_NS + number * NS_PER_S // 50])
    assert reception.received(0) == 300
    assert reception.fallen_silent([0])[0][0].silent_ns == pytest.approx(4 * NS_PER_S, abs=NS_PER_S // 10)


def test_a_session_that_comes_again_is_judged_by_itself() -> None:
    lulls = Lulls(1)
    taken = np.zeros(1, np.int64)
    lulls.begin(BEGIN_NS + 10 * NS_PER_S, BEGIN_NS + 10 * NS_PER_S, [])
    for number in range(300):
        lulls.come(taken, BEGIN_NS + number * NS_PER_S // 50)
        taken[0] += 1
    assert lulls.fallen_silent(taken, [0])[0]
    lulls.open(0)
    assert lulls.fallen_silent(np.zeros(1, np.int64), [0]) == ({}, {})


@pytest.mark.parametrize(
    ("per_s", "last_s", "surely"), [(4, 1.25, False), (4, 1.8, False), (20, 2.0, True), (50, 2.0, True), (8, 1.5, True)]
)
def test_one_of_few_messages_is_named_and_one_of_many_is_known_to_be_silent(
    per_s: float, last_s: float, surely: bool
) -> None:
    """Three sessions of four, in a load of 5 s; whether or not others come in the same tenths of a second."""
    times = [steady(5, per_s), *(steady(last_s + shift, per_s, shift) for shift in (0, 0.03, 0.07))]
    for wanted in (True, False):
        found = silent_s(*times, load_s=5.0, surely=wanted)
        expected = [0, *(5 - came[-1] for came in times[1:])] if wanted is surely else [0] * 4
        assert found == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("pause_s", [0.09, 0.113, 0.19, 0.5])
def test_a_pause_is_not_made_longer_by_when_it_is_looked_at(pause_s: float) -> None:
    """It is in the middle of a stream of 50/s, beside another that goes on."""
    reception = Reception(Recorder(), 2, 0, our_schedule=False)
    for row in range(2):
        reception.open(row, 1)
    reception.listen(BEGIN_NS + 6 * NS_PER_S, BEGIN_NS + 6 * NS_PER_S, ())
    first = [*steady(1), *steady(2, since_s=0.98 + pause_s)]
    events = sorted([*((time_s, 0) for time_s in first), *((time_s + 0.003, 1) for time_s in steady(6, 70))])
    zeros, taken = np.zeros(1, np.int64), [0, 0]
    for time_s, row in events:
        columns = Columns(np.array([taken[row]]), zeros, zeros, zeros)
        reception.absorb(columns, [row], [1], [BEGIN_NS + int(time_s * NS_PER_S)])
        taken[row] += 1
    surely, perhaps = reception.fallen_silent([0, 1])
    lull = (surely | perhaps)[0]
    assert max(0.1, pause_s - 0.1) <= lull.longest_ns / NS_PER_S <= max(0.1, pause_s)
    assert (0 in surely) is (lull.longest_ns < 0.2 * NS_PER_S)
    assert lull.silent_ns / NS_PER_S == pytest.approx(6 - first[-1], abs=0.001)
