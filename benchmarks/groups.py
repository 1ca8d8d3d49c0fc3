"""What key-exchange groups cost, with the contexts and tunnels that workers have: `python -m benchmarks.groups`.

Prints a table, and JSON behind it: CPU time of a full mutual handshake with P-256 keys at each side, over TCP on
loopback with connecting and closing, and the bytes of it that each side says. All groups take turns, round by round, in
one process; ratios are of one round, to X25519 with the same version of TLS.
"""

from __future__ import annotations

import json
import socket
import statistics
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

from OpenSSL import SSL

from loadgen.identity.credentials import Identity, new_key, self_signed
from loadgen.transport.contexts import client_context, server_context
from loadgen.transport.tls import Tunnel, dial
from loadgen.transport.verifying import Ruling

CASES = (
    ("1.2", "X25519"),
    ("1.2", "P-256"),
    ("1.3", "X25519"),
    ("1.3", "P-256"),
    ("1.3", "X25519MLKEM768"),
    ("1.3", "SecP256r1MLKEM768"),
)
_ROUNDS, _HANDSHAKES = 30, 40
_LARGEST = 1 << 16


class Cost(NamedTuple):
    """Of one handshake: CPU time (s)."""

    client_s: float
    server_s: float


class Ends:
    """Both sides of handshakes with one group."""

    def __init__(self, version: str, group: str, ours: Identity) -> None:
        shown = ours.key_pem, ours.certificate_pem, b""
        self._client = client_context(*shown, version, None, groups=(group,))
        self._server = server_context(*shown, version, lambda *_: Ruling(), groups=(group,))
        self._unjudging = server_context(*shown, version, None, groups=(group,))

    def bytes_said(self) -> tuple[int, int]:
        """By the client and by the server, without what TLS 1.3 says behind a handshake (tickets)."""
        client, server = SSL.Connection(self._client, None), SSL.Connection(self._unjudging, None)
        client.set_connect_state()
        server.set_accept_state()
        of_client = of_server = 0
        done = False
        while not done:
            done = _goes_on(client)
            of_client += _passed(client, server)
            _goes_on(server)
            if not done:
                of_server += _passed(server, client)
        return of_client, of_server

    def cost(self, listener: socket.socket, count: int) -> Cost:
        """Of as many handshakes, one after the other."""
        spent = [0, 0]
        for _ in range(count):
            began = time.thread_time_ns()
            sock = dial(listener.getsockname())
            near = Tunnel(self._client, sock, server=False)
            spent[0] += time.thread_time_ns() - began
            began = time.thread_time_ns()
            far_sock, _ = listener.accept()
            far_sock.setblocking(False)
            far = Tunnel(self._server, far_sock, server=True)
            spent[1] += time.thread_time_ns() - began
            ends, done = (near, far), [False, False]
            while not all(done):
                for side, end in enumerate(ends):
                    if not done[side]:
                        began = time.thread_time_ns()
                        done[side] = end.handshake()
                        spent[side] += time.thread_time_ns() - began
            for side, end in enumerate(ends):
                began = time.thread_time_ns()
                end.close()
                spent[side] += time.thread_time_ns() - began
        return Cost(spent[0] / count / 1e9, spent[1] / count / 1e9)


def _goes_on(end: SSL.Connection) -> bool:
    """Whether its handshake is done."""
    with suppress(SSL.WantReadError):
        end.do_handshake()
        return True
    return False


def _passed(near: SSL.Connection, far: SSL.Connection) -> int:
    """Bytes that one had to say to the other."""
    with suppress(SSL.WantReadError):
        data = near.bio_read(_LARGEST)
        far.bio_write(data)
        return len(data)
    return 0


def measure(rounds: int = _ROUNDS, handshakes: int = _HANDSHAKES) -> dict[str, dict[str, float]]:
    """Of each case, by its version and group."""
    ours = self_signed("02:4d:53:00:00:01", new_key("p256"), datetime.now(UTC))
    ends = {case: Ends(*case, ours) for case in CASES}
    costs: dict[tuple[str, str], list[Cost]] = {case: [] for case in CASES}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for _ in range(rounds):
            for case, each in ends.items():
                costs[case].append(each.cost(listener, handshakes))
    found = {}
    for (version, group), of_rounds in costs.items():
        pairs = list(zip(of_rounds, costs[version, "X25519"], strict=True))
        client_bytes, server_bytes = ends[version, group].bytes_said()
        found[f"TLS {version}, {group}"] = {
            "client_us": 1e6 * statistics.median(cost.client_s for cost in of_rounds),
            "client_ratio": statistics.median(cost.client_s / base.client_s for cost, base in pairs),
            "server_us": 1e6 * statistics.median(cost.server_s for cost in of_rounds),
            "server_ratio": statistics.median(cost.server_s / base.server_s for cost, base in pairs),
            "client_bytes": client_bytes,
            "server_bytes": server_bytes,
        }
    return found


def main() -> None:
    found = measure()
    print("| | CPU of the client | | of the server | | bytes of the client | of the server |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, each in found.items():
        client, server = (f"{each[f'{side}_us']:.0f} µs | {each[f'{side}_ratio']:.2f}" for side in ("client", "server"))
        print(f"| {name} | {client} | {server} | {each['client_bytes']:,} | {each['server_bytes']:,} |")
    json.dump(found, sys.stdout)
    print()


if __name__ == "__main__":
    main()
