"""The fields of the header: what each of its bytes does from frame to frame, whatever the frame is about.

In this order: what numbers frames, what answers have of what was asked, clocks, and of what is left the bytes that tell
messages apart; what follows from those is flags, what never changes is constant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from loadgen.infer.clocks import find_clock, find_fraction
from loadgen.infer.columns import CERTAIN, ORDERS, Field, HeadColumns, columns_of, follows_from
from loadgen.infer.framing import FrameCut, Order
from loadgen.infer.heads import Heads, Int64s
from loadgen.infer.leftovers import nature_of, put_counters, put_flags, put_leftovers, sureness
from loadgen.infer.lengths import find_lengths
from loadgen.infer.numbering import (
    NUMBERED,
    OF_DIRECTION,
    OF_KIND,
    OF_SESSION,
    answered_kinds,
    find_answered,
    find_sequence,
    in_direction,
    in_kind,
    in_session,
    is_of_a_body,
    is_of_kind,
    put_transaction,
    stays_in_kinds,
)
from loadgen.infer.opaque import opaque_columns
from loadgen.infer.orders import addresses_of_bodies, bits_of_bodies
from loadgen.infer.senders import find_ends, find_sender
from loadgen.infer.telling import id_columns
from loadgen.infer.transactions import is_by_the_way, is_said_again
from loadgen.infer.walks import elements_begin

__all__ = ["HeaderFound", "find_header"]

# Bits of bodies that a vote of the header for a byte order is worth.
_VOTE = 2.0
# With fewer bits than these between them, the other byte order fits as well.
_SURE = 10.0
# Bits of bodies that are needed for a header to end with a zero more than seemed likely, or by so many bytes before.
_EVEN, _SHORTER = 8.0, 8
# Bytes behind the last of them that are compared.
_COMPARED = 48
# Bits that say of a byte that is the same in all of a kind that it is the header's: of a kind that came often, 1.
_FEW_ALIKE = 0.3
_MANY_ALIKE = 8
# Bits that are needed where it says no more than who asks and who answers, and else.
_ALIKE_FLAGS, _ALIKE = 1.5, 5.0
# A header is read again without what turned out to be no number of its own so often.
_READINGS = 4
# Roles of fields that have no byte order.
_NO_NUMBERS = frozenset({"constant", "padding", "unknown", "mac", "ipv4"})


@dataclass(slots=True)
class HeaderFound:
    size: int
    order: Order
    fields: list[Field]
    framing: FrameCut  # with the length as wide as it is taken to be
    kind: Int64s  # of each row: number of its message among `ids`
    ids: list[tuple[bool, int]]  # (of the client, message id)
    transaction: Field | None = None
    doubts: list[str] = field(default_factory=list)  # what would decide what


def _message_ids(header: HeadColumns, columns: list[int]) -> list[tuple[int, int, Order]]:
    """Fields that the columns of an id belong to: (at, size, order)."""
    found: list[tuple[int, int, Order]] = []
    left = list(columns)
    while left:
        first = last = left.pop(0)
        if left and left[0] == first + 1 and not _are_two(header, first, last + 1):
            last = left.pop(0)
            if left and left[0] == last + 1 and _is_high_bit(header, first if header.order == "big" else last + 1):
                last = left.pop(0)
        order = header.by_zeros(first) if first == last else header.order or "big"
        at, size = (first, 3) if last - first == 2 else header.widened(first, last, order, widest=4)
        if size == 1 and _is_of_a_vendor(header, at, order):
            at, size = (at - 3 if order == "big" else at), 4
        if size == 4 and last - first < 2 and at % 4 and (last == first or _is_reserved(header, at, order)):
            at, size = header.widened(first, last, order, widest=2)
        for column in range(at, at + size):
            header.taken[column] = True
        left = [column for column in left if not at <= column < at + size]
        found.append((at, size, order))
    return found


def _is_high_bit(header: HeadColumns, column: int) -> bool:
    """Whether nothing but a byte's highest bit changes: vendors' numbers have it, beside those of everybody."""
    return set(np.unique(header.heads.cells[:, column]).tolist()) == {0, 0x80}


def _is_of_a_vendor(header: HeadColumns, at: int, order: Order) -> bool:
    """Whether the id is the lowest byte of an aligned number whose middle ones are a vendor's: two that are constant at
    an odd place are no number of their own."""
    begins = at - 3 if order == "big" else at
    others = [column for column in range(begins, begins + 4) if column != at]
    if begins % 4 or not all(header.free(column) and header.heads.distinct[column] == 1 for column in others):
        return False
    highest, *middle = others if order == "big" else others[::-1]
    cells = header.heads.cells[0]
    return bool(not cells[highest] and cells[middle].all())


def _is_reserved(header: HeadColumns, at: int, order: Order) -> bool:
    """Whether there are more zeros than a field of four bytes at that place needs: then they may as well be no part."""
    beyond = at - 1 if order == "big" else at + 4
    return header.free(beyond) and header.heads.is_zero(beyond)


def _are_two(header: HeadColumns, first: int, last: int) -> bool:
    """Whether two bytes of an id side by side are a type and a subtype: a number's high byte has the fewer values."""
    high, low = (first, last) if header.order == "big" else (last, first)
    return header.heads.distinct[high] > header.heads.distinct[low]


