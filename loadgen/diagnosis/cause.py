"""What a row of the table of causes is."""

from __future__ import annotations

import msgspec

from loadgen.diagnosis.steps import Side


class Cause(msgspec.Struct, frozen=True):
    """A row of the table.

    plays: the side of ours that may see it, None: either; steps: the steps that it explains, none: any.
    """

    name: str
    says: str
    look_at: tuple[str, ...]
    clues: dict[str, int]
    plays: Side | None = None
    steps: tuple[str, ...] = ()
