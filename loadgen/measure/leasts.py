"""The least times from sent to received, of each session: as far as more than one read of it says so.

One notification may bear a time that is wrong, and be the fastest by that. So what counts is not the fastest one, but
the second fastest, of another read: what is faster than all before stands alone until another one is faster, too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from loadgen.measure.stages import Int64s
from loadgen.measure.stamps import FAR_NS
from loadgen.units import NS_PER_S

# The least of a window stands for it, and for the next one; from then on it grows looser.
_WINDOW_NS = 5 * NS_PER_S


class Leasts:
    """By row; times are monotonic ns, and a read is known by its own. FAR_NS or more: there is none.

    Attributes:
        recent: the least of this window that counts.
        before_ns: when the window before this one began.
        lone: what is less than that, and stands alone; lone_ns: the read that brought it.
        seen_ns: the last read, 0 if there was none; mixed: of the read with the lone one, not all says the same.
    """

    def __init__(self, rows: int) -> None:
        self.recent, self._least = np.full(rows, FAR_NS), np.full(rows, FAR_NS)
        self.lone, self.lone_ns = np.full(rows, FAR_NS), np.zeros(rows, np.int64)
        self.seen_ns, self.mixed = np.zeros(rows, np.int64), np.zeros(rows, bool)
        self._window_ns = self.before_ns = 0

    def begin(self, row: int) -> None:
        """Nothing is known of it."""
        self.recent[row] = self._least[row] = FAR_NS
        self.seen_ns[row] = 0
        self.forget_lone(row)

    def put(self, rows: int | Int64s, least: int | np.int64 | Int64s) -> None:
        """So it is, whatever was before."""
        self.recent[rows] = self._least[rows] = least
        self.forget_lone(rows)

    def forget_lone(self, rows: int | Int64s) -> None:
        self.lone[rows] = FAR_NS
        self.lone_ns[rows] = 0
        self.mixed[rows] = False

    def since(self, rows: Int64s) -> NDArray[np.bool_]:
        """Whether there was something beside or behind the lone one that was taken by what counts without it."""
        since: NDArray[np.bool_] = (self.seen_ns[rows] > self.lone_ns[rows]) | self.mixed[rows]
        return since

    def known(self, rows: int | Int64s) -> Int64s:
        """The least that counts."""
        known: Int64s = np.minimum(self._least[rows], self.recent[rows])
        return known

    def is_over(self, now_ns: int) -> bool:
        """Whether it is time for the next window."""
        return now_ns >= self._window_ns + _WINDOW_NS

    def begin_window(self, now_ns: int, slewed_ns: int) -> Int64s:
        """Args: slewed_ns: what a clock may lose in the window that is over.

        Returns:
            rows whose lone one is as old as two windows, although others have come since.
        """
        self._least += slewed_ns  # and the lone one is held against one that is new
        np.minimum(self._least, self.recent, out=self._least)
        self.recent[:] = FAR_NS
        self.before_ns, self._window_ns = self._window_ns or now_ns, now_ns
        old = np.flatnonzero((self.lone < FAR_NS) & (self.lone_ns < self.before_ns))
        return old[self.since(old)]

    @property
    def window_ns(self) -> int:
        """When this window began."""
        return self._window_ns

    def come(self, rows: Int64s, least: Int64s, now_ns: int) -> tuple[Int64s, Int64s]:
        """A read brought less than `recent`.

        Returns:
            places of what is less than anything that counts; and those of them of which there were two reads: the
            greater of both is what counts now.
        """
        known = self.known(rows)
        lower = least < known
        self.recent[rows[~lower]] = least[~lower]
        places = np.flatnonzero(lower)
        if not places.size:
            return places, places
        rows, least = rows[places], least[places]
        lone, other = self.lone[rows], self.lone_ns[rows] != now_ns
        two = (lone < FAR_NS) & other
        self.recent[rows[two]] = np.maximum(lone, least)[two]
        first = least < lone
        self.lone[rows] = np.minimum(lone, least)
        self.lone_ns[rows[first]] = now_ns
        self.mixed[rows[first]] = False
        return places, places[two]
