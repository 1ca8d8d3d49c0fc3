"""Leads the runs of a Locust master, one after the other: orders to the workers, their reports, and a result folder."""

from __future__ import annotations

import logging
import os
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import gevent
import msgspec
from gevent.event import Event
from locust.env import Environment
from locust.runners import STATE_MISSING, MasterRunner

from loadgen.distributed.arguments import Chosen, choose
from loadgen.distributed.master.tables import Account, Books, install
from loadgen.distributed.master.whole import BadReport, WholeRun
from loadgen.distributed.messages import FINISH, INTERVAL_NS, KEY
from loadgen.distributed.rows import row_rates
from loadgen.errors import InputError, Problem
from loadgen.measure.histogram import Histogram
from loadgen.report.folder import ResultFolder
from loadgen.report.html import run_page
from loadgen.report.live import Moment, RunPhase
from loadgen.results.document import as_json
from loadgen.results.health import Verdict
from loadgen.results.missing import refuse_missing
from loadgen.results.result import RunResult
from loadgen.results.thresholds import Threshold, parse_thresholds
from loadgen.scenario.plan import Plan
from loadgen.units import NS_PER_S

# How long workers may take to end their sessions in order and hand in their last figures.
FINISH_S = 30.0
_LOOK_S = 0.1
_WATCH_S = 1.0
# Everybody asks all the time how the run stands: it is reckoned once a second, and for a tenth of the time at most.
_LIVE_S = 1.0
_LIVE_SHARE = 10
# Of hundreds of workers, result.json takes its time to be made: a thirtieth of the master's at most.
_SAVE_SHARE = 30

log = logging.getLogger("loadgen.master")


class _Run(NamedTuple):
    """The run that is on."""

    whole: WholeRun
    plan: Plan
    chosen: Chosen
    folder: ResultFolder
    started_ns: int
    watch: gevent.Greenlet
    ended: Event


class LastRun(NamedTuple):
    """The last run, once it is over. Attributes: trouble: why its folder is not complete; empty: it is."""

    result: RunResult
    curves: dict[str, Histogram]
    path: Path
    trouble: str
    workers: int


