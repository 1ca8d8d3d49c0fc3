"""What happens inside of a handshake, as events: OpenSSL's states and alerts, and when the auth list is asked.

Nothing here is paid for by tunnels that nobody watches: a traced tunnel is of another class, and OpenSSL's callback is
its own, not its context's. What the events look like on a screen is somebody else's business.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from enum import Enum
from typing import Any, ClassVar, NamedTuple, TypeAlias

from OpenSSL import SSL
from OpenSSL._util import ffi as _ffi
from OpenSSL._util import lib as _lib

from loadgen.transport.patient import PatientTunnel
from loadgen.transport.tls import TransportFault, Tunnel
from loadgen.transport.verifying import CertificateCheck, der_of, first_judged

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
    CONFIRMED = "confirmed"  # and the peer is content: a client of TLS 1.3 knows once the server has said something
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


class Telling(Tunnel):
    """What traced tunnels share. Its attributes are in no slots: two lists of slots cannot be inherited at once."""

    # The one whose handshake goes on just now. A check is called from inside of it, and is told no more than the
    # certificate.
    shaking: ClassVar[Telling | None] = None

    _sink: Sink
    _unconfirmed = False  # the handshake is done for us, and the server may refuse us yet

    def tell(self, happening: Happening, where: int = 0, ret: int = 0, state: str = "", text: str = "") -> None:
        """Hand an event to whoever watches."""
        self._sink(TraceEvent(time.monotonic_ns(), happening, where, ret, state, text))

    def handshake(self) -> bool:
        self.tell(Happening.ENTERED)
        Telling.shaking = self
        try:
            done = super().handshake()
        except TransportFault as fault:
            self.tell(Happening.FAILED, text=_reason_of(fault))
            raise
        finally:
            Telling.shaking = None
        self.tell(Happening.FINISHED if done else Happening.WAITING)
        if done:
            self._unconfirmed = not (self._server or self.confirmed())
            if not self._unconfirmed:
                self.tell(Happening.CONFIRMED)
        return done

    def read_into(self, view: memoryview) -> int:
        size = super().read_into(view)
        if size and self._unconfirmed:
            self._unconfirmed = False
            self.tell(Happening.CONFIRMED)
        return size

    def negotiated(self) -> list[str]:
        """Version and cipher suite, by OpenSSL's names; the suite once it is in use."""
        suite = self._connection.get_cipher_name()
        return [self._connection.get_protocol_version_name(), *([suite] if suite else [])]

    def peer_certificate(self) -> bytes | None:
        """The peer's in DER, once the handshake has taken it, or refused it."""
        certificate = _lib.SSL_get_peer_certificate(self._ssl)
        if certificate == _ffi.NULL:
            return self.refused_certificate or first_judged(self._ssl)
        try:
            return der_of(certificate)
        finally:
            _lib.X509_free(certificate)

    def confirmed(self) -> bool:
        """Whether a finished handshake means that the peer took our certificate: a client of TLS 1.3 is done first."""
        return self.negotiated()[0] != "TLSv1.3"

    def let_go(self) -> socket.socket:
        self.tell(Happening.RELEASED)
        return super().let_go()

    def _listen_to_states(self) -> None:
        _lib.SSL_set_info_callback(self._ssl, _on_state)


class TracedTunnel(Telling):
    """A tunnel that tells `sink` what happens in it."""

    def __init__(self, context: SSL.Context, sock: socket.socket, sink: Sink, *, server: bool) -> None:
        self._sink = sink
        self.tell(Happening.ALLOCATED)
        super().__init__(context, sock, server=server)
        self._listen_to_states()


class TracedPatientTunnel(PatientTunnel, Telling):
    """The same of a server that takes its time: what follows from the answer is told when the answer is there.

    OpenSSL decides, and makes the alert, before that; a client that is let go of in the meantime was never answered,
    and one that has reset the connection does not hear the answer.
    """

    def __init__(self, context: SSL.Context, sock: socket.socket, sink: Sink) -> None:
        self._sink = sink
        self._held: list[TraceEvent] | None = None
        self.tell(Happening.ALLOCATED)
        super().__init__(context, sock)
        self._listen_to_states()

    def tell(self, happening: Happening, where: int = 0, ret: int = 0, state: str = "", text: str = "") -> None:
        if happening is Happening.CHECKED:
            self._held = []
        if self._held is None:
            super().tell(happening, where, ret, state, text)
        else:
            self._held.append(TraceEvent(0, happening, where, ret, state, text))

    def speak(self) -> bool:
        held, self._held = self._held or [], None
        try:
            return super().speak()
        except TransportFault as fault:
            if held and self._outcome is True:  # OpenSSL was done, but what it said went nowhere
                held = [held[0], TraceEvent(0, Happening.FAILED, text=fault.kind)]
            raise
        finally:
            for event in held:
                self._sink(event._replace(at_ns=time.monotonic_ns()))

    def let_go(self) -> socket.socket:
        self._held = None
        return super().let_go()


def observed(check: CertificateCheck | None) -> CertificateCheck | None:
    """A check that tells when it is asked and what it answers."""
    if check is None:
        return None

    def watched(certificate: bytes) -> str | None:
        tunnel = Telling.shaking
        if tunnel is None:
            return check(certificate)
        tunnel.tell(Happening.CHECKING)
        refusal = check(certificate)
        tunnel.tell(Happening.CHECKED, text=refusal or "")
        return refusal

    return watched


# One for all: what cffi makes for a function of Python's must live as long as OpenSSL may call it.
@_ffi.callback("void (*)(const SSL *, int, int)")  # type: ignore[untyped-decorator]
def _on_state(ssl: Any, where: int, ret: int) -> None:
    connection = SSL.Connection._reverse_mapping[ssl]  # noqa: SLF001
    tunnel = connection.get_app_data()
    if tunnel is not None:  # not: one that was closed
        state = connection.get_state_string().decode("ascii", "replace")
        tunnel.tell(Happening.STATE, where, ret & 0xFFFFFFFF, state)


def _reason_of(fault: TransportFault) -> str:
    """OpenSSL's own words, as far as it had some: "certificate verify failed"."""
    error = fault.__cause__
    if isinstance(error, SSL.Error) and error.args and isinstance(error.args[0], list) and error.args[0]:
        return str(error.args[0][-1][2])
    return fault.kind
