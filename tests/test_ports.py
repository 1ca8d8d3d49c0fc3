"""Ports that tests give to servers are nobody else's."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
from pathlib import Path

import ports
import pytest
from ports import free_port, is_listening


def test_none_is_given_twice_nor_to_a_connection() -> None:
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split())
    given = [free_port() for _ in range(50)]
    assert len(set(given)) == 50
    assert [port for port in given if first <= port <= last] == []


def test_no_other_process_is_given_one_of_ours() -> None:
    """It is left one to choose from, and that is ours."""
    port = free_port()
    code = f"import ports, random; random.sample = lambda *_: [{port}]; ports.free_port()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parent)
    assert done.stderr.endswith("AssertionError: no port is left\n")


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_one_that_is_in_use_is_not_given(kind: socket.SocketKind, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(type=kind) as taken:
        taken.bind(("127.0.0.1", 0))
        used = taken.getsockname()[1]
        free = free_port()
        monkeypatch.setattr(random, "sample", lambda *_: [used, free + 1, free + 2, free + 3])
        assert free_port() in (free + 1, free + 2, free + 3)


@pytest.mark.parametrize("asked", [True, False])
def test_who_listens_is_found_and_nobody_else(asked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the kernel does not answer."""
    monkeypatch.setattr(ports, "_is_in_proc" if asked else "_SOCK_DIAG", None if asked else 99)
    with socket.create_server(("127.77.9.2", 0)) as server, socket.socket() as silent:
        address = server.getsockname()
        silent.bind(("127.77.9.2", 0))
        assert is_listening(address)
        for other in (silent.getsockname(), ("127.77.9.3", address[1])):
            assert not is_listening(other)
        with socket.create_connection(address) as connection:
            assert not is_listening(connection.getsockname())
    assert not is_listening(address)
