"""The mobility services engine: asks for a version, a subscription and what it is to ask for, and sends echoes."""

from __future__ import annotations

from loadgen.errors import RemoteProtocolError
from loadgen.nmsp.messages import (
    PROTOCOL_VERSION,
    Capability,
    EchoRequest,
    Kind,
    Message,
    ResponseStatus,
    Role,
    ServiceNotify,
    SubscribeGroupsRequest,
    SubscribeRequest,
    SubscribeResponse,
    UnsubscribeResponse,
    VersionRequest,
    VersionResponse,
)
from loadgen.session.asking import Asker, Transactions
from loadgen.session.link import Endpoint, EndpointSettings
from loadgen.session.notices import NoticeFigures, Notices
from loadgen.session.sequence import SequenceCheck
from loadgen.units import NEVER_NS


class MseEndpoint(Endpoint):
    """The MSE's end of one session. `number` is its row in the shard's `Reception`."""

    __slots__ = (
        *("_asker", "_echo_due_ns", "_echo_over", "_echo_sent_ns", "_echo_transaction", "_next_echo_ns", "_notices"),
        *("_owed_echo_ns", "_stopped_ns", "_subscribed_ns", "_transaction", "_wanted", "asked", "left_ns", "noticed"),
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
        # The numbers of notifications other than measurements, once any came.
        self.noticed: SequenceCheck[NoticeFigures] | None = None
        self._stopped_ns: int | None = None  # when we asked nothing more
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
                if status != ResponseStatus.OK or version != PROTOCOL_VERSION:
                    raise RemoteProtocolError("version_refused", f"version {version}, status {status}")
            case Capability(subservices=offered):
                self.offered, self._subscribed_ns = offered, now_ns
                self.say(SubscribeRequest(self.settings.mask), self._request())
            case SubscribeResponse(subservices=granted, status=status):
                self._check_transaction(transaction)
                if status != ResponseStatus.OK or not granted:
                    raise RemoteProtocolError("nothing_granted", f"mask {granted:#x}, status {status}")
                self._take_grant(granted)
                if self.settings.mask & ~granted:
                    self.settings.recorder.count("sessions.granted_in_part")
                if (clocks := self.settings.recorder.clocks) is not None:
                    clocks.set_up(self.number, self._subscribed_ns, now_ns)
                self.settings.recorder.record("handshake.session", now_ns - self.started_ns)
                self._owed_echo_ns = self._next_echo_ns = now_ns + self.settings.timers.echo_interval

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
            self._owed_echo_ns += self.settings.timers.echo_interval
            self.settings.recorder.count("echo.sent")
            self.settings.recorder.record("echo.lag", now_ns - self._echo_due_ns)

    def _owe_echoes(self, now_ns: int) -> None:
        """What is due by now is owed."""
        if now_ns >= self._next_echo_ns:
            interval = self.settings.timers.echo_interval
            count = 1 + (now_ns - self._next_echo_ns) // interval
            self._next_echo_ns += interval * count
            self.settings.recorder.count("echo.due", count)

    def _drop_echoes(self, before_ns: int) -> None:
        """Give up what is owed and was due before that."""
        if (until_ns := min(before_ns, self._next_echo_ns)) > self._owed_echo_ns:
            interval = self.settings.timers.echo_interval
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
        self._drop_echoes(now_ns - self.settings.timers.dead_interval)
        if (given_up_ns := self._echo_given_up_ns()) <= now_ns:
            self._end_echo("echo.unanswered", now_ns)
            given_up_ns = self._echo_given_up_ns()
        self._echo_owed(now_ns)
        return min(deadline, self._next_echo_ns, given_up_ns)

    def _echo_given_up_ns(self) -> int:
        """When the missing answer is waited for no longer: a WLC that hears nothing of an MSE for a dead interval drops
        it, and one answer may have been forgotten.
        """
        return NEVER_NS if self._echo_sent_ns is None else self._echo_sent_ns + self.settings.timers.dead_interval // 2

    def stop(self, now_ns: int) -> None:
        """The session is over, or we are about to say goodbye: nothing is asked any more."""
        if self._stopped_ns is None:
            self._stopped_ns = now_ns
        # What became due since we looked last is not owed any more, unless it would have had to wait.
        held_up = self._echo_sent_ns is not None and not self._has_time(self._echo_sent_ns, now_ns)
        if held_up or self._owed_echo_ns < self._next_echo_ns:
            self._owe_echoes(now_ns)
        self._drop_echoes(NEVER_NS)
        self._owed_echo_ns = self._next_echo_ns = NEVER_NS

    def _has_time(self, sent_ns: int, now_ns: int) -> bool:
        """An echo that was sent then may be under way: the next one is not due yet."""
        return now_ns - sent_ns < self.settings.timers.echo_interval

    def settle(self) -> None:
        """No answer comes any more, nor anything else."""
        if self.noticed is not None and self.left_ns is not None:
            self.noticed.leave(self.left_ns, self.settings.recorder.count)
        if (sent_ns := self._echo_sent_ns) is not None:
            self._echo_sent_ns = None
            in_time = self._stopped_ns is not None and self._has_time(sent_ns, self._stopped_ns)
            self.settings.recorder.count("echo.withdrawn" if in_time else "echo.unanswered")
        if self.asked is not None and self.asked.pending:
            withdrawn = sum(pending.withdrawn for pending in self.asked.pending.values())
            self.settings.recorder.count("requests.withdrawn", withdrawn)
            self.settings.recorder.count("requests.abandoned", len(self.asked.pending) - withdrawn)
            self.asked.pending.clear()

    def _request(self) -> int:
        while True:
            self._transaction = self._transaction % 0xFFFF + 1  # never 0, which is that of unasked messages
            if self.asked is None or self._transaction not in self.asked.pending:
                return self._transaction

    def _check_transaction(self, transaction: int) -> None:
        if transaction != self._transaction:
            raise RemoteProtocolError("wrong_transaction", f"expected {self._transaction}, found {transaction}")
