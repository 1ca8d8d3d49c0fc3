"""Which handshakes of a worker are traced, when they are given out, and what bounds them."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
import pytest
from OpenSSL import SSL

from loadgen.drive.tracing import MAX_EVENTS, Traced, Tracer
from loadgen.identity.credentials import new_key, self_signed
from loadgen.nmsp.messages import Role
from loadgen.run.channel import FromWorker
from loadgen.transport.contexts import client_context, server_context
from loadgen.transport.patient import PatientTunnel
from loadgen.transport.tls import TransportFault, Tunnel
from loadgen.transport.trace import Happening
from loadgen.transport.verifying import Ruling, observed

_NOW = datetime.now(UTC)
_WLC = self_signed("02:00:00:00:00:01", new_key("p256"), _NOW)
_MSE = self_signed("00:50:56:9c:34:89", new_key("p256"), _NOW)
_PEER = ("192.0.2.7", 16113)
VERSIONS = pytest.mark.parametrize("version", ["1.2", "1.3"])


def server_of(version: str, refusal: str | None = None) -> SSL.Context:
    return server_context(_WLC.key_pem, _WLC.certificate_pem, b"", version, observed(lambda *_: Ruling(refusal)))


def client_of(version: str) -> SSL.Context:
    return client_context(_MSE.key_pem, _MSE.certificate_pem, b"", version, None)


class Sides:
    """A tracer of each side, and what they gave out."""

    def __init__(self, limit: int = 1) -> None:
        self.given: list[Traced] = []
        self.wlc = Tracer(Role.WLC, [4], limit, self.given.append)
        self.mse = Tracer(Role.MSE, [7, 9], limit, self.given.append)

    def of(self, role: Role) -> list[Traced]:
        return [traced for traced in self.given if traced.role is role]


class Ends(NamedTuple):
    client: Tunnel
    server: Tunnel


@contextmanager
def tunnel(sides: Sides, client: SSL.Context, server: SSL.Context, *, patient: bool = False) -> Iterator[Ends]:
    near, far = socket.socketpair()
    for sock in (near, far):
        sock.setblocking(False)
    watch = sides.wlc.observer(0, _PEER, patient=patient)
    accepted = PatientTunnel(server, far, watch) if patient else Tunnel(server, far, server=True, observer=watch)
    ends = Ends(Tunnel(client, near, server=False, observer=sides.mse.observer(1, _PEER)), accepted)
    try:
        yield ends
    finally:
        for sock, end in zip((near, far), ends, strict=True):
            if sock.fileno() >= 0:
                end.close()


def shake(ends: Ends) -> dict[Tunnel, str]:
    """How each end's handshake ended: "up", or a fault's kind."""
    ended: dict[Tunnel, str] = {}
    while len(ended) < 2:
        for end in ends:
            if end not in ended:
                try:
                    if end.handshake():
                        ended[end] = "up"
                except TransportFault as fault:
                    ended[end] = fault.kind
    return ended


def happenings(traced: Traced) -> list[Happening]:
    return [event.happening for event in traced.events]


def alerts(traced: Traced) -> list[tuple[int, int]]:
    return [(event.where, event.ret) for event in traced.events if event.is_alert]


@VERSIONS
def test_the_first_ones_are_traced_and_the_others_counted(version: str) -> None:
    sides, client, server = Sides(2), client_of(version), server_of(version)
    traced = []
    for _ in range(5):
        with tunnel(sides, client, server) as ends:
            assert set(shake(ends).values()) == {"up"}
            traced.append(tuple(end.observer is not None for end in ends))
    assert traced == [(True, True)] * 2 + [(False, False)] * 3
    assert sides.mse.untraced == sides.wlc.untraced == 3
    assert [traced.number for traced in sides.of(Role.MSE)] == [9, 9]
    assert [traced.number for traced in sides.of(Role.WLC)] == [4, 4]
    assert {(traced.host, traced.port) for traced in sides.given} == {_PEER}


def test_a_handshake_that_is_over_is_given_out_once_and_ends_with_its_end() -> None:
    sides = Sides()
    with tunnel(sides, client_of("1.2"), server_of("1.2")) as ends:
        shake(ends)
        assert {traced.role for traced in sides.given} == {Role.WLC, Role.MSE}
        before = list(sides.given)
        ends.client.write(b"load")
        assert ends.server.read_into(memoryview(bytearray(100))) == 4
        ends.client.close_notify()
    assert sides.given == before
    for traced in before:
        assert happenings(traced)[0] is Happening.ALLOCATED
        assert happenings(traced)[-2:] == [Happening.FINISHED, Happening.CONFIRMED]
        assert traced.left_out == 0


def test_with_tls_1_3_the_mse_s_handshake_is_over_when_the_wlc_has_said_something() -> None:
    sides = Sides()
    with tunnel(sides, client_of("1.3"), server_of("1.3")) as ends:
        shake(ends)
        assert not sides.of(Role.MSE)
        assert ends.client.read_into(memoryview(bytearray(100))) == 0
        assert not sides.of(Role.MSE)
        ends.server.write(b"version")
        assert ends.client.read_into(memoryview(bytearray(100))) == 7
        (traced,) = sides.of(Role.MSE)
    assert happenings(traced)[-1] is Happening.CONFIRMED
    assert alerts(traced) == []


@pytest.mark.parametrize("patient", [False, True], ids=["at once", "patient"])
@VERSIONS
def test_a_refusal_has_its_alert_on_both_sides(version: str, patient: bool) -> None:
    sides = Sides()
    with tunnel(sides, client_of(version), server_of(version, "key_hash_not_listed"), patient=patient) as ends:
        ended = shake(ends)
        assert ended[ends.server] == "key_hash_not_listed"
        if version == "1.3":
            with pytest.raises(TransportFault, match="alert_certificate_unknown"):
                ends.client.read_into(memoryview(bytearray(100)))
        assert sides.given == []
    assert [alerts(traced) for traced in sides.of(Role.WLC)] == [[(0x4008, 0x22E)]]
    assert [alerts(traced) for traced in sides.of(Role.MSE)] == [[(0x4004, 0x22E)]]
    assert happenings(sides.of(Role.WLC)[0])[-2:] == [Happening.FAILED, Happening.RELEASED]


def test_a_connection_that_says_nothing_is_given_out_when_it_is_let_go() -> None:
    sides = Sides()
    with tunnel(sides, client_of("1.2"), server_of("1.2")) as ends:
        assert not ends.server.handshake()
        assert sides.given == []
    (traced,) = sides.of(Role.WLC)
    assert happenings(traced)[-2:] == [Happening.WAITING, Happening.RELEASED]


def until_the_answer(ends: Ends) -> PatientTunnel:
    """The AAA of the server's end has been asked, and what it says is on its way."""
    server = ends.server
    assert isinstance(server, PatientTunnel)
    ends.client.handshake()
    server.handshake()
    ends.client.handshake()
    server.take_in()
    return server


