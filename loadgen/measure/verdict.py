"""The verdict of a run: its outcome, why, and what kept it from doing more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loadgen.errors import ExitCode
from loadgen.measure.asked import MOST_NAMED, TOLERANCE, Shortfall
from loadgen.measure.faults import faults
from loadgen.measure.health import GeneratorVerdict, Verdict
from loadgen.measure.result import Limit, ResultVerdict
from loadgen.measure.thresholds import Status, ThresholdResult

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

# What was not done, or not answered: worth a line beside the verdict, even where no threshold forbids it.
_SHORTCOMINGS = {
    "sessions.failed": "sessions failed",
    "sessions.lost": "sessions lost",
    "sessions.left_early": "sessions ended in order by their peer before the end",
    "sessions.granted_in_part": "sessions that were granted less than they asked for",
    "handshakes.failed": "handshakes failed",
    "handshakes.dropped": "handshakes dropped",
    "notify.dropped": "notifications dropped",
    "notify.lost": "notifications lost",
    "notify.unaccounted": "notifications sent that nobody can tell of, because a worker died",
    "echo.dropped": "echoes dropped",
    "echo.unanswered": "echoes not answered",
    "clock.clamped": "durations below 0 or above 1 h, cut off",
    "requests.dropped": "requests dropped",
    "requests.refused": "requests refused",
    "requests.timed_out": "requests not answered",
    "requests.abandoned": "requests not answered when their session ended",
    "requests.withdrawn": "requests that we did not wait for",
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
# Of the segments that our own connections sent; and so many at least: of a few, one is a large share.
_NETWORK_RETRANSMITTED = 0.01
_LEAST_RETRANSMITTED = 10
# What is under way for a moment on a good network.
_LEAST_WAITING_BYTES = 1 << 18


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
) -> ResultVerdict:
    """The outcome that weighs most decides the exit code; the reasons name all.

    Args:
        shortfalls: of a run that came to its end: what was asked for and not done.
        missing: what was to be there and was not; nothing passes without it.
    """
    shaking = "handshakes.completed" in counters
    established = counters["handshakes.completed" if shaking else "sessions.established"]
    if not established:  # to say so is enough
        shortfalls = ()
    # A run that measured nothing has not passed anything.
    empty = not shaking and not counters.get("notify.sent", 0) and not counters.get("notify.received", 0)
    all_lost = not shaking and 0 < established <= counters.get("sessions.lost", 0)
    reasons = list(deaths)
    if interrupted:
        reasons.append("interrupted before the planned end")
    if aborted:
        reasons.append(f"given up early: {aborted}")
    reasons += missing
    reasons += [f"the books do not balance, which is a fault of loadgen's own: {line}" for line in imbalances]
    reasons += generator.reasons
    if established and empty:
        reasons.append("no notification was sent or received")
    if all_lost:
        reasons.append("no session was left at the end")
    reasons += [shortfall.reason for shortfall in shortfalls]
    reasons += _shortcomings(counters)
    if unasked := counters.get("requests.unmatched", 0) + counters.get("echo.unmatched", 0):
        reasons.append(f"responses that nobody asked for: {unasked:,}")
    if told := faults(counters).told:
        reasons.append("errors: " + ", ".join(f"{error.name} {error.count:,}" for error in told[:MOST_NAMED]))
    reasons += [f"threshold {_VERBS[t.status]}: {t.text} ({t.shown})" for t in thresholds if not t.passed]
    if deaths:
        code = ExitCode.WORKER_DIED
    elif interrupted:
        code = ExitCode.INTERRUPTED
    elif not established:
        code = ExitCode.UNREACHABLE
    elif generator.generator is Verdict.INVALID:
        code = ExitCode.GENERATOR_SATURATED
    elif missing or imbalances or empty or all_lost:
        code = ExitCode.INCONCLUSIVE
    elif aborted or any(threshold.status is Status.FAILED for threshold in thresholds):
        code = ExitCode.THRESHOLD_FAILED
    elif any(shortfall.grave for shortfall in shortfalls) or not all(threshold.passed for threshold in thresholds):
        code = ExitCode.INCONCLUSIVE
    else:
        code = ExitCode.PASSED
    if deaths or missing:
        limit = Limit.WORKER, [*deaths, *missing][0]
    elif interrupted:
        limit = Limit.INTERRUPTION, "it was ended from outside"
    else:
        limit = _evidence(generator, counters, shortfalls) or _no_limit(counters, shortfalls, aborted, established)
    return ResultVerdict(
        generator=generator.generator,
        reasons=tuple(reasons),
        limited_by=limit[0],
        limit_reason=limit[1],
        outcome=_NO_HANDSHAKE if shaking and code is ExitCode.UNREACHABLE else _OUTCOMES[code],
        exit_code=int(code),
    )


def _evidence(
    generator: GeneratorVerdict, counters: Mapping[str, int], shortfalls: tuple[Shortfall, ...]
) -> tuple[Limit, str] | None:
    """What kept a run that was not cut off from doing more, as far as anything shows it. As long as the generator is in
    doubt, nobody else is blamed.
    """
    if generator.limiting:
        return Limit.GENERATOR, generator.limiting
    attempted = counters.get("sessions.attempted", 0) + counters.get("handshakes.attempted", 0)
    failed = {error.name: error.count for error in faults(counters).told if error.count > attempted * TOLERANCE}
    on_the_way = {name: count for name, count in failed.items() if name.endswith(_NETWORK_KINDS) and ".tcp." in name}
    if on_the_way:
        return Limit.NETWORK, ", ".join(f"{name}: {count:,}" for name, count in on_the_way.items())
    segments, again = counters.get("tcp.segments_sent", 0), counters.get("tcp.segments_retransmitted", 0)
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
    if lost > max(counters.get("notify.sent", 0), counters.get("notify.received", 0)) * TOLERANCE:
        # Of datagrams nobody says where they went; those that we lost ourselves are the generator's, above.
        where = Limit.NETWORK if "datagrams.received" in counters else Limit.TARGET
        return where, f"notifications lost: {lost:,}"
    if grave := next((shortfall for shortfall in shortfalls if shortfall.grave), None):
        return Limit.TARGET, grave.what
    for kind in ("notify", "handshakes", "requests"):
        due, dropped = counters.get(f"{kind}.due", 0), counters.get(f"{kind}.dropped", 0)
        if attempted and due and dropped > due * TOLERANCE:
            why = "it was not there, or held them up for longer than load.backlog"
            return Limit.TARGET, f"it did not take {dropped:,} of {due:,} that were due: {why}"
    asked = counters.get("requests.sent", 0)
    for name in ("requests.timed_out", "requests.abandoned"):
        if (unanswered := counters.get(name, 0)) > asked * TOLERANCE:
            return Limit.TARGET, f"{_SHORTCOMINGS[name]}: {unanswered:,} of {asked:,}"
    waiting, sent = counters.get("notify.unacknowledged_bytes", 0), counters.get("notify.sent_bytes", 0)
    if waiting > max(_LEAST_WAITING_BYTES, sent * TOLERANCE):
        return Limit.TARGET, f"{waiting:,} bytes were written that it had not taken when the load was over"
    return None


def _no_limit(
    counters: Mapping[str, int], shortfalls: tuple[Shortfall, ...], aborted: str, established: int
) -> tuple[Limit, str]:
    """Nothing shows one: the run did what the scenario asks for, or there was nobody to do it with."""
    if not established:
        came = counters.get("sessions.attempted", 0) + counters.get("handshakes.attempted", 0)
        return Limit.NOBODY, "no session came up, and no error tells why" if came else "nobody came"
    if aborted:
        return Limit.SCENARIO, f"it gives up early: {aborted}"
    if not_done := [*(shortfall.what for shortfall in shortfalls), *_shortcomings(counters)]:
        return Limit.SCENARIO, f"it asked for no more; of that, not done: {'; '.join(not_done)}"
    return Limit.SCENARIO, "everything that it asked for was done"


def _shortcomings(counters: Mapping[str, int]) -> list[str]:
    return [f"{what}: {counters[name]:,}" for name, what in _SHORTCOMINGS.items() if counters.get(name)]
