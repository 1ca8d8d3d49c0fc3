"""Certificates as real gear has them and no library of today makes them: put together from DER, and signed.

What OpenSSL takes and a stricter reader does not: names in any string type, times in any form, defaults written out,
serial numbers that are not positive, old digests, small keys.
"""

from __future__ import annotations

import base64
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

UTF8, PRINTABLE, TELETEX, BMP = 0x0C, 0x13, 0x14, 0x1E
UTC_TIME, GENERALIZED_TIME = 0x17, 0x18
CN, ORG, COUNTRY, EMAIL = "550403", "55040a", "550406", "2a864886f70d010901"
SERVERS, CLIENTS = "2b06010505070301", "2b06010505070302"
VALID = ((UTC_TIME, b"250101000000Z"), (UTC_TIME, b"450101000000Z"))
# basicConstraints with CA:TRUE, and what a device has instead.
AUTHORITY = bytes.fromhex("300f0603551d130101ff040530030101ff")
CRITICAL_FALSE = bytes.fromhex("300c0603551d1301010004023000")
_SIGNATURES = {
    (rsa.RSAPrivateKey, SHA1): "2a864886f70d010105",
    (rsa.RSAPrivateKey, SHA256): "2a864886f70d01010b",
    (ec.EllipticCurvePrivateKey, SHA256): "2a8648ce3d040302",
}

Attribute = tuple[str, int, bytes]
Time = tuple[int, bytes]


def der(tag: int, *parts: bytes) -> bytes:
    """One element."""
    body = b"".join(parts)
    length = len(body)
    if length < 0x80:
        return bytes([tag, length]) + body
    size = (length.bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + length.to_bytes(size, "big") + body


def pem(label: str, body: bytes) -> bytes:
    return f"-----BEGIN {label}-----\n".encode() + base64.encodebytes(body) + f"-----END {label}-----\n".encode()


def key_pem(key: Key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def name(*attributes: Attribute) -> bytes:
    """A distinguished name, of attributes with any string type."""
    parts = (der(0x30, der(6, bytes.fromhex(oid)), der(tag, value)) for oid, tag, value in attributes)
    return der(0x30, *(der(0x31, part) for part in parts))


def mac_name(*more: Attribute, mac: str = "0050569c3489") -> bytes:
    return name(*more, (CN, UTF8, mac.encode()))


def extension(oid: str, value: bytes, *, critical: bool = False) -> bytes:
    """An extension, whatever its value means."""
    return der(0x30, der(6, bytes.fromhex(oid)), b"\x01\x01\xff" if critical else b"", der(4, value))


def constraints(*, most_below: int | None = None, authority: bool = True) -> bytes:
    """basicConstraints. Args: most_below: how many authorities may be between this one and whoever shows the chain."""
    limit = b"" if most_below is None else der(2, bytes([most_below]))
    return extension("551d13", der(0x30, b"\x01\x01\xff" if authority else b"", limit), critical=True)


def purposes(*oids: str) -> bytes:
    """extKeyUsage."""
    return extension("551d25", der(0x30, *(der(6, bytes.fromhex(oid)) for oid in oids)))


class Issuer(NamedTuple):
    key: Key
    name: bytes


def certificate(
    subject: bytes,
    key: Key,
    *,
    issuer: Issuer | None = None,
    valid: tuple[Time, Time] = VALID,
    serial: bytes = b"\x01",
    extension: bytes = b"",
    digest: type[HashAlgorithm] = SHA256,
) -> bytes:
    """The DER of a certificate; self-signed without an issuer."""
    signer = issuer or Issuer(key, subject)
    kind = rsa.RSAPrivateKey if isinstance(signer.key, rsa.RSAPrivateKey) else ec.EllipticCurvePrivateKey
    null = b"\x05\x00" if kind is rsa.RSAPrivateKey else b""
    algorithm = der(0x30, der(6, bytes.fromhex(_SIGNATURES[kind, digest])), null)
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    tbs = der(
        0x30,
        der(0xA0, der(2, b"\x02")),
        der(2, serial),
        algorithm,
        signer.name,
        der(0x30, *(der(tag, text) for tag, text in valid)),
        subject,
        spki,
        der(0xA3, der(0x30, extension)) if extension else b"",
    )
    if isinstance(signer.key, rsa.RSAPrivateKey):
        signature = signer.key.sign(tbs, padding.PKCS1v15(), digest())
    else:
        signature = signer.key.sign(tbs, ec.ECDSA(digest()))
    return der(0x30, tbs, algorithm, der(3, b"\x00", signature))


def identity_pem(key: Key, *certificates: bytes) -> bytes:
    """A file with a key and certificates."""
    return key_pem(key) + b"".join(pem("CERTIFICATE", each) for each in certificates)


P256 = ec.generate_private_key(ec.SECP256R1())
RSA_2048 = rsa.generate_private_key(public_exponent=65537, key_size=2048)
RSA_1024 = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - what old MSEs have

# What OpenSSL takes, and what of it is to be read: subject, and dates as far as the form of the certificate matters.
ODD = {
    "Latin-1 in a TeletexString": certificate(mac_name((ORG, TELETEX, b"Universit\xe4t K\xf6ln")), P256),
    "two bytes a letter": certificate(mac_name((ORG, BMP, "Köln".encode("utf-16-be"))), P256),
    "a mark in a PrintableString": certificate(mac_name((ORG, PRINTABLE, b"my_org@lab")), P256),
    "an address in a PrintableString": certificate(mac_name((EMAIL, PRINTABLE, b"support@lab")), P256),
    "a country of three letters": certificate(mac_name((COUNTRY, PRINTABLE, b"USA")), P256),
    "critical FALSE written out": certificate(mac_name(), P256, extension=CRITICAL_FALSE),
    "a negative serial number": certificate(mac_name(), P256, serial=b"\xff"),
    "no name at all but its own": certificate(mac_name(), P256),
}
SUBJECTS = {
    "Latin-1 in a TeletexString": "CN=0050569c3489,O=Universität Köln",
    "two bytes a letter": "CN=0050569c3489,O=Köln",
    "a mark in a PrintableString": "CN=0050569c3489,O=my_org@lab",
    "an address in a PrintableString": "CN=0050569c3489,emailAddress=support@lab",
    "a country of three letters": "CN=0050569c3489,C=USA",
}
TIMES: dict[str, tuple[Time, str]] = {
    "seconds left out": ((UTC_TIME, b"2611010000+0000"), "2026-11-01 00:00:00"),
    "an offset": ((UTC_TIME, b"261101013000+0130"), "2026-11-01 00:00:00"),
    "a fraction": ((GENERALIZED_TIME, b"99991231225959.357Z"), "9999-12-31 22:59:59"),
    "the last century": ((UTC_TIME, b"970101000000Z"), "1997-01-01 00:00:00"),
}
EVIL = certificate(mac_name((ORG, UTF8, b"evil\n  passed       its key hash listed\x1b[31m\xe2\x80\xaered")), P256)
