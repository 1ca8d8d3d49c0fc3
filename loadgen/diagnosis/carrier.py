"""What carries a tunnel, TCP or UDP, as far as a check goes about them differently."""

from __future__ import annotations

import select
import socket
import time
from abc import ABC, abstractmethod
from contextlib import closing, suppress
from typing import ClassVar, Literal, TypeAlias

from loadgen.diagnosis.datagram_link import DatagramLink
from loadgen.diagnosis.link import OneLink
from loadgen.errors import InputError, Problem
from loadgen.hosts import endpoint_shown
from loadgen.session.datagrams import DatagramMseEndpoint, DatagramWlcEndpoint
from loadgen.session.mse import MseEndpoint
from loadgen.session.wlc import WlcEndpoint
from loadgen.transport import dtls
from loadgen.transport.address import socket_address
from loadgen.transport.tls import TransportFault, dial, dial_result, kind_of_errno
from loadgen.transport.verifying import ClockedContext
from loadgen.units import NS_PER_MS

Transport: TypeAlias = Literal["tls", "dtls"]


class Carrier(ABC):
    """TCP or UDP.

    Attributes:
        name: for a person. contexts, link, mse, wlc: what a tunnel and the ends of its session are made of.
        taken: what is known of a notification that was sent.
    """

    name: ClassVar[str]
    contexts: ClassVar[type[ClockedContext]]
    link: ClassVar[type[OneLink]]
    mse: ClassVar[type[MseEndpoint]]
    wlc: ClassVar[type[WlcEndpoint]]
    taken: ClassVar[str]
    connects: ClassVar[bool]

    def listen_at(self, host: str, port: int) -> socket.socket:
        """A socket that waits for one MSE.

        Raises:
            InputError: it cannot wait there.
        """
        try:
            return self._listen(host, port)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(
                Problem("--listen", "an address where nobody listens yet", f"{endpoint_shown(host, port)}: {reason}")
            ) from error

    @abstractmethod
    def _listen(self, host: str, port: int) -> socket.socket:
        """Raises: OSError, OverflowError."""

    @abstractmethod
    def accept(self, listener: socket.socket) -> tuple[socket.socket, tuple[str, int]]:
        """The first caller, once `listener` is readable: a non-blocking socket, and its address."""

    @abstractmethod
    def dial(self, address: tuple[str, int], deadline_ns: int) -> socket.socket:
        """A non-blocking socket that is connected to `address`. Raises: TransportFault."""


class TcpCarrier(Carrier):
    """TLS."""

    name = "TCP"
    contexts = ClockedContext
    link = OneLink
    mse, wlc = MseEndpoint, WlcEndpoint
    taken = "sent, and taken by its TCP"
    connects = True

    def _listen(self, host: str, port: int) -> socket.socket:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server(socket_address(host, port), family=family, backlog=1)

    def accept(self, listener: socket.socket) -> tuple[socket.socket, tuple[str, int]]:
        sock, address = listener.accept()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock, address

    def dial(self, address: tuple[str, int], deadline_ns: int) -> socket.socket:
        sock = dial(address)
        poll = select.poll()
        poll.register(sock, select.POLLOUT)
        try:
            left_ms = max(0, -(-(deadline_ns - time.monotonic_ns()) // NS_PER_MS))
            if not poll.poll(left_ms):
                raise TransportFault("timeout")
            dial_result(sock)
        except BaseException:
            sock.close()
            raise
        return sock


class UdpCarrier(Carrier):
    """DTLS. Whether anybody is there is known when something comes, or a refusal (ICMP)."""

    name = "UDP"
    contexts = dtls.DatagramContext
    link = DatagramLink
    mse, wlc = DatagramMseEndpoint, DatagramWlcEndpoint
    taken = "sent; nobody confirms datagrams"
    connects = False

    def _listen(self, host: str, port: int) -> socket.socket:
        return dtls.listen((host, port))

    def accept(self, listener: socket.socket) -> tuple[socket.socket, tuple[str, int]]:
        address = listener.recvfrom(0, socket.MSG_PEEK)[1]
        sock = listener.dup()  # the same one: only its caller's datagrams come from here on
        sock.connect(address)
        sock.setblocking(False)
        return sock, address

    def dial(self, address: tuple[str, int], deadline_ns: int) -> socket.socket:
        try:
            sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_DGRAM)
            try:
                sock.connect(socket_address(*address))
            except OSError:
                sock.close()
                raise
        except OSError as error:
            raise TransportFault(kind_of_errno(error.errno)) from error
        sock.setblocking(False)
        return sock


CARRIERS: dict[Transport, Carrier] = {"tls": TcpCarrier(), "dtls": UdpCarrier()}


def takes_tcp(address: tuple[str, int], deadline_ns: int) -> bool:
    """Somebody takes TCP connections there."""
    with suppress(TransportFault), closing(CARRIERS["tls"].dial(address, deadline_ns)):
        return True
    return False
