"""Memory that the workers of both sides have in common: what WLCs say there is not on the wire."""

from __future__ import annotations

import mmap
import os

from loadgen.scenario.plan import Plan, is_placed
from loadgen.session.placing import Placings, bytes_for


class SharedPlacings:
    """The supervisor's: it has the memory for as long as it lives, and no file.

    Attributes:
        path: where a worker finds it; empty: this plan needs none.
    """

    def __init__(self, plan: Plan) -> None:
        self.path = ""
        if not is_placed(plan):
            return
        self._file = os.memfd_create("placings")
        os.ftruncate(self._file, bytes_for(plan))
        self.path = f"/proc/{os.getpid()}/fd/{self._file}"

    def __del__(self) -> None:
        if self.path:
            os.close(self._file)


def placings_at(path: str, plan: Plan) -> Placings | None:
    """A worker's view of them. Where it may not look into another process, it has none that others see: then nothing is
    stated, and what comes cannot be placed, which is counted.
    """
    if not path:
        return None
    try:
        with open(path, "r+b") as file:  # noqa: PTH123 - no file, but memory
            return Placings(plan, memoryview(mmap.mmap(file.fileno(), bytes_for(plan))))
    except OSError:
        return Placings(plan, bytearray(bytes_for(plan)))
