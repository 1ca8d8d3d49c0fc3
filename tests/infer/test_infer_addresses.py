"""Addresses where little tells them from numbers: of few makers, single ones, and what only looks like some."""

from __future__ import annotations

import random
from collections.abc import Callable

from loadgen.infer.addresses import find_macs
from loadgen.infer.bodies import infer_bodies, infer_body
from loadgen.infer.samples import Context, Sample
from tests.infer.infer_synthetic import BEGAN_NS

MAKERS = [bytes.fromhex("70db98"), bytes.fromhex("0027e3")]


def access_points(count: int) -> list[bytes]:
    """As they are numbered: of few makers, the last digit is zero."""
    choose = random.Random(8)
    return [MAKERS[i % 2] + choose.randbytes(2) + bytes([choose.randrange(16) << 4]) for i in range(count)]


def roles(make: Callable[[random.Random], bytes], count: int = 300) -> list[tuple[int, int, str]]:
    choose = random.Random(5)
    samples = [Sample(make(choose), BEGAN_NS + 200_000_000 * i, i % 3, of_client=False) for i in range(count)]
    node = infer_bodies({0: samples}, Context())[0].node
    return [(each["at"], each["size"], each["role"]) for each in node["fields"]]


def test_few_devices_that_come_again_and_again_beside_numbers() -> None:
    aps = access_points(20)

    def make(choose: random.Random) -> bytes:
        return bytes([choose.randrange(160, 220), 0]) + choose.choice(aps) + bytes([choose.randrange(5, 60), 9])

    assert (2, 6, "mac") in roles(make)


def test_many_devices_each_of_which_comes_a_few_times() -> None:
    aps = access_points(48)
    assert roles(lambda choose: choose.choice(aps)) == [(0, 6, "mac")]


def test_zeros_behind_an_address_are_no_part_of_one() -> None:
    def make(choose: random.Random) -> bytes:
        return bytes([10, 97, 1, choose.randrange(10, 90)]) + bytes(2)

    assert (0, 4, "ipv4") in roles(make)


def test_small_numbers_with_zeros_between_them_are_no_address() -> None:
    def make(choose: random.Random) -> bytes:
        return bytes([choose.choice([100, 10, 20, 230]), 0, 0, 0, choose.randrange(1, 4), 0])

    assert all(role != "mac" for _, _, role in roles(make))


def test_what_looks_as_an_address_is_one_where_it_never_changes() -> None:
    def make(choose: random.Random) -> bytes:
        return bytes.fromhex("70db989834fe") + bytes([0, choose.randrange(200)])

    assert (0, 6, "mac") in roles(make)


def test_letters_behind_a_zero_are_no_address() -> None:
    names = [b"anna", b"b.meyer", b"carlos", b"d.novak", b"elif", b"f.rossi", b"ivan", b"h.tanaka", b"kim"]

    def make(choose: random.Random) -> bytes:
        return bytes([choose.randrange(200), 0]) + choose.choice(names).ljust(24, b"\0")

    assert all(role != "mac" for _, _, role in roles(make))


def test_what_is_left_of_a_text_is_no_address_for_the_zeros_beside_it() -> None:
    bodies = [bytes([at]) + bytes(6) + name.ljust(20, b"\0") for at, name in enumerate([b"anna", b"ivan"] * 9)]
    assert not find_macs([bodies])


def test_addresses_of_a_known_network_are_no_part_of_the_name_behind_them() -> None:
    """All in one network, and with last bytes that could be letters."""
    choose = random.Random(4)
    names = [f"AP-{place}-{choose.randrange(10, 300)}".encode() for place in ("dock", "hall", "lobby", "lab") * 5]
    aps = [
        b"\0\x27\xe3" + choose.randbytes(3) + bytes([10, 84, 9, 100 + at]) + name.ljust(24, b"\0")
        for at, name in enumerate(names)
    ]
    samples = [Sample(bytes(2) + choose.choice(aps), at * 10**9, at % 3, False) for at in range(200)]
    fields = infer_body(samples, Context(networks=frozenset({bytes([10, 84])}), unit=4)).node["fields"]
    assert [(each["at"], each["size"], each["role"]) for each in fields[-2:]] == [(8, 4, "ipv4"), (12, 24, "text")]
