"""Files of packets: readable by their owner alone, whole blocks only, one after another when they are to rotate."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from loadgen.errors import InputError, Problem

_MODE = 0o600
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


class Limits(NamedTuple):
    """How large files may become. 0: there is no such limit.

    Attributes:
        file_bytes, file_ns: when the next file begins.
        files: how many are kept; the oldest goes.
        total_bytes: of all files together, also those that went.
    """

    file_bytes: int = 0
    file_ns: int = 0
    files: int = 0
    total_bytes: int = 0

    @property
    def rotates(self) -> bool:
        """There is to be more than one file, each with a number and its time in its name."""
        return bool(self.file_bytes or self.file_ns)


class CaptureFiles:
    """Appends blocks.

    Attributes:
        paths: of the files that are there, oldest first.
        pending_bytes: put, and not written yet.
        written_bytes: of all files, also those that went.
        trouble: why nothing is written any more; empty: it is.
        is_full: the limit of all files together is reached; what does not fit was left out.
    """

    def __init__(
        self, path: Path, header: bytes, limits: Limits, stamp: Callable[[], str], now_ns: int, *, replace: bool = False
    ) -> None:
        """Args:
        header: what each file begins with.
        stamp: the time, for names: "20261130123508".
        now_ns: when the first file begins, of the clock that `put` has.
        replace: a file that is there may go.

        Raises:
            InputError: the first file cannot be made.
        """
        self._path, self._header, self._limits = path, header, limits
        self._stamp, self._replace = stamp, replace
        self.paths: deque[Path] = deque()
        self.trouble = ""
        self.is_full = False
        self.written_bytes = 0
        self._number = 0
        self._pending: list[bytes] = []  # whole blocks each
        self.pending_bytes = 0
        self._file_bytes = self._began_ns = 0
        self._descriptor = -1
        try:
            self._begin(now_ns)
            self.flush()
        except FileExistsError as error:
            raise InputError(
                Problem("--out", "no file there yet, or --force", f"{self._next_path()}: an existing file")
            ) from error
        except (OSError, ValueError) as error:
            found = f"{path}: {_reason(error)}"
            raise InputError(Problem("--out", "a file that can be created", found)) from error
        if self.trouble:
            self._drop()
            raise InputError(Problem("--out", "a file that can be written", f"{path}: {self.trouble}"))

    def _next_path(self) -> Path:
        """As Wireshark's dumpcap names the files of a ring."""
        if not self._limits.rotates:
            return self._path
        return self._path.with_name(f"{self._path.stem}_{self._number:05d}_{self._stamp()}{self._path.suffix}")

    def _begin(self, now_ns: int) -> None:
        """Raises: OSError."""
        self._number += 1
        path = self._next_path()
        if self._replace and (found := _status(path)) is not None and stat.S_ISREG(found.st_mode):
            path.unlink()
        self._descriptor = os.open(path, _FLAGS, _MODE)
        os.fchmod(self._descriptor, _MODE)  # whatever the umask leaves of it
        self.paths.append(path)
        self._began_ns, self._file_bytes = now_ns, 0
        self._append(self._header)

    def _append(self, blocks: bytes) -> None:
        self._pending.append(blocks)
        self.pending_bytes += len(blocks)
        self._file_bytes += len(blocks)
        self.written_bytes += len(blocks)

    def put(self, blocks: bytes, now_ns: int) -> None:
        """Append whole blocks, all of them to the same file; `flush` has them written."""
        if self.trouble or self.is_full or not blocks:
            return
        limits = self._limits
        rotates = self._file_bytes > len(self._header) and bool(
            (limits.file_bytes and self._file_bytes + len(blocks) > limits.file_bytes)
            or (limits.file_ns and now_ns - self._began_ns >= limits.file_ns)
        )
        more = len(blocks) + (len(self._header) if rotates else 0)
        if limits.total_bytes and self.written_bytes + more > limits.total_bytes:
            self.is_full = True
            return
        if rotates:
            self._rotate(now_ns)
        if not self.trouble:
            self._append(blocks)

    def _rotate(self, now_ns: int) -> None:
        self.flush()
        os.close(self._descriptor)
        self._descriptor = -1
        try:
            while self._limits.files and len(self.paths) >= self._limits.files:
                with suppress(FileNotFoundError):  # somebody has taken it away already
                    self.paths[0].unlink()
                self.paths.popleft()
            self._begin(now_ns)
        except OSError as error:
            self.trouble = f"{error.filename}: {_reason(error)}" if error.filename else _reason(error)

    def flush(self) -> None:
        """Write what was put. Where that fails, what was written before is whole, and nothing more is."""
        if not self._pending or self.trouble:
            return
        data = memoryview(b"".join(self._pending))
        done = 0
        try:
            while done < len(data):
                done += os.write(self._descriptor, data[done:])
        except OSError as error:
            self.trouble = _reason(error)
            self._cut(done)
        self._pending.clear()
        self.pending_bytes = 0

    def _cut(self, done: int) -> None:
        """Take away the beginning of a block that did not fit."""
        whole = 0
        for blocks in self._pending:
            if whole + len(blocks) > done:
                break
            whole += len(blocks)
        lost = self.pending_bytes - whole
        self._file_bytes -= lost
        self.written_bytes -= lost
        with suppress(OSError):
            os.ftruncate(self._descriptor, self._file_bytes)

    def close(self) -> None:
        """Write what is left."""
        self.flush()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _drop(self) -> None:
        """Leave nothing behind."""
        self.close()
        for path in self.paths:
            path.unlink(missing_ok=True)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:
        return None


def _reason(error: OSError | ValueError) -> str:
    """The system's own words."""
    return ((isinstance(error, OSError) and error.strerror) or str(error)).lower()
