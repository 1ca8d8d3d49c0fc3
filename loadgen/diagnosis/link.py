"""One link, driven by poll: a handshake with a deadline, and a conversation until something has happened."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import ClassVar

from OpenSSL import SSL

from loadgen.diagnosis.hello import PEEK_BYTES
from loadgen.nmsp.any_bulk import Receiver, receiver_of
from loadgen.nmsp.bulk import Control
from loadgen.nmsp.dialogue import Saying
from loadgen.nmsp.messages import Kind
from loadgen.nmsp.profile import WireProfile
from loadgen.session.conversation import hear_untrusted
from loadgen.session.link import Endpoint
from loadgen.transport.parting import hear_out
from loadgen.transport.spoken import Spoken
from loadgen.transport.tls import TransportFault, Tunnel, Want
from loadgen.transport.trace import Happening, Observer, Sink, TraceEvent
from loadgen.units import NS_PER_MS

_READ_BYTES = 65536
_NOTHING_READ = frozenset({"before SSL initialization", "SSLv3/TLS write client hello"})


class OneLink:
    """A tunnel and what came over it.

    Attributes:
        first_bytes: what the peer sent first, as far as one look showed it.
        answered_ns: when that was seen (monotonic); None: it was not.
        spoken: the handshake's messages.
        heard: when the first message of each kind came (monotonic ns); notifications are a kind.
        notified: the subservices that measurement notifications were of.
        bodies: what the last control message of each kind said, still encoded.
    """

    tunnels: ClassVar[type[Tunnel]] = Tunnel

    def __init__(self, context: SSL.Context, sock: socket.socket, sink: Sink, *, server: bool) -> None:
        self._sink = sink
        self._looking = True
        self._socket = sock
        self._poll = select.poll()
        self.first_bytes = b""
        self.answered_ns: int | None = None
        self.heard: dict[Saying, int] = {}
        self.notified: set[int] = set()
        self.bodies: dict[Saying, bytes] = {}
        self._receiver: Receiver | None = None
        self._held = 0  # bytes of a frame that is not whole
        self.spoken = Spoken(context)
        self.tunnel = self.tunnels(context, sock, server=server, observer=Observer(self._take))

    @property
    def answered(self) -> bool:
        """The peer has sent something."""
        return bool(self.first_bytes or self.spoken.heard)

    def handshake(self, deadline_ns: int) -> None:
        """Raises: TransportFault: it failed; kind `timeout` at the deadline."""
        while True:
            self._look()
            if self.tunnel.handshake():
                return
            if not self._ready(select.POLLIN if self.tunnel.wants is Want.READ else select.POLLOUT, deadline_ns):
                raise TransportFault("timeout")

    def converse(self, endpoint: Endpoint, profile: WireProfile, until: Callable[[], bool], deadline_ns: int) -> None:
        """Exchange messages until `until` is so.

        Raises:
            TransportFault: the tunnel failed, or kind `timeout` at the deadline.
            RemoteProtocolError: the peer broke the protocol.
        """
        if self._receiver is None:
            self._receiver = receiver_of(profile, profile.max_frame_bytes + _READ_BYTES)
        while True:
            now = time.monotonic_ns()
            timer_ns = endpoint.on_timer(now)
            # First, because a write that fails leaves nothing to be read, not even the alert that says why.
            came = self._read(endpoint, profile)
            self._send(endpoint, deadline_ns)
            if until():
                return
            if came:
                continue
            # The endpoint has timers of its own, and the deadline is the walk's.
            if not self._ready(select.POLLIN, min(timer_ns, deadline_ns)) and time.monotonic_ns() >= deadline_ns:
                raise TransportFault("timeout")

    def await_refusal(self, for_ns: int) -> None:
        """Give the peer time to refuse us, before we say what it would then hang up on."""
        self._ready(select.POLLIN, time.monotonic_ns() + for_ns)

    def send(self, data: bytes | memoryview, deadline_ns: int) -> None:
        """Send at most one TLS record. Raises: TransportFault."""
        self.tunnel.write(data)
        while self.tunnel.blocked:
            if not self._ready(select.POLLOUT, deadline_ns):
                raise TransportFault("timeout")
            self.tunnel.flush()

    def close(self) -> None:
        """Say goodbye, if anybody listens, and give the socket back; one whom we refused is heard out."""
        self.tunnel.close_notify()
        if self.tunnel.refused:
            hear_out(self.tunnel.let_go())
        else:
            self.tunnel.close()

    def _take(self, event: TraceEvent) -> None:
        if event.happening is Happening.STATE:
            # OpenSSL reads within the same call: this is the last moment before.
            self._looking = self._looking and event.state in _NOTHING_READ
            self._look()
        self._sink(event)

    def _look(self) -> None:
        if self._looking and not self.first_bytes:
            self.first_bytes = self._peek()
            self.answered_ns = time.monotonic_ns() if self.first_bytes else None

    def _peek(self) -> bytes:
        with suppress(OSError):
            return self._socket.recv(PEEK_BYTES, socket.MSG_PEEK)
        return b""

    def _send(self, endpoint: Endpoint, deadline_ns: int) -> None:
        while endpoint.outbox:
            self.send(endpoint.next_frame(), deadline_ns)

    def _read(self, endpoint: Endpoint, profile: WireProfile) -> bool:
        receiver = self._receiver
        assert receiver is not None
        size = self.tunnel.read_into(receiver.view[self._held : self._held + _READ_BYTES])
        if not size:
            return False
        now, end = time.monotonic_ns(), self._held + size

        def after(control: Control, _granted: int) -> None:
            kind = profile.saying_of(control.msg_id, endpoint.peer) or Kind.UNSUPPORTED
            self.bodies[kind] = bytes(control.body)
            self.heard.setdefault(kind, now)

        heard = hear_untrusted(receiver, endpoint, 0, end, now, after)
        if heard.notifications:
            self.heard.setdefault(Kind.MEASUREMENT_NOTIFY, now)
            self.notified.update(receiver.columns().subservice.tolist())
        if heard.fault is not None:
            raise heard.fault
        receiver.reset()
        self._keep(bytes(receiver.view[heard.position : end]))
        return True

    def _keep(self, rest: bytes) -> None:
        """What is left is the beginning of a frame. Raises: RemoteProtocolError: it cannot be."""
        assert self._receiver is not None
        self._receiver.view[: len(rest)] = rest
        self._held = len(rest)

    def _ready(self, events: int, until_ns: int) -> bool:
        """Wait for the socket; False when the time has come before."""
        self._poll.register(self._socket, events)
        left_ns = until_ns - time.monotonic_ns()
        return left_ns > 0 and bool(self._poll.poll(-(-left_ns // NS_PER_MS)))
