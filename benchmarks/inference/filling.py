"""Values for a layout's fields, from facts: what a message is about."""

from __future__ import annotations

import random
from collections import ChainMap
from collections.abc import Mapping
from typing import Any

from benchmarks.inference.parts import Table
from loadgen.infer.layout_document import LayoutField, LayoutNode
from loadgen.infer.layout_writing import body_bytes, field_bytes

Facts = Mapping[str, Any]

SECOND = 1_000_000_000
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": SECOND}


def time_value(field: Table, at_ns: int, boot_ns: int) -> int:
    since = at_ns - (boot_ns if field["_epoch"] == "boot" else 0)
    if field["_unit"] == "us-left":
        return since % SECOND // 1_000
    value = since * _PER_SECOND[field["_unit"]] // SECOND
    return int(value) & (1 << 8 * field["size"]) - 1


def value_for(field: Table, facts: Facts, rng: random.Random) -> Any:
    gen = field["_gen"]
    if gen == "opaque":
        return rng.randbytes(field["size"])
    value = facts[gen]
    if field["role"] == "timestamp":
        return time_value(field, value, facts["boot_ns"])
    if field["type"] == "text":
        # A text of a fixed size keeps room for a NUL.
        text = str(value).encode()
        return text[: field["size"] - 1] if isinstance(field["size"], int) else text
    if field["role"] == "counter" or gen == "uptime":
        return int(value) & (1 << 8 * field["size"]) - 1
    if field["role"] == "age":
        return min(int(value), (1 << 8 * field["size"]) - 1)
    return value


class Filler:
    """Bodies from facts."""

    def __init__(self, rng: random.Random, order: str, unit: int) -> None:
        self._rng, self._order, self._unit = rng, order, unit
        self._nodes: dict[int, LayoutNode] = {}

    def body(self, node: Table, facts: Facts, compiled: LayoutNode) -> bytes:
        return body_bytes(compiled, self.values(node, facts, compiled), self._order)

    def values(self, node: Table, facts: Facts, compiled: LayoutNode) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for field in node.get("fields", ()):
            if "_gen" in field:
                values[field["name"]] = value_for(field, facts, self._rng)
        for repeat, inner in zip(node.get("repeats", ()), compiled.repeats, strict=True):
            rows = facts[repeat["_gen"]]
            values[repeat["name"]] = [
                self.values(repeat["record"], ChainMap(row, facts), inner.record)
                for row in rows  # type: ignore[arg-type]
            ]
        if "elements" in node and compiled.elements is not None:
            values["elements"] = self._elements(node["elements"], facts, compiled)
        if "_fill" in node:
            size = node["_fill"] + len(body_bytes(compiled, values, self._order))
            values["rest"] = bytes(-size % self._unit)
        return values

    def _elements(self, elements: Table, facts: Facts, compiled: LayoutNode) -> list[tuple[int, dict[str, Any]]]:
        assert compiled.elements is not None
        rows = []
        inners = {kind.id: kind.value for kind in compiled.elements.known}
        tables = {kind["id"]: kind["value"] for kind in elements["known"]}
        for number, gen, share in elements["_emit"]:
            if self._rng.random() >= share:
                continue
            about: list[Facts] = [ChainMap(row, facts) for row in facts[gen]] if gen else [facts]  # type: ignore[arg-type]
            rows += [(number, self.values(tables[number], each, inners[number])) for each in about]
        if elements["_any_order"]:
            self._rng.shuffle(rows)
        return rows


def put(frame: bytearray, field: LayoutField, start: int, value: int, order: str) -> None:
    """An integer of a header or trailer, where it lies."""
    assert isinstance(field.at, int)
    data = field_bytes(field, value, order)
    frame[start + field.at : start + field.at + len(data)] = data
