"""The X.509 side of identities: what stands in the certificates made here, so that strict verifiers accept
them."""

from __future__ import annotations

from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

ORGANIZATION = "nmsp-loadgen"  # so that a certificate found on a controller later tells where it came from

# Of the six checks CMX prints for an inactive controller one is "the controller's time is same or ahead of
# MSE time": a self-signed certificate starts at MSE time, and a controller behind it sees one that is not
# valid yet. Five minutes (Kerberos' customary tolerance) let a lab without NTP pass; more would hide the very
# fault that field check is for.
CLOCK_TOLERANCE = timedelta(minutes=5)


def authority_certificate(
    common_name: str,
    key: PrivateKey,
    now: datetime,
    days: float,
    signed_by: tuple[PrivateKey, x509.Certificate] | None = None,
) -> x509.Certificate:
    """The certificate of an authority.

    Args:
        signed_by: as of `leaf_certificate`. None: a root, which signs end entities and authorities that sign
            end entities only; otherwise such an authority.
    """
    subject = _name(common_name)
    issuer_key, issuer, end = _issuer(subject, key, now + timedelta(days=days), signed_by)
    builder = _builder(subject, key, now, end).issuer_name(issuer)
    path_length = 1 if signed_by is None else 0
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
    builder = builder.add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
    builder = builder.add_extension(_key_identifier(key), critical=False)
    if signed_by is not None:
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
        builder = builder.add_extension(authority, critical=False)
    return builder.sign(issuer_key, SHA256())


def leaf_certificate(
    common_name: str,
    key: PrivateKey,
    now: datetime,
    days: float,
    signed_by: tuple[PrivateKey, x509.Certificate] | None = None,
) -> x509.Certificate:
    """A certificate for either role: a WLC is a TLS server and an MSE a client, and one file may play both.

    Args:
        signed_by: key and certificate of the issuer, whose end is also this one's at the latest; None:
            self-signed.
    """
    subject = _name(common_name)
    issuer_key, issuer, end = _issuer(subject, key, now + timedelta(days=days), signed_by)
    builder = _builder(subject, key, now, end).issuer_name(issuer)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    # The field's trace shows static RSA key exchange, for which a server's certificate must allow key
    # encipherment.
    usage = _key_usage(digital_signature=True, key_encipherment=isinstance(key, rsa.RSAPrivateKey))
    builder = builder.add_extension(usage, critical=True)
    purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    builder = builder.add_extension(purposes, critical=False)
    # Both identifiers: `openssl verify -x509_strict` insists on them.
    builder = builder.add_extension(_key_identifier(key), critical=False)
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    return builder.add_extension(authority, critical=False).sign(issuer_key, SHA256())


def _issuer(
    subject: x509.Name, key: PrivateKey, end: datetime, signed_by: tuple[PrivateKey, x509.Certificate] | None
) -> tuple[PrivateKey, x509.Name, datetime]:
    """Who signs, under which name, and until when it is valid: not for longer than the issuer."""
    if signed_by is None:
        return key, subject, end
    return signed_by[0], signed_by[1].subject, min(end, signed_by[1].not_valid_after_utc)


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _builder(subject: x509.Name, key: PrivateKey, now: datetime, end: datetime) -> x509.CertificateBuilder:
    """What all certificates here have in common; the issuer is still missing."""
    if now.tzinfo is None:
        raise ValueError("now must have a time zone")
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_TOLERANCE)
        .not_valid_after(end)
    )


def _key_identifier(key: PrivateKey) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier.from_public_key(key.public_key())


def _key_usage(
    *,
    digital_signature: bool = False,
    key_encipherment: bool = False,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=key_encipherment,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )
