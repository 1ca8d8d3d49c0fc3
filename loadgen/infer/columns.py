"""The columns of headers: which are explained, and by what; how wide a number is of which some bytes never vary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from loadgen.infer.framing import FrameCut, Order
from loadgen.infer.heads import Heads, Int64s

__all__ = ["CERTAIN", "ORDERS", "Field", "HeadColumns", "columns_of", "follows_from"]

Field = dict[str, Any]
# Votes for a byte order of a number that has but one; zeros beside a number have one or two.
CERTAIN = 12
ORDERS: tuple[Order, Order] = ("big", "little")
# Numbers that are longer than a byte lie at even places, in most layouts.
_NUMBERS = frozenset({"length", "transaction", "sequence", "timestamp"})
# These are as wide as the zeros beside them let them be.
_WIDENED = frozenset({"length", "msg_id", "transaction", "sequence"})


class HeadColumns:
    """Which columns are explained, and by what."""

    def __init__(
        self,
        heads: Heads,
        framing: FrameCut,
        checksums: Iterable[Field],
        end: int,
        order: Order | None = None,
        *,
        packed: bool = False,
        trailer: int = 0,
    ) -> None:
        self.order = order  # None: not known yet
        self.packed = packed  # numbers lie anywhere
        self.trailer = trailer  # bytes at the end of each frame
        self.unanswered: set[int] = set()  # columns that are no transaction's
        self.unnumbered: set[int] = set()  # columns that are no sequence's
        self.votes: Counter[Order] = Counter()
        self.heads, self.framing = heads, framing
        self.end = min(end, heads.width)  # no header is longer
        self.least = framing.at + framing.size  # no header is shorter
        behind = framing.add - framing.at
        last = min(framing.at + behind, heads.width)
        zeros = all(heads.is_zero(column) for column in range(framing.at + framing.size, last))
        # Where only zeros are between, it may be a longer length that counts what follows it.
        if framing.unit == 1 and behind > framing.size and not (behind in (1, 2, 4) and zeros):
            # The length counts the body alone, or body and trailer.
            self.end = min(self.end, framing.add)
            self.least = max(self.least, min(self.end, framing.add - (heads.shortest - end)))
        self.fields: list[Field] = []
        self.taken = [False] * heads.width
        for found in checksums:
            self.put(**found)
        # The bytes of the length that vary; how wide it is, is said when the rest is known.
        self.length = range(framing.at, framing.at + framing.size)
        for column in self.length:
            if column < heads.width:
                self.taken[column] = True

    def put(self, name: str, at: int, size: int, role: str, confidence: float, evidence: str, **more: Any) -> Field:
        kind = f"u{8 * size}" if size in (1, 2, 4, 8) else "bytes"
        found: Field = {"name": name, "at": at, "size": size, "role": role, "type": kind}
        found |= {"confidence": round(confidence, 2), "evidence": evidence} | more
        if role in _WIDENED and (still := self._still(at, size, more.get("order", self.order))):
            found["alternatives"] = [f"{8 * (size - still)} bits, and {still} reserved bytes of zeros"]
            found["decides"] = "a value that does not fit into fewer bytes"
        self.fields.append(found)
        for column in range(at, at + size):
            if column < len(self.taken):
                self.taken[column] = True
        varying = sum(self.heads.distinct[column] > 1 for column in range(at, min(at + size, self.heads.width)))
        if role in _NUMBERS and varying > 1 and at % min(size, 4):
            self.packed = True
        return found

    def _still(self, at: int, size: int, order: Order | None) -> int:
        """How many high bytes of a number are 0 in all frames."""
        still = 0
        for column in range(at + size - 1, at - 1, -1) if order == "little" else range(at, at + size):
            if column >= self.heads.width or not self.heads.is_zero(column):
                break
            still += 1
        return still if still < size else 0

    def explained(self) -> int:
        """Where the last field ends that is known."""
        ends = (found["at"] + found["size"] for found in self.fields)
        return int(max(self.framing.at + self.framing.size, *ends, 0))

    def free(self, column: int) -> bool:
        return 0 <= column < self.end and not self.taken[column]

    def widened(self, first: int, last: int, order: Order, widest: int = 8, *, packed: bool = False) -> tuple[int, int]:
        """A field of 1, 2, 4 or 8 bytes around the columns from first to last that vary: (at, size).

        Zeros where its high bytes would be belong to it where it is aligned then, or where nothing is.
        """
        need = last - first + 1
        if self.order not in (None, order):
            # Zeros beside a number in another order than all others may be high bytes of one of those.
            widest = min(widest, max(need, 2))
        best: tuple[int, int] | None = None
        for size in (1, 2, 4, 8):
            at = first if order == "little" else last - size + 1
            inside = range(at, at + size)
            if size < need or at < 0:
                continue
            extra = [column for column in inside if not first <= column <= last]
            if not all(self.free(column) for column in extra):
                break
            zero = all(self.heads.is_zero(column) for column in extra)
            if best is None:
                # Bytes that are missing to a width must be there, whatever is in them.
                if not extra or zero or all(self.heads.distinct[column] < 3 for column in extra):
                    best = at, size
            elif zero and size <= widest and ((packed and size < 8) or self.packed or at % min(size, 4) == 0):
                best = at, size
        return best or (first, need)

    def by_zeros(self, column: int, *, wide: bool = False) -> Order:
        """The layout's byte order; where that is not known yet, that in which zeros beside a lowest byte are high.

        wide: the number has more than one byte, for certain: then it is in the other order where only that fits.
        """
        even: Order = "big" if column % 2 else "little"
        before = self.free(column - 1) and self.heads.is_zero(column - 1)
        behind = self.free(column + 1) and self.heads.is_zero(column + 1)
        if self.order is not None:
            has, other = (before, behind) if self.order == "big" else (behind, before)
            if not wide or has or not other:
                return self.order
        order: Order = "little" if behind and not before else "big"
        if before and behind:
            # The lowest byte of a little-endian number that is aligned lies at an even place, of others at an odd one.
            order = even
        if before or behind:
            # Zeros at the side where an aligned number has them tell more.
            self.votes[order] += 2 if order == even else 1
        return order


def columns_of(fields: Iterable[Field]) -> set[int]:
    """All that lie in some fields."""
    return {column for found in fields for column in range(found["at"], found["at"] + found["size"])}


def follows_from(codes: Int64s, other: Int64s) -> bool:
    """Whether the second is the same wherever the first is; but for one frame in a thousand."""
    pairs, counts = np.unique(codes * 65536 + other, return_counts=True)
    most = np.zeros(int(codes.max()) + 1, np.int64)
    np.maximum.at(most, pairs // 65536, counts)
    return int(most.sum()) >= 0.999 * len(codes)
