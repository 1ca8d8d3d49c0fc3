"""Everything that a run needs, made and checked before it: plan, keys, workers, and what the machine allows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from loadgen.errors import InputError, Problem, noting
from loadgen.loads import LoadKind
from loadgen.nmsp import services
from loadgen.nmsp.profile import WireProfile
from loadgen.prepare.forecast import forecast
from loadgen.prepare.keys import Keys, check_keys, make_keys
from loadgen.prepare.limits import (
    MOST_WORKERS,
    allow_descriptors,
    check_local_ports,
    check_memory,
    check_sources,
    most_workers,
    workers_with_descriptors,
)
from loadgen.results.missing import refuse_missing
from loadgen.results.thresholds import Threshold, parse_thresholds
from loadgen.scenario.plan import Plan, Use, make_plan
from loadgen.scenario.schema import Scenario
from loadgen.scenario.site_plan import told_by

if TYPE_CHECKING:
    from loadgen.replay.reading import Recorded
    from loadgen.replay.recording import Tracks


class Source(NamedTuple):
    """A scenario that was read, and who is meant to play which side of it.

    Attributes:
        path: of the scenario's file; others that it names are looked for beside it.
        targets: addresses of somebody else's WLCs, instead of the scenario's.
        workers: per side: "auto" or a number.
        first, sessions_per_user: see `Plan`.
        recorded: the capture that the scenario replays.
    """

    path: Path
    scenario: Scenario
    profile: WireProfile
    use: Use
    targets: tuple[tuple[str, int], ...] = ()
    workers: str = "auto"
    duration_ns: int | None = None
    first: int = 0
    sessions_per_user: int = 0
    recorded: Recorded | None = None

    @property
    def recording(self) -> Tracks | None:
        """What WLCs of ours say, if it is that of a capture."""
        return None if self.recorded is None else self.recorded.recording


class Job(NamedTuple):
    """What a `Supervisor` takes. workers: per side."""

    plan: Plan
    profile: WireProfile
    keys: Keys
    workers: int
    recording: Tracks | None = None


def plan_of(source: Source) -> tuple[Plan, int]:
    """The plan, and how many workers a side are to run it.

    Raises:
        InputError: scenario, targets and the sides that are ours do not go together, or the machine does not allow it.
    """
    plan = make_plan(
        source.scenario,
        source.profile,
        use=source.use,
        targets=source.targets,
        duration_ns=source.duration_ns,
        first=source.first,
        sessions_per_user=source.sessions_per_user,
        replay=None if source.recorded is None else source.recorded.plan,
    )
    _check_plan(source.scenario, plan, source.path)
    workers = _workers(source.workers, plan)
    allow_descriptors(plan, workers)
    check_sources(plan)
    check_local_ports(plan)
    expected = forecast(plan, source.profile, workers)
    check_memory(expected.memory_bytes, expected.memory_available_bytes)
    return plan, workers


class Checked(NamedTuple):
    """A source of which everything was checked that can be before it is run. workers: per side."""

    source: Source
    plan: Plan
    workers: int
    demands: tuple[Threshold, ...]

    def job(self, now: datetime) -> Job:
        """With keys made for it."""
        source = self.source
        keys = make_keys(source.scenario, source.path, self.plan, now)
        return Job(self.plan, source.profile, keys, self.workers, source.recording)


def check_source(source: Source, thresholds: Sequence[str] = ()) -> Checked:
    """All that would keep it from being run, at once: of the plan, of thresholds, of the files that it names.

    Args:
        thresholds: beside the scenario's own.

    Raises:
        InputError
    """
    problems: list[Problem] = []
    demands: tuple[Threshold, ...] = ()
    with noting(problems):
        rules = [rule if isinstance(rule, str) else rule.threshold for rule in source.scenario.thresholds]
        demands = parse_thresholds(rules, f"{source.path}: thresholds")
    with noting(problems):
        demands += parse_thresholds(thresholds, "--threshold")
    slo: tuple[Threshold, ...] = ()
    with noting(problems):
        slo = parse_thresholds(source.scenario.capacity.slo, f"{source.path}: capacity.slo")
    with noting(problems):
        plan, workers = plan_of(source)
        with noting(problems):
            refuse_missing(demands, plan, "threshold")
        with noting(problems):
            refuse_missing(slo, plan, "capacity.slo")
        check_keys(source.scenario, source.path, plan)
    if problems:
        raise InputError(problems)
    return Checked(source, plan, workers, demands)


def make_job(source: Source, now: datetime) -> Job:
    """The plan, and keys made for it.

    Raises:
        InputError
    """
    plan, workers = plan_of(source)
    return Job(plan, source.profile, make_keys(source.scenario, source.path, plan, now), workers, source.recording)


def _check_plan(scenario: Scenario, plan: Plan, source: Path) -> None:
    """What shows only once scenario, targets and the sides that are ours come together."""
    if not isinstance(assign := scenario.mse.assign, str):
        beyond = {wlc for row in assign for wlc in row.wlc if wlc >= len(plan.wlcs)}
        if beyond:
            expected = f"WLCs 0 to {len(plan.wlcs) - 1}, one for each --target"
            raise InputError(Problem(f"{source}: mse.assign", expected, f"WLC {min(beyond)}"))
    notify = plan.load.kind is LoadKind.NOTIFY and plan.replay is None
    told = services.MOBILE_STATION if plan.site is None else told_by(plan.site)
    if notify and plan.use.plays_wlc and not plan.wlc.capability & plan.mse.subscription & services.mask_of(told):
        classes = ", ".join(service.label for service in told)
        what = "of mobile stations" if plan.site is None else "that the site has"
        expected = f"a class {what} and wlc.subservices offers ({classes}), or nothing would be sent"
        raise InputError(Problem(f"{source}: mse.subscribe", expected, "none"))
    if not plan.use.plays_wlc and not plan.wlcs[0].port:
        raise InputError(Problem(f"{source}: wlc.listen", "a port to dial (0 is for those who listen)", "port 0"))


def _workers(text: str, plan: Plan) -> int:
    """Per side. As many as there are cores for, unless told; more, where each would need too many descriptors."""
    most = most_workers(plan)
    if text == "auto":
        sides = 2 if plan.use is Use.BOTH else 1
        wanted = min(max(1, len(os.sched_getaffinity(0)) // sides), most)
        return workers_with_descriptors(plan, wanted) or wanted
    if text.isdecimal() and 0 < int(text) <= MOST_WORKERS:
        return min(int(text), most)
    raise InputError(Problem("--workers", f'"auto" or 1 to {MOST_WORKERS}', f'"{text}"'))
