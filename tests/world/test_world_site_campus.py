"""The arithmetic in scenarios/campus.toml and switches.toml: against the formulas, and those against the simulation."""

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path

import pytest
from site_samples import all_rounds, clock_of, measured, site_of

from loadgen.nmsp.services import Subservice
from loadgen.scenario.plan import Plan, make_plan
from loadgen.scenario.reading import load_scenario
from loadgen.scenario.site_plan import attachments_per_s, flaps_per_s, notifications_per_s, records_per_s, sends_per_s
from loadgen.units import NS_PER_S
from loadgen.world.population import Found

SCENARIOS = Path(__file__).parents[2] / "scenarios"
WLCS = 8
MINUTES = 10


def read(name: str, *overrides: str) -> Plan:
    return make_plan(*load_scenario(SCENARIOS / name, overrides))


def comment(name: str) -> str:
    """What the file says of itself, without line ends."""
    lines = (SCENARIOS / name).read_text("utf-8").splitlines()
    return re.sub(r"\s+", " ", " ".join(line.removeprefix("#") for line in lines if line.startswith("#")))


def test_the_file_says_what_the_formulas_say() -> None:
    plan, text = read("campus.toml"), comment("campus.toml")
    site = plan.site
    assert site is not None
    assert len(plan.wlcs) == 200
    assert len(plan.wlcs) * site.aps == 15_000
    by_name = {planned.name: planned for planned in site.classes}
    assert len(plan.wlcs) * by_name["stations"].count == 150_000
    assert f"{sends_per_s(by_name['stations']):.5f}/s" == "0.02842/s"
    assert "0.02842/s" in text
    per_s = {name: len(plan.wlcs) * records_per_s(site, planned) for name, planned in by_name.items()}
    rogues = per_s["rogues"] + per_s["rogue_clients"]
    for value, what in (
        (per_s["stations"], "client measurements/s"),
        (per_s["tags"], "tag measurements/s"),
        (rogues, "rogue measurements/s"),
        (per_s["interferers"], "interferer measurements/s"),
    ):
        assert f"= {value:,.0f} {what}" in text
    whole = sum(per_s.values())
    assert f"{whole:,.0f} measurements/s" in text
    assert abs(notifications_per_s(site, plan.mse.subscription) * len(plan.sessions) - 2 * whole) < 1e-6
    told = re.search(r"two MSEs: ([\d,]+)/s", text)
    assert told is not None
    assert abs(int(told[1].replace(",", "")) - 2 * whole) <= 1


@pytest.mark.parametrize("name", ["stations", "tags", "rogues", "rogue_clients", "interferers"])
def test_the_simulation_does_what_the_formulas_say(name: str) -> None:
    """Within three standard deviations, of which most is that each has an interval of its own, and that some are away
    for most of the 10 minutes.
    """
    plan = read("campus.toml")
    site = plan.site
    assert site is not None
    planned = next(each for each in site.classes if each.name == name)
    expected = WLCS * records_per_s(site, planned) * MINUTES * 60
    found = sum(
        len(each.stations.counts)
        for number in range(WLCS)
        for _, each in measured(site_of(plan, number), clock_of(plan, name), MINUTES * 60)
    )
    # As if whoever is there stays, and is heard as often as 1/T says, but for a rest that is no more than Poisson's.
    members = WLCS * planned.count
    low, high = (every / NS_PER_S for every in planned.every_ns)
    mean_square = (1 / low**2 - 1 / high**2) / (2 * math.log(high / low))  # of 1/T, as its mean in `sends_per_s`
    present = site.present if planned.leaves else 1.0
    variance = (
        members * (present * mean_square - (present * sends_per_s(planned)) ** 2) * (MINUTES * 60) ** 2 + expected
    )
    bound = 3 * math.sqrt(variance)
    if planned.threshold_db:  # the most there can be; and nearly all of it, as 4 dB of shadowing move something by 5 dB
        assert 0.8 * expected - bound < found < expected + bound
    else:
        assert abs(found - expected) < bound
    if name == "stations":
        assert bound < 0.05 * expected  # or this would show nothing


def test_a_record_is_told_at_the_end_of_its_interval() -> None:
    """2 s between ticks, and a station that probes no faster than every 9 s is in no two ticks in a row."""
    plan = read("campus.toml", "wlc.stations=100")
    last: dict[bytes, int] = {}
    for at_ns, found in measured(site_of(plan), 0, 120):
        for mac in map(bytes, found.stations.macs):
            assert at_ns - last.get(mac, -(10**12)) >= 8 * NS_PER_S
            last[mac] = at_ns
    assert len(last) > 50


def test_all_that_the_campus_subscribes_to_is_told() -> None:
    plan = read("campus.toml", "site.services.alarms_per_h=600")
    told: Counter[int] = Counter()
    for _, _, what in all_rounds(site_of(plan, mask=plan.mse.subscription), 90):
        told[what.stations.subservice if isinstance(what, Found) else what.subservice] += 1
    assert {Subservice(number) for number in told} == {
        Subservice(bit) for bit in range(23) if plan.mse.subscription >> bit & 1
    }


def test_the_switches_do_what_their_file_says() -> None:
    plan, text = read("switches.toml"), comment("switches.toml")
    assert plan.site is not None
    switch = plan.site.switch
    assert switch is not None
    assert plan.wlc.capability == 1 << Subservice.ATTACH | 1 << Subservice.LOCATION
    records = 100 * flaps_per_s(switch)
    assert f"= {records:.0f} records/s" in text
    notifications = 100 * attachments_per_s(switch, plan.site.services[0].interval_ns)
    assert f"{notifications:.1f} attachment notifications/s" in text
    told = [
        what
        for number in range(20)
        for _, _, what in all_rounds(site_of(plan, number), 600)
        if not isinstance(what, Found)
    ]
    attached = [what for what in told if what.subservice == Subservice.ATTACH]
    # Independent ports: the number of records is Poisson's, nearly.
    assert abs(sum(len(what.records) for what in attached) - records / 100 * 20 * 600) < 4 * math.sqrt(
        records / 5 * 600
    )
    assert abs(len(attached) - notifications / 100 * 20 * 600) < 4 * math.sqrt(notifications / 5 * 600)
