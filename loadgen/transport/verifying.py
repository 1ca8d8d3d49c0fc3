"""How a WLC judges a client's certificate inside the handshake, and which alert it refuses with.

pyOpenSSL's own verify callback cannot say why it refuses, and OpenSSL then sends `internal_error` (80). The alert
follows from the error code that the callback leaves in the verification (X509_STORE_CTX_set_error): OpenSSL has a table
from codes to alerts, and sends `certificate_unknown` (46), as the controllers in the field do, for codes not in it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, TypeAlias

from OpenSSL import SSL, crypto
from OpenSSL._util import ffi as _ffi
from OpenSSL._util import lib as _lib

# What decides about a client's certificate, given in DER: None to let it in, or a short reason for the counters.
CertificateCheck: TypeAlias = Callable[[bytes], str | None]
# A side's own time, in seconds since the epoch.
Clock: TypeAlias = Callable[[], float]

_OK, _SELF_SIGNED, _REJECTED = 0, 18, 28  # X509_V_OK, X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, X509_V_ERR_CERT_REJECTED
# SELF_SIGNED_CERT_IN_CHAIN, UNABLE_TO_GET_ISSUER_CERT_LOCALLY, UNABLE_TO_VERIFY_LEAF_SIGNATURE
_NO_ANCHOR = frozenset({19, 20, 21})
# X509_V_FLAG_NO_CHECK_TIME: whether it is valid at some time is asked elsewhere.
NO_CHECK_TIME = 0x200000
# None of OpenSSL's: whoever is not on the list gets certificate_unknown.
_NOT_LISTED = 10_000
# OpenSSL's X509_V_ERR_*, as far as real gear brings them about. Others become certificate_error_<number>.
_KINDS = {
    7: "certificate_signature_wrong",
    9: "certificate_not_yet_valid",
    10: "certificate_expired",
    13: "certificate_dates_unreadable",
    14: "certificate_dates_unreadable",
    22: "chain_too_long",
    25: "chain_too_long",
    26: "certificate_for_another_purpose",
    34: "certificate_extension_unknown",
    66: "certificate_key_too_small",
    67: "chain_key_too_small",
    68: "certificate_signature_too_weak",
    79: "chain_not_of_authorities",
} | dict.fromkeys(_NO_ANCHOR, "chain_not_trusted")

# Reasons of a check that OpenSSL has a code of its own for, and so an alert.
_CODES = {"certificate_not_yet_valid": 9, "certificate_expired": 10, "certificate_dates_unreadable": 13}

_END = re.compile(rb"-----END CERTIFICATE-----\s*")

_SIGNATURE = "int (*)(int, X509_STORE_CTX *)"

# What went wrong in a callback, which C code cannot raise; `reraise` does.
_raised: list[BaseException] = []


class ClockedContext(SSL.Context):
    """A context whose tunnels judge validity by another clock than the machine's."""

    def __init__(self, method: int, clock: Clock | None) -> None:
        super().__init__(method)
        self._clock = clock

    def read_clock(self, ssl: Any) -> None:
        """For every new tunnel: what it verifies is judged by what the clock shows now."""
        if self._clock is not None:
            _lib.X509_VERIFY_PARAM_set_time(_lib.SSL_get0_param(ssl), int(self._clock()))


def skewed(skew_s: float, to_unix_s: float) -> Clock | None:
    """A clock that is ahead of the machine's (or behind, if negative); None: it is not.

    Args:
        to_unix_s: turns the machine's monotonic clock into seconds since the epoch.
    """
    return (lambda: time.monotonic() + to_unix_s + skew_s) if skew_s else None


def ask_for_certificates(context: SSL.Context) -> None:
    """Ask clients for a certificate, and let everybody in, with any or with none."""
    _set_verify(context, SSL.VERIFY_PEER, _let_pass)


def demand_certificates(context: SSL.Context, check: CertificateCheck, trusted_pem: bytes | None) -> None:
    """Let clients in whose certificate is valid, and whom `check` lets in; the connection's tunnel is told why not.

    Args:
        check: asked once in a full handshake, when the chain has been judged.
        trusted_pem: where the chain of a certificate that is not self-signed must end: at any of these. None: anywhere.
    """
    if trusted_pem is not None:
        add_trust(context, trusted_pem)
    refused = _KINDS if trusted_pem is not None else {code: _KINDS[code] for code in _KINDS.keys() - _NO_ANCHOR}
    passing = frozenset({_SELF_SIGNED}) if trusted_pem is not None else _NO_ANCHOR | {_SELF_SIGNED}
    index = _lib.SSL_get_ex_data_X509_STORE_CTX_idx()

    def judge(ok: int, store_context: Any) -> int:
        ssl = _lib.X509_STORE_CTX_get_ex_data(store_context, index)
        tunnel = SSL.Connection._reverse_mapping[ssl].get_app_data()  # noqa: SLF001
        if not ok:
            code = _lib.X509_STORE_CTX_get_error(store_context)
            if code not in passing:
                tunnel.verified, tunnel.refusal = False, refused.get(code, f"certificate_error_{code}")
                tunnel.refused_certificate = der_of(_lib.X509_STORE_CTX_get0_cert(store_context))
                return 0
            _lib.X509_STORE_CTX_set_error(store_context, _OK)
            return 1
        if _lib.X509_STORE_CTX_get_error_depth(store_context):
            return 1
        # The client's own certificate, and nothing is wrong with it or those above it: this comes once, and last.
        tunnel.verified = True
        code = _NOT_LISTED
        try:
            tunnel.refusal = check(der_of(_lib.X509_STORE_CTX_get_current_cert(store_context)))
        except ValueError:  # OpenSSL took it, and whoever judges cannot read it
            tunnel.verified, tunnel.refusal, code = False, "certificate_malformed", _REJECTED
        tunnel.judged()
        if tunnel.refusal is None:
            return 1
        code = _CODES.get(tunnel.refusal, code)
        _lib.X509_STORE_CTX_set_error(store_context, code)
        return 0

    def note(_kind: object, error: BaseException, _traceback: object) -> None:
        _raised.append(error)

    callback = _ffi.callback(_SIGNATURE, judge, error=0, onerror=note)
    _set_verify(context, SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, callback)


