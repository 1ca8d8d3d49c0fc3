"""What a controller with a site answers when it is asked about a device."""

from __future__ import annotations

import numpy as np
import pytest
from site_samples import clock_of, plan_of, site_of

from loadgen.nmsp import records as r
from loadgen.nmsp.messages import Kind
from loadgen.nmsp.records import NO_MAC
from loadgen.nmsp.services import Subservice
from loadgen.session.directory import AP_GROUPS
from loadgen.units import NS_PER_S
from loadgen.world.population import Found, Population
from loadgen.world.site import Site

_EVERY_CLASS = {
    "aps": 12,
    "stations": {"every": ["1s", "2s"]},
    **{
        name: {"count": 6, "every": ["1s", "2s"]}
        for name in ("tags", "rogues", "rogue_clients", "interferers", "handovers")
    },
}
MEASUREMENT, ON_DEMAND = Kind.MEASUREMENT_REQUEST, Kind.ON_DEMAND_REQUEST
INFORMATION, STATISTICS = Kind.INFORMATION_REQUEST, Kind.STATISTICS_REQUEST


@pytest.fixture
def site() -> Site:
    """Ten seconds after it began."""
    made = site_of(plan_of(_EVERY_CLASS))
    for population in made.populations.values():
        population.go_on(10 * NS_PER_S)
    return made


def known(site: Site, *names: str) -> dict[bytes, tuple[Population, int]]:
    return {
        site.populations[name].mac(row): (site.populations[name], row)
        for name in names
        for row in site.populations[name].known()
    }


@pytest.mark.parametrize(
    ("asked", "subservice", "record", "classes"),
    [
        (MEASUREMENT, Subservice.RSSI_MS, r.Reading, ("stations",)),
        (MEASUREMENT, Subservice.RSSI_RFID, r.Reading, ("tags",)),
        (MEASUREMENT, Subservice.RSSI_ROGUE, r.Reading, ("rogues", "rogue_clients")),
        (MEASUREMENT, Subservice.RSSI_INTERFERER, r.Reading, ("interferers",)),
        (MEASUREMENT, Subservice.RSSI_HS, r.Reading, ("handovers",)),
        (ON_DEMAND, Subservice.ON_DEMAND, r.Reading, tuple(_EVERY_CLASS.keys() - {"aps"})),
        (INFORMATION, Subservice.INFO_MS, r.ClientInfo, ("stations",)),
        (INFORMATION, Subservice.INFO_RFID, r.TagInfo, ("tags",)),
        (INFORMATION, Subservice.INFO_ROGUE, r.RogueInfo, ("rogues", "rogue_clients")),
        (INFORMATION, Subservice.INFO_HS, r.ClientInfo, ("handovers",)),
        (STATISTICS, Subservice.STATS_MS, r.ClientStatistics, ("stations",)),
        (STATISTICS, Subservice.STATS_RFID, r.TagStatistics, ("tags",)),
        (STATISTICS, Subservice.STATS_ROGUE, r.RogueStatistics, ("rogues", "rogue_clients")),
    ],
)
def test_it_tells_of_everybody_whom_the_subservice_is_about_and_of_nobody_else(
    site: Site, asked: Kind, subservice: Subservice, record: type, classes: tuple[str, ...]
) -> None:
    mine = known(site, *classes)
    assert mine
    for mac in known(site, *site.populations):
        found = site.directory.find(asked, subservice, mac)
        assert (found is not None) == (mac in mine)
        if found is not None:
            assert found.device_mac == mac
            assert {type(each) for each in found.records} == {record}
    anybody = [site.directory.find(asked, subservice, NO_MAC) for _ in mine]
    assert {found.device_mac for found in anybody if found is not None} == set(mine)


