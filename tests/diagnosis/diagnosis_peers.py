"""Peers for checks: our own two halves, third parties, sockets that misbehave, and scripted ends of a session."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from OpenSSL import SSL

from loadgen.diagnosis.listed import Listed
from loadgen.diagnosis.mse_check import check_mse, listen_at
from loadgen.diagnosis.settings import CheckSettings
from loadgen.diagnosis.steps import CheckReport
from loadgen.diagnosis.wlc_check import check_wlc
from loadgen.identity.credentials import Identity, new_key, self_signed
from loadgen.identity.keyhash import HashAlgorithm, HashedBytes, key_hash
from loadgen.nmsp.bulk import NotifyReceiver
from loadgen.nmsp.codec import Codec
from loadgen.nmsp.messages import Message
from loadgen.nmsp.profile import reference_profile
from loadgen.nmsp.services import CATALYST_9800, Subservice, mask_of
from loadgen.transport.contexts import client_context, server_context
from loadgen.transport.tls import TransportFault, Tunnel
from loadgen.transport.verifying import Ruling
from loadgen.units import NS_PER_MS, NS_PER_S

# Ends what waits in vain; only a test that fails comes so far.
PATIENCE_S = 60.0
PATIENT_NS = 60 * NS_PER_S
# For faults that are that nothing comes.
SHORT_NS = 400 * NS_PER_MS

NOW = datetime.now(UTC)
MAC, OTHER_MAC = "00:50:56:9c:34:89", "00:50:56:9c:34:8a"
WLC = self_signed("02:00:00:00:00:01", new_key("rsa-2048"), NOW)
# Older than a day, so that nothing suspects its dates.
MSE = self_signed(MAC, new_key("rsa-2048"), NOW - timedelta(days=30))
OTHER_MSE = self_signed(MAC, new_key("p256"), NOW)
RSSI_MS = mask_of([Subservice.RSSI_MS])


def hash_of(identity: Identity, algorithm: HashAlgorithm = "sha256", over: HashedBytes = "spki") -> str:
    return key_hash(identity.certificate(), algorithm, over)


def listed(text: str, mac: str | None = MAC) -> tuple[Listed, ...]:
    """A list with one entry."""
    return (Listed(mac, text, "list.txt: line 3"),)


GOOD_LIST = listed(hash_of(MSE))


def settings(identity: Identity, **changes: Any) -> CheckSettings:
    values: dict[str, Any] = {
        "identity": identity,
        "listed": None,
        "key_hash": "sha256",
        "hash_over": "spki",
        "trusted_pem": None,
        "strong": True,
        "old_certificates": False,
        "unauthenticated": False,
        "profile": reference_profile(),
        "mask": RSSI_MS if identity is not WLC else CATALYST_9800,
        "timeout_ns": PATIENT_NS,
        "tell": lambda _: None,
    }
    return CheckSettings(**{**values, **changes})


def pem_of(identity: Identity, path: Path) -> Path:
    path.write_bytes(identity.key_pem + identity.certificate_pem)
    return path


def certificate_of(identity: Identity) -> bytes:
    return identity.certificate_pem


# -- our own halves ----------------------------------------------------------------------------------------------------


class Both(NamedTuple):
    """What each half said of the same tunnel."""

    at_mse: CheckReport
    at_wlc: CheckReport


def both(
    mse: Identity = MSE, wlc: Identity = WLC, at_mse: dict[str, Any] | None = None, at_wlc: dict[str, Any] | None = None
) -> Both:
    """`check wlc` at `check mse`."""
    reports: list[CheckReport] = []
    with listen_at("127.0.0.1", 0, (at_wlc or {}).get("transport", "tls")) as listener:
        wlc_settings = settings(wlc, **{"mask": CATALYST_9800, "listed": GOOD_LIST, **(at_wlc or {})})
        thread = threading.Thread(target=lambda: reports.append(check_mse(listener, wlc_settings)))
        thread.start()
        ours = check_wlc("127.0.0.1", listener.getsockname()[1], settings(mse, **{"mask": RSSI_MS, **(at_mse or {})}))
        thread.join(PATIENCE_S)
    assert len(reports) == 1
    return Both(ours, reports[0])


# -- listening sockets that misbehave ----------------------------------------------------------------------------------


@contextlib.contextmanager
def listening(behave: Callable[[socket.socket], object], connections: int = 1) -> Iterator[int]:
    """A port where `behave` has the first connections; it waits in a thread, which ends with the test."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(PATIENCE_S)
    done = threading.Event()

    def serve() -> None:
        for _ in range(connections):
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(PATIENCE_S)
                    behave(connection)
        done.set()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(PATIENCE_S)


