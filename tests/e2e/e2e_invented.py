"""A layout that nobody has seen before: invented from a seed, as a wire profile."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple


class _Field(NamedTuple):
    name: str
    kind: str
    size: int
    more: str = ""  # of its row


def _field(name: str, kind: str, more: str = "") -> _Field:
    return _Field(name, kind, {"u8": 1, "i8": 1, "u16": 2, "u32": 4, "u64": 8, "mac": 6}[kind], more)


def invented(seed: int) -> str:
    """The TOML of a wire profile."""
    rng = random.Random(seed)
    header = [
        _field("length", rng.choice(("u16", "u32"))),
        _field("msg_id", rng.choice(("u8", "u16"))),
        _field("transaction", rng.choice(("u16", "u32"))),
        # Not 0: beside the upper half of a length that no frame needs, nobody could tell which end of it comes first.
        _field("flags", "u8", f", value = {rng.choice((1, 0x40, 0x81))}"),
    ]
    rng.shuffle(header)
    header.insert(0, _field("magic", "u16", f", value = {rng.randrange(0x1001, 0xFFFF)}"))
    numbers = iter(rng.sample(range(1, 250), 8))
    mask = _field("subservices", rng.choice(("u32", "u64")))
    size, unit = rng.choice(((4, "s"), (8, "ms"), (8, "us")))
    time = _Field("time", "time", size, f', size = {size}, unit = "{unit}"')
    station = [_field("station_mac", "mac"), _field("subservice", "u8"), time]
    rng.shuffle(station)
    reading = [
        *(_field("ap_mac", "mac"), _field("rssi_a", "i8"), _field("rssi_b", "i8")),
        *(_field("slot", "u8"), _field("band", "u8")),
    ]
    rng.shuffle(reading)
    status = _field("status", "u16")
    lines = [
        'name = "invented"',
        f'byte_order = "{rng.choice(("big", "little"))}"',
        "max_frame_bytes = 8192",
        *_section("header", header),
        *_message("version_request", next(numbers), [_field("lowest", "u16"), _field("highest", "u16")]),
        *_message("version_response", next(numbers), [_field("version", "u16"), status]),
        *_message("capability", next(numbers), [mask]),
        *_message("subscribe_request", next(numbers), [mask]),
        *_message("subscribe_response", next(numbers), [mask, status]),
        *_message("echo_request", next(numbers), []),
        *_message("echo_response", next(numbers), []),
        *_message("measurement_notify", next(numbers), [*station, _field("reading_count", "u8")]),
        'repeat = { record = "reading", count = "reading_count", max = 24 }',
        *_section("records.reading", reading),
    ]
    return "\n".join(lines) + "\n"


def _message(name: str, number: int, fields: Sequence[_Field]) -> list[str]:
    head, *rest = _section(f"messages.{name}", fields)
    return [head, f"id = {number}", *rest]


def _section(name: str, fields: Sequence[_Field]) -> list[str]:
    lines, offset = [], 0
    for field in fields:
        lines.append(f'  {{ name = "{field.name}", type = "{field.kind}", offset = {offset}{field.more} }},')
        offset += field.size
    return [f"[{name}]", f"size = {offset}", "fields = [", *lines, "]"]
