"""What a controller tells beside measurements: information, statistics, spectrum, access points, alarms, handovers.

Each service has an interval; at its end it gives records, which depend on nothing but the seed and that time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec
import numpy as np

from loadgen.nmsp import messages as m
from loadgen.nmsp import records as r
from loadgen.nmsp.bulk import MAX_WRITE_BYTES
from loadgen.nmsp.catalogue import KIND_OF
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import ServiceNotify
from loadgen.nmsp.services import Subservice
from loadgen.scenario.site_plan import PlannedService, PlannedSite
from loadgen.session.transmit import Notice, Priority
from loadgen.units import NS_PER_S
from loadgen.world import devices
from loadgen.world.devices import CHANNELS
from loadgen.world.floor import Floor
from loadgen.world.population import Population

Records = list[msgspec.Struct]

_SIGNATURES = 30
_H = 3600.0


class Told(NamedTuple):
    """Records that are told together. `kind` is the message that they go into."""

    kind: type[ServiceNotify]
    subservice: int
    priority: Priority
    records: Records

    def notices(self, codec: Codec, due_ns: int, most_bytes: int = MAX_WRITE_BYTES) -> list[Notice]:
        """The notifications that carry them: as many records in each as the wire profile allows and go into so many
        bytes, and a tag by itself, with what it sent. None if the profile has no such message.
        """
        layout = codec.profile.layouts.get(KIND_OF[self.kind])
        if layout is None:
            return []
        tags = self.kind is m.TagInfoNotify
        most = 1 if tags else layout.most_records
        found: list[Notice] = []
        first = 0
        while first < len(self.records):
            records = tuple(self.records[first : first + most])
            payload = {"payload": records[0].tag_mac * 6} if tags else {}  # type: ignore[attr-defined]
            message = self.kind(due_ns=due_ns, subservice=self.subservice, records=records, **payload)  # type: ignore[call-arg]
            notice = Notice(codec, message)
            if notice.size > most_bytes and len(records) > 1:
                most = max(1, len(records) * most_bytes // notice.size)
                continue
            found.append(notice)
            first += len(records)
        return found


class Teller:
    """One service of a controller.

    Attributes:
        interval_ns: at whose end `told` is asked.
    """

    def __init__(
        self,
        planned: PlannedService,
        site: PlannedSite,
        populations: Mapping[str, Population],
        floor: Floor,
        rng: np.random.Generator,
    ) -> None:
        self.interval_ns = planned.interval_ns
        self.floor = floor
        self.rng = rng
        self.alarms_per_h = site.alarms_per_h
        self.subservice = Subservice(planned.subservice)
        self._kind, self._priority, self._records = FAMILIES[self.subservice]
        self._populations = populations
        if self.subservice is Subservice.INFO_MS:
            populations["stations"].keep_changes = True
        if self.subservice is Subservice.FMCHS:
            populations["handovers"].keep_changes = True

    def told(self, now_ns: int) -> Told | None:
        """What there is to tell at the end of an interval; None if that is nothing."""
        records = self._records(self, now_ns)
        return Told(self._kind, self.subservice, self._priority, records) if records else None

    def some_of(self, *names: str) -> list[tuple[str, Population]]:
        """Those of these classes that the site has."""
        return [(name, self._populations[name]) for name in names if name in self._populations]

    def present(self, *names: str) -> list[tuple[str, Population, int]]:
        """Everybody of these classes who is there and was heard: class, population, row."""
        return [(name, population, row) for name, population in self.some_of(*names) for row in population.known()]

    def heard(self, now_ns: int, *names: str) -> list[tuple[str, Population, int]]:
        """The same, of those that sent since the last time."""
        return [each for each in self.present(*names) if each[1].last_sent_ns(each[2]) > now_ns - self.interval_ns]


def _client_info(teller: Teller, now_ns: int) -> Records:
    """A client that joined, roamed or left since the last time."""
    (_, stations) = teller.some_of("stations")[0]
    return [
        devices.client_info(change.mac, -1 if change.what == "left" else change.ap, teller.floor)
        for change in stations.changes()
        if change.what != "came"
    ]


def _handover_info(teller: Teller, now_ns: int) -> Records:
    return [devices.handover_info(population.mac(row)) for _, population, row in teller.heard(now_ns, "handovers")]


def _handovers(teller: Teller, now_ns: int) -> Records:
    """Stations that came from another controller since the last time."""
    (_, population) = teller.some_of("handovers")[0]
    return [
        r.Handover(station_mac=change.mac, to_ap=bytes(teller.floor.macs[teller.rng.integers(len(teller.floor.macs))]))
        for change in population.changes()
        if change.what == "came"
    ]


def _tag_info(teller: Teller, now_ns: int) -> Records:
    return [devices.tag_info(population, row) for _, population, row in teller.heard(now_ns, "tags")]


def _rogue_info(teller: Teller, now_ns: int) -> Records:
    return [
        devices.rogue_info(population, row) for _, population, row in teller.heard(now_ns, "rogues", "rogue_clients")
    ]


def _client_statistics(teller: Teller, now_ns: int) -> Records:
    return [
        devices.client_statistics(population, row)
        for _, population, row in teller.present("stations")
        if population.ap[row] >= 0
    ]


def _tag_statistics(teller: Teller, now_ns: int) -> Records:
    return [devices.tag_statistics(population, row) for _, population, row in teller.present("tags")]


def _rogue_statistics(teller: Teller, now_ns: int) -> Records:
    return [
        devices.rogue_statistics(population, row) for _, population, row in teller.present("rogues", "rogue_clients")
    ]


def _interferers(teller: Teller, now_ns: int) -> Records:
    """Those heard since the last time; each by the access point that hears it best."""
    records: Records = []
    for _, population, row in teller.heard(now_ns, "interferers"):
        rssi = population.loudest_dbm(row)
        records.append(
            r.Interferer(
                device_id=row,
                cluster=population.mac(row),
                ap_mac=bytes(teller.floor.macs[population.loudest_ap(row)]),
                device_type=row % 12,
                severity=row * 7 % 100,
                duty_cycle=row * 13 % 101,
                rssi=min(max(rssi, -90), -60),  # the range that the MIB gives it
                detected_s=now_ns // NS_PER_S,
                signature=population.mac(row) + bytes(26),  # of 0 to 32 bytes
            )
        )
    return records


def _air_quality(teller: Teller, now_ns: int) -> Records:
    index = teller.rng.integers(60, 100, (len(teller.floor.macs), 2))
    return [
        r.AirQuality(
            ap_mac=bytes(mac),
            slot=slot,
            channel=CHANNELS[slot][ap % len(CHANNELS[slot])],
            index=int(index[ap, slot]),
            lowest_index=int(index[ap, slot]) - 10,
            total_power=-60,
            total_duty_cycle=100 - int(index[ap, slot]),
            measured_s=now_ns // NS_PER_S,
        )
        for ap, mac in enumerate(teller.floor.macs)
        for slot in (0, 1)
    ]


def _ap_monitor(teller: Teller, now_ns: int) -> Records:
    clients = np.zeros(len(teller.floor.macs), np.int64)
    for _, population in teller.some_of("stations"):
        clients += np.bincount(population.ap[population.ap >= 0], minlength=len(clients))
    return [
        r.ApMonitor(bytes(mac), 1, CHANNELS[1][ap % 8], -95, int(clients[ap]), min(100, 2 * int(clients[ap])))
        for ap, mac in enumerate(teller.floor.macs)
    ]


def _ap_info(teller: Teller, now_ns: int) -> Records:
    return [r.ApInfo(bytes(mac), state=1, radios=2, name=f"ap-{ap}") for ap, mac in enumerate(teller.floor.macs)]


def _alarms(teller: Teller, now_ns: int) -> Records:
    """Rare, and independent of each other."""
    rng = teller.rng
    count = int(rng.poisson(teller.alarms_per_h * teller.interval_ns / NS_PER_S / _H))
    return [
        r.WipsAlarm(
            source_mac=b"\x02\x57" + rng.bytes(4),
            signature=int(rng.integers(1, _SIGNATURES + 1)),
            version=1,
            ap_mac=bytes(teller.floor.macs[int(rng.integers(len(teller.floor.macs)))]),
            channel=6,
            rssi=int(rng.integers(-85, -40)),
            snr=20,
            context="flood",
        )
        for _ in range(count)
    ]


Family = tuple[type[ServiceNotify], Priority, Callable[[Teller, int], Records]]

FAMILIES: dict[Subservice, Family] = {
    Subservice.INFO_MS: (m.ClientInfoNotify, Priority.NORMAL, _client_info),
    Subservice.INFO_RFID: (m.TagInfoNotify, Priority.NORMAL, _tag_info),
    Subservice.INFO_ROGUE: (m.RogueInfoNotify, Priority.NORMAL, _rogue_info),
    Subservice.INFO_HS: (m.ClientInfoNotify, Priority.NORMAL, _handover_info),
    Subservice.STATS_MS: (m.ClientStatisticsNotify, Priority.NORMAL, _client_statistics),
    Subservice.STATS_RFID: (m.TagStatisticsNotify, Priority.NORMAL, _tag_statistics),
    Subservice.STATS_ROGUE: (m.RogueStatisticsNotify, Priority.NORMAL, _rogue_statistics),
    Subservice.SPECTRUM_INTERFERER: (m.InterfererNotify, Priority.NORMAL, _interferers),
    Subservice.SPECTRUM_AGGREGATE_INTERFERER: (m.InterfererNotify, Priority.NORMAL, _interferers),
    Subservice.SPECTRUM_AIR_QUALITY: (m.AirQualityNotify, Priority.NORMAL, _air_quality),
    Subservice.FMCHS: (m.HandoverNotify, Priority.NORMAL, _handovers),
    Subservice.AP_MONITOR: (m.ApMonitorNotify, Priority.NORMAL, _ap_monitor),
    Subservice.AP_INFO: (m.ApInfoNotify, Priority.NORMAL, _ap_info),
    Subservice.WIPS: (m.WipsAlarmNotify, Priority.HIGH, _alarms),
}
