"""Ports for servers that have to be told one: those of others, and ours where somebody must know it beforehand."""

from __future__ import annotations

import random
import socket
import struct
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_MOST = 10_000
# linux/sock_diag.h, linux/inet_diag.h
_SOCK_DIAG, _BY_FAMILY, _DUMP, _DONE = 4, 20, 0x301, 3
_LISTENS = 10
_HEAD, _REQUEST, _ANSWER = struct.Struct("=IHHII"), struct.Struct("=BBBxI2s2x16s16x12x"), struct.Struct("=4x2s2x4s")


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


def is_listening(address: tuple[str, int]) -> bool:
    """Whether something accepts connections at this IPv4 address; looked up, not tried, so that it sees nothing of it.

    The kernel is asked for listeners alone: a look into /proc/net/tcp is one at every place where a connection could
    be, and takes 5 ms of CPU.
    """
    host, port = socket.inet_aton(address[0]), struct.pack("!H", address[1])
    request = _REQUEST.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, 1 << _LISTENS, port, host)
    found = False
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as kernel:
            kernel.send(_HEAD.pack(_HEAD.size + len(request), _BY_FAMILY, _DUMP, 1, 0) + request)
            while True:
                said, at = kernel.recv(1 << 16), 0
                while at < len(said):
                    size, kind, *_ = _HEAD.unpack_from(said, at)
                    if kind == _DONE:
                        return found
                    if kind != _BY_FAMILY:
                        raise OSError("this kernel does not tell who listens")
                    found |= _ANSWER.unpack_from(said, at + _HEAD.size) == (port, host)
                    at += size + -size % 4
    except OSError:
        return _is_in_proc(f"{host[::-1].hex()}:{port.hex()}".upper())


def _is_in_proc(listener: str) -> bool:
    rows = (row.split() for row in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:])
    return any(row[1] == listener and row[3] == f"{_LISTENS:02X}" for row in rows)
