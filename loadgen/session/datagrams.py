"""What both ends of a session do where messages can get lost, come twice, or overtake each other.

The state table stays as it is. An MSE asks again for what was not answered; a WLC that is asked again what it has
answered says the same once more; and what comes again or out of turn because of that is counted, and changes nothing.
"""

from __future__ import annotations

from loadgen.errors import RemoteProtocolError
from loadgen.nmsp.bulk import Control
from loadgen.nmsp.catalogue import KIND_OF, NOTIFICATIONS
from loadgen.nmsp.messages import Kind, Message
from loadgen.nmsp.session import State
from loadgen.session.asking import Asker
from loadgen.session.directory import Directory
from loadgen.session.link import EndpointSettings
from loadgen.session.mse import MseEndpoint
from loadgen.session.notices import Notices
from loadgen.session.wlc import WlcEndpoint
from loadgen.units import NEVER_NS

# Requests that are answered once, and later only again.
_SET_UP = frozenset({Kind.VERSION_REQUEST, Kind.SUBSCRIBE_REQUEST})
# In which states of an MSE a WLC's message is one that came before, or before its turn. A capability that overtakes the
# version response will come again, with the answer to the repeated request.
_AGAIN = {
    Kind.VERSION_RESPONSE: frozenset({State.VERSION_AGREED, State.SUBSCRIBING, State.ACTIVE}),
    Kind.CAPABILITY: frozenset({State.VERSION_ASKED, State.SUBSCRIBING, State.ACTIVE}),
    Kind.SUBSCRIBE_RESPONSE: frozenset({State.ACTIVE}),
}


class _Pending:
    """A request without an answer."""

    __slots__ = ("again_ns", "frame", "kind", "retransmits")

    def __init__(self, kind: Kind, frame: bytes) -> None:
        self.kind = kind
        self.frame = frame
        self.retransmits = 0
        self.again_ns: int | None = None  # not before the driver comes by


class DatagramMseEndpoint(MseEndpoint):
    """An MSE's end of a session over datagrams. Its driver calls `on_timer` after every input."""

    __slots__ = ("_pending", "_set_up_with")

    def __init__(
        self,
        settings: EndpointSettings,
        started_ns: int,
        number: int,
        asker: Asker | None = None,
        notices: Notices | None = None,
    ) -> None:
        super().__init__(settings, started_ns, number, asker, notices)
        self._pending: _Pending | None = None
        # Transactions of what sets the session up, and of the capability that nobody asks for. Answers to requests
        # that come later have others.
        self._set_up_with: tuple[int, ...] = (0,)

    @property
    def early(self) -> bool:
        """Notifications may come before the subscription's answer, and are not taken."""
        return self.session.state is State.SUBSCRIBING

    def notifications_untrusted(self, count: int, now_ns: int) -> bool:
        if self.early:
            self.settings.recorder.count("notify.early", count)
            return False
        return super().notifications_untrusted(count, now_ns)

    def say(self, message: Message, transaction: int = 0) -> None:
        super().say(message, transaction)
        kind = KIND_OF[type(message)]
        if kind in _SET_UP and not self.active:
            self._set_up_with += (transaction,)
        elif kind is not Kind.ECHO_REQUEST:
            return  # the `Asker` repeats its own requests
        self._pending = _Pending(kind, self.outbox[-1])

    def control_untrusted(self, control: Control, now_ns: int) -> None:
        kind = self.settings.codec.profile.kinds.get(control.msg_id)
        if self._is_again(kind, control.transaction):
            self.settings.codec.decode_untrusted(control.msg_id, control.body)  # malformed is malformed
            self.last_heard_ns = now_ns
            self.settings.recorder.count("messages.repeated")
            return
        if self.early and kind in NOTIFICATIONS:
            self.last_heard_ns = now_ns
            self.settings.recorder.count("notify.early")
            return
        super().control_untrusted(control, now_ns)
        if self.active and self._echo_sent_ns is None:  # what was asked last was answered
            self._pending = None

    def _is_again(self, kind: Kind | None, transaction: int) -> bool:
        if kind is Kind.ECHO_RESPONSE:  # the request was repeated, and both were answered
            return 0 != self._echo_over == transaction
        if (asked := self.asked) is not None and (transaction in asked.pending or transaction in asked.over):
            return False  # numbers begin again after 65535: this one is of a later request
        states = _AGAIN.get(kind, frozenset()) if kind is not None else frozenset()
        return self.session.state in states and transaction in self._set_up_with

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
            self.outbox.append(pending.frame)
            self.settings.recorder.count("messages.retransmitted")
        return min(deadline, pending.again_ns)

    def _echo_given_up_ns(self) -> int:
        """Not before it was repeated as often as may be: see `_give_up`."""
        return NEVER_NS

    def _patience_ns(self, pending: _Pending) -> int:
        """How long a request is let alone: until it counts as not answered, and until it is repeated."""
        last = pending.retransmits == self.settings.timers.max_retransmits
        return self.settings.timers.response_timeout + (0 if last else self.settings.timers.retransmit_interval)

    def _give_up(self, pending: _Pending, now_ns: int) -> None:
        self._pending = None
        if pending.kind in _SET_UP:
            raise RemoteProtocolError(
                "no_response", f"no answer to {pending.kind.label}, sent {pending.retransmits + 1} times"
            )
        self._end_echo("echo.unanswered", now_ns)  # the dead interval decides


class DatagramWlcEndpoint(WlcEndpoint):
    """A WLC's end of a session over datagrams."""

    __slots__ = ("_answers",)

    def __init__(self, settings: EndpointSettings, started_ns: int, directory: Directory | None = None) -> None:
        super().__init__(settings, started_ns, directory)
        self._answers: dict[Kind, tuple[int, list[bytes]]] = {}  # the transaction, and what was said

    def control_untrusted(self, control: Control, now_ns: int) -> None:
        kind = self.settings.codec.profile.kinds.get(control.msg_id)
        if kind not in _SET_UP:
            super().control_untrusted(control, now_ns)
            return
        transaction, answer = self._answers.get(kind, (None, []))
        if transaction == control.transaction:
            self.settings.codec.decode_untrusted(control.msg_id, control.body)
            self.last_heard_ns = now_ns
            self.settings.recorder.count("messages.repeated")
            self.outbox += answer
            return
        before, running = len(self.outbox), self.active
        super().control_untrusted(control, now_ns)
        if not running:  # in a running session, a request that comes again is answered by what is true then
            self._answers[kind] = (control.transaction, self.outbox[before:])
