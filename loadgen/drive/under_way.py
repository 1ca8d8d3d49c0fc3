"""How many sessions may be set up at once.

More than a machine can shake hands with are not done sooner: each waits for all the others, and in the end all of them
time out together. So a session that is due waits its turn before it is dialed, and its lateness is on record.

What there is room for follows from how long it takes. By Little's law as many are served at once as are under way,
times what one takes by itself over what it takes now. Twice as many may be begun, so that a far or deliberate peer gets
all that it takes; and a few more, which wait: they keep this machine and the other one busy.
"""

from __future__ import annotations

from loadgen.units import NS_PER_MS

# That wait for others: both sides of a loopback are busy with some ten. And as many as are begun before one has ended.
_WAITING, _AT_FIRST, _LEAST = 64, 128, 4
# Of the time that a session has for being set up: if that much is taken, fewer are begun.
_SHARE = 1 / 4
# What the latest one says weighs as much in what is usual.
_RECENT = 1 / 16
# Below, nobody waits for others for long enough to tell.
_LEAST_CROWDED_NS = 20 * NS_PER_MS


class UnderWay:
    """Those of one worker, from connected (over DTLS: dialed) until they are up or have failed.

    Attributes:
        most: as many may be under way.
    """

    def __init__(self, setup_timeout_ns: int) -> None:
        self._patience_ns = setup_timeout_ns * _SHARE
        self._begun: dict[int, tuple[int, int]] = {}  # by number: when, and how many there were then, with it
        self._shortest_ns = self._usual_ns = 0.0
        self._served = 0.0  # of those under way, as many as do not wait for others
        self.most = _AT_FIRST

    def __len__(self) -> int:
        return len(self._begun)

    @property
    def full(self) -> bool:
        return len(self._begun) >= self.most

    @property
    def crowded(self) -> bool:
        """They wait for each other: it takes them much longer than one by itself."""
        return self._usual_ns > max(2 * self._shortest_ns, _LEAST_CROWDED_NS)

    def begins(self, number: int, now_ns: int) -> None:
        """A session's handshake begins."""
        self._begun[number] = now_ns, len(self._begun) + 1

    def ends(self, number: int, now_ns: int, *, up: bool) -> None:
        """A session is up, or not to be; one that had not begun is none."""
        if (begun := self._begun.pop(number, None)) is None:
            return
        begun_ns, beside = begun
        took_ns = max(1, now_ns - begun_ns)
        if not self._shortest_ns:
            self._shortest_ns = self._usual_ns = took_ns
            self._served = beside
        elif not up:
            return  # refused, or never heard of: that tells nothing of what it takes
        self._shortest_ns = min(self._shortest_ns, took_ns)
        self._usual_ns += (took_ns - self._usual_ns) * _RECENT
        self._served += (beside * self._shortest_ns / took_ns - self._served) * _RECENT
        most = _WAITING + 2 * self._served
        self.most = max(_LEAST, int(most * min(1.0, self._patience_ns / self._usual_ns)))
