"""From the options of `loadgen ab` to a comparison: every run by itself, in the order of the session."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from loadgen.commands.onlooker import Onlooker
from loadgen.commands.options import SourceOptions
from loadgen.commands.output import complain, complain_of
from loadgen.commands.results import write_comparison
from loadgen.commands.runner import Addresses, run_job
from loadgen.commands.source import read_source
from loadgen.commands.target import READY_S, CommandTarget, started
from loadgen.commands.watching import watching
from loadgen.compare.comparison import compare
from loadgen.compare.metrics import Relevant
from loadgen.compare.pairs import Slot, session_order
from loadgen.errors import ExitCode, InputError, Problem
from loadgen.measure.progress import Snapshot
from loadgen.prepare.addresses import read_targets
from loadgen.prepare.job import Source, check_source, make_job
from loadgen.report.folder import ResultFolder
from loadgen.report.html import comparison_page
from loadgen.results.document import as_json
from loadgen.results.result import RunResult
from loadgen.results.thresholds import Threshold
from loadgen.run.forkserver import fork_server
from loadgen.run.signals import asked
from loadgen.scenario.plan import Use, make_plan
from loadgen.units import NS_PER_S

_OPTIONS = ("--a", "--b")
_SOME_PORT = 1


class AbOptions(NamedTuple):
    """The options of `loadgen ab`, as they were given."""

    source: SourceOptions
    targets: tuple[str, str]
    pairs: int
    control: int
    duration: str | None
    results: Path
    quiet: bool
    form: str
    as_json: bool
    out: Path | None
    relevant_rate: float
    relevant_latency: float


def run_pairs(options: AbOptions) -> int:
    """Make all runs, compare, write, show; returns the exit code.

    Raises:
        InputError: something is not usable, or a target does not get ready. What was run until then is saved.
    """
    order = session_order(options.pairs, options.control)
    if options.source.target is not None or options.source.serve == "mse":
        raise InputError(Problem("--target, --serve", "neither: --a and --b are the targets", "one of them"))
    source = read_source(options.source, options.duration)
    if source.use is Use.BOTH:
        source = source._replace(use=Use.TARGET_WLC)
    elif any(map(_is_address, options.targets)):
        raise InputError(Problem("--a, --b", "commands that start MSEs, with --serve wlc", "an address"))
    checked = check_source(_with_targets(source, options.targets))
    began = datetime.now(UTC)
    folder = ResultFolder(options.results, began, f"ab-{source.scenario.name}", checked.plan.digest)
    folder.create()
    fork_server()
    folders = [folder]
    runs: list[tuple[Slot, RunResult]] = []
    for number, slot in enumerate(order, 1):
        name = f"{number:02d}-{'AB'[slot.new]}{'-control' if slot.control else ''}"
        with watching(f"{source.scenario.name} · {name}", quiet=options.quiet) as onlooker:
            folders.append(ResultFolder.at(folder.path / name, datetime.now(UTC)))
            result = _one_run(
                source, options.targets[slot.new], _OPTIONS[slot.new], checked.demands, folders[-1], onlooker
            )
            if not folders[-1].created:
                complain("; ".join(result.verdict.reasons))
            onlooker.say(_line(name, len(order), result))
        runs.append((slot, result))
        if result.verdict.exit_code == ExitCode.INTERRUPTED or asked():
            complain(f"interrupted: {number} of {len(order)} runs are in {folder.path}")
            complain_of(*folders)
            return int(ExitCode.INTERRUPTED)
    controls = [result for slot, result in runs if slot.control]
    baseline, new = ([result for slot, result in runs if not slot.control and slot.new is new] for new in (False, True))
    comparison = compare(
        baseline,
        new,
        list(zip(controls[::2], controls[1::2], strict=True)),
        paired=True,
        names=options.targets,
        sources=[f"{'AB'[new]} of pair {pair + 1}" for new in (False, True) for pair in range(options.pairs)],
        relevant=Relevant(rate=options.relevant_rate, latency=options.relevant_latency),
    )
    folder.write("result.json", as_json(comparison))
    folder.write("report.html", comparison_page(comparison))
    unwritten = complain_of(*folders)
    write_comparison(comparison, "json" if options.as_json else options.form, options.out)
    return comparison.exit_code or int(unwritten)


def _with_targets(source: Source, targets: Sequence[str]) -> Source:
    """The source as it can be checked now: commands tell later where their WLCs listen, with ports instead of 0."""
    named = [
        read_targets(target, option) for option, target in zip(_OPTIONS, targets, strict=True) if _is_address(target)
    ]
    if source.use is not Use.TARGET_WLC:
        return source
    listening = make_plan(source.scenario, source.profile).wlcs
    to_be_told = tuple((wlc.host, wlc.port or _SOME_PORT) for wlc in listening)
    return source._replace(targets=named[0] if named else to_be_told)


def _one_run(
    source: Source,
    target: str,
    option: str,
    demands: Sequence[Threshold],
    into: ResultFolder,
    onlooker: Onlooker,
) -> RunResult:
    """One run against a target, which is started for it if it is a command."""
    now = into.started
    if _is_address(target):
        job = make_job(source._replace(targets=tuple(read_targets(target, option))), now)
        return run_job(job, demands, now, into, onlooker)
    with ExitStack() as stack:
        process: CommandTarget | None = None
        if source.use is Use.TARGET_WLC:
            process = stack.enter_context(started(target, option))
            source = source._replace(targets=tuple(process.addresses))
        job = make_job(source, now)

        def listening(_: Addresses) -> None:
            nonlocal process
            if process is not None:
                process.check_running(option)
            else:  # an MSE: it has somebody to dial only now
                process = stack.enter_context(started(target, option, wait=False))

        def with_cost(result: RunResult) -> RunResult:
            done = sum(
                result.counters.get(count, 0)
                for count in ("handshakes.completed", "notify.received" if job.plan.use.plays_mse else "notify.sent")
            )
            if process is None or not done:
                return result
            costs = {"target.cpu_s": process.cpu_s() / done, "target.rss_bytes": float(process.rss_bytes)}
            return msgspec.structs.replace(result, costs=result.costs | {k: v for k, v in costs.items() if v})

        def show(snapshot: Snapshot) -> None:
            if process is not None:
                process.look()
            onlooker.show(snapshot)

        return run_job(
            job,
            demands,
            now,
            into,
            Onlooker(show, onlooker.say),
            wait_ns=int(READY_S * NS_PER_S) if source.use is Use.SERVE_WLC else None,
            listening=listening,
            amend=with_cost,
        )


def _is_address(target: str) -> bool:
    return target.startswith("wlc=")


def _line(name: str, runs: int, result: RunResult) -> str:
    latency = result.metrics.get(f"{result.kind}.latency") or result.metrics.get("handshake.service")
    rates = ", ".join(f"{rate:,.0f} {name}" for name, rate in sorted(result.rates.items()))
    p99 = "" if latency is None or latency.p99 is None else f", p99 {latency.p99 / 1e6:,.2f} ms"
    if result.verdict.exit_code:
        rates = f"{result.verdict.outcome} ({'; '.join(result.verdict.reasons[:2])})"
    return f"{name:<14} of {runs}: generator {result.verdict.generator}, {rates}{p99}"
