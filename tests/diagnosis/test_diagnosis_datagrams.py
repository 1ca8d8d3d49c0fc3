"""Checks over DTLS: the same steps and causes, at third parties, at lines that lose, and at sockets that misbehave."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import diagnosis_peers as peers
import pytest
from diagnosis_peers import GOOD_LIST, MSE, OTHER_MSE, PATIENCE_S, SHORT_NS, WLC, both, hash_of, listed
from OpenSSL import SSL
from ports import free_port

from loadgen.diagnosis.carrier import CARRIERS
from loadgen.diagnosis.contexts import mse_context, wlc_context
from loadgen.diagnosis.hello import client_hello_untrusted
from loadgen.diagnosis.steps import CheckReport, CheckStep
from loadgen.diagnosis.wlc_check import check_wlc
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import ResponseStatus, VersionResponse
from loadgen.nmsp.profile import reference_profile
from loadgen.transport.datagram_tunnel import _ask_for_cookie
from loadgen.transport.dtls import DatagramContext
from loadgen.units import NS_PER_S

DTLS = {"transport": "dtls"}
# For what comes at once, on a machine that others use; and then nothing more comes.
ENOUGH_NS = 2 * NS_PER_S


def call(port: int, **changes: Any) -> CheckReport:
    """`check wlc` over datagrams at a port of this machine."""
    return check_wlc("127.0.0.1", port, peers.settings(MSE, **DTLS, **changes))


def wlc_waits(caller: Callable[[int], object], **changes: Any) -> CheckReport:
    return peers.wlc_waits(caller, **DTLS, **changes)


def outcome_of(report: CheckReport, step: CheckStep) -> str:
    return next(each.outcome for each in report.steps if each.step == step.value)


def assert_failed(report: CheckReport, step: CheckStep, cause: str) -> CheckReport:
    """It failed there and for that; everything before is passed or not needed, and nothing after was reached."""
    assert report.causes, report
    assert (report.failed, report.causes[0].name) == (step.value, cause), report
    outcomes = [each.outcome for each in report.steps]
    at = outcomes.index("failed")
    assert set(outcomes[:at]) <= {"passed", "not needed"}
    assert set(outcomes[at + 1 :]) <= {"not reached"}
    return report


@contextlib.contextmanager
def serving(behave: Callable[[socket.socket], object]) -> Iterator[int]:
    """A port where `behave` has the socket, connected to whoever came first, in a thread."""
    listener = CARRIERS["dtls"].listen_at("127.0.0.1", 0)

    def serve() -> None:
        listener.recvfrom(0, socket.MSG_PEEK)
        sock, _ = CARRIERS["dtls"].accept(listener)
        with sock:
            sock.settimeout(PATIENCE_S)
            behave(sock)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        thread.join(PATIENCE_S)
        listener.close()
    assert not thread.is_alive()


def wlc_side() -> SSL.Context:
    return wlc_context(WLC, lambda _: None, lambda _: None, strong=True, old_certificates=False, make=DatagramContext)


@cache
def a_hello() -> bytes:
    """An MSE's first datagram."""
    context = mse_context(MSE, None, strong=True, old_certificates=False, make=DatagramContext)
    client = SSL.Connection(context, None)
    client.set_ciphertext_mtu(1400)
    client.set_connect_state()
    with contextlib.suppress(SSL.WantReadError):
        client.do_handshake()
    return client.bio_read(65536)


# -- nothing is wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strong", [True, False])
def test_two_that_fit(strong: bool) -> None:
    reports = both(at_mse={"strong": strong, **DTLS}, at_wlc={"strong": strong, **DTLS})
    for report in reports:
        assert report.passed, report
        assert [step.step for step in report.steps if step.outcome == "not needed"] == ["tcp"]
        suite = "ECDHE-RSA-AES256-GCM-SHA384" if strong else "AES128-SHA"
        assert report.steps[2].detail == f"DTLSv1.2, {suite}"


def test_a_flight_that_is_lost_is_sent_again() -> None:
    """The first datagram in each direction is, and a copy of everything else comes."""
    to_wlc = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    reports: list[CheckReport] = []
    with to_wlc, line, CARRIERS["dtls"].listen_at("127.0.0.1", 0) as listener:
        line.bind(("127.0.0.1", 0))
        to_wlc.connect(listener.getsockname())
        over = threading.Event()

        def carry(source: socket.socket, put: Callable[[bytes], object]) -> None:
            source.settimeout(0.05)
            count = 0
            while not over.is_set():
                with contextlib.suppress(TimeoutError, ConnectionRefusedError):
                    data, sender = source.recvfrom(65536)
                    count += 1
                    if source is line:
                        mse.append(sender)
                    if count > 1:
                        put(data)

        mse: list[Any] = []
        threads = [
            threading.Thread(target=carry, args=(line, to_wlc.send)),
            threading.Thread(target=carry, args=(to_wlc, lambda data: line.sendto(data, mse[-1]))),
            threading.Thread(target=lambda: reports.append(peers.check_mse(listener, wlc))),
        ]
        wlc = peers.settings(WLC, listed=GOOD_LIST, **DTLS)
        for thread in threads:
            thread.start()
        try:
            report = call(line.getsockname()[1])
            threads[-1].join(PATIENCE_S)
        finally:
            over.set()
        for thread in threads:
            thread.join(PATIENCE_S)
    assert report.passed, report
    assert reports[0].passed, reports


