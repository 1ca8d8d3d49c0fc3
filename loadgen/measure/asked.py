"""What a plan asks for against what was done: one row for each thing that can fall short."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

# Of what was asked for: less than that is a blemish, which is named, and no reason not to pass.
TOLERANCE = 0.01
# Of one run, so that it stays a line: sessions that are named.
MOST_NAMED = 4
# What counts those that were begun: the rest was dropped. What is due is the plan's, as far as MSEs were subscribed; it
# goes on being due while a session that should be there is not.
_BEGUN = {"notify": "notify.sent", "handshakes": "handshakes.attempted", "requests": "requests.sent"}
_WORDS = {"notify": "notifications", "handshakes": "handshakes", "requests": "requests"}


class Absence(msgspec.Struct, frozen=True):
    """Of the sessions that one worker was to have: those that were not there, while they should have been.

    Attributes:
        sessions: that there should have been.
        load_s: for how long each of them.
        before_s: how much earlier, as a session was up already, somebody else's schedule may have begun, and ended.
        away_s: for how long they were not there, all together.
        missing: at the end of that time.
        named: who, and how, of those that were away longest; `others` are not named.
    """

    sessions: int
    load_s: float
    away_s: float = 0.0
    missing: int = 0
    named: tuple[str, ...] = ()
    others: int = 0
    before_s: float = 0.0


class Asked(NamedTuple):
    """What a plan asks for; 0 where it asks for nothing of the kind, or nobody can say how many.

    Attributes:
        sessions: all the time.
        load_s: how long the load is to last.
        allowed_s: how much of that may be missing at its end: see `Absence.before_s`.
    """

    sessions: int = 0
    load_s: float = 0.0
    allowed_s: float = 0.0


class Shortfall(NamedTuple):
    """One thing that was asked for and not done.

    Attributes:
        grave: more of it than is tolerated.
        who: it was that was missing.
    """

    what: str
    grave: bool
    who: str = ""

    @property
    def reason(self) -> str:
        return f"{self.what}: {self.who}" if self.who else self.what


def shortfalls(
    asked: Asked, load_s: float, counters: Mapping[str, int], absences: Sequence[Absence]
) -> tuple[Shortfall, ...]:
    """Everything that fell short, of a run that nobody cut off."""
    return (
        *_sessions(asked, counters, absences),
        *_length(asked, load_s),
        *_counts(counters),
        *_resumed(counters),
    )


def _sessions(asked: Asked, counters: Mapping[str, int], absences: Sequence[Absence]) -> Iterator[Shortfall]:
    if not asked.sessions:
        return
    wanted_s = sum(absence.sessions * absence.load_s for absence in absences)
    if not wanted_s:  # there was no load to be there for
        missing = asked.sessions - counters.get("sessions.established", 0)
        if missing > 0:
            what = f"{missing:,} of {asked.sessions:,} sessions never came up"
            yield Shortfall(what, missing > asked.sessions * TOLERANCE)
        return
    away = sum(absence.away_s for absence in absences) / wanted_s
    if not away:
        return
    missing = sum(absence.missing for absence in absences)
    named = [name for absence in absences for name in absence.named]
    others = sum(absence.others for absence in absences) + len(named[MOST_NAMED:])
    who = "; ".join(named[:MOST_NAMED]) + (f"; and {others:,} more" if others else "")
    at_end = f"{missing:,} of {asked.sessions:,} at its end"
    yield Shortfall(f"sessions were missing for {_share(away)} of the load, {at_end}", away > TOLERANCE, who)


def _length(asked: Asked, load_s: float) -> Iterator[Shortfall]:
    short_s = asked.load_s - asked.allowed_s - load_s
    if short_s > asked.load_s * TOLERANCE:
        yield Shortfall(f"the load ended after {load_s:.1f} of {asked.load_s:.1f} s", grave=True)


def _counts(counters: Mapping[str, int]) -> Iterator[Shortfall]:
    for kind, begun in _BEGUN.items():
        due = counters.get(f"{kind}.due", 0)
        short = due - counters.get(begun, 0) - counters.get(f"{kind}.dropped", 0)
        if short > 0:
            what = f"{short:,} of {due:,} {_WORDS[kind]} that were due were neither sent nor dropped"
            yield Shortfall(what, short > due * TOLERANCE)
    attempted, failed = counters.get("handshakes.attempted", 0), counters.get("handshakes.failed", 0)
    if failed > attempted * TOLERANCE:
        yield Shortfall(f"{failed:,} of {attempted:,} handshakes were not completed", grave=True)


def _resumed(counters: Mapping[str, int]) -> Iterator[Shortfall]:
    """Another mix of full and resumed handshakes is another load."""
    asked, resumed = counters.get("handshakes.resumption_asked", 0), counters.get("handshakes.resumed", 0)
    # One that did not come to its end has done neither, and is told of by itself; of them, as many as of all.
    ended = counters.get("handshakes.failed", 0) + counters.get("handshakes.withdrawn", 0)
    missing = asked - resumed - math.ceil(asked * ended / max(1, counters.get("handshakes.attempted", 0)))
    if missing > 0:
        offered = counters.get("handshakes.resumption_offered", 0)
        what = f"{resumed:,} of {asked:,} handshakes that load.resumed asks for resumed an earlier session"
        why = f"the target had given something to offer for {offered:,} of them"
        yield Shortfall(what, missing > asked * TOLERANCE, why)


def _share(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}" if share >= 0.001 else "less than 0.1%"
