"""Key hashes: the fingerprint under which a controller knows an MSE.

Which bytes the hash covers is not public. The field says "key hash" (40 hex digits named SHA1, 64 named SHA2)
and nothing more, so it is a setting here: `HashedBytes`. The default, the SubjectPublicKeyInfo, is our guess.
"""

from __future__ import annotations

import hashlib
import string
from typing import Literal

from loadgen.identity.any_certificate import AnyCertificate

HashAlgorithm = Literal["sha1", "sha256"]

HashedBytes = Literal["spki", "public-key", "certificate"]
"""What a key hash covers.

spki: the DER of SubjectPublicKeyInfo (algorithm and key), what `openssl pkey -pubin -outform DER` prints;
public-key: the contents of its BIT STRING (PKCS#1 RSAPublicKey, or the EC point), as RFC 5280 4.2.1.2 key
identifiers;
certificate: the whole certificate.
"""

HEX_DIGITS: dict[HashAlgorithm, int] = {"sha1": 40, "sha256": 64}

EXPECTED_KEY_HASH = "40 hex digits (SHA-1) or 64 hex digits (SHA-256)"

_MAX_CHARACTERS_NAMED = 5


class KeyHashError(ValueError):
    """A text is not a key hash; `expected` and `found` are the halves of a `Problem`."""

    def __init__(self, found: str, expected: str = EXPECTED_KEY_HASH) -> None:
        self.expected = expected
        self.found = found
        super().__init__(f"expected {expected}, found {found}")


def key_hash(certificate: AnyCertificate, algorithm: HashAlgorithm, over: HashedBytes = "spki") -> str:
    """The key hash of a certificate, lower-case hex: 40 digits for sha1, 64 for sha256.

    Whatever key the certificate holds: the bytes are cut out as the peer encoded them and the key is not
    decoded. A peer may send a curve or an algorithm that nobody here knows, and is then simply not on the list.

    Source: not public; `over` is a setting. SHA2 meaning SHA-256 is inferred from the 64 digits.

    Raises:
        UnreadableError: `over` is "public-key", and the key is in no BIT STRING.
    """
    if over == "spki":
        covered = certificate.spki
    else:
        covered = certificate.public_key if over == "public-key" else certificate.der
    # Not a defence of ours: the controller's list is what it is, and SHA-1 is part of the protocol.
    return hashlib.new(algorithm, covered, usedforsecurity=False).hexdigest()


def check_key_hash(text: str) -> HashAlgorithm:
    """Which algorithm a printed key hash is of: 40 hex digits are sha1, 64 are sha256, in either case.

    Raises:
        KeyHashError: anything else; says exactly what came, such as "61 hex digits and 1 blank".
    """
    if all(character in string.hexdigits for character in text):
        for algorithm, digits in HEX_DIGITS.items():
            if len(text) == digits:
                return algorithm
    raise KeyHashError(describe_digits(text))


def describe_digits(text: str) -> str:
    """Count what a text is made of: "62 hex digits and 2 other characters ('x', 'z')", "nothing" when
    empty."""
    digits = sum(character in string.hexdigits for character in text)
    blanks = sum(character.isspace() for character in text)
    others = [character for character in text if not (character in string.hexdigits or character.isspace())]
    parts = []
    if digits:
        parts.append(_count(digits, "hex digit"))
    if blanks:
        parts.append(_count(blanks, "blank"))
    if others:
        distinct = sorted(set(others))
        # ascii(): control characters and look-alikes of digits (full-width, Cyrillic) must be visible.
        named = ", ".join(map(ascii, distinct[:_MAX_CHARACTERS_NAMED]))
        more = ", ..." if len(distinct) > _MAX_CHARACTERS_NAMED else ""
        parts.append(f"{_count(len(others), 'other character')} ({named}{more})")
    if not parts:
        return "nothing"
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
