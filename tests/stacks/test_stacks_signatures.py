"""A key that signs nothing that the other side asks for: whose it is, and what was asked."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest
from OpenSSL import SSL
from OpenSSL._util import lib
from stacks_peers import MSE, NOW, WLC, calling, check_settings, serving

from loadgen.diagnosis.hello import client_hello_untrusted
from loadgen.diagnosis.signatures import made_by, request_untrusted
from loadgen.diagnosis.wlc_check import check_wlc
from loadgen.identity.credentials import Identity, new_key, self_signed
from loadgen.transport.contexts import client_context, server_context
from loadgen.transport.verifying import Ruling

VERSIONS = pytest.mark.parametrize("version", ["1.2", "1.3"])
WLC_P256 = self_signed(WLC.mac, new_key("p256"), NOW)
ONLY_ECDSA = b"ECDSA+SHA256"


def talk(context: SSL.Context, sock: socket.socket, *, server: bool) -> None:
    connection = SSL.Connection(context, sock)
    sock.setblocking(True)
    connection.set_accept_state() if server else connection.set_connect_state()
    with suppress(SSL.Error):
        while connection.recv(1000):
            pass


@VERSIONS
@pytest.mark.parametrize("demands", [True, False], ids=["demanded", "asked for"])
def test_our_certificate_was_not_shown_because_the_key_does_not_sign_so(version: str, demands: bool) -> None:
    def wlc(connection: socket.socket) -> None:
        check = (lambda *_: Ruling()) if demands else None
        context = server_context(WLC_P256.key_pem, WLC_P256.certificate_pem, b"", version, check)
        lib.SSL_CTX_set1_sigalgs_list(context._context, ONLY_ECDSA)
        talk(context, connection, server=True)

    with serving(wlc) as port:
        report = check_wlc("127.0.0.1", port, check_settings(MSE))
    assert report.failed == "accepted"
    assert report.causes[0].name == "signatures_not_made"
    assert "RSA-2048" in report.causes[0].says
    assert report.causes[0].look_at[0].startswith("it asks for ECDSA+SHA256")


@VERSIONS
@pytest.mark.parametrize("identity", [MSE, None], ids=["another certificate", "no certificate"])
def test_the_mse_takes_no_signature_of_ours(version: str, identity: Identity | None) -> None:
    def mse(port: int) -> None:
        shown = (identity.key_pem, identity.certificate_pem) if identity else (b"", b"")
        context = client_context(*shown, b"", version, None)
        lib.SSL_CTX_set1_sigalgs_list(context._context, ONLY_ECDSA)
        with socket.create_connection(("127.0.0.1", port)) as sock:
            talk(context, sock, server=False)

    report = calling(mse)
    assert report.failed == "tls"
    assert report.causes[0].name == "signatures_not_ours"
    assert report.causes[0].says.endswith("makes: ECDSA+SHA256, and the key is RSA-2048")


def test_an_mse_without_a_certificate_is_told_what_we_ask_for() -> None:
    def mse(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as sock:
            talk(client_context(b"", b"", b"", "1.2", None), sock, server=False)

    report = calling(mse)
    assert report.causes[0].name == "no_client_certificate"
    assert "RSA-PSS+SHA256" in report.causes[0].look_at[1]


@pytest.mark.parametrize("size", range(40))
def test_what_is_cut_off_is_read_as_far_as_it_goes(size: int) -> None:
    request = bytes([13, 0, 0, 14, 2, 1, 64, 0, 4, 2, 1, 4, 3, 0, 3, 0, 1, 0])[:size]
    found = request_untrusted(request, tls_1_3=False)
    assert found.types == (1, 64)[: max(0, size - 5)]
    assert found.algorithms == (0x0201, 0x0403)[: max(0, size - 9) // 2]
    extensions = bytes([13, 0, 0, 13, 0, 0, 10, 0, 13, 0, 6, 0, 4, 2, 1, 8, 4])
    assert request_untrusted(extensions[:size], tls_1_3=True).types == ()
    assert client_hello_untrusted((b"\x16\x03\x01\x00\x30\x01" + bytes(200))[:size]) is None


def test_what_a_key_can_make_at_all() -> None:
    assert made_by(MSE.key_pem, (0x0403, 0x0201, 0x0804, 0x0807)) == (0x0201, 0x0804)
    assert made_by(WLC_P256.key_pem, (0x0403, 0x0201, 0x0203)) == (0x0403, 0x0203)
