"""What a site knows of one device, as a record of its class: told at intervals, and to who asks.

Fields of which the site has no model (batteries, counters, channels) follow from the device's row and the time: they
look right, and mean nothing.
"""

from __future__ import annotations

from loadgen.nmsp import records as r
from loadgen.units import NS_PER_S
from loadgen.world.floor import Floor
from loadgen.world.population import NOISE_DBM, Population

CHANNELS = ((1, 6, 11), (36, 40, 44, 48, 52, 56, 60, 64))
PAYLOAD_BYTES = 36  # of each frame of a tag; CCX allows 500
_ASSOCIATED, _IDLE = 3, 0  # bsnMobileStationStatus: associated(3), idle(0)
_NOBODY = -1


def client_info(mac: bytes, ap: int, floor: Floor) -> r.ClientInfo:
    """Args: ap: the access point that it is associated with; -1: none."""
    joined = ap != _NOBODY
    return r.ClientInfo(
        station_mac=mac,
        ap_mac=bytes(floor.macs[ap]) if joined else r.NO_MAC,
        wlan=1,
        status=_ASSOCIATED if joined else _IDLE,
        vlan=100,
        ssid="site",
    )


def handover_info(mac: bytes) -> r.ClientInfo:
    return r.ClientInfo(station_mac=mac, wlan=1, status=_ASSOCIATED, ssid="site")


def tag_info(population: Population, row: int) -> r.TagInfo:
    return r.TagInfo(
        tag_mac=population.mac(row),
        tag_type=1,
        vendor=1,
        battery=1 + row % 3,
        interval_s=int(population.every_s(row)),
        sequence_number=population.sends(row) & 0xFFF,
        channel=CHANNELS[0][row % 3],
        tx_power=15,
    )


def rogue_info(population: Population, row: int) -> r.RogueInfo:
    rssi = population.loudest_dbm(row)
    return r.RogueInfo(
        rogue_mac=population.mac(row),
        is_client=int(population.planned.name == "rogue_clients"),
        classification=row % 3,
        channel=CHANNELS[row % 2][row % 3],
        encrypted=row % 2,
        rssi=rssi,
        snr=max(rssi - NOISE_DBM, 0),
        detecting_aps=population.aps_hearing(row),
        last_seen_s=population.now_ns // NS_PER_S,
        ssid=f"rogue-{row}",
    )


def client_statistics(population: Population, row: int) -> r.ClientStatistics:
    rssi = population.loudest_dbm(row)
    packets = population.now_ns // NS_PER_S * (1 + row % 50)
    return r.ClientStatistics(
        station_mac=population.mac(row),
        bytes_received=packets * 300,
        bytes_sent=packets * 900,
        packets_received=packets,
        packets_sent=packets,
        tx_retries=packets // 50,
        rssi=rssi,
        snr=max(rssi - NOISE_DBM, 0),
    )


def tag_statistics(population: Population, row: int) -> r.TagStatistics:
    return r.TagStatistics(population.mac(row), population.sends(row) * PAYLOAD_BYTES, population.sends(row))


def rogue_statistics(population: Population, row: int) -> r.RogueStatistics:
    return r.RogueStatistics(
        population.mac(row), reports=population.sends(row), last_seen_s=population.now_ns // NS_PER_S
    )
