"""A device that tells of a reading no more than who heard it, and how loudly; and lengths that count a little more."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import Kind, MeasurementNotify, SubscribeRequest
from loadgen.nmsp.profile import WireProfile, profile_untrusted, reference_profile
from loadgen.nmsp.records import Reading
from loadgen.world.stations import make_stations


def bare(**header: int | str) -> WireProfile:
    document = msgspec.json.decode(msgspec.json.encode(reference_profile().document))
    document["records"]["reading"] = {
        "size": 7,
        "fields": [{"name": "ap_mac", "type": "mac", "offset": 0}, {"name": "rssi_a", "type": "i8", "offset": 6}],
    }
    document["header"] |= header
    return profile_untrusted(document, "bare")


def test_readings_of_two_fields() -> None:
    profile = bare()
    message = MeasurementNotify(station_mac=b"\2\0\0\0\0\1", readings=(Reading(b"\2\0\0\0\0\2", rssi_a=-60),))
    frame = Codec(profile).encode(message)
    body = frame[profile.framing.head :]
    assert body[32:].hex() == "020000000002c4"
    assert Codec(profile).decode_untrusted(profile.ids[Kind.MEASUREMENT_NOTIFY], memoryview(body)) == message


def test_stations_of_ours_have_what_the_profile_has_of_readings() -> None:
    stations = make_stations(bare(), 1, 0, 5, (2, 2), 1)
    whole = make_stations(reference_profile(), 1, 0, 5, (2, 2), 1)
    assert stations.readings.dtype.names == ("ap_mac", "rssi_a")
    assert np.array_equal(stations.readings["rssi_a"], whole.readings["rssi_a"])


@pytest.mark.parametrize(("adds", "counts", "told"), [(4, "frame", 24), (-2, "frame", 18), (1, "body", 9)])
def test_a_length_that_counts_a_little_more_or_less(adds: int, counts: str, told: int) -> None:
    profile = bare(length_adds=adds, length_counts=counts)
    frame = Codec(profile).encode(SubscribeRequest(subservices=1))
    assert len(frame) == 20
    assert int.from_bytes(frame[4:8], "big") == told
    assert profile.framing.added == {"frame": 0, "body": 12}[counts] - adds


def test_a_mask_of_32_bits() -> None:
    document = msgspec.json.decode(msgspec.json.encode(reference_profile().document))
    document["messages"]["subscribe_request"]["fields"][0]["type"] = "u32"
    profile = profile_untrusted(document, "narrow")
    body = Codec(profile).encode(SubscribeRequest(subservices=0x68EBE7))[profile.framing.head :]
    assert body.hex() == "0068ebe700000000"
    kind = profile.ids[Kind.SUBSCRIBE_REQUEST]
    assert Codec(profile).decode_untrusted(kind, memoryview(body)) == SubscribeRequest(subservices=0x68EBE7)
