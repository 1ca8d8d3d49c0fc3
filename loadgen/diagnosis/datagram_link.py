"""One link over UDP: a handshake whose flights are sent again, and frames that fill their datagrams."""

from __future__ import annotations

import select
import socket
import time

from loadgen.diagnosis.hello import PEEK_BYTES
from loadgen.diagnosis.link import OneLink
from loadgen.session.conversation import unfilled
from loadgen.transport.datagram_tunnel import DatagramTunnel
from loadgen.transport.tls import TransportFault, kind_of_errno


class DatagramLink(OneLink):
    """An association and what came over it."""

    tunnel: DatagramTunnel
    tunnels = DatagramTunnel
    _lost = ""  # what a look was told instead of bytes: a refusal (ICMP), which the kernel tells once

    def handshake(self, deadline_ns: int) -> None:
        while True:
            self._look()
            if self.tunnel.handshake():
                return
            if self._lost:
                raise TransportFault(self._lost)
            self._ready(select.POLLIN, min(deadline_ns, self.tunnel.repeats_ns()))
            if time.monotonic_ns() >= deadline_ns:
                raise TransportFault("timeout")

    def close(self) -> None:
        """Say goodbye once. UDP does not tell whether a peer that was refused has gone: it is not heard out."""
        self.tunnel.close_notify()
        self.tunnel.close()

    def _peek(self) -> bytes:
        try:
            return self._socket.recv(PEEK_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            pass
        except OSError as error:
            self._lost = kind_of_errno(error.errno)
        return b""

    def _keep(self, rest: bytes) -> None:
        if rest:
            raise unfilled(len(rest))
