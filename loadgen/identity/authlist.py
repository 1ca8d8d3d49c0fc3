"""The auth list of a controller: which key hash belongs to which MSE, and the look-up inside a handshake."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import msgspec

from loadgen.identity.any_certificate import AnyCertificate
from loadgen.identity.credentials import Identity
from loadgen.identity.keyhash import HashAlgorithm, HashedBytes, key_hash


class AuthEntry(msgspec.Struct, frozen=True):
    """One key hash a controller accepts.

    mac: colon form as `parse_mac` gives it; key_hash: lower-case hex; where: the place it was read from, for
    messages.
    """

    mac: str
    algorithm: HashAlgorithm
    key_hash: str
    where: str

    @classmethod
    def of(cls, identity: Identity, algorithm: HashAlgorithm, over: HashedBytes) -> AuthEntry:
        """The entry under which a controller would know `identity`."""
        digest = key_hash(identity.certificate(), algorithm, over)
        return cls(identity.mac, algorithm, digest, where=f"identity {identity.mac}")

    @classmethod
    def both(cls, identity: Identity, over: HashedBytes) -> tuple[AuthEntry, AuthEntry]:
        """The entries of either algorithm."""
        return cls.both_of(identity.certificate(), identity.mac, over)

    @classmethod
    def both_of(cls, certificate: AnyCertificate, mac: str, over: HashedBytes) -> tuple[AuthEntry, AuthEntry]:
        """The same of a certificate; `mac` may be empty, where nobody knows it."""
        sha1, sha256 = (key_hash(certificate, algorithm, over) for algorithm in ("sha1", "sha256"))
        return cls(mac, "sha1", sha1, where="a certificate"), cls(mac, "sha256", sha256, where="a certificate")


class AuthList(msgspec.Struct, frozen=True, dict=True):  # dict: cached_property needs a place
    """The entries of one controller and what their hashes cover."""

    entries: tuple[AuthEntry, ...]
    over: HashedBytes

    @classmethod
    def of(cls, identities: Iterable[Identity], algorithm: HashAlgorithm, over: HashedBytes) -> AuthList:
        """The list that lets exactly these identities in; IOS-XE uses sha256."""
        return cls(tuple(AuthEntry.of(identity, algorithm, over) for identity in identities), over)

    def find(self, certificate: AnyCertificate) -> AuthEntry | None:
        """The entry whose key hash is that of the peer's certificate; None lets the handshake fail.

        With several entries of one hash the first counts. The MAC in the certificate is not compared: the
        trace of a controller shows the look-up and its verdict, not more, and a list is about keys.

        Cost: one `key_hash` per algorithm in the list and one dictionary look-up, whatever the list's length.
        Source: "Peer certificate Validation Done ..., calling authlist" in the 3850 trace; what it compares
        is inferred.
        """
        for algorithm, by_hash in self._index.items():
            entry = by_hash.get(key_hash(certificate, algorithm, self.over))
            if entry is not None:
                return entry
        return None

    @cached_property
    def _index(self) -> dict[HashAlgorithm, dict[str, AuthEntry]]:
        index: dict[HashAlgorithm, dict[str, AuthEntry]] = {}
        for entry in self.entries:
            index.setdefault(entry.algorithm, {}).setdefault(entry.key_hash, entry)
        return index
