"""Locust's master in a process of its own, as people start it; gevent must not come into the tests' process."""

from __future__ import annotations

import json
import os
import queue
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import prepared
from ports import free_port

LOCUST = (sys.executable, "-m", "locust")
REPO = Path(__file__).parents[2]
LOCUSTFILE = REPO / "scenarios" / "locustfile.py"
PATIENCE_S = 60.0  # only reached by a test that has failed
_POLL_S = 0.02


def locust(*options: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """`locust -f scenarios/locustfile.py ...`, to its end."""
    return prepared.locust().run(["-f", LOCUSTFILE, *options], PATIENCE_S, cwd=REPO, env={**os.environ, **(env or {})})


def is_keeper(pid: int) -> bool:
    """It sees to it that the others do not outlive a process that is killed, and goes with them."""
    try:
        return b"run/keeper.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


class Master:
    """A master that runs.

    Attributes:
        lines: everything it said so far.
    """

    def __init__(
        self, results: Path, *options: str, headless: bool = False, port: int | None = None, command: Sequence[str] = ()
    ) -> None:
        """Args:
        port: for workers; a free one if None.
        command: how it is started; prepared if empty.
        """
        self._command = command
        self.port, self.web_port = port or free_port(), free_port()
        self.results = results
        self.lines: list[str] = []
        web = ["--headless"] if headless else ["--web-host", "127.0.0.1", "--web-port", str(self.web_port)]
        self._words = ["-f", str(LOCUSTFILE), *web, *options]
        self._words += ["--master-bind-host", "127.0.0.1", "--master-bind-port", str(self.port)]
        self._words += ["--results", str(results)]
        self._news: queue.Queue[str | None] = queue.Queue()

    def __enter__(self) -> Master:
        pipe, same = subprocess.PIPE, subprocess.STDOUT
        self.process: prepared.Process | subprocess.Popen[str]
        if self._command:
            self.process = subprocess.Popen(
                [*self._command, *self._words],
                stdin=subprocess.DEVNULL,
                stdout=pipe,
                stderr=same,
                text=True,
                cwd=REPO,
            )
        else:
            self.process = prepared.locust().start(self._words, stdout=pipe, stderr=same, cwd=REPO)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        if error is not None:
            print("".join(self.lines))  # noqa: T201 - pytest shows it with the failure

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            self._news.put(line)
        self._news.put(None)

    def hear(self, words: str) -> str:
        """The next line with these words in it."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            line = self._news.get(timeout=max(0.1, deadline - time.monotonic()))
            assert line is not None, f"ended without {words!r}:\n{''.join(self.lines)}"
            if words in line:
                return line

    def serving(self) -> None:
        """Until the web UI takes connections. Locust says nothing when it does, so there is nothing to wait for."""
        self.hear("Starting web interface")
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.web_port), timeout=PATIENCE_S).close()
            except ConnectionRefusedError:
                assert self.process.poll() is None
                assert time.monotonic() < deadline
            else:
                return

    def joined(self, count: int) -> None:
        """Until so many workers are there."""
        deadline = time.monotonic() + PATIENCE_S
        while json.loads(self.get("/worker-count"))["worker_count"] < count:
            assert time.monotonic() < deadline
            time.sleep(_POLL_S)

    def end(self, sign: signal.Signals = signal.SIGTERM) -> int:
        """Tell it to end; returns its exit code."""
        self.process.send_signal(sign)
        return self.process.wait(PATIENCE_S)

    def children(self) -> list[int]:
        """Pids of its workers."""
        pid = self.process.pid
        children = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split())
        return [child for child in children if not is_keeper(child)]

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.url(path), timeout=PATIENCE_S) as answer:  # noqa: S310 - our own server
            return str(answer.read().decode())

    def status(self, path: str) -> int:
        try:
            self.get(path)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        return 200

    def post(self, path: str, **form: object) -> dict[str, Any]:
        data = urllib.parse.urlencode(form).encode()
        with urllib.request.urlopen(self.url(path), data, timeout=PATIENCE_S) as answer:  # noqa: S310
            found = answer.read().decode()
        return json.loads(found) if found.startswith("{") else {"text": found}

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.web_port}{path}"

    def folder(self) -> Path:
        """The only result folder."""
        (found,) = self.results.iterdir()
        return found


def wait_gone(pids: list[int]) -> None:
    """Until none of these processes, which are not ours, is there."""
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            assert select.select([handle], [], [], PATIENCE_S)[0], f"process {pid} does not end"
        finally:
            os.close(handle)
