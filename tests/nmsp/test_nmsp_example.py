"""The worked example of docs/wire-profile.md: the profile that the page arrives at reads and writes the capture."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadgen.nmsp.codec import Codec
from loadgen.nmsp.hot import NotifyReceiver
from loadgen.nmsp.messages import (
    Capability,
    ClientInfoNotify,
    EchoRequest,
    EchoResponse,
    MeasurementNotify,
    Message,
    Reading,
    Role,
    Status,
    SubscribeRequest,
    SubscribeResponse,
    VersionRequest,
    VersionResponse,
)
from loadgen.nmsp.profile import WireProfile, load_profile
from loadgen.nmsp.records import ClientInfo
from loadgen.nmsp.services import CATALYST_9800, Subservice, mask_of
from loadgen.nmsp.session import Session, State

FOLDER = Path(__file__).parents[2] / "docs" / "wire-profile"
PAGE = FOLDER.with_suffix(".md").read_text("utf-8")
NOON = 1_736_164_800_000_000_000  # 2025-01-06 12:00:00 UTC
ASKED = mask_of([Subservice.RSSI_MS, Subservice.INFO_MS])


def mac(text: str) -> bytes:
    return bytes.fromhex(text)


def client(station: str, ap: str, vlan: int, ssid: str) -> ClientInfo:
    return ClientInfo(mac(station), mac(ap), vlan=vlan, ssid=ssid)


# What the page says that was captured: (transaction, message).
MEANT: list[tuple[int, Message]] = [
    (1, VersionRequest(1, 1)),
    (1, VersionResponse(1, Status.OK)),
    (0, Capability(CATALYST_9800)),
    (2, SubscribeRequest(ASKED)),
    (2, SubscribeResponse(ASKED, Status.OK)),
    (
        0,
        MeasurementNotify(
            0,
            NOON,
            NOON + 534_592,
            mac("025300000001"),
            Subservice.RSSI_MS,
            (
                Reading(mac("024100000001"), 0, 0, 1, -40, -42, 30, 0),
                Reading(mac("024100000002"), 1, 1, 1, -60, -61, 18, 3),
            ),
        ),
    ),
    (
        0,
        MeasurementNotify(
            1,
            NOON + 1_001_984 - 512 - 1_000 + 0,
            NOON,
            mac("025300000002"),
            Subservice.RSSI_MS,
            (Reading(mac("024100000001"), 0, 0, 1, -71, -70, 10, 1),),
        ),
    ),
    (3, EchoRequest()),
    (3, EchoResponse()),
]
