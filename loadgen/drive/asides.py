"""What of the bytes that a peer has not taken yet is notifications: the kernel tells how many wait, and not which."""

from __future__ import annotations

# Of one link, until every two neighbours become one: what is long ago need not be told to the frame.
MOST = 256
# What TLS adds to what is written at once: header and tag; before 1.3 a nonce, too. Of AES-GCM, which is what today's
# two sides agree on.
RECORD_BYTES = {"1.3": 22}
OLD_RECORD_BYTES = 29


class Asides:
    """Answers, echoes and whatever else was said over a link between notifications, and behind how many of these.

    How much a link was told of is in a unit of the caller's: notifications, or their bytes.
    """

    __slots__ = ("_said",)

    def __init__(self) -> None:
        # Told by the first and by the last of some, which lie evenly between, and their bytes.
        self._said: list[list[int]] = []

    def said(self, told: int, size: int) -> None:
        """`size` bytes were written, behind `told` notifications."""
        if self._said and self._said[-1][0] == told:
            self._said[-1][2] += size
            return
        self._said.append([told, told, size])
        if len(self._said) > MOST:
            pairs = zip(self._said[::2], self._said[1::2], strict=False)
            odd = self._said[len(self._said) & ~1 :]
            self._said = [*([one[0], other[1], one[2] + other[2]] for one, other in pairs), *odd]

    def __len__(self) -> int:
        """How many are kept, of those that became one."""
        return len(self._said)

    def told_within(self, waiting: float, told: int, each: float) -> float:
        """How much of what was told lies in the last `waiting` bytes.

        Args:
            told: by now. each: bytes of a unit of it, as they go out.
        """
        found, waiting = 0.0, max(0.0, waiting)
        for first, last, size in (*reversed(self._said), [0, 0, 0]):
            part = min(waiting, (told - last) * each)
            among = (last - first) * each
            found += part
            waiting -= part
            if size:
                part = min(waiting, among + size)
                found += part * among / (among + size)
                waiting -= part
            told = first
        return found / each
