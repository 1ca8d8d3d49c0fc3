"""Bodies that are more than fixed fields, in bytes that were worked out by hand: stations with their readings, elements
in records, tails, units, padding; and what hostile bytes in each of them are.
"""

from __future__ import annotations

from typing import Any

import pytest
from nmsp_samples import core_document, reference_document

from loadgen.errors import LocalProtocolError, RemoteProtocolError
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import Kind, MeasurementNotify, StationsNotify, TagInfoNotify
from loadgen.nmsp.profile import WireProfile, profile_untrusted
from loadgen.nmsp.records import HeardStation, Reading, TagInfo

Document = dict[str, Any]
NOTIFY = Kind.MEASUREMENT_NOTIFY
# A reading is 14 bytes in the reference profile: address, slot, band, source, RSSI twice, SNR, age.
NEAR = Reading(bytes.fromhex("024100000001"), 0, 1, 1, -40, -42, 30, 5)
FAR = Reading(bytes.fromhex("024100000002"), 1, 0, 2, -90, -91, 4, 600)
NEAR_HEX, FAR_HEX = "024100000001 00 01 01 d8 d6 1e 0005", "024100000002 01 00 02 a6 a5 04 0258"
ONE, TWO = (bytes.fromhex(f"02530000000{number}") for number in (1, 2))
ONE_HEX, TWO_HEX = ONE.hex(), TWO.hex()


def hex_of(*parts: str) -> bytes:
    return bytes.fromhex(" ".join(parts))


def check(profile: WireProfile, message: Any, *body: str, kind: Kind = NOTIFY) -> None:
    """A message's body is these bytes, and they are the message."""
    frame = Codec(profile).encode(message)
    assert frame[profile.framing.head :].hex() == hex_of(*body).hex()
    assert Codec(profile).decode_untrusted(profile.ids[kind], memoryview(hex_of(*body))) == message


def refused(profile: WireProfile, *body: str, kind: Kind = NOTIFY) -> str:
    with pytest.raises(RemoteProtocolError) as fault:
        Codec(profile).decode_untrusted(profile.ids[kind], memoryview(hex_of(*body)))
    assert fault.value.kind == "malformed"
    return str(fault.value)


# -- several stations --------------------------------------------------------------------------------------------------


def stations(station: Document, size: int = 8, **notify: Any) -> WireProfile:
    """A count of stations, and each with its address and what `station` says."""
    document = core_document()
    document["records"]["reading"] |= notify.pop("reading", {})
    document["messages"]["measurement_notify"] = {
        "id": 16,
        "size": 2,
        "fields": [{"name": "station_count", "type": "u16", "offset": 0}],
        "repeat": {"record": "station", "count": "station_count", "max": 3} | notify.pop("repeat", {}),
    } | notify
    mac = {"name": "station_mac", "type": "mac", "offset": 0}
    counter = {"name": "reading_count", "type": "u16", "offset": 6}
    document["records"]["station"] = {
        "size": size,
        "fields": [mac, counter],
        "repeat": {"record": "reading", "count": "reading_count", "max": 4},
    } | station
    return profile_untrusted(document, "stations")


def of(*each: tuple[bytes, tuple[Reading, ...]]) -> StationsNotify:
    return StationsNotify(stations=tuple(HeardStation(mac, readings) for mac, readings in each))


HEARD = of((ONE, (NEAR, FAR)), (TWO, ()))


def test_stations_with_readings_counted_as_records() -> None:
    profile = stations({})
    check(profile, HEARD, "0002", ONE_HEX, "0002", NEAR_HEX, FAR_HEX, TWO_HEX, "0000")
    check(profile, of(), "0000")


def test_readings_counted_in_bytes_and_stations_too() -> None:
    repeat = {"record": "reading", "count": "reading_count", "count_unit": 1, "max": 4}
    profile = stations({"repeat": repeat}, repeat={"count_unit": 1})
    # 8 + 2 * 14 and 8 bytes are two stations of 44.
    check(profile, HEARD, "002c", ONE_HEX, "001c", NEAR_HEX, FAR_HEX, TWO_HEX, "0000")


