"""What the MSEs of a worker ask in running sessions: due by a schedule, sent, asked again, answered or given up.

Nothing here costs anything for a session that is not asked: what is due follows from the schedule's index, one heap has
the deadlines of all sessions, and a session has a table only while it needs one.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from loadgen.measure.names import MSE_COUNTERS
from loadgen.measure.recorder import Recorder
from loadgen.nmsp import messages as m
from loadgen.nmsp.catalogue import CATALOGUE, KIND_OF
from loadgen.nmsp.messages import Kind, Message, ResponseStatus
from loadgen.nmsp.records import NO_MAC, ApGroup, Mac, WipsSignature
from loadgen.scenario.requests import ASKED, PlannedRequest
from loadgen.scenario.schedule import RateStage, Schedule, Share
from loadgen.session.answers import gives_less, is_about
from loadgen.session.link import EndpointSettings
from loadgen.units import NEVER_NS, NS_PER_S

# Requests of one session that may be under way at once; what is due meanwhile waits, and is late.
MOST_OUTSTANDING = 32
# After the load answers are waited for, but no longer than this, however long the scenario gives them.
LONGEST_WAIT_NS = 10 * NS_PER_S
# Requests of a session that are remembered once they are over: one that was sent again may be answered late, or twice.
_REMEMBERED = 64
# Locally administered like a station's (02:53), and never one of ours.
_NOBODY = b"\x02\x55"
_COUNTERS = sorted(name for name in MSE_COUNTERS if name.startswith("requests."))
_DEVICE_REQUESTS = {
    "measurement": m.MeasurementRequest,
    "information": m.InformationRequest,
    "statistics": m.StatisticsRequest,
    "on_demand": m.OnDemandRequest,
}


class RequestKind:
    """One kind of request of the plan.

    Attributes:
        answers: kinds that answer it.
        latency, service, lag: its metrics. timeout: what is counted when no answer came.
        own: how many are due at this worker in all. due: how many of them became due.
    """

    def __init__(self, planned: PlannedRequest) -> None:
        self.planned = planned
        kind = ASKED[planned.name]
        self.answers = frozenset(answer for answer, entry in CATALOGUE.items() if kind in entry.answers)
        self.latency, self.service, self.lag = (
            f"request.{planned.name}.{what}" for what in ("latency", "service", "lag")
        )
        self.timeout = f"errors.stream.timeout_{planned.name}"
        self.share: Share | None = None
        self.own = self.due = 0
        self._fixed = self._fixed_message()

    def start(self, duration_ns: int, fleet: int, worker: int, workers: int) -> None:
        """Begin the schedule anew: sessions of the fleet take turns, at one rate until that is over."""
        planned, self.own, self.due = self.planned, 0, 0
        if (rest_ns := duration_ns - planned.delay_ns) <= 0:
            return
        stage = RateStage(planned.name, planned.delay_ns, rest_ns, planned.per_s, planned.per_s)
        self.share = Share(Schedule([stage], fleet), worker, workers)
        self.own = self.share.own(self.share.schedule.slots)

    def next_ns(self) -> int:
        """When this worker's next one is due, since the start of the load."""
        if self.share is None or self.due == self.own:
            return NEVER_NS
        return self.share.schedule.due_ns(self.share.slot(self.due))

    def take(self) -> tuple[int, int]:
        """Take the next request that is due; returns the session that asks it (its number in this worker), and how many
        this session was to ask before it.
        """
        assert self.share is not None
        turn, number = divmod(self.due, len(self.share.members))
        self.due += 1
        return number, turn

    def message(self, turn: int, macs: Sequence[Mac]) -> Message:
        """What a session asks in a turn. Args: macs: of the devices that its WLC is known to have."""
        if self._fixed is not None:
            return self._fixed
        planned = self.planned
        round_, which = divmod(turn, len(planned.subservices))
        mac = NO_MAC
        if planned.device == "unknown":
            mac = _NOBODY + (turn & 0xFFFFFFFF).to_bytes(4, "big")
        elif planned.device == "known" and macs:
            mac = macs[round_ % len(macs)]
        return _DEVICE_REQUESTS[planned.name](planned.subservices[which], mac)

    def _fixed_message(self) -> Message | None:
        planned = self.planned
        mask = sum(1 << service for service in planned.subservices)
        match planned.name:
            case "capability":
                return m.CapabilityRequest()
            case "subscribe":
                return m.SubscribeRequest(mask)
            case "unsubscribe":
                return m.UnsubscribeRequest(mask)
            case "subscribe_groups":
                return m.SubscribeGroupsRequest(mask, tuple(map(ApGroup, planned.groups)))
            case "wips_config":
                return m.WipsConfigRequest(tuple(WipsSignature(number + 1) for number in range(planned.signatures)))
        return None


