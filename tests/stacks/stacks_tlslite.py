"""Peers by tlslite-ng, a TLS stack in Python that says whatever a test wants it to."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from loadgen.identity.credentials import Identity

api = pytest.importorskip("tlslite.api", reason="tlslite-ng is not installed")
constants = pytest.importorskip("tlslite.constants", reason="tlslite-ng is not installed")
messages = pytest.importorskip("tlslite.messages", reason="tlslite-ng is not installed")

VERSIONS = {"1.0": (3, 1), "1.1": (3, 2), "1.2": (3, 3), "1.3": (3, 4)}
WARNING, FATAL = constants.AlertLevel.warning, constants.AlertLevel.fatal
USER_CANCELED, CLOSE_NOTIFY = constants.AlertDescription.user_canceled, constants.AlertDescription.close_notify


def settings_of(version: str, **changes: Any) -> Any:
    """Of one version, and nothing that it would refuse by itself."""
    settings = api.HandshakeSettings()
    settings.minVersion = settings.maxVersion = VERSIONS[version]
    # 0.8.2 sends a compressed certificate to whoever did not offer to take one.
    settings.certificate_compression_send = []
    for name, value in changes.items():
        setattr(settings, name, value)
    return settings


def shown(identity: Identity) -> tuple[Any, Any]:
    """An identity's chain and key."""
    chain = api.X509CertChain()
    chain.parsePemList((identity.certificate_pem + identity.chain_pem).decode())
    # It reads PKCS#8 of RSA and of P-256.
    return chain, api.parsePEMKey(identity.key_pem.decode(), private=True)


class Peer:
    """One end of a connection, moved on by steps of a generator."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.connection = api.TLSConnection(sock)

    def client(self, settings: Any, identity: Identity) -> Iterator[int]:
        """Shake hands."""
        steps: Iterator[int] = self.connection.handshakeClientCert(*shown(identity), settings=settings, async_=True)
        return steps

    def server(self, settings: Any, identity: Identity) -> Iterator[int]:
        """Shake hands, and ask for a certificate."""
        chain, key = shown(identity)
        steps: Iterator[int] = self.connection.handshakeServerAsync(
            certChain=chain, privateKey=key, reqCert=True, settings=settings
        )
        return steps

    def alert(self, level: int, description: int) -> Iterator[int]:
        """Send an alert, and do nothing else about it."""
        steps: Iterator[int] = self.connection._sendMsg(messages.Alert().create(description, level))
        return steps


def drive(steps: Iterator[int], meanwhile: Callable[[], object]) -> None:
    """All steps, with `meanwhile` before each; bounded."""
    for _ in range(100_000):
        meanwhile()
        if next(steps, None) is None:
            return
    raise AssertionError("it never came to an end")