# -- certificates and lists --------------------------------------------------------------------------------------------


def test_a_key_hash_that_is_not_listed() -> None:
    reports = both(at_mse={**DTLS, "listed": GOOD_LIST}, at_wlc={**DTLS, "listed": listed(hash_of(OTHER_MSE))})
    assert_failed(reports.at_wlc, CheckStep.LISTED, "other_key")
    assert_failed(reports.at_mse, CheckStep.LISTED, "wlc_has_another_list")
    assert "alert certificate_unknown (46, fatal) from the WLC" in reports.at_mse.steps[5].detail


def test_strong_cipher_at_one_side_only() -> None:
    reports = both(at_mse={**DTLS, "strong": True}, at_wlc={**DTLS, "strong": False})
    assert_failed(reports.at_wlc, CheckStep.TLS, "strong_cipher_mismatch")
    assert "DTLS 1.2 at most" in "\n".join(reports.at_wlc.causes[0].look_at)
    assert_failed(reports.at_mse, CheckStep.TLS, "strong_cipher_mismatch")


# -- the network -------------------------------------------------------------------------------------------------------


def test_a_closed_port_refuses() -> None:
    report = assert_failed(call(peers.closed_port()), CheckStep.TLS, "port_closed")
    assert outcome_of(report, CheckStep.REACHABLE) == "passed"
    assert report.kind == "refused"


def test_nobody_answers() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        report = assert_failed(call(deaf.getsockname()[1], timeout_ns=SHORT_NS), CheckStep.REACHABLE, "filtered")
    assert "for UDP " in report.causes[0].look_at[0]


@pytest.mark.parametrize(("deaf", "step"), [(True, CheckStep.REACHABLE), (False, CheckStep.TLS)])
def test_a_wlc_that_speaks_tls_only(deaf: bool, step: CheckStep) -> None:
    """Whether datagrams are dropped in front of it, or refused."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        if deaf:
            sock.bind(listener.getsockname())
        report = call(listener.getsockname()[1], timeout_ns=SHORT_NS)
    assert_failed(report, step, "tls_only")


def test_nobody_calls() -> None:
    assert_failed(wlc_waits(lambda _: None, timeout_ns=SHORT_NS), CheckStep.REACHABLE, "nobody_calls")


# -- not a tunnel ------------------------------------------------------------------------------------------------------


def test_an_mse_that_does_not_hear_us() -> None:
    first = a_hello()

    def hello(port: int) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(first, ("127.0.0.1", port))
            sock.settimeout(PATIENCE_S)
            assert sock.recv(65536)[13] == 3  # a hello verify request

    assert_failed(wlc_waits(hello, timeout_ns=ENOUGH_NS), CheckStep.TLS, "cookie_not_returned")


def test_something_else_calls() -> None:
    def shout(port: int) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"\x30\x26\x02\x01\x01\x04\x06public", ("127.0.0.1", port))

    report = assert_failed(wlc_waits(shout, timeout_ns=ENOUGH_NS), CheckStep.TLS, "not_tls")
    assert "public" in "\n".join(report.causes[0].look_at)


def test_a_wlc_whose_certificate_does_not_come() -> None:
    def behave(sock: socket.socket) -> None:
        context = wlc_side()
        _ask_for_cookie(context)
        server = SSL.Connection(context, None)
        server.set_ciphertext_mtu(1400)
        server.set_accept_state()
        server.bio_write(sock.recv(65536))
        with contextlib.suppress(SSL.WantReadError):
            server.do_handshake()
        sock.send(server.bio_read(65536))  # the hello verify request, and no more
        over.wait(PATIENCE_S)

    over = threading.Event()
    with serving(behave) as port:
        report = call(port, timeout_ns=ENOUGH_NS)
        over.set()
    assert_failed(report, CheckStep.TLS, "flight_lost")


def test_two_mses() -> None:
    first = a_hello()

    def behave(sock: socket.socket) -> None:
        sock.send(first)
        over.wait(PATIENCE_S)

    over = threading.Event()
    with serving(behave) as port:
        report = call(port, timeout_ns=ENOUGH_NS)
        over.set()
    assert_failed(report, CheckStep.TLS, "two_mses")


def test_what_a_hello_over_datagrams_offers() -> None:
    hello = client_hello_untrusted(a_hello())
    assert hello is not None
    assert (hello.newest, hello.strong, hello.weak) == ("DTLS 1.2", True, False)
    assert hello.signatures


def test_hellos_that_were_cut_off() -> None:
    whole = a_hello()
    offers = [client_hello_untrusted(whole[:size]) for size in range(len(whole))]
    assert offers[:50] == [None] * 50
    assert all(offer is not None and offer.newest == "DTLS 1.2" for offer in offers[80:])


# -- the conversation --------------------------------------------------------------------------------------------------


def test_frames_that_do_not_fill_their_datagram() -> None:
    def behave(sock: socket.socket) -> None:
        link = CARRIERS["dtls"].link(wlc_side(), sock, lambda _: None, server=True)
        sock.setblocking(False)
        link.handshake(time.monotonic_ns() + peers.PATIENT_NS)
        frame = Codec(reference_profile()).encode(VersionResponse(1, ResponseStatus.OK), 1)
        link.send(frame + frame[:5], time.monotonic_ns() + peers.PATIENT_NS)
        over.wait(PATIENCE_S)
        link.close()

    over = threading.Event()
    with serving(behave) as port:
        report = call(port)
        over.set()
    assert (report.failed, report.kind) == ("capability", "malformed")
    assert "found 5 bytes more" in report.steps[6].detail


# -- third parties -----------------------------------------------------------------------------------------------------


@pytest.fixture
def pems(tmp_path: Path) -> dict[str, str]:
    return {
        "wlc": str(peers.pem_of(WLC, tmp_path / "wlc.pem")),
        "mse": str(peers.pem_of(MSE, tmp_path / "mse.pem")),
    }


@contextlib.contextmanager
def running(*command: str, stdin: int = subprocess.PIPE) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, stdin=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def openssl_server(pems: dict[str, str], port: int, *options: str) -> list[str]:
    pem = pems["wlc"]
    return [
        "openssl",
        "s_server",
        "-dtls1_2",
        "-listen",
        "-accept",
        f"127.0.0.1:{port}",
        "-cert",
        pem,
        "-key",
        pem,
        *options,
    ]


def gnutls_server(pems: dict[str, str], port: int, *options: str) -> list[str]:
    pem = pems["wlc"]
    common = ["gnutls-serv", "--udp", "--port", str(port), "--x509certfile", pem, "--x509keyfile", pem, "--echo"]
    return [*common, *options]


SERVERS = {"openssl": (openssl_server, ["-Verify", "1"]), "gnutls": (gnutls_server, ["--require-client-cert"])}


def until_it_listens(port: int) -> None:
    """Nothing is sent for it: GnuTLS's server takes the first datagram for its client."""
    bound = f":{port:04X} "
    for _ in range(int(PATIENCE_S / 0.02)):
        if any(bound in Path("/proc/net", name).read_text("ascii") for name in ("udp", "udp6")):
            return
        threading.Event().wait(0.02)
    raise AssertionError("the server did not begin to listen")


