"""The walk through many frames finds what the codec reads, and finds no frame good that the codec refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nmsp_samples import REPEATABLE
from nmsp_shapes import DOCUMENTS, shape_profile
from thoroughness import examples

from loadgen.errors import RemoteProtocolError
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.device_time import DeviceTime
from loadgen.nmsp.messages import Kind, MeasurementNotify, Message, StationsNotify
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.records import HeardStation, Reading
from loadgen.nmsp.walk import Numbers, Walker

PROFILES = {name: shape_profile(name) for name in DOCUMENTS}
TIME = 1_795_000_000_123_000_000


def message(profile: WireProfile, number: int, heard: tuple[int, ...]) -> Message:
    """A notification about as many stations, each with so many readings; of one station, where it is one."""
    most = profile.max_readings
    stations = tuple(
        HeardStation(
            bytes((2, 0x53, 0, 0, number & 255, which)),
            tuple(
                Reading(bytes((2, 0x41, 0, 0, 0, i)), i & 1, i & 1, 1, -40 - i, -42 - i, 30 - i, i)
                for i in range(min(count, most))
            ),
        )
        for which, count in enumerate(heard[: profile.stations])
    )
    common = {"sequence": number, "due_ns": TIME, "sent_ns": number * 7, "subservice": number % 6, "time": TIME}
    if profile.stations == 1:
        first = stations[0] if stations else HeardStation(bytes(6), ())
        return MeasurementNotify(station_mac=first.station_mac, readings=first.readings, **common)
    return StationsNotify(stations=stations, **common)


def walked(profile: WireProfile, bodies: list[bytes]) -> tuple[list[bool], list[dict[str, int]], list[int]]:
    """What a walk finds of bodies that lie one behind the other: good ones, their fields, their stations."""
    layout = profile.layouts[Kind.MEASUREMENT_NOTIFY]
    walker = Walker(layout, profile.order)
    sizes = np.array([len(body) for body in bodies], np.int64)
    ends = np.cumsum(sizes)
    numbers = Numbers(bytearray(b"".join(bodies) + b"\xff" * walker.beyond), profile.order)
    found = walker.walk(numbers, ends - sizes, ends)
    fields = []
    for index in range(len(bodies)):
        values = {}
        for name, places in found.places.items():
            if found.good[index] and places[index] >= 0:
                values[name] = int(numbers.read(walker.types[name], places[index : index + 1])[0])
        fields.append(values)
    return found.good.tolist(), fields, found.stations.tolist()


def times_of(profile: WireProfile) -> DeviceTime | None:
    return profile.layouts[Kind.MEASUREMENT_NOTIFY].time


def read(profile: WireProfile, body: bytes) -> Message | None:
    try:
        return Codec(profile).decode_untrusted(profile.ids[Kind.MEASUREMENT_NOTIFY], memoryview(body))
    except RemoteProtocolError:
        return None


def check_alike(profile: WireProfile, bodies: list[bytes]) -> list[bool]:
    """Whether both find the same in each; returns which the walk found good."""
    good, fields, stations = walked(profile, bodies)
    time = times_of(profile)
    for index, body in enumerate(bodies):
        if not good[index]:
            continue
        message = read(profile, body)
        assert message is not None, body.hex()
        for name, value in fields[index].items():
            told = getattr(message, name)
            if name == "time" and time is not None:
                assert time.from_wire(value) == told
            else:  # columns are of int64, whatever a peer makes up
                assert value == (told + (1 << 63)) % (1 << 64) - (1 << 63), name
        assert stations[index] == len(getattr(message, "stations", (None,)))
    return good


def body_of(profile: WireProfile, number: int, heard: tuple[int, ...]) -> bytes:
    frame = Codec(profile).encode(message(profile, number, heard), turn=number)
    return frame[profile.framing.head : len(frame) - profile.framing.foot]


@pytest.mark.parametrize("name", PROFILES)
@given(data=st.data())
@settings(REPEATABLE, max_examples=examples(60))
def test_all_that_the_codec_writes_is_good_and_the_same(name: str, data: st.DataObject) -> None:
    profile = PROFILES[name]
    heard = st.lists(st.integers(0, 8), max_size=8).map(tuple)
    bodies = [body_of(profile, number, each) for number, each in enumerate(data.draw(st.lists(heard, max_size=12)))]
    assert all(check_alike(profile, bodies))
    for number, body in enumerate(bodies):
        assert read(profile, body) is not None, number


@pytest.mark.parametrize("name", PROFILES)
@given(data=st.data())
@settings(REPEATABLE, max_examples=examples(300))
def test_what_is_not_as_it_must_be_is_good_for_neither(name: str, data: st.DataObject) -> None:
    """Some bytes changed, cut off or put in: whatever the walk finds good, the codec reads, and reads the same."""
    profile = PROFILES[name]
    bodies = []
    for number in range(data.draw(st.integers(1, 4))):
        body = bytearray(body_of(profile, number, data.draw(st.lists(st.integers(0, 5), max_size=4).map(tuple))))
        for _ in range(data.draw(st.integers(0, 3))):
            at = data.draw(st.integers(0, len(body)))
            change = data.draw(st.sampled_from(("set", "cut", "put")))
            if change == "set" and at < len(body):
                body[at] = data.draw(st.sampled_from((0, 1, 2, 3, 9, 0x20, 127, 128, 255)))
            elif change == "cut":
                del body[at : at + data.draw(st.integers(1, 8))]
            else:
                body[at:at] = bytes(data.draw(st.integers(1, 4)))
        bodies.append(bytes(body))
    check_alike(profile, bodies)


def test_order_of_elements_varies() -> None:
    """Where the layout says so; each is another message's bytes, and all are good."""
    profile = PROFILES["in elements"]
    assert len({body_of(profile, number, (2,))[:1] for number in range(10)}) > 2


def test_thousands_of_elements_are_for_the_codec() -> None:
    """No frame keeps all the others waiting for thousands of steps; the codec says that it is good."""
    profile = PROFILES["in elements"]
    body = body_of(profile, 1, (1,)) + bytes((200, 0)) * 2000
    assert read(profile, body) is not None
    good, _, _ = walked(profile, [body, body_of(profile, 2, (2,))])
    assert good == [False, True]
