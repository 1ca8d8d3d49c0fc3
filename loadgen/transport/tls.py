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
from contextlib import suppress
from enum import IntEnum
from typing import NoReturn

from OpenSSL import SSL

from loadgen.transport import openssl, sslv2, verifying
from loadgen.transport.address import socket_address
from loadgen.transport.openssl import (
    Pointer,
    first_error,
    pointer_to,
    raise_error,
    ssl_error,
    ssl_handshake,
    ssl_read,
    ssl_write,
)
from loadgen.transport.tcp_info import Segments, segments_of, state_of
from loadgen.transport.tickets import can_be_offered
from loadgen.transport.trace import Happening, Observer
from loadgen.transport.verifying import ClockedContext, Ruling
from loadgen.transport.waiting import Waiting, ask_for_times, waiting

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
# IP_BIND_ADDRESS_NO_PORT of Linux, which Python 3.11 has no name for.
_BIND_ADDRESS_NO_PORT = 24
# Of plaintext, and what TLS adds at most.
_LARGEST_RECORD_BYTES = 16384 + 256 + 5


class Want(IntEnum):
    """What a connection waits for."""

    NOTHING = 0
    READ = 1
    WRITE = 2


# Looking a member up in an enum costs as much as ten comparisons.
_NOTHING = Want.NOTHING
# What a handshake that goes on waits for, by what OpenSSL says.
_WANTED = {openssl.WANT_READ: Want.READ, openssl.WANT_WRITE: Want.WRITE}


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


