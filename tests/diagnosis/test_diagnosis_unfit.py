"""Certificates that do not hold, each planted in a check by a real one: of the MSE's, and of the WLC's."""

from __future__ import annotations

from datetime import timedelta

import diagnosis_peers as peers
import odd_certificates as odd
import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from diagnosis_peers import MAC, NOW, both, hash_of, listed
from odd_certificates import P256, RSA_1024, RSA_2048

from loadgen.diagnosis.causes import Findings, likely_causes
from loadgen.diagnosis.steps import CheckReport, CheckStep, StepFault
from loadgen.identity.credentials import Identity, new_key, read_identity, self_signed

# An extension under a number of nobody's, which whoever does not know it must refuse.
UNKNOWN = odd.extension("2b060104018f6501", b"\x05\x00", critical=True)


def _name(text: str) -> bytes:
    return odd.name((odd.CN, odd.UTF8, text.encode()))


def _by(issuer: str, key: odd.Key = RSA_2048) -> odd.Issuer:
    return odd.Issuer(key, _name(issuer))


def _authority(name: str, issuer: str, extension: bytes = odd.AUTHORITY) -> bytes:
    return odd.certificate(_name(name), RSA_2048, issuer=_by(issuer), extension=extension)


def _leaf(issuer: odd.Issuer | None, extension: bytes = b"") -> bytes:
    return odd.certificate(odd.mac_name(), P256, issuer=issuer, extension=extension)


def _identity(*ders: bytes, key: odd.Key = P256) -> Identity:
    return read_identity(odd.identity_pem(key, *ders), "odd.pem")


ROOT = _authority("root", "root")
ROOT_PEM = odd.pem("CERTIFICATE", ROOT)
# May have nobody below it but whoever shows a certificate; and has an authority.
LAST = _authority("last", "root", odd.constraints(most_below=0))
BELOW_LAST = _authority("below", "last")
NO_AUTHORITY = _authority("device", "root", odd.constraints(authority=False))
OF_NO_AUTHORITY = (_leaf(_by("device")), NO_AUTHORITY)
TOO_LONG = (_leaf(_by("below")), BELOW_LAST, LAST)
FORGED = bytearray(_leaf(_by("root")))
FORGED[-1] ^= 1


def assert_first(report: CheckReport, step: CheckStep, kind: str, cause: str) -> None:
    assert (report.failed, report.kind) == (step.value, kind), report
    assert report.causes[0].name == cause, report.causes
    assert "(not known)" not in "\n".join((report.causes[0].says, *report.causes[0].look_at))


# -- the MSE's ---------------------------------------------------------------------------------------------------------

UNFIT = [
    pytest.param(
        (_leaf(None, odd.purposes(odd.SERVERS)),),
        "certificate_for_another_purpose",
        CheckStep.ACCEPTED,
        "alert_unsupported_certificate",
        id="of a web server, self-signed",
    ),
    pytest.param(
        (_leaf(_by("root"), odd.purposes(odd.SERVERS)), ROOT),
        "certificate_for_another_purpose",
        CheckStep.ACCEPTED,
        "alert_unsupported_certificate",
        id="of a web server, signed",
    ),
    pytest.param(
        (_leaf(None, UNKNOWN),),
        "certificate_extension_unknown",
        CheckStep.LISTED,
        "alert_certificate_unknown",
        id="a critical extension that nobody knows",
    ),
    pytest.param(
        OF_NO_AUTHORITY, "chain_not_of_authorities", CheckStep.LISTED, "alert_unknown_ca", id="signed by a device's key"
    ),
    pytest.param(
        (*TOO_LONG, ROOT), "chain_too_long", CheckStep.LISTED, "alert_unknown_ca", id="one authority too many"
    ),
]


@pytest.mark.parametrize(("ders", "kind", "step", "alert"), UNFIT)
def test_an_mse_whose_certificate_is_not_for_this(
    ders: tuple[bytes, ...], kind: str, step: CheckStep, alert: str
) -> None:
    """OpenSSL has alerts of either step for it; the MSE looks at itself before it believes that it is not listed."""
    theirs = _identity(*ders)
    reports = both(mse=theirs, at_wlc={"listed": listed(hash_of(theirs))})
    assert_first(reports.at_wlc, CheckStep.ACCEPTED, kind, "certificate_purpose")
    assert [cause.name for cause in reports.at_wlc.causes] == ["certificate_purpose"]
    assert_first(reports.at_mse, step, alert, "certificate_purpose")
    for report in reports:
        assert report.causes[0].says.endswith(f": {kind.replace('_', ' ')}")


def test_a_chain_whose_signature_is_not_its_issuer_s() -> None:
    theirs = _identity(bytes(FORGED), ROOT)
    reports = both(mse=theirs, at_wlc={"listed": listed(hash_of(theirs))})
    assert_first(reports.at_wlc, CheckStep.ACCEPTED, "certificate_signature_wrong", "certificate_malformed")
    assert_first(reports.at_mse, CheckStep.ACCEPTED, "alert_decrypt_error", "certificate_malformed")


def test_whoever_is_fit_is_not_blamed_for_it() -> None:
    """A chain that holds, and one whose end is not sent: OpenSSL takes both, where nobody in particular is trusted."""
    for ders in ((_leaf(_by("last")), LAST, ROOT), (_leaf(_by("last")), LAST), (_leaf(_by("last")),)):
        theirs = _identity(*ders)
        report = both(mse=theirs, at_wlc={"listed": listed(hash_of(peers.OTHER_MSE))}).at_mse
        assert (report.failed, report.causes[0].name) == (CheckStep.LISTED.value, "not_listed")
        assert "certificate_purpose" not in {cause.name for cause in report.causes}
        assert both(mse=theirs, at_wlc={"listed": listed(hash_of(theirs))}).at_mse.passed


