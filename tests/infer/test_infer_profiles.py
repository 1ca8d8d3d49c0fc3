"""Layouts from wire profiles and back: what both can say is the same afterwards, and what one cannot say is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.inference.layouts import make_device
from loadgen.errors import InputError
from loadgen.infer.from_profile import layout_of
from loadgen.infer.layout_document import LayoutDocument, layout_from, plain_layout
from loadgen.infer.layout_reading import LayoutReader
from loadgen.infer.layout_writing import body_bytes
from loadgen.infer.to_profile import profile_of
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.dialogue import name_of
from loadgen.nmsp.messages import Kind, MeasurementNotify, Role, StationsNotify, SubscribeRequest
from loadgen.nmsp.profile import WireProfile, load_profile, profile_untrusted, reference_profile
from loadgen.nmsp.records import HeardStation, Reading

PROFILES = Path(__file__).parents[2] / "docs" / "wire-profile"
# What comes back as something else, or not: as `layout_of` names it.
WHOLE = {
    "reference": {"messages.tag_info_notify.elements.payload.size"},
    "heron": {"max_frame_bytes"},
    "tern": {"max_frame_bytes"},
    "wren": {
        *("max_frame_bytes", "messages.measurement_notify.elements.order"),
        "messages.tag_info_notify.elements.payload.size",
    },
}
# With all that a load needs.
IN_PART = {
    "plover": {"max_frame_bytes", "header.frame_number.first", "records.attachment"},
    "stork": {"max_frame_bytes"},
}
WITHOUT_MEASUREMENTS = {
    "swift": {
        *("max_frame_bytes", "dialogue", "records.station", "messages.measurement_notify.tail", "records.client"),
    },
}


def as_json(value: object) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def profile_named(name: str) -> WireProfile:
    return reference_profile() if name == "reference" else load_profile(PROFILES / f"{name}.toml")


def in_places(document: Any) -> Any:
    """With the header's fields in the order of their places."""
    document["header"]["fields"].sort(key=lambda field: field["offset"])
    return document


