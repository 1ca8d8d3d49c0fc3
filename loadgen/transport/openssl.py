"""The insides of pyOpenSSL, and of the OpenSSL that cryptography carries: all that we use of them is here.

Neither promises to keep any of it, so both have an upper bound in pyproject.toml, and
`tests/transport/test_transport_insides.py` says of each part what it is for, and which one is gone.

What is called for every record is OpenSSL's own function under a name of ours, with no call of Python's in between:
pyOpenSSL's methods around them cost 2 us a call (a fifth of sending or receiving one small message), its recv_into
copies through a buffer of its own, and its do_handshake raises an exception, twice in each handshake, where there is
only something to wait for. What they return is judged by pyOpenSSL all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from cryptography.hazmat.bindings._rust import _openssl
from OpenSSL import SSL, crypto
from OpenSSL._util import ffi as _ffi
from OpenSSL._util import lib as _lib

# OpenSSL's end of a connection (SSL *), of a verification (X509_STORE_CTX *), of a certificate (X509 *).
Handle: TypeAlias = Any
Verification: TypeAlias = Any
Certificate: TypeAlias = Any
# A place in a pinned buffer; adding a number of bytes to it gives another.
Pointer: TypeAlias = Any
# Asked for each certificate of a chain, ok or not, the peer's own last; what it returns is whether to go on.
Judge: TypeAlias = Callable[[int, Verification], int]

_CHUNK_BYTES = 32768

# -- of each record ----------------------------------------------------------------------------------------------------

ssl_read: Callable[[Handle, Pointer, int], int] = _lib.SSL_read
ssl_write: Callable[[Handle, Pointer, int], int] = _lib.SSL_write
# Goes on with a handshake; 1: it is done. What anything else means, `ssl_error` tells (SSL_ERROR_*).
ssl_handshake: Callable[[Handle], int] = _lib.SSL_do_handshake
ssl_error: Callable[[Handle, int], int] = _lib.SSL_get_error
WANT_READ: int = _lib.SSL_ERROR_WANT_READ
WANT_WRITE: int = _lib.SSL_ERROR_WANT_WRITE
pointer_to: Callable[[bytes | memoryview], Pointer] = _ffi.from_buffer
# What OpenSSL has noted first; 0: nothing.
first_error: Callable[[], int] = _lib.ERR_peek_error
# Raises whatever a read or a write of nothing means. Takes what OpenSSL has noted.
raise_error: Callable[[SSL.Connection, Handle, int], None] = SSL.Connection._raise_ssl_error


def pin(buffer: bytearray) -> Pointer:
    """Where a buffer begins. It cannot be resized while that is kept."""
    return _ffi.from_buffer("char[]", buffer)


def bytes_at(pointer: Pointer, size: int) -> bytes:
    """A copy of what lies there."""
    return bytes(_ffi.buffer(pointer, size))


def function_address(name: str) -> int:
    """Where a function of OpenSSL's is in memory, for the native turn."""
    return int(_ffi.cast("uintptr_t", _openssl.ffi.addressof(_openssl.lib, name)))


def address_of(handle: Handle) -> int:
    """Where OpenSSL's end of a connection is in memory; it stays there until the connection is no more."""
    return int(_ffi.cast("uintptr_t", handle))


def bytes_at_address(address: int, size: int) -> bytes:
    """A copy of what lies there."""
    return bytes(_ffi.buffer(_ffi.cast("char *", address), size))


# -- errors ------------------------------------------------------------------------------------------------------------


def reason_number(error: int) -> int:
    """The reason alone, of what `first_error` returned."""
    return int(_lib.ERR_GET_REASON(error))


def first_reason() -> str | None:
    """OpenSSL's words for what it has noted first."""
    words = _lib.ERR_reason_error_string(_lib.ERR_peek_error())
    return None if words == _ffi.NULL else _ffi.string(words).decode()


def forget_errors() -> None:
    """pyOpenSSL leaves some in OpenSSL's queue, where the next connection's end would be taken for them."""
    _lib.ERR_clear_error()


# -- connections -------------------------------------------------------------------------------------------------------


def handle_of(connection: SSL.Connection) -> Handle:
    """For `ssl_read`, `ssl_write` and `raise_error`."""
    return connection._ssl


def is_resumed(connection: SSL.Connection) -> bool:
    """Whether a finished handshake went on with an earlier session."""
    return bool(_lib.SSL_session_reused(connection._ssl))


def verify_at(connection: SSL.Connection, unix_s: int) -> None:
    """Judge certificates as if it were that time."""
    _lib.X509_VERIFY_PARAM_set_time(_lib.SSL_get0_param(connection._ssl), unix_s)


def verify_result(connection: SSL.Connection) -> int:
    """What came of verifying the peer (X509_V_*)."""
    return int(_lib.SSL_get_verify_result(connection._ssl))


def session_der(session: SSL.Session) -> bytes:
    """A session as OpenSSL writes it down; pyOpenSSL tells nothing of it."""
    size = _lib.i2d_SSL_SESSION(session._session, _ffi.NULL)
    buffer = _ffi.new("unsigned char[]", size)
    _lib.i2d_SSL_SESSION(session._session, _ffi.new("unsigned char **", buffer))
    return bytes(_ffi.buffer(buffer, size))


