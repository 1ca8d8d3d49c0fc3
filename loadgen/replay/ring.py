"""The messages of one endpoint as finished frames, in the order in which they were recorded; as `nmsp.ring.NotifyRing`.

A track is laid out a chunk at a time: a copy of what was recorded with the endpoint's own MACs in it. One that is no
longer than a chunk is laid out once. A send patches numbers, times and checksums as columns, and hands out a view.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadgen.nmsp.bulk import MAX_WRITE_BYTES
from loadgen.nmsp.device_time import DeviceTime
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.profile_document import number_struct
from loadgen.nmsp.ring import Timing
from loadgen.nmsp.walk import Numbers
from loadgen.replay.macs import Macs
from loadgen.replay.recording import ABOUT_NONE, Times, Track, time_of

Int64s = NDArray[np.int64]

# A number that shifts do not go beyond.
_MOST_BITS = 62
# Of frames that are laid out at once; of a recording that is longer, one is laid out after the other.
CHUNK_BYTES = 1 << 17


class _Put(NamedTuple):
    """To write one number at a time. mask: of what it holds."""

    layout: struct.Struct
    mask: int


class _Stamp(NamedTuple):
    """Where one of our numbers is. at: by slot, in the track's data; everywhere: no frame is without it."""

    name: str
    type: str
    at: Int64s
    everywhere: bool
    put: _Put


class _Times(NamedTuple):
    """Where times of devices are, by order of their slots."""

    type: str
    time: DeviceTime
    slots: Int64s
    at: Int64s
    since_ns: Int64s


