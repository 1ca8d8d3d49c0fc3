"""A way that loses segments, without any right to configure a network: a filter at the socket that they come to."""

from __future__ import annotations

import ctypes
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

_SO_ATTACH_FILTER = 26  # Linux's; Python has no name for it
# Classic BPF, as linux/filter.h has it. The random number is one of the kernel's own additions to packets.
_LOAD, _MODULO, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x94, 0x15, 0x06
_RANDOM = 0xFFFFF000 + 56
_NOTHING, _EVERYTHING = 0, 0xFFFFFFFF


def lose_one_in(sock: socket.socket, segments: int) -> None:
    """From now on, one in so many of the segments that come to a TCP socket never gets there, at random."""
    program = [
        (_LOAD, 0, 0, _RANDOM),
        (_MODULO, 0, 0, segments),
        (_JUMP_IF_EQUAL, 0, 1, 0),
        (_RETURN, 0, 0, _NOTHING),
        (_RETURN, 0, 0, _EVERYTHING),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(program), ctypes.addressof(code)))


@contextmanager
def lossy_traffic(segments: int) -> Iterator[None]:
    """Somebody else's connection on this machine that loses one in so many, as long as the block goes on."""
    over = Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    lose_one_in(far, segments)

    def send() -> None:
        near.settimeout(1.0)
        while not over.is_set():
            near.sendall(b"noise")
            time.sleep(0.001)

    def receive() -> None:
        while far.recv(65536):
            pass

    threads = [Thread(target=send, daemon=True), Thread(target=receive, daemon=True)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        threads[0].join()
        near.close()
        threads[1].join()
        far.close()
