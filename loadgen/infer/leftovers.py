"""What is left of a header when numbers and ids are known: flags, constants, numbers of sessions, the unknown."""

from __future__ import annotations

import numpy as np

from loadgen.infer.columns import HeadColumns, follows_from
from loadgen.infer.heads import Int64s
from loadgen.infer.numbering import in_direction

__all__ = ["nature_of", "put_counters", "put_flags", "put_leftovers", "sureness"]

# Of a counter: steps that it has to go on in, and the share of them that may be backwards, as frames that were cut
# wrong.
_GROWN, _GOES_BACK = 16, 0.002


def put_leftovers(header: HeadColumns, codes: Int64s, end: int) -> None:
    """Flags, constants, and what nothing explains."""
    heads = header.heads
    for first, last in _of_session(header, codes, end):
        _session(header, first, last, end)
    column = 0
    while column < end:
        if header.taken[column]:
            column += 1
            continue
        last = column
        alike = nature_of(header, codes, column)
        while last + 1 < end and not header.taken[last + 1] and nature_of(header, codes, last + 1) == alike:
            last += 1
        if alike == "padding":
            header.put(f"reserved_{column}", column, last - column + 1, "padding", 0.9, "0 in all frames", type="pad")
        elif alike == "constant":
            value = heads.cells[0, column : last + 1].tobytes()
            evidence = f"{value.hex()} in all {len(heads)} frames"
            header.put(f"constant_{column}", column, last - column + 1, "constant", 0.95, evidence)
        elif alike == "enum":
            put_flags(header, codes, column, last)
        else:
            evidence = f"{heads.distinct[column]} values, and nothing that explains them"
            header.put(f"unknown_{column}", column, last - column + 1, "unknown", 0.2, evidence)
        column = last + 1


def _of_session(header: HeadColumns, codes: Int64s, end: int) -> list[tuple[int, int]]:
    """First and last columns of what is the same in all of a session."""
    found: list[tuple[int, int]] = []
    for column in range(end):
        if not header.taken[column] and nature_of(header, codes, column) == "session":
            first = found.pop()[0] if found and found[-1][1] == column - 1 else column
            found.append((first, column))
    return found


def _session(header: HeadColumns, first: int, last: int, end: int) -> None:
    """What is the same in all of a session, with the zeros that are its high bytes where it is aligned then."""
    at, size = header.widened(first, last, header.order or "big", widest=4)
    if at + size > end:
        at, size = first, last - first + 1
    header.put(f"session_{at}", at, size, "number", 0.5, "the same in all of a session")


def put_counters(header: HeadColumns) -> None:
    """Puts what only grows in each stream, by whatever a frame adds to it, as records or bytes that were sent so far:
    bodies have no such number in one place of all of them."""
    rows, before = in_direction(header.heads)
    for size in (4, 2):
        for at in range(header.end - size + 1):
            if (header.packed or at % size == 0) and _may_grow(header, at, size):
                values = header.heads.number(at, size, header.order or "big")
                steps = values[rows] - values[before]
                grown = int((steps > 0).sum())
                if grown >= _GROWN and (steps < 0).sum() <= _GOES_BACK * len(steps):
                    evidence = f"never goes back in its stream, and goes on in {grown} of {len(steps)} steps"
                    header.put(f"counter_{at}", at, size, "counter", 0.7, evidence, order=header.order)


def _may_grow(header: HeadColumns, at: int, size: int) -> bool:
    heads = header.heads
    columns = range(at, at + size) if header.order == "big" else range(at + size - 1, at - 1, -1)
    free = all(header.free(column) for column in columns)
    return (
        free
        and heads.distinct[columns[-1]] > _GROWN
        and not any(heads.stays[c] and not heads.is_zero(c) for c in columns)
    )


def nature_of(header: HeadColumns, codes: Int64s, column: int) -> str:
    heads = header.heads
    if heads.distinct[column] == 1:
        return "constant" if heads.cells[0, column] else "padding"
    if heads.of_stream[column]:
        return "session"
    return "enum" if follows_from(codes, heads.cells[:, column].astype(np.int64)) else "unknown"


def sureness(codes: Int64s) -> float:
    """How much there is that tells messages apart: frames of all but the most frequent one. 0 to 1."""
    others = len(codes) - int(np.bincount(codes).max())
    return others / (others + 2.0)


def put_flags(header: HeadColumns, codes: Int64s, first: int, last: int) -> None:
    """Each byte is one of its own, but where they vary side by side at an even place: then two are one."""
    evidence = "follows from which message it is"
    column = first
    while column <= last:
        at, size = column, 2 if column % 2 == 0 and column < last else 1
        if size == 1 and header.order == "big":
            # Zeros in front of a byte are its high bytes; those behind one are as often reserved.
            at, size = header.widened(column, column, "big", widest=4)
        name = "flags" if not any(found["name"] == "flags" for found in header.fields) else f"flags_{column}"
        header.put(name, at, size, "enum", 0.85 * sureness(codes), evidence)
        column = at + size
