"""TLS sessions made by OpenSSL in memory: what went over the wire, what was said in it, and the key log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL

from loadgen.capture.events import Closed, Conversation, Data, Event, How, Opened
from loadgen.capture.tls import TunnelKeys, Undecrypted, decrypted
from loadgen.identity.credentials import Identity, new_key, self_signed

MSE, WLC = ("192.0.2.1", 40001), ("192.0.2.7", 16113)
VERSIONS = {
    "1.0": SSL.TLS1_VERSION,
    "1.1": SSL.TLS1_1_VERSION,
    "1.2": SSL.TLS1_2_VERSION,
    "1.3": SSL.TLS1_3_VERSION,
}
NOW = datetime(2026, 11, 30, tzinfo=UTC)


@cache
def identity(key_type: str = "rsa-2048") -> Identity:
    return self_signed("02:00:00:00:00:01", new_key(key_type), NOW)  # type: ignore[arg-type]


@dataclass
class Session:
    """Bytes of the wire, in order: (of the client, bytes); what both said; the lines that OpenSSL logged, also of other
    sessions of these contexts.
    """

    client: SSL.Connection
    server: SSL.Connection
    keylog: bytearray
    wire: list[tuple[bool, bytes]] = field(default_factory=list)
    said: dict[bool, bytearray] = field(default_factory=lambda: {True: bytearray(), False: bytearray()})

    def pump(self) -> None:
        """Until neither has anything more to send; what comes is read and thrown away."""
        moved = True
        while moved:
            moved = False
            for of_client, source, sink in ((True, self.client, self.server), (False, self.server, self.client)):
                with suppress(SSL.WantReadError):
                    while data := source.bio_read(1 << 16):
                        self.wire.append((of_client, data))
                        sink.bio_write(data)
                        moved = True
                with suppress(SSL.WantReadError, SSL.ZeroReturnError, SSL.Error):
                    while True:
                        sink.recv(1 << 16)

    def shake(self) -> Session:
        for _ in range(10):
            for end in (self.client, self.server):
                with suppress(SSL.WantReadError):
                    end.do_handshake()
            self.pump()
        assert self.client.get_finished() is not None
        return self

    def say(self, of_client: bool, data: bytes) -> Session:
        (self.client if of_client else self.server).sendall(data)
        self.said[of_client] += data
        self.pump()
        return self

    def close(self, of_client: bool) -> Session:
        (self.client if of_client else self.server).shutdown()
        self.pump()
        return self


class Contexts(NamedTuple):
    client: SSL.Context
    server: SSL.Context
    keylog: bytearray


def contexts(version: str, ciphers: str | None = None, key_type: str = "rsa-2048") -> Contexts:
    client, server = SSL.Context(SSL.TLS_CLIENT_METHOD), SSL.Context(SSL.TLS_SERVER_METHOD)
    for context in (client, server):
        context.set_min_proto_version(VERSIONS[version])
        context.set_max_proto_version(VERSIONS[version])
        # The level is the context's, whatever the version.
        context.set_cipher_list(f"{ciphers if ciphers and version != '1.3' else 'ALL'}:@SECLEVEL=0".encode())
        if ciphers and version == "1.3":
            context.set_tls13_ciphersuites(ciphers.encode())
    own = identity(key_type)
    server.use_certificate(x509.load_pem_x509_certificate(own.certificate_pem))
    server.use_privatekey(load_pem_private_key(own.key_pem, None))  # type: ignore[arg-type]
    keylog = bytearray()
    client.set_keylog_callback(lambda _, line: keylog.extend(line + b"\n"))
    return Contexts(client, server, keylog)


def session(pair: Contexts, resume: object = None) -> Session:
    """resume: a session of the client's."""
    client, server = SSL.Connection(pair.client, None), SSL.Connection(pair.server, None)
    client.set_connect_state()
    server.set_accept_state()
    if resume is not None:
        client.set_session(resume)
    return Session(client, server, pair.keylog)


def events(wire: Iterable[tuple[bool, bytes]], index: int = 0) -> Iterator[Event]:
    """Of a conversation whose packets are these, the n-th at n ns; each end closes at last."""
    of = Conversation(index, MSE, WLC, 0)
    yield Opened(of)
    offsets, ns = {True: 0, False: 0}, 0
    for of_client, data in wire:
        ns += 1
        yield Data(of, of_client, offsets[of_client], ns, data)
        offsets[of_client] += len(data)
    for of_client in (True, False):
        yield Closed(of, of_client, ns + 1, How.FIN)


def contents(given: Iterable[Event]) -> dict[bool, bytes]:
    """What is said by client (True) and server in the events of one conversation without holes."""
    said = {True: b"", False: b""}
    for event in given:
        assert not (isinstance(event, Data) and event.offset != len(said[event.of_client]))
        if isinstance(event, Data):
            said[event.of_client] += event.data
    return said


def plaintext(tunnel: Session, keylog: bytes | None = None) -> tuple[dict[bool, bytes], list[Undecrypted]]:
    """What is read of a session."""
    undecrypted: list[Undecrypted] = []
    log = TunnelKeys(bytes(tunnel.keylog) if keylog is None else keylog)
    return contents(decrypted(events(tunnel.wire), log, undecrypted)), undecrypted
