"""TCP segments that this worker's own links sent, sent again, and sent in vain: a sample, at a bounded cost."""

from __future__ import annotations

from collections.abc import Iterable

from loadgen.drive.links import Link
from loadgen.measure.recorder import Recorder

# Looked at in each interval, in turn: at up to 10 us each, a thousandth of a second.
MOST_AT_ONCE = 100
# Links that end without a session are short and many (handshakes): of these, every so-and-so-many-th.
OF_SHORT_LINKS = 8


class SegmentWatch:
    """Counts what links' connections have sent since they were looked at last."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._turn: list[Link] = []
        self._short = 0

    def look_around(self, links: Iterable[Link]) -> None:
        """Look at some of these links, those that were not looked at for longest first."""
        if not self._turn:
            self._turn = list(links)
        for link in self._turn[-MOST_AT_ONCE:]:
            self.look_at(link)
        del self._turn[-MOST_AT_ONCE:]

    def ends(self, link: Link) -> None:
        """A link is about to be closed: nobody can look at it later."""
        if link.endpoint is None:
            self._short += 1
            if self._short % OF_SHORT_LINKS:
                return
        self.look_at(link)

    def look_at(self, link: Link) -> None:
        """Count what a link's connection has sent since the last time."""
        if link.tunnel is None or (now := link.tunnel.segments()) is None:
            return
        before, link.segments = link.segments, now
        self._recorder.count("tcp.segments_sent", now.sent - before.sent)
        self._recorder.count("tcp.segments_retransmitted", now.retransmitted - before.retransmitted)
        self._recorder.count("tcp.segments_spurious", now.spurious - before.spurious)
