"""A Locust worker with nothing behind it: it speaks the protocol by pyzmq and msgpack, and reports what a test says."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import msgpack
import zmq

PATIENCE_S = 60.0  # only reached by a test that has failed
_POLL_MS = 50
_BEAT_S = 0.5


class FakeWorker:
    """One worker, in a thread of its own.

    Attributes:
        received: messages from the master, in order, but for heartbeats.
        users: by class, as the last spawn message has them.
    """

    def __init__(self, port: int, client: str, ending: Callable[[], bytes] | None = None, *, dies_of: str = "") -> None:
        """Args:
        ending: makes the last report, when the master says that the load is over.
        dies_of: after a message of this kind it says nothing any more.
        """
        self._dies_of = dies_of
        self.client = client
        self.received: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.users: dict[str, int] = {}
        self._port = port
        self._ending = ending
        self._state = "ready"
        self._outgoing: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._vanish = threading.Event()
        self._thread = threading.Thread(target=self._run, name=client)

    def __enter__(self) -> FakeWorker:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.vanish()

    def vanish(self) -> None:
        """Say nothing any more after what was to be said, not even goodbye."""
        self._vanish.set()
        self._thread.join(PATIENCE_S)

    def say(self, kind: str, data: object) -> None:
        self._outgoing.put((kind, data))

    def report(self, report: object = None) -> None:
        """Locust's figures (none), and ours."""
        total = {"name": "Aggregated", "method": "", "last_request_timestamp": None, "start_time": 1.0}
        total |= dict.fromkeys(("num_requests", "num_none_requests", "num_failures", "total_response_time"), 0)
        total |= {"max_response_time": 0, "min_response_time": None, "total_content_length": 0, "response_times": {}}
        total |= {"num_reqs_per_sec": {}, "num_fail_per_sec": {}}
        data = {"stats": [], "stats_total": total, "errors": {}, "user_classes_count": self.users}
        data["user_count"] = sum(self.users.values())
        self.say("stats", data if report is None else {**data, "loadgen": report})

    def wait(self, kind: str) -> Any:
        """What the next message of this kind says."""
        while True:
            found, data = self.received.get(timeout=PATIENCE_S)
            if found == kind:
                return data

    def _run(self) -> None:
        with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
            socket.setsockopt(zmq.IDENTITY, self.client.encode())
            socket.setsockopt(zmq.LINGER, 2000)
            socket.connect(f"tcp://127.0.0.1:{self._port}")
            self._talk(socket)

    def _talk(self, socket: zmq.Socket[bytes]) -> None:
        beat_at = 0.0

        def send(kind: str, data: object) -> None:
            socket.send(msgpack.dumps((kind, data, self.client)))

        send("client_ready", "2.47.0")
        while not self._vanish.is_set():
            while not self._outgoing.empty():
                send(*self._outgoing.get())
            if time.monotonic() >= beat_at:
                beat_at = time.monotonic() + _BEAT_S
                send("heartbeat", {"state": self._state, "current_cpu_usage": 1.0, "current_memory_usage": 1})
            if socket.poll(_POLL_MS):
                kind, data, _ = msgpack.loads(socket.recv(), raw=False, strict_map_key=False)
                self._obey(kind, data, send)
        while not self._outgoing.empty():
            send(*self._outgoing.get())

    def _obey(self, kind: str, data: Any, send: Callable[[str, object], None]) -> None:
        if kind == self._dies_of:
            self._vanish.set()
            return
        if kind == "heartbeat":
            return
        if kind == "spawn":
            self.users = data["user_classes_count"]
            self._state = "running"
            send("spawning", None)
            counts = {"user_classes_count": self.users, "user_count": sum(self.users.values())}
            send("spawning_complete", counts)
        elif kind == "loadgen_finish" and self._ending is not None:
            self.report(self._ending())
        elif kind == "stop":
            self.users, self._state = {}, "ready"
            send("client_stopped", None)
            send("client_ready", "2.47.0")
        elif kind == "quit":
            send("quit", None)
        self.received.put((kind, data))
