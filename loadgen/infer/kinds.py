"""Which message is which, by who says it, when, and who answers."""

from __future__ import annotations

from dataclasses import dataclass, field

from loadgen.infer.header import HeaderFound
from loadgen.infer.heads import Heads

__all__ = ["Named", "name_messages"]


@dataclass(slots=True)
class Named:
    """names: of each of the header's ids. masks: offered in a capability. dialogue: (sender, name) of a beginning."""

    names: list[str]
    masks: frozenset[int] = frozenset()
    dialogue: list[tuple[str, str]] = field(default_factory=list)


def name_messages(heads: Heads, header: HeaderFound, trailer: int) -> Named:
    return Named([f"{'mse' if side else 'wlc'}_{number:#x}" for side, number in header.ids])
