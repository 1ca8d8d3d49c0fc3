"""Options that several commands share, as values. Light: it is imported for `--help`, too."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class SourceOptions(NamedTuple):
    """The scenario and who plays which side of it, as they were given."""

    scenario: Path
    overrides: tuple[str, ...]
    target: str | None
    serve: str | None
    workers: str
