"""Lists and texts of which so few lengths are seen that these prove nothing: what is in them does."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import Any

import pytest

from loadgen.infer.bodies import infer_body
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
