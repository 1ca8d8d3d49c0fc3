"""Ports for servers that have to be told one: those of others, and ours where somebody must know it beforehand."""

from __future__ import annotations

import random
import socket
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_MOST = 10_000


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing uses at that loopback address, and that nobody else is given while this process lives.

    A port that the kernel chose, and that was let go of for a server to take, the kernel may give to any connection in
    between. These are not among those that it chooses from; and each is held, as a name, by the process that was given
    it, so that no two of the tests' processes have the same.
    """
    first = int(_RANGE.read_text("ascii").split()[0])
    ports = list(range(max(1024, first - _MOST), first)) or list(range(20_000, 30_000))
    for port in random.sample(ports, len(ports)):
        if _is_ours(port) and _is_free(host, port):
            return port
    raise AssertionError("no port is left")


def _is_ours(port: int) -> bool:
    holder = socket.socket(socket.AF_UNIX)
    try:
        holder.bind(f"\0port {port} of loadgen's tests")
    except OSError:
        holder.close()
        return False
    holder.detach()  # for as long as this process lives
    return True


def _is_free(host: str, port: int) -> bool:
    try:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(type=kind) as probe:
                probe.bind((host, port))
    except OSError:
        return False
    return True
