"""A search with its judgement, against a target that is arithmetic: what breaks, what is tried again, what is found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

import pytest

from loadgen.capacity.campaign import Campaign, Observation, Settings, applicable, failures_of, length_of
from loadgen.capacity.dimension import Dimension
from loadgen.capacity.probing import unlike_pass
from loadgen.capacity.result import DimensionResult, Outcome, Probe, Step
from loadgen.capacity.search import Trial
from loadgen.errors import ExitCode
from loadgen.measure.histogram import MetricSummary
from loadgen.report.tried import how_tried, outvoted
from loadgen.results.health import GeneratorVerdict, Verdict
from loadgen.results.result import Limit, ResultVerdict
from loadgen.results.thresholds import Figures, parse_thresholds
from loadgen.units import NS_PER_MS, NS_PER_S

VALID = GeneratorVerdict(Verdict.VALID, ())
LATE = GeneratorVerdict(Verdict.INVALID, ("mse-0 sent late",), "mse-0 sent late")
BUSY = GeneratorVerdict(Verdict.DEGRADED, ("mse-0 used 99% of a core",), "mse-0 used 99% of a core")
STOOD_STILL = GeneratorVerdict(Verdict.DEGRADED, ("mse-0's loop stood still",))


def settings(dimension: Dimension = Dimension.HANDSHAKES, *slos: str, **changes: float) -> Settings:
    made = Settings(
        dimension=dimension,
        latency="handshake.latency",
        slos=parse_thresholds(slos, "--slo"),
        start=50,
        maximum=20_000,
        resolution=0.05,
        step=0,
        warmup_ns=NS_PER_S,
        hold_ns=4 * NS_PER_S,
        confirm_ns=12 * NS_PER_S,
        cooldown_ns=0,
    )
    return made._replace(**changes)


def latency(ns: float, count: int) -> MetricSummary:
    value = round(ns)
    return MetricSummary("ns", count, value, value, value, value, value, value, value)


class Target(NamedTuple):
    """Serves up to `capacity` per second, like an M/M/1 queue of 1 ms; a function of the load for whatever else."""

    capacity: float
    counters: Callable[[float], Mapping[str, int]] = lambda _: {}
    generator: Callable[[float], GeneratorVerdict] = lambda _: VALID
    costs_us: float = 0.0

    def seen(self, load: float, hold_ns: int, start_s: float) -> Observation:
        share = load / self.capacity
        ns = NS_PER_MS / (1 - share) if share < 1 else NS_PER_S
        achieved = min(load, self.capacity)
        count = round(achieved * hold_ns / NS_PER_S)
        return Observation(
            offered=load,
            achieved=achieved,
            figures=Figures({"handshake.latency": latency(ns, count)}, self.counters(load), {}, {}),
            generator=self.generator(load),
            start_s=start_s,
            hold_s=hold_ns / NS_PER_S,
            workers=2,
            cpu_s=achieved * self.costs_us / 1e6,
        )


def searched(campaign: Campaign, target: Target) -> DimensionResult:
    clock_s = 0.0
    while (trial := campaign.next()) is not None:
        hold_ns = campaign.hold_ns(trial)
        campaign.tell(trial, target.seen(trial.load, hold_ns, clock_s))
        clock_s += hold_ns / NS_PER_S
        assert len(campaign.probes) < 100
    return campaign.result()


@pytest.mark.parametrize("capacity", [7.3, 50, 199, 201.7, 5000, 14_142])
@pytest.mark.parametrize("start", [1, 50, 777])
def test_a_planted_limit_is_found(capacity: float, start: float) -> None:
    result = searched(Campaign(settings(start=start)), Target(capacity))
    assert result.outcome is Outcome.FOUND
    assert result.limit is not None
    assert result.above is not None
    # One in a hundred may be missing: that much above it still holds.
    assert capacity / 1.05 < result.limit <= capacity / 0.99
    assert capacity < result.above <= result.limit * 1.05
    assert result.broke[0].endswith("handshakes/s achieved")
    assert result.probes[-1].step is Step.CONFIRM
    assert result.probes[-1].hold_s == 12
    assert result.advice == ""


@pytest.mark.parametrize("capacity", [7.3, 50, 201.7, 5000])
@pytest.mark.parametrize("start", [1, 50, 777])
def test_how_long_a_search_takes_is_known_but_for_what_is_tried_again(capacity: float, start: float) -> None:
    made = settings(start=start, cooldown_ns=3 * NS_PER_S)
    probes = searched(Campaign(made), Target(capacity)).probes
    once = {(probe.step, probe.offered): probe.hold_s for probe in probes if probe.step is not Step.RECHECK}
    expected = length_of(made, capacity / 0.99)
    assert expected.loads == len(once)
    assert expected.ns == round((sum(once.values()) + 4 * len(once)) * NS_PER_S)


def test_an_slo_that_breaks_first_is_the_limit() -> None:
    """1 ms / (1 - load / capacity) is below 10 ms up to 90 % of the capacity."""
    result = searched(Campaign(settings(Dimension.HANDSHAKES, "handshake.latency.p99 < 10ms")), Target(1000))
    assert result.outcome is Outcome.FOUND
    assert result.limit is not None
    assert 900 / 1.05 < result.limit <= 900
    assert result.broke == (f"handshake.latency.p99 < 10ms (was {_p99(result)})",)
    assert result.slos == ("handshake.latency.p99 < 10ms",)
    last = result.probes[-1]
    assert (last.p50, last.p99, last.max) == (last.p99, last.p99, last.p99)


def _p99(result: DimensionResult) -> str:
    probe = next(p for p in result.probes if p.offered == result.above)
    assert probe.p99 is not None
    return f"{probe.p99 / NS_PER_MS:.1f} ms"


def test_failures_break_a_load_and_come_first() -> None:
    def counters(load: float) -> Mapping[str, int]:
        if load <= 300:
            return {"handshakes.failed": 0, "errors.tls.reset": 0}
        return {"handshakes.failed": 3, "errors.tls.timeout": 1, "errors.tls.reset": 2, "errors.tls.closed": 0}

    result = searched(Campaign(settings()), Target(10_000, counters))
    assert result.outcome is Outcome.FOUND
    assert result.limit is not None
    assert 300 / 1.05 < result.limit <= 300
    assert result.broke == ("handshakes.failed: 3", "errors.tls.reset: 2", "errors.tls.timeout: 1")
    broken = Counter(probe.offered for probe in result.probes if not probe.passed)
    # What fails clearly is tried again only where it is to be the limit.
    assert broken == {load: 3 if load == result.above else 1 for load in broken}


@pytest.mark.parametrize(
    "name", ["sessions.failed", "sessions.lost", "handshakes.dropped", "notify.dropped", "notify.lost"]
)
def test_what_must_never_happen_happens_once(name: str) -> None:
    campaign = Campaign(settings())
    target = Target(1000, lambda _: {name: 1})
    trial = campaign.next()
    assert trial is not None
    probe = campaign.tell(trial, target.seen(trial.load, NS_PER_S, 0))
    assert (probe.passed, probe.broke) == (False, (f"{name}: 1",))


def test_what_is_lost_is_a_share_of_what_came_once() -> None:
    counters = {"notify.received": 1098, "notify.duplicated": 549, "notify.lost": 7}
    assert failures_of(Figures({}, counters, {}, {})) == (7, 556)
    assert failures_of(Figures({}, {"notify.received": 980, "notify.lost": 4000}, {}, {})) == (4000, 4980)


def test_sessions_that_were_lost_are_a_share_of_those_that_were_up() -> None:
    """Before the load: none came up in it."""
    counters = {"sessions.established": 0, "sessions.lost": 8}
    assert failures_of(Figures({}, counters, {}, {}), sessions=40) == (8, 40)
    campaign = Campaign(settings(Dimension.NOTIFICATIONS))
    while (trial := campaign.next()) is not None:
        seen = Target(1e6, lambda _: counters).seen(trial.load, NS_PER_S, 0)
        campaign.tell(trial, seen._replace(sessions=40))
    assert campaign.result().advice.endswith("each that broke did so by failures, 20.0% to 20.0% of it")


def test_what_a_load_did_not_hold_with_is_no_stray() -> None:
    """One of five that is refused is a limit, though 2 of 10 might be strays by themselves."""

    def counters(load: float) -> Mapping[str, int]:
        return {"sessions.attempted": round(load), "sessions.failed": max(0, round(load) - 6)}

    campaign = Campaign(settings(Dimension.SESSIONS, start=4, maximum=8, step=2))
    result = searched(campaign, Target(1e6, counters))
    assert (result.limit, result.above) == (6, 8)
    refused = next(each for each in result.loads if each.load == 8)
    assert (refused.held, refused.strays) == (False, 0)
    assert (refused.failed, refused.attempted) == (2 * refused.tries, 8 * refused.tries)
    assert how_tried(refused) == (
        f"did not hold: 0 of {refused.tries} tries held; {refused.failed} of {refused.attempted} failed"
    )


def test_errors_without_a_failure_break_nothing() -> None:
    """As of notifications that nobody subscribed: the session goes on."""
    result = searched(Campaign(settings(maximum=100)), Target(1000, lambda _: {"errors.stream.sequence_jump": 9}))
    assert result.outcome is Outcome.NOT_REACHED


def test_everything_holds_up_to_the_maximum() -> None:
    result = searched(Campaign(settings(maximum=1234)), Target(1e6))
    assert result.outcome is Outcome.NOT_REACHED
    assert (result.limit, result.above, result.broke) == (1234, None, ())
    assert result.advice == "everything up to 1,234 handshakes/s held; raise --max to look further"


def test_nothing_holds() -> None:
    result = searched(Campaign(settings()), Target(0.001))
    assert result.outcome is Outcome.INCONCLUSIVE
    assert result.limit is None
    assert result.above is not None
    assert result.advice == "no load held for long enough to be confirmed"
    assert all(not probe.passed for probe in result.probes)


# -- what a run would not pass for -------------------------------------------------------------------------------------


def of_sessions(counters: Mapping[str, int], *unlike_pass: str, slo: str = "") -> Probe:
    """Four sessions for a while, by a run of their own."""
    slos = (slo,) if slo else ()
    campaign = Campaign(settings(Dimension.SESSIONS, *slos, start=4, step=1))
    trial = campaign.next()
    assert trial is not None
    figures = Figures({}, {"sessions.established": 4, "sessions.attempted": 4, **counters}, {}, {})
    return campaign.tell(trial, Observation(4, 4, figures, VALID, 0, 3, due=4, unlike_pass=unlike_pass))


@pytest.mark.parametrize(
    ("counters", "broke"),
    [
        (
            {"echo.due": 12, "echo.unanswered": 8, "echo.dropped": 4},
            "12 of 12 echoes were not answered, 4 of them not asked",
        ),
        ({"echo.due": 12, "echo.unanswered": 4}, "4 of 12 echoes were not answered"),
        ({"echo.due": 12, "echo.withdrawn": 4}, ""),  # one of each session may have been under way
        ({"requests.sent": 80, "requests.timed_out": 3}, "3 of 80 requests were not answered"),
        ({"requests.due": 80, "requests.sent": 40, "requests.dropped": 40}, "40 of 80 requests were dropped"),
    ],
)
def test_what_came_to_nothing_breaks_a_load(counters: Mapping[str, int], broke: str) -> None:
    assert of_sessions(counters).broke == ((broke,) if broke else ())


@pytest.mark.parametrize("strangers", [True, False])
def test_a_wlc_that_falls_silent_from_some_load_on_has_its_limit_there(strangers: bool) -> None:
    campaign = Campaign(settings(Dimension.SESSIONS, start=2, step=1))
    probes = []
    for received in (140, 0, 280):
        trial = campaign.next()
        assert trial is not None
        counters = {"sessions.established": 4, "sessions.attempted": 4, "notify.received": received}
        seen = Observation(4, 4, Figures({}, counters, {}, {}), VALID, 0, 3, due=4, sessions_alone=strangers)
        probes.append(campaign.tell(trial, seen))
    assert [probe.passed for probe in probes] == [True, not strangers, True]
    assert probes[1].broke == (("no notification came, and under another load some did",) if strangers else ())


@pytest.mark.parametrize(
    ("reset", "broke"), [(0, ()), (1, ()), (2, ("errors.close.reset: 2 of 150 handshakes",)), (150, None)]
)
def test_a_load_whose_handshakes_are_broken_off_behind_them_does_not_hold(
    reset: int, broke: tuple[str, ...] | None
) -> None:
    """All are completed. Of a run, more than 1 % of that is what limited it."""
    campaign = Campaign(settings(start=50))
    trial = campaign.next()
    assert trial is not None
    counters = {"handshakes.attempted": 150, "handshakes.completed": 150}
    if reset:
        counters["errors.close.reset"] = reset
    probe = campaign.tell(trial, Observation(50, 50, Figures({}, counters, {}, {}), VALID, 0, 3))
    assert probe.broke == (("errors.close.reset: 150 of 150 handshakes",) if broke is None else broke)
    assert probe.passed is not bool(probe.broke)
    assert probe.strays == ((f"errors.close.reset: {reset}",) if reset else ())


def test_a_load_that_holds_with_less_granted_than_was_asked_for_says_so() -> None:
    probe = of_sessions({"sessions.granted_in_part": 3, "sessions.left_early": 1})
    assert (probe.passed, probe.strays) == (True, ("sessions.granted_in_part: 3", "sessions.left_early: 1"))


def test_an_slo_decides_how_much_may_come_to_nothing() -> None:
    probe = of_sessions({"echo.due": 12, "echo.unanswered": 8}, slo="echo.unanswered / echo.due < 80%")
    assert (probe.passed, probe.broke) == (True, ())
    # Of that part of it alone.
    counters = {"echo.due": 12, "echo.unanswered": 8, "echo.dropped": 4}
    probe = of_sessions(counters, slo="echo.unanswered / echo.due < 80%")
    assert not probe.passed
    assert probe.broke[0].startswith("4 of 12 echoes were not answered, 4 of them not asked, beside echo.unanswered")


def test_a_load_that_would_not_pass_as_a_run_does_not_hold() -> None:
    why = "no session was left at the end"
    assert of_sessions({}, why).broke == (why,)
    # What broke by itself needs no other reason.
    assert of_sessions({"sessions.failed": 4}, why).broke == ("sessions.failed: 4",)


@pytest.mark.parametrize(
    ("code", "received", "why"),
    [
        (ExitCode.INCONCLUSIVE, 9, ("half of it",)),
        (ExitCode.INCONCLUSIVE, 0, ()),  # a WLC that has nothing to tell
        (ExitCode.PASSED, 9, ()),
        (ExitCode.THRESHOLD_FAILED, 9, ()),
    ],
)
def test_why_a_run_would_not_pass_is_not_what_was_our_own_part_in_it(
    code: ExitCode, received: int, why: tuple[str, ...]
) -> None:
    verdict = ResultVerdict(Verdict.DEGRADED, ("half of it", *BUSY.reasons), Limit.TARGET, "", "", int(code))
    assert unlike_pass(verdict, BUSY, {"notify.received": received}) == why


@pytest.mark.parametrize("most", [1, 4])
def test_a_target_that_takes_few_sessions_has_that_limit(most: int) -> None:
    """Of five, one is refused: so it will be however long they are held."""

    def counters(load: float) -> Mapping[str, int]:
        return {"sessions.attempted": round(load), "sessions.failed": max(0, round(load) - most)}

    result = searched(Campaign(settings(Dimension.SESSIONS, start=1, step=1)), Target(10_000, counters))
    assert (result.outcome, result.limit, result.above) == (Outcome.FOUND, most, most + 1)


def test_what_was_taken_for_strays_one_by_one_and_is_none_together_confirms_nothing() -> None:
    """It takes six, and now and then a seventh. What became of those beyond six, in the order in which they came."""
    came = iter("arrrrrrrrarraaaaaarrrra")

    def counters(load: float) -> Mapping[str, int]:
        failed = sum(next(came, "r") == "r" for _ in range(round(load) - 6))
        return {"sessions.attempted": round(load), "sessions.failed": failed}

    result = searched(Campaign(settings(Dimension.SESSIONS, start=2, step=1)), Target(10_000, counters))
    tries = [probe.passed for probe in result.probes if probe.offered == 7]
    assert (tries.count(True), tries.count(False)) == (5, 6)
    assert (result.outcome, result.limit) == (Outcome.INCONCLUSIVE, None)
    assert result.advice == "7 sessions held 5 times, and broke 6 times"
    (seventh,) = (load for load in result.loads if load.load == 7)
    assert how_tried(seventh) == "did not hold: 5 of 11 tries held, 1 of 2 as long as a confirmation; 6 of 77 failed"
    assert all(outvoted(result, probe) for probe in result.probes if probe.passed and probe.offered == 7)


# -- tried again -------------------------------------------------------------------------------------------------------


def told(campaign: Campaign, *seen: Observation) -> list[Trial]:
    trials = []
    for each in seen:
        trial = campaign.next()
        assert trial is not None
        trials.append(trial)
        campaign.tell(trial, each._replace(offered=trial.load))
    return trials


def held(load: float = 50, achieved: float = 50) -> Observation:
    return Target(1e9).seen(load, NS_PER_S, 0)._replace(achieved=achieved)


def test_a_little_short_is_tried_again() -> None:
    campaign = Campaign(settings())
    trials = told(campaign, *[held(achieved=49)] * 2, held(achieved=25))
    assert [trial.load for trial in trials] == [50, 50, 25]
    assert [probe.passed for probe in campaign.probes] == [False, False, True]


@pytest.mark.parametrize(
    ("achieved", "following"),
    [((49, 50, 50), 100), ((49, 50, 49), 50), ((49, 50, 49, 49), 25), ((49, 50, 49, 50, 50), 100)],
)
def test_what_fell_short_once_holds_if_it_does_so_more_often(achieved: tuple[int, ...], following: float) -> None:
    campaign = Campaign(settings())
    trials = told(campaign, *(held(achieved=each) for each in achieved))
    assert {trial.load for trial in trials} == {50}
    # A new load has its own tries.
    assert campaign.next() == Trial(Step.BRACKET, following)


def test_far_too_little_is_not_tried_again() -> None:
    campaign = Campaign(settings())
    assert [trial.load for trial in told(campaign, held(achieved=44), held(achieved=25))] == [50, 25]


def test_a_generator_that_was_the_limit_has_three_tries() -> None:
    campaign = Campaign(settings())
    late = held()._replace(generator=LATE)
    trials = told(campaign, late, late, late, held(achieved=25))
    assert [trial.load for trial in trials] == [50, 50, 50, 25]
    assert [probe.generator for probe in campaign.probes] == [Verdict.INVALID] * 3 + [Verdict.VALID]
    assert campaign.probes[0].reasons == ("mse-0 sent late",)


def test_the_target_breaks_when_the_generator_is_well_again() -> None:
    campaign = Campaign(settings())
    told(campaign, held(achieved=50), held()._replace(generator=LATE, achieved=100), held(achieved=60))
    assert campaign.probes[-1].broke == ("60 of 100 handshakes/s achieved",)
    assert campaign.next() == Trial(Step.BISECT, pytest.approx(70.71, rel=1e-3))


def test_a_load_that_cannot_be_made_at_all_has_one_try() -> None:
    campaign = Campaign(settings(Dimension.SESSIONS, step=1))
    impossible = Observation(0, 0.0, Figures({}, {}, {}, {}), LATE, 0, 0, trouble="too few descriptors")
    trials = told(campaign, held(), impossible)
    assert [trial.load for trial in trials] == [50, 100]
    assert campaign.probes[-1].reasons == ("too few descriptors",)
    assert campaign.next() == Trial(Step.BISECT, 71)


# -- the generator's own limit -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("verdict", [LATE, BUSY])
def test_the_generator_is_the_limit(verdict: GeneratorVerdict) -> None:
    target = Target(
        700 if verdict is BUSY else 1e9, generator=lambda load: verdict if load > 700 else VALID, costs_us=500
    )
    result = searched(Campaign(settings(maximum=8000)), target)
    assert result.outcome is Outcome.GENERATOR_LIMITED
    assert result.broke == (verdict.reasons[0],)
    assert result.limit is not None
    assert 700 / 1.05 < result.limit <= 700 / 0.99
    # 8,000/s at 500 µs each are 4 cores' work, and a worker has 80 % of one.
    assert result.advice.startswith("8,000 handshakes/s would take about 5 cores")
    assert "500 µs" in result.advice
    assert "2 workers a side" in result.advice


def test_a_generator_that_is_busy_and_keeps_up_is_no_limit() -> None:
    result = searched(Campaign(settings(maximum=200)), Target(1e9, generator=lambda _: BUSY))
    assert result.outcome is Outcome.NOT_REACHED


def test_a_blemish_does_not_excuse_the_target() -> None:
    result = searched(Campaign(settings()), Target(300, generator=lambda _: STOOD_STILL))
    assert result.outcome is Outcome.FOUND


def test_the_target_is_the_limit_below_a_load_at_which_the_generator_was() -> None:
    target = Target(300, generator=lambda load: LATE if load > 350 else VALID)
    result = searched(Campaign(settings()), target)
    assert result.outcome is Outcome.FOUND
    assert result.broke[0].endswith("handshakes/s achieved")


def test_a_generator_that_can_make_no_load_at_all() -> None:
    result = searched(Campaign(settings()), Target(1e9, generator=lambda _: LATE))
    assert result.outcome is Outcome.GENERATOR_LIMITED
    assert result.limit is None
    assert result.advice == "run the generator on another machine than the target"


# -- what cannot be judged ---------------------------------------------------------------------------------------------


def test_an_slo_without_a_figure_ends_the_search() -> None:
    result = searched(Campaign(settings(Dimension.HANDSHAKES, "handshake.tls.p99 < 1s")), Target(1000))
    assert result.outcome is Outcome.INCONCLUSIVE
    assert result.advice == "handshake.tls.p99 < 1s: handshake.tls was not measured"
    assert len(result.probes) == 1
    assert result.limit is None


def test_an_slo_without_a_figure_does_not_matter_where_the_load_broke_anyway() -> None:
    campaign = Campaign(settings(Dimension.HANDSHAKES, "handshake.tls.p99 < 1s"))
    told(campaign, held(achieved=10))
    assert campaign.next() == Trial(Step.BRACKET, 25)


@pytest.mark.parametrize(
    ("slo", "load", "step", "hold_s"),
    [
        ("handshake.latency.p50 < 1s", 50, Step.BRACKET, 4),
        ("handshake.latency.p99 < 1s", 50, Step.BRACKET, 4),
        ("handshake.latency.p99 < 1s", 10, Step.BRACKET, 12),
        ("handshake.latency.p99 < 1s", 10, Step.CONFIRM, 12),
        ("handshake.latency.p99_9 < 1s", 50, Step.BISECT, 24),
        ("handshake.latency.p99.9 < 1s", 50, Step.BISECT, 24),
        ("handshake.latency.p99_9 < 1s", 5, Step.BRACKET, 60),
        ("handshake.latency.max < 1s", 1, Step.BRACKET, 4),
        ("handshakes.failed == 0", 1, Step.BRACKET, 4),
    ],
)
def test_holds_are_long_enough_for_percentiles(slo: str, load: float, step: Step, hold_s: float) -> None:
    campaign = Campaign(settings(Dimension.HANDSHAKES, slo))
    assert campaign.hold_ns(Trial(step, load)) == pytest.approx(hold_s * NS_PER_S)


def test_a_hold_that_was_asked_to_be_longer_than_a_minute_is() -> None:
    """The minute bounds what we add to it."""
    campaign = Campaign(settings(Dimension.HANDSHAKES, "handshake.latency.p99 < 1s", hold_ns=100 * NS_PER_S))
    assert campaign.hold_ns(Trial(Step.BRACKET, 0.1)) == 100 * NS_PER_S


def test_slos_are_of_what_a_dimension_has() -> None:
    slos = parse_thresholds(["handshake.latency.p99 < 1s", "notify.lag.p99 < 1s", "generator.lag.p99 < 1s"], "--slo")
    texts = {d: [slo.name for slo in applicable(slos, d)] for d in Dimension}
    assert texts[Dimension.HANDSHAKES] == ["handshake.latency", "generator.lag"]
    assert texts[Dimension.NOTIFICATIONS] == ["notify.lag", "generator.lag"]
    assert texts[Dimension.SESSIONS] == texts[Dimension.STATIONS] == [slo.name for slo in slos]


# -- not to the end ----------------------------------------------------------------------------------------------------


def test_an_interrupted_search_keeps_what_it_saw() -> None:
    campaign = Campaign(settings())
    told(campaign, held(achieved=50), held(achieved=100), held(achieved=100))
    result = campaign.result("interrupted")
    assert result.outcome is Outcome.INCONCLUSIVE
    assert result.limit is None
    assert result.above == 200
    assert result.advice == "interrupted"
    assert result.broke == ("100 of 200 handshakes/s achieved",)
    assert [probe.offered for probe in result.probes] == [50, 100, 200]


def test_a_search_that_never_began() -> None:
    result = Campaign(settings()).result("no session came up")
    assert (result.outcome, result.advice) == (Outcome.INCONCLUSIVE, "no session came up")
    assert (result.limit, result.above, result.probes) == (None, None, ())


def test_without_a_figure_of_its_own_a_load_achieves_what_was_offered() -> None:
    campaign = Campaign(settings(Dimension.STATIONS, step=10))
    told(campaign, held()._replace(achieved=None))
    assert (campaign.probes[0].achieved, campaign.probes[0].passed) == (50, True)
