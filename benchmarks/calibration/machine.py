"""Was the machine calm? Where others take the processor for long, a miss says nothing about loadgen."""

from __future__ import annotations

import threading
import time

# Somebody who sleeps so long ...
_SLEEP_S = 0.005
# ... and wakes up so much later was kept waiting: the programs of a case were as well.
_CALM_S = 0.020


class Watch:
    """Sleeps again and again while a case runs, and notes how late it wakes up."""

    def __init__(self) -> None:
        self.worst_s = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def calm(self) -> bool:
        return self.worst_s <= _CALM_S

    def _run(self) -> None:
        while not self._over.is_set():
            begun = time.monotonic()
            time.sleep(_SLEEP_S)
            self.worst_s = max(self.worst_s, time.monotonic() - begun - _SLEEP_S)
