"""Lists and texts of which so few lengths are seen that these prove nothing: what is in them does."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import Any

import pytest

from loadgen.infer.bodies import infer_bodies, infer_body
from loadgen.infer.samples import Context, Sample

APS = [bytes.fromhex("00a1b2") + random.Random(i).randbytes(3) for i in range(9)]
NAMES = [b"ap-hall-1", b"ap-dock-02", b"lobby", b"ap-floor2-11"]


def found_in(bodies: list[bytes], **known: Any) -> dict[str, Any]:
    samples = [Sample(body, number * 10**9, number % 2, False) for number, body in enumerate(bodies)]
    return infer_body(samples, Context(macs=frozenset(APS), makers=frozenset({APS[0][:3]}), **known)).node


def roles(node: dict[str, Any]) -> list[tuple[Any, Any, str]]:
    return [(field["at"], field["size"], field["role"]) for field in node["fields"]]


def _radio(choose: random.Random, ap: bytes) -> bytes:
    return bytes([6 + ap[5] % 3]) + ap + struct.pack(">bH", -90 - choose.randrange(5), choose.randrange(40))


@pytest.mark.parametrize("counted", [True, False])
def test_a_list_of_one_length_is_one_where_each_record_has_another_device(counted: bool) -> None:
    choose = random.Random(1)
    bodies = [(b"\x05" if counted else b"") + b"".join(_radio(choose, ap) for ap in APS[:5]) for _ in range(20)]
    node = found_in(bodies, unit=1)
    (repeat,) = node["repeats"]
    assert (repeat["stride"], repeat["count"] == "rest") == (10, not counted)
    assert (1, 6, "mac") in roles(repeat["record"])


def test_records_begin_with_the_first_one() -> None:
    """At least one is there in each body, so that it could be fields beside the station's."""
    choose = random.Random(2)

    def make() -> bytes:
        heard = choose.sample(APS, choose.randrange(1, 5))
        return choose.choice(APS) + b"".join(ap + bytes([200 + choose.randrange(20), 0, 1]) for ap in heard)

    node = found_in([make() for _ in range(200)], unit=1)
    assert roles(node) == [(0, 6, "mac")]
    assert node["repeats"][0]["stride"] == 9


def test_zeros_at_the_end_of_records_are_no_padding_where_frames_have_any_size() -> None:
    choose = random.Random(3)

    def make() -> bytes:
        count = choose.randrange(1, 5)
        return struct.pack(">BBH", count, 0, 3) + b"".join(
            struct.pack(">I", 0) + ap + choose.randbytes(1) + b"\0" for ap in choose.sample(APS, count)
        )

    node = found_in([make() for _ in range(100)], unit=1)
    assert "rest" not in node
    assert sum(field["size"] for field in node["fields"]) == 4


Make = Callable[[random.Random], bytes]


