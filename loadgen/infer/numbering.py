"""What numbers frames: transactions, which answers have of what was asked, and sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadgen.infer.columns import CERTAIN, ORDERS, Field, HeadColumns
from loadgen.infer.framing import Order
from loadgen.infer.heads import Heads, Int64s

__all__ = [
    "NUMBERED",
    "OF_DIRECTION",
    "OF_KIND",
    "OF_SESSION",
    "Rows",
    "answered_kinds",
    "find_answered",
    "find_sequence",
    "in_direction",
    "in_kind",
    "in_session",
    "is_high_byte",
    "is_of_a_body",
    "is_of_kind",
    "put_transaction",
    "stays_in_kinds",
]

# Rows, and for each of them another.
Rows = tuple[Int64s, Int64s]

# Behind a request, an answer comes within this.
_ANSWERED_NS = 10_000_000_000
_SOON_NS = 2_000_000_000
# So many frames of a session tell who follows whom.
_MOST_ROWS = 4_000
# It is among the first frames of the other side.
_SOON = 4
# Of so many pairs, their number tells enough.
_MANY_PAIRS = 16
# So many answers to a kind of questions, and so many other kinds, tell that what one has is no transaction.
_FEW_PAIRS, _OTHERS = 3, 2
# So many answers tell that they have the numbers of what they answer.
_FEW_REPLIES = 8
# So often does one kind of frames follow another for a number to be seen to go on there.
_CHANGES = 4
# A number begins anywhere where one of these bits is set, its highest ones, in most of so many streams.
_ANYWHERE_BITS, _STREAMS = 5, 3
# A byte counts where this share of its steps are not longer: answers to the other side are between those of its own.
_COUNTS, _STEP = 0.8, 4
NUMBERED = 0.95
_HARDLY = 0.2
_NUMBERED = "one more with each frame"
OF_DIRECTION, OF_SESSION, OF_KIND = "of its direction", "of its session", "of its kind"


def _successions(follows: Rows, values: Int64s, bits: int) -> float:
    """Share of rows whose number is one more than that of the row before it. follows: the rows, and those before."""
    rows, before = follows
    if not len(rows):
        return 0.0
    return float((((values[rows] - values[before]) & ((1 << min(bits, 63)) - 1)) == 1).mean())


def _carries(follows: Rows, values: Int64s, size: int) -> bool:
    """Whether the highest of several bytes goes on where those below it wrap, and stays where they do not."""
    rows, before = follows
    low = (1 << 8 * (size - 1)) - 1
    next_one = ((values[rows] - values[before]) & low) == 1
    wraps = next_one & ((values[rows] & low) == 0)
    right = ((values[rows] - values[before]) & (1 << 8 * size) - 1) == 1
    stays = right[next_one & ~wraps]
    return bool(stays.mean() > 0.995 if len(stays) else True) and bool(
        right[wraps].mean() > 0.75 if wraps.any() else True
    )


def in_direction(heads: Heads) -> Rows:
    rows = np.flatnonzero(heads.follows)
    return rows, rows - 1


def in_session(heads: Heads) -> Rows:
    order = heads.by_time
    same = heads.session[order][1:] == heads.session[order][:-1]
    return order[1:][same], order[:-1][same]


def in_kind(heads: Heads, codes: Int64s) -> Rows:
    order = np.lexsort((np.arange(len(heads)), codes, heads.stream))
    same = (heads.stream[order][1:] == heads.stream[order][:-1]) & (codes[order][1:] == codes[order][:-1])
    return order[1:][same], order[:-1][same]


def _grown(columns: HeadColumns, lowest: int, order: Order, fits: Any) -> tuple[int, int]:
    """First and last column of a number whose lowest byte is known: it goes on where `fits` says so and bytes vary."""
    heads = columns.heads
    first = last = lowest
    step = -1 if order == "big" else 1
    for count in range(2, 9):
        column = lowest + step * (count - 1)
        if not columns.free(column) or heads.distinct[column] < 2 or (heads.of_stream[column] and not fits(column)):
            break
        at = min(lowest, column)
        if not fits(column) or at < 0:
            break
        first, last = min(first, column), max(last, column)
    return first, last


def find_sequence(columns: HeadColumns, follows: Rows, least: float, where: str) -> None:
    """Numbers that are one more from row to row. where: of what, in words."""
    heads = columns.heads
    if len(follows[0]) < 8:
        return
    for column in range(columns.end):
        if not columns.free(column) or column in columns.unnumbered or heads.distinct[column] < 4:
            continue
        if _successions(follows, heads.number(column, 1, "big"), 8) < least:
            continue
        widths: dict[Order, int] = {}
        for order in ORDERS:
            widths[order] = 1
            for size in (2, 3, 4):
                at = column - size + 1 if order == "big" else column
                if not all(columns.free(c) for c in range(at, at + size) if c != column):
                    break
                if not _carries(follows, heads.number(at, size, order), size):
                    break
                top = heads.cells[:, at if order == "big" else at + size - 1]
                if (top[follows[0]] != top[follows[1]]).any():
                    widths[order] = size
        order = max(ORDERS, key=lambda order: widths[order])
        if widths["big"] == widths["little"]:
            order = columns.by_zeros(column)
        else:
            columns.votes[order] += CERTAIN
        first = column - widths[order] + 1 if order == "big" else column
        # What begins anew at 0 has no higher bytes; what is 0 beside it is something else.
        told = heads.number(first, widths[order], order)
        most = (1 << 8 * widths[order]) - 1
        anew = bool(((told[follows[1]] == most) & (told[follows[0]] == 0)).any())
        widest = widths[order] if anew else 4
        at, size = columns.widened(first, first + widths[order] - 1, order, widest, packed=widths[order] > 1)
        at, size = _begun_anywhere(columns, at, size, order)
        evidence = f"{_NUMBERED} {where}, in {len(follows[0])} steps"
        columns.put("sequence", at, size, "sequence", 0.97, evidence, order=order)
        if where in (OF_DIRECTION, OF_SESSION):
            numbers = heads.number(at, size, order)
            _acknowledged(columns, numbers, order)
            _replied(columns, numbers, order)
        return


def _begun_anywhere(columns: HeadColumns, at: int, size: int, order: Order) -> tuple[int, int]:
    """A number of 4 bytes around its lower ones, where these begin anywhere in each stream, and those beside them stay
    what they are, as those of the number of a session do: then that is where the count began.
    """
    heads = columns.heads
    if size not in (1, 2) or (not columns.packed and at % 4 not in ((4 - size,) if order == "big" else (0,))):
        return at, size
    begins = at - (4 - size) if order == "big" else at
    higher = range(begins, at) if order == "big" else range(at + size, begins + 4)
    if not all(columns.free(column) and heads.stays[column] and heads.distinct[column] > 1 for column in higher):
        return at, size
    values = heads.number(at, size, order)
    low = [int(values[rows[values[rows] != 0][0]]) for rows in heads.streams() if values[rows].any()]
    anywhere = sum(value >> 8 * size - _ANYWHERE_BITS > 0 for value in low)
    several = len(low) >= _STREAMS and len(set(low)) * 2 >= len(low)
    return (begins, 4) if several and anywhere >= 0.75 * len(low) else (at, size)


def _acknowledged(columns: HeadColumns, numbers: Int64s, order: Order) -> None:
    """A field that says the number of the last frame of the other side."""
    heads = columns.heads
    expected = np.full(len(heads), -1, np.int64)
    for rows in heads.dialogues():
        last = {True: -1, False: -1}
        for row in rows.tolist():
            side = bool(heads.of_client[row])
            expected[row] = last[not side]
            last[side] = int(numbers[row])
    known = expected >= 0
    if known.sum() < 8:
        return
    for column in range(columns.end):
        if not columns.free(column) or heads.distinct[column] < 3:
            continue
        away = (heads.cells[known, column].astype(np.int64) - expected[known]) & 0xFF
        # What was under way when a frame was sent was not seen by its sender.
        if max(float(np.isin(away, near).mean()) for near in ((0, 255, 254), (1, 0, 255))) < NUMBERED:
            continue
        first, end = _grown(columns, column, order, lambda _: True)
        at, size = columns.widened(first, end, order)
        evidence = "the number of the last frame of the other side"
        columns.put("acknowledged", at, size, "sequence", 0.9, evidence, order=order)
        return


def _replied(columns: HeadColumns, numbers: Int64s, order: Order) -> None:
    """A field that says which frame of the other side is answered, by its number, and 0 in all that answers nothing."""
    heads = columns.heads
    lately: list[list[int]] = [[] for _ in range(len(heads))]
    for rows in heads.dialogues():
        last: dict[bool, list[int]] = {True: [], False: []}
        for row in rows.tolist():
            side = bool(heads.of_client[row])
            lately[row] = last[not side]
            last[side] = [*last[side][-_SOON:], int(numbers[row])]
    for column in range(columns.end):
        cells = heads.cells[:, column]
        rows = np.flatnonzero(cells)
        if not columns.free(column) or not _FEW_REPLIES <= len(rows) < 0.75 * len(heads):
            continue
        if len(np.unique(cells[rows])) * 3 < min(len(rows), 256):
            continue
        # Most columns are told by some rows to be none.
        some = rows[:: max(1, len(rows) // 64)]
        if _named(cells, lately, some) < 0.5 or _named(cells, lately, rows) < NUMBERED:
            continue
        first, end = _grown(columns, column, order, lambda _: True)
        at, size = columns.widened(first, end, order, widest=4, packed=True)
        evidence = f"the number of the frame that is answered, in {len(rows)} frames, and 0 in all others"
        columns.put("reply_to", at, size, "transaction", 0.9, evidence, order=order)
        return


def _named(cells: NDArray[np.uint8], lately: Sequence[Sequence[int]], rows: Int64s) -> float:
    """Share of rows whose byte is the lowest one of a number that the other side had lately."""
    named = sum(int(cells[row]) in {number & 0xFF for number in lately[row]} for row in rows.tolist())
    return named / len(rows)


def _answered(columns: HeadColumns, of_client: bool) -> tuple[int, list[tuple[int, int]]]:
    """The column in which most answers have what the question had: (column, pairs of rows); -1: none has."""
    heads = columns.heads
    usable = [
        c
        for c in range(columns.end)
        if columns.free(c) and c not in columns.unanswered and heads.distinct[c] > 2 and not heads.of_stream[c]
    ]
    pairs: dict[int, list[tuple[int, int]]] = {column: [] for column in usable}
    asked: dict[int, list[int]] = {column: [] for column in usable}
    for rows in heads.dialogues():
        sides = heads.of_client[rows] == of_client
        for place in np.flatnonzero(sides)[:200].tolist():
            row = int(rows[place])
            later = rows[place + 1 : place + 40]
            later = later[(heads.of_client[later] != of_client) & (heads.ns[later] <= heads.ns[row] + _ANSWERED_NS)]
            later = later[:_SOON]
            earlier = rows[max(0, place - 40) : place]
            if not len(later):
                continue
            for column in usable:
                value = heads.cells[row, column]
                near = heads.cells[earlier, column]
                # A number that was there before answers nothing.
                if value == 0 or (len(near) and (near == value).any()):
                    continue
                asked[column].append(row)
                hits = np.flatnonzero(heads.cells[later, column] == value)
                if len(hits):
                    pairs[column].append((row, int(later[hits[0]])))
    worth = {
        column: len(pairs[column]) - 3 * _by_chance(heads, column, not of_client, asked[column], pairs[column])
        for column in usable
        if _comes_anew(heads, of_client, column) and not _is_told_unasked(heads, column, not of_client, pairs[column])
    }
    most = max(worth.values(), default=0.0)
    if most < 4:
        return -1, []
    # What is asked about comes again in answers, too: behind the header.
    best = min(column for column, value in worth.items() if value >= 0.5 * most)
    return best, pairs[best]


def _by_chance(
    heads: Heads, column: int, of_client: bool, asked: Sequence[int], pairs: Sequence[tuple[int, int]]
) -> float:
    """How many of what was asked would find their value soon, among all that the other side says besides answers."""
    others = np.bincount(heads.cells[heads.of_client == of_client, column], minlength=256)
    total = max(int(others.sum()), 1)
    others = others - np.bincount(heads.cells[[row for _, row in pairs], column], minlength=256)
    return float(np.minimum(others[heads.cells[asked, column]].clip(0) * _SOON / total, 1.0).sum())


def _is_told_unasked(heads: Heads, column: int, of_client: bool, pairs: Sequence[tuple[int, int]]) -> bool:
    """Whether a side has few values, and these again and again, in what answers nothing: kinds of messages, and no
    transactions. Those are 0 there, or go on; of many pairs there is no need to ask."""
    if len(pairs) > _MANY_PAIRS:
        return False
    unasked = (heads.of_client == of_client) & (heads.cells[:, column] != 0)
    unasked[[row for _, row in pairs]] = False
    rows = np.flatnonzero(unasked)
    different = len(np.unique(heads.session[rows] * 256 + heads.cells[rows, column]))
    return len(rows) > len(pairs) and different * 3 < min(len(rows), 256)


def _comes_anew(heads: Heads, of_client: bool, column: int) -> bool:
    """Numbers of requests do not come again soon; those of kinds of messages do."""
    side = np.flatnonzero((heads.of_client == of_client) & (heads.cells[:, column] != 0))
    different = len(np.unique(heads.session[side] * 256 + heads.cells[side, column]))
    most = sum(min(int(count), 256) for count in np.unique(heads.session[side], return_counts=True)[1])
    return different >= 3 and different >= 0.6 * most


def find_answered(columns: HeadColumns) -> tuple[int, list[tuple[int, int]]]:
    """The column in which answers have what the question had, and pairs of rows: (question, answer); -1: none is."""
    return max((_answered(columns, side) for side in (True, False)), key=lambda row: len(row[1]))


def answered_kinds(heads: Heads, codes: Int64s) -> dict[int, int]:
    """By the kind of a question that of its answer, told by who follows whom: the other side, soon, and as often."""
    waits: dict[tuple[int, int], list[int]] = {}
    looked_at = np.zeros(int(codes.max()) + 1, np.int64)
    for rows in heads.dialogues():
        open_now: dict[int, tuple[int, set[int]]] = {}
        for row in rows[:_MOST_ROWS].tolist():
            kind, now_ns = int(codes[row]), int(heads.ns[row])
            looked_at[kind] += 1
            for before, (at, followed) in [*open_now.items()]:
                waited = now_ns - int(heads.ns[at])
                if waited > _SOON_NS:
                    del open_now[before]
                elif heads.of_client[at] != heads.of_client[row] and kind not in followed:
                    followed.add(kind)
                    waits.setdefault((before, kind), []).append(waited)
            open_now[kind] = row, set()
    found: dict[int, int] = {}
    taken: set[int] = set()
    likely = sorted((float(np.median(waited)), *pair) for pair, waited in waits.items())
    for _, one, other in likely:
        often = len(waits[one, other])
        if often >= 0.7 * max(looked_at[one], looked_at[other]) and one not in taken and other not in taken:
            found[one] = other
            taken |= {one, other}
    return found


def is_of_a_body(columns: HeadColumns, found: Field, codes: Int64s) -> bool:
    """Whether answers to one kind of questions alone have what these had, as those to echoes do: what all of them have
    is a transaction."""
    heads = columns.heads
    values = heads.number(found["at"], found["size"], "big")
    shares: list[float] = []
    for one, other in answered_kinds(heads, codes).items():
        same: list[bool] = []
        for rows in heads.dialogues():
            asked = -1
            for row in rows[np.isin(codes[rows], (one, other))].tolist():
                if codes[row] == one:
                    asked = row
                elif asked >= 0:
                    same.append(bool(values[row] == values[asked] != 0))
                    asked = -1
        if len(same) >= _FEW_PAIRS:
            shares.append(sum(same) / len(same))
    return sum(share > 0.5 for share in shares) == 1 and sum(share < 0.1 for share in shares) >= _OTHERS


def put_transaction(columns: HeadColumns, column: int, pairs: list[tuple[int, int]]) -> Field:
    """The field that such a column belongs to."""
    heads = columns.heads
    asking, answering = ([pair[side] for pair in pairs] for side in (0, 1))

    unnumbered = heads.cells[:, column] == 0

    def same(other: int) -> bool:
        cells = heads.cells[:, other]
        # What is the same in all questions, and there where nothing was asked, is no part of a number.
        if len(np.unique(cells[asking])) == 1 and cells[asking[0]] and cells[unnumbered].any():
            return False
        return float((cells[asking] == cells[answering]).mean()) > NUMBERED

    first = last = column
    while columns.free(first - 1) and heads.distinct[first - 1] > 1 and same(first - 1) and last - first < 7:
        first -= 1
    while columns.free(last + 1) and heads.distinct[last + 1] > 1 and same(last + 1) and last - first < 7:
        last += 1
    while last > first and heads.of_stream[first]:
        first += 1
    while last > first and heads.of_stream[last]:
        last -= 1
    # The lowest byte has most values.
    low, high = heads.distinct[last], heads.distinct[first]
    order: Order
    if first == last and _begins_anew(heads, column):
        order, at, size = columns.order or "big", column, 1
    else:
        order = columns.by_zeros(column, wide=True) if first == last else "big" if low >= high else "little"
        columns.votes[order] += CERTAIN * (first < last)
        at, size = columns.widened(first, last, order, packed=True)
    at, size = _begun_anywhere(columns, at, size, order)
    evidence = f"answers have what the question had, in {len(pairs)} pairs"
    confidence = min(0.98, len(pairs) / (len(pairs) + 2.0))
    return columns.put("transaction", at, size, "transaction", confidence, evidence, order=order)


def _begins_anew(heads: Heads, column: int) -> bool:
    """Whether a byte that counts what a side says begins anew behind 255: then no byte beside it is its high one."""
    rows, before = in_direction(heads)
    for side in (True, False):
        own = heads.of_client[rows] == side
        now, then = (heads.cells[each[own], column].astype(np.int64) for each in (rows, before))
        steps = (now - then) & 0xFF
        small = (steps > 0) & (steps <= _STEP)
        if small.any() and small.mean() >= _COUNTS and (now < then)[small].any():
            return True
    return False


def is_high_byte(heads: Heads, codes: Int64s, column: int) -> bool:
    """Whether a byte goes on, in each kind of frames, where one beside it begins anew: it is a number's high byte."""
    rows, before = in_kind(heads, codes)
    goes_on = heads.cells[rows, column] != heads.cells[before, column]
    rows, before = rows[goes_on], before[goes_on]
    if not len(rows):
        return False
    lower = [other for other in (column - 1, column + 1) if 0 <= other < heads.width]
    return any(
        ((heads.cells[before, c] > heads.cells[rows, c]) & (heads.distinct[c] > 128)).mean() > 0.9 for c in lower
    )


