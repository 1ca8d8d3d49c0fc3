"""Shapes: where the parts of a body begin and end, without what is in them; and how a body is cut by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loadgen.infer.work import Work

__all__ = ["BodyShape", "ByteRun", "Cut", "ElementRun", "Gap", "Part", "Place", "Records", "cut", "fits"]

# Of a body: the stretches that each part has. Of elements the type stands in front, of all others 0.
Cut = list[list[tuple[int, int, int]]]
MOST_PARTS = 4096


@dataclass(frozen=True, slots=True)
class Place:
    """An integer in the fixed part, or in a gap."""

    at: int
    size: int
    order: str
    unusual: bool = False  # not the order of the others
    part: int = 0  # 0: in the fixed part; else in the gap that is so-manieth of the parts, from 1

    def read(self, data: bytes, start: int) -> int:
        raw = data[start + self.at : start + self.at + self.size]
        return int.from_bytes(raw, "big" if self.order == "big" else "little")


@dataclass(frozen=True, slots=True)
class ByteRun:
    """Bytes of a length that a field tells, or all that are left."""

    length: Place | None


@dataclass(frozen=True, slots=True)
class Records:
    """As many as a field tells, or to the end; each of a stride, or as long as its own shape has it. The field counts
    parts of a record, of which each has `of`.
    """

    count: Place | None
    stride: int | None
    shape: BodyShape | None = None
    of: int = 1


@dataclass(frozen=True, slots=True)
class ElementRun:
    """Type, length, value, to the end."""

    type_size: int
    length_size: int
    order: str
    length_order: str
    whole: bool  # the length counts type and length too


@dataclass(frozen=True, slots=True)
class Gap:
    """Bytes of a fixed number between other parts: fields of their own, such as the length of what follows."""

    size: int


Part = ByteRun | Records | ElementRun | Gap


@dataclass(frozen=True, slots=True)
class BodyShape:
    fixed: int
    parts: tuple[Part, ...] = ()
    align: int = 1  # zeros at the end, up to a multiple
    phase: int = 0  # and so many bytes


def cut(shape: BodyShape, data: bytes, start: int, end: int, *, whole: bool = True) -> tuple[int, Cut] | None:
    """Where the shape ends and what its parts have; None if it does not fit. `whole`: it has to end at `end`."""
    at = start + shape.fixed
    if at > end:
        return None
    found: Cut = []
    starts = [start]
    for part in shape.parts:
        starts.append(at)
        stretches: list[tuple[int, int, int]] = []
        if isinstance(part, ByteRun):
            stop = end if part.length is None else at + part.length.read(data, starts[part.length.part])
            if stop > end:
                return None
            if stop > at:
                stretches.append((0, at, stop))
            at = stop
        elif isinstance(part, Records):
            counting = start if part.count is None else starts[part.count.part]
            stop = _records(part, data, counting, at, end, stretches)
            if stop < 0:
                return None
            at = stop
        elif isinstance(part, Gap):
            if at + part.size > end:
                return None
            stretches.append((0, at, at + part.size))
            at += part.size
        else:
            if not _elements(part, data, at, end, stretches):
                return None
            at = end
        found.append(stretches)
    if shape.align > 1:
        padded = at + (start + shape.phase - at) % shape.align
        if padded > end or any(data[at:padded]):
            return None
        at = padded
    return (at, found) if at == end or not whole else None


def _records(part: Records, data: bytes, start: int, at: int, end: int, stretches: list[tuple[int, int, int]]) -> int:
    count, left = (MOST_PARTS, 0) if part.count is None else divmod(part.count.read(data, start), part.of)
    if left or count > MOST_PARTS or (part.count is not None and count > end - at):
        return -1
    for _ in range(count):
        if part.count is None and at == end:
            break
        if part.stride is not None:
            stop = at + part.stride
        else:
            assert part.shape is not None
            record = cut(part.shape, data, at, end, whole=False)
            stop = at if record is None else record[0]
        if stop > end or stop <= at:
            return -1
        stretches.append((0, at, stop))
        at = stop
    return at


def _elements(part: ElementRun, data: bytes, at: int, end: int, stretches: list[tuple[int, int, int]]) -> bool:
    head = part.type_size + part.length_size
    order: str = part.order
    while at < end:
        value = at + head
        if value > end or len(stretches) >= MOST_PARTS:
            return False
        kind = int.from_bytes(data[at : at + part.type_size], "big" if order == "big" else "little")
        raw = data[at + part.type_size : value]
        length = int.from_bytes(raw, "big" if part.length_order == "big" else "little") - (head if part.whole else 0)
        if length < 0 or value + length > end:
            return False
        stretches.append((kind, value, value + length))
        at = value + length
    return True


def fits(shape: BodyShape, bodies: Sequence[bytes], work: Work) -> bool:
    """Whether every body is cut from end to end, and there is more work to be done behind that."""
    for body in bodies:
        found = cut(shape, body, 0, len(body))
        if not work.spend(2 if found is None else 2 + sum(map(len, found[1]))) or found is None:
            return False
    return True
