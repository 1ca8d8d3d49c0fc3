"""Planted faults, each with real parts: the check must name the step that failed and the right cause first."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import diagnosis_peers as peers
import pytest
from diagnosis_peers import GOOD_LIST, MAC, MSE, NOW, OTHER_MAC, OTHER_MSE, SHORT_NS, WLC, Talker, both, hash_of, listed

from loadgen.diagnosis.cause_table import CAUSES
from loadgen.diagnosis.causes import Findings, likely_causes
from loadgen.diagnosis.hello import client_hello_untrusted
from loadgen.diagnosis.listed import Listed
from loadgen.diagnosis.steps import CheckReport, CheckStep, StepFault
from loadgen.diagnosis.wlc_check import check_wlc
from loadgen.identity.credentials import Authority, new_key, self_signed
from loadgen.nmsp.messages import (
    Capability,
    EchoResponse,
    MeasurementNotify,
    ResponseStatus,
    SubscribeRequest,
    SubscribeResponse,
    VersionRequest,
    VersionResponse,
)
from loadgen.transport.contexts import client_context


def call(port: int, **changes: Any) -> CheckReport:
    """`check wlc` at a port of this machine."""
    return check_wlc("127.0.0.1", port, peers.settings(MSE, **changes))


def assert_failed(report: CheckReport, step: CheckStep, cause: str) -> CheckReport:
    """It failed there and for that; everything before is passed, and nothing after was reached."""
    assert not report.passed
    assert report.causes, report
    assert (report.failed, report.causes[0].name) == (step.value, cause), report
    outcomes = [each.outcome for each in report.steps]
    at = list(CheckStep).index(step)
    assert [each.step for each in report.steps] == [each.value for each in CheckStep]
    assert outcomes[at] == "failed"
    assert set(outcomes[:at]) <= {"passed", "not needed"}
    assert set(outcomes[at + 1 :]) <= {"not reached"}
    return report


def looks_at(report: CheckReport) -> str:
    return "\n".join(report.causes[0].look_at)


# -- nothing is wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strong", [True, False])
def test_two_that_fit(strong: bool) -> None:
    """Strong cipher on: TLS 1.3; off: TLS 1.2 at most, and the field's order of confirmation."""
    reports = both(at_mse={"strong": strong, "listed": GOOD_LIST}, at_wlc={"strong": strong})
    for report in reports:
        assert report.passed, report
        assert {step.outcome for step in report.steps} == {"passed"}
        assert report.causes == ()
        assert report.steps[2].detail.startswith("TLSv1.3" if strong else "TLSv1.2")


def test_who_lets_anybody_in_needs_no_list() -> None:
    reports = both(mse=OTHER_MSE, at_wlc={"unauthenticated": True, "listed": None})
    assert reports.at_wlc.passed
    assert reports.at_wlc.steps[5].outcome == "not needed"


# -- the network -------------------------------------------------------------------------------------------------------


def test_a_closed_port() -> None:
    report = assert_failed(call(peers.closed_port()), CheckStep.TCP, "port_closed")
    assert "two_mses" in {cause.name for cause in report.causes}


def test_a_filtered_port() -> None:
    with peers.deaf_port() as port:
        assert_failed(call(port, timeout_ns=SHORT_NS), CheckStep.REACHABLE, "filtered")


def test_a_name_that_does_not_resolve() -> None:
    report = check_wlc("wlc.invalid", 16113, peers.settings(MSE))
    assert_failed(report, CheckStep.REACHABLE, "name_unresolved")
    assert "wlc.invalid" in report.causes[0].says


def test_nobody_calls() -> None:
    report = peers.wlc_waits(lambda _: None, timeout_ns=SHORT_NS)
    assert_failed(report, CheckStep.REACHABLE, "nobody_calls")
    assert "two_wlcs" in {cause.name for cause in report.causes}


# -- not a tunnel ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "plain_http"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "plain_ssh"),
        (b"220 ready\r\n", "not_tls"),
    ],
)
def test_a_server_that_does_not_speak_tls(answer: bytes, cause: str) -> None:
    with peers.listening(peers.says(answer), connections=2) as port:
        report = assert_failed(call(port), CheckStep.TLS, cause)
    assert ascii(answer.decode())[1:10] in looks_at(report)


