"""`loadgen run`: run a scenario and leave a result."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("scenario", type=click.Path(path_type=Path))
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PATH=VALUE",
    help="Change a value of the scenario; repeatable.",
)
@click.option("--duration", metavar="30s", help="Length of the load's last stage, instead of the scenario's.")
@click.option("--target", metavar="wlc=HOST:PORT[,...]", help="Play the MSEs, at somebody else's WLCs.")
@click.option("--serve", type=click.Choice(["wlc", "mse"]), help="Play this side only.")
@click.option("--workers", default="auto", show_default=True, metavar="N|auto", help="Processes per side.")
@click.option(
    "--results",
    default="results",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Where to put the result folder.",
)
@click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    metavar='"NAME OP VALUE"',
    help="What the run must reach; repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print result.json, and nothing else, on stdout.")
@click.option("--quiet", is_flag=True, help="No progress and no summary.")
def run(
    scenario: Path,
    overrides: tuple[str, ...],
    duration: str | None,
    target: str | None,
    serve: str | None,
    workers: str,
    results: Path,
    thresholds: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> int:
    """Run SCENARIO: both fleets by default, or one side of it.

    The exit code tells the outcome: 0 passed, 1 a threshold failed, 2 bad input, 3 no session came up, 4 the generator
    was saturated, 5 inconclusive, 6 a worker process died, 130 interrupted.
    """
    from loadgen.cli.runner import RunOptions, run_scenario

    return run_scenario(
        RunOptions(
            scenario=scenario,
            overrides=overrides,
            duration=duration,
            target=target,
            serve=serve,
            workers=workers,
            results=results,
            thresholds=thresholds,
            as_json=as_json,
            quiet=quiet,
        )
    )
