"""A search along each dimension: check everything, search, fill its folder. Nothing is printed here."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import NamedTuple

from loadgen.capacity.campaign import Campaign, Settings, applicable
from loadgen.capacity.dimension import (
    ABOUT,
    Dimension,
    check_load,
    check_use,
    default_dimensions,
    due_per_s,
    latency_of,
    sizes_of,
    source_for,
    step_of,
)
from loadgen.capacity.probing import Ended, Prober
from loadgen.capacity.result import CapacityResult, DimensionResult, Outcome, Probe
from loadgen.commands.key_log import key_log_path
from loadgen.commands.onlooker import Onlooker
from loadgen.commands.options import CapacityOptions
from loadgen.commands.runner import ready
from loadgen.commands.source import read_duration, read_source, read_wait
from loadgen.errors import ExitCode, InputError, Problem, noting
from loadgen.loads import LoadKind
from loadgen.measure.hlog import IntervalLog
from loadgen.prepare.job import Source, check_source, plan_of
from loadgen.report import capacity as shown
from loadgen.report.folder import ResultFolder
from loadgen.report.html import capacity_page
from loadgen.results.document import as_json
from loadgen.results.missing import missing_figures, refuse_missing
from loadgen.results.result import environment
from loadgen.results.thresholds import Threshold, parse_thresholds
from loadgen.run.forkserver import fork_server
from loadgen.run.signals import noted
from loadgen.scenario.plan import Plan, Use
from loadgen.strict import one_of
from loadgen.strict import shown as quoted

# Where a search begins when neither an option nor the scenario says so.
_START = 50.0
_UNFINISHED = "the search had not ended when this was written"


# Of a search with this title: who looks on.
OnlookerOf = Callable[[str], AbstractContextManager[Onlooker]]


class Searched(NamedTuple):
    """What was found, and where it is written. folder: None: nowhere."""

    source: Source
    plan: Plan
    result: CapacityResult
    folder: ResultFolder | None


def search(options: CapacityOptions, onlooker_of: OnlookerOf) -> Searched:
    """Do it.

    Raises:
        InputError: something is not usable; nothing was written and nothing was sent.
    """
    source = read_source(options.source)
    searches = searches_of(options, source)
    plan, _ = plan_of(source)
    wait_ns = read_wait(options.wait, source.use)
    account = _Account(options, plan, wait_ns)
    fork_server()
    for settings in searches:
        campaign = Campaign(settings)
        with onlooker_of(f"{plan.scenario} · {settings.dimension}") as onlooker:
            if source.recorded is not None and settings is searches[0]:
                from loadgen.commands.recorded import played

                for line in played(source.recorded, plan):
                    onlooker.say(line)
            onlooker.say(shown.search_line(settings))
            prober = account.prober(source, campaign, onlooker)
            ended = prober.run(campaign)
        account.end(campaign, ended, prober.key_log_trouble)
        if account.code in (ExitCode.INTERRUPTED, ExitCode.WORKER_DIED):
            break
    with noted():
        result = account.conclude()
    return Searched(source, plan, result, account.folder)


class _Account:
    """What is found, on its way to the folder, if there is to be one."""

    def __init__(self, options: CapacityOptions, plan: Plan, wait_ns: int | None) -> None:
        self._plan, self._wait_ns = plan, wait_ns
        self._key_log = key_log_path(options.key_log)
        self._key_log_trouble = ""
        self._started = datetime.now(UTC)
        self.folder: ResultFolder | None = None
        if options.results is not None:
            self.folder = ResultFolder(options.results, self._started, f"capacity-{plan.scenario}", plan.digest)
        self._found: list[DimensionResult] = []
        self.code = ExitCode.PASSED

    def prober(self, source: Source, campaign: Campaign, onlooker: Onlooker) -> Prober:
        """One that keeps account of what it does."""
        dimension, logs = campaign.settings.dimension, 0

        def prepared(of: Plan, listening: Sequence[tuple[str, int]]) -> None:
            if self.folder is not None and not self.folder.created:
                self.folder.create()
                self.folder.write("plan.json", as_json(self._plan))
                self.folder.check()
                self._save(campaign)
            if of.use is Use.SERVE_WLC:
                onlooker.say(ready(listening))

        def new_log(start_unix_s: float) -> IntervalLog | None:
            nonlocal logs
            logs += 1
            if self.folder is None:
                return None
            return self.folder.log(f"{dimension}{'' if logs == 1 else f'-{logs}'}.hlog", start_unix_s)

        def on_probe(probe: Probe) -> None:
            onlooker.say(shown.probe_line(probe, ABOUT[dimension].unit))
            self._save(campaign)

        return Prober(source, onlooker.show, prepared, on_probe, new_log, self._wait_ns, self._key_log)

    def end(self, campaign: Campaign, ended: Ended, key_log_trouble: str) -> None:
        """A search is over."""
        self._key_log_trouble = self._key_log_trouble or key_log_trouble
        result = campaign.result(ended.reason)
        self._found.append(result)
        self.code = _worst(self.code, ended.code, result.outcome)

    def conclude(self) -> CapacityResult:
        """All are."""
        folder, document = self.folder, self._document(self._found, self.code)
        if folder is not None and folder.created:
            folder.write("result.json", as_json(document))
            folder.close()
            folder.write("report.html", capacity_page(document))
        return document

    def _save(self, campaign: Campaign) -> None:
        """What stays if the search does not come to its end."""
        if self.folder is not None:
            found = [*self._found, campaign.result(_UNFINISHED)]
            self.folder.write("result.json", as_json(self._document(found, ExitCode.INTERRUPTED, unfinished=True)))

    def _document(self, found: Sequence[DimensionResult], code: int, *, unfinished: bool = False) -> CapacityResult:
        plan = self._plan
        return CapacityResult(
            schema_version=CapacityResult.VERSION,
            scenario=plan.scenario,
            plan_digest=plan.digest,
            use=plan.use,
            started=self._started.isoformat(timespec="seconds"),
            environment=environment(),
            dimensions=tuple(found),
            exit_code=int(code),
            unfinished=unfinished,
            key_log="" if self._key_log is None else str(self._key_log),
            key_log_trouble=self._key_log_trouble,
        )


def searches_of(options: CapacityOptions, source: Source) -> list[Settings]:
    """What to search, from options, the scenario's [capacity], and defaults."""
    asked = source.scenario.capacity
    if unknown := [name for name in options.dimensions if name not in list(Dimension)]:
        raise InputError([Problem("--dimension", one_of(name, list(Dimension)), quoted(name)) for name in unknown])
    dimensions = [Dimension(name) for name in options.dimensions or asked.dimensions]
    dimensions = list(dict.fromkeys(dimensions)) or list(default_dimensions(source.use))
    where = f"{source.path}: capacity"
    given: tuple[Threshold, ...] = ()
    slos: tuple[Threshold, ...] = ()
    starts: dict[Dimension, float] = {}
    maxima: dict[Dimension, float] = {}
    resolution, hold_ns, confirm_ns = asked.resolution, int(asked.hold), int(asked.confirm)
    problems: list[Problem] = []
    with noting(problems):
        check_source(source)
    for dimension in dimensions:
        with noting(problems):
            check_use(dimension, source.use)
            check_load(dimension, source.scenario)
    with noting(problems):
        given = parse_thresholds(options.slos, "--slo")
        _check_slos(given, dimensions)  # the scenario's may be for dimensions that are not searched now
    with noting(problems):
        slos = parse_thresholds(asked.slo, f"{where}.slo")
    with noting(problems):
        starts = _by_dimension(options.starts, dimensions, "--start", asked.start)
    with noting(problems):
        maxima = _by_dimension(options.maxima, dimensions, "--max", asked.max)
    with noting(problems):
        resolution = resolution if options.resolution is None else _share(options.resolution)
    with noting(problems):
        hold_ns = hold_ns if options.hold is None else read_duration(options.hold, "--hold")
    with noting(problems):
        confirm_ns = confirm_ns if options.confirm is None else read_duration(options.confirm, "--confirm")
    if problems:
        raise InputError(list(dict.fromkeys(problems)))  # some are found twice
    settings = []
    for dimension in dimensions:
        maximum = maxima.get(dimension, ABOUT[dimension].maximum)
        start = min(maximum, starts.get(dimension) or _start(dimension, source, hold_ns, int(asked.warmup)))
        # What cannot be varied shows now, and not after the searches before it.
        plan, _ = plan_of(source_for(dimension, source, start, hold_ns, int(asked.warmup)))
        refuse_missing(applicable(given or slos, dimension), plan, "--slo" if given else f"{where}.slo")
        settings.append(
            Settings(
                dimension=dimension,
                latency=latency_of(dimension, source.use, missing_figures(plan)),
                slos=applicable(given or slos, dimension),
                start=start,
                maximum=maximum,
                resolution=resolution,
                step=step_of(dimension, source),
                warmup_ns=int(asked.warmup),
                hold_ns=hold_ns,
                confirm_ns=confirm_ns,
                cooldown_ns=int(asked.cooldown),
                due_per_s=due_per_s(dimension, plan),
            )
        )
    return settings


def _start(dimension: Dimension, source: Source, hold_ns: int, warmup_ns: int) -> float:
    """The scenario's own size: whoever wrote it thought that it would hold."""
    about, load = ABOUT[dimension], source.scenario.load
    if not about.live:
        return sizes_of(dimension, plan_of(source)[0])
    if load.kind == "replay" and about.kind is LoadKind.NOTIFY:  # as it would be run
        return sizes_of(dimension, plan_of(source)[0])
    if load.kind == about.kind and load.wire_rate is not None:
        return max(1.0, load.wire_rate)
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
    texts: Sequence[str], dimensions: Sequence[Dimension], option: str, asked: dict[str, float]
) -> dict[Dimension, float]:
    """Numbers that were given for one dimension each, or for the only one."""
    found = {Dimension(name): value for name, value in asked.items()}
    problems: list[Problem] = []
    names = ", ".join(Dimension)
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