@pytest.mark.parametrize("name", SERVERS)
def test_at_a_server_that_is_no_wlc(name: str, pems: dict[str, str]) -> None:
    """Everything of DTLS passes; then it says nothing that is NMSP."""
    make, demanding = SERVERS[name]
    port = free_port()
    with running(*make(pems, port, *demanding)):
        until_it_listens(port)
        report = call(port, timeout_ns=2 * 10**9)
    assert report.failed == "capability", report
    assert {
        outcome_of(report, step) for step in (CheckStep.REACHABLE, CheckStep.TLS, CheckStep.ASKED, CheckStep.ACCEPTED)
    } == {"passed"}
    assert report.steps[2].detail.startswith("DTLSv1.2, ECDHE-RSA-")


def test_at_a_server_that_asks_for_no_certificate(pems: dict[str, str]) -> None:
    port = free_port()
    with running(*openssl_server(pems, port)):
        until_it_listens(port)
        assert_failed(call(port), CheckStep.ASKED, "unauthenticated")


def openssl_client(pems: dict[str, str], port: int) -> list[str]:
    pem = pems["mse"]
    return ["openssl", "s_client", "-dtls1_2", "-connect", f"127.0.0.1:{port}", "-cert", pem, "-key", pem]


def gnutls_client(pems: dict[str, str], port: int) -> list[str]:
    pem = pems["mse"]
    options = ["--insecure", "--x509certfile", pem, "--x509keyfile", pem]
    return ["gnutls-cli", "--udp", "--port", str(port), *options, "127.0.0.1"]


@pytest.mark.parametrize("make", [openssl_client, gnutls_client])
@pytest.mark.parametrize("fits", [True, False])
def test_a_client_that_is_no_mse(
    make: Callable[[dict[str, str], int], list[str]], fits: bool, pems: dict[str, str]
) -> None:
    """Its certificate is judged; then it leaves in order, for there is nothing to be typed."""

    def calls(port: int) -> None:
        with running(*make(pems, port), stdin=subprocess.DEVNULL) as process:
            process.wait(PATIENCE_S)

    report = wlc_waits(calls, listed=GOOD_LIST if fits else listed(hash_of(OTHER_MSE)))
    assert_failed(report, *((CheckStep.CAPABILITY, "mse_hangs_up") if fits else (CheckStep.LISTED, "other_key")))
    assert report.kind == ("closed" if fits else "key_hash_not_listed")
