"""The fields of the header: what each of its bytes does from frame to frame, whatever the frame is about.

In this order: what numbers frames, what answers have of what was asked, clocks, and of what is left the bytes that tell
messages apart; what follows from those is flags, what never changes is constant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from loadgen.infer.clocks import find_clock
from loadgen.infer.framing import Framing, Order
from loadgen.infer.heads import Heads, Int64s

__all__ = ["HeaderFound", "find_header"]

Field = dict[str, Any]
# Rows, and for each of them another.
Rows = tuple[Int64s, Int64s]

_MANY_KINDS = 128
# Behind a request, an answer comes within this.
_ANSWERED_NS = 10_000_000_000
_NUMBERED = 0.95
# Bits that a column of an id has to tell of each thing that follows from it, on average.
_TELLS = 8.0


@dataclass(slots=True)
class HeaderFound:
    size: int
    order: Order
    fields: list[Field]
    framing: Framing  # with the length as wide as it is taken to be
    kind: Int64s  # of each row: number of its message among `ids`
    ids: list[tuple[bool, int]]  # (of the client, message id)
    transaction: Field | None = None
    doubts: list[str] = field(default_factory=list)  # what would decide what


class _Header:
    """Which columns are explained, and by what."""

    def __init__(
        self, heads: Heads, framing: Framing, checksums: Iterable[Field], end: int, order: Order | None
    ) -> None:
        self.order = order  # None: not known yet
        self.votes: Counter[Order] = Counter()
        self.heads, self.framing = heads, framing
        self.end = min(end, heads.width)  # no header is longer
        if framing.unit == 1 and framing.add > framing.at + 4:
            # The length counts the body alone, or body and trailer.
            self.end = min(self.end, framing.add)
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
        self.fields.append(found)
        for column in range(at, at + size):
            if column < len(self.taken):
                self.taken[column] = True
        return found

    def free(self, column: int) -> bool:
        return 0 <= column < self.end and not self.taken[column]

    def widened(self, first: int, last: int, order: Order, widest: int = 8) -> tuple[int, int]:
        """A field of 1, 2, 4 or 8 bytes around the columns from first to last that vary: (at, size).

        Zeros where its high bytes would be belong to it where it is aligned then.
        """
        need = last - first + 1
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
            elif zero and size <= widest and at % min(size, 4) == 0:
                best = at, size
        return best or (first, need)


def _successions(follows: Rows, values: Int64s, bits: int) -> float:
    """Share of rows whose number is one more than that of the row before it. follows: the rows, and those before."""
    rows, before = follows
    if not len(rows):
        return 0.0
    return float((((values[rows] - values[before]) & ((1 << bits) - 1)) == 1).mean())


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


def _in_direction(heads: Heads) -> Rows:
    rows = np.flatnonzero(heads.follows)
    return rows, rows - 1


def _in_session(heads: Heads) -> Rows:
    order = heads.by_time
    same = heads.session[order][1:] == heads.session[order][:-1]
    return order[1:][same], order[:-1][same]


def _in_kind(heads: Heads, codes: Int64s) -> Rows:
    order = np.lexsort((np.arange(len(heads)), codes, heads.stream))
    same = (heads.stream[order][1:] == heads.stream[order][:-1]) & (codes[order][1:] == codes[order][:-1])
    return order[1:][same], order[:-1][same]


def _grown(header: _Header, lowest: int, order: Order, fits: Any) -> tuple[int, int]:
    """First and last column of a number whose lowest byte is known: it goes on where `fits` says so and bytes vary."""
    heads = header.heads
    first = last = lowest
    step = -1 if order == "big" else 1
    for count in range(2, 9):
        column = lowest + step * (count - 1)
        if not header.free(column) or heads.distinct[column] < 2 or (heads.of_session[column] and not fits(column)):
            break
        at = min(lowest, column)
        if not fits(column) or at < 0:
            break
        first, last = min(first, column), max(last, column)
    return first, last


def _sequences(header: _Header, follows: Rows, least: float, where: str) -> None:
    """Numbers that are one more from row to row. where: of what, in words."""
    heads = header.heads
    if len(follows[0]) < 8:
        return
    for column in range(header.end):
        if not header.free(column) or heads.distinct[column] < 4:
            continue
        if _successions(follows, heads.number(column, 1, "big"), 8) < least:
            continue
        widths: dict[Order, int] = {}
        for order in _ORDERS:
            widths[order] = 1
            for size in (2, 3, 4):
                at = column - size + 1 if order == "big" else column
                if not all(header.free(c) for c in range(at, at + size) if c != column):
                    break
                if not _carries(follows, heads.number(at, size, order), size):
                    break
                if heads.distinct[at if order == "big" else at + size - 1] > 1:
                    widths[order] = size
        order = max(_ORDERS, key=lambda order: widths[order])
        if widths["big"] == widths["little"]:
            order = _by_zeros(header, column)
        else:
            header.votes[order] += 3
        first = column - widths[order] + 1 if order == "big" else column
        at, size = header.widened(first, first + widths[order] - 1, order)
        evidence = f"one more with each frame {where}, in {len(follows[0])} steps"
        header.put("sequence", at, size, "sequence", 0.97, evidence, order=order)
        if where == _OF_DIRECTION:
            _acknowledged(header, heads.number(at, size, order), order)
        return


def _acknowledged(header: _Header, numbers: Int64s, order: Order) -> None:
    """A field that says the number of the last frame of the other side."""
    heads = header.heads
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
    for column in range(header.end):
        if not header.free(column) or heads.distinct[column] < 3:
            continue
        away = (heads.cells[known, column].astype(np.int64) - expected[known]) & 0xFF
        # What was under way when a frame was sent was not seen by its sender.
        if max(float(np.isin(away, near).mean()) for near in ((0, 255, 254), (1, 0, 255))) < _NUMBERED:
            continue
        first, end = _grown(header, column, order, lambda _: True)
        at, size = header.widened(first, end, order)
        evidence = "the number of the last frame of the other side"
        header.put("acknowledged", at, size, "sequence", 0.9, evidence, order=order)
        return


def _by_zeros(header: _Header, column: int) -> Order:
    """The layout's byte order; where that is not known yet, that in which zeros beside a lowest byte are high ones."""
    if header.order is not None:
        return header.order
    before = header.free(column - 1) and header.heads.is_zero(column - 1)
    behind = header.free(column + 1) and header.heads.is_zero(column + 1)
    order: Order = "little" if behind and not before else "big"
    if before and behind:
        # The lowest byte of a little-endian number that is aligned lies at an even place, of others at an odd one.
        order = "big" if column % 2 else "little"
    header.votes[order] += before or behind
    return order


