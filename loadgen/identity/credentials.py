"""Identities: key and certificate of one endpoint, made for a run or read from a file.

Self-signed ones (SSC) are what MSEs have; a run's own `Authority` signs those of the WLCs which MSEs verify.
Time is an argument everywhere, always with a time zone: a naive local time would silently shift every
validity.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from loadgen.errors import InputError, Problem
from loadgen.files import read_bounded, write_new
from loadgen.identity.any_certificate import AnyCertificate
from loadgen.identity.certificates import PrivateKey, authority_certificate, leaf_certificate
from loadgen.identity.mac import bare_mac
from loadgen.identity.pem import certificates_in, mac_of, parse_identity, pem_of

KeyType = Literal["p256", "rsa-2048"]

MAX_PEM_BYTES = 1 << 20  # a key and a chain of ten RSA-4096 certificates take 25 KiB

EXPECTED_IDENTITY = "a private key and its certificate (PEM or PKCS#12)"


class Identity(msgspec.Struct, frozen=True):
    """Who an endpoint is.

    mac: colon form, or "" where the certificate names none: who is let in by a key hash needs none;
    key_pem: PKCS#8, not encrypted; certificate_pem: one certificate; chain_pem: what is sent after it in the
    handshake, nearest issuer first, without the root.
    """

    mac: str
    key_pem: bytes
    certificate_pem: bytes
    chain_pem: bytes = b""

    def __repr__(self) -> str:
        # The generated one would print the private key into logs and tracebacks.
        return f"Identity(mac={self.mac!r})"

    def certificate(self) -> AnyCertificate:
        """The certificate, read anew at every call (about 10 µs): keep it where it is needed often."""
        return certificates_in(self.certificate_pem)[0]

    def chain(self) -> tuple[AnyCertificate, ...]:
        """The certificates of `chain_pem`."""
        return certificates_in(self.chain_pem)

    def is_self_signed(self) -> bool:
        """True for an SSC: issuer and subject are the same name."""
        return self.certificate().is_self_signed


class Authority:
    """A certificate authority that lives as long as one run: it signs the WLC certificates which MSEs verify,
    and, through an issuing authority, those of MSEs with CA-signed certificates (LSC).

    Its key is never written anywhere, so nobody has to guard or to revoke it.
    """

    def __init__(self, key: PrivateKey, certificate: x509.Certificate, chain_pem: bytes = b"") -> None:
        """Args: chain_pem: what those whom it signs send after their certificate, without the root."""
        self._key = key
        self._certificate = certificate
        self._chain_pem = chain_pem
        self.certificate_pem = certificate.public_bytes(Encoding.PEM)

    @classmethod
    def new(cls, name: str, now: datetime, key_type: KeyType = "p256", days: float = 3650) -> Authority:
        """A root with a fresh key; `name` is its common name (1 to 64 characters, X.520)."""
        key = new_key(key_type)
        return cls(key, authority_certificate(name, key, now, days))

    def issue_authority(self, name: str, now: datetime, key_type: KeyType = "p256", days: float = 3650) -> Authority:
        """An issuing authority that this root signs; its certificate is sent along with those it issues."""
        key = new_key(key_type)
        certificate = authority_certificate(name, key, now, days, (self._key, self._certificate))
        return Authority(key, certificate, certificate.public_bytes(Encoding.PEM) + self._chain_pem)

    def issue(self, mac: str, key: PrivateKey, now: datetime, days: float = 3650) -> Identity:
        """An identity signed by this authority, not valid for longer than the authority itself.

        The root is not in its chain: a peer that verifies has it, and every handshake would carry it for
        nothing.
        """
        signed_by = (self._key, self._certificate)
        certificate = leaf_certificate(bare_mac(mac), key, now, days, signed_by)
        return _identity(mac, key, [_made(certificate), *certificates_in(self._chain_pem)])


def new_key(key_type: KeyType) -> PrivateKey:
    """A fresh private key. Cost: 75 µs for p256, about 50 ms (varying widely) for rsa-2048."""
    if key_type == "p256":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def self_signed(mac: str, key: PrivateKey, now: datetime, days: float = 3650) -> Identity:
    """An identity with a self-signed certificate (SSC), as a newly installed MSE makes for itself.

    Args:
        mac: colon form; without separators it becomes the common name.

    Source: `Certificate Type: SSC` in show server-auth-info. The names inside a real SSC are not public;
    ours.
    """
    return _identity(mac, key, [_made(leaf_certificate(bare_mac(mac), key, now, days))])


def save_identity(identity: Identity, path: Path, *, replace: bool = False) -> None:
    """Write key, certificate and chain into one new file that only its owner can read (mode 0600).

    Args:
        replace: whatever is at `path` may go.

    Raises:
        InputError: something is at `path` already, or the system refuses.
    """
    write_new(path, identity.key_pem + identity.certificate_pem + identity.chain_pem, mode=0o600, replace=replace)


def load_identity(path: Path) -> Identity:
    """Read what `save_identity` wrote, or a key with its certificates from anywhere else.

    Raises:
        InputError: as `read_identity`; or the file is missing, unreadable, empty or larger than 1 MiB.
    """
    return read_identity(read_bounded(path, MAX_PEM_BYTES, EXPECTED_IDENTITY), str(path))


def refused_certificates(identity: Identity, where: str, *, allows_old: bool, remedy: str) -> Iterator[Problem]:
    """What OpenSSL refuses in our own certificates, before it does so in the middle of something.

    Args:
        allows_old: certificates that were made by the rules of their time are taken.
        remedy: the setting that does so.
    """
    if allows_old:
        return
    for number, certificate in enumerate((identity.certificate(), *identity.chain()), 1):
        if (outdated := certificate.outdated) is not None:
            expected = f"certificates that OpenSSL takes today (RSA of 2048 bits, SHA-256), or {remedy}"
            yield Problem(where, expected, f"{outdated} in certificate number {number}")


def read_identity(data: bytes, source: str) -> Identity:
    """Read one unencrypted RSA or EC private key, its certificate, and the chain that follows the
    certificate.

    The MAC is that of the certificate's common name, if it names one: what names real ones have is not public.
    Key and certificates are brought into one form (PKCS#8, no text between the blocks).

    Args:
        data: PEM, however its certificates are labelled, or PKCS#12 without a password.
        source: the name of the file, which becomes the `where` of every problem.

    Raises:
        InputError: no key, several keys, an encrypted or unsupported one, no certificate, one that is not
            that key's. What can be told at the same time is told at the same time.
    """
    problems: list[Problem] = []
    key, certificates = parse_identity(data, source, problems, needs_key=True)
    if problems or key is None:
        raise InputError(problems)
    return _identity(mac_of(certificates[0]) or "", key, certificates)


def _identity(mac: str, key: PrivateKey, certificates: Sequence[AnyCertificate]) -> Identity:
    # Not encrypted: a load tester has nobody to ask for a pass phrase.
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    first, *chain = (pem_of(certificate.der) for certificate in certificates)
    return Identity(mac, key_pem, first, b"".join(chain))


def _made(certificate: x509.Certificate) -> AnyCertificate:
    return AnyCertificate(certificate.public_bytes(Encoding.DER))
