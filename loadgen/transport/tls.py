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
from enum import IntEnum
from typing import Any, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto
from OpenSSL._util import ffi as _ffi
from OpenSSL._util import lib as _lib

# What decides about a client's certificate: None to let it in, or a short reason for the counters.
CertificateCheck: TypeAlias = Callable[[x509.Certificate], str | None]

# What X.509 says of a self-signed certificate that is in no store; the auth list decides about those.
_SELF_SIGNED_CODES = frozenset({18, 19, 20, 21})  # X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT ... UNABLE_TO_VERIFY_LEAF
# What cryptography raises for a certificate that OpenSSL took and it does not.
_UNREADABLE = (ValueError, TypeError, x509.InvalidVersion, UnsupportedAlgorithm)
_VERIFY_KINDS = {9: "certificate_not_yet_valid", 10: "certificate_expired"}

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
_VERSIONS = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}


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
    """The peer closed; `orderly` if it said so (close_notify) before."""

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
) -> SSL.Context:
    """The context of one WLC identity. It demands a client certificate; `check` None lets any of them in.

    Args:
        tickets: let clients resume their sessions; without, every handshake is a full one.
    """
    context = _context(SSL.TLS_SERVER_METHOD, key_pem, certificate_pem, chain_pem, version)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    if tickets:
        context.set_session_id(b"loadgen")  # OpenSSL resumes nobody's session with client certificates without one
    else:
        context.set_options(SSL.OP_NO_TICKET)

    def verify(connection: SSL.Connection, peer: crypto.X509, code: int, depth: int, ok: int) -> bool:
        tunnel = connection.get_app_data()
        tunnel.resumed = False
        if not ok and code not in _SELF_SIGNED_CODES:
            tunnel.refusal = _VERIFY_KINDS.get(code, f"certificate_error_{code}")
            return False
        # OpenSSL asks again with ok=1 once a self-signed certificate was let pass: the verdict stands.
        if depth or check is None or tunnel.checked:
            return True
        try:
            tunnel.refusal = check(peer.to_cryptography())
        except _UNREADABLE:
            tunnel.refusal = "certificate_malformed"
        tunnel.checked = tunnel.refusal is None
        return bool(tunnel.checked)

    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, verify)
    return context


def client_context(
    key_pem: bytes,
    certificate_pem: bytes,
    chain_pem: bytes,
    version: str,
    trusted_pem: bytes | None,
    *,
    tickets: bool = False,
) -> SSL.Context:
    """The context of one MSE identity. The server's chain must end in `trusted_pem`; None takes any certificate.

    Args:
        tickets: its tunnels can tell whether they resumed a session.
    """
    context = _context(SSL.TLS_CLIENT_METHOD, key_pem, certificate_pem, chain_pem, version)
    mode = SSL.VERIFY_NONE
    if trusted_pem is not None:
        mode = SSL.VERIFY_PEER
        store = context.get_cert_store()
        assert store is not None
        for certificate in x509.load_pem_x509_certificates(trusted_pem):
            store.add_cert(crypto.X509.from_cryptography(certificate))
    context.set_verify(mode, _note_full_handshake if tickets else None)
    return context


def _note_full_handshake(connection: SSL.Connection, _peer: crypto.X509, _code: int, _depth: int, ok: int) -> bool:
    """Certificates are looked at in full handshakes only; what OpenSSL thinks of them stands."""
    tunnel = connection.get_app_data()
    tunnel.resumed = False
    return bool(ok) or connection.get_context().get_verify_mode() == SSL.VERIFY_NONE


def _context(method: int, key_pem: bytes, certificate_pem: bytes, chain_pem: bytes, version: str) -> SSL.Context:
    context = SSL.Context(method)
    context.set_min_proto_version(_VERSIONS[version])
    context.set_max_proto_version(_VERSIONS[version])
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # an idle session keeps no buffers: 25 KiB instead of 46
    key = load_pem_private_key(key_pem, None)
    context.use_privatekey(key)  # type: ignore[arg-type]
    context.use_certificate(x509.load_pem_x509_certificate(certificate_pem))
    for certificate in x509.load_pem_x509_certificates(chain_pem) if chain_pem else ():
        context.add_extra_chain_cert(certificate)
    return context


