"""A run as the Locust master sees it: what all workers report, merged without loss, and the result it comes to.

Free of trio and of Locust. Times are ns since the epoch, because the workers' machines have no other clock in common.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from loadgen.distributed.master.recent import RecentTimeline
from loadgen.distributed.messages import HOLD, INTERVAL_NS, RAMP, NodeReport
from loadgen.measure.histogram import Histogram
from loadgen.measure.intervals import Intervals, WholeInterval
from loadgen.measure.merge import Merger
from loadgen.measure.recorder import Interval
from loadgen.results.health import MachineHealth, WorkerHealth
from loadgen.results.outcome import make_result, make_unfinished
from loadgen.results.record import Load, RunRecord
from loadgen.results.result import RunResult
from loadgen.results.thresholds import Threshold
from loadgen.results.timeline import Builds, TimelineBuilder
from loadgen.scenario.plan import Plan
from loadgen.scenario.schedule import RateStage
from loadgen.units import NS_PER_S

# Of the timeline: half an hour in its finest form, as much as who watches sees.
_MOST_ROWS = 600
# By how many intervals the clock of a Locust worker's machine may be ahead of the master's.
_CLOCKS_APART = 3600
# A report of thousands of sessions has some kilobytes; more than this is not one of ours.
_MAX_REPORT_BYTES = 16 * 1024 * 1024


class BadReport(Exception):
    """A report that is none; the message says why."""


class _Worker:
    """What is known of a Locust worker."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.last: NodeReport | None = None
        self.gone = ""  # why it is no more, if it went before its end
        self.early = False  # it ended before it was told to
        self.short: tuple[int, int] | None = None  # users that were there, of how many, when all should have been
        self.until_ns: dict[str, int] = {}  # by process: everything until then was reported

    @property
    def running(self) -> bool:
        """It has not reported its end."""
        return self.last is None or self.last.ending is None

    def note(self, report: NodeReport, *, settled: bool, finishing: bool) -> None:
        """It has told how it stands. Args: as of `WholeRun.take_untrusted`; finishing: it has been told to end."""
        if report.ending is not None and self.running:
            self.early = not finishing
        if settled and report.users < report.wanted and (self.short is None or report.users < self.short[0]):
            self.short = report.users, report.wanted
        self.last = msgspec.structs.replace(report, intervals=())  # they are merged, and large
        self.gone = ""  # it was only away