# -- the WLC's ---------------------------------------------------------------------------------------------------------


def _own(identity: Identity) -> tuple[Identity, bytes]:
    """A certificate that is trusted itself."""
    return identity, identity.certificate_pem


OUTDATED = [
    pytest.param(
        *_own(_identity(odd.certificate(odd.mac_name(), RSA_1024, digest=SHA1), key=RSA_1024)),
        "certificate_key_too_small",
        "an RSA key of 1024 bits",
        id="a small key",
    ),
    pytest.param(
        _identity(odd.certificate(odd.mac_name(), P256, issuer=_by("root"), digest=SHA1)),
        ROOT_PEM,
        "certificate_signature_too_weak",
        "a signature with SHA-1",
        id="SHA-1",
    ),
    pytest.param(
        _identity(_leaf(_by("small", RSA_1024))),
        odd.pem("CERTIFICATE", odd.certificate(_name("small"), RSA_1024, extension=odd.AUTHORITY)),
        "chain_key_too_small",
        "in the chain above it",
        id="an authority's small key",
    ),
]


@pytest.mark.parametrize(("wlc", "trusted", "kind", "why"), OUTDATED)
def test_a_wlc_of_2014_where_its_certificate_is_judged(wlc: Identity, trusted: bytes, kind: str, why: str) -> None:
    """The MSE refuses it by its name, says what it is, and has a setting that takes it."""
    reports = both(wlc=wlc, at_mse={"trusted_pem": trusted}, at_wlc={"old_certificates": True})
    assert_first(reports.at_mse, CheckStep.TLS, kind, "wlc_certificate_outdated")
    assert [cause.name for cause in reports.at_mse.causes] == ["wlc_certificate_outdated"]
    assert why in reports.at_mse.causes[0].says
    assert "CN=0050569c3489, valid from 2025-01-01 00:00:00 UTC" in reports.at_mse.causes[0].look_at[0]
    assert_first(reports.at_wlc, CheckStep.TLS, "alert_bad_certificate", "mse_refuses_wlc")
    allow = {"old_certificates": True}
    for report in both(wlc=wlc, at_mse={"trusted_pem": trusted, **allow}, at_wlc=allow):
        assert report.passed, report


_NONSENSE = ((odd.UTC_TIME, b"nonsense12345Z"), odd.VALID[1])
UNUSABLE = [
    pytest.param(
        *_own(self_signed(MAC, new_key("p256"), NOW + timedelta(days=2))),
        "certificate_not_yet_valid",
        "alert_bad_certificate",
        id="not valid yet",
    ),
    pytest.param(
        *_own(self_signed(MAC, new_key("p256"), NOW - timedelta(days=20), days=10)),
        "certificate_expired",
        "alert_certificate_expired",
        id="expired",
    ),
    pytest.param(
        *_own(_identity(odd.certificate(odd.mac_name(), P256, valid=_NONSENSE))),
        "certificate_dates_unreadable",
        "alert_bad_certificate",
        id="dates that are none",
    ),
    pytest.param(
        _identity(bytes(FORGED)),
        ROOT_PEM,
        "certificate_signature_wrong",
        "alert_decrypt_error",
        id="a forged signature",
    ),
    pytest.param(
        _identity(_leaf(_by("root"), odd.purposes(odd.CLIENTS))),
        ROOT_PEM,
        "certificate_for_another_purpose",
        "alert_unsupported_certificate",
        id="for clients only",
    ),
    pytest.param(
        _identity(_leaf(_by("root"), UNKNOWN)),
        ROOT_PEM,
        "certificate_extension_unknown",
        "alert_certificate_unknown",
        id="a critical extension that nobody knows",
    ),
    pytest.param(
        _identity(*OF_NO_AUTHORITY), ROOT_PEM, "chain_not_of_authorities", "alert_unknown_ca", id="of no authority"
    ),
    pytest.param(_identity(*TOO_LONG), ROOT_PEM, "chain_too_long", "alert_unknown_ca", id="one authority too many"),
]


@pytest.mark.parametrize(("wlc", "trusted", "kind", "alert"), UNUSABLE)
def test_a_wlc_whose_certificate_does_not_hold(wlc: Identity, trusted: bytes, kind: str, alert: str) -> None:
    """Whose it is and its dates are told, though OpenSSL keeps no certificate that it refused."""
    reports = both(wlc=wlc, at_mse={"trusted_pem": trusted})
    assert_first(reports.at_mse, CheckStep.TLS, kind, "wlc_certificate_unusable")
    assert [cause.name for cause in reports.at_mse.causes] == ["wlc_certificate_unusable"]
    assert kind.replace("_", " ") in reports.at_mse.causes[0].says
    assert "CN=0050569c3489" in reports.at_mse.causes[0].look_at[0]
    assert_first(reports.at_wlc, CheckStep.TLS, alert, "mse_refuses_wlc")


def test_a_wlc_that_is_not_trusted_is_told_by_its_name() -> None:
    report = both(at_mse={"trusted_pem": ROOT_PEM}).at_mse
    assert_first(report, CheckStep.TLS, "certificate_verify_failed", "wlc_not_trusted")
    assert "CN=020000000001" in report.causes[0].look_at[0]


@pytest.mark.parametrize("alert", ["certificate_revoked", "access_denied"])
def test_other_words_for_a_wlc_that_an_mse_does_not_take(alert: str) -> None:
    causes = likely_causes(StepFault(CheckStep.TLS, f"alert_{alert}"), Findings("wlc"))
    assert [cause.name for cause in causes] == ["mse_refuses_wlc"]
