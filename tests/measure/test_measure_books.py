"""Every session and every notification ends in exactly one counter, also where a worker died."""

from __future__ import annotations

from collections import Counter

from loadgen.errors import ExitCode
from loadgen.loads import LoadKind
from loadgen.measure.books import BOOKS, imbalances, settle
from loadgen.measure.merge import Merger
from loadgen.measure.names import COUNTERS
from loadgen.measure.recorder import Interval
from loadgen.results.figures import make_counters
from loadgen.results.health import GeneratorVerdict, Verdict
from loadgen.results.verdict import make_verdict


def result_of(wlc: dict[str, int], mse: dict[str, int], *dead: str) -> dict[str, int]:
    """The counters of a run with a worker on each side."""
    merger = Merger()
    for name, counters in (("wlc-0", wlc), ("mse-0", mse)):
        merger.add(name, Interval(0, counters, {}))
    merger.settle(dead)
    return make_counters(merger.counters(), LoadKind.NOTIFY, wlc=True, mse=True, complete=not dead, over=True)


WLC = {"notify.due": 500, "notify.sent": 450, "notify.dropped": 30}
MSE = {
    "sessions.attempted": 22,
    "sessions.established": 16,
    "sessions.failed": 1,
    "sessions.withdrawn": 2,
    "sessions.closed": 8,
    "notify.received": 440,
    "notify.duplicated": 3,
    "notify.lost": 2,
    "echo.due": 9,
    "echo.sent": 7,
    "echo.received": 6,
    # Whoever asks for echoes, or sends requests, counts all that can become of them from the start.
    **{f"echo.{what}": 0 for what in ("dropped", "unanswered", "withdrawn")},
    "requests.due": 4,
    "requests.sent": 3,
    **{f"requests.{what}": 0 for what in ("dropped", "answered", "timed_out", "abandoned", "withdrawn")},
}


def test_lines_are_of_counters() -> None:
    for line in BOOKS:
        assert {line.whole, *line.parts, *line.more} <= COUNTERS.keys()
        assert not line.rest or line.rest in line.parts


def test_what_a_dead_worker_had_open_came_to_nothing() -> None:
    found = result_of({**WLC, "notify.dropped": 50}, MSE, "mse-0")
    assert (found["sessions.failed"], found["sessions.lost"], found["sessions.orphaned"]) == (4, 8, 8)
    assert (found["echo.dropped"], found["echo.unanswered"]) == (2, 1)
    assert (found["requests.dropped"], found["requests.abandoned"]) == (1, 3)
    # 437 came once; of 450 that were sent that leaves 13: 2 are known to be lost.
    assert (found["notify.lost"], found["notify.unaccounted"], found["notify.unreported"]) == (2, 11, 0)
    assert imbalances(found) == []


def test_what_a_dead_worker_owed_is_dropped_and_what_it_sent_was_received() -> None:
    mse = {**MSE, "notify.received": 470, "sessions.failed": 4, "sessions.lost": 8}
    mse |= {"echo.dropped": 2, "echo.unanswered": 1, "requests.dropped": 1, "requests.abandoned": 3}
    found = result_of(WLC, mse, "wlc-0")
    assert found["notify.dropped"] == 50
    assert (found["notify.lost"], found["notify.unaccounted"], found["notify.unreported"]) == (2, 0, 19)
    assert found["sessions.orphaned"] == 0
    assert imbalances(found) == []


def test_who_lives_is_not_settled() -> None:
    """What does not balance there is a fault of ours, and is said."""
    found = result_of({**WLC, "notify.dropped": 50}, MSE)
    assert [line.partition(":")[0] for line in imbalances(found)] == [
        "sessions.attempted = sessions.established + sessions.failed + sessions.withdrawn",
        "sessions.established = sessions.closed + sessions.lost",
        "echo.due = echo.sent + echo.dropped",
        "echo.sent = echo.received + echo.unanswered + echo.withdrawn",
        "requests.due = requests.sent + requests.dropped",
        "requests.sent = requests.answered + requests.timed_out + requests.abandoned + requests.withdrawn",
    ]
    assert "requests.sent 3, requests.answered 0" in imbalances(found)[-1]


def test_what_is_not_measured_is_in_no_line() -> None:
    assert imbalances({"notify.sent": 7, "notify.due": 9}) == []
    assert imbalances({"notify.sent": 7, "notify.due": 9, "notify.dropped": 1}) != []


def test_settling_balances_every_line_of_a_worker() -> None:
    counters = {"sessions.attempted": 9, "handshakes.due": 9, "notify.due": 9, "echo.due": 9, "requests.due": 9}
    counters["accept.attempts"] = 9
    settle(counters)
    everything = Counter(dict.fromkeys(COUNTERS, 0)) + Counter(counters)
    assert imbalances({name: everything[name] for name in COUNTERS}) == []
    once = dict(counters)
    settle(counters)
    assert counters == once


def test_books_that_do_not_balance_are_no_pass() -> None:
    verdict = make_verdict(
        GeneratorVerdict(Verdict.VALID, ()),
        (),
        {"sessions.established": 1, "notify.sent": 1},
        interrupted=False,
        aborted="",
        deaths=(),
        imbalances=["notify.due = ..."],
    )
    assert verdict.exit_code == ExitCode.INCONCLUSIVE
    assert "the books do not balance, which is a fault of loadgen's own: notify.due = ..." in verdict.reasons
