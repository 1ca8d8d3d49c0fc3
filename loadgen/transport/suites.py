"""TLS versions, cipher suites and key-exchange groups: what `strong_cipher` on and off offer.

On: TLS 1.2 and 1.3, a key exchange of elliptic curve Diffie-Hellman only, and what OpenSSL's security level asks for.
Off: TLS 1.0 to 1.2 with static RSA key exchange, as a controller's trace shows it (no key exchange message between the
certificate and the certificate request). The trace does not name the suite; AES128-SHA, which every implementation of
those years has, comes first. Nothing stronger is offered beside it: two sides that both could would agree on ECDHE, and
the load would not be the field's.

Source: `nmsp strong-cipher` and the trace of a 3850; the lists are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

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

# Of a handshake without certificates, in which nothing but the group can be missing; and more than its first hello.
_ANONYMOUS = b"AECDH:@SECLEVEL=0"
_HELLO_BYTES = 1 << 16


# OpenSSL has one level for certificates and all else of a handshake. With that level down for the certificates, suites
# stay those above, versions those that are set, and signatures these; the last is for peers whose certificates are
# signed so, and who show none to whoever does not name it (RFC 5246, 7.4.4).
_SIGNATURES = (
    "ecdsa_secp256r1_sha256:ecdsa_secp384r1_sha384:ecdsa_secp521r1_sha512:ed25519:ed448:"
    "rsa_pss_pss_sha256:rsa_pss_pss_sha384:rsa_pss_pss_sha512:rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:"
    "rsa_pss_rsae_sha512:RSA+SHA256:RSA+SHA384:RSA+SHA512:RSA+SHA1"
)
# Up to TLS 1.2 one list says which groups keys are exchanged with and which curves certificates may have (RFC 8422,
# 5.1.1). Behind the groups that are wanted, those of certificates: a P-384 key is taken, and the exchange is another.
_CURVES = ("P-256", "P-384", "P-521")


def offer(
    context: SSL.Context, version: str, *, strong: bool, old_certificates: bool = False, groups: Sequence[str] = ()
) -> None:
    """Have a context speak one version, with the suites of `strong_cipher` on or off.

    Args:
        old_certificates: take RSA keys of 1024 bits and signatures with SHA-1 in certificates, ours and the peer's.
        groups: of ECDHE, what is liked best first, all of them known to OpenSSL; none: what it has by itself.
    """
    context.set_min_proto_version(_VERSIONS[version])
    context.set_max_proto_version(_VERSIONS[version])
    suites = STRONG if strong else STATIC_RSA  # of TLS 1.2 and before; 1.3 has ECDHE only
    if not strong:
        context.set_options(_LEGACY_SERVER_CONNECT | SSL.OP_CIPHER_SERVER_PREFERENCE)
    elif old_certificates:
        suites += ":@SECLEVEL=0"
        openssl.sign_with(context, _SIGNATURES)
    if strong and groups:
        curves = _CURVES if version == "1.2" else ()
        known = openssl.exchange_with(context, ":".join(dict.fromkeys((*groups, *curves))))
        assert known, groups
    context.set_cipher_list(suites.encode())


def refusal_of_group(name: str, version: str) -> str | None:
    """Why a key-exchange group cannot be had with a version of TLS, in a few words; None if it can."""
    client, server = SSL.Context(SSL.TLS_CLIENT_METHOD), SSL.Context(SSL.TLS_SERVER_METHOD)
    for context in (client, server):
        context.set_min_proto_version(_VERSIONS[version])
        context.set_max_proto_version(_VERSIONS[version])
        context.set_cipher_list(_ANONYMOUS)
        if not openssl.exchange_with(context, name):
            return f"unknown to {SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode()}"
    hello, answer = SSL.Connection(client, None), SSL.Connection(server, None)
    hello.set_connect_state()
    answer.set_accept_state()
    try:
        with suppress(SSL.WantReadError):
            hello.do_handshake()
        if version != "1.3":  # in which a server without a certificate says nothing; its client tells by itself
            answer.bio_write(hello.bio_read(_HELLO_BYTES))
            with suppress(SSL.WantReadError):
                answer.do_handshake()
    except SSL.Error:
        openssl.forget_errors()
        return f"not of TLS {version}"
    return None
