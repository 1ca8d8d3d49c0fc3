"""Certificates of real gear in a check: whoever OpenSSL takes is met, and what cannot be read is said."""

from __future__ import annotations

import diagnosis_peers as peers
import odd_certificates as odd
import pytest
from diagnosis_peers import MSE, both, hash_of, listed
from odd_certificates import EVIL, ODD, P256, SUBJECTS

from loadgen.diagnosis.steps import Step
from loadgen.diagnosis.text import conclusion, step_line
from loadgen.identity.credentials import Identity, read_identity


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


def test_a_stranger_s_name_forges_no_lines() -> None:
    theirs = identity_of(EVIL)
    report = both(mse=theirs, at_wlc={"listed": listed(hash_of(theirs))}).at_wlc
    assert report.steps[4].detail.endswith(r"O=evil\n  passed       its key hash listed\x1b[31m\u202ered")
    for line in (*map(step_line, report.steps), *conclusion(report)):
        assert line.isprintable()


def test_what_a_list_and_a_peer_say_forges_no_lines_either() -> None:
    text = "\x1b[2J" + hash_of(MSE)[:50]
    where = "list\x1b[31m.txt: line 3"
    entry = peers.Listed(peers.MAC, text, where)
    report = both(at_wlc={"listed": (entry,)}).at_wlc
    assert report.failed == Step.LISTED.value
    for line in (*map(step_line, report.steps), *conclusion(report)):
        assert line.isprintable(), line
    with peers.listening(peers.says("220 r\x9b31m\u202eeady\r\n".encode()), connections=2) as port:
        report = peers.check_wlc("127.0.0.1", port, peers.settings(MSE))
    for line in (*map(step_line, report.steps), *conclusion(report)):
        assert line.isprintable(), line
