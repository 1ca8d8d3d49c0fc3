"""From the options of `loadgen run` to a result folder: check everything, run, write, show."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import trio

from loadgen.commands.options import SourceOptions
from loadgen.commands.output import complain, display, say
from loadgen.commands.source import read_source, read_wait
from loadgen.commands.tracing import STDERR, trace_file
from loadgen.commands.watching import Onlooker, watching
from loadgen.errors import ExitCode
from loadgen.hosts import endpoints_shown
from loadgen.measure.intervals import WholeInterval
from loadgen.prepare.forecast import forecast
from loadgen.prepare.job import Job, check_source
from loadgen.report.folder import ResultFolder
from loadgen.report.forecast import beyond_this_machine
from loadgen.results.document import as_json
from loadgen.results.outcome import abort_when, make_result, make_unfinished
from loadgen.results.result import RunResult
from loadgen.results.thresholds import Threshold
from loadgen.run.forkserver import fork_server
from loadgen.run.signals import noted
from loadgen.run.supervisor import Supervisor, Tracing
from loadgen.scenario.plan import Use


class RunOptions(NamedTuple):
    """The options of `loadgen run`, as they were given."""

    source: SourceOptions
    duration: str | None
    wait: str | None
    results: Path
    thresholds: tuple[str, ...]
    as_json: bool
    quiet: bool
    trace: str | None
    trace_limit: int | None


def run_scenario(options: RunOptions) -> int:
    """Do it; returns the exit code.

    Raises:
        InputError: something is not usable; nothing was written and nothing was sent.
    """
    checked = check_source(read_source(options.source, options.duration), options.thresholds)
    wait_ns = read_wait(options.wait, checked.plan.use)
    started = datetime.now(UTC)
    fork_server()
    job = checked.job(started)
    folder = ResultFolder(options.results, started, job.plan.scenario, job.plan.digest)
    with (
        trace_file(options.trace, options.trace_limit, job.plan.transport) as trace,
        watching(job.plan.scenario, quiet=options.quiet, plain=options.trace == STDERR) as onlooker,
    ):
        if warning := beyond_this_machine(forecast(job.plan, job.profile, job.workers)):
            onlooker.say(warning)
        result = run_job(
            job,
            checked.demands,
            folder,
            onlooker,
            wait_ns=wait_ns,
            announce=(lambda _: None) if options.as_json else _announce,
            tracing=None if trace is None else trace.tracing,
        )
    if options.as_json and folder.created:
        say(as_json(result), nl=False)
    elif not options.quiet and folder.created:
        from loadgen.report import terminal

        display(terminal.summary(result, str(folder.path)))
    unwritten = complain_of(folder)
    if not options.quiet and _in_vain(result):
        from loadgen.commands.advice import advice

        for line in advice(checked.source, job.plan, result.counters):
            complain(line)
    return result.verdict.exit_code or int(unwritten)


def _in_vain(result: RunResult) -> bool:
    """No session came up, although there was time for it, or somebody tried."""
    tried = any(result.counters.get(f"{what}.attempted") for what in ("sessions", "handshakes"))
    done = any(result.counters.get(name) for name in ("sessions.established", "handshakes.completed"))
    code = result.verdict.exit_code
    return not done and (code == ExitCode.UNREACHABLE or (code == ExitCode.INTERRUPTED and tried))


def complain_of(*folders: ResultFolder) -> ExitCode:
    """Say what of a result is not there; returns what that makes of a run that did well otherwise."""
    for trouble in (trouble for folder in folders for trouble in folder.troubles):
        complain(trouble)
    return ExitCode.NOT_WRITTEN if any(folder.troubles for folder in folders) else ExitCode.PASSED


def run_job(
    job: Job,
    demands: Sequence[Threshold],
    folder: ResultFolder,
    onlooker: Onlooker,
    *,
    wait_ns: int | None = None,
    listening: Callable[[], None] = lambda: None,
    announce: Callable[[str], None] = lambda _: None,
    amend: Callable[[RunResult], RunResult] = lambda result: result,
    tracing: Tracing | None = None,
) -> RunResult:
    """Run a plan once, and fill its folder as it goes on, if it comes as far as to be prepared.

    Args:
        wait_ns: for a target that is not there yet; see `Supervisor.run`.
        announce: told where our WLCs listen, when they do.
        listening: called when everything is prepared and nothing was dialed yet.
        amend: adds to the result what only the caller knows.
        tracing: what is done with handshakes; None: nothing.

    Raises:
        InputError: a worker could not do what the plan asks; nothing was dialed, and nothing written.
    """
    plan = job.plan
    started = folder.started

    def prepared(addresses: Sequence[tuple[str, int]]) -> None:
        folder.create()
        folder.write("plan.json", as_json(plan.with_addresses(addresses) if addresses else plan))
        folder.check()
        log = folder.log("histograms.hlog", supervisor.epoch_unix_s)
        latest = -1

        def keep(whole: WholeInterval | None) -> None:
            """What cannot be measured again comes to the disk as soon as it is known."""
            nonlocal latest
            if whole is not None:
                latest = max(latest, whole.index)
                log.append(whole.lines(supervisor.interval_s))
            record = supervisor.record_until(latest)
            folder.write_made("result.json", lambda: as_json(make_unfinished(plan, record, demands, started)))

        keep(None)
        supervisor.on_whole = keep
        if plan.use is Use.SERVE_WLC:
            # Whoever is to dial must find out, the more so if the kernel chose the ports.
            onlooker.say(text := ready(addresses))
            if wait_ns is None:
                onlooker.say("the load begins with the first MSE that comes; Ctrl-C ends the waiting")
            announce(text)
        listening()

    abort = abort_when(plan, plan.thresholds)
    supervisor = Supervisor(
        plan, job.profile.document, job.keys, job.workers, onlooker.show, prepared, abort, tracing=tracing
    )
    with noted():
        record = trio.run(supervisor.run, None, wait_ns)
        result = amend(make_result(plan, record, demands, started))
        if not record.prepared:  # nothing was dialed, and there is no folder
            complain("; ".join(result.verdict.reasons))
            return result
        folder.write("result.json", as_json(result))
        folder.close()
        # Not above: nobody needs templates before there is something to fill into them.
        from loadgen.report.html import run_page

        folder.write("report.html", run_page(result, record.merger.histograms(), as_json(plan)))
    return result


def ready(addresses: Sequence[tuple[str, int]]) -> str:
    """Where all of our WLCs listen, as `commands/target` reads it."""
    return f"ready: {len(addresses):,} WLC{'' if len(addresses) == 1 else 's'} at {endpoints_shown(addresses)}"


def _announce(text: str) -> None:
    """Tell whatever program has started us, `loadgen ab` for one; a person reads it on stderr."""
    if sys.stdout is None or not sys.stdout.isatty():
        say(text)