def _counted(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def test_two_texts_that_each_have_their_length_in_front() -> None:
    choose = random.Random(4)
    bodies = [
        choose.choice(APS) + _counted(choose.choice(NAMES)) + b"\7" + _counted(b"user%d" % choose.randrange(2000))
        for _ in range(60)
    ]
    fields = found_in(bodies, unit=1)["fields"]
    assert [field["role"] for field in fields] == ["mac", "length", "text", "constant", "length", "text"]
    assert fields[2]["size"] == {"field": fields[1]["name"]}
    assert fields[5]["size"] == {"field": fields[4]["name"]}


def test_a_text_that_is_always_the_same_has_its_length_in_front() -> None:
    fields = found_in([b"\x01\0\0\x0aAIR-CT5520"] * 3, unit=1)["fields"]
    assert [(field["role"], field["size"]) for field in fields][-2:] == [
        ("length", 2),
        ("text", {"field": fields[-2]["name"]}),
    ]


@pytest.mark.parametrize("texts", [1, 2])
def test_records_with_texts_in_a_list_that_hardly_changes(texts: int) -> None:
    records = [ap + b"\x0a\1\0" + bytes([7 + n]) + _counted(NAMES[n % 4]) for n, ap in enumerate(APS[:6])]
    if texts == 2:
        records = [record + _counted(b"model-%d" % (n * 99)) for n, record in enumerate(records)]
    bodies = [bytes([many]) + b"".join(records[:many]) for many in (4, 4, 6, 4, 6, 5)]
    (repeat,) = found_in(bodies, unit=1)["repeats"]
    assert repeat["stride"] is None
    assert [field["role"] for field in repeat["record"]["fields"]].count("text") == texts


@pytest.mark.parametrize("unit", [1, 4])
def test_lists_of_subservices_of_one_length_are_found_by_their_numbers(unit: int) -> None:
    def entries(*numbers: int) -> bytes:
        return b"".join(struct.pack(">HH", number, 1 << number) for number in numbers)

    def sent(body: bytes) -> list[Sample]:
        filled = body + bytes(-len(body) % unit)
        return [Sample(filled, number * 10**9, number, False) for number in range(4)]

    kinds = {
        "capability": sent(b"\x05" + entries(1, 2, 4, 7, 9)),
        "subscribe_request": sent(b"\x02" + entries(2, 7)),
        "subscribe_response": sent(b"\0\x02\0\0" + entries(2, 7)),
    }
    found = infer_bodies(kinds, Context(unit=unit), {name: name for name in kinds})
    for body, count_at in zip(found.values(), (0, 0, 1), strict=True):
        (repeat,) = body.node["repeats"]
        (count,) = [field for field in body.node["fields"] if field["role"] == "count"]
        assert (repeat["stride"], repeat["count"]) == (4, {"field": count["name"]})
        assert count["at"] in (count_at, count_at - 1)


def test_zeros_up_to_words_hide_no_byte_of_a_record() -> None:
    """Of 25 bytes each, so that bodies are 24 longer for each up to the fifth."""
    choose = random.Random(5)

    def make() -> bytes:
        count = choose.randrange(1, 5)
        records = (
            struct.pack(">6sIIIHIb", ap, *(choose.randrange(1 << 30) for _ in range(3)), 0, 7, -60) for ap in APS
        )
        data = struct.pack(">HH", 13, count) + b"".join([*records][:count])
        return data + bytes(-len(data) % 4)

    node = found_in([make() for _ in range(80)], unit=4)
    assert node["repeats"][0]["stride"] == 25
    assert node["rest"] == "padding"


def test_zeros_in_front_of_elements_are_no_element() -> None:
    choose = random.Random(6)

    def make() -> bytes:
        parts = [b"\1\0\6" + choose.choice(APS), b"\2\0\4" + choose.randbytes(4)]
        parts += [b"\3\0\5lobby"] * choose.randrange(2)
        return b"\0\0\0\7\0\x09\0\0" + b"".join(parts)

    node = found_in([make() for _ in range(60)], unit=1)
    assert [one["id"] for one in node["elements"]["known"]] == [1, 2, 3]


@pytest.mark.parametrize(("packed", "size"), [(True, 2), (False, 1)])
def test_a_count_in_an_odd_place_is_as_wide_as_other_numbers_say(packed: bool, size: int) -> None:
    choose = random.Random(7)

    def make() -> bytes:
        heard = choose.sample(APS, choose.randrange(1, 6))
        return b"\x05" + struct.pack("<BB", len(heard), 0) + b"\1" + b"".join(ap + choose.randbytes(4) for ap in heard)

    node = found_in([make() for _ in range(90)], unit=1, packed=packed, order="little")
    assert [(field["at"], field["size"]) for field in node["fields"] if field["role"] == "count"] == [(1, size)]


@pytest.mark.parametrize("levels_first", [False, True])
def test_lists_behind_each_other_are_counted_by_one_number(levels_first: bool) -> None:
    """Addresses, and then two levels of each; or the levels first."""
    choose = random.Random(11)

    def make() -> bytes:
        heard = choose.sample(APS, choose.randrange(1, 6))
        levels = b"".join(struct.pack(">bb", -40 - choose.randrange(40), -45 - choose.randrange(40)) for _ in heard)
        lists = (levels, b"".join(heard)) if levels_first else (b"".join(heard), levels)
        return bytes([choose.choice([1, 6, 11]), len(heard)]) + b"".join(lists)

    node = found_in([make() for _ in range(200)], unit=1)
    assert [(each["stride"], each["count"]) for each in node["repeats"]] == [
        (stride, {"field": "count_1"}) for stride in ((2, 6) if levels_first else (6, 2))
    ]
    addresses, levels = [roles(each["record"]) for each in node["repeats"]][:: -1 if levels_first else 1]
    assert addresses == [(0, 6, "mac")]
    assert levels == [(0, 1, "rssi"), (1, 1, "rssi")]


def test_records_of_two_addresses_are_no_two_lists() -> None:
    choose = random.Random(12)

    def make() -> bytes:
        count = choose.randrange(1, 6)
        return bytes([count]) + b"".join(choose.choice(APS) + choose.choice(APS[4:]) for _ in range(count))

    (repeat,) = found_in([make() for _ in range(200)], unit=1)["repeats"]
    assert repeat["stride"] == 12


def test_a_text_behind_one_whose_length_is_told_goes_to_the_end() -> None:
    choose = random.Random(13)

    def make() -> bytes:
        name = choose.choice(NAMES)
        user = "".join(choose.choices("abcdefghijklmnopqrstuvwxyz", k=choose.randrange(4, 12))).encode()
        return choose.choice(APS) + bytes([len(name)]) + name + user

    node = found_in([make() for _ in range(120)], unit=1)
    assert [(each["at"], each["size"], each["role"]) for each in node["fields"]] == [
        (0, 6, "mac"),
        (6, 1, "length"),
        ("next", {"field": "length_6"}, "text"),
        ("next", "rest", "text"),
    ]


@pytest.mark.parametrize("names", [(b"mse-1.hq.example",), (b"mse-1.hq", b"mse-north.hq")])
def test_fields_behind_a_text_whose_length_is_told(names: tuple[bytes, ...]) -> None:
    """All of one length or not: what is printable ends just where the number in front of it says."""
    bodies = [struct.pack(">H", len(name)) + name + struct.pack(">IH", 3, at) for at, name in enumerate(names * 4)]
    assert roles(found_in(bodies, unit=1))[:2] == [(0, 2, "length"), ("next", {"field": "length_0"}, "text")]


@pytest.mark.parametrize("makers", [1, 30])
def test_what_a_number_counts_is_no_list_behind_its_first_record(makers: int) -> None:
    """Lists of one to three stations of which none is known."""
    choose = random.Random(0 if makers > 1 else 1)
    known = [bytes([2 | choose.randrange(64) << 2]) + choose.randbytes(2) for _ in range(makers)]
    stations = [choose.choice(known) + choose.randbytes(3) for _ in range(150)]

    def record() -> bytes:
        return choose.choice(stations) + bytes([choose.randrange(30, 99), choose.randrange(4)])

    bodies = [struct.pack("<H", n := 1 + at % 3) + b"".join(record() for _ in range(n)) for at in range(300)]
    (records,) = found_in(bodies, order="little", unit=1)["repeats"]
    assert (records["count"], records["stride"]) == ({"field": "count_0"}, 8)


def test_readings_of_which_the_best_comes_first_begin_with_it() -> None:
    """What the first one has is more than what any other has."""
    choose = random.Random(41)

    def make() -> bytes:
        heard = sorted((choose.randrange(-900, -380), ap) for ap in choose.sample(APS, choose.randrange(3, 8)))
        return b"".join(ap + struct.pack(">hH", level, max(0, level + 960)) for level, ap in heard[::-1])

    node = found_in([make() for _ in range(300)], unit=1)
    assert not node.get("fields")
    (repeat,) = node["repeats"]
    assert repeat["stride"] == 10
    assert roles(repeat["record"])[:2] == [(0, 6, "mac"), (6, 2, "rssi")]
