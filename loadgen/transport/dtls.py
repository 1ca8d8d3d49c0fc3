"""DTLS 1.2 over UDP, by `trio.DTLSEndpoint`: contexts, sockets and associations, every failure as a kind.

trio does the cookie exchange and sends flights of the handshake again; OpenSSL drops what is no record of the
association, and records that came before. Neither tells of either.
"""

from __future__ import annotations

import errno
import socket
import struct
from contextlib import suppress
from typing import Protocol

import trio
from OpenSSL import SSL

from loadgen.transport import openssl, trio_dtls, verifying
from loadgen.transport.address import host_and_port, socket_address
from loadgen.transport.alerts import ALERTS, FATAL
from loadgen.transport.tickets import offered_bytes
from loadgen.transport.tls import EndOfStream, TransportFault, kind_of_errno, kind_of_error, kind_of_reason
from loadgen.transport.trace import ALERT, EXIT, READ, Happening, Observer
from loadgen.transport.trio_dtls import Flight
from loadgen.transport.verifying import Clock, ClockedContext, Ruling
from loadgen.units import NS_PER_S

# What DTLS 1.2 adds to a record at most: its header, an IV, a MAC of SHA-384 and CBC's padding. With AES-GCM it is 37.
MAX_RECORD_OVERHEAD_BYTES = 13 + 16 + 48 + 16
# IP and UDP headers, by address family.
_HEADERS_BYTES = {socket.AF_INET: 28, socket.AF_INET6: 48}
_DTLS1_2_VERSION = 0xFEFD  # pyOpenSSL has no name for it
_DTLS_METHODS = {SSL.TLS_SERVER_METHOD: SSL.DTLS_SERVER_METHOD, SSL.TLS_CLIENT_METHOD: SSL.DTLS_CLIENT_METHOD}
# Of a client's hello with its cookie, what is no ticket: some 280.
_HELLO_BYTES = 320
# Datagrams of one association that wait for its task; it is woken after each, so these are few.
_WAITING_DATAGRAMS = 128
# Asked for; the kernel gives what net.core.rmem_max and wmem_max allow.
_BUFFER_BYTES = 16 << 20
_SO_MEMINFO = getattr(socket, "SO_MEMINFO", 55)
_MEMINFO = struct.Struct("@9I")  # the last one: datagrams that found the receive buffer full
# Once OpenSSL has made a fatal alert, trio must get it out before the handshake is given up.
_ALERT_TIME_S = 0.1
_ALERT_BYTES = 1 << 10
_TIMEOUT = "timeout"


class DatagramContext(ClockedContext):
    """A context for DTLS 1.2, made as one for TLS is.

    trio sets the options that it needs before every association, and pyOpenSSL from 26 on refuses to change a context
    that was used: they are set here, and setting them once more changes nothing.
    """

    def __init__(self, method: int, clock: Clock | None = None) -> None:
        super().__init__(_DTLS_METHODS[method], clock)
        self._set = 0
        self.set_options(SSL.OP_NO_QUERY_MTU | SSL.OP_NO_RENEGOTIATION)
        self.set_info_callback(_on_state)

    def set_options(self, options: int) -> int:
        if options & ~self._set:
            self._set = super().set_options(options)
        return self._set

    def set_min_proto_version(self, version: int) -> None:
        super().set_min_proto_version(_DTLS1_2_VERSION)

    def set_max_proto_version(self, version: int) -> None:
        super().set_max_proto_version(_DTLS1_2_VERSION)


def _on_state(connection: SSL.Connection, where: int, code: int) -> None:
    if (association := connection.get_app_data()) is not None:
        association.state_changed(where, code)


def _reason() -> str | None:
    """Why OpenSSL sends the alert that it is just about to send, as it would say over TLS."""
    words = openssl.first_reason()
    return None if words is None else kind_of_reason(words)


class Deliberation(Protocol):
    """A decision about an association's client that may take time."""

    @property
    def poll_tick_s(self) -> float:
        """How long the client's next flight is left alone after each of ours; 0: not at all."""

    def asked(self, ruling: Ruling) -> None:
        """The check was asked; the client waits for its ruling from now on, if it takes time."""

    def answered(self, ruling: Ruling) -> None:
        """That time is over."""


