"""The TLS contexts of a check: those of a worker, with more than one version to meet a peer that nobody knows yet."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from OpenSSL import SSL

from loadgen.identity.any_certificate import AnyCertificate
from loadgen.identity.credentials import Identity
from loadgen.transport.contexts import ContextMaker, client_context, server_context
from loadgen.transport.verifying import NO_CHECK_TIME, Applicant, CertificateCheck, ClockedContext, Ruling, observed


def mse_context(
    identity: Identity,
    trusted_pem: bytes | None,
    *,
    strong: bool,
    old_certificates: bool,
    make: ContextMaker = ClockedContext,
) -> SSL.Context:
    """The context of the MSE that a check plays.

    Args:
        trusted_pem: where the WLC's chain must end; None takes any certificate.
        strong: TLS 1.2 and 1.3 with ECDHE; otherwise TLS 1.0 to 1.2 with static RSA, as the field's trace.
        old_certificates: take small keys and SHA-1 in certificates.
        make: of `dtls.DatagramContext`, it is one for DTLS, which is 1.2.
    """
    context = client_context(
        identity.key_pem,
        identity.certificate_pem,
        identity.chain_pem,
        "1.2",
        trusted_pem,
        strong=strong,
        old_certificates=old_certificates,
        make=make,
    )
    return _finished(context, strong=strong)


def wlc_context(
    identity: Identity,
    seen: Callable[[AnyCertificate], None],
    check: Callable[[AnyCertificate], str | None] | None,
    *,
    strong: bool,
    old_certificates: bool,
    make: ContextMaker = ClockedContext,
) -> SSL.Context:
    """The context of the WLC that a check plays.

    Args:
        seen: given the MSE's certificate before anybody judges it.
        check: the auth list; asked about certificates that are valid now. None: anybody is let in.
        make: as of `mse_context`.
    """
    judge = None if check is None else _dated(seen, observed(lambda _, der: Ruling(check(AnyCertificate(der)))))
    context = server_context(
        identity.key_pem,
        identity.certificate_pem,
        identity.chain_pem,
        "1.2",
        judge,
        strong=strong,
        old_certificates=old_certificates,
        make=make,
    )
    store = context.get_cert_store()
    assert store is not None
    # OpenSSL would refuse before anybody has seen the certificate, and what its dates are is what an engineer must be
    # told. Judged by `dates_refused` instead, and refused with the same alerts.
    store.set_flags(NO_CHECK_TIME)
    return _finished(context, strong=strong)


def _dated(seen: Callable[[AnyCertificate], None], listed: CertificateCheck) -> CertificateCheck:
    def dated(tunnel: Applicant, der: bytes) -> Ruling:
        certificate = AnyCertificate(der)
        seen(certificate)
        refusal = dates_refused(certificate, datetime.now(UTC))
        return listed(tunnel, der) if refusal is None else Ruling(refusal)

    return dated


def dates_refused(certificate: AnyCertificate, now: datetime) -> str | None:
    """Why a certificate is not valid at a time, as the transport names it; None if it is."""
    begins, ends = certificate.begins, certificate.ends
    if begins is None or ends is None:
        return "certificate_dates_unreadable"
    if now < begins:
        return "certificate_not_yet_valid"
    return "certificate_expired" if now > ends else None


def _finished(context: SSL.Context, *, strong: bool) -> SSL.Context:
    if strong:
        context.set_max_proto_version(SSL.TLS1_3_VERSION)
    else:
        context.set_min_proto_version(SSL.TLS1_VERSION)
    return context
