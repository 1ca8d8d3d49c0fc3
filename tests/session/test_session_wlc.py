"""What a WLC owes, which worker's turn it is, and who the stations are."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from session_samples import PROFILE, REPEATABLE

from loadgen.scenario.schedule import RateStage, Schedule, Share
from loadgen.session.ledger import Ledger
from loadgen.units import NS_PER_S
from loadgen.world.stations import make_stations

# -- shares ------------------------------------------------------------------------------------------------------------


def shares(wlcs: int, workers: int) -> list[Share]:
    schedule = Schedule([RateStage("hold", 0, NS_PER_S, 100.0, 100.0)], wlcs)
    return [Share(schedule, worker, workers) for worker in range(workers)]


@pytest.mark.parametrize("wlcs", [1, 2, 3, 7, 10, 64, 1000])
@pytest.mark.parametrize("workers", [1, 2, 3, 4, 8])
def test_every_slot_is_visited_by_exactly_one_worker(wlcs: int, workers: int) -> None:
    rng = random.Random(wlcs * 100 + workers)
    parts = shares(wlcs, workers)
    assert sorted(wlc for part in parts for wlc in part.members) == list(range(wlcs))
    first = 0
    for _ in range(200):
        end = first + rng.choice((0, 1, 1, 2, 5, wlcs // 2, wlcs - 1, wlcs, wlcs + 1, 3 * wlcs))
        wanted = {slot % wlcs for slot in range(first, end)}
        visited: Counter[int] = Counter()
        for part in parts:
            for positions in part.positions(first, end):
                for position in positions:
                    visited[part.members[position]] += 1
        assert visited == Counter(wanted), (first, end)  # none missing, none twice, no other
        first = end


@pytest.mark.parametrize(("wlcs", "workers"), [(1, 4), (10, 3), (1000, 4), (5, 5)])
def test_turns_of_all_workers_are_the_slots(wlcs: int, workers: int) -> None:
    parts = shares(wlcs, workers)
    for count in (0, 1, wlcs, 3 * wlcs + 1, 12_345):
        assert sum(part.schedule.turns(wlc, count) for part in parts for wlc in part.members) == count


def test_neighbours_in_the_schedule_are_on_different_workers() -> None:
    parts = shares(12, 3)
    owner = {wlc: part.worker for part in parts for wlc in part.members}
    assert all(owner[slot % 12] != owner[(slot + 1) % 12] for slot in range(24))


# -- what is owed ------------------------------------------------------------------------------------------------------

EVENTS = st.lists(st.tuples(st.sampled_from(["pass", "send", "drop", "leave"]), st.integers(0, 20)), max_size=40)


@given(base=st.integers(0, 100), events=EVENTS)
@REPEATABLE
def test_due_is_sent_and_dropped_and_owed(base: int, events: list[tuple[str, int]]) -> None:
    """Through any history: time passes, some is sent, some given up, and in the end the peer leaves."""
    ledger = Ledger()
    ledger.add(17)  # other rows are not touched
    row, due_now, sent, end = ledger.add(base), base, 0, None
    ledger.add(23)
    for event, amount in events:
        if event == "pass":
            due_now += amount
        elif event == "send":
            count = min(amount, ledger.owed(row, due_now))
            ledger.done[row] += count
            sent += count
        elif event == "drop":
            until = due_now - amount if end is None else min(due_now - amount, end)
            ledger.drop_until(row, until, ours=bool(amount & 1))
        elif end is None:
            end = due_now
            ledger.close(row, end)
        assert ledger.due(row, due_now) == (due_now if end is None else end) - base
        assert ledger.due(row, due_now) == sent + ledger.dropped[row] + ledger.owed(row, due_now)
        assert ledger.owed(row, due_now) >= 0
        assert 0 <= ledger.own_dropped[row] <= ledger.dropped[row]
        totals = (ledger.due(row, due_now), ledger.dropped[row], ledger.own_dropped[row])
        assert ledger.totals(np.array([17, due_now, 23])) == totals
    if end is not None:
        assert ledger.owed(row, due_now + 1000) == 0
    assert [ledger.done[other] for other in (0, 2)] == [17, 23]


def test_what_was_given_up_is_never_given_up_twice() -> None:
    ledger = Ledger()
    row = ledger.add()
    ledger.drop_until(row, 10, ours=True)
    ledger.drop_until(row, 10, ours=True)
    ledger.drop_until(row, 4, ours=False)
    assert (ledger.dropped[row], ledger.own_dropped[row], ledger.done[row]) == (10, 10, 10)
    ledger.drop_until(row, 12, ours=False)
    assert (ledger.dropped[row], ledger.own_dropped[row], ledger.done[row]) == (12, 10, 12)
    assert (ledger.due(row, 15), ledger.owed(row, 15)) == (15, 3)


def test_a_stranger_owes_nothing_from_before_it_came() -> None:
    ledger = Ledger()
    row = ledger.add(base=100)
    assert (ledger.due(row, 100), ledger.owed(row, 100)) == (0, 0)
    assert (ledger.due(row, 107), ledger.owed(row, 107)) == (7, 7)
    ledger.close(row, 107)
    assert (ledger.due(row, 500), ledger.owed(row, 500)) == (7, 0)
    assert ledger.dropped[row] == 7


def test_a_ledger_has_as_many_rows_as_it_takes() -> None:
    ledger = Ledger()
    rows = [ledger.add(base) for base in range(100)]
    assert rows == list(range(100))
    assert ledger.base[:100].tolist() == ledger.done[:100].tolist() == list(range(100))
    assert [ledger.owed(row, 100) for row in rows] == [100 - row for row in rows]
    assert ledger.totals(np.full(100, 100)) == (sum(range(1, 101)), 0, 0)


@given(visits=st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.integers(0, 9)), max_size=60))
@REPEATABLE
def test_rows_of_visitors_who_left_are_used_again(visits: list[tuple[bool, int, int]]) -> None:
    """Each is due what the schedule had while it was there, and all of it is in the sums, whoever has its row now."""
    ledger, up, rows = Ledger(), list[object | None](), list[int]()
    due_now = due = dropped = most = 0
    since: dict[int, int] = {}
    for comes, passes, sends in visits:
        due_now += passes
        if comes or not rows:
            row = ledger.add(due_now)
            up.extend([None] * (row + 1 - len(up)))
            assert up[row] is None
            assert (ledger.owed(row, due_now), ledger.sent[row], ledger.behind[row]) == (0, 0, 0)
            up[row], since[row] = "somebody", due_now
            rows.append(row)
        else:
            row = rows[sends % len(rows)]
            count = min(sends, ledger.owed(row, due_now))
            ledger.done[row] += count
            ledger.sent[row] += count
            due += due_now - since[row]
            dropped += ledger.owed(row, due_now)
            up[row] = None
            ledger.leave(row, rows, up, due_now)
        most = max(most, len(rows))
        still = sum(due_now - since[row] for row in rows)
        assert ledger.totals(np.full(ledger.rows, due_now)) == (due + still, dropped, 0)
    assert ledger.rows == most
    ledger.restart()
    assert ledger.totals(np.zeros(ledger.rows, np.int64)) == (0, 0, 0)


# -- stations ----------------------------------------------------------------------------------------------------------


def test_stations_are_the_same_wherever_they_are_made() -> None:
    first, again = (make_stations(PROFILE, 7, 3, 40, (1, 8), 1) for _ in range(2))
    assert np.array_equal(first.macs, again.macs)
    assert np.array_equal(first.counts, again.counts)
    assert first.readings.tobytes() == again.readings.tobytes()
    for other in (make_stations(PROFILE, 8, 3, 40, (1, 8), 1), make_stations(PROFILE, 7, 4, 40, (1, 8), 1)):
        assert not np.array_equal(first.macs, other.macs)


@pytest.mark.parametrize("readings", [(0, 0), (4, 4), (0, 16), (3, 5)])
def test_stations_are_what_was_asked_for(readings: tuple[int, int]) -> None:
    stations = make_stations(PROFILE, 1, 0, 500, readings, 1)
    assert stations.macs.shape == (500, 6)
    assert set(stations.counts.tolist()) == set(range(readings[0], readings[1] + 1))
    assert stations.readings.shape == (500, readings[1])
    assert len({mac.tobytes() for mac in stations.macs}) == 500
    assert set((stations.macs[:, 0] & 3).tolist()) == {2}  # locally administered, not a group
    assert stations.readings["rssi_a"].size == 0 or -90 <= stations.readings["rssi_a"].min() <= -30
    ap_macs = stations.readings["ap_mac"].tobytes()
    assert {ap_macs[i] & 3 for i in range(0, len(ap_macs), 6)} <= {2}


@pytest.mark.parametrize(("granted", "subservice"), [(1, 0), (1 << 5, 5), (1 << 5 | 1, 0), (1 << 9 | 1 << 5, 5)])
def test_stations_report_under_a_subservice_that_was_granted(granted: int, subservice: int) -> None:
    assert make_stations(PROFILE, 1, 0, 3, (1, 1), granted).subservice == subservice
