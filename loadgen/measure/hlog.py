"""The standard HdrHistogram interval log (format 1.3), tagged by metric.

Any HdrHistogram implementation reads it. Histograms are in ns; the interval's maximum is in ms, as the format's
readers expect.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from loadgen.measure.histogram import Histogram
from loadgen.units import NS_PER_MS


class LogLine(NamedTuple):
    """One interval of one metric; times in seconds since the start time."""

    metric: str
    start_s: float
    length_s: float
    histogram: Histogram


def format_hlog(start_unix_s: float, lines: Iterable[LogLine]) -> str:
    """The whole log as text."""
    started = datetime.fromtimestamp(start_unix_s, UTC).isoformat(timespec="milliseconds")
    out = [
        "#[Histogram log format version 1.3]",
        f"#[StartTime: {start_unix_s:.3f} (seconds since epoch), {started}]",
        '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"',
    ]
    out.extend(
        f"Tag={line.metric},{line.start_s:.3f},{line.length_s:.3f},"
        f"{line.histogram.max_ns / NS_PER_MS:.3f},{line.histogram.encode().decode('ascii')}"
        for line in lines
    )
    return "\n".join(out) + "\n"
