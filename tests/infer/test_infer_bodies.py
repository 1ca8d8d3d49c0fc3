"""Bodies whose structure is known, given to inference without it: one body for each rule."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from typing import Any

from loadgen.infer.bodies import infer_body
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
