"""A client that breaks off right behind its handshake: its reset is told from a FIN, though our tickets have met it."""

from __future__ import annotations

import socket
import struct

import pytest
from test_transport_tickets import client_of, server_of

from loadgen.transport.tcp_info import TcpState
from loadgen.transport.tls import EndOfStream, TransportFault, Tunnel

ABORT = struct.pack("ii", 1, 0)
ESTABLISHED, CLOSED, CLOSE_WAIT = 1, 7, 8


def _ended_behind_its_handshake(version: str, how: str) -> TransportFault:
    """What the server reads of a client that had ended before its handshake's last flight was looked at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far = listener.accept()[0]
    near.setblocking(False)
    far.setblocking(False)
    client = Tunnel(client_of(version), near, server=False)
    server = Tunnel(server_of(version, tickets=False), far, server=True)
    try:
        done = shaken = False
        for _ in range(20):
            done = client.handshake()
            if done and (version == "1.3" or shaken):
                break
            shaken = server.handshake()
        assert done
        if how == "goodbye":
            client.close_notify()
        if how == "reset":
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        client.close()
        assert server.handshake()
        with pytest.raises(TransportFault) as caught:
            server.read_into(memoryview(bytearray(100)))
        return caught.value
    finally:
        client.close()
        server.close()


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_reset_right_behind_the_handshake_is_one(version: str) -> None:
    assert _ended_behind_its_handshake(version, "reset").kind == "reset"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("how", ["goodbye", "FIN"])
def test_an_end_right_behind_the_handshake_is_none(version: str, how: str) -> None:
    """The tickets of TLS 1.3 meet a socket that was closed, whose kernel then resets."""
    fault = _ended_behind_its_handshake(version, how)
    assert isinstance(fault, EndOfStream)
    assert fault.orderly is (how == "goodbye")


@pytest.mark.parametrize(
    ("before", "after", "reset"),
    [
        # While the first ticket was on its way: one went out, the next met the reset.
        (TcpState(ESTABLISHED, 500, 1), TcpState(CLOSED, 500, 2), True),
        (TcpState(CLOSED, 500, 1), TcpState(CLOSED, 500, 1), True),
        (TcpState(ESTABLISHED, 100, 1), TcpState(CLOSED, 500, 1), True),
        # FIN, a ticket, and what it met.
        (TcpState(ESTABLISHED, 500, 1), TcpState(CLOSED, 501, 2), False),
        (TcpState(CLOSE_WAIT, 501, 1), TcpState(CLOSED, 501, 2), False),
        (TcpState(CLOSE_WAIT, 501, 1), TcpState(CLOSE_WAIT, 501, 1), False),
        (TcpState(ESTABLISHED, 500, 1), TcpState(ESTABLISHED, 500, 3), False),
    ],
    ids=str,
)
def test_a_reset_is_told_from_a_fin_by_what_was_received(before: TcpState, after: TcpState, *, reset: bool) -> None:
    assert after.is_reset_since(before) is reset