def test_readings_counted_in_words() -> None:
    """A reading is filled up from 14 bytes to four words; each station is two words and its readings."""
    repeat = {"record": "reading", "count": "reading_count", "count_unit": 4, "max": 4}
    profile = stations({"repeat": repeat, "align": 4}, repeat={"count_unit": 4}, reading={"align": 4})
    check(profile, HEARD, "000c", ONE_HEX, "0008", NEAR_HEX, "0000", FAR_HEX, "0000", TWO_HEX, "0000")
    refused(profile, "0006", ONE_HEX, "0007", NEAR_HEX, "0000", FAR_HEX)  # the last one without its zeros


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (["0004", ONE_HEX, "0000", ONE_HEX, "0000", ONE_HEX, "0000", ONE_HEX, "0000"], "at most 3 stations"),
        (["0002", ONE_HEX, "0000"], "found 0"),  # the second one is not there
        (["0001", ONE_HEX, "0005", *([NEAR_HEX] * 5)], "at most 4 readings"),
        (["0001", ONE_HEX, "0002", NEAR_HEX], "2 readings"),  # ends beyond the body
        (["0001", ONE_HEX, "ffff"], "65535 readings"),
        (["0001", ONE_HEX, "0000", "00"], "found 11"),  # a byte too many
        (["0001", ONE_HEX[:10]], "found 5"),
        (["00"], "found 1"),
    ],
    ids=["stations", "no station", "readings", "half", "no readings", "more", "less", "nothing"],
)
def test_counts_of_records_that_are_wrong(body: list[str], said: str) -> None:
    assert said in refused(stations({}), *body)


@pytest.mark.parametrize(
    "body",
    [
        ["002d", ONE_HEX, "001c", NEAR_HEX, FAR_HEX, TWO_HEX, "0000"],  # a byte beyond the body
        ["002b", ONE_HEX, "001c", NEAR_HEX, FAR_HEX, TWO_HEX, "0000"],  # it cuts the last station
        ["0016", ONE_HEX, "001c", NEAR_HEX, FAR_HEX],  # one station's bytes, whose readings go on beyond them
        ["0024", ONE_HEX, "001b", NEAR_HEX, FAR_HEX],  # half a reading
        ["002c", ONE_HEX, "ffff", NEAR_HEX, FAR_HEX, TWO_HEX, "0000"],
        ["0020", *([ONE_HEX + "0000"] * 4)],  # four stations, by their bytes
        ["0000", "00"],
    ],
)
def test_counts_of_bytes_that_contradict(body: list[str]) -> None:
    repeat = {"record": "reading", "count": "reading_count", "count_unit": 1, "max": 4}
    refused(stations({"repeat": repeat}, repeat={"count_unit": 1}), *body)


def test_more_records_than_may_be_are_not_sent() -> None:
    codec = Codec(stations({}))
    for message in (of(*[(ONE, ())] * 4), of((ONE, (NEAR,) * 5))):
        with pytest.raises(LocalProtocolError) as refusal:
            codec.encode(message)
        assert refusal.value.kind == "too_many_records"


# -- records that say how long they are, with elements inside ----------------------------------------------------------


def elementary(**record: Any) -> WireProfile:
    """Stations of their length and elements: address 1, each reading 2."""
    fields = [{"name": "station_bytes", "type": "u16", "offset": 0}]
    elements = {"type": "u8", "length": "u8", "fields": [{"name": "station_mac", "type": "mac", "id": 1}]}
    table = {"length": "station_bytes", "fields": fields, "repeat": {"record": "reading", "id": 2, "max": 4}}
    return stations(table | {"elements": elements | record.pop("elements", {})} | record, size=2)


def test_elements_inside_of_records() -> None:
    # 2 + 2 * (2 + 14) + 2 + 6 = 42 bytes; 2 + 2 + 6 = 10.
    profile = elementary()
    check(profile, HEARD, "0002", "002a", "020e", NEAR_HEX, "020e", FAR_HEX, "0106", ONE_HEX, "000a 0106", TWO_HEX)
    # In any order, with others that nobody knows.
    other = hex_of("0002 002d 0106", ONE_HEX, "7701 aa 020e", NEAR_HEX, "020e", FAR_HEX, "000a 0106", TWO_HEX)
    assert Codec(profile).decode_untrusted(16, memoryview(other)) == HEARD


