"""The checksums of many frames in one buffer: made, compared and put in without a step of Python's for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, pairwise

import numpy as np
from numpy.typing import NDArray

from loadgen.nmsp.framing import Checksum

Int64s = NDArray[np.int64]

# Fewer frames than this that are due together are not worth finding out how they differ.
_MIN_TOGETHER = 12


class FrameSums:
    """The checksums of the frames that lie in a buffer."""

    def __init__(self, checksum: Checksum, buffer: bytearray) -> None:
        self._checksum, self._buffer, self._view = checksum, buffer, memoryview(buffer)
        # Of frames that may begin at each byte of the buffer: items that overlap.
        self._anywhere = np.ndarray(
            (len(buffer) - checksum.layout.size + 1,), checksum.layout.format, buffer, strides=(1,)
        )

    def of_one(self, start: int, size: int) -> int:
        """What that of a frame must be."""
        first, last, _ = self._checksum.covered.indices(size)
        return self._checksum.of_bytes(self._view[start + first : start + last])

    def of_run(self, start: int, size: int, count: int) -> list[int]:
        """The same of frames of one size that lie side by side."""
        return [*map(self._checksum.of_bytes, self._covered(start, size, count))]

    def _covered(self, start: int, size: int, count: int) -> list[bytes]:
        """What each of them is made of."""
        first, last, _ = self._checksum.covered.indices(size)
        pieces: list[bytes] = np.ndarray((count,), f"V{last - first}", self._buffer, start + first, (size,)).tolist()
        return pieces

    def _covered_of_each(self, starts: Int64s, ends: Int64s) -> Iterator[memoryview]:
        """The same of frames anywhere."""
        first, last = self._checksum.covered.start, self._checksum.covered.stop
        begins = (starts if first >= 0 else ends) + first
        stops = ends if last is None else (starts if last >= 0 else ends) + last
        return map(self._view.__getitem__, map(slice, begins.tolist(), stops.tolist()))

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
        pieces: Iterable[bytes | memoryview]
        if len(at) == len(starts):
            pieces = self._covered_of_each(starts, starts + sizes)
        else:
            runs = zip(starts.tolist(), sizes.tolist(), counts.tolist(), strict=True)
            pieces = chain.from_iterable(self._covered(*run) for run in runs)
        made = np.fromiter(map(self._checksum.of_bytes, pieces), np.int64, len(at))
        if self._checksum.covers_itself:
            self._anywhere[at] = told
        right: NDArray[np.bool_] = made == told
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
            self._before = np.array(self._sums.of_run(offset, size, count), np.int64)

    def put(self, first: int, last: int, due_ns: int | NDArray[np.integer]) -> None:
        """Put those of some frames in. Args: due_ns: when they are due, one for all or of each."""
        begins = [first]
        if not isinstance(due_ns, int):
            begins += (np.flatnonzero(due_ns[1:] != due_ns[:-1]) + (first + 1)).tolist()
        if self._before is None or len(begins) * _MIN_TOGETHER > last - first:
            start = self._offset + first * self._size
            self._column[first:last] = self._sums.of_run(start, self._size, last - first)
            return
        # Frames that differ in the same bits from what they were have checksums that do, too.
        for begin, end in pairwise([*begins, last]):
            made = self._sums.of_one(self._offset + begin * self._size, self._size)
            self._column[begin:end] = self._before[begin:end] ^ (made ^ int(self._before[begin]))
