"""TLS over TCP on a non-blocking socket, with every failure as a phase and a kind.

pyOpenSSL and not the standard library: a mutual handshake costs about a quarter less CPU, the verify callback lets an
auth list decide inside the handshake, and OpenSSL works on the file descriptor itself, so no bytes pass through Python
but those of the application.
"""

from __future__ import annotations

import errno
import fcntl
import re
import socket
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum
from typing import Any, TypeAlias

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from OpenSSL._util import ffi as _ffi
from OpenSSL._util import lib as _lib

from loadgen.transport import sslv2, verifying
from loadgen.transport.address import socket_address
from loadgen.transport.suites import offer
from loadgen.transport.tcp_info import Segments, segments_of
from loadgen.transport.tickets import can_be_offered
from loadgen.transport.verifying import CertificateCheck, Clock, ClockedContext
from loadgen.transport.waiting import Waiting, ask_for_times, waiting

# Makes an empty context of a method and a clock.
ContextMaker: TypeAlias = Callable[[int, Clock | None], ClockedContext]

_ERRNO_KINDS = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.ETIMEDOUT: "timeout",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.EADDRNOTAVAIL: "no_local_port",
    errno.EMFILE: "no_descriptor",
    errno.ENFILE: "no_descriptor",
}
# What OpenSSL says where a client finds the server's certificate wrong.
_VERIFY_FAILED = "certificate_verify_failed"
# What it says where the first bytes are no TLS record's.
_NO_RECORD = "wrong_version_number"
# Its number for a close_notify at the level of a fatal alert: with TLS 1.2 and before it is one, which has no words.
_FATAL_CLOSE_NOTIFY = 1000
# Of plaintext, and what TLS adds at most.
_LARGEST_RECORD_BYTES = 16384 + 256 + 5

# A place in a pinned buffer; adding a number of bytes to it gives another.
Pointer: TypeAlias = Any


def pin(buffer: bytearray) -> Pointer:
    """Where a buffer begins. It cannot be resized while that is kept."""
    return _ffi.from_buffer("char[]", buffer)


class Want(IntEnum):
    """What a connection waits for."""

    NOTHING = 0
    READ = 1
    WRITE = 2


