"""From intervals to the rows of Locust's tables: a batch for each report, and no event per message.

Locust counts response times by rounded milliseconds, in a dict. We fill the dict from histograms, in steps of 0.1 ms or
three digits; a row of a million notifications has a few hundred entries.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from typing import Any, NamedTuple

from loadgen.measure.histogram import Histogram
from loadgen.measure.names import REQUESTS as ASKED
from loadgen.measure.recorder import Interval
from loadgen.measure.stages import stage_of
from loadgen.results.result import RunResult
from loadgen.units import NS_PER_MS

LocustRow = dict[str, Any]


class Row(NamedTuple):
    """A line of Locust's table."""

    method: str
    name: str


HANDSHAKE, SESSION = Row("TLS", "TLS handshake"), Row("NMSP", "NMSP session")
NOTIFY, ECHO = Row("NMSP", "measurement notify"), Row("NMSP", "echo")
REQUESTS = Row("NMSP", "requests")
# By the metric of which there is one for each.
ROWS = {
    "handshake.tls": HANDSHAKE,
    "handshake.session": SESSION,
    "notify.latency": NOTIFY,
    "echo.latency": ECHO,
    **{f"request.{name}.latency": REQUESTS for name in ASKED},
}
# Where nobody of ours receives, the table shows how late they were sent.
SENT = Row("NMSP", "measurement notify sent")
AGGREGATED = Row("", "Aggregated")
# Where nobody knows how old they are, it shows how long after the one before they came.
GAP = Row("NMSP", "measurement notify gap")
# Rows whose rate a result has. Sessions are set up before the stage that counts, so they are no part of its sum.
_RESULT_RATES = {
    HANDSHAKE: "handshake.per_s",
    SESSION: "handshake.per_s",
    NOTIFY: "notify.received_per_s",
    GAP: "notify.received_per_s",
    SENT: "notify.sent_per_s",
}
_BEFORE_THE_HOLD = (HANDSHAKE, SESSION)
# By phase of errors.<phase>.<kind>.
_FAILURES = {
    "tcp": HANDSHAKE,
    "tls": HANDSHAKE,
    "accept": HANDSHAKE,
    "session": SESSION,
    "stream": NOTIFY,
    "serve": NOTIFY,
    "close": SESSION,
}
_AT_WLCS = ("accept", "serve")
# Counters that are failures of notifications, or of requests.
_LACKING = {
    "notify.lost": (NOTIFY, "lost"),
    "notify.dropped": (NOTIFY, "dropped"),
    "notify.duplicated": (NOTIFY, "duplicated"),
    "requests.dropped": (REQUESTS, "dropped"),
    "requests.refused": (REQUESTS, "refused"),
    "requests.abandoned": (REQUESTS, "abandoned"),
}
# Requests that were not answered are counted by kind, as errors of the stream.
_TIMEOUTS = {f"errors.stream.timeout_{name}": (REQUESTS, f"timeout: {name}") for name in ASKED}
_FINE_BELOW_MS = 100.0


def bucket_ms(value_ns: float) -> float:
    """The key of Locust's dict: ms in steps of 0.1, or three digits where those are coarser."""
    value_ms = value_ns / NS_PER_MS
    return round(value_ms, 1) if value_ms < _FINE_BELOW_MS else float(f"{value_ms:.3g}")


def row_rates(result: RunResult) -> dict[Row, float]:
    """Done per second by row, as a result has it: over the stage that counts. Rows without such a rate are left out."""
    rates = {row: result.rates[name] for row, name in _RESULT_RATES.items() if name in result.rates}
    rates.pop(GAP if "notify.latency" not in result.missing else NOTIFY, None)
    if NOTIFY in rates or GAP in rates:
        rates.pop(SENT, None)  # there is no such row where our MSEs receive
    counted = [stage for stage in result.stages if stage.counted]
    length_s = sum(stage.length_s for stage in counted)
    asked = sum(
        stage.metrics[metric].count
        for stage in counted
        for metric, row in ROWS.items()
        if row is REQUESTS and metric in stage.metrics
    )
    if asked and length_s:
        rates[REQUESTS] = asked / length_s
    if (echo := result.metrics.get("echo.latency")) is not None and result.load_s:
        rates[ECHO] = echo.count / result.load_s
    if kept := [rate for row, rate in rates.items() if row not in _BEFORE_THE_HOLD]:
        rates[AGGREGATED] = sum(kept)
    return rates


