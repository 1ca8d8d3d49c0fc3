"""From the options of `loadgen capacity` to a result folder: a search along each dimension."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import click

from loadgen.capacity.campaign import Campaign, Settings, applicable
from loadgen.capacity.dimension import (
    ABOUT,
    Dimension,
    check_load,
    check_use,
    default_dimensions,
    latency_of,
    sizes_of,
    source_for,
    step_of,
)
from loadgen.capacity.probing import Prober
from loadgen.capacity.result import CapacityResult, DimensionResult, Outcome, Probe
from loadgen.cli.arguments import SourceOptions
from loadgen.cli.runner import listed
from loadgen.cli.source import read_duration, read_source
from loadgen.cli.watching import output, watching
from loadgen.engine.job import Source, plan_of
from loadgen.errors import ExitCode, InputError, Problem
from loadgen.measure.document import as_json
from loadgen.measure.hlog import format_hlog
from loadgen.measure.result import environment
from loadgen.measure.thresholds import Threshold, parse_thresholds
from loadgen.report import capacity as shown
from loadgen.report.folder import ResultFolder
from loadgen.report.html import capacity_page
from loadgen.scenario.plan import Plan, Use

# Where a search begins when neither an option nor the scenario says so.
_START = 50.0


class CapacityOptions(NamedTuple):
    """The options of `loadgen capacity`, as they were given."""

    source: SourceOptions
    dimensions: tuple[str, ...]
    slos: tuple[str, ...]
    starts: tuple[str, ...]
    maxima: tuple[str, ...]
    resolution: str | None
    hold: str | None
    confirm: str | None
    results: Path
    as_json: bool
    quiet: bool


def search_capacity(options: CapacityOptions) -> int:
    """Do it; returns the exit code.

    Raises:
        InputError: something is not usable; nothing was written and nothing was sent.
    """
    source = read_source(options.source)
    searches = _settings(options, source)
    plan, _ = plan_of(source)
    started = datetime.now(UTC)
    folder = ResultFolder(options.results, started, f"capacity-{plan.scenario}", plan.digest)
    results: list[DimensionResult] = []
    code = ExitCode.PASSED

    def prepared(of: Plan, listening: Sequence[tuple[str, int]]) -> None:
        if not folder.created:
            folder.create()
            folder.write("plan.json", as_json(plan))
        if of.use is Use.SERVE_WLC:
            onlooker.say(f"{listed(listening)}: ready")

    for settings in searches:
        campaign = Campaign(settings)

        def on_probe(probe: Probe, unit: str = ABOUT[settings.dimension].unit) -> None:
            onlooker.say(shown.probe_line(probe, unit))

        with watching(f"{plan.scenario} · {settings.dimension}", quiet=options.quiet) as onlooker:
            ended = Prober(source, onlooker.show, prepared, on_probe).run(campaign)
        result = campaign.result(ended.reason)
        results.append(result)
        logs = [
            format_hlog(record.epoch_unix_s, record.merger.log_lines(record.interval_s)) for record in ended.records
        ]
        for number, log in enumerate(logs if folder.created else (), 1):
            folder.write(f"{settings.dimension}{'' if len(logs) == 1 else f'-{number}'}.hlog", log)
        code = _worst(code, ended.code, result.outcome)
        if code in (ExitCode.INTERRUPTED, ExitCode.WORKER_DIED):
            break
    document = CapacityResult(
        schema_version=CapacityResult.VERSION,
        scenario=plan.scenario,
        plan_digest=plan.digest,
        use=plan.use,
        started=started.isoformat(timespec="seconds"),
        environment=environment(),
        dimensions=tuple(results),
        exit_code=int(code),
    )
    if folder.created:
        folder.write("result.json", as_json(document))
        folder.write("report.html", capacity_page(document))
    if options.as_json:
        click.echo(as_json(document), nl=False)
    elif not options.quiet:
        output().print(shown.summary(document, str(folder.path) if folder.created else None))
    return int(code)


@contextmanager
def _noting(problems: list[Problem]) -> Iterator[None]:
    """Go on after bad input, so that all of it can be told at once."""
    try:
        yield
    except InputError as error:
        problems.extend(error.problems)


def _settings(options: CapacityOptions, source: Source) -> list[Settings]:
    """What to search, from options, the scenario's [capacity], and defaults."""
    asked = source.scenario.capacity
    dimensions = [Dimension(name) for name in options.dimensions or asked.dimensions]
    dimensions = list(dict.fromkeys(dimensions)) or list(default_dimensions(source.use))
    where = f"{source.path}: capacity"
    given: tuple[Threshold, ...] = ()
    slos: tuple[Threshold, ...] = ()
    starts: dict[Dimension, float] = {}
    maxima: dict[Dimension, float] = {}
    resolution, hold_ns, confirm_ns = asked.resolution, int(asked.hold), int(asked.confirm)
    problems: list[Problem] = []
    for dimension in dimensions:
        with _noting(problems):
            check_use(dimension, source.use)
            check_load(dimension, source.scenario)
    with _noting(problems):
        given = parse_thresholds(options.slos, "--slo")
        _check_slos(given, dimensions)  # the scenario's may be for dimensions that are not searched now
    with _noting(problems):
        slos = parse_thresholds(asked.slo, f"{where}.slo")
    with _noting(problems):
        starts = _by_dimension(options.starts, dimensions, "--start", asked.start, f"{where}.start")
    with _noting(problems):
        maxima = _by_dimension(options.maxima, dimensions, "--max", asked.max, f"{where}.max")
    with _noting(problems):
        resolution = resolution if options.resolution is None else _share(options.resolution)
    with _noting(problems):
        hold_ns = hold_ns if options.hold is None else read_duration(options.hold, "--hold")
    with _noting(problems):
        confirm_ns = confirm_ns if options.confirm is None else read_duration(options.confirm, "--confirm")
    if problems:
        raise InputError(problems)
    settings = []
    for dimension in dimensions:
        maximum = maxima.get(dimension, ABOUT[dimension].maximum)
        start = min(maximum, starts.get(dimension) or _start(dimension, source, hold_ns, int(asked.warmup)))
        # What cannot be varied shows now, and not after the searches before it.
        plan_of(source_for(dimension, source, start, hold_ns, int(asked.warmup)))
        settings.append(
            Settings(
                dimension=dimension,
                latency=latency_of(dimension, source.use),
                slos=applicable(slos + given, dimension),
                start=start,
                maximum=maximum,
                resolution=resolution,
                step=step_of(dimension, source),
                warmup_ns=int(asked.warmup),
                hold_ns=hold_ns,
                confirm_ns=confirm_ns,
                cooldown_ns=int(asked.cooldown),
            )
        )
    return settings