class TransportFault(Exception):
    """A connection failed. `kind` is a short constant: the last part of a counter's name."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        super().__init__(kind)


class EndOfStream(TransportFault):
    """The peer ended its side of the connection. Args: orderly: after a close_notify, and not by TCP alone."""

    def __init__(self, *, orderly: bool) -> None:
        self.orderly = orderly
        super().__init__("closed" if orderly else "closed_without_notify")


def server_context(
    key_pem: bytes,
    certificate_pem: bytes,
    chain_pem: bytes,
    version: str,
    check: CertificateCheck | None,
    *,
    tickets: bool = False,
    strong: bool = True,
    old_certificates: bool = False,
    trusted_pem: bytes | None = None,
    clock: Clock | None = None,
    make: ContextMaker = ClockedContext,
) -> SSL.Context:
    """The context of one WLC identity. It asks for a client certificate.

    Args:
        check: decides about valid certificates, which it makes mandatory; None lets everybody in, with or without one.
        tickets: let clients resume their sessions; without, every handshake is a full one.
        strong, old_certificates: `strong_cipher` and what else is taken, see `suites`.
        trusted_pem: where chains of CA-signed client certificates must end; None: they are not followed.
        clock: whether a certificate is valid is judged by; None: the machine's.
        make: of `dtls.DatagramContext` it becomes one for DTLS.
    """
    context = make(SSL.TLS_SERVER_METHOD, clock)
    _fill(context, key_pem, certificate_pem, chain_pem, version, strong=strong, old_certificates=old_certificates)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    if tickets:
        context.set_session_id(b"loadgen")  # OpenSSL resumes nobody's session with client certificates without one
    else:
        context.set_options(SSL.OP_NO_TICKET)
    if check is None:
        verifying.ask_for_certificates(context)
    else:
        verifying.demand_certificates(context, check, trusted_pem)
    return context


def client_context(
    key_pem: bytes,
    certificate_pem: bytes,
    chain_pem: bytes,
    version: str,
    trusted_pem: bytes | None,
    *,
    strong: bool = True,
    old_certificates: bool = False,
    clock: Clock | None = None,
    make: ContextMaker = ClockedContext,
) -> SSL.Context:
    """The context of one MSE identity. The server's chain must end in `trusted_pem`; None takes any certificate.

    Args:
        key_pem: empty: it has no certificate to show.
        strong, old_certificates, clock, make: as of `server_context`.
    """
    context = make(SSL.TLS_CLIENT_METHOD, clock)
    _fill(context, key_pem, certificate_pem, chain_pem, version, strong=strong, old_certificates=old_certificates)
    if trusted_pem is not None:
        verifying.add_trust(context, trusted_pem)
    context.set_verify(SSL.VERIFY_NONE if trusted_pem is None else SSL.VERIFY_PEER)
    return context


def _fill(
    context: SSL.Context,
    key_pem: bytes,
    certificate_pem: bytes,
    chain_pem: bytes,
    version: str,
    *,
    strong: bool,
    old_certificates: bool,
) -> None:
    offer(context, version, strong=strong, old_certificates=old_certificates)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # an idle session keeps no buffers: 25 KiB instead of 46
    if key_pem:
        key = load_pem_private_key(key_pem, None)
        verifying.show(context, certificate_pem, chain_pem)
        context.use_privatekey(key)  # type: ignore[arg-type]


class Tunnel:
    """One TLS connection, its socket non-blocking and never waited for here.

    Attributes:
        wants: what the last call that did not finish waits for.
        blocked: a write waits for room in the socket; call `flush` when there is some, and write nothing before.
        verified: whether the chain of a client's certificate holds; None if there was nothing to judge, or not yet.
        refusal: why we refused the client's certificate.
        refused_certificate: in DER, where OpenSSL refused it before anybody was asked.
        refused: we have given the handshake up, and said so (an alert): the peer may still be speaking, see `parting`.
        resumed: the handshake went on with an earlier session; known once it is done.
    """

    __slots__ = (
        "_broken",
        "_connection",
        "_pending",
        "_server",
        "_socket",
        "_ssl",
        "_timed",
        "_unheard",
        "blocked",
        "fd",
        "refusal",
        "refused",
        "refused_certificate",
        "resumed",
        "verified",
        "wants",
    )

    def __init__(self, context: SSL.Context, sock: socket.socket, *, server: bool) -> None:
        self._socket = sock
        self.fd = sock.fileno()
        self._connection = SSL.Connection(context, sock)
        self._connection.set_app_data(self)
        if server:
            self._connection.set_accept_state()
        else:
            self._connection.set_connect_state()
        # SSL_read and SSL_write go to OpenSSL directly: pyOpenSSL's methods around them cost 2 us a call (a fifth of
        # sending or receiving one small message), and its recv_into copies through a buffer of its own. What they
        # return is judged by pyOpenSSL all the same.
        self._ssl = self._connection._ssl  # noqa: SLF001
        if isinstance(context, ClockedContext):
            context.read_clock(self._ssl)
        self._pending: bytes | None = None
        self.blocked = False
        self.wants = Want.NOTHING
        self.refusal: str | None = None
        self.refused_certificate: bytes | None = None
        self.refused = False
        self.verified: bool | None = None
        self._broken = ""  # how our close_notify failed
        self._timed = False  # the kernel was asked to tell when packets came
        self._server = server
        self._unheard = False  # the handshake is done for us, and the server may not have judged us yet
        self.resumed = False

    def judged(self) -> None:
        """In the handshake, at a server's end: `verified` and `refusal` are what came of the client's certificate."""

    def resume(self, ticket: SSL.Session) -> None:
        """Offer an earlier session, before the handshake."""
        self._connection.set_session(ticket)

    def ticket(self) -> SSL.Session | None:
        """The session that a later handshake may resume, if the server gave one. With TLS 1.3 it comes after the
        handshake.
        """
        session = self._connection.get_session()
        return session if session is not None and can_be_offered(session) else None

    def handshake(self) -> bool:
        """Go on with the handshake; True when it is done, else see `wants`.

        Raises:
            TransportFault: it failed; kinds are errors of TCP, `alert_<name>` (the peer refused us) or why we refused.
        """
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            self.wants = Want.READ
            return False
        except SSL.WantWriteError:
            self.wants = Want.WRITE
            return False
        except SSL.Error as error:
            verifying.reraise()
            kind = self.refusal or kind_of_error(error)
            if kind == _VERIFY_FAILED:
                kind = verifying.refusal_of_server(self._ssl) or kind
            elif kind == _NO_RECORD and self._server and sslv2.waits_in(self._socket):
                kind = sslv2.KIND
            self.refused = not (isinstance(error, SSL.SysCallError) or kind.startswith("alert_"))
            raise TransportFault(kind) from error
        self.wants = Want.NOTHING
        self.resumed = bool(_lib.SSL_session_reused(self._ssl))
        self._unheard = not self._server and _lib.SSL_version(self._ssl) == SSL.TLS1_3_VERSION
        return True

    def waiting(self) -> Waiting | None:
        """What is to be read next; None if nothing is, or the kernel does not tell since when."""
        if not self._timed:
            ask_for_times(self._socket)
            self._timed = True
        return waiting(self._socket)

    def read_into(self, view: memoryview) -> int:
        """Read at most one TLS record's worth; 0 if nothing is there.

        Raises:
            EndOfStream, TransportFault.
        """
        result: int = _lib.SSL_read(self._ssl, _ffi.from_buffer(view), len(view))
        if result > 0:
            return result
        reason = _lib.ERR_GET_REASON(_lib.ERR_peek_error())
        try:
            self._connection._raise_ssl_error(self._ssl, result)  # noqa: SLF001
        except SSL.WantReadError:
            return 0
        except SSL.WantWriteError:  # pragma: no cover - renegotiation and key updates only
            self.wants = Want.WRITE
            return 0
        except SSL.ZeroReturnError as error:
            raise EndOfStream(orderly=True) from error
        except SSL.SysCallError as error:
            # pyOpenSSL leaves its part in OpenSSL's queue, where the next connection's end would be taken for it.
            _lib.ERR_clear_error()
            if error.args[0] == -1:
                # Behind a warning (user_canceled: how JSSE ends with TLS 1.3), OpenSSL takes close_notify for an end of
                # TCP's; but it has noted it.
                ended = self._connection.get_shutdown() & SSL.RECEIVED_SHUTDOWN
                raise EndOfStream(orderly=bool(ended)) from error
            raise TransportFault(kind_of_error(error)) from error
        except SSL.Error as error:
            if reason == _FATAL_CLOSE_NOTIFY:
                raise EndOfStream(orderly=True) from error
            # Once a goodbye could not be sent, OpenSSL reads no more, and does not say why either.
            raise TransportFault(self._broken or kind_of_error(error)) from error
        raise AssertionError("unreachable: pyOpenSSL raises whatever a read of nothing means")

    def write(self, data: bytes | memoryview) -> None:
        """Send at most one TLS record's plaintext (16 KiB).

        Where the socket is full, OpenSSL has encrypted all of it already; the connection is `blocked` until it is gone,
        and the caller's buffer is free for other use.

        Raises:
            TransportFault
        """
        assert not self.blocked
        if self._unheard:
            self._write_unheard(data)
            return
        result = _lib.SSL_write(self._ssl, _ffi.from_buffer(data), len(data))
        if result <= 0:
            self._not_written(result, data)

    def _write_unheard(self, data: bytes | memoryview) -> None:
        """A client's first write with TLS 1.3, which may go to a server that has refused it, and is gone.

        What comes back then is a reset, and in front of it lies the alert that says why; but OpenSSL reads no more once
        its own write has failed. So it writes to memory here, and what failed was the socket's doing.
        """
        self._unheard = False
        memory = _lib.BIO_new(_lib.BIO_s_mem())
        _lib.SSL_set_bio(self._ssl, _lib.BIO_new(_lib.BIO_s_mem()), memory)  # OpenSSL's to free from here on
        _lib.SSL_write(self._ssl, _ffi.from_buffer(data), len(data))
        buffer = _ffi.new("char[]", _LARGEST_RECORD_BYTES)
        record = bytes(_ffi.buffer(buffer, max(0, _lib.BIO_read(memory, buffer, _LARGEST_RECORD_BYTES))))
        _lib.SSL_set_fd(self._ssl, self.fd)
        try:
            sent = self._socket.send(record)
        except OSError as error:
            raise self._last_word() or TransportFault(kind_of_errno(error.errno)) from error
        if sent < len(record):
            raise TransportFault("no_room")  # nothing is in flight but a handshake: the peer's window is closed

    def _last_word(self) -> TransportFault | None:
        """The alert that a peer which is gone has left, if it has."""
        try:
            self.read_into(memoryview(bytearray(_LARGEST_RECORD_BYTES)))
        except TransportFault as fault:
            return fault if fault.kind.startswith("alert_") else None
        return None

    def write_at(self, pointer: Pointer, size: int) -> None:
        """`write` of `size` bytes in a pinned buffer; saves 0.5 us."""
        assert not self.blocked
        result = _lib.SSL_write(self._ssl, pointer, size)
        if result <= 0:
            self._not_written(result, bytes(_ffi.buffer(pointer, size)))

    def _not_written(self, result: int, data: bytes | memoryview) -> None:
        try:
            self._connection._raise_ssl_error(self._ssl, result)  # noqa: SLF001
        except (SSL.WantWriteError, SSL.WantReadError):
            self._pending = bytes(data)  # OpenSSL wants the same length again
            self.blocked = True
            self.wants = Want.WRITE
        except SSL.Error as error:
            _lib.ERR_clear_error()
            raise TransportFault(kind_of_error(error)) from error

    def flush(self) -> bool:
        """Try again what was blocked; True when it is gone.

        Raises:
            TransportFault
        """
        data, self._pending, self.blocked = self._pending, None, False
        if data is not None:
            try:
                self.write(data)
            except TransportFault:
                self._pending = data  # it never went: `unacknowledged_bytes`
                raise
        if not self.blocked:
            self.wants = Want.NOTHING
        return not self.blocked

    def unread(self) -> bool:
        """Something has come that OpenSSL has not looked at."""
        return any(fcntl.ioctl(self.fd, termios.FIONREAD, b"\0\0\0\0"))

    def unacknowledged_bytes(self) -> int:
        """What was written, and the peer's TCP has not taken yet; with TLS's own bytes."""
        held = fcntl.ioctl(self.fd, termios.TIOCOUTQ, b"\0\0\0\0")
        return int.from_bytes(held, sys.byteorder) + len(self._pending or b"")

    def allow_unsent(self, size: int) -> None:
        """Take no more than this many bytes for which the peer has no room yet."""
        with suppress(OSError):  # it has gone already
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, size)

    def segments(self) -> Segments | None:
        """Of its TCP connection; None where the kernel does not tell."""
        return segments_of(self._socket)

    def close_notify(self) -> bool:
        """Say that nothing more comes; True if the peer said so too. Never fails: the connection ends either way."""
        try:
            return self._connection.shutdown()
        except SSL.Error as error:
            _lib.ERR_clear_error()
            self._broken = kind_of_error(error)
            return False

    def hang_up(self) -> None:
        """Tell the peer's TCP as well that nothing more comes; what it sends can still be read."""
        with suppress(OSError):  # it has gone already
            self._socket.shutdown(socket.SHUT_WR)

    def let_go(self) -> socket.socket:
        """End the tunnel; its socket is the caller's."""
        self._connection.set_app_data(None)
        return self._socket

    def close(self) -> None:
        """Give the socket back."""
        self.let_go().close()


