"""A target that is started for a run: a command that prints a line when it is ready, and is ended afterwards."""

from __future__ import annotations

import os
import select
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import IO

from loadgen.errors import InputError, Problem
from loadgen.hosts import endpoints_in
from loadgen.run.keeper import keeper
from loadgen.run.signals import noted

READY_S = 60.0
_END_S = 10.0
_CHUNK_BYTES = 1 << 16
# The addresses of 100,000 WLCs at ports that the kernel has chosen take 2 MB.
_LINE_BYTES = 4 << 20
# Between closing stdout and its end.
_CLOSED_S = 2.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class CommandTarget:
    """A process group of its own; its output goes nowhere, but for the line that says it is ready.

    Attributes:
        addresses: where it listens, as its line says; empty if the line names no address.
        rss_bytes: the most memory that the processes in its group took together, as far as somebody looked.
    """

    def __init__(self, process: subprocess.Popen[bytes], line: str) -> None:
        self._process = process
        self.addresses = endpoints_in(line)
        self.rss_bytes = 0
        self._cpu_s = self._cpu_so_far_s()

    def check_running(self, option: str) -> None:
        """Refuse a target that has ended: gone into the background, it could not be ended after the run, and B would be
        measured against what A left.

        Raises:
            InputError
        """
        if self._process.poll() is not None:
            found = f"exit code {self._process.returncode} after its line"
            raise InputError(Problem(option, "a command that goes on until it is ended", found))

    def look(self) -> None:
        """Note how much memory it takes now."""
        self.rss_bytes = max(self.rss_bytes, self._rss_now_bytes())

    def cpu_s(self) -> float:
        """CPU time since it was ready, of the processes in its group."""
        return max(0.0, self._cpu_so_far_s() - self._cpu_s)

    def _cpu_so_far_s(self) -> float:
        ticks = 0
        for stat in self._stats():
            # utime, stime and those of children that were waited for; the name before them may hold anything.
            ticks += sum(int(field) for field in stat.rpartition(")")[2].split()[11:15])
        return ticks / _TICKS_PER_S

    def _rss_now_bytes(self) -> int:
        total = 0
        for pid in self._pids():
            with suppress(OSError, StopIteration):
                lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
                total += int(next(line for line in lines if line.startswith("VmRSS:")).split()[1]) * 1024
        return total

    def _stats(self) -> Iterator[str]:
        for pid in self._pids():
            with suppress(OSError):
                yield Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")

    def _pids(self) -> list[int]:
        """Of its process group."""
        found = []
        for path in Path("/proc").iterdir():
            if path.name.isdecimal():
                with suppress(OSError):
                    if os.getpgid(int(path.name)) == self._process.pid:
                        found.append(int(path.name))
        return found


@contextmanager
def started(command: str, option: str, *, wait: bool = True) -> Iterator[CommandTarget]:
    """Start a target, and end it afterwards, with all that it started: SIGTERM, and SIGKILL if that does not do.

    Args:
        option: where the command comes from, for messages.
        wait: for the line that it is ready.

    Raises:
        InputError: it cannot be started, or does not get ready.
    """
    words = _words(command, option)
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, process_group=0
            )
        except OSError as error:
            found = (error.strerror or str(error)).lower()
            raise InputError(Problem(option, f"a command that can be started: {words[0]}", found)) from error
        keeper().keep(process.pid, _END_S)
        assert process.stdout is not None
        try:
            line = _first_line(process, option, errors) if wait else ""
        except InputError:
            _end(process)
            process.stdout.close()
            raise
        try:
            # A server that talks on must not wait for us to listen. The thread ends with whoever holds the other end.
            Thread(target=_discard, args=(process.stdout,), daemon=True).start()
            yield _ready(process, line, option)
        finally:
            _end(process)


def _ready(process: subprocess.Popen[bytes], line: str, option: str) -> CommandTarget:
    try:
        return CommandTarget(process, line)
    except ValueError as error:
        raise InputError(Problem(f"{option}: its first line", str(error), f'"{line}"')) from error


def _words(command: str, option: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise InputError(Problem(option, "a command", f"{command!r}: {str(error).lower()}")) from error
    if not words:
        raise InputError(Problem(option, "wlc=HOST:PORT[,...], or a command", "nothing"))
    return words


def _first_line(process: subprocess.Popen[bytes], option: str, errors: IO[bytes]) -> str:
    assert process.stdout is not None
    fd, line, until = process.stdout.fileno(), b"", time.monotonic() + READY_S
    os.set_blocking(fd, False)
    while b"\n" not in line:
        select.select([fd], [], [], max(0.0, until - time.monotonic()))
        try:
            data = os.read(fd, _CHUNK_BYTES)
        except BlockingIOError:
            found = f"nothing for {READY_S:.0f} s"
            raise InputError(Problem(option, "a line on stdout when it is ready", found)) from None
        if not data or len(line) > _LINE_BYTES:
            found = "no end of a line" if data else _why_silent(process, errors)
            raise InputError(Problem(option, "a line on stdout when it is ready", found))
        line += data
    return line.partition(b"\n")[0].decode("utf-8", "replace")


def _discard(stream: IO[bytes]) -> None:
    os.set_blocking(stream.fileno(), True)
    with stream, suppress(OSError):
        while os.read(stream.fileno(), _CHUNK_BYTES):
            pass


def _why_silent(process: subprocess.Popen[bytes], errors: IO[bytes]) -> str:
    """Why there will be no line: nearly always it has ended."""
    try:
        how = f"exit code {process.wait(_CLOSED_S)}"
    except subprocess.TimeoutExpired:
        how = "stdout closed, and still running"
    errors.seek(0)
    said = errors.read().decode("utf-8", "replace").strip().splitlines()
    return how + (f": {said[-1]}" if said else "")


def _end(process: subprocess.Popen[bytes]) -> None:
    with noted():  # whoever is in a hurry would leave it running
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_S)
                break
        # What it started and did not end itself.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        keeper().leave(process.pid)
