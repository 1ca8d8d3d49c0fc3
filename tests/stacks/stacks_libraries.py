"""Stacks that are met in this process, by what their shared library or their Python package exports.

Those with OpenSSL's interface: BoringSSL, and OpenSSL of the years that real controllers are of. s2n-tls is in the
package awscrt.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import importlib.util
import os
import re
import socket
import struct
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from stacks_peers import PATIENCE_S, serving
from stacks_programs import REFUSAL_S, Make, needs_module

_VERSIONS = ("1.0", "1.1", "1.2", "1.3")
_NUMBERS = {"1.0": 0x301, "1.1": 0x302, "1.2": 0x303, "1.3": 0x304}
# Files of libssl, with ":" between them; wheels of years ago carry some (psycopg2-binary 2.7.4: OpenSSL 1.0.2n, 2.8.6:
# 1.1.1g), with other libraries beside them, which LD_LIBRARY_PATH has to name.
_OLD_OPENSSL = "OLD_OPENSSL"
_BORINGSSL = Path("/usr/lib/x86_64-linux-gnu/android/libssl.so.0")


def blocking(sock: socket.socket) -> int:
    """Its descriptor, for a library that waits by itself: never longer than a refusal takes."""
    sock.setblocking(True)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", int(PATIENCE_S), 0))
    return sock.fileno()


def _for_a_refusal(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, round(REFUSAL_S * 1e6)))


def _calling(shake: Callable[[socket.socket], str], port: int) -> str:
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as sock:
        return shake(sock)


# -- OpenSSL's interface -----------------------------------------------------------------------------------------------

_PEM, _PEER, _PEER_AND_FAIL = 1, 1, 3
# Up to 1.0.2 a version is a method.
_METHODS = {"1.0": "TLSv1_method", "1.1": "TLSv1_1_method", "1.2": "TLSv1_2_method"}
_SET_ECDH_AUTO, _SET_LOWEST, _SET_HIGHEST = 94, 123, 124
_LET_IN = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p)(lambda _, __: 1)
_JUDGE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p)(lambda ok, _: ok)


class _OpenSsl:
    """A libssl, by its file."""

    def __init__(self, path: str) -> None:
        self._lib = ctypes.CDLL(path)
        # Those who have no such thing begin by themselves.
        if hasattr(self._lib, "SSL_library_init"):
            self._lib.SSL_library_init()
        if hasattr(self._lib, "SSL_load_error_strings"):
            self._lib.SSL_load_error_strings()
        self._lib.SSL_CTX_new.restype = self._lib.SSL_new.restype = ctypes.c_void_p

    def shake(self, name: str, version: str, trusts: bool, folder: Path, sock: socket.socket) -> str:
        lib, serves = self._lib, name == "wlc"
        context = ctypes.c_void_p(lib.SSL_CTX_new(self._method(version)))
        self._only(context, version)
        for use, kind in ((lib.SSL_CTX_use_certificate_file, "crt"), (lib.SSL_CTX_use_PrivateKey_file, "key")):
            assert use(context, os.fsencode(folder / f"{name}.{kind}"), _PEM) == 1
        lib.SSL_CTX_set_verify(context, _PEER_AND_FAIL if serves else _PEER, _LET_IN if trusts else _JUDGE)
        connection = ctypes.c_void_p(lib.SSL_new(context))
        lib.SSL_set_fd(connection, blocking(sock))
        try:
            done = lib.SSL_accept(connection) if serves else lib.SSL_connect(connection)
            if done != 1:
                return self._error()
            _for_a_refusal(sock)
            byte = ctypes.create_string_buffer(1)
            lib.SSL_read(connection, byte, 1)
            end = self._error()
            lib.SSL_shutdown(connection)
            return f"up, {end}"
        finally:
            lib.SSL_free(connection)
            lib.SSL_CTX_free(context)

    def _method(self, version: str) -> ctypes.c_void_p:
        name = (
            "TLS_method"
            if hasattr(self._lib, "TLS_method")
            else f"TLSv1{version[1:].replace('.0', '').replace('.', '_')}_method"
        )
        method = getattr(self._lib, name)
        method.restype = ctypes.c_void_p
        return ctypes.c_void_p(method())

    def _only(self, context: ctypes.c_void_p, version: str) -> None:
        if not hasattr(self._lib, "TLS_method"):
            # 1.0.2 has no curve at all unless it is told to choose.
            self._lib.SSL_CTX_ctrl(context, _SET_ECDH_AUTO, ctypes.c_long(1), None)
            return
        number = _NUMBERS[version]
        if hasattr(self._lib, "SSL_CTX_set_min_proto_version"):
            assert self._lib.SSL_CTX_set_min_proto_version(context, ctypes.c_uint16(number))
            assert self._lib.SSL_CTX_set_max_proto_version(context, ctypes.c_uint16(number))
        else:
            for which in (_SET_LOWEST, _SET_HIGHEST):
                assert self._lib.SSL_CTX_ctrl(context, which, ctypes.c_long(number), None)

    def _error(self) -> str:
        words = ctypes.create_string_buffer(256)
        self._lib.ERR_get_error.restype = ctypes.c_ulong
        self._lib.ERR_error_string_n(ctypes.c_ulong(self._lib.ERR_get_error()), words, ctypes.c_size_t(256))
        return words.value.decode()


@cache
def _openssl(path: str) -> _OpenSsl:
    return _OpenSsl(path)


def _openssl_calls(path: str, port: int, version: str, trusts: bool, folder: Path) -> str:
    return _calling(partial(_openssl(path).shake, "mse", version, trusts, folder), port)


def _openssl_waits(path: str, version: str, trusts: bool, folder: Path) -> contextlib.AbstractContextManager[int]:
    return serving(partial(_openssl(path).shake, "wlc", version, trusts, folder))


def _with_openssl_s_interface(name: str, path: str, missing: str, versions: tuple[str, ...]) -> Make:
    return Make(
        name,
        missing,
        versions,
        partial(_openssl_calls, path),
        partial(_openssl_waits, path),
        "(?i)certificate.unknown",
        True,
    )


def _old_openssl() -> list[Make]:
    paths = os.environ.get(_OLD_OPENSSL, "").split(":")
    made = []
    for path in filter(None, paths):
        number = re.search(r"\.so\.(.*)$", path)
        assert number is not None, f"{_OLD_OPENSSL}: {path} is no libssl.so.<version>"
        made.append(
            _with_openssl_s_interface(f"OpenSSL {number[1]}", path, "", _VERSIONS[: 4 if number[1] >= "1.1.1" else 3])
        )
    return made or [
        _with_openssl_s_interface(
            "old OpenSSL", "", f"{_OLD_OPENSSL} names no libssl, as wheels of its time have it", _VERSIONS
        )
    ]


# -- s2n-tls -----------------------------------------------------------------------------------------------------------

# Names of what it offers; it has no other way to choose a version.
_POLICIES = {"1.2": b"ELBSecurityPolicy-TLS-1-2-Ext-2018-06", "1.3": b"default_tls13"}
_S2N_CERTIFICATE_REQUIRED, _S2N_NO_DELAY = 1, 1


@cache
def _s2n() -> Any:
    found = importlib.util.find_spec("_awscrt")
    assert found is not None
    lib = ctypes.CDLL(found.origin)
    for name in ("s2n_config_new_minimal", "s2n_connection_new", "s2n_cert_chain_and_key_new", "s2n_errno_location"):
        getattr(lib, name).restype = ctypes.c_void_p
    lib.s2n_strerror_name.restype = ctypes.c_char_p
    lib.s2n_init()
    return lib


def _s2n_shake(name: str, version: str, trusts: bool, folder: Path, sock: socket.socket) -> str:
    lib, serves = _s2n(), name == "wlc"
    config = ctypes.c_void_p(lib.s2n_config_new_minimal())
    pair = ctypes.c_void_p(lib.s2n_cert_chain_and_key_new())
    lib.s2n_cert_chain_and_key_load_pem(
        pair, (folder / f"{name}.crt").read_bytes(), (folder / f"{name}.key").read_bytes()
    )
    lib.s2n_config_add_cert_chain_and_key_to_store(config, pair)
    lib.s2n_config_set_cipher_preferences(config, _POLICIES[version])
    lib.s2n_config_set_client_auth_type(config, _S2N_CERTIFICATE_REQUIRED)
    if trusts:
        lib.s2n_config_disable_x509_verification(config)
    connection = ctypes.c_void_p(lib.s2n_connection_new(0 if serves else 1))
    lib.s2n_connection_set_config(connection, config)
    # When a handshake has failed, it would wait for 10 to 30 seconds.
    lib.s2n_connection_set_blinding(connection, _S2N_NO_DELAY)
    lib.s2n_connection_set_fd(connection, blocking(sock))
    blocked = ctypes.c_int()
    words = "up, "
    if lib.s2n_negotiate(connection, ctypes.byref(blocked)) == 0:
        _for_a_refusal(sock)
        lib.s2n_recv(connection, ctypes.create_string_buffer(1), ctypes.c_ssize_t(1), ctypes.byref(blocked))
    else:
        words = ""
    number = ctypes.cast(lib.s2n_errno_location(), ctypes.POINTER(ctypes.c_int))[0]
    words += f"{lib.s2n_strerror_name(number).decode()}, alert {lib.s2n_connection_get_alert(connection)}"
    lib.s2n_shutdown(connection, ctypes.byref(blocked))
    return words


def _s2n_calls(port: int, version: str, trusts: bool, folder: Path) -> str:
    return _calling(partial(_s2n_shake, "mse", version, trusts, folder), port)


def _s2n_waits(version: str, trusts: bool, folder: Path) -> contextlib.AbstractContextManager[int]:
    return serving(partial(_s2n_shake, "wlc", version, trusts, folder))


LIBRARIES = (
    _with_openssl_s_interface(
        "BoringSSL", str(_BORINGSSL), "" if _BORINGSSL.exists() else "android-libboringssl is not installed", _VERSIONS
    ),
    *_old_openssl(),
    Make("s2n-tls", needs_module("awscrt"), ("1.2", "1.3"), _s2n_calls, _s2n_waits, "alert 46", True),
)
