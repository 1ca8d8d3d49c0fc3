"""TLS records: their headers, and how they are opened with the secrets of a key log."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from struct import Struct
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.decrepit.ciphers.algorithms import Camellia, TripleDES
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, Cipher, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from loadgen.capture.tls_suites import TLS10, TLS12, Suite

__all__ = [
    "ALERT",
    "CHANGE_CIPHER_SPEC",
    "DATA",
    "HANDSHAKE",
    "HEADER_SIZE",
    "LONGEST",
    "BadRecord",
    "Opener",
    "is_header",
    "opener_13",
    "openers_12",
    "seems_header",
    "updated_secret",
]

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, DATA, _HEARTBEAT = 20, 21, 22, 23, 24
HEADER_SIZE: Final = 5
# Behind the header: 2^14 bytes of plaintext, and what any protection may add.
LONGEST: Final = (1 << 14) + 2048

_AAD_12 = Struct(">QBHH")
_AAD_13 = Struct(">BHH")
# Explicit part of the nonce.
_EXPLICIT: Final = 8
_BLOCK_CIPHERS: dict[str, Callable[[bytes], BlockCipherAlgorithm]] = {
    "AES": AES,
    "CAMELLIA": Camellia,
    "3DES_EDE": TripleDES,
}


class BadRecord(Exception):
    """Its tag or MAC does not fit: another key, another place in the stream, or not what was sent."""


class Opener(Protocol):
    """Opens the records of one direction that are protected by one key.

    Attributes:
        least: bytes of a record, its header included, that are not its content: the fewest.
        in_order: a record cannot be opened unless the one before it was.
    """

    least: int
    in_order: bool

    def open(self, sequence: int, kind: int, version: int, fragment: bytes) -> tuple[int, bytes]:
        """The content type and the content.

        Raises:
            BadRecord
        """


def is_header(data: bytes | bytearray, at: int = 0) -> bool:
    """Whether the five bytes there may begin a record of a connection that is known to be TLS."""
    size = data[at + 3] << 8 | data[at + 4]
    return CHANGE_CIPHER_SPEC <= data[at] <= _HEARTBEAT and data[at + 1] == 3 and size <= LONGEST


def seems_header(data: bytes | bytearray, at: int = 0) -> bool:
    """Whether the five bytes there look like TLS where that is not known: of a version that exists, and not empty."""
    return is_header(data, at) and data[at + 2] <= 4 and data[at + 3 : at + 5] != b"\0\0"


# -- TLS 1.0 to 1.2 ----------------------------------------------------------------------------------------------------


def openers_12(
    suite: Suite, version: int, master: bytes, client_random: bytes, server_random: bytes, *, mac_after: bool
) -> tuple[Opener, Opener]:
    """Of the client's records and of the server's. mac_after: encrypt-then-MAC was agreed on."""
    mac, fixed = 0, 4
    if suite.mode in ("CBC", ""):
        mac = hashlib.new(suite.hash, usedforsecurity=False).digest_size
        # From TLS 1.1 on every record brings its own.
        fixed = _block_size(suite) if version == TLS10 and suite.mode else 0
    elif suite.mode == "POLY1305":
        fixed = 12
    size = 2 * (mac + suite.key_size + fixed)
    block = _prf(suite, version, master, b"key expansion" + server_random + client_random, size)
    cuts: list[tuple[bytes, bytes]] = []
    for length in (mac, suite.key_size, fixed):
        cuts.append((block[:length], block[length : 2 * length]))
        block = block[2 * length :]
    client, server = zip(*cuts, strict=True)
    return _opener_12(suite, version, client, mac_after), _opener_12(suite, version, server, mac_after)


def _opener_12(suite: Suite, version: int, keys: tuple[bytes, ...], mac_after: bool) -> Opener:
    mac_key, key, iv = keys
    if suite.mode == "":
        return _Mac(suite.hash, mac_key)
    if suite.mode == "CBC":
        chained = iv if version == TLS10 else None
        return _Blocks(_BLOCK_CIPHERS[suite.cipher](key), _Mac(suite.hash, mac_key), chained, mac_after=mac_after)
    return _Aead12(*_aead(suite, key), iv)


def _prf(suite: Suite, version: int, secret: bytes, seed: bytes, size: int) -> bytes:
    if version == TLS12:
        return _expanded("sha384" if suite.hash == "sha384" else "sha256", secret, seed, size)
    half = (len(secret) + 1) // 2
    by_md5 = _expanded("md5", secret[:half], seed, size)
    by_sha1 = _expanded("sha1", secret[-half:], seed, size)
    return bytes(a ^ b for a, b in zip(by_md5, by_sha1, strict=True))


def _expanded(digest: str, secret: bytes, seed: bytes, size: int) -> bytes:
    """RFC 5246, 5: P_hash."""
    found, a = b"", seed
    while len(found) < size:
        a = hmac.digest(secret, a, digest)
        found += hmac.digest(secret, a + seed, digest)
    return found[:size]


class _Aead12:
    in_order = False

    def __init__(self, aead: AESGCM | AESCCM | ChaCha20Poly1305, tag: int, iv: bytes) -> None:
        self._aead = aead
        self._tag = tag
        self._iv = iv
        self._explicit = 0 if isinstance(aead, ChaCha20Poly1305) else _EXPLICIT
        self.least = HEADER_SIZE + self._explicit + tag

    def open(self, sequence: int, kind: int, version: int, fragment: bytes) -> tuple[int, bytes]:
        size = len(fragment) - self._explicit - self._tag
        if size < 0:
            raise BadRecord
        nonce = self._iv + fragment[:_EXPLICIT] if self._explicit else _nonce(self._iv, sequence)
        try:
            return kind, self._aead.decrypt(
                nonce, fragment[self._explicit :], _AAD_12.pack(sequence, kind, version, size)
            )
        except InvalidTag:
            raise BadRecord from None


class _Mac:
    """The MAC of suites that have one of its own, and alone the protection of those that do not encrypt."""

    in_order = False

    def __init__(self, digest: str, key: bytes) -> None:
        self._digest = digest
        self._key = key
        self.size = hashlib.new(digest, usedforsecurity=False).digest_size
        self.least = HEADER_SIZE + self.size

    def open(self, sequence: int, kind: int, version: int, fragment: bytes) -> tuple[int, bytes]:
        """Raises: BadRecord."""
        end = len(fragment) - self.size
        if end < 0:
            raise BadRecord
        signed = _AAD_12.pack(sequence, kind, version, end) + fragment[:end]
        if not hmac.compare_digest(hmac.digest(self._key, signed, self._digest), fragment[end:]):
            raise BadRecord
        return kind, fragment[:end]


class _Blocks:
    """Blocks of a cipher in CBC mode, with a MAC inside (before it is encrypted) or outside (after)."""

    def __init__(self, cipher: BlockCipherAlgorithm, mac: _Mac, chained: bytes | None, *, mac_after: bool) -> None:
        """chained: the first record's initialisation vector in TLS 1.0, where each goes on from the one before."""
        self._cipher = cipher
        self._mac = mac
        self._size = cipher.block_size // 8
        self._chained = chained
        self._mac_after = mac_after
        self.in_order = chained is not None
        self.least = mac.least + (0 if self.in_order else self._size) + 1

    def open(self, sequence: int, kind: int, version: int, fragment: bytes) -> tuple[int, bytes]:
        encrypted = self._mac.open(sequence, kind, version, fragment)[1] if self._mac_after else fragment
        if self._chained is None:
            iv, encrypted = encrypted[: self._size], encrypted[self._size :]
        else:
            iv = self._chained
        if not encrypted or len(encrypted) % self._size:
            raise BadRecord
        decryptor = Cipher(self._cipher, modes.CBC(iv)).decryptor()
        padded = decryptor.update(encrypted) + decryptor.finalize()
        content = padded[: -1 - padded[-1]]
        if len(padded) <= padded[-1] or padded[len(content) :].count(padded[-1]) != padded[-1] + 1:
            raise BadRecord
        if not self._mac_after:
            content = self._mac.open(sequence, kind, version, content)[1]
        if self._chained is not None:
            self._chained = encrypted[-self._size :]
        return kind, content


