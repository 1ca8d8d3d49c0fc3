"""What a WLC with a site knows of a device when it is asked: how things stood at the end of its class's interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from loadgen.nmsp.messages import Kind
from loadgen.nmsp.records import NO_MAC, Mac
from loadgen.nmsp.services import Subservice
from loadgen.session.directory import AP_GROUPS, FoundDevice, Records
from loadgen.world import devices
from loadgen.world.floor import Floor
from loadgen.world.population import Population

# Of the classes that a subservice is about, by name.
_CLASSES: dict[Subservice, tuple[str, ...]] = {
    Subservice.RSSI_MS: ("stations",),
    Subservice.RSSI_MS_ASSOCIATED_ONLY: ("stations",),
    Subservice.RSSI_RFID: ("tags",),
    Subservice.RSSI_ROGUE: ("rogues", "rogue_clients"),
    Subservice.RSSI_INTERFERER: ("interferers",),
    Subservice.RSSI_HS: ("handovers",),
    Subservice.ON_DEMAND: ("stations", "tags", "rogues", "rogue_clients", "interferers", "handovers"),
    Subservice.INFO_MS: ("stations",),
    Subservice.INFO_RFID: ("tags",),
    Subservice.INFO_ROGUE: ("rogues", "rogue_clients"),
    Subservice.INFO_HS: ("handovers",),
    Subservice.STATS_MS: ("stations",),
    Subservice.STATS_RFID: ("tags",),
    Subservice.STATS_ROGUE: ("rogues", "rogue_clients"),
}


class SiteDirectory:
    """All that is there and was heard. A site has no more to say about who left, or has another MAC now."""

    def __init__(self, populations: Mapping[str, Population], floor: Floor | None) -> None:
        """Args: floor: None: a switch's, which hears nothing and has no access points."""
        self.groups = AP_GROUPS if floor is not None else ()
        self._populations = populations
        self._floor = floor
        self._turn = 0

    def find(self, asked: Kind, subservice: Subservice, device_mac: Mac) -> FoundDevice | None:
        names = [name for name in _CLASSES.get(subservice, ()) if name in self._populations]
        clients_only = subservice is Subservice.RSSI_MS_ASSOCIATED_ONLY
        found = (
            self._any_of(names, clients_only=clients_only)
            if device_mac == NO_MAC
            else self._this_one(names, bytes(device_mac), clients_only=clients_only)
        )
        if found is None:
            return None
        population, row = found
        return FoundDevice(population.mac(row), self._about(asked, population, row))

    def _this_one(self, names: list[str], mac: bytes, *, clients_only: bool) -> tuple[Population, int] | None:
        for name in names:
            population = self._populations[name]
            row = population.row_of(mac)
            if row is not None and not (clients_only and population.ap[row] < 0):
                return population, row
        return None

    def _any_of(self, names: list[str], *, clients_only: bool) -> tuple[Population, int] | None:
        """Another one each time."""
        known = [
            (self._populations[name], row)
            for name in names
            for row in self._populations[name].known()
            if not (clients_only and self._populations[name].ap[row] < 0)
        ]
        if not known:
            return None
        self._turn += 1
        return known[self._turn % len(known)]

    def _about(self, asked: Kind, population: Population, row: int) -> Records:
        if asked in (Kind.MEASUREMENT_REQUEST, Kind.ON_DEMAND_REQUEST):
            return population.readings(row)
        assert self._floor is not None
        return (_RECORDS[asked][population.planned.name](population, row, self._floor),)


_RECORDS: dict[Kind, dict[str, Callable[[Population, int, Floor], msgspec.Struct]]] = {
    Kind.INFORMATION_REQUEST: {
        "stations": lambda population, row, floor: devices.client_info(
            population.mac(row), int(population.ap[row]), floor
        ),
        "tags": lambda population, row, _: devices.tag_info(population, row),
        "rogues": lambda population, row, _: devices.rogue_info(population, row),
        "rogue_clients": lambda population, row, _: devices.rogue_info(population, row),
        "handovers": lambda population, row, _: devices.handover_info(population.mac(row)),
    },
    Kind.STATISTICS_REQUEST: {
        "stations": lambda population, row, _: devices.client_statistics(population, row),
        "tags": lambda population, row, _: devices.tag_statistics(population, row),
        "rogues": lambda population, row, _: devices.rogue_statistics(population, row),
        "rogue_clients": lambda population, row, _: devices.rogue_statistics(population, row),
    },
}
