"""Searches along how many endpoints play a capture, and how fast."""

from __future__ import annotations

from pathlib import Path

import pytest
import replay_samples as samples

from loadgen.capacity.campaign import Campaign, Settings
from loadgen.capacity.dimension import (
    Dimension,
    check_load,
    check_use,
    due_per_s,
    latency_of,
    sizes_of,
    source_for,
    stages_for,
    step_of,
)
from loadgen.capacity.result import Step
from loadgen.capacity.search import Trial
from loadgen.commands.options import SourceOptions
from loadgen.commands.source import read_source
from loadgen.errors import InputError
from loadgen.measure.histogram import samples_for
from loadgen.nmsp.profile import reference_profile
from loadgen.prepare.job import Source, plan_of
from loadgen.results.thresholds import parse_thresholds
from loadgen.scenario.plan import Plan, Use
from loadgen.units import NS_PER_S

HOLD_NS, WARMUP_NS = 4 * NS_PER_S, NS_PER_S


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """50 notifications/s of each of four endpoints, at twice that speed."""
    said = samples.notified(100)
    (tmp_path / "c.pcapng").write_bytes(samples.captured([samples.exchange(reference_profile(), said)]))
    path = tmp_path / "s.toml"
    text = 'name = "s"\n[load]\nkind = "replay"\ncapture = "c.pcapng"\nscale = 4\nspeed = 2\n'
    path.write_text(text, "utf-8")
    return read_source(SourceOptions(path, (), None, None, "1"))


def planned(dimension: Dimension, source: Source, load: float) -> Plan:
    return plan_of(source_for(dimension, source, load, HOLD_NS, WARMUP_NS))[0]


def test_a_search_begins_with_what_the_scenario_has(source: Source) -> None:
    plan, _ = plan_of(source)
    assert sizes_of(Dimension.SCALE, plan) == 4
    assert sizes_of(Dimension.SPEED, plan) == pytest.approx(2)
    assert sizes_of(Dimension.NOTIFICATIONS, plan) == pytest.approx(400)
    assert plan.duration_ns == NS_PER_S  # once through, at that speed


def test_more_endpoints_play_it_each_as_fast_as_before(source: Source) -> None:
    plan = planned(Dimension.SCALE, source, 9)
    assert len(plan.wlcs) == 9
    assert plan.load.stages[-1].end_per_s == pytest.approx(9 * 50 * 2)
    assert step_of(Dimension.SCALE, source) == 1


@pytest.mark.parametrize("speed", [0.5, 3.0])
def test_a_speed_is_a_rate_of_the_same_endpoints(source: Source, speed: float) -> None:
    plan = planned(Dimension.SPEED, source, speed)
    assert len(plan.wlcs) == 4
    warmup, hold = stages_for(Dimension.SPEED, plan, 3, speed, HOLD_NS, WARMUP_NS)
    assert (warmup.counted, hold.counted, hold.duration_ns) == (False, True, HOLD_NS)
    assert warmup.end_per_s == hold.start_per_s == hold.end_per_s == pytest.approx(4 * 50 * speed)
    schedule = plan.schedule((warmup, hold))
    assert schedule.count_at(WARMUP_NS + HOLD_NS) == pytest.approx(5 * 4 * 50 * speed, abs=4)


@pytest.mark.parametrize("dimension", [Dimension.SCALE, Dimension.SPEED, Dimension.NOTIFICATIONS])
def test_a_load_is_as_long_as_a_hold_and_no_longer_for_its_capture(source: Source, dimension: Dimension) -> None:
    assert source.duration_ns == NS_PER_S
    assert planned(dimension, source, 3).duration_ns == WARMUP_NS + HOLD_NS


def test_holds_are_long_enough_for_a_percentile_at_the_capture_s_rate(source: Source) -> None:
    """200 notifications/s at the speed that it was recorded with; 1,000 and some for a p99.9."""
    plan = planned(Dimension.SPEED, source, 1)
    assert due_per_s(Dimension.SPEED, plan) == pytest.approx(200)
    assert due_per_s(Dimension.NOTIFICATIONS, plan) == 1
    slos = parse_thresholds(["notify.latency.p99.9 < 1s"], "--slo")
    settings = Settings(
        *(Dimension.SPEED, "notify.latency", slos, 1, 4, 0.05, 0, 0, NS_PER_S, NS_PER_S, 0),
        due_per_s=due_per_s(Dimension.SPEED, plan),
    )
    campaign = Campaign(settings)
    hold_s = [campaign.hold_ns(Trial(Step.BRACKET, load)) / NS_PER_S for load in (1.0, 2.0)]
    least_s = samples_for(str(slos[0].statistic)) / 200
    assert least_s < hold_s[0] < 2 * least_s
    assert hold_s[1] == pytest.approx(hold_s[0] / 2, rel=1e-6)


def test_a_rate_of_notifications_replaces_the_speed(source: Source) -> None:
    plan = planned(Dimension.NOTIFICATIONS, source, 1_000)
    assert plan.load.stages[-1].end_per_s == pytest.approx(1_000)


def test_what_cannot_be_searched_is_refused(source: Source) -> None:
    with pytest.raises(InputError, match="scale or speed: stations are those of the capture"):
        check_load(Dimension.STATIONS, source.scenario)
    for dimension in (Dimension.SCALE, Dimension.SPEED):
        check_load(dimension, source.scenario)
        with pytest.raises(InputError, match="only where the WLCs are ours"):
            check_use(dimension, Use.TARGET_WLC)
        assert latency_of(dimension, Use.BOTH) == "notify.latency"


def test_a_search_along_handshakes_leaves_the_capture_out(source: Source) -> None:
    assert planned(Dimension.HANDSHAKES, source, 50).replay is None
