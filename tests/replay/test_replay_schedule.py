"""When what was recorded is due: at its times, as often as it takes, at any speed; against plain enumeration."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loadgen.scenario.replay_plan import PlannedReplay, PlannedTrack, ReplaySchedule, packed_times, unpacked_times
from loadgen.scenario.schedule import RateStage, Share
from loadgen.units import NS_PER_MS, NS_PER_S

Times = list[list[int]]


def replay(times: Times, period_ns: int) -> PlannedReplay:
    tracks = tuple(PlannedTrack("", len(each), 0, packed_times(np.array(each))) for each in times)
    return PlannedReplay("", period_ns, tracks, 1, 1)


def schedule(times: Times, period_ns: int, members: int, speed: float, seconds: float) -> ReplaySchedule:
    planned = replay(times, period_ns)
    per_s = planned.natural_per_s(members) * speed
    return ReplaySchedule([RateStage("hold", 0, int(seconds * NS_PER_S), per_s, per_s)], members, planned)


def enumerated(times: Times, period_ns: int, members: int, speed: float, until_ns: float) -> list[tuple[float, int]]:
    """(due, member) of all that is due before a time, in order."""
    found, start = [], 0
    while start / speed < until_ns:
        for member in range(members):
            mine = [((start + at) / speed, member) for at in times[member % len(times)]]
            found += [each for each in mine if each[0] < until_ns]
        start += period_ns
    return sorted(found)


TIMES = st.lists(st.lists(st.integers(0, 999), min_size=1, max_size=6).map(sorted), min_size=1, max_size=3)


@given(times=TIMES, members=st.integers(1, 7), speed=st.sampled_from([0.1, 0.5, 1.0, 3.0, 100.0]))
def test_everything_is_due_when_it_was_recorded(times: Times, members: int, speed: float) -> None:
    times = [[at * NS_PER_MS for at in each] for each in times[:members]]
    length_s = 2.5 / speed
    plan = schedule(times, NS_PER_S, members, speed, length_s)
    expected = enumerated(times, NS_PER_S, members, speed, length_s * NS_PER_S)
    near_the_end = sum(due > length_s * NS_PER_S - 100 for due, _ in expected)
    assert len(expected) - near_the_end <= plan.slots <= len(expected)
    for member in range(members):
        mine = [due for due, whose in expected if whose == member]
        turns = plan.turns(member, plan.slots)
        assert len(mine) - near_the_end <= turns <= len(mine)
        slots = [plan.slot(member, turn) for turn in range(turns)]
        assert [plan.due_ns(slot) for slot in slots] == pytest.approx(mine[:turns], abs=2)
        column = plan.slot_column(np.full(turns, member), np.arange(turns))
        assert column.tolist() == slots
        assert plan.due_column_ns(column).tolist() == [plan.due_ns(slot) for slot in slots]
        assert plan.due_of_turns_ns(member, np.arange(turns)).tolist() == [plan.due_ns(slot) for slot in slots]


@given(times=TIMES, members=st.integers(1, 7), at_ms=st.integers(0, 2600))
def test_counts_and_due_times_never_disagree(times: Times, members: int, at_ms: int) -> None:
    times = [[at * NS_PER_MS for at in each] for each in times[:members]]
    plan = schedule(times, NS_PER_S, members, 1.0, 2.5)
    count = plan.count_at(at_ms * NS_PER_MS)
    assert all(plan.due_ns(slot) <= at_ms * NS_PER_MS for slot in range(count))
    assert all(plan.due_ns(slot) > at_ms * NS_PER_MS for slot in range(count, min(plan.slots, count + 3)))
    whose = [plan.turns(member, count) for member in range(members)]
    assert sum(whose) == count
    assert plan.turns_column(np.arange(members), count).tolist() == whose


@given(
    times=TIMES,
    members=st.integers(1, 9),
    workers=st.integers(1, 3),
    span=st.tuples(st.integers(0, 60), st.integers(0, 30)),
)
@example(times=[[0, 0, 0], [0, 0, 0, 0, 0]], members=6, workers=1, span=(26, 23))  # once round, into the same message
def test_whose_turn_it_was(times: Times, members: int, workers: int, span: tuple[int, int]) -> None:
    plan = schedule([[at * NS_PER_MS for at in each] for each in times[:members]], NS_PER_S, members, 1.0, 9.0)
    first, end = span[0], span[0] + span[1]
    owed = {m for m in range(members) if plan.turns(m, end) > plan.turns(m, first)}
    seen: set[int] = set()
    for worker in range(min(workers, members)):
        share = Share(plan, worker, min(workers, members))
        found = [share.members[position] for part in share.positions(first, end) for position in part]
        assert len(found) == len(set(found))
        seen |= set(found)
    assert owed <= seen


def test_a_ramp_goes_through_the_capture_faster_and_faster() -> None:
    planned = replay([[0, 500 * NS_PER_MS]], NS_PER_S)
    natural = planned.natural_per_s(1)
    ramp = ReplaySchedule([RateStage("ramp", 0, 2 * NS_PER_S, 0.0, 2 * natural)], 1, planned)
    # Two periods in all: at the time t, t squared halves of one.
    assert ramp.slots == 4
    due = [ramp.due_ns(slot) for slot in range(4)]
    assert due == pytest.approx([NS_PER_S * 2**0.5 * each**0.5 for each in (0, 0.5, 1, 1.5)], abs=5)


def test_times_come_back_from_their_packing() -> None:
    times = np.array([0, 0, 7, 1_000_000_007, 1 << 60])
    assert unpacked_times(packed_times(times)).tolist() == times.tolist()
