"""A check for a person: a line for each step as it is decided, then the causes."""

from __future__ import annotations

from collections.abc import Iterator

from loadgen.diagnosis.steps import CheckReport, StepReport
from loadgen.results.health import key_log_lines
from loadgen.units import format_duration

_WORDS = {"passed": "passed", "failed": "FAILED", "not needed": "not needed", "not reached": "not reached"}


def step_line(report: StepReport) -> str:
    """ "passed       TCP connection             212 µs  from 127.0.0.1 port 40112"."""
    took = "" if not report.took_ns else format_duration(report.took_ns)
    return f"  {_WORDS[report.outcome]:<11}  {report.title:<25} {took:>8}  {report.detail}".rstrip()


def conclusion(report: CheckReport) -> Iterator[str]:
    """Lines after the last step."""
    yield ""
    yield from key_log_lines(report.key_log, report.key_log_trouble)
    if report.passed:
        yield "PASSED   every step of the tunnel"
        return
    failed = next(step for step in report.steps if step.outcome == "failed")
    yield f"FAILED   {failed.title}: {failed.detail}"
    if not report.causes:
        yield "  nothing that is known explains this; --trace shows the handshake"
        return
    yield "  likely causes, most likely first:"
    for number, cause in enumerate(report.causes, 1):
        yield f"  {number}. {cause.name}: {cause.says}"
        for line in cause.look_at:
            yield f"       {line}"
