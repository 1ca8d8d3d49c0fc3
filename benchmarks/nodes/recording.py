"""`python -m benchmarks.nodes.recording FILE`: what one real node tells its master, as the master hears it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import zmq

from benchmarks.processes import SCENARIOS, Failed
from loadgen.distributed.arguments import choose
from loadgen.distributed.messages import FINISH, KEY, NodeReport

# Of one node; a hundred times as many sessions would not make its messages larger: histograms and counters add up.
USERS = 300
STEADY = 12  # reports while everybody is there
_PATIENCE_MS = 120_000


class Said(NamedTuple):
    """One stats message. Attributes: rows: Locust's part of it."""

    rows: dict[str, Any]
    report: NodeReport


class Recording(msgspec.Struct):
    """What a node said in one run, in order.

    Attributes:
        epoch_unix_ns: of the run.
        steady: its reports once all users were there; the one before is the last of `ramp`.
        last: with the ending.
    """

    epoch_unix_ns: int
    ramp: list[Said]
    steady: list[Said]
    last: Said
    beat: dict[str, Any]


def record() -> Recording:
    """Lead one `loadgen locust-worker` as a Locust master does.

    Raises:
        Failed: it does not say what it should.
    """
    context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    command = [sys.executable, "-m", "loadgen", "locust-worker", "--master-port", str(port)]
    node = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        return _Leading(router).run()
    finally:
        router.close(1000)
        context.term()
        try:
            node.wait(20)
        except subprocess.TimeoutExpired:
            node.kill()
            node.wait()


class _Leading:
    """A master of one node, for one run."""

    def __init__(self, router: zmq.Socket[bytes]) -> None:
        self._router = router
        self._node = b""
        self._beat: dict[str, Any] = {}
        self._chosen = choose({"scenario": str(SCENARIOS / "nodes.toml")}, Path())

    def run(self) -> Recording:
        self._hear("client_ready")
        self._say("ack", {"index": 0})
        epoch_unix_ns = time.time_ns()
        orders = self._chosen.orders("recorded", epoch_unix_ns, USERS, 1)
        spawn = {"timestamp": time.time(), "user_classes_count": {"WlcUser": USERS}}
        self._say("spawn", spawn | {"parsed_options": {KEY: msgspec.to_builtins(orders)}})
        ramp = self._reports("spawning_complete")
        self._say("spawning_complete", None)
        ramp.append(self._report())  # the stage that counts begins in it
        steady = [self._report() for _ in range(STEADY)]
        self._say(FINISH, {"run": "recorded"})
        last = self._report()
        while last.report.ending is None:
            last = self._report()
        self._say("quit", None)
        return Recording(epoch_unix_ns, ramp, steady, last, self._beat)

    def _reports(self, until: str) -> list[Said]:
        found: list[Said] = []
        while True:
            kind, data = self._next()
            if kind == until:
                return found
            if kind == "stats" and KEY in data:
                found.append(_said(data))

    def _report(self) -> Said:
        while True:
            data = self._hear("stats")
            if KEY in data:
                return _said(data)

    def _hear(self, wanted: str) -> Any:
        while True:
            kind, data = self._next()
            if kind == wanted:
                return data

    def _next(self) -> tuple[str, Any]:
        if not self._router.poll(_PATIENCE_MS):
            raise Failed("the node that is recorded says nothing any more")
        self._node, message = self._router.recv_multipart()
        kind, data, _ = msgspec.msgpack.decode(message)
        if kind == "heartbeat":
            self._beat = data
            self._say("heartbeat", None)
        if kind == "exception":
            raise Failed(f"the node that is recorded: {data['msg']}")
        return kind, data

    def _say(self, kind: str, data: object) -> None:
        self._router.send_multipart([self._node, msgspec.msgpack.encode((kind, data, self._node.decode()))])


def _said(data: dict[str, Any]) -> Said:
    report = msgspec.msgpack.decode(data.pop(KEY), type=NodeReport)
    return Said(data, report)


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(msgspec.msgpack.encode(record()))
