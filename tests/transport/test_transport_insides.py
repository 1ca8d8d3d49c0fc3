"""What we use of others' insides, each part with what it is for: in a version that lost one, its test fails by name.

What only an object has is looked for on one, which is made without any of these. Modules of ours are read and not
imported: they could not be.
"""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import re
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import trio
import trio._dtls
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate
from OpenSSL import SSL, _util, crypto

from loadgen.identity.credentials import new_key, self_signed

ROOT = Path(__file__).parents[2]
TRANSPORT = ROOT / "loadgen" / "transport"

PYOPENSSL = {
    "SSL.Connection._ssl": "the handle that OpenSSL's own functions take",
    "SSL.Connection._raise_ssl_error": "what a read or a write of nothing means, and a handshake that failed",
    "SSL.Connection._reverse_mapping": "from the handle that a verification has to its connection, and its tunnel",
    "SSL.Context._context": "contexts for what pyOpenSSL has no method for: signatures, messages, verifying",
    "SSL.Context._verify_callback": "keeps our callback alive for as long as the context lives",
    "SSL.Session._session": "whether a session can be offered again",
    "SSL._raise_current_error": "OpenSSL's words as an exception",
    "crypto.X509._x509": "certificates are shown as OpenSSL has read them",
    "crypto.X509._from_raw_x509_ptr": "a certificate that is being judged, in DER",
    "crypto.X509Store._store": "the purpose that certificates are verified for",
    "_util.ffi": "C's memory and callbacks",
    "_util.lib": "OpenSSL's own functions",
}
# Of cryptography's binding of OpenSSL, which gives up what pyOpenSSL itself no longer needs.
OPENSSL = {
    "SSL_read": "a record's bytes without a copy",
    "SSL_write": "a record's bytes without a copy",
    "SSL_do_handshake": "a handshake that waits, without an exception",
    "SSL_get_error": "what it waits for",
    "SSL_ERROR_WANT_READ": "what it waits for",
    "SSL_ERROR_WANT_WRITE": "what it waits for",
    "SSL_set_fd": "back to the socket, once memory is not needed",
    "SSL_set_bio": "a handshake in memory: an answer that waits; a first write whose reader may have refused us",
    "BIO_new": "that memory",
    "BIO_s_mem": "that memory",
    "BIO_read": "that memory",
    "BIO_write": "that memory",
    "ERR_peek_error": "a close_notify that is a fatal alert; why an alert is about to be sent over DTLS",
    "ERR_GET_REASON": "the same",
    "ERR_reason_error_string": "the same",
    "ERR_clear_error": "what pyOpenSSL leaves of one connection, in front of another",
    "SSL_session_reused": "`handshakes.resumed`",
    "SSL_get_verify_result": "why a client refused the server's certificate",
    "SSL_get0_param": "clocks that are not the machine's",
    "X509_VERIFY_PARAM_set_time": "clocks that are not the machine's",
    "i2d_SSL_SESSION": "whether a session can be offered again",
    "SSL_CTX_set1_sigalgs_list": "SHA-1 in certificates, and nowhere else (`tls.old_certificates`)",
    "SSL_CTX_set1_curves_list": "key-exchange groups (`tls.groups`)",
    "SSL_CTX_use_certificate": "certificates that OpenSSL takes and cryptography does not",
    "SSL_CTX_add_extra_chain_cert": "certificates that OpenSSL takes and cryptography does not",
    "SSL_CTX_set_msg_callback": "what both ends say in a handshake (`loadgen check`)",
    "SSL_CTX_set_verify": "a callback that says why it refuses, and so with which alert",
    "SSL_get_ex_data_X509_STORE_CTX_idx": "from a verification to its connection",
    "X509_STORE_CTX_get_ex_data": "from a verification to its connection",
    "X509_STORE_CTX_get_error": "what is wrong with a certificate",
    "X509_STORE_CTX_set_error": "which alert a refusal is told with",
    "X509_STORE_CTX_get_error_depth": "whether it is the client's own",
    "X509_STORE_CTX_get_current_cert": "the certificate that the check is asked about",
    "X509_STORE_CTX_get0_cert": "the client's own, where one above it is refused",
    "X509_STORE_set_purpose": "whether a certificate of ours is fit for a client",
    "X509_PURPOSE_SSL_CLIENT": "whether a certificate of ours is fit for a client",
    "X509_up_ref": "certificates that stay OpenSSL's",
}
TRIO = {
    "trio.DTLSChannel._ssl": "callbacks, alerts and a goodbye, which trio has no way for",
    "trio.DTLSChannel._client_hello": "which attempts of a client are the same",
    "trio.DTLSChannel._send_volley": "an answer that waits, and flights that trio's patience must not cut short",
    "trio._dtls.decode_volley_trusted": "the alert that refuses a first hello",
}


