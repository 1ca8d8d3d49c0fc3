"""Sees to it that what we start does not outlive us, however we end.

A process that is killed ends nothing, and one that was stopped does not notice that its parent is gone. So a keeper
runs beside us, a process of a few megabytes that reads a pipe from us. When the pipe ends, so have we, and the keeper
ends the process groups that are still in its care. (The kernel's PR_SET_PDEATHSIG does not do: it goes by the parent's
thread, and trio starts processes from threads that come and go.)

This file is run by itself, so it imports nothing of ours.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import cache

_LOOK_S = 0.05


class Keeper:
    """Our side of it."""

    def __init__(self) -> None:
        # A session of its own: what the terminal sends is not for it. No output: who reads ours must not wait for it.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def keep(self, group: int, patience_s: float = 0.0) -> None:
        """End this process group when we are gone. Args: patience_s: how long it may take to end by itself then."""
        self._tell(f"+ {group} {patience_s}\n")

    def leave(self, group: int) -> None:
        """It has ended."""
        self._tell(f"- {group}\n")

    def _tell(self, line: str) -> None:
        # One that was killed keeps nothing any more, and that is no reason to end a run.
        with suppress(OSError):
            assert self._process.stdin is not None
            os.write(self._process.stdin.fileno(), line.encode())


@cache
def keeper() -> Keeper:
    """The one of this process."""
    return Keeper()


def _keep() -> None:
    """The keeper's own life."""
    groups: dict[int, float] = {}
    for line in sys.stdin:
        what, group, *patience = line.split()
        if what == "+":
            groups[int(group)] = float(patience[0])
        else:
            groups.pop(int(group), None)
    started = time.monotonic()
    for group, patience_s in groups.items():
        if patience_s:
            _send(group, signal.SIGTERM)
            _send(group, signal.SIGCONT)  # it may have been stopped
    while groups:
        elapsed = time.monotonic() - started
        for group, patience_s in list(groups.items()):
            if elapsed >= patience_s:
                _send(group, signal.SIGKILL)
            if elapsed >= patience_s or not _send(group, 0):
                del groups[group]
        if groups:
            time.sleep(_LOOK_S)


def _send(group: int, number: int) -> bool:
    """False if the group is gone."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # the number is another user's process by now: there, and not ours to end
    return True


if __name__ == "__main__":
    _keep()
