"""Due times against the area under the rate curve, computed here in exact fractions."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenario_samples import REPEATABLE

from loadgen.scenario.schedule import RateStage, Schedule
from loadgen.units import NS_PER_MS, NS_PER_S

Curve = list[tuple[int, float, float]]  # (ms, rate at its start, rate at its end)

CURVES: dict[str, Curve] = {
    "hold": [(2000, 500, 500)],
    "a slow hold": [(60_000, 0.25, 0.25)],
    "an uneven hold": [(1700, 333.3, 333.3)],
    "ramp from 0": [(3000, 0, 400)],
    "ramp to 0": [(3000, 400, 0)],
    "up, hold, down": [(1000, 0, 1000), (1500, 1000, 1000), (700, 1000, 0)],
    "steps": [(500, 100, 100), (500, 1000, 1000), (500, 10, 10)],
    "a pause": [(1000, 100, 100), (2000, 0, 0), (1000, 50, 50)],
    "a pause at either end": [(1000, 0, 0), (1000, 64, 64), (1000, 0, 0)],
    "ramps meet at 0": [(1000, 200, 0), (1000, 0, 200)],
    "a fraction of a slot in each stage": [(333, 7, 7), (333, 7, 11), (334, 11, 3)],
    "long and fast": [(600_000, 50_000, 50_000)],
}


def schedule_of(curve: Curve, wlcs: int = 1) -> Schedule:
    start, stages = 0, []
    for ms, first, last in curve:
        stages.append(RateStage("stage", start, ms * NS_PER_MS, first, last))
        start += ms * NS_PER_MS
    return Schedule(stages, wlcs)


def area(curve: Curve, until_ns: int | None = None) -> Fraction:
    """Slots due until a time: the area under the curve, exactly."""
    total, start = Fraction(0), 0
    for ms, first, last in curve:
        length = ms * NS_PER_MS
        inside = length if until_ns is None else min(max(until_ns - start, 0), length)
        x, d = Fraction(inside, NS_PER_S), Fraction(length, NS_PER_S)
        total += Fraction(first) * x + (Fraction(last) - Fraction(first)) * x * x / (2 * d)
        start += length
    return total


def some_slots(schedule: Schedule) -> range:
    """All slots, or evenly spread ones of a long schedule; the last one among them."""
    return range((schedule.slots - 1) % max(1, schedule.slots // 3000), schedule.slots, max(1, schedule.slots // 3000))


@pytest.mark.parametrize("name", CURVES)
def test_the_number_of_slots_is_the_area_under_the_curve(name: str) -> None:
    assert schedule_of(CURVES[name]).slots == ceil(area(CURVES[name]) - Fraction(1, 10**6))


@pytest.mark.parametrize("name", CURVES)
def test_each_slot_is_due_when_the_area_reaches_its_number(name: str) -> None:
    curve, schedule = CURVES[name], schedule_of(CURVES[name])
    slots = some_slots(schedule)
    assert slots[-1] == schedule.slots - 1
    for slot in slots:
        due = schedule.due_ns(slot)
        assert 0 <= due <= schedule.duration_ns
        assert area(curve, max(0, due - 2)) - Fraction(1, 10**6) <= slot <= area(curve, due + 2) + Fraction(1, 10**6)


@pytest.mark.parametrize("name", CURVES)
def test_due_times_never_go_back_and_the_column_is_the_same(name: str) -> None:
    schedule = schedule_of(CURVES[name])
    slots = some_slots(schedule)
    due = [schedule.due_ns(slot) for slot in slots]
    assert due == sorted(due)
    assert schedule.due_column_ns(np.array(slots)).tolist() == due


@pytest.mark.parametrize("name", CURVES)
def test_count_is_the_inverse_of_due(name: str) -> None:
    """count_at(t) is how many due times are <= t: tried at every due time and beside it."""
    schedule = schedule_of(CURVES[name])
    everything = schedule.due_column_ns(np.arange(schedule.slots)) if schedule.slots < 100_000 else None
    for slot in some_slots(schedule):
        due = schedule.due_ns(slot)
        assert schedule.count_at(due) > slot
        assert schedule.count_at(due - 1) <= slot
        if everything is not None and due < schedule.duration_ns:
            for time in (due - 1, due, due + 1):
                assert schedule.count_at(time) == int(np.searchsorted(everything, time, side="right"))


@given(
    curve=st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 3000), st.integers(0, 3000)), min_size=1, max_size=5),
    times=st.lists(st.integers(-10, 26_000_000_000), min_size=1, max_size=20),
)
@REPEATABLE
def test_any_curve(curve: list[tuple[int, int, int]], times: list[int]) -> None:
    exact: Curve = [(ms, float(first), float(last)) for ms, first, last in curve]
    schedule = schedule_of(exact)
    assert schedule.slots == ceil(area(exact) - Fraction(1, 10**6))
    due = schedule.due_column_ns(np.arange(schedule.slots))
    assert np.all(np.diff(due) >= 0)
    for time in times:
        count = schedule.count_at(time)
        if time < 0:
            assert count == 0
        elif time >= schedule.duration_ns:
            assert count == schedule.slots
        else:
            assert count == int(np.searchsorted(due, time, side="right"))
            assert abs(count - area(exact, time)) <= Fraction(1001, 1000)


def test_before_and_after() -> None:
    schedule = schedule_of(CURVES["up, hold, down"])
    assert schedule.count_at(-1) == 0
    assert schedule.count_at(0) == 1  # slot 0 is due when the load begins
    assert schedule.count_at(schedule.duration_ns) == schedule.slots == schedule.count_at(10**18)


@pytest.mark.parametrize("per_s", [1, 3, 250, 999, 12_345])
def test_a_hold_is_evenly_spaced(per_s: int) -> None:
    schedule = schedule_of([(10_000, per_s, per_s)])
    assert schedule.slots == 10 * per_s
    for slot in range(schedule.slots):
        assert abs(schedule.due_ns(slot) - Fraction(slot * NS_PER_S, per_s)) <= 1


def test_a_ramp_from_nothing_gets_denser_and_its_mirror_thinner() -> None:
    up, down = schedule_of([(4000, 0, 200)]), schedule_of([(4000, 200, 0)])
    assert up.slots == down.slots == 400
    rising = np.diff(up.due_column_ns(np.arange(400)))
    falling = np.diff(down.due_column_ns(np.arange(400)))
    assert np.all(np.diff(rising) <= 1)
    assert np.all(np.diff(falling) >= -1)
    assert abs(rising[0] - 4 * NS_PER_S // 20) <= 1  # sqrt(1 / (200 / 8)) s = 0.2 s
    # A quarter of the slots in the first half of the way up, three quarters on the way down.
    assert up.count_at(2 * NS_PER_S - 1) == 100
    assert down.count_at(2 * NS_PER_S - 1) == 300


def test_nothing_is_due_in_a_pause() -> None:
    schedule = schedule_of(CURVES["a pause"])
    assert schedule.count_at(NS_PER_S - 1) == schedule.count_at(3 * NS_PER_S - 1) == 100
    assert schedule.due_ns(100) == 3 * NS_PER_S


@pytest.mark.parametrize("wlcs", [1, 2, 7, 10, 1000])
def test_turns_share_the_slots_out_without_a_rest(wlcs: int) -> None:
    schedule = schedule_of(CURVES["steps"], wlcs)
    for count in (0, 1, wlcs - 1, wlcs, wlcs + 1, 5 * wlcs + 3):
        turns = [schedule.turns(wlc, count) for wlc in range(wlcs)]
        assert sum(turns) == count
        assert max(turns) - min(turns) <= 1
        owned = [schedule.slot(wlc, turn) for wlc in range(wlcs) for turn in range(turns[wlc])]
        assert sorted(owned) == list(range(count))


@pytest.mark.parametrize("members", [1, 2, 7, 1000])
def test_turns_of_many_are_the_turns_of_each(members: int) -> None:
    schedule = Schedule([RateStage("hold", 0, NS_PER_S, 100.0, 100.0)], members)
    column = np.arange(members)
    for count in (0, 1, 2, members - 1, members, members + 1, 10 * members + 3):
        assert schedule.turns_column(column, count).tolist() == [schedule.turns(m, count) for m in range(members)]
