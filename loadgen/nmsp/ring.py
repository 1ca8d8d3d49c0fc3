"""Measurement notifications that are a table, in bulk: laid out once, and patched without an object for each.

NotifyRing  a WLC's stations as finished frames in one buffer; a send patches columns and hands out a view
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadgen.nmsp.bulk import MAX_WRITE_BYTES, Stations
from loadgen.nmsp.carried import carried_by, stamp_of
from loadgen.nmsp.messages import STAMPS, Kind
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.sums import RunOfSums


class _Segment(NamedTuple):
    """Neighbouring slots of a ring whose frames have one size, with what varies of them: columns, and checksums."""

    first: int
    end: int
    byte_offset: int
    frame_bytes: int
    sequence: NDArray[np.unsignedinteger] | None
    due_ns: NDArray[np.unsignedinteger] | None
    sent_ns: NDArray[np.unsignedinteger] | None
    time: NDArray[np.unsignedinteger] | None
    sums: RunOfSums | None


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
            sizes = np.unique(stations.counts)
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
        self._carried = carried = carried_by(profile)
        self._due_mask, self._sent_mask = (1 << carried.due_ns) - 1, (1 << carried.sent_ns) - 1
        self._is_narrow = carried.due_ns < 64 or carried.sent_ns < 64
        self._time, self._checksum = profile.layouts[Kind.MEASUREMENT_NOTIFY].time, profile.framing.checksum
        if self._time is not None:
            self._time_at = profile.header.size + profile.notify.offsets["time"]
            self._time_layout = profile.notify.field_struct("time")
        self._finishes = not profile.notify_is_stamped
        offset = 0
        for first, end in runs:
            frames = self._lay_out(profile, stations, who[first:end], offset)
            self._segments.append(self._segment(frames, first, offset))
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

    def _segment(self, frames: NDArray[np.void], first: int, offset: int) -> _Segment:
        """Args: frames: that were laid out. first: slot of the first one, which begins at `offset`."""
        sequence, due_ns, sent_ns = (
            frames[name] if bits else None for name, bits in zip(STAMPS, self._carried, strict=True)
        )
        time = None if self._time is None else frames["time"]
        sums = None
        if self._checksum is not None:
            # Numbers are others in each frame.
            alike = not self._carried.sequence
            sums = RunOfSums(self._checksum, self.buffer, offset, frames.itemsize, len(frames), alike=alike)
        end = first + len(frames)
        return _Segment(first, end, offset, frames.itemsize, sequence, due_ns, sent_ns, time, sums)

    def _finish_one(self, start: int, size: int, due_ns: int) -> None:
        """Put into a frame what varies and is not ours."""
        if self._time is not None:
            self._time_layout.pack_into(self.buffer, start + self._time_at, self._time.to_wire(due_ns))
        if self._checksum is not None:
            self._checksum.put(self._view[start : start + size])

    def _finish(self, segment: _Segment, first: int, last: int, due_ns: int | NDArray[np.integer]) -> None:
        """The same of some frames of a segment."""
        if self._time is not None and segment.time is not None:
            if isinstance(due_ns, int):
                segment.time[first:last] = self._time.to_wire(due_ns)
            else:
                segment.time[first:last] = self._time.to_wire(due_ns.astype(np.int64))
        if segment.sums is not None:
            segment.sums.put(first, last, due_ns)

    def patch(
        self,
        cursor: int,
        wanted: int,
        sequence: int,
        due_ns: int | NDArray[np.integer],
        sent_ns: int,
        most_bytes: int = MAX_WRITE_BYTES,
        began_ns: int = 0,
    ) -> tuple[memoryview, int]:
        """Make the next frames ready to be written.

        Args:
            cursor: notifications handed out so far; says whose turn it is.
            wanted: how many are due.
            sequence: sequence number of the first.
            due_ns: when they are due (ns since the epoch): one for all, or an array of at least `wanted`.
            sent_ns: now.
            most_bytes: that the view may have; no frame has more, and no TLS record either.
            began_ns: when the session began (since the epoch), for layouts that count from there: none that is a table.

        Returns:
            A view of whole frames, as many as go into `most_bytes`, valid until the next call; and how many (>= 1).

        Cost: no allocation that grows with the number of frames but one `arange` per run of frames of one size.
        """
        slot = cursor % self.slots
        begin = bisect_right(self._ends, slot)
        segment = self._segments[begin]
        start = segment.byte_offset + (slot - segment.first) * segment.frame_bytes
        if wanted == 1:
            due = due_ns if isinstance(due_ns, int) else int(due_ns[0])
            self._stamp(self.buffer, start, sequence, due, sent_ns)
            if self._finishes:
                self._finish_one(start, segment.frame_bytes, due)
            return self._view[start : start + segment.frame_bytes], 1
        stamped = due_ns
        if self._is_narrow:  # arrays go round in narrow columns by themselves, numbers do not
            sent_ns &= self._sent_mask
            stamped = due_ns & self._due_mask if isinstance(due_ns, int) else due_ns
        count = used = 0
        for index in range(begin, len(self._segments)):
            segment = self._segments[index]
            first = slot + count - segment.first
            room = (most_bytes - used) // segment.frame_bytes
            more = min(wanted - count, segment.end - segment.first - first, room)
            if more:
                last = first + more
                if segment.sequence is not None:
                    segment.sequence[first:last] = np.arange(sequence + count, sequence + count + more)
                if segment.due_ns is not None:
                    segment.due_ns[first:last] = stamped if isinstance(stamped, int) else stamped[count : count + more]
                if segment.sent_ns is not None:
                    segment.sent_ns[first:last] = sent_ns
                if self._finishes:
                    theirs = due_ns if isinstance(due_ns, int) else due_ns[count : count + more]
                    self._finish(segment, first, last, theirs)
            count += more
            used += more * segment.frame_bytes
            if count == wanted or more == room:
                break
        return self._view[start : start + used], count
