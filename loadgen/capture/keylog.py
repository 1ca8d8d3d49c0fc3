"""The secrets of tunnels as a key log has them (NSS format), looked up by the client's random."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["APPLICATION", "EARLY", "HANDSHAKE", "MASTER", "TunnelKeys"]

# Up to TLS 1.2 one secret is enough; TLS 1.3 has one for each direction (client first) and stage.
MASTER: Final = "CLIENT_RANDOM"
HANDSHAKE: Final = ("CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET")
APPLICATION: Final = ("CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0")
EARLY: Final = "CLIENT_EARLY_TRAFFIC_SECRET"

_USED = frozenset((MASTER, *HANDSHAKE, *APPLICATION, EARLY))
_LINE = re.compile(rb"([A-Z][A-Z0-9_]*) ([0-9A-Fa-f]{64}) ((?:[0-9A-Fa-f]{2}){16,64})")
# A label, a random, a secret of 64 bytes, and what is between them.
_LONGEST = 512


class TunnelKeys:
    """All secrets of one or more key logs: files, and what a capture brings along.

    Of two lines for the same label and random the later one counts, as in Wireshark: whoever repeats a line has a newer
    log. Lines with other labels (exporters', those of ECH) are no secrets of records, and are passed over.

    Attributes:
        refused: lines that are neither a comment nor of the format.
    """

    def __init__(self, data: bytes = b"") -> None:
        self.refused = 0
        self._secrets: dict[tuple[str, bytes], bytes] = {}
        self.add(data)

    def __len__(self) -> int:
        """Secrets that there are."""
        return len(self._secrets)

    def add(self, data: bytes) -> None:
        """Take in a whole file, or whole lines of one."""
        for line in data.splitlines():
            text = line.strip()
            if not text or text.startswith(b"#"):
                continue
            found = _LINE.fullmatch(text) if len(text) <= _LONGEST else None
            if found is None:
                self.refused += 1
            elif (label := found[1].decode("ascii")) in _USED:
                self._secrets[label, bytes.fromhex(found[2].decode())] = bytes.fromhex(found[3].decode())

    def secret(self, label: str, client_random: bytes) -> bytes | None:
        """None: no line says."""
        return self._secrets.get((label, client_random))
