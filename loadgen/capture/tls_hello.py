"""Messages of TLS handshakes, cut out of the content of records, and the two hellos read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from loadgen.capture.tls_suites import TLS10, TLS11, TLS12, TLS13, TLS13_SUITES, suite_name, suite_of

__all__ = [
    "CLIENT_HELLO",
    "END_OF_EARLY_DATA",
    "NEW_SESSION_TICKET",
    "SERVER_HELLO",
    "HelloOfClient",
    "HelloOfServer",
    "Messages",
    "alert_name",
    "ticket_in",
]

CLIENT_HELLO, SERVER_HELLO, NEW_SESSION_TICKET, END_OF_EARLY_DATA = 1, 2, 4, 5
_ENCRYPT_THEN_MAC, _TICKET, _EARLY_DATA, _SUPPORTED_VERSIONS = 22, 35, 42, 43
_TRUNCATED_MAC: Final = 4
_VERSIONS: Final = {0x0300: "SSL 3.0", TLS10: "TLS 1.0", TLS11: "TLS 1.1", TLS12: "TLS 1.2", TLS13: "TLS 1.3"}
_READ: Final = (TLS10, TLS11, TLS12, TLS13)
# RFC 8446, 4.1.3: the random of a ServerHello that asks for another ClientHello.
_RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
# A hello is far shorter; longer messages (chains of certificates) are only stepped over.
_LONGEST: Final = 1 << 16
_HEAD: Final = 4
_ALERTS: Final = """
0:close_notify 10:unexpected_message 20:bad_record_mac 21:decryption_failed 22:record_overflow
30:decompression_failure 40:handshake_failure 41:no_certificate 42:bad_certificate 43:unsupported_certificate
44:certificate_revoked 45:certificate_expired 46:certificate_unknown 47:illegal_parameter 48:unknown_ca
49:access_denied 50:decode_error 51:decrypt_error 60:export_restriction 70:protocol_version 71:insufficient_security
80:internal_error 86:inappropriate_fallback 90:user_canceled 100:no_renegotiation 109:missing_extension
110:unsupported_extension 111:certificate_unobtainable 112:unrecognized_name 113:bad_certificate_status_response
114:bad_certificate_hash_value 115:unknown_psk_identity 116:certificate_required 120:no_application_protocol
"""
_ALERT_NAMES: Final = {int(number): name for number, _, name in (row.partition(":") for row in _ALERTS.split())}


def alert_name(description: int) -> str:
    return _ALERT_NAMES.get(description, f"alert {description}")


class Messages:
    """Cuts handshake messages out of the content of records, however they are parted."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._over = 0  # bytes still to step over

    def add(self, content: bytes) -> Iterator[tuple[int, bytes]]:
        """Type and body of what is whole now; a body that is too long for a hello is empty."""
        self._buffer += content
        while True:
            stepped = min(self._over, len(self._buffer))
            del self._buffer[:stepped]
            self._over -= stepped
            if len(self._buffer) < _HEAD:
                return
            kind, size = self._buffer[0], int.from_bytes(self._buffer[1:_HEAD], "big")
            if size > _LONGEST:
                self._over = _HEAD + size
                yield kind, b""
            elif len(self._buffer) < _HEAD + size:
                return
            else:
                body = bytes(self._buffer[_HEAD : _HEAD + size])
                del self._buffer[: _HEAD + size]
                yield kind, body

    def clear(self) -> None:
        """What comes next goes on from nothing."""
        self._buffer.clear()
        self._over = 0


@dataclass(frozen=True, slots=True)
class HelloOfClient:
    random: bytes
    session: bytes
    ticket: bytes
    early_data: bool

    @classmethod
    def read(cls, body: bytes) -> HelloOfClient | None:
        """None: it is not one."""
        reader = _Reader(body)
        reader.take(2)
        random, session = reader.take(32), reader.vector(1)
        reader.vector(2)
        reader.vector(1)
        extensions = reader.extensions()
        return None if reader.short else cls(random, session, extensions.get(_TICKET, b""), _EARLY_DATA in extensions)


@dataclass(frozen=True, slots=True)
class HelloOfServer:
    version: int
    random: bytes
    session: bytes
    suite: int
    compressed: bool
    mac_after: bool  # encrypt-then-MAC
    truncated: bool  # MACs of 10 bytes
    retry: bool  # it is a HelloRetryRequest

    @classmethod
    def read(cls, body: bytes) -> HelloOfServer | None:
        """None: it is not one."""
        reader = _Reader(body)
        version, random, session = reader.number(2), reader.take(32), reader.vector(1)
        suite, compression = reader.number(2), reader.number(1)
        extensions = reader.extensions()
        if reader.short:
            return None
        if len(chosen := extensions.get(_SUPPORTED_VERSIONS, b"")) == 2:
            version = int.from_bytes(chosen, "big")
        flags = _ENCRYPT_THEN_MAC in extensions, _TRUNCATED_MAC in extensions
        return cls(version, random, session, suite, compression != 0, *flags, random == _RETRY)

    def unreadable(self) -> str:
        """What it chose that cannot be decrypted, whatever the keys; empty: nothing."""
        name = _VERSIONS.get(self.version, f"TLS version 0x{self.version:04X}")
        if self.version not in _READ:
            return name
        if suite_of(self.suite) is None or (self.version == TLS13) != (self.suite >> 8 == TLS13_SUITES):
            return f"{suite_name(self.suite)} ({name})"
        if self.compressed:
            return f"{name} with compression"
        return f"{name} with truncated MACs" if self.truncated else ""


def ticket_in(body: bytes) -> bytes:
    """What a NewSessionTicket of TLS 1.2 brings; empty: nothing."""
    reader = _Reader(body)
    reader.take(4)
    return reader.vector(2)


class _Reader:
    """Reads on as if bytes that are missing were empty, and remembers it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self.short = False

    def take(self, size: int) -> bytes:
        found = self._data[self._at : self._at + size]
        self._at += size
        self.short |= len(found) < size
        return found

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, width: int) -> bytes:
        return self.take(self.number(width))

    def extensions(self) -> dict[int, bytes]:
        """By type; up to TLS 1.2 there may be none at all."""
        if self._at == len(self._data):
            return {}
        inner = _Reader(self.vector(2))
        found: dict[int, bytes] = {}
        while inner._at < len(inner._data) and not inner.short:
            kind = inner.number(2)
            found[kind] = inner.vector(2)
        self.short |= inner.short
        return found
