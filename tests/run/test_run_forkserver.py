"""Workers are forked, told apart, waited for and ended, and hold nothing of each other's."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import pytest
import trio
from test_run_silence import source

from benchmarks.descendants import worker_pids
from loadgen.errors import InputError, Problem
from loadgen.prepare.job import make_job
from loadgen.run.forkserver import Forked, ForkServer, fork_server
from loadgen.run.supervisor import Supervisor


@contextmanager
def forked(server: ForkServer, *names: str) -> Iterator[tuple[list[Forked], IO[bytes]]]:
    made: list[Forked] = []
    with tempfile.TemporaryFile() as errors:
        try:
            made.extend(server.fork(name, errors.fileno()) for name in names)
            yield made, errors
        finally:
            for process in made:
                process.kill()


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text("utf-8").strip()


def _pipes(pid: int) -> set[str]:
    links = (str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir() if each.is_symlink())
    return {link for link in links if link.startswith("pipe:")}


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[1])


def _end(pid: int) -> None:
    """A child of ours."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


async def _ended(process: Forked) -> int:
    with trio.fail_after(60):
        return await process.wait()


async def _close(process: Forked) -> None:
    await process.stdin.aclose()
    await process.stdout.aclose()


def test_a_worker_that_is_told_nothing_more_ends_by_itself() -> None:
    async def main() -> tuple[int, int]:
        with forked(fork_server(), "wlc-7") as ([process], _):
            await process.stdin.aclose()
            return await _ended(process), await _ended(process)  # whoever asks again hears the same

    assert trio.run(main) == (0, 0)


def test_workers_are_known_by_name_and_lead_groups_of_their_own() -> None:
    async def main() -> None:
        before = worker_pids(os.getpid())
        with forked(fork_server(), "wlc-3", "mse-12") as (made, _):
            pids = [process.pid for process in made]
            assert [pid for pid in worker_pids(os.getpid()) if pid not in before] == pids
            assert [_name(pid) for pid in pids] == ["loadgen wlc-3", "loadgen mse-12"]
            assert [os.getpgid(pid) for pid in pids] == pids
            for process in made:
                await _close(process)
                assert await _ended(process) == 0

    trio.run(main)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_ended_one_is_told_and_the_other_is_not_touched(number: signal.Signals) -> None:
    async def main() -> None:
        with forked(fork_server(), "a", "b") as ([first, second], _):
            os.kill(first.pid, number)
            assert await _ended(first) == -number == first.returncode
            first.kill()  # it has gone, and its number may be somebody else's
            assert second.returncode is None
            await _close(second)
            assert await _ended(second) == 0

    trio.run(main)


def test_a_worker_holds_nothing_of_the_others() -> None:
    """Neither end of their pipes: the first ends when we close its stdin, and the fork server's end is seen."""

    async def main() -> None:
        inherited = _pipes(os.getpid())
        with forked(fork_server(), "a", "b", "c") as ([first, second, third], _):
            pipes = [_pipes(process.pid) - inherited for process in (first, second, third)]
            assert [len(each) for each in pipes] == [2, 2, 2]
            assert len(set.union(*pipes)) == 6
            await _close(first)
            assert await _ended(first) == 0

    trio.run(main)


def test_a_worker_may_have_as_many_descriptors_as_we_may_now() -> None:
    """The limit was raised when the fork server was there already."""

    async def main() -> tuple[int, int]:
        with forked(fork_server(), "a") as ([process], _):
            return resource.prlimit(process.pid, resource.RLIMIT_NOFILE)

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
    try:
        assert trio.run(main) == (soft - 1, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_worker_that_fails_says_why_on_stderr() -> None:
    """A length that is none of ours."""

    async def main() -> bytes:
        with forked(fork_server(), "a") as ([process], errors):
            await process.stdin.send_all(b"\xff\xff\xff\xff")
            assert await _ended(process) == 1
            errors.seek(0)
            return errors.read()

    assert b"AssertionError: our own processes do not send that much" in trio.run(main)


def test_without_its_server_a_worker_can_be_ended_and_no_other_started() -> None:
    server = ForkServer()

    async def main() -> None:
        with forked(server, "a") as ([process], errors):
            _end(_parent(process.pid))
            with pytest.raises(ConnectionError):
                server.fork("b", errors.fileno())
            process.kill()
            assert await _ended(process) == 255

    trio.run(main)
    server.close()


def test_inside_of_trio_none_is_started() -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="before trio runs"):
            ForkServer()

    trio.run(main)


def test_a_run_without_processes_says_so_and_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Exhausted:
        def fork(self, name: str, errors: int) -> Forked:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr("loadgen.run.fleet.fork_server", Exhausted)
    job = make_job(source(1), datetime.now(UTC))
    supervisor = Supervisor(job.plan, job.profile.document, job.keys, 1, lambda _: None, lambda _: None)
    with pytest.raises(InputError) as caught:
        trio.run(supervisor.run)
    problem = Problem("worker wlc-0", "a process for it", "resource temporarily unavailable")
    assert caught.value.problems == (problem,)


_IMPORTS = """
import sys
from loadgen.run.forkserver import import_all
import_all()
import numpy as np
from loadgen.measure.waits import Waits
before = set(sys.modules)
{use}
print(*sorted(set(sys.modules) - before))
"""


@pytest.mark.parametrize(
    "use",
    [
        "due = np.array([1, 1 << 29]); Waits(0).add(due, due, 1, 1 << 29)",
        "np.random.default_rng(1).integers(0, 9, 4)",
    ],
    ids=("waits", "stations"),
)
def test_a_worker_imports_nothing_in_the_middle_of_its_load(use: str) -> None:
    """numpy imports some of itself where it is first used, which would be 50 ms late."""
    found = subprocess.run([sys.executable, "-c", _IMPORTS.format(use=use)], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


_INTERRUPTED = """
import os, signal, sys
from loadgen.run import signals
from loadgen.run.forkserver import ForkServer

signals.interrupt()
os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), signal.SIGINT))
try:
    ForkServer()
except KeyboardInterrupt:
    sys.exit(7)
"""


def test_a_signal_that_comes_while_we_fork_is_not_lost() -> None:
    """Where libraries have hooks (logging has), an exception in one is told of on stderr and forgotten."""
    ended = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED], capture_output=True, text=True, check=False, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (7, "")
