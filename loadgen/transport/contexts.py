"""TLS contexts: what each side shows, offers and demands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL

from loadgen.transport import verifying
from loadgen.transport.suites import offer
from loadgen.transport.verifying import CertificateCheck, Clock, ClockedContext

# Makes an empty context of a method and a clock.
ContextMaker: TypeAlias = Callable[[int, Clock | None], ClockedContext]


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
    groups: Sequence[str] = (),
    trusted_pem: bytes | None = None,
    clock: Clock | None = None,
    make: ContextMaker = ClockedContext,
) -> SSL.Context:
    """The context of one WLC identity. It asks for a client certificate.

    Args:
        check: decides about valid certificates, which it makes mandatory; None lets everybody in, with or without one.
        tickets: let clients resume their sessions; without, every handshake is a full one.
        strong, old_certificates, groups: `strong_cipher`, what else is taken, and how keys are exchanged, see `suites`.
        trusted_pem: where chains of CA-signed client certificates must end; None: they are not followed.
        clock: whether a certificate is valid is judged by; None: the machine's.
        make: of `dtls.DatagramContext` it becomes one for DTLS.
    """
    context = make(SSL.TLS_SERVER_METHOD, clock)
    shown = key_pem, certificate_pem, chain_pem
    _fill(context, *shown, version, strong=strong, old_certificates=old_certificates, groups=groups)
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
    groups: Sequence[str] = (),
    clock: Clock | None = None,
    make: ContextMaker = ClockedContext,
) -> SSL.Context:
    """The context of one MSE identity. The server's chain must end in `trusted_pem`; None takes any certificate.

    Args:
        key_pem: empty: it has no certificate to show.
        strong, old_certificates, groups, clock, make: as of `server_context`.
    """
    context = make(SSL.TLS_CLIENT_METHOD, clock)
    shown = key_pem, certificate_pem, chain_pem
    _fill(context, *shown, version, strong=strong, old_certificates=old_certificates, groups=groups)
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
    groups: Sequence[str],
) -> None:
    offer(context, version, strong=strong, old_certificates=old_certificates, groups=groups)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # an idle session keeps no buffers: 25 KiB instead of 46
    if key_pem:
        key = load_pem_private_key(key_pem, None)
        verifying.show(context, certificate_pem, chain_pem)
        context.use_privatekey(key)  # type: ignore[arg-type]
