"""What WLCs owe by the schedule: in columns as one by one, and whoever comes and goes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from session_samples import REPEATABLE

from loadgen.scenario.plan import Plan, Use, make_plan
from loadgen.scenario.reading import load_scenario
from loadgen.scenario.schedule import Share
from loadgen.session.ledger import Owing
from loadgen.units import NS_PER_S

TO_UNIX_NS = 1_000_000_007
START_NS = 5 * NS_PER_S
# A ramp and a hold; and more planned sessions than a ledger's columns hold at first.
SCENARIO = """
name = "owing"
[wlc]
count = 7
[mse]
count = 5
[load]
rate = 300
burst = 1
backlog = "1s"
stages = [{ ramp = "2s" }, { hold = "3s" }]
"""


class Session:
    """One that a WLC tells."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.row = self.left_row = -1


Make = Callable[..., tuple[Plan, Owing[Session]]]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """What the second of three workers owes, from `START_NS` on."""
    path = tmp_path_factory.mktemp("owing") / "owing.toml"
    path.write_text(SCENARIO, "utf-8")

    @cache
    def plan_of(burst: int, sessions_per_user: int) -> Plan:
        scenario, profile = load_scenario(path, [f"load.burst={burst}"])
        return make_plan(scenario, profile, use=Use.SERVE_WLC, sessions_per_user=sessions_per_user)

    def make(burst: int = 1, sessions_per_user: int = 0) -> tuple[Plan, Owing[Session]]:
        plan = plan_of(burst, sessions_per_user)
        owing = Owing[Session](plan, Share(plan.schedule(), 1, 3), TO_UNIX_NS)
        owing.start(START_NS, plan.load.stages)
        return plan, owing

    return make


@given(burst=st.integers(1, 9), slots=st.integers(0, 1400), seed=st.integers(0, 99))
@REPEATABLE
def test_columns_say_of_many_rows_what_is_said_of_each(make: Make, burst: int, slots: int, seed: int) -> None:
    _, owing = make(burst)
    random, ledger = np.random.default_rng(seed), owing.ledger
    assert ledger.rows == 2 * 5
    for position in (1, 0, 1, 1, 0, 1, 1, 0):  # more than are planned
        for session in [Session(position) for _ in range(3)]:
            owing.subscribe(session, START_NS)
    ledger.done[: ledger.rows] = random.integers(0, 200, ledger.rows)
    ledger.cease(3, 11 * burst)  # its count of then is what it is owed in the end
    rows = random.permutation(ledger.rows)
    positions = owing.positions(rows)
    assert all(row in owing.rows[position] for row, position in zip(rows.tolist(), positions.tolist(), strict=True))
    due = [owing.due(position, slots) for position in positions.tolist()]
    each = [ledger.owed(row, due_now) for row, due_now in zip(rows.tolist(), due, strict=True)]
    assert owing.owed_column(rows, slots).tolist() == each
    nexts = [
        owing.due_ns(p, int(ledger.done[row]), 1) for row, p in zip(rows.tolist(), positions.tolist(), strict=True)
    ]
    assert owing.next_due_ns(rows).tolist() == nexts