def _start(dimension: Dimension, source: Source, hold_ns: int, warmup_ns: int) -> float:
    """The scenario's own size: whoever wrote it thought that it would hold."""
    about, load = ABOUT[dimension], source.scenario.load
    if not about.live:
        return sizes_of(dimension, plan_of(source)[0])
    if load.kind != about.kind or load.rate is None:
        return _START
    return max(1.0, sizes_of(dimension, plan_of(source_for(dimension, source, load.rate, hold_ns, warmup_ns))[0]))


def _check_slos(slos: Sequence[Threshold], dimensions: Sequence[Dimension]) -> None:
    problems = [
        Problem("--slo", f"a figure that loads along {' or '.join(dimensions)} have", f'"{slo.text}"')
        for slo in slos
        if not any(applicable([slo], dimension) for dimension in dimensions)
    ]
    if problems:
        raise InputError(problems)


def _by_dimension(
    texts: Sequence[str], dimensions: Sequence[Dimension], option: str, asked: dict[str, float], where: str
) -> dict[Dimension, float]:
    """Numbers that were given for one dimension each, or for the only one."""
    found: dict[Dimension, float] = {}
    problems: list[Problem] = []
    names = ", ".join(Dimension)
    for name, value in asked.items():
        if name in list(Dimension):
            found[Dimension(name)] = value
        else:
            problems.append(Problem(f"{where}.{name}", f"one of {names}", "an unknown key"))
    for text in texts:
        name, equals, number = text.rpartition("=")
        if not equals and len(dimensions) > 1:
            problems.append(Problem(option, f"DIMENSION=N, with one of {', '.join(dimensions)}", f'"{text}"'))
            continue
        try:
            dimension, value = Dimension(name) if equals else dimensions[0], float(number)
            if not (math.isfinite(value) and value > 0):
                raise ValueError
        except ValueError:
            problems.append(Problem(option, f"a number above 0, or DIMENSION=N with one of {names}", f'"{text}"'))
        else:
            if dimension not in dimensions:
                problems.append(Problem(option, f"for what is searched: {', '.join(dimensions)}", f'"{text}"'))
            found[dimension] = value
    if problems:
        raise InputError(problems)
    return found


def _share(text: str) -> float:
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        if not 0 < value <= 1:
            raise ValueError
    except ValueError:
        raise InputError(Problem("--resolution", 'a share such as "5%" or "0.05"', f'"{text}"')) from None
    return value


def _worst(code: ExitCode, ended: ExitCode, outcome: Outcome) -> ExitCode:
    """Of several searches, what weighs most."""
    of_outcome = {Outcome.GENERATOR_LIMITED: ExitCode.GENERATOR_SATURATED, Outcome.INCONCLUSIVE: ExitCode.INCONCLUSIVE}
    order = [
        *(ExitCode.WORKER_DIED, ExitCode.INTERRUPTED, ExitCode.UNREACHABLE),
        *(ExitCode.GENERATOR_SATURATED, ExitCode.INCONCLUSIVE, ExitCode.PASSED),
    ]
    return min(code, ended, of_outcome.get(outcome, ExitCode.PASSED), key=order.index)
