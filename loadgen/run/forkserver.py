"""Workers are forked from a process that has imported everything, once.

That process, the fork server, is a fork of ours from before trio runs and threads begin: a worker may run a trio of its
own, and has no lock of somebody else's. A fork costs a few ms, the imports of a worker some 400, and what is imported
is in memory once. The fork server waits for its workers, because it is their parent, and tells us how they ended.

    we -> fork server: a worker's name and limit of descriptors; its stdin, stdout, stderr, and where to tell its end
    fork server -> we: its process id, with a pidfd
"""

from __future__ import annotations

import errno
import fcntl
import gc
import json
import os
import resource
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import trio

from loadgen.run import signals
from loadgen.run.heap import keep_freed_memory

_REQUEST_BYTES = 256
_WORKER = "loadgen.run.worker"
# What most runs are driven by; a worker imports what else its plan asks for, before it is ready.
_DRIVERS = ("loadgen.drive.tls_accept", "loadgen.drive.tls_mse", "loadgen.drive.tls_wlc")
# numpy imports it where it is first used, which in a worker is when it starts.
_USED_LATER = ("numpy.random",)
# What a worker is ended by, and a fork server is not: it ends with us.
_TERMINAL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Forked:
    """A process that the fork server started.

    Attributes:
        stdin, stdout: its other ends.
        returncode: None while it runs, or nobody has waited for it; negative: the signal that ended it.
    """

    def __init__(self, pid: int, pidfd: int, stdin: int, stdout: int, end: int) -> None:
        self.pid = pid
        self.stdin, self.stdout = trio.lowlevel.FdStream(stdin), trio.lowlevel.FdStream(stdout)
        self.returncode: int | None = None
        self._pidfd = pidfd
        self._end = trio.lowlevel.FdStream(end)
        self._waiting = trio.Lock()

    def kill(self) -> None:
        """End it at once, if it is still there."""
        with suppress(ProcessLookupError):
            if self.returncode is None:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    async def wait(self) -> int:
        """Wait until it has ended; returns how. Where the fork server is gone as well, nobody knows: 255."""
        async with self._waiting:
            if self.returncode is None:
                await trio.lowlevel.wait_readable(self._pidfd)
                said = await self._end.receive_some(16)
                self.returncode = int(said) if said else 255
                os.close(self._pidfd)
                await self._end.aclose()
        return self.returncode