def test_a_record_that_is_filled_up_counts_its_zeros() -> None:
    profile = elementary(align=8, length_unit=2)
    # 10 bytes and six zeros: eight times two.
    check(profile, of((TWO, ())), "0001", "0008 0106", TWO_HEX, "000000000000")
    assert "a multiple" not in refused(profile, "0001", "0005 0106", TWO_HEX)  # its size is none of 8


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (["0001 000b 0106", ONE_HEX], "station_bytes of 2 to 10"),  # ends beyond
        (["0001 0001 0106", ONE_HEX], "station_bytes of 2 to 10"),  # less than its own fixed part
        (["0001 0009 0106", ONE_HEX], "an element of at most 5"),  # the length cuts the element
        (["0001 000a 0107", ONE_HEX], "an element of at most 6"),  # the element ends behind the record
        (["0001 000b 0106", ONE_HEX, "77"], "whole elements"),  # one byte is left over
        (["0001 0002"], "an element station_mac"),
        (["0001 0012 0106", ONE_HEX, "0106", ONE_HEX], "one element station_mac"),
        (["0001 000a 0106", ONE_HEX, "00"], "found 13"),
        (["0001 0019 0106", ONE_HEX, "020d", NEAR_HEX[:-2]], "at most 4 readings of 14 bytes"),
        (["0001 005a 0106", ONE_HEX, *(["020e" + NEAR_HEX] * 5)], "at most 4 readings"),
    ],
)
def test_lengths_of_records_that_contradict(body: list[str], said: str) -> None:
    assert said in refused(elementary(), *body)


# -- units, padding and tails of elements ------------------------------------------------------------------------------


def tags(elements: Document, **message: Any) -> WireProfile:
    """A tag's notification: its subservice, then elements: its sequence number 1, its payload 2, and the tags 3."""
    document = reference_document()
    document["messages"]["tag_info_notify"] = {
        "id": 37,
        "size": 1,
        "fields": [{"name": "subservice", "type": "u8", "offset": 0}],
        "repeat": {"record": "tag", "id": 3, "max": 2},
        "elements": {
            "type": "u8",
            "length": "u8",
            "fields": [
                {"name": "sequence", "type": "u8", "id": 1},
                {"name": "payload", "type": "bytes", "id": 2, "size": 9},
            ],
        }
        | elements,
    } | message
    document["records"]["tag"] = {"size": 6, "fields": [{"name": "tag_mac", "type": "mac", "offset": 0}]}
    del document["messages"]["tag_info_response"], document["records"]["tag_info"]
    return profile_untrusted(document, "tags")


TAG = TagInfoNotify(sequence=0x5A, subservice=10, records=(TagInfo(ONE),), payload=b"")
LOADED = TagInfoNotify(sequence=1, subservice=10, records=(), payload=b"\x01\x02\x03\x04")


@pytest.mark.parametrize(
    ("elements", "tag", "loaded"),
    [
        ({}, "0306" + ONE_HEX + "01015a", "010101 0204 01020304"),
        ({"length_counts": "element"}, "0308" + ONE_HEX + "01035a", "010301 0206 01020304"),
        ({"length_unit": 4}, "0302" + ONE_HEX + "0000 0101 5a000000", "0101 01000000 0201 01020304"),
        # Two bytes of head and one of value are one word with their padding.
        (
            {"length_unit": 4, "length_counts": "element"},
            "0302" + ONE_HEX + "0101 5a00",
            "0101 0100 0202 01020304 0000",
        ),
        ({"align": 4}, "0306" + ONE_HEX + "0101 5a00", "0101 0100 0204 01020304 0000"),
        ({"align": 8}, "0306" + ONE_HEX + "0101 5a 0000000000", "0101 01 0000000000 0204 01020304 0000"),
        ({"length_unit": 2, "align": 4}, "0303" + ONE_HEX + "0101 5a00", "0101 0100 0202 01020304 0000"),
    ],
    ids=str,
)
def test_units_and_boundaries_of_elements(elements: Document, tag: str, loaded: str) -> None:
    profile = tags(elements)
    check(profile, TAG, "0a", tag, kind=Kind.TAG_INFO_NOTIFY)
    if "length_unit" not in elements or "length_counts" not in elements:
        check(profile, LOADED, "0a", loaded, kind=Kind.TAG_INFO_NOTIFY)
    else:  # the last word is filled up, and nobody can tell by what
        assert Codec(profile).encode(LOADED)[profile.framing.head :].hex() == hex_of("0a", loaded).hex()


