"""The trace of fleets as text: who, in one piece, bounded."""

from __future__ import annotations

from loadgen.diagnosis.fleet_trace import FleetTrace
from loadgen.drive.tracing import Traced
from loadgen.nmsp.messages import Role
from loadgen.transport.trace import EXIT, READ, Happening, TraceEvent

_TO_UNIX_NS = 1_790_000_000_000_000_000  # 2026-09-21 14:13:20 UTC
# Two lines, four lines, one line.
_EVENTS = (
    TraceEvent(1_000_000, Happening.ALLOCATED),
    TraceEvent(2_000_000, Happening.STATE, 0x4000 | READ, 0x22E, "SSLv3/TLS write finished"),
    TraceEvent(1_003_000_000, Happening.RELEASED),
)


def traced(role: Role = Role.MSE, host: str = "192.0.2.7", left_out: int = 0) -> Traced:
    return Traced(role, 3, host, 16113, 0xABCD, _EVENTS, left_out)


def test_the_lines_of_a_handshake() -> None:
    trace = FleetTrace(10, _TO_UNIX_NS)
    assert trace.lines(traced(), 77) == [
        "MSE 3 192.0.2.7:16113 [09/21/26 14:13:20.001 UTC 0 77] New NMSP connection 1 allocated",
        "MSE 3 192.0.2.7:16113 [09/21/26 14:13:20.001 UTC 1 77] sslConnectionInit: SSL_new() conn ssl 0000abcd",
        "MSE 3 192.0.2.7:16113 [09/21/26 14:13:20.002 UTC 2 77] SSL state = 0x11d0; where = 0x4004, ret = 0x22e",
        "MSE 3 192.0.2.7:16113 [09/21/26 14:13:20.002 UTC 3 77] ret_type_string=fatal",
        "MSE 3 192.0.2.7:16113 [09/21/26 14:13:20.002 UTC 4 77] ret_desc_string=certificate unknown",
        "MSE 3 192.0.2.7:16113 [09/21/26 14:13:20.002 UTC 5 77] SSL_state_string=SSLv3 read finished A",
        "MSE 3 192.0.2.7:16113 [09/21/26 14:13:21.003 UTC 6 77] Nmsp conn ssl 0000abcd freed, conn id 1",
    ]


def test_serials_and_connections_go_on_within_a_side() -> None:
    trace = FleetTrace(10, _TO_UNIX_NS)
    trace.lines(traced(), 77)
    assert " UTC 7 77] New NMSP connection 2 allocated" in trace.lines(traced(), 77)[0]
    assert " UTC 0 78] New NMSP connection 1 allocated" in trace.lines(traced(Role.WLC), 78)[0]


def test_an_ipv6_peer_is_in_brackets() -> None:
    assert FleetTrace(1, 0).lines(traced(host="2001:db8::7"), 1)[0].startswith("MSE 3 [2001:db8::7]:16113 [")


def test_what_was_left_out_is_said() -> None:
    assert (
        FleetTrace(1, 0).lines(traced(left_out=1234), 1)[-1] == "MSE 3 192.0.2.7:16113 1,234 more events were left out"
    )


def test_each_side_has_its_limit() -> None:
    """Every worker may trace so many; of all of them the first are printed."""
    trace = FleetTrace(2, _TO_UNIX_NS)
    printed = [bool(trace.lines(traced(), 1)) for _ in range(5)]
    assert printed == [True, True, False, False, False]
    assert trace.lines(traced(Role.WLC), 1)
    assert trace.last_line({Role.WLC: 0, Role.MSE: 1500}) == (
        "handshakes of WLCs: 1 traced, 0 not; of MSEs: 2 traced, 1,503 not (--trace-limit 2)"
    )


def test_a_worker_that_never_told_leaves_a_number_open() -> None:
    assert FleetTrace(2, 0).last_line({Role.MSE: None}) == (
        "handshakes of MSEs: 0 traced, an unknown number not (--trace-limit 2)"
    )


def test_an_end_without_an_alert_has_no_alert_s_name() -> None:
    events = (TraceEvent(0, Happening.STATE, 0x1000 | EXIT, 0xFFFFFFFF, "SSLv3/TLS write client hello"),)
    lines = FleetTrace(1, 0).lines(Traced(Role.MSE, 0, "h", 1, 0, events), 1)
    assert [line.partition("] ")[2] for line in lines] == [
        "SSL state = 0x1120; where = 0x1002, ret = 0xffffffff",
        "ret_type_string=unknown",
        "ret_desc_string=unknown",
        "SSL_state_string=SSLv3 read server hello A",
    ]
