"""Bodies whose structure is known, given to inference without it: one body for each rule."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from loadgen.infer.bodies import infer_bodies, infer_body
from loadgen.infer.samples import Context, Sample

BEGAN = 1_736_164_800_000_000_000  # ns since 1970
STATIONS = [bytes.fromhex("0253aa") + random.Random(i).randbytes(3) for i in range(30)]
APS = [bytes.fromhex("00a1b2") + random.Random(100 + i).randbytes(3) for i in range(8)]

Make = Callable[[random.Random, int, int], bytes]


def bodies(make: Make, count: int = 300, seed: int = 3, sessions: int = 2) -> Iterator[Sample]:
    """As many bodies, some 200 ms apart. `make` gets randomness, the number of the body in its session and its time."""
    choose, ns, numbers = random.Random(seed), BEGAN, [0] * sessions
    for _ in range(count):
        ns += int(choose.expovariate(1 / 2e8))
        session = choose.randrange(sessions)
        yield Sample(make(choose, numbers[session], ns), ns, session, of_client=False)
        numbers[session] += 1


def places(node: dict[str, Any]) -> dict[int, tuple[int, str]]:
    return {found["at"]: (found["size"], found["role"]) for found in node["fields"]}


def a_table(choose: random.Random, number: int, ns: int) -> bytes:
    return (
        struct.pack(">QH", ns // 1_000_000, number)
        + choose.choice(STATIONS)
        + bytes([choose.choice([0, 1]), 0])
        + choose.choice(APS)
        + struct.pack(">bB", -40 - choose.randrange(50), choose.choice([1, 6, 11, 36]))
        + b"campus-net"[: choose.randrange(6, 11)].ljust(16, b"\0")
    )


def test_fields_in_fixed_places() -> None:
    found = infer_body(list(bodies(a_table)), Context())
    assert places(found.node) == {
        0: (8, "timestamp"),
        8: (2, "sequence"),
        10: (6, "mac"),
        16: (1, "enum"),
        17: (1, "padding"),
        18: (6, "mac"),
        24: (1, "rssi"),
        25: (1, "enum"),
        26: (16, "text"),
    }
    assert all(0 <= field["confidence"] <= 1 and field["evidence"] for field in found.node["fields"])
    assert found.explained == 1


def a_reading(choose: random.Random) -> bytes:
    return choose.choice(APS) + struct.pack(">bxH", -40 - choose.randrange(50), choose.randrange(600))


def test_records_that_a_field_counts() -> None:
    def make(choose: random.Random, number: int, ns: int) -> bytes:
        count = choose.randrange(7)
        return choose.choice(STATIONS) + bytes([0, count]) + b"".join(a_reading(choose) for _ in range(count))

    node = infer_body(list(bodies(make)), Context()).node
    assert places(node) == {0: (6, "mac"), 6: (2, "count")}
    (repeat,) = node["repeats"]
    assert repeat["count"] == {"field": node["fields"][1]["name"]}
    assert node["fields"][1]["alternatives"] == ["8 bits, and 1 reserved bytes of zeros"]
    assert repeat["stride"] == 10
    assert places(repeat["record"]) == {0: (6, "mac"), 6: (1, "rssi"), 7: (1, "padding"), 8: (2, "age")}


def test_records_within_records() -> None:
    def station(choose: random.Random) -> bytes:
        count = choose.randrange(1, 4)
        return struct.pack(">B6s", count, choose.choice(STATIONS)) + b"".join(a_reading(choose) for _ in range(count))

    def make(choose: random.Random, number: int, ns: int) -> bytes:
        count = choose.randrange(1, 5)
        return struct.pack(">HB", number, count) + b"".join(station(choose) for _ in range(count))

    node = infer_body(list(bodies(make)), Context()).node
    assert places(node) == {0: (2, "sequence"), 2: (1, "count")}
    (repeat,) = node["repeats"]
    assert repeat["stride"] is None
    assert places(repeat["record"]) == {0: (1, "count"), 1: (6, "mac")}
    assert repeat["record"]["repeats"][0]["stride"] == 10


@pytest.mark.parametrize("unit", [1, 4])
def test_readings_of_which_bytes_or_words_are_counted(unit: int) -> None:
    def make(choose: random.Random, number: int, ns: int) -> bytes:
        readings = b"".join(a_reading(choose) + b"\0\0" for _ in range(choose.randrange(7)))
        return choose.choice(STATIONS) + struct.pack(">H", len(readings) // unit) + readings

    node = infer_body(list(bodies(make)), Context()).node
    assert places(node) == {0: (6, "mac"), 6: (2, "length" if unit == 1 else "count")}
    (repeat,) = node["repeats"]
    assert (repeat["stride"], repeat["count"]["of"]) == (12, 12 // unit)
    assert places(repeat["record"])[0] == (6, "mac")


def test_stations_each_with_its_readings_in_bytes() -> None:
    def station(choose: random.Random) -> bytes:
        readings = b"".join(a_reading(choose) for _ in range(choose.randrange(1, 6)))
        return choose.choice(STATIONS) + struct.pack(">H", len(readings)) + readings

    def make(choose: random.Random, number: int, ns: int) -> bytes:
        count = choose.randrange(1, 5)
        return struct.pack(">HB", number, count) + b"".join(station(choose) for _ in range(count))

    node = infer_body(list(bodies(make)), Context()).node
    (repeat,) = node["repeats"]
    assert places(repeat["record"]) == {0: (6, "mac"), 6: (2, "length")}
    (inner,) = repeat["record"]["repeats"]
    assert (inner["stride"], inner["count"]["of"]) == (10, 10)


def test_texts_of_lengths_that_fields_tell() -> None:
    def make(choose: random.Random, number: int, ns: int) -> bytes:
        name = choose.choice([b"corp", b"guest-net", b"eduroam"])
        user = b"user%d" % choose.randrange(2000)
        return struct.pack(">6sBB", choose.choice(STATIONS), len(name), len(user)) + name + user

    node = infer_body(list(bodies(make)), Context()).node
    texts = [field for field in node["fields"] if field["role"] == "text"]
    lengths = [field["name"] for field in node["fields"] if field["role"] == "length"]
    assert [text["size"] for text in texts] == [{"field": name} for name in lengths]
    assert len(texts) == 2


def test_elements_in_any_order() -> None:
    def make(choose: random.Random, number: int, ns: int) -> bytes:
        parts = [struct.pack(">HH6s", 4, 6, choose.choice(STATIONS)), struct.pack(">HHI", 7, 4, number)]
        parts += [struct.pack(">HH", 9, 10) + a_reading(choose) for _ in range(choose.randrange(1, 4))]
        choose.shuffle(parts)
        return b"".join(parts)

    elements = infer_body(list(bodies(make)), Context()).node["elements"]
    assert (elements["type"]["size"], elements["length"]) == (2, {"size": 2, "counts": "value"})
    known = {one["id"]: places(one["value"]) for one in elements["known"]}
    assert known[4] == {0: (6, "mac")}
    assert known[7] == {0: (4, "sequence")}
    assert known[9][0] == (6, "mac")


def test_any_bytes_get_an_answer() -> None:
    for seed in range(6):
        noise = list(bodies(lambda choose, *_: choose.randbytes(choose.randrange(60)), 40, seed))
        assert 0 <= infer_body(noise, Context()).explained <= 1
    assert infer_body([Sample(b"", BEGAN, 0, of_client=True)], Context()).node == {}


def test_a_mask_is_wider_than_what_changes_of_it() -> None:
    kinds = {
        "capability": list(bodies(lambda *_: struct.pack(">Q", 0x68EBE7), 3)),
        "subscribe_request": list(
            bodies(lambda choose, *_: struct.pack(">HQ", 0, choose.choice([0x201, 0x602001])), 12)
        ),
    }
    found = infer_bodies(kinds, Context(), {name: name for name in kinds})
    assert places(found["capability"].node) == {0: (8, "mask")}
    assert places(found["subscribe_request"].node)[2] == (8, "mask")


def test_addresses_of_other_messages_are_known_where_they_are_few() -> None:
    def seldom(choose: random.Random, number: int, ns: int) -> bytes:
        return struct.pack(">B6sB", number & 1, choose.choice(APS[:2]), 7)

    kinds = {"told": list(bodies(a_table)), "seldom": list(bodies(seldom, 6))}
    assert places(infer_bodies(kinds, Context())["seldom"].node)[1] == (6, "mac")


def test_zeros_up_to_words_behind_two_texts() -> None:
    def make(choose: random.Random, number: int, ns: int) -> bytes:
        name = choose.choice([b"corp", b"guest-net", b"eduroam"])
        user = b"user%d" % choose.randrange(2000)
        data = struct.pack(">6sBB", choose.choice(STATIONS), len(name), len(user)) + name + user
        return data + bytes(-len(data) % 4)

    found = infer_body(list(bodies(make)), Context())
    assert found.node["rest"] == "padding"
    assert [field["role"] for field in found.node["fields"]] == ["mac", "length", "length", "text", "text"]
    assert found.fits == 1


@pytest.mark.parametrize(("order", "sign"), [("big", ">"), ("little", "<")])
def test_a_time_of_seconds_and_parts_of_one_is_one_field(order: str, sign: str) -> None:
    def make(choose: random.Random, number: int, ns: int) -> bytes:
        return struct.pack(sign + "II", ns // 10**9, ns // 1000 % 10**6) + choose.choice(STATIONS)

    (time, mac) = infer_body(list(bodies(make)), Context(order=order)).node["fields"]
    assert (time["size"], time["role"], mac["role"]) == (8, "timestamp", "mac")
    assert time["evidence"].startswith("s+us since 1970")


def test_an_uptime_beside_any_number_is_no_pair() -> None:
    def make(choose: random.Random, number: int, ns: int) -> bytes:
        return struct.pack(">II", (ns - BEGAN) // 10**9 + 5000, choose.randrange(10**6))

    assert [field["size"] for field in infer_body(list(bodies(make)), Context()).node["fields"]] == [4, 4]


def test_a_clock_of_eight_bytes_is_not_cut_where_its_upper_half_moves() -> None:
    def make(choose: random.Random, number: int, ns: int) -> bytes:
        return struct.pack("<Q", (ns - BEGAN) // 1000 + (0x2FF << 32) - 20_000_000) + bytes([choose.randrange(3)])

    found = infer_body(list(bodies(make)), Context(order="little")).node
    assert places(found)[0] == (8, "timestamp")


def test_addresses_of_few_makers_alone_in_an_element() -> None:
    choice = random.Random(4)
    devices = [bytes.fromhex(maker) + choice.randbytes(2) + b"\x40" for maker in ("00a289", "0027e3") for _ in range(9)]

    def make(choose: random.Random, number: int, ns: int) -> bytes:
        parts = [struct.pack("<HH6s", 1, 6, choose.choice(devices[9 * (number % 2) :][:9]))]
        parts += [struct.pack("<HHI", 7, 4, number)] * choose.randrange(2)
        return b"".join(parts)

    known = {
        one["id"]: one for one in infer_body(list(bodies(make)), Context(order="little")).node["elements"]["known"]
    }
    assert places(known[1]["value"]) == {0: (6, "mac")}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_counters_that_differ_between_devices_are_whole(seed: int) -> None:
    choice = random.Random(seed)
    begun = {station: [int(2 ** choice.uniform(18, 26)) for _ in range(3)] for station in STATIONS}

    def make(choose: random.Random, number: int, ns: int) -> bytes:
        station = choose.choice(STATIONS)
        begun[station] = [value + choose.randrange(40_000) for value in begun[station]]
        return station + struct.pack("<3I", *begun[station])

    found = infer_body(list(bodies(make, 160, seed)), Context(order="little")).node
    assert [(field["at"], field["size"]) for field in found["fields"]] == [(0, 6), (6, 4), (10, 4), (14, 4)]


def test_a_count_at_an_even_place_has_the_zeros_behind_it() -> None:
    def make(choose: random.Random, number: int, ns: int) -> bytes:
        out = choose.choice(STATIONS) + struct.pack("<H", count := choose.randrange(1, 4))
        for _ in range(count):
            inner = choose.randrange(1, 4)
            out += choose.choice(STATIONS) + bytes([inner]) + b"".join(a_reading(choose) for _ in range(inner))
        return out

    found = infer_body(list(bodies(make)), Context(order="little")).node
    assert places(found)[6] == (2, "count")


def test_hundredths_of_seconds_since_a_start_are_a_clock() -> None:
    """As SNMP's ticks are."""
    choose = random.Random(31)
    times = [BEGAN + at * 730_000_000 + choose.randrange(10**8) for at in range(200)]
    samples = [
        Sample(struct.pack(">I", (ns - BEGAN) // 10_000_000 + 77_000) + choose.randbytes(2), ns, 0, False)
        for ns in times
    ]
    first = infer_body(samples, Context(unit=1)).node["fields"][0]
    assert (first["size"], first["role"]) == (4, "timestamp")
