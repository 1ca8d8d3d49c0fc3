"""What is planted into a stream of notifications, as arithmetic: which are lost, and when the sender stands still."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple


class Faults(NamedTuple):
    """Every how-many-th notification of a session is lost, duplicated, swapped with its follower; 0: none."""

    lose: int = 0
    duplicate: int = 0
    swap: int = 0


class Slot(NamedTuple):
    """What becomes of one due time: these numbers are written, one after the other, and this was planted with it."""

    numbers: tuple[int, ...]
    fault: str = ""


def slots(faults: Faults, count: int | None) -> Iterator[Slot]:
    """The slots of one session, `count` in all, or without end.

    The last number is always written, and once: nobody could tell that it was lost. The follower of a swapped
    number has no other fault. So each fault that is planted here shows in the numbers that arrive.
    """
    held: int | None = None
    for number in itertools.count() if count is None else range(count):
        if held is not None:
            yield Slot((number, held), "swapped")
            held = None
        elif count is not None and number == count - 1:
            yield Slot((number,))
        elif _hit(number, faults.lose, 1):
            yield Slot((), "lost")
        elif _hit(number, faults.duplicate, 2):
            yield Slot((number, number), "duplicated")
        elif _hit(number, faults.swap, 3):
            held = number
            yield Slot(())
        else:
            yield Slot((number,))


def _hit(number: int, every: int, quarter: int) -> bool:
    """Once in `every` numbers; each kind of fault at another quarter of the way, so that they do not meet."""
    return every > 0 and number % every == every * quarter // 4


class Pauses(NamedTuple):
    """The sender stands still for `length_ns` in the middle of every `every_ns`; 0: never. Times since its start."""

    length_ns: int = 0
    every_ns: int = 0

    def released(self, due_ns: int) -> int:
        """When something that is due may be sent: then, or at the end of the pause that it falls into."""
        if not self.length_ns:
            return due_ns
        into = due_ns % self.every_ns - self.every_ns // 2
        return due_ns - into + self.length_ns if 0 <= into < self.length_ns else due_ns
