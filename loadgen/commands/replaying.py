"""`loadgen replay`: a scenario of nothing but a capture and how it is played."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from loadgen.commands.options import SourceOptions
from loadgen.errors import InputError, Problem


class ReplayOptions(NamedTuple):
    """How a capture is played, as it was given; None: as a scenario's default is.

    Attributes:
        profile: the wire profile that reads it; None: the one that comes with this package.
        capture_keylog: the secrets of the tunnels in it.
        speed, rate: one of them, or neither: as it was recorded.
        listen: where our WLCs do, the first of them.
    """

    capture: Path
    profile: Path | None = None
    scale: int | None = None
    speed: float | None = None
    rate: float | None = None
    macs: str | None = None
    aps: bool = False
    capture_keylog: Path | None = None
    listen: str | None = None
    overrides: tuple[str, ...] = ()
    target: str | None = None
    serve: str | None = None
    workers: str = "auto"


def source_of(options: ReplayOptions) -> SourceOptions:
    """The scenario that it stands for.

    Raises:
        InputError: speed and rate.
    """
    if options.speed is not None and options.rate is not None:
        raise InputError(Problem("--speed, --rate", "one of them", "both"))
    load: dict[str, Any] = {"kind": "replay", "capture": str(options.capture)}
    for name in ("scale", "speed", "rate", "macs"):
        if (value := getattr(options, name)) is not None:
            load[name] = value
    if options.capture_keylog is not None:
        load["capture_keylog"] = str(options.capture_keylog)
    if options.aps:
        load["aps"] = True
    scenario: dict[str, Any] = {"name": "replay", "load": load}
    if options.profile is not None:
        scenario["profile"] = str(options.profile)
    if options.listen is not None:
        scenario["wlc"] = {"listen": options.listen}
    return SourceOptions(scenario, options.overrides, options.target, options.serve, options.workers)
