"""The first bytes of a peer: who is there, and what a TLS client offers.

Looked at with MSG_PEEK before OpenSSL takes them, because OpenSSL says no more than "wrong version number" about a web
server, and nothing about what a client would have liked.
"""

from __future__ import annotations

from typing import NamedTuple

from loadgen.diagnosis.signatures import algorithms_untrusted
from loadgen.foreign import plain
from loadgen.transport.sslv2 import hello_untrusted

PEEK_BYTES = 2048

_HANDSHAKE, _ALERT = 22, 21
_CLIENT_HELLO = 1
_RECORD_HEADER, _HELLO_HEADER = 5, 4
# Over datagrams: with epoch and number, and with the message's number and which part of it this is.
_DATAGRAM_HEADER, _DATAGRAM_HELLO_HEADER = 13, 12
_OF_DATAGRAMS = 0xFE  # the first byte of its versions, which count downwards
# As those of TLS that they are.
_DATAGRAM_VERSIONS = {0xFEFF: 0x0302, 0xFEFD: 0x0303, 0xFEFC: 0x0304}
_SUPPORTED_VERSIONS = 43
_VERSIONS = {0x0300: "SSL 3.0", 0x0301: "TLS 1.0", 0x0302: "TLS 1.1", 0x0303: "TLS 1.2", 0x0304: "TLS 1.3"}
# Ranges of the IANA registry: TLS 1.3; ECDHE with AES; ECDHE with ChaCha20. What the field calls strong.
_TLS_1_3, _ECDHE, _CHACHA20 = range(0x1301, 0x1306), range(0xC007, 0xC033), range(0xCCA8, 0xCCAA)
# In this order, because a web server's answer is text as well.
_BEGINNINGS = (
    (b"HTTP/", "peer_http"),
    (b"GET ", "peer_http"),
    (b"POST ", "peer_http"),
    (b"HEAD ", "peer_http"),
    (b"SSH-", "peer_ssh"),
)
_MAX_SHOWN = 40
# RSA with AES, 3DES and RC4: the key exchange of the field's trace.
_STATIC_RSA = frozenset({0x0004, 0x0005, 0x000A, 0x002F, 0x0035, 0x003C, 0x003D, 0x009C, 0x009D})


class ClientHello(NamedTuple):
    """What a TLS client offers: versions by number, the highest first; suites in its order; signatures it takes.

    One of DTLS has the numbers of the versions of TLS that its own are made after.
    """

    versions: tuple[int, ...]
    suites: tuple[int, ...]
    signatures: tuple[int, ...] = ()
    datagram: bool = False

    @property
    def newest(self) -> str:
        number = self.versions[0] if self.versions else 0
        name = _VERSIONS.get(number, f"version {number:#06x}")
        if not self.datagram:
            return name
        return "DTLS 1.0" if number == _DATAGRAM_VERSIONS[0xFEFF] else f"D{name}"

    @property
    def strong(self) -> bool:
        """At least TLS 1.2, and at least one suite with ephemeral elliptic-curve keys."""
        return bool(self.versions) and self.versions[0] >= 0x0303 and any(map(is_strong, self.suites))

    @property
    def weak(self) -> bool:
        """At least one suite with static RSA, in a version that has those."""
        return bool(self.versions) and self.versions[-1] <= 0x0303 and bool(_STATIC_RSA.intersection(self.suites))


def is_strong(suite: int) -> bool:
    """Whether a suite has forward secrecy by elliptic curves, as strong cipher asks for."""
    return suite in _TLS_1_3 or suite in _ECDHE or suite in _CHACHA20


def sign_of(first_bytes: bytes) -> str | None:
    """What a peer is by its first bytes: a sign for `causes`, or None for a TLS server or for nothing."""
    if not first_bytes:
        return None
    for beginning, sign in _BEGINNINGS:
        if first_bytes.startswith(beginning):
            return sign
    if hello_untrusted(first_bytes) is not None:
        return "peer_sslv2_hello"
    if first_bytes[0] == _HANDSHAKE:
        at = _DATAGRAM_HEADER if _is_datagram(first_bytes) else _RECORD_HEADER
        return "peer_is_tls_client" if first_bytes[at : at + 1] == bytes([_CLIENT_HELLO]) else None
    return "peer_alert_first" if first_bytes[0] == _ALERT else "peer_not_tls"


def shown(first_bytes: bytes) -> str:
    """The bytes for a person."""
    return f"'{plain(first_bytes[:_MAX_SHOWN].decode('latin-1'), _MAX_SHOWN)}'"


def client_hello_untrusted(first_bytes: bytes) -> ClientHello | None:
    """A ClientHello, as far as it was looked at; None for anything else. Never fails."""
    if (hello := hello_untrusted(first_bytes)) is not None:
        return ClientHello(hello[:1], hello[1])
    datagram = _is_datagram(first_bytes)
    header = _DATAGRAM_HEADER + _DATAGRAM_HELLO_HEADER if datagram else _RECORD_HEADER + _HELLO_HEADER
    body = first_bytes[header:]
    if sign_of(first_bytes) != "peer_is_tls_client" or len(body) < 35:
        return None
    legacy = int.from_bytes(body[:2], "big")
    at = 35 + body[34]  # version, random, session id
    if datagram:
        at += 1 + (body[at] if at < len(body) else 0)  # the cookie
    size = int.from_bytes(body[at : at + 2], "big")
    suites = _pairs(body[at + 2 : at + 2 + size])
    at += 2 + size
    at += 1 + (body[at] if at < len(body) else 0)  # compression
    versions = _supported_versions(body[at + 2 :]) or (legacy,)
    if datagram:
        versions = tuple(_DATAGRAM_VERSIONS.get(version, version) for version in versions)
    known = tuple(sorted((v for v in versions if v in _VERSIONS), reverse=True))
    return ClientHello(known, suites, algorithms_untrusted(body[at + 2 :]), datagram)


def _is_datagram(first_bytes: bytes) -> bool:
    """A record of DTLS."""
    return first_bytes[1:2] == bytes([_OF_DATAGRAMS])


def _supported_versions(extensions: bytes) -> tuple[int, ...]:
    while len(extensions) >= 4:
        kind, size = int.from_bytes(extensions[:2], "big"), int.from_bytes(extensions[2:4], "big")
        if kind == _SUPPORTED_VERSIONS:
            return _pairs(extensions[5 : 4 + size])
        extensions = extensions[4 + size :]
    return ()


def _pairs(data: bytes) -> tuple[int, ...]:
    return tuple(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data) - 1, 2))
