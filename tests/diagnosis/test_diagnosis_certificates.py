"""Certificates of real gear in a check: whoever OpenSSL takes is met, and what cannot be read is said."""

from __future__ import annotations

import socket
import threading
from datetime import timedelta
from pathlib import Path

import diagnosis_peers as peers
import odd_certificates as odd
import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from diagnosis_peers import MSE, NOW, WLC, both, hash_of, listed
from odd_certificates import EVIL, ODD, P256, SUBJECTS
from OpenSSL import SSL

from loadgen.diagnosis.causes import Findings, likely_causes
from loadgen.diagnosis.steps import CheckStep, StepFault
from loadgen.diagnosis.text import conclusion, step_line
from loadgen.identity.credentials import Identity, new_key, read_identity, self_signed
from loadgen.transport.alerts import alert_name
from loadgen.transport.contexts import client_context


def identity_of(*ders: bytes, key: odd.Key = P256) -> Identity:
    return read_identity(odd.identity_pem(key, *ders), "odd.pem")


@pytest.mark.parametrize("what", ODD)
def test_a_tunnel_comes_up_whoever_cannot_read_the_certificates(what: str) -> None:
    theirs = identity_of(ODD[what])
    reports = both(mse=theirs, wlc=theirs, at_wlc={"listed": listed(hash_of(theirs))})
    for report in reports:
        assert report.passed, report
    assert reports.at_wlc.steps[4].detail == SUBJECTS.get(what, "CN=0050569c3489")


def test_what_cannot_be_read_is_said_once_and_refused_by_its_name() -> None:
    begin = (odd.UTC_TIME, b"nonsense12345Z")
    theirs = identity_of(odd.certificate(odd.mac_name(), P256, valid=(begin, odd.VALID[1])))
    reports = both(mse=theirs, at_wlc={"listed": listed(hash_of(theirs))})
    assert reports.at_wlc.kind == "certificate_dates_unreadable"
    assert reports.at_wlc.causes[0].name == "certificate_malformed"


def test_what_of_a_wlc_cannot_be_read_is_said_and_the_check_goes_on() -> None:
    begin = (odd.UTC_TIME, b"nonsense12345Z")
    wlc = identity_of(odd.certificate(odd.mac_name(), P256, valid=(begin, odd.VALID[1])))
    report = both(wlc=wlc).at_mse
    assert report.passed
    told = "; not readable in its certificate: begin of validity"
    assert [step.step for step in report.steps if told in step.detail] == [CheckStep.TLS.value]


def test_certificates_without_a_mac_in_their_names_are_looked_up_by_their_hash() -> None:
    pem = odd.identity_pem(P256, odd.certificate(odd.mac_name(mac="robin.example"), P256))
    nameless = read_identity(pem, "robin.pem")
    for report in both(mse=nameless, wlc=nameless, at_wlc={"listed": listed(hash_of(nameless))}):
        assert report.passed, report


def test_a_stranger_s_name_forges_no_lines() -> None:
    theirs = identity_of(EVIL)
    report = both(mse=theirs, at_wlc={"listed": listed(hash_of(theirs))}).at_wlc
    assert report.steps[4].detail.endswith(r"O=evil\n  passed       its key hash listed\u001b[31m\u202ered")
    for line in (*map(step_line, report.steps), *conclusion(report)):
        assert line.isprintable()


def test_what_a_list_and_a_peer_say_forges_no_lines_either() -> None:
    text = "\x1b[2J" + hash_of(MSE)[:50]
    where = "list\x1b[31m.txt: line 3"
    entry = peers.Listed(peers.MAC, text, where)
    report = both(at_wlc={"listed": (entry,)}).at_wlc
    assert report.failed == CheckStep.LISTED.value
    for line in (*map(step_line, report.steps), *conclusion(report)):
        assert line.isprintable(), line
    with peers.listening(peers.says("220 r\x9b31m\u202eeady\r\n".encode()), connections=2) as port:
        report = peers.check_wlc("127.0.0.1", port, peers.settings(MSE))
    for line in (*map(step_line, report.steps), *conclusion(report)):
        assert line.isprintable(), line


