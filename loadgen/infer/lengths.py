"""Further lengths in a header: of what lies behind them, as the one that frames are cut by is of the whole."""

from __future__ import annotations

import numpy as np

from loadgen.infer.columns import ORDERS, Field, HeadColumns
from loadgen.infer.framing import Order

__all__ = ["find_lengths"]

_UNITS = (1, 2, 4, 8)
# What has fewer sizes than these may tell messages apart as well.
_SIZES = 6
# A frame in a thousand may have been cut wrong.
_RIGHT = 0.999


def find_lengths(header: HeadColumns) -> list[Field]:
    """Puts the fields that are the size of their frame in all frames, less what is the same in all.

    A number that goes with the size of every frame says nothing else, and least of all which message it is.
    """
    heads = header.heads
    if len(np.unique(heads.size)) < _SIZES:
        return []
    found = []
    for column in range(header.end):
        if not header.free(column) or heads.distinct[column] < _SIZES:
            continue
        for unit in _UNITS:
            if not _is_constant(heads.size - unit * heads.number(column, 1, "big"), 256 * unit):
                continue
            if (told := _told(header, column, unit)) is None:
                continue
            at, size, order = told
            less = int(heads.size[0]) - unit * int(heads.number(at, size, order)[0])
            times = "" if unit == 1 else f" * {unit}"
            evidence = f"length{times} is the frame's size less {less} in all frames"
            name = f"length_{column}"
            found.append(header.put(name, at, size, "length", 0.95, evidence, order=order))
            break
    return found


def _told(header: HeadColumns, column: int, unit: int) -> tuple[int, int, Order] | None:
    """The field whose lowest byte a column is: (at, size, order). None: it is none."""
    heads = header.heads
    for size in (1, 2, 3, 4):
        for order in ORDERS:
            at = column if order == "little" or size == 1 else column - size + 1
            if at < 0 or not all(header.free(other) for other in range(at, at + size)):
                continue
            if _is_constant(heads.size - unit * heads.number(at, size, order), 0):
                if size == 1:
                    order = header.by_zeros(column)
                at, size = header.widened(at, at + size - 1, order, widest=4, packed=True)
                return at, size, order
    return None


def _is_constant(numbers: np.ndarray, modulus: int) -> bool:
    """Whether nearly all numbers are the same one. modulus: 0: of no other; else they are so modulo it."""
    if modulus:
        numbers = numbers % modulus
    return bool((numbers == np.median(numbers)).mean() >= _RIGHT)
