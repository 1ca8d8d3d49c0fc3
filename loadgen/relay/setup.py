"""Sessions are set up: from an MSE that was accepted to two tunnels.

The WLC is dialed when an MSE has said its hello, and the MSE is answered when the WLC has taken us: so what a WLC says
that refuses us can be said to the MSE, in its place.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
from contextlib import suppress

from loadgen.relay.loop import RelayLoop
from loadgen.relay.session import End, RelayedSession, RelayEnding, RelayPhase
from loadgen.transport.address import host_and_port
from loadgen.transport.alerts import ALERTS
from loadgen.transport.tls import TransportFault, Tunnel, dial, dial_result, kind_of_errno
from loadgen.units import NS_PER_S

_ACCEPTS_PER_TURN = 64
# What a WLC may take to judge us over TLS 1.3, when our side of the handshake is over: longer than a 3850's auth list.
_JUDGED_NS = 2 * NS_PER_S
# A handshake that is given up before it began: a fatal alert in the clear, which any client takes.
_ALERT = struct.Struct(">BHHBB")
_ALERT_RECORD, _TLS_1_0, _FATAL, _HANDSHAKE_FAILURE = 21, 0x0301, 2, 40
_ALERT_NUMBERS = {name: number for number, name in ALERTS.items()} | {"user_cancelled": 90}


class SettingUp(RelayLoop):
    """Brings sessions up.

    Subclasses say what is done with one that is.
    """

    def open(self, session: RelayedSession) -> None:
        """Both tunnels are up."""
        raise NotImplementedError

    def pass_on(self, session: RelayedSession, end: End, events: int) -> None:
        """Something has happened at one end of a session that is up."""
        raise NotImplementedError

    def accept(self) -> None:
        for _ in range(_ACCEPTS_PER_TURN):
            try:
                sock, address = self.listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ECONNABORTED:
                    continue
                # Out of descriptors: the listener would be ready again at once, and again.
                self.rest()
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._last_number += 1
            session = RelayedSession(self._last_number, End(sock, host_and_port(address), is_mse=True))
            self.sessions[session.number] = session
            self.add(session, session.mse)
            self.arm(session, self.timeout_ns)
            self.watch(session.mse, select.EPOLLIN)

    def advance(self, session: RelayedSession, end: End, events: int) -> None:
        """Something has happened at one end."""
        phase = session.phase
        if phase is RelayPhase.OPEN:
            self.pass_on(session, end, events)
        elif phase is RelayPhase.HELLO:
            self._greet(session)
        elif phase is RelayPhase.SHAKING_MSE:
            self._shake_mse(session)
        elif end.is_mse:
            # It was asked for nothing but its end.
            self._mse_left(session)
        elif phase is RelayPhase.DIALING:
            self._dialed(session, end)
        elif phase is RelayPhase.SHAKING_WLC:
            self._shake_wlc(session, end)
        elif phase is RelayPhase.UNHEARD:
            self._hear_wlc(session, end)

    def _greet(self, session: RelayedSession) -> None:
        """Its hello waits, or it has gone."""
        try:
            if not session.mse.sock.recv(1, socket.MSG_PEEK):
                self.finish(session, RelayEnding(True, "closed"))
                return
        except BlockingIOError:
            return
        except OSError as error:
            self.finish(session, RelayEnding(True, kind_of_errno(error.errno)))
            return
        try:
            sock = dial(self.target)
        except TransportFault as fault:
            self._refused(session, fault)
            return
        session.wlc = End(sock, self.target, is_mse=False)
        self.add(session, session.wlc)
        session.phase = RelayPhase.DIALING
        self.arm(session, self.timeout_ns)

    def _mse_left(self, session: RelayedSession) -> None:
        number = session.mse.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self.finish(session, RelayEnding(True, kind_of_errno(number) if number else "closed"))

    def _dialed(self, session: RelayedSession, wlc: End) -> None:
        try:
            dial_result(wlc.sock)
        except TransportFault as fault:
            self._refused(session, fault)
            return
        wlc.tunnel = Tunnel(self.to_wlc_context, wlc.sock, server=False)
        session.phase = RelayPhase.SHAKING_WLC
        self._shake_wlc(session, wlc)

    def _shake_wlc(self, session: RelayedSession, wlc: End) -> None:
        assert wlc.tunnel is not None
        try:
            done = wlc.tunnel.handshake()
        except TransportFault as fault:
            self._refused(session, fault)
            return
        if done and wlc.tunnel.confirmed():
            self._answer_mse(session)
        elif done:
            session.phase = RelayPhase.UNHEARD
            self.arm(session, _JUDGED_NS)

    def _hear_wlc(self, session: RelayedSession, wlc: End) -> None:
        """Its first word means that it has taken us: a ticket, or what it has to say."""
        assert wlc.tunnel is not None
        try:
            size = wlc.tunnel.read_into(self.view)
        except TransportFault as fault:
            self._refused(session, fault)
            return
        if size:
            session.held = self.clock(), bytes(self.view[:size])
        if size or wlc.tunnel.ticket() is not None:
            self._answer_mse(session)

    def _answer_mse(self, session: RelayedSession) -> None:
        session.mse.tunnel = Tunnel(self.to_mse_context, session.mse.sock, server=True)
        session.phase = RelayPhase.SHAKING_MSE
        self.arm(session, self.timeout_ns)
        self._shake_mse(session)

    def _shake_mse(self, session: RelayedSession) -> None:
        tunnel = session.mse.tunnel
        assert tunnel is not None
        try:
            done = tunnel.handshake()
        except TransportFault as fault:
            self.finish(session, RelayEnding(True, fault.kind, tunnel.refused))
            return
        if done:
            self.open(session)

    def timed_out(self, session: RelayedSession) -> None:
        if session.phase is RelayPhase.UNHEARD:  # it says nothing, and has not refused us either
            self._answer_mse(session)
        elif session.phase in (RelayPhase.HELLO, RelayPhase.SHAKING_MSE):
            self.finish(session, RelayEnding(True, "timeout"))
        else:
            self._refused(session, TransportFault("timeout"))

    def _refused(self, session: RelayedSession, fault: TransportFault) -> None:
        """The WLC does not take us, or is not there: the MSE sees what we saw."""
        tunnel = session.wlc.tunnel if session.wlc is not None else None
        ours = tunnel is not None and tunnel.refused
        alert = None
        if fault.kind.startswith("alert_"):
            alert = _ALERT_NUMBERS.get(fault.kind.removeprefix("alert_"), _HANDSHAKE_FAILURE)
        elif ours:  # something of the WLC's is not to our liking
            alert = _HANDSHAKE_FAILURE
        mse = session.mse
        if alert is not None:
            with suppress(OSError):
                mse.sock.send(_ALERT.pack(_ALERT_RECORD, _TLS_1_0, 2, _FATAL, alert))
        self.finish(session, RelayEnding(False, fault.kind, ours))
