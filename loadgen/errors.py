"""Every exception of this package, and the exit codes of the command.

One tree. An error that reaches the command line ends the run with its `exit_code`; a fault of one peer is
data (it has a `kind`, and is counted) and never gets that far. "Could not keep up" and "threshold failed"
are verdicts of a run, not exceptions: they have exit codes here and no class.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from typing import Any, NamedTuple

from loadgen.foreign import plain


class ExitCode(IntEnum):
    """Exit codes of `loadgen`, documented in docs/exit-codes.md."""

    PASSED = 0
    THRESHOLD_FAILED = 1
    BAD_INPUT = 2  # click uses 2 for bad options as well
    UNREACHABLE = 3
    GENERATOR_SATURATED = 4
    INCONCLUSIVE = 5
    WORKER_DIED = 6
    NOT_WRITTEN = 7
    INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it


class LoadgenError(Exception):
    """Base of everything this package raises on purpose."""

    exit_code = ExitCode.BAD_INPUT


# Characters of one problem: a path may have 4,096; a list of all subservices has 400.
_MOST = 8192


class Problem(NamedTuple):
    """One thing wrong with the input: where it is, what was expected there and what was found."""

    where: str
    expected: str
    found: str

    def __str__(self) -> str:
        return plain(f"{self.where}: expected {self.expected}, found {self.found}", _MOST)


class InputError(LoadgenError):
    """A file, an option or a scenario is not usable; carries every problem that was found, not the first."""

    def __init__(self, problems: Problem | Sequence[Problem]) -> None:
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


@contextmanager
def noting(problems: list[Problem]) -> Iterator[None]:
    """Go on after bad input, so that all of it can be told at once."""
    try:
        yield
    except InputError as error:
        problems.extend(error.problems)


class NotWritten(LoadgenError):
    """Files of a result could not be written; carries the result itself, which is whole, and what is wrong."""

    exit_code = ExitCode.NOT_WRITTEN

    def __init__(self, result: Any, problems: Sequence[str]) -> None:
        self.result = result
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


class ProtocolError(LoadgenError):
    """A violation of NMSP. Abstract: `LocalProtocolError` is our bug, `RemoteProtocolError` is the peer's."""

    def __init__(self, kind: str, detail: str) -> None:
        if type(self) is ProtocolError:
            raise TypeError("raise LocalProtocolError or RemoteProtocolError: whose fault is it?")
        self.kind = kind  # a short constant, the last part of a counter's name: errors.<phase>.<kind>
        super().__init__(f"{kind}: {detail}")


class LocalProtocolError(ProtocolError):
    """We were about to break the protocol: a bug of this program. Ends the run."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol. Costs its session, counted as `errors.<phase>.<kind>`."""
