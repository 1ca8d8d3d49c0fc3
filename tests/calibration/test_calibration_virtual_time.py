"""A constant delay and a planted pause in virtual time: what must come out of it is arithmetic, to the bucket."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pytest

from benchmarks.counterparts.planned import Pauses
from loadgen.measure.histogram import MetricSummary
from loadgen.measure.merge import Merger
from loadgen.measure.recorder import Recorder
from loadgen.nmsp.bulk import Columns
from loadgen.session.reception import Reception

NS_PER_S, NS_PER_MS = 10**9, 10**6
TO_UNIX_NS = 1_795_000_000_000_000_000
PER_S, SECONDS = 500, 20
TRANSIT_NS = 200_000
# What three digits of a histogram may add.
BUCKET = 0.001

# Sequence number, due, sent, received: virtual ns since the start.
Told = tuple[int, int, int, int]


def delayed(delay_ns: int) -> Iterator[Told]:
    """Claims to be sent when it is due, and takes that long."""
    for number in range(PER_S * SECONDS):
        due = number * NS_PER_S // PER_S
        yield number, due, due, due + delay_ns + TRANSIT_NS


def paused(pauses: Pauses) -> Iterator[Told]:
    """Sent when it is due, or when the pause that it falls into is over."""
    for number in range(PER_S * SECONDS):
        due = number * NS_PER_S // PER_S
        sent = pauses.released(due)
        yield number, due, sent, sent + TRANSIT_NS


def measured(told: Iterator[Told]) -> tuple[Mapping[str, MetricSummary], Mapping[str, int]]:
    """What an MSE's reception makes of it; what comes at one time comes in one batch."""
    recorder = Recorder()
    reception = Reception(recorder, 1, TO_UNIX_NS)
    reception.open(0, 1)
    batches: dict[int, list[Told]] = {}
    for each in told:
        batches.setdefault(each[3], []).append(each)
    for received, batch in batches.items():
        sequence, due, sent, _ = (np.array(column, np.int64) for column in zip(*batch, strict=True))
        columns = Columns(sequence, due + TO_UNIX_NS, sent + TO_UNIX_NS, np.zeros(len(batch), np.int64))
        reception.absorb(columns, [0], [len(batch)], [received])
    merger = Merger()
    merger.add("mse-0", recorder.take(0))
    return merger.metrics({""}), merger.counters()


@pytest.mark.parametrize("delay_ns", [0, 5 * NS_PER_MS, 250 * NS_PER_MS])
def test_a_constant_delay_is_every_percentile(delay_ns: int) -> None:
    metrics, counters = measured(delayed(delay_ns))
    assert {name: n for name, n in counters.items() if n} == {"notify.received": PER_S * SECONDS}
    for name in ("notify.latency", "notify.service"):
        summary = metrics[name]
        assert summary.count == PER_S * SECONDS
        for value in (summary.min, summary.p50, summary.p99, summary.p99_9, summary.max):
            assert value == pytest.approx(delay_ns + TRANSIT_NS, rel=BUCKET)


def test_latency_shows_a_pause_and_service_hides_it() -> None:
    metrics, counters = measured(paused(Pauses(NS_PER_S, 10 * NS_PER_S)))
    assert counters["notify.received"] == PER_S * SECONDS
    assert {name for name, n in counters.items() if n} == {"notify.received"}
    latency, service = metrics["notify.latency"], metrics["notify.service"]
    # One in ten waits, for something evenly between 0 and 1 s; one in a hundred therefore for 0.9 s and more.
    assert latency.p99 == pytest.approx(0.9 * NS_PER_S, rel=0.02)
    assert latency.p99_9 == pytest.approx(0.99 * NS_PER_S, rel=0.02)
    assert latency.max == pytest.approx(NS_PER_S + TRANSIT_NS, rel=BUCKET)
    assert latency.p50 == pytest.approx(TRANSIT_NS, rel=BUCKET)
    for value in (service.p50, service.p99, service.max):
        assert value == pytest.approx(TRANSIT_NS, rel=BUCKET)


@pytest.mark.parametrize("length_ms", [200, 1000, 2500])
def test_so_many_are_late_as_were_due_in_the_pause(length_ms: int) -> None:
    metrics, _ = measured(paused(Pauses(length_ms * NS_PER_MS, 10 * NS_PER_S)))
    share = length_ms / 10_000
    expected = length_ms * NS_PER_MS * (1 - 0.01 / share) + TRANSIT_NS
    # Due times are 2 ms apart, and a percentile is one of them.
    assert metrics["notify.latency"].p99 == pytest.approx(expected, rel=BUCKET, abs=2 * NS_PER_MS)
