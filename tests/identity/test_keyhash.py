"""Key hashes, against `openssl` as the independent reader of the same certificates."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
from datetime import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed448
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from identity_samples import MAC, NOW, REPEATABLE, SHA1, SHA2
from OpenSSL import crypto
from thoroughness import examples

from loadgen.identity.any_certificate import AnyCertificate, UnreadableError
from loadgen.identity.credentials import Identity
from loadgen.identity.keyhash import HashedBytes, KeyHashError, check_key_hash, key_hash
from loadgen.identity.pem import certificates_in

HALVES: tuple[HashedBytes, ...] = ("spki", "public-key", "certificate")


def _openssl(data: bytes, *arguments: str) -> bytes:
    return subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=True).stdout


def test_spki_is_what_openssl_calls_the_public_key(ssc: Identity) -> None:
    public_pem = _openssl(ssc.certificate_pem, "x509", "-pubkey", "-noout")
    spki = _openssl(public_pem, "pkey", "-pubin", "-outform", "DER")
    assert key_hash(ssc.certificate(), "sha256") == hashlib.sha256(spki).hexdigest()
    assert key_hash(ssc.certificate(), "sha1", "spki") == hashlib.sha1(spki).hexdigest()  # noqa: S324


def test_public_key_of_rsa_is_pkcs1(ssc_rsa: Identity) -> None:
    public_pem = _openssl(ssc_rsa.certificate_pem, "x509", "-pubkey", "-noout")
    pkcs1 = _openssl(public_pem, "rsa", "-pubin", "-RSAPublicKey_out", "-outform", "DER")
    assert key_hash(ssc_rsa.certificate(), "sha256", "public-key") == hashlib.sha256(pkcs1).hexdigest()


def test_public_key_by_sha1_is_the_rfc_5280_key_identifier(ssc: Identity) -> None:
    printed = _openssl(ssc.certificate_pem, "x509", "-noout", "-ext", "subjectKeyIdentifier").decode()
    identifier = printed.split("\n")[1].strip().replace(":", "").lower()
    assert key_hash(ssc.certificate(), "sha1", "public-key") == identifier


def test_certificate_is_the_fingerprint(ssc: Identity) -> None:
    printed = _openssl(ssc.certificate_pem, "x509", "-noout", "-fingerprint", "-sha256").decode()
    fingerprint = printed.strip().partition("=")[2].replace(":", "").lower()
    assert key_hash(ssc.certificate(), "sha256", "certificate") == fingerprint


def test_a_key_of_a_kind_nobody_expects_is_hashed_all_the_same() -> None:
    key = ed448.Ed448PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, MAC)])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW)
    pem = builder.sign(key, None).public_bytes(Encoding.PEM)
    public_pem = _openssl(pem, "x509", "-pubkey", "-noout")
    spki = _openssl(public_pem, "pkey", "-pubin", "-outform", "DER")
    (certificate,) = certificates_in(pem)
    assert key_hash(certificate, "sha256") == hashlib.sha256(spki).hexdigest()


@settings(REPEATABLE, max_examples=examples(400))
@given(st.data())
def test_whatever_openssl_takes_can_be_read_and_hashed(ssc_p256: Identity, data: st.DataObject) -> None:
    der = bytearray(ssc_p256.certificate().der)
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    try:
        crypto.load_certificate(crypto.FILETYPE_ASN1, bytes(der))
    except crypto.Error:
        with contextlib.suppress(UnreadableError):  # and nothing else, whatever it is
            AnyCertificate(bytes(der))
        return
    certificate = AnyCertificate(bytes(der))
    assert certificate.subject is None or certificate.subject.isprintable()
    assert {type(certificate.begins), type(certificate.ends)} <= {datetime, type(None)}
    assert certificate.outdated is None or certificate.outdated.isascii()
    for over in HALVES:
        assert len(key_hash(certificate, "sha256", over)) == 64


def test_check_key_hash_tells_the_algorithm_by_its_digits() -> None:
    assert check_key_hash(SHA1) == "sha1"
    assert check_key_hash(SHA2) == "sha256"
    assert check_key_hash(SHA2.upper()) == "sha256"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("6ab919e20afc103d025aaf210c2a9dda151af9403ef52e35ae1ecb6d3c 177", "61 hex digits and 1 blank"),
        ("", "nothing"),
        ("a", "1 hex digit"),
        (SHA2[:-1], "63 hex digits"),
        (SHA2 + "0", "65 hex digits"),
        (SHA2[:-2] + "xz", "62 hex digits and 2 other characters ('x', 'z')"),
        (SHA2 + " ", "64 hex digits and 1 blank"),
        (" x" + SHA1, "40 hex digits, 1 blank and 1 other character ('x')"),
        (SHA1[:-1] + "\uff10", "39 hex digits and 1 other character ('\\uff10')"),
        ("ghijklm", "7 other characters ('g', 'h', 'i', 'j', 'k', ...)"),
        ("\x00", "1 other character ('\\x00')"),
        ("\t\u3000", "2 blanks"),
    ],
)
def test_anything_else_is_counted(text: str, found: str) -> None:
    with pytest.raises(KeyHashError) as refusal:
        check_key_hash(text)
    assert refusal.value.found == found
    assert str(refusal.value) == f"expected 40 hex digits (SHA-1) or 64 hex digits (SHA-256), found {found}"
