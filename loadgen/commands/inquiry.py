"""From the options of `loadgen status` to what is printed: find the run, ask it, show."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from loadgen.commands.output import complain, say
from loadgen.errors import ExitCode, InputError, Problem
from loadgen.report import status as shown
from loadgen.status.answer import MAX_ROWS, Answer, Question, Side, SideCounts, Subject, one_per_address
from loadgen.status.asking import FoundRun, ask, runs
from loadgen.status.door import directory
from loadgen.status.model import document, instance

_PEER = re.compile(r"\[(.+)\](?::(\d{1,5}))?|([^:]+)(?::(\d{1,5}))?|[^\[\]]+")
_VIEWS: dict[str | None, Callable[[Answer], str]] = {
    None: shown.overview,
    "capability": shown.capability,
    "subscription": shown.subscription,
    "statistics": shown.statistics,
    "json": lambda answer: _json(document(answer)),
}
# What a controller says of itself, where our WLCs are one.
_CONTROLLERS_VIEWS: dict[str, Callable[[Side], str]] = {
    "plain": shown.plain,
    "yang": lambda side: _json(instance(side)),
}
_LIMIT = 20
# Of several runs, in one line.
_MOST_NAMED = 8
_NOT_YET = Side("wlc", 0, 0, "", SideCounts(0, 0, 0, {}, {}, {}), (), {}, ())


class Inquiry(NamedTuple):
    """The options of `loadgen status`, as they were given."""

    run: str | None
    view: str | None
    peer: str | None
    limit: int | None
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
        expected = f"a process id, one of {_ids(chosen)}"
        raise InputError(Problem("RUN", expected, f'"{inquiry.run}", the name of several'))
    of_controller = _CONTROLLERS_VIEWS.get(inquiry.view or "")
    limit = _LIMIT if inquiry.limit is None else inquiry.limit
    # What is one row there may be any number here.
    asked = Question(Subject.PEERS, MAX_ROWS if of_controller else limit, address, port)
    answer = ask(where, chosen[0].door, asked)
    if answer is None:  # it has ended since
        return _nobody(where)
    if of_controller is None:
        say(_VIEWS[inquiry.view](answer))
    else:
        say(of_controller(controller(answer, inquiry.view or "", inquiry.limit)))
    return int(ExitCode.PASSED)


def controller(answer: Answer, view: str, limit: int | None) -> Side:
    """Our WLCs as one controller; without a peer while they are not there yet.

    Raises:
        InputError: there are none.
    """
    if not answer.run.plays_wlc:
        raise InputError(Problem(f"--{view}", "a run with WLCs of ours, whose table it is", "a run of MSEs only"))
    side = next((side for side in answer.sides if side.role == "wlc"), _NOT_YET)
    for why in side.missing:
        complain(f"missing: {why}")
    return msgspec.structs.replace(side, rows=one_per_address(side.rows)[:limit])


def _json(value: dict[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(value)).decode()


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


def _named(found: Sequence[FoundRun], name: str) -> list[FoundRun]:
    """The runs with this process id, or name.

    Raises:
        InputError: there is none.
    """
    by_pid = [run for run in found if run.door.removesuffix(".sock") == name]
    chosen = by_pid or [run for run in found if run.info is not None and name in (str(run.info.pid), run.info.scenario)]
    if not chosen:
        raise InputError(Problem("RUN", f"one of {_ids(found)}", f'"{name}"'))
    return chosen


def _ids(found: Sequence[FoundRun]) -> str:
    """Process ids with the names of what they run, in a complaint: `--list` has the rest."""
    named = [run.door.removesuffix(".sock") + (f" ({run.info.scenario})" if run.info else "") for run in found]
    return ", ".join(named[:_MOST_NAMED]) + (", ..." if len(named) > _MOST_NAMED else "")


def _listed(found: Sequence[FoundRun]) -> str:
    return shown.listing([run.info for run in found if run.info], [run.door for run in found if run.info is None])
