"""Peers of other make than ours: how they write a flight, and what they read of what comes back."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from OpenSSL import SSL

from loadgen.diagnosis.mse_check import check_mse, listen_at
from loadgen.diagnosis.settings import CheckSettings
from loadgen.diagnosis.steps import CheckReport
from loadgen.identity.credentials import Identity, new_key, self_signed
from loadgen.nmsp.profile import reference_profile
from loadgen.nmsp.services import CATALYST_9800, Subservice, mask_of
from loadgen.transport.contexts import client_context
from loadgen.transport.tls import kind_of_error
from loadgen.units import NS_PER_S

NOW = datetime.now(UTC)
PATIENCE_S = 60.0
WLC = self_signed("02:00:00:00:00:01", new_key("rsa-2048"), NOW)
# Older than a day, so that nothing suspects its dates.
MSE = self_signed("00:50:56:9c:34:89", new_key("rsa-2048"), NOW - timedelta(days=30))


def check_settings(identity: Identity, **changes: Any) -> CheckSettings:
    """Of a check that is the WLC, or the MSE, by whose identity it has."""
    values: dict[str, Any] = {
        "identity": identity,
        "listed": None,
        "key_hash": "sha256",
        "hash_over": "spki",
        "trusted_pem": None,
        "strong": True,
        "old_certificates": False,
        "unauthenticated": False,
        "profile": reference_profile(),
        "mask": CATALYST_9800 if identity is WLC else mask_of([Subservice.RSSI_MS]),
        "timeout_ns": round(PATIENCE_S * NS_PER_S),
        "tell": lambda _: None,
    }
    return CheckSettings(**{**values, **changes})


def records(flight: bytes) -> Iterator[bytes]:
    """A flight's TLS records, one by one."""
    while flight:
        size = 5 + int.from_bytes(flight[3:5], "big")
        yield flight[:size]
        flight = flight[size:]


class WordByWord:
    """A TLS client that writes its last flight record by record, and looks at what came when all of it is written.

    So do JSSE and mbedTLS. Whenever it waits, `meanwhile` has the turn.
    """

    def __init__(
        self, address: tuple[str, int], version: str, meanwhile: Callable[[], object], identity: Identity = MSE
    ) -> None:
        context = client_context(identity.key_pem, identity.certificate_pem, identity.chain_pem, version, None)
        self._connection = SSL.Connection(context)
        self._connection.set_connect_state()
        self._meanwhile = meanwhile
        self._socket = socket.create_connection(address, PATIENCE_S)

    def shake(self) -> str:
        """Shake hands, and read on; how it ended: "up" of one who is let in is followed by silence, so it is a kind.

        Raises:
            OSError: a write met the end of the connection, so nothing was read any more.
        """
        while True:
            end = self._step()
            for record in records(self._outgoing()):
                self._socket.sendall(record)
                self._meanwhile()
            if end:
                return end
            self._read()

    def close(self) -> None:
        self._socket.close()

    def _step(self) -> str:
        try:
            self._connection.do_handshake()
            self._connection.recv(1)
        except SSL.WantReadError:
            return ""
        except SSL.Error as error:
            return kind_of_error(error)
        return "up"

    def _outgoing(self) -> bytes:
        with suppress(SSL.WantReadError):
            return self._connection.bio_read(1 << 16)
        return b""

    def _read(self) -> None:
        while not select.select([self._socket], [], [], 0.01)[0]:
            self._meanwhile()
        if data := self._socket.recv(1 << 16):
            self._connection.bio_write(data)
        else:
            self._connection.bio_shutdown()


@contextmanager
def serving(behave: Callable[[socket.socket], object]) -> Iterator[int]:
    """A port where `behave` has every connection, in a thread that ends with the test."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    connection.settimeout(PATIENCE_S)
                    behave(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(PATIENCE_S)


def calling(behave: Callable[[int], object], **changes: Any) -> CheckReport:
    """`check mse` with somebody who calls its port, from a thread."""
    with listen_at("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=behave, args=(listener.getsockname()[1],))
        thread.start()
        report = check_mse(listener, check_settings(WLC, **{"listed": (), **changes}))
        thread.join(PATIENCE_S)
    assert not thread.is_alive()
    return report
