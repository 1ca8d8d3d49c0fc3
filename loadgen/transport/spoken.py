"""What both ends say in a handshake, message by message, as OpenSSL writes and reads it: also what goes encrypted."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL

from loadgen.transport import openssl

CERTIFICATE, CERTIFICATE_REQUEST = 11, 13
_HANDSHAKE = 22
# As much of a message as is kept; requests for certificates are small, but for long lists of authorities at their end.
_MOST_BYTES = 4096


class Spoken:
    """Keeps the last message of each type, with its header, of all connections of a context that are made from now on.

    It must live as long as they do.

    Attributes:
        sent, heard: by type.
    """

    def __init__(self, context: SSL.Context) -> None:
        self.sent: dict[int, bytes] = {}
        self.heard: dict[int, bytes] = {}
        self._kept = openssl.on_messages(context, self._take)

    def _take(self, write: int, _version: int, content: int, data: Any, size: int, _ssl: Any, _argument: Any) -> None:
        if content == _HANDSHAKE and size:
            message = openssl.bytes_at(data, min(size, _MOST_BYTES))
            (self.sent if write else self.heard)[message[0]] = message
