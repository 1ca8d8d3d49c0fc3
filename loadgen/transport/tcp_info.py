"""What the kernel counts of one TCP connection: segments with data, how many of them were sent again, and in vain."""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

# struct tcp_info of linux/tcp.h, in which fields are only ever added at the end: eight bytes, numbers of 32 bits up to
# tcpi_total_retrans, then of 64 and of 32 bits in turn. Kernels from 4.6 on have it up to tcpi_data_segs_out.
_TOTAL_RETRANS = struct.Struct("=100xI")
_DATA_SEGS_OUT = struct.Struct("=156xI")
_DSACK_DUPS = struct.Struct("=216xI")  # from 4.19 on
_BYTES_RECEIVED = struct.Struct("=128xQ")
# Of tcpi_state, its first byte.
_ESTABLISHED, _CLOSED = 1, 7


class Segments(NamedTuple):
    """Of one connection, since it began: what was sent again counts as sent, too.

    Attributes:
        spurious: of those sent again: the peer has said (DSACK) that it had them already, so that nothing was lost. An
            acknowledgment that is late, as of a peer that is busy or stopped, makes the kernel probe like that.
    """

    sent: int
    retransmitted: int
    spurious: int = 0


NO_SEGMENTS = Segments(0, 0)


def segments_of(sock: socket.socket) -> Segments | None:
    """None where the kernel does not tell."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _DSACK_DUPS.size)
    except OSError:
        return None
    return parse(info)


class TcpState(NamedTuple):
    """Of one connection.

    Attributes:
        state: of TCP.
        received: bytes, and 1 for the peer's FIN.
        sent: segments with data.
    """

    state: int
    received: int
    sent: int

    def is_reset_since(self, before: TcpState) -> bool:
        """The peer has reset the connection, and not ended it by a FIN first; we have not ended our side.

        To whoever has ended by a FIN something was sent, or no reset would have come back.
        """
        unended = before.state == _ESTABLISHED and self.received == before.received
        return self.state == _CLOSED and (unended or self.sent == before.sent)


def state_of(sock: socket.socket) -> TcpState | None:
    """None where the kernel does not tell."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _DATA_SEGS_OUT.size)
    except OSError:
        return None
    if len(info) < _DATA_SEGS_OUT.size:
        return None
    return TcpState(info[0], *_BYTES_RECEIVED.unpack_from(info), *_DATA_SEGS_OUT.unpack_from(info))


def parse(info: bytes) -> Segments | None:
    """None of a kernel that does not count what was sent."""
    if len(info) < _DATA_SEGS_OUT.size:
        return None
    (sent,), (retransmitted,) = _DATA_SEGS_OUT.unpack_from(info), _TOTAL_RETRANS.unpack_from(info)
    doubled = _DSACK_DUPS.unpack_from(info)[0] if len(info) >= _DSACK_DUPS.size else 0
    return Segments(sent, retransmitted, min(doubled, retransmitted))  # a network may double segments, too
