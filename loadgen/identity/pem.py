"""What is inside an identity's PEM file, and everything that can be wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from loadgen.errors import Problem
from loadgen.identity.certificates import PrivateKey
from loadgen.identity.mac import parse_mac

_EDGE = re.compile(rb"-----(BEGIN|END) ([A-Z0-9 ]{1,40})-----\s*")

# As recalled, not from a public document: certificates that Cisco installs end in the address, such as
# AIR-CT5508-K9-0050569c3489.
_MAC_AT_THE_END = re.compile(r"(?:.*[^0-9A-Za-z])?([0-9A-Fa-f]{12})", re.DOTALL)


class IdentityPem(NamedTuple):
    """A key with its certificate first and the chain after it, and the MAC in the certificate's common
    name."""

    mac: str
    key: PrivateKey
    certificates: list[x509.Certificate]


def parse_identity_pem(pem: bytes, source: str) -> IdentityPem | list[Problem]:
    """The parts of an identity, or all that is wrong; never raises. See `credentials.read_identity`."""
    blocks = list(_blocks(pem))
    problems: list[Problem] = []
    keys = [block for label, block in blocks if label.endswith(b"PRIVATE KEY")]
    key = _key(keys, source, problems)
    certified = [block for label, block in blocks if label == b"CERTIFICATE"]
    certificates = _certificates(certified, source, problems)
    mac = _mac(certificates[0], source, problems) if certificates else ""
    if key and certificates and _certified(certificates[0]) != _public(key.public_key()):
        expected = "a certificate of the private key in the same file"
        problems.append(Problem(source, expected, "a first certificate of another key"))
    if problems or key is None:
        return problems
    return IdentityPem(mac, key, certificates)


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
    expected = "one private key, RSA or EC, not encrypted"
    if len(blocks) != 1:
        found = f"{len(blocks)} private keys" if blocks else "no private key"
        problems.append(Problem(source, expected, found))
        return None
    # The label of PKCS#8, and the Proc-Type header of the older form; neither can occur in base64.
    if b"BEGIN ENCRYPTED " in blocks[0] or b"4,ENCRYPTED" in blocks[0]:
        problems.append(Problem(source, expected, "an encrypted private key"))
        return None
    try:
        key = load_pem_private_key(blocks[0], password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        problems.append(Problem(source, expected, "a damaged private key or one of an unsupported type"))
        return None
    if not isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
        kind = type(key).__name__.removesuffix("PrivateKey")
        problems.append(Problem(source, expected, f"a private key of the unsupported type {kind}"))
        return None
    return key


def _certificates(blocks: list[bytes], source: str, problems: list[Problem]) -> list[x509.Certificate]:
    expected = "the certificate of the private key, then its chain"
    certificates = []
    for number, block in enumerate(blocks, 1):
        try:
            certificates.append(x509.load_pem_x509_certificate(block))
        except (ValueError, x509.InvalidVersion):  # the latter is no ValueError
            problems.append(Problem(source, expected, f"certificate number {number}, which is damaged"))
    if not blocks:
        problems.append(Problem(source, expected, "no certificate"))
    # With a damaged one the first of the rest may be an issuer: nothing more can be said about the file.
    return certificates if len(certificates) == len(blocks) else []


def _mac(certificate: x509.Certificate, source: str, problems: list[Problem]) -> str:
    """The MAC in the common name, or "" and one problem more."""
    try:
        attributes = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except (ValueError, TypeError):  # `cryptography` decodes a name only when it is asked for
        attributes = []
    names = [str(attribute.value) for attribute in attributes]
    for name in names:
        at_the_end = _MAC_AT_THE_END.fullmatch(name)
        try:
            return parse_mac(at_the_end[1] if at_the_end else name)
        except ValueError:
            continue
    expected = "a certificate whose common name is a MAC address or ends in one"
    problems.append(Problem(source, expected, f"the common name {names[0]!r}" if names else "no common name"))
    return ""


def _public(key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _certified(certificate: x509.Certificate) -> bytes:
    """The certificate's public key in the same encoding; empty, so equal to none, if it is of another
    kind."""
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return b""
    return _public(key) if isinstance(key, (ec.EllipticCurvePublicKey, rsa.RSAPublicKey)) else b""
