"""`loadgen run`: run a scenario and leave a result."""

from __future__ import annotations

from pathlib import Path

import click

from loadgen.cli.arguments import (
    json_option,
    key_log_option,
    loading,
    quiet_option,
    results_option,
    source_options,
    threshold_option,
    wait_option,
)
from loadgen.commands.options import RunOptions, SourceOptions


@click.command()
@source_options
@click.option("--duration", metavar="30s", help="Length of the load's last stage, instead of the scenario's.")
@wait_option
@results_option
@threshold_option
@json_option
@quiet_option
@click.option(
    "--trace",
    metavar="FILE|-",
    help="Write handshakes as a controller traces them into FILE, or on stderr, each once it is over.",
)
@click.option(
    "--trace-limit",
    type=click.IntRange(1, 100_000),
    metavar="N",
    help="Trace the first N handshakes of each side only.  [default: 100]",
)
@key_log_option
def run(
    source: SourceOptions,
    duration: str | None,
    wait_for_target: str | None,
    results: Path,
    thresholds: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    trace: str | None,
    trace_limit: int | None,
    keylog: Path | None,
) -> int:
    """Run SCENARIO: both fleets by default, or one side of it.

    The exit code tells the outcome: 0 passed, 1 a threshold failed, 2 bad input, 3 no session came up, 4 the generator
    was saturated, 5 inconclusive, 6 a worker process died, 7 a file could not be written, 130 interrupted.
    """
    with loading():
        from loadgen.commands.showing_run import run_scenario

    options = RunOptions(source, duration, wait_for_target, results, thresholds, keylog)
    return run_scenario(options, json=as_json, quiet=quiet, trace=trace, trace_limit=trace_limit)
