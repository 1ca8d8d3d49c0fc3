"""The Locust master's side: importing this module makes the process one (scenarios/locustfile.py does).

Nothing here or below may import trio: gevent has removed select.epoll from this process.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

import gevent
import locust
from locust import User, events, stats, task
from locust.env import Environment
from locust.exception import StopTest
from locust.runners import MasterRunner
from locust.web import WebUI

from loadgen.distributed.master.command_line import add_options
from loadgen.distributed.master.leader import Leader
from loadgen.distributed.master.local_workers import LocalWorkers
from loadgen.distributed.master.tables import Csv, CsvFiles
from loadgen.distributed.master.web import serve
from loadgen.distributed.messages import LOCUST_VERSION
from loadgen.distributed.rows import bucket_ms
from loadgen.distributed.users import UserClass
from loadgen.errors import ExitCode, InputError
from loadgen.run.signals import ending
from loadgen.units import NS_PER_MS

log = logging.getLogger("loadgen.master")

# The locustfile's own folder has it.
_DEFAULT_SCENARIO = "locust.toml"


class _Played(User):
    """A user that workers of ours play; here it has only a name."""

    abstract = True

    @task
    def session(self) -> NoReturn:
        """Never runs: a master has no users of its own."""
        raise NotImplementedError("played by `loadgen locust-worker`")


class WlcUser(_Played):
    """A WLC; see loadgen.distributed.users."""


class MseUser(_Played):
    """An MSE; see loadgen.distributed.users."""


_USERS: dict[str, type] = {UserClass.WLC.value: WlcUser, UserClass.MSE.value: MseUser}
# What Locust's tables and charts show; it shows the median anyway.
stats.PERCENTILES_TO_STATISTICS = [0.99, 0.999]
stats.PERCENTILES_TO_CHART = [0.5, 0.99]
# A user is there when its session is, or has failed, which may take as long as mse.setup_timeout. Locust waits 1 s.
os.environ.setdefault("LOCUST_WAIT_FOR_WORKERS_REPORT_AFTER_RAMP_UP", "20")
# As workers of ours count, though nothing is measured in this process.
stats.bucket_response_time = lambda response_ms: bucket_ms(response_ms * NS_PER_MS)  # type: ignore[assignment,return-value]
# What Locust's main function makes when there is a runner; it finds them here.
stats.StatsCSV, stats.StatsCSVFileWriter = Csv, CsvFiles  # type: ignore[misc]


def _begin(environment: Environment, runner: object, web_ui: WebUI | None, **_: object) -> None:
    """The master is there: check what it was told, and get it workers."""
    if not isinstance(runner, MasterRunner):
        return
    _check_version()
    _lead_interrupts()
    options: Any = environment.parsed_options
    environment.host = environment.host or options.target  # whom the load is for, in Locust's words
    leader = Leader(environment, Path(options.results), _default_scenario(environment), _USERS)
    at_once = options.headless or options.autostart
    try:
        leader.prepare(leader.check(vars(options), options.num_users or 1))
    except InputError as error:
        if at_once:
            for problem in error.problems:
                sys.stderr.write(f"loadgen: {problem}\n")
            sys.exit(ExitCode.BAD_INPUT)
        for problem in error.problems:
            log.warning("no run can be started like that: %s", problem)
    _listen(environment, leader)
    if web_ui is not None:
        serve(web_ui, environment, leader, options.local_workers)
    if options.local_workers:

        def died(left: int) -> None:
            if not left and at_once and not leader.runs:
                log.error("no local worker is left")
                # Locust waits for workers that will never come; this ends its main greenlet.
                sys.exit(1)

        workers = LocalWorkers(options.local_workers, runner.server.port, died)
        # The load shares this machine, and comes first.
        os.sched_setscheduler(0, os.SCHED_BATCH | os.SCHED_RESET_ON_FORK, os.sched_param(0))
        atexit.register(workers.end)
        # The runner's own listener, which tells the workers to quit, has been added before: and goes last.
        events.quitting.add_listener(lambda **_: _quit(runner, workers))


def _lead_interrupts() -> None:
    """Have Ctrl-C always end the main greenlet, which shuts Locust down.

    By default it raises KeyboardInterrupt in whichever greenlet runs: in another one, it becomes Locust's exit code 2
    ("unhandled exception"), and two of them in a row are lost. A terminal that is closed ends the run likewise; Locust
    by itself would be gone at once, and all figures with it. (At SIGTERM it shuts down by itself.)
    """
    main = gevent.get_hub().parent
    for number in ending():
        if number is not signal.SIGTERM:
            gevent.signal_handler(number, lambda: main.throw(KeyboardInterrupt))


def _quit(runner: MasterRunner, workers: LocalWorkers) -> None:
    runner.quit()
    workers.end()


def _listen(environment: Environment, leader: Leader) -> None:
    runner, options = environment.runner, environment.parsed_options
    assert isinstance(runner, MasterRunner)
    assert options is not None

    def start(**_: object) -> None:
        try:
            leader.start()
        except InputError as error:
            for problem in error.problems:
                log.error("the run is not started: %s", problem)
            if options.headless:
                environment.process_exit_code = int(ExitCode.BAD_INPUT)
                gevent.spawn(runner.quit)
            raise StopTest from error

    def report(client_id: str, data: dict[str, Any], **_: object) -> None:
        leader.take(client_id, data)
        # As long as there is another message, Locust's listener takes it. Of hundreds of workers there may always be
        # one, and the web UI and the watch over the run have to get their turn.
        gevent.sleep(0)

    def finish(**_: object) -> None:
        leader.finish()
        if (options.headless or options.autostart) and leader.last is not None:
            # What has passed leaves it to Locust: 0, or 1 if anything failed.
            environment.process_exit_code = leader.last.result.verdict.exit_code or None

    def leave(**_: object) -> None:
        if options.headless and not runner.worker_count:
            gevent.spawn(runner.quit)  # the last worker went: whatever else was to come, nobody is there to do it

    environment.events.test_start.add_listener(start)
    environment.events.worker_report.add_listener(report)
    environment.events.test_stopping.add_listener(finish)
    environment.events.test_stop.add_listener(leave)


def _default_scenario(environment: Environment) -> Path:
    files = environment.parsed_locustfiles or [""]
    return Path(files[0]).resolve().parent / _DEFAULT_SCENARIO


def _check_version() -> None:
    ours, theirs = (version.split(".")[:2] for version in (LOCUST_VERSION, locust.__version__))
    if ours != theirs:
        log.warning(
            "Locust %s is installed; loadgen speaks the protocol of %s, and another one may not work",
            locust.__version__,
            LOCUST_VERSION,
        )


events.init_command_line_parser.add_listener(lambda parser, **_: add_options(parser))
events.init.add_listener(_begin)