def _length(header: HeadColumns) -> FrameCut:
    """The length, as wide as it is taken to be."""
    old = header.framing
    order = old.order if old.size > 1 else header.by_zeros(old.at)
    # Two bytes of zeros at the side of its high bytes are these far more often than something that is reserved.
    at, size = header.widened(old.at, old.at + old.size - 1, order, widest=4, packed=True)
    framing = FrameCut(at, size, order, old.unit, old.add)
    unit = "" if old.unit == 1 else f" * {old.unit}"
    evidence = f"frame = length{unit} + {old.add} cuts the streams to their ends"
    header.put("length", at, size, "length", 0.99, evidence, order=order)
    return framing


def _least(header: HeadColumns) -> int:
    """Where the last field ends that is the header's for certain."""
    sure = (found for found in header.fields if found["role"] != "enum" and found["at"] >= 0)
    return int(max(header.framing.at + header.framing.size, *(found["at"] + found["size"] for found in sure)))


def _end(
    header: HeadColumns, codes: Int64s, trailer: int, most: int, transaction: Field | None
) -> tuple[int, str | None]:
    """Where the header ends, which is no longer than `most`, and what would decide that, if something has to."""
    heads, framing = header.heads, header.framing
    most = min(most, heads.width)
    least = _least(header)
    counted = [size for size in (framing.add - trailer, framing.add) if least <= size <= most]
    if framing.unit == 1 and framing.add != framing.at + framing.size and counted:
        # A length that counts the body, and the trailer or not: a message without a body tells.
        same = all(heads.distinct[column] == 1 for column in range(min(counted), min(max(counted), heads.width)))
        return (most if most in counted else max(counted) if same else min(counted)), None
    if least >= most:
        return most, None
    least_rows = heads.size == heads.shortest
    for column in range(max(least, most - framing.unit + 1), most):
        # Zeros that fill a frame up to its unit are no header.
        if heads.distinct[column] > 1 and not heads.cells[least_rows, column].any():
            most = column
            break
    natures = [
        nature_of(header, codes, column) if not header.taken[column] else "enum" for column in range(least, most)
    ]
    parts = _parts_played(header, codes, transaction)
    for number, nature in enumerate(natures):
        if nature == "enum" and not _is_told_by_kinds(header, codes, parts, least + number):
            natures[number] = "unknown"
    if "unknown" not in natures:
        return most, None
    # A body may begin with what is the same in all messages, but seldom does; headers end at even places.
    known = natures.index("unknown")
    end = least + known
    if known and end % 2 and natures[known - 1] == "padding" and not header.packed:
        end -= 1
    return end, "a message without a body would tell where the header ends"


def _parts_played(header: HeadColumns, codes: Int64s, transaction: Field | None) -> list[Int64s]:
    """Of each row who says it, and whether it asks or answers something: as the transaction has it, and as who follows
    whom has it."""
    heads = header.heads
    side = heads.of_client.astype(np.int64)
    parts = []
    if transaction is not None:
        asked = heads.number(transaction["at"], transaction["size"], "big") != 0
        parts.append(side * 2 + asked)
    answers = answered_kinds(heads, codes)
    role = np.zeros(int(codes.max()) + 1, np.int64)
    role[[*answers]], role[[*answers.values()]] = 1, 2
    parts.append(side * 3 + role[codes])
    return parts


