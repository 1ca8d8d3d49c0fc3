"""What it costs to tell the values of some columns, in bits, if they are taken for this or that.

The reading under which all columns together cost least is the one that explains most: a number whose high bytes never
change, a MAC address that comes again, a counter that goes on from row to row. Costs of all readings are comparable:
each is what the rows need beyond what tells the reading itself (`tiling` has the prices of those).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from loadgen.infer.samples import Codes, Numbers, Table

__all__ = [
    "NumberClock",
    "address_cost",
    "byte_by_byte",
    "clock_of",
    "constant_cost",
    "entropy",
    "integer_cost",
    "mac_cost",
    "mask_cost",
    "rough_cost",
    "text_cost",
]

NS = {"s": 1_000_000_000, "cs": 10_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
DAY_NS = 86_400 * NS["s"]
OLDEST_NS = 150 * 366 * DAY_NS


def entropy(codes: Codes) -> float:
    """Bits for all rows, if how often each value comes is known."""
    counts = np.bincount(codes)
    return _told(counts[counts > 0], len(codes))


def _told(counts: Codes, n: int) -> float:
    """`entropy` of n rows, by how often each value comes."""
    return float(n * np.log2(n) - (counts * np.log2(counts)).sum()) if n else 0.0


def _lengths(values: NDArray[np.float64]) -> Codes:
    """Bits of each number: of 0 none, of 1 one, of 2 and 3 two."""
    return np.frexp(values)[1].astype(np.int64)


def _by_length(values: NDArray[np.float64]) -> float:
    lengths = _lengths(values)
    counts = np.bincount(lengths)
    counts = counts[counts > 0]
    return _told(counts, len(lengths)) + float(np.maximum(lengths - 1, 0).sum()) + 3.0 * len(counts)


def _base(values: Numbers) -> float:
    """Bits of what all have in common, but for bytes that never change: those are paid as constants."""
    low, high = int(values.min()), int(values.max())
    changing = (low ^ high).bit_length() + 7 & ~7
    return 0.75 * float(np.log2((low & (1 << changing) - 1) + 1))


def mask_cost(values: Numbers) -> float:
    """Bits of all rows as masks: few different ones, and some bits in each."""
    different, codes = np.unique(values, return_inverse=True)
    return entropy(codes) + 8.0 * len(different)


def _differences(values: Numbers, order: Codes, first: NDArray[np.bool_], size: int) -> float:
    """Bits of numbers that go on from row to row within their groups."""
    ordered = values[order]
    steps = (ordered[1:] - ordered[:-1]).view(np.int64)[~first[1:]]
    shift = np.int64(64 - 8 * size)
    steps = steps << shift >> shift
    if not len(steps):
        return float("inf")
    start = ordered[first]
    spread = float(start.max() - start.min()) + 1
    # Counters of devices that differ in how much they talk begin at numbers of all lengths.
    begun = min(len(start) * np.log2(spread + 1), _by_length(start.astype(np.float64))) + 8 + _base(values)
    # As 0 or up, which costs no sign, or in both directions.
    negative = (steps < 0).astype(np.int64)
    by_length = _by_length(np.abs(steps.astype(np.float64))) + entropy(negative) + (8 if negative.any() else 0)
    different, counts = np.unique(steps, return_counts=True)
    largest = float(np.abs(different.astype(np.float64)).max())
    by_value = _told(counts, len(steps)) + len(different) * (np.log2(largest + 1) + 2)
    return float(begun + min(by_length, by_value))


def _given(codes: Codes, kinds: int, table: Table, at: int, size: int, novelty: float, reach: int = 12) -> float:
    """Bits of a few values, given the best of so many columns before: what follows from it is not paid for twice."""
    best = entropy(codes)
    found = 0.0
    closest: Codes | None = None
    columns = [column for column in range(max(0, at - reach), at) if 2 <= table.distinct[column] <= 64]
    for column in columns:
        bits = _conditional(codes, kinds, table.codes[column])
        if bits < best:
            best, found, closest = bits, 2.0, table.codes[column]
    if closest is not None:
        # What follows from two of them together: a channel, from the access point and its slot.
        for column in columns:
            both = closest * table.distinct[column] + table.codes[column]
            bits = _conditional(codes, kinds, np.unique(both, return_inverse=True)[1].astype(np.int64))
            if bits + 2.0 < best:
                best, found = bits, 4.0
    return best + found + kinds * novelty


def _conditional(codes: Codes, kinds: int, context: Codes) -> float:
    """Bits of a few values where those of another column are known, and of what tells which follows from which."""
    pairs = np.unique(context * kinds + codes, return_inverse=True)[1]
    return entropy(pairs) - entropy(context) + (int(pairs.max()) + 1 - kinds) * (float(np.log2(kinds)) + 1)


def _goes_through(table: Table, at: int, size: int, order: str) -> int:
    """How many bytes of a number have one that changes above them, if the lowest take all values alike: the more, the
    more it is one number, however seldom its highest bytes change."""
    upwards = range(at + size - 1, at - 1, -1) if order == "big" else range(at, at + size)
    changing = [column for column in upwards if table.distinct[column] > 1]
    if len(changing) < 2 or order != table.order or changing != list(upwards)[: len(changing)]:
        return 0
    expected = 256 * (1 - np.exp(-len(table) / 256))
    alike = 0
    while alike < len(changing) - 1 and table.distinct[changing[alike]] > 0.8 * expected:
        alike += 1
    if alike < min(2, len(changing) - 1):
        return 0
    begins = int(table.cells[:, changing[-1]].min()) < 4 or table.distinct[changing[-1]] == 2
    return alike if begins else 0


def integer_cost(table: Table, at: int, size: int, order: str) -> float:
    """Bits of all rows as integers of a size and order: the cheapest of what numbers are like."""
    key = at, size, order if size > 1 else ""
    if key not in table.integer_costs:
        table.integer_costs[key] = _integer_cost(table, at, size, order)
    return table.integer_costs[key]


def _integer_cost(table: Table, at: int, size: int, order: str) -> float:
    values = table.numbers(at, size, order)
    low, high = values.min(), values.max()
    if low == high:
        return constant_cost(table, at, size)
    n = len(values)
    spread = float(high - low) + 1
    costs = [n * np.log2(spread) + 2 * np.log2(spread) + _base(values), _by_length(values.astype(np.float64))]
    half = np.uint64(1 << (8 * size - 1))
    if (values >= half).any():
        turned = values ^ half if size == 8 else (values + half) & np.uint64((1 << 8 * size) - 1)
        signed = float(turned.max() - turned.min()) + 1
        costs.append(n * np.log2(signed) + 2 * np.log2(signed) + 4)
    different, codes = np.unique(values, return_inverse=True)
    if len(different) <= max(2, n // 2):
        # A few large numbers that come again are rather something else: parts of an address, numbers side by side.
        novelty = (np.log2(spread) + 2) * (1.2 if spread > 4096 else 1.0)
        kinds = len(different)
        if kinds <= 64:
            costs.append(_given(codes.astype(np.int64), kinds, table, at, size, novelty))
        else:
            costs.append(entropy(codes) + kinds * novelty)
    everything = np.arange(n), np.arange(n) == 0
    costs.append(_differences(values, *everything, size) + 2)
    costs.extend(_differences(values, *grouping, size) + 3 for grouping in table.groupings.values())
    bits = float(min(costs)) + constant_cost(table, at, size)
    if size > 1 and (carried := _goes_through(table, at, size, order)):
        bits = min(bits, byte_by_byte(table, at, size)) - 8.0 * carried
        width = size // 2
        upper = range(at, at + width) if order == "big" else range(at + width, at + size)
        still = all(table.distinct[column] == 1 for column in upper)
        if width > 1 and (still or carried >= width):
            # Nothing that goes on from one half to the other costs more than the halves.
            halves = integer_cost(table, at, width, order) + integer_cost(table, at + width, width, order)
            bits = min(bits, halves - (0.0 if still else 8.0))
    return bits


class NumberClock:
    """How numbers go with the time of the capture."""

    __slots__ = ("bits", "epoch", "good", "unit")

    def __init__(self, bits: float, unit: str, epoch: bool, good: bool) -> None:
        self.bits = bits  # for all rows
        self.unit = (
            unit  # s, cs (hundredths: ticks), ms, us or ns; s+us, s+ns: seconds and parts of one, in four bytes each
        )
        self.epoch = epoch  # since 1970; else since something of the session
        self.good = good  # it follows the capture's time, and is not only near it


def clock_of(table: Table, at: int, size: int, order: str) -> NumberClock | None:
    """The clock that some columns are, if they are one: they advance with the capture, or lie near it since 1970."""
    if size not in (4, 8):
        return None
    values = table.numbers(at, size, order)
    if not values.any():
        return None
    found = []
    if values.max() < 1 << 62:
        signed = values.astype(np.int64)
        found += [_clock_in(table, signed, ns, unit) for unit, ns in NS.items() if size == 8 or unit != "ns"]
    if size == 8:
        seconds, part = (table.numbers(place, 4, order).astype(np.int64) for place in (at, at + 4))
        for unit, whole in (("us", 1_000_000), ("ns", 1_000_000_000)):
            if whole // 4 < part.max() < whole and len(np.unique(part)) * 2 > len(part):
                pair = _clock_in(table, seconds * whole + part, NS[unit], f"s+{unit}")
                # Since anything else, an uptime may stand beside any number.
                found.append(pair if pair is not None and pair.epoch else None)
    clocks = [clock for clock in found if clock is not None]
    return min(clocks, key=lambda clock: (not clock.good, clock.bits), default=None)


def _clock_in(table: Table, signed: Codes, ns: int, unit: str) -> NumberClock | None:
    """The clock that numbers are, if each step of it takes so many ns."""
    times = table.ns // ns
    off = times - signed
    here = signed > 0
    if not here.any():
        return None
    near = off[here]
    epoch = bool((near > -2 * DAY_NS // ns).all() and (near < 400 * DAY_NS // ns).all())
    base = np.full(int(table.session.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(base, table.session, off)
    lag = (off - base[table.session]).astype(np.float64)
    # Of one session: what stands still in a short stretch of each has gone with no time.
    first, last = np.full(len(base), np.iinfo(np.int64).max), np.full(len(base), np.iinfo(np.int64).min)
    np.minimum.at(first, table.session, times)
    np.maximum.at(last, table.session, times)
    span = float((last - first)[last >= first].max())
    spread = float(lag.max()) + 1
    sessions = len(np.unique(table.session))
    good = span >= 4 and spread <= max(2.0, 0.1 * span) and len(table) > sessions + 2
    if not epoch and int(signed.max()) > OLDEST_NS // ns:
        # Since no time that anybody counts from: what stands still above a clock is no part of it.
        return None
    if not (good or epoch):
        return None
    starts = sessions * np.log2(float(np.ptp(base[np.unique(table.session)])) + 2)
    return NumberClock(float(_by_length(lag) + (0 if epoch else 16) + starts), unit, epoch, good)


def mac_cost(table: Table, at: int, known: frozenset[bytes], known_makers: frozenset[bytes]) -> float:
    """Bits of all rows as MAC addresses: what comes again is cheap, and so are addresses of a maker seen before."""
    codes, kinds = table.joined(at, 6)
    rows = np.ascontiguousarray(table.cells[:, at : at + 6])
    different = np.unique(rows, axis=0)
    real = different[~((different == 0).all(axis=1) | (different == 255).all(axis=1))]
    if not len(real):
        return float("inf")
    texts = [row.tobytes() for row in real]
    seen = sum(text in known for text in texts)
    groupish = (real[:, 0] & 1).astype(bool).sum()
    low = ((real[:, 0] == 0) & (real[:, 1] == 0)).sum()
    if _old_maker(real):
        low = np.intp(0)
    flat = (real == real[:, :1]).all(axis=1).sum() + ((real[:, 3:] == 0).all(axis=1)).sum()
    empty = ((real == 0).sum(axis=1) > 2).sum()
    if seen * 2 < len(real) and (
        groupish * 20 > len(real) or low * 4 > len(real) or flat * 4 > len(real) or empty * 2 > len(real)
    ):
        return float("inf")
    if not seen and len(real) > 3 and not real[:, 5].any():
        return float("inf")  # devices differ at their ends
    new = [text for text in texts if text not in known]
    makers = {text[:3] for text in new} - known_makers
    local = sum(bool(text[0] & 2) for text in new)
    bits = seen * 5.0 + len(makers) * 18.0 + len(new) * 24.0
    alike = 0
    if local * 2 > len(new):
        # Who numbers devices without a maker begins all numbers alike, or draws them.
        alike = _alike(new)
        bits = min(bits, seen * 5.0 + len(new) * (46.0 - 8.0 * alike) + 8.0 * alike)
    if ((real >= 32) & (real < 127)).all():
        bits += 24
    elif not seen and len(real) > 2 and (((real >= 32) & (real < 127)) | (real == 0)).all():
        return float("inf")  # a piece of a text
    costs = [_given(codes, kinds, table, at, 6, 0.0, 48) if kinds <= 64 else entropy(codes)]
    few = len(texts) > 5 and len({text[:3] for text in texts}) * 2 <= len(texts)
    if alike > 1 or few:  # what comes for the first time needs no pointing at
        costs.append((len(codes) - kinds) * (np.log2(kinds) + 1) + len(codes))
    for order, first in table.groupings.values():
        steps = (codes[order][1:] != codes[order][:-1])[~first[1:]]
        costs.append(entropy(steps.astype(np.int64)) + (first.sum() + steps.sum()) * np.log2(kinds + 1) + 3)
    told = float(min(costs) + bits)
    alone = table.width == 6 or (_alone(table, at) and _begin_here(texts))
    if (few and (not makers or alone or _come_again(texts, len(codes)))) or (seen == len(real) > 1):
        # Addresses cost no more than any six bytes would.
        told = min(told, _any_numbers(table, at, 6))
    return told


def _alone(table: Table, at: int) -> bool:
    """Whether nothing beside six columns varies."""
    return all(table.distinct[column] == 1 for column in range(table.width) if not at <= column < at + 6)


def _begin_here(texts: Sequence[bytes]) -> bool:
    """Whether devices of one maker differ in the byte behind it; if not, addresses would begin a byte earlier."""
    most = Counter(text[:3] for text in texts).most_common(1)[0][0]
    return len({text[3] for text in texts if text[:3] == most}) > 1


def _come_again(texts: Sequence[bytes], times: int) -> bool:
    """Whether six bytes are those of devices: of several makers, each with a number of its own, and again and again."""
    own = len({text[3:] for text in texts}) == len(texts)
    return len({text[:3] for text in texts}) > 1 and own and times >= 3 * len(texts) and _begin_here(texts)


def _any_numbers(table: Table, at: int, size: int) -> float:
    """Bits of columns as numbers of one, two or four bytes side by side, whichever cost least."""
    best = [0.0] + [float("inf")] * size
    for begin in range(size):
        for width in (1, 2, 4):
            if begin + width <= size:
                cost = best[begin] + integer_cost(table, at + begin, width, table.order)
                best[begin + width] = min(best[begin + width], cost)
    return best[-1]


def _old_maker(real: NDArray[np.uint8]) -> bool:
    """Whether addresses are of the oldest makers, 00:00:0c or the like: one for all, with different numbers behind."""
    if len(real) < 3 or not real[0, 2] or (real[:, :3] != real[0, :3]).any():
        return False
    # A number with zeros in front has few values in the byte behind them, and no byte that is everywhere the same.
    return all(len(np.unique(real[:, column])) * 2 > min(len(real), 24) for column in (3, 4))


def _alike(texts: Sequence[bytes]) -> int:
    """How many bytes all of them begin with, three at most."""
    return next((i for i in range(3) if any(text[i] != texts[0][i] for text in texts)), 3)


def constant_cost(table: Table, at: int, size: int) -> float:
    """Bits of those columns that never change: once for all rows, zeros for nearly nothing."""
    cells = table.cells[0]
    return sum(6.0 if cells[i] else 1.0 for i in range(at, at + size) if table.distinct[i] == 1)


def rough_cost(table: Table, skipped: frozenset[int] = frozenset()) -> float:
    """Bits of all rows, column by column; for tables that are cut in the wrong places it is much."""
    bits = constant_cost(table, 0, table.width)
    for column in range(table.width):
        kinds = table.distinct[column]
        if column in skipped:
            continue
        if kinds == 1:
            begins = column == 0 or column - 1 in skipped or table.distinct[column - 1] > 1
            bits += 2.0 if begins else 0.0
            continue
        codes = table.codes[column]
        best = entropy(codes)
        for before in range(max(0, column - 3), column):
            if 2 <= table.distinct[before] <= 64:
                context = table.codes[before]
                pairs = np.unique(context * kinds + codes, return_inverse=True)[1]
                found = entropy(pairs) - entropy(context) + (int(pairs.max()) + 1 - kinds) * (np.log2(kinds) + 1)
                best = min(best, found)
        steps = np.unique(np.diff(table.cells[:, column]), return_inverse=True)[1].astype(np.int64)
        going_on = entropy(steps) + 8.0 * (int(steps.max(initial=0)) + 1)
        bits += 3.0 + min(best + 8.0 * kinds, going_on)
    return bits


def byte_by_byte(table: Table, at: int, size: int) -> float:
    """Bits of all rows, if each byte is told for itself: nothing that is one field costs more."""
    return sum(integer_cost(table, column, 1, "big") for column in range(at, at + size))


def address_cost(table: Table, at: int, known: frozenset[bytes]) -> float:
    """Bits of all rows as IPv4 addresses. Args: known: the first halves of known ones."""
    codes, kinds = table.joined(at, 4)
    different = np.unique(table.cells[:, at : at + 4], axis=0)
    real = different[(different != 0).any(axis=1)]
    if not len(real):
        return float("inf")
    seen = sum(row[:2].tobytes() in known for row in real)
    a, b = real[:, 0], real[:, 1]
    private = (a == 10) | ((a == 192) & (b == 168)) | ((a == 172) & (b >= 16) & (b < 32)) | ((a == 100) & (b >= 64))
    if max(private.sum(), seen) * 20 < 19 * len(real):
        return float("inf")
    new = sum(float(np.log2(table.distinct[column] + 1)) for column in range(at, at + 4) if table.distinct[column] > 1)
    costs = [_given(codes, kinds, table, at, 4, 0.0) if kinds <= 64 else entropy(codes)]
    for order, first in table.groupings.values():
        steps = (codes[order][1:] != codes[order][:-1])[~first[1:]]
        costs.append(entropy(steps.astype(np.int64)) + (first.sum() + steps.sum()) * np.log2(len(real) + 1) + 3)
    if seen == len(real):
        # Nor is it chance that all of them are of networks that are known.
        new = min(new, 2.0)
    bits = min(min(costs) + len(real) * new + constant_cost(table, at, 4), byte_by_byte(table, at, 4))
    return float(bits - (6.0 if table.distinct[at] == 1 else 0.0) - (12.0 if seen == len(real) else 0.0))


def text_cost(table: Table, at: int, size: int) -> float:
    """Bits of all rows as texts that NULs fill up; infinite where they are none."""
    part = table.cells[:, at : at + size]
    zero = part == 0
    if (zero[:, :-1] & ~zero[:, 1:]).any():
        return float("inf")
    different = np.unique(part, axis=0)
    letters = int((different != 0).sum())
    longest = int((different != 0).sum(axis=1).max())
    if longest < 3:
        return float("inf")
    alphabetic = ((different >= 48) & (different < 58)) | ((different | 32) >= 97) & ((different | 32) < 123)
    if alphabetic.sum() * 10 < letters * 6:
        return float("inf")
    codes, kinds = table.joined(at, size)
    costs = [_given(codes, kinds, table, at, size, 0.0) if kinds <= 64 else entropy(codes)]
    for order, first in table.groupings.values():
        steps = (codes[order][1:] != codes[order][:-1])[~first[1:]]
        costs.append(entropy(steps.astype(np.int64)) + (first.sum() + steps.sum()) * np.log2(len(different) + 1) + 3)
    news = sum(table.distinct[column] - (table.cells[0, column] == 0) for column in range(at, at + size))
    # Names have their beginnings in common: a letter of its own in front of what is always the same is something else.
    alone = size > 1 and table.distinct[at] > 8 and table.distinct[at + 1] == 1
    letters_alone = entropy(np.unique(different[:, 0], return_inverse=True)[1].astype(np.int64)) if alone else 0.0
    return float(letters_alone + min(costs) + 5.0 * news + len(different) - 1.6 * (news + longest))
