"""Which sessions were there while a load was on, with time in the test's hands, and what a verdict makes of it."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from loadgen.drive.presence import Presence, presence_of_visitors
from loadgen.errors import ExitCode
from loadgen.measure.merge import Merger
from loadgen.measure.recorder import Recorder
from loadgen.results.asked import Absence, Asked, FellSilent, shortfalls
from loadgen.results.health import MachineHealth
from loadgen.results.outcome import make_result
from loadgen.results.record import Load, RunRecord
from loadgen.results.result import Limit, RunResult
from loadgen.results.timeline import TimelineBuilder
from loadgen.scenario.plan import Plan, Use, make_plan
from loadgen.scenario.reading import scenario_untrusted
from loadgen.session.lulls import Lull
from loadgen.units import NS_PER_S

START = 1000 * NS_PER_S


def at(seconds: float) -> int:
    """ns, so long after the start of the load."""
    return START + int(seconds * NS_PER_S)


def presence(*wanted: int, ours_to_time: bool = True) -> Presence:
    return Presence(wanted or (1,), lambda place: f"WLC {place}", ours_to_time=ours_to_time)


def began(of: Presence, length_s: float = 10.0) -> Presence:
    of.begin(START, int(length_s * NS_PER_S))
    return of


def test_who_is_there_all_the_time_is_not_missing() -> None:
    of = presence(2, 1)
    for place in (0, 0, 1):
        of.came(place, at(-1))
    began(of)
    for place in (0, 0, 1):
        of.went(place, at(10.0), "told to")
    assert of.absence() == Absence(3, 10.0)


@pytest.mark.parametrize(
    ("events", "away_s", "missing", "named"),
    [
        ([], 10.0, 1, "WLC 0: no session came up"),
        ([("came", 4.0)], 4.0, 0, "WLC 0: missing for 4.0 s"),
        ([("came", -1.0), ("went", 4.0)], 6.0, 1, "WLC 0: MSE x left after 4.0 s"),
        ([("came", -2.0), ("went", -1.0)], 10.0, 1, "WLC 0: MSE x left after 0.0 s"),
        ([("came", -1.0), ("went", 4.0), ("came", 6.5)], 2.5, 0, "WLC 0: missing for 2.5 s"),
        ([("came", -1.0), ("went", 9.0), ("came", 11.0), ("went", 12.0)], 1.0, 1, "WLC 0: MSE x left after 9.0 s"),
        ([("came", 11.0), ("went", 12.0)], 10.0, 1, "WLC 0: missing for 10.0 s"),
    ],
)
def test_who_is_away_for_a_while_or_never_comes(
    events: list[tuple[str, float]], away_s: float, missing: int, named: str
) -> None:
    of, begun = presence(), False
    for what, when in events:
        if when >= 0 and not begun:
            began(of)
            begun = True
        if what == "came":
            of.came(0, at(when))
        else:
            of.went(0, at(when), "MSE x left")
    if not begun:
        began(of)
    assert of.absence() == Absence(1, 10.0, away_s, missing, (named,))


def test_another_visitor_does_not_make_up_for_one_that_is_missing() -> None:
    """Two at the first WLC are one too many, and none at the second is one too few."""
    of = presence(1, 1)
    of.came(0, at(-1))
    of.came(0, at(-1))
    began(of)
    of.went(0, at(5), "one too many")
    assert of.absence() == Absence(
        *(2, 10.0, 10.0, 1, ("WLC 1: no session came up",)),
        beyond=1,
        beyond_places=1,
        beyond_named=("WLC 0: 2 at once where 1 were asked for",),
    )


def test_who_comes_beside_those_that_were_asked_for_is_named_with_the_most_at_once() -> None:
    """Those that come in the place of others are none of them, nor is who comes when the load is over."""
    of = began(presence(1, 2, *[1] * 5))
    for place in (0, 1, 1, 2):
        of.came(place, at(0))
    for again in range(1, 4):
        of.went(2, at(again), "left")
        of.came(2, at(again))
    for place in (0, 1, 1, 1, 3, 3, 4, 4, 5, 5):
        of.came(place, at(5))
    for place in (1, 1):
        of.went(place, at(6), "left")
    of.came(1, at(7))
    for _ in range(2):
        of.came(6, at(11))
    found = of.absence()
    assert (found.beyond, found.beyond_places) == (1 + 3 + 3, 5)
    assert found.beyond_named[:2] == (
        "WLC 1: 5 at once where 2 were asked for",
        "WLC 0: 2 at once where 1 were asked for",
    )
    assert len(found.beyond_named) == 4
    # Who is still there when the next load begins is in that, too.
    of.begin(at(20), 10 * NS_PER_S)
    assert of.absence().beyond == 1 + 2 + 3 + 1


def test_the_time_of_several_sessions_is_said_to_be_a_sum() -> None:
    """Of three, two never come: 20 s of a load of 10 s."""
    of = presence(3)
    of.came(0, at(-1))
    began(of)
    assert of.absence().named == ("WLC 0: of 3 sessions, missing for 20.0 s, added up over them",)


def test_those_that_were_away_longest_are_named() -> None:
    of = began(presence(*[1] * 9))
    for place in range(9):
        of.came(place, at(place / 2))
    found = of.absence()
    assert found.named == tuple(f"WLC {place}: missing for {place / 2:.1f} s" for place in (8, 7, 6, 5))
    assert (found.others, found.missing, found.away_s) == (4, 0, 18.0)


def test_whoever_keeps_the_schedule_may_begin_with_the_first_session() -> None:
    """Three seconds before our load, and so it may be over three seconds earlier."""
    of = presence(1, 1, ours_to_time=False)
    of.came(0, at(-3))
    of.came(1, at(-1))
    began(of)
    of.went(0, at(7), "it left")
    of.went(1, at(6), "it left")
    assert of.absence() == Absence(2, 7.0, 1.0, 1, ("WLC 1: it left after 6.0 s",), before_s=3.0)


def test_but_not_by_more_than_half_of_the_load() -> None:
    of = presence(1, ours_to_time=False)
    of.came(0, at(-30))
    began(of)
    of.went(0, at(1), "it left")
    assert of.absence() == Absence(1, 5.0, 4.0, 1, ("WLC 0: it left after 1.0 s",), before_s=5.0)


def dialing(seconds: float, *wanted: int) -> Presence:
    """Others dial for so long once our load has begun."""
    dialing_ns = int(seconds * NS_PER_S)
    return Presence(wanted or (1,), lambda place: f"WLC {place}", ours_to_time=True, dialing_ns=dialing_ns)


def test_those_that_are_still_dialing_when_the_first_has_come_are_not_missing_yet() -> None:
    of = dialing(4, 1, 1, 1)
    of.came(0, at(-0.2))
    began(of)
    of.came(1, at(4))
    assert of.absence() == Absence(3, 6.0, 6.0, 1, ("WLC 2: no session came up",), dialing_s=8.0)
    of.came(2, at(5))
    assert of.absence() == Absence(3, 6.0, 1.0, 0, ("WLC 2: missing for 1.0 s",), dialing_s=8.0)


def test_but_for_half_of_the_load_all_are_to_be_there() -> None:
    assert began(dialing(60)).absence() == Absence(1, 5.0, 5.0, 1, ("WLC 0: no session came up",), dialing_s=5.0)


def test_only_who_has_never_come_may_still_be_dialing() -> None:
    """Of a place for two, one was there when the load began, left, and came back while the other was waited for."""
    of = dialing(4, 2)
    of.came(0, at(-0.2))
    began(of)
    of.went(0, at(0.5), "it left")
    of.came(0, at(2))
    assert of.absence().dialing_s == 4
    of.came(0, at(3))
    assert of.absence().dialing_s == 3
    of.went(0, at(3.2), "it left")
    of.came(0, at(3.8))
    assert of.absence().dialing_s == 3
    of.begin(at(20), 10 * NS_PER_S)
    assert of.absence().dialing_s == 0


def test_when_a_second_load_begins_nobody_is_dialing() -> None:
    of = began(dialing(4))
    of.begin(at(20), 10 * NS_PER_S)
    assert of.absence() == Absence(1, 10.0, 10.0, 1, ("WLC 0: no session came up",))


def test_a_thousand_that_dial_at_the_pace_of_the_plan_are_all_there() -> None:
    """As the other side of `loadgen run ... --serve mse` does; the load begins 0.22 s after the first."""
    plan = plan_of(Use.SERVE_WLC, wlcs=1000)
    with socket.socket() as listener:
        of = presence_of_visitors(plan, range(1000), [listener] * 1000)
    assert of is not None
    begun = False
    for number in range(1000):
        come_ns = at(number / plan.mse.connect_per_s - 0.22)
        if come_ns >= START and not begun:
            began(of)
            begun = True
        of.came(number, come_ns)
    absence = of.absence()
    assert (absence.sessions, absence.load_s, absence.away_s, absence.missing) == (1000, 6.0, 0.0, 0)
    assert absence.dialing_s == pytest.approx(945 * 3.776 / 2, rel=0.001)


def test_a_second_load_begins_anew() -> None:
    of = began(presence())
    of.came(0, at(3))
    of.begin(at(20), 10 * NS_PER_S)
    of.went(0, at(28), "it left")
    assert of.absence() == Absence(1, 10.0, 2.0, 1, ("WLC 0: it left after 8.0 s",))


# -- what a verdict makes of it ----------------------------------------------------------------------------------------


def plan_of(use: Use, wlcs: int = 2, **load: Any) -> Plan:
    """A session with each WLC, 10 s at 100/s."""
    targets = [("192.0.2.7", 1), ("192.0.2.8", 1)] if use is Use.TARGET_WLC else []
    data = {
        "name": "asked",
        "wlc": {"count": wlcs, "authenticate": False},
        "load": {"rate": 100, "stages": [{"hold": "10s"}]} | load,
    }
    data["load"] = {name: value for name, value in data["load"].items() if value is not None}
    scenario, profile = scenario_untrusted(data, Path("asked.toml"))
    return make_plan(scenario, profile, use=use, targets=targets)


def result_of(
    plan: Plan, counters: dict[str, int], absence: Absence | None = None, length_s: float = 10.0, **changes: Any
) -> RunResult:
    """Of a run without anything else to say."""
    load = Load(plan.load.stages, Counter())
    load.start_ns, load.end_ns = START, at(length_s)
    merger, recorder = Merger(), Recorder()
    recorder.counters.update(counters)
    if counters.get("handshakes.completed"):  # the last of them just before the end
        recorder.stages.add(["hold"], [START])
        recorder.wait("handshake", "hold", at(length_s) - 1, 1)
    merger.add("one", recorder.take(0))
    fields: dict[str, Any] = {
        "merger": merger,
        "timeline": TimelineBuilder(NS_PER_S),
        "loads": (load,),
        "health": (),
        "deaths": (),
        "complete": True,
        "over": False,
        "interrupted": False,
        "aborted": "",
        "prepared": True,
        "epoch_ns": START,
        "absences": () if absence is None else (absence,),
    }
    return make_result(plan, RunRecord(**fields | changes), (), datetime.now(UTC))


UP = {"sessions.attempted": 2, "sessions.established": 2}
THERE = Absence(2, 10.0)
HALF = Absence(2, 10.0, 10.0, 2, ("WLC 0: it left after 5.0 s", "WLC 1: it left after 5.0 s"))
ONE = Absence(2, 10.0, 10.0, 1, ("WLC 1: no session came up",))
NOTIFY: dict[str, Any] = {}
SITE = {"kind": "site", "rate": None}
SHAKING = {"kind": "handshake"}
FAST = {"kind": "handshake", "rate": None}


def sent(count: int) -> dict[str, int]:
    """1,000 are what the plan has for both: each WLC has every second slot, and tells one MSE."""
    return UP | {"notify.due": count, "notify.sent": count, "notify.received": count}


def shaken(attempted: int, failed: int = 0) -> dict[str, int]:
    counts = {"attempted": attempted, "completed": attempted - failed, "failed": failed}
    return {f"handshakes.{name}": count for name, count in counts.items()}


@pytest.mark.parametrize("use", list(Use))
@pytest.mark.parametrize(
    ("load", "counters", "absence", "length_s", "short"),
    [
        (NOTIFY, sent(1000), THERE, 10.0, ""),
        (NOTIFY, sent(1000), HALF, 10.0, "sessions were missing for 50% of the load, 2 of 2 at its end"),
        (NOTIFY, sent(1000), ONE, 10.0, "WLC 1: no session came up"),
        (SITE, sent(1000), THERE, 10.0, ""),
        (SITE, sent(1000), HALF, 10.0, "sessions were missing for 50% of the load"),
        (NOTIFY, sent(1000), THERE, 5.0, "the load ended after 5.0 of 10.0 s"),
        (SITE, sent(1000), THERE, 5.0, "the load ended after 5.0 of 10.0 s"),
        (SHAKING, shaken(1000), None, 10.0, ""),
        (SHAKING, shaken(1000), None, 5.0, "the load ended after 5.0 of 10.0 s"),
        (SHAKING, shaken(1000, failed=20), None, 10.0, "20 of 1,000 handshakes were not completed"),
        (FAST, shaken(3000), None, 10.0, ""),
        (FAST, shaken(3000), None, 9.0, "the load ended after 9.0 of 10.0 s"),
        (FAST, shaken(3000, failed=31), None, 10.0, "31 of 3,000 handshakes were not completed"),
    ],
)
def test_every_use_and_kind(
    use: Use, load: dict[str, Any], counters: dict[str, int], absence: Absence | None, length_s: float, short: str
) -> None:
    if "handshakes.attempted" in counters and use.plays_mse:
        counters = counters | {"handshakes.due": counters["handshakes.attempted"]}
    verdict = result_of(plan_of(use, **load), counters, absence, length_s).verdict
    if not short:
        assert (verdict.exit_code, verdict.reasons) == (ExitCode.PASSED, ())
        assert verdict.limit_reason.startswith("everything that ")
        # What was due nobody has told us where the schedule is not ours, and the rate of the scenario is no promise.
        theirs = use is Use.SERVE_WLC if "handshakes.completed" in counters else not use.plays_wlc
        assert verdict.limit_reason.endswith(" to say") == theirs
        return
    assert (verdict.exit_code, verdict.outcome) == (ExitCode.INCONCLUSIVE, "inconclusive")
    assert any(short in reason for reason in verdict.reasons)
    assert "everything" not in verdict.limit_reason


def test_an_mse_that_unsubscribes_is_asked_for_less() -> None:
    """Of 1,000 that the schedule has: its session was there, and it did not want the others."""
    verdict = result_of(plan_of(Use.BOTH), sent(890), THERE).verdict
    assert (verdict.exit_code, verdict.reasons) == (ExitCode.PASSED, ())


def test_whoever_keeps_the_schedule_may_end_it_as_much_earlier_as_it_may_have_begun() -> None:
    there = Absence(2, 9.5, before_s=0.5)
    for length_s, code in ((9.45, ExitCode.PASSED), (9.3, ExitCode.INCONCLUSIVE)):
        verdict = result_of(plan_of(Use.TARGET_WLC), sent(1000), there, length_s).verdict
        assert verdict.exit_code == code


@pytest.mark.parametrize(
    ("cut", "code"),
    [
        ({"interrupted": True}, ExitCode.INTERRUPTED),
        ({"aborted": "x < 1 (was 2)"}, ExitCode.THRESHOLD_FAILED),
        ({"deaths": ("one died",), "complete": False}, ExitCode.WORKER_DIED),
    ],
)
def test_a_run_that_was_cut_off_is_not_charged_with_the_rest(cut: dict[str, Any], code: ExitCode) -> None:
    verdict = result_of(plan_of(Use.BOTH), sent(100), HALF, 1.0, **cut).verdict
    assert verdict.exit_code == code
    assert not any("missing" in reason or "ended after" in reason for reason in verdict.reasons)


def test_users_are_counted_by_whoever_leads_them() -> None:
    plan = msgspec.structs.replace(plan_of(Use.BOTH), sessions_per_user=1)
    assert result_of(plan, sent(100), None, 3.0).verdict.exit_code == ExitCode.PASSED


def test_what_others_on_this_machine_send_again_is_not_our_network() -> None:
    """6.8 % of all its segments, and none of ours."""
    load = Load(plan_of(Use.BOTH).load.stages, Counter())
    load.start_ns, load.end_ns, load.machine = START, at(10), MachineHealth(retransmitted=0.068)
    ours = {"tcp.segments_sent": 1000, "tcp.segments_retransmitted": 0}
    result = result_of(plan_of(Use.BOTH), sent(1000) | ours, THERE, loads=(load,))
    assert result.machine.retransmitted == 0.068
    assert (result.verdict.limited_by, result.verdict.exit_code) == (Limit.SCENARIO, ExitCode.PASSED)
    lossy = result_of(plan_of(Use.BOTH), sent(1000) | ours | {"tcp.segments_retransmitted": 68}, THERE)
    assert lossy.verdict.limited_by is Limit.NETWORK


def listened(of: Presence, *looks: tuple[float, list[int]], also: dict[int, int] | None = None) -> Absence:
    """Each look: when, and how many notifications each place had brought by then."""
    for seconds, counts in looks:
        of.listen(at(seconds), np.array(counts), also or {})
    return of.absence()


def four() -> Presence:
    of = presence(1, 1, 1, 1, ours_to_time=False)
    for place in range(4):
        of.came(place, at(-1))
    return of


def each_second(*brought: Callable[[int], int], seconds: int = 10) -> list[tuple[float, list[int]]]:
    return [(float(second), [of(second) for of in brought]) for second in range(1, seconds + 1)]


@pytest.mark.parametrize(
    ("brought", "named"),
    [
        ([lambda s: 50 * s] * 4, ()),
        ([lambda s: 50 * s] * 3 + [lambda _: 0], ("WLC 3: nothing",)),
        ([lambda s: 50 * s] * 3 + [lambda s: 50 * min(s, 4)], ("WLC 3: nothing after 4 s",)),
        ([lambda s: 50 * s] * 3 + [lambda s: 50 * min(s, 7)], ()),  # three times what it took before would be longer
        ([lambda s: 50 * s] * 3 + [lambda s: s // 3], ()),  # it says something every three seconds
        ([lambda s: 50 * s, lambda _: 7, lambda s: s // 4, lambda _: 0], ("WLC 1: nothing", "WLC 3: nothing")),
    ],
)
def test_a_session_that_brings_nothing_is_named(brought: list[Callable[[int], int]], named: tuple[str, ...]) -> None:
    of = four()
    of.listen(at(-0.5), np.array([of_each(0) for of_each in brought]), {})  # what came before counts for nothing
    began(of)
    absence = listened(of, *each_second(*brought))
    assert (absence.up, absence.mute, absence.mute_named) == (4, len(named), named)
    short = shortfalls(Asked(sessions=4), 10.0, {"sessions.established": 4}, [absence])
    said = f"{len(named)} of 4 sessions were up and brought no notification, or none any more"
    assert [(each.what, each.grave, each.theirs, each.who) for each in short] == (
        [(said, False, True, "; ".join(named))] if named else []
    )


def test_who_stayed_to_the_end_and_left_may_have_been_silent_before() -> None:
    """One leaves in the load, one when somebody else's schedule may be over, and one stays."""
    of = presence(1, 1, 1, ours_to_time=False)
    for place in range(3):
        of.came(place, at(0))
    began(of)
    of.went(0, at(9.8), "it left")
    of.went(1, at(9.95), "it left")
    assert of.stayed == {1}
    began(of)  # the next load
    assert of.stayed == set()


