"""Lost, duplicated, reordered: what one session's sequence numbers say."""

from __future__ import annotations

# A peer that jumps ahead by more than this did not lose so many; the jump is counted as lost, but the numbers are not
# remembered one by one.
_REMEMBERED = 65536


class SequenceCheck:
    """Judges one number at a time.

    A gap counts as lost at once; a number of a gap that comes later was not lost but reordered; any other number that
    was passed already is a duplicate.
    """

    __slots__ = ("_missing", "duplicated", "expected", "lost", "reordered")

    def __init__(self, expected: int = 0) -> None:
        self.expected = expected
        self._missing: set[int] = set()
        self.lost = self.duplicated = self.reordered = 0

    def take(self, sequence: int) -> None:
        """Judge the next number."""
        if sequence == self.expected:
            self.expected += 1
        elif sequence > self.expected:
            gap = sequence - self.expected
            self.lost += gap
            remembered = min(gap, _REMEMBERED - len(self._missing))
            self._missing.update(range(sequence - remembered, sequence))
            self.expected = sequence + 1
        elif sequence in self._missing:
            self._missing.remove(sequence)
            self.lost -= 1
            self.reordered += 1
        else:
            self.duplicated += 1

    def counts(self) -> tuple[int, int, int]:
        """(lost, duplicated, reordered) so far."""
        return self.lost, self.duplicated, self.reordered
