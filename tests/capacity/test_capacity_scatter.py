"""Searches at a target whose waits scatter: it stands still now and then, or what it answers takes how long it likes.

A server with one place, in virtual time: each that comes takes its 1/200 s after the one before, and what would be
answered while it stands still is answered afterwards, all at once.
"""

from __future__ import annotations

import random
from typing import NamedTuple

import pytest
import test_capacity_evidence as evidence
from measure_samples import summary
from test_capacity_evidence import VALID

from loadgen.capacity.campaign import Campaign, Observation, Settings
from loadgen.capacity.result import DimensionResult, Outcome, Step
from loadgen.capacity.search import Trial
from loadgen.measure.waits import Waited, Waits, growth_ns, growth_of
from loadgen.results.thresholds import Figures, parse_thresholds
from loadgen.units import NS_PER_MS, NS_PER_S

CAPACITY = 200


def settings(hold_s: int, start: float = 50) -> Settings:
    return evidence.settings(start=start)._replace(
        warmup_ns=0, hold_ns=hold_s * NS_PER_S, confirm_ns=3 * hold_s * NS_PER_S
    )


class Mood(NamedTuple):
    """Of a target, in seconds: it stands still for up to so long, once in so long; an answer takes up to so long."""

    still: float = 0.0
    every: float = 1.0
    answer: float = 0.0


def waited(load: float, hold_ns: int, mood: Mood, rng: random.Random) -> Waited:
    still, at = [], 0.0
    while mood.still and (at := at + rng.expovariate(1 / mood.every)) < 4 * hold_ns / NS_PER_S:
        still.append((at, at := at + rng.uniform(0.2, 1) * mood.still))
    waits, free = Waits(0), 0.0
    for number in range(round(load * hold_ns / NS_PER_S)):
        due = number / load
        free = max(due, free) + 1 / CAPACITY
        done = next((end for start, end in still if start <= free < end), free) + rng.random() * mood.answer
        waits.add_one(round(due * NS_PER_S), round((done - due) * NS_PER_S))
    return waits.waited()


def seen(trial: Trial, hold_ns: int, mood: Mood, rng: random.Random) -> Observation:
    waits = waited(trial.load, hold_ns, mood, rng)
    due, growth = sum(waits.counts), growth_ns([waits], hold_ns)
    return Observation(
        offered=trial.load,
        achieved=trial.load * hold_ns / (hold_ns + growth),
        figures=Figures({}, {"handshakes.attempted": due}, {}, {}),
        generator=VALID,
        start_s=0,
        hold_s=hold_ns / NS_PER_S,
        growth_ns=growth,
        due=due,
        waits=(waits,),
    )


def searched(mood: Mood, hold_s: int, seed: int) -> DimensionResult:
    campaign, rng = Campaign(settings(hold_s)), random.Random(seed)
    while (trial := campaign.next()) is not None:
        campaign.tell(trial, seen(trial, campaign.hold_ns(trial), mood, rng))
        assert len(campaign.probes) < 100
    return campaign.result()


@pytest.mark.parametrize(
    ("mood", "hold_s", "most"),
    [
        (Mood(), 1, 1.01),
        (Mood(answer=0.5), 1, 1.1),  # as long as half a hold
        (Mood(answer=2.0), 4, 1.05),
        (Mood(still=0.5, every=2), 4, 1.05),
        (Mood(still=1, every=1), 4, 1.1),
    ],
)
def test_scatter_neither_hides_a_limit_nor_makes_one(mood: Mood, hold_s: int, most: float) -> None:
    for seed in range(8):
        result = searched(mood, hold_s, seed)
        assert result.outcome is Outcome.FOUND, (seed, result.advice)
        assert result.limit is not None
        assert CAPACITY / 1.05 <= result.limit <= CAPACITY * most, seed