def test_who_surely_fell_silent_is_named_once() -> None:
    of = began(four())
    absence = listened(of, *each_second(lambda s: s, lambda s: s, lambda _: 0, lambda s: 50 * min(s, 2)))
    assert (absence.up, absence.mute, absence.silent) == (4, 2, 0)
    of.fell_silent(
        {3: Lull(8 * NS_PER_S, NS_PER_S // 10)}, {}, {"rssi_rfid": Lull(4 * NS_PER_S, NS_PER_S // 5)}, ("rssi_ms",)
    )
    absence = of.absence()
    assert (absence.up, absence.mute, absence.mute_named) == (4, 1, ("WLC 2: nothing",))
    assert (absence.silent, absence.silent_s) == (1, 8.0)
    assert absence.silent_named == (
        "WLC 3: nothing for the last 8.0 s of the load, its longest pause before was 0.1 s",
    )
    assert (absence.services, absence.services_on) == ((FellSilent("rssi_rfid", 4.0, 0.2),), ("rssi_ms",))
    assert absence.services[0].what == (
        "rssi_rfid: nothing for the last 4.0 s of the load, its longest pause before was 0.2 s"
    )
    of.fell_silent({}, {1: Lull(4 * NS_PER_S, NS_PER_S // 4)}, {}, ())
    absence = of.absence()
    assert (absence.silent, absence.mute) == (0, 3)
    assert absence.mute_named[0] == (
        "WLC 1: nothing for the last 4.0 s of the load, its longest pause before was 0.2 s"
    )
    began(of)  # the next load
    absence = of.absence()
    assert (absence.silent, absence.mute, absence.services, absence.services_on) == (0, 0, (), ())


@pytest.mark.parametrize(
    ("silent", "silent_s", "asked", "grave"),
    [
        (1, 2.0, Asked(4, 10.0), True),
        (4, 8.0, Asked(4, 10.0), True),  # all of them: the load is theirs, and it was not whole
        (1, 0.3, Asked(4, 10.0), False),  # less than is tolerated
        (1, 2.0, Asked(4, 10.0, judged=("notify.received_per_s",)), False),
    ],
)
def test_a_load_whose_end_did_not_come_is_not_passed(silent: int, silent_s: float, asked: Asked, grave: bool) -> None:
    absence = Absence(4, 10.0, up=4, silent=silent, silent_s=silent_s, silent_named=("WLC 1: nothing",))
    (found,) = shortfalls(asked, 10.0, {"sessions.established": 4}, [absence])
    assert found.what == f"WLCs fell silent before the end of the load in {silent} of 4 sessions"
    assert found.grave == grave
    assert found.who.startswith("WLC 1: nothing")


def test_a_stream_may_end_where_mses_unsubscribe() -> None:
    absence = Absence(4, 10.0, up=4, silent=1, silent_s=2.0, silent_named=("WLC 1: nothing",))
    assert shortfalls(Asked(4, 10.0, unsubscribing=True), 10.0, {"sessions.established": 4}, [absence]) == ()


def test_a_stall_to_the_end_is_what_limited_the_run() -> None:
    absence = Absence(2, 10.0, up=2, silent=2, silent_s=3.6, silent_named=("a", "b"))
    result = result_of(plan_of(Use.TARGET_WLC), {"notify.received": 640, "sessions.established": 2}, absence)
    assert (result.verdict.limited_by, result.verdict.exit_code) == (Limit.TARGET, ExitCode.INCONCLUSIVE)
    assert "WLCs fell silent before the end of the load in 2 of 2 sessions: a; b" in result.verdict.reasons


def test_what_comes_after_the_load_and_who_is_not_there_is_no_matter() -> None:
    of = began(four())
    of.went(1, at(5.0), "it left")
    of.came(1, at(8.0))  # for less than half of the load
    of.went(2, at(8.5), "it left")
    absence = listened(of, *each_second(lambda s: s, lambda _: 0, lambda _: 0, lambda _: 0), (11.0, [11, 0, 0, 9]))
    assert (absence.up, absence.mute, absence.mute_named) == (2, 1, ("WLC 3: nothing",))


def test_a_session_of_which_nothing_but_other_notifications_come_is_not_mute() -> None:
    of = began(four())
    for second in range(1, 11):
        absence = listened(of, (float(second), [second, 0, second, second]), also={1: second})
    assert (absence.up, absence.mute) == (4, 0)


def test_where_nobody_listens_nobody_is_mute() -> None:
    absence = began(four()).absence()
    assert (absence.up, absence.mute) == (0, 0)


def test_of_many_that_are_mute_a_few_are_named_and_where_all_are_there_is_another_line() -> None:
    named = tuple(f"a{number}" for number in range(4))
    parts = [Absence(50, 10.0, up=50, mute=6, mute_named=named), Absence(50, 10.0, up=50, mute=1, mute_named=("b",))]
    (found,) = shortfalls(Asked(100, 10.0), 10.0, {}, parts)
    assert found.reason.endswith("or none any more: a0; a1; a2; a3; and 3 more")
    assert shortfalls(Asked(50, 10.0), 10.0, {}, [Absence(50, 10.0, up=50, mute=50, mute_named=named)]) == ()
    assert shortfalls(Asked(100, 10.0, unsubscribing=True), 10.0, {}, parts) == ()
    (one,) = shortfalls(Asked(200, 10.0), 10.0, {}, [Absence(200, 10.0, up=200, mute=1, mute_named=("a",))])
    assert not one.theirs
