"""A Locust master of a few lines that says what a test wants said.

Written from Locust's protocol: it shares no code with our worker, and its msgpack is another implementation.
"""

from __future__ import annotations

import itertools
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgpack
import prepared
import zmq

from benchmarks.descendants import worker_pids

REPO = Path(__file__).parents[2]
# Only ever reached by a test that has failed: what is waited for is an event.
PATIENCE_S = 60.0


class Said(NamedTuple):
    """What a worker said."""

    kind: str
    data: Any
    node: str


class ScriptedMaster:
    """One ROUTER socket. Heartbeats of workers that were acknowledged are answered, unless `deaf`."""

    def __init__(self, port: int = 0) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        if port:
            self._socket.bind(f"tcp://127.0.0.1:{port}")
            self.port = port
        else:
            self.port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        self.heard: list[Said] = []
        self.deaf = False
        self._known: set[str] = set()
        self._stamps = itertools.count(time.time())

    def close(self) -> None:
        self._socket.close(0)
        self._context.term()

    def say(self, node: str, kind: str, data: Any = None) -> None:
        if kind == "ack":
            self._known.add(node)
        self._socket.send_multipart([node.encode(), msgpack.packb((kind, data, node))])

    def say_bytes(self, node: str, data: bytes) -> None:
        self._socket.send_multipart([node.encode(), data])

    def hear(self) -> Said:
        """The next thing that any worker says."""
        assert self._socket.poll(PATIENCE_S * 1000), "waited in vain for a worker to say something"
        identity, data = self._socket.recv_multipart()
        said = Said(*msgpack.unpackb(data, strict_map_key=False))
        assert identity.decode() == said.node
        self.heard.append(said)
        if said.kind == "heartbeat" and said.node in self._known and not self.deaf:
            self.say(said.node, "heartbeat")
        return said

    def until(self, *kinds: str, where: Callable[[Said], Any] = lambda _: True) -> Said:
        """Listen until somebody says that."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            said = self.hear()
            if said.kind in kinds and where(said):
                return said
        raise AssertionError(f"waited in vain for {kinds}; heard {[said.kind for said in self.heard[-20:]]}")

    def welcome(self, index: int = 0) -> str:
        """Wait for a worker that announces itself, and acknowledge it; returns its name."""
        said = self.until("client_ready")
        self.say(said.node, "ack", {"index": index})
        return said.node

    def spawn(self, node: str, orders: dict[str, Any] | None, **counts: int) -> None:
        options = {"host": None} if orders is None else {"host": None, "loadgen": orders}
        data = {
            "timestamp": float(next(self._stamps)),
            "user_classes_count": {"MseUser": 0, "WlcUser": 0, **counts},
            "host": None,
            "stop_timeout": 0.0,
            "parsed_options": options,
        }
        self.say(node, "spawn", data)


class WorkerProcess:
    """`loadgen locust-worker`, as somebody starts it."""

    def __init__(self, port: int, *options: str, stdin: int = subprocess.DEVNULL) -> None:
        self._stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115 - it is open as long as the process
        words = ["locust-worker", "--master-port", port, *options]
        self.process = prepared.locust_worker().start(words, cwd=REPO, stdin=stdin, stderr=self._stderr)

    def end(self) -> tuple[int, str]:
        """Wait for its end: exit code, and what it wrote to stderr."""
        code = self.process.wait(PATIENCE_S)
        self._stderr.seek(0)
        return code, self._stderr.read()

    def close(self) -> None:
        """Whatever is left of it goes."""
        self.process.kill()
        self.process.wait()
        self._stderr.close()
        if self.process.stdin is not None:
            self.process.stdin.close()

    def children(self) -> list[int]:
        """Pids of its engine processes."""
        return worker_pids(self.process.pid)


@contextmanager
def worker(port: int, *options: str, stdin: int = subprocess.DEVNULL) -> Iterator[WorkerProcess]:
    made = WorkerProcess(port, *options, stdin=stdin)
    try:
        yield made
    finally:
        made.close()


def alive(pid: int) -> bool:
    """It runs, and is not only waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
