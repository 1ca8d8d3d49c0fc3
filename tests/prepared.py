"""Programs that begin where their imports end.

A short run of `python -m PROGRAM` is mostly imports, and reading what comes with us. So a process of its own does that,
once, and every run of the program is a fork of it: a process with its own output, working directory, environment,
signals and end, which does what Python does for `-m` from there on. Some tests of each program start it in the ordinary
way: they say if it cannot be imported.

    we -> prepared: arguments, environment, directory, what is ignored; stdin, stdout, stderr, where to tell its end
    prepared -> we: its process id, with a pidfd

This file is both: the tests import it, and the prepared process runs it.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from runpy import run_module
from types import TracebackType
from typing import IO, Any, NamedTuple

_REPO = Path(__file__).parents[1]
_REQUEST_BYTES = 1 << 20
# What ends a process that does nothing about it, and what a shell may have told one to ignore.
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
# As they are before gevent puts its own in their places, which want its loop.
_close, _fork, _waitpid = os.close, os.fork, os.waitpid


class _Request(NamedTuple):
    """What a run is told."""

    arguments: list[str]
    environment: dict[str, str]
    cwd: str
    ignored: list[int]
    new_session: bool


class Process:
    """A run of a program; as much of `subprocess.Popen` as the tests want.

    Attributes:
        stdin, stdout, stderr: the other ends of pipes, where pipes were asked for.
    """

    def __init__(self, pid: int, pidfd: int, end: int, pipes: Sequence[IO[str] | None]) -> None:
        self.pid = pid
        self.stdin, self.stdout, self.stderr = pipes
        self.returncode: int | None = None
        self._pidfd, self._end = pidfd, end

    def __enter__(self) -> Process:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for pipe in (self.stdin, self.stdout, self.stderr):
            if pipe is not None:
                pipe.close()
        self.wait()

    def poll(self) -> int | None:
        """How it ended, None while it runs; negative: the signal that ended it."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended, and say how."""
        if self.returncode is None:
            if not select.select([self._end], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            self.returncode = int(os.read(self._end, 16))
            os.close(self._end)
            os.close(self._pidfd)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Prepared:
    """Starts runs of a program."""

    def __init__(self, program: str, *modules: str) -> None:
        """Args: modules: what its runs import."""
        self._program = program
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            words = [sys.executable, __file__, str(theirs.fileno()), program, *modules]
            nothing = subprocess.DEVNULL
            self._process = subprocess.Popen(
                words, cwd=_REPO, stdin=nothing, stdout=nothing, pass_fds=[theirs.fileno()]
            )
        self._turn = threading.Lock()
        atexit.register(self.close)

    def close(self) -> None:
        """Start no more."""
        self._socket.close()
        self._process.wait()

    def start(
        self,
        arguments: Sequence[object] = (),
        *,
        stdin: int | IO[Any] = subprocess.DEVNULL,
        stdout: int | IO[Any] = subprocess.DEVNULL,
        stderr: int | IO[Any] = subprocess.DEVNULL,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        start_new_session: bool = False,
    ) -> Process:
        """Start it. Arguments are those of `subprocess.Popen`; pipes are of text."""
        request = _Request(
            [str(argument) for argument in arguments],
            dict(os.environ if env is None else env),
            str(Path.cwd() if cwd is None else cwd),
            [number for number in _ENDING if signal.getsignal(number) is signal.SIG_IGN],
            start_new_session,
        )
        theirs: list[int] = []  # to be closed once they are the run's
        pipes: list[int | None] = [None, None, None]
        end, tell_end = os.pipe()
        theirs.append(tell_end)
        streams = []
        for number, stream in enumerate((stdin, stdout, stderr)):
            if stream == subprocess.DEVNULL:
                theirs.append(os.open(os.devnull, os.O_RDWR))
            elif stream == subprocess.PIPE:
                read, write = os.pipe()
                ours, its = (write, read) if number == 0 else (read, write)
                pipes[number] = ours
                theirs.append(its)
            elif stream == subprocess.STDOUT:
                streams.append(streams[1])
                continue
            else:
                streams.append(stream if isinstance(stream, int) else stream.fileno())
                continue
            streams.append(theirs[-1])
        with self._turn:
            socket.send_fds(self._socket, [json.dumps(request).encode()], [*streams, tell_end])
            answer, (pidfd,), _, _ = socket.recv_fds(self._socket, 16, 1)
        for descriptor in theirs:
            os.close(descriptor)
        opened = [None if pipe is None else os.fdopen(pipe, mode) for pipe, mode in zip(pipes, "wrr", strict=True)]
        return Process(int(answer), pidfd, end, opened)

    def run(self, arguments: Sequence[object], timeout: float, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run it to its end, and keep its output."""
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            process = self.start(arguments, stdout=out, stderr=err, **options)
            try:
                code = process.wait(timeout)
            except BaseException:
                process.kill()
                raise
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess([self._program, *map(str, arguments)], code, out.read(), err.read())


@cache
def loadgen() -> Prepared:
    """`python -m loadgen`."""
    return Prepared(
        "loadgen",
        "loadgen.cli.main",
        "loadgen.cli.run",
        "loadgen.capacity.campaign",
        "loadgen.commands.inquiry",
        "loadgen.commands.pairing",
        "loadgen.commands.results",
        "loadgen.commands.showing_record",
        "loadgen.commands.showing_run",
        "loadgen.commands.showing_search",
        "loadgen.commands.tracing",
        "loadgen.diagnosis.field_trace",
        "loadgen.diagnosis.mse_check",
        "loadgen.diagnosis.text",
        "loadgen.diagnosis.wlc_check",
        "loadgen.report.html",
        "loadgen.report.junit",
        "loadgen.report.markdown",
        "loadgen.results.outcome",
        "loadgen.run.worker",
    )


@cache
def locust_worker() -> Prepared:
    """The same, for its command `locust-worker`: no other command needs what that one imports."""
    return Prepared("loadgen", "loadgen.cli.main", "loadgen.distributed.node.node", "loadgen.run.worker")


@cache
def locust() -> Prepared:
    """`python -m locust`. Its own `--processes` is such a fork, too. What makes a master of it, it imports itself."""
    return Prepared("locust", "locust.main", "loadgen.distributed.rows", "loadgen.report.html", "loadgen.report.live")


# -- in the prepared process -------------------------------------------------------------------------------------------


def _prepare() -> None:
    """Import, fork what is asked for, and be the program in each fork."""
    atexit.register(_leave)  # the first, so it is the last that is called
    requests = socket.socket(fileno=int(sys.argv[1]))
    requests.set_inheritable(False)
    selector = selectors.DefaultSelector()
    selector.register(requests, selectors.EVENT_READ)
    program, *modules = sys.argv[2:]
    sys.path[0] = str(_REPO)
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
    gc.disable()
    for module in modules:
        import_module(module)
    if "loadgen.run.worker" in modules:
        import_module("loadgen.run.forkserver").import_all()
    if "loadgen.report.html" in modules:
        _read_ahead()
    gc.freeze()
    ends: dict[int, tuple[int, int]] = {}
    while True:
        for key, _ in selector.select():
            if key.fileobj is not requests:
                selector.unregister(key.fd)
                pid, tell = ends.pop(key.fd)
                code = os.waitstatus_to_exitcode(_waitpid(pid, 0)[1])
                with suppress(OSError):  # nobody wants to know any more
                    os.write(tell, str(code).encode())
                _close(tell)
                _close(key.fd)
                continue
            request, descriptors, _, _ = socket.recv_fds(requests, _REQUEST_BYTES, 4)
            if not request:
                return
            became, becoming = os.pipe()
            pid = _fork()
            if pid == 0:
                selector.close()
                requests.close()
                for descriptor in (became, *ends, *(tell for _, tell in ends.values()), descriptors.pop()):
                    _close(descriptor)
                _become(_Request(*json.loads(request)), descriptors)
                _close(becoming)
                gc.enable()
                _run(program)
                return
            pidfd = os.pidfd_open(pid)
            _close(becoming)
            os.read(became, 1)  # a signal that is sent from now on reaches the program
            socket.send_fds(requests, [str(pid).encode()], [pidfd])
            ends[pidfd] = pid, descriptors.pop()
            selector.register(pidfd, selectors.EVENT_READ)
            for descriptor in (became, *descriptors):
                _close(descriptor)


_code: int | None = None


def _run(program: str) -> None:
    """What `python -m` does; its exit code is noted for `_leave`."""
    global _code
    try:
        run_module(program, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            _code = end.code or 0
        raise
    _code = 0


def _leave() -> None:
    """At the end of a run, when everything of it is done: to take apart all that was imported is most of what a short
    run costs, for then every page of it becomes its own. What did not end in order does it even so.
    """
    if _code is not None:
        with suppress(OSError, ValueError, AttributeError):  # Python says what it is, and has an exit code for it
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(_code & 0xFF)


def _read_ahead() -> None:
    """What every run makes of our own files and types, and keeps: the profile, what a scenario is, pages' templates and
    script, who we are.
    """
    import_module("loadgen.nmsp.profile").reference_profile()
    reading, plans = import_module("loadgen.scenario.reading"), import_module("loadgen.scenario.plan")
    plans.make_plan(*reading.load_scenario(_REPO / "scenarios" / "quick.toml", ()), use=plans.Use.BOTH)
    html = import_module("loadgen.report.html")
    templates = html.environment()
    for name in templates.list_templates(extensions=["j2"]):
        templates.get_template(name)
    html._library()
    import_module("loadgen.results.result").environment()


def _become(run: _Request, descriptors: Sequence[int]) -> None:
    """Be a process that was just started."""
    if "gevent" in sys.modules:
        sys.modules["gevent"].reinit()
    if run.new_session:
        os.setsid()
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN if number in run.ignored else signal.SIG_DFL)
    if signal.SIGINT not in run.ignored:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    for descriptor in set(descriptors):
        _close(descriptor)
    sys.stdout.reconfigure(line_buffering=os.isatty(1))
    sys.argv[1:] = run.arguments
    os.environ.clear()
    os.environ.update(run.environment)
    os.chdir(run.cwd)
    sys.path[0] = run.cwd


if __name__ == "__main__":
    _prepare()
