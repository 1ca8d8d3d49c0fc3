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


def measured(choose: random.Random, heard: int) -> bytes:
    """Always the same elements in the same order; how long one of them is, a list, is the only thing that varies."""
    list_ = b"".join(choose.choice(APS) + struct.pack(">b", -40 - choose.randrange(50)) for _ in range(heard))
    age = struct.pack(">H", choose.randrange(4000))
    return element(1, choose.choice(STATIONS)) + element(2, bytes([heard]) + list_) + element(3, age)


def test_elements_that_always_come_in_one_order_are_elements() -> None:
    choose = random.Random(9)
    bodies = [measured(choose, choose.randrange(1, 7)) for _ in range(200)]
    node = infer_body(samples_of(bodies), Context(unit=1)).node
    assert [each["id"] for each in node["elements"]["known"]] == [1, 2, 3]
    (repeat,) = node["elements"]["known"][1]["value"]["repeats"]
    assert repeat["stride"] == 7


def test_elements_are_no_list_of_devices_where_few_lengths_are_seen() -> None:
    choose = random.Random(10)
    heard = [element(5, bytes([10, 0, 0, choose.randrange(9)])) + measured(choose, 1)[:10] for _ in range(150)]
    bodies = [
        each + b"".join(element(2, choose.choice(APS) + bytes([choose.randrange(190, 220)])) for _ in range(3 + at % 2))
        for at, each in enumerate(heard)
    ]
    node = infer_body(samples_of(bodies), Context(unit=1, macs=frozenset(APS), makers=frozenset({APS[0][:3]}))).node
    assert [each["id"] for each in node["elements"]["known"]] == [1, 2, 5]


def test_what_was_looked_at_first_has_the_elements_that_another_message_shows_later() -> None:
    """What there is most of always has the same two elements, of one length."""
    choose = random.Random(11)
    often = [element(1, choose.choice(STATIONS)) + element(7, choose.randbytes(1)) for _ in range(300)]
    kinds = {0: samples_of(often), 1: samples_of(notifications(choose))}
    assert [*known(infer_bodies(kinds, Context(unit=1))[0].node)] == [1, 7]


def test_the_types_of_a_few_elements_may_be_anything_where_they_end_with_the_body() -> None:
    choose = random.Random(12)
    opening = [element(0x8002, b"wlc-" + name) + element(0x8001, b"\0\0\0\1") for name in (b"north", b"south-2")]
    kinds = {0: samples_of(opening), 1: samples_of(notifications(choose))}
    assert [*known(infer_bodies(kinds, Context(unit=1))[0].node)] == [0x8001, 0x8002]


def test_a_number_alone_in_an_element_is_as_wide_as_it() -> None:
    choose = random.Random(13)
    channels = [choose.choice([1, 6, 11, 36, 44, 149]) for _ in range(150)]
    bodies = [
        each + element(4, struct.pack(">I", channel))
        for each, channel in zip(notifications(choose), channels, strict=True)
    ]
    assert [each[:2] for each in known(infer_bodies({0: samples_of(bodies)}, Context(unit=1))[0].node)[4]] == [(0, 4)]


def test_a_text_filled_up_to_words_is_all_of_its_element() -> None:
    """Of one length in a few sessions, and of others in the next ones."""
    choose = random.Random(14)
    names = [b"mse1.example.lan", b"mse2.site-b.lan\0"]
    opening = [element(6, name) for name in names for _ in range(3)]
    kinds = {0: samples_of(opening), 1: samples_of(notifications(choose))}
    assert known(infer_bodies(kinds, Context(unit=4))[0].node) == {6: [("next", "rest", "text")]}


def test_rssi_without_its_sign_is_known_in_any_message_where_measurements_tell_it_so() -> None:
    choose = random.Random(15)

    def make(*, counters: bool) -> bytes:
        rssi = bytes([40 + choose.randrange(50)])
        return choose.choice(STATIONS) + (struct.pack(">I", choose.randrange(1 << 30)) if counters else b"") + rssi

    kinds = {
        0: samples_of([make(counters=False) for _ in range(300)]),
        1: samples_of([make(counters=True) for _ in range(100)]),
    }
    names = {0: "measurement_notify", 1: "client_statistics_notify"}
    found = infer_bodies(kinds, Context(unit=1), names)
    assert [found[kind].node["fields"][-1]["role"] for kind in (0, 1)] == ["rssi", "rssi"]
    assert infer_bodies({1: kinds[1]}, Context(unit=1), names)[1].node["fields"][-1]["role"] != "rssi"


def test_elements_behind_fields_in_two_messages_of_an_opening() -> None:
    """No other message has any; the two say who they are, in the same form."""

    def about(version: int, name: bytes, serial: bytes, host: int) -> bytes:
        elements = [(1, name), (2, serial), (5, bytes([10, 20, 0, host]))]
        return struct.pack("<HHI", 8, version, 0) + b"".join(struct.pack("<BH", k, len(v)) + v for k, v in elements)

    asked = [about(3, b"mse1.example\0", b"VM9148693", 18), about(3, b"mse2.site-b\0", b"VM570422", 19)]
    answered = [about(5, b"wlc-hq-2\0", b"FCW2034DMF", 7), about(7, b"wlc-hq-1\0", b"FCW2279E1F", 5)]
    kinds = {0: samples_of(asked, of_client=True), 1: samples_of(answered)}
    names = {0: "version_request", 1: "version_response"}
    found = infer_bodies(kinds, Context(order="little"), names)
    for each in found.values():
        assert [*known(each.node)] == [1, 2, 5]
        assert known(each.node)[1] == [("next", "rest", "text")]
    assert "elements" not in infer_bodies({0: kinds[0]}, Context(order="little"), names)[0].node


def test_noise_in_tenths_is_one_number_though_it_hardly_moves() -> None:
    choose = random.Random(16)
    bodies = []
    for _ in range(300):
        rssi, noise = -900 + choose.randrange(450), choose.choice([-960, -950, -930, -920])
        bodies.append(choose.choice(APS) + struct.pack("<hhB", rssi, noise, choose.choice([1, 6, 11, 36])))
    fields = infer_body(samples_of(bodies), Context(order="little", unit=1)).node["fields"]
    assert [(field["at"], field["size"], field["role"]) for field in fields[:3]] == [
        (0, 6, "mac"),
        (6, 2, "rssi"),
        (8, 2, "noise"),
    ]
