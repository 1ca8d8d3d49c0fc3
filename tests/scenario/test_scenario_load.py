"""Strict loading: what is not understood is refused, everything at once, each with its file and path."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from scenario_samples import SMALL, plan_of, problems_of, write

from loadgen.errors import InputError
from loadgen.hosts import parse_endpoint
from loadgen.infer.profile_text import profile_text
from loadgen.infer.to_profile import MadeProfile
from loadgen.nmsp.profile import reference_profile
from loadgen.scenario.plan import Use, make_plan
from loadgen.scenario.reading import load_scenario, mask_of

# By name: a file, or a folder with keys beside its scenario.toml.
SCENARIOS = {
    path.parent.name if path.stem == "scenario" else path.stem: path
    for path in sorted((Path(__file__).parents[2] / "scenarios").rglob("*.toml"))
}

# What is added to a scenario that works -> how each problem that must come of it begins.
BAD: dict[str, list[str]] = {
    "wlcs.count = 3": ["wlcs: expected one of wlc, capacity, description, dtls, load, mse, name, "],
    "wlc.coutn = 3": ["wlc.coutn: expected one of count, aaa, auth_list, authenticate, clock_skew, "],
    "load.stages = [{ hodl = '1s' }]": [
        "load.stages[0].hodl: expected one of hold, ramp, rate, warmup, wire_rate, found an unknown key",
    ],
    "wlc.count = '3'": ['wlc.count: expected int, found "3"'],
    "wlc.count = 0": ["wlc.count: expected int >= 1, found 0"],
    "wlc.count = true": ["wlc.count: expected int, found true"],
    "wlc.count = 250_001": ["wlc.count: expected int <= 250000, found 250001"],
    "mse.count = 1_000_000": ["mse.count: expected int <= 250000, found 1000000"],
    "wlc.count = 1000\nmse.count = 1000": [
        "mse.count: expected at most 250,000 sessions in one plan, found 1,000,000: 1,000 MSEs at each of 1,000 WLCs"
    ],
    "mse.count = -2": ["mse.count: expected int >= 1, found -2"],
    "wlc = 5": ["wlc: expected a table, found 5"],
    "mse.connect_per_s = -1": ["mse.connect_per_s: expected float > 0"],
    "mse.connect_per_s = 0": ["mse.connect_per_s: expected float > 0"],
    "seed = -1": ["seed: expected int >= 0, found -1"],
    "wlc.step = 'mac'": ["wlc.step: expected"],
    "wlc.listen = 'localhost:1'": ['wlc.listen: expected a numeric IP address, found "localhost:1"'],
    "wlc.listen = '127.0.0.1'": ["wlc.listen: expected an address and a port such as"],
    "wlc.listen = '127.0.0.1:65536'": ["wlc.listen: expected an address and a port such as"],
    "wlc.listen = '::1:16113'": ["wlc.listen: expected an address and a port such as"],
    "wlc = {count = 3, listen = '127.0.0.1:65534', step = 'port'}": [
        "wlc.count: expected at most 2 ports from 65534 on, found 3"
    ],
    "wlc = {count = 3, listen = '127.255.255.254:1'}": [
        "wlc.count: expected loopback addresses from 127.255.255.254 on, found 3: up to 128.0.0.0"
    ],
    "wlc = {count = 3, listen = '255.255.255.254:1'}": ["wlc.count: expected addresses from 255.255.255.254 on"],
    "wlc.readings = 17": ["wlc.readings: expected at most 16 (profile reference-1), found 17"],
    "wlc.readings = [3, 2]": ["wlc.readings: expected a number or [lowest, highest], 0 or more, found (3, 2)"],
    "wlc.readings = -1": ["wlc.readings: expected a number or [lowest, highest], 0 or more, found -1"],
    "wlc.readings = [1, 2, 3]": ["wlc.readings: expected"],
    "wlc.subservices = 'everything'": ["wlc.subservices: expected"],
    "wlc.subservices = []": ["wlc.subservices: expected at least one subservice, found none"],
    "mse.subscribe = ['rssi-ms', 'rssi-xx']": ["mse.subscribe[1]: expected one of rssi-ms, rssi-hs, "],
    "mse.assign = 'some'": ["mse.assign: expected"],
    "mse.assign = []": ["mse.assign: expected at least one MSE with a WLC, found none"],
    "mse.assign = [{mse = 1, wlc = [0]}]": ["mse.assign[0].mse: expected 0 to 0, found 1"],
    "mse.assign = [{mse = 0, wlc = [0, 1]}]": ["mse.assign[0].wlc[1]: expected 0 to 0, found 1"],
    "mse.assign = [{mse = 0, wlc = [0]}, {mse = 0, wlc = [0]}]": [
        "mse.assign[1]: expected each pair once, found MSE 0 and WLC 0 again"
    ],
    "mse.assign = [{mse = 0}]": ["mse.assign[0].wlc: expected a value, found nothing"],
    "mse.identities = ['a.pem', 'b.pem']": ["mse.identities: expected one file for each of 1 MSEs, found 2"],
    "mse.setup_timeout = '0s'": ["mse.setup_timeout: expected more than 0, found 0"],
    "mse.setup_timeout = 10": ['mse.setup_timeout: expected a duration such as "250ms", "30s" or "1m30s", found 10'],
    "mse.setup_timeout = '-10s'": ["mse.setup_timeout: expected a duration"],
    "session.echo_interval = '0ms'": ["session.echo_interval: expected more than 0, found 0"],
    "session.dead_interval = '15s'": ["session.dead_interval: expected more than session.echo_interval"],
    "tls.version = '1.4'": ["tls.version: expected"],
    "load.interval = '1s'": ["load: expected one of rate, wire_rate and interval, found rate and interval"],
    "load.burst = 0": ["load.burst: expected int >= 1, found 0"],
    "load.stages = []": ["load.stages: expected at least one stage, found none"],
    "load.wire_rate = 5": ["load: expected one of rate, wire_rate and interval, found rate and wire_rate"],
    "load.stages = [{hold = '1s', rate = 5, wire_rate = 5}]": [
        "load.stages[0]: expected rate or wire_rate, found both"
    ],
    "load.kind = 'notfy'": ['load.kind: expected one of notify, handshake, site, replay, found "notfy"'],
    "load.kind = 5": ["load.kind: expected one of notify, handshake, site, replay, found 5"],
    "tls.key = 'rsa2048'": ['tls.key: expected one of rsa-2048, p256, found "rsa2048"'],
    "tls.version = 1.4": ["tls.version: expected one of 1.0, 1.1, 1.2, 1.3, found 1.4"],
    "mse.assign = 'round robin'": ['mse.assign: expected one of round-robin, all, or an array, found "round robin"'],
    "wlc.subservices = 7": ["wlc.subservices: expected one of all, catalyst-9800, or an array, found 7"],
    "capacity.dimensions = ['session']": [
        "capacity.dimensions[0]: expected one of sessions, handshake.per_s, notify.per_s, stations, scale, speed, found"
    ],
    "capacity.max = {session = 3}": [
        "capacity.max.session: expected one of sessions, handshake.per_s, notify.per_s, stations, scale, speed, "
        "found an unknown key"
    ],
    "load.stages = [{rate = 5}]": ["load.stages[0]: expected either ramp, warmup or hold, found neither"],
    "load.stages = [{ramp = '1s', hold = '1s'}]": [
        "load.stages[0]: expected either ramp, warmup or hold, found ramp and hold"
    ],
    "load.stages = [{hold = '0s'}]": ["load.stages[0]: expected a duration of more than 0, found 0"],
    "load.stages = [{hold = '1s', rate = -5}]": ["load.stages[0].rate: expected float >= 0"],
    "load.stages = {hold = '1s'}": ["load.stages: expected an array of tables"],
    "thresholds = 'notify.lost == 0'": ["thresholds: expected an array"],
    "thresholds = [1]": ["thresholds[0]: expected str or a table, found "],
}


@pytest.mark.parametrize("added", BAD)
def test_what_is_wrong_is_said_and_nothing_else(tmp_path: Path, added: str) -> None:
    found = problems_of(tmp_path, SMALL + added)
    assert len(found) == len(BAD[added]), found
    for text, beginning in zip(found, BAD[added], strict=True):
        assert text.startswith(beginning)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("load.rate = 1", ["name: expected a value, found nothing"]),
        ("name = 'x'", ["load: expected one of rate, wire_rate and interval, found none of them"]),
        ("name = 'X'\nload.rate = 1", ["name: expected str matching regex"]),
        ("name = 'x'\nload.rate = -1", ["load.rate: expected float > 0"]),
        ("name = 'x'\nload.rate = 0", ["load.rate: expected float > 0"]),
        ("name = 'x'\nload.interval = '0s'", ["load.interval: expected more than 0, found 0"]),
        ("name = ", []),
    ],
)
def test_what_every_scenario_needs(tmp_path: Path, text: str, wanted: list[str]) -> None:
    found = problems_of(tmp_path, text) if wanted else []
    assert [text.startswith(beginning) for text, beginning in zip(found, wanted, strict=True)] == [True] * len(wanted)
    if not wanted:
        with pytest.raises(InputError, match="expected a scenario in TOML"):
            load_scenario(write(tmp_path, text))


def test_all_wrong_values_come_at_once_each_with_its_path(tmp_path: Path) -> None:
    text = """
        nmae = "small"
        [wlc]
        count = 0
        stations = "many"
        [mse]
        subscibe = []
        connect_per_s = -1
        [load]
        rate = "fast"
        stages = [{ hold = "1s" }, { hold = "soon", rmap = 1 }]
    """
    where = sorted(text.partition(": ")[0] for text in problems_of(tmp_path, text))
    assert where == sorted(
        [
            "name",
            "nmae",
            "wlc.count",
            "wlc.stations",
            "mse.subscibe",
            "mse.connect_per_s",
            "load.rate",
            "load.stages[1].hold",
            "load.stages[1].rmap",
        ]
    )


def test_wrong_values_and_what_does_not_fit_together_come_at_once(tmp_path: Path) -> None:
    """And nothing that only follows from the default in the place of a wrong value: the rate is there, if wrong."""
    text = """
