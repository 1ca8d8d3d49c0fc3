"""What commands are asked for, as values. Light: it is imported for `--help`, and with `loadgen.commands`.

Lengths, sizes and addresses are texts here, as options have them: whoever does it checks them, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple


class SourceOptions(NamedTuple):
    """The scenario and who plays which side of it, as they were given.

    Attributes:
        scenario: its file, or what would be in it.
    """

    scenario: Path | Mapping[str, Any]
    overrides: tuple[str, ...]
    target: str | None
    serve: str | None
    workers: str


class RunOptions(NamedTuple):
    """Of a run.

    Attributes:
        results: where its folder goes; None: nothing is written.
        key_log: what gets the secrets of its tunnels; None: what SSLKEYLOGFILE names, if anything.
    """

    source: SourceOptions
    duration: str | None
    wait: str | None
    results: Path | None
    thresholds: tuple[str, ...]
    key_log: Path | None = None


class CapacityOptions(NamedTuple):
    """Of a search. results, key_log: as of a run."""

    source: SourceOptions
    dimensions: tuple[str, ...]
    slos: tuple[str, ...]
    starts: tuple[str, ...]
    maxima: tuple[str, ...]
    resolution: str | None
    hold: str | None
    confirm: str | None
    wait: str | None
    results: Path | None
    key_log: Path | None = None
