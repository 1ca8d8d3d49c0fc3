"""The beginnings of all frames as a table, and what its columns do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from loadgen.infer.frames import Frame
from loadgen.infer.framing import Order

__all__ = ["Heads", "number"]

Int64s = NDArray[np.int64]
Bools = NDArray[np.bool_]

# A header is not longer.
WIDEST = 64


class Heads:
    """Frames as rows: of each its first bytes, as many as the shortest frame has.

    Args:
        ends: by session the IPv4 addresses of its client and its server, where they are known.
    """

    def __init__(self, frames: Sequence[Frame], ends: Mapping[int, tuple[bytes, bytes]] | None = None) -> None:
        self.frames = frames
        self.ends = ends or {}
        self.size = np.array([len(frame.data) for frame in frames], np.int64)
        self.shortest = int(self.size.min())
        self.width = min(self.shortest, WIDEST)
        joined = b"".join(frame.data[: self.width] for frame in frames)
        self.cells = np.frombuffer(joined, np.uint8).reshape(len(frames), self.width)
        self.ns = np.array([frame.ns for frame in frames], np.int64)
        self.session = np.array([frame.session for frame in frames], np.int64)
        self.of_client = np.array([frame.of_client for frame in frames], bool)
        self.stream = np.unique(self.session * 2 + self.of_client, return_inverse=True)[1]
        offset = np.array([frame.offset for frame in frames], np.int64)
        # Whether a row's frame follows the row's before without a gap.
        self.follows = np.zeros(len(frames), bool)
        self.follows[1:] = (self.stream[1:] == self.stream[:-1]) & (offset[1:] == offset[:-1] + self.size[:-1])
        self.distinct = [len(np.unique(self.cells[:, column])) for column in range(self.width)]

    def __len__(self) -> int:
        return len(self.frames)

    def number(self, at: int, size: int, order: Order) -> Int64s:
        """A field of all rows; of 8 bytes modulo 2^63."""
        return number(self.cells[:, at : at + size], order)

    def is_zero(self, column: int) -> bool:
        """It is 0 in all frames."""
        return self.distinct[column] == 1 and self.cells[0, column] == 0

    @cached_property
    def stays(self) -> list[bool]:
        """Of each column, whether it is one value in each stream: that of who speaks, or of the session."""
        streams = int(self.stream.max()) + 1
        return [len(np.unique(self.stream * 256 + self.cells[:, c])) == streams for c in range(self.width)]

    @cached_property
    def of_stream(self) -> list[bool]:
        """Of each column, whether it is one value in each stream, and not the same in all streams of a direction."""
        sides = len(np.unique(self.of_client))
        return [
            stays and len(np.unique(self.of_client * 256 + self.cells[:, column])) > sides
            for column, stays in enumerate(self.stays)
        ]

    @cached_property
    def by_time(self) -> Int64s:
        """Rows by session, and in it by time of capture."""
        return np.lexsort((np.arange(len(self)), self.ns, self.session)).astype(np.int64)

    def dialogues(self) -> Iterator[Int64s]:
        """The rows of each session, by time."""
        order = self.by_time
        begins = np.flatnonzero(np.r_[True, self.session[order][1:] != self.session[order][:-1]])
        yield from np.split(order, begins[1:])

    def values_in_streams(self, column: int) -> int:
        """How many values a column has in a stream, at most."""
        pairs = np.unique(self.stream * 256 + self.cells[:, column])
        return int(np.bincount(pairs // 256).max())

    def streams(self) -> Iterator[Int64s]:
        """The rows of each stream, by time."""
        order = np.lexsort((np.arange(len(self)), self.ns, self.stream)).astype(np.int64)
        begins = np.flatnonzero(np.r_[True, self.stream[order][1:] != self.stream[order][:-1]])
        yield from np.split(order, begins[1:])


def number(cells: NDArray[np.uint8], order: Order) -> Int64s:
    """Integers of rows of bytes; of 8 bytes modulo 2^63."""
    total = np.zeros(len(cells), np.int64)
    size = cells.shape[1]
    for step in range(size):
        shift = 8 * (size - 1 - step if order == "big" else step)
        total |= (cells[:, step].astype(np.int64) & (0x7F if shift == 56 else 0xFF)) << shift
    return total