class Association:
    """One DTLS association.

    OpenSSL decides about a client's certificate at once, and within the same call makes what follows from that: its
    Finished, or an alert. With a deliberation it is sent when the time has come.

    Attributes:
        verified, refusal, refused_certificate, ruling, broke: at a server's end, see `verifying.Applicant`.
        observer: what its handshake is told to, if it is traced; given before it begins.
        hello: what tells this attempt of a client's from its others, whatever it repeats.
        unmet: the client's hello was refused as it stood: whenever it comes again, that is the same attempt.
        most_bytes: what one datagram may carry, once the handshake is done.
        sending: held while a datagram is made and sent. trio sends whatever OpenSSL has for the association at the
            time; two at once would go out as one datagram.
    """

    __slots__ = (
        *(
            "_alert",
            "_channel",
            "_connection",
            "_deliberation",
            "_payload_bytes",
            "_rests",
            "_scope",
            "_send_flight",
            "_setup_ends",
            "_until",
            "_waiting",
        ),
        *("broke", "hello", "most_bytes", "observer", "refusal", "refused_certificate", "ruling", "sending", "unmet"),
        "verified",
    )

    def __init__(self, channel: trio.DTLSChannel, mtu_bytes: int, deliberation: Deliberation | None = None) -> None:
        """Args: mtu_bytes: of the path, with IP and UDP headers; deliberation: of a server that has one."""
        self._channel = channel
        self._payload_bytes = mtu_bytes - _HEADERS_BYTES[socket.AddressFamily(channel.endpoint.socket.family)]
        channel.set_ciphertext_mtu(self._payload_bytes)
        self._connection = trio_dtls.connection_of(channel)
        self._connection.set_app_data(self)
        context = self._connection.get_context()
        if isinstance(context, ClockedContext):
            context.read_clock(self._connection)
        self._deliberation = deliberation
        self._until = 0.0  # by trio's clock: what we have to say waits until then
        self._setup_ends = 0.0
        self._waiting = False
        self._send_flight = trio_dtls.sender_of(channel)
        self._scope = trio.CancelScope()
        self._alert: str | None = None
        self.refusal: str | None = None
        self.refused_certificate: bytes | None = None
        self.ruling: Ruling | None = None
        self.broke: BaseException | None = None
        self.observer: Observer | None = None
        self._rests = False  # the handshake waits, and so the observer was told
        self.verified: bool | None = None
        self.most_bytes = 0
        self.hello = trio_dtls.hello_of(channel)
        self.unmet = False
        self.sending = trio.Lock()

    def state_changed(self, where: int, code: int) -> None:
        """OpenSSL's information callback."""
        if where & ALERT and code >> 8 == FATAL:
            self._alerted(ALERTS.get(code & 0xFF, str(code & 0xFF)), received=bool(where & READ))
        if (observer := self.observer) is None:
            return
        # trio goes on with the handshake by itself, with each datagram.
        if self._rests:
            observer.tell(Happening.ENTERED)
        observer.tell_state(self._connection, where, code)
        self._rests = bool(where & EXIT and not where & ALERT and code < 0 and self.failure is None)
        if self._rests:
            observer.tell(Happening.WAITING)

    def _alerted(self, name: str, *, received: bool) -> None:
        """A fatal alert was received or made: the handshake, if it goes on, leads nowhere; trio would go on."""
        self._alert = f"alert_{name}" if received else _reason() or f"sent_alert_{name}"
        end = trio.current_time() if received else max(trio.current_time(), self._until) + _ALERT_TIME_S
        self._scope.deadline = min(self._scope.deadline, end)

    def judged(self) -> None:
        """In the handshake: what follows from a ruling waits as long as that says."""
        if self._deliberation is not None:
            self._until = trio.current_time()
            if (ruling := self.ruling) is not None:  # or its certificate could not be read, and the check said nothing
                self._until += ruling.wait_ns / NS_PER_S
                self._deliberation.asked(ruling)
                if not ruling.wait_ns:
                    self._deliberation.answered(ruling)

    def resume(self, ticket: SSL.Session) -> None:
        """Offer an earlier session, before the handshake."""
        self._connection.set_session(ticket)

    def ticket(self) -> SSL.Session | None:
        """The session that a later handshake may resume, if the server gave one, and a hello with it goes into one
        datagram: a server that keeps nothing before its cookie came back cannot put parts together.
        """
        session = self._connection.get_session()
        size = 0 if session is None else offered_bytes(session)
        return session if 0 < size <= self._payload_bytes - _HELLO_BYTES else None

    @property
    def resumed(self) -> bool:
        """The handshake, which is done, went on with an earlier session."""
        return openssl.is_resumed(self._connection)

    @property
    def group(self) -> str | None:
        """The key-exchange group of the handshake, which is done; None: it had none."""
        return self._connection.get_group_name()

    @property
    def deliberating(self) -> bool:
        """The client waits for us."""
        return self._waiting

    async def _speak(self, flight: Flight) -> None:
        """In the place of trio's sending of a flight.

        trio waits for an answer to our flight before, and its patience must cut neither our waiting nor this short: it
        would take the next datagram for a part of the handshake, and forget the flight.
        """
        deliberation = self._deliberation
        if self._waiting:
            return  # trio's receive loop, which has heard the client's last flight again
        if trio_dtls.is_hello(flight):
            # From the third time on trio sends in smaller packets; but a hello in parts is no hello: see `ticket`.
            self._channel.set_ciphertext_mtu(self._payload_bytes)
        if deliberation is None or trio.current_time() >= self._until:
            self._tell_answer()
            with trio.CancelScope(shield=True):
                await self._send_flight(flight)
            if self._alert is not None and deliberation is not None:
                self._scope.cancel()  # said what there was to say
            elif deliberation is not None and deliberation.poll_tick_s and not self._until:
                await trio.sleep(deliberation.poll_tick_s)
            return
        with trio.CancelScope(shield=True):
            self._waiting = True
            await trio.sleep_until(min(self._until, self._setup_ends))
            self._waiting = False
            if self._until <= self._setup_ends:
                if self.ruling is not None:
                    deliberation.answered(self.ruling)
                self._tell_answer()
                await self._send_flight(flight)
        if self._alert is not None:
            self._scope.cancel()

    def _tell_answer(self) -> None:
        if self.observer is not None:
            self.observer.answered()

    @property
    def peer_address(self) -> tuple[str, int]:
        return host_and_port(self._channel.peer_address)

    async def handshake(self, timeout_s: float, retransmit_s: float) -> None:
        """Shake hands.

        Args:
            retransmit_s: a flight that is not answered is sent again after so long, then after twice that, ...

        Raises:
            TransportFault: as `Tunnel.handshake`; `timeout`, `replaced`, `empty_datagram`; `sent_alert_<name>` where
                OpenSSL refused the peer and did not say why.
        """
        if (observer := self.observer) is None:
            await self._shake(timeout_s, retransmit_s)
            return
        observer.tell(Happening.ENTERED)
        try:
            await self._shake(timeout_s, retransmit_s)
        except TransportFault as fault:
            if fault.kind != _TIMEOUT:  # nothing has happened: it waited, and is let go of
                observer.tell_failure(fault)
            raise
        observer.tell(Happening.FINISHED)
        observer.tell(Happening.CONFIRMED)

    async def _shake(self, timeout_s: float, retransmit_s: float) -> None:
        self._scope.deadline = self._setup_ends = trio.current_time() + timeout_s
        trio_dtls.send_by(self._channel, self._speak)
        trio_dtls.keep_answers(self._channel)
        with self._scope:
            try:
                await self._channel.do_handshake(initial_retransmit_timeout=retransmit_s)
                await trio.lowlevel.checkpoint_if_cancelled()  # it may be over, or we, since the answer was waited for
                self.most_bytes = self._channel.get_cleartext_mtu()
            except SSL.WantReadError as error:
                # What an empty datagram is for pyOpenSSL; trio cannot go on with a handshake that it has broken off.
                raise TransportFault(self._why("empty_datagram")) from error
            except SSL.Error as error:
                await self._tell_alert()
                raise TransportFault(self._why(kind_of_error(error))) from error
            except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise _fault(error) from error
            finally:
                trio_dtls.send_as_before(self._channel)
                trio_dtls.keep_no_more(self._channel)
            return
        raise TransportFault(self._why(_TIMEOUT))

    async def _tell_alert(self) -> None:
        """Send what OpenSSL has to say about a client's first hello: trio gives up before it does."""
        try:
            flight = trio_dtls.flight_of(self._connection.bio_read(_ALERT_BYTES))
        except SSL.WantReadError:
            return
        self.unmet = True
        with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            await self._send_flight(flight)

    @property
    def failure(self) -> str | None:
        """Why the handshake will fail, as far as that is certain."""
        return self.refusal or self._alert

    def _why(self, otherwise: str) -> str:
        """Why the handshake failed."""
        verifying.reraise(self)
        refused = verifying.refusal_of_server(self._connection) if self._alert else None
        return self.refusal or refused or self._alert or otherwise

    async def receive(self) -> bytes:
        """What the next datagram carries; never empty.

        Raises:
            EndOfStream: the peer ended the association.
            TransportFault: `replaced` (the peer began another one from the same address), `alert_<name>`.
        """
        while True:
            try:
                return await self._channel.receive()
            except SSL.ZeroReturnError as error:
                raise EndOfStream(orderly=True) from error
            except SSL.WantReadError:
                continue  # an empty datagram: dropped, as other junk is
            except SSL.Error as error:
                raise TransportFault(self._alert or kind_of_error(error)) from error
            except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise _fault(error) from error

    async def send(self, data: bytes | memoryview) -> None:
        """Send one datagram; `sending` must be held. `data` is encrypted before anything is waited for.

        Raises:
            TransportFault
        """
        try:
            await self._channel.send(data)  # type: ignore[arg-type]
        except SSL.Error as error:
            raise TransportFault(self._alert or kind_of_error(error)) from error
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise _fault(error) from error

    async def say_goodbye(self) -> None:
        """Tell the peer that nothing more comes (close_notify), once: it may get lost. Never fails."""
        channel = self._channel
        async with self.sending:
            with suppress(SSL.Error, OSError, trio.ClosedResourceError):
                self._connection.shutdown()
                await channel.endpoint.socket.sendto(self._connection.bio_read(1 << 16), channel.peer_address)

    def overflowed(self) -> int:
        """Datagrams that trio had for this association, and no room for."""
        return self._channel.statistics().incoming_packets_dropped_in_trio

    def close(self) -> None:
        """Forget the association; its peer is not told."""
        if self.observer is not None:
            self.observer.release()
        self._connection.set_app_data(None)
        self._channel.close()


