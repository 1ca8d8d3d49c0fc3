"""`loadgen plan`: what a run would do, without doing it."""

from __future__ import annotations

import click

from loadgen.cli.arguments import source_options
from loadgen.commands.options import SourceOptions
from loadgen.commands.output import display, say


@click.command(short_help="Check SCENARIO, and print what it would ask for.")
@source_options
@click.option("--duration", metavar="30s", help="Length of the load's last stage, instead of the scenario's.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def plan(source: SourceOptions, duration: str | None, as_json: bool) -> int:
    """Check SCENARIO as `run` does, and print what it would ask of the target and of this machine. Sends nothing."""
    from loadgen.commands.source import read_source
    from loadgen.prepare.forecast import forecast
    from loadgen.prepare.job import check_source
    from loadgen.report.forecast import forecast_table
    from loadgen.results import document

    checked = check_source(read_source(source, duration))
    expected = forecast(checked.plan, checked.source.profile, checked.workers)
    if as_json:
        say(document.as_json(expected), nl=False)
    else:
        display(forecast_table(expected))
    return 0
