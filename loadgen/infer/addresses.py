"""MAC addresses of a whole capture, found before any field is: they come again in other messages and other places."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

__all__ = ["find_macs", "makers_of"]

# Bytes of a body that are looked at, and bodies of a kind.
FAR = 512
BODIES = 120


def _plausible(window: bytes) -> bool:
    """A single device's, and no number, text or IPv4 address."""
    first, second = window[0], window[1]
    if first & 1 or window.count(0) > 2 or len(set(window)) < 4 or (first == 0 and second == 0):
        return False
    if first == 10 or (first == 192 and second == 168) or (first == 172 and 16 <= second < 32):
        return False
    return not all(32 <= byte < 127 for byte in window)


def find_macs(kinds: Iterable[Sequence[bytes]]) -> frozenset[bytes]:
    """Six bytes that come again with other bytes before and behind them. Args: kinds: the bodies of each."""
    before: defaultdict[bytes, set[int]] = defaultdict(set)
    behind: defaultdict[bytes, set[int]] = defaultdict(set)
    times: Counter[bytes] = Counter()
    for bodies in kinds:
        step = max(1, len(bodies) // BODIES)
        for body in bodies[::step]:
            data = body[:FAR]
            for at in range(len(data) - 5):
                window = data[at : at + 6]
                if window[0] & 1 or not _plausible(window):
                    continue
                times[window] += 1
                if len(before[window]) < 2:
                    before[window].add(data[at - 1] if at else -1)
                if len(behind[window]) < 2:
                    behind[window].add(data[at + 6] if at + 6 < len(data) else -1)
    found = {window for window, n in times.items() if n > 1 and len(before[window]) > 1 and len(behind[window]) > 1}
    # What makers share is rarely chance; what has no maker in common has to come more often.
    makers = Counter(window[:3] for window in found)
    return frozenset(w for w in found if makers[w[:3]] > 1 or (w[0] & 2 and times[w] > 2) or times[w] > 4)


def makers_of(macs: Iterable[bytes]) -> frozenset[bytes]:
    """The first halves that several addresses have, of those that are not locally administered."""
    makers = Counter(mac[:3] for mac in macs if not mac[0] & 2)
    return frozenset(maker for maker, n in makers.items() if n > 1)