def _fault(error: Exception) -> TransportFault:
    if isinstance(error, OSError):
        return TransportFault(kind_of_errno(error.errno))
    return TransportFault("replaced" if isinstance(error, trio.BrokenResourceError) else "closed")


def listen(address: tuple[str, int]) -> socket.socket:
    """A bound UDP socket with the largest buffers that the kernel gives.

    Raises:
        OSError: the address cannot be had.
    """
    sock = _socket(address[0])
    try:
        sock.bind(socket_address(*address))
    except OSError:
        sock.close()
        raise
    return sock


def endpoint_of(sock: socket.socket) -> trio.DTLSEndpoint:
    """trio's endpoint at a socket, which it then owns. Must be called in trio."""
    sock.setblocking(False)
    return trio.DTLSEndpoint(trio.socket.from_stdlib_socket(sock), incoming_packets_buffer=_WAITING_DATAGRAMS)


def dial(address: tuple[str, int], context: SSL.Context, source: str | None = None) -> trio.DTLSChannel:
    """A channel to `address` from a socket of its own: trio keeps one for each peer address. Nothing is sent yet.

    Args:
        source: the address that it is sent from; None: the kernel chooses.

    Raises:
        TransportFault: no socket to be had.
    """
    try:
        # As the kernel will tell it: trio knows a peer by exactly that.
        peer = socket_address(*address)
        sock = _socket(address[0])
    except OSError as error:
        raise TransportFault(kind_of_errno(error.errno)) from error
    if source is not None:
        try:
            sock.bind(socket_address(source, 0))
        except OSError as error:
            sock.close()
            in_use = error.errno == errno.EADDRINUSE  # each of its ports
            raise TransportFault("no_local_port" if in_use else kind_of_errno(error.errno)) from error
    return endpoint_of(sock).connect(peer, context)


def dropped_by_kernel(endpoint: trio.DTLSEndpoint) -> int:
    """Datagrams for the endpoint's socket that the kernel threw away, for want of room in its receive buffer."""
    found = endpoint.socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
    return int(_MEMINFO.unpack_from(found)[-1]) if len(found) == _MEMINFO.size else 0


def _socket(host: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
    return sock
