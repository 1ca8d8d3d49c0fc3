"""Whether figures can be used, whether they are good enough, and how the command exits."""

from __future__ import annotations

from itertools import product

import pytest
from measure_samples import healthy, summary

from loadgen.errors import ExitCode, InputError
from loadgen.loads import LoadKind
from loadgen.measure.health import GeneratorVerdict, Verdict
from loadgen.measure.health import judge as judge_workers
from loadgen.measure.merge import Merger
from loadgen.measure.names import COUNTERS, METRICS, RATES
from loadgen.measure.recorder import Recorder
from loadgen.measure.result import make_counters, make_rates, make_verdict
from loadgen.measure.thresholds import ThresholdResult, judge, parse_thresholds

MS = 1_000_000

# -- the generator itself ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("figures", "verdict", "reason"),
    [
        ({}, Verdict.VALID, None),
        ({"lag_p99_ns": 20 * MS}, Verdict.VALID, None),
        ({"lag_p99_ns": 20 * MS + 1}, Verdict.DEGRADED, "wlc-1 sent late: p99 of its lag is 20.0 ms"),
        ({"lag_p99_ns": 100 * MS}, Verdict.DEGRADED, "wlc-1 sent late: p99 of its lag is 100 ms"),
        ({"lag_p99_ns": 100 * MS + 1}, Verdict.INVALID, "wlc-1 sent late: p99 of its lag is 100 ms"),
        ({"due": 1000, "own_shortfall": 10}, Verdict.VALID, None),
        (
            {"due": 1000, "own_shortfall": 11},
            Verdict.INVALID,
            "wlc-1 gave up 11 of 1,000 due that its peer would have taken",
        ),
        ({"longest_stall_ns": 250 * MS}, Verdict.VALID, None),
        ({"longest_stall_ns": 251 * MS}, Verdict.DEGRADED, "wlc-1's loop stood still for 251 ms"),
        (
            {"longest_stall_ns": 300 * MS, "longest_gc_pause_ns": 200 * MS},
            Verdict.DEGRADED,
            "wlc-1's loop stood still for 300 ms, 200 ms of it garbage collection",
        ),
        ({"longest_gc_pause_ns": 240 * MS}, Verdict.VALID, None),
    ],
)
def test_a_worker_judges_itself(figures: dict[str, float], verdict: Verdict, reason: str | None) -> None:
    judged = judge_workers([healthy(), healthy(**figures)])
    assert judged.generator is verdict
    assert judged.reasons == (() if reason is None else (reason,))


def test_the_worst_worker_decides_and_all_reasons_are_given() -> None:
    workers = [
        healthy(worker="a", longest_stall_ns=300 * MS),
        healthy(worker="b", lag_p99_ns=150 * MS, longest_stall_ns=400 * MS),
        healthy(worker="c"),
    ]
    for order in (workers, workers[::-1]):
        judged = judge_workers(order)
        assert judged.generator is Verdict.INVALID
        assert sorted(reason[0] for reason in judged.reasons) == ["a", "b", "b"]
        assert judged.reasons[0].startswith("b sent late")  # what weighs most comes first
    assert judge_workers([]).generator is Verdict.VALID


def test_a_worker_without_time_to_spare_may_have_been_the_limit() -> None:
    assert healthy(load_cpu_s=2.5, load_wall_s=10.0).load_share == 0.25
    assert healthy(load_cpu_s=2.5, load_wall_s=0.0).load_share == 0.0
    assert judge_workers([healthy(load_cpu_s=9.5, load_wall_s=10.0)]).generator is Verdict.VALID
    judged = judge_workers([healthy(load_cpu_s=9.6, load_wall_s=10.0)])
    assert judged.generator is Verdict.DEGRADED
    assert "used 96% of a core" in judged.reasons[0]


# -- thresholds --------------------------------------------------------------------------------------------------------

STATISTICS = ["count", "min", "mean", "p50", "p90", "p99", "p99_9", "max"]


@pytest.mark.parametrize(
    ("text", "name", "statistic", "sign", "limit"),
    [
        ("notify.latency.p99 < 50ms", "notify.latency", "p99", "<", 50 * MS),
        ("  notify.lag.p99_9<=1m30s  ", "notify.lag", "p99_9", "<=", 90_000 * MS),
        ("echo.rtt.count >= 10", "echo.rtt", "count", ">=", 10),
        ("sessions.failed == 0", "sessions.failed", None, "==", 0),
        ("errors.tls.peer_refused != 3", "errors.tls.peer_refused", None, "!=", 3),
        ("notify.sent_per_s > 1e3", "notify.sent_per_s", None, ">", 1000),
        ("handshake.per_s>=0.5", "handshake.per_s", None, ">=", 0.5),
    ],
)
def test_what_a_threshold_may_say(text: str, name: str, statistic: str | None, sign: str, limit: float) -> None:
    (threshold,) = parse_thresholds([text], "x")
    assert (threshold.text, threshold.name, threshold.statistic) == (text, name, statistic)
    assert (threshold.operator, threshold.limit) == (sign, limit)