class Tunnel:
    """One TLS connection, its socket non-blocking and never waited for here.

    Attributes:
        wants: what the last call that did not finish waits for.
        blocked: a write waits for room in the socket; call `flush` when there is some, and write nothing before.
        refusal: why our check refused the peer's certificate.
        resumed: the handshake went on with an earlier session; known once it is done.
    """

    __slots__ = (
        "_connection",
        "_pending",
        "_socket",
        "_ssl",
        "blocked",
        "checked",
        "fd",
        "refusal",
        "resumed",
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
        self._pending: bytes | None = None
        self.blocked = False
        self.wants = Want.NOTHING
        self.refusal: str | None = None
        self.checked = False
        self.resumed = server  # until a certificate is seen; a client must offer a session first

    def resume(self, ticket: SSL.Session) -> None:
        """Offer an earlier session, before the handshake; the context must be one for tickets."""
        self._connection.set_session(ticket)
        self.resumed = True

    def ticket(self) -> SSL.Session | None:
        """The session that a later handshake may resume. With TLS 1.3 it comes after the handshake."""
        return self._connection.get_session()

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
            raise TransportFault(self.refusal or _kind_of(error)) from error
        self.wants = Want.NOTHING
        return True

    def read_into(self, view: memoryview) -> int:
        """Read at most one TLS record's worth; 0 if nothing is there.

        Raises:
            EndOfStream, TransportFault.
        """
        result: int = _lib.SSL_read(self._ssl, _ffi.from_buffer(view), len(view))
        if result > 0:
            return result
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
                raise EndOfStream(orderly=False) from error
            raise TransportFault(_kind_of(error)) from error
        except SSL.Error as error:
            raise TransportFault(_kind_of(error)) from error
        raise AssertionError("unreachable: pyOpenSSL raises whatever a read of nothing means")

    def write(self, data: bytes | memoryview) -> None:
        """Send at most one TLS record's plaintext (16 KiB).

        Where the socket is full, OpenSSL has encrypted all of it already; the connection is `blocked` until it is gone,
        and the caller's buffer is free for other use.

        Raises:
            TransportFault
        """
        assert not self.blocked
        result = _lib.SSL_write(self._ssl, _ffi.from_buffer(data), len(data))
        if result <= 0:
            self._not_written(result, data)

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
            raise TransportFault(_kind_of(error)) from error

    def flush(self) -> bool:
        """Try again what was blocked; True when it is gone.

        Raises:
            TransportFault
        """
        data, self._pending, self.blocked = self._pending, None, False
        if data is not None:
            self.write(data)
        if not self.blocked:
            self.wants = Want.NOTHING
        return not self.blocked

    def unacknowledged_bytes(self) -> int:
        """What was written, and the peer's TCP has not taken yet; with TLS's own bytes."""
        held = fcntl.ioctl(self.fd, termios.TIOCOUTQ, b"\0\0\0\0")
        return int.from_bytes(held, sys.byteorder) + len(self._pending or b"")

    def close_notify(self) -> bool:
        """Say that nothing more comes; True if the peer said so too. Never fails: the connection ends either way."""
        try:
            return self._connection.shutdown()
        except SSL.Error:
            _lib.ERR_clear_error()
            return False

    def close(self) -> None:
        """Give the socket back."""
        self._connection.set_app_data(None)
        self._socket.close()


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
        result = sock.connect_ex(address)
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


def _kind_of(error: SSL.Error) -> str:
    if isinstance(error, SSL.SysCallError):
        return "closed" if error.args[0] == -1 else kind_of_errno(error.args[0])
    reasons = error.args[0] if error.args and isinstance(error.args[0], list) else []
    reason = reasons[-1][2] if reasons else "unknown"
    words = re.sub(r"[^a-z0-9]+", "_", reason.lower()).strip("_")
    # "tlsv1 alert unknown ca", "ssl/tls alert certificate unknown": the peer's alert by its name
    _, alert, name = words.partition("alert_")
    return "alert_" + name if alert else words or "unknown"
