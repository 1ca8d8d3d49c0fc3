"""Shapes of frames: those of one shape have all of their fields at the same places.

A frame's shape is told by a few of its bytes: lengths, counts, types of elements, the constants of its header. They are
compared all at once, as one number under a mask, so that a frame of a shape that was seen before is neither walked
through nor made an object of.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

# Shapes that are kept, and of them of one size: a peer that invents ever new ones takes no memory for it.
_MOST_SHAPES = 2048
_MOST_OF_A_SIZE = 128
_NOWHERE = -1

Int64s = NDArray[np.int64]


class FrameShape:
    """One shape.

    Attributes:
        index: among all shapes of a table.
        size: of its frames, in bytes. mask, pattern: a frame of it is `pattern` under `mask`, as little-endian numbers.
        following: the shape of the frame that came behind one of this the last time; most devices repeat themselves.
    """

    __slots__ = ("following", "index", "mask", "pattern", "size")

    def __init__(self, index: int, size: int, mask: int, pattern: int) -> None:
        self.index, self.size, self.mask, self.pattern = index, size, mask, pattern
        self.following: FrameShape = self


class _OfSize:
    """The shapes of one size, by what they have in common places. mask: of the places that all of them look at."""

    __slots__ = ("by_key", "mask", "shapes")

    def __init__(self) -> None:
        self.shapes: list[FrameShape] = []
        self.mask = 0
        self.by_key: dict[int, list[FrameShape]] = {}

    def add(self, shape: FrameShape) -> None:
        self.shapes.append(shape)
        self.mask = self.mask & shape.mask if len(self.shapes) > 1 else shape.mask
        self.by_key = {}
        for each in self.shapes:
            self.by_key.setdefault(each.pattern & self.mask, []).append(each)


class ShapeTable:
    """The shapes that one receiver has seen.

    Attributes:
        names: of the fields whose places are kept.
        before_all: a shape that no frame has; the first frame of a piece follows it.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)
        self.before_all = FrameShape(_NOWHERE, 0, 0, 1)
        self._of_size: dict[int, _OfSize] = {}
        self._places: list[tuple[int, ...]] = []
        self._stations: list[int] = []
        self._columns: tuple[dict[str, Int64s], Int64s] | None = None

    def __len__(self) -> int:
        return len(self._places)

    def find(self, frame: int, size: int) -> FrameShape | None:
        """The shape of a frame, which is a little-endian number; None: it was not seen before."""
        of_size = self._of_size.get(size)
        if of_size is not None:
            for shape in of_size.by_key.get(frame & of_size.mask, ()):
                if frame & shape.mask == shape.pattern:
                    return shape
        return None

    def learns(self, size: int) -> bool:
        """Whether there is room for one more of this size."""
        of_size = self._of_size.get(size)
        return len(self._places) < _MOST_SHAPES and (of_size is None or len(of_size.shapes) < _MOST_OF_A_SIZE)

    def learn(
        self, frame: memoryview, skeleton: Iterable[tuple[int, int]], places: dict[str, int], stations: int
    ) -> FrameShape:
        """Keep the shape of a frame.

        Args:
            skeleton: offset and size of everything that tells it.
            places: where its fields are; one that it has not got is left out. stations: how many it is about.
        """
        mask = bytearray(len(frame))
        for at, size in skeleton:
            mask[at : at + size] = b"\xff" * size
        number = int.from_bytes(mask, "little")
        shape = FrameShape(len(self._places), len(frame), number, int.from_bytes(frame, "little") & number)
        self._of_size.setdefault(shape.size, _OfSize()).add(shape)
        self._places.append(tuple(places.get(name, _NOWHERE) for name in self.names))
        self._stations.append(stations)
        self._columns = None
        return shape

    def places(self, which: Int64s, begin: Int64s) -> tuple[dict[str, Int64s], Int64s]:
        """Where the fields of frames are, -1 where there is none; and how many stations each frame is about.

        Args:
            which: indices of their shapes. begin: where they begin.
        """
        if not self._places:
            return {name: np.full(len(begin), _NOWHERE) for name in self.names}, np.ones(len(begin), np.int64)
        if self._columns is None:
            table = np.array(self._places, np.int64).reshape(len(self._places), len(self.names))
            columns = {name: np.ascontiguousarray(table[:, index]) for index, name in enumerate(self.names)}
            self._columns = columns, np.array(self._stations, np.int64)
        columns, stations = self._columns
        found = {}
        for name, column in columns.items():
            offsets = column[which]
            found[name] = np.where(offsets < 0, _NOWHERE, begin + offsets)
        return found, stations[which]
