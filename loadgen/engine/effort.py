"""What the load costs this process: CPU time, and time, from its start to its end."""

from __future__ import annotations

import time


class Effort:
    """A stop watch for both. Stays at 0 until a load is over, and then tells of the last one."""

    def __init__(self) -> None:
        self.cpu_s = self.wall_s = 0.0
        self._began: tuple[float, float] | None = None

    def begin(self) -> None:
        self._began = (time.process_time(), time.monotonic())

    def end(self) -> None:
        """The load is over, or was stopped; what follows is closing. A second call changes nothing."""
        if self._began is not None:
            cpu_s, wall_s = self._began
            self.cpu_s, self.wall_s = time.process_time() - cpu_s, time.monotonic() - wall_s
            self._began = None
