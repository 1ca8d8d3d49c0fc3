"""Servers from before RFC 5746: met with strong cipher off, and named with it on."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

import pytest
from stacks_peers import MSE, WLC, check_settings, serving
from stacks_tlslite import api, messages, settings_of, shown

from loadgen.diagnosis.wlc_check import check_wlc

RENEGOTIATION_INFO = 0xFF01


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """tlslite-ng's server hello says nothing of renegotiation."""
    write = messages.ServerHello.write

    def without(hello: Any) -> Any:
        hello.extensions = [each for each in hello.extensions or [] if each.extType != RENEGOTIATION_INFO]
        return write(hello)

    monkeypatch.setattr(messages.ServerHello, "write", without)


@pytest.mark.usefixtures("forgetful")
@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
@pytest.mark.parametrize("strong", [False, True])
def test_a_server_without_secure_renegotiation(version: str, strong: bool) -> None:
    came: list[tuple[int, int]] = []

    def wlc(sock: socket.socket) -> None:
        peer = api.TLSConnection(sock)
        chain, key = shown(WLC)
        with suppress(api.TLSError):
            peer.handshakeServer(certChain=chain, privateKey=key, reqCert=True, settings=settings_of(version))
            came.append(peer.version)
            peer.close()

    with serving(wlc) as port:
        report = check_wlc("127.0.0.1", port, check_settings(MSE, strong=strong))
    if not strong:
        assert came == [settings_of(version).minVersion]
        assert report.failed == "capability"  # it says goodbye there
    else:
        assert (report.failed, report.kind) == ("tls", "unsafe_legacy_renegotiation_disabled")
        assert report.causes[0].name == "no_secure_renegotiation"