def add_trust(context: SSL.Context, trusted_pem: bytes) -> None:
    """Chains may end at any of these certificates, also where they are not self-signed."""
    store = context.get_cert_store()
    assert store is not None
    for certificate in certificates_of(trusted_pem):
        store.add_cert(certificate)
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)


def reraise() -> None:
    """After a handshake has failed: if that is because of an error in our own check, raise it."""
    if _raised:
        raise _raised.pop()


def refusal_of_server(ssl: Any) -> str | None:
    """Why we, a client, refused the server's certificate, where that has a kind of its own."""
    kind = _KINDS.get(_lib.SSL_get_verify_result(ssl))
    return None if kind == "chain_not_trusted" else kind


def first_judged(ssl: Any) -> bytes | None:
    """The server's certificate in DER, whether we, a client, took it or not; None if it was not judged."""
    chain = _lib.SSL_get0_verified_chain(ssl)
    return None if chain == _ffi.NULL else der_of(_lib.sk_X509_value(chain, 0))


def unfitness(certificate_pem: bytes, chain_pem: bytes) -> str | None:
    """What OpenSSL finds wrong with a client's certificate and the chain it sends, whoever is trusted and whatever the
    time is: a kind; None if nothing.
    """
    certificate, *above = [*certificates_of(certificate_pem), *certificates_of(chain_pem)]
    store = crypto.X509Store()
    store.add_cert([certificate, *above][-1])
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN | NO_CHECK_TIME)
    _lib.X509_STORE_set_purpose(store._store, _lib.X509_PURPOSE_SSL_CLIENT)  # noqa: SLF001
    try:
        crypto.X509StoreContext(store, certificate, above).verify_certificate()
    except crypto.X509StoreContextError as error:
        kind = _KINDS.get(error.errors[0])
        return None if kind == "chain_not_trusted" else kind
    return None


@_ffi.callback(_SIGNATURE)  # type: ignore[untyped-decorator]
def _let_pass(_ok: int, store_context: Any) -> int:
    _lib.X509_STORE_CTX_set_error(store_context, _OK)
    return 1


def _set_verify(context: SSL.Context, mode: int, callback: Any) -> None:
    # Where pyOpenSSL keeps its own callback; without a reference, this one's memory would be given back.
    context._verify_callback = callback  # noqa: SLF001
    _lib.SSL_CTX_set_verify(context._context, mode, callback)  # noqa: SLF001


def show(context: SSL.Context, certificate_pem: bytes, chain_pem: bytes) -> None:
    """Have a context show a certificate and its chain. Read by OpenSSL, which takes more than other libraries.

    Raises:
        SSL.Error: OpenSSL does not take it, by the rules of its security level.
    """
    (certificate,) = certificates_of(certificate_pem)
    if not _lib.SSL_CTX_use_certificate(context._context, certificate._x509):  # noqa: SLF001
        SSL._raise_current_error()  # noqa: SLF001
    for issuer in certificates_of(chain_pem):
        _lib.X509_up_ref(issuer._x509)  # noqa: SLF001 - the context's from here on
        if not _lib.SSL_CTX_add_extra_chain_cert(context._context, issuer._x509):  # noqa: SLF001
            SSL._raise_current_error()  # noqa: SLF001


def certificates_of(pem: bytes) -> list[crypto.X509]:
    """All certificates in a PEM text, as OpenSSL reads them. Raises: crypto.Error: one is damaged."""
    ends = [found.end() for found in _END.finditer(pem)]
    begins = [0, *ends]
    return [crypto.load_certificate(crypto.FILETYPE_PEM, pem[a:b]) for a, b in zip(begins, ends, strict=False)]


def der_of(certificate: Any) -> bytes:
    """The bytes of OpenSSL's certificate, which stays OpenSSL's."""
    _lib.X509_up_ref(certificate)
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, crypto.X509._from_raw_x509_ptr(certificate))  # noqa: SLF001
