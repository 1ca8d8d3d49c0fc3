"""`--trace` of a run: the file, opened before anything starts, and what is written into it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

from loadgen.commands.output import complain
from loadgen.drive.tracing import Traced, Tracing
from loadgen.errors import InputError, Problem
from loadgen.nmsp.messages import Role

if TYPE_CHECKING:
    from loadgen.diagnosis.fleet_trace import FleetTrace

STDERR = "-"
DEFAULT_LIMIT = 100


class TraceFile:
    """Where handshakes go. A disk that is full ends the trace, and not the run."""

    def __init__(self, name: str, stream: IO[bytes], limit: int) -> None:
        self._name, self._stream, self._limit = name, stream, limit
        self._trace: FleetTrace | None = None
        self._failed = False

    @property
    def tracing(self) -> Tracing:
        """For the run's supervisor."""
        return Tracing(self._limit, self._take, self._end)

    def _take(self, traced: Traced, process: int, to_unix_ns: int) -> None:
        self._write(self._begun(to_unix_ns).lines(traced, process))

    def _end(self, untraced: Mapping[Role, int | None]) -> None:
        self._write([self._begun(0).last_line(untraced)])

    def _begun(self, to_unix_ns: int) -> FleetTrace:
        """The trace, which begins with the first handshake. Args: to_unix_ns: of that."""
        from loadgen.diagnosis.fleet_trace import FleetTrace  # not above: few runs are traced

        if self._trace is None:
            self._trace = FleetTrace(self._limit, to_unix_ns)
        return self._trace

    def _write(self, lines: list[str]) -> None:
        if self._failed or not lines:
            return
        try:
            self._stream.write("".join(f"{line}\n" for line in lines).encode())
            self._stream.flush()
        except OSError as error:
            self._failed = True
            if self._name != STDERR:
                complain(f"--trace {self._name}: {_reason(error)}; the trace ends here")


@contextmanager
def trace_file(name: str | None, limit: int | None) -> Iterator[TraceFile | None]:
    """What `--trace` and `--trace-limit` ask for; None: nothing.

    Raises:
        InputError: it cannot be had.
    """
    if name is None:
        if limit is not None:
            raise InputError(Problem("--trace-limit", "--trace FILE with it", "no --trace"))
        yield None
        return
    try:
        stream = _stderr() if name == STDERR else open(name, "wb")  # noqa: SIM115, PTH123 - closed below
    except (OSError, ValueError) as error:
        found = f"{name}: {_reason(error)}"
        raise InputError(Problem("--trace", f"a file that can be written, or {STDERR} for stderr", found)) from error
    try:
        yield TraceFile(name, stream, DEFAULT_LIMIT if limit is None else limit)
    finally:
        with suppress(OSError):  # said already: what could not be written is still in its buffer
            stream.close()


def _stderr() -> IO[bytes]:
    if sys.stderr is None:  # started with 2>&-
        raise ValueError("stderr is closed")
    return os.fdopen(os.dup(sys.stderr.fileno()), "wb")


def _reason(error: OSError | ValueError) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
