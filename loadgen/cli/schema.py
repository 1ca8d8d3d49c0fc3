"""`loadgen schema`: JSON Schemas of what the program reads and writes."""

from __future__ import annotations

import click


@click.command()
@click.argument("what", type=click.Choice(["result", "plan"]))
def schema(what: str) -> None:
    """Print the JSON Schema of result.json or plan.json."""
    import msgspec

    from loadgen.measure.result import RunResult
    from loadgen.scenario.plan import Plan

    of = {"result": RunResult, "plan": Plan}[what]
    document = msgspec.json.schema(of)
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
