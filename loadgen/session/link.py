"""What both ends of a session share: the gate, the opening, echoes, the outbox, and when a neighbour counts as dead."""

from __future__ import annotations

from typing import ClassVar

from loadgen.errors import RemoteProtocolError
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.bulk import Control
from loadgen.nmsp.catalogue import KIND_OF
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.dialogue import Dialogue, Saying, Turn, other_side
from loadgen.nmsp.messages import (
    PROTOCOL_VERSION,
    Capability,
    CapabilityRequest,
    EchoRequest,
    EchoResponse,
    Kind,
    Message,
    Opaque,
    ResponseStatus,
    Role,
    VersionRequest,
    VersionResponse,
)
from loadgen.nmsp.records import NO_MAC, Mac
from loadgen.nmsp.session import Session, State
from loadgen.scenario.schema import SessionTable
from loadgen.session.echoes import Echoes
from loadgen.session.order import FrameNumbers, RequestOrder
from loadgen.units import NEVER_NS

# Behind the message that ends a session nothing is due any more, but that its tunnel is closed.
_OVER = (State.ENDED_BY_WLC, State.ENDED_BY_MSE, State.ENDED)


class EndpointSettings:
    """What all endpoints of one side have in common."""

    __slots__ = ("assumed", "codec", "mask", "recorder", "setup_timeout_ns", "timers", "to_unix_ns")

    def __init__(
        self,
        codec: Codec,
        recorder: Recorder,
        *,
        mask: int,
        setup_timeout_ns: int,
        timers: SessionTable,
        assumed: int | None = None,
        to_unix_ns: int = 0,
    ) -> None:
        """Args:
        assumed: what is granted where no message says it; None: as much as `mask`.
        to_unix_ns: what has to be added to the time that endpoints are told for that since the epoch.
        """
        self.codec = codec
        self.recorder = recorder
        self.mask = mask  # what a WLC offers, or what an MSE asks for
        self.assumed = mask if assumed is None else assumed
        self.to_unix_ns = to_unix_ns
        self.setup_timeout_ns = setup_timeout_ns
        self.timers = timers


def _saying(message: Message) -> Saying:
    return message.name if isinstance(message, Opaque) else KIND_OF[type(message)]


