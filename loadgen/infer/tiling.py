"""HeadColumns cut into fields: the tiling under which the rows cost least (`costs`), by dynamic programming."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from loadgen.infer.constants import cut_constant
from loadgen.infer.costs import (
    NumberClock,
    address_cost,
    byte_by_byte,
    clock_of,
    constant_cost,
    entropy,
    integer_cost,
    mac_cost,
    mask_cost,
    text_cost,
)
from loadgen.infer.samples import Context, Numbers, Table

__all__ = ["CHANNELS", "Piece", "could_be_mask", "devices", "tile", "unaligned"]

# What a field costs before any of its values, in bits: rarer things cost more. By bytes, of integers.
INTEGER = {1: 5.0, 2: 5.5, 4: 6.0, 8: 6.5}
OTHER_ORDER = 7.0
UNALIGNED = 2.0
CONSTANT = 5.0
MAC = 5.0
ADDRESS = 8.0
TEXT = 8.0
OPAQUE = 18.0
SUBSERVICES = 23
# Steps that a column of a table takes, and each row of it.
COLUMN, COLUMN_ROW = 4000, 8
LONGEST_CONSTANT = 256
CHANNELS = frozenset([*range(15), *range(36, 65, 4), *range(100, 145, 4), *range(149, 178, 4)])
# The high bytes of levels from -128.0 to -51.3 dBm in tenths.
_TENTHS = frozenset({0xFB, 0xFC, 0xFD})
TEXT_SIZES = frozenset({4, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64})


@dataclass(frozen=True, slots=True)
class Piece:
    """One field of a tiling."""

    at: int
    size: int
    kind: str  # constant, integer, mac, ipv4, text, opaque; count, length, mask: what is known before
    order: str
    cost: float
    clock: NumberClock | None = None


def unaligned(packed: bool | None) -> float:
    """What is against a number at no multiple of its size, if it is known whether the layout's lie anywhere."""
    return UNALIGNED if packed is None else 0.0 if packed else 4.0 * UNALIGNED


def could_be_mask(values: Numbers, context: Context) -> bool:
    """Bits 0 to 22, more than the lowest of them; and where it is known what was offered, any of that, nothing else."""
    if not (1 if context.masks else 2) <= int(values.max()) < 1 << SUBSERVICES:
        return False
    offered = 0
    for mask in context.masks:
        offered |= mask
    return not offered or not (values & ~np.uint64(offered)).any()


def _odd(table: Table, top: range) -> float:
    """What is against columns, from the highest on, as one number: something else stands before what changes."""
    still = 0
    while still < len(top) - 1 and table.distinct[top[still]] == 1:
        still += 1
    if not still:
        return 0.0
    above = {int(table.cells[0, column]) for column in top[:still]}
    negative = bool((table.cells[:, top[still]] >= 128).all())
    if above == {255}:
        return -levels(table, top[still]) if negative else 8.0
    if above == {0}:
        # A negative number of one byte, and something reserved.
        return 6.0 if negative and still == len(top) - 1 else 0.0
    if len(top) == 2 and above <= _TENTHS and table.distinct[top[1]] > 2:
        # Noise in tenths of a dBm hardly moves.
        return 0.0
    # A counter has not gone far enough for its high bytes to change.
    steps = np.diff(table.cells[:, top[still]].astype(np.int64))
    return 0.0 if table.distinct[top[still]] > 8 and (steps >= 0).mean() > 0.95 else 8.0


def channels(table: Table, at: int) -> float:
    """Bits that speak for channels of both bands."""
    values = set(np.unique(table.cells[:, at]).tolist())
    return min(2.7 * len(values), 30.0) if values <= CHANNELS and max(values) > 35 and len(values) > 2 else 0.0


def levels(table: Table, at: int) -> float:
    """Bits that speak for levels in dBm."""
    cells = table.cells[:, at]
    inside = int(cells.min()) >= 156 and int(cells.max()) <= 240
    return min(table.distinct[at] * 1.0, 10.0) if inside and table.distinct[at] > 7 else 0.0