def test_readings_are_those_that_it_is_notified_with() -> None:
    plan = plan_of({"aps": 12, "stations": {"every": ["1s", "1s"], "expiry": "1h"}})
    site = site_of(plan)
    found = site.tick(clock_of(plan, "stations"), 5)
    assert isinstance(found, Found)
    for mac, count, readings in zip(found.stations.macs, found.stations.counts, found.stations.readings, strict=True):
        entry = site.directory.find(MEASUREMENT, Subservice.RSSI_MS, mac.tobytes())
        assert entry is not None
        told = [{name: cell[name] for name in readings.dtype.names} for cell in readings[: int(count)]]
        assert len(entry.records) == count
        for one, other in zip(entry.records, told, strict=True):
            values = {name: getattr(one, name) for name in other}
            assert values == {name: v.tobytes() if name == "ap_mac" else int(v) for name, v in other.items()}


def test_only_clients_where_only_clients_are_asked_for(site: Site) -> None:
    stations = site.populations["stations"]
    clients = {stations.mac(row) for row in stations.known() if stations.ap[row] >= 0}
    others = set(known(site, "stations")) - clients
    assert clients
    assert others
    only = Subservice.RSSI_MS_ASSOCIATED_ONLY
    assert all(site.directory.find(MEASUREMENT, only, mac) for mac in clients)
    assert not any(site.directory.find(MEASUREMENT, only, mac) for mac in others)
    anybody = [site.directory.find(MEASUREMENT, only, NO_MAC) for _ in range(100)]
    assert {found.device_mac for found in anybody if found is not None} == clients


def test_who_is_not_there_is_not_known(site: Site) -> None:
    stations = site.populations["stations"]
    away = np.flatnonzero(~stations.there).tolist()
    assert away
    assert not any(site.directory.find(MEASUREMENT, Subservice.RSSI_MS, stations.mac(row)) for row in away)
    assert site.directory.find(MEASUREMENT, Subservice.RSSI_MS, b"\x02\x55abcd") is None
    before = site_of(plan_of(_EVERY_CLASS))
    assert before.directory.find(MEASUREMENT, Subservice.RSSI_MS, NO_MAC) is None


def test_of_clients_it_knows_where_they_are_associated(site: Site) -> None:
    stations = site.populations["stations"]
    for row in stations.known():
        found = site.directory.find(INFORMATION, Subservice.INFO_MS, stations.mac(row))
        assert found is not None
        (record,) = found.records
        assert isinstance(record, r.ClientInfo)
        ap = int(stations.ap[row])
        assert record.ap_mac == (NO_MAC if ap < 0 else stations.floor.macs[ap].tobytes())


def test_a_switch_has_neither_devices_nor_groups() -> None:
    switch = site_of(plan_of(wlc={"kind": "switch"}, mse={"subscribe": ["attach", "location"]}))
    assert switch.directory.groups == ()
    assert switch.directory.find(MEASUREMENT, Subservice.RSSI_MS, NO_MAC) is None


def test_groups_share_the_access_points_out(site: Site) -> None:
    whole = sum(site.in_groups((group,)).astype(int) for group in AP_GROUPS)
    assert whole.tolist() == [1] * 12
    assert site.in_groups(AP_GROUPS[:2]).tolist() == [True, True, *[False] * 6, True, True, False, False]


def test_of_what_others_heard_nothing_is_left() -> None:
    plan = plan_of({"aps": 12, "stations": {"every": ["1s", "1s"]}})
    site = site_of(plan)
    found = site.tick(clock_of(plan, "stations"), 5)
    assert isinstance(found, Found)
    allowed = site.in_groups(AP_GROUPS[:1])
    part = found.heard_by(allowed)

    def told(what: Found) -> list[tuple[bytes, bool, list[bytes]]]:
        s = what.stations
        return [
            (mac.tobytes(), bool(client), [cell.tobytes() for cell in readings[:count]])
            for mac, client, readings, count in zip(s.macs, what.associated, s.readings, s.counts, strict=True)
        ]

    mine = {site.populations["stations"].floor.macs[ap].tobytes() for ap in np.flatnonzero(allowed)}
    expected = [(mac, client, [cell for cell in cells if cell[:6] in mine]) for mac, client, cells in told(found)]
    assert told(part) == [row for row in expected if row[2]]
    assert 0 < len(part.stations.counts) < len(found.stations.counts)
    assert part.aps.shape == part.stations.readings.shape
