"""Numbers that advance as the capture does: device times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from loadgen.infer.framing import Order
from loadgen.infer.heads import Bools, Heads, Int64s

__all__ = ["Clock", "find_clock", "find_fraction"]

SECOND_NS = 1_000_000_000
_ORDERS: tuple[Order, Order] = ("big", "little")
_DAY_NS = 86_400 * SECOND_NS
# Since 1970, or since something later.
_OLDEST_NS = 100 * 365 * _DAY_NS
# Nanoseconds of a clock that goes in milliseconds or seconds have lowest bytes that hardly vary.
_COARSE = 3
# Values of the highest byte in a stream: it goes on once or twice at most, and may be 0 in some messages.
_MOST_TOPS = 3
# Of one field: bytes, and ns for each step.
_UNITS = (("s", SECOND_NS), ("ms", 1_000_000), ("us", 1_000), ("ns", 1))
# Of a second, in the second half of a pair.
_PARTS = (("s+us", 1_000_000), ("s+ns", 1_000_000_000), ("s+frac", 1 << 32))


@dataclass(frozen=True, slots=True)
class Clock:
    at: int
    size: int
    order: Order
    unit: str  # s, ms, us or ns
    epoch: bool  # since 1970; else since something else

    def evidence(self) -> str:
        return f"advances with the capture in {self.unit}, {'since 1970' if self.epoch else 'from a start of its own'}"


def find_clock(heads: Heads, end: int, free: Callable[[int], bool], usual: Order | None = None) -> Clock | None:
    """The likeliest clock among the columns that are free. usual: the byte order of the layout, if it is known."""
    if len(heads) < 8 or not _spans(heads):
        return None
    found: list[Clock] = []
    for at in range(end):
        for size in (8, 4):
            if at + size <= end and all(free(column) for column in range(at, at + size)):
                found += [clock for order in _ORDERS if (clock := _clock(heads, at, size, order)) is not None]
    # A part of a clock is one, too, and so is one that begins among zeros in front of it.
    return max(found, key=lambda c: (c.epoch, c.order == usual, c.at % 4 == 0, c.size, -c.at), default=None)


def _spans(heads: Heads) -> bool:
    return any(int(heads.ns[rows].max() - heads.ns[rows].min()) >= 5 * SECOND_NS for rows in heads.dialogues())


def _clock(heads: Heads, at: int, size: int, order: Order) -> Clock | None:
    top = at if order == "big" else at + size - 1
    lowest = [at + size - 1 - step if order == "big" else at + step for step in range(_COARSE if size == 8 else 1)]
    if max(heads.distinct[column] for column in lowest) < 3 or heads.values_in_streams(top) > _MOST_TOPS:
        return None
    values = heads.number(at, size, order)
    if size == 8 and int(values.max()) >> 32 == 0:
        return None  # four bytes of it are enough
    for unit, unit_ns in _UNITS:
        if size == 4 and unit == "ns":
            continue
        slack = max(SECOND_NS // 4, 2 * unit_ns)
        if size == 8 and int(values.max()) > _OLDEST_NS // unit_ns:
            continue  # something else in front of one of four bytes
        if _goes_with(heads, values, unit_ns, slack):
            return Clock(at, size, order, unit, _is_epoch(heads, values, unit_ns))
    return None


def find_fraction(heads: Heads, clock: Clock, end: int, free: Callable[[int], bool]) -> tuple[int, Order, str] | None:
    """Of a clock of whole seconds, the field with the parts of one: (at, order, unit)."""
    if clock.unit != "s":
        return None
    seconds = heads.number(clock.at, clock.size, clock.order)
    places = sorted(range(end - 3), key=lambda at: (at != clock.at + clock.size, at))
    for at in places:
        if not all(free(column) for column in range(at, at + 4)):
            continue
        for order in sorted(_ORDERS, key=lambda order: order != clock.order):
            parts = heads.number(at, 4, order)
            for unit, whole in _PARTS:
                if whole // 4 < parts.max() < whole and len(np.unique(parts)) * 2 > len(parts):
                    ns = seconds * SECOND_NS + (parts.astype(np.float64) * (SECOND_NS / whole)).astype(np.int64)
                    if _goes_with(heads, ns, 1, slack=SECOND_NS // 4):
                        return at, order, unit
    return None


def _goes_with(heads: Heads, values: Int64s, unit_ns: int, slack: int) -> bool:
    """Whether the differences of a stream's values are those of the times of capture, nearly always.

    Each side may have a clock of its own: one since it started, the other since 1970.
    """
    near = roughly = total = 0
    for rows in heads.streams():
        some = values[rows]
        here: Bools = some > 0
        # Some messages leave theirs at 0.
        if here.sum() < 3:
            continue
        passed = heads.ns[rows][here] - heads.ns[rows][here][0]
        told = some[here] - some[here][0]
        limit = (1 << 62) // unit_ns
        good = np.abs(told) < limit
        away = np.where(good, told, 0) * unit_ns - passed
        away = away - int(np.median(away))
        near += int((good & (np.abs(away) <= slack)).sum())
        # What waited to be sent, or was sent again.
        roughly += int((good & (np.abs(away) <= slack + 5 * SECOND_NS)).sum())
        total += len(rows)
    return total >= 8 and near >= 0.7 * total and roughly >= 0.97 * total


def _is_epoch(heads: Heads, values: Int64s, unit_ns: int) -> bool:
    away = values * unit_ns - heads.ns
    return bool(np.abs(np.median(away)) < 400 * _DAY_NS)
