"""`load.kind = "site"`: a small campus and a few switches, as a user runs them."""

from __future__ import annotations

import json
import re

import pytest
from e2e_loadgen import PATIENT, REPO, Ended, Run, Start

CAMPUS = REPO / "scenarios" / "campus.toml"
SWITCHES = REPO / "scenarios" / "switches.toml"
LOCAL = ("--set", "wlc.listen=127.77.6.1:0", "--set", "wlc.step=port")
SMALLER = (
    *LOCAL,
    *PATIENT,
    *("--set", "wlc.count=6", "--set", "wlc.stations=300", "--set", "session.echo_interval=1s"),
    *("--set", 'load.stages=[{warmup="2s"},{hold="6s"}]'),
    *("--set", 'site.services={information="2s",statistics="2s",air_quality="2s",aps="2s",alarms_per_h=3000}'),
)


@pytest.fixture(scope="module")
def campus(start_shared: Start) -> Ended:
    """The campus with 6 of its controllers, in two workers a side."""
    return start_shared("run", CAMPUS, *SMALLER, "--workers", "2").end()


def test_the_campus_is_told_of_and_nothing_is_lost(campus: Ended) -> None:
    campus.check_passed()
    counters = campus.counters
    assert counters["sessions.established"] == counters["sessions.closed"] == 12
    assert counters["notify.due"] == counters["notify.sent"] == counters["notify.received"] > 500
    for name in ("dropped", "lost", "duplicated", "reordered"):
        assert counters[f"notify.{name}"] == 0, name
    assert campus.errors == {}
    assert counters["transmit.dropped.high"] == counters["transmit.dropped.normal"] == 0
    assert counters["transmit.deepest.normal"] > 1


def test_every_service_has_its_figures(campus: Ended) -> None:
    counters, metrics = campus.counters, campus.result["metrics"]
    subscribed = re.search(r"subscribe = \[(.*?)\]", CAMPUS.read_text("utf-8"), re.DOTALL)
    assert subscribed is not None
    names = [name.replace("-", "_") for name in re.findall(r'"([a-z-]+)"', subscribed[1])]
    assert len(names) == 15
    assert [name for name in names if not counters.get(f"service.{name}.received")] == []
    assert sum(counters[f"service.{name}.received"] for name in names) == counters["notify.received"]
    assert {f"service.{name}.latency" for name in names} <= set(metrics)
    in_stages = sum(
        stage["metrics"][f"service.{name}.latency"]["count"]
        for stage in campus.result["stages"]
        for name in names
        if f"service.{name}.latency" in stage["metrics"]
    )
    assert in_stages == counters["notify.received"]


def test_the_schedule_is_chances_alone(campus: Ended, run: Run) -> None:
    """Another run, with other workers, has the same to tell."""
    again = run("run", CAMPUS, *SMALLER, "--workers", "1")
    again.check_passed()
    assert again.result["plan_digest"] == campus.result["plan_digest"]
    names = [name for name in campus.counters if name.startswith("service.") or name == "notify.due"]
    assert {name: again.counters[name] for name in names} == {name: campus.counters[name] for name in names}


def test_the_report_offers_no_rate_that_was_not_set(campus: Ended) -> None:
    page = (campus.folder / "report.html").read_text("utf-8")
    assert "as it comes" in page
    assert "offered at 0" not in page


def test_requests_are_answered_beside_it(run: Run) -> None:
    """Also while subscriptions come and go: nothing is lost, and nothing comes that was not subscribed to."""
    asked = (
        'requests.measurement={rate=40,delay="2s"}',
        'requests.information={rate=40,delay="2s"}',
        'requests.statistics={rate=40,delay="2s"}',
        'requests.unsubscribe={rate=10,subservices=["rssi-ms","info-rfid"]}',
        'requests.subscribe={rate=10,delay="1s"}',
        'requests.subscribe_groups={rate=4,delay="1s",groups=["group-1","group-2"]}',
    )
    ended = run("run", CAMPUS, *SMALLER, *(word for each in asked for word in ("--set", each)))
    ended.check_passed()
    counters = ended.counters
    assert counters["requests.answered"] == counters["requests.due"] == counters["requests.served"] > 500
    assert counters["requests.timed_out"] == counters["requests.dropped"] == 0
    assert counters["notify.received"] == counters["notify.due"] == counters["notify.sent"] > 500
    assert ended.errors == {}


def test_switches(run: Run) -> None:
    ended = run(
        "run",
        SWITCHES,
        *LOCAL,
        "--set",
        "wlc.count=5",
        "--set",
        "switch.interval=1s",
        "--set",
        "switch.down=10s",
        "--set",
        "switch.up=10s",
        "--duration",
        "4s",
    )
    ended.check_passed()
    counters = ended.counters
    assert counters["sessions.established"] == 5
    assert counters["notify.received"] == counters["notify.due"] > 20
    assert counters["notify.received"] == counters["service.attach.received"] + counters["service.location.received"]
    assert counters["service.location.received"] >= 5
    assert ended.errors == {}


def test_the_forecast_says_what_is_to_be_expected(run: Run) -> None:
    ended = run("plan", CAMPUS)
    assert ended.code == 0, ended.stderr
    assert "about 6,776 notifications/s" in ended.stdout
    assert "at most 268 a notification" in ended.stdout
    assert json.loads(run("schema", "plan").stdout)["properties"]["site"]["anyOf"][0]["properties"]["classes"]


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        (["load.rate=100"], ["load.rate", "follows from [site]"]),
        (["load.burst=2"], ["load.burst"]),
        (['load.stages=[{ramp="1s"}]'], ["load.stages[0]", "a warmup or a hold"]),
        (['site.tags.interval="181s"'], ["site.tags.interval", "1s to 180s"]),
        (["site.tags.threshold_db=11"], ["site.tags.threshold_db", "<= 10"]),
        (['site.stations.every=["5m","10s"]'], ["site.stations.every"]),
        (["site.reported_aps=17"], ["site.reported_aps", "<= 16"]),
        (["site.walk_m_per_s=[2,1]"], ["site.walk_m_per_s"]),
        (['mse.subscribe=["attach"]', "requests={}"], ["mse.subscribe", "the site has"]),
        (['requests.measurement={rate=5,device="known"}'], ["requests.measurement.device", '"any" or "unknown"']),
        (['wlc.kind="switch"'], ["wlc.subservices", "a switch offers attach and location"]),
    ],
)
def test_bad_input(refuse: Run, settings: list[str], parts: list[str]) -> None:
    refuse("run", CAMPUS, *LOCAL, *(word for each in settings for word in ("--set", each))).check_refused(*parts)


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        (['switch.interval="31s"'], ["switch.interval", "1s to 30s"]),
        (["switch.suppress=[49]"], ["switch.suppress", "ports 1 to 48"]),
        (["switch.suppress=1.5"], ["switch.suppress"]),
        (['load={kind="notify",rate=5}'], ["wlc.kind", "a switch measures nothing"]),
        (['mse.subscribe=["rssi-ms"]'], ["mse.subscribe", "attach, location"]),
    ],
)
def test_bad_switches(refuse: Run, settings: list[str], parts: list[str]) -> None:
    refuse("run", SWITCHES, *LOCAL, *(word for each in settings for word in ("--set", each))).check_refused(*parts)


def test_its_rate_is_not_searched(refuse: Run) -> None:
    refuse("capacity", CAMPUS, "--dimension", "notify.per_s").check_refused(
        "the rate of a site follows from what is on it"
    )
