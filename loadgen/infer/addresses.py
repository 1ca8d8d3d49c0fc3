"""MAC addresses of a whole capture, found before any field is: they come again in other messages and other places."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

__all__ = ["find_macs", "makers_of", "may_be_mac"]

# Bytes of a body that are looked at, and bodies of a kind.
FAR = 512
BODIES = 120
_FILLED = bytes(2)


def may_be_mac(window: bytes) -> bool:
    """Whether six bytes may be a single device's address, and are no number, text or IPv4 address."""
    first, second = window[0], window[1]
    if first & 1 or window.count(0) > 2 or len(set(window)) < 4 or (first == 0 and second == 0):
        return False
    if first == 10 or (first == 192 and second == 168) or (first == 172 and 16 <= second < 32):
        return False
    return not all(32 <= byte < 127 for byte in window)


def _windows(kinds: Iterable[Sequence[bytes]]) -> Iterator[tuple[bytes, list[int]]]:
    """Some bodies of each kind, and where in them an address could be."""
    for bodies in kinds:
        step = max(1, len(bodies) // BODIES)
        for body in bodies[::step]:
            data = body[:FAR]
            yield data, [at for at in range(len(data) - 5) if not data[at] & 1 and may_be_mac(data[at : at + 6])]


def _may_be_text(window: bytes) -> bool:
    """Whether it may be of a text that zeros fill up."""
    return all(not byte or 32 <= byte < 127 for byte in window)


def find_macs(kinds: Iterable[Sequence[bytes]]) -> frozenset[bytes]:
    """Six bytes that come again with other bytes before and behind them, or with the zeros that fill them up to eight.
    Args: kinds: the bodies of each."""
    before: defaultdict[bytes, set[int]] = defaultdict(set)
    behind: defaultdict[bytes, set[int]] = defaultdict(set)
    times: Counter[bytes] = Counter()
    bodies = [*_windows(kinds)]
    for data, places in bodies:
        for at in places:
            window = data[at : at + 6]
            times[window] += 1
            if len(before[window]) < 2:
                filled = data[:at].endswith(_FILLED) and not _may_be_text(window)
                before[window] |= {-1, 0} if filled else {data[at - 1] if at else -1}
            if len(behind[window]) < 2:
                filled = data.startswith(_FILLED, at + 6) and not _may_be_text(window)
                behind[window] |= {-1, 0} if filled else {data[at + 6] if at + 6 < len(data) else -1}
    found = {window for window, n in times.items() if n > 1 and len(before[window]) > 1 and len(behind[window]) > 1}
    # Of two that overlap, the one that comes more often is no part of the other.
    won: Counter[bytes] = Counter()
    for data, places in bodies:
        standing = [at for at in places if data[at : at + 6] in found]
        taken: list[int] = []
        for at in sorted(standing, key=lambda at: (-times[data[at : at + 6]], at)):
            if all(abs(at - other) > 5 for other in taken):
                taken.append(at)
                won[data[at : at + 6]] += 1
    found = {window for window in found if won[window] * 2 > times[window]}
    # What makers share is rarely chance; what has no maker in common has to come more often.
    makers = Counter(window[:3] for window in found)
    return frozenset(w for w in found if makers[w[:3]] > 1 or (w[0] & 2 and times[w] > 2) or times[w] > 4)


def makers_of(macs: Iterable[bytes]) -> frozenset[bytes]:
    """The first halves that several addresses have, of those that are not locally administered."""
    makers = Counter(mac[:3] for mac in macs if not mac[0] & 2)
    return frozenset(maker for maker, n in makers.items() if n > 1)