def test_what_follows_from_an_answer_is_told_when_the_answer_is_there() -> None:
    sides = Sides()
    with tunnel(sides, client_of("1.2"), server_of("1.2"), patient=True) as ends:
        server = until_the_answer(ends)
        assert not sides.of(Role.WLC)
        answered_ns = time.monotonic_ns()
        assert server.speak()
        (traced,) = sides.of(Role.WLC)
    asked = happenings(traced).index(Happening.CHECKING)
    times = [event.at_ns for event in traced.events]
    assert times[asked] < answered_ns <= times[asked + 1]
    assert happenings(traced)[asked + 1] is Happening.CHECKED
    assert times == sorted(times)


def test_a_client_that_cannot_be_told_the_answer_is_no_success() -> None:
    """AAA has answered, and the connection has failed meanwhile."""
    sides = Sides()
    with tunnel(sides, client_of("1.2"), server_of("1.2"), patient=True) as ends:
        server = until_the_answer(ends)
        ends.client.close()
        with pytest.raises(TransportFault) as fault:
            server.speak()
    (traced,) = sides.of(Role.WLC)
    asked = happenings(traced).index(Happening.CHECKING)
    assert happenings(traced)[asked + 1 :] == [Happening.CHECKED, Happening.FAILED, Happening.RELEASED]
    assert traced.events[-2].text == fault.value.kind


def test_a_client_that_is_let_go_of_before_its_answer_was_never_answered() -> None:
    sides = Sides()
    with tunnel(sides, client_of("1.2"), server_of("1.2", "key_hash_not_listed"), patient=True) as ends:
        until_the_answer(ends)
    (traced,) = sides.of(Role.WLC)
    assert happenings(traced)[-2:] == [Happening.CHECKING, Happening.RELEASED]
    assert alerts(traced) == []


def test_patient_tunnels_beyond_the_limit_are_plain_ones() -> None:
    sides = Sides(1)
    server = server_of("1.2")
    with tunnel(sides, client_of("1.2"), server, patient=True) as first:
        assert first.server.observer is not None
    with tunnel(sides, client_of("1.2"), server, patient=True) as second:
        assert second.server.observer is None
        assert set(shake(second).values()) == {"up"}


def test_a_client_that_sends_byte_by_byte_makes_no_endless_trace() -> None:
    near, far = socket.socketpair()
    drip_in, drip_out = socket.socketpair()
    for sock in (near, far, drip_in, drip_out):
        sock.setblocking(False)
    sides = Sides()
    client = Tunnel(client_of("1.2"), near, server=False)
    server = Tunnel(server_of("1.2"), drip_out, server=True, observer=sides.wlc.observer(0, _PEER))
    up = {client: False, server: False}
    while not all(up.values()):
        for end in up:
            up[end] = up[end] or end.handshake()
        for source, target, size in ((far, drip_in, 1), (drip_in, far, 1 << 16)):
            try:
                target.send(source.recv(size))
            except BlockingIOError:
                continue
    for each in (client, server):
        each.close()
    for sock in (far, drip_in):
        sock.close()
    (traced,) = sides.given
    assert MAX_EVENTS < len(traced.events) < MAX_EVENTS + 20
    assert traced.left_out > 100
    assert happenings(traced)[-2:] == [Happening.FINISHED, Happening.CONFIRMED]
    assert Happening.CHECKED in happenings(traced)


def test_what_is_given_out_goes_over_a_channel() -> None:
    sides = Sides()
    with tunnel(sides, client_of("1.2"), server_of("1.2", "key_hash_not_listed")) as ends:
        shake(ends)
    decoder = msgspec.msgpack.Decoder(FromWorker)
    assert [decoder.decode(msgspec.msgpack.encode(traced)) for traced in sides.given] == sides.given
    assert len(sides.given) == 2
