"""The native turn's C code under sanitizers: what it is brought and told, and what Python makes of the same.

Every difference, and whatever a sanitizer sees, is a finding.
"""

from __future__ import annotations

import select
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from fuzz_bytes import Bytes, joined
from fuzz_native_child import Answer, child, packed
from fuzz_profiles import CODECS

from loadgen.measure.histogram import HIGHEST_NS, bin_of
from loadgen.nmsp.bulk import NotifyReceiver, Scanned
from loadgen.nmsp.messages import EchoRequest
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.table import NOWHERE, NotifyTable, NumberPlace, table_of

RECORD_BYTES = 16384
_LINKS = 8
_WANT_READ = 2
STAMPED = ("sequence", "due", "sent")
_PLACES = ("length", "count", "sequence", "due", "sent", "subservice", "time")
_CARRIED = _PLACES[2:]
_START_NS = 10**12

# -- tables ------------------------------------------------------------------------------------------------------------


class Table(NamedTuple):
    """Attributes: profile: None of a table that no profile has; control: a frame that is no notification."""

    table: NotifyTable
    profile: WireProfile | None
    control: bytes


@cache
def _of_profiles() -> list[Table]:
    found = [(codec, table_of(codec.profile)) for codec in CODECS]
    return [Table(table, codec.profile, codec.encode(EchoRequest(), 7)) for codec, table in found if table is not None]


def _place(source: Bytes, room: int, widths: tuple[int, ...]) -> NumberPlace:
    width = widths[source.below(len(widths))]
    width = max(each for each in (1, width) if each <= room)
    flags = source.byte()
    return NumberPlace(source.number(2) % (room - width + 1), width, bool(flags & 1), bool(flags & 2))


def _wild(source: Bytes) -> Table:
    """Any that could be: places on top of each other, in the last bytes, of any width and sign."""
    fixed = (1 + source.below(64), 8192, RECORD_BYTES, RECORD_BYTES + 1)[max(0, source.below(16) - 12)]
    places = {name: _place(source, fixed, (1, 2, 4)) for name in _PLACES[:2]}  # no length has more in any profile
    carried = source.byte()
    for bit, name in enumerate(_CARRIED):
        places[name] = _place(source, fixed, (1, 2, 4, 8)) if carried >> bit & 1 else NOWHERE
    constants = []
    for _ in range(source.below(17)):
        place = _place(source, fixed, (1, 2, 4, 8))
        constants.append((place, source.number(1) - 128))
    reading, most = source.below(40), (0, 1, 3, 255, 65535, 1 << 40)[source.below(6)]
    added = source.below(256) - 128
    return Table(NotifyTable(places, constants, added, fixed, reading, most), None, b"control")


def _put(frame: bytearray, place: NumberPlace, value: int) -> None:
    if place.bytes:
        order = "little" if place.is_little else "big"
        frame[place.at : place.at + place.bytes] = (value % (1 << 8 * place.bytes)).to_bytes(place.bytes, order)


def _number(frame: bytes, place: NumberPlace) -> int:
    """As a column of int64 has it."""
    found = frame[place.at : place.at + place.bytes]
    value = int.from_bytes(found, "little" if place.is_little else "big", signed=place.is_signed)
    return _wrapped(value)


def _wrapped(value: int) -> int:
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


def _frame(table: NotifyTable, readings: int, numbers: dict[str, int]) -> bytes:
    frame = bytearray(b"\x5a" * (table.fixed + readings * table.reading))
    for name, value in numbers.items():
        _put(frame, table.places[name], value)
    for place, value in table.constants:
        _put(frame, place, value)
    _put(frame, table.places["length"], len(frame) - table.length_added)
    _put(frame, table.places["count"], readings)
    return bytes(frame)


