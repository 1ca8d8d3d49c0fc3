"""The standard HdrHistogram interval log (format 1.3), tagged by stage and metric ("hold/notify.latency").

Any HdrHistogram implementation reads it. Histograms are in ns; the interval's maximum is in ms, as the format's
readers expect.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from loadgen.errors import InputError, Problem
from loadgen.measure.histogram import Histogram
from loadgen.strict import shown
from loadgen.units import NS_PER_MS

_EPOCH = datetime.fromtimestamp(0, UTC)
_WHAT = "an HdrHistogram interval log"
_MS_PER_S = 1000
_FIRST = b"#[Histogram log format version 1."
_INTERVAL = re.compile(rb"Tag=([^,\s]{1,200}),(-?\d+(?:\.\d+)?),(\d+(?:\.\d+)?),(\d+(?:\.\d+)?),(\S+)")
# The most that an encoded histogram of ours takes is about half of that.
_MAX_LINE = 1 << 20
# Each costs a quarter of a megabyte. A run has a dozen metrics in each of its stages.
_MAX_TAGS = 2000


class LogLine(NamedTuple):
    """One interval of one metric in one stage; times in seconds since the start time."""

    tag: str
    start_s: float
    length_s: float
    histogram: Histogram


def format_hlog(start_unix_s: float, lines: Iterable[LogLine]) -> str:
    """The whole log as text."""
    start_ms = round(start_unix_s * _MS_PER_S)  # once: the same instant in both of its forms
    started = (_EPOCH + timedelta(milliseconds=start_ms)).isoformat(timespec="milliseconds")
    out = [
        "#[Histogram log format version 1.3]",
        f"#[StartTime: {start_ms / _MS_PER_S:.3f} (seconds since epoch), {started}]",
        '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"',
    ]
    out.extend(
        f"Tag={line.tag},{line.start_s:.3f},{line.length_s:.3f},"
        f"{line.histogram.max_ns / NS_PER_MS:.3f},{line.histogram.encode().decode('ascii')}"
        for line in lines
    )
    return "\n".join(out) + "\n"


def read_hlog_untrusted(path: Path) -> dict[str, Histogram]:
    """Every tag's histogram, merged over all of its intervals, in the order in which tags appear.

    Raises:
        InputError: missing, truncated, or not a log of ours, with the line's number.
    """
    merged: dict[str, Histogram] = {}
    try:
        with path.open("rb") as lines:
            number = 0
            while line := lines.readline(_MAX_LINE):
                number += 1
                if (wrong := _add_line(merged, line, number)) is not None:
                    raise InputError(Problem(f"{path}:{number}", *wrong))
    except OSError as error:
        raise InputError(Problem(str(path), _WHAT, (error.strerror or str(error)).lower())) from error
    if not number:
        raise InputError(Problem(str(path), _WHAT, "an empty file"))
    return merged


def _add_line(merged: dict[str, Histogram], line: bytes, number: int) -> tuple[str, str] | None:
    """Add an interval, or tell what was expected and found instead."""
    if number == 1 and not line.startswith(_FIRST):
        return f"{_WHAT}, which begins with {_FIRST.decode()}3]", _shown(line)
    if not line.endswith(b"\n"):
        return "a whole line", f"{len(line):,} bytes without an end: the file is truncated or not a log"
    if line.startswith((b"#", b'"')) or not line.strip():
        return None
    match = _INTERVAL.fullmatch(line.rstrip())
    if not match:
        return "Tag=<metric>,<start>,<length>,<maximum>,<histogram>", _shown(line)
    try:
        tag = match[1].decode("utf-8")
    except UnicodeDecodeError:
        return "a tag in UTF-8", _shown(line)
    if tag not in merged and len(merged) == _MAX_TAGS:
        return f"at most {_MAX_TAGS:,} tags", "another one"
    try:
        merged.setdefault(tag, Histogram()).merge_untrusted(match[5])
    except ValueError as error:
        return "an encoded HdrHistogram of ns", str(error)
    return None


def _shown(line: bytes) -> str:
    return shown(line[:200].decode("utf-8", "replace").strip())
