"""A capture from its bytes to its events: packets, segments, connections in one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from loadgen.capture.connections import Connections
from loadgen.capture.events import Event
from loadgen.capture.network import SegmentReader
from loadgen.capture.packets import Packet, PacketReader
from loadgen.capture.tally import Tally

__all__ = ["SERVER_PORT", "events_of", "secrets_of"]

# Where WLCs listen.
SERVER_PORT = 16113
# Bytes that are taken in at once of a chunk: what they bring is in memory together.
_PIECE = 1 << 20


def events_of(
    chunks: Iterable[bytes], *, port: int = SERVER_PORT, name: str = "capture", tally: Tally | None = None
) -> Iterator[Event]:
    """What happened on the TCP connections of a capture, pcap or pcapng, as its bytes come.

    Args:
        chunks: the file in pieces of any size.
        port: of servers: which end is which, where no SYN was captured. If both ends have it or neither, the lower port
            is the server's.
        name: of the capture, for errors.
        tally: what was met and left out is counted there.

    Raises:
        InputError: it is no capture, or damaged there. What came before was given already; how connections ended was
            not.
    """
    tally = Tally() if tally is None else tally
    reader, network, connections = PacketReader(name, tally), SegmentReader(tally), Connections(port, tally)
    for piece in _pieces(chunks):
        for packet in reader.receive(piece):
            if isinstance(packet, Packet) and (segment := network.segment(packet)) is not None:
                yield from connections.receive(segment)
    reader.finish()
    network.finish()
    yield from connections.finish()


def secrets_of(chunks: Iterable[bytes], *, name: str = "capture") -> Iterator[bytes]:
    """The key logs in NSS's format that a capture has inside, wherever they lie: before their packets, or behind.

    Raises:
        InputError: as of `events_of`.
    """
    reader = PacketReader(name)
    for piece in _pieces(chunks):
        for found in reader.receive(piece):
            if not isinstance(found, Packet):
                yield found.data
    reader.finish()


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        for start in range(0, len(chunk), _PIECE):
            yield chunk[start : start + _PIECE]
