"""A place: access points and stations, who hears whom how loud, and what is known of each station."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import Any

Table = dict[str, Any]

# Of makers of access points and of devices, as the register of OUIs has them.
AP_OUIS = ("0027e3", "70db98", "a0f849", "5c5ac7", "d4e880", "00a289")
STATION_OUIS = ("3c22fb", "f4f5d8", "a483e7", "dca632", "48d6d5", "8c8590", "001a11", "b827eb", "7c2edd", "e0d55e")
SSIDS = ("corporate", "guests", "eduroam", "warehouse", "iot", "voice")
CHANNELS = (1, 6, 11, 36, 40, 44, 48, 52, 100, 104, 149, 157)
NAMES = ("anna", "b.meyer", "carlos", "d.novak", "elif", "f.rossi", "guest-104", "h.tanaka", "ivan", "j.smith", "kim")
LINES = (
    "link up",
    "link down",
    "radar on channel 52",
    "client excluded",
    "clock set",
    "join refused: no licence",
    "reboot by user",
)


@dataclass
class AccessPoint:
    mac: str
    address: str
    name: str
    x: float
    y: float
    channel: int
    load: float = 20.0


@dataclass
class Station:
    mac: str
    x: float
    y: float
    ssid: str
    user: str
    address: str
    vlan: int
    state: int
    associated_s: int
    counters: dict[str, int] = field(default_factory=dict)
    last_heard_ns: int = 0


class Site:
    """One controller's."""

    def __init__(self, rng: random.Random, began_ns: int) -> None:
        self.rng = rng
        self.mac = self._mac(rng.choice(AP_OUIS))
        self.net = rng.randrange(1, 200)
        self.model = rng.choice(("C9800-L", "AIR-CT5520", "vWLC", "WLC-3504"))
        self.boot_ns = began_ns - rng.randrange(3_600, 40 * 86_400) * 1_000_000_000 - rng.randrange(1_000_000_000)
        ouis = rng.sample(AP_OUIS, rng.choice((1, 1, 2)))
        self.aps = [self._ap(index, rng.choice(ouis)) for index in range(rng.randrange(2, 13))]
        self.stations = [self._station(index, began_ns) for index in range(rng.randrange(20, 201))]
        self._drift: dict[tuple[str, str], float] = {}
        self.counters: dict[str, int] = {}

    def _mac(self, oui: str, *, last_zero: bool = False) -> str:
        raw = bytearray(bytes.fromhex(oui) + self.rng.randbytes(3))
        if last_zero:
            raw[5] &= 0xF0
        return raw.hex(":")

    def _ap(self, index: int, oui: str) -> AccessPoint:
        rng = self.rng
        return AccessPoint(
            mac=self._mac(oui, last_zero=True),
            address=f"10.{self.net}.0.{20 + index}",
            name=f"ap-{rng.choice(('lobby', 'floor1', 'floor2', 'dock', 'hall'))}-{index:02}",
            x=rng.uniform(0, 80),
            y=rng.uniform(0, 50),
            channel=rng.choice(CHANNELS),
        )

    def _station(self, index: int, began_ns: int) -> Station:
        rng = self.rng
        if rng.random() < 0.4:
            raw = bytearray(rng.randbytes(6))
            raw[0] = raw[0] & 0xFC | 2
            mac = raw.hex(":")
        else:
            mac = self._mac(rng.choice(STATION_OUIS))
        return Station(
            mac=mac,
            x=rng.uniform(0, 80),
            y=rng.uniform(0, 50),
            ssid=rng.choice(SSIDS[:4]),
            user=rng.choice(NAMES),
            address=f"10.{self.net}.{1 + index // 200}.{10 + index % 200}",
            vlan=rng.choice((10, 20, 100, 230)),
            state=rng.choice((1, 2, 2, 2, 3)),
            associated_s=began_ns // 1_000_000_000 - rng.randrange(5, 20_000),
            counters={
                name: rng.randrange(1_000, 40_000_000)
                for name in ("bytes_in", "bytes_out", "packets_in", "packets_out")
            }
            | {"retries": rng.randrange(2_000), "drops": rng.randrange(200)},
            last_heard_ns=began_ns,
        )

    def rssi(self, station: Station, ap: AccessPoint) -> int:
        """dBm, changing slowly for each pair."""
        key = station.mac, ap.mac
        drift = self._drift.get(key, 0.0) * 0.95 + self.rng.gauss(0, 0.9)
        self._drift[key] = drift
        away = math.hypot(station.x - ap.x, station.y - ap.y)
        return round(max(-98.0, min(-22.0, -36 - 26 * math.log10(max(away, 2) / 2) * 1.1 + drift)))

    def reading(self, station: Station, ap: AccessPoint, now_ns: int) -> Table:
        rng = self.rng
        rssi = self.rssi(station, ap)
        noise = rng.choice((-95, -94, -96, -95, -92))
        age = 0 if rng.random() < 0.5 else min(200, int(rng.expovariate(0.12)))
        return {
            "ap": ap.mac,
            "station": station.mac,
            "rssi": rssi,
            "rssi_b": max(-99, min(-21, rssi + rng.randrange(-4, 5))),
            "noise": noise,
            "snr": max(0, rssi - noise),
            "channel": ap.channel,
            "slot": int(ap.channel > 14),
            "band": 1 + int(ap.channel > 14),
            "age": age,
        }

    def readings(self, station: Station, now_ns: int) -> list[Table]:
        """What the access points near a station have heard of it, the nearest first."""
        rng = self.rng
        near = sorted(self.aps, key=lambda ap: math.hypot(station.x - ap.x, station.y - ap.y))
        return [self.reading(station, ap, now_ns) for ap in near[: rng.randrange(1, min(6, len(near)) + 1)]]

    def step(self, station: Station) -> None:
        """It walks a little, and sends a little."""
        rng = self.rng
        station.x = min(80.0, max(0.0, station.x + rng.gauss(0, 0.4)))
        station.y = min(50.0, max(0.0, station.y + rng.gauss(0, 0.4)))
        for name, value in station.counters.items():
            big = 60_000 if name.startswith("bytes") else 90 if name.startswith("packets") else 2
            station.counters[name] = value + rng.randrange(big)

    def client(self, station: Station) -> Table:
        """All that is known of a station."""
        best = min(self.aps, key=lambda ap: math.hypot(station.x - ap.x, station.y - ap.y))
        return {
            "station": station.mac,
            "ap": best.mac,
            "channel": best.channel,
            "rssi": self.rssi(station, best),
            "ssid": station.ssid,
            "user": station.user,
            "address": station.address,
            "vlan": station.vlan,
            "state": station.state,
            "associated": station.associated_s * 1_000_000_000,
            **{f"count:{name}": value for name, value in station.counters.items()},
        }

    def count(self, name: str, step: int) -> int:
        self.counters[name] = self.counters.get(name, self.rng.randrange(1_000, 1_000_000)) + self.rng.randrange(
            1, step
        )
        return self.counters[name]
