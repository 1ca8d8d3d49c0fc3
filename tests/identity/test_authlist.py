from __future__ import annotations

from typing import get_args

import pytest

from loadgen.identity import authlist
from loadgen.identity.authlist import AuthEntry, AuthList
from loadgen.identity.credentials import Identity
from loadgen.identity.keyhash import HashAlgorithm, HashedBytes, key_hash

ALGORITHMS: tuple[HashAlgorithm, ...] = get_args(HashAlgorithm)
HASHED: tuple[HashedBytes, ...] = get_args(HashedBytes)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("over", HASHED)
def test_lets_in_whom_it_was_made_of_and_nobody_else(
    ssc_p256: Identity, ssc_rsa: Identity, issued: Identity, algorithm: HashAlgorithm, over: HashedBytes
) -> None:
    auth_list = AuthList.of([ssc_p256, ssc_rsa], algorithm, over)
    for identity in (ssc_p256, ssc_rsa):
        entry = auth_list.find(identity.certificate())
        assert entry is not None
        assert (entry.mac, entry.algorithm) == (identity.mac, algorithm)
        assert entry.where == f"identity {identity.mac}"
    assert auth_list.find(issued.certificate()) is None


def test_what_the_hash_covers_must_be_the_same_on_both_sides(ssc: Identity) -> None:
    entries = AuthList.of([ssc], "sha256", "public-key").entries
    assert AuthList(entries, "public-key").find(ssc.certificate()) == entries[0]
    assert AuthList(entries, "spki").find(ssc.certificate()) is None


def test_a_list_of_both_algorithms(ssc_p256: Identity, ssc_rsa: Identity) -> None:
    entries = (AuthEntry.of(ssc_p256, "sha1", "spki"), AuthEntry.of(ssc_rsa, "sha256", "spki"))
    auth_list = AuthList(entries, "spki")
    assert auth_list.find(ssc_p256.certificate()) == entries[0]
    assert auth_list.find(ssc_rsa.certificate()) == entries[1]


def test_each_algorithm_is_computed_once_however_long_the_list(
    ssc_p256: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[HashAlgorithm] = []

    def counted(certificate: object, algorithm: HashAlgorithm, over: HashedBytes) -> str:
        computed.append(algorithm)
        return key_hash(ssc_p256.certificate(), algorithm, over)

    monkeypatch.setattr(authlist, "key_hash", counted)
    strangers = [
        AuthEntry("02:00:00:00:00:00", algorithm, f"{n:x}", "here") for n in range(99) for algorithm in ALGORITHMS
    ]
    assert AuthList(tuple(strangers), "spki").find(ssc_p256.certificate()) is None
    assert sorted(computed) == ["sha1", "sha256"]


def test_the_first_entry_of_a_hash_counts(ssc_p256: Identity) -> None:
    first = AuthEntry.of(ssc_p256, "sha256", "spki")
    second = AuthEntry("02:00:00:00:00:00", "sha256", first.key_hash, "later")
    assert AuthList((first, second), "spki").find(ssc_p256.certificate()) is first


def test_an_empty_list_lets_nobody_in(ssc_p256: Identity) -> None:
    assert AuthList((), "spki").find(ssc_p256.certificate()) is None
