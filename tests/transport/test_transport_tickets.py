"""Resuming TLS sessions: who may, and that both ends agree on whether it happened."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest
from OpenSSL import SSL

from loadgen.identity.credentials import Authority, new_key, self_signed
from loadgen.transport.contexts import client_context, server_context
from loadgen.transport.tls import EndOfStream, TransportFault, Tunnel
from loadgen.transport.verifying import Applicant, CertificateCheck, Ruling

VERSIONS = pytest.mark.parametrize("version", ["1.2", "1.3"])
# Both ends take turns; a handshake needs three of them at most.
_TURNS = 20

_NOW = datetime.now(UTC)
_AUTHORITY = Authority.new("ours", _NOW)
_WLC = _AUTHORITY.issue("02:57:4c:00:00:01", new_key("p256"), _NOW)
_MSE = self_signed("02:4d:53:00:00:01", new_key("p256"), _NOW)
OURS = _AUTHORITY.certificate_pem
THEIRS = Authority.new("theirs", _NOW).certificate_pem


class Pair(NamedTuple):
    """Both ends of a connection."""

    client: Tunnel
    server: Tunnel


def server_of(version: str, *, tickets: bool, check: CertificateCheck | None = None) -> SSL.Context:
    return server_context(_WLC.key_pem, _WLC.certificate_pem, _WLC.chain_pem, version, check, tickets=tickets)


def client_of(version: str, *, tickets: bool = True, trusted: bytes | None = OURS) -> SSL.Context:
    return client_context(_MSE.key_pem, _MSE.certificate_pem, _MSE.chain_pem, version, trusted)


@contextmanager
def connected(client: SSL.Context, server: SSL.Context, ticket: SSL.Session | None = None) -> Iterator[Pair]:
    """Two ends before their handshake."""
    near, far = socket.socketpair()
    for sock in (near, far):
        sock.setblocking(False)
    pair = Pair(Tunnel(client, near, server=False), Tunnel(server, far, server=True))
    if ticket is not None:
        pair.client.resume(ticket)
    try:
        yield pair
    finally:
        pair.client.close()
        pair.server.close()


def read(tunnel: Tunnel) -> bytes:
    buffer = bytearray(16384)
    return bytes(buffer[: tunnel.read_into(memoryview(buffer))])


def shake(pair: Pair) -> None:
    """Both through the handshake, and what comes right after it to the client.

    Raises:
        TransportFault: of whichever end failed first.
    """
    done = {pair.client: False, pair.server: False}
    for _ in range(_TURNS):
        for tunnel in done:
            done[tunnel] = done[tunnel] or tunnel.handshake()
        if all(done.values()):
            break
    assert all(done.values()), "a handshake that does not end"
    assert read(pair.client) == b""  # with TLS 1.3, tickets come now


def listen(tunnel: Tunnel) -> None:
    """Go on with the handshake, or read on after it, with nobody left to answer.

    Raises:
        TransportFault: what the other end has left behind.
    """
    for _ in range(_TURNS):
        if tunnel.handshake():
            read(tunnel)


def visit(
    client: SSL.Context, server: SSL.Context, ticket: SSL.Session | None = None
) -> tuple[bool, SSL.Session | None]:
    """One connection that works: was it resumed, and its ticket. Both ends must say the same."""
    with connected(client, server, ticket) as pair:
        shake(pair)
        assert pair.client.resumed is pair.server.resumed
        pair.client.write(b"ping")
        assert read(pair.server) == b"ping"
        pair.server.write(b"pong")
        assert read(pair.client) == b"pong"
        left = pair.client.ticket()
        pair.client.close_notify()  # OpenSSL takes a session that ends without it for a broken one
        return pair.client.resumed, left


@VERSIONS
@pytest.mark.parametrize("trusted", [OURS, None], ids=["verified", "any"])
class TestTickets:
    """A server that gives tickets."""

    def test_the_first_is_full_and_every_later_one_resumes(self, version: str, trusted: bytes | None) -> None:
        client, server = client_of(version, trusted=trusted), server_of(version, tickets=True)
        resumed, ticket = visit(client, server)
        assert resumed is False
        for _ in range(3):
            resumed, ticket = visit(client, server, ticket)
            assert resumed is True

    def test_a_ticket_serves_more_than_once(self, version: str, trusted: bytes | None) -> None:
        """Handshakes of one pair that are under way together have only one to offer."""
        client, server = client_of(version, trusted=trusted), server_of(version, tickets=True)
        _, ticket = visit(client, server)
        assert [visit(client, server, ticket)[0] for _ in range(3)] == [True] * 3

    def test_who_offers_none_gets_a_full_one(self, version: str, trusted: bytes | None) -> None:
        """OpenSSL keeps sessions in the context; only what was asked for may be resumed."""
        client, server = client_of(version, trusted=trusted), server_of(version, tickets=True)
        assert [visit(client, server)[0] for _ in range(3)] == [False] * 3

    def test_a_ticket_of_another_server_is_not_taken(self, version: str, trusted: bytes | None) -> None:
        client = client_of(version, trusted=trusted)
        _, ticket = visit(client, server_of(version, tickets=True))
        other = server_of(version, tickets=True)
        resumed, ticket = visit(client, other, ticket)
        assert resumed is False
        assert visit(client, other, ticket)[0] is True

    def test_a_client_that_cannot_tell(self, version: str, trusted: bytes | None) -> None:
        """A context that is not for tickets: never resumed, and it says so."""
        client, server = client_of(version, tickets=False, trusted=trusted), server_of(version, tickets=True)
        assert [visit(client, server)[0] for _ in range(2)] == [False] * 2


@VERSIONS
@pytest.mark.parametrize("trusted", [OURS, None], ids=["verified", "any"])
def test_a_server_without_tickets_resumes_nothing(version: str, trusted: bytes | None) -> None:
    """With TLS 1.2 there is nothing to offer; with 1.3, OpenSSL names a session that it does not keep."""
    client, server = client_of(version, trusted=trusted), server_of(version, tickets=False)
    resumed, ticket = visit(client, server)
    assert resumed is False
    assert (ticket is None) is (version == "1.2")
    assert visit(client, server, ticket)[0] is False


def test_a_name_without_a_ticket_can_be_offered() -> None:
    """As servers with TLS 1.2 do it that keep sessions themselves."""
    client, server = client_of("1.2"), server_of("1.2", tickets=False)
    server.set_session_id(b"named")
    server.set_session_cache_mode(SSL.SESS_CACHE_SERVER)
    with connected(client, server) as pair:
        shake(pair)
        for end in pair:
            end.close_notify()
        named = pair.client.ticket()
    assert named is not None
    assert visit(client, server, named)[0] is True


def test_what_openssl_keeps_of_a_connection_without_a_ticket_cannot_be_offered(tmp_path: Path) -> None:
    """TLS 1.3 with a server that sends none at all."""
    for name, content in (("certificate", _WLC.certificate_pem), ("key", _WLC.key_pem)):
        (tmp_path / name).write_bytes(content)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    context.num_tickets = 0
    near, far = socket.socketpair()
    near.setblocking(False)
    client = Tunnel(client_of("1.3", trusted=None), near, server=False)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(incoming, outgoing, server_side=True)
    with far:
        client.handshake()
        incoming.write(far.recv(1 << 16))
        with pytest.raises(ssl.SSLWantReadError):
            server.do_handshake()
        far.sendall(outgoing.read())
        assert client.handshake()
        incoming.write(far.recv(1 << 16))
        server.do_handshake()
        server.write(b"all that comes")
        far.sendall(outgoing.read())
        assert read(client) == b"all that comes"
        assert client._connection.get_session() is not None
        assert client.ticket() is None
    client.close()


@VERSIONS
def test_before_the_handshake_there_is_no_ticket(version: str) -> None:
    with connected(client_of(version), server_of(version, tickets=True)) as pair:
        assert pair.client.ticket() is None
        assert pair.client.resumed is False


@VERSIONS
@pytest.mark.parametrize("tickets", [True, False])
def test_an_authority_that_is_not_trusted(version: str, tickets: bool) -> None:
    """To note full handshakes must not be to let everybody pass."""
    client = client_of(version, tickets=tickets, trusted=THEIRS)
    with connected(client, server_of(version, tickets=tickets)) as pair:
        with pytest.raises(TransportFault) as refusal:
            shake(pair)
        assert refusal.value.kind == "certificate_verify_failed"
        # The server learns why.
        with pytest.raises(TransportFault) as told:
            listen(pair.server)
        assert told.value.kind == "alert_unknown_ca"


@VERSIONS
@pytest.mark.parametrize("tickets", [True, False])
def test_whoever_takes_any_certificate_takes_that_of_an_unknown_authority(version: str, tickets: bool) -> None:
    assert visit(client_of(version, tickets=tickets, trusted=None), server_of(version, tickets=tickets))[0] is False


def counting(verdict: str | None) -> tuple[list[bytes], CertificateCheck]:
    seen: list[bytes] = []

    def check(_tunnel: Applicant, certificate: bytes) -> Ruling:
        seen.append(certificate)
        return Ruling(verdict)

    return seen, check


@VERSIONS
def test_the_auth_list_is_asked_once_for_each_full_handshake(version: str) -> None:
    """And not when a session is resumed, which shows no certificate."""
    seen, check = counting(None)
    client, server = client_of(version), server_of(version, tickets=True, check=check)
    _, ticket = visit(client, server)
    assert seen == [_MSE.certificate().der]
    assert visit(client, server, ticket)[0] is True
    assert len(seen) == 1
    visit(client, server)
    assert len(seen) == 2


@VERSIONS
@pytest.mark.parametrize("tickets", [True, False])
def test_the_auth_list_refuses(version: str, tickets: bool) -> None:
    """Whoever was refused has nothing to come back with."""
    _, check = counting("key_hash_not_listed")
    client, server = client_of(version, tickets=tickets), server_of(version, tickets=tickets, check=check)
    ticket: SSL.Session | None = None
    for _ in range(2):
        with connected(client, server, ticket) as pair:
            with pytest.raises(TransportFault) as refusal:
                shake(pair)
            assert refusal.value.kind == "key_hash_not_listed"
            # The client learns it: with TLS 1.2 within its handshake, with 1.3 when it reads.
            with pytest.raises(TransportFault) as told:
                listen(pair.client)
            assert told.value.kind.startswith("alert_")
            assert not isinstance(told.value, EndOfStream)
            ticket = pair.client.ticket() if tickets else None


@VERSIONS
def test_a_goodbye_before_the_tickets_are_read(version: str) -> None:
    """What handshake-only load does: close_notify at once, and read on until the server has closed."""
    client, server = client_of(version), server_of(version, tickets=True)
    ticket: SSL.Session | None = None
    for number in range(3):
        with connected(client, server, ticket) as pair:
            for _ in range(_TURNS):
                ends = pair.client.handshake(), pair.server.handshake()
                if pair.client.handshake():
                    break
            pair.client.close_notify()
            for _ in range(_TURNS):
                if all(ends):
                    break
                ends = True, pair.server.handshake()
            with pytest.raises(EndOfStream) as end:
                read(pair.server)
            assert end.value.orderly
            pair.server.close_notify()
            with pytest.raises(EndOfStream) as end:
                listen(pair.client)
            assert end.value.orderly
            assert pair.client.resumed is pair.server.resumed is (number > 0)
            ticket = pair.client.ticket()
            assert ticket is not None
