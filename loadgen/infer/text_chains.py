"""Records that each have a text whose length a number tells, found by their texts: from the end of one to the length of
the next it is equally far throughout a list, and a little more where a list within another list begins anew.

How lengths add up tells nothing of such bodies, as each record has a length of its own; and trying all strides is out
of reach where lists are within lists.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from loadgen.infer.shapes import BodyShape, ByteRun, Gap, Part, Place, Records, fits
from loadgen.infer.work import Work

__all__ = ["chains_of_texts"]

# Bodies that are looked at, their bytes together, and what each step of that costs.
_BODIES, _BYTES, _STEPS = 60, 60_000, 2
# Letters of a text, bytes between two, and of what stands before the first record.
_LEAST, _LONGEST, _APART, _HEAD = 3, 128, 96, 160
# Share of gaps that are those of a list, and of bodies that have to agree; all of them have to fit in the end.
_OFTEN, _AGREE = 0.3, 0.8
_RUN = re.compile(rb"[\x20-\x7e]{3,}")


@dataclass(frozen=True, slots=True)
class _Text:
    at: int  # of its length
    end: int


@dataclass(frozen=True, slots=True)
class _Width:
    """How the lengths of texts are told."""

    size: int
    order: str
    unusual: bool

    def place(self, at: int, part: int = 0) -> Place:
        return Place(at, self.size, self.order, self.unusual, part)


@dataclass(frozen=True, slots=True)
class _Lists:
    """A body's lists of records: where the first one begins, and how many records each has; between two of them are
    the bytes of another head."""

    begins: int
    counts: tuple[int, ...]
    between: frozenset[int]


def chains_of_texts(bodies: Sequence[bytes], order: str, work: Work) -> Iterator[BodyShape]:
    """Shapes of bodies that end with such records, also within records, and that a number counts or that go on to the
    end."""
    different = [*dict.fromkeys(bodies)]
    some: list[bytes] = []
    for body in different[:: max(1, len(different) // _BODIES)]:
        if sum(map(len, some)) < _BYTES:
            some.append(body)
    other = "little" if order == "big" else "big"
    for width in (_Width(1, order, False), _Width(2, order, False), _Width(2, other, True), _Width(4, order, False)):
        if not work.spend(_STEPS * sum(map(len, some))):
            return
        texts = [(body, found) for body in some if (found := _texts(body, width))]
        gaps = Counter(after.at - text.end for _, found in texts for text, after in pairwise(found))
        several = sum(gaps.values())
        if not several or len(texts) * 2 < len(some):
            continue
        for gap, times in gaps.most_common(2):
            if times >= _OFTEN * several and 0 <= gap <= _APART:
                for shape in _lists(texts, width, gap, order):
                    if fits(shape, bodies, work):
                        yield shape
                        return


def _texts(body: bytes, width: _Width) -> list[_Text]:
    """Texts with their lengths right before them, one behind another."""
    found: list[_Text] = []
    for run in _RUN.finditer(body):
        start = run.start()
        at = start - width.size
        if at < 0 or (found and at < found[-1].end):
            continue
        size = width.place(at).read(body, 0)
        if _LEAST <= size <= min(_LONGEST, run.end() - start) and _is_word(body[start : start + size]):
            found.append(_Text(at, start + size))
    return found


def _is_word(text: bytes) -> bool:
    return sum(chr(byte).isalnum() for byte in text) * 10 >= 6 * len(text)


def _lists(texts: Sequence[tuple[bytes, list[_Text]]], width: _Width, gap: int, order: str) -> Iterator[BodyShape]:
    """Args: gap: bytes from the end of a text to the length of the next one."""
    tail, times = Counter(len(body) - found[-1].end for body, found in texts).most_common(1)[0]
    if times < _AGREE * len(texts) or tail > gap:
        return
    before = gap - tail
    parts: tuple[Part, ...] = (ByteRun(width.place(before)), *([Gap(tail)] if tail else []))
    record = BodyShape(before + width.size, parts)
    lists = [(body, _lists_in(found, gap, before)) for body, found in texts if len(body) - found[-1].end == tail]
    heads = Counter(head for _, each in lists for head in each.between)
    if not heads or heads.most_common(1)[0][1] * 2 < len(lists) // 4:
        yield from _in_one([(body, each) for body, each in lists if not each.between], record, order)
        return
    head = heads.most_common(1)[0][0]
    yield from _in_several([(body, each) for body, each in lists if each.between <= {head}], record, head, order)


def _lists_in(texts: Sequence[_Text], gap: int, before: int) -> _Lists:
    """The last texts of a body that are as far from each other as records are, or further by one and the same."""
    counts = [1]
    between: set[int] = set()
    first = len(texts) - 1
    while first:
        apart = texts[first].at - texts[first - 1].end
        if apart == gap:
            counts[-1] += 1
        elif 0 < apart - gap <= _APART and between <= {apart - gap}:
            between.add(apart - gap)
            counts.append(1)
        else:
            break
        first -= 1
    return _Lists(texts[first].at - before, tuple(counts[::-1]), frozenset(between))


def _in_one(lists: Sequence[tuple[bytes, _Lists]], record: BodyShape, order: str) -> Iterator[BodyShape]:
    """One list, behind a fixed part, or behind one text and what follows it."""
    if sum(each.counts[-1] > 1 for _, each in lists) * 2 < len(lists) or not lists:
        return
    begins = Counter(each.begins for _, each in lists)
    if (most := begins.most_common(1)[0])[1] >= _AGREE * len(lists):
        begin = most[0]
        counts = [(body, 0, each.counts[-1]) for body, each in lists if each.begins == begin]
        for count in _counting(counts, begin, order):
            yield BodyShape(begin, (Records(count, None, record),))
        return
    shortest = min(begins)
    # As narrow as it can be: zeros in front of a number may be its own, and need not.
    for size in (1, 2):
        for place in (Place(at, size, order) for at in range(min(shortest, _HEAD))):
            run = place.at + size
            behind = Counter(each.begins - run - place.read(body, 0) for body, each in lists)
            rest, times = behind.most_common(1)[0]
            if times < _AGREE * len(lists) or not 0 <= rest <= _HEAD:
                continue
            told = [body[run : run + place.read(body, 0)] for body, _ in lists]
            if not all(32 <= byte < 127 for text in told for byte in text) or not any(
                map(_is_word, filter(None, told))
            ):
                continue
            counts = [(body, 0, each.counts[-1]) for body, each in lists]
            for count in _counting(counts, run, order):
                middle: tuple[Part, ...] = (ByteRun(place), *([Gap(rest)] if rest else []))
                yield BodyShape(run, (*middle, Records(count, None, record)))


def _in_several(lists: Sequence[tuple[bytes, _Lists]], record: BodyShape, head: int, order: str) -> Iterator[BodyShape]:
    """Lists within the records of another one, each behind a head of so many bytes."""
    begin, times = Counter(each.begins - head for _, each in lists).most_common(1)[0]
    if times < _AGREE * len(lists) or begin < 0:
        return
    lists = [(body, each) for body, each in lists if each.begins - head == begin]
    firsts = [(body, begin, each.counts[0]) for body, each in lists]
    for inner in _counting(firsts, head, order):
        if inner is None:
            continue
        outer = BodyShape(head, (Records(inner, None, record),))
        for count in _counting([(body, 0, len(each.counts)) for body, each in lists], begin, order):
            yield BodyShape(begin, (Records(count, None, outer),))


def _counting(counts: Sequence[tuple[bytes, int, int]], end: int, order: str) -> Iterator[Place | None]:
    """Numbers that tell how many records there are, nearest to them first, and none at last: they go on to the end.

    Args: counts: bodies, the first byte of what the number is in, and how many there are. end: of that part.
    """
    for at in range(end - 1, max(-1, end - _HEAD), -1):
        for size in (1, 2):
            place = Place(at, size, order)
            if at + size <= end and sum(place.read(body, begin) == n for body, begin, n in counts) >= _AGREE * len(
                counts
            ):
                yield place
                break
    yield None
