"""Whoever is refused can read why, also where it is still writing its last flight when we refuse."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from drive_samples import equipped
from stacks_peers import PATIENCE_S, WLC, WordByWord, check_settings

from loadgen.diagnosis.mse_check import check_mse, listen_at
from loadgen.drive.aaa import Aaa
from loadgen.drive.tls_handshakes import HandshakeWlcShard
from loadgen.identity.authlist import AuthList
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.messages import Role
from loadgen.scenario.plan import Use, make_plan
from loadgen.scenario.reading import load_scenario
from loadgen.transport import parting
from loadgen.transport.contexts import server_context
from loadgen.transport.parting import Partings
from loadgen.units import NEVER_NS, NS_PER_S

VERSIONS = pytest.mark.parametrize("version", ["1.2", "1.3"])
NOBODY = AuthList((), "spki")


class Served:
    """A WLC that lets nobody in, turned by the test."""

    def __init__(self, path: Path, version: str, delay_ns: int = 0) -> None:
        path.write_text(f'name = "h"\n[tls]\nversion = "{version}"\n[load]\nkind = "handshake"\n', "utf-8")
        scenario, profile = load_scenario(path)
        plan = make_plan(scenario, profile, use=Use.SERVE_WLC)
        aaa = Aaa([NOBODY], [delay_ns], 0)
        context = server_context(WLC.key_pem, WLC.certificate_pem, b"", version, aaa.check)
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        self.address = listener.getsockname()[:2]
        self.shard = HandshakeWlcShard(equipped(Role.WLC, plan, profile, Recorder()), [listener], [context], aaa)

    def turn(self) -> None:
        """Take what has come, and a little of what is on its way."""
        for _ in range(3):
            self.shard.turn(self.shard.poll(10_000_000))

    def turn_until_quiet(self) -> None:
        for _ in range(1000):
            if not self.shard.partings:
                return
            self.shard.turn(self.shard.poll(10_000_000))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[list[Served]]:
    made: list[Served] = []
    yield made
    for each in made:
        each.shard.stop_listening()
        each.shard.shut()


@VERSIONS
@pytest.mark.parametrize("delay_ns", [0, 1], ids=["at once", "patient"])
def test_a_client_that_writes_word_by_word_reads_why_it_is_refused(
    tmp_path: Path, served: list[Served], version: str, delay_ns: int
) -> None:
    wlc = Served(tmp_path / "h.toml", version, delay_ns)
    served.append(wlc)
    with closing(WordByWord(wlc.address, version, wlc.turn)) as client:
        assert client.shake() == "alert_certificate_unknown"
    wlc.turn_until_quiet()
    assert wlc.shard.recorder.counters["errors.accept.key_hash_not_listed"] == 1
    assert not wlc.shard.partings


@VERSIONS
def test_a_check_hears_out_whom_it_refuses(version: str) -> None:
    told: list[str] = []

    def call(port: int) -> None:
        client = WordByWord(("127.0.0.1", port), version, lambda: time.sleep(0.02))
        with closing(client), suppress(OSError):
            told.append(client.shake())

    with listen_at("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=call, args=(listener.getsockname()[1],))
        thread.start()
        report = check_mse(listener, check_settings(WLC, listed=()))
        thread.join(PATIENCE_S)
    assert report.kind == "key_hash_not_listed"
    assert told == ["alert_certificate_unknown"]


class Book:
    """What a loop would watch."""

    def __init__(self) -> None:
        self.watched: set[int] = set()
        self.partings = Partings(self.watched.add, self.watched.remove)

    def begin(self, now_ns: int) -> socket.socket:
        """The far end of a socket whose peer is to be heard out."""
        near, far = socket.socketpair()
        near.setblocking(False)
        self.partings.begin(near, now_ns)
        return far


def test_who_does_not_go_is_heard_for_half_a_second() -> None:
    book = Book()
    with book.begin(100) as first, book.begin(200) as second:
        assert first.recv(1) == b""  # FIN
        first.send(b"the rest of a flight")
        (fd,) = book.watched - {max(book.watched)}
        assert book.partings.hear(fd)
        assert book.partings.next_ns() == 100 + NS_PER_S // 2
        book.partings.run_out(100 + NS_PER_S // 2)
        assert len(book.watched) == 1
        assert book.partings.next_ns() == 200 + NS_PER_S // 2
        second.close()
        assert book.partings.hear(*book.watched)
    assert not book.watched
    assert book.partings.next_ns() == NEVER_NS
    assert not book.partings.hear(1)


def test_the_number_of_those_who_are_heard_out_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parting, "MOST_PARTINGS", 1)
    book = Book()
    with book.begin(0) as first, book.begin(0) as second:
        assert len(book.watched) == 1
        first.send(b"x")
        with pytest.raises(OSError, match="Broken pipe"):
            second.send(b"x")
    book.partings.close()


def test_who_never_stops_talking_is_not_heard_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parting, "_MOST_BYTES", 100)
    book = Book()
    with book.begin(0) as peer:
        peer.send(b"x" * 200)
        for fd in list(book.watched):
            book.partings.hear(fd)
            book.partings.hear(fd)
        assert not book.watched
