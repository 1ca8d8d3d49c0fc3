"""A handshake's events as the facts that a controller's trace consists of, and as its lines.

FactReader   events -> facts: which step, under which number, with which `where` and `ret`
TraceLines   facts -> text, so that it can be laid beside `show trace messages nmsp`
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import NamedTuple

from loadgen.diagnosis.states import AUTH_LIST, NEXT, OK, OVER, FieldState
from loadgen.foreign import plain
from loadgen.transport.alerts import ALERTS, LEVELS
from loadgen.transport.trace import DONE, EXIT, LOOP, STARTED, Happening, TraceEvent
from loadgen.units import NS_PER_S

_MINUS_ONE = 0xFFFFFFFF
# OpenSSL's long names are ours with blanks, but for these.
_SPELLING = {48: "unknown CA", 115: "unknown PSK identity"}


class TraceStep(Enum):
    """What a line of the trace says, but for names and numbers; the values are templates of the line."""

    ALLOCATED = "New NMSP connection {number} allocated"
    NEW = "sslConnectionInit: SSL_new() conn ssl {ssl}"
    NOT_COMPLETED = "doSSLRecvLoop: Handshake not completed for conn {number}"
    HANDSHAKE = "sslConnectionInit: SSL_do_handshake for conn ssl {ssl}, conn state: INIT, SSL state: HANDSHAKING"
    STATE = "SSL state = {state}; where = {where:#x}, ret = {ret:#x}"
    WANT_READ = "-- returning WANT_READ for conn ssl {ssl}"
    INIT_DONE = "sslConnectionInit() success with conn state: INIT, SSL state: HANDSHAKING"
    CALLING_LIST = "Peer certificate Validation Done for conn ssl {ssl}, calling authlist..."
    LIST_REFUSED = "Authlist authentication failed for conn ssl {ssl}"
    LIST_TOOK = "Authlist authentication successful for conn ssl {ssl}"
    NOT_VALIDATED = "Peer not validated against AuthList"
    VALIDATED = "Peer validated against AuthList"
    FAILED = "-- handshake failed for conn ssl {ssl}, ssl_err 1 error = {text}"
    RELEASED = "Nmsp conn ssl {ssl} freed, conn id {number}"
    SUCCEEDED = "SSL_do_handshake() succeeded for conn ssl {ssl}"
    SUCCESS = "NMSP connection success! conn {number}"


class Fact(NamedTuple):
    """One step of a trace. `state`, `where` and `ret` are of STATE only."""

    step: TraceStep
    state: FieldState | None = None
    where: int = 0
    ret: int = 0
    text: str = ""

    @property
    def level(self) -> str:
        """`ret_type_string`: the alert's level; "unknown" for what is no alert."""
        return LEVELS.get(self.ret >> 8, "unknown")

    @property
    def description(self) -> str:
        """`ret_desc_string`: what the low byte of `ret` means as an alert, in OpenSSL's words."""
        number = self.ret & 0xFF
        return _SPELLING.get(number) or ALERTS.get(number, "unknown").replace("_", " ")


