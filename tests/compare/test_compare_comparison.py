"""What may be compared, what counts, and what decides."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from compare_samples import ENVIRONMENT, MS, run, session

from loadgen.compare.comparison import compare
from loadgen.compare.metrics import RELEVANT_LATENCY, RELEVANT_RATE, STATISTICS, Relevant, figure, rows
from loadgen.compare.result import Comparison, Decision, Gate, MetricComparison
from loadgen.errors import ExitCode, InputError
from loadgen.loads import LoadKind
from loadgen.measure.names import COSTS, COUNTERS, METRICS, RATES
from loadgen.results.health import Verdict
from loadgen.results.result import RunResult


def of(result: Comparison, name: str) -> MetricComparison:
    return next(metric for metric in result.metrics if metric.metric == name)


def saved(baseline: list[RunResult], new: list[RunResult]) -> Comparison:
    return compare(baseline, new, paired=False)


# -- one run a side ----------------------------------------------------------------------------------------------------


def test_one_run_a_side_decides_what_is_exact_only() -> None:
    result = saved([run()], [run(factors={"notify.latency.p99": 3.0})])
    latency = of(result, "notify.latency.p99")
    assert (latency.baseline, latency.new, latency.change) == (4 * MS, 12 * MS, 2.0)
    assert (latency.decision, latency.interval, latency.noise) == (Decision.INCONCLUSIVE, None, None)
    assert of(result, "notify.lost").decision is Decision.PASS
    assert (result.decision, result.exit_code) == (Decision.INCONCLUSIVE, ExitCode.INCONCLUSIVE)
    assert result.order == ""


@pytest.mark.parametrize(
    "counter",
    ["errors.tls.reset", "sessions.failed", "sessions.lost", "notify.lost", "notify.dropped", "notify.reordered"],
)
def test_what_never_happened_before_is_a_regression(counter: str) -> None:
    result = saved([run()], [run(counters={counter: 1})])
    name = "errors" if counter.startswith("errors.") else counter
    assert of(result, name).decision is Decision.REGRESSION
    assert (result.decision, result.exit_code) == (Decision.REGRESSION, ExitCode.THRESHOLD_FAILED)
    assert any(reason.startswith(f"{name}: 0 in every run of the baseline") for reason in result.reasons)


def test_new_runs_that_are_no_pass_are_none_together_whatever_their_figures() -> None:
    verdict = msgspec.structs.replace(run().verdict, exit_code=5, limit_reason="18 of 180 echoes were not answered")
    failed = msgspec.structs.replace(run(), verdict=verdict)
    assert saved([run()] * 8, [run()] * 8).decision is Decision.PASS
    found = saved([run()] * 8, [run(), failed, *[run()] * 6])
    assert found.decision is Decision.INCONCLUSIVE
    assert [
        reason for reason in found.reasons if reason.endswith("as all of the baseline are: " + verdict.limit_reason)
    ]
    # What the baseline does as well is no change.
    assert saved([failed, *[run()] * 7], [failed] * 8).decision is Decision.PASS


def test_what_one_side_does_not_count_and_the_other_has_none_of_decides_nothing() -> None:
    counted = run(counters={"requests.in_part": 0})
    assert saved([run()] * 8, [counted] * 8).decision is Decision.PASS
    assert saved([run()] * 8, [run(counters={"requests.in_part": 1})] * 8).decision is Decision.INCONCLUSIVE


@pytest.mark.parametrize(
    ("before", "after", "decision"),
    [
        ([0, 0], [0, 1], Decision.REGRESSION),
        ([0, 5], [5, 5], Decision.PASS),
        ([0, 5], [0, 9], Decision.PASS),  # one run that is worse, where the baseline had its bad ones too
        ([0, 5], [6, 9], Decision.REGRESSION),
        ([3], [3], Decision.PASS),
        ([3], [4], Decision.REGRESSION),
        ([5, 5], [0, 0, 0], Decision.PASS),
        ([2], [1, 1, 1], Decision.PASS),  # counts of one run, not sums
    ],
)
def test_counts_are_judged_run_by_run(before: list[int], after: list[int], decision: Decision) -> None:
    result = saved(
        [run(counters={"notify.dropped": count}) for count in before],
        [run(counters={"notify.dropped": count}) for count in after],
    )
    assert of(result, "notify.dropped").decision is decision
    assert of(result, "notify.dropped").gate is Gate.EXACT


# -- margins -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cost", "factor", "decision"),
    [
        ("session.rss_bytes", 1.09, Decision.PASS),
        ("session.rss_bytes", 1.11, Decision.REGRESSION),
        ("session.rss_bytes", 0.5, Decision.PASS),
        ("notify.cpu_s", 9.0, Decision.PASS),  # another day
        ("notify.bytes", 1.0000001, Decision.PASS),  # rounding
        ("notify.bytes", 1.02, Decision.REGRESSION),
    ],
)
def test_costs_have_margins(cost: str, factor: float, decision: Decision) -> None:
    before = run()
    result = saved([before], [run(costs={cost: before.costs[cost] * factor})])
    assert of(result, cost).decision is decision


def test_the_most_memory_that_a_target_took_decides_over_pairs_alone() -> None:
    """A backlog on a busy machine is memory: the same build takes half as much again now and then."""

    def took(*factors: float) -> list[RunResult]:
        return [run(costs={"target.rss_bytes": 80e6 * factor}) for factor in factors]

    steady, shaken = took(1.0, 1.01, 0.99, 1.0, 1.02, 0.99), took(1.0, 1.5, 1.0, 1.02, 1.6, 1.01)
    assert of(saved(took(1.0), took(1.6)), "target.rss_bytes").decision is Decision.INCONCLUSIVE
    assert of(compare(steady, shaken, paired=True), "target.rss_bytes").decision is Decision.INCONCLUSIVE
    more = took(1.3, 1.31, 1.3, 1.29, 1.3, 1.32)
    assert of(compare(steady, more, paired=True), "target.rss_bytes").decision is Decision.REGRESSION


@pytest.mark.parametrize(("factor", "decision"), [(1.05, Decision.PASS), (1.25, Decision.REGRESSION)])
def test_cpu_time_decides_within_one_session(factor: float, decision: Decision) -> None:
    cpu_s = run().costs["notify.cpu_s"]
    result = compare([run()] * 4, [run(costs={"notify.cpu_s": cpu_s * factor})] * 4, paired=True)
    assert of(result, "notify.cpu_s").decision is decision


@pytest.mark.parametrize("name", ["cpu", "cpus", "kernel"])
def test_other_machines_decide_neither_cpu_time_nor_timings(name: str) -> None:
    old, new = [run() for _ in range(5)], [run(environment={name: "other"}, costs={"notify.cpu_s": 1.0})] * 5
    result = saved(old, new)
    assert of(result, "notify.cpu_s").gate is Gate.REPORT
    assert of(result, "notify.cpu_s").decision is Decision.PASS
    assert of(result, "notify.latency.p50").decision is Decision.INCONCLUSIVE
    assert of(result, "notify.latency.p50").reason == "measured on different machines"
    assert f"different environment: {name} {ENVIRONMENT[name]} / other" in result.reasons
    assert result.exit_code == ExitCode.INCONCLUSIVE


def test_another_library_is_told_and_no_obstacle() -> None:
    result = saved([run()] * 4, [run(environment={"openssl": "4"})] * 4)
    assert result.reasons == ("different environment: openssl 3 / 4",)
    assert result.decision is Decision.PASS


# -- timings -----------------------------------------------------------------------------------------------------------


def test_a_quiet_session_of_equal_builds_passes() -> None:
    baseline, new, control = session(1, 0.01)
    result = compare(baseline, new, control, paired=True, names=("old", "fresh"))
    assert (result.decision, result.exit_code, result.reasons) == (Decision.PASS, ExitCode.PASSED, ())
    assert (result.baseline, result.new, result.order) == ("old", "fresh", "AAAA ABBAABBAABBA")
    latency = of(result, "notify.latency.p99")
    assert latency.change is not None
    assert latency.interval is not None
    assert latency.interval[0] < latency.change < latency.interval[1] < RELEVANT_LATENCY
    assert (len(latency.baseline_runs), len(latency.new_runs)) == (6, 6)


def test_a_certain_change_that_is_too_small_to_matter_passes() -> None:
    result = compare(*session(2, 0.002, {"notify.latency.p50": 1.05}), paired=True)
    latency = of(result, "notify.latency.p50")
    assert latency.interval is not None
    assert 0 < latency.interval[0] < latency.interval[1] < RELEVANT_LATENCY
    assert latency.decision is Decision.PASS
    smaller = compare(*session(2, 0.002, {"notify.latency.p50": 1.05}), paired=True, relevant=Relevant(latency=0.02))
    assert of(smaller, "notify.latency.p50").decision is Decision.REGRESSION


@pytest.mark.parametrize(("name", "factor"), [("notify.received_per_s", 1.5), ("notify.latency.p99", 0.5)])
def test_what_became_better_is_no_regression(name: str, factor: float) -> None:
    result = compare(*session(3, 0.02, {name: factor}), paired=True)
    change = of(result, name).change
    assert change == pytest.approx(factor - 1, abs=0.05)
    assert of(result, name).decision is Decision.PASS


@pytest.mark.parametrize(("name", "factor"), [("notify.received_per_s", 0.8), ("notify.latency.p50", 1.3)])
@pytest.mark.parametrize(("pairs", "control"), [(3, 2), (5, 0), (6, 2)])
def test_a_plain_regression_is_found_with_any_number_of_pairs(
    name: str, factor: float, pairs: int, control: int
) -> None:
    result = compare(*session(4, 0.01, {name: factor}, pairs=pairs, control=control), paired=True)
    assert {m.metric for m in result.metrics if m.decision is Decision.REGRESSION} == {name}


def test_noise_that_hides_a_relevant_change_is_inconclusive() -> None:
    result = compare(*session(1, 0.3), paired=True)
    latency = of(result, "notify.latency.p99")
    assert latency.decision is Decision.INCONCLUSIVE
    assert "not excluded" in latency.reason
    assert result.exit_code == ExitCode.INCONCLUSIVE


@pytest.mark.parametrize(("disturbed", "decision"), [(1, Decision.PASS), (2, Decision.INCONCLUSIVE)])
def test_one_run_may_be_disturbed_but_not_two(disturbed: int, decision: Decision) -> None:
    """A build that is slow in every third run must not pass because those runs look like mishaps."""
    baseline, new, control = session(1, 0.01)
    for number in range(disturbed):
        new[3 * number] = run(factors={"notify.latency.p50": 3.0})
    result = compare(baseline, new, control, paired=True)
    assert of(result, "notify.latency.p50").decision is decision
    assert result.decision is decision


def test_a_rate_of_nothing_is_a_regression() -> None:
    baseline, new, control = session(6, 0.02)
    dead = [run(factors={"notify.received_per_s": 0.0}) for _ in new]
    assert of(compare(baseline, dead, control, paired=True), "notify.received_per_s").decision is Decision.REGRESSION


def test_saved_results_of_one_machine_decide_timings_too() -> None:
    old, new, _ = session(7, 0.02, {"notify.latency.p50": 1.4})
    result = saved(old, new)
    assert of(result, "notify.latency.p50").decision is Decision.REGRESSION
    assert result.order == ""


def test_targets_that_were_never_reached_are_no_pass() -> None:
    """Both sides have the same errors, and nothing else."""
    nothing = {"sessions.established": 0, "notify.received": 0, "notify.sent": 0}
    silent = run(counters=nothing, rates={}, metrics={}, costs={})
    silent = msgspec.structs.replace(silent, metrics={}, rates={}, costs={})
    assert compare([silent] * 3, [silent] * 3, paired=True).decision is Decision.INCONCLUSIVE
    assert compare([run()] * 3, [silent] * 3, paired=True).decision is Decision.REGRESSION


def test_a_metric_of_one_side_only_is_inconclusive() -> None:
    without = [run(rates={}) for _ in range(4)]
    result = saved([run()] * 4, without)
    assert of(result, "notify.received_per_s").decision is Decision.INCONCLUSIVE
    assert of(result, "notify.received_per_s").reason == "not measured by new"
    assert of(result, "notify.received_per_s").new is None


# -- runs that do not count --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"generator": Verdict.INVALID, "exit_code": 4}, "its generator was saturated"),
        ({"exit_code": ExitCode.WORKER_DIED}, "a worker process died in it"),
        ({"exit_code": ExitCode.INTERRUPTED}, "it was interrupted"),
    ],
)
def test_runs_that_say_nothing_of_the_target_never_count(fields: dict[str, Any], why: str) -> None:
    baseline, new, control = session(8, 0.01)
    new[2] = run(counters={"notify.lost": 99}, factors={"notify.latency.p50": 50.0}, **fields)
    result = compare(baseline, new, control, paired=True)
    assert result.decision is Decision.PASS
    assert len(of(result, "notify.latency.p50").new_runs) == 5
    assert result.reasons == (f"new 3 does not count: {why}",)


def test_a_degraded_generator_counts_for_what_is_exact_only() -> None:
    baseline, new, control = session(9, 0.01)
    new[2] = run(factors={"notify.latency.p50": 50.0}, generator=Verdict.DEGRADED)
    result = compare(baseline, new, control, paired=True)
    assert result.decision is Decision.PASS
    assert len(of(result, "notify.latency.p50").new_runs) == 5
    assert len(of(result, "notify.lost").new_runs) == 6
    new = [run(generator=Verdict.DEGRADED) for _ in new]
    result = compare(baseline, new, control, paired=True)
    assert of(result, "notify.latency.p50").decision is Decision.INCONCLUSIVE
    assert of(result, "notify.latency.p50").new == MS  # still there to look at
    assert result.exit_code == ExitCode.INCONCLUSIVE


@pytest.mark.parametrize(
    ("changes", "decision"),
    [
        # What a machine without time for our own two sides does: 195 of 200 sessions ran into their timeout.
        ({"counters": {"sessions.failed": 195, "errors.tls.timeout": 195}}, Decision.INCONCLUSIVE),
        ({"counters": {"notify.dropped": 11_700}}, Decision.INCONCLUSIVE),
        ({"costs": {"session.rss_bytes": 60_000.0}}, Decision.INCONCLUSIVE),
        # What none does, however busy it is.
        ({"counters": {"notify.duplicated": 1}}, Decision.REGRESSION),
        ({"costs": {"notify.bytes": 65.0}}, Decision.REGRESSION),
    ],
)
def test_what_a_busy_machine_does_too_takes_a_valid_generator(changes: dict[str, Any], decision: Decision) -> None:
    (name,) = list(next(iter(changes.values())))[:1]
    degraded, valid = (run(generator=verdict, **changes) for verdict in (Verdict.DEGRADED, Verdict.VALID))
    assert of(saved([run()], [degraded]), name).decision is decision
    assert of(saved([run()], [degraded, degraded, run()]), name).decision is decision
    assert of(saved([run()], [valid]), name).decision is Decision.REGRESSION
    assert of(saved([run()], [degraded, valid]), name).decision is Decision.REGRESSION
    assert of(saved([run()], [run(generator=Verdict.DEGRADED)]), name).decision is Decision.PASS


def test_nothing_but_runs_that_do_not_count_is_inconclusive() -> None:
    result = saved([run(generator=Verdict.INVALID)], [run(generator=Verdict.INVALID)])
    assert (result.metrics, result.decision) == ((), Decision.INCONCLUSIVE)


# -- what may not be compared ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scenario", "slow"),
        ("plan_digest", "000000000000"),
        ("profile", "theirs"),
        ("use", "serve"),
        ("kind", LoadKind.HANDSHAKE),
        ("schema_version", 9),
    ],
)
def test_another_load_is_refused_with_both_values(field: str, value: Any) -> None:
    with pytest.raises(InputError) as caught:
        saved([run(), run()], [run(), run(**{field: value})])
    (problem,) = caught.value.problems
    assert problem.where == f"new 2: {field}"
    assert problem.expected == f"{getattr(run(), field)} as in baseline 1"
    assert problem.found == str(value)


def test_digests_of_two_forms_are_not_compared_and_that_is_said() -> None:
    """A result from before digests were made another way, and one of today, of the same scenario."""
    result = saved([run(), run()], [run(plan_digest="000000000000", digest_form=2)])
    assert "plan digests of forms 1 and 2: whether all had the same plan is not known" in result.reasons
    assert result.reasons == saved([run(), run()], [run()]).reasons + result.reasons[-1:]
    with pytest.raises(InputError, match="new 2: scenario"):
        saved([run()], [run(digest_form=2), run(scenario="slow", digest_form=2)])
    with pytest.raises(InputError, match="new 2: plan_digest: expected 000000000000 as in new 1"):
        saved([run()], [run(plan_digest="000000000000", digest_form=2), run(digest_form=2)])


def test_every_difference_is_named_with_its_source() -> None:
    with pytest.raises(InputError) as caught:
        compare([run()], [run(use="x", profile="y")], paired=False, sources=["a.json", "b.json"])
    assert [problem.where for problem in caught.value.problems] == ["b.json: profile", "b.json: use"]


@pytest.mark.parametrize("sides", [([], [run()]), ([run()], [])])
def test_a_side_without_results_is_refused(sides: tuple[list[RunResult], list[RunResult]]) -> None:
    with pytest.raises(InputError, match="at least one result"):
        saved(*sides)


def test_halves_of_pairs_and_loose_controls_are_mistakes_of_the_caller() -> None:
    with pytest.raises(ValueError, match="as many runs"):
        compare([run()] * 3, [run()] * 2, paired=True)
    with pytest.raises(ValueError, match="control"):
        compare([run()], [run()], [(run(), run())], paired=False)


# -- the table ---------------------------------------------------------------------------------------------------------


def test_every_row_is_a_figure_of_a_result() -> None:
    names = [row.name for row in rows()]
    assert len(names) == len(set(names))
    known = {"errors", *COUNTERS, *RATES, *COSTS, *(f"{metric}.{s}" for metric in METRICS for s in STATISTICS)}
    assert set(names) <= known
    # Nothing that a run measures is forgotten, but for counters that tell what was asked for.
    assert set(names) >= {*RATES, *COSTS, *(f"{metric}.{s}" for metric in METRICS for s in STATISTICS)}


def test_rates_are_better_when_higher_and_nothing_else_is() -> None:
    assert {row.name for row in rows() if row.better == "higher"} == set(RATES)
    assert {row.unit for row in rows() if row.gate is Gate.PAIRED} == {"ns", "1/s", "s", "bytes"}
    assert all(row.margin > 0 for row in rows() if row.gate is Gate.MARGIN)
    assert Relevant() == Relevant(rate=RELEVANT_RATE, latency=RELEVANT_LATENCY)


def test_figures_are_found_by_name() -> None:
    result = run(counters={"errors.tls.reset": 2, "errors.tcp.refused": 3})
    assert figure(result, "errors") == 5
    assert figure(result, "notify.sent_per_s") == 4000
    assert figure(result, "notify.latency.p99") == 4 * MS
    assert figure(result, "notify.bytes") == 64
    assert figure(result, "handshakes.failed") is None
    assert figure(result, "handshake.lag.max") is None
    assert math.isclose(figure(result, "notify.latency.mean") or 0, 1.2 * MS)
