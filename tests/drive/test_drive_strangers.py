"""Clients that say nothing: they have a budget of their own, are counted, and never keep a good peer out."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from drive_samples import equipped

from loadgen.drive import strangers
from loadgen.drive.aaa import Aaa
from loadgen.drive.strangers import Strangers
from loadgen.drive.tls_handshakes import HandshakeWlcShard
from loadgen.identity.authlist import AuthList
from loadgen.identity.credentials import new_key, self_signed
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.messages import Role
from loadgen.scenario.plan import Use, make_plan
from loadgen.scenario.reading import load_scenario
from loadgen.transport.contexts import client_context, server_context
from loadgen.transport.tls import Tunnel

NOW = datetime.now(UTC)
WLC = self_signed("02:00:00:00:00:01", new_key("p256"), NOW)
MSE = self_signed("02:4d:53:00:00:01", new_key("p256"), NOW)


class Listener:
    """A listening socket that runs out of descriptors when the test says so."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.address = self._socket.getsockname()[:2]
        self.out_of_descriptors = 0
        self.close, self.fileno, self.listen = self._socket.close, self._socket.fileno, self._socket.listen

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        if self.out_of_descriptors:
            self.out_of_descriptors -= 1
            raise OSError(errno.EMFILE, "too many open files")
        return self._socket.accept()


class Wlc:
    """One whose loop the test turns. Three strangers may wait; nobody is planned."""

    def __init__(self, path: Path, aaa: Aaa | None = None) -> None:
        path.write_text('name = "h"\n[load]\nkind = "handshake"\nconcurrency = 1\n', "utf-8")
        scenario, profile = load_scenario(path)
        plan = make_plan(scenario, profile, use=Use.SERVE_WLC)
        check = None if aaa is None else aaa.check
        context = server_context(WLC.key_pem, WLC.certificate_pem, b"", "1.2", check)
        self.listener = Listener()
        self.shard = HandshakeWlcShard(
            equipped(Role.WLC, plan, profile, Recorder()),
            [self.listener],  # type: ignore[list-item]
            [context],
            aaa,
        )
        self._stack = ExitStack()

    def turn(self) -> None:
        for _ in range(3):
            self.shard.turn(self.shard.poll(10_000_000))

    def stranger(self) -> socket.socket:
        """Somebody who connects, and is accepted."""
        sock = self._stack.enter_context(socket.create_connection(self.listener.address))
        sock.setblocking(False)
        before = self.counted("accept.attempts")
        for _ in range(1000):
            self.turn()
            if self.counted("accept.attempts") > before:
                return sock
        raise AssertionError("nobody was accepted")

    def counted(self, name: str) -> int:
        return self.shard.recorder.counters[name]

    def shake(self, sock: socket.socket) -> bool:
        """Whether a good peer comes up over this socket."""
        tunnel = Tunnel(client_context(MSE.key_pem, MSE.certificate_pem, b"", "1.2", None), sock, server=False)
        for _ in range(1000):
            if tunnel.handshake():
                return True
            self.turn()
        return False

    def close(self) -> None:
        self._stack.close()
        self.shard.stop_listening()
        self.shard.shut()


def gone(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


@pytest.fixture
def wlc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wlc]:
    monkeypatch.setattr(strangers, "MOST_STRANGERS", 2)
    monkeypatch.setattr("loadgen.drive.tls_accept.GRACE_NS", 0)
    made = Wlc(tmp_path / "h.toml")
    yield made
    made.close()


def test_of_too_many_the_one_that_has_been_silent_for_longest_goes(wlc: Wlc) -> None:
    silent = [wlc.stranger() for _ in range(3)]
    silent[0].send(b"\x16\x03\x01")  # the beginning of a hello
    wlc.turn()
    wlc.stranger()
    wlc.turn()
    assert [gone(sock) for sock in silent] == [False, True, False]
    assert wlc.counted("errors.accept.silent") == wlc.counted("accept.fail") == wlc.counted("handshakes.failed") == 1
    assert len(wlc.shard.strangers) == len(wlc.shard.links) == 3


def test_a_good_peer_comes_up_among_strangers(wlc: Wlc) -> None:
    for _ in range(5):
        wlc.stranger()
    good = wlc.stranger()
    assert wlc.shake(good)
    wlc.turn()
    assert wlc.counted("accept.success") == 1
    assert wlc.counted("errors.accept.silent") == 3
    assert len(wlc.shard.strangers) == 2


def test_a_peer_that_speaks_just_as_another_comes_stays(wlc: Wlc) -> None:
    first = wlc.stranger()
    others = [wlc.stranger(), wlc.stranger()]
    first.send(b"\x16")  # and nobody has read that yet
    wlc.stranger()
    wlc.turn()
    assert [gone(sock) for sock in (first, *others)] == [False, True, False]


def test_no_descriptor_is_left(wlc: Wlc) -> None:
    """A stranger's is taken, and what could be accepted all the same is no failure of ours."""
    first = wlc.stranger()
    wlc.listener.out_of_descriptors = 1
    wlc.stranger()
    wlc.turn()
    assert gone(first)
    assert wlc.counted("errors.accept.no_descriptor") == 0
    assert wlc.counted("errors.accept.silent") == 1


def test_nobody_has_a_descriptor_that_could_be_taken(wlc: Wlc) -> None:
    wlc.listener.out_of_descriptors = 1
    sock = wlc.stranger()
    assert wlc.counted("errors.accept.no_descriptor") == 1
    assert not gone(sock)


def test_those_who_were_refused_give_theirs_first(tmp_path: Path) -> None:
    made = Wlc(tmp_path / "h.toml", Aaa([AuthList((), "spki")], [0], 0))
    silent, refused = made.stranger(), made.stranger()
    refused.send(bytes(100))  # no TLS
    made.turn()
    assert len(made.shard.partings) == 1
    made.listener.out_of_descriptors = 1
    made.stranger()
    assert not made.shard.partings
    assert not gone(silent)
    made.close()


class Silent:
    heard_ns = 0
    spoke = False


def test_one_that_was_heard_lately_is_not_one_of_too_many() -> None:
    book, grace_ns = Strangers(0, 100), 100
    links = [Silent() for _ in range(strangers.MOST_STRANGERS + 1)]
    now = time.monotonic_ns()
    for link in links:
        book.await_word(link, now)
    assert list(book.too_many(now + grace_ns - 1)) == []
    for link in book.too_many(now + grace_ns):
        assert link is links[0]
        book.forget(link)
    assert len(book) == strangers.MOST_STRANGERS
