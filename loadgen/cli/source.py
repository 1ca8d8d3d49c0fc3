"""From options to a scenario that was read, and who plays which side of it."""

from __future__ import annotations

import socket

from loadgen.cli.arguments import SourceOptions
from loadgen.engine.job import Source
from loadgen.errors import InputError, Problem
from loadgen.scenario.load import load_scenario, parse_endpoint
from loadgen.scenario.plan import Use
from loadgen.units import Duration


def read_source(options: SourceOptions, duration: str | None = None) -> Source:
    """Read and check what the options name.

    Raises:
        InputError: something is not usable.
    """
    use, targets = _use(options)
    duration_ns = None if duration is None else read_duration(duration, "--duration")
    scenario, profile = load_scenario(options.scenario, options.overrides)
    return Source(options.scenario, scenario, profile, use, tuple(targets), options.workers, duration_ns)


def read_targets(text: str, option: str) -> list[tuple[str, int]]:
    """Read "wlc=HOST:PORT[,...]".

    Raises:
        InputError: every address that is none, or does not resolve.
    """
    side, equals, addresses = text.partition("=")
    if side != "wlc" or not equals:
        # An MSE dials: nobody can be its target. It meets us where `--serve wlc` listens.
        raise InputError(Problem(option, "wlc=HOST:PORT[,...]", f'"{text}"'))
    problems: list[Problem] = []
    targets: list[tuple[str, int]] = []
    for address in addresses.split(","):
        try:
            host, port = parse_endpoint(address)
            if not port:
                raise ValueError("a port of 1 to 65535 after the address")
            targets.append((_resolve(host), port))
        except ValueError as error:
            problems.append(Problem(option, str(error), f'"{address}"'))
    if problems:
        raise InputError(problems)
    return targets


def _use(options: SourceOptions) -> tuple[Use, list[tuple[str, int]]]:
    if options.target is not None and options.serve is not None:
        raise InputError(Problem("--target, --serve", "one of them", "both"))
    if options.serve is not None:
        return (Use.SERVE_WLC if options.serve == "wlc" else Use.SERVE_MSE), []
    if options.target is None:
        return Use.BOTH, []
    return Use.TARGET_WLC, read_targets(options.target, "--target")


def _resolve(host: str) -> str:
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except (OSError, UnicodeError) as error:
        raise ValueError(f"a host name that resolves ({error})") from error


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
