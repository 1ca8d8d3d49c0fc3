"""Who left before the end, in the eyes of a side whose peers keep their own schedule."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadgen.drive.presence import Presence
from loadgen.drive.term import Term
from loadgen.measure.recorder import Recorder
from loadgen.scenario.plan import Use, make_plan
from loadgen.scenario.reading import scenario_untrusted
from loadgen.units import NS_PER_S

START = 1000 * NS_PER_S


def at(seconds: float) -> int:
    return START + int(seconds * NS_PER_S)


@pytest.mark.parametrize(
    ("up_s", "left_s", "early"),
    [
        (0, 9.0, 1),
        (0, 10.0, 0),
        (0, 9.95, 0),  # its first notification was on its way for a moment
        (-3, 6.0, 1),
        (-3, 7.0, 0),  # its load began with the first session, three seconds before ours
        (-8, 2.5, 1),  # but whoever saw less than half of it has not had it
        (-8, 5.0, 0),
    ],
)
def test_somebody_elses_load_may_have_begun_with_its_first_session(up_s: float, left_s: float, early: int) -> None:
    there = Presence([1], str, ours_to_time=False)
    there.came(0, at(up_s))
    assert left(Use.TARGET_WLC, there, at(left_s)) == early


@pytest.mark.parametrize(
    ("use", "length_s", "left_s", "early"),
    [
        (Use.SERVE_WLC, 4, 3.935, 1),
        (Use.SERVE_WLC, 4, 3.956, 1),
        (Use.SERVE_WLC, 4, 3.999, 1),
        (Use.SERVE_WLC, 4, 4.0, 0),
        (Use.TARGET_WLC, 4, 3.956, 1),
        (Use.TARGET_WLC, 4, 3.961, 0),
        (Use.TARGET_WLC, 1000, 998.5, 1),  # no way is as long as that
        (Use.TARGET_WLC, 1000, 999.5, 0),
    ],
)
def test_who_has_left_early_was_missing_and_who_has_not_was_not(
    use: Use, length_s: int, left_s: float, early: int
) -> None:
    """One rule for the counter and for the reason: the schedule is ours, or began a moment before we heard of it."""
    there = Presence([1], str, ours_to_time=use is Use.SERVE_WLC)
    there.came(0, START)
    assert left(use, there, at(left_s), length_s) == early
    there.went(0, at(left_s), "it left")
    absence = there.absence()
    assert (absence.missing, len(absence.named), absence.away_s > 0) == (early, early, early)
    users = left(use, None, at(left_s), length_s)  # nobody says who of them should be there
    assert users == early


def left(use: Use, there: Presence | None, left_ns: int, length_s: int = 10) -> int:
    """How many a side counts as having left early, if one leaves then."""
    data = {
        "name": "a",
        "wlc": {"count": 1},
        "mse": {"count": 1},
        "load": {"rate": 1, "stages": [{"hold": f"{length_s}s"}]},
    }
    scenario, profile = scenario_untrusted(data, Path("a.toml"))
    targets = [("127.0.0.1", 16113)] if use is Use.TARGET_WLC else []
    plan = make_plan(scenario, profile, use=use, targets=targets)
    recorder = Recorder()
    if there is not None:
        there.begin(START, length_s * NS_PER_S)
    leaving = Term(plan, recorder, lambda: left_ns)
    leaving.begin(START, plan.load.stages, there)
    leaving.left()
    return recorder.counters["sessions.left_early"]