def _integers(table: Table, at: int, context: Context) -> Iterator[Piece]:
    for size, price in INTEGER.items():
        if at + size > table.width:
            break
        varies = [table.distinct[i] > 1 for i in range(at, at + size)]
        masks = context.of_subservices and size >= 4
        if not any(varies) and not masks:
            continue
        for order in ("big", "little") if size > 1 else (table.order,):
            top = range(at, at + size) if order == "big" else range(at + size - 1, at - 1, -1)
            cost = price + (unaligned(context.packed) if (table.offset + at) % min(size, 4) else 0.0)
            cost += OTHER_ORDER if order != table.order else 0.0
            if masks and order == table.order and could_be_mask(table.numbers(at, size, order), context):
                values = table.numbers(at, size, order)
                cost -= 12.0 + 2.0 * int(values.max()).bit_count()
                # What is asked for is as wide as what is offered.
                cost -= 6.0 if size == context.mask_size else 0.0 if context.mask_size is None else -30.0
                yield Piece(at, size, "integer", order, cost + mask_cost(values))
                continue
            if not any(varies):
                continue
            if not table.distinct[top[-1]] > 1:
                cost += 4.0  # the lowest byte never changes
            clock = clock_of(table, at, size, order)
            bits = integer_cost(table, at, size, order)
            if clock is not None:
                told = clock.bits + constant_cost(table, at, size)
                bits = min(bits, told, byte_by_byte(table, at, size))
                if size == 8:
                    # Nor does it cost more than its halves would.
                    bits = min(bits, sum(integer_cost(table, half, 4, order) for half in (at, at + 4)))
                # A clock of four bytes may be the lower half of one of eight; seconds are whole in four.
                bits -= 28.0 if size == 8 and clock.unit != "s" else 16.0
            if size > 1 and (clock is None or not clock.epoch):
                cost += _odd(table, top)
            if size == 1:
                cost -= channels(table, at) + levels(table, at)
            elif size == 2 and all(varies):
                # Something beside a channel, which it may well follow from.
                cost += max(channels(table, at), channels(table, at + 1))
            yield Piece(at, size, "integer", order, cost + bits, clock)


def _texts(table: Table, at: int) -> Iterator[Piece]:
    if not table.printable[at] or not (table.cells[:, at] != 0).any():
        return
    # Its first letter stands alone before none.
    begun = at > 0 and table.distinct[at - 1] > 1 and bool(((table.cells[:, at - 1] | 32) - 97 < 26).all())
    end = at
    while end < table.width and table.printable[end] and end - at < 256:
        end += 1
        size = end - at
        if size < 4 or (size > 64 and size % 8):
            continue
        # It ends where something else begins, or where all of it is NUL.
        goes_on = end < table.width and table.printable[end] and (table.cells[:, end] != 0).any()
        if size not in TEXT_SIZES and goes_on and (table.cells[:, end - 1] != 0).any():
            continue
        bits = text_cost(table, at, size)
        if bits == float("inf"):
            break
        yield Piece(
            at,
            size,
            "text",
            table.order,
            TEXT + (0.0 if size in TEXT_SIZES else 10.0) + (15.0 if begun else 0.0) + bits,
        )


def _opaque(table: Table, at: int) -> Iterator[Piece]:
    """Bytes of which nothing is known."""
    for size in range(3, min(table.width - at, 64) + 1):
        if table.distinct[at] == 1 or table.distinct[at + size - 1] == 1:
            continue
        codes, kinds = table.joined(at, size)
        varying = sum(table.distinct[i] > 1 for i in range(at, at + size))
        bits = entropy(codes) + kinds * 8.0 * varying + constant_cost(table, at, size)
        yield Piece(at, size, "opaque", table.order, OPAQUE + (0.0 if size % 4 == 0 else 2.0) + bits)


