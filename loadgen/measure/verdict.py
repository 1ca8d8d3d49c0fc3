"""The verdict of a run: its outcome, why, and what kept it from doing more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loadgen.errors import ExitCode
from loadgen.measure.health import GeneratorVerdict, MachineHealth, Verdict
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

# Worth a line beside the verdict, even where no threshold forbids it.
_SHORTCOMINGS = {
    "sessions.failed": "sessions failed",
    "sessions.lost": "sessions lost",
    "handshakes.failed": "handshakes failed",
    "handshakes.dropped": "handshakes dropped",
    "notify.dropped": "notifications dropped",
    "notify.lost": "notifications lost",
    "requests.dropped": "requests dropped",
    "requests.refused": "requests refused",
    "requests.timed_out": "requests not answered",
    "requests.unmatched": "responses that nobody asked for",
}
_VERBS = {Status.FAILED: "failed", Status.ERROR: "could not be judged"}
# Faults of the way between us and the target; everything else that goes wrong there is the target's.
_NETWORK_KINDS = ("unreachable", "timeout")
_NETWORK_RETRANSMITTED = 0.01
# Of what was due: less than that is no limit, only a blemish.
_SHORTFALL = 0.01
# What is under way for a moment on a good network.
_LEAST_WAITING_BYTES = 1 << 18


def make_verdict(
    generator: GeneratorVerdict,
    thresholds: tuple[ThresholdResult, ...],
    counters: Mapping[str, int],
    machine: MachineHealth,
    *,
    interrupted: bool,
    aborted: str,
    deaths: tuple[str, ...],
    imbalances: Sequence[str] = (),
) -> ResultVerdict:
    """The outcome that weighs most decides the exit code; the reasons name all."""
    shaking = "handshakes.completed" in counters
    established = counters["handshakes.completed" if shaking else "sessions.established"]
    # A run that measured nothing has not passed anything.
    empty = not shaking and not counters.get("notify.sent", 0) and not counters.get("notify.received", 0)
    all_lost = not shaking and 0 < established <= counters.get("sessions.lost", 0)
    reasons = list(deaths)
    if interrupted:
        reasons.append("interrupted before the planned end")
    if aborted:
        reasons.append(f"given up early: {aborted}")
    reasons += [f"the books do not balance, which is a fault of loadgen's own: {line}" for line in imbalances]
    reasons += generator.reasons
    if established and empty:
        reasons.append("no notification was sent or received")
    if all_lost:
        reasons.append("no session was left at the end")
    reasons += [f"{what}: {counters[name]:,}" for name, what in _SHORTCOMINGS.items() if counters.get(name)]
    reasons += [f"threshold {_VERBS[t.status]}: {t.text} ({t.shown})" for t in thresholds if not t.passed]
    if deaths:
        code = ExitCode.WORKER_DIED
    elif interrupted:
        code = ExitCode.INTERRUPTED
    elif not established:
        code = ExitCode.UNREACHABLE
    elif generator.generator is Verdict.INVALID:
        code = ExitCode.GENERATOR_SATURATED
    elif imbalances or empty or all_lost:
        code = ExitCode.INCONCLUSIVE
    elif aborted or any(threshold.status is Status.FAILED for threshold in thresholds):
        code = ExitCode.THRESHOLD_FAILED
    elif not all(threshold.passed for threshold in thresholds):
        code = ExitCode.INCONCLUSIVE
    else:
        code = ExitCode.PASSED
    limited_by, limit_reason = _limit(generator, counters, machine)
    return ResultVerdict(
        generator=generator.generator,
        reasons=tuple(reasons),
        limited_by=limited_by,
        limit_reason=limit_reason,
        outcome=_NO_HANDSHAKE if shaking and code is ExitCode.UNREACHABLE else _OUTCOMES[code],
        exit_code=int(code),
    )


def _limit(generator: GeneratorVerdict, counters: Mapping[str, int], machine: MachineHealth) -> tuple[Limit, str]:
    """What kept the run from doing more. As long as the generator is in doubt, nobody else is blamed."""
    if generator.limiting:
        return Limit.GENERATOR, generator.limiting
    attempted = counters.get("sessions.attempted", 0) + counters.get("handshakes.attempted", 0)
    failed = {
        name: count for name, count in counters.items() if name.startswith("errors.") and count > attempted * _SHORTFALL
    }
    on_the_way = {name: count for name, count in failed.items() if name.endswith(_NETWORK_KINDS) and ".tcp." in name}
    if on_the_way:
        return Limit.NETWORK, ", ".join(f"{name}: {count:,}" for name, count in on_the_way.items())
    if machine.retransmitted > _NETWORK_RETRANSMITTED:
        return Limit.NETWORK, f"{machine.retransmitted:.1%} of this machine's TCP segments were sent again"
    if failed:
        name, count = max(failed.items(), key=lambda item: item[1])
        return Limit.TARGET, f"{name}: {count:,}"
    for kind in ("notify", "handshakes"):
        due, dropped = counters.get(f"{kind}.due", 0), counters.get(f"{kind}.dropped", 0)
        if due and dropped > due * _SHORTFALL:
            return Limit.TARGET, f"it did not take {dropped:,} of {due:,} that were due, for longer than load.backlog"
    waiting, sent = counters.get("notify.unacknowledged_bytes", 0), counters.get("notify.sent_bytes", 0)
    if waiting > max(_LEAST_WAITING_BYTES, sent * _SHORTFALL):
        return Limit.TARGET, f"{waiting:,} bytes were written that it had not taken when the load was over"
    lost = counters.get("notify.lost", 0)
    if lost > max(counters.get("notify.sent", 0), counters.get("notify.received", 0)) * _SHORTFALL:
        # Of datagrams nobody says where they went; those that we lost ourselves are the generator's, above.
        where = Limit.NETWORK if "datagrams.received" in counters else Limit.TARGET
        return where, f"notifications lost: {lost:,}"
    return Limit.SCENARIO, "everything that it asked for was done"
