"""What both ends say in a handshake, message by message, as OpenSSL writes and reads it: also what goes encrypted."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from OpenSSL._util import ffi as _ffi
from OpenSSL._util import lib as _lib

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
        # What cffi makes for a function of Python's must live as long as OpenSSL may call it.
        self._callback = _ffi.callback("void (*)(int, int, int, void *, size_t, SSL *, void *)", self._take)
        _lib.SSL_CTX_set_msg_callback(context._context, self._callback)  # noqa: SLF001

    def _take(self, write: int, _version: int, content: int, data: Any, size: int, _ssl: Any, _argument: Any) -> None:
        if content == _HANDSHAKE and size:
            message = bytes(_ffi.buffer(data, min(size, _MOST_BYTES)))
            (self.sent if write else self.heard)[message[0]] = message
