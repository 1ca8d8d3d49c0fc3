"""A device's layout from a seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.inference.bodies import make_habits, make_messages
from benchmarks.inference.headers import Framing, make_framing
from benchmarks.inference.parts import Style, Table
from loadgen.infer.layout_document import LayoutDocument, layout_from


@dataclass
class Device:
    """A layout as tables, with what makes its values."""

    seed: int
    order: str
    framing: Framing
    messages: list[Table]
    wlc_begins: bool  # it asks for echoes, and says its capability before anything is asked

    def named(self, name: str) -> Table | None:
        return next((message for message in self.messages if message["name"] == name), None)

    def document(self) -> Table:
        """The layout in the shape layout-1, with the truth's own keys."""
        made: Table = {"format": "layout-1", "name": f"made-{self.seed}", "byte_order": self.order}
        made["header"] = self.framing.header
        if self.framing.trailer is not None:
            made["trailer"] = self.framing.trailer
        made["messages"] = self.messages
        cleaned: Table = without(made, ())
        return cleaned

    def layout(self) -> LayoutDocument:
        return layout_from(without(self.document(), TRUTH_KEYS))


# What the tables of a truth have beside a layout's keys.
TRUTH_KEYS = ("accept", "alternatives", "core", "single_valued")


def without(value: Any, keys: Sequence[str]) -> Any:
    """Tables without some keys, and without those that begin with "_"."""
    if isinstance(value, dict):
        return {key: without(each, keys) for key, each in value.items() if key[0] != "_" and key not in keys}
    return [without(each, keys) for each in value] if isinstance(value, list) else value


def _numbers(rng: random.Random, messages: list[Table], framing: Framing) -> None:
    """Ids: a response's follows from its request's in one of some ways."""
    bits = framing.id_bits
    total = sum(bits)
    relation = rng.choice(("next", "high", "same", "any"))
    if relation == "same" and not framing.flags:
        relation = "high"
    taken: set[int] = set()

    def free(candidate: int) -> int:
        while candidate in taken or not candidate:
            candidate = (candidate + rng.randrange(2, 6)) % (1 << total)
        taken.add(candidate)
        return candidate

    def fresh() -> int:
        if len(bits) == 2:
            return rng.randrange(1, 6) << bits[1] | rng.randrange(1, 12)
        if total == 8:
            return rng.randrange(1, 0x60)
        return rng.randrange(1, 0x40) if spread == "low" else rng.randrange(1, 4) << 8 | rng.randrange(1, 0x40)

    spread = rng.choice(("low", "paged"))
    last = 0
    for message in messages:
        if message["_kind"] == "response":
            high = 1 << total - 1 if total <= 16 else 0x8000
            if len(bits) == 2:
                high = 0x80
            ways = {"next": last + 1, "high": last | high, "same": last, "any": fresh()}
            message["id"] = last if relation == "same" else free(ways[relation] % (1 << total))
        else:
            message["id"] = last = free(fresh())


def make_device(seed: int) -> Device:
    """The device of a seed; always the same."""
    rng = random.Random(f"layout {seed}")
    order = rng.choice(("big", "big", "little"))
    unit = rng.choices((1, 2, 4), (6, 1.5, 1.5))[0]
    style = Style(rng, order, rng.random() < 0.4, rng.choice((0, 0, 0.08, 0.2)), rng.random() < 0.7, unit)
    framing = make_framing(style)
    messages = make_messages(make_habits(style))
    wlc_begins = rng.random() < 0.3
    messages = _paired(messages)
    if wlc_begins:
        for message in messages:
            if message["name"].startswith("echo"):
                message["from"] = "wlc" if message["from"] == "mse" else "mse"
    _numbers(rng, messages, framing)
    return Device(seed, order, framing, messages, wlc_begins)


def _paired(messages: list[Table]) -> list[Table]:
    """Each response right behind its request."""
    responses = {m["name"].rpartition("_")[0].removeprefix("client_"): m for m in messages if m["_kind"] == "response"}
    out: list[Table] = []
    for message in messages:
        if message["_kind"] == "response":
            continue
        out.append(message)
        if message["_kind"] == "request":
            out.append(responses[message["name"].rpartition("_")[0]])
    assert len(out) == len(messages)
    return out
