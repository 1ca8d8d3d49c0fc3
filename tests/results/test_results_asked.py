"""What a plan asks for against what was done: a row for each thing that can fall short, at its tolerance."""

from __future__ import annotations

import pytest

from loadgen.errors import ExitCode
from loadgen.results.asked import Absence, Asked, FellSilent, Shortfall, shortfalls
from loadgen.results.health import GeneratorVerdict, Verdict
from loadgen.results.paces import Pace
from loadgen.results.result import Limit, ResultVerdict
from loadgen.results.thresholds import Status, ThresholdResult
from loadgen.results.verdict import make_verdict

PLAIN = {"sessions.attempted": 100, "sessions.established": 100, "notify.sent": 1000, "notify.due": 1000}
SHAKEN = {"handshakes.attempted": 1000, "handshakes.completed": 1000, "handshakes.due": 1000}
FINE = GeneratorVerdict(Verdict.VALID, ())
ALL_DONE = "everything that it asked for was done"
OURS_DONE = "everything that was ours to do was done"


def verdict_of(
    counters: dict[str, int],
    short: tuple[Shortfall, ...] = (),
    *thresholds: ThresholdResult,
    generator: GeneratorVerdict = FINE,
    interrupted: bool = False,
    aborted: str = "",
    deaths: tuple[str, ...] = (),
) -> ResultVerdict:
    return make_verdict(
        generator,
        thresholds,
        counters,
        interrupted=interrupted,
        aborted=aborted,
        deaths=deaths,
        shortfalls=short,
    )


@pytest.mark.parametrize(
    ("counters", "said"),
    [
        (SHAKEN, ALL_DONE),
        (PLAIN, ALL_DONE),
        (PLAIN | {"notify.received": 1000}, ALL_DONE),
        # As fast as it goes, nothing is due, and the MSEs are ours.
        ({"handshakes.attempted": 10, "handshakes.completed": 10, "handshakes.resumption_asked": 0}, ALL_DONE),
        (
            {"handshakes.attempted": 10, "handshakes.completed": 10},
            f"{OURS_DONE}; 10 handshakes were completed, and how many were to be is the MSEs' to say",
        ),
        (
            {"sessions.established": 4, "notify.received": 1005, "notify.duplicated": 5},
            f"{OURS_DONE}; 1,000 notifications came, and how many were to be is the WLCs' to say",
        ),
    ],
)
def test_of_a_load_that_is_somebody_elses_nobody_says_that_all_of_it_was_done(
    counters: dict[str, int], said: str
) -> None:
    assert verdict_of(counters).limit_reason == said


def away(away_s: float, missing: int = 0, *named: str, others: int = 0) -> Absence:
    """Of 100 sessions in a load of 10 s, in two workers."""
    return Absence(50, 10.0, away_s, missing, named, others)


def test_the_share_of_another_time_than_the_load_is_not_said_to_be_of_the_load() -> None:
    """Others' schedule began up to 2 s before ours, and so their load may have ended as much earlier."""
    absences = [Absence(50, 8.0, 200.0, 25, before_s=2.0), Absence(50, 9.0, 225.0, 25, before_s=1.0)]
    (found,) = shortfalls(Asked(100, 10.0, allowed_s=2.0), 10.0, {}, absences)
    assert found.what == (
        "sessions were missing for 50% of the 8.5 s (of a load of 10.0 s) for which all should be there, "
        "50 of 100 at its end"
    )


DROPPED = {"notify.due": 800, "notify.sent": 386, "notify.dropped": 414}
DOUBLED = {"notify.received": 1098, "notify.duplicated": 549}
STREAM = "errors.stream."
MANY = {"notify.received": 99, "sessions.attempted": 1000}  # sessions, so that it is an error of few of them
UNKNOWN = {"notify.received": 990, "echo.received": 10}
REFUSED = {"requests.due": 180, "requests.sent": 180, "requests.answered": 180}
ECHOES = {"echo.due": 6, "echo.sent": 1, "echo.dropped": 4, "echo.unanswered": 1}