def until_closed(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while connection.recv(65536):
            pass


def says(data: bytes) -> Callable[[socket.socket], None]:
    """A peer that answers whatever comes first with this."""

    def behave(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        until_closed(connection)

    return behave


def hangs_up(connection: socket.socket) -> None:
    """Reads the first message, and closes."""
    connection.recv(65536)


@contextlib.contextmanager
def deaf_port() -> Iterator[int]:
    """A port whose queue is full: the kernel drops what comes, as a firewall does."""
    with socket.socket() as listener, contextlib.ExitStack() as fillers:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(8):
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        yield address[1]


def closed_port() -> int:
    """A port where nobody listens: it was just given back."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def judges_silently(verdict: Callable[[socket.socket], object]) -> Callable[[socket.socket], None]:
    """A WLC of TLS 1.3 that has our certificate, and never says by a message that it has read it."""

    def behave(connection: socket.socket) -> None:
        context = server_context(WLC.key_pem, WLC.certificate_pem, b"", "1.3", lambda *_: Ruling())
        half = SSL.Connection(context)
        half.set_accept_state()
        half.bio_write(connection.recv(65536))
        with contextlib.suppress(SSL.WantReadError):
            half.do_handshake()
        connection.sendall(half.bio_read(65536))
        connection.recv(65536)
        verdict(connection)

    return behave


# -- third parties -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def s_server(tmp_path: Path, *options: str, identity: Identity = WLC) -> Iterator[int]:
    """`openssl s_server` at a port of its own."""
    pem = pem_of(identity, tmp_path / "s_server.pem")
    command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", str(pem), "-key", str(pem), *options]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = ""
            while not line.startswith("ACCEPT"):
                line = process.stdout.readline()
                assert line, "openssl s_server ended"
            yield int(line.rsplit(":", 1)[1])
        finally:
            process.kill()


@contextlib.contextmanager
def s_client(port: int, *options: str) -> Iterator[None]:
    """`openssl s_client`, calling."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *options]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield
        finally:
            process.kill()


# -- scripted ends of a session ----------------------------------------------------------------------------------------


class Talker:
    """A tunnel with blocking reads of one message at a time, for scripts."""

    def __init__(self, context: SSL.Context, sock: socket.socket, *, server: bool) -> None:
        sock.setblocking(True)
        self.tunnel = Tunnel(context, sock, server=server)
        self.codec = Codec(reference_profile())
        self._receiver = NotifyReceiver(reference_profile(), 1 << 17)
        self._start = self._end = 0
        self.tunnel.handshake()

    def next(self) -> tuple[Message, int]:
        """The next control message and its transaction. Raises: TransportFault: the tunnel has ended."""
        while True:
            scanned = self._receiver.scan_untrusted(self._start, self._end)
            self._start = scanned.position
            if scanned.control is not None:
                message = self.codec.decode_untrusted(scanned.control.msg_id, scanned.control.body)
                return message, scanned.control.transaction
            self._end += self.tunnel.read_into(self._receiver.view[self._end :])

    def say(self, message: Message, transaction: int = 0) -> None:
        self.tunnel.write(self.codec.encode(message, transaction))

    def until_closed(self) -> None:
        with contextlib.suppress(TransportFault):
            while True:
                self.next()


def scripted_wlc(script: Callable[[Talker], object], version: str = "1.2") -> Callable[[socket.socket], None]:
    """A WLC that lets any MSE in, and then follows a script."""

    def behave(connection: socket.socket) -> None:
        context = server_context(WLC.key_pem, WLC.certificate_pem, b"", version, lambda *_: Ruling())
        with contextlib.suppress(TransportFault):
            talker = Talker(context, connection, server=True)
            script(talker)

    return behave


def scripted_mse(port: int, script: Callable[[Talker], object]) -> None:
    """An MSE that calls, and then follows a script."""
    context = client_context(MSE.key_pem, MSE.certificate_pem, b"", "1.2", None)
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as sock, contextlib.suppress(TransportFault):
        script(Talker(context, sock, server=False))


def judges_and_leaves(port: int, version: str, verdict: Callable[[socket.socket], object]) -> None:
    """An MSE that has our certificate, and never says what it thinks of it."""
    half = SSL.Connection(client_context(MSE.key_pem, MSE.certificate_pem, b"", version, None))
    half.set_connect_state()
    with contextlib.suppress(SSL.WantReadError):
        half.do_handshake()
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
        connection.sendall(half.bio_read(65536))
        connection.recv(65536)
        verdict(connection)


def wlc_waits(caller: Callable[[int], object], **changes: Any) -> CheckReport:
    """`check mse` with somebody who calls it, from a thread."""
    with listen_at("127.0.0.1", 0, changes.get("transport", "tls")) as listener:
        thread = threading.Thread(target=caller, args=(listener.getsockname()[1],))
        thread.start()
        report = check_mse(listener, settings(WLC, **{"listed": GOOD_LIST, **changes}))
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    return report
