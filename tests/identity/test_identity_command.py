"""`loadgen identity`, run as click runs it. How errors end the process is the main command's matter."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import get_args

import click
import pytest
from click.testing import CliRunner, Result
from identity_samples import AUTH_INFO_JAPANESE, MAC, SHA1, SHA2

from loadgen.cli.identity import identity, new
from loadgen.errors import InputError
from loadgen.identity.authlist import AuthEntry
from loadgen.identity.credentials import Identity, KeyType, load_identity, save_identity
from loadgen.identity.devices import ios_xe_config, load_auth_list, server_auth_info
from loadgen.identity.keyhash import HashedBytes


def _run(*arguments: str | Path) -> Result:
    """The result of a command that ends well; what it raises is raised here."""
    result = CliRunner().invoke(identity, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_new_writes_three_files_and_prints_the_configuration(tmp_path: Path) -> None:
    result = _run("new", "--mac", "0050.569c.3489", "--out", tmp_path)
    pem = tmp_path / "mse-0050569c3489.pem"
    ios_xe = tmp_path / "mse-0050569c3489.ios-xe.txt"
    auth_info = tmp_path / "mse-0050569c3489.server-auth-info.txt"
    assert sorted(tmp_path.iterdir()) == sorted([pem, ios_xe, auth_info])
    assert stat.S_IMODE(pem.stat().st_mode) == 0o600
    assert result.output == f"wrote {pem}\nwrote {ios_xe}\nwrote {auth_info}\n\n{ios_xe.read_text()}"
    made = load_identity(pem)
    assert made.mac == MAC
    assert auth_info.read_text() == server_auth_info(made)
    for path in (ios_xe, auth_info):
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
    assert result.output.endswith((out / "auth-list.ios-xe.txt").read_text())


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
    assert [problem.where for problem in refusal.value.problems] == [str(path) for path in in_the_way]
    assert sorted(tmp_path.iterdir()) == sorted(in_the_way)


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
        config = ios_xe_config([AuthEntry.of(ssc, "sha256", over)])
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
        "aaa authorization credential-download wcm_loc_serv_cert local\n"
    )


def test_show_refuses_with_the_path(tmp_path: Path, ssc_p256: Identity) -> None:
    (tmp_path / "certificate.pem").write_bytes(ssc_p256.certificate_pem)
    (tmp_path / "notes.txt").write_text("nothing\n")
    for name, found in (
        ("certificate.pem", "no private key"),
        ("notes.txt", "neither of them"),
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
