"""Events of a capture, collected: the bytes of each direction of each conversation, and when each came."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field

from loadgen.capture.events import Closed, Conversation, Data, Event, Hole, How, Opened

__all__ = ["Exchange", "Stream", "collect"]


@dataclass(slots=True)
class Stream:
    """One direction. Where bytes are missing, the next run begins; nothing stands for the missing ones."""

    # Runs of bytes without a hole: (offset of the first in the direction's stream, bytes).
    runs: list[tuple[int, bytearray]] = field(default_factory=list)
    holes: list[tuple[int, int | None]] = field(default_factory=list)  # (offset, length; None: unknown)
    ended: How | None = None
    # When bytes came: from offset `_offsets[i]` on at `_times[i]`.
    _offsets: list[int] = field(default_factory=list)
    _times: list[int] = field(default_factory=list)

    def add(self, event: Data) -> None:
        if self.runs and self.runs[-1][0] + len(self.runs[-1][1]) == event.offset:
            self.runs[-1][1].extend(event.data)
        else:
            self.runs.append((event.offset, bytearray(event.data)))
        self._offsets.append(event.offset)
        self._times.append(event.ns)

    def came_ns(self, offset: int) -> int:
        """When the byte at an offset of the stream was captured. KeyError: it was not."""
        index = bisect_right(self._offsets, offset) - 1
        if index < 0:
            raise KeyError(offset)
        return self._times[index]

    def pieces(self) -> list[tuple[int, int]]:
        """How the bytes came, in order: (offset of a packet's first byte, when it was captured)."""
        return [*zip(self._offsets, self._times, strict=True)]

    def __len__(self) -> int:
        """Bytes that there are."""
        return sum(len(run) for _, run in self.runs)


@dataclass(slots=True)
class Exchange:
    """A conversation with all that both ends said. The client is the MSE, the server the WLC."""

    conversation: Conversation
    client: Stream = field(default_factory=Stream)
    server: Stream = field(default_factory=Stream)


def collect(events: Iterable[Event]) -> list[Exchange]:
    """All conversations of a capture, by first packet. It keeps every byte: bound the events first."""
    found: dict[int, Exchange] = {}
    for event in events:
        exchange = found.setdefault(event.conversation.index, Exchange(event.conversation))
        if isinstance(event, Opened):
            continue
        stream = exchange.client if event.of_client else exchange.server
        if isinstance(event, Data):
            stream.add(event)
        elif isinstance(event, Hole):
            stream.holes.append((event.offset, event.length))
        elif isinstance(event, Closed):
            stream.ended = event.how
    return [found[index] for index in sorted(found)]