def is_of_kind(columns: HeadColumns, found: Field, codes: Int64s) -> bool:
    """Whether what answers have of questions is no more than that each kind of frames is numbered."""
    heads = columns.heads
    rows, before = in_kind(heads, codes)
    values = heads.number(found["at"], found["size"], found.get("order", "big"))
    notices = ~np.isin(codes, np.unique(codes[heads.of_client])) & (np.bincount(codes)[codes] > 8)
    several = len(np.unique(codes[notices])) > 1
    return several and _successions((rows, before), values, 8 * found["size"]) >= NUMBERED


def stays_in_kinds(columns: HeadColumns, found: Field, codes: Int64s) -> bool:
    """Whether what seemed to number frames goes on in the most frequent kind of them only: that is its body's."""
    heads = columns.heads
    if found["role"] != "sequence" or not found["evidence"].startswith(_NUMBERED):
        return False
    values = heads.number(found["at"], found["size"], found.get("order", "big"))
    told = False
    for rows, before in (in_direction(heads), in_session(heads)):
        changes = codes[rows] != codes[before]
        if changes.sum() >= _CHANGES:
            told = True
            if _successions((rows[changes], before[changes]), values, 8 * found["size"]) >= _HARDLY:
                return False
    rows, before = in_kind(heads, codes)
    others = codes[rows] != np.bincount(codes).argmax()
    if others.sum() >= _CHANGES:
        told = True
        if _successions((rows[others], before[others]), values, 8 * found["size"]) >= _HARDLY:
            return False
    return told
