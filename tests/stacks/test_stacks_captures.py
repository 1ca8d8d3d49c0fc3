"""What was captured of other TLS stacks is decrypted as well: with their key logs, or with OpenSSL's beside them."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from OpenSSL import SSL
from ports import free_port
from stacks_peers import PATIENCE_S, serving
from stacks_programs import needs, needs_module, started
from tls_sessions import Contexts, contents, contexts, events, identity

from loadgen.capture.tls import TunnelKeys, decrypted


class Client:
    """OpenSSL's client on a socket, and all bytes that pass."""

    def __init__(self, sock: socket.socket, pair: Contexts, resume: object = None) -> None:
        self.sock = sock
        self.tls = SSL.Connection(pair.client, None)
        self.tls.set_connect_state()
        if resume is not None:
            self.tls.set_session(resume)
        self.wire: list[tuple[bool, bytes]] = []
        self.heard = b""
        self.said = b""

    def until(self, is_done: Callable[[], bool], step: Callable[[], object]) -> None:
        """step: what may be tried again whenever bytes have come."""
        while True:
            try:
                step()
                if is_done():
                    self._send()
                    return
            except SSL.WantReadError:
                pass
            self._send()
            ready = select.select([self.sock], [], [], PATIENCE_S)[0]
            assert ready, "nothing comes"
            data = self.sock.recv(1 << 16)
            assert data, "the peer has gone"
            self.wire.append((False, data))
            self.tls.bio_write(data)

    def shake(self) -> None:
        self.until(lambda: True, self.tls.do_handshake)

    def say(self, data: bytes) -> None:
        self.tls.sendall(data)
        self.said += data
        self._send()

    def hear(self, size: int) -> None:
        """Until so many bytes have been heard in all."""
        self.until(lambda: len(self.heard) >= size, self._listen)

    def _listen(self) -> None:
        self.heard += self.tls.recv(1 << 16)

    def _send(self) -> None:
        while True:
            try:
                data = self.tls.bio_read(1 << 16)
            except SSL.WantReadError:
                return
            self.wire.append((True, data))
            self.sock.sendall(data)


def assert_read(clients: list[Client], keylog: bytes) -> None:
    """What was said is what a capture of all gives back with a key log."""
    whys: list[Any] = []
    captured = [event for index, client in enumerate(clients) for event in events(client.wire, index)]
    read = list(decrypted(captured, TunnelKeys(keylog), whys))
    assert whys == []
    for index, client in enumerate(clients):
        of_it = contents(event for event in read if event.conversation.index == index)
        assert of_it == {True: client.said, False: client.heard}


# -- tlslite-ng --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(bool(needs_module("tlslite")), reason=needs_module("tlslite"))
def test_new_keys_of_tls_1_3() -> None:
    """Of either end, by messages that ask for the other's and that do not."""
    import stacks_tlslite as stack

    def echo(sock: socket.socket) -> None:
        peer = stack.Peer(sock)
        sock.setblocking(True)
        chain, key = stack.shown(identity("p256"))
        peer.connection.handshakeServer(certChain=chain, privateKey=key, settings=stack.settings_of("1.3"))
        for number in range(8):
            data = peer.connection.read(max=100, min=4)
            for _ in peer.connection.send_keyupdate_request(number % 2):
                pass
            peer.connection.write(data + bytes(number))

    pair = contexts("1.3", "TLS_AES_128_GCM_SHA256")
    with serving(echo) as port, socket.create_connection(("127.0.0.1", port)) as sock:
        client = Client(sock, pair)
        client.shake()
        for number in range(8):
            client.say(b"%04d" % number)
            client.hear(len(client.heard) + 4 + number)
    assert_read([client], bytes(pair.keylog))