@pytest.mark.parametrize(
    ("asked", "load_s", "counters", "absences", "what", "grave"),
    [
        # sessions: 100 of them, for 10 s each
        (Asked(100, 10.0), 10.0, {}, [away(0), away(0)], "", False),
        (Asked(100, 10.0), 10.0, {}, [away(0), away(10)], "sessions were missing for 1.0% of the load", False),
        (Asked(100, 10.0), 10.0, {}, [away(0.2), away(10, 1)], "missing for 1.0% of the load, 1 of 100 at", True),
        (Asked(100, 10.0), 10.0, {}, [away(250, 50), away(0)], "missing for 25% of the load, 50 of 100 at", True),
        (Asked(100, 10.0), 10.0, {}, [away(0.1), away(0)], "missing for less than 0.1% of the load", False),
        (Asked(100, 10.0), 10.0, {"sessions.established": 98}, [], "2 of 100 sessions never came up", True),
        (Asked(100, 10.0), 10.0, {"sessions.established": 99}, [], "1 of 100 sessions never came up", False),
        (Asked(0, 10.0), 10.0, {}, [away(0), away(250, 50)], "", False),  # users, or handshakes
        # how long
        (Asked(0, 10.0), 9.9, {}, [], "", False),
        (Asked(0, 10.0), 9.8, {}, [], "the load ended after 9.8 of 10.0 s", True),
        (Asked(0, 10.0, 0.5), 9.4, {}, [], "", False),  # whoever keeps the schedule has begun before us
        (Asked(0, 10.0, 0.5), 9.3, {}, [], "the load ended after 9.3 of 10.0 s", True),
        # how many
        (Asked(), 0, DROPPED, [], "414 of 800 notifications were dropped", True),
        (Asked(judged={"notify.dropped"}), 0, DROPPED, [], "", False),  # somebody said how many may be
        (Asked(late=0.5), 0, DROPPED, [], "414 of 800 notifications were dropped", True),
        (Asked(late=0.51), 0, DROPPED, [], "", False),  # while MSEs were still dialing
        (Asked(), 0, {"notify.due": 800, "notify.sent": 792, "notify.dropped": 8}, [], "", False),
        (Asked(), 0, {"notify.sent": 800, "notify.lost": 9}, [], "9 of 800 notifications were lost", True),
        (Asked(), 0, {"notify.received": 791, "notify.lost": 9}, [], "9 of 800 notifications were lost", True),
        (Asked(), 0, {"notify.received": 980, "notify.lost": 4000}, [], "4,000 of 4,980 notifications were lost", True),
        (
            Asked(),
            0,
            {"notify.sent": 10, "notify.received": 10, "notify.lost": 90},
            [],
            "90 of 100 notifications",
            True,
        ),
        # Of 549 that came once each, and again: what came again dilutes nothing.
        (Asked(judged={"notify.duplicated"}), 0, DOUBLED | {"notify.lost": 7}, [], "7 of 556 notifications were", True),
        (Asked(judged={"notify.duplicated"}), 0, DOUBLED | {"notify.lost": 5}, [], "", False),
        (Asked(), 0, DOUBLED, [], "549 of 1,098 notifications had come before", True),
        (Asked(), 0, {"notify.received": 626, "notify.reordered": 62}, [], "62 of 626 notifications came after", True),
        (Asked(), 0, {"notify.received": 626, "notify.reordered": 6}, [], "", False),
        (
            Asked(),
            0,
            {"requests.answered": 360, "requests.unmatched": 36},
            [],
            "36 responses that nobody had asked for came beside 360 answers",
            True,
        ),
        (Asked(), 0, {"requests.answered": 360, "requests.unmatched": 9}, [], "", False),
        (Asked(judged={"requests.unmatched"}), 0, {"requests.answered": 9, "requests.unmatched": 36}, [], "", False),
        (
            Asked(),
            0,
            {"echo.received": 36, "echo.unmatched": 36},
            [],
            "36 echo responses that nobody had asked for came beside 36 answers",
            True,
        ),
        (Asked(), 0, {"echo.received": 1100, "echo.unmatched": 11}, [], "", False),
        (Asked(judged={"echo.unmatched"}), 0, {"echo.received": 9, "echo.unmatched": 36}, [], "", False),
        (Asked(judged={"notify.reordered"}), 0, {"notify.received": 626, "notify.reordered": 62}, [], "", False),
        (
            Asked(),
            0,
            MANY | {f"{STREAM}sequence_restart": 10},
            [],
            "10 of 99 notifications began",
            True,
        ),
        (Asked(), 0, MANY | {f"{STREAM}sequence_jump": 10}, [], "10 of 99 notifications jumped", True),
        (
            Asked(),
            0,
            MANY | {f"{STREAM}not_subscribed": 10},
            [],
            "10 of 99 notifications were of",
            True,
        ),
        (
            Asked(judged={f"{STREAM}sequence_jump"}),
            0,
            {"notify.received": 9, f"{STREAM}sequence_jump": 1},
            [],
            "",
            False,
        ),
        (Asked(), 0, UNKNOWN | {"messages.unsupported": 11}, [], "11 of 1,011 messages have an id", True),
        (Asked(), 0, UNKNOWN | {"messages.unsupported": 11, "sessions.established": 1}, [], "", False),
        (Asked(judged={"messages.unsupported"}), 0, UNKNOWN | {"messages.unsupported": 63}, [], "", False),
        (Asked(), 0, {"requests.sent": 100, "requests.timed_out": 2}, [], "2 of 100 requests were not", True),
        (Asked(), 0, {"requests.sent": 100, "requests.retransmitted": 9}, [], "requests were sent again 9", False),
        (Asked(judged={"requests.retransmitted"}), 0, {"requests.sent": 9, "requests.retransmitted": 9}, [], "", False),
        (Asked(), 0, ECHOES | {"sessions.established": 1}, [], "5 of 6 echoes were not answered", True),
        # One WLC of 20 answers none: what the other sessions had under way does not make up for it.
        (Asked(), 0, {"echo.due": 160, "echo.unanswered": 8, "sessions.established": 20}, [], "8 of 160 echoes", True),
        (Asked(), 0, {"echo.due": 160, "echo.withdrawn": 20, "sessions.established": 20}, [], "", False),
        (Asked(), 0, {"echo.due": 16, "echo.withdrawn": 1, "sessions.lost": 1}, [], "", False),
        (Asked(), 0, {"notify.due": 800, "notify.sent": 386}, [], "414 of 800 notifications that were due", True),
        (Asked(), 0, {"notify.due": 800, "notify.sent": 796}, [], "4 of 800 notifications that were due", False),
        (Asked(), 0, {"handshakes.due": 1000, "handshakes.attempted": 900}, [], "100 of 1,000 handshakes", True),
        (Asked(), 0, {"handshakes.attempted": 100, "handshakes.failed": 2}, [], "2 of 100 handshakes were", True),
        (Asked(), 0, {"handshakes.attempted": 100, "handshakes.failed": 1}, [], "", False),
        (Asked(judged={"handshakes.failed"}), 0, {"handshakes.attempted": 100, "handshakes.failed": 2}, [], "", False),
        (Asked(), 0, {"handshakes.attempted": 254, "handshakes.unfinished": 51}, [], "51 of 254 handshakes had", True),
        (Asked(), 0, {"echo.due": 2, "echo.sent": 2, "echo.withdrawn": 2}, [], "2 of 2 echoes had no answer", False),
        (Asked(), 0, {"echo.due": 2, "echo.sent": 2, "echo.withdrawn": 1}, [], "", False),
        (Asked(), 0, REFUSED | {"requests.refused": 180}, [], "180 of 180 requests that were answered were ref", True),
        (Asked(), 0, REFUSED | {"requests.refused": 2}, [], "2 of 180 requests that were answered were refused", True),
        (Asked(refusable=0.5), 0, REFUSED | {"requests.refused": 91}, [], "", False),  # the plan has it so
        (Asked(refusable=0.5), 0, REFUSED | {"requests.refused": 93}, [], "93 of 180 requests that were", True),
        (Asked(judged={"requests.refused"}), 0, REFUSED | {"requests.refused": 180}, [], "", False),
        (Asked(), 0, {"requests.due": 100, "requests.sent": 90, "requests.dropped": 10}, [], "10 of 100", True),
        (Asked(), 0, {"requests.due": 100, "requests.sent": 90}, [], "10 of 100 requests", True),
    ],
)
def test_what_was_done_is_compared_with_what_was_asked_for(
    asked: Asked, load_s: float, counters: dict[str, int], absences: list[Absence], what: str, grave: bool
) -> None:
    found = shortfalls(asked, load_s, counters, absences)
    assert len(found) == bool(what)
    for shortfall in found:
        assert what in shortfall.reason
        assert shortfall.grave == grave
        # Said in any case; not passed if it is more than is tolerated.
        verdict = verdict_of((SHAKEN if "handshakes.attempted" in counters else PLAIN) | counters, found)
        assert shortfall.reason in verdict.reasons
        assert verdict.exit_code == (ExitCode.INCONCLUSIVE if grave else ExitCode.PASSED)
        assert ALL_DONE not in verdict.limit_reason
        assert shortfall.what in verdict.limit_reason or "notify.lost" in counters
        assert verdict.limited_by is (Limit.TARGET if grave else Limit.SCENARIO)


