"""A hello in SSLv2 format, which Java 6 begins with: it is named, with what it offers, and counted by itself."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest
from stacks_makes import jsse_calls
from stacks_peers import WLC, calling, check_settings
from stacks_programs import files_in

from loadgen.diagnosis.hello import client_hello_untrusted, sign_of
from loadgen.diagnosis.mse_check import check_mse, listen_at
from loadgen.transport.contexts import server_context
from loadgen.transport.patient import PatientTunnel
from loadgen.transport.tls import TransportFault, Tunnel
from loadgen.transport.verifying import Ruling

# As Java 6 lists them: RC4 and AES with static RSA, and one of SSLv2's own.
SUITES = (0x000004, 0x000005, 0x00002F, 0x000033, 0x00000A, 0x010080)
TLS_1_0 = (3, 1)


def hello(challenge: int = 32) -> bytes:
    suites = b"".join(suite.to_bytes(3, "big") for suite in SUITES)
    body = bytes([1, *TLS_1_0, 0, len(suites), 0, 0, 0, challenge]) + suites + bytes(range(challenge))
    return (0x8000 | len(body)).to_bytes(2, "big") + body


def refused(data: bytes, version: str, *, patient: bool) -> str:
    """What a WLC calls it when it is sent that first."""
    near, far = socket.socketpair()
    with near, far:
        far.setblocking(False)
        context = server_context(WLC.key_pem, WLC.certificate_pem, b"", version, lambda *_: Ruling(), strong=False)
        tunnel = PatientTunnel(context, far) if patient else Tunnel(context, far, server=True)
        near.sendall(data)
        with pytest.raises(TransportFault) as fault:
            tunnel.handshake()
    return fault.value.kind


@pytest.mark.parametrize("patient", [False, True], ids=["at once", "patient"])
@pytest.mark.parametrize("version", ["1.0", "1.2"])
def test_it_has_a_counter_of_its_own(version: str, patient: bool) -> None:
    assert refused(hello(), version, patient=patient) == "sslv2_hello"
    assert refused(hello(16), version, patient=patient) == "sslv2_hello"


@pytest.mark.parametrize("data", [b"\x80 hello", hello()[:-1], hello(15), hello() + b"x", bytes(100)])
def test_what_is_no_such_hello_is_not_called_one(data: bytes) -> None:
    assert refused(data, "1.2", patient=False) == "wrong_version_number"
    assert sign_of(data) == "peer_not_tls"
    assert client_hello_untrusted(data) is None


@pytest.mark.parametrize("strong", [False, True])
def test_a_check_names_it_and_what_it_offers(strong: bool) -> None:
    with listen_at("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()) as mse:
        mse.sendall(hello())
        report = check_mse(listener, check_settings(WLC, listed=(), strong=strong))
        assert mse.recv(1) == b""
    assert (report.failed, report.kind) == ("tls", "sslv2_hello")
    assert report.causes[0].name == "sslv2_hello"
    assert report.causes[0].look_at[0] == "what it offers in it: TLS 1.0 at most, 5 suites"
    # And what would be in the way next.
    assert [cause.name for cause in report.causes[1:]] == ["strong_cipher_mismatch"] * strong


@pytest.mark.skipif(shutil.which("javac") is None, reason="javac is not installed")
def test_java_s_own(tmp_path: Path) -> None:
    """Still in Java 17, for whoever asks for it."""
    report = calling(lambda port: jsse_calls(port, "SSLv2Hello,TLSv1.2", True, files_in(tmp_path)))
    assert (report.kind, report.causes[0].name) == ("sslv2_hello", "sslv2_hello")
    assert report.causes[0].look_at[0].startswith("what it offers in it: TLS 1.2 at most")