@given(burst=st.integers(1, 20), first=st.integers(0, 100), count=st.integers(1, 60))
@REPEATABLE
def test_due_times_are_those_of_the_slots(make: Make, burst: int, first: int, count: int) -> None:
    """Of one burst, of a few, and of more than that."""
    plan, owing = make(burst)
    found = owing.due_ns(1, first, count)
    schedule, number = plan.schedule(), owing.share.members[1]
    turns = [index // burst for index in range(first, first + count)]
    wanted = [schedule.due_ns(schedule.slot(number, turn)) + START_NS + TO_UNIX_NS for turn in turns]
    if len(set(turns)) == 1:
        assert [found] == wanted[:1]
    else:
        assert isinstance(found, np.ndarray)
        assert found.tolist() == wanted


def test_a_due_time_stays_what_it_was_when_others_are_asked_for(make: Make) -> None:
    _, owing = make(2)
    first = owing.due_ns(0, 0, 6)
    assert isinstance(first, np.ndarray)
    before = first.tolist()
    owing.due_ns(1, 40, 6)
    assert first.tolist() == before


def test_only_who_is_away_or_held_up_is_dropped_for_without_a_visit(make: Make) -> None:
    """What whoever takes it is owed is for its next visit to give up, as our own doing."""
    plan, owing = make()
    takes, held_up = Session(0), Session(0)
    for session in (takes, held_up):
        owing.subscribe(session, START_NS - 1)  # nothing is due yet
    ledger = owing.ledger
    now = START_NS + plan.load.backlog + NS_PER_S
    late = owing.due(0, plan.schedule().count_at(NS_PER_S))
    assert late > 0
    owing.drop_waiting(now, {held_up.row})
    dropped = [int(ledger.dropped[row]) for row in owing.rows[0]]
    assert dropped == [0 if row == takes.row else late for row in owing.rows[0]]
    assert not ledger.own_dropped.any()
    owing.drop_expired(takes, now, ours=True)
    assert (ledger.dropped[takes.row], ledger.own_dropped[takes.row]) == (late, late)
    owing.drop_waiting(now, {held_up.row})  # once is enough
    assert [int(ledger.dropped[row]) for row in owing.rows[0]] == [late] * 5


def test_a_load_waits_for_who_is_there_and_no_longer_than_the_backlog(make: Make) -> None:
    plan, owing = make()
    end_ns = START_NS + plan.duration_ns
    assert owing.everything_done(end_ns)  # nobody is there
    session = Session(1)
    owing.subscribe(session, START_NS)
    assert not owing.everything_done(end_ns - 1)
    assert not owing.everything_done(end_ns)
    assert owing.everything_done(end_ns + plan.load.backlog)
    owing.ledger.done[session.row] = owing.due_by(1, end_ns)
    assert owing.everything_done(end_ns)
    owing.give_up(end_ns)
    due, dropped, own, declined = owing.totals(end_ns)
    assert due - dropped == owing.ledger.done[session.row] - owing.ledger.dropped[session.row]
    assert (own, declined) == (0, 0)


def test_whoever_comes_unsubscribes_comes_again_and_leaves_is_owed_what_was_due_meanwhile(make: Make) -> None:
    plan, owing = make()
    session, number = Session(0), owing.share.members[0]
    schedule = plan.schedule()

    def at(turns: int) -> int:
        """When so many of its WLC's are due."""
        return START_NS + schedule.due_ns(schedule.slot(number, turns - 1))

    owing.subscribe(session, at(4))
    row, ledger = session.row, owing.ledger
    assert ledger.dropped[row] == 4  # it should have been there
    ledger.done[row] += 6
    ledger.sent[row] += 6
    owing.unsubscribe(session, owing.due_by(0, at(12)))
    assert (session.row, session.left_row, owing.subscribers[row]) == (-1, row, None)
    assert (owing.sent(session), row in owing.rows[0], ledger.dropped[row]) == (6, False, 4 + 2)
    owing.subscribe_again(session, at(20))
    assert (session.row, session.left_row, owing.subscribers[row]) == (row, -1, session)
    assert ledger.owed(row, owing.due_by(0, at(25))) == 5
    assert owing.totals(at(25))[3] == 20 - 12
    owing.leave(session, at(30))
    assert (session.row, session.left_row, owing.sent(session), owing.subscribers[row]) == (-1, -1, 0, None)
    assert row in owing.rows[0]  # it should be there: what becomes due is owed
    owing.leave(session, at(30))  # it has no row any more
    assert owing.rows[0].count(row) == 1


def test_users_are_owed_nothing_before_they_come(make: Make) -> None:
    plan, owing = make(sessions_per_user=1)
    end_ns = START_NS + plan.duration_ns
    assert owing.totals(end_ns) == (0, 0, 0, 0)
    owing.subscribe(Session(0), end_ns - NS_PER_S)
    assert owing.totals(end_ns)[0] == owing.due_by(0, end_ns) - owing.due_by(0, end_ns - NS_PER_S) > 0