def _taken(table: NotifyTable, record: bytes) -> dict[str, list[int]] | None:
    """Columns of what a record has, if that is whole notifications and nothing else; as native.h has it."""
    columns: dict[str, list[int]] = {name: [] for name in _CARRIED if table.places[name].bytes}
    at = found = 0
    while at < len(record):
        frame = record[at : at + table.fixed]
        if len(frame) < table.fixed:
            return None
        size = _number(frame, table.places["length"]) + table.length_added
        readings = _number(frame, table.places["count"])
        if not 0 <= readings <= table.most_readings or size != table.fixed + readings * table.reading:
            return None
        if size > len(record) - at or any(_number(frame, place) != value for place, value in table.constants):
            return None
        for name, column in columns.items():
            column.append(_number(frame, table.places[name]))
        found += 1
        at += size
    columns[""] = [0] * found
    return columns


def _check_python(profile: WireProfile, record: bytes, columns: dict[str, list[int]] | None) -> None:
    """What Python's way makes of a record is what is expected of the native turn."""
    receiver = NotifyReceiver(profile, len(record) + 1)
    receiver.view[: len(record)] = record
    found = receiver.scan_untrusted(0, len(record))
    is_plain = found == Scanned(len(record), found.notifications)
    assert is_plain == (columns is not None), (record, found)
    if columns is not None:
        theirs = receiver.columns()
        for name, column in zip(_CARRIED, theirs, strict=False):
            if name in columns:
                assert column is not None
                assert column.tolist() == columns[name]


# -- tallies -----------------------------------------------------------------------------------------------------------

BUCKETS = int(bin_of(np.array([HIGHEST_NS]))[0]) + 1


class Tally:
    """What the native turn counts of a stage, and what it must have counted."""

    def __init__(self, source: Bytes, now_ns: int) -> None:
        """Args: now_ns: since the epoch, at the beginning."""
        self.low_ns = now_ns - (0, 1_000, 10**9, 7200 * 10**9)[source.below(4)]
        self.high_ns = now_ns + (0, 1_000, 10**9, 7200 * 10**9)[source.below(4)]
        self.shift, self.slots = source.below(44), 1 + source.below(100)
        self.since_due: dict[int, int] = {}
        self.since_sent: dict[int, int] = {}
        self.waited: dict[int, int] = {}
        self.waits: dict[int, int] = {}
        self.count = self.latest_ns = 0

    def request(self) -> bytes:
        return packed(1, self.low_ns, self.high_ns, self.shift, self.slots, HIGHEST_NS, BUCKETS)

    def takes(self, due_ns: list[int], done_ns: int) -> bool:
        return (
            self.low_ns <= min(due_ns)
            and max(due_ns) < self.high_ns
            and all(0 <= done_ns - due <= HIGHEST_NS for due in due_ns)
            and (max(due_ns) - self.low_ns) >> self.shift < self.slots
        )

    def add(self, due_ns: list[int], sent_ns: list[int], done_ns: int) -> None:
        for times, found in ((due_ns, self.since_due), (sent_ns, self.since_sent)):
            for bucket in bin_of(done_ns - np.array(times, np.int64)).tolist():
                found[bucket] = found.get(bucket, 0) + 1
        for due in due_ns:
            slot = (due - self.low_ns) >> self.shift
            self.waited[slot] = self.waited.get(slot, 0) + 1
            self.waits[slot] = self.waits.get(slot, 0) + done_ns - due
        self.count += len(due_ns)
        self.latest_ns = max([self.latest_ns, *due_ns])

    def check(self, answer: Answer) -> None:
        for expected in (self.since_due, self.since_sent, self.waited, self.waits):
            found = [answer.numbers(2) for _ in range(answer.number())]
            assert found == [[at, expected[at]] for at in sorted(expected) if expected[at]]
        assert answer.numbers(2) == [self.count, self.latest_ns]


# -- receiving ---------------------------------------------------------------------------------------------------------


class Item(NamedTuple):
    """What a read of a link brings; or, if that is nothing, what SSL_read says, and SSL_get_error after it."""

    record: bytes
    result: int = 0
    error: int = 0


class Turn(NamedTuple):
    """What epoll says of each link, a bit for each that has gone before it is read, whether what it took is fetched."""

    events: list[int]
    gone: int
    fetches: bool


