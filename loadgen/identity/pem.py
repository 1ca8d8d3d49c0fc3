"""What is inside an identity's file (PEM, DER or PKCS#12), and everything that can be wrong with it."""

from __future__ import annotations

import base64
import binascii
import re
import warnings
from collections.abc import Iterator
from typing import NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

from loadgen.errors import InputError, Problem
from loadgen.files import without_mark
from loadgen.foreign import plain
from loadgen.identity.any_certificate import AnyCertificate, UnreadableError
from loadgen.identity.certificates import PrivateKey
from loadgen.identity.mac import parse_mac

_EDGE = re.compile(rb"-----(BEGIN|END) ([A-Z0-9 ]{1,40})-----\s*")
# The first is RFC 7468's; OpenSSL reads and writes the others as well (`openssl x509 -trustout`, SSLeay's own).
_CERTIFICATE_LABELS = frozenset({b"CERTIFICATE", b"TRUSTED CERTIFICATE", b"X509 CERTIFICATE"})
_PEM_WIDTH = 64
_DER_SEQUENCE = b"\x30"
# PFX begins with its version, 3 (RFC 7292); a certificate with another SEQUENCE.
_PKCS12 = re.compile(rb"\x30(?:[\x00-\x80]|\x81.|\x82..|\x83...)\x02\x01\x03", re.DOTALL)

# As recalled, not from a public document: certificates that Cisco installs end in the address, such as
# AIR-CT5508-K9-0050569c3489.
_MAC_AT_THE_END = re.compile(r"(?:.*[^0-9A-Za-z])?([0-9A-Fa-f]{12})", re.DOTALL)

_EXPECTED_KEY = "one private key, RSA or EC, not encrypted"
EXPECTED_CERTIFICATES = "certificates (PEM or DER)"


class IdentityParts(NamedTuple):
    """A key, the certificates with that key's first and the chain after it."""

    key: PrivateKey | None
    certificates: list[AnyCertificate]


def is_pem_or_der(data: bytes) -> bool:
    """Whether a file holds keys or certificates, and no text that a device printed."""
    return b"-----BEGIN " in without_mark(data) or data.startswith(_DER_SEQUENCE)


def parse_identity(data: bytes, source: str, problems: list[Problem], *, needs_key: bool) -> IdentityParts:
    """The parts of an identity; what is wrong becomes problems."""
    if data.startswith(_DER_SEQUENCE):
        parts = _der(data, source, problems)
        if needs_key and parts.key is None and not problems:
            problems.append(Problem(source, _EXPECTED_KEY, "no private key"))
    else:
        blocks = list(_blocks(without_mark(data)))
        keys = [block for label, block in blocks if label.endswith(b"PRIVATE KEY")]
        certified = [block for label, block in blocks if label in _CERTIFICATE_LABELS]
        if needs_key and not keys:
            problems.append(Problem(source, _EXPECTED_KEY, "no private key"))
        parts = IdentityParts(_key(keys, source, problems), _certificates(certified, source, problems))
    if parts.key and parts.certificates and _certified(parts.certificates[0]) != _public(parts.key.public_key()):
        expected = "a certificate of the private key in the same file"
        problems.append(Problem(source, expected, "a first certificate of another key"))
    return parts


def mac_of(certificate: AnyCertificate) -> str | None:
    """The MAC that a certificate's common name is, or (as in Cisco's own device certificates) ends in; None if it
    names none."""
    for name in certificate.common_names:
        at_the_end = _MAC_AT_THE_END.fullmatch(name)
        try:
            return parse_mac(at_the_end[1] if at_the_end else name)
        except ValueError:
            continue
    return None


def certificates_in(pem: bytes) -> tuple[AnyCertificate, ...]:
    """All of them in a PEM text that was checked before. Raises: UnreadableError."""
    return tuple(_certificate(block) for label, block in _blocks(pem) if label in _CERTIFICATE_LABELS)


def read_certificates(data: bytes, source: str) -> bytes:
    """The certificates of a file as plain PEM, whatever labels and text it has.

    Raises:
        InputError: there is none, or one is damaged.
    """
    problems: list[Problem] = []
    if data.startswith(_DER_SEQUENCE):
        certificates = _der(data, source, problems).certificates
    else:
        blocks = [block for label, block in _blocks(without_mark(data)) if label in _CERTIFICATE_LABELS]
        certificates = _certificates(blocks, source, problems, EXPECTED_CERTIFICATES)
    if problems:
        raise InputError(problems)
    return b"".join(pem_of(certificate.der) for certificate in certificates)


