"""`loadgen run` as people start it: what is printed, and which exit code it comes to."""

from __future__ import annotations

from loadgen.commands.options import RunOptions
from loadgen.commands.output import announce, complain, complain_of, display, say
from loadgen.commands.runner import Addresses, prepare_run, ready
from loadgen.commands.tracing import STDERR, trace_file
from loadgen.commands.watching import watching
from loadgen.errors import ExitCode
from loadgen.results.document import as_json
from loadgen.results.result import RunResult
from loadgen.scenario.plan import Use


def run_scenario(options: RunOptions, *, json: bool, quiet: bool, trace: str | None, trace_limit: int | None) -> int:
    """Do it; returns the exit code.

    Raises:
        InputError: something is not usable; nothing was written and nothing was sent.
    """
    prepared = prepare_run(options)
    plan, folder = prepared.job.plan, prepared.folder
    assert folder is not None  # the option has a default

    def listening(addresses: Addresses) -> None:
        if plan.use is Use.SERVE_WLC and not json:
            announce(ready(addresses))

    with (
        trace_file(trace, trace_limit) as file,
        watching(plan.scenario, quiet=quiet, plain=trace == STDERR) as onlooker,
    ):
        result = prepared.execute(onlooker, listening=listening, tracing=None if file is None else file.tracing)
    if not folder.created:
        complain("; ".join(result.verdict.reasons))
    elif json:
        say(as_json(result), nl=False)
    elif not quiet:
        from loadgen.report import terminal

        display(terminal.summary(result, str(folder.path)))
    unwritten = complain_of(folder)
    if not quiet and _in_vain(result):
        from loadgen.commands.advice import advice

        for line in advice(prepared.source, plan, result.counters):
            complain(line)
    return result.verdict.exit_code or int(unwritten)


def _in_vain(result: RunResult) -> bool:
    """No session came up, although there was time for it, or somebody tried."""
    tried = any(result.counters.get(f"{what}.attempted") for what in ("sessions", "handshakes"))
    done = any(result.counters.get(name) for name in ("sessions.established", "handshakes.completed"))
    code = result.verdict.exit_code
    return not done and (code == ExitCode.UNREACHABLE or (code == ExitCode.INTERRUPTED and tried))
