"""What both ends of a session do where messages can get lost, come twice, or overtake each other.

The gate stays as it is. Whoever speaks first in the opening says again what was not answered, and so does who waits for
its last messages; who is told again what it has answered says the same once more; and what comes again or out of turn
because of that is counted, and changes nothing.
"""

from __future__ import annotations

from typing import ClassVar

from loadgen.errors import RemoteProtocolError
from loadgen.nmsp.bulk import Control
from loadgen.nmsp.catalogue import NOTIFICATIONS
from loadgen.nmsp.dialogue import Saying, Word, name_of
from loadgen.nmsp.messages import Kind
from loadgen.nmsp.session import State
from loadgen.session.asking import Asker
from loadgen.session.directory import Directory
from loadgen.session.link import Endpoint, EndpointSettings
from loadgen.session.mse import MseEndpoint
from loadgen.session.notices import Notices
from loadgen.session.wlc import WlcEndpoint
from loadgen.units import NEVER_NS


class _Pending:
    """What was said, and has no answer. echo: it is one; otherwise it belongs to the opening."""

    __slots__ = ("again_ns", "echo", "frames", "label", "retransmits")

    def __init__(self, label: str, frames: list[bytes], *, echo: bool) -> None:
        self.label = label
        self.frames = frames
        self.echo = echo
        self.retransmits = 0
        self.again_ns: int | None = None  # not before the driver comes by