def test_a_browser_calls_the_wlc() -> None:
    def browse(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: wlc\r\n\r\n")
            peers.until_closed(sock)

    assert_failed(peers.wlc_waits(browse), CheckStep.TLS, "plain_http")


def test_a_port_that_says_nothing() -> None:
    with peers.listening(peers.until_closed) as port:
        assert_failed(call(port, timeout_ns=SHORT_NS), CheckStep.TLS, "silent_port")


def test_a_caller_that_says_nothing() -> None:
    def wait(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as sock:
            peers.until_closed(sock)

    assert_failed(peers.wlc_waits(wait, timeout_ns=SHORT_NS), CheckStep.TLS, "silent_caller")


def test_a_server_that_closes_after_the_client_hello() -> None:
    with peers.listening(peers.hangs_up) as port:
        assert_failed(call(port), CheckStep.TLS, "closed_at_hello")


def test_two_mses() -> None:
    """The other one begins a handshake of its own, as the client."""

    def calls_back(connection: socket.socket) -> None:
        context = client_context(MSE.key_pem, MSE.certificate_pem, b"", "1.2", None)
        with peers.contextlib.suppress(peers.TransportFault):
            Talker(context, connection, server=False)

    with peers.listening(calls_back, connections=2) as port:
        assert_failed(call(port), CheckStep.TLS, "two_mses")


def test_an_mse_behind_a_tls_server() -> None:
    def script(talker: Talker) -> None:
        talker.say(VersionRequest(1, 1), 1)
        talker.until_closed()

    with peers.listening(peers.scripted_wlc(script)) as port:
        assert_failed(call(port), CheckStep.CAPABILITY, "two_mses")


def test_a_wlc_that_calls() -> None:
    def script(talker: Talker) -> None:
        talker.say(Capability(1))
        talker.until_closed()

    report = peers.wlc_waits(lambda port: peers.scripted_mse(port, script))
    assert_failed(report, CheckStep.CAPABILITY, "two_wlcs")


# -- versions and suites -----------------------------------------------------------------------------------------------

WEAK = ("-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0")


def test_a_wlc_without_strong_cipher(tmp_path: Path) -> None:
    with peers.s_server(tmp_path, *WEAK) as port:
        report = assert_failed(call(port), CheckStep.TLS, "strong_cipher_mismatch")
    assert "handshake_failure (40, fatal) from the WLC" in report.steps[2].detail
    assert "we: strong cipher on" in looks_at(report)


def test_a_wlc_of_tls_1_0(tmp_path: Path) -> None:
    with peers.s_server(tmp_path, "-tls1", "-cipher", "ALL:@SECLEVEL=0") as port:
        assert_failed(call(port), CheckStep.TLS, "strong_cipher_mismatch")


def test_an_mse_without_strong_cipher(tmp_path: Path) -> None:
    pem = peers.pem_of(MSE, tmp_path / "mse.pem")

    def weak(port: int) -> None:
        with peers.s_client(port, *WEAK, "-cert", str(pem), "-key", str(pem)):
            ended.wait(peers.PATIENCE_S)

    ended = threading.Event()
    report = wait_and_set(weak, ended)
    assert_failed(report, CheckStep.TLS, "strong_cipher_mismatch")
    assert "TLS 1.2 at most" in looks_at(report)


def test_an_mse_with_strong_cipher_at_a_wlc_without(tmp_path: Path) -> None:
    pem = peers.pem_of(MSE, tmp_path / "mse.pem")

    def strong(port: int) -> None:
        with peers.s_client(port, "-tls1_2", "-cipher", "ECDHE", "-cert", str(pem), "-key", str(pem)):
            ended.wait(peers.PATIENCE_S)

    ended = threading.Event()
    report = wait_and_set(strong, ended, strong=False)
    assert_failed(report, CheckStep.TLS, "strong_cipher_mismatch")
    assert "we: strong cipher off" in looks_at(report)


def wait_and_set(caller: Callable[[int], object], ended: threading.Event, **changes: Any) -> CheckReport:
    """`wlc_waits` for a caller that stays until the check is over."""
    report: list[CheckReport] = []
    with peers.listen_at("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=caller, args=(listener.getsockname()[1],))
        thread.start()
        report.append(peers.check_mse(listener, peers.settings(WLC, **{"listed": GOOD_LIST, **changes})))
    ended.set()
    thread.join(peers.PATIENCE_S)
    return report[0]


def test_a_wlc_of_an_authority_that_is_not_trusted() -> None:
    trusted = Authority.new("somebody else's", NOW).certificate_pem
    reports = both(at_mse={"trusted_pem": trusted})
    assert_failed(reports.at_mse, CheckStep.TLS, "wlc_not_trusted")
    assert reports.at_wlc.causes[0].name == "mse_refuses_wlc"


# -- certificates and clocks -------------------------------------------------------------------------------------------


def test_a_wlc_that_asks_for_no_certificate(tmp_path: Path) -> None:
    with peers.s_server(tmp_path) as port:
        assert_failed(call(port), CheckStep.ASKED, "unauthenticated")


def test_an_mse_without_a_certificate() -> None:
    ended = threading.Event()

    def bare(port: int) -> None:
        with peers.s_client(port):
            ended.wait(peers.PATIENCE_S)

    assert_failed(wait_and_set(bare, ended), CheckStep.ACCEPTED, "no_client_certificate")


def test_a_certificate_that_is_not_valid_yet() -> None:
    early = self_signed(MAC, new_key("p256"), NOW + timedelta(days=1))
    reports = both(mse=early, at_wlc={"listed": listed(hash_of(early))})
    assert_failed(reports.at_wlc, CheckStep.ACCEPTED, "clock_behind")
    begin = early.certificate().begins
    for report in reports:
        assert report.causes[0].name == "clock_behind"
        assert f"valid from {begin:%Y-%m-%d %H:%M:%S} UTC" in looks_at(report)
        assert "our clock:" in looks_at(report)


def test_a_certificate_that_has_expired() -> None:
    old = self_signed(MAC, new_key("p256"), NOW - timedelta(days=20), days=10)
    reports = both(mse=old, at_wlc={"listed": listed(hash_of(old))})
    assert_failed(reports.at_wlc, CheckStep.ACCEPTED, "certificate_expired")
    assert reports.at_mse.causes[0].name == "certificate_expired"


def test_a_wlc_whose_clock_is_behind(tmp_path: Path) -> None:
    """Everything is right with the certificate, but to a WLC of last year."""
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(peers.certificate_of(MSE))
    last_year = str(int((NOW - timedelta(days=365)).timestamp()))
    verify = ("-Verify", "1", "-verify_return_error", "-CAfile", str(trusted), "-partial_chain", "-attime", last_year)
    wlc = self_signed("02:00:00:00:00:01", new_key("rsa-2048"), NOW - timedelta(days=2 * 365))
    with peers.s_server(tmp_path, *verify, "-tls1_2", identity=wlc) as port:
        report = assert_failed(call(port), CheckStep.ACCEPTED, "clock_behind")
    assert "bad_certificate (42, fatal) from the WLC" in report.steps[4].detail


# -- the list ----------------------------------------------------------------------------------------------------------

_HASH = hash_of(MSE)
# Of a key that is made for every run: from here on, the first two neighbours that differ.
_SWAP = next(at for at in range(20, len(_HASH)) if _HASH[at] != _HASH[at + 1])


def _with_wrong_digit(text: str, at: int) -> str:
    return text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :]


HASHES = [
    pytest.param(_with_wrong_digit(_HASH, 20), "mistyped", id="one digit wrong"),
    pytest.param(
        _HASH[:_SWAP] + _HASH[_SWAP : _SWAP + 2][::-1] + _HASH[_SWAP + 2 :], "mistyped", id="two digits swapped"
    ),
    pytest.param(_HASH[:44] + _HASH[47:61] + " " + _HASH[61:], "missing_digits", id="as the vendor's note prints it"),
    pytest.param(_HASH + "0", "extra_digits", id="a digit too many"),
    pytest.param(hash_of(MSE, "sha1"), "sha1_given", id="SHA-1 where SHA-256 is compared"),
    pytest.param(hash_of(OTHER_MSE), "other_key", id="the hash of another key"),
    pytest.param(hash_of(OTHER_MSE, "sha1"), "sha1_given", id="SHA-1 of another key"),
    pytest.param(hash_of(MSE, "sha256", "certificate"), "other_bytes", id="a hash of the certificate"),
]


@pytest.mark.parametrize(("text", "cause"), HASHES)
def test_a_key_hash_that_differs(text: str, cause: str) -> None:
    """Both sides name it: the WLC because it has the list, the MSE where it was given the same."""
    wrong = listed(text)
    reports = both(at_mse={"listed": wrong}, at_wlc={"listed": wrong})
    for report in reports:
        assert_failed(report, CheckStep.LISTED, cause)
        assert "line 3" in looks_at(report)
    if cause in ("mistyped", "missing_digits", "extra_digits"):
        ours, theirs, marks, _ = looks_at(reports.at_mse).splitlines()[:4]
        assert ours.split()[-1].replace(".", "") == _HASH
        assert theirs.removeprefix("in the list ").replace(".", "").rstrip() == text
        differing = {at for at, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1]}
        assert differing - set(range(12)) == {at for at, mark in enumerate(marks) if mark == "^"}


def test_sha_256_where_sha_1_is_compared() -> None:
    old = {"listed": listed(_HASH), "key_hash": "sha1"}
    for report in both(at_mse=old, at_wlc=old):
        assert_failed(report, CheckStep.LISTED, "sha256_given")


def test_the_right_hash_under_another_mac() -> None:
    elsewhere = {"listed": listed(_HASH, OTHER_MAC)}
    for report in both(at_mse=elsewhere, at_wlc=elsewhere):
        assert_failed(report, CheckStep.LISTED, "wrong_mac")
        assert OTHER_MAC in report.causes[0].says
        assert MAC in report.causes[0].says


def test_an_mse_that_is_not_listed() -> None:
    others: tuple[Listed, ...] = listed(hash_of(OTHER_MSE), OTHER_MAC)
    reports = both(at_mse={"listed": others}, at_wlc={"listed": others})
    for report in reports:
        assert_failed(report, CheckStep.LISTED, "not_listed")
        assert _HASH in looks_at(report)


def test_a_wlc_that_has_something_else_than_the_file() -> None:
    reports = both(at_mse={"listed": GOOD_LIST}, at_wlc={"listed": listed(hash_of(OTHER_MSE))})
    assert_failed(reports.at_mse, CheckStep.LISTED, "wlc_has_another_list")


def test_a_refusal_by_a_list_that_nobody_gave() -> None:
    reports = both(at_wlc={"listed": listed(hash_of(OTHER_MSE))})
    assert_failed(reports.at_mse, CheckStep.LISTED, "not_listed")
    assert "key_hash_differs" in {cause.name for cause in reports.at_mse.causes}


@pytest.mark.parametrize("strong", [True, False], ids=["TLS 1.3", "TLS 1.2"])
def test_a_refusal_is_told_by_the_alert_s_name(strong: bool) -> None:
    wrong = {"listed": listed(hash_of(OTHER_MSE)), "strong": strong}
    report = both(at_mse={"strong": strong}, at_wlc=wrong).at_mse
    assert_failed(report, CheckStep.LISTED, "not_listed")
    assert report.kind == "alert_certificate_unknown"
    assert report.steps[5].detail == "alert certificate_unknown (46, fatal) from the WLC"


# -- the conversation --------------------------------------------------------------------------------------------------


def agree(talker: Talker) -> None:
    _, transaction = talker.next()
    talker.say(VersionResponse(1, ResponseStatus.OK), transaction)
    talker.say(Capability(peers.CATALYST_9800))


def grant(talker: Talker) -> None:
    agree(talker)
    _, transaction = talker.next()
    talker.say(SubscribeResponse(peers.RSSI_MS, ResponseStatus.OK), transaction)


def notify(talker: Talker) -> None:
    talker.say(
        MeasurementNotify(sequence=0, due_ns=1, sent_ns=1, station_mac=b"\x02Stat\x01", subservice=0, readings=())
    )


def test_a_wlc_that_says_nothing_in_the_tunnel() -> None:
    with peers.listening(peers.scripted_wlc(Talker.until_closed)) as port:
        assert_failed(call(port, timeout_ns=SHORT_NS), CheckStep.CAPABILITY, "silent_peer")


def test_a_wlc_of_another_version() -> None:
    def script(talker: Talker) -> None:
        _, transaction = talker.next()
        talker.say(VersionResponse(1, ResponseStatus.UNSUPPORTED_VERSION), transaction)
        talker.until_closed()

    with peers.listening(peers.scripted_wlc(script)) as port:
        assert_failed(call(port), CheckStep.CAPABILITY, "version_refused")


def test_an_mse_of_another_version() -> None:
    def script(talker: Talker) -> None:
        talker.say(VersionRequest(7, 9), 1)
        talker.until_closed()

    report = peers.wlc_waits(lambda port: peers.scripted_mse(port, script))
    assert_failed(report, CheckStep.CAPABILITY, "version_refused")


def test_a_wlc_with_another_wire_profile() -> None:
    def script(talker: Talker) -> None:
        talker.next()
        talker.tunnel.write(b"\x7f" * 64)
        talker.until_closed()

    with peers.listening(peers.scripted_wlc(script)) as port:
        assert_failed(call(port), CheckStep.CAPABILITY, "other_protocol")


def test_a_wlc_that_hangs_up_after_the_handshake() -> None:
    with peers.listening(peers.scripted_wlc(lambda talker: talker.tunnel.close_notify())) as port:
        assert_failed(call(port), CheckStep.CAPABILITY, "wlc_hangs_up")


def resets(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("verdict", [lambda _: None, resets], ids=["FIN", "RST"])
def test_an_mse_that_ends_at_our_certificate_does_not_take_it(
    version: str, verdict: Callable[[socket.socket], None]
) -> None:
    """As BearSSL and s2n-tls do, and Node.js with TLS 1.3."""
    report = peers.wlc_waits(lambda port: peers.judges_and_leaves(port, version, verdict))
    assert_failed(report, CheckStep.TLS, "mse_refuses_wlc")


def test_a_handshake_failure_at_our_certificate_is_not_about_suites() -> None:
    """As Erlang's is."""

    def fails(connection: socket.socket) -> None:
        connection.sendall(bytes([21, 3, 3, 0, 2, 2, 40]))
        peers.until_closed(connection)

    report = peers.wlc_waits(lambda port: peers.judges_and_leaves(port, "1.2", fails))
    assert assert_failed(report, CheckStep.TLS, "mse_refuses_wlc").kind == "alert_handshake_failure"


def sends_what_cannot_be_read(connection: socket.socket) -> None:
    """As Mbed TLS 4.1 does: its alert is encrypted with the keys of the handshake, which are over."""
    connection.sendall(b"\x17\x03\x03\x00\x13" + bytes(19))
    peers.until_closed(connection)


@pytest.mark.parametrize("verdict", [lambda _: None, resets, sends_what_cannot_be_read], ids=["FIN", "RST", "garbage"])
def test_a_wlc_of_tls_1_3_that_ends_without_a_word_has_not_let_us_in(verdict: Callable[[socket.socket], None]) -> None:
    fresh = self_signed(MAC, new_key("p256"), NOW)
    with peers.listening(peers.judges_silently(verdict)) as port:
        report = check_wlc("127.0.0.1", port, peers.settings(fresh))
    assert_failed(report, CheckStep.ACCEPTED, "not_listed")
    assert "wlc_hangs_up" in [cause.name for cause in report.causes]


def test_a_wlc_of_tls_1_3_that_says_nothing_at_all_may_have_let_us_in_or_not() -> None:
    """As s2n-tls does for some time when it refuses, and any WLC that has nothing to say."""
    with peers.listening(peers.judges_silently(peers.until_closed)) as port:
        report = assert_failed(call(port, timeout_ns=SHORT_NS), CheckStep.CAPABILITY, "silent_peer")
    assert [cause.name for cause in report.causes] == ["silent_peer", "verdict_held_back"]


def test_a_wlc_of_tls_1_3_that_gave_a_ticket_has_let_us_in() -> None:
    """OpenSSL's comes when the handshake is over at its end too."""
    with peers.listening(peers.scripted_wlc(lambda talker: talker.tunnel.close(), version="1.3")) as port:
        assert_failed(call(port), CheckStep.CAPABILITY, "wlc_hangs_up")


def test_an_mse_that_leaves_has_reasons_of_its_own() -> None:
    """It never asks a WLC how many connections that allows."""

    def script(talker: Talker) -> None:
        talker.say(VersionRequest(1, 1), 1)
        talker.next()
        talker.tunnel.close_notify()

    report = peers.wlc_waits(lambda port: peers.scripted_mse(port, script))
    cause = assert_failed(report, CheckStep.SUBSCRIPTION, "mse_hangs_up").causes[0]
    assert cause.says.startswith("the MSE came to us and hung up")
    assert not any("nmsp" in place or "connections" in place for place in cause.look_at)


def test_a_wlc_that_grants_nothing() -> None:
    def script(talker: Talker) -> None:
        agree(talker)
        _, transaction = talker.next()
        talker.say(SubscribeResponse(0, ResponseStatus.NOTHING_GRANTED), transaction)
        talker.until_closed()

    with peers.listening(peers.scripted_wlc(script)) as port:
        report = assert_failed(call(port), CheckStep.SUBSCRIPTION, "nothing_granted")
    assert "asked for rssi-ms; offered are rssi-ms" in report.causes[0].says


def test_an_mse_that_asks_for_nothing_that_is_offered() -> None:
    def script(talker: Talker) -> None:
        talker.say(VersionRequest(1, 1), 1)
        talker.next()
        talker.next()
        talker.say(SubscribeRequest(1 << 20), 2)  # wips, which a 9800 does not offer
        talker.until_closed()

    report = peers.wlc_waits(lambda port: peers.scripted_mse(port, script))
    assert_failed(report, CheckStep.SUBSCRIPTION, "nothing_granted")
    assert "asked for wips" in report.causes[0].says


def test_a_wlc_that_lives_and_never_notifies() -> None:
    def script(talker: Talker) -> None:
        grant(talker)
        while True:
            _, transaction = talker.next()
            talker.say(EchoResponse(), transaction)

    with peers.listening(peers.scripted_wlc(script)) as port:
        assert_failed(call(port, timeout_ns=2 * SHORT_NS), CheckStep.NOTIFICATION, "nothing_to_tell")


def test_a_wlc_that_never_notifies_and_never_echoes() -> None:
    def script(talker: Talker) -> None:
        grant(talker)
        talker.until_closed()

    with peers.listening(peers.scripted_wlc(script)) as port:
        assert_failed(call(port, timeout_ns=2 * SHORT_NS), CheckStep.NOTIFICATION, "wlc_stalled")


def test_a_wlc_that_never_echoes() -> None:
    def script(talker: Talker) -> None:
        grant(talker)
        notify(talker)
        talker.until_closed()

    with peers.listening(peers.scripted_wlc(script)) as port:
        assert_failed(call(port, timeout_ns=2 * SHORT_NS), CheckStep.ECHO, "no_echo_answer")


@pytest.mark.parametrize("notifies", [True, False])
@pytest.mark.parametrize("off_by", [1, 1000])
def test_a_wlc_that_answers_echoes_under_another_transaction(off_by: int, notifies: bool) -> None:
    def script(talker: Talker) -> None:
        grant(talker)
        if notifies:
            notify(talker)
        while True:
            _, transaction = talker.next()
            talker.say(EchoResponse(), transaction + off_by)

    with peers.listening(peers.scripted_wlc(script)) as port:
        step = CheckStep.ECHO if notifies else CheckStep.NOTIFICATION
        assert_failed(call(port, timeout_ns=2 * SHORT_NS), step, "echo_unmatched")


def test_a_wlc_that_answers_an_echo_wrongly_and_then_rightly() -> None:
    def script(talker: Talker) -> None:
        grant(talker)
        notify(talker)
        _, transaction = talker.next()
        talker.say(EchoResponse(), transaction + 1)
        talker.say(EchoResponse(), transaction)
        talker.until_closed()

    with peers.listening(peers.scripted_wlc(script)) as port:
        assert call(port).passed


@pytest.mark.parametrize("subservice", [4, 9, 200])
def test_a_wlc_that_notifies_of_something_else(subservice: int) -> None:
    def script(talker: Talker) -> None:
        grant(talker)
        talker.say(
            MeasurementNotify(
                sequence=0, due_ns=1, sent_ns=1, station_mac=b"\x02Stat\x01", subservice=subservice, readings=()
            )
        )
        while True:
            _, transaction = talker.next()
            talker.say(EchoResponse(), transaction)

    with peers.listening(peers.scripted_wlc(script)) as port:
        report = assert_failed(call(port, timeout_ns=2 * SHORT_NS), CheckStep.NOTIFICATION, "notifies_other")
    assert "and granted rssi-ms" in report.causes[0].says
    (detail,) = (each.detail for each in report.steps if each.step == "notification")
    assert detail.startswith("nothing for this step from the WLC")  # for something came


def test_a_wlc_that_notifies_of_something_else_first() -> None:
    def script(talker: Talker) -> None:
        grant(talker)
        talker.say(
            MeasurementNotify(sequence=0, due_ns=1, sent_ns=1, station_mac=b"\x02Stat\x01", subservice=4, readings=())
        )
        notify(talker)
        _, transaction = talker.next()
        talker.say(EchoResponse(), transaction)
        talker.until_closed()

    with peers.listening(peers.scripted_wlc(script)) as port:
        assert call(port).passed


def test_without_measurements_no_notification_is_needed() -> None:
    def script(talker: Talker) -> None:
        agree(talker)
        _, transaction = talker.next()
        talker.say(SubscribeResponse(1 << 9, ResponseStatus.OK), transaction)
        _, transaction = talker.next()
        talker.say(EchoResponse(), transaction)
        talker.until_closed()

    with peers.listening(peers.scripted_wlc(script)) as port:
        report = call(port, mask=1 << 9 | 1)
    assert report.passed
    assert {each.step: each.outcome for each in report.steps}["notification"] == "not needed"


def test_an_mse_that_never_echoes() -> None:
    def script(talker: Talker) -> None:
        talker.say(VersionRequest(1, 1), 1)
        talker.next()
        talker.next()
        talker.say(SubscribeRequest(peers.RSSI_MS), 2)
        talker.until_closed()

    report = peers.wlc_waits(lambda port: peers.scripted_mse(port, script), timeout_ns=2 * SHORT_NS)
    assert_failed(report, CheckStep.ECHO, "no_echo_request")


# -- the table ---------------------------------------------------------------------------------------------------------


def test_every_cause_has_a_name_of_its_own_and_words() -> None:
    names = [cause.name for cause in CAUSES]
    assert len(set(names)) == len(names)
    assert all(cause.says and cause.look_at and cause.clues for cause in CAUSES)
    assert all(1 <= weight <= 10 for cause in CAUSES for weight in cause.clues.values())
    steps = {step.value for step in CheckStep}
    clues = {each for cause in CAUSES for clue in cause.clues for each in clue.split("&")}
    assert {clue.partition(":")[0] for clue in clues if ":" in clue} <= steps


def test_what_is_not_known_is_said_to_be_so() -> None:
    fault = StepFault(CheckStep.LISTED, "alert_certificate_unknown")
    causes = likely_causes(fault, Findings("mse", {"no_list"}))
    assert "its key hash is (not known)" in causes[0].look_at


def test_nothing_fits_a_fault_that_nobody_knows() -> None:
    assert likely_causes(StepFault(CheckStep.SUBSCRIPTION, "never_seen"), Findings("mse")) == ()


@pytest.mark.parametrize(
    "junk", [b"", b"\x16", b"\x16\x03\x01\x00\x05\x01", b"\x16\x03\x01" + b"\xff" * 60, b"\x00" * 99]
)
def test_first_bytes_that_make_no_sense(junk: bytes) -> None:
    hello = client_hello_untrusted(junk)
    assert hello is None or not hello.strong


def test_a_wrong_list_is_no_reason_for_a_closed_port() -> None:
    report = call(peers.closed_port(), listed=listed(_HASH[:61]))
    assert_failed(report, CheckStep.TCP, "port_closed")
    assert not {"missing_digits", "clock_behind", "not_listed"} & {cause.name for cause in report.causes}