@pytest.mark.parametrize(
    ("clamped", "durations", "judged", "what"),
    [
        (1018, 2036, (), "1,018 of 2,036 durations of notifications were below 0 or above 1 h"),
        # Of 1,018 notifications, 11 at least.
        (11, 2036, (), "11 of 2,036 durations of notifications were below 0 or above 1 h"),
        (10, 2036, (), ""),
        (1018, 2036, ("clock.clamped",), ""),
        (5, 0, (), "5 of 5 durations of notifications were below 0 or above 1 h"),  # as of a worker that died
    ],
)
def test_durations_that_were_cut_off_pass_nothing(
    clamped: int, durations: int, judged: tuple[str, ...], what: str
) -> None:
    counters = PLAIN | {"clock.clamped": clamped}
    found = shortfalls(Asked(judged=judged), 0, counters, [], durations=durations)
    assert [each.what for each in found] == ([what] if what else [])
    assert verdict_of(counters, found).exit_code == (ExitCode.INCONCLUSIVE if what else ExitCode.PASSED)


@pytest.mark.parametrize(("judged", "grave"), [((), [True]), (("handshakes.resumed",), [])])
def test_how_many_are_to_resume_a_threshold_says(judged: tuple[str, ...], grave: list[bool]) -> None:
    counters = {"handshakes.attempted": 60, "handshakes.resumption_asked": 40, "handshakes.resumed": 20}
    assert [each.grave for each in shortfalls(Asked(judged=judged), 0, counters, ())] == grave