def _pieces(table: Table, at: int, context: Context) -> Iterator[Piece]:
    if table.distinct[at] == 1:
        end, bits = at, 0.0
        while end < table.width and table.distinct[end] == 1 and end - at < LONGEST_CONSTANT:
            bits += constant_cost(table, end, 1) + 0.4
            end += 1
            yield Piece(at, end - at, "constant", table.order, CONSTANT + bits)
    yield from _integers(table, at, context)
    if at + 6 <= table.width:
        constant = all(table.distinct[i] == 1 for i in range(at, at + 6))
        if not constant or table.cells[0, at : at + 3].tobytes() in context.makers:
            bits = mac_cost(table, at, context.macs, context.makers)
            uneven = UNALIGNED if (table.offset + at) % 2 else 0.0
            if bits < float("inf"):
                yield Piece(at, 6, "mac", table.order, MAC + uneven + bits)
    if at + 4 <= table.width:
        constant = all(table.distinct[i] == 1 for i in range(at, at + 4))
        if not constant or table.cells[0, at : at + 2].tobytes() in context.networks:
            bits = address_cost(table, at, context.networks)
            if bits < float("inf"):
                yield Piece(at, 4, "ipv4", table.order, ADDRESS + bits)
    yield from _texts(table, at)
    yield from _opaque(table, at)


def tile(table: Table, context: Context, given: Sequence[Piece] = ()) -> list[Piece]:
    """The cheapest tiling that has the given pieces."""
    if not len(table) or not table.width:
        return []
    fixed = {piece.at: piece for piece in given}
    taken = {piece.at + i for piece in given for i in range(piece.size)}
    best: list[tuple[float, Piece | None]] = [
        (0.0 if end == 0 else float("inf"), None) for end in range(table.width + 1)
    ]
    for at in range(table.width):
        here = best[at][0]
        if here == float("inf"):
            continue
        if at in fixed:
            pieces: Iterator[Piece] = iter([fixed[at]])
        elif not context.work.spend(COLUMN + COLUMN_ROW * len(table)):
            pieces = _rest(table, at, taken)
        elif at in taken:
            continue
        else:
            pieces = _pieces(table, at, context)
        for piece in pieces:
            end = at + piece.size
            if at not in fixed and any(i in taken for i in range(at, end)):
                continue
            if here + piece.cost < best[end][0]:
                best[end] = here + piece.cost, piece
    out: list[Piece] = []
    end = table.width
    while end > 0:
        last = best[end][1]
        assert last is not None
        out.append(last)
        end = last.at
    return [part for piece in out[::-1] for part in _parts(table, piece, context)]


def _rest(table: Table, at: int, taken: set[int]) -> Iterator[Piece]:
    """All up to what is given next as bytes of which nothing is known: there is no work left."""
    if at not in taken:
        end = next((column for column in range(at, table.width) if column in taken), table.width)
        yield Piece(at, end - at, "opaque", table.order, 0.0)


def _parts(table: Table, piece: Piece, context: Context) -> list[Piece]:
    """What never changes, cut where fields in it are likely to begin."""
    if piece.kind != "constant" or piece.size < 2:
        return [piece]
    run = table.cells[0, piece.at : piece.at + piece.size].tobytes()
    parts = cut_constant(run, table.order, table.offset + piece.at, context.makers)
    share = piece.cost / len(parts)
    return [Piece(piece.at + part.at, part.size, part.kind, piece.order, share) for part in parts]


def devices(table: Table, pieces: list[Piece]) -> None:
    """Group a table's rows by the MAC addresses in them, so that numbers may go on device by device."""
    macs = [piece for piece in pieces if piece.kind == "mac"]
    if not macs:
        return
    first, _ = table.joined(macs[0].at, 6)
    table.group_by("device", first)
    both = np.unique(table.group * (int(first.max()) + 1) + first, return_inverse=True)[1].astype(np.int64)
    table.group_by("pair", both)
    if len(macs) > 1:
        second, kinds = table.joined(macs[1].at, 6)
        table.group_by("two devices", np.unique(first * kinds + second, return_inverse=True)[1].astype(np.int64))
