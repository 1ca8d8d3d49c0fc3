"""A number that does not fit its field is sent as the nearest that does, or goes round if it counts up or tells a time:
every width, both edges, wherever it lies.
"""

from __future__ import annotations

from typing import Any

import pytest
from nmsp_samples import core_document

from loadgen.nmsp import messages as m
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import Kind, MeasurementNotify, Reading, VersionRequest
from loadgen.nmsp.profile import WireProfile, profile_untrusted, reference_profile
from loadgen.nmsp.profile_document import TYPES, fits, nearest

# Written down a second time: lowest and highest of each type.
RANGES = {
    "u8": (0, 255),
    "u16": (0, 65535),
    "u32": (0, 4294967295),
    "u64": (0, 18446744073709551615),
    "i8": (-128, 127),
    "i16": (-32768, 32767),
    "i32": (-2147483648, 2147483647),
    "i64": (-9223372036854775808, 9223372036854775807),
}
SIGNED = [kind for kind in RANGES if kind.startswith("i")]
FAR = 1 << 70


def test_every_integer_type_is_here() -> None:
    assert set(RANGES) == set(TYPES) - {"mac"}


@pytest.mark.parametrize("kind", RANGES)
def test_the_nearest_and_what_fits(kind: str) -> None:
    low, high = RANGES[kind]
    for value in (low, low + 1, high - 1, high, 0, 1):
        assert fits(value, kind)
        assert nearest(value, kind) == value
    for value, edge in ((low - 1, low), (low - FAR, low), (high + 1, high), (high + FAR, high)):
        assert not fits(value, kind)
        assert nearest(value, kind) == edge


def profile_with(kind: str, order: str, *, in_elements: bool) -> WireProfile:
    """The core of the reference profile, with fields of this type in a version request; between them, a constant."""
    document = core_document() | {"byte_order": order}
    message: dict[str, Any] = document["messages"]["version_request"]
    message.update(size=17, fields=[{"name": "between", "type": "u8", "offset": 8, "value": 0xAA}])
    fields = [{"name": name, "type": kind} for name in ("lowest", "highest")]
    if in_elements:
        message["elements"] = {"type": "u8", "length": "u8"}
        message["elements"]["fields"] = [each | {"id": number} for number, each in enumerate(fields)]
    else:
        message["fields"] += [each | {"offset": offset} for each, offset in zip(fields, (0, 9), strict=True)]
    return profile_untrusted(document, "numbers")


@pytest.mark.parametrize("in_elements", [False, True], ids=["at a place", "in an element"])
@pytest.mark.parametrize("order", ["big", "little"])
@pytest.mark.parametrize("kind", RANGES)
def test_a_number_beyond_its_field(kind: str, order: str, in_elements: bool) -> None:
    """It changes no other field, and no other byte."""
    low, high = RANGES[kind]
    profile = profile_with(kind, order, in_elements=in_elements)
    codec, head = Codec(profile), profile.header.size
    for value, sent in (
        *((low - 1, low), (low - FAR, low), (low, low), (low + 1, low + 1)),
        *((high - 1, high - 1), (high, high), (high + 1, high), (high + FAR, high)),
    ):
        for asked, meant in ((VersionRequest(value, 1), (sent, 1)), (VersionRequest(1, value), (1, sent))):
            frame = codec.encode(asked, 7)
            assert frame == codec.encode(VersionRequest(*meant), 7)
            body = memoryview(frame)[head:]
            assert codec.decode_untrusted(profile.ids[Kind.VERSION_REQUEST], body) == VersionRequest(*meant)
            assert body[8] == 0xAA
            assert len(body) == (17 + 2 * (2 + TYPES[kind][2]) if in_elements else 17)


