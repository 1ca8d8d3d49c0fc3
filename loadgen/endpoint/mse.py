"""The mobility services engine: asks for a version and a subscription, echoes, and receives notifications in bulk."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from loadgen.endpoint.link import Endpoint, EndpointSettings
from loadgen.endpoint.sequence import SequenceCheck
from loadgen.errors import RemoteProtocolError
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.hot import Columns
from loadgen.nmsp.messages import (
    PROTOCOL_VERSION,
    Capability,
    EchoRequest,
    EchoResponse,
    Message,
    Role,
    Status,
    SubscribeRequest,
    SubscribeResponse,
    VersionRequest,
    VersionResponse,
)


class MseEndpoint(Endpoint):
    """The MSE's end of one session. `number` is its row in the shard's `Reception`."""

    __slots__ = ("_echo_due_ns", "_echo_sent_ns", "_next_echo_ns", "_transaction", "number")

    role = Role.MSE

    def __init__(self, settings: EndpointSettings, started_ns: int, number: int) -> None:
        super().__init__(settings, started_ns)
        self.number = number
        self._transaction = 0
        self._next_echo_ns = self._echo_due_ns = 0
        self._echo_sent_ns: int | None = None

    def start(self) -> None:
        """The tunnel is up: open the conversation."""
        self.say(VersionRequest(PROTOCOL_VERSION, PROTOCOL_VERSION), self._request())

    def on_message(self, message: Message, transaction: int, now_ns: int) -> None:
        match message:
            case VersionResponse(version=version, status=status):
                self._check_transaction(transaction)
                if status != Status.OK or version != PROTOCOL_VERSION:
                    raise RemoteProtocolError("version_refused", f"version {version}, status {status}")
            case Capability():
                self.say(SubscribeRequest(self.settings.mask), self._request())
            case SubscribeResponse(subservices=granted, status=status):
                self._check_transaction(transaction)
                if status != Status.OK or not granted:
                    raise RemoteProtocolError("nothing_granted", f"mask {granted:#x}, status {status}")
                if granted & ~self.settings.mask:
                    raise RemoteProtocolError("granted_too_much", f"asked {self.settings.mask:#x}, got {granted:#x}")
                self.granted = granted
                self.settings.recorder.record("handshake.session", now_ns - self.started_ns)
                self._next_echo_ns = now_ns + self.settings.echo_interval_ns
            case EchoResponse():
                if self._echo_sent_ns is None or transaction != self._transaction:
                    self.settings.recorder.count("echo.unmatched")
                    return
                self.settings.recorder.record("echo.latency", now_ns - self._echo_due_ns)
                self.settings.recorder.record("echo.service", now_ns - self._echo_sent_ns)
                self.settings.recorder.record("echo.lag", self._echo_sent_ns - self._echo_due_ns)
                self._echo_sent_ns = None

    def on_timer(self, now_ns: int) -> int:
        deadline = super().on_timer(now_ns)
        if not self.active:
            return deadline
        if now_ns >= self._next_echo_ns:
            # An answer that did not come is not asked for again: the dead interval decides.
            if self._echo_sent_ns is None:
                self.say(EchoRequest(), self._request())
                self._echo_sent_ns, self._echo_due_ns = now_ns, self._next_echo_ns
                self.settings.recorder.count("echo.sent")
            interval = self.settings.echo_interval_ns
            self._next_echo_ns += interval * (1 + (now_ns - self._next_echo_ns) // interval)
        return min(deadline, self._next_echo_ns)

    def _request(self) -> int:
        self._transaction = (self._transaction + 1) & 0xFFFF
        return self._transaction

    def _check_transaction(self, transaction: int) -> None:
        if transaction != self._transaction:
            raise RemoteProtocolError("wrong_transaction", f"expected {self._transaction}, found {transaction}")


class Reception:
    """Everything that the MSEs of a shard receive: sequence check and latencies, a batch at a time.

    Rows belong to endpoints (`MseEndpoint.number`). Times in notifications are ns since the epoch; `to_unix_ns` turns
    this machine's monotonic clock into that.
    """

    def __init__(self, recorder: Recorder, rows: int, to_unix_ns: int, *, our_schedule: bool = True) -> None:
        """Args: our_schedule: what is due is due by our clock; otherwise stages go by when things came."""
        self._recorder = recorder
        self._to_unix_ns = to_unix_ns
        self._our_schedule = our_schedule
        self._expected = np.zeros(rows, np.int64)
        self._granted = np.zeros(rows, np.int64)
        self._checks: dict[int, SequenceCheck] = {}  # only of endpoints that once missed the expected number

    def open(self, number: int, granted: int) -> None:
        """An endpoint's subscription was granted; its numbers start at 0, also if it had a session before."""
        self._granted[number] = granted
        self._expected[number] = 0
        self._checks.pop(number, None)

    def absorb(self, columns: Columns, rows: Sequence[int], of_each: Sequence[int], done_ns: Sequence[int]) -> None:
        """Check and record a batch of notifications.

        Args:
            rows: endpoints in the order in which theirs were scanned; each at most once.
            of_each, done_ns: how many each of them brought, and when.
        """
        recorder = self._recorder
        numbers, counts = np.array(rows, np.int64), np.array(of_each, np.int64)
        done = np.array(done_ns, np.int64) + self._to_unix_ns
        total = len(columns.sequence)
        if len(numbers) == total:  # one each: the case of one notification per write
            expected = self._expected[numbers]
        else:
            first = np.repeat(np.cumsum(counts) - counts, counts)
            expected = np.repeat(self._expected[numbers], counts) + np.arange(total) - first
            done = np.repeat(done, counts)
        recorder.count("notify.received", total)
        latency, service = done - columns.due_ns, done - columns.sent_ns
        for stage, part in recorder.stages.split(columns.due_ns if self._our_schedule else done):
            recorder.record_column("notify.latency", latency[part], stage)
            recorder.record_column("notify.service", service[part], stage)
            recorder.mark("received", done_ns[-1], stage)
        self._check_subservices(columns.subservice, numbers, counts)
        if not self._checks and np.array_equal(expected, columns.sequence):
            self._expected[numbers] += counts
        else:
            self._check_one_by_one(columns.sequence, rows, of_each)

    def _check_subservices(
        self, subservice: NDArray[np.int64], numbers: NDArray[np.int64], counts: NDArray[np.int64]
    ) -> None:
        granted = np.repeat(self._granted[numbers], counts)
        wrong = len(subservice) - int(np.count_nonzero(granted >> np.minimum(subservice, 63) & 1))
        if wrong:
            self._recorder.count("errors.stream.not_subscribed", wrong)

    def _check_one_by_one(self, sequence: NDArray[np.int64], rows: Sequence[int], of_each: Sequence[int]) -> None:
        start = 0
        for number, count in zip(rows, of_each, strict=True):
            numbers = sequence[start : start + count]
            start += count
            check = self._checks.get(number)
            expected = int(self._expected[number])
            if check is None:
                if np.array_equal(numbers, np.arange(expected, expected + count)):
                    self._expected[number] += count
                    continue
                check = self._checks[number] = SequenceCheck(expected)
            before = check.counts()
            for value in numbers.tolist():
                check.take(value)
            for name, total in check.counts().items():
                if total != before[name]:
                    self._recorder.count(name, total - before[name])
