"""The steps of a tunnel in their order, and what became of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from loadgen.foreign import plain

Side: TypeAlias = Literal["wlc", "mse"]


class CheckStep(Enum):
    """A step; the value is its name in documents. Titles are in `TITLES`."""

    REACHABLE = "reachable"
    TCP = "tcp"
    TLS = "tls"
    ASKED = "asked"
    ACCEPTED = "accepted"
    LISTED = "listed"
    CAPABILITY = "capability"
    SUBSCRIPTION = "subscription"
    NOTIFICATION = "notification"
    ECHO = "echo"

    def comes_before(self, other: CheckStep) -> bool:
        """In the order of a tunnel's set-up."""
        order = list(CheckStep)
        return order.index(self) < order.index(other)


# By the side that is played here.
TITLES: dict[Side, dict[CheckStep, str]] = {
    "mse": {
        CheckStep.REACHABLE: "reachable",
        CheckStep.TCP: "TCP connection",
        CheckStep.TLS: "TLS version and cipher",
        CheckStep.ASKED: "certificate asked for",
        CheckStep.ACCEPTED: "our certificate accepted",
        CheckStep.LISTED: "our key hash listed",
        CheckStep.CAPABILITY: "capability",
        CheckStep.SUBSCRIPTION: "subscription",
        CheckStep.NOTIFICATION: "first notification",
        CheckStep.ECHO: "echo",
    },
    "wlc": {
        CheckStep.REACHABLE: "an MSE has come",
        CheckStep.TCP: "TCP connection",
        CheckStep.TLS: "TLS version and cipher",
        CheckStep.ASKED: "certificate asked for",
        CheckStep.ACCEPTED: "its certificate accepted",
        CheckStep.LISTED: "its key hash listed",
        CheckStep.CAPABILITY: "capability",
        CheckStep.SUBSCRIPTION: "subscription",
        CheckStep.NOTIFICATION: "first notification",
        CheckStep.ECHO: "echo",
    },
}


# What is called otherwise over datagrams.
DATAGRAM_TITLES = {CheckStep.TLS: "DTLS version and cipher"}


class StepFault(Exception):
    """A step failed. `kind` is a short constant, as counters of errors have it; `detail` is for a person."""

    def __init__(self, step: CheckStep, kind: str, detail: str = "") -> None:
        self.step, self.kind, self.detail = step, kind, detail
        super().__init__(f"{step.value}: {kind}")


Outcome: TypeAlias = Literal["passed", "failed", "not needed", "not reached"]


class StepReport(msgspec.Struct, frozen=True):
    """What became of a step.

    took_ns: since the step before, None where nothing was waited for; detail: what was found.
    """

    step: str
    title: str
    outcome: Outcome
    took_ns: int | None
    detail: str


class Likely(msgspec.Struct, frozen=True):
    """A cause that would explain what was seen: its name, what it is, and what to look at."""

    name: str
    says: str
    look_at: tuple[str, ...]


class CheckReport(msgspec.Struct, frozen=True):
    """A whole check. `plays` is our side; `failed` the first step that failed, under `kind`; causes by likelihood.

    key_log: the file that the tunnel's secrets were written to; empty: none. key_log_trouble: why some are missing.
    """

    plays: Side
    peer: str
    passed: bool
    steps: tuple[StepReport, ...]
    failed: str | None
    kind: str | None
    causes: tuple[Likely, ...]
    key_log: str = ""
    key_log_trouble: str = ""


class StepWalk:
    """Goes through the steps once, and tells of each as soon as it is decided."""

    def __init__(
        self, plays: Side, tell: Callable[[StepReport], None], retitled: Mapping[CheckStep, str] | None = None
    ) -> None:
        self._titles = {**TITLES[plays], **(retitled or {})}
        self._tell = tell
        self._since_ns = time.monotonic_ns()
        self.reports: list[StepReport] = []

    @property
    def undecided(self) -> Sequence[CheckStep]:
        return list(CheckStep)[len(self.reports) :]

    def passed(
        self, step: CheckStep, detail: str = "", *, at_ns: int | None = None, took_ns: int | None = None
    ) -> None:
        """Args: at_ns: when it was, if not now; took_ns: how long, if not since the step before."""
        at_ns = max(self._since_ns, time.monotonic_ns() if at_ns is None else at_ns)
        self._decide(step, "passed", at_ns - self._since_ns if took_ns is None else took_ns, detail)
        self._since_ns = at_ns

    def not_needed(self, step: CheckStep, detail: str) -> None:
        self._decide(step, "not needed", None, detail)

    def failed(self, fault: StepFault) -> None:
        """The walk ends: what was not reached is told, too."""
        self._decide(fault.step, "failed", time.monotonic_ns() - self._since_ns, fault.detail or fault.kind)
        self.given_up()

    def given_up(self) -> None:
        """Nothing more is tried."""
        for step in self.undecided:
            self._decide(step, "not reached", None, "")

    def _decide(self, step: CheckStep, outcome: Outcome, took_ns: int | None, detail: str) -> None:
        assert step is self.undecided[0], f"{step} before {self.undecided[0]}"
        report = StepReport(step.value, self._titles[step], outcome, took_ns, plain(detail))
        self.reports.append(report)
        self._tell(report)


class Reached(NamedTuple):
    """A step that a handshake has passed, and when (monotonic ns)."""

    step: CheckStep
    at_ns: int
