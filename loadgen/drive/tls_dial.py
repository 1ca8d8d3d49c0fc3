"""What every shard that plays MSEs does first: dial the WLC of a planned session."""

from __future__ import annotations

import select
import socket
from collections.abc import Sequence

from OpenSSL import SSL

from loadgen.drive.dialing_from import DialingFrom
from loadgen.drive.equipment import Equipment
from loadgen.drive.links import Link
from loadgen.drive.phase import CONNECTING
from loadgen.drive.tls import Shard
from loadgen.session.mse import MseEndpoint
from loadgen.transport.tls import Tunnel, dial, dial_result


class MseLink(Link):
    """A link of an MSE.

    Attributes:
        number: its row among this worker's sessions.
        index, due_ns: which handshake of this worker's it is, and when it was due; for handshakes only.
        tls_ns: from TCP connected to TLS done.
        service_ns: from dialing to TLS done; for handshakes only.
    """

    endpoint: MseEndpoint | None

    __slots__ = ("due_ns", "index", "number", "service_ns", "socket", "tls_ns")

    def __init__(self, sock: socket.socket, started_ns: int, number: int) -> None:
        super().__init__(sock.fileno(), CONNECTING, started_ns)
        self.socket = sock
        self.number = number
        self.index = 0
        self.due_ns = started_ns
        self.service_ns = self.tls_ns = 0


class DialingShard(Shard[MseLink]):
    """A shard that dials every `workers`-th session of the plan, from `worker` on."""

    def __init__(
        self,
        equipment: Equipment,
        addresses: Sequence[tuple[str, int]],
        contexts: Sequence[SSL.Context],
    ) -> None:
        """Args: addresses: of all WLCs of the plan; contexts: of all its MSEs."""
        super().__init__(equipment)
        self.worker, self.workers = equipment.share.worker, equipment.share.workers
        self.sessions = equipment.plan.sessions[self.worker :: self.workers]
        self._addresses, self._contexts = addresses, contexts
        self._dialing_from = DialingFrom(equipment)

    def dial(self, number: int, started_ns: int) -> MseLink:
        """Begin to connect the session in this row.

        Raises:
            TransportFault: it failed at once.
        """
        address = self._addresses[self.sessions[number].wlc]
        link = MseLink(dial(address, self._dialing_from(number, address[0])), started_ns, number)
        self.handshake_reads.begins(link)
        self.add(link, started_ns + self.setup_timeout_ns, select.EPOLLOUT)
        return link

    def new_tunnel(self, link: MseLink) -> Tunnel:
        """The client's end of a tunnel over the link's socket."""
        session = self.sessions[link.number]
        context = self._contexts[session.mse]
        tracer = self.tracer
        observer = None if tracer is None else tracer.observer(link.number, self._addresses[session.wlc])
        return Tunnel(context, link.socket, server=False, observer=observer)

    def on_connected(self, link: MseLink) -> None:
        dial_result(link.socket)
        self.recorder.record("handshake.tcp", self.clock() - link.started_ns, link.stage)
        link.tunnel = self.new_tunnel(link)

    def on_other(self, fd: int) -> None:
        raise AssertionError("an MSE listens nowhere")

    def release(self, link: MseLink) -> None:
        if link.tunnel is None:
            link.socket.close()
        super().release(link)
