"""How much of a figure is our own lateness, and what the verdict says of it."""

from __future__ import annotations

import pytest
from measure_samples import healthy

from loadgen.measure.histogram import MetricSummary, Spread
from loadgen.results.health import MachineHealth, Verdict, judge
from loadgen.results.own import own_shares

MS = 1_000_000


def spread(p50: float, p90: float | None = None, p99: float | None = None, count: int = 1000) -> MetricSummary:
    """Percentiles in ms; those that are not given are the one below."""
    p90 = p50 if p90 is None else p90
    p99 = p90 if p99 is None else p99
    return MetricSummary(
        "ns", count, 0, p50 * MS, int(p50 * MS), int(p90 * MS), int(p99 * MS), int(p99 * MS), int(p99 * MS)
    )


def ours(share: str, statistic: str, name: str, figure: str, own: str, also: str = "") -> str:
    said = f"{share} of the {statistic} of {name} ({figure}) is ours: what came waited {own} to be read here"
    return f"{said}; of its p99 {also}" if also else said


# A WLC that took 0.05 ms, found to take 4.7.
LATE = {"notify.service": spread(4.7, 6), "generator.read_lag": spread(4.5, 5.5)}
SAID = ours("96%", "p50", "notify.service", "4.70 ms", "4.50 ms", "(6.00 ms) it is 92%")


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ({}, []),
        ({"notify.service": spread(4.7)}, []),
        (LATE, [SAID]),
        # Half of it is the other side's.
        ({"notify.service": spread(9.1), "generator.read_lag": spread(4.5)}, []),
        # Of the tail more than of the rest: both are said.
        (
            {"notify.service": spread(0.5, 6.7, 199), "generator.read_lag": spread(0.3, 5.7, 195)},
            [ours("85%", "p90", "notify.service", "6.70 ms", "5.70 ms", "(199 ms) it is 98%")],
        ),
        # Next to nothing, whatever the share.
        ({"notify.service": spread(0.9), "generator.read_lag": spread(0.9)}, []),
        ({"notify.service": spread(0.5, 1, 4.9), "generator.read_lag": spread(0.5, 1, 4.9)}, []),
        (
            {"notify.service": spread(0.3, 0.5, 30), "generator.read_lag": spread(0.1, 0.3, 25)},
            [ours("83%", "p99", "notify.service", "30.0 ms", "25.0 ms")],
        ),
        # The same of latency need not be said; of another kind of figure it must.
        (
            LATE | {"notify.latency": spread(4.8), "echo.service": spread(5), "request.measurement.service": spread(6)},
            [
                SAID,
                ours("90%", "p50", "echo.service", "5.00 ms", "4.50 ms", "(5.00 ms) it is 100%"),
                ours("75%", "p50", "request.measurement.service", "6.00 ms", "4.50 ms", "(6.00 ms) it is 92%"),
            ],
        ),
        (
            {"notify.latency": spread(5), "generator.read_lag": spread(4)},
            [ours("80%", "p50", "notify.latency", "5.00 ms", "4.00 ms")],
        ),
        # Both sides of a handshake are ours.
        (
            {"handshake.tls": spread(50), "generator.handshake_lag": spread(20), "generator.accept_lag": spread(15)},
            [ours("70%", "p50", "handshake.tls", "50.0 ms", "35.0 ms", "(50.0 ms) it is 70%")],
        ),
        ({"handshake.tls": spread(50), "generator.handshake_lag": spread(20)}, []),
        # How long a connection takes to be made, and how late we sent, is told otherwise.
        (
            {
                "handshake.tcp": spread(50),
                "notify.lag": spread(50),
                "generator.read_lag": spread(50),
                "generator.handshake_lag": spread(50),
            },
            [],
        ),
        # What was clamped: the other side's clock is ahead.
        (
            {"notify.service": spread(0), "generator.read_lag": spread(4)},
            [ours("100%", "p50", "notify.service", "0 ns", "4.00 ms")],
        ),
        # Percentiles that are none.
        ({"notify.service": spread(50, count=1), "generator.read_lag": spread(50)}, []),
        ({"notify.service": spread(50), "generator.read_lag": spread(50, count=1)}, []),
    ],
)
def test_a_figure_that_is_rather_ours_is_named(metrics: dict[str, MetricSummary], said: list[str]) -> None:
    assert own_shares(metrics, 0.5) == said


def test_it_degrades_the_verdict_and_names_a_busy_machine() -> None:
    judged = judge([healthy()], MachineHealth(busy=1.0), {}, LATE)
    assert judged.generator is Verdict.DEGRADED
    assert judged.reasons == (f"{SAID}, on a machine that was 100% busy",)
    assert judged.limiting == ""  # it shaped what was measured, and kept nobody from doing more


@pytest.mark.parametrize(
    ("lag", "reason"),
    [
        (Spread(1000, 0, 0, 100 * MS), None),
        (Spread(1000, 0, 0, 101 * MS), "wlc-1 read late: p99 of its read_lag is 101 ms"),
        (Spread(60, 0, 101 * MS), "wlc-1 read late: p90 of its read_lag is 101 ms"),
        (Spread(1), None),
    ],
)
def test_whoever_reads_as_late_as_nobody_may_send_is_invalid(lag: Spread, reason: str | None) -> None:
    judged = judge([healthy(read_lag=lag)], MachineHealth(), {})
    assert judged.generator is (Verdict.VALID if reason is None else Verdict.INVALID)
    assert judged.reasons == (() if reason is None else (reason,))
