"""The mobility services engine: asks for a version and a subscription, echoes, and receives notifications in bulk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadgen.endpoint.asking import Asker, Transactions
from loadgen.endpoint.link import Endpoint, EndpointSettings
from loadgen.endpoint.lulls import Lull, Lulls
from loadgen.endpoint.notices import Notices, Told
from loadgen.endpoint.sequence import NOTHING_DUE_NS, SequenceCheck
from loadgen.errors import RemoteProtocolError
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.catalogue import CATALOGUE
from loadgen.nmsp.hot import Columns
from loadgen.nmsp.messages import (
    PROTOCOL_VERSION,
    Capability,
    EchoRequest,
    Kind,
    Message,
    Role,
    ServiceNotify,
    Status,
    SubscribeGroupsRequest,
    SubscribeRequest,
    SubscribeResponse,
    UnsubscribeResponse,
    VersionRequest,
    VersionResponse,
)
from loadgen.nmsp.services import Subservice, mask_of
from loadgen.units import NEVER_NS

# What measurement notifications may be about.
MEASURED = mask_of(CATALOGUE[Kind.MEASUREMENT_NOTIFY].subservices)


class MseEndpoint(Endpoint):
    """The MSE's end of one session. `number` is its row in the shard's `Reception`."""

    __slots__ = (
        *("_asker", "_echo_due_ns", "_echo_over", "_echo_sent_ns", "_echo_transaction", "_next_echo_ns", "_notices"),
        *("_owed_echo_ns", "_subscribed_ns", "_transaction", "_wanted", "asked", "left_ns", "noticed"),
        "number",
    )

    role = Role.MSE

    def __init__(
        self,
        settings: EndpointSettings,
        started_ns: int,
        number: int,
        asker: Asker | None = None,
        notices: Notices | None = None,
    ) -> None:
        """Args: asker: whose requests' answers come; notices: of the worker."""
        super().__init__(settings, started_ns)
        self.number = number
        self.asked: Transactions | None = None  # what was asked in the running session, if anything was
        self.noticed: SequenceCheck[Told] | None = None  # numbers of notifications other than measurements, if any came
        self.left_ns: int | None = None  # when we ended the session; None: it was the WLC that did
        self._asker = asker
        self._notices = notices
        self._wanted = settings.mask  # everything that was ever subscribed to
        self._transaction = 0
        # Echoes are due at equal intervals: those from `_owed_echo_ns` until before `_next_echo_ns` are owed.
        self._owed_echo_ns = self._next_echo_ns = NEVER_NS
        self._echo_due_ns = self._echo_transaction = 0
        self._echo_sent_ns: int | None = None  # of the one that is under way
        self._echo_over = 0  # the transaction of the one before
        self._subscribed_ns = started_ns  # when it was asked for

    def start(self) -> None:
        """The tunnel is up: open the conversation."""
        self.say(VersionRequest(PROTOCOL_VERSION, PROTOCOL_VERSION), self._request())

    def on_message(self, message: Message, transaction: int, now_ns: int) -> None:
        match message:
            case VersionResponse(version=version, status=status):
                self._check_transaction(transaction)
                if status != Status.OK or version != PROTOCOL_VERSION:
                    raise RemoteProtocolError("version_refused", f"version {version}, status {status}")
            case Capability(subservices=offered):
                self.offered, self._subscribed_ns = offered, now_ns
                self.say(SubscribeRequest(self.settings.mask), self._request())
            case SubscribeResponse(subservices=granted, status=status):
                self._check_transaction(transaction)
                if status != Status.OK or not granted:
                    raise RemoteProtocolError("nothing_granted", f"mask {granted:#x}, status {status}")
                self._take_grant(granted)
                if self.settings.mask & ~granted:
                    self.settings.recorder.count("sessions.granted_in_part")
                if (clocks := self.settings.recorder.clocks) is not None:
                    clocks.set_up(self.number, self._subscribed_ns, now_ns)
                self.settings.recorder.record("handshake.session", now_ns - self.started_ns)
                self._owed_echo_ns = self._next_echo_ns = now_ns + self.settings.echo_interval_ns

    def on_running(self, kind: Kind, message: Message, transaction: int, now_ns: int) -> None:
        if kind is Kind.ECHO_RESPONSE:
            self._take_echo(transaction, now_ns)
        elif isinstance(message, ServiceNotify):
            if self._notices is not None:
                self._notices.take(self, message, now_ns)
        elif self._asker is None:
            self.settings.recorder.count("requests.unmatched")
        elif self._asker.answered(self, kind, message, transaction, now_ns) and isinstance(
            message, SubscribeResponse | UnsubscribeResponse
        ):
            # Late or twice: a WLC says what it grants from this place of the stream on.
            self._take_grant(message.subservices)

    def ask(self, message: Message) -> int:
        """Put a request of a running session into the outbox; returns its transaction."""
        if isinstance(message, SubscribeRequest | SubscribeGroupsRequest):
            self._wanted |= message.subservices
        transaction = self._request()
        self.say(message, transaction)
        return transaction

    def _take_grant(self, granted: int) -> None:
        if granted & ~self._wanted:
            raise RemoteProtocolError("granted_too_much", f"asked {self._wanted:#x}, got {granted:#x}")
        self.granted = granted

    def _take_echo(self, transaction: int, now_ns: int) -> None:
        if self._echo_sent_ns is None or transaction != self._echo_transaction:
            self.settings.recorder.count("echo.unmatched")
            return
        self.settings.recorder.record("echo.latency", now_ns - self._echo_due_ns)
        self.settings.recorder.record("echo.service", now_ns - self._echo_sent_ns)
        if (clocks := self.settings.recorder.clocks) is not None:
            clocks.round_trip(self.number, self._echo_sent_ns, now_ns)
        self._end_echo("echo.received", now_ns)

    def _end_echo(self, counter: str, now_ns: int) -> None:
        """The echo that was under way is over; the next one that is owed goes out at once."""
        self.settings.recorder.count(counter)
        self._echo_sent_ns, self._echo_over = None, self._echo_transaction
        self._echo_owed(now_ns)

    def _echo_owed(self, now_ns: int) -> None:
        """Send the echo that is owed next, unless one is under way: its answer would be taken for another's."""
        if self._echo_sent_ns is None and self._owed_echo_ns < self._next_echo_ns:
            self._echo_transaction = self._request()
            self.say(EchoRequest(), self._echo_transaction)
            self._echo_sent_ns, self._echo_due_ns = now_ns, self._owed_echo_ns
            self._owed_echo_ns += self.settings.echo_interval_ns
            self.settings.recorder.count("echo.sent")
            self.settings.recorder.record("echo.lag", now_ns - self._echo_due_ns)

    def _owe_echoes(self, now_ns: int) -> None:
        """What is due by now is owed."""
        if now_ns >= self._next_echo_ns:
            interval = self.settings.echo_interval_ns
            count = 1 + (now_ns - self._next_echo_ns) // interval
            self._next_echo_ns += interval * count
            self.settings.recorder.count("echo.due", count)

    def _drop_echoes(self, before_ns: int) -> None:
        """Give up what is owed and was due before that."""
        if (until_ns := min(before_ns, self._next_echo_ns)) > self._owed_echo_ns:
            interval = self.settings.echo_interval_ns
            count = -(-(until_ns - self._owed_echo_ns) // interval)
            self._owed_echo_ns += interval * count
            self.settings.recorder.count("echo.dropped", count)

    def on_timer(self, now_ns: int) -> int:
        deadline = super().on_timer(now_ns)
        if not self.active:
            return deadline
        self._owe_echoes(now_ns)
        # An answer that did not come is not asked for again: the dead interval decides. For as long as that, what is
        # due meanwhile is owed: a WLC that is given up after so long is told nothing older.
        self._drop_echoes(now_ns - self.settings.dead_interval_ns)
        if (given_up_ns := self._echo_given_up_ns()) <= now_ns:
            self._end_echo("echo.unanswered", now_ns)
            given_up_ns = self._echo_given_up_ns()
        self._echo_owed(now_ns)
        return min(deadline, self._next_echo_ns, given_up_ns)

    def _echo_given_up_ns(self) -> int:
        """When the missing answer is waited for no longer: a WLC that hears nothing of an MSE for a dead interval drops
        it, and one answer may have been forgotten.
        """
        return NEVER_NS if self._echo_sent_ns is None else self._echo_sent_ns + self.settings.dead_interval_ns // 2

    def stop(self, now_ns: int) -> None:
        """The session is over, or we are about to say goodbye: nothing is asked any more."""
        self._owe_echoes(now_ns)
        self._drop_echoes(NEVER_NS)
        self._owed_echo_ns = self._next_echo_ns = NEVER_NS

    def settle(self) -> None:
        """No answer comes any more, nor anything else."""
        if self.noticed is not None and self.left_ns is not None:
            self.noticed.leave(self.left_ns, self.settings.recorder.count)
        if self._echo_sent_ns is not None:
            self._echo_sent_ns = None
            self.settings.recorder.count("echo.unanswered")
        if self.asked is not None and self.asked.pending:
            withdrawn = sum(pending.withdrawn for pending in self.asked.pending.values())
            self.settings.recorder.count("requests.withdrawn", withdrawn)
            self.settings.recorder.count("requests.abandoned", len(self.asked.pending) - withdrawn)
            self.asked.pending.clear()

    def _request(self) -> int:
        while True:
            self._transaction = self._transaction % 0xFFFF + 1  # never 0: that is of what nobody asked for
            if self.asked is None or self._transaction not in self.asked.pending:
                return self._transaction

    def _check_transaction(self, transaction: int) -> None:
        if transaction != self._transaction:
            raise RemoteProtocolError("wrong_transaction", f"expected {self._transaction}, found {transaction}")


class _Doubtful(NamedTuple):
    """A notification that was taken for a duplicate, and may be none. done_ns: when it came."""

    due_ns: int
    sent_ns: int
    subservice: int
    done_ns: int


class Reception:
    """Measurement notifications that the MSEs of a shard receive: sequence check and latencies, a batch at a time.

    Rows belong to endpoints (`MseEndpoint.number`). Times in notifications are ns since the epoch; `to_unix_ns` turns
    this machine's monotonic clock into that.

    Attributes:
        lulls: of the streams; None: they are our own WLCs'.
    """

    def __init__(
        self,
        recorder: Recorder,
        rows: int,
        to_unix_ns: int,
        *,
        our_schedule: bool = True,
        by_service: bool = False,
    ) -> None:
        """Args:
        our_schedule: what is due is due by our clock; otherwise stages go by when things came, and so do waits.
        by_service: each subservice has figures of its own, too.
        """
        self._recorder = recorder
        self._to_unix_ns = to_unix_ns
        self._our_schedule = our_schedule
        self._by_service = by_service
        what = "received" if our_schedule else "came"
        self._gathered = recorder.gather([("notify.latency",), ("notify.service",)], what)
        self._expected = np.zeros(rows, np.int64)  # the number; where a check knows that, how many came
        self._due_ns = np.full(rows, NOTHING_DUE_NS)  # when the number before that was due
        self._granted = np.zeros(rows, np.int64)
        self.lulls = None if our_schedule else Lulls(rows)
        self._checks: dict[int, SequenceCheck[_Doubtful]] = {}  # only of endpoints that once missed the expected number
        self._regrants: list[tuple[int, int, int]] = []

    def open(self, number: int, granted: int) -> None:
        """An endpoint's subscription was granted; its numbers start at 0, also if it had a session before."""
        self._granted[number] = granted & MEASURED
        self._expected[number] = 0
        self._due_ns[number] = NOTHING_DUE_NS
        self._checks.pop(number, None)
        if self.lulls is not None:
            self.lulls.open(number)

    def fallen_silent(self, numbers: Sequence[int]) -> dict[int, Lull]:
        """Which of these endpoints' streams should not have been silent when the load was over."""
        return {} if self.lulls is None else self.lulls.fallen_silent(self._expected, numbers)

    def leave(self, number: int, left_ns: int) -> None:
        """We have ended an endpoint's session, and nothing comes any more. Args: left_ns: when we said so."""
        if (check := self._checks.get(number)) is not None:
            check.leave(left_ns, self._recorder.count)

    def regrant(self, number: int, granted: int, taken: int) -> None:
        """An endpoint's grant changed when `taken` notifications were taken since they were absorbed last."""
        self._regrants.append((number, granted, taken))

    def settle_grants(self) -> None:
        """No notifications were taken since: all that come are judged by the new grants."""
        for number, granted, _ in self._regrants:
            self._granted[number] = granted & MEASURED
        self._regrants.clear()
        if self._recorder.clocks is not None:
            self._recorder.clocks.settle()

    def received(self, number: int) -> int:
        """How many notifications an endpoint's session has brought so far."""
        return int(self._expected[number])

    def heard(self) -> NDArray[np.int64]:
        """The same of all endpoints."""
        return self._expected.copy()

    def absorb(self, columns: Columns, rows: Sequence[int], of_each: Sequence[int], done_ns: Sequence[int]) -> None:
        """Check and record a batch of notifications; of duplicates and what was not subscribed to, only that they came.

        Args:
            rows: endpoints in the order in which theirs were scanned; each at most once.
            of_each, done_ns: how many each of them brought, and when.
        """
        if self.lulls is not None:
            self.lulls.come(self._expected, done_ns[-1])
        numbers, counts = np.array(rows, np.int64), np.array(of_each, np.int64)
        self._recorder.count("notify.received", len(columns.sequence))
        wanted = self._check_subservices(columns.subservice, numbers, counts)
        # One each is the case of one notification per write.
        ends = None if len(numbers) == len(columns.sequence) else np.cumsum(counts)
        chosen = self._check_sequence(columns, numbers, counts, ends, done_ns, wanted)
        if chosen is None:
            self._record(columns, numbers, counts, ends, done_ns)
            return
        # What came before has been recorded: the rest is a batch.
        counts = np.bincount(np.repeat(np.arange(len(numbers)), counts)[chosen], minlength=len(numbers))
        left = np.flatnonzero(counts)
        if len(left):
            counts = counts[left]
            times = [done_ns[index] for index in left.tolist()]
            self._record(
                Columns(*(column[chosen] for column in columns)), numbers[left], counts, np.cumsum(counts), times
            )
        elif self._recorder.clocks is not None:
            self._recorder.clocks.settle()

    def _record(
        self,
        columns: Columns,
        numbers: NDArray[np.int64],
        counts: NDArray[np.int64],
        ends: NDArray[np.int64] | None,
        done_ns: Sequence[int],
    ) -> None:
        """Args: ends: of each endpoint's in `columns`; None: it is one each."""
        recorder = self._recorder
        done = np.array(done_ns, np.int64) + self._to_unix_ns
        if ends is not None:
            done = np.repeat(done, counts)
        latency, service = done - columns.due_ns, done - columns.sent_ns
        if (clocks := recorder.clocks) is not None:
            starts, last = (None, columns.sent_ns) if ends is None else (ends - counts, columns.sent_ns[ends - 1])
            offset = clocks.correct(numbers, starts, service, done_ns, last)
            if offset is not None:
                offset = offset if ends is None else np.repeat(offset, counts)
                latency, service = latency + offset, service + offset
        self._gather(columns.subservice, columns.due_ns if self._our_schedule else done, latency, service)

    def _gather(
        self,
        subservice: NDArray[np.int64],
        times: NDArray[np.int64],
        latency: NDArray[np.int64],
        service: NDArray[np.int64],
    ) -> None:
        self._gathered.add(len(times), times, latency, service)
        if self._by_service:
            for part in self._recorder.stages.split(times):
                self._record_services(subservice[part.rows], latency[part.rows], part.stage)

    def _record_doubtful(self, number: int, was: _Doubtful) -> None:
        """What an endpoint brought before was no duplicate; its clock has learned from what came since."""
        done_ns = was.done_ns + self._to_unix_ns
        offset = 0 if (clocks := self._recorder.clocks) is None else clocks.offset_of(number)
        latency, service = done_ns - was.due_ns + offset, done_ns - was.sent_ns + offset
        at = was.due_ns if self._our_schedule else done_ns
        self._gather(*(np.array([value], np.int64) for value in (was.subservice, at, latency, service)))

    def _record_services(self, subservice: NDArray[np.int64], latency: NDArray[np.int64], stage: str) -> None:
        for number in np.unique(subservice).tolist():
            name = Subservice(number).name.lower()
            chosen = subservice == number
            self._recorder.count(f"service.{name}.received", int(np.count_nonzero(chosen)))
            self._recorder.record_column(f"service.{name}.latency", latency[chosen], stage)

    def _check_subservices(
        self, subservice: NDArray[np.int64], numbers: NDArray[np.int64], counts: NDArray[np.int64]
    ) -> NDArray[np.bool_] | None:
        """Returns: which were subscribed to; None: all were."""
        granted = self._granted[numbers]
        if len(numbers) != len(subservice):
            granted = np.repeat(granted, counts)
        if self._regrants:
            self._apply_regrants(granted, numbers, counts)
        wanted: NDArray[np.int64] = granted >> subservice & 1  # numpy shifts by too much to 0
        if not (wrong := len(subservice) - int(np.count_nonzero(wanted))):
            return None
        self._recorder.count("errors.stream.not_subscribed", wrong)
        return wanted.astype(bool)

    def _apply_regrants(
        self, granted: NDArray[np.int64], numbers: NDArray[np.int64], counts: NDArray[np.int64]
    ) -> None:
        """What came before the response is judged by the old grant, and what came behind it by the new one."""
        ends = np.cumsum(counts)
        for number, granted_now, taken in self._regrants:
            self._granted[number] = mask = granted_now & MEASURED
            for index in np.flatnonzero(numbers == number).tolist():
                granted[max(taken, int(ends[index] - counts[index])) : int(ends[index])] = mask
        self._regrants.clear()

    def _check_sequence(
        self,
        columns: Columns,
        numbers: NDArray[np.int64],
        counts: NDArray[np.int64],
        ends: NDArray[np.int64] | None,
        done_ns: Sequence[int],
        wanted: NDArray[np.bool_] | None,
    ) -> NDArray[np.bool_] | None:
        """Args: wanted: which were subscribed to; None: all. Returns: of these, which are no duplicates; None: all."""
        if ends is None:
            expected, last_due_ns = self._expected[numbers], columns.due_ns
        else:
            total = len(columns.sequence)
            expected = np.repeat(self._expected[numbers] - (ends - counts), counts) + np.arange(total)
            last_due_ns = columns.due_ns[ends - 1]
        if self._checks or not np.array_equal(expected, columns.sequence):
            return self._check_one_by_one(columns, numbers.tolist(), counts.tolist(), done_ns, wanted)
        self._expected[numbers] += counts
        self._due_ns[numbers] = last_due_ns
        return wanted

    def _check_one_by_one(
        self,
        columns: Columns,
        rows: Sequence[int],
        of_each: Sequence[int],
        done_ns: Sequence[int],
        wanted: NDArray[np.bool_] | None,
    ) -> NDArray[np.bool_] | None:
        new = np.ones(len(columns.sequence), bool)
        end = 0
        for number, count, done in zip(rows, of_each, done_ns, strict=True):
            mine = slice(end, end + count)
            end += count
            sequence, due_ns = columns.sequence[mine], columns.due_ns[mine]
            check = self._checks.get(number)
            if check is None:
                expected = int(self._expected[number])
                if np.array_equal(sequence, np.arange(expected, expected + count)):
                    self._expected[number] += count
                    self._due_ns[number] = due_ns[-1]
                    continue
                check = self._checks[number] = SequenceCheck(expected, int(self._due_ns[number]))
            # On the wire they have no sign.
            judged = check.take_all(sequence.view(np.uint64).tolist(), due_ns.tolist(), self._recorder.count, done)
            self._expected[number] = check.taken
            if judged.cleared and check.held is not None:
                self._record_doubtful(number, check.held)
            if judged.doubtful is not None:
                _, due, sent, subservice = (int(column[mine][judged.doubtful]) for column in columns)
                is_wanted = wanted is None or wanted[mine][judged.doubtful]
                check.held = _Doubtful(due, sent, subservice, done) if is_wanted else None
            new[mine] = judged.new
        if wanted is not None:
            new &= wanted
        return None if new.all() else new
