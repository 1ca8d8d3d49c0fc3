"""One connection's failure says nothing about the next one's, though both share OpenSSL's error queue."""

from __future__ import annotations

import select
import socket
import struct
from datetime import UTC, datetime

import pytest

from loadgen.identity.credentials import Authority, new_key, self_signed
from loadgen.transport.contexts import client_context, server_context
from loadgen.transport.tls import EndOfStream, TransportFault, Tunnel
from loadgen.transport.verifying import CertificateCheck, Ruling


def ends(version: str, check: CertificateCheck | None = None) -> tuple[Tunnel, Tunnel]:
    """A server's and a client's end of a connection over TCP, before the handshake."""
    now, key = datetime.now(UTC), new_key("p256")
    authority = Authority.new("loadgen test", now, "p256")
    wlc, mse = authority.issue("02:00:00:00:00:01", key, now), self_signed("02:00:00:00:00:02", key, now)
    server = server_context(wlc.key_pem, wlc.certificate_pem, b"", version, check)
    client = client_context(mse.key_pem, mse.certificate_pem, b"", version, None)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    for sock in (near, far):
        sock.setblocking(False)
    return Tunnel(server, far, server=True), Tunnel(client, near, server=False)


def drive(one: Tunnel, other: Tunnel, *, until: Tunnel) -> None:
    """Both in turn, until one of them has shaken hands."""
    for _ in range(100_000):
        for end in (one, other):
            if end.handshake() and end is until:
                return
    raise AssertionError("no handshake")


def pair(version: str) -> tuple[Tunnel, Tunnel]:
    """Both ends, with the handshake done."""
    server, client = ends(version)
    drive(server, client, until=client)
    drive(client, server, until=server)
    return server, client


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


def test_a_goodbye_tells_that_the_peer_had_broken_off() -> None:
    """A reset that has come before it, and not one that comes for it: that peer had ended in order."""
    server, client = pair("1.2")
    server._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server._socket.close()
    poll = select.poll()
    poll.register(client.fd, select.POLLERR)
    assert poll.poll(5000), "no reset"
    assert not client.close_notify()
    assert client.broken == "reset"
    client.close()
    server, client = pair("1.2")
    server.close_notify()
    server.close()
    client.close_notify()
    assert not client.broken
    client.close()


def refused(hangs_up: bool) -> Tunnel:
    """A client's end whose server has refused it, and is gone; with TLS 1.3 the client does not know yet."""
    server, client = ends("1.3", lambda *_: Ruling("not_listed"))
    drive(client, server, until=client)
    if hangs_up:  # unread bytes make its TCP reset the connection, as a request on its way would
        client._socket.send(b"x")
    with pytest.raises(TransportFault, match="not_listed"):
        drive(server, client, until=server)
    server.close()
    if hangs_up:
        poll = select.poll()
        poll.register(client.fd, select.POLLERR)
        assert poll.poll(5000), "no reset"
    return client


@pytest.mark.parametrize("hangs_up", [False, True])
def test_a_client_that_speaks_just_as_it_is_refused_is_told_why(hangs_up: bool) -> None:
    client = refused(hangs_up)
    try:
        client.write(b"a request")
        fault: TransportFault = read_until_fault(client)
    except TransportFault as error:
        fault = error
    assert fault.kind == "alert_certificate_unknown"
    client.close()


def test_the_first_write_of_a_client_is_read_like_any_other() -> None:
    server, client = pair("1.3")
    view = memoryview(bytearray(20000))
    for data in (b"1" * 16384, b"2"):
        client.write(data)
        read = 0
        while not read:
            read = server.read_into(view)
        assert bytes(view[:read]) == data
        server.write(data)
        while not (read := client.read_into(view)):
            pass
        assert bytes(view[:read]) == data
    client.close()
    server.close()


@pytest.mark.parametrize("how", ["closed", "reset"])
def test_what_the_peer_has_not_acknowledged_is_known_when_it_is_gone(how: str) -> None:
    """Its TCP took a part, and then it closed without having read that, or reset the connection."""
    server, client = pair("1.3")
    client._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    while not server.blocked:
        server.write(b"x" * 16384)
    if how == "reset":
        client._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    before = server.unacknowledged_bytes()
    acknowledged = _acknowledged_bytes(server)
    client._socket.close()
    _flush_until_fault(server)
    taken = _acknowledged_bytes(server) - acknowledged
    assert server.unacknowledged_bytes() == before - taken > 1 << 16
    server.close()


def _flush_until_fault(tunnel: Tunnel) -> None:
    for _ in range(100_000):
        try:
            tunnel.flush()
        except TransportFault:
            return
    raise AssertionError("writing into a reset connection never failed")


def _acknowledged_bytes(tunnel: Tunnel) -> int:
    """tcpi_bytes_acked, by linux/tcp.h; our writes are none between two looks at a full socket."""
    info = tunnel._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 128)
    return int(struct.unpack_from("Q", info, 120)[0])