class WholeRun:
    """Takes reports as they come.

    Attributes:
        run: its name; reports of others are left alone.
        plan: of all users together.
        latest_whole: the last interval that was whole.
        on_whole: gets every interval once it is.
    """

    def __init__(self, run: str, plan: Plan, demands: tuple[Threshold, ...], epoch_unix_ns: int) -> None:
        """Args: plan: of all users together."""
        self.run = run
        self.plan = plan
        self._demands = demands
        self._epoch_ns = epoch_unix_ns
        self._merger = Merger()
        self._timeline = TimelineBuilder(INTERVAL_NS, _MOST_ROWS)
        self._intervals = Intervals(self._take_whole)
        self._now_ns = 0
        self.latest_whole = -1
        self.on_whole: Callable[[WholeInterval], None] = lambda _: None
        self._recent = RecentTimeline(INTERVAL_NS)
        self._workers: dict[str, _Worker] = {}
        self._wanted = 0  # users of all workers, once all of them have been there
        self._told_to_end_ns: int | None = None
        self._decoder = msgspec.msgpack.Decoder(NodeReport)

    def take_untrusted(
        self, client: str, index: int, report: object, now_unix_ns: int, *, settled: bool = False
    ) -> None:
        """One worker's report.

        Args:
            client, index: what Locust calls the worker.
            settled: all users that the workers were told to have should be there.

        Raises:
            BadReport: it is none; nothing of it was taken.
        """
        if not isinstance(report, bytes) or len(report) > _MAX_REPORT_BYTES:
            raise BadReport(f"expected at most {_MAX_REPORT_BYTES:,} bytes, found {type(report).__name__}")
        try:
            node = self._decoder.decode(report)
            latest = (now_unix_ns - self._epoch_ns) // INTERVAL_NS + _CLOCKS_APART
            for part in node.intervals:
                if not 0 <= part.interval.index <= latest:
                    raise ValueError(f"expected interval 0 to {latest}, found {part.interval.index}")
                _decode_untrusted(part.interval)
        except (msgspec.DecodeError, ValueError) as error:
            raise BadReport(str(error)) from error
        if node.run != self.run:
            return
        worker = self._workers.setdefault(client, _Worker(index))
        worker.note(node, settled=settled, finishing=self._told_to_end_ns is not None)
        self._now_ns = now_unix_ns - self._epoch_ns
        active = self.active
        for part in node.intervals:
            self._merger.add(part.process, part.interval)
            worker.until_ns[part.process] = self._epoch_ns + (part.interval.index + 1) * INTERVAL_NS
            self._intervals.add(part.process, part.interval, part.cpu_s, active)
            self._recent.add(part.process, part.interval, part.cpu_s, active)
        self._intervals.part_with(client)
        if node.ending is not None:
            self._part_with(worker)

    def want(self, users: int) -> None:
        """All users are there now, or should be: so many."""
        self._wanted = users

    def finishing(self, now_unix_ns: int) -> None:
        """Workers are being told to end their load; who ends before has ended early."""
        self._told_to_end_ns = now_unix_ns

    def enlist(self, client: str, index: int) -> None:
        """A worker is to have users; so it takes part, even if it never gets as far as to report."""
        if client not in self._workers:
            self._workers[client] = _Worker(index)
            self._intervals.expect([client])  # its processes have names of their own, once they are heard

    def lose(self, client: str, why: str) -> None:
        """A worker is gone; what it reported is kept."""
        worker = self._workers.get(client)
        if worker is not None and worker.running:
            worker.gone = why
            self._intervals.part_with(client)
            self._part_with(worker)

    @property
    def active(self) -> int:
        """Sessions that are up, as far as we know."""
        return sum(w.last.active for w in self._workers.values() if w.last is not None and not w.gone)

    @property
    def counters(self) -> Counter[str]:
        return self._merger.counters()

    def pending(self) -> list[str]:
        """The workers that have taken part and have not reported their end."""
        return [client for client, worker in self._workers.items() if not worker.gone and worker.running]

    def until_unix_ns(self, now_unix_ns: int) -> int:
        """Until when every worker has told everything; the run's beginning, before one has told anything."""
        told = [min(w.until_ns.values()) for w in self._workers.values() if w.until_ns and not w.gone and w.running]
        if told:
            return min(now_unix_ns, *told)
        ends = [r.ending.end_unix_ns for r in self._reports() if r.ending is not None]
        return min(now_unix_ns, max(ends, default=self._epoch_ns))

    def histograms(self) -> dict[str, Histogram]:
        """Over the whole run, by tag."""
        return self._merger.histograms()

    def end(self) -> None:
        """No worker will report any more."""
        self._intervals.end()

    def _part_with(self, worker: _Worker) -> None:
        for process in worker.until_ns:
            self._intervals.part_with(process)

    def _take_whole(self, whole: WholeInterval) -> None:
        self.latest_whole = max(self.latest_whole, whole.index)
        self._timeline.add(whole, self._now_ns)
        self.on_whole(whole)

    def result(self, now_unix_ns: int, *, ended: bool, interrupted: bool = False) -> RunResult:
        """The result: of the run so far, or of all of it.

        Args:
            ended: no worker will report any more; who has not reported its end has died.
        """
        return self._result(self._timeline, now_unix_ns, ended=ended, interrupted=interrupted)

    def live(self, now_unix_ns: int) -> RunResult:
        """How it stands: over time only the last minutes, so that it takes no longer however long the run is.

        What has not been reported yet does not count as time in which nothing was done.
        """
        return self._result(self._recent, self.until_unix_ns(now_unix_ns), ended=False, interrupted=False)

    def _reports(self) -> list[NodeReport]:
        """The last one of each worker."""
        return [worker.last for worker in self._workers.values() if worker.last is not None]

    def unfinished(self, now_unix_ns: int) -> RunResult:
        """What is left of the run if this process does not come to its end."""
        now_unix_ns = self.until_unix_ns(now_unix_ns)
        record = self._record(self._timeline, now_unix_ns, ended=False, interrupted=False)
        return make_unfinished(self.plan, record, self._demands, self._started)

    def _result(self, timeline: Builds, now_unix_ns: int, *, ended: bool, interrupted: bool) -> RunResult:
        record = self._record(timeline, now_unix_ns, ended=ended, interrupted=interrupted)
        return make_result(self.plan, record, self._demands, self._started)

    @property
    def _started(self) -> datetime:
        return datetime.fromtimestamp(self._epoch_ns / NS_PER_S, UTC)

    def _record(self, timeline: Builds, now_unix_ns: int, *, ended: bool, interrupted: bool) -> RunRecord:
        reports = self._reports()
        endings = [report.ending for report in reports if report.ending is not None]
        deaths = self._deaths(ended=ended)
        health = tuple(h for r in reports for h in (r.health if r.ending is None else r.ending.health))
        complete = ended and not deaths and all(ending.complete for ending in endings)
        if ended and not complete:
            self._merger.settle()
        return RunRecord(
            merger=self._merger,
            timeline=timeline,
            loads=self._loads(reports, now_unix_ns, health),
            health=health,
            deaths=tuple(deaths),
            complete=complete,
            over=ended,
            interrupted=interrupted,
            aborted="",
            prepared=True,
            epoch_ns=self._epoch_ns,
            missing=tuple(self._missing(all_told=ended and not deaths)),
        )

    def _deaths(self, *, ended: bool) -> list[str]:
        """Who is no more, and why: processes of workers, and workers."""
        deaths: list[str] = []
        for client, worker in self._workers.items():
            name = f"Locust worker {client} (index {worker.number})"
            ending = None if worker.last is None else worker.last.ending
            deaths += [f"{name}: {death}" for death in (() if ending is None else ending.deaths)]
            if worker.gone:
                deaths.append(f"{name}: {worker.gone}")
            elif worker.early and not (ending is not None and ending.deaths):
                deaths.append(f"{name}: ended its load before the run did")
            elif ended and worker.running:
                deaths.append(f"{name}: did not hand in its last figures")
        return deaths

    def _missing(self, *, all_told: bool) -> list[str]:
        """Users that were to be there and were not, and with which worker. Args: all_told: every worker has ended."""
        missing = []
        for client, worker in self._workers.items():
            if worker.short is not None:
                there, wanted = worker.short
                name = f"Locust worker {client} (index {worker.number})"
                missing.append(f"{name}: {there:,} of {wanted:,} users were there")
        told = sum(report.wanted for report in self._reports())
        if all_told and told < self._wanted:
            missing.append(f"workers were told of {told:,} of {self._wanted:,} users")
        return missing

    def _loads(self, reports: list[NodeReport], now_ns: int, health: tuple[WorkerHealth, ...]) -> tuple[Load, ...]:
        """The one load of a run, in two stages: until the slowest worker's users were all there, and afterwards."""
        begun = [report.load_unix_ns for report in reports if report.load_unix_ns]
        if not begun:
            return ()
        endings = [report.ending for report in reports if report.ending is not None]
        if len(endings) == len(reports):  # what came after the last one was told to end is no load
            now_ns = max(ending.end_unix_ns for ending in endings)
        elif self._told_to_end_ns is not None:
            now_ns = min(now_ns, self._told_to_end_ns)
        holds = [report.hold_unix_ns for report in reports if report.hold_unix_ns]
        start_ns, hold_ns = min(begun), max(holds, default=0)
        per_s = self.plan.load.stages[-1].end_per_s
        ramp_ns = (hold_ns or now_ns) - start_ns
        stages = [RateStage(RAMP, 0, max(1, ramp_ns), 0.0, per_s, counted=not hold_ns)]
        if hold_ns:
            stages.append(RateStage(HOLD, ramp_ns, max(1, now_ns - hold_ns), per_s, per_s))
        load = Load(tuple(stages), Counter())
        load.start_ns, load.end_ns = start_ns, now_ns
        load.cpu_s = sum(ending.cpu_s for ending in endings)
        load.machine = _worst([ending.machine for ending in endings])
        load.health = health
        return (load,)


def _decode_untrusted(interval: Interval) -> None:
    """Raises: ValueError."""
    if any(count < 1 for counts in interval.moments.values() for count in counts.values()):
        raise ValueError("expected moments at which something happened")
    _ = interval.decoded


def _worst(machines: list[MachineHealth]) -> MachineHealth:
    """Of several machines: one that is in doubt puts the whole run in doubt."""
    if not machines:
        return MachineHealth()
    return MachineHealth(
        busy=max(m.busy for m in machines),
        throttled_s=max(m.throttled_s for m in machines),
        swapped_bytes=max(m.swapped_bytes for m in machines),
        retransmitted=max(m.retransmitted for m in machines),
        memory_available_bytes=min(m.memory_available_bytes for m in machines),
    )
