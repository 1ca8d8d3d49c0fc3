"""What a controller has to send over one link: two priorities, each with a limit in messages. What does not fit is
dropped, and counted.

What many links are told is laid out once and shared by their queues; what varies by link (its sequence numbers, when it
was sent) is patched in when it is written.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import NamedTuple, TypeAlias

import msgspec

from loadgen.nmsp.any_bulk import ring_of
from loadgen.nmsp.bulk import MAX_WRITE_BYTES, Stations
from loadgen.nmsp.carried import carried_by
from loadgen.nmsp.catalogue import KIND_OF
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import STAMPS, Kind, ServiceNotify
from loadgen.nmsp.profile import WireProfile
from loadgen.nmsp.ring import Timing


class Priority(IntEnum):
    """Which queue: "highest" for answers, alarms and attachment, "normal" for everything else (as recollected)."""

    HIGH = 0
    NORMAL = 1


class Measurements:
    """Measurement notifications that were found at one time.

    Attributes:
        count: how many. due_ns: of all of them, since the epoch. subservice: the same.
    """

    __slots__ = ("_ring", "count", "due_ns", "subservice")

    def __init__(self, profile: WireProfile, stations: Stations, due_ns: int) -> None:
        self.count = len(stations.counts)
        self.due_ns = due_ns
        self.subservice = stations.subservice
        self._ring = ring_of(profile, stations)

    def frames(
        self, first: int, wanted: int, sequence: int, timing: Timing, most_bytes: int = MAX_WRITE_BYTES
    ) -> tuple[memoryview, int]:
        """From number `first` on: a view of whole frames, as many as go into `most_bytes`, valid until the next call;
        and how many (>= 1). Args: timing: gets our `due_ns`.
        """
        timing.due_ns = self.due_ns
        return self._ring.patch(first, wanted, sequence, timing, most_bytes)


class Notice:
    """One notification of any other kind. Attributes: as above, and its kind and subservice."""

    __slots__ = (
        "_checksum",
        "_codec",
        "_frame",
        "_message",
        "_places",
        "_since_began",
        "count",
        "due_ns",
        "kind",
        "subservice",
    )

    def __init__(self, codec: Codec, message: ServiceNotify) -> None:
        self.count = 1
        self.due_ns = message.due_ns
        self.subservice = message.subservice
        message = msgspec.structs.replace(message, time=message.due_ns)
        self._codec, self._message = codec, message
        self._frame = bytearray(codec.encode(message))
        self.kind = KIND_OF[type(message)]
        layout, head = codec.profile.layouts[self.kind], codec.profile.header.size
        self._since_began = layout.time is not None and layout.time.since_began
        body = layout.body
        carried, self._checksum = carried_by(codec.profile, self.kind), codec.profile.framing.checksum
        self._places = None
        if not self._since_began and all(
            name in body.offsets for name, bits in zip(STAMPS, carried, strict=True) if bits
        ):
            self._places = [
                (body.field_struct(name), head + body.offsets[name], index, (1 << bits) - 1)
                for index, (name, bits) in enumerate(zip(STAMPS, carried, strict=True))
                if bits
            ]

    @property
    def size(self) -> int:
        """Of the frame, in bytes."""
        return len(self._frame)

    def frame(self, sequence: int, sent_ns: int, began_ns: int = 0) -> bytes | memoryview:
        """The frame with these numbers, valid until the next call. Args: began_ns: when its session did."""
        if self._places is None:  # a profile that has them in elements, or behind all else; or a time of the session's
            time = self.due_ns - (began_ns if self._since_began else 0)
            message = msgspec.structs.replace(self._message, sequence=sequence, sent_ns=sent_ns, time=time)
            return self._codec.encode(message)
        values = (sequence, self.due_ns, sent_ns)
        for field, offset, index, mask in self._places:
            field.pack_into(self._frame, offset, values[index] & mask)
        if self._checksum is not None:
            self._checksum.put(memoryview(self._frame))
        return memoryview(self._frame)


Notification: TypeAlias = Notice | Measurements
# Frames of answers are finished; they have no sequence number.
Item: TypeAlias = bytes | Notification


class Taken(NamedTuple):
    """What is written at once.

    Attributes:
        notifications: in it; an answer is none. due_ns: when they were due, since the epoch.
        kind: of a notification that is no measurement.
    """

    data: bytes | memoryview
    notifications: int
    due_ns: int
    kind: Kind | None = None


class _Entry:
    """What waits of an item: its messages from `first` up to `end`."""

    __slots__ = ("end", "first", "item")

    def __init__(self, item: Item, first: int, end: int) -> None:
        self.item, self.first, self.end = item, first, end


def _count_of(item: Item) -> int:
    return 1 if isinstance(item, bytes) else item.count


class TransmitQueue:
    """The two queues of one link.

    Attributes:
        depth, deepest, dropped: messages that wait, the most that ever did, and those that did not fit; by priority.
        sequence, service_sequence: numbers of the next measurement notification and of the next other one.
    """

    __slots__ = ("_items", "_limits", "_timing", "deepest", "depth", "dropped", "sequence", "service_sequence")

    def __init__(self, high: int, normal: int, began_ns: int = 0) -> None:
        """Args: high, normal: limits, in messages. began_ns: when the session began, since the epoch."""
        self._timing = Timing(0, 0, began_ns)
        self._limits = (high, normal)
        self._items: tuple[deque[_Entry], ...] = (deque(), deque())
        self.depth = [0, 0]
        self.deepest = [0, 0]
        self.dropped = [0, 0]
        self.sequence = self.service_sequence = 0

    def put(self, item: Item, priority: Priority) -> int:
        """Have it wait for its turn; returns how many of its messages fit. The others are dropped."""
        fits = self.offer(item, priority, 0)
        self.drop(_count_of(item) - fits, priority)
        return fits

    def offer(self, item: Item, priority: Priority, first: int) -> int:
        """The same from its message number `first` on, but for the others."""
        fits = max(0, min(_count_of(item) - first, self._limits[priority] - self.depth[priority]))
        if fits:
            self._items[priority].append(_Entry(item, first, first + fits))
            self.depth[priority] += fits
            self.deepest[priority] = max(self.deepest[priority], self.depth[priority])
        return fits

    def drop(self, count: int, priority: Priority) -> None:
        """So many messages will not be offered again."""
        self.dropped[priority] += count

    @property
    def waiting(self) -> bool:
        return any(self._items)

    def take(self, sent_ns: int, most_bytes: int = MAX_WRITE_BYTES) -> Taken:
        """What is to be written next: everything of high priority comes first. Something must be waiting.

        Args:
            sent_ns: now, since the epoch.
            most_bytes: that may be written at once; no measurement has more.
        """
        priority = Priority.HIGH if self._items[Priority.HIGH] else Priority.NORMAL
        queue = self._items[priority]
        entry = queue[0]
        item = entry.item
        if isinstance(item, Measurements):
            self._timing.sent_ns = sent_ns
            view, count = item.frames(entry.first, entry.end - entry.first, self.sequence, self._timing, most_bytes)
            self.sequence += count
            entry.first += count
            if entry.first == entry.end:
                queue.popleft()
            self.depth[priority] -= count
            return Taken(view, count, item.due_ns)
        queue.popleft()
        self.depth[priority] -= 1
        if isinstance(item, bytes):
            return Taken(item, 0, 0)
        frame = item.frame(self.service_sequence, sent_ns, self._timing.began_ns)
        self.service_sequence += 1
        return Taken(frame, 1, item.due_ns, item.kind)

    def forget(self, granted: int) -> int:
        """Give up what the MSE has unsubscribed from; returns how many notifications that were.

        Args:
            granted: the mask that still is.
        """
        gone = 0
        for priority, queue in zip(Priority, self._items, strict=True):
            for _ in range(len(queue)):
                entry = queue.popleft()
                if isinstance(entry.item, bytes) or granted >> entry.item.subservice & 1:
                    queue.append(entry)
                else:
                    self.depth[priority] -= entry.end - entry.first
                    gone += entry.end - entry.first
        return gone

    def clear(self) -> int:
        """Give up everything; returns how many notifications that were."""
        entries = [entry for queue in self._items for entry in queue if not isinstance(entry.item, bytes)]
        count = sum(entry.end - entry.first for entry in entries)
        for queue in self._items:
            queue.clear()
        self.depth = [0, 0]
        return count
