"""A whole interval log as text: as a run writes it, and as it is to be."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from loadgen.measure.hlog import IntervalLog, LogLine


def written_log(start_unix_s: float, lines: Iterable[LogLine]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.hlog"
        log = IntervalLog(path, start_unix_s)
        log.append(lines)
        assert log.close() == ""
        return path.read_text("utf-8")


def log_to_be(start_unix_s: float, lines: Iterable[LogLine]) -> str:
    """Format 1.3, with nothing of what writes it."""
    milliseconds = round(start_unix_s * 1000)
    begun = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=milliseconds)
    texts = [
        "#[Histogram log format version 1.3]",
        f"#[StartTime: {milliseconds / 1000:.3f} (seconds since epoch), {begun.isoformat(timespec='milliseconds')}]",
        '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"',
    ]
    for line in lines:
        most, payload = line.histogram.max_ns / 1e6, line.histogram.encode().decode()
        texts.append(f"Tag={line.tag},{line.start_s:.3f},{line.length_s:.3f},{most:.3f},{payload}")
    return "\n".join(texts) + "\n"
