"""`loadgen compare`: saved results against each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

FORMATS = ("table", "markdown", "junit", "benchmark-smaller", "benchmark-bigger", "bmf", "csv", "json")
_SPLIT = "loadgen.new"


class _TwoLists(click.Command):
    """A command whose arguments come in two lists, with `--` between them.

    click's parser drops the first `--`, and with it where the second list begins, so it is cut here.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            ctx.meta[_SPLIT] = tuple(Path(arg) for arg in args[at + 1 :])
            args = args[:at]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "--", "NEW..."]


_FORMAT_OPTIONS = (
    click.option(
        "--format", "form", type=click.Choice(FORMATS), default="table", show_default=True, help="What to write."
    ),
    click.option("--json", "as_json", is_flag=True, help="The same as --format json."),
    click.option("--out", type=click.Path(path_type=Path), help="Where to write it, instead of to stdout."),
    click.option(
        "--relevant-rate",
        default=7.5,
        show_default=True,
        type=click.FloatRange(0, 100, min_open=True),
        callback=lambda _ctx, _option, percent: percent / 100,
        metavar="PERCENT",
        help="Smallest change of a rate that matters.",
    ),
    click.option(
        "--relevant-latency",
        default=15.0,
        show_default=True,
        type=click.FloatRange(0, 1000, min_open=True),
        callback=lambda _ctx, _option, percent: percent / 100,
        metavar="PERCENT",
        help="Smallest change of a latency that matters.",
    ),
)


def format_options(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options of what is written, and of what matters."""
    for decorate in reversed(_FORMAT_OPTIONS):
        command = decorate(command)
    return command


@click.command(cls=_TwoLists, short_help="Judge NEW results by BASELINE results.")
@click.argument("baseline", nargs=-1, required=True, type=click.Path(path_type=Path))
@format_options
@click.pass_context
def compare(ctx: click.Context, /, baseline: tuple[Path, ...], **options: Any) -> int:
    """Judge NEW results by BASELINE results, both of the same load.

    BASELINE and NEW are result folders or result.json files of `loadgen run`, one or more of each, with -- in between.
    Options come before the --.

    The exit code tells the outcome: 0 no regression, 1 a regression, 2 bad input, 5 inconclusive.
    """
    new: tuple[Path, ...] = ctx.meta.get(_SPLIT, ())
    if not new:
        raise click.UsageError("Missing '-- NEW...': the results to judge, behind --.", ctx)
    from loadgen.commands.results import compare_saved

    form = "json" if options["as_json"] else options["form"]
    return compare_saved(baseline, new, form, options["out"], options["relevant_rate"], options["relevant_latency"])
