"""A server's tunnel that may take its time over an answer.

OpenSSL's verify callback must decide at once, and within the same call OpenSSL sends what follows from that: its own
Finished, or an alert. A controller that asks AAA answers a second later, and goes on with its other peers meanwhile. So
until the handshake is done, OpenSSL reads from and writes to memory here: what the client sent is given to it, what it
answers is kept, and goes to the socket when the time has come. Both ends see what they would see if the look-up took so
long.
"""

from __future__ import annotations

import socket

from OpenSSL import SSL

from loadgen.transport import openssl
from loadgen.transport.tls import TransportFault, Tunnel, Want, kind_of_errno
from loadgen.transport.trace import Observer

_CHUNK_BYTES = 32768


class PatientTunnel(Tunnel):
    """`take_in` what the client sent, wait as long as you like, `speak`. Afterwards it is a tunnel like others."""

    __slots__ = ("_answer", "_memory", "_outcome")

    def __init__(self, context: SSL.Context, sock: socket.socket, observer: Observer | None = None) -> None:
        """Args: observer: a patient one."""
        super().__init__(context, sock, server=True, observer=observer)
        self._answer = b""
        self._outcome: bool | TransportFault = False
        self._memory = openssl.MemoryEnds(self._ssl)

    def handshake(self) -> bool:
        """`take_in`, and `speak` at once."""
        self.take_in()
        return self.speak()

    def take_in(self) -> None:
        """Go on with the handshake, as far as what has come allows; what there is to answer is kept for `speak`."""
        if self._answer or self._outcome is not False:
            return
        try:
            # Looked at, and taken as far as it belongs to the handshake: what follows is for the socket's own reads.
            data = self._socket.recv(_CHUNK_BYTES, socket.MSG_PEEK)
            if not data:
                self._outcome = TransportFault("closed")
                return
            self._memory.put(data)
            done = self._step()
            self._socket.recv(len(data) - self._memory.left())
        except BlockingIOError:
            return
        except OSError as error:
            self._outcome = TransportFault(kind_of_errno(error.errno))
            return
        self._answer = self._memory.made()
        if done:
            self._memory.give_way(self.fd)

    def _step(self) -> bool:
        try:
            done = super().handshake()
        except TransportFault as fault:
            self._outcome = fault
            return False
        self._outcome = done
        return done

    def speak(self) -> bool:
        """Send what was kept; True when the handshake is done, else see `wants`.

        Raises:
            TransportFault: as `handshake`; the client has been told.
        """
        if self.observer is None:
            return self._send()
        try:
            done = self._send()
        except TransportFault as fault:
            # One that has reset the connection does not hear that OpenSSL was content.
            self.observer.answered(lost=fault.kind if self._outcome is True else "")
            raise
        self.observer.answered()
        return done

    def _send(self) -> bool:
        try:
            while self._answer:
                self._answer = self._answer[self._socket.send(self._answer) :]
        except BlockingIOError:
            self.wants = Want.WRITE
            return False
        except OSError as error:
            # Why we would have refused says more than that nobody is there to hear it.
            fault = TransportFault(kind_of_errno(error.errno))
            raise self._outcome if isinstance(self._outcome, TransportFault) else fault from error
        if isinstance(self._outcome, TransportFault):
            raise self._outcome
        self.wants = Want.NOTHING if self._outcome else Want.READ
        return self._outcome
