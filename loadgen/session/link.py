"""What both ends of a session share: the gate, the outbox, and when the neighbour counts as dead."""

from __future__ import annotations

from loadgen.errors import RemoteProtocolError
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.bulk import Control
from loadgen.nmsp.catalogue import KIND_OF
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import Kind, Message, Role
from loadgen.nmsp.session import Session, State
from loadgen.scenario.schema import SessionTable


class EndpointSettings:
    """What all endpoints of one side have in common."""

    __slots__ = ("codec", "mask", "recorder", "setup_timeout_ns", "timers")

    def __init__(
        self,
        codec: Codec,
        recorder: Recorder,
        *,
        mask: int,
        setup_timeout_ns: int,
        timers: SessionTable,
    ) -> None:
        self.codec = codec
        self.recorder = recorder
        self.mask = mask  # what a WLC offers, or what an MSE asks for
        self.setup_timeout_ns = setup_timeout_ns
        self.timers = timers


class Endpoint:
    """One end of one session.

    A driver does three things after each input: send what is in `outbox`, look whether `active` changed, and come back
    with `on_timer` at the time that it returned last.

    Attributes:
        offered, granted: masks: the WLC's capability, and the subscription; 0 until they are known.
        said, heard: messages so far, by kind, but for measurement notifications: those are counted where they are sent
            and checked in bulk.
    """

    __slots__ = (
        "granted",
        "heard",
        "last_heard_ns",
        "offered",
        "outbox",
        "said",
        "session",
        "settings",
        "started_ns",
    )

    role: Role

    def __init__(self, settings: EndpointSettings, started_ns: int) -> None:
        """Args: started_ns: when the first packet went out (MSE) or the connection was accepted (WLC)."""
        self.settings = settings
        self.session = Session(self.role)
        self.outbox: list[bytes] = []
        self.offered = self.granted = 0
        self.said: dict[Kind, int] = {}
        self.heard: dict[Kind, int] = {}
        self.started_ns = started_ns
        self.last_heard_ns = started_ns

    @property
    def active(self) -> bool:
        return self.session.state is State.ACTIVE

    @property
    def peer(self) -> Role:
        return Role.MSE if self.role is Role.WLC else Role.WLC

    def say(self, message: Message, transaction: int = 0) -> None:
        """Put a message into the outbox, through the gate."""
        kind = KIND_OF[type(message)]
        self.session.message(self.role, kind)
        self.count_said(kind)
        self.outbox.append(self.settings.codec.encode(message, transaction))

    def count_said(self, kind: Kind) -> None:
        """One more that did not go through the outbox, or is about to."""
        self.said[kind] = self.said.get(kind, 0) + 1

    def control_untrusted(self, control: Control, now_ns: int) -> None:
        """Take one message that is not a measurement notification.

        Raises:
            RemoteProtocolError: the peer broke the protocol.
        """
        self.last_heard_ns = now_ns
        message = self.settings.codec.decode_untrusted(control.msg_id, control.body)
        kind = KIND_OF[type(message)]
        running = self.session.state is State.ACTIVE
        self.session.message(self.peer, kind)
        self.heard[kind] = self.heard.get(kind, 0) + 1
        if kind is Kind.UNSUPPORTED:
            self.settings.recorder.count("messages.unsupported")
        elif running:
            self.on_running(kind, message, control.transaction, now_ns)
        else:
            self.on_message(message, control.transaction, now_ns)

    def notifications_untrusted(self, count: int, now_ns: int) -> bool:
        """Let so many measurement notifications pass the gate; False: they came early, and are not taken.

        Raises:
            RemoteProtocolError: not now, or not from this side.
        """
        self.last_heard_ns = now_ns
        self.session.message(self.peer, Kind.MEASUREMENT_NOTIFY)
        return True

    def on_message(self, message: Message, transaction: int, now_ns: int) -> None:
        """React to a message of setting the session up that passed the gate."""
        raise NotImplementedError

    def on_running(self, kind: Kind, message: Message, transaction: int, now_ns: int) -> None:
        """React to a message that passed the gate of a session that was set up before."""
        raise NotImplementedError

    def cause(self, kind: str) -> str:
        """Why the peer has ended the connection, which the transport says has ended like this."""
        return kind

    def on_timer(self, now_ns: int) -> int:
        """Do what is due; returns when to come back (ns).

        Raises:
            RemoteProtocolError: kind `setup_timeout` or `neighbor_dead`.
        """
        if not self.active:
            deadline = self.started_ns + self.settings.setup_timeout_ns
            if now_ns >= deadline:
                raise RemoteProtocolError("setup_timeout", f"session not set up; in state {self.session.state.name}")
            return deadline
        deadline = self.last_heard_ns + self.settings.timers.dead_interval
        if now_ns >= deadline:
            raise RemoteProtocolError("neighbor_dead", "nothing heard for the dead interval")
        return deadline
