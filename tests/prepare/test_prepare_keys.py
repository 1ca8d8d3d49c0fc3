"""Keys for a run: whose certificates begin when, who signed them, and who trusts whom."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import odd_certificates as odd
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1

from loadgen.errors import InputError
from loadgen.identity.any_certificate import AnyCertificate
from loadgen.identity.authlist import AuthEntry
from loadgen.identity.certificates import CLOCK_TOLERANCE
from loadgen.identity.credentials import Authority, new_key, save_identity, self_signed
from loadgen.identity.devices import ios_xe_config
from loadgen.prepare.keys import Keys, make_keys
from loadgen.scenario.plan import Use, make_plan
from loadgen.scenario.reading import load_scenario

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SCENARIO = "name = 'k'\nwlc.count = 2\nmse.count = 3\nload.rate = 1\n"
HOUR = timedelta(hours=1)


def keys_of(tmp_path: Path, text: str = "", use: Use = Use.BOTH, count: int = 3) -> Keys:
    path = tmp_path / "k.toml"
    path.write_text(SCENARIO.replace("mse.count = 3", f"mse.count = {count}") + text, "utf-8")
    scenario, profile = load_scenario(path)
    return make_keys(scenario, path, make_plan(scenario, profile, use=use), NOW)


def begins(certificate: AnyCertificate) -> datetime:
    assert certificate.begins is not None
    return certificate.begins + CLOCK_TOLERANCE


def certificate_in(pem: bytes | None) -> x509.Certificate:
    assert pem is not None
    return x509.load_pem_x509_certificate(pem)


def test_self_signed_ones(tmp_path: Path) -> None:
    keys = keys_of(tmp_path)
    (auth_list,) = keys.auth_lists
    for identity in keys.mse:
        assert identity.is_self_signed()
        assert identity.chain() == ()
        assert auth_list.find(identity.certificate()) is not None
        assert begins(identity.certificate()) == NOW
    assert certificate_in(keys.wlc_trust) == certificate_in(keys.mse_trust)


def test_signed_ones(tmp_path: Path) -> None:
    keys = keys_of(tmp_path, "mse.certificate = 'lsc'\nmse.validity = '2h'")
    root = certificate_in(keys.wlc_trust)
    for identity in keys.mse:
        issuing = certificate_in(identity.chain_pem)
        certificate_in(identity.certificate_pem).verify_directly_issued_by(issuing)
        issuing.verify_directly_issued_by(root)
        assert identity.certificate().ends == NOW + 2 * HOUR
        assert keys.auth_lists[0].find(identity.certificate()) is not None
    assert len({identity.certificate().spki for identity in keys.mse}) == 3


def test_nothing_to_show(tmp_path: Path) -> None:
    keys = keys_of(tmp_path, "mse.certificate = 'none'")
    assert [(each.key_pem, each.certificate_pem) for each in keys.mse] == [(b"", b"")] * 3
    assert keys.auth_lists[0].entries == ()


@pytest.mark.parametrize(
    ("wlc", "mse", "installed"), [("1h", "2h", NOW), ("-1h", "-2h", NOW - 2 * HOUR), ("-3h", "2h", NOW - 3 * HOUR)]
)
def test_clocks(tmp_path: Path, wlc: str, mse: str, installed: datetime) -> None:
    """An MSE's own certificate begins when its clock says so; controllers and authorities were there before anybody."""
    ahead = HOUR * int(mse.removesuffix("h"))
    keys = keys_of(tmp_path, f"wlc.clock_skew = '{wlc}'\nmse.clock_skew = '{mse}'")
    assert {begins(identity.certificate()) for identity in keys.mse} == {NOW + ahead}
    assert {begins(identity.certificate()) for identity in keys.wlc} == {installed}
    assert certificate_in(keys.mse_trust).not_valid_before_utc + CLOCK_TOLERANCE == installed
    signed = keys_of(tmp_path, f"wlc.clock_skew = '{wlc}'\nmse.clock_skew = '{mse}'\nmse.certificate = 'lsc'")
    assert {begins(identity.certificate()) for identity in signed.mse} == {NOW}
    assert {begins(identity.chain()[0]) for identity in signed.mse} == {installed}


def test_several_lists(tmp_path: Path) -> None:
    stranger = self_signed("02:00:00:00:00:09", new_key("p256"), NOW)
    (tmp_path / "theirs.txt").write_text(ios_xe_config([AuthEntry.of(stranger, "sha256", "spki")]), "utf-8")
    keys = keys_of(tmp_path, "wlc.aaa.lists = [{ auth_list = 'theirs.txt' }, {}]")
    theirs, ours = keys.auth_lists
    assert theirs.find(stranger.certificate()) is not None
    assert ours.find(stranger.certificate()) is None
    assert ours.find(keys.mse[0].certificate()) is not None
    with pytest.raises(InputError) as refusal:
        keys_of(
            tmp_path, "wlc.aaa.lists = [{ auth_list = 'nowhere.txt' }, { auth_list = 'theirs.txt' }, {}]", Use.SERVE_WLC
        )
    assert [problem.where for problem in refusal.value.problems] == [
        str(tmp_path / "nowhere.txt"),
        f"{tmp_path / 'k.toml'}: wlc.aaa.lists[2].auth_list",
    ]


