"""Records that each have a text, found by their texts: in one list, behind a text, and in lists within lists."""

from __future__ import annotations

import random
import struct
from typing import Any

from loadgen.infer.bodies import infer_body
from loadgen.infer.samples import Context, Sample

APS = [bytes.fromhex("00a1b2") + random.Random(i).randbytes(3) for i in range(9)]
STATIONS = [bytes.fromhex("3c22fb") + random.Random(50 + i).randbytes(3) for i in range(20)]
NAMES = [b"ap-hall-1", b"ap-dock-02", b"lobby", b"ap-floor2-11", b"roof", b"ap-cellar", b"gate-7", b"ap-yard", b"ap-x9"]


def node_of(bodies: list[bytes]) -> dict[str, Any]:
    samples = [Sample(body, number * 10**9, number % 2, False) for number, body in enumerate(bodies)]
    return infer_body(samples, Context(unit=1, macs=frozenset(APS), makers=frozenset({APS[0][:3]}))).node


def fields(node: dict[str, Any]) -> list[tuple[Any, str]]:
    sizes = [(field["size"] if isinstance(field["size"], int) else "told", field["role"]) for field in node["fields"]]
    return [each for each in sizes if each[1] not in ("padding", "constant")]


def reading(choose: random.Random, number: int) -> bytes:
    """A text amid a record of numbers."""
    level = struct.pack(">bB", -40 - choose.randrange(50), choose.randrange(5, 60))
    return APS[number] + struct.pack(">H", len(NAMES[number])) + NAMES[number] + level


def readings(choose: random.Random) -> list[bytes]:
    return [reading(choose, number) for number in choose.sample(range(9), choose.randrange(1, 6))]


def test_a_list_of_records_with_a_text_and_fields_behind_it() -> None:
    choose = random.Random(1)
    lists = [readings(choose) for _ in range(120)]
    node = node_of([struct.pack(">I", len(each)) + b"".join(each) for each in lists])
    (repeat,) = node["repeats"]
    assert repeat["stride"] is None
    assert [role for _, role in fields(node)] == ["count"]
    roles = [role for _, role in fields(repeat["record"])]
    assert roles[:4] == ["mac", "length", "text", "rssi"]
    assert ("told", "text") in fields(repeat["record"])


def test_a_list_behind_a_text_whose_length_differs() -> None:
    choose = random.Random(2)
    users = [b"", b"j.olsen", b"m.kaur", b"guest-17", b"vw"]

    def make() -> bytes:
        user, heard = choose.choice(users), readings(choose)
        return bytes([len(heard), len(user)]) + user + choose.choice(STATIONS) + b"".join(heard)

    node = node_of([make() for _ in range(200)])
    assert fields(node) == [(1, "count"), (1, "length"), ("told", "text"), (6, "mac")]
    assert [role for _, role in fields(node["repeats"][0]["record"])][:4] == ["mac", "length", "text", "rssi"]


def test_lists_within_the_records_of_a_list() -> None:
    choose = random.Random(3)

    def make() -> bytes:
        stations = choose.sample(STATIONS, choose.randrange(1, 4))
        heard = [readings(choose) for _ in stations]
        each = [mac + bytes([len(some)]) + b"".join(some) for mac, some in zip(stations, heard, strict=True)]
        return bytes([len(stations)]) + b"".join(each)

    node = node_of([make() for _ in range(200)])
    assert fields(node) == [(1, "count")]
    (outer,) = node["repeats"]
    assert fields(outer["record"]) == [(6, "mac"), (1, "count")]
    (inner,) = outer["record"]["repeats"]
    assert [role for _, role in fields(inner["record"])][:4] == ["mac", "length", "text", "rssi"]


def test_a_text_is_not_cut_out_of_a_word_by_a_number_that_is_always_the_same() -> None:
    """Few bodies of one length: any small number could be that of some letters."""
    serials = [b"FCW2273714E", b"FCW2209G039", b"FCW2118K0QD"]
    node = node_of([bytes([5, 9, 6]) + serial + bytes(1) for serial in serials])
    assert (3, 12, "text") in [(field["at"], field["size"], field["role"]) for field in node["fields"]]