@pytest.mark.parametrize("name", [*COUNTERS, *RATES, *(f"{m}.{s}" for m in METRICS for s in STATISTICS)])
def test_every_figure_of_a_result_can_be_judged(name: str) -> None:
    duration = name.rpartition(".")[0] in METRICS and not name.endswith(".count")
    (threshold,) = parse_thresholds([f"{name} <= {'1s' if duration else '1'}"], "x")
    assert threshold.limit == (10**9 if duration else 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a threshold such as"),
        ("notify.latency.p99", "a threshold such as"),
        ("notify.latency.p99 < ", "a threshold such as"),
        ("notify.latency.p99 =< 5ms", "a threshold such as"),
        ("notify.latency.p99 < 5 ms", "a threshold such as"),
        ("notify.latency.p99 < 50", 'a duration such as "250ms"'),
        ("notify.latency.p99 < -5ms", 'a duration such as "250ms"'),
        ("notify.latency.count < 50ms", "a number in"),
        ("notify.latency.p95 < 50ms", "one of count, min, mean, p50, p90, p99, p99_9, max after notify.latency"),
        ("notify.latency < 50ms", "a metric with a statistic, a counter or a rate ("),
        ("sessions.failed < 1ms", "a number in"),
        ("sessions.faled == 0", "a metric with a statistic, a counter or a rate ("),
        ("latency.p99 < 50ms", "a metric with a statistic, a counter or a rate ("),
    ],
)
def test_what_cannot_be_judged_is_an_error(text: str, message: str) -> None:
    with pytest.raises(InputError) as refusal:
        parse_thresholds([text], "x.toml: thresholds")
    (problem,) = refusal.value.problems
    assert problem.where == "x.toml: thresholds[0]"
    assert problem.expected.startswith(message)
    assert refusal.value.exit_code is ExitCode.BAD_INPUT


def test_all_bad_thresholds_come_at_once_with_their_places() -> None:
    texts = ["sessions.failed == 0", "x", "notify.lost == 0", "y == 1", "notify.lag.p1 < 1s"]
    with pytest.raises(InputError) as refusal:
        parse_thresholds(texts, "--threshold")
    assert [problem.where for problem in refusal.value.problems] == [f"--threshold[{i}]" for i in (1, 3, 4)]


def judged(text: str) -> ThresholdResult:
    metrics = {"notify.latency": summary(count=5, p99=10 * MS, mean=1.5)}
    (result,) = judge(parse_thresholds([text], "x"), metrics, {"sessions.failed": 3}, {"handshake.per_s": 100.5})
    assert result.text == text
    return result


@pytest.mark.parametrize(
    ("sign", "below", "equal", "above"),
    [
        ("<", False, False, True),
        ("<=", False, True, True),
        ("==", False, True, False),
        ("!=", True, False, True),
        (">=", True, True, False),
        (">", True, False, False),
    ],
)
def test_signs_at_limits_below_at_and_above_the_figure(sign: str, below: bool, equal: bool, above: bool) -> None:
    for form, limits in (
        ("notify.latency.p99 {} {}", ("9ms", "10ms", "11ms")),
        ("sessions.failed {} {}", ("2", "3", "4")),
        ("handshake.per_s {} {}", ("100", "100.5", "101")),
        ("notify.latency.count {} {}", ("4", "5", "6")),
    ):
        passed = [judged(form.format(sign, limit)).passed for limit in limits]
        assert passed == [below, equal, above]


def test_what_was_not_measured_fails() -> None:
    for text in (
        "notify.service.p99 < 1h",
        "notify.service.count == 0",
        "echo.rtt.min >= 0ns",
        "notify.sent_per_s >= 0",
        "notify.lost == 0",  # that side was not ours
    ):
        result = judged(text)
        assert (result.passed, result.figure, result.shown) == (False, None, "not measured")


def test_an_error_that_never_happened_is_0() -> None:
    assert judged("errors.tls.reset == 0").passed
    assert judged("errors.tls.reset == 0").figure == 0.0
    assert not judged("errors.tls.reset > 0").passed


