"""What can be read of certificates that real gear has, whoever else refuses them."""

from __future__ import annotations

import odd_certificates as odd
import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from odd_certificates import ODD, P256, RSA_1024, SUBJECTS, TIMES
from OpenSSL import crypto

from loadgen.identity.any_certificate import AnyCertificate, UnreadableError
from loadgen.identity.keyhash import key_hash
from loadgen.identity.pem import mac_of

MAC = "00:50:56:9c:34:89"


@pytest.mark.parametrize("what", ODD)
def test_what_openssl_takes_is_read(what: str) -> None:
    crypto.load_certificate(crypto.FILETYPE_ASN1, ODD[what])
    certificate = AnyCertificate(ODD[what])
    assert certificate.subject == SUBJECTS.get(what, "CN=0050569c3489")
    assert mac_of(certificate) == MAC
    assert str(certificate.begins) == "2025-01-01 00:00:00+00:00"
    assert str(certificate.ends) == "2045-01-01 00:00:00+00:00"
    assert certificate.is_self_signed
    assert certificate.unreadable == ()
    assert certificate.outdated is None
    plain = AnyCertificate(ODD["no name at all but its own"])
    assert key_hash(certificate, "sha256") == key_hash(plain, "sha256")


@pytest.mark.parametrize("what", TIMES)
def test_times_in_whatever_form(what: str) -> None:
    time, means = TIMES[what]
    der = odd.certificate(odd.mac_name(), P256, valid=(odd.VALID[0], time))
    crypto.load_certificate(crypto.FILETYPE_ASN1, der)
    assert str(AnyCertificate(der).ends) == f"{means}+00:00"


@pytest.mark.parametrize("text", [b"261301000000Z", b"nonsense", b"", b"20261101000000Z", b"\xff" * 13])
def test_one_piece_that_cannot_be_read_does_not_take_the_others_with_it(text: bytes) -> None:
    certificate = AnyCertificate(odd.certificate(odd.mac_name(), P256, valid=((odd.UTC_TIME, text), odd.VALID[1])))
    assert certificate.begins is None
    assert certificate.unreadable == ("begin of validity",)
    assert mac_of(certificate) == MAC
    assert certificate.ends is not None
    assert len(key_hash(certificate, "sha256")) == 64


def test_a_stranger_s_name_is_one_plain_line() -> None:
    subject = AnyCertificate(odd.EVIL).subject
    assert subject is not None
    assert subject.isprintable()
    assert subject == r"CN=0050569c3489,O=evil\n  passed       its key hash listed\u001b[31m\u202ered"


def test_what_the_rules_of_today_refuse() -> None:
    subject = odd.mac_name()
    small = AnyCertificate(odd.certificate(subject, RSA_1024, digest=SHA1))
    assert small.outdated == "an RSA key of 1024 bits"
    issuer = odd.Issuer(RSA_1024, odd.name((odd.CN, odd.UTF8, b"MIC root")))
    signed = AnyCertificate(odd.certificate(subject, P256, issuer=issuer, digest=SHA1))
    assert signed.outdated == "a signature with SHA-1"
    assert not signed.is_self_signed


def test_what_follows_a_certificate_is_not_a_part_of_it() -> None:
    """OpenSSL appends what a certificate is trusted for (`openssl x509 -trustout`)."""
    der = ODD["a negative serial number"]
    assert AnyCertificate(der + b"\x30\x0c\x30\x0a\x06\x08" + bytes(8)).der == der


@pytest.mark.parametrize("cut", range(0, 60, 7))
def test_a_certificate_that_is_cut_off(cut: int) -> None:
    with pytest.raises(UnreadableError):
        AnyCertificate(ODD["a negative serial number"][:cut])
