"""The verdict of a run: its outcome, why, and what kept it from doing more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from loadgen.errors import ExitCode
from loadgen.measure.books import once, to_come
from loadgen.results.asked import MOST_NAMED, Shortfall
from loadgen.results.faults import faults
from loadgen.results.health import GeneratorVerdict, Verdict
from loadgen.results.paces import TOLERANCE
from loadgen.results.result import Limit, ResultVerdict
from loadgen.results.thresholds import Status, ThresholdResult

_OUTCOMES = {
    ExitCode.PASSED: "passed",
    ExitCode.THRESHOLD_FAILED: "a threshold failed",
    ExitCode.UNREACHABLE: "no session came up",
    ExitCode.GENERATOR_SATURATED: "the generator was saturated: the figures are not the target's",
    ExitCode.INCONCLUSIVE: "inconclusive",
    ExitCode.WORKER_DIED: "a worker process died",
    ExitCode.INTERRUPTED: "interrupted",
}
_NO_HANDSHAKE = "no handshake completed"

# What somebody else's schedule says how much there is to be of: what shows that it is ours, what counts it, and whose
# it is otherwise.
_THEIRS = (
    # Of handshakes as fast as they go, none is due; our own MSEs are known by what they asked.
    (
        *(("handshakes.due", "handshakes.resumption_asked"), "handshakes.completed"),
        *("handshakes were completed", "the MSEs'"),
    ),
    (("notify.due",), "notify.received", "notifications came", "the WLCs'"),
)

# What was not done, or not answered: worth a line beside the verdict, even where no threshold forbids it.
_SHORTCOMINGS = {
    "sessions.failed": "sessions failed",
    "sessions.lost": "sessions lost",
    "sessions.left_early": "sessions ended in order by their peer before the end",
    "sessions.granted_in_part": "sessions that were granted less than they asked for",
    "handshakes.failed": "handshakes failed",
    "handshakes.dropped": "handshakes dropped",
    "handshakes.unfinished": "handshakes that their MSEs had begun long before the run ended, and not finished",
    "notify.dropped": "notifications dropped",
    "notify.lost": "notifications lost",
    "notify.untaken_bytes": "bytes of notifications that were not taken yet when their links ended",
    "notify.unconfirmed": "notifications of which nobody says that they were read",
    "notify.unaccounted": "notifications sent that nobody can tell of, because a worker died",
    "echo.dropped": "echoes dropped",
    "echo.unanswered": "echoes not answered",
    "clock.clamped": "durations below 0 or above 1 h, cut off",
    "requests.dropped": "requests dropped",
    "requests.refused": "requests refused",
    "requests.in_part": "requests answered with less than was asked for",
    "requests.timed_out": "requests not answered",
    "requests.abandoned": "requests not answered when their session ended",
    "requests.withdrawn": "requests that we did not wait for",
}
# What came otherwise than it is to come: all was done, and worth a line all the same.
_ODDITIES = {
    "notify.duplicated": "notifications that had come before",
    "notify.reordered": "notifications that came after later ones",
    "messages.unsupported": "messages with an id that the profile does not know",
}
_VERBS = {Status.FAILED: "failed", Status.ERROR: "could not be judged"}
# Faults of the way between us and the target; everything else that goes wrong there is the target's.
_NETWORK_KINDS = ("unreachable", "timeout")
# The peers speak TLS, and not as the scenario has it.
_UNFITTING_KINDS = frozenset(
    {
        "alert_protocol_version",
        "alert_insufficient_security",
        "no_shared_cipher",
        "unsafe_legacy_renegotiation_disabled",
        "unsupported_protocol",
        "wrong_cipher_returned",
        "wrong_ssl_version",
    }
)
# Of the segments that our own connections sent, and at least that many: of a few, one is a large share.
_NETWORK_RETRANSMITTED = 0.01
_LEAST_RETRANSMITTED = 10
# What is under way for a moment on a good network.
_LEAST_WAITING_BYTES = 1 << 18


class _Course(NamedTuple):
    """How the run went, beside what its counters say.

    Attributes:
        established: handshakes or sessions.
        empty: of sessions that told nothing in the stages that count; outside: but so much in all.
        all_lost: of sessions of which none was left.
        Others: see `make_verdict`.
    """

    thresholds: tuple[ThresholdResult, ...]
    interrupted: bool
    aborted: str
    deaths: tuple[str, ...]
    missing: Sequence[str]
    imbalances: Sequence[str]
    shortfalls: tuple[Shortfall, ...]
    established: int
    empty: bool
    outside: int
    all_lost: bool


def make_verdict(
    generator: GeneratorVerdict,
    thresholds: tuple[ThresholdResult, ...],
    counters: Mapping[str, int],
    *,
    interrupted: bool,
    aborted: str,
    deaths: tuple[str, ...],
    missing: Sequence[str] = (),
    imbalances: Sequence[str] = (),
    shortfalls: tuple[Shortfall, ...] = (),
    in_load: int | None = None,
) -> ResultVerdict:
    """The outcome that weighs most decides the exit code; the reasons name all.

    Args:
        shortfalls: of a run that came to its end: what was asked for and not done.
        missing: what was to be there and was not; nothing passes without it.
        in_load: notifications sent or received in stages that count; None: nobody tells them from others.
    """
    shaking = "handshakes.completed" in counters
    established = counters["handshakes.completed" if shaking else "sessions.established"]
    in_all = counters.get("notify.sent", 0) or once(counters, "notify.received")
    course = _Course(
        thresholds=thresholds,
        interrupted=interrupted,
        aborted=aborted,
        deaths=deaths,
        missing=missing,
        imbalances=imbalances,
        shortfalls=shortfalls if established else (),  # to say that nobody came is enough
        established=established,
        # A run that measured nothing has not passed anything.
        empty=not shaking and not (in_all if in_load is None else in_load),
        outside=in_all,
        all_lost=not shaking and 0 < established <= counters.get("sessions.lost", 0),
    )
    code = _exit_code(course, generator.generator)
    if deaths or missing:
        limit = Limit.WORKER, [*deaths, *missing][0]
    elif interrupted:
        limit = Limit.INTERRUPTION, "it was ended from outside"
    else:
        limit = _evidence(generator, counters, course.shortfalls) or _no_limit(counters, course)
    return ResultVerdict(
        generator=generator.generator,
        reasons=tuple(_reasons(course, generator, counters)),
        limited_by=limit[0],
        limit_reason=limit[1],
        outcome=_NO_HANDSHAKE if shaking and code is ExitCode.UNREACHABLE else _OUTCOMES[code],
        exit_code=int(code),
    )


def _exit_code(course: _Course, generator: Verdict) -> ExitCode:
    """What weighs most: what kept the run from being one, then the generator, then what it was to hold."""
    thresholds, shortfalls = course.thresholds, course.shortfalls
    if course.deaths:
        return ExitCode.WORKER_DIED
    if course.interrupted:
        return ExitCode.INTERRUPTED
    if not course.established:
        return ExitCode.UNREACHABLE
    if generator is Verdict.INVALID:
        return ExitCode.GENERATOR_SATURATED
    if course.missing or course.imbalances:
        return ExitCode.INCONCLUSIVE
    # What failed has failed, however little else there is to tell: sessions that were lost are lost.
    if course.aborted or any(threshold.status is Status.FAILED for threshold in thresholds):
        return ExitCode.THRESHOLD_FAILED
    if (
        course.empty
        or course.all_lost
        or any(shortfall.grave for shortfall in shortfalls)
        or not all(threshold.passed for threshold in thresholds)
    ):
        return ExitCode.INCONCLUSIVE
    return ExitCode.PASSED


def _reasons(course: _Course, generator: GeneratorVerdict, counters: Mapping[str, int]) -> Iterator[str]:
    """All of them, in the order in which they weigh."""
    yield from course.deaths
    if course.interrupted:
        yield "interrupted before the planned end"
    if course.aborted:
        yield f"given up early: {course.aborted}"
    yield from course.missing
    for line in course.imbalances:
        yield f"the books do not balance, which is a fault of loadgen's own: {line}"
    yield from generator.reasons
    if course.established and course.empty:
        yield _nothing(course)
    if course.all_lost:
        yield "no session was left at the end"
    for shortfall in course.shortfalls:
        yield shortfall.reason
    yield from _shortcomings(counters)
    yield from _named(_ODDITIES, counters)
    withdrawn, received = counters.get("notify.withdrawn", 0), counters.get("notify.received", 0)
    if withdrawn > received * TOLERANCE:
        yield f"notifications missing when we left, and perhaps under way: {withdrawn:,}, beside {received:,} that came"
    if unasked := counters.get("requests.unmatched", 0) + counters.get("echo.unmatched", 0):
        yield f"responses that nobody asked for: {unasked:,}"
    if told := faults(counters).told:
        shown = [f"{error.name} {error.count:,}" for error in told[:MOST_NAMED]]
        if rest := told[MOST_NAMED:]:
            kinds = "another kind" if len(rest) == 1 else f"{len(rest):,} other kinds"
            shown.append(f"and {sum(error.count for error in rest):,} of {kinds}")
        yield "errors: " + ", ".join(shown)
    for threshold in course.thresholds:
        if not threshold.passed:
            yield f"threshold {_VERBS[threshold.status]}: {threshold.text} ({threshold.shown})"


def _nothing(course: _Course) -> str:
    where = f" in the stages that count; outside of them: {course.outside:,}" if course.outside else ""
    return f"no notification was sent or received{where}"


def _evidence(
    generator: GeneratorVerdict, counters: Mapping[str, int], shortfalls: tuple[Shortfall, ...]
) -> tuple[Limit, str] | None:
    """What kept a run that was not cut off from doing more, as far as anything shows it. As long as the generator is in
    doubt, nobody else is blamed.
    """
    if generator.limiting:
        return Limit.GENERATOR, generator.limiting
    attempted = counters.get("sessions.attempted", 0) + counters.get("handshakes.attempted", 0)
    shaking = "handshakes.attempted" in counters  # a handshake that is closed too soon was none
    told = {error.name: error.count for error in faults(counters).told if error.count > attempted * TOLERANCE}
    # How a session ended follows from what it met before: that is the limit only where nothing else shows.
    failed = {name: count for name, count in told.items() if shaking or not name.startswith("errors.close.")}
    on_the_way = {name: count for name, count in failed.items() if name.endswith(_NETWORK_KINDS) and ".tcp." in name}
    if on_the_way:
        return Limit.NETWORK, ", ".join(f"{name}: {count:,}" for name, count in on_the_way.items())
    # What the peer had already was not lost, and only sent again because the peer took its time.
    again = counters.get("tcp.segments_retransmitted", 0) - counters.get("tcp.segments_spurious", 0)
    segments = counters.get("tcp.segments_sent", 0)
    if again >= _LEAST_RETRANSMITTED and again > segments * _NETWORK_RETRANSMITTED:
        return Limit.NETWORK, f"{again:,} of {segments:,} TCP segments of our own connections were sent again"
    if failed:
        name, count = max(failed.items(), key=lambda item: item[1])
        if name.rpartition(".")[2] in _UNFITTING_KINDS:
            return (
                Limit.SCENARIO,
                f"{name}: {count:,}: its tls.version or tls.strong_cipher does not fit the other side",
            )
        return Limit.TARGET, f"{name}: {count:,}"
    lost = counters.get("notify.lost", 0)
    if lost > to_come(counters) * TOLERANCE:
        # No counter says where datagrams went; those that we lost ourselves are the generator's, above.
        where = Limit.NETWORK if "datagrams.received" in counters else Limit.TARGET
        return where, f"notifications lost: {lost:,}"
    if grave := next((shortfall for shortfall in shortfalls if shortfall.grave), None):
        return Limit.TARGET, grave.what
    if theirs := next((shortfall for shortfall in shortfalls if shortfall.theirs), None):
        return Limit.TARGET, theirs.what
    for kind in ("notify", "handshakes", "requests"):
        due, dropped = counters.get(f"{kind}.due", 0), counters.get(f"{kind}.dropped", 0)
        if attempted and due and dropped > due * TOLERANCE:
            why = "it was not there, or held them up for too long"
            return Limit.TARGET, f"it did not take {dropped:,} of {due:,} that were due: {why}"
    asked = counters.get("requests.sent", 0)
    for name in ("requests.timed_out", "requests.abandoned", "requests.withdrawn"):
        if (unanswered := counters.get(name, 0)) > asked * TOLERANCE:
            return Limit.TARGET, f"{_SHORTCOMINGS[name]}: {unanswered:,} of {asked:,}"
    waiting, sent = counters.get("notify.unacknowledged_bytes", 0), counters.get("notify.sent_bytes", 0)
    if waiting > max(_LEAST_WAITING_BYTES, sent * TOLERANCE):
        return (
            Limit.TARGET,
            f"{waiting:,} bytes of notifications were written that it had not taken when the load was over",
        )
    return next(((Limit.TARGET, f"{name}: {count:,}") for name, count in told.items()), None)


def _no_limit(counters: Mapping[str, int], course: _Course) -> tuple[Limit, str]:
    """Nothing shows one: the run did what the scenario asks for, or there was nobody to do it with."""
    if not course.established:
        came = counters.get("sessions.attempted", 0) + counters.get("handshakes.attempted", 0)
        return Limit.NOBODY, "no session came up, and no error tells why" if came else "nobody came"
    if course.aborted:
        return Limit.SCENARIO, f"it gives up early: {course.aborted}"
    if course.empty and "notify.due" not in counters:  # to send is not ours
        return Limit.TARGET, _nothing(course)
    short, beyond = (
        [shortfall.what for shortfall in course.shortfalls if shortfall.beyond is more] for more in (False, True)
    )
    if not_done := [*short, *_shortcomings(counters)]:
        return Limit.SCENARIO, f"it asked for no more; of that, not done: {'; '.join(not_done)}"
    done = next(_theirs_to_say(counters), "everything that it asked for was done")
    return Limit.SCENARIO, "; and more: ".join((done, *beyond))


def _theirs_to_say(counters: Mapping[str, int]) -> Iterator[str]:
    """Where nothing was due from us, the load was theirs, and less of it than the scenario says is no shortfall."""
    for ours, done, came, whose in _THEIRS:
        if done in counters and not any(name in counters for name in ours):
            how_many = f"{once(counters, done):,} {came}, and how many were to be is {whose} to say"
            yield f"everything that was ours to do was done; {how_many}"


def _shortcomings(counters: Mapping[str, int]) -> list[str]:
    return _named(_SHORTCOMINGS, counters)


def _named(what: Mapping[str, str], counters: Mapping[str, int]) -> list[str]:
    return [f"{words}: {counters[name]:,}" for name, words in what.items() if counters.get(name)]