@pytest.mark.parametrize("kind", SIGNED)
def test_a_number_beyond_its_field_in_a_record(kind: str) -> None:
    low, high = RANGES[kind]
    document = core_document()
    reading = document["records"]["reading"]
    reading["size"] += 8
    next(field for field in reading["fields"] if field["name"] == "snr").update(type=kind, offset=14)
    profile = profile_untrusted(document, "numbers")
    codec = Codec(profile)

    def heard(*values: int) -> MeasurementNotify:
        readings = tuple(
            Reading(bytes([2, 0, 0, 0, 0, n]), 1, 1, 1, -40, -41, value, 5) for n, value in enumerate(values)
        )
        return MeasurementNotify(sequence=0, due_ns=1, sent_ns=2, station_mac=bytes(6), subservice=0, readings=readings)

    frame = codec.encode(heard(low - 1, low, 0, high, high + 1, FAR, -FAR))
    assert frame == codec.encode(heard(low, low, 0, high, high, high, low))
    body = memoryview(frame)[profile.header.size :]
    found = codec.decode_untrusted(profile.ids[Kind.MEASUREMENT_NOTIFY], body)
    assert found == heard(low, low, 0, high, high, high, low)


def test_of_the_reference_profile_as_the_page_says() -> None:
    """docs/wire-profile.md: "65,535 and more: 65,535" of an age, and the same of everything that is not ours."""
    codec, profile = Codec(reference_profile()), reference_profile()
    ap = bytes(6)
    beyond = MeasurementNotify(
        sequence=-1,
        due_ns=1 << 64,
        sent_ns=-(1 << 64),
        station_mac=ap,
        subservice=256,
        readings=(Reading(ap, 256, -1, 999, -129, 128, 500, 65536),),
    )
    within = MeasurementNotify(
        sequence=(1 << 64) - 1,
        due_ns=0,
        sent_ns=0,
        station_mac=ap,
        subservice=255,
        readings=(Reading(ap, 255, 0, 255, -128, 127, 127, 65535),),
    )
    assert codec.encode(beyond) == codec.encode(within)
    mask = codec.encode(m.SubscribeRequest(1 << 64))[profile.header.size :]
    assert mask == b"\xff" * 8


@pytest.mark.parametrize("in_elements", [False, True], ids=["at a place", "in an element"])
@pytest.mark.parametrize("kind", ["u8", "u16", "u32", "u64"])
def test_what_counts_up_or_tells_a_time_goes_round(kind: str, in_elements: bool) -> None:
    """In any width, with everything else of the message as it was."""
    document = core_document()
    notify: dict[str, Any] = document["messages"]["measurement_notify"]
    names = ("sequence", "due_ns", "sent_ns")
    if in_elements:
        notify["fields"] = [field for field in notify["fields"] if field["name"] not in names]
        fields = [{"name": name, "type": kind, "id": number} for number, name in enumerate(names)]
        notify["elements"] = {"type": "u8", "length": "u8", "fields": fields}
    else:
        for field in notify["fields"]:
            if field["name"] in names:
                field["type"] = kind
    profile = profile_untrusted(document, "numbers")
    codec, period = Codec(profile), 1 << 8 * TYPES[kind][2]

    def of(sequence: int, due_ns: int, sent_ns: int) -> MeasurementNotify:
        return MeasurementNotify(
            sequence=sequence, due_ns=due_ns, sent_ns=sent_ns, station_mac=bytes(range(6)), subservice=3, readings=()
        )

    frame = codec.encode(of(period, 5 * period - 1, -1))
    assert frame == codec.encode(of(0, period - 1, period - 1))
    body = memoryview(frame)[profile.header.size :]
    assert codec.decode_untrusted(profile.ids[Kind.MEASUREMENT_NOTIFY], body) == of(0, period - 1, period - 1)


def test_text_and_bytes_are_cut_off_and_not_the_message() -> None:
    """Beside a number that is too large, so that the way of what does not fit is taken; whole characters stay."""
    codec, profile = Codec(reference_profile()), reference_profile()
    client = m.ClientInfo(bytes(6), vlan=70000, user_name="ä" * 17, ssid="s" * 40, address=bytes(range(20)))
    frame = codec.encode(m.ClientInfoNotify(sequence=0, due_ns=1, sent_ns=2, subservice=9, records=(client,)))
    body = memoryview(frame)[profile.header.size :]
    found = codec.decode_untrusted(profile.ids[Kind.CLIENT_INFO_NOTIFY], body)
    assert found.records == (  # type: ignore[attr-defined]
        m.ClientInfo(bytes(6), vlan=65535, user_name="ä" * 16, ssid="s" * 32, address=bytes(range(16))),
    )
