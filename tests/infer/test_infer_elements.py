"""Elements that other messages have in the same form, what is in them, and levels however they are told."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest

from loadgen.infer.bodies import infer_bodies, infer_body
from loadgen.infer.samples import Context, Sample

BEGAN = 1_790_000_000 * 10**9
STATIONS = [bytes.fromhex("0253aa") + random.Random(i).randbytes(3) for i in range(30)]
APS = [bytes.fromhex("00a1b2") + random.Random(100 + i).randbytes(3) for i in range(8)]


def samples_of(bodies: list[bytes], *, of_client: bool = False) -> list[Sample]:
    return [Sample(body, BEGAN + at * 10**9, at % 3, of_client) for at, body in enumerate(bodies)]


def element(kind: int, value: bytes) -> bytes:
    return struct.pack(">HH", kind, len(value)) + value


def notifications(choose: random.Random) -> list[bytes]:
    return [
        element(1, choose.choice(STATIONS))
        + b"".join(
            element(2, choose.choice(APS) + struct.pack(">b", -40 - choose.randrange(50)))
            for _ in range(choose.randrange(1, 5))
        )
        for _ in range(150)
    ]


def known(node: dict[str, Any]) -> dict[int, list[tuple[Any, Any, str]]]:
    return {
        each["id"]: [(field["at"], field["size"], field["role"]) for field in each["value"]["fields"]]
        for each in node["elements"]["known"]
    }


def test_a_few_messages_have_elements_in_the_form_of_others() -> None:
    choose = random.Random(1)
    opening = [element(6, name) + element(7, bytes([10, 0, 0, at])) for at, name in enumerate([b"wlc-north", b"wlc-1"])]
    kinds = {0: samples_of(opening), 1: samples_of(notifications(choose)), 2: samples_of([element(1, STATIONS[3])])}
    found = infer_bodies(kinds, Context(unit=1))
    assert known(found[0].node) == {6: [("next", "rest", "text")], 7: [(0, 4, "ipv4")]}
    assert known(found[2].node) == {1: [(0, 6, "mac")]}


def test_what_only_seems_to_be_elements_is_none() -> None:
    """A length would end right, but no other element has such a type."""
    choose = random.Random(2)
    kinds = {0: samples_of([b"\x70\x11\0\4abcd"] * 3), 1: samples_of(notifications(choose))}
    assert "elements" not in infer_bodies(kinds, Context(unit=1))[0].node


def test_masks_in_elements_have_their_place_and_size() -> None:
    choose = random.Random(3)
    masks = [choose.randrange(1, 1 << 23) for _ in range(12)]
    offered = 0x7EEFFF
    kinds = {
        0: samples_of([element(10, struct.pack(">Q", offered))] * 3),
        1: samples_of([element(10, struct.pack(">Q", mask)) for mask in masks], of_client=True),
        2: samples_of([element(11, b"\0\0") + element(10, struct.pack(">Q", mask & offered)) for mask in masks]),
        3: samples_of(notifications(choose)),
    }
    names = {0: "capability", 1: "subscribe_request", 2: "subscribe_response", 3: "measurement_notify"}
    found = infer_bodies(kinds, Context(unit=1), names)
    assert [known(found[kind].node)[10] for kind in range(3)] == [[(0, 8, "mask")]] * 3


def test_a_text_in_an_element_is_as_long_as_its_head_says() -> None:
    """That all of them begin alike, or are as long, does not cut them."""
    choose = random.Random(4)
    texts = [f"guest-{choose.randrange(10, 100)}".encode() for _ in range(60)]
    bodies = [each + element(3, text) for each, text in zip(notifications(choose), texts, strict=False)]
    assert known(infer_body(samples_of(bodies), Context(unit=1)).node)[3] == [("next", "rest", "text")]


def test_a_text_that_a_nul_ends_is_one_field_however_short_the_shortest_is() -> None:
    choose = random.Random(5)
    words = [b"", b"link up", b"joined", b"radio reset by operator", b"rogue seen"]
    bodies = [bytes([0, 0, 0, choose.randrange(1, 7)]) + choose.choice(words) + b"\0" for _ in range(60)]
    fields = infer_body(samples_of(bodies), Context(unit=1)).node["fields"]
    assert (fields[-1]["at"], fields[-1]["size"], fields[-1]["role"]) == ("next", "rest", "text")
    assert sum(field["size"] for field in fields[:-1]) == 4


@pytest.mark.parametrize(
    ("form", "scale", "sign"), [(">i", 1, 1), (">h", 10, 1), (">B", 1, -1)], ids=["wide", "tenths", "no sign"]
)
def test_rssi_is_known_however_it_is_told(form: str, scale: int, sign: int) -> None:
    choose = random.Random(6)
    bodies = []
    for _ in range(300):
        ap, station = choose.choice(APS), choose.choice(STATIONS)
        rssi = -88 + (ap[5] + station[5]) % 45 + choose.random() * 4
        snr = int(rssi) + 96 + choose.randrange(3)
        bodies.append(ap + station + struct.pack(form, sign * round(rssi * scale)) + bytes([snr]))
    fields = infer_body(samples_of(bodies), Context(unit=1)).node["fields"]
    size = struct.calcsize(form)
    assert [(field["at"], field["size"], field["role"]) for field in fields[2:]] == [
        (12, size, "rssi"),
        (12 + size, 1, "snr"),
    ]


def test_rssi_is_known_where_most_places_are_empty() -> None:
    choose = random.Random(7)
    bodies = [
        choose.choice(APS) + struct.pack(">b", -40 - choose.randrange(50) if choose.random() < 0.3 else 0)
        for _ in range(300)
    ]
    fields = infer_body(samples_of(bodies), Context(unit=1)).node["fields"]
    assert [(field["at"], field["role"]) for field in fields] == [(0, "mac"), (6, "rssi")]


def test_what_follows_from_two_fields_is_no_part_of_one_of_them() -> None:
    """An access point's channel on each of its two radios."""
    choose = random.Random(8)
    channels = {ap: (choose.choice([1, 6, 11]), choose.choice([36, 44, 52, 100, 149, 157])) for ap in APS}
    bodies = []
    for _ in range(300):
        ap, slot = choose.choice(APS), choose.randrange(2)
        bodies.append(ap + bytes([slot, channels[ap][slot]]) + struct.pack(">bB", -92 - choose.randrange(4), 7))
    fields = infer_body(samples_of(bodies), Context(unit=1)).node["fields"]
    assert [(field["at"], field["size"]) for field in fields][:3] == [(0, 6), (6, 1), (7, 1)]
