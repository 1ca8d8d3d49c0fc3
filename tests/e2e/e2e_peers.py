"""Peers of simple blocking sockets: WLCs and MSEs that behave, and the parts to make ones that do not."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import e2e_wire as wire
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

# Ends a peer that waits in vain; a test that needs it has failed already.
PATIENCE_S = 60.0


def make_certificate(path: Path, name: str = "fake", key: str = "p256") -> Path:
    """A self-signed certificate with its key, not made by loadgen."""
    own = ec.generate_private_key(ec.SECP256R1()) if key == "p256" else rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(own, SHA256())
    )
    pem = own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(pem + certificate.public_bytes(Encoding.PEM))
    return path


def reset(sock: socket.socket) -> None:
    """Close with a RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def until_closed(receive: Callable[[int], bytes]) -> bytes:
    """Read until the other side is gone, in whatever way; what came until then."""
    data = b""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while chunk := receive(65536):
            data += chunk
    return data


class WlcSession:
    """A fake WLC's end of one connection."""

    def __init__(self, tls: ssl.SSLSocket) -> None:
        self.tls = tls
        self.frames = wire.FrameReader(tls.recv)

    def agree(self) -> None:
        """Up to the capability."""
        request = self.frames.next()
        assert request is not None
        assert request.msg_id == wire.VERSION_REQUEST
        self.tls.sendall(wire.version_response(request.transaction) + wire.capability())

    def grant(self) -> None:
        """Answer the subscription."""
        request = self.frames.next()
        assert request is not None
        assert request.msg_id == wire.SUBSCRIBE_REQUEST
        self.tls.sendall(wire.subscribe_response(request.transaction))

    def set_up(self) -> None:
        self.agree()
        self.grant()

    def answer_echoes(self) -> None:
        """Until the MSE closes; then close as well."""
        while (request := self.frames.next()) is not None:
            assert request.msg_id == wire.ECHO_REQUEST
            self.tls.sendall(wire.frame(wire.ECHO_RESPONSE, transaction=request.transaction))

    def until_closed(self) -> bytes:
        return until_closed(self.tls.recv)


class FakeWlc:
    """Listens, and lets `behave` have every connection (after TLS), or `raw` (before it), each in a thread."""

    def __init__(
        self,
        certificate: Path,
        behave: Callable[[WlcSession], object] | None = None,
        raw: Callable[[socket.socket], None] | None = None,
        host: str = "127.77.1.1",
    ) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._behave, self._raw = behave, raw
        self._listener = socket.create_server((host, 0))
        self._threads: list[threading.Thread] = []
        self._connections: list[socket.socket] = []
        self.failures: list[BaseException] = []
        self.accepted = 0
        self.address = "{}:{}".format(*self._listener.getsockname())

    def __enter__(self) -> FakeWlc:
        thread = threading.Thread(target=self._accept)
        thread.start()
        self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            connection.settimeout(PATIENCE_S)
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            thread.start()
            self._threads.append(thread)

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                if self._raw is not None:
                    self._raw(connection)
                    return
                assert self._behave is not None
                with self._context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False) as tls:
                    self._connections.append(tls)
                    self._behave(WlcSession(tls))
                    if tls.fileno() >= 0:  # else `behave` has ended it in its own way
                        with contextlib.suppress(OSError):
                            tls.unwrap().close()
        except BaseException as failure:
            self.failures.append(failure)


def well_behaved(notifications: int) -> Callable[[WlcSession], None]:
    """A WLC as it should be: that many notifications, then echoes until the MSE leaves."""

    def behave(session: WlcSession) -> None:
        session.set_up()
        session.tls.sendall(b"".join(wire.notify(sequence) for sequence in range(notifications)))
        session.answer_echoes()

    return behave


def numbered(numbers: Sequence[int]) -> Callable[[WlcSession], None]:
    """A WLC that behaves, but for its sequence numbers."""

    def behave(session: WlcSession) -> None:
        session.set_up()
        session.tls.sendall(b"".join(wire.notify(sequence) for sequence in numbers))
        session.answer_echoes()

    return behave


class FakeMse:
    """An MSE's end of one connection; a context manager."""

    def __init__(self, address: tuple[str, int], identity: Path | None, receive_buffer: int | None = None) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if identity is not None:
            context.load_cert_chain(identity)
        sock = socket.socket()
        sock.settimeout(PATIENCE_S)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            sock.connect(address)
            self.tls = context.wrap_socket(sock)
        except BaseException:
            sock.close()
            raise
        self.frames = wire.FrameReader(self.tls.recv)

    def __enter__(self) -> FakeMse:
        return self

    def __exit__(self, *_: object) -> None:
        self.tls.close()

    def set_up(self) -> None:
        """As far as the subscription."""
        self.tls.sendall(wire.version_request(1))
        for expected in (wire.VERSION_RESPONSE, wire.CAPABILITY):
            answer = self.frames.next()
            assert answer is not None
            assert answer.msg_id == expected
        self.tls.sendall(wire.subscribe_request(2))
        answer = self.frames.next()
        assert answer is not None
        assert answer.msg_id == wire.SUBSCRIBE_RESPONSE
        assert struct.unpack(">QHxx", answer.body) == (wire.RSSI_MS, 0)

    def sequence_numbers(self) -> list[int]:
        """Of the notifications until the WLC closes in order."""
        numbers = []
        while (each := self.frames.next()) is not None:
            assert each.msg_id == wire.MEASUREMENT_NOTIFY
            numbers.append(wire.NOTIFY.unpack_from(each.body)[0])
        self.tls.unwrap().close()
        return numbers
