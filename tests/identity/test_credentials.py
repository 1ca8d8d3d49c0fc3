"""Certificates as strict verifiers see them, and identity files with all that can be wrong with them."""

from __future__ import annotations

import base64
import itertools
import stat
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from hypothesis import given
from hypothesis import strategies as st
from identity_samples import MAC, NOW, REPEATABLE
from OpenSSL import SSL, crypto

from loadgen.errors import InputError, Problem
from loadgen.identity.credentials import (
    Authority,
    Identity,
    load_identity,
    new_key,
    read_identity,
    save_identity,
    self_signed,
)

PURPOSES = ("sslclient", "sslserver")


def _found(refusal: pytest.ExceptionInfo[InputError]) -> list[str]:
    return [problem.found for problem in refusal.value.problems]


def _encrypted(identity: Identity, form: PrivateFormat) -> bytes:
    key = load_pem_private_key(identity.key_pem, None)
    return key.private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"secret"))


def _openssl_verify(tmp_path: Path, purpose: str, trusted: bytes, certificate: bytes) -> str:
    """`openssl verify` at the time of the tests, with every check it knows."""
    (tmp_path / "trusted.pem").write_bytes(trusted)
    (tmp_path / "peer.pem").write_bytes(certificate)
    verified = subprocess.run(
        [
            *("openssl", "verify", "-x509_strict", "-check_ss_sig", "-policy_check", "-auth_level", "2"),
            *("-purpose", purpose, "-attime", str(int(NOW.timestamp()))),
            *("-CAfile", str(tmp_path / "trusted.pem"), str(tmp_path / "peer.pem")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    return verified.stdout.removeprefix(str(tmp_path / "peer.pem")).strip() + verified.stderr


@pytest.mark.parametrize("purpose", PURPOSES)
def test_openssl_accepts_what_an_authority_issues(
    tmp_path: Path, authority: Authority, issued: Identity, purpose: str
) -> None:
    verdict = _openssl_verify(tmp_path, purpose, authority.certificate_pem, issued.certificate_pem)
    assert verdict == ": OK"


@pytest.mark.parametrize("purpose", PURPOSES)
def test_openssl_accepts_a_self_signed_certificate_it_was_told_to_trust(
    tmp_path: Path, ssc: Identity, purpose: str
) -> None:
    assert _openssl_verify(tmp_path, purpose, ssc.certificate_pem, ssc.certificate_pem) == ": OK"


def test_openssl_refuses_another_authority(tmp_path: Path, issued: Identity) -> None:
    other = Authority.new("loadgen test run", NOW)  # the same name: only the key tells them apart
    assert "error" in _openssl_verify(tmp_path, "sslserver", other.certificate_pem, issued.certificate_pem)


def test_the_openssl_of_the_transport_accepts_the_chain_too(authority: Authority, issued: Identity) -> None:
    store = crypto.X509Store()
    store.add_cert(crypto.X509.from_cryptography(x509.load_pem_x509_certificate(authority.certificate_pem)))
    store.set_flags(crypto.X509StoreFlags.X509_STRICT)
    store.set_time(NOW.replace(tzinfo=None))
    peer = crypto.X509.from_cryptography(x509.load_pem_x509_certificate(issued.certificate_pem))
    crypto.X509StoreContext(store, peer).verify_certificate()


def test_a_tls_context_takes_key_and_certificate(ssc: Identity) -> None:
    context = SSL.Context(SSL.TLS_METHOD)
    context.use_certificate(x509.load_pem_x509_certificate(ssc.certificate_pem))
    context.use_privatekey(load_pem_private_key(ssc.key_pem, None))
    context.check_privatekey()


def test_a_self_signed_certificate_names_its_mac_and_starts_five_minutes_ago(ssc_p256: Identity) -> None:
    certificate = x509.load_pem_x509_certificate(ssc_p256.certificate_pem)
    assert certificate.subject.rfc4514_string() == "CN=0050569c3489,O=nmsp-loadgen"
    assert certificate.not_valid_before_utc == NOW - timedelta(minutes=5)
    assert certificate.not_valid_after_utc == NOW + timedelta(days=3650)
    assert isinstance(certificate.signature_hash_algorithm, SHA256)
    assert ssc_p256.is_self_signed()


def test_an_issued_certificate_does_not_outlive_its_authority() -> None:
    authority = Authority.new("short", NOW, days=1)
    issued = authority.issue(MAC, new_key("p256"), NOW, days=30)
    assert issued.certificate().ends == NOW + timedelta(days=1)
    assert not issued.is_self_signed()
    assert issued.chain() == ()


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        self_signed(MAC, new_key("p256"), datetime(2026, 1, 15))  # noqa: DTZ001


def test_an_identity_does_not_print_its_key(ssc: Identity) -> None:
    assert repr(ssc) == f"Identity(mac='{ssc.mac}')"


def test_saved_and_loaded_is_the_same(tmp_path: Path, authority: Authority, ssc: Identity) -> None:
    with_chain = Identity(ssc.mac, ssc.key_pem, ssc.certificate_pem, authority.certificate_pem)
    for name, identity in (("plain", ssc), ("chain", with_chain)):
        path = tmp_path / name
        save_identity(identity, path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert load_identity(path) == identity
    assert len(with_chain.chain()) == 1


@pytest.mark.parametrize("there", ["file", "dangling link", "directory"])
def test_nothing_is_overwritten(tmp_path: Path, ssc_p256: Identity, there: str) -> None:
    path = tmp_path / "mse.pem"
    if there == "file":
        path.write_text("precious")
    elif there == "directory":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError) as refusal:
        save_identity(ssc_p256, path)
    assert refusal.value.problems == (Problem(str(path), "a path where no file is yet", "an existing file"),)
    assert there != "file" or path.read_text() == "precious"
    assert not (tmp_path / "elsewhere").exists()


def test_a_directory_that_is_not_there(tmp_path: Path, ssc_p256: Identity) -> None:
    with pytest.raises(InputError) as refusal:
        save_identity(ssc_p256, tmp_path / "none" / "mse.pem")
    assert _found(refusal) == ["no such file or directory"]


def test_missing_empty_and_endless_files(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for path, found in (
        (tmp_path / "missing", "no such file or directory"),
        (tmp_path, "is a directory"),
        (tmp_path / "empty", "an empty file"),
        (Path("/dev/zero"), "a longer file"),
        (Path("a\0b"), "embedded null byte"),
    ):
        with pytest.raises(InputError) as refusal:
            load_identity(path)
        assert _found(refusal) == [found]
        assert refusal.value.problems[0].where == str(path)


def test_other_forms_of_the_same_key_are_read(ssc: Identity) -> None:
    key = load_pem_private_key(ssc.key_pem, None)
    older = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    certificate_first = b"Subject: printed by openssl x509 -text\n" + ssc.certificate_pem + older
    assert read_identity(certificate_first.replace(b"\n", b"\r\n"), "file") == ssc


def test_all_problems_of_a_file_at_once(ssc_p256: Identity, ssc_rsa: Identity) -> None:
    with pytest.raises(InputError) as refusal:
        read_identity(b"nothing of use", "mse.pem")
    assert _found(refusal) == ["no private key", "no certificate"]
    assert {problem.where for problem in refusal.value.problems} == {"mse.pem"}

    with pytest.raises(InputError) as refusal:
        read_identity(ssc_p256.key_pem + ssc_rsa.key_pem + ssc_p256.certificate_pem, "mse.pem")
    assert _found(refusal) == ["2 private keys"]

    with pytest.raises(InputError) as refusal:
        read_identity(ssc_p256.key_pem + ssc_rsa.certificate_pem, "mse.pem")
    assert _found(refusal) == ["a first certificate of another key"]


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_an_encrypted_key(ssc: Identity, form: PrivateFormat) -> None:
    with pytest.raises(InputError) as refusal:
        read_identity(_encrypted(ssc, form) + ssc.certificate_pem, "mse.pem")
    assert _found(refusal) == ["an encrypted private key"]


def test_an_unsupported_key(ssc_p256: Identity) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(InputError) as refusal:
        read_identity(pem + ssc_p256.certificate_pem, "mse.pem")
    assert _found(refusal) == ["a private key of the unsupported type Ed25519"]


def test_damaged_blocks(ssc_p256: Identity) -> None:
    def damaged(pem: bytes) -> bytes:
        lines = pem.splitlines(keepends=True)
        return b"".join([*lines[:1], b"AAAA" + lines[1][4:], *lines[2:]])

    with pytest.raises(InputError) as refusal:
        read_identity(damaged(ssc_p256.key_pem) + ssc_p256.certificate_pem, "mse.pem")
    assert _found(refusal) == ["a damaged private key or one of an unsupported type"]
    with pytest.raises(InputError) as refusal:
        read_identity(ssc_p256.key_pem + ssc_p256.certificate_pem + damaged(ssc_p256.certificate_pem), "f")
    assert _found(refusal) == ["certificate number 2, which is damaged: the certificate has the tag 0x00 and not 0x30"]


def test_a_certificate_of_a_version_that_does_not_exist(ssc_p256: Identity) -> None:
    """Found by fuzzing: `cryptography` has an exception of its own for it. OpenSSL reads it, and so do we."""
    der = ssc_p256.certificate().der
    version = bytes((0xA0, 3, 2, 1, 2))  # [0] INTEGER 2: the third version
    assert der.count(version) == 1
    body = base64.encodebytes(der.replace(version, version[:-1] + b"\x52"))
    pem = b"-----BEGIN CERTIFICATE-----\n" + body + b"-----END CERTIFICATE-----\n"
    assert read_identity(ssc_p256.key_pem + pem, "mse.pem").mac == MAC


def test_a_certificate_whose_name_cannot_be_made(ssc_p256: Identity) -> None:
    """Found by fuzzing: a subject in a BIT STRING, which `cryptography` takes as a TypeError of its caller."""
    der = ssc_p256.certificate().der
    name = bytes((0x0C, 12)) + ssc_p256.mac.replace(":", "").encode()  # a UTF8String
    assert name in der
    body = base64.encodebytes(der.replace(name, b"\x03\x0c\x00" + name[3:]))
    pem = b"-----BEGIN CERTIFICATE-----\n" + body + b"-----END CERTIFICATE-----\n"
    nameless = read_identity(ssc_p256.key_pem + pem, "mse.pem")
    assert (nameless.mac, nameless.certificate().common_names) == ("", ("#030c003035303536396333343839",))
    with pytest.raises(InputError) as refusal:
        read_identity(ssc_p256.key_pem + ssc_p256.certificate_pem[:-5], "mse.pem")
    assert _found(refusal) == ["no certificate"]


@pytest.mark.parametrize(
    ("common_name", "mac"),
    [
        ("0050569c3489", MAC),
        ("00:50:56:9C:34:89", MAC),
        ("AIR-CT5508-K9-0050569c3489", MAC),
        ("mse-0050.569c.3489", ""),
        ("x0050569c3489", ""),
        ("robin.example", ""),
        (None, ""),
    ],
)
def test_the_mac_in_the_common_name(common_name: str | None, mac: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    oid = x509.NameOID.COMMON_NAME if common_name else x509.NameOID.ORGANIZATION_NAME
    name = x509.Name([x509.NameAttribute(oid, common_name or "nobody")])
    certificate = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW).sign(key, SHA256())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem += certificate.public_bytes(Encoding.PEM)
    assert read_identity(pem, "mse.pem").mac == mac


def test_many_begin_lines_without_an_end_take_no_time() -> None:
    with pytest.raises(InputError):
        read_identity(b"-----BEGIN CERTIFICATE-----\n" * 35_000, "mse.pem")


_LABELS = [
    b"PRIVATE KEY",
    b"EC PRIVATE KEY",
    b"RSA PRIVATE KEY",
    b"ENCRYPTED PRIVATE KEY",
    b"CERTIFICATE",
    b"X",
]
_EDGES = [b"-----%s %s-----\n" % edge for edge in itertools.product([b"BEGIN", b"END"], _LABELS)]


@REPEATABLE
@given(st.lists(st.sampled_from([*_EDGES, b"AAAA\n", b"MIIB\n", b"\n", b"Proc-Type: 4,ENCRYPTED\n"]) | st.binary()))
def test_hostile_bytes_raise_input_error_only(pieces: list[bytes]) -> None:
    with pytest.raises(InputError):
        read_identity(b"".join(pieces), "hostile")
