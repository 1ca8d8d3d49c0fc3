"""Master secrets of sessions that are resumed: not all stacks log them again, under the random that is new (GnuTLS)."""

from __future__ import annotations

from typing import Final

from loadgen.capture.keylog import MASTER, TunnelKeys
from loadgen.capture.tls_hello import HelloOfClient, HelloOfServer

__all__ = ["Masters"]

# Identifiers and tickets, 48 bytes to some 2 KiB each.
_MOST: Final = 1 << 14


class Masters:
    """Master secrets up to TLS 1.2: by the key log, or by the session that is resumed, if the capture has it too."""

    def __init__(self, keys: TunnelKeys) -> None:
        self.keys = keys
        # By session identifier and by ticket, the latest last.
        self._sessions: dict[bytes, bytes] = {}

    def of(self, client: HelloOfClient, server: HelloOfServer) -> bytes | None:
        """None: nothing says."""
        master = self.keys.secret(MASTER, client.random)
        # The server repeats the client's identifier to say that it resumes, whatever it knows the session by.
        if master is None and server.session and server.session == client.session:
            master = self._sessions.get(client.ticket or server.session)
        if master is not None:
            self.remember(server.session, master)
        return master

    def remember(self, name: bytes, master: bytes) -> None:
        """name: by which the session may be resumed, identifier or ticket; empty: it may not."""
        if name:
            self._sessions.pop(name, None)
            self._sessions[name] = master
            if len(self._sessions) > _MOST:
                del self._sessions[next(iter(self._sessions))]
