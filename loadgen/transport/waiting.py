"""What waits in the kernel to be read from a TLS connection, and since when."""

from __future__ import annotations

import fcntl
import socket
import struct
import sys
import termios
import time
from contextlib import suppress
from typing import NamedTuple

from loadgen.units import NS_PER_S

# Linux; Python has no name for it. As long as one socket has it, the kernel notes when packets come.
_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@qq")
_ANCILLARY_BYTES = socket.CMSG_SPACE(_TIMESPEC.size)
# Of a TLS record; the last two of them are the length of what follows.
_HEADER_BYTES = 5


class Waiting(NamedTuple):
    """What is to be read next.

    Attributes:
        newest_ns: how long ago its last packet came. Packets that wait are made one, so its first may be older.
        more: there is more than one record.
    """

    newest_ns: int
    more: bool


def ask_for_times(sock: socket.socket) -> None:
    """Once for each socket, before `waiting`: the kernel shall tell when packets came, if it can."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)


def waiting(sock: socket.socket) -> Waiting | None:
    """What is to be read next at a non-blocking socket; None if nothing is, or the kernel does not tell since when.

    Cost: 6 us, so it is for reads chosen by chance, and for handshakes.
    """
    try:
        held = fcntl.ioctl(sock.fileno(), termios.FIONREAD, b"\0\0\0\0")
        if not any(held):  # a look at a connection that was reset would take the error away from whoever reads
            return None
        head, ancillary, _, _ = sock.recvmsg(_HEADER_BYTES, _ANCILLARY_BYTES, socket.MSG_PEEK)
    except OSError:
        return None
    now = time.time_ns()
    for level, kind, data in ancillary:
        if (level, kind, len(data)) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS, _TIMESPEC.size):
            seconds, ns = _TIMESPEC.unpack(data)
            age_ns = now - (seconds * NS_PER_S + ns)
            record_bytes = _HEADER_BYTES + int.from_bytes(head[3:], "big")
            # Below 0 the machine's clock was set since.
            return None if age_ns < 0 else Waiting(age_ns, int.from_bytes(held, sys.byteorder) > record_bytes)
    return None
