"""Layouts without transactions, and with numbers of frames: what follows from the order."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from loadgen import nmsp
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import EchoRequest, EchoResponse, Kind, VersionRequest
from loadgen.nmsp.profile import WireProfile, profile_untrusted
from loadgen.session.order import FrameNumbers, RequestOrder


def test_answers_belong_to_requests_in_their_order() -> None:
    order = RequestOrder()
    for kind, transaction in ((Kind.ECHO_REQUEST, 1), (Kind.MEASUREMENT_REQUEST, 2), (Kind.ECHO_REQUEST, 3)):
        order.said(kind, transaction)
    assert order.came(Kind.MEASUREMENT_RESPONSE) == 2
    assert order.came(Kind.ECHO_RESPONSE) == 1
    assert order.came(Kind.ECHO_RESPONSE) == 3
    assert order.came(Kind.ECHO_RESPONSE) == 0  # nobody asked


def test_an_answer_that_never_comes_makes_others_late_and_none_early() -> None:
    order = RequestOrder()
    for transaction in (1, 2, 3):
        order.said(Kind.ECHO_REQUEST, transaction)
    # The first was not answered: these are the second's and the third's.
    assert [order.came(Kind.ECHO_RESPONSE) for _ in range(2)] == [1, 2]


def test_requests_that_come_have_numbers_of_their_own() -> None:
    order = RequestOrder()
    assert [order.came(kind) for kind in (Kind.ECHO_REQUEST, Kind.MEASUREMENT_REQUEST, Kind.MEASUREMENT_NOTIFY)] == [
        1,
        2,
        0,
    ]


def test_what_nobody_answers_is_forgotten_one_day() -> None:
    order = RequestOrder()
    for transaction in range(1, 5000):
        order.said(Kind.ECHO_REQUEST, transaction)
    assert order.came(Kind.ECHO_RESPONSE) == 4999 - 1024 + 1


def numbered(first: int, *, acknowledged: bool) -> WireProfile:
    document = tomllib.loads((Path(nmsp.__file__).parent / "reference.toml").read_text("utf-8"))
    fields = [field for field in document["header"]["fields"] if field["name"] != "transaction"]
    fields.append({"name": "frame_number", "type": "u8", "offset": 8, "first": first})
    if acknowledged:
        fields.append({"name": "acknowledged", "type": "u16", "offset": 9})
    document["header"]["fields"] = fields
    return profile_untrusted(document, "numbered")


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("acknowledged", [True, False])
def test_frames_are_numbered_as_they_are_written(first: int, acknowledged: bool) -> None:
    profile = numbered(first, acknowledged=acknowledged)
    codec, numbers = Codec(profile), FrameNumbers(profile.framing)
    together = codec.encode(VersionRequest(1, 1)) + codec.encode(EchoRequest())
    written = bytes(numbers.put(together))
    numbers.heard += 3
    written += bytes(numbers.put(memoryview(bytearray(codec.encode(EchoResponse())))))
    found, position = [], 0
    while position < len(written):
        header = profile.header.struct.unpack_from(written, position)
        found.append(dict(zip(profile.header.names, header, strict=True)))
        position += profile.framing.size_untrusted(header)
    assert [each["frame_number"] for each in found] == [first, first + 1, first + 2]
    if acknowledged:  # the last one that came; before any came, the one before the first
        assert [each["acknowledged"] for each in found] == [first - 1 & 0xFFFF, first - 1 & 0xFFFF, first + 2]


def test_numbers_go_round() -> None:
    profile = numbered(0, acknowledged=False)
    numbers, frame = FrameNumbers(profile.framing), Codec(profile).encode(EchoRequest())
    for _ in range(256):
        last = numbers.put(frame)
    assert last[8] == 255
    assert numbers.put(frame)[8] == 0
