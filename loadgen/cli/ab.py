"""`loadgen ab`: is one target slower than the other? Interleaved runs in one session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from loadgen.cli.arguments import loading, quiet_option, results_option, source_options
from loadgen.cli.compare import format_options
from loadgen.commands.options import SourceOptions


@click.command()
@source_options
@click.option("--a", required=True, metavar="TARGET", help="The baseline.")
@click.option("--b", required=True, metavar="TARGET", help="What is to be judged.")
@click.option("--pairs", default=6, show_default=True, help="Pairs of runs, A and B, in ABBA order.")
@click.option("--control", default=2, show_default=True, help="Pairs of A and A before them: what noise is.")
@click.option("--duration", metavar="30s", help="Length of the load's last stage, instead of the scenario's.")
@results_option
@format_options
@quiet_option
def ab(
    source: SourceOptions,
    a: str,
    b: str,
    pairs: int,
    control: int,
    duration: str | None,
    results: Path,
    quiet: bool,
    **output: Any,
) -> int:
    """Run SCENARIO against A and B in turns, and judge B by A.

    A TARGET is wlc=HOST:PORT[,...], or a command that starts WLCs, prints a line on stdout when they are ready (with
    each HOST:PORT, if that is not the scenario's) and is ended after each run: `loadgen run S.toml --serve wlc` is
    one. With --serve wlc it is a command that starts an MSE.

    The exit code tells the outcome: 0 no regression, 1 a regression, 2 bad input, 5 inconclusive,
    7 a file could not be written, 130 interrupted.
    """
    with loading():
        from loadgen.commands.pairing import AbOptions, run_pairs

    return run_pairs(AbOptions(source, (a, b), pairs, control, duration, results, quiet, **output))
