"""Records of which there are always as many are found by being alike; fields beside a constant are none."""

from __future__ import annotations

import random
import struct

import pytest

from loadgen.infer.bodies import infer_body
from loadgen.infer.samples import Context, Sample


def bodies(readings: int, *, seed: int = 1) -> list[bytes]:
    """A station's address, a count, and readings of four access points that every station has of its own."""
    rng = random.Random(seed)
    stations = [
        rng.randbytes(6) + struct.pack(">H", readings) + b"".join(_reading(rng) for _ in range(readings))
        for _ in range(60)
    ]
    return [stations[number % 60] for number in range(300)]


def _reading(rng: random.Random) -> bytes:
    heard = struct.pack(">bb", -rng.randrange(40, 90), -90)
    return b"\x02\x41" + rng.randbytes(4) + bytes([rng.randrange(2), 1]) + heard


def samples(datas: list[bytes]) -> list[Sample]:
    return [Sample(data, number * 10**7, 0, False) for number, data in enumerate(datas)]


@pytest.mark.parametrize("readings", [3, 4, 8])
def test_a_count_that_never_moves_is_one_where_what_follows_is_alike(readings: int) -> None:
    node = infer_body(samples(bodies(readings)), Context("big")).node
    (repeat,) = node["repeats"]
    assert (repeat["stride"], repeat["at"]) in ((10, 8), (10, "next"))
    assert [(field["at"], field["size"]) for field in node["fields"] if field["role"] == "count"] == [(6, 2)]


def test_fields_beside_a_constant_are_no_records() -> None:
    """3, and three things of six bytes of which each is another one: an address, a counter, zeros."""
    rng = random.Random(2)
    datas = [b"\x03" + rng.randbytes(6) + struct.pack(">IH", number, 7) + bytes(6) for number in range(300)]
    node = infer_body(samples(datas), Context("big")).node
    assert not node.get("repeats")
