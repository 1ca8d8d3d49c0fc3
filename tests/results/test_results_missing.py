"""Figures that a layout cannot give: which, why, and what is counted in their place."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import pytest

from loadgen.errors import InputError
from loadgen.loads import LoadKind
from loadgen.measure.books import imbalances
from loadgen.measure.names import COUNTERS, METRICS
from loadgen.nmsp.profile import load_profile, reference_profile
from loadgen.results.figures import make_counters
from loadgen.results.missing import instead_of, missing_figures, missing_of_run, refuse_missing
from loadgen.results.thresholds import parse_thresholds
from loadgen.scenario.plan import Plan, Use, make_plan
from loadgen.scenario.reading import scenario_untrusted

BARE = load_profile(Path(__file__).parents[1] / "profiles" / "bare.toml")
BOTH, TARGET = Use.BOTH, Use.TARGET_WLC
NO_DUE, NO_SENT = "the layout carries no due time", "the layout carries no sent time"
NO_NUMBER = "the layout carries no sequence number"


def plan_of(use: Use = BOTH, carried: tuple[int, int, int] = (64, 64, 64), **overrides: object) -> Plan:
    scenario, _ = scenario_untrusted({"name": "missing", "load": {"rate": 10}, **overrides}, Path("missing.toml"))
    targets = [("127.0.0.1", 9)] if use is TARGET else ()
    plan = make_plan(scenario, reference_profile(), use=use, targets=targets)
    return msgspec.structs.replace(plan, carried=carried)


@pytest.mark.parametrize(
    ("plan", "latency", "service", "lost", "reordered"),
    [
        (plan_of(), None, None, None, None),
        (plan_of(TARGET), None, None, None, None),
        # TCP keeps order, and both know the schedule.
        (plan_of(BOTH, (0, 0, 0)), None, NO_SENT, None, NO_NUMBER),
        (plan_of(BOTH, (64, 0, 64)), None, None, None, None),
        (
            plan_of(BOTH, (0, 0, 0), transport="dtls"),
            f"{NO_DUE}, and datagrams keep no order",
            NO_SENT,
            None,
            NO_NUMBER,
        ),
        (plan_of(BOTH, (64, 0, 0), load={"kind": "site"}), f"{NO_DUE}, and a site no schedule", NO_SENT, None, None),
        (plan_of(TARGET, (0, 0, 0)), NO_DUE, NO_SENT, NO_NUMBER, NO_NUMBER),
        (plan_of(TARGET, (8, 0, 64)), NO_DUE, None, None, None),
        # Two clocks cannot be compared.
        (plan_of(TARGET, (16, 64, 0)), NO_SENT, NO_SENT, None, None),
        (
            plan_of(TARGET, (64, 32, 16)),
            "the layout's due time has 32 bits, and goes round",
            "the layout's sent time has 16 bits, and goes round",
            None,
            None,
        ),
        # Who only sends measures nothing of what comes; nor has a handshake anything of it.
        (plan_of(Use.SERVE_WLC, (0, 0, 0)), None, None, None, None),
        (plan_of(BOTH, (0, 0, 0), load={"kind": "handshake"}), None, None, None, None),
    ],
)
def test_what_is_missing_and_why(
    plan: Plan, latency: str | None, service: str | None, lost: str | None, reordered: str | None
) -> None:
    missing = missing_figures(plan)
    found = [missing.get(f"notify.{name}") for name in ("latency", "service", "lost", "reordered")]
    assert found == [latency, service, lost, reordered]
    assert {name for name in missing if not name.startswith("errors.")} <= {*METRICS, *COUNTERS}


def test_a_profile_tells_of_each_of_its_notifications() -> None:
    """Those of other kinds than measurements have latencies of their own; of what nobody asked for, none is missed."""
    scenario, _ = scenario_untrusted(
        {"name": "missing", "load": {"rate": 10}, "mse": {"subscribe": ["rssi-ms", "info-ms"]}}, Path("missing.toml")
    )
    plan = make_plan(scenario, BARE, use=TARGET, targets=[("127.0.0.1", 9)])
    assert plan.carried == (0, 0, 0)
    assert [name for name in missing_figures(plan) if name.startswith("service.")] == [
        "service.rssi_ms.latency",
        "service.info_ms.latency",
    ]
    assert make_plan(scenario, reference_profile()).carried_of == ()


@pytest.mark.parametrize(
    ("received", "lost", "duplicated"), [(10, 0, 0), (7, 3, 0), (12, 0, 2)], ids=["all", "fewer", "more"]
)
def test_without_numbers_what_is_lost_is_counted(received: int, lost: int, duplicated: int) -> None:
    missing = missing_figures(plan_of(BOTH, (0, 0, 0)))
    found = Counter({"notify.due": 10, "notify.sent": 10, "notify.received": received})
    counters = make_counters(found, LoadKind.NOTIFY, wlc=True, mse=True, complete=True, missing=missing)
    assert (counters["notify.lost"], counters["notify.duplicated"]) == (lost, duplicated)
    assert not {*missing} & {*counters}
    assert imbalances(counters) == []


def test_what_a_device_loses_is_not_shown_as_nothing() -> None:
    missing = missing_figures(plan_of(TARGET, (0, 0, 0)))
    counters = make_counters(
        Counter({"notify.received": 7}), LoadKind.NOTIFY, wlc=False, mse=True, complete=True, missing=missing
    )
    assert counters["notify.received"] == 7
    assert not {"notify.lost", "notify.duplicated", "notify.reordered", "notify.withdrawn"} & {*counters}


@pytest.mark.parametrize("use", [BOTH, TARGET])
def test_what_is_demanded_of_what_is_missing_is_refused_with_what_there_is(use: Use) -> None:
    plan = plan_of(use, (0, 0, 0))
    missing = missing_figures(plan)
    for name in missing:
        if name.startswith("errors."):
            continue
        text = f"{name}.p50 < 1s" if name in METRICS else f"{name} / notify.received < 1"
        with pytest.raises(InputError) as refusal:
            refuse_missing(parse_thresholds([text], "--threshold"), plan, "threshold")
        (problem,) = refusal.value.problems
        given = instead_of(name, missing)
        assert given
        assert not {*given} & {*missing}
        assert problem.where == f'threshold "{text}"'
        assert problem.found == f"{name}: {missing[name]}"
        assert all(each in problem.expected for each in given)
    refuse_missing(parse_thresholds(["notify.received > 1", "echo.latency.p50 < 1s"], "--threshold"), plan, "threshold")


def test_what_could_not_be_placed_has_no_latency_and_it_is_said_why() -> None:
    plan = plan_of(BOTH, (0, 0, 0))
    assert "notify.latency" not in missing_of_run(plan, {"notify.latency"}, 3)
    assert missing_of_run(plan, (), 3)["notify.latency"] == f"{NO_DUE}, and no order was told"
    assert missing_of_run(plan, (), 0) == missing_figures(plan)
