"""Whether there is anything in a TLS session that a later handshake could offer."""

from __future__ import annotations

from collections.abc import Iterator

from OpenSSL import SSL

from loadgen.transport import openssl

# OpenSSL keeps a session of every connection; that it can be resumed shows only in what it is written down as, in DER:
# SEQUENCE { version, ssl_version, cipher, session_id, master_key, ..., [10] ticket, ... }
_SESSION_ID = 3
_TICKET_TAG = 0xAA


def can_be_offered(session: SSL.Session) -> bool:
    """Whether the server gave it a name or a ticket. Without, a client's hello offers nothing."""
    return offered_bytes(session) > 0


def offered_bytes(session: SSL.Session) -> int:
    """How many bytes of a client's hello it takes to offer it; 0: there is nothing to offer."""
    (whole,) = _elements(memoryview(openssl.session_der(session)))
    return sum(
        len(value)
        for index, (tag, value) in enumerate(_elements(whole[1]))
        if tag == _TICKET_TAG or index == _SESSION_ID
    )


def _elements(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Tag and value of each element; what OpenSSL wrote is in order."""
    while data:
        tag, size, start = data[0], data[1], 2
        if size & 0x80:
            start += size & 0x7F
            size = int.from_bytes(data[2:start], "big")
        yield tag, data[start : start + size]
        data = data[start + size :]
