"""One direction of a TCP connection: from segments in any order, doubled, cut anew or lost, to bytes and holes."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from itertools import islice
from operator import itemgetter

from loadgen.capture.events import Closed, Conversation, Data, Event, Hole, How
from loadgen.capture.tally import Differing, Tally

__all__ = ["Direction", "Memory", "Out"]

Out = list[Event]

_HALF, _MODULUS = 1 << 31, 1 << 32
# A segment further from where its stream is belongs to no window, and to no retransmission.
_AHEAD, _BEHIND = 1 << 30, 1 << 26
# How many such in a row say that the stream is elsewhere by now.
_STRAYS = 8
_SECOND = 1_000_000_000
# What the other end has acknowledged was captured before, or out of order a little, or never.
_PATIENCE_NS, _PATIENCE_BYTES = 1 * _SECOND, 1 << 18
# What it has not is sent again, or the connection ends. Where nothing of the other end was captured, time decides.
_UNACKNOWLEDGED_NS, _UNACKNOWLEDGED_BYTES = 60 * _SECOND, 1 << 22
# How long the beginning of a stream is looked for whose SYN was not captured.
_SETTLING_NS, _SETTLING_BYTES = 2 * _SECOND, 1 << 18
# Bytes of memory beside a piece's own.
_PIECE_COST = 200
# To compare retransmissions with: bytes of all streams, pieces of one.
_RECENT_BYTES, _MOST_COMPARED = 1 << 23, 64
# Before all times of captures.
_NEVER = -1 << 63
# No piece was given out yet.
_NONE: deque[tuple[int, bytes]] = deque(maxlen=0)

_start = itemgetter(0)


class Memory:
    """What all directions hold together: bytes that wait, and the last ones that were given out."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.waiting = 0
        self._recent: deque[Direction] = deque()
        self._recent_cost = 0

    def remember(self, direction: Direction, start: int, data: bytes) -> None:
        if direction.recent is _NONE:
            direction.recent = deque()
        direction.recent.append((start, data))
        self._recent.append(direction)
        self._recent_cost += len(data) + _PIECE_COST
        while self._recent_cost > _RECENT_BYTES:
            _, gone = self._recent.popleft().recent.popleft()
            self._recent_cost -= len(gone) + _PIECE_COST