def differences(one: Any, other: Any, path: str = "") -> set[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        keys = {*one, *other}
        return {each for key in keys for each in differences(one.get(key), other.get(key), f"{path}.{key}".lstrip("."))}
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = zip(one, other, strict=True)
        return {
            each
            for mine, theirs in pairs
            for each in differences(mine, theirs, f"{path}.{mine['name']}" if isinstance(mine, dict) else path)
        }
    return set() if one == other else {path.replace(".fields.", ".")}


@pytest.mark.parametrize("name", WHOLE)
def test_there_and_back(name: str) -> None:
    document = profile_named(name).document
    layout, unsaid = layout_of(document)
    assert {each for each in unsaid if not each.endswith(".max")} == WHOLE[name]
    made = profile_of(layout)
    assert (made.unsaid, made.guesses, made.missing) == ([], {}, [])
    back = profile_untrusted(as_json(made.table), name).document
    found = differences(in_places(as_json(document)), as_json(back))
    assert {each for each in found if not each.endswith(".max")} - {"max_frame_bytes"} == WHOLE[name] - {
        "max_frame_bytes"
    }
    assert {each for each in found if each.endswith(".max")} <= {*unsaid}


def body_by(profile: WireProfile, message: MeasurementNotify | StationsNotify) -> bytes:
    framing, frame = profile.framing, Codec(profile).encode(message)
    return frame[framing.head : len(frame) - framing.foot]


@pytest.mark.parametrize("name", IN_PART)
def test_readings_of_which_bytes_or_words_are_counted(name: str) -> None:
    true = profile_named(name)
    layout, unsaid = layout_of(true.document)
    assert {each for each in unsaid if not each.endswith(".max")} == IN_PART[name]
    made = profile_of(layout)
    assert made.missing == []
    profile, reader = profile_untrusted(as_json(made.table), name), LayoutReader(layout)
    for count in (0, 1, 4):
        message: MeasurementNotify | StationsNotify = MeasurementNotify(station_mac=DEVICE, readings=(HEARD,) * count)
        if true.stations > 1:
            message = StationsNotify(stations=(HeardStation(DEVICE, (HEARD,) * count),) * 3)
        assert body_by(profile, message) == body_by(true, message)
        assert reader.read(Codec(true).encode(message), of_client=False).fits


@pytest.mark.parametrize("name", WITHOUT_MEASUREMENTS)
def test_what_a_layout_cannot_say_is_named(name: str) -> None:
    layout, unsaid = layout_of(profile_named(name).document)
    assert {each for each in unsaid if not each.endswith(".max")} == WITHOUT_MEASUREMENTS[name]
    made = profile_of(layout)
    assert any(each.startswith("messages.measurement_notify: ") and each.endswith("as bytes") for each in made.unsaid)
    with pytest.raises(InputError, match="measurement_notify"):
        profile_untrusted(as_json(made.table), name)


@pytest.mark.parametrize("name", [*WHOLE, *IN_PART, *WITHOUT_MEASUREMENTS])
def test_a_layout_of_a_profile_reads_its_frames(name: str) -> None:
    profile = profile_named(name)
    layout, _ = layout_of(profile.document)
    assert layout_from(as_json(plain_layout(layout))) == layout
    reader = LayoutReader(layout)
    frame = Codec(profile).encode(SubscribeRequest(subservices=0x201))
    framed = Codec(profile)
    assert framed is not None
    read = reader.read(bytes(frame), of_client=True)
    assert read.message is not None
    assert read.message.name == "subscribe_request"
    assert read.fits
    assert reader.cut(bytes(frame)) == [(0, len(frame))]


@pytest.mark.parametrize("name", ["reference", "heron", "wren", "tern"])
def test_a_measurement_is_read_with_its_readings(name: str) -> None:
    profile = profile_named(name)
    near = Reading(bytes.fromhex("0241000000a1"), 1, 1, 1, -40, -41, 30, 2)
    message = MeasurementNotify(station_mac=bytes.fromhex("025300000001"), readings=(near, near))
    read = LayoutReader(layout_of(profile.document)[0]).read(bytes(Codec(profile).encode(message)), of_client=False)
    assert read.fits
    spans = [span for span in read.spans if span.name == "ap_mac"]
    assert len(spans) == 2
    assert {span.role for span in spans} == {"mac"}
    assert len([span for span in read.spans if span.role == "rssi"]) >= 4


def test_a_name_that_is_not_nmsps_is_taken_by_its_role() -> None:
    table = as_json(plain_layout(layout_of(profile_named("heron").document)[0]))
    renamed = {"rssi_a": "rssi_8", "rssi_b": "rssi_9", "snr": "snr_10", "ap_mac": "mac_0", "station_mac": "mac_8"}
    for message in table["messages"]:
        for node in (message["body"], *(each["record"] for each in message["body"].get("repeats", ()))):
            for field in node.get("fields", ()):
                field["name"] = renamed.get(field["name"], field["name"])
    made = profile_of(layout_from(table))
    back = profile_untrusted(as_json(made.table), "renamed").document
    (repeat,) = [each["repeat"] for name, each in made.table["messages"].items() if name == "measurement_notify"]
    assert {field.name for field in back.records[repeat["record"]].fields} >= {"ap_mac", "rssi_a", "rssi_b", "snr"}
    assert (
        made.guesses["messages.measurement_notify.station_mac"] == "by its role, mac, and its place among those alike"
    )


def test_what_a_profile_cannot_say_is_named() -> None:
    table = as_json(plain_layout(layout_of(profile_named("heron").document)[0]))
    table["header"]["fields"].append({"name": "clock", "at": 14, "size": 4, "role": "timestamp", "type": "u32"})
    table["header"]["size"] = 18
    table["trailer"]["fields"][0]["sum"]["kind"] = "xor-8"
    (capability,) = (each for each in table["messages"] if each["name"] == "capability")
    capability["body"]["fields"].append({"name": "address", "at": 8, "size": 4, "role": "ipv4", "type": "ipv4"})
    capability["body"]["size"] = 12
    made = profile_of(layout_from(table))
    assert made.unsaid == [
        "header.clock (timestamp): nothing of it is sent, and what comes there is not looked at",
        "trailer.checksum: a checksum xor-8, which a profile does not know how to make",
        "messages.capability.address (ipv4): zeros",
    ]
    assert profile_untrusted(as_json(made.table), "reduced").name == "heron-1"


def heron_layout(**bodies: Any) -> LayoutDocument:
    """Of heron, with other bodies of some messages."""
    table = as_json(plain_layout(layout_of(profile_named("heron").document)[0]))
    for message in table["messages"]:
        message["body"] = bodies.get(message["name"], message["body"])
    return layout_from(table)


def test_what_a_session_begins_with_is_said_as_bytes_with_its_answer() -> None:
    listed = {
        "size": 1,
        "fields": [{"name": "services_count", "at": 0, "size": 1, "role": "count", "type": "u8"}],
        "repeats": [
            {
                "name": "services",
                "count": {"field": "services_count"},
                "record": {"fields": [{"name": "service", "at": 0, "size": 2, "role": "enum", "type": "u16"}]},
                "stride": 2,
            }
        ],
    }
    empty = {"size": 0, "rest": "unknown"}
    made = profile_of(heron_layout(subscribe_request=listed, echo_response=empty))
    profile = profile_untrusted(as_json(made.table), "made")
    assert [str(turn) for turn in profile.dialogue.opening][-2:] == [
        "subscribe_request_as_bytes from the MSE",
        "subscribe_response_as_bytes from the WLC",
    ]
    assert profile.dialogue.replies == {
        "subscribe_request_as_bytes": "subscribe_response_as_bytes",
        "echo_request_as_bytes": "echo_response_as_bytes",
    }
    assert not profile.dialogue.askers
    assert profile.dialogue.periodic[Role.MSE] == ("echo_request_as_bytes",)
    assert profile.opaque["subscribe_request_as_bytes"].varies
    assert "messages.subscribe_response: nothing without subscribe_request, which is said as bytes; as bytes" in (
        made.unsaid
    )


@pytest.mark.parametrize("add", [18, 7, -1])
def test_a_length_in_words_of_what_is_behind_a_header_of_none(add: int) -> None:
    table = as_json(plain_layout(layout_of(profile_named("heron").document)[0]))
    table["header"]["frame_size"] = {"field": table["header"]["frame_size"]["field"], "unit": 4, "add": add}
    made = profile_of(layout_from(table))
    profile = profile_untrusted(as_json(made.table), "words")
    frames = [Codec(profile).encode(SubscribeRequest(subservices=1)), profile.framing.around(Kind.ECHO_REQUEST, b"")]
    reader = LayoutReader(layout_from(table))
    for frame in frames:
        assert (len(frame) - add) % 4 == 0
        assert reader.cut(frame) == [(0, len(frame))]
        assert profile.framing.size_of(memoryview(frame), 0) == len(frame)
    least = profile.framing.head + profile.framing.foot
    assert {profile.framing.frame_bytes(body) % 4 for body in range(9)} == {add % 4}
    assert all(0 <= profile.framing.padding(body) < 4 for body in range(9))
    assert least <= min(map(len, frames))


STATION = {"name": "station_mac", "at": 8, "size": 6, "role": "mac", "type": "mac"}
TIME = {"name": "time", "at": 0, "size": 8, "role": "timestamp", "type": "u64", "unit": "ns"}
READING = [
    {"name": "ap_mac", "at": 0, "size": 6, "role": "mac", "type": "mac"},
    {"name": "rssi_a", "at": 6, "size": 1, "role": "rssi", "type": "i8"},
]
DEVICE = bytes.fromhex("025300000001")
HEARD = Reading(bytes.fromhex("0241000000a1"), rssi_a=-40)


def moved(fields: list[dict[str, Any]], by: int) -> list[dict[str, Any]]:
    return [field | {"at": field["at"] + by} for field in fields]


UNCOUNTED: dict[str, tuple[dict[str, Any], list[MeasurementNotify | StationsNotify]]] = {
    "one reading, whose fields stand among the message's": (
        {"size": 21, "fields": [TIME, STATION, *moved(READING, 14)]},
        [MeasurementNotify(station_mac=DEVICE, readings=(HEARD,))],
    ),
    "as many readings as there is room": (
        {
            "size": 14,
            "fields": [TIME, STATION],
            "repeats": [{"name": "readings", "count": "rest", "stride": 7, "record": {"size": 7, "fields": READING}}],
        },
        [MeasurementNotify(station_mac=DEVICE, readings=(HEARD,) * count) for count in (0, 1, 3)],
    ),
    "always two readings": (
        {
            "size": 14,
            "fields": [TIME, STATION],
            "repeats": [{"name": "readings", "count": 2, "stride": 7, "record": {"size": 7, "fields": READING}}],
        },
        [MeasurementNotify(station_mac=DEVICE, readings=(HEARD, HEARD))],
    ),
    "stations, each with one reading": (
        {
            "size": 8,
            "fields": [TIME],
            "repeats": [
                {
                    "name": "pairs",
                    "count": "rest",
                    "stride": 13,
                    "record": {"size": 13, "fields": [*READING, STATION | {"at": 7}]},
                }
            ],
        },
        [StationsNotify(stations=(HeardStation(DEVICE, (HEARD,)),) * count) for count in (0, 1, 3)],
    ),
}


@pytest.mark.parametrize("name", UNCOUNTED)
def test_readings_that_nothing_counts(name: str) -> None:
    body, told = UNCOUNTED[name]
    layout = heron_layout(measurement_notify=body)
    made = profile_of(layout)
    assert (made.unsaid, made.missing) == ([], [])
    profile = profile_untrusted(as_json(made.table), "made")
    reader = LayoutReader(layout)
    for message in told:
        frame = Codec(profile).encode(message)
        assert reader.read(frame, of_client=False).fits
        body_ = memoryview(frame)[profile.framing.head : len(frame) - profile.framing.foot]
        read = Codec(profile).decode_untrusted(profile.ids[Kind.MEASUREMENT_NOTIFY], body_)
        assert read == message
    back, _ = layout_of(profile.document)
    again = profile_of(back)
    found = differences(as_json(made.table["messages"]), as_json(again.table["messages"]))
    assert {each for each in found if not each.endswith(".max")} == set()


def test_byte_orders_of_their_own() -> None:
    table = as_json(plain_layout(heron_layout()))
    for field in (*table["header"]["fields"], *table["trailer"]["fields"]):
        if field["role"] in ("length", "transaction", "checksum"):
            field["order"] = "little"
    (notify,) = (each for each in table["messages"] if each["name"] == "measurement_notify")
    (time,) = (each for each in notify["body"]["fields"] if each["role"] == "timestamp")
    (age,) = (each for each in notify["body"]["repeats"][0]["record"]["fields"] if each["role"] == "age")
    time["order"] = age["order"] = "little"
    layout = layout_from(table)
    made = profile_of(layout)
    assert (made.unsaid, made.missing) == ([], [])
    profile = profile_untrusted(as_json(made.table), "made")
    assert (profile.document.byte_order, profile.framing.header.is_turned) == ("big", True)
    message = MeasurementNotify(
        station_mac=DEVICE, time=1_795_000_000_123_456_000, readings=(msgspec.structs.replace(HEARD, age_s=0x102),)
    )
    frame = Codec(profile).encode(message, 0x01020304)
    reader = LayoutReader(layout)
    assert reader.cut(frame) == [(0, len(frame))]
    spans = {span.name: frame[span.start : span.end] for span in reader.read(frame, of_client=False).spans}
    assert spans["transaction"] == bytes((4, 3, 2, 1))
    assert spans["age_s"] == bytes((2, 1, 0, 0))
    assert spans["time"] == (1_795_000_000).to_bytes(4, "little") + (123_456).to_bytes(4, "little")
    back, _ = layout_of(profile.document)
    orders = {each.name: each.order for each in (*back.header.fields, *back.trailer.fields)}
    assert {name for name, order in orders.items() if order == "little"} == {"length", "transaction", "checksum"}
    assert as_json(profile_of(back).table["messages"]) == as_json(made.table["messages"])


def test_a_request_comes_in_front_of_its_response() -> None:
    """Of two directions it may not be known which message came first."""
    opening = [
        *(("version_request", "mse"), ("version_response", "wlc"), ("capability", "wlc")),
        *(("subscribe_response", "wlc"), ("subscribe_request", "mse")),
    ]
    made = profile_of(heron_layout(), opening)
    profile = profile_untrusted(as_json(made.table), "made")
    assert [name_of(turn.saying) for turn in profile.dialogue.opening] == [
        *("version_request", "version_response", "capability", "subscribe_request", "subscribe_response"),
    ]
    assert "dialogue.opening" in made.guesses


@pytest.mark.parametrize("with_rssi", [True, False])
def test_an_address_in_an_element_is_a_field_beside_an_rssi(with_rssi: bool) -> None:
    """Its name is no field's of NMSP; alone it may be a list of access points."""
    parts = [("element_1", READING[0]), *([("element_3", READING[1] | {"at": 0})] if with_rssi else [])]
    reading = {
        "type": {"size": 1},
        "length": {"size": 1},
        "known": [{"id": 1 + 2 * i, "name": name, "value": {"fields": [each]}} for i, (name, each) in enumerate(parts)],
    }
    told = [
        {"id": 8, "name": "element_8", "value": {"fields": [STATION | {"at": 0}, TIME | {"at": 6}]}},
        {"id": 9, "name": "element_9", "value": {"elements": reading}},
    ]
    body = {"elements": {"type": {"size": 1}, "length": {"size": 1}, "known": told}}
    made = profile_of(heron_layout(measurement_notify=body))
    if not with_rssi:
        assert any(each.startswith("messages.measurement_notify") for each in made.unsaid)
        return
    profile = profile_untrusted(as_json(made.table), "made")
    message = MeasurementNotify(station_mac=DEVICE, readings=(HEARD, HEARD))
    assert body_by(profile, message)[:2] == bytes((8, 14))
    assert body_by(profile, message)[16:] == 2 * (bytes((9, 11, 1, 6)) + HEARD.ap_mac + bytes((3, 1, 256 - 40)))


def test_what_tells_messages_apart_is_their_type() -> None:
    """A measurement's id is another message's, too; what differs is a field that was taken for flags."""
    table = as_json(plain_layout(heron_layout()))
    for number, message in enumerate(table["messages"]):
        message["header"] = {"family": number}
    ids = {message["name"]: message["id"] for message in table["messages"]}
    (notify,) = (each for each in table["messages"] if each["name"] == "measurement_notify")
    notify["id"] = ids["version_request"]
    size = table["header"]["size"]
    table["header"]["fields"].append({"name": "family", "at": size, "size": 1, "role": "enum", "type": "u8"})
    table["header"] |= {"size": size + 1, "frame_size": table["header"]["frame_size"] | {"add": size + 5}}
    layout = layout_from(table)
    made = profile_of(layout)
    assert made.missing == []
    profile = profile_untrusted(as_json(made.table), "made")
    assert profile.framing.id_fields == ("msg_type", "msg_subtype")
    frame = Codec(profile).encode(MeasurementNotify(station_mac=DEVICE, readings=()))
    read = LayoutReader(layout).read(frame, of_client=False)
    assert read.message is not None
    assert read.message.name == "measurement_notify"
    assert read.header["family"] == notify["header"]["family"]


def test_one_id_for_both_sides() -> None:
    table = as_json(plain_layout(heron_layout()))
    ids = {message["name"]: message["id"] for message in table["messages"]}
    for message in table["messages"]:
        if message["name"] in ("version_response", "subscribe_response", "echo_response"):
            message["id"] = ids[message["name"].replace("response", "request")]
    layout = layout_from(table)
    made = profile_of(layout)
    assert (made.unsaid, made.missing) == ([], [])
    profile = profile_untrusted(as_json(made.table), "made")
    frame = Codec(profile).encode(SubscribeRequest(subservices=0x201))
    reader = LayoutReader(layout)
    for of_client, name in ((True, "subscribe_request"), (False, "subscribe_response")):
        read = reader.read(frame, of_client=of_client).message
        assert read is not None
        assert read.name == name
    assert {message.name: message.id for message in layout_of(profile.document)[0].messages} == {
        message["name"]: message["id"] for message in table["messages"]
    }


def test_time_and_address_of_a_message_in_bytes_are_filled_in() -> None:
    hail = {
        "fields": [
            {"name": "mac_0", "at": 0, "size": 6, "role": "mac", "type": "mac"},
            {
                "name": "time_6",
                "at": 6,
                "size": 8,
                "role": "timestamp",
                "type": "u64",
                "unit": "ms",
                "epoch": "session",
            },
            {"name": "model", "at": 14, "size": "rest", "role": "text", "type": "text"},
        ]
    }
    profile = profile_untrusted(as_json(profile_of(heron_layout(version_response=hail)).table), "made")
    said = profile.opaque["version_response_as_bytes"].filled(7, bytes(range(6)), 0, 1, 1_234_000_000)
    assert said == bytes(range(6)) + (1_234).to_bytes(8, "big")
    assert profile.opaque["version_response_as_bytes"].varies


@pytest.mark.parametrize("with_padding", [False, True])
def test_elements_of_several_fields_are_heads_in_their_places(with_padding: bool) -> None:
    fields = [
        {"name": "station_mac", "at": 0, "size": 6, "role": "mac", "type": "mac"},
        {"name": "subservice", "at": 6, "size": 1, "role": "enum", "type": "u8"},
    ]
    reading = [
        {"name": "ap_mac", "at": 0, "size": 6, "role": "mac", "type": "mac"},
        {"name": "rssi_a", "at": 6, "size": 1, "role": "rssi", "type": "i8"},
    ]
    station_size = 9 if with_padding else 7
    body = {
        "elements": {
            "at": "next",
            "type": {"size": 1},
            "length": {"size": 2, "counts": "element"},
            "known": [
                {"id": 33, "name": "reading", "value": {"fields": reading, "size": 7}},
                {"id": 1, "name": "station", "value": {"fields": fields, "size": station_size}},
            ],
        }
    }
    layout = heron_layout(measurement_notify=body)
    made = profile_of(layout)
    profile = profile_untrusted(as_json(made.table), "made")
    (message,) = (each for each in layout.messages if each.name == "measurement_notify")
    station, near = bytes.fromhex("025300000001"), bytes.fromhex("0241000000a1")
    heard = {"ap_mac": near, "rssi_a": -40}
    told = [(1, {"station_mac": station, "subservice": 3}), (33, heard), (33, heard | {"rssi_a": -50})]
    data = body_bytes(message.body, {"elements": told}, layout.byte_order)
    read = Codec(profile).decode_untrusted(message.id, memoryview(data))
    assert read == MeasurementNotify(
        station_mac=station, subservice=3, readings=(Reading(near, rssi_a=-40), Reading(near, rssi_a=-50))
    )
    frame = Codec(profile).encode(read)
    assert frame[profile.framing.head : -profile.framing.foot] == data
    assert made.guesses["messages.measurement_notify.station_type"] == "an element that always comes, and in this place"


@given(st.integers(1, 5_000))
def test_of_any_layout_a_profile_is_made_or_it_is_said_why_not(seed: int) -> None:
    layout: LayoutDocument = make_device(seed).layout()
    made = profile_of(layout)
    fields = {message.name for message in layout.messages}
    said = {*made.table["messages"], *(name.removesuffix("_as_bytes") for name in made.table.get("opaque", ()))}
    refused = {each.split(":")[0].removeprefix("messages.") for each in (*made.missing, *made.unsaid)}
    assert fields <= said | refused
    try:
        profile = profile_untrusted(as_json(made.table), "made")
    except InputError:
        assert made.unsaid or made.missing or layout.header.frame_size.unit > 1
        return
    # What both say is the same afterwards.
    back, unsaid = layout_of(profile.document)
    again = profile_of(back)
    assert as_json(again.table["header"]) == as_json(made.table["header"])
    lost = {*made.table["messages"]} - {*again.table["messages"]}
    assert {*again.table["messages"]} <= {*made.table["messages"]}
    assert lost <= {each.split(".")[1] for each in unsaid if each.startswith("messages.")}
