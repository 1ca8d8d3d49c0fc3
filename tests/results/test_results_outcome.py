"""What a result says of its stages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from measure_samples import healthy

from loadgen.compare.metrics import not_counted
from loadgen.errors import ExitCode
from loadgen.loads import LoadKind
from loadgen.measure.clock_readings import Clocks
from loadgen.measure.clocks import PeerClocks
from loadgen.measure.merge import Merger
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.bulk import Columns
from loadgen.nmsp.carried import Carried
from loadgen.results.asked import Absence, Asked, shortfalls
from loadgen.results.health import Verdict, WorkerHealth
from loadgen.results.outcome import _delays, _paces, load_figures, make_result, stage_spans
from loadgen.results.paces import Pace
from loadgen.results.record import Load, RunRecord
from loadgen.results.result import Limit, RunResult, StageResult
from loadgen.results.thresholds import parse_thresholds
from loadgen.results.timeline import TimelineBuilder
from loadgen.scenario.plan import Use, make_plan
from loadgen.scenario.reading import load_scenario
from loadgen.session.reception import Reception
from loadgen.units import NS_PER_S

NOTIFY = '[load]\nrate = 100\nstages = [{ hold = "2s" }]\n'
HANDSHAKES = '[load]\nkind = "handshake"\nrate = 100\nstages = [{ hold = "2s" }]\n'


@pytest.mark.parametrize(
    ("text", "use", "offered"),
    [
        (NOTIFY, Use.BOTH, 200),  # to both MSEs
        (NOTIFY, Use.SERVE_WLC, 200),
        (NOTIFY, Use.TARGET_WLC, 0),
        (NOTIFY, Use.SERVE_MSE, 0),
        (HANDSHAKES, Use.TARGET_WLC, 100),
    ],
)
def test_a_stage_offers_what_is_ours_to_offer(text: str, use: Use, offered: float, tmp_path: Path) -> None:
    """What a stranger's WLCs send is not what the scenario says."""
    path = tmp_path / "s.toml"
    path.write_text(f'name = "s"\n[mse]\ncount = 2\n{text}', "utf-8")
    targets = [("127.0.0.1", 16113)] if use is Use.TARGET_WLC else []
    plan = make_plan(*load_scenario(path), use=use, targets=targets)
    load = Load(plan.load.stages, Counter())
    (span,) = stage_spans(plan, load, load.start_ns + 2 * NS_PER_S)
    assert (span.start_per_s, span.end_per_s, span.length_ns) == (offered, offered, 2 * NS_PER_S)