class Batch:
    """What happened since the last report."""

    def __init__(self, *, receiving: bool) -> None:
        """Args: receiving: our MSEs take notifications; otherwise the row tells of sending."""
        self._rows = {**ROWS, "notify.gap": GAP} if receiving else {**ROWS, "notify.lag": SENT}
        self._aged = False  # some have come of which it is known how old they were
        # With MSEs of ours, what goes wrong at our WLCs goes wrong at theirs: one event, which they tell.
        self._phases = {phase: row for phase, row in _FAILURES.items() if not (receiving and phase in _AT_WLCS)}
        self._counted: dict[str, Counter[str]] = {}  # by process, as of its last interval
        self._until_s: dict[str, float] = {}  # by process: when that was over
        self._octets = 0  # of notifications whose row was not told yet
        self._clear()

    def _clear(self) -> None:
        self._histograms: defaultdict[Row, Histogram] = defaultdict(Histogram)
        self._per_second: defaultdict[Row, Counter[int]] = defaultdict(Counter)
        self._failures: Counter[tuple[Row, str]] = Counter()
        self._failures_per_second: defaultdict[Row, Counter[int]] = defaultdict(Counter)
        self._last_s = 0.0

    def add(self, process: str, interval: Interval, end_unix_s: float, length_s: float) -> None:
        """One interval of one process, or the rest of it.

        Args:
            end_unix_s: when it was over.
            length_s: at most so much earlier it began.
        """
        self._last_s = max(self._last_s, end_unix_s)
        length_s = min(length_s, max(0.0, end_unix_s - self._until_s.get(process, -math.inf)))
        self._until_s[process] = end_unix_s
        metrics = {tag: stage_of(tag)[1] for tag in interval.decoded}
        self._aged = self._aged or "notify.latency" in metrics.values()
        for tag, filled in interval.decoded.items():
            row = self._rows.get(metrics[tag])
            if row is not None and not (row is GAP and self._aged):
                before = self._histograms[row].count
                self._histograms[row].fill(filled)
                new = self._histograms[row].count - before
                self._per_second[row].update(_by_second(new, end_unix_s, length_s))
        counted, now = self._counted.get(process, Counter()), Counter(interval.counters)
        self._counted[process] = now
        self._octets += max(0, now["notify.sent_bytes"] - counted["notify.sent_bytes"])
        for name in now:
            if (row_and_kind := self._failure(name)) and (new := now[name] - counted[name]) > 0:
                self._failures[row_and_kind] += new
                self._failures_per_second[row_and_kind[0]].update(_by_second(new, end_unix_s, length_s))

    def take(self, start_unix_s: float) -> dict[str, object]:
        """The fields `stats`, `stats_total` and `errors` of a stats message; the batch is empty afterwards.

        Args:
            start_unix_s: of the run; infinite outside of one, because a master takes the least that it is told.
        """
        failed: Counter[Row] = Counter()
        for (row, _), count in self._failures.items():
            failed[row] += count
        names = dict.fromkeys([*self._histograms, *failed])
        rows = [self._entry(row, failed[row], start_unix_s) for row in names]
        errors = {
            _error_key(row, kind): {
                "method": row.method,
                "name": row.name,
                "error": kind,
                "occurrences": count,
                "first_seen": self._last_s,
                "last_seen": self._last_s,
            }
            for (row, kind), count in self._failures.items()
        }
        message: dict[str, object] = {"stats": rows, "stats_total": _total(rows, start_unix_s), "errors": errors}
        self._clear()
        return message

    def _failure(self, counter: str) -> tuple[Row, str] | None:
        """The row and the kind that a counter of something bad belongs to."""
        if counter in _LACKING:
            return _LACKING[counter]
        if counter in _TIMEOUTS:
            return _TIMEOUTS[counter]
        if counter.startswith("errors."):
            _, phase, kind = counter.split(".", 2)
            row = self._phases.get(phase)
            return None if row is None else (row, f"{phase}: {kind}")
        return None

    def _entry(self, row: Row, failures: int, start_unix_s: float) -> LocustRow:
        histogram = self._histograms.get(row, Histogram())
        summary = histogram.summary()
        times: Counter[float] = Counter()
        for value, count in zip(*histogram.buckets(), strict=True):
            times[bucket_ms(value)] += count
        per_second = self._per_second[row] + self._failures_per_second[row]
        return {
            "name": row.name,
            "method": row.method,
            "last_request_timestamp": self._last_s or None,
            "start_time": start_unix_s,
            "num_requests": summary.count + failures,
            "num_none_requests": failures,  # what failed took no time that anybody knows
            "num_failures": failures,
            "total_response_time": summary.mean * summary.count / NS_PER_MS,
            "max_response_time": summary.max / NS_PER_MS,
            "min_response_time": summary.min / NS_PER_MS if summary.count else None,
            # What a request or a handshake takes, nobody counts.
            "total_content_length": self._take_octets() if row in (NOTIFY, GAP, SENT) else 0,
            "response_times": dict(times),
            "num_reqs_per_sec": dict(per_second),
            "num_fail_per_sec": dict(self._failures_per_second[row]),
        }

    def _take_octets(self) -> int:
        octets, self._octets = self._octets, 0
        return octets


def _by_second(count: int, end_s: float, length_s: float) -> Counter[int]:
    """Spread evenly over the seconds of an interval: Locust's rate is a sum over some of them, and a count that sits in
    one of three would be in it too often or not at all.
    """
    if length_s <= 0:
        return Counter({math.floor(end_s): count})
    start_s = end_s - length_s
    found: Counter[int] = Counter()
    done = 0
    for second in range(math.floor(start_s), math.ceil(end_s)):
        upto = round(count * (min(second + 1, end_s) - start_s) / length_s)
        found[second] = upto - done
        done = upto
    return found


def _error_key(row: Row, kind: str) -> str:
    return hashlib.sha256(f"{row.method}.{row.name}.{kind!r}".encode()).hexdigest()


def _total(rows: list[LocustRow], start_unix_s: float) -> LocustRow:
    """Locust's line "Aggregated"."""
    total: LocustRow = {
        "name": "Aggregated",
        "method": "",
        "last_request_timestamp": max((row["last_request_timestamp"] or 0.0 for row in rows), default=0.0) or None,
        "start_time": start_unix_s,
        "max_response_time": max((row["max_response_time"] for row in rows), default=0),
        "min_response_time": min(
            (row["min_response_time"] for row in rows if row["min_response_time"] is not None), default=None
        ),
    }
    for name in ("num_requests", "num_none_requests", "num_failures", "total_response_time", "total_content_length"):
        total[name] = sum(row[name] for row in rows)
    for name in ("response_times", "num_reqs_per_sec", "num_fail_per_sec"):
        counts: Counter[float] = Counter()
        for row in rows:
            counts.update(row[name])
        total[name] = dict(counts)
    return total