class TrackTables:
    """A track as arrays, shared by all endpoints that play it.

    Attributes:
        slots: messages in it. sizes, offsets: of each frame, in `data`.
        series: of each, the series that it is numbered in. ranks: how many of its series are before each (a row for
            each series), and in all of it (the last column).
        sayings, said: see `recording.Track`. bits, subservices: masks of the subservices of each, and of all.
    """

    def __init__(self, profile: WireProfile, track: Track, batch: int) -> None:
        """Args: batch: so many notifications shall go at once; a track that has fewer is laid out several times."""
        sizes = np.frombuffer(track.sizes, np.int64)
        self.recorded = len(sizes)
        repeats = max(1, min(-(-batch // len(sizes)), CHUNK_BYTES // max(1, len(track.data))))
        self.slots = len(sizes) * repeats
        self.data = track.data * repeats
        self.sizes = np.tile(sizes, repeats)
        self.ends = np.cumsum(self.sizes)
        self.offsets = self.ends - self.sizes
        self.offset_list, self.size_list = self.offsets.tolist(), self.sizes.tolist()
        self.series = np.tile(np.frombuffer(track.series, np.uint8), repeats).astype(np.int64)
        self.ranks = np.zeros((3, self.slots + 1), np.int64)
        for series in range(3):
            np.cumsum(self.series == series, out=self.ranks[series, 1:])
        self.is_uniform = bool((self.series == self.series[0]).all())
        # Which subservice each is about, as a mask; of opaque ones: whichever. And all of them together.
        about = np.tile(np.frombuffer(track.subservices, np.uint8), repeats).astype(np.int64)
        self.bits = np.where(about == ABOUT_NONE, -1, np.int64(1) << np.minimum(about, _MOST_BITS))
        self.subservices = int(np.bitwise_or.reduce(self.bits[about != ABOUT_NONE], initial=0))
        self.sayings = track.sayings
        self.said = np.tile(np.frombuffer(track.said, np.int16), repeats)
        self.first_transaction = track.first_transaction
        size = len(track.data)
        self.stamps = [self._stamp(profile, each.name, each.type, each.at, repeats, size) for each in track.places]
        self.times = [self._times(profile, each, repeats, size) for each in track.times]
        self.mac_at = _repeated(np.frombuffer(track.mac_at, np.int64), repeats, size)
        self.mac = np.tile(np.frombuffer(track.mac, np.int64), repeats)
        # Measurements alone, and nothing varies in them but what `stamp_of` puts in.
        self.is_stamped = (
            profile.notify_is_stamped and not self.times and track.first_transaction is None and not self.series.any()
        )
        self.chunks = self._chunks()  # slots that chunks begin with, and the end

    def _stamp(self, profile: WireProfile, name: str, kind: str, at: bytes, repeats: int, size: int) -> _Stamp:
        places = _repeated(np.frombuffer(at, np.int64), repeats, size)
        layout = number_struct(kind, profile.order)
        layout = struct.Struct(layout.format.upper())
        put = _Put(layout, (1 << 8 * layout.size) - 1)
        return _Stamp(name, kind, places, bool((places >= 0).all()), put)

    def _times(self, profile: WireProfile, times: Times, repeats: int, size: int) -> _Times:
        slots = _repeated(np.frombuffer(times.slots, np.int64), repeats, self.recorded)
        at = _repeated(np.frombuffer(times.at, np.int64), repeats, size)
        since = np.tile(np.frombuffer(times.since_ns, np.int64), repeats)
        return _Times(times.type, time_of(profile, times.type, times.size, times.unit, times.epoch), slots, at, since)

    def _chunks(self) -> list[int]:
        """No frame is longer than a chunk may be."""
        first, found = 0, [0]
        while first < self.slots:
            first = max(first + 1, int(np.searchsorted(self.ends, self.offsets[first] + CHUNK_BYTES, "right")))
            found.append(first)
        return found


def _repeated(places: Int64s, repeats: int, step: int) -> Int64s:
    """Places in several copies that lie side by side; what is nowhere stays so."""
    shifts = np.repeat(np.arange(repeats) * step, len(places))
    tiled = np.tile(places, repeats)
    return np.where(tiled >= 0, tiled + shifts, -1)


class ReplayRing:
    """What one endpoint says.

    Attributes:
        tables: of its track. slots, sizes: messages in it, and how long each frame is.
        buffer: the frames that are laid out.
    """

    def __init__(self, profile: WireProfile, tables: TrackTables, macs: Macs) -> None:
        """Args: macs: of all that were recorded, as this endpoint has them."""
        self.tables = tables
        self.slots, self.sizes = tables.slots, tables.sizes
        self._offsets, self._sizes = tables.offset_list, tables.size_list
        self._macs = np.ascontiguousarray(macs).view("V6")[:, 0]
        longest = max(
            int(tables.ends[end - 1] - tables.offsets[first])
            for first, end in zip(tables.chunks, tables.chunks[1:], strict=False)
        )
        self.buffer = bytearray(longest + 8)  # arrays of overlapping numbers look at what is behind the last one
        self._view = memoryview(self.buffer)
        self._numbers = Numbers(self.buffer, profile.order)
        self._mac_column = np.ndarray((longest + 3,), "V6", self.buffer, strides=(1,))
        # A frame with numbers of its own is sealed when these are put in.
        self._checksum = None if profile.framing.numbers else profile.framing.checksum
        self._first = self._end = self._base = 0  # slots that are laid out, and where the first one is in the data

    def place(self, cursor: int) -> tuple[int, int]:
        """Where the next frame after `cursor` messages is in `buffer`, and how long it is; valid until another one is
        asked for.
        """
        slot = cursor % self.slots
        if not self._first <= slot < self._end:
            self._lay_out(slot)
        return self._offsets[slot] - self._base, self._sizes[slot]

    def patch(
        self, cursor: int, wanted: int, told: list[int], timing: Timing, most_bytes: int = MAX_WRITE_BYTES
    ) -> tuple[memoryview, int]:
        """As `NotifyRing.patch`, but for `told`: how many of each series the session was sent so far; it is kept up to
        date.
        """
        tables, slot = self.tables, cursor % self.slots
        if not self._first <= slot < self._end:
            self._lay_out(slot)
        start = int(tables.offsets[slot])
        count = 1
        if wanted > 1:
            end = min(slot + wanted, self._end)
            count = max(1, int(tables.ends[slot:end].searchsorted(start + most_bytes, "right")))
        due_ns = timing.due_ns
        if count == 1:
            self._patch_one(slot, told, due_ns if isinstance(due_ns, int) else int(due_ns[0]), timing)
        else:
            due = due_ns if isinstance(due_ns, int) else np.asarray(due_ns[:count], np.int64)
            self._patch_many(slot, count, told, due, timing)
        return self._view[start - self._base : int(tables.ends[slot + count - 1]) - self._base], count

    def _lay_out(self, slot: int) -> None:
        """The chunk with this slot, as this endpoint says it."""
        tables = self.tables
        which = bisect_right(tables.chunks, slot) - 1
        self._first, self._end = tables.chunks[which], tables.chunks[which + 1]
        self._base = int(tables.offsets[self._first])
        end = int(tables.ends[self._end - 1])
        self._view[: end - self._base] = tables.data[self._base : end]
        low, high = tables.mac_at.searchsorted((self._base, end))
        self._mac_column[tables.mac_at[low:high] - self._base] = self._macs[tables.mac[low:high]]

    def _patch_one(self, slot: int, told: list[int], due_ns: int, timing: Timing) -> None:
        tables, base, series = self.tables, self._base, int(self.tables.series[slot])
        for stamp in tables.stamps:
            if (at := int(stamp.at[slot])) < 0:
                continue
            value = due_ns
            if stamp.name == "sequence":
                value = told[series]
            elif stamp.name == "sent_ns":
                value = timing.sent_ns
            elif stamp.name == "transaction":
                value = sum(told) + (tables.first_transaction or 0)
            stamp.put.layout.pack_into(self.buffer, at - base, value & stamp.put.mask)
        for times in tables.times:
            low, high = times.slots.searchsorted((slot, slot + 1))
            if low < high:
                self._put_times(times, slice(low, high), due_ns, timing.began_ns)
        if self._checksum is not None:
            start = int(tables.offsets[slot]) - base
            self._checksum.put(self._view[start : start + int(tables.sizes[slot])])
        told[series] += 1

    def _patch_many(self, slot: int, count: int, told: list[int], due_ns: int | Int64s, timing: Timing) -> None:
        tables, base, end = self.tables, self._base, slot + count
        for stamp in tables.stamps:
            value: int | Int64s = due_ns
            if stamp.name == "sequence":
                value = self._sequences(slot, end, told)
            elif stamp.name == "sent_ns":
                value = timing.sent_ns
            elif stamp.name == "transaction":
                first = sum(told) + (tables.first_transaction or 0)
                value = np.arange(first, first + count)
            at = stamp.at[slot:end]
            if not stamp.everywhere:
                there = at >= 0
                at, value = at[there], value if isinstance(value, int) else value[there]
            self._numbers.write(stamp.type, at - base, value)
        for times in tables.times:
            low, high = times.slots.searchsorted((slot, end))
            if low < high:
                due = due_ns if isinstance(due_ns, int) else due_ns[times.slots[low:high] - slot]
                self._put_times(times, slice(low, high), due, timing.began_ns)
        if self._checksum is not None:
            ends = (tables.ends[slot:end] - base).tolist()
            start = int(tables.offsets[slot]) - base
            for stop in ends:
                self._checksum.put(self._view[start:stop])
                start = stop
        for series in range(3):
            told[series] += int(tables.ranks[series, end] - tables.ranks[series, slot])

    def _sequences(self, slot: int, end: int, told: list[int]) -> Int64s:
        tables = self.tables
        if tables.is_uniform:
            first = told[int(tables.series[slot])]
            return np.arange(first, first + end - slot)
        series = tables.series[slot:end]
        base = np.array(told, np.int64) - tables.ranks[:, slot]
        numbers: Int64s = tables.ranks[series, np.arange(slot, end)] + base[series]
        return numbers

    def _put_times(self, times: _Times, chosen: slice, due_ns: int | Int64s, began_ns: int) -> None:
        since = times.since_ns[chosen] - (began_ns if times.time.since_began else 0)
        self._numbers.write(times.type, times.at[chosen] - self._base, times.time.to_wire(since + due_ns))
