"""Real tunnels between two ends in one process, for what the native turn reads and writes."""

from __future__ import annotations

import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from OpenSSL import SSL

from loadgen.nmsp.profile import WireProfile
from loadgen.prepare.keys import make_keys
from loadgen.scenario.plan import Plan, Use, make_plan
from loadgen.scenario.reading import load_scenario
from loadgen.transport.contexts import client_context, server_context
from loadgen.transport.tls import TransportFault, Tunnel


class Made(NamedTuple):
    """Of one scenario: what both sides need."""

    plan: Plan
    profile: WireProfile
    server: SSL.Context
    client: SSL.Context


def make(path: Path, text: str, use: Use = Use.BOTH, targets: tuple[tuple[str, int], ...] = ()) -> Made:
    """Args: text: of the scenario, whose WLCs let everybody in."""
    path.write_text(text, "utf-8")
    scenario, profile = load_scenario(path)
    ours = make_plan(scenario, profile, use=Use.BOTH)
    keys = make_keys(scenario, path, ours, datetime.now(UTC))
    wlc, mse = keys.wlc[0], keys.mse[0]
    tls = ours.tls.version
    server = server_context(wlc.key_pem, wlc.certificate_pem, wlc.chain_pem, tls, None)
    client = client_context(mse.key_pem, mse.certificate_pem, mse.chain_pem, tls, keys.mse_trust)
    return Made(make_plan(scenario, profile, use=use, targets=targets), profile, server, client)


def ends(made: Made, *, serves: bool = False, room_bytes: int = 0) -> tuple[socket.socket, Tunnel, Tunnel]:
    """Our socket and tunnel, and the peer's tunnel; hands were shaken. Args: serves: we do; room_bytes: of a socket."""
    near, far = socket.socketpair()
    for sock in (near, far):
        sock.setblocking(False)
        if room_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room_bytes)
    contexts = (made.server, made.client) if serves else (made.client, made.server)
    ours, theirs = Tunnel(contexts[0], near, server=serves), Tunnel(contexts[1], far, server=not serves)
    done = [False, False]
    for _ in range(1000):
        for index, tunnel in enumerate((ours, theirs)):
            done[index] = done[index] or tunnel.handshake()
        if all(done):
            return near, ours, theirs
    raise AssertionError("no handshake")


def said(tunnel: Tunnel) -> bytes:
    """What the other end has written, and whether it has ended."""
    view, found = memoryview(bytearray(16384)), b""
    try:
        while size := tunnel.read_into(view):
            found += bytes(view[:size])
    except TransportFault as fault:
        found += b"; " + type(fault).__name__.encode()  # what exactly it says hangs on who was first
    return found


def say(tunnel: Tunnel, record: bytes) -> None:
    """To an end that may have hung up."""
    with suppress(TransportFault):
        for start in range(0, len(record), 16384):
            tunnel.write(record[start : start + 16384])