def test_the_figure_is_shown_as_a_person_would() -> None:
    assert judged("notify.latency.p99 < 1ms").shown == "10.0 ms"
    assert judged("notify.latency.p99 < 1ms").figure == 10 * MS
    assert judged("sessions.failed == 0").shown == "3"
    assert judged("handshake.per_s > 1").shown == "100.5"


# -- verdict -----------------------------------------------------------------------------------------------------------


def test_the_outcome_that_weighs_most_decides() -> None:
    """Every combination of the five things that can be wrong, against their order."""
    failed = ThresholdResult("notify.lost == 0", passed=False, figure=1.0, shown="1")
    fine = ThresholdResult("notify.lost == 1", passed=True, figure=1.0, shown="1")
    order = [
        ExitCode.WORKER_DIED,
        ExitCode.INTERRUPTED,
        ExitCode.UNREACHABLE,
        ExitCode.GENERATOR_SATURATED,
        ExitCode.THRESHOLD_FAILED,
    ]
    outcomes = set()
    for wrong in product((False, True), repeat=5):
        died, interrupted, unreachable, saturated, missed = wrong
        generator = GeneratorVerdict(
            Verdict.INVALID if saturated else Verdict.DEGRADED, ("too late",) if saturated else ("a stall",)
        )
        verdict = make_verdict(
            generator,
            (fine, failed) if missed else (fine,),
            {"sessions.established": 0 if unreachable else 3, "notify.sent": 7},
            interrupted=interrupted,
            deaths=("wlc-1 died of signal 9",) if died else (),
        )
        wanted = next((code for code, is_so in zip(order, wrong, strict=True) if is_so), ExitCode.PASSED)
        assert verdict.exit_code == int(wanted)
        assert verdict.generator is generator.generator
        reasons = " | ".join(verdict.reasons)
        assert ("signal 9" in reasons) == died
        assert ("interrupted" in reasons) == interrupted
        assert ("too late" in reasons) == saturated
        assert ("threshold failed: notify.lost == 0 (was 1)" in reasons) == missed
        assert "notify.lost == 1" not in reasons
        outcomes.add((verdict.exit_code, verdict.outcome))
    assert len(outcomes) == 6  # one text for each code


def test_a_degraded_generator_still_passes() -> None:
    verdict = make_verdict(GeneratorVerdict(Verdict.DEGRADED, ("a stall",)), (), PLAIN, interrupted=False, deaths=())
    assert (verdict.exit_code, verdict.outcome, verdict.reasons) == (0, "passed", ("a stall",))


PLAIN = {"sessions.established": 1, "notify.sent": 1, "notify.received": 1}


@pytest.mark.parametrize(
    ("counters", "code", "reasons"),
    [
        (PLAIN, 0, ()),
        ({"sessions.established": 1, "notify.received": 1}, 0, ()),  # only the MSEs are ours
        ({"sessions.established": 1, "notify.sent": 0}, 5, ("no notification was sent or received",)),
        (
            {"sessions.established": 1, "notify.sent": 0, "notify.dropped": 3000},
            5,
            ("no notification was sent or received", "notifications dropped: 3,000"),
        ),
        (PLAIN | {"sessions.lost": 1, "sessions.failed": 2}, 0, ("sessions failed: 2", "sessions lost: 1")),
    ],
)
def test_what_fell_short_is_said_and_nothing_at_all_is_inconclusive(
    counters: dict[str, int], code: int, reasons: tuple[str, ...]
) -> None:
    verdict = make_verdict(GeneratorVerdict(Verdict.VALID, ()), (), counters, interrupted=False, deaths=())
    assert (verdict.exit_code, verdict.reasons) == (code, reasons)


# -- counters and rates ------------------------------------------------------------------------------------------------