def _is_told_by_kinds(header: HeadColumns, codes: Int64s, parts: Sequence[Int64s], column: int) -> bool:
    """Whether a column that follows from the message is no byte of bodies that happen to be alike in this capture.

    A kind that came a few times may well have the same body each time; one that came often has so less often.
    """
    counts = np.bincount(codes)
    told = _FEW_ALIKE * ((counts > 1) & (counts < _MANY_ALIKE)).sum() + (counts >= _MANY_ALIKE).sum()
    flags = any(follows_from(part, header.heads.cells[:, column].astype(np.int64)) for part in parts)
    return bool(told >= (_ALIKE_FLAGS if flags else _ALIKE))


@dataclass(slots=True)
class _HeaderReading:
    """The header as it is in one byte order."""

    header: HeadColumns
    transaction: Field | None
    codes: Int64s
    numbers: Int64s
    end: int
    doubt: str | None


def _is_no_transaction(header: HeadColumns, found: Field, codes: Int64s) -> bool:
    # What seemed to be answered was numbered kind by kind, or frame by frame: what is answered may lie elsewhere.
    is_sequence = found["role"] == "sequence" or is_by_the_way(header, found)
    return is_sequence or is_said_again(header, found) or is_of_a_body(header, found, codes)


def _read(
    trial: HeadColumns, checksums: Sequence[Field], trailer: int, order: Order, end: int, *, sure: bool
) -> _HeaderReading:
    """Args: sure: the header goes to `end` for certain."""
    heads, framing = trial.heads, trial.framing
    unanswered, unnumbered = set[int](), set[int]()
    for _ in range(_READINGS):
        header = HeadColumns(heads, framing, checksums, end, order, packed=trial.packed, trailer=trailer)
        header.unanswered, header.unnumbered = unanswered, unnumbered
        transaction = _numbers(header)
        header.framing = _length(header)
        find_sender(header)
        codes, numbers = _messages(header, transaction)
        not_numbers = columns_of(f for f in header.fields if stays_in_kinds(header, f, codes))
        not_answers = columns_of(f for f in (transaction,) if f and _is_no_transaction(header, f, codes))
        if not_numbers <= unnumbered and not_answers <= unanswered:
            break
        unanswered, unnumbered = unanswered | not_answers, unnumbered | not_numbers
    put_counters(header)
    _enumerations(header, codes)
    ended = (min(end, heads.width), None) if sure else _end(header, codes, trailer, end, transaction)
    return _HeaderReading(header, transaction, codes, numbers, *ended)


def _ended(reading: _HeaderReading, trailer: int) -> dict[Order, float]:
    """What bodies cost in each byte order. The header is made longer by a byte of zeros, where they cost less then, and
    shorter by what only follows from the message, where they cost less with that: the beginning of what is in all."""
    heads, end = reading.header.heads, reading.end
    bits = bits_of_bodies(heads, reading.codes, end, trailer)
    least = max(_least(reading.header), end - _SHORTER)
    if reading.doubt is not None and least <= end - end % 2 - 2:
        macs = addresses_of_bodies(heads, reading.codes, least, trailer)
        ends = (end, *range(end - end % 2 - 2, least - 1, -2))
        costs = {at: bits_of_bodies(heads, reading.codes, at, trailer, macs, end + _COMPARED) for at in ends}
        best = min(ends, key=lambda at: (min(costs[at].values()) + _EVEN * (at != end), -at))
        if best != end:
            reading.end = best
            return costs[best]
    if reading.doubt is None or end >= heads.shortest - trailer or end >= heads.width or not heads.is_zero(end):
        return bits
    beyond = bits_of_bodies(heads, reading.codes, end + 1, trailer, until=end + _COMPARED)
    # In the order that bodies have without it: a zero before a number makes it one of the other order as well.
    order = min(ORDERS, key=lambda order: bits[order])
    if beyond[order] + _EVEN > bits[order]:
        return bits
    reading.end = end + 1
    return beyond


