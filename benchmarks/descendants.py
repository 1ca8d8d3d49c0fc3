"""The processes that a process started, and those of them that are a loadgen's workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_WORKER = "loadgen "


def descendants(pid: int) -> Iterator[int]:
    """Children, their children and so on, of whichever thread."""
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # the thread has ended since
            for child in map(int, path.read_text("ascii").split()):
                yield child
                yield from descendants(child)


def worker_pids(pid: int, name: str = "") -> list[int]:
    """Of a loadgen's workers, oldest first. Args: name: of these alone (`wlc-0`)."""
    wanted = f"{_WORKER}{name}"
    return [each for each in sorted(descendants(pid)) if _name(each).startswith(wanted)]


def _name(pid: int) -> str:
    with suppress(OSError):  # it has ended since
        return Path(f"/proc/{pid}/comm").read_text("utf-8")
    return ""