def test_a_target_that_stands_still_for_as_long_as_a_hold_is_not_flattered() -> None:
    """Beside others at work, 273/s were found once. In holds that are too short, less than it does may be found."""
    limits = [searched(Mood(still=1, every=2), 1, seed).limit for seed in range(24)]
    assert all(limit is not None and limit <= CAPACITY * 1.1 for limit in limits), limits
    assert sorted(limits)[12] == pytest.approx(CAPACITY, rel=0.1)


@pytest.mark.parametrize(("slos", "broke"), [((), True), (("handshake.latency.p99 < 10s",), False)])
def test_a_backlog_that_grew_early_and_stays_breaks_a_load(slos: tuple[str, ...], broke: bool) -> None:
    """All is done in the end, but for half of a hold nothing was caught up with. How late that may be, an SLO says."""
    hold_ns, waits = 4 * NS_PER_S, Waits(0)
    for number in range(400):
        due = number * NS_PER_S // 100
        waits.add_one(due, NS_PER_MS + min(max(0, due - NS_PER_S), 300 * NS_PER_MS))
    late = Observation(
        offered=100.0,
        achieved=100.0,
        figures=Figures(
            {"handshake.latency": summary(count=400, p99=300 * NS_PER_MS)}, {"handshakes.attempted": 400}, {}, {}
        ),
        generator=VALID,
        start_s=0,
        hold_s=4,
        due=400,
        waits=(waits.waited(),),
    )
    campaign = Campaign(settings(hold_ns // NS_PER_S)._replace(slos=parse_thresholds(slos, "slos")))
    trial = campaign.next()
    assert trial is not None
    probe = campaign.tell(trial, late)
    assert probe.passed is not broke
    assert any("waited 300 ms longer" in why for why in probe.broke) is broke


def test_a_try_that_scatters_says_nothing_and_is_made_again() -> None:
    mood, rng = Mood(answer=3), random.Random(1)
    campaign = Campaign(settings(1))
    trials = []
    while (trial := campaign.next()) is not None and trial.load == 50:
        trials.append(campaign.tell(trial, seen(trial, campaign.hold_ns(trial), mood, rng)))
        assert len(trials) < 20
    # Then all of them together are judged, and nothing shows that it did not hold.
    assert [(each.passed, bool(each.scattered)) for each in trials] == [(False, True)] * 5 + [(True, False)]
    assert trials[0].broke == ()
    assert trials[0].scattered.startswith("waits scattered so much that a backlog may have grown by ")
    assert campaign.next() == Trial(Step.BRACKET, 100)
    (load,) = campaign.result().loads
    assert (load.tries, load.times_held, load.times_scattered, load.held) == (6, 1, 5, True)


def test_all_tries_together_show_a_backlog_that_none_shows_alone() -> None:
    """Half as much again as the target does."""
    mood, rng, broke = Mood(answer=2.0), random.Random(7), 0
    campaign = Campaign(settings(1, start=300))
    while (trial := campaign.next()) is not None and trial.load == 300:
        alone = seen(trial, campaign.hold_ns(trial), mood, rng)._replace(growth_ns=0.0, achieved=300)
        broke += bool(campaign.tell(trial, alone).broke)
        assert len(campaign.probes) < 20
    assert broke >= 1
    assert campaign.next() == Trial(Step.BRACKET, 150)


def test_tries_together_scatter_less_and_grow_as_much() -> None:
    mood, rng = Mood(answer=1.0), random.Random(3)
    tries = [waited(220, NS_PER_S, mood, rng) for _ in range(16)]
    alone, together = growth_of(tries[:1], NS_PER_S), growth_of(tries, NS_PER_S)
    assert together.hidden_ns < alone.hidden_ns / 2
    assert together.ns == pytest.approx(0.1 * NS_PER_S, abs=together.hidden_ns)
    # A tail, or a moment in which all stood still, scatters nothing.
    assert growth_of([waited(100, NS_PER_S, Mood(), rng)], NS_PER_S).hidden_ns < 1e6