class ForkServer:
    """Our side of it."""

    def __init__(self) -> None:
        if trio.lowlevel.in_trio_run():
            raise RuntimeError("a fork server starts before trio runs: its workers run their own")
        # The caller may have closed stdin, stdout or stderr: what takes their number would be taken over.
        self._socket, theirs = map(_beyond_stderr, socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        with signals.held():
            pid = os.fork()
            if pid == 0:  # what the terminal sends is not for it
                for number in _TERMINAL:
                    signal.signal(number, signal.SIG_IGN)
        if pid == 0:
            self._socket.close()
            _live(_Parent(theirs).live)
        theirs.close()

    def fork(self, name: str, errors: int) -> Forked:
        """Start a worker.

        Args:
            name: what the process is called in a list of processes.
            errors: its stderr.

        Raises:
            OSError: there is no process, or no descriptor, to be had; or the fork server is gone.
        """
        pipes: list[int] = []
        try:
            for _ in range(3):
                pipes += os.pipe()
            stdin, to_worker, from_worker, stdout, end, tell_end = pipes
            limits = resource.getrlimit(resource.RLIMIT_NOFILE)
            socket.send_fds(self._socket, [json.dumps([name, *limits]).encode()], [stdin, stdout, errors, tell_end])
            answer, descriptors, _, _ = socket.recv_fds(self._socket, _REQUEST_BYTES, 1)
        except OSError:
            for descriptor in pipes:
                os.close(descriptor)
            raise
        for descriptor in (stdin, stdout, tell_end):
            os.close(descriptor)
        pid = int(answer or 0)
        if pid <= 0:
            for descriptor in (to_worker, from_worker, end):
                os.close(descriptor)
            raise OSError(-pid, os.strerror(-pid)) if pid else ConnectionResetError("the fork server is gone")
        return Forked(pid, descriptors[0], to_worker, from_worker, end)

    def close(self) -> None:
        """Ask for no more."""
        self._socket.close()


@cache
def fork_server() -> ForkServer:
    """The one of this process. To be asked for the first time before trio runs, and threads begin."""
    return ForkServer()


def import_all() -> Callable[[], None]:
    """Import what a worker is made of, and all that it will use over TLS; returns what it does."""
    for module in (*_USED_LATER, *_DRIVERS):
        import_module(module)
    life: Callable[[], None] = import_module(_WORKER).main
    return life


# -- in the fork server ------------------------------------------------------------------------------------------------


def _live(life: Callable[[], None]) -> NoReturn:
    """Do this, and end: what the process that we were forked from would do next is not for us."""
    code = 1
    try:
        life()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


class _Parent:
    """The parent of the workers.

    Attributes:
        _ends: of each worker's pidfd: its process id, and where to tell how it ended.
    """

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._ends: dict[int, tuple[int, int]] = {}

    def live(self) -> None:
        """Fork what the supervisor asks for, until it is gone."""
        os.setsid()
        # What is imported is no garbage: here nobody looks for any, and workers look through what is theirs alone.
        gc.disable()
        keep_freed_memory()
        life = import_all()
        gc.freeze()
        # No output from here on: who reads what we were forked from must not wait for us.
        nothing = os.open(os.devnull, os.O_RDWR)
        _take_over(nothing, nothing, nothing)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._requests, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is not self._requests:
                    self._tell_end(key.fd)
                elif not self._fork(life):
                    return

    def _fork(self, life: Callable[[], None]) -> bool:
        """Answer a request; False if there are no more."""
        request, descriptors, _, _ = socket.recv_fds(self._requests, _REQUEST_BYTES, 4)
        if not request:
            return False
        became, becoming = os.pipe()
        try:
            pid = os.fork()
        except OSError as error:
            os.close(becoming)
            self._requests.send(str(-(error.errno or errno.EAGAIN)).encode())
        else:
            if pid == 0:
                os.close(became)
                self._become(list(descriptors), *json.loads(request))
                os.close(becoming)
                _live(life)
            pidfd = os.pidfd_open(pid)
            os.close(becoming)
            os.read(became, 1)  # a signal that is sent to this process from now on reaches a worker
            socket.send_fds(self._requests, [str(pid).encode()], [pidfd])
            self._ends[pidfd] = pid, descriptors.pop()
            self._selector.register(pidfd, selectors.EVENT_READ)
        for descriptor in (became, *descriptors):
            os.close(descriptor)
        return True

    def _become(self, descriptors: list[int], name: str, soft: int, hard: int) -> None:
        """In the new process: be a worker, with nothing of its parent's."""
        # Ctrl-C goes to the whole process group of the terminal; what it means, the supervisor decides.
        os.setpgid(0, 0)
        self._selector.close()
        self._requests.close()
        for pidfd, (_, tell) in self._ends.items():
            os.close(pidfd)
            os.close(tell)
        for number in _TERMINAL:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        gc.enable()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(descriptors.pop())
        _take_over(*descriptors)
        with suppress(OSError):
            Path("/proc/self/comm").write_text(f"loadgen {name}", "utf-8")  # the kernel keeps 15 bytes of it

    def _tell_end(self, pidfd: int) -> None:
        self._selector.unregister(pidfd)
        pid, tell = self._ends.pop(pidfd)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with suppress(OSError):  # nobody wants to know any more
            os.write(tell, str(code).encode())
        os.close(tell)
        os.close(pidfd)


def _beyond_stderr(sock: socket.socket) -> socket.socket:
    with sock:
        return socket.socket(fileno=fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD_CLOEXEC, 3))


def _take_over(*descriptors: int) -> None:
    """Make these our stdin, stdout and stderr."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    for descriptor in set(descriptors):
        if descriptor > 2:
            os.close(descriptor)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode, closefd=False) for number, mode in enumerate("rww"))
