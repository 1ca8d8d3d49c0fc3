"""`python -m benchmarks.nodes.hour RECORDING NODES INTERVALS [EVERY]`: a master's work, without waiting.

Nothing of it is left out: Locust's envelope and rows, histograms merged, the interval log, result.json, what a browser
that shows our page asks for (with EVERY: in each so many-eth interval only). Only ZeroMQ, heartbeats and HTTP are not
there. Prints JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from locust.rpc.protocol import Message
from locust.stats import RequestStats, StatsEntry

from benchmarks.nodes.made import MadeNode, Template
from benchmarks.nodes.recording import USERS, Recording
from benchmarks.processes import SCENARIOS
from loadgen.distributed.arguments import choose
from loadgen.distributed.master.tables import Account, Books, install
from loadgen.distributed.master.whole import WholeRun
from loadgen.distributed.messages import INTERVAL_NS, KEY
from loadgen.distributed.rows import row_rates
from loadgen.measure.intervals import WholeInterval
from loadgen.report.folder import ResultFolder
from loadgen.report.live import Moment, RunPhase, live_view
from loadgen.results.document import as_json
from loadgen.results.result import RunResult
from loadgen.units import NS_PER_S

INTERVAL_S = INTERVAL_NS / NS_PER_S
_EPOCH_NS = 1_796_000_000 * NS_PER_S
_SETTLED = 3  # intervals until all is there
# What is asked of the master by the second, in an interval: how it stands, and our page every other time.
_LOOKS = 3
_PER_S = 3000.0


class _Master:
    """What a master does of one run. Attributes: cpu_s: by what it was for."""

    def __init__(self, recording: Recording, nodes: int, folder: Path) -> None:
        self.cpu_s: Counter[str] = Counter()
        self.now_ns = _EPOCH_NS
        users = USERS * nodes
        options = {"scenario": str(SCENARIOS / "nodes.toml"), "notify_rate": str(_PER_S * nodes / users)}
        chosen = choose(options, Path())
        self._folder = ResultFolder(folder, datetime.fromtimestamp(_EPOCH_NS / NS_PER_S, UTC), "nodes", "made")
        self._folder.create()
        self._log = self._folder.log("histograms.hlog", _EPOCH_NS / NS_PER_S)
        orders = chosen.orders("made", _EPOCH_NS, users, nodes)
        self._whole = WholeRun(orders.run, chosen.plan(users), (), _EPOCH_NS)
        self._whole.on_whole = self._write
        self._stats = RequestStats()
        self._account = Account()
        install(self._stats, Books(lambda: self._account, lambda: self.now_ns / NS_PER_S))
        template = Template(recording)
        self._nodes = [MadeNode(template, number, orders) for number in range(nodes)]
        for number, node in enumerate(self._nodes):
            self._whole.enlist(f"made-{number}", number)
            node.begin(USERS, _EPOCH_NS + NS_PER_S)

    def interval(self, index: int) -> None:
        """All nodes report one, and it is merged."""
        if index == 1:
            for node in self._nodes:
                node.hold(_EPOCH_NS + INTERVAL_NS + NS_PER_S)
        self.now_ns = _EPOCH_NS + (index + 1) * INTERVAL_NS + NS_PER_S // 2
        for number, node in enumerate(self._nodes):
            said = Message("stats", node.report(self.now_ns), f"made-{number}").serialize()
            with self._for("envelope"):
                data: dict[str, Any] = Message.unserialize(said).data
            with self._for("rows"):
                self._take_rows(data)
            with self._for("merging"):
                self._whole.take_untrusted(f"made-{number}", number, data[KEY], self.now_ns, settled=True)

    def look(self, index: int) -> None:
        """What the master writes and shows in an interval."""
        with self._for("result.json"):
            self._folder.write_made("result.json", lambda: as_json(self._whole.unfinished(self.now_ns)))
        for look in range(_LOOKS):
            with self._for("rates"):
                result = self._whole.live(self.now_ns)
                self._account = Account(row_rates(result), self._whole.until_unix_ns(self.now_ns) / NS_PER_S)
            if (index * _LOOKS + look) % 2:
                with self._for("page"):
                    self._page(result)

    def _take_rows(self, data: dict[str, Any]) -> None:
        """As Locust does."""
        for row in data["stats"]:
            entry = StatsEntry.unserialize(row, self._stats)
            self._stats.entries[entry.name, entry.method].extend(entry)
        self._stats.total.extend(StatsEntry.unserialize(data["stats_total"], self._stats))

    def _page(self, result: RunResult) -> None:
        msgspec.json.encode(live_view("1", Moment(RunPhase.RUNNING), result, self._whole.histograms()))

    def _write(self, whole: WholeInterval) -> None:
        self._log.append(whole.lines(INTERVAL_S))

    @contextmanager
    def _for(self, what: str) -> Iterator[None]:
        begun = time.process_time()
        yield
        self.cpu_s[what] += time.process_time() - begun

    def log_bytes(self) -> int:
        return (self._folder.path / "histograms.hlog").stat().st_size

    def result_bytes(self) -> int:
        return (self._folder.path / "result.json").stat().st_size


def measure(recording: Recording, nodes: int, intervals: int, every: int, folder: Path) -> dict[str, float]:
    """Figures of so many intervals. Args: every: as many for one in which somebody looks."""
    master = _Master(recording, nodes, folder)
    memory = []
    settled_bytes = 0
    for index in range(intervals + _SETTLED):
        if index == _SETTLED:
            master.cpu_s.clear()
            settled_bytes = master.log_bytes()
        master.interval(index)
        if index % every == 0:
            master.look(index)
        memory.append(_rss_bytes())
    memory = memory[_SETTLED:]
    quarter = max(1, intervals // 4)
    cpu = {f"cpu {name}, ms": 1e3 * spent / intervals for name, spent in master.cpu_s.items()}
    return cpu | {
        "cores": sum(master.cpu_s.values()) / intervals / INTERVAL_S,
        "log_bytes_per_h": (master.log_bytes() - settled_bytes) / intervals * 3600 / INTERVAL_S,
        "result_bytes": master.result_bytes(),
        "rss_bytes": memory[-1],
        **{
            f"rss_quarter_{number + 1}_bytes": sum(memory[number * quarter :][:quarter]) / quarter
            for number in range(4)
        },
    }


def _rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * resource.getpagesize()


def main(recording: str, nodes: str, intervals: str, every: str = "1") -> None:
    found = msgspec.msgpack.decode(Path(recording).read_bytes(), type=Recording)
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(json.dumps(measure(found, int(nodes), int(intervals), int(every), Path(folder))))


if __name__ == "__main__":
    main(*sys.argv[1:])
