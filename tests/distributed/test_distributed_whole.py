"""A run as the master puts it together."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from distributed_samples import EPOCH_NS, MS, RUN, chosen, ending, health, histogram, interval, report

from loadgen.distributed.master.whole import BadReport, WholeRun
from loadgen.distributed.messages import WorkerInterval, nothing_of
from loadgen.errors import ExitCode
from loadgen.measure.clock_readings import ClockReading, Clocks
from loadgen.measure.encoded import BinsAndCounts, bins_and_counts
from loadgen.measure.histogram import Spread
from loadgen.measure.intervals import WholeInterval
from loadgen.results.health import Verdict
from loadgen.results.result import Limit

NOW_NS = EPOCH_NS + 10 * 10**9


def whole(folder: Path, users: int = 4, *, finishing: bool = True) -> WholeRun:
    """Args: finishing: workers have been told to end."""
    made = WholeRun(RUN, chosen(folder).plan(users), (), EPOCH_NS)
    if finishing:
        made.finishing(NOW_NS)
    return made


def part(process: str, index: int, values: list[int], **counters: int) -> WorkerInterval:
    session = dict.fromkeys(("sessions__attempted", "sessions__established", "sessions__closed"), 1)
    notified = dict.fromkeys(("notify__due", "notify__sent", "notify__received"), len(values))
    rest = {**session, **notified, **counters}
    return WorkerInterval(process, interval(index, {"hold/notify.latency": values}, **rest), 0.1 * index)


def test_percentiles_are_those_of_all_values_together(tmp_path: Path) -> None:
    run = whole(tmp_path)
    logged: list[WholeInterval] = []
    run.on_whole = logged.append
    values = {client: [(i * 7919 + c) % 50_000_000 for i in range(1, 4000)] for c, client in enumerate(("a", "b", "c"))}
    for index, client in enumerate(values):
        run.enlist(client, index)
    for index, (client, column) in enumerate(values.items()):
        run.take_untrusted(client, index, report(part(f"mse-{index}", 4, column[:1000])), NOW_NS)
        both = (part(f"mse-{index}", 5, column[1000:3000]), part(f"mse-{index}", 6, column[3000:]))
        done = ending(health(f"mse-{index}"))
        run.take_untrusted(client, index, report(*both, ending=done), NOW_NS)
    result = run.result(NOW_NS, ended=True)
    exact = histogram([value for column in values.values() for value in column])
    assert result.metrics["notify.latency"] == exact.summary()
    assert result.stages[-1].name == "hold"
    assert result.stages[-1].metrics["notify.latency"] == exact.summary()
    assert run.histograms()["hold/notify.latency"].buckets() == exact.buckets()
    run.end()
    lines = [line for each in logged for line in each.lines(3.0)]
    assert [(line.tag, line.start_s) for line in lines] == [("hold/notify.latency", 3.0 * index) for index in (4, 5, 6)]
    assert sum(line.histogram.count for line in lines) == exact.count
    assert result.verdict.generator is Verdict.VALID
    assert {w.worker for w in result.workers} == {"mse-0", "mse-1", "mse-2"}


def test_each_histogram_of_a_report_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the totals, the log, the timeline of the run, that of the last minutes, and every page that is asked for."""
    run, decoded = whole(tmp_path), 0

    def noting(encoded: Sequence[bytes]) -> list[BinsAndCounts]:
        nonlocal decoded
        decoded += len(encoded)
        return bins_and_counts(encoded)

    monkeypatch.setattr("loadgen.measure.histogram.bins_and_counts", noting)
    run.on_whole = lambda each: list(each.lines(1.0))
    for index in range(4, 7):
        run.take_untrusted("a", 0, report(part("mse-0", index, [MS] * 4)), NOW_NS)
        assert run.live(NOW_NS).counters["notify.received"] == 4
    assert run.result(NOW_NS, ended=False).metrics["notify.latency"].count == 12
    assert decoded == 3