def test_who_was_missing_is_named_and_not_all_of_thousands() -> None:
    absences = [away(100, 10, *(f"a{number}" for number in range(4)), others=6), away(10, 1, "b0")]
    (found,) = shortfalls(Asked(100, 10.0), 10.0, {}, absences)
    assert found.reason.endswith("11 of 100 at its end: a0; a1; a2; a3; and 7 more")


MISSING = (Shortfall("half of it was missing", grave=True),)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({}, ExitCode.INCONCLUSIVE),
        ({"generator": GeneratorVerdict(Verdict.INVALID, ("late",), "late")}, ExitCode.GENERATOR_SATURATED),
        ({"aborted": "notify.lost == 0 (was 1)"}, ExitCode.THRESHOLD_FAILED),
        ({"interrupted": True}, ExitCode.INTERRUPTED),
        ({"deaths": ("worker mse-0 died",)}, ExitCode.WORKER_DIED),
    ],
)
def test_what_weighs_more_than_a_shortfall(options: dict[str, object], code: ExitCode) -> None:
    verdict = verdict_of(PLAIN, MISSING, **options)  # type: ignore[arg-type]
    assert verdict.exit_code == code
    assert "half of it was missing" in verdict.reasons


def test_a_threshold_that_failed_weighs_more_than_a_shortfall() -> None:
    failed = ThresholdResult("notify.lost == 0", Status.FAILED, figure=1.0, shown="was 1")
    passed = ThresholdResult("notify.lost == 1", Status.PASSED, figure=1.0, shown="was 1")
    assert verdict_of(PLAIN, MISSING, failed).exit_code == ExitCode.THRESHOLD_FAILED
    assert verdict_of(PLAIN, MISSING, passed).exit_code == ExitCode.INCONCLUSIVE


@pytest.mark.parametrize(
    ("counters", "words"),
    [
        ({"sessions.failed": 1}, "sessions failed: 1"),
        ({"sessions.lost": 1}, "sessions lost: 1"),
        ({"notify.dropped": 3}, "notifications dropped: 3"),
        ({"notify.lost": 3}, "notifications lost: 3"),
        ({"requests.sent": 1000, "requests.dropped": 1}, "requests dropped: 1"),
        ({"requests.sent": 1000, "requests.refused": 2}, "requests refused: 2"),
        ({"requests.sent": 1000, "requests.timed_out": 2}, "requests not answered: 2"),
        ({"requests.sent": 1000, "requests.abandoned": 2}, "requests not answered when their session ended: 2"),
    ],
)
def test_that_everything_was_done_is_never_said_when_something_was_not(counters: dict[str, int], words: str) -> None:
    assert verdict_of(PLAIN).limit_reason == ALL_DONE
    verdict = verdict_of(PLAIN | counters)
    assert (verdict.exit_code, verdict.limited_by) == (ExitCode.PASSED, Limit.SCENARIO)
    assert verdict.limit_reason == f"it asked for no more; of that, not done: {words}"
    assert words in verdict.reasons


@pytest.mark.parametrize(
    ("counters", "reason"),
    [
        ({"requests.due": 100, "requests.dropped": 2}, "it did not take 2 of 100 that were due"),
        ({"requests.sent": 100, "requests.timed_out": 2}, "requests not answered: 2 of 100"),
        ({"requests.sent": 100, "requests.abandoned": 2}, "requests not answered when their session ended: 2 of 100"),
        ({"requests.sent": 100, "requests.withdrawn": 2}, "requests that we did not wait for: 2 of 100"),
    ],
)
def test_a_target_that_does_not_answer_is_the_limit(counters: dict[str, int], reason: str) -> None:
    verdict = verdict_of(PLAIN | counters)
    assert verdict.limited_by is Limit.TARGET
    assert verdict.limit_reason.startswith(reason)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("notify.duplicated", "notifications that had come before: 3"),
        ("notify.reordered", "notifications that came after later ones: 3"),
        ("messages.unsupported", "messages with an id that the profile does not know: 3"),
    ],
)
def test_what_came_otherwise_than_it_is_to_come_has_a_line_however_little_it_is(name: str, words: str) -> None:
    verdict = verdict_of(PLAIN | {name: 3})
    assert verdict.exit_code == ExitCode.PASSED
    assert verdict.reasons == (words,)


