"""The workers of a loadgen that runs: processes that its fork server started."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path


def worker_pids(pid: int) -> list[int]:
    """Of this loadgen, oldest first."""
    return sorted(each for each in _descendants(pid) if _name(each).startswith("loadgen "))


def _descendants(pid: int) -> Iterator[int]:
    for path in Path(f"/proc/{pid}/task").glob("*/children"):  # whichever of its threads started them
        with contextlib.suppress(OSError):  # the thread has ended since
            for child in map(int, path.read_text("ascii").split()):
                yield child
                yield from _descendants(child)


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text("utf-8")
    return ""