name = "small"
[wlc]
count = 0
readings = [5, 3]
[mse]
subscribe = ["rssi-nobody"]
[load]
rate = -1
"""
    with pytest.raises(InputError) as refusal:
        load_scenario(write(tmp_path, text))
    assert [problem.where.partition(": ")[2] for problem in refusal.value.problems] == [
        "wlc.count",
        "load.rate",
        "wlc.readings",
        "mse.subscribe[0]",
    ]


def test_values_that_do_not_fit_together_come_at_once(tmp_path: Path) -> None:
    text = """
        name = "small"
        session.dead_interval = "1s"
        [wlc]
        listen = "nowhere"
        readings = 99
        subservices = ["x", "y"]
        [mse]
        count = 2
        identities = ["one.pem"]
        assign = [{ mse = 2, wlc = [0, 7] }]
        [load]
        stages = [{ hold = "0s" }, {}]
    """
    where = [text.partition(": ")[0] for text in problems_of(tmp_path, text)]
    assert sorted(where) == sorted(
        [
            "wlc.listen",
            "wlc.readings",
            "wlc.subservices[0]",
            "wlc.subservices[1]",
            "mse.assign[0].mse",
            "mse.assign[0].wlc[1]",
            "mse.identities",
            "load",
            "load.stages[0]",
            "load.stages[1]",
            "session.dead_interval",
        ]
    )


def test_problems_of_the_profile_come_with_those_of_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("name = 'mine'\nmax_frame_bytes = '1'\n", "utf-8")
    path = write(tmp_path, SMALL + "profile = 'mine.toml'\nwlc.listen = 'x'\n")
    with pytest.raises(InputError) as refusal:
        load_scenario(path)
    texts = [str(problem) for problem in refusal.value.problems]
    assert sum(text.startswith(f"{tmp_path / 'mine.toml'}: ") for text in texts) == len(texts) - 1 == 3
    assert texts[-1].startswith(f"{path}: wlc.listen: ")


@pytest.mark.parametrize(
    ("readings", "wanted"),
    [
        ("1", None),
        ("[0, 1]", "wlc.readings: expected at least 1 (profile lone), found 0"),
        ("2", "wlc.readings: expected at most 1 (profile lone), found 2"),
    ],
)
def test_a_profile_with_always_one_reading_has_no_other_number(
    tmp_path: Path, readings: str, wanted: str | None
) -> None:
    table = msgspec.to_builtins(reference_profile().document)
    notify = table["messages"]["measurement_notify"]
    del notify["repeat"]
    fields = [field for field in notify["fields"] if field["name"] != "reading_count"]
    notify |= {"size": 38, "fields": [*fields, {"name": "ap_mac", "type": "mac", "offset": 32}]}
    (tmp_path / "lone.toml").write_text(profile_text(MadeProfile(table | {"name": "lone"}), []), "utf-8")
    path = write(tmp_path, SMALL + f"profile = 'lone.toml'\nwlc.readings = {readings}\n")
    if wanted is None:
        assert load_scenario(path)[1].min_readings == 1
        return
    with pytest.raises(InputError) as refusal:
        load_scenario(path)
    assert [str(problem).removeprefix(f"{path}: ") for problem in refusal.value.problems] == [wanted]


def test_a_profile_is_looked_for_beside_the_scenario(tmp_path: Path) -> None:
    path = write(tmp_path, SMALL + "profile = 'sub/mine.toml'\n")
    with pytest.raises(InputError, match=f"{tmp_path}/sub/mine.toml: expected a wire profile, found no such file"):
        load_scenario(path)


# -- --set -------------------------------------------------------------------------------------------------------------


def test_overrides_reach_everywhere(tmp_path: Path) -> None:
    text = SMALL + "load.stages = [{ ramp = '1s' }, { hold = '2s', rate = 5 }]\nmse.assign = [{ mse = 0, wlc = [0] }]"
    path = write(tmp_path, text)
    scenario, _ = load_scenario(
        path,
        [
            "wlc.count=7",
            "wlc.listen=127.9.0.1:0",
            "wlc.readings=[2, 3]",
            "name=other-name",
            'description="a text = with equals"',
            "load.stages[1].hold=90s",
            "load.stages[1].rate=2.5",
            "load.stages[0]={ hold = '3s' }",
            "mse.assign[0].wlc[0]=6",
            "tls.version='1.3'",
            "mse.setup_timeout=1m30s",
            "wlc.authenticate=false",
            "thresholds=['notify.lost == 0']",
        ],
    )
    assert (scenario.name, scenario.description) == ("other-name", "a text = with equals")
    assert (scenario.wlc.count, scenario.wlc.listen, scenario.wlc.readings) == (7, "127.9.0.1:0", (2, 3))
    assert [stage.hold for stage in scenario.load.stages] == [3 * 10**9, 90 * 10**9]
    assert [stage.ramp for stage in scenario.load.stages] == [None, None]
    assert scenario.load.stages[1].rate == 2.5
    assert scenario.mse.assign[0].wlc == (6,)  # type: ignore[union-attr]
    assert (scenario.tls.version, scenario.mse.setup_timeout) == ("1.3", 90 * 10**9)
    assert scenario.wlc.authenticate is False
    assert scenario.thresholds == ("notify.lost == 0",)


def test_the_last_override_of_a_key_counts(tmp_path: Path) -> None:
    scenario, _ = load_scenario(write(tmp_path, SMALL), ["wlc.count=2", "wlc.count=3"])
    assert scenario.wlc.count == 3


@pytest.mark.parametrize(
    ("override", "found"),
    [
        ("wlc.count", "found"),
        ("=3", "found"),
        ("wlc.[x].count=1", "found"),
        ("load.stages[0.hold=1s", "found"),
        ("load.stages[1].hold=1s", "nothing at [1]"),
        ("load.stages[0][0].hold=1s", "nothing at [0]"),
        ("load.stages.hold=1s", "nothing at hold"),
        ("load[0]=1", "nothing at [0]"),
        ("name.x=1", "a value at name"),
        ("load.rate.x.y=1", "a value at rate"),
    ],
)
def test_paths_that_lead_nowhere(tmp_path: Path, override: str, found: str) -> None:
    path = write(tmp_path, SMALL + "load.stages = [{ hold = '1s' }]")
    with pytest.raises(InputError) as refusal:
        load_scenario(path, [override])
    (problem,) = refusal.value.problems
    assert problem.where.startswith("--set")
    assert found in str(problem)


@pytest.mark.parametrize(
    ("added", "found"),
    [
        ("x = " + "[" * 3000 + "]" * 3000, "arrays or tables that are nested too deep"),
        ("x = " + "{a = " * 2000 + "1" + "}" * 2000, "arrays or tables that are nested too deep"),
        ("wlc.count = " + "9" * 5000, "Exceeds the limit (4300 digits)"),
        ("wlc.count = 0x" + "f" * 5000, "an integer of 20,000 bits"),
        ("wlc.readings = [1, 0x1_0000_0000_0000_0000]", "an integer of 65 bits"),
    ],
)
def test_files_that_the_reader_cannot_take(tmp_path: Path, added: str, found: str) -> None:
    """Found by fuzzing: tomllib raises more than its own error, and Python does not show every integer."""
    path = tmp_path / "s.toml"
    path.write_text(f"{added}\n{SMALL}", "utf-8")
    with pytest.raises(InputError) as refusal:
        load_scenario(path)
    (problem,) = refusal.value.problems
    assert (problem.where, problem.expected) == (str(path), "a scenario in TOML")
    assert problem.found.startswith(found)


def test_keys_that_lead_very_deep_are_unknown(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(f"wlc.count.{'.'.join('a' * 3000)} = 1\n{SMALL}", "utf-8")
    with pytest.raises(InputError, match=r"wlc\.count: expected int, found something that is nested too deep"):
        load_scenario(path)


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 3000])
def test_overrides_that_the_reader_cannot_take_are_text(tmp_path: Path, value: str) -> None:
    path = write(tmp_path, SMALL)
    with pytest.raises(InputError, match=r"wlc\.count: expected int, found "):
        load_scenario(path, [f"wlc.count={value}"])
    with pytest.raises(InputError, match="expected path=value such as"):
        load_scenario(path, [f"load.stages[{value}]=1"])


def test_an_override_is_checked_like_the_file(tmp_path: Path) -> None:
    assert problems_of(tmp_path, SMALL, "wlc.coutn=3", "load.rate=-1", "mse.count=many") == [
        "wlc.coutn: expected one of count, aaa, auth_list, authenticate, clock_skew, kind, listen, readings, stations, "
        "step, subservices, trust, found an unknown key",
        'mse.count: expected int, found "many"',
        "load.rate: expected float > 0.0, found -1",
    ]


# -- small readers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("127.0.1.1:16113", ("127.0.1.1", 16113)),
        ("[::1]:0", ("::1", 0)),
        ("[2001:db8::1]:65535", ("2001:db8::1", 65535)),
        ("wlc.example:16113", ("wlc.example", 16113)),
    ],
)
def test_endpoints(text: str, wanted: tuple[str, int]) -> None:
    assert parse_endpoint(text) == wanted


@pytest.mark.parametrize("text", ["", ":", ":1", "host", "host:", "host:-1", "host:1x", "::1:5", "[::1]", "a:65536"])
def test_what_is_no_endpoint(text: str) -> None:
    with pytest.raises(ValueError, match="an address and a port such as"):
        parse_endpoint(text)


def test_masks() -> None:
    assert mask_of("all") == 2**23 - 1
    assert mask_of("catalyst-9800") == 0x68EBE7
    assert mask_of(("rssi-ms", "rssi-ms-associated-only", "ap-info")) == 1 + 32 + 2**22


# -- what comes with the project ---------------------------------------------------------------------------------------


def test_there_are_scenarios() -> None:
    assert {"quick", "thousand-wlcs", "two-sides"} <= SCENARIOS.keys()


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_that_comes_with_the_project_loads_and_plans(name: str) -> None:
    scenario, profile = load_scenario(SCENARIOS[name])
    plan = make_plan(scenario, profile)
    assert plan.scenario == name
    assert plan.description
    assert plan.sessions
    assert plan.schedule().slots > 0 or not plan.load.paced
    assert all(0 <= s.wlc < len(plan.wlcs) and 0 <= s.mse < len(plan.mse_macs) for s in plan.sessions)


def test_a_thousand_controllers_are_what_their_name_says() -> None:
    scenario, profile = load_scenario(SCENARIOS["thousand-wlcs"])
    assert profile is reference_profile()
    plan = make_plan(scenario, profile, use=Use.BOTH)
    assert (len(plan.wlcs), len(plan.mse_macs), len(plan.sessions)) == (1000, 2, 2000)
    assert (plan.wlcs[0].host, plan.wlcs[-1].host) == ("127.0.1.1", "127.0.4.232")
    assert plan.schedule().slots == 60_000


def test_defaults_are_a_scenario(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    assert (len(plan.wlcs), len(plan.sessions)) == (1, 1)
    assert plan.schedule().slots == 3000
