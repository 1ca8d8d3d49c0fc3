"""The standard HdrHistogram interval log (format 1.3), tagged by stage and metric ("hold/notify.latency").

Any HdrHistogram implementation reads it. Histograms are in ns; the interval's maximum is in ms, as the format's
readers expect.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
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


def _head(start_unix_s: float) -> str:
    start_ms = round(start_unix_s * _MS_PER_S)  # once: the same instant in both of its forms
    started = (_EPOCH + timedelta(milliseconds=start_ms)).isoformat(timespec="milliseconds")
    return (
        "#[Histogram log format version 1.3]\n"
        f"#[StartTime: {start_ms / _MS_PER_S:.3f} (seconds since epoch), {started}]\n"
        '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"\n'
    )


def _line(line: LogLine) -> str:
    return (
        f"Tag={line.tag},{line.start_s:.3f},{line.length_s:.3f},"
        f"{line.histogram.max_ns / NS_PER_MS:.3f},{line.histogram.encode().decode('ascii')}\n"
    )


class IntervalLog:
    """A log that grows while its run goes on: by whole lines, each on its way to the disk before the next one is made.

    A disk that is full costs the lines that it does not take, and a note in the log says where they are missing.
    """

    def __init__(self, path: Path, start_unix_s: float) -> None:
        self._path = path
        self._head = _head(start_unix_s)
        self._fd: int | None = None
        self._missing = 0  # lines, since the last one that was written
        self._all_missing = 0
        self._why = ""
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o666)
        except OSError as error:
            self._why = (error.strerror or str(error)).lower()
        self._write("")

    def append(self, lines: Iterable[LogLine]) -> None:
        """More of it. Lines are in order of time, but for what a worker handed in late."""
        for line in lines:
            text = _line(line)
            if self._missing:
                text = f"# {self._missing:,} lines could not be written here: {self._why}\n{text}"
            if self._write(text):
                self._missing = 0
            else:
                self._missing += 1
                self._all_missing += 1

    def close(self) -> str:
        """No more of it. Returns what is wrong with it, or nothing; a second call returns nothing."""
        if self._fd is not None:
            try:
                there, ours = self._path.stat(), os.fstat(self._fd)
                if not os.path.samestat(there, ours):
                    self._why = "another file in its place"
                os.close(self._fd)
            except OSError as error:
                self._why = (error.strerror or str(error)).lower()
            self._fd = None
        why, self._why = self._why, ""
        return f"{why} ({self._all_missing:,} lines are missing)" if why and self._all_missing else why

    def _write(self, text: str) -> bool:
        """All of a text, or nothing of it."""
        if self._fd is None:
            return False
        size = os.fstat(self._fd).st_size
        data = (text if size else self._head + text).encode()
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError as error:
            self._why = (error.strerror or str(error)).lower()
            with suppress(OSError):
                os.ftruncate(self._fd, size)
            return False
        return True


def read_hlog_untrusted(path: Path, *, unfinished: bool = False) -> dict[str, Histogram]:
    """Every tag's histogram, merged over all of its intervals, in the order in which tags appear.

    Args:
        unfinished: the run that wrote it may have been killed over its last line, which then does not count.

    Raises:
        InputError: missing, truncated, or not a log of ours, with the line's number.
    """
    merged: dict[str, Histogram] = {}
    try:
        with path.open("rb") as lines:
            number = 0
            while line := lines.readline(_MAX_LINE):
                number += 1
                if unfinished and len(line) < _MAX_LINE and not line.endswith(b"\n"):
                    break
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
