"""From options to a scenario that was read, and who plays which side of it."""

from __future__ import annotations

from loadgen.commands.options import SourceOptions
from loadgen.errors import InputError, Problem
from loadgen.prepare.addresses import read_targets
from loadgen.prepare.job import Source
from loadgen.scenario.plan import Use
from loadgen.scenario.reading import load_scenario
from loadgen.units import Duration


def read_source(options: SourceOptions, duration: str | None = None) -> Source:
    """Read and check what the options name.

    Raises:
        InputError: something is not usable.
    """
    use, targets = _use(options)
    duration_ns = None if duration is None else read_duration(duration, "--duration")
    scenario, profile = load_scenario(options.scenario, options.overrides)
    return Source(options.scenario, scenario, profile, use, targets, options.workers, duration_ns)


def _use(options: SourceOptions) -> tuple[Use, tuple[tuple[str, int], ...]]:
    if options.target is not None and options.serve is not None:
        raise InputError(Problem("--target, --serve", "one of them", "both"))
    if options.serve is not None:
        return (Use.SERVE_WLC if options.serve == "wlc" else Use.SERVE_MSE), ()
    if options.target is None:
        return Use.BOTH, ()
    return Use.TARGET_WLC, read_targets(options.target, "--target")


def read_wait(text: str | None, use: Use) -> int | None:
    """The value of --wait-for-target in ns.

    Raises:
        InputError: it is none, or both sides are ours.
    """
    if text is None:
        return None
    if use is Use.BOTH:
        raise InputError(Problem("--wait-for-target", "--target or --serve: one side that is not ours", "neither"))
    return read_duration(text, "--wait-for-target")


def read_duration(text: str, option: str) -> int:
    """A length in ns, more than 0.

    Raises:
        InputError
    """
    try:
        duration = Duration.parse(text)
    except ValueError as error:
        raise InputError(Problem(option, str(error).removeprefix("Expected "), f'"{text}"')) from error
    if not duration:
        raise InputError(Problem(option, f"{Duration.EXPECTED}, and more than 0", f'"{text}"'))
    return int(duration)