@pytest.mark.parametrize(("use", "trusts"), [(Use.BOTH, True), (Use.SERVE_WLC, False), (Use.TARGET_WLC, False)])
def test_whom_a_wlc_trusts(tmp_path: Path, use: Use, trusts: bool) -> None:
    (tmp_path / "other.pem").write_bytes(other := Authority.new("other", NOW).certificate_pem)
    assert (keys_of(tmp_path, "wlc.authenticate = false", use).wlc_trust is not None) == trusts
    assert keys_of(tmp_path, "wlc.trust = 'any'\nwlc.authenticate = false", use).wlc_trust is None
    named = keys_of(tmp_path, "wlc.trust = 'other.pem'\nwlc.authenticate = false", use).wlc_trust
    assert named == (other if use.plays_wlc else None)


@pytest.mark.parametrize("content", [None, b"", b"no PEM"])
def test_trust_in_nothing(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "trust.pem").write_bytes(content)
    with pytest.raises(InputError, match=r"trust\.pem"):
        keys_of(tmp_path, "wlc.trust = 'trust.pem'")


def test_files_that_another_authority_signed(tmp_path: Path) -> None:
    root = Authority.new("other", NOW)
    for number in range(3):
        save_identity(root.issue(f"02:00:00:00:00:0{number}", new_key("p256"), NOW), tmp_path / f"{number}.pem")
    (tmp_path / "root.pem").write_bytes(root.certificate_pem)
    files = "mse.identities = ['0.pem', '1.pem', '2.pem']\n"
    with pytest.raises(InputError, match=r"wlc\.trust: expected a PEM file"):
        keys_of(tmp_path, files)
    assert keys_of(tmp_path, files + "wlc.trust = 'root.pem'").wlc_trust == root.certificate_pem
    assert keys_of(tmp_path, files + "wlc.trust = 'any'").wlc_trust is None
    assert keys_of(tmp_path, files + "wlc.authenticate = false").mse[2].mac == "02:00:00:00:00:02"


@pytest.mark.parametrize("common_name", ["cmx.example.net", "0050569c3489"])
def test_a_certificate_is_known_by_its_hash_whatever_its_name_is(tmp_path: Path, common_name: str) -> None:
    """Two of one name, too: nothing in a run goes by the MAC that a certificate names."""
    ders = []
    for number in range(2):
        key = new_key("p256")
        ders.append(odd.certificate(odd.mac_name(mac=common_name), key))
        (tmp_path / f"{number}.pem").write_bytes(odd.identity_pem(key, ders[-1]))
    keys = keys_of(tmp_path, "mse.identities = ['0.pem', '1.pem']", count=2)
    assert [identity.certificate().der for identity in keys.mse] == ders
    entries = [keys.auth_lists[0].find(identity.certificate()) for identity in keys.mse]
    assert None not in entries
    assert len(set(entries)) == 2


def test_an_identity_that_openssl_would_refuse_in_a_worker_is_refused_here(tmp_path: Path) -> None:
    """With its file's name, and the setting that takes it."""
    small = odd.certificate(odd.mac_name(), odd.RSA_1024, digest=SHA1)
    path = tmp_path / "mse.pem"
    path.write_bytes(odd.identity_pem(odd.RSA_1024, small))
    with pytest.raises(InputError) as refusal:
        keys_of(tmp_path, "mse.identities = ['mse.pem']", count=1)
    (problem,) = refusal.value.problems
    assert problem.where == str(path)
    assert "tls.old_certificates = true" in problem.expected
    assert problem.found == "an RSA key of 1024 bits in certificate number 1"
    for allow in ("tls.old_certificates = true", "tls.strong_cipher = false\ntls.key = 'rsa-2048'"):
        assert keys_of(tmp_path, f"mse.identities = ['mse.pem']\n{allow}", count=1).mse[0].mac == "00:50:56:9c:34:89"


def test_a_certificate_that_we_read_and_openssl_does_not(tmp_path: Path) -> None:
    """Nobody reads extensions here; OpenSSL does."""
    broken = odd.certificate(odd.mac_name(), odd.P256, extension=b"\x30\x05\x06\x03\x55\x1d\x13")
    (tmp_path / "mse.pem").write_bytes(odd.identity_pem(odd.P256, broken))
    with pytest.raises(InputError) as refusal:
        keys_of(tmp_path, "mse.identities = ['mse.pem']", count=1)
    (problem,) = refusal.value.problems
    assert problem.where == str(tmp_path / "mse.pem")
    assert problem.expected == "a key, its certificate and a chain that OpenSSL takes"
    (tmp_path / "root.pem").write_bytes(odd.pem("TRUSTED CERTIFICATE", broken))
    with pytest.raises(InputError) as refusal:
        keys_of(tmp_path, "wlc.trust = 'root.pem'")
    assert [problem.expected for problem in refusal.value.problems] == ["certificates that OpenSSL takes"]
    (tmp_path / "root.pem").write_bytes(odd.pem("TRUSTED CERTIFICATE", odd.ODD["critical FALSE written out"]))
    assert keys_of(tmp_path, "wlc.trust = 'root.pem'").wlc_trust is not None


def test_key_exchange_groups_that_openssl_does_not_have_are_refused_in_one_message(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refusal:
        keys_of(tmp_path, "tls.groups = ['X25519', 'X25519MLKEM768', 'X25520']")
    (problem,) = refusal.value.problems
    assert problem.where == f"{tmp_path / 'k.toml'}: tls.groups"
    assert problem.expected == "key-exchange groups that OpenSSL has for TLS 1.2"
    assert problem.found.startswith('"X25519MLKEM768" (not of TLS 1.2), "X25520" (unknown to OpenSSL ')
    assert keys_of(tmp_path, "tls = { groups = ['X25519MLKEM768'], version = '1.3' }").mse
