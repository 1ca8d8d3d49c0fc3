"""From options to a scenario that was read, and who plays which side of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loadgen.commands.options import SourceOptions
from loadgen.errors import InputError, Problem
from loadgen.prepare.addresses import read_targets
from loadgen.prepare.job import Source
from loadgen.scenario.plan import Use, length_ns
from loadgen.scenario.reading import check_scenario, load_scenario, relative_to, scaled, scenario_untrusted
from loadgen.scenario.schema import DEFAULT_STAGES
from loadgen.strict import in_source, one_of, shown
from loadgen.units import Duration

# What stands for its file where a scenario comes as values; files that it names are looked for in the current folder.
_VALUES = Path("scenario")


def read_source(options: SourceOptions, duration: str | None = None) -> Source:
    """Read and check what the options name.

    Raises:
        InputError: something is not usable.
    """
    use, targets = _use(options)
    duration_ns = None if duration is None else read_duration(duration, "--duration")
    path = options.scenario if isinstance(options.scenario, Path) else _VALUES
    if isinstance(options.scenario, Path):
        scenario, profile = load_scenario(path, options.overrides)
    else:
        scenario, profile = scenario_untrusted(_tables(options.scenario), path, options.overrides)
    recorded = None
    if scenario.load.scale is not None:
        scenario = scaled(scenario, plays_wlc=use.plays_wlc)
        if problems := check_scenario(scenario, profile):
            raise InputError(in_source(problems, str(path)))
    if scenario.load.kind == "replay":
        from loadgen.commands.recorded import read_recorded  # captures, and what decrypts them

        assert scenario.load.capture is not None  # it was checked
        key_log = scenario.load.capture_keylog
        recorded = read_recorded(
            relative_to(path, scenario.load.capture),
            profile,
            None if key_log is None else relative_to(path, key_log),
        )
        if duration_ns is None and scenario.load.stages is DEFAULT_STAGES:  # none were given
            duration_ns = length_ns(recorded.plan, scenario)
    return Source(path, scenario, profile, use, targets, options.workers, duration_ns, recorded=recorded)


def _tables(values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy, of such types as a TOML file is read into."""
    return {str(key): _value(value) for key, value in values.items()}


def _value(value: object) -> object:
    if isinstance(value, Mapping):
        return _tables(value)
    return list(map(_value, value)) if isinstance(value, list | tuple) else value


def _use(options: SourceOptions) -> tuple[Use, tuple[tuple[str, int], ...]]:
    if options.target is not None and options.serve is not None:
        raise InputError(Problem("--target, --serve", "one of them", "both"))
    if options.serve not in (None, "wlc", "mse"):
        raise InputError(Problem("--serve", one_of(options.serve, ("wlc", "mse")), shown(options.serve)))
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
