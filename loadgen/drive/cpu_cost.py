"""What the load costs this process: CPU time, and time, from its start to its end, or until now."""

from __future__ import annotations

import time

from loadgen.clock import Nanoseconds
from loadgen.units import NS_PER_S


class StopWatch:
    """A stop watch for both; 0 before the first load."""

    def __init__(self, clock: Nanoseconds) -> None:
        self._clock = clock
        self._cpu_s = self._wall_s = 0.0
        self._began: tuple[float, int] | None = None

    def begin(self) -> None:
        self._began = (time.process_time(), self._clock())

    def end(self) -> None:
        """The load is over, or was stopped; what follows is closing. A second call changes nothing."""
        self._cpu_s, self._wall_s = self.cpu_s, self.wall_s
        self._began = None

    @property
    def cpu_s(self) -> float:
        return self._cpu_s if self._began is None else time.process_time() - self._began[0]

    @property
    def wall_s(self) -> float:
        return self._wall_s if self._began is None else (self._clock() - self._began[1]) / NS_PER_S
