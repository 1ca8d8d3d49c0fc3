"""What is around a body, in bytes that were worked out by hand: ids, lengths, padding, constants, numbers; and hostile
headers.
"""

from __future__ import annotations

from typing import Any

import pytest
from nmsp_samples import core_document, read_frame, reference_document

from loadgen.errors import InputError, RemoteProtocolError
from loadgen.nmsp import messages as m
from loadgen.nmsp.catalogue import KIND_OF
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import (
    Capability,
    EchoRequest,
    EchoResponse,
    Kind,
    Role,
    SubscribeRequest,
    SubscribeResponse,
    VersionRequest,
)
from loadgen.nmsp.profile import WireProfile, profile_untrusted

Document = dict[str, Any]
LENGTH = {"name": "length", "type": "u16", "offset": 2}
MASK = Capability(0x68EBE7)
MASK_HEX = "000000000068ebe7"


def profile_of(fields: list[Document], size: int, ids: dict[str, int] | None = None, **header: Any) -> WireProfile:
    """The core of the reference profile behind another header. Args: ids: of some messages, instead of theirs."""
    document = core_document()
    document["header"] = {"size": size, "fields": fields} | header
    for name, number in (ids or {}).items():
        document["messages"][name]["id"] = number
    return profile_untrusted(document, "framing")


def check(profile: WireProfile, message: m.Message, wire: str, transaction: int = 0) -> None:
    """A message is these bytes, and they are the message."""
    frame = Codec(profile).encode(message, transaction)
    assert frame.hex() == wire.replace(" ", "")
    assert read_frame(profile, frame) == (message, transaction)


def fault_of(profile: WireProfile, wire: str) -> str:
    with pytest.raises(RemoteProtocolError) as fault:
        read_frame(profile, bytes.fromhex(wire))
    return fault.value.kind


# -- ids ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "at", "wire"),
    [("u8", 3, "09 0000 000d"), ("u16", 3, "0009 00 000d"), ("u32", 4, "00000009 000e")],
    ids=["u8", "u16", "u32"],
)
def test_an_id_of_any_width(kind: str, at: int, wire: str) -> None:
    """Zeros where no field is."""
    fields = [{"name": "msg_id", "type": kind, "offset": 0}, LENGTH | {"offset": at}]
    check(profile_of(fields, at + 2, {"capability": 9}), MASK, wire + MASK_HEX)


def test_an_id_in_two_fields() -> None:
    """Type in the upper bits: 0x0A03 is type 10, subtype 3, wherever the two lie."""
    fields = [
        {"name": "msg_subtype", "type": "u8", "offset": 0},
        {"name": "msg_type", "type": "u8", "offset": 5},
        LENGTH,
    ]
    profile = profile_of(fields, 6, {"capability": 0x0A03})
    check(profile, MASK, "03 00 000e 00 0a" + MASK_HEX)
    # Each alone is another message.
    assert read_frame(profile, bytes.fromhex("03 00 000e 00 0b" + MASK_HEX)) == (m.Unsupported(0x0B03), 0)
    assert read_frame(profile, bytes.fromhex("04 00 000e 00 0a" + MASK_HEX)) == (m.Unsupported(0x0A04), 0)


def test_an_id_in_two_fields_of_two_bytes() -> None:
    fields = [
        {"name": "msg_type", "type": "u16", "offset": 0},
        {"name": "msg_subtype", "type": "u16", "offset": 4},
        LENGTH,
    ]
    profile = profile_of(fields, 6, {"capability": 0x0002_FFFE})
    check(profile, MASK, "0002 000e fffe" + MASK_HEX)


# -- lengths and padding -----------------------------------------------------------------------------------------------

ID = {"name": "msg_id", "type": "u16", "offset": 0}
LAST = {"name": "transaction", "type": "u16", "offset": 4}


@pytest.mark.parametrize(
    ("header", "length"),
    [
        ({}, "000e"),
        ({"length_counts": "frame"}, "000e"),
        ({"length_counts": "body"}, "0008"),
        ({"length_counts": "rest"}, "000a"),  # two bytes of header behind it
        ({"length_counts": "frame", "length_unit": 2}, "0007"),
        ({"length_counts": "body", "length_unit": 2}, "0004"),
        ({"length_counts": "rest", "length_unit": 2}, "0005"),
    ],
    ids=str,
)
def test_what_a_length_counts(header: Document, length: str) -> None:
    profile = profile_of([ID, LENGTH, LAST], 6, **header)
    check(profile, MASK, f"0003 {length} 0007" + MASK_HEX, 7)


