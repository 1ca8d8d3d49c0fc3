"""A close_notify is an orderly end, whatever came before it."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest
from stacks_peers import MSE, WLC
from stacks_tlslite import CLOSE_NOTIFY, FATAL, USER_CANCELED, WARNING, Peer, drive, settings_of

from loadgen.transport.contexts import client_context, server_context
from loadgen.transport.tls import EndOfStream, TransportFault, Tunnel
from loadgen.transport.verifying import Ruling

# As JSSE says goodbye with TLS 1.3.
JSSE = [(WARNING, USER_CANCELED), (WARNING, CLOSE_NOTIFY)]
ORDERLY = [("1.2", [(WARNING, CLOSE_NOTIFY)]), ("1.3", [(WARNING, CLOSE_NOTIFY)]), ("1.2", JSSE), ("1.3", JSSE)]
# As tlslite-ng does, when it has found something wrong: with a level that is not an alert's own.
LOUD = [("1.3", [(FATAL, USER_CANCELED), (FATAL, CLOSE_NOTIFY)]), ("1.2", [(FATAL, CLOSE_NOTIFY)])]


def ends_with(version: str, alerts: list[tuple[int, int]], *, serves: bool) -> TransportFault:
    """What our tunnel says once a peer has sent these alerts, and closed. Args: serves: our side is the WLC."""
    near, far = socket.socketpair()
    near.setblocking(False)
    if serves:
        context = server_context(WLC.key_pem, WLC.certificate_pem, b"", version, lambda *_: Ruling())
    else:
        context = client_context(MSE.key_pem, MSE.certificate_pem, b"", version, None)
    tunnel, peer, done = Tunnel(context, near, server=serves), Peer(far), False

    def shake() -> None:
        nonlocal done
        done = done or tunnel.handshake()

    settings = settings_of(version)
    drive(peer.client(settings, MSE) if serves else peer.server(settings, WLC), shake)
    shake()
    assert done
    for alert in alerts:
        drive(peer.alert(*alert), lambda: None)
    far.shutdown(socket.SHUT_WR)
    with closing(far), closing(tunnel), pytest.raises(TransportFault) as fault:
        tunnel.read_into(memoryview(bytearray(100)))
    return fault.value


@pytest.mark.parametrize("serves", [True, False], ids=["at the WLC", "at the MSE"])
@pytest.mark.parametrize(("version", "alerts"), [*ORDERLY, *LOUD])
def test_a_peer_that_said_goodbye_has_ended_in_order(version: str, alerts: list[tuple[int, int]], serves: bool) -> None:
    fault = ends_with(version, alerts, serves=serves)
    assert isinstance(fault, EndOfStream)
    assert fault.orderly


@pytest.mark.parametrize("alerts", [[], [(WARNING, USER_CANCELED)]], ids=["nothing", "a warning"])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_peer_that_did_not_say_goodbye_has_not(version: str, alerts: list[tuple[int, int]]) -> None:
    fault = ends_with(version, alerts, serves=True)
    assert isinstance(fault, EndOfStream)
    assert not fault.orderly
