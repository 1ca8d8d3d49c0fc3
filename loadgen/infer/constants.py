"""What a run of bytes that never change is made of: where fields in it are likely to begin.

No value varies, so nothing proves a boundary; but how integers are written does make some likely. Small numbers have
zeros in front of them (or behind, low byte first), what is reserved is zero, addresses look as drawn. Of all ways to
cut a run each has a likelihood; a boundary is where most of it, over all ways, has one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import log

__all__ = ["ConstantPart", "cut_constant"]

# How often a field is of a kind, roughly, in what is constant: integers by their bytes (wide ones count and tell times,
# which varies); zeros that are reserved.
_INTEGER = {1: 0.34, 2: 0.25, 4: 0.06, 8: 0.01}
_RESERVED = {1: 0.08, 2: 0.06, 3: 0.02, 4: 0.02, 6: 0.005, 8: 0.005}
_MAC, _ADDRESS, _TEXT, _OPAQUE = 0.05, 0.03, 0.02, 1e-4
# How much rarer an integer is off its own alignment: some layouts align, some do not.
_UNALIGNED = 0.35
# A boundary has at least this much of all likelihood.
_LIKELY = 0.45
_SURE = 0.85
_LONGEST = 256
# A byte's likelihood is about one in this many.
_SCALE = 24.0


@dataclass(frozen=True, slots=True)
class ConstantPart:
    """at, size: in the run. kind: "constant", or "mac" or "ipv4" where that is nearly sure."""

    at: int
    size: int
    kind: str


def cut_constant(run: bytes, order: str, offset: int, makers: frozenset[bytes] = frozenset()) -> list[ConstantPart]:
    """The parts of a run of bytes.

    Args:
        offset: where it begins in its node, for alignment.
        makers: first halves of addresses that are known.
    """
    if len(run) < 2 or len(run) > _LONGEST:
        return [ConstantPart(0, len(run), "constant")]
    fields = [list(_fields(run, at, order, offset, makers)) for at in range(len(run))]
    # Likelihoods of what is in front of each place, and of what is behind, scaled so that none is too small.
    front = [0.0] * (len(run) + 1)
    back = [0.0] * (len(run) + 1)
    front[0] = back[-1] = 1.0
    for at in range(len(run)):
        for size, likely, _ in fields[at]:
            front[at + size] += front[at] * likely * _SCALE**size
    for at in range(len(run) - 1, -1, -1):
        back[at] = sum(likely * _SCALE**size * back[at + size] for size, likely, _ in fields[at])
    total = front[-1]
    if not total > 0.0:
        return [ConstantPart(0, len(run), "constant")]
    cuts = [at for at in range(1, len(run)) if front[at] * back[at] >= _LIKELY * total]
    sure: dict[tuple[int, int], str] = {}
    for at in range(len(run)):
        for size, likely, kind in fields[at]:
            if kind and front[at] * likely * _SCALE**size * back[at + size] >= _SURE * total:
                sure[at, at + size] = kind
    ends = [0, *cuts, len(run)]
    return [ConstantPart(begin, end - begin, sure.get((begin, end), "constant")) for begin, end in pairwise(ends)]


def _fields(run: bytes, at: int, order: str, offset: int, makers: frozenset[bytes]) -> Iterator[tuple[int, float, str]]:
    """(bytes, likelihood, kind that is worth a name) of all fields that may begin there."""
    for size, often in _INTEGER.items():
        raw = run[at : at + size]
        if len(raw) < size:
            break
        unaligned = _UNALIGNED if (offset + at) % min(size, 4) else 1.0
        value = int.from_bytes(raw, "little" if order == "little" else "big")
        yield size, often * unaligned * _number(value, size), ""
    for size, often in _RESERVED.items():
        if at + size <= len(run) and not any(run[at : at + size]):
            # Whatever is reserved lets what follows begin at an even place.
            yield size, often * (1.0 if (offset + at + size) % 2 == 0 else 0.5), ""
    mac = run[at : at + 6]
    if len(mac) == 6 and not mac[0] & 1 and len(set(mac)) > 3 and mac[:2] != b"\0\0":
        yield 6, _MAC * 2.0 ** -(26 if mac[:3] in makers else 44), "mac"
    address = run[at : at + 4]
    if len(address) == 4 and 0 < address[3] < 255:
        if address[0] == 10:
            yield 4, _ADDRESS * 2.0**-25, "ipv4"
        elif (address[0] == 172 and 16 <= address[1] < 32) or address[:2] == b"\xc0\xa8":
            yield 4, _ADDRESS * 2.0**-18, "ipv4"
    end = at
    while end < len(run) and 32 <= run[end] < 127:
        end += 1
    for stop in (end, *(at + size for size in (8, 16, 20, 24, 32, 64))):
        if end - at >= 4 and end <= stop <= len(run) and not any(run[end:stop]):
            yield stop - at, _TEXT * 2.0 ** (-5.5 * (end - at)), ""
    for size in range(3, min(len(run) - at, 32) + 1):
        yield size, _OPAQUE * 2.0 ** (-8.5 * size), ""


def _number(value: int, size: int) -> float:
    """How likely an integer has a value: zero often, else the smaller the likelier, whatever its width."""
    if not value:
        return 0.2 if size == 1 else 0.15
    return 0.8 / (log(2.0) * 8 * size * value)
