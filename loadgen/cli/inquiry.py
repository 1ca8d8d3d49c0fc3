"""From the options of `loadgen status` to what is printed: find the run, ask it, show."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from loadgen.cli.output import complain, say
from loadgen.errors import ExitCode, InputError, Problem
from loadgen.report import status as shown
from loadgen.status.answer import Answer, Question, Subject
from loadgen.status.asking import Found, ask, runs
from loadgen.status.door import directory
from loadgen.status.model import document

_PEER = re.compile(r"\[(.+)\](?::(\d{1,5}))?|([^:]+)(?::(\d{1,5}))?|[^\[\]]+")
_VIEWS: dict[str | None, Callable[[Answer], str]] = {
    None: shown.overview,
    "capability": shown.capability,
    "subscription": shown.subscription,
    "statistics": shown.statistics,
    "json": lambda answer: msgspec.json.format(msgspec.json.encode(document(answer))).decode(),
}


class Inquiry(NamedTuple):
    """The options of `loadgen status`, as they were given."""

    run: str | None
    view: str | None
    peer: str | None
    limit: int
    listing: bool


def inquire(inquiry: Inquiry) -> int:
    """Do it; returns the exit code.

    Raises:
        InputError: no such run, or an option that is none.
        NoAnswer: the run is there and does not answer.
    """
    address, port = ("", 0) if inquiry.peer is None else read_peer(inquiry.peer)
    where = directory()
    found = runs(where)
    if not found:
        return _nobody(where)
    chosen = found if inquiry.run is None else _named(found, inquiry.run)
    if inquiry.listing or (inquiry.run is None and len(chosen) > 1):
        say(_listed(chosen))
        if inquiry.listing:
            return int(ExitCode.PASSED)
        complain("several runs are going on: name one by its process id")
        return int(ExitCode.BAD_INPUT)
    if len(chosen) > 1:
        expected = f"a process id, of\n{_listed(chosen)}\n"
        raise InputError(Problem("RUN", expected, f'"{inquiry.run}", the name of several'))
    answer = ask(where, chosen[0].door, Question(Subject.PEERS, inquiry.limit, address, port))
    if answer is None:  # it has ended since
        return _nobody(where)
    say(_VIEWS[inquiry.view](answer))
    return int(ExitCode.PASSED)


def read_peer(text: str) -> tuple[str, int]:
    """Read "192.0.2.7", "192.0.2.7:16113", "2001:db8::1" or "[2001:db8::1]:16113"; port 0 means any.

    Raises:
        InputError
    """
    address, port = "", 0
    if (found := _PEER.fullmatch(text)) is not None:
        with suppress(ValueError):
            address, port = str(ipaddress.ip_address(found[1] or found[3] or text)), int(found[2] or found[4] or 0)
    if not address or port > 65535:
        expected = 'an IP address such as "192.0.2.7", with a port or without'
        raise InputError(Problem("--peer", expected, f'"{text}"'))
    return address, port


def _nobody(where: Path) -> int:
    complain(f"no run of yours is going on (looked in {where})")
    return int(ExitCode.UNREACHABLE)


def _named(found: Sequence[Found], name: str) -> list[Found]:
    """The runs with this process id, or name.

    Raises:
        InputError: there is none.
    """
    by_pid = [run for run in found if run.door.removesuffix(".sock") == name]
    chosen = by_pid or [run for run in found if run.info is not None and name in (str(run.info.pid), run.info.scenario)]
    if not chosen:
        raise InputError(Problem("RUN", f"one of\n{_listed(found)}\n", f'"{name}"'))
    return chosen


def _listed(found: Sequence[Found]) -> str:
    return shown.listing([run.info for run in found if run.info], [run.door for run in found if run.info is None])
