"""A scenario, resolved: addresses, assignments, stages, and a digest over what shapes the load."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from scenario_samples import SMALL, plan_of

from loadgen.scenario.plan import PlannedSession, PlannedThreshold, Use, make_plan
from loadgen.scenario.reading import load_scenario
from loadgen.scenario.schedule import RateStage
from loadgen.units import NS_PER_S

REPO = Path(__file__).parents[2]


def addresses(tmp_path: Path, **keys: object) -> list[tuple[str, int]]:
    wlc = "\n".join(f"wlc.{key} = {value!r}" for key, value in keys.items())
    return [(wlc.host, wlc.port) for wlc in plan_of(tmp_path, SMALL + wlc).wlcs]


def test_a_step_by_address(tmp_path: Path) -> None:
    assert addresses(tmp_path, count=4, listen="127.0.1.254:16113") == [
        ("127.0.1.254", 16113),
        ("127.0.1.255", 16113),
        ("127.0.2.0", 16113),
        ("127.0.2.1", 16113),
    ]
    assert addresses(tmp_path, count=2, listen="[2001:db8::ffff]:7") == [("2001:db8::ffff", 7), ("2001:db8::1:0", 7)]


def test_a_step_by_port(tmp_path: Path) -> None:
    assert addresses(tmp_path, count=3, listen="127.0.0.1:65533", step="port") == [
        ("127.0.0.1", 65533),
        ("127.0.0.1", 65534),
        ("127.0.0.1", 65535),
    ]
    assert addresses(tmp_path, count=3, listen="127.0.0.1:0", step="port") == [("127.0.0.1", 0)] * 3


def test_targets_replace_the_addresses(tmp_path: Path) -> None:
    targets = [("192.0.2.1", 16113), ("192.0.2.9", 1)]
    plan = plan_of(tmp_path, SMALL + "wlc.count = 5\nmse.count = 2", use=Use.TARGET_WLC, targets=targets)
    assert [(wlc.host, wlc.port) for wlc in plan.wlcs] == targets
    assert len(plan.sessions) == 4


def pairs(tmp_path: Path, wlcs: int, mses: int, assign: str) -> list[tuple[int, int]]:
    plan = plan_of(tmp_path, SMALL + f"wlc.count = {wlcs}\nmse.count = {mses}\nmse.assign = {assign}")
    assert all(isinstance(session, PlannedSession) for session in plan.sessions)
    return [(session.wlc, session.mse) for session in plan.sessions]


@pytest.mark.parametrize(("wlcs", "mses"), [(1, 1), (5, 2), (2, 5), (7, 7)])
def test_all_is_every_pair_once(tmp_path: Path, wlcs: int, mses: int) -> None:
    found = pairs(tmp_path, wlcs, mses, "'all'")
    assert len(found) == wlcs * mses
    assert set(found) == {(wlc, mse) for wlc in range(wlcs) for mse in range(mses)}


@pytest.mark.parametrize(("wlcs", "mses"), [(1, 1), (5, 2), (9, 3), (7, 7)])
def test_round_robin_gives_each_wlc_one_mse_and_each_mse_its_part(tmp_path: Path, wlcs: int, mses: int) -> None:
    found = pairs(tmp_path, wlcs, mses, "'round-robin'")
    assert [wlc for wlc, _ in found] == list(range(wlcs))
    load = [sum(mse == m for _, mse in found) for m in range(mses)]
    assert max(load) - min(load) <= 1


def test_a_table_is_taken_as_it_stands(tmp_path: Path) -> None:
    table = "[{ mse = 1, wlc = [2, 0] }, { mse = 0, wlc = [] }, { mse = 1, wlc = [1] }, { mse = 0, wlc = [2] }]"
    assert pairs(tmp_path, 3, 2, table) == [(2, 1), (0, 1), (1, 1), (2, 0)]


def test_macs_are_all_different_and_locally_administered(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, SMALL + "wlc.count = 600\nmse.count = 300")
    macs = [wlc.mac for wlc in plan.wlcs] + list(plan.mse_macs)
    assert len(set(macs)) == 900
    assert all(int(mac[:2], 16) & 3 == 2 for mac in macs)  # local, not a group


@pytest.mark.parametrize(
    ("use", "wlc", "mse"),
    [
        (Use.BOTH, True, True),
        (Use.TARGET_WLC, False, True),
        (Use.SERVE_WLC, True, False),
        (Use.SERVE_MSE, False, True),
    ],
)
def test_which_sides_are_ours(use: Use, wlc: bool, mse: bool) -> None:
    assert (use.plays_wlc, use.plays_mse) == (wlc, mse)


# -- digest ------------------------------------------------------------------------------------------------------------

FULL = SMALL + "wlc.count = 4\nmse.count = 2\nload.stages = [{ ramp = '1s' }, { hold = '2s' }]"


def test_the_digest_is_stable(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    first = plan_of(tmp_path, FULL)
    assert first.digest == plan_of(tmp_path / "elsewhere", FULL).digest
    assert len(first.digest) == 12
    assert int(first.digest, 16) >= 0


@pytest.mark.parametrize(
    "override",
    [
        "load.rate=101",
        "load.burst=2",
        "load.backlog=3s",
        "load.stages[1].hold=3s",
        "load.stages[1].rate=99",
        "load.stages[0]={ hold = '1s' }",
        "wlc.count=5",
        "wlc.stations=51",
        "wlc.readings=5",
        "wlc.readings=[4, 5]",
        "wlc.subservices=all",
        "wlc.authenticate=false",
        "mse.count=3",
        "mse.assign=round-robin",
        "mse.subscribe=all",
        "mse.connect_per_s=10",
        "tls.version='1.3'",
        "tls.key=rsa-2048",
        "session.echo_interval=14s",
        "session.dead_interval=31s",
        "mse.setup_timeout=11s",
        "seed=2",
        "name=other",
    ],
)
def test_the_digest_changes_with_what_shapes_the_load(tmp_path: Path, override: str) -> None:
    assert plan_of(tmp_path, FULL, override).digest != plan_of(tmp_path, FULL).digest


def test_the_digest_does_not_change_with_the_place(tmp_path: Path) -> None:
    here = plan_of(tmp_path, FULL)
    targets = [(f"192.0.2.{i}", 16113) for i in range(4)]
    for other in (
        plan_of(tmp_path, FULL, use=Use.TARGET_WLC, targets=targets),
        plan_of(tmp_path, FULL, "wlc.listen=127.7.7.7:0", "wlc.step=port"),
        plan_of(tmp_path, FULL, "description=words", "thresholds=['notify.lost == 0']"),
        plan_of(tmp_path, FULL, use=Use.SERVE_WLC),
    ):
        assert other != here
        assert other.digest == here.digest
    assert plan_of(tmp_path, FULL, use=Use.TARGET_WLC, targets=targets[:3]).digest != here.digest


# -- stages ------------------------------------------------------------------------------------------------------------


def stages(tmp_path: Path, text: str, duration_ns: int | None = None) -> list[RateStage]:
    return list(plan_of(tmp_path, 'name = "s"\n' + text, duration_ns=duration_ns).load.stages)


def test_ramps_begin_where_the_stage_before_ended(tmp_path: Path) -> None:
    text = """
        load.rate = 100
        load.stages = [{ ramp = "1s" }, { hold = "2s" }, { ramp = "500ms", rate = 20 }, { hold = "1s", rate = 30 },
                       { ramp = "1s", rate = 0 }]
    """
    found = stages(tmp_path, text)
    assert [stage[1:] for stage in map(msgspec.structs.astuple, found)] == [
        (0, NS_PER_S, 0.0, 100.0, False),
        (NS_PER_S, 2 * NS_PER_S, 100.0, 100.0, True),
        (3 * NS_PER_S, NS_PER_S // 2, 100.0, 20.0, False),
        (3_500_000_000, NS_PER_S, 30.0, 30.0, True),
        (4_500_000_000, NS_PER_S, 30.0, 0.0, False),
    ]
    names = [stage.name for stage in found]
    assert [name.partition("-")[0] for name in names] == ["ramp", "hold", "ramp", "hold", "ramp"]
    assert len(set(names)) == 5


@pytest.mark.parametrize(
    ("stages_text", "rates"),
    [
        ("{ ramp = '1s', rate = 500 }, { hold = '1s' }", [(0, 500), (500, 500)]),
        ("{ ramp = '1s', rate = 500 }, { warmup = '1s' }, { hold = '1s' }", [(0, 500), (500, 500), (500, 500)]),
        ("{ hold = '1s', rate = 20 }, { hold = '1s' }", [(20, 20), (20, 20)]),
        ("{ hold = '1s' }, { ramp = '1s', rate = 0 }, { hold = '1s' }", [(100, 100), (100, 0), (0, 0)]),
        # A ramp that says nothing goes back to the rate of [load], and so does what begins the load.
        ("{ ramp = '1s', rate = 500 }, { ramp = '1s' }, { hold = '1s' }", [(0, 500), (500, 100), (100, 100)]),
        ("{ warmup = '1s' }, { hold = '1s', rate = 7 }, { hold = '1s' }", [(100, 100), (7, 7), (7, 7)]),
    ],
)
def test_a_hold_keeps_what_the_stage_before_reached(
    tmp_path: Path, stages_text: str, rates: list[tuple[float, float]]
) -> None:
    found = stages(tmp_path, f"load = {{ rate = 100, stages = [{stages_text}] }}")
    assert [(stage.start_per_s, stage.end_per_s) for stage in found] == rates


@pytest.mark.parametrize("assign", ['"all"', "[{ mse = 0, wlc = [0, 1, 2, 3] }, { mse = 1, wlc = [0, 1, 2, 3] }]"])
def test_rates_are_those_of_the_fleet_or_those_on_the_wire(tmp_path: Path, assign: str) -> None:
    """Four WLCs that tell two MSEs: what is told 100 times is sent 200 times."""
    fleet = f"wlc.count = 4\nmse.count = 2\nmse.assign = {assign}\n"
    told = stages(tmp_path, fleet + "load = { rate = 100, stages = [{ ramp = '1s' }, { hold = '1s', rate = 30 }] }")
    sent = stages(
        tmp_path, fleet + "load = { wire_rate = 200, stages = [{ ramp = '1s' }, { hold = '1s', wire_rate = 60 }] }"
    )
    assert [(stage.start_per_s, stage.end_per_s) for stage in told] == [(0, 100), (30, 30)]
    assert told == sent
    # In one and the same plan, however it was asked for.
    text = 'name = "s"\n' + fleet
    assert plan_of(tmp_path, text + "load.rate = 100").digest == plan_of(tmp_path, text + "load.wire_rate = 200").digest


def test_with_one_mse_for_each_wlc_both_rates_are_one(tmp_path: Path) -> None:
    text = "wlc.count = 4\nmse = { count = 2, assign = 'round-robin' }\n"
    assert stages(tmp_path, text + "load.wire_rate = 200")[0].end_per_s == 200


def test_rates_of_stored_scenarios_are_what_they_were(tmp_path: Path) -> None:
    """The baselines belong to the plan of their scenario, and no meaning of a key may move it."""
    for result in (REPO / "results" / "baselines").glob("*/result.json"):
        scenario, profile = load_scenario(REPO / "scenarios" / f"{result.parent.name}.toml")
        assert make_plan(scenario, profile).digest == json.loads(result.read_text("utf-8"))["plan_digest"]


@pytest.mark.parametrize(
    ("stages_text", "counted"),
    [
        ("{ hold = '1s' }", [True]),
        ("{ warmup = '1s' }, { hold = '1s' }", [False, True]),
        ("{ ramp = '1s' }, { hold = '1s' }, { ramp = '1s' }, { hold = '1s' }", [False, True, False, True]),
        ("{ ramp = '1s' }", [True]),
        ("{ ramp = '1s' }, { warmup = '1s' }", [True, True]),
    ],
)
def test_holds_count_and_where_there_is_none_everything(tmp_path: Path, stages_text: str, counted: list[bool]) -> None:
    found = stages(tmp_path, f"load = {{ rate = 100, stages = [{stages_text}] }}")
    assert [stage.counted for stage in found] == counted


def test_a_warmup_is_a_hold_by_another_name(tmp_path: Path) -> None:
    warmup, hold = stages(tmp_path, "load = { rate = 9, stages = [{ warmup = '1s', rate = 5 }, { hold = '1s' }] }")
    assert (warmup.name, warmup.start_per_s, warmup.end_per_s) == ("warmup", 5.0, 5.0)
    assert (hold.name, hold.start_per_s, hold.end_per_s) == ("hold", 5.0, 5.0)


def test_rules_are_plain_or_with_what_follows(tmp_path: Path) -> None:
    text = """
        thresholds = ["notify.lost == 0",
                      { threshold = "notify.latency.p99 < 1s", abort_on_fail = true, delay = "10s" }]
    """
    plan = plan_of(tmp_path, SMALL + text)
    assert plan.thresholds == (
        PlannedThreshold("notify.lost == 0"),
        PlannedThreshold("notify.latency.p99 < 1s", abort_on_fail=True, delay_ns=10 * NS_PER_S),
    )


def test_a_burst_is_one_slot(tmp_path: Path) -> None:
    (stage,) = stages(tmp_path, "load = { rate = 100, burst = 8, stages = [{ hold = '1s' }] }")
    assert (stage.start_per_s, stage.end_per_s) == (12.5, 12.5)


def test_an_interval_is_a_rate_of_the_fleet(tmp_path: Path) -> None:
    """10 WLCs, each with 5 notifications every 2 s: 25 notifications/s, in 5 bursts/s."""
    plan = plan_of(tmp_path, "name = 's'\nwlc.count = 10\nload = { interval = '2s', burst = 5 }")
    (stage,) = plan.load.stages
    assert (stage.start_per_s, stage.end_per_s) == (5.0, 5.0)
    schedule = plan.schedule()
    turns = [schedule.due_ns(schedule.slot(3, turn)) for turn in range(4)]
    assert [b - a for a, b in pairwise(turns)] == [2 * NS_PER_S] * 3


def test_a_duration_replaces_the_last_stage_only(tmp_path: Path) -> None:
    text = "load = { rate = 10, stages = [{ ramp = '1s' }, { hold = '2s' }] }"
    assert plan_of(tmp_path, "name = 's'\n" + text).duration_ns == 3 * NS_PER_S
    short = stages(tmp_path, text, duration_ns=500_000_000)
    assert [stage.duration_ns for stage in short] == [NS_PER_S, NS_PER_S // 2]
    plan = plan_of(tmp_path, "name = 's'\n" + text, duration_ns=7 * NS_PER_S)
    assert plan.duration_ns == plan.schedule().duration_ns == 8 * NS_PER_S


def test_settings_arrive(tmp_path: Path) -> None:
    text = """
        wlc = { readings = [2, 5], stations = 9, authenticate = false, subservices = ["rssi-ms", "info-ms"] }
        mse = { connect_per_s = 12.5, setup_timeout = "3s", subscribe = ["stats-ms"] }
        session = { echo_interval = "2s", dead_interval = "5s" }
        tls = { key_hash = "sha1", hash_over = "certificate" }
        thresholds = ["notify.lost == 0"]
    """
    plan = plan_of(tmp_path, SMALL + text + "load.backlog = '4s'")
    assert (plan.wlc.readings, plan.wlc.stations, plan.wlc.authenticate) == ((2, 5), 9, False)
    assert (plan.wlc.capability, plan.mse.subscription) == (1 + (1 << 9), 1 << 13)
    assert (plan.mse.connect_per_s, plan.mse.setup_timeout) == (12.5, 3 * NS_PER_S)
    assert (plan.session.echo_interval, plan.session.dead_interval, plan.load.backlog) == (
        2 * 10**9,
        5 * 10**9,
        4 * 10**9,
    )
    assert (plan.tls.key_hash, plan.tls.hash_over, plan.thresholds) == (
        "sha1",
        "certificate",
        (PlannedThreshold("notify.lost == 0"),),
    )
    assert plan.profile.startswith("reference-1 ")
