"""Durations and waits of one stage, counted by the native turn as they come."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadgen.native.library import native


class Aim(NamedTuple):
    """What is counted: what was due (ns since the epoch) from `low_ns` on and before `high_ns`; by slots of 2^shift ns
    from `low_ns` on.
    """

    low_ns: int
    high_ns: int
    shift: int


class NativeTally:
    """The memory for that.

    Attributes:
        address: of an `lg_tally`.
        aim: None: nothing is counted.
        since_due, since_sent: counts by HdrHistogram bucket. waited, waits: of each slot, how many, and how long (ns)
            together.
    """

    def __init__(self, ffi: Any, buckets: int, highest_ns: int, slots: int) -> None:
        self.address = self._state = state = ffi.new("lg_tally *")
        self.aim: Aim | None = None
        self.since_due, self.since_sent = np.zeros(buckets, np.int64), np.zeros(buckets, np.int64)
        self.waited, self.waits = np.zeros(slots, np.int64), np.zeros(slots, np.int64)
        for name in ("since_due", "since_sent", "waited", "waits"):
            column: NDArray[np.int64] = getattr(self, name)
            setattr(state, name, ffi.cast("int64_t *", column.ctypes.data))
        state.highest, state.slots = highest_ns, slots

    @property
    def count(self) -> int:
        """How many were counted since `clear`."""
        return self._state.count  # type: ignore[no-any-return]

    @property
    def latest_ns(self) -> int:
        """When the latest of these was due."""
        return self._state.latest  # type: ignore[no-any-return]

    def count_what(self, aim: Aim | None) -> None:
        """From now on; what was counted before must have been fetched."""
        self.aim = aim
        state = self._state
        state.low, state.high, state.shift = aim or (0, 0, 0)
        state.start = state.low

    def clear(self) -> None:
        """What was counted was fetched."""
        for column in (self.since_due, self.since_sent, self.waited, self.waits):
            column[:] = 0
        self._state.count = self._state.latest = 0


def native_tally(buckets: int, highest_ns: int, slots: int) -> NativeTally | None:
    """None: there is no native turn. Args: highest_ns: the longest duration that has a bucket of its own."""
    library = native()
    return None if library is None else NativeTally(library.ffi, buckets, highest_ns, slots)
