"""Whether figures can be used, whether they are good enough, and how the command exits."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from measure_samples import healthy, summary

from loadgen.errors import ExitCode, InputError
from loadgen.loads import LoadKind
from loadgen.measure.clock_readings import Clocks
from loadgen.measure.histogram import Histogram, MetricSummary
from loadgen.measure.merge import Merger
from loadgen.measure.names import (
    BOTH_COUNTERS,
    COSTS,
    COUNTERS,
    DTLS_ONLY,
    METRICS,
    MSE_ALONE_COUNTERS,
    MSE_COUNTERS,
    OPTIONAL_PREFIXES,
    RATES,
    SUBSERVICES,
    TLS_ONLY,
    error_phases,
)
from loadgen.measure.recorder import Interval, Recorder
from loadgen.nmsp.services import Subservice
from loadgen.results.figures import StageSpan, make_costs, make_counters, make_metrics, make_rates, make_stages
from loadgen.results.health import GeneratorVerdict, MachineHealth, Verdict
from loadgen.results.health import judge as judge_generator
from loadgen.results.result import Limit, ResultVerdict
from loadgen.results.thresholds import Figures, Status, ThresholdResult, judge, parse_thresholds
from loadgen.results.verdict import make_verdict

MS = 1_000_000


def lag(p99: int) -> dict[str, int]:
    return {"count": 100, "p50": 0, "p90": 0, "p99": p99}


# -- the generator itself ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("figures", "verdict", "reason"),
    [
        ({}, Verdict.VALID, None),
        ({"lag": lag(20 * MS)}, Verdict.VALID, None),
        ({"lag": lag(20 * MS + 1)}, Verdict.DEGRADED, "wlc-1 sent late: p99 of its lag is 20.0 ms"),
        ({"lag": lag(100 * MS)}, Verdict.DEGRADED, "wlc-1 sent late: p99 of its lag is 100 ms"),
        ({"lag": lag(100 * MS + 1)}, Verdict.INVALID, "wlc-1 sent late: p99 of its lag is 100 ms"),
        # Of fewer samples: what is a percentile of them.
        ({"lag": {"count": 60, "p90": 20 * MS}}, Verdict.VALID, None),
        ({"lag": {"count": 60, "p90": 21 * MS}}, Verdict.DEGRADED, "wlc-1 sent late: p90 of its lag is 21.0 ms"),
        ({"lag": {"count": 9, "p50": 101 * MS}}, Verdict.INVALID, "wlc-1 sent late: p50 of its lag is 101 ms"),
        ({"lag": {"count": 1}}, Verdict.VALID, None),
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
        ({"longest_stall_ns": 999 * MS}, Verdict.DEGRADED, "wlc-1's loop stood still for 999 ms"),
        ({"longest_stall_ns": 3000 * MS}, Verdict.INVALID, "wlc-1's loop stood still for 3.00 s"),
        *(
            ({f"{part}_stall_ns": ms * MS}, verdict, f"wlc-1's loop stood still for {shown} {when}")
            for part, when in (
                ("setup", "before the load, while sessions are set up"),
                ("closing", "after the load, while what is under way still comes"),
            )
            for ms, shown, verdict in ((300, "300 ms", Verdict.DEGRADED), (2830, "2.83 s", Verdict.INVALID))
        ),
    ],
)
def test_a_worker_judges_itself(figures: dict[str, Any], verdict: Verdict, reason: str | None) -> None:
    judged = judge_generator([healthy(), healthy(**figures)], MachineHealth(), {})
    assert judged.generator is verdict
    assert judged.reasons == (() if reason is None else (reason,))


def test_the_worst_worker_decides_and_all_reasons_are_given() -> None:
    workers = [
        healthy(worker="a", longest_stall_ns=300 * MS),
        healthy(worker="b", lag=lag(150 * MS), longest_stall_ns=400 * MS),
        healthy(worker="c"),
    ]
    for order in (workers, workers[::-1]):
        judged = judge_generator(order, MachineHealth(), {})
        assert judged.generator is Verdict.INVALID
        assert sorted(reason[0] for reason in judged.reasons) == ["a", "b", "b"]
        assert judged.reasons[0].startswith("b sent late")  # what weighs most comes first
    assert judge_generator([], MachineHealth(), {}).generator is Verdict.VALID


def test_a_worker_without_time_to_spare_may_have_been_the_limit() -> None:
    assert healthy(load_cpu_s=2.5, load_wall_s=10.0).load_share == 0.25
    assert healthy(load_cpu_s=2.5, load_wall_s=0.0).load_share == 0.0
    assert judge_generator([healthy(load_cpu_s=9.5, load_wall_s=10.0)], MachineHealth(), {}).generator is Verdict.VALID
    judged = judge_generator([healthy(load_cpu_s=9.6, load_wall_s=10.0)], MachineHealth(), {})
    assert judged.generator is Verdict.DEGRADED
    assert "used 96% of a core" in judged.reasons[0]


# -- thresholds --------------------------------------------------------------------------------------------------------

STATISTICS = ["count", "min", "mean", "p50", "p90", "p99", "p99_9", "max"]


@pytest.mark.parametrize(
    ("text", "name", "statistic", "sign", "limit"),
    [
        ("notify.latency.p99 < 50ms", "notify.latency", "p99", "<", 50 * MS),
        ("  notify.lag.p99_9<=1m30s  ", "notify.lag", "p99_9", "<=", 90_000 * MS),
        ("echo.service.count >= 10", "echo.service", "count", ">=", 10),
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


@pytest.mark.parametrize(
    "name",
    [*COUNTERS, *RATES, *(c for c in COSTS if "target" not in c), *(f"{m}.{s}" for m in METRICS for s in STATISTICS)],
)
def test_every_figure_of_a_result_can_be_judged(name: str) -> None:
    duration = (name.rpartition(".")[0] in METRICS and not name.endswith(".count")) or name.endswith("cpu_s")
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
        ("notify.latency.p98 < 50ms", "one of p90, p95, p99, count, min, mean, p50, p99_9, max after notify.latency"),
        ("notify.latency < 50ms", "a metric with a statistic, a counter, a rate or a cost"),
        ("sessions.failed < 1ms", "a number in"),
        ("sessions.faled == 0", "a metric with a statistic, a counter, a rate or a cost"),
        ("notify.lost / notify.latency.p99 < 1", "counters or rates on both sides of the / in"),
        ("notify.lost / notify.sennt < 1%", "counters or rates on both sides of the / in"),
        ("notify.lost / notify.received_per_s < 1%", "two counters or two rates on the sides of the / in"),
        ("notify.sent_per_s / notify.sent < 1%", "two counters or two rates on the sides of the / in"),
        ("notify.lost / notify.sent < 1ms", 'a share such as "0.01%"'),
        ("notify.lost / notify.sent < nan%", 'a share such as "0.01%"'),
        ("notify.lost < 1%", "a number in"),
        ("session.rss_bytes < 1ms", 'a size such as "512"'),
        ("target.cpu_s < 1s", "a metric with a statistic, a counter, a rate or a cost"),  # after the run
        ("latency.p99 < 50ms", "a metric with a statistic, a counter, a rate or a cost"),
    ],
)
def test_what_cannot_be_judged_is_an_error(text: str, message: str) -> None:
    with pytest.raises(InputError) as refusal:
        parse_thresholds([text], "x.toml: thresholds")
    (problem,) = refusal.value.problems
    assert problem.where == "x.toml: thresholds[0]"
    assert problem.expected.startswith(message)
    assert refusal.value.exit_code is ExitCode.BAD_INPUT


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("notify.latncy.p99 < 50ms", "notify.latency.p99"),
        ("notify.latency < 50ms", "notify.latency.p99"),
        ("handshake.sesion.p95 < 1s", "handshake.session.p99"),
        ("sesions.failed == 0", "sessions.failed"),
        ("notify.received_per_sec > 5", "notify.received_per_s"),
        ("error.tls.timeout == 0", "errors.tls.<kind>"),
        ("notify.lost / notify.sennt < 1%", "notify.sent"),
    ],
)
def test_the_names_that_look_most_like_an_unknown_one_are_told_and_where_all_are(text: str, first: str) -> None:
    with pytest.raises(InputError) as refusal:
        parse_thresholds([text], "--threshold")
    (problem,) = refusal.value.problems
    assert f"such as {first}, " in problem.expected
    assert problem.expected.endswith("(all of them: loadgen metrics)")
    assert len(str(problem)) < 300


def test_p95_is_a_percentile_as_others_are() -> None:
    def of_values(count: int) -> MetricSummary:
        recorder, histogram = Recorder(), Histogram()
        for value in range(1, count + 1):
            recorder.record("notify.latency", value * MS)
        histogram.merge(recorder.take(0).histograms["notify.latency"])
        return histogram.summary()

    assert of_values(19).p95 is None
    assert of_values(100).p95 == pytest.approx(95 * MS, rel=0.001)
    figures = Figures({"notify.latency": of_values(100)}, {}, {}, {})
    of = judge(parse_thresholds(["notify.latency.p95 < 96ms", "notify.latency.p95 < 94ms"], "x"), figures)
    assert [result.status for result in of] == [Status.PASSED, Status.FAILED]


def test_all_bad_thresholds_come_at_once_with_their_places() -> None:
    texts = ["sessions.failed == 0", "x", "notify.lost == 0", "y == 1", "notify.lag.p1 < 1s"]
    with pytest.raises(InputError) as refusal:
        parse_thresholds(texts, "--threshold")
    assert [problem.where for problem in refusal.value.problems] == [f"--threshold[{i}]" for i in (1, 3, 4)]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "notify.lost / notify.sent < 1%",
            "notify.sent was not measured: the WLCs are not ours; "
            "counters of this run that can be divided: notify.received, notify.lost",
        ),
        (
            "notify.dropped / notify.received < 1%",
            "notify.dropped was not measured: the WLCs are not ours; "
            "counters of this run that can be divided: notify.received, notify.lost",
        ),
        (
            "notify.received_per_s / notify.sent_per_s > 99%",
            "notify.sent_per_s was not measured; rates of this run that can be divided: notify.received_per_s",
        ),
        (
            "requests.refused / requests.served < 1%",
            "requests.refused was not measured; counters of this run that can be divided: none",
        ),
        ("notify.lost / errors.tls.reset < 1", "errors.tls.reset is 0"),
    ],
)
def test_a_share_of_what_this_run_does_not_count_says_what_it_does(text: str, shown: str) -> None:
    figures = Figures({}, {"notify.received": 900, "notify.lost": 0}, {"notify.received_per_s": 9.0}, {}, ("tls",))
    (result,) = judge(parse_thresholds([text], "x"), figures)
    assert (result.status, result.shown) == (Status.ERROR, shown)


def judged(text: str) -> ThresholdResult:
    figures = Figures(
        {"notify.latency": summary(count=500, p99=10 * MS, mean=1.5)},
        {"sessions.failed": 3, "sessions.attempted": 1200, "sessions.lost": 0},
        {"handshake.per_s": 100.5},
        {"session.rss_bytes": 30 * 1024.0, "notify.cpu_s": 12.5e-6},
    )
    (result,) = judge(parse_thresholds([text], "x"), figures)
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
        ("notify.latency.count {} {}", ("499", "500", "501")),
        ("sessions.failed / sessions.attempted {} {}", ("0.2%", "0.25%", "0.3%")),
        ("session.rss_bytes {} {}", ("29KiB", "30KiB", "31KiB")),
        ("notify.cpu_s {} {}", ("12us", "12.5us", "13us")),
    ):
        passed = [judged(form.format(sign, limit)).passed for limit in limits]
        assert passed == [below, equal, above]


def test_what_was_not_measured_is_an_error() -> None:
    for text in (
        "notify.service.p99 < 1h",
        "notify.service.count == 0",
        "echo.service.min >= 0ns",
        "notify.sent_per_s >= 0",
        "notify.lost == 0",  # that side was not ours
        "notify.lost / sessions.attempted < 1",
        "sessions.failed / notify.sent < 1",
        "handshake.cpu_s < 1s",
    ):
        result = judged(text)
        assert (result.passed, result.status, result.figure) == (False, Status.ERROR, None)
        assert " was not measured" in result.shown
        assert "ours" not in result.shown  # both sides are


def test_a_share_of_nothing_is_an_error() -> None:
    assert judged("sessions.failed / sessions.lost < 1").status is Status.ERROR
    assert judged("sessions.failed / sessions.lost < 1").shown == "sessions.lost is 0"


@pytest.mark.parametrize(
    ("statistic", "least"), [("p50", 2), ("p90", 10), ("p99", 100), ("p99_9", 1000), ("p99.9", 1000)]
)
def test_a_percentile_takes_as_many_samples_as_it_has_parts(statistic: str, least: int) -> None:
    for count in (1, least - 1, least, least + 1):
        figures = Figures({"notify.latency": summary(count=count)}, {}, {}, {})
        (result,) = judge(parse_thresholds([f"notify.latency.{statistic} < 1h"], "x"), figures)
        assert result.status is (Status.PASSED if count >= least else Status.ERROR)
        if count < least:
            name = statistic.replace(".", "_")
            assert result.shown == f"{name} takes at least {least:,} samples, notify.latency has {count:,}"
    assert judged("notify.latency.max < 1h").status is Status.PASSED


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("notify.latency.p99 < 20ms", Status.PASSED),
        ("notify.latency.p99 < 11ms", Status.ERROR),  # if the clock is ahead by what it may be, it was 12 ms
        ("notify.latency.p99 < 9500us", Status.ERROR),  # 10 ms, and perhaps 9
        ("notify.latency.p99 < 9ms", Status.FAILED),
        ("notify.latency.p99 > 13ms", Status.FAILED),
        ("notify.latency.p99 > 11ms", Status.ERROR),
        ("notify.service.max < 20ms", Status.PASSED),
        ("service.rssi_ms.latency.max < 11ms", Status.ERROR),
        ("notify.latency.count >= 500", Status.PASSED),
        ("echo.latency.p99 < 11ms", Status.PASSED),  # by one clock
    ],
)
def test_a_threshold_is_judged_for_all_that_clocks_may_be(text: str, status: Status) -> None:
    names = ("notify.latency", "notify.service", "service.rssi_ms.latency", "echo.latency")
    figures = Figures(
        dict.fromkeys(names, summary(count=500, p99=10 * MS, max=10 * MS)),
        {},
        {},
        {},
        clocks=Clocks(1, 0, 0, less_ns=MS, more_ns=2 * MS),
    )
    (result,) = judge(parse_thresholds([text], "x"), figures)
    assert result.status is status
    if status is Status.ERROR:
        assert result.shown == "was 10.0 ms; by what is known of clocks, 9.00 ms to 12.0 ms"


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("notify.latency.p99 < 50ms", Status.ERROR),
        ("notify.latency.p99 < 400ms", Status.PASSED),
        ("notify.latency.p99 < 5ms", Status.FAILED),
        ("notify.latency.p99 > 50ms", Status.ERROR),
    ],
)
def test_what_is_a_clock_or_a_hold_is_named_as_both(text: str, status: Status) -> None:
    clocks = Clocks(1, 1, 0, less_ns=MS, more_ns=301 * MS, held_ns=300 * MS)
    figures = Figures({"notify.latency": summary(count=500, p99=10 * MS)}, {}, {}, {}, clocks=clocks)
    (result,) = judge(parse_thresholds([text], "x"), figures)
    assert result.status is status
    if status is Status.ERROR:
        assert result.shown == (
            "was 10.0 ms; by what is known of clocks, 9.00 ms to 311 ms: "
            "a WLC's clock is behind or fell back by 300 ms, or it holds its notifications for so long"
        )


def test_a_time_that_may_be_right_after_all_is_named() -> None:
    clocks = Clocks(1, 0, 0, less_ns=MS, more_ns=81 * MS, lone=1, lone_ns=80 * MS)
    figures = Figures({"notify.latency": summary(count=500, p99=10 * MS)}, {}, {}, {}, clocks=clocks)
    near, far = judge(parse_thresholds(["notify.latency.p99 < 50ms", "notify.latency.p99 < 95ms"], "x"), figures)
    assert (near.status, far.status) == (Status.ERROR, Status.PASSED)
    assert near.shown == (
        "was 10.0 ms; by what is known of clocks, 9.00 ms to 91.0 ms: "
        "80.0 ms of it, because one was faster than all others, and may bear a wrong time"
    )


@pytest.mark.parametrize(("limit", "clamped"), [("50ms", 1), ("1ns", 1), ("50ms", 0)])
def test_what_was_clamped_is_never_a_pass(limit: str, clamped: int) -> None:
    for text in (f"notify.latency.p99 < {limit}", f"notify.latency.min < {limit}", f"notify.service.max < {limit}"):
        latency = summary(count=500, p99=0, min=0, max=0)
        figures = Figures({"notify.latency": latency, "notify.service": latency}, {"clock.clamped": clamped}, {}, {})
        (result,) = judge(parse_thresholds([text], "x"), figures)
        assert result.status is (Status.ERROR if clamped else Status.PASSED)
        if clamped:
            assert result.shown == "was 0 ns, but 1 durations below 0 or above 1 h were cut off"


def test_an_error_that_never_happened_is_0() -> None:
    assert judged("errors.tls.reset == 0").passed
    assert judged("errors.tls.reset == 0").figure == 0.0
    assert not judged("errors.tls.reset > 0").passed


def test_an_error_that_only_the_other_side_could_have_is_not_judged() -> None:
    figures = Figures({}, {"errors.serve.reset": 0}, {}, {}, error_phases(wlc=False, mse=True))
    texts = ["errors.tls.reset == 0", "errors.accept.reset == 0"]
    ours, theirs = judge(parse_thresholds(texts, "x"), figures)
    assert (ours.status, theirs.status) == (Status.PASSED, Status.ERROR)


def test_the_figure_is_shown_as_a_person_would() -> None:
    assert judged("notify.latency.p99 < 1ms").shown == "was 10.0 ms"
    assert judged("notify.latency.p99 < 1ms").figure == 10 * MS
    assert judged("sessions.failed == 0").shown == "was 3"
    assert judged("handshake.per_s > 1").shown == "was 100.5"
    assert judged("sessions.failed / sessions.attempted < 1%").shown == "was 0.0025 (0.250%)"
    assert judged("session.rss_bytes < 1KiB").shown == "was 30,720 bytes"
    assert judged("notify.cpu_s < 1us").shown == "was 12.5 µs"


# -- verdict -----------------------------------------------------------------------------------------------------------


FINE = GeneratorVerdict(Verdict.VALID, ())


def verdict_of(
    generator: GeneratorVerdict,
    counters: dict[str, int],
    thresholds: tuple[ThresholdResult, ...] = (),
    *,
    interrupted: bool = False,
    aborted: str = "",
    deaths: tuple[str, ...] = (),
) -> ResultVerdict:
    return make_verdict(generator, thresholds, counters, interrupted=interrupted, aborted=aborted, deaths=deaths)


def test_the_outcome_that_weighs_most_decides() -> None:
    """Every combination of the five things that can be wrong, against their order."""
    failed = ThresholdResult("notify.lost == 0", Status.FAILED, figure=1.0, shown="was 1")
    fine = ThresholdResult("notify.lost == 1", Status.PASSED, figure=1.0, shown="was 1")
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
        verdict = verdict_of(
            generator,
            {"sessions.established": 0 if unreachable else 3, "notify.sent": 7},
            (fine, failed) if missed else (fine,),
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
    verdict = verdict_of(GeneratorVerdict(Verdict.DEGRADED, ("a stall",)), PLAIN)
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
        (
            {"sessions.established": 2, "sessions.lost": 1, "sessions.failed": 2, "notify.sent": 1},
            0,
            ("sessions failed: 2", "sessions lost: 1"),
        ),
        (PLAIN | {"sessions.lost": 1}, 5, ("no session was left at the end", "sessions lost: 1")),
    ],
)
def test_what_fell_short_is_said_and_nothing_at_all_is_inconclusive(
    counters: dict[str, int], code: int, reasons: tuple[str, ...]
) -> None:
    verdict = verdict_of(FINE, counters)
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

    def counted(*, wlc: bool, mse: bool, complete: bool) -> dict[str, int]:
        return make_counters(merger.counters(), LoadKind.NOTIFY, wlc=wlc, mse=mse, complete=complete)

    assert counted(wlc=True, mse=True, complete=True)["notify.lost"] == lost
    assert counted(wlc=True, mse=True, complete=False)["notify.lost"] == seen_lost
    assert counted(wlc=False, mse=True, complete=True)["notify.lost"] == seen_lost
    assert "notify.lost" not in counted(wlc=True, mse=False, complete=True)


def test_all_counters_are_there_and_those_of_errors_too() -> None:
    merger = merger_of(errors__tls__reset=2, errors__accept__reset=1)
    counters = make_counters(merger.counters(), LoadKind.NOTIFY, wlc=True, mse=True, complete=True)
    others = ("handshakes.", *OPTIONAL_PREFIXES)
    others_only = DTLS_ONLY | MSE_ALONE_COUNTERS
    ours = [name for name in COUNTERS if not name.startswith(others) and name not in others_only]
    assert list(counters) == [*ours, "errors.accept.reset", "errors.tls.reset"]
    assert {name: amount for name, amount in counters.items() if amount} == {
        "errors.accept.reset": 1,
        "errors.tls.reset": 2,
    }


AUTHENTICATION = {name for name in COUNTERS if name.startswith(("accept.", "verify.", "aaa."))}


def test_what_a_side_that_is_not_ours_would_have_seen_is_left_out() -> None:
    """Left out, not 0; and every counter is seen by somebody."""
    merger = merger_of(sessions__attempted=1)
    everything = make_counters(merger.counters(), LoadKind.NOTIFY, wlc=True, mse=True, complete=True).keys()
    wlc_only = make_counters(merger.counters(), LoadKind.NOTIFY, wlc=True, mse=False, complete=True).keys()
    mse_only = make_counters(merger.counters(), LoadKind.NOTIFY, wlc=False, mse=True, complete=True).keys()
    ours = {name for name in COUNTERS if not name.startswith(("handshakes.", *OPTIONAL_PREFIXES))}
    assert everything | MSE_ALONE_COUNTERS == wlc_only | mse_only | BOTH_COUNTERS == ours - DTLS_ONLY
    assert not everything & MSE_ALONE_COUNTERS
    assert mse_only >= MSE_ALONE_COUNTERS
    assert wlc_only - mse_only == AUTHENTICATION | {
        "notify.due",
        "notify.sent",
        "notify.sent_bytes",
        "notify.writes",
        "notify.unacknowledged_bytes",
        "notify.untaken_bytes",
        "notify.unconfirmed",
        "notify.dropped",
        "notify.declined",
        "echo.answered",
        "generator.shortfall",
    }
    assert {"notify.received", "notify.lost", "echo.sent"} <= mse_only - wlc_only
    assert {"sessions.attempted", "sessions.lost", "clock.clamped"} <= wlc_only & mse_only


def test_counters_of_requests_are_there_when_somebody_counts_them_and_so_is_their_shortfall() -> None:
    merger = merger_of(requests__due=0, requests__timed_out=0, requests__served=0, service__rssi_ms__received=0)
    assert not any(name.startswith(OPTIONAL_PREFIXES) for name in counters_of(merger_of()))
    both = counters_of(merger)
    assert {name for name in both if name.startswith(OPTIONAL_PREFIXES)} == {
        *("requests.due", "requests.timed_out", "requests.served", "service.rssi_ms.received")
    }
    mse_only = make_counters(merger.counters(), LoadKind.NOTIFY, wlc=False, mse=True, complete=True)
    assert mse_only["generator.shortfall"] == 0
    assert "requests.served" not in mse_only
    assert "requests.timed_out" not in make_counters(
        merger.counters(), LoadKind.NOTIFY, wlc=True, mse=False, complete=True
    )


def counters_of(merger: Merger) -> dict[str, int]:
    return make_counters(merger.counters(), LoadKind.NOTIFY, wlc=True, mse=True, complete=True)


def test_counters_of_queues_and_services_are_there_where_somebody_counted() -> None:
    merger = merger_of(service__rssi_ms__received=7, transmit__dropped__high=0)
    counters = make_counters(merger.counters(), LoadKind.NOTIFY, wlc=True, mse=True, complete=True)
    assert {name: count for name, count in counters.items() if name.startswith(OPTIONAL_PREFIXES)} == {
        "service.rssi_ms.received": 7,
        "transmit.dropped.high": 0,
    }


def test_of_maxima_the_largest_counts() -> None:
    merger = Merger()
    for worker, deepest in (("wlc-0", 7), ("wlc-1", 30), ("mse-0", None)):
        counters = {"notify.due": 1} if deepest is None else {"notify.due": 1, "transmit.deepest.normal": deepest}
        merger.add(worker, Interval(0, counters, {}))
    assert merger.counters()["transmit.deepest.normal"] == 30
    assert merger.counters()["notify.due"] == 3


def test_subservices_are_those_of_the_protocol() -> None:
    assert set(SUBSERVICES) == {subservice.name.lower() for subservice in Subservice}
    assert len(SUBSERVICES) == len(set(SUBSERVICES))


def test_each_transport_has_counters_of_its_own() -> None:
    """Nobody shall take a datagram's counter of a run over TCP, or TCP's of one over UDP, for a 0 that was measured."""
    merger = merger_of(sessions__attempted=1, datagrams__sent=3)

    def names(*, wlc: bool, mse: bool) -> set[str]:
        return set(make_counters(merger.counters(), LoadKind.NOTIFY, wlc=wlc, mse=mse, complete=True, transport="dtls"))

    ours = {name for name in COUNTERS if not name.startswith(("handshakes.", *OPTIONAL_PREFIXES))}
    one = names(wlc=True, mse=False) | names(wlc=False, mse=True)
    assert names(wlc=True, mse=True) | MSE_ALONE_COUNTERS == one | BOTH_COUNTERS == ours - TLS_ONLY
    both = {"datagrams.sent", "datagrams.received", "datagrams.dropped", "datagrams.overflowed", "messages.repeated"}
    assert both <= names(wlc=True, mse=False) & names(wlc=False, mse=True)
    assert DTLS_ONLY - both <= names(wlc=False, mse=True) - names(wlc=True, mse=False)


@pytest.mark.parametrize(
    ("counters", "verdict", "reason"),
    [
        ({"datagrams.received": 1000, "datagrams.dropped": 0}, Verdict.VALID, ()),
        (
            {"datagrams.received": 995, "datagrams.dropped": 4, "datagrams.overflowed": 1},
            Verdict.DEGRADED,
            ("5 of 1,000 datagrams came faster than they were read, and were thrown away here",),
        ),
        (
            {"datagrams.received": 89, "datagrams.dropped": 11},
            Verdict.INVALID,
            ("11 of 100 datagrams came faster than they were read, and were thrown away here",),
        ),
    ],
)
def test_datagrams_that_we_threw_away_ourselves(
    counters: dict[str, int], verdict: Verdict, reason: tuple[str, ...]
) -> None:
    judged = judge_generator([healthy()], MachineHealth(), counters)
    assert (judged.generator, judged.reasons) == (verdict, reason)
    assert judged.limiting == (reason[0] if reason else "")


def test_handshakes_have_counters_of_their_own() -> None:
    ours = {name for name in COUNTERS if name.startswith(("handshakes.", "tcp."))} | {"clock.clamped"}
    only_when_due = {"handshakes.due", "handshakes.dropped"}
    paced = merger_of(handshakes__attempted=3, handshakes__due=3)
    unpaced = merger_of(handshakes__attempted=3)
    for wlc, mse in ((True, True), (False, True)):
        of_paced = make_counters(paced.counters(), LoadKind.HANDSHAKE, wlc=wlc, mse=mse, complete=True).keys()
        seen = ours if wlc else ours - {"handshakes.unfinished"}
        assert of_paced == seen | {"generator.shortfall"} | (AUTHENTICATION if wlc else set())
    for wlc, mse in ((True, True), (False, True), (True, False)):
        of_unpaced = make_counters(unpaced.counters(), LoadKind.HANDSHAKE, wlc=wlc, mse=mse, complete=True).keys()
        unseen = only_when_due | (set() if mse else MSE_COUNTERS) | (set() if wlc else {"handshakes.unfinished"})
        assert of_unpaced == (ours - unseen) | (AUTHENTICATION if wlc else set())


S = 10**9


def span(name: str, start_s: int, length_s: int, *, counted: bool = True) -> StageSpan:
    return StageSpan(name, counted, start_s * S, 10 * S, length_s * S, 5.0, 5.0, {"notify.due": 50})


def test_rates_are_counts_over_the_time_in_which_they_happened() -> None:
    recorder, merger = Recorder(), Merger()
    recorder.stages.add(["ramp", "hold", "hold-2"], [10 * S, 12 * S, 22 * S])
    for number in range(100):
        recorder.happened("established", number * 40 * MS)
    # What was due in them waited for as long everywhere, but in hold-2 for 2 s more at its end than at its beginning.
    for stage, sent, start_s, length_s, grown_s in (
        ("ramp", 10, 10, 2, 0),
        ("hold", 400, 12, 10, 0),
        ("hold-2", 100, 22, 5, 2),
    ):
        for number in range(sent):
            due = start_s * S + number * length_s * S // sent
            wait = 3 * S + number * grown_s * S // sent
            recorder.record("notify.lag", wait, stage)
            recorder.wait("sent", stage, due, wait)
    merger.add("w", recorder.take(0))
    stages = [span("ramp", 10, 2, counted=False), span("hold", 12, 10), span("hold-2", 22, 5), span("never", 27, 0)]
    assert make_rates(merger, {"sessions.established": 100}, stages) == {
        "handshake.per_s": pytest.approx(25.0, rel=0.001),
        "notify.sent_per_s": pytest.approx(500 / 17, rel=0.005),
    }
    rates = [stage.rates["notify.sent_per_s"] for stage in make_stages(merger, stages)]
    assert rates == [5.0, 40.0, pytest.approx(100 / 7, rel=0.01)]
    assert make_rates(Merger(), {}, stages[:1]) == {}


def test_a_stage_in_which_nothing_was_done_took_its_time() -> None:
    recorder, merger = Recorder(), Merger()
    recorder.record_column("notify.lag", np.full(1000, 7), "hold")
    merger.add("w", recorder.take(0))
    assert make_rates(merger, {}, [span("hold", 12, 10), span("hold-2", 22, 10)]) == {"notify.sent_per_s": 50.0}


def test_each_stage_has_figures_of_its_own_and_only_holds_count() -> None:
    recorder, merger = Recorder(), Merger()
    for stage, value in (("", 1), ("ramp", 2), ("hold", 3), ("hold-2", 4)):
        recorder.record("notify.latency", value * MS, stage)
    recorder.record("handshake.tls", 9 * MS)
    merger.add("w", recorder.take(0))
    stages = [span("ramp", 10, 2, counted=False), span("hold", 12, 10), span("hold-2", 22, 5)]
    metrics = make_metrics(merger, stages)
    assert list(metrics) == ["handshake.tls", "notify.latency"]
    assert (metrics["notify.latency"].count, metrics["notify.latency"].min // MS) == (2, 2)  # 3 ms, of its bucket
    found = make_stages(merger, stages)
    assert [(s.name, s.counted, s.start_s, s.length_s) for s in found] == [
        ("ramp", False, 0.0, 2.0),
        ("hold", True, 2.0, 10.0),
        ("hold-2", True, 12.0, 5.0),
    ]
    assert [s.metrics["notify.latency"].count for s in found] == [1, 1, 1]
    assert found[1].counters == {"notify.due": 50, "notify.received": 1}
    assert make_metrics(merger, []).keys() == {"handshake.tls", "notify.latency"}  # a run without a load of ours


def test_a_rate_without_its_time_is_left_out() -> None:
    assert make_rates(Merger(), {"sessions.established": 1}, []) == {}
    recorder, merger = Recorder(), Merger()
    for _ in range(100):
        recorder.happened("established", 5)
    merger.add("w", recorder.take(0))
    assert make_rates(merger, {"sessions.established": 100}, []) == {}  # one instant is no time


# -- costs -------------------------------------------------------------------------------------------------------------


def test_costs_are_of_one() -> None:
    workers = [
        healthy(worker="wlc-0", load_cpu_s=1.0, sessions_rss_bytes=3000),
        healthy(worker="wlc-1", load_cpu_s=2.0, sessions_rss_bytes=5000),
        healthy(worker="mse-0", load_cpu_s=3.0, sessions_rss_bytes=4000),
    ]
    counters = {"notify.sent": 300, "notify.received": 200, "notify.sent_bytes": 30_000}
    assert make_costs(counters, LoadKind.NOTIFY, workers, 100) == {
        "notify.cpu_s": 6 / 200,
        "notify.bytes": 100.0,
        "session.rss_bytes": 60.0,
    }
    assert "session.rss_bytes" not in make_costs(counters, LoadKind.NOTIFY, workers, 99)
    untold = [healthy(worker="wlc-0"), healthy(worker="mse-0")]
    assert "session.rss_bytes" not in make_costs(counters, LoadKind.NOTIFY, untold, 100)
    assert make_costs({"notify.received": 200}, LoadKind.NOTIFY, workers[2:], 0) == {"notify.cpu_s": 3 / 200}
    assert make_costs({"handshakes.completed": 12}, LoadKind.HANDSHAKE, workers, 0) == {"handshake.cpu_s": 0.5}
    assert make_costs({"notify.sent": 0}, LoadKind.NOTIFY, [], 0) == {}


# -- the machine, and what limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("figures", "faults", "verdict", "reason"),
    [
        ({"throttled_s": 0.1}, {}, Verdict.VALID, ""),
        ({"throttled_s": 0.2}, {}, Verdict.DEGRADED, "the control group's CPU quota held everything up for 0.2 s"),
        ({"throttled_s": 1.1}, {}, Verdict.INVALID, "the control group's CPU quota held everything up for 1.1 s"),
        ({"swapped_bytes": 16 << 20}, {}, Verdict.VALID, ""),
        ({"swapped_bytes": 20_000_000}, {}, Verdict.DEGRADED, "this machine swapped 20 MB"),
        ({}, {"errors.tcp.refused": 9}, Verdict.VALID, ""),
        ({}, {"errors.tcp.no_local_port": 9}, Verdict.INVALID, "this machine ran out of local ports, 9 times"),
        (
            {},
            {"errors.tcp.no_descriptor": 1, "errors.accept.no_descriptor": 2},
            Verdict.INVALID,
            "this machine ran out of file descriptors, 3 times",
        ),
    ],
)
def test_what_the_machine_lacks_is_the_generators(
    figures: dict[str, float], faults: dict[str, int], verdict: Verdict, reason: str
) -> None:
    judged = judge_generator([healthy(load_wall_s=10.0)], MachineHealth(**figures), faults)  # type: ignore[arg-type]
    assert judged.generator is verdict
    assert judged.reasons == ((reason,) if reason else ())
    assert judged.limiting == reason


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        ({"load_wall_s": 10.0, "gc_pauses_ns": S // 2}, ""),
        ({"load_wall_s": 10.0, "gc_pauses_ns": S}, "wlc-1 spent 10% of the load on garbage collection"),
        ({"descriptors": 95, "descriptor_limit": 100}, ""),
        ({"descriptors": 96, "descriptor_limit": 100}, "wlc-1 has 96 of at most 100 descriptors open"),
    ],
)
def test_what_a_worker_runs_short_of(figures: dict[str, float], reason: str) -> None:
    judged = judge_generator([healthy(**figures)], MachineHealth(), {})
    assert judged.reasons == ((reason,) if reason else ())
    assert judged.generator is (Verdict.DEGRADED if reason else Verdict.VALID)


def test_a_stall_is_a_blemish_and_no_limit() -> None:
    judged = judge_generator([healthy(longest_stall_ns=300 * MS)], MachineHealth(), {})
    assert (judged.generator, judged.limiting) == (Verdict.DEGRADED, "")


@pytest.mark.parametrize(
    ("late_ms", "verdict"), [(249, Verdict.VALID), (260, Verdict.DEGRADED), (1000, Verdict.INVALID)]
)
def test_a_worker_that_was_told_too_late_of_the_load_says_so(late_ms: int, verdict: Verdict) -> None:
    judged = judge_generator([healthy(began_late_ns=late_ms * MS)], MachineHealth(), {})
    assert judged.generator == verdict
    assert ["wlc-1" in reason and "after it had begun" in reason for reason in judged.reasons] == [
        True for _ in range(verdict is not Verdict.VALID)
    ]


BUSY = GeneratorVerdict(Verdict.DEGRADED, ("busy",), "busy")
TCP, AGAIN = {"tcp.segments_sent": 1000}, "TCP segments of our own connections were sent again"


@pytest.mark.parametrize(
    ("generator", "counters", "limit", "reason"),
    [
        (FINE, {}, Limit.SCENARIO, "everything that it asked for was done"),
        (BUSY, {"errors.tcp.timeout": 50}, Limit.GENERATOR, "busy"),
        (FINE, {"errors.tcp.timeout": 50}, Limit.NETWORK, "errors.tcp.timeout: 50"),
        (FINE, {"errors.tcp.timeout": 1}, Limit.SCENARIO, "everything that it asked for was done"),
        (FINE, TCP | {"tcp.segments_retransmitted": 11}, Limit.NETWORK, f"11 of 1,000 {AGAIN}"),
        (FINE, TCP | {"tcp.segments_retransmitted": 10}, Limit.SCENARIO, "everything that it asked for was done"),
        (
            FINE,
            TCP | {"tcp.segments_retransmitted": 107, "tcp.segments_spurious": 106},
            Limit.SCENARIO,
            "everything that it asked for was done",
        ),
        (
            FINE,
            TCP | {"tcp.segments_retransmitted": 107, "tcp.segments_spurious": 96},
            Limit.NETWORK,
            f"11 of 1,000 {AGAIN}",
        ),
        (FINE, {"tcp.segments_sent": 50, "tcp.segments_retransmitted": 10}, Limit.NETWORK, f"10 of 50 {AGAIN}"),
        (
            FINE,
            {"tcp.segments_sent": 50, "tcp.segments_retransmitted": 9},
            Limit.SCENARIO,
            "everything that it asked for was done",
        ),
        (FINE, {"errors.tcp.refused": 50}, Limit.TARGET, "errors.tcp.refused: 50"),
        (FINE, {"errors.tls.timeout": 50, "errors.tls.reset": 9}, Limit.TARGET, "errors.tls.timeout: 50"),
        *(
            (
                FINE,
                {name: 50, "errors.tcp.refused": 9},
                Limit.SCENARIO,
                f"{name}: 50: its tls.version or tls.strong_cipher does not fit the other side",
            )
            for name in (
                "errors.tls.alert_protocol_version",
                "errors.tls.unsupported_protocol",
                "errors.accept.no_shared_cipher",
                "errors.tls.unsafe_legacy_renegotiation_disabled",
            )
        ),
        (
            FINE,
            {"notify.due": 1000, "notify.dropped": 20},
            Limit.TARGET,
            "it did not take 20 of 1,000 that were due: it was not there, or held them up for too long",
        ),
        (FINE, {"notify.sent": 1000, "notify.lost": 11}, Limit.TARGET, "notifications lost: 11"),
        # How a session ended is what came of that.
        (FINE, {"errors.close.timeout": 50}, Limit.TARGET, "errors.close.timeout: 50"),
        (
            FINE,
            {"errors.close.timeout": 50, "notify.sent": 1000, "notify.lost": 11},
            Limit.TARGET,
            "notifications lost: 11",
        ),
        (
            FINE,
            {"errors.close.reset": 50, "handshakes.attempted": 100, "handshakes.completed": 50, "notify.lost": 11},
            Limit.TARGET,
            "errors.close.reset: 50",
        ),
    ],
)
def test_what_limits_is_named(generator: GeneratorVerdict, counters: dict[str, int], limit: Limit, reason: str) -> None:
    plain = {"sessions.attempted": 100, "sessions.established": 100, "notify.sent": 1}
    verdict = verdict_of(generator, plain | counters)
    assert (verdict.limited_by, verdict.limit_reason) == (limit, reason)


def test_a_threshold_that_could_not_be_judged_is_inconclusive_and_a_failed_one_weighs_more() -> None:
    error = ThresholdResult("echo.lag.p99 < 1ms", Status.ERROR, None, "echo.lag was not measured")
    failed = ThresholdResult("notify.lost == 0", Status.FAILED, 1.0, "was 1")
    verdict = verdict_of(FINE, PLAIN, (error,))
    assert (verdict.exit_code, verdict.reasons) == (
        5,
        ("threshold could not be judged: echo.lag.p99 < 1ms (echo.lag was not measured)",),
    )
    assert verdict_of(FINE, PLAIN, (error, failed)).exit_code == 1
    assert verdict_of(FINE, PLAIN, aborted="notify.lost == 0 (was 1)").exit_code == 1
