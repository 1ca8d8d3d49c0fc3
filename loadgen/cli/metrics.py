"""`loadgen metrics`: the names of all figures, for thresholds."""

from __future__ import annotations

import click

from loadgen.commands.output import say


@click.command(short_help="List what a run measures, and what it means.")
@click.argument("words", metavar="[WORD]...", nargs=-1)
def metrics(words: tuple[str, ...]) -> None:
    """List what a run measures, with what each figure means; with WORDs, only lines that contain all of them.

    A threshold is such a name with an operator and a limit: --threshold 'notify.latency.p99 < 50ms'.
    """
    from loadgen.errors import InputError, Problem
    from loadgen.measure.names import COSTS, COUNTERS, ERROR_PHASES, GROUPS, METRICS, RATES
    from loadgen.results.thresholds import STATISTICS
    from loadgen.strict import shown

    errors = {
        f"errors.{phase}.<kind>": "faults in this phase, by kind (docs/metrics.md, Errors)" for phase in ERROR_PHASES
    }
    parts = {
        f"durations, each with .{', .'.join(STATISTICS)}": METRICS,
        "counters": COUNTERS | {f"{GROUPS}<name>": "tunnels that agreed on this key-exchange group (tls.groups)"},
        "faults, by the phase in which they came": errors,
        "rates": RATES,
        "costs": COSTS,
    }
    found = False
    width = max(len(name) for names in parts.values() for name in names)
    for title, names in parts.items():
        lines = [f"  {name:<{width}} {meaning}" for name, meaning in names.items()]
        chosen = [line for line in lines if all(word.lower() in line.lower() for word in words)]
        if chosen:
            found = True
            say("\n".join([title, *chosen, ""]))
    if not found:
        which = " ".join(map(shown, words))
        raise InputError(Problem("WORD", "words of a figure's name or meaning, such as notify latency", which))