class FactReader:
    """Turns the events of one tunnel into facts, one after the other."""

    def __init__(self, *, server: bool) -> None:
        self._over, self._next = OVER[server], NEXT[server]
        self._last = ""  # the state that was reported last
        self._told = False  # that it is over
        self._entered = 0
        self._at_list = False
        self._finished = False

    def read(self, event: TraceEvent) -> Iterator[Fact]:
        """The facts in an event; none for what a controller's trace does not have."""
        match event.happening:
            case Happening.ALLOCATED:
                yield Fact(TraceStep.ALLOCATED)
                yield Fact(TraceStep.NEW)
            case Happening.ENTERED:
                if self._entered:
                    yield Fact(TraceStep.NOT_COMPLETED)
                self._entered += 1
                yield Fact(TraceStep.HANDSHAKE)
            case Happening.WAITING:
                yield Fact(TraceStep.WANT_READ)
                if self._entered == 1:
                    yield Fact(TraceStep.INIT_DONE)
            case Happening.STATE:
                yield from self._state(event)
            case Happening.CHECKING:
                self._at_list = True
                yield Fact(TraceStep.CALLING_LIST)
            case Happening.CHECKED:
                self._at_list = bool(event.text)
                yield Fact(TraceStep.LIST_REFUSED if event.text else TraceStep.LIST_TOOK)
                yield Fact(TraceStep.NOT_VALIDATED if event.text else TraceStep.VALIDATED)
            case Happening.FAILED:
                yield Fact(TraceStep.FAILED, text=event.text)
            case Happening.FINISHED:
                yield Fact(TraceStep.SUCCEEDED)
                yield Fact(TraceStep.SUCCESS)
            case Happening.RELEASED:
                yield Fact(TraceStep.RELEASED)

    def _state(self, event: TraceEvent) -> Iterator[Fact]:
        if event.where & (LOOP | STARTED) and not event.is_alert:
            yield from self._over_now(event)
        elif event.where & DONE:
            self._finished = True
            yield Fact(TraceStep.STATE, OK, event.where, event.ret)
        else:  # EXIT, or an alert
            yield Fact(TraceStep.STATE, self._standing(event), event.where, event.ret)

    def _over_now(self, event: TraceEvent) -> Iterator[Fact]:
        if event.where & LOOP:
            # Told again when the handshake goes on; the field's library did not.
            if event.state == self._last and self._told:
                return
            self._last, self._told = event.state, True
        for state in self._over.get(event.state, (FieldState(None, event.state),)):
            yield Fact(TraceStep.STATE, state, event.where, event.ret)

    def _standing(self, event: TraceEvent) -> FieldState:
        """Where the field's library would say that it stands when it waits, or fails, or has an alert."""
        if self._finished:
            return OK
        if self._at_list:
            return AUTH_LIST
        if event.where & EXIT and event.ret != _MINUS_ONE and event.state in self._over:
            return self._over[event.state][-1]
        if event.state in self._next and event.state != self._last:
            # Reading this message has begun, and the one before is over without a word about it.
            self._last, self._told = event.state, False
        return self._next.get(self._last) or FieldState(None, self._last or event.state)


class TraceLines:
    """The lines of one tunnel's trace."""

    def __init__(
        self,
        *,
        server: bool,
        number: int = 0,
        serial: int = 0,
        ssl: int | None = None,
        process: int | None = None,
        to_unix_ns: int | None = None,
    ) -> None:
        """Args:
        number: of the connection; serial: of the first line.
        ssl: what its library's part is called; process: whose it is. None: ours.
        to_unix_ns: turns the events' times into ns since the epoch; None: the first event is new.
        """
        self._facts = FactReader(server=server)
        self._number = number
        self._serial = serial
        # A controller prints an address; what matters is that one connection has one.
        self._ssl = f"{id(self._facts) & _MINUS_ONE if ssl is None else ssl:08x}"
        self._process = os.getpid() if process is None else process
        self._to_unix_ns = to_unix_ns
        self._anchor: tuple[int, datetime] | None = None

    def lines(self, event: TraceEvent) -> Iterator[str]:
        """The lines of an event, as they come."""
        if self._anchor is None:
            self._anchor = event.at_ns, self._time_of(event)
        first_ns, first = self._anchor
        now = first + timedelta(microseconds=(event.at_ns - first_ns) // 1000)
        for fact in self._facts.read(event):
            for text in self._texts(fact):
                time = f"{now:%m/%d/%y %H:%M:%S}.{now.microsecond // 1000:03}"
                yield f"[{time} UTC {self._serial:x} {self._process}] {text}"
                self._serial += 1

    def _time_of(self, event: TraceEvent) -> datetime:
        if self._to_unix_ns is None:
            return datetime.now(UTC)
        return datetime.fromtimestamp((event.at_ns + self._to_unix_ns) / NS_PER_S, UTC)

    def _texts(self, fact: Fact) -> Iterator[str]:
        state = fact.state
        number = "none" if state is None or state.number is None else f"{state.number:#x}"
        yield fact.step.value.format(
            number=self._number, ssl=self._ssl, state=number, where=fact.where, ret=fact.ret, text=plain(fact.text)
        )
        if state is not None:
            yield f"ret_type_string={fact.level}"
            yield f"ret_desc_string={fact.description}"
            yield f"SSL_state_string={plain(state.name)}"
