"""What key-exchange groups cost: a small run of the program, and what of it no machine decides."""

from __future__ import annotations

from benchmarks.groups import CASES, measure


def test_bytes_and_ratios_of_each_group() -> None:
    found = measure(rounds=2, handshakes=2)
    assert list(found) == [f"TLS {version}, {group}" for version, group in CASES]
    for version in ("1.2", "1.3"):
        base = found[f"TLS {version}, X25519"]
        assert base["client_ratio"] == base["server_ratio"] == 1
        # A point of P-256 has 65 bytes, one of X25519 32; signatures vary by a few.
        more = found[f"TLS {version}, P-256"]["client_bytes"] - base["client_bytes"]
        assert 33 - 12 < more < 33 + 12
    hybrid, plain = found["TLS 1.3, X25519MLKEM768"], found["TLS 1.3, X25519"]
    # An encapsulation key has 1,184 bytes, a ciphertext 1,088 (FIPS 203).
    assert 1184 - 12 < hybrid["client_bytes"] - plain["client_bytes"] < 1184 + 12
    assert 1088 - 12 < hybrid["server_bytes"] - plain["server_bytes"] < 1088 + 12
    assert all(each["client_us"] > 0 and each["server_us"] > 0 for each in found.values())
