"""How much may be looked at before a body is left alone: bodies of any content end in bounded time.

Counted is what was done and never time, so that the same capture always gives the same layout. A step is about what a
microsecond does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["MOST_STEPS", "Work"]

# Of all kinds of messages of a capture together. Devices that talk sense take a tenth of it.
MOST_STEPS = 30_000_000
# The first kinds, which have most frames, may take more than their share.
_AHEAD = 3
# How often a part of what is left may be parted again.
_DEEPEST = 8


@dataclass(eq=False, slots=True)
class Work:
    """Attributes:
    left: steps that all kinds together may still take.
    until: what has to be left when this kind has had its share.
    gave_up: something was not looked for in this kind.
    """

    left: int = MOST_STEPS
    until: int = 0
    gave_up: bool = False
    depth: int = 0

    def spend(self, steps: int) -> bool:
        """Whether there is more behind these steps; where there was none before, they are not to be taken."""
        if self.left > self.until:
            self.left -= steps
        if self.left > self.until:
            return True
        self.gave_up = True
        return False

    @property
    def out(self) -> bool:
        return self.left <= self.until

    def share(self, kinds: int) -> None:
        """The next of so many kinds begins: what the ones before have left over is there for it, too."""
        self.until = max(0, self.left - _AHEAD * self.left // max(kinds, 1))
        self.gave_up = False

    @contextmanager
    def part(self) -> Iterator[None]:
        """A search may take half of what is there, so that something is left for what it finds."""
        until = self.until
        self.depth += 1
        if self.depth <= _DEEPEST and self.left > until:
            self.until = self.left - (self.left - until) // 2
        try:
            yield
        finally:
            self.until = until
            self.depth -= 1
