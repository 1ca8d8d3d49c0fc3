"""Where a run's intervals wait for its end: in memory while they are few, then in a temporary file."""

from __future__ import annotations

import os
import tempfile
import weakref
from typing import TypeAlias

# About an hour of one worker's intervals; a run of a day keeps no more than this in memory.
_MEMORY_BYTES = 32 * 1024 * 1024

# Offset and size in the file; or the bytes themselves.
Kept: TypeAlias = tuple[int, int] | bytes


class Spool:
    """Bytes to be read again, in any order. The file has no name, so it is gone with the process."""

    def __init__(self, memory_bytes: int = _MEMORY_BYTES) -> None:
        """Args: memory_bytes: how much is kept in memory before anything goes to the file."""
        self._memory_left = memory_bytes
        self._fd: int | None = None
        self._end = 0

    def keep(self, data: bytes) -> Kept:
        """Where `data` can be found again. A disk that is full costs memory, and not the run."""
        if self._memory_left >= len(data):
            self._memory_left -= len(data)
            return data
        try:
            if self._fd is None:
                self._fd = self._open()
            if os.pwrite(self._fd, data, self._end) < len(data):
                return data
        except OSError:
            return data
        self._end += len(data)
        return self._end - len(data), len(data)

    def read(self, kept: Kept) -> bytes:
        """What was kept there."""
        if isinstance(kept, bytes):
            return kept
        assert self._fd is not None
        offset, size = kept
        return os.pread(self._fd, size, offset)

    def _open(self) -> int:
        # Not buffered: what a full disk did not take must not come back at the next call.
        with tempfile.TemporaryFile(buffering=0) as file:
            fd = os.dup(file.fileno())
        weakref.finalize(self, os.close, fd)
        return fd
