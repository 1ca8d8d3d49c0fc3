"""How far a recording is, and what came of it, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from loadgen.relay.recording import RecordProgress

# Of files in a summary.
_MOST_NAMED = 5


def progress_line(progress: RecordProgress) -> str:
    """ "2 sessions up (3 so far, 1 failed); 4.1 kB to the WLC, 12.3 MB to the MSE; 13.0 MB recorded"."""
    failed = f", {progress.failed:,} failed" if progress.failed else ""
    recorded = f"NOT RECORDED ANY MORE ({progress.trouble})" if progress.trouble else "recorded"
    return (
        f"{progress.open:,} session{'' if progress.open == 1 else 's'} up ({progress.came_up:,} so far{failed}); "
        f"{_size(progress.to_wlc_bytes)} to the WLC, {_size(progress.to_mse_bytes)} to the MSE; "
        f"{_size(progress.written_bytes)} {recorded}"
    )


def summary(progress: RecordProgress, paths: Sequence[Path]) -> Iterator[str]:
    """Lines at the end."""
    records = progress.to_wlc_records, progress.to_mse_records
    yield (
        f"{progress.came_up:,} session{'' if progress.came_up == 1 else 's'}, {progress.failed:,} that did not come up"
    )
    yield f"to the WLC   {progress.to_wlc_bytes:>15,} bytes in {records[0]:,} TLS records"
    yield f"to the MSE   {progress.to_mse_bytes:>15,} bytes in {records[1]:,} TLS records"
    left = len(paths) - _MOST_NAMED
    for path in paths[-_MOST_NAMED:]:
        yield f"wrote {path}"
    if left > 0:
        yield f"and {left:,} before"


def _size(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count} B"
