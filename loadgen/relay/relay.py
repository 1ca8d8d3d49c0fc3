"""What one side says is passed on to the other, and how one side ends, the other is ended."""

from __future__ import annotations

import select
import socket

from loadgen.relay.session import End, Flow, RelayedSession, RelayEnding, RelayPhase
from loadgen.relay.setup import SettingUp
from loadgen.transport.tls import EndOfStream, TransportFault, kind_of_errno

# Records that one direction may pass on before the others have their turn.
_BURST = 32
_CHUNK_BYTES = 65536
_ENDED = select.EPOLLHUP | select.EPOLLERR


class Relay(SettingUp):
    """Accepts MSEs, dials the WLC for each, and passes on what they say.

    Where one side has no room, nothing more is read from the other.
    """

    def open(self, session: RelayedSession) -> None:
        session.begin()
        session.timer = 0
        assert session.wlc is not None
        self.witness.came_up(session, self.clock())
        if session.held is not None:
            (at_ns, held), session.held = session.held, None
            self._write(session, session.flow_from(session.wlc), memoryview(held), at_ns)

    def pass_on(self, session: RelayedSession, end: End, events: int) -> None:
        """One end of a session that is up can be read, or written, or is gone."""
        assert end.tunnel is not None
        towards, away = session.flow_to(end), session.flow_from(end)
        if end.tunnel.blocked and events & (select.EPOLLOUT | _ENDED):
            try:
                end.tunnel.flush()
            except TransportFault as fault:
                self._broken(session, end, fault)
                return
        if towards.owed:
            self._pass_end(session, towards)
        if session.phase is not RelayPhase.OPEN or not events & (select.EPOLLIN | _ENDED):
            return
        assert away.sink.tunnel is not None
        if away.finished or away.sink.tunnel.blocked:
            # Nothing is to be read, or there is no room for it; but a connection that was reset is none any more.
            if number := end.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._broken(session, end, TransportFault(kind_of_errno(number)))
        elif away.notified:
            self._await_fin(session, away)
        else:
            self._pump(session, away)

    def _pump(self, session: RelayedSession, flow: Flow) -> None:
        """Pass on what is there, as far as there is room."""
        source, sink = flow.source.tunnel, flow.sink.tunnel
        assert source is not None
        assert sink is not None
        for _ in range(_BURST):
            if sink.blocked:
                return
            try:
                size = source.read_into(self.view)
            except EndOfStream as end:
                self._ended(session, flow, end)
                return
            except TransportFault as fault:
                self._broken(session, flow.source, fault)
                return
            if not size or not self._write(session, flow, self.view[:size], self.clock()):
                return

    def _write(self, session: RelayedSession, flow: Flow, data: memoryview, read_ns: int) -> bool:
        """Pass a record on, and tell of it; False: the sink has broken."""
        sink = flow.sink.tunnel
        assert sink is not None
        broken: TransportFault | None = None
        try:
            sink.write(data)
        except TransportFault as fault:
            broken = fault
        flow.passed_bytes += len(data)
        flow.passed_records += 1
        self.witness.heard(flow.source.is_mse, session, read_ns, data)
        if broken is not None:
            self._broken(session, flow.sink, broken)
        return broken is None

    def _ended(self, session: RelayedSession, flow: Flow, end: EndOfStream) -> None:
        """The source says no more: neither do we."""
        flow.notified, flow.finished = end.orderly, not end.orderly
        session.note(RelayEnding(flow.source.is_mse, end.kind))
        self.witness.ended(flow.source.is_mse, session, self.clock(), broken=False)
        self._pass_end(session, flow)
        if end.orderly and session.phase is RelayPhase.OPEN:
            self._await_fin(session, flow)

    def _pass_end(self, session: RelayedSession, flow: Flow) -> None:
        sink = flow.sink
        assert sink.tunnel is not None
        flow.owed = sink.tunnel.blocked or not _has_room(sink.sock)
        if flow.owed:
            return
        if flow.notified and not flow.told:
            flow.told = True
            sink.tunnel.close_notify()
        if flow.finished:
            sink.tunnel.hang_up()
            if session.flow_to(flow.source).finished:
                self.finish(session, RelayEnding(flow.source.is_mse, "closed"))

    def _await_fin(self, session: RelayedSession, flow: Flow) -> None:
        """Behind a close_notify nothing comes that means anything, but TCP's own end."""
        try:
            for _ in range(_BURST):
                if not flow.source.sock.recv(_CHUNK_BYTES):
                    flow.finished = True
                    self._pass_end(session, flow)
                    return
        except BlockingIOError:
            return
        except OSError as error:
            self._broken(session, flow.source, TransportFault(kind_of_errno(error.errno)))

    def _broken(self, session: RelayedSession, end: End, fault: TransportFault) -> None:
        """One end's connection is no more, and neither is the other's."""
        ending = RelayEnding(end.is_mse, fault.kind)
        session.note(ending)
        self.witness.ended(end.is_mse, session, self.clock(), broken=True)
        self.finish(session, ending)


def _has_room(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    return bool(poll.poll(0))
