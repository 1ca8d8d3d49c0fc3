"""Device times: each unit, epoch, width and byte order, in bytes that were worked out by hand; and how old one is."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nmsp_by_hand import time_bytes
from nmsp_samples import REPEATABLE, core_document, read_frame
from thoroughness import examples

from loadgen.nmsp.codec import Codec
from loadgen.nmsp.device_time import DeviceTime
from loadgen.nmsp.messages import MeasurementNotify
from loadgen.nmsp.profile import WireProfile, profile_untrusted
from loadgen.nmsp.profile_document import FieldDocument, TimeUnit

# 2025-01-06 12:00:00 UTC is 1,736,164,800 s: 0x677BC5C0. A quarter of a second behind it, so that all is exact.
NOON_NS = 1_736_164_800_250_000_000
UNITS: dict[TimeUnit, int] = {"s": 10**9, "ms": 10**6, "us": 1000, "ns": 1, "s+us": 1000, "s+ns": 1, "s+frac": 1}
# Unit, bytes -> on the wire in big-endian order, and the time that comes back.
VECTORS: list[tuple[TimeUnit, int, str, int]] = [
    ("s", 4, "677bc5c0", 1_736_164_800 * 10**9),
    ("s", 8, "00000000677bc5c0", 1_736_164_800 * 10**9),
    ("ms", 8, "000001943b7c76fa", NOON_NS),  # 1,736,164,800,250
    ("ms", 4, "3b7c76fa", 998_012_666 * 10**6),  # what is left of it: less 404 * 2^32
    ("us", 8, "00062b085e30c090", NOON_NS),
    ("ns", 8, "181818afee703280", NOON_NS),
    ("s+us", 8, "677bc5c00003d090", NOON_NS),  # 250,000
    ("s+ns", 8, "677bc5c00ee6b280", NOON_NS),  # 250,000,000
    ("s+frac", 8, "677bc5c040000000", NOON_NS),  # a quarter of 2^32
]


def time(unit: TimeUnit, size: int, order: str = ">", epoch: Literal["unix", "session"] = "unix") -> DeviceTime:
    return DeviceTime(FieldDocument("time", "time", 0, size=size, unit=unit, epoch=epoch), order)


def notifying(unit: TimeUnit, size: int, order: str, place: str) -> WireProfile:
    """A measurement notification that has a time at a place, in an element or in its tail."""
    document = core_document() | {"byte_order": order}
    notify = document["messages"]["measurement_notify"]
    field = {"name": "time", "type": "time", "size": size, "unit": unit}
    if place == "fixed":
        notify["fields"] = [each | {"offset": each["offset"] + size} for each in notify["fields"]]
        notify["fields"].insert(0, field | {"offset": 0})
        notify["size"] += size
    elif place == "element":
        notify["elements"] = {"type": "u8", "length": "u8", "fields": [field | {"id": 9}]}
    else:
        notify["tail"] = {"size": size, "fields": [field | {"offset": 0}]}
    return profile_untrusted(document, "times")


@pytest.mark.parametrize("place", ["fixed", "element", "tail"])
@pytest.mark.parametrize(("unit", "size", "wire", "back"), VECTORS, ids=[f"{v[0]} in {v[1]}" for v in VECTORS])
def test_a_time_on_the_wire(unit: TimeUnit, size: int, wire: str, back: int, place: str) -> None:
    for order in ("big", "little"):
        profile = notifying(unit, size, order, place)
        message = MeasurementNotify(station_mac=bytes(6), readings=(), time=NOON_NS)
        frame = Codec(profile).encode(message)
        found = frame[12 : 12 + size] if place == "fixed" else frame[-size:]
        whole = bytes.fromhex(wire)
        if order == "little":  # of a pair, each half by itself
            whole = whole[3::-1] + whole[:3:-1] if "+" in unit else whole[::-1]
        assert found == whole
        assert place != "element" or frame[-size - 2 : -size] == bytes((9, size))
        read, _ = read_frame(profile, frame)
        assert read.time == back  # type: ignore[attr-defined]


@given(time_ns=st.integers(0, (1 << 63) - 1), unit=st.sampled_from(sorted(UNITS)), order=st.sampled_from("<>"))
@settings(REPEATABLE, max_examples=examples(400))
def test_any_time_comes_back_to_its_last_digit(time_ns: int, unit: TimeUnit, order: str) -> None:
    """By numbers and by arrays; what is too long goes round."""
    size = 8
    told = time(unit, size, order)
    number = told.to_wire(time_ns)
    name = "big" if order == ">" else "little"
    assert number.to_bytes(size, name) == time_bytes(name, unit, size, time_ns)
    back = told.from_wire(number)
    assert 0 <= (time_ns - back) % (told.range_ns or 1 << 80) < told.step_ns == UNITS[unit]
    if time_ns < 1 << 62:  # sums of an int64 array have to fit
        many = np.array([time_ns, 0], np.int64)
        assert told.from_wire(told.to_wire(many)).tolist() == [back if back < 1 << 63 else back - (1 << 64), 0]


@pytest.mark.parametrize(
    ("unit", "size", "period"),
    [
        ("s", 4, 2**32 * 10**9),
        ("ms", 4, 2**32 * 10**6),
        ("us", 4, 2**32 * 1000),
        ("ns", 4, 2**32),
        ("s+us", 8, 2**32 * 10**9),
    ],
)
def test_an_age_is_the_nearest_that_it_can_be(unit: TimeUnit, size: int, period: int) -> None:
    told = time(unit, size)
    assert told.range_ns == period
    for at in (0, 5 * period // 8, 3 * period):
        for age in (0, period // 4, -period // 4):
            sent = at + period - age
            found = told.age_ns(at + period, told.to_wire(sent))
            assert abs(found - age) < told.step_ns + 1
    assert told.age_ns(period // 2, told.to_wire(0)) == -period // 2  # half a period: either way is as near


def test_since_when() -> None:
    assert not time("ms", 4).since_began
    assert time("ms", 4, epoch="session").since_began
    assert time("ns", 8).range_ns == 0  # it goes round in no session of ours
    assert time("ns", 8).age_ns(NOON_NS, NOON_NS - 5) == 5
