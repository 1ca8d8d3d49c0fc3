"""How a WLC judges a client's certificate inside the handshake, and which alert it refuses with.

pyOpenSSL's own verify callback cannot say why it refuses, and OpenSSL then sends `internal_error` (80). The alert
follows from the error code that the callback leaves in the verification (X509_STORE_CTX_set_error): OpenSSL has a table
from codes to alerts, and sends `certificate_unknown` (46), as the controllers in the field do, for codes not in it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeAlias

from OpenSSL import SSL, crypto

from loadgen.transport import openssl
from loadgen.transport.openssl import Verification
from loadgen.transport.trace import Happening, Observer


class Ruling(NamedTuple):
    """What a check says of a client.

    Attributes:
        refusal: a short reason for the counters; None: it is let in.
        list: which of the lists that were asked knew it, from 1; 0: none.
        wait_ns: how long the answer takes; the check itself does not wait.
    """

    refusal: str | None = None
    list: int = 0
    wait_ns: int = 0


class Applicant(Protocol):
    """A server's tunnel or association, whose client asks to be let in.

    Attributes:
        verified: whether the chain of a client's certificate holds; None if there was nothing to judge, or not yet.
        refusal: why we refused the client's certificate.
        refused_certificate: in DER, where OpenSSL refused it before anybody was asked.
        ruling: what the check said, if it was asked.
        broke: what went wrong in the check, which C code cannot raise; `reraise` does.
        observer: of its handshake.
    """

    verified: bool | None
    refusal: str | None
    refused_certificate: bytes | None
    ruling: Ruling | None
    broke: BaseException | None
    observer: Observer | None

    def judged(self) -> None:
        """`verified`, `refusal` and `ruling` are what came of the client's certificate."""


# What decides about a client's certificate, given in DER. Raises: ValueError: it cannot be read.
CertificateCheck: TypeAlias = Callable[[Applicant, bytes], Ruling]
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


class ClockedContext(SSL.Context):
    """A context whose tunnels judge validity by another clock than the machine's."""

    def __init__(self, method: int, clock: Clock | None) -> None:
        super().__init__(method)
        self._clock = clock

    def read_clock(self, connection: SSL.Connection) -> None:
        """For every new tunnel: what it verifies is judged by what the clock shows now."""
        if self._clock is not None:
            openssl.verify_at(connection, int(self._clock()))


def skewed(skew_s: float, to_unix_s: float) -> Clock | None:
    """A clock that is ahead of the machine's (or behind, if negative); None: it is not.

    Args:
        to_unix_s: turns the machine's monotonic clock into seconds since the epoch.
    """
    return (lambda: time.monotonic() + to_unix_s + skew_s) if skew_s else None


def ask_for_certificates(context: SSL.Context) -> None:
    """Ask clients for a certificate, and let everybody in, with any or with none."""
    openssl.set_verify(context, SSL.VERIFY_PEER, _let_pass)


def demand_certificates(context: SSL.Context, check: CertificateCheck, trusted_pem: bytes | None) -> None:
    """Let clients in whose certificate is valid, and whom `check` lets in; the tunnel is told why not. It is its
    connection's application data.

    Args:
        check: asked once in a full handshake, when the chain has been judged.
        trusted_pem: where the chain of a certificate that is not self-signed must end: at any of these. None: anywhere.
    """
    if trusted_pem is not None:
        add_trust(context, trusted_pem)
    refused = _KINDS if trusted_pem is not None else {code: _KINDS[code] for code in _KINDS.keys() - _NO_ANCHOR}
    passing = frozenset({_SELF_SIGNED}) if trusted_pem is not None else _NO_ANCHOR | {_SELF_SIGNED}

    def judge(ok: int, verification: Verification) -> int:
        if ok and openssl.depth_of(verification):
            return 1
        tunnel: Applicant = openssl.owner_of(verification)
        if not ok:
            code = openssl.error_of(verification)
            if code not in passing:
                tunnel.verified, tunnel.refusal = False, refused.get(code, f"certificate_error_{code}")
                tunnel.refused_certificate = openssl.own_certificate(verification)
                return 0
            openssl.set_error(verification, _OK)
            return 1
        # The client's own certificate, and nothing is wrong with it or those above it: this comes once, and last.
        try:
            code = _ask(tunnel, check, openssl.judged_certificate(verification))
        except BaseException as error:
            tunnel.broke = error
            return 0
        openssl.set_error(verification, code)
        return int(code == _OK)

    openssl.set_verify(context, SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, judge)


