"""All sessions over one epoll set: when something happens to one, when its time is over, and how it is ended.

What is read from one side, a record at a time, is written to the other before anything else is done with it.
"""

from __future__ import annotations

import heapq
import select
import socket
import struct
from contextlib import suppress

from OpenSSL import SSL

from loadgen.clock import Nanoseconds
from loadgen.relay.session import UNWATCHED, End, RelayedSession, RelayEnding, RelayPhase
from loadgen.relay.witness import Witness
from loadgen.transport.parting import Partings
from loadgen.transport.tls import Want
from loadgen.units import NS_PER_MS, NS_PER_S

_MAX_EVENTS = 256
# Of plaintext in a TLS record, at most.
_RECORD_BYTES = 16384
# How long a listener is left alone when accepting has failed.
_REST_NS = 100 * NS_PER_MS
# The longest sleep: the witness has something to write, and to tell whoever looks on.
_MAX_SLEEP_NS = 25 * NS_PER_MS
# How a peer ended that closed its connection, and did not break it.
_CLOSED = frozenset({"closed", "closed_without_notify", "unexpected_eof_while_reading"})
_ABORT = struct.pack("ii", 1, 0)


class RelayLoop:
    """Accepts MSEs, and dials the WLC for each.

    Attributes:
        sessions: those that are not over, by number.
        interrupted: its ender has become readable.
    """

    def __init__(
        self,
        listener: socket.socket,
        target: tuple[str, int],
        contexts: tuple[SSL.Context, SSL.Context],
        witness: Witness,
        *,
        timeout_ns: int,
        clock: Nanoseconds,
        ender: int,
    ) -> None:
        """Args:
        listener: bound and listening, non-blocking; ours from here on.
        contexts: towards MSEs (a server's), towards the WLC (a client's).
        timeout_ns: how long a session may take to come up, for each side.
        ender: a descriptor; once it is readable, all sessions are ended in order.
        """
        self.sessions: dict[int, RelayedSession] = {}
        self.listener, self.target = listener, target
        self.to_mse_context, self.to_wlc_context = contexts
        self.witness = witness
        self.timeout_ns = timeout_ns
        self.clock = clock
        self._ender = ender
        self._ends: dict[int, tuple[RelayedSession, End]] = {}
        self._new: set[int] = set()  # descriptors that this turn has made
        self._timers: list[tuple[int, int, RelayedSession]] = []
        self._timer_serial = self._last_number = 0
        self.interrupted = False
        self._rests_until: int | None = None
        self._ending = False
        self.view = memoryview(bytearray(_RECORD_BYTES))
        self._epoll = select.epoll()
        self._epoll.register(listener.fileno(), select.EPOLLIN)
        self._epoll.register(ender, select.EPOLLIN)
        self._partings = Partings(lambda fd: self._epoll.register(fd, select.EPOLLIN), self._epoll.unregister)

    def run(self) -> None:
        """Until it is to end; then all is closed."""
        try:
            while not self._ending or self._partings:
                self._turn(self._epoll.poll(self._sleep_ns() / NS_PER_S, _MAX_EVENTS))
        finally:
            for session in list(self.sessions.values()):
                for end in session.ends():
                    end.sock.close()
            self._partings.close()
            self.listener.close()
            self._epoll.close()

    def _sleep_ns(self) -> int:
        now = self.clock()
        wake = min(now + _MAX_SLEEP_NS, self._partings.next_ns())
        if self._timers:
            wake = min(wake, self._timers[0][0])
        return max(0, wake - now)

    def _turn(self, ready: list[tuple[int, int]]) -> None:
        self._new.clear()
        for fd, events in ready:
            if fd in self._new:
                continue  # it was somebody else's when epoll told this
            if (found := self._ends.get(fd)) is not None:
                session, end = found
                self.advance(session, end, events)
                self._watch_all(session)
            elif fd == self._ender:
                self.interrupted = True
                self.end()
            elif not self._ending and fd == self.listener.fileno():
                self.accept()
            else:
                self._partings.hear(fd)
        self._run_timers()
        if not self.witness.turned(self.clock()):
            self.end()

    def _run_timers(self) -> None:
        now = self.clock()
        self._partings.run_out(now)
        if self._rests_until is not None and now >= self._rests_until and not self._ending:
            self._rests_until = None
            self._epoll.register(self.listener.fileno(), select.EPOLLIN)
        while self._timers and self._timers[0][0] <= now:
            _, serial, session = heapq.heappop(self._timers)
            if serial == session.timer:
                self.timed_out(session)
                self._watch_all(session)

    def arm(self, session: RelayedSession, after_ns: int) -> None:
        self._timer_serial += 1
        session.timer = self._timer_serial
        heapq.heappush(self._timers, (self.clock() + after_ns, self._timer_serial, session))

    def end(self) -> None:
        """Accept no more, and say goodbye to everybody; `run` returns when they have been heard out."""
        if self._ending:
            return
        self._ending = True
        if self._rests_until is None:
            self._epoll.unregister(self.listener.fileno())
        self._epoll.unregister(self._ender)
        self.listener.close()
        now = self.clock()
        for session in list(self.sessions.values()):
            if session.phase is RelayPhase.OPEN:
                for is_mse in (True, False):
                    self.witness.ended(is_mse, session, now, broken=False)
            self.finish(session, RelayEnding(None, "interrupted"))

    # -- for subclasses ------------------------------------------------------------------------------------------

    def accept(self) -> None:
        """The listener is ready."""
        raise NotImplementedError

    def advance(self, session: RelayedSession, end: End, events: int) -> None:
        """Something has happened at one end."""
        raise NotImplementedError

    def timed_out(self, session: RelayedSession) -> None:
        """A session's time is over."""
        raise NotImplementedError

    def add(self, session: RelayedSession, end: End) -> None:
        """Know an end by its descriptor."""
        self._ends[end.fd] = session, end
        self._new.add(end.fd)

    def rest(self) -> None:
        """Leave the listener alone for a while."""
        self._epoll.unregister(self.listener.fileno())
        self._rests_until = self.clock() + _REST_NS

    # -- ending --------------------------------------------------------------------------------------------------

    def finish(self, session: RelayedSession, ending: RelayEnding) -> None:
        """Close both sides; the one that did not end is ended as the other has."""
        phase, session.phase, session.timer = session.phase, RelayPhase.OVER, 0
        del self.sessions[session.number]
        for end in session.ends():
            self.watch(end, 0)
            del self._ends[end.fd]
        if phase is RelayPhase.OPEN:
            self.witness.over(session, self.clock(), session.endings[0] if session.endings else ending)
        else:
            self.witness.failed(session, ending, phase)
        closed = ending.kind in _CLOSED or ending.by_mse is None
        for end in session.ends():
            if end.is_mse == ending.by_mse or closed:
                self._part(end, notify=ending.by_mse is None)
            elif phase is RelayPhase.OPEN:
                _abort(end)
            elif end.is_mse:
                self._turn_away(end, ending)
            elif ending.kind == "reset":
                _abort(end)
            else:
                self._part(end, notify=True)

    def _turn_away(self, mse: End, ending: RelayEnding) -> None:
        """Of an MSE whose handshake has not begun: the WLC did not take us."""
        if ending.ours or ending.kind.startswith("alert_"):
            self._partings.begin(mse.sock, self.clock())  # behind the alert
        else:
            _abort(mse)

    def _part(self, end: End, *, notify: bool) -> None:
        """Close one end in order: it is heard out, for a reset would take away what it has not read yet."""
        sock = end.sock
        if end.tunnel is not None:
            if notify and not end.tunnel.blocked:
                end.tunnel.close_notify()
            sock = end.tunnel.let_go()
        self._partings.begin(sock, self.clock())

    # -- watching ------------------------------------------------------------------------------------------------

    def _watch_all(self, session: RelayedSession) -> None:
        """Have epoll tell what a session waits for now."""
        if session.phase is RelayPhase.OVER:
            return
        mse, wlc = session.mse, session.wlc
        if session.phase is RelayPhase.OPEN:
            for end in session.ends():
                self.watch(end, _wanted(session, end))
            return
        shakes_mse = session.phase is RelayPhase.SHAKING_MSE
        if session.phase is not RelayPhase.HELLO:
            # While the WLC has the word, the MSE's hello stays where it is.
            self.watch(mse, _wanted_by(mse) if shakes_mse else select.EPOLLRDHUP)
        if wlc is not None:
            dialing = session.phase is RelayPhase.DIALING
            self.watch(wlc, 0 if shakes_mse else select.EPOLLOUT if dialing else _wanted_by(wlc))

    def watch(self, end: End, events: int) -> None:
        """0: nothing, not even its end, which epoll would tell again and again."""
        if events == (0 if end.watched == UNWATCHED else end.watched):
            return
        if not events:
            self._epoll.unregister(end.fd)
            end.watched = UNWATCHED
            return
        if end.watched == UNWATCHED:
            self._epoll.register(end.fd, events)
        else:
            self._epoll.modify(end.fd, events)
        end.watched = events


def _wanted(session: RelayedSession, end: End) -> int:
    """What an end of a session that is up is watched for."""
    away, towards = session.flow_from(end), session.flow_to(end)
    assert end.tunnel is not None
    assert away.sink.tunnel is not None
    events = 0
    if not away.finished and (away.notified or not away.sink.tunnel.blocked):
        events |= select.EPOLLIN
    if end.tunnel.blocked or towards.owed:
        events |= select.EPOLLOUT
    return events or select.EPOLLET  # that it was reset is told even so, and once


def _wanted_by(end: End) -> int:
    """What an end in its handshake is watched for."""
    assert end.tunnel is not None
    return select.EPOLLOUT if end.tunnel.wants is Want.WRITE else select.EPOLLIN


def _abort(end: End) -> None:
    """Close with a reset."""
    with suppress(OSError):
        end.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    if end.tunnel is not None:
        end.tunnel.close()
    else:
        end.sock.close()
