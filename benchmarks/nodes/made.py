"""What a node says that nobody runs: a real one's intervals again and again, under its own name, at its own times."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import msgspec

from benchmarks.nodes.recording import USERS, Recording, Said
from loadgen.distributed.messages import INTERVAL_NS, KEY, NodeReport, Orders, WorkerInterval
from loadgen.measure.moments import MOMENT_NS
from loadgen.measure.recorder import Interval
from loadgen.results.health import WorkerHealth
from loadgen.units import NS_PER_S

# Counters of what happens once for each session; a node with more sessions than the recorded one has more of these.
_BY_SESSION = ("sessions.", "accept.", "aaa.", "verify.", "tls.")


class _Part(NamedTuple):
    """One interval of one process. Attributes: counted: in it alone; cpu_s: used in it."""

    interval: Interval
    counted: Counter[str]
    cpu_s: float


class Template:
    """A recording, cut into what is told of an interval.

    Attributes:
        ramp: by process, until all were there, as one interval.
        steady: by process; one interval after the other.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        first = min(part.interval.index for said in recording.steady for part in said.report.intervals) + 1
        end = max(part.interval.index for said in recording.steady for part in said.report.intervals)
        before: dict[str, WorkerInterval] = {}
        self.ramp: dict[str, _Part] = {}
        by_index: dict[int, dict[str, _Part]] = {}
        for said in (*recording.ramp, *recording.steady):
            for part in said.report.intervals:
                known = before.get(part.process)
                counted, cpu_s = Counter(part.interval.counters), part.cpu_s or 0.0
                if known is not None:
                    counted = Counter(
                        {name: now - known.interval.counters.get(name, 0) for name, now in counted.items()}
                    )
                    cpu_s -= known.cpu_s or 0.0
                before[part.process] = part
                if part.interval.index < first:
                    histograms = part.interval.histograms
                    if part.process in self.ramp:
                        counted.update(self.ramp[part.process].counted)
                        cpu_s += self.ramp[part.process].cpu_s
                        histograms = self.ramp[part.process].interval.histograms | histograms
                    interval = msgspec.structs.replace(part.interval, histograms=histograms)
                    self.ramp[part.process] = _Part(interval, counted, cpu_s)
                else:
                    by_index.setdefault(part.interval.index, {})[part.process] = _Part(part.interval, counted, cpu_s)
        self.steady = [by_index[index] for index in sorted(by_index) if index < end]


class MadeNode:
    """One node.

    Attributes:
        counters: of all its processes, as it has told them.
    """

    def __init__(self, template: Template, number: int, orders: Orders) -> None:
        """Args: number: as the master gave it."""
        self._template, self._number, self._orders = template, number, orders
        self._counted: dict[str, Counter[str]] = {}
        self._cpu_s: Counter[str] = Counter()
        self._load_unix_ns = self._hold_unix_ns = 0
        self._told = -1  # the last interval
        self._rows = number  # which are told next
        self.users = 0

    @property
    def counters(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for counted in self._counted.values():
            total.update(counted)
        return total

    def begin(self, users: int, now_unix_ns: int) -> None:
        """It has so many users now, and all of them are there."""
        self.users = users
        self._load_unix_ns = self._load_unix_ns or now_unix_ns

    def hold(self, now_unix_ns: int) -> None:
        """From now on it counts."""
        self._hold_unix_ns = self._hold_unix_ns or now_unix_ns

    def report(self, now_unix_ns: int, *, ending: bool = False) -> dict[str, Any]:
        """The stats message of all intervals that are over; of the one that goes on, too, at the end."""
        index = (now_unix_ns - self._orders.epoch_unix_ns) // INTERVAL_NS - (not ending)
        parts: list[WorkerInterval] = []
        for each in range(self._told + 1, index + 1):
            parts += self._interval(each)
        self._told = max(self._told, index)
        last = self._template.recording.last.report.ending
        assert last is not None
        end = msgspec.structs.replace(last, health=self._health(last.health), end_unix_ns=now_unix_ns)
        report = NodeReport(
            run=self._orders.run,
            intervals=tuple(parts),
            active=0 if ending else self.users * self._sessions_of_a_user,
            load_unix_ns=self._load_unix_ns,
            hold_unix_ns=self._hold_unix_ns,
            health=self._health(self._template.recording.steady[0].report.health),
            ending=end if ending else None,
            users=self.users,
            wanted=self.users,
        )
        data = self._locust_rows(now_unix_ns)
        data[KEY] = msgspec.msgpack.encode(report)
        return data

    @property
    def _sessions_of_a_user(self) -> int:
        return int(self._orders.scenario["mse"]["count"])

    def _interval(self, index: int) -> list[WorkerInterval]:
        """All processes' parts of an interval."""
        made = []
        ramping = not self._counted
        if not self._load_unix_ns:
            return []
        steady = self._template.steady
        # Another one than the next node tells.
        parts = self._template.ramp if ramping else steady[(index + 5 * self._number) % len(steady)]
        start = (self._orders.epoch_unix_ns + index * INTERVAL_NS) // MOMENT_NS
        for process, part in parts.items():
            name = f"{process.partition('-')[0]}-{self._number}"
            more = part.counted
            if ramping:
                scale = self.users * self._sessions_of_a_user / USERS
                more = Counter(
                    {what: round(n * scale) if what.startswith(_BY_SESSION) else n for what, n in more.items()}
                )
            self._counted.setdefault(name, Counter()).update(more)
            self._cpu_s[name] += part.cpu_s
            moments = {}
            for what, counts in part.interval.moments.items():
                first = min(counts)
                moments[what] = {start + at - first: count for at, count in counts.items()}
            interval = msgspec.structs.replace(
                part.interval, index=index, counters=dict(self._counted[name]), moments=moments
            )
            made.append(WorkerInterval(name, interval, self._cpu_s[name]))
        return made

    def _health(self, recorded: tuple[WorkerHealth, ...]) -> tuple[WorkerHealth, ...]:
        return tuple(
            msgspec.structs.replace(each, worker=f"{each.worker.partition('-')[0]}-{self._number}") for each in recorded
        )

    def _locust_rows(self, now_unix_ns: int) -> dict[str, Any]:
        """As a node has them of the same figures."""
        recording = self._template.recording
        said: Said = recording.steady[self._rows % len(recording.steady)]
        self._rows += 1
        data = dict(said.rows)
        rows = [*data["stats"], data["stats_total"]]
        then = max((row["last_request_timestamp"] or 0 for row in rows), default=0)
        later = round(now_unix_ns / NS_PER_S - then)
        moved = []
        for row in rows:
            seconds = {name: {at + later: n for at, n in row[name].items()} for name in _PER_SECOND}
            when: dict[str, float] = {
                "last_request_timestamp": (row["last_request_timestamp"] or 0) + later,
                "start_time": self._orders.epoch_unix_ns / NS_PER_S,
            }
            moved.append(row | seconds | when)
        *data["stats"], data["stats_total"] = moved
        here = {"WlcUser": self.users, "MseUser": 0}
        return data | {"user_classes_count": here, "user_count": self.users}


_PER_SECOND = ("num_reqs_per_sec", "num_fail_per_sec")
