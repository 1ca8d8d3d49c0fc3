"""Measurement notifications in bulk, of layouts that are no tables: elements, several stations, checksums, times.

    AnyRing      as `ring.NotifyRing`; each frame has its places, and a send patches them, all frames at once
    AnyReceiver  as `bulk.NotifyReceiver`; frames are found one by one, and walked through side by side

Which of the two kinds a profile needs, `ring_of` and `receiver_of` know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from loadgen.errors import RemoteProtocolError
from loadgen.nmsp.bulk import MAX_WRITE_BYTES, Columns, Control, Int64s, Mark, NotifyReceiver, Scanned, Stations
from loadgen.nmsp.codec import Codec, Trace
from loadgen.nmsp.messages import STAMPS, Kind, MeasurementNotify, Message, StationsNotify
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.profile_document import MAX_NOTIFY_BYTES
from loadgen.nmsp.records import HeardStation, Reading
from loadgen.nmsp.ring import NotifyRing, SealedRing, Timing
from loadgen.nmsp.shapes import FrameShape, ShapeTable
from loadgen.nmsp.sums import FrameSums
from loadgen.nmsp.walk import READ, Numbers, Walked, Walker, types_of

_NOT_SEEN = -1
# Fewer frames of new shapes than this are read by the codec, one by one; of more, as many as this, so that their shapes
# are known the next time.
_FEW = 32
_LEARNED_AT_ONCE = 8


class AnyRing:
    """The notifications of one WLC as frames in one buffer, in the order in which its stations report.

    A notification is about as many stations as the layout has room for. Behind the last one the first ones come again,
    far enough that a batch never has to be cut where the ring closes.

    Attributes:
        slots: notifications in the ring.
        buffer: the frames. offsets, sizes: where each slot's frame begins in it, and how long it is.
    """

    def __init__(self, profile: WireProfile, stations: Stations, batch: int = 1) -> None:
        """Lay the frames out. Args: batch: how many notifications at least shall fit into one write (if they do)."""
        framing, layout = profile.framing, profile.layouts[Kind.MEASUREMENT_NOTIFY]
        frames, traces = _frames(profile, stations)
        self.slots = len(frames)
        who = np.arange(self.slots + batch - 1) % self.slots
        self.sizes = np.array([len(frame) for frame in frames], np.int64)[who]
        self._ends = np.cumsum(self.sizes)
        self.offsets = self._ends - self.sizes
        types = types_of(layout)
        self.buffer = bytearray(b"".join(frames[slot] for slot in who.tolist()))
        self._view = memoryview(self.buffer)
        self._numbers = Numbers(self.buffer, profile.order)
        self._places = {
            name: (kind, self.offsets + np.array([trace.places[name] for trace in traces], np.int64)[who])
            for name, kind in types.items()
            if name in (*STAMPS, "time")
        }
        self._time = layout.time
        self._checksum = framing.checksum
        if self._checksum is not None:
            offset = self._checksum.offset
            self._sum_at = (self.offsets if offset >= 0 else self._ends) + offset
            spans = zip(self.offsets.tolist(), self._ends.tolist(), strict=True)
            self._covered = [self._view[start:end][self._checksum.covered] for start, end in spans]

    def patch(
        self, cursor: int, wanted: int, sequence: int, timing: Timing, most_bytes: int = MAX_WRITE_BYTES
    ) -> tuple[memoryview, int]:
        """As `NotifyRing.patch`."""
        slot = cursor % self.slots
        start = int(self.offsets[slot])
        count = 1
        if wanted > 1:
            ends = self._ends[slot : slot + wanted]
            count = int(ends.searchsorted(start + most_bytes, "right"))
            if not count:
                return self._view[start:start], 0
        chosen, due_ns = slice(slot, slot + count), timing.due_ns
        due: int | Int64s = due_ns if isinstance(due_ns, int) else np.asarray(due_ns[:count], np.int64)
        for name, (kind, places) in self._places.items():
            if name == "sequence":
                value: int | Int64s = np.arange(sequence, sequence + count)
            elif name == "due_ns":
                value = due
            elif name == "sent_ns":
                value = timing.sent_ns
            elif name == "time" and self._time is not None:
                value = self._time.to_wire(
                    np.asarray(due, np.int64) - (timing.began_ns if self._time.since_began else 0)
                )
            else:
                continue
            self._numbers.write(kind, places[chosen], value)
        if self._checksum is not None:
            at, kind = self._sum_at[chosen], self._checksum.lie
            if self._checksum.covers_itself:
                self._numbers.write(kind, at, 0)
            self._numbers.write(kind, at, np.array([*map(self._checksum.of_bytes, self._covered[chosen])]))
        return self._view[start : int(self._ends[slot + count - 1])], count


def _frames(profile: WireProfile, stations: Stations) -> tuple[list[bytes], list[Trace]]:
    """A frame of each notification, with zeros for what varies; and where that is."""
    codec, readings_of = Codec(profile), _readings_of(profile, stations)
    told: list[HeardStation] = []
    for which, (mac, count) in enumerate(zip(stations.macs, stations.counts.tolist(), strict=True)):
        told.append(HeardStation(mac.tobytes(), readings_of(which, count)))
    messages: list[Message]
    common = {"subservice": stations.subservice}
    if profile.stations == 1:
        messages = [MeasurementNotify(station_mac=each.station_mac, readings=each.readings, **common) for each in told]
    else:
        groups = range(0, len(told), profile.stations)
        messages = [StationsNotify(tuple(told[first : first + profile.stations]), **common) for first in groups]
    traces = [Trace(profile.framing.head) for _ in messages]
    pairs = zip(messages, traces, strict=True)
    return [codec.encode(message, turn=slot, trace=trace) for slot, (message, trace) in enumerate(pairs)], traces


def _readings_of(profile: WireProfile, stations: Stations) -> Callable[[int, int], Any]:
    """What gives the first so many readings of a station; as bytes, where they lie in the table as on the wire."""
    names, table = profile.readings_dtype.names or (), stations.readings
    if profile.readings_lie_as_sent:
        filled = bytearray(table.tobytes())
        for name, value in profile.reading.constants.items():
            np.frombuffer(filled, table.dtype)[name] = value
        size, row_bytes, packed = table.itemsize, table.itemsize * table.shape[1], bytes(filled)
        return lambda which, count: tuple(
            packed[at : at + size] for at in range(which * row_bytes, which * row_bytes + count * size, size)
        )
    known = [(index, name) for index, name in enumerate(names) if name in Reading.__struct_fields__]
    rows = table.tolist()
    return lambda which, count: tuple(
        Reading(**{name: values[index] for index, name in known}) for values in rows[which][:count]
    )


class AnyReceiver:
    """One receive buffer, the frames in it, and the notifications among them as columns: as `NotifyReceiver`.

    A frame whose shape was seen before is compared with that. Of the others a few are read by the codec, which tells
    their shapes, and the rest are walked through side by side.
    """

    def __init__(self, profile: WireProfile, capacity: int) -> None:
        self._profile, self._framing = profile, profile.framing
        self._codec = Codec(profile)
        layout = profile.layouts[Kind.MEASUREMENT_NOTIFY]
        self._time = layout.time
        self._walker = Walker(layout, profile.order)
        self._shapes = ShapeTable(self._walker.types)
        self._header_skeleton = profile.framing.skeleton
        self.capacity = capacity
        self._buffer = bytearray(capacity + self._walker.beyond + profile.framing.head)
        self.view = memoryview(self._buffer)[:capacity]
        self._numbers = Numbers(self._buffer, profile.order)
        checksum = profile.framing.checksum
        self._sums = None if checksum is None else FrameSums(checksum, self._buffer)
        self._header = profile.header.struct
        self._length, self._length_at = profile.header.field_struct("length"), profile.header.offsets["length"]
        self._notify_id = profile.ids[Kind.MEASUREMENT_NOTIFY]
        self._found: list[Columns] = []
        self.notifications = 0

    @property
    def shapes_seen(self) -> int:
        """How many shapes of frames are kept."""
        return len(self._shapes)

    def reset(self) -> None:
        """Forget what was scanned; its columns were read."""
        self._found.clear()
        self.notifications = 0

    def mark(self) -> Mark:
        """The present state, for `rollback`."""
        return Mark(len(self._found), 0, self.notifications)

    def rollback(self, mark: Mark) -> None:
        """Forget the notifications scanned since `mark`: the session was not in a state to receive them."""
        del self._found[mark.runs :]
        self.notifications = mark.notifications

    def sweep_untrusted(self, starts: Sequence[int], ends: Sequence[int], wanted: Sequence[bool]) -> Int64s:
        """Take all wanted chunks `view[start:end]` that are nothing but whole notifications, in one go.

        Comes first after `reset()`, once. The other chunks, of which nothing was taken, are for `scan_untrusted`.

        Returns:
            How many notifications each chunk gave; 0 for the others.
        """
        if self._walker.is_short:
            return self._sweep_columns_untrusted(np.array(starts, np.int64), np.array(ends, np.int64), wanted)
        counts = np.zeros(len(starts), np.int64)
        frames = _Frames(self._shapes.before_all)
        for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
            if wanted[index]:
                before = len(frames.begin)
                self._frames_untrusted(start, end, frames)
                counts[index] = len(frames.begin) - before
                if counts[index] and frames.end[-1] != end:
                    counts[index] = 0
                    frames.forget(before)
        if frames.begin:
            good, columns = self._read(frames)
            if not good.all():
                which = np.repeat(np.arange(len(counts)), counts)
                counts[which[~good]] = 0
                columns = _only(columns, counts[which] > 0)
            if columns.notifications:
                self._add(columns)
        return counts

    def _sweep_columns_untrusted(self, begin: Int64s, end: Int64s, wanted: Sequence[bool]) -> Int64s:
        """The same of chunks whose frames are of one size each, where a walk takes few steps."""
        framing, numbers, length_at = self._framing, self._numbers, self._length_at
        lies = framing.header.lies
        # What is read of a chunk that is shorter than a header is refused with it.
        size = numbers.read(lies["length"], begin + length_at) * framing.unit + framing.added
        good = np.array(wanted, np.bool_) & (size >= framing.head + framing.foot) & (size <= framing.max_bytes)
        counts, rest = np.divmod(end - begin, np.where(good, size, 1))
        counts = np.where(good & (rest == 0), counts, 0)
        which = np.repeat(np.arange(len(counts)), counts)
        if not len(which):
            return counts
        sizes = size[which]
        at = begin[which] + (np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)) * sizes
        fine = numbers.read(lies["length"], at + length_at) * framing.unit + framing.added == sizes
        for name, value in framing.constants[Kind.MEASUREMENT_NOTIFY].items():
            fine &= numbers.read(lies[name], at + framing.header.offsets[name]) == value
        found = self._walker.walk(numbers, at + framing.head, at + sizes - framing.foot)
        fine &= found.good
        if self._sums is not None:
            taken = np.flatnonzero(counts)
            fine &= self._sums.are_right(begin[taken], size[taken], counts[taken])
        columns = self._columns(found.places, found.stations)
        if not fine.all():
            counts[which[~fine]] = 0
            columns = _only(columns, counts[which] > 0)
        if columns.notifications:
            self._add(columns)
        return counts

    def scan_untrusted(self, start: int, end: int) -> Scanned:
        """Find the frames in `view[start:end]`, in order, up to and including the first control frame.

        Faults are `garbage` (constant header fields differ), `oversized`, `malformed` and `checksum`.
        """
        frames = _Frames(self._shapes.before_all)
        stopped = self._frames_untrusted(start, end, frames)
        count, position = len(frames.begin), frames.end[-1] if frames.end else start
        if count:
            good, columns = self._read(frames)
            fault = None
            if not good.all():
                fault, columns = self._look_again(frames, good, columns)
            if columns.notifications:
                self._add(columns)
            if fault is not None:
                return Scanned(frames.begin[columns.notifications], columns.notifications, fault=fault)
        if isinstance(stopped, RemoteProtocolError):
            return Scanned(position, count, fault=stopped)
        if stopped is None:
            return Scanned(position, count)
        header, size = stopped
        framing = self._framing
        frame = self.view[position : position + size]
        try:
            number = framing.id_of(header)
            framing.check_untrusted(number, header, frame)
        except RemoteProtocolError as fault:
            return Scanned(position, count, fault=fault)
        body = frame[framing.head : size - framing.foot]
        return Scanned(position + size, count, Control(number, framing.transaction_of(header), body))

    def columns(self) -> Columns:
        """Everything swept and scanned since `reset()`, in order."""
        if len(self._found) == 1:
            return self._found[0]
        if not self._found:
            nothing = np.empty(0, np.int64)
            return self._columns(dict.fromkeys(self._walker.types, nothing), nothing)
        return Columns._make(
            None if columns[0] is None else np.concatenate(columns) for columns in zip(*self._found, strict=True)
        )

    def _add(self, columns: Columns) -> None:
        self._found.append(columns)
        self.notifications += columns.notifications

    def _frames_untrusted(
        self, start: int, end: int, frames: _Frames
    ) -> RemoteProtocolError | tuple[tuple[int, ...], int] | None:
        """Add the notifications that come first.

        Returns:
            What follows them: None, nothing or a frame that is not whole; a fault; or another message's header, and its
            frame's size.
        """
        framing, view, from_bytes = self._framing, self.view, int.from_bytes
        head, unit, added, length_at, length = framing.head, framing.unit, framing.added, self._length_at, self._length
        begin, stop, which, find = frames.begin, frames.end, frames.shape, self._shapes.find
        position, before = start, frames.last
        while end - position >= head:
            expected, shape = before.following, None
            size = expected.size  # which is in what is compared, too
            if position + size <= end:
                frame = from_bytes(view[position : position + size], "little")
                shape = expected if frame & expected.mask == expected.pattern else None
            if shape is None:
                size = length.unpack_from(view, position + length_at)[0] * unit + added
                if head <= size <= MAX_NOTIFY_BYTES and position + size <= end:
                    shape = find(from_bytes(view[position : position + size], "little"), size)
            if shape is not None:
                before.following = before = shape
                begin.append(position)
                which.append(shape.index)
                position += size
                stop.append(position)
                continue
            header = self._header.unpack_from(view, position)
            try:
                size = framing.size_untrusted(header)
            except RemoteProtocolError as fault:
                return fault
            if end - position < size:
                return None
            if framing.id_of(header) != self._notify_id:
                return header, size
            begin.append(position)
            which.append(_NOT_SEEN)
            position += size
            stop.append(position)
        frames.last = before
        return None

    def _read(self, frames: _Frames) -> tuple[NDArray[np.bool_], Columns]:
        """Which of the frames are good, and the columns of all of them."""
        begin, end = np.array(frames.begin, np.int64), np.array(frames.end, np.int64)
        good = np.ones(len(begin), np.bool_)
        new = [index for index, shape in enumerate(frames.shape) if shape == _NOT_SEEN]
        if new:
            self._learn(frames, new, good)
            new = [index for index in new if good[index] and frames.shape[index] == _NOT_SEEN]
        which = np.array(frames.shape, np.int64)
        if len(new) < len(begin):
            places, stations = self._shapes.places(np.where(which < 0, 0, which), begin)
        if new:
            chosen = np.array(new, np.int64)
            walked = self._walk(begin[chosen], end[chosen])
            if len(new) == len(begin):
                places, stations = walked.places, walked.stations
            else:
                stations[chosen] = walked.stations
                for name, column in places.items():
                    column[chosen] = walked.places[name]
            good[chosen] &= walked.good
        if self._sums is not None:
            good &= self._sums.are_right(begin, end - begin, np.ones(len(begin), np.int64))
        return good, self._columns(places, stations)

    def _learn(self, frames: _Frames, new: list[int], good: NDArray[np.bool_]) -> None:
        """Have the codec read some frames of shapes that are new; what it refuses is not good.

        All of them, where they are few: the walk costs as much for one as for a hundred.
        """
        framing, most = self._framing, len(new) if len(new) < _FEW else _LEARNED_AT_ONCE
        for index in new[:most]:
            frame = self.view[frames.begin[index] : frames.end[index]]
            seen = self._shapes.find(int.from_bytes(frame, "little"), len(frame))  # one before it in here
            if seen is not None:
                frames.shape[index] = seen.index
                continue
            if len(frame) > MAX_NOTIFY_BYTES or not self._shapes.learns(len(frame)):
                continue
            trace = Trace(framing.head)
            try:
                framing.check_constants_untrusted(Kind.MEASUREMENT_NOTIFY, self._header.unpack_from(frame))
                body = frame[framing.head : len(frame) - framing.foot]
                message = self._codec.decode_untrusted(self._notify_id, body, trace)
            except RemoteProtocolError:
                good[index] = False
                continue
            skeleton = [*self._header_skeleton, *trace.skeleton]
            shape = self._shapes.learn(frame, skeleton, trace.places, _stations_of(message))
            frames.shape[index] = shape.index

    def _walk(self, begin: Int64s, end: Int64s) -> Walked:
        framing, numbers = self._framing, self._numbers
        found = self._walker.walk(numbers, begin + framing.head, end - framing.foot)
        for name, value in framing.varied[Kind.MEASUREMENT_NOTIFY].items():
            record = framing.header
            found.good[:] &= numbers.read(record.lies[name], begin + record.offsets[name]) == value
        return found

    def _columns(self, places: dict[str, Int64s], stations: Int64s) -> Columns:
        values: dict[str, Int64s | None] = dict.fromkeys(READ)
        for name, kind in self._walker.types.items():
            at = places[name]
            absent = at < 0
            if absent.any():
                values[name] = np.where(absent, 0, self._numbers.read(kind, np.where(absent, 0, at)))
            else:
                values[name] = self._numbers.read(kind, at)
        subservice = values["subservice"]
        if subservice is None:
            subservice = np.zeros(len(stations), np.int64)
        sequence, due_ns, sent_ns = (values[name] for name in STAMPS)
        return Columns(sequence, due_ns, sent_ns, subservice, values["time"], stations)

    def _look_again(
        self, frames: _Frames, good: NDArray[np.bool_], columns: Columns
    ) -> tuple[RemoteProtocolError | None, Columns]:
        """Have the codec look at the frames that are not good; returns the first fault, and what came before it."""
        framing, filled = self._framing, [None if column is None else column.copy() for column in columns]
        for index in np.flatnonzero(~good).tolist():
            frame = self.view[frames.begin[index] : frames.end[index]]
            try:
                framing.check_untrusted(self._notify_id, self._header.unpack_from(frame), frame)
                body = frame[framing.head : len(frame) - framing.foot]
                message = self._codec.decode_untrusted(self._notify_id, body)
            except RemoteProtocolError as fault:
                return fault, _only(columns, slice(0, index))
            told: dict[str, int] = {name: getattr(message, name) for name in READ}
            if self._time is not None:
                told["time"] = self._time.to_wire(told["time"])
            told["stations"] = _stations_of(message)
            for name, column in zip((*READ, "stations"), filled, strict=True):
                if column is not None:
                    column[index] = told[name]
        return None, Columns._make(filled)


class _Frames:
    """Notifications that were found in the buffer.

    Attributes:
        begin, end: offsets of each. shape: index of its shape, or `_NOT_SEEN`.
        last: the shape of the last one that had been seen before.
    """

    __slots__ = ("begin", "end", "last", "shape")

    def __init__(self, last: FrameShape) -> None:
        self.begin: list[int] = []
        self.end: list[int] = []
        self.shape: list[int] = []
        self.last = last

    def forget(self, count: int) -> None:
        """All but so many."""
        del self.begin[count:], self.end[count:], self.shape[count:]


def _stations_of(message: Message) -> int:
    return len(message.stations) if isinstance(message, StationsNotify) else 1


def _only(columns: Columns, chosen: slice | NDArray[np.bool_]) -> Columns:
    return Columns._make(None if column is None else column[chosen] for column in columns)


Ring: TypeAlias = NotifyRing | AnyRing
Receiver: TypeAlias = NotifyReceiver | AnyReceiver


def ring_of(profile: WireProfile, stations: Stations, batch: int = 1) -> Ring:
    """The ring that a profile's notifications need."""
    if profile.notify_is_stamped:
        return NotifyRing(profile, stations, batch)
    return (SealedRing if profile.notify_is_table else AnyRing)(profile, stations, batch)


def receiver_of(profile: WireProfile, capacity: int) -> Receiver:
    """The receiver that a profile's notifications need."""
    return (NotifyReceiver if profile.notify_is_table else AnyReceiver)(profile, capacity)
