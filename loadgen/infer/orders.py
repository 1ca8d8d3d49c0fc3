"""Which byte order a layout has, told by the bodies: the order in which the numbers at their beginnings cost less.

Headers have few numbers, and in many of these a byte varies alone, beside zeros on either side. Bodies have times,
counts and masks, and each that fits in one order only says so.
"""

from __future__ import annotations

import numpy as np

from loadgen.infer.addresses import find_macs, makers_of
from loadgen.infer.heads import Heads, Int64s
from loadgen.infer.pricing import thinned
from loadgen.infer.samples import Context, Sample, table_of
from loadgen.infer.tiling import tile

__all__ = ["little_saves"]

# Kinds of messages that are looked at, those with most frames first; frames of each; bytes of each frame.
_KINDS = 8
_ROWS = 60
_BYTES = 48


def little_saves(heads: Heads, codes: Int64s, end: int, trailer: int) -> float:
    """Bits by which bodies that are read little-endian cost less than big-endian; negative: they cost more.

    Args:
        codes: of each row which message it is. end: of the header. trailer: its bytes.
    """
    counts = np.bincount(codes)
    kinds: list[list[Sample]] = []
    for code in np.argsort(-counts, kind="stable")[:_KINDS].tolist():
        rows = np.flatnonzero(codes == code).tolist()
        kinds.append([_body(heads, row, end, trailer) for row in rows[: 40 * _ROWS]])
    macs = find_macs([[sample.data for sample in samples] for samples in kinds])
    saved = 0.0
    for samples in kinds:
        shortest = min((len(sample.data) for sample in samples), default=0)
        if not shortest:
            continue
        some = thinned(samples, _ROWS)
        costs = {}
        for order in ("big", "little"):
            context = Context(order=order, macs=macs, makers=makers_of(macs))
            table = table_of(some, order, 0, min(shortest, _BYTES))
            costs[order] = sum(piece.cost for piece in tile(table, context))
        saved += costs["big"] - costs["little"]
    return saved


def _body(heads: Heads, row: int, end: int, trailer: int) -> Sample:
    frame = heads.frames[row]
    return Sample(frame.data[end : len(frame.data) - trailer], frame.ns, frame.session, frame.of_client)
