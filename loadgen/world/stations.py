"""Mobile stations of a simulated controller: who they are and which access points hear them how loudly. Seeded."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from loadgen.nmsp.bulk import Stations
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.services import MOBILE_STATION, Subservice
from loadgen.scenario.plan import Plan

# Locally administered: a simulated station or access point never has a real one's MAC.
_STATION_OUI = (0x02, 0x53)
_AP_OUI = (0x02, 0x41)
_RSSI_DBM = (-90, -35)
_SNR_DB = (5, 50)
_AGE_S = (0, 15)  # a WLC drops a client's reading after 15 s (location-expiry-client-threshold)
_SOURCE_PROBE = 1
_BANDS = 2
# Stations of each WLC that MSEs ask about, at most: an MSE keeps their MACs.
_MOST_ASKED = 256


def put_readings(table: NDArray[np.void], **columns: object) -> None:
    """Columns of readings, as far as the profile has them."""
    for name, column in columns.items():
        if name in (table.dtype.names or ()):
            table[name] = column


def make_stations(
    profile: WireProfile, seed: int, wlc: int, count: int, readings: tuple[int, int], granted: int
) -> Stations:
    """The stations of controller number `wlc`; the same for the same arguments, wherever they are made.

    Args:
        readings: lowest and highest number of AP readings of a station.
        granted: mask that decides under which subservice they are reported.
    """
    rng, counts, macs = _begin(seed, wlc, count, readings)
    most = int(counts.max())
    table = np.zeros((count, most), profile.readings_dtype)
    ap_macs = rng.integers(0, 256, (count, most, 6), np.uint8)
    ap_macs[..., :2] = _AP_OUI
    table["ap_mac"] = ap_macs.view("V6")[..., 0]
    slots = rng.integers(0, _BANDS, (count, most))
    put_readings(
        table,
        slot=slots,
        band=slots,
        source=_SOURCE_PROBE,
        rssi_a=rng.integers(*_RSSI_DBM, (count, most)),
        rssi_b=rng.integers(*_RSSI_DBM, (count, most)),
        snr=rng.integers(*_SNR_DB, (count, most)),
        age_s=rng.integers(*_AGE_S, (count, most)),
    )
    subservice = next((s for s in MOBILE_STATION if granted >> s & 1), Subservice.RSSI_MS)
    return Stations(macs, counts, table, subservice)


def known_macs(plan: Plan, wlcs: Iterable[int]) -> dict[int, list[bytes]]:
    """The MACs of some stations of each of these WLCs of ours, for MSEs that ask about them; by the plan's numbers."""
    if not any(request.device == "known" for request in plan.requests):
        return {}
    return {wlc: station_macs(plan.seed, plan.first + wlc, plan.wlc.stations, plan.wlc.readings) for wlc in wlcs}


def station_macs(seed: int, wlc: int, count: int, readings: tuple[int, int]) -> list[bytes]:
    """The first MACs that `make_stations` gives for the same arguments."""
    _, _, macs = _begin(seed, wlc, count, readings)
    return [mac.tobytes() for mac in macs[:_MOST_ASKED]]


def _begin(
    seed: int, wlc: int, count: int, readings: tuple[int, int]
) -> tuple[np.random.Generator, NDArray[np.int64], NDArray[np.uint8]]:
    rng = np.random.default_rng([seed, wlc])
    counts = rng.integers(readings[0], readings[1], count, endpoint=True)
    macs = rng.integers(0, 256, (count, 6), np.uint8)
    macs[:, :2] = _STATION_OUI
    return rng, counts, macs