def _ask(tunnel: Applicant, check: CertificateCheck, certificate: bytes) -> int:
    """Ask the check about a valid certificate; returns the code that the verification ends with."""
    tunnel.verified = True
    code = _NOT_LISTED
    try:
        tunnel.ruling = check(tunnel, certificate)
        tunnel.refusal = tunnel.ruling.refusal
    except ValueError:  # OpenSSL took it, and the check cannot read it
        tunnel.verified, tunnel.refusal, code = False, "certificate_malformed", _REJECTED
    tunnel.judged()
    return _OK if tunnel.refusal is None else _CODES.get(tunnel.refusal, code)


def observed(check: CertificateCheck) -> CertificateCheck:
    """A check that tells a tunnel's observer when it is asked and what it answers."""

    def watched(tunnel: Applicant, certificate: bytes) -> Ruling:
        if (observer := tunnel.observer) is None:
            return check(tunnel, certificate)
        observer.tell(Happening.CHECKING)
        ruling = check(tunnel, certificate)
        observer.tell(Happening.CHECKED, text=ruling.refusal or "")
        return ruling

    return watched


def add_trust(context: SSL.Context, trusted_pem: bytes) -> None:
    """Chains may end at any of these certificates, also where they are not self-signed."""
    store = context.get_cert_store()
    assert store is not None
    for certificate in certificates_of(trusted_pem):
        store.add_cert(certificate)
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)


def reraise(applicant: Applicant) -> None:
    """After a handshake has failed: if that is because of an error in our own check, raise it."""
    if applicant.broke is not None:
        raise applicant.broke


def refusal_of_server(connection: SSL.Connection) -> str | None:
    """Why we, a client, refused the server's certificate, where that has a kind of its own."""
    kind = _KINDS.get(openssl.verify_result(connection))
    return None if kind == "chain_not_trusted" else kind


def peer_certificate(connection: SSL.Connection) -> bytes | None:
    """The peer's in DER, once the handshake has taken it, or, at a client's end, refused it."""
    certificate = connection.get_peer_certificate()
    if certificate is None and (judged := connection.get_verified_chain()):
        certificate = judged[0]
    return None if certificate is None else crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)


def unfitness(certificate_pem: bytes, chain_pem: bytes) -> str | None:
    """What OpenSSL finds wrong with a client's certificate and the chain it sends, whoever is trusted and whatever the
    time is: a kind; None if nothing.
    """
    certificate, *above = [*certificates_of(certificate_pem), *certificates_of(chain_pem)]
    store = crypto.X509Store()
    store.add_cert([certificate, *above][-1])
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN | NO_CHECK_TIME)
    openssl.judge_as_clients(store)
    try:
        crypto.X509StoreContext(store, certificate, above).verify_certificate()
    except crypto.X509StoreContextError as error:
        kind = _KINDS.get(error.errors[0])
        return None if kind == "chain_not_trusted" else kind
    return None


def _let_pass(_ok: int, verification: Verification) -> int:
    openssl.set_error(verification, _OK)
    return 1


def show(context: SSL.Context, certificate_pem: bytes, chain_pem: bytes) -> None:
    """Have a context show a certificate and its chain. Read by OpenSSL, which takes more than other libraries.

    Raises:
        SSL.Error: OpenSSL does not take it, by the rules of its security level.
    """
    (certificate,) = certificates_of(certificate_pem)
    openssl.show(context, certificate)
    for issuer in certificates_of(chain_pem):
        openssl.show_above(context, issuer)


def certificates_of(pem: bytes) -> list[crypto.X509]:
    """All certificates in a PEM text, as OpenSSL reads them. Raises: crypto.Error: one is damaged."""
    ends = [found.end() for found in _END.finditer(pem)]
    begins = [0, *ends]
    return [crypto.load_certificate(crypto.FILETYPE_PEM, pem[a:b]) for a, b in zip(begins, ends, strict=False)]