def test_what_may_have_been_under_way_when_we_left_has_a_line_if_it_is_much() -> None:
    theirs = PLAIN | {"notify.received": 1000}
    assert verdict_of(theirs | {"notify.withdrawn": 10}).reasons == ()
    much = verdict_of(theirs | {"notify.withdrawn": 11})
    assert much.exit_code == ExitCode.PASSED
    assert much.reasons == ("notifications missing when we left, and perhaps under way: 11, beside 1,000 that came",)


def test_what_is_lost_is_a_share_of_what_came_once() -> None:
    """Over the tolerance it is the limit; of as many as came in all, it is not."""
    theirs = {"sessions.attempted": 1, "sessions.established": 1, "notify.lost": 7}
    doubled = verdict_of(theirs | DOUBLED)
    assert (doubled.limited_by, doubled.limit_reason) == (Limit.TARGET, "notifications lost: 7")
    assert verdict_of(theirs | {"notify.received": 692}).limited_by is Limit.TARGET
    assert verdict_of(theirs | {"notify.received": 693}).limited_by is Limit.SCENARIO  # 7 of 700
    assert verdict_of(theirs | {"notify.received": 1098}).limited_by is Limit.SCENARIO


def test_a_backlog_is_named_beside_what_came_oddly() -> None:
    pace = Pace("hold", "notifications/s", 100.0, 50.0)
    found = shortfalls(Asked(), 0, DOUBLED, [], [pace])
    assert [("backlog" in each.what, "before" in each.what) for each in found] == [(False, True), (True, False)]


NOBODY = {"sessions.attempted": 0, "sessions.established": 0}
# What our own worker's death, or our own end, looks like at the other side.
CUT_OFF = {"errors.stream.closed_without_notify": 3, "sessions.lost": 3}


@pytest.mark.parametrize(
    ("counters", "options", "limit", "reason"),
    [
        (PLAIN | CUT_OFF, {}, Limit.TARGET, "errors.stream.closed_without_notify: 3"),
        (PLAIN | CUT_OFF, {"deaths": ("worker wlc-0 died",)}, Limit.WORKER, "worker wlc-0 died"),
        (PLAIN | CUT_OFF, {"interrupted": True}, Limit.INTERRUPTION, "it was ended from outside"),
        (PLAIN, {"interrupted": True}, Limit.INTERRUPTION, "it was ended from outside"),
        (NOBODY, {"interrupted": True}, Limit.INTERRUPTION, "it was ended from outside"),
        (PLAIN, {"deaths": ("one", "two"), "interrupted": True}, Limit.WORKER, "one"),
        (NOBODY, {}, Limit.NOBODY, "nobody came"),
        (NOBODY | {"notify.due": 9, "notify.dropped": 9}, {}, Limit.NOBODY, "nobody came"),
        (NOBODY | {"sessions.attempted": 2}, {}, Limit.NOBODY, "no session came up, and no error tells why"),
        (NOBODY | {"sessions.attempted": 2, "errors.tcp.refused": 2}, {}, Limit.TARGET, "errors.tcp.refused: 2"),
        (NOBODY | {"sessions.attempted": 2, "errors.tcp.timeout": 2}, {}, Limit.NETWORK, "errors.tcp.timeout: 2"),
        ({"handshakes.attempted": 0, "handshakes.completed": 0}, {}, Limit.NOBODY, "nobody came"),
        (PLAIN, {"aborted": "x < 1 (was 2)"}, Limit.SCENARIO, "it gives up early: x < 1 (was 2)"),
    ],
)
def test_an_end_of_our_own_is_not_the_targets(
    counters: dict[str, int], options: dict[str, object], limit: Limit, reason: str
) -> None:
    verdict = verdict_of(counters, **options)  # type: ignore[arg-type]
    assert (verdict.limited_by, verdict.limit_reason) == (limit, reason)