def test_a_frame_is_filled_up() -> None:
    """To words, where the length counts them; to more, where `align` says so. The zeros are the body's."""
    echo, version = EchoRequest(), VersionRequest(1, 2)
    words = profile_of([ID, LENGTH, LAST], 6, length_unit=4)
    check(words, echo, "0006 0002 0007 0000", 7)
    check(words, version, "0001 0003 0007 0001 0002 0000", 7)
    eight = profile_of([ID, LENGTH, LAST], 6, align=8, length_counts="body")
    check(eight, echo, "0006 0002 0007 0000", 7)
    check(eight, version, "0001 000a 0007 0001 0002" + "00" * 6, 7)
    # Fewer bytes than a unit may be anything, one more is one too many.
    assert read_frame(words, bytes.fromhex("0001 0003 0007 0001 0002 beef")) == (version, 7)
    assert fault_of(words, "0001 0004 0007 0001 0002 0000 0000 0000") == "malformed"
    assert fault_of(words, "0001 0002 0007 0001") == "malformed"


def test_a_trailer_is_behind_the_padding() -> None:
    document = core_document()
    document["header"] = {"size": 6, "fields": [ID, LENGTH, LAST], "align": 4, "length_counts": "rest"}
    document["trailer"] = {"size": 3, "fields": [{"name": "end", "type": "u16", "offset": 1, "value": 0x0D0A}]}
    profile = profile_untrusted(document, "framing")
    check(profile, VersionRequest(1, 2), "0001 000c 0007 0001 0002 000000 00 0d0a", 7)
    assert fault_of(profile, "0001 0001 0007") == "malformed"  # no room for the trailer


@pytest.mark.parametrize(
    ("wire", "kind"),
    [
        ("0006 0005 0007", "malformed"),  # less than a header
        ("0006 0000 0007", "malformed"),
        ("0006 ffff 0007", "oversized"),
    ],
)
def test_a_length_that_no_frame_has(wire: str, kind: str) -> None:
    document = core_document() | {"max_frame_bytes": 1000}
    document["header"] = {"size": 6, "fields": [ID, LENGTH, LAST]}
    assert fault_of(profile_untrusted(document, "framing"), wire) == kind


# -- constants ---------------------------------------------------------------------------------------------------------


def test_constants_by_class_by_side_and_by_message() -> None:
    by_class = {"request": 0x11, "response": 0x22, "notification": 0x33}
    document = core_document()
    document["header"] = {
        "size": 8,
        "fields": [
            ID,
            LENGTH,
            {"name": "class", "type": "u8", "offset": 4, "values": by_class},
            {"name": "side", "type": "i16", "offset": 5, "values": {"wlc": -2, "mse": 1}},
            {"name": "flags", "type": "u8", "offset": 7, "value": 0x5A},
        ],
    }
    document["messages"]["echo_response"]["header"] = {"flags": 0x80, "class": 0x44}
    profile = profile_untrusted(document, "framing")
    check(profile, EchoRequest(), "0006 0008 11 0001 5a")
    check(profile, EchoResponse(), "0007 0008 44 fffe 80")
    check(profile, MASK, "0003 0010 22 fffe 5a" + MASK_HEX)  # a response, also if nobody asked
    notify = m.MeasurementNotify(station_mac=bytes(6), readings=())
    check(profile, notify, "0010 0028 33 fffe 5a" + "00" * 32)
    # What another message has is garbage in this one; what is nobody's constant is not looked at.
    for wire in ("0006 0008 22 0001 5a", "0006 0008 11 fffe 5a", "0006 0008 11 0001 80", "0007 0008 44 fffe 5a"):
        assert fault_of(profile, wire) == "garbage"
    assert read_frame(profile, bytes.fromhex("0099 0008 77 0000 00")) == (m.Unsupported(0x99), 0)


def test_what_is_the_same_in_all_messages_is_looked_at_before_the_length() -> None:
    mark = {"name": "mark", "type": "u8", "offset": 4, "value": 0x7E}
    profile = profile_of([ID, LENGTH, mark], 5)
    assert fault_of(profile, "0006 ffff 7f") == "garbage"
    assert fault_of(profile, "0099 0005 7f") == "garbage"


# -- numbers of frames -------------------------------------------------------------------------------------------------


def numbered(kind: str, first: int, *, both: bool = True, **document: Any) -> WireProfile:
    fields = [ID, LENGTH, {"name": "frame_number", "type": kind, "offset": 4, "first": first}]
    width = {"u8": 1, "u16": 2, "u32": 4, "u64": 8}[kind]
    if both:
        fields.append({"name": "acknowledged", "type": kind, "offset": 4 + width})
    made = core_document() | document
    made["header"] = {"size": 4 + width * len(fields[2:]), "fields": fields}
    return profile_untrusted(made, "framing")


