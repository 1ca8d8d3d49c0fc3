"""The books of a run: what was due, tried or sent ends in exactly one counter of each side, whatever died first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

# Of the sessions that are lost, those that were lost with a worker of ours.
ORPHANED = "sessions.orphaned"


class Line(NamedTuple):
    """`whole` is the sum of `parts`, at the end of every run.

    Attributes:
        rest: the part that has what is still open when a worker dies; empty: no worker knows this line alone.
        more: counts as `whole` does.
    """

    whole: str
    parts: tuple[str, ...]
    rest: str = ""
    more: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{' + '.join((self.whole, *self.more))} = {' + '.join(self.parts)}"


BOOKS = (
    Line("sessions.attempted", ("sessions.established", "sessions.failed", "sessions.withdrawn"), "sessions.failed"),
    Line("sessions.established", ("sessions.closed", "sessions.lost"), "sessions.lost"),
    Line("handshakes.due", ("handshakes.attempted", "handshakes.dropped"), "handshakes.dropped"),
    Line(
        "handshakes.attempted",
        ("handshakes.completed", "handshakes.failed", "handshakes.withdrawn"),
        "handshakes.failed",
    ),
    Line("notify.due", ("notify.sent", "notify.dropped"), "notify.dropped"),
    Line(
        "notify.sent",
        ("notify.received", "notify.lost", "notify.unaccounted"),
        more=("notify.duplicated", "notify.unreported"),
    ),
    Line("echo.due", ("echo.sent", "echo.dropped"), "echo.dropped"),
    Line("echo.sent", ("echo.received", "echo.unanswered", "echo.withdrawn"), "echo.unanswered"),
    Line("requests.due", ("requests.sent", "requests.dropped"), "requests.dropped"),
    Line(
        "requests.sent",
        ("requests.answered", "requests.timed_out", "requests.abandoned", "requests.withdrawn"),
        "requests.abandoned",
    ),
    Line("accept.attempts", ("accept.success", "accept.fail", "accept.reject", "accept.withdrawn"), "accept.fail"),
)  # fmt: skip


def once(counters: Mapping[str, int], name: str) -> int:
    """A counter, without what is counted in it for the second time: duplicates are received, too."""
    return counters.get(name, 0) - (counters.get("notify.duplicated", 0) if name == "notify.received" else 0)


def to_come(counters: Mapping[str, int]) -> int:
    """Notifications that should have come once each, as far as anybody knows: what was lost is a part of it."""
    received = once(counters, "notify.received") + counters.get("notify.lost", 0)
    return max(counters.get("notify.sent", 0), received)


def settle(counters: dict[str, int]) -> None:
    """Of a worker that died, as it reported them last: what was open then has come to nothing."""
    for line in BOOKS:
        if not line.rest:
            continue
        still_open = counters.get(line.whole, 0) - sum(counters.get(part, 0) for part in line.parts)
        if still_open > 0:
            counters[line.rest] = counters.get(line.rest, 0) + still_open
            if line.rest == "sessions.lost":
                counters[ORPHANED] = counters.get(ORPHANED, 0) + still_open


def imbalances(counters: Mapping[str, int]) -> list[str]:
    """The lines that do not hold at the end of a run. Args: counters: of a result, so only of what was measured."""
    found = []
    for line in BOOKS:
        wholes = (line.whole, *line.more)
        if not {*wholes, *line.parts} <= counters.keys():
            continue
        if sum(counters[name] for name in wholes) != sum(counters[name] for name in line.parts):
            shown = ", ".join(f"{name} {counters[name]:,}" for name in (*wholes, *line.parts))
            found.append(f"{line}: {shown}")
    return found