class Tunnel:
    """One TLS connection, its socket non-blocking and never waited for here.

    Attributes:
        wants: what the last call that did not finish waits for.
        blocked: a write waits for room in the socket; call `flush` when there is some, and write nothing before.
        verified, refusal, refused_certificate, ruling, broke: at a server's end, see `verifying.Applicant`.
        observer: what its handshake is told to, if it is traced.
        refused: we have given the handshake up, and said so (an alert): the peer may still be speaking, see `parting`.
        resumed: the handshake went on with an earlier session; known once it is done.
    """

    __slots__ = (
        "_broken",
        "_connection",
        "_cut",
        "_pending",
        "_server",
        "_socket",
        "_ssl",
        "_timed",
        "_unconfirmed",
        "_unheard",
        "blocked",
        "broke",
        "fd",
        "observer",
        "refusal",
        "refused",
        "refused_certificate",
        "resumed",
        "ruling",
        "verified",
        "wants",
    )

    def __init__(
        self, context: SSL.Context, sock: socket.socket, *, server: bool, observer: Observer | None = None
    ) -> None:
        self._socket = sock
        self.fd = sock.fileno()
        self._connection = SSL.Connection(context, sock)
        self._connection.set_app_data(self)
        if server:
            self._connection.set_accept_state()
        else:
            self._connection.set_connect_state()
        self._ssl = openssl.handle_of(self._connection)
        if isinstance(context, ClockedContext):
            context.read_clock(self._connection)
        self.observer = observer
        if observer is not None:
            self._connection.set_info_callback(observer.tell_state)
        self._pending: bytes | None = None
        self.blocked = False
        self.wants = _NOTHING
        self.refusal: str | None = None
        self.refused_certificate: bytes | None = None
        self.refused = False
        self.ruling: Ruling | None = None
        self.broke: BaseException | None = None
        self.verified: bool | None = None
        self._broken = ""  # how our close_notify failed
        self._cut = False  # a server's tickets met the client's reset
        self._timed = False  # the kernel was asked to tell when packets came
        self._server = server
        self._unheard = False  # the handshake is done for us, and the server may not have judged us yet
        self._unconfirmed = False  # the same, and there is an observer to be told when it has
        self.resumed = False

    def judged(self) -> None:
        """Nothing follows from it here: the handshake goes on, or does not."""

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
        return self._shake() if self.observer is None else self._shake_observed(self.observer)

    def _shake_observed(self, observer: Observer) -> bool:
        observer.tell(Happening.ENTERED)
        try:
            done = self._shake()
        except TransportFault as fault:
            observer.tell_failure(fault)
            raise
        observer.tell(Happening.FINISHED if done else Happening.WAITING)
        if done:
            self._unconfirmed = not (self._server or self.confirmed())
            if not self._unconfirmed:
                observer.tell(Happening.CONFIRMED)
        return done

    def _shake(self) -> bool:
        before = state_of(self._socket) if self._server else None
        result = ssl_handshake(self._ssl)
        if result != 1:
            if (wanted := _WANTED.get(ssl_error(self._ssl, result))) is None:
                self._not_shaken(result)
            self.wants = wanted
            return False
        self.wants = _NOTHING
        self.resumed = openssl.is_resumed(self._connection)
        self._unheard = not self._server and not self.confirmed()
        # OpenSSL takes no note of tickets that meet a reset; what is read then looks like the end by a FIN.
        self._cut = before is not None and (now := state_of(self._socket)) is not None and now.is_reset_since(before)
        return True

    def _not_shaken(self, result: int) -> NoReturn:
        try:
            raise_error(self._connection, self._ssl, result)
        except SSL.Error as error:
            verifying.reraise(self)
            kind = self.refusal or kind_of_error(error)
            if kind == _VERIFY_FAILED:
                kind = verifying.refusal_of_server(self._connection) or kind
            elif kind == _NO_RECORD and self._server and sslv2.waits_in(self._socket):
                kind = sslv2.KIND
            self.refused = not (isinstance(error, SSL.SysCallError) or kind.startswith("alert_"))
            raise TransportFault(kind) from error
        raise AssertionError("unreachable: pyOpenSSL raises whatever a handshake that has failed means")

    def confirmed(self) -> bool:
        """Whether a finished handshake means that the peer took our certificate: a client of TLS 1.3 is done first."""
        return self._connection.get_protocol_version() != SSL.TLS1_3_VERSION

    def negotiated(self) -> list[str]:
        """Version and cipher suite, by OpenSSL's names; the suite once it is in use."""
        suite = self._connection.get_cipher_name()
        return [self._connection.get_protocol_version_name(), *([suite] if suite else [])]

    @property
    def group(self) -> str | None:
        """The key-exchange group of a finished handshake, by OpenSSL's name; None: it had none (static RSA)."""
        return self._connection.get_group_name()

    def peer_certificate(self) -> bytes | None:
        """The peer's in DER, once the handshake has taken it, or refused it."""
        return verifying.peer_certificate(self._connection) or self.refused_certificate

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
        result = ssl_read(self._ssl, pointer_to(view), len(view))
        if result > 0:
            if self._unconfirmed:
                self._confirm()
            return result
        return self.nothing_read(result)

    def nothing_read(self, result: int) -> int:
        """What it means that SSL_read has returned this just now, which is not above 0; 0: there was nothing.

        Raises:
            EndOfStream, TransportFault.
        """
        noted = first_error()
        try:
            raise_error(self._connection, self._ssl, result)
        except SSL.WantReadError:
            return 0
        except SSL.WantWriteError:  # pragma: no cover - renegotiation and key updates only
            self.wants = Want.WRITE
            return 0
        except SSL.ZeroReturnError as error:
            raise EndOfStream(orderly=True) from error
        except SSL.SysCallError as error:
            openssl.forget_errors()
            if error.args[0] == -1:
                # Behind a warning (user_canceled: how JSSE ends with TLS 1.3), OpenSSL takes close_notify for an end of
                # TCP's; but it has noted it.
                ended = self._connection.get_shutdown() & SSL.RECEIVED_SHUTDOWN
                raise TransportFault("reset") if self._cut else EndOfStream(orderly=bool(ended)) from error
            raise TransportFault(kind_of_error(error)) from error
        except SSL.Error as error:
            if openssl.reason_number(noted) == _FATAL_CLOSE_NOTIFY:
                raise EndOfStream(orderly=True) from error
            # Once a goodbye could not be sent, OpenSSL reads no more, and does not say why either.
            raise TransportFault(self._broken or kind_of_error(error)) from error
        raise AssertionError("unreachable: pyOpenSSL raises whatever a read of nothing means")

    @property
    def address(self) -> int:
        """Where OpenSSL's end of the connection is in memory, once its handshake is done and something was read."""
        return openssl.address_of(self._ssl)

    def _confirm(self) -> None:
        self._unconfirmed = False
        if self.observer is not None:
            self.observer.tell(Happening.CONFIRMED)

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
        result = ssl_write(self._ssl, pointer_to(data), len(data))
        if result <= 0:
            self._not_written(result, data)

    def _write_unheard(self, data: bytes | memoryview) -> None:
        """A client's first write with TLS 1.3, which may go to a server that has refused it, and is gone.

        What comes back then is a reset, and in front of it lies the alert that says why; but OpenSSL reads no more once
        its own write has failed. So it writes to memory here, and what failed was the socket's doing.
        """
        self._unheard = False
        memory = openssl.MemoryEnds(self._ssl)
        ssl_write(self._ssl, pointer_to(data), len(data))
        record = memory.made()
        memory.give_way(self.fd)
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
        result = ssl_write(self._ssl, pointer, size)
        if result <= 0:
            self._not_written(result, openssl.bytes_at(pointer, size))

    def not_written_at(self, result: int, address: int, size: int) -> None:
        """SSL_write has returned this just now, which is not above 0, of so many bytes at this address: `blocked` then.

        Raises:
            TransportFault
        """
        self._not_written(result, openssl.bytes_at_address(address, size))

    def _not_written(self, result: int, data: bytes | memoryview) -> None:
        try:
            raise_error(self._connection, self._ssl, result)
        except (SSL.WantWriteError, SSL.WantReadError):
            self._pending = bytes(data)  # OpenSSL wants the same length again
            self.blocked = True
            self.wants = Want.WRITE
        except SSL.Error as error:
            openssl.forget_errors()
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
            self.wants = _NOTHING
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
            openssl.forget_errors()
            self._broken = kind_of_error(error)
            return False

    @property
    def broken(self) -> str:
        """The kind of what kept our goodbye from being sent: the peer had broken the connection off. Empty: nothing."""
        return self._broken

    def hang_up(self) -> None:
        """Tell the peer's TCP as well that nothing more comes; what it sends can still be read."""
        with suppress(OSError):  # it has gone already
            self._socket.shutdown(socket.SHUT_WR)

    def let_go(self) -> socket.socket:
        """End the tunnel; its socket is the caller's."""
        if self.observer is not None:
            self.observer.release()
        self._connection.set_app_data(None)
        return self._socket

    def close(self) -> None:
        """Give the socket back."""
        self.let_go().close()


def dial(address: tuple[str, int], source: str | None = None) -> socket.socket:
    """A non-blocking socket on its way to `address`.

    Args:
        source: the address that it comes from; None: the kernel chooses.

    Raises:
        TransportFault
    """
    sock = None
    try:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if source is not None:
            # The kernel finds a port when it connects, one that has no connection to this peer; now it would have to be
            # one that has none to anybody.
            sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
            sock.bind(socket_address(source, 0))
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
