"""Devices that are numbered behind a prefix of one's own, and that are told of in the same words again and again."""

from __future__ import annotations

import random
from typing import Any

from loadgen.infer.bodies import Context, Sample, infer_bodies
from loadgen.units import NS_PER_S


def fields_of(node: dict[str, Any]) -> list[tuple[int, int, str]]:
    return [(each["at"], each["size"], each["role"]) for each in node["fields"]]


def test_addresses_of_a_fleet_are_addresses() -> None:
    """02:53 and four bytes of chance for stations, 02:41 for access points; each pair always as loud."""
    chance = random.Random(3)
    stations = [b"\x02\x53" + chance.randbytes(4) for _ in range(30)]
    told = {}
    for station in stations:
        records = [
            bytes([256 - chance.randrange(36, 90), 1]) + b"\x02\x41" + chance.randbytes(4)
            for _ in range(chance.randrange(1, 7))
        ]
        told[station] = b"\0" + station + bytes([len(records)]) + b"".join(records)
    samples = [
        Sample(told[stations[i % 30]], 1_700_000_000 * NS_PER_S + i * NS_PER_S // 60, 0, False, 0) for i in range(1500)
    ]
    body = infer_bodies({0: samples}, Context(order="big"), {0: "measurement_notify"})[0]
    assert (1, 6, "mac") in fields_of(body.node)
    record = body.node["repeats"][0]["record"]
    assert [(at, size) for at, size, role in fields_of(record) if role == "mac"] == [(2, 6)]
    assert (0, 1, "rssi") in fields_of(record)
