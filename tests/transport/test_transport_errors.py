"""One connection's failure says nothing about the next one's, though both share OpenSSL's error queue."""

from __future__ import annotations

import socket
import struct
from datetime import UTC, datetime

import pytest

from loadgen.identity.credentials import Authority, new_key, self_signed
from loadgen.transport.tls import EndOfStream, TransportFault, Tunnel, client_context, server_context


def pair(version: str) -> tuple[Tunnel, Tunnel]:
    """A server's and a client's end of a tunnel over TCP."""
    now, key = datetime.now(UTC), new_key("p256")
    authority = Authority.new("loadgen test", now, "p256")
    wlc, mse = authority.issue("02:00:00:00:00:01", key, now), self_signed("02:00:00:00:00:02", key, now)
    server = server_context(wlc.key_pem, wlc.certificate_pem, b"", version, None)
    client = client_context(mse.key_pem, mse.certificate_pem, b"", version, None)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    ends = Tunnel(server, far, server=True), Tunnel(client, near, server=False)
    for sock in (near, far):
        sock.setblocking(False)
    for _ in range(100_000):
        if [end.handshake() for end in ends] == [True, True]:
            return ends
    raise AssertionError("no handshake")


def read_until_fault(tunnel: Tunnel) -> TransportFault:
    view = memoryview(bytearray(1000))
    for _ in range(100_000):
        try:
            tunnel.read_into(view)
        except TransportFault as fault:
            return fault
    raise AssertionError("no fault")


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("how", ["write", "close_notify"])
def test_an_end_after_anothers_reset_is_an_end(version: str, how: str) -> None:
    other, peer = pair(version)  # before the fault: a handshake would empty the queue
    server, client = pair(version)
    client._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client._socket.close()
    if how == "write":
        for _ in range(100_000):
            try:
                server.write(b"x")
            except TransportFault:
                break
        else:
            raise AssertionError("writing into a reset connection never failed")
    else:
        server.close_notify()
    server.close()

    peer._socket.shutdown(socket.SHUT_WR)
    fault = read_until_fault(other)
    assert isinstance(fault, EndOfStream)
    assert not fault.orderly
    other.close()
    peer.close()
