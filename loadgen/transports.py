"""What carries sessions, and what differs by it: a row for each transport. Scenarios, plans and results name them;
`drive.transport_drivers` has who drives them, `measure.names` which counters only one of them has.
"""

from __future__ import annotations

from typing import NamedTuple

from loadgen.units import NS_PER_S


class TransportFacts(NamedTuple):
    """What to reckon with. All figures were measured: docs/performance.md, docs/dtls.md.

    Attributes:
        session_bytes: memory that one takes at one side; OpenSSL has most of it.
        overhead_bytes: beside what is sent at once, on the network: headers, and what encryption adds.
        bounded: what is sent at once has a bound, `dtls.mtu`, and frames are not split.
        send_s: CPU time of one side for what is sent at once: writing it, or waking its reader and reading it.
        handshake_cost: CPU time of a handshake, over TLS that is 1.
        port_rest_s: for how long the local port of a closed connection is not used again.
        clock_slack_ns: by how much messages overtake each other, as far as another's clock is judged by them.
        silence: the counters of an address at which nobody listens, or there is nobody.
    """

    session_bytes: int
    overhead_bytes: int
    bounded: bool
    send_s: float
    handshake_cost: float
    port_rest_s: int
    clock_slack_ns: int
    silence: frozenset[str]


TRANSPORTS = {
    "tls": TransportFacts(
        session_bytes=32 * 1024,
        overhead_bytes=52 + 29,  # TCP/IP headers with timestamps; TLS 1.2 with AES-GCM
        bounded=False,
        send_s=12e-6,
        handshake_cost=1,
        port_rest_s=60,  # TIME_WAIT
        clock_slack_ns=0,
        silence=frozenset({"errors.tcp.refused", "errors.tcp.unreachable"}),
    ),
    "dtls": TransportFacts(
        session_bytes=90 * 1024,  # two tasks, a queue and a trio endpoint for each
        overhead_bytes=28 + 37,  # IP and UDP headers; DTLS 1.2 with AES-GCM
        bounded=True,
        send_s=200e-6,
        handshake_cost=2,  # a socket and a task for each, and the cookie
        port_rest_s=0,
        clock_slack_ns=NS_PER_S // 4,
        silence=frozenset({"errors.tls.timeout", "errors.tls.refused", "errors.tls.unreachable"}),
    ),
}
