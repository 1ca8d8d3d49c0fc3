"""`python -m benchmarks.nodes.simulated RECORDING PORT NODES`: so many nodes in one process, each with its connection.

They say what a node says, when a node says it. Ends when the master has said quit to all; prints JSON.
"""

from __future__ import annotations

import heapq
import json
import random
import statistics
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import zmq

from benchmarks.nodes.made import MadeNode, Template
from benchmarks.nodes.recording import Recording
from loadgen.distributed.messages import FINISH, INTERVAL_NS, KEY, LOCUST_VERSION, Orders
from loadgen.units import NS_PER_S

_BEAT_S = 1.0
_REPORT_S = INTERVAL_NS / NS_PER_S
_MOST_S = 7200.0


class _Node:
    """One of them: what it was told, and what it says."""

    def __init__(self, fleet: Fleet, name: str) -> None:
        self.fleet, self.name = fleet, name
        self.socket = fleet.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.IDENTITY, name.encode())
        self.socket.connect(fleet.address)
        self.number = -1
        self.state = "ready"
        self.made: MadeNode | None = None
        self.quit = False
        self._beats: list[float] = []
        self.say("client_ready", LOCUST_VERSION)

    def say(self, kind: str, data: object) -> None:
        message = msgspec.msgpack.encode((kind, data, self.name))
        self.fleet.octets[kind] += len(message)
        self.fleet.messages[kind] += 1
        self.socket.send(message)

    def beat(self) -> None:
        self._beats.append(time.monotonic())
        self.say("heartbeat", self.fleet.template.recording.beat | {"state": self.state})

    def report(self) -> None:
        if self.made is not None:
            self.say("stats", self.made.report(time.time_ns()))

    def hear(self) -> None:
        kind, data, _ = msgspec.msgpack.decode(self.socket.recv())
        now_ns = time.time_ns()
        if kind == "ack":
            self.number = data["index"]
        elif kind == "heartbeat" and self._beats:
            self.fleet.answered.append((time.monotonic(), time.monotonic() - self._beats.pop(0)))
        elif kind == "spawn":
            orders = msgspec.convert(data["parsed_options"][KEY], Orders)
            self.made = self.made or MadeNode(self.fleet.template, self.number, orders)
            self.made.begin(data["user_classes_count"]["WlcUser"], now_ns)
            self.state = "spawning"
            self.say("spawning", None)
            self.state = "running"
            here = {"WlcUser": self.made.users, "MseUser": 0}
            self.say("spawning_complete", {"user_classes_count": here, "user_count": self.made.users})
        elif kind == "spawning_complete" and self.made is not None:
            self.made.hold(now_ns)
        elif kind == FINISH and self.made is not None:
            self.say("stats", self.made.report(now_ns, ending=True))
            self.fleet.counted.update(self.made.counters)
            self.made, self.state = None, "ready"
        elif kind == "stop":
            self.say("client_stopped", None)
        elif kind == "quit":
            self.quit = True


class Fleet:
    """All of them.

    Attributes:
        octets, messages: that were sent, by kind.
        answered: heartbeats: when the answer came, and after how long.
        counted: what all have told, over the run.
    """

    def __init__(self, template: Template, port: int, count: int) -> None:
        self.template, self.address = template, f"tcp://127.0.0.1:{port}"
        self.context = zmq.Context()
        self.octets: Counter[str] = Counter()
        self.messages: Counter[str] = Counter()
        self.answered: list[tuple[float, float]] = []
        self.counted: Counter[str] = Counter()
        self._count = count

    def run(self) -> None:
        """Until the master has said quit to all."""
        phases = random.Random(1)
        poller = zmq.Poller()
        nodes: dict[Any, _Node] = {}
        due: list[tuple[float, int, int]] = []  # when, which node, 0: a heartbeat, 1: a report
        by_number: list[_Node] = []
        now = time.monotonic()
        for number in range(self._count):
            node = _Node(self, f"made-{number}")
            nodes[node.socket] = node
            by_number.append(node)
            poller.register(node.socket, zmq.POLLIN)
            # Nodes are started whenever somebody starts them: their reports and heartbeats come in no order.
            due += [(now + phases.random() * every, number, kind) for kind, every in enumerate((_BEAT_S, _REPORT_S))]
        heapq.heapify(due)
        end = now + _MOST_S
        while not all(node.quit for node in by_number) and time.monotonic() < end:
            wait_s = max(0.0, due[0][0] - time.monotonic())
            for socket, _ in poller.poll(int(wait_s * 1000)):
                nodes[socket].hear()
            now = time.monotonic()
            while due[0][0] <= now:
                at, number, kind = due[0]
                (by_number[number].report if kind else by_number[number].beat)()
                heapq.heapreplace(due, (at + (_REPORT_S if kind else _BEAT_S), number, kind))
        for node in by_number:
            node.socket.close(0)
        self.context.term()


def main(recording: str, port: str, count: str) -> None:
    template = Template(msgspec.msgpack.decode(Path(recording).read_bytes(), type=Recording))
    fleet = Fleet(template, int(port), int(count))
    fleet.run()
    waits = [wait for _, wait in fleet.answered]
    found = {
        "octets": fleet.octets,
        "messages": fleet.messages,
        "counters": fleet.counted,
        "answered": len(waits),
        "beat_p50_s": statistics.median(waits),
        "beat_p99_s": statistics.quantiles(waits, n=100)[98],
        "beat_max_s": max(waits),
    }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
