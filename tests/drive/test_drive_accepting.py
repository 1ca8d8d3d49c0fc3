"""Who comes while those that have come wait for us, waits before: sockets of this machine, time of the test's own."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from drive_samples import VirtualClock, equipped

from loadgen.drive.tls_accept import listener
from loadgen.drive.tls_handshakes import HandshakeWlcShard
from loadgen.identity.credentials import new_key, self_signed
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.messages import Role
from loadgen.scenario.plan import Use, make_plan
from loadgen.scenario.reading import load_scenario
from loadgen.transport.contexts import client_context, server_context
from loadgen.transport.tls import Tunnel
from loadgen.units import NS_PER_MS

_NOW = datetime.now(UTC)
WLC = self_signed("02:57:4c:00:00:01", new_key("p256"), _NOW)
MSE = self_signed("02:4d:53:00:00:01", new_key("p256"), _NOW)
# Handshakes take so long that a turn has time for few.
READING_NS = 2 * NS_PER_MS
GROUP = 12
# Only ever reached by a test that has failed.
MOST_TURNS = 100_000


class Busy:
    """A WLC whose loop the test turns, and MSEs that dial it."""

    def __init__(self, path: Path) -> None:
        path.write_text('name = "a"\n[mse]\nsetup_timeout = "1h"\n[load]\nkind = "handshake"\n', "utf-8")
        scenario, profile = load_scenario(path)
        plan = make_plan(scenario, profile, use=Use.SERVE_WLC)
        self.listener = listener(("127.0.0.1", 0), idle=False)
        context = server_context(WLC.key_pem, WLC.certificate_pem, b"", "1.2", None)
        clock = VirtualClock(reading_ns=READING_NS)
        equipment = equipped(Role.WLC, plan, profile, Recorder(), clock=clock)
        self.shard = HandshakeWlcShard(equipment, [self.listener], [context])
        self._client = client_context(MSE.key_pem, MSE.certificate_pem, b"", "1.2", None)
        self._stack = ExitStack()

    def dial(self) -> Tunnel:
        """One whose hello is there when it is accepted."""
        sock = self._stack.enter_context(socket.create_connection(self.listener.getsockname()))
        sock.setblocking(False)
        tunnel = Tunnel(self._client, sock, server=False)
        tunnel.handshake()
        return tunnel

    def turn(self) -> None:
        self.shard.turn(self.shard.poll(0))

    def turn_until(self, holds: Callable[[], bool]) -> None:
        for _ in range(MOST_TURNS):
            if holds():
                return
            self.turn()
        raise AssertionError("turned in vain")

    @property
    def accepted(self) -> int:
        return self.shard.recorder.counters["accept.attempts"]

    @property
    def up(self) -> int:
        return self.shard.recorder.counters["accept.success"]

    def close(self) -> None:
        self.shard.stop_listening()
        self.shard.shut()
        self._stack.close()


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Busy]:
    made = Busy(tmp_path / "a.toml")
    yield made
    made.close()


def test_nobody_is_accepted_as_long_as_others_wait_for_us(busy: Busy) -> None:
    ends = [busy.dial() for _ in range(GROUP)]
    busy.turn_until(lambda: busy.accepted == GROUP and busy.shard.handshakes_wait)
    ends += [busy.dial() for _ in range(GROUP)]
    waited = 0
    for _ in range(MOST_TURNS):
        behind = busy.shard.handshakes_wait
        busy.turn()
        waited += behind
        assert not behind or busy.accepted == GROUP
        if busy.accepted > GROUP:
            break
    assert waited > 1
    done = [False] * len(ends)

    def all_up() -> bool:
        done[:] = [up or tunnel.handshake() for up, tunnel in zip(done, ends, strict=True)]
        return busy.up == len(ends)

    busy.turn_until(all_up)
    assert busy.accepted == len(ends)
    assert busy.shard.recorder.counters["accept.fail"] == 0


def test_silent_ones_keep_nobody_waiting(busy: Busy) -> None:
    with ExitStack() as stack:
        for _ in range(3 * GROUP):
            stack.enter_context(socket.create_connection(busy.listener.getsockname()))
        busy.turn_until(lambda: busy.accepted == 3 * GROUP)
        good = busy.dial()
        assert not busy.shard.handshakes_wait
        busy.turn_until(lambda: busy.accepted > 3 * GROUP)
        busy.turn_until(good.handshake)


def test_a_turn_takes_no_more_than_so_many_of_all_listeners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadgen.drive.tls_accept.ACCEPTS_PER_TURN", 5)
    made = Busy(tmp_path / "a.toml")
    try:
        for _ in range(8):
            made.dial()
        made.turn()
        assert made.accepted == 5
        made.turn_until(lambda: made.accepted == 8)
    finally:
        made.close()
