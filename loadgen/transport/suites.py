"""TLS versions and cipher suites: what `strong_cipher` on and off offer.

On: TLS 1.2 and 1.3, a key exchange of elliptic curve Diffie-Hellman only, and what OpenSSL's security level asks for.
Off: TLS 1.0 to 1.2 with static RSA key exchange, as a controller's trace shows it (no key exchange message between the
certificate and the certificate request). The trace does not name the suite; AES128-SHA, which every implementation of
those years has, comes first. Nothing stronger is offered beside it: two sides that both could would agree on ECDHE, and
the load would not be the field's.

Source: `nmsp strong-cipher` and the trace of a 3850; the lists are ours.
"""

from __future__ import annotations

from OpenSSL import SSL

from loadgen.transport import openssl

_VERSIONS = {"1.0": SSL.TLS1_VERSION, "1.1": SSL.TLS1_1_VERSION, "1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}
STRONG_VERSIONS = ("1.2", "1.3")
STRONG = "ECDHE:!aNULL:!eNULL"
# @SECLEVEL=0: OpenSSL takes the hashes that TLS 1.0 and 1.1 sign with for broken, which they are.
STATIC_RSA = (
    "AES128-SHA:AES256-SHA:AES128-SHA256:AES256-SHA256:AES128-GCM-SHA256:AES256-GCM-SHA384:"
    "!PSK:!SRP:@SECLEVEL=0"
)  # fmt: skip

# SSL_OP_LEGACY_SERVER_CONNECT: a client meets servers from before RFC 5746 (2010) as well, whose renegotiations may be
# another's. It never renegotiates.
_LEGACY_SERVER_CONNECT = 0x4


# OpenSSL has one level for certificates and all else of a handshake. With that level down for the certificates, suites
# stay those above, versions those that are set, and signatures these; the last is for peers whose certificates are
# signed so, and who show none to whoever does not name it (RFC 5246, 7.4.4).
_SIGNATURES = (
    "ecdsa_secp256r1_sha256:ecdsa_secp384r1_sha384:ecdsa_secp521r1_sha512:ed25519:ed448:"
    "rsa_pss_pss_sha256:rsa_pss_pss_sha384:rsa_pss_pss_sha512:rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:"
    "rsa_pss_rsae_sha512:RSA+SHA256:RSA+SHA384:RSA+SHA512:RSA+SHA1"
)


def offer(context: SSL.Context, version: str, *, strong: bool, old_certificates: bool = False) -> None:
    """Have a context speak one version, with the suites of `strong_cipher` on or off.

    Args:
        old_certificates: take RSA keys of 1024 bits and signatures with SHA-1 in certificates, ours and the peer's.
    """
    context.set_min_proto_version(_VERSIONS[version])
    context.set_max_proto_version(_VERSIONS[version])
    suites = STRONG if strong else STATIC_RSA  # of TLS 1.2 and before; 1.3 has ECDHE only
    if not strong:
        context.set_options(_LEGACY_SERVER_CONNECT | SSL.OP_CIPHER_SERVER_PREFERENCE)
    elif old_certificates:
        suites += ":@SECLEVEL=0"
        openssl.sign_with(context, _SIGNATURES)
    context.set_cipher_list(suites.encode())
