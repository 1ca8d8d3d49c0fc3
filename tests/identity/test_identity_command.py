"""`loadgen identity`, run as click runs it. How errors end the process is the main command's matter."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path
from typing import get_args

import click
import odd_certificates as odd
import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PublicFormat
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates
from identity_samples import AUTH_INFO_JAPANESE, MAC, SHA1, SHA2

from loadgen.cli.identity import identity, new
from loadgen.errors import InputError
from loadgen.identity.any_certificate import AnyCertificate
from loadgen.identity.authlist import AuthEntry
from loadgen.identity.credentials import Identity, KeyType, load_identity, save_identity
from loadgen.identity.devices import aireos_config, ios_xe_config, load_auth_list, server_auth_info
from loadgen.identity.keyhash import HashedBytes
from loadgen.identity.pem import read_certificates


def _run(*arguments: str | Path) -> Result:
    """The result of a command that ends well; what it raises is raised here."""
    result = CliRunner().invoke(identity, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_new_writes_three_files_and_prints_the_configuration(tmp_path: Path) -> None:
    result = _run("new", "--mac", "0050.569c.3489", "--out", tmp_path)
    pem = tmp_path / "mse-0050569c3489.pem"
    ios_xe = tmp_path / "mse-0050569c3489.ios-xe.txt"
    aireos = tmp_path / "mse-0050569c3489.aireos.txt"
    auth_info = tmp_path / "mse-0050569c3489.server-auth-info.txt"
    written = [pem, ios_xe, aireos, auth_info]
    assert sorted(tmp_path.iterdir()) == sorted(written)
    assert stat.S_IMODE(pem.stat().st_mode) == 0o600
    lines = "".join(f"wrote {path}\n" for path in written)
    assert result.output == f"{lines}\n{ios_xe.read_text()}\n{aireos.read_text()}"
    made = load_identity(pem)
    assert made.mac == MAC
    assert auth_info.read_text() == server_auth_info(made)
    for path in (ios_xe, aireos, auth_info):
        assert load_auth_list(path, "spki").find(made.certificate()) is not None


def test_new_many_with_one_list_for_all(tmp_path: Path) -> None:
    out = tmp_path / "made" / "here"
    result = _run("new", "--count", "3", "--out", out)
    pems = sorted(out.glob("*.pem"))
    macs = [load_identity(pem).mac for pem in pems]
    first = int(macs[0].replace(":", ""), 16)
    assert [int(mac.replace(":", ""), 16) - first for mac in macs] == [0, 1, 2]
    assert first >> 40 & 0b11 == 0b10
    auth_list = load_auth_list(out / "auth-list.ios-xe.txt", "spki")
    assert [entry.mac for entry in auth_list.entries] == macs
    assert all(auth_list.find(load_identity(pem).certificate()) for pem in pems)
    old = (out / "auth-list.aireos.txt").read_text()
    assert result.output.endswith((out / "auth-list.ios-xe.txt").read_text() + "\n" + old)
    assert old.count("config auth-list add lbs-ssc ") == old.count("config auth-list add sha256-lbs-ssc ") == 3


def test_new_with_an_rsa_key_and_another_hash(tmp_path: Path) -> None:
    _run("new", "--key", "rsa-2048", "--hash-over", "certificate", "--mac", MAC, "--out", tmp_path)
    made = load_identity(tmp_path / "mse-0050569c3489.pem")
    auth_list = load_auth_list(tmp_path / "mse-0050569c3489.ios-xe.txt", "certificate")
    assert auth_list.find(made.certificate()) is not None


def test_new_refuses_before_it_writes_anything(tmp_path: Path) -> None:
    in_the_way = [tmp_path / "mse-0050569c348a.server-auth-info.txt", tmp_path / "auth-list.ios-xe.txt"]
    for path in in_the_way:
        path.write_text("precious")
    with pytest.raises(InputError) as refusal:
        _run("new", "--mac", MAC, "--count", "2", "--out", tmp_path)
    (problem,) = refusal.value.problems
    assert problem.where == str(in_the_way[0])
    assert "--force" in problem.expected
    assert problem.found == "an existing file, and 1 more"
    assert sorted(tmp_path.iterdir()) == sorted(in_the_way)


def test_new_with_force_replaces(tmp_path: Path) -> None:
    _run("new", "--mac", MAC, "--out", tmp_path)
    pem = tmp_path / "mse-0050569c3489.pem"
    first = pem.read_bytes()
    names = sorted(path.name for path in tmp_path.iterdir())
    _run("new", "--mac", MAC, "--out", tmp_path, "--force")
    assert pem.read_bytes() != first
    assert stat.S_IMODE(pem.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    made = load_identity(pem)
    assert load_auth_list(tmp_path / "mse-0050569c3489.aireos.txt", "spki").find(made.certificate()) is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--mac", "0050569c348"],
            "--mac: expected a MAC address such as 00:50:56:9c:34:89 or 0050569c3489, found '0050569c348'",
        ),
        (
            ["--mac", "ffffffffffff", "--count", "2"],
            "--count: expected 2 MAC addresses from ff:ff:ff:ff:ff:ff on, found only 1",
        ),
    ],
)
def test_new_with_a_bad_mac(tmp_path: Path, arguments: list[str], message: str) -> None:
    out = tmp_path / "out"
    with pytest.raises(InputError) as refusal:
        _run("new", *arguments, "--out", out)
    assert str(refusal.value) == message
    assert not out.exists()


def test_new_into_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="expected a directory"):
        _run("new", "--out", tmp_path / "file")


def test_show_an_identity(tmp_path: Path, ssc: Identity) -> None:
    path = tmp_path / "mse.pem"
    save_identity(ssc, path)
    for over in get_args(HashedBytes):
        entries = AuthEntry.both(ssc, over)
        config = f"{ios_xe_config(entries)}\n{aireos_config(entries)}"
        assert _run("show", path, "--hash-over", over).output == f"{server_auth_info(ssc, over)}\n{config}"
    assert _run("show", path).output == _run("show", path, "--hash-over", "spki").output


def test_show_what_a_device_printed(tmp_path: Path) -> None:
    path = tmp_path / "captured.txt"
    path.write_text(AUTH_INFO_JAPANESE, encoding="utf-8")
    assert _run("show", path).output == (
        f"MAC Address: {MAC}\nSHA1 Key Hash: {SHA1}\nSHA2 Key Hash: {SHA2}\n\n"
        "username 0050569c3489 aaa attribute list NMSP_0050569c3489\n"
        "aaa attribute list NMSP_0050569c3489\n"
        f" attribute type password {SHA2}\n!\n"
        "aaa authorization credential-download wcm_loc_serv_cert local\n\n"
        f"config auth-list add lbs-ssc {MAC} {SHA1}\nconfig auth-list add sha256-lbs-ssc {MAC} {SHA2}\n"
    )


KEY = ec.generate_private_key(ec.SECP256R1())
SAME = odd.certificate(odd.mac_name(), KEY)


def _pkcs12(der: bytes) -> bytes:
    certificate = x509.load_der_x509_certificate(der)
    return serialize_key_and_certificates(b"mse", KEY, certificate, None, NoEncryption())


FORMS = {
    "a certificate alone": odd.pem("CERTIFICATE", SAME),
    "DER": SAME,
    "OpenSSL's label": odd.pem("TRUSTED CERTIFICATE", SAME),
    "SSLeay's label": odd.pem("X509 CERTIFICATE", SAME),
    "behind a mark": b"\xef\xbb\xbf" + odd.identity_pem(KEY, SAME),
    "PowerShell's": odd.identity_pem(KEY, SAME).decode().replace("\n", "\r\n").encode("utf-16"),
    "PKCS#12": _pkcs12(SAME),
    "what nobody else reads": odd.pem(
        "CERTIFICATE", odd.certificate(odd.mac_name(), KEY, extension=odd.CRITICAL_FALSE)
    ),
    "a time with a fraction": odd.pem(
        "CERTIFICATE", odd.certificate(odd.mac_name(), KEY, valid=(odd.VALID[0], odd.TIMES["a fraction"][0]))
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_show_a_certificate_in_whatever_form(tmp_path: Path, form: str) -> None:
    """The key is the same, so its hash is."""
    path = tmp_path / "mse.bin"
    path.write_bytes(FORMS[form])
    spki = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    lines = _run("show", path).output.splitlines()
    assert lines[:4] == [
        f"MAC Address: {MAC}",
        f"SHA1 Key Hash: {hashlib.sha1(spki).hexdigest()}",  # noqa: S324
        f"SHA2 Key Hash: {hashlib.sha256(spki).hexdigest()}",
        "Certificate Type: SSC",
    ]
    assert lines[-1] == f"config auth-list add sha256-lbs-ssc {MAC} {hashlib.sha256(spki).hexdigest()}"


@pytest.mark.parametrize("form", ["behind a mark", "PowerShell's", "PKCS#12"])
def test_an_identity_in_whatever_form(tmp_path: Path, form: str) -> None:
    path = tmp_path / "mse.bin"
    path.write_bytes(FORMS[form])
    assert load_identity(path).certificate().der == SAME


def test_a_pkcs12_with_a_password_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "mse.p12"
    certificate = x509.load_der_x509_certificate(SAME)
    path.write_bytes(serialize_key_and_certificates(b"mse", KEY, certificate, None, BestAvailableEncryption(b"secret")))
    for read in (load_identity, lambda each: _run("show", each)):
        with pytest.raises(InputError, match="openssl pkcs12 -legacy -nodes -in"):
            read(path)


def test_a_pkcs12_with_nothing_but_a_key(tmp_path: Path) -> None:
    path = tmp_path / "mse.p12"
    path.write_bytes(serialize_key_and_certificates(b"mse", KEY, None, None, NoEncryption()))
    for read in (load_identity, lambda each: _run("show", each), lambda each: read_certificates(each.read_bytes(), "")):
        with pytest.raises(InputError, match=r"expected a certificate in the \.p12, found none"):
            read(path)


def test_show_a_certificate_that_names_no_mac(tmp_path: Path) -> None:
    path = tmp_path / "robin.pem"
    path.write_bytes(odd.pem("CERTIFICATE", odd.certificate(odd.mac_name(mac="robin\x1b[31m"), KEY)))
    output = _run("show", path).output
    assert output.startswith("SHA1 Key Hash: ")
    assert output.endswith(
        "\nno MAC address in its name, 'CN=robin\\u001b[31m': a controller lists it under that of its MSE;"
        " give it with --mac\n"
    )


@pytest.mark.parametrize("named", ["robin.example", "0050569c348a"])
def test_what_lists_a_certificate_under_the_mac_that_is_given(tmp_path: Path, named: str) -> None:
    """A controller's list goes by MACs, whatever the certificate says of itself."""
    der = odd.certificate(odd.mac_name(mac=named), KEY)
    path = tmp_path / "mse.pem"
    path.write_bytes(odd.pem("CERTIFICATE", der))
    (tmp_path / "shown.txt").write_text(_run("show", path, "--mac", "0050.569C.3489").output, "utf-8")
    listed = load_auth_list(tmp_path / "shown.txt", "spki")
    assert {entry.mac for entry in listed.entries} == {MAC}
    assert listed.find(AnyCertificate(der)) is not None