def _answered(header: _Header, of_client: bool) -> tuple[int, list[tuple[int, int]]]:
    """The column in which most answers have what the question had: (column, pairs of rows); -1: none has."""
    heads = header.heads
    usable = [c for c in range(header.end) if header.free(c) and heads.distinct[c] > 2 and not heads.of_session[c]]
    pairs: dict[int, list[tuple[int, int]]] = {column: [] for column in usable}
    asked = dict.fromkeys(usable, 0)
    for rows in heads.dialogues():
        sides = heads.of_client[rows] == of_client
        for place in np.flatnonzero(sides)[:200].tolist():
            row = int(rows[place])
            later = rows[place + 1 : place + 40]
            later = later[(heads.of_client[later] != of_client) & (heads.ns[later] <= heads.ns[row] + _ANSWERED_NS)]
            earlier = rows[max(0, place - 40) : place]
            if not len(later):
                continue
            for column in usable:
                value = heads.cells[row, column]
                near = heads.cells[earlier, column]
                # A number that was there before answers nothing.
                if value == 0 or (len(near) and (near == value).any()):
                    continue
                asked[column] += 1
                hits = np.flatnonzero(heads.cells[later, column] == value)
                if len(hits):
                    pairs[column].append((row, int(later[hits[0]])))
    best = max(usable, key=lambda column: (len(pairs[column]) - asked[column] // 2, -column), default=-1)
    if best < 0 or len(pairs[best]) < 4 or len(pairs[best]) < 0.7 * asked[best]:
        return -1, []
    side = np.flatnonzero((heads.of_client == of_client) & (heads.cells[:, best] != 0))
    different = len(np.unique(heads.session[side] * 256 + heads.cells[side, best]))
    most = sum(min(int(count), 256) for count in np.unique(heads.session[side], return_counts=True)[1])
    # Numbers of requests do not come again soon; those of kinds of messages do.
    if different < 3 or different < 0.6 * most:
        return -1, []
    return best, pairs[best]


def _transaction(header: _Header) -> Field | None:
    heads = header.heads
    column, pairs = max((_answered(header, side) for side in (True, False)), key=lambda row: len(row[1]))
    if column < 0:
        return None
    asking, answering = ([pair[side] for pair in pairs] for side in (0, 1))

    def same(other: int) -> bool:
        return float((heads.cells[asking, other] == heads.cells[answering, other]).mean()) > _NUMBERED

    first = last = column
    while header.free(first - 1) and heads.distinct[first - 1] > 1 and same(first - 1) and last - first < 7:
        first -= 1
    while header.free(last + 1) and heads.distinct[last + 1] > 1 and same(last + 1) and last - first < 7:
        last += 1
    while last > first and heads.of_session[first]:
        first += 1
    while last > first and heads.of_session[last]:
        last -= 1
    # The lowest byte has most values.
    low, high = heads.distinct[last], heads.distinct[first]
    order: Order = _by_zeros(header, column) if first == last else "big" if low >= high else "little"
    header.votes[order] += 3 * (first < last)
    at, size = header.widened(first, last, order)
    evidence = f"answers have what the question had, in {len(pairs)} pairs"
    confidence = min(0.98, len(pairs) / (len(pairs) + 2.0))
    return header.put("transaction", at, size, "transaction", confidence, evidence, order=order)


def _follows(codes: Int64s, other: Int64s) -> bool:
    """Whether the second is the same wherever the first is; but for one frame in a thousand."""
    pairs, counts = np.unique(codes * 65536 + other, return_counts=True)
    most = np.zeros(int(codes.max()) + 1, np.int64)
    np.maximum.at(most, pairs // 65536, counts)
    return int(most.sum()) >= 0.999 * len(codes)


def _kinds(header: _Header) -> list[int]:
    """The columns that tell messages apart: as few as it takes for all others to follow from them."""
    heads = header.heads
    few = [
        column
        for column in range(header.end)
        if header.free(column)
        and 1 < heads.distinct[column] <= _MANY_KINDS
        and heads.distinct[column] * 3 <= len(heads)
        and not heads.of_session[column]
    ]
    if not few:
        return []
    direction = heads.of_client.astype(np.int64)
    sizes = np.unique(np.minimum(heads.size, 60_000), return_inverse=True)[1].astype(np.int64)

    targets = [sizes, *(heads.cells[:, column].astype(np.int64) for column in _telling(header))]

    def told(codes: Int64s) -> float:
        """Bits of sizes and of all that has few values that such a grouping leaves open."""
        return sum(_left_open(codes, target) for target in targets)

    chosen: list[int] = []
    codes = direction
    while len(chosen) < 4:
        rest = [c for c in few if c not in chosen and not _follows(codes, heads.cells[:, c].astype(np.int64))]
        if not rest:
            break
        joined = {c: np.unique(codes * 256 + heads.cells[:, c], return_inverse=True)[1].astype(np.int64) for c in rest}
        # A column that the others follow from; else, the one that leaves least open.
        following = {c: sum(_follows(joined[c], heads.cells[:, o].astype(np.int64)) for o in rest) for c in rest}
        left = {c: told(joined[c]) for c in rest}
        best = min(rest, key=lambda c: (-following[c] if not chosen else 0, left[c], c))
        if left[best] > told(codes) - _TELLS * len(targets):
            break
        chosen.append(best)
        codes = joined[best]
    return sorted(chosen)


def _telling(header: _Header) -> list[int]:
    """Columns that kinds of messages should tell: of few values, in the header or behind it."""
    heads = header.heads
    return [
        c for c in range(heads.width) if not header.taken[c] and 1 < heads.distinct[c] <= 24 and not heads.of_session[c]
    ]


def _left_open(codes: Int64s, sizes: Int64s) -> float:
    """Bits to tell the sizes of all frames, and the groups' own costs, if groups are known."""
    pairs, counts = np.unique(codes * 65536 + sizes, return_counts=True)
    groups = np.bincount(codes)
    bits = float((groups[groups > 0] * np.log2(groups[groups > 0])).sum() - (counts * np.log2(counts)).sum())
    return bits + 8.0 * len(pairs)


def _message_ids(header: _Header, columns: list[int]) -> list[tuple[int, int, Order]]:
    """Fields that the columns of an id belong to: (at, size, order)."""
    found: list[tuple[int, int, Order]] = []
    left = list(columns)
    while left:
        first = last = left.pop(0)
        if left and left[0] == first + 1 and first % 2 == 0:
            last = left.pop(0)
        order = _by_zeros(header, first) if first == last else header.order or "big"
        if len(columns) > 1 and columns == [*range(columns[0], columns[-1] + 1)] and first == last:
            # Type and subtype side by side, of a byte each.
            header.taken[first] = True
            found.append((first, 1, order))
            continue
        at, size = header.widened(first, last, order, widest=4)
        if size == 4 and last == first and at % 4:
            at, size = header.widened(first, last, order, widest=2)
        for column in range(at, at + size):
            header.taken[column] = True
        left = [column for column in left if not at <= column < at + size]
        found.append((at, size, order))
    return found


def _length(header: _Header) -> Framing:
    """The length, as wide as it is taken to be."""
    old = header.framing
    order = old.order if old.size > 1 else _by_zeros(header, old.at)
    at, size = header.widened(old.at, old.at + old.size - 1, order, widest=4)
    framing = Framing(at, size, order, old.unit, old.add)
    unit = "" if old.unit == 1 else f" * {old.unit}"
    evidence = f"frame = length{unit} + {old.add} cuts the streams to their ends"
    header.put("length", at, size, "length", 0.99, evidence, order=order)
    return framing


def _end(header: _Header, codes: Int64s, trailer: int) -> tuple[int, str | None]:
    """Where the header ends, and what would decide that, if something has to."""
    heads, framing = header.heads, header.framing
    most = min(heads.shortest - trailer, heads.width)
    sure = (found for found in header.fields if found["role"] != "enum" and found["at"] >= 0)
    least = max(framing.at + framing.size, *(found["at"] + found["size"] for found in sure))
    counted = [size for size in (framing.add - trailer, framing.add) if least <= size <= most]
    if framing.unit == 1 and framing.add != framing.at + framing.size and counted:
        # A length that counts the body, and the trailer or not: a message without a body tells.
        return (most if most in counted else counted[0]), None
    if least >= most:
        return most, None
    least_rows = heads.size == heads.shortest
    for column in range(max(least, most - framing.unit + 1), most):
        # Zeros that fill a frame up to its unit are no header.
        if heads.distinct[column] > 1 and not heads.cells[least_rows, column].any():
            most = column
            break
    natures = [_nature(header, codes, column) if not header.taken[column] else "enum" for column in range(least, most)]
    if "unknown" not in natures:
        return most, None
    # A body may begin with what is the same in all messages, but seldom does; headers end at even places.
    end = least + natures.index("unknown")
    return max(least, end - end % 2), "a message without a body would tell where the header ends"


def _leftovers(header: _Header, codes: Int64s, end: int) -> None:
    """Flags, constants, and what nothing explains."""
    heads = header.heads
    column = 0
    while column < end:
        if header.taken[column]:
            column += 1
            continue
        last = column
        alike = _nature(header, codes, column)
        while last + 1 < end and not header.taken[last + 1] and _nature(header, codes, last + 1) == alike:
            last += 1
        if alike == "padding":
            header.put(f"reserved_{column}", column, last - column + 1, "padding", 0.9, "0 in all frames", type="pad")
        elif alike == "constant":
            value = heads.cells[0, column : last + 1].tobytes()
            evidence = f"{value.hex()} in all {len(heads)} frames"
            header.put(f"constant_{column}", column, last - column + 1, "constant", 0.95, evidence)
        elif alike == "enum":
            _flags(header, column, last)
        elif alike == "session":
            header.put(f"session_{column}", column, last - column + 1, "number", 0.5, "the same in all of a session")
        else:
            evidence = f"{heads.distinct[column]} values, and nothing that explains them"
            header.put(f"unknown_{column}", column, last - column + 1, "unknown", 0.2, evidence)
        column = last + 1


def _nature(header: _Header, codes: Int64s, column: int) -> str:
    heads = header.heads
    if heads.distinct[column] == 1:
        return "constant" if heads.cells[0, column] else "padding"
    if heads.of_session[column]:
        return "session"
    return "enum" if _follows(codes, heads.cells[:, column].astype(np.int64)) else "unknown"


def _flags(header: _Header, first: int, last: int) -> None:
    """Each byte is one of its own, but where they vary side by side at an even place: then two are one."""
    evidence = "follows from which message it is"
    column = first
    while column <= last:
        at, size = column, 2 if column % 2 == 0 and column < last else 1
        name = "flags" if not any(found["name"] == "flags" for found in header.fields) else f"flags_{column}"
        header.put(name, at, size, "enum", 0.85, evidence)
        column = at + size


def find_header(heads: Heads, framing: Framing, checksums: Sequence[Field] = (), trailer: int = 0) -> HeaderFound:
    """The header of frames that were cut. checksums: fields of it that are known already. trailer: its bytes."""
    votes: Counter[Order] = Counter()
    if framing.size > 1:
        votes[framing.order] += 3
    trial = _Header(heads, framing, checksums, heads.shortest - trailer, None)
    _numbers(trial)
    _length(trial)
    votes += trial.votes
    order: Order = "little" if votes["little"] > votes["big"] else "big"
    header = _Header(heads, framing, checksums, heads.shortest - trailer, order)
    transaction = _numbers(header)
    header.framing = _length(header)
    codes, numbers = _messages(header, transaction)
    _enumerations(header, codes)
    end, doubt = _end(header, codes, trailer)
    header.fields = [found for found in header.fields if found["at"] < end]
    _leftovers(header, codes, end)
    header.fields.sort(key=lambda found: int(found["at"]))
    for found in header.fields:
        if found.get("order") == order or found["size"] == 1:
            found.pop("order", None)
    rows = np.stack([heads.of_client.astype(np.int64), numbers], 1)
    found_ids, kind = np.unique(rows, axis=0, return_inverse=True)
    ids = [(bool(side), int(number)) for side, number in found_ids.tolist()]
    doubts = [] if doubt is None else [doubt]
    return HeaderFound(end, order, header.fields, header.framing, kind.reshape(-1), ids, transaction, doubts)


def _numbers(header: _Header) -> Field | None:
    """What numbers frames, clocks, and the transaction, which is given back."""
    heads = header.heads
    _sequences(header, _in_direction(heads), _NUMBERED, _OF_DIRECTION)
    # Frames of both sides that pass one another were captured in another order than they were numbered in.
    _sequences(header, _in_session(heads), 0.75, "of its session")
    while (clock := find_clock(heads, header.end, header.free, header.order)) is not None:
        header.votes[clock.order] += 3
        header.put("time", clock.at, clock.size, "timestamp", 0.9, clock.evidence(), order=clock.order)
    return _transaction(header)


def _messages(header: _Header, transaction: Field | None) -> tuple[Int64s, Int64s]:
    """Which message each row's is, apart by direction, and its id."""
    heads = header.heads
    columns = _kinds(header)
    codes = heads.of_client.astype(np.int64)
    for column in columns:
        codes = np.unique(codes * 256 + heads.cells[:, column], return_inverse=True)[1].astype(np.int64)
    _sequences(header, _in_kind(heads, codes), _NUMBERED, "of its kind")
    columns = _with_groups(header, columns, codes, transaction)
    numbers = np.zeros(len(heads), np.int64)
    parts = _message_ids(header, columns)
    for at, size, order in parts:
        numbers = (numbers << 8 * size) | heads.number(at, size, order)
    names = ["msg_id"] if len(parts) == 1 else ["msg_type", "msg_subtype", *(f"msg_part_{i}" for i in range(2, 9))]
    for name, (at, size, order) in zip(names, parts, strict=False):
        evidence = f"{int(codes.max()) + 1} kinds of frames, which all else in the header follows from"
        header.put(name, at, size, "msg_id", 0.9, evidence, order=order)
    return codes, numbers


def _with_groups(header: _Header, columns: list[int], codes: Int64s, transaction: Field | None) -> list[int]:
    """The columns of an id, with that of its high byte where this is beside it and is no flags.

    Flags tell requests, responses and notifications apart, and no more.
    """
    heads = header.heads
    if len(columns) != 1:
        return columns
    column = columns[0]
    other = column - 1 if header.order == "big" else column + 1
    if min(column, other) % 2 or not header.free(other) or heads.distinct[other] < 3:
        return columns
    if not _follows(codes, heads.cells[:, other].astype(np.int64)):
        return columns
    asked = np.zeros(len(heads), np.int64)
    if transaction is not None:
        asked = (heads.number(transaction["at"], transaction["size"], "big") != 0).astype(np.int64)
    role = heads.of_client.astype(np.int64) * 2 + asked
    return columns if _follows(role, heads.cells[:, other].astype(np.int64)) else sorted([column, other])


def _enumerations(header: _Header, codes: Int64s) -> None:
    """Flags, as far as the header goes for certain, and up to where something else begins."""
    heads = header.heads
    column = 0
    while column < header.end:
        if not header.free(column) or heads.distinct[column] == 1 or _nature(header, codes, column) != "enum":
            column += 1
            continue
        last = column
        while header.free(last + 1) and _nature(header, codes, last + 1) == "enum":
            last += 1
        _flags(header, column, last)
        column = last + 1


_ORDERS: tuple[Order, Order] = ("big", "little")
_OF_DIRECTION = "of its direction"
