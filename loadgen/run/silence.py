"""For how long nothing was heard of a worker, as far as that is the worker's doing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

# A worker says something every second, whatever it has to do; stopped, frozen or hung, it does not.
SILENCE_S = 30
# One that computes is silent, too, while it makes thousands of contexts; but not for so long.
COMPUTING_S = 600
# How far apart looks at a worker are. Looks are counted, not time: while we ourselves are stopped, no worker is late.
LOOK_S = 1.0


class Silence:
    """Of one process; to be looked at every `LOOK_S`."""

    def __init__(self, pid: int, silence_s: int = SILENCE_S, cpu_ticks: Callable[[int], int] | None = None) -> None:
        self._pid = pid
        self._silence_s = silence_s
        self._cpu_ticks = cpu_ticks or _cpu_ticks
        self._seen_ticks = 0
        self._idle = self._looks = 0

    def heard(self) -> None:
        """It has said something."""
        self._idle = self._looks = 0

    def look(self) -> str:
        """Why it is to be given up; empty if it is not."""
        ticks = self._cpu_ticks(self._pid)
        self._looks += 1
        self._idle += ticks == self._seen_ticks
        self._seen_ticks = ticks
        if self._idle >= self._silence_s:
            return f"has not been heard of for {self._idle * LOOK_S:.0f} s"
        if self._looks >= COMPUTING_S:
            return f"has computed for {self._looks * LOOK_S:.0f} s and said nothing"
        return ""


def _cpu_ticks(pid: int) -> int:
    """CPU time that the process has used so far; 0 if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return 0
    utime, stime = stat.rpartition(")")[2].split()[11:13]
    return int(utime) + int(stime)
