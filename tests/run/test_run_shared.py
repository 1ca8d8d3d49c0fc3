"""Memory that workers have in common: what one writes, the other reads; and who may not look has none."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from loadgen.nmsp.profile import reference_profile
from loadgen.run.shared import SharedPlacings, placings_at
from loadgen.scenario.plan import Plan, make_plan
from loadgen.scenario.reading import scenario_untrusted


@pytest.fixture
def plan() -> Plan:
    scenario, _ = scenario_untrusted({"name": "shared", "wlc": {"count": 2}, "load": {"rate": 10}}, Path("shared.toml"))
    return msgspec.structs.replace(make_plan(scenario, reference_profile()), carried=(0, 0, 0))


def test_what_a_wlc_states_its_mse_reads(plan: Plan) -> None:
    shared = SharedPlacings(plan)
    wlc, mse = placings_at(shared.path, plan), placings_at(shared.path, plan)
    assert wlc is not None
    assert mse is not None
    mse.connect(1, ("127.0.0.1", 4000))
    found = wlc.find(plan.sessions[1].wlc, ("127.0.0.1", 4000))
    assert found is not None
    wlc.state(found, 5, 7, 99)
    count, statements = mse.statements(1)
    assert (count, statements.tolist()) == (1, [[5, 7, 99]])
    assert mse.counts(np.array([0, 1])).tolist() == [0, 1]


def test_a_layout_with_due_times_needs_none(plan: Plan) -> None:
    shared = SharedPlacings(msgspec.structs.replace(plan, carried=(64, 64, 64)))
    assert shared.path == ""
    assert placings_at(shared.path, plan) is None


def test_who_may_not_look_reads_that_nothing_was_stated(plan: Plan, tmp_path: Path) -> None:
    placings = placings_at(str(tmp_path / "nothing"), plan)
    assert placings is not None
    assert placings.statements(0)[0] == 0
