"""Pieces of a layout: fields laid out in a style.

A field is a dict of the shape layout-1. Beside that it may have keys of the truth (`accept`, `alternatives`), and
keys that begin with "_", which tell how its values are made (`filling`) and are in no file.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Table = dict[str, Any]

WIDTHS = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "i8": 1, "i16": 2, "i32": 4, "mac": 6, "ipv4": 4}
# What a field of a role may also be called without being wrong.
ALSO = {
    "snr": ("number",),
    "noise": ("number", "rssi"),
    "counter": ("number", "sequence"),
    "age": ("number", "counter"),
    "sequence": ("counter", "number"),
    "enum": ("number",),
    "mask": ("number",),
    "number": ("counter", "enum"),
}


@dataclass
class Style:
    """What a device's programmers always do."""

    rng: random.Random
    order: str
    aligned: bool  # integers at multiples of their width
    reserved: float  # share of places behind which there is a reserved byte or two
    shuffled: bool  # the order of fields is any; else as we wrote them
    unit: int = 1  # of the length
    slack: int = 0  # bytes that header and trailer have more than the length's unit divides

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def one(self, *choices: Any) -> Any:
        return self.rng.choice(choices)


def field(name: str, kind: str, role: str, gen: str | None = None, *, size: int | None = None, **more: Any) -> Table:
    """A field that has no place yet."""
    made: Table = {"name": name, "size": size or WIDTHS[kind], "role": role, "type": kind}
    if role in ALSO:
        made["accept"] = list(ALSO[role])
    if gen is not None:
        made["_gen"] = gen
    return made | more


def constant(name: str, kind: str, value: int) -> Table:
    return field(name, kind, "constant", value=value)


def pad(name: str, size: int) -> Table:
    return {"name": name, "size": size, "role": "padding", "type": "pad"}


def placed(style: Style, fields: Iterable[Table], start: int = 0, *, keep: bool = False) -> tuple[list[Table], int]:
    """Fields at their places, with what is reserved between them; and where they end."""
    listed = [*fields]
    if style.shuffled and not keep:
        style.rng.shuffle(listed)
    out: list[Table] = []
    at = start
    for each in listed:
        width = each["size"]
        boundary = min(width, 4) if style.aligned and width in (2, 4, 8) else 1
        gap = -at % boundary
        if not gap and style.chance(style.reserved):
            gap = style.one(1, 2) if boundary == 1 else boundary
        if gap:
            out.append(pad(f"reserved_{at}", gap) | {"at": at})
            at += gap
        out.append(each | {"at": at})
        at += width
    if style.aligned and at % 4 and style.chance(0.5):
        out.append(pad(f"reserved_{at}", -at % 4) | {"at": at})
        at += -at % 4
    return out, at


def node(
    style: Style,
    fields: Iterable[Table] = (),
    *,
    behind: Sequence[Table] = (),
    repeats: Sequence[Table] = (),
    elements: Table | None = None,
    keep: bool = False,
) -> Table:
    """A body or a record. Args: behind: fields of any size, behind the fixed ones."""
    laid, end = placed(style, fields, keep=keep)
    made: Table = {"size": end, "fields": [*laid, *(each | {"at": "next"} for each in behind)]}
    if repeats:
        made["repeats"] = [*repeats]
    if elements is not None:
        made["elements"] = elements
    return made


def sized_text(style: Style, name: str, gen: str, *, last: bool) -> tuple[list[Table], list[Table]]:
    """A text in one of the ways in which devices send them: what of it is in a fixed place, and what is behind."""
    ways = ["fixed", "counted"]
    if last and style.unit == 1:
        ways.append("rest")
    match style.rng.choice(ways):
        case "fixed":
            return [field(name, "text", "text", gen, size=style.one(16, 20, 24, 32))], []
        case "rest":
            return [], [{"name": name, "size": "rest", "role": "text", "type": "text", "_gen": gen}]
    length = field(f"{name}_length", style.one("u8", "u8", "u16"), "length", accept=["count", "number"])
    text = {"name": name, "size": {"field": length["name"]}, "role": "text", "type": "text", "_gen": gen}
    return ([length], [text]) if style.chance(0.5) else ([], [length, text])


def time_fields(style: Style, name: str, how: str, gen: str = "time") -> list[Table]:
    """A time of the device in one of the ways of `TIMES`."""
    unit, epoch, width = TIMES[how]
    if unit == "s+us":
        return [
            field(f"{name}_s", "u32", "timestamp", gen, _unit="s", _epoch=epoch),
            field(f"{name}_us", "u32", "timestamp", gen, _unit="us-left", _epoch=epoch, accept=["number"]),
        ]
    accept = ["counter"] if epoch == "boot" else []
    return [field(name, f"u{8 * width}", "timestamp", gen, _unit=unit, _epoch=epoch, accept=accept)]


# how -> unit, since when, bytes
TIMES = {
    "unix_s": ("s", "unix", 4),
    "unix_ms": ("ms", "unix", 8),
    "unix_us": ("us", "unix", 8),
    "unix_ns": ("ns", "unix", 8),
    "unix_pair": ("s+us", "unix", 8),
    "boot_s": ("s", "boot", 4),
    "boot_ms": ("ms", "boot", 4),
    "boot_us": ("us", "boot", 8),
}
