"""What the tests of this folder share."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from hdrh.histogram import HdrHistogram
from hypothesis import settings
from numpy.typing import NDArray

from loadgen.measure.histogram import MetricSummary
from loadgen.results.health import WorkerHealth

# For every property test here: the same examples in every run, and no verdict on how fast the machine is.
REPEATABLE = settings(derandomize=True, deadline=None, database=None)

HOUR_NS = 3600 * 10**9


def plain_histogram(values: list[int]) -> HdrHistogram:
    """The witness: the library, one value at a time."""
    histogram = HdrHistogram(1, HOUR_NS, 3)
    for value in values:
        assert histogram.record_value(value)
    return histogram


def durations(seed: int, count: int) -> NDArray[np.int64]:
    """Durations as they come: most about a millisecond, some far off, 0 and the limit among them."""
    rng = np.random.default_rng(seed)
    values = np.exp(rng.normal(13.8, 2.5, count)).astype(np.int64)
    values[rng.integers(0, count, 3)] = (0, 1, HOUR_NS)
    return np.minimum(values, HOUR_NS)


def summary(**figures: float) -> MetricSummary:
    """A summary whose every statistic is `figures` or 0."""
    fields = dict.fromkeys(MetricSummary.__struct_fields__, 0) | {"unit": "ns"} | figures
    return msgspec.convert(fields, MetricSummary)


def healthy(**figures: Any) -> WorkerHealth:
    """A worker at which nothing stands out, but for `figures`."""
    values = {
        "worker": "wlc-1",
        "cpu_s": 1.0,
        "wall_s": 10.0,
        "rss_bytes": 1,
        "longest_stall_ns": 0,
        "longest_gc_pause_ns": 0,
    }
    return msgspec.convert(values | figures, WorkerHealth)
