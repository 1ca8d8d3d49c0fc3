"""From the options of `loadgen run` to a result folder: check everything, run, write, show."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import click
import trio
from rich.console import Console
from rich.live import Live

from loadgen.engine.keys import make_keys
from loadgen.engine.limits import allow_descriptors, check_local_ports
from loadgen.engine.supervisor import RunRecord, Supervisor, Watcher
from loadgen.errors import InputError, Problem
from loadgen.loads import LoadKind
from loadgen.measure import thresholds as limits
from loadgen.measure.health import judge
from loadgen.measure.hlog import format_hlog
from loadgen.measure.progress import Snapshot
from loadgen.measure.result import (
    SCHEMA_VERSION,
    RunResult,
    environment,
    make_counters,
    make_rates,
    make_verdict,
)
from loadgen.nmsp import services
from loadgen.report import terminal
from loadgen.report.folder import ResultFolder, as_json
from loadgen.scenario.load import load_scenario, parse_endpoint
from loadgen.scenario.plan import Plan, Use, make_plan
from loadgen.scenario.schema import Scenario
from loadgen.units import Duration

# Without a terminal: a line this often.
_LINE_S = 5.0
# Into a file or a pipe, nothing has to fit a window.
_FILE_WIDTH = 120


class RunOptions(NamedTuple):
    """The options of `loadgen run`, as they were given."""

    scenario: Path
    overrides: tuple[str, ...]
    duration: str | None
    target: str | None
    serve: str | None
    workers: str
    results: Path
    thresholds: tuple[str, ...]
    as_json: bool
    quiet: bool


def run_scenario(options: RunOptions) -> int:
    """Do it; returns the exit code.

    Raises:
        InputError: something is not usable; nothing was written and nothing was sent.
    """
    use, targets = _use(options)
    duration_ns = _duration_ns(options.duration)
    scenario, profile = load_scenario(options.scenario, options.overrides)
    plan = make_plan(scenario, profile, use=use, targets=targets, duration_ns=duration_ns)
    demands = limits.parse_thresholds(plan.thresholds, f"{options.scenario}: thresholds")
    demands += limits.parse_thresholds(options.thresholds, "--threshold")
    _check_plan(scenario, plan, options.scenario)
    workers = _workers(options.workers, plan)
    allow_descriptors(plan, workers)
    check_local_ports(plan)
    started = datetime.now(UTC)
    keys = make_keys(scenario, options.scenario, plan, started)
    folder = ResultFolder(options.results, started, plan.scenario, plan.digest)

    def prepared(listening: Sequence[tuple[str, int]]) -> None:
        folder.create()
        folder.write("plan.json", as_json(plan.with_addresses(listening) if listening else plan))
        if plan.use is Use.SERVE_WLC and not options.quiet:
            # Whoever is to dial must find out, the more so if the kernel chose the ports.
            click.echo(f"{_listed(listening)}: ready", err=True)

    with _watcher(options, plan) as watcher:
        supervisor = Supervisor(plan, profile.document, keys, workers, watcher, prepared)
        record = trio.run(supervisor.run)
    result = _result(plan, record, demands, started)
    if not record.prepared:  # nothing was dialed, and there is no folder
        click.echo(f"loadgen: {'; '.join(result.verdict.reasons)}", err=True)
        return result.verdict.exit_code
    encoded = as_json(result)
    folder.write("result.json", encoded)
    folder.write("histograms.hlog", format_hlog(record.epoch_unix_s, record.merger.log_lines(record.interval_s)))
    if options.as_json:
        click.echo(encoded, nl=False)
    elif not options.quiet:
        console = Console(highlight=False)
        if not console.is_terminal:
            console.width = max(console.width, _FILE_WIDTH)
        console.print(terminal.summary(result, str(folder.path)))
    return result.verdict.exit_code


def _result(plan: Plan, record: RunRecord, demands: tuple[limits.Threshold, ...], started: datetime) -> RunResult:
    merger = record.merger
    counters = make_counters(
        merger, plan.kind, wlc=plan.use.plays_wlc, mse=plan.use.plays_mse, complete=not record.deaths
    )
    rates = make_rates(merger, counters, record.load_start_ns)
    metrics = merger.metrics()
    judged = limits.judge(demands, metrics, counters, rates)
    return RunResult(
        schema_version=SCHEMA_VERSION,
        scenario=plan.scenario,
        plan_digest=plan.digest,
        use=plan.use,
        kind=plan.kind,
        started=started.isoformat(timespec="seconds"),
        load_s=record.load_s,
        supervisor_cpu_s=record.load_cpu_s,
        environment=environment(),
        verdict=make_verdict(
            judge(record.health),
            judged,
            counters,
            interrupted=record.interrupted,
            deaths=record.deaths,
        ),
        metrics=metrics,
        counters=counters,
        rates=rates,
        thresholds=judged,
        workers=record.health,
    )


# -- options -----------------------------------------------------------------------------------------------------


def _use(options: RunOptions) -> tuple[Use, list[tuple[str, int]]]:
    if options.target is not None and options.serve is not None:
        raise InputError(Problem("--target, --serve", "one of them", "both"))
    if options.serve is not None:
        return (Use.SERVE_WLC if options.serve == "wlc" else Use.SERVE_MSE), []
    if options.target is None:
        return Use.BOTH, []
    side, equals, addresses = options.target.partition("=")
    if side != "wlc" or not equals:
        # An MSE dials: nobody can be its target. It meets us where `--serve wlc` listens.
        raise InputError(Problem("--target", "wlc=HOST:PORT[,...]", f'"{options.target}"'))
    problems: list[Problem] = []
    targets: list[tuple[str, int]] = []
    for text in addresses.split(","):
        try:
            host, port = parse_endpoint(text)
            if not port:
                raise ValueError("a port of 1 to 65535 after the address")
            targets.append((_resolve(host), port))
        except ValueError as error:
            problems.append(Problem("--target", str(error), f'"{text}"'))
    if problems:
        raise InputError(problems)
    return Use.TARGET_WLC, targets


def _resolve(host: str) -> str:
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except (OSError, UnicodeError) as error:
        raise ValueError(f"a host name that resolves ({error})") from error


def _duration_ns(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        duration = Duration.parse(text)
    except ValueError as error:
        raise InputError(Problem("--duration", str(error).removeprefix("Expected "), f'"{text}"')) from error
    if not duration:
        raise InputError(Problem("--duration", f"{Duration.EXPECTED}, and more than 0", f'"{text}"'))
    return int(duration)


def _check_plan(scenario: Scenario, plan: Plan, source: Path) -> None:
    """What shows only once scenario, targets and the sides that are ours come together."""
    if not isinstance(assign := scenario.mse.assign, str):
        beyond = {wlc for row in assign for wlc in row.wlc if wlc >= len(plan.wlcs)}
        if beyond:
            expected = f"WLCs 0 to {len(plan.wlcs) - 1}, one for each --target"
            raise InputError(Problem(f"{source}: mse.assign", expected, f"WLC {min(beyond)}"))
    notify = plan.kind is LoadKind.NOTIFY
    if (
        notify
        and plan.use.plays_wlc
        and not plan.capability & plan.subscription & services.mask_of(services.MOBILE_STATION)
    ):
        classes = ", ".join(service.label for service in services.MOBILE_STATION)
        expected = f"a class of mobile stations that wlc.subservices offers ({classes}), or nothing would be sent"
        raise InputError(Problem(f"{source}: mse.subscribe", expected, "none"))
    if plan.use is Use.SERVE_MSE and not plan.wlcs[0].port:
        raise InputError(Problem(f"{source}: wlc.listen", "a port to dial (0 is for those who listen)", "port 0"))


def _listed(addresses: Sequence[tuple[str, int]]) -> str:
    first, last = (f"{host}:{port}" for host, port in (addresses[0], addresses[-1]))
    return f"1 WLC at {first}" if len(addresses) == 1 else f"{len(addresses):,} WLCs at {first} ... {last}"


def _workers(text: str, plan: Plan) -> int:
    sides = 2 if plan.use is Use.BOTH else 1
    if text == "auto":
        wanted = max(1, len(os.sched_getaffinity(0)) // sides)
    elif text.isdecimal() and 0 < int(text) <= 256:
        wanted = int(text)
    else:
        raise InputError(Problem("--workers", '"auto" or 1 to 256', f'"{text}"'))
    # A worker without a WLC or a session, or with no handshake of its own at once, would have nothing to do.
    most = len(plan.wlcs) if plan.use.plays_wlc else len(plan.sessions)
    if plan.kind is LoadKind.HANDSHAKE:
        most = min(most, len(plan.sessions), plan.concurrency)
    return min(wanted, most)


# -- watching ----------------------------------------------------------------------------------------------------


@contextmanager
def _watcher(options: RunOptions, plan: Plan) -> Iterator[Watcher]:
    """Whoever looks at the run while it goes on: a person at a terminal, a log, or nobody."""
    if options.quiet or sys.stderr is None:  # started with 2>&-
        yield lambda _: None
        return
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield _lines()
    else:
        with Live(console=console, transient=True, auto_refresh=False) as view:
            yield lambda snapshot: view.update(terminal.live(snapshot, plan.scenario), refresh=True)


def _lines() -> Watcher:
    last = 0.0

    def show(snapshot: Snapshot) -> None:
        nonlocal last
        if time.monotonic() - last >= _LINE_S:
            last = time.monotonic()
            # Not print(): a log that nobody reads any more must not end the run, now or when Python flushes at its end.
            with suppress(OSError):
                os.write(sys.stderr.fileno(), f"{terminal.line(snapshot)}\n".encode())

    return show
