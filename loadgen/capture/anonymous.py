"""Other names for who and what a capture names: MACs, IP addresses, texts. By a key, the same one for the same always.

Each is mapped one to one, keeps its length and what kind of a thing it is, and whoever has not got the key cannot tell
what it was. What begins alike goes on to begin alike: the OUI of MACs, the prefixes of addresses and of texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Final, TypeAlias

__all__ = ["ListedNames", "Pseudonyms"]

IPAddress: TypeAlias = IPv4Address | IPv6Address

# Remembered of each kind: an address costs up to 128 hashes.
_REMEMBERED: Final = 1 << 16
_ZERO_MAC, _BROADCAST = bytes(6), b"\xff" * 6
# Of the first byte of a MAC: for a group, administered locally.
_FLAGS: Final = 0x03
_MAPPED: Final = bytes(10) + b"\xff\xff"
# Networks that map onto themselves: what an address of theirs is for remains what it is.
_KEPT: Final = {
    32: (
        *("0.0.0.0/32", "127.0.0.1/32", "255.255.255.255/32", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
        *("127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4"),
    ),
    128: ("::/128", "::1/128", "::ffff:0:0/96", "fe80::/10", "fc00::/7", "ff00::/8"),
}
# Characters that take each other's places.
_ALPHABETS: Final = ("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789")
_ALPHABET_OF: Final = {character: alphabet for alphabet in _ALPHABETS for character in alphabet}
# Of all other letters, by how many bytes UTF-8 takes for them: how many places each moves at most, within its block.
_BLOCK: Final = 32


class Pseudonyms:
    """All of one key."""

    def __init__(self, key: bytes) -> None:
        """key: any number of bytes; who knows them, or guesses them, can tell what was what."""
        self._key = blake2b(key, digest_size=32).digest()
        # What stays itself: (address as a number, bits of it) of every prefix of the networks that are kept.
        self._kept = {bits: _prefixes(networks, bits) for bits, networks in _KEPT.items()}
        self.mac = lru_cache(_REMEMBERED)(self._mac)
        self.address = lru_cache(_REMEMBERED)(self._address)
        self.text = lru_cache(_REMEMBERED)(self._text)

    def _number(self, what: bytes, size: int = 4) -> int:
        return int.from_bytes(blake2b(what, key=self._key, digest_size=size).digest(), "big")

    def _mac(self, mac: bytes) -> bytes:
        """The group bit and the one for local administration stay, and who has the same OUI has the same one again."""
        if mac in (_ZERO_MAC, _BROADCAST):
            return mac
        found = self._any_mac(mac)
        # To these two nothing else comes: what would goes on to where they would have gone.
        while found in (_ZERO_MAC, _BROADCAST):
            found = self._any_mac(found)
        return found

    def _any_mac(self, mac: bytes) -> bytes:
        flags, oui = mac[0] & _FLAGS, int.from_bytes(mac[:3], "big")
        # 22 bits without the two.
        bare = self._permuted(oui >> 18 << 16 | oui & 0xFFFF, 11, b"oui" + bytes([flags]))
        nic = self._permuted(int.from_bytes(mac[3:], "big"), 12, b"nic" + mac[:3])
        oui = bare >> 16 << 18 | flags << 16 | bare & 0xFFFF
        return (oui << 24 | nic).to_bytes(6, "big")

    def _permuted(self, number: int, half: int, tweak: bytes) -> int:
        """A number of twice as many bits, one to one: a Feistel network."""
        left, right, mask = number >> half, number & (1 << half) - 1, (1 << half) - 1
        for turn in range(8):
            left, right = right, left ^ self._number(tweak + bytes([turn]) + right.to_bytes(2, "big")) & mask
        return left << half | right

    def _address(self, packed: bytes) -> bytes:
        """Of 4 or 16 bytes. Two addresses have as long a prefix in common as before (after Crypto-PAn, ICNP 2002)."""
        if packed.startswith(_MAPPED) and len(packed) == 16:
            return _MAPPED + self.address(packed[12:])
        bits, kept = 8 * len(packed), self._kept[8 * len(packed)]
        number = int.from_bytes(packed, "big")
        flips = 0
        for known in range(bits):
            prefix = number >> (bits - known)
            bit = number >> (bits - known - 1) & 1
            flip = 0
            if (prefix << 1 | bit, known + 1) not in kept and (prefix << 1 | 1 - bit, known + 1) not in kept:
                flip = self._number(b"ip" + bytes([bits, known]) + prefix.to_bytes(16, "big"), 1) & 1
            flips = flips << 1 | flip
        return (number ^ flips).to_bytes(len(packed), "big")

    def _text(self, text: bytes) -> bytes:
        """UTF-8, or nearly. Letters become letters of as many bytes, digits digits; the rest stays."""
        characters = text.decode("utf-8", "surrogateescape")
        found = ""
        for at, character in enumerate(characters):
            alphabet = _ALPHABET_OF.get(character)
            if alphabet is None and ord(character) < 0x80:
                found += character
                continue
            turn = self._number(b"text" + characters[:at].encode("utf-8", "surrogateescape"))
            if alphabet is not None:
                found += alphabet[(alphabet.index(character) + turn) % len(alphabet)]
            else:
                # Blocks of as many as this do not cross the limits at which UTF-8 becomes longer, nor the surrogates'.
                first = ord(character) // _BLOCK * _BLOCK
                found += chr(first + (ord(character) + turn) % _BLOCK)
        return found.encode("utf-8", "surrogateescape")


def _prefixes(networks: Iterable[str], bits: int) -> frozenset[tuple[int, int]]:
    found: set[tuple[int, int]] = set()
    for network in map(ip_network, networks):
        number = int(network.network_address)
        found.update((number >> (bits - length), length) for length in range(1, network.prefixlen + 1))
    return frozenset(found)


class ListedNames:
    """Replaces MACs and addresses that are listed, wherever their bytes occur: in binary, and MACs also as text.

    Attributes:
        longest: bytes of the longest form: what spans two pieces must be looked at in one.
    """

    def __init__(self, macs: Iterable[bytes], addresses: Iterable[IPAddress], names: Pseudonyms) -> None:
        self._replaced: dict[bytes, bytes] = {each.packed: names.address(each.packed) for each in addresses}
        for mac in macs:
            for form, other in zip(_forms(mac), _forms(names.mac(mac)), strict=True):
                # In both cases alike, if it has no letters.
                self._replaced.setdefault(form, other)
        ordered = sorted(self._replaced, key=len, reverse=True)
        self.longest = max(map(len, ordered), default=0)
        self._pattern = re.compile(b"|".join(map(re.escape, ordered)) or b"(?!)")

    def replace(self, data: bytes, *, final: bool) -> tuple[bytes, bytes, int]:
        """What is done, what has to be looked at again with what comes after it, and how many were replaced.

        Args:
            final: nothing comes after it.
        """
        parts, at, count = list[bytes](), 0, 0
        safe = len(data) if final else max(0, len(data) - self.longest + 1)
        for found in self._pattern.finditer(data):
            if found.start() >= safe:
                break
            parts += [data[at : found.start()], self._replaced[found[0]]]
            at, count = found.end(), count + 1
        cut = max(at, safe)
        return b"".join([*parts, data[at:cut]]), data[cut:], count


def _forms(mac: bytes) -> list[bytes]:
    """As its bytes, and as people write it, in both cases."""
    plain = mac.hex()
    pairs = [plain[at : at + 2] for at in range(0, 12, 2)]
    texts = [":".join(pairs), "-".join(pairs), ".".join(plain[at : at + 4] for at in (0, 4, 8)), plain]
    return [mac, *(text.encode() for each in texts for text in (each, each.upper()))]
