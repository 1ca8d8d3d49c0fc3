"""Who is let into a tunnel, and who is told what: real runs, and `openssl` as the other side."""

from __future__ import annotations

import shutil
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import odd_certificates as odd
import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from e2e_loadgen import SMALL, Ended, Identities, Run, Start, eventually, new_identities, side_by_side
from e2e_openssl import OpenSsl, serve_openssl, serve_wlc
from e2e_peers import make_certificate

from loadgen.identity.authlist import AuthEntry
from loadgen.identity.credentials import Authority, Identity, new_key, save_identity
from loadgen.identity.devices import ios_xe_config

NEEDS_OPENSSL = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
VERSIONS = pytest.mark.parametrize("version", ["1.2", "1.3"])
_FLAGS = {"1.0": "-tls1", "1.1": "-tls1_1", "1.2": "-tls1_2", "1.3": "-tls1_3"}
_WEAK = ("tls.strong_cipher=false", "tls.key=rsa-2048")
# Two WLCs with two MSEs each, and hardly a load: it is over when they are let in or not.
_TWO = SMALL.replace("count = 4", "count = 2").replace("rate = 200", "rate = 20").replace("500ms", "100ms")
_SESSIONS = 4


def overrides(*values: str) -> list[str]:
    return [word for value in values for word in ("--set", value)]


def version_of(version: str) -> str:
    return f'tls.version="{version}"'


class Case(NamedTuple):
    """What differs from a scenario that works, what comes of all of its sessions, and what is counted of them."""

    overrides: tuple[str, ...]
    errors: tuple[str, ...] = ()
    counted: tuple[str, ...] = ()


