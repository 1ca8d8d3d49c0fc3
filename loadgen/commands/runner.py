"""A run: check everything, run, fill its folder. Nothing is printed here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import trio

from loadgen.commands.key_log import key_log_path
from loadgen.commands.onlooker import Onlooker
from loadgen.commands.options import RunOptions
from loadgen.commands.source import read_source, read_wait
from loadgen.drive.tracing import Tracing
from loadgen.hosts import endpoints_shown
from loadgen.measure.intervals import WholeInterval
from loadgen.prepare.forecast import forecast
from loadgen.prepare.job import Job, Source, check_source
from loadgen.report.folder import ResultFolder
from loadgen.report.forecast import beyond_this_machine
from loadgen.results.document import as_json
from loadgen.results.record import AbortWhen, RunRecord
from loadgen.results.result import RunResult
from loadgen.results.thresholds import Threshold
from loadgen.run.forkserver import fork_server
from loadgen.run.signals import noted
from loadgen.run.supervisor import Supervisor
from loadgen.scenario.plan import Plan, Use

# Where WLCs of ours listen.
Addresses = Sequence[tuple[str, int]]


class PreparedRun(NamedTuple):
    """Everything that can be refused was looked at, and nothing is written yet.

    Attributes:
        folder: None: nothing ever is.
        key_log: what gets the secrets of the run's tunnels; it is there already. None: nothing does.
    """

    source: Source
    job: Job
    demands: tuple[Threshold, ...]
    wait_ns: int | None
    started: datetime
    folder: ResultFolder | None
    key_log: Path | None

    def execute(
        self,
        onlooker: Onlooker,
        *,
        listening: Callable[[Addresses], None] = lambda _: None,
        tracing: Tracing | None = None,
    ) -> RunResult:
        """Do it. Arguments and what is raised: as of `run_job`."""
        job = self.job
        if self.source.recorded is not None:
            from loadgen.commands.recorded import played

            for line in played(self.source.recorded, job.plan):
                onlooker.say(line)
        if warning := beyond_this_machine(forecast(job.plan, job.profile, job.workers)):
            onlooker.say(warning)
        return run_job(
            job,
            self.demands,
            self.started,
            self.folder,
            onlooker,
            wait_ns=self.wait_ns,
            listening=listening,
            tracing=tracing,
            key_log=self.key_log,
        )


def prepare_run(options: RunOptions) -> PreparedRun:
    """Read and check what the options ask for, and make keys for it.

    Raises:
        InputError: something is not usable.
    """
    fork_server()  # it imports what workers are made of, while here is read and checked what they are to do
    checked = check_source(read_source(options.source, options.duration), options.thresholds)
    wait_ns = read_wait(options.wait, checked.plan.use)
    started = datetime.now(UTC)
    job = checked.job(started)
    folder = None
    if options.results is not None:
        folder = ResultFolder(options.results, started, job.plan.scenario, job.plan.digest)
    key_log = key_log_path(options.key_log)
    return PreparedRun(checked.source, job, checked.demands, wait_ns, started, folder, key_log)


def run_job(
    job: Job,
    demands: Sequence[Threshold],
    started: datetime,
    folder: ResultFolder | None,
    onlooker: Onlooker,
    *,
    wait_ns: int | None = None,
    listening: Callable[[Addresses], None] = lambda _: None,
    amend: Callable[[RunResult], RunResult] = lambda result: result,
    tracing: Tracing | None = None,
    key_log: Path | None = None,
) -> RunResult:
    """Run a plan once, and fill its folder as it goes on, if it comes as far as to be prepared.

    Args:
        wait_ns: for a target that is not there yet; see `Supervisor.run`.
        listening: called when everything is prepared and nothing was dialed yet, with the addresses of our WLCs.
        amend: adds to the result what only the caller knows.
        tracing: what is done with handshakes; None: nothing.
        key_log: what gets the secrets of all tunnels; None: nothing.

    Raises:
        InputError: a worker could not do what the plan asks; nothing was dialed, and nothing written.
    """
    plan = job.plan
    kept = None if folder is None else _Kept(folder, plan, demands)

    def prepared(addresses: Addresses) -> None:
        if kept is not None:
            kept.begin(supervisor, addresses)
        if plan.use is Use.SERVE_WLC:
            # Whoever is to dial must find out, the more so if the kernel chose the ports.
            onlooker.say(ready(addresses))
            if wait_ns is None:
                onlooker.say("the load begins with the first MSE that comes; Ctrl-C ends the waiting")
        listening(addresses)

    supervisor = Supervisor(
        plan,
        job.profile.document,
        job.keys,
        job.workers,
        onlooker.show,
        prepared,
        _abort_when(plan),
        tracing=tracing,
        key_log=key_log,
        recording=job.recording,
    )
    supervisor.meanwhile = _get_ready_for_results
    with noted():
        record = trio.run(supervisor.run, None, wait_ns)
        from loadgen.results.outcome import make_result

        result = amend(make_result(plan, record, demands, started))
        if kept is not None and record.prepared:  # or else nothing was dialed, and there is no folder
            kept.end(record, result)
    return result


def _abort_when(plan: Plan) -> AbortWhen:
    if not any(rule.abort_on_fail for rule in plan.thresholds):
        return lambda _merger, _load, _until_ns: None
    from loadgen.results.outcome import abort_when

    return abort_when(plan, plan.thresholds)


def _get_ready_for_results() -> None:
    """Load what makes them, and find all versions that they name: nobody waits for it while workers prepare."""
    import loadgen.results.outcome  # noqa: F401 - to be there
    from loadgen.results.result import environment

    environment()


class _Kept:
    """What a run leaves in its folder."""

    def __init__(self, folder: ResultFolder, plan: Plan, demands: Sequence[Threshold]) -> None:
        self._folder, self._plan, self._demands = folder, plan, demands
        self._latest = -1

    def begin(self, supervisor: Supervisor, addresses: Addresses) -> None:
        """Everything is prepared.

        Raises:
            InputError: there cannot be a folder, or it takes nothing.
        """
        folder, plan = self._folder, self._plan
        folder.create()
        folder.write("plan.json", as_json(plan.with_addresses(addresses) if addresses else plan))
        folder.check()
        log = folder.log("histograms.hlog", supervisor.epoch_unix_s)

        def keep(whole: WholeInterval | None) -> None:
            """What cannot be measured again comes to the disk as soon as it is known."""
            if whole is not None:
                self._latest = max(self._latest, whole.index)
                log.append(whole.lines(supervisor.interval_s))
            record = supervisor.record_until(self._latest)
            folder.write_made("result.json", lambda: self._so_far(record))

        keep(None)
        supervisor.on_whole = keep

    def _so_far(self, record: RunRecord) -> str:
        from loadgen.results.outcome import make_unfinished

        return as_json(make_unfinished(self._plan, record, self._demands, self._folder.started))

    def end(self, record: RunRecord, result: RunResult) -> None:
        """It is over."""
        self._folder.write("result.json", as_json(result))
        self._folder.close()
        # Not above: nobody needs templates before there is something to fill into them.
        from loadgen.report.html import run_page

        self._folder.write("report.html", run_page(result, record.merger.histograms(), as_json(self._plan)))


def ready(addresses: Addresses) -> str:
    """Where all of our WLCs listen, as `commands/target` reads it."""
    return f"ready: {len(addresses):,} WLC{'' if len(addresses) == 1 else 's'} at {endpoints_shown(addresses)}"