def _finished(reading: _HeaderReading) -> list[Field]:
    """The fields of a header to its end, with what is left over between them."""
    header = reading.header
    header.fields = [found for found in header.fields if found["at"] < reading.end]
    put_leftovers(header, reading.codes, reading.end)
    return sorted(header.fields, key=lambda found: int(found["at"]))


def find_header(heads: Heads, framing: FrameCut, checksums: Sequence[Field] = (), trailer: int = 0) -> HeaderFound:
    """The header of frames that were cut. checksums: fields of it that are known already. trailer: its bytes."""
    votes: Counter[Order] = Counter()
    if framing.size > 1:
        votes[framing.order] += CERTAIN
    end = heads.shortest - trailer
    trial = HeadColumns(heads, framing, checksums, end, trailer=trailer)
    ends_there = False
    # A length that all frames have is the header's, and so is what lies in front of it.
    least = max([trial.least, *(found["at"] + found["size"] for found in find_lengths(trial))])
    if (elements := elements_begin(heads, least, trailer)) is not None:
        end, ends_there = elements
    trial = HeadColumns(heads, framing, checksums, end, trailer=trailer)
    _numbers(trial)
    _length(trial)
    votes += trial.votes
    order: Order = "little" if votes["little"] > votes["big"] else "big"
    reading = _read(trial, checksums, trailer, order, end, sure=ends_there)
    bits = _ended(reading, trailer)
    told = bits["big"] - bits["little"] + _VOTE * (votes["little"] - votes["big"])
    by_bodies: Order = "little" if told > 0 else "big"
    fields = _finished(reading)
    if by_bodies != order:
        again = _read(trial, checksums, trailer, by_bodies, end, sure=ends_there)
        _ended(again, trailer)
        others = _finished(again)
        # Where a number of the header has but one order, that may be the header's alone: with it, less is left over.
        certain = abs(votes["little"] - votes["big"]) >= CERTAIN
        if not certain or len(fields) >= len(others):
            reading, fields = again, others
    header, transaction, end = reading.header, reading.transaction, reading.end
    for found in fields:
        found.setdefault("order", header.order)
        if found["order"] == by_bodies or found["size"] == 1 or found["role"] in _NO_NUMBERS:
            del found["order"]
    rows = np.stack([heads.of_client.astype(np.int64), reading.numbers], 1)
    found_ids, kind = np.unique(rows, axis=0, return_inverse=True)
    ids = [(bool(side), int(number)) for side, number in found_ids.tolist()]
    doubts = [] if reading.doubt is None else [reading.doubt]
    if abs(told) < _SURE:
        other = "big" if by_bodies == "little" else "little"
        doubts.append(f"the byte order may be {other}-endian: a frame of more than 255 bytes would tell")
    if transaction is not None and transaction["role"] != "transaction":
        transaction = None
    return HeaderFound(end, by_bodies, fields, header.framing, kind.reshape(-1), ids, transaction, doubts)


def _numbers(header: HeadColumns) -> Field | None:
    """What numbers frames, clocks, and the transaction, which is given back."""
    heads = header.heads
    find_lengths(header)
    find_ends(header)
    while (clock := find_clock(heads, header.end, header.free, header.order)) is not None:
        header.votes[clock.order] += CERTAIN
        epoch = "unix" if clock.epoch else "session"
        more = {"order": clock.order, "unit": clock.unit, "epoch": epoch}
        header.put("time", clock.at, clock.size, "timestamp", 0.9, clock.evidence(), **more)
        if (parts := find_fraction(heads, clock, header.end, header.free)) is not None:
            at, order, unit = parts
            evidence = f"with the seconds at {clock.at} it advances as the capture does ({unit})"
            header.put("time_parts", at, 4, "timestamp", 0.9, evidence, order=order)
    answered, pairs = find_answered(header)
    if answered >= 0:
        header.taken[answered] = True
    find_sequence(header, in_direction(heads), NUMBERED, OF_DIRECTION)
    # Frames of both sides that pass one another were captured in another order than they were numbered in.
    find_sequence(header, in_session(heads), 0.75, OF_SESSION)
    transaction = None
    if answered >= 0:
        # What else belongs to it is told when sequences are known: they may lie beside it.
        header.taken[answered] = False
        transaction = put_transaction(header, answered, pairs)
    _opaque(header)
    return transaction