# -- what there is -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPENSSL)
def test_cryptography_has(name: str) -> None:
    assert hasattr(_util.lib, name), f"gone from cryptography {version('cryptography')}: {name} ({OPENSSL[name]})"


@pytest.mark.parametrize("path", PYOPENSSL)
def test_pyopenssl_has(path: str) -> None:
    assert has(path, pyopenssl_objects()), f"gone from pyOpenSSL {version('pyOpenSSL')}: {path} ({PYOPENSSL[path]})"


@pytest.mark.parametrize("path", TRIO)
def test_trio_has(path: str) -> None:
    assert has(path, trio_objects()), f"gone from trio {version('trio')}: {path} ({TRIO[path]})"


def test_a_part_that_is_gone_would_be_missed() -> None:
    assert not has("SSL.Connection._gone", pyopenssl_objects())
    assert not has("trio.DTLSChannel._gone", trio_objects())
    assert not hasattr(_util.lib, "SSL_gone")


def test_pyopenssl_raises_what_a_read_means_by_handle_and_result() -> None:
    assert list(inspect.signature(SSL.Connection._raise_ssl_error).parameters) == ["self", "ssl", "result"]


def test_trio_sends_a_flight_by_what_it_is_given() -> None:
    assert list(inspect.signature(trio.DTLSChannel._send_volley).parameters) == ["self", "volley_messages"]
    assert inspect.iscoroutinefunction(trio.DTLSChannel._send_volley)


def has(path: str, objects: dict[str, Any]) -> bool:
    owner, _, name = path.rpartition(".")
    return hasattr(objects[owner], name)


@cache
def pyopenssl_objects() -> dict[str, Any]:
    """By the way to it: an object of each class."""
    ours = self_signed("02:00:00:00:00:01", new_key("p256"), datetime(2026, 1, 1, tzinfo=UTC))
    context = SSL.Context(SSL.TLS_METHOD)
    context.use_certificate(load_pem_x509_certificate(ours.certificate_pem))
    context.use_privatekey(load_pem_private_key(ours.key_pem, None))  # type: ignore[arg-type]
    server, client = SSL.Connection(context, None), SSL.Connection(context, None)
    server.set_accept_state()
    client.set_connect_state()
    for near, far in 3 * [(client, server), (server, client)]:  # only after a handshake is there a session
        with suppress(SSL.WantReadError):
            near.do_handshake()
        with suppress(SSL.WantReadError):
            far.bio_write(near.bio_read(1 << 16))
    return {
        "SSL": SSL,
        "SSL.Connection": client,
        "SSL.Context": context,
        "SSL.Session": client.get_session(),
        "crypto.X509": crypto.load_certificate(crypto.FILETYPE_PEM, ours.certificate_pem),
        "crypto.X509Store": crypto.X509Store(),
        "_util": _util,
    }


@cache
def trio_objects() -> dict[str, Any]:
    async def channel() -> trio.DTLSChannel:
        with trio.DTLSEndpoint(trio.socket.socket(type=trio.socket.SOCK_DGRAM)) as endpoint:
            return endpoint.connect(("127.0.0.1", 9), SSL.Context(SSL.DTLS_METHOD))

    return {"trio._dtls": trio._dtls, "trio.DTLSChannel": trio.run(channel)}


# -- what is used ------------------------------------------------------------------------------------------------------


def test_of_openssl_s_functions_just_these_are_used() -> None:
    used = {node.attr for node in attributes("openssl") if isinstance(node.value, ast.Name) and node.value.id == "_lib"}
    assert used == set(OPENSSL)


def test_of_pyopenssl_s_insides_just_these_are_used() -> None:
    assert privates("openssl") | {"ffi", "lib"} == {path.rpartition(".")[2] for path in PYOPENSSL}


def test_of_trio_s_insides_just_these_are_used() -> None:
    assert privates("trio_dtls") | {"decode_volley_trusted"} == {path.rpartition(".")[2] for path in TRIO}


def attributes(module: str) -> Iterator[ast.Attribute]:
    tree = ast.parse((TRANSPORT / f"{module}.py").read_text("utf-8"))
    return (node for node in ast.walk(tree) if isinstance(node, ast.Attribute))


def privates(module: str) -> set[str]:
    return {
        node.attr
        for node in attributes(module)
        if node.attr.startswith("_") and not (isinstance(node.value, ast.Name) and node.value.id == "self")
    }


# -- which versions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("package", ["trio", "pyOpenSSL", "cryptography"])
def test_a_version_that_nobody_has_tried_is_not_installed(package: str) -> None:
    """Bounds on both sides, the pinned version and the one that is here within them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (least, below) = next(
        found.groups()
        for text in project["dependencies"]
        if (found := re.fullmatch(rf"{package}>=([\d.]+),<([\d.]+)", text))
    )
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text("utf-8").split())
    for there in (pins[package], version(package)):
        assert numbers(least) <= numbers(there) < numbers(below)


def version(package: str) -> str:
    return importlib.metadata.version(package)


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(".")]