# -- old ones ----------------------------------------------------------------------------------------------------------

OLD_SSC = identity_of(odd.certificate(odd.mac_name(), odd.RSA_1024, digest=SHA1), key=odd.RSA_1024)
_ROOT = odd.Issuer(odd.RSA_2048, odd.name((odd.CN, odd.UTF8, b"MIC root")))
_SUB = odd.certificate(
    odd.name((odd.CN, odd.UTF8, b"MIC sub")), odd.RSA_2048, issuer=_ROOT, extension=odd.AUTHORITY, digest=SHA1
)
_SUB_AS_ISSUER = odd.Issuer(odd.RSA_2048, odd.name((odd.CN, odd.UTF8, b"MIC sub")))
OLD_MIC = identity_of(
    odd.certificate(odd.mac_name(), odd.RSA_2048, issuer=_SUB_AS_ISSUER, digest=SHA1), _SUB, key=odd.RSA_2048
)


@pytest.mark.parametrize(
    ("identity", "kind", "why"),
    [
        (OLD_SSC, "certificate_key_too_small", "an RSA key of 1024 bits"),
        (OLD_MIC, "certificate_signature_too_weak", "a signature with SHA-1"),
    ],
    ids=["SSC", "MIC"],
)
def test_a_certificate_of_2014(identity: Identity, kind: str, why: str) -> None:
    """The WLC refuses it by its name, says whose it is, and has a setting that lets it in and lowers nothing else."""
    theirs, allow = listed(hash_of(identity)), {"old_certificates": True}
    refused = both(mse=identity, at_mse=allow, at_wlc={"listed": theirs}).at_wlc
    assert (refused.failed, refused.kind) == (CheckStep.ACCEPTED.value, kind)
    assert [cause.name for cause in refused.causes] == ["certificate_outdated"]
    assert why in refused.causes[0].says
    assert "CN=0050569c3489, valid from 2025-01-01 00:00:00 UTC" in refused.causes[0].look_at[0]
    assert "--old-certificates" in refused.causes[0].look_at[1]
    for report in both(mse=identity, at_mse=allow, at_wlc={"listed": theirs, **allow}):
        assert report.passed, report


@pytest.mark.parametrize("strong", [True, False])
def test_a_wlc_that_asks_for_signatures_of_another_time(tmp_path: Path, strong: bool) -> None:
    """We would show no certificate, and the WLC would say what it says to whoever shows none."""
    options = ("-Verify", "1", "-tls1_2", "-client_sigalgs", "RSA+SHA1", "-cipher", "ALL:@SECLEVEL=0")
    with peers.s_server(tmp_path, *options) as port:
        report = peers.check_wlc("127.0.0.1", port, peers.settings(MSE, strong=strong, timeout_ns=peers.SHORT_NS))
    if strong:
        assert report.failed == CheckStep.ACCEPTED.value
        assert [cause.name for cause in report.causes] == ["signatures_not_made"]
        assert "RSA+SHA1" in report.causes[0].look_at[0]
    else:
        assert report.failed == CheckStep.CAPABILITY.value  # the tunnel is up: s_server has nothing to say in it


def test_with_old_certificates_we_sign_as_such_a_wlc_asks(tmp_path: Path) -> None:
    options = ("-Verify", "1", "-tls1_2", "-client_sigalgs", "RSA+SHA1", "-cipher", "ALL:@SECLEVEL=0")
    changes = {"old_certificates": True, "timeout_ns": peers.SHORT_NS}
    with peers.s_server(tmp_path, *options) as port:
        report = peers.check_wlc("127.0.0.1", port, peers.settings(MSE, **changes))
    assert report.failed == CheckStep.CAPABILITY.value


