"""`loadgen schema`: JSON Schemas of what the program writes."""

from __future__ import annotations

import click

from loadgen.cli.output import say


@click.command()
@click.argument("what", type=click.Choice(["result", "plan", "capacity", "comparison"]))
def schema(what: str) -> None:
    """Print the JSON Schema of plan.json, or of result.json: of a run (result), a search or a comparison."""
    import msgspec

    from loadgen.capacity.result import CapacityResult
    from loadgen.compare.result import Comparison
    from loadgen.measure.result import RunResult
    from loadgen.scenario.plan import Plan

    of = {"result": RunResult, "plan": Plan, "capacity": CapacityResult, "comparison": Comparison}[what]
    document = msgspec.json.schema(of)
    say(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
