"""What counts as a backlog where only the sender is ours, and where a load is a run of its own; who went meanwhile."""

from __future__ import annotations

from collections import Counter

import pytest

from loadgen.capacity.campaign import Campaign, Observation, Settings
from loadgen.capacity.dimension import Dimension
from loadgen.capacity.probing import untaken_share, what_ended
from loadgen.measure.histogram import Histogram, MetricSummary
from loadgen.results.health import GeneratorVerdict, Verdict
from loadgen.results.record import Load
from loadgen.results.thresholds import Figures
from loadgen.units import NS_PER_S


def _lag(count: int) -> MetricSummary:
    empty = Histogram().summary()
    return MetricSummary("ns", count, *(getattr(empty, name) for name in MetricSummary.__struct_fields__[2:]))


@pytest.mark.parametrize(
    ("before", "after", "share"),
    [
        (0, 0, 0.0),
        (40_000, 40_000, 0.0),  # a second's way there and back: the same at both ends
        (40_000, 60_000, 0.05),
        (60_000, 40_000, 0.0),  # less than before is not more done than was sent
        (0, 10**9, 1.0),
    ],
)
def test_what_is_under_way_all_the_time_is_no_backlog(before: int, after: int, share: float) -> None:
    """5,000 of 100 bytes sent, of which 4,000 in the hold."""
    counters = {
        "notify.sent": 5_000,
        "notify.sent_bytes": 500_000,
        "notify.unacknowledged_before_bytes": before,
        "notify.unacknowledged_bytes": after,
    }
    assert untaken_share(Figures({"notify.lag": _lag(4_000)}, counters, {}, {})) == share


def test_where_nothing_was_sent_nothing_waits() -> None:
    counters = {"notify.sent": 0, "notify.sent_bytes": 0, "notify.unacknowledged_bytes": 7}
    assert untaken_share(Figures({}, counters, {}, {})) == 0


@pytest.mark.parametrize(("growth_ns", "holds"), [(0, True), (0.04 * NS_PER_S, True), (0.05 * NS_PER_S, False)])
def test_a_backlog_breaks_a_load_of_stations_whatever_was_achieved(growth_ns: float, holds: bool) -> None:
    made = Settings(Dimension.STATIONS, "notify.latency", (), 10, 100, 0.05, 1, 0, 4 * NS_PER_S, 12 * NS_PER_S, 0)
    campaign = Campaign(made)
    trial = campaign.next()
    assert trial is not None
    valid = GeneratorVerdict(Verdict.VALID, ())
    probe = campaign.tell(
        trial, Observation(10, None, Figures({}, {}, {}, {}), valid, 0, hold_s=4.0, growth_ns=growth_ns)
    )
    assert probe.passed is holds
    assert [broke.split(":")[0] for broke in probe.broke] == ([] if holds else ["a growing backlog"])


@pytest.mark.parametrize(
    ("after", "ended"),
    [
        ({}, ""),
        ({"sessions.established": 9, "errors.tls.timeout": 1}, ""),  # one more has come, and one has not
        ({"sessions.lost": 1, "errors.serve.reset": 1}, "sessions.lost: 1, errors.serve.reset: 1"),
        ({"sessions.closed": 4}, "sessions.closed: 1"),  # in order, and gone all the same
        # Of each event one end tells.
        (
            {"sessions.lost": 2, "errors.stream.closed": 2, "errors.serve.reset": 1},
            "sessions.lost: 2, errors.stream.closed: 2",
        ),
    ],
)
def test_a_session_that_went_in_any_way_is_dialed_again(after: dict[str, int], ended: str) -> None:
    before = Counter({"sessions.established": 8, "sessions.closed": 3})
    assert what_ended(Load((), before), before | Counter(after)) == ended
