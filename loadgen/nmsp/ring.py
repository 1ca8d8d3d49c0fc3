"""Measurement notifications that are a table, in bulk: laid out once, and patched without an object for each.

Timing      when what a session sends next is due, and goes out
NotifyRing  a WLC's stations as finished frames in one buffer; a send patches columns and hands out a view
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadgen.distinct import distinct
from loadgen.nmsp.bulk import MAX_WRITE_BYTES, Stations
from loadgen.nmsp.carried import carried_by, stamp_of
from loadgen.nmsp.messages import STAMPS, Kind
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.sums import RunOfSums


class Timing(msgspec.Struct, gc=False):
    """When what a session sends next is due, and when that goes out: kept up to date from one write to the next, and
    made for many. All since the epoch.

    Attributes:
        due_ns: one for all, or an array of at least as many as are wanted. sent_ns: now.
        began_ns: when the session began, for layouts that count from there.
    """

    due_ns: int | NDArray[np.integer]
    sent_ns: int
    began_ns: int = 0


class _Segment(NamedTuple):
    """Neighbouring slots of a ring whose frames have one size, with the columns of ours that vary."""

    first: int
    end: int
    byte_offset: int
    frame_bytes: int
    sequence: NDArray[np.unsignedinteger] | None
    due_ns: NDArray[np.unsignedinteger] | None
    sent_ns: NDArray[np.unsignedinteger] | None


class NotifyRing:
    """The notifications of one WLC as frames in one buffer, in the order in which its stations report.

    Stations are sorted by number of readings, so that frames of one size lie side by side and are columns. Behind the
    last station the first ones come again, far enough that a batch never has to be cut where the ring closes.

    Attributes:
        slots: notifications in the ring.
        buffer: the frames. offsets, sizes: where each slot's frame begins in it, and how long it is.
    """

    def __init__(self, profile: WireProfile, stations: Stations, batch: int = 1) -> None:
        """Lay the frames out.

        Args:
            batch: how many notifications at least shall fit into one write, wherever it begins (if a TLS record does).
        """
        order = np.argsort(stations.counts, kind="stable")
        # A batch that is longer than the list of stations would walk through all sizes several times: repeat the
        # stations within their size instead.
        repeats = -(-batch // len(order))
        if repeats > 1:
            sizes = distinct(stations.counts)
            order = np.concatenate([np.tile(order[stations.counts[order] == size], repeats) for size in sizes])
        self.slots = len(order)
        who = order[np.arange(self.slots + batch - 1) % self.slots]
        counts = stations.counts[who]
        firsts = np.flatnonzero(np.diff(counts, prepend=-1)).tolist()
        runs = list(zip(firsts, [*firsts[1:], len(who)], strict=True))
        self.sizes = profile.notify_bytes(0) + counts * profile.reading.size
        self.offsets = np.cumsum(self.sizes) - self.sizes
        self.buffer = bytearray(int(self.sizes.sum()))
        self._view = memoryview(self.buffer)
        self._segments: list[_Segment] = []
        carried = carried_by(profile)
        self._due_mask, self._sent_mask = (1 << carried.due_ns) - 1, (1 << carried.sent_ns) - 1
        self._is_narrow = carried.due_ns < 64 or carried.sent_ns < 64
        offset = 0
        for first, end in runs:
            frames = self._lay_out(profile, stations, who[first:end], offset)
            columns = (frames[name] if bits else None for name, bits in zip(STAMPS, carried, strict=True))
            self._segments.append(_Segment(first, end, offset, frames.itemsize, *columns))
            offset += frames.nbytes
        self._ends = [segment.end for segment in self._segments]
        self._stamp = stamp_of(profile)

    def _lay_out(
        self, profile: WireProfile, stations: Stations, who: NDArray[np.int64], offset: int
    ) -> NDArray[np.void]:
        """Fill in everything that does not vary, for stations of one reading count."""
        readings = int(stations.counts[who[0]])
        frames = np.frombuffer(self.buffer, profile.notify_dtype(readings), len(who), offset)
        for record in (profile.header, profile.notify):
            for name, value in record.constants.items():
                frames[name] = value
        frames["msg_id"] = profile.ids[Kind.MEASUREMENT_NOTIFY]
        frames["length"] = frames.itemsize - profile.length_of_header
        frames["station_mac"] = np.ascontiguousarray(stations.macs[who]).view("V6")[:, 0]
        if "subservice" in profile.notify.offsets:
            frames["subservice"] = stations.subservice
        frames[profile.count_field] = readings
        if readings:
            frames["readings"] = stations.readings[who, :readings]
            for name, value in profile.reading.constants.items():
                frames["readings"][name] = value
        if (trailer := profile.framing.trailer) is not None:
            last = offset + frames.itemsize - trailer.size
            ends = np.ndarray((len(who),), trailer.dtype, self.buffer, last, (frames.itemsize,))
            for name, value in trailer.constants.items():
                ends[name] = value
        return frames

    def patch(
        self, cursor: int, wanted: int, sequence: int, timing: Timing, most_bytes: int = MAX_WRITE_BYTES
    ) -> tuple[memoryview, int]:
        """Make the next frames ready to be written.

        Args:
            cursor: notifications handed out so far; says whose turn it is.
            wanted: how many are due.
            sequence: sequence number of the first.
            timing: `began_ns` is none of a table's.
            most_bytes: that the view may have; no frame has more, and no TLS record either.

        Returns:
            A view of whole frames, as many as go into `most_bytes`, valid until the next call; and how many (>= 1).

        Cost: no allocation that grows with the number of frames but one `arange` per run of frames of one size.
        """
        slot = cursor % self.slots
        begin = bisect_right(self._ends, slot)
        segment = self._segments[begin]
        start = segment.byte_offset + (slot - segment.first) * segment.frame_bytes
        due_ns, sent_ns = timing.due_ns, timing.sent_ns
        if wanted == 1:
            due = due_ns if isinstance(due_ns, int) else int(due_ns[0])
            self._stamp(self.buffer, start, sequence, due, sent_ns)
            return self._view[start : start + segment.frame_bytes], 1
        if self._is_narrow:  # arrays go round in narrow columns by themselves, numbers do not
            sent_ns &= self._sent_mask
            due_ns = due_ns & self._due_mask if isinstance(due_ns, int) else due_ns
        count = used = 0
        for index in range(begin, len(self._segments)):
            segment = self._segments[index]
            first = slot + count - segment.first
            room = (most_bytes - used) // segment.frame_bytes
            more = min(wanted - count, segment.end - segment.first - first, room)
            if more:
                last = first + more
                if (numbers := segment.sequence) is not None:
                    numbers[first:last] = np.arange(sequence + count, sequence + count + more)
                if (dues := segment.due_ns) is not None:
                    dues[first:last] = due_ns if isinstance(due_ns, int) else due_ns[count : count + more]
                if (sents := segment.sent_ns) is not None:
                    sents[first:last] = sent_ns
            count += more
            used += more * segment.frame_bytes
            if count == wanted or first + more < segment.end - segment.first:
                break  # there is no room; behind a whole segment, frames may be smaller
        return self._view[start : start + used], count


class SealedRing(NotifyRing):
    """The same of a table of which more varies than what is ours: the device's time, a checksum."""

    def __init__(self, profile: WireProfile, stations: Stations, batch: int = 1) -> None:
        super().__init__(profile, stations, batch)
        self._time, self._checksum = profile.layouts[Kind.MEASUREMENT_NOTIFY].time, profile.framing.checksum
        self._times: list[NDArray[np.unsignedinteger]] = []
        self._sums: list[RunOfSums] = []
        alike = not carried_by(profile).sequence  # numbers are others in each frame
        if self._time is not None:
            self._time_at, self._time_layout = profile.header.size, profile.notify.field_struct("time")
            self._time_at += profile.notify.offsets["time"]
        for first, end, offset, size, *_ in self._segments:
            if self._time is not None:
                form, at = self._time_layout.format, offset + self._time_at
                self._times.append(np.ndarray((end - first,), form, self.buffer, at, (size,)))
            if self._checksum is not None:
                self._sums.append(RunOfSums(self._checksum, self.buffer, offset, size, end - first, alike=alike))

    def patch(
        self, cursor: int, wanted: int, sequence: int, timing: Timing, most_bytes: int = MAX_WRITE_BYTES
    ) -> tuple[memoryview, int]:
        """As `NotifyRing.patch`."""
        view, count = super().patch(cursor, wanted, sequence, timing, most_bytes)
        slot, due_ns = cursor % self.slots, timing.due_ns
        if count == 1:
            due = due_ns if isinstance(due_ns, int) else int(due_ns[0])
            if self._time is not None:
                self._time_layout.pack_into(view, self._time_at, self._time.to_wire(due))
            if self._checksum is not None:
                self._checksum.put(view)
            return view, count
        done, index = 0, bisect_right(self._ends, slot)
        while done < count:
            segment = self._segments[index]
            first = slot + done - segment.first
            more = min(count - done, segment.end - segment.first - first)
            theirs = due_ns if isinstance(due_ns, int) else due_ns[done : done + more].astype(np.int64)
            if self._time is not None:
                self._times[index][first : first + more] = self._time.to_wire(theirs)  # type: ignore[type-var]
            if self._checksum is not None:
                self._sums[index].put(first, first + more, theirs)
            done += more
            index += 1
        return view, count