class Direction:
    """Positions are sequence numbers that do not wrap. Methods append to `out` what they find.

    Until its beginning is known (`is_settled`), everything waits.
    """

    __slots__ = (
        "_base",
        "_conversation",
        "_fin",
        "_fin_ns",
        "_last_ns",
        "_memory",
        "_near",
        "_next",
        "_of_client",
        "_strays",
        "_top",
        "acknowledged",
        "cost",
        "is_closed",
        "is_settled",
        "pieces",
        "recent",
    )

    def __init__(self, conversation: Conversation, of_client: bool, memory: Memory) -> None:
        self._conversation, self._of_client, self._memory = conversation, of_client, memory
        self._near: int | None = None  # some position of the stream: what numbers are unwrapped by
        self._base = self._next = 0  # of the stream's first byte; of the next one to be given out
        self._top = 0  # behind the last byte that was seen to be sent
        self._fin: int | None = None
        self._fin_ns = 0
        self._last_ns = _NEVER  # of what was given out
        self._strays = 0
        self.acknowledged: int | None = None
        self.is_settled = self.is_closed = False
        # What waits: (position, bytes, when they came), sorted, without overlaps.
        self.pieces: list[tuple[int, bytes, int]] = []
        self.cost = 0
        self.recent = _NONE

    # -- what segments say ---------------------------------------------------------------------------------------------

    def settle_at(self, sequence: int, out: Out) -> None:
        """The stream's first byte has this number."""
        position = self._unwrap(sequence)
        self._base = self._next = self._near = position
        self._top = max(self._top, position) if self.pieces else position
        self.is_settled = True
        # Of before, there is nothing.
        while self.pieces and self.pieces[0][0] < position:
            start, data, ns = self.pieces.pop(0)
            self._release(len(data))
            self._insert(start, data, ns)
        self._deliver(out)

    def begins_at(self, sequence: int) -> bool:
        """Whether a connection whose first byte has this number is this one."""
        if self.is_settled:
            return (sequence - self._base) % _MODULUS == 0
        lowest = self.pieces[0][0] if self.pieces else self._near
        return lowest is None or (lowest - sequence) % _MODULUS <= _SETTLING_BYTES

    def acknowledge(self, sequence: int) -> None:
        """The other end has all bytes before this number."""
        position = self._unwrap(sequence)
        if self._is_near(position) and (self.acknowledged is None or position > self.acknowledged):
            self.acknowledged = position

    def take(self, ns: int, sequence: int, data: bytes, length: int, is_pushed: bool, out: Out) -> bool:
        """The bytes of a segment, of which the capture may have less than `length`.

        Returns:
            False: the stream is elsewhere by now.
        """
        start = self._unwrap(sequence)
        end = start + length
        if self.is_closed:
            if end > self._next:
                self._memory.tally.ended += 1
                self._strays += 1
            return self._strays < _STRAYS
        if not self._is_near(start):
            self._memory.tally.strays += 1
            self._strays += 1
            return self._strays < _STRAYS
        self._strays = 0
        if length == 1 and not is_pushed and self._is_keep_alive(end):
            return True
        self._top = max(self._top, end) if self.is_settled or self.pieces else end
        if self.is_settled and start == self._next and not self.pieces and self._fin is None:
            if data:
                self._give(start, data, ns, out)
            return True
        self._insert(start, data, ns)
        if self.is_settled:
            self._deliver(out)
        return True

    def fin(self, ns: int, sequence: int, out: Out) -> None:
        """No bytes come from this number on."""
        position = self._unwrap(sequence)
        if self._fin is not None or self.is_closed or not self._is_near(position):
            return
        if self.is_settled and position < self._next:
            self._memory.tally.strays += 1
            return
        self._fin, self._fin_ns = position, ns
        if self.is_settled:
            self._deliver(out)

    def is_near(self, sequence: int) -> bool:
        """Whether a segment with this number can be of this stream."""
        return self._is_near(self._unwrap(sequence))

    def _is_near(self, position: int) -> bool:
        reference = self._next if self.is_settled else self._near
        return reference is not None and -_BEHIND <= position - reference < _AHEAD

    def _is_keep_alive(self, end: int) -> bool:
        """Whether one byte is the last that the other end has, so that it may be any. The first of all may be it."""
        if self.acknowledged is None:
            return not self.is_settled and not self.pieces
        return end == self.acknowledged

    def _unwrap(self, sequence: int) -> int:
        if self._near is None:
            self._near = sequence
        near = self._next if self.is_settled else self._near
        return near + (sequence - near + _HALF) % _MODULUS - _HALF

    # -- what waits ----------------------------------------------------------------------------------------------------

    def _insert(self, start: int, data: bytes, ns: int) -> None:
        """Of bytes that are there already, the first copy stays."""
        end = start + len(data)
        if self.is_settled and start < self._next:
            self._compare_recent(start, data, ns)
            data = data[self._next - start :]
            start = self._next
        if self._fin is not None and end > self._fin:
            data = data[: max(self._fin - start, 0)]
        end = start + len(data)
        origin = start
        index = bisect_right(self.pieces, start, key=_start)
        if index:
            index -= 1
        while start < end:
            if index < len(self.pieces):
                there, old, _ = self.pieces[index]
                there_end = there + len(old)
                if there <= start:
                    if there_end > start:
                        self._compare(start, data[start - origin :], there, old, ns)
                        start = there_end
                    index += 1
                    continue
                until = min(end, there)
            else:
                until = end
            part = data[start - origin : until - origin]
            self.pieces.insert(index, (start, part, ns))
            self.cost += len(part) + _PIECE_COST
            self._memory.waiting += len(part) + _PIECE_COST
            start = until
            index += 1

    def _compare_recent(self, start: int, data: bytes, ns: int) -> None:
        end = start + len(data)
        for there, old in islice(reversed(self.recent), _MOST_COMPARED):
            if there + len(old) <= start:
                return
            if there < end:
                low = max(start, there)
                if self._compare(low, data[low - start :], there, old, ns):
                    return

    def _compare(self, start: int, data: bytes, there: int, old: bytes, ns: int) -> bool:
        """Whether bytes from `start` on differ from those from `there` on, where both are; which is noted then."""
        size = min(start + len(data), there + len(old)) - start
        if data[:size] == old[start - there : start - there + size]:
            return False
        base = self._base if self.is_settled else start
        self._memory.tally.differs(Differing(self._conversation, self._of_client, start - base, ns))
        return True

    def _release(self, size: int) -> None:
        self.cost -= size + _PIECE_COST
        self._memory.waiting -= size + _PIECE_COST

    # -- what is given out ---------------------------------------------------------------------------------------------

    def _settle(self, out: Out) -> None:
        """It begins with the lowest byte that is there."""
        if self.pieces or self._fin is not None:
            self._base = self._next = self.pieces[0][0] if self.pieces else self._fin or 0
            self.is_settled = True
            self._deliver(out)

    def _give(self, start: int, data: bytes, ns: int, out: Out) -> None:
        if ns < self._last_ns:
            ns = self._last_ns
        self._last_ns = ns
        out.append(Data(self._conversation, self._of_client, start - self._base, ns, data))
        self._next = start + len(data)
        self._memory.remember(self, start, data)

    def _deliver(self, out: Out) -> None:
        """What waits, up to the next gap."""
        count = 0
        for start, data, ns in self.pieces:
            if start != self._next:
                break
            self._give(start, data, ns, out)
            self._release(len(data))
            count += 1
        if count:
            del self.pieces[:count]
        if self._fin is not None and self._next >= self._fin:
            self._close(How.FIN, self._fin_ns, out)

    def _hole(self, end: int | None, ns: int, out: Out) -> None:
        self._last_ns = max(ns, self._last_ns)
        length = None if end is None else end - self._next
        out.append(Hole(self._conversation, self._of_client, self._next - self._base, length, self._last_ns))
        if end is not None:
            self._memory.tally.missing += end - self._next
            self._next = end

    def give_up(self, ns: int, out: Out) -> None:
        """What is missing and will not come any more, as of now, becomes a hole."""
        if not self.is_settled:
            if not self.pieces:
                return
            if ns - self.pieces[0][2] > _SETTLING_NS or self.cost > _SETTLING_BYTES:
                self._settle(out)
        while self.is_settled and not self.is_closed:
            if self.pieces:
                end, _, came_ns = self.pieces[0]
            elif self._fin is not None:
                end, came_ns = self._fin, self._fin_ns
            else:
                return
            if self.acknowledged is None:
                is_over = ns - came_ns > _UNACKNOWLEDGED_NS or self.cost > _UNACKNOWLEDGED_BYTES
            elif self.acknowledged >= end:
                is_over = ns - came_ns > _PATIENCE_NS or self.cost > _PATIENCE_BYTES
            else:
                is_over = self.cost > _UNACKNOWLEDGED_BYTES
            if not is_over:
                return
            self._hole(end, came_ns, out)
            self._deliver(out)

    def drain(self, out: Out) -> None:
        """Nothing is waited for any more."""
        if not self.is_settled:
            self._settle(out)
        while self.pieces:
            self._hole(self.pieces[0][0], self.pieces[0][2], out)
            self._deliver(out)

    def end(self, how: How, ns: int, out: Out) -> None:
        """Nothing comes any more."""
        if not self.is_closed:
            self.drain(out)
            self._end(how, ns, out)

    def _end(self, how: How, ns: int, out: Out) -> None:
        if self.is_closed:  # by a FIN, where what waited has ended
            return
        end = self._top if self._fin is None else self._fin
        if self.is_settled and end > self._next:
            self._hole(end, ns if self._fin is None else self._fin_ns, out)
        if self._fin is not None:
            self._close(How.FIN, self._fin_ns, out)
            return
        # What the other end acknowledged beyond was sent; one number may be that of a FIN.
        if self.is_settled and self.acknowledged is not None and self.acknowledged > self._next + 1:
            self._hole(None, ns, out)
        self._close(how, ns, out)

    def _close(self, how: How, ns: int, out: Out) -> None:
        self.is_closed = True
        for _, data, _ in self.pieces:
            self._release(len(data))
        self.pieces.clear()
        out.append(Closed(self._conversation, self._of_client, max(ns, self._last_ns), how))