class Endpoint:
    """One end of one session.

    A driver does three things after each input: send what is in `outbox`, look whether `active` changed, and come back
    with `on_timer` at the time that it returned last.

    Attributes:
        offered, granted: masks: the WLC's capability, and the subscription; 0 until they are known.
        said, heard: messages so far, by kind, but for measurement notifications: those are counted where they are sent
            and checked in bulk.
        transactions: of the messages of the opening so far, in order.
        mac: of the device that we are; zeros until somebody says it.
        refuses_version: the peer asked for versions that are not ours.
        echoes: that we ask for, once the session is up.
    """

    __slots__ = (
        *("_periods", "_transaction", "echoes", "granted", "heard", "last_heard_ns", "mac", "offered", "outbox"),
        *("refuses_version", "said", "session", "settings", "started_ns", "transactions", "_numbers", "_order"),
    )

    role: Role
    # Whether what was said in the opening is needed once the session is up.
    remembers_opening: ClassVar[bool] = False

    def __init__(self, settings: EndpointSettings, started_ns: int) -> None:
        """Args: started_ns: when the first packet went out (MSE) or the connection was accepted (WLC)."""
        self.settings = settings
        self.session = Session(self.role, settings.codec.profile.dialogue)
        self.outbox: list[bytes] = []
        self.offered = self.granted = 0
        self.said: dict[Saying, int] = {}
        self.heard: dict[Saying, int] = {}
        self.started_ns = started_ns
        self.last_heard_ns = started_ns
        self.transactions: tuple[int, ...] = ()
        self.refuses_version = False
        self.echoes: Echoes | None = None
        self.mac: Mac = NO_MAC
        self._periods: dict[str, int] | None = None  # when opaque messages are due, which are said again and again
        self._transaction = 0
        framing = settings.codec.profile.framing
        self._order = None if framing.has_transaction else RequestOrder()
        self._numbers = FrameNumbers(framing) if framing.numbers else None

    @property
    def active(self) -> bool:
        return self.session.state is State.ACTIVE

    @property
    def peer(self) -> Role:
        return other_side(self.role)

    @property
    def dialogue(self) -> Dialogue:
        return self.session.dialogue

    @property
    def left(self) -> bool:
        """The peer has said the message that ends the session."""
        return self.session.has_ended(self.peer)

    def say(self, message: Message, transaction: int = 0) -> None:
        """Put a message into the outbox, through the gate; nothing, once we have ended the session."""
        if not self.session.has_ended(self.role):
            self.say_frame(_saying(message), self.settings.codec.encode(message, transaction), transaction)

    def say_frame(self, saying: Saying, frame: bytes, transaction: int) -> None:
        """The same of a message that is a frame already."""
        if self.session.has_ended(self.role):
            return
        self.session.message(self.role, saying)
        self.count_said(saying)
        self._put(saying, frame, transaction)

    def say_again(self, kind: Kind, frame: bytes, transaction: int) -> None:
        """Put a request into the outbox once more that was not answered."""
        self._put(kind, frame, transaction)

    def _put(self, saying: Saying, frame: bytes, transaction: int) -> None:
        if self._order is not None and isinstance(saying, Kind):
            self._order.said(saying, transaction)
        self.outbox.append(frame)

    def next_frame(self) -> bytes | memoryview:
        """Take the frame out of the outbox that is to be written now."""
        return self.numbered(self.outbox.pop(0))

    def numbered(self, data: bytes | memoryview) -> bytes | memoryview:
        """Frames of this session that are about to be written, with their numbers in if the layout has any."""
        return data if self._numbers is None else self._numbers.put(data)

    def count_said(self, saying: Saying, times: int = 1) -> None:
        """One more, or several, that did not go through the outbox, or are about to."""
        self.said[saying] = self.said.get(saying, 0) + times

    def control_untrusted(self, control: Control, now_ns: int) -> None:
        """Take one message that is not a measurement notification.

        Raises:
            RemoteProtocolError: the peer broke the protocol.
        """
        self.last_heard_ns = now_ns
        message = self.settings.codec.decode_untrusted(control.msg_id, control.body, sender=self.peer)
        saying, turn = _saying(message), self.session.expected
        self.session.message(self.peer, saying)
        self.heard[saying] = self.heard.get(saying, 0) + 1
        if self._numbers is not None:
            self._numbers.heard += 1
        transaction = control.transaction if self._order is None else self._transaction_by_order(saying, turn)
        if isinstance(saying, str):
            self.settings.recorder.count("messages.opaque")
        if saying is Kind.UNSUPPORTED:
            self.settings.recorder.count("messages.unsupported")
        elif turn is not None:
            self._take_turn(turn, message, transaction, now_ns)
            self._go_on(now_ns)
        elif self.left:
            pass  # its last message; the driver closes
        elif isinstance(saying, str):
            if self.role is Role.MSE and saying not in self.dialogue.course:
                self.settings.recorder.count("notify.received")
            if (reply := self.dialogue.replies.get(saying)) is not None:
                self._say_opaque(reply, transaction, now_ns)
        elif saying is Kind.ECHO_REQUEST:
            self.say(EchoResponse(), transaction)
            self.settings.recorder.count("echo.answered")
        elif saying is Kind.ECHO_RESPONSE:
            self._take_echo(transaction, now_ns)
        else:
            self.on_running(saying, message, transaction, now_ns)

    def _transaction_by_order(self, saying: Saying, turn: Turn | None) -> int:
        """What a message would carry, if the layout had transactions."""
        assert self._order is not None
        by_order = self._order.came(saying) if isinstance(saying, Kind) else 0
        if turn is not None and turn.answers is not None:
            return self.transactions[turn.answers]
        return by_order

    def notifications_untrusted(self, count: int, now_ns: int) -> bool:
        """Let so many measurement notifications pass the gate; False: they came early, and are not taken.

        Raises:
            RemoteProtocolError: not now, or not from this side.
        """
        self.last_heard_ns = now_ns
        self.session.message(self.peer, Kind.MEASUREMENT_NOTIFY)
        if self._numbers is not None:
            self._numbers.heard += count
        return True

    # -- the opening ---------------------------------------------------------------------------------------------

    def start(self, now_ns: int) -> None:
        """The tunnel is up: say what is ours to say first."""
        self._go_on(now_ns)

    def _go_on(self, now_ns: int) -> None:
        """Say what is ours to say now; behind the last message of the opening, the session is up."""
        while (turn := self.session.expected) is not None and turn.sender is self.role:
            if self.refuses_version and Kind.VERSION_RESPONSE in self.said:
                return  # nothing follows: the peer closes, or runs into the set-up timeout
            transaction = 0
            if turn.answers is not None:
                transaction = self.transactions[turn.answers]
            elif turn.asks:
                transaction = self._request()
            self.transactions += (transaction,)
            if isinstance(turn.saying, str):
                self._say_opaque(turn.saying, transaction, now_ns)
            else:
                self.say(self.opening_message(turn), transaction)
            self.on_said(now_ns)
        if self.session.state is State.ACTIVE:
            if self.role in self.dialogue.askers:
                timers = self.settings.timers
                self.echoes = Echoes(self.settings.recorder, timers, now_ns, self.echo_patience_ns())
            if self.dialogue.periodic[self.role]:
                opaque = self.settings.codec.profile.opaque
                self._periods = {name: now_ns + opaque[name].every_ns for name in self.dialogue.periodic[self.role]}
            if not self.remembers_opening:
                self.transactions = ()
            self.on_up(now_ns)

    def _take_turn(self, turn: Turn, message: Message, transaction: int, now_ns: int) -> None:
        """Take a message of the opening that passed the gate."""
        if turn.answers is not None and transaction != (asked := self.transactions[turn.answers]):
            raise RemoteProtocolError("wrong_transaction", f"expected {asked}, found {transaction}")
        self.transactions += (transaction,)
        match message:
            case VersionRequest(lowest=lowest, highest=highest):
                self.refuses_version = not lowest <= PROTOCOL_VERSION <= highest
                if self.refuses_version and not self.dialogue.has(Kind.VERSION_RESPONSE):
                    raise RemoteProtocolError("version_refused", f"versions {lowest} to {highest}")
            case VersionResponse(version=version, status=status):
                if status != ResponseStatus.OK or version != PROTOCOL_VERSION:
                    raise RemoteProtocolError("version_refused", f"version {version}, status {status}")
        self.on_opening(message, now_ns)

    def opening_message(self, turn: Turn) -> Message:
        """What we say in this turn, which is ours."""
        match turn.saying:
            case Kind.VERSION_REQUEST:
                return VersionRequest(PROTOCOL_VERSION, PROTOCOL_VERSION)
            case Kind.VERSION_RESPONSE:
                status = ResponseStatus.UNSUPPORTED_VERSION if self.refuses_version else ResponseStatus.OK
                return VersionResponse(PROTOCOL_VERSION, status)
            case Kind.CAPABILITY_REQUEST:
                return CapabilityRequest()
            case Kind.CAPABILITY:
                self.offered = self.settings.mask
                return Capability(self.offered)
            case Kind.ECHO_REQUEST:
                return EchoRequest()
            case Kind.ECHO_RESPONSE:
                return EchoResponse()
        raise AssertionError(f"{turn}: `nmsp.dialogue` lets no opening have it")

    def on_said(self, now_ns: int) -> None:
        """A message of the opening went out."""

    def on_opening(self, message: Message, now_ns: int) -> None:
        """React to a message of the opening that passed the gate.

        Raises:
            RemoteProtocolError
        """
        raise NotImplementedError

    def on_up(self, now_ns: int) -> None:
        """The opening is over: the session is active.

        Raises:
            RemoteProtocolError: nothing is granted in it.
        """
        raise NotImplementedError

    def say_end(self, now_ns: int) -> None:
        """Say what ends the session, if the dialogue has us say something, and nobody has ended it yet."""
        saying = self.dialogue.ending_of(self.role)
        if saying is None or self.session.state is not State.ACTIVE:
            return
        if isinstance(saying, str):
            self._say_opaque(saying, self._request(), now_ns)
        else:
            self.say(self.ending(saying), self._request())

    def ending(self, kind: Kind) -> Message:
        """What we say when we end a session."""
        raise AssertionError(f"{kind.label}: `nmsp.dialogue` lets it end no session from this side")

    def _say_opaque(self, name: str, transaction: int, now_ns: int) -> None:
        """Say an opaque message, with what differs from time to time filled in."""
        opaque, settings = self.settings.codec.profile.opaque[name], self.settings
        unix_ns, since_ns = now_ns + settings.to_unix_ns, now_ns - self.started_ns
        body = opaque.filled(transaction, self.mac, self.said.get(name, 0), unix_ns, since_ns)
        self.say(Opaque(name, body), transaction)

    def _say_periodic(self, periods: dict[str, int], now_ns: int) -> int:
        """Say what is due again and again; returns when the next one is. Those that were missed are not made up for."""
        for name, due_ns in periods.items():
            if due_ns <= now_ns:
                opaque = self.settings.codec.profile.opaque[name]
                transaction = self._request() if opaque.has_transaction or name in self.dialogue.replies else 0
                self._say_opaque(name, transaction, now_ns)
                periods[name] = due_ns + opaque.every_ns * (1 + (now_ns - due_ns) // opaque.every_ns)
        return min(periods.values())

    def _request(self) -> int:
        """A transaction of our own; never 0, which is that of unasked messages."""
        self._transaction = self._transaction % 0xFFFF + 1
        return self._transaction

    # -- echoes --------------------------------------------------------------------------------------------------

    def echo_patience_ns(self) -> int:
        """How long an answer is waited for: a peer that hears nothing of us for a dead interval drops us, and one
        answer may have been forgotten.
        """
        return self.settings.timers.dead_interval // 2

    def _take_echo(self, transaction: int, now_ns: int) -> None:
        assert self.echoes is not None  # the gate lets an answer come only to a side that asks
        if (sent_ns := self.echoes.answered(transaction, now_ns)) is not None:
            self.on_round_trip(sent_ns, now_ns)
            self._echo(now_ns)

    def on_round_trip(self, sent_ns: int, now_ns: int) -> None:
        """An echo was asked and answered."""

    def _echo(self, now_ns: int) -> None:
        """Ask for the echo that is owed next, if any is and none is under way."""
        if self.echoes is not None and self.echoes.may_ask:
            transaction = self._request()
            self.say(EchoRequest(), transaction)
            self.echoes.asked(transaction, now_ns)

    def stop(self, now_ns: int) -> None:
        """The session is over, or we are about to say goodbye: nothing is asked any more."""
        if self.echoes is not None:
            self.echoes.stop(now_ns)

    def settle(self) -> None:
        """No answer comes any more, nor anything else."""
        if self.echoes is not None:
            self.echoes.settle()

    # -- a running session ---------------------------------------------------------------------------------------

    def on_running(self, kind: Kind, message: Message, transaction: int, now_ns: int) -> None:
        """React to a message, no echo, that passed the gate of a session that was up before."""
        raise NotImplementedError

    def cause(self, kind: str) -> str:
        """Why the peer has ended the connection, which the transport says has ended like this."""
        return kind

    def on_timer(self, now_ns: int) -> int:
        """Do what is due; returns when to come back (ns).

        Raises:
            RemoteProtocolError: kind `setup_timeout` or `neighbor_dead`.
        """
        if self.session.state in _OVER:
            return NEVER_NS
        if not self.active:
            deadline = self.started_ns + self.settings.setup_timeout_ns
            if now_ns >= deadline:
                raise RemoteProtocolError("setup_timeout", f"session not set up; {self.session.standing()}")
            return deadline
        deadline = NEVER_NS
        if self.peer in self.dialogue.talkers:  # another is not dead because it is silent
            deadline = self.last_heard_ns + self.settings.timers.dead_interval
            if now_ns >= deadline:
                raise RemoteProtocolError("neighbor_dead", "nothing heard for the dead interval")
        if (echoes := self.echoes) is not None:
            echoes.tend(now_ns)
            self._echo(now_ns)
            deadline = min(deadline, echoes.next_ns, echoes.given_up_ns())
        if self._periods is not None:
            deadline = min(deadline, self._say_periodic(self._periods, now_ns))
        return deadline