def test_a_page_is_made_without_a_look_at_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that look on may be many; what the master's own machine goes through is nobody's figure."""
    run = whole(tmp_path)
    run.take_untrusted("a", 0, report(part("mse-0", 4, [MS] * 4), part("mse-0", 5, [MS] * 4)), NOW_NS)
    run.live(NOW_NS)  # what is asked of a machine once
    opened: list[str] = []
    # As long as the interpreter lives, so it notes only while this run is asked.
    asking = True
    sys.addaudithook(lambda event, args: opened.append(str(args[0])) if asking and event == "open" else None)
    live = run.live(NOW_NS)
    asking = False
    assert live.load_s > 0
    assert opened == []


def test_counters_are_summed_over_processes(tmp_path: Path) -> None:
    run = whole(tmp_path)
    sent = WorkerInterval("wlc-0", interval(4, requests__served=3), 0.1)
    run.take_untrusted("a", 0, report(sent, part("mse-0", 4, [MS] * 4)), NOW_NS)
    run.take_untrusted("b", 1, report(part("mse-1", 4, [MS] * 6)), NOW_NS)
    result = run.result(NOW_NS, ended=False)
    assert result.counters["notify.received"] == 10
    assert result.counters["notify.sent"] == result.counters["notify.due"] == 10
    assert (result.counters["sessions.established"], result.counters["requests.served"]) == (2, 3)
    assert run.active == 2


def test_a_worker_that_goes_is_told_and_what_it_reported_is_kept(tmp_path: Path) -> None:
    run = whole(tmp_path)
    run.take_untrusted("a", 0, report(part("mse-0", 4, [MS] * 5)), NOW_NS)
    run.take_untrusted("b", 1, report(part("mse-1", 4, [MS] * 5)), NOW_NS)
    assert run.pending() == ["a", "b"]
    run.lose("b", "missing: no heartbeat")
    assert run.pending() == ["a"]
    assert run.active == 1
    run.take_untrusted("a", 0, report(ending=ending(health("mse-0"))), NOW_NS)
    assert run.pending() == []
    result = run.result(NOW_NS, ended=True)
    assert result.verdict.exit_code == ExitCode.WORKER_DIED
    assert "Locust worker b (index 1): missing: no heartbeat" in result.verdict.reasons
    assert result.metrics["notify.latency"].count == 10


def test_a_worker_that_never_reported_its_end_has_died(tmp_path: Path) -> None:
    run = whole(tmp_path)
    run.take_untrusted("a", 0, report(part("mse-0", 4, [MS])), NOW_NS)
    assert not run.result(NOW_NS, ended=False).verdict.reasons
    reasons = run.result(NOW_NS, ended=True).verdict.reasons
    assert "Locust worker a (index 0): did not hand in its last figures" in reasons


def test_a_worker_that_goes_after_its_end_costs_nothing(tmp_path: Path) -> None:
    run = whole(tmp_path)
    run.take_untrusted("a", 0, report(part("mse-0", 4, [MS]), ending=ending(health("mse-0"))), NOW_NS)
    run.lose("a", "quit")
    run.lose("never heard of", "quit")
    assert run.result(NOW_NS, ended=True).verdict.exit_code == ExitCode.PASSED


def test_a_process_that_died_is_told(tmp_path: Path) -> None:
    run = whole(tmp_path)
    dead = ending(health("mse-0"), deaths=("worker wlc-0 (pid 7) died: killed by signal 9",))
    run.take_untrusted("a", 0, report(part("mse-0", 4, [MS]), ending=dead), NOW_NS)
    result = run.result(NOW_NS, ended=True)
    assert result.verdict.exit_code == ExitCode.WORKER_DIED
    assert result.verdict.reasons[0] == "Locust worker a (index 0): worker wlc-0 (pid 7) died: killed by signal 9"


def test_a_worker_that_was_to_have_users_and_never_said_a_word_has_died(tmp_path: Path) -> None:
    run = whole(tmp_path)
    run.enlist("a", 0)
    run.enlist("b", 1)
    run.take_untrusted("a", 0, report(part("mse-0", 4, [MS]), users=3, wanted=3), NOW_NS)
    assert run.pending() == ["a", "b"]
    run.lose("b", "was not heard of any more")
    run.take_untrusted("a", 0, report(ending=ending(health("mse-0")), users=3, wanted=3), NOW_NS)
    verdict = run.result(NOW_NS, ended=True).verdict
    assert verdict.exit_code == ExitCode.WORKER_DIED
    assert verdict.reasons[0] == "Locust worker b (index 1): was not heard of any more"


@pytest.mark.parametrize("deaths", [(), ("worker mse-0 (pid 7) died: killed by signal 9",)])
def test_a_worker_that_ends_before_it_is_told_to_has_gone(tmp_path: Path, deaths: tuple[str, ...]) -> None:
    """Terminated, given up, or silent for too long: it hands everything in, and its users are missing from then on."""
    run = whole(tmp_path, finishing=False)
    left = ending(health("mse-0"), deaths=deaths)
    run.take_untrusted("a", 0, report(part("mse-0", 4, [MS]), ending=left), NOW_NS)
    run.lose("a", "left before the end")
    run.finishing(NOW_NS)
    run.take_untrusted("b", 1, report(part("mse-1", 4, [MS]), ending=ending(health("mse-1"))), NOW_NS)
    verdict = run.result(NOW_NS, ended=True).verdict
    assert verdict.exit_code == ExitCode.WORKER_DIED
    why = deaths[0] if deaths else "ended its load before the run did"
    assert [reason for reason in verdict.reasons if "Locust worker" in reason] == [f"Locust worker a (index 0): {why}"]


def test_users_that_are_not_there_when_all_should_be_are_missing_whatever_comes_later(tmp_path: Path) -> None:
    run = whole(tmp_path)
    for users in (1, 2, 3):
        run.take_untrusted("a", 0, report(part("mse-0", users, [MS]), users=users, wanted=3), NOW_NS, settled=users > 1)
    assert run.result(NOW_NS, ended=False).verdict.exit_code == ExitCode.INCONCLUSIVE
    last = report(ending=ending(health("mse-0")), users=3, wanted=3)
    run.take_untrusted("a", 0, last, NOW_NS, settled=True)
    verdict = run.result(NOW_NS, ended=True).verdict
    assert verdict.exit_code == ExitCode.INCONCLUSIVE
    assert "Locust worker a (index 0): 2 of 3 users were there" in verdict.reasons


def test_users_on_their_way_are_not_missing(tmp_path: Path) -> None:
    run = whole(tmp_path)
    run.want(3)
    run.take_untrusted("a", 0, report(part("mse-0", 4, [MS]), users=1, wanted=2), NOW_NS)
    assert run.result(NOW_NS, ended=False).verdict.exit_code == ExitCode.PASSED
    run.take_untrusted("a", 0, report(users=3, wanted=3, ending=ending(health("mse-0"))), NOW_NS, settled=True)
    assert run.result(NOW_NS, ended=True).verdict.exit_code == ExitCode.PASSED


def test_users_that_no_worker_was_told_of_are_missing(tmp_path: Path) -> None:
    run = whole(tmp_path)
    run.want(6)
    last = report(part("mse-0", 4, [MS]), ending=ending(health("mse-0")), users=3, wanted=3)
    run.take_untrusted("a", 0, last, NOW_NS, settled=True)
    verdict = run.result(NOW_NS, ended=True).verdict
    assert verdict.exit_code == ExitCode.INCONCLUSIVE
    assert "workers were told of 3 of 6 users" in verdict.reasons


def test_a_worker_that_had_no_part_in_it_costs_nothing(tmp_path: Path) -> None:
    run = whole(tmp_path)
    run.take_untrusted("a", 0, report(part("mse-0", 4, [MS]), ending=ending(health("mse-0"))), NOW_NS)
    before = run.result(NOW_NS, ended=True)
    run.enlist("b", 1)
    assert run.pending() == ["b"]
    run.take_untrusted("b", 1, msgspec.msgpack.encode(nothing_of(RUN)), NOW_NS)
    assert run.pending() == []
    assert run.result(NOW_NS, ended=True) == before


def test_the_load_is_over_when_workers_were_told_also_if_one_never_answers(tmp_path: Path) -> None:
    run = whole(tmp_path, finishing=False)
    for number, client in enumerate(("a", "b")):
        run.take_untrusted(client, number, report(part(f"mse-{number}", 4, [MS] * 300)), NOW_NS)
    run.finishing(EPOCH_NS + 6 * 10**9)
    run.take_untrusted("a", 0, report(ending=ending(health("mse-0"))), NOW_NS)
    assert run.result(NOW_NS + 30 * 10**9, ended=True).load_s == pytest.approx(5)


def test_one_saturated_worker_makes_the_run_invalid(tmp_path: Path) -> None:
    run = whole(tmp_path)
    late = health("wlc-1", lag=Spread(100, p99=200 * MS))
    run.take_untrusted("a", 0, report(part("mse-0", 4, [MS]), ending=ending(health("mse-0"))), NOW_NS)
    run.take_untrusted("b", 1, report(part("mse-1", 4, [MS]), ending=ending(late)), NOW_NS)
    verdict = run.result(NOW_NS, ended=True).verdict
    assert verdict.generator is Verdict.INVALID
    assert verdict.exit_code == ExitCode.GENERATOR_SATURATED
    assert verdict.limited_by is Limit.GENERATOR
    assert "wlc-1 sent late" in verdict.reasons[0]


def test_until_everybody_was_there_the_ramp_counts(tmp_path: Path) -> None:
    run = whole(tmp_path)
    ramp = WorkerInterval("mse-0", interval(4, {"ramp/notify.latency": [MS] * 3}, sessions__established=1), None)
    run.take_untrusted("a", 0, report(ramp, hold=False), NOW_NS)
    result = run.result(NOW_NS, ended=False)
    assert [(stage.name, stage.counted) for stage in result.stages] == [("ramp", True)]
    assert result.metrics["notify.latency"].count == 3
    run.take_untrusted("a", 0, report(part("mse-0", 5, [MS] * 2)), NOW_NS)
    result = run.result(NOW_NS, ended=False)
    assert [(stage.name, stage.counted) for stage in result.stages] == [("ramp", False), ("hold", True)]
    assert result.metrics["notify.latency"].count == 2


def test_the_load_is_over_when_workers_were_told_and_not_when_they_are_done(tmp_path: Path) -> None:
    run = whole(tmp_path)
    values = [MS] * 600
    run.take_untrusted("a", 0, report(part("mse-0", 4, values)), NOW_NS)
    assert run.result(NOW_NS, ended=False).load_s == pytest.approx(9)
    end_ns = EPOCH_NS + 6 * 10**9
    run.take_untrusted("a", 0, report(ending=ending(health("mse-0"), end_ns=end_ns)), NOW_NS)
    result = run.result(NOW_NS + 10**12, ended=True)
    assert result.load_s == pytest.approx(5)
    assert result.stages[-1].length_s == pytest.approx(3)
    assert result.rates["notify.received_per_s"] == pytest.approx(200)


def test_nothing_reported_is_no_result_that_passed(tmp_path: Path) -> None:
    result = whole(tmp_path).result(NOW_NS, ended=True)
    assert result.verdict.exit_code == ExitCode.UNREACHABLE


def test_reports_of_another_run_are_left_alone(tmp_path: Path) -> None:
    run = whole(tmp_path)
    run.take_untrusted("a", 0, report(part("mse-0", 4, [MS]), run="an earlier one"), NOW_NS)
    assert not run.counters
    assert run.pending() == []


def broken_histogram() -> bytes:
    good = part("mse-0", 4, [MS])
    bad = msgspec.structs.replace(good.interval, histograms={"hold/notify.latency": b"AAAA"})
    return report(good, msgspec.structs.replace(good, interval=bad))


def test_clocks_that_workers_tell_of_are_in_the_result(tmp_path: Path) -> None:
    run = whole(tmp_path)
    for client, offset in (("a", 2 * 10**9), ("b", -(10**9))):
        clocks = Clocks(1, 1, 0, 10, 20, (ClockReading(f"192.0.2.{len(client)}{client}:1", 1, 1, offset, 10),))
        run.take_untrusted(client, 0, report(clocked(f"mse-0.{client}", clocks)), NOW_NS)
    result = run.result(NOW_NS, ended=False)
    assert (result.clocks.wlcs, result.clocks.corrected, result.clocks.more_ns) == (2, 2, 20)
    assert [reading.offset_ns for reading in result.clocks.readings] == [2 * 10**9, -(10**9)]


@pytest.mark.parametrize(
    "clocks",
    [
        Clocks(17, readings=(ClockReading("192.0.2.1:1", 1, 1, 0, 0),) * 17),
        Clocks(1, readings=(ClockReading("x" * 301, 1, 1, 0, 0),)),
    ],
)
def test_clocks_that_cannot_be_are_refused(tmp_path: Path, clocks: Clocks) -> None:
    run = whole(tmp_path)
    with pytest.raises(BadReport):
        run.take_untrusted("a", 0, report(clocked("mse-0", clocks)), NOW_NS)
    assert not run.counters


def clocked(process: str, clocks: Clocks) -> WorkerInterval:
    good = part(process, 4, [MS])
    return msgspec.structs.replace(good, interval=msgspec.structs.replace(good.interval, clocks=clocks))


@pytest.mark.parametrize("index", [-1, 3604, 1 << 32])
def test_an_interval_that_cannot_be_is_refused(tmp_path: Path, index: int) -> None:
    run = whole(tmp_path)
    with pytest.raises(BadReport, match=f"expected interval 0 to 3603, found {index}"):
        run.take_untrusted("a", 0, report(part("mse-0", 4, [MS]), part("mse-0", index, [MS])), NOW_NS)
    assert not run.counters


@pytest.mark.parametrize(
    "data",
    [
        *(None, "text", 7, b"", b"\xc1", b"\x80", report()[:-1], broken_histogram(), bytes(17 * 1024 * 1024)),
        report(part("mse-0", 4, [MS]), users=-1),
    ],
    ids=["none", "text", "number", "empty", "garbage", "empty map", "cut off", "broken histogram", "huge", "negative"],
)
def test_what_is_no_report_is_refused_whole(tmp_path: Path, data: object) -> None:
    run = whole(tmp_path)
    with pytest.raises(BadReport):
        run.take_untrusted("a", 0, data, NOW_NS)
    assert not run.counters
    assert run.histograms() == {}