class Owed:
    """A request that is due and was not sent yet. due_ns: monotonic."""

    __slots__ = ("due_ns", "question", "turn")

    def __init__(self, question: RequestKind, turn: int, due_ns: int) -> None:
        self.question = question
        self.turn = turn
        self.due_ns = due_ns


class Pending:
    """A request without an answer.

    Attributes:
        again_ns: when it is sent again, or given up.
        withdrawn: we ended its session while its answer would still have been in time.
        given_up: no answer came, however often it was sent.
    """

    __slots__ = (
        *("again_ns", "due_ns", "frame", "given_up", "message", "question", "retransmits", "sent_ns", "withdrawn"),
    )

    def __init__(self, question: RequestKind, message: Message, frame: bytes, due_ns: int, sent_ns: int) -> None:
        self.question = question
        self.message = message
        self.frame = frame
        self.due_ns = due_ns
        self.sent_ns = sent_ns
        self.retransmits = 0
        self.again_ns = 0
        self.withdrawn = self.given_up = False

    def is_answered_by(self, kind: Kind, message: Message) -> bool:
        """A response of the kind that follows from what was asked, which is about that."""
        return kind in self.question.answers and is_about(self.message, kind, message)

    def has_time(self, now_ns: int, response_timeout_ns: int) -> bool:
        """An answer now is one to the first sending, and in time."""
        return not self.retransmits and now_ns < self.sent_ns + response_timeout_ns


class Transactions:
    """What one session has asked, and is still to ask.

    Attributes:
        pending: by transaction. owed: in order of due times.
        over: by transaction, what is no longer pending, and whose answer may still come, or come again.
        behind: from when a request had to wait until all that is owed was sent: what is late then is the peer's doing.
        watched: a timer will look for what was owed for too long.
    """

    __slots__ = ("behind", "over", "owed", "pending", "watched")

    def __init__(self) -> None:
        self.pending: dict[int, Pending] = {}
        self.owed: deque[Owed] = deque()
        self.over: dict[int, Pending] = {}
        self.behind = self.watched = False

    def remember(self, transaction: int, pending: Pending) -> None:
        """Its answer may still come."""
        self.over[transaction] = pending
        if len(self.over) > _REMEMBERED:
            del self.over[next(iter(self.over))]


class AskingEnd(Protocol):
    """An MSE's end of a session, as far as it matters here.

    Attributes:
        number: among the worker's sessions. asked: in the running session, if anything was.
    """

    number: int
    asked: Transactions | None
    outbox: list[bytes]
    settings: EndpointSettings

    def ask(self, message: Message) -> int:
        """Put a request into the outbox; returns its transaction."""
        ...

    def say_again(self, kind: Kind, frame: bytes, transaction: int) -> None:
        """Put a request into the outbox that was not answered."""
        ...


