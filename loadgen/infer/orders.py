"""Which byte order a layout has, told by the bodies: the order in which the numbers at their beginnings cost less.

Headers have few numbers, and in many of these a byte varies alone, beside zeros on either side. Bodies have times,
counts and masks, and each that fits in one order only says so.
"""

from __future__ import annotations

import numpy as np

from loadgen.infer.addresses import find_macs, makers_of
from loadgen.infer.columns import ORDERS
from loadgen.infer.framing import Order
from loadgen.infer.heads import Heads, Int64s
from loadgen.infer.pricing import thinned
from loadgen.infer.samples import Context, Sample, table_of
from loadgen.infer.tiling import tile

__all__ = ["addresses_of_bodies", "bits_of_bodies"]

# Kinds of messages that are looked at, those with most frames first; frames of each; bytes of each body.
_KINDS = 8
_ROWS = 60
_BYTES = 48
# Bits that a small number at either end of a body is worth: it may be one byte, and what is 0 beside it another.
_SMALL = 2.0


def bits_of_bodies(
    heads: Heads,
    codes: Int64s,
    end: int,
    trailer: int,
    known: frozenset[bytes] | None = None,
    until: int | None = None,
) -> dict[Order, float]:
    """What the beginnings of some bodies cost in each byte order.

    Args:
        codes: of each row which message it is. end: of the header. trailer: its bytes. known, until: addresses, and
            where beginnings end: where two ends of the header are compared these have to be the same.
    """
    kinds = _kinds(heads, codes, end, trailer)
    macs = _macs(kinds) if known is None else known
    most = _BYTES if until is None else until - end
    bits: dict[Order, float] = dict.fromkeys(ORDERS, 0.0)
    for samples in kinds:
        shortest = min((len(sample.data) for sample in samples), default=0)
        if not shortest:
            continue
        some = thinned(samples, _ROWS)
        for order in ORDERS:
            context = Context(order=order, macs=macs, makers=makers_of(macs))
            table = table_of(some, order, 0, min(shortest, most))
            bits[order] += sum(piece.cost for piece in tile(table, context))
        bits["big"] += _SMALL * _small(some, shortest)
    return bits


def addresses_of_bodies(heads: Heads, codes: Int64s, end: int, trailer: int) -> frozenset[bytes]:
    """Those that are found in the bodies that `bits_of_bodies` looks at."""
    return _macs(_kinds(heads, codes, end, trailer))


def _kinds(heads: Heads, codes: Int64s, end: int, trailer: int) -> list[list[Sample]]:
    kinds = []
    for code in np.argsort(-np.bincount(codes), kind="stable")[:_KINDS].tolist():
        rows = np.flatnonzero(codes == code).tolist()
        kinds.append([_body(heads, row, end, trailer) for row in rows[: 40 * _ROWS]])
    return kinds


def _macs(kinds: list[list[Sample]]) -> frozenset[bytes]:
    return find_macs([[sample.data for sample in samples] for samples in kinds])


def _small(samples: list[Sample], shortest: int) -> int:
    """Places where bodies begin or end with two bytes of which the high one is always 0: little-endian less big."""
    if shortest < 2:
        return 0
    found = 0
    same = all(len(sample.data) == shortest for sample in samples)
    for place in (slice(0, 2), *([slice(-2, None)] if same and shortest > 2 else [])):
        first, second = (any(sample.data[place][i] for sample in samples) for i in (0, 1))
        found += first - second
    return found


def _body(heads: Heads, row: int, end: int, trailer: int) -> Sample:
    frame = heads.frames[row]
    return Sample(frame.data[end : len(frame.data) - trailer], frame.ns, frame.session, frame.of_client)
