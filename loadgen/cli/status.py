"""`loadgen status`: what a run that goes on in another terminal knows of its peers."""

from __future__ import annotations

import os

import click

_NICE = 19


@click.command(short_help="Ask a run that goes on for its peers.")
@click.argument("run", required=False)
@click.option("--capability", "view", flag_value="capability", help="Who offers which subservices.")
@click.option("--subscription", "view", flag_value="subscription", help="Who has subscribed to which.")
@click.option("--statistics", "view", flag_value="statistics", help="The counters of the public data model.")
@click.option("--json", "view", flag_value="json", help="Everything, in the names and structure of that model.")
@click.option("--plain", "view", flag_value="plain", help="A controller's columns only, a row for each address.")
@click.option("--yang", is_flag=True, help="With --json: that model's data only, as a controller has it.")
@click.option("--peer", metavar="ADDRESS[:PORT]", help="This peer only.")
@click.option(
    "--limit",
    type=click.IntRange(0, 1_000_000),
    help="Rows of each side; 20 by default, and all with --plain and --yang.",
)
@click.option("--all", "everything", is_flag=True, help="All rows.")
@click.option("--list", "listing", is_flag=True, help="Only which runs are going on.")
def status(
    run: str | None,
    view: str | None,
    peer: str | None,
    limit: int | None,
    *,
    yang: bool,
    everything: bool,
    listing: bool,
) -> int:
    """Ask RUN, a process id or a scenario's name, for its peers; needed only if several runs are going on.

    Inactive peers come first. Exit code 0: answered; 2: no such run, or it did not answer; 3: no run is going on.
    """
    if yang and view != "json":
        raise click.UsageError("--yang: expected --json with it")
    os.nice(_NICE)  # what it takes to start, and to show thousands of rows, must not come from the load
    from loadgen.commands.inquiry import Inquiry, inquire

    return inquire(Inquiry(run, "yang" if yang else view, peer, 1_000_000 if everything else limit, listing))
