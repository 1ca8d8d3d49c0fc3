"""Measurement notifications in bulk: found and read without an object or a copy per message, where they are a table.

    NotifyReceiver  one receive buffer of a shard; frames of any size and kind are found in it, notifications become
                    columns

What is sent `nmsp.ring` lays out. Both are compiled from the same wire profile as `nmsp.codec`, and tests hold the
bytes together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from loadgen.errors import RemoteProtocolError
from loadgen.nmsp.messages import STAMPS, Kind
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.profile_document import MAX_NOTIFY_BYTES
from loadgen.nmsp.sums import FrameSums

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
        read = [name for name in (*STAMPS, "subservice", "time") if name in profile.notify.offsets]
        self._fixed_dtype = profile.notify_fixed_dtype([*profile.header.names, profile.count_field, *read])
        self._stamps = tuple(name if name in read else None for name in STAMPS)
        self._carries_subservice, self._carries_time = "subservice" in read, "time" in read
        self._anywhere = np.ndarray((capacity + 1,), f"V{fixed_bytes}", self._buffer, strides=(1,))
        header = profile.header
        self._header, self._least = header.struct, profile.notify_bytes(0)
        self._least_frame = profile.framing.head + profile.framing.foot
        self._msg_id, self._length, self._transaction = (
            header.names.index(name) for name in ("msg_id", "length", "transaction")
        )
        self._constants = [(header.names.index(name), name, value) for name, value in header.constants.items()]
        self._notify_id = profile.ids[Kind.MEASUREMENT_NOTIFY]
        self._count_at = header.size + profile.notify.offsets[profile.count_field]
        self._count = profile.notify.field_struct(profile.count_field)
        self._dtypes: dict[int, np.dtype[np.void]] = {}
        checksum = profile.framing.checksum
        self._sums = None if checksum is None else FrameSums(checksum, self._buffer)
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
        readings, rest = np.divmod(size - self._least, profile.reading.size)
        good = self._alike(heads, size - profile.length_of_header, readings)
        good &= (rest == 0) & (readings >= 0) & (readings <= profile.max_readings)
        whole, rest = np.divmod(length, np.maximum(size, 1))
        good &= (rest == 0) & np.array(wanted, np.bool_)
        counts = np.where(good, whole, 0)
        if counts.sum() == np.count_nonzero(counts):
            self._swept = self._only(heads, counts > 0)
        else:
            self._swept = self._expand(begin, size, readings, counts)
        if self._sums is not None and len(self._swept):
            self._swept = self._sealed(self._sums, self._swept, (begin, size, counts))
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

    def _sealed(
        self, sums: FrameSums, found: NDArray[np.void], chunks: tuple[Int64s, Int64s, Int64s]
    ) -> NDArray[np.void]:
        """Those of chunks whose checksums are all right; sets the counts of the others to 0.

        Args:
            found: of all of them. chunks: where each begins, the size of its frames, and how many they are.
        """
        begin, size, counts = chunks
        chosen = np.flatnonzero(counts)
        right = sums.are_right(begin[chosen], size[chosen], counts[chosen])
        if right.all():
            return found
        which = np.repeat(chosen, counts[chosen])
        counts[which[~right]] = 0
        return self._only(found, counts[which] > 0)

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

        Faults are `garbage` (constant header fields differ), `oversized`, `malformed` and `checksum`.
        """
        position, found = start, 0
        header_size, sums = self._profile.header.size, self._sums
        try:
            while end - position >= header_size:
                header = self._header.unpack_from(self.view, position)
                size = self._frame_size_untrusted(header)
                if end - position < size:
                    break
                if sums is not None:
                    self._profile.framing.check_untrusted(
                        header[self._msg_id], header, self.view[position : position + size]
                    )
                msg_id = header[self._msg_id]
                if msg_id != self._notify_id:
                    body = self.view[position + header_size : position + size - self._profile.framing.foot]
                    return Scanned(position + size, found, Control(msg_id, header[self._transaction], body))
                self._check_notify_untrusted(position, size)
                count = self._run_untrusted(position, size, (end - position) // size)
                if sums is not None and count > 1:
                    right = sums.are_right(np.array([position]), np.array([size]), np.array([count]))
                    count = count if right.all() else int(right.argmin())
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
        time = fixed["time"].astype(np.int64) if self._carries_time else None
        return Columns(sequence, due, sent, subservice, time)

    def _frame_size_untrusted(self, header: tuple[int, ...]) -> int:
        profile = self._profile
        for index, name, value in self._constants:
            if header[index] != value:
                raise RemoteProtocolError("garbage", f"expected {name} {value:#x}, found {header[index]:#x}")
        size = header[self._length] + profile.length_of_header
        least = self._least_frame
        if not least <= size <= profile.max_frame_bytes:
            kind = "malformed" if size < least else "oversized"
            expected = f"a frame of {least} to {profile.max_frame_bytes} bytes"
            raise RemoteProtocolError(kind, f"expected {expected}, found {size}")
        return size

    def _check_notify_untrusted(self, position: int, size: int) -> None:
        profile = self._profile
        readings, rest = divmod(size - self._least, profile.reading.size)
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
            readings = (size - self._least) // self._profile.reading.size
            dtype = self._dtypes[size] = self._profile.notify_dtype(readings)
        return dtype
