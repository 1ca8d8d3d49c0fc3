"""Lost, duplicated, reordered: what one session's sequence numbers say."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Generic, NamedTuple, TypeVar

from loadgen.units import NS_PER_S

# Missing numbers that are remembered one by one, so that a late one is told from a duplicate.
_REMEMBERED = 65536
# No network loses that many in a row: a peer that jumps ahead further is counted as doing that, and its gap as nothing.
_LARGEST_GAP = 1 << 32
# A number that is missing when we leave may be under way for half as long again as any before it was, and a little.
_LATER_STILL = 1.5
_LITTLE_NS = NS_PER_S // 10
# Of the numbers since the first of these, twice the share that came late before may be, and a few, or what came late in
# a row: a share of few is not known well. So one that was late does not excuse hundreds that are lost.
_TIMES_LATE = 2
_FEW_LATE = 3
# Before anything that is due.
NOTHING_DUE_NS = -(1 << 63)

Held = TypeVar("Held")


class Judged(NamedTuple):
    """What became of several numbers.

    Attributes:
        new: of each, whether it is no duplicate.
        doubtful: the place of one that was taken for a duplicate, and may turn out to be none.
        cleared: that has become of the one of an earlier call.
    """

    new: list[bool]
    doubtful: int | None
    cleared: bool


class SequenceCheck(Generic[Held]):
    """Judges one number at a time.

    A gap counts as lost at once; a number of a gap that comes later was not lost but reordered; any other number that
    was passed already is a duplicate. A gap of more than 2^32 is a jump, and no loss.

    What came before was due before. Two numbers in a row that were passed, and are due later than whatever came so far,
    are no duplicates: the numbers have begun again. The higher one is due later, or they are of no series.

    Attributes:
        held: whatever its owner keeps of the number that is `Judged.doubtful`.
    """

    __slots__ = (
        *(
            "_again",
            "_again_due_ns",
            "_before",
            "_doubted",
            "_due_ns",
            "_jumped",
            "_late",
            "_longest_ns",
            "_longest_row",
        ),
        *("_missing", "_now_ns", "_row"),
        *("duplicated", "expected", "held", "jumps", "lost", "reordered", "restarts", "skipped"),
    )

    def __init__(self, expected: int = 0, due_ns: int = NOTHING_DUE_NS) -> None:
        """Args: due_ns: when the number before the expected one was due."""
        self.expected = expected
        self._due_ns = due_ns  # when the highest number was
        self._missing: dict[int, int] = {}  # since when
        self._now_ns = 0  # when the last ones came
        self._longest_ns = 0  # that one was missing which came
        self._row = range(0)  # the last ones that came late, one behind the other
        self._longest_row = 0
        # The last number, if it was passed already and is due later than the highest one; and whether it was missing.
        self._again: int | None = None
        self._again_due_ns = due_ns
        self._late = self._doubted = False  # doubted: the last one was taken for a duplicate because of that
        self.held: Held | None = None
        self._jumped = range(0)  # over these, without counting them as lost
        self._before = 0  # that were expected until the numbers began again
        self.lost = self.duplicated = self.reordered = self.jumps = self.restarts = self.skipped = 0

    def take(self, sequence: int, due_ns: int = NOTHING_DUE_NS) -> bool:
        """Judge the next number, and say whether it is a new one: not if it is a duplicate."""
        if sequence < self.expected:
            return self._take_passed(sequence, due_ns)
        gap = sequence - self.expected
        if gap:
            lost = gap <= _LARGEST_GAP
            if not lost:
                self.jumps += 1
                self._jumped = self._jumped or range(self.expected, sequence)
            self._skip(gap, lost=lost)
        self.expected = sequence + 1
        self._due_ns, self._again = due_ns, None
        return True

    def _skip(self, gap: int, *, lost: bool) -> None:
        """The next `gap` numbers that are expected did not come."""
        if not lost:
            self.skipped += gap
            return
        self.lost += gap
        end = self.expected + gap
        remembered = range(end - min(gap, _REMEMBERED - len(self._missing)), end)
        self._missing.update(dict.fromkeys(remembered, self._now_ns))

    def _take_passed(self, sequence: int, due_ns: int) -> bool:
        newer = due_ns > self._due_ns
        first = self._again if newer and self._again != sequence else None
        if first is not None and (sequence > first) == (due_ns > self._again_due_ns):
            self._begin_again(first, sequence)
            self._due_ns, self._again = max(due_ns, self._again_due_ns), None
            return True
        late = sequence in self._missing
        if not newer or sequence != self._again:
            self._again, self._again_due_ns, self._late = sequence if newer else None, due_ns, late
        if not late:
            self.duplicated += 1
            # What was jumped over may never have come: for all we know, it is no copy.
            return sequence in self._jumped
        self._longest_ns = max(self._longest_ns, self._now_ns - self._missing.pop(sequence))
        self._row = range(self._row.start if sequence == self._row.stop else sequence, sequence + 1)
        self._longest_row = max(self._longest_row, len(self._row))
        self.lost -= 1
        self.reordered += 1
        return True

    def _begin_again(self, first: int, second: int) -> None:
        """These two are numbers of a new series."""
        self.restarts += 1
        self.reordered += second < first
        first, second = sorted((first, second))
        if self._late:
            self.lost += 1
            self.reordered -= 1
        else:
            self.duplicated -= 1
        # Every series begins at 0; but who went back a little only, or from a jump, has not sent what is further down.
        known = first <= self.expected // 2 and not self._jumped
        self._missing.clear()
        self._jumped = range(0)
        self._before += self.expected
        self.expected = 0
        self._skip(first, lost=known and first <= _LARGEST_GAP)
        self.expected = first + 1
        self._skip(second - self.expected, lost=second - first <= _LARGEST_GAP)
        self.expected = second + 1

    @property
    def taken(self) -> int:
        """How many numbers came, in whatever order; `expected` of them if none was ever missing."""
        return self._before + self.expected - self.lost - self.skipped + self.duplicated

    def take_all(
        self, sequences: Iterable[int], due_ns: Iterable[int], count: Callable[[str, int], None], now_ns: int
    ) -> Judged:
        """Judge several that came now, and count what was found."""
        self._now_ns = now_ns
        before = self.counts()
        new: list[bool] = []
        doubtful: int | None = None
        cleared = False
        for sequence, due in zip(sequences, due_ns, strict=True):
            again, restarts = self._again, self.restarts
            is_new = self.take(sequence, due)
            if self.restarts > restarts and doubtful is not None:
                new[doubtful] = True
            elif self.restarts > restarts:
                cleared = cleared or self._doubted
            if self._again is None or self._again != again:
                doubtful = None if self._again is None or is_new else len(new)
                self._doubted = False
            new.append(is_new)
        self._doubted = self._doubted or doubtful is not None
        for name, total in self.counts().items():
            if total != before[name]:
                count(name, total - before[name])
        return Judged(new, doubtful, cleared)

    def leave(self, left_ns: int, count: Callable[[str, int], None]) -> None:
        """Nothing comes any more, because we left. Args: left_ns: when we said so."""
        if not self.reordered:
            return
        since_ns = left_ns - int(self._longest_ns * _LATER_STILL) - _LITTLE_NS
        young = [number for number, missed_ns in self._missing.items() if missed_ns >= since_ns]
        # The rest has been missing for longer than these, and is lost.
        if withdrawn := min(len(young), self._under_way(self.expected - young[0]) if young else 0):
            self.lost -= withdrawn
            self.skipped += withdrawn
            self._missing.clear()
            count("notify.lost", -withdrawn)
            count("notify.withdrawn", withdrawn)

    def _under_way(self, numbers: int) -> int:
        """How many of so many numbers, the last ones, may still come, by how many came late so far."""
        whole = max(numbers, self._before + self.expected - self.skipped)
        return math.ceil(_TIMES_LATE * self.reordered * numbers / whole) + max(_FEW_LATE, self._longest_row)

    def counts(self) -> dict[str, int]:
        """What was found so far, by the names of the counters."""
        return {
            "notify.lost": self.lost,
            "notify.duplicated": self.duplicated,
            "notify.reordered": self.reordered,
            "errors.stream.sequence_jump": self.jumps,
            "errors.stream.sequence_restart": self.restarts,
        }