class Leader:
    """Of one master.

    Attributes:
        last: the last run that ended.
        ending: a run is being ended; no other can start.
        writing: its figures are final, and on their way to the disk.
        runs: how many were started.
    """

    def __init__(self, environment: Environment, results: Path, default_scenario: Path, users: dict[str, type]) -> None:
        """Args: users: the user classes of the locustfile, by name."""
        self._environment = environment
        self._results = results
        self._default_scenario = default_scenario
        self._users = users
        self._run: _Run | None = None
        self._complained: set[str] = set()
        self.writing = False
        self._account = Account()
        self._live: RunResult | None = None
        self._live_stale_at = 0.0
        self.last: LastRun | None = None
        self.ending = False
        self.runs = 0

    @property
    def _runner(self) -> MasterRunner:
        runner = self._environment.runner
        assert isinstance(runner, MasterRunner)
        return runner

    # -- before a run --------------------------------------------------------------------------------------------

    def check(self, options: dict[str, Any], users: int) -> Chosen:
        """What a run with these options would be; nothing is changed by asking.

        Args:
            options: by the names of `arguments.ARGUMENTS`, and `user_classes`: names that somebody picked.

        Raises:
            InputError: every problem.
        """
        problems: list[Problem] = []
        chosen = None
        try:
            chosen = choose(options, self._default_scenario, tuple(options.get("user_classes") or ()))
            refuse_missing(demands_of(chosen), chosen.plan(users), "threshold")
        except InputError as error:
            problems += error.problems
        if (problem := _not_writable(self._results)) is not None:
            problems.append(problem)
        if problems or chosen is None:
            raise InputError(problems)
        return chosen

    def scenario_of(self, options: dict[str, Any]) -> Path:
        """The scenario's file. Args: options: by the names of `arguments.ARGUMENTS`."""
        return Path(options["scenario"] or self._default_scenario)

    def prepare(self, chosen: Chosen) -> None:
        """From now on, users are of the classes that fit what was chosen."""
        self._environment.user_classes = [self._users[name.value] for name in chosen.fleets]

    def check_change(self, options: dict[str, Any], users: int) -> None:
        """A run is on, and is to have another number of users.

        Raises:
            InputError: that number cannot be, or something else is to change that cannot.
        """
        assert self._run is not None
        now = self._run.chosen
        then = self.check({**options, "user_classes": [name.value for name in now.fleets]}, users)
        if msgspec.to_builtins(then.orders("", 0, 0, 0)) != msgspec.to_builtins(now.orders("", 0, 0, 0)):
            expected = "what the run began with: only the number of users can change while it is on"
            raise InputError(Problem("custom parameters", expected, "something else; stop the run first"))

    def expect(self, users: int) -> None:
        """The run that is on is about to have this number of users: workers prepare for them."""
        getattr(self._environment.parsed_options, KEY)["users"] = users

    # -- a run ---------------------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        return self._run is not None

    def start(self) -> None:
        """Make a run: its orders, its folder, its account.

        Raises:
            InputError: it cannot be; nothing was sent.
        """
        runner, options = self._runner, self._environment.parsed_options
        wanted = [user.__name__ for user in self._environment.user_classes]
        users, workers = runner.target_user_count, runner.worker_count
        chosen = choose(vars(options), self._default_scenario, wanted)
        plan = chosen.plan(users)
        epoch_ns = _unix_ns()
        orders = chosen.orders(uuid.uuid4().hex, epoch_ns, users, workers)
        folder = ResultFolder(
            self._results, datetime.fromtimestamp(epoch_ns / NS_PER_S, UTC), plan.scenario, plan.digest
        )
        folder.create()
        folder.write("plan.json", as_json(plan))
        folder.check()
        histograms = folder.log("histograms.hlog", epoch_ns / NS_PER_S)
        # From here it goes to the workers with every spawn message.
        setattr(options, KEY, msgspec.to_builtins(orders))
        whole = WholeRun(orders.run, plan, demands_of(chosen), epoch_ns)
        whole.on_whole = lambda interval: histograms.append(interval.lines(INTERVAL_NS / NS_PER_S))
        _save(whole, folder)
        watch = gevent.spawn(self._watch, whole, folder)
        for client in runner.clients:  # every one of them will be told of the users that it is to have
            whole.enlist(client, runner.get_worker_index(client))
        self._run = _Run(whole, plan, chosen, folder, epoch_ns, watch, Event())
        self._complained.clear()
        self._account, self._live, self._live_stale_at = Account(), None, 0.0
        install(self._environment.stats, Books(self.account, lambda: _unix_ns() / NS_PER_S))
        self.runs += 1
        names = " and ".join(name.value for name in chosen.fleets)
        log.info("run of %s with %s, %d worker(s); results in %s", chosen.path, names, workers, folder.path)

    def take(self, client: str, data: dict[str, Any]) -> None:
        """A worker's report."""
        report = data.get(KEY)
        if self._run is None or report is None or self.writing:
            return
        if client not in self._runner.clients:
            return  # Locust has discarded the rest of it, too
        try:
            index, settled = self._runner.get_worker_index(client), self._runner.spawning_completed
            self._run.whole.take_untrusted(client, index, report, _unix_ns(), settled=settled)
        except BadReport as error:
            if client not in self._complained:
                self._complained.add(client)
                log.error("worker %s sends reports that are none, and they are left out: %s", client, error)

    def finish(self) -> None:
        """End the run: let the workers end their load, collect their last figures, and write the result.

        A second call meanwhile waits for the first one.
        """
        run = self._run
        if run is None:
            return
        if self.ending:
            run.ended.wait()
            return
        self.ending = True
        try:
            self._collect(run)
            self.writing = True
            self._conclude(run)
        finally:
            self.ending = self.writing = False
            self._run = None
            run.ended.set()

    def _collect(self, run: _Run) -> None:
        """Wait until no worker has anything left to tell; a second Ctrl-C leaves it at what there is."""
        self._look(run.whole)
        run.whole.finishing(_unix_ns())
        self._runner.send_message(FINISH, {"run": run.whole.run})
        deadline = time.monotonic() + FINISH_S
        try:
            while run.whole.pending() and time.monotonic() < deadline:
                gevent.sleep(_LOOK_S)
                self._look(run.whole)
        except KeyboardInterrupt:
            late = len(run.whole.pending())
            log.warning("interrupted again: the last figures of %d worker(s) are not waited for", late)
        run.watch.kill(block=False)

    def _conclude(self, run: _Run) -> None:
        # In a thread: the master has to go on answering its workers and its web UI.
        written = gevent.get_hub().threadpool.spawn(_write, run, _unix_ns(), self._runner.worker_count)
        while self.last is None or self.last.path != run.folder.path:
            try:
                self.last = written.get()
            except KeyboardInterrupt:
                log.warning("interrupted again: the result is being written")
        self._account = Account(row_rates(self.last.result), run.whole.until_unix_ns(_unix_ns()) / NS_PER_S)
        verdict = self.last.result.verdict
        reasons = "; ".join(verdict.reasons)
        if verdict.generator is Verdict.INVALID:
            log.error("generator INVALID: the figures are not the target's. %s", reasons)
        else:
            log.info("generator %s, %s%s", verdict.generator, verdict.outcome, f": {reasons}" if reasons else "")
        if self.last.trouble:
            log.error("the result could not be written: %s", self.last.trouble)
        else:
            log.info("results in %s", self.last.path)

    # -- workers that go -----------------------------------------------------------------------------------------

    def _watch(self, whole: WholeRun, folder: ResultFolder) -> None:
        saved, again_at = whole.latest_whole, 0.0
        while True:
            gevent.sleep(_WATCH_S)
            self._look(whole)
            begun = time.monotonic()
            if whole.latest_whole > saved and begun >= again_at:  # without a thread: there is no other writer then
                saved = whole.latest_whole
                _save(whole, folder)
                again_at = begun + _SAVE_SHARE * (time.monotonic() - begun)

    def _look(self, whole: WholeRun) -> None:
        """Who takes part, and who is no more."""
        runner = self._runner
        if runner.spawning_completed:
            whole.want(runner.target_user_count)
        for client, worker in runner.clients.items():
            if worker.state == STATE_MISSING:
                whole.lose(client, "was not heard of any more")
            elif worker.user_count:
                whole.enlist(client, runner.get_worker_index(client))
        for client in whole.pending():
            if client not in runner.clients:
                whole.lose(client, "left before the end")

    # -- for whoever watches -------------------------------------------------------------------------------------

    def moment(self) -> Moment:
        """Where the run stands, or the last one stood."""
        runner = self._runner
        if self._run is not None:
            return Moment(
                phase=RunPhase.ENDING if self.ending else RunPhase.RUNNING,
                users=runner.user_count,
                wanted=runner.target_user_count,
                workers=runner.worker_count,
                active=self._run.whole.active,
                elapsed_s=(_unix_ns() - self._run.started_ns) / NS_PER_S,
            )
        if (last := self.last) is None:
            return Moment(RunPhase.NONE, workers=runner.worker_count)
        return Moment(
            RunPhase.ENDED,
            workers=last.workers,
            elapsed_s=last.result.load_s,
            folder=str(last.path),
            trouble=last.trouble,
        )

    def figures(self) -> tuple[RunResult | None, dict[str, Histogram]]:
        """Of the run so far, or of the last one; None before anything was measured."""
        if self._run is not None:
            self._look_at(self._run)
            return (None, {}) if self._live is None else (self._live, self._run.whole.histograms())
        return (None, {}) if self.last is None else (self.last.result, self.last.curves)

    def account(self) -> Account:
        """The rates of the run so far, or of the last one; a little old, because everybody asks all the time."""
        if self._run is not None and not self.writing:
            self._look_at(self._run)
        return self._account

    def _look_at(self, run: _Run) -> None:
        """How it stands, unless that is known."""
        begun = time.monotonic()
        if begun < self._live_stale_at or not run.whole.counters:
            return
        now_ns = _unix_ns()
        self._live = run.whole.live(now_ns)
        self._account = Account(row_rates(self._live), run.whole.until_unix_ns(now_ns) / NS_PER_S)
        now = time.monotonic()
        self._live_stale_at = now + max(_LIVE_S, _LIVE_SHARE * (now - begun))


