"""One association over a connected UDP socket of its own, with the calls of a tunnel over TCP: a check has just one.

OpenSSL works on the socket itself, makes datagrams of flights, and sends them again when it is asked to go on after
its time. Runs have `dtls` for their thousands.
"""

from __future__ import annotations

import secrets
import socket
import time

from OpenSSL import SSL

from loadgen.transport.tls import Tunnel
from loadgen.transport.trace import Observer
from loadgen.units import NEVER_NS, NS_PER_S

# What every path carries that is an Ethernet's, without IP and UDP headers.
_PAYLOAD_BYTES = {socket.AF_INET: 1500 - 28, socket.AF_INET6: 1500 - 48}


class DatagramTunnel(Tunnel):
    """A tunnel of DTLS."""

    def __init__(
        self, context: SSL.Context, sock: socket.socket, *, server: bool, observer: Observer | None = None
    ) -> None:
        if server:
            _ask_for_cookie(context)
        super().__init__(context, sock, server=server, observer=observer)
        self._connection.set_ciphertext_mtu(_PAYLOAD_BYTES[socket.AddressFamily(sock.family)])

    def repeats_ns(self) -> int:
        """When the handshake goes on although nothing came (monotonic): its last flight is sent again."""
        left_s = self._connection.DTLSv1_get_timeout()
        return NEVER_NS if left_s is None else time.monotonic_ns() + int(left_s * NS_PER_S)


def _ask_for_cookie(context: SSL.Context) -> None:
    """As servers do, before they make anything for a client whose address may not be its own."""
    cookie = secrets.token_bytes(16)
    context.set_options(SSL.OP_COOKIE_EXCHANGE or 0)
    context.set_cookie_generate_callback(lambda _: cookie)
    context.set_cookie_verify_callback(lambda _, returned: returned == cookie)
