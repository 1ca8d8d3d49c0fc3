"""`load.kind = "handshake"`: what fits together, what it is resolved to, and whose each slot is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenario_samples import REPEATABLE, plan_of, problems_of

from loadgen.loads import LoadKind
from loadgen.scenario.plan import Plan, Use
from loadgen.scenario.schedule import RateStage, Schedule, Share
from loadgen.units import NS_PER_MS, NS_PER_S

SHAKE = 'name = "shake"\nload.kind = "handshake"\n'
NOTIFY = 'name = "tell"\nload.rate = 100\n'

# A scenario that works, and what is added to it -> how each problem that must come of it begins.
BAD: dict[tuple[str, str], list[str]] = {
    (SHAKE, "load.interval = '1s'"): ['load.interval: expected load.kind = "notify", found "handshake"'],
    (SHAKE, "load.burst = 1"): ['load.burst: expected load.kind = "notify", found "handshake"'],
    (SHAKE, "load.rate = 5\nload.interval = '1s'"): ['load.interval: expected load.kind = "notify"'],
    (SHAKE, "load.burst = 2\nload.interval = '1s'"): ["load.interval: expected", "load.burst: expected"],
    (NOTIFY, "load.concurrency = 5"): ['load.concurrency: expected load.kind = "handshake", found "notify"'],
    (NOTIFY, "load.resumed = 0.5"): ['load.resumed: expected load.kind = "handshake", found "notify"'],
    # Their defaults, written down, are no less out of place.
    (NOTIFY, "load.resumed = 0"): ['load.resumed: expected load.kind = "handshake", found "notify"'],
    (NOTIFY, "load.kind = 'notify'\nload.concurrency = 64"): ['load.concurrency: expected load.kind = "handshake"'],
    (SHAKE, "load.stages = [{ ramp = '1s' }]"): ["load.stages[0]: expected load.rate"],
    (SHAKE, "load.stages = [{ hold = '1s', rate = 5 }]"): ["load.stages[0]: expected load.rate"],
    (SHAKE, "load.stages = [{ hold = '1s', rate = 0 }]"): ["load.stages[0]: expected load.rate"],
    (SHAKE, "load.stages = [{ hold = '1s' }, { ramp = '1s', rate = 5 }, { hold = '2s' }]"): [
        "load.stages[1]: expected load.rate, for a stage with a ramp or a rate of its own, found none"
    ],
    (SHAKE, "load.stages = [{ ramp = '1s' }, { ramp = '1s' }]"): ["load.stages[0]: ", "load.stages[1]: "],
    (SHAKE, "load.resumed = 1.001"): ["load.resumed: expected float <= 1.0, found 1.001"],
    (SHAKE, "load.resumed = -0.001"): ["load.resumed: expected float >= 0.0, found -0.001"],
    (SHAKE, "load.resumed = nan"): ["load.resumed: expected"],
    (SHAKE, "load.resumed = 'half'"): ["load.resumed: expected float, found "],
    (SHAKE, "load.concurrency = 0"): ["load.concurrency: expected int >= 1, found 0"],
    (SHAKE, "load.concurrency = -1"): ["load.concurrency: expected int >= 1, found -1"],
    (SHAKE, "load.concurrency = 100_001"): ["load.concurrency: expected int <= 100000, found 100001"],
    (SHAKE, "load.concurrency = 1.5"): ["load.concurrency: expected int, found 1.5"],
    (SHAKE, "load.rate = 0"): ["load.rate: expected float > 0"],
    (SHAKE, "load.concurency = 5"): ["load.concurency: expected one of concurrency, aps, backlog, burst, capture, "],
    (SHAKE, "load.stages = []"): ["load.stages: expected at least one stage, found none"],
    # A wrong kind is one problem: which keys belong to it cannot be told.
    (NOTIFY, "load.kind = 'handshakes'"): ["load.kind: expected"],
}


@pytest.mark.parametrize(("good", "added"), BAD, ids=lambda text: text.replace("\n", " "))
def test_what_is_wrong_is_said_and_nothing_else(tmp_path: Path, good: str, added: str) -> None:
    found = problems_of(tmp_path, good + added)
    assert len(found) == len(BAD[good, added]), found
    for text, beginning in zip(found, BAD[good, added], strict=True):
        assert text.startswith(beginning)


@pytest.mark.parametrize("added", ["load.concurrency = 5", "load.resumed = 0.5", "load.stages = [{ ramp = '1s' }]"])
def test_a_wrong_kind_is_the_only_problem(tmp_path: Path, added: str) -> None:
    """The other keys were checked against the default in its place, and that is not what the user wrote."""
    found = problems_of(tmp_path, f'name = "shake"\nload.kind = "handshakes"\n{added}')
    assert [text.partition(": ")[0] for text in found] == ["load.kind"]


def test_problems_of_both_sorts_come_at_once(tmp_path: Path) -> None:
    text = SHAKE + "load.interval = '1s'\nload.concurrency = 0\nload.stages = [{ ramp = '1s' }]"
    where = [text.partition(": ")[0] for text in problems_of(tmp_path, text)]
    assert sorted(where) == ["load.concurrency", "load.interval", "load.stages[0]"]


# -- the plan ----------------------------------------------------------------------------------------------------------


def what(plan: Plan) -> tuple[LoadKind, bool, int, float]:
    return plan.load.kind, plan.load.paced, plan.load.concurrency, plan.load.resumed


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (SHAKE, (LoadKind.HANDSHAKE, False, 64, 0.0)),
        (SHAKE + "load.rate = 50", (LoadKind.HANDSHAKE, True, 1000, 0.0)),
        (SHAKE + "load.concurrency = 1", (LoadKind.HANDSHAKE, False, 1, 0.0)),
        (SHAKE + "load.concurrency = 7\nload.rate = 0.5", (LoadKind.HANDSHAKE, True, 7, 0.0)),
        (SHAKE + "load.resumed = 1", (LoadKind.HANDSHAKE, False, 64, 1.0)),
        (SHAKE + "load.resumed = 0.25", (LoadKind.HANDSHAKE, False, 64, 0.25)),
        (SHAKE + "load.resumed = 0", (LoadKind.HANDSHAKE, False, 64, 0.0)),
    ],
)
def test_defaults_and_values(tmp_path: Path, text: str, wanted: tuple[LoadKind, bool, int, float]) -> None:
    assert what(plan_of(tmp_path, text)) == wanted


@pytest.mark.parametrize("text", [NOTIFY, "name = 'tell'\nload.interval = '1s'", NOTIFY + "load.kind = 'notify'"])
def test_notifications_are_paced_and_resume_nothing(tmp_path: Path, text: str) -> None:
    plan = plan_of(tmp_path, text)
    assert (plan.load.kind, plan.load.paced, plan.load.resumed) == (LoadKind.NOTIFY, True, 0.0)


def test_the_fleet_of_the_schedule_is_that_of_its_kind(tmp_path: Path) -> None:
    fleet = "wlc.count = 3\nmse.count = 4\n"
    assert plan_of(tmp_path, SHAKE + "load.rate = 5\n" + fleet).schedule().members == 12
    assert plan_of(tmp_path, SHAKE + "load.rate = 5\nmse.assign = 'round-robin'\n" + fleet).schedule().members == 3
    assert plan_of(tmp_path, NOTIFY + fleet).schedule().members == 3


def test_a_rate_counts_handshakes_of_the_whole_fleet(tmp_path: Path) -> None:
    text = SHAKE + "load.rate = 40\nwlc.count = 3\nmse.count = 5\n"
    text += 'load.stages = [{ ramp = "1s" }, { hold = "2s" }, { ramp = "1s", rate = 10 }]'
    plan = plan_of(tmp_path, text)
    assert [(stage.start_per_s, stage.end_per_s) for stage in plan.load.stages] == [(0, 40), (40, 40), (40, 10)]
    assert plan.schedule().slots == 20 + 80 + 25
    assert plan.duration_ns == 4 * NS_PER_S


def test_as_fast_as_it_goes_nothing_is_due_but_it_takes_its_time(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, SHAKE + 'load.stages = [{ hold = "2s" }, { hold = "500ms" }]')
    assert plan.schedule().slots == 0
    assert plan.schedule().duration_ns == plan.duration_ns == 2500 * NS_PER_MS
    assert plan_of(tmp_path, SHAKE, duration_ns=7 * NS_PER_S).duration_ns == 7 * NS_PER_S


@pytest.mark.parametrize(
    "override",
    [
        "load.concurrency=63",
        "load.resumed=0.1",
        "load.rate=9",
        "load.backlog=1s",
        "mse.count=2",
        "mse.setup_timeout=1s",
    ],
)
def test_the_digest_changes_with_what_shapes_the_load(tmp_path: Path, override: str) -> None:
    assert plan_of(tmp_path, SHAKE, override).digest != plan_of(tmp_path, SHAKE).digest


def test_the_digest_tells_the_kinds_apart_and_not_the_places(tmp_path: Path) -> None:
    paced = plan_of(tmp_path, SHAKE.replace("shake", "tell", 1) + "load.rate = 100\nload.concurrency = 1000")
    assert paced.digest != plan_of(tmp_path, NOTIFY).digest
    here = plan_of(tmp_path, SHAKE)
    targets = [("192.0.2.1", 16113)]
    assert here.digest == plan_of(tmp_path, SHAKE, use=Use.TARGET_WLC, targets=targets).digest
    # A default that is written down is the same run.
    assert here.digest == plan_of(tmp_path, SHAKE, "load.concurrency=64", "load.resumed=0").digest


# -- whose each slot is ------------------------------------------------------------------------------------------------

FLEETS = st.integers(1, 60).flatmap(lambda members: st.tuples(st.just(members), st.integers(1, members)))


def shares(members: int, workers: int) -> list[Share]:
    schedule = Schedule([RateStage("hold", 0, NS_PER_S, 100, 100)], members)
    return [Share(schedule, worker, workers) for worker in range(workers)]


@given(fleet=FLEETS, slots=st.integers(0, 400))
@REPEATABLE
def test_every_slot_is_one_workers_and_comes_in_order(fleet: tuple[int, int], slots: int) -> None:
    taken: list[int] = []
    for share in shares(*fleet):
        mine = [share.slot(index) for index in range(share.own(slots))]
        assert mine == sorted(set(mine))
        taken += mine
    assert sorted(taken) == list(range(slots))


@given(fleet=FLEETS, slots=st.integers(0, 400))
@REPEATABLE
def test_own_is_what_counting_says(fleet: tuple[int, int], slots: int) -> None:
    """By the rule in words: slot i is of member i mod M, and member m of worker m mod N."""
    members, workers = fleet
    for worker, share in enumerate(shares(members, workers)):
        assert share.own(slots) == sum(slot % members % workers == worker for slot in range(slots))
        # The first slot that is not among them is its next one, and no sooner.
        following = share.slot(share.own(slots))
        assert following >= slots
        assert share.own(following) == share.own(slots)
        assert share.own(following + 1) == share.own(slots) + 1


@given(fleet=FLEETS, index=st.integers(0, 10**12))
@REPEATABLE
def test_slot_is_of_the_session_that_is_dialed_for_it(fleet: tuple[int, int], index: int) -> None:
    """A shard dials row `index mod rows` of its sessions, which are every N-th of the plan's."""
    members, workers = fleet
    sessions = list(range(members))
    for share in shares(members, workers):
        mine = sessions[share.worker :: workers]
        assert share.slot(index) % members == mine[index % len(mine)]
        assert share.own(share.slot(index)) == index


@given(fleet=FLEETS, times=st.lists(st.integers(-5, 1100), min_size=1, max_size=10))
@REPEATABLE
def test_at_any_time_the_workers_together_owe_what_is_due(fleet: tuple[int, int], times: list[int]) -> None:
    everyone = shares(*fleet)
    for ms in times:
        due = everyone[0].schedule.count_at(ms * NS_PER_MS)
        assert sum(share.own(due) for share in everyone) == due
