"""Every suite of every version that OpenSSL has here is decrypted, or named."""

from __future__ import annotations

import pytest
from OpenSSL import SSL
from tls_sessions import contexts, plaintext, session

from loadgen.capture.tls import Unreadable
from loadgen.capture.tls_suites import suite_name, suite_of

# What OpenSSL has, and `cryptography` has not.
_UNKNOWN = ("ARIA", "SEED", "IDEA", "RC4")


def _ciphers() -> list[str]:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_cipher_list(b"ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    named = SSL.Connection(context, None).get_cipher_list()
    # Suites with a key of PSK or SRP, or a DSA key, differ from the others before records are protected, not after.
    return [name for name in named if not name.startswith("TLS_") and not {"PSK", "SRP", "DSS"} & {*name.split("-")}]


CASES = [
    *[("1.2", name) for name in _ciphers() if name != "IDEA-CBC-SHA"],
    # What came before AEAD, and SHA-2.
    *[(version, name) for version in ("1.0", "1.1") for name in _ciphers() if name.endswith(("-SHA", "-MD5"))],
    *[("1.3", f"TLS_{name}") for name in ("AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256")],
    *[("1.3", f"TLS_AES_128_{name}_SHA256") for name in ("CCM", "CCM_8")],
]


@pytest.mark.parametrize(("version", "name"), CASES)
def test_what_was_said_comes_back(version: str, name: str) -> None:
    tunnel = session(contexts(version, name, "p256" if "ECDSA" in name else "rsa-2048")).shake()
    assert tunnel.client.get_cipher_name() == name
    for size in (1, 15, 16, 17, 40_000):
        tunnel.say(False, bytes([size % 256]) * size).say(True, size.to_bytes(3, "big"))
    tunnel.close(False).close(True)
    said, undecrypted = plaintext(tunnel)
    if any(part in name for part in _UNKNOWN):
        (notice,) = undecrypted
        assert isinstance(notice, Unreadable)
        assert notice.what.startswith("TLS_")
        assert notice.what.endswith(f"(TLS {version})")
        assert said == {True: b"", False: b""}
    else:
        assert undecrypted == []
        assert said == tunnel.said


def test_suites_have_the_names_of_the_registry() -> None:
    assert suite_name(0x1301) == "TLS_AES_128_GCM_SHA256"
    assert suite_name(0x0005) == "TLS_RSA_WITH_RC4_128_SHA"
    assert suite_name(0xC0FE) == "0xC0FE"
    assert suite_of(0x0005) is None
    assert suite_of(0x0000) is None
    assert suite_of(0xC0FE) is None
