"""A worker's share of handshake-only load, whatever carries it: when each handshake is due, and what became of it.

With a rate, handshake i is due at a time known before the run; without one, a fixed number is always under way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Sized
from typing import Protocol

from OpenSSL import SSL

from loadgen.drive.equipment import Equipment
from loadgen.measure.waits import FIRST
from loadgen.scenario.schedule import RateStage, Share
from loadgen.units import NEVER_NS, NS_PER_MS, NS_PER_S

# A turn that has fallen behind must still go on with the handshakes that are under way.
DIAL_BUDGET_NS = 5 * NS_PER_MS
# As fast as it goes is not as fast as dialing fails: out of ports or descriptors, the next try waits for so long.
_REST_NS = 10 * NS_PER_MS
# Cut off in the middle, a handshake would look like a fault to the WLC.
_PATIENCE_NS = 2 * NS_PER_S
# What somebody else's MSE has begun so long before the run ends is not just under way.
LONG_UNFINISHED_NS = NS_PER_S


class Handshake(Protocol):
    """One that is under way.

    Attributes:
        number: of its session, among this worker's.
        index, due_ns: which of this worker's it is, and when it was due; stage: the one that it was due in.
        started_ns: when it was dialed. tls_ns, service_ns: from the first hello, and from dialing, until it was done.
    """

    number: int
    index: int
    due_ns: int
    stage: str
    started_ns: int
    tls_ns: int
    service_ns: int


def resumes(index: int, sessions: int, share: float) -> bool:
    """Whether handshake `index` of sessions that take turns shall resume: each session's share, and each turn's."""
    rank = sum(divmod(index, sessions))  # goes up by one from session to session, and from turn to turn
    return int((rank + 1) * share) > int(rank * share)


class HandshakeLoad:
    """The handshakes of one worker: session by session of its share, round and round.

    Attributes:
        at_once: as many may be under way.
        sessions: how many take turns.
        start_ns, stop_at_ns: of the load.
        done: dialed or dropped; the index of the next one among ours.
        held_up: as many as allowed were under way when we last looked: what is due since then waits.
    """

    def __init__(self, equipment: Equipment) -> None:
        plan, share = equipment.plan, equipment.share
        self._plan, self._recorder, self._clock = plan, equipment.recorder, equipment.clock
        self._share, self._schedule = share, share.schedule
        self._to_unix_ns = equipment.to_unix_ns
        self._paced = plan.load.paced
        self.sessions = len(plan.sessions[share.worker :: share.workers])
        self.at_once = len(range(share.worker, plan.load.concurrency, share.workers))
        # Of each session that has completed a handshake: what the next one may resume, if the target gave anything.
        self._tickets: dict[int, SSL.Session | None] = {}
        self.start_ns = self.stop_at_ns = NEVER_NS
        self.done = 0
        self._dropped = self._own_dropped = 0
        self._past_due = 0  # of earlier loads
        self._rest_until_ns = 0
        self.held_up = False
        self._held_up_until_ns = 0

    def start(self, at_ns: int, stages: Sequence[RateStage]) -> None:
        """Slot 0 of these stages' schedule is due at `at_ns`; the load before, if any, is over."""
        self._past_due += self._due(at_ns)
        self._schedule = self._plan.schedule(stages)
        self._share = Share(self._schedule, self._share.worker, self._share.workers)
        self.start_ns, self.stop_at_ns = at_ns, NEVER_NS
        self.done, self.held_up, self._held_up_until_ns = 0, False, 0

    def halt(self) -> None:
        """Nothing more becomes due."""
        self.stop_at_ns = min(self.stop_at_ns, self._clock())

    @property
    def halted(self) -> bool:
        return self.stop_at_ns != NEVER_NS

    def totals(self, now_ns: int) -> dict[str, int]:
        """Counters that follow from where the schedule stands."""
        if not self._paced:
            return {}
        return {
            "handshakes.due": self._past_due + self._due(now_ns),
            "handshakes.dropped": self._dropped,
            "generator.shortfall": self._own_dropped,
        }

    # -- when ----------------------------------------------------------------------------------------------------

    def next_ns(self, now_ns: int, under_way: int, tick_ns: int) -> int:
        """When the next may be begun, and not sooner than a tick from now."""
        if under_way >= self.at_once:
            return NEVER_NS
        if now_ns >= self._end_ns():
            return now_ns + tick_ns if self._owed(now_ns) else NEVER_NS
        if not self._paced:
            return max(self.start_ns, self._rest_until_ns, now_ns)
        slot = self._share.slot(self.done)
        if slot >= self._schedule.slots:
            return NEVER_NS
        return max(self.start_ns + self._schedule.due_ns(slot), now_ns + tick_ns)

    def to_begin(self, now_ns: int, under_way: Sized, *, behind: bool) -> Iterator[int]:
        """When each of those was due that are to be begun now, as far as there is time and room for them.

        Args:
            behind: it is us that those under way wait for.
        """
        if now_ns < self.start_ns:
            return
        if not self._paced:
            until = min(self._end_ns(), now_ns + DIAL_BUDGET_NS)
            while len(under_way) < self.at_once and self._rest_until_ns <= (now := self._clock()) < until:
                yield now
            return
        if self.held_up:
            self._held_up_until_ns = now_ns
        due = self._due(now_ns)
        expired = self._share.own(self._schedule.count_at(now_ns - self._plan.load.backlog - self.start_ns))
        self._drop_until(min(expired, due))
        while self.done < due and len(under_way) < self.at_once:
            if self._clock() > now_ns + DIAL_BUDGET_NS:
                break
            yield self.start_ns + self._schedule.due_ns(self._share.slot(self.done))
        self.held_up = len(under_way) >= self.at_once and not behind

    def is_over(self, now_ns: int) -> bool:
        """Nothing more is begun; what has waited until now is dropped."""
        if now_ns < self._end_ns() or self._owed(now_ns):
            return False
        if self._paced:
            self._drop_until(self._due(now_ns))
        return True

    def has_waited(self, now_ns: int) -> bool:
        """What is under way was given time to end."""
        return self.stop_at_ns + _PATIENCE_NS <= now_ns

    def _end_ns(self) -> int:
        return min(self.start_ns + self._schedule.duration_ns, self.stop_at_ns)

    def _due(self, now_ns: int) -> int:
        """How many of ours are due."""
        return self._share.own(self._schedule.count_at(min(now_ns, self.stop_at_ns) - self.start_ns))

    def _owed(self, now_ns: int) -> int:
        if not self._paced or self.stop_at_ns <= now_ns:
            return 0
        return self._due(now_ns) - self.done

    def _drop_until(self, index: int) -> None:
        if index <= self.done:
            return
        self._dropped += index - self.done
        if not self.held_up:  # what was due while we were may have waited for the peer for all the time that it had
            theirs = self._share.own(self._schedule.count_at(self._held_up_until_ns - self.start_ns))
            self._own_dropped += max(0, index - max(self.done, theirs))
        self.done = index

    # -- one handshake -------------------------------------------------------------------------------------------

    def begin(self, due_ns: int, now_ns: int) -> tuple[int, str]:
        """One more is dialed: its index, and the stage that it was due in."""
        stage = self._recorder.stages.at(due_ns + self._to_unix_ns)
        if self._paced:
            self._recorder.record("handshake.lag", now_ns - due_ns, stage)
            if not self.held_up:
                self._recorder.record("generator.lag", now_ns - max(due_ns, self._held_up_until_ns), stage)
        self._recorder.count("handshakes.attempted")
        index, self.done = self.done, self.done + 1
        return index, stage

    def not_begun(self, error: str, now_ns: int) -> None:
        """It failed at once. Args: error: the counter's name."""
        self._recorder.count(error)
        self._recorder.count("handshakes.failed")
        self._rest_until_ns = now_ns + _REST_NS

    def ticket_for(self, number: int, index: int) -> SSL.Session | None:
        """What a session's handshake is to resume; None: a full one, or there is nothing that it could offer."""
        if number not in self._tickets or not resumes(index, self.sessions, self._plan.load.resumed):
            return None
        self._recorder.count("handshakes.resumption_asked")
        if (ticket := self._tickets[number]) is not None:
            self._recorder.count("handshakes.resumption_offered")
        return ticket

    def complete(self, handshake: Handshake, ticket: Callable[[], SSL.Session | None], *, resumed: bool) -> None:
        """The server has let us in: only now its times are those of a handshake, and of when TLS was done.

        Args:
            ticket: tells what the server gave; asked where some are to resume.
        """
        recorder, stage = self._recorder, handshake.stage
        metric = "handshake.tls"
        if self._plan.load.resumed:
            if resumed:
                metric = "handshake.tls_resumed"
                recorder.count("handshakes.resumed")
            self._tickets[handshake.number] = ticket() or self._tickets.get(handshake.number)
        recorder.record(metric, handshake.tls_ns, stage)
        recorder.record("handshake.service", handshake.service_ns, stage)
        if self._paced:
            waited_ns = handshake.started_ns - handshake.due_ns
            recorder.record("handshake.latency", waited_ns + handshake.service_ns, stage)
        recorder.wait("handshake", stage, handshake.due_ns + self._to_unix_ns, self._clock() - handshake.due_ns)

    def ended(self, handshake: Handshake, *, orderly: bool) -> None:
        """It was completed, or has failed."""
        self._recorder.count("handshakes.completed" if orderly else "handshakes.failed")
        if self._paced:
            return
        begin_ns, end_ns = handshake.due_ns + self._to_unix_ns, self._clock() + self._to_unix_ns
        is_first = handshake.index < self.at_once
        if orderly:
            self._recorder.share((FIRST if is_first else "") + "handshake", begin_ns, end_ns)
        if is_first:
            self._recorder.took_first("handshake", begin_ns, end_ns)
