"""The live view's timeline: the same as the whole one, but of the last minutes only."""

from __future__ import annotations

from pathlib import Path

from distributed_samples import EPOCH_NS, MS, RUN, chosen, ending, health, interval, report

from loadgen.distributed.master.recent import INTERVALS, RecentTimeline
from loadgen.distributed.master.whole import WholeRun
from loadgen.distributed.messages import WorkerInterval


def filled(folder: Path, intervals: int) -> WholeRun:
    whole = WholeRun(RUN, chosen(folder).plan(2), (), EPOCH_NS)
    for index in range(intervals):
        for number in range(2):
            values = [(index % 7 + 1 + number) * MS] * 60  # of both, enough for a p99
            metrics = {"hold/notify.latency": values, "hold/notify.lag": [v // 2 for v in values]}
            done = (index + 1) * 3
            part = interval(index, metrics, notify__due=done, notify__sent=done, notify__received=done)
            process = WorkerInterval(f"wlc-{number}", part, index * 0.25)
            sent = report(process, of=[health(f"wlc-{number}")])
            whole.take_untrusted(f"client-{number}", number, sent, EPOCH_NS + (index + 1) * 10**9)
    return whole


def test_it_shows_what_the_whole_timeline_shows(tmp_path: Path) -> None:
    whole = filled(tmp_path, 40)
    whole.end()
    now_ns = EPOCH_NS + 40 * 10**9
    live, all_of_it = whole.live(now_ns), whole.result(now_ns, ended=False)
    count = len(live.timeline.start_s)
    assert count == 39  # the one that has just begun is left out
    assert live.timeline.start_s == all_of_it.timeline.start_s[:count]
    for name in ("notify.sent_per_s", "notify.latency.p50", "notify.latency.p99", "notify.lag.max", "cpu.wlc-1"):
        assert live.timeline.columns[name] == all_of_it.timeline.columns[name][:count], name
    assert live.metrics == all_of_it.metrics
    assert live.stages == all_of_it.stages


def test_looking_changes_nothing(tmp_path: Path) -> None:
    looked, left = filled(tmp_path, 5), filled(tmp_path, 5)
    now_ns = EPOCH_NS + 5 * 10**9
    looked.live(now_ns)
    assert looked.result(now_ns, ended=True) == left.result(now_ns, ended=True)


def test_it_does_not_grow_with_the_run() -> None:
    timeline = RecentTimeline(10**9)
    for index in range(INTERVALS * 3):
        metrics = {"hold/notify.latency": [MS]} if index % 100 == 0 else {}
        timeline.add("wlc-0", interval(index, metrics, notify__sent=index), None, 1)
    built = timeline.build(None)
    assert len(built.start_s) == INTERVALS - 1
    assert built.start_s[-1] == INTERVALS * 3 - 2
    assert set(built.columns["notify.sent_per_s"]) == {1.0}


def test_what_came_again_is_in_no_rate() -> None:
    timeline = RecentTimeline(10**9)
    for index in range(4):
        came = 50 * (index + 1)
        timeline.add("mse-0", interval(index, {}, notify__received=2 * came, notify__duplicated=came), None, 1)
    assert timeline.build(None).columns["notify.received_per_s"] == (50.0, 50.0, 50.0)


def test_what_comes_too_late_counts_and_breaks_nothing() -> None:
    timeline = RecentTimeline(10**9)
    timeline.add("wlc-0", interval(1000, {"hold/notify.lag": [MS]}, notify__sent=5), None, 0)
    timeline.add("wlc-1", interval(980, {"hold/notify.lag": [9 * MS]}, notify__sent=7), None, 0)
    timeline.add("wlc-1", interval(3, {"hold/notify.lag": [9 * MS]}, notify__sent=7), None, 0)
    built = timeline.build(0)
    assert built.start_s == (980.0,)
    assert built.columns["notify.sent_per_s"] == (7.0,)
    assert "notify.lag.p50" not in built.columns


def test_a_worker_that_has_users_and_never_reports_is_missed(tmp_path: Path) -> None:
    whole = filled(tmp_path, 2)
    whole.enlist("silent", 7)
    whole.enlist("client-0", 0)
    assert set(whole.pending()) == {"client-0", "client-1", "silent"}
    whole.lose("silent", "was not heard of any more")
    assert set(whole.pending()) == {"client-0", "client-1"}
    result = whole.result(EPOCH_NS + 9 * 10**9, ended=False)
    assert "Locust worker silent (index 7): was not heard of any more" in result.verdict.reasons


def test_a_worker_that_was_only_away_is_not_missed(tmp_path: Path) -> None:
    whole = filled(tmp_path, 2)
    whole.lose("client-0", "was not heard of any more")
    assert whole.pending() == ["client-1"]
    for number in range(2):
        last = report(ending=ending(health(f"wlc-{number}")))
        whole.take_untrusted(f"client-{number}", number, last, EPOCH_NS + 5 * 10**9)
    assert whole.pending() == []
    result = whole.result(EPOCH_NS + 9 * 10**9, ended=True)
    assert not [reason for reason in result.verdict.reasons if "heard" in reason]