def merger_of(**counts: int) -> Merger:
    """Counters of two workers whose sums are `counts` (with `__` for a dot)."""
    merger = Merger()
    for worker in range(2):
        recorder = Recorder()
        for name, amount in counts.items():
            recorder.count(name.replace("__", "."), amount - amount // 2 if worker else amount // 2)
        merger.add(f"w{worker}", recorder.take(0))
    return merger


@pytest.mark.parametrize(
    ("sent", "received", "duplicated", "seen_lost", "lost"),
    [
        (100, 100, 0, 0, 0),
        (100, 90, 0, 0, 10),  # the tail never came: no gap showed it
        (100, 90, 0, 7, 10),
        (100, 90, 0, 10, 10),
        (100, 95, 5, 0, 10),  # five of those that came had come before
        (100, 105, 5, 0, 0),
        (100, 100, 0, 3, 3),
        (100, 110, 0, 0, 0),  # more than we sent: not a negative loss
    ],
)
def test_lost_is_what_was_sent_and_never_came(
    sent: int, received: int, duplicated: int, seen_lost: int, lost: int
) -> None:
    merger = merger_of(
        notify__sent=sent, notify__received=received, notify__duplicated=duplicated, notify__lost=seen_lost
    )
    assert make_counters(merger, LoadKind.NOTIFY, wlc=True, mse=True, complete=True)["notify.lost"] == lost
    assert make_counters(merger, LoadKind.NOTIFY, wlc=True, mse=True, complete=False)["notify.lost"] == seen_lost
    assert make_counters(merger, LoadKind.NOTIFY, wlc=False, mse=True, complete=True)["notify.lost"] == seen_lost
    assert "notify.lost" not in make_counters(merger, LoadKind.NOTIFY, wlc=True, mse=False, complete=True)


def test_all_counters_are_there_and_those_of_errors_too() -> None:
    merger = merger_of(errors__tls__reset=2, errors__accept__reset=1)
    counters = make_counters(merger, LoadKind.NOTIFY, wlc=True, mse=True, complete=True)
    ours = [name for name in COUNTERS if not name.startswith("handshakes.")]
    assert list(counters) == [*ours, "errors.accept.reset", "errors.tls.reset"]
    assert {name: amount for name, amount in counters.items() if amount} == {
        "errors.accept.reset": 1,
        "errors.tls.reset": 2,
    }


def test_what_a_side_that_is_not_ours_would_have_seen_is_left_out() -> None:
    """Left out, not 0; and every counter is seen by somebody."""
    merger = merger_of(sessions__attempted=1)
    everything = make_counters(merger, LoadKind.NOTIFY, wlc=True, mse=True, complete=True).keys()
    wlc_only = make_counters(merger, LoadKind.NOTIFY, wlc=True, mse=False, complete=True).keys()
    mse_only = make_counters(merger, LoadKind.NOTIFY, wlc=False, mse=True, complete=True).keys()
    assert everything == wlc_only | mse_only == {name for name in COUNTERS if not name.startswith("handshakes.")}
    assert wlc_only - mse_only == {
        "notify.due",
        "notify.sent",
        "notify.writes",
        "notify.dropped",
        "echo.answered",
        "generator.shortfall",
    }
    assert {"notify.received", "notify.lost", "echo.sent"} <= mse_only - wlc_only
    assert {"sessions.attempted", "sessions.lost", "clock.clamped"} <= wlc_only & mse_only


def test_handshakes_have_counters_of_their_own() -> None:
    ours = {name for name in COUNTERS if name.startswith("handshakes.")} | {"clock.clamped"}
    only_when_due = {"handshakes.due", "handshakes.dropped"}
    paced = merger_of(handshakes__attempted=3, handshakes__due=3)
    unpaced = merger_of(handshakes__attempted=3)
    for wlc, mse in ((True, True), (False, True)):
        of_paced = make_counters(paced, LoadKind.HANDSHAKE, wlc=wlc, mse=mse, complete=True).keys()
        assert of_paced == ours | {"generator.shortfall"}
    for wlc, mse in ((True, True), (False, True), (True, False)):
        of_unpaced = make_counters(unpaced, LoadKind.HANDSHAKE, wlc=wlc, mse=mse, complete=True).keys()
        assert of_unpaced == ours - only_when_due


def test_rates_are_counts_over_the_time_in_which_they_happened() -> None:
    recorder, merger = Recorder(), Merger()
    for name, first, last in (("handshake", 1, 5), ("sent", 10, 20), ("received", 11, 22)):
        recorder.mark(name, first * 10**9)
        recorder.mark(name, last * 10**9)
    merger.add("w", recorder.take(0))
    counters = {"sessions.established": 100, "notify.sent": 500, "notify.received": 600}
    assert make_rates(merger, counters, 10 * 10**9) == {
        "handshake.per_s": 25.0,
        "notify.sent_per_s": 50.0,
        "notify.received_per_s": 50.0,
    }
    assert set(make_rates(merger, counters, 10**9)) <= set(RATES)


def test_a_rate_without_its_time_is_left_out() -> None:
    assert make_rates(Merger(), {"sessions.established": 1, "notify.sent": 0, "notify.received": 0}, 5) == {}
    recorder, merger = Recorder(), Merger()
    recorder.mark("handshake", 5)
    merger.add("w", recorder.take(0))
    assert make_rates(merger, {"sessions.established": 0, "notify.sent": 0, "notify.received": 0}, 5) == {}
    assert make_rates(merger, {"sessions.established": 1, "notify.sent": 0, "notify.received": 0}, 5) == {
        "handshake.per_s": 0.0  # one instant is no time to divide by
    }
