"""Both identities, the contexts that show them, and who a peer says it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from OpenSSL import SSL

from loadgen.diagnosis.contexts import mse_context, wlc_context
from loadgen.diagnosis.listed import Listed, judge
from loadgen.foreign import quoted
from loadgen.identity.any_certificate import AnyCertificate, UnreadableError
from loadgen.identity.credentials import Identity
from loadgen.identity.keyhash import HashAlgorithm, HashedBytes, key_hash
from loadgen.transport.tls import Tunnel


class Parties(NamedTuple):
    """Who we are to either side, and whom we take.

    Attributes:
        mse: shown to the WLC; wlc: shown to MSEs.
        trusted_pem: where the WLC's chain must end; None: any certificate will do.
        demands: MSEs must show a certificate that is valid now; listed: and its key hash must be one of these.
        key_hash, hash_over: what a list compares.
        strong: TLS 1.2 and 1.3 with ECDHE; else TLS 1.0 to 1.2 with static RSA. Towards both.
        old_certificates: take small keys and SHA-1 in certificates.
    """

    mse: Identity
    wlc: Identity
    trusted_pem: bytes | None = None
    demands: bool = False
    listed: tuple[Listed, ...] | None = None
    key_hash: HashAlgorithm = "sha256"
    hash_over: HashedBytes = "spki"
    strong: bool = True
    old_certificates: bool = False

    def contexts(self) -> tuple[SSL.Context, SSL.Context]:
        """Towards MSEs, and towards the WLC."""
        strong, old = self.strong, self.old_certificates
        towards_mse = wlc_context(self.wlc, lambda _: None, self._check(), strong=strong, old_certificates=old)
        return towards_mse, mse_context(self.mse, self.trusted_pem, strong=strong, old_certificates=old)

    def _check(self) -> Callable[[AnyCertificate], str | None] | None:
        listed = self.listed
        if listed is None:
            return (lambda _: None) if self.demands else None

        def check(certificate: AnyCertificate) -> str | None:
            verdict = judge(listed, certificate, self.key_hash, self.hash_over)
            return None if verdict.agrees else "key_hash_not_listed"

        return check

    def named(self, certificate: AnyCertificate) -> str:
        """A certificate's subject and key hash, in a line."""
        try:
            digest = key_hash(certificate, self.key_hash, self.hash_over)
        except UnreadableError:
            digest = "not readable"
        return f"{quoted(certificate.subject or '')}, key hash {self.key_hash} {digest}"

    def peer_named(self, tunnel: Tunnel) -> str:
        """The same of a tunnel's peer, with what was agreed on."""
        der = tunnel.peer_certificate()
        agreed = " ".join(tunnel.negotiated())
        if der is None:
            return f"no certificate, {agreed}"
        try:
            return f"{self.named(AnyCertificate(der))}, {agreed}"
        except UnreadableError as error:
            return f"a certificate that cannot be read ({error}), {agreed}"
