"""Measurement notifications in bulk: laid out, patched, found and read without an object or a copy per message.

    NotifyRing      a WLC's stations as finished frames in one buffer; a send patches three columns and hands out a view
    NotifyReceiver  one receive buffer of a shard; frames of any size and kind are found in it, notifications become
                    columns

Both are compiled from the same wire profile as `nmsp.codec`, and tests hold the bytes of the two together.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from loadgen.errors import RemoteProtocolError
from loadgen.nmsp.carried import carried_by, stamp_of
from loadgen.nmsp.messages import STAMPS, Kind
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.profile_document import MAX_NOTIFY_BYTES

Int64s: TypeAlias = NDArray[np.int64]

# One TLS record's plaintext. Writing no more than this at once means that when the socket is full, all of the write
# is already encrypted inside OpenSSL: whole frames are either sent or not begun.
MAX_WRITE_BYTES = MAX_NOTIFY_BYTES

# Below this many frames of one size in a row, reading headers one by one is cheaper than comparing columns.
_MIN_COLUMN_RUN = 8


class Stations(NamedTuple):
    """The mobile stations of one WLC.

    Attributes:
        macs: shape (stations, 6), uint8.
        counts: shape (stations,), how many AP readings each one's notification carries.
        readings: shape (stations, max(counts)), the profile's `readings_dtype`.
        subservice: bit number that their notifications carry.
    """

    macs: NDArray[np.uint8]
    counts: NDArray[np.int64]
    readings: NDArray[np.void]
    subservice: int


class _Segment(NamedTuple):
    """Neighbouring slots of a ring whose frames have one size, with the columns that vary."""

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
            sizes = np.unique(stations.counts)
            order = np.concatenate([np.tile(order[stations.counts[order] == size], repeats) for size in sizes])
        self.slots = len(order)
        who = order[np.arange(self.slots + batch - 1) % self.slots]
        counts = stations.counts[who]
        firsts = np.flatnonzero(np.diff(counts, prepend=-1)).tolist()
        runs = list(zip(firsts, [*firsts[1:], len(who)], strict=True))
        self.sizes = profile.notify_fixed_bytes + counts * profile.reading.size
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
        return frames

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
                if segment.sequence is not None:
                    segment.sequence[first:last] = np.arange(sequence + count, sequence + count + more)
                if segment.due_ns is not None:
                    segment.due_ns[first:last] = due_ns if isinstance(due_ns, int) else due_ns[count : count + more]
                if segment.sent_ns is not None:
                    segment.sent_ns[first:last] = sent_ns
            count += more
            used += more * segment.frame_bytes
            if count == wanted or more == room:
                break
        return self._view[start : start + used], count


class Control(NamedTuple):
    """A frame that is not a measurement notification; `body` is a view into the receive buffer."""

    msg_id: int
    transaction: int
    body: memoryview


class Scanned(NamedTuple):
    """What `scan_untrusted` found.

    It stops after the first control frame, before a frame that is not whole, or at a fault; what came before counts.
    """

    position: int
    notifications: int
    control: Control | None = None
    fault: RemoteProtocolError | None = None


class Mark(NamedTuple):
    """How far a receiver had come: runs, length of the last one, notifications."""

    runs: int
    last_count: int
    notifications: int


class Columns(NamedTuple):
    """Notifications in the order in which they were scanned: int64 arrays of one length.

    Attributes:
        sequence, due_ns, sent_ns: as they stand there, in as many bits as `carried_by` says; None: not carried.
        subservice: 0 (rssi-ms) of all, where the layout does not carry it.
        time: the device's, as it stands there; 0: none; None: not carried. stations: how many each is about; None: one.
    """

    sequence: Int64s | None
    due_ns: Int64s | None
    sent_ns: Int64s | None
    subservice: Int64s
    time: Int64s | None = None
    stations: Int64s | None = None

    @property
    def notifications(self) -> int:
        return len(self.subservice)


class NotifyReceiver:
    """One receive buffer, the frames in it, and the notifications among them as columns.

    Callers fill `view[a:b]`, scan it, and repeat for the next connection further on; then `columns()` reads everything
    that was scanned at once and `reset()` starts over.
    """

    def __init__(self, profile: WireProfile, capacity: int) -> None:
        self._profile = profile
        self.capacity = capacity
        fixed_bytes = profile.notify_fixed_bytes
        self._buffer = bytearray(capacity + fixed_bytes)
        self.view = memoryview(self._buffer)[:capacity]
        # Header and fixed part of the notification that may begin at each byte of the buffer: items that overlap, so
        # that one index expression gathers any set of them.
        read = [name for name in (*STAMPS, "subservice") if name in profile.notify.offsets]
        self._fixed_dtype = profile.notify_fixed_dtype[[*profile.header.names, profile.count_field, *read]]
        self._stamps = tuple(name if name in read else None for name in STAMPS)
        self._carries_subservice = "subservice" in read
        self._anywhere = np.ndarray((capacity + 1,), f"V{fixed_bytes}", self._buffer, strides=(1,))
        header = profile.header
        self._header = header.struct
        self._msg_id, self._length, self._transaction = (
            header.names.index(name) for name in ("msg_id", "length", "transaction")
        )
        self._constants = [(header.names.index(name), name, value) for name, value in header.constants.items()]
        self._notify_id = profile.ids[Kind.MEASUREMENT_NOTIFY]
        self._count_at = header.size + profile.notify.offsets[profile.count_field]
        self._count = profile.notify.field_struct(profile.count_field)
        self._dtypes: dict[int, np.dtype[np.void]] = {}
        # Runs of notifications of one size: byte offset, frame size, how many.
        self._offsets: list[int] = []
        self._sizes: list[int] = []
        self._counts: list[int] = []
        self._swept: NDArray[np.void] | None = None
        self.notifications = 0

    def reset(self) -> None:
        """Forget what was scanned; its columns were read."""
        self._offsets.clear()
        self._sizes.clear()
        self._counts.clear()
        self._swept = None
        self.notifications = 0

    def mark(self) -> Mark:
        """The present state, for `rollback`."""
        return Mark(len(self._counts), self._counts[-1] if self._counts else 0, self.notifications)

    def rollback(self, mark: Mark) -> None:
        """Forget the notifications scanned since `mark`: the session was not in a state to receive them."""
        for column in (self._offsets, self._sizes, self._counts):
            del column[mark.runs :]
        if mark.runs:
            self._counts[-1] = mark.last_count
        self.notifications = mark.notifications

    def sweep_untrusted(self, starts: Sequence[int], ends: Sequence[int], wanted: Sequence[bool]) -> Int64s:
        """Take all wanted chunks `view[start:end]` that are nothing but whole notifications of one size, in one go.

        Comes first after `reset()`, once. The other chunks, of which nothing was taken, are for `scan_untrusted`.

        Returns:
            How many notifications each chunk gave; 0 for the others.

        Cost: about 20 us, and 40 ns for each chunk and each notification.
        """
        profile = self._profile
        begin = np.array(starts, np.int64)
        length = np.array(ends, np.int64) - begin
        # A chunk that is shorter than a notification is compared with whatever follows it, and then refused.
        heads = self._gather(begin)
        size = heads["length"].astype(np.int64) + profile.length_of_header
        readings, rest = np.divmod(size - profile.notify_fixed_bytes, profile.reading.size)
        good = self._alike(heads, size - profile.length_of_header, readings)
        good &= (rest == 0) & (readings >= 0) & (readings <= profile.max_readings)
        whole, rest = np.divmod(length, np.maximum(size, 1))
        good &= (rest == 0) & np.array(wanted, np.bool_)
        counts = np.where(good, whole, 0)
        if counts.sum() == np.count_nonzero(counts):
            self._swept = self._only(heads, counts > 0)
        else:
            self._swept = self._expand(begin, size, readings, counts)
        self.notifications = len(self._swept)
        return counts

    def _expand(self, begin: Int64s, size: Int64s, readings: Int64s, counts: Int64s) -> NDArray[np.void]:
        """All notifications of chunks that begin with a good one; sets counts to 0 where a later one is not like it."""
        total = int(counts.sum())
        if (
            len(counts)
            and counts.all()
            and (begin[1:] - begin[:-1] == (size * counts)[:-1]).all()
            and np.ptp(size) == 0
        ):
            found = self._side_by_side(int(begin[0]), int(size[0]), total)
            if self._alike(found, size[0] - self._profile.length_of_header, readings[0]).all():
                return found
        which = np.repeat(np.arange(len(counts)), counts)
        step = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
        found = self._gather(begin[which] + step * size[which])
        alike = self._alike(found, (size - self._profile.length_of_header)[which], readings[which])
        if not alike.all():
            counts[which[~alike]] = 0
            found = self._only(found, counts[which] > 0)
        return found

    def _only(self, frames: NDArray[np.void], chosen: NDArray[np.bool_]) -> NDArray[np.void]:
        """Some of these; copied as they lie, because numpy copies structured items field by field."""
        return frames.view(self._anywhere.dtype)[chosen].view(self._fixed_dtype)

    def _side_by_side(self, offset: int, size: int, count: int) -> NDArray[np.void]:
        return np.ndarray((count,), self._fixed_dtype, self._buffer, offset, (size,))

    def _gather(self, offsets: Int64s) -> NDArray[np.void]:
        return self._anywhere[offsets].view(self._fixed_dtype)

    def _alike(
        self, frames: NDArray[np.void], lengths: Int64s | np.int64, readings: Int64s | np.int64
    ) -> NDArray[np.bool_]:
        """Which of these are notifications with this length field and this many readings."""
        alike: NDArray[np.bool_] = (frames["msg_id"] == self._notify_id) & (frames["length"] == lengths)
        alike &= frames[self._profile.count_field] == readings
        for _, name, value in self._constants:
            alike &= frames[name] == value
        return alike

    def scan_untrusted(self, start: int, end: int) -> Scanned:
        """Find the frames in `view[start:end]`, in order, up to and including the first control frame.

        Faults are `garbage` (constant header fields differ), `oversized` and `malformed`.
        """
        position, found = start, 0
        header_size = self._profile.header.size
        try:
            while end - position >= header_size:
                header = self._header.unpack_from(self.view, position)
                size = self._frame_size_untrusted(header)
                if end - position < size:
                    break
                msg_id = header[self._msg_id]
                if msg_id != self._notify_id:
                    body = self.view[position + header_size : position + size]
                    return Scanned(position + size, found, Control(msg_id, header[self._transaction], body))
                self._check_notify_untrusted(position, size)
                count = self._run_untrusted(position, size, (end - position) // size)
                self._add_run(position, size, count)
                position += count * size
                found += count
        except RemoteProtocolError as fault:
            return Scanned(position, found, fault=fault)
        return Scanned(position, found)

    def columns(self) -> Columns:
        """Everything swept and scanned since `reset()`, in order."""
        fixed = self._swept if self._swept is not None else np.empty(0, self._fixed_dtype)
        if len(self._offsets) == 1 and not len(fixed):
            fixed = self._side_by_side(self._offsets[0], self._sizes[0], self._counts[0])
        elif self._offsets:
            counts = np.array(self._counts)
            begin = np.repeat(np.cumsum(counts) - counts, counts)
            step = (np.arange(len(begin)) - begin) * np.repeat(self._sizes, counts)
            scanned = self._gather(np.repeat(self._offsets, counts) + step)
            fixed = np.concatenate([fixed, scanned]) if len(fixed) else scanned
        sequence, due, sent = (None if name is None else fixed[name].astype(np.int64) for name in self._stamps)
        subservice = (
            fixed["subservice"].astype(np.int64) if self._carries_subservice else np.zeros(len(fixed), np.int64)
        )
        return Columns(sequence, due, sent, subservice)

    def _frame_size_untrusted(self, header: tuple[int, ...]) -> int:
        profile = self._profile
        for index, name, value in self._constants:
            if header[index] != value:
                raise RemoteProtocolError("garbage", f"expected {name} {value:#x}, found {header[index]:#x}")
        size = header[self._length] + profile.length_of_header
        if not profile.header.size <= size <= profile.max_frame_bytes:
            kind = "malformed" if size < profile.header.size else "oversized"
            expected = f"a frame of {profile.header.size} to {profile.max_frame_bytes} bytes"
            raise RemoteProtocolError(kind, f"expected {expected}, found {size}")
        return size

    def _check_notify_untrusted(self, position: int, size: int) -> None:
        profile = self._profile
        readings, rest = divmod(size - profile.notify_fixed_bytes, profile.reading.size)
        if rest or not 0 <= readings <= profile.max_readings:
            raise RemoteProtocolError(
                "malformed",
                f"expected measurement_notify with 0 to {profile.max_readings} readings, found {size} bytes",
            )
        counted = self._count.unpack_from(self.view, position + self._count_at)[0]
        if counted != readings:
            raise RemoteProtocolError(
                "malformed", f"expected {profile.count_field} {readings} in {size} bytes, found {counted}"
            )

    def _run_untrusted(self, position: int, size: int, at_most: int) -> int:
        """How many frames from `position` on are notifications of exactly this size and reading count (>= 1)."""
        if at_most < _MIN_COLUMN_RUN:
            return 1
        first = self._header.unpack_from(self.view, position)
        probe = self._header.unpack_from(self.view, position + size * (_MIN_COLUMN_RUN - 1))
        if probe[self._length] != first[self._length] or probe[self._msg_id] != self._notify_id:
            return 1
        frames = np.frombuffer(self._buffer, self._dtype(size), at_most, position)
        same = (frames["length"] == first[self._length]) & (frames["msg_id"] == self._notify_id)
        same &= frames[self._profile.count_field] == frames[self._profile.count_field][0]
        for _, name, value in self._constants:
            same &= frames[name] == value
        return at_most if same.all() else int(same.argmin())

    def _add_run(self, position: int, size: int, count: int) -> None:
        self.notifications += count
        if self._offsets and self._sizes[-1] == size and self._offsets[-1] + size * self._counts[-1] == position:
            self._counts[-1] += count
        else:
            self._offsets.append(position)
            self._sizes.append(size)
            self._counts.append(count)

    def _dtype(self, size: int) -> np.dtype[np.void]:
        dtype = self._dtypes.get(size)
        if dtype is None:
            readings = (size - self._profile.notify_fixed_bytes) // self._profile.reading.size
            dtype = self._dtypes[size] = self._profile.notify_dtype(readings)
        return dtype
