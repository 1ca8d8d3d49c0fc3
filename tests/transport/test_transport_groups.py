"""Key-exchange groups: what two ends agree on, what certificates may be of beside them, and what cannot be had."""

from __future__ import annotations

import socket
from datetime import UTC, datetime

import odd_certificates as odd
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from loadgen.identity.credentials import new_key, self_signed
from loadgen.scenario.schema import DEFAULT_GROUPS
from loadgen.transport.contexts import client_context, server_context
from loadgen.transport.suites import refusal_of_group
from loadgen.transport.tls import TransportFault, Tunnel
from loadgen.transport.verifying import Ruling

VERSIONS = pytest.mark.parametrize("version", ["1.2", "1.3"])
_NOW = datetime.now(UTC)
_OURS = self_signed("02:57:4c:00:00:01", new_key("p256"), _NOW)
_SHOWN = _OURS.key_pem, _OURS.certificate_pem
_P384 = ec.generate_private_key(ec.SECP384R1())
_SHOWN_P384 = odd.key_pem(_P384), odd.pem("CERTIFICATE", odd.certificate(odd.mac_name(), _P384))


def agreed(
    version: str,
    wanted: tuple[str, ...],
    taken: tuple[str, ...],
    *,
    shown: tuple[bytes, bytes] = _SHOWN,
    strong: bool = True,
) -> str | None:
    """The group of a handshake whose client wants, and whose server takes, these; both have to say the same."""
    client = client_context(*shown, b"", version, None, groups=wanted, strong=strong)
    server = server_context(*shown, b"", version, lambda *_: Ruling(), groups=taken, strong=strong)
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    ends = Tunnel(client, near, server=False), Tunnel(server, far, server=True)
    try:
        done = [False, False]
        for _ in range(8):
            done = [up or end.handshake() for up, end in zip(done, ends, strict=True)]
        assert done == [True, True]
        assert ends[0].group == ends[1].group
        return ends[0].group
    finally:
        for end in ends:
            end.close()


@VERSIONS
def test_what_the_client_likes_best_of_what_both_have(version: str) -> None:
    assert agreed(version, DEFAULT_GROUPS, DEFAULT_GROUPS) == "x25519"
    assert agreed(version, ("P-256", "X25519"), DEFAULT_GROUPS) == "secp256r1"
    assert agreed(version, ("P-384", "P-256"), ("P-256", "P-384")) == "secp384r1"
    assert agreed(version, ("secp384r1",), ("X25519", "P-384")) == "secp384r1"


def test_a_hybrid_is_agreed_on_only_where_it_is_asked_for() -> None:
    hybrid = ("X25519MLKEM768", *DEFAULT_GROUPS)
    assert agreed("1.3", hybrid, hybrid) == "X25519MLKEM768"
    assert agreed("1.3", hybrid, DEFAULT_GROUPS) == "x25519"
    assert agreed("1.3", DEFAULT_GROUPS, hybrid) == "x25519"


@VERSIONS
def test_certificates_may_be_of_other_curves(version: str) -> None:
    """Up to TLS 1.2 one list says both."""
    assert agreed(version, DEFAULT_GROUPS, DEFAULT_GROUPS, shown=_SHOWN_P384) == "x25519"
    assert agreed(version, ("X25519",), ("X25519",)) == "x25519"


def test_with_tls_1_3_nothing_else_is_offered() -> None:
    with pytest.raises(TransportFault, match="no_suitable"):
        agreed("1.3", ("X25519",), ("P-256",))


def test_static_rsa_has_no_group() -> None:
    ours = self_signed("02:57:4c:00:00:01", new_key("rsa-2048"), _NOW)
    shown = ours.key_pem, ours.certificate_pem
    assert agreed("1.2", DEFAULT_GROUPS, DEFAULT_GROUPS, shown=shown, strong=False) is None


@pytest.mark.parametrize(
    ("name", "in_1_2", "in_1_3"),
    [
        ("X25519", True, True),
        ("P-256", True, True),
        ("prime256v1", True, True),
        ("P-384", True, True),
        ("X25519MLKEM768", False, True),
        ("ffdhe2048", False, True),
    ],
)
def test_which_groups_a_version_has(name: str, in_1_2: bool, in_1_3: bool) -> None:
    assert refusal_of_group(name, "1.2") == (None if in_1_2 else "not of TLS 1.2")
    assert refusal_of_group(name, "1.3") == (None if in_1_3 else "not of TLS 1.3")


@VERSIONS
def test_a_name_that_openssl_does_not_know(version: str) -> None:
    refusal = refusal_of_group("X25520", version)
    assert refusal is not None
    assert refusal.startswith("unknown to OpenSSL")
    assert refusal_of_group("X25519", version) is None  # nothing of it is left
