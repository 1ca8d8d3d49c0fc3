"""Self-signed certificates, with their keys, in PEM files."""

from __future__ import annotations

import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


def make_identity(path: Path, name: str = "025343000001") -> Path:
    """A P-256 key and its certificate; the common name is a MAC address, as an MSE's is."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=7))
        .sign(key, SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(pem + certificate.public_bytes(Encoding.PEM))
    return path


def server_context(identity: Path | None, trust: Path | None) -> ssl.SSLContext:
    """The context of a WLC.

    Args:
        identity: its PEM file; None makes one.
        trust: clients must show one of these certificates. Without it any client comes in, and none is asked for its
            certificate: the standard library cannot ask for one and then take whatever comes.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load(context, identity)
    if trust is not None:
        context.load_verify_locations(trust)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(identity: Path | None) -> ssl.SSLContext:
    """The context of an MSE: shows its certificate, takes every WLC's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _load(context, identity)
    return context


def _load(context: ssl.SSLContext, identity: Path | None) -> None:
    if identity is not None:
        context.load_cert_chain(identity)
        return
    with tempfile.TemporaryDirectory() as folder:
        context.load_cert_chain(make_identity(Path(folder) / "identity.pem"))