class _DatagramEndpoint(Endpoint):
    """What is the same at both ends. Its driver calls `on_timer` after every input."""

    __slots__ = ()

    remembers_opening: ClassVar[bool] = True
    _pending: _Pending | None
    # What was said in the opening without a message of the peer's between, by the turn of the first.
    _runs: dict[int, list[bytes]]

    @property
    def early(self) -> bool:
        """The peer may have said all of the opening, and what it says in a running session is not taken yet."""
        turn = self.session.expected
        return turn is not None and turn.sender is self.peer and self.session.turn >= self.dialogue.last_run

    def notifications_untrusted(self, count: int, now_ns: int) -> bool:
        if self.early and (self.peer, Kind.MEASUREMENT_NOTIFY) in self.dialogue.running:
            self.last_heard_ns = now_ns
            self.settings.recorder.count("notify.early", count)
            return False
        return super().notifications_untrusted(count, now_ns)

    def _go_on(self, now_ns: int) -> None:
        before, first = len(self.outbox), self.session.turn
        super()._go_on(now_ns)
        if not (said := self.outbox[before:]):
            return
        self._runs[first] = said
        turn = self.session.expected
        self._pending = None
        if turn is not None and turn.sender is self.peer and self.dialogue.repeats(self.role, self.session.turn):
            last = self.dialogue.opening[self.session.turn - 1]
            self._pending = _Pending(name_of(last.saying), said, echo=False)

    def _echo(self, now_ns: int) -> None:
        before = len(self.outbox)
        super()._echo(now_ns)
        if said := self.outbox[before:]:
            self._pending = _Pending(Kind.ECHO_REQUEST.label, said, echo=True)

    def control_untrusted(self, control: Control, now_ns: int) -> None:
        saying = self.settings.codec.profile.saying_of(control.msg_id, self.peer)
        if (turn := self._said_before(saying, control.transaction)) is not None or self._echoed_before(saying, control):
            self.settings.codec.decode_untrusted(
                control.msg_id, control.body, sender=self.peer
            )  # malformed is malformed
            self.last_heard_ns = now_ns
            self.settings.recorder.count("messages.repeated")
            if turn is not None:
                self._say_again(turn + 1)
            return
        if self.early and saying is not None and self._is_early(saying):
            self.settings.codec.decode_untrusted(control.msg_id, control.body, sender=self.peer)
            self.last_heard_ns = now_ns
            self.settings.recorder.count("notify.early" if saying in NOTIFICATIONS else "messages.repeated")
            return
        super().control_untrusted(control, now_ns)
        if self.session.expected is None and (self.echoes is None or not self.echoes.under_way):
            self._pending = None  # what was said last was answered

    def _is_early(self, saying: Saying) -> bool:
        """What the peer may say unasked in a running session, or to end it, and not now."""
        word = (self.peer, saying)
        if word in self.dialogue.endings:
            return True
        answer = saying is Kind.CAPABILITY or name_of(saying).endswith("_response")
        return not answer and word in self.dialogue.running and word != self._expected_word()

    def _expected_word(self) -> Word | None:
        return None if (turn := self.session.expected) is None else turn.word

    def _said_before(self, saying: Saying | None, transaction: int) -> int | None:
        """The turn of a message that came before, or before its turn. One that overtakes another of the same run will
        come again, when the run is repeated.
        """
        session, dialogue = self.session, self.dialogue
        if saying in dialogue.periodic[self.peer] and session.state is State.ACTIVE:
            return None  # it is said again and again
        for index, turn in enumerate(dialogue.opening):
            if turn.saying != saying or turn.sender is self.role or index == session.turn:
                continue
            if index < session.turn:
                again = index < len(self.transactions) and self.transactions[index] == transaction
                return index if again and not self._is_of_later_request(transaction) else None
            answered = turn.answers is None or (
                turn.answers < session.turn and self.transactions[turn.answers] == transaction
            )
            expected = session.expected
            coming = expected is not None and expected.sender is self.peer and index < dialogue.end_of_run(session.turn)
            return index if answered and coming else None
        return None

    def _is_of_later_request(self, transaction: int) -> bool:
        """Transactions come round: this one is of something that was asked in the running session."""
        return False

    def _echoed_before(self, saying: Saying | None, control: Control) -> bool:
        """The request was repeated, and both were answered."""
        over = 0 if self.echoes is None else self.echoes.over
        return saying is Kind.ECHO_RESPONSE and 0 != over == control.transaction

    def _say_again(self, turn: int) -> None:
        """What we have said from this turn on, if the peer repeats itself until it hears it."""
        if turn in self._runs and self.dialogue.repeats(self.peer, turn) and self.session.state is not State.ERROR:
            self.outbox += self._runs[turn]

    def on_timer(self, now_ns: int) -> int:
        """As for every endpoint; also repeats what was not answered.

        Raises:
            RemoteProtocolError: also kind `no_response`.
        """
        deadline = super().on_timer(now_ns)
        if (pending := self._pending) is None:
            return deadline
        if pending.again_ns is None:
            pending.again_ns = now_ns + self._patience_ns(pending)
        elif now_ns >= pending.again_ns:
            if pending.retransmits == self.settings.timers.max_retransmits:
                self._give_up(pending, now_ns)
                return self.on_timer(now_ns)
            pending.retransmits += 1
            pending.again_ns = now_ns + self._patience_ns(pending)
            self.outbox += pending.frames
            self.settings.recorder.count("messages.retransmitted", len(pending.frames))
        return min(deadline, pending.again_ns)

    def echo_patience_ns(self) -> int:
        """Not before it was repeated as often as may be: see `_give_up`."""
        return NEVER_NS

    def _patience_ns(self, pending: _Pending) -> int:
        """How long a message is let alone: until it counts as not answered, and until it is repeated."""
        last = pending.retransmits == self.settings.timers.max_retransmits
        return self.settings.timers.response_timeout + (0 if last else self.settings.timers.retransmit_interval)

    def _give_up(self, pending: _Pending, now_ns: int) -> None:
        self._pending = None
        if not pending.echo:
            times = pending.retransmits + 1
            raise RemoteProtocolError("no_response", f"no answer to {pending.label}, sent {times} times")
        assert self.echoes is not None
        self.echoes.end("echo.unanswered")  # the dead interval decides
        self._echo(now_ns)


class DatagramMseEndpoint(_DatagramEndpoint, MseEndpoint):
    """An MSE's end of a session over datagrams."""

    __slots__ = ("_pending", "_runs")

    def __init__(
        self,
        settings: EndpointSettings,
        started_ns: int,
        number: int,
        asker: Asker | None = None,
        notices: Notices | None = None,
    ) -> None:
        super().__init__(settings, started_ns, number, asker, notices)
        self._pending = None
        self._runs = {}

    def _is_of_later_request(self, transaction: int) -> bool:
        asked = self.asked
        return asked is not None and (transaction in asked.pending or transaction in asked.over)


class DatagramWlcEndpoint(_DatagramEndpoint, WlcEndpoint):
    """A WLC's end of a session over datagrams."""

    __slots__ = ("_pending", "_runs")

    def __init__(self, settings: EndpointSettings, started_ns: int, directory: Directory | None = None) -> None:
        super().__init__(settings, started_ns, directory)
        self._pending = None
        self._runs = {}
