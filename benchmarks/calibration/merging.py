"""The same durations over one recorder or many: what comes out must be the same, and what hdrh alone makes of them."""

from __future__ import annotations

import random
from typing import NamedTuple

import numpy as np
from hdrh.histogram import HdrHistogram
from numpy.typing import NDArray

from loadgen.measure.intervals import Intervals, WholeInterval
from loadgen.measure.merge import Merger
from loadgen.measure.recorder import Recorder

METRIC = "notify.latency"
RECORDERS = (1, 2, 4, 8)
_HIGHEST_NS = 3600 * 10**9
_DIGITS = 3
_INTERVALS = 3


class Merged(NamedTuple):
    """What came of a column: the histogram's counts, and the figures of a result."""

    buckets: dict[int, int]
    values: int
    percentiles: tuple[int, ...]


def planted_column(count: int = 40_000, seed: int = 20) -> NDArray[np.int64]:
    """Durations as they come, most about a millisecond, a tail of seconds; always the same ones."""
    rng = random.Random(seed)
    return np.array([min(_HIGHEST_NS, int(rng.lognormvariate(13.8, 2.0))) for _ in range(count)], np.int64)


def merged(column: NDArray[np.int64], recorders: int) -> Merged:
    """Through loadgen: value i goes to recorder i mod `recorders`, in three intervals."""
    merger = Merger()
    whole: list[WholeInterval] = []
    intervals = Intervals(whole.append)
    for number in range(recorders):
        recorder = Recorder()
        for index, part in enumerate(np.array_split(column[number::recorders], _INTERVALS)):
            recorder.count("notify.received", len(part))
            recorder.record_column(METRIC, part)
            taken = recorder.take(index)
            merger.add(f"mse-{number}", taken)
            intervals.add(f"mse-{number}", taken, 0.0, None)
    total = HdrHistogram(1, _HIGHEST_NS, _DIGITS)
    intervals.end()
    for line in (line for interval in whole for line in interval.lines(1.0)):
        total.decode_and_add(line.histogram.encode())
    summary = merger.metrics({""})[METRIC]
    figures = (summary.p50, summary.p90, summary.p99, summary.p99_9, summary.max)
    return Merged(_buckets(total), merger.counters()["notify.received"], figures)


def witness(column: NDArray[np.int64]) -> Merged:
    """Without loadgen: hdrh, one value after the other; percentiles from the sorted column itself (nearest rank)."""
    histogram = HdrHistogram(1, _HIGHEST_NS, _DIGITS)
    for value in column.tolist():
        histogram.record_value(value)
    ordered = sorted(column.tolist())
    # In thousandths, so that no rounding decides about the rank.
    ranks = [-(-len(ordered) * thousandths // 1000) for thousandths in (500, 900, 990, 999, 1000)]
    figures = tuple(int(histogram.get_highest_equivalent_value(ordered[rank - 1])) for rank in ranks)
    return Merged(_buckets(histogram), len(ordered), figures)


def _buckets(histogram: HdrHistogram) -> dict[int, int]:
    return {item.value_iterated_to: item.count_at_value_iterated_to for item in histogram.get_recorded_iterator()}