def test_a_mac_for_what_has_its_own(tmp_path: Path) -> None:
    path = tmp_path / "captured.txt"
    path.write_text(AUTH_INFO_JAPANESE, encoding="utf-8")
    with pytest.raises(InputError, match=r"--mac: expected an identity or a certificate, .* found a text"):
        _run("show", path, "--mac", MAC)
    path.write_bytes(FORMS["DER"])
    with pytest.raises(InputError, match=r"--mac: expected a MAC address such as .* found 'robin'"):
        _run("show", path, "--mac", "robin")


def test_show_refuses_with_the_path(tmp_path: Path, ssc_p256: Identity) -> None:
    (tmp_path / "key.pem").write_bytes(ssc_p256.key_pem)
    (tmp_path / "notes.txt").write_text("nothing\n")
    for name, found in (
        ("key.pem", "no certificate"),
        ("notes.txt", "none of them"),
        ("missing", "no such file or directory"),
    ):
        with pytest.raises(InputError) as refusal:
            _run("show", tmp_path / name)
        assert [(problem.where, problem.found) for problem in refusal.value.problems] == [(str(tmp_path / name), found)]


def test_the_choices_are_those_of_the_types() -> None:
    # They are typed out in the command, which must not import cryptography to print its help.
    choices = {
        option.name: tuple(option.type.choices) for option in new.params if isinstance(option.type, click.Choice)
    }
    assert choices == {"key": get_args(KeyType), "hash_over": get_args(HashedBytes)}
