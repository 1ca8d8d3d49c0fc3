"""Cryptography alone, with the OpenSSL that loadgen uses: `python -m benchmarks.crypto handshake p256|rsa-2048 | gcm`.

Prints JSON: for a handshake the CPU time (s) of what a TLS 1.2 client with ECDHE over X25519 must compute: one
signature (its own), one or two verifications (the key exchange's; with an authority, the certificate's too), one key
pair and one shared secret. For gcm, bytes per second of AES-128-GCM over 16 KiB blocks.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_SECONDS = 0.6
_BLOCK_BYTES = 16384


def cost_s(work: Callable[[], object]) -> float:
    """CPU time of one call: of rounds of 0.1 s, the median."""
    for _ in range(20):
        work()
    rounds = []
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until:
        calls, started = 0, time.process_time()
        while time.process_time() - started < 0.1:
            work()
            calls += 1
        rounds.append((time.process_time() - started) / calls)
    return sorted(rounds)[len(rounds) // 2]


def handshake(key: str) -> dict[str, float]:
    message, digest = bytes(200), hashes.SHA256()
    if key == "p256":
        own = ec.generate_private_key(ec.SECP256R1())
        algorithm = ec.ECDSA(digest)
        signature = own.sign(message, algorithm)
        public = own.public_key()
        sign, verify = (lambda: own.sign(message, algorithm)), (lambda: public.verify(signature, message, algorithm))
    else:
        rsa_key = rsa.generate_private_key(65537, 2048)
        pss = padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH)
        rsa_signature = rsa_key.sign(message, pss, digest)
        rsa_public = rsa_key.public_key()
        sign = lambda: rsa_key.sign(message, pss, digest)  # noqa: E731
        verify = lambda: rsa_public.verify(rsa_signature, message, pss, digest)  # noqa: E731
    peer = x25519.X25519PrivateKey.generate().public_key()
    figures = {
        "sign_s": cost_s(sign),
        "verify_s": cost_s(verify),
        "key_agreement_s": cost_s(lambda: x25519.X25519PrivateKey.generate().exchange(peer)),
    }
    figures["client_s"] = sum(figures.values())
    figures["client_with_authority_s"] = figures["client_s"] + figures["verify_s"]
    return figures


def gcm() -> dict[str, float]:
    cipher = AESGCM(bytes(16))
    data, nonce, out = bytes(_BLOCK_BYTES), bytes(12), bytearray(_BLOCK_BYTES + 16)
    return {"bytes_per_s": _BLOCK_BYTES / cost_s(lambda: cipher.encrypt_into(nonce, data, None, out))}


if __name__ == "__main__":
    print(json.dumps(handshake(sys.argv[2]) if sys.argv[1] == "handshake" else gcm()))
