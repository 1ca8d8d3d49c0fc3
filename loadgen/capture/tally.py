"""What a reading of a capture met, and what it left out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from loadgen.capture.events import Conversation

__all__ = ["Differing", "Tally"]

# Places that are kept of copies that differ; all are counted.
_MOST_PLACES = 100


class Differing(NamedTuple):
    """A segment of which the capture has another copy with other bytes, at an offset of the direction's stream."""

    conversation: Conversation
    of_client: bool
    offset: int
    ns: int


@dataclass(slots=True)
class Tally:
    """Counts of packets, unless said otherwise. It grows while a capture is read."""

    packets: int = 0
    segments: int = 0  # of TCP, whole datagrams
    conversations: int = 0
    missing: int = 0  # bytes in holes of known length

    # What was left out.
    other_links: Counter[int] = field(default_factory=Counter)  # by link type, of those that are not read
    not_ip: int = 0
    not_tcp: int = 0
    malformed: int = 0  # an IP or TCP header that contradicts itself or its packet
    headers_cut: int = 0  # the snapshot length left no whole TCP header
    cut: int = 0  # of a segment's bytes, the snapshot length left some, or none
    fragments_lost: int = 0  # of datagrams that did not get whole, or had too many
    strays: int = 0  # segments too far from where their stream is
    ended: int = 0  # segments with bytes, of directions that had ended
    copies_differ: int = 0
    evicted: int = 0  # conversations that were given up: too many at once
    blocks: int = 0  # blocks of pcapng that hold neither packets nor keys
    # Where the block or record begins that the file ends in; None: it is whole.
    cut_at: int | None = None

    differing: list[Differing] = field(default_factory=list)  # the first hundred

    def left_out(self) -> list[str]:
        """In words, what of the capture its conversations do not show; empty: nothing."""
        said = []
        if self.cut_at is not None:
            said.append(f"the file ends within the block or packet at byte {self.cut_at:,}")
        packets = {
            **{f"of link type {link}": count for link, count in sorted(self.other_links.items())},
            "not IP": self.not_ip,
            "not TCP": self.not_tcp,
            "malformed": self.malformed,
            "cut within their headers": self.headers_cut,
            "fragments of datagrams that are not whole": self.fragments_lost,
            "of numbers far from their stream": self.strays,
            "behind the end of their stream": self.ended,
        }
        if counted := _counted(packets):
            said.append(f"packets left out: {counted}")
        others = {
            "bytes missing, in holes": self.missing,
            "packets of which the snapshot length cut data": self.cut,
            "segments that have another copy with other bytes": self.copies_differ,
            "conversations given up, because there were too many at once": self.evicted,
        }
        return said + [f"{what}: {count:,}" for what, count in others.items() if count]

    def differs(self, found: Differing) -> None:
        self.copies_differ += 1
        if len(self.differing) < _MOST_PLACES:
            self.differing.append(found)


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
