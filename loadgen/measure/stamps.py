"""When notifications were sent, as they say themselves: whether a WLC's clock was put back."""

from __future__ import annotations

import numpy as np

from loadgen.measure.stages import Int64s
from loadgen.units import NS_PER_S

# 73 years: further away is no clock, but a number. One that began in 1970 is nearer.
FAR_NS = 1 << 61
_NEVER_NS = -FAR_NS  # before any time, and far enough from the least number
# Threads of a WLC that look at the clock, and then wait for each other to write.
_DISORDER_NS = NS_PER_S // 100


class Stamps:
    """When what came in each session was sent, as its WLC says: whether these times go back.

    One that is earlier than those before may have been overtaken, and one that those behind it are earlier than may be
    wrong. Two in a row that are earlier than two before say that the clock was put back.

    Attributes:
        overtaken: places in the rows that were taken last of those whose latest time was wrong; None: of none.
    """

    def __init__(self, rows: int, slack_ns: int) -> None:
        """Args: slack_ns: by how much what was sent later may come earlier."""
        self._slack_ns = max(slack_ns, _DISORDER_NS)
        # The latest time, and the latest one of all other reads.
        self._latest, self._other = np.full(rows, _NEVER_NS), np.full(rows, _NEVER_NS)
        self._once = np.zeros(rows, bool)  # the last one was behind
        self._doubted = 0  # rows of which it was
        self.overtaken: Int64s | None = None

    def begin(self, row: int) -> None:
        """Its clock is another from now on."""
        self._latest[row] = self._other[row] = _NEVER_NS
        self._doubted -= int(self._once[row])
        self._once[row] = False

    def is_in_order(self, row: int, sent_ns: int) -> bool:
        """Take one by itself, if there is nothing to be found out; otherwise it is for `fell_back`."""
        if self._doubted or sent_ns < self._latest[row]:
            return False
        self._other[row], self._latest[row] = self._latest[row], sent_ns
        return True

    def go_on(self, row: int, sent_ns: int) -> None:
        """Another one of the read whose last one was taken: it says nothing more of the clock."""
        self._latest[row] = max(int(self._latest[row]), sent_ns)

    def fell_back(self, rows: Int64s, sent_ns: Int64s) -> Int64s | None:
        """Args: rows: each at most once. Returns: places in it of those whose clock was put back; None: of none."""
        self.overtaken = None
        latest = self._latest[rows]
        if not np.count_nonzero(sent_ns < latest) and not self._doubted:
            self._other[rows] = latest
            self._latest[rows] = sent_ns
            return None
        other = self._other[rows]
        behind, once = sent_ns < latest - self._slack_ns, self._once[rows]
        again, first = behind & once, behind & ~once
        self._doubted += int(np.count_nonzero(first)) - int(np.count_nonzero(once))
        self._once[rows] = first
        back = again & (sent_ns < other - self._slack_ns)
        if (alone := again & ~back).any():
            self.overtaken = np.flatnonzero(alone)
        kept = np.where(again, other, latest)
        newer = np.maximum(kept, sent_ns)
        self._other[rows] = np.where(
            again, np.where(back, _NEVER_NS, np.minimum(other, sent_ns)), np.maximum(other, np.minimum(latest, sent_ns))
        )
        self._latest[rows] = np.where(back, sent_ns, newer)
        # What is no time was none before either.
        return np.flatnonzero(back & (latest < FAR_NS)) if back.any() else None
