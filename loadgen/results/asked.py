"""What a plan asks for against what was done: one row for each thing that can fall short."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from loadgen.measure.books import to_come
from loadgen.results.health import Dialing
from loadgen.results.paces import PACE_TOLERANCE, TOLERANCE, Shortage, Standstill, is_paced
from loadgen.units import format_duration

_UNJUDGED = "no threshold says how many may be"
# A notification has a latency and a service.
_DURATIONS_OF_EACH = 2
# What is under way on a long line; with its queues.
_LONGEST_ON_THE_WAY_S = 1.0
# Of one run, so that it stays a line: sessions that are named.
MOST_NAMED = 4
# What counts those that were begun: the rest was dropped. What is due is the plan's, as far as MSEs were subscribed; it
# goes on being due while a session that should be there is not.
_BEGUN = {"notify": "notify.sent", "handshakes": "handshakes.attempted", "requests": "requests.sent"}
_WORDS = {"notify": "notifications", "handshakes": "handshakes", "requests": "requests"}
# What was offered and came to nothing: its counter, of which it is a part, and how that is said. More than is tolerated
# is not passed, unless a threshold says how much of it may be. What is under way when a session ends is none of it.
_CAME_TO_NOTHING: tuple[tuple[str, Callable[[Mapping[str, int]], int], str], ...] = (
    (
        "handshakes.unfinished",
        lambda counters: counters.get("handshakes.attempted", 0),
        "handshakes had been begun long before the run ended, and not finished",
    ),
    ("notify.dropped", lambda counters: counters.get("notify.due", 0), "notifications were dropped"),
    ("notify.lost", to_come, "notifications were lost"),
    (
        "notify.untaken_bytes",
        lambda counters: counters.get("notify.sent_bytes", 0),
        "bytes of notifications were not taken yet when their links ended",
    ),
    (
        "notify.unconfirmed",
        lambda counters: counters.get("notify.sent", 0),
        "notifications were sent in sessions that their MSEs did not end in order behind our goodbye: nobody says that "
        "they were read",
    ),
    ("requests.dropped", lambda counters: counters.get("requests.due", 0), "requests were dropped"),
    ("handshakes.dropped", lambda counters: counters.get("handshakes.due", 0), "handshakes were dropped"),
)
# The same of what came, but not as it is to come: its counter, that of all that came, and how it is said.
_CAME_ODDLY = (
    ("notify.duplicated", "notify.received", "{count:,} of {came:,} notifications had come before"),
    ("notify.reordered", "notify.received", "{count:,} of {came:,} notifications came after later ones"),
    (
        "errors.stream.sequence_restart",
        "notify.received",
        "{count:,} of {came:,} notifications began the sequence numbers again",
    ),
    (
        "errors.stream.sequence_jump",
        "notify.received",
        "{count:,} of {came:,} notifications jumped ahead in the sequence numbers",
    ),
    (
        "errors.stream.not_subscribed",
        "notify.received",
        "{count:,} of {came:,} notifications were of something that was not subscribed to",
    ),
    (
        "requests.unmatched",
        "requests.answered",
        "{count:,} responses that nobody had asked for came beside {came:,} answers",
    ),
    (
        "echo.unmatched",
        "echo.received",
        "{count:,} echo responses that nobody had asked for came beside {came:,} answers",
    ),
)
# ... and at least that many: of a few, one is a large share.
_LEAST_ODD = 10
# What says how many messages a side was sent, as far as that is counted.
_MESSAGES = (
    *("notify.received", "echo.received", "echo.answered", "requests.answered", "requests.served"),
    "messages.unsupported",
)


class FellSilent(msgspec.Struct, frozen=True):
    """Of whom nothing came any more.

    Attributes:
        silent_s: for how long, at the end of a load; pause_s: the longest pause before that.
    """

    name: str
    silent_s: float
    pause_s: float

    @property
    def what(self) -> str:
        pause = f"its longest pause before was {self.pause_s:.1f} s"
        return f"{self.name}: nothing for the last {self.silent_s:.1f} s of the load, {pause}"


class Absence(msgspec.Struct, frozen=True):
    """Of the sessions that one worker was to have: those that were not there, while they should have been.

    Attributes:
        sessions: that there should have been.
        load_s: for how long each of them.
        before_s: how much earlier, as a session was up already, somebody else's schedule may have begun, and ended.
        away_s: for how long they were not there, all together.
        missing: at the end of that time.
        named: who, and how, of those that were away longest; `others` are not named.
        silent: sessions that were there, and in which the WLC had fallen silent when the load was over; silent_s: for
            how long, all together; silent_named: the longest of them.
        up: at the end of the load, for half of it and more; mute: of them, those from which nothing came (any more),
            and which are not `silent`.
        mute_named: who, of these, and since when.
        services: subservices of which nothing came any more in all these sessions.
        services_on: those of which something did, or that have told too little for that to be known.
        dialing_s: for how long they may still have been dialing for the first time, all together.
        beyond: sessions that were there in the load beside those, each place at its most; beyond_places: at
            so many; beyond_named: where there were most.
    """

    sessions: int
    load_s: float
    away_s: float = 0.0
    missing: int = 0
    named: tuple[str, ...] = ()
    others: int = 0
    before_s: float = 0.0
    silent: int = 0
    silent_s: float = 0.0
    silent_named: tuple[str, ...] = ()
    up: int = 0
    mute: int = 0
    mute_named: tuple[str, ...] = ()
    services: tuple[FellSilent, ...] = ()
    services_on: tuple[str, ...] = ()
    dialing_s: float = 0.0
    beyond: int = 0
    beyond_places: int = 0
    beyond_named: tuple[str, ...] = ()


class Asked(NamedTuple):
    """What a plan asks for; 0 where it asks for nothing of the kind, or nobody can say how many.

    Attributes:
        sessions: all the time.
        load_s: how long the load is to last.
        allowed_s: how much of that may be missing at its end: see `Absence.before_s`.
        judged: figures that thresholds are about: of those, somebody has said how much there may be.
        late: share of what is due that is owed to somebody else's MSEs while these may still be dialing, and have never
            been there.
        unsubscribing: the plan's own MSEs unsubscribe.
        refusable: share of the requests that the plan itself lets be refused.
    """

    sessions: int = 0
    load_s: float = 0.0
    allowed_s: float = 0.0
    judged: Collection[str] = ()
    late: float = 0.0
    unsubscribing: bool = False
    refusable: float = 0.0

    @property
    def paced(self) -> bool:
        """Somebody has said how fast it must go."""
        return is_paced(self.judged)


# What is counted apart, and comes to one thing: a threshold on one of them says nothing of the others.
_UNANSWERED = ("requests.timed_out", "requests.abandoned", "requests.withdrawn")
_ECHOES_UNANSWERED = ("echo.dropped", "echo.unanswered")


class Shortfall(NamedTuple):
    """One thing that was asked for and not done, or done though it was not.

    Attributes:
        grave: more of it than is tolerated.
        who: it was that was missing.
        theirs: the peers did not want it: nothing that they failed to do, and why the run did not do more.
        beyond: more than was asked for: nothing is missing, and it was another load.
    """

    what: str
    grave: bool
    who: str = ""
    theirs: bool = False
    beyond: bool = False

    @property
    def reason(self) -> str:
        return f"{self.what}: {self.who}" if self.who else self.what


def shortfalls(
    asked: Asked,
    load_s: float,
    counters: Mapping[str, int],
    absences: Sequence[Absence],
    paces: Sequence[Shortage] = (),
    durations: int = 0,
    dialings: Sequence[Dialing] = (),
    standstills: Sequence[Standstill] = (),
) -> tuple[Shortfall, ...]:
    """Everything that fell short, of a run that nobody cut off.

    Args:
        durations: how many there are between two clocks.
        dialings: how sessions were dialed, a worker each.
    """
    counts = (*_counts(asked, counters), *came_to_nothing(asked, counters))
    # What was dropped or failed is told by then, and shows in the pace, too; a session that is missing has no backlog.
    slow = () if counts else (*_taken_late(load_s, counters), *(() if _dropped(counters) else _paces(asked, paces)))
    return (
        *_sessions(asked, counters, absences),
        *_sessions_beyond(asked, absences),
        *_dialed(dialings),
        *_silences(asked, absences),
        *mute_sessions(asked, absences),
        *_services(asked, absences),
        *_length(asked, load_s),
        *counts,
        *_refused(asked, counters),
        *_came_oddly(asked, counters),
        *_cut_off(asked, counters, durations),
        *slow,
        *(Shortfall(each.what, not each.is_judged(asked.judged)) for each in standstills),
        *_declined(asked, counters),
        *_resumed(asked, counters),
    )


def _sessions(asked: Asked, counters: Mapping[str, int], absences: Sequence[Absence]) -> Iterator[Shortfall]:
    if not asked.sessions:
        return
    wanted = sum(absence.sessions for absence in absences if absence.load_s)
    if not wanted:  # there was no load to be there for
        missing = asked.sessions - counters.get("sessions.established", 0)
        if missing > 0:
            what = f"{missing:,} of {asked.sessions:,} sessions never came up"
            yield Shortfall(what, missing > asked.sessions * TOLERANCE)
        return
    # Each session weighs the same, whenever its time began.
    away = sum(absence.away_s / absence.load_s for absence in absences if absence.load_s) / wanted
    if not away:
        return
    missing = sum(absence.missing for absence in absences)
    named = [name for absence in absences for name in absence.named]
    who = _listed(named, len(named) + sum(absence.others for absence in absences))
    at_end = f"{missing:,} of {asked.sessions:,} at its end"
    # A peer with a schedule of its own may come later than ours begins, and leave before it ends.
    counted_s = sum(absence.load_s * absence.sessions for absence in absences) / wanted
    whole = "the load"
    if asked.load_s and abs(asked.load_s - counted_s) > asked.load_s * TOLERANCE:
        whole = f"the {counted_s:.1f} s (of a load of {asked.load_s:.1f} s) for which all should be there"
    yield Shortfall(f"sessions were missing for {_share(away)} of {whole}, {at_end}", away > TOLERANCE, who)


def _sessions_beyond(asked: Asked, absences: Sequence[Absence]) -> Iterator[Shortfall]:
    """Each is owed all that its WLC has to tell: with them it is another load, and all that was asked for is in it."""
    beyond = sum(absence.beyond for absence in absences)
    if beyond and asked.sessions:
        named = [name for absence in absences for name in absence.beyond_named]
        what = f"{beyond:,} more than the {asked.sessions:,} sessions that were asked for were there in the load"
        places = sum(absence.beyond_places for absence in absences)
        yield Shortfall(what, False, _listed(named, places), beyond=True)


def _dialed(dialings: Sequence[Dialing]) -> Iterator[Shortfall]:
    """Peers took their time for each, and had as many at once as that was good for. Of our own doing `health` tells."""
    slow = [each for each in dialings if each.is_behind(each.late_ns) and not each.is_behind(each.own_ns)]
    if slow:
        planned, reached = sum(each.planned_per_s for each in slow), sum(each.reached_per_s for each in slow)
        late = format_duration(max(each.late_ns for each in slow))
        what = f"{reached:,.0f} of {planned:,.0f} sessions/s were dialed: others were still being set up, up to {late}"
        yield Shortfall(what, grave=False, theirs=True)


def mute_sessions(asked: Asked, absences: Sequence[Absence]) -> Iterator[Shortfall]:
    """They are subscribed to something, and say nothing; how much they should say is theirs to know."""
    up, mute = sum(absence.up for absence in absences), sum(absence.mute for absence in absences)
    # Our own MSEs may have unsubscribed.
    if 0 < mute < up and not asked.unsubscribing:  # if nothing came at all, there is a line about that
        named = [name for absence in absences for name in absence.mute_named]
        what = f"{mute:,} of {up:,} sessions were up and brought no notification, or none any more"
        yield Shortfall(what, False, _listed(named, mute), theirs=mute > up * TOLERANCE)


def _listed(named: Sequence[str], number: int) -> str:
    """Args: number: of all, named or not."""
    others = number - len(named[:MOST_NAMED])
    return "; ".join(named[:MOST_NAMED]) + (f"; and {others:,} more" if others else "")


def _silences(asked: Asked, absences: Sequence[Absence]) -> Iterator[Shortfall]:
    """A stream does not end before its load, unless its MSE unsubscribed."""
    silent = sum(absence.silent for absence in absences)
    if not silent or asked.unsubscribing:
        return
    share = sum(absence.silent_s for absence in absences) / sum(
        absence.sessions * absence.load_s for absence in absences
    )
    named = [name for absence in absences for name in absence.silent_named]
    what = f"WLCs fell silent before the end of the load in {silent:,} of {asked.sessions:,} sessions"
    yield Shortfall(what, share > TOLERANCE and not asked.paced, _listed(named, silent))


def _services(asked: Asked, absences: Sequence[Absence]) -> Iterator[Shortfall]:
    """How much of each there is to tell is the WLCs' to know: what it told of may have gone. One of which one worker's
    sessions had something to the end has not fallen silent.
    """
    on = {name for absence in absences for name in absence.services_on}
    silent: dict[str, FellSilent] = {}
    for each in sorted((each for absence in absences for each in absence.services), key=lambda each: each.silent_s):
        if each.name not in on:
            silent.setdefault(each.name, each)
    if silent and on and not asked.unsubscribing:
        what = "subservices fell silent before the end of the load, while others went on"
        yield Shortfall(what, False, _listed([each.what for each in silent.values()], len(silent)), theirs=True)


def excused(asked: Asked, load_s: float) -> bool:
    """Whether a load that was shorter than asked for ended when somebody else's schedule may have: it was as long as
    that, and whatever rate it had, it had in that time.
    """
    return bool(asked.allowed_s) and load_s < asked.load_s and not _is_short(asked, load_s)


def _is_short(asked: Asked, load_s: float) -> bool:
    return asked.load_s - asked.allowed_s - load_s > asked.load_s * TOLERANCE


def _length(asked: Asked, load_s: float) -> Iterator[Shortfall]:
    if _is_short(asked, load_s):
        yield Shortfall(f"the load ended after {load_s:.1f} of {asked.load_s:.1f} s", grave=True)


def _counts(asked: Asked, counters: Mapping[str, int]) -> Iterator[Shortfall]:
    for kind, begun in _BEGUN.items():
        due = counters.get(f"{kind}.due", 0)
        short = due - counters.get(begun, 0) - counters.get(f"{kind}.dropped", 0)
        if short > 0:
            what = f"{short:,} of {due:,} {_WORDS[kind]} that were due were neither sent nor dropped"
            yield Shortfall(what, short > due * TOLERANCE)
    attempted, failed = counters.get("handshakes.attempted", 0), counters.get("handshakes.failed", 0)
    if failed > attempted * TOLERANCE and "handshakes.failed" not in asked.judged:
        yield Shortfall(f"{failed:,} of {attempted:,} handshakes were not completed", True, _UNJUDGED)


def came_to_nothing(asked: Asked, counters: Mapping[str, int]) -> Iterator[Shortfall]:
    """It was offered, and that was all."""
    for name, whole_of, what in _CAME_TO_NOTHING:
        count, whole = counters.get(name, 0), whole_of(counters)
        tolerated = TOLERANCE + (asked.late if name == "notify.dropped" else 0.0)
        if count > whole * tolerated and name not in asked.judged:
            yield Shortfall(f"{count:,} of {whole:,} {what}", True, _UNJUDGED)
    # One for each session that its peer has ended may have been under way. Where answers may take longer than we wait
    # for at the end, nobody knows whether they would have come.
    unanswered, beside = _left_of(_UNANSWERED, asked, counters)
    sent = counters.get("requests.sent", 0)
    ended = counters.get("sessions.lost", 0) + counters.get("sessions.left_early", 0)
    if unanswered > sent * TOLERANCE + ended:
        yield Shortfall(f"{unanswered:,} of {sent:,} requests were not answered{beside}", True, _UNJUDGED)
    if (again := counters.get("requests.retransmitted", 0)) and "requests.retransmitted" not in asked.judged:
        yield Shortfall(f"requests were sent again {again:,} times: no answer had come in time", False)
    # The same of echoes.
    nothing, beside = _left_of(_ECHOES_UNANSWERED, asked, counters)
    due = counters.get("echo.due", 0)
    withdrawn = counters.get("echo.withdrawn", 0)
    if withdrawn and withdrawn == counters.get("echo.sent", 0):
        yield Shortfall(f"{withdrawn:,} of {withdrawn:,} echoes had no answer when the load ended", False)
    if nothing > due * TOLERANCE:
        unasked = 0 if "echo.dropped" in asked.judged else counters.get("echo.dropped", 0)
        which = f", {unasked:,} of them not asked" if unasked else ""
        yield Shortfall(f"{nothing:,} of {due:,} echoes were not answered{which}{beside}", True, _UNJUDGED)


def _left_of(parts: Sequence[str], asked: Asked, counters: Mapping[str, int]) -> tuple[int, str]:
    """The sum of those counters that no threshold is about, and how it is said that there are others beside them."""
    others = [f"{name} {counters[name]:,}" for name in parts if name in asked.judged and counters.get(name)]
    left = sum(counters.get(name, 0) for name in parts if name not in asked.judged)
    return left, f", beside {' and '.join(others)}, which a threshold is about" if others else ""


def _refused(asked: Asked, counters: Mapping[str, int]) -> Iterator[Shortfall]:
    """It was answered, but with nothing that was asked for."""
    refused, answered = counters.get("requests.refused", 0), counters.get("requests.answered", 0)
    if refused > answered * (TOLERANCE + asked.refusable) and "requests.refused" not in asked.judged:
        yield Shortfall(f"{refused:,} of {answered:,} requests that were answered were refused", True, _UNJUDGED)
    in_part = counters.get("requests.in_part", 0)
    if in_part > answered * (TOLERANCE + asked.refusable) and "requests.in_part" not in asked.judged:
        what = f"{in_part:,} of {answered:,} requests that were answered gave less than was asked for"
        yield Shortfall(what, True, _UNJUDGED)


def _came_oddly(asked: Asked, counters: Mapping[str, int]) -> Iterator[Shortfall]:
    """It came, but not as it is to come."""
    for name, all_of, what in _CAME_ODDLY:
        count, came = counters.get(name, 0), counters.get(all_of, 0)
        if count > max(came * TOLERANCE, _LEAST_ODD - 1) and name not in asked.judged:
            yield Shortfall(what.format(count=count, came=came), True, _UNJUDGED)
    # A peer that is newer than the profile may say one such thing in each session.
    unknown, messages = counters.get("messages.unsupported", 0), sum(counters.get(each, 0) for each in _MESSAGES)
    sessions = counters.get("sessions.established", 0)
    if unknown > max(messages * TOLERANCE + sessions, _LEAST_ODD - 1) and "messages.unsupported" not in asked.judged:
        what = f"{unknown:,} of {messages:,} messages have an id that the profile does not know"
        yield Shortfall(what, True, _UNJUDGED)


def _cut_off(asked: Asked, counters: Mapping[str, int], durations: int) -> Iterator[Shortfall]:
    """What was recorded as 0 or 1 h was something else, which nobody knows: figures with much of that tell nothing."""
    clamped = counters.get("clock.clamped", 0)
    if clamped > durations / _DURATIONS_OF_EACH * TOLERANCE and "clock.clamped" not in asked.judged:
        what = f"{clamped:,} of {max(clamped, durations):,} durations of notifications were below 0 or above 1 h"
        yield Shortfall(what, True, "what they were cannot be told, nor whether it would pass")


def _taken_late(load_s: float, counters: Mapping[str, int]) -> Iterator[Shortfall]:
    """It was sent at the rate at which it was due, but the others read it more slowly, or not before the end."""
    if "notify.unacknowledged_before_bytes" not in counters:
        return
    sent = counters.get("notify.sent_bytes", 0)
    waiting = counters.get("notify.unacknowledged_bytes", 0) - counters["notify.unacknowledged_before_bytes"]
    if waiting > sent * PACE_TOLERANCE and (late_s := load_s * waiting / max(1, sent)) > _LONGEST_ON_THE_WAY_S:
        what = f"{waiting:,} bytes of notifications were not taken yet when the load was over"
        yield Shortfall(f"{what}: what {late_s:.1f} s of it sent", grave=True)


def _dropped(counters: Mapping[str, int]) -> bool:
    """So much that a rate is another one for it, whatever a threshold says of how much may be."""
    kinds = ("notify", "handshakes")
    return any(counters.get(f"{kind}.dropped", 0) > counters.get(f"{kind}.due", 0) * TOLERANCE for kind in kinds)


def _declined(asked: Asked, counters: Mapping[str, int]) -> Iterator[Shortfall]:
    """What an MSE has unsubscribed from is not due; but the rate of the load was another one without it."""
    declined = counters.get("notify.declined", 0)
    if declined and not asked.unsubscribing:
        whole = counters.get("notify.due", 0) + declined
        what = f"{declined:,} of {whole:,} notifications were not due, because their MSEs had unsubscribed"
        yield Shortfall(what, grave=False, theirs=declined > whole * TOLERANCE)


def _paces(asked: Asked, paces: Sequence[Shortage]) -> Iterator[Shortfall]:
    """All of it was done in the end, but not at the rate at which it was due; or nobody can tell whether it was."""
    for pace in paces:
        if pace.share < 1 - TOLERANCE:
            yield Shortfall(pace.what, pace.is_grave and not pace.is_judged(asked.judged))


def _resumed(asked: Asked, counters: Mapping[str, int]) -> Iterator[Shortfall]:
    """Another mix of full and resumed handshakes is another load."""
    wanted, resumed = counters.get("handshakes.resumption_asked", 0), counters.get("handshakes.resumed", 0)
    # One that did not come to its end has done neither, and is told of by itself; of them, as many as of all.
    ended = counters.get("handshakes.failed", 0) + counters.get("handshakes.withdrawn", 0)
    missing = wanted - resumed - math.ceil(wanted * ended / max(1, counters.get("handshakes.attempted", 0)))
    if missing > 0 and "handshakes.resumed" not in asked.judged:
        offered = counters.get("handshakes.resumption_offered", 0)
        what = f"{resumed:,} of {wanted:,} handshakes that load.resumed asks for resumed an earlier session"
        why = f"the target had given something to offer for {offered:,} of them"
        yield Shortfall(what, missing > wanted * TOLERANCE, why)


def _share(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}" if share >= 0.001 else "less than 0.1%"
