"""A run over time: a row for each interval, from what workers report as it goes on."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Protocol

from loadgen.measure.books import once
from loadgen.measure.histogram import Histogram
from loadgen.measure.intervals import WholeInterval
from loadgen.measure.stages import stage_of
from loadgen.results.cores import Cores
from loadgen.results.result import Timeline
from loadgen.units import NS_PER_S

# Counters whose pace is worth a line over time.
_PACED = (
    "sessions.established",
    "sessions.lost",
    "handshakes.due",
    "handshakes.completed",
    "handshakes.failed",
    "notify.due",
    "notify.sent",
    "notify.received",
    "notify.dropped",
    "notify.lost",
    "requests.due",
    "requests.sent",
    "requests.answered",
    "requests.retransmitted",
)
# A last interval that is next to nothing would show next to any rate.
_LEAST_S = 0.1
# Metrics whose percentiles are.
_METRICS = ("notify.latency", "notify.service", "notify.lag", "generator.lag", "handshake.tls", "handshake.latency")


def shown_of(histogram: Histogram) -> dict[str, int]:
    """What is shown of one interval, by statistic: "p50", "p99" and "max", without those that have too few samples."""
    p50, p99 = histogram.percentiles(50.0, 99.0)
    values = {"p50": p50, "p99": p99, "max": histogram.max_ns}
    return {statistic: value for statistic, value in values.items() if value is not None}


# A run of `loadgen run` has half as many intervals, so its rows are its intervals.
MOST_ROWS = 1200


class Builds(Protocol):
    """Whatever makes a timeline."""

    def build(self, load_start_ns: int | None) -> Timeline:
        """Args: load_start_ns: since interval 0; None if there was no load."""


class _Row:
    """One or more intervals in a row.

    Attributes:
        totals: paced counters over all workers, from the start of the run to the end of the row.
        encoded: by metric, so that more can be added, exactly.
        figures: by metric, see `shown_of`.
    """

    __slots__ = ("active", "encoded", "figures", "totals")

    def __init__(self, totals: Mapping[str, int]) -> None:
        self.totals = Counter(totals)
        self.active: int | None = None
        self.encoded: dict[str, bytes] = {}
        self.figures: dict[str, dict[str, int]] = {}

    def add(self, metric: str, parts: Sequence[Histogram], encoded: bytes = b"") -> None:
        """More of a metric. Args: encoded: all of it, where somebody has it."""
        if (known := self.encoded.get(metric)) is None and len(parts) == 1:
            histogram = parts[0]
        else:
            histogram, encoded = Histogram(), b""
            for part in parts:
                histogram.add(part)
            if known is not None:
                histogram.merge(known)
        self.figures[metric] = shown_of(histogram)
        self.encoded[metric] = encoded or histogram.encode()

    def absorb(self, later: _Row) -> None:
        """Go on until the end of another row."""
        self.totals = later.totals
        self.active = self.active if later.active is None else later.active
        for metric, encoded in later.encoded.items():
            histogram = Histogram()
            histogram.merge(encoded)
            self.add(metric, [histogram], encoded)


class TimelineBuilder:
    """Takes intervals as they come. However long a run is, it has so many rows at most: when there are more, two become
    one each, with the percentiles of both together.
    """

    def __init__(self, interval_ns: int, most_rows: int = 0) -> None:
        """Args: most_rows: `MOST_ROWS` if 0. A row keeps its histograms, of hundreds of workers some 40 kB."""
        self._most_rows = most_rows or MOST_ROWS
        self._interval_ns = interval_ns
        self._rows: list[_Row] = []
        self._width = 1  # intervals in a row
        self._latest: dict[str, dict[str, int]] = {}
        self._end_ns = 0
        self._cores = Cores(interval_ns / NS_PER_S)

    def add(self, whole: WholeInterval, now_ns: int) -> None:
        """One interval, or more of one. Args: now_ns: since the beginning of interval 0."""
        # The last one is hardly ever whole.
        self._end_ns = max(self._end_ns, min((whole.index + 1) * self._interval_ns, now_ns))
        while whole.index // self._width >= self._most_rows:
            self._halve()
        number = whole.index // self._width
        while len(self._rows) <= number:  # nobody may have told of those before
            self._rows.append(_Row(self._rows[-1].totals if self._rows else {}))
        self._count(whole.counters, number)
        row = self._rows[number]
        self._cores.note(number, whole.index, whole.cpu_s)
        if whole.active is not None:
            row.active = whole.active
        by_metric: defaultdict[str, list[str]] = defaultdict(list)
        for tag in whole.parts:
            by_metric[stage_of(tag)[1]].append(tag)
        for metric in _METRICS:
            if tags := by_metric.get(metric, []):
                parts = whole.parts[tags[0]]
                encoded = parts[0].encoded if len(parts) == 1 else b""
                row.add(metric, [whole.histogram(tag) for tag in tags], encoded)

    def _count(self, counters: Mapping[str, dict[str, int]], number: int) -> None:
        """What has been added since a worker told last belongs to this row, and is in the totals of all after it."""
        for worker, latest in counters.items():
            before = self._latest.get(worker, {})
            self._latest[worker] = latest
            for name in _PACED:
                if more := once(latest, name) - once(before, name):
                    for row in self._rows[number:]:
                        row.totals[name] += more

    def _halve(self) -> None:
        self._width *= 2
        for row, later in zip(self._rows[::2], self._rows[1::2], strict=False):
            row.absorb(later)
        del self._rows[1::2]
        self._cores.halve()

    def build(self, load_start_ns: int | None) -> Timeline:
        """See Builds."""
        rows, count = self._rows, len(self._rows)
        seconds = self._width * self._interval_ns / NS_PER_S
        lengths = [seconds] * count
        if count:
            lengths[-1] = min(seconds, max(_LEAST_S, self._end_ns / NS_PER_S - (count - 1) * seconds))
        columns: dict[str, list[float | None]] = {"sessions.active": [row.active for row in rows]}
        for name in _PACED:
            totals = [row.totals[name] for row in rows]
            if any(totals):
                columns[f"{name}_per_s"] = [
                    (now - before) / length for before, now, length in zip([0, *totals], totals, lengths, strict=False)
                ]
        columns |= {name: list(column) for name, column in self._cores.columns(count).items()}
        for metric in _METRICS:
            figures = [row.figures.get(metric) for row in rows]
            for name in ("p50", "p99", "max"):
                column: list[float | None] = [None if each is None else each.get(name) for each in figures]
                if any(value is not None for value in column):
                    columns[f"{metric}.{name}"] = column
        zero = 0.0 if load_start_ns is None else load_start_ns / NS_PER_S
        return Timeline(
            interval_s=seconds,
            start_s=tuple(round(i * seconds - zero, 3) for i in range(count)),
            columns={name: tuple(column) for name, column in columns.items()},
        )
