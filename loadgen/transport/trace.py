"""What happens inside of a handshake, as events: OpenSSL's states and alerts, and when the auth list is asked.

Nothing here is paid for by tunnels that nobody watches: a context is observed or is not, and a `TracedTunnel` is
another class. What the events look like on a screen is somebody else's business.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple, TypeAlias

from cryptography import x509
from OpenSSL import SSL

from loadgen.transport.tls import TransportFault, Tunnel

# OpenSSL's SSL_CB_*: what `where` of a state event is made of.
LOOP, EXIT, READ, WRITE = SSL.SSL_CB_LOOP, SSL.SSL_CB_EXIT, SSL.SSL_CB_READ, SSL.SSL_CB_WRITE
ALERT, STARTED, DONE = SSL.SSL_CB_ALERT, SSL.SSL_CB_HANDSHAKE_START, SSL.SSL_CB_HANDSHAKE_DONE


class Happening(Enum):
    """What an event tells of."""

    ALLOCATED = "allocated"  # a tunnel was made for a connection
    ENTERED = "entered"  # the handshake is gone on with
    STATE = "state"  # OpenSSL's information callback
    CHECKING = "checking"  # the certificate's own checks are done, the auth list is asked
    CHECKED = "checked"  # and has answered; `text` is why it refused, or empty
    WAITING = "waiting"  # the handshake needs the peer, or room in the socket
    FINISHED = "finished"
    FAILED = "failed"  # `text` is OpenSSL's reason
    RELEASED = "released"


class TraceEvent(NamedTuple):
    """One event.

    Attributes:
        at_ns: monotonic.
        where, ret: OpenSSL's SSL_CB_* and what belongs to it, for STATE; `ret` unsigned, 32 bits.
        state: OpenSSL's name of the state, for STATE.
    """

    at_ns: int
    happening: Happening
    where: int = 0
    ret: int = 0
    state: str = ""
    text: str = ""

    @property
    def is_alert(self) -> bool:
        return bool(self.where & ALERT)

    @property
    def alert(self) -> tuple[int, int]:
        """Level and description of an alert."""
        return self.ret >> 8, self.ret & 0xFF


Sink: TypeAlias = Callable[[TraceEvent], None]
# What decides about a client's certificate, as `tls` has it.
CertificateCheck: TypeAlias = Callable[[x509.Certificate], str | None]


class TracedTunnel(Tunnel):
    """A tunnel that tells `sink` what happens in it; its context must be one that was given to `observe`."""

    __slots__ = ("_sink",)

    # The one whose handshake goes on just now. A check is called from inside of it, and is told no more than the
    # certificate.
    shaking: TracedTunnel | None = None

    def __init__(self, context: SSL.Context, sock: socket.socket, sink: Sink, *, server: bool) -> None:
        self._sink = sink
        self.tell(Happening.ALLOCATED)
        super().__init__(context, sock, server=server)

    def tell(self, happening: Happening, where: int = 0, ret: int = 0, state: str = "", text: str = "") -> None:
        """Hand an event to whoever watches."""
        self._sink(TraceEvent(time.monotonic_ns(), happening, where, ret, state, text))

    def handshake(self) -> bool:
        self.tell(Happening.ENTERED)
        TracedTunnel.shaking = self
        try:
            done = super().handshake()
        except TransportFault as fault:
            self.tell(Happening.FAILED, text=_reason_of(fault))
            raise
        finally:
            TracedTunnel.shaking = None
        self.tell(Happening.FINISHED if done else Happening.WAITING)
        return done

    def negotiated(self) -> list[str]:
        """Version and cipher suite, by OpenSSL's names; the suite once it is in use."""
        suite = self._connection.get_cipher_name()
        return [self._connection.get_protocol_version_name(), *([suite] if suite else [])]

    def peer_certificate(self) -> x509.Certificate | None:
        """The peer's, once the handshake has taken it."""
        return self._connection.get_peer_certificate(as_cryptography=True)

    def confirmed(self) -> bool:
        """Whether a finished handshake means that the peer took our certificate: a client of TLS 1.3 is done first."""
        return self.negotiated()[0] != "TLSv1.3"

    def close(self) -> None:
        self.tell(Happening.RELEASED)
        super().close()


def observe(context: SSL.Context) -> None:
    """Let the tunnels of a context tell of their states; before the first one.

    Cost: about twenty calls a handshake, also for tunnels that nobody watches.
    """
    context.set_info_callback(_on_state)


def observed(check: CertificateCheck | None) -> CertificateCheck | None:
    """A check that tells when it is asked and what it answers."""
    if check is None:
        return None

    def watched(certificate: x509.Certificate) -> str | None:
        tunnel = TracedTunnel.shaking
        if tunnel is None:
            return check(certificate)
        tunnel.tell(Happening.CHECKING)
        refusal = check(certificate)
        tunnel.tell(Happening.CHECKED, text=refusal or "")
        return refusal

    return watched


def _on_state(connection: SSL.Connection, where: int, ret: int) -> None:
    tunnel = connection.get_app_data()
    if isinstance(tunnel, TracedTunnel):  # not: one that was closed, and not one of another kind
        state = connection.get_state_string().decode("ascii", "replace")
        tunnel.tell(Happening.STATE, where, ret & 0xFFFFFFFF, state)


def _reason_of(fault: TransportFault) -> str:
    """OpenSSL's own words, as far as it had some: "certificate verify failed"."""
    error = fault.__cause__
    if isinstance(error, SSL.Error) and error.args and isinstance(error.args[0], list) and error.args[0]:
        return str(error.args[0][-1][2])
    return fault.kind
