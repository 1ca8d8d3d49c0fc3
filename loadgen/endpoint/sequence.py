"""Lost, duplicated, reordered: what one session's sequence numbers say."""

from __future__ import annotations

# Missing numbers that are remembered one by one, so that a late one is told from a duplicate.
_REMEMBERED = 65536
# Nobody loses so many in a row: a peer that jumps ahead further is counted as doing that, and its gap as nothing.
_LARGEST_GAP = 1 << 32


class SequenceCheck:
    """Judges one number at a time.

    A gap counts as lost at once; a number of a gap that comes later was not lost but reordered; any other number that
    was passed already is a duplicate. A gap of more than 2^32 is a jump, and no loss.
    """

    __slots__ = ("_missing", "duplicated", "expected", "jumps", "lost", "reordered", "skipped")

    def __init__(self, expected: int = 0) -> None:
        self.expected = expected
        self._missing: set[int] = set()
        self.lost = self.duplicated = self.reordered = self.jumps = self.skipped = 0

    def take(self, sequence: int) -> None:
        """Judge the next number."""
        if sequence == self.expected:
            self.expected += 1
        elif sequence > self.expected:
            gap = sequence - self.expected
            self.expected = sequence + 1
            if gap > _LARGEST_GAP:
                self.jumps += 1
                self.skipped += gap
                return
            self.lost += gap
            remembered = min(gap, _REMEMBERED - len(self._missing))
            self._missing.update(range(sequence - remembered, sequence))
        elif sequence in self._missing:
            self._missing.remove(sequence)
            self.lost -= 1
            self.reordered += 1
        else:
            self.duplicated += 1

    @property
    def taken(self) -> int:
        """How many numbers came, in whatever order; `expected` of them if none was ever missing."""
        return self.expected - self.lost - self.skipped + self.duplicated

    def counts(self) -> dict[str, int]:
        """What was found so far, by the names of the counters."""
        return {
            "notify.lost": self.lost,
            "notify.duplicated": self.duplicated,
            "notify.reordered": self.reordered,
            "errors.stream.sequence_jump": self.jumps,
        }
