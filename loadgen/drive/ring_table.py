"""Where the next notification of many WLCs lies, looked up for all of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from loadgen.nmsp.any_bulk import Ring
from loadgen.nmsp.bulk import Int64s
from loadgen.nmsp.carried import stamp_of
from loadgen.nmsp.profile import WireProfile
from loadgen.replay.ring import ReplayRing
from loadgen.transport.openssl import Pointer, pin

# A frame: its ring's buffer, where that begins in memory, the frame's offset and size.
Frame: TypeAlias = tuple[bytearray, Pointer, int, int]


class ReplaySingles:
    """The same of what was recorded, where nothing of it varies but what is ours: each ring finds its frame."""

    def __init__(self, profile: WireProfile, rings: Sequence[ReplayRing]) -> None:
        self.stamp = stamp_of(profile)
        self._rings = rings
        self._pointers = [pin(ring.buffer) for ring in rings]

    def frames(self, positions: Int64s, cursors: Int64s) -> list[Frame]:
        """As of `Singles`."""
        found = []
        for position, cursor in zip(positions.tolist(), cursors.tolist(), strict=True):
            ring = self._rings[position]
            offset, size = ring.place(cursor)
            found.append((ring.buffer, self._pointers[position], offset, size))
        return found


class Singles:
    """The rings of a worker's WLCs as one table of frames."""

    def __init__(self, profile: WireProfile, rings: Sequence[Ring]) -> None:
        self.stamp = stamp_of(profile)
        self._slots = np.array([ring.slots for ring in rings], np.int64)
        self._first = np.cumsum(self._slots) - self._slots
        self._offsets = np.concatenate([ring.offsets[: ring.slots] for ring in rings])
        self._sizes = np.concatenate([ring.sizes[: ring.slots] for ring in rings])
        self._buffers = [ring.buffer for ring in rings]
        self._pointers = [pin(buffer) for buffer in self._buffers]

    def frames(self, positions: Int64s, cursors: Int64s) -> list[Frame]:
        """Of each ring at `positions`, the frame that is next after `cursors` notifications."""
        slots = self._first[positions] + cursors % self._slots[positions]
        where = positions.tolist()
        return list(
            zip(
                [self._buffers[position] for position in where],
                [self._pointers[position] for position in where],
                self._offsets[slots].tolist(),
                self._sizes[slots].tolist(),
                strict=True,
            )
        )
