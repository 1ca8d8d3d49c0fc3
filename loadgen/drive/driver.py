"""What a worker needs of whatever drives its endpoints: links over TLS in one loop (`tls`), or associations over DTLS
in a task each (`dtls`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import trio

from loadgen.drive.cpu_cost import StopWatch
from loadgen.drive.pauses import Stalling
from loadgen.drive.peers import Peer
from loadgen.drive.presence import Presence
from loadgen.drive.tracing import Tracer
from loadgen.results.health import Dialing
from loadgen.scenario.schedule import RateStage


class Driver(Stalling, Protocol):
    """One side's endpoints of a worker.

    Attributes:
        active: sessions that are up.
        mustered: users that it was told to have.
        effort: what the load costs.
        load_over: of the load that was started last: this side has done its part.
        halted: it was told to halt, and nothing that it has begun is being set up, or waits for an answer in time.
        presence: of the sessions that the plan has; None: it has none, or the other side, which is ours, keeps it.
        tracer: of a run with `--trace`; given before there is any handshake.
    """

    active: int
    mustered: int
    effort: StopWatch
    load_over: trio.Event
    halted: trio.Event
    presence: Presence | None
    tracer: Tracer | None

    async def run(self) -> None:
        """Drive until told to finish, and everything is closed."""

    def wake_now(self) -> None:
        """Look at once at what there is to do: it was told something."""

    def start_load(self, at_ns: int, stages: Sequence[RateStage]) -> None:
        """Slot 0 of these stages' schedule is due at `at_ns` (monotonic); the load before, if any, is over."""

    def end_load(self) -> None:
        """The load is over, for a side that does not keep the schedule."""

    def muster(self, users: int, at_ns: int, over_ns: int) -> None:
        """Have the plan's first `users` users there; only of a plan that has users."""

    def halt(self) -> None:
        """The run is about to end: dial and ask no more, and give what is under way a moment. Once is enough."""

    def finish(self) -> None:
        """End the load if it goes on, close in order, and then let `run` return."""

    def pending(self) -> int:
        """Sessions of mustered users that are neither up nor failed."""

    def dialing(self) -> Dialing:
        """How sessions were dialed since there is a rate for it; of who dials none, nothing."""

    def look_around(self) -> None:
        """An interval is over: take a sample of what is not counted as it happens."""

    def queued_bytes(self) -> int:
        """Between loads: what was written, and the peers' TCP has not taken yet."""

    def totals(self, now_ns: int) -> Mapping[str, int]:
        """Counters that follow from where things stand."""

    # What `loadgen status` asks; `peers.PeerKeeper` tells of these.

    def peers(self) -> Iterable[Peer]: ...

    def owner(self, peer: Peer) -> tuple[int, str]: ...

    def notified(self, link: Any) -> int: ...

    def statistics(self) -> dict[str, int]: ...


class PlainDriver:
    """What a driver tells that dials nobody, has nothing in hand, and counts what happens when it does."""

    def pending(self) -> int:
        """Sessions of mustered users that are neither up nor failed; 0 for who does not dial."""
        return 0

    def dialing(self) -> Dialing:
        """How sessions were dialed."""
        return Dialing()

    def queued_bytes(self) -> int:
        """Between loads: what was written, and the peers' TCP has not taken yet."""
        return 0

    def totals(self, now_ns: int) -> dict[str, int]:
        """Counters that follow from where the shard stands."""
        return {}
