"""Loads of a few handshakes or bursts a second: what is due in a hold is a whole number of them, and seldom rate times
length. Real schedules, recorders and figures; the target is arithmetic, and time passes by counting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from loadgen.capacity.campaign import Campaign, Observation, Settings
from loadgen.capacity.dimension import Dimension, stages_for
from loadgen.capacity.probing import observe
from loadgen.capacity.result import DimensionResult, Outcome
from loadgen.capacity.search import Trial
from loadgen.measure.merge import Merger
from loadgen.measure.recorder import Recorder
from loadgen.results.record import Load
from loadgen.scenario.plan import Plan, Use, make_plan
from loadgen.scenario.reading import load_scenario
from loadgen.units import NS_PER_MS, NS_PER_S

# Whether the next handshake fails.
Fails = Callable[[], bool]


def settings(start: float, maximum: float, hold_s: int = 3, dimension: Dimension = Dimension.HANDSHAKES) -> Settings:
    hold_ns = hold_s * NS_PER_S
    return Settings(
        dimension, "handshake.latency", (), start, maximum, 0.05, 0, NS_PER_S, hold_ns, 2 * hold_ns, cooldown_ns=0
    )


@pytest.fixture
def shaking(tmp_path: Path) -> Plan:
    path = tmp_path / "s.toml"
    path.write_text('name = "s"\n[load]\nkind = "handshake"\nrate = 9\nstages = [{ hold = "1s" }]\n', "utf-8")
    return make_plan(*load_scenario(path), use=Use.TARGET_WLC, targets=[("127.0.0.1", 16113)])


def seen(plan: Plan, trial: Trial, hold_ns: int, number: int, fails: Fails) -> Observation:
    """One load: each slot of its schedule is a handshake of 5 ms."""
    load = Load(stages_for(Dimension.NOTIFICATIONS, plan, number, trial.load, hold_ns, NS_PER_S), Counter())
    load.start_ns, load.end_ns = 0, 1
    recorder, merger, schedule = Recorder(), Merger(), plan.schedule(load.stages)
    recorder.stages.add([*(stage.name for stage in load.stages), ""], [0, NS_PER_S, NS_PER_S + hold_ns])
    tally = Counter({"handshakes.due": schedule.slots, "handshakes.attempted": schedule.slots})
    for slot in range(schedule.slots):
        if fails():
            tally["handshakes.failed"] += 1
            continue
        tally["handshakes.completed"] += 1
        due_ns = schedule.due_ns(slot)
        stage = recorder.stages.at(due_ns)
        recorder.record("handshake.service", 5 * NS_PER_MS, stage)
        recorder.wait("handshake", stage, due_ns, 5 * NS_PER_MS)
    recorder.counters.update(tally)
    merger.add("mse-0", recorder.take(0))
    load.after = tally
    return observe(plan, merger, load, Dimension.HANDSHAKES, trial.load)


def searched(campaign: Campaign, plan: Plan, fails: Fails) -> DimensionResult:
    for number in count(1):
        trial = campaign.next()
        if trial is None:
            break
        campaign.tell(trial, seen(plan, trial, campaign.hold_ns(trial), number, fails))
        assert number < 100
    return campaign.result()


def every(nth: int) -> Fails:
    """Every n-th fails, whatever the load is."""
    numbers: Iterator[int] = count(1)
    return lambda: not next(numbers) % nth


@pytest.mark.parametrize("start", [0.1, 0.6, 1.25, 2.5, 5.3, 7.7, 31.4])
@pytest.mark.parametrize("hold_s", [1, 3, 4])
def test_a_target_that_does_all_that_is_due_has_no_limit(shaking: Plan, start: float, hold_s: int) -> None:
    """7 of the 7 handshakes that are due at 2.5/s in 3 s are all of them, and not 2.333 of 2.5/s."""
    campaign = Campaign(settings(start, 40, hold_s))
    result = searched(campaign, shaking, lambda: False)
    assert (result.outcome, result.limit) == (Outcome.NOT_REACHED, 40)
    assert [probe.achieved for probe in result.probes] == pytest.approx([p.offered for p in result.probes], rel=1e-6)


@pytest.mark.parametrize("nth", [10, 20, 50])
@pytest.mark.parametrize("start", [1, 2.5, 10, 40])
def test_what_fails_at_any_load_is_no_limit_where_loads_are_small(shaking: Plan, start: float, nth: int) -> None:
    """One of 20 resets: at 1/s, most tries of 4 have none of it, and say nothing against it."""
    result = searched(Campaign(settings(start, 400)), shaking, every(nth))
    assert (result.outcome, result.limit) == (Outcome.INCONCLUSIVE, None)
    assert "each that broke did so by failures" in result.advice
    assert not any(load.confirmed for load in result.loads)


def test_what_fails_above_a_load_is_its_limit_also_where_loads_are_small(shaking: Plan) -> None:
    """Three of four above 5/s; what holds is held for long enough to know that it does not fail as often."""
    campaign, load = Campaign(settings(2, 40)), 0.0
    numbers = count(1)
    for number in count(1):
        trial = campaign.next()
        if trial is None:
            break
        load = trial.load
        fails = lambda: load > 5 and bool(next(numbers) % 4)  # noqa: B023, E731
        campaign.tell(trial, seen(shaking, trial, campaign.hold_ns(trial), number, fails))
    result = campaign.result()
    assert result.outcome is Outcome.FOUND
    assert result.limit is not None
    assert 5 / 1.05 < result.limit <= 5
    assert result.broke[0].startswith("handshakes.failed: ")


def test_a_failure_among_few_is_judged_as_a_failure_and_not_once_more_as_what_was_not_done(shaking: Plan) -> None:
    """One of 20: by itself it may be a stray. The load is tried again, and holds."""
    campaign, first = Campaign(settings(5, 5)), [True]
    result = searched(campaign, shaking, lambda: bool(first) and first.pop())
    assert [probe.passed for probe in result.probes] == [False, True, True]
    assert result.probes[0].broke == ("handshakes.failed: 1",)
    assert (result.outcome, result.limit, result.loads[0].strays) == (Outcome.NOT_REACHED, 5, 1)


def test_where_nothing_was_due_nothing_held(tmp_path: Path) -> None:
    """A burst of 1,000 at 20/s is one in 50 s: none of it is in this hold."""
    path = tmp_path / "s.toml"
    path.write_text('name = "s"\n[load]\nrate = 20\nburst = 1000\nstages = [{ hold = "1s" }]\n', "utf-8")
    plan = make_plan(*load_scenario(path))
    campaign = Campaign(settings(20, 40, dimension=Dimension.NOTIFICATIONS))
    trial = campaign.next()
    assert trial is not None
    load = Load(stages_for(Dimension.NOTIFICATIONS, plan, 1, trial.load, 3 * NS_PER_S, NS_PER_S), Counter())
    campaign.tell(trial, observe(plan, Merger(), load, Dimension.NOTIFICATIONS, trial.load))
    assert campaign.next() is None
    result = campaign.result()
    assert (result.outcome, result.limit) == (Outcome.INCONCLUSIVE, None)
    assert result.advice == "nothing was due in a hold of 3 s: make --hold longer, or the load larger"
