"""`loadgen export`: results in formats that other programs read."""

from __future__ import annotations

from pathlib import Path

import click

FORMATS = ("markdown", "junit", "benchmark-smaller", "benchmark-bigger", "bmf", "csv")


@click.command(short_help="Write the result of a run in another format.")
@click.argument("results", metavar="RESULT...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--format", "form", required=True, type=click.Choice(FORMATS), help="What to write.")
@click.option("--out", type=click.Path(path_type=Path), help="Where to write it, instead of to stdout.")
def export(results: tuple[Path, ...], form: str, out: Path | None) -> None:
    """Write RESULT, a result folder or its result.json, in another format.

    Several results are for markdown (one below the other) and csv (all in one table).
    """
    from loadgen.commands.results import export_saved

    export_saved(results, form, out)
