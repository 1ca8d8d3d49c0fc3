"""A layout that nobody has seen before: invented from a seed, as a wire profile."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

_ORDERS = ("big", "little")
_STATUS = ("status", "u16")


def invented(seed: int) -> str:
    """The TOML of a wire profile."""
    rng = random.Random(seed)
    length, ids = rng.choice(("u16", "u32")), rng.choice(("u8", "u16"))
    header: list[tuple[str, str, int | None]] = [
        ("length", length, None),
        ("msg_id", ids, None),
        ("transaction", rng.choice(("u16", "u32")), None),
        ("flags", "u8", rng.choice((0, 1, 0x40))),
    ]
    rng.shuffle(header)
    header.insert(0, ("magic", "u16", rng.randrange(0x1001, 0xFFFF)))
    numbers = iter(rng.sample(range(1, 250), 16))
    mask = rng.choice(("u32", "u64"))
    station = [("station_mac", "mac"), ("subservice", "u8"), ("time", "time")]
    rng.shuffle(station)
    reading = [("ap_mac", "mac"), ("rssi_a", "i8"), ("rssi_b", "i8"), ("slot", "u8"), ("band", "u8")]
    rng.shuffle(reading)
    lines = [
        'name = "invented"',
        f'byte_order = "{rng.choice(_ORDERS)}"',
        "max_frame_bytes = 8192",
        *_section("header", header),
        *_message("version_request", next(numbers), [("lowest", "u16"), ("highest", "u16")]),
        *_message("version_response", next(numbers), [("version", "u16"), _STATUS]),
        *_message("capability", next(numbers), [("subservices", mask)]),
        *_message("subscribe_request", next(numbers), [("subservices", mask)]),
        *_message("subscribe_response", next(numbers), [("subservices", mask), _STATUS]),
        *_message("echo_request", next(numbers), []),
        *_message("echo_response", next(numbers), []),
        *_message("measurement_notify", next(numbers), [*station, ("reading_count", "u8")]),
        'repeat = { record = "reading", count = "reading_count", max = 24 }',
        *_section("records.reading", [(name, kind, None) for name, kind in reading]),
    ]
    return "\n".join(lines) + "\n"


def _message(name: str, number: int, fields: Sequence[tuple[str, str]]) -> list[str]:
    head, *rest = _section(f"messages.{name}", [(field, kind, None) for field, kind in fields])
    return [head, f"id = {number}", *rest]


def _section(name: str, fields: Iterable[tuple[str, str, int | None]]) -> list[str]:
    sizes = {"u8": 1, "i8": 1, "u16": 2, "u32": 4, "u64": 8, "mac": 6, "time": 8}
    lines, offset = [], 0
    for field, kind, value in fields:
        more = ', size = 8, unit = "s+us"' if kind == "time" else ""
        fixed = f", value = {value}" if value is not None else ""
        lines.append(f'  {{ name = "{field}", type = "{kind}", offset = {offset}{more}{fixed} }},')
        offset += sizes[kind]
    return [f"[{name}]", f"size = {offset}", "fields = [", *lines, "]"]
