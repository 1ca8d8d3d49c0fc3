"""What a WLC knows of devices when it is asked: the interface, and the one of a WLC whose stations stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeAlias

import msgspec

from loadgen.nmsp.bulk import Stations
from loadgen.nmsp.messages import Kind
from loadgen.nmsp.records import NO_MAC, ClientInfo, ClientStatistics, Mac, Reading
from loadgen.nmsp.services import Subservice

Records: TypeAlias = tuple[msgspec.Struct, ...]
# Names of the groups that a WLC's access points are in.
AP_GROUPS = tuple(f"group-{number}" for number in range(1, 9))


class FoundDevice(NamedTuple):
    """A device that was found, and what was asked about it: readings, or one record of its class."""

    device_mac: Mac
    records: Records


class Directory(Protocol):
    """Who answers for a WLC's devices: `StationDirectory`, or at a simulated site `SiteDirectory`."""

    groups: tuple[str, ...]

    def find(self, asked: Kind, subservice: Subservice, device_mac: Mac) -> FoundDevice | None:
        """What is known about a device, under a subservice that was granted; `NO_MAC`: about any of the class.

        Args:
            asked: MEASUREMENT_REQUEST or ON_DEMAND_REQUEST, for `Reading`s; INFORMATION_REQUEST or STATISTICS_REQUEST,
                for the record of the subservice's class.

        Returns:
            None: there is no such device.
        """
        ...


class Recalling(Protocol):
    """Who answers requests as they were answered before: `replay.answers.RecordedAnswers`."""

    def answer(
        self, asked: Kind, request: msgspec.Struct, transaction: int, unix_ns: int, began_ns: int
    ) -> tuple[Kind, bytes] | None:
        """The kind of the response, and its frame; None: it is answered by what is known.

        Args:
            unix_ns: now. began_ns: when the session did; both since the epoch.
        """
        ...


_READING_NUMBERS = tuple(name for name in Reading.__struct_fields__ if name != "ap_mac")
# Of these a WLC with fixed stations knows something; tags, rogues and interferers it has none.
_STATION_SERVICES = frozenset(
    {
        *(Subservice.RSSI_MS, Subservice.RSSI_MS_ASSOCIATED_ONLY, Subservice.ON_DEMAND),
        *(Subservice.INFO_MS, Subservice.STATS_MS),
    }
)


class StationDirectory:
    """Mobile stations with the readings that they are notified with; information and statistics follow from the MAC."""

    groups = AP_GROUPS

    def __init__(self, make: Callable[[], Stations]) -> None:
        """Args: make: the stations; called at the first request, so that a WLC that is asked nothing has none."""
        self._make = make
        self._stations: Stations | None = None
        self._rows: dict[bytes, int] = {}
        self._turn = 0

    def find(self, asked: Kind, subservice: Subservice, device_mac: Mac) -> FoundDevice | None:
        if self._stations is None:
            self._stations = self._make()
            self._rows = {mac.tobytes(): row for row, mac in enumerate(self._stations.macs)}
        if subservice not in _STATION_SERVICES:
            return None
        if device_mac == NO_MAC:
            row = self._turn % len(self._stations.macs)
            self._turn += 1
            mac = self._stations.macs[row].tobytes()
        elif (found := self._rows.get(bytes(device_mac))) is not None:
            row, mac = found, bytes(device_mac)
        else:
            return None
        return FoundDevice(mac, self._about(asked, self._stations, row, mac))

    def _about(self, asked: Kind, stations: Stations, row: int, mac: bytes) -> Records:
        readings = _readings(stations, row)
        if asked is Kind.MEASUREMENT_REQUEST:
            return readings
        if asked is Kind.ON_DEMAND_REQUEST:  # measured now
            return tuple(msgspec.structs.replace(reading, age_s=0) for reading in readings)
        best = max(readings, key=lambda reading: reading.rssi_a, default=None)
        return (_information(row, mac, best) if asked is Kind.INFORMATION_REQUEST else _statistics(mac, best),)


def _readings(stations: Stations, row: int) -> tuple[Reading, ...]:
    cells = stations.readings[row][: int(stations.counts[row])]
    numbers = [name for name in _READING_NUMBERS if name in (cells.dtype.names or ())]
    return tuple(
        Reading(ap_mac=cell["ap_mac"].tobytes(), **{name: int(cell[name]) for name in numbers}) for cell in cells
    )


def _information(row: int, mac: bytes, best: Reading | None) -> ClientInfo:
    return ClientInfo(
        station_mac=mac,
        ap_mac=NO_MAC if best is None else best.ap_mac,
        slot=0 if best is None else best.slot,
        wlan=1,
        status=1,
        protocol=1 + mac[5] % 7,
        vlan=1 + mac[4] % 16,
        # 10.0.0.0/8, in IPv6.
        address=bytes(10) + b"\xff\xff\x0a" + ((row + 1) & 0xFFFFFF).to_bytes(3, "big"),
        user_name=f"user-{row + 1}",
        ssid="loadgen",
    )


def _statistics(mac: bytes, best: Reading | None) -> ClientStatistics:
    """Counters that stand still, as their station does."""
    packets = int.from_bytes(mac[2:], "big") % 1_000_000
    return ClientStatistics(
        station_mac=mac,
        bytes_received=packets * 300,
        bytes_sent=packets * 900,
        packets_received=packets,
        packets_sent=packets + packets // 2,
        tx_retries=packets // 20,
        rssi=0 if best is None else best.rssi_a,
        snr=0 if best is None else best.snr,
    )