_MASKS = (0, select.EPOLLIN, select.EPOLLIN | select.EPOLLOUT, select.EPOLLOUT)
_SERVICES = (0, 1, 2, 61, 62, 63, 64, 127, 128, 255, 1 << 31, 1 << 63)
_RAW, _FRAMES, _JUMP, _CHANGED, _CUT, _MANY, _CONTROL, _NOTHING, _TURN = range(9)


def _first(byte: int) -> int:
    """The number that a stream begins with: one that goes round as 64 bits with a sign, or without, or soon."""
    return (1 << 63) - 3 if byte == 128 else byte * 0x0101_0101_0101_0101


class Reading:
    """A script for the receiving side, and what must come of it."""

    def __init__(self, source: Bytes) -> None:
        number = source.below(4)
        profiles = _of_profiles()
        made = profiles[number] if number < len(profiles) else _wild(source)
        self.table, self.profile, self._control = made
        self._sequence = [_first(source.byte()) for _ in range(2)] * (_LINKS // 2)
        fixed = self.table.fixed
        self.most_taken = RECORD_BYTES // fixed + source.below(64)
        self.buffer_bytes = RECORD_BYTES + source.number(2)
        self.most_chunks, self.most_ready = 1 + source.below(4), 1 + source.below(_LINKS)
        self.descriptors = 1 + source.below(_LINKS)
        self.ours = source.byte() ^ 0xFF
        self.step_ns = (0, 1, 1_000_003)[source.below(3)]
        self._to_unix_ns = source.number(1) << 50
        now_ns, stamps = _START_NS + self._to_unix_ns, [self.table.places[name].bytes for name in STAMPED]
        counts = source.below(4)
        self.tally = Tally(source, now_ns) if counts and all(stamps) else None
        self._ago_ns = (0, 1, 1_001, 10**6, 70 * 10**9)[source.below(5)]
        self._expected = self._sequence[::-1]  # by row
        self._granted = [source.number(1) | 1 << 62 for _ in range(2)] * (_LINKS // 2)
        self.items: list[list[Item]] = [[] for _ in range(_LINKS)]
        self.turns: list[Turn] = []
        while source:
            self._step(source)
        longest = max(map(len, self.items))
        self.turns += [Turn([select.EPOLLIN] * _LINKS, 0, fetches=False)] * (longest * -(-_LINKS // self.most_ready))

    def _step(self, source: Bytes) -> None:
        choice = source.byte()
        link, choice = choice >> 5, choice % 32 % 9
        if choice == _TURN:
            masks, more = source.number(2), source.byte()
            gone = 1 << (more >> 5) if more & 0x10 else 0
            self.turns.append(Turn([_MASKS[masks >> 2 * i & 3] for i in range(_LINKS)], gone, bool(more & 1)))
        elif choice == _NOTHING:
            self.items[link].append(Item(b"", -source.below(2), source.below(10)))
        elif record := self._record(source, link, choice)[:RECORD_BYTES]:
            self.items[link].append(Item(record))

    def _record(self, source: Bytes, link: int, choice: int) -> bytes:
        if choice == _RAW:
            return source.take(source.byte())
        if choice == _CONTROL:
            return self._frames(source, link, source.below(2)) + self._control + self._frames(source, link, 1)
        if choice == _MANY:
            some = self._frames(source, link, 8)
            whole = RECORD_BYTES - RECORD_BYTES % (len(some) // 8)  # of frames
            return (some * (1 + RECORD_BYTES // len(some)))[: (whole, RECORD_BYTES, whole - 1)[source.below(3)]]
        if choice == _JUMP:
            self._sequence[link] += source.below(256) - 128
        frames = self._frames(source, link, 1 + source.below(9))
        if choice == _CHANGED:
            changed = bytearray(frames)
            for _ in range(1 + source.below(4)):
                changed[source.number(2) % len(changed)] = source.byte()
            return bytes(changed)
        if choice == _CUT:
            at = source.number(2) % (len(frames) + 1)
            return frames[at:] if source.below(2) else frames[:at]
        return frames

    def _frames(self, source: Bytes, link: int, count: int) -> bytes:
        most = min(self.table.most_readings, 2 * RECORD_BYTES // max(1, self.table.reading))
        readings, service = source.below(256) % (most + 1), _SERVICES[source.below(len(_SERVICES))]
        found = b""
        for _ in range(count):
            if len(found) > RECORD_BYTES:
                break
            number = self._sequence[link]
            self._sequence[link] += 1
            due, sent = number * 3, number * 5
            if self.tally is not None:
                now_ns = _START_NS + self._to_unix_ns
                due, sent = (now_ns - number % each * self._ago_ns for each in (64, 7))
            numbers = dict(zip(_CARRIED, (number, due, sent, service, number * 7), strict=True))
            found += _frame(self.table, readings, numbers)
        return found

    def request(self, lies: int = 0) -> bytes:
        """Args: lies: how many more rows the columns are said to have than there is room for."""
        table = self.table
        parts: list[bytes] = [packed(ord("r"), _START_NS, self.step_ns)]
        parts += [packed(*table.places[name]) for name in _PLACES]
        parts.append(packed(table.length_added, table.fixed, table.reading, table.most_readings, len(table.constants)))
        parts += [packed(*place, value) for place, value in table.constants]
        words = [number for at, bits in table.alike for number in (at, _wrapped(bits))]
        parts.append(packed(len(table.alike), words, BUCKETS))
        parts.append(packed(0) if self.tally is None else self.tally.request())
        parts.append(packed(self._to_unix_ns, map(_wrapped, self._expected), self._granted))
        parts.append(packed(lies, self.buffer_bytes, self.most_taken, self.most_chunks, self.most_ready))
        parts.append(packed(self.descriptors))
        for link, items in enumerate(self.items):
            parts.append(packed(self.ours >> link & 1, len(items)))
            parts += [packed(len(item.record) or item.result, item.error, item.record) for item in items]
        parts.append(packed(len(self.turns)))
        parts += [packed(turn.events, turn.gone, int(turn.fetches)) for turn in self.turns]
        return b"".join(parts)

    # -- what came of it -----------------------------------------------------------------------------------------------

    def check(self, answer: Answer) -> None:
        failed: dict[int, int] = {}
        self._gone, self._reads = 0, 0
        self._came_ns: list[list[int]] = [[] for _ in range(_LINKS)]
        self._brought = 0
        expected = [_wrapped(number) for number in self._expected]
        last_due = [0] * _LINKS
        brought: list[list[tuple[int, object]]] = [[] for _ in range(_LINKS)]
        turns = iter(self.turns)
        while (event := chr(answer.number())) != "E":
            if event == "T":
                self._reads += 1
                self._came_ns[answer.number()].append(_START_NS + self._reads * self.step_ns)
            elif event == "W":
                self._check_wait(answer, next(turns), failed)
            elif event == "C":
                row, count, came_ns, first, in_order, services = answer.numbers(6)
                columns = {name: answer.numbers(count) for name in _CARRIED if self.table.places[name].bytes}
                self._check_chunk(columns, first, in_order, services)
                columns[""] = [0] * count
                brought[_LINKS - 1 - row].append((came_ns, columns))
            elif event == "R":
                link, came_ns, size = answer.numbers(3)
                brought[link].append((came_ns, answer.blob(size)))
            else:
                link, result = answer.numbers(2)
                assert link not in failed
                failed[link] = result
        assert next(turns, None) is None
        for link in range(_LINKS):
            row = _LINKS - 1 - link
            counted = self._check_link(link, brought[link], failed, answer.numbers(2), expected[row])
            expected[row], last_due[row] = counted
        assert answer.number() == self._brought
        if self.tally is None:
            assert answer.numbers(_LINKS) == [_wrapped(number) for number in self._expected]
        else:
            assert answer.numbers(_LINKS) == expected
        assert answer.numbers(_LINKS) == last_due
        if self.tally is not None:
            self.tally.check(answer)
        assert not answer

    def _is_ours(self, link: int) -> bool:
        return bool(self.ours >> link & 1) and link < self.descriptors

    def _check_wait(self, answer: Answer, turn: Turn, failed: dict[int, int]) -> None:
        mine = answer.column()
        others = [tuple(answer.numbers(2)) for _ in range(answer.number())]
        ready = {link: events for link, events in enumerate(turn.events) if events}
        assert len(mine) + len(others) == min(len(ready), self.most_ready)
        assert len({*mine, *(link for link, _ in others)}) == len(mine) + len(others)
        for link in mine:
            assert self._is_ours(link)
            assert link not in failed
            assert not self._gone >> link & 1
            assert ready[link] == select.EPOLLIN
        for link, events in others:
            assert ready[link] == events
            is_read_here = self._is_ours(link) and link not in failed and not self._gone >> link & 1
            assert events != select.EPOLLIN or not is_read_here
        self._gone |= turn.gone

    def _check_chunk(self, columns: dict[str, list[int]], first: int, in_order: int, services: int) -> None:
        follows = 1
        if numbers := columns.get("sequence"):
            assert first == numbers[0]
            follows = all(_wrapped(a + 1) == b for a, b in pairwise(numbers))
        assert in_order == follows
        told = 0
        for service in columns.get("subservice", [0]):
            told |= 1 << service if 0 <= service < 63 else -1
        assert services == told

    def _is_counted(self, row: int, columns: dict[str, list[int]], expected: int, done_ns: int) -> bool:
        if self.tally is None:
            return False
        numbers, services = columns["sequence"], columns.get("subservice", [0])
        return (
            numbers == [_wrapped(expected + index) for index in range(len(numbers))]
            and all(0 <= service < 63 and self._granted[row] >> service & 1 for service in services)
            and self.tally.takes(columns["due"], done_ns)
            and all(0 <= done_ns - sent <= HIGHEST_NS for sent in columns["sent"])
        )

    def _check_link(
        self, link: int, brought: list[tuple[int, object]], failed: dict[int, int], last: list[int], number: int
    ) -> tuple[int, int]:
        """Args: number: of the next one at first. Returns: it at last, and when the last one counted was due."""
        reads, heard_ns = last
        last_due, came_ns = 0, iter(self._came_ns[link])
        expected, has_failed = list[object](), False
        for index, item in enumerate(self.items[link][:reads]):
            if item.record:
                columns = _taken(self.table, item.record)
                if self.profile is not None:
                    _check_python(self.profile, item.record, columns)
                done_ns = next(came_ns) + self._to_unix_ns
                self._brought += 0 if columns is None else len(columns[""])
                if columns is not None and self._is_counted(_LINKS - 1 - link, columns, number, done_ns):
                    assert self.tally is not None
                    self.tally.add(columns["due"], columns["sent"], done_ns)
                    number, last_due = _wrapped(number + len(columns[""])), columns["due"][-1]
                    continue
                if columns is not None and self.tally is not None:
                    number = _wrapped(columns["sequence"][0] + len(columns[""]))
                expected.append(item.record if columns is None else columns)
            elif item.error != _WANT_READ:
                assert failed[link] == item.result
                assert index == reads - 1
                has_failed = True
        assert has_failed == (link in failed)
        if self.step_ns:  # otherwise they all came at once
            brought = sorted(brought, key=lambda each: each[0])
            assert [what for _, what in brought] == expected
        assert len(brought) == len(expected)
        assert heard_ns == max(self._came_ns[link], default=0)
        assert {came for came, _ in brought} <= {*self._came_ns[link]}
        is_read_to_its_end = self._is_ours(link) and not self._gone >> link & 1 and not has_failed
        assert reads == len(self.items[link]) or not is_read_to_its_end
        return number, last_due


def receiving(data: bytes) -> None:
    """What links bring, to a table of a profile's or to any: what is taken, what is handed back, and what has failed.

    Data: table, numbers to begin with, limits, who is read, then items for links and turns.
    """
    script = Reading(Bytes(data))
    script.check(child().ask(script.request()))


def _begin(
    table: bytes, *steps: bytes, taken: int = 0, chunks: int = 3, ready: int = 7, counts: int = 0, first: int = 1
) -> bytes:
    limits = joined(first, 9, taken, 0, 0, chunks, ready, 7, 0)
    return table + limits + joined(1, 3, counts, *([2, 2, 30, 50] if counts else []), 2, 255, 1, *steps)


def receiving_seeds() -> Iterator[bytes]:
    turn, all_ready = joined(_TURN, b"\x55\x55", 1), joined(_TURN, b"\x55\x55", 0)
    for number in range(2):
        table = joined(number)
        for link in (0, 1, 7):
            at = link << 5
            yield _begin(table, joined(at | _FRAMES, 5, 2, 0), turn)
            yield _begin(table, joined(at | _FRAMES, 5, 2, 0) * 2, turn, joined(at | _MANY, 1, 0, 0), counts=1)
            yield _begin(table, joined(at | _MANY, 3, 0, 3, 0, 0), all_ready, joined(at | _MANY, 0, 1, 0, 1, 1))
        yield _begin(table, joined(_JUMP, 100, 3, 1, 1), joined(_CHANGED, 3, 1, 0, 1, 2, 0, 3, 9, 0, 255))
        yield _begin(table, joined(_CUT, 3, 1, 0, 70, 0, 0), joined(_CUT, 3, 1, 0, 70, 0, 1), joined(_RAW, 3, b"abc"))
        yield _begin(table, joined(_CONTROL, 1, 1, 0, 1, 0), joined(_NOTHING, 1, 2), joined(_NOTHING, 1, 5))
        many = [joined(link << 5 | _FRAMES, 8, 1, 0) for link in range(8)]
        yield _begin(table, *many, all_ready, *many, chunks=0)
        yield _begin(table, *many, joined(_TURN, b"\x55\x55", 0x31), *many, counts=1)
        yield _begin(table, *many, *many, counts=1, first=128)
        yield _begin(table, *many, joined(_TURN, b"\xe4\x1b", 0), *many, taken=9, ready=2)
    for wild in (3, 30, 63):
        places = b"".join(joined(width, sign, at, 0) for width, sign, at in ((1, 0, 0), (0, 3, 2)))
        carried = b"".join(joined(3, 3, at, 0) for at in (3, 11, 19, 27, 35))
        table = joined(3, wild, 0) + places + joined(31) + carried + joined(1, 0, 0, wild, 0, 255, 4, 3, 128)
        changed = joined(_CHANGED, 0, 0, 0, 0, 2, 0, 200)
        yield _begin(table, joined(_FRAMES, 5, 2, 0), changed, joined(_MANY, 1, 0, 1, 0, 0), turn)


# -- counting ----------------------------------------------------------------------------------------------------------

_EDGES = (0, 1, 2047, 2048, 2049, 4095, 4096, HIGHEST_NS - 1, HIGHEST_NS, HIGHEST_NS + 1, -1, -(1 << 63), (1 << 63) - 1)


def counting(data: bytes) -> None:
    """Durations by bucket. Data: values, each as its width and so many bytes, or one of those at an edge."""
    source, values = Bytes(data), list[int]()
    while source:
        width = source.below(10)
        value = _EDGES[source.below(len(_EDGES))] if width == 9 else source.number(width)
        values.append(_wrapped(value))
    answer = child().ask(packed(ord("c"), HIGHEST_NS, BUCKETS, len(values), values))
    clamped, found = answer.number(), {}
    while answer:
        bucket, count = answer.numbers(2)
        found[bucket] = count
    column = np.array(values, np.int64)
    inside = np.clip(column, 0, HIGHEST_NS)
    expected = np.bincount(bin_of(inside), minlength=1)
    assert clamped == np.count_nonzero(inside != column)
    assert found == {bucket: int(expected[bucket]) for bucket in np.flatnonzero(expected).tolist()}


def counting_seeds() -> Iterator[bytes]:
    yield b"".join(joined(9, edge) for edge in range(len(_EDGES)))
    for width in range(1, 9):
        yield joined(width, b"\x80" * width, width, b"\xff" * width)
