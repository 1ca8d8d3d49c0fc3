"""The mobility services engine: its part of the opening, what it is to ask for, and what it is told."""

from __future__ import annotations

from loadgen.errors import RemoteProtocolError
from loadgen.nmsp.dialogue import Turn
from loadgen.nmsp.messages import (
    Capability,
    Kind,
    Message,
    ResponseStatus,
    Role,
    ServiceNotify,
    SubscribeGroupsRequest,
    SubscribeRequest,
    SubscribeResponse,
    UnsubscribeRequest,
    UnsubscribeResponse,
)
from loadgen.session.asking import Asker, Transactions
from loadgen.session.link import Endpoint, EndpointSettings
from loadgen.session.notices import NoticeFigures, Notices
from loadgen.session.sequence import SequenceCheck


class MseEndpoint(Endpoint):
    """The MSE's end of one session. `number` is its row in the shard's `Reception`."""

    __slots__ = (
        *("_asker", "_notices", "_round_trip", "_said_ns", "_wanted"),
        *("asked", "left_ns", "noticed", "number"),
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
        self.left_ns: int | None = None  # when we ended the session; None: it was the WLC that did
        self._asker = asker
        self._notices = notices
        self._wanted = settings.mask  # everything that was ever subscribed to
        # When we spoke last in the opening, and the newest round trip of it: what came at its end was said after its
        # beginning.
        self._said_ns = started_ns
        self._round_trip: tuple[int, int] | None = None

    def opening_message(self, turn: Turn) -> Message:
        if turn.saying is Kind.SUBSCRIBE_REQUEST:
            return SubscribeRequest(self.settings.mask)
        return super().opening_message(turn)

    def on_said(self, now_ns: int) -> None:
        self._said_ns = now_ns

    def on_opening(self, message: Message, now_ns: int) -> None:
        self._round_trip = self._said_ns, now_ns
        match message:
            case Capability(subservices=offered):
                self.offered = offered
            case SubscribeResponse(subservices=granted, status=status):
                if status != ResponseStatus.OK or not granted:
                    raise RemoteProtocolError("nothing_granted", f"mask {granted:#x}, status {status}")
                self._take_grant(granted)
                if self.settings.mask & ~granted:
                    self.settings.recorder.count("sessions.granted_in_part")

    def on_up(self, now_ns: int) -> None:
        if not self.dialogue.subscribed:  # then it is what we want, as far as it is offered
            self.granted = self.settings.assumed
            if self.dialogue.has(Kind.CAPABILITY):
                self.granted &= self.offered
            if not self.granted:
                raise RemoteProtocolError("nothing_granted", f"mask {self.offered:#x} offered")
        if (clocks := self.settings.recorder.clocks) is not None:
            clocks.set_up(self.number, *(self._round_trip or (self.started_ns, now_ns)))
        self.settings.recorder.record("handshake.session", now_ns - self.started_ns)

    def ending(self, kind: Kind) -> Message:
        if kind is Kind.UNSUBSCRIBE_REQUEST:
            return UnsubscribeRequest(self.granted)
        return super().ending(kind)

    def on_running(self, kind: Kind, message: Message, transaction: int, now_ns: int) -> None:
        if isinstance(message, ServiceNotify):
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

    def on_round_trip(self, sent_ns: int, now_ns: int) -> None:
        if (clocks := self.settings.recorder.clocks) is not None:
            clocks.round_trip(self.number, sent_ns, now_ns)

    def settle(self) -> None:
        if self.noticed is not None and self.left_ns is not None:
            self.noticed.leave(self.left_ns, self.settings.recorder.count)
        super().settle()
        if self.asked is not None and self.asked.pending:
            withdrawn = sum(pending.withdrawn for pending in self.asked.pending.values())
            self.settings.recorder.count("requests.withdrawn", withdrawn)
            self.settings.recorder.count("requests.abandoned", len(self.asked.pending) - withdrawn)
            self.asked.pending.clear()

    def _request(self) -> int:
        while True:
            transaction = super()._request()
            if self.asked is None or transaction not in self.asked.pending:
                return transaction
