"""The secrets of tunnels, as lines of an NSS key log: whoever has them reads what went through the tunnels.

OpenSSL makes the lines, for TLS 1.2, TLS 1.3 and DTLS alike, and has a callback of its own for them, a context's: a key
log is put beside whatever else looks on at a tunnel.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from OpenSSL import SSL

from loadgen.files import open_private_log


class KeyLog:
    """Appends to a file, whole lines, so that several processes may do so at once.

    Attributes:
        path: the file's.
        trouble: why lines are missing; empty if none are. A disk that is full ends the log, and no tunnel.
    """

    def __init__(self, path: Path, where: str) -> None:
        """Args: as of `open_private_log`.

        Raises:
            InputError: the file cannot be had.
        """
        self._file = open_private_log(path, where)
        self.path = path
        self.trouble = ""

    def observe(self, contexts: Iterable[SSL.Context]) -> None:
        """Have the secrets of all tunnels of these contexts logged; before there is any."""
        for context in contexts:
            context.set_keylog_callback(self._take)

    def _take(self, _connection: SSL.Connection, line: bytes) -> None:
        if self.trouble:
            return
        whole = line + b"\n"
        try:
            # One call for each line: O_APPEND keeps those of other processes apart.
            if os.write(self._file, whole) < len(whole):
                self.trouble = "cut off in mid-line"
        except OSError as error:
            self.trouble = (error.strerror or str(error)).lower()
