"""The two traces of the field, step by step, out of handshakes of our own."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import NamedTuple

import pytest
from OpenSSL import SSL

from loadgen.diagnosis.field_trace import Fact, FactReader, TraceLines, TraceStep
from loadgen.diagnosis.states import NEXT, OVER
from loadgen.identity.any_certificate import AnyCertificate
from loadgen.identity.authlist import AuthList
from loadgen.identity.credentials import Identity, new_key, self_signed
from loadgen.transport.alerts import ALERTS, alert_name
from loadgen.transport.contexts import client_context, server_context
from loadgen.transport.tls import TransportFault, Tunnel
from loadgen.transport.trace import Observer, TraceEvent
from loadgen.transport.verifying import Applicant, Ruling, observed

NOW = datetime.now(UTC)
WLC = self_signed("02:00:00:00:00:01", new_key("rsa-2048"), NOW)
MSE = self_signed("00:50:56:9c:34:89", new_key("rsa-2048"), NOW)
OTHER = self_signed("00:50:56:9c:34:89", new_key("p256"), NOW)

# What the field's document shows, as facts: the order of the steps, and of states the number, `where` and `ret`.
_MINUS_ONE = 0xFFFFFFFF
_A, _N, _NC, _H, _W = (
    TraceStep.ALLOCATED,
    TraceStep.NEW,
    TraceStep.NOT_COMPLETED,
    TraceStep.HANDSHAKE,
    TraceStep.WANT_READ,
)
FIELD_UNTIL_THE_LIST = [
    *(_A, _N, _H),
    (0x6000, 0x10, 1),
    (0x6000, 0x2001, 1),
    (0x2111, 0x2002, _MINUS_ONE),
    *(_W, TraceStep.INIT_DONE, _NC, _H),
    (0x2111, 0x2001, 1),
    (0x2130, 0x2001, 1),
    (0x2140, 0x2001, 1),
    (0x2160, 0x2001, 1),
    (0x2100, 0x2001, 1),
    (0x2180, 0x2002, _MINUS_ONE),
    *(_W, _NC, _H, TraceStep.CALLING_LIST),
]
FIELD_REFUSED = [
    *FIELD_UNTIL_THE_LIST,
    *(TraceStep.LIST_REFUSED, TraceStep.NOT_VALIDATED),
    (0x2182, 0x4008, 0x22E),
    (0x2182, 0x2002, _MINUS_ONE),
    *(TraceStep.FAILED, TraceStep.RELEASED),
]
FIELD_TAKEN = [
    *FIELD_UNTIL_THE_LIST,
    *(TraceStep.LIST_TOOK, TraceStep.VALIDATED),
    (0x2180, 0x2001, 1),
    (0x2190, 0x2001, 1),
    (0x21A0, 0x2001, 1),
    (0x21C0, 0x2001, 1),
    (0x21D0, 0x2001, 1),
    (0x21E0, 0x2001, 1),
    (0x2100, 0x2001, 1),
    (0x3, 0x20, 1),
    (0x3, 0x2002, 1),
    *(TraceStep.SUCCEEDED, TraceStep.SUCCESS),
]


class Ends(NamedTuple):
    """Both ends of a tunnel, and what the traced ones told."""

    server: Tunnel
    client: Tunnel
    events: dict[str, list[TraceEvent]]


@contextmanager
def tunnel(server: SSL.Context, client: SSL.Context, *, trace_client: bool = False) -> Iterator[Ends]:
    near, far = socket.socketpair()
    events: dict[str, list[TraceEvent]] = {"server": [], "client": []}
    for sock in (near, far):
        sock.setblocking(False)
    ours = Tunnel(server, near, server=True, observer=Observer(events["server"].append))
    theirs = Tunnel(client, far, server=False, observer=Observer(events["client"].append) if trace_client else None)
    try:
        yield Ends(ours, theirs, events)
    finally:
        for sock, end in ((near, ours), (far, theirs)):
            if sock.fileno() >= 0:
                end.close()


def shake(ends: Ends) -> dict[str, str | None]:
    """The server first, as a controller that has accepted; each end goes on once the other has. How each ended."""
    ended: dict[str, str | None] = {}
    while len(ended) < 2:
        for name, end in (("server", ends.server), ("client", ends.client)):
            if name in ended:
                continue
            try:
                if end.handshake():
                    ended[name] = None
            except TransportFault as fault:
                ended[name] = fault.kind
                end.close()
    return ended


def field_server(check: AuthList | None) -> SSL.Context:
    """A controller as in the field: TLS 1.2, static RSA, a client certificate, no tickets."""

    def listed(_tunnel: Applicant, der: bytes) -> Ruling:
        assert check is not None
        return Ruling(None if check.find(AnyCertificate(der)) else "key_hash_not_listed")

    return server_context(WLC.key_pem, WLC.certificate_pem, b"", "1.2", observed(listed), strong=False)


def field_client(identity: Identity = MSE) -> SSL.Context:
    return client_context(identity.key_pem, identity.certificate_pem, b"", "1.2", None, strong=False)


def list_of(*identities: Identity) -> AuthList:
    return AuthList.of(identities, "sha256", "spki")


def facts_of(events: list[TraceEvent], *, server: bool) -> list[Fact]:
    reader = FactReader(server=server)
    return [fact for event in events for fact in reader.read(event)]


def in_short(facts: list[Fact]) -> list[object]:
    return [(f.state.number, f.where, f.ret) if f.state is not None else f.step for f in facts]


def test_the_field_s_succeeding_trace() -> None:
    with tunnel(field_server(list_of(MSE)), field_client()) as ends:
        assert shake(ends) == {"server": None, "client": None}
        assert ends.server._connection.get_cipher_name() == "AES128-SHA"
        assert ends.server._connection.get_protocol_version_name() == "TLSv1.2"
        facts = facts_of(ends.events["server"], server=True)
    assert in_short(facts) == FIELD_TAKEN
    assert {fact.level for fact in facts if fact.state} == {"unknown"}
    assert {fact.description for fact in facts if fact.state} == {"unknown"}


def test_the_field_s_failing_trace() -> None:
    """Alert and all: level fatal, number 46, certificate unknown."""
    with tunnel(field_server(list_of(OTHER)), field_client()) as ends:
        assert shake(ends)["server"] == "key_hash_not_listed"
        facts = facts_of(ends.events["server"], server=True)
    assert in_short(facts) == FIELD_REFUSED
    alert = next(fact for fact in facts if fact.where == 0x4008)
    assert (alert.level, alert.description) == ("fatal", "certificate unknown")


def test_the_client_s_side_in_the_numbers_of_the_same_library() -> None:
    with tunnel(field_server(list_of(MSE)), field_client(), trace_client=True) as ends:
        shake(ends)
        facts = facts_of(ends.events["client"], server=False)
    states = [(fact.state.number, fact.where) for fact in facts if fact.state]
    assert states == [
        (0x5000, 0x10),
        (0x5000, 0x1001),
        (0x1110, 0x1001),
        (0x1120, 0x1002),
        (0x1120, 0x1001),
        (0x1130, 0x1001),
        (0x1150, 0x1001),
        (0x1160, 0x1001),
        (0x1170, 0x1001),
        (0x1180, 0x1001),
        (0x1190, 0x1001),
        (0x11A0, 0x1001),
        (0x11B0, 0x1001),
        (0x1100, 0x1001),
        (0x11D0, 0x1002),
        (0x11D0, 0x1001),
        (0x3, 0x20),
        (0x3, 0x1002),
    ]


def test_the_client_sees_the_refusal_as_an_alert_that_it_reads() -> None:
    with tunnel(field_server(list_of(OTHER)), field_client(), trace_client=True) as ends:
        shake(ends)
        facts = facts_of(ends.events["client"], server=False)
    alert = next(fact for fact in facts if fact.where == 0x4004)
    assert alert.level == "fatal"
    assert alert.description == "certificate unknown"
    assert facts[-2].step is TraceStep.FAILED


def test_what_tls_1_3_adds_has_names_and_no_numbers() -> None:
    server = server_context(WLC.key_pem, WLC.certificate_pem, b"", "1.3", observed(lambda *_: Ruling()))
    client = client_context(MSE.key_pem, MSE.certificate_pem, b"", "1.3", None)
    with tunnel(server, client) as ends:
        assert shake(ends) == {"server": None, "client": None}
        facts = facts_of(ends.events["server"], server=True)
    unnumbered = [fact.state.name for fact in facts if fact.state and fact.state.number is None]
    assert "TLSv1.3 write encrypted extensions" in unnumbered
    assert facts[-1].step is TraceStep.SUCCESS


def test_a_client_that_sends_byte_by_byte() -> None:
    """The field's steps in the field's order, with more waiting in between."""
    server, client = field_server(list_of(MSE)), field_client()
    near, far = socket.socketpair()
    drip_in, drip_out = socket.socketpair()
    for sock in (near, far, drip_in, drip_out):
        sock.setblocking(False)
    events: list[TraceEvent] = []
    ours = Tunnel(server, drip_out, server=True, observer=Observer(events.append))
    theirs = Tunnel(client, far, server=False)
    done = {"server": False, "client": False}
    while not all(done.values()):
        done["client"] = done["client"] or theirs.handshake()
        for sock, to, size in ((near, drip_in, 7), (drip_in, near, 1 << 16)):
            with suppress(BlockingIOError):
                to.send(sock.recv(size))
        done["server"] = done["server"] or ours.handshake()
    facts = in_short(facts_of(events, server=True))
    for end in (ours, theirs):
        end.close()
    for sock in (near, drip_in):
        sock.close()

    def loops(of: list[object]) -> list[object]:
        return [fact for fact in of if isinstance(fact, tuple) and fact[1] == 0x2001]

    assert loops(facts) == loops(list(FIELD_TAKEN))
    assert facts.count(TraceStep.WANT_READ) > 20


def test_nobody_who_is_not_traced_pays() -> None:
    """A tunnel without an observer over the same context tells nothing and needs nothing."""
    near, far = socket.socketpair()
    for sock in (near, far):
        sock.setblocking(False)
    ends = Ends(Tunnel(field_server(list_of(MSE)), near, server=True), Tunnel(field_client(), far, server=False), {})
    assert shake(ends) == {"server": None, "client": None}
    for end in ends[:2]:
        end.close()


def test_the_lines() -> None:
    """Every line has time, serial and process; every state its four lines."""
    with tunnel(field_server(list_of(OTHER)), field_client()) as ends:
        shake(ends)
        lines = TraceLines(server=True, number=3, serial=0xA27)
        texts = [line for event in ends.events["server"] for line in lines.lines(event)]
    pattern = re.compile(r"\[\d\d/\d\d/\d\d \d\d:\d\d:\d\d\.\d{3} UTC ([0-9a-f]+) \d+\] (.+)")
    parts = [pattern.fullmatch(text) for text in texts]
    assert all(parts)
    assert [int(part[1], 16) for part in parts if part] == list(range(0xA27, 0xA27 + len(texts)))
    bodies = [part[2] for part in parts if part]
    assert bodies[0] == "New NMSP connection 3 allocated"
    assert bodies[3:7] == [
        "SSL state = 0x6000; where = 0x10, ret = 0x1",
        "ret_type_string=unknown",
        "ret_desc_string=unknown",
        "SSL_state_string=before/accept initialization",
    ]
    assert "Peer not validated against AuthList" in bodies
    assert sum(body.startswith("SSL state = ") for body in bodies) == sum(
        isinstance(fact, tuple) for fact in FIELD_REFUSED
    )


@pytest.mark.parametrize(
    ("number", "name"), [(0, "close_notify"), (46, "certificate_unknown"), (116, "certificate_required")]
)
def test_alerts_have_their_registered_names(number: int, name: str) -> None:
    assert ALERTS[number] == alert_name(number) == name


def test_an_alert_that_is_not_registered() -> None:
    assert alert_name(255) == "alert 255"


@pytest.mark.parametrize("server", [True, False])
def test_the_numbers_of_one_side_are_of_that_side(server: bool) -> None:
    """0x2000 marks the accepting side, 0x1000 the connecting one (SSL_ST_ACCEPT, SSL_ST_CONNECT)."""
    mark, other = (0x2000, 0x1000) if server else (0x1000, 0x2000)
    states = [state for states in OVER[server].values() for state in states] + list(NEXT[server].values())
    numbers = {state.number for state in states if state.number != 0x3}
    assert all(number is not None and number & mark and not number & other for number in numbers)
    assert {len({state.name for state in states if state.number == number}) for number in numbers} == {1}
