"""A simulated controller's site: what it finds changed, and what else it has to tell, at the end of each interval.

Everything follows from the seed and the controller's number, and time is an argument, so it is the same wherever and
whenever it is computed: a tick that is computed late finds what it would have found in time.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.services import Subservice
from loadgen.scenario.site_plan import PlannedSite
from loadgen.session.directory import AP_GROUPS
from loadgen.world.floor import Floor
from loadgen.world.population import Found, Population
from loadgen.world.site_directory import SiteDirectory
from loadgen.world.switch import Ports
from loadgen.world.tellers import Teller, Told

# Behind seed and number, so that no site has the random numbers of a WLC's fixed stations.
_FLOOR, _CLASSES, _SERVICES, _SWITCH = 1, 2, 3, 4

Find = Callable[[int], "Found | Told | None"]


class Site:
    """One controller's site, or what there is instead if that is a switch.

    Attributes:
        populations: its classes, by name.
        clocks: how many things tick; each has a number from 0 on.
        directory: what the controller answers from when it is asked.
    """

    def __init__(self, profile: WireProfile, site: PlannedSite, seed: int, number: int, mask: int) -> None:
        """Args: mask: of the subservices that the WLC offers; but for measurements, those outside of it are not worked
        out.
        """
        self.populations: dict[str, Population] = {}
        self._intervals_ns: list[int] = []
        self._phases_ns: list[int] = []
        self._finds: list[Find] = []
        self._floor: Floor | None = None
        if site.switch is not None:
            self._add_switch(site, seed, number)
        else:
            self._add_classes(profile, site, seed, number, mask)
        self.clocks = len(self._finds)
        self.directory = SiteDirectory(self.populations, self._floor)

    def _add_classes(self, profile: WireProfile, site: PlannedSite, seed: int, number: int, mask: int) -> None:
        floor = self._floor = Floor(site, np.random.default_rng([seed, number, _FLOOR]))
        for index, planned in enumerate(site.classes):
            # Of its own: what one class does leaves the others as they are.
            rng = np.random.default_rng([seed, number, _CLASSES, index])
            phase_ns = int(rng.integers(planned.interval_ns))
            population = self.populations[planned.name] = Population(profile, site, planned, floor, rng)
            self._add(planned.interval_ns, phase_ns, _finder(population))
        for service in site.services:
            if mask >> service.subservice & 1:
                rng = np.random.default_rng([seed, number, _SERVICES, service.subservice])
                phase_ns = int(rng.integers(service.interval_ns))
                self._add(service.interval_ns, phase_ns, Teller(service, site, self.populations, floor, rng).told)

    def _add_switch(self, site: PlannedSite, seed: int, number: int) -> None:
        assert site.switch is not None
        rng = np.random.default_rng([seed, number, _SWITCH])
        ports = Ports(site.switch, number, rng)
        for service in site.services:
            phase_ns = int(rng.integers(service.interval_ns))
            attach = service.subservice == Subservice.ATTACH
            self._add(service.interval_ns, phase_ns, ports.attachments if attach else ports.locations)

    def _add(self, interval_ns: int, phase_ns: int, find: Find) -> None:
        """Args: phase_ns: of its own, so that neither controllers nor what one of them has to tell tick together."""
        self._intervals_ns.append(interval_ns)
        self._phases_ns.append(phase_ns)
        self._finds.append(find)

    def in_groups(self, groups: tuple[str, ...]) -> NDArray[np.bool_]:
        """Which of its access points are in these groups; they are in all of `AP_GROUPS` in turn."""
        assert self._floor is not None
        return np.array([AP_GROUPS[ap % len(AP_GROUPS)] in groups for ap in range(len(self._floor.macs))])

    def tick_ns(self, clock: int, tick: int) -> int:
        """When a clock's interval number `tick` (0, 1, ...) ends: ns since the start."""
        return self._phases_ns[clock] + tick * self._intervals_ns[clock]

    def tick(self, clock: int, tick: int) -> Found | Told | None:
        """What there is to tell at the end of this interval. Ticks come in the order of their time, and none is left
        out.

        Cost: with 750 stations and 75 access points, 43 of which sent: 0.5 ms.
        """
        return self._finds[clock](self.tick_ns(clock, tick))


def _finder(population: Population) -> Find:
    def find(now_ns: int) -> Found | None:
        population.go_on(now_ns)
        return population.changed(now_ns)

    return find
