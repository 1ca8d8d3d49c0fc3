"""The checksums of many frames in one buffer: made, compared and put in without a step of Python's for each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from loadgen.nmsp.framing import Checksum

Int64s = NDArray[np.int64]

# Fewer frames than this that are due together are not worth finding out how they differ.
_MIN_TOGETHER = 4


class FrameSums:
    """The checksums of the frames that lie in a buffer."""

    def __init__(self, checksum: Checksum, buffer: bytearray) -> None:
        self._checksum, self._buffer, self._view = checksum, buffer, memoryview(buffer)
        # Of frames that may begin at each byte of the buffer: items that overlap.
        self._anywhere = np.ndarray(
            (len(buffer) - checksum.layout.size + 1,), checksum.layout.format, buffer, strides=(1,)
        )

    def of_run(self, start: int, size: int, count: int) -> list[int]:
        """What they must be of frames of one size that lie side by side."""
        of_bytes = self._checksum.of_bytes
        first, last, _ = self._checksum.covered.indices(size)
        if count == 1:
            return [of_bytes(self._view[start + first : start + last])]
        pieces = np.ndarray((count,), f"V{last - first}", self._buffer, start + first, (size,))
        return [*map(of_bytes, pieces.tolist())]

    def _of_each(self, starts: Int64s, ends: Int64s) -> list[int]:
        """The same of frames anywhere."""
        of_bytes, view = self._checksum.of_bytes, self._view
        first, last = self._checksum.covered.start, self._checksum.covered.stop
        begins = (starts if first >= 0 else ends) + first
        stops = ends if last is None else (starts if last >= 0 else ends) + last
        return [of_bytes(view[begin:stop]) for begin, stop in zip(begins.tolist(), stops.tolist(), strict=True)]

    def are_right(self, starts: Int64s, sizes: Int64s, counts: Int64s) -> NDArray[np.bool_]:
        """Of each frame, whether its checksum is what it must be.

        Args:
            starts: where runs of frames of one size begin. sizes: of each run's frames. counts: how many they are, at
                least 1.
        """
        at = self._places(starts, sizes, counts)
        told = self._anywhere[at]
        if self._checksum.covers_itself:
            self._anywhere[at] = 0
        made: list[int] = []
        if len(at) == len(starts):
            made = self._of_each(starts, starts + sizes)
        else:
            for start, size, count in zip(starts.tolist(), sizes.tolist(), counts.tolist(), strict=True):
                made += self.of_run(start, size, count)
        if self._checksum.covers_itself:
            self._anywhere[at] = told
        right: NDArray[np.bool_] = np.array(made) == told
        return right

    def _places(self, starts: Int64s, sizes: Int64s, counts: Int64s) -> Int64s:
        """Where the checksums of frames lie."""
        offset = self._checksum.offset
        first = starts + (offset if offset >= 0 else sizes + offset)
        total = int(counts.sum())
        if total == len(counts):
            return first
        step = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
        places: Int64s = np.repeat(first, counts) + step * np.repeat(sizes, counts)
        return places


class RunOfSums:
    """The checksums of frames of ours, of one size and side by side, in the trailer of each."""

    def __init__(
        self, checksum: Checksum, buffer: bytearray, offset: int, size: int, count: int, *, alike: bool
    ) -> None:
        """Args:
        offset: of the first one. size: of each.
        alike: those that are due together differ in the same bits from what they are now.
        """
        self._sums, self._offset, self._size = FrameSums(checksum, buffer), offset, size
        form = checksum.layout.format
        self._column = np.ndarray((count,), form, buffer, offset + size + checksum.offset, (size,))
        self._before: NDArray[np.int64] | None = None
        if alike and checksum.is_linear:
            self._before = np.array(self._of(0, count), np.int64)

    def _of(self, first: int, count: int) -> list[int]:
        return self._sums.of_run(self._offset + first * self._size, self._size, count)

    def put(self, first: int, last: int, due_ns: int | NDArray[np.integer]) -> None:
        """Put those of some frames in. Args: due_ns: when they are due, one for all or of each."""
        begins = [first]
        if not isinstance(due_ns, int):
            begins += (np.flatnonzero(due_ns[1:] != due_ns[:-1]) + (first + 1)).tolist()
        if self._before is None or len(begins) * _MIN_TOGETHER > last - first:
            self._column[first:last] = self._of(first, last - first)
            return
        # Frames that differ in the same bits from what they were have checksums that do, too.
        before = self._before[first:last]
        if len(begins) == 1:
            self._column[first:last] = before ^ (self._of(first, 1)[0] ^ int(before[0]))
            return
        made = np.array([self._of(begin, 1)[0] for begin in begins], np.int64)
        lengths = np.array([*begins[1:], last], np.int64) - np.array(begins, np.int64)
        self._column[first:last] = before ^ np.repeat(made ^ self._before[begins], lengths)
