"""Workers on the master's own machine: started with it, and gone with it."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress

import gevent

from loadgen.run.keeper import keeper

# Told to end, a worker closes its sessions in order; then it is told by the system.
_END_S, _TERMINATE_S = 10.0, 2.0
# A master that was killed cannot wait for its workers; they have as long as they give their own processes, and more.
_ORPHAN_S = 35.0

log = logging.getLogger("loadgen.master")


class LocalWorkers:
    """Processes of `loadgen locust-worker`."""

    def __init__(self, count: int, port: int, died: Callable[[int], None]) -> None:
        """Start them.

        Args:
            port: of the master, on this machine.
            died: called when one has ended by itself and not well, with how many are left.
        """
        command = [sys.executable, "-m", "loadgen", "locust-worker", "--master-host", "127.0.0.1"]
        command += ["--master-port", str(port), "--local"]
        self._died = died
        self._ending = False
        # A pipe that is closed when this process ends, however it does. A session of their own, because Ctrl-C goes to
        # a whole group, and who has to end first is the load, and not the worker.
        self._workers = [subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) for _ in range(count)]
        for worker in self._workers:
            keeper().keep(worker.pid, _ORPHAN_S)
        self._watchers = [gevent.spawn(self._watch, number, it) for number, it in enumerate(self._workers)]
        log.info("%d local worker(s) started", count)

    def _watch(self, number: int, worker: subprocess.Popen[bytes]) -> None:
        code = worker.wait()
        if self._ending:
            return
        if code:  # otherwise it was told to quit
            log.error("local worker %d (pid %d) has ended with exit code %d", number, worker.pid, code)
        self._died(sum(other.poll() is None for other in self._workers))

    def end(self) -> None:
        """Wait until all are gone, and see to it; they have been told to quit. A second call does nothing."""
        if self._ending:
            return
        self._ending = True
        for worker in self._workers:
            if worker.stdin is not None:
                with suppress(OSError):
                    worker.stdin.close()
        left = self._wait(self._workers, _END_S)
        for worker in left:
            log.warning("local worker (pid %d) does not end: terminated", worker.pid)
            worker.terminate()
        for worker in self._wait(left, _TERMINATE_S):
            log.warning("local worker (pid %d) does not even end when terminated: killed", worker.pid)
            worker.kill()
            worker.wait()
        for worker in self._workers:
            keeper().leave(worker.pid)
        gevent.killall(self._watchers, block=False)

    @staticmethod
    def _wait(workers: list[subprocess.Popen[bytes]], seconds: float) -> list[subprocess.Popen[bytes]]:
        """Those that are still there then."""
        deadline = time.monotonic() + seconds
        for worker in workers:
            with suppress(subprocess.TimeoutExpired):
                worker.wait(max(0.0, deadline - time.monotonic()))
        return [worker for worker in workers if worker.poll() is None]