def _opaque(header: HeadColumns) -> None:
    """What may have any value in every frame, such as an authenticator."""
    opaque = opaque_columns(header.heads, header.least, header.end, header.trailer)
    column = header.least
    while column < header.end:
        last = column
        while last < header.end and opaque[last] and header.free(last):
            last += 1
        if last - column >= 4:
            evidence = "any value in every frame, whatever it is about"
            header.put(f"opaque_{column}", column, last - column, "unknown", 0.6, evidence)
        column = max(last, column + 1)


def _messages(header: HeadColumns, transaction: Field | None) -> tuple[Int64s, Int64s]:
    """Which message each row's is, apart by direction, and its id."""
    heads = header.heads
    columns = id_columns(header)
    codes = heads.of_client.astype(np.int64)
    for column in columns:
        codes = np.unique(codes * 256 + heads.cells[:, column], return_inverse=True)[1].astype(np.int64)
    find_sequence(header, in_kind(heads, codes), NUMBERED, OF_KIND)
    if transaction is not None and is_of_kind(header, transaction, codes):
        transaction |= {"name": "sequence", "role": "sequence", "evidence": "one more with each frame of its kind"}
    columns = _with_groups(header, columns, codes, transaction)
    numbers = np.zeros(len(heads), np.int64)
    parts = _message_ids(header, columns)
    for at, size, order in parts:
        numbers = (numbers << 8 * size) | heads.number(at, size, order)
    names = ["msg_id"] if len(parts) == 1 else ["msg_type", "msg_subtype", *(f"msg_part_{i}" for i in range(2, 9))]
    for name, (at, size, order) in zip(names, parts, strict=False):
        evidence = f"{int(codes.max()) + 1} kinds of frames, which all else in the header follows from"
        header.put(name, at, size, "msg_id", 0.9 * sureness(codes), evidence, order=order)
    return codes, numbers


def _with_groups(header: HeadColumns, columns: list[int], codes: Int64s, transaction: Field | None) -> list[int]:
    """The columns of an id, with that of its high byte, or of its type, where this is beside it and is no flags.

    Flags tell requests, responses and notifications apart, and no more.
    """
    heads = header.heads
    if len(columns) == 2 and columns[1] == columns[0] + 1 and not _are_two(header, *columns):
        high = columns[0] - 1 if header.order == "big" else columns[1] + 1
        return sorted([*columns, high]) if header.free(high) and _is_high_bit(header, high) else columns
    if len(columns) != 1:
        return columns
    column = columns[0]
    # Kinds count, and not how often each is said: a capability is told once, beside thousands of notifications.
    _, firsts = np.unique(codes, return_index=True)
    for other in (column - 1,) if header.order == "big" else (column + 1, column - 1):
        if not header.free(other) or heads.distinct[other] < 2:
            continue
        values = heads.cells[:, other].astype(np.int64)
        if not follows_from(codes, values):
            continue
        parts = [part[firsts] for part in _parts_played(header, codes, transaction)]
        told = [len(np.unique(np.stack([part, values[firsts]]), axis=1).T) == len(np.unique(part)) for part in parts]
        # No message has the number 0, but that of 256 has 0 in its lower byte.
        zero = heads.cells[firsts, column] == 0
        round_number = bool(zero.any() and values[firsts][zero].all())
        if _is_high_bit(header, other) or round_number or not any(told):
            return _with_groups(header, sorted([column, other]), codes, transaction)
    return columns


def _enumerations(header: HeadColumns, codes: Int64s) -> None:
    """Flags, as far as the header goes for certain, and up to where something else begins."""
    heads = header.heads
    column = 0
    while column < header.end:
        if not header.free(column) or heads.distinct[column] == 1 or nature_of(header, codes, column) != "enum":
            column += 1
            continue
        last = column
        while header.free(last + 1) and nature_of(header, codes, last + 1) == "enum":
            last += 1
        put_flags(header, codes, column, last)
        column = last + 1
