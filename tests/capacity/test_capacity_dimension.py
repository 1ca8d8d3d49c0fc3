"""Along what is searched: how a scenario becomes a load of a given size, and what cannot be varied."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadgen.capacity.dimension import (
    ABOUT,
    Dimension,
    check_use,
    default_dimensions,
    latency_of,
    sizes_of,
    source_for,
    stages_for,
    step_of,
)
from loadgen.errors import InputError
from loadgen.prepare.job import Source, plan_of
from loadgen.scenario.plan import Plan, Use
from loadgen.scenario.reading import load_scenario
from loadgen.units import NS_PER_S

HOLD_NS, WARMUP_NS = 4 * NS_PER_S, NS_PER_S
TARGETS = (("127.77.3.1", 16113), ("127.77.3.2", 16113))


def made(tmp_path: Path, text: str = "", use: Use = Use.BOTH) -> Source:
    path = tmp_path / "s.toml"
    load = "" if "[load]" in text else "[load]\nrate = 100\n"
    path.write_text(f'name = "s"\n{text}{load}', "utf-8")
    scenario, profile = load_scenario(path)
    return Source(path, scenario, profile, use, TARGETS if use is Use.TARGET_WLC else ())


def planned(dimension: Dimension, source: Source, load: float) -> Plan:
    return plan_of(source_for(dimension, source, load, HOLD_NS, WARMUP_NS))[0]


# The others are of a capture: tests/replay.
OF_ANY_LOAD = [each for each in Dimension if each not in (Dimension.SCALE, Dimension.SPEED)]
FLEET = "[wlc]\ncount = 10\nstations = 20\n[mse]\ncount = 3\n[load]\nrate = 200\nburst = 2\n"


@pytest.mark.parametrize("dimension", OF_ANY_LOAD)
def test_a_load_is_a_warm_up_that_does_not_count_and_a_hold(tmp_path: Path, dimension: Dimension) -> None:
    plan = planned(dimension, made(tmp_path, FLEET), 60)
    assert [(stage.duration_ns, stage.counted) for stage in plan.load.stages] == [(WARMUP_NS, False), (HOLD_NS, True)]
    assert plan.load.kind is ABOUT[dimension].kind


@pytest.mark.parametrize("dimension", OF_ANY_LOAD)
def test_a_rate_on_the_wire_is_one_before_the_fan_out(tmp_path: Path, dimension: Dimension) -> None:
    """Three MSEs: what is told 200 times is sent 600 times; whatever is raised raises it alike."""
    sent = planned(dimension, made(tmp_path, FLEET.replace("rate = 200", "wire_rate = 600")), 60)
    told = planned(dimension, made(tmp_path, FLEET), 60)
    assert [stage.end_per_s for stage in sent.load.stages] == pytest.approx(
        [stage.end_per_s for stage in told.load.stages]
    )


@pytest.mark.parametrize("dimension", OF_ANY_LOAD)
def test_thresholds_of_the_scenario_do_not_end_a_load(tmp_path: Path, dimension: Dimension) -> None:
    source = made(tmp_path, 'thresholds = [{ threshold = "notify.lost == 0", abort_on_fail = true }]\n' + FLEET)
    assert planned(dimension, source, 60).thresholds == ()


@pytest.mark.parametrize("load", [3, 30, 60, 63])
def test_sessions_of_our_wlcs_come_wlc_by_wlc(tmp_path: Path, load: int) -> None:
    source = made(tmp_path, FLEET)
    assert step_of(Dimension.SESSIONS, source) == 3
    plan = planned(Dimension.SESSIONS, source, load)
    assert sizes_of(Dimension.SESSIONS, plan) == len(plan.sessions) == load
    assert len(plan.wlcs) == load // 3


def test_sessions_in_round_robin_come_one_by_one(tmp_path: Path) -> None:
    source = made(tmp_path, '[wlc]\ncount = 5\n[mse]\ncount = 3\nassign = "round-robin"\n')
    assert step_of(Dimension.SESSIONS, source) == 1
    assert sizes_of(Dimension.SESSIONS, planned(Dimension.SESSIONS, source, 17)) == 17


@pytest.mark.parametrize("load", [2, 40])
def test_sessions_at_targets_come_mse_by_mse(tmp_path: Path, load: int) -> None:
    source = made(tmp_path, FLEET, Use.TARGET_WLC)
    assert step_of(Dimension.SESSIONS, source) == len(TARGETS)
    plan = planned(Dimension.SESSIONS, source, load)
    assert len(plan.mse_macs) == load // 2
    assert sizes_of(Dimension.SESSIONS, plan) == load


def test_every_step_is_a_load_of_that_size(tmp_path: Path) -> None:
    for dimension in (Dimension.SESSIONS, Dimension.STATIONS):
        source = made(tmp_path, FLEET)
        step = step_of(dimension, source)
        for times in (1, 2, 5):
            assert sizes_of(dimension, planned(dimension, source, step * times)) == step * times


def test_rates_are_those_on_the_wire(tmp_path: Path) -> None:
    """A WLC tells each of its MSEs, and so does the unit of the search count."""
    source = made(tmp_path, FLEET)
    plan = planned(Dimension.NOTIFICATIONS, source, 600)
    warmup, hold = stages_for(Dimension.NOTIFICATIONS, plan, 7, 600, HOLD_NS, WARMUP_NS)
    assert (warmup.start_ns, hold.start_ns, hold.duration_ns) == (0, WARMUP_NS, HOLD_NS)
    assert (warmup.counted, hold.counted) == (False, True)
    schedule = plan.schedule((warmup, hold))
    slots = schedule.count_at(WARMUP_NS + HOLD_NS - 1) - schedule.count_at(WARMUP_NS - 1)
    assert slots * plan.copies == 600 * 4


def test_stages_of_different_loads_have_different_names(tmp_path: Path) -> None:
    plan = planned(Dimension.NOTIFICATIONS, made(tmp_path, FLEET), 10)
    names = [
        stage.name
        for number in (1, 2, 3)
        for stage in stages_for(Dimension.NOTIFICATIONS, plan, number, 0.2, HOLD_NS, WARMUP_NS)
    ]
    assert len(set(names)) == 6


def test_handshakes_keep_what_the_scenario_says_of_them(tmp_path: Path) -> None:
    text = '[load]\nkind = "handshake"\nconcurrency = 17\nresumed = 0.5\nbacklog = "300ms"\n'
    plan = planned(Dimension.HANDSHAKES, made(tmp_path, text), 80)
    assert (plan.load.concurrency, plan.load.resumed, plan.load.backlog, plan.load.paced) == (
        17,
        0.5,
        300_000_000,
        True,
    )
    assert plan.load.stages[-1].start_per_s == 80


def test_each_station_is_told_of_as_often_as_before(tmp_path: Path) -> None:
    source = made(tmp_path, FLEET)
    plan = planned(Dimension.STATIONS, source, 400)
    assert plan.wlc.stations == 40
    assert plan.load.stages[-1].start_per_s * plan.load.burst == pytest.approx(400)
    source = made(tmp_path, '[wlc]\ncount = 2\nstations = 10\n[load]\ninterval = "1s"\n')
    few, many = (planned(Dimension.STATIONS, source, load).load.stages[-1].start_per_s for load in (20, 60))
    assert many == pytest.approx(3 * few)


@pytest.mark.parametrize(
    ("use", "dimensions"),
    [
        (Use.BOTH, ("handshake.per_s", "notify.per_s")),
        (Use.TARGET_WLC, ("handshake.per_s",)),
        (Use.SERVE_MSE, ("handshake.per_s",)),
        (Use.SERVE_WLC, ("notify.per_s",)),
    ],
)
def test_by_default_what_we_make_ourselves_is_searched(use: Use, dimensions: tuple[str, ...]) -> None:
    assert default_dimensions(use) == dimensions
    for dimension in default_dimensions(use):
        check_use(dimension, use)
        assert latency_of(dimension, use).startswith(ABOUT[dimension].prefixes)


@pytest.mark.parametrize(
    ("dimension", "use"),
    [
        (Dimension.HANDSHAKES, Use.SERVE_WLC),
        (Dimension.NOTIFICATIONS, Use.TARGET_WLC),
        (Dimension.NOTIFICATIONS, Use.SERVE_MSE),
        (Dimension.STATIONS, Use.TARGET_WLC),
        (Dimension.STATIONS, Use.SERVE_MSE),
    ],
)
def test_what_the_other_side_makes_cannot_be_searched(dimension: Dimension, use: Use) -> None:
    with pytest.raises(InputError, match=r"--dimension.*only where"):
        check_use(dimension, use)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[mse]\nassign = [{ mse = 0, wlc = [0] }]\n", "mse.assign"),
        ('[mse]\nassign = "round-robin"\ncount = 2\n', "mse.assign"),
        ('[mse]\nidentities = ["a.pem"]\n', "mse.identities"),
    ],
)
def test_sessions_at_targets_that_the_scenario_fixes(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        source_for(Dimension.SESSIONS, made(tmp_path, text, Use.TARGET_WLC), 40, HOLD_NS, WARMUP_NS)


def test_mses_that_a_target_knows_are_searched_along_as_far_as_there_are(tmp_path: Path) -> None:
    source = made(tmp_path, '[mse]\ncount = 3\nidentities = ["a.pem", "b.pem", "c.pem"]\n', Use.TARGET_WLC)
    targets = len(source.targets)
    two = source_for(Dimension.SESSIONS, source, 2 * targets, HOLD_NS, WARMUP_NS).scenario.mse
    assert (two.count, two.identities) == (2, ("a.pem", "b.pem"))
    with pytest.raises(InputError, match=r"mse.identities: expected none, or a file for each of 4 MSEs, found 3"):
        source_for(Dimension.SESSIONS, source, 4 * targets, HOLD_NS, WARMUP_NS)
