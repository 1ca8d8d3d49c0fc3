"""A relay that runs in a thread, and both of its peers by hand: what each says, and sees of how the other ends."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from types import SimpleNamespace
from typing import NamedTuple

from OpenSSL import SSL

from loadgen.identity.credentials import Identity, new_key, self_signed
from loadgen.relay.parties import Parties
from loadgen.relay.relay import Relay
from loadgen.relay.session import RelayedSession, RelayEnding, RelayPhase
from loadgen.transport.contexts import client_context, server_context
from loadgen.transport.verifying import Ruling
from loadgen.units import NS_PER_S

# Only ever reached by a test that has failed.
PATIENCE_S = 20
ABORT = struct.pack("ii", 1, 0)
_PATIENCE = struct.pack("@ll", PATIENCE_S, 0)


@cache
def identity(name: str) -> Identity:
    """RSA, which either strength takes."""
    return self_signed(f"02:00:00:00:00:{len(name):02x}", new_key("rsa-2048"), datetime(2026, 1, 1, tzinfo=UTC))


class Told:
    """A witness that keeps everything."""

    def __init__(self) -> None:
        self.said: dict[tuple[int, bool], bytearray] = {}
        self.ends: list[tuple[bool, bool]] = []  # of the MSE, broken
        self.up: list[int] = []
        self.endings: list[RelayEnding] = []
        self.later: list[RelayEnding] = []  # of the other end
        self.failures: list[tuple[RelayEnding, RelayPhase]] = []
        self.enough = False
        self.passed_bytes = 0

    def came_up(self, session: RelayedSession, _now_ns: int) -> None:
        self.up.append(session.number)

    def heard(self, of_mse: bool, session: RelayedSession, _now_ns: int, data: memoryview) -> None:
        self.said.setdefault((session.number, of_mse), bytearray()).extend(data)
        self.passed_bytes += len(data)

    def ended(self, of_mse: bool, _session: RelayedSession, _now_ns: int, *, broken: bool) -> None:
        self.ends.append((of_mse, broken))

    def over(self, session: RelayedSession, _now_ns: int, ending: RelayEnding) -> None:
        self.later += session.endings[1:]
        self.endings.append(ending)

    def failed(self, _session: RelayedSession, ending: RelayEnding, phase: RelayPhase) -> None:
        self.failures.append((ending, phase))

    def turned(self, _now_ns: int) -> bool:
        return not self.enough

    def wait(self, condition: Callable[[], object], what: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, f"waited in vain for {what}: {vars(self)}"
            time.sleep(0.005)


class Running(NamedTuple):
    """Attributes: address: where MSEs dial; listener: the WLC's."""

    address: tuple[str, int]
    listener: socket.socket
    told: Told
    end: Callable[[], None]
    sockets: list[socket.socket]  # of peers, closed in the end

    def keep(self, sock: socket.socket) -> socket.socket:
        self.sockets.append(sock)
        return sock


@contextmanager
def running(
    parties: Parties | None = None, *, timeout_ns: int = PATIENCE_S * NS_PER_S, host: str = "127.77.60.1"
) -> Iterator[Running]:
    """A relay with a WLC behind it that listens, and accepts nobody by itself."""
    parties = parties or Parties(identity("mse"), identity("the wlc"))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener, wlc = (socket.create_server((host, 0), family=family) for _ in range(2))
    listener.setblocking(False)
    wlc.settimeout(PATIENCE_S)
    told, ender = Told(), os.eventfd(0)
    sockets: list[socket.socket] = []
    relay = Relay(
        listener,
        wlc.getsockname()[:2],
        parties.contexts(),
        told,
        timeout_ns=timeout_ns,
        clock=time.monotonic_ns,
        ender=ender,
    )
    address = listener.getsockname()[:2]
    thread = threading.Thread(target=relay.run)
    thread.start()
    try:
        yield Running(address, wlc, told, lambda: os.eventfd_write(ender, 1), sockets)
    finally:
        for sock in sockets:
            sock.close()
        os.eventfd_write(ender, 1)
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
        wlc.close()
        os.close(ender)


class Peer:
    """A tunnel's far end, on a blocking socket."""

    def __init__(self, context: SSL.Context, sock: socket.socket, *, server: bool) -> None:
        sock.setblocking(True)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _PATIENCE)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _PATIENCE)
        self.sock = sock
        self.tls = SSL.Connection(context, sock)
        # What a certificate check tells its verdict to.
        self.tls.set_app_data(SimpleNamespace(observer=None, judged=lambda: None))
        if server:
            self.tls.set_accept_state()
        else:
            self.tls.set_connect_state()

    def shake(self) -> Peer:
        self.tls.do_handshake()
        return self

    def say(self, data: bytes) -> None:
        for start in range(0, len(data), 16384):
            self.tls.sendall(data[start : start + 16384])

    def hear(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            data += self.tls.recv(min(65536, size - len(data)))
        return bytes(data)

    def notify(self) -> None:
        self.tls.shutdown()

    def hang_up(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        self.close()

    def close(self) -> None:
        self.sock.close()

    def how_it_ends(self) -> str:
        """What comes when nothing is said any more: the way in which the other side ended."""
        try:
            data = self.tls.recv(65536)
        except SSL.ZeroReturnError:
            return "notified" if self.is_hung_up() else "notified only"
        except SSL.SysCallError as error:
            return "closed" if error.args[0] == -1 else "reset"
        except SSL.Error as error:
            return ending_of(error)
        return f"said {data!r}"

    def is_hung_up(self) -> bool:
        """Behind close_notify: TCP's end came too, or comes; False: it stays open, for as long as one may wait."""
        return not self.sock.recv(1)


def ending_of(error: SSL.Error) -> str:
    words = str(error.args[0][-1][2]) if error.args and error.args[0] else "nothing"
    return "closed" if "unexpected eof" in words else words


def wlc_context(version: str = "1.2", *, refuses: bool = False, strong: bool = True) -> SSL.Context:
    ours = identity("real wlc")
    check = (lambda _tunnel, _der: Ruling("key_hash_not_listed")) if refuses else None
    return server_context(ours.key_pem, ours.certificate_pem, b"", version, check if refuses else None, strong=strong)


def mse_context(version: str = "1.2", *, strong: bool = True, certificate: bool = True) -> SSL.Context:
    ours = identity("a real mse")
    key, shown = (ours.key_pem, ours.certificate_pem) if certificate else (b"", b"")
    return client_context(key, shown, b"", version, None, strong=strong)


def dial(relay: Running, version: str = "1.2", **options: bool) -> Peer:
    return Peer(
        mse_context(version, **options), relay.keep(socket.create_connection(relay.address, PATIENCE_S)), server=False
    )


def accept(relay: Running, version: str = "1.2", **options: bool) -> Peer:
    return Peer(wlc_context(version, **options), relay.keep(relay.listener.accept()[0]), server=True)


def session(relay: Running, version: str = "1.2", *, wlc_version: str = "", strong: bool = True) -> tuple[Peer, Peer]:
    """An MSE and a WLC with a tunnel each."""
    with ThreadPoolExecutor(1) as pool:
        coming: Future[Peer] = pool.submit(lambda: accept(relay, wlc_version or version, strong=strong).shake())
        mse = dial(relay, version, strong=strong).shake()
        return mse, coming.result(PATIENCE_S)