def _block_size(suite: Suite) -> int:
    return 8 if suite.cipher == "3DES_EDE" else 16


# -- TLS 1.3 -----------------------------------------------------------------------------------------------------------


def opener_13(suite: Suite, secret: bytes) -> Opener:
    """Of the records that are protected by a traffic secret."""
    aead, tag = _aead(suite, _labelled(suite, secret, b"key", suite.key_size))
    return _Aead13(aead, tag, _labelled(suite, secret, b"iv", 12))


def updated_secret(suite: Suite, secret: bytes) -> bytes:
    """The traffic secret that comes after this one, by a KeyUpdate."""
    return _labelled(suite, secret, b"traffic upd", len(secret))


def _labelled(suite: Suite, secret: bytes, label: bytes, size: int) -> bytes:
    """RFC 8446, 7.1: HKDF-Expand-Label without a context."""
    digest = hashes.SHA384() if suite.hash == "sha384" else hashes.SHA256()
    info = size.to_bytes(2, "big") + bytes([6 + len(label)]) + b"tls13 " + label + b"\0"
    return HKDFExpand(digest, size, info).derive(secret)


class _Aead13:
    in_order = False

    def __init__(self, aead: AESGCM | AESCCM | ChaCha20Poly1305, tag: int, iv: bytes) -> None:
        self._aead = aead
        self._iv = iv
        # With the content type, which is encrypted too.
        self.least = HEADER_SIZE + tag + 1

    def open(self, sequence: int, kind: int, version: int, fragment: bytes) -> tuple[int, bytes]:
        try:
            padded = self._aead.decrypt(
                _nonce(self._iv, sequence), fragment, _AAD_13.pack(kind, version, len(fragment))
            )
        except InvalidTag:
            raise BadRecord from None
        content = padded.rstrip(b"\0")
        if not content:
            raise BadRecord
        return content[-1], content[:-1]


def _aead(suite: Suite, key: bytes) -> tuple[AESGCM | AESCCM | ChaCha20Poly1305, int]:
    if suite.mode == "GCM":
        return AESGCM(key), 16
    if suite.mode == "POLY1305":
        return ChaCha20Poly1305(key), 16
    tag = 8 if suite.mode == "CCM_8" else 16
    return AESCCM(key, tag), tag


def _nonce(iv: bytes, sequence: int) -> bytes:
    return (int.from_bytes(iv, "big") ^ sequence).to_bytes(12, "big")
