"""Links that are to be closed in order, some at a time.

Goodbyes to twenty thousand peers, said at once, take a second; to answer them takes the peers longer than an answer is
waited for. So a few hundred are waited for at once, and the next is told when one has gone. A peer that does not answer
soon keeps its own end waiting, and nobody else's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Generic

from loadgen.clock import Nanoseconds
from loadgen.drive.links import LinkT
from loadgen.drive.phase import CLOSED, CLOSING
from loadgen.units import NEVER_NS, NS_PER_MS

# Goodbyes that are not answered yet; and for how long one counts among them.
AT_ONCE = 256
SOON_NS = 250 * NS_PER_MS
# Answers that have come must be read: after this long, the rest waits a turn.
_BUDGET_NS = 5 * NS_PER_MS


class Leaving(Generic[LinkT]):
    """Those of one shard."""

    def __init__(self, clock: Nanoseconds) -> None:
        self._clock = clock
        self._waiting: deque[LinkT] = deque()
        self._told: dict[LinkT, int] = {}  # when, in that order

    def add(self, links: Iterable[LinkT]) -> None:
        """They are to be closed."""
        self._waiting.extend(links)

    def gone(self, link: LinkT) -> None:
        """A link is no more."""
        self._told.pop(link, None)

    def due(self) -> Iterator[LinkT]:
        """Those to be told now; each is before the next is asked for."""
        until_ns = self._clock() + _BUDGET_NS
        while self._waiting and self._has_room(now_ns := self._clock()) and now_ns <= until_ns:
            link = self._waiting.popleft()
            if link.phase is CLOSED:
                continue
            yield link
            if link.phase is CLOSING:
                self._told[link] = now_ns

    def _has_room(self, now_ns: int) -> bool:
        while self._told:
            link, told_ns = next(iter(self._told.items()))
            if now_ns - told_ns < SOON_NS:
                break
            del self._told[link]
        return len(self._told) < AT_ONCE

    def next_ns(self, now_ns: int) -> int:
        """When the next may be told, if none goes before."""
        if not self._waiting:
            return NEVER_NS
        return now_ns if self._has_room(now_ns) else next(iter(self._told.values())) + SOON_NS
