"""Who left before the end, in the eyes of a side whose peers keep their own schedule."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from loadgen.engine import term
from loadgen.engine.presence import Presence
from loadgen.engine.term import Term
from loadgen.measure.recorder import Recorder
from loadgen.scenario.load import scenario_untrusted
from loadgen.scenario.plan import Use, make_plan
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
def test_somebody_elses_load_may_have_begun_with_its_first_session(
    monkeypatch: pytest.MonkeyPatch, up_s: float, left_s: float, early: int
) -> None:
    data = {
        "name": "a",
        "wlc": {"count": 1},
        "mse": {"count": 1},
        "load": {"rate": 1, "stages": [{"hold": "10s"}]},
    }
    scenario, profile = scenario_untrusted(data, Path("a.toml"))
    plan = make_plan(scenario, profile, use=Use.TARGET_WLC, targets=[("127.0.0.1", 16113)])
    recorder = Recorder()
    there = Presence([1], str, ours_to_time=False)
    there.came(0, at(up_s))
    there.begin(START, 10 * NS_PER_S)
    leaving = Term(plan, recorder)
    leaving.begin(START, plan.stages, there)
    monkeypatch.setattr(term, "time", SimpleNamespace(monotonic_ns=lambda: at(left_s)))
    leaving.left()
    assert recorder.counters["sessions.left_early"] == early