@pytest.mark.parametrize(
    ("attempted", "unfinished", "asked", "resumed", "grave"),
    [
        (60, {}, 40, 40, None),
        (60, {"handshakes.withdrawn": 1}, 40, 39, None),  # the run's end cut it off
        (1000, {"handshakes.failed": 9}, 500, 495, None),
        (60, {}, 40, 39, True),
        (1000, {}, 500, 495, False),
        (1000, {"handshakes.failed": 9}, 50, 41, True),  # hardly any of them can have been one of these
    ],
)
def test_a_handshake_that_was_not_completed_is_no_other_mix(
    attempted: int, unfinished: dict[str, int], asked: int, resumed: int, grave: bool | None
) -> None:
    counters = {"handshakes.attempted": attempted, "handshakes.resumption_asked": asked, "handshakes.resumed": resumed}
    found = shortfalls(Asked(0, 10.0), 10.0, counters | unfinished, ())
    assert [short.grave for short in found] == ([] if grave is None else [grave])


@pytest.mark.parametrize(
    ("done", "judged", "grave"),
    [(10.0, (), [True]), (19.1, (), [False]), (19.9, (), []), (10.0, ("handshake.completed_per_s",), [False])],
)
def test_what_is_done_in_the_end_but_not_as_it_became_due_is_told(
    done: float, judged: tuple[str, ...], grave: list[bool]
) -> None:
    pace = Pace("hold", "handshakes/s", 20.0, done)
    counters = {"handshakes.due": 80, "handshakes.attempted": 80}
    found = shortfalls(Asked(judged=judged), 0, counters, [], [pace])
    assert [each.grave for each in found] == grave
    assert all("of 20 handshakes/s in hold" in each.what for each in found)
    # What was dropped is the same, and told by then.
    dropped = counters | {"handshakes.attempted": 40, "handshakes.dropped": 40}
    assert ["dropped" in each.what for each in shortfalls(Asked(), 0, dropped, [], [pace])] == [True]


SENT = PLAIN | {"notify.sent_bytes": 100_000, "notify.unacknowledged_before_bytes": 0}
REQUESTS = PLAIN | {"requests.sent": 200}


@pytest.mark.parametrize(
    ("counters", "what"),
    [
        (SENT | {"notify.untaken_bytes": 1_000}, ""),
        (
            SENT | {"notify.untaken_bytes": 1_001},
            "1,001 of 100,000 bytes of notifications were not taken yet when their links ended",
        ),
        (PLAIN | {"notify.unconfirmed": 10}, ""),
        (
            PLAIN | {"notify.unconfirmed": 11},
            "11 of 1,000 notifications were sent in sessions that their MSEs did not end in order behind our goodbye: "
            "nobody says that they were read",
        ),
        (SENT | {"notify.unacknowledged_bytes": 10_000}, ""),  # under way: the last second
        (
            SENT | {"notify.unacknowledged_bytes": 12_000},
            "were not taken yet when the load was over: what 1.2 s of it sent",
        ),
        (SENT | {"notify.unacknowledged_bytes": 12_000, "notify.unacknowledged_before_bytes": 2_000}, ""),
        (PLAIN | {"notify.sent_bytes": 100_000, "notify.unacknowledged_bytes": 50_000}, ""),  # ours: latencies tell
        (REQUESTS | {"requests.abandoned": 2}, ""),
        (REQUESTS | {"requests.withdrawn": 3}, "3 of 200 requests were not answered"),
        (REQUESTS | {"requests.abandoned": 3}, "3 of 200 requests were not answered"),
        (REQUESTS | {"requests.abandoned": 2, "requests.timed_out": 1}, "3 of 200 requests were not answered"),
        (REQUESTS | {"requests.abandoned": 5, "sessions.lost": 2, "sessions.left_early": 1}, ""),  # one each, under way
    ],
)
def test_what_was_sent_and_not_taken_is_not_passed(counters: dict[str, int], what: str) -> None:
    found = shortfalls(Asked(), 10.0, counters, ())
    assert [each.grave for each in found] == [True] * bool(what)
    assert all(what in each.what for each in found)
    assert verdict_of(counters, found).exit_code == (ExitCode.INCONCLUSIVE if what else ExitCode.PASSED)


def test_sessions_beyond_those_that_were_asked_for_are_said_and_are_no_reason_not_to_pass() -> None:
    """One more at a WLC of four is owed as much as each of those: 25 % more than the scenario's load."""
    absences = [
        Absence(2, 10.0),
        Absence(2, 10.0, beyond=6, beyond_places=5, beyond_named=("WLC a", "WLC b", "WLC c", "WLC d")),
    ]
    (found,) = shortfalls(Asked(4, 10.0), 10.0, PLAIN, absences)
    told = "6 more than the 4 sessions that were asked for were there in the load"
    assert (found.what, found.grave, found.who) == (told, False, "WLC a; WLC b; WLC c; WLC d; and 1 more")
    verdict = verdict_of(PLAIN, (found,))
    assert verdict.reasons == (found.reason,)
    assert (verdict.exit_code, verdict.limited_by) == (ExitCode.PASSED, Limit.SCENARIO)
    assert verdict.limit_reason == f"{ALL_DONE}; and more: {told}"
    # What was not done is told as that.
    lost = PLAIN | {"sessions.lost": 1}
    assert verdict_of(lost, (found,)).limit_reason == "it asked for no more; of that, not done: sessions lost: 1"


