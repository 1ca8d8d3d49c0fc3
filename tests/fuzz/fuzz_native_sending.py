"""The native turn's sending under sanitizers: to rows in any state, by any schedule, with writes that fail; and what it
has to write, by the ring, the schedule and what native.h says.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
from fuzz_bytes import Bytes, joined
from fuzz_native import BUCKETS, Tally
from fuzz_native_child import Answer, child, packed
from fuzz_profiles import CODECS
from nmsp_samples import reference_document

from loadgen.native.library import Stop
from loadgen.nmsp.messages import STAMPS
from loadgen.nmsp.profile import WireProfile, profile_untrusted
from loadgen.nmsp.ring import NotifyRing, Timing
from loadgen.nmsp.table import table_of
from loadgen.scenario.schedule import RateStage, Schedule
from loadgen.session.ledger import Ledger
from loadgen.units import NS_PER_MS
from loadgen.world.stations import make_stations

# As send.c has them.
_WRITES_PER_VISIT = 4
_MOST_AT_ONCE = 512

_START_NS = 10**12
_RATES = (0.0, 0.3, 1.0, 50.0, 400.0, 1e4, 1e5, 1e6)
_DURATIONS_NS = (NS_PER_MS, 77_777_777, 1_000 * NS_PER_MS, 60_000 * NS_PER_MS)
_DONE = (0, 1, 5, 77, 1000, 1 << 33)
_ENDS = (Ledger.NEVER, 0, 3, 100, 1 << 20)
# Stations, their lowest and highest number of readings, and the batch.
_RINGS = ((1, (0, 0), 1), (9, (0, 5), 7), (9, (0, 5), 400), (3, (1, 2), 512), (50, (0, 3), 40), (5, (2, 2), 1000))


# Types of sequence, due_ns and sent_ns, and the byte order of all.
_NARROW = (("u8", "u16", "u32", "big"), ("u32", "u8", "u16", "little"), ("u16", "u32", "u64", "big"))


def _narrow(*types: str) -> WireProfile:
    """The reference profile, whose numbers go round."""
    *widths, order = types
    document = reference_document() | {"byte_order": order}
    for field in document["messages"]["measurement_notify"]["fields"]:
        if field["name"] in STAMPS:
            field["type"] = widths[STAMPS.index(field["name"])]
    return profile_untrusted(document, "a narrow profile of the fuzz targets")


@cache
def _profiles() -> list[WireProfile]:
    narrow = [_narrow(*types) for types in _NARROW]
    return [codec.profile for codec in CODECS if codec.profile.notify_is_stamped] + narrow


@cache
def _ring(profile: int, shape: int) -> NotifyRing:
    count, readings, batch = _RINGS[shape]
    return NotifyRing(_profiles()[profile], make_stations(_profiles()[profile], 1, 0, count, readings, 0), batch)


class Call(NamedTuple):
    """Attributes: allowed: a bit for each row that may be written to again."""

    allowed: int
    positions: list[int]
    slots: int
    expired: int
    until_ns: int


class Row:
    """A subscriber, as the ledger has it."""

    def __init__(self, source: Bytes) -> None:
        self.done = _DONE[source.below(len(_DONE))] + source.below(40)
        self.sent = source.number(1) * 0x0101_0101
        self.behind = int(source.below(8) == 7)
        self.end = _ENDS[source.below(len(_ENDS))]
        self.is_allowed = False


class Sending:
    """A script for the sending side, and what must come of it."""

    def __init__(self, source: Bytes) -> None:
        profile = source.below(len(_profiles()))
        self._profile = _profiles()[profile]
        self._burst, workers = 1 + source.below(40), 1 + source.below(3)
        count = 1 + source.below(5)
        worker = source.below(workers)
        self._schedule = Schedule(self._stages(source), count * workers)
        self._members = range(worker, count * workers, workers)
        self._shapes = [source.below(len(_RINGS)) for _ in range(count)]
        self._rings = [_ring(profile, shape) for shape in self._shapes]
        self.rows = [Row(source) for _ in range(count)]
        # A WLC's row is any, each but once; or it has none, or several, and is Python's.
        order = sorted(range(count), key=lambda _: source.byte())
        self._row_of = [row if source.below(6) else -1 for row in order]
        self._most_noted = _WRITES_PER_VISIT * _MOST_AT_ONCE + source.below(1024)  # no less than a visit may write
        self._step_ns = (0, 1_000, NS_PER_MS)[source.below(3)]
        self._to_unix_ns = source.number(4) << 28
        self._epoch_ns = _START_NS + self._to_unix_ns
        self._tally = Tally(source, self._epoch_ns) if source.below(2) else None
        self._results = [1 - source.below(3) if source.below(4) == 0 else 1 for _ in range(source.below(40))]
        self._calls = []
        while source:
            self._calls.append(self._call(source, count))

    def _stages(self, source: Bytes) -> list[RateStage]:
        stages, start_ns, rate = [], 0, _RATES[source.below(len(_RATES))]
        for number in range(1 + source.below(4)):
            last, rate = rate, rate if source.below(2) else _RATES[source.below(len(_RATES))]
            lasts_ns = _DURATIONS_NS[source.below(len(_DURATIONS_NS))]
            stages.append(RateStage(f"{number}", start_ns, lasts_ns, last, rate))
            start_ns += lasts_ns
        return stages

    def _call(self, source: Bytes, count: int) -> Call:
        allowed = source.byte()
        positions = [each for each in range(count) if source.below(5)]
        at_ns = source.number(2) * NS_PER_MS
        slots = self._schedule.count_at(at_ns)
        expired = self._schedule.count_at(at_ns - source.number(1) * 10 * NS_PER_MS)
        return Call(allowed, positions, slots, expired, _START_NS + source.below(256) * NS_PER_MS // 10)

    def request(self, lies: int = 0) -> bytes:
        """Args: lies: how much room the columns of times are said to have beyond what they have."""
        table = table_of(self._profile)
        assert table is not None
        parts = [packed(ord("s"), _START_NS, self._step_ns)]
        parts += [packed(*table.places[name]) for name in ("sequence", "due", "sent")]
        stages = self._schedule.table()
        parts.append(packed(len(stages)))
        for *numbers, start_ns in stages:
            parts.append(packed(*map(float, numbers), start_ns))
        parts.append(packed(self._schedule.members, self._burst, self._epoch_ns, self._to_unix_ns, len(self._rings)))
        first = 0
        for ring, member, row in zip(self._rings, self._members, self._row_of, strict=True):
            frames = len(ring.offsets)
            parts.append(packed(len(ring.buffer), bytes(ring.buffer), first, ring.slots, frames, member, row))
            first += frames
        parts.append(packed(first))
        for name in ("offsets", "sizes"):
            parts += [packed(getattr(ring, name)) for ring in self._rings]
        parts.append(packed(len(self.rows)))
        parts += [packed(getattr(row, name) for row in self.rows) for name in ("done", "sent", "behind", "end")]
        parts += [packed(BUCKETS), packed(0) if self._tally is None else self._tally.request()]
        parts.append(packed(self._most_noted, lies, len(self._results), self._results, len(self._calls)))
        for call in self._calls:
            parts.append(packed(call.allowed, len(call.positions), call.positions, call.slots, call.expired))
            parts.append(packed(call.until_ns))
        return b"".join(parts)

    def most_at_once(self) -> int:
        """Notifications that are owed at a call, were none sent before it."""
        turns = [[self._schedule.turns(member, call.slots) for member in self._members] for call in self._calls]
        return self._burst * max(map(sum, turns), default=0)

    # -- what must come of it ------------------------------------------------------------------------------------------

    def check(self, answer: Answer) -> None:
        self._answer, self._now_ns, self._script = answer, _START_NS, iter(self._results)
        for call in self._calls:
            for number, row in enumerate(self.rows):
                row.is_allowed |= bool(call.allowed >> number & 1)
            self._check_call(call)
        assert chr(answer.number()) == "E"
        for name in ("done", "sent", "behind"):
            assert answer.column() == [getattr(row, name) for row in self.rows], name
        if self._tally is not None:
            self._tally.check(answer)
        assert not answer

    def _check_call(self, call: Call) -> None:
        self._left: list[int] = []
        self._again: list[int] = []
        self._forget()
        at, stop = 0, Stop.FULL
        while stop in (Stop.FULL, Stop.FAILED):
            stop = Stop.DONE
            while at < len(call.positions):
                stop = self._check_visit(call.positions[at], call)
                at += stop in (Stop.DONE, Stop.LATE)
                if stop is not Stop.DONE:
                    break
            assert chr(self._answer.number()) == "S"
            assert self._answer.numbers(2) == [stop, at]
            if stop is Stop.FAILED:
                at += 1
            assert self._answer.column() == self._due_ns
            assert self._answer.column() == self._sent_ns
            assert self._answer.numbers(3) == [self._notifications, self._bytes, self._writes]
            self._forget()
        assert chr(self._answer.number()) == "V"
        assert self._answer.column() == self._left
        assert self._answer.column() == self._again

    def _forget(self) -> None:
        self._due_ns: list[int] = []
        self._sent_ns: list[int] = []
        self._notifications = self._bytes = self._writes = 0

    def _note(self, due_ns: list[int], size: int, *, has_gone: bool) -> None:
        sent_ns = self._now_ns + self._to_unix_ns
        if has_gone and self._tally is not None and self._tally.takes(due_ns, sent_ns):
            self._tally.add(due_ns, [], sent_ns)
        else:
            self._due_ns += due_ns
            self._sent_ns += [sent_ns] * len(due_ns)
        self._notifications += len(due_ns)
        self._bytes += size
        self._writes += 1

    def _check_visit(self, position: int, call: Call) -> Stop:
        number, member = self._row_of[position], self._members[position]
        if number < 0:
            self._left.append(position)
            return Stop.DONE
        row, schedule = self.rows[number], self._schedule
        if not row.is_allowed:
            return Stop.DONE
        owed = min(schedule.turns(member, call.slots) * self._burst, row.end) - row.done
        if owed <= 0:
            row.behind = 0
            return Stop.DONE
        is_late = row.done < schedule.turns(member, call.expired) * self._burst
        if row.behind or (owed > self._burst and is_late):
            self._left.append(position)
            return Stop.DONE
        for _ in range(_WRITES_PER_VISIT):
            if len(self._due_ns) + _MOST_AT_ONCE > self._most_noted:
                return Stop.FULL
            self._now_ns += self._step_ns
            due_ns, size, result = self._check_write(position, owed)
            if result > 0 or result < 0:  # one that failed for want of room goes on by itself
                self._note(due_ns, size, has_gone=result > 0)
                row.done += len(due_ns)
                row.sent += len(due_ns)
            if result <= 0:
                row.behind = row.behind if result == 0 else 1
                row.is_allowed = False
                return Stop.FAILED
            owed -= len(due_ns)
            if owed <= 0:
                break
        if owed > 0:
            self._again.append(position)
        return Stop.LATE if self._now_ns > call.until_ns else Stop.DONE

    def _check_write(self, position: int, owed: int) -> tuple[list[int], int, int]:
        """Of the next write: when what is in it was due, its bytes, and what came of it."""
        number, member, ring = self._row_of[position], self._members[position], self._rings[position]
        row, wanted = self.rows[number], min(owed, _MOST_AT_ONCE)
        turns = (np.arange(wanted) + row.done) // self._burst
        due_ns = [self._epoch_ns + self._schedule.due_ns(self._schedule.slot(member, turn)) for turn in turns.tolist()]
        timing = Timing(np.array(due_ns, np.int64), self._now_ns + self._to_unix_ns)
        view, count = ring.patch(row.done, wanted, row.sent, timing)
        assert chr(self._answer.number()) == "W"
        result = next(self._script, 1)
        assert self._answer.numbers(3) == [number, result, len(view)]
        assert self._answer.blob(len(view)) == view
        return due_ns[:count], len(view), result


def sending(data: bytes) -> None:
    """What WLCs owe, and what is written of it.

    Data: profile, burst, workers, WLCs, schedule, rings, rows and whose they are, room, time, writes that fail, calls.
    """
    script = Sending(Bytes(data))
    script.check(child().ask(script.request()))


def sending_seeds() -> Iterator[bytes]:
    hold, ramp = joined(4, 0, 1, 2), joined(0, 1, 0, 4, 2, 1, 2)
    row = joined(0, 0, 3, 0, 0)
    calls = joined(0xFF, 1, 1, 1, 200, 0, 255, 255, 0xFF, 1, 1, 1, 0xE8, 3, 255, 255, 0xFF, 1, 1, 1, 0x70, 0x17, 9, 0)
    for number in range(len(_profiles())):
        for burst, stages, shape in ((0, hold, 0), (6, ramp, 1), (39, hold, 2), (2, ramp, 3), (39, hold, 5)):
            head = joined(number, burst, 1, 2, 0) + stages + joined(shape, shape, shape) + row * 3
            head += joined(1, 2, 0, 1, 2, 3)
            yield head + joined(0, 1, 1, 7, 7, 7, 7, 0, 0) + calls
            yield head + joined(0, 1, 2, 7, 7, 7, 7, 1, 2, 3, 30, 50, 0) + calls
            yield head + joined(255, 3, 0, 7, 7, 7, 7, 0, 8, 1, 1, 0, 2, 1, 1, 0, 1, 1, 1) + calls
