"""`[requests]`: its tables, what is wrong with them and where, and what they become in a plan."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from scenario_samples import SMALL, plan_of, problems_of

from loadgen.errors import InputError
from loadgen.measure.names import METRICS, REQUESTS, SUBSERVICES
from loadgen.nmsp.profile import WireProfile, reference_profile
from loadgen.nmsp.services import Subservice
from loadgen.scenario.plan import Use, make_plan
from loadgen.scenario.reading import load_scenario, scenario_untrusted
from loadgen.scenario.requests import ASKED, Requests, refusable
from loadgen.units import NS_PER_S

SUBSCRIBED = SMALL + 'mse.subscribe = ["rssi-ms", "info-ms", "info-rfid", "stats-ms", "on-demand"]\n'
TAGS = 'subservices = ["rssi-rfid"]'
SHOWN = Path(__file__).parents[2] / "scenarios" / "requests.toml"


def test_kinds_have_one_name_everywhere() -> None:
    assert set(ASKED) == set(REQUESTS) == set(Requests.__struct_fields__)
    assert {f"request.{kind}.{what}" for kind in ASKED for what in ("latency", "service", "lag")} <= set(METRICS)
    assert [service.name.lower() for service in Subservice] == list(SUBSERVICES)


def test_what_a_plan_makes_of_them(tmp_path: Path) -> None:
    text = SUBSCRIBED + (
        "[requests]\n"
        'measurement = { rate = 5, device = "any" }\n'
        'information = { interval = "2s", delay = "500ms" }\n'
        "subscribe = { rate = 1 }\n"
        'unsubscribe = { rate = 2, subservices = ["info-ms", "stats-ms"] }\n'
        'subscribe_groups = { rate = 3, groups = ["a", "b"], subservices = ["rssi-ms"] }\n'
        "wips_config = { rate = 4, signatures = 3 }\n"
        "on_demand = { rate = 6 }\n"
    )
    plan = plan_of(tmp_path, text, "wlc.count=4", "mse.count=2")
    found = {request.name: request for request in plan.requests}
    assert (found["measurement"].per_s, found["measurement"].subservices) == (5.0, (0,))
    assert found["measurement"].device == "any"
    assert (found["information"].per_s, found["information"].delay_ns) == (4.0, 500_000_000)  # 8 sessions
    assert (found["information"].subservices, found["information"].device) == ((9, 10), "known")
    assert found["subscribe"].subservices == (0, 9, 10, 13, 21)
    assert found["unsubscribe"].subservices == (9, 13)
    assert (found["subscribe_groups"].groups, found["subscribe_groups"].subservices) == (("a", "b"), (0,))
    assert (found["wips_config"].signatures, found["wips_config"].device) == (3, "")
    assert (found["on_demand"].subservices, found["on_demand"].device) == ((21,), "known")


@pytest.mark.parametrize(
    ("requests", "share"),
    [
        ("measurement = { rate = 5 }\nwips_config = { rate = 1 }", 0.0),
        ('measurement = { rate = 5, device = "unknown" }\ncapability = { rate = 15 }', 0.25),
        # The unknown ones begin when half of the load of 2 s is over.
        ('measurement = { rate = 10, device = "unknown", delay = "1s" }\ncapability = { rate = 15 }', 0.25),
        ('measurement = { rate = 6 }\nunsubscribe = { rate = 2, subservices = ["rssi-ms"] }', 0.75),
        ('information = { rate = 6 }\nunsubscribe = { rate = 2, subservices = ["info-ms"] }', 0.375),  # or info-rfid
        (f"measurement = {{ rate = 6, {TAGS} }}", 1.0),
        (f"measurement = {{ rate = 6, {TAGS} }}\nsubscribe = {{ rate = 6, {TAGS} }}", 0.0),
        ('measurement = { rate = 5, device = "unknown", delay = "9s" }', 0.0),
    ],
)
def test_what_a_plan_has_refused(requests: str, share: float, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, f"{SUBSCRIBED}[requests]\n{requests}\n")
    assert refusable(plan.requests, plan.mse.subscription, 2 * NS_PER_S) == pytest.approx(share)


def test_about_other_peoples_devices_nothing_is_known(tmp_path: Path) -> None:
    text = SUBSCRIBED + "[requests.statistics]\nrate = 1\n"
    plan = plan_of(tmp_path, text, use=Use.TARGET_WLC, targets=[("192.0.2.1", 16113)])
    assert [request.device for request in plan.requests] == ["any"]


def test_the_digest_changes_with_requests_and_only_with_them(tmp_path: Path) -> None:
    plain = plan_of(tmp_path, SUBSCRIBED)
    timers = ("session.response_timeout=2s", "session.retransmit_interval=1s", "session.max_retransmits=1")
    assert plan_of(tmp_path, SUBSCRIBED, *timers).digest == plain.digest
    several = (
        ["requests.measurement.rate=1"],
        ["requests.measurement.rate=2"],
        ["requests.measurement={rate=2, delay='1s'}"],
        ["requests.measurement={rate=2, device='unknown'}"],
        ["requests.measurement.rate=2", timers[0]],
        ["requests.measurement.rate=2", timers[1]],
        ["requests.measurement.rate=2", timers[2]],
        ["requests.capability.rate=2"],
    )
    asked = [plain.digest, *(plan_of(tmp_path, SUBSCRIBED, *options).digest for options in several)]
    assert len(set(asked)) == len(asked)


@pytest.mark.parametrize(
    ("requests", "problem"),
    [
        ("capability = {}", "requests.capability: expected either rate or interval, found neither"),
        (
            'capability = { rate = 1, interval = "1s" }',
            "requests.capability: expected either rate or interval, found both",
        ),
        ('capability = { interval = "0s" }', "requests.capability.interval: expected more than 0, found 0"),
        ("capability = { rate = 0 }", "requests.capability.rate"),
        ("echo = { rate = 1 }", "requests.echo: expected one of capability, information"),
        ("capability = { rate = 1, device = 'any' }", "requests.capability.device: expected one of delay, interval"),
        ("measurement = { rate = 1, device = 'some' }", "requests.measurement.device"),
        (
            'measurement = { rate = 1, subservices = ["rssi-ms", "info-ms"] }',
            "requests.measurement.subservices[1]: expected one of rssi-ms, rssi-ms-associated-only",
        ),
        ('subscribe = { rate = 1, subservices = ["what"] }', "requests.subscribe.subservices[0]: expected one of"),
        ("unsubscribe = { rate = 1 }", "requests.unsubscribe.subservices: expected what to unsubscribe from"),
        ("wips_config = { rate = 1, signatures = 65 }", "requests.wips_config.signatures: expected 1 to 64"),
        ("subscribe_groups = { rate = 1, groups = [] }", "requests.subscribe_groups.groups: expected 1 to 64"),
    ],
)
def test_problems_with_their_path(tmp_path: Path, requests: str, problem: str) -> None:
    (found,) = problems_of(tmp_path, f"{SUBSCRIBED}[requests]\n{requests}\n")
    assert found.startswith(problem)


def test_what_is_asked_about_must_be_subscribed_to(tmp_path: Path) -> None:
    found = problems_of(tmp_path, SMALL + "[requests]\nstatistics = { rate = 1 }\non_demand = { rate = 1 }\n")
    assert found == [
        "requests.statistics: expected one of stats-ms, stats-rfid, stats-rogue in mse.subscribe, found none",
        "requests.on_demand: expected one of on-demand in mse.subscribe, found none",
    ]
    # Unless it says what for: a WLC refuses that, which may be what is looked for.
    explicit = "[requests]\nstatistics = { rate = 1, subservices = ['stats-ms'] }\n"
    assert plan_of(tmp_path, SMALL + explicit).requests[0].subservices == (13,)


def test_handshakes_have_no_running_sessions(tmp_path: Path) -> None:
    (found,) = problems_of(tmp_path, SMALL + 'load.kind = "handshake"\n[requests]\ncapability = { rate = 1 }\n')
    assert found == 'requests.capability: expected sessions that stay up: another load.kind, found "handshake"'


@pytest.mark.parametrize("missing", ["statistics_request", "rogue_statistics_response"])
def test_a_profile_without_the_message(tmp_path: Path, missing: str) -> None:
    document = reference_profile().document
    messages = {name: message for name, message in document.messages.items() if name != missing}
    profile = WireProfile(msgspec.structs.replace(document, name="poor", messages=messages))
    data = {
        "name": "x",
        "load": {"rate": 5.0},
        "mse": {"subscribe": ["rssi-ms", "stats-ms"]},
        "requests": {"statistics": {"rate": 1.0}, "measurement": {"rate": 1.0}},
    }
    with pytest.raises(InputError) as refusal:
        scenario_untrusted(data, tmp_path / "x.toml", profile=profile)
    (problem,) = refusal.value.problems
    assert problem.where.endswith("requests.statistics")
    assert missing in problem.found


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("session.response_timeout=0s", "session.response_timeout: expected more than 0"),
        ("session.max_retransmits=-1", "session.max_retransmits"),
    ],
)
def test_timers(tmp_path: Path, option: str, problem: str) -> None:
    (found,) = problems_of(tmp_path, SMALL, option)
    assert found.startswith(problem)


def test_the_arithmetic_of_the_scenario_that_shows_them() -> None:
    scenario, profile = load_scenario(SHOWN)
    plan = make_plan(scenario, profile)
    assert set(ASKED) == {request.name for request in plan.requests}
    assert sum(request.per_s for request in plan.requests) == pytest.approx(460.0)
