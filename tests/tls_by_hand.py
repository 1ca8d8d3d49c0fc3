"""TLS sessions written down by hand after the RFCs, always the same: hellos with nothing in them, protected records.

Nothing is agreed on: the secrets are given. It serves where OpenSSL's would be others each time, or would not say it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, DATA = 20, 21, 22, 23
FINISHED = b"\x14\0\0\x0cverify-data!"
KEY_UPDATE = b"\x18\0\0\1\0"
_SECRET_SIZE = 32


def record(kind: int, fragment: bytes) -> bytes:
    return bytes([kind, 3, 3]) + len(fragment).to_bytes(2, "big") + fragment


def message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def hellos(name: str, suite: int, extensions: bytes = b"") -> tuple[bytes, bytes]:
    """Of client and server. extensions: the server's."""
    randoms = [hashlib.sha256(f"{name} {end}".encode()).digest() for end in ("client", "server")]
    chosen = suite.to_bytes(2, "big")
    added = len(extensions).to_bytes(2, "big") + extensions if extensions else b""
    client = b"\3\3" + randoms[0] + b"\0\0\2" + chosen + b"\1\0"
    server = b"\3\3" + randoms[1] + b"\0" + chosen + b"\0" + added
    return record(HANDSHAKE, message(1, client)), record(HANDSHAKE, message(2, server))


def random_of(hello: bytes) -> bytes:
    return hello[11:43]


class Tls13:
    """AES-128-GCM with SHA-256.

    Attributes:
        keylog: its lines. wire: what was sent: (of the client, bytes).
    """

    def __init__(self, name: str) -> None:
        client, server = hellos(name, 0x1301, b"\0\x2b\0\2\3\4")
        self.wire = [(True, client), (False, server)]
        random = random_of(client)
        self._secrets: dict[bool, list[bytes]] = {}
        self.keylog = b""
        for of_client, end in ((True, "CLIENT"), (False, "SERVER")):
            labels = (f"{end}_HANDSHAKE_TRAFFIC_SECRET", f"{end}_TRAFFIC_SECRET_0")
            self._secrets[of_client] = [hashlib.sha256(f"{name} {label}".encode()).digest() for label in labels]
            for label, secret in zip(labels, self._secrets[of_client], strict=True):
                self.keylog += f"{label} {random.hex()} {secret.hex()}\n".encode()
        self._sequence = {True: 0, False: 0}

    def say(self, of_client: bool, kind: int, content: bytes, *, padding: int = 0) -> Tls13:
        secret, sequence = self._secrets[of_client][0], self._sequence[of_client]
        key, iv = _labelled(secret, b"key", 16), _labelled(secret, b"iv", 12)
        nonce = bytes(a ^ b for a, b in zip(iv, sequence.to_bytes(12, "big"), strict=True))
        inner = content + bytes([kind]) + bytes(padding)
        head = b"\x17\3\3" + (len(inner) + 16).to_bytes(2, "big")
        self.wire.append((of_client, head + AESGCM(key).encrypt(nonce, inner, head)))
        self._sequence[of_client] += 1
        return self

    def next_key(self, of_client: bool, content: bytes) -> Tls13:
        """The message after which the next secret is the one in use: Finished, or a KeyUpdate."""
        self.say(of_client, HANDSHAKE, content)
        used = self._secrets[of_client].pop(0)
        self._secrets[of_client] = self._secrets[of_client] or [_labelled(used, b"traffic upd", _SECRET_SIZE)]
        self._sequence[of_client] = 0
        return self


class Tls12:
    """AES-128 with SHA-256's HMAC (the MAC inside or outside) or with GCM."""

    def __init__(self, name: str, *, gcm: bool, mac_after: bool = False) -> None:
        client, server = hellos(name, 0xC02F if gcm else 0x003C, b"\0\x16\0\0" if mac_after else b"")
        self.wire = [(True, client), (False, server)]
        self._gcm, self._mac_after = gcm, mac_after
        master = hashlib.sha384(name.encode()).digest()
        self.keylog = f"CLIENT_RANDOM {random_of(client).hex()} {master.hex()}\n".encode()
        seed, block, a = b"key expansion" + random_of(server) + random_of(client), b"", b""
        while len(block) < 104:
            a = hmac.digest(master, a or seed, "sha256")
            block += hmac.digest(master, a + seed, "sha256")
        sizes: Sequence[int] = (16, 16, 4, 4) if gcm else (32, 32, 16, 16)
        cuts: list[bytes] = []
        for size in sizes:
            cuts.append(block[:size])
            block = block[size:]
        self._keys = {True: (cuts[0], cuts[2]), False: (cuts[1], cuts[3])}
        self._sequence = {True: 0, False: 0}

    def start(self, of_client: bool) -> Tls12:
        """ChangeCipherSpec and Finished."""
        self.wire.append((of_client, record(CHANGE_CIPHER_SPEC, b"\1")))
        return self.say(of_client, HANDSHAKE, FINISHED)

    def say(self, of_client: bool, kind: int, content: bytes) -> Tls12:
        first, second = self._keys[of_client]
        number = self._sequence[of_client].to_bytes(8, "big")
        self._sequence[of_client] += 1
        told = number + bytes([kind, 3, 3])
        if self._gcm:
            sealed = AESGCM(first).encrypt(second + number, content, told + len(content).to_bytes(2, "big"))
            fragment = number + sealed
        else:
            iv = hashlib.sha256(number).digest()[:16]
            if not self._mac_after:
                content += hmac.digest(first, told + len(content).to_bytes(2, "big") + content, "sha256")
            left = 15 - len(content) % 16
            encryptor = Cipher(AES(second), modes.CBC(iv)).encryptor()
            fragment = iv + encryptor.update(content + bytes([left]) * (left + 1))
            if self._mac_after:
                fragment += hmac.digest(first, told + len(fragment).to_bytes(2, "big") + fragment, "sha256")
        self.wire.append((of_client, record(kind, fragment)))
        return self


def _labelled(secret: bytes, label: bytes, size: int) -> bytes:
    """RFC 8446, 7.1, of one block of SHA-256."""
    info = size.to_bytes(2, "big") + bytes([6 + len(label)]) + b"tls13 " + label + b"\0"
    return hmac.digest(secret, info + b"\1", "sha256")[:size]