def dial(address: tuple[str, int]) -> socket.socket:
    """A non-blocking socket on its way to `address`.

    Raises:
        TransportFault
    """
    sock = None
    try:
        sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        result = sock.connect_ex(socket_address(*address))
    except OSError as error:
        if sock is not None:
            sock.close()
        raise TransportFault(kind_of_errno(error.errno)) from error
    if result not in (0, errno.EINPROGRESS):
        sock.close()
        raise TransportFault(kind_of_errno(result))
    return sock


def dial_result(sock: socket.socket) -> None:
    """The outcome of `dial`, once the socket is writable.

    Raises:
        TransportFault
    """
    if result := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise TransportFault(kind_of_errno(result))


def kind_of_errno(number: int | None) -> str:
    """`refused`, `reset`, ...; `errno_<number>` for what has no name here."""
    return _ERRNO_KINDS.get(number or 0) or errno.errorcode.get(number or 0, f"errno_{number}").lower()


def kind_of_error(error: SSL.Error) -> str:
    """`alert_<name>`, or OpenSSL's own words with underscores, or what TCP says."""
    if isinstance(error, SSL.SysCallError):
        return "closed" if error.args[0] == -1 else kind_of_errno(error.args[0])
    reasons = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return kind_of_reason(reasons[-1][2] if reasons else "unknown")


def kind_of_reason(reason: str) -> str:
    """The same of OpenSSL's words."""
    words = re.sub(r"[^a-z0-9]+", "_", reason.lower()).strip("_")
    # "tlsv1 alert unknown ca", "ssl/tls alert certificate unknown": the peer's alert by its name
    _, alert, name = words.partition("alert_")
    return "alert_" + name if alert else words or "unknown"