def demands_of(chosen: Chosen) -> tuple[Threshold, ...]:
    """The scenario's thresholds.

    Raises:
        InputError
    """
    rules = [rule if isinstance(rule, str) else rule.threshold for rule in chosen.scenario.thresholds]
    return parse_thresholds(rules, f"{chosen.path}: thresholds")


def _unix_ns() -> int:
    return time.time_ns()  # workers on other machines have no other clock in common with us


def _not_writable(results: Path) -> Problem | None:
    """Why folders cannot be made there; found without making any."""
    there = results
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        return Problem(f"--results {results}", "a folder", f"{there} is a file")
    if not os.access(there, os.W_OK | os.X_OK):
        return Problem(f"--results {results}", "a folder that can be written to", f"{there} cannot")
    return None


def _write(run: _Run, now_ns: int, workers: int) -> LastRun:
    """The result, and its folder as far as the disk lets us."""
    run.whole.end()
    result, curves = run.whole.result(now_ns, ended=True), run.whole.histograms()
    run.folder.write("result.json", as_json(result))
    run.folder.close()
    run.folder.write("report.html", run_page(result, curves, as_json(run.plan)))
    return LastRun(result, curves, run.folder.path, "; ".join(run.folder.troubles), workers)


def _save(whole: WholeRun, folder: ResultFolder) -> None:
    """What stays of the run if this process does not come to its end."""
    folder.write_made("result.json", lambda: as_json(whole.unfinished(_unix_ns())))