ANSWERED = {"requests.due": 60, "requests.sent": 60}
UNASKED = {"echo.due": 44, "echo.sent": 28}


@pytest.mark.parametrize(
    ("judged", "counters", "what"),
    [
        (["requests.timed_out"], ANSWERED | {"requests.timed_out": 24}, ""),
        (["requests.timed_out"], ANSWERED | {"requests.abandoned": 24}, "24 of 60 requests were not answered"),
        (["requests.abandoned"], ANSWERED | {"requests.timed_out": 20}, "20 of 60 requests were not answered"),
        (
            ["requests.abandoned", "requests.timed_out"],
            ANSWERED | {"requests.withdrawn": 3, "requests.timed_out": 20, "requests.abandoned": 4},
            "3 of 60 requests were not answered, beside requests.timed_out 20 and requests.abandoned 4, "
            "which a threshold is about",
        ),
        (
            ["requests.withdrawn"],
            ANSWERED | {"requests.withdrawn": 3, "requests.timed_out": 20, "requests.abandoned": 4},
            "24 of 60 requests were not answered, beside requests.withdrawn 3, which a threshold is about",
        ),
        (["requests.timed_out"], ANSWERED | {"sessions.lost": 2, "requests.abandoned": 2}, ""),  # were under way
        (["requests.timed_out"], ANSWERED | {"sessions.lost": 1, "requests.abandoned": 2}, "2 of 60 requests were"),
        (["echo.unanswered"], UNASKED | {"echo.unanswered": 6}, ""),
        (
            ["echo.unanswered"],
            UNASKED | {"echo.dropped": 16, "echo.unanswered": 6},
            "16 of 44 echoes were not answered, 16 of them not asked, beside echo.unanswered 6, "
            "which a threshold is about",
        ),
        (
            ["echo.dropped"],
            UNASKED | {"echo.dropped": 16, "echo.unanswered": 6},
            "6 of 44 echoes were not answered, beside echo.dropped 16, which a threshold is about",
        ),
        (["echo.dropped", "echo.unanswered"], UNASKED | {"echo.dropped": 16, "echo.unanswered": 6}, ""),
    ],
)
def test_a_threshold_on_one_part_of_a_sum_says_nothing_of_the_others(
    judged: list[str], counters: dict[str, int], what: str
) -> None:
    found = shortfalls(Asked(judged=judged), 10.0, counters, ())
    assert [each.what.startswith(what) and each.grave for each in found] == ([True] if what else [])
    if "beside" in what:
        assert found[0].what == what


@pytest.mark.parametrize(
    ("declined", "unsubscribing", "limit"),
    [(983, False, Limit.TARGET), (2, False, Limit.SCENARIO), (983, True, None), (0, False, None)],
)
def test_what_mses_have_unsubscribed_from_is_told(declined: int, unsubscribing: bool, limit: Limit | None) -> None:
    """It is not due, and so is no reason not to pass; but a few a second are not the rate that was asked for."""
    counters = PLAIN | {"notify.due": 1000, "notify.declined": declined}
    found = shortfalls(Asked(unsubscribing=unsubscribing), 0, counters, [])
    verdict = verdict_of(counters, found)
    assert verdict.exit_code == ExitCode.PASSED
    if limit is None:
        assert (found, verdict.limit_reason) == ((), ALL_DONE)
    else:
        told = f"{declined:,} of {1000 + declined:,} notifications were not due, because their MSEs had unsubscribed"
        assert verdict.reasons == (told,)
        assert verdict.limited_by is limit
        assert told in verdict.limit_reason


@pytest.mark.parametrize(("dropped", "told"), [(9, True), (600, False)])
def test_what_was_dropped_is_no_backlog_that_grew(dropped: int, told: bool) -> None:
    """An MSE that has left is owed a lot, and nothing of it was late; how much of it may be a threshold says."""
    counters = PLAIN | {"notify.due": 1000, "notify.sent": 1000 - dropped, "notify.dropped": dropped}
    pace = Pace("hold", "notifications/s", 200.0, 80.0)
    found = shortfalls(Asked(judged={"notify.dropped"}), 0, counters, [], [pace])
    assert [shortfall.what for shortfall in found] == (
        ["80 of 200 notifications/s in hold: a backlog grew"] if told else []
    )