def test_bytes_end_where_a_field_does_and_not_where_a_unit_does() -> None:
    """Nine bytes in units of four are twelve on the wire; what is behind the ninth fills up."""
    profile = tags({"length_unit": 4})
    body = hex_of("0a 0101 01000000 0203 010203040506070809 aabbcc")
    found = Codec(profile).decode_untrusted(37, memoryview(body))
    assert found.payload == bytes(range(1, 10))  # type: ignore[attr-defined]
    refused(profile, "0a 0101 01000000 0204" + "01" * 16, kind=Kind.TAG_INFO_NOTIFY)


@pytest.mark.parametrize(
    ("elements", "body"),
    [
        ({"length_counts": "element"}, "0101"),  # less than its head
        ({"length_counts": "element"}, "0100"),
        ({"length_unit": 4}, "0102 5a00000000000000"),  # two words of a byte
        ({"length_unit": 4}, "0101 5a"),  # a word that is not there
        ({"align": 4}, "0101 5a00 02"),
        ({"length": "u32"}, "02 ffffffff 01"),
        ({"length": "u32", "length_unit": 8}, "02 ffffffff 01"),
    ],
    ids=str,
)
def test_elements_that_cannot_be(elements: Document, body: str) -> None:
    refused(tags(elements), "0a", body, kind=Kind.TAG_INFO_NOTIFY)


def test_a_tail_is_behind_everything_else() -> None:
    """Also behind elements, which end where it begins."""
    tail = {"size": 3, "fields": [{"name": "subservice", "type": "u16", "offset": 1}]}
    profile = tags({}, size=0, fields=[], tail=tail)
    tag = TagInfoNotify(sequence=0x5A, subservice=10, records=(TagInfo(ONE),), payload=b"")
    check(profile, tag, "0306", ONE_HEX, "01015a", "00 000a", kind=Kind.TAG_INFO_NOTIFY)
    assert "whole elements" in refused(profile, "01", "00 000a", kind=Kind.TAG_INFO_NOTIFY)
    assert "3 bytes" in refused(profile, "000a", kind=Kind.TAG_INFO_NOTIFY)


def test_tails_of_a_message_and_of_its_records() -> None:
    """Behind the readings the rest of a station, behind the stations the subservice."""
    station = {"size": 2, "fields": [{"name": "reading_count", "type": "u16", "offset": 0}]}
    station["tail"] = {"size": 7, "fields": [{"name": "station_mac", "type": "mac", "offset": 1}]}
    tail = {"size": 1, "fields": [{"name": "subservice", "type": "u8", "offset": 0}]}
    profile = stations(station, tail=tail)
    message = StationsNotify(stations=HEARD.stations, subservice=4)
    check(profile, message, "0002", "0002", NEAR_HEX, FAR_HEX, "00", ONE_HEX, "0000 00", TWO_HEX, "04")
    assert "found 8" in refused(profile, "0001", "0000 00", ONE_HEX[:10], "04")


def test_a_measurement_that_is_elements_in_little_endian_order() -> None:
    document = core_document() | {"byte_order": "little"}
    document["messages"]["measurement_notify"] = {
        "id": 16,
        "size": 0,
        "fields": [],
        "repeat": {"record": "reading", "id": 9, "max": 4},
        "elements": {
            "type": "u16",
            "length": "u16",
            "fields": [
                {"name": "station_mac", "type": "mac", "id": 0x0102},
                {"name": "subservice", "type": "u32", "id": 3},
            ],
        },
    }
    profile = profile_untrusted(document, "little")
    message = MeasurementNotify(station_mac=ONE, subservice=2, readings=(NEAR,))
    near = "024100000001 00 01 01 d8 d6 1e 0500"
    check(profile, message, "0900 0e00", near, "0201 0600", ONE_HEX, "0300 0400 02000000")
    assert "an element station_mac" in refused(profile, "0900 0e00", near)
