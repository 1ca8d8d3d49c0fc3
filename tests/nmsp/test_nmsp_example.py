"""The worked example of docs/wire-profile.md: the profile that the page arrives at reads and writes the capture."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from nmsp_samples import REFERENCE_TOML

from loadgen.nmsp.bulk import NotifyReceiver, Stations
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import (
    Capability,
    ClientInfoNotify,
    EchoRequest,
    EchoResponse,
    MeasurementNotify,
    Message,
    Reading,
    ResponseStatus,
    Role,
    SubscribeRequest,
    SubscribeResponse,
    VersionRequest,
    VersionResponse,
)
from loadgen.nmsp.profile import WireProfile, load_profile, profile_untrusted
from loadgen.nmsp.records import ClientInfo
from loadgen.nmsp.ring import NotifyRing, Timing
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
    (1, VersionResponse(1, ResponseStatus.OK)),
    (0, Capability(CATALYST_9800)),
    (2, SubscribeRequest(ASKED)),
    (2, SubscribeResponse(ASKED, ResponseStatus.OK)),
    (
        0,
        MeasurementNotify(
            sequence=0,
            due_ns=NOON,
            sent_ns=NOON + 534_000,
            station_mac=mac("025300000001"),
            subservice=Subservice.RSSI_MS,
            readings=(
                Reading(mac("024100000001"), 0, 0, 1, -40, -42, 30, 0),
                Reading(mac("024100000002"), 1, 1, 1, -60, -61, 18, 3),
            ),
        ),
    ),
    (
        0,
        MeasurementNotify(
            sequence=1,
            due_ns=NOON + 1_000_000,
            sent_ns=NOON + 1_987_000,
            station_mac=mac("025300000002"),
            subservice=Subservice.RSSI_MS,
            readings=(Reading(mac("024100000001"), 0, 0, 1, -71, -70, 10, 1),),
        ),
    ),
    (3, EchoRequest()),
    (3, EchoResponse()),
    (
        0,
        ClientInfoNotify(
            sequence=0,
            due_ns=NOON,
            sent_ns=NOON + 534_000,
            subservice=Subservice.INFO_MS,
            records=(client("025300000001", "024100000001", 100, "corporate"),),
        ),
    ),
    (
        0,
        ClientInfoNotify(
            sequence=1,
            due_ns=NOON + 1_000_000,
            sent_ns=NOON + 1_987_000,
            subservice=Subservice.INFO_MS,
            records=(
                client("025300000002", "024100000001", 100, "corporate"),
                client("025300000003", "024100000002", 101, "guests"),
            ),
        ),
    ),
]


def capture() -> list[tuple[Role, bytes]]:
    lines = (FOLDER / "tern.hex").read_text("utf-8").splitlines()
    pairs = [line.split(maxsplit=1) for line in lines if not line.startswith("#")]
    return [(Role[sender.upper()], bytes.fromhex(data)) for sender, data in pairs]


@pytest.fixture(scope="module")
def tern() -> WireProfile:
    return load_profile(FOLDER / "tern.toml")


def test_the_profile_reads_what_was_captured(tern: WireProfile) -> None:
    codec, size, found = Codec(tern), tern.header.size, []
    session = Session(Role.MSE, tern.dialogue)
    for sender, frame in capture():
        values = dict(zip(tern.header.names, tern.header.struct.unpack_from(frame), strict=True))
        assert values["length"] + tern.length_of_header == len(frame)
        message = codec.decode_untrusted(values["msg_id"], memoryview(frame)[size:])
        session.message(sender, tern.kinds[values["msg_id"]])
        found.append((values["transaction"], message))
    assert found == MEANT
    assert session.state is State.ACTIVE


def test_and_writes_it_as_the_device_does(tern: WireProfile) -> None:
    """The order of elements is this program's own, and it has no elements that the profile does not name."""
    codec = Codec(tern)
    for (_, frame), (transaction, message) in zip(capture(), MEANT, strict=True):
        if not isinstance(message, ClientInfoNotify):
            assert codec.encode(message, transaction) == frame
            continue
        ours = codec.encode(message, transaction)
        unknown = bytes.fromhex("21066672657368 3f".replace(" ", ""))
        assert sorted(ours[tern.header.size :]) == sorted(frame.replace(unknown, b"")[tern.header.size :])


def test_notifications_are_columns_as_ever(tern: WireProfile) -> None:
    frames = b"".join(frame for sender, frame in capture() if frame[4:6] == bytes.fromhex("0102"))
    receiver = NotifyReceiver(tern, len(frames))
    receiver.view[:] = frames
    scanned = receiver.scan_untrusted(0, len(frames))
    assert (scanned.position, scanned.notifications, scanned.fault) == (len(frames), 2, None)
    columns = receiver.columns()
    assert columns.due_ns.tolist() == [NOON, NOON + 1_000_000]
    assert columns.sent_ns.tolist() == [NOON + 534_000, NOON + 1_987_000]


def test_every_frame_of_the_capture_is_on_the_page() -> None:
    """The page reasons about these bytes, so they must be these. What explains them is behind three spaces or more."""
    lines = [re.split(r" {3,}", line.strip())[0] for line in PAGE.splitlines() if line.startswith("    ")]
    shown = "".join("".join(lines).split())
    for _, frame in capture():
        assert frame.hex() in shown, frame.hex()


def test_a_ring_stamps_what_varies_and_leaves_the_heads_of_elements(tern: WireProfile) -> None:
    """One frame (one packing over what lies between), and several (columns): as the codec writes them."""
    codec, count = Codec(tern), 3
    readings = np.zeros((count, 2), tern.reading.dtype)
    ring = NotifyRing(tern, Stations(np.zeros((count, 6), np.uint8), np.full(count, 2), readings, 0), batch=count)
    heard = (Reading(bytes(6), 0, 0, 0, 0, 0, 0, 0),) * 2
    for wanted in (1, count):
        view, done = ring.patch(0, wanted, 5, Timing(NOON, NOON + 1))
        messages = [
            MeasurementNotify(
                sequence=5 + index, due_ns=NOON, sent_ns=NOON + 1, station_mac=bytes(6), subservice=0, readings=heard
            )
            for index in range(wanted)
        ]
        assert done == wanted
        assert bytes(view) == b"".join(map(codec.encode, messages))


# -- the dialogues of the page -----------------------------------------------------------------------------------------


def _blocks(page: str) -> list[str]:
    """Its examples in TOML that have a dialogue."""
    blocks = re.findall(r"(?m)(?:^(?: {4}.*)?\n)+", page)
    return [dedent(block) for block in blocks if "    [dialogue]" in block]


@pytest.mark.parametrize(("number", "turns", "ends"), [(0, 4, {"hail"}), (1, 4, {"unsubscribe_request"})])
def test_an_example_of_a_dialogue_is_one(number: int, turns: int, ends: set[str]) -> None:
    blocks = _blocks(PAGE)
    assert len(blocks) == 2
    document = tomllib.loads(REFERENCE_TOML.read_text("utf-8") + "\n" + blocks[number])
    profile = profile_untrusted(document, "page")
    assert len(profile.dialogue.opening) == turns
    assert ends <= profile.dialogue.labels_of(Role.MSE) | profile.dialogue.labels_of(Role.WLC)