@pytest.mark.parametrize("signatures", ["RSA+SHA1", "ECDSA+SHA256"])
def test_an_mse_that_takes_no_signature_of_ours(signatures: str) -> None:
    ended = threading.Event()

    def calls(port: int) -> None:
        with peers.s_client(port, "-tls1_2", "-sigalgs", signatures, "-cipher", "ALL:@SECLEVEL=0"):
            ended.wait(peers.PATIENCE_S)

    with peers.listen_at("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=calls, args=(listener.getsockname()[1],))
        thread.start()
        report = peers.check_mse(listener, peers.settings(WLC, listed=peers.GOOD_LIST))
    ended.set()
    thread.join(peers.PATIENCE_S)
    assert report.failed == CheckStep.TLS.value
    assert [cause.name for cause in report.causes] == ["signatures_not_ours"]
    assert signatures in report.causes[0].says


# -- what is the clock's, and what is not ------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [46, 48, 49, 80])
def test_a_fresh_identity_that_is_refused_by_a_list_is_not_blamed_on_the_clock(number: int) -> None:
    fresh = self_signed(peers.MAC, new_key("p256"), NOW)
    evidence = Findings("mse", {"no_list", "own_fresh", "refused_by_peer"})
    names = [each.name for each in likely_causes(StepFault(CheckStep.LISTED, f"alert_{alert_name(number)}"), evidence)]
    assert names[0] == "not_listed"
    report = both(mse=fresh, at_wlc={"listed": listed(hash_of(MSE))}).at_mse
    assert (report.failed, report.causes[0].name) == (CheckStep.LISTED.value, "not_listed")


def test_a_fresh_identity_that_is_refused_as_a_certificate_may_be_the_clock_s_doing() -> None:
    evidence = Findings("mse", {"no_list", "own_fresh", "refused_by_peer"})
    assert likely_causes(StepFault(CheckStep.ACCEPTED, "alert_bad_certificate"), evidence)[0].name == "clock_behind"


def test_what_is_proven_needs_no_guesses_beside_it() -> None:
    ended = threading.Event()

    def bare(port: int) -> None:
        with peers.s_client(port):
            ended.wait(peers.PATIENCE_S)

    with peers.listen_at("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=bare, args=(listener.getsockname()[1],))
        thread.start()
        report = peers.check_mse(listener, peers.settings(WLC, listed=peers.GOOD_LIST))
    ended.set()
    thread.join(peers.PATIENCE_S)
    assert [cause.name for cause in report.causes] == ["no_client_certificate"]
    assert "not known" not in "\n".join(conclusion(report))


def test_an_mse_whose_versions_are_all_switched_off() -> None:
    """OpenSSL's library then sends an alert instead of a hello."""
    context = client_context(MSE.key_pem, MSE.certificate_pem, b"", "1.2", None)
    context.set_options(SSL.OP_NO_TLSv1_2)

    def calls(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), peers.PATIENCE_S) as sock:
            client = SSL.Connection(context, sock)
            client.set_connect_state()
            with pytest.raises(SSL.Error):
                client.do_handshake()

    report = peers.wlc_waits(calls)
    assert report.failed == CheckStep.TLS.value
    assert [cause.name for cause in report.causes] == ["no_version_of_its_own"]


@pytest.mark.parametrize(
    ("days", "alert"), [(1, "bad_certificate (42, fatal) from the WLC"), (-20, "certificate_expired (45, fatal)")]
)
def test_dates_are_refused_with_the_alerts_that_openssl_has_for_them(days: int, alert: str) -> None:
    theirs = self_signed(peers.MAC, new_key("p256"), NOW + timedelta(days=days), days=10)
    report = both(mse=theirs, at_wlc={"listed": listed(hash_of(theirs))}).at_mse
    assert report.failed == CheckStep.ACCEPTED.value
    assert alert in report.steps[4].detail