def pem_of(der: bytes) -> bytes:
    """A certificate as PEM."""
    text = base64.b64encode(der)
    lines = [text[at : at + _PEM_WIDTH] for at in range(0, len(text), _PEM_WIDTH)]
    return b"\n".join([b"-----BEGIN CERTIFICATE-----", *lines, b"-----END CERTIFICATE-----", b""])


def _blocks(pem: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Label and whole text of every block; text around the blocks is allowed (`openssl x509 -text` prints
    some)."""
    begun: list[bytes] = []
    label = b""
    for line in pem.splitlines(keepends=True):
        edge = _EDGE.fullmatch(line)
        if edge and edge[1] == b"BEGIN":
            begun, label = [line], edge[2]
        elif begun:
            begun.append(line)
            if edge and edge[2] == label:
                yield label, b"".join(begun)
                begun = []


def _key(blocks: list[bytes], source: str, problems: list[Problem]) -> PrivateKey | None:
    if not blocks:
        return None
    if len(blocks) > 1:
        problems.append(Problem(source, _EXPECTED_KEY, f"{len(blocks)} private keys"))
        return None
    # The label of PKCS#8, and the Proc-Type header of the older form; neither can occur in base64.
    if b"BEGIN ENCRYPTED " in blocks[0] or b"4,ENCRYPTED" in blocks[0]:
        problems.append(Problem(source, _EXPECTED_KEY, "an encrypted private key"))
        return None
    try:
        key = load_pem_private_key(blocks[0], password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        problems.append(Problem(source, _EXPECTED_KEY, "a damaged private key or one of an unsupported type"))
        return None
    return _supported(key, source, problems)


def _supported(key: object, source: str, problems: list[Problem]) -> PrivateKey | None:
    if isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
        return key
    kind = type(key).__name__.removesuffix("PrivateKey")
    problems.append(Problem(source, _EXPECTED_KEY, f"a private key of the unsupported type {kind}"))
    return None


def _certificates(
    blocks: list[bytes],
    source: str,
    problems: list[Problem],
    expected: str = "the certificate of the private key, then its chain",
) -> list[AnyCertificate]:
    certificates = []
    for number, block in enumerate(blocks, 1):
        try:
            certificates.append(_certificate(block))
        except UnreadableError as error:
            problems.append(Problem(source, expected, f"certificate number {number}, which is damaged: {error}"))
    if not blocks:
        problems.append(Problem(source, expected, "no certificate"))
    # With a damaged one the first of the rest may be an issuer: nothing more can be said about the file.
    return certificates if len(certificates) == len(blocks) else []


def _certificate(block: bytes) -> AnyCertificate:
    body = b"".join(line.strip() for line in block.splitlines()[1:-1])
    try:
        der = base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise UnreadableError("it is not in base64") from error
    return AnyCertificate(der)


def _der(data: bytes, source: str, problems: list[Problem]) -> IdentityParts:
    if _PKCS12.match(data):
        return _pkcs12(data, source, problems)
    try:
        return IdentityParts(None, [AnyCertificate(data)])
    except UnreadableError as error:
        expected = "a certificate, or a key with its certificate in PKCS#12, where a file is in DER"
        problems.append(Problem(source, expected, f"neither: {error}"))
        return IdentityParts(None, [])


def _pkcs12(data: bytes, source: str, problems: list[Problem]) -> IdentityParts:
    # What it does not like in a certificate that it takes, the library tells everybody.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for password in (None, b""):  # two ways to have none
            try:
                store = load_pkcs12(data, password)
            except (ValueError, TypeError, UnsupportedAlgorithm):
                continue
            first = [store.cert] if store.cert is not None else []
            certificates = [each.certificate for each in (*first, *store.additional_certs)]
            if not certificates:
                problems.append(Problem(source, "a certificate in the .p12", "none"))
            key = None if store.key is None else _supported(store.key, source, problems)
            return IdentityParts(key, [AnyCertificate(each.public_bytes(Encoding.DER)) for each in certificates])
    expected = (
        "a .p12 without a password, of ciphers and certificates that are read here"
        f" (`openssl pkcs12 -legacy -nodes -in {plain(source)}` makes PEM of any)"
    )
    problems.append(Problem(source, expected, "another one"))
    return IdentityParts(None, [])


def _public(key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _certified(certificate: AnyCertificate) -> bytes:
    """The certificate's public key in the same encoding; empty, so equal to none, if it is of another
    kind."""
    try:
        key = load_der_public_key(certificate.spki)
    except (ValueError, UnsupportedAlgorithm):
        return b""
    return _public(key) if isinstance(key, (ec.EllipticCurvePublicKey, rsa.RSAPublicKey)) else b""