class MemoryEnds:
    """Memory that a connection reads and writes, in the place of its socket, until `give_way`."""

    __slots__ = ("_came", "_handle", "_made")

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._came, self._made = _lib.BIO_new(_lib.BIO_s_mem()), _lib.BIO_new(_lib.BIO_s_mem())
        _lib.SSL_set_bio(handle, self._came, self._made)  # both are OpenSSL's to free from here on

    def put(self, data: bytes) -> None:
        """Let it come in."""
        _lib.BIO_write(self._came, data, len(data))

    def left(self) -> int:
        """Forget what has come in and OpenSSL has not taken; returns how many bytes."""
        return len(_drained(self._came))

    def made(self) -> bytes:
        """What OpenSSL has written since it was asked last."""
        return _drained(self._made)

    def give_way(self, fd: int) -> None:
        """To a socket."""
        _lib.SSL_set_fd(self._handle, fd)


def _drained(memory: Any) -> bytes:
    buffer, found = _ffi.new("char[]", _CHUNK_BYTES), b""
    while (size := _lib.BIO_read(memory, buffer, _CHUNK_BYTES)) > 0:
        found += bytes(_ffi.buffer(buffer, size))
    return found


# -- contexts ----------------------------------------------------------------------------------------------------------


def sign_with(context: SSL.Context, algorithms: str) -> None:
    """Signature algorithms for handshakes, by OpenSSL's names, with colons in between."""
    if not _lib.SSL_CTX_set1_sigalgs_list(context._context, algorithms.encode()):
        SSL._raise_current_error()


def exchange_with(context: SSL.Context, groups: str) -> bool:
    """Key-exchange groups, by OpenSSL's names, with colons in between; False: it does not know all of them."""
    if _lib.SSL_CTX_set1_curves_list(context._context, groups.encode()):
        return True
    forget_errors()
    return False


def show(context: SSL.Context, certificate: crypto.X509) -> None:
    """Have a context show a certificate, as OpenSSL has read it: pyOpenSSL would have cryptography read it.

    Raises:
        SSL.Error: OpenSSL does not take it, by the rules of its security level.
    """
    if not _lib.SSL_CTX_use_certificate(context._context, certificate._x509):
        SSL._raise_current_error()


def show_above(context: SSL.Context, certificate: crypto.X509) -> None:
    """The same of the next certificate of the chain."""
    _lib.X509_up_ref(certificate._x509)  # the context's from here on
    if not _lib.SSL_CTX_add_extra_chain_cert(context._context, certificate._x509):
        SSL._raise_current_error()


def on_messages(context: SSL.Context, take: Callable[..., None]) -> object:
    """Call `take` with each message of connections that are made from now on, as SSL_CTX_set_msg_callback(3) says.

    Returns what must live as long as they do.
    """
    callback = _ffi.callback("void (*)(int, int, int, void *, size_t, SSL *, void *)", take)
    _lib.SSL_CTX_set_msg_callback(context._context, callback)
    return callback


# -- verifying ---------------------------------------------------------------------------------------------------------

_EX_DATA = _lib.SSL_get_ex_data_X509_STORE_CTX_idx()
# Of the certificate that is being judged: what is wrong with it (X509_V_*), how far it is from the peer's own.
error_of: Callable[[Verification], int] = _lib.X509_STORE_CTX_get_error
set_error: Callable[[Verification, int], None] = _lib.X509_STORE_CTX_set_error
depth_of: Callable[[Verification], int] = _lib.X509_STORE_CTX_get_error_depth


def set_verify(context: SSL.Context, mode: int, judge: Judge) -> None:
    """Have `judge` decide. pyOpenSSL's own callback cannot say why it refuses."""
    callback = _ffi.callback("int (*)(int, X509_STORE_CTX *)", judge, error=0)
    # Where pyOpenSSL keeps its own callback; without a reference, this one's memory would be given back.
    context._verify_callback = callback
    _lib.SSL_CTX_set_verify(context._context, mode, callback)


def owner_of(verification: Verification) -> Any:
    """The application data of the connection whose peer is being judged."""
    return SSL.Connection._reverse_mapping[_lib.X509_STORE_CTX_get_ex_data(verification, _EX_DATA)].get_app_data()


def judged_certificate(verification: Verification) -> bytes:
    """The one that is being judged, in DER."""
    return _der_of(_lib.X509_STORE_CTX_get_current_cert(verification))


def own_certificate(verification: Verification) -> bytes:
    """The peer's own, in DER, whichever is being judged."""
    return _der_of(_lib.X509_STORE_CTX_get0_cert(verification))


def judge_as_clients(store: crypto.X509Store) -> None:
    """Certificates that are verified by a store must be fit for a TLS client."""
    _lib.X509_STORE_set_purpose(store._store, _lib.X509_PURPOSE_SSL_CLIENT)


def _der_of(certificate: Certificate) -> bytes:
    """The bytes of OpenSSL's certificate, which stays OpenSSL's."""
    _lib.X509_up_ref(certificate)
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, crypto.X509._from_raw_x509_ptr(certificate))
