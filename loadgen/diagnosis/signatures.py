"""Who can sign with what: what a server asks its clients for, what a client takes, and what a key of ours makes.

Source: RFC 5246 (7.4.4), RFC 8446 (4.2.3, 4.3.2) and the IANA registries of TLS.
"""

from __future__ import annotations

from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

_HEADER_BYTES = 4
_SIGNATURE_ALGORITHMS = 13
_NAMES = {
    0x0101: "RSA+MD5",
    0x0201: "RSA+SHA1",
    0x0301: "RSA+SHA224",
    0x0401: "RSA+SHA256",
    0x0501: "RSA+SHA384",
    0x0601: "RSA+SHA512",
    0x0804: "RSA-PSS+SHA256",
    0x0805: "RSA-PSS+SHA384",
    0x0806: "RSA-PSS+SHA512",
    0x0202: "DSA+SHA1",
    0x0402: "DSA+SHA256",
    0x0203: "ECDSA+SHA1",
    0x0303: "ECDSA+SHA224",
    0x0403: "ECDSA+SHA256",
    0x0503: "ECDSA+SHA384",
    0x0603: "ECDSA+SHA512",
    0x0807: "Ed25519",
    0x0808: "Ed448",
}
_TYPES = {1: "RSA", 2: "DSA", 64: "ECDSA"}
# Of an empty one, with TLS 1.3's context: header, context, and the list's length.
_EMPTY_CERTIFICATE_BYTES = 8


class SignatureRequest(NamedTuple):
    """What a server asks of its clients' certificates: types of key, TLS 1.2 and before; algorithms, from 1.2 on."""

    types: tuple[int, ...]
    algorithms: tuple[int, ...]

    def told(self) -> str:
        """For a person: "RSA+SHA1, ECDSA+SHA256; keys of RSA"."""
        keys = ", ".join(_TYPES.get(kind, f"type {kind}") for kind in self.types)
        parts = (told(self.algorithms), f"keys of {keys}" if keys else "")
        return "; ".join(filter(None, parts)) or "(not known)"


def request_untrusted(message: bytes, *, tls_1_3: bool) -> SignatureRequest:
    """Of a CertificateRequest, as far as it can be read. Never fails."""
    body = message[_HEADER_BYTES:]
    rest = body[1 + (body[0] if body else 0) :]  # TLS 1.3: the context, then extensions; before: the types
    if tls_1_3:
        return SignatureRequest((), algorithms_untrusted(rest[2:]))
    size = int.from_bytes(rest[:2], "big")
    pairs = rest[2 : 2 + size]
    return SignatureRequest(tuple(body[1 : 1 + body[0]]) if body else (), _pairs(pairs))


def algorithms_untrusted(extensions: bytes) -> tuple[int, ...]:
    """Of an extension signature_algorithms among others; none without it. Never fails."""
    while len(extensions) >= 4:
        kind, size = int.from_bytes(extensions[:2], "big"), int.from_bytes(extensions[2:4], "big")
        if kind == _SIGNATURE_ALGORITHMS:
            return _pairs(extensions[6 : 4 + size])
        extensions = extensions[4 + size :]
    return ()


def is_empty_certificate(message: bytes) -> bool:
    """A Certificate message in which there is none."""
    return len(message) <= _EMPTY_CERTIFICATE_BYTES


def told(algorithms: tuple[int, ...]) -> str:
    """For a person, in the order of preference."""
    return ", ".join(_NAMES.get(number, f"{number:#06x}") for number in algorithms)


def made_by(key_pem: bytes, algorithms: tuple[int, ...]) -> tuple[int, ...]:
    """Those that a key of this kind can make at all, whatever OpenSSL's security level says."""
    beginning = _kind_of(key_pem)[0]
    return tuple(number for number in algorithms if _NAMES.get(number, "").startswith(beginning))


def key_told(key_pem: bytes) -> str:
    """ "RSA-2048", "ECDSA secp256r1"."""
    return _kind_of(key_pem)[1]


def _kind_of(key_pem: bytes) -> tuple[str, str]:
    """How names of its algorithms begin, and its own."""
    key = load_pem_private_key(key_pem, None)
    if isinstance(key, rsa.RSAPrivateKey):
        return "RSA", f"RSA-{key.key_size}"
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return "ECDSA", f"ECDSA {key.curve.name}"
    name = type(key).__name__.removesuffix("PrivateKey")
    return name, name


def _pairs(data: bytes) -> tuple[int, ...]:
    return tuple(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data) - 1, 2))
