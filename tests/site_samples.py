"""Sites for tests: small ones, in virtual time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from loadgen.nmsp.profile import reference_profile
from loadgen.nmsp.services import ALL
from loadgen.scenario.plan import Plan, make_plan
from loadgen.scenario.reading import scenario_untrusted
from loadgen.units import NS_PER_S
from loadgen.world.population import Found
from loadgen.world.site import Site
from loadgen.world.tellers import Told

PROFILE = reference_profile()


def plan_of(site: dict[str, Any] | None = None, stations: int = 50, **tables: Any) -> Plan:
    """The plan of a scenario with this `[site]`."""
    data = {"name": "site", "load": {"kind": "site"}, "site": site or {}, "wlc": {"stations": stations}, **tables}
    scenario, profile = scenario_untrusted(data, Path("site.toml"))
    return make_plan(scenario, profile)


def site_of(plan: Plan, number: int = 0, mask: int = ALL) -> Site:
    assert plan.site is not None
    return Site(PROFILE, plan.site, plan.seed, number, mask)


def clock_of(plan: Plan, name: str) -> int:
    """The clock of a class."""
    assert plan.site is not None
    return [planned.name for planned in plan.site.classes].index(name)


def rounds(site: Site, clock: int, until_s: float) -> list[tuple[int, Found | Told | None]]:
    """Everything that a clock finds until then: when (ns), and what. Only for a clock that needs no other."""
    found, tick = [], 0
    while (at_ns := site.tick_ns(clock, tick)) <= until_s * NS_PER_S:
        found.append((at_ns, site.tick(clock, tick)))
        tick += 1
    return found


def measured(site: Site, clock: int, until_s: float) -> list[tuple[int, Found]]:
    """Of those, the ones that found something."""
    return [(at_ns, found) for at_ns, found in rounds(site, clock, until_s) if isinstance(found, Found)]


def all_rounds(site: Site, until_s: float) -> list[tuple[int, int, Found | Told]]:
    """What all clocks find until then, in the order of time: when (ns), which clock, what."""
    ticks = sorted(
        (site.tick_ns(clock, tick), clock, tick)
        for clock in range(site.clocks)
        for tick in range(int(until_s) + 1)
        if site.tick_ns(clock, tick) <= until_s * NS_PER_S
    )
    found = [(at_ns, clock, site.tick(clock, tick)) for at_ns, clock, tick in ticks]
    return [(at_ns, clock, what) for at_ns, clock, what in found if what is not None]
