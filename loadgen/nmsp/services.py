"""The 23 NMSP subservices and the 64-bit mask that capability and subscription are made of.

Source: Cisco-IOS-XE-wireless-nmsp-oper.yang names the subservices in this order; that the bit is the position in that
order is inferred (the mask 0x68EBE7 of a live Catalyst 9800 sets exactly the bits of the 15 subservices it lists).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class Subservice(IntEnum):
    """Bit position in the mask; the document name is the member's name in lower case with dashes."""

    RSSI_MS = 0
    RSSI_RFID = 1
    RSSI_ROGUE = 2
    RSSI_INTERFERER = 3
    RSSI_HS = 4
    RSSI_MS_ASSOCIATED_ONLY = 5
    SPECTRUM_INTERFERER = 6
    SPECTRUM_AIR_QUALITY = 7
    SPECTRUM_AGGREGATE_INTERFERER = 8
    INFO_MS = 9
    INFO_RFID = 10
    INFO_ROGUE = 11
    INFO_HS = 12
    STATS_MS = 13
    STATS_RFID = 14
    STATS_ROGUE = 15
    ATTACH = 16
    LOCATION = 17
    FMCHS = 18
    AP_MONITOR = 19
    WIPS = 20
    ON_DEMAND = 21
    AP_INFO = 22

    @property
    def label(self) -> str:
        """The name as the YANG model and our documents write it: "rssi-ms"."""
        return self.name.lower().replace("_", "-")


ALL = (1 << len(Subservice)) - 1
# What a live Catalyst 9800 (IOS-XE 17.12.6a) announces; source: client-registration of its nmsp-oper data.
CATALYST_9800 = 0x68EBE7

BY_LABEL = {service.label: service for service in Subservice}

# The subservices a measurement notification about a mobile station may carry.
MOBILE_STATION = (Subservice.RSSI_MS, Subservice.RSSI_MS_ASSOCIATED_ONLY)


def mask_of(services: Iterable[Subservice]) -> int:
    """The mask with the bit of each subservice set."""
    mask = 0
    for service in services:
        mask |= 1 << service
    return mask


def labels_of(mask: int) -> list[str]:
    """Names of the subservices in a mask; bits that no subservice has come as "bit-40"."""
    return [
        Subservice(bit).label if bit < len(Subservice) else f"bit-{bit}"
        for bit in range(mask.bit_length())
        if mask >> bit & 1
    ]