class Tapped:
    """A client's socket, and all bytes that pass."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.wire: list[tuple[bool, bytes]] = []

    def send(self, data: bytes) -> int:
        sent = self._sock.send(data)
        self.wire.append((True, bytes(data[:sent])))
        return sent

    def sendall(self, data: bytes) -> None:
        self._sock.sendall(data)
        self.wire.append((True, bytes(data)))

    def recv(self, size: int) -> bytes:
        data = self._sock.recv(size)
        self.wire.append((False, data))
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


@pytest.mark.skipif(bool(needs_module("tlslite")), reason=needs_module("tlslite"))
@pytest.mark.parametrize("then", ["MAC-then-encrypt", "encrypt-then-MAC"])
@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
@pytest.mark.parametrize("exchange", ["rsa", "ecdhe_rsa"])
def test_triple_des_which_openssl_has_no_more(version: str, exchange: str, then: str) -> None:
    import stacks_tlslite as stack

    settings = stack.settings_of(
        version, cipherNames=["3des"], keyExchangeNames=[exchange], useEncryptThenMAC=then == "encrypt-then-MAC"
    )

    def echo(sock: socket.socket) -> None:
        connection = stack.api.TLSConnection(sock)
        chain, key = stack.shown(identity())
        connection.handshakeServer(certChain=chain, privateKey=key, settings=settings)
        for size in sizes:
            connection.write(connection.read(max=size, min=size)[::-1])

    said, heard, sizes = b"", b"", (1, 7, 8, 9, 1000)
    with serving(echo) as port, socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(PATIENCE_S)
        tapped = Tapped(sock)
        connection = stack.api.TLSConnection(tapped)
        connection.handshakeClientCert(settings=settings)
        assert connection.getCipherName() == "3des"
        for size in sizes:
            said += bytes(range(256))[:size] if size < 256 else bytes(size)
            connection.write(said[-size:])
            heard += bytes(connection.read(max=size, min=size))
    random = tapped.wire[0][1][11:43]  # of the hello: behind the record's head, the message's, and the version
    line = f"CLIENT_RANDOM {random.hex()} {bytes(connection.session.masterSecret).hex()}\n"
    whys: list[Any] = []
    read = contents(decrypted(events(tapped.wire), TunnelKeys(line.encode()), whys))
    assert whys == []
    assert read == {True: said, False: heard}


# -- mbedTLS -----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(bool(needs_module("mbedtls")), reason=needs_module("mbedtls"))
@pytest.mark.parametrize(
    "cipher", ["ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES128-CCM8"]
)
def test_a_server_of_mbedtls(cipher: str) -> None:
    """It agrees on encrypt-then-MAC where OpenSSL offers it."""
    from mbedtls import pk, tls, x509

    def echo(sock: socket.socket) -> None:
        own = identity("p256")
        chain = ((x509.CRT.from_PEM(own.certificate_pem.decode()),), pk.ECC.from_PEM(own.key_pem.decode()))
        settings = tls.TLSConfiguration(certificate_chain=chain, validate_certificates=False)
        with tls.ServerContext(settings).wrap_socket(sock) as tunnel:
            tunnel.do_handshake()
            for _ in range(3):
                tunnel.sendall(tunnel.recv(1 << 14) * 2)

    pair = contexts("1.2", cipher)
    with serving(echo) as port, socket.create_connection(("127.0.0.1", port)) as sock:
        client = Client(sock, pair)
        client.shake()
        for number in range(3):
            client.say(b"%d" % number * 1000)
            client.hear(len(client.heard) + 2000)
    assert_read([client], bytes(pair.keylog))


# -- GnuTLS ------------------------------------------------------------------------------------------------------------


@contextmanager
def gnutls(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """An echo server that logs its keys."""
    own = identity()
    (folder / "wlc.crt").write_bytes(own.certificate_pem)
    (folder / "wlc.key").write_bytes(own.key_pem)
    monkeypatch.setenv("SSLKEYLOGFILE", str(folder / "keys.log"))
    command = ["gnutls-serv", "--echo", "--x509keyfile", folder / "wlc.key", "--x509certfile", folder / "wlc.crt"]
    with started([*command, "-p", str(free_port())], r"IPv4 0\.0\.0\.0 port (\d+)\.\.\.done") as port:
        yield port


@pytest.mark.skipif(bool(needs("gnutls-serv")), reason=needs("gnutls-serv"))
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_the_key_log_of_gnutls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """Of a first session, and of one that is resumed."""
    pair, resume, clients = contexts(version), None, list[Client]()
    with gnutls(tmp_path, monkeypatch) as port:
        for text in (b"first\n", b"second\n"):
            with socket.create_connection(("127.0.0.1", port)) as sock:
                client = Client(sock, pair, resume)
                client.shake()
                client.say(text)
                client.hear(len(text))
                assert SSL._lib.SSL_session_reused(client.tls._ssl) == (text == b"second\n")
                resume = client.tls.get_session()
                client.tls.shutdown()
                clients.append(client)
    # It logs nothing of a session of TLS 1.2 that is resumed.
    assert_read(clients, (tmp_path / "keys.log").read_bytes())
    assert_read(clients, bytes(pair.keylog))