@pytest.mark.parametrize(
    ("kind", "first", "sent", "received", "wire"),
    [
        ("u8", 0, 0, 0, "00 ff"),  # before any frame of the other side: one less than its first
        ("u8", 0, 5, 3, "05 02"),
        ("u8", 1, 0, 0, "01 00"),
        ("u8", 1, 255, 256, "00 00"),  # round
        ("u16", 1, 7, 2, "0008 0002"),
        ("u32", 100, 1 << 32, 0, "00000064 00000063"),
        ("u64", 0, 1, 1, "0000000000000001 0000000000000000"),
    ],
)
def test_numbers_are_put_in_when_a_frame_is_sent(kind: str, first: int, sent: int, received: int, wire: str) -> None:
    profile = numbered(kind, first)
    blank = Codec(profile).encode(EchoRequest())
    frame = profile.framing.number(blank, sent, received)
    assert frame[4:].hex() == wire.replace(" ", "")
    assert frame[:4] == blank[:4]
    assert not any(blank[4:])
    assert read_frame(profile, frame) == (EchoRequest(), 0)


def test_a_number_without_an_acknowledgement() -> None:
    profile = numbered("u16", 9, both=False)
    assert profile.framing.number(Codec(profile).encode(EchoRequest()), 1, 5).hex() == "00060006000a"


def test_a_checksum_is_made_with_the_numbers_in() -> None:
    """The sum of all bytes, by hand: 00 06 + 00 07 + 02 01 = 0x10."""
    document = core_document() | {"checksum": {"kind": "sum", "over": ["header", "body"]}}
    document["header"] = {
        "size": 7,
        "fields": [
            *(ID, LENGTH),
            {"name": "frame_number", "type": "u8", "offset": 4, "first": 1},
            {"name": "acknowledged", "type": "u8", "offset": 5},
            {"name": "checksum", "type": "u8", "offset": 6},
        ],
    }
    profile = profile_untrusted(document, "framing")
    frame = profile.framing.number(Codec(profile).encode(EchoRequest()), 1, 1)
    assert frame.hex() == "00060007" + "0201" + "10"
    assert read_frame(profile, frame) == (EchoRequest(), 0)
    again = profile.framing.number(frame, 2, 1)  # repeated: what was the checksum is not in it
    assert again.hex() == "00060007" + "0301" + "11"


ONE_ID = (("version_response", "version_request"), ("subscribe_response", "subscribe_request"))


def one_id(**header: Any) -> WireProfile:
    """Responses have the ids of their requests."""
    document = reference_document()
    for response, request in (*ONE_ID, ("echo_response", "echo_request")):
        document["messages"][response]["id"] = document["messages"][request]["id"]
    document["header"] |= header
    return profile_untrusted(document, "one id")


def test_one_id_is_another_message_from_the_other_side() -> None:
    profile = one_id()
    codec = Codec(profile)
    for message, sender, name in (
        (SubscribeRequest(5), Role.MSE, "subscribe_request"),
        (SubscribeResponse(5), Role.WLC, "subscribe_response"),
        (EchoResponse(), Role.WLC, "echo_response"),
        (Capability(5), Role.WLC, "capability"),
        (Capability(5), Role.MSE, "capability"),  # which no MSE says: that is for the session to refuse
    ):
        frame = memoryview(codec.encode(message, 7))
        number = profile.framing.id_of(profile.header.struct.unpack_from(frame))
        assert profile.saying_of(number, sender) is KIND_OF[type(message)]
        assert KIND_OF[type(message)].label == name
        assert codec.decode_untrusted(number, frame[profile.framing.head :], sender=sender) == message


def test_where_two_messages_have_an_id_their_headers_are_checked_as_either() -> None:
    fields = [*reference_document()["header"]["fields"]]
    fields[1] = {"name": "flags", "type": "u8", "offset": 1, "values": {"request": 1, "response": 2, "notification": 0}}
    profile = one_id(fields=fields)
    frame = bytearray(Codec(profile).encode(EchoRequest(), 7))
    number = profile.ids[Kind.ECHO_REQUEST]
    for flags in (1, 2):
        frame[1] = flags
        profile.framing.check_untrusted(number, profile.header.struct.unpack_from(frame), memoryview(frame))
    frame[1] = 0
    with pytest.raises(RemoteProtocolError, match="flags"):
        profile.framing.check_untrusted(number, profile.header.struct.unpack_from(frame), memoryview(frame))


@pytest.mark.parametrize(
    ("name", "other"),
    [("capability", "subscribe_response"), ("subscribe_request", "measurement_notify")],
    ids=["of one side", "of measurements"],
)
def test_one_id_for_two_messages_that_nothing_tells_apart(name: str, other: str) -> None:
    document = reference_document()
    document["messages"][name]["id"] = number = document["messages"][other]["id"]
    with pytest.raises(InputError, match=rf"id: expected an id of its own, found {number}"):
        profile_untrusted(document, "one id")
