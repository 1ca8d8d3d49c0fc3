"""How wide numbers are beside zeros, and where masks are: what a whole capture says of it."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from loadgen.infer.bodies import infer_bodies
from loadgen.infer.masks import find_masks
from loadgen.infer.samples import Context, Sample

BEGAN = 1_736_164_800_000_000_000  # ns since 1970
APS = [bytes.fromhex("00a1b2") + random.Random(100 + i).randbytes(3) for i in range(8)]
STATIONS = [bytes.fromhex("3c22fb") + random.Random(i).randbytes(3) for i in range(30)]


def samples_of(make: Callable[[random.Random], bytes], count: int = 200) -> list[Sample]:
    choose = random.Random(5)
    return [Sample(make(choose), BEGAN + 200_000_000 * i, i % 3, of_client=False) for i in range(count)]


def widths(node: dict[str, Any]) -> dict[int, int]:
    return {each["at"]: each["size"] for each in node["fields"] if each["role"] not in ("padding", "constant")}


def small_number(choose: random.Random) -> int:
    return choose.randrange(200)


def aligned_bodies(order: str) -> dict[str, list[Sample]]:
    """Numbers at multiples of their width; one of a byte with three bytes behind it, up to the next."""

    def wide(choose: random.Random) -> bytes:
        values = choose.randrange(1 << 32), choose.randrange(70_000), choose.randrange(1 << 16), choose.randrange(9000)
        return choose.choice(STATIONS) + bytes(2) + struct.pack(f"{order}IIHH", *values)

    def narrow(choose: random.Random) -> bytes:
        level = bytes([choose.randrange(1, 90)]) + bytes(3)
        return level + struct.pack(f"{order}I", choose.randrange(1 << 31)) + choose.choice(APS) + b"\x01\x02"

    return {"wide": samples_of(wide), "narrow": samples_of(narrow)}


def test_zeros_up_to_the_next_number_are_reserved_where_numbers_are_aligned() -> None:
    found = infer_bodies(aligned_bodies("<"), Context(order="little"))
    assert widths(found["narrow"].node) == {0: 1, 4: 4, 8: 6}
    first = found["narrow"].node["fields"][0]
    assert "16 bits, and 2 reserved bytes of zeros" in first["alternatives"]
    assert [(each["at"], each["size"]) for each in found["narrow"].node["fields"][1:2]] == [(1, 3)]


@pytest.mark.parametrize("order", ["big", "little"])
def test_zeros_belong_to_a_number_where_nothing_is_ever_reserved(order: str) -> None:
    sign = ">" if order == "big" else "<"

    def packed(choose: random.Random) -> bytes:
        numbers = struct.pack(f"{sign}BIHH", choose.randrange(256), choose.randrange(1 << 32), 7000, 9)
        return b"\x05" + choose.choice(STATIONS) + numbers[:-2] + struct.pack(f"{sign}H", small_number(choose))

    def other(choose: random.Random) -> bytes:
        return choose.choice(APS) + struct.pack(f"{sign}HB", choose.randrange(1 << 16), choose.randrange(256))

    found = infer_bodies({"packed": samples_of(packed), "other": samples_of(other)}, Context(order=order))
    assert widths(found["packed"].node)[14] == 2


def test_a_byte_that_is_always_negative_below_a_sign_is_wider() -> None:
    def make(choose: random.Random) -> bytes:
        return choose.choice(APS) + struct.pack(">h", -40 - choose.randrange(50))

    (level,) = [each for each in infer_bodies({0: samples_of(make)}, Context())[0].node["fields"] if each["at"] > 5]
    assert (level["at"], level["size"], level["type"]) == (6, 2, "i16")


def test_a_text_has_a_usual_width_and_the_rest_is_reserved() -> None:
    def make(choose: random.Random) -> bytes:
        return choose.choice([b"corporate", b"guests", b"eduroam", b"warehouse"]).ljust(17, b"\0")

    fields = infer_bodies({0: samples_of(make)}, Context())[0].node["fields"]
    assert [(each["size"], each["role"]) for each in fields] == [(16, "text"), (1, "padding")]


OFFERS = (0x68EBE7, 0x0003E7, 0x7FFDFF)
ASKS = (0x000201, 0x000207, 0x002201)


def of_subservices(order: str, size: int) -> tuple[list[Sample], list[Sample], list[Sample]]:
    """Behind one byte in an offer, in front of an interval, behind a status."""
    way: Any = order
    offers, requests, responses = [], [], []
    for session, (offered, asked) in enumerate(zip(OFFERS, ASKS, strict=True)):
        ns = BEGAN + session * 1_000_000_000
        interval = (2 << session).to_bytes(4, way)
        offers.append(Sample(b"\x01" + offered.to_bytes(size, way), ns, session, of_client=False))
        requests.append(Sample((asked & offered).to_bytes(size, way) + interval, ns + 1, session, of_client=True))
        granted = b"\0" + (asked & offered).to_bytes(size, way)
        responses.append(Sample(granted, ns + 2, session, of_client=False))
    return offers, requests, responses


@pytest.mark.parametrize("order", ["big", "little"])
@pytest.mark.parametrize("size", [4, 8])
def test_masks_of_three_messages_are_found_together(order: str, size: int) -> None:
    offers, requests, responses = of_subservices(order, size)
    assert find_masks(offers, requests, responses, order) == ((1, size), (0, size), (1, size))
    assert find_masks([], requests, responses, order) == (None, (0, size), (1, size))
    names = {0: "capability", 1: "subscribe_request", 2: "subscribe_response"}
    found = infer_bodies({0: offers, 1: requests, 2: responses}, Context(order=order), names)
    masks = [[(f["at"], f["size"]) for f in each.node["fields"] if f["role"] == "mask"] for each in found.values()]
    assert masks == [[(1, size)], [(0, size)], [(1, size)]]


def test_no_mask_where_something_is_granted_that_nobody_asked_for() -> None:
    offers, requests, responses = of_subservices("big", 4)
    wrong = [Sample(b"\0" + (1 << 20 | 5).to_bytes(4), each.ns, each.session, of_client=False) for each in responses]
    assert find_masks(offers, requests, wrong, "big") is None
    assert find_masks(offers, requests, [], "big") is None


@pytest.mark.parametrize("order", ["big", "little"])
def test_what_is_asked_for_may_be_more_than_what_is_offered(order: str) -> None:
    """A bit of the low byte that is not offered is not granted: the masks keep that byte."""
    way: Any = order
    offers, requests, responses = of_subservices(order, 8)
    wanted = [
        replace(each, data=(asked | 0x18).to_bytes(8, way) + each.data[8:])
        for each, asked in zip(requests, ASKS, strict=True)
    ]
    assert find_masks(offers, wanted, responses, order) == ((1, 8), (0, 8), (1, 8))


def test_masks_in_elements_leave_them_their_lengths() -> None:
    """Behind a type of one byte and a length of two, in all three messages."""
    offers, requests, responses = of_subservices("big", 4)
    head = b"\x03\x00\x04"
    in_elements = (
        [replace(each, data=head + each.data[1:]) for each in offers],
        [replace(each, data=head + each.data[:4] + b"\x04\x00\x02" + each.data[-2:]) for each in requests],
        [replace(each, data=b"\x02\x00\x02\0\0" + head + each.data[1:]) for each in responses],
    )
    assert find_masks(*in_elements, "big") == ((3, 4), (3, 4), (8, 4))


def test_masks_are_granted_to_the_request_of_the_same_transaction() -> None:
    """Two wait for their answers at once."""
    offers, requests, responses = of_subservices("big", 4)
    offers = [replace(offers[0], data=b"\x01" + (0x7FFFFF).to_bytes(4), session=0)]
    asked = [replace(each, session=0, ns=BEGAN + 1, transaction=number) for number, each in enumerate(requests)]
    answered = [replace(each, session=0, ns=BEGAN + 2, transaction=number) for number, each in enumerate(responses)]
    assert find_masks(offers, asked, answered[::-1], "big") == ((1, 4), (0, 4), (1, 4))


def test_masks_are_found_beside_a_list_of_what_is_asked_for() -> None:
    """Each subservice by its number, with an interval; granted is what of them is offered."""
    asks = ([0, 1, 3, 9], [0, 2, 9, 20, 21], [1, 5, 7], [0, 3, 4, 6, 13])
    offers, requests, responses = [], [], []
    for session, numbers in enumerate(asks):
        ns = BEGAN + session * 1_000_000_000
        offers.append(Sample((0x68EBE7).to_bytes(8, "little") + b"\x50\xc3\0\0", ns, session, of_client=False))
        listed = len(numbers).to_bytes(4, "little") + b"".join(struct.pack("<HH", each, 5) for each in numbers)
        requests.append(Sample(listed, ns + 1, session, of_client=True))
        granted = sum(1 << each for each in numbers) & 0x68EBE7
        responses.append(Sample(bytes(4) + granted.to_bytes(8, "little"), ns + 2, session, of_client=False))
    assert find_masks(offers, requests, responses, "little") == ((0, 8), None, (4, 8))
    assert find_masks(offers, requests[:2], responses[:2], "little") is None


def test_masks_are_found_in_front_of_lists_and_texts_of_any_length() -> None:
    """And what is the same in all answers, such as a name, is none."""
    offers, requests, responses = of_subservices("big", 8)
    lists = [b"\0\1" * (1 + at % 3) for at in range(len(requests))]
    behind = (
        [replace(each, data=each.data[1:] + b"\x02hq") for each in offers],
        [replace(each, data=each.data + some) for each, some in zip(requests, lists, strict=True)],
        [replace(each, data=each.data[1:] + b"\0\x03\x41\x42") for each in responses],
    )
    assert find_masks(*behind, "big") == ((0, 8), (0, 8), (0, 8))


def test_large_numbers_side_by_side_are_as_wide_as_each_other() -> None:
    """Zeros in front of one of four counters: reserved, as the others have no room for more."""

    def make(choose: random.Random) -> bytes:
        counts = [choose.randrange(1_000, 1 << 25) for _ in range(4)]
        return choose.choice(STATIONS) + b"\x00\x07" + struct.pack(">I4xIII", *counts)

    found = infer_bodies({0: samples_of(make)}, Context())[0].node
    assert {at: size for at, size in widths(found).items() if at >= 8} == {8: 4, 16: 4, 20: 4, 24: 4}


def test_a_channel_and_what_follows_from_it_are_two_fields() -> None:
    channels = [1, 6, 11, 36, 40, 44, 48, 52, 100, 149, 157]

    def make(choose: random.Random) -> bytes:
        channel = choose.choice(channels)
        return choose.choice(APS) + bytes([channel > 14, channel])

    assert widths(infer_bodies({0: samples_of(make)}, Context())[0].node) == {0: 6, 6: 1, 7: 1}


def test_any_two_bytes_are_unknown() -> None:
    def make(choose: random.Random) -> bytes:
        return choose.choice(APS) + struct.pack(">b", -40 - choose.randrange(50)) + choose.randbytes(2)

    fields = infer_bodies({0: samples_of(make, 400)}, Context())[0].node["fields"]
    assert [(each["at"], each["role"]) for each in fields if each["at"] > 6] == [(7, "unknown")]


def test_frames_of_whole_words_are_filled_up() -> None:
    def make(choose: random.Random) -> bytes:
        return choose.choice(STATIONS) + bytes([0, choose.randrange(1, 4)]) + bytes(3)

    for unit, width in ((4, 1), (1, 4)):
        found = infer_bodies({0: samples_of(make)}, Context(order="little", unit=unit))[0].node
        assert widths(found)[7] == width


@pytest.mark.parametrize("order", ["big", "little"])
def test_a_mask_is_found_whole_where_a_part_of_what_is_asked_for_is_not_granted(order: str) -> None:
    """The bits that are not granted are all in the lowest byte: without it, more answers are as they were asked for."""
    way: Any = order
    offered, some = 0x6FFFFF, [(0x0060E7, 0x0060E7), (0x48E2E7, 0x48E2E6), (0x0060E7, 0x0060E5), (0x20A207, 0x20A207)]

    def sample(value: int, at: int, *, of_client: bool) -> Sample:
        return Sample(value.to_bytes(8, way), BEGAN + at, at // 4, of_client)

    offers = [sample(offered, 4 * session, of_client=False) for session in range(4)]
    requests = [sample(asked, 4 * session + 1, of_client=True) for session, (asked, _) in enumerate(some)]
    responses = [sample(granted, 4 * session + 2, of_client=False) for session, (_, granted) in enumerate(some)]
    assert find_masks(offers, requests, responses, order) == ((0, 8), (0, 8), (0, 8))


@pytest.mark.parametrize("order", ["big", "little"])
def test_levels_of_a_device_are_as_wide_as_each_other(order: str) -> None:
    """RSSI shows how wide it is, by its sign; the zeros above SNR are its own, then."""
    sign = ">" if order == "big" else "<"

    def make(choose: random.Random) -> bytes:
        rssi = -85 + choose.randrange(50)
        snr = rssi + 96 + choose.randrange(2)
        return bytes.fromhex("0027e3") + choose.randbytes(3) + bytes(2) + struct.pack(f"{sign}iiI", rssi, snr, 1 << 30)

    samples = samples_of(make)
    node = infer_bodies({0: samples}, Context(order=order, unit=4))[0].node
    found = [(each["at"], each["size"], each["role"]) for each in node["fields"]]
    assert {(8, 4, "rssi"), (12, 4, "snr")} <= {*found}


def test_nothing_is_reserved_in_front_of_a_number_that_ends_where_a_wide_one_would() -> None:
    """Big-endian, and all numbers aligned: who reserves bytes does so behind a small number."""

    def make(choose: random.Random) -> bytes:
        address = bytes(2) + choose.choice(STATIONS)
        return address + struct.pack(">IIiI", choose.randrange(3), choose.randrange(1 << 31), -40, 1 << 30)

    node = infer_bodies({0: samples_of(make)}, Context(unit=4))[0].node
    assert (8, 4) in [(each["at"], each["size"]) for each in node["fields"]]


def test_a_text_in_front_of_a_mask_is_one() -> None:
    """A resource record: a name as a label, what it is of, its length, and then the mask."""
    offers, requests, responses = of_subservices("big", 4)
    names = (b"wlc-hall-1", b"wlc-dock-2", b"wlc-dock-7")

    def named(each: Sample, mask: bytes, at: int) -> Sample:
        name = names[at]
        return replace(each, data=bytes([0, 1, len(name)]) + name + b"\0\xff\x11\0\1\0\0\0\0\0\4" + mask)

    kinds = {
        0: [named(each, each.data[1:], at) for at, each in enumerate(offers)],
        1: [named(each, each.data[:4], at) for at, each in enumerate(requests)],
        2: [named(each, each.data[1:], at) for at, each in enumerate(responses)],
    }
    found = infer_bodies(kinds, Context(unit=1), {0: "capability", 1: "subscribe_request", 2: "subscribe_response"})
    for each in found.values():
        fields = each.node["fields"]
        assert [field["role"] for field in fields if field["role"] not in ("constant", "padding")] == [
            *("length", "text", "mask"),
        ]
        assert fields[-1]["size"] == 4
