"""A ClientHello in SSLv2's format: what Java 6 sends by default, whatever version it goes on in.

OpenSSL up to 3 took it for the hello of TLS 1.0 to 1.2 that it is; OpenSSL 4 does not, and says "wrong version number",
as of anything that is no TLS. It cannot be translated in front of OpenSSL: both sides' Finished covers its very bytes.
"""

from __future__ import annotations

import socket
from contextlib import suppress

# In the place of "wrong version number".
KIND = "sslv2_hello"
# Two bytes of length, the message's type, and two of the version.
_HEAD_BYTES = 5
_CLIENT_HELLO = 1
# Lengths of suites, session id and challenge, two bytes each.
_LENGTHS_BYTES = 6
_SUITE_BYTES = 3
_CHALLENGE_BYTES = range(16, 33)
# The whole of one: 127 suites and a challenge are less.
_MOST_BYTES = 512


def hello_untrusted(data: bytes) -> tuple[int, tuple[int, ...]] | None:
    """Version and TLS's suites of what begins like one; None for anything else. Never fails."""
    head, rest = data[:_HEAD_BYTES], data[_HEAD_BYTES:]
    if len(head) < _HEAD_BYTES or not head[0] & 0x80 or head[2] != _CLIENT_HELLO or not _is_rest(rest):
        return None
    size = int.from_bytes(rest[:2], "big")
    codes = rest[_LENGTHS_BYTES : _LENGTHS_BYTES + size]
    suites = (int.from_bytes(codes[at : at + _SUITE_BYTES], "big") for at in range(0, len(codes), _SUITE_BYTES))
    # Beyond two bytes they are SSLv2's own.
    return int.from_bytes(head[3:], "big"), tuple(suite for suite in suites if suite <= 0xFFFF)


def waits_in(sock: socket.socket) -> bool:
    """Whether it was one that OpenSSL has just found to be no TLS record; it took the first five bytes, or none yet."""
    with suppress(OSError):
        data = sock.recv(_MOST_BYTES, socket.MSG_PEEK)
        return _is_rest(data) or hello_untrusted(data) is not None
    return False


def _is_rest(data: bytes) -> bool:
    """Whether these bytes follow the head of one: lengths that add up to what is there."""
    suites, session, challenge = (int.from_bytes(data[at : at + 2], "big") for at in (0, 2, 4))
    return (
        suites % _SUITE_BYTES == 0
        and suites > 0
        and challenge in _CHALLENGE_BYTES
        and len(data) == _LENGTHS_BYTES + suites + session + challenge
    )
