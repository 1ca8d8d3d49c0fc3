"""From what workers handed in to the figures of a result: counters, rates, stages, costs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from loadgen.loads import LoadKind
from loadgen.measure.histogram import MetricSummary
from loadgen.measure.merge import Merger
from loadgen.measure.names import (
    BOTH_COUNTERS,
    COUNTERS,
    HANDSHAKE_PREFIXES,
    MSE_ALONE_COUNTERS,
    MSE_COUNTERS,
    NOTIFY_PREFIXES,
    ONLY_OVER,
    OPTIONAL_PREFIXES,
    WLC_COUNTERS,
)
from loadgen.measure.stages import NO_STAGE
from loadgen.measure.waits import FIRST, FIRST_TOOK, SHARE, TAIL, Level, Waited, growth_ns, growth_of, level_of
from loadgen.results.health import WorkerHealth
from loadgen.results.result import StageResult
from loadgen.units import NS_PER_S

# What a stage did, by the durations that it left: (rate, the metric recorded once for each, the name of its waits).
_STAGE_RATES = (
    ("notify.sent_per_s", "notify.lag", "sent"),
    ("notify.received_per_s", "notify.latency", "received"),
    ("handshake.completed_per_s", "handshake.service", "handshake"),
)
# Of places that are always taken: where fewer follow the first ones, and not one at each, these count as well.
_LEAST_AFTER_FIRST = 10
# With fewer, what a worker takes once weighs more than its sessions.
_MIN_SESSIONS = 100
_DONE = {"notify.lag": "notify.sent", "notify.latency": "notify.received", "handshake.service": "handshakes.completed"}

# A stage that was ended as it began has no rate: what was due in a moment, per moment, is any number.
_LEAST_STAGE_NS = NS_PER_S // 20


class StageSpan(NamedTuple):
    """A stage as it really was.

    Attributes:
        start_ns: monotonic; load_ns: the same, of the load that it belongs to.
        length_ns: less than planned only if we ended the load early; 0 if it never began.
        due: counters of what was due in it, where that is known.
        places: how many are always under way, where it is not paced.
        scheduled: how much the schedule has in it for all that there are to be; 0 where it has nothing.
        told_ns: of that length, how much whoever counts something told of, by what is counted: a worker that died told
            until its last report. What is not there was told of to the end.
        paced: what is due when was known; otherwise each was due when the one before it was done.
    """

    name: str
    counted: bool
    start_ns: int
    load_ns: int
    length_ns: int
    start_per_s: float
    end_per_s: float
    due: Mapping[str, int]
    paced: bool = True
    told_ns: Mapping[str, int] = MappingProxyType({})
    scheduled: int = 0
    places: int = 1


def make_counters(
    counters: Counter[str],
    kind: LoadKind,
    *,
    wlc: bool,
    mse: bool,
    complete: bool,
    over: bool = False,
    transport: str = "tls",
    missing: Collection[str] = (),
) -> dict[str, int]:
    """All counters that could be measured, those that stayed 0 too.

    Args:
        wlc, mse: which sides were ours.
        complete: every worker handed in its last figures. Then, with both sides ours, what was sent and never came is
            lost, even if no later notification showed the gap.
        over: none will hand in any more. Where a worker did not, nobody knows what became of that.
        transport: the others' own counters are left out.
        missing: what the layout cannot tell is left out. Without numbers, what came beyond what was sent came twice.
    """
    not_come = counters["notify.sent"] - (counters["notify.received"] - counters["notify.duplicated"])
    if wlc and mse and complete:
        counters["notify.lost"] = max(counters["notify.lost"], not_come)
        if "notify.reordered" in missing:
            counters["notify.duplicated"] = max(0, -not_come)
    elif wlc and mse and over:
        unknown = not_come - counters["notify.lost"]
        counters["notify.unaccounted"], counters["notify.unreported"] = max(0, unknown), max(0, -unknown)
    unseen = (frozenset() if wlc else WLC_COUNTERS) | (frozenset() if mse else MSE_COUNTERS)
    unseen |= MSE_ALONE_COUNTERS if wlc and mse else BOTH_COUNTERS
    others_only = frozenset[str]().union(*(only for over_it, only in ONLY_OVER.items() if over_it != transport))
    unseen |= others_only
    # Either side may ask for echoes, or say something again: whoever does counts it from the start.
    by_either = {name for name in COUNTERS if name.startswith("echo.")}
    if not by_either.isdisjoint(counters):
        unseen |= by_either
    unseen -= {name for name in (*by_either, "messages.retransmitted") if name in counters and name not in others_only}
    # Only the side that keeps the schedule knows what it gave up.
    if not (wlc if kind is LoadKind.NOTIFY else "handshakes.due" in counters):
        unseen |= {"handshakes.due", "handshakes.dropped"}
        if "requests.due" not in counters:
            unseen |= {"generator.shortfall"}
    unseen |= {name for name in COUNTERS if name.startswith(OPTIONAL_PREFIXES) and name not in counters}
    unseen |= set(missing)
    others = HANDSHAKE_PREFIXES if kind is LoadKind.NOTIFY else NOTIFY_PREFIXES
    names = dict.fromkeys([*COUNTERS, *sorted(counters)])
    return {name: counters[name] for name in names if name not in unseen and not name.startswith(others)}


def make_metrics(merger: Merger, spans: Iterable[StageSpan]) -> dict[str, MetricSummary]:
    """Of the stages that count; and where those have nothing, of what belongs to no stage."""
    counted = merger.metrics({span.name for span in spans if span.counted})
    return dict(sorted((merger.metrics({NO_STAGE}) | counted).items()))


def make_stages(merger: Merger, spans: Sequence[StageSpan]) -> tuple[StageResult, ...]:
    """Each stage that began, by itself."""
    results = []
    for span in spans:
        if not span.length_ns:
            continue
        metrics = merger.metrics({span.name})
        done = {name: metrics[metric].count for metric, name in _DONE.items() if metric in metrics}
        if came := notifications_of(merger, span.name):
            done["notify.received"] = came
        results.append(
            StageResult(
                name=span.name,
                counted=span.counted,
                start_s=(span.start_ns - span.load_ns) / NS_PER_S,
                length_s=span.length_ns / NS_PER_S,
                start_per_s=span.start_per_s,
                end_per_s=span.end_per_s,
                metrics=metrics,
                counters={**span.due, **done},
                rates=_stage_rates(merger, [span]),
            )
        )
    return tuple(results)


def make_rates(merger: Merger, counters: Mapping[str, int], spans: Sequence[StageSpan]) -> dict[str, float]:
    """Of the stages that count; a rate without a time in which it happened is left out."""
    rates = {}
    if (established := merger.per_s("established")) is not None:
        rates["handshake.per_s"] = established
    # A WLC that is only shaken hands with has no schedule, and so no stages.
    if (completed := merger.per_s("completed")) is not None:
        rates["handshake.completed_per_s"] = completed
    return rates | _stage_rates(merger, [span for span in spans if span.counted])


def make_costs(
    counters: Mapping[str, int], kind: LoadKind, workers: Sequence[WorkerHealth], sessions: int
) -> dict[str, float]:
    """What one of each cost us. Args: sessions: that were up when the load began."""
    costs = {}
    cpu_s = sum(worker.load_cpu_s for worker in workers)
    done = counters.get("notify.received") or counters.get("notify.sent")
    if kind is LoadKind.NOTIFY and done:
        costs["notify.cpu_s"] = cpu_s / done
        if sent := counters.get("notify.sent"):
            costs["notify.bytes"] = counters["notify.sent_bytes"] / sent
    if kind is LoadKind.HANDSHAKE and (completed := counters.get("handshakes.completed")):
        costs["handshake.cpu_s"] = cpu_s / completed
    sides = len({worker.worker.partition("-")[0] for worker in workers})
    memory_bytes = sum(worker.sessions_rss_bytes for worker in workers)
    if kind is LoadKind.NOTIFY and sessions >= _MIN_SESSIONS and memory_bytes:
        costs["session.rss_bytes"] = memory_bytes / sessions / sides
    return costs


def notifications_of(merger: Merger, stage: str) -> int:
    """How many came in a stage, in time or later."""
    return sum(waited.done for what in ("received", "came") for waited in merger.waits(what, stage))


def backlog_growth_ns(merger: Merger, rate: str, span: StageSpan) -> float:
    """By how much longer what was due waited at the end of a stage than at its beginning: a backlog that grew."""
    return growth_ns(waits_of(merger, rate, span), span.length_ns)


def waits_of(merger: Merger, rate: str, span: StageSpan) -> list[Waited]:
    """How long what was due in a stage waited, at each worker. Args: rate: of what."""
    what = next(what for name, _, what in _STAGE_RATES if name == rate)
    return merger.waits(what, span.name)


def _stage_rates(merger: Merger, spans: Sequence[StageSpan]) -> dict[str, float]:
    """What was due in stages and done, in time or later, per second of them, and of what their backlogs grew by."""
    rates = {}
    for rate, metric, what in _STAGE_RATES:
        count = 0.0
        row: list[_Left] = []
        for span in spans:
            told_ns = span.told_ns.get(what, span.length_ns)
            if told_ns < _LEAST_STAGE_NS:
                continue
            if not span.paced:
                count += _as_fast_as_it_goes(merger, what, span, told_ns)
                row.append(_Left(span.start_ns, span.start_ns + told_ns, 0.0, Level()))
                continue
            # A stage in which nothing was done took its time all the same.
            summary = merger.metrics({span.name}).get(metric)
            told = 0 if summary is None else summary.count
            if metric == "notify.latency":  # where the layout does not tell how old they are, they came all the same
                told = max(told, notifications_of(merger, span.name)) - _count(merger, TAIL, span)
            count += told
            waits = merger.waits(what, span.name)
            growth, level = growth_of(waits, told_ns), level_of(waits, told_ns)
            # What is left was done when the last one was.
            grown_ns = growth.ns if growth.steady else min(level.left_ns, level.over_ns)
            row.append(_Left(span.start_ns, span.start_ns + told_ns, grown_ns, level))
        length_ns = _length_ns(row)
        if count and length_ns > 0:
            rates[rate] = count * NS_PER_S / length_ns
    return rates


class _Left(NamedTuple):
    """Of a stage: from when to when it was, by how much longer what is due waits at its end, and how long."""

    start_ns: float
    end_ns: float
    grown_ns: float
    level: Level


def _length_ns(row: Sequence[_Left]) -> float:
    """Of stages together, and of what is left at their ends. A stage right behind another one has its backlog: it makes
    that longer, or catches up with it; as far as what is due at its end waits no longer than it ever did in them.
    """
    length_ns = backlog_ns = least_ns = 0.0
    until_ns = -math.inf
    for stage in sorted(row):
        if stage.start_ns > until_ns:
            length_ns, backlog_ns, least_ns = length_ns + backlog_ns, 0.0, math.inf
        length_ns += stage.end_ns - stage.start_ns
        backlog_ns, until_ns = max(0.0, backlog_ns + stage.grown_ns), stage.end_ns
        least_ns = min(least_ns, stage.level.least_ns)
        if stage.grown_ns <= 0:
            backlog_ns = min(backlog_ns, stage.level.end_ns - least_ns)
    return length_ns + backlog_ns


def _as_fast_as_it_goes(merger: Merger, what: str, span: StageSpan, told_ns: int) -> float:
    """How many were done in a stage in which places are always taken: of each, the share of its time that was in it.

    The first ones of all places come to a target that has no queue yet: where enough follow, it is no more than these
    would be in all that time.
    """
    following, first = (_sum_ns(merger, SHARE + which + what, span) / NS_PER_S for which in ("", FIRST))
    done, all_ns = following + first, span.places * told_ns
    left_ns = all_ns - _sum_ns(merger, FIRST_TOOK + what, span)
    if 0 < left_ns < all_ns and following >= min(span.places, _LEAST_AFTER_FIRST):
        return min(done, following * all_ns / left_ns)
    return done


def _sum_ns(merger: Merger, what: str, span: StageSpan) -> int:
    return sum(sum(waited.sums) for waited in merger.waits(what, span.name))


def _count(merger: Merger, what: str, span: StageSpan) -> int:
    return sum(sum(waited.counts) for waited in merger.waits(what, span.name))
