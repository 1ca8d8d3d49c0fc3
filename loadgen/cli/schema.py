"""`loadgen schema`: JSON Schemas of what the program writes, and of the scenario that it reads."""

from __future__ import annotations

import click

from loadgen.commands.output import say


@click.command(short_help="Print the JSON Schema of a scenario or a result.")
@click.argument("what", type=click.Choice(["scenario", "result", "plan", "capacity", "comparison", "inference"]))
def schema(what: str) -> None:
    """Print the JSON Schema of a scenario, of plan.json, of result.json: of a run, a search or a comparison, or of
    what `loadgen infer --json` writes.

    That of a scenario is of its values in JSON or TOML; what several of them decide together `loadgen plan` checks.
    """
    import msgspec

    from loadgen.capacity.result import CapacityResult
    from loadgen.compare.result import Comparison
    from loadgen.infer.layout_document import LayoutDocument
    from loadgen.results.result import RunResult
    from loadgen.scenario.json_schema import plan_schema, scenario_schema

    ours = {"scenario": scenario_schema, "plan": plan_schema}
    results = {"result": RunResult, "capacity": CapacityResult, "comparison": Comparison, "inference": LayoutDocument}
    document = ours[what]() if what in ours else msgspec.json.schema(results[what])
    say(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