class Asker:
    """Everything that a worker's MSEs ask. Times are monotonic ns.

    A driver calls `take_due` when `next_ns` has come; it sends for each session that this returns, or says that the
    session is held up.
    """

    def __init__(
        self,
        requests: Sequence[PlannedRequest],
        recorder: Recorder,
        *,
        fleet: int,
        worker: int,
        workers: int,
        macs: Callable[[int], Sequence[Mac]],
        backlog_ns: int,
        to_unix_ns: int,
        all_owe: bool = True,
        recorded: Sequence[RequestKind] = (),
    ) -> None:
        """Args:
        fleet: sessions of the plan; every `workers`-th is this worker's, from `worker` on.
        macs: of the devices of a session's WLC, by the session's number in this worker.
        all_owe: a session that is not up owes all the same, and what it owes is dropped; otherwise it has no turns.
        recorded: kinds of requests beside these, that have schedules of their own.
        """
        self.questions = [*(RequestKind(planned) for planned in requests), *recorded]
        self._recorder = recorder
        self._fleet, self._worker, self._workers = fleet, worker, workers
        self._macs = macs
        self._backlog_ns = backlog_ns
        self._to_unix_ns = to_unix_ns
        self._all_owe = all_owe
        self._open: dict[int, AskingEnd] = {}
        self._start_ns: int | None = None
        self._wait_until_ns = 0
        self._due: list[tuple[int, int]] = []  # (when the next one is due, index of the question)
        # Transaction 0 is none: then what the session owes is looked at.
        self._timers: list[tuple[int, int, AskingEnd, int]] = []
        self._serial = 0
        for name in _COUNTERS:
            recorder.count(name, 0)  # measured, even if none ever is
        self._ready: dict[int, None] = {}  # sessions that owe something and may send again

    # -- the load ------------------------------------------------------------------------------------------------

    def start(self, at_ns: int, duration_ns: int) -> None:
        """Everything is due by schedules that begin at `at_ns`."""
        self.stop(at_ns)
        self._start_ns = at_ns
        for question in self.questions:
            question.start(duration_ns, self._fleet, self._worker, self._workers)
        self._due = [(at_ns + question.next_ns(), index) for index, question in enumerate(self.questions)]
        heapq.heapify(self._due)

    def stop(self, now_ns: int) -> None:
        """Nothing becomes due any more, and what is still owed is given up; answers are still waited for."""
        if self._start_ns is None:
            return
        self._owe_due(now_ns)
        self._due.clear()
        self._start_ns = None
        self._wait_until_ns = now_ns + LONGEST_WAIT_NS
        for endpoint in self._open.values():
            if endpoint.asked is not None:
                self._drop(endpoint.asked, NEVER_NS)

    def awaits(self, now_ns: int) -> bool:
        """After `stop`: whether an answer may still come in time, to what is not to be sent again until then."""
        return now_ns < self._wait_until_ns and any(
            pending.has_time(now_ns, endpoint.settings.timers.response_timeout)
            for endpoint in self._open.values()
            if endpoint.asked is not None
            for pending in endpoint.asked.pending.values()
        )

    def next_ns(self) -> int:
        """When there is something to do."""
        if self._ready:
            return 0
        return min(
            self._due[0][0] if self._due else NEVER_NS,
            self._timers[0][0] if self._timers else NEVER_NS,
        )

    def take_due(self, now_ns: int) -> Collection[int]:
        """Let time pass; returns the numbers of sessions that have something to send."""
        self._run_timers(now_ns)
        self._owe_due(now_ns)
        ready, self._ready = self._ready, {}
        return ready

    def _owe_due(self, now_ns: int) -> None:
        while self._due and self._due[0][0] <= now_ns:
            due_ns, index = self._due[0]
            question = self.questions[index]
            number, turn = question.take()
            assert self._start_ns is not None
            heapq.heapreplace(self._due, (self._start_ns + question.next_ns(), index))
            endpoint = self._open.get(number)
            if endpoint is None:
                if self._all_owe:  # no session that went comes back
                    self._recorder.count("requests.due")
                    self._recorder.count("requests.dropped")
                continue
            self._recorder.count("requests.due")
            if endpoint.asked is None:
                endpoint.asked = Transactions()
            endpoint.asked.owed.append(Owed(question, turn, due_ns))
            self._ready[number] = None

    # -- sessions ------------------------------------------------------------------------------------------------

    def open(self, endpoint: AskingEnd) -> None:
        """This session is active."""
        self._open[endpoint.number] = endpoint

    def close(self, endpoint: AskingEnd) -> None:
        """It is over, or about to be: what was owed is dropped, and nothing is sent again. Answers may still come."""
        if self._open.get(endpoint.number) is endpoint:
            del self._open[endpoint.number]
            if endpoint.asked is not None:
                self._drop(endpoint.asked, NEVER_NS)

    def leave(self, endpoint: AskingEnd, now_ns: int) -> None:
        """Our side ends the session: a request that is answered in time so far, and then never, has not failed."""
        if endpoint.asked is not None:
            for pending in endpoint.asked.pending.values():
                pending.withdrawn = pending.has_time(now_ns, endpoint.settings.timers.response_timeout)

    def is_owed(self, endpoint: AskingEnd) -> None:
        """A session can be written to again: if it owes something, it is asked for it."""
        if endpoint.asked is not None and endpoint.asked.owed:
            self._ready[endpoint.number] = None

    def hold_up(self, endpoint: AskingEnd) -> None:
        """The peer takes nothing now: what this session owes waits, as long as `backlog_ns` allows."""
        asked = endpoint.asked
        if asked is not None and asked.owed:
            self._wait(endpoint, asked)

    def send(self, endpoint: AskingEnd, now_ns: int) -> bool:
        """Put one request that is owed into the outbox; False if there is none, or too many are under way."""
        asked = endpoint.asked
        if asked is None:
            return False
        self._drop(asked, now_ns - self._backlog_ns)
        if not asked.owed:
            asked.behind = False
            return False
        if len(asked.pending) >= MOST_OUTSTANDING:
            self._wait(endpoint, asked)
            return False
        owed = asked.owed.popleft()
        message = owed.question.message(owed.turn, self._macs(endpoint.number))
        transaction = endpoint.ask(message)
        pending = Pending(owed.question, message, endpoint.outbox[-1], owed.due_ns, now_ns)
        asked.pending[transaction] = pending
        self._wait_for_answer(endpoint, transaction, pending, now_ns)
        recorder, stage = self._recorder, self._recorder.stages.at(owed.due_ns + self._to_unix_ns)
        recorder.count("requests.sent")
        recorder.record(owed.question.lag, now_ns - owed.due_ns, stage)
        if not asked.behind:
            recorder.record("generator.lag", now_ns - owed.due_ns, stage)
        return True

    def answered(self, endpoint: AskingEnd, kind: Kind, message: Message, transaction: int, now_ns: int) -> bool:
        """A response came. Returns: whether it is one to something that was asked, though it may be late."""
        asked, count = endpoint.asked, self._recorder.count
        pending = None if asked is None else asked.pending.get(transaction)
        if asked is None or pending is None or not pending.is_answered_by(kind, message):
            over = None if asked is None or pending is not None else asked.over.get(transaction)
            if over is None or not over.is_answered_by(kind, message):
                count("requests.unmatched")
                return False
            count("requests.late" if over.given_up else "requests.duplicated")
            over.given_up = False
            return True
        del asked.pending[transaction]
        if self._recorder.clocks is not None:
            self._recorder.clocks.round_trip(endpoint.number, pending.sent_ns, now_ns)
        if pending.retransmits:
            asked.remember(transaction, pending)
        count("requests.answered")
        due_ns = pending.due_ns + self._to_unix_ns
        stage = self._recorder.stages.at(due_ns)
        self._recorder.wait("answered", stage, due_ns, now_ns - pending.due_ns)
        if getattr(message, "status", ResponseStatus.OK) != ResponseStatus.OK:
            count("requests.refused")
        else:
            if gives_less(pending.message, message):
                count("requests.in_part")
            self._recorder.record(pending.question.latency, now_ns - pending.due_ns, stage)
            self._recorder.record(pending.question.service, now_ns - pending.sent_ns, stage)
        self.is_owed(endpoint)
        return True

    # -- waiting -------------------------------------------------------------------------------------------------

    def _wait_for_answer(self, endpoint: AskingEnd, transaction: int, pending: Pending, now_ns: int) -> None:
        """A request counts as timed out after a while, and is sent again after another; the last one is not."""
        settings = endpoint.settings
        last = pending.retransmits == settings.timers.max_retransmits
        patience_ns = settings.timers.response_timeout + (0 if last else settings.timers.retransmit_interval)
        pending.again_ns = now_ns + patience_ns
        self._arm(pending.again_ns, endpoint, transaction)

    def _wait(self, endpoint: AskingEnd, asked: Transactions) -> None:
        asked.behind = True
        if not asked.watched:
            asked.watched = True
            self._arm(asked.owed[0].due_ns + self._backlog_ns + 1, endpoint, 0)

    def _arm(self, at_ns: int, endpoint: AskingEnd, transaction: int) -> None:
        self._serial += 1
        heapq.heappush(self._timers, (at_ns, self._serial, endpoint, transaction))

    def _run_timers(self, now_ns: int) -> None:
        while self._timers and self._timers[0][0] <= now_ns:
            at_ns, _, endpoint, transaction = heapq.heappop(self._timers)
            asked = endpoint.asked
            assert asked is not None
            if self._open.get(endpoint.number) is not endpoint:
                continue
            if not transaction:
                self._drop(asked, now_ns - self._backlog_ns)
                if asked.owed:
                    self._arm(asked.owed[0].due_ns + self._backlog_ns + 1, endpoint, 0)
                else:
                    asked.watched = False
            elif (pending := asked.pending.get(transaction)) is not None and pending.again_ns == at_ns:
                self._not_answered(endpoint, asked, transaction, pending, now_ns)

    def _not_answered(
        self, endpoint: AskingEnd, asked: Transactions, transaction: int, pending: Pending, now_ns: int
    ) -> None:
        if pending.retransmits == endpoint.settings.timers.max_retransmits:
            del asked.pending[transaction]
            pending.given_up = True
            asked.remember(transaction, pending)
            self._recorder.count("requests.timed_out")
            self._recorder.count(pending.question.timeout)
            self.is_owed(endpoint)
            return
        pending.retransmits += 1
        endpoint.say_again(KIND_OF[type(pending.message)], pending.frame, transaction)
        self._recorder.count("requests.retransmitted")
        self._ready[endpoint.number] = None
        self._wait_for_answer(endpoint, transaction, pending, now_ns)

    def _drop(self, asked: Transactions, before_ns: int) -> None:
        """Give up what was due before that."""
        dropped = 0
        while asked.owed and asked.owed[0].due_ns < before_ns:
            asked.owed.popleft()
            dropped += 1
        if dropped:
            self._recorder.count("requests.dropped", dropped)
            if not asked.behind and before_ns != NEVER_NS:
                self._recorder.count("generator.shortfall", dropped)
