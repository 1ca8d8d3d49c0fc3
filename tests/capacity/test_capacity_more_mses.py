"""Somebody else's MSEs, of which more come than the plan has: what is offered is what all of them are told together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np
import pytest
import trio

from loadgen.capacity import probing
from loadgen.capacity.campaign import Campaign, Settings
from loadgen.capacity.dimension import Dimension
from loadgen.capacity.probing import Ended, Prober, crowd_of, uninvited_to
from loadgen.capacity.result import DimensionResult, Outcome
from loadgen.errors import ExitCode
from loadgen.measure.merge import Merger
from loadgen.measure.recorder import Recorder
from loadgen.prepare.job import Source
from loadgen.report.tried import shared_by
from loadgen.results.outcome import load_crowd
from loadgen.results.record import Load
from loadgen.scenario.plan import Plan, Use, make_plan
from loadgen.scenario.reading import load_scenario
from loadgen.scenario.schedule import RateStage
from loadgen.units import NS_PER_S

SETTINGS = Settings(
    dimension=Dimension.NOTIFICATIONS,
    latency="notify.lag",
    slos=(),
    start=100,
    maximum=100_000,
    resolution=0.05,
    step=0,
    warmup_ns=NS_PER_S,
    hold_ns=4 * NS_PER_S,
    confirm_ns=4 * NS_PER_S,
    cooldown_ns=0,
)


def source_of(tmp_path: Path, wlcs: int = 1, use: Use = Use.SERVE_WLC) -> Source:
    path = tmp_path / "s.toml"
    wlc, mse = f"[wlc]\ncount = {wlcs}\nauthenticate = false\n", "[mse]\ncount = 1\n"
    path.write_text(f'name = "s"\n{wlc}{mse}[load]\nrate = 100\n', "utf-8")
    return Source(path, *load_scenario(path), use)


def planned(tmp_path: Path, wlcs: int = 1, use: Use = Use.SERVE_WLC) -> Plan:
    source = source_of(tmp_path, wlcs, use)
    return make_plan(source.scenario, source.profile, use=use)


class Fleet:
    """WLCs of ours, at whose MSEs' end there are so many sessions; together these take up to `capacity` a second.

    Attributes:
        sessions: by number of the load, how many there are at its end.
        loads: that were made.
    """

    stopping = False

    def __init__(self, sessions: Callable[[int], int], capacity: float) -> None:
        self.sessions, self.capacity = sessions, capacity
        self.merger = Merger()
        self.loads: list[Load] = []
        self.workers = 1
        self.fleet = self
        self._recorder = Recorder()
        self._recorder.counters.update(
            {
                "sessions.attempted": sessions(0),
                "sessions.established": sessions(0),
                "notify.unacknowledged_bytes": 0,
                "notify.unacknowledged_before_bytes": 0,
            }
        )
        self._report()

    async def run(self, lead: Callable[[Fleet], Awaitable[None]], _wait_ns: int | None) -> Any:
        await lead(self)
        return SimpleNamespace(health=(), deaths=(), interrupted=False, merger=self.merger, loads=self.loads)

    async def until(self, _done: Callable[[], bool]) -> None:
        await trio.sleep_forever()

    async def load(self, stages: Sequence[RateStage]) -> None:
        before = self.merger.counters()
        load = Load(tuple(stages), before)
        self.loads.append(load)
        there = self.sessions(len(self.loads))
        counters = self._recorder.counters
        counters["sessions.established"] = there
        for stage in stages:
            due = round(stage.start_per_s * there * stage.duration_ns / NS_PER_S)
            done = min(due, round(self.capacity * stage.duration_ns / NS_PER_S))
            self._recorder.record_column("notify.lag", np.full(done, 5), stage.name)
            counters.update({"notify.due": due, "notify.sent": done, "notify.sent_bytes": 99 * done})
            counters["notify.dropped"] += due - done
        self._report()
        load.end()

    async def settle(self, drain_s: float) -> Load:
        self.loads[-1].after = self.merger.counters()
        return self.loads[-1]

    def _report(self) -> None:
        self.merger.add("wlc-0", self._recorder.take(len(self.loads)))


Search: TypeAlias = Callable[[Fleet], tuple[DimensionResult, Ended]]


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Search:
    """Over the sessions of a fleet like that: what was found, and how the search ended."""

    def search(fleet: Fleet) -> tuple[DimensionResult, Ended]:
        monkeypatch.setattr(probing, "Supervisor", lambda *_, **__: fleet)
        campaign, unused = Campaign(SETTINGS), Any
        ended = Prober(source_of(tmp_path), unused, unused, lambda _: None, unused).run(campaign)
        return campaign.result(), ended

    return search


@pytest.mark.parametrize("sessions", [1, 2, 3])
def test_the_limit_is_of_what_all_sessions_take_together(sessions: int, search: Search) -> None:
    """Twice as many MSEs as planned do not halve the limit."""
    result, ended = search(fleet := Fleet(lambda _: sessions, 1000))
    assert ended == (ExitCode.PASSED, "")
    assert len(fleet.loads) == len(result.probes)  # how many there are is known before the first
    assert result.outcome is Outcome.FOUND
    assert result.limit is not None
    assert 1000 / 1.05 <= result.limit <= 1000 / 0.99
    assert all(probe.achieved <= probe.offered * 1.01 for probe in result.probes)
    assert {probe.sessions for probe in result.probes} == {sessions}
    each = f"on {sessions} sessions together: {result.limit / sessions:,.4g} notifications/s each"
    assert shared_by(result) == ("" if sessions == 1 else each)


def test_a_load_during_which_another_mse_came_is_made_again(search: Search) -> None:
    fleet = Fleet(lambda load: 1 if load < 3 else 2, 1000)
    result, ended = search(fleet)
    assert ended == (ExitCode.PASSED, "")
    assert result.limit is not None
    assert 1000 / 1.05 <= result.limit <= 1000 / 0.99
    assert len(fleet.loads) == len(result.probes) + 1
    assert all(probe.achieved <= probe.offered * 1.01 for probe in result.probes)


def test_mses_that_come_again_and_again_end_the_search(search: Search) -> None:
    fleet = Fleet(lambda load: 1 + load, 1e9)
    result, ended = search(fleet)
    assert ended == (ExitCode.INCONCLUSIVE, "more MSEs came while loads were on, again and again")
    assert len(fleet.loads) == 9 > len(result.probes) == 0


DEAD = "errors.serve.neighbor_dead"


class Mortal(Fleet):
    """As a fleet whose session is dead to us behind some load: before the next, or (`within`) when it is drained."""

    def __init__(self, loads: int, *, within: bool = False) -> None:
        super().__init__(lambda _: 1, 1000)
        self.alive, self.within = loads, within

    def _die(self, *, within: bool) -> None:
        if len(self.loads) == self.alive and within is self.within:
            self._recorder.counters.update({"sessions.lost": 1, DEAD: 1})
            self._report()

    async def settle(self, drain_s: float) -> Load:
        self._die(within=True)
        return await super().settle(drain_s)

    async def until(self, done: Callable[[], bool]) -> None:
        self._die(within=False)
        await super().until(done)


@pytest.fixture
def search_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[DimensionResult, Ended]]:
    """Over the sessions of one fleet after the other."""

    def search_over(*fleets: Fleet) -> tuple[DimensionResult, Ended]:
        left = iter(fleets)
        monkeypatch.setattr(probing, "Supervisor", lambda *_, **__: next(left))
        campaign, unused = Campaign(SETTINGS), Any
        ended = Prober(source_of(tmp_path), unused, unused, lambda _: None, unused).run(campaign)
        return campaign.result(ended.reason), ended

    return search_over


def test_what_ended_sessions_between_two_loads_is_named_and_breaks_none(
    search_over: Callable[..., tuple[DimensionResult, Ended]],
) -> None:
    why = f"sessions.lost: 1, {DEAD}: 1"
    result, ended = search_over(first := Mortal(2), second := Fleet(lambda _: 1, 1000))
    assert ended == (ExitCode.PASSED, "")
    assert (len(first.loads), len(first.loads) + len(second.loads)) == (2, len(result.probes))
    assert [probe.renewed for probe in result.probes[:4]] == ["", "", why, ""]
    assert [probe.offered for probe in result.probes[:3]] == [100, 200, 400]  # the third is not blamed for it
    assert result.limit is not None
    assert 1000 / 1.05 <= result.limit <= 1000 / 0.99


@pytest.mark.parametrize("within", [False, True])
def test_what_ended_the_sessions_of_mses_that_do_not_come_again_is_named(
    within: bool, search_over: Callable[..., tuple[DimensionResult, Ended]]
) -> None:
    result, ended = search_over(Mortal(2, within=within), Fleet(lambda _: 0, 1000))
    why = f"sessions before them were ended: sessions.lost: 1, {DEAD}: 1"
    assert ended == (ExitCode.UNREACHABLE, f"no session came up any more: 1 did; {why}")
    assert result.advice == ended.reason
    assert len(result.probes) == 2
    assert result.probes[1].broke == (("sessions.lost: 1", f"{DEAD}: 1") if within else ())


def test_a_target_that_ends_sessions_again_and_again_is_told_by_what(
    search_over: Callable[..., tuple[DimensionResult, Ended]],
) -> None:
    _, ended = search_over(*(Mortal(1) for _ in range(8)))
    why = f"the target ended sessions again and again: sessions.lost: 1, {DEAD}: 1"
    assert ended == (ExitCode.INCONCLUSIVE, why)


def test_how_many_times_as_much_is_due_follows_from_what_was(tmp_path: Path) -> None:
    """Also where all MSEs came to one of two WLCs; what an MSE has unsubscribed from would be due."""
    plan = planned(tmp_path, wlcs=2)
    stages = (RateStage("hold", 0, NS_PER_S, 100.0, 100.0),)
    load = Load(stages, Counter({"notify.due": 7}))
    for due, declined, crowd in ((100, 0, 1.0), (200, 0, 2.0), (150, 50, 2.0), (50, 0, 1.0)):
        load.after = Counter({"notify.due": 7 + due, "notify.declined": declined})
        assert load_crowd(plan, load) == crowd
    there = Counter({"sessions.established": 9, "sessions.closed": 2, "sessions.lost": 1})
    assert crowd_of(plan, there) == 3
    assert crowd_of(plan, Counter({"sessions.established": 1})) == 1
    assert crowd_of(planned(tmp_path, wlcs=2, use=Use.BOTH), there) == 1


@pytest.mark.parametrize(
    ("counters", "use", "told"),
    [
        ({"sessions.established": 4}, Use.SERVE_WLC, "4 sessions came where mse.count and mse.assign have 2: "),
        ({"sessions.established": 4, "sessions.lost": 1, "sessions.left_early": 1}, Use.SERVE_WLC, ""),
        ({"sessions.established": 2}, Use.SERVE_WLC, ""),
        ({"sessions.established": 4}, Use.BOTH, ""),
    ],
)
def test_a_load_of_sessions_to_which_more_came_is_another_one(
    counters: dict[str, int], use: Use, told: str, tmp_path: Path
) -> None:
    said = uninvited_to(planned(tmp_path, wlcs=2, use=use), Counter(counters))
    assert said.startswith(told)
    assert bool(said) == bool(told)