_LET_IN = ("accept.success", "verify.success", "aaa.request", "aaa.response", "aaa.validation_success")
_NOT_LISTED = ("accept.reject", "verify.success", "aaa.request", "aaa.response", "aaa.validation_fail")
_JUDGING = ("accept.", "verify.", "aaa.", "tls.group.")
_NOT_VERIFIED = ("accept.reject", "verify.fail")
_CASES = {
    "SSC": Case((), counted=(*_LET_IN, "aaa.found_in_list_1", "tls.group.x25519")),
    "another group": Case(('tls.groups=["P-256"]',), counted=(*_LET_IN, "tls.group.secp256r1")),
    "a hybrid group, 1.3": Case(
        ('tls.groups=["X25519MLKEM768"]', version_of("1.3")), counted=(*_LET_IN, "tls.group.X25519MLKEM768")
    ),
    "LSC": Case(("mse.certificate=lsc",), counted=(*_LET_IN, "aaa.found_in_list_1")),
    "LSC, RSA, 1.3": Case(("mse.certificate=lsc", version_of("1.3"), "tls.key=rsa-2048"), counted=_LET_IN),
    "LSC, chains not followed": Case(("mse.certificate=lsc", "wlc.trust=any"), counted=_LET_IN),
    "LSC of another authority": Case(
        ("mse.certificate=lsc", "wlc.trust=other.pem"),
        ("errors.accept.chain_not_trusted", "errors.tls.alert_unknown_ca"),
        _NOT_VERIFIED,
    ),
    "SSC beside a trusted authority": Case(("wlc.trust=other.pem",), counted=_LET_IN),
    "not listed": Case(
        ("wlc.auth_list=strangers.txt",),
        ("errors.accept.key_hash_not_listed", "errors.tls.alert_certificate_unknown"),
        _NOT_LISTED,
    ),
    "not listed, 1.3": Case(
        ("wlc.auth_list=strangers.txt", version_of("1.3")),
        ("errors.accept.key_hash_not_listed", "errors.session.alert_certificate_unknown"),
        _NOT_LISTED,
    ),
    "not listed, answered late": Case(
        ("wlc.auth_list=strangers.txt", "wlc.aaa.delay=200ms"),
        ("errors.accept.key_hash_not_listed", "errors.tls.alert_certificate_unknown"),
        _NOT_LISTED,
    ),
    "the second list": Case(
        ('wlc.aaa.lists=[{auth_list="strangers.txt", delay="100ms"}, {}]',),
        counted=(*_LET_IN, "aaa.found_in_list_2"),
    ),
    "neither list": Case(
        ('wlc.aaa.lists=[{auth_list="strangers.txt"}, {auth_list="strangers.txt", delay="100ms"}]',),
        ("errors.accept.key_hash_not_listed", "errors.tls.alert_certificate_unknown"),
        _NOT_LISTED,
    ),
    "the WLC's clock is behind": Case(
        ("wlc.clock_skew=-1h",),
        ("errors.accept.certificate_not_yet_valid", "errors.tls.alert_bad_certificate"),
        _NOT_VERIFIED,
    ),
    "the MSEs' clock is ahead": Case(
        ("mse.clock_skew=1h",),
        ("errors.accept.certificate_not_yet_valid", "errors.tls.alert_bad_certificate"),
        _NOT_VERIFIED,
    ),
    "both clocks are ahead": Case(("mse.clock_skew=1h", "wlc.clock_skew=1h"), counted=_LET_IN),
    "the WLC's clock is ahead": Case(("wlc.clock_skew=1h",), counted=_LET_IN),
    "expired": Case(
        ("mse.validity=1h", "wlc.clock_skew=2h"),
        ("errors.accept.certificate_expired", "errors.tls.alert_certificate_expired"),
        _NOT_VERIFIED,
    ),
    "nothing to show": Case(
        ("mse.certificate=none",),
        ("errors.accept.peer_did_not_return_a_certificate", "errors.tls.alert_handshake_failure"),
        ("accept.fail",),
    ),
    "nothing to show, and nobody asks": Case(
        ("mse.certificate=none", "wlc.authenticate=false"), counted=("accept.success",)
    ),
    "certificates of 2014": Case(
        ('mse.identities=["old-0.pem", "old-1.pem"]', "tls.old_certificates=true"), counted=_LET_IN
    ),
    "static RSA, 1.0": Case((*_WEAK, version_of("1.0")), counted=_LET_IN),
    "static RSA, 1.1, not listed": Case(
        (*_WEAK, version_of("1.1"), "wlc.auth_list=strangers.txt"),
        ("errors.accept.key_hash_not_listed", "errors.tls.alert_certificate_unknown"),
        _NOT_LISTED,
    ),
}
# The same over DTLS.
_DTLS_CASES = {
    name: case._replace(overrides=(*case.overrides, "transport=dtls"))
    for name, case in _CASES.items()
    if not any(override.startswith("tls.version") for override in case.overrides)
}
_DTLS_CASES["static RSA"] = Case((*_WEAK, "transport=dtls"), counted=_LET_IN)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scenario, an auth list that none of its MSEs is on, and an authority that has signed none of them."""
    made = tmp_path_factory.mktemp("authentication")
    (made / "two.toml").write_text(_TWO, "utf-8")
    strangers = new_identities(made / "strangers")
    (made / "strangers.txt").write_bytes(strangers.auth_list.read_bytes())
    for number in range(2):
        small = odd.certificate(odd.mac_name(mac=f"0050569c340{number}"), odd.RSA_1024, digest=SHA1)
        (made / f"old-{number}.pem").write_bytes(odd.identity_pem(odd.RSA_1024, small))
    (made / "other.pem").write_bytes(Authority.new("other", datetime.now(UTC)).certificate_pem)
    return made


@pytest.fixture(scope="module")
def ended(start_shared: Start, folder: Path) -> dict[str, Ended]:
    return _side_by_side(start_shared, folder, _CASES)


@pytest.fixture(scope="module")
def ended_dtls(start_shared: Start, folder: Path) -> dict[str, Ended]:
    return _side_by_side(start_shared, folder, _DTLS_CASES)


def _side_by_side(start: Start, folder: Path, cases: dict[str, Case]) -> dict[str, Ended]:
    calls = {
        name: lambda case=case: start("run", folder / "two.toml", "--workers", "1", *overrides(*case.overrides)).end()  # type: ignore[misc]
        for name, case in cases.items()
    }
    return side_by_side(calls)


@pytest.mark.parametrize("name", _CASES)
def test_what_comes_of_it(ended: dict[str, Ended], name: str) -> None:
    _check(ended[name], _CASES[name])


@pytest.mark.parametrize("name", _DTLS_CASES)
def test_what_comes_of_it_over_dtls(ended_dtls: dict[str, Ended], name: str) -> None:
    _check(ended_dtls[name], _DTLS_CASES[name])


def _check(run: Ended, case: Case) -> None:
    assert run.errors == dict.fromkeys(case.errors, _SESSIONS), run.stderr
    if case.errors:
        assert run.code == 3
        assert run.counters["sessions.failed"] == _SESSIONS
    else:
        run.check_passed()
        assert run.counters["sessions.established"] == _SESSIONS
    counters = {name: count for name, count in run.counters.items() if name.startswith(_JUDGING)}
    assert {name: counters[name] for name in case.counted} == dict.fromkeys(case.counted, _SESSIONS)
    judged = counters["verify.success"] + counters["verify.fail"]
    assert counters["accept.attempts"] == _SESSIONS
    assert counters["accept.success"] + counters["accept.fail"] + counters["accept.reject"] == _SESSIONS
    assert counters["verify.count"] == judged
    assert counters["aaa.request"] == counters["aaa.response"] == counters["verify.success"]
    assert counters["aaa.validation_success"] + counters["aaa.validation_fail"] == counters["aaa.response"]
    found = sum(count for name, count in counters.items() if name.startswith("aaa.found_in_list_"))
    assert found == counters["aaa.validation_success"]


@pytest.mark.parametrize("how", [version_of("1.2"), version_of("1.3"), "transport=dtls"])
def test_the_field_s_waits_hold_up_nobody_else(run: Run, tmp_path: Path, how: str) -> None:
    """30 logins at one worker, each of which takes 1.3 s; one after the other they would run into their timeout."""
    path = tmp_path / "many.toml"
    path.write_text(SMALL.replace("count = 4", "count = 1").replace("count = 2", "count = 30"), "utf-8")
    profile = ("wlc.aaa.profile=3850", "mse.setup_timeout=10s", how)
    done = run("run", path, "--workers", "1", *overrides(*profile))
    done.check_passed()
    assert done.counters["sessions.established"] == done.counters["aaa.response"] == 30
    session = done.result["metrics"]["handshake.session"]
    assert session["min"] >= 1.29e9  # 1.3 s, in a histogram of three digits


@VERSIONS
def test_handshake_load_waits_as_well(run: Run, tmp_path: Path, version: str) -> None:
    path = tmp_path / "shake.toml"
    load = 'kind = "handshake"\nrate = 40\nstages = [{ hold = "500ms" }]\n'
    path.write_text(f'name = "shake"\n[wlc]\nlisten = "127.77.3.1:0"\n[load]\n{load}', "utf-8")
    done = run("run", path, *overrides(version_of(version), "wlc.aaa.delay=150ms", "wlc.aaa.poll_tick=100ms"))
    done.check_passed()
    assert done.counters["handshakes.completed"] == done.counters["aaa.validation_success"] == 20
    assert done.counters["accept.success"] == 20


def test_impossible_combinations(refuse: Run, small: Path) -> None:
    old = refuse("run", small, *overrides(version_of("1.0")))
    old.check_refused("tls.version", "one of 1.2, 1.3 with tls.strong_cipher = true", '"1.0"')
    static = refuse("run", small, *overrides("tls.strong_cipher=false", version_of("1.3")))
    static.check_refused("tls.version", "one of 1.0, 1.1, 1.2", "tls.key", '"rsa-2048"', '"p256"')
    slow = refuse("run", small, *overrides("wlc.aaa.delay=1s", "mse.setup_timeout=700ms"))
    slow.check_refused("mse.setup_timeout", "longer than all lists of wlc.aaa take")
    nobody = refuse("run", small, "--serve", "mse", *overrides("mse.certificate=lsc", "wlc.listen=127.77.2.1:9"))
    nobody.check_refused("mse.certificate", "nobody else knows the authority")


def test_a_strong_wlc_and_a_weak_mse(start: Start, tmp_path: Path, identities: Identities) -> None:
    wlc, address = serve_wlc(start, tmp_path, identities, "127.77.80.1", *overrides("tls.key=rsa-2048"))
    (tmp_path / "one.toml").write_text(SMALL.replace("count = 2", "count = 1"), "utf-8")
    mse = start("run", tmp_path / "one.toml", "--target", f"wlc={address}", *overrides(*_WEAK)).end()
    assert mse.code == 3
    assert mse.errors == {"errors.tls.alert_handshake_failure": 1}
    wlc.signal(signal.SIGINT)
    ended = wlc.end()
    assert ended.errors == {"errors.accept.no_shared_cipher": 1}
    assert ended.counters["accept.fail"] == 1


# -- openssl -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Identities:
    return new_identities(tmp_path_factory.mktemp("strangers"))


@pytest.fixture(scope="module")
def rsa_identities(tmp_path_factory: pytest.TempPathFactory) -> Identities:
    return new_identities(tmp_path_factory.mktemp("rsa"), "--key", "rsa-2048")


def _listed(folder: Path, identity: Identity) -> Identities:
    """A file for each of our commands."""
    save_identity(identity, folder / "lsc.pem")
    (folder / "lsc.txt").write_text(ios_xe_config([AuthEntry.of(identity, "sha256", "spki")]), "utf-8")
    return Identities((folder / "lsc.pem",), folder / "lsc.txt")


@NEEDS_OPENSSL
@pytest.mark.parametrize("delay", ["0s", "300ms"])
@VERSIONS
def test_openssl_is_told_alert_46(
    start: Start, tmp_path: Path, identities: Identities, strangers: Identities, version: str, delay: str
) -> None:
    options = overrides(version_of(version), f"wlc.aaa.delay={delay}")
    wlc, address = serve_wlc(start, tmp_path, identities, "127.77.81.1", *options)
    pem = strangers.pems[0]
    with OpenSsl(tmp_path, "s_client", "-connect", address, _FLAGS[version], "-cert", pem, "-key", pem) as client:
        code, said = client.end()
    assert code != 0
    assert "alert certificate unknown" in said
    assert "SSL alert number 46" in said
    wlc.signal(signal.SIGINT)
    assert wlc.end().errors == {"errors.accept.key_hash_not_listed": 1}


@NEEDS_OPENSSL
@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_openssl_with_static_rsa(start: Start, tmp_path: Path, rsa_identities: Identities, version: str) -> None:
    _, address = serve_wlc(start, tmp_path, rsa_identities, "127.77.82.1", *overrides(*_WEAK, version_of(version)))
    pem = rsa_identities.pems[0]
    words = (_FLAGS[version], "-cipher", "ALL:@SECLEVEL=0", "-cert", pem, "-key", pem)
    with OpenSsl(tmp_path, "s_client", "-connect", address, *words) as client:
        said = client.wait_for_text("Verify return code")
    # It offers everything; the WLC takes what it has itself.
    assert "Cipher is A" in said
    assert "DHE" not in said.partition("Cipher is")[2].partition("\n")[0]
    assert "Protocol  : TLSv1" + {"1.0": "\n"}.get(version, version[1:]) in said


@NEEDS_OPENSSL
def test_openssl_without_strong_ciphers(start: Start, tmp_path: Path, rsa_identities: Identities) -> None:
    wlc, address = serve_wlc(start, tmp_path, rsa_identities, "127.77.83.1", *overrides("tls.key=rsa-2048"))
    pem = rsa_identities.pems[0]
    words = ("-tls1_2", "-cipher", "kRSA:DHE", "-cert", pem, "-key", pem)
    with OpenSsl(tmp_path, "s_client", "-connect", address, *words) as client:
        code, said = client.end()
    assert code != 0
    assert "SSL alert number 40" in said
    wlc.signal(signal.SIGINT)
    assert wlc.end().errors == {"errors.accept.no_shared_cipher": 1}


@NEEDS_OPENSSL
@VERSIONS
def test_openssl_with_a_chain(start: Start, tmp_path: Path, version: str) -> None:
    now = datetime.now(UTC)
    root = Authority.new("their root", now)
    lsc = root.issue_authority("their issuing", now).issue("00:50:56:9c:34:89", new_key("p256"), now)
    (tmp_path / "root.pem").write_bytes(root.certificate_pem)
    (tmp_path / "chain.pem").write_bytes(lsc.chain_pem)
    mine = _listed(tmp_path, lsc)
    trust = overrides(version_of(version), f"wlc.trust={tmp_path / 'root.pem'}")
    wlc, address = serve_wlc(start, tmp_path, mine, "127.77.84.1", *trust)
    connect = ("s_client", "-connect", address, _FLAGS[version], "-cert", mine.pems[0], "-key", mine.pems[0])
    with OpenSsl(tmp_path, *connect, "-cert_chain", tmp_path / "chain.pem") as client:
        client.wait_for_text("Verify return code")
    # Without the issuing authority's certificate nobody can follow the chain.
    with OpenSsl(tmp_path, *connect) as client:
        code, said = client.end()
    assert code != 0
    assert "SSL alert number 48" in said
    wlc.signal(signal.SIGINT)
    ended = wlc.end()
    assert ended.errors["errors.accept.chain_not_trusted"] == 1
    assert ended.counters["verify.success"] == ended.counters["verify.fail"] == 1
    assert ended.counters["aaa.validation_success"] == 1


@NEEDS_OPENSSL
@VERSIONS
def test_openssl_without_a_certificate_where_nobody_asks(
    start: Start, tmp_path: Path, identities: Identities, version: str
) -> None:
    options = overrides(version_of(version), "wlc.authenticate=false")
    wlc, address = serve_wlc(start, tmp_path, identities, "127.77.85.1", *options)
    with OpenSsl(tmp_path, "s_client", "-connect", address, _FLAGS[version]) as client:
        client.wait_for_text("Verify return code")
        eventually(lambda: client.process.poll() is None, "openssl stays")
    wlc.signal(signal.SIGINT)
    ended = wlc.end()
    assert ended.counters["accept.success"] == 1
    assert ended.counters["verify.count"] == ended.counters["aaa.request"] == 0


@NEEDS_OPENSSL
@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_our_mse_at_openssl_s_static_rsa(start: Start, tmp_path: Path, version: str) -> None:
    scenario = tmp_path / "one.toml"
    scenario.write_text(SMALL.replace("count = 2", "count = 1"), "utf-8")
    certificate = make_certificate(tmp_path / "server.pem", key="rsa-2048")
    words = ("-cert", certificate, "-Verify", "1", _FLAGS[version], "-cipher", "ALL:@SECLEVEL=0")
    with serve_openssl(tmp_path, "127.77.86.1", *words) as (server, address):
        options = overrides(*_WEAK, version_of(version), "mse.setup_timeout=1s")
        ended = start("run", scenario, "--target", f"wlc={address}", *options).end()
        said = server.wait_for_text("CIPHER is")
    assert "CIPHER is AES128-SHA" in said
    assert ended.errors == {"errors.session.setup_timeout": 1}  # the tunnel is up; openssl does not speak NMSP


@NEEDS_OPENSSL
def test_our_strong_mse_at_openssl_s_static_rsa(start: Start, tmp_path: Path) -> None:
    scenario = tmp_path / "one.toml"
    scenario.write_text(SMALL.replace("count = 2", "count = 1"), "utf-8")
    certificate = make_certificate(tmp_path / "server.pem", key="rsa-2048")
    words = ("-cert", certificate, "-tls1_2", "-cipher", "AES128-SHA")
    with serve_openssl(tmp_path, "127.77.87.1", *words) as (server, address):
        ended = start("run", scenario, "--target", f"wlc={address}").end()
        server.wait_for_text("no shared cipher")
    assert ended.errors == {"errors.tls.alert_handshake_failure": 1}
