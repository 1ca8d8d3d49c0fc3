"""The columns of headers that tell messages apart: what else is there, and the sizes of frames, follow from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from loadgen.infer.columns import HeadColumns, follows_from
from loadgen.infer.heads import Int64s
from loadgen.infer.numbering import is_high_byte

__all__ = ["id_columns"]

_MANY_KINDS = 128
# Bits that a column of an id has to tell of each thing that follows from it, on average.
_TELLS = 8.0
# A kind that comes no more often is rare; a session says some messages once, but not so many.
_SELDOM, _DOZENS = 2, 24


def id_columns(header: HeadColumns) -> list[int]:
    """The columns that tell messages apart: as few as it takes for all others to follow from them."""
    heads = header.heads
    few = [
        column
        for column in range(header.end)
        if header.free(column)
        and 1 < heads.distinct[column] <= _MANY_KINDS
        and heads.distinct[column] * 3 <= len(heads)
        and not heads.of_stream[column]
    ]
    if not few:
        return []
    direction = heads.of_client.astype(np.int64)
    sizes = np.unique(np.minimum(heads.size, 60_000), return_inverse=True)[1].astype(np.int64)

    telling = _telling(header)
    targets = [sizes, *(heads.cells[:, column].astype(np.int64) for column in telling)]

    def told(codes: Int64s, without: int | None = None) -> float:
        """Bits of sizes and of all that has few values that such a grouping leaves open. without: one of these."""
        places = (None, *telling)
        counted = (target for place, target in zip(places, targets, strict=True) if place is None or place != without)
        return sum(_left_open(codes, target) for target in counted)

    chosen: list[int] = []
    codes = direction
    while len(chosen) < 4:
        rest = [c for c in few if c not in chosen and not follows_from(codes, heads.cells[:, c].astype(np.int64))]
        rest = [c for c in rest if not chosen or not is_high_byte(heads, codes, c)]
        if not rest:
            break
        joined = {c: np.unique(codes * 256 + heads.cells[:, c], return_inverse=True)[1].astype(np.int64) for c in rest}
        # A column that the others follow from; else, the one that leaves least open.
        following = {c: sum(follows_from(joined[c], heads.cells[:, o].astype(np.int64)) for o in rest) for c in rest}
        beside = {c for c in rest if any(abs(c - other) == 1 for other in chosen)}
        # That a column tells itself makes it no id, unless it lies beside one.
        own = {c: None if c in beside or not chosen else c for c in rest}
        left = {c: told(joined[c], own[c]) for c in rest}
        open_now = {c: told(codes, own[c]) for c in rest}
        good = [c for c in rest if left[c] <= open_now[c] - _needed(header, c, chosen, len(targets), open_now[c])]
        reached = [c for c in good if _is_reached(header, c, joined[c]) and not _are_values(codes, joined[c])]
        if not reached:
            # What lies inside of the header for certain has to be explained, too; ids do so at little cost.
            most = 2 * len(np.unique(codes))
            reached = [c for c in rest if c < header.least and chosen and joined[c].max() < most]
        if not reached:
            break
        best = min(reached, key=lambda c: (-following[c] if not chosen else 0, c not in beside, left[c], c))
        chosen.append(best)
        codes = joined[best]
    return sorted(_without_followers(header, chosen))


def _are_values(codes: Int64s, joined: Int64s) -> bool:
    """Whether a column makes dozens of kinds that come once or twice each: those are values, and no messages."""
    rare, before = (int((np.bincount(each) <= _SELDOM).sum()) for each in (joined, codes))
    return rare - before > _DOZENS and 2 * rare > int(joined.max()) + 1


def _without_followers(header: HeadColumns, chosen: Sequence[int]) -> list[int]:
    """Columns of an id without those that follow from the others of them: such as flags that told much, at first."""
    heads = header.heads
    left = [*chosen]
    for column in chosen:
        rest = [other for other in left if other != column]
        codes = heads.of_client.astype(np.int64)
        for other in rest:
            codes = np.unique(codes * 256 + heads.cells[:, other], return_inverse=True)[1].astype(np.int64)
        if len(rest) > 1 and follows_from(codes, heads.cells[:, column].astype(np.int64)):
            left = rest
    return left


def _is_reached(header: HeadColumns, column: int, codes: Int64s) -> bool:
    """Whether all between what is known of the header and a column is explained: else the header ended before."""
    heads = header.heads
    return all(
        heads.of_stream[between] or follows_from(codes, heads.cells[:, between].astype(np.int64))
        for between in range(header.explained(), column)
        if header.free(between)
    )


def _needed(header: HeadColumns, column: int, chosen: list[int], targets: int, open_now: float) -> float:
    """Bits that a column has to tell to be part of an id."""
    # A byte beside one that is chosen needs less to say for itself, one behind all that is known far more.
    if any(abs(column - other) == 1 for other in chosen):
        behind = column - 1 in chosen and column >= max(header.explained(), header.least)
        return (0.05 if header.order == "little" else 0.15) * open_now if behind else 0.0
    needed = _TELLS * targets
    return max(needed, 0.3 * open_now) if chosen and column >= max(header.explained(), header.least) else needed


def _telling(header: HeadColumns) -> list[int]:
    """Columns that kinds of messages should tell: of few values, in the header or behind it."""
    heads = header.heads
    return [
        c for c in range(heads.width) if not header.taken[c] and 1 < heads.distinct[c] <= 24 and not heads.of_stream[c]
    ]


def _left_open(codes: Int64s, sizes: Int64s) -> float:
    """Bits to tell the sizes of all frames, and the groups' own costs, if groups are known."""
    pairs, counts = np.unique(codes * 65536 + sizes, return_counts=True)
    groups = np.bincount(codes)
    bits = float((groups[groups > 0] * np.log2(groups[groups > 0])).sum() - (counts * np.log2(counts)).sum())
    return bits + 8.0 * len(pairs)