@pytest.mark.parametrize(("kinds", "rest"), [(4, ""), (5, ", and 1 of another kind"), (8, ", and 10 of 4 other kinds")])
def test_errors_that_are_not_named_are_counted(kinds: int, rest: str) -> None:
    errors = {f"errors.serve.kind_{number}": kinds - number for number in range(kinds)}
    (reason,) = verdict_of(PLAIN | errors).reasons
    named = ", ".join(f"errors.serve.kind_{number} {kinds - number}" for number in range(4))
    assert reason == f"errors: {named}{rest}"


LOST = ThresholdResult("sessions.lost == 0", Status.FAILED, figure=100.0, shown="was 100")
HELD = ThresholdResult("sessions.lost == 100", Status.PASSED, figure=100.0, shown="was 100")


@pytest.mark.parametrize(
    "counters", [{"sessions.lost": 100}, {"notify.sent": 0}, {"notify.sent": 0, "sessions.lost": 100}]
)
@pytest.mark.parametrize(
    ("threshold", "aborted", "code"),
    [
        (LOST, "", ExitCode.THRESHOLD_FAILED),
        (LOST, "sessions.lost == 0 (was 100)", ExitCode.THRESHOLD_FAILED),
        (HELD, "", ExitCode.INCONCLUSIVE),
    ],
)
def test_a_threshold_that_failed_weighs_more_than_that_nobody_was_left(
    counters: dict[str, int], threshold: ThresholdResult, aborted: str, code: ExitCode
) -> None:
    assert verdict_of(PLAIN | counters, (), threshold, aborted=aborted).exit_code == code


def test_of_sessions_in_several_workers_each_weighs_the_same() -> None:
    """Where somebody else's schedule began with a session of one worker, that one's time is shorter."""
    absences = (Absence(1, 6.0), Absence(2, 10.0, 20.0, 2, ("b", "c")))
    (found,) = shortfalls(Asked(sessions=3), 10.0, PLAIN, absences)
    assert found.what == "sessions were missing for 67% of the load, 2 of 3 at its end"


@pytest.mark.parametrize("unsubscribing", [False, True])
def test_a_subservice_that_fell_silent_is_named_and_limits_the_run(unsubscribing: bool) -> None:
    """Unless the scenario's own MSEs may have unsubscribed from it. How much there was to tell, nobody knows here."""
    absences = [Absence(2, 10.0, services=(RFID,), services_on=("rssi_ms",)), Absence(2, 10.0)]
    asked = Asked(sessions=4, load_s=10.0, unsubscribing=unsubscribing)
    found = shortfalls(asked, 10.0, {"sessions.established": 4}, absences)
    assert [each.reason for each in found] == ([] if unsubscribing else [f"{FELL_SILENT}: {RFID.what}"])
    assert all(each.theirs and not each.grave for each in found)


RFID, SHORTER = FellSilent("rssi_rfid", 5.9, 0.1), FellSilent("rssi_rfid", 5.8, 0.2)
FELL_SILENT = "subservices fell silent before the end of the load, while others went on"


@pytest.mark.parametrize(
    ("of_workers", "named"),
    [
        # Silent in the sessions of one worker, to the end in those of another.
        ([((RFID,), ("rssi_ms",)), ((), ("rssi_ms", "rssi_rfid"))], ()),
        # In those of both: named once, and since when none of it came at all.
        ([((RFID,), ("rssi_ms",)), ((SHORTER,), ("rssi_ms",))], (SHORTER,)),
        ([((RFID,), ("rssi_ms",)), ((), ("rssi_ms",))], (RFID,)),  # of which another never had any
        # One worker's sessions fell silent altogether; the other one's went on.
        ([((RFID, FellSilent("rssi_ms", 3.0, 0.1)), ()), ((SHORTER,), ("rssi_ms",))], (SHORTER,)),
        ([((RFID, FellSilent("rssi_ms", 3.0, 0.1)), ()), ((), ("rssi_ms", "rssi_rfid"))], ()),
        ([((RFID, FellSilent("rssi_ms", 3.0, 0.1)), ())], ()),  # that is said of the sessions
    ],
)
def test_a_subservice_is_silent_only_if_no_worker_had_any_of_it(
    of_workers: list[tuple[tuple[FellSilent, ...], tuple[str, ...]]], named: tuple[FellSilent, ...]
) -> None:
    absences = [Absence(1, 10.0, services=silent, services_on=on) for silent, on in of_workers]
    found = shortfalls(Asked(sessions=len(absences)), 10.0, {}, absences)
    assert [each.who for each in found if each.what == FELL_SILENT] == [each.what for each in named]
