"""What the kernel counts of one TCP connection: segments with data, and how many of them were sent again."""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

# struct tcp_info of linux/tcp.h, in which fields are only ever added at the end: eight bytes, numbers of 32 bits up to
# tcpi_total_retrans, then of 64 and of 32 bits in turn. Kernels from 4.6 on have it up to tcpi_data_segs_out.
_TOTAL_RETRANS = struct.Struct("=100xI")
_DATA_SEGS_OUT = struct.Struct("=156xI")


class Segments(NamedTuple):
    """Of one connection, since it began: what was sent again counts as sent, too."""

    sent: int
    retransmitted: int


NO_SEGMENTS = Segments(0, 0)


def segments_of(sock: socket.socket) -> Segments | None:
    """None where the kernel does not tell."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _DATA_SEGS_OUT.size)
    except OSError:
        return None
    return parse(info)


def parse(info: bytes) -> Segments | None:
    """None of a kernel that does not count what was sent."""
    if len(info) < _DATA_SEGS_OUT.size:
        return None
    return Segments(*_DATA_SEGS_OUT.unpack_from(info), *_TOTAL_RETRANS.unpack_from(info))
