"""`loadgen capacity`: search for the limits of a target."""

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
    wait_option,
)
from loadgen.commands.options import CapacityOptions, SourceOptions


@click.command(short_help="Search for the limits of the target of SCENARIO.")
@source_options
@click.option(
    "--dimension",
    "dimensions",
    multiple=True,
    type=click.Choice(["handshake.per_s", "notify.per_s", "sessions", "stations", "scale", "speed"]),
    help="What to raise; repeatable. Default: handshakes and notifications, as far as our side makes them.",
)
@click.option(
    "--slo",
    "slos",
    multiple=True,
    metavar='"NAME OP VALUE"',
    help="What must hold under every load, instead of the scenario's capacity.slo; repeatable.",
)
@click.option("--start", "starts", multiple=True, metavar="[DIMENSION=]N", help="Where to begin.")
@click.option("--max", "maxima", multiple=True, metavar="[DIMENSION=]N", help="Where to end, if nothing breaks before.")
@click.option("--resolution", metavar="5%", help="How exact the limit is to be.")
@click.option("--hold", metavar="4s", help="How long each load is held.")
@click.option("--confirm", metavar="12s", help="How long the limit is held in the end.")
@wait_option
@results_option
@json_option
@quiet_option
@key_log_option
def capacity(
    source: SourceOptions,
    dimensions: tuple[str, ...],
    slos: tuple[str, ...],
    starts: tuple[str, ...],
    maxima: tuple[str, ...],
    resolution: str | None,
    hold: str | None,
    confirm: str | None,
    wait_for_target: str | None,
    results: Path,
    as_json: bool,
    quiet: bool,
    keylog: Path | None,
) -> int:
    """Search for the limits of the target of SCENARIO: doubling, bisecting, confirming.

    Exit codes: 0 every limit was found, or not reached up to the maximum; 2 bad input, 3 no session came up, 4 the
    generator was the limit, 5 inconclusive, 6 a worker process died, 7 a file could not be written, 130 interrupted.
    """
    with loading():
        from loadgen.commands.showing_search import search_capacity

    options = CapacityOptions(
        source, dimensions, slos, starts, maxima, resolution, hold, confirm, wait_for_target, results, keylog
    )
    return search_capacity(options, json=as_json, quiet=quiet)