def test_what_came_before_a_worker_knew_of_the_load_is_in_no_length(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text('name = "s"\n[load]\nrate = 5\nstages = [{ hold = "1s" }, { rate = 9, hold = "3s" }]', "utf-8")
    plan = make_plan(*load_scenario(path), use=Use.TARGET_WLC, targets=[("127.0.0.1", 16113)])
    load = Load(plan.load.stages, Counter())
    end_ns = load.start_ns + 4 * NS_PER_S
    told = [span.told_ns for span in stage_spans(plan, load, end_ns, late_ns=1_600_000_000)]
    assert told == [{"received": 0}, {"received": 2_400_000_000}]
    assert [span.told_ns for span in stage_spans(plan, load, end_ns)] == [{}, {}]


def left_early(
    tmp_path: Path, counters: dict[str, int], *, cut_short: bool, absences: tuple[Absence, ...] = ()
) -> dict[str, float]:
    """Of 6 s at 50/s that ended after 3 s, all received until then; and its rates."""
    path = tmp_path / "s.toml"
    path.write_text('name = "s"\n[load]\nrate = 50\nstages = [{ hold = "6s" }]\n', "utf-8")
    plan = make_plan(*load_scenario(path), use=Use.TARGET_WLC, targets=[("127.0.0.1", 16113)])
    load = Load(plan.load.stages, Counter({"sessions.established": 1}))
    load.end(cut_short=cut_short)
    load.end_ns = load.start_ns + 3 * NS_PER_S
    load.after = Counter(counters)
    merger, recorder = Merger(), Recorder()
    recorder.stages.add([plan.load.stages[0].name], [load.start_ns])
    for number in range(150):
        recorder.record("notify.latency", 5, plan.load.stages[0].name)
        recorder.wait("received", plan.load.stages[0].name, load.start_ns + number * NS_PER_S // 50, 5)
    recorder.counters.update(counters)
    merger.add("mse-0", recorder.take(0))
    record = RunRecord(
        merger, TimelineBuilder(NS_PER_S), (load,), (), (), True, True, cut_short, "", True, load.start_ns, absences
    )
    result = make_result(plan, record, (), datetime.now(UTC))
    assert result.load_s == 3
    assert result.stages[0].rates == result.rates
    if not absences:
        assert load_figures(plan, merger, load).rates == result.rates
    return dict(result.rates)


@pytest.mark.parametrize("how", ["sessions.closed", "sessions.lost"])
def test_a_peer_that_leaves_early_did_the_rest_badly_however_it_left(how: str, tmp_path: Path) -> None:
    rates = left_early(tmp_path, {"sessions.established": 1, how: 1, "notify.received": 150}, cut_short=False)
    assert rates == {"notify.received_per_s": pytest.approx(25)}


@pytest.mark.parametrize(("before_s", "rate"), [(3.0, 50), (2.5, 25), (0.0, 25)])
def test_a_load_of_others_that_may_have_ended_earlier_is_judged_by_its_own_length(
    before_s: float, rate: int, tmp_path: Path
) -> None:
    """What is excused in its time is so in its rate: their load began with the first session, before ours."""
    counters = {"sessions.established": 1, "sessions.closed": 1, "notify.received": 150}
    absences = (Absence(1, 6.0 - before_s, before_s=before_s), Absence(0, 6.0))
    rates = left_early(tmp_path, counters, cut_short=False, absences=absences)
    assert rates == {"notify.received_per_s": pytest.approx(rate)}


@pytest.mark.parametrize("how", ["sessions.closed", "sessions.lost"])
def test_a_load_that_we_ended_is_judged_by_the_time_it_was_on(how: str, tmp_path: Path) -> None:
    rates = left_early(tmp_path, {"sessions.established": 1, how: 1, "notify.received": 150}, cut_short=True)
    assert rates == {"notify.received_per_s": pytest.approx(50)}


@pytest.mark.parametrize(
    ("came_in", "warmup", "code"),
    [
        ("before", False, ExitCode.INCONCLUSIVE),
        ("after", False, ExitCode.INCONCLUSIVE),
        ("", True, ExitCode.INCONCLUSIVE),
        ("", False, ExitCode.PASSED),
    ],
)
def test_what_comes_outside_of_the_load_is_no_load(came_in: str, warmup: bool, code: ExitCode, tmp_path: Path) -> None:
    """A WLC that has said all that it has to say before the load begins, after its end, or in the warm-up."""
    path = tmp_path / "s.toml"
    stages = '{ warmup = "2s" }, { hold = "2s" }' if warmup else '{ hold = "2s" }'
    path.write_text(f'name = "s"\n[load]\nrate = 50\nstages = [{stages}]\n', "utf-8")
    plan = make_plan(*load_scenario(path), use=Use.TARGET_WLC, targets=[("127.0.0.1", 16113)])
    load = Load(plan.load.stages, Counter({"sessions.established": 1}))
    load.end()
    load.end_ns = load.start_ns + sum(stage.duration_ns for stage in plan.load.stages)
    recorder = Recorder("before")
    stage = came_in or plan.load.stages[0].name
    assert plan.load.stages[0].counted is not warmup
    for _ in range(100):
        recorder.record("notify.latency", 5, stage)
    counters = {"sessions.established": 1, "sessions.closed": 1, "sessions.attempted": 1}
    counters |= {"notify.received": 103, "notify.duplicated": 3}  # what comes again is no load either
    recorder.counters.update(counters)
    merger = Merger()
    merger.add("mse-0", recorder.take(0))
    record = RunRecord(merger, TimelineBuilder(NS_PER_S), (load,), (), (), True, True, False, "", True, load.start_ns)
    verdict = make_result(plan, record, (), datetime.now(UTC)).verdict
    assert verdict.exit_code == code
    said = "no notification was sent or received in the stages that count; outside of them: 100"
    assert (said in verdict.reasons) == (code is ExitCode.INCONCLUSIVE)
    assert (verdict.limit_reason == said) == (code is ExitCode.INCONCLUSIVE)


def test_figures_so_far_are_of_the_time_so_far(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(f'name = "s"\n{NOTIFY}', "utf-8")
    plan = make_plan(*load_scenario(path))
    load = Load(plan.load.stages, Counter())
    so_far = load.until(load.start_ns + NS_PER_S)
    assert (so_far.judged_end_ns, load.end_ns) == (load.start_ns + NS_PER_S, 0)
    load.end()
    assert load.until(load.start_ns + NS_PER_S).judged_end_ns == load.start_ns + 2 * NS_PER_S


def paces_of(tmp_path: Path, text: str, counters: dict[str, int], per_s: float) -> list[Pace]:
    """Of a run whose hold had this rate."""
    path = tmp_path / "s.toml"
    path.write_text(f'name = "s"\n{text}', "utf-8")
    plan = make_plan(*load_scenario(path))
    load = Load(plan.load.stages, Counter())
    spans = stage_spans(plan, load, load.judged_end_ns)
    rate = "handshake.completed_per_s" if plan.load.kind is LoadKind.HANDSHAKE else "notify.received_per_s"
    stages = [
        StageResult(s.name, s.counted, 0.0, s.length_ns / NS_PER_S, s.start_per_s, s.end_per_s, {}, {}, {rate: per_s})
        for s in spans
    ]
    return _paces(plan, spans, stages, counters)


@pytest.mark.parametrize(("due", "judged"), [(200, True), (199, True), (150, False)])
def test_a_rate_that_nobody_keeps_while_mses_have_unsubscribed_is_not_judged(
    due: int, judged: bool, tmp_path: Path
) -> None:
    """Of 200 that the schedule has, a quarter was owed to nobody: all that was due was done in time."""
    paces = paces_of(tmp_path, NOTIFY, {"notify.due": due}, due / 2)
    assert paces == ([Pace("hold", "notifications/s", 100.0, due / 2)] if judged else [])


@pytest.mark.parametrize(("sent", "offered"), [(400, 200.0), (200, 100.0), (150, 100.0)])
def test_a_backlog_is_not_hidden_by_mses_that_the_plan_does_not_have(sent: int, offered: float, tmp_path: Path) -> None:
    """To two of them, 150/s are not all of what one would be told."""
    path = tmp_path / "s.toml"
    path.write_text(f'name = "s"\n{NOTIFY}', "utf-8")
    plan = make_plan(*load_scenario(path), use=Use.SERVE_WLC)
    load = Load(plan.load.stages, Counter())
    spans = stage_spans(plan, load, load.judged_end_ns)
    stage = StageResult("hold", True, 0.0, 2.0, 100.0, 100.0, {}, {"notify.sent": sent}, {"notify.sent_per_s": 150.0})
    assert _paces(plan, spans, [stage], {"notify.due": sent}) == (
        [Pace("hold", "notifications/s", offered, 150.0)] if sent >= 200 else []
    )


@pytest.mark.parametrize(("failed", "offered"), [(0, 20.0), (20, 15.0)])
def test_what_failed_is_no_backlog(failed: int, offered: float, tmp_path: Path) -> None:
    """20 of 80 were reset, and all others were done at once."""
    text = '[load]\nkind = "handshake"\nrate = 20\nstages = [{ hold = "4s" }]\n'
    paces = paces_of(tmp_path, text, {"handshakes.attempted": 80, "handshakes.failed": failed}, 15.0)
    assert paces == [Pace("hold", "handshakes/s", offered, 15.0)]


def test_a_ramp_is_judged_by_its_mean(tmp_path: Path) -> None:
    text = NOTIFY.replace(NOTIFY[NOTIFY.index("stages") :], 'stages = [{ ramp = "6s" }]\n')
    (pace,) = paces_of(tmp_path, text, {"notify.due": 300}, 40.0)
    assert (pace.stage, pace.done) == ("ramp", 40.0)
    assert pace.offered == pytest.approx(50, rel=0.02)


@pytest.mark.parametrize(
    ("text", "due", "done"),
    [
        ('kind = "handshake"\nrate = 2.5', 7, 7),  # 2.333/s, where the rate is 2.5/s
        ('kind = "handshake"\nrate = 2.5', 7, 6),
        ("rate = 2.5", 7, 7),
        ("rate = 40\nburst = 30", 120, 120),
        ("rate = 40\nburst = 60", 120, 60),
    ],
)
def test_a_stage_did_all_that_was_asked_for_if_it_did_what_was_due_in_it(
    text: str, due: int, done: int, tmp_path: Path
) -> None:
    """Between whole handshakes, and whole bursts, nothing is due."""
    stages = '\nstages = [{ warmup = "1s" }, { hold = "3s" }]\n'
    (pace,) = paces_of(tmp_path, f"[load]\n{text}{stages}", {"notify.due": 1000}, done / 3)
    assert (pace.offered * 3, pace.done * 3) == pytest.approx((due, done))
    short = shortfalls(Asked(), 4, {}, (), [pace])
    assert [shortfall.grave for shortfall in short] == ([] if done == due else [True])


@pytest.mark.parametrize(
    ("dead", "rates"),
    [
        # One of one: its figures end with its last report, after 4 s. What it had sent since was received.
        (("wlc-0",), {"notify.sent_per_s": 50.0, "notify.received_per_s": 60.0}),
        # One of two: 4 s of it, and 5 s of the other.
        (("mse-1",), {"notify.sent_per_s": 40.0, "notify.received_per_s": 300 / 4.5}),
        ((), {"notify.sent_per_s": 40.0, "notify.received_per_s": 60.0}),
    ],
)
def test_a_worker_that_died_has_a_rate_for_as_long_as_it_told(
    dead: tuple[str, ...], rates: dict[str, float], tmp_path: Path
) -> None:
    """After 5 s of 6, when it was to report for the fifth time; or it was found after a minute."""
    path = tmp_path / "s.toml"
    path.write_text('name = "s"\n[load]\nrate = 50\nstages = [{ hold = "6s" }]\n', "utf-8")
    plan = make_plan(*load_scenario(path), use=Use.BOTH)
    load = Load(plan.load.stages, Counter({"sessions.established": 1}))
    load.end(cut_short=True)
    load.end_ns = load.start_ns + 5 * NS_PER_S
    merger = Merger()
    for worker, metric, count in (("wlc-0", "lag", 200), ("mse-0", "latency", 100), ("mse-1", "latency", 200)):
        recorder = Recorder()
        recorder.stages.add([plan.load.stages[0].name], [load.start_ns])
        for _ in range(count):
            recorder.record(f"notify.{metric}", 5, plan.load.stages[0].name)
        recorder.counters["sessions.established"] = 1
        merger.add(worker, recorder.take(3))
    merger.settle(dead)
    record = RunRecord(
        merger, TimelineBuilder(NS_PER_S), (load,), (), dead, not dead, True, False, "", True, load.start_ns
    )
    result = make_result(plan, record, (), datetime.now(UTC))
    assert {name: rate for name, rate in result.rates.items() if name.startswith("notify.")} == pytest.approx(rates)
    # How it fared until then it never told.
    assert (result.verdict.generator is Verdict.INVALID) == bool(dead)
    assert not_counted(result) == ("a worker process died in it" if dead else None)


def result_of(
    tmp_path: Path,
    recorder: Recorder,
    text: str = NOTIFY,
    use: Use = Use.TARGET_WLC,
    demands: tuple[str, ...] = (),
    health: tuple[WorkerHealth, ...] = (),
) -> RunResult:
    """Of a run whose one worker recorded this, in a hold of 2 s with one session; `recorder` knows its stage."""
    path = tmp_path / "s.toml"
    path.write_text(f'name = "s"\n{text}', "utf-8")
    targets = [("127.0.0.1", 16113)] if use is Use.TARGET_WLC else []
    plan = make_plan(*load_scenario(path), use=use, targets=targets)
    load = Load(plan.load.stages, Counter({"sessions.established": 1}))
    load.end()
    load.end_ns = load.start_ns + plan.duration_ns
    recorder.counters.update({"sessions.attempted": 1, "sessions.established": 1, "sessions.closed": 1})
    merger = Merger()
    merger.add("mse-0", recorder.take(0))
    record = RunRecord(
        merger, TimelineBuilder(NS_PER_S), (load,), health, (), True, True, False, "", True, load.start_ns
    )
    return make_result(plan, record, parse_thresholds(demands, "thresholds"), datetime.now(UTC))


def test_durations_that_are_all_cut_off_are_no_pass(tmp_path: Path) -> None:
    """A WLC says that its notifications were due after it sent them: all latencies are 0."""
    recorder = Recorder("before")
    for _ in range(200):
        recorder.record("notify.latency", -5, "hold")
        recorder.record("notify.service", 5, "hold")
    recorder.counters["notify.received"] = 200
    result = result_of(tmp_path, recorder)
    assert result.metrics["notify.latency"].p50 == 0
    assert result.verdict.exit_code == ExitCode.INCONCLUSIVE
    assert result.verdict.reasons[0].startswith("200 of 400 durations of notifications were below 0 or above 1 h: ")


@pytest.mark.parametrize("how", ["refused", "in_part"])
@pytest.mark.parametrize(
    ("requests", "use", "code"),
    [
        ("measurement = { rate = 50 }", Use.TARGET_WLC, ExitCode.INCONCLUSIVE),
        ('measurement = { rate = 50, device = "unknown" }', Use.TARGET_WLC, ExitCode.PASSED),
        ("measurement = { rate = 50 }", Use.BOTH, ExitCode.PASSED),
    ],
)
def test_a_target_that_refuses_what_it_is_asked_is_no_pass(
    requests: str, use: Use, code: ExitCode, how: str, tmp_path: Path
) -> None:
    recorder = Recorder("before")
    for _ in range(200):
        recorder.record("notify.latency", 5, "hold")
    counters = {"requests.due": 100, "requests.sent": 100, "requests.answered": 100, f"requests.{how}": 100}
    recorder.counters.update(counters | {"notify.received": 200, "notify.sent": 200, "notify.due": 200})
    result = result_of(tmp_path, recorder, f"{NOTIFY}[requests]\n{requests}\n", use)
    assert result.verdict.exit_code == code
    line = "requests refused: 100" if how == "refused" else "requests answered with less than was asked for: 100"
    assert line in result.verdict.reasons


def told_of(late_ns: Callable[[int], int], *, rate: int = 100, seconds: int = 2) -> Recorder:
    """What an MSE records of a WLC that tells something at a rate, by its own due times so late."""
    recorder = Recorder("before")
    recorder.stages.add(["hold"], [0])
    reception = Reception(recorder, 1, 0, our_schedule=False)
    reception.open(0, 1)
    for number in range(rate * seconds):
        now_ns = number * NS_PER_S // rate
        times = (now_ns - late_ns(now_ns), now_ns - 1_000)
        reception.absorb(Columns(*(np.array([value]) for value in (number, *times, 0))), [0], [1], [now_ns])
    return recorder


@pytest.mark.parametrize(
    ("late_ns", "judged", "longer", "code"),
    [
        (lambda now_ns: now_ns // 2, (), "999 ms", ExitCode.INCONCLUSIVE),  # 100 of 200/s
        (lambda now_ns: now_ns // 2, ("notify.received_per_s > 50",), "999 ms", ExitCode.PASSED),
        (lambda now_ns: now_ns // 33, (), "60.6 ms", ExitCode.PASSED),
        (lambda now_ns: now_ns // 200, (), "", ExitCode.PASSED),
        (lambda _: 2 * NS_PER_S, (), "", ExitCode.PASSED),  # late, and no later and later
        (lambda now_ns: NS_PER_S if now_ns // 10_000_000 % 50 == 0 else 0, (), "", ExitCode.PASSED),  # a tail
        (lambda now_ns: 2 * NS_PER_S - now_ns // 2, (), "", ExitCode.PASSED),  # it catches up
    ],
)
def test_that_a_backlog_of_somebody_elses_grew_is_told(
    late_ns: Callable[[int], int], judged: tuple[str, ...], longer: str, code: ExitCode, tmp_path: Path
) -> None:
    result = result_of(tmp_path, told_of(late_ns), demands=judged)
    said = f"by the WLCs' own due times, notifications waited {longer} longer at the end of hold than at its beginning"
    assert result.verdict.exit_code == code
    assert result.verdict.generator is Verdict.VALID
    assert [reason for reason in result.verdict.reasons if "backlog" in reason] == (
        [f"{said}: a backlog grew"] if longer else []
    )
    assert result.rates == {"notify.received_per_s": pytest.approx(100)}
    if code is ExitCode.INCONCLUSIVE:
        assert (result.verdict.limited_by, result.verdict.limit_reason) == (Limit.TARGET, f"{said}: a backlog grew")


@pytest.mark.parametrize(("missed_s", "per_s"), [(0, 100), (0.5, 100 / 0.75)])
def test_a_rate_is_of_the_time_in_which_what_came_was_counted(missed_s: float, per_s: float, tmp_path: Path) -> None:
    """A worker was told of the load 0.5 s late: what waited for it to read is in the stage, what it had read is not."""
    health = healthy(began_late_ns=NS_PER_S // 2, missed_ns=round(missed_s * NS_PER_S))
    result = result_of(tmp_path, told_of(lambda _: 0), health=(health,))
    assert result.rates == {"notify.received_per_s": pytest.approx(per_s)}
    assert any("was told of the load 500 ms after it had begun" in line for line in result.verdict.reasons)


def late_from(start_ns: int, longer_ns: int) -> Callable[[int], int]:
    """It grows for a fifth of a second, and stays."""
    return lambda now_ns: round(longer_ns * min(1.0, max(0.0, (now_ns - start_ns) / (NS_PER_S / 5))))


@pytest.mark.parametrize(
    ("longer_ns", "judged", "said", "code"),
    [
        (380 * 10**6, (), True, ExitCode.INCONCLUSIVE),  # 81 % of what came to be due was done in the stage
        (380 * 10**6, ("notify.received_per_s > 50",), True, ExitCode.PASSED),
        (380 * 10**6, ("notify.latency.p50 < 1s",), True, ExitCode.PASSED),
        (60 * 10**6, (), True, ExitCode.PASSED),
        (10 * 10**6, (), False, ExitCode.PASSED),
    ],
)
def test_what_grew_early_and_stayed_is_no_pass_either(
    longer_ns: int, judged: tuple[str, ...], said: bool, code: ExitCode, tmp_path: Path
) -> None:
    result = result_of(tmp_path, told_of(late_from(NS_PER_S // 4, longer_ns)), demands=judged)
    assert result.verdict.exit_code == code
    lines = [reason for reason in result.verdict.reasons if "it was not caught up with" in reason]
    assert len(lines) == said
    assert all("longer at the end of hold than at its beginning" in line for line in lines)
    assert not any("a backlog grew" in reason for reason in result.verdict.reasons)
    assert result.rates == {"notify.received_per_s": pytest.approx(100)}
    if code is ExitCode.INCONCLUSIVE:
        assert (result.verdict.limited_by, result.verdict.limit_reason) == (Limit.TARGET, lines[0])


@pytest.mark.parametrize("judged", [(), ("request.measurement.latency.p99 < 2s",)])
def test_requests_that_were_answered_later_and_stayed_so_are_none(judged: tuple[str, ...], tmp_path: Path) -> None:
    text = f"{NOTIFY}[requests]\nmeasurement = {{ rate = 40 }}\n"
    result = result_of(tmp_path, answered_of(late_from(NS_PER_S // 4, 380 * 10**6)), text, demands=judged)
    assert any("requests waited" in each and "not caught up" in each for each in result.verdict.reasons)
    assert result.verdict.exit_code == ExitCode.INCONCLUSIVE


@pytest.mark.parametrize(
    ("what", "text", "whose"),
    [
        ("received", NOTIFY, "notifications"),
        ("handshake", HANDSHAKES, "handshakes"),
    ],
)
def test_what_has_a_rate_is_late_all_the_same(what: str, text: str, whose: str, tmp_path: Path) -> None:
    """As many as were due were done in each second but one: of a rate, nothing is missing."""
    late = late_from(NS_PER_S // 4, 380 * 10**6)
    recorder = Recorder("before")
    recorder.stages.add(["hold"], [0])
    for number in range(200):
        due_ns = number * NS_PER_S // 100
        recorder.wait(what, "hold", due_ns, late(due_ns))
    merger = Merger()
    merger.add("mse-0", recorder.take(0))
    path = tmp_path / "s.toml"
    path.write_text(f'name = "s"\n{text}', "utf-8")
    plan = make_plan(*load_scenario(path))
    load = Load(plan.load.stages, Counter())
    (delay,) = _delays(plan, merger, stage_spans(plan, load, load.judged_end_ns))
    assert delay.whose == whose
    assert delay.share == pytest.approx(0.81, abs=0.02)
    assert delay.latency == f"{'notify' if what == 'received' else 'handshake'}.latency"


def test_what_comes_after_the_end_and_was_due_before_it_is_as_late_as_that(tmp_path: Path) -> None:
    """A WLC stands still for the last half of a second, tells it all when the load is over, and goes on."""
    stall_ns = NS_PER_S // 2
    recorder = Recorder("before")
    recorder.stages.add(["hold", "after"], [0, 2 * NS_PER_S])
    reception = Reception(recorder, 1, 0, our_schedule=False)
    reception.open(0, 1)
    for number in range(300):
        due_ns = number * NS_PER_S // 100
        stalled = 2 * NS_PER_S - stall_ns <= due_ns < 2 * NS_PER_S
        done_ns = 2 * NS_PER_S + number if stalled else due_ns
        times = (due_ns, done_ns)
        reception.absorb(Columns(*(np.array([value]) for value in (number, *times, 0))), [0], [1], [done_ns])
    found = result_of(tmp_path, recorder)
    assert found.metrics["notify.latency"].count == 200
    assert found.metrics["notify.latency"].p99 == pytest.approx(stall_ns, rel=0.05)
    assert found.metrics["notify.latency"].p50 == 0


def answered_of(wait_ns: Callable[[int], int], rate: int = 40) -> Recorder:
    """What an MSE records of requests that are due at a rate and answered after so long."""
    recorder = Recorder("before")
    recorder.stages.add(["hold"], [0])
    for number in range(2 * rate):
        due_ns = number * NS_PER_S // rate
        recorder.wait("answered", "hold", due_ns, wait_ns(due_ns))
    for _ in range(200):
        recorder.record("notify.latency", 5, "hold")
    counters = {f"requests.{name}": 2 * rate for name in ("due", "sent", "answered")}
    recorder.counters.update(counters | {"notify.received": 200})
    return recorder


@pytest.mark.parametrize(
    ("wait_ns", "judged", "longer", "code"),
    [
        (lambda due_ns: due_ns // 4, (), "500 ms", ExitCode.INCONCLUSIVE),  # 80 % of the rate
        (lambda due_ns: due_ns // 4, ("request.measurement.latency.p99 < 2s",), "500 ms", ExitCode.INCONCLUSIVE),
        (lambda due_ns: due_ns // 4, ("notify.received_per_s > 50",), "500 ms", ExitCode.INCONCLUSIVE),
        (lambda due_ns: due_ns // 33, (), "60.6 ms", ExitCode.PASSED),
        (lambda _: NS_PER_S, (), "", ExitCode.PASSED),
        (lambda due_ns: NS_PER_S if due_ns // 25_000_000 % 20 == 0 else 0, (), "", ExitCode.PASSED),  # a tail
    ],
)
def test_that_a_backlog_of_requests_grew_is_told(
    wait_ns: Callable[[int], int], judged: tuple[str, ...], longer: str, code: ExitCode, tmp_path: Path
) -> None:
    text = f"{NOTIFY}[requests]\nmeasurement = {{ rate = 40 }}\n"
    result = result_of(tmp_path, answered_of(wait_ns), text, demands=judged)
    said = f"requests waited {longer} longer at the end of hold than at its beginning: a backlog grew"
    assert result.verdict.exit_code == code
    assert [reason for reason in result.verdict.reasons if "backlog" in reason] == ([said] if longer else [])


def test_no_backlog_is_told_of_where_the_clocks_do_not_tell(tmp_path: Path) -> None:
    recorder = told_of(lambda now_ns: now_ns // 2)
    recorder.clocks = PeerClocks(["192.0.2.1"])
    recorder.clocks.survey = lambda: Clocks(wlcs=1, less_ns=NS_PER_S)  # type: ignore[method-assign]
    assert not any("backlog" in reason for reason in result_of(tmp_path, recorder).verdict.reasons)


# How late a notification is by its own times that cannot be: due in 1970, before or after it came, and in 100 years.
IMPOSSIBLE_NS = [50 * 365 * 86_400 * NS_PER_S, 2 * 3600 * NS_PER_S, -NS_PER_S // 2, -100 * 365 * 86_400 * NS_PER_S]


def falling_behind(wrong_ns: int, every: int) -> Callable[[int], int]:
    """100 of 125/s, as if one of so many had been due at that time before it came."""
    return lambda now_ns: wrong_ns if now_ns // 10_000_000 % every == every - 1 else now_ns // 5


@pytest.mark.parametrize("wrong_ns", [*IMPOSSIBLE_NS, -3_000_000])
def test_one_time_that_cannot_be_hides_no_backlog(wrong_ns: int, tmp_path: Path) -> None:
    """It is left out of the waits; what came some ms before it was due was in time."""
    result = result_of(tmp_path, told_of(falling_behind(wrong_ns, 150)))
    assert result.counters["clock.clamped"] == 1
    (reason,) = (each for each in result.verdict.reasons if "waited" in each)
    assert reason == (
        "by the WLCs' own due times, notifications waited 400 ms longer at the end of hold than at its beginning: "
        "a backlog grew"
    )
    assert result.verdict.exit_code == ExitCode.INCONCLUSIVE
    assert result.rates == {"notify.received_per_s": pytest.approx(100)}


@pytest.mark.parametrize("wrong_ns", IMPOSSIBLE_NS)
def test_one_time_that_cannot_be_makes_no_backlog(wrong_ns: int, tmp_path: Path) -> None:
    result = result_of(tmp_path, told_of(lambda now_ns: wrong_ns if now_ns == NS_PER_S else 10_000_000))
    assert result.counters["clock.clamped"] == 1
    assert not any("waited" in reason or "waits" in reason for reason in result.verdict.reasons)
    assert result.verdict.exit_code == ExitCode.PASSED


@pytest.mark.parametrize("wrong_ns", IMPOSSIBLE_NS)
@pytest.mark.parametrize("judged", [(), ("clock.clamped < 500",)])
def test_where_many_times_cannot_be_waits_are_not_judged_and_that_is_no_pass(
    wrong_ns: int, judged: tuple[str, ...], tmp_path: Path
) -> None:
    """One in forty, of a stream that may be in time."""
    late: Callable[[int], int] = lambda now_ns: wrong_ns if now_ns // 10_000_000 % 40 == 39 else 0  # noqa: E731
    result = result_of(tmp_path, told_of(late), demands=judged)
    assert result.verdict.exit_code == ExitCode.INCONCLUSIVE
    assert (
        "waits cannot be judged: 5 of 200 notifications of hold were due after they came, or more than 1 h before that"
        in result.verdict.reasons
    )


def test_a_threshold_on_the_rate_decides_where_waits_cannot_be_judged(tmp_path: Path) -> None:
    late = falling_behind(-NS_PER_S, 40)
    demands = ("notify.received_per_s > 50", "clock.clamped < 500")
    result = result_of(tmp_path, told_of(lambda now_ns: min(0, late(now_ns))), demands=demands)
    assert result.verdict.exit_code == ExitCode.PASSED
    assert any(reason.startswith("waits cannot be judged: 5 of 200") for reason in result.verdict.reasons)


def test_what_is_early_by_some_ms_is_in_time_however_much_of_it_there_is(tmp_path: Path) -> None:
    result = result_of(tmp_path, told_of(lambda _: -3_000_000), demands=("clock.clamped < 500",))
    assert result.counters["clock.clamped"] == 200
    assert not any("wait" in reason for reason in result.verdict.reasons)
    assert result.verdict.exit_code == ExitCode.PASSED


@pytest.mark.parametrize(("until_s", "longer_ms"), [(1.66, 324), (1.6, 240), (1.5, 100), (1.4, 0)])
def test_what_grew_for_most_of_a_stage_and_is_caught_up_with_in_part_is_a_backlog(
    until_s: float, longer_ms: int, tmp_path: Path
) -> None:
    """60 of 100/s came, and from then on 200/s: waits grow by 0.4 s a second, and fall by 1 s a second."""
    recorder = Recorder("before")
    recorder.stages.add(["hold", "after"], [0, 2 * NS_PER_S])
    reception = Reception(recorder, 1, 0, our_schedule=False)
    reception.open(0, 1)
    came_s = 0.0
    for number in range(200):
        came_s = max(number / 100, came_s + (1 / 60 if came_s < until_s else 1 / 200))
        if came_s < 2.02:  # then our goodbye has come
            came_ns = round(came_s * NS_PER_S)
            told = (number, number * NS_PER_S // 100, came_ns, 0)
            reception.absorb(Columns(*(np.array([value]) for value in told)), [0], [1], [came_ns])
    result = result_of(tmp_path, recorder)
    lines = [reason for reason in result.verdict.reasons if "a backlog grew" in reason]
    assert len(lines) == bool(longer_ms)
    assert result.verdict.exit_code == (ExitCode.INCONCLUSIVE if longer_ms >= 100 else ExitCode.PASSED)
    if longer_ms:
        found = int(lines[0].split(" waited ")[1].split(" ms ")[0])
        assert found == pytest.approx(longer_ms, abs=40)


FAST = '[load]\nkind = "handshake"\nconcurrency = 4\nstages = [{ hold = "6s" }]\n'


def shaken(takes_ns: Callable[[int], int | None], places: int = 4, seconds: int = 6) -> Recorder:
    """What an MSE records of handshakes as fast as they go. Args: takes_ns: by when it was begun; None: it fails."""
    recorder = Recorder("before")
    end_ns = seconds * NS_PER_S
    recorder.stages.add(["hold", "after"], [0, end_ns])
    for _ in range(places):
        begun_ns = 0
        while begun_ns < end_ns:
            took_ns = takes_ns(begun_ns)
            recorder.count("handshakes.attempted")
            if took_ns is None:
                recorder.count("handshakes.failed")
                break  # of its place: it takes longer than the stage
            recorder.count("handshakes.completed")
            recorder.record("handshake.service", took_ns, "hold")
            recorder.wait("handshake", "hold", begun_ns, took_ns)
            recorder.share("handshake", begun_ns, begun_ns + took_ns)
            begun_ns += took_ns
    return recorder


def until(end_s: float) -> Callable[[int], int | None]:
    """A target that does them in 10 ms each, until then."""
    return lambda begun_ns: NS_PER_S // 100 if begun_ns < end_s * NS_PER_S else None


@pytest.mark.parametrize(
    ("takes_ns", "judged", "silent"),
    [
        (until(3), (), "2.98 s"),
        (until(3), ("handshakes.completed > 50",), "2.98 s"),
        (until(3), ("handshake.completed_per_s > 50",), "2.98 s"),
        (until(5.5), (), ""),  # four of 2,200, a moment before the end
        (lambda _: NS_PER_S // 100, (), ""),
        (lambda _: 5 * NS_PER_S // 2, (), ""),  # the last ones are begun a second before the end
        (lambda _: 9 * NS_PER_S, (), ""),  # or at the beginning
    ],
)  # fmt: skip
def test_as_fast_as_it_goes_a_target_that_comes_to_a_standstill_is_no_pass(
    takes_ns: Callable[[int], int | None], judged: tuple[str, ...], silent: str, tmp_path: Path
) -> None:
    result = result_of(tmp_path, shaken(takes_ns), FAST, demands=judged)
    lines = [reason for reason in result.verdict.reasons if "none was completed" in reason]
    assert lines == ([f"of the handshakes begun in the last {silent} of hold, none was completed"] if silent else [])
    assert result.verdict.exit_code == (
        ExitCode.INCONCLUSIVE if silent and not any("_per_s" in each for each in judged) else ExitCode.PASSED
    )


def told_by_due_alone(late_ns: Callable[[int], int], ahead_ns: int, wrong: int = 0) -> Recorder:
    """What an MSE records of two WLCs whose layout carries a due time, and none of sending.

    Args:
        ahead_ns: their clocks. wrong: of so many, one due time is two hours off.
    """
    recorder = Recorder("before")
    recorder.stages.add(["hold"], [0])
    reception = Reception(recorder, 2, 0, our_schedule=False, carried=Carried(64, 64, 0))
    for row in range(2):
        reception.open(row, 1)
    for number in range(200):
        now_ns = number * NS_PER_S // 100
        due_ns = now_ns - late_ns(now_ns) + ahead_ns - (7200 * NS_PER_S if wrong and number % wrong == 0 else 0)
        columns = Columns(*(np.array([value] * 2) for value in (number, due_ns)), None, np.array([0] * 2))
        reception.absorb(columns, [0, 1], [1, 1], [now_ns] * 2)
    return recorder


@pytest.mark.parametrize("ahead_ns", [0, 2 * NS_PER_S, -7200 * NS_PER_S, -1_700_000_000 * NS_PER_S])
@pytest.mark.parametrize(
    ("late_ns", "found"),
    [
        (lambda now_ns: now_ns // 2, "999 ms longer at the end of hold than at its beginning: a backlog grew"),
        (lambda now_ns: 0 if now_ns < NS_PER_S else NS_PER_S * 3 // 4, "not caught up with"),
        (lambda now_ns: 100_000_000 + now_ns % 7_000_000, ""),
        (lambda now_ns: 2 * NS_PER_S - now_ns // 2, ""),  # it catches up
    ],
)
def test_a_backlog_shows_by_due_times_alone(
    late_ns: Callable[[int], int], found: str, ahead_ns: int, tmp_path: Path
) -> None:
    """How late something was is not known then, but by how much later it was than the first one."""
    result = result_of(tmp_path, told_by_due_alone(late_ns, ahead_ns))
    assert "notify.latency" not in result.metrics
    assert result.verdict.exit_code == (ExitCode.INCONCLUSIVE if found else ExitCode.PASSED)
    lines = [reason for reason in result.verdict.reasons if reason.startswith("by the WLCs' own due times")]
    assert len(lines) == bool(found)
    assert all(found in line for line in lines)


@pytest.mark.parametrize(("wrong", "code"), [(3, ExitCode.INCONCLUSIVE), (200, ExitCode.PASSED)])
def test_due_times_alone_that_cannot_be(wrong: int, code: ExitCode, tmp_path: Path) -> None:
    """The first one of each is one of them: it is nothing to compare with."""
    result = result_of(tmp_path, told_by_due_alone(lambda _: 0, NS_PER_S, wrong))
    assert result.verdict.exit_code == code
    assert any("waits cannot be judged" in reason for reason in result.verdict.reasons) == (code != ExitCode.PASSED)
